//! When readings and measurements become events: every threshold, hysteresis and waiting time, in one table. It is the
//! type, its defaults, its ranges, its record in flash and its structure over DLMS at once.

macro_rules! thresholds {
    ($($(#[doc = $doc:literal])* $name:ident = $standard:literal, $min:literal..=$max:literal;)*) => {
        /// When readings and measurements become events. A field of 0 that may be 0 switches its detection off.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Thresholds {
            $($(#[doc = $doc])* pub $name: u32,)*
        }

        impl Thresholds {
            /// What a meter has until its maker or its utility sets something else; each field says why.
            pub const STANDARD: Self = Self { $($name: $standard,)* };

            /// How many fields there are.
            pub const COUNT: usize = [$(stringify!($name),)*].len();

            /// The fields' names, in their order in records and over DLMS.
            pub const NAMES: [&'static str; Self::COUNT] = [$(stringify!($name),)*];

            /// What each is for, in that order: the words of its documentation.
            pub const NOTES: [&'static str; Self::COUNT] = [$(concat!($($doc),*),)*];

            /// The least and the most that each may be, in that order.
            pub const RANGES: [(u32, u32); Self::COUNT] = [$(($min, $max),)*];

            /// The fields, in that order.
            pub const fn to_fields(&self) -> [u32; Self::COUNT] {
                [$(self.$name,)*]
            }

            /// From the fields in that order. Nothing is checked.
            pub const fn from_fields(fields: [u32; Self::COUNT]) -> Self {
                let [$($name,)*] = fields;
                Self { $($name,)* }
            }
        }
    };
}

thresholds! {
    /// How long a cover or a constant field must stay changed, milliseconds. 12 ms: three readings, which is longer than
    /// half a cycle of 50 Hz and leaves 4 ms of the 20 ms from a stimulus to the entry in flash.
    debounce_ms = 12, 0..=1000;
    /// Magnetic flux density at or above which a constant field is strong, microtesla. 50 mT: as far above the earth's
    /// 0.05 mT as below a permanent magnet's 100 mT and more.
    magnet_on_microtesla = 50_000, 1_000..=1_000_000;
    /// Flux density below which it is gone, microtesla.
    magnet_off_microtesla = 30_000, 1..=1_000_000;
    /// Amplitude at or above which an alternating field is strong, microtesla. 5 mT: ten times the 0.5 mT (r.m.s.) that a
    /// meter must bear (IEC 62053-22), and what a transformer leaves beside it is less than that.
    alternating_on_microtesla = 5_000, 500..=1_000_000;
    /// Amplitude below which it is gone, microtesla.
    alternating_off_microtesla = 3_000, 1..=1_000_000;
    /// Surge peak at or above which a voltage spike is logged, millivolts. 1.5 kV: above what switching leaves behind a
    /// meter's own varistor.
    spike_millivolts = 1_500_000, 400_000..=20_000_000;
    /// For so long after a spike further ones belong to it, unless they are a tenth higher, milliseconds.
    spike_quiet_ms = 200, 1..=60_000;
    /// Which way is up: 0 the accelerometer's +x, 1 −x, 2 +y, 3 −y, 4 +z, 5 −z.
    upright_axis = 2, 0..=5;
    /// Angle from there at or above which the meter is tilted, degrees. 15° is far more than a wall moves.
    tilt_on_degrees = 15, 3..=90;
    /// Angle below which it is upright again, degrees.
    tilt_off_degrees = 10, 1..=90;
    /// How long, milliseconds, after the mean over 0.3 s has turned: knocks are shorter.
    tilt_ms = 300, 0..=60_000;
    /// Temperature at or above which the meter is too hot, millikelvin. 95 °C: 10 K above the range that it works in,
    /// as a case is warmer than its air by its own supply and current.
    hot_millikelvin = 368_150, 300_000..=473_150;
    /// Temperature below which it is not any more, millikelvin.
    cool_millikelvin = 363_150, 250_000..=473_150;
    /// How long it must be, milliseconds.
    heat_ms = 5_000, 0..=3_600_000;
    /// RMS voltage of a cycle above which it is a swell, thousandths of the declared one (EN 50160: 110 %).
    swell_permille = 1_100, 1_000..=2_000;
    /// RMS voltage of a cycle below which a phase, or the supply, is lost, thousandths (EN 50160: what is below 5 % is no
    /// dip any more but an interruption).
    lost_permille = 50, 1..=500;
    /// How far beyond these a voltage must come back, thousandths.
    voltage_hysteresis_permille = 20, 0..=100;
    /// How long a voltage must be back, or the phases in order, until the event is over, milliseconds: a supply that
    /// flickers is one event.
    supply_quiet_ms = 2_000, 0..=600_000;
    /// Where something behind the meter generates, so that a current that flows backwards is no event: 1 on every phase, or
    /// the sum of 2 for L1, 4 for L2 and 8 for L3. The others are watched.
    generation_expected = 0, 0..=15;
    /// Export of a phase above which its current is reversed, milliwatts (off: 0). 50 W: far more than an idle load's
    /// measurement errs.
    reversed_milliwatts = 50_000, 0..=1_000_000_000;
    /// Current that the phases have and the neutral has not, above which some flows past the meter, milliamperes (off: 0,
    /// where no neutral is measured).
    neutral_milliamperes = 500, 0..=1_000_000;
    /// … and above so many thousandths of the largest phase's current: transformers differ.
    neutral_permille = 50, 1..=1_000;
    /// Current of a phase above which it must have a voltage, milliamperes (off: 0).
    unmeasured_milliamperes = 500, 0..=1_000_000;
    /// How long a current must be wrong, milliseconds: switching is shorter.
    wiring_ms = 1_000, 0..=3_600_000;
}

impl Default for Thresholds {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// A threshold that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThresholdError {
    /// Which.
    pub field: &'static str,
    /// What it was set to.
    pub value: u32,
    /// The least it may be.
    pub min: u32,
    /// The most it may be.
    pub max: u32,
}

impl Thresholds {
    /// Whether every field is in its range, and no end beyond its beginning.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), ThresholdError> {
        let check = |field, value, min, max| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(ThresholdError { field, value, min, max }) }
        };
        for ((field, value), (min, max)) in Self::NAMES.into_iter().zip(self.to_fields()).zip(Self::RANGES) {
            check(field, value, min, max)?;
        }
        check("magnet_off_microtesla", self.magnet_off_microtesla, 1, self.magnet_on_microtesla)?;
        check(
            "alternating_off_microtesla",
            self.alternating_off_microtesla,
            1,
            self.alternating_on_microtesla,
        )?;
        check("tilt_off_degrees", self.tilt_off_degrees, 1, self.tilt_on_degrees)?;
        check("cool_millikelvin", self.cool_millikelvin, 1, self.hot_millikelvin)
    }

    /// Whether something may generate on L1 (0) to L3 (2).
    pub const fn generates(&self, phase: usize) -> bool {
        self.generation_expected & (1 | 2 << phase) != 0
    }

    /// The core's settings with the voltage thresholds of these.
    pub(crate) const fn on(
        &self,
        events: meterseal_metrology::EventSettings,
    ) -> meterseal_metrology::EventSettings {
        meterseal_metrology::EventSettings {
            swell_permille: self.swell_permille,
            interruption_permille: self.lost_permille,
            hysteresis_permille: self.voltage_hysteresis_permille,
            ..events
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_ones_are_in_their_ranges_and_each_field_can_leave_its_own() {
        assert_eq!(Thresholds::STANDARD.check(), Ok(()));
        for k in 0..Thresholds::COUNT {
            let mut fields = Thresholds::STANDARD.to_fields();
            fields[k] = Thresholds::RANGES[k].1 + 1;
            let refused = Thresholds::from_fields(fields).check().unwrap_err();
            assert_eq!(refused.field, Thresholds::NAMES[k]);
        }
    }

    #[test]
    fn an_end_is_never_beyond_its_beginning() {
        let wrong = Thresholds { magnet_off_microtesla: 50_001, ..Thresholds::STANDARD };
        assert_eq!(wrong.check().unwrap_err().field, "magnet_off_microtesla");
        let wrong = Thresholds { tilt_off_degrees: 16, ..Thresholds::STANDARD };
        assert_eq!(wrong.check().unwrap_err().max, 15);
    }
}
