//! Influence quantities: the error with one of them changed, less the error without.

use meterseal_model::{EventCode, Obis};
use meterseal_world::physics::LoadPoint;

use crate::catalogue::Requirement;
use crate::certify::outcome::mean_and_deviation;
use crate::certify::{Bench, Limit, Measured, Procedure, Stimulus, Trouble, number, word};

/// The limit where a meter may be off: −100 %, and what its own error may add.
const OFF: f64 = -101.0;

/// Degrees that the current lags at power factor 0.5 inductive.
const LAG_05: f64 = 60.0;

/// Every influence quantity; which one, the requirement says.
pub(super) struct Influence;

impl Procedure for Influence {
    fn name(&self) -> &'static str {
        "influence"
    }

    fn run(&self, bench: &mut Bench<'_>, requirement: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let percent = number(requirement, "percent")?;
        let within = Limit::within(percent);
        let r = bench.ratings();
        let at = |hertz: f64, part: f64, amperes: f64, lag: f64| {
            LoadPoint::balanced(r.hertz * hertz, r.volts * part, amperes, lag)
        };
        let rated = |lag: f64| at(1.0, 1.0, r.rated_amperes, lag);
        let voltages = |parts: &[f64], lag: f64| -> Vec<(String, LoadPoint)> {
            let load = |&part: &f64| (format!("voltage {part} Un"), at(1.0, part, r.rated_amperes, lag));
            parts.iter().map(load).collect()
        };
        let quantity = word(requirement, "quantity")?;
        match quantity {
            "temperature" => temperature(bench, 0.0, percent),
            "temperature at 0.5 ind" => temperature(bench, LAG_05, percent),
            "voltage 0.9 to 1.1" => changes(bench, &rated(0.0), voltages(&[0.9, 1.1], 0.0), within),
            "voltage 0.9 to 1.1 at 0.5 ind" => {
                changes(bench, &rated(LAG_05), voltages(&[0.9, 1.1], LAG_05), within)
            }
            "voltage 0.8 to 1.15" => changes(bench, &rated(0.0), voltages(&[0.8, 1.15], 0.0), within),
            "voltage 0.8 to 1.15 at 0.5 ind" => {
                changes(bench, &rated(LAG_05), voltages(&[0.8, 1.15], LAG_05), within)
            }
            "voltage below 0.8" => {
                let limit = Limit { least: Some(OFF), most: Some(percent) };
                changes(bench, &rated(0.0), voltages(&[0.7, 0.5, 0.3], 0.0), limit)
            }
            "frequency" => {
                let mut measured = Vec::new();
                for lag in [0.0, LAG_05] {
                    let parts = [0.98, 1.02].map(|part| {
                        (format!("frequency {part} fn, lag {lag}°"), at(part, 1.0, r.rated_amperes, lag))
                    });
                    measured.extend(changes(bench, &rated(lag), parts.to_vec(), within)?);
                }
                Ok(measured)
            }
            "phase sequence" => {
                let load = at(1.0, 1.0, 0.1 * r.rated_amperes, 0.0);
                let reversed = load.clone().reversed();
                changes(bench, &load, vec![("reversed phase sequence".to_owned(), reversed)], within)
            }
            "voltage unbalance" => {
                let without =
                    [("one voltage missing", [1.0, 1.0, 0.0]), ("two voltages missing", [1.0, 0.0, 0.0])];
                let loads = without.map(|(name, parts)| {
                    let volts = parts.map(|part| part * r.volts);
                    let amperes = parts.map(|part| part * r.rated_amperes);
                    (name.to_owned(), LoadPoint::unbalanced(r.hertz, volts, amperes, 0.0))
                });
                changes(bench, &rated(0.0), loads.to_vec(), within)
            }
            "fifth harmonic" => {
                let load = at(1.0, 1.0, 0.5 * r.maximum_amperes, 0.0);
                let harmonic = load.clone().with_harmonic(5, 0.1, 0.4);
                changes(bench, &load, vec![("fifth harmonic".to_owned(), harmonic)], within)
            }
            "sub-harmonics" => {
                let half = at(1.0, 1.0, 0.5 * r.rated_amperes, 0.0);
                let bursts = LoadPoint::bursts(r.hertz, r.volts, r.rated_amperes);
                let fired = LoadPoint::phase_fired(r.hertz, r.volts, r.rated_amperes, 90.0);
                let loads = vec![
                    ("bursts, two cycles of four".to_owned(), bursts),
                    ("phase-fired at 90°".to_owned(), fired),
                ];
                changes(bench, &half, loads, within)
            }
            "magnet" => {
                fields(bench, &[(200.0, "200 mT")], |field| Stimulus::Magnet([0.0, 0.0, field]), within)
            }
            "alternating field" => {
                // 0.5 mT effective.
                let peak = 0.5 * std::f64::consts::SQRT_2;
                fields(
                    bench,
                    &[(peak, "0.5 mT")],
                    |field| Stimulus::AlternatingField([0.0, 0.0, field]),
                    within,
                )
            }
            "self-heating" => self_heating(bench, within),
            "surge" => surges(bench),
            "dips" => dips(bench),
            "load steps" => load_steps(bench, within),
            other => Err(Trouble::Bench(format!("no influence quantity \"{other}\" is known"))),
        }
    }
}

