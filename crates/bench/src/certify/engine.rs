//! The run: every requirement to its procedure, with a specimen of its own, on as many threads as the laboratory has places.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha384};

use super::manual::Inspection;
use super::{Bench, Effort, Exchange, Measured, Outcome, Procedure, Profile, Step, Target, Trouble, amount};
use crate::catalogue::{Catalogue, Method, Requirement};

/// Where meters come from.
pub trait Laboratory: Sync {
    /// How many requirements can be tested at a time.
    fn places(&self) -> usize;

    /// A meter on a bench, as it comes from its maker. `seed` is the requirement's own.
    ///
    /// # Errors
    /// [`Trouble`]: there is none.
    fn target(&self, seed: u64) -> Result<Box<dyn Target + '_>, Trouble>;
}

/// What came of one requirement. It holds nothing of wall time, so that it repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The requirement.
    pub id: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Every measured value.
    pub measured: Vec<Measured>,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// The requirement's own seed.
    pub seed: u64,
    /// The person whose result it is, where it is not the bench's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspected: Option<Inspection>,
}

impl Finding {
    /// What came of it, in words; a person's result with the person's name.
    pub fn words(&self) -> String {
        match &self.inspected {
            Some(inspection) => format!("{}, inspected by {}", self.outcome.words(), inspection.who),
            None => self.outcome.words().to_owned(),
        }
    }
}

/// What else is known of how a requirement was tested: it does not repeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When it was begun, Unix milliseconds.
    pub begun_ms: u64,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// SHA-384 of the transcript: each message as its time, direction, length and bytes.
    pub transcript_sha384: String,
    /// How many messages that is.
    pub messages: u64,
    /// The transcript, if it is kept: time in nanoseconds, to the meter or not, hexadecimal.
    pub transcript: Vec<(u64, bool, String)>,
}

/// Findings of an earlier run, by requirement.
pub type Earlier = BTreeMap<String, (Finding, Record)>;

/// What a run tells whoever waits for it.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A requirement is begun.
    Begun(&'a Requirement),
    /// It is done: how it came out, how many are done, of how many.
    Done(&'a Requirement, &'a Outcome, usize, usize),
}

/// What to run.
pub struct Plan<'a> {
    /// The requirements.
    pub catalogue: &'a Catalogue,
    /// Only identifiers that begin so; none for all.
    pub only: &'a [String],
    /// What is declared of the meter.
    pub profile: &'a Profile,
    /// How much.
    pub effort: Effort,
    /// Of everything random.
    pub seed: u64,
    /// Findings of an earlier run, which are not tested again.
    pub earlier: Earlier,
}

impl Plan<'_> {
    /// Whether a requirement is asked for: by its own identifier's beginning, or as a part of one that is.
    pub fn includes(&self, requirement: &Requirement) -> bool {
        let asked = |id: &str| self.only.iter().any(|wanted| id.starts_with(wanted.as_str()));
        self.only.is_empty() || asked(&requirement.id) || requirement.part_of.iter().any(|whole| asked(whole))
    }
}

/// Runs what is planned. `tell` hears how far it is; `stop` ends it, with what is not done yet "not tested". Each finding is given to `keep` as
/// soon as it is there, for a later run to go on.
///
/// # Errors
/// What `keep` says: the evidence cannot be kept.
pub fn run<E: Send>(
    plan: &Plan<'_>,
    procedures: &[Box<dyn Procedure>],
    laboratory: &dyn Laboratory,
    tell: &(dyn Fn(Event<'_>) + Sync),
    keep: &(dyn Fn(&Finding, &Record) -> Result<(), E> + Sync),
    stop: &AtomicBool,
) -> Result<Vec<(Finding, Record)>, E> {
    let wanted: Vec<&Requirement> = plan
        .catalogue
        .requirements
        .iter()
        .filter(|requirement| requirement.method != Method::Parts && plan.includes(requirement))
        .collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let found = Mutex::new(vec![None; wanted.len()]);
    let failed = Mutex::new(None);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(requirement) = wanted.get(number) else { return };
            let result = match plan.earlier.get(&requirement.id) {
                Some(earlier) => earlier.clone(),
                None => {
                    tell(Event::Begun(requirement));
                    let result = one(plan, procedures, laboratory, requirement, stop);
                    // What was stopped is to be done anew.
                    let interrupted = stop.load(Ordering::Relaxed);
                    if !interrupted && let Err(error) = keep(&result.0, &result.1) {
                        locked(&failed).get_or_insert(error);
                        stop.store(true, Ordering::Relaxed);
                    }
                    result
                }
            };
            let count = done.fetch_add(1, Ordering::Relaxed) + 1;
            tell(Event::Done(requirement, &result.0.outcome, count, wanted.len()));
            locked(&found)[number] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..laboratory.places().clamp(1, 64) {
            scope.spawn(work);
        }
    });
    match locked(&failed).take() {
        Some(error) => Err(error),
        None => Ok(locked(&found).drain(..).flatten().collect()),
    }
}

