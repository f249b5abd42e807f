//! What is measured by the registers that DLMS shows: constant, start, creep, varying load, directions, reactive energy, range, power cuts, clock.

use meterseal_link::Value;
use meterseal_model::Obis;
use meterseal_world::physics::LoadPoint;

use crate::catalogue::Requirement;
use crate::certify::{Bench, Limit, Measured, Procedure, Trouble, number};
use crate::reference::Truth;
use crate::soak;

/// A register's growth beside the reference's.
pub(super) struct Growth {
    /// What the register gained, import less export, watt-hours.
    pub(super) shown: f64,
    /// What flowed.
    pub(super) flowed: f64,
    /// What the bench and the register's last digit make uncertain (k = 2).
    pub(super) uncertainty_percent: f64,
}

impl Growth {
    pub(super) fn error_percent(&self) -> f64 {
        (self.shown / self.flowed - 1.0) * 100.0
    }
}

/// A register shows what flowed a second or two before: nothing flows for so long before and after.
const STILL_SECONDS: f64 = 4.0;
/// Half of the last digit of both readings: 1 mWh each, rectangular (k = 2).
const DIGIT_WATT_HOURS: f64 = 1e-3 * 0.82;

/// What the register gains over a course of loads that begins and ends without any.
pub(super) fn over(
    bench: &mut Bench<'_>,
    course: impl FnOnce(&mut Bench<'_>) -> Result<(), Trouble>,
) -> Result<Growth, Trouble> {
    still(bench)?;
    let (before, joules, begun) = (net(bench)?, bench.target().joules()?, bench.target().seconds());
    course(bench)?;
    still(bench)?;
    let flowed = (bench.target().joules()? - joules) / 3600.0;
    let shown = net(bench)? - before;
    let seconds = bench.target().seconds() - begun;
    let own = bench.target().uncertainty_percent(seconds);
    let uncertainty_percent = own.hypot(DIGIT_WATT_HOURS / flowed.abs().max(1e-9) * 100.0);
    Ok(Growth { shown, flowed, uncertainty_percent })
}

fn still(bench: &mut Bench<'_>) -> Result<(), Trouble> {
    let r = bench.ratings();
    bench.target().load(&LoadPoint::unbalanced(r.hertz, [r.volts; 3], [0.0; 3], 0.0))?;
    bench.pass(STILL_SECONDS)
}

fn net(bench: &mut Bench<'_>) -> Result<f64, Trouble> {
    Ok(bench.register(Obis::ACTIVE_ENERGY_IMPORT)? - bench.register(Obis::ACTIVE_ENERGY_EXPORT)?)
}

pub(super) fn procedures() -> Vec<Box<dyn Procedure>> {
    vec![
        Box::new(Start),
        Box::new(Creep),
        Box::new(MeterConstant),
        Box::new(VaryingLoad),
        Box::new(ImportExport),
        Box::new(Reactive),
        Box::new(RegisterRange),
        Box::new(PowerCuts),
        Box::new(Stability),
        Box::new(ClockAccuracy),
        Box::new(ProfileDepth),
    ]
}

struct Start;

impl Procedure for Start {
    fn name(&self) -> &'static str {
        "start"
    }

    fn run(&self, bench: &mut Bench<'_>, requirement: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let r = bench.ratings();
        let amperes = number(requirement, "amperes_per_in")? * r.rated_amperes;
        let load = LoadPoint::balanced(r.hertz, r.volts, amperes, 0.0);
        let expected = 3.6e6 / r.impulses_per_kilowatt_hour / Truth::of(&load).total_watts();
        bench.step(format!("{amperes} A from nothing; a pulse is due after {expected:.1} s"));
        bench.target().pulses()?;
        bench.target().load(&load)?;
        let begun = bench.target().seconds();
        bench.pass(4.0 * expected)?;
        let pulses = bench.target().pulses()?;
        let most = Limit::at_most(1.5 * expected);
        let later = |place: usize, since: f64| pulses.get(place).map_or(4.0 * expected, |at| at - since);
        let first = later(0, begun);
        let between = later(1, pulses.first().copied().unwrap_or(begun));
        Ok(vec![
            Measured::new("time to the first pulse", first, "s", most, 0.2),
            Measured::new("time from the first to the second", between, "s", most, 0.2),
        ])
    }
}

