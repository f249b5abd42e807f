//! How the connection to the head-end fares, as the device tells it and DLMS shows it.

use alloc::sync::Arc;

use meterseal_model::UnixMillis;

/// How the connection to the head-end fares. Counts are since power-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkStatus {
    /// Strength of the radio signal, dBm; `None` without a radio, or while it hears nothing.
    pub signal_dbm: Option<i8>,
    /// Whether there is a connection now.
    pub is_connected: bool,
    /// Connections that came about.
    pub connections: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// Why the last attempt failed or the last connection ended; empty where none has.
    pub last_reason: Arc<str>,
    /// Bytes received, inside TLS.
    pub bytes_in: u64,
    /// Bytes sent, inside TLS.
    pub bytes_out: u64,
}

/// How the device speaks TCP: what TCP-UDP setup shows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connectivity {
    /// The port that it listens on; `None` where it only dials.
    pub local_port: Option<u16>,
    /// After so long without a byte it gives a connection up, seconds, unless the utility sets another time.
    pub inactivity_seconds: u16,
}

impl Default for Connectivity {
    /// No port; a minute, which a head-end that reads every second never needs.
    fn default() -> Self {
        Self { local_port: None, inactivity_seconds: 60 }
    }
}

/// The status, and when the connection last changed by the meter's clock.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) status: LinkStatus,
    pub(crate) changed: Option<UnixMillis>,
}

impl Known {
    /// Takes a status over. Bytes and the signal alone are no change of the connection.
    pub(crate) fn take(&mut self, status: LinkStatus, now: UnixMillis) {
        let connection = |status: &LinkStatus| (status.is_connected, status.connections, status.failures);
        if connection(&status) != connection(&self.status) {
            self.changed = Some(now);
        }
        self.status = status;
    }
}
