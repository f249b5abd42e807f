//! From a certification's results to a mark: what there must be, what must not, and what it may claim. Whoever signs
//! decides whether to sign; whether there may be a mark at all is decided here.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use meterseal_model::{Digest384, UnixMillis};

use super::coverage::{self, BEYOND};
use super::{Coverage, Mark, MarkError, Scope};
use crate::requirements;

/// What a certification found: the summary of `results.cbor` that a mark needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The device type, exactly as the meter states it.
    pub device_type: String,
    /// The hardware that was tested; `virtual` for a simulated meter.
    pub hardware: String,
    /// SHA-384 of the firmware that ran.
    pub firmware_digest: Digest384,
    /// The catalogue's version.
    pub catalogue_version: String,
    /// SHA-384 of the catalogue.
    pub catalogue_digest: Digest384,
    /// SHA-384 of `results.cbor`.
    pub results_digest: Digest384,
    /// SHA-384 of `report.json`, where there is one.
    pub report_digest: Option<Digest384>,
    /// What was tested.
    pub ground: Ground,
    /// Whether it was tested at reduced length, as in continuous integration.
    pub reduced: bool,
    /// Every requirement of the catalogue that does not consist of others, whether it was in the run or not.
    pub found: Vec<Found>,
}

/// What came of one requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its identifier.
    pub id: String,
    /// The requirements that it is a part of.
    pub part_of: Vec<String>,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of one requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was tested and passed, or a person inspected the evidence and passed it.
    Passed,
    /// It failed.
    Failed,
    /// It was not tested, could not be carried out, or is not testable. Never counted as passed.
    NotTested,
}

/// What stood on the bench.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A meter in a program.
    Virtual,
    /// A meter over the network, with nothing measured by an instrument that is traceable.
    Untraceable,
    /// A meter of hardware, measured with instruments whose calibration is traceable: which, and by what certificate.
    Traceable(String),
}

/// What the signatory adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What it shall be.
    pub scope: Scope,
    /// Who signs, as people know them.
    pub signatory: String,
    /// Now.
    pub issued: UnixMillis,
    /// From when it is valid.
    pub valid_from: UnixMillis,
    /// When its renewal is due.
    pub renew_from: UnixMillis,
    /// Until when it is valid.
    pub valid_until: UnixMillis,
}

impl Mark {
    /// The mark that these findings and terms allow, not signed yet.
    ///
    /// # Errors
    /// [`MarkRefused`]: something failed, nothing was tested, or the scope claims more than was done.
    pub fn certify(findings: &Findings, terms: &Terms) -> Result<Self, MarkRefused> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = findings.found.iter().find(|found| !seen.insert(&found.id)) {
            return Err(MarkRefused::Twice(twice.id.clone()));
        }
        let of = |verdict| findings.found.iter().filter(move |found| found.verdict == verdict);
        let failed: Vec<String> = of(Verdict::Failed).map(|found| found.id.clone()).collect();
        if !failed.is_empty() {
            return Err(MarkRefused::Failed(failed));
        }
        if of(Verdict::Passed).next().is_none() {
            return Err(MarkRefused::NothingTested);
        }
        let claim = match (terms.scope, &findings.ground) {
            (Scope::Laboratory, Ground::Virtual) => Err("the meter was a virtual one"),
            (Scope::Laboratory, Ground::Untraceable) => Err(
                "no instrument with a traceable calibration was used; the target's profile says which was",
            ),
            (Scope::Laboratory, Ground::Traceable(how)) if how.trim().is_empty() => {
                Err("nothing is said of the instruments' traceability")
            }
            (Scope::Laboratory | Scope::Virtual, _) if findings.reduced => {
                Err("the procedures ran at reduced length")
            }
            _ => Ok(()),
        };
        claim.map_err(|why| MarkRefused::Scope { scope: terms.scope, why })?;
        let mark = Self {
            device_type: findings.device_type.clone(),
            hardware: findings.hardware.clone(),
            firmware_digest: findings.firmware_digest,
            catalogue_version: findings.catalogue_version.clone(),
            catalogue_digest: Some(findings.catalogue_digest),
            results_digest: Some(findings.results_digest),
            report_digest: findings.report_digest,
            scope: terms.scope,
            coverage: coverage(&findings.found),
            issued: terms.issued,
            valid_from: terms.valid_from,
            renew_from: terms.renew_from,
            valid_until: terms.valid_until,
            signatory: terms.signatory.clone(),
        };
        mark.check().map_err(MarkRefused::Content)?;
        Ok(mark)
    }
}

/// Every requirement of the seed table, in its order, and what is part of none of them.
fn coverage(found: &[Found]) -> Vec<Coverage> {
    let mut parts: BTreeMap<&str, (u32, BTreeSet<&str>)> = BTreeMap::new();
    for one in found {
        let own = requirements::find(&one.id).map(|requirement| requirement.id);
        let wholes =
            one.part_of.iter().filter_map(|id| requirements::find(id)).map(|requirement| requirement.id);
        let mut groups: BTreeSet<&str> = wholes.chain(own).collect();
        if groups.is_empty() {
            groups.insert(BEYOND);
        }
        for group in groups {
            let (tested, not_tested) = parts.entry(group).or_default();
            match one.verdict {
                Verdict::Passed => *tested += 1,
                Verdict::Failed | Verdict::NotTested => drop(not_tested.insert(&one.id)),
            }
        }
    }
    let seeds = requirements::ALL.iter().map(|requirement| requirement.id);
    let beyond = parts.contains_key(BEYOND).then_some(BEYOND);
    seeds
        .chain(beyond)
        .map(|id| match parts.get(id) {
            Some((tested @ 1.., not_tested)) => Coverage {
                requirement: id.to_string(),
                tested: *tested,
                not_tested: not_tested.iter().map(ToString::to_string).collect(),
            },
            _ => Coverage::none(id),
        })
        .collect()
}

/// Why there is no mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkRefused {
    /// These failed.
    Failed(Vec<String>),
    /// Nothing was tested.
    NothingTested,
    /// One requirement has two results.
    Twice(String),
    /// The scope claims more than was done.
    Scope {
        /// Which.
        scope: Scope,
        /// Why not.
        why: &'static str,
    },
    /// A field is out of bounds.
    Content(MarkError),
}

impl fmt::Display for MarkRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(ids) => {
                write!(f, "no mark: {} of the requirements failed (", ids.len())?;
                for (place, id) in ids.iter().take(LISTED).enumerate() {
                    write!(f, "{}{id}", if place == 0 { "" } else { ", " })?;
                }
                f.write_str(if ids.len() > LISTED { ", …)" } else { ")" })
            }
            Self::NothingTested => f.write_str("no mark: nothing was tested"),
            Self::Twice(id) => write!(f, "no mark: the results hold {id} twice"),
            Self::Scope { scope, why } => write!(f, "no mark of scope {scope}: {why}"),
            Self::Content(error) => write!(f, "no mark: {error}"),
        }
    }
}

impl core::error::Error for MarkRefused {}

/// Identifiers in a sentence.
const LISTED: usize = 20;

const _: () = assert!(requirements::ALL.len() < coverage::MAX_REQUIREMENTS);