struct Creep;

impl Procedure for Creep {
    fn name(&self) -> &'static str {
        "creep"
    }

    fn run(&self, bench: &mut Bench<'_>, requirement: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let r = bench.ratings();
        let part = number(requirement, "voltage_per_un")?;
        let minutes = 900e6 / (r.impulses_per_kilowatt_hour * 3.0 * r.volts * r.maximum_amperes);
        bench.settle(&LoadPoint::unbalanced(r.hertz, [part * r.volts; 3], [0.0; 3], 0.0))?;
        bench.target().pulses()?;
        bench.step(format!("{part} Un, no current, {minutes:.2} minutes"));
        bench.pass(minutes * 60.0)?;
        let pulses = bench.target().pulses()?.len();
        Ok(vec![Measured::count("pulses", pulses as f64, Limit::at_most(1.0))])
    }
}

struct MeterConstant;

impl Procedure for MeterConstant {
    fn name(&self) -> &'static str {
        "meter-constant"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let r = bench.ratings();
        let mut measured = Vec::new();
        // So long that one pulse is 0.004 %.
        for (name, amperes) in [("Imax", r.maximum_amperes), ("4 In", 4.0 * r.rated_amperes)] {
            let load = LoadPoint::balanced(r.hertz, r.volts, amperes, 0.0);
            let seconds = 25_000.0 * 3.6e6 / r.impulses_per_kilowatt_hour / Truth::of(&load).total_watts();
            bench.step(format!("{name} for {seconds:.0} s"));
            still(bench)?;
            bench.target().pulses()?;
            let growth = over(bench, |bench| {
                bench.target().load(&load)?;
                bench.pass(seconds)
            })?;
            let pulses = bench.target().pulses()?.len() as f64;
            let by_pulses = pulses / r.impulses_per_kilowatt_hour * 1000.0;
            // A pulse of difference, rectangular (k = 2).
            let own =
                (2.0 / 3f64.sqrt() / pulses.max(1.0) * 100.0).hypot(DIGIT_WATT_HOURS / growth.shown * 100.0);
            let what = format!("pulses less register, {name}");
            measured.push(Measured::new(
                what,
                (by_pulses / growth.shown - 1.0) * 100.0,
                "%",
                Limit::within(0.02),
                own,
            ));
        }
        Ok(measured)
    }
}

struct VaryingLoad;

impl Procedure for VaryingLoad {
    fn name(&self) -> &'static str {
        "varying-load"
    }

    fn run(&self, bench: &mut Bench<'_>, requirement: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let limit = Limit::within(number(requirement, "percent")?);
        let quarters = if bench.effort().is_reduced() { 1 } else { 8 };
        let seed = bench.random();
        let mut measured = Vec::new();
        for quarter in 0..quarters {
            // Anywhere in a day.
            let hour = (bench.uniform() * 24.0) as u32;
            bench.step(format!("a site's load for 15 minutes, hour {hour}"));
            let growth = over(bench, |bench| site(bench, seed, hour, quarter % 4 * 900, 900))?;
            let what = format!("error over 15 minutes of a site's load, hour {hour}");
            measured.push(Measured::new(
                what,
                growth.error_percent(),
                "%",
                limit,
                growth.uncertainty_percent,
            ));
        }
        Ok(measured)
    }
}

/// The load of a site: appliances come and go, voltage and frequency wander.
fn site(bench: &mut Bench<'_>, seed: u64, hour: u32, from: u32, seconds: u32) -> Result<(), Trouble> {
    for second in from..from + seconds {
        bench.target().load(&soak::load_at(seed, hour, second % 3590))?;
        bench.pass(1.0)?;
    }
    Ok(())
}

struct ImportExport;

