//! One unit through all rows and temperatures.

use super::{Agreement, Error, Fault, Settings, unit_id};
use crate::calibration::{self, Procedure};
use crate::instrument::Instrument;
use crate::points::{self, Disturbance, Measure, Row};
use crate::reference::Truth;
use crate::rig::{Rig, total_power_noise};
use meterseal_metrology::{Calibration, ConfigError};
use meterseal_world::physics::{Effects, LoadPoint, Unit};

/// Each row's value, temperature by temperature, and how blocks and full measurements agree.
pub(super) fn measure(
    settings: &Settings,
    rows: &[Row],
    number: u32,
) -> Result<(Vec<f32>, Agreement), Error> {
    let seed = settings.seed.wrapping_add(u64::from(number));
    let sensor = settings.sensors.of(number);
    let unit = Unit::draw(seed, sensor, &settings.tolerances, Effects::ALL);
    let mut record = record(settings, &unit, seed)?;
    let tested = match settings.fault {
        None => unit,
        Some(fault) => {
            if let Some(record) = &mut record {
                fault.spoil(record);
            }
            // The same draw from other tolerances: the same unit, but for what is wrong with it.
            Unit::draw(seed, sensor, &fault.tolerances(&settings.tolerances), Effects::ALL)
        }
    };
    let mut test = Test {
        rig: Rig::new(tested, record, seed ^ 0xACC),
        full: settings.full,
        agreement: Agreement::default(),
        stray_millitesla: settings.fault.map_or(0.0, Fault::stray_millitesla),
    };
    test.disturb(Disturbance::None);
    if let Some(fault) = settings.fault {
        fault.set_in(&mut test.rig);
    }
    let mut values: Vec<f32> = Vec::with_capacity(rows.len() * settings.temperatures.len());
    let mut before: Option<(f64, Vec<f64>)> = None;
    for celsius in &settings.temperatures {
        let mut here: Vec<f64> = Vec::with_capacity(rows.len());
        for row in rows {
            let value = match row.measure {
                Measure::PerKelvin(of) => {
                    let change =
                        |(lower, errors): &(f64, Vec<f64>)| (here[of] - errors[of]) / (celsius - lower);
                    before.as_ref().map_or(f64::NAN, change)
                }
                ref measure => {
                    let value = test.row(measure, &here, *celsius)?;
                    // What cannot be told is no error within any limit.
                    if value.is_nan() { f64::INFINITY } else { value }
                }
            };
            here.push(value);
        }
        values.extend(here.iter().map(|value| *value as f32));
        before = Some((*celsius, here));
    }
    Ok((values, test.agreement))
}

fn record(settings: &Settings, unit: &Unit, seed: u64) -> Result<Option<Calibration>, Error> {
    if let Some(record) = settings.record {
        return Ok(Some(record));
    }
    if !settings.calibrated {
        return Ok(None);
    }
    let outcome =
        calibration::calibrate(unit, unit_id(seed), &Instrument::draw(seed), &Procedure::default(), seed)
            .map_err(|source| Error::Calibration { seed, source })?;
    Ok(Some(outcome.record))
}

struct Test {
    rig: Rig,
    full: bool,
    agreement: Agreement,
    /// The meter's own field, which a sound one does not have.
    stray_millitesla: f64,
}

impl Test {
    /// A row's value; `here` are those of the rows before it.
    fn row(&mut self, measure: &Measure, here: &[f64], celsius: f64) -> Result<f64, ConfigError> {
        Ok(match measure {
            Measure::Error(load) => {
                if self.full {
                    self.compare(load, celsius)?;
                }
                self.error(load, celsius)?
            }
            Measure::Change { from, load, disturbance } => {
                self.disturb(*disturbance);
                let error = self.error(load, celsius);
                self.disturb(Disturbance::None);
                error? - here[*from]
            }
            Measure::Difference { of, from } => here[*of] - here[*from],
            // Needs the temperature before.
            Measure::PerKelvin(_) => f64::NAN,
            Measure::SelfHeating(load) => {
                self.rig.unit.settle(celsius, &still(1.0));
                self.rig.warm = false;
                let at_start = self.error_now(load);
                self.rig.warm = true;
                self.error(load, celsius)? - at_start?
            }
            Measure::Creep(load) => {
                self.rig.unit.settle(celsius, load);
                let part = points::minimum_creep_seconds() / points::CREEP_SECONDS;
                let watt_hours = self.rig.registered(&[(load.clone(), points::CREEP_SECONDS)])?;
                watt_hours * part * points::METER_CONSTANT / 1000.0
            }
            Measure::Start(load) => {
                self.rig.unit.settle(celsius, load);
                let watt_hours = self.rig.registered(&[(load.clone(), points::START_SECONDS)])?;
                let truth = Truth::of(load).total_watts() * points::START_SECONDS / 3600.0;
                (watt_hours / truth - 1.0) * 100.0
            }
            Measure::Dips => {
                self.rig.unit.settle(celsius, &still(1.0));
                // IEC 62052-11's course, shortened: interruptions of a second and of a cycle, a dip to half.
                let course =
                    [(1.0, 0.3), (0.0, 1.0), (1.0, 0.1), (0.0, 0.02), (1.0, 0.1), (0.5, 0.3), (1.0, 0.2)];
                self.rig.registered(&course.map(|(part, seconds)| (still(part), seconds)))?
            }
            Measure::Reactive(load) => {
                self.rig.unit.settle(celsius, load);
                let shown = self.reading(load)?.total_vars();
                (shown / Truth::of(load).vars.iter().sum::<f64>() - 1.0) * 100.0
            }
            Measure::Neutral(load) => {
                self.rig.unit.settle(celsius, load);
                (self.reading(load)?.neutral_amperes / Truth::of(load).amperes[3] - 1.0) * 100.0
            }
            Measure::Repeatability(load) => {
                self.rig.unit.settle(celsius, load);
                let errors =
                    (0..points::REPEATS).map(|_| self.error_now(load)).collect::<Result<Vec<_>, _>>()?;
                deviation(&errors).1
            }
            Measure::MeterConstant(load) => {
                self.rig.unit.settle(celsius, load);
                let name_plate = points::METER_CONSTANT;
                self.rig.pulses_against_register(load, points::PULSES_SECONDS, name_plate)?
            }
            Measure::DynamicRange => self.dynamic_range(celsius)?,
        })
    }

