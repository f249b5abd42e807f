//! Quarantine: a meter whose firmware has no valid mark stays connected, for diagnosis and for new firmware, and nothing is
//! billed from it. It is judged at the connection and again whenever the certified product list or a mark's validity changes.

use std::sync::Arc;
use std::time::Duration;

use meterseal_model::{Digest384, MeterId, UnixMillis};
use meterseal_seal::{Mark, Refusal, Scope};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Acquisition, AcquisitionError, Session};
use crate::alarms::{Alarms, HeadendCause};
use crate::api::types;
use crate::clock;
use crate::config::MeterEntry;
use crate::fleet::Fleet;
use crate::products::Products;
use crate::requests::Task;
use crate::store::Store;

const CAUSE: HeadendCause = HeadendCause::MeterQuarantined;

/// A meter's standing, and when it is judged next.
#[derive(Debug)]
pub(super) struct Watch {
    products: Arc<Products>,
    changes: watch::Receiver<u64>,
    device_type: String,
    /// What it runs: attested where it can attest.
    digest: Digest384,
    scopes: Vec<Scope>,
    /// Why it is in quarantine.
    pub(super) reason: Option<String>,
    judge_at: Instant,
}

impl Watch {
    fn verdict(&self, now: UnixMillis) -> Result<Mark, Refusal> {
        self.products.list().covers(&self.device_type, None, &self.digest, &self.scopes, now).cloned()
    }

    /// Notes what the meter runs. `true`: it is something else than before.
    pub(super) fn runs(&mut self, digest: Digest384) -> bool {
        std::mem::replace(&mut self.digest, digest) != digest
    }

    /// Waits until it is time to judge the meter again.
    pub(super) async fn due(&mut self) {
        tokio::select! {
            // The list's owner lives as long as any session.
            changed = self.changes.changed() => if changed.is_err() { std::future::pending::<()>().await },
            () = tokio::time::sleep_until(self.judge_at) => {}
        }
    }
}

/// What it takes to put a meter into quarantine and out of it.
struct Desk<'a> {
    meter: MeterId,
    store: &'a Store,
    fleet: &'a Fleet,
    alarms: &'a Alarms,
}

impl Desk<'_> {
    /// Judges, and puts the verdict into effect: store first, shown then.
    async fn judge(&self, watch: &mut Watch, meter_time: Option<UnixMillis>) -> Result<(), AcquisitionError> {
        let now = clock::now();
        watch.changes.mark_unchanged();
        let verdict = watch.verdict(now);
        let ends = verdict.as_ref().ok().map(|mark| mark.valid_until.0.saturating_sub(now.0));
        // A mark that comes into effect later, or a clock that was set, is found within this time.
        let wait = ends
            .and_then(|left| u64::try_from(left).ok())
            .map_or(AGAIN, |left| Duration::from_millis(left + 1));
        watch.judge_at = Instant::now() + wait.min(AGAIN);
        match verdict {
            Ok(mark) => {
                self.fleet.set_mark(self.meter, Some(types::Mark::from(&mark)));
                watch.reason = None;
                // What an earlier session began, or an earlier run of the head-end, ends here, too.
                if self.fleet.is_quarantined(self.meter) {
                    tracing::info!(meter = %self.meter, "the meter's firmware has a valid mark again: no quarantine any more");
                    let text = "The meter's firmware has a valid mark.".to_owned();
                    self.alarms.end(Some(self.meter), CAUSE, text).await?;
                    self.store.end_quarantine(self.meter, now, meter_time).await?;
                    self.fleet.set_quarantine(self.meter, None);
                }
            }
            Err(refusal) => {
                let reason = sentence(&refusal);
                if watch.reason.as_ref() == Some(&reason) {
                    return Ok(());
                }
                let begun = self.store.begin_quarantine(self.meter, now, reason.clone()).await?;
                tracing::warn!(meter = %self.meter, reason, "quarantine: the meter is read, and nothing is billed from it");
                self.fleet.set_quarantine(self.meter, Some(types::Quarantine::from(&begun)));
                self.alarms.raise(Some(self.meter), CAUSE, format!("{} {reason}", CAUSE.sentence())).await?;
                watch.reason = Some(reason);
            }
        }
        Ok(())
    }
}

impl Acquisition {
    /// Judges a meter that has just connected.
    pub(super) async fn judge(
        &self,
        entry: &MeterEntry,
        device_type: &str,
        digest: Digest384,
    ) -> Result<Watch, AcquisitionError> {
        let mut watch = Watch {
            products: Arc::clone(&self.products),
            changes: self.products.changes(),
            device_type: device_type.to_owned(),
            digest,
            scopes: entry.allowed_scopes.clone(),
            reason: None,
            judge_at: Instant::now(),
        };
        let desk = Desk { meter: entry.id, store: &self.store, fleet: &self.fleet, alarms: &self.alarms };
        desk.judge(&mut watch, None).await?;
        Ok(watch)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// Judges the meter again in the middle of a session.
    pub(super) async fn judge_again(&mut self) -> Result<(), AcquisitionError> {
        // By the meter's own clock, as far as its last reading said.
        let meter_time = self.store.newest_live(self.meter).await?.map(|reading| reading.at);
        let desk = Desk { meter: self.meter, store: self.store, fleet: self.fleet, alarms: self.alarms };
        desk.judge(&mut self.mark, meter_time).await
    }

    /// Why a request is not carried out: in quarantine a meter is asked things, and nothing is set. New firmware goes
    /// another way.
    pub(super) fn forbidden(&self, task: &Task) -> Option<String> {
        let reason = self.mark.reason.as_ref()?;
        let reads = matches!(task, Task::Get { .. });
        (!reads).then(|| {
            format!("The meter is in quarantine, where it is only read and given new firmware. {reason}")
        })
    }
}

fn sentence(refusal: &Refusal) -> String {
    let mut text = refusal.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    format!("{text}.")
}

/// The longest pause between two looks at one meter.
const AGAIN: Duration = Duration::from_secs(60);