impl Procedure for ImportExport {
    fn name(&self) -> &'static str {
        "import-export"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let r = bench.ratings();
        let mut measured = Vec::new();
        let turned = |amperes: [f64; 3], exports: [bool; 3]| {
            let mut load = LoadPoint::unbalanced(r.hertz, [r.volts; 3], amperes, 0.0);
            for (tones, _) in load.current.iter_mut().zip(exports).filter(|(_, exports)| *exports) {
                tones.iter_mut().for_each(|tone| tone.radians += std::f64::consts::PI);
            }
            load.with_neutral()
        };
        let rated = r.rated_amperes;
        for (name, load) in [
            ("all phases export", turned([rated; 3], [true; 3])),
            ("all phases import", turned([rated; 3], [false; 3])),
            (
                "L1 exports more than L2 and L3 import",
                turned([4.0 * rated, rated, rated], [true, false, false]),
            ),
            (
                "L2 exports less than L1 and L3 import",
                turned([rated, 0.5 * rated, rated], [false, true, false]),
            ),
        ] {
            bench.step(name);
            let watts = Truth::of(&load).total_watts();
            let before = (both(bench)?, phases(bench)?);
            let growth = over(bench, |bench| {
                bench.target().load(&load)?;
                bench.pass(60.0)
            })?;
            let after = (both(bench)?, phases(bench)?);
            let right = if watts > 0.0 { 0 } else { 1 };
            let wrong = after.0[1 - right] - before.0[1 - right];
            let own = growth.uncertainty_percent;
            measured.push(Measured::new(
                format!("error of the register, {name}"),
                growth.error_percent(),
                "%",
                Limit::within(0.2),
                own,
            ));
            measured.push(Measured::new(
                format!("energy in the other register, {name}"),
                wrong,
                "Wh",
                Limit::within(0.002),
                0.0,
            ));
            let nets: f64 = after.1.iter().zip(&before.1).map(|(after, before)| after - before).sum();
            // Eight registers of whole milliwatt-hours.
            measured.push(Measured::new(
                format!("import less export, less the phases' sum, {name}"),
                growth.shown - nets,
                "Wh",
                Limit::within(0.008),
                0.0,
            ));
        }
        Ok(measured)
    }
}

fn both(bench: &mut Bench<'_>) -> Result<[f64; 2], Trouble> {
    Ok([bench.register(Obis::ACTIVE_ENERGY_IMPORT)?, bench.register(Obis::ACTIVE_ENERGY_EXPORT)?])
}

/// Each phase's import less its export.
fn phases(bench: &mut Bench<'_>) -> Result<Vec<f64>, Trouble> {
    let pairs = Obis::PHASE_ENERGY_IMPORT.into_iter().zip(Obis::PHASE_ENERGY_EXPORT);
    pairs.map(|(import, export)| Ok(bench.register(import)? - bench.register(export)?)).collect()
}

struct Reactive;

impl Procedure for Reactive {
    fn name(&self) -> &'static str {
        "reactive"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let r = bench.ratings();
        let mut measured = Vec::new();
        for (part, lag, limit) in [
            (0.02, 90.0, 1.0),
            (0.05, 90.0, 0.5),
            (1.0, 90.0, 0.5),
            (r.maximum_amperes / r.rated_amperes, 90.0, 0.5),
            (1.0, 30.0, 0.5),
        ] {
            let load = LoadPoint::balanced(r.hertz, r.volts, part * r.rated_amperes, lag);
            let vars: f64 = Truth::of(&load).vars.iter().sum();
            // So long that the last digit is nothing.
            let seconds = (3600.0 * 20.0 / vars).max(60.0);
            bench.step(format!("{part} In, {lag}° for {seconds:.0} s"));
            still(bench)?;
            let before = bench.register(Obis::REACTIVE_ENERGY_IMPORT)?;
            bench.target().load(&load)?;
            let begun = bench.target().seconds();
            bench.pass(seconds)?;
            let passed = bench.target().seconds() - begun;
            still(bench)?;
            let shown = bench.register(Obis::REACTIVE_ENERGY_IMPORT)? - before;
            let flowed = vars * passed / 3600.0;
            // An edge cuts a cycle: at most a cycle's part of the time is uncertain.
            let own = bench
                .target()
                .uncertainty_percent(passed)
                .hypot(0.001 / passed * 100.0)
                .hypot(DIGIT_WATT_HOURS / flowed * 100.0);
            let what = format!("error of reactive energy, {part} In, {lag}° behind");
            measured.push(Measured::new(
                what,
                (shown / flowed - 1.0) * 100.0,
                "%",
                Limit::within(limit),
                own,
            ));
        }
        Ok(measured)
    }
}

