//! The package as a file: `MSFW` | format u8 | envelope's length u32 BE | envelope | stored payload. And the verdict on
//! it, for one device.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use meterseal_model::{Digest384, UnixMillis};
use sha2::{Digest as _, Sha384};

use super::manifest::{self, Digests, Manifest, ManifestError, Packing};
use super::signatures::{self, SignError, Signatures};
use super::signer::FirmwareKey;
use super::trust::{Role, TrustError, TrustRoot};
use crate::envelope::MAX_LENGTH;

/// The bytes before the envelope.
pub const HEADER_LENGTH: usize = 9;

const MAGIC: &[u8; 5] = b"MSFW\x01";

/// A package taken apart; nothing of it is verified yet.
#[derive(Clone, Debug)]
pub struct Package<'a> {
    envelope: &'a [u8],
    payload: &'a [u8],
}

/// What decides on a device whether a package is for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Who made it.
    pub vendor: String,
    /// Its type.
    pub device_type: String,
    /// Its hardware revision.
    pub hardware: String,
    /// The highest sequence number that it ever confirmed.
    pub sequence: u64,
    /// The image that runs: what differences can stand on.
    pub image: Digests,
    /// The most bytes that a slot takes.
    pub slot: u64,
    /// Its clock, if it has one that it trusts.
    pub now: Option<UnixMillis>,
}

/// A manifest whose signatures, target and sequence are right for a device. There is no other way to make one than
/// [`accept`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted(Manifest);

impl Accepted {
    /// What it says.
    pub const fn manifest(&self) -> &Manifest {
        &self.0
    }
}

/// Writes a package. `payload` is what [`Manifest::stored`] describes.
///
/// # Errors
/// [`PackageError::Manifest`], [`PackageError::Payload`] when the manifest does not describe these bytes, or
/// [`PackageError::Sign`].
pub fn write(manifest: &Manifest, payload: &[u8], signers: &[&FirmwareKey]) -> Result<Vec<u8>, PackageError> {
    if Digests::of(payload) != manifest.stored {
        return Err(PackageError::Payload);
    }
    let envelope = signatures::sign(manifest::CONTENT_TYPE, &manifest.encode()?, signers)?;
    Ok(assemble(&envelope, payload))
}

fn assemble(envelope: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LENGTH + envelope.len() + payload.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&(envelope.len() as u32).to_be_bytes());
    out.extend_from_slice(envelope);
    out.extend_from_slice(payload);
    out
}

/// Where the envelope ends and the payload begins, from a package's first [`HEADER_LENGTH`] bytes.
///
/// # Errors
/// [`PackageError::NoPackage`].
pub fn payload_offset(header: &[u8; HEADER_LENGTH]) -> Result<usize, PackageError> {
    let length = header.strip_prefix(MAGIC.as_slice()).and_then(|length| length.try_into().ok());
    let length = length.map_or(0, |length| u32::from_be_bytes(length) as usize);
    if (1..=MAX_LENGTH).contains(&length) { Ok(HEADER_LENGTH + length) } else { Err(PackageError::NoPackage) }
}

impl<'a> Package<'a> {
    /// Takes a package apart.
    ///
    /// # Errors
    /// [`PackageError::NoPackage`] or [`PackageError::Truncated`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, PackageError> {
        let header = bytes.first_chunk().ok_or(PackageError::NoPackage)?;
        let (front, payload) =
            bytes.split_at_checked(payload_offset(header)?).ok_or(PackageError::Truncated)?;
        Ok(Self { envelope: &front[HEADER_LENGTH..], payload })
    }

    /// The signed part.
    pub const fn envelope(&self) -> &'a [u8] {
        self.envelope
    }

    /// What follows it.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// What the package claims to be, for people; not to be acted upon.
    ///
    /// # Errors
    /// [`PackageError::Sign`] or [`PackageError::Manifest`].
    pub fn claim(&self) -> Result<(Manifest, Signatures<'a>), PackageError> {
        let signed = Signatures::read(self.envelope, manifest::CONTENT_TYPE)?;
        Ok((Manifest::decode(signed.unverified_payload())?, signed))
    }

    /// The same package, signed by one more.
    ///
    /// # Errors
    /// [`PackageError::Payload`] when its payload is not the one that its manifest describes, so that nobody signs
    /// something else than they see; [`PackageError::Sign`] or [`PackageError::Manifest`].
    pub fn with_signer(&self, signer: &FirmwareKey) -> Result<Vec<u8>, PackageError> {
        let (manifest, signed) = self.claim()?;
        check_payload(&manifest, self.payload.len() as u64, Sha384::digest(self.payload).into())?;
        Ok(assemble(&signed.with(signer)?, self.payload))
    }

    /// Everything but the target: signatures, and that the payload is what was signed.
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn verify(&self, root: &TrustRoot, now: Option<UnixMillis>) -> Result<Manifest, PackageError> {
        let manifest = signed_manifest(self.envelope, root, now)?;
        check_payload(&manifest, self.payload.len() as u64, Sha384::digest(self.payload).into())?;
        Ok(manifest)
    }
}

