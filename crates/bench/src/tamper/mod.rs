//! Tamper detection as a whole: a virtual place, the real measuring core and the real meter, from the stimulus to the entry
//! in flash (CPA-TAMP).
//!
//! [`detect`] lets each stimulus of [`CASES`] happen again and again, each time with another strength above its
//! threshold, direction, phase, duration and load, and tells how long its entry took in site time. [`live`] lets a meter
//! go through a normal life and counts what it takes for tampering.

mod cases;
mod flash;
mod stage;

pub use cases::{CASES, Case};
pub use stage::Failure;

use crate::random::Random;
use meterseal_meter::Thresholds;
use meterseal_model::{EventCode, UnixMillis};
use meterseal_world::site::{NormalLife, Site, SiteKind};
use stage::Stage;
use std::sync::atomic::{AtomicBool, Ordering};

/// Something wrong with a detector, to see that the tests find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// How often its beginning was not logged, or its end was not.
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

/// Lets a stimulus happen `repeats` times.
///
/// # Errors
/// The meter on the stage does not work.
pub fn detect(
    case: &'static Case,
    repeats: u32,
    seed: u64,
    fault: Option<Fault>,
) -> Result<Detected, Failure> {
    let mut found = Detected { case, repeats, missed: 0, latencies_ms: Vec::new() };
    for repeat in 0..repeats {
        let mut random = Random::new(seed ^ u64::from(repeat) << 20 ^ u64::from(case.begins as u8) << 52);
        let thresholds = fault.map_or(Thresholds::STANDARD, Fault::thresholds);
        let latency = cases::once(case, &mut random, thresholds)?;
        match latency {
            Some(ms) => found.latencies_ms.push(ms),
            None => found.missed += 1,
        }
    }
    found.latencies_ms.sort_by(f64::total_cmp);
    Ok(found)
}

/// What a meter took for tampering in a normal life.
#[derive(Clone, Debug, Default)]
pub struct Lived {
    /// Hours of site time.
    pub hours: f64,
    /// Frames that went through the core.
    pub frames: u64,
    /// Disturbances that were none.
    pub disturbances: u64,
    /// What was logged, though nothing had happened.
    pub alarms: Vec<(UnixMillis, EventCode, i64)>,
}

/// Lets a meter live for so many hours at a place, from a midnight on. `progress` is told the hours; `stop` ends it.
///
/// # Errors
/// The meter on the stage does not work.
pub fn live(
    kind: SiteKind,
    hours: u32,
    seed: u64,
    fault: Option<Fault>,
    progress: &dyn Fn(f64),
    stop: &AtomicBool,
) -> Result<Lived, Failure> {
    let mut thresholds = fault.map_or(Thresholds::STANDARD, Fault::thresholds);
    thresholds.generation_expected |= u32::from(kind == SiteKind::HomeSolar);
    let mut stage = Stage::open(kind, seed, thresholds, UnixMillis(0))?;
    let mut life = NormalLife::new(seed);
    let mut lived = Lived::default();
    let per_hour = u64::from(Site::SAMPLE_RATE) * 3600;
    let end = per_hour * u64::from(hours);
    let mut told = 0;
    while stage.frames() < end && !stop.load(Ordering::Relaxed) && lived.alarms.len() < ALARMS_MAX {
        while let Some(disturbance) = life.until(stage.frames()) {
            stage.site.disturb(disturbance);
            lived.disturbances += 1;
        }
        stage.step()?;
        if stage.frames() / (per_hour / 10) > told {
            told = stage.frames() / (per_hour / 10);
            lived.alarms.extend(
                stage.take_entries()?.into_iter().map(|entry| (entry.time, entry.code, entry.extreme)),
            );
            progress(stage.frames() as f64 / per_hour as f64);
        }
    }
    lived
        .alarms
        .extend(stage.take_entries()?.into_iter().map(|entry| (entry.time, entry.code, entry.extreme)));
    lived.frames = stage.frames();
    lived.hours = lived.frames as f64 / per_hour as f64;
    Ok(lived)
}

/// After so many false alarms nobody needs to count on; the log has room for them.
const ALARMS_MAX: usize = 40;

#[cfg(test)]
mod tests;
