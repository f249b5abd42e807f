//! Results that a person gives: for what has to be looked at, and for stimuli that the bench has no means for. A file names each with who did it,
//! when, in words, and with attachments, whose digests go into the results. It never takes the place of something that was measured.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha384};

use super::engine::hex;
use super::{Finding, Outcome};
use crate::catalogue::{Catalogue, Method};

/// A file of results.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManualFile {
    result: Vec<Given>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    id: String,
    outcome: Word,
    who: String,
    when: String,
    words: String,
    #[serde(default)]
    attachments: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Passed,
    Failed,
}

/// A person's result of one requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inspection {
    /// Who looked.
    pub who: String,
    /// When, as they say.
    pub when: String,
    /// What they did and saw.
    pub words: String,
    /// What they left as evidence.
    pub attachments: Vec<Attachment>,
}

/// A file in the folder's `attachments/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// Its name there.
    pub name: String,
    /// SHA-384, hexadecimal.
    pub sha384: String,
}

/// Results that were given, and the attachments' bytes.
#[derive(Clone, Debug, Default)]
pub struct Manual {
    results: Vec<(String, Outcome, Inspection)>,
    /// Names and contents for `attachments/`.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Longest attachment, bytes, and how many.
const ATTACHMENT_MAX: u64 = 64 << 20;
const ATTACHMENTS_MAX: usize = 1_000;

/// A file of results that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the manual results {path}: {problem}")]
pub struct ManualError {
    path: String,
    problem: String,
}

impl Manual {
    /// Reads a file. Attachments are as seen from its folder.
    ///
    /// # Errors
    /// [`ManualError`]: it cannot be read, or a result in it names no requirement, nobody, or a file that is not there.
    pub fn read(path: &Path, catalogue: &Catalogue) -> Result<Self, ManualError> {
        let failed = |problem: String| ManualError { path: path.display().to_string(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let file: ManualFile =
            toml::from_str(&text).map_err(|error| failed(error.to_string().replace('\n', " ")))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut manual = Self::default();
        for given in file.result {
            let id = given.id.clone();
            manual.add(given, folder, catalogue).map_err(|problem| failed(format!("{id}: {problem}")))?;
        }
        Ok(manual)
    }

    fn add(&mut self, given: Given, folder: &Path, catalogue: &Catalogue) -> Result<(), String> {
        let Given { id, outcome, who, when, words, attachments } = given;
        let requirement = catalogue
            .requirements
            .iter()
            .find(|one| one.id == id)
            .ok_or("is no requirement; see `meterseal certify --list`")?;
        if requirement.method == Method::Parts {
            return Err("consists of others; give the results of those".to_owned());
        }
        if self.results.iter().any(|(known, ..)| *known == id) {
            return Err("has two results; keep one".to_owned());
        }
        for (field, text) in [("who", &who), ("when", &when), ("words", &words)] {
            if text.trim().is_empty() {
                return Err(format!("`{field}` is empty; a result that nobody stands for is none"));
            }
        }
        let mut kept = Vec::new();
        for path in attachments {
            if self.files.len() >= ATTACHMENTS_MAX {
                return Err(format!("there are more than {ATTACHMENTS_MAX} attachments"));
            }
            let path = folder.join(path);
            let cannot = |error: std::io::Error| format!("its attachment {}: {error}", path.display());
            let about = std::fs::metadata(&path).map_err(cannot)?;
            if !about.is_file() || about.len() > ATTACHMENT_MAX {
                return Err(format!(
                    "its attachment {} is no file of at most {} MiB",
                    path.display(),
                    ATTACHMENT_MAX >> 20
                ));
            }
            let bytes = std::fs::read(&path).map_err(cannot)?;
            let sha384 = hex(&Sha384::digest(&bytes));
            let own = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let safe = |letter: char| {
                if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' }
            };
            // Two files of one name are told apart by what is in them.
            let name = format!("{id}-{}-{}", &sha384[..8], own.chars().map(safe).collect::<String>());
            self.files.push((name.clone(), bytes));
            kept.push(Attachment { name, sha384 });
        }
        let outcome = match outcome {
            Word::Passed => Outcome::Passed,
            Word::Failed => Outcome::Failed,
        };
        self.results.push((id, outcome, Inspection { who, when, words, attachments: kept }));
        Ok(())
    }

    /// Gives findings that the bench has none for the person's outcome. What was measured stands.
    pub fn apply(&self, findings: &mut [Finding]) {
        for (id, outcome, inspection) in &self.results {
            let open = |finding: &&mut Finding| {
                finding.id == *id && matches!(finding.outcome, Outcome::NotTested(_))
            };
            if let Some(finding) = findings.iter_mut().find(open) {
                finding.outcome = outcome.clone();
                finding.inspected = Some(inspection.clone());
            }
        }
    }

    /// Those that were not used, because the bench has a result of its own.
    pub fn unused<'a>(&'a self, findings: &'a [Finding]) -> impl Iterator<Item = &'a str> {
        self.results
            .iter()
            .map(|(id, ..)| id.as_str())
            .filter(|id| findings.iter().any(|finding| finding.id == *id && finding.inspected.is_none()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manual, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("photo.jpg"), b"a picture").unwrap();
        let path = folder.path().join("m.toml");
        std::fs::write(&path, text).unwrap();
        Manual::read(&path, &Catalogue::built_in().unwrap()).map_err(|error| error.to_string())
    }

    fn inspected() -> String {
        let catalogue = Catalogue::built_in().unwrap();
        catalogue.requirements.iter().find(|one| one.method == Method::Inspected).unwrap().id.clone()
    }

    #[test]
    fn a_result_needs_a_requirement_a_person_and_its_attachments() {
        let id = inspected();
        let result = |id: &str, who: &str, attachment: &str| {
            format!(
                "[[result]]\nid = \"{id}\"\noutcome = \"passed\"\nwho = \"{who}\"\nwhen = \"2026-11-30\"\nwords = \"looked\"\n\
                 attachments = [\"{attachment}\"]\n"
            )
        };
        let manual = read(&result(&id, "A. Person", "photo.jpg")).unwrap();
        assert_eq!(manual.files.len(), 1);
        assert_eq!(manual.results[0].2.attachments[0].sha384, hex(&Sha384::digest(b"a picture")));
        let twice = [result(&id, "A", "photo.jpg"), result(&id, "B", "photo.jpg")].concat();
        for (text, why) in [
            (result("NO-SUCH", "A", "photo.jpg"), "no requirement"),
            (result(&id, " ", "photo.jpg"), "nobody"),
            (result(&id, "A", "missing.jpg"), "missing.jpg"),
            (result(&id, "A", "."), "no file"),
            (result(&id, "A", "photo.jpg").replace("passed", "perhaps"), "perhaps"),
            (twice, "two results"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn it_takes_no_measured_results_place() {
        let id = inspected();
        let text = format!(
            "[[result]]\nid = \"{id}\"\noutcome = \"passed\"\nwho = \"A. Person\"\nwhen = \"today\"\nwords = \"looked\"\n"
        );
        let manual = read(&text).unwrap();
        let finding = |outcome| Finding {
            id: id.clone(),
            outcome,
            measured: Vec::new(),
            steps: Vec::new(),
            seed: 0,
            inspected: None,
        };
        for measured in [Outcome::Failed, Outcome::CouldNot(String::new()), Outcome::Passed] {
            let mut findings = [finding(measured.clone())];
            manual.apply(&mut findings);
            assert_eq!((&findings[0].outcome, &findings[0].inspected), (&measured, &None));
            assert_eq!(manual.unused(&findings).collect::<Vec<_>>(), [id.as_str()]);
        }
        let mut open = [finding(Outcome::NotTested(String::new()))];
        manual.apply(&mut open);
        assert_eq!(open[0].inspected.as_ref().unwrap().who, "A. Person");
        let summary = crate::certify::Summary::of(&Catalogue::built_in().unwrap(), &open);
        assert_eq!((summary.passed, summary.inspected, summary.exit_code()), (0, 1, 2), "nothing was tested");
    }
}
