//! `meterseal verify`: checks a file that somebody handed over, with no network and no head-end, and says in words what
//! it proves and what it does not.

mod csv;
mod folder;
mod mark;
mod show;

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use meterseal_link::pki::read_certificates;
use meterseal_seal::SealPublicKey;
use meterseal_seal::evidence::{
    Earlier, Export, Fingerprint, Kind, Outcome, Report, Statement, Trust, VerifiedStatement,
};
use meterseal_seal::log::{Checkpoint, Leaf};

use show::Shown;

/// Check a bill's statement, an export of a meter's log, a mark, or the folder of a certification
///
/// Says what the file proves and what it does not. It needs no network and believes nobody but the keys that you name.
/// Exit code: 0 it holds, 1 it was altered or does not hold, 2 it could not be read or checked.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    kind: Option<Expected>,
    #[command(flatten)]
    given: Given,
}

/// What the file must be.
#[derive(Debug, Subcommand)]
enum Expected {
    /// Check a statement, which a bill rests upon
    Bill(Given),
    /// Check an export of a meter's log
    Log(Given),
    /// Check a mark
    Mark(Given),
}

/// What belongs to a mark.
#[derive(Clone, Debug, Default, clap::Args)]
struct ForMark {
    /// For a mark: folder of a certification's results, which must be those of the mark (results.cbor, report.json)
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// For a mark: the signatory's list of revoked marks
    #[arg(long, value_name = "FILE")]
    revocations: Vec<PathBuf>,
    /// For a mark: judge it as of this moment in place of now, as in 2026-10-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
}

#[derive(Clone, Debug, Default, clap::Args)]
struct Given {
    /// The file
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// The fingerprint that is printed on the meter: 32 hexadecimal digits
    #[arg(long, value_name = "DIGITS")]
    fingerprint: Option<Fingerprint>,
    /// An authority whose word you believe: the maker's certificate, or for a mark the certification key; PEM. May be
    /// given several times
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
    /// An earlier statement or export of the same meter, which this one must continue
    #[arg(long, value_name = "FILE")]
    earlier: Option<PathBuf>,
    /// Write what was metered to this file, as CSV, if the file holds
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    for_mark: ForMark,
}

pub(crate) fn run(arguments: &Args, out: &mut impl Write) -> Result<bool> {
    let (expected, given) = match &arguments.kind {
        None => (None, &arguments.given),
        Some(Expected::Bill(given)) => (Some(Kind::Statement), given),
        Some(Expected::Log(given)) => (Some(Kind::Export), given),
        Some(Expected::Mark(given)) => (Some(Kind::Mark), given),
    };
    let Some(path) = given.file.as_deref() else { bail!("give the file to check") };
    if let (None, Some(folder)) = (expected, folder::of(path)) {
        return folder::check(&folder, given, out);
    }
    let bytes = mark::of_code(read(path)?);
    let name = path.display();
    let kind = Kind::of(&bytes).with_context(|| {
        format!("{name} is no statement, no export of a log and no mark, or was damaged at its beginning")
    })?;
    if expected.is_some_and(|expected| expected != kind) {
        bail!("{name} is {}; use `meterseal verify {name}`", show::what(kind));
    }
    let shown = match kind {
        Kind::Statement => statement(&bytes, given),
        Kind::Export => export(&bytes, given),
        Kind::Mark => mark::check(&bytes, given),
        Kind::Checkpoint => checkpoint(&bytes, given),
    };
    let shown = shown.with_context(|| name.to_string())?;
    let holds = shown.report.holds();
    if given.json {
        shown.json(path, out)?
    } else {
        shown.words(path, out)?
    }
    Ok(holds)
}

fn statement(bytes: &[u8], given: &Given) -> Result<Shown> {
    let statement = Statement::decode(bytes)?;
    let verified: VerifiedStatement = statement.verify(&trust(given)?);
    if let (Some(path), true) = (&given.csv, verified.report.holds()) {
        csv::write(path, |out| csv::readings(out, verified.readings()))?;
    }
    let quantities = verified.quantities().unwrap_or_default();
    let readings = verified.readings();
    let period = readings.first().zip(readings.last()).map(|(first, last)| (first.time, last.time));
    Ok(Shown { kind: Kind::Statement, report: verified.report, period, quantities })
}

