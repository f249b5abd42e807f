//! What the core must know before the first sample: rate, nominal frequency, and what a count is worth.

use crate::{
    CURRENTS, Nominal, Period, VOLTAGES,
    period::{FREQUENCY_MAX_MICROHERTZ, FREQUENCY_MIN_MICROHERTZ},
};

/// The settings of one [`Metrology`](crate::Metrology).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Frames a second in microhertz: 1 kHz to 100 kHz, that is 10⁹ to 10¹¹.
    pub sample_rate_microhertz: u64,
    /// The supply's nominal frequency. Slots have this length until a supply is found and while all voltages are lost.
    pub nominal: Nominal,
    /// A known cycle length to start from (40 to 70 Hz) in place of the nominal one.
    pub period: Option<Period>,
    /// Do not follow the supply frequency: all slots keep the first length.
    pub fixed_period: bool,
    /// Cycles in one window, 1 to [`Config::WINDOW_CYCLES_MAX`]: 10 or 12 in a meter ([`Nominal::window_cycles`]).
    pub window_cycles: u16,
    /// What one count is worth.
    pub scale: Scale,
}

/// What one front-end count is worth, per channel: [`Scale::MIN`] to [`Scale::MAX`] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// L1, L2, L3, in femtovolts a count.
    pub voltage_femtovolts_per_count: [u64; VOLTAGES],
    /// L1, L2, L3, neutral, in femtoamperes a count.
    pub current_femtoamperes_per_count: [u64; CURRENTS],
}

impl Scale {
    /// The smallest scale: 10⁶ fV or fA a count (a full scale of 8.4 mV or mA).
    pub const MIN: u64 = 1_000_000;
    /// The largest scale: 10¹⁴ fV or fA a count (a full scale of 839 kV or kA).
    pub const MAX: u64 = 100_000_000_000_000;
}

impl Config {
    /// The lowest sampling rate: 1 kHz.
    pub const SAMPLE_RATE_MIN_MICROHERTZ: u64 = 1_000_000_000;
    /// The highest sampling rate: 100 kHz.
    pub const SAMPLE_RATE_MAX_MICROHERTZ: u64 = 100_000_000_000;
    /// The longest window, one minute at 50 Hz.
    pub const WINDOW_CYCLES_MAX: u16 = 3000;

    /// A meter's settings at this rate, frequency and scale: windows of 10/12 cycles, frequency followed.
    pub const fn new(sample_rate_microhertz: u64, nominal: Nominal, scale: Scale) -> Self {
        Self {
            sample_rate_microhertz,
            nominal,
            period: None,
            fixed_period: false,
            window_cycles: nominal.window_cycles(),
            scale,
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |field, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(ConfigError { field, value, min, max }) }
        };
        range(
            "sample_rate_microhertz",
            self.sample_rate_microhertz,
            Self::SAMPLE_RATE_MIN_MICROHERTZ,
            Self::SAMPLE_RATE_MAX_MICROHERTZ,
        )?;
        range("window_cycles", self.window_cycles.into(), 1, Self::WINDOW_CYCLES_MAX.into())?;
        if let Some(period) = self.period {
            let at = |microhertz| Period::from_frequency(self.sample_rate_microhertz, microhertz);
            range(
                "period (samples in units of 2^-32)",
                period.to_bits(),
                at(FREQUENCY_MAX_MICROHERTZ).to_bits(),
                at(FREQUENCY_MIN_MICROHERTZ).to_bits(),
            )?;
        }
        for value in self.scale.voltage_femtovolts_per_count {
            range("voltage_femtovolts_per_count", value, Scale::MIN, Scale::MAX)?;
        }
        for value in self.scale.current_femtoamperes_per_count {
            range("current_femtoamperes_per_count", value, Scale::MIN, Scale::MAX)?;
        }
        Ok(())
    }

    /// The length of the first slot.
    pub(crate) fn start_period(&self) -> Period {
        self.period.unwrap_or(Period::from_frequency(
            self.sample_rate_microhertz,
            u64::from(self.nominal.millihertz()) * 1000,
        ))
    }
}

/// A setting that is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field's name in [`Config`] or [`Scale`].
    pub field: &'static str,
    /// What it was set to.
    pub value: u64,
    /// The smallest value it may have.
    pub min: u64,
    /// The largest value it may have.
    pub max: u64,
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { field, value, min, max } = self;
        write!(f, "metrology setting {field} is {value}; set it between {min} and {max}")
    }
}

impl core::error::Error for ConfigError {}
