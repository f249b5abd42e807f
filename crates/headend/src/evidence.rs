//! Files for others to check: a meter's whole log as the store holds it, for exports and statements.

use meterseal_model::MeterId;
use meterseal_seal::SealPublicKey;
use meterseal_seal::evidence::{Archive, Entries, Held, Origin};
use meterseal_seal::log::LogId;
use tokio::runtime::Handle;

use crate::store::{Store, StoreError};

/// A meter's log from its first leaf to the newest that a checkpoint covers; `None` for a meter whose log was never read.
/// What is made of it reads the store in pieces and waits for them: not on a thread of the runtime
/// (`tokio::task::spawn_blocking`).
///
/// # Errors
/// [`StoreError`] when the store cannot be read, or what it holds of the log cannot.
pub async fn archive(store: &Store, meter: MeterId) -> Result<Option<Archive<StoredLog>>, StoreError> {
    let Some(known) = store.witnessed(meter).await? else { return Ok(None) };
    // The store reads the newest checkpoint with this key, and fails before where it is none.
    let Ok(key) = SealPublicKey::from_der(&known.key) else { return Ok(None) };
    let end = known.newest.map_or(0, |newest| newest.size);
    let checkpoints = store.checkpoints(meter, known.log).await?;
    let entries = StoredLog { store: store.clone(), meter, log: known.log, end, runtime: Handle::current() };
    let origin = Origin { meter, log: known.log, key, chain: known.chain };
    Ok(Some(Archive { origin, entries, checkpoints }))
}

/// A log in the store.
#[derive(Clone, Debug)]
pub struct StoredLog {
    store: Store,
    meter: MeterId,
    log: LogId,
    end: u64,
    runtime: Handle,
}

impl Entries for StoredLog {
    type Error = StoreError;

    fn read(&mut self, from: u64) -> Result<Vec<Held>, StoreError> {
        let leaves = self.store.leaves(self.meter, self.log, from, self.end, AT_ONCE);
        let leaves = self.runtime.block_on(leaves)?;
        // Where a leaf is missing the log ends, and whoever uses it says so.
        let whole = (from..).zip(leaves).take_while(|(expected, leaf)| leaf.sequence == *expected);
        Ok(whole.map(|(_, leaf)| leaf.bytes.map_or(Held::Hash(leaf.hash), Held::Leaf)).collect())
    }
}

/// Leaves that are read at once: others are served in between.
const AT_ONCE: u32 = 1024;
