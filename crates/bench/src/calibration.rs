//! The factory's procedure: a unit in the chamber at three or more temperatures, between a load and the laboratory's instrument. It sees what a factory
//! sees (the unit's readings and thermometer, the instrument's readings) and writes the record that the unit's core then applies.
//!
//! At each temperature: inputs shorted (offset, noise), then 10 A at PF 1, where the ratio of the instrument's complex power to the unit's is the
//! gain and its angle the delay. At 23 °C also no current (cross-talk), the current from Imax downwards (a transformer's curve), and Imax from cold
//! to warm (a shunt's heat). The neutral, which has no voltage and bills nothing, gets offset, noise, gain and the gain's curve from L1's current alone,
//! which comes back through it.
//! A polynomial of second degree over the thermometer's own readings takes in what the thermometer is wrong by, and the clock.

use crate::instrument::Instrument;
use crate::reference::Truth;
use crate::rig::{Reading, Rig, millikelvin};
use meterseal_metrology::{Calibration, CalibrationError, ConfigError, CurvePoint, Quadratic, UnitId};
use meterseal_world::physics::{LoadPoint, Unit};
use std::f64::consts::TAU;

/// What the factory does.
#[derive(Clone, Debug, PartialEq)]
pub struct Procedure {
    /// Chamber temperatures, °C: 3 to 8, the lowest and the highest at least 40 K apart.
    pub temperatures: Vec<f64>,
}

impl Default for Procedure {
    /// The extremes of CPA-TEMP, 23 °C, and the middles.
    fn default() -> Self {
        Self { temperatures: vec![-40.0, -8.5, 23.0, 54.0, 85.0] }
    }
}

/// A record, and how well it does.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the unit's core is given.
    pub record: Calibration,
    /// Errors with the record applied, against the instrument.
    pub checks: Vec<Check>,
}

/// What a check compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Active power of the three phases.
    ActivePower,
    /// The neutral's current, L1 alone carrying it.
    NeutralCurrent,
}

/// One measurement with the record applied.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Check {
    /// Of what.
    pub quantity: Quantity,
    /// Chamber temperature, °C.
    pub celsius: f64,
    /// Current in each phase, amperes.
    pub amperes: f64,
    /// How far the current lags, degrees.
    pub lag_degrees: f64,
    /// (unit − instrument) / instrument, per cent.
    pub error_percent: f64,
}

/// Limit for each [`Check`], per cent: a quarter of CPA-ACC's 0.2, so that a microsecond (0.054 % at PF 0.5) is found.
pub const CHECK_LIMIT_PERCENT: f64 = 0.05;

impl Outcome {
    /// Whether every check is within [`CHECK_LIMIT_PERCENT`].
    pub fn passes(&self) -> bool {
        self.checks.iter().all(|check| check.error_percent.abs() <= CHECK_LIMIT_PERCENT)
    }
}

