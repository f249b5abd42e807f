//! The statement that a bill rests upon: the meter's readings from the beginning of a period to its end, each proven to
//! be in the log that the meter signed, and that log proven to be the one that the statement before it saw.
//!
//! Nothing in it is believed because it stands there: quantities are computed from the readings, and a reading is one
//! only with its proof. Prices and amounts are no part of it.

use alloc::vec::Vec;
use core::fmt;

use minicbor::Decoder;

use super::origin::{Origin, Trust};
use super::report::Report;
use super::{Unreadable, malformed};
use crate::envelope::written;
use crate::log::{Leaf, LogHash, ProofError, Subtrees, consistency_proof, inclusion_proof, proof::MAX_PROOF};

mod check;

pub(super) use check::is_after;
pub use check::{Quantity, Register, VerifiedStatement, registers};

/// The media type of a statement.
pub const CONTENT_TYPE: &str = "application/vnd.meterseal.statement+cbor";

/// The version of the format that is written and read.
pub const VERSION: u64 = 1;

/// The longest statement that is read: 8 MiB, more than twenty years of daily readings.
pub const MAX_LENGTH: usize = 8 * 1024 * 1024;

/// What a statement begins with.
pub(super) const MAGIC: &str = "meterseal.statement";

/// A statement, as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Whose log.
    pub origin: Origin,
    /// The signed checkpoint that covers the readings.
    pub checkpoint: Vec<u8>,
    /// All readings of the period, opening and closing ones included, in order.
    pub readings: Vec<ProvenLeaf>,
    /// How the log grew out of the one that the statement before this saw.
    pub previous: Option<Previous>,
}

/// A leaf and its way to the checkpoint's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenLeaf {
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// Its inclusion proof.
    pub path: Vec<LogHash>,
}

/// The statement before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its signed checkpoint.
    pub checkpoint: Vec<u8>,
    /// The consistency proof from there.
    pub path: Vec<LogHash>,
}

impl Statement {
    /// Makes a statement: `readings` are the leaves from the opening to the closing reading, none left out; `checkpoint`
    /// is a signed one that covers them; `previous` the checkpoint of the statement before; `subtrees` yields the log's
    /// hashes.
    ///
    /// # Errors
    /// [`BuildError`] when what was given does not make a statement that holds, or a hash is missing.
    pub fn build<S: Subtrees>(
        origin: Origin,
        checkpoint: Vec<u8>,
        readings: &[Vec<u8>],
        previous: Option<Vec<u8>>,
        subtrees: &mut S,
    ) -> Result<Self, BuildError<S::Error>> {
        let size = size_of(&origin, &checkpoint)?;
        let proven = readings.iter().map(|leaf| {
            let sequence = Leaf::decode(leaf).map_err(|_| BuildError::Reading)?.sequence;
            let path = inclusion_proof(subtrees, sequence, size)?;
            Ok(ProvenLeaf { leaf: leaf.clone(), path })
        });
        let readings = proven.collect::<Result<Vec<_>, BuildError<S::Error>>>()?;
        let previous = match previous {
            Some(checkpoint) => {
                let path = consistency_proof(subtrees, size_of(&origin, &checkpoint)?, size)?;
                Some(Previous { checkpoint, path })
            }
            None => None,
        };
        let statement = Self { origin, checkpoint, readings, previous };
        let verified = statement.verify(&Trust::default());
        let wrong = verified.report.of(super::Outcome::Broken).next();
        match wrong {
            Some(finding) => Err(BuildError::DoesNotHold(finding.text.clone())),
            None => Ok(statement),
        }
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        written(|encoder| {
            encoder.array(6)?.str(MAGIC)?.u64(VERSION)?;
            self.origin.write(encoder)?;
            encoder.bytes(&self.checkpoint)?.array(self.readings.len() as u64)?;
            for reading in &self.readings {
                encoder.array(2)?.bytes(&reading.leaf)?.bytes(&joined(&reading.path))?;
            }
            match &self.previous {
                Some(previous) => {
                    encoder.array(2)?.bytes(&previous.checkpoint)?.bytes(&joined(&previous.path))?.ok()
                }
                None => encoder.null()?.ok(),
            }
        })
    }