    fn error(&mut self, load: &LoadPoint, celsius: f64) -> Result<f64, ConfigError> {
        self.rig.unit.settle(celsius, load);
        self.error_now(load)
    }

    /// (unit − truth) / truth, per cent.
    fn error_now(&mut self, load: &LoadPoint) -> Result<f64, ConfigError> {
        Ok((self.reading(load)?.total_watts() / Truth::of(load).total_watts() - 1.0) * 100.0)
    }

    fn reading(&mut self, load: &LoadPoint) -> Result<crate::rig::Reading, ConfigError> {
        let seconds = points::seconds(load);
        if self.full { self.rig.full(load, seconds) } else { self.rig.block(load, seconds) }
    }

    /// From Imax downwards to the first current at which the error and twice its deviation leave the limit, straight between two currents' logarithms.
    fn dynamic_range(&mut self, celsius: f64) -> Result<f64, ConfigError> {
        let mut good: Option<(f64, f64)> = None;
        for ratio in points::RANGE_STEPS {
            let load = LoadPoint::balanced(points::HERTZ, points::UN, points::IMAX / ratio, 0.0);
            self.rig.unit.settle(celsius, &load);
            let watts = Truth::of(&load).total_watts();
            let (error, s) = if self.full {
                // Five parts of the time: their deviation is √5 of the whole's.
                let part = points::RANGE_SECONDS / points::REPEATS as f64;
                let mut errors = Vec::new();
                for _ in 0..points::REPEATS {
                    errors.push(self.rig.full(&load, part)?.total_watts() / watts - 1.0);
                }
                let (mean, s) = deviation(&errors);
                (mean, s / (points::REPEATS as f64).sqrt())
            } else {
                let noise = total_power_noise(&self.rig.unit, &load, points::RANGE_SECONDS);
                (self.rig.quiet_block(&load)?.total_watts() / watts - 1.0, noise / watts)
            };
            let bound = (error.abs() + 2.0 * s) * 100.0;
            if bound > points::RANGE_PERCENT {
                let Some((larger, inside)) = good else { return Ok(0.0) };
                let along = (points::RANGE_PERCENT - inside) / (bound - inside);
                return Ok(larger * (ratio / larger).powf(along));
            }
            good = Some((ratio, bound));
        }
        Ok(good.map_or(0.0, |(ratio, _)| ratio))
    }

    /// The same point as a block and in full.
    fn compare(&mut self, load: &LoadPoint, celsius: f64) -> Result<(), ConfigError> {
        self.rig.unit.settle(celsius, load);
        let seconds = points::seconds(load);
        let block = self.rig.quiet_block(load)?.total_watts();
        let full = self.rig.full(load, seconds)?.total_watts();
        let noise = total_power_noise(&self.rig.unit, load, seconds) / block.abs() * 100.0;
        self.agreement.add((full / block - 1.0) * 100.0, noise);
        Ok(())
    }

    fn disturb(&mut self, disturbance: Disturbance) {
        let (magnet, field) = match disturbance {
            Disturbance::None => (0.0, 0.0),
            Disturbance::Magnet(millitesla) => (millitesla, 0.0),
            Disturbance::Field(millitesla) => (0.0, millitesla),
        };
        self.rig.unit.set_magnet(magnet);
        self.rig.unit.set_alternating_field(field + self.stray_millitesla);
    }
}

/// A part of Un and no current.
fn still(part: f64) -> LoadPoint {
    LoadPoint::unbalanced(points::HERTZ, [part * points::UN; 3], [0.0; 3], 0.0)
}

/// Mean and standard deviation, n − 1.
fn deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (count - 1.0)).sqrt())
}
