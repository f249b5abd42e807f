//! The witness against meters that lie about their past and against people who edit the database.

use std::convert::Infallible;
use std::path::Path;

use meterseal_model::{EventCode, MeterId, TimeBase, UnixMillis};
use meterseal_seal::SealKey;
use meterseal_seal::log::{
    Body, Checkpoint, Event, Interval, Leaf, LeafKind, LogId, Newest, Peaks, SaltKey, Totals,
};
use rusqlite::Connection;

use super::*;
use crate::alarms::HeadendCause;
use crate::witness::{Step, judge};

fn meter() -> MeterId {
    "MSL0000000001".parse().unwrap()
}

/// A meter's log in memory, with the key that signs it.
#[derive(Clone)]
struct Log {
    id: LogId,
    key: SealKey,
    leaves: Vec<Leaf>,
    checkpoints: Vec<(Checkpoint, Vec<u8>)>,
}

impl Log {
    fn new(seed: u8) -> Self {
        let key = SealKey::generate(|bytes| {
            bytes.fill(seed);
            Ok::<(), Infallible>(())
        })
        .unwrap();
        Self { id: LogId([seed; 16]), key, leaves: Vec::new(), checkpoints: Vec::new() }
    }

    fn push(&mut self, body: Body) {
        let salts = SaltKey::new([9; 32]);
        self.leaves.push(Leaf::new(self.id, self.leaves.len() as u64, body, &salts));
    }

    /// An event and an interval under these numbers.
    fn live(&mut self, from: u64, to: u64) {
        for row in from..=to {
            self.push(Body::Event(event(row)));
            self.push(Body::Interval(interval(row)));
        }
    }

    fn sign(&mut self) -> (Checkpoint, Vec<u8>) {
        let mut peaks = Peaks::new();
        self.leaves.iter().for_each(|leaf| peaks.append(leaf.hash()));
        let before = self.checkpoints.last().map(|(before, _)| *before);
        let checkpoint = Checkpoint {
            meter: meter(),
            log: self.id,
            number: before.map_or(0, |before| before.number) + 1,
            size: peaks.size(),
            root: peaks.root(),
            time: UnixMillis(1),
            uptime_ms: 2,
            boot: 1,
            newest: Newest::default(),
            previous: before.map(|before| before.digest()),
        };
        self.checkpoints.push((checkpoint, checkpoint.sign(&self.key).unwrap()));
        self.checkpoints.last().unwrap().clone()
    }

    fn contents(&self, from: u64) -> Vec<LeafContent> {
        self.leaves[from as usize..].iter().map(|leaf| LeafContent::Bytes(leaf.encode())).collect()
    }
}

fn event(row: u64) -> Event {
    Event {
        row,
        code: EventCode::CoverRemoved as u8,
        time: UnixMillis(1_000 * row as i64 + 7),
        uptime_ms: row,
        extreme: 0,
        uncertainty_ms: 0,
    }
}

fn interval(row: u64) -> Interval {
    Interval {
        row,
        time: UnixMillis(900_000 * row as i64),
        status: 0,
        totals: Totals { active_import_milliwatt_hours: row * 7, ..Totals::default() },
        mean_voltage_centivolts: [23_000; 3],
    }
}

/// As the acquisition stores what the same leaves say.
async fn store_rows(store: &Store, from: u64, to: u64) {
    let events = (from..=to).map(|row| SecurityEvent {
        sequence: row,
        code: EventCode::CoverRemoved as u8,
        at: UnixMillis(1_000 * row as i64),
        uptime_milliseconds: row,
        extreme_micro_units: 0,
    });
    store.insert_events(meter(), events.collect(), UnixMillis(5), Some(to)).await.unwrap();
    let rows = (from..=to).map(|row| ProfileRow {
        sequence: row,
        at: interval(row).time,
        energies: Energies { active_import_microwatt_hours: row as i64 * 7_000, ..Energies::default() },
        mean_voltage_millivolts: [230_000; 3],
        status: 0,
    });
    store.insert_profile(meter(), rows.collect(), UnixMillis(5), Some(to)).await.unwrap();
}

async fn open(folder: &Path) -> Store {
    let store = Store::open(folder).await.unwrap();
    let record = MeterRecord {
        id: meter(),
        name: "Factory".into(),
        site: "factory".into(),
        is_virtual: true,
        time_base: TimeBase::Wall,
    };
    store.register(record).await.unwrap();
    store
}