/// The first decision on a device, from the envelope alone: signatures, then target, then sequence.
///
/// # Errors
/// [`PackageError`]; nothing of what it says may be used then.
pub fn accept(envelope: &[u8], root: &TrustRoot, running: &Running) -> Result<Accepted, PackageError> {
    let manifest = signed_manifest(envelope, root, running.now)?;
    if manifest.vendor != running.vendor || manifest.device_type != running.device_type {
        return Err(PackageError::OtherDevice { found: manifest.device_type });
    }
    if !manifest.hardware.contains(&running.hardware) {
        return Err(PackageError::OtherHardware { have: running.hardware.to_string() });
    }
    if manifest.sequence <= running.sequence {
        return Err(PackageError::Sequence { have: running.sequence, found: manifest.sequence });
    }
    if running.sequence < manifest.minimum_previous {
        return Err(PackageError::TooOld { have: running.sequence, wanted: manifest.minimum_previous });
    }
    if let Packing::Delta { base } = manifest.packing
        && base != running.image
    {
        return Err(PackageError::Base { wanted: base.digest });
    }
    let largest = manifest.image.size.max(manifest.stored.size);
    if largest > running.slot {
        return Err(PackageError::TooLarge { slot: running.slot, found: largest });
    }
    Ok(Accepted(manifest))
}

/// The second decision: that what was stored is what was signed.
///
/// # Errors
/// [`PackageError::Payload`].
pub fn check_payload(manifest: &Manifest, size: u64, digest: [u8; 48]) -> Result<(), PackageError> {
    let found = Digests { digest: Digest384(digest), size };
    if found == manifest.stored { Ok(()) } else { Err(PackageError::Payload) }
}

/// What an envelope says, if enough signers have signed it: what a boot stage asks of an image that was accepted before,
/// without a time, because a key that has expired since was good then. For what comes new, [`accept`] decides.
///
/// # Errors
/// [`PackageError::Sign`], [`PackageError::Trust`] or [`PackageError::Manifest`].
pub fn signed_manifest(
    envelope: &[u8],
    root: &TrustRoot,
    now: Option<UnixMillis>,
) -> Result<Manifest, PackageError> {
    let signed = Signatures::read(envelope, manifest::CONTENT_TYPE)?;
    root.count(Role::Release, &signed, now)?;
    root.count(Role::Approval, &signed, now)?;
    Ok(Manifest::decode(signed.unverified_payload())?)
}

/// Why a package is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageError {
    /// Not a package at all.
    NoPackage,
    /// It ends before its envelope does.
    Truncated,
    /// The envelope.
    Sign(SignError),
    /// The signers.
    Trust(TrustError),
    /// The manifest.
    Manifest(ManifestError),
    /// For another device type.
    OtherDevice {
        /// The type it is for.
        found: String,
    },
    /// Not for this hardware revision.
    OtherHardware {
        /// The device's revision.
        have: String,
    },
    /// Its sequence number is not higher than the device's.
    Sequence {
        /// The device's.
        have: u64,
        /// The package's.
        found: u64,
    },
    /// The device runs something too old for it.
    TooOld {
        /// The device's sequence number.
        have: u64,
        /// The lowest that is wanted.
        wanted: u64,
    },
    /// Its differences stand on another image than the one that runs.
    Base {
        /// The image that is wanted.
        wanted: Digest384,
    },
    /// It does not fit.
    TooLarge {
        /// The slot, bytes.
        slot: u64,
        /// The package, bytes.
        found: u64,
    },
    /// The payload is not the one that was signed.
    Payload,
}

impl From<SignError> for PackageError {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

impl From<TrustError> for PackageError {
    fn from(error: TrustError) -> Self {
        Self::Trust(error)
    }
}

impl From<ManifestError> for PackageError {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(error)
    }
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPackage => {
                f.write_str("this is no firmware package; give a file that `firmware sign` made")
            }
            Self::Truncated => f.write_str("the firmware package ends too early; fetch it again"),
            Self::Sign(error) => error.fmt(f),
            Self::Trust(error) => error.fmt(f),
            Self::Manifest(error) => error.fmt(f),
            Self::OtherDevice { found } => write!(f, "the package is for another device: {found}"),
            Self::OtherHardware { have } => write!(f, "the package is not for hardware {have}"),
            Self::Sequence { have, found } => {
                write!(f, "sequence {found} is not newer than {have}, which this device has had")
            }
            Self::TooOld { have, wanted } => {
                write!(f, "the device is at sequence {have}; install {wanted} or later first")
            }
            Self::Base { wanted } => write!(f, "the differences stand on another image: {wanted}"),
            Self::TooLarge { slot, found } => write!(f, "{found} bytes do not fit the slot of {slot} bytes"),
            Self::Payload => f.write_str("the payload is not the one that was signed; fetch it again"),
        }
    }
}

impl core::error::Error for PackageError {}
