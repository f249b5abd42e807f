//! What a head-end holds of a meter's log, and the files that it makes of it for others to check.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use meterseal_model::UnixMillis;

use super::report::Report;
use super::{BuildError, Entry, Export, Origin, Statement};
use crate::log::proof::{Leaves, Levels, Subtrees};
use crate::log::{Body, Checkpoint, Leaf, LogHash, Peaks};

/// A whole log, from its first entry on. It is read in pieces: what is in memory at once is a piece, one hash for every 256
/// entries, the checkpoints, and for a statement its readings.
#[derive(Clone, Debug)]
pub struct Archive<S> {
    /// Whose.
    pub origin: Origin,
    /// Every entry in order: its leaf, or its hash alone where the content has gone.
    pub entries: S,
    /// Signed checkpoints in order of their number; at least those that somebody has seen.
    pub checkpoints: Vec<Vec<u8>>,
}

/// A log's entries, wherever they lie.
pub trait Entries {
    /// Why they could not be read.
    type Error;

    /// Entries from place `from` on, in order: as many as are good to have in memory at once. None where the log ends, or
    /// where one is missing.
    ///
    /// # Errors
    /// What reading failed with.
    fn read(&mut self, from: u64) -> Result<Vec<Held>, Self::Error>;
}

impl Entries for Vec<Held> {
    type Error = Infallible;

    fn read(&mut self, from: u64) -> Result<Vec<Held>, Infallible> {
        let rest = usize::try_from(from).ok().and_then(|from| self.get(from..)).unwrap_or_default();
        Ok(rest[..rest.len().min(PIECE)].to_vec())
    }
}

/// An entry that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The leaf's bytes.
    Leaf(Vec<u8>),
    /// The leaf's hash.
    Hash(LogHash),
}

impl Held {
    fn hash(&self) -> LogHash {
        match self {
            Self::Leaf(bytes) => LogHash::of_leaf(bytes),
            Self::Hash(hash) => *hash,
        }
    }
}

impl<'a> From<&'a Held> for Entry<'a> {
    fn from(held: &'a Held) -> Self {
        match held {
            Held::Leaf(bytes) => Self::Leaf(bytes),
            Held::Hash(hash) => Self::Withheld(*hash),
        }
    }
}

impl<S: Entries> Archive<S> {
    /// Writes the log from entry `first` to the newest checkpoint, in pieces to `out`. Entries for which `withhold` says
    /// so are written as their hash alone.
    ///
    /// # Errors
    /// [`ArchiveError::NotCovered`] when no checkpoint covers an entry from there on; [`ArchiveError::Incomplete`], after a
    /// part was written; [`ArchiveError::Read`] and [`ArchiveError::Out`].
    pub fn export<E>(
        &mut self,
        first: u64,
        withhold: impl Fn(&Leaf) -> bool,
        mut out: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), ArchiveError<S::Error, E>> {
        let end = self.checkpoints().last().map_or(0, |(checkpoint, _)| checkpoint.size);
        if first >= end {
            return Err(ArchiveError::NotCovered);
        }
        let mut start = Peaks::new();
        for held in pieces(&mut self.entries, 0, first) {
            start.append(held?.hash());
        }
        let export = Export { origin: self.origin.clone(), start, count: end - first };
        let written = pieces(&mut self.entries, first, end).map(|held| {
            held.map(|held| match &held {
                Held::Leaf(bytes) if Leaf::decode(bytes).is_ok_and(|leaf| withhold(&leaf)) => {
                    Held::Hash(held.hash())
                }
                _ => held,
            })
        });
        export.write(written, &self.checkpoints, |bytes| out(bytes).map_err(ArchiveError::Out))
    }

    /// The statement of a period: from the last reading at or before `from` to the last one at or before `to`, each
    /// against the first checkpoint that covered it. So statements of periods that follow one another continue each
    /// other.
    ///
    /// # Errors
    /// [`ArchiveError`]: there is no such reading, or none later; it is not covered yet; or what is held does not hold.
    pub fn statement(
        &mut self,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Statement, ArchiveError<S::Error, Infallible>> {
        let all: Vec<_> =
            self.checkpoints().into_iter().map(|(one, signed)| (one, signed.to_vec())).collect();
        let mut readings: Vec<(UnixMillis, u64, Vec<u8>)> = Vec::new();
        let mut forest = Forest::new(&mut self.entries);
        let mut walked = 0;
        // Also behind the newest checkpoint: a reading that stands there is not covered yet, and that is to be said.
        while let Some(piece) = some(forest.entries.read(walked).map_err(ArchiveError::Read)?) {
            walked += piece.len() as u64;
            for held in piece {
                forest.append(held.hash());
                if let Held::Leaf(bytes) = held
                    && let Ok(Leaf { sequence, body: Body::Reading(reading), .. }) = Leaf::decode(&bytes)
                {
                    readings.push((reading.time, sequence, bytes));
                }
            }
        }
        let last = |at: UnixMillis| readings.iter().rposition(|&(time, ..)| time <= at);
        let opening = last(from).ok_or(ArchiveError::NoReading(from))?;
        let closing = last(to).filter(|&closing| closing > opening).ok_or(ArchiveError::NoReading(to))?;
        let covering = |sequence| all.iter().find(|(checkpoint, _)| checkpoint.size > sequence);
        let (checkpoint, signed) = covering(readings[closing].1).ok_or(ArchiveError::NotCovered)?;
        // The period before, if there was one, was stated against the first checkpoint that covered its end.
        let before = covering(readings[opening].1).filter(|_| opening > 0);
        if walked < checkpoint.size {
            return Err(ArchiveError::Incomplete);
        }
        let leaves: Vec<Vec<u8>> =
            readings[opening..=closing].iter().map(|(_, _, bytes)| bytes.clone()).collect();
        Ok(Statement::build(
            self.origin.clone(),
            signed.clone(),
            &leaves,
            before.map(|(_, signed)| signed.clone()),
            &mut forest.built(),
        )?)
    }

    /// The checkpoints that are this log's and hold.
    fn checkpoints(&self) -> Vec<(Checkpoint, &[u8])> {
        let mut ignored = Report::default();
        self.checkpoints
            .iter()
            .filter_map(|bytes| {
                let signed = self.origin.checkpoint(bytes, &mut ignored)?;
                Some((*signed.checkpoint(), &bytes[..]))
            })
            .collect()
    }
}

fn some<T>(piece: Vec<T>) -> Option<Vec<T>> {
    (!piece.is_empty()).then_some(piece)
}

/// Entries from one place up to another, one by one; an error where one is missing.
fn pieces<S: Entries, E>(
    entries: &mut S,
    from: u64,
    end: u64,
) -> impl Iterator<Item = Result<Held, ArchiveError<S::Error, E>>> {
    let mut next = from;
    let mut piece = Vec::new().into_iter();
    core::iter::from_fn(move || {
        if next >= end {
            return None;
        }
        let held = match piece.next() {
            Some(held) => Some(held),
            None => match entries.read(next) {
                Ok(more) => {
                    piece = more.into_iter();
                    piece.next()
                }
                Err(error) => {
                    next = end;
                    return Some(Err(ArchiveError::Read(error)));
                }
            },
        };
        let Some(held) = held else {
            next = end;
            return Some(Err(ArchiveError::Incomplete));
        };
        next += 1;
        Some(Ok(held))
    })
}

/// The subtrees of a log of which only the roots of complete blocks are kept; what is smaller is read again.
struct Forest<'a, S> {
    entries: &'a mut S,
    /// Leaves of the block that is not complete yet.
    block: Vec<LogHash>,
    roots: Vec<LogHash>,
}

