//! Deliberately defective meters, for the bench to find. Each is a wrapper around a sound specimen, with one flaw; nothing of it is in released code.
//!
//! A flaw that the bench cannot see is a hole in the bench: [`judge`] says for each mutant whether it failed on what its flaw breaks, and on
//! nothing that it leaves alone.

#![forbid(unsafe_code)]

mod firmware;
mod flaw;
mod fronts;
mod logs;
mod measuring;
mod messages;
mod sensing;

pub use flaw::{Defective, Flaw};

use meterseal_bench::catalogue::Catalogue;
use meterseal_bench::certify::{
    Earlier, Effort, Finding, Front, Made, Outcome, Plan, Profile, Record, Specimen, VirtualLaboratory,
    VirtualMeter, procedures, run,
};
use std::convert::Infallible;
use std::sync::atomic::AtomicBool;

/// One defective meter.
pub struct Mutant {
    /// Its name.
    pub name: &'static str,
    /// What is wrong, in a sentence.
    pub flaw: &'static str,
    /// The requirements that it must fail on.
    pub breaks: &'static [&'static str],
    /// What else may fail because of it: identifiers, or how they begin.
    pub touches: &'static [&'static str],
    /// How it comes about.
    pub kind: Kind,
}

/// Where a flaw sits.
pub enum Kind {
    /// Around the specimen.
    Wrapped(fn(VirtualMeter) -> Box<dyn Specimen>),
    /// In how it was made.
    Made(fn(&mut Made)),
    /// Between its sockets and the bench's network.
    Fronted(fn() -> Box<dyn Front>),
}

/// Every mutant.
pub fn mutants() -> Vec<Mutant> {
    let mut all = measuring::mutants();
    all.extend(sensing::mutants());
    all.extend(logs::mutants());
    all.extend(messages::mutants());
    all.extend(firmware::mutants());
    all.extend(fronts::mutants());
    all
}

/// What the bench made of a mutant.
pub struct Judged {
    /// What it should have failed on and did not.
    pub unseen: Vec<String>,
    /// What it failed on, or what could not be carried out, though its flaw leaves that alone.
    pub beside: Vec<String>,
    /// What it failed on.
    pub failed: Vec<String>,
}

impl Judged {
    /// Whether the bench saw the flaw, and only the flaw.
    pub fn is_right(&self) -> bool {
        self.unseen.is_empty() && self.beside.is_empty()
    }
}

/// Puts a mutant, or with `None` a sound meter, through these requirements (all with none).
pub fn judge(mutant: Option<&Mutant>, made: &Made, only: &[String], effort: Effort, seed: u64) -> Judged {
    let findings = certify(mutant.map(|mutant| &mutant.kind), made.clone(), only, effort, seed);
    let failed: Vec<String> = findings
        .iter()
        .filter(|finding| matches!(finding.outcome, Outcome::Failed))
        .map(|finding| finding.id.clone())
        .collect();
    let (breaks, touches) = mutant.map_or((&[][..], &[][..]), |mutant| (mutant.breaks, mutant.touches));
    let could_not = findings.iter().filter(|one| matches!(one.outcome, Outcome::CouldNot(_)));
    let known = |id: &str| breaks.iter().chain(touches).any(|known| id.starts_with(known));
    let suspicious = failed.iter().cloned().chain(could_not.map(|finding| finding.id.clone()));
    Judged {
        unseen: breaks
            .iter()
            .filter(|id| !failed.iter().any(|one| one == *id))
            .map(|id| (*id).to_owned())
            .collect(),
        beside: suspicious.filter(|id| !known(id)).collect(),
        failed,
    }
}

fn certify(kind: Option<&Kind>, mut made: Made, only: &[String], effort: Effort, seed: u64) -> Vec<Finding> {
    let catalogue = Catalogue::built_in().expect("the built-in catalogue is whole: its own test says so");
    let profile = Profile::default();
    let plan = Plan { catalogue: &catalogue, only, profile: &profile, effort, seed, earlier: Earlier::new() };
    let wrap: fn(VirtualMeter) -> Box<dyn Specimen> = match kind {
        Some(Kind::Wrapped(wrap)) => *wrap,
        Some(Kind::Made(change)) => {
            change(&mut made);
            |meter| Box::new(meter)
        }
        Some(Kind::Fronted(_)) | None => |meter| Box::new(meter),
    };
    let mut laboratory = VirtualLaboratory::new(made, None, wrap);
    if let Some(Kind::Fronted(front)) = kind {
        laboratory = laboratory.with_front(*front);
    }
    let keep = |_: &Finding, _: &Record| Ok::<(), Infallible>(());
    let found = run(&plan, &procedures(), &laboratory, &|_| (), &keep, &AtomicBool::new(false));
    found.unwrap_or_else(|never| match never {}).into_iter().map(|(finding, _)| finding).collect()
}
