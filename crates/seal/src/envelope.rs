//! The envelope: COSE_Sign1 (RFC 9052, 4.2) with ES384, deterministic CBOR, and nothing optional.
//!
//! A reader accepts exactly what [`sign1`] writes: tag 18, the protected header {alg, content type, key id}, an empty
//! unprotected header, a payload, 96 bytes of signature. Whatever else COSE allows (other algorithms, `crit`,
//! detached payloads, indefinite lengths, longer integers than needed, trailing bytes) is refused, so two different
//! byte strings never carry the same signature.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use minicbor::data::Tag;
use minicbor::{Decoder, Encoder};

use crate::key::{KeyError, KeyId, SIGNATURE_LENGTH, SealPublicKey, Signer};

/// The largest envelope that is read: 64 KiB.
pub const MAX_LENGTH: usize = 64 * 1024;

/// The longest content type, in bytes.
pub const MAX_CONTENT_TYPE: usize = 127;

/// A payload whose signature has been verified, and who signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<'a> {
    /// What was signed.
    pub payload: &'a [u8],
    /// Which of the given keys signed it.
    pub signer: KeyId,
}

/// Signs `payload` as `content_type` and appends the envelope to `out`.
///
/// # Errors
/// [`EnvelopeError::TooLong`] when the result would be longer than [`MAX_LENGTH`] or the content type longer than
/// [`MAX_CONTENT_TYPE`]; [`EnvelopeError::Key`] when the key cannot sign.
pub fn sign1(
    content_type: &str,
    payload: &[u8],
    signer: &dyn Signer,
    out: &mut Vec<u8>,
) -> Result<(), EnvelopeError> {
    let draft = Draft::new(content_type, payload.to_vec(), signer.key_id())?;
    let signature = signer.sign(&draft.to_be_signed()).map_err(EnvelopeError::Key)?;
    out.extend_from_slice(&draft.finish(&signature));
    Ok(())
}

/// An envelope without its signature, for keys that sign elsewhere and later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    protected: Vec<u8>,
    payload: Vec<u8>,
}

impl Draft {
    /// What `key` shall sign as `content_type`.
    ///
    /// # Errors
    /// [`EnvelopeError::TooLong`] when the envelope would be longer than [`MAX_LENGTH`] or the content type longer than
    /// [`MAX_CONTENT_TYPE`].
    pub fn new(content_type: &str, payload: Vec<u8>, key: KeyId) -> Result<Self, EnvelopeError> {
        // 512 bytes are more than the headers, the signature and all length prefixes need together.
        if content_type.len() > MAX_CONTENT_TYPE || payload.len() > MAX_LENGTH - 512 {
            return Err(EnvelopeError::TooLong);
        }
        Ok(Self::within_limits(content_type, payload, key))
    }

    /// As [`new`](Self::new), for what is short by construction.
    pub(crate) fn within_limits(content_type: &str, payload: Vec<u8>, key: KeyId) -> Self {
        Self { protected: protected_header(content_type, key), payload }
    }

    /// The bytes whose SHA-384 is signed.
    pub fn to_be_signed(&self) -> Vec<u8> {
        to_be_signed(&self.protected, &self.payload)
    }

    /// The envelope with its signature, *r* ‖ *s*. Whether it is the right one shows when it is verified.
    pub fn finish(&self, signature: &[u8; SIGNATURE_LENGTH]) -> Vec<u8> {
        encode(&self.protected, &self.payload, signature)
    }
}

/// Verifies an envelope that must be of `content_type` and signed by one of `keys`.
///
/// # Errors
/// See [`EnvelopeError`]; nothing of an envelope that does not verify is given out.
pub fn verify1<'a>(
    bytes: &'a [u8],
    content_type: &str,
    keys: &[SealPublicKey],
) -> Result<Verified<'a>, EnvelopeError> {
    let parts = Parts::read(bytes)?;
    if parts.content_type != content_type {
        return Err(EnvelopeError::ContentType);
    }
    let key = keys
        .iter()
        .find(|key| key.key_id() == parts.key_id)
        .ok_or(EnvelopeError::UnknownKey(parts.key_id))?;
    if !key.verifies(&to_be_signed(parts.protected, parts.payload), parts.signature) {
        return Err(EnvelopeError::Signature);
    }
    Ok(Verified { payload: parts.payload, signer: parts.key_id })
}

/// Reads who *claims* to have signed and what, without verifying: only for explaining a refusal.
pub(crate) fn unverified<'a>(bytes: &'a [u8], content_type: &str) -> Option<Verified<'a>> {
    let parts = Parts::read(bytes).ok()?;
    (parts.content_type == content_type).then_some(Verified { payload: parts.payload, signer: parts.key_id })
}

