//! Proofs: that a leaf is in a tree (RFC 9162, 2.1.3), and that a tree grew out of an earlier one (2.1.4).
//!
//! Making one asks a [`Subtrees`] for the hashes of O(log n) complete subtrees and holds O(log n) of them; checking one
//! needs nothing but the proof. A proof is never longer than [`MAX_PROOF`].

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use super::LogHash;

/// The most hashes in a proof: one for each level on the way to the root, and one more to begin with.
pub const MAX_PROOF: usize = 65;

/// Where the hashes of a tree come from.
pub trait Subtrees {
    /// Why a hash could not be read.
    type Error;

    /// The hash of the complete subtree over the leaves `first .. first + 2^level`, where `first` is a multiple of
    /// 2^level and all these leaves exist; `None` when it is not there (any more).
    ///
    /// # Errors
    /// What reading failed with.
    fn subtree(&mut self, first: u64, level: u32) -> Result<Option<LogHash>, Self::Error>;
}

/// The hashes of all leaves of a tree, in memory.
#[derive(Clone, Copy, Debug)]
pub struct Leaves<'a>(pub &'a [LogHash]);

impl Subtrees for Leaves<'_> {
    type Error = Infallible;

    fn subtree(&mut self, first: u64, level: u32) -> Result<Option<LogHash>, Infallible> {
        let range = usize::try_from(first)
            .ok()
            .zip(1usize.checked_shl(level))
            .and_then(|(first, width)| self.0.get(first..first.checked_add(width)?));
        Ok(range.map(complete_root))
    }
}

/// The hashes of all complete subtrees of a tree, in memory: each proof is then a look-up. Two hashes a leaf.
#[derive(Clone, Debug)]
pub struct Levels(Vec<Vec<LogHash>>);

impl Levels {
    /// Those over these leaves.
    pub fn new(leaves: Vec<LogHash>) -> Self {
        let mut levels = alloc::vec![leaves];
        while let Some(below) = levels.last().filter(|below| below.len() > 1) {
            let (pairs, _) = below.as_chunks::<2>();
            let above = pairs.iter().map(|[left, right]| LogHash::of_node(left, right)).collect();
            levels.push(above);
        }
        Self(levels)
    }
}

impl Subtrees for Levels {
    type Error = Infallible;

    fn subtree(&mut self, first: u64, level: u32) -> Result<Option<LogHash>, Infallible> {
        let place = first.checked_shr(level).and_then(|place| usize::try_from(place).ok());
        let level = self.0.get(level as usize);
        Ok(level.zip(place).and_then(|(level, place)| level.get(place).copied()))
    }
}

/// The root of 2^level leaves.
fn complete_root(leaves: &[LogHash]) -> LogHash {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len() / 2);
            LogHash::of_node(&complete_root(left), &complete_root(right))
        }
    }
}

/// The root of the tree over the first `size` leaves.
///
/// # Errors
/// [`ProofError::Missing`] or [`ProofError::Read`] when a subtree's hash is not to be had.
pub fn root<S: Subtrees>(subtrees: &mut S, size: u64) -> Result<LogHash, ProofError<S::Error>> {
    if size == 0 {
        return Ok(LogHash::of_empty_tree());
    }
    range_root(subtrees, 0, size)
}

