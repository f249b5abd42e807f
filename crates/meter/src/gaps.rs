//! Frames that the front end lost or sent twice, turned into events of the security log with their duration. The energy
//! of what is missing is never estimated. A front end that stumbles all the time makes one event a minute of each kind,
//! with all that came together since the last.

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::EventCode;

use crate::StorageError;
use crate::inner::Inner;

/// What has not been logged yet.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    missing: Stumble,
    repeated: Stumble,
}

#[derive(Debug, Default)]
struct Stumble {
    microseconds: u64,
    /// Uptime of the first since the last event.
    since_ms: u64,
    /// Uptime before which no further event is written.
    quiet_until_ms: u64,
}

impl Stumble {
    fn add(&mut self, microseconds: u64, since_ms: u64) {
        if microseconds > 0 {
            if self.microseconds == 0 {
                self.since_ms = since_ms;
            }
            self.microseconds = self.microseconds.saturating_add(microseconds);
        }
    }

    /// What an event says now, if one is due: its duration and since when.
    fn due(&mut self, uptime_ms: u64) -> Option<(i64, u64)> {
        if self.microseconds == 0 || uptime_ms < self.quiet_until_ms {
            return None;
        }
        self.quiet_until_ms = uptime_ms + PAUSE_MS;
        let microseconds = core::mem::take(&mut self.microseconds);
        Some((i64::try_from(microseconds).unwrap_or(i64::MAX), self.since_ms))
    }
}

impl Gaps {
    pub(crate) fn missing(&mut self, microseconds: u64, since_ms: u64) {
        self.missing.add(microseconds, since_ms);
    }

    pub(crate) fn repeated(&mut self, microseconds: u64, since_ms: u64) {
        self.repeated.add(microseconds, since_ms);
    }
}

impl<F: NorFlash> Inner<F> {
    /// Logs what is due.
    pub(crate) fn log_gaps(&mut self) -> Result<(), StorageError<F::Error>> {
        let uptime_ms = self.uptime_ms();
        let due = [
            (EventCode::MeasurementGap, self.gaps.missing.due(uptime_ms)),
            (EventCode::SamplesRepeated, self.gaps.repeated.due(uptime_ms)),
        ];
        for (code, due) in due {
            if let Some((extreme, since_ms)) = due {
                // Kept by the log if the flash fails.
                self.log_since(code, extreme, since_ms)?;
            }
        }
        Ok(())
    }
}

/// Shortest time between two events of a kind.
const PAUSE_MS: u64 = 60_000;