struct RegisterRange;

impl Procedure for RegisterRange {
    fn name(&self) -> &'static str {
        "register-range"
    }

    fn run(&self, bench: &mut Bench<'_>, requirement: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let r = bench.ratings();
        let hours = number(requirement, "hours")?;
        let kilowatts = 3.0 * r.volts * r.maximum_amperes / 1000.0;
        let begin = hours * kilowatts - 0.5;
        bench.step(format!(
            "a meter that has metered {begin:.1} kWh, half a kilowatt-hour short of {hours} h at Imax"
        ));
        bench.target().made_with(begin)?;
        bench.pass(5.0)?;
        let shown = bench.register(Obis::ACTIVE_ENERGY_IMPORT)? / 1000.0;
        let load = LoadPoint::balanced(r.hertz, r.volts, r.maximum_amperes, 0.0);
        let growth = over(bench, |bench| {
            bench.target().load(&load)?;
            bench.pass(120.0)
        })?;
        let after = bench.register(Obis::ACTIVE_ENERGY_IMPORT)? / 1000.0;
        Ok(vec![
            Measured::new(
                "register at the beginning",
                shown,
                "kWh",
                Limit { least: Some(begin - 0.01), most: Some(begin + 0.01) },
                0.001,
            ),
            Measured::new(
                "error across the end of the range",
                growth.error_percent(),
                "%",
                Limit::within(0.2),
                growth.uncertainty_percent,
            ),
            Measured::new("register afterwards", after, "kWh", Limit::at_least(hours * kilowatts), 0.001),
        ])
    }
}

struct PowerCuts;

impl Procedure for PowerCuts {
    fn name(&self) -> &'static str {
        "power-cut-registers"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let r = bench.ratings();
        let load = LoadPoint::balanced(r.hertz, r.volts, 0.6 * r.maximum_amperes, 0.0);
        let watts = Truth::of(&load).total_watts();
        let (mut back, mut short, mut unreadable) = (0.0f64, 0.0f64, 0);
        let cuts = 4 * bench.effort().stimuli.max(2);
        for _ in 0..cuts {
            still(bench)?;
            let (before, joules) = (net(bench)?, bench.target().joules()?);
            bench.target().load(&load)?;
            let seconds = 2.0 + 8.0 * bench.uniform();
            bench.pass(seconds)?;
            let seen = net(bench)?;
            let rest = bench.uniform();
            bench.pass(rest)?;
            let flowed = (bench.target().joules()? - joules) / 3600.0;
            bench.step(format!("cut after {seconds:.2} s"));
            bench.target().supply(false)?;
            bench.target().load(&LoadPoint::unbalanced(r.hertz, [r.volts; 3], [0.0; 3], 0.0))?;
            let away = 0.5 + 5.0 * bench.uniform();
            bench.pass(away)?;
            bench.target().supply(true)?;
            bench.pass(3.0)?;
            let after = match net(bench) {
                Ok(after) => after,
                // A meter that was put back in time answers under counters that it has used: its head-end refuses it.
                Err(Trouble::Meter(problem)) => {
                    bench.step(format!("not to be read any more: {problem}"));
                    unreadable = 1;
                    break;
                }
                Err(trouble) => return Err(trouble),
            };
            back = back.max(seen - after);
            short = short.max((flowed - (after - before)) * 3600.0 / watts);
        }
        Ok(vec![
            Measured::count(
                "restarts after which it could not be read",
                f64::from(unreadable),
                Limit::exactly(0.0),
            ),
            Measured::count(
                format!("how far a register that was seen went back, {cuts} cuts, Wh"),
                back,
                Limit::at_most(0.0),
            ),
            // What a register is behind by design: two cycles of the core.
            Measured::new(
                "how much was missing at the most, as time at that load",
                short,
                "s",
                Limit::at_most(1.2),
                0.01,
            ),
        ])
    }
}

/// CPA-STAB: the error of each hour, and the drift over the run.
const HOUR_PERCENT: f64 = 0.2;
const DRIFT_PERCENT: f64 = 0.1;

/// Hours at a site's load in the climate chamber.
struct Stability;

