//! The output folder. `parts/ID.json` keeps each finding as soon as it is there; the rest is written when the run is over.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use meterseal_seal::{SealKey, SealPublicKey, envelope};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha384};

use super::{Results, Run};
use crate::certify::engine::hex;
use crate::certify::{Earlier, Finding, Outcome, Record};

/// The content type in the envelope of `run.cbor`.
pub(super) const RUN_CONTENT_TYPE: &str = "application/vnd.meterseal.run+cbor";

/// Why evidence cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct EvidenceError {
    path: String,
    problem: String,
}

impl EvidenceError {
    pub(crate) fn at(path: &Path, problem: impl ToString) -> Self {
        Self { path: path.display().to_string(), problem: problem.to_string() }
    }
}

/// A folder of evidence.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

#[derive(Serialize, Deserialize)]
struct Part {
    finding: Finding,
    record: Record,
}

impl Folder {
    /// Opens a folder for a run that `key` tells from others (target, seed, effort, catalogue, profile), with what an earlier run of the same left
    /// there.
    ///
    /// # Errors
    /// It cannot be written, or is another run's: evidence of two runs is never mixed.
    pub fn open(path: &Path, key: &str) -> Result<(Self, Earlier), EvidenceError> {
        let folder = Self(path.to_owned());
        let parts = path.join("parts");
        fs::create_dir_all(&parts).map_err(|error| EvidenceError::at(&parts, error))?;
        let about = parts.join("run.txt");
        match fs::read_to_string(&about) {
            Ok(before) if before == key => {}
            Ok(_) => {
                return Err(EvidenceError::at(
                    path,
                    "holds a run of another target, seed, profile, effort or catalogue; name another folder, or remove this one",
                ));
            }
            Err(_) => write(&about, key.as_bytes())?,
        }
        let mut earlier = Earlier::new();
        let entries = fs::read_dir(&parts).map_err(|error| EvidenceError::at(&parts, error))?;
        for entry in entries.flatten().map(|entry| entry.path()) {
            if entry.extension().is_some_and(|extension| extension == "json") {
                // A part that was cut off is done anew.
                let Ok(text) = fs::read(&entry) else { continue };
                let Ok(part) = serde_json::from_slice::<Part>(&text) else { continue };
                // What could not be carried out is tried again.
                if !matches!(part.finding.outcome, Outcome::CouldNot(_)) {
                    earlier.insert(part.finding.id.clone(), (part.finding, part.record));
                }
            }
        }
        Ok((folder, earlier))
    }

