//! Files for others to check: a meter's whole log as the store holds it, for exports and statements.

use meterseal_model::MeterId;
use meterseal_seal::SealPublicKey;
use meterseal_seal::evidence::{Archive, Held, Origin};

use crate::store::{Store, StoreError};

/// A meter's log from its first leaf to the newest that a checkpoint covers; `None` for a meter whose log was never read.
///
/// # Errors
/// [`StoreError`] when the store cannot be read, or what it holds of the log cannot.
pub async fn archive(store: &Store, meter: MeterId) -> Result<Option<Archive>, StoreError> {
    let Some(known) = store.witnessed(meter).await? else { return Ok(None) };
    // The store reads the newest checkpoint with this key, and fails before where it is none.
    let Ok(key) = SealPublicKey::from_der(&known.key) else { return Ok(None) };
    let end = known.newest.map_or(0, |newest| newest.size);
    let mut entries = Vec::new();
    loop {
        let from = entries.len() as u64;
        let some = store.leaves(meter, known.log, from, end, AT_ONCE).await?;
        if some.is_empty() {
            break;
        }
        for leaf in some {
            // Where a leaf is missing the archive ends, and whoever uses it says so.
            if leaf.sequence != entries.len() as u64 {
                break;
            }
            entries.push(leaf.bytes.map_or(Held::Hash(leaf.hash), Held::Leaf));
        }
        if entries.len() as u64 == from {
            break;
        }
    }
    let checkpoints = store.checkpoints(meter, known.log).await?;
    let origin = Origin { meter, log: known.log, key, chain: known.chain };
    Ok(Some(Archive { origin, entries, checkpoints }))
}

/// Leaves that are read at once: the store's reader serves others in between.
const AT_ONCE: u32 = 4096;
