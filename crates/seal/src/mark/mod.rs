//! The mark: who tested which device type with which firmware, how far, until when, and what was *not* tested.
//!
//! A mark is a deterministic CBOR map in an [`envelope`], signed by a certification key. It is
//! only as good as the signatory's authority (design, decision 11): the scope says what kind of test stands behind it.
//! [`findings`] makes one of a certification's results, [`revocation`] takes one back, [`check`] says in words what one
//! covers, [`code`] writes one as the text of a QR code.

mod cbor;
pub mod check;
pub mod code;
pub mod coverage;
pub mod findings;
pub mod revocation;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use meterseal_model::{Digest384, UnixMillis};
use sha2::{Digest as _, Sha384};

use crate::envelope::{self, EnvelopeError};
use crate::key::{KeyId, SealPublicKey, Signer};
use crate::requirements;

pub use coverage::Coverage;
pub use findings::{Findings, Found, Ground, MarkRefused, Terms, Verdict};
pub use revocation::{MarkRevocations, RevokedMark, VerifiedMarkRevocations};

/// The content type in a mark's envelope.
pub const CONTENT_TYPE: &str = "application/vnd.meterseal.mark+cbor";

/// The version of the mark's format that is written and read. Marks of version 1 named no catalogue and said of a
/// requirement only whether it was tested; there were none but development marks, and they are made anew.
pub const VERSION: u64 = 2;

/// The longest text in a mark, in bytes.
pub const MAX_TEXT: usize = 128;

/// The name of a signed mark: SHA-384 of the file, all of it.
pub fn name_of(signed: &[u8]) -> Digest384 {
    Digest384(Sha384::digest(signed).into())
}

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
    /// SHA-384 of that catalogue.
    pub catalogue_digest: Option<Digest384>,
    /// SHA-384 of `results.cbor`, which the mark rests upon; none for a development mark without a test.
    pub results_digest: Option<Digest384>,
    /// SHA-384 of `report.json`, where there is one.
    pub report_digest: Option<Digest384>,
    /// What kind of test stands behind it.
    pub scope: Scope,
    /// What was tested and what was not, for each requirement of the seed table.
    pub coverage: Vec<Coverage>,
    /// When it was signed.
    pub issued: UnixMillis,
    /// The first moment at which it is valid.
    pub valid_from: UnixMillis,
    /// When its renewal is due: somewhere in its validity, early enough for a test.
    pub renew_from: UnixMillis,
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
            catalogue_digest: None,
            results_digest: None,
            report_digest: None,
            scope: Scope::Development,
            coverage: requirements::ALL.iter().map(|requirement| Coverage::none(requirement.id)).collect(),
            issued: valid_from,
            valid_from,
            renew_from: valid_until,
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
        Ok(VerifiedMark {
            mark: Self::decode(verified.payload)?,
            signer: verified.signer,
            name: name_of(bytes),
        })
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
        for (field, text) in texts {
            if !is_text(text) {
                return Err(MarkError::Content(field));
            }
        }
        coverage::check(&self.coverage)?;
        // Who tested something says by which catalogue, and with which results.
        let tested = self.coverage.iter().any(|coverage| coverage.tested > 0);
        if (tested || self.scope != Scope::Development) && self.results_digest.is_none() {
            return Err(MarkError::Content("results digest"));
        }
        if self.results_digest.is_some() != self.catalogue_digest.is_some()
            || (self.report_digest.is_some() && self.results_digest.is_none())
        {
            return Err(MarkError::Content("catalogue digest"));
        }
        if self.valid_from.seconds() >= self.valid_until.seconds() {
            return Err(MarkError::Content("validity"));
        }
        if self.renew_from.seconds() < self.valid_from.seconds()
            || self.renew_from.seconds() > self.valid_until.seconds()
        {
            return Err(MarkError::Content("renewal"));
        }
        Ok(())
    }

    /// Everything that was not tested: a requirement of the seed table of which nothing was, or the identifiers of the
    /// detailed requirements that were not. Each once.
    pub fn not_tested(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for coverage in &self.coverage {
            let ids = coverage.not_tested.iter().map(String::as_str);
            let whole = (coverage.tested == 0).then_some(coverage.requirement.as_str());
            for id in whole.into_iter().chain(ids) {
                if !all.contains(&id) {
                    all.push(id);
                }
            }
        }
        all
    }

    /// Whether everything that it lists was tested.
    pub fn is_whole(&self) -> bool {
        self.not_tested().is_empty()
    }
}

/// Whether a text may stand in a mark: not empty, not longer than [`MAX_TEXT`], without control characters.
fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
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
        let not_tested = self.not_tested();
        if not_tested.is_empty() {
            return Ok(());
        }
        f.write_str(" Not tested:")?;
        for (place, id) in not_tested.iter().enumerate() {
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
    name: Digest384,
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

    /// SHA-384 of the signed file, by which a revocation names it ([`name_of`]).
    pub fn name(&self) -> Digest384 {
        self.name
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
            Self::Version(found @ ..VERSION) => {
                write!(
                    f,
                    "the mark has format version {found}, which says less than a mark must say today; have it made anew \
                     (version {VERSION})"
                )
            }
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
