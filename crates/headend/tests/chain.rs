//! From the meter's terminals to the page: real meters, real TLS, real store, real HTTP.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::time::{Duration, Instant};

use common::{Browser, Flash, KEYS, Order, TestMeter, Utility, Variant, eventually, id, wall};
use meterseal_headend::Headend;
use meterseal_link::dial::{self, Target};
use meterseal_model::Digest384;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};

const METER: &str = "MSL0000000001";
const STIMULUS: &str = "/api/v1/meters/MSL0000000001/stimulus";
const OPEN: &str = "{\"kind\":\"open_cover\"}";
const CLOSE: &str = "{\"kind\":\"close_cover\"}";

async fn meter_where(browser: &Browser, place: usize, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually("the meter is as it should be", async || {
        let meters = browser.get("/api/v1/meters").await.json();
        Some(meters[place].clone()).filter(&wanted)
    })
    .await
}

async fn online(browser: &Browser) -> Value {
    meter_where(browser, 0, |meter| meter["state"] == "online" && !meter["live"].is_null()).await
}

async fn events(browser: &Browser) -> Vec<Value> {
    browser.get(&format!("/api/v1/events?meter={METER}&limit=500")).await.json().as_array().unwrap().clone()
}

/// How often the meter's cover was opened or closed.
fn covers(events: &[Value]) -> usize {
    events.iter().filter(|event| event["name"].as_str().unwrap().starts_with("meter_cover")).count()
}

