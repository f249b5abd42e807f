//! Events that come again and again: the first ones are entries of their own; beyond their allowance they are counted, and
//! the count becomes one entry (design, decision 18). So nobody can wear the log out, or push others out of it, by doing
//! something over and over, and nothing that he does is left out of the record.

use alloc::vec::Vec;

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::EventCode;

use crate::allowance::Allowance;
use crate::inner::Inner;

/// What is known of repeated events.
#[derive(Debug)]
pub(crate) struct Repeats {
    /// Shared by all of them.
    allowance: Allowance,
    /// One for each kind that has happened: a bounded number.
    kinds: Vec<Kind>,
}

#[derive(Debug)]
struct Kind {
    code: EventCode,
    /// The uptime of its last entry.
    entered_ms: u64,
    /// How often it has happened since without one.
    counted: u32,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { allowance: Allowance::new(AT_START, BURST, REFILL_MS), kinds: Vec::new() }
    }
}

impl Repeats {
    /// Whether an event is an entry of its own; otherwise it is counted here.
    fn admits(&mut self, code: EventCode, uptime_ms: u64) -> bool {
        if !is_limited(code) {
            return true;
        }
        let Some(kind) = self.kinds.iter_mut().find(|kind| kind.code == code) else {
            self.kinds.push(Kind { code, entered_ms: uptime_ms, counted: 0 });
            return true;
        };
        // Once in a while every kind is, whatever the others use up: nothing else can hide it.
        let rare = kind.counted == 0 && uptime_ms.saturating_sub(kind.entered_ms) >= EACH_MS;
        if rare || self.allowance.take(uptime_ms) {
            kind.entered_ms = uptime_ms;
            return true;
        }
        kind.counted = kind.counted.saturating_add(1);
        false
    }

    /// A count that is due to become an entry: its extreme value. It is over with that.
    pub(crate) fn take_due(&mut self, uptime_ms: u64, all: bool) -> Option<i64> {
        let due = |kind: &&mut Kind| {
            kind.counted > 0 && (all || uptime_ms.saturating_sub(kind.entered_ms) >= EACH_MS)
        };
        let kind = self.kinds.iter_mut().find(due)?;
        kind.entered_ms = uptime_ms;
        let count = core::mem::take(&mut kind.counted);
        Some(i64::from(count) * 256 + i64::from(kind.code as u8))
    }
}

impl<F: NorFlash> Inner<F> {
    /// Whether an event becomes an entry; otherwise it has its effect on latches, counters and alarms, and is counted.
    pub(crate) fn admit(&mut self, code: EventCode) -> bool {
        let admitted = self.repeats.admits(code, self.uptime_ms());
        if !admitted {
            self.count(code);
            self.state.alarms |= code.alarm();
        }
        admitted
    }

    /// Writes the counts that are due, or all there are.
    pub(crate) fn log_repeats(&mut self, all: bool) -> Result<(), crate::StorageError<F::Error>> {
        while let Some(extreme) = self.repeats.take_due(self.uptime_ms(), all) {
            self.log(EventCode::EventsRepeated, extreme)?;
        }
        Ok(())
    }
}

/// Whether somebody without any right can bring an event about. Authorities' acts are entries, however many there are.
const fn is_limited(code: EventCode) -> bool {
    use EventCode::*;
    !matches!(
        code,
        PowerDown
            | PowerUp
            | ClockBefore
            | ClockAfter
            | CalendarActivated
            | MeasurementError
            | ProgramMemoryError
            | RamError
            | FirmwareReady
            | FirmwareActivated
            | FirmwareActivationOrdered
            | FirmwareTransferBegun
            | FirmwareGivenUp
            | TrustRootChanged
            | ParametersChanged
            | KeysChanged
            | CertificateChanged
            | RemoteDisconnection
            | RemoteReconnection
            | BillingPeriodEnded
            | DemandReset
            | EventLogCleared
            | LogNearlyFull
            | EventsNotLogged
            | EventsRepeated
    )
}

/// Entries at once: after power-up, and after a quiet time. A meter can start 2²⁰ times before its invocation counters are spent:
/// 32 each are another 8 000 erases.
const AT_START: u32 = 32;
const BURST: u32 = 128;
/// One more every 4 s: 1.6 × 10⁸ in 20 years, or 38 000 erases of each of 129 sectors at 32 entries a sector.
const REFILL_MS: u64 = 4_000;
/// Each kind has an entry every 2 min beyond that: 40 kinds at once for 20 years are 2.1 × 10⁸, or 51 000 erases.
const EACH_MS: u64 = 120_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_repeat_is_an_entry_or_in_a_count() {
        let mut repeats = Repeats::default();
        let (mut entries, mut counted, mut counts) = (0u64, 0u64, 0u64);
        for uptime_ms in (0..3_600_000).step_by(500) {
            entries += u64::from(repeats.admits(EventCode::CoverRemoved, uptime_ms));
            while let Some(extreme) = repeats.take_due(uptime_ms, false) {
                assert_eq!(extreme % 256, EventCode::CoverRemoved as i64);
                counted += (extreme / 256) as u64;
                counts += 1;
            }
        }
        counted += (repeats.take_due(3_600_000, true).unwrap_or(0) / 256) as u64;
        assert_eq!(entries + counted, 7_200);
        assert!((900..1_100).contains(&entries), "{entries}");
        assert!(counts <= 31, "{counts}");
    }

    #[test]
    fn what_is_done_over_and_over_hides_nothing_else() {
        let mut repeats = Repeats::default();
        for uptime_ms in 0..600_000 {
            repeats.admits(EventCode::UndecryptableMessage, uptime_ms);
        }
        assert!(repeats.admits(EventCode::CoverRemoved, 600_000));
        assert!(repeats.admits(EventCode::PowerDown, 600_000));
    }
}