/// The proof that leaf `index` is in the tree over the first `size` leaves, from the leaf's sibling up.
///
/// # Errors
/// [`ProofError::OutOfRange`] when the tree has no such leaf; [`ProofError::Missing`] or [`ProofError::Read`].
pub fn inclusion_proof<S: Subtrees>(
    subtrees: &mut S,
    index: u64,
    size: u64,
) -> Result<Vec<LogHash>, ProofError<S::Error>> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let mut path = Vec::new();
    let (mut first, mut end) = (0, size);
    // From the root down to the leaf; the side not taken belongs to the proof.
    while end - first > 1 {
        let middle = first + split(end - first);
        if index < middle {
            path.push(range_root(subtrees, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(subtrees, first, middle)?);
            first = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Whether `path` proves that `leaf` is number `index` of the tree of `size` leaves with this root (2.1.3.2).
#[must_use]
pub fn verify_inclusion(leaf: &LogHash, index: u64, size: u64, path: &[LogHash], root: &LogHash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = LogHash::of_node(sibling, &hash);
            // A node at the right edge without a sibling moves up as it is.
            let up = node.trailing_zeros();
            node = node.checked_shr(up).unwrap_or(0);
            last = last.checked_shr(up).unwrap_or(0);
        } else {
            hash = LogHash::of_node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// The proof that the tree over the first `new` leaves begins with the tree over the first `old` ones. Empty when both
/// are the same, or when the old one is empty.
///
/// # Errors
/// [`ProofError::OutOfRange`] when the old tree is the larger one; [`ProofError::Missing`] or [`ProofError::Read`].
pub fn consistency_proof<S: Subtrees>(
    subtrees: &mut S,
    old: u64,
    new: u64,
) -> Result<Vec<LogHash>, ProofError<S::Error>> {
    if old > new {
        return Err(ProofError::OutOfRange);
    }
    let mut path = Vec::new();
    if old == 0 || old == new {
        return Ok(path);
    }
    let (mut first, mut end) = (0, new);
    // SUBPROOF (2.1.4.1): down to where the old tree ends with the subtree at hand.
    while old != end {
        let middle = first + split(end - first);
        if old <= middle {
            path.push(range_root(subtrees, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(subtrees, first, middle)?);
            first = middle;
        }
    }
    // The old root itself is known to whoever checks, if this subtree is the whole old tree.
    if first != 0 {
        path.push(range_root(subtrees, first, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether `path` proves that a tree of `new_size` leaves begins with the tree of `old_size` leaves (2.1.4.2). Every
/// tree begins with the empty one.
#[must_use]
pub fn verify_consistency(
    old_size: u64,
    old_root: &LogHash,
    new_size: u64,
    new_root: &LogHash,
    path: &[LogHash],
) -> bool {
    if old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return path.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        return path.is_empty() && *old_root == LogHash::of_empty_tree();
    }
    let up = (old_size - 1).trailing_ones();
    let mut node = (old_size - 1) >> up;
    let mut last = (new_size - 1) >> up;
    // An old tree that is complete is its own first hash.
    let (start, rest) = if old_size.is_power_of_two() {
        (*old_root, path)
    } else {
        match path.split_first() {
            Some((first, rest)) => (*first, rest),
            None => return false,
        }
    };
    let (mut old, mut new) = (start, start);
    for hash in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old = LogHash::of_node(hash, &old);
            new = LogHash::of_node(hash, &new);
            let up = node.trailing_zeros();
            node = node.checked_shr(up).unwrap_or(0);
            last = last.checked_shr(up).unwrap_or(0);
        } else {
            new = LogHash::of_node(&new, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old == *old_root && new == *new_root
}

/// The hash over the leaves `first .. end`, which is a subtree of some tree: `first` is a multiple of the smallest power
/// of two that holds the range. Its complete parts, largest first, are joined from the right.
fn range_root<S: Subtrees>(subtrees: &mut S, first: u64, end: u64) -> Result<LogHash, ProofError<S::Error>> {
    let mut width = end - first;
    let mut part_end = end;
    let mut hash: Option<LogHash> = None;
    while width != 0 {
        let level = width.trailing_zeros();
        let part_first = part_end - (1 << level);
        let left = subtrees
            .subtree(part_first, level)
            .map_err(ProofError::Read)?
            .ok_or(ProofError::Missing { first: part_first, level })?;
        hash = Some(match hash {
            Some(right) => LogHash::of_node(&left, &right),
            None => left,
        });
        part_end = part_first;
        width &= width - 1;
    }
    hash.ok_or(ProofError::OutOfRange)
}

/// The largest power of two below `width`, which is above 1.
const fn split(width: u64) -> u64 {
    1 << (u64::BITS - 1 - (width - 1).leading_zeros())
}

/// Why a proof could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofError<E> {
    /// The tree has no such leaf, or is smaller than the one that it should have grown out of.
    OutOfRange,
    /// The hash of this subtree is not there (any more).
    Missing {
        /// Its first leaf.
        first: u64,
        /// It has 2^level leaves.
        level: u32,
    },
    /// It could not be read.
    Read(E),
}

impl<E: fmt::Display> fmt::Display for ProofError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange => f.write_str("the log has no such leaf, or is smaller than it once was"),
            Self::Missing { first, level } => {
                write!(f, "the log's hashes of 2^{level} leaves from leaf {first} on are not there any more")
            }
            Self::Read(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for ProofError<E> {}
