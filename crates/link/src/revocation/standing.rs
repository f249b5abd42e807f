//! The right of a standing connection to go on.

use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::Revocations;
use crate::pki::{Certificate, moment};
use crate::tls::MeterClock;

/// Held beside a connection: [`Standing::ended`] returns when its certificate no longer carries it.
#[derive(Debug)]
pub struct Standing {
    revocations: Revocations,
    clock: MeterClock,
    certificate: Certificate,
    changes: watch::Receiver<u64>,
}

/// Why a standing connection must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its certificate or an authority above it was revoked.
    Revoked,
    /// Its certificate is no longer valid.
    Expired(SystemTime),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked => f.write_str("its certificate was revoked"),
            Self::Expired(at) => write!(f, "its certificate expired at {}", moment(*at)),
        }
    }
}

impl Standing {
    /// Begins to watch over the connection of this certificate. What was revoked before is noticed as well.
    pub(crate) fn new(revocations: &Revocations, clock: &MeterClock, certificate: Certificate) -> Self {
        Self {
            revocations: revocations.clone(),
            clock: clock.clone(),
            changes: revocations.changes(),
            certificate,
        }
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Waits until the connection must end. Cancel by dropping. Costs one look into a table per change of the lists.
    pub async fn ended(&mut self) -> End {
        loop {
            // Marked as seen before the look, so that no change falls between.
            self.changes.borrow_and_update();
            if self.revocations.is_revoked(&self.certificate) {
                return End::Revoked;
            }
            let until = self.certificate.validity.not_after;
            let now = self.clock.now().unwrap_or_else(|| self.clock.floor());
            let Ok(left) = until.duration_since(now) else { return End::Expired(until) };
            tokio::select! {
                // The sender lives as long as `revocations`, which is held here.
                _ = self.changes.changed() => {}
                // In steps, because the wall's clock can be set while the timer runs by another.
                () = tokio::time::sleep(left.clamp(Duration::from_millis(1), STEP)) => {}
            }
        }
    }
}

/// Longest time between two looks at the clock.
const STEP: Duration = Duration::from_secs(60);