    /// Keeps a finding for a run that goes on later.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, finding: &Finding, record: &Record) -> Result<(), EvidenceError> {
        let path = self.0.join("parts").join(format!("{}.json", finding.id));
        let part = Part { finding: finding.clone(), record: record.clone() };
        let bytes = serde_json::to_vec(&part).map_err(|error| EvidenceError::at(&path, error))?;
        write(&path, &bytes)
    }

    /// Writes `results.cbor`, `report.json`, `report.html`, `report.pdf`, the transcripts, and `run.cbor` signed by `key`.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn finish(
        &self,
        results: &Results,
        records: Vec<(String, Record)>,
        ended_ms: u64,
        key: &SealKey,
    ) -> Result<(), EvidenceError> {
        let bytes = results.encode();
        self.write("results.cbor", &bytes)?;
        let json = serde_json::to_vec_pretty(results).map_err(|error| EvidenceError::at(&self.0, error))?;
        self.write("report.json", &json)?;
        let transcripts = self.0.join("transcripts");
        fs::create_dir_all(&transcripts).map_err(|error| EvidenceError::at(&transcripts, error))?;
        let mut kept = Vec::new();
        for (id, mut record) in records {
            let mut lines = String::new();
            for (at_ns, to_meter, bytes) in std::mem::take(&mut record.transcript) {
                lines += &format!("{at_ns} {} {bytes}\n", if to_meter { '>' } else { '<' });
            }
            if !lines.is_empty() {
                write(&transcripts.join(format!("{id}.txt")), lines.as_bytes())?;
            }
            kept.push((id, record));
        }
        let run = Run {
            format: super::FORMAT,
            results_sha384: hex(&Sha384::digest(&bytes)),
            ended_ms,
            host: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            records: kept,
            reports: Vec::new(),
        };
        let html = super::html(results, Some(&run)).into_bytes();
        let pdf = super::pdf(results, Some(&run))
            .ok_or_else(|| EvidenceError::at(&self.0.join("report.pdf"), "could not be made"))?;
        let mut run = run;
        for (name, bytes) in [("report.html", html), ("report.pdf", pdf)] {
            self.write(name, &bytes)?;
            run.reports.push((name.to_owned(), hex(&Sha384::digest(&bytes))));
        }
        let mut sealed = Vec::new();
        envelope::sign1(RUN_CONTENT_TYPE, &run.encode(), key, &mut sealed)
            .map_err(|error| EvidenceError::at(&self.0.join("run.cbor"), error))?;
        self.write("run.cbor", &sealed)
    }

    /// Writes another file into it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), EvidenceError> {
        write(&self.0.join(name), bytes)
    }

    /// Reads a folder's results.
    ///
    /// # Errors
    /// There are none, or they were altered.
    pub fn results(path: &Path) -> Result<Results, EvidenceError> {
        let path = path.join("results.cbor");
        let bytes = fs::read(&path).map_err(|error| EvidenceError::at(&path, error))?;
        Results::decode(&bytes).map_err(|problem| EvidenceError::at(&path, problem))
    }

    /// Keeps a person's attachment.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn attach(&self, name: &str, bytes: &[u8]) -> Result<(), EvidenceError> {
        let folder = self.0.join(ATTACHMENTS);
        fs::create_dir_all(&folder).map_err(|error| EvidenceError::at(&folder, error))?;
        write(&folder.join(name), bytes)
    }

    /// Checks a folder: results are canonical, `report.json` is made from them, `run.cbor` is signed by one of these keys and names them and the
    /// reports for people, and each transcript and attachment is the one that it names.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(path: &Path, keys: &[SealPublicKey]) -> Result<(Results, Run), EvidenceError> {
        let results = Self::results(path)?;
        let report = path.join("report.json");
        let found = fs::read(&report).map_err(|error| EvidenceError::at(&report, error))?;
        if serde_json::from_slice::<Results>(&found).ok().as_ref() != Some(&results)
            || serde_json::to_vec_pretty(&results).ok().as_ref() != Some(&found)
        {
            return Err(EvidenceError::at(&report, "is not the report of results.cbor: altered"));
        }
        let file = path.join("run.cbor");
        let sealed = fs::read(&file).map_err(|error| EvidenceError::at(&file, error))?;
        let verified = envelope::verify1(&sealed, RUN_CONTENT_TYPE, keys)
            .map_err(|error| EvidenceError::at(&file, error))?;
        let run = Run::decode(verified.payload)
            .ok_or_else(|| EvidenceError::at(&file, "is signed, but is no record of a run"))?;
        if run.results_sha384 != hex(&results.digest()) {
            return Err(EvidenceError::at(&file, "is of other results"));
        }
        for (name, digest) in &run.reports {
            is_the_one(&path.join(plain(path, name)?), digest)?;
        }
        let inspections = results.findings.iter().filter_map(|finding| finding.inspected.as_ref());
        for attachment in inspections.flat_map(|inspection| &inspection.attachments) {
            is_the_one(&path.join(ATTACHMENTS).join(plain(path, &attachment.name)?), &attachment.sha384)?;
        }
        for (id, record) in &run.records {
            plain(path, id)?;
            let file = path.join("transcripts").join(format!("{id}.txt"));
            let text = match fs::read_to_string(&file) {
                Ok(text) => text,
                Err(_) if record.messages == 0 => String::new(),
                Err(error) => return Err(EvidenceError::at(&file, error)),
            };
            if transcript_digest(&text).as_ref() != Some(&record.transcript_sha384) {
                return Err(EvidenceError::at(&file, "is not the transcript that run.cbor names: altered"));
            }
        }
        Ok((results, run))
    }
}

/// What persons left.
const ATTACHMENTS: &str = "attachments";

/// A file's name, and nothing that leads out of the folder.
fn plain<'a>(folder: &Path, name: &'a str) -> Result<&'a str, EvidenceError> {
    let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    if is_plain {
        Ok(name)
    } else {
        Err(EvidenceError::at(folder, format!("names a file \"{name}\", which is no name")))
    }
}

fn is_the_one(file: &Path, digest: &str) -> Result<(), EvidenceError> {
    let bytes = fs::read(file).map_err(|error| EvidenceError::at(file, error))?;
    if hex(&Sha384::digest(&bytes)) == digest {
        return Ok(());
    }
    Err(EvidenceError::at(file, "is not the file that the signed record names: altered"))
}

/// The digest of a transcript's lines, as [`Record`] says; `None` where a line is none.
fn transcript_digest(text: &str) -> Option<String> {
    let mut hasher = Sha384::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let at: u64 = words.next()?.parse().ok()?;
        let to_meter = match words.next()? {
            ">" => 1,
            "<" => 0,
            _ => return None,
        };
        let digits = words.next()?;
        let bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|place| u8::from_str_radix(digits.get(place..place + 2)?, 16).ok())
            .collect::<Option<_>>()?;
        hasher.update(at.to_be_bytes());
        hasher.update([to_meter]);
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(&bytes);
    }
    Some(hex(&hasher.finalize()))
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), EvidenceError> {
    let temporary = path.with_extension("part");
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&temporary, path)).map_err(|error| EvidenceError::at(path, error))
}
