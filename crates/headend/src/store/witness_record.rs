//! What the store keeps of a meter's sealed log.

use meterseal_seal::log::{Checkpoint, LogHash, LogId, Peaks};

/// What is known of a meter's sealed log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// Which log.
    pub log: LogId,
    /// The log key that was pinned: SubjectPublicKeyInfo, DER.
    pub key: Vec<u8>,
    /// The key's certificates as the meter gave them, its own first, DER. Empty where nobody vouches for it.
    pub chain: Vec<Vec<u8>>,
    /// The tree that the newest checkpoint covers.
    pub proven: Peaks,
    /// The same with the leaves behind it that were read already.
    pub tail: Peaks,
    /// The newest checkpoint.
    pub newest: Option<Checkpoint>,
}

/// A leaf as a meter gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafContent {
    /// All of it.
    Bytes(Vec<u8>),
    /// Only its hash: the record has left the meter.
    Hash(LogHash),
}

/// A leaf in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLeaf {
    /// Its place in the tree.
    pub sequence: u64,
    /// Its hash.
    pub hash: LogHash,
    /// Its bytes, where the meter still had them.
    pub bytes: Option<Vec<u8>>,
}

/// What became of leaves that were handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// They are behind the tail, which now has this many leaves.
    Tail(u64),
    /// They are not what should stand there, and nothing was stored.
    Refused(&'static str),
}

/// Whether a checkpoint's root is that of the leaves that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It is; the checkpoint is stored, and its leaves are proven.
    Proven,
    /// It is not; the leaves behind the proven ones are forgotten. This is the root that they led to.
    Other(LogHash),
}

/// What comparing the database with a meter's sealed leaves has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Leaves whose rows were compared.
    pub leaves: u64,
    /// Rows that were restored from their leaves, in words: the first hundred.
    pub repaired: Vec<String>,
    /// How many were restored in all.
    pub restored: u64,
    /// The first leaf that is missing or is not what was proven: the meter has to be asked again from there.
    pub refetch: Option<u64>,
}

impl Audit {
    /// This one, and what another had restored before it.
    pub(crate) fn after(mut self, mut before: Self) -> Self {
        before.repaired.append(&mut self.repaired);
        Self { repaired: before.repaired, restored: before.restored + self.restored, ..self }
    }
}