impl<'a, S: Entries> Forest<'a, S> {
    fn new(entries: &'a mut S) -> Self {
        Self { entries, block: Vec::new(), roots: Vec::new() }
    }

    fn append(&mut self, hash: LogHash) {
        self.block.push(hash);
        if self.block.len() == 1 << BLOCK {
            // Never absent: the block is complete.
            let Ok(root) = Leaves(&self.block).subtree(0, BLOCK);
            self.roots.extend(root);
            self.block.clear();
        }
    }

    fn built(self) -> Built<'a, S> {
        Built { entries: self.entries, upper: Levels::new(self.roots), near: None }
    }
}

struct Built<'a, S> {
    entries: &'a mut S,
    /// Over the blocks' roots.
    upper: Levels,
    /// The block that was read last, and its leaves' hashes.
    near: Option<(u64, Vec<LogHash>)>,
}

impl<S: Entries> Built<'_, S> {
    fn block(&mut self, number: u64) -> Result<&[LogHash], S::Error> {
        if self.near.as_ref().is_none_or(|(near, _)| *near != number) {
            let (begin, mut hashes) = (number << BLOCK, Vec::new());
            while hashes.len() < 1 << BLOCK {
                let Some(piece) = some(self.entries.read(begin + hashes.len() as u64)?) else { break };
                let room = (1 << BLOCK) - hashes.len();
                hashes.extend(piece.iter().take(room).map(Held::hash));
            }
            self.near = Some((number, hashes));
        }
        Ok(self.near.as_ref().map_or(&[], |(_, hashes)| hashes))
    }
}

impl<S: Entries> Subtrees for Built<'_, S> {
    type Error = S::Error;

    fn subtree(&mut self, first: u64, level: u32) -> Result<Option<LogHash>, S::Error> {
        if let Some(above) = level.checked_sub(BLOCK) {
            let Ok(found) = self.upper.subtree(first >> BLOCK, above);
            return Ok(found);
        }
        let within = first & ((1 << BLOCK) - 1);
        let Ok(found) = Leaves(self.block(first >> BLOCK)?).subtree(within, level);
        Ok(found)
    }
}

/// Blocks of 2⁸ entries: a log of ten million takes 1.3 MB of roots twice over, and a proof reads one block.
const BLOCK: u32 = 8;

/// Entries of a log in memory that are handed out at once.
const PIECE: usize = 1024;

/// Why a file could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveError<R, W> {
    /// No reading was taken by then, or none after the one with which the period begins.
    NoReading(UnixMillis),
    /// The meter has signed no checkpoint that covers it.
    NotCovered,
    /// Entries that a checkpoint covers are not held.
    Incomplete,
    /// What is held does not make a statement.
    Build(BuildError<R>),
    /// The log could not be read.
    Read(R),
    /// It could not be written.
    Out(W),
}

impl<R, W> From<BuildError<R>> for ArchiveError<R, W> {
    fn from(error: BuildError<R>) -> Self {
        Self::Build(error)
    }
}

impl<R: fmt::Display, W: fmt::Display> fmt::Display for ArchiveError<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReading(at) => {
                write!(
                    f,
                    "no reading stands for {at}: the meter took none by then, or it is the period's first; choose a longer period"
                )
            }
            Self::NotCovered => {
                f.write_str("the meter has signed no checkpoint over it yet; it does so at least once a day")
            }
            Self::Incomplete => {
                f.write_str("entries of the log are missing here; let the head-end read the meter")
            }
            Self::Build(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::Out(error) => error.fmt(f),
        }
    }
}

impl<R, W> core::error::Error for ArchiveError<R, W>
where
    R: fmt::Debug + fmt::Display,
    W: fmt::Debug + fmt::Display,
{
}
