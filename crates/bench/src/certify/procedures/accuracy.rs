//! Accuracy by pulse counting: load points, repeatability, single phase against balanced, temperature.

use meterseal_world::physics::LoadPoint;

use crate::catalogue::{Parameter, Requirement};
use crate::certify::outcome::mean_and_deviation;
use crate::certify::{Bench, Limit, Measured, Procedure, Trouble, number, word};

pub(super) fn procedures() -> Vec<Box<dyn Procedure>> {
    vec![
        Box::new(LoadPoints),
        Box::new(SingleAgainstBalanced),
        Box::new(Repeatability),
        Box::new(OverTemperature),
    ]
}

/// A power factor by its name in the catalogue, degrees that the current lags.
fn lag(power_factor: &str) -> Result<f64, Trouble> {
    let (value, side) = power_factor.split_once(' ').unwrap_or((power_factor, "ind"));
    let factor: f64 =
        value.parse().map_err(|_| Trouble::Bench(format!("\"{power_factor}\" is no power factor")))?;
    let degrees = factor.acos().to_degrees();
    Ok(if side == "cap" { -degrees } else { degrees })
}

/// The currents of a range: its ends and up to three between them, evenly by ratio. Where the next range begins at its end, the end is a
/// little below.
fn currents(bench: &Bench<'_>, requirement: &Requirement) -> Result<Vec<f64>, Trouble> {
    let rated = bench.ratings().rated_amperes;
    let from = number(requirement, "from_amperes_per_in")? * rated;
    let to = match requirement.parameters.get("to_amperes_per_in") {
        Some(Parameter::Number(part)) => 0.99 * part * rated,
        _ => bench.ratings().maximum_amperes,
    };
    let between = match to / from {
        ratio if ratio > 50.0 => 4,
        ratio if ratio > 8.0 => 3,
        _ => 1,
    };
    let steps = between + 1;
    Ok((0..=steps).map(|step| from * (to / from).powf(f64::from(step) / f64::from(steps))).collect())
}

/// The name of a load for people.
fn name(amperes: f64, power_factor: &str) -> String {
    format!("{amperes:.3} A, power factor {power_factor}")
}

/// Every load point of a range.
struct LoadPoints;

impl Procedure for LoadPoints {
    fn name(&self) -> &'static str {
        "load-point"
    }

    fn run(&self, bench: &mut Bench<'_>, requirement: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let limit = Limit::within(number(requirement, "percent")?);
        let factor = word(requirement, "power_factor")?;
        let lag = lag(factor)?;
        let phases: &[Option<usize>] = match word(requirement, "load")? {
            "single" => &[Some(0), Some(1), Some(2)],
            _ => &[None],
        };
        let mut measured = Vec::new();
        for &phase in phases {
            for amperes in currents(bench, requirement)? {
                let load = load_of(bench, phase, amperes, lag);
                let name = match phase {
                    Some(phase) => format!("L{} alone, {}", phase + 1, name(amperes, factor)),
                    None => name(amperes, factor),
                };
                bench.step(format!("{name}: settle, then {} runs", bench.effort().runs));
                let runs = bench.effort().runs;
                let errors = bench.errors(&load, runs)?;
                let own = bench.uncertainty_percent(&load);
                measured.push(Measured::mean(name, &errors, "%", limit, own).at(amperes, lag, 23.0));
            }
        }
        Ok(measured)
    }
}

/// A load in one phase or in all.
fn load_of(bench: &Bench<'_>, phase: Option<usize>, amperes: f64, lag: f64) -> LoadPoint {
    let ratings = bench.ratings();
    let currents = std::array::from_fn(|k| if phase.is_none_or(|phase| phase == k) { amperes } else { 0.0 });
    LoadPoint::unbalanced(ratings.hertz, [ratings.volts; 3], currents, lag)
}

struct SingleAgainstBalanced;

