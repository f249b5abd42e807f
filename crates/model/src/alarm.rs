//! What an event means beyond its sentence: the bit of alarm register 1 that it raises, and the tamper counter that counts
//! it.
//!
//! Bits are those of the DSMR and IDIS families; the counters' logical names are those of the OBIS list's tamper events
//! (0.b.96.20.e) [both not verified against the standard's text].

use crate::event::EventCode::{self, *};
use crate::event::Severity;

/// Bits of alarm register 1.
pub mod bit {
    /// The clock was moved.
    pub const CLOCK: u32 = 1 << 0;
    /// The meter started.
    pub const POWER_UP: u32 = 1 << 2;
    /// Settings, keys or certificates were changed.
    pub const CONFIGURATION: u32 = 1 << 4;
    /// The program in memory, or firmware that was to become it, failed a check.
    pub const PROGRAM_MEMORY: u32 = 1 << 8;
    /// The working memory failed a check.
    pub const RAM: u32 = 1 << 9;
    /// The flash failed.
    pub const NON_VOLATILE_MEMORY: u32 = 1 << 10;
    /// The measurement failed.
    pub const MEASUREMENT: u32 = 1 << 11;
    /// The watchdog started the meter again.
    pub const WATCHDOG: u32 = 1 << 12;
    /// Somebody may be altering the meter.
    pub const FRAUD: u32 = 1 << 13;
    /// L1 has no voltage; L2 and L3 are the two bits above.
    pub const PHASE_LOST: u32 = 1 << 28;
}

impl EventCode {
    /// What this event raises in alarm register 1; 0 for nothing.
    pub const fn alarm(self) -> u32 {
        match self {
            PowerUp => bit::POWER_UP,
            ClockBefore | ClockAfter => bit::CLOCK,
            ParametersChanged | KeysChanged | CertificateChanged => bit::CONFIGURATION,
            ProgramMemoryError => bit::PROGRAM_MEMORY,
            FirmwareRefused => bit::PROGRAM_MEMORY | bit::FRAUD,
            RamError => bit::RAM,
            StorageError => bit::NON_VOLATILE_MEMORY,
            MeasurementError => bit::MEASUREMENT,
            WatchdogReset => bit::WATCHDOG,
            PhaseLostL1 => bit::PHASE_LOST,
            PhaseLostL2 => bit::PHASE_LOST << 1,
            PhaseLostL3 => bit::PHASE_LOST << 2,
            SupplyInterrupted => 7 * bit::PHASE_LOST,
            _ if matches!(self.severity(), Severity::Critical) => bit::FRAUD,
            _ => 0,
        }
    }

    /// Which tamper counter counts it.
    pub const fn counter(self) -> Option<TamperCounter> {
        Some(match self {
            CoverRemoved => TamperCounter::MeterCover,
            TerminalCoverRemoved => TamperCounter::TerminalCover,
            Tilted => TamperCounter::Tilt,
            MagnetOn => TamperCounter::Magnet,
            AlternatingFieldOn => TamperCounter::AlternatingField,
            VoltageSpike => TamperCounter::VoltageSpike,
            CurrentReversed
            | CurrentReversedL1
            | CurrentReversedL2
            | CurrentReversedL3
            | NeutralMismatch
            | BypassL1
            | BypassL2
            | BypassL3
            | CurrentWithoutVoltage
            | CurrentWithoutVoltageL1
            | CurrentWithoutVoltageL2
            | CurrentWithoutVoltageL3 => TamperCounter::Metrology,
            FailedLogins | UndecryptableMessage | ReplayedMessage | UnauthorisedAct => {
                TamperCounter::Communication
            }
            _ => return None,
        })
    }
}

/// What is counted for the life of the meter. Its discriminant is its place in stored records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TamperCounter {
    /// Openings of the meter's cover.
    MeterCover = 0,
    /// Removals of the terminal cover.
    TerminalCover = 1,
    /// Turns out of position.
    Tilt = 2,
    /// Strong constant magnetic fields.
    Magnet = 3,
    /// Currents reversed, led past the meter, or without voltage.
    Metrology = 4,
    /// Failed logins, forged and replayed messages, acts beyond a role's rights.
    Communication = 5,
    /// Strong alternating magnetic fields.
    AlternatingField = 6,
    /// Voltage spikes.
    VoltageSpike = 7,
}

impl TamperCounter {
    /// Every counter, in the order of their places.
    pub const ALL: [Self; 8] = [
        Self::MeterCover,
        Self::TerminalCover,
        Self::Tilt,
        Self::Magnet,
        Self::Metrology,
        Self::Communication,
        Self::AlternatingField,
        Self::VoltageSpike,
    ];

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_a_tampering_is_critical_raises_an_alarm_and_is_counted_its_end_is_none_of_it() {
        for &code in EventCode::ALL {
            let Some(begin) = code.ends() else { continue };
            assert_eq!(
                (code.severity(), code.alarm(), code.counter()),
                (Severity::Notice, 0, None),
                "{code}"
            );
            assert!(begin.severity() >= Severity::Warning, "{begin}");
            let counted = begin.counter().is_some();
            assert_eq!(counted, begin.severity() == Severity::Critical, "{begin}");
            assert!(!counted || begin.alarm() & bit::FRAUD != 0, "{begin}");
        }
    }

    #[test]
    fn counters_are_at_their_places() {
        for (k, counter) in TamperCounter::ALL.into_iter().enumerate() {
            assert_eq!(counter.index(), k);
        }
    }
}
