//! Stability: one calibrated unit for a thousand hours, every frame through physics and core, a load that varies as a site's does, climate cycles
//! between the extremes (CPA-STAB, CPA-TEMP; IEC 62059-32-1 has 1 000 h too).
//!
//! Each hour the energy that the registers grew by is compared with the reference's integral. The run is cut into shifts of whole hours, one a
//! processor: a shift's unit has aged and warmed up to its first hour, without frames, exactly as the one that ran through. After every hour the shift's
//! state goes to a file, so that a run that was interrupted goes on where it was; its core then starts from its stored registers, as after a power cut.
//!
//! A run fails when an hour is wrong by more than [`HOUR_LIMIT_PERCENT`], when the error drifts by more than [`DRIFT_LIMIT_PERCENT`] from beginning to
//! end, or when a register went back or lost what it had.

mod checkpoint;
mod load;
mod shift;

pub use checkpoint::{CheckpointError, Hour, Shift, State};

use crate::calibration::{self, Procedure, calibrate};
use crate::instrument::Instrument;
use meterseal_metrology::{Calibration, ConfigError};
use meterseal_world::physics::{Effects, Sensor, Tolerances, Unit};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Limit of each hour's error: the project's goal at PF 1, half of CPA-ACC's ±0.2 %.
pub const HOUR_LIMIT_PERCENT: f64 = 0.1;
/// Limit of the drift over the run: twice what parts that age by 50 ppm in 1 000 h can make of a power (reference twice, divider, burden: 120 ppm).
pub const DRIFT_LIMIT_PERCENT: f64 = 0.024;

/// What to run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// Hours of site time: 1 to 100 000.
    pub hours: u32,
    /// The unit's and the load's seed.
    pub seed: u64,
    /// Lowest temperature of the climate cycles, °C.
    pub lowest_celsius: f64,
    /// Highest temperature, °C.
    pub highest_celsius: f64,
    /// Seconds of each hour that are run: 3 600, or, for a look at a unit, from 10 on; the rest passes without frames.
    pub seconds_per_hour: u32,
    /// Shifts that the hours are divided into.
    pub shifts: u32,
    /// How the unit senses currents.
    #[serde(with = "SensorName")]
    pub sensor: Sensor,
    /// A fault to show that the test can fail.
    pub fault: Option<Fault>,
}

/// [`Sensor`] in a file.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(remote = "Sensor")]
enum SensorName {
    Transformer,
    Shunt,
}

/// Faults that a soak must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Fault {
    /// Parts that age ten times as fast.
    Ageing,
    /// A reference that drifts by 60 ppm/K once calibrated.
    Drift,
}

impl Settings {
    /// The full thousand hours from −40 to 85 °C.
    pub fn new(hours: u32, seed: u64) -> Self {
        Self {
            hours,
            seed,
            lowest_celsius: -40.0,
            highest_celsius: 85.0,
            seconds_per_hour: 3600,
            shifts: 1,
            sensor: Sensor::Transformer,
            fault: None,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let range = |field, value: f64, least: f64, most: f64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(Error::Setting { field, value, least, most })
            }
        };
        range("hours", self.hours.into(), 1.0, 100_000.0)?;
        range("seconds per hour", self.seconds_per_hour.into(), 10.0, 3600.0)?;
        range("shifts", self.shifts.into(), 1.0, 256.0)?;
        range("lowest temperature", self.lowest_celsius, -60.0, 100.0)?;
        range("highest temperature", self.highest_celsius, self.lowest_celsius, 100.0)
    }

    fn unit(&self) -> Unit {
        let tolerances = match self.fault {
            None => Tolerances::REFERENCE,
            Some(Fault::Ageing) => Tolerances::REFERENCE.ageing_tenfold(),
            Some(Fault::Drift) => Tolerances::REFERENCE.drifting(),
        };
        Unit::draw(self.seed, self.sensor, &tolerances, Effects::ALL)
    }

    /// The first hour of each shift, and the end.
    fn bounds(&self) -> Vec<u32> {
        let shifts = self.shifts.min(self.hours);
        (0..=shifts).map(|n| (u64::from(self.hours) * u64::from(n) / u64::from(shifts)) as u32).collect()
    }
}

/// Why a soak could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting out of its range.
    #[error("soak: {field} is {value}; set it between {least} and {most}")]
    Setting {
        /// Which.
        field: &'static str,
        /// What it is.
        value: f64,
        /// The least it may be.
        least: f64,
        /// The most it may be.
        most: f64,
    },
    /// The unit cannot be calibrated.
    #[error(transparent)]
    Calibration(#[from] calibration::Error),
    /// The file of an interrupted run.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The core refuses a setting.
    #[error(transparent)]
    Core(#[from] ConfigError),
}

/// What a run found.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Outcome {
    /// Every hour, in order.
    pub hours: Vec<Hour>,
    /// The hour with the largest error.
    pub worst: Hour,
    /// Slope of the error over the run, times its length: per cent.
    pub drift_percent: f64,
    /// Error of all energy.
    pub total_error_percent: f64,
    /// Frames that went through the core.
    pub frames: u64,
    /// Registers only grew, and hold the sum of all hours.
    pub registers_kept: bool,
    /// How often the run went on after an interruption.
    pub resumed: u32,
}

