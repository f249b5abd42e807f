//! The firmware partition behind Image transfer (class 18).

use alloc::vec::Vec;
use core::fmt::Debug;

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::{Digest384, EventCode, Role, UnixMillis};
use meterseal_seal::attestation::SlotState;

use super::{BLOCK_BYTES, FirmwareError, FirmwareStore, Health, Installed, Probation, TransferStatus};
use crate::attestation::BootState;
use crate::image::{Activation, ImageError, ImageInfo, ImageProgress, ImageStatus, ImageStore};

impl<F: NorFlash + Debug + Send> ImageStore for FirmwareStore<F> {
    fn is_enabled(&self) -> bool {
        self.is_enabled()
    }

    fn block_bytes(&self) -> u32 {
        BLOCK_BYTES
    }

    fn status(&self) -> ImageStatus {
        match self.status() {
            None => ImageStatus::NotInitiated,
            Some(TransferStatus::Initiated) => ImageStatus::Initiated,
            Some(TransferStatus::Verifying) => ImageStatus::VerificationInitiated,
            Some(TransferStatus::Verified) => ImageStatus::Verified,
            Some(TransferStatus::VerificationFailed) => ImageStatus::VerificationFailed,
            Some(TransferStatus::Activating) => ImageStatus::ActivationInitiated,
            Some(TransferStatus::Activated) => ImageStatus::Activated,
            Some(TransferStatus::ActivationFailed) => ImageStatus::ActivationFailed,
        }
    }

    fn blocks(&self) -> u32 {
        self.blocks()
    }

    fn holds(&self, block: u32) -> bool {
        self.holds(block)
    }

    fn initiate(&mut self, identifier: &[u8], bytes: u32) -> Result<(), ImageError> {
        self.initiate(identifier, bytes).map_err(shown)
    }

    fn keep(&mut self, block: u32, content: &[u8]) -> Result<(), ImageError> {
        self.keep(block, content).map_err(shown)
    }

    fn verify(&mut self) -> Result<ImageProgress, ImageError> {
        // Refused is refused, until the package is transferred again: asking does not repeat the work.
        if self.status() == Some(TransferStatus::VerificationFailed) {
            return Err(ImageError::Refused);
        }
        self.verify().map_err(shown)?;
        Ok(if self.ready().is_some() { ImageProgress::Done } else { ImageProgress::UnderWay })
    }

    fn activate(&mut self, activation: &Activation) -> Result<ImageProgress, ImageError> {
        let Activation { digest, at, now } = activation;
        // Which image is meant must be said: what waits may be another one than the sender believes.
        let digest = digest.as_ref().ok_or(ImageError::Refused)?;
        self.activate(Role::Firmware, digest, *at, Some(*now)).map_err(shown)?;
        Ok(ImageProgress::Done)
    }

    fn to_activate(&self) -> Option<ImageInfo> {
        let ready = self.ready()?;
        let identification = self.record().transfer.as_ref().map(|transfer| transfer.identifier.clone());
        Some(ImageInfo {
            bytes: u32::try_from(ready.image.size).unwrap_or(u32::MAX),
            identification: identification.unwrap_or_default(),
            signature: ready.image.digest.0.to_vec(),
        })
    }

    fn is_busy(&self) -> bool {
        self.is_busy()
    }

    fn boot_state(&self) -> Option<BootState> {
        let record = self.record();
        let state = |image: &Option<Installed>| match image {
            Some(held) => SlotState { image: held.image.digest, sequence: held.sequence },
            None => SlotState { image: Digest384([0; 48]), sequence: 0 },
        };
        Some(BootState {
            boots: record.boots,
            confirmed: state(&record.images[record.active as usize]).image,
            highest: record.highest,
            root_version: record.root_version,
            slots: record.images.each_ref().map(state),
        })
    }

    fn carry_on(&mut self, now: UnixMillis) -> Result<bool, ImageError> {
        self.step(Some(now)).map_err(shown)?;
        self.wants_restart(Some(now)).map_err(shown)
    }

    fn events(&self) -> Vec<(EventCode, i64)> {
        self.events()
    }

    fn logged(&mut self) -> Result<(), ImageError> {
        self.logged().map_err(shown)
    }

    fn prove(&mut self, health: Health, uptime_ms: u64) -> Result<Probation, ImageError> {
        self.probation(health, uptime_ms).map_err(shown)
    }
}

fn shown<E: Debug>(error: FirmwareError<E>) -> ImageError {
    match error {
        FirmwareError::Order(_) => ImageError::Order,
        FirmwareError::Bounds => ImageError::Bounds,
        FirmwareError::Incomplete { .. } => ImageError::Incomplete,
        FirmwareError::Role(_) | FirmwareError::Refused(_) => ImageError::Refused,
        FirmwareError::Flash(_)
        | FirmwareError::Verify { .. }
        | FirmwareError::Layout { .. }
        | FirmwareError::Unprovisioned => ImageError::Storage,
    }
}
