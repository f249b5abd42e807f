//! Time for a device that has no trusted clock: an answer to its nonce, signed by its utility's time key, so that
//! neither an old answer nor another meter's can be played to it.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use meterseal_model::{MeterId, UnixMillis};
use minicbor::Decoder;

use crate::envelope::{self, EnvelopeError, written};
use crate::key::{SealPublicKey, Signer};

/// Says in the envelope what is inside.
pub const CONTENT_TYPE: &str = "application/meterseal-time+cbor";

/// Length of the nonce, bytes: 256 bits, so that none comes twice.
pub const NONCE_LENGTH: usize = 32;

/// Signs that it is `now`, as the answer to `meter`'s `nonce`. About 200 bytes.
///
/// # Errors
/// [`EnvelopeError::Key`] when the key cannot sign.
pub fn sign(
    meter: MeterId,
    nonce: &[u8; NONCE_LENGTH],
    now: UnixMillis,
    signer: &dyn Signer,
) -> Result<Vec<u8>, EnvelopeError> {
    let payload = written(|encoder| {
        encoder.array(4)?.u8(VERSION)?.bytes(nonce)?.str(&meter.to_string())?.i64(now.0)?.ok()
    });
    let mut sealed = Vec::new();
    envelope::sign1(CONTENT_TYPE, &payload, signer, &mut sealed)?;
    Ok(sealed)
}

/// The time in an answer that must be to this meter's nonce and signed with this key. Whether the key is a time
/// source's is the caller's to judge, before; whether the time goes back, after.
///
/// # Errors
/// [`SignedTimeError`].
pub fn verify(
    sealed: &[u8],
    meter: MeterId,
    nonce: &[u8; NONCE_LENGTH],
    key: &SealPublicKey,
) -> Result<UnixMillis, SignedTimeError> {
    let verified = envelope::verify1(sealed, CONTENT_TYPE, core::slice::from_ref(key))
        .map_err(SignedTimeError::Envelope)?;
    let malformed = |_: minicbor::decode::Error| SignedTimeError::Malformed;
    let mut decoder = Decoder::new(verified.payload);
    if decoder.array().map_err(malformed)? != Some(4) || decoder.u8().map_err(malformed)? != VERSION {
        return Err(SignedTimeError::Malformed);
    }
    if decoder.bytes().map_err(malformed)? != nonce {
        return Err(SignedTimeError::Nonce);
    }
    if decoder.str().map_err(malformed)? != meter.to_string() {
        return Err(SignedTimeError::Meter);
    }
    let at = decoder.i64().map_err(malformed)?;
    if decoder.position() != verified.payload.len() {
        return Err(SignedTimeError::Malformed);
    }
    Ok(UnixMillis(at))
}

/// Why signed time is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedTimeError {
    /// The seal.
    Envelope(EnvelopeError),
    /// Sealed, but no time.
    Malformed,
    /// The answer to another question: an old one, played again.
    Nonce,
    /// The answer to another meter.
    Meter,
}

impl fmt::Display for SignedTimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope(error) => error.fmt(f),
            Self::Malformed => f.write_str("what is sealed is no time"),
            Self::Nonce => {
                f.write_str("the time answers another nonce than ours: it is old and was played again")
            }
            Self::Meter => f.write_str("the time was signed for another meter"),
        }
    }
}

impl core::error::Error for SignedTimeError {}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::fixed_key;

    #[test]
    fn only_the_answer_to_the_own_nonce_by_the_right_key_is_believed() {
        let (key, other) = (fixed_key(3), fixed_key(4));
        let meter = MeterId::new(*b"MSL", 1).unwrap();
        let neighbour = MeterId::new(*b"MSL", 2).unwrap();
        let now = UnixMillis(1_795_373_820_250);
        let mut sealed = sign(meter, &[7; 32], now, &key).unwrap();
        assert_eq!(verify(&sealed, meter, &[7; 32], key.public()), Ok(now));
        assert_eq!(verify(&sealed, meter, &[8; 32], key.public()), Err(SignedTimeError::Nonce));
        assert_eq!(verify(&sealed, neighbour, &[7; 32], key.public()), Err(SignedTimeError::Meter));
        assert!(matches!(
            verify(&sealed, meter, &[7; 32], other.public()),
            Err(SignedTimeError::Envelope(EnvelopeError::UnknownKey(_)))
        ));
        for place in 0..sealed.len() {
            sealed[place] ^= 1;
            assert!(verify(&sealed, meter, &[7; 32], key.public()).is_err(), "byte {place}");
            sealed[place] ^= 1;
        }
    }
}