/// Why a unit could not be calibrated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too few or too many temperatures.
    #[error("calibration at {0} temperatures; give 3 to 8 (a parabola needs three, a record names eight)")]
    Temperatures(usize),
    /// Temperatures too close for a parabola.
    #[error(
        "calibration between {lowest} and {highest} °C; let them be 40 K apart or more, within -60 and 100 °C"
    )]
    Span {
        /// The lowest, °C.
        lowest: f64,
        /// The highest, °C.
        highest: f64,
    },
    /// The unit shows no power where there is a load.
    #[error("the unit shows {watts} W in L{phase} at {expected} W: it is not connected, or broken")]
    Dead {
        /// 1 to 3.
        phase: usize,
        /// What it shows.
        watts: f64,
        /// What the instrument shows.
        expected: f64,
    },
    /// The unit shows no current in its neutral where there is one.
    #[error("the unit shows {amperes} A in its neutral at {expected} A: it is not connected, or broken")]
    DeadNeutral {
        /// What it shows.
        amperes: f64,
        /// What the instrument shows.
        expected: f64,
    },
    /// What was measured is beyond what a record can hold.
    #[error("the unit cannot be calibrated: {0}")]
    Record(#[from] CalibrationError),
    /// The core refuses a setting.
    #[error(transparent)]
    Core(#[from] ConfigError),
}

/// Volts and hertz of all steps.
const VOLTS: f64 = 230.0;
const HERTZ: f64 = 50.0;
/// The current at which gain and delay are taken over temperature.
const BASE: f64 = 10.0;
/// Currents of a transformer's curve, and how long each is measured: at small ones the converter's noise wants time.
const CURVE: [(f64, f64); 8] = [
    (0.05, 100.0),
    (0.25, 100.0),
    (1.0, 30.0),
    (3.0, 10.0),
    (BASE, 10.0),
    (25.0, 10.0),
    (50.0, 10.0),
    (100.0, 10.0),
];
const SHORTED_SECONDS: f64 = 1.0;
const BASE_SECONDS: f64 = 30.0;
/// Between the cold reading at Imax and one that tells how fast a shunt warms.
const HALFWAY_SECONDS: f64 = 60.0;
/// Less than 20 ppm at Imax is no heat but noise.
const LEAST_HEAT: f64 = 20e-6;
/// A record's longest time constant.
const MOST_MILLISECONDS: f64 = 3_600_000.0;
const NO_LOAD_SECONDS: f64 = 100.0;
/// The temperature of curve and cross-talk, and the middle of the polynomials.
const MIDDLE_CELSIUS: f64 = 23.0;

/// Calibrates `unit`, which gets `id` into its record. The unit stays as it is after the last temperature.
///
/// # Errors
/// A procedure that cannot be, or a unit that no record can mend.
pub fn calibrate(
    unit: &Unit,
    id: UnitId,
    instrument: &Instrument,
    procedure: &Procedure,
    seed: u64,
) -> Result<Outcome, Error> {
    let temperatures = &procedure.temperatures;
    if !(3..=Calibration::TEMPERATURES).contains(&temperatures.len()) {
        return Err(Error::Temperatures(temperatures.len()));
    }
    let lowest = temperatures.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = temperatures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !(lowest >= -60.0 && highest <= 100.0 && highest - lowest >= 40.0) {
        return Err(Error::Span { lowest, highest });
    }
    let mut factory = Factory { rig: Rig::new(unit.clone(), None, seed), instrument };
    let mut record = Calibration::nothing(id);
    factory.over_temperature(temperatures, &mut record)?;
    factory.over_current(&mut record)?;
    record.check()?;
    factory.over_time(&mut record)?;
    record.check()?;
    let checks = checks(unit, record, instrument, temperatures, seed)?;
    Ok(Outcome { record, checks })
}

struct Factory<'a> {
    rig: Rig,
    instrument: &'a Instrument,
}

/// What one step found for each phase.
struct Found {
    /// Instrument over unit, voltage.
    volts: [f64; 3],
    /// Instrument over unit, apparent power.
    power: [f64; 3],
    /// How late current is against voltage, picoseconds.
    delay: [f64; 3],
}

/// Of the procedure's measurements at one current: phases, and instrument over unit of the neutral's current.
struct Point {
    amperes: f64,
    found: Found,
    neutral: f64,
}