/// A store that has witnessed ten rows of a log, signed in two checkpoints.
async fn witnessed(folder: &Path) -> (Store, Log) {
    let store = open(folder).await;
    let mut log = Log::new(1);
    store.pin_log(meter(), log.id, log.key.public().to_der(), vec![vec![1, 2], vec![3]]).await.unwrap();
    for (from, to) in [(1, 4), (5, 10)] {
        log.live(from, to);
        follow(&store, &mut log).await;
        store_rows(&store, from, to).await;
    }
    (store, log)
}

/// The log signs, and the store takes what is new.
async fn follow(store: &Store, log: &mut Log) {
    let (checkpoint, signed) = log.sign();
    let known = store.witnessed(meter()).await.unwrap().unwrap();
    let Ok(Step::Read { from }) = judge(&known, &checkpoint) else { panic!("a sound log is read") };
    let end = log.leaves.len() as u64;
    assert_eq!(store.append_leaves(meter(), from, log.contents(from)).await.unwrap(), Appended::Tail(end));
    assert_eq!(store.prove_leaves(meter(), checkpoint, signed, UnixMillis(6)).await.unwrap(), Proof::Proven);
}

/// Edits the database behind the head-end's back.
async fn edit(folder: &Path, store: Store, sql: &str) -> Store {
    store.close().await;
    let connection = Connection::open(folder.join("headend.sqlite")).unwrap();
    let changed = connection.execute(sql, []).unwrap();
    assert!(changed > 0, "{sql}");
    drop(connection);
    open(folder).await
}

#[tokio::test]
async fn a_sound_log_is_followed_and_comes_back_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut log) = witnessed(folder.path()).await;
    store.close().await;
    let store = open(folder.path()).await;
    let known = store.witnessed(meter()).await.unwrap().unwrap();
    assert_eq!(known.newest, Some(log.checkpoints[1].0));
    assert_eq!((known.proven.size(), known.chain.len()), (20, 2));
    assert_eq!(judge(&known, &log.checkpoints[1].0), Ok(Step::Known));
    log.live(11, 12);
    follow(&store, &mut log).await;
    assert_eq!(
        store.audit(meter(), 0, UnixMillis(9)).await.unwrap(),
        Audit { leaves: 24, ..Audit::default() }
    );
    assert_eq!(store.checkpoints(meter(), log.id).await.unwrap().len(), 3);
    let leaves = store.leaves(meter(), log.id, 3, 5, 10).await.unwrap();
    assert_eq!(leaves.iter().map(|leaf| leaf.sequence).collect::<Vec<_>>(), [3, 4]);
}

#[tokio::test]
async fn truncation_rollback_forks_and_other_logs_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, log) = witnessed(folder.path()).await;
    let known = store.witnessed(meter()).await.unwrap().unwrap();
    let breach = |checkpoint: &Checkpoint| judge(&known, checkpoint).unwrap_err().cause;
    let (first, newest) = (log.checkpoints[0].0, log.checkpoints[1].0);

    // Truncate the tail: fewer leaves, signed anew.
    let mut cut = log.clone();
    cut.leaves.truncate(15);
    assert_eq!(breach(&cut.sign().0), HeadendCause::LogTruncated);
    // Restore yesterday's memory: an old checkpoint.
    assert_eq!(breach(&first), HeadendCause::LogTruncated);
    let old_number = Checkpoint { number: 1, ..newest };
    assert_eq!(breach(&old_number), HeadendCause::LogRolledBack);
    // Fork after a restore: another second checkpoint, longer than ours.
    let mut fork = log.clone();
    fork.leaves.truncate(8);
    fork.checkpoints.truncate(1);
    fork.live(50, 60);
    assert_eq!(breach(&fork.sign().0), HeadendCause::LogForked);
    // And a third after it, which does not follow from ours.
    assert_eq!(breach(&fork.sign().0), HeadendCause::LogForked);
    // The same size and another root.
    let other_root = Checkpoint { root: first.root, number: 3, previous: Some(newest.digest()), ..newest };
    assert_eq!(breach(&other_root), HeadendCause::LogForked);
    // Two meters' logs exchanged, or new memory.
    assert_eq!(breach(&Log::new(2).sign().0), HeadendCause::LogReplaced);
}

