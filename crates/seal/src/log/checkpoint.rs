//! A checkpoint: the meter's signed word on how many leaves its log has and what they are.
//!
//! A deterministic CBOR array in an [`envelope`], signed ES384 by the meter's log key. Signing is slow
//! on a meter, so [`Checkpoint::draft`] gives the bytes to be signed, and [`Draft::finish`] takes the signature.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use meterseal_model::{MeterId, UnixMillis};
use minicbor::Decoder;
use sha2::{Digest as _, Sha256};

use super::{LogHash, LogId};
use crate::envelope::{self, Draft, EnvelopeError, written};
use crate::key::{KeyId, SealPublicKey, Signer};

/// The content type in a checkpoint's envelope.
pub const CONTENT_TYPE: &str = "application/vnd.meterseal.checkpoint+cbor";

/// The version of the checkpoint's format that is written and read.
pub const VERSION: u64 = 1;

/// The longest signed checkpoint that is read, bytes. The longest that is written takes less than 400.
pub const MAX_CHECKPOINT: usize = 512;

/// What a meter says of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which meter.
    pub meter: MeterId,
    /// Which log.
    pub log: LogId,
    /// The checkpoint's own number: the first of a log is 1, each later one is one more.
    pub number: u64,
    /// How many leaves the log has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: LogHash,
    /// The meter's clock.
    pub time: UnixMillis,
    /// Milliseconds since power-up.
    pub uptime_ms: u64,
    /// Which power-up: 1 the first.
    pub boot: u64,
    /// The newest record of each kind that the log covers.
    pub newest: Newest,
    /// [`Checkpoint::digest`] of the checkpoint before; `None` in a log's first.
    pub previous: Option<LogHash>,
}

/// Numbers of the newest records, 0 where there is none yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// Entry of the security log.
    pub event: u64,
    /// Row of the load profile.
    pub interval: u64,
    /// Reading.
    pub reading: u64,
    /// Row of the billing profile.
    pub billing: u64,
}

impl Checkpoint {
    /// The checkpoint ready to be signed with this key.
    pub fn draft(&self, key: KeyId) -> Draft {
        // Neither the content type nor what a checkpoint holds can be too long.
        Draft::within_limits(CONTENT_TYPE, self.encode(), key)
    }

    /// Signs the checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError::Envelope`] when the key cannot sign.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Vec<u8>, CheckpointError> {
        let draft = self.draft(signer.key_id());
        let signature = signer.sign(&draft.to_be_signed()).map_err(EnvelopeError::Key)?;
        Ok(draft.finish(&signature))
    }

    /// Verifies a signed checkpoint against the log keys that are trusted, and reads it.
    ///
    /// # Errors
    /// [`CheckpointError`] when the seal does not verify, or what it covers is no checkpoint of version [`VERSION`].
    pub fn verify(bytes: &[u8], keys: &[SealPublicKey]) -> Result<SignedCheckpoint, CheckpointError> {
        if bytes.len() > MAX_CHECKPOINT {
            return Err(EnvelopeError::TooLong.into());
        }
        let verified = envelope::verify1(bytes, CONTENT_TYPE, keys)?;
        Ok(SignedCheckpoint { checkpoint: Self::decode(verified.payload)?, signer: verified.signer })
    }

    /// What a signed checkpoint says, whoever signed it: for a meter's own memory, and for explaining a refusal.
    pub fn unverified(bytes: &[u8]) -> Option<Self> {
        Self::decode(envelope::unverified(bytes, CONTENT_TYPE)?.payload).ok()
    }

    /// What names this checkpoint in the next one: SHA-256 of its content, without the signature.
    pub fn digest(&self) -> LogHash {
        LogHash(Sha256::digest(self.encode()).into())
    }

    /// The checkpoint as CBOR, without a signature.
    pub fn encode(&self) -> Vec<u8> {
        written(|encoder| {
            encoder.array(11)?.u64(VERSION)?.str(&self.meter.to_string())?.bytes(&self.log.0)?;
            encoder.u64(self.number)?.u64(self.size)?.bytes(&self.root.0)?;
            encoder.i64(self.time.0)?.u64(self.uptime_ms)?.u64(self.boot)?;
            let Newest { event, interval, reading, billing } = self.newest;
            encoder.array(4)?.u64(event)?.u64(interval)?.u64(reading)?.u64(billing)?;
            match self.previous {
                Some(digest) => encoder.bytes(&digest.0)?.ok(),
                None => encoder.null()?.ok(),
            }
        })
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    ///
    /// # Errors
    /// [`CheckpointError::Version`] or [`CheckpointError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        const MALFORMED: CheckpointError = CheckpointError::Malformed;
        let mut decoder = Decoder::new(bytes);
        if decoder.array()? != Some(11) {
            return Err(MALFORMED);
        }
        match decoder.u64()? {
            VERSION => {}
            other => return Err(CheckpointError::Version(other)),
        }
        let checkpoint = Self {
            meter: decoder.str()?.parse().map_err(|_| MALFORMED)?,
            log: LogId(decoder.bytes()?.try_into().map_err(|_| MALFORMED)?),
            number: decoder.u64()?,
            size: decoder.u64()?,
            root: LogHash(decoder.bytes()?.try_into().map_err(|_| MALFORMED)?),
            time: UnixMillis(decoder.i64()?),
            uptime_ms: decoder.u64()?,
            boot: decoder.u64()?,
            newest: Newest::read(&mut decoder)?,
            previous: if decoder.datatype()? == minicbor::data::Type::Null {
                decoder.null()?;
                None
            } else {
                Some(LogHash(decoder.bytes()?.try_into().map_err(|_| MALFORMED)?))
            },
        };
        if checkpoint.encode() == bytes { Ok(checkpoint) } else { Err(MALFORMED) }
    }
}

impl Newest {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, CheckpointError> {
        if decoder.array()? != Some(4) {
            return Err(CheckpointError::Malformed);
        }
        Ok(Self {
            event: decoder.u64()?,
            interval: decoder.u64()?,
            reading: decoder.u64()?,
            billing: decoder.u64()?,
        })
    }
}

/// A checkpoint whose signature has been verified. There is no other way to make one than [`Checkpoint::verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signer: KeyId,
}

impl SignedCheckpoint {
    /// What it says.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The log key that signed it.
    pub const fn signer(&self) -> KeyId {
        self.signer
    }
}

/// What is wrong with a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// The envelope around it.
    Envelope(EnvelopeError),
    /// Not the CBOR of a checkpoint.
    Malformed,
    /// Another version of the format.
    Version(u64),
}

impl From<EnvelopeError> for CheckpointError {
    fn from(error: EnvelopeError) -> Self {
        Self::Envelope(error)
    }
}

impl From<minicbor::decode::Error> for CheckpointError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope(error) => error.fmt(f),
            Self::Malformed => f.write_str("the sealed content is not a checkpoint of a log"),
            Self::Version(found) => {
                write!(
                    f,
                    "the checkpoint has format version {found}, this program reads version {VERSION}; update it"
                )
            }
        }
    }
}

impl core::error::Error for CheckpointError {}