impl Factory<'_> {
    fn over_temperature(&mut self, temperatures: &[f64], record: &mut Calibration) -> Result<(), Error> {
        let load = LoadPoint::balanced(HERTZ, VOLTS, BASE, 0.0);
        let mut kelvins = Vec::new();
        // For each channel: correction of gain in 10⁻⁹, offset in thousandths, delay in picoseconds.
        let mut values: [[Vec<f64>; 3]; 7] = Default::default();
        let mut noise = [0.0; 7];
        for (step, celsius) in temperatures.iter().enumerate() {
            self.rig.unit.settle(*celsius, &load);
            let shown = millikelvin(self.rig.unit.thermometer_celsius());
            record.taken_at_millikelvin[step] = shown;
            kelvins.push((f64::from(shown) - f64::from(record.reference_millikelvin)) / 1000.0);
            let shorted = self.rig.shorted(SHORTED_SECONDS);
            let found = self.find(&load, BASE_SECONDS, [0.0; 3])?;
            values[6][0].push((self.find_neutral(BASE, BASE_SECONDS)? - 1.0) * 1e9);
            for (channel, [mean, square]) in shorted.into_iter().enumerate() {
                values[channel][1].push(mean * 1e3);
                noise[channel] += square / temperatures.len() as f64;
            }
            for phase in 0..3 {
                values[phase][0].push((found.volts[phase] - 1.0) * 1e9);
                values[3 + phase][0].push((found.power[phase] / found.volts[phase] - 1.0) * 1e9);
                values[3 + phase][2].push(found.delay[phase]);
            }
        }
        for (channel, [gain, offset, delay]) in record.channels.iter_mut().zip(&values) {
            channel.gain_ppb = parabola(&kelvins, gain);
            channel.offset_millicounts = parabola(&kelvins, offset);
            channel.delay_picoseconds = parabola(&kelvins, delay);
        }
        for (channel, square) in record.channels.iter_mut().zip(noise) {
            channel.noise_millicounts_squared = (square * 1e3).round() as u32;
        }
        Ok(())
    }

    fn over_current(&mut self, record: &mut Calibration) -> Result<(), Error> {
        let still = LoadPoint::unbalanced(HERTZ, [VOLTS; 3], [0.0; 3], 0.0);
        self.rig.unit.settle(MIDDLE_CELSIUS, &still);
        let scale = Unit::scale();
        let per_count = |phase: usize| {
            let volts = scale.voltage_femtovolts_per_count[phase] as f64 * 1e-15;
            [volts, scale.current_femtoamperes_per_count[phase] as f64 * 1e-15]
        };
        let idle = self.rig.block(&still, NO_LOAD_SECONDS)?;
        // Offsets of both channels make a power of their own, which the core takes out before cross-talk.
        let shorted = self.rig.shorted(SHORTED_SECONDS);
        let mut leaked = [0.0; 3];
        for phase in 0..3 {
            let [volts, amperes] = per_count(phase);
            let offsets = shorted[phase][0] * shorted[3 + phase][0] * volts * amperes;
            leaked[phase] = idle.watts[phase];
            let part = (idle.watts[phase] - offsets) / idle.volts[phase].powi(2) * volts / amperes;
            record.crosstalk_ppb[phase] = (part * 1e9).round() as i32;
        }
        // From Imax downwards, so that all points have the same remanence.
        let mut points = Vec::new();
        for (amperes, seconds) in CURVE.into_iter().rev() {
            let load = LoadPoint::balanced(HERTZ, VOLTS, amperes, 0.0);
            self.rig.unit.settle(MIDDLE_CELSIUS, &still);
            points.push(Point { amperes, found: self.find(&load, seconds, leaked)?, neutral: 1.0 });
        }
        for point in &mut points {
            point.neutral = self.find_neutral(point.amperes, BASE_SECONDS)?;
        }
        let Some(base) = points.iter().find(|point| point.amperes == BASE) else { return Ok(()) };
        for (at, point) in points.iter().rev().enumerate() {
            let milliamperes = (point.amperes * 1e3).round() as u32;
            let gain_ppb = |here: f64, base: f64| ((here / base - 1.0) * 1e9).round() as i32;
            for phase in 0..3 {
                record.transducers[phase].curve[at] = CurvePoint {
                    milliamperes,
                    gain_ppb: gain_ppb(point.found.power[phase], base.found.power[phase]),
                    delay_picoseconds: (point.found.delay[phase] - base.found.delay[phase]).round() as i32,
                };
            }
            let gain_ppb = gain_ppb(point.neutral, base.neutral);
            record.transducers[3].curve[at] = CurvePoint { milliamperes, gain_ppb, delay_picoseconds: 0 };
        }
        Ok(())
    }

    /// Imax from cold to settled, with what is known so far applied: what is left is a shunt's own heat. A transformer shows none.
    fn over_time(&mut self, record: &mut Calibration) -> Result<(), Error> {
        const AMPERES: f64 = 100.0;
        let still = LoadPoint::unbalanced(HERTZ, [VOLTS; 3], [0.0; 3], 0.0);
        let load = LoadPoint::balanced(HERTZ, VOLTS, AMPERES, 0.0);
        let standard = self.instrument.read(&Truth::of(&load));
        let mut rig = Rig::new(self.rig.unit.clone(), Some(*record), 0);
        rig.unit.settle(MIDDLE_CELSIUS, &still);
        let mut errors = || -> Result<[f64; 3], Error> {
            let shown = rig.block(&load, BASE_SECONDS)?;
            let found = std::array::from_fn(|phase| shown.watts[phase] / standard.watts[phase] - 1.0);
            rig.unit.pass(HALFWAY_SECONDS, MIDDLE_CELSIUS, &load);
            Ok(found)
        };
        let (cold, halfway) = (errors()?, errors()?);
        rig.unit.settle(MIDDLE_CELSIUS, &load);
        let shown = rig.block(&load, BASE_SECONDS)?;
        for (phase, transducer) in record.transducers.iter_mut().take(3).enumerate() {
            let warmth = shown.watts[phase] / standard.watts[phase] - 1.0 - cold[phase];
            let part = (halfway[phase] - cold[phase]) / warmth;
            if warmth.abs() < LEAST_HEAT || !(part > 0.0 && part < 1.0) {
                continue;
            }
            let seconds = -HALFWAY_SECONDS / (1.0 - part).ln();
            transducer.heating_ppt_per_square_ampere = (-warmth * 1e12 / (AMPERES * AMPERES)).round() as i32;
            transducer.heating_milliseconds = (seconds * 1e3).min(MOST_MILLISECONDS) as u32;
        }
        Ok(())
    }

    /// Instrument over unit of the neutral's current, L1 carrying `amperes` alone.
    fn find_neutral(&mut self, amperes: f64, seconds: f64) -> Result<f64, Error> {
        let load = alone(amperes);
        let shown = self.rig.block(&load, seconds)?.neutral_amperes;
        let expected = self.instrument.read(&Truth::of(&load)).amperes[3];
        if !(shown > expected / 2.0 && shown < expected * 2.0) {
            return Err(Error::DeadNeutral { amperes: shown, expected });
        }
        Ok(expected / shown)
    }

    /// Compares unit and instrument; `less` watts are first taken from what the unit shows.
    fn find(&mut self, load: &LoadPoint, seconds: f64, less: [f64; 3]) -> Result<Found, Error> {
        let unit: Reading = self.rig.block(load, seconds)?;
        let standard = self.instrument.read(&Truth::of(load));
        let mut found = Found { volts: [1.0; 3], power: [1.0; 3], delay: [0.0; 3] };
        for (phase, less) in less.into_iter().enumerate() {
            let watts = unit.watts[phase] - less;
            let (shown, expected) =
                (watts.hypot(unit.vars[phase]), standard.watts[phase].hypot(standard.vars[phase]));
            // A half is far beyond any sum of tolerances.
            if !(shown > expected / 2.0 && shown < expected * 2.0 && watts > 0.0) {
                return Err(Error::Dead { phase: phase + 1, watts, expected: standard.watts[phase] });
            }
            let angle = unit.vars[phase].atan2(watts) - standard.vars[phase].atan2(standard.watts[phase]);
            found.volts[phase] = standard.volts[phase] / unit.volts[phase];
            found.power[phase] = expected / shown;
            found.delay[phase] = angle / (TAU * load.frequency_hz) * 1e12;
        }
        Ok(found)
    }
}

