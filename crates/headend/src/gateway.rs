//! Where meters call: every connection is TLS 1.3 with certificates both ways before a byte of it is looked at; then
//! its meter gets a task of its own. A meter that calls again replaces its older connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meterseal_link::accept::{self, AcceptLimits, Accepted};
use meterseal_link::sparing::Sparing;
use meterseal_link::tls::ServerProfile;
use meterseal_model::MeterId;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::acquisition::{Acquisition, AcquisitionError, Caller};
use crate::alarms::HeadendCause;
use crate::config::MeterEntry;
use crate::store::ConnectionState;
use crate::{clock, stopped};

/// How long a meter may take to read that its connection ends.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// The gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    tls: ServerProfile,
    limits: AcceptLimits,
    acquisition: Acquisition,
    meters: HashMap<MeterId, MeterEntry>,
    connections: Mutex<Connections>,
    /// Meters that broke the protocol.
    breaches: Sparing<MeterId>,
    /// Meters whose connection was replaced.
    replacements: Sparing<MeterId>,
}

/// The newest connection of each meter.
#[derive(Debug, Default)]
struct Connections {
    next: u64,
    current: HashMap<MeterId, Connection>,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    from: SocketAddr,
    /// Notified when a newer connection takes its place.
    replaced: Arc<Notify>,
}

impl Gateway {
    pub(crate) fn new(
        tls: ServerProfile,
        limits: AcceptLimits,
        acquisition: Acquisition,
        meters: Vec<MeterEntry>,
    ) -> Arc<Self> {
        let meters = meters.into_iter().map(|entry| (entry.id, entry)).collect();
        Arc::new(Self {
            tls,
            limits,
            acquisition,
            meters,
            connections: Mutex::default(),
            breaches: Sparing::new(),
            replacements: Sparing::new(),
        })
    }

    /// Takes calls until the head-end stops, then waits for every connection to end.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
        // Meters that have proven who they are and wait for their task. Each keeps its place among the handshakes under
        // way until then, so that there are never more than those, and none is turned away.
        let (arrived, mut arrivals) = mpsc::channel(self.limits.concurrent.max(1));
        let accepting = accept::serve(listener, self.tls.clone(), self.limits.clone(), move |accepted| {
            // Closed: the head-end is stopping, and says so to nobody any more.
            if let Err(TrySendError::Full(accepted)) = arrived.try_send(accepted) {
                tracing::error!(meter = %accepted.meter, "turned away: too many meters wait for their task");
            }
        });
        tokio::pin!(accepting);
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = stopped(&mut stopping) => break,
                broken = &mut accepting => {
                    tracing::error!(?broken, "the gateway can take no more calls; start the head-end again");
                    break;
                }
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => report_panic(ended),
                Some(accepted) = arrivals.recv() => {
                    tasks.spawn(self.clone().connected(accepted, stopping.clone()));
                }
            }
        }
        while let Some(ended) = tasks.join_next().await {
            report_panic(ended);
        }
    }

    async fn connected(self: Arc<Self>, accepted: Accepted, mut stopping: watch::Receiver<bool>) {
        let Accepted { meter, is_operational, address: from, mut stream, mut standing, place } = accepted;
        drop(place);
        match self.meters.get(&meter) {
            None => {
                tracing::warn!(%from, %meter, "refused: the meter is not configured at this head-end; add it to the configuration");
            }
            // Whoever holds the key from manufacture alone does not throw out the one who is enrolled.
            Some(_) if !is_operational && self.is_connected(meter) && !self.acquisition.may_enrol(meter) => {
                if let Some(left_out) = self.replacements.say(meter) {
                    tracing::warn!(%from, %meter, left_out, "refused: the meter is connected with its operational identity, and somebody calls with that of its manufacturer");
                }
            }
            Some(entry) => {
                let (number, replaced) = self.replace(meter, from);
                let certificate = Box::new(standing.certificate().clone());
                let caller = Caller { certificate, is_operational };
                tokio::select! {
                    outcome = self.acquisition.run(entry, caller, &mut stream) => match outcome {
                        Err(error) => self.ended(meter, number, from, Some(error)).await,
                        Ok(never) => match never {},
                    },
                    end = standing.ended() => {
                        let serial = &standing.certificate().serial;
                        tracing::warn!(%from, %meter, %serial, "connection closed: {end}");
                        self.ended(meter, number, from, Some(AcquisitionError::Certificate(end))).await;
                    }
                    () = replaced.notified() => {}
                    () = stopped(&mut stopping) => self.ended(meter, number, from, None).await,
                }
            }
        }
        // TLS's own end (RFC 8446, 6.1), so that the meter can tell it from a cut line. Whether it hears it changes
        // nothing.
        let _ = tokio::time::timeout(CLOSE_WITHIN, stream.shutdown()).await;
    }

    fn is_connected(&self, meter: MeterId) -> bool {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).current.contains_key(&meter)
    }

    /// Makes this the meter's connection and ends the one before.
    fn replace(&self, meter: MeterId, from: SocketAddr) -> (u64, Arc<Notify>) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.next += 1;
        let number = connections.next;
        let replaced = Arc::new(Notify::new());
        let connection = Connection { number, from, replaced: Arc::clone(&replaced) };
        if let Some(older) = connections.current.insert(meter, connection) {
            // Kept until it is heard: the older connection may not be waiting for it yet.
            older.replaced.notify_one();
            if let Some(left_out) = self.replacements.say(meter) {
                tracing::warn!(
                    %from, %meter, older = %older.from, left_out,
                    "the meter called again while its older connection was open, and that one is closed; if the line was not cut, two devices share one certificate"
                );
            }
        }
        (number, replaced)
    }

    /// Shows why a connection ended, unless a newer one has taken its place.
    async fn ended(&self, meter: MeterId, number: u64, from: SocketAddr, error: Option<AcquisitionError>) {
        if let Some(error) = error.as_ref().filter(|error| error.is_breach())
            && let Some(left_out) = self.breaches.say(meter)
        {
            tracing::warn!(%from, %meter, left_out, "disconnected, because the meter does not keep to the protocol: {error}");
        }
        let fleet = &self.acquisition.fleet;
        let (state, reason) = match &error {
            None => (ConnectionState::Offline, "The head-end was stopped.".to_owned()),
            Some(error) if error.is_refusal() => (ConnectionState::Refused, error.to_string()),
            Some(error) => (ConnectionState::Offline, error.to_string()),
        };
        let changed = {
            // Under the lock, so that a connection that comes now shows its own state after this one.
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            if connections.current.get(&meter).is_none_or(|current| current.number != number) {
                return;
            }
            connections.current.remove(&meter);
            fleet.ended(meter, state, clock::now(), &reason)
        };
        let Some(since) = changed else {
            // A meter that keeps calling and is refused each time fills neither log nor disk.
            tracing::debug!(%from, %meter, reason, "the meter is still in the same state");
            return;
        };
        match state {
            ConnectionState::Refused => {
                tracing::warn!(%from, %meter, reason, "meter refused: nothing is read from it");
                let raised =
                    self.acquisition.alarms.raise(Some(meter), HeadendCause::MeterRefused, reason.clone());
                if let Err(error) = raised.await {
                    tracing::error!(%meter, %error, "the alarm about the refused meter could not be stored");
                }
            }
            _ => tracing::info!(%from, %meter, reason, "meter offline"),
        }
        if let Err(error) = self.acquisition.store.set_state(meter, state, since, Some(reason)).await {
            tracing::warn!(%meter, %error, "the meter's state could not be stored");
        }
    }
}

/// A panic in one meter's task ends that task only.
fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed; the others go on: please report this");
    }
}
