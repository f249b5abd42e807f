//! What a package says of itself: the information elements of the SUIT model (RFC 9124) that a meter needs.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use meterseal_model::{Digest384, UnixMillis};
use minicbor::{Decoder, Encoder};

use crate::envelope::written;

/// The content type in a package's envelope.
pub const CONTENT_TYPE: &str = "application/vnd.meterseal.firmware+cbor";

/// The version of the manifest's format that is written and read (RFC 9124, 3.1).
pub const VERSION: u64 = 1;

/// The longest text, in bytes.
pub const MAX_TEXT: usize = 64;

/// The largest image and the largest stored payload: 64 MiB. A device has its own limit, its slot.
pub const MAX_SIZE: u64 = 64 << 20;

/// How many hardware revisions one package may name.
pub const MAX_HARDWARE: usize = 16;

/// SHA-384 and length of some bytes (RFC 9124, 3.8 and 3.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-384.
    pub digest: Digest384,
    /// Bytes.
    pub size: u64,
}

impl Digests {
    /// Those of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self { digest: Digest384(sha2::Sha384::digest(bytes).into()), size: bytes.len() as u64 }
    }
}

/// How the payload is stored in a package (RFC 9124, 3.10 and 3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As the image is.
    Plain,
    /// Deflated (RFC 1951).
    Deflated,
    /// Deflated differences (bsdiff's interleaved form) against the image with this digest, which must be running.
    Delta {
        /// The base.
        base: Digests,
    },
}

/// How the stored payload is enciphered: AES-256-GCM under the key of the device class, in chunks
/// ([`unpack`](super::unpack)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// The name of the class's key: the first 16 bytes of SHA-384 over it.
    pub key: [u8; 16],
    /// The first seven bytes of each chunk's nonce; never used twice with one key.
    pub nonce: [u8; 7],
}

/// A package's content. Times are whole seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Who made the device (RFC 9124, 3.3).
    pub vendor: String,
    /// The device type, exactly as the meter states it (RFC 9124, 3.4).
    pub device_type: String,
    /// The hardware revisions on which it runs.
    pub hardware: Vec<String>,
    /// The version, for people.
    pub version: String,
    /// Never goes down on a device (RFC 9124, 3.2).
    pub sequence: u64,
    /// The lowest sequence number that may run when this one is installed, 0 for any (RFC 9124, 3.6).
    pub minimum_previous: u64,
    /// The image that runs in the end.
    pub image: Digests,
    /// What the package carries.
    pub stored: Digests,
    /// How that is packed.
    pub packing: Packing,
    /// How it is enciphered, if it is.
    pub encryption: Option<Encryption>,
    /// Not to be activated before this time.
    pub not_before: Option<UnixMillis>,
}