impl Outcome {
    /// Whether the unit is stable.
    pub fn passes(&self) -> bool {
        self.registers_kept
            && self.worst.error_percent.abs() <= HOUR_LIMIT_PERCENT
            && self.drift_percent.abs() <= DRIFT_LIMIT_PERCENT
    }
}

/// Runs, or goes on with, a soak. `file` keeps its state; `progress` is told how many hours are done; `stop` ends the run after the present hours, for
/// a later call to go on: then there is no outcome yet.
///
/// # Errors
/// Settings, a file of another run, a file that cannot be written.
pub fn run(
    settings: &Settings,
    file: Option<&Path>,
    progress: &(dyn Fn(u32) + Sync),
    stop: &AtomicBool,
) -> Result<Option<Outcome>, Error> {
    settings.check()?;
    let unit = settings.unit();
    let record = calibrated(settings, &unit)?;
    let state = match file {
        Some(path) => State::open(path, settings)?,
        None => State::new(settings),
    };
    let shared = Mutex::new(state);
    let failed = Mutex::new(None);
    let bounds = settings.bounds();
    std::thread::scope(|scope| {
        for (number, bounds) in bounds.windows(2).enumerate() {
            let (from, to) = (bounds[0], bounds[1]);
            let (unit, shared, failed) = (&unit, &shared, &failed);
            scope.spawn(move || {
                let begun = locked(shared).shifts[number].clone();
                let mut after_hour = |shift: &Shift| {
                    let mut state = locked(shared);
                    state.shifts[number] = shift.clone();
                    progress(state.hours_done());
                    file.map_or(Ok(()), |path| state.save(path))
                };
                let done = shift::run(settings, unit, record, begun, (from, to), &mut after_hour, stop);
                if let Err(error) = done {
                    locked(failed).get_or_insert(error);
                    stop.store(true, Ordering::Relaxed);
                }
            });
        }
    });
    if let Some(error) = locked(&failed).take() {
        return Err(error);
    }
    let state = locked(&shared).clone();
    Ok((state.hours_done() == settings.hours).then(|| outcome(settings, &state)))
}

fn calibrated(settings: &Settings, unit: &Unit) -> Result<Calibration, Error> {
    let id = crate::accuracy::unit_id(settings.seed);
    let outcome =
        calibrate(unit, id, &Instrument::draw(settings.seed), &Procedure::default(), settings.seed)?;
    Ok(outcome.record)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A thread that panicked leaves whole hours behind.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn outcome(settings: &Settings, state: &State) -> Outcome {
    let hours: Vec<Hour> = state.shifts.iter().flat_map(|shift| &shift.hours).copied().collect();
    let worst = hours
        .iter()
        .copied()
        .max_by(|a, b| a.error_percent.abs().total_cmp(&b.error_percent.abs()))
        .unwrap_or_default();
    let (shown, expected) = hours.iter().fold((0.0, 0.0), |(shown, expected), hour| {
        (shown + hour.watt_hours, expected + hour.reference_watt_hours)
    });
    Outcome {
        worst,
        drift_percent: drift(&hours),
        total_error_percent: (shown / expected - 1.0) * 100.0,
        frames: state.shifts.iter().map(|shift| shift.frames).sum(),
        registers_kept: state.shifts.iter().all(Shift::is_whole),
        resumed: state.resumed,
        hours,
    }
    .checked(settings)
}

impl Outcome {
    /// An hour that is missing or twice there is a register lost.
    fn checked(mut self, settings: &Settings) -> Self {
        let numbers = self.hours.iter().map(|hour| hour.number);
        self.registers_kept &= numbers.eq(0..settings.hours);
        self
    }
}

/// The load of a site at a second of an hour.
pub(crate) fn load_at(seed: u64, hour: u32, second: u32) -> meterseal_world::physics::LoadPoint {
    load::at(seed, hour, second, 3600)
}

/// The drift of a run of errors hour by hour; `None` for fewer than two climate cycles.
pub(crate) fn drift_of(errors: &[f64]) -> Option<f64> {
    let hours: Vec<Hour> =
        errors.iter().map(|&error_percent| Hour { error_percent, ..Hour::default() }).collect();
    (hours.len() >= 48).then(|| drift(&hours))
}

/// Least squares' slope of the error over the hours, times their number. Runs shorter than two climate cycles show the cycle and no drift: 0.
fn drift(hours: &[Hour]) -> f64 {
    const CYCLE: usize = 24;
    // Whole cycles only: a part of one would tilt the line.
    let hours = &hours[..hours.len() / CYCLE * CYCLE];
    if hours.len() < 2 * CYCLE {
        return 0.0;
    }
    // The mean of each cycle, against its number.
    let means: Vec<f64> = hours
        .chunks(CYCLE)
        .map(|cycle| cycle.iter().map(|hour| hour.error_percent).sum::<f64>() / CYCLE as f64)
        .collect();
    let count = means.len() as f64;
    let middle = (count - 1.0) / 2.0;
    let mean = means.iter().sum::<f64>() / count;
    let (mut both, mut square) = (0.0, 0.0);
    for (number, value) in means.iter().enumerate() {
        let x = number as f64 - middle;
        (both, square) = (both + x * (value - mean), square + x * x);
    }
    both / square * count
}

#[cfg(test)]
mod tests;
