//! Ahead of time: marks that meters here rely on, and that end soon, are alarms while there is time for a renewal.

use std::sync::Arc;
use std::time::Duration;

use meterseal_seal::{Mark, Scope};
use tokio::sync::watch;

use crate::alarms::{Alarms, HeadendCause};
use crate::clock::{self, rfc3339};
use crate::config::MarkWarnings;
use crate::products::{Products, Standing};
use crate::stopped;
use crate::store::StoreError;

/// Raises and ends alarms about marks that end, until the head-end stops.
pub(crate) async fn watch(
    products: Arc<Products>,
    alarms: Alarms,
    warnings: MarkWarnings,
    mut stopping: watch::Receiver<bool>,
) {
    let mut changes = products.changes();
    loop {
        match look(&products, &alarms, warnings).await {
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "the alarms about marks that end could not be stored; tried again")
            }
            Ok(()) => {}
        }
        tokio::select! {
            () = stopped(&mut stopping) => return,
            _ = changes.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn look(products: &Products, alarms: &Alarms, warnings: MarkWarnings) -> Result<(), StoreError> {
    let now = clock::now();
    let list = products.list();
    let relied_on = alarms.fleet.firmwares();
    // The mark that lasts longest counts; one that meters have outgrown is nobody's concern, nor is a development mark,
    // which is made anew at each start.
    let mut ends: Vec<(&Mark, usize)> = Vec::new();
    for (facts, meters) in &relied_on {
        let covering = list.entries.iter().filter(|listed| listed.standing(now) == Standing::Valid);
        let longest = covering
            .filter_map(|listed| listed.mark.as_ref())
            .filter(|mark| {
                mark.device_type == facts.device_type && mark.firmware_digest == facts.firmware_digest
            })
            .max_by_key(|mark| mark.valid_until);
        ends.extend(longest.filter(|mark| mark.scope != Scope::Development).map(|mark| (mark, *meters)));
    }
    let within = |days: u32| i64::from(days) * 86_400_000;
    for (cause, days) in
        [(HeadendCause::MarkRenewalDue, warnings.first_days), (HeadendCause::MarkEnding, warnings.last_days)]
    {
        let due = |mark: &Mark| {
            let renewal = cause == HeadendCause::MarkRenewalDue && now >= mark.renew_from;
            renewal || now.0 >= mark.valid_until.0.saturating_sub(within(days))
        };
        let named: Vec<String> = ends
            .iter()
            .filter(|(mark, _)| due(mark))
            .map(|(mark, meters)| {
                let type_ = &mark.device_type;
                format!(
                    "\"{type_}\" by {} ends {} ({meters} of the meters here)",
                    mark.signatory,
                    rfc3339(mark.valid_until)
                )
            })
            .collect();
        if named.is_empty() {
            alarms.end(None, cause, "No mark that meters here rely on ends so soon.".to_owned()).await?;
        } else {
            alarms.raise(None, cause, format!("{} {}.", cause.sentence(), named.join("; "))).await?;
        }
    }
    Ok(())
}

const LOOK_EVERY: Duration = Duration::from_secs(60);