impl Manifest {
    /// The manifest as CBOR.
    ///
    /// # Errors
    /// [`ManifestError::Content`] when a field is out of bounds.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        Ok(self.to_cbor())
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest = Self::from_cbor(bytes)?;
        manifest.check()?;
        if manifest.to_cbor() == bytes { Ok(manifest) } else { Err(ManifestError::Malformed) }
    }

    fn check(&self) -> Result<(), ManifestError> {
        let texts =
            [("vendor", &self.vendor), ("device type", &self.device_type), ("version", &self.version)];
        for (field, text) in texts.into_iter().chain(self.hardware.iter().map(|one| ("hardware", one))) {
            if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
                return Err(ManifestError::Content(field));
            }
        }
        if self.hardware.is_empty() || self.hardware.len() > MAX_HARDWARE {
            return Err(ManifestError::Content("hardware"));
        }
        if self.sequence == 0 || self.minimum_previous >= self.sequence {
            return Err(ManifestError::Content("sequence"));
        }
        let sizes = [("image", self.image.size), ("stored", self.stored.size)];
        let base = match self.packing {
            Packing::Delta { base } => Some(("base", base.size)),
            _ => None,
        };
        for (field, size) in sizes.into_iter().chain(base) {
            if size == 0 || size > MAX_SIZE {
                return Err(ManifestError::Content(field));
            }
        }
        if self.packing == Packing::Plain && self.encryption.is_none() && self.image != self.stored {
            return Err(ManifestError::Content("stored"));
        }
        Ok(())
    }

    fn to_cbor(&self) -> Vec<u8> {
        written(|encoder| {
            let optional = u64::from(self.encryption.is_some()) + u64::from(self.not_before.is_some());
            encoder.map(10 + optional)?.u8(FIELD_VERSION)?.u64(VERSION)?;
            encoder.u8(FIELD_VENDOR)?.str(&self.vendor)?;
            encoder.u8(FIELD_DEVICE_TYPE)?.str(&self.device_type)?;
            encoder.u8(FIELD_HARDWARE)?.array(self.hardware.len() as u64)?;
            for revision in &self.hardware {
                encoder.str(revision)?;
            }
            encoder.u8(FIELD_NAME)?.str(&self.version)?;
            encoder.u8(FIELD_SEQUENCE)?.u64(self.sequence)?;
            encoder.u8(FIELD_MINIMUM)?.u64(self.minimum_previous)?;
            encoder.u8(FIELD_IMAGE)?;
            put(encoder, &self.image)?;
            encoder.u8(FIELD_STORED)?;
            put(encoder, &self.stored)?;
            encoder.u8(FIELD_PACKING)?;
            match &self.packing {
                Packing::Plain => encoder.array(1)?.u8(PLAIN)?.ok()?,
                Packing::Deflated => encoder.array(1)?.u8(DEFLATED)?.ok()?,
                Packing::Delta { base } => {
                    encoder.array(2)?.u8(DELTA)?;
                    put(encoder, base)?;
                }
            }
            if let Some(encryption) = &self.encryption {
                encoder.u8(FIELD_ENCRYPTION)?.array(2)?.bytes(&encryption.key)?.bytes(&encryption.nonce)?;
            }
            if let Some(time) = self.not_before {
                encoder.u8(FIELD_NOT_BEFORE)?.i64(time.seconds())?;
            }
            Ok(())
        })
    }

    fn from_cbor(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut decoder = Decoder::new(bytes);
        decoder.map()?;
        expect(&mut decoder, FIELD_VERSION)?;
        match decoder.u64()? {
            VERSION => {}
            other => return Err(ManifestError::Version(other)),
        }
        let vendor = text(&mut decoder, FIELD_VENDOR)?;
        let device_type = text(&mut decoder, FIELD_DEVICE_TYPE)?;
        expect(&mut decoder, FIELD_HARDWARE)?;
        let count = decoder.array()?.filter(|&count| count <= MAX_HARDWARE as u64);
        let hardware = (0..count.ok_or(ManifestError::Content("hardware"))?)
            .map(|_| Ok(decoder.str()?.to_string()))
            .collect::<Result<Vec<_>, ManifestError>>()?;
        let version = text(&mut decoder, FIELD_NAME)?;
        let mut number = |field| {
            expect(&mut decoder, field)?;
            Ok::<_, ManifestError>(decoder.u64()?)
        };
        let (sequence, minimum_previous) = (number(FIELD_SEQUENCE)?, number(FIELD_MINIMUM)?);
        expect(&mut decoder, FIELD_IMAGE)?;
        let image = get(&mut decoder)?;
        expect(&mut decoder, FIELD_STORED)?;
        let stored = get(&mut decoder)?;
        expect(&mut decoder, FIELD_PACKING)?;
        let packing = match (decoder.array()?, decoder.u8()?) {
            (Some(1), PLAIN) => Packing::Plain,
            (Some(1), DEFLATED) => Packing::Deflated,
            (Some(2), DELTA) => Packing::Delta { base: get(&mut decoder)? },
            _ => return Err(ManifestError::Content("packing")),
        };
        let (mut encryption, mut not_before) = (None, None);
        while decoder.position() < bytes.len() {
            match decoder.u8()? {
                FIELD_ENCRYPTION if decoder.array()? == Some(2) => {
                    let (key, nonce) = (decoder.bytes()?.try_into(), decoder.bytes()?.try_into());
                    let (Ok(key), Ok(nonce)) = (key, nonce) else { return Err(ManifestError::Malformed) };
                    encryption = Some(Encryption { key, nonce });
                }
                FIELD_NOT_BEFORE => {
                    let seconds = decoder.i64()?.checked_mul(1000).ok_or(ManifestError::Malformed)?;
                    not_before = Some(UnixMillis(seconds));
                }
                _ => return Err(ManifestError::Malformed),
            }
        }
        Ok(Self {
            vendor,
            device_type,
            hardware,
            version,
            sequence,
            minimum_previous,
            image,
            stored,
            packing,
            encryption,
            not_before,
        })
    }
}

