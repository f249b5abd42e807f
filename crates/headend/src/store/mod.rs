//! The store of record: what the meters said, kept so that a `kill -9` or a full disk loses nothing that was
//! acknowledged.
//!
//! [`Store`] speaks of meters, readings, rows and alarms and says nothing of SQL; everything in this folder below
//! it may be replaced by another database. Every insert may be repeated: a row is known by its meter and its
//! sequence number, and the second time changes nothing. When a call returns, what it wrote is on the disk.

mod alarm_record;
#[cfg(test)]
mod alarm_tests;
mod alarms;
mod attested_record;
mod audit;
mod campaigns;
mod deliveries;
mod enrolment;
mod error;
mod live;
mod log;
mod meters;
mod others;
mod quarantine;
mod record;
mod schema;
#[cfg(test)]
mod tests;
mod witness;
mod witness_record;
#[cfg(test)]
mod witness_tests;
mod worker;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use meterseal_model::{MeterId, Role, UnixMillis};
use meterseal_seal::log::{Checkpoint, LeafKind, LogId};

pub use alarm_record::{
    Alarm, AlarmAct, AlarmChange, AlarmChoice, AlarmGroup, AlarmMoment, AlarmNote, AlarmShow, DeadLetter,
    Delivery, NewAlarm, QueueState, Who,
};
pub use attested_record::{AttestedRecord, RoleCounters};
pub use error::StoreError;
pub use record::{
    Committed, ConnectionState, DeviceFacts, Energies, EnrolmentRecord, EnrolmentState, LiveReading,
    MeterHistory, MeterRecord, OtherCell, PeerCounters, ProfileRow, Quarantine, SecurityEvent, SeriesPoint,
    StoredBatch, StoredEvent, StoredProfileRow, StoredRows,
};
pub use witness_record::{Appended, Audit, LeafContent, Proof, StoredLeaf, Witnessed};
use worker::Worker;

use crate::campaigns::{CampaignRecord, Counts, MemberRecord, MemberState, Plan};

/// How long live readings are kept, on the meter's clock.
pub const LIVE_KEPT_MILLISECONDS: i64 = 2 * 3600 * 1000;

/// Live readings kept per meter at most, whatever its clock does.
pub const LIVE_KEPT_ROWS: u32 = 2 * 3600 + 600;

/// How long rows of other makers' load profiles are kept, by their own times: 400 days, a billing year and a month.
pub const OTHER_PROFILE_KEPT_MILLISECONDS: i64 = 400 * 86_400_000;

/// A pause of so long between two alarms with one cause parts one group from the next: ten minutes.
pub const GROUP_PAUSE_MILLISECONDS: i64 = 600_000;

/// A handle to the database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    // Option: taken on close, so that the threads see the end of their queues.
    workers: tokio::sync::RwLock<Option<Workers>>,
    threads: Mutex<Option<Threads>>,
    /// SQLite's word for what others wrote, as the writer saw it last.
    data_version: AtomicI64,
    foreign_writes: AtomicU64,
}

impl Inner {
    fn new(workers: Workers, threads: Threads) -> Self {
        Self {
            workers: tokio::sync::RwLock::new(Some(workers)),
            threads: Mutex::new(Some(threads)),
            data_version: AtomicI64::new(UNKNOWN),
            foreign_writes: AtomicU64::new(0),
        }
    }
}

/// Before the first look; SQLite counts from one.
const UNKNOWN: i64 = 0;

#[derive(Debug)]
struct Threads {
    writing: JoinHandle<()>,
    reading: JoinHandle<()>,
    examining: JoinHandle<()>,
}

#[derive(Debug)]
struct Workers {
    writer: Worker,
    reader: Worker,
    /// Reads what is long, so that no page waits for it.
    examiner: Worker,
    /// Held for the lock on it; none where nothing is written.
    _lock: Option<File>,
}