#[tokio::test]
async fn leaves_that_do_not_lead_to_the_signed_root_are_forgotten_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut log) = witnessed(folder.path()).await;
    let mut liar = log.clone();
    liar.live(11, 12);
    log.push(Body::Event(event(11)));
    log.push(Body::Event(event(12)));
    log.push(Body::Event(event(13)));
    log.push(Body::Event(event(14)));
    let (checkpoint, signed) = log.sign();
    store.append_leaves(meter(), 20, liar.contents(20)).await.unwrap();
    let outcome = store.prove_leaves(meter(), checkpoint, signed.clone(), UnixMillis(6)).await.unwrap();
    assert!(matches!(outcome, Proof::Other(_)));
    let known = store.witnessed(meter()).await.unwrap().unwrap();
    assert_eq!((known.tail.size(), known.newest), (20, Some(log.checkpoints[1].0)));
    // The true ones are taken afterwards.
    store.append_leaves(meter(), 20, log.contents(20)).await.unwrap();
    assert_eq!(store.prove_leaves(meter(), checkpoint, signed, UnixMillis(6)).await.unwrap(), Proof::Proven);
}

#[tokio::test]
async fn reordered_missing_and_foreign_leaves_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut log) = witnessed(folder.path()).await;
    log.live(11, 13);
    let refused = async |first, leaves| {
        let outcome = store.append_leaves(meter(), first, leaves).await.unwrap();
        assert!(matches!(outcome, Appended::Refused(_)), "{outcome:?}");
        assert_eq!(store.witnessed(meter()).await.unwrap().unwrap().tail.size(), 20);
    };
    let mut reordered = log.contents(20);
    reordered.swap(0, 1);
    refused(20, reordered).await;
    let mut missing = log.contents(20);
    missing.remove(2);
    refused(20, missing).await;
    refused(21, log.contents(21)).await;
    let mut other = Log::new(2);
    other.live(1, 13);
    refused(20, other.contents(20)).await;
    refused(20, vec![LeafContent::Bytes(b"no leaf".to_vec())]).await;
}

#[tokio::test]
async fn an_operator_who_deletes_or_edits_rows_is_found_out_and_the_rows_come_back() {
    for (sql, words) in [
        ("DELETE FROM load_profile WHERE sequence = 4", "interval 4 to"),
        ("UPDATE load_profile SET active_import_micro = 1 WHERE sequence = 5", "interval 5 to"),
        ("UPDATE event SET code = 45 WHERE sequence = 3", "event 3 said 45"),
        ("UPDATE event SET extreme_micro = 1 WHERE sequence = 10", "event 10 said"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = witnessed(folder.path()).await;
        let rows = async |store: &Store| {
            (
                store.events(None, None, 100).await.unwrap().iter().map(|one| one.event).collect::<Vec<_>>(),
                store
                    .profile(meter(), None, None, 100)
                    .await
                    .unwrap()
                    .iter()
                    .map(|one| one.row)
                    .collect::<Vec<_>>(),
            )
        };
        let before = rows(&store).await;
        let store = edit(folder.path(), store, sql).await;
        assert_ne!(rows(&store).await, before);
        let audit = store.audit(meter(), 0, UnixMillis(9)).await.unwrap();
        assert!(audit.refetch.is_none() && audit.repaired.len() == 1, "{sql}: {audit:?}");
        assert!(audit.repaired[0].starts_with(words), "{audit:?}");
        assert_eq!(rows(&store).await, before, "{sql}");
        assert!(store.audit(meter(), 0, UnixMillis(9)).await.unwrap().repaired.is_empty());
    }
}

#[tokio::test]
async fn an_operator_who_hides_a_leaf_behind_another_kind_or_time_is_found_out() {
    for sql in [
        "UPDATE leaf SET at_ms = 0 WHERE sequence = 7",
        "UPDATE leaf SET kind = 1 WHERE sequence = 7",
        "UPDATE leaf SET kind = NULL, at_ms = NULL WHERE sequence = 7",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (store, log) = witnessed(folder.path()).await;
        let Body::Interval(hidden) = log.leaves[7].body else { panic!("leaf 7 is an interval's") };
        let found = async |store: &Store| {
            let day = (UnixMillis(hidden.time.0), UnixMillis(hidden.time.0));
            let found = store.leaves_of_kind(meter(), log.id, LeafKind::Interval, day).await.unwrap();
            found.iter().map(|leaf| leaf.sequence).collect::<Vec<_>>()
        };
        assert_eq!(found(&store).await, [7]);
        let store = edit(folder.path(), store, sql).await;
        assert_eq!(found(&store).await, [0; 0], "{sql}");
        let audit = store.audit(meter(), 0, UnixMillis(9)).await.unwrap();
        assert!(audit.refetch.is_none() && audit.restored == 1, "{sql}: {audit:?}");
        assert!(audit.repaired[0].starts_with("leaf 7 was filed"), "{audit:?}");
        assert_eq!(found(&store).await, [7], "{sql}");
        assert_eq!(store.audit(meter(), 0, UnixMillis(9)).await.unwrap().restored, 0);
    }
}

#[tokio::test]
async fn somebody_elses_writes_are_noticed_while_the_store_is_open_and_its_own_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut log) = witnessed(folder.path()).await;
    assert_eq!(store.look_for_foreign_writes().await.unwrap(), 0);
    log.live(11, 12);
    follow(&store, &mut log).await;
    store_rows(&store, 11, 12).await;
    assert_eq!(store.look_for_foreign_writes().await.unwrap(), 0, "its own");
    // Reading is nobody's harm.
    let connection = Connection::open(folder.path().join("headend.sqlite")).unwrap();
    let count: i64 = connection.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap();
    assert_eq!((count, store.look_for_foreign_writes().await.unwrap()), (12, 0));
    connection.execute("UPDATE event SET code = 45 WHERE sequence = 3", []).unwrap();
    assert_eq!(store.look_for_foreign_writes().await.unwrap(), 1);
    assert_eq!(store.look_for_foreign_writes().await.unwrap(), 1, "once");
}

