//! Issue 5, part 4: the life of an alarm.

use meterseal_model::{EventCode, MeterId, TimeBase, UnixMillis};

use super::*;
use crate::alarms::HeadendCause;

fn meter(serial: u64) -> MeterId {
    format!("MSL{serial:010}").parse().unwrap()
}

async fn open(folder: &std::path::Path, meters: u64) -> Store {
    let store = Store::open(folder).await.unwrap();
    for serial in 1..=meters {
        let record = MeterRecord {
            id: meter(serial),
            name: "Home".into(),
            site: "home".into(),
            is_virtual: false,
            time_base: TimeBase::Wall,
        };
        store.register(record).await.unwrap();
    }
    store
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

async fn store_events(store: &Store, serial: u64, at: i64, events: &[SecurityEvent]) -> Vec<AlarmAct> {
    let (batch, _) = store.insert_events(meter(serial), events.to_vec(), UnixMillis(at), None).await.unwrap();
    batch.alarms.iter().map(|change| change.act).collect()
}

fn ann(comment: &str) -> Who {
    Who { name: "Ann".into(), comment: Some(comment.into()) }
}

async fn only(store: &Store) -> Alarm {
    let mut alarms = store.alarms(AlarmShow { limit: 10, ..AlarmShow::default() }).await.unwrap();
    assert_eq!(alarms.len(), 1);
    alarms.remove(0)
}

#[tokio::test]
async fn an_alarm_is_raised_acknowledged_cleared_by_its_end_and_reopened_and_all_of_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    assert_eq!(store_events(&store, 1, 10, &[event(1, EventCode::CoverRemoved)]).await, [AlarmAct::Raised]);
    let alarm = only(&store).await;
    let acknowledged = store
        .acknowledge_alarms(AlarmChoice::One(alarm.id), ann("the fitter is there"), UnixMillis(20))
        .await;
    assert_eq!(acknowledged.unwrap()[0].open, 0);
    assert_eq!(store_events(&store, 1, 30, &[event(2, EventCode::CoverClosed)]).await, [AlarmAct::Cleared]);
    let over = only(&store).await;
    assert_eq!(over.acknowledged.unwrap().by.as_deref(), Some("Ann"));
    assert_eq!(over.cleared.unwrap().by, None);
    assert!(store.alarm_groups().await.unwrap().is_empty(), "nobody has to do anything about it");

    assert_eq!(store_events(&store, 1, 40, &[event(3, EventCode::CoverRemoved)]).await, [AlarmAct::Reopened]);
    let again = only(&store).await;
    assert_eq!((again.id, again.occurrences), (alarm.id, 2));
    assert_eq!((again.first, again.raised), (UnixMillis(10), UnixMillis(40)));
    assert_eq!((again.acknowledged, again.cleared), (None, None));
    assert_eq!(store.open_alarms(meter(1)).await.unwrap(), 1);
    let history = store.alarm_history(alarm.id, 10).await.unwrap();
    let acts: Vec<_> = history.iter().map(|moment| (moment.act, moment.sequence)).collect();
    assert_eq!(
        acts,
        [
            (AlarmAct::Raised, Some(1)),
            (AlarmAct::Acknowledged, None),
            (AlarmAct::Cleared, Some(2)),
            (AlarmAct::Reopened, Some(3))
        ]
    );
    assert_eq!(history[1].comment.as_deref(), Some("the fitter is there"));
}

#[tokio::test]
async fn a_cover_that_was_closed_again_is_still_an_alarm_until_somebody_has_seen_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let both = [event(1, EventCode::CoverRemoved), event(2, EventCode::CoverClosed)];
    assert_eq!(store_events(&store, 1, 10, &both).await, [AlarmAct::Raised, AlarmAct::Cleared]);
    assert_eq!(store.open_alarms(meter(1)).await.unwrap(), 1);
    let groups = store.alarm_groups().await.unwrap();
    assert_eq!((groups[0].unacknowledged, groups[0].lasting), (1, 0));
}

#[tokio::test]
async fn events_that_come_in_another_order_end_in_the_same_state() {
    let events = [
        event(1, EventCode::CoverRemoved),
        event(2, EventCode::CoverClosed),
        event(3, EventCode::CoverRemoved),
        event(4, EventCode::CoverClosed),
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1], [3, 0, 2, 1], [0, 3, 1, 2]] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), 1).await;
        for place in order {
            store_events(&store, 1, 10, &[events[place]]).await;
        }
        let alarm = only(&store).await;
        assert!(alarm.cleared.is_some(), "{order:?}");
        assert_eq!(alarm.occurrences, 2, "{order:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    for place in [2, 1, 0] {
        store_events(&store, 1, 10, &[events[place]]).await;
    }
    assert_eq!(only(&store).await.cleared, None, "the cover stands open");
}

#[tokio::test]
async fn what_passes_is_over_when_somebody_has_seen_it_and_reopened_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let refused = |sequence| [event(sequence, EventCode::FirmwareRefused)];
    store_events(&store, 1, 10, &refused(1)).await;
    assert_eq!(store_events(&store, 1, 11, &refused(2)).await, [AlarmAct::Repeated]);
    let changes = store.acknowledge_alarms(AlarmChoice::One(1), ann("storm"), UnixMillis(12)).await.unwrap();
    assert_eq!(
        changes.iter().map(|change| change.act).collect::<Vec<_>>(),
        [AlarmAct::Acknowledged, AlarmAct::Cleared]
    );
    assert_eq!(store_events(&store, 1, 13, &refused(3)).await, [AlarmAct::Reopened]);
    let stored = store.events(None, None, 10).await.unwrap();
    let noted: Vec<_> = stored.iter().map(|event| event.acknowledged.is_some()).collect();
    assert_eq!(noted, [false, true, true], "newest first");
}

