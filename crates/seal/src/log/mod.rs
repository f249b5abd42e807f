//! The sealed log: everything that must not be altered unnoticed is a leaf of one Merkle tree (RFC 9162, 2.1; SHA-256),
//! whose root the meter signs in checkpoints.
//!
//! In order: [`hash`] names leaves and nodes; [`leaf`] is what a leaf says and how its bytes are written, [`body`] its
//! content by kind, [`salt`] what keeps a neighbour from guessing it; [`peaks`] is all that appending needs;
//! [`proof`] shows that a leaf is in a tree, and that a tree grew out of an earlier one; [`checkpoint`] is the signed
//! size and root; [`succession`] is an authority's word that one log follows another. Nothing here stores anything: a
//! meter serves [`proof::Subtrees`] from its flash, a head-end from its database, a file from its leaves.

pub mod body;
pub mod checkpoint;
pub mod hash;
pub mod leaf;
pub mod peaks;
pub mod proof;
pub mod salt;
pub mod succession;

pub use body::{Billing, Body, Boot, Event, Interval, Maximum, Rates, Reading, ReadingReason, Totals};
pub use checkpoint::{Checkpoint, CheckpointError, Newest, SignedCheckpoint};
pub use hash::{LogHash, LogId};
pub use leaf::{Leaf, LeafError, LeafKind};
pub use peaks::{Peaks, PeaksError};
pub use proof::{
    Leaves, ProofError, Subtrees, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};
pub use salt::SaltKey;
pub use succession::{Succession, SuccessionError};
