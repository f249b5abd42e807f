//! Files for others to check: a meter's whole log as the store holds it, for exports and statements.

use meterseal_model::{MeterId, UnixMillis};
use meterseal_seal::SealPublicKey;
use meterseal_seal::evidence::{Archive, Entries, Held, Origin};
use meterseal_seal::log::LogId;
use tokio::runtime::Handle;

use crate::store::{Quarantine, Store, StoreError};

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

/// Whether a meter may be billed from for a period of its clock.
///
/// # Errors
/// [`NotBillable`]: what it recorded then, or some of it, is from firmware without a valid mark.
pub async fn billable(
    store: &Store,
    meter: MeterId,
    from: UnixMillis,
    to: UnixMillis,
) -> Result<(), NotBillable> {
    let periods = store.quarantines(meter).await?;
    match periods.into_iter().find(|period| period.overlaps(from, to)) {
        Some(period) => Err(NotBillable::Quarantined { meter, period }),
        None => Ok(()),
    }
}

/// Why there is no bill.
#[derive(Debug, thiserror::Error)]
pub enum NotBillable {
    /// The meter was in quarantine.
    #[error("{}", quarantined(.meter, .period))]
    Quarantined {
        /// Which meter.
        meter: MeterId,
        /// When.
        period: Quarantine,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn quarantined(meter: &MeterId, period: &Quarantine) -> String {
    let after = match period.after {
        UnixMillis(i64::MIN) => "everything that it recorded".to_owned(),
        after => format!("what it recorded after {after}"),
    };
    let upto = period.upto.map_or_else(|| ", and goes on".to_owned(), |upto| format!(" up to {upto}"));
    format!(
        "meter {meter} is not billed from for this period: it was in quarantine since {}, which covers {after}{upto}. {} Bill \
         another period, or settle this one by hand",
        period.since, period.reason
    )
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
