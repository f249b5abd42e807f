//! Maximum demand: the largest mean power over an integration period, in blocks or sliding.
//!
//! A period is divided into sub-intervals. With one it is a block; with more it slides by a sub-interval (IEC 62056-6-2, class 5: demand register,
//! `period` and `number_of_periods`). It lives beside the core: it is given register readings and knows nothing of samples' contents.

use crate::{Config, ConfigError};

/// How demand is integrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemandSettings {
    /// Frames a second in microhertz, as in [`Config`].
    pub sample_rate_microhertz: u64,
    /// The length of a sub-interval: 1 to 86 400 s.
    pub subinterval_seconds: u32,
    /// Sub-intervals in a period: 1 (a block) to [`MaximumDemand::SUBINTERVALS_MAX`].
    pub subintervals: u8,
}

/// Mean power over one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Mean power, in the register's unit over time: µW for nWh.
    pub microwatts: u64,
    /// The sample at which the period ended.
    pub end_sample: u64,
}

/// Follows one energy register.
#[derive(Clone, Debug)]
pub struct MaximumDemand {
    settings: DemandSettings,
    /// Where sub-intervals are counted from, and how many have ended since.
    origin: u64,
    ended: u64,
    /// The last reading: sample and register.
    last: (u64, u64),
    /// The register at the end of the last sub-intervals, by their number.
    readings: [u64; MaximumDemand::SUBINTERVALS_MAX as usize + 1],
    largest: Option<Demand>,
}

impl MaximumDemand {
    /// The most sub-intervals in a period.
    pub const SUBINTERVALS_MAX: u8 = 15;

    /// Begins a first period at this sample and register.
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn new(settings: DemandSettings, sample: u64, register: u64) -> Result<Self, ConfigError> {
        let range = |field, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(ConfigError { field, value, min, max }) }
        };
        let (slowest, fastest) = (Config::SAMPLE_RATE_MIN_MICROHERTZ, Config::SAMPLE_RATE_MAX_MICROHERTZ);
        range("sample_rate_microhertz", settings.sample_rate_microhertz, slowest, fastest)?;
        range("subinterval_seconds", settings.subinterval_seconds.into(), 1, 86_400)?;
        range("subintervals", settings.subintervals.into(), 1, Self::SUBINTERVALS_MAX.into())?;
        let mut demand = Self {
            settings,
            origin: 0,
            ended: 0,
            last: (0, 0),
            readings: [0; Self::SUBINTERVALS_MAX as usize + 1],
            largest: None,
        };
        demand.synchronise(sample, register);
        Ok(demand)
    }

    /// Begins a first sub-interval here, at a clock's full period for instance; the period that was going on is given up, the maximum stays.
    pub fn synchronise(&mut self, sample: u64, register: u64) {
        (self.origin, self.ended, self.last) = (sample, 0, (sample, register));
        self.readings[0] = register;
    }

    /// Takes a reading of the register after so many samples, once a window or so, and hands each period that has ended to `on_period`. Energy between
    /// two readings is taken as steady, so that a period's end need not be a reading's. A sample before the last reading's is ignored.
    pub fn advance(&mut self, sample: u64, register: u64, on_period: &mut dyn FnMut(Demand)) {
        let (last_sample, last_register) = self.last;
        if sample <= last_sample {
            return;
        }
        let gain = u128::from(register.wrapping_sub(last_register));
        let span = u128::from(sample - last_sample);
        loop {
            let end = self.end_of(self.ended + 1);
            if end > sample {
                break;
            }
            // Sub-intervals up to the last reading have ended then.
            let share = gain * u128::from(end - last_sample) / span;
            self.end_subinterval(end, last_register.wrapping_add(share as u64), on_period);
        }
        self.last = (sample, register);
    }

    /// The largest demand so far.
    pub fn largest(&self) -> Option<Demand> {
        self.largest
    }

    /// Takes the largest demand and begins to look for a new one: the end of a billing period. The period that is going on goes on.
    pub fn reset(&mut self) -> Option<Demand> {
        self.largest.take()
    }

    fn end_subinterval(&mut self, end: u64, register: u64, on_period: &mut dyn FnMut(Demand)) {
        self.ended += 1;
        let places = self.readings.len() as u64;
        self.readings[(self.ended % places) as usize] = register;
        let subintervals = u64::from(self.settings.subintervals);
        let Some(first) = self.ended.checked_sub(subintervals) else {
            return;
        };
        let energy = register.wrapping_sub(self.readings[(first % places) as usize]);
        let samples = end - self.end_of(first);
        // nWh over seconds: 3 600 nW each. Below 2⁶⁴ · 2³⁷ · 2² over samples, a rate in microhertz and 10⁻³.
        let nanowatts = u128::from(energy) * 3600 * u128::from(self.settings.sample_rate_microhertz);
        let microwatts = nanowatts / (u128::from(samples) * 1_000_000 * 1000);
        let demand = Demand { microwatts: microwatts as u64, end_sample: end };
        if self.largest.is_none_or(|largest| demand.microwatts > largest.microwatts) {
            self.largest = Some(demand);
        }
        on_period(demand);
    }

    /// The sample at which a sub-interval ends, to the nearest below: rounding does not add up.
    fn end_of(&self, number: u64) -> u64 {
        let DemandSettings { sample_rate_microhertz, subinterval_seconds, .. } = self.settings;
        let samples =
            u128::from(number) * u128::from(subinterval_seconds) * u128::from(sample_rate_microhertz);
        self.origin.saturating_add((samples / 1_000_000) as u64)
    }
}
