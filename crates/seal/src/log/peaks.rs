//! All that appending to a tree needs: the hashes of the complete subtrees that its leaves make, largest first.
//!
//! A tree of *n* leaves has one peak for each bit that is set in *n*, at most 64 in all. Appending costs one hash of
//! two nodes on average, and never more than 64; the root costs one for each peak but the first.

use alloc::vec::Vec;
use core::fmt;

use minicbor::Decoder;

use super::LogHash;
use crate::envelope::written;

/// The peaks of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    size: u64,
    hashes: Vec<LogHash>,
}

impl Peaks {
    /// The most peaks that a tree has.
    pub const MAX: usize = 64;

    /// Those of a tree without leaves.
    pub const fn new() -> Self {
        Self { size: 0, hashes: Vec::new() }
    }

    /// Those of a tree of `size` leaves, largest subtree first.
    ///
    /// # Errors
    /// [`PeaksError::Count`] when such a tree has another number of peaks.
    pub fn from_parts(size: u64, hashes: &[LogHash]) -> Result<Self, PeaksError> {
        if hashes.len() != size.count_ones() as usize {
            return Err(PeaksError::Count { size, found: hashes.len() });
        }
        Ok(Self { size, hashes: hashes.to_vec() })
    }

    /// How many leaves the tree has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The peaks, largest subtree first: one for each bit that is set in [`size`](Self::size).
    pub fn hashes(&self) -> &[LogHash] {
        &self.hashes
    }

    /// The hash of the complete subtree over the leaves `first ..  first + 2^level`, if it is a peak.
    pub fn peak(&self, first: u64, level: u32) -> Option<LogHash> {
        let width = 1u64.checked_shl(level)?;
        // It is the peak of this bit, and all higher bits are the leaves before it.
        let above = self.size.checked_shr(level + 1).unwrap_or(0).checked_shl(level + 1).unwrap_or(0);
        if self.size & width == 0 || first != above {
            return None;
        }
        self.hashes.get(above.count_ones() as usize).copied()
    }

    /// Appends a leaf. A tree holds at most 2⁶⁴ − 1 leaves; one more is not taken (a leaf each nanosecond would need
    /// 584 years).
    pub fn append(&mut self, leaf: LogHash) {
        let Some(size) = self.size.checked_add(1) else { return };
        let mut hash = leaf;
        // Each trailing one of the old size is a subtree that this leaf completes.
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.hashes.pop() else { break };
            hash = LogHash::of_node(&left, &hash);
        }
        self.hashes.push(hash);
        self.size = size;
    }

    /// The root of the tree (RFC 9162, 2.1.1).
    pub fn root(&self) -> LogHash {
        let mut smallest_first = self.hashes.iter().rev().copied();
        let Some(last) = smallest_first.next() else { return LogHash::of_empty_tree() };
        smallest_first.fold(last, |right, left| LogHash::of_node(&left, &right))
    }

    /// As CBOR: an array of the size and all hashes in one byte string.
    pub fn encode(&self) -> Vec<u8> {
        let hashes: Vec<u8> = self.hashes.iter().flat_map(|hash| hash.0).collect();
        written(|encoder| encoder.array(2)?.u64(self.size)?.bytes(&hashes)?.ok())
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    ///
    /// # Errors
    /// [`PeaksError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PeaksError> {
        let malformed = |_: minicbor::decode::Error| PeaksError::Malformed;
        let mut decoder = Decoder::new(bytes);
        if decoder.array().map_err(malformed)? != Some(2) {
            return Err(PeaksError::Malformed);
        }
        let size = decoder.u64().map_err(malformed)?;
        let (chunks, rest) = decoder.bytes().map_err(malformed)?.as_chunks::<{ LogHash::LENGTH }>();
        if !rest.is_empty() || chunks.len() > Self::MAX {
            return Err(PeaksError::Malformed);
        }
        let hashes: Vec<LogHash> = chunks.iter().map(|&hash| LogHash(hash)).collect();
        let peaks = Self::from_parts(size, &hashes)?;
        if peaks.encode() == bytes { Ok(peaks) } else { Err(PeaksError::Malformed) }
    }
}

/// Why something is not the peaks of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeaksError {
    /// Not their CBOR.
    Malformed,
    /// A tree of this size has another number of peaks.
    Count {
        /// Leaves of the tree.
        size: u64,
        /// Peaks that were given.
        found: usize,
    },
}

impl fmt::Display for PeaksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("these are not the peaks of a tree"),
            Self::Count { size, found } => {
                write!(f, "a tree of {size} leaves has {} peaks, not {found}", size.count_ones())
            }
        }
    }
}

impl core::error::Error for PeaksError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn peaks(size: u64) -> Peaks {
        let mut peaks = Peaks::new();
        (0..size).for_each(|leaf| peaks.append(LogHash::of_leaf(&leaf.to_be_bytes())));
        peaks
    }

    #[test]
    fn peaks_survive_their_encoding_and_nothing_else_is_read() {
        for size in [0, 1, 2, 3, 7, 8, 64, 1000] {
            let peaks = peaks(size);
            let bytes = peaks.encode();
            assert_eq!(Peaks::decode(&bytes), Ok(peaks.clone()));
            for end in 0..bytes.len() {
                assert!(Peaks::decode(&bytes[..end]).is_err());
            }
            assert!(Peaks::decode(&[bytes, alloc::vec![0]].concat()).is_err());
            assert!(
                Peaks::from_parts(size + 1, peaks.hashes()).is_err()
                    || size.count_ones() == (size + 1).count_ones()
            );
        }
        assert_eq!(Peaks::from_parts(3, &[]), Err(PeaksError::Count { size: 3, found: 0 }));
    }

    #[test]
    fn a_peak_is_found_by_its_place() {
        let peaks = peaks(13);
        assert_eq!(peaks.peak(0, 3), Some(peaks.hashes()[0]));
        assert_eq!(peaks.peak(8, 2), Some(peaks.hashes()[1]));
        assert_eq!(peaks.peak(12, 0), Some(peaks.hashes()[2]));
        for (first, level) in [(0, 2), (8, 3), (12, 1), (13, 0), (8, 0), (0, 63), (0, 64), (0, 200)] {
            assert_eq!(peaks.peak(first, level), None, "{first} {level}");
        }
    }

    #[test]
    fn a_full_tree_takes_no_more() {
        let full = Peaks::from_parts(u64::MAX, &[LogHash([1; 32]); 64]).unwrap();
        let mut same = full.clone();
        same.append(LogHash([2; 32]));
        assert_eq!(same, full);
        assert_eq!(full.peak(0, 63), Some(LogHash([1; 32])));
    }
}
