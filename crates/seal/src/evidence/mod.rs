//! Files that anybody can check, without trusting who made them: a *statement* (what a bill rests upon) and an *export*
//! of a meter's log. Checking one needs no network and no clock; what it finds is said in words ([`Report`]).
//!
//! [`origin`] is whose log it is and with which key it is sealed; [`statement`] proves readings against a checkpoint;
//! [`export`] is the log itself, entry by entry; [`archive`] makes both of what a head-end holds. What was altered is found by hash and signature, so the head-end's
//! operator, who makes these files, is believed in nothing.

pub mod archive;
pub mod export;
pub mod origin;
pub mod report;
pub mod statement;

use core::fmt;

use minicbor::Decoder;
use minicbor::data::{Tag, Type};

pub use archive::{Archive, ArchiveError, Entries, Held};
pub use export::{Entry, Export, VerifiedExport};
pub use origin::{Earlier, Origin, Trust};
pub use report::{Finding, Fingerprint, FingerprintError, Outcome, Report, printed_fingerprint};
pub use statement::{BuildError, Quantity, Statement, VerifiedStatement};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Readings with proofs.
    Statement,
    /// A meter's log.
    Export,
    /// The mark of a device type and firmware.
    Mark,
    /// A checkpoint alone.
    Checkpoint,
}

impl Kind {
    /// What these bytes claim to be; `None` when it is nothing of ours.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        match decoder.datatype().ok()? {
            Type::Array => {
                decoder.array().ok()??;
                match decoder.str().ok()? {
                    statement::MAGIC => Some(Self::Statement),
                    export::MAGIC => Some(Self::Export),
                    _ => None,
                }
            }
            Type::Tag if decoder.tag().ok()? == Tag::new(18) => {
                let is = |content_type| crate::envelope::unverified(bytes, content_type).is_some();
                if is(crate::mark::CONTENT_TYPE) {
                    Some(Self::Mark)
                } else {
                    is(crate::log::checkpoint::CONTENT_TYPE).then_some(Self::Checkpoint)
                }
            }
            _ => None,
        }
    }
}

/// Why a file could not be read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Longer than such a file may be, bytes.
    TooLong(usize),
    /// Not such a file, or damaged so that its parts cannot be told apart; at about this byte.
    Malformed(usize),
    /// Another version of the format.
    Version(u64),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(most) => write!(f, "the file is longer than the {most} bytes that it may have"),
            Self::Malformed(place) => {
                write!(f, "the file is not of this kind, or was damaged (at byte {place})")
            }
            Self::Version(found) => {
                write!(f, "the file has format version {found}; this program does not know it, update it")
            }
        }
    }
}

impl core::error::Error for Unreadable {}

/// Says where in the file a decoder gave up.
fn malformed<'a, T, E>(
    decoder: &mut Decoder<'a>,
    read: impl FnOnce(&mut Decoder<'a>) -> Result<T, E>,
) -> Result<T, Unreadable> {
    read(decoder).map_err(|_| Unreadable::Malformed(decoder.position()))
}
