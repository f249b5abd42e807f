//! One meter's boot stage: the keys that only it has, where the firmware partition lies, and what happens at a power-on.
//!
//! It runs in a process of its own (`meterseal boot`), or, for meters that live in somebody's process, at each start in
//! that process: then the images are data, and what it vouches for says [`Ground::Simulated`].

use std::fmt::Debug;

use embedded_storage::nor_flash::NorFlash;
use meterseal_meter::ImageIdentity;
use meterseal_meter::firmware::{
    Booted, FirmwareError, FirmwareLayout, FirmwareStore, Loader, Target, boot, provision,
};
use meterseal_model::{MeterId, UnixMillis};
use meterseal_seal::attestation::{BootStage, Ground};
use meterseal_seal::{EnvelopeError, SealKey, SealPublicKey, Signer as _};

use crate::handover::Handover;

/// Where the firmware partition begins on a meter's chip: behind what the meter itself uses of an 8 MiB chip.
pub const FIRMWARE_BASE: u32 = 8 << 20;

const _: () = assert!(meterseal_meter::Layout::STANDARD.size() <= FIRMWARE_BASE as usize);

/// Where the firmware partition lies, and what its device is.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Where it begins.
    pub base: u32,
    /// How it is divided.
    pub layout: FirmwareLayout,
    /// What packages must be for.
    pub target: Target,
    /// How long a new image has to live before it may be confirmed, milliseconds:
    /// [`LEAST_PROBATION_MS`](meterseal_meter::firmware::LEAST_PROBATION_MS).
    pub least_probation_ms: u64,
}

impl Partition {
    /// Bytes of a chip with both parts, the meter's and this one, that is erased in such steps.
    pub fn chip_bytes(&self, erase_size: usize) -> usize {
        (self.base as usize).saturating_add(self.layout.size(erase_size))
    }

    /// What the running image has of it.
    ///
    /// # Errors
    /// [`FirmwareStore::open`]'s.
    pub fn open<F: NorFlash>(&self, flash: F) -> Result<FirmwareStore<F>, FirmwareError<F::Error>> {
        let mut store = FirmwareStore::open(flash, self.base, self.layout, self.target.clone())?;
        store.set_least_probation(self.least_probation_ms);
        Ok(store)
    }
}

/// What a factory puts into a new meter: the first trust root, and the first image as a package.
#[derive(Clone, Debug)]
pub struct Factory {
    /// The signed trust root.
    pub root: Vec<u8>,
    /// The package.
    pub package: Vec<u8>,
}

/// The boot stage of one meter.
#[derive(Debug)]
pub struct Stage {
    meter: MeterId,
    keys: BootStage,
    chain: Vec<Vec<u8>>,
    ground: Ground,
    partition: Partition,
}

impl Stage {
    /// With the device secret, which nobody else has, and the certificates (DER) that the maker gave its boot key.
    pub fn new(
        meter: MeterId,
        secret: &[u8; 32],
        chain: Vec<Vec<u8>>,
        ground: Ground,
        partition: Partition,
    ) -> Self {
        Self { meter, keys: BootStage::new(secret), chain, ground, partition }
    }

    /// The boot key's public half: what the maker certifies.
    pub fn boot_key(&self) -> &SealPublicKey {
        self.keys.public()
    }

    /// Where the firmware lies.
    pub const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Puts the first root and the first image into a new meter's flash. One that has some keeps it.
    ///
    /// # Errors
    /// [`provision`]'s.
    pub fn manufacture<F: NorFlash>(
        &self,
        mut flash: F,
        factory: &Factory,
        now: Option<UnixMillis>,
    ) -> Result<(), FirmwareError<F::Error>> {
        let Partition { base, layout, target, .. } = &self.partition;
        match self.partition.open(&mut flash) {
            Ok(_) => Ok(()),
            Err(FirmwareError::Unprovisioned) => {
                provision(flash, *base, *layout, target, &factory.root, &factory.package, now)
            }
            Err(error) => Err(error),
        }
    }

    /// One power-on: decides, verifies, puts the decision in flash, and makes what the image gets. The bytes that were
    /// verified are what `loader` got last.
    ///
    /// # Errors
    /// [`StageError`]: start nothing.
    pub fn power_on<F: NorFlash>(
        &self,
        flash: F,
        loader: &mut dyn Loader,
    ) -> Result<(Booted, Handover), StageError<F::Error>> {
        let Partition { base, layout, target, .. } = &self.partition;
        let booted = boot(flash, *base, *layout, target, loader)?;
        let manifest = booted.manifest.as_ref().ok_or(StageError::Nothing)?;
        let image = manifest.image.digest;
        let (key, certificate): (SealKey, _) = self.keys.image_key(self.meter, &image, self.ground)?;
        let identity = ImageIdentity {
            boot_chain: self.chain.clone(),
            certificate,
            key: key.key_id(),
            version: manifest.version.clone(),
            image,
            sequence: manifest.sequence,
        };
        Ok((booted, Handover { meter: self.meter, identity, key }))
    }
}

/// Why nothing is started.
#[derive(Debug, thiserror::Error)]
pub enum StageError<E: Debug> {
    /// The firmware partition.
    #[error(transparent)]
    Firmware(#[from] FirmwareError<E>),
    /// No image that verifies.
    #[error("no image in the meter's flash verifies: have it written anew by its maker")]
    Nothing,
    /// The boot key.
    #[error("the boot stage cannot vouch for the image: {0}")]
    Key(#[from] EnvelopeError),
}
