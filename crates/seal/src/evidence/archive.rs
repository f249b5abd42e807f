//! What a head-end holds of a meter's log, and the files that it makes of it for others to check.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use meterseal_model::UnixMillis;

use super::report::Report;
use super::{BuildError, Entry, Export, Origin, Statement};
use crate::log::proof::Levels;
use crate::log::{Body, Checkpoint, Leaf, LogHash, Peaks};

/// A whole log, from its first entry on.
#[derive(Clone, Debug)]
pub struct Archive {
    /// Whose.
    pub origin: Origin,
    /// Every entry in order: its leaf, or its hash alone where the content has gone.
    pub entries: Vec<Held>,
    /// Signed checkpoints in order of their number; at least those that somebody has seen.
    pub checkpoints: Vec<Vec<u8>>,
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

impl Archive {
    /// Writes the log from entry `first` to the newest checkpoint, in pieces to `out`. Entries for which `withhold` says
    /// so are written as their hash alone.
    ///
    /// # Errors
    /// [`ArchiveError::NotCovered`] when no checkpoint covers an entry from there on; [`ArchiveError::Out`].
    pub fn export<E>(
        &self,
        first: u64,
        withhold: impl Fn(&Leaf) -> bool,
        out: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), ArchiveError<E>> {
        let end = self.checkpoints().last().map_or(0, |(checkpoint, _)| checkpoint.size);
        let range = place(first).zip(place(end)).filter(|(first, end)| first < end);
        let (first, end) = range.ok_or(ArchiveError::NotCovered)?;
        let entries = self.entries.get(first..end).ok_or(ArchiveError::Incomplete)?;
        let mut start = Peaks::new();
        self.entries[..first].iter().for_each(|held| start.append(held.hash()));
        let export = Export { origin: self.origin.clone(), start, count: entries.len() as u64 };
        let written = entries.iter().map(|held| {
            Ok(match held {
                Held::Leaf(bytes) if Leaf::decode(bytes).is_ok_and(|leaf| withhold(&leaf)) => {
                    Entry::Withheld(held.hash())
                }
                Held::Leaf(bytes) => Entry::Leaf(bytes),
                Held::Hash(hash) => Entry::Withheld(*hash),
            })
        });
        export.write(written, &self.checkpoints, out).map_err(ArchiveError::Out)
    }

    /// The statement of a period: from the last reading at or before `from` to the last one at or before `to`, each
    /// against the first checkpoint that covered it. So statements of periods that follow one another continue each
    /// other.
    ///
    /// # Errors
    /// [`ArchiveError`]: there is no such reading, or none later; it is not covered yet; or what is held does not hold.
    pub fn statement(&self, from: UnixMillis, to: UnixMillis) -> Result<Statement, ArchiveError<Infallible>> {
        let mut readings: Vec<(UnixMillis, u64, &Vec<u8>)> = Vec::new();
        for held in &self.entries {
            if let Held::Leaf(bytes) = held
                && let Ok(Leaf { sequence, body: Body::Reading(reading), .. }) = Leaf::decode(bytes)
            {
                readings.push((reading.time, sequence, bytes));
            }
        }
        let last = |at: UnixMillis| readings.iter().rposition(|&(time, ..)| time <= at);
        let opening = last(from).ok_or(ArchiveError::NoReading(from))?;
        let closing = last(to).filter(|&closing| closing > opening).ok_or(ArchiveError::NoReading(to))?;
        let checkpoints = self.checkpoints();
        let covering = |sequence| checkpoints.iter().find(|(checkpoint, _)| checkpoint.size > sequence);
        let (checkpoint, signed) = covering(readings[closing].1).ok_or(ArchiveError::NotCovered)?;
        // The period before, if there was one, was stated against the first checkpoint that covered its end.
        let before = covering(readings[opening].1).filter(|_| opening > 0);
        let size = place(checkpoint.size).ok_or(ArchiveError::Incomplete)?;
        let covered = self.entries.get(..size).ok_or(ArchiveError::Incomplete)?;
        let hashes: Vec<LogHash> = covered.iter().map(Held::hash).collect();
        let leaves: Vec<Vec<u8>> =
            readings[opening..=closing].iter().map(|&(_, _, bytes)| bytes.clone()).collect();
        Ok(Statement::build(
            self.origin.clone(),
            signed.to_vec(),
            &leaves,
            before.map(|(_, signed)| signed.to_vec()),
            &mut Levels::new(hashes),
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

fn place(sequence: u64) -> Option<usize> {
    usize::try_from(sequence).ok()
}

/// Why a file could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveError<E> {
    /// No reading was taken by then, or none after the one with which the period begins.
    NoReading(UnixMillis),
    /// The meter has signed no checkpoint that covers it.
    NotCovered,
    /// Entries that a checkpoint covers are not held.
    Incomplete,
    /// What is held does not make a statement.
    Build(BuildError<Infallible>),
    /// It could not be written.
    Out(E),
}

impl<E> From<BuildError<Infallible>> for ArchiveError<E> {
    fn from(error: BuildError<Infallible>) -> Self {
        Self::Build(error)
    }
}

impl<E: fmt::Display> fmt::Display for ArchiveError<E> {
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
            Self::Out(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for ArchiveError<E> {}
