//! A whole run from its settings to its results, for the command and for tests.

use std::sync::atomic::AtomicBool;

use meterseal_link::Value;
use meterseal_model::Obis;

use super::evidence::{About, EvidenceError, FORMAT, Folder, Results, catalogue_digest};
use super::manual::Manual;
use super::{
    DECISION_RULE, Earlier, Effort, Event, Finding, Laboratory, Plan, Profile, Record, Summary, Trouble,
    procedures, run,
};
use crate::catalogue::Catalogue;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `virtual`, or the address.
    pub target: String,
    /// Whether it is simulated.
    pub simulated: bool,
    /// What is declared of the meter.
    pub profile: Profile,
    /// How much.
    pub effort: Effort,
    /// Of everything random.
    pub seed: u64,
    /// Only identifiers that begin so.
    pub only: Vec<String>,
    /// Instruments with their calibration.
    pub instruments: Vec<String>,
    /// Results that persons give.
    pub manual: Manual,
}

/// Results, with what does not repeat.
#[derive(Clone, Debug)]
pub struct Done {
    /// The results.
    pub results: Results,
    /// For each requirement what does not repeat.
    pub records: Vec<(String, Record)>,
}

impl Settings {
    /// What tells this run from others, for its folder.
    pub fn key(&self, catalogue: &Catalogue) -> String {
        let Self { target, profile, effort, seed, .. } = self;
        let profile = serde_json::to_string(profile).unwrap_or_default();
        let effort = serde_json::to_string(effort).unwrap_or_default();
        let (tool, catalogue) = (tool(), catalogue_digest(catalogue));
        // What was measured with other instruments is another run's.
        let instruments = self.instruments.join("\n");
        format!("{tool}\n{target}\nseed {seed}\n{effort}\n{profile}\ncatalogue {catalogue}\n{instruments}\n")
    }
}

/// Asks a meter who it is.
///
/// # Errors
/// [`Trouble`]: there is no meter, or it does not say.
pub fn about(settings: &Settings, laboratory: &dyn Laboratory) -> Result<About, Trouble> {
    const DATA: u16 = 1;
    let mut meter = laboratory.target(settings.seed)?;
    let items = [Obis::METER_ID, Obis::DEVICE_TYPE, Obis::FIRMWARE_VERSION, Obis::FIRMWARE_DIGEST];
    let answers = meter.get(&items.map(|obis| (DATA, obis, 2)))?;
    let text = |place: usize| {
        let value = answers.get(place).and_then(|answer| answer.as_ref().ok());
        value.and_then(Value::as_text).unwrap_or_default().to_owned()
    };
    let digest = answers.get(3).and_then(|answer| answer.as_ref().ok()).and_then(Value::as_bytes);
    Ok(About {
        target: settings.target.clone(),
        simulated: settings.simulated,
        meter: text(0),
        device_type: text(1),
        hardware: settings.profile.hardware.clone(),
        firmware_version: text(2),
        firmware_sha384: super::engine::hex(digest.unwrap_or_default()),
    })
}

/// Runs what is asked for. With a folder each finding is kept there at once, and what an earlier run left is taken over.
///
/// # Errors
/// [`EvidenceError`]: the folder cannot be used.
pub fn certify(
    settings: &Settings,
    about: About,
    catalogue: &Catalogue,
    laboratory: &dyn Laboratory,
    kept: Option<(&Folder, Earlier)>,
    tell: &(dyn Fn(Event<'_>) + Sync),
    stop: &AtomicBool,
) -> Result<Done, EvidenceError> {
    let (folder, earlier) = kept.map_or((None, Earlier::new()), |(folder, earlier)| (Some(folder), earlier));
    let plan = Plan {
        catalogue,
        only: &settings.only,
        profile: &settings.profile,
        effort: settings.effort,
        seed: settings.seed,
        earlier,
    };
    let keep = |finding: &Finding, record: &Record| match folder {
        Some(folder) => folder.keep(finding, record),
        None => Ok(()),
    };
    let found = run(&plan, &procedures(), laboratory, tell, &keep, stop)?;
    let mut records = Vec::new();
    let mut findings = Vec::new();
    for (finding, record) in found {
        records.push((finding.id.clone(), record));
        findings.push(finding);
    }
    settings.manual.apply(&mut findings);
    let results = Results {
        format: FORMAT,
        tool: tool(),
        catalogue_version: catalogue.version.to_owned(),
        catalogue_sha384: catalogue_digest(catalogue),
        about,
        profile: settings.profile.clone(),
        seed: settings.seed,
        effort: settings.effort,
        only: settings.only.clone(),
        decision_rule: DECISION_RULE.to_owned(),
        instruments: settings.instruments.clone(),
        summary: Summary::of(catalogue, &findings),
        findings,
    };
    Ok(Done { results, records })
}

fn tool() -> String {
    format!("meterseal {}", env!("CARGO_PKG_VERSION"))
}
