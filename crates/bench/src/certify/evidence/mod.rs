//! The evidence of a run: `results.cbor`, which repeats to the bit, `report.json` and `report.html` and `report.pdf` made from it, and `run.cbor`, signed, with
//! what does not repeat. A folder with part of it is a run that can go on.

mod cbor;
mod folder;
mod html;
mod paper;
mod pdf;
mod words;

pub use folder::{EvidenceError, Folder};
pub use html::html;
pub use pdf::pdf;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha384};

use super::engine::hex;
use super::{Effort, Finding, Profile, Record, Summary};
use crate::catalogue::Catalogue;

/// The version of both files' format.
pub const FORMAT: u32 = 1;

/// What was tested, as it says of itself over DLMS and as its maker declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// `virtual`, or the address.
    pub target: String,
    /// Whether it is simulated: such results are never a laboratory's.
    pub simulated: bool,
    /// The meter's identifier, as it says.
    pub meter: String,
    /// Its device type, as it says.
    pub device_type: String,
    /// The hardware, as its maker declares.
    pub hardware: String,
    /// Its firmware's version, as it says.
    pub firmware_version: String,
    /// The digest of its firmware, as it says: SHA-384, hexadecimal.
    pub firmware_sha384: String,
}

/// Everything that repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// [`FORMAT`].
    pub format: u32,
    /// The bench's name and version.
    pub tool: String,
    /// The catalogue's version.
    pub catalogue_version: String,
    /// SHA-384 of the catalogue's requirements, hexadecimal.
    pub catalogue_sha384: String,
    /// What was tested.
    pub about: About,
    /// What its maker declares.
    pub profile: Profile,
    /// Of everything random.
    pub seed: u64,
    /// How much was measured.
    pub effort: Effort,
    /// Only identifiers that begin so were asked for; empty for all.
    pub only: Vec<String>,
    /// The decision rule.
    pub decision_rule: String,
    /// Instruments with their calibration, as a report names them.
    pub instruments: Vec<String>,
    /// What came of each requirement, in the catalogue's order.
    pub findings: Vec<Finding>,
    /// And of all.
    pub summary: Summary,
}

impl Results {
    /// The file: deterministic CBOR.
    pub fn encode(&self) -> Vec<u8> {
        // Strings, numbers, lists: a structure that serde always can make.
        cbor::encode(&serde_json::to_value(self).unwrap_or(serde_json::Value::Null))
    }

    /// Reads the file, and nothing but what [`encode`](Self::encode) writes.
    ///
    /// # Errors
    /// In words what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let value =
            cbor::decode(bytes).ok_or("it is not deterministic CBOR: altered, or not results at all")?;
        let results: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        // A name that was altered to an unknown one would be passed over, and its value be taken for absent.
        if results.encode() != bytes {
            return Err("it is not as results are written: altered, or of another program".to_owned());
        }
        if results.format != FORMAT {
            return Err(format!("its format is {}; this program reads {FORMAT}", results.format));
        }
        let summary = Catalogue::built_in().map(|catalogue| Summary::of(&catalogue, &results.findings));
        match summary {
            // Of another catalogue the summary cannot be checked here.
            Ok(summary) if results.catalogue_sha384 == digest_of_built_in() && summary != results.summary => {
                Err("its summary is not that of its findings".to_owned())
            }
            _ => Ok(results),
        }
    }

    /// SHA-384 of the file: what a mark names.
    pub fn digest(&self) -> [u8; 48] {
        Sha384::digest(self.encode()).into()
    }
}

/// SHA-384 of a catalogue's requirements as JSON in their order.
pub fn catalogue_digest(catalogue: &Catalogue) -> String {
    let bytes = serde_json::to_vec(&catalogue.requirements).unwrap_or_default();
    hex(&Sha384::digest(bytes))
}

fn digest_of_built_in() -> String {
    Catalogue::built_in().map(|catalogue| catalogue_digest(&catalogue)).unwrap_or_default()
}

/// What does not repeat, for the signature in `run.cbor`. Transcripts are files beside it, of which it holds the digests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// [`FORMAT`].
    pub format: u32,
    /// SHA-384 of `results.cbor`, hexadecimal.
    pub results_sha384: String,
    /// When the run was ended, Unix milliseconds.
    pub ended_ms: u64,
    /// The operating system and processor that it ran on.
    pub host: String,
    /// For each requirement when, how long, and its transcript's digest.
    pub records: Vec<(String, Record)>,
    /// SHA-384 of the reports for people, hexadecimal, by file name.
    #[serde(default)]
    pub reports: Vec<(String, String)>,
}

impl Run {
    /// The payload: deterministic CBOR.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(&serde_json::to_value(self).unwrap_or(serde_json::Value::Null))
    }

    /// Reads the payload.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_value(cbor::decode(bytes)?).ok()
    }
}
