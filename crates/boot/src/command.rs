//! The command line of the boot stage: `meterseal-boot`, and the same as `meterseal boot run`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meterseal_meter::firmware::{FirmwareLayout, LEAST_PROBATION_MS, Target};
use meterseal_model::MeterId;
use meterseal_seal::attestation::Ground;
use meterseal_seal::certificate::split_certificates;
use zeroize::Zeroizing;

use crate::stage::{FIRMWARE_BASE, Partition, Stage};
use crate::supervise::{BootError, Supervisor};

/// Boot a meter: decide what runs, verify it, execute the very bytes that were verified, and watch them
///
/// The image runs as a child process with a watchdog over it; a new one that fails is given up after three tries, and the
/// one before it comes back. Ends when the image stops in order, or when nothing in flash verifies.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The boot stage's folder: its secret (`device.secret`) and its key's certificates (`boot.der`)
    #[arg(long, value_name = "DIR")]
    pub stage: PathBuf,
    /// The meter's identifier
    #[arg(long, value_name = "METER")]
    pub meter: MeterId,
    /// The meter's flash
    #[arg(long, value_name = "FILE")]
    pub flash: PathBuf,
    /// What the meter is
    #[command(flatten)]
    pub product: Product,
    /// Seconds without a sign of life after which the image is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watchdog: u64,
    /// What the image gets as arguments
    #[arg(last = true)]
    pub image: Vec<OsString>,
}

/// What packages for a meter must name, and how much room it has for them.
#[derive(Clone, Debug, clap::Args)]
pub struct Product {
    /// Its maker
    #[arg(long, value_name = "NAME", default_value = "Meterseal")]
    pub vendor: String,
    /// Its device type, exactly as packages name it
    #[arg(long, value_name = "TYPE")]
    pub device_type: String,
    /// Its hardware revision
    #[arg(long, value_name = "REVISION", default_value = "virtual")]
    pub hardware: String,
    /// The size of an image slot, MiB
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub slot: u32,
    /// Seconds that a new image has to live before it is confirmed
    #[arg(long, value_name = "SECONDS", default_value_t = LEAST_PROBATION_MS / 1000)]
    pub least_probation: u64,
}

impl Product {
    /// Where the firmware of such a meter lies, and what it is.
    pub fn partition(&self) -> Partition {
        Partition {
            base: FIRMWARE_BASE,
            layout: FirmwareLayout::STANDARD.with_slot(self.slot << 20),
            target: Target {
                vendor: self.vendor.clone(),
                device_type: self.device_type.clone(),
                hardware: self.hardware.clone(),
                class_key: None,
            },
            least_probation_ms: self.least_probation.saturating_mul(1000),
        }
    }
}

/// Boots until the image stops in order.
///
/// # Errors
/// [`CommandError`].
pub fn run(arguments: &Args) -> Result<(), CommandError> {
    let Args { stage, meter, flash, product, watchdog, image } = arguments;
    let stage = open_stage(stage, *meter, product.partition())?;
    let patience = Duration::from_secs(*watchdog);
    let supervisor = Supervisor {
        stage,
        flash: flash.clone(),
        arguments: image.clone(),
        patience,
        pause: Duration::from_secs(1),
    };
    Ok(supervisor.run()?)
}

/// The boot stage whose secret and certificates lie in a folder. It says [`Ground::Simulated`]: on Linux, a secret in a file
/// is as safe as that file.
///
/// # Errors
/// [`CommandError::Folder`].
pub fn open_stage(folder: &Path, meter: MeterId, partition: Partition) -> Result<Stage, CommandError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CommandError::Folder { path, source }
    };
    let path = folder.join(SECRET_FILE);
    let mode = fs::metadata(&path).map_err(failed(&path))?.permissions().mode();
    let bytes = Zeroizing::new(fs::read(&path).map_err(failed(&path))?);
    let secret: Option<&[u8; 32]> = bytes.as_slice().try_into().ok();
    let secret = secret.filter(|_| mode & 0o077 == 0).ok_or_else(|| {
        let why = "must hold 32 bytes that only its owner can read (mode 0600)";
        failed(&path)(io::Error::new(io::ErrorKind::InvalidData, why))
    })?;
    let path = folder.join(CERTIFICATES_FILE);
    let chain = fs::read(&path).map_err(failed(&path))?;
    let chain = split_certificates(&chain).ok_or_else(|| {
        failed(&path)(io::Error::new(io::ErrorKind::InvalidData, "does not hold certificates (DER)"))
    })?;
    Ok(Stage::new(meter, secret, chain, Ground::Simulated, partition))
}

/// The device secret, in the boot stage's folder.
pub const SECRET_FILE: &str = "device.secret";
/// The boot key's certificates (DER), one after another, its own first.
pub const CERTIFICATES_FILE: &str = "boot.der";

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The boot stage's own folder.
    #[error("the boot stage cannot use {path}: {source}", path = path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in flash.
    #[error(transparent)]
    Boot(#[from] BootError),
}