/// The mean error at each load less that at the first.
fn changes(
    bench: &mut Bench<'_>,
    base: &LoadPoint,
    loads: Vec<(String, LoadPoint)>,
    limit: Limit,
) -> Result<Vec<Measured>, Trouble> {
    let runs = bench.effort().runs;
    bench.step("reference conditions");
    let (without, deviation) = mean_and_deviation(&bench.errors(base, runs)?);
    let mut measured = Vec::new();
    for (name, load) in loads {
        bench.step(name.clone());
        let changes: Vec<f64> = bench
            .errors(&load, runs)?
            .into_iter()
            // Where a meter may be off, no pulse is an error of −100 %.
            .map(|error| if error.is_nan() && limit.least == Some(OFF) { -100.0 } else { error })
            .map(|error| error - without)
            .collect();
        measured.push(change(bench, &load, format!("change of error, {name}"), &changes, deviation, limit));
    }
    Ok(measured)
}

/// A difference of two means.
fn change(
    bench: &Bench<'_>,
    load: &LoadPoint,
    what: String,
    changes: &[f64],
    deviation: f64,
    limit: Limit,
) -> Measured {
    let own = bench.uncertainty_percent(load) * std::f64::consts::SQRT_2;
    let of_base = 2.0 * deviation / (changes.len() as f64).sqrt();
    let mut value = Measured::mean(what, changes, "%", limit, own.hypot(of_base));
    // The base's scatter is the meter's, not the bench's.
    value.bench_uncertainty = own;
    value
}

fn temperature(bench: &mut Bench<'_>, lag: f64, percent: f64) -> Result<Vec<Measured>, Trouble> {
    let r = bench.ratings();
    let load = LoadPoint::balanced(r.hertz, r.volts, r.rated_amperes, lag);
    let runs = bench.effort().runs.min(3);
    let mut measured = Vec::new();
    let mut before: Option<(f64, f64)> = None;
    for celsius in [-40.0, -25.0, -5.0, 10.0, 23.0, 40.0, 55.0, 70.0, 85.0] {
        bench.step(format!("{celsius} °C, settled"));
        bench.target().load(&load)?;
        bench.target().ambient(celsius)?;
        let errors = bench.errors(&load, runs)?;
        let (error, _) = mean_and_deviation(&errors);
        if let Some((colder, at)) = before {
            let span = celsius - colder;
            let per_kelvin: Vec<f64> = errors.iter().map(|error| (error - at) / span).collect();
            let own = bench.uncertainty_percent(&load) * std::f64::consts::SQRT_2 / span;
            let what = format!("{colder} to {celsius} °C");
            measured.push(Measured::mean(what, &per_kelvin, "%/K", Limit::within(percent), own).at(
                r.rated_amperes,
                lag,
                celsius,
            ));
        }
        before = Some((celsius, error));
    }
    Ok(measured)
}

