//! The mark: who tested which device type with which firmware, how far, until when, and what was *not* tested.
//!
//! A mark is a deterministic CBOR map in an [`envelope`], signed by a certification key. It is
//! only as good as the signatory's authority (design, decision 11): the scope says what kind of test stands behind it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use meterseal_model::{Digest384, UnixMillis};
use minicbor::Decoder;

use crate::envelope::{self, EnvelopeError, written};
use crate::key::{KeyId, SealPublicKey, Signer};
use crate::requirements;

/// The content type in a mark's envelope.
pub const CONTENT_TYPE: &str = "application/vnd.meterseal.mark+cbor";

/// The version of the mark's format that is written and read.
pub const VERSION: u64 = 1;

/// The longest text in a mark, in bytes.
pub const MAX_TEXT: usize = 128;

/// The most entries in [`Mark::not_tested`].
pub const MAX_NOT_TESTED: usize = 256;

/// What kind of test stands behind a mark (design, decision 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Scope {
    /// None: a developer's own meters.
    Development = 0,
    /// The bench, on a virtual meter.
    Virtual = 1,
    /// A laboratory, on hardware.
    Laboratory = 2,
}

impl Scope {
    /// The name in configuration, API and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Virtual => "virtual",
            Self::Laboratory => "laboratory",
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Development, Self::Virtual, Self::Laboratory].into_iter().find(|scope| *scope as u8 == number)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A mark's content. Times are whole seconds: fractions are cut off when it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The device type, exactly as the meter states it.
    pub device_type: String,
    /// The hardware that was tested, for example its revision; `virtual` for a simulated meter.
    pub hardware: String,
    /// SHA-384 of the firmware image that was tested.
    pub firmware_digest: Digest384,
    /// The version of the catalogue of requirements.
    pub catalogue_version: String,
    /// SHA-384 of the results that the mark rests upon, where there are any.
    pub results_digest: Option<Digest384>,
    /// What kind of test stands behind it.
    pub scope: Scope,
    /// Identifiers of the requirements that were not tested.
    pub not_tested: Vec<String>,
    /// When it was signed.
    pub issued: UnixMillis,
    /// The first moment at which it is valid.
    pub valid_from: UnixMillis,
    /// The first moment at which it is no longer valid.
    pub valid_until: UnixMillis,
    /// Who signed it, as people know them.
    pub signatory: String,
}

impl Mark {
    /// A development mark: it claims nothing, and lists every requirement as not tested.
    pub fn development(
        device_type: &str,
        hardware: &str,
        firmware_digest: Digest384,
        signatory: &str,
        valid_from: UnixMillis,
        valid_until: UnixMillis,
    ) -> Self {
        Self {
            device_type: device_type.to_string(),
            hardware: hardware.to_string(),
            firmware_digest,
            catalogue_version: requirements::CATALOGUE_VERSION.to_string(),
            results_digest: None,
            scope: Scope::Development,
            not_tested: requirements::ALL.iter().map(|requirement| requirement.id.to_string()).collect(),
            issued: valid_from,
            valid_from,
            valid_until,
            signatory: signatory.to_string(),
        }
    }

