//! Meters of other makers: each was added by somebody who knows that it carries no mark and does not conform. The
//! head-end dials it, reads registers and load profile, and shows it as what it is; nothing is billed from it as marked.
//!
//! The folder of entries ([`entry`]) is looked at every [`LOOK`]: what was added is dialled, what was changed is dialled
//! anew, what was removed is left. Each meter has a task, so one that is slow, broken or hostile delays nobody else.

pub mod entry;
mod reading;
mod session;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meterseal_link::dial::{Backoff, DialLimits, random_jitter};
use meterseal_link::sparing::Sparing;
use meterseal_model::{MeterId, SystemTitle, TimeBase};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::api::types;
use crate::fleet::Fleet;
use crate::requests::Requests;
use crate::store::{ConnectionState, MeterRecord, Store, StoreError};
use crate::{clock, stopped};
use entry::OtherEntry;

/// Between two looks at the folder.
const LOOK: Duration = Duration::from_secs(2);

/// Pauses between attempts to reach a meter.
const PAUSES: DialLimits = DialLimits {
    connect: Duration::from_secs(10),
    handshake: Duration::from_secs(10),
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(60),
    stable: Duration::from_secs(30),
};

/// What every such meter's task works with.
#[derive(Clone, Debug)]
pub(crate) struct Others {
    pub(crate) folder: PathBuf,
    pub(crate) store: Store,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) requests: Arc<Requests>,
    /// The head-end's own system title.
    pub(crate) system_title: SystemTitle,
}

impl Others {
    /// Works until the head-end stops.
    pub(crate) async fn serve(self, mut stopping: watch::Receiver<bool>) {
        let mut running: HashMap<MeterId, (OtherEntry, AbortHandle)> = HashMap::new();
        let mut tasks = JoinSet::new();
        let complaints = Sparing::new();
        loop {
            let wanted = self.look(&complaints).await;
            let gone: Vec<MeterId> = running
                .iter()
                .filter(|(id, (entry, _))| wanted.get(*id) != Some(entry))
                .map(|(&id, _)| id)
                .collect();
            for id in gone {
                if let Some((_, task)) = running.remove(&id) {
                    task.abort();
                }
                if !wanted.contains_key(&id) {
                    tracing::info!(meter = %id, "another maker's meter was removed");
                    self.fleet.remove(id);
                    self.requests.remove(id);
                }
            }
            for (id, entry) in wanted {
                running.entry(id).or_insert_with(|| {
                    let task = tasks.spawn(self.clone().keep(entry.clone()));
                    (entry, task)
                });
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stopped(&mut stopping) => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "the task of another maker's meter failed; the others go on: please report this");
                    }
                }
            }
        }
        tasks.shutdown().await;
    }

    /// The entries as they are in the folder now. One that cannot be used is said once a minute and left out.
    async fn look(&self, complaints: &Sparing<String>) -> HashMap<MeterId, OtherEntry> {
        let folder = self.folder.clone();
        let listed = tokio::task::spawn_blocking(move || entry::list(&folder)).await;
        let entries = match listed {
            Ok(Ok(entries)) => entries,
            Ok(Err(error)) => vec![Err(error)],
            Err(_) => Vec::new(),
        };
        let mut wanted = HashMap::new();
        for entry in entries {
            match entry {
                // One of our own makers' meters under this name is not replaced.
                Ok(entry) if self.fleet.record(entry.id).is_some() && !self.fleet.is_other(entry.id) => {
                    let complaint = format!(
                        "{} is configured as a meter that calls; another maker's cannot take its name",
                        entry.id
                    );
                    if complaints.say(complaint.clone()).is_some() {
                        tracing::error!("{complaint}");
                    }
                }
                Ok(entry) => {
                    wanted.insert(entry.id, entry);
                }
                Err(error) => {
                    if complaints.say(error.to_string()).is_some() {
                        tracing::error!(%error, "another maker's meter cannot be read");
                    }
                }
            }
        }
        wanted
    }

    /// Keeps one meter read, for ever.
    async fn keep(self, entry: OtherEntry) {
        let id = entry.id;
        if let Err(error) = self.introduce(&entry).await {
            tracing::error!(meter = %id, %error, "another maker's meter could not be stored");
            return;
        }
        tracing::warn!(
            meter = %id, address = %entry.address, security = entry.security.name(),
            "another maker's meter is read: it carries no mark and does not conform"
        );
        let mut backoff = Backoff::new(PAUSES);
        loop {
            let began = Instant::now();
            let Err(error) = session::run(&self, &entry).await;
            if began.elapsed() >= PAUSES.stable {
                backoff.reset();
            }
            self.ended(id, &error.to_string()).await;
            tokio::time::sleep(backoff.next(random_jitter())).await;
        }
    }

    async fn introduce(&self, entry: &OtherEntry) -> Result<(), StoreError> {
        let record = MeterRecord {
            id: entry.id,
            name: entry.name.clone(),
            site: "other".to_owned(),
            is_virtual: false,
            time_base: TimeBase::Wall,
        };
        let history = self.store.register(record.clone()).await?;
        let other = types::OtherMeter {
            address: entry.address.to_string(),
            security: entry.security.name(),
            registers: Vec::new(),
        };
        let pace = Duration::from_secs(entry.period_seconds.into());
        self.fleet.add_other(record, history, other, pace);
        Ok(())
    }

    async fn ended(&self, meter: MeterId, reason: &str) {
        let Some(since) = self.fleet.ended(meter, ConnectionState::Offline, clock::now(), reason) else {
            // A meter that fails each time in the same way fills neither log nor disk.
            return;
        };
        tracing::warn!(%meter, reason, "another maker's meter is offline");
        let stored =
            self.store.set_state(meter, ConnectionState::Offline, since, Some(reason.to_owned())).await;
        if let Err(error) = stored {
            tracing::warn!(%meter, %error, "the meter's state could not be stored");
        }
    }
}
