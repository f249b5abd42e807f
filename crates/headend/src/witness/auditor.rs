//! Whether the database still says what the meters sealed, also while they are away.
//!
//! Nobody but the head-end writes into its database. SQLite tells it when somebody else did: then all meters are compared
//! with their leaves again, those that are away here, one after another, and those that are connected by their own
//! tasks, which can ask the meter for what has gone. An alarm is raised for what was restored.

use std::time::Duration;

use meterseal_model::MeterId;
use tokio::sync::watch::Receiver;
use tokio::time::{MissedTickBehavior, interval};

use crate::alarms::{Alarms, HeadendCause};
use crate::clock;
use crate::store::{Audit, StoreError};

/// Looks for other people's writes until the head-end stops.
pub(crate) async fn watch(alarms: Alarms, mut stopping: Receiver<bool>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Meters that are away at the start are compared once, as the others are at their first contact.
    let mut known = None;
    loop {
        tokio::select! {
            biased;
            () = crate::stopped(&mut stopping) => return,
            _ = looks.tick() => {}
        }
        match alarms.store.look_for_foreign_writes().await {
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "it cannot be seen whether somebody writes into the database")
            }
            Ok(now) if known == Some(now) => {}
            Ok(now) => {
                if known.is_some() {
                    tracing::warn!(
                        "somebody else wrote into the database; it is compared with what the meters sealed"
                    );
                }
                tokio::select! {
                    biased;
                    () = crate::stopped(&mut stopping) => return,
                    compared = compare_all(&alarms) => match compared {
                        Err(StoreError::Closed) => return,
                        Err(error) => tracing::warn!(%error, "the database cannot be compared with the sealed logs; tried again"),
                        Ok(()) => known = Some(now),
                    },
                }
            }
        }
    }
}

/// Compares the rows of all meters that are away.
async fn compare_all(alarms: &Alarms) -> Result<(), StoreError> {
    for meter in alarms.fleet.away() {
        let audit = alarms.store.audit(meter, 0, clock::now()).await?;
        if let Some(from) = audit.refetch {
            let text = format!(
                "Leaves from {from} on are missing from the database, or altered there; the meter is asked for them \
                 when it calls."
            );
            alarms.raise(Some(meter), HeadendCause::RowRepaired, text).await?;
        }
        report(alarms, meter, &audit).await?;
    }
    Ok(())
}

/// Says what had to be restored.
pub(crate) async fn report(alarms: &Alarms, meter: MeterId, audit: &Audit) -> Result<(), StoreError> {
    if audit.restored == 0 {
        return Ok(());
    }
    let shown = audit.repaired.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    let more = audit.restored.saturating_sub(shown.len() as u64);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let text = format!("Restored from the meter's sealed log: {}{more}.", shown.join("; "));
    tracing::error!(%meter, "{text}");
    alarms.raise(Some(meter), HeadendCause::RowRepaired, text).await
}

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);
/// Rows that an alarm's text names at most.
const SHOWN: usize = 5;
