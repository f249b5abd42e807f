//! The meters as they are now: what the page shows, kept in memory beside the store, and a channel on which
//! every change is announced. Announcing never waits for a reader.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use meterseal_model::{MeterId, Stimulus, UnixMillis};
use serde::Serialize;
use tokio::sync::{broadcast, watch};

use crate::api::types;
use crate::campaigns::{CampaignRecord, Counts};
use crate::clock::rfc3339;
use crate::shared::Shared;
use crate::store::{
    AlarmChange, AttestedRecord, ConnectionState, DeviceFacts, LiveReading, MeterHistory, MeterRecord,
    StoredEvent,
};

/// Messages that a slow reader may be behind before it is told to fetch everything again: a storm of a thousand alarms is
/// three thousand messages. A few megabytes at most, whoever does not read.
const BACKLOG: usize = 8192;

/// A change, already written as JSON: once, however many pages are open.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    /// Name of the server-sent event.
    pub(crate) name: &'static str,
    /// Its data.
    pub(crate) json: Arc<str>,
}

/// When a meter was last heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) meter: MeterId,
    /// Never, or when by the wall clock.
    pub(crate) last: Option<UnixMillis>,
    /// How often it is read, where that is its own affair.
    pub(crate) own_pace: Option<Duration>,
}

/// Every configured meter.
#[derive(Debug)]
pub(crate) struct Fleet {
    meters: RwLock<Meters>,
    updates: broadcast::Sender<Update>,
    /// Number of the newest change to an alarm: wakes what tells others of it.
    changes: watch::Sender<u64>,
    /// Meters of one type and firmware say the same of themselves and have the same mark.
    facts: Shared<DeviceFacts>,
    marks: Shared<types::Mark>,
}

/// In the order in which they were added.
#[derive(Debug, Default)]
struct Meters {
    all: Vec<Arc<Entry>>,
    by_id: HashMap<MeterId, Arc<Entry>>,
}

#[derive(Debug)]
struct Entry {
    record: MeterRecord,
    status: Mutex<Status>,
}

/// What changes.
#[derive(Debug)]
struct Status {
    state: ConnectionState,
    since: Option<UnixMillis>,
    reason: Option<String>,
    last_seen: Option<UnixMillis>,
    facts: Option<Arc<DeviceFacts>>,
    mark: Option<Arc<types::Mark>>,
    live: Option<LiveReading>,
    open_alarms: u64,
    /// The change after which they were counted so.
    counted_at: u64,
    /// For another maker's meter: how it is read, and what it said last.
    other: Option<types::OtherMeter>,
    own_pace: Option<Duration>,
    /// What it attested last.
    attested: Option<Arc<AttestedRecord>>,
}

impl Fleet {
    /// Every meter with what is remembered of it. A meter that was connected when the head-end last ran is
    /// offline until it calls again.
    pub(crate) fn new(
        meters: Vec<(MeterRecord, MeterHistory, Option<LiveReading>, Option<AttestedRecord>)>,
    ) -> Self {
        let (updates, _) = broadcast::channel(BACKLOG);
        let mut fleet = Self {
            meters: RwLock::default(),
            updates,
            changes: watch::Sender::new(0),
            facts: Shared::default(),
            marks: Shared::default(),
        };
        let (mut all, mut by_id) = (Vec::with_capacity(meters.len()), HashMap::with_capacity(meters.len()));
        for (record, history, live, attested) in meters {
            let attested = attested.map(Arc::new);
            let status = Status { attested, ..fleet.remembered(history, live) };
            let entry = Arc::new(Entry { record, status: Mutex::new(status) });
            by_id.insert(entry.record.id, Arc::clone(&entry));
            all.push(entry);
        }
        fleet.meters = RwLock::new(Meters { all, by_id });
        fleet
    }

    /// Adds another maker's meter, or takes over what changed of it, and announces it.
    pub(crate) fn add_other(
        &self,
        record: MeterRecord,
        history: MeterHistory,
        other: types::OtherMeter,
        pace: Duration,
    ) {
        let id = record.id;
        let remembered = self.remembered(history, None);
        self.insert(record, Status { other: Some(other), own_pace: Some(pace), ..remembered });
        self.change(id, |_| ());
    }

    /// Whether this is another maker's meter.
    pub(crate) fn is_other(&self, id: MeterId) -> bool {
        self.entry(id).is_some_and(|entry| entry.status().other.is_some())
    }

    /// Takes a meter out. Pages fetch everything anew.
    pub(crate) fn remove(&self, id: MeterId) {
        {
            let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
            meters.by_id.remove(&id);
            meters.all.retain(|entry| entry.record.id != id);
        }
        self.resync();
    }

    /// Makes pages fetch everything anew.
    pub(crate) fn resync(&self) {
        self.announce("resync", || ());
    }

