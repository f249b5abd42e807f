//! What takes a mark back: a list, signed by the certification key that signed the marks, with a number that only grows.
//! It names a mark by SHA-384 of its file.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use meterseal_model::{Digest384, UnixMillis};
use minicbor::Decoder;

use super::{MarkError, is_text};
use crate::envelope::{self, written};
use crate::key::{KeyId, SealPublicKey, Signer};

/// The content type in a list's envelope.
pub const CONTENT_TYPE: &str = "application/vnd.meterseal.mark-revocations+cbor";

/// The version of the list's format.
pub const VERSION: u64 = 1;

/// The most marks on a list: what fits an envelope.
pub const MAX_ENTRIES: usize = 300;

/// A list of revoked marks. Times are whole seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRevocations {
    /// Its number: of two lists by one key, the one with the higher number counts.
    pub number: u64,
    /// When it was signed.
    pub issued: UnixMillis,
    /// What was revoked, in ascending order of the marks' names, each once.
    pub entries: Vec<RevokedMark>,
}

/// One revoked mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedMark {
    /// SHA-384 of the mark's file.
    pub mark: Digest384,
    /// When.
    pub at: UnixMillis,
    /// Why, in a few words.
    pub reason: String,
}

/// A list whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedMarkRevocations {
    /// What it says.
    pub list: MarkRevocations,
    /// Which key signed it. It speaks for marks by that key only.
    pub signer: KeyId,
}

impl MarkRevocations {
    /// An empty list with number 0, which any other follows.
    pub const fn new() -> Self {
        Self { number: 0, issued: UnixMillis(0), entries: Vec::new() }
    }

    /// The next list, on which this mark stands, too. `false`: it stood there before, and nothing changed.
    ///
    /// # Errors
    /// [`MarkError::Content`] when the list is full.
    pub fn revoke(&mut self, mark: Digest384, reason: &str, at: UnixMillis) -> Result<bool, MarkError> {
        let Err(place) = self.entries.binary_search_by(|entry| entry.mark.0.cmp(&mark.0)) else {
            return Ok(false);
        };
        if self.entries.len() >= MAX_ENTRIES {
            return Err(MarkError::Content("number of revoked marks"));
        }
        self.entries.insert(place, RevokedMark { mark, at, reason: reason.to_string() });
        self.number += 1;
        self.issued = at;
        Ok(true)
    }

    /// The entry of a mark.
    pub fn find(&self, mark: &Digest384) -> Option<&RevokedMark> {
        self.entries.iter().find(|entry| entry.mark == *mark)
    }

    /// Signs it.
    ///
    /// # Errors
    /// [`MarkError::Content`] when a field is out of bounds, [`MarkError::Envelope`] when the key cannot sign.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Vec<u8>, MarkError> {
        self.check()?;
        let mut out = Vec::new();
        envelope::sign1(CONTENT_TYPE, &self.to_cbor(), signer, &mut out)?;
        Ok(out)
    }

    /// Verifies and reads a list.
    ///
    /// # Errors
    /// [`MarkError`] when its seal does not verify, or it covers no list of [`VERSION`].
    pub fn verify(bytes: &[u8], keys: &[SealPublicKey]) -> Result<VerifiedMarkRevocations, MarkError> {
        let verified = envelope::verify1(bytes, CONTENT_TYPE, keys)?;
        let list = Self::from_cbor(verified.payload)?;
        list.check()?;
        if list.to_cbor() != verified.payload {
            return Err(MarkError::Malformed);
        }
        Ok(VerifiedMarkRevocations { list, signer: verified.signer })
    }

    fn check(&self) -> Result<(), MarkError> {
        if self.number == 0 || self.entries.len() > MAX_ENTRIES {
            return Err(MarkError::Content("number"));
        }
        if !self.entries.windows(2).all(|pair| pair[0].mark.0 < pair[1].mark.0) {
            return Err(MarkError::Content("order"));
        }
        if !self.entries.iter().all(|entry| is_text(&entry.reason)) {
            return Err(MarkError::Content("reason"));
        }
        Ok(())
    }

    fn to_cbor(&self) -> Vec<u8> {
        written(|encoder| {
            encoder.array(4)?.u64(VERSION)?.u64(self.number)?.i64(self.issued.seconds())?;
            encoder.array(self.entries.len() as u64)?;
            for entry in &self.entries {
                encoder.array(3)?.bytes(&entry.mark.0)?.i64(entry.at.seconds())?.str(&entry.reason)?;
            }
            Ok(())
        })
    }

    fn from_cbor(bytes: &[u8]) -> Result<Self, MarkError> {
        let mut decoder = Decoder::new(bytes);
        if decoder.array()? != Some(4) {
            return Err(MarkError::Malformed);
        }
        match decoder.u64()? {
            VERSION => {}
            other => return Err(MarkError::Version(other)),
        }
        let number = decoder.u64()?;
        let issued = seconds(&mut decoder)?;
        let count = decoder.array()?.filter(|&count| count <= MAX_ENTRIES as u64);
        let mut entries = Vec::new();
        for _ in 0..count.ok_or(MarkError::Malformed)? {
            if decoder.array()? != Some(3) {
                return Err(MarkError::Malformed);
            }
            let mark = Digest384(decoder.bytes()?.try_into().map_err(|_| MarkError::Malformed)?);
            entries.push(RevokedMark {
                mark,
                at: seconds(&mut decoder)?,
                reason: decoder.str()?.to_string(),
            });
        }
        Ok(Self { number, issued, entries })
    }
}

impl Default for MarkRevocations {
    fn default() -> Self {
        Self::new()
    }
}

fn seconds(decoder: &mut Decoder<'_>) -> Result<UnixMillis, MarkError> {
    Ok(UnixMillis(decoder.i64()?.checked_mul(1000).ok_or(MarkError::Malformed)?))
}