#[tokio::test]
async fn what_comes_twice_happens_to_the_alarm_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let spike = [event(1, EventCode::VoltageSpike)];
    assert_eq!(store_events(&store, 1, 10, &spike).await.len(), 1);
    assert!(store_events(&store, 1, 11, &spike).await.is_empty());
    assert_eq!(only(&store).await.occurrences, 1);
}

#[tokio::test]
async fn the_head_end_s_own_alarm_lasts_until_it_ends_and_says_the_same_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let new = |text: &str, at| NewAlarm {
        meter: Some(meter(1)),
        cause: HeadendCause::LogForked,
        text: text.into(),
        at: UnixMillis(at),
    };
    let act = |change: Option<AlarmChange>| change.map(|change| change.act);
    assert_eq!(act(store.raise_alarm(new("size 7", 1)).await.unwrap()), Some(AlarmAct::Raised));
    assert_eq!(act(store.raise_alarm(new("size 7", 2)).await.unwrap()), None);
    store.acknowledge_alarms(AlarmChoice::One(1), ann("on my way"), UnixMillis(3)).await.unwrap();
    assert_eq!(act(store.raise_alarm(new("size 7", 4)).await.unwrap()), None, "it lasts, and is known");
    assert_eq!(act(store.raise_alarm(new("size 9", 5)).await.unwrap()), Some(AlarmAct::Reopened));
    assert_eq!(only(&store).await.text, "size 9");
    let cleared = store.clear_alarms(AlarmChoice::One(1), ann("new meter"), UnixMillis(6)).await.unwrap();
    assert_eq!(cleared[0].alarm.cleared.as_ref().unwrap().by.as_deref(), Some("Ann"));
    assert_eq!(act(store.end_alarm(new("gone", 7)).await.unwrap()), None, "it is over already");
    assert_eq!(act(store.raise_alarm(new("size 9", 8)).await.unwrap()), Some(AlarmAct::Reopened));
}

#[tokio::test]
async fn a_storm_is_one_line_for_the_person_and_every_alarm_in_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 60).await;
    for serial in 1..=50 {
        store_events(&store, serial, 1_000 * serial as i64, &[event(1, EventCode::CoverRemoved)]).await;
    }
    // Long after the storm: a line of its own.
    store_events(&store, 60, 50_000 + GROUP_PAUSE_MILLISECONDS + 1, &[event(1, EventCode::CoverRemoved)])
        .await;
    store_events(&store, 3, 2_500, &[event(2, EventCode::VoltageSpike)]).await;
    let groups = store.alarm_groups().await.unwrap();
    let lines: Vec<_> =
        groups.iter().map(|group| (group.cause.as_str(), group.count, group.meters)).collect();
    assert_eq!(
        lines,
        [("voltage_spike", 1, 1), ("meter_cover_removed", 1, 1), ("meter_cover_removed", 50, 50)]
    );
    assert_eq!(groups[1].only.as_ref().unwrap().meter, Some(meter(60)));
    let storm = &groups[2];
    assert_eq!((storm.from, storm.to), (UnixMillis(1_000), UnixMillis(50_000)));

    let choice = AlarmChoice::Group { cause: storm.cause.clone(), from: storm.from, to: storm.to };
    let changes = store.acknowledge_alarms(choice, ann("maintenance"), UnixMillis(60_000)).await.unwrap();
    assert_eq!(changes.len(), 50);
    let all = store.alarms(AlarmShow { limit: 500, ..AlarmShow::default() }).await.unwrap();
    assert_eq!(all.len(), 52);
    assert_eq!(all.iter().filter(|alarm| alarm.acknowledged.is_some()).count(), 50);
    assert_eq!(store.events(None, None, 500).await.unwrap().len(), 52);
}

#[tokio::test]
async fn alarms_of_a_database_from_before_they_had_lives_are_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1).await;
    let events = [
        event(1, EventCode::CoverRemoved),
        event(2, EventCode::CoverClosed),
        event(3, EventCode::FirmwareRefused),
        event(4, EventCode::MagnetOn),
    ];
    store_events(&store, 1, 10, &events).await;
    store.acknowledge(meter(1), 3, ann("seen"), UnixMillis(20)).await.unwrap();
    store.close().await;
    let database = rusqlite::Connection::open(folder.path().join("headend.sqlite")).unwrap();
    database.execute_batch("DELETE FROM alarm_history; DELETE FROM alarm_life;").unwrap();
    drop(database);

    let store = open(folder.path(), 1).await;
    let mut alarms = store.alarms(AlarmShow { limit: 10, ..AlarmShow::default() }).await.unwrap();
    alarms.sort_by_key(|alarm| alarm.id);
    let states: Vec<_> = alarms
        .iter()
        .map(|alarm| (alarm.cause.as_str(), alarm.acknowledged.is_some(), alarm.cleared.is_some()))
        .collect();
    assert_eq!(
        states,
        [
            ("meter_cover_removed", false, true),
            ("firmware_refused", true, true),
            ("magnetic_field_on", false, false)
        ]
    );
    assert_eq!(store.open_alarms(meter(1)).await.unwrap(), 2);
}
