//! Issue 5, Numbers: a link dead for a simulated week; no event and no interval is lost or doubled.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use common::{Browser, Flash, TestMeter, Utility, Variant, eventually};
use meterseal_meter::Layout;
use serde_json::Value;

const METER: &str = "/api/v1/meters/MSL0000000001";
const WEEK_MILLISECONDS: i64 = 7 * 86_400_000;
const INTERVALS: usize = 7 * 96;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_dead_for_a_week_loses_and_doubles_no_event_and_no_interval() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let flash = Flash::sized(Layout::STANDARD.size());
    let a_week_ago = Variant {
        flash: flash.clone(),
        layout: Layout::STANDARD,
        clock_ahead_milliseconds: -WEEK_MILLISECONDS,
        ..Variant::default()
    };
    let meter = TestMeter::variant(&utility, &headend, 1, a_week_ago.clone());
    let before = eventually("its first events are there", async || {
        let events = browser.get("/api/v1/events?limit=500").await.json();
        events.as_array().filter(|events| !events.is_empty()).map(Vec::len)
    })
    .await;
    drop(meter);

    let surges = a_week_ago.live_alone(1, 6 * 3_600_000);
    assert!((27..=29).contains(&surges), "four a day: {surges}");

    let present = Variant { clock_ahead_milliseconds: 0, ..a_week_ago };
    let _meter = TestMeter::variant(&utility, &headend, 1, present);
    let rows = eventually("the week is read", async || {
        let rows = browser.get(&format!("{METER}/profile?limit=5000")).await.json();
        rows.as_array().filter(|rows| rows.len() >= INTERVALS).cloned()
    })
    .await;
    assert!((INTERVALS..=INTERVALS + 1).contains(&rows.len()), "{}", rows.len());
    whole(rows.iter());
    let seconds = |row: &Value| row["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    for pair in rows.windows(2) {
        assert_eq!(seconds(&pair[1]) - seconds(&pair[0]), 900, "{} then {}", pair[0]["at"], pair[1]["at"]);
    }

    let struck =
        |events: &[Value]| events.iter().filter(|event| event["name"] == "voltage_spike").count() as u64;
    let events = eventually("every surge is there", async || {
        let mut events = browser.get("/api/v1/events?limit=500").await.json().as_array()?.clone();
        events.sort_by_key(|event| event["sequence"].as_u64());
        (struck(&events) >= surges).then_some(events)
    })
    .await;
    assert_eq!(struck(&events), surges);
    assert!(events.len() > before + surges as usize, "the starts are events too");
    whole(events.iter());
    let alarms = browser.get("/api/v1/alarms?cause=voltage_spike").await.json();
    assert_eq!(alarms[0]["occurrences"], surges);
    headend.shutdown().await;
}

/// Every sequence number from 1, each once.
fn whole<'v>(values: impl Iterator<Item = &'v Value>) {
    for (place, value) in values.enumerate() {
        assert_eq!(value["sequence"], place as u64 + 1);
    }
}
