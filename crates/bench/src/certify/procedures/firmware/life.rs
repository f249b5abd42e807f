//! Updates from beginning to end: what runs, what is cut off, what is given up, what is metered meanwhile, and what the meter says of it.

use meterseal_model::EventCode::{FirmwareActivated, FirmwareGivenUp, PowerUp};
use meterseal_model::{Digest384, Obis};
use meterseal_seal::firmware::Package;
use meterseal_world::physics::LoadPoint;

use super::packages::{runs_after, sound};
use super::steps;
use crate::catalogue::{Need, Requirement};
use crate::certify::{Bench, Limit, Measured, Offered, Procedure, Sample, Trouble};

pub(super) fn procedures() -> Vec<Box<dyn Procedure>> {
    vec![
        Box::new(Update),
        Box::new(BootVerify),
        Box::new(PowerCut),
        Box::new(Revert),
        Box::new(Metering),
        Box::new(Attested),
    ]
}

fn yes(what: &str, is: bool) -> Measured {
    Measured::count(what, f64::from(u8::from(is)), Limit::exactly(1.0))
}

fn none(what: impl Into<String>, count: u32) -> Measured {
    Measured::count(what, f64::from(count), Limit::exactly(0.0))
}

/// One whole update.
struct Update;

impl Procedure for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let package = bench.target().package(Sample::Sound)?;
        let before = bench.log_end()?;
        let runs = steps::update(bench, &package)?;
        let activated = bench.profile().event(FirmwareActivated);
        let logged = bench.log_after(before)?.iter().any(|entry| entry.code == activated);
        Ok(vec![yes("it ends in the new image, confirmed", runs), yes("it is in the security log", logged)])
    }
}

/// The stored image altered between two power-ons.
struct BootVerify;

impl Procedure for BootVerify {
    fn name(&self) -> &'static str {
        "boot-verify"
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Memory, Need::Power]
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let package = bench.target().package(Sample::Sound)?;
        let came = steps::update(bench, &package)?;
        let image =
            Package::read(&package.bytes).map_err(|error| Trouble::Bench(error.to_string()))?.payload();
        let Some(memory) = bench.target().memory() else {
            return Err(Trouble::Lacks("way to the meter's memory"));
        };
        let repeats = if bench.effort().is_reduced() { 3 } else { 12 };
        let (mut ran, mut lost) = (0, 0);
        for _ in 0..repeats {
            bench.target().supply(false)?;
            let found = memory.bytes().windows(image.len()).position(|part| part == image);
            let slot = found
                .ok_or_else(|| Trouble::Bench("the image is not in the memory as it was made".to_owned()))?;
            let place = slot + (bench.uniform() * image.len() as f64) as usize;
            let bit = 1 << (bench.random() % 8);
            bench.step(format!("byte {} of the stored image altered", place - slot));
            memory.bytes()[place] ^= bit;
            // A meter that does not start is what is wanted of it.
            let started = bench.target().supply(true).is_ok();
            bench.pass(2.0)?;
            let runs = if started { steps::runs(bench)? } else { None };
            ran += u32::from(runs == Some(package.image));
            bench.step(if runs.is_some() { "something runs" } else { "nothing runs" });
            bench.target().supply(false)?;
            memory.bytes()[place] ^= bit;
            bench.target().supply(true)?;
            bench.pass(2.0)?;
            lost += u32::from(steps::runs(bench)? != Some(package.image));
        }
        Ok(vec![
            yes("the image runs while it is as it was verified", came && lost == 0),
            none(format!("starts of an altered image, of {repeats}"), ran),
        ])
    }
}

/// The supply goes at any moment of an update.
struct PowerCut;

/// A part of an update in which it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Transfer,
    Verification,
    Switch,
    Probation,
}

impl PowerCut {
    /// The supply goes, for a while.
    fn cut(bench: &mut Bench<'_>, part: Part) -> Result<(), Trouble> {
        bench.step(format!("cut: {part:?}"));
        bench.target().supply(false)?;
        let away = 1.0 + 3.0 * bench.uniform();
        bench.pass(away)?;
        // Where nothing verifies it does not start: what then runs says so.
        let _ = bench.target().supply(true);
        bench.pass(1.0)
    }

