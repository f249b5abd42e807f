//! The factory's procedure: a unit in the chamber at three or more temperatures, between a load and the laboratory's instrument. It sees what a factory
//! sees (the unit's readings and thermometer, the instrument's readings) and writes the record that the unit's core then applies.
//!
//! At each temperature: inputs shorted (offset, noise), then 10 A at PF 1, where the ratio of the instrument's complex power to the unit's is the
//! gain and its angle the delay. At 23 °C also no current (cross-talk), the current from Imax downwards (a transformer's curve), and Imax from cold
//! to warm (a shunt's heat). The neutral, which has no voltage and bills nothing, gets offset and noise only.
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

/// One measurement with the record applied.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Check {
    /// Chamber temperature, °C.
    pub celsius: f64,
    /// Current in each phase, amperes.
    pub amperes: f64,
    /// How far the current lags, degrees.
    pub lag_degrees: f64,
    /// (unit − instrument) / instrument, per cent.
    pub error_percent: f64,
}

/// Limit for each [`Check`], per cent: half of CPA-ACC's 0.2.
pub const CHECK_LIMIT_PERCENT: f64 = 0.1;

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
        let mut points = [[CurvePoint::default(); CURVE.len()]; 3];
        let mut base = None;
        let mut found = Vec::new();
        for (amperes, seconds) in CURVE.iter().rev() {
            let load = LoadPoint::balanced(HERTZ, VOLTS, *amperes, 0.0);
            self.rig.unit.settle(MIDDLE_CELSIUS, &still);
            let here = self.find(&load, *seconds, leaked)?;
            if *amperes == BASE {
                base = Some(found.len());
            }
            found.push((*amperes, here));
        }
        let base = base.map(|at| &found[at].1);
        for (at, (amperes, here)) in found.iter().rev().enumerate() {
            let Some(base) = base else { continue };
            for (phase, points) in points.iter_mut().enumerate() {
                points[at] = CurvePoint {
                    milliamperes: (amperes * 1e3).round() as u32,
                    gain_ppb: ((here.power[phase] / base.power[phase] - 1.0) * 1e9).round() as i32,
                    delay_picoseconds: (here.delay[phase] - base.delay[phase]).round() as i32,
                };
            }
        }
        for (transducer, points) in record.transducers.iter_mut().zip(points) {
            transducer.curve = points;
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

fn checks(
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
            checks.push(Check { celsius: *celsius, amperes, lag_degrees, error_percent });
        }
    }
    Ok(checks)
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