    /// Reads a file, and judges nothing.
    ///
    /// # Errors
    /// [`Unreadable`] when it is no statement, or one in another form than [`encode`](Self::encode) writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() > MAX_LENGTH {
            return Err(Unreadable::TooLong(MAX_LENGTH));
        }
        let decoder = &mut Decoder::new(bytes);
        let head = malformed(decoder, |decoder| {
            Ok::<_, Damaged>((decoder.array()?, decoder.str()?, decoder.u64()?))
        })?;
        match head {
            (Some(6), MAGIC, VERSION) => {}
            (Some(6), MAGIC, other) => return Err(Unreadable::Version(other)),
            _ => return Err(Unreadable::Malformed(0)),
        }
        let origin = Origin::read(decoder)?;
        let statement = malformed(decoder, |decoder| {
            let checkpoint = decoder.bytes()?.to_vec();
            let count = decoder.array()?.ok_or(Damaged)?;
            let mut readings = Vec::new();
            for _ in 0..count {
                let (leaf, path) = pair(decoder)?;
                readings.push(ProvenLeaf { leaf, path });
            }
            let previous = if decoder.datatype()? == minicbor::data::Type::Null {
                decoder.null()?;
                None
            } else {
                let (checkpoint, path) = pair(decoder)?;
                Some(Previous { checkpoint, path })
            };
            Ok::<_, Damaged>(Self { origin, checkpoint, readings, previous })
        })?;
        // One statement, one file; what follows it shows here.
        if statement.encode() == bytes {
            Ok(statement)
        } else {
            Err(Unreadable::Malformed(decoder.position()))
        }
    }
}

/// Why a statement could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError<E> {
    /// A checkpoint is not of this log, or not signed by its key.
    Checkpoint,
    /// What was given as a reading is no leaf.
    Reading,
    /// A proof could not be made.
    Proof(ProofError<E>),
    /// The parts do not make a statement that holds; in words.
    DoesNotHold(alloc::string::String),
}

impl<E> From<ProofError<E>> for BuildError<E> {
    fn from(error: ProofError<E>) -> Self {
        Self::Proof(error)
    }
}

impl<E: fmt::Display> fmt::Display for BuildError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("the checkpoint is not one that this meter signed for this log"),
            Self::Reading => f.write_str("what is stored as a reading is none"),
            Self::Proof(error) => error.fmt(f),
            Self::DoesNotHold(text) => f.write_str(text),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for BuildError<E> {}

fn size_of<E>(origin: &Origin, checkpoint: &[u8]) -> Result<u64, BuildError<E>> {
    let mut report = Report::default();
    let signed = origin.checkpoint(checkpoint, &mut report).ok_or(BuildError::Checkpoint)?;
    Ok(signed.checkpoint().size)
}

fn joined(path: &[LogHash]) -> Vec<u8> {
    path.iter().flat_map(|hash| hash.0).collect()
}

/// Bytes and a proof.
fn pair(decoder: &mut Decoder<'_>) -> Result<(Vec<u8>, Vec<LogHash>), Damaged> {
    if decoder.array()? != Some(2) {
        return Err(Damaged);
    }
    let bytes = decoder.bytes()?.to_vec();
    let (hashes, rest) = decoder.bytes()?.as_chunks::<{ LogHash::LENGTH }>();
    if !rest.is_empty() || hashes.len() > MAX_PROOF {
        return Err(Damaged);
    }
    Ok((bytes, hashes.iter().map(|&hash| LogHash(hash)).collect()))
}

/// Not the CBOR that was expected.
struct Damaged;

impl From<minicbor::decode::Error> for Damaged {
    fn from(_: minicbor::decode::Error) -> Self {
        Self
    }
}