#[tokio::test]
async fn a_log_longer_than_a_slice_is_compared_whole_and_every_row_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut log) = witnessed(folder.path()).await;
    log.live(11, 700);
    store_rows(&store, 11, 700).await;
    follow(&store, &mut log).await;
    let store = edit(folder.path(), store, "DELETE FROM load_profile WHERE sequence % 2 = 0").await;
    let audit = store.audit(meter(), 0, UnixMillis(9)).await.unwrap();
    assert_eq!((audit.leaves, audit.restored, audit.refetch), (1400, 350, None));
    assert!(audit.repaired.len() < 350, "not all of them in words");
    assert_eq!(store.audit(meter(), 0, UnixMillis(9)).await.unwrap().restored, 0);
    let rows = store.profile(meter(), None, None, 1000).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.row.sequence).collect::<Vec<_>>(), (1..=700).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_operator_who_deletes_or_edits_leaves_is_found_out_and_the_meter_gives_them_again() {
    for (sql, from) in [
        ("DELETE FROM leaf WHERE sequence = 13", 8),
        ("DELETE FROM leaf WHERE sequence >= 15", 8),
        ("UPDATE leaf SET hash = zeroblob(32), bytes = NULL WHERE sequence = 2", 0),
        ("UPDATE leaf SET bytes = zeroblob(60) WHERE sequence = 9", 8),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut log) = witnessed(folder.path()).await;
        let store = edit(folder.path(), store, sql).await;
        let audit = store.audit(meter(), 0, UnixMillis(9)).await.unwrap();
        assert_eq!(audit.refetch, Some(from), "{sql}: {audit:?}");
        // Another meter's leaves do not fill the hole; its own do.
        let mut other = Log::new(2);
        other.live(1, 10);
        assert!(!store.restore_leaves(meter(), from, other.contents(from)).await.unwrap());
        assert!(store.restore_leaves(meter(), from, log.contents(from)).await.unwrap(), "{sql}");
        assert_eq!(
            store.audit(meter(), 0, UnixMillis(9)).await.unwrap(),
            Audit { leaves: 20, ..Audit::default() }
        );
        log.live(11, 11);
        follow(&store, &mut log).await;
    }
}

#[tokio::test]
async fn a_checkpoint_of_another_key_in_the_database_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let (store, log) = witnessed(folder.path()).await;
    // Somebody replaces the newest checkpoint by one of a key of theirs.
    let mut theirs = Log { key: Log::new(3).key, ..log.clone() };
    theirs.checkpoints.truncate(1);
    theirs.live(11, 12);
    let (_, signed) = theirs.sign();
    store.close().await;
    let connection = Connection::open(folder.path().join("headend.sqlite")).unwrap();
    connection.execute("UPDATE checkpoint SET bytes = ?1 WHERE number = 2", [signed]).unwrap();
    drop(connection);
    let store = open(folder.path()).await;
    let known = store.witnessed(meter()).await.unwrap().unwrap();
    assert_eq!(known.newest, Some(log.checkpoints[0].0), "the newest that counts");
    // The meter's own is taken again.
    let (checkpoint, signed) = log.checkpoints[1].clone();
    assert!(matches!(judge(&known, &checkpoint), Ok(Step::Read { .. })));
    assert_eq!(store.prove_leaves(meter(), checkpoint, signed, UnixMillis(6)).await.unwrap(), Proof::Proven);
}