    /// Signs the mark.
    ///
    /// # Errors
    /// [`MarkError::Content`] when a field is out of bounds; [`MarkError::Envelope`] when the key cannot sign.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Vec<u8>, MarkError> {
        let mut out = Vec::new();
        envelope::sign1(CONTENT_TYPE, &self.encode()?, signer, &mut out)?;
        Ok(out)
    }

    /// Verifies a signed mark against the certification keys that are trusted, and reads it. Whether it is valid
    /// *now* and *here* is decided by [`admit`](crate::admission::admit).
    ///
    /// # Errors
    /// [`MarkError`] when the seal does not verify, or what it covers is not a mark of version [`VERSION`].
    pub fn verify(bytes: &[u8], keys: &[SealPublicKey]) -> Result<VerifiedMark, MarkError> {
        let verified = envelope::verify1(bytes, CONTENT_TYPE, keys)?;
        Ok(VerifiedMark { mark: Self::decode(verified.payload)?, signer: verified.signer })
    }

    /// The mark as CBOR, without a signature.
    ///
    /// # Errors
    /// [`MarkError::Content`] when a field is out of bounds.
    pub fn encode(&self) -> Result<Vec<u8>, MarkError> {
        self.check()?;
        Ok(self.to_cbor())
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    ///
    /// # Errors
    /// [`MarkError::Version`] for another version, [`MarkError::Malformed`] or [`MarkError::Content`] otherwise.
    pub fn decode(bytes: &[u8]) -> Result<Self, MarkError> {
        let mark = Self::from_cbor(bytes)?;
        mark.check()?;
        // One mark, one encoding: two different files never mean the same mark.
        if mark.to_cbor() != bytes {
            return Err(MarkError::Malformed);
        }
        Ok(mark)
    }

    fn check(&self) -> Result<(), MarkError> {
        let texts = [
            ("device type", &self.device_type),
            ("hardware", &self.hardware),
            ("catalogue version", &self.catalogue_version),
            ("signatory", &self.signatory),
        ];
        let named = texts.into_iter().chain(self.not_tested.iter().map(|id| ("not tested", id)));
        for (field, text) in named {
            if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
                return Err(MarkError::Content(field));
            }
        }
        if self.not_tested.len() > MAX_NOT_TESTED {
            return Err(MarkError::Content("not tested"));
        }
        if self.valid_from.seconds() >= self.valid_until.seconds() {
            return Err(MarkError::Content("validity"));
        }
        Ok(())
    }

    fn to_cbor(&self) -> Vec<u8> {
        written(|encoder| {
            let fields = if self.results_digest.is_some() { 12 } else { 11 };
            encoder.map(fields)?.u8(FIELD_VERSION)?.u64(VERSION)?;
            encoder.u8(FIELD_DEVICE_TYPE)?.str(&self.device_type)?;
            encoder.u8(FIELD_HARDWARE)?.str(&self.hardware)?;
            encoder.u8(FIELD_FIRMWARE_DIGEST)?.bytes(&self.firmware_digest.0)?;
            encoder.u8(FIELD_CATALOGUE_VERSION)?.str(&self.catalogue_version)?;
            if let Some(digest) = self.results_digest {
                encoder.u8(FIELD_RESULTS_DIGEST)?.bytes(&digest.0)?;
            }
            encoder.u8(FIELD_SCOPE)?.u8(self.scope as u8)?;
            encoder.u8(FIELD_NOT_TESTED)?.array(self.not_tested.len() as u64)?;
            for id in &self.not_tested {
                encoder.str(id)?;
            }
            encoder.u8(FIELD_ISSUED)?.i64(self.issued.seconds())?;
            encoder.u8(FIELD_VALID_FROM)?.i64(self.valid_from.seconds())?;
            encoder.u8(FIELD_VALID_UNTIL)?.i64(self.valid_until.seconds())?;
            encoder.u8(FIELD_SIGNATORY)?.str(&self.signatory)?.ok()
        })
    }

    fn from_cbor(bytes: &[u8]) -> Result<Self, MarkError> {
        let mut decoder = Decoder::new(bytes);
        let fields = decoder.map()?;
        expect(&mut decoder, FIELD_VERSION)?;
        match decoder.u64()? {
            VERSION => {}
            other => return Err(MarkError::Version(other)),
        }
        let device_type = text(&mut decoder, FIELD_DEVICE_TYPE)?;
        let hardware = text(&mut decoder, FIELD_HARDWARE)?;
        let firmware_digest = digest(&mut decoder, FIELD_FIRMWARE_DIGEST)?;
        let catalogue_version = text(&mut decoder, FIELD_CATALOGUE_VERSION)?;
        let results_digest = match fields {
            Some(11) => None,
            Some(12) => Some(digest(&mut decoder, FIELD_RESULTS_DIGEST)?),
            _ => return Err(MarkError::Malformed),
        };
        expect(&mut decoder, FIELD_SCOPE)?;
        let scope = Scope::from_number(decoder.u8()?).ok_or(MarkError::Content("scope"))?;
        expect(&mut decoder, FIELD_NOT_TESTED)?;
        let count = decoder.array()?.filter(|&count| count <= MAX_NOT_TESTED as u64);
        let count = count.ok_or(MarkError::Content("not tested"))?;
        let not_tested =
            (0..count).map(|_| Ok(decoder.str()?.to_string())).collect::<Result<Vec<_>, MarkError>>()?;
        Ok(Self {
            device_type,
            hardware,
            firmware_digest,
            catalogue_version,
            results_digest,
            scope,
            not_tested,
            issued: seconds(&mut decoder, FIELD_ISSUED)?,
            valid_from: seconds(&mut decoder, FIELD_VALID_FROM)?,
            valid_until: seconds(&mut decoder, FIELD_VALID_UNTIL)?,
            signatory: text(&mut decoder, FIELD_SIGNATORY)?,
        })
    }
}

