//! What can be amiss, each with the event that begins it and the one that ends it, and what of it goes on now.

use meterseal_model::EventCode;

macro_rules! conditions {
    ($($(#[$doc:meta])* $name:ident = $begin:ident, $end:ident;)*) => {
        /// Something that begins and ends. Its discriminant is its bit in [`Latches`]: part of the format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Condition {
            $($(#[$doc])* $name,)*
        }

        impl Condition {
            const ALL: &[Self] = &[$(Self::$name,)*];

            pub(crate) const fn begin(self) -> EventCode {
                match self { $(Self::$name => EventCode::$begin,)* }
            }

            pub(crate) const fn end(self) -> EventCode {
                match self { $(Self::$name => EventCode::$end,)* }
            }
        }
    };
}

conditions! {
    MeterCover = CoverRemoved, CoverClosed;
    TerminalCover = TerminalCoverRemoved, TerminalCoverClosed;
    Magnet = MagnetOn, MagnetOff;
    AlternatingField = AlternatingFieldOn, AlternatingFieldOff;
    Tilt = Tilted, Upright;
    Spike = VoltageSpike, VoltageSpikesOver;
    Heat = OverTemperature, TemperatureNormal;
    Neutral = NeutralMismatch, NeutralMatch;
    Reversed = CurrentReversed, CurrentForward;
    Unmeasured = CurrentWithoutVoltage, CurrentWithVoltage;
    Interruption = SupplyInterrupted, SupplyRestored;
    Sequence = PhaseSequenceWrong, PhaseSequenceRight;
    LostL1 = PhaseLostL1, VoltageNormalL1;
    LostL2 = PhaseLostL2, VoltageNormalL2;
    LostL3 = PhaseLostL3, VoltageNormalL3;
    HighL1 = OvervoltageL1, OvervoltageOverL1;
    HighL2 = OvervoltageL2, OvervoltageOverL2;
    HighL3 = OvervoltageL3, OvervoltageOverL3;
}

impl Condition {
    pub(crate) const LOST: [Self; 3] = [Self::LostL1, Self::LostL2, Self::LostL3];
    pub(crate) const HIGH: [Self; 3] = [Self::HighL1, Self::HighL2, Self::HighL3];

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
    fn the_first_three_are_where_earlier_records_have_them() {
        let bits = [Condition::MeterCover, Condition::TerminalCover, Condition::Magnet].map(Condition::bit);
        assert_eq!(bits, [1, 2, 4]);
    }
}