fn fields(
    bench: &mut Bench<'_>,
    strengths: &[(f64, &str)],
    stimulus: fn(f64) -> Stimulus,
    limit: Limit,
) -> Result<Vec<Measured>, Trouble> {
    let r = bench.ratings();
    let load = LoadPoint::balanced(r.hertz, r.volts, r.rated_amperes, 0.0);
    let runs = bench.effort().runs;
    bench.step("reference conditions");
    let (without, deviation) = mean_and_deviation(&bench.errors(&load, runs)?);
    let mut measured = Vec::new();
    for &(strength, name) in strengths {
        bench.step(format!("a field of {name}"));
        bench.target().stimulate(stimulus(strength))?;
        let changes: Vec<f64> = bench.errors(&load, runs)?.iter().map(|error| error - without).collect();
        bench.target().stimulate(stimulus(0.0))?;
        measured.push(change(bench, &load, format!("change of error, {name}"), &changes, deviation, limit));
    }
    Ok(measured)
}

fn self_heating(bench: &mut Bench<'_>, limit: Limit) -> Result<Vec<Measured>, Trouble> {
    let r = bench.ratings();
    let still = LoadPoint::unbalanced(r.hertz, [r.volts; 3], [0.0; 3], 0.0);
    let minutes = if bench.effort().is_reduced() { 10 } else { 60 };
    if minutes < 60 {
        bench.reserve(format!("{minutes} of 60 minutes at the maximum current"));
    }
    let mut measured = Vec::new();
    for (name, lag) in [("power factor 1", 0.0), ("power factor 0.5 ind", LAG_05)] {
        bench.step(format!("{name}: cold, without a load for long"));
        bench.target().load(&still)?;
        bench.target().ambient(23.0)?;
        let load = LoadPoint::balanced(r.hertz, r.volts, r.maximum_amperes, lag);
        bench.target().load(&load)?;
        bench.pass(2.0)?;
        let cold = bench.error_percent(20.0)?;
        let (mut worst, mut at) = (0.0f64, 0);
        for minute in 1..=minutes {
            bench.pass(38.0)?;
            let change = bench.error_percent(20.0)? - cold;
            if change.abs() > worst.abs() {
                (worst, at) = (change, minute);
            }
        }
        let own = bench.target().uncertainty_percent(20.0) * std::f64::consts::SQRT_2;
        let what = format!("largest change within {minutes} minutes at Imax, {name} (minute {at})");
        measured.push(Measured::new(what, worst, "%", limit, own));
    }
    Ok(measured)
}

/// The change of energy that disturbances without a load may make: m·Un·Imax·10⁻⁶ kWh, in watt-hours.
fn energy_limit(bench: &Bench<'_>) -> Limit {
    let r = bench.ratings();
    Limit::within(3.0 * r.volts * r.maximum_amperes * 1e-3)
}

fn surges(bench: &mut Bench<'_>) -> Result<Vec<Measured>, Trouble> {
    let r = bench.ratings();
    bench.settle(&LoadPoint::unbalanced(r.hertz, [r.volts; 3], [0.0; 3], 0.0))?;
    let mut measured = Vec::new();
    let log = bench.log_end()?;
    let before = registers(bench)?;
    let (mut given, spike) = (0, bench.profile().event(EventCode::VoltageSpike));
    // IEC 61000-4-5: five of each sign, to each phase; 4 kV at direct connection.
    for round in 0..bench.effort().stimuli.min(5) {
        for phase in 0..3 {
            for sign in [1.0, -1.0] {
                let mut peaks = [sign * 800.0; 3];
                peaks[phase] = sign * 4000.0;
                bench.step(format!("surge {round}: {peaks:?} V"));
                bench.target().stimulate(Stimulus::Surge(peaks))?;
                given += 1;
                let pause = 2.0 + bench.uniform();
                bench.pass(pause)?;
            }
        }
    }
    bench.pass(3.0)?;
    for (name, after, before) in compare(bench, &before)? {
        measured.push(Measured::new(
            format!("{name} after surges less before"),
            after - before,
            "Wh",
            energy_limit(bench),
            0.001,
        ));
    }
    let logged = bench.log_after(log)?.iter().filter(|entry| entry.code == spike).count();
    measured.push(Measured::count(
        format!("entries of voltage spikes of {given} surges"),
        logged as f64,
        Limit::exactly(f64::from(given)),
    ));
    Ok(measured)
}

