//! Issue 5, parts 3 and 5: a reading that is asked for is signed by the meter; statement and log come from the API and
//! hold; and whoever edits the database of a running head-end is found out.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::time::Duration;

use common::{Browser, Flash, Order, TestMeter, Utility, Variant, eventually};
use meterseal_headend::{Config, Headend, Pace};
use meterseal_model::Stimulus;
use meterseal_seal::evidence::{Export, Outcome, Statement, Trust};
use serde_json::Value;

const METER: &str = "/api/v1/meters/MSL0000000001";

async fn start(utility: &Utility) -> Headend {
    let config = utility.config();
    let pace = Pace { gaps: Duration::from_millis(500), ..config.pace };
    Headend::start(Config { pace, ..config }).await.unwrap()
}

async fn readings(browser: &Browser, at_least: usize) -> Vec<Value> {
    eventually("the readings are there", async || {
        let answer = browser.get(&format!("{METER}/readings")).await;
        if answer.status == 409 {
            return None;
        }
        let readings = answer.json()["readings"].as_array().unwrap().clone();
        (readings.len() >= at_least).then_some(readings)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpa_bill_a_reading_is_taken_on_request_and_statement_and_log_hold_without_the_head_end() {
    let utility = Utility::new();
    let headend = start(&utility).await;
    let browser = Browser::signed_in(&headend).await;
    let early = browser.get(&format!("{METER}/statement?from=2026-01-01T00:00:00Z")).await;
    assert!(early.status == 409 && early.text().contains("no sealed log"), "{}", early.text());

    let sealed = Variant { sealed: true, flash: Flash::blank(), ..Variant::default() };
    let _meter = TestMeter::variant(&utility, &headend, 1, sealed);
    let first = readings(&browser, 1).await;
    assert_eq!(first[0]["why"], "midnight", "the first day's, at the first start");
    let asked = browser.post(&format!("{METER}/readings"), "").await;
    assert_eq!(asked.status, 202, "{}", asked.text());
    let both = readings(&browser, 2).await;
    assert_eq!(both[1]["why"], "requested");

    let address = format!("{METER}/statement?from={}", first[0]["at"].as_str().unwrap());
    let answer = browser.get(&address).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("content-disposition").unwrap().contains("MSL0000000001-statement-"));
    let authorities = utility.pki.trust().meters.iter().map(|der| der.to_vec()).collect();
    let trust = Trust { authorities, ..Trust::default() };
    let verified = Statement::decode(&answer.body).unwrap().verify(&trust);
    assert!(verified.report.holds() && verified.report.of(Outcome::Broken).next().is_none());
    assert_eq!(verified.readings().len(), 2);

    let answer = browser.download(&format!("{METER}/log")).await;
    let mut leaves = 0;
    let verified = Export::verify(&answer.body, &trust, &mut |_| leaves += 1).unwrap();
    assert!(verified.report.holds() && leaves >= 4, "{leaves}");

    let csv = browser.get(&format!("{METER}/profile.csv")).await;
    assert!(
        csv.status == 200 && csv.text().starts_with("interval end,active import (kWh)"),
        "{}",
        csv.text()
    );
    for (wrong, status) in [
        ("statement?from=yesterday", 400),
        ("statement?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400),
        ("statement?from=2001-01-01T00:00:00Z", 409),
        ("log?first=1000000", 409),
    ] {
        let answer = browser.get(&format!("{METER}/{wrong}")).await;
        assert_eq!(answer.status, status, "{wrong}: {}", answer.text());
    }
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_who_edits_the_database_of_a_running_head_end_is_found_out_within_seconds() {
    let utility = Utility::new();
    let headend = start(&utility).await;
    let browser = Browser::signed_in(&headend).await;
    let sealed = Variant { sealed: true, flash: Flash::blank(), ..Variant::default() };
    let meter = TestMeter::variant(&utility, &headend, 1, sealed);
    readings(&browser, 1).await;
    let code = |browser: Browser| async move {
        browser.get("/api/v1/events?meter=MSL0000000001").await.json().as_array().unwrap().last().unwrap()["code"]
            .clone()
    };
    let before = code(browser.clone()).await;
    let repaired = async || {
        let alarms = browser.get("/api/v1/alarms?state=all&cause=row_repaired").await.json();
        alarms.as_array().unwrap().first().cloned()
    };
    assert!(repaired().await.is_none());
    // While the meter is connected, and while it is away.
    let database = utility.data().join("headend.sqlite");
    let edit = |sql: &str| {
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection.pragma_update(None, "foreign_keys", false).unwrap();
        assert!(connection.execute(sql, []).unwrap() > 0);
    };
    edit("UPDATE event SET code = 45 WHERE sequence = 1");
    let alarm = eventually("the alarm", repaired).await;
    assert!(alarm["text"].as_str().unwrap().contains("event 1 said 45"), "{alarm}");
    assert_eq!(code(browser.clone()).await, before, "restored");
    drop(meter);
    eventually("the meter is away", async || {
        (browser.get("/api/v1/meters").await.json()[0]["state"] == "offline").then_some(())
    })
    .await;
    edit("DELETE FROM event WHERE sequence = 1 AND code <> 45");
    eventually("the other alarm", async || {
        repaired().await.filter(|alarm| alarm["text"].as_str().unwrap().contains("event 1 was missing"))
    })
    .await;
    assert_eq!(code(browser.clone()).await, before, "restored");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_goes_on_and_signs_nothing_any_more_is_alarmed_after_25_hours() {
    let utility = Utility::new();
    let headend = start(&utility).await;
    let browser = Browser::signed_in(&headend).await;
    let sealed = Variant { sealed: true, flash: Flash::blank(), ..Variant::default() };
    let meter = TestMeter::variant(&utility, &headend, 1, sealed);
    readings(&browser, 1).await;
    let missing = async || {
        let alarms = browser.get("/api/v1/alarms?state=all&cause=checkpoint_missing").await.json();
        alarms.as_array().unwrap().first().cloned()
    };
    let connection = rusqlite::Connection::open(utility.data().join("headend.sqlite")).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    let count =
        || -> i64 { connection.query_row("SELECT count(*) FROM checkpoint", [], |row| row.get(0)).unwrap() };
    // It measures and sends events, but whatever it seals stays without a signature.
    meter.order(Order::Sign(false));
    meter.order(Order::Feel(Stimulus::OpenCover));
    eventually("the cover is stored", async || {
        let events = browser.get("/api/v1/events?meter=MSL0000000001").await.json();
        events.as_array().unwrap().iter().any(|event| event["code"] == 44).then_some(())
    })
    .await;
    let signed = count();
    let older = |hours: i64| {
        let aged = "UPDATE checkpoint SET received_ms = received_ms - ?1 * 3600000";
        assert!(connection.execute(aged, [hours]).unwrap() > 0);
        // A contact looks at once, and later once a minute.
        meter.order(Order::HangUp(Duration::ZERO));
    };
    older(24);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((count(), missing().await), (signed, None), "a day alone is no alarm");
    older(2);
    let alarm = eventually("the alarm", missing).await;
    assert!(alarm["cleared_at"].is_null(), "{alarm}");
    meter.order(Order::Sign(true));
    eventually("the end of the alarm", async || {
        missing().await.filter(|alarm| !alarm["cleared_at"].is_null())
    })
    .await;
    assert!(count() > signed);
    headend.shutdown().await;
}