    /// One update with a cut in this part: whether something else than the old or the new image ran after it, and whether it ended in the new one.
    fn update(bench: &mut Bench<'_>, part: Part) -> Result<(bool, bool), Trouble> {
        let before = steps::runs_first(bench)?;
        let package = bench.target().package(Sample::Sound)?;
        let known = |image: Option<Digest384>| image == Some(before) || image == Some(package.image);
        let mut sane = true;
        if part == Part::Transfer {
            let blocks = 1 + (bench.uniform() * 9.0) as usize;
            steps::transfer(bench, &package, blocks)?.ok();
            Self::cut(bench, part)?;
            sane &= known(steps::runs(bench)?);
        }
        let whole = steps::transfer(bench, &package, usize::MAX)?.is_ok();
        steps::order_judgement(bench)?.ok();
        if part == Part::Verification {
            let until = 2.5 * bench.uniform();
            bench.pass(until)?;
            Self::cut(bench, part)?;
            sane &= known(steps::runs(bench)?);
        }
        let ready = whole && steps::judged(bench)?;
        let ordered = ready && Self::ordered(bench, &package)?;
        if matches!(part, Part::Switch | Part::Probation) {
            let until = if part == Part::Switch { 0.9 } else { 60.0 } * bench.uniform();
            bench.pass(until)?;
            Self::cut(bench, part)?;
            sane &= known(steps::runs(bench)?);
        }
        let ended = ordered && steps::settles(bench, package.image, steps::CONFIRMED_SECONDS)?;
        Ok((sane, ended))
    }

    fn ordered(bench: &mut Bench<'_>, package: &Offered) -> Result<bool, Trouble> {
        let updater = crate::certify::Caller::network(meterseal_model::Role::Firmware);
        Ok(steps::activate(bench, updater, package.image)?.is_ok())
    }
}

impl Procedure for PowerCut {
    fn name(&self) -> &'static str {
        "update-power-cut"
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Power]
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let rounds = if bench.effort().is_reduced() { 1 } else { 5 };
        let (mut insane, mut unended, mut cuts) = (0, 0, 0);
        // The factory's part, before anything is asked of it.
        bench.target().package(Sample::First)?;
        for _ in 0..rounds {
            for part in [Part::Transfer, Part::Verification, Part::Switch, Part::Probation] {
                let (sane, ended) = Self::update(bench, part)?;
                cuts += 1;
                insane += u32::from(!sane);
                unended += u32::from(!ended);
            }
        }
        Ok(vec![
            none(format!("cuts after which neither the old nor the new image ran, of {cuts}"), insane),
            none("updates that did not end in the new image by themselves", unended),
        ])
    }
}

/// Images that do not work.
struct Revert;

/// Three tries of an image that is given up by its own time: fifteen minutes each.
const GIVEN_UP_SECONDS: u32 = 3 * 15 * 60 + 300;

impl Procedure for Revert {
    fn name(&self) -> &'static str {
        "revert"
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Power]
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        use Sample::{Crashes, CrashesLater, Hangs, MeasuresWrong, Unreachable};
        let r = bench.ratings();
        bench.target().package(Sample::First)?;
        bench.settle(&LoadPoint::balanced(r.hertz, r.volts, r.rated_amperes, 10.0))?;
        let given_up = bench.profile().event(FirmwareGivenUp);
        let (mut stayed, mut untold, mut lost, mut less) = (0, 0, 0, 0);
        let samples = [Hangs, Crashes, CrashesLater, MeasuresWrong, Unreachable];
        for sample in samples {
            let before = steps::runs_first(bench)?;
            let package = bench.target().package(sample)?;
            bench.pass(1.0)?;
            let (log, energy) = (bench.log_after(0)?, bench.register(Obis::ACTIVE_ENERGY_IMPORT)?);
            bench.step(sample.words());
            let ordered = steps::order(bench, &package)?;
            // At first what runs is the old one still.
            bench.pass(2.0)?;
            let returned = ordered && Self::returns(bench, before, log.len())?;
            stayed += u32::from(!returned);
            let after = bench.log_after(0)?;
            untold += u32::from(!after.iter().skip(log.len()).any(|entry| entry.code == given_up));
            // All that was there is there: as it was, and first.
            lost += u32::from(!after.starts_with(&log));
            less += u32::from(bench.register(Obis::ACTIVE_ENERGY_IMPORT)? < energy);
            bench.step(if returned {
                "the one before runs again"
            } else {
                "the one before does not come back"
            });
        }
        let of = samples.len();
        Ok(vec![
            none(format!("images that do not work and stayed, of {of}"), stayed),
            none("returns that are not in the security log", untold),
            none("returns after which entries of the security log were missing", lost),
            none("returns after which the energy register was behind", less),
            runs_after(sound(bench)?),
        ])
    }
}

