//! Taking a mark back: the signatory's next list of revoked marks.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use meterseal_seal::mark::name_of;
use meterseal_seal::{Mark, MarkRevocations, SealPublicKey};

use super::{Signatory, now, write_whole};

/// Revoke a mark for good: writes the signatory's next list of revoked marks
///
/// A head-end that has the list among its marks (DATA/headend/marks) acts on it within seconds; others, and whoever checks
/// a mark, need the list (`meterseal verify --revocations`).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The mark
    file: PathBuf,
    /// Why, in a few words
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The list; made where there is none
    #[arg(long, value_name = "FILE", default_value = "meterseal-data/headend/marks/revoked.cbor")]
    list: PathBuf,
    #[command(flatten)]
    signatory: Signatory,
}

pub(super) fn run(arguments: &Args, out: &mut impl Write) -> Result<()> {
    let signed = read(&arguments.file)?;
    let (key, _) = arguments.signatory.open()?;
    let own = [key.public().clone()];
    let mark = Mark::verify(&signed, &own)
        .with_context(|| format!("{}: only who signed a mark revokes it", arguments.file.display()))?;
    let mut list = match arguments.list.exists() {
        true => known(&arguments.list, &own)?,
        false => MarkRevocations::new(),
    };
    if arguments.reason.trim().is_empty() {
        bail!("say in a few words why (--reason)");
    }
    if !list.revoke(name_of(&signed), arguments.reason.trim(), now())? {
        writeln!(out, "was revoked before: {}", mark.mark())?;
        return Ok(());
    }
    if let Some(folder) = arguments.list.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    write_whole(&arguments.list, &list.sign(&key)?)?;
    writeln!(out, "revoked: {}", mark.mark())?;
    Ok(writeln!(out, "list {} of {} marks: {}", list.number, list.entries.len(), arguments.list.display())?)
}

/// The list so far. One that is damaged is not begun anew: what it revoked would be forgotten.
fn known(path: &Path, own: &[SealPublicKey]) -> Result<MarkRevocations> {
    let verified = MarkRevocations::verify(&read(path)?, own).with_context(|| {
        format!("{}: restore it from a copy, or begin another list (--list)", path.display())
    })?;
    Ok(verified.list)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
