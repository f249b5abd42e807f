//! From an image to a package: whole, deflated, as differences, enciphered.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use meterseal_model::UnixMillis;
use meterseal_seal::firmware::{Digests, Manifest, Package, Packing, pack, package};

use super::keys::read_keys;

/// Sign an image as a package
#[derive(Debug, clap::Args)]
pub(super) struct Sign {
    /// The image: what the meter will execute
    image: PathBuf,
    /// Carry it as it is; else it is deflated where that makes it smaller
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    options: Options,
}

/// Sign the differences between two images as a package: a meter that runs the first gets the second
#[derive(Debug, clap::Args)]
pub(super) struct Delta {
    /// The image that runs
    #[arg(long, value_name = "IMAGE")]
    from: PathBuf,
    /// The image that shall run
    image: PathBuf,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Who made the device
    #[arg(long, default_value = "Meterseal")]
    vendor: String,
    /// The device type, exactly as the meter states it
    #[arg(long, value_name = "TYPE")]
    device_type: String,
    /// The hardware revisions on which it runs; several with commas or by repeating
    #[arg(long, value_name = "REVISION", required = true, value_delimiter = ',')]
    hardware: Vec<String>,
    /// The version, for people, as in 1.4.2
    #[arg(long, value_name = "VERSION")]
    release: String,
    /// The number that never goes down on a meter
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sequence: u64,
    /// The lowest sequence that may run when this one is installed
    #[arg(long, value_name = "N", default_value_t = 0)]
    minimum_previous: u64,
    /// Not to be activated before this time, as in 2027-01-31T02:00:00Z
    #[arg(long, value_name = "TIME")]
    not_before: Option<Timestamp>,
    /// Encipher it with a device class's key (`firmware keygen --class`)
    #[arg(long, value_name = "FILE")]
    class_key: Option<PathBuf>,
    /// Private keys that sign it (NAME.key.pem); more can be added with `firmware cosign`
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// Where to write the package
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn sign(arguments: &Sign, out: &mut impl Write) -> Result<()> {
    let image = read_image(&arguments.image)?;
    let deflated = pack::deflate(&image);
    if arguments.plain || deflated.len() >= image.len() {
        arguments.options.write(&image, image.clone(), Packing::Plain, out)
    } else {
        arguments.options.write(&image, deflated, Packing::Deflated, out)
    }
}

pub(super) fn delta(arguments: &Delta, out: &mut impl Write) -> Result<()> {
    let (base, image) = (read_image(&arguments.from)?, read_image(&arguments.image)?);
    if base == image {
        bail!("{} and {} are the same image", arguments.from.display(), arguments.image.display());
    }
    let mut differences = Vec::new();
    bsdiff::diff(&base, &image, &mut differences).context("cannot compute the differences")?;
    if differences.len() as u64 > 2 * image.len() as u64 + 4096 {
        bail!("the images have too little in common; use `firmware sign`");
    }
    let packing = Packing::Delta { base: Digests::of(&base) };
    arguments.options.write(&image, pack::deflate(&differences), packing, out)
}

impl Options {
    fn write(&self, image: &[u8], stored: Vec<u8>, packing: Packing, out: &mut impl Write) -> Result<()> {
        super::refuse_existing(&self.out)?;
        let (stored, encryption) = match &self.class_key {
            None => (stored, None),
            Some(path) => {
                let mut nonce = [0; 7];
                getrandom::fill(&mut nonce).context("the system gives no random numbers")?;
                let (stored, encryption) = pack::encipher(&stored, &super::read_class_key(path)?, nonce);
                (stored, Some(encryption))
            }
        };
        let manifest = Manifest {
            vendor: self.vendor.clone(),
            device_type: self.device_type.clone(),
            hardware: self.hardware.clone(),
            version: self.release.clone(),
            sequence: self.sequence,
            minimum_previous: self.minimum_previous,
            image: Digests::of(image),
            stored: Digests::of(&stored),
            packing,
            encryption,
            not_before: self.not_before.map(|time| UnixMillis(time.as_second() * 1000)),
        };
        let keys = read_keys(&self.keys)?;
        let bytes = package::write(&manifest, &stored, &keys.iter().collect::<Vec<_>>())?;
        super::write_new(&self.out, &bytes)?;
        let share = 100.0 * stored.len() as f64 / image.len() as f64;
        writeln!(out, "{manifest}")?;
        writeln!(out, "{}: {} bytes, {share:.1} % of the image", self.out.display(), bytes.len())?;
        Ok(())
    }
}

/// An image, and not one of the other files that lie beside it.
fn read_image(path: &std::path::Path) -> Result<Vec<u8>> {
    let image = super::read(path)?;
    let wrong = if image.is_empty() {
        Some("is empty")
    } else if Package::read(&image).is_ok() {
        Some("is a package already; `firmware cosign` adds a signer")
    } else if super::trust::read_any(&image).is_ok() {
        Some("is a trust root")
    } else if image.starts_with(b"-----BEGIN ") {
        Some("is a PEM file, perhaps a key")
    } else if std::str::from_utf8(&image).is_ok() {
        Some("is text")
    } else {
        None
    };
    match wrong {
        Some(wrong) => bail!("{} {wrong}; give the image that the meter shall execute", path.display()),
        None => Ok(image),
    }
}