/// Sequence numbers, ascending.
fn sequences(events: &[Value]) -> Vec<u64> {
    let mut sequences: Vec<_> = events.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    sequences.sort_unstable();
    sequences
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_is_read_and_shown_as_it_measures() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let mut stream = browser.stream().await;
    let meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    let shown = online(&browser).await;
    assert_eq!(
        (&shown["device_type"], &shown["firmware_version"]),
        (&"meterseal-test".into(), &"1.2.3".into())
    );
    assert_eq!(shown["firmware_digest"].as_str().unwrap(), "5a".repeat(48));
    assert_eq!(shown["mark"]["scope"], "development");
    assert!(!shown["mark"]["not_tested"].as_array().unwrap().is_empty());

    // 230 V, 10 A, power factor 1 on each phase.
    let mut live = Value::Null;
    for _ in 0..3 {
        live = stream.next("live").await;
    }
    assert_eq!(live["meter"], METER);
    let live = &live["live"];
    let near =
        |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < expected * 0.01 + 0.5;
    for phase in live["phases"].as_array().unwrap() {
        assert!(near(&phase["v"], 230.0) && near(&phase["a"], 10.0) && near(&phase["w"], 2300.0), "{phase}");
    }
    assert!(
        near(&live["p_w"], 6900.0) && near(&live["frequency_hz"], 50.0) && near(&live["pf"], 1.0),
        "{live}"
    );
    assert!(live["import_wh"].as_f64().unwrap() > 0.0 && live["export_wh"] == 0.0, "{live}");

    let series = browser.get(&format!("/api/v1/meters/{METER}/series?minutes=60")).await.json();
    assert!(!series["t"].as_array().unwrap().is_empty());
    assert_eq!(series["t"].as_array().unwrap().len(), series["p_w"].as_array().unwrap().len());
    drop(meter);
    let gone = meter_where(&browser, 0, |meter| meter["state"] == "offline").await;
    assert!(gone["state_reason"].is_string() && gone["since"].is_string());
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpa_tamp_an_opened_cover_is_an_alarm_at_once_and_can_be_acknowledged() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    online(&browser).await;
    let mut stream = browser.stream().await;

    let pressed = Instant::now();
    assert_eq!(browser.post(STIMULUS, OPEN).await.status, 204);
    let alarm = loop {
        let event = stream.next("event").await;
        if event["name"] == "meter_cover_removed" {
            break event;
        }
    };
    // The meter looks every 10 ms and debounces for 10 ms; the rest is ours.
    assert!(pressed.elapsed() < Duration::from_millis(500), "{:?}", pressed.elapsed());
    assert_eq!((&alarm["severity"], &alarm["alarm"]), (&"critical".into(), &"raised".into()));
    assert_eq!(stream.next("meter").await["open_alarms"], 1);

    let call = format!("/api/v1/events/{METER}/{}/acknowledge", alarm["sequence"]);
    let answer = browser.post(&call, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        (&answer.json()["alarm"], &answer.json()["acknowledged_by"]),
        (&"acknowledged".into(), &"operator".into())
    );
    assert_eq!(stream.next("event").await["alarm"], "acknowledged");
    assert_eq!(stream.next("meter").await["open_alarms"], 0);

    let notice = events(&browser).await.into_iter().find(|event| event["alarm"] == "none").unwrap();
    let call = format!("/api/v1/events/{METER}/{}/acknowledge", notice["sequence"]);
    assert_eq!(browser.post(&call, "").await.status, 409);
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_the_head_end_was_away_is_read_later_and_once() {
    let utility = Utility::new();
    let flash = Flash::blank();
    let mut headend = utility.start().await;
    let mut before = 0;
    for round in 0..3 {
        let meter = TestMeter::start(&utility, &headend, 1, &flash);
        let browser = Browser::signed_in(&headend).await;
        online(&browser).await;
        for (presses, body) in (1..).zip([OPEN, CLOSE, OPEN, CLOSE]) {
            assert_eq!(browser.post(STIMULUS, body).await.status, 204);
            // A cover that is closed again before its debounce time is over was never open; how long a busy machine
            // takes for that, nobody knows.
            eventually(&format!("round {round}: the meter has noticed {presses}"), async || {
                (covers(&events(&browser).await) == 4 * round + presses).then_some(())
            })
            .await;
        }
        if round == 1 {
            // The connection breaks while things happen at the meter.
            meter.order(Order::HangUp(Duration::from_millis(300)));
            meter.order(Order::Feel(meterseal_model::Stimulus::BringMagnet));
        }
        let wanted = before + 1 + 4 + usize::from(round == 1);
        let stored = eventually("every event is stored", async || {
            Some(events(&browser).await).filter(|events| events.len() >= wanted)
        })
        .await;
        assert_eq!(sequences(&stored), (1..=stored.len() as u64).collect::<Vec<_>>(), "round {round}");
        before = stored.len();
        drop(meter);
        utility.sites.0.lock().unwrap().clear();
        headend.shutdown().await;
        headend = utility.start().await;
    }
    let browser = Browser::signed_in(&headend).await;
    // A meter that is dropped may have sensed something more before it ended.
    let kept = events(&browser).await;
    assert!(kept.len() >= before, "{} of {before} events are left", kept.len());
    assert_eq!(sequences(&kept), (1..=kept.len() as u64).collect::<Vec<_>>());
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_end_that_lost_its_database_reads_the_meters_log_again() {
    let utility = Utility::new();
    let flash = Flash::blank();
    let headend = utility.start().await;
    let meter = TestMeter::start(&utility, &headend, 1, &flash);
    let browser = Browser::signed_in(&headend).await;
    online(&browser).await;
    for (presses, body) in (1..).zip([OPEN, CLOSE]) {
        browser.post(STIMULUS, body).await;
        eventually("the meter has noticed", async || {
            (covers(&events(&browser).await) == presses).then_some(())
        })
        .await;
    }
    let before =
        eventually("three events", async || Some(events(&browser).await).filter(|e| e.len() == 3)).await;
    // Long enough for the acknowledgement: from now on the meter pushes none of these again.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(meter);
    headend.shutdown().await;
    std::fs::remove_dir_all(utility.data()).unwrap();

    utility.sites.0.lock().unwrap().clear();
    let headend = utility.start().await;
    let _meter = TestMeter::start(&utility, &headend, 1, &flash);
    let browser = Browser::signed_in(&headend).await;
    let after =
        eventually("the log is whole", async || Some(events(&browser).await).filter(|e| e.len() == 4)).await;
    assert_eq!(sequences(&after), [1, 2, 3, 4]);
    for event in &before {
        let again = after.iter().find(|other| other["sequence"] == event["sequence"]).unwrap();
        for field in ["code", "at", "uptime_ms", "extreme"] {
            assert_eq!(event[field], again[field], "{field}");
        }
    }
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_profile_is_read_by_itself() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    // Its clock says four seconds to the full minute; the head-end looks every ten seconds.
    let clock_ahead_milliseconds = 56_000 - wall().0 % 60_000;
    let variant = Variant { profile_period_seconds: 60, clock_ahead_milliseconds, ..Variant::default() };
    let _meter = TestMeter::variant(&utility, &headend, 1, variant);
    online(&browser).await;
    let mut rows = Vec::new();
    for _ in 0..30 {
        rows =
            browser.get(&format!("/api/v1/meters/{METER}/profile")).await.json().as_array().unwrap().clone();
        if !rows.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let row = rows.first().expect("a row of the load profile");
    assert_eq!(row["sequence"], 1);
    assert!(row["at"].as_str().unwrap().ends_with(":00.000Z"), "{row}");
    assert!(row["import_wh"].as_f64().unwrap() > 0.0, "{row}");
    assert!((row["mean_v"][0].as_f64().unwrap() - 230.0).abs() < 3.0, "{row}");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_mark_a_meter_is_refused_and_not_read() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let variant = Variant { firmware: Digest384([0x66; 48]), ..Variant::default() };
    let meter = TestMeter::variant(&utility, &headend, 1, variant);
    let shown = meter_where(&browser, 0, |meter| meter["state"] == "refused").await;
    assert!(shown["state_reason"].as_str().unwrap().contains("firmware"), "{shown}");
    assert!(shown["mark"].is_null() && shown["live"].is_null());
    assert_eq!(shown["firmware_digest"].as_str().unwrap(), "66".repeat(48));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(events(&browser).await.is_empty(), "nothing is taken from a meter without a mark");
    let later = meter_where(&browser, 0, |_| true).await;
    assert_eq!(later["since"], shown["since"], "calling again and being refused again is no news");
    drop(meter);

    // The same meter with the firmware that the mark names is admitted.
    utility.sites.0.lock().unwrap().clear();
    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    online(&browser).await;
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_the_policy_does_not_name_is_refused() {
    let utility = Utility::new();
    let mut config = utility.config();
    config.meters[0].allowed_scopes = vec![meterseal_seal::Scope::Laboratory];
    let headend = meterseal_headend::Headend::start(config).await.unwrap();
    let browser = Browser::signed_in(&headend).await;
    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    let shown = meter_where(&browser, 0, |meter| meter["state"] == "refused").await;
    assert!(shown["state_reason"].as_str().unwrap().contains("scope development"), "{shown}");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_with_other_keys_gets_no_association() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let variant = Variant { keys: ([9; 32], KEYS.1), ..Variant::default() };
    let _meter = TestMeter::variant(&utility, &headend, 1, variant);
    let shown = meter_where(&browser, 0, |meter| meter["state"] == "offline").await;
    assert!(shown["state_reason"].is_string() && shown["live"].is_null(), "{shown}");
    headend.shutdown().await;
}

/// A TLS connection with the meter's certificate that never says a word.
async fn silent(utility: &Utility, headend: &Headend, serial: u64) -> impl AsyncRead + Unpin + use<> {
    let identity = utility
        .pki
        .issue_operational(
            id(serial),
            meterseal_link::pki::Validity::from_now(std::time::Duration::from_secs(86_400)),
        )
        .unwrap()
        .identity()
        .unwrap();
    let tls = meterseal_link::tls::meter_config(&identity, &utility.pki.trust()).unwrap();
    let target = Target { address: headend.gateway_addr().to_string(), headend: common::NAME.into() };
    dial::connect(&target, &tls, Default::default()).await.unwrap().stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_calls_again_replaces_its_older_connection() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let mut older = silent(&utility, &headend, 1).await;
    let began = Instant::now();
    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    online(&browser).await;
    // Without being replaced the older one would have held the meter's place for its ten seconds of silence.
    let mut bytes = vec![0; 4096];
    // To the end that TLS says: a connection that is cut without it is an error here.
    while older.read(&mut bytes).await.unwrap() > 0 {}
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(online(&browser).await["state_reason"], Value::Null);
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpa_tamp_a_meter_whose_memory_was_put_back_is_refused() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let flash = Flash::blank();
    let live_then_stop = async |flash: &Flash, presses: usize| {
        let before = events(&browser).await.len();
        let meter = TestMeter::start(&utility, &headend, 1, flash);
        online(&browser).await;
        for k in 0..presses {
            browser.post(STIMULUS, if k % 2 == 0 { OPEN } else { CLOSE }).await;
            eventually("the event", async || (events(&browser).await.len() > before + k + 1).then_some(()))
                .await;
        }
        drop(meter);
        utility.sites.0.lock().unwrap().clear();
        meter_where(&browser, 0, |meter| meter["state"] == "offline").await;
    };
    live_then_stop(&flash, 2).await;
    let yesterday = flash.copy();
    live_then_stop(&flash, 4).await;
    let stored = events(&browser).await;

    // Yesterday's image: the log is shorter than what it has given.
    let meter = TestMeter::start(&utility, &headend, 1, &yesterday.copy());
    let shown = meter_where(&browser, 0, |meter| meter["state"] == "refused").await;
    assert!(shown["state_reason"].as_str().unwrap().contains("put back"), "{shown}");
    drop(meter);
    utility.sites.0.lock().unwrap().clear();

    // Yesterday's image that has gone on elsewhere until its log is longer than that.
    let elsewhere = Utility::new();
    let other_headend = elsewhere.start().await;
    let meter = TestMeter::start(&elsewhere, &other_headend, 1, &yesterday);
    let other_browser = Browser::signed_in(&other_headend).await;
    online(&other_browser).await;
    // Its log first, two starts and two presses: what still arrives of it must not pass for a press's event.
    eventually("its log", async || (events(&other_browser).await.len() == 4).then_some(())).await;
    for k in 0..10 {
        let before = events(&other_browser).await.len();
        other_browser.post(STIMULUS, if k % 2 == 0 { OPEN } else { CLOSE }).await;
        eventually("the event", async || (events(&other_browser).await.len() > before).then_some(())).await;
    }
    drop(meter);
    other_headend.shutdown().await;
    let _meter = TestMeter::start(&utility, &headend, 1, &yesterday);
    let shown = meter_where(&browser, 0, |meter| {
        meter["state_reason"].as_str().is_some_and(|reason| reason.contains("something else under number"))
    })
    .await;
    assert_eq!(shown["state"], "refused");
    assert_eq!(events(&browser).await, stored, "what came first stays");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_lost_its_memory_is_refused_with_the_remedy() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    meter_where(&browser, 0, |meter| !meter["live"].is_null()).await;
    drop(meter);
    meter_where(&browser, 0, |meter| meter["state"] == "offline").await;
    let _blank = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    let shown = meter_where(&browser, 0, |meter| {
        meter["state_reason"].as_str().is_some_and(|reason| reason.contains("enrol it anew with new keys"))
    })
    .await;
    assert_eq!(shown["state"], "refused", "{shown}");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_silent_meter_holds_up_no_other() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let silent = silent(&utility, &headend, 2).await;
    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    let mut stream = browser.stream().await;
    let began = Instant::now();
    for _ in 0..3 {
        stream.next("live").await;
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    let stopping = Instant::now();
    headend.shutdown().await;
    assert!(stopping.elapsed() < Duration::from_secs(2), "{:?}", stopping.elapsed());
    drop(silent);
}
