//! Packages that a meter must refuse, and orders that it must.

use meterseal_model::{Digest384, EventCode, Role};

use super::steps;
use crate::catalogue::Requirement;
use crate::certify::{Bench, Caller, Limit, Measured, Offered, Procedure, Sample, Trouble};

pub(super) fn procedures() -> Vec<Box<dyn Procedure>> {
    use Sample::*;
    vec![
        Box::new(Refused {
            name: "package-signature",
            samples: &[Unsigned, EllipticOnly, LatticeOnly, Stranger, TooFew, Expired, Revoked],
        }),
        Box::new(Refused { name: "package-target", samples: &[OtherVendor, OtherType, OtherHardware] }),
        Box::new(Refused {
            name: "package-altered",
            samples: &[AlteredPayload, AlteredManifest, Truncated, Swapped, Bomb],
        }),
        Box::new(Rollback),
        Box::new(Rights),
    ]
}

/// Counts of what a meter did with packages that it must refuse.
#[derive(Default)]
struct Counts {
    offered: u32,
    taken: u32,
    unlogged: u32,
    silent: u32,
    changed: u32,
}

impl Counts {
    /// Offers a package that must be refused, in every way: it is ordered to be started even if the meter has refused it.
    fn offer(&mut self, bench: &mut Bench<'_>, package: &Offered, what: &str) -> Result<(), Trouble> {
        let refused = bench.profile().event(EventCode::FirmwareRefused);
        let (before, image) = (bench.log_end()?, steps::runs_first(bench)?);
        bench.target().alarms()?;
        bench.step(format!("offer {what}"));
        let taken = steps::order(bench, package)?;
        if !taken {
            // Against an order that is refused nothing is to be said.
            let _ = steps::activate(bench, Caller::network(Role::Firmware), package.image)?;
        }
        bench.pass(3.0)?;
        let alarmed = bench.target().alarms()?.iter().any(|alarm| alarm.code == refused);
        let logged = bench.log_after(before)?.iter().any(|entry| entry.code == refused);
        let runs = steps::runs(bench)?;
        self.offered += 1;
        self.taken += u32::from(taken);
        self.unlogged += u32::from(!logged);
        self.silent += u32::from(!alarmed);
        self.changed += u32::from(runs != Some(image));
        bench.step(match (taken, logged, alarmed) {
            (true, ..) => "taken",
            (_, false, _) => "refused, not logged",
            (_, _, false) => "refused, logged, not alarmed",
            _ => "refused, logged, alarmed",
        });
        Ok(())
    }

    fn measured(&self, sound: bool) -> Vec<Measured> {
        let none = Limit::exactly(0.0);
        let count = |what: &str, value: u32| Measured::count(what, f64::from(value), none);
        vec![
            count(&format!("packages taken, of {}", self.offered), self.taken),
            count("refusals that are not in the security log", self.unlogged),
            count("refusals that were not alarmed", self.silent),
            count("times that another image ran afterwards, or none that proves what it is", self.changed),
            runs_after(sound),
        ]
    }
}

/// That the same meter takes what is sound.
pub(super) fn runs_after(sound: bool) -> Measured {
    Measured::count("a sound package runs afterwards", f64::from(u8::from(sound)), Limit::exactly(1.0))
}

/// A sound package in the same meter.
pub(super) fn sound(bench: &mut Bench<'_>) -> Result<bool, Trouble> {
    let package = bench.target().package(Sample::Sound)?;
    steps::update(bench, &package)
}

/// Packages of some kinds.
struct Refused {
    name: &'static str,
    samples: &'static [Sample],
}

impl Procedure for Refused {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut counts = Counts::default();
        for sample in self.samples {
            let package = bench.target().package(*sample)?;
            counts.offer(bench, &package, sample.words())?;
        }
        Ok(counts.measured(sound(bench)?))
    }
}

/// The image that runs, and the one before it.
struct Rollback;

impl Procedure for Rollback {
    fn name(&self) -> &'static str {
        "package-rollback"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut counts = Counts::default();
        let first = bench.target().package(Sample::First)?;
        counts.offer(bench, &first, "the image that runs")?;
        let second = bench.target().package(Sample::Sound)?;
        let came = steps::update(bench, &second)?;
        counts.offer(bench, &second, "the image that runs")?;
        counts.offer(bench, &first, "the image before it")?;
        Ok(counts.measured(came && sound(bench)?))
    }
}

/// Who may order an image to be started, and which.
struct Rights;

impl Procedure for Rights {
    fn name(&self) -> &'static str {
        "activation-rights"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let package = bench.target().package(Sample::Sound)?;
        let before = steps::runs_first(bench)?;
        let transferred = steps::transfer(bench, &package, usize::MAX)?.is_ok();
        steps::order_judgement(bench)?.ok();
        let ready = transferred && steps::judged(bench)?;
        bench.step("a sound package waits for its order");
        let (mut obeyed, mut unasked) = (0, 0);
        let updater = Caller::network(Role::Firmware);
        let others = Role::ALL.into_iter().filter(|role| *role != Role::Firmware);
        let orders = others
            .flat_map(|role| [Caller::network(role), Caller::local(role)])
            .map(|caller| (caller, package.image))
            .chain([(updater, Digest384([7; 48])), (updater, before)]);
        for (caller, image) in orders {
            bench.step(format!("{} orders image {image}", caller.role));
            obeyed += u32::from(steps::activate(bench, caller, image)?.is_ok());
            bench.pass(2.0)?;
            unasked += u32::from(steps::runs(bench)? != Some(before));
        }
        let ordered = steps::activate(bench, updater, package.image)?.is_ok();
        let runs = steps::settles(bench, package.image, steps::CONFIRMED_SECONDS)?;
        let (none, yes) = (Limit::exactly(0.0), Limit::exactly(1.0));
        let truth = |is| f64::from(u8::from(is));
        Ok(vec![
            Measured::count("the package waits for its order", truth(ready), yes),
            Measured::count(
                "orders of other roles or for other images that were obeyed",
                f64::from(obeyed),
                none,
            ),
            Measured::count("times that another image ran without the right order", f64::from(unasked), none),
            Measured::count("the right order is obeyed, and the image runs", truth(ordered && runs), yes),
        ])
    }
}
