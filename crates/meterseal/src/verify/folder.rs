//! The evidence folder of a certification: whether anything in it was altered since the bench signed it.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use meterseal_bench::certify::evidence::Folder;
use meterseal_seal::SealPublicKey;
use serde_json::json;

use super::{Given, keys};

/// The folder that is meant, where it is one: itself, or that of its `run.cbor` or `results.cbor`.
pub(super) fn of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let folder = match name {
        "run.cbor" | "results.cbor" => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        },
        _ => path.to_owned(),
    };
    (folder.is_dir() && folder.join("results.cbor").is_file()).then_some(folder)
}

/// Checks it, and says what it is. `false`: something was altered.
pub(super) fn check(folder: &Path, given: &Given, out: &mut impl std::io::Write) -> Result<bool> {
    // Its own key proves that nothing was altered by somebody else than the holder of that key.
    let (known, whose) = if given.trust.is_empty() {
        let own = folder.join("bench-key.pub.pem");
        let Ok(pem) = std::fs::read_to_string(&own) else {
            bail!("{} does not hold its key; give the bench's public key with --trust", folder.display());
        };
        let unproven = "signed by the key that lies in the folder itself: whose it is, is not proven; give the bench's own with --trust";
        (vec![SealPublicKey::from_pem(&pem)?], unproven)
    } else {
        (keys(given, "an evidence folder", "the bench's public key")?, "signed by a key that you trust")
    };
    let checked = Folder::check(folder, &known);
    if given.json {
        let (holds, words) = match &checked {
            Ok(_) => (true, whose.to_owned()),
            Err(error) => (false, error.to_string()),
        };
        let value = json!({ "file": folder.display().to_string(), "kind": "evidence of a certification", "holds": holds, "words": words });
        writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?;
        return Ok(holds);
    }
    match checked {
        Ok((results, run)) => {
            let summary = &results.summary;
            writeln!(out, "{}: evidence of a certification, as it was signed", folder.display())?;
            writeln!(out, "  results, reports, transcripts and attachments are those of run.cbor, {whose}")?;
            writeln!(
                out,
                "  {} {} of {}: {} passed, {} by a person's word, {} failed, {} not tested, {} could not be carried out",
                results.about.device_type,
                results.about.meter,
                results.about.target,
                summary.passed,
                summary.inspected,
                summary.failed,
                summary.not_tested,
                summary.could_not
            )?;
            if run.reports.is_empty() {
                writeln!(
                    out,
                    "  report.html and report.pdf are not checked: the run is of a program that did not sign them"
                )?;
            }
            Ok(true)
        }
        Err(error) => {
            writeln!(out, "ALTERED OR DAMAGED  {error}")?;
            Ok(false)
        }
    }
}