    /// Shows what another maker's meter said.
    pub(crate) fn registers(&self, id: MeterId, at: UnixMillis, registers: Vec<types::OtherRegister>) {
        self.change(id, |status| {
            status.last_seen = Some(at);
            if let Some(other) = &mut status.other {
                other.registers = registers;
            }
        });
    }

    fn insert(&self, record: MeterRecord, status: Status) {
        let entry = Arc::new(Entry { record, status: Mutex::new(status) });
        let id = entry.record.id;
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        match meters.all.iter().position(|known| known.record.id == id) {
            Some(place) => meters.all[place] = Arc::clone(&entry),
            None => meters.all.push(Arc::clone(&entry)),
        }
        meters.by_id.insert(id, entry);
    }

    /// Follows the changes from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Update> {
        self.updates.subscribe()
    }

    /// Lets what tells others of alarms look again.
    pub(crate) fn wake_couriers(&self) {
        self.changes.send_modify(|_| ());
    }

    /// When each meter was last heard.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner).all.clone();
        let heard = |entry: &Arc<Entry>| {
            let status = entry.status();
            Heard { meter: entry.record.id, last: status.last_seen, own_pace: status.own_pace }
        };
        meters.iter().map(heard).collect()
    }

    /// Remembers that something came from a meter.
    pub(crate) fn hears(&self, id: MeterId, at: UnixMillis) {
        if let Some(entry) = self.entry(id) {
            entry.status().last_seen = Some(at);
        }
    }

    /// Wakes whenever an alarm changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The configuration of a meter.
    pub(crate) fn record(&self, id: MeterId) -> Option<MeterRecord> {
        Some(self.entry(id)?.record.clone())
    }

    /// Every meter as the API shows it.
    pub(crate) fn list(&self) -> Vec<types::Meter> {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner).all.clone();
        meters.iter().map(|entry| entry.record.shown(&entry.status())).collect()
    }

    /// Every meter of ours with its device type, as far as it has said.
    pub(crate) fn types(&self) -> Vec<(MeterId, Option<String>)> {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner).all.clone();
        let typed = |entry: &Arc<Entry>| {
            let status = entry.status();
            let device_type = status.facts.as_ref().map(|facts| facts.device_type.clone());
            status.other.is_none().then_some((entry.record.id, device_type))
        };
        meters.iter().filter_map(typed).collect()
    }

    /// Shows how a firmware campaign stands.
    pub(crate) fn campaign(&self, record: &CampaignRecord, counts: &Counts) {
        self.announce("campaign", || types::Campaign::new(record, counts));
    }

    /// How many meters are online.
    pub(crate) fn online(&self) -> usize {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        meters.all.iter().filter(|entry| entry.status().state == ConnectionState::Online).count()
    }

    /// Meters of which nobody reads anything at this moment.
    pub(crate) fn away(&self) -> Vec<MeterId> {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner).all.clone();
        let away = meters.iter().filter(|entry| entry.status().state != ConnectionState::Online);
        away.map(|entry| entry.record.id).collect()
    }

    /// Sets a meter's state and announces it.
    pub(crate) fn set_state(
        &self,
        id: MeterId,
        state: ConnectionState,
        since: UnixMillis,
        reason: Option<String>,
    ) {
        self.change(id, |status| {
            status.state = state;
            status.since = Some(since);
            status.reason = reason;
            if state == ConnectionState::Refused {
                status.mark = None;
            }
        });
    }

    /// Shows that a connection ended and why. `None`: it was shown so before, and since when stays; otherwise since
    /// when.
    pub(crate) fn ended(
        &self,
        id: MeterId,
        state: ConnectionState,
        at: UnixMillis,
        reason: &str,
    ) -> Option<UnixMillis> {
        let unchanged = {
            let entry = self.entry(id)?;
            let status = entry.status();
            status.state == state && status.reason.as_deref() == Some(reason)
        };
        if unchanged {
            return None;
        }
        self.set_state(id, state, at, Some(reason.to_owned()));
        Some(at)
    }

    /// Sets what a meter says of itself. The state that follows announces it.
    pub(crate) fn set_facts(
        &self,
        id: MeterId,
        facts: DeviceFacts,
        mark: Option<types::Mark>,
        at: UnixMillis,
    ) {
        if let Some(entry) = self.entry(id) {
            let (facts, mark) = (self.facts.share(facts), mark.map(|mark| self.marks.share(mark)));
            let mut status = entry.status();
            status.facts = Some(facts);
            status.mark = mark;
            status.last_seen = Some(at);
        }
    }

    /// Sets what a meter attested.
    pub(crate) fn set_attested(&self, id: MeterId, said: Option<AttestedRecord>) {
        if let Some(entry) = self.entry(id) {
            let before = std::mem::replace(&mut entry.status().attested, said.clone().map(Arc::new));
            // In the middle of a session nothing else announces it.
            let same = |before: &AttestedRecord, said: &AttestedRecord| {
                AttestedRecord { at: said.at, ..before.clone() } == *said
            };
            if let (Some(before), Some(said)) = (before, said)
                && !same(&before, &said)
            {
                self.change(id, |_| ());
            }
        }
    }

    /// What a meter attested last.
    pub(crate) fn attested(&self, id: MeterId) -> Option<Arc<AttestedRecord>> {
        self.entry(id)?.status().attested.clone()
    }

    /// What a meter says that it is.
    pub(crate) fn device_type(&self, id: MeterId) -> Option<String> {
        self.entry(id)?.status().facts.as_ref().map(|facts| facts.device_type.clone())
    }

    /// Shows a reading.
    pub(crate) fn reading(&self, id: MeterId, reading: LiveReading) {
        let Some(entry) = self.entry(id) else { return };
        {
            let mut status = entry.status();
            status.last_seen = Some(reading.received_at);
            status.live = Some(reading);
        }
        self.announce("live", || types::LiveUpdate {
            meter: id.to_string(),
            live: types::Live::from(&reading),
        });
    }

    /// Shows an event that is new, or whose alarm changed. What became of alarms belongs after it.
    pub(crate) fn event(&self, event: &StoredEvent) {
        self.announce("event", || types::Event::from(event));
    }

    /// Shows what became of an alarm, and how many of its meter nobody has acknowledged.
    pub(crate) fn alarm(&self, change: &AlarmChange) {
        self.announce("alarm", || types::AlarmUpdate::from(change));
        self.count(change);
    }

    /// Shows how many alarms of a meter nobody has acknowledged, unless a later change was shown already.
    pub(crate) fn count(&self, change: &AlarmChange) {
        self.changes.send_replace(change.id);
        let Some(meter) = change.alarm.meter else { return };
        let Some(entry) = self.entry(meter) else { return };
        let shown = {
            let mut status = entry.status();
            if status.counted_at >= change.id {
                return;
            }
            status.counted_at = change.id;
            if std::mem::replace(&mut status.open_alarms, change.open) == change.open {
                return;
            }
            entry.record.shown(&status)
        };
        self.announce("meter", || shown);
    }

    fn change(&self, id: MeterId, change: impl FnOnce(&mut Status)) {
        let Some(entry) = self.entry(id) else { return };
        let shown = {
            let mut status = entry.status();
            change(&mut status);
            entry.record.shown(&status)
        };
        self.announce("meter", || shown);
    }

    fn announce<T: Serialize>(&self, name: &'static str, data: impl FnOnce() -> T) {
        if self.updates.receiver_count() == 0 {
            return;
        }
        match serde_json::to_string(&data()) {
            // An error means that the last page was closed meanwhile.
            Ok(json) => drop(self.updates.send(Update { name, json: json.into() })),
            Err(error) => tracing::error!(%error, name, "a message for the page could not be written"),
        }
    }

    /// What the store remembers of a meter.
    fn remembered(&self, history: MeterHistory, live: Option<LiveReading>) -> Status {
        let (state, reason) = match history.state {
            ConnectionState::Online => {
                (ConnectionState::Offline, Some("The head-end was restarted.".to_owned()))
            }
            other => (other, history.reason),
        };
        let since = match state {
            ConnectionState::Never => None,
            // The moment it was last heard is the best that is known of when it went.
            ConnectionState::Offline if history.state == ConnectionState::Online => {
                history.last_seen.or(history.since)
            }
            _ => history.since,
        };
        Status {
            state,
            since,
            reason,
            last_seen: history.last_seen,
            facts: history.facts.map(|facts| self.facts.share(facts)),
            mark: None,
            live,
            open_alarms: history.open_alarms,
            counted_at: 0,
            other: None,
            own_pace: None,
            attested: None,
        }
    }

    fn entry(&self, id: MeterId) -> Option<Arc<Entry>> {
        self.meters.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }
}

impl Entry {
    /// No code that holds the lock can leave a half-made status behind, so a poisoned lock is as good as new.
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MeterRecord {
    fn shown(&self, status: &Status) -> types::Meter {
        let facts = status.facts.as_ref();
        types::Meter {
            id: self.id.to_string(),
            name: self.name.clone(),
            site: self.site.clone(),
            is_virtual: self.is_virtual,
            stimuli: if self.is_virtual {
                Stimulus::ALL.iter().map(|stimulus| stimulus.name().to_owned()).collect()
            } else {
                Vec::new()
            },
            state: status.state.into(),
            since: status.since.map(rfc3339),
            state_reason: status.reason.clone(),
            last_seen: status.last_seen.map(rfc3339),
            time_base: self.time_base.into(),
            device_type: facts.map(|facts| facts.device_type.clone()),
            firmware_version: facts.map(|facts| facts.firmware_version.clone()),
            firmware_digest: facts.map(|facts| facts.firmware_digest.to_string()),
            mark: status.mark.as_deref().cloned(),
            live: status.live.as_ref().map(types::Live::from),
            open_alarms: status.open_alarms,
            attestation: status.attested.as_deref().map(types::Attestation::from),
            other: status.other.clone(),
        }
    }
}