impl Procedure for Stability {
    fn name(&self) -> &'static str {
        "soak"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        const ASKED: u32 = 1000;
        let hours = bench.effort().stability_hours;
        if hours == 0 {
            return Err(Trouble::Lacks("time for the stability test in this run (--soak)"));
        }
        if hours < ASKED {
            bench.reserve(format!("{hours} of {ASKED} hours"));
        }
        let chamber = meterseal_world::physics::Chamber::cycles(-40.0, 85.0);
        let seed = bench.random();
        let mut errors = Vec::new();
        let mut before = 0.0f64;
        let mut kept = true;
        let mut own = 0.0f64;
        for hour in 0..hours {
            let growth = over(bench, |bench| {
                for minute in 0..60 {
                    if minute % 10 == 0 {
                        let at = f64::from(hour) * 3600.0 + f64::from(minute) * 60.0;
                        bench.target().ambient(chamber.celsius(at))?;
                    }
                    site(bench, seed, hour % 24, minute * 60, 59)?;
                }
                Ok(())
            })?;
            own = own.max(growth.uncertainty_percent);
            errors.push(growth.error_percent());
            let register = bench.register(Obis::ACTIVE_ENERGY_IMPORT)?;
            kept &= register >= before;
            before = register;
        }
        let worst = errors.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or_default();
        let mut measured = vec![
            Measured::new(
                format!("the largest error of an hour, of {hours}"),
                worst,
                "%",
                Limit::within(HOUR_PERCENT),
                own,
            ),
            Measured::count("registers that went back", f64::from(u8::from(!kept)), Limit::exactly(0.0)),
        ];
        if let Some(drift) = soak::drift_of(&errors) {
            measured.push(Measured::new("drift over the run", drift, "%", Limit::within(DRIFT_PERCENT), own));
        }
        Ok(measured)
    }
}

struct ClockAccuracy;

impl Procedure for ClockAccuracy {
    fn name(&self) -> &'static str {
        "clock-accuracy"
    }

    fn run(&self, bench: &mut Bench<'_>, requirement: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let most = number(requirement, "seconds_per_day")?;
        let begun = (clock(bench)?, bench.target().seconds());
        // The clock is shown in hundredths: over one hour alone both readings' last digits could come to more than what is allowed.
        let hours = if bench.effort().is_reduced() { 2.0 } else { 4.0 };
        bench.step(format!("the clock beside the bench's for {hours} hours, without a load"));
        bench.pass(hours * 3600.0)?;
        let ended = (clock(bench)?, bench.target().seconds());
        let passed = ended.1 - begun.1;
        let gained = (ended.0 - begun.0) - passed;
        // A clock is shown in hundredths.
        let own = 0.01 * std::f64::consts::SQRT_2 / passed * 86_400.0;
        Ok(vec![Measured::new(
            "what the clock gains in a day",
            gained / passed * 86_400.0,
            "s",
            Limit::within(most),
            own,
        )])
    }
}

/// The meter's time, seconds.
fn clock(bench: &mut Bench<'_>) -> Result<f64, Trouble> {
    const CLOCK: u16 = 8;
    let obis = bench.profile().obis(Obis::CLOCK);
    let answers = bench.target().get(&[(CLOCK, obis, 2)])?;
    let time = answers.first().and_then(|answer| answer.as_ref().ok()).and_then(Value::as_time);
    time.map(|time| time.0 as f64 / 1000.0).ok_or_else(|| Trouble::Meter("it shows no time".to_owned()))
}

struct ProfileDepth;

impl Procedure for ProfileDepth {
    fn name(&self) -> &'static str {
        "profile-depth"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        const PROFILE_GENERIC: u16 = 7;
        let profile = bench.profile().obis(Obis::LOAD_PROFILE);
        bench.step("read how many entries the load profile has");
        let answers = bench.target().get(&[(PROFILE_GENERIC, profile, 8)])?;
        let entries = answers.first().and_then(|answer| answer.as_ref().ok()).and_then(Value::as_u64);
        let entries =
            entries.ok_or_else(|| Trouble::Meter("it shows no length of its load profile".to_owned()))?;
        Ok(vec![Measured::count("rows of the load profile", entries as f64, Limit::at_least(19_056.0))])
    }
}
