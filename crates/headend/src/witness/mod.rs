//! The head-end as witness: what a meter signs of its log is held against what it signed before, and what the database
//! says against what the meter sealed.
//!
//! For each meter the store keeps the log's name, the key that was pinned at first contact, every leaf, every checkpoint,
//! and two sets of peaks: of the *proven* tree, which a checkpoint covers, and of the *tail* behind it, which was read and
//! is not covered yet. Each contact takes the meter's newest checkpoint ([`judge`]), reads the leaves in between, appends
//! them to the tail, and compares the root. So nothing is believed before it is signed, and a meter that contradicts
//! itself, with whatever key, is caught by what it said before.

mod auditor;

use std::fmt;

use meterseal_seal::log::{Checkpoint, LogHash};

pub(crate) use auditor::{report, watch};

use crate::alarms::HeadendCause;
use crate::store::Witnessed;

/// What is to be done about a meter's newest checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is the one that is known.
    Known,
    /// Leaves from this one up to the checkpoint's size are to be read, and then to be compared.
    Read {
        /// The first that is not there yet.
        from: u64,
    },
}

/// How a meter's log contradicts what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    /// Which alarm it is.
    pub(crate) cause: HeadendCause,
    /// What was found, in a sentence.
    pub(crate) text: String,
}

impl Breach {
    fn new(cause: HeadendCause, text: String) -> Self {
        Self { cause, text }
    }

    /// A checkpoint that the pinned key did not sign.
    pub(crate) fn key(problem: impl fmt::Display) -> Self {
        Self::new(HeadendCause::LogOtherKey, format!("The meter's checkpoint is refused: {problem}."))
    }

    /// Leaves that do not lead to the root that was signed.
    pub(crate) fn root(signed: &Checkpoint, found: LogHash) -> Self {
        Self::new(
            HeadendCause::LogForked,
            format!(
                "Checkpoint {} signs root {} over {} leaves; what was stored and what the meter now says lead to {found}.",
                signed.number, signed.root, signed.size
            ),
        )
    }

    /// A leaf that is not there, or stands at another's place.
    pub(crate) fn gap(expected: u64, problem: &str) -> Self {
        Self::new(HeadendCause::LogGap, format!("The meter's log was read from leaf {expected}; {problem}."))
    }
}

/// Holds a meter's newest checkpoint, whose signature has been verified, against what is known of its log.
///
/// # Errors
/// [`Breach`]: another log, fewer leaves than before, an older checkpoint, or two that contradict each other.
pub(crate) fn judge(known: &Witnessed, signed: &Checkpoint) -> Result<Step, Breach> {
    if signed.log != known.log {
        return Err(Breach::new(
            HeadendCause::LogReplaced,
            format!("The meter's log is {}, and was {}.", signed.log, known.log),
        ));
    }
    let Some(newest) = known.newest else { return Ok(Step::Read { from: known.tail.size() }) };
    if signed.size < newest.size {
        return Err(Breach::new(
            HeadendCause::LogTruncated,
            format!("The log has {} leaves, and had {} before.", signed.size, newest.size),
        ));
    }
    if signed.number < newest.number {
        return Err(Breach::new(
            HeadendCause::LogRolledBack,
            format!("Checkpoint {} was shown after {}.", signed.number, newest.number),
        ));
    }
    if signed.number == newest.number {
        return if *signed == newest { Ok(Step::Known) } else { Err(twice(signed, &newest)) };
    }
    let follows = signed.previous == Some(newest.digest()) || signed.number > newest.number + 1;
    let same_tree = signed.size > newest.size || signed.root == newest.root;
    if !follows || !same_tree {
        return Err(twice(signed, &newest));
    }
    // Leaves that were read for a checkpoint which then never came are read again with this one.
    Ok(Step::Read { from: known.tail.size().min(signed.size).max(newest.size) })
}

fn twice(signed: &Checkpoint, newest: &Checkpoint) -> Breach {
    Breach::new(
        HeadendCause::LogForked,
        format!(
            "Checkpoint {} over {} leaves does not follow from checkpoint {} over {}, which the same key signed.",
            signed.number, signed.size, newest.number, newest.size
        ),
    )
}
