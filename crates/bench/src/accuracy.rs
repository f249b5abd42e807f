//! A population of units through every row of [`points`](crate::points), over temperature: each unit is drawn, calibrated with an instrument of its own
//! draw, and then judged against the truth.
//!
//! Cost: about 2 600 frames a row, temperature and unit, generation and core included.

use crate::calibration::{self, Procedure};
use crate::instrument::Instrument;
use crate::points::{self, Disturbance, Group, Limits, Measure, Row};
use crate::reference::Truth;
use crate::rig::{Rig, power_noise};
use meterseal_metrology::{ConfigError, UnitId};
use meterseal_world::physics::{Effects, LoadPoint, Sensor, Tolerances, Unit};
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
    pub sensor: Sensor,
    /// What the parts are drawn from.
    pub tolerances: Tolerances,
    /// Every frame of every measurement with its noise, in place of blocks: about a hundred times as long.
    pub full: bool,
    /// Whether units are calibrated; without, the limits are known to fail.
    pub calibrated: bool,
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

/// Mean, deviation and extremes of one row at one temperature over the population; per cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Statistics {
    /// Units.
    pub count: u32,
    /// Mean.
    pub mean: f64,
    /// Standard deviation, n − 1; 0 for one unit.
    pub s: f64,
    /// Lowest.
    pub min: f64,
    /// Highest.
    pub max: f64,
}

/// The results of a run.
#[derive(Clone, Debug)]
pub struct Results {
    /// What was run.
    pub settings: Settings,
    /// The rows.
    pub rows: Vec<Row>,
    /// For each unit, temperature by temperature, each row's value; NaN where there is none.
    values: Vec<Vec<f32>>,
}

/// The temperatures of CPA-TEMP in steps of 5 K: −40 to 85 °C.
pub fn temperatures() -> Vec<f64> {
    (0..=25).map(|step| -40.0 + 5.0 * f64::from(step)).collect()
}