/// What the record does for a unit, against the instrument.
///
/// # Errors
/// The core refuses a setting.
pub fn checks(
    unit: &Unit,
    record: Calibration,
    instrument: &Instrument,
    temperatures: &[f64],
    seed: u64,
) -> Result<Vec<Check>, Error> {
    let mut rig = Rig::new(unit.clone(), Some(record), seed ^ 1);
    let mut checks = Vec::new();
    for celsius in temperatures {
        for (amperes, lag_degrees) in [(5.0, 0.0), (5.0, 60.0), (100.0, 0.0), (0.25, 0.0)] {
            let load = LoadPoint::balanced(HERTZ, VOLTS, amperes, lag_degrees);
            rig.unit.settle(*celsius, &load);
            let expected = instrument.read(&Truth::of(&load)).total_watts();
            let shown = rig.block(&load, BASE_SECONDS)?.total_watts();
            let error_percent = (shown / expected - 1.0) * 100.0;
            let quantity = Quantity::ActivePower;
            checks.push(Check { quantity, celsius: *celsius, amperes, lag_degrees, error_percent });
        }
        let load = alone(BASE);
        rig.unit.settle(*celsius, &load);
        let expected = instrument.read(&Truth::of(&load)).amperes[3];
        let error_percent = (rig.block(&load, BASE_SECONDS)?.neutral_amperes / expected - 1.0) * 100.0;
        checks.push(Check {
            quantity: Quantity::NeutralCurrent,
            celsius: *celsius,
            amperes: BASE,
            lag_degrees: 0.0,
            error_percent,
        });
    }
    Ok(checks)
}

/// A current in L1, and back through the neutral.
fn alone(amperes: f64) -> LoadPoint {
    LoadPoint::unbalanced(HERTZ, [VOLTS; 3], [amperes, 0.0, 0.0], 0.0)
}