impl Revert {
    /// Waits until the image before runs again, and its log says that the new one was given up.
    fn returns(bench: &mut Bench<'_>, before: Digest384, entries: usize) -> Result<bool, Trouble> {
        let given_up = bench.profile().event(FirmwareGivenUp);
        for _ in 0..GIVEN_UP_SECONDS / 30 {
            bench.pass(30.0)?;
            if steps::runs(bench)? != Some(before) {
                continue;
            }
            // The head-end reads again as soon as it can.
            let Ok(log) = bench.log_after(0) else { continue };
            if log.iter().skip(entries).any(|entry| entry.code == given_up) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Energy over an update.
struct Metering;

/// What a switch may cost of metering, seconds: what is declared (docs/firmware.md, docs/figures.md: half a second on a busy machine).
const DECLARED_SECONDS: f64 = 3.0;

impl Procedure for Metering {
    fn name(&self) -> &'static str {
        "metering-during-update"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let r = bench.ratings();
        let package = bench.target().package(Sample::Sound)?;
        let load = LoadPoint::balanced(r.hertz, r.volts, r.maximum_amperes, 0.0);
        bench.settle(&load)?;
        let watts = bench.target().watts()?;
        // The first stretch is without an update: what the register's resolution and its delay come to.
        let (_, idle) = Self::missing(bench, watts, |bench| bench.pass(60.0).map(|()| true))?;
        let before = bench.log_end()?;
        let (came, missing) = Self::missing(bench, watts, |bench| steps::update(bench, &package))?;
        let power_up = bench.profile().event(PowerUp);
        let recorded: f64 = bench
            .log_after(before)?
            .iter()
            .filter(|entry| entry.code == power_up)
            .map(|entry| entry.extreme as f64 * 1e-6)
            .sum();
        bench.step(format!(
            "{missing:.3} s of energy missing, {recorded:.3} s recorded, {idle:.3} s without an update"
        ));
        // One step of the register at each end, and a window that had begun.
        let resolution = 2.0 * 3600.0 / watts + 0.25;
        Ok(vec![
            yes("the update comes through", came),
            Measured::new(
                "energy that is missing after the update, as time at the load",
                missing,
                "s",
                Limit::at_most(DECLARED_SECONDS),
                0.0,
            ),
            Measured::new(
                "the same less what the log says was not measured",
                missing - recorded,
                "s",
                Limit::within(0.5 + resolution),
                0.0,
            ),
            Measured::new(
                "the same over a minute without an update",
                idle,
                "s",
                Limit::within(0.2 + resolution),
                0.0,
            ),
        ])
    }
}

impl Metering {
    /// Energy that the reference has and the register has not, over what is done, as seconds at the load.
    fn missing(
        bench: &mut Bench<'_>,
        watts: f64,
        act: impl FnOnce(&mut Bench<'_>) -> Result<bool, Trouble>,
    ) -> Result<(bool, f64), Trouble> {
        let (register, joules) = (bench.register(Obis::ACTIVE_ENERGY_IMPORT)?, bench.target().joules()?);
        let came = act(bench)?;
        let (after, flowed) =
            (bench.register(Obis::ACTIVE_ENERGY_IMPORT)?, bench.target().joules()? - joules);
        Ok((came, (flowed - (after - register) * 3600.0) / watts))
    }
}

/// What the meter says of its firmware.
struct Attested;

impl Procedure for Attested {
    fn name(&self) -> &'static str {
        "attestation"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let first = bench.target().package(Sample::First)?;
        let second = bench.target().package(Sample::Sound)?;
        let (mut doubted, mut untrue) = (0, 0);
        let mut updated = true;
        let asked = if bench.effort().is_reduced() { 4 } else { 20 };
        for package in [&first, &second] {
            if package.image == second.image {
                updated = steps::update(bench, package)?;
            }
            for _ in 0..asked {
                match steps::attested(bench)? {
                    // Proven, by a nonce of its own: what it names must be what was given to it.
                    Ok(proven) => {
                        let said = &proven.attestation;
                        let fits = proven.image == package.image
                            && said.version == package.version
                            && said.sequence == package.sequence;
                        untrue += u32::from(!fits);
                    }
                    Err(why) => {
                        bench.step(format!("no proof: {why}"));
                        doubted += 1;
                    }
                }
            }
        }
        Ok(vec![
            yes("the update comes through", updated),
            none(format!("answers that prove nothing, of {}", 2 * asked), doubted),
            none("answers that name another image, version or sequence than the package's", untrue),
        ])
    }
}
