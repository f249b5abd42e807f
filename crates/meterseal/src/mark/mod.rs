//! `meterseal mark`: makes a mark of a certification's results, shows one as a QR code, and takes one back.

mod code;
mod make;
mod revoke;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use meterseal_link::Pki;
use meterseal_link::pki::{read_certificates, read_secret};
use meterseal_model::UnixMillis;
use meterseal_seal::chain::{CertificationKey, certification_key};
use meterseal_seal::{Scope, SealKey};

/// Make a mark of a certification's results, show it as a QR code, or revoke it
///
/// A mark says of one device type with one firmware what was tested and what was not, and is worth what its signatory's word
/// is. `meterseal verify` checks one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Make(make::Args),
    /// Show a mark as a QR code for a name plate or a page; what a telephone reads can be checked with no network
    Code {
        /// The mark
        file: PathBuf,
        /// Write an SVG to this file; without it the code is drawn in the terminal
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
        /// Print the code's text only
        #[arg(long, conflicts_with = "svg")]
        text: bool,
    },
    Revoke(revoke::Args),
}

/// Who signs.
#[derive(Debug, clap::Args)]
struct Signatory {
    /// Folder of the authorities, whose certification key signs
    #[arg(long, value_name = "DIR", default_value = "meterseal-data/pki")]
    pki: PathBuf,
    /// A certification key elsewhere (PKCS#8 PEM, mode 0600); needs --certificate
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// That key's certificate
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
}

impl Signatory {
    /// The key and what its certificate says. A key that is expired, or for something else, signs nothing.
    fn open(&self) -> Result<(SealKey, CertificationKey)> {
        let (key, der, path) = match (&self.key, &self.certificate) {
            (Some(key), Some(certificate)) => {
                let der = read_certificates(certificate)?.remove(0);
                let pem = read_secret(key)?;
                let read = SealKey::from_pkcs8_pem(&pem).with_context(|| key.display().to_string())?;
                (read, der, certificate.clone())
            }
            _ => {
                if !self.pki.exists() {
                    bail!(
                        "there are no authorities in {}; make them with `meterseal pki init`, or give their folder with --pki",
                        self.pki.display()
                    );
                }
                let pki = Pki::open(&self.pki)?;
                let path = self.pki.join("certification.cert.pem");
                (pki.certification_signer()?, pki.certification().clone(), path)
            }
        };
        let certified = certification_key(&der, &[]).with_context(|| path.display().to_string())?;
        if certified.key != *key.public() {
            bail!("{} is the certificate of another key", path.display());
        }
        let now = now();
        if now < certified.not_before || now > certified.not_after {
            bail!(
                "{}: the certificate is valid from {} to {}, which is not now; have the key certified anew",
                path.display(),
                certified.not_before,
                certified.not_after
            );
        }
        Ok((key, certified))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeArg {
    Development,
    Virtual,
    Laboratory,
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Development => Self::Development,
            ScopeArg::Virtual => Self::Virtual,
            ScopeArg::Laboratory => Self::Laboratory,
        }
    }
}

pub(crate) fn run(arguments: &Args, out: &mut impl Write) -> Result<bool> {
    match &arguments.command {
        Command::Make(options) => make::run(options, out),
        Command::Code { file, svg, text } => code::run(file, svg.as_deref(), *text, out).map(|()| true),
        Command::Revoke(options) => revoke::run(options, out).map(|()| true),
    }
}

fn now() -> UnixMillis {
    UnixMillis(Timestamp::now().as_millisecond())
}

/// Writes a file that appears whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let staged = path.with_extension("new");
    std::fs::write(&staged, bytes)
        .and_then(|()| std::fs::rename(&staged, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
