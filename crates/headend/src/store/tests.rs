//! The store against repeats, restarts, kills and bad files.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use meterseal_model::{EventCode, MeterId, TimeBase, UnixMillis};

use super::*;

fn meter() -> MeterId {
    "MSL0000000001".parse().unwrap()
}

fn record() -> MeterRecord {
    MeterRecord {
        id: meter(),
        name: "Factory".into(),
        site: "factory".into(),
        is_virtual: true,
        time_base: TimeBase::Wall,
    }
}

fn event(sequence: u64, code: EventCode) -> SecurityEvent {
    SecurityEvent {
        sequence,
        code: code as u8,
        at: UnixMillis(1_000 * sequence as i64),
        uptime_milliseconds: sequence,
        extreme_micro_units: 0,
    }
}

fn row(sequence: u64) -> ProfileRow {
    ProfileRow {
        sequence,
        at: UnixMillis(900_000 * sequence as i64),
        energies: Energies {
            active_import_microwatt_hours: sequence as i64 * 1_000_000,
            ..Energies::default()
        },
        mean_voltage_millivolts: [230_000; 3],
        status: 0,
    }
}

fn reading(at: i64) -> LiveReading {
    LiveReading {
        at: UnixMillis(at),
        received_at: UnixMillis(at + 5),
        frequency_hz: 50.0,
        voltage_v: [230.0, 231.0, 232.0],
        current_a: [1.0, 2.0, 3.0],
        power_w: [230.0, 462.0, 696.0],
        total_power_w: at as f64,
        total_reactive_power_var: -5.0,
        power_factor: None,
        energies: Energies { active_import_microwatt_hours: at, ..Energies::default() },
    }
}

async fn open(folder: &Path) -> Store {
    let store = Store::open(folder).await.unwrap();
    store.register(record()).await.unwrap();
    store
}

#[tokio::test]
async fn what_comes_twice_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let events = vec![event(1, EventCode::PowerUp), event(2, EventCode::CoverRemoved)];
    let (first, committed) = store.insert_events(meter(), events.clone(), UnixMillis(9), None).await.unwrap();
    assert_eq!((first.new.len(), committed.security_log), (2, 2));
    let (again, _) = store.insert_events(meter(), events, UnixMillis(10), None).await.unwrap();
    assert_eq!(again, StoredBatch::default());
    let stored = store.events(None, None, 10).await.unwrap();
    assert_eq!(stored.iter().map(|event| event.event.sequence).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(stored[0].received_at, UnixMillis(9));
    assert_eq!(store.open_alarms(meter()).await.unwrap(), 1);

    let insert = async |rows| store.insert_profile(meter(), rows, UnixMillis(9), None).await.unwrap().0;
    assert_eq!(insert(vec![row(1), row(2)]).await, StoredRows { new: 2, contradicted: vec![] });
    assert_eq!(insert(vec![row(2), row(3)]).await, StoredRows { new: 1, contradicted: vec![] });
    let other = ProfileRow { status: 1, ..row(3) };
    assert_eq!(insert(vec![other]).await, StoredRows { new: 0, contradicted: vec![3] });
    let rows = store.profile(meter(), Some(row(2).at), None, 10).await.unwrap();
    assert_eq!(rows.iter().map(|stored| stored.row).collect::<Vec<_>>(), [row(2), row(3)]);
}

#[tokio::test]
async fn the_commit_mark_never_jumps_over_a_hole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let insert = async |sequences: &[u64], complete_to| {
        let events = sequences.iter().map(|&n| event(n, EventCode::PowerUp)).collect();
        store.insert_events(meter(), events, UnixMillis(0), complete_to).await.unwrap().1.security_log
    };
    assert_eq!(insert(&[1, 2], None).await, 2);
    assert_eq!(insert(&[5], None).await, 2);
    assert_eq!(insert(&[4, 3], Some(5)).await, 5);
    // 6 to 9 no longer exist in the meter, which was asked for everything up to 10.
    assert_eq!(insert(&[10], Some(10)).await, 10);
    assert_eq!(insert(&[1], Some(1)).await, 10);
}

#[tokio::test]
async fn a_rewritten_log_is_noticed_and_what_came_first_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.insert_events(meter(), vec![event(1, EventCode::CoverRemoved)], UnixMillis(0), None).await.unwrap();
    let other = vec![event(1, EventCode::PowerUp)];
    let (batch, _) = store.insert_events(meter(), other, UnixMillis(0), None).await.unwrap();
    assert_eq!((batch.new.len(), batch.contradicted), (0, vec![1]));
    assert_eq!(store.events(None, None, 1).await.unwrap()[0].event, event(1, EventCode::CoverRemoved));
}