fn one(
    plan: &Plan<'_>,
    procedures: &[Box<dyn Procedure>],
    laboratory: &dyn Laboratory,
    requirement: &Requirement,
    stop: &AtomicBool,
) -> (Finding, Record) {
    let (begun, clock) = (SystemTime::now(), Instant::now());
    let seed = seed_of(plan.seed, &requirement.id);
    let mut finding = Finding {
        id: requirement.id.clone(),
        outcome: Outcome::NotTested(String::new()),
        measured: Vec::new(),
        steps: Vec::new(),
        seed,
        inspected: None,
    };
    let mut transcript = Vec::new();
    // A defect of the bench's must not be a result of the meter's, nor cost the others theirs.
    let attempt = std::panic::catch_unwind(AssertUnwindSafe(|| {
        attempt(plan, procedures, laboratory, requirement, stop, &mut finding, &mut transcript);
    }));
    if attempt.is_err() {
        finding.outcome =
            Outcome::CouldNot("the bench itself failed; please report this as a defect".to_owned());
    }
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let record = Record {
        begun_ms: begun.duration_since(UNIX_EPOCH).map_or(0, millis),
        took_ms: millis(clock.elapsed()),
        ..recorded(&transcript)
    };
    (finding, record)
}

fn attempt(
    plan: &Plan<'_>,
    procedures: &[Box<dyn Procedure>],
    laboratory: &dyn Laboratory,
    requirement: &Requirement,
    stop: &AtomicBool,
    finding: &mut Finding,
    transcript: &mut Vec<Exchange>,
) {
    let not_tested = |why: &str| Outcome::NotTested(why.to_owned());
    match requirement.method {
        Method::Inspected => {
            return finding.outcome =
                not_tested("a person has to look at the maker's evidence; no result was given");
        }
        Method::NotTestable => {
            return finding.outcome = not_tested(requirement.how.as_deref().unwrap_or("not testable here"));
        }
        Method::Tested | Method::Parts => {}
    }
    let named = requirement.procedure.as_deref().unwrap_or_default();
    let Some(procedure) = procedures.iter().find(|procedure| procedure.name() == named) else {
        return finding.outcome = Outcome::NotTested(format!("this bench has no procedure \"{named}\" yet"));
    };
    if stop.load(Ordering::Relaxed) {
        return finding.outcome = not_tested("the run was stopped before");
    }
    let target = match laboratory.target(finding.seed) {
        Ok(target) => target,
        Err(trouble) => return finding.outcome = Outcome::CouldNot(trouble.to_string()),
    };
    let lacking = requirement.needs.iter().chain(procedure.needs()).find(|&&need| !target.offers(need));
    if let Some(need) = lacking {
        return finding.outcome = Outcome::NotTested(format!("the bench has no {}", need.words()));
    }
    let mut bench = Bench::new(target, plan.profile, plan.effort, finding.seed, stop);
    let outcome = procedure.run(&mut bench, requirement);
    finding.steps = bench.steps().to_vec();
    *transcript = bench.target().transcript();
    match outcome {
        Ok(measured) => {
            finding.outcome = match bench.reservation() {
                // Something is wrong all the same, however little was tested.
                Some(_) if amount(&measured) == Outcome::Failed => Outcome::Failed,
                Some(reservation) => Outcome::NotTested(reservation.to_owned()),
                None => amount(&measured),
            };
            finding.measured = measured;
        }
        Err(trouble) => {
            bench.step(format!("ended: {trouble}"));
            finding.steps = bench.steps().to_vec();
            finding.outcome = match trouble {
                Trouble::Lacks(what) => Outcome::NotTested(format!("the bench has no {what}")),
                trouble => Outcome::CouldNot(trouble.to_string()),
            };
        }
    }
}

