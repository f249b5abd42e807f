//! Signers' keys, and one signer adding to what another has signed.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use meterseal_seal::firmware::{FirmwareKey, FirmwarePublicKey, Package, TrustRoot};
use zeroize::Zeroizing;

/// Make a signer's two keys (P-384 and ML-DSA-87), or a device class's key
///
/// Writes NAME.key.pem, which only its owner can read, and NAME.pub.pem.
#[derive(Debug, clap::Args)]
pub(super) struct Keygen {
    /// The files' path without their endings
    name: PathBuf,
    /// Make the 32-byte key of a device class instead, to encipher packages with: NAME.class.key
    #[arg(long)]
    class: bool,
}

pub(super) fn keygen(arguments: &Keygen, out: &mut impl Write) -> Result<()> {
    let path = |ending: &str| {
        let mut path = arguments.name.clone().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    if arguments.class {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice()).context("the system gives no random numbers")?;
        super::write_new_secret(&path(".class.key"), key.as_slice())?;
        writeln!(out, "{}", path(".class.key").display())?;
        return Ok(());
    }
    super::refuse_existing(&path(".pub.pem"))?;
    let key = FirmwareKey::generate(getrandom::fill).context("the system gives no random numbers")?;
    super::write_new_secret(&path(".key.pem"), key.to_pem()?.as_bytes())?;
    super::write_new(&path(".pub.pem"), key.public().to_pem()?.as_bytes())?;
    writeln!(out, "signer {}", key.public().id())?;
    writeln!(out, "{} and {}", path(".key.pem").display(), path(".pub.pem").display())?;
    Ok(())
}

/// Add one signer's signatures to a package or a trust root, where signers sit in different places
#[derive(Debug, clap::Args)]
pub(super) struct Cosign {
    /// A package or a trust root
    file: PathBuf,
    /// The signer's private keys (NAME.key.pem)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where to write it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn cosign(arguments: &Cosign, out: &mut impl Write) -> Result<()> {
    let bytes = super::read(&arguments.file)?;
    let key = read_key(&arguments.key)?;
    let signed = match Package::read(&bytes) {
        Ok(package) => package.with_signer(&key).with_context(|| arguments.file.display().to_string())?,
        Err(_) => TrustRoot::with_signer(&bytes, &key).with_context(|| {
            format!("{} is neither a firmware package nor a trust root", arguments.file.display())
        })?,
    };
    super::write_new(&arguments.out, &signed)?;
    writeln!(out, "signed by {}: {}", key.public().id(), arguments.out.display())?;
    Ok(())
}

pub(super) fn read_keys(paths: &[PathBuf]) -> Result<Vec<FirmwareKey>> {
    paths.iter().map(|path| read_key(path)).collect()
}

fn read_key(path: &Path) -> Result<FirmwareKey> {
    let pem = Zeroizing::new(read_text(path)?);
    FirmwareKey::from_pem(&pem).ok().with_context(|| {
        format!("{} holds no signer's keys; give the .key.pem that `firmware keygen` made", path.display())
    })
}

pub(super) fn read_public_key(path: &Path) -> Result<FirmwarePublicKey> {
    FirmwarePublicKey::from_pem(&read_text(path)?).ok().with_context(|| {
        format!(
            "{} holds no signer's public keys; give the .pub.pem that `firmware keygen` made",
            path.display()
        )
    })
}

fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(super::read(path)?)
        .ok()
        .with_context(|| format!("{} is not a PEM file", path.display()))
}
