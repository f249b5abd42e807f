//! The envelope with several signatures: COSE_Sign (RFC 9052, 4.1), each signer with ES384 and ML-DSA-87, deterministic
//! CBOR, and nothing optional.
//!
//! A reader accepts exactly what [`sign`] writes: tag 98, the protected header {content type}, an empty unprotected
//! header, a payload, and for each signer, in the order of their names, two signatures with the protected header
//! {alg, key id}: ES384 first. Whatever else COSE allows is refused, so no byte of an envelope can change unnoticed.

use alloc::vec::Vec;
use core::fmt;

use minicbor::Decoder;
use minicbor::data::Tag;

use super::signer::{FirmwareKey, FirmwarePublicKey, ML_DSA_SIGNATURE_LENGTH};
use crate::envelope::{MAX_CONTENT_TYPE, MAX_LENGTH, written};
use crate::key::{KeyError, KeyId, SIGNATURE_LENGTH};

/// The most signers of one envelope: nine times 4.8 kB are within the envelope's 64 KiB.
pub const MAX_SIGNERS: usize = 9;

/// An envelope taken apart. That it could be read says nothing about whether its signatures are good.
#[derive(Clone, Debug)]
pub struct Signatures<'a> {
    protected: &'a [u8],
    /// What is said to be signed: only for explaining a refusal, until [`Self::judge`] has counted the signers.
    payload: &'a [u8],
    signers: Vec<Pair<'a>>,
}

/// What one signer has put to it.
#[derive(Clone, Debug)]
struct Pair<'a> {
    id: KeyId,
    elliptic: Option<&'a [u8; SIGNATURE_LENGTH]>,
    lattice: Option<&'a [u8]>,
}

/// What became of one signer's signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Both verify.
    Good,
    /// The other one of the two is missing.
    OneOfTwo,
    /// At least one is not the signer's over this content.
    Bad,
}

/// Signs `payload` as `content_type` with the two keys of every signer.
///
/// # Errors
/// [`SignError`]: too long, no signer, one twice, or a key that cannot sign.
pub fn sign(content_type: &str, payload: &[u8], signers: &[&FirmwareKey]) -> Result<Vec<u8>, SignError> {
    if signers.is_empty() {
        return Err(SignError::Signers);
    }
    let twice = |place: usize| {
        let id = signers[place].public().id();
        signers[..place].iter().any(|before| before.public().id() == id)
    };
    if (0..signers.len()).any(twice) {
        return Err(SignError::Twice);
    }
    if content_type.len() > MAX_CONTENT_TYPE {
        return Err(SignError::TooLong);
    }
    let protected = body_header(content_type);
    let mut signatures = Vec::new();
    for signer in signers {
        signatures.extend(both(&protected, payload, signer)?);
    }
    assemble(&protected, payload, signatures)
}

/// A signer, an algorithm's number, and a signature.
type Signed = (KeyId, i64, Vec<u8>);

/// A signer's two signatures.
fn both(protected: &[u8], payload: &[u8], signer: &FirmwareKey) -> Result<[Signed; 2], SignError> {
    let id = signer.public().id();
    let signed = |algorithm| to_be_signed(protected, &signer_header(algorithm, id), payload);
    let elliptic = signer.sign_elliptic(&signed(ES384)).map_err(SignError::Key)?;
    let lattice = signer.sign_lattice(&signed(ML_DSA_87)).map_err(SignError::Key)?;
    Ok([(id, ES384, elliptic.to_vec()), (id, ML_DSA_87, lattice)])
}

/// The envelope, with signers in the order of their names.
fn assemble(protected: &[u8], payload: &[u8], mut signatures: Vec<Signed>) -> Result<Vec<u8>, SignError> {
    signatures.sort_by_key(|(id, ..)| *id);
    if signatures.len() > 2 * MAX_SIGNERS {
        return Err(SignError::Signers);
    }
    let headers: Vec<_> =
        signatures.iter().map(|(id, algorithm, _)| signer_header(*algorithm, *id)).collect();
    let signed = headers.iter().zip(&signatures);
    let bytes =
        encode(protected, payload, signed.map(|(header, (.., one))| (header.as_slice(), one.as_slice())));
    if bytes.len() > MAX_LENGTH { Err(SignError::TooLong) } else { Ok(bytes) }
}