impl fmt::Display for Manifest {
    /// What the package is, in a few lines for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} for {}", self.vendor, self.device_type, self.hardware.join(", "))?;
        writeln!(f, "version {}, sequence {}", self.version, self.sequence)?;
        if self.minimum_previous > 0 {
            writeln!(f, "installs over sequence {} or later", self.minimum_previous)?;
        }
        writeln!(f, "image {} bytes, SHA-384 {}", self.image.size, self.image.digest)?;
        let packed = match self.packing {
            Packing::Plain => "as it is".to_string(),
            Packing::Deflated => "deflated".to_string(),
            Packing::Delta { base } => alloc::format!("as differences from {}", base.digest),
        };
        let enciphered = if self.encryption.is_some() { ", enciphered to the device class" } else { "" };
        write!(f, "carried {packed} in {} bytes{enciphered}", self.stored.size)?;
        match self.not_before {
            Some(time) => write!(f, "\nnot to be activated before {time}"),
            None => Ok(()),
        }
    }
}

type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

fn put(encoder: &mut Encoder<Vec<u8>>, digests: &Digests) -> Written {
    encoder.array(2)?.bytes(&digests.digest.0)?.u64(digests.size)?.ok()
}

fn get(decoder: &mut Decoder<'_>) -> Result<Digests, ManifestError> {
    if decoder.array()? != Some(2) {
        return Err(ManifestError::Malformed);
    }
    let digest = Digest384(decoder.bytes()?.try_into().map_err(|_| ManifestError::Malformed)?);
    Ok(Digests { digest, size: decoder.u64()? })
}

fn expect(decoder: &mut Decoder<'_>, field: u8) -> Result<(), ManifestError> {
    if decoder.u8()? == field { Ok(()) } else { Err(ManifestError::Malformed) }
}

fn text(decoder: &mut Decoder<'_>, field: u8) -> Result<String, ManifestError> {
    expect(decoder, field)?;
    Ok(decoder.str()?.to_string())
}

/// What is wrong with a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// Not the CBOR of a manifest.
    Malformed,
    /// Another version of the format.
    Version(u64),
    /// This field is empty, out of range, or contradicts another.
    Content(&'static str),
}

impl From<minicbor::decode::Error> for ManifestError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("what is signed is no firmware manifest"),
            Self::Version(found) => write!(
                f,
                "the manifest has format version {found}, this program reads version {VERSION}; update it"
            ),
            Self::Content(field) => {
                write!(f, "the manifest's field \"{field}\" is missing, out of range or contradictory")
            }
        }
    }
}

impl core::error::Error for ManifestError {}

// Map keys, in the order in which they stand; never reused.
const FIELD_VERSION: u8 = 0;
const FIELD_VENDOR: u8 = 1;
const FIELD_DEVICE_TYPE: u8 = 2;
const FIELD_HARDWARE: u8 = 3;
const FIELD_NAME: u8 = 4;
const FIELD_SEQUENCE: u8 = 5;
const FIELD_MINIMUM: u8 = 6;
const FIELD_IMAGE: u8 = 7;
const FIELD_STORED: u8 = 8;
const FIELD_PACKING: u8 = 9;
const FIELD_ENCRYPTION: u8 = 10;
const FIELD_NOT_BEFORE: u8 = 11;

const PLAIN: u8 = 0;
const DEFLATED: u8 = 1;
const DELTA: u8 = 2;