fn export(bytes: &[u8], given: &Given) -> Result<Shown> {
    let verified = Export::verify(bytes, &trust(given)?, &mut |_| {})?;
    if let (Some(path), true) = (&given.csv, verified.report.holds()) {
        csv::write(path, |out| {
            csv::head(out)?;
            let mut outcome = Ok(());
            Export::verify(bytes, &Trust::default(), &mut |leaf: &Leaf| {
                if outcome.is_ok() {
                    outcome = csv::leaf(out, leaf);
                }
            })?;
            outcome
        })?;
    }
    Ok(Shown { kind: Kind::Export, report: verified.report, period: None, quantities: Vec::new() })
}

fn checkpoint(bytes: &[u8], given: &Given) -> Result<Shown> {
    let keys = keys(given, "a checkpoint alone", "the meter's log key (its certificate or public key)")?;
    let mut report = Report::default();
    match Checkpoint::verify(bytes, &keys) {
        Ok(signed) => {
            let checkpoint = signed.checkpoint();
            report.meter = Some(checkpoint.meter);
            report.add(
                Outcome::Proven,
                "signature",
                format!(
                    "Meter {} signed, at {} by its clock, that its log has {} entries with root {}.",
                    checkpoint.meter, checkpoint.time, checkpoint.size, checkpoint.root
                ),
            );
            report.add(
                Outcome::NotProven,
                "entries",
                "What the entries are: an export or a statement shows them.",
            );
        }
        Err(error) => {
            report.add(Outcome::Broken, "signature", format!("The checkpoint does not hold: {error}."))
        }
    }
    Ok(Shown { kind: Kind::Checkpoint, report, period: None, quantities: Vec::new() })
}

/// What the person brought along.
fn trust(given: &Given) -> Result<Trust> {
    let mut authorities = Vec::new();
    for path in &given.trust {
        authorities.extend(read_certificates(path)?.into_iter().map(|certificate| certificate.to_vec()));
    }
    let earlier = given.earlier.as_deref().map(earlier).transpose()?;
    Ok(Trust { authorities, fingerprint: given.fingerprint.clone(), earlier })
}

/// What an earlier file proves, by itself.
fn earlier(path: &Path) -> Result<Earlier> {
    let name = path.display();
    let bytes = read(path)?;
    let proven = match Kind::of(&bytes) {
        Some(Kind::Statement) => {
            let statement = Statement::decode(&bytes).with_context(|| name.to_string())?;
            statement.verify(&Trust::default()).earlier()
        }
        Some(Kind::Export) => {
            let export = Export::verify(&bytes, &Trust::default(), &mut |_| {});
            export.with_context(|| name.to_string())?.earlier()
        }
        _ => bail!("{name} is no statement and no export of a log"),
    };
    proven.with_context(|| {
        format!("the earlier file {name} does not hold itself; `meterseal verify {name}` says why")
    })
}

/// Public keys, from certificates or bare.
fn keys(given: &Given, what: &str, wanted: &str) -> Result<Vec<SealPublicKey>> {
    let mut keys = Vec::new();
    for path in &given.trust {
        let text = String::from_utf8(read(path)?).unwrap_or_default();
        if text.contains("BEGIN PUBLIC KEY") {
            keys.push(SealPublicKey::from_pem(&text).with_context(|| path.display().to_string())?);
            continue;
        }
        for certificate in read_certificates(path)? {
            keys.extend(meterseal_seal::request::certified_key(&certificate));
        }
    }
    if keys.is_empty() {
        bail!("{what} does not hold its key; give {wanted} with --trust");
    }
    Ok(keys)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).with_context(cannot)?;
    if bytes.len() as u64 > MAX_FILE {
        bail!("{} is longer than the {MAX_FILE} bytes that such a file may have", path.display());
    }
    Ok(bytes)
}

/// A log of twenty years, with every interval of fifteen minutes, takes about 200 MB.
const MAX_FILE: u64 = 1 << 30;