/// A requirement's seed: of the run's and its identifier, so that it stays when others are added or left out.
fn seed_of(seed: u64, id: &str) -> u64 {
    let mut hasher = Sha384::new();
    hasher.update(seed.to_be_bytes());
    hasher.update(id.as_bytes());
    hasher.finalize().iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

fn recorded(transcript: &[Exchange]) -> Record {
    let mut hasher = Sha384::new();
    for Exchange { at_ns, to_meter, bytes } in transcript {
        hasher.update(at_ns.to_be_bytes());
        hasher.update([u8::from(*to_meter)]);
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    }
    Record {
        transcript_sha384: hex(&hasher.finalize()),
        messages: transcript.len() as u64,
        transcript: transcript.iter().map(|one| (one.at_ns, one.to_meter, hex(&one.bytes))).collect(),
        ..Record::default()
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Panics are caught before they could leave something half done in here.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What the findings amount to for each requirement of the mission and for the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many passed, tested by the bench.
    pub passed: usize,
    /// How many passed by a person's word: never counted among those above.
    #[serde(default)]
    pub inspected: usize,
    /// How many failed.
    pub failed: usize,
    /// How many were not tested.
    pub not_tested: usize,
    /// How many could not be carried out.
    pub could_not: usize,
    /// Each requirement of the mission: one that consists of others passed only when all of its parts did.
    pub wholes: Vec<(String, Outcome)>,
}

impl Summary {
    /// Of these findings.
    pub fn of(catalogue: &Catalogue, findings: &[Finding]) -> Self {
        let count = |wanted: fn(&Outcome) -> bool| findings.iter().filter(|one| wanted(&one.outcome)).count();
        let by_person = |one: &&Finding| one.outcome == Outcome::Passed && one.inspected.is_some();
        let inspected = findings.iter().filter(by_person).count();
        let outcome =
            |id: &str| findings.iter().find(|finding| finding.id == id).map(|finding| &finding.outcome);
        let wholes = catalogue
            .requirements
            .iter()
            // What the mission names, whether it consists of others or is one test.
            .filter(|requirement| {
                requirement.method == Method::Parts
                    || requirement.part_of.is_empty() && requirement.id.starts_with("CPA-")
            })
            .map(|whole| {
                if whole.method != Method::Parts {
                    let own = outcome(&whole.id).cloned();
                    return (whole.id.clone(), own.unwrap_or_else(|| Outcome::NotTested(whole.id.clone())));
                }
                let parts: Vec<_> =
                    catalogue.parts(&whole.id).map(|part| (&part.id, outcome(&part.id))).collect();
                (whole.id.clone(), together(&parts))
            })
            .collect();
        Self {
            passed: count(|outcome| *outcome == Outcome::Passed) - inspected,
            inspected,
            failed: count(|outcome| *outcome == Outcome::Failed),
            not_tested: count(|outcome| matches!(outcome, Outcome::NotTested(_))),
            could_not: count(|outcome| matches!(outcome, Outcome::CouldNot(_))),
            wholes,
        }
    }

    /// What a program that ran it ends with: 0 passed, 1 failed, 2 could not be carried out. Without a single requirement that passed, nothing was
    /// shown, and that is 2.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self { failed: 1.., .. } => 1,
            Self { could_not: 1.., .. } | Self { passed: 0, .. } => 2,
            _ => 0,
        }
    }
}

fn together(parts: &[(&String, Option<&Outcome>)]) -> Outcome {
    let ids = |wanted: &dyn Fn(Option<&Outcome>) -> bool| {
        let ids: Vec<&str> =
            parts.iter().filter(|(_, outcome)| wanted(*outcome)).map(|(id, _)| id.as_str()).collect();
        ids.join(", ")
    };
    let any = |wanted: &dyn Fn(Option<&Outcome>) -> bool| parts.iter().any(|(_, outcome)| wanted(*outcome));
    let could_not = |outcome: Option<&Outcome>| matches!(outcome, Some(Outcome::CouldNot(_)));
    let missing = |outcome: Option<&Outcome>| !matches!(outcome, Some(Outcome::Passed));
    if any(&|outcome| outcome == Some(&Outcome::Failed)) {
        Outcome::Failed
    } else if any(&could_not) {
        Outcome::CouldNot(ids(&could_not))
    } else if any(&missing) || parts.is_empty() {
        Outcome::NotTested(ids(&missing))
    } else {
        Outcome::Passed
    }
}