impl Store {
    /// Opens `headend.sqlite` in a folder, and makes both where they are missing.
    ///
    /// # Errors
    /// Another head-end uses it, another format, read-only, full, damaged: see [`StoreError`].
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        let folder = folder.to_path_buf();
        tokio::task::spawn_blocking(move || Self::open_blocking(&folder))
            .await
            .unwrap_or(Err(StoreError::Closed))
    }

    fn open_blocking(folder: &Path) -> Result<Self, StoreError> {
        let path: PathBuf = folder.join("headend.sqlite");
        private_folder(folder).map_err(|source| match source.kind() {
            std::io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { path: path.clone() },
            std::io::ErrorKind::StorageFull => StoreError::Full { path: path.clone() },
            _ => StoreError::Io { path: folder.to_path_buf(), source },
        })?;
        let lock = schema::lock(&path)?;
        let connection = schema::open_writer(&path)?;
        let (writer, writing) = Worker::writer(&path, connection)?;
        let (reader, reading) = Worker::reader(&path)?;
        let (examiner, examining) = Worker::reader(&path)?;
        let workers = Workers { writer, reader, examiner, _lock: Some(lock) };
        Ok(Self { inner: Arc::new(Inner::new(workers, Threads { writing, reading, examining })) })
    }

    /// Opens the `headend.sqlite` of a folder to read it only, whether a head-end runs on it or not. What would write fails.
    ///
    /// # Errors
    /// There is none, another format, damaged: see [`StoreError`].
    pub async fn open_to_read(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("headend.sqlite");
        let open = move || {
            schema::check(&path)?;
            // The threads are alike: none of them may write.
            let (writer, writing) = Worker::reader(&path)?;
            let (reader, reading) = Worker::reader(&path)?;
            let (examiner, examining) = Worker::reader(&path)?;
            let workers = Workers { writer, reader, examiner, _lock: None };
            Ok(Self { inner: Arc::new(Inner::new(workers, Threads { writing, reading, examining })) })
        };
        tokio::task::spawn_blocking(open).await.unwrap_or(Err(StoreError::Closed))
    }

    /// Finishes what is queued and closes the database. Calls after this fail with [`StoreError::Closed`].
    pub async fn close(&self) {
        let workers = self.inner.workers.write().await.take();
        let threads = self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let done = tokio::task::spawn_blocking(move || {
            // The write lock above was granted, so no call is under way.
            let (
                Some(Workers { writer, reader, examiner, _lock }),
                Some(Threads { writing, reading, examining }),
            ) = (workers, threads)
            else {
                return true;
            };
            // The readers go first: only a last connection that may write folds the write-ahead log in.
            drop((reader, examiner));
            let reading = reading.join().and(examining.join());
            drop(writer);
            reading.and(writing.join()).is_ok()
        });
        if !done.await.unwrap_or(false) {
            tracing::error!("a thread of the store ended in a panic; nothing that was acknowledged is lost");
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, worker::Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let workers = self.inner.workers.read().await;
        workers.as_ref().ok_or(StoreError::Closed)?.writer.run(work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, worker::Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let workers = self.inner.workers.read().await;
        workers.as_ref().ok_or(StoreError::Closed)?.reader.run(work).await
    }

    async fn examine<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, worker::Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let workers = self.inner.workers.read().await;
        workers.as_ref().ok_or(StoreError::Closed)?.examiner.run(work).await
    }

    /// Stores cells of another maker's load profile; those that are there already stay as they are.
    pub async fn insert_other(
        &self,
        meter: MeterId,
        cells: Vec<OtherCell>,
        received_at: UnixMillis,
    ) -> Result<(), StoreError> {
        self.write(move |sql| others::insert(sql, meter, &cells, received_at)).await
    }

    /// The time of the newest row of another maker's load profile.
    pub async fn newest_other(&self, meter: MeterId) -> Result<Option<UnixMillis>, StoreError> {
        self.read(move |sql| others::newest(sql, meter)).await
    }

    /// The newest rows of another maker's load profile, oldest first, as their cells.
    pub async fn other_rows(&self, meter: MeterId, limit: u32) -> Result<Vec<OtherCell>, StoreError> {
        self.read(move |sql| others::rows(sql, meter, limit)).await
    }

    /// Makes a meter known, or takes over its changed name and site, and tells what is remembered of it.
    pub async fn register(&self, meter: MeterRecord) -> Result<MeterHistory, StoreError> {
        self.write(move |sql| meters::register(sql, &meter)).await
    }

    /// Remembers a meter's state.
    pub async fn set_state(
        &self,
        meter: MeterId,
        state: ConnectionState,
        since: UnixMillis,
        reason: Option<String>,
    ) -> Result<(), StoreError> {
        self.write(move |sql| meters::set_state(sql, meter, state, since, reason.as_deref())).await
    }

    /// Remembers what a meter says of itself.
    pub async fn set_facts(&self, meter: MeterId, facts: DeviceFacts) -> Result<(), StoreError> {
        self.write(move |sql| meters::set_facts(sql, meter, &facts)).await
    }

    /// Puts a meter into quarantine, or notes another reason for the one that it is in.
    pub async fn begin_quarantine(
        &self,
        meter: MeterId,
        since: UnixMillis,
        reason: String,
    ) -> Result<Quarantine, StoreError> {
        self.write(move |sql| quarantine::begin(sql, meter, since, &reason)).await
    }

    /// Ends a meter's quarantine; `meter_time` is its own clock now, if it is known. `None`: it was in none.
    pub async fn end_quarantine(
        &self,
        meter: MeterId,
        until: UnixMillis,
        meter_time: Option<UnixMillis>,
    ) -> Result<Option<Quarantine>, StoreError> {
        self.write(move |sql| quarantine::end(sql, meter, until, meter_time)).await
    }

    /// When a meter was in quarantine, oldest first.
    pub async fn quarantines(&self, meter: MeterId) -> Result<Vec<Quarantine>, StoreError> {
        self.read(move |sql| quarantine::of(sql, meter)).await
    }

    /// Sets aside `count` invocation counters of the head-end's for a meter's key and returns the first. They are
    /// never given again, whatever happens: half of every nonce is made of them.
    ///
    /// # Errors
    /// [`StoreError::KeyUsedUp`] when the 32 bits are.
    pub async fn reserve_invocations(&self, meter: MeterId, count: u32) -> Result<u32, StoreError> {
        self.write(move |sql| meters::reserve_invocations(sql, meter, count)).await
    }

    /// Moves the head-end's invocation counter for a meter's key forward to at least `next`; never back.
    pub async fn advance_invocations(&self, meter: MeterId, next: u32) -> Result<(), StoreError> {
        self.write(move |sql| meters::advance_invocations(sql, meter, next)).await
    }

    /// The highest invocation counters of a meter's messages, as far as they were recorded.
    pub async fn peer_counters(&self, meter: MeterId) -> Result<PeerCounters, StoreError> {
        self.read(move |sql| meters::peer_counters(sql, meter)).await
    }

    /// Records the highest invocation counters of a meter's messages; they never go back.
    pub async fn raise_peer_counters(
        &self,
        meter: MeterId,
        counters: PeerCounters,
    ) -> Result<(), StoreError> {
        self.write(move |sql| meters::raise_peer_counters(sql, meter, counters)).await
    }

    /// Forgets a meter's counters, because it has new keys, under which they begin anew.
    pub async fn restart_peer_counters(&self, meter: MeterId) -> Result<(), StoreError> {
        self.write(move |sql| enrolment::restart_peer_counters(sql, meter)).await
    }

    /// How every meter's enrolment stands.
    pub async fn enrolments(&self) -> Result<Vec<EnrolmentRecord>, StoreError> {
        self.read(enrolment::all).await
    }

    /// The same for a command beside a head-end that may be running. Empty where there is no database yet.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn enrolments_in(folder: &Path) -> Result<Vec<EnrolmentRecord>, StoreError> {
        let path = folder.join("headend.sqlite");
        if !path.exists() {
            return Ok(Vec::new());
        }
        let connection = schema::open_reader(&path)?;
        enrolment::all(&connection).map_err(|failure| failure.at(&path))
    }

    /// Remembers how a meter's enrolment stands.
    pub async fn put_enrolment(&self, record: EnrolmentRecord) -> Result<(), StoreError> {
        self.write(move |sql| enrolment::put(sql, &record)).await
    }

    /// Up to where a meter's rings are stored without a hole.
    pub async fn committed(&self, meter: MeterId) -> Result<Committed, StoreError> {
        self.read(move |sql| meters::committed(sql, meter)).await
    }

    /// The same of all meters together: how many entries and rows are stored without a hole.
    pub async fn committed_in_all(&self) -> Result<Committed, StoreError> {
        self.read(meters::committed_in_all).await
    }

    /// Adds a live reading and forgets those that are too old.
    pub async fn insert_live(&self, meter: MeterId, reading: LiveReading) -> Result<(), StoreError> {
        self.write(move |sql| live::insert(sql, meter, &reading)).await
    }

    /// The newest live reading.
    pub async fn newest_live(&self, meter: MeterId) -> Result<Option<LiveReading>, StoreError> {
        self.read(move |sql| live::newest(sql, meter)).await
    }

    /// The last `minutes` before the newest reading, averaged to at most `points` points (and their step in
    /// seconds).
    pub async fn series(
        &self,
        meter: MeterId,
        minutes: u32,
        points: u32,
    ) -> Result<(u32, Vec<SeriesPoint>), StoreError> {
        self.read(move |sql| live::series(sql, meter, minutes, points)).await
    }

    /// Stores security-log entries. With `complete_to`, everything up to that sequence number has now been asked
    /// of the meter, and is marked as committed in the same transaction; without it, only entries that continue
    /// what is committed move the mark.
    pub async fn insert_events(
        &self,
        meter: MeterId,
        events: Vec<SecurityEvent>,
        received_at: UnixMillis,
        complete_to: Option<u64>,
    ) -> Result<(StoredBatch, Committed), StoreError> {
        self.write(move |sql| log::insert_events(sql, meter, &events, received_at, complete_to)).await
    }

    /// Stores load-profile rows; `complete_to` as for events.
    pub async fn insert_profile(
        &self,
        meter: MeterId,
        rows: Vec<ProfileRow>,
        received_at: UnixMillis,
        complete_to: Option<u64>,
    ) -> Result<(StoredRows, Committed), StoreError> {
        self.write(move |sql| log::insert_profile(sql, meter, &rows, received_at, complete_to)).await
    }

    /// What is known of a meter's sealed log; `None` before its key was pinned.
    pub async fn witnessed(&self, meter: MeterId) -> Result<Option<Witnessed>, StoreError> {
        self.read(move |sql| witness::witnessed(sql, meter)).await
    }

    /// Pins a meter's log and the key that signs it, with the key's certificates. The log that was pinned before is
    /// replaced; its leaves and checkpoints stay.
    pub async fn pin_log(
        &self,
        meter: MeterId,
        log: LogId,
        key: Vec<u8>,
        chain: Vec<Vec<u8>>,
    ) -> Result<(), StoreError> {
        self.write(move |sql| witness::pin(sql, meter, log, &key, &chain)).await
    }

    /// Appends leaves from place `first` on behind those that are stored of a meter's log.
    pub async fn append_leaves(
        &self,
        meter: MeterId,
        first: u64,
        leaves: Vec<LeafContent>,
    ) -> Result<Appended, StoreError> {
        self.write(move |sql| witness::append(sql, meter, first, &leaves)).await
    }

    /// Compares the root of a checkpoint, whose signature has been verified, with the leaves that are stored.
    pub async fn prove_leaves(
        &self,
        meter: MeterId,
        checkpoint: Checkpoint,
        signed: Vec<u8>,
        received_at: UnixMillis,
    ) -> Result<Proof, StoreError> {
        self.write(move |sql| witness::prove(sql, meter, &checkpoint, &signed, received_at)).await
    }

    /// How often somebody else has been found to have written into the database since it was opened. Nobody but this
    /// process should: then everything is to be compared with what the meters sealed ([`Self::audit`]).
    pub fn foreign_writes(&self) -> u64 {
        self.inner.foreign_writes.load(Ordering::Relaxed)
    }

    /// Looks whether somebody else has written into the database since the last look, and counts it.
    pub async fn look_for_foreign_writes(&self) -> Result<u64, StoreError> {
        // SQLite tells a connection of other connections' commits, and the writer's is the only one that writes.
        let version =
            self.write(|sql| Ok(sql.query_row("PRAGMA data_version", [], |row| row.get(0))?)).await?;
        let before = self.inner.data_version.swap(version, Ordering::Relaxed);
        if before != UNKNOWN && before != version {
            self.inner.foreign_writes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.foreign_writes())
    }

    /// Puts leaves that a meter gave again in the place of those from `first` on. `false`: they are not those that it
    /// signed, and nothing has changed.
    pub async fn restore_leaves(
        &self,
        meter: MeterId,
        first: u64,
        leaves: Vec<LeafContent>,
    ) -> Result<bool, StoreError> {
        self.write(move |sql| witness::restore(sql, meter, first, &leaves)).await
    }

    /// Leaves of a log from one place up to another, in their order.
    pub async fn leaves(
        &self,
        meter: MeterId,
        log: LogId,
        from: u64,
        end: u64,
        limit: u32,
    ) -> Result<Vec<StoredLeaf>, StoreError> {
        self.examine(move |sql| witness::stored_leaves(sql, meter, log, from, end, limit)).await
    }

    /// Leaves of one kind between two times (both included), in their order.
    pub async fn leaves_of_kind(
        &self,
        meter: MeterId,
        log: LogId,
        kind: LeafKind,
        between: (UnixMillis, UnixMillis),
    ) -> Result<Vec<StoredLeaf>, StoreError> {
        self.read(move |sql| witness::leaves_of_kind(sql, meter, log, kind, between)).await
    }

    /// The signed checkpoints of a log, oldest first.
    pub async fn checkpoints(&self, meter: MeterId, log: LogId) -> Result<Vec<Vec<u8>>, StoreError> {
        self.examine(move |sql| witness::checkpoint_bytes(sql, meter, log)).await
    }

    /// When the newest checkpoint of a meter's present log was received; `None` before the first.
    pub(crate) async fn checkpoint_received(&self, meter: MeterId) -> Result<Option<UnixMillis>, StoreError> {
        self.examine(move |sql| witness::checkpoint_received(sql, meter)).await
    }

    /// Events, newest first; with `before`, those stored before that one.
    pub async fn events(
        &self,
        meter: Option<MeterId>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(move |sql| log::events(sql, meter, before, limit)).await
    }

    /// The newest `limit` rows of a load profile between two times (both included), oldest first.
    pub async fn profile(
        &self,
        meter: MeterId,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
        limit: u32,
    ) -> Result<Vec<StoredProfileRow>, StoreError> {
        self.read(move |sql| log::profile(sql, meter, from, to, limit)).await
    }

    /// Acknowledges the alarm that an event raised, and returns the event as it is then and what changed. `None`: no
    /// such event. An alarm that somebody acknowledged before stays theirs.
    pub async fn acknowledge(
        &self,
        meter: MeterId,
        sequence: u64,
        who: Who,
        at: UnixMillis,
    ) -> Result<Option<(StoredEvent, Vec<AlarmChange>)>, StoreError> {
        self.write(move |sql| log::acknowledge(sql, meter, sequence, &who, at)).await
    }

    /// Raises an alarm of the head-end's own. `None`: it lasts already, for the same reason.
    pub async fn raise_alarm(&self, alarm: NewAlarm) -> Result<Option<AlarmChange>, StoreError> {
        self.write(move |sql| alarms::raise_own(sql, &alarm)).await
    }

    /// Ends an alarm of the head-end's own; its text says how. `None`: there is none that lasts.
    pub async fn end_alarm(&self, end: NewAlarm) -> Result<Option<AlarmChange>, StoreError> {
        self.write(move |sql| alarms::end_own(sql, &end)).await
    }

    /// Somebody takes note of those of the chosen alarms that nobody had taken note of.
    pub async fn acknowledge_alarms(
        &self,
        choice: AlarmChoice,
        who: Who,
        at: UnixMillis,
    ) -> Result<Vec<AlarmChange>, StoreError> {
        self.write(move |sql| alarms::acknowledge(sql, &choice, &who, at)).await
    }

    /// Somebody ends those of the chosen alarms that last.
    pub async fn clear_alarms(
        &self,
        choice: AlarmChoice,
        who: Who,
        at: UnixMillis,
    ) -> Result<Vec<AlarmChange>, StoreError> {
        self.write(move |sql| alarms::clear_chosen(sql, &choice, &who, at)).await
    }

    /// Alarms, the one that changed last first.
    pub async fn alarms(&self, show: AlarmShow) -> Result<Vec<Alarm>, StoreError> {
        self.read(move |sql| alarms::list(sql, &show)).await
    }

    /// One alarm.
    pub async fn alarm(&self, id: u64) -> Result<Option<Alarm>, StoreError> {
        self.read(move |sql| alarms::find(sql, id)).await
    }

    /// The newest `limit` things that happened to an alarm, oldest first.
    pub async fn alarm_history(&self, id: u64, limit: u32) -> Result<Vec<AlarmMoment>, StoreError> {
        self.read(move |sql| alarms::history(sql, id, limit)).await
    }

    /// Open alarms by cause and time, the group that changed last first.
    pub async fn alarm_groups(&self) -> Result<Vec<AlarmGroup>, StoreError> {
        self.read(|sql| alarms::groups(sql, GROUP_PAUSE_MILLISECONDS)).await
    }

    /// Makes these the receivers of everything that happens to alarms from now on. What still waits for others becomes
    /// dead letters.
    pub async fn set_receivers(&self, names: Vec<String>, at: UnixMillis) -> Result<(), StoreError> {
        self.write(move |sql| deliveries::set_targets(sql, &names, at)).await
    }

    /// What is due for a receiver, the oldest first.
    pub async fn due_deliveries(
        &self,
        receiver: String,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.read(move |sql| deliveries::due(sql, &receiver, now, limit)).await
    }

    /// When the next one is due.
    pub async fn next_delivery(&self, receiver: String) -> Result<Option<UnixMillis>, StoreError> {
        self.read(move |sql| deliveries::next_due(sql, &receiver)).await
    }

    /// Forgets what was delivered.
    pub async fn delivered(&self, ids: Vec<u64>) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.write(move |sql| deliveries::delivered(sql, &ids)).await
    }

    /// Remembers that an attempt failed; without a next one it is a dead letter.
    pub async fn delivery_failed(
        &self,
        id: u64,
        error: String,
        next: Option<UnixMillis>,
        at: UnixMillis,
    ) -> Result<(), StoreError> {
        self.write(move |sql| deliveries::failed(sql, id, &error, next, at)).await
    }

    /// Keeps a receiver's queue within `waiting` and its dead letters within `dead`, and tells how many had to leave
    /// each.
    pub async fn bound_deliveries(
        &self,
        receiver: String,
        waiting: u32,
        dead: u32,
        at: UnixMillis,
    ) -> Result<(usize, usize), StoreError> {
        let over = {
            let receiver = receiver.clone();
            self.read(move |sql| deliveries::over(sql, &receiver, waiting, dead)).await?
        };
        if !over {
            return Ok((0, 0));
        }
        self.write(move |sql| deliveries::bound(sql, &receiver, waiting, dead, at)).await
    }

    /// How each receiver's queue stands.
    pub async fn delivery_queues(&self) -> Result<Vec<QueueState>, StoreError> {
        self.read(deliveries::queues).await
    }

    /// Dead letters, the newest first.
    pub async fn dead_letters(&self, before: Option<u64>, limit: u32) -> Result<Vec<DeadLetter>, StoreError> {
        self.read(move |sql| deliveries::dead(sql, before, limit)).await
    }

    /// How many dead letters there are.
    pub async fn dead_letter_count(&self) -> Result<u64, StoreError> {
        self.read(deliveries::dead_count).await
    }

    /// Has dead letters (one, or all) delivered again, as far as their receivers are configured. Tells how many.
    pub async fn redeliver(&self, id: Option<u64>, now: UnixMillis) -> Result<usize, StoreError> {
        self.write(move |sql| deliveries::redeliver(sql, id, now)).await
    }

    /// Throws dead letters (one, or all) away. Tells how many.
    pub async fn discard(&self, id: Option<u64>) -> Result<usize, StoreError> {
        self.write(move |sql| deliveries::discard(sql, id)).await
    }

    /// The newest events of a meter with one number.
    pub async fn events_of(
        &self,
        meter: MeterId,
        code: u8,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(move |sql| alarms::events_of(sql, meter, code, limit)).await
    }

    /// Makes a campaign with its meters, in the order in which they are told, and gives its number.
    pub async fn create_campaign(
        &self,
        plan: Plan,
        meters: Vec<MeterId>,
        by: String,
        at: UnixMillis,
    ) -> Result<u64, StoreError> {
        self.write(move |sql| campaigns::create(sql, &plan, &meters, &by, at)).await
    }

    /// Writes how a campaign stands, and some of its meters with it, in one commit.
    pub async fn put_campaign(
        &self,
        campaign: CampaignRecord,
        members: Vec<MemberRecord>,
    ) -> Result<(), StoreError> {
        self.write(move |sql| {
            campaigns::put_members(sql, campaign.id, &members)?;
            campaigns::put(sql, &campaign)
        })
        .await
    }

    /// Writes how meters of a campaign stand.
    pub async fn put_campaign_members(
        &self,
        campaign: u64,
        members: Vec<MemberRecord>,
    ) -> Result<(), StoreError> {
        self.write(move |sql| campaigns::put_members(sql, campaign, &members)).await
    }

    /// The newest campaigns, the newest first, with how many of their meters stand how.
    pub async fn campaigns(&self, limit: u32) -> Result<Vec<(CampaignRecord, Counts)>, StoreError> {
        self.read(move |sql| campaigns::all(sql, limit)).await
    }

    /// One campaign.
    pub async fn campaign(&self, id: u64) -> Result<Option<(CampaignRecord, Counts)>, StoreError> {
        self.read(move |sql| campaigns::find(sql, id)).await
    }

    /// Campaigns that are not over.
    pub async fn open_campaigns(&self) -> Result<Vec<CampaignRecord>, StoreError> {
        self.read(campaigns::open).await
    }

    /// Meters of a campaign in the order in which they are told, from place `from` on.
    pub async fn campaign_members(
        &self,
        campaign: u64,
        state: Option<MemberState>,
        from: u32,
        limit: u32,
    ) -> Result<Vec<MemberRecord>, StoreError> {
        self.read(move |sql| campaigns::members(sql, campaign, state, from, limit)).await
    }

    /// What a meter attested last; `None` for one that never has.
    pub async fn attested(&self, meter: MeterId) -> Result<Option<AttestedRecord>, StoreError> {
        self.read(move |sql| campaigns::attested(sql, meter)).await
    }

    /// Remembers what a meter attested.
    pub async fn put_attested(&self, meter: MeterId, said: AttestedRecord) -> Result<(), StoreError> {
        self.write(move |sql| campaigns::put_attested(sql, meter, &said)).await
    }

    /// Sets aside `count` invocation counters for a meter's key of another role than the utility's, and returns the
    /// first; see [`Self::reserve_invocations`].
    pub async fn reserve_role_invocations(
        &self,
        meter: MeterId,
        role: Role,
        count: u32,
    ) -> Result<u32, StoreError> {
        self.write(move |sql| campaigns::reserve(sql, meter, role.client_address(), count)).await
    }

    /// Moves counters of a role's key forward; never back.
    pub async fn raise_role_counters(
        &self,
        meter: MeterId,
        role: Role,
        counters: RoleCounters,
    ) -> Result<(), StoreError> {
        self.write(move |sql| campaigns::raise(sql, meter, role.client_address(), counters)).await
    }

    /// The highest counter of a meter's answers to a role.
    pub async fn role_response_counter(&self, meter: MeterId, role: Role) -> Result<u32, StoreError> {
        self.read(move |sql| campaigns::response(sql, meter, role.client_address())).await
    }

    /// A meter's alarms that nobody has acknowledged.
    pub async fn open_alarms(&self, meter: MeterId) -> Result<u64, StoreError> {
        self.read(move |sql| alarms::open_of(sql, Some(meter))).await
    }
}

/// Makes a folder that only this user can look into: what people consume is their own affair.
fn private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Reads a non-negative number.
fn unsigned(value: i64, what: &'static str) -> Result<u64, worker::Failure> {
    u64::try_from(value).map_err(|_| worker::Failure::Value(what))
}

/// Writes a number that SQLite keeps in 63 bits.
fn signed(value: u64, what: &'static str) -> Result<i64, worker::Failure> {
    i64::try_from(value).map_err(|_| worker::Failure::Value(what))
}