#[tokio::test]
async fn an_alarm_is_acknowledged_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let events = vec![event(1, EventCode::CoverRemoved), event(2, EventCode::MagnetOn)];
    store.insert_events(meter(), events, UnixMillis(0), None).await.unwrap();
    let acknowledge = async |sequence, by: &str, at| {
        let who = Who { name: by.to_owned(), comment: None };
        let answer = store.acknowledge(meter(), sequence, who, UnixMillis(at)).await.unwrap();
        answer.map(|(event, _)| event)
    };
    assert_eq!(store.open_alarms(meter()).await.unwrap(), 2);
    let event = acknowledge(1, "ann", 5).await.unwrap();
    assert_eq!(event.acknowledged, Some(("ann".to_owned(), UnixMillis(5))));
    assert_eq!(store.open_alarms(meter()).await.unwrap(), 1);
    let event = acknowledge(1, "bob", 6).await.unwrap();
    assert_eq!(event.acknowledged, Some(("ann".to_owned(), UnixMillis(5))));
    assert!(acknowledge(3, "ann", 7).await.is_none());
    assert!(acknowledge(u64::MAX, "ann", 7).await.is_none());
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let facts = DeviceFacts {
        device_type: "T".into(),
        firmware_version: "1".into(),
        firmware_digest: meterseal_model::Digest384([7; 48]),
    };
    store.set_facts(meter(), facts.clone()).await.unwrap();
    store.set_state(meter(), ConnectionState::Refused, UnixMillis(3), Some("why".into())).await.unwrap();
    store.insert_events(meter(), vec![event(1, EventCode::CoverRemoved)], UnixMillis(0), None).await.unwrap();
    store.insert_live(meter(), reading(5_000)).await.unwrap();
    store.raise_peer_counters(meter(), PeerCounters { response: 8, push: 9 }).await.unwrap();
    store.raise_peer_counters(meter(), PeerCounters { response: 7, push: 10 }).await.unwrap();
    assert_eq!(store.reserve_invocations(meter(), 100).await.unwrap(), 1);
    store.close().await;
    assert!(matches!(store.open_alarms(meter()).await, Err(StoreError::Closed)));

    let store = Store::open(folder.path()).await.unwrap();
    let history = store.register(record()).await.unwrap();
    assert_eq!((history.state, history.since), (ConnectionState::Refused, Some(UnixMillis(3))));
    assert_eq!((history.reason.as_deref(), history.open_alarms), (Some("why"), 1));
    assert_eq!((history.facts, history.last_seen), (Some(facts), Some(UnixMillis(5_005))));
    assert_eq!(store.newest_live(meter()).await.unwrap(), Some(reading(5_000)));
    assert_eq!(store.peer_counters(meter()).await.unwrap(), PeerCounters { response: 8, push: 10 });
    assert_eq!(store.committed(meter()).await.unwrap().security_log, 1);
    assert_eq!(store.reserve_invocations(meter(), 1).await.unwrap(), 101);
}

#[tokio::test]
async fn nonces_end_before_they_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.advance_invocations(meter(), 1_000).await.unwrap();
    store.advance_invocations(meter(), 10).await.unwrap();
    assert_eq!(store.reserve_invocations(meter(), 10).await.unwrap(), 1_000);
    store.advance_invocations(meter(), u32::MAX - 5).await.unwrap();
    assert!(matches!(store.reserve_invocations(meter(), 10).await, Err(StoreError::KeyUsedUp { .. })));
    let stranger = "MSL0000000002".parse().unwrap();
    assert!(matches!(store.reserve_invocations(stranger, 1).await, Err(StoreError::UnknownMeter { .. })));
}

#[tokio::test]
async fn live_readings_are_forgotten_and_averaged() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for ten in 0..730 {
        // Many in one commit, as with many meters; in order, as from one meter.
        let insert = |k: i64| store.insert_live(meter(), reading((10 * ten + k) * 1000));
        let (a, b, c, d, e) = tokio::join!(biased; insert(0), insert(1), insert(2), insert(3), insert(4));
        let (f, g, h, i, j) = tokio::join!(biased; insert(5), insert(6), insert(7), insert(8), insert(9));
        assert!([a, b, c, d, e, f, g, h, i, j].iter().all(Result::is_ok));
    }
    let rows: i64 = store
        .read(|sql| Ok(sql.query_row("SELECT count(*) FROM live_reading", [], |row| row.get(0))?))
        .await
        .unwrap();
    assert!(rows <= 7_201, "{rows}");
    let (step, points) = store.series(meter(), 60, 1_200).await.unwrap();
    assert_eq!(step, 4);
    assert!((890..=902).contains(&points.len()), "{}", points.len());
    let inner = &points[points.len() / 2];
    assert_eq!(inner.at_seconds % 4, 0);
    assert_eq!(inner.mean.total_power_w, (inner.at_seconds * 1000 + 1_500) as f64);
    assert_eq!(inner.mean.energies.active_import_microwatt_hours, inner.at_seconds * 1000 + 3_000);

    // A clock that is set back leaves nothing in the future.
    store.insert_live(meter(), reading(60_000)).await.unwrap();
    assert_eq!(store.newest_live(meter()).await.unwrap().unwrap().at, UnixMillis(60_000));
}

