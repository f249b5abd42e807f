//! A population of units through every row of [`points`](crate::points), over temperature: each unit is drawn, calibrated with an instrument of its own
//! draw, and then judged against the truth.
//!
//! Cost: about 2 600 frames a row, temperature and unit, generation and core included.

mod fault;
mod results;
mod uncertainty;
mod unit;

pub use fault::Fault;
pub use results::{Agreement, BLOCK_PERCENT, Results, Statistics};
pub use uncertainty::{Contribution, uncertainty};

use crate::calibration;
use crate::points;
use meterseal_metrology::{Calibration, ConfigError, UnitId};
use meterseal_world::physics::{Sensor, Tolerances};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Units, 1 to 100 000.
    pub units: u32,
    /// The first unit's seed; the others' follow.
    pub seed: u64,
    /// Chamber temperatures, °C, ascending.
    pub temperatures: Vec<f64>,
    /// How currents are sensed.
    pub sensors: Sensors,
    /// What the parts are drawn from.
    pub tolerances: Tolerances,
    /// Every frame of every measurement with its noise, in place of blocks: about a hundred times as long. Blocks are then measured beside, to compare.
    pub full: bool,
    /// Whether units are calibrated; without, the limits are known to fail.
    pub calibrated: bool,
    /// The one unit's record, in place of a calibration.
    pub record: Option<Calibration>,
    /// What is wrong with every unit, to see that the limits find it.
    pub fault: Option<Fault>,
}

impl Settings {
    /// Sound units of the reference meter over the whole range of temperatures.
    pub fn new(units: u32, seed: u64) -> Self {
        Self {
            units,
            seed,
            temperatures: temperatures(),
            sensors: Sensors::Both,
            tolerances: Tolerances::REFERENCE,
            full: false,
            calibrated: true,
            record: None,
            fault: None,
        }
    }
}

/// The variants of the reference meter in a population.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sensors {
    /// Transformers in every other unit, the first included; shunts in the rest.
    #[default]
    Both,
    /// Current transformers.
    Transformer,
    /// Shunts.
    Shunt,
}

impl Sensors {
    /// The sensor of a unit, counted from 0.
    pub fn of(self, number: u32) -> Sensor {
        match self {
            Self::Transformer => Sensor::Transformer,
            Self::Shunt => Sensor::Shunt,
            Self::Both if number.is_multiple_of(2) => Sensor::Transformer,
            Self::Both => Sensor::Shunt,
        }
    }
}

/// Why a run could not be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A number of units.
    #[error("{0} units; give 1 to 100000")]
    Units(u32),
    /// Temperatures.
    #[error("temperatures must be 1 to 200 values within -60 and 100 °C in ascending order; found {0}")]
    Temperatures(String),
    /// A record for more than one unit.
    #[error("a calibration record is one unit's; {0} units cannot share it: give 1 unit, the record's own")]
    Record(u32),
    /// A unit that cannot be calibrated.
    #[error("unit with seed {seed}: {source}")]
    Calibration {
        /// The unit's seed.
        seed: u64,
        /// Why.
        source: calibration::Error,
    },
    /// The core refuses a setting.
    #[error(transparent)]
    Core(#[from] ConfigError),
}

/// The temperatures of CPA-TEMP in steps of 5 K: −40 to 85 °C.
pub fn temperatures() -> Vec<f64> {
    (0..=25).map(|step| -40.0 + 5.0 * f64::from(step)).collect()
}

/// A unit's identifier in its record.
pub fn unit_id(seed: u64) -> UnitId {
    let mut id = [0; 16];
    let name = format!("MSV{:010}", seed % 10_000_000_000);
    id[..name.len()].copy_from_slice(name.as_bytes());
    id
}

/// Runs the population on all processors; `progress` is told how many units are done.
///
/// # Errors
/// The first setting or unit that cannot be.
pub fn run(settings: &Settings, progress: &(dyn Fn(u32) + Sync)) -> Result<Results, Error> {
    check(settings)?;
    let rows = points::rows();
    let (next, done) = (AtomicU32::new(0), AtomicU32::new(0));
    let found = Mutex::new(vec![(Vec::new(), Agreement::default()); settings.units as usize]);
    let failed = Mutex::new(None);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= settings.units {
                return;
            }
            match unit::measure(settings, &rows, number) {
                Ok(values) => locked(&found)[number as usize] = values,
                Err(error) => {
                    locked(&failed).get_or_insert(error);
                    next.store(settings.units, Ordering::Relaxed);
                    return;
                }
            }
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(settings.units as usize) {
            scope.spawn(work);
        }
    });
    if let Some(error) = locked(&failed).take() {
        return Err(error);
    }
    let found = std::mem::take(&mut *locked(&found));
    Ok(Results::new(settings.clone(), rows, found))
}

fn check(settings: &Settings) -> Result<(), Error> {
    if !(1..=100_000).contains(&settings.units) {
        return Err(Error::Units(settings.units));
    }
    if settings.record.is_some() && settings.units > 1 {
        return Err(Error::Record(settings.units));
    }
    let temperatures = &settings.temperatures;
    let ascending = temperatures.windows(2).all(|pair| pair[0] < pair[1]);
    let possible = temperatures.iter().all(|celsius| (-60.0..=100.0).contains(celsius));
    if !(1..=200).contains(&temperatures.len()) || !ascending || !possible {
        return Err(Error::Temperatures(format!("{temperatures:?}")));
    }
    Ok(())
}

/// A thread that panicked leaves nothing half done in these.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
