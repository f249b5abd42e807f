//! What can be amiss, each with the event that begins it and the one that ends it, and what of it goes on now.

use meterseal_model::EventCode;

macro_rules! conditions {
    ($($name:ident = $bit:literal: $begin:ident, $end:ident;)*) => {
        /// Something that begins and ends. Its discriminant is its bit in [`Latches`]: part of the format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Condition {
            $($name = $bit,)*
        }

        impl Condition {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            pub(crate) const fn begin(self) -> EventCode {
                match self { $(Self::$name => EventCode::$begin,)* }
            }

            pub(crate) const fn end(self) -> EventCode {
                match self { $(Self::$name => EventCode::$end,)* }
            }
        }
    };
}

// Bit 5 was a voltage spike's, which is over at once now. 8 and 9 are of a time before phases were named: they end, and do
// not begin any more.
conditions! {
    MeterCover = 0: CoverRemoved, CoverClosed;
    TerminalCover = 1: TerminalCoverRemoved, TerminalCoverClosed;
    Magnet = 2: MagnetOn, MagnetOff;
    AlternatingField = 3: AlternatingFieldOn, AlternatingFieldOff;
    Tilt = 4: Tilted, Upright;
    Heat = 6: OverTemperature, TemperatureNormal;
    Neutral = 7: NeutralMismatch, NeutralMatch;
    Reversed = 8: CurrentReversed, CurrentForward;
    Unmeasured = 9: CurrentWithoutVoltage, CurrentWithVoltage;
    Interruption = 10: SupplyInterrupted, SupplyRestored;
    Sequence = 11: PhaseSequenceWrong, PhaseSequenceRight;
    LostL1 = 12: PhaseLostL1, VoltageNormalL1;
    LostL2 = 13: PhaseLostL2, VoltageNormalL2;
    LostL3 = 14: PhaseLostL3, VoltageNormalL3;
    HighL1 = 15: OvervoltageL1, OvervoltageOverL1;
    HighL2 = 16: OvervoltageL2, OvervoltageOverL2;
    HighL3 = 17: OvervoltageL3, OvervoltageOverL3;
    ReversedL1 = 18: CurrentReversedL1, CurrentForwardL1;
    ReversedL2 = 19: CurrentReversedL2, CurrentForwardL2;
    ReversedL3 = 20: CurrentReversedL3, CurrentForwardL3;
    UnmeasuredL1 = 21: CurrentWithoutVoltageL1, CurrentWithVoltageL1;
    UnmeasuredL2 = 22: CurrentWithoutVoltageL2, CurrentWithVoltageL2;
    UnmeasuredL3 = 23: CurrentWithoutVoltageL3, CurrentWithVoltageL3;
    BypassL1 = 24: BypassL1, BypassOverL1;
    BypassL2 = 25: BypassL2, BypassOverL2;
    BypassL3 = 26: BypassL3, BypassOverL3;
}

impl Condition {
    pub(crate) const LOST: [Self; 3] = [Self::LostL1, Self::LostL2, Self::LostL3];
    pub(crate) const HIGH: [Self; 3] = [Self::HighL1, Self::HighL2, Self::HighL3];
    pub(crate) const REVERSED: [Self; 3] = [Self::ReversedL1, Self::ReversedL2, Self::ReversedL3];
    pub(crate) const UNMEASURED: [Self; 3] = [Self::UnmeasuredL1, Self::UnmeasuredL2, Self::UnmeasuredL3];
    pub(crate) const BYPASS: [Self; 3] = [Self::BypassL1, Self::BypassL2, Self::BypassL3];

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// What has been logged as begun and not yet as ended: kept in flash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latches(pub(crate) u32);

impl Latches {
    pub(crate) const fn has(self, condition: Condition) -> bool {
        self.0 & condition.bit() != 0
    }

    /// The latches after this event.
    pub(crate) fn after(self, code: EventCode) -> Self {
        let mut latches = self.0;
        for condition in Condition::ALL {
            if condition.begin() == code {
                latches |= condition.bit();
            } else if condition.end() == code {
                latches &= !condition.bit();
            }
        }
        Self(latches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_is_latched_by_its_beginning_and_let_go_by_its_end() {
        for &condition in Condition::ALL {
            let begun = Latches::default().after(condition.begin());
            assert!(begun.has(condition) && begun.0.count_ones() == 1, "{condition:?}");
            assert_eq!(begun.after(condition.end()), Latches::default(), "{condition:?}");
            assert!(condition.end().ends().is_some(), "{condition:?}");
        }
        assert_eq!(Latches(0b101).after(EventCode::PowerUp), Latches(0b101));
    }

    #[test]
    fn a_spike_is_no_condition_and_each_condition_has_a_bit_of_its_own() {
        assert_eq!(Latches::default().after(EventCode::VoltageSpike), Latches::default());
        let all = Condition::ALL.iter().fold(0, |all, condition| all | condition.bit());
        assert_eq!(all.count_ones() as usize, Condition::ALL.len());
        assert_eq!(all & 1 << 5, 0, "earlier records have a spike there");
    }
}
