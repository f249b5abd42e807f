//! What people ask of a meter in between: answered from the real meter, in order of priority, over reconnects, or said
//! to be expired.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::time::Duration;

use common::{Browser, Flash, Order, TestMeter, Utility, eventually};
use serde_json::{Value, json};

const CALL: &str = "/api/v1/meters/MSL0000000001/requests";
const ALARMS: &str = "0-0:97.98.0";

async fn submit(browser: &Browser, request: &Value) -> u64 {
    let answer = browser.post(CALL, &request.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["id"].as_u64().unwrap()
}

/// Waits until a request is answered.
async fn answer(browser: &Browser, id: u64) -> Value {
    let address = format!("{CALL}/{id}?wait_s=15");
    eventually("the request is answered", async || {
        let request = browser.get(&address).await.json();
        let open = ["waiting", "running"].iter().any(|state| request["state"] == *state);
        (!open).then_some(request)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_settings_and_refusals_come_back_with_who_asked() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    // Before the meter has ever called: they wait for it.
    let energy = json!({ "kind": "get", "class": 3, "obis": "1-0:1.8.0", "index": 2, "asked_by": "a clerk" });
    let energy = submit(&browser, &energy).await;
    let alarms = json!({ "kind": "set", "class": 1, "obis": ALARMS, "index": 2, "value": "u32:0", "priority": "high" });
    let alarms = submit(&browser, &alarms).await;
    let forbidden = json!({ "kind": "set", "class": 3, "obis": "1-0:1.8.0", "index": 2, "value": "u64:0" });
    let forbidden = submit(&browser, &forbidden).await;
    let waiting = browser.get(CALL).await.json();
    assert_eq!(waiting.as_array().unwrap().len(), 3);
    assert!(waiting.as_array().unwrap().iter().all(|request| request["state"] == "waiting"), "{waiting}");

    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    let read = answer(&browser, energy).await;
    assert_eq!((&read["state"], &read["asked_by"]), (&"done".into(), &"a clerk".into()), "{read}");
    assert!(read["value"].is_u64() && read["text"].is_string() && read["answered_at"].is_string(), "{read}");
    let set = answer(&browser, alarms).await;
    assert_eq!((&set["state"], &set["asked_by"]), (&"done".into(), &"operator".into()), "{set}");
    let refused = answer(&browser, forbidden).await;
    assert_eq!(refused["state"], "refused", "{refused}");
    assert!(refused["error"].as_str().unwrap().contains("rights"), "{refused}");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_outlives_a_lost_connection_and_one_without_a_meter_expires() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    let request = json!({ "kind": "get", "class": 8, "obis": "0-0:1.0.0", "index": 2 });
    let first = submit(&browser, &request).await;
    assert_eq!(answer(&browser, first).await["state"], "done");
    meter.order(Order::HangUp(Duration::from_millis(300)));
    let second = submit(&browser, &request).await;
    let answered = answer(&browser, second).await;
    assert_eq!(answered["state"], "done", "{answered}");
    assert!(answered["text"].as_str().unwrap().ends_with('Z'), "{answered}");

    drop(meter);
    let hurried = json!({ "kind": "get", "class": 8, "obis": "0-0:1.0.0", "index": 2, "within_s": 1 });
    eventually("the head-end knows that the meter is gone", async || {
        let meters = browser.get("/api/v1/meters").await.json();
        (meters[0]["state"] == "offline").then_some(())
    })
    .await;
    let third = submit(&browser, &hurried).await;
    assert_eq!(answer(&browser, third).await["state"], "expired");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_and_the_queue_is_bounded() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let good = json!({ "kind": "get", "class": 3, "obis": "1-0:1.8.0", "index": 2 });
    let with = |key: &str, value: Value| {
        let mut request = good.clone();
        request[key] = value;
        request.to_string()
    };
    for wrong in [
        "{}".to_owned(),
        with("kind", "steal".into()),
        with("obis", "1.8".into()),
        with("index", 0.into()),
        with("index", 1000.into()),
        with("value", "u8:1".into()),
        with("kind", "set".into()),
        with("within_s", 0.into()),
        with("within_s", 100_000_000.into()),
        with("unknown", 1.into()),
    ] {
        assert_eq!(browser.post(CALL, &wrong).await.status, 400, "{wrong}");
    }
    assert_eq!(browser.post("/api/v1/meters/MSL0000000009/requests", &good.to_string()).await.status, 404);
    assert_eq!(browser.get(&format!("{CALL}/77")).await.status, 404);
    assert_eq!(browser.get(&format!("{CALL}/1?wait_s=16")).await.status, 400);
    assert_eq!(Browser::new(&headend).post(CALL, &good.to_string()).await.status, 401);
    for _ in 0..meterseal_headend::requests::WAITING {
        submit(&browser, &good).await;
    }
    assert_eq!(browser.post(CALL, &good.to_string()).await.status, 429);
    headend.shutdown().await;
}