#[tokio::test]
async fn another_format_program_or_damage_is_refused_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).await.close().await;
    let path = folder.path().join("headend.sqlite");
    let pragma = |text: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(text).unwrap();

    pragma("PRAGMA user_version = 2");
    let error = Store::open(folder.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Version { found: 2, expected: 1, .. }), "{error}");
    assert!(error.to_string().contains("headend.sqlite") && error.to_string().contains("--data"));
    pragma("PRAGMA user_version = 1; PRAGMA application_id = 7");
    assert!(matches!(Store::open(folder.path()).await, Err(StoreError::Foreign { .. })));
    pragma("PRAGMA application_id = 0x4D534C48; PRAGMA wal_checkpoint(TRUNCATE)");
    Store::open(folder.path()).await.unwrap().close().await;

    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2..].fill(0xA5);
    std::fs::write(&path, &bad).unwrap();
    assert!(matches!(Store::open(folder.path()).await, Err(StoreError::Corrupt { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), bad);
    std::fs::write(&path, b"not a database at all, but long enough to have a header of one hundred bytes.......................")
        .unwrap();
    assert!(matches!(Store::open(folder.path()).await, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn a_closed_store_is_whole_in_its_one_file() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await;
        store.insert_live(meter(), reading(5_000)).await.unwrap();
        assert!(store.newest_live(meter()).await.unwrap().is_some());
        store.close().await;
        assert!(!folder.path().join("headend.sqlite-wal").exists());
    }
}

#[tokio::test]
async fn a_second_head_end_is_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    assert!(matches!(Store::open(folder.path()).await, Err(StoreError::InUse { .. })));
    store.close().await;
    Store::open(folder.path()).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_folder_is_for_this_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let headend = folder.path().join("data/headend");
    Store::open(&headend).await.unwrap();
    assert_eq!(headend.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let error = Store::open(&folder.path().join("file/headend")).await.unwrap_err();
    assert!(error.to_string().contains("file/headend"), "{error}");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let limit = async |pages: i64| {
        let set = move |sql: &rusqlite::Connection| Ok(sql.pragma_update(None, "max_page_count", pages)?);
        store.write(set).await.unwrap();
    };
    store.insert_events(meter(), vec![event(1, EventCode::PowerUp)], UnixMillis(0), None).await.unwrap();
    limit(1).await; // SQLite takes it as "as many as there are".
    let mut sequence = 1;
    let error = loop {
        let events = (1..=500).map(|k| event(sequence + k, EventCode::CoverRemoved)).collect();
        match store.insert_events(meter(), events, UnixMillis(0), None).await {
            Ok((_, committed)) => sequence = committed.security_log,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(store.committed(meter()).await.unwrap().security_log, sequence);
    limit(1_000_000).await;
    let (batch, committed) = store
        .insert_events(meter(), vec![event(sequence + 1, EventCode::PowerUp)], UnixMillis(0), None)
        .await
        .unwrap();
    assert_eq!((batch.new.len(), committed.security_log), (1, sequence + 1));
}

#[tokio::test]
async fn a_read_only_database_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.write(|sql| Ok(sql.pragma_update(None, "query_only", true)?)).await.unwrap();
    let refused = store.insert_live(meter(), reading(1)).await;
    assert!(matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
}

/// Writes until it is killed, and says on its output what has been acknowledged. Does nothing in an ordinary run.
#[tokio::test]
async fn child_that_writes() {
    let Ok(folder) = std::env::var("METERSEAL_TEST_STORE") else { return };
    let store = open(Path::new(&folder)).await;
    let mut sequence = store.committed(meter()).await.unwrap().security_log;
    loop {
        let first = store.reserve_invocations(meter(), 10).await.unwrap();
        println!("\nnonce {first}");
        sequence += 1;
        let events = vec![event(sequence, EventCode::CoverRemoved)];
        let (_, committed) = store.insert_events(meter(), events, UnixMillis(0), None).await.unwrap();
        println!("\nevent {}", committed.security_log);
    }
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged_and_no_nonce_comes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut nonce) = (0u64, 0u64);
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::child_that_writes", "--nocapture"])
            .env("METERSEAL_TEST_STORE", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while let Some(Ok(line)) = lines.next() {
            let Some((kind, number)) = line.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match kind {
                "nonce" => {
                    assert!(number > nonce, "{number} after {nonce}");
                    nonce = number + 9;
                }
                "event" => acknowledged = number,
                _ => continue,
            }
            seen += 1;
            if seen == 20 + 7 * round {
                // SIGKILL, while the child goes on writing.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= 20, "the child did not write");
        let store = Store::open(folder.path()).await.unwrap();
        let committed = store.committed(meter()).await.unwrap().security_log;
        assert!(committed >= acknowledged, "{committed} < {acknowledged}");
        let count = store.events(Some(meter()), None, 1_000_000).await.unwrap().len() as u64;
        assert_eq!(count, committed);
        store.close().await;
    }
}
