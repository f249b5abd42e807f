//! Tamper detection as a whole: a virtual place, the real measuring core and the real meter, from the stimulus to the entry
//! in flash (CPA-TAMP).
//!
//! [`detect`] lets each stimulus of [`CASES`] happen again and again, each time with another strength above its
//! threshold, direction, phase, duration and load, and tells how long its entry took in site time. [`live`] lets meters
//! go through a normal life and counts what they take for tampering.

mod cases;
mod checkpoint;
mod flash;
mod life;
mod spread;
mod stage;

pub use cases::{CASES, Case};
pub use checkpoint::CheckpointError;
pub use life::{Alarm, Lived, PLACES, Settings, WATCH_HOURS, live};
pub use stage::Failure;

use crate::random::Random;
use meterseal_meter::Thresholds;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// Something wrong with a detector, to see that the tests find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Fault {
    /// Thresholds so low that a normal life crosses them.
    TooSharp,
    /// Thresholds so high that nothing crosses them.
    Deaf,
}

impl Fault {
    /// The thresholds of a meter with this fault.
    pub fn thresholds(self) -> Thresholds {
        let standard = Thresholds::STANDARD;
        match self {
            Self::TooSharp => Thresholds {
                debounce_ms: 0,
                alternating_on_microtesla: 500,
                alternating_off_microtesla: 400,
                spike_millivolts: 1_000_000,
                tilt_on_degrees: 3,
                tilt_off_degrees: 2,
                tilt_ms: 0,
                hot_millikelvin: 350_000,
                cool_millikelvin: 345_000,
                swell_permille: 1_060,
                voltage_hysteresis_permille: 5,
                lost_permille: 300,
                ..standard
            },
            Self::Deaf => Thresholds {
                debounce_ms: 1_000,
                magnet_on_microtesla: 1_000_000,
                alternating_on_microtesla: 1_000_000,
                spike_millivolts: 20_000_000,
                tilt_on_degrees: 90,
                hot_millikelvin: 473_150,
                swell_permille: 2_000,
                lost_permille: 1,
                generation_expected: 1,
                neutral_milliamperes: 1_000_000,
                unmeasured_milliamperes: 0,
                ..standard
            },
        }
    }
}

/// How one stimulus was detected.
#[derive(Clone, Debug)]
pub struct Detected {
    /// The stimulus.
    pub case: &'static Case,
    /// How often it happened.
    pub repeats: u32,
    /// How often its beginning was not logged, a struck phase was not named or another one was, or its end was not logged.
    pub missed: u32,
    /// From the stimulus to its entry in flash, milliseconds of site time, sorted.
    pub latencies_ms: Vec<f64>,
}

impl Detected {
    /// The latency that this part of the repeats does not exceed; `None` where nothing was detected.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let last = self.latencies_ms.len().checked_sub(1)?;
        self.latencies_ms.get(((last as f64) * part).ceil() as usize).copied()
    }

    /// Whether every repeat was detected within the limit.
    pub fn passes(&self) -> bool {
        let slowest = self.quantile(1.0);
        self.missed == 0 && slowest.is_some_and(|ms| self.case.limit_ms.is_none_or(|limit| ms <= limit))
    }
}

/// Lets a stimulus happen `repeats` times, on all processors; which of them does which changes nothing.
///
/// # Errors
/// The meter on the stage does not work.
pub fn detect(
    case: &'static Case,
    repeats: u32,
    seed: u64,
    fault: Option<Fault>,
) -> Result<Detected, Failure> {
    let thresholds = fault.map_or(Thresholds::STANDARD, Fault::thresholds);
    let latencies_ms = Mutex::new(Vec::new());
    spread::spread(repeats as usize, &AtomicBool::new(false), |repeat| {
        let mut random = Random::new(seed ^ (repeat as u64) << 20 ^ u64::from(case.begins as u8) << 52);
        if let Some(ms) = cases::once(case, &mut random, thresholds)? {
            latencies_ms.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(ms);
        }
        Ok(())
    })?;
    let mut latencies_ms = latencies_ms.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    latencies_ms.sort_by(f64::total_cmp);
    let missed = repeats - latencies_ms.len() as u32;
    Ok(Detected { case, repeats, missed, latencies_ms })
}

#[cfg(test)]
mod tests;