/// Dips and interruptions (IEC 61000-4-11 as IEC 62052-11 uses it [not verified against the standard's text]): three of 1 s, one of 20 ms, one of a
/// minute to half of the voltage; then the whole supply away for a second and for a minute.
fn dips(bench: &mut Bench<'_>) -> Result<Vec<Measured>, Trouble> {
    let r = bench.ratings();
    let still = |part: f64| LoadPoint::unbalanced(r.hertz, [part * r.volts; 3], [0.0; 3], 0.0);
    let loaded = LoadPoint::balanced(r.hertz, r.volts, r.rated_amperes, 0.0);
    bench.settle(&loaded)?;
    bench.settle(&still(1.0))?;
    let mut before = registers(bench)?;
    let mut measured = Vec::new();
    for (name, left, seconds, away) in [
        ("three interruptions of 1 s", 0.0, 1.0, 3),
        ("an interruption of 20 ms", 0.0, 0.02, 1),
        ("a dip to half for a minute", 0.5, 60.0, 1),
        ("a dip to 70 % for half a second", 0.7, 0.5, 3),
        ("a swell to 120 % for a second", 1.2, 1.0, 3),
    ] {
        bench.step(name);
        for _ in 0..away {
            bench.target().load(&still(left))?;
            bench.pass(seconds)?;
            bench.target().load(&still(1.0))?;
            bench.pass(0.05)?;
        }
        bench.pass(3.0)?;
        after(bench, name, &mut before, &mut measured)?;
    }
    for seconds in [1.0, 60.0] {
        let name = format!("the whole supply away for {seconds} s");
        bench.step(name.clone());
        bench.target().supply(false)?;
        bench.pass(seconds)?;
        bench.target().supply(true)?;
        bench.pass(5.0)?;
        after(bench, &name, &mut before, &mut measured)?;
    }
    Ok(measured)
}

type Shown = Vec<(&'static str, Obis, f64)>;

fn after(
    bench: &mut Bench<'_>,
    name: &str,
    before: &mut Shown,
    measured: &mut Vec<Measured>,
) -> Result<(), Trouble> {
    for (register, after, before) in compare(bench, before)? {
        let what = format!("{register} after {name} less before");
        measured.push(Measured::new(what, after - before, "Wh", energy_limit(bench), 0.001));
    }
    *before = registers(bench)?;
    Ok(())
}

fn registers(bench: &mut Bench<'_>) -> Result<Shown, Trouble> {
    [("import", Obis::ACTIVE_ENERGY_IMPORT), ("export", Obis::ACTIVE_ENERGY_EXPORT)]
        .into_iter()
        .map(|(name, obis)| Ok((name, obis, bench.register(obis)?)))
        .collect()
}

/// Each register's name, what it shows now and what it showed.
fn compare(bench: &mut Bench<'_>, before: &Shown) -> Result<Vec<(&'static str, f64, f64)>, Trouble> {
    before.iter().map(|&(name, obis, before)| Ok((name, bench.register(obis)?, before))).collect()
}

fn load_steps(bench: &mut Bench<'_>, limit: Limit) -> Result<Vec<Measured>, Trouble> {
    let r = bench.ratings();
    let mut measured = Vec::new();
    for (name, low, high) in [
        ("nothing and In", 0.0, r.rated_amperes),
        ("0.1 In and Imax", 0.1 * r.rated_amperes, r.maximum_amperes),
    ] {
        bench.step(format!("steps between {name}"));
        let value = super::registers::over(bench, |bench| {
            for _ in 0..60 {
                for amperes in [low, high] {
                    bench.target().load(&LoadPoint::balanced(r.hertz, r.volts, amperes, 0.0))?;
                    let seconds = 0.3 + 2.0 * bench.uniform();
                    bench.pass(seconds)?;
                }
            }
            Ok(())
        })?;
        measured.push(Measured::new(
            format!("error of the register over steps between {name}"),
            value.error_percent(),
            "%",
            limit,
            value.uncertainty_percent,
        ));
    }
    Ok(measured)
}