impl<'a> Signatures<'a> {
    /// Takes an envelope apart that must be of `content_type`.
    ///
    /// # Errors
    /// [`SignError::TooLong`], [`SignError::Malformed`], [`SignError::Algorithm`] or [`SignError::ContentType`].
    pub fn read(bytes: &'a [u8], content_type: &str) -> Result<Self, SignError> {
        if bytes.len() > MAX_LENGTH {
            return Err(SignError::TooLong);
        }
        let mut decoder = Decoder::new(bytes);
        if decoder.tag()? != Tag::new(TAG_SIGN) || decoder.array()? != Some(4) {
            return Err(SignError::Malformed);
        }
        let protected = decoder.bytes()?;
        if decoder.map()? != Some(0) {
            return Err(SignError::Malformed);
        }
        let payload = decoder.bytes()?;
        let count = decoder.array()?.filter(|&count| (1..=2 * MAX_SIGNERS as u64).contains(&count));
        let mut all = Vec::new();
        let mut signers: Vec<Pair<'a>> = Vec::new();
        for _ in 0..count.ok_or(SignError::Signers)? {
            if decoder.array()? != Some(3) {
                return Err(SignError::Malformed);
            }
            let header = decoder.bytes()?;
            if decoder.map()? != Some(0) {
                return Err(SignError::Malformed);
            }
            let signature = decoder.bytes()?;
            all.push((header, signature));
            add(&mut signers, header, signature)?;
        }
        // Minicbor also reads longer forms of the same values; only the one that we would have written is accepted.
        if protected != body_header(content_type) {
            return Err(SignError::ContentType);
        }
        if encode(protected, payload, all.into_iter()) != bytes {
            return Err(SignError::Malformed);
        }
        Ok(Self { protected, payload, signers })
    }

    /// The same content with one signer more, or with a signer's signatures made anew: where signers sit in different
    /// places, each adds to what it was handed.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn with(&self, signer: &FirmwareKey) -> Result<Vec<u8>, SignError> {
        let id = signer.public().id();
        let mut signatures = Vec::new();
        for pair in self.signers.iter().filter(|pair| pair.id != id) {
            let elliptic = pair.elliptic.map(|signature| (ES384, signature.to_vec()));
            let lattice = pair.lattice.map(|signature| (ML_DSA_87, signature.to_vec()));
            signatures.extend(
                [elliptic, lattice]
                    .into_iter()
                    .flatten()
                    .map(|(algorithm, signature)| (pair.id, algorithm, signature)),
            );
        }
        signatures.extend(both(self.protected, self.payload, signer)?);
        assemble(self.protected, self.payload, signatures)
    }

    /// What is said to be signed. Not to be acted upon before enough good signers have been counted.
    pub const fn unverified_payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Who is said to have signed.
    pub fn signers(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.signers.iter().map(|pair| pair.id)
    }

    /// Whether this signer's two signatures are there and good; `None` when it has not signed.
    pub fn judge(&self, key: &FirmwarePublicKey) -> Option<Judgement> {
        let pair = self.signers.iter().find(|pair| pair.id == key.id())?;
        let signed =
            |algorithm| to_be_signed(self.protected, &signer_header(algorithm, pair.id), self.payload);
        let elliptic = pair.elliptic.map(|signature| key.verifies_elliptic(&signed(ES384), signature));
        let lattice = pair.lattice.map(|signature| key.verifies_lattice(&signed(ML_DSA_87), signature));
        Some(match (elliptic, lattice) {
            (Some(true), Some(true)) => Judgement::Good,
            (Some(false), _) | (_, Some(false)) => Judgement::Bad,
            _ => Judgement::OneOfTwo,
        })
    }
}

/// Sorts a signature to its signer; signers stand in the order of their names, ES384 before ML-DSA-87.
fn add<'a>(signers: &mut Vec<Pair<'a>>, header: &'a [u8], signature: &'a [u8]) -> Result<(), SignError> {
    let (algorithm, id) = read_signer_header(header)?;
    let newest = signers.last().map(|pair| (pair.id, pair.lattice.is_some()));
    let continues = newest.is_some_and(|(newest, _)| newest == id);
    if !continues {
        if newest.is_some_and(|(newest, _)| newest > id) {
            return Err(SignError::Malformed);
        }
        signers.push(Pair { id, elliptic: None, lattice: None });
    }
    let Some(pair) = signers.last_mut() else { return Err(SignError::Malformed) };
    match algorithm {
        ES384 if !continues => {
            pair.elliptic = Some(signature.try_into().map_err(|_| SignError::Malformed)?);
        }
        ML_DSA_87 if pair.lattice.is_none() && signature.len() == ML_DSA_SIGNATURE_LENGTH => {
            pair.lattice = Some(signature);
        }
        _ => return Err(SignError::Malformed),
    }
    Ok(())
}

