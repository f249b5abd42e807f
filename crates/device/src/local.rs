//! The local port: a meter that listens, for the bench and the installer. TLS both ways, with the roles that the caller's
//! certificate gives; without TLS only where a laboratory asks for it by name.
//!
//! Connections are few and each is bounded: so many at once, so long for a handshake, and silence ends it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use meterseal_link::tls::{self, ServerProfile};
use meterseal_meter::Peer;
use meterseal_model::{MeterId, Roles};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::connection::carry;
use crate::link_state::{Bytes, LinkState, Silence};
use crate::runner::Input;

/// Where a meter listens, and to whom.
#[derive(Clone, Debug)]
pub struct LocalPort {
    /// Its address; port 0 for any that is free. The loopback unless there is a network at the terminals.
    pub address: SocketAddr,
    /// How a caller proves who it is.
    pub access: LocalAccess,
}

/// How a caller at the local port proves who it is.
#[derive(Clone, Debug)]
pub enum LocalAccess {
    /// TLS 1.3 both ways ([`tls::local_port_config`]); its certificate gives its roles.
    Tls(ServerProfile),
    /// Plain TCP: anybody who reaches the port may take these roles, with their DLMS keys. For laboratories only.
    PlainForLaboratory(Roles),
}

/// A port that is bound and not listened at yet.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: std::net::TcpListener,
    pub(crate) address: SocketAddr,
    access: LocalAccess,
}

impl Bound {
    pub(crate) fn new(port: LocalPort) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(port.address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { address: listener.local_addr()?, listener, access: port.access })
    }

    /// Serves callers until the meter has stopped. Dropped, it ends every connection.
    pub(crate) async fn serve(self, id: MeterId, inputs: SyncSender<Input>, link: Arc<LinkState>) {
        let listener = match TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => return warn!(meter = %id, "no local port: {error}"),
        };
        if let LocalAccess::PlainForLaboratory(roles) = &self.access {
            warn!(meter = %id, address = %self.address, %roles, "the local port is open without TLS");
        }
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut callers = JoinSet::new();
        loop {
            // Further callers wait in the system's queue.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            while callers.try_join_next().is_some() {}
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(meter = %id, "could not accept a connection at the local port: {error}");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let (access, inputs, link) = (self.access.clone(), inputs.clone(), Arc::clone(&link));
            callers.spawn(async move {
                match serve_one(&access, stream, &inputs, &link.silence).await {
                    Ok(end) => info!(meter = %id, %address, "local port: {end}"),
                    Err(error) => warn!(meter = %id, %address, "refused at the local port: {error}"),
                }
                drop(place);
            });
        }
    }
}

async fn serve_one(
    access: &LocalAccess,
    stream: TcpStream,
    inputs: &SyncSender<Input>,
    silence: &Silence,
) -> Result<String, String> {
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let profile = match access {
        LocalAccess::PlainForLaboratory(roles) => {
            let peer = Peer { roles: *roles, local: true };
            let uncounted = Bytes::default();
            return Ok(carry(stream, peer, inputs, &uncounted, silence).await.to_string());
        }
        LocalAccess::Tls(profile) => profile,
    };
    let handshake = TlsAcceptor::from(Arc::clone(profile.config())).accept(stream);
    let stream = timeout(HANDSHAKE, handshake)
        .await
        .map_err(|_| format!("no handshake within {HANDSHAKE:?}"))?
        .map_err(|error| tls::explain_io(&error))?;
    let mut judged = profile.judge(stream.get_ref().1).map_err(|error| error.to_string())?;
    let peer = Peer { roles: judged.roles, local: true };
    let uncounted = Bytes::default();
    let carried = carry(stream, peer, inputs, &uncounted, silence);
    tokio::pin!(carried);
    let revoked = tokio::select! {
        end = &mut carried => return Ok(format!("{}: {end}", judged.peer)),
        revoked = judged.standing.ended() => revoked,
    };
    Ok(format!("{}: closed: {revoked}", judged.peer))
}

/// Callers at once: with the head-end as many as a meter serves.
const CONNECTIONS: usize = 3;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait when the system has no resources for another connection.
const PAUSE: Duration = Duration::from_millis(100);