impl Procedure for SingleAgainstBalanced {
    fn name(&self) -> &'static str {
        "single-against-balanced"
    }

    fn run(&self, bench: &mut Bench<'_>, requirement: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let limit = Limit::within(number(requirement, "percent")?);
        let amperes = bench.ratings().rated_amperes;
        let runs = bench.effort().runs;
        let balanced = load_of(bench, None, amperes, 0.0);
        bench.step("balanced at In");
        let (reference, _) = mean_and_deviation(&bench.errors(&balanced, runs)?);
        let mut measured = Vec::new();
        for phase in 0..3 {
            bench.step(format!("L{} alone at In", phase + 1));
            let load = load_of(bench, Some(phase), amperes, 0.0);
            let differences: Vec<f64> =
                bench.errors(&load, runs)?.iter().map(|error| error - reference).collect();
            // Two measurements' uncertainty.
            let own = bench.uncertainty_percent(&load) * std::f64::consts::SQRT_2;
            let what = format!("L{} alone less balanced", phase + 1);
            measured.push(Measured::mean(what, &differences, "%", limit, own));
        }
        Ok(measured)
    }
}

struct Repeatability;

impl Procedure for Repeatability {
    fn name(&self) -> &'static str {
        "repeatability"
    }

    fn run(&self, bench: &mut Bench<'_>, requirement: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let runs = (number(requirement, "runs")? as u32).max(2);
        let rated = bench.ratings().rated_amperes;
        let maximum = bench.ratings().maximum_amperes;
        let mut measured = Vec::new();
        for (amperes, factor, limit) in [
            (0.01 * rated, "1", 0.4),
            (0.05 * rated, "1", 0.2),
            (rated, "1", 0.2),
            (maximum, "1", 0.2),
            (0.02 * rated, "0.5 ind", 0.5),
            (rated, "0.5 ind", 0.3),
        ] {
            let name = name(amperes, factor);
            bench.step(format!("{name}: {runs} runs"));
            let load = load_of(bench, None, amperes, lag(factor)?);
            let (_, deviation) = mean_and_deviation(&bench.errors(&load, runs)?);
            let what = format!("standard deviation of {runs} runs at {name}");
            measured.push(Measured::new(what, deviation, "%", Limit::at_most(limit / 10.0), 0.0));
        }
        Ok(measured)
    }
}

/// The load points at the chamber's temperatures.
struct OverTemperature;

impl Procedure for OverTemperature {
    fn name(&self) -> &'static str {
        "load-points-over-temperature"
    }

    fn run(&self, bench: &mut Bench<'_>, requirement: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let unity = number(requirement, "percent")?;
        let rated = bench.ratings().rated_amperes;
        let maximum = bench.ratings().maximum_amperes;
        // Currents in units of In, and the class's limit at power factors other than 1.
        let points = [
            (0.01, "1", 0.4),
            (0.05, "1", unity),
            (0.2, "1", unity),
            (1.0, "1", unity),
            (4.0, "1", unity),
            (maximum / rated, "1", unity),
            (0.02, "0.5 ind", 0.5),
            (0.1, "0.5 ind", 0.3),
            (1.0, "0.5 ind", 0.3),
            (maximum / rated, "0.5 ind", 0.3),
            (0.1, "0.8 cap", 0.3),
            (maximum / rated, "0.8 cap", 0.3),
        ];
        // One run a point: five are made at 23 °C for every point of the class.
        let runs = bench.effort().runs.min(2);
        let mut measured = Vec::new();
        for celsius in [-40.0, -25.0, 23.0, 55.0, 85.0] {
            for (part, factor, limit) in points {
                let amperes = part * rated;
                let lag = lag(factor)?;
                let load = load_of(bench, None, amperes, lag);
                let name = format!("{}, {celsius} °C", name(amperes, factor));
                bench.step(format!("{name}: all temperatures settled"));
                bench.target().load(&load)?;
                bench.target().ambient(celsius)?;
                let errors = bench.errors(&load, runs)?;
                let own = bench.uncertainty_percent(&load);
                let value = Measured::mean(name, &errors, "%", Limit::within(limit), own);
                measured.push(value.at(amperes, lag, celsius));
            }
        }
        Ok(measured)
    }
}
