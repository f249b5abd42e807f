//! From a run's evidence to what a mark needs: every requirement of the catalogue, whether the run asked for it or not.

use std::fs;
use std::path::Path;

use meterseal_model::Digest384;
use meterseal_seal::mark::{Findings, Found, Ground, Verdict, name_of};

use super::evidence::{EvidenceError, Folder, Results, catalogue_digest};
use super::network::instruments::OVERDUE;
use super::{Finding, Outcome};
use crate::catalogue::{Catalogue, Method};

/// The findings of a run, from the folder that it wrote.
///
/// # Errors
/// [`EvidenceError`]: there are no results, they were altered, or they are by another catalogue than this program's.
pub fn findings(path: &Path) -> Result<Findings, EvidenceError> {
    let results = Folder::results(path)?;
    let file = path.join("results.cbor");
    let report = path.join("report.json");
    let report_digest = match fs::read(&report) {
        Ok(bytes) => Some(name_of(&bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(EvidenceError::at(&report, error)),
    };
    of(&results, report_digest).map_err(|problem| EvidenceError::at(&file, problem))
}

/// The findings of a run.
///
/// # Errors
/// In words, what is wrong with the results.
pub fn of(results: &Results, report_digest: Option<Digest384>) -> Result<Findings, String> {
    let catalogue = Catalogue::built_in().map_err(|error| error.to_string())?;
    if results.catalogue_sha384 != catalogue_digest(&catalogue) {
        return Err(format!(
            "is by catalogue {} of another program; make the mark with the program that made the results",
            results.catalogue_version
        ));
    }
    let digest =
        |text: &str, what: &str| digest(text).ok_or_else(|| format!("holds no SHA-384 of the {what}"));
    if let Some(unknown) = results.findings.iter().find(|finding| catalogue.find(&finding.id).is_none()) {
        return Err(format!("holds a result for {}, which is not in the catalogue", unknown.id));
    }
    let found = catalogue.requirements.iter().filter(|requirement| requirement.method != Method::Parts);
    let found = found.map(|requirement| {
        let mut outcomes = results.findings.iter().filter(|finding| finding.id == requirement.id);
        // A person's word is in the report; a mark says what was tested.
        let by_bench = |finding: &&Finding| finding.inspected.is_none() || finding.outcome == Outcome::Failed;
        let verdict = match outcomes.next().filter(by_bench).map(|finding| &finding.outcome) {
            Some(Outcome::Passed) => Verdict::Passed,
            Some(Outcome::Failed) => Verdict::Failed,
            Some(Outcome::NotTested(_) | Outcome::CouldNot(_)) | None => Verdict::NotTested,
        };
        if outcomes.next().is_some() {
            return Err(format!("holds {} twice", requirement.id));
        }
        Ok(Found { id: requirement.id.clone(), part_of: requirement.part_of.clone(), verdict })
    });
    let about = &results.about;
    Ok(Findings {
        device_type: about.device_type.clone(),
        hardware: about.hardware.clone(),
        firmware_digest: digest(&about.firmware_sha384, "firmware")?,
        catalogue_version: results.catalogue_version.clone(),
        catalogue_digest: digest(&results.catalogue_sha384, "catalogue")?,
        results_digest: Digest384(results.digest()),
        report_digest,
        ground: match (about.simulated, results.instruments.join("; ")) {
            (true, _) => Ground::Virtual,
            (false, instruments) if instruments.trim().is_empty() || instruments.contains(OVERDUE) => {
                Ground::Untraceable
            }
            (false, instruments) => Ground::Traceable(instruments),
        },
        reduced: results.effort.is_reduced(),
        found: found.collect::<Result<_, _>>()?,
    })
}

fn digest(text: &str) -> Option<Digest384> {
    let mut bytes = [0; 48];
    if text.len() != 96 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(Digest384(bytes))
}