/// What is wrong with an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Longer than [`MAX_LENGTH`], or a content type longer than [`MAX_CONTENT_TYPE`].
    TooLong,
    /// Not a COSE_Sign1 in the one form that is accepted.
    Malformed,
    /// It names another algorithm than ES384.
    Algorithm,
    /// It says of itself that it is something else.
    ContentType,
    /// It was signed with a key that is not among those trusted here.
    UnknownKey(KeyId),
    /// The signature is not that of its content.
    Signature,
    /// The key could not sign.
    Key(KeyError),
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the sealed file is longer than {MAX_LENGTH} bytes"),
            Self::Malformed => f.write_str("this is not a sealed file, or it was damaged"),
            Self::Algorithm => f.write_str("the seal uses another signature algorithm than ES384"),
            Self::ContentType => f.write_str("the sealed file is of another kind than expected"),
            Self::UnknownKey(id) => write!(f, "the seal was made with key {id}, which is not trusted here"),
            Self::Signature => f.write_str("the seal is broken: the content is not what was signed"),
            Self::Key(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for EnvelopeError {}

/// An envelope taken apart.
struct Parts<'a> {
    protected: &'a [u8],
    content_type: &'a str,
    key_id: KeyId,
    payload: &'a [u8],
    signature: &'a [u8; SIGNATURE_LENGTH],
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_LENGTH {
            return Err(EnvelopeError::TooLong);
        }
        let malformed = |_: minicbor::decode::Error| EnvelopeError::Malformed;
        let mut decoder = Decoder::new(bytes);
        if decoder.tag().map_err(malformed)? != Tag::new(TAG_SIGN1)
            || decoder.array().map_err(malformed)? != Some(4)
        {
            return Err(EnvelopeError::Malformed);
        }
        let protected = decoder.bytes().map_err(malformed)?;
        if decoder.map().map_err(malformed)? != Some(0) {
            return Err(EnvelopeError::Malformed);
        }
        let payload = decoder.bytes().map_err(malformed)?;
        let signature = decoder.bytes().map_err(malformed)?;
        let signature = signature.try_into().map_err(|_| EnvelopeError::Malformed)?;
        let (content_type, key_id) = Self::read_protected(protected)?;

        // Minicbor also reads longer forms of the same values; only the one that we would have written is accepted.
        if protected_header(content_type, key_id) != protected
            || encode(protected, payload, signature) != bytes
        {
            return Err(EnvelopeError::Malformed);
        }
        Ok(Self { protected, content_type, key_id, payload, signature })
    }

    fn read_protected(protected: &'a [u8]) -> Result<(&'a str, KeyId), EnvelopeError> {
        let malformed = |_: minicbor::decode::Error| EnvelopeError::Malformed;
        let mut decoder = Decoder::new(protected);
        if decoder.map().map_err(malformed)? != Some(3)
            || decoder.u8().map_err(malformed)? != HEADER_ALGORITHM
        {
            return Err(EnvelopeError::Malformed);
        }
        if decoder.i64().map_err(malformed)? != ES384 {
            return Err(EnvelopeError::Algorithm);
        }
        if decoder.u8().map_err(malformed)? != HEADER_CONTENT_TYPE {
            return Err(EnvelopeError::Malformed);
        }
        let content_type = decoder.str().map_err(malformed)?;
        if content_type.len() > MAX_CONTENT_TYPE || decoder.u8().map_err(malformed)? != HEADER_KEY_ID {
            return Err(EnvelopeError::Malformed);
        }
        let key_id = decoder.bytes().map_err(malformed)?.try_into().map_err(|_| EnvelopeError::Malformed)?;
        Ok((content_type, KeyId(key_id)))
    }
}

fn protected_header(content_type: &str, key_id: KeyId) -> Vec<u8> {
    written(|encoder| {
        encoder
            .map(3)?
            .u8(HEADER_ALGORITHM)?
            .i64(ES384)?
            .u8(HEADER_CONTENT_TYPE)?
            .str(content_type)?
            .u8(HEADER_KEY_ID)?
            .bytes(&key_id.0)?
            .ok()
    })
}

fn encode(protected: &[u8], payload: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> Vec<u8> {
    written(|encoder| {
        encoder
            .tag(Tag::new(TAG_SIGN1))?
            .array(4)?
            .bytes(protected)?
            .map(0)?
            .bytes(payload)?
            .bytes(signature)?
            .ok()
    })
}

/// Sig_structure of RFC 9052, 4.4, without external data.
fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    written(|encoder| encoder.array(4)?.str("Signature1")?.bytes(protected)?.bytes(&[])?.bytes(payload)?.ok())
}

/// What `write` encodes. Writing into a `Vec` has no error to return.
pub(crate) fn written(
    write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Result<(), minicbor::encode::Error<Infallible>>,
) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    let outcome = write(&mut encoder);
    debug_assert!(outcome.is_ok(), "a Vec takes every write");
    encoder.into_writer()
}

/// CBOR tag of COSE_Sign1 (RFC 9052, 2).
const TAG_SIGN1: u64 = 18;
/// Header parameters (RFC 9052, 3.1).
const HEADER_ALGORITHM: u8 = 1;
const HEADER_CONTENT_TYPE: u8 = 3;
const HEADER_KEY_ID: u8 = 4;
/// ECDSA with SHA-384 (RFC 9053, 2.1); used with P-384 only.
const ES384: i64 = -35;
