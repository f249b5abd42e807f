//! How the connection to the head-end fares: written by its tasks, read by the meter's thread.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meterseal_link::dial::{Network, Progress};
use meterseal_meter::{Connectivity, LinkStatus};

/// What has become of the connection so far.
#[derive(Debug, Default)]
pub(crate) struct LinkState {
    status: Mutex<LinkStatus>,
    pub(crate) silence: Silence,
    pub(crate) bytes: Bytes,
}

/// Bytes carried.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    pub(crate) incoming: AtomicU64,
    pub(crate) outgoing: AtomicU64,
}

/// After how long without a byte a connection is given up: as the meter says.
#[derive(Debug)]
pub(crate) struct Silence(AtomicU16);

impl Default for Silence {
    fn default() -> Self {
        Self(AtomicU16::new(Connectivity::default().inactivity_seconds))
    }
}

impl Silence {
    pub(crate) fn set(&self, seconds: u16) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed).into())
    }
}

impl LinkState {
    pub(crate) fn observe(&self, progress: Progress<'_>) {
        // Nothing panics while it holds this.
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Dialling => {}
            Progress::Connected => {
                status.is_connected = true;
                status.connections = status.connections.saturating_add(1);
            }
            Progress::Failed(reason) => {
                status.failures = status.failures.saturating_add(1);
                status.last_reason = Arc::from(reason);
            }
            Progress::Ended(reason) => {
                status.is_connected = false;
                status.last_reason = Arc::from(reason);
            }
        }
    }

    /// As it is now.
    pub(crate) fn status(&self, network: &dyn Network) -> LinkStatus {
        LinkStatus {
            signal_dbm: network.signal_dbm(),
            bytes_in: self.bytes.incoming.load(Ordering::Relaxed),
            bytes_out: self.bytes.outgoing.load(Ordering::Relaxed),
            ..self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }
}
