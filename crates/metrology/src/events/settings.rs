//! Thresholds of the events, and their ranges.

use crate::ConfigError;

/// Thresholds of the events. Voltages are in thousandths of the declared one, as IEC 61000-4-30 writes them in per cent of `Udin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSettings {
    /// The declared voltage `Udin` to neutral: 1 000 to 1 000 000 000 mV.
    pub declared_millivolts: u32,
    /// A sag is below it: above the interruption's threshold, up to 1 000 ‰.
    pub sag_permille: u32,
    /// A swell is above it: 1 000 to 2 000 ‰.
    pub swell_permille: u32,
    /// An interruption is below it on all phases: 1 to 500 ‰.
    pub interruption_permille: u32,
    /// How far a voltage must come back beyond its threshold: 0 to 100 ‰ of `Udin`.
    pub hysteresis_permille: u32,
    /// An unbalance is above it, and over below three quarters of it: 1 000 to 1 000 000 millionths.
    pub unbalance_ppm: u32,
    /// A transient is a deviation from the mean of a sample's neighbours above it: 1 000 to 1 000 000 000 mV. The supply's own curvature is
    /// `2π²·(h·f/rate)²` of each harmonic's peak: 0.25 V of 230 V at 50 Hz and 8 kHz, 16 V at 1 kHz. `None`: off.
    pub transient_millivolts: Option<u32>,
    /// An over-current is above it, and over below 95 % of it: 1 to 1 000 000 000 mA. `None`: off.
    pub over_current_milliamperes: Option<u32>,
    /// Reverse power is an export of one phase above it, and over below half of it: 1 to 1 000 000 000 mW. `None`: off.
    pub reverse_power_milliwatts: Option<u32>,
}

impl EventSettings {
    /// The usual thresholds: sag 90 %, swell 110 %, interruption 5 %, hysteresis 2 % (IEC 61000-4-30 §5.4 and 5.5; EN 50160), unbalance 2 % (EN 50160),
    /// and nothing else.
    pub const fn new(declared_millivolts: u32) -> Self {
        Self {
            declared_millivolts,
            sag_permille: 900,
            swell_permille: 1100,
            interruption_permille: 50,
            hysteresis_permille: 20,
            unbalance_ppm: 20_000,
            transient_millivolts: None,
            over_current_milliamperes: None,
            reverse_power_milliwatts: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let range = |field, value: u32, min: u32, max: u32| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            let [value, min, max] = [value, min, max].map(u64::from);
            Err(ConfigError { field, value, min, max })
        };
        let most = 1_000_000_000;
        range("declared_millivolts", self.declared_millivolts, 1000, most)?;
        range("interruption_permille", self.interruption_permille, 1, 500)?;
        range("sag_permille", self.sag_permille, self.interruption_permille + 1, 1000)?;
        range("swell_permille", self.swell_permille, 1000, 2000)?;
        range("hysteresis_permille", self.hysteresis_permille, 0, 100)?;
        range("unbalance_ppm", self.unbalance_ppm, 1000, 1_000_000)?;
        let optional =
            |field, value: Option<u32>, min| value.map_or(Ok(()), |value| range(field, value, min, most));
        optional("transient_millivolts", self.transient_millivolts, 1000)?;
        optional("over_current_milliamperes", self.over_current_milliamperes, 1)?;
        optional("reverse_power_milliwatts", self.reverse_power_milliwatts, 1)
    }
}
