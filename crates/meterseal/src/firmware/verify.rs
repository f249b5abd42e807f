//! What a package claims, and what of it is true.

use std::convert::Infallible;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use meterseal_seal::firmware::{Digests, Manifest, Packing, Slots, Unpacker};
use serde::Serialize;

/// Show what a package or a trust root says, without verifying it
#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// A package or a trust root
    file: PathBuf,
    /// JSON in place of text
    #[arg(long)]
    json: bool,
}

/// Verify a package as a meter does: signers, payload, and that it unpacks to the image that was signed
///
/// Ends with 0 when all is good, with 1 when it is not, with 2 when it could not be told.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The package
    package: PathBuf,
    /// The trust root in force
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// A device class's key, for a package that is enciphered
    #[arg(long, value_name = "FILE")]
    class_key: Option<PathBuf>,
    /// The image that runs, for a package of differences
    #[arg(long, value_name = "IMAGE")]
    from: Option<PathBuf>,
    /// Write the image that comes out
    #[arg(long, value_name = "FILE")]
    unpack: Option<PathBuf>,
    /// JSON in place of text
    #[arg(long)]
    json: bool,
}

/// A package as JSON: field names are part of the interface.
#[derive(Serialize)]
struct Shown {
    vendor: String,
    device_type: String,
    hardware: Vec<String>,
    release: String,
    sequence: u64,
    minimum_previous: u64,
    image_bytes: u64,
    image_sha384: String,
    stored_bytes: u64,
    packing: &'static str,
    base_sha384: Option<String>,
    enciphered: bool,
    not_before: Option<String>,
    signers: Vec<String>,
}

impl Shown {
    fn new(manifest: &Manifest, signers: impl Iterator<Item = String>) -> Self {
        let (packing, base) = match manifest.packing {
            Packing::Plain => ("plain", None),
            Packing::Deflated => ("deflated", None),
            Packing::Delta { base } => ("delta", Some(base.digest.to_string())),
        };
        Self {
            vendor: manifest.vendor.clone(),
            device_type: manifest.device_type.clone(),
            hardware: manifest.hardware.clone(),
            release: manifest.version.clone(),
            sequence: manifest.sequence,
            minimum_previous: manifest.minimum_previous,
            image_bytes: manifest.image.size,
            image_sha384: manifest.image.digest.to_string(),
            stored_bytes: manifest.stored.size,
            packing,
            base_sha384: base,
            enciphered: manifest.encryption.is_some(),
            not_before: manifest.not_before.map(|time| time.to_string()),
            signers: signers.collect(),
        }
    }
}

pub(super) fn inspect(arguments: &Inspect, out: &mut impl Write) -> Result<()> {
    let bytes = super::read(&arguments.file)?;
    let name = || arguments.file.display().to_string();
    let Ok(package) = super::read_package(&bytes, &arguments.file) else {
        let root = super::trust::read_any(&bytes).with_context(name)?;
        write!(out, "{}", super::trust::describe(&root))?;
        return Ok(());
    };
    let (manifest, signed) = package.claim().with_context(name)?;
    let signers = signed.signers().map(|id| id.to_string());
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &Shown::new(&manifest, signers))?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{manifest}")?;
    signers.into_iter().try_for_each(|signer| writeln!(out, "signed, it says, by {signer}"))?;
    if Digests::of(package.payload()) != manifest.stored {
        writeln!(out, "the payload is NOT the one that the manifest describes")?;
    }
    writeln!(out, "nothing of this is verified; use `meterseal firmware verify`")?;
    Ok(())
}

pub(super) fn verify(arguments: &Verify, out: &mut impl Write) -> Result<bool> {
    let bytes = super::read(&arguments.package)?;
    let now = super::now();
    let root = super::read_trust(&arguments.trust, Some(now))?;
    let package = super::read_package(&bytes, &arguments.package)?;
    let (verdict, manifest) = match package.verify(&root, Some(now)) {
        Ok(manifest) => (unpack(arguments, &manifest, package.payload())?, Some(manifest)),
        Err(error) => (Err(error.to_string()), None),
    };
    if arguments.json {
        let shown = manifest.map(|manifest| {
            let ids = package.claim().map(|(_, signed)| signed.signers().map(|id| id.to_string()).collect());
            Shown::new(&manifest, ids.unwrap_or_else(|_| Vec::new()).into_iter())
        });
        let answer = serde_json::json!({
            "verified": verdict.is_ok(),
            "reason": verdict.as_ref().err(),
            "trust_root": root.version,
            "package": shown,
        });
        serde_json::to_writer_pretty(&mut *out, &answer)?;
        writeln!(out)?;
    } else {
        match (&verdict, &manifest) {
            (Ok(words), Some(manifest)) => {
                writeln!(out, "{manifest}\nverified by trust root {}; {words}", root.version)?
            }
            (Err(reason), _) => writeln!(out, "REFUSED: {reason}")?,
            (Ok(_), None) => {}
        }
    }
    Ok(verdict.is_ok())
}

/// Unpacks it, where what that takes was given: what it came to, or why not.
fn unpack(arguments: &Verify, manifest: &Manifest, stored: &[u8]) -> Result<Result<String, String>> {
    let class_key = arguments.class_key.as_deref().map(super::read_class_key).transpose()?;
    if manifest.encryption.is_some() && class_key.is_none() && arguments.unpack.is_none() {
        return Ok(Ok("not unpacked: it is enciphered, and no --class-key was given".to_owned()));
    }
    let base = arguments.from.as_deref().map(super::read).transpose()?;
    if let Packing::Delta { base: wanted } = manifest.packing {
        match &base {
            None if arguments.unpack.is_none() => {
                return Ok(Ok(
                    "not unpacked: it holds differences, and no image --from which was given".to_owned()
                ));
            }
            Some(base) if Digests::of(base) == wanted => {}
            _ => return Ok(Err(format!("it needs the image {} with --from", wanted.digest))),
        }
    }
    let mut memory = Memory { base: base.unwrap_or_default(), image: Vec::new() };
    let unpacked = Unpacker::new(manifest, class_key.as_ref()).and_then(|mut unpacker| {
        unpacker.push(stored, &mut memory)?;
        unpacker.finish(&mut memory)
    });
    if let Err(error) = unpacked {
        return Ok(Err(error.to_string()));
    }
    if let Some(path) = &arguments.unpack {
        super::write_new(path, &memory.image)?;
        return Ok(Ok(format!("its image is in {}", path.display())));
    }
    Ok(Ok("it unpacks to its image".to_owned()))
}

struct Memory {
    base: Vec<u8>,
    image: Vec<u8>,
}

impl Slots for Memory {
    type Error = Infallible;

    fn read_base(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Infallible> {
        // The unpacker keeps within the base's size, which was compared with the manifest's.
        let from = offset as usize;
        into.copy_from_slice(&self.base[from..from + into.len()]);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.image.extend_from_slice(bytes);
        Ok(())
    }
}
