//! The gateway's side of a connection: accept, handshake, find out who it is, hand over.
//!
//! Before the handshake a peer is its address, and each address may have only so many connections under way; after
//! it the peer is its certificate. Each refused handshake is one line in the log (target `meterseal::accept`);
//! connections that are not even looked at are one line a minute and address.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meterseal_model::MeterId;
use rustls::ServerConfig;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::sparing::Sparing;
use crate::tls::{self, Peer, PeerError};

/// What bounds connections whose peer is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptLimits {
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How many handshakes may be under way; further connections wait in the listener's queue.
    pub concurrent: usize,
    /// How many of them from one address. Raise it where a carrier puts many meters behind one address.
    pub per_address: usize,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(10), concurrent: 256, per_address: 64 }
    }
}

/// An authenticated meter and the stream to it.
#[derive(Debug)]
pub struct Accepted {
    /// Which meter.
    pub meter: MeterId,
    /// From where.
    pub address: SocketAddr,
    /// The encrypted stream.
    pub stream: TlsStream<TcpStream>,
}

/// Accepts connections for ever and hands every authenticated meter to `hand_over`, which must not block: it starts
/// a task. Cancel by dropping; handshakes under way then end by their deadline.
///
/// # Errors
/// Only when the listener itself is broken.
pub async fn serve<F>(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    limits: AcceptLimits,
    hand_over: F,
) -> io::Result<()>
where
    F: Fn(Accepted) + Send + Sync + 'static,
{
    let acceptor = TlsAcceptor::from(config);
    let places = Arc::new(Semaphore::new(limits.concurrent.max(1)));
    let addresses = Arc::new(Addresses::default());
    let hand_over = Arc::new(hand_over);
    let crowds = Sparing::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => {
                tracing::warn!(target: LOG, "could not accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(guard) = Addresses::enter(&addresses, address.ip(), limits.per_address) else {
            if let Some(left_out) = crowds.say(address.ip()) {
                tracing::warn!(
                    target: LOG, %address, left_out,
                    "refused: too many connections without a certificate from there"
                );
            }
            continue;
        };
        let (acceptor, hand_over) = (acceptor.clone(), Arc::clone(&hand_over));
        tokio::spawn(async move {
            let outcome = handshake(&acceptor, stream, address, limits.handshake).await;
            drop((place, guard));
            match outcome {
                Ok(accepted) => {
                    tracing::info!(target: LOG, %address, meter = %accepted.meter, "connected");
                    hand_over(accepted);
                }
                Err(error) => tracing::warn!(target: LOG, %address, "refused: {error}"),
            }
        });
    }
}

/// Makes the TLS handshake on a connection that was just accepted.
///
/// # Errors
/// [`AcceptError`], worded for the log.
pub async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    deadline: Duration,
) -> Result<Accepted, AcceptError> {
    stream.set_nodelay(true).map_err(|error| AcceptError::Tls(tls::explain_io(&error)))?;
    let stream = timeout(deadline, acceptor.accept(stream))
        .await
        .map_err(|_| AcceptError::Deadline(deadline))?
        .map_err(|error| AcceptError::Tls(tls::explain_io(&error)))?;
    match tls::peer_identity(stream.get_ref().1)? {
        Peer::Meter(meter) => Ok(Accepted { meter, address, stream }),
        found => Err(PeerError::Other { found, expected: "a meter".to_owned() }.into()),
    }
}

/// Why a connection was refused.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// The handshake failed.
    #[error("{0}")]
    Tls(String),
    /// The handshake took too long.
    #[error("no handshake within {0:?}")]
    Deadline(Duration),
    /// The certificate does not name a meter.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

const LOG: &str = "meterseal::accept";
/// How long to wait when the system has no resources for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether the listener is sound although this accept failed (accept(2): errors of the connection itself, and
/// exhausted resources).
fn is_passing(error: &io::Error) -> bool {
    // EMFILE 24, ENFILE 23, ENOBUFS 105 have no kind of their own in std.
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::OutOfMemory
    ) || matches!(error.raw_os_error(), Some(23 | 24 | 105))
}

/// How many handshakes are under way from each address. Bounded by the number of all.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    fn enter(this: &Arc<Self>, address: IpAddr, limit: usize) -> Option<AddressGuard> {
        let mut counts = this.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(AddressGuard { addresses: Arc::clone(this), address })
    }
}

struct AddressGuard {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for AddressGuard {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
