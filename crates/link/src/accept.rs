//! The gateway's side of a connection: accept, handshake, find out who it is, hand over.
//!
//! Before the handshake a peer is its address, with limits on how many connections it may have under way and begin;
//! after it the peer is its certificate, with a limit of its own. What is refused is logged (target
//! `meterseal::accept`) once a minute for each address and reason, with how many lines were left out.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use meterseal_model::MeterId;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use crate::limits::{AcceptLimits, AddressLimits, Rate, SharedAddresses};
use crate::limits::{Allowances, UnderWay, UnderWayGuard};
use crate::opening::{self, OpeningError};
use crate::revocation::Standing;
use crate::sparing::Sparing;
use crate::tls::{self, Judged, Peer, PeerError, ServerProfile};

/// An authenticated meter and the stream to it.
#[derive(Debug)]
pub struct Accepted {
    /// Which meter.
    pub meter: MeterId,
    /// Whether it showed an operational identity. One that showed that of its manufacture may be enrolled, and nothing
    /// else.
    pub is_operational: bool,
    /// From where.
    pub address: SocketAddr,
    /// The encrypted stream. Boxed, because its kilobytes would lie in every task and queue that it passes.
    pub stream: Box<TlsStream<TcpStream>>,
    /// The connection's right to go on: close it when this ends.
    pub standing: Standing,
    /// Its place among the handshakes under way, where there is a limit: drop it when the work with the meter begins.
    /// Until then nobody else's handshake begins in its stead, so that they cannot outrun that work.
    pub place: Option<Place>,
}

/// A place among the handshakes under way, given back when dropped.
#[derive(Debug)]
pub struct Place {
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
    _guard: UnderWayGuard,
}

/// Accepts connections for ever and hands every authenticated meter to `hand_over`, which must not block: it starts
/// a task. Cancel by dropping; handshakes under way then end by their deadline.
///
/// # Errors
/// Only when the listener itself is broken.
pub async fn serve<F>(
    listener: TcpListener,
    profile: ServerProfile,
    limits: AcceptLimits,
    hand_over: F,
) -> io::Result<()>
where
    F: Fn(Accepted) + Send + Sync + 'static,
{
    let places = Arc::new(Semaphore::new(limits.concurrent.max(1)));
    let line = Arc::new(Semaphore::new(limits.concurrent.max(1) + limits.waiting));
    let under_way = Arc::new(UnderWay::default());
    let begun = Allowances::new();
    let gate = Arc::new(Gate {
        profile,
        deadline: limits.handshake,
        per_certificate: limits.per_certificate,
        connected: Allowances::new(),
        refusals: Sparing::new(),
        hand_over,
    });
    loop {
        let Ok(in_line) = Arc::clone(&line).acquire_owned().await else { return Ok(()) };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => {
                if let Some(left_out) = gate.refusals.say((None, error.kind().to_string())) {
                    tracing::warn!(target: LOG, left_out, "could not accept a connection: {error}");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let of_address = limits.of(address.ip());
        let Some(guard) = UnderWay::enter(&under_way, address.ip(), of_address) else {
            gate.refuse(address, "too many connections without a certificate from there");
            continue;
        };
        if !begun.take(address.ip(), of_address.rate) {
            gate.refuse(address, "too many connections a minute from there");
            continue;
        }
        let (gate, places) = (Arc::clone(&gate), Arc::clone(&places));
        tokio::spawn(async move {
            let _in_line = in_line;
            // Half of the time is left for the handshake itself; and a peer that has waited for longer gives up soon.
            let Ok(place) = timeout(gate.deadline / 2, Place::take(guard, places)).await else {
                gate.refuse(address, "it waited for its handshake for too long: too many call at once");
                return;
            };
            match handshake(&gate.profile, stream, address, gate.deadline).await {
                Ok(accepted) if !gate.connected.take(accepted.meter, gate.per_certificate) => {
                    gate.refuse(address, &format!("meter {} connects too often", accepted.meter));
                }
                Ok(accepted) => {
                    tracing::debug!(target: LOG, %address, meter = %accepted.meter, "connected");
                    (gate.hand_over)(Accepted { place, ..accepted });
                }
                Err(error) => gate.refuse(address, &error.to_string()),
            }
        });
    }
}

impl Place {
    /// Waits for a turn among the address's own handshakes, then among all, so that one address's do not take the
    /// places of others while they wait. `None` never comes: nobody closes the semaphores.
    async fn take(guard: UnderWayGuard, places: Arc<Semaphore>) -> Option<Self> {
        let turn = guard.turn().await?;
        let place = places.acquire_owned().await.ok()?;
        Some(Self { _turn: turn, _place: place, _guard: guard })
    }
}

/// What every connection passes.
struct Gate<F> {
    profile: ServerProfile,
    deadline: Duration,
    per_certificate: Rate,
    connected: Allowances<MeterId>,
    refusals: Sparing<(Option<IpAddr>, String)>,
    hand_over: F,
}

impl<F> Gate<F> {
    fn refuse(&self, address: SocketAddr, reason: &str) {
        if let Some(left_out) = self.refusals.say((Some(address.ip()), reason.to_owned())) {
            tracing::warn!(target: LOG, %address, left_out, "refused: {reason}");
        }
    }
}

/// Makes the TLS handshake on a connection that was just accepted, and the opening exchange where the meter wants it.
///
/// # Errors
/// [`AcceptError`], worded for the log.
pub async fn handshake(
    profile: &ServerProfile,
    stream: TcpStream,
    address: SocketAddr,
    deadline: Duration,
) -> Result<Accepted, AcceptError> {
    stream.set_nodelay(true).map_err(|error| AcceptError::Tls(tls::explain_io(&error)))?;
    timeout(deadline, meet(profile, stream, address)).await.map_err(|_| AcceptError::Deadline(deadline))?
}

async fn meet(
    profile: &ServerProfile,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<Accepted, AcceptError> {
    let acceptor = TlsAcceptor::from(Arc::clone(profile.config()));
    let stream = acceptor
        .accept_with(stream, |connection| connection.set_buffer_limit(Some(BUFFER)))
        .await
        .map_err(|error| AcceptError::Tls(tls::explain_io(&error)))?;
    let mut stream = Box::new(stream);
    let connection = stream.get_ref().1;
    let opens = connection.alpn_protocol() == Some(tls::ALPN_OPENING);
    match profile.judge(connection)? {
        Judged { peer: Peer::Meter(meter), standing, .. } => {
            if opens {
                opening::answer(&mut stream, profile, meter).await?;
            }
            let is_operational = profile.is_operational(standing.certificate());
            Ok(Accepted { meter, is_operational, address, stream, standing, place: None })
        }
        Judged { peer: found, .. } => Err(PeerError::Other { found, expected: "a meter".to_owned() }.into()),
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
    /// The opening exchange.
    #[error(transparent)]
    Opening(#[from] OpeningError),
}

const LOG: &str = "meterseal::accept";
/// How long to wait when the system has no resources for another connection.
const PAUSE: Duration = Duration::from_millis(100);
/// What may wait for the network in one connection, on top of what the system buffers.
const BUFFER: usize = 32 * 1024;

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