/// Runs the population on all processors; `progress` is told how many units are done.
///
/// # Errors
/// The first setting or unit that cannot be.
pub fn run(settings: &Settings, progress: &(dyn Fn(u32) + Sync)) -> Result<Results, Error> {
    if !(1..=100_000).contains(&settings.units) {
        return Err(Error::Units(settings.units));
    }
    let temperatures = &settings.temperatures;
    let ascending = temperatures.windows(2).all(|pair| pair[0] < pair[1]);
    let possible = temperatures.iter().all(|celsius| (-60.0..=100.0).contains(celsius));
    if !(1..=200).contains(&temperatures.len()) || !ascending || !possible {
        return Err(Error::Temperatures(format!("{temperatures:?}")));
    }
    let rows = points::rows();
    let (next, done) = (AtomicU32::new(0), AtomicU32::new(0));
    let values = Mutex::new(vec![Vec::new(); settings.units as usize]);
    let failed = Mutex::new(None);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= settings.units {
                return;
            }
            let seed = settings.seed.wrapping_add(u64::from(number));
            match one_unit(settings, &rows, seed) {
                Ok(found) => locked(&values)[number as usize] = found,
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
    let values = std::mem::take(&mut *locked(&values));
    Ok(Results { settings: settings.clone(), rows, values })
}

/// A thread that panicked leaves nothing half done in these.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A unit's identifier in its record.
pub fn unit_id(seed: u64) -> UnitId {
    let mut id = [0; 16];
    let name = format!("MSV{:010}", seed % 10_000_000_000);
    id[..name.len()].copy_from_slice(name.as_bytes());
    id
}

fn one_unit(settings: &Settings, rows: &[Row], seed: u64) -> Result<Vec<f32>, Error> {
    let unit = Unit::draw(seed, settings.sensor, &settings.tolerances, Effects::ALL);
    let mut record = None;
    if settings.calibrated {
        let instrument = Instrument::draw(seed);
        let outcome = calibration::calibrate(&unit, unit_id(seed), &instrument, &Procedure::default(), seed)
            .map_err(|source| Error::Calibration { seed, source })?;
        record = Some(outcome.record);
    }
    let mut test = Test { rig: Rig::new(unit, record, seed ^ 0xACC), full: settings.full };
    let mut values: Vec<f32> = Vec::with_capacity(rows.len() * settings.temperatures.len());
    let mut before: Option<(f64, Vec<f64>)> = None;
    for celsius in &settings.temperatures {
        let mut here: Vec<f64> = Vec::with_capacity(rows.len());
        for row in rows {
            let value = match &row.measure {
                Measure::Error(load) => test.error(load, *celsius)?,
                Measure::Change { from, load, disturbance } => {
                    test.disturb(*disturbance);
                    let error = test.error(load, *celsius);
                    test.disturb(Disturbance::None);
                    error? - here[*from]
                }
                Measure::Difference { of, from } => here[*of] - here[*from],
                Measure::SelfHeating(load) => {
                    let cold = LoadPoint::unbalanced(points::HERTZ, [points::UN; 3], [0.0; 3], 0.0);
                    test.rig.unit.settle(*celsius, &cold);
                    let at_start = test.error_now(load)?;
                    test.error(load, *celsius)? - at_start
                }
                Measure::Creep(load) => {
                    test.rig.unit.settle(*celsius, load);
                    let part = points::minimum_creep_seconds() / points::CREEP_SECONDS;
                    let watt_hours = test.rig.registered(load, points::CREEP_SECONDS)?;
                    watt_hours * part * points::METER_CONSTANT / 1000.0
                }
                Measure::Start(load) => {
                    test.rig.unit.settle(*celsius, load);
                    let watt_hours = test.rig.registered(load, points::START_SECONDS)?;
                    let truth = Truth::of(load).total_watts() * points::START_SECONDS / 3600.0;
                    (watt_hours / truth - 1.0) * 100.0
                }
                Measure::PerKelvin(of) => before
                    .as_ref()
                    .map_or(f64::NAN, |(lower, errors)| (here[*of] - errors[*of]) / (celsius - lower)),
            };
            here.push(value);
        }
        values.extend(here.iter().map(|value| *value as f32));
        before = Some((*celsius, here));
    }
    Ok(values)
}

struct Test {
    rig: Rig,
    full: bool,
}

impl Test {
    fn error(&mut self, load: &LoadPoint, celsius: f64) -> Result<f64, ConfigError> {
        self.rig.unit.settle(celsius, load);
        self.error_now(load)
    }

    /// (unit − truth) / truth, per cent.
    fn error_now(&mut self, load: &LoadPoint) -> Result<f64, ConfigError> {
        let seconds = points::seconds(load);
        let reading = if self.full { self.rig.full(load, seconds) } else { self.rig.block(load, seconds) }?;
        Ok((reading.total_watts() / Truth::of(load).total_watts() - 1.0) * 100.0)
    }

    fn disturb(&mut self, disturbance: Disturbance) {
        let (magnet, field) = match disturbance {
            Disturbance::None => (0.0, 0.0),
            Disturbance::Magnet(millitesla) => (millitesla, 0.0),
            Disturbance::Field(millitesla) => (0.0, millitesla),
        };
        self.rig.unit.set_magnet(magnet);
        self.rig.unit.set_alternating_field(field);
    }
}

impl Results {
    fn value(&self, unit: usize, temperature: usize, row: usize) -> f64 {
        f64::from(self.values[unit][temperature * self.rows.len() + row])
    }

    /// Over the population, of one row at one temperature.
    pub fn statistics(&self, temperature: usize, row: usize) -> Statistics {
        self.over(temperature..temperature + 1, row)
    }

    fn over(&self, temperatures: std::ops::Range<usize>, row: usize) -> Statistics {
        let values = || {
            temperatures
                .clone()
                .flat_map(|at| (0..self.values.len()).map(move |unit| self.value(unit, at, row)))
                .filter(|value| !value.is_nan())
        };
        let count = values().count();
        if count == 0 {
            return Statistics::default();
        }
        let mean = values().sum::<f64>() / count as f64;
        let squares = values().map(|value| (value - mean).powi(2)).sum::<f64>();
        let s = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
        let (min, max) = values()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        Statistics { count: count as u32, mean, s, min, max }
    }

    /// Over the population and all temperatures, of one row.
    pub fn overall(&self, row: usize) -> Statistics {
        self.over(0..self.settings.temperatures.len(), row)
    }

    /// Over all temperatures: the extremes of one row, and where the larger of them is, °C.
    pub fn extremes(&self, row: usize) -> (f64, f64, f64) {
        let mut worst = (0.0, 0.0, self.settings.temperatures[0]);
        for (at, celsius) in self.settings.temperatures.iter().enumerate() {
            let here = self.statistics(at, row);
            let largest = f64::max(-worst.0, worst.1);
            if here.min.abs().max(here.max.abs()) > largest {
                worst.2 = *celsius;
            }
            worst = (f64::min(worst.0, here.min), f64::max(worst.1, here.max), worst.2);
        }
        worst
    }

    /// Of each unit the largest magnitude over all rows of a group and all temperatures, per cent.
    pub fn worst_of_units(&self, group: Group) -> Vec<f64> {
        let rows: Vec<usize> = (0..self.rows.len()).filter(|row| self.rows[*row].group == group).collect();
        (0..self.values.len())
            .map(|unit| {
                let all = (0..self.settings.temperatures.len())
                    .flat_map(|at| rows.iter().map(move |row| self.value(unit, at, *row).abs()));
                all.fold(0.0, f64::max)
            })
            .collect()
    }

    /// Whether a row keeps class 0.2 S and CPA-ACC in every unit at every temperature.
    pub fn holds(&self, row: usize) -> bool {
        let (low, high, _) = self.extremes(row);
        let Limits { class, cpa, .. } = self.rows[row].limits;
        let [least, most] = class.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
        let cpa = cpa.unwrap_or(f64::INFINITY);
        low >= least.max(-cpa) && high <= most.min(cpa)
    }

    /// Whether a row keeps the project's goal; `None` where it has none.
    pub fn keeps_goal(&self, row: usize) -> Option<bool> {
        let (low, high, _) = self.extremes(row);
        self.rows[row].limits.goal.map(|goal| low >= -goal && high <= goal)
    }

    /// Whether every limit holds.
    pub fn passes(&self) -> bool {
        (0..self.rows.len()).all(|row| self.holds(row))
    }
}

/// A part of the harness's own uncertainty, after the GUM (JCGM 100:2008).
#[derive(Clone, Debug, serde::Serialize)]
pub struct Contribution {
    /// What it is.
    pub source: &'static str,
    /// Half-width or deviation, per cent.
    pub value_percent: f64,
    /// Its distribution.
    pub distribution: &'static str,
    /// Standard uncertainty, per cent.
    pub standard_percent: f64,
}

/// How far a block may be from a measurement at full length, per cent: what `tests/block_and_full.rs` holds it to.
pub const BLOCK_PERCENT: f64 = 0.005;

/// What the harness itself is uncertain by at a load, and the expanded uncertainty (k = 2), per cent.
pub fn uncertainty(unit: &Unit, load: &LoadPoint, full: bool) -> (Vec<Contribution>, f64) {
    let watts = Truth::of(load).total_watts().abs();
    let noise =
        (0..3).map(|phase| power_noise(unit, load, phase, points::seconds(load)).powi(2)).sum::<f64>().sqrt()
            / watts
            * 100.0;
    let rectangular = |source, value_percent: f64| Contribution {
        source,
        value_percent,
        distribution: "rectangular",
        standard_percent: value_percent / 3f64.sqrt(),
    };
    let mut parts = vec![
        rectangular("reference: rounding of double precision", crate::reference::UNCERTAINTY * 100.0),
        // Three phases, half a microwatt each.
        rectangular("unit's display: 1 µW a phase", 1.5e-6 / watts * 100.0),
        Contribution {
            source: "repeatability: the converter's noise in one measurement",
            value_percent: noise,
            distribution: "normal",
            standard_percent: noise,
        },
    ];
    if !full {
        parts.push(rectangular("a block in place of the whole measurement", BLOCK_PERCENT));
    }
    let sum = parts.iter().map(|part| part.standard_percent.powi(2)).sum::<f64>();
    (parts, 2.0 * sum.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(units: u32) -> Settings {
        Settings {
            units,
            seed: 100,
            temperatures: vec![-40.0, 23.0, 85.0],
            sensor: Sensor::Transformer,
            tolerances: Tolerances::REFERENCE,
            full: false,
            calibrated: true,
        }
    }

    #[test]
    fn calibrated_units_hold_every_limit_and_uncalibrated_ones_do_not() {
        let results = run(&settings(4), &|_| ()).unwrap();
        let failed: Vec<_> = (0..results.rows.len())
            .filter(|row| !results.holds(*row))
            .map(|row| (&results.rows[row].name, results.extremes(row)))
            .collect();
        assert!(failed.is_empty(), "{failed:?}");
        let raw = run(&Settings { calibrated: false, ..settings(4) }, &|_| ()).unwrap();
        assert!(!raw.passes());
        let shunts = run(&Settings { sensor: Sensor::Shunt, ..settings(4) }, &|_| ()).unwrap();
        assert!(shunts.passes());
    }

    #[test]
    fn results_do_not_depend_on_which_thread_did_what() {
        let [a, b] = [(); 2].map(|()| run(&settings(3), &|_| ()).unwrap());
        let bits = |results: &Results| -> Vec<u32> {
            results.values.iter().flatten().map(|value| value.to_bits()).collect()
        };
        assert_eq!(bits(&a), bits(&b));
    }

    #[test]
    fn impossible_settings_are_refused() {
        assert!(matches!(run(&settings(0), &|_| ()), Err(Error::Units(0))));
        let backwards = Settings { temperatures: vec![20.0, 10.0], ..settings(1) };
        assert!(matches!(run(&backwards, &|_| ()), Err(Error::Temperatures(_))));
        let none = Settings { temperatures: vec![f64::NAN], ..settings(1) };
        assert!(matches!(run(&none, &|_| ()), Err(Error::Temperatures(_))));
    }
}
