//! The nominal supply frequency and the length of one cycle in samples.

/// The lowest supply frequency that is tracked, in microhertz.
pub(crate) const FREQUENCY_MIN_MICROHERTZ: u64 = 40_000_000;
/// The highest supply frequency that is tracked, in microhertz.
pub(crate) const FREQUENCY_MAX_MICROHERTZ: u64 = 70_000_000;

/// The nominal supply frequency, which fixes how many cycles make a measurement window of about 200 ms (IEC 61000-4-30).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nominal {
    /// 50 Hz: windows of ten cycles.
    Hz50,
    /// 60 Hz: windows of twelve cycles.
    Hz60,
}

impl Nominal {
    /// Cycles in one measurement window: 10 at 50 Hz, 12 at 60 Hz (IEC 61000-4-30).
    pub const fn window_cycles(self) -> u16 {
        match self {
            Self::Hz50 => 10,
            Self::Hz60 => 12,
        }
    }

    /// The nominal frequency in millihertz: 50 000 or 60 000.
    pub const fn millihertz(self) -> u32 {
        match self {
            Self::Hz50 => 50_000,
            Self::Hz60 => 60_000,
        }
    }

    /// The nominal frequency nearest to a measured one: 50 Hz below 55 Hz, else 60 Hz.
    pub const fn nearest(microhertz: u64) -> Self {
        if microhertz < 55_000_000 { Self::Hz50 } else { Self::Hz60 }
    }
}

/// The length of one supply cycle in samples, as unsigned fixed point with 32 fractional bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(u64);

impl Period {
    /// The period of a supply of `microhertz` sampled at `sample_rate_microhertz`, to the nearest 2⁻³² sample. It saturates at both ends, so zero
    /// hertz gives the longest period; [`Config`](crate::Config) checks the range.
    pub const fn from_frequency(sample_rate_microhertz: u64, microhertz: u64) -> Self {
        if microhertz == 0 {
            return Self(u64::MAX);
        }
        let wide = (((sample_rate_microhertz as u128) << 32) + (microhertz as u128) / 2) / microhertz as u128;
        if wide == 0 {
            Self(1)
        } else if wide > u64::MAX as u128 {
            Self(u64::MAX)
        } else {
            Self(wide as u64)
        }
    }

    /// The supply frequency in microhertz, at the given sampling rate, to the nearest microhertz.
    pub const fn frequency_microhertz(self, sample_rate_microhertz: u64) -> u64 {
        let period = self.0 as u128;
        let wide = (((sample_rate_microhertz as u128) << 32) + period / 2) / period;
        if wide > u64::MAX as u128 { u64::MAX } else { wide as u64 }
    }

    /// This period, or one shorter by at most 1/4096 with which a record of `samples` holds one cycle more.
    ///
    /// A record cut to whole cycles ends up to a sample before its last cycle does, and only whole cycles make boundaries. So little off, slots leak
    /// less than 10⁻⁷; use it with [`Config::fixed_period`](crate::Config::fixed_period). The frequency of a [`Window`](crate::Window) stays the supply's.
    pub const fn fitted_to(self, samples: u64) -> Self {
        let total = (samples as u128) << 32;
        let cycles = total.div_ceil(self.0 as u128);
        if cycles == 0 {
            return self;
        }
        let fitted = (total / cycles) as u64;
        if self.0 - fitted <= self.0 >> 12 { Self(fitted) } else { self }
    }

    /// Samples per cycle with 32 fractional bits.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// From samples per cycle with 32 fractional bits; zero becomes the smallest period.
    pub const fn from_bits(bits: u64) -> Self {
        Self(if bits == 0 { 1 } else { bits })
    }
}