/// Least squares of a parabola over kelvins from the reference temperature, in a record's units.
fn parabola(kelvins: &[f64], values: &[f64]) -> Quadratic {
    if values.is_empty() {
        return Quadratic::default();
    }
    // In units of 50 K the normal equations are well conditioned.
    const UNIT: f64 = 50.0;
    let mut rows = [[0.0f64; 4]; 3];
    for (kelvin, value) in kelvins.iter().zip(values) {
        let x = kelvin / UNIT;
        let powers = [1.0, x, x * x];
        for (row, a) in rows.iter_mut().zip(powers) {
            for (cell, b) in row.iter_mut().zip([powers[0], powers[1], powers[2], *value]) {
                *cell += a * b;
            }
        }
    }
    for pivot in 0..3 {
        let source = rows[pivot];
        for (number, row) in rows.iter_mut().enumerate() {
            if number != pivot {
                let factor = row[pivot] / source[pivot];
                row.iter_mut().zip(source).for_each(|(cell, from)| *cell -= factor * from);
            }
        }
    }
    let [constant, linear, quadratic]: [f64; 3] = std::array::from_fn(|n| rows[n][3] / rows[n][n]);
    Quadratic {
        constant: constant.round() as i32,
        linear: (linear / UNIT * 1e3).round() as i32,
        quadratic: (quadratic / (UNIT * UNIT) * 1e6).round() as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meterseal_world::physics::{Effects, Sensor, Tolerances};

    const ID: UnitId = *b"MSV0000000001\0\0\0";

    #[test]
    fn a_parabola_through_its_own_points_is_found() {
        let kelvins = [-63.0, -20.0, 1.0, 33.0, 62.0];
        let values = kelvins.map(|x| 12_345.0 - 250.0 * x + 1.5 * x * x);
        let found = parabola(&kelvins, &values);
        assert_eq!(found, Quadratic { constant: 12_345, linear: -250_000, quadratic: 1_500_000 });
    }

    #[test]
    fn a_calibrated_unit_is_within_its_check_limit_and_an_uncalibrated_one_is_not() {
        for seed in 0..8 {
            let unit = Unit::draw(seed, Sensor::Transformer, &Tolerances::REFERENCE, Effects::ALL);
            let instrument = Instrument::draw(seed);
            let outcome = calibrate(&unit, ID, &instrument, &Procedure::default(), seed).unwrap();
            assert!(outcome.passes(), "{seed}: {:?}", outcome.checks);
            let without = Calibration::nothing(ID);
            let raw = checks(&unit, without, &instrument, &[-40.0, 85.0], seed).unwrap();
            let worst = raw.iter().map(|check| check.error_percent.abs()).fold(0.0, f64::max);
            assert!(worst > CHECK_LIMIT_PERCENT, "{seed}: {worst}");
            // The record survives its own encoding.
            assert_eq!(Calibration::decode(&outcome.record.encode(), &ID), Ok(outcome.record));
        }
    }

    #[test]
    fn a_shunt_s_heat_and_its_time_are_found() {
        for seed in 30..34 {
            let unit = Unit::draw(seed, Sensor::Shunt, &Tolerances::REFERENCE, Effects::ALL);
            let instrument = Instrument::draw(seed);
            let outcome = calibrate(&unit, ID, &instrument, &Procedure::default(), seed).unwrap();
            assert!(outcome.passes(), "{:?}", outcome.checks);
            // With the heat term 100 A is as good as 5 A, to the instrument.
            let at_imax = outcome.checks.iter().filter(|check| check.amperes == 100.0);
            let worst = at_imax.map(|check| check.error_percent.abs()).fold(0.0, f64::max);
            assert!(worst < 0.02, "{seed}: {worst}");
            for transducer in &outcome.record.transducers[..3] {
                // 120 s by the model; the case's 20 minutes are in the thermometer.
                let time = transducer.heating_milliseconds;
                assert!(time == 0 || (90_000..160_000).contains(&time), "{transducer:?}");
            }
        }
        let transformer = Unit::draw(30, Sensor::Transformer, &Tolerances::REFERENCE, Effects::ALL);
        let outcome = calibrate(&transformer, ID, &Instrument::draw(30), &Procedure::default(), 30).unwrap();
        assert!(outcome.record.transducers.iter().all(|all| all.heating_ppt_per_square_ampere == 0));
    }

    /// Largest magnitude of a check's error at a current and lag, per cent.
    fn worst(checks: &[Check], amperes: f64, lag: f64) -> f64 {
        let at = checks.iter().filter(|check| check.amperes == amperes && check.lag_degrees == lag);
        at.map(|check| check.error_percent.abs()).fold(0.0, f64::max)
    }

    #[test]
    fn a_phase_off_by_a_microsecond_is_found() {
        for seed in 0..4 {
            let unit = Unit::draw(seed, Sensor::Transformer, &Tolerances::REFERENCE, Effects::ALL);
            let instrument = Instrument::draw(seed);
            let outcome = calibrate(&unit, ID, &instrument, &Procedure::default(), seed).unwrap();
            let mut late = outcome.record;
            late.channels[3..6]
                .iter_mut()
                .for_each(|channel| channel.delay_picoseconds.constant -= 1_000_000);
            let found = checks(&unit, late, &instrument, &[-40.0, 23.0, 85.0], seed).unwrap();
            assert!(outcome.passes(), "{seed}: {:?}", outcome.checks);
            assert!(!Outcome { record: late, checks: found }.passes(), "{seed}");
        }
    }

    #[test]
    fn small_currents_need_a_transformer_s_curve_and_large_ones_a_shunt_s_heat() {
        for (sensor, amperes) in [(Sensor::Transformer, 0.25), (Sensor::Shunt, 100.0)] {
            let (mut with, mut without) = (0f64, 0f64);
            for seed in 30..33 {
                let unit = Unit::draw(seed, sensor, &Tolerances::REFERENCE, Effects::ALL);
                let instrument = Instrument::draw(seed);
                let outcome = calibrate(&unit, ID, &instrument, &Procedure::default(), seed).unwrap();
                let mut record = outcome.record;
                for transducer in &mut record.transducers {
                    match sensor {
                        Sensor::Transformer => transducer.curve = Default::default(),
                        Sensor::Shunt => transducer.heating_ppt_per_square_ampere = 0,
                    }
                }
                let spoilt = checks(&unit, record, &instrument, &[-40.0, 23.0, 85.0], seed).unwrap();
                with = with.max(worst(&outcome.checks, amperes, 0.0));
                without = without.max(worst(&spoilt, amperes, 0.0));
            }
            assert!(without > 3.0 * with, "{sensor:?}: {with} and {without}");
        }
    }

    #[test]
    fn the_neutral_has_a_gain_of_its_own() {
        for (seed, sensor) in [(50, Sensor::Transformer), (51, Sensor::Shunt)] {
            let unit = Unit::draw(seed, sensor, &Tolerances::REFERENCE, Effects::ALL);
            let instrument = Instrument::draw(seed);
            let outcome = calibrate(&unit, ID, &instrument, &Procedure::default(), seed).unwrap();
            let neutral = |checks: &[Check]| {
                let all = checks.iter().filter(|check| check.quantity == Quantity::NeutralCurrent);
                all.map(|check| check.error_percent.abs()).fold(0.0, f64::max)
            };
            let mut without = outcome.record;
            without.channels[6].gain_ppb = Quadratic::default();
            let spoilt = checks(&unit, without, &instrument, &[-40.0, 23.0, 85.0], seed).unwrap();
            let (with, without) = (neutral(&outcome.checks), neutral(&spoilt));
            assert!(with < 0.02 && without > 5.0 * with, "{sensor:?}: {with} and {without}");
        }
    }

    #[test]
    fn three_temperatures_are_enough_and_two_are_refused() {
        let unit = Unit::draw(3, Sensor::Transformer, &Tolerances::REFERENCE, Effects::ALL);
        let instrument = Instrument::draw(3);
        let run = |temperatures: &[f64]| {
            let procedure = Procedure { temperatures: temperatures.to_vec() };
            calibrate(&unit, ID, &instrument, &procedure, 3)
        };
        assert!(run(&[-40.0, 23.0, 85.0]).unwrap().passes());
        assert!(matches!(run(&[-40.0, 85.0]), Err(Error::Temperatures(2))));
        assert!(matches!(run(&[20.0, 25.0, 30.0]), Err(Error::Span { .. })));
        assert!(matches!(run(&[f64::NAN, 25.0, 30.0]), Err(Error::Span { .. })));
    }
}
