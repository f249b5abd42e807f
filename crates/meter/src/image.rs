//! Where a new firmware image goes: what Image transfer (class 18) needs of whoever keeps the slots and judges packages.
//!
//! The meter carries the messages, checks the role and keeps the protocol's order; whether an image is whole, signed, meant
//! for this device and newer is the store's to say.

use alloc::vec::Vec;
use core::fmt;

use meterseal_model::{Digest384, EventCode, UnixMillis};

use crate::attestation::BootState;
use crate::firmware::{Health, Probation};

/// A place for a new image, and the judgement of it. Nothing here may wait: what takes long goes on by itself, is answered
/// with [`ImageProgress::UnderWay`], and shows in [`Self::status`].
pub trait ImageStore: fmt::Debug + Send {
    /// Whether a transfer may begin or go on now.
    fn is_enabled(&self) -> bool;

    /// Bytes of each block but the last, 1 to [`BLOCK_BYTES_MAX`]. The same for the whole of a transfer.
    fn block_bytes(&self) -> u32;

    /// How far it is, also after a restart.
    fn status(&self) -> ImageStatus;

    /// Blocks of the present transfer; 0 without one. Never more than [`BLOCKS_MAX`].
    fn blocks(&self) -> u32;

    /// Whether a block of the present transfer is kept. Only asked below [`Self::blocks`].
    fn holds(&self, block: u32) -> bool;

    /// Makes room for an image of so many bytes. The same image again goes on where it was interrupted; another one gives
    /// the former up.
    ///
    /// # Errors
    /// [`ImageError`]; what was there stays.
    fn initiate(&mut self, identifier: &[u8], bytes: u32) -> Result<(), ImageError>;

    /// Keeps a block; one that is there already stays as it is. It is in flash when this returns `Ok`.
    ///
    /// # Errors
    /// [`ImageError`]; the block is then missing.
    fn keep(&mut self, block: u32, content: &[u8]) -> Result<(), ImageError>;

    /// Judges the image once all its blocks are there. Asked again, it says how far that is.
    ///
    /// # Errors
    /// [`ImageError`]: why it is none to run.
    fn verify(&mut self) -> Result<ImageProgress, ImageError>;

    /// Makes an image that was verified the one to run, at once or at a time. Asked again, it says how far that is. Only the
    /// firmware role gets here.
    ///
    /// # Errors
    /// [`ImageError`]; what runs goes on running.
    fn activate(&mut self, activation: &Activation) -> Result<ImageProgress, ImageError>;

    /// What would be activated: one image, or nothing before the first was verified.
    fn to_activate(&self) -> Option<ImageInfo>;

    /// What the boot stage's record says, for the meter to attest; `None` where there is no boot stage.
    fn boot_state(&self) -> Option<BootState> {
        None
    }

    /// Whether [`Self::carry_on`] has something to do now, or an event waits for the security log.
    fn is_busy(&self) -> bool {
        false
    }

    /// Carries on by one short step what takes long. True: the device shall restart, to try a new image.
    ///
    /// # Errors
    /// [`ImageError::Storage`].
    fn carry_on(&mut self, now: UnixMillis) -> Result<bool, ImageError> {
        let _ = now;
        Ok(false)
    }

    /// Events that the security log does not have yet, with their extreme values.
    fn events(&self) -> Vec<(EventCode, i64)> {
        Vec::new()
    }

    /// They are in the security log.
    ///
    /// # Errors
    /// [`ImageError::Storage`]; they come again then.
    fn logged(&mut self) -> Result<(), ImageError> {
        Ok(())
    }

    /// Judges an image on probation by what it has shown so long after its start.
    ///
    /// # Errors
    /// [`ImageError::Storage`]; it is not confirmed then.
    fn prove(&mut self, health: Health, uptime_ms: u64) -> Result<Probation, ImageError> {
        let _ = (health, uptime_ms);
        Ok(Probation::None)
    }
}

/// An order to activate an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The image that is meant, if the order says so.
    pub digest: Option<Digest384>,
    /// When; at once if nothing is said.
    pub at: Option<UnixMillis>,
    /// The meter's time.
    pub now: UnixMillis,
}

/// How far a transfer is (class 18, `image_transfer_status`; from memory, not verified against the standard's text).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ImageStatus {
    /// No transfer.
    NotInitiated = 0,
    /// Blocks may come.
    Initiated = 1,
    /// It is being judged.
    VerificationInitiated = 2,
    /// It may be activated.
    Verified = 3,
    /// It is none to run.
    VerificationFailed = 4,
    /// It is being activated.
    ActivationInitiated = 5,
    /// It is the one that runs from the next start on.
    Activated = 6,
    /// It could not be activated.
    ActivationFailed = 7,
}

/// How far something is that may take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageProgress {
    /// It is done.
    Done,
    /// It goes on; ask again.
    UnderWay,
}

/// What Image transfer says of an image that may be activated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its length.
    pub bytes: u32,
    /// What identifies it, at most 64 bytes.
    pub identification: Vec<u8>,
    /// Its signature or digest, at most 128 bytes.
    pub signature: Vec<u8>,
}

/// Why an image store refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// Not now: another step comes first, or transfers are not enabled.
    Order,
    /// A size, a block's number or a block's length that is not possible here.
    Bounds,
    /// Blocks are missing: `image_first_not_transferred_block_number` names the first.
    Incomplete,
    /// It is no image for this meter to run.
    Refused,
    /// The flash failed.
    Storage,
}

/// The largest block: with all around it, it fits the largest message that the meter takes.
pub const BLOCK_BYTES_MAX: u32 = 3072;
/// Most blocks of an image: their status fits one answer.
pub const BLOCKS_MAX: u32 = 65_536;