fn body_header(content_type: &str) -> Vec<u8> {
    written(|encoder| encoder.map(1)?.u8(HEADER_CONTENT_TYPE)?.str(content_type)?.ok())
}

fn signer_header(algorithm: i64, id: KeyId) -> Vec<u8> {
    written(|encoder| {
        encoder.map(2)?.u8(HEADER_ALGORITHM)?.i64(algorithm)?.u8(HEADER_KEY_ID)?.bytes(&id.0)?.ok()
    })
}

fn read_signer_header(header: &[u8]) -> Result<(i64, KeyId), SignError> {
    let mut decoder = Decoder::new(header);
    if decoder.map()? != Some(2) || decoder.u8()? != HEADER_ALGORITHM {
        return Err(SignError::Malformed);
    }
    let algorithm = decoder.i64()?;
    if algorithm != ES384 && algorithm != ML_DSA_87 {
        return Err(SignError::Algorithm);
    }
    if decoder.u8()? != HEADER_KEY_ID {
        return Err(SignError::Malformed);
    }
    let id = KeyId(decoder.bytes()?.try_into().map_err(|_| SignError::Malformed)?);
    if signer_header(algorithm, id) == header { Ok((algorithm, id)) } else { Err(SignError::Malformed) }
}

fn encode<'a>(
    protected: &[u8],
    payload: &[u8],
    signatures: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
) -> Vec<u8> {
    written(|encoder| {
        encoder.tag(Tag::new(TAG_SIGN))?.array(4)?.bytes(protected)?.map(0)?.bytes(payload)?;
        encoder.array(signatures.len() as u64)?;
        for (header, signature) in signatures {
            encoder.array(3)?.bytes(header)?.map(0)?.bytes(signature)?;
        }
        Ok(())
    })
}

/// Sig_structure of RFC 9052, 4.4, for one signature of several, without external data.
fn to_be_signed(protected: &[u8], signer: &[u8], payload: &[u8]) -> Vec<u8> {
    written(|encoder| {
        encoder.array(5)?.str("Signature")?.bytes(protected)?.bytes(signer)?.bytes(&[])?.bytes(payload)?.ok()
    })
}

/// What is wrong with an envelope of several signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignError {
    /// Longer than 64 KiB.
    TooLong,
    /// Not a COSE_Sign in the one form that is accepted.
    Malformed,
    /// It names another algorithm than ES384 and ML-DSA-87.
    Algorithm,
    /// It is of another kind than expected.
    ContentType,
    /// No signer, or more than [`MAX_SIGNERS`].
    Signers,
    /// One signer was given twice.
    Twice,
    /// A key could not sign.
    Key(KeyError),
}

impl From<minicbor::decode::Error> for SignError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "what is signed is longer than {MAX_LENGTH} bytes"),
            Self::Malformed => f.write_str("this is no signed file of this kind, or it was damaged"),
            Self::Algorithm => f.write_str("it is signed with another algorithm than ES384 and ML-DSA-87"),
            Self::ContentType => f.write_str("the signed file is of another kind than expected"),
            Self::Signers => write!(f, "it must be signed by 1 to {MAX_SIGNERS} signers"),
            Self::Twice => f.write_str("the same signer was given twice; give each key once"),
            Self::Key(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SignError {}

/// CBOR tag of COSE_Sign (RFC 9052, 2).
const TAG_SIGN: u64 = 98;
/// Header parameters (RFC 9052, 3.1).
const HEADER_ALGORITHM: u8 = 1;
const HEADER_CONTENT_TYPE: u8 = 3;
const HEADER_KEY_ID: u8 = 4;
/// ECDSA with SHA-384 (RFC 9053, 2.1); used with P-384 only.
const ES384: i64 = -35;
/// ML-DSA-87 (IANA COSE algorithms).
const ML_DSA_87: i64 = -50;
