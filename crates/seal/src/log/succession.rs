//! A new log in place of an old one: a meter whose flash was replaced or formatted starts anew, and its maker or utility
//! vouches that this was done on purpose (design, decision 18). Without it, another log is a breach.

use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::fmt;

use meterseal_model::{MeterId, UnixMillis};
use minicbor::Decoder;

use super::{LogHash, LogId};
use crate::envelope::{self, Draft, EnvelopeError, written};
use crate::key::{KeyId, SealPublicKey, Signer};

/// The content type in a succession's envelope.
pub const CONTENT_TYPE: &str = "application/vnd.meterseal.succession+cbor";

/// The version of the format that is written and read.
pub const VERSION: u64 = 1;

/// What an authority signs when a meter's log is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// Which meter.
    pub meter: MeterId,
    /// The log that ended.
    pub old: LogId,
    /// How many leaves of it are known, and their root: what lies behind them is lost.
    pub old_size: u64,
    /// Their root.
    pub old_root: LogHash,
    /// The log that begins.
    pub new: LogId,
    /// The key that seals it (SubjectPublicKeyInfo, DER): the old one, or another.
    pub new_key: SealPublicKey,
    /// When it was signed.
    pub time: UnixMillis,
}

impl Succession {
    /// Signs it.
    ///
    /// # Errors
    /// [`SuccessionError::Envelope`] when the key cannot sign.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Vec<u8>, SuccessionError> {
        // What it holds cannot be too long.
        let draft = Draft::within_limits(CONTENT_TYPE, self.encode(), signer.key_id());
        let signature = signer.sign(&draft.to_be_signed()).map_err(EnvelopeError::Key)?;
        Ok(draft.finish(&signature))
    }

    /// Verifies it against the authorities that may replace a log, and reads it.
    ///
    /// # Errors
    /// [`SuccessionError`] when the seal does not verify, or what it covers is none of version [`VERSION`].
    pub fn verify(bytes: &[u8], keys: &[SealPublicKey]) -> Result<(Self, KeyId), SuccessionError> {
        let verified = envelope::verify1(bytes, CONTENT_TYPE, keys)?;
        Ok((Self::decode(verified.payload)?, verified.signer))
    }

    fn encode(&self) -> Vec<u8> {
        written(|encoder| {
            encoder.array(8)?.u64(VERSION)?.str(&self.meter.to_string())?;
            encoder.bytes(&self.old.0)?.u64(self.old_size)?.bytes(&self.old_root.0)?;
            encoder.bytes(&self.new.0)?.bytes(&self.new_key.to_der())?.i64(self.time.0)?.ok()
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, SuccessionError> {
        const MALFORMED: SuccessionError = SuccessionError::Malformed;
        let mut decoder = Decoder::new(bytes);
        if decoder.array()? != Some(8) {
            return Err(MALFORMED);
        }
        match decoder.u64()? {
            VERSION => {}
            other => return Err(SuccessionError::Version(other)),
        }
        let succession = Self {
            meter: decoder.str()?.parse().map_err(|_| MALFORMED)?,
            old: LogId(decoder.bytes()?.try_into().map_err(|_| MALFORMED)?),
            old_size: decoder.u64()?,
            old_root: LogHash(decoder.bytes()?.try_into().map_err(|_| MALFORMED)?),
            new: LogId(decoder.bytes()?.try_into().map_err(|_| MALFORMED)?),
            new_key: SealPublicKey::from_der(decoder.bytes()?).map_err(|_| MALFORMED)?,
            time: UnixMillis(decoder.i64()?),
        };
        if succession.encode() == bytes { Ok(succession) } else { Err(MALFORMED) }
    }
}

/// What is wrong with a succession.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuccessionError {
    /// The envelope around it.
    Envelope(EnvelopeError),
    /// Not the CBOR of one.
    Malformed,
    /// Another version of the format.
    Version(u64),
}

impl From<EnvelopeError> for SuccessionError {
    fn from(error: EnvelopeError) -> Self {
        Self::Envelope(error)
    }
}

impl From<minicbor::decode::Error> for SuccessionError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for SuccessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope(error) => error.fmt(f),
            Self::Malformed => f.write_str("the sealed content does not say which log follows which"),
            Self::Version(found) => {
                write!(f, "it has format version {found}, this program reads version {VERSION}; update it")
            }
        }
    }
}

impl core::error::Error for SuccessionError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::fixed_key;

    #[test]
    fn only_an_authority_replaces_a_log_and_no_byte_of_it_can_be_altered() {
        let (authority, stranger) = (fixed_key(1), fixed_key(2));
        let succession = Succession {
            meter: "MSL0000000001".parse().unwrap(),
            old: LogId([1; 16]),
            old_size: 1000,
            old_root: LogHash([2; 32]),
            new: LogId([3; 16]),
            new_key: fixed_key(4).public().clone(),
            time: UnixMillis(1_795_373_820_250),
        };
        let signed = succession.sign(&authority).unwrap();
        let keys = [authority.public().clone()];
        assert_eq!(Succession::verify(&signed, &keys), Ok((succession.clone(), authority.key_id())));
        let strange = succession.sign(&stranger).unwrap();
        assert_eq!(
            Succession::verify(&strange, &keys),
            Err(SuccessionError::Envelope(EnvelopeError::UnknownKey(stranger.key_id())))
        );
        for place in 0..signed.len() {
            let mut altered = signed.clone();
            altered[place] ^= 1;
            assert!(Succession::verify(&altered, &keys).is_err(), "byte {place}");
        }
        // A checkpoint's seal is none of these, whoever made it.
        let mut other = Vec::new();
        envelope::sign1(super::super::checkpoint::CONTENT_TYPE, &succession.encode(), &authority, &mut other)
            .unwrap();
        assert_eq!(
            Succession::verify(&other, &keys),
            Err(SuccessionError::Envelope(EnvelopeError::ContentType))
        );
    }
}
