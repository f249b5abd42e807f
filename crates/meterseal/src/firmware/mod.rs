//! `meterseal firmware`: keys, trust roots and packages. Everything here works on files, without a meter or a network, so
//! that keys can stay where nobody dials in.

mod keys;
mod sign;
mod trust;
mod verify;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use meterseal_link::pki::write_secret;
use meterseal_model::UnixMillis;
use meterseal_seal::firmware::{Package, TrustRoot};

/// Make, sign, inspect and verify firmware packages
///
/// A package carries two signatures of each signer, ES384 and ML-DSA-87. A meter
/// takes it only when both verify for as many signers as its trust root asks for.
///
///   meterseal firmware keygen anna
///   meterseal firmware trust --signer anna.pub.pem=root,release \
///       --key anna.key.pem --out trust.cbor
///   meterseal firmware sign meter.bin --device-type MS3 --hardware A \
///       --release 1.1.0 --sequence 11 --key anna.key.pem --out meter.msfw
///   meterseal firmware verify meter.msfw --trust trust.cbor
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Keygen(keys::Keygen),
    Trust(trust::Args),
    Sign(Box<sign::Sign>),
    Delta(Box<sign::Delta>),
    Cosign(keys::Cosign),
    Inspect(verify::Inspect),
    Verify(verify::Verify),
}

/// Runs it; `false` when a package or a trust root was looked at and is not good.
pub(crate) fn run(arguments: &Args, out: &mut impl Write) -> Result<bool> {
    match &arguments.command {
        Command::Keygen(arguments) => keys::keygen(arguments, out).map(|()| true),
        Command::Trust(arguments) => trust::run(arguments, out).map(|()| true),
        Command::Sign(arguments) => sign::sign(arguments, out).map(|()| true),
        Command::Delta(arguments) => sign::delta(arguments, out).map(|()| true),
        Command::Cosign(arguments) => keys::cosign(arguments, out).map(|()| true),
        Command::Inspect(arguments) => verify::inspect(arguments, out).map(|()| true),
        Command::Verify(arguments) => verify::verify(arguments, out),
    }
}

/// A file whole, if it is one and not larger than any image may be.
fn read(path: &Path) -> Result<Vec<u8>> {
    let length = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if length > LARGEST {
        bail!("{} has {length} bytes, more than the {LARGEST} of any image", path.display());
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file that must not be there yet.
fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    refuse_existing(path)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    std::fs::write(&temporary, bytes).with_context(|| format!("cannot write {}", temporary.display()))?;
    std::fs::rename(&temporary, path).with_context(|| format!("cannot write {}", path.display()))
}

/// The same for a secret: only its owner can read it.
fn write_new_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    refuse_existing(path)?;
    Ok(write_secret(path, bytes)?)
}

fn refuse_existing(path: &Path) -> Result<()> {
    if path.exists() {
        bail!("{} is there already; remove it or give another name", path.display());
    }
    Ok(())
}

fn read_package<'a>(bytes: &'a [u8], path: &Path) -> Result<Package<'a>> {
    Package::read(bytes).with_context(|| path.display().to_string())
}

fn read_trust(path: &Path, now: Option<UnixMillis>) -> Result<TrustRoot> {
    TrustRoot::first(&read(path)?, now).with_context(|| path.display().to_string())
}

/// A device class's key: a file of 32 bytes.
fn read_class_key(path: &Path) -> Result<[u8; 32]> {
    let bytes = read(path)?;
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| anyhow::anyhow!("{} holds {length} bytes; a device class's key has 32", path.display()))
}

fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

/// The largest image, and what a package adds to it.
const LARGEST: u64 = meterseal_seal::firmware::manifest::MAX_SIZE + (1 << 20);