impl fmt::Display for Mark {
    /// What the mark says, in a sentence or two for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} mark for {} ({}), firmware {}, by {}, valid from {} until {}.",
            self.scope,
            self.device_type,
            self.hardware,
            self.firmware_digest,
            self.signatory,
            self.valid_from,
            self.valid_until
        )?;
        if self.not_tested.is_empty() {
            return Ok(());
        }
        f.write_str(" Not tested:")?;
        for (place, id) in self.not_tested.iter().enumerate() {
            write!(f, "{} {id}", if place == 0 { "" } else { "," })?;
        }
        f.write_str(".")
    }
}

/// A mark whose signature has been verified. There is no other way to make one than [`Mark::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedMark {
    mark: Mark,
    signer: KeyId,
}

impl VerifiedMark {
    /// What it says.
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// The certification key that signed it.
    pub fn signer(&self) -> KeyId {
        self.signer
    }
}

/// What is wrong with a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkError {
    /// The envelope around it.
    Envelope(EnvelopeError),
    /// Not the CBOR of a mark.
    Malformed,
    /// Another version of the format.
    Version(u64),
    /// This field is empty, too long, or contradicts itself.
    Content(&'static str),
}

impl fmt::Display for MarkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope(error) => error.fmt(f),
            Self::Malformed => f.write_str("the sealed content is not a mark"),
            Self::Version(found) => {
                write!(
                    f,
                    "the mark has format version {found}, this program reads version {VERSION}; update it"
                )
            }
            Self::Content(field) => {
                write!(f, "the mark's field \"{field}\" is missing, too long or contradictory")
            }
        }
    }
}

impl core::error::Error for MarkError {}

impl From<EnvelopeError> for MarkError {
    fn from(error: EnvelopeError) -> Self {
        Self::Envelope(error)
    }
}

impl From<minicbor::decode::Error> for MarkError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Malformed
    }
}

fn expect(decoder: &mut Decoder<'_>, field: u8) -> Result<(), MarkError> {
    if decoder.u8()? == field { Ok(()) } else { Err(MarkError::Malformed) }
}

fn text(decoder: &mut Decoder<'_>, field: u8) -> Result<String, MarkError> {
    expect(decoder, field)?;
    Ok(decoder.str()?.to_string())
}

fn digest(decoder: &mut Decoder<'_>, field: u8) -> Result<Digest384, MarkError> {
    expect(decoder, field)?;
    Ok(Digest384(decoder.bytes()?.try_into().map_err(|_| MarkError::Malformed)?))
}

fn seconds(decoder: &mut Decoder<'_>, field: u8) -> Result<UnixMillis, MarkError> {
    expect(decoder, field)?;
    Ok(UnixMillis(decoder.i64()?.checked_mul(1000).ok_or(MarkError::Malformed)?))
}

// Map keys, in the order in which they stand; never reused.
const FIELD_VERSION: u8 = 0;
const FIELD_DEVICE_TYPE: u8 = 1;
const FIELD_HARDWARE: u8 = 2;
const FIELD_FIRMWARE_DIGEST: u8 = 3;
const FIELD_CATALOGUE_VERSION: u8 = 4;
const FIELD_RESULTS_DIGEST: u8 = 5;
const FIELD_SCOPE: u8 = 6;
const FIELD_NOT_TESTED: u8 = 7;
const FIELD_ISSUED: u8 = 8;
const FIELD_VALID_FROM: u8 = 9;
const FIELD_VALID_UNTIL: u8 = 10;
const FIELD_SIGNATORY: u8 = 11;
