//! A leaf of the log: which log, which place in it, a salt, and what it says. One leaf has one encoding.
//!
//! Its bytes are a deterministic CBOR array `[version, kind, log id, sequence, salt, body]` (design, decision 18), and
//! its hash is over exactly these bytes.

use alloc::vec::Vec;
use core::fmt;

use minicbor::Decoder;

use super::{Body, LogHash, LogId, SaltKey};
use crate::envelope::written;

/// The version of the leaf's format that is written and read.
pub const VERSION: u64 = 1;

/// The longest leaf that is read, bytes. The longest that is written, a reading, takes at most 309.
pub const MAX_LEAF: usize = 512;

/// The kind of a leaf. Its number stands in the leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LeafKind {
    /// A place that a power cut left without a record.
    Void = 0,
    /// An entry of the security log.
    Event = 1,
    /// A row of the load profile.
    Interval = 2,
    /// All energy registers at a time.
    Reading = 3,
    /// A row of the billing profile.
    Billing = 4,
    /// The meter started.
    Boot = 5,
}

impl LeafKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Void, Self::Event, Self::Interval, Self::Reading, Self::Billing, Self::Boot];

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u8 == number)
    }

    /// A short name, stable, for programs and people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Void => "void",
            Self::Event => "event",
            Self::Interval => "interval",
            Self::Reading => "reading",
            Self::Billing => "billing",
            Self::Boot => "boot",
        }
    }
}

impl fmt::Display for LeafKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Which log it belongs to.
    pub log: LogId,
    /// Its place, from 0.
    pub sequence: u64,
    /// What keeps others from guessing it; zeros in a void leaf.
    pub salt: [u8; 16],
    /// What it says.
    pub body: Body,
}

impl Leaf {
    /// The leaf at this place of a log, salted with the log's key.
    pub fn new(log: LogId, sequence: u64, body: Body, key: &SaltKey) -> Self {
        let salt = if body == Body::Void { [0; 16] } else { key.salt(log, sequence) };
        Self { log, sequence, salt, body }
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let body = self.body.encode();
        written(|encoder| {
            encoder.array(6)?.u64(VERSION)?.u8(self.body.kind() as u8)?.bytes(&self.log.0)?;
            encoder.u64(self.sequence)?.bytes(&self.salt)?.bytes(&body)?.ok()
        })
    }

    /// Its hash in the tree.
    pub fn hash(&self) -> LogHash {
        LogHash::of_leaf(&self.encode())
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    ///
    /// # Errors
    /// [`LeafError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LeafError> {
        if bytes.len() > MAX_LEAF {
            return Err(LeafError::TooLong(bytes.len()));
        }
        let mut decoder = Decoder::new(bytes);
        if decoder.array()? != Some(6) {
            return Err(LeafError::Malformed);
        }
        match decoder.u64()? {
            VERSION => {}
            other => return Err(LeafError::Version(other)),
        }
        let number = decoder.u8()?;
        let kind = LeafKind::from_number(number).ok_or(LeafError::Kind(number))?;
        let log = LogId(decoder.bytes()?.try_into().map_err(|_| LeafError::Malformed)?);
        let sequence = decoder.u64()?;
        let salt = decoder.bytes()?.try_into().map_err(|_| LeafError::Malformed)?;
        let body = Body::decode(kind, decoder.bytes()?)?;
        let leaf = Self { log, sequence, salt, body };
        // One leaf, one encoding; and what follows the body, or hides in a void one, shows here.
        if (kind == LeafKind::Void && salt != [0; 16]) || leaf.encode() != bytes {
            return Err(LeafError::Malformed);
        }
        Ok(leaf)
    }
}

/// Why bytes are not a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafError {
    /// Longer than [`MAX_LEAF`].
    TooLong(usize),
    /// Not a leaf in the one form that is accepted.
    Malformed,
    /// Another version of the format.
    Version(u64),
    /// A kind that this version does not know.
    Kind(u8),
}

impl From<minicbor::decode::Error> for LeafError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for LeafError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(length) => {
                write!(f, "an entry of {length} bytes is longer than any that a meter writes ({MAX_LEAF})")
            }
            Self::Malformed => f.write_str("the entry is damaged or was not written by a meter"),
            Self::Version(found) => {
                write!(
                    f,
                    "the entry has format version {found}, this program reads version {VERSION}; update it"
                )
            }
            Self::Kind(found) => {
                write!(f, "the entry is of kind {found}, which this program does not know; update it")
            }
        }
    }
}

impl core::error::Error for LeafError {}
