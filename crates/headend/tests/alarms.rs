//! Issue 5, part 4: alarms as people and programs see them, live.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::time::Duration;

use common::{Browser, Flash, Order, TestMeter, Utility, eventually};
use meterseal_headend::{Config, Headend, Pace};
use serde_json::Value;

async fn start(utility: &Utility) -> Headend {
    let config = utility.config();
    // Three readings and a silence in a test's time.
    let pace = Pace { live: Duration::from_millis(100), ..config.pace };
    Headend::start(Config { pace, silent_after: Duration::from_millis(600), ..config }).await.unwrap()
}

async fn silent(browser: &Browser) -> Vec<Value> {
    let alarms = browser.get("/api/v1/alarms?state=all&cause=meter_silent").await.json();
    alarms.as_array().unwrap().clone()
}

async fn silent_and(browser: &Browser, state: &str) -> Value {
    eventually(&format!("silence is {state}"), async || {
        silent(browser).await.into_iter().find(|alarm| alarm["state"] == state)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_meter_is_an_alarm_that_ends_by_itself_also_across_a_restart_of_the_head_end() {
    let utility = Utility::new();
    let flash = Flash::blank();
    let headend = start(&utility).await;
    let browser = Browser::signed_in(&headend).await;
    let mut stream = browser.stream().await;
    let meter = TestMeter::start(&utility, &headend, 1, &flash);
    stream.next("live").await;
    assert!(silent(&browser).await.is_empty());
    meter.order(Order::HangUp(Duration::from_secs(3)));
    let raised = stream.next("alarm").await;
    assert_eq!((&raised["act"], &raised["alarm"]["cause"]), (&"raised".into(), &"meter_silent".into()));
    assert_eq!(
        raised["alarm"]["meter"], "MSL0000000001",
        "the other meter has never called and is not missed"
    );
    let over = silent_and(&browser, "cleared").await;
    assert!(over["cleared_by"].is_null() && over["open"] == true, "over, but nobody has seen it: {over}");

    // Silent when the head-end stops, still silent when it is back, and then heard.
    drop(meter);
    silent_and(&browser, "raised").await;
    headend.shutdown().await;
    let headend = start(&utility).await;
    let browser = Browser::signed_in(&headend).await;
    assert_eq!(silent_and(&browser, "raised").await["occurrences"], 2);
    let _meter = TestMeter::start(&utility, &headend, 1, &flash);
    let over = silent_and(&browser, "cleared").await;
    assert_eq!(over["occurrences"], 2, "not raised again by the restart");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_does_not_come_back_after_a_restart_of_the_head_end_is_an_alarm() {
    let utility = Utility::new();
    let headend = start(&utility).await;
    let browser = Browser::signed_in(&headend).await;
    let mut stream = browser.stream().await;
    let meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    stream.next("live").await;
    drop(meter);
    headend.shutdown().await;
    let headend = start(&utility).await;
    let browser = Browser::signed_in(&headend).await;
    silent_and(&browser, "raised").await;
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_acknowledged_and_cleared_as_one_and_every_page_hears_of_it() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let _meters = [1, 2].map(|serial| TestMeter::start(&utility, &headend, serial, &Flash::blank()));
    eventually("both are online", async || {
        let meters = browser.get("/api/v1/meters").await.json();
        meters.as_array()?.iter().all(|meter| meter["state"] == "online").then_some(())
    })
    .await;
    let mut stream = browser.stream().await;
    for meter in [1, 2] {
        let sites = utility.sites.0.lock().unwrap();
        let (_, orders) = sites.iter().find(|(id, _)| *id == common::id(meter)).unwrap();
        orders.send(Order::Feel(meterseal_model::Stimulus::OpenCover)).unwrap();
    }
    let group = eventually("one line for both", async || {
        let groups = browser.get("/api/v1/alarms/groups").await.json();
        groups.as_array()?.iter().find(|group| group["meters"] == 2).cloned()
    })
    .await;
    assert_eq!((&group["cause"], &group["only"]), (&"meter_cover_removed".into(), &Value::Null));
    let note = serde_json::json!({
        "cause": group["cause"], "from": group["from"], "to": group["to"], "by": "Ann", "comment": "maintenance"
    })
    .to_string();
    let acknowledged = browser.post("/api/v1/alarms/acknowledge", &note).await;
    assert_eq!((acknowledged.status, &acknowledged.json()["changed"]), (200, &2.into()));
    loop {
        let update = stream.next("alarm").await;
        if update["act"] == "acknowledged" {
            assert_eq!(update["alarm"]["acknowledged_by"], "Ann");
            break;
        }
    }
    assert_eq!(browser.post("/api/v1/alarms/clear", &note).await.json()["changed"], 2);
    assert_eq!(browser.get("/api/v1/alarms/groups").await.json(), serde_json::json!([]));
    assert_eq!(browser.get("/api/v1/alarms").await.json(), serde_json::json!([]));
    let all = browser.get("/api/v1/alarms?state=all&severity=critical&meter=MSL0000000002").await.json();
    assert_eq!((&all[0]["state"], &all[0]["cleared_by"]), (&"cleared".into(), &"Ann".into()));
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_understood_about_alarms_is_refused_in_words() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    for query in
        ["state=maybe", "limit=0", "limit=501", "severity=7", "from=yesterday", "meter=", "before=-1"]
    {
        let answer = browser.get(&format!("/api/v1/alarms?{query}")).await;
        assert!(matches!(answer.status, 400 | 404), "{query}: {}", answer.status);
        assert!(answer.json()["what_to_do"].is_string());
    }
    assert_eq!(browser.get("/api/v1/alarms/7").await.status, 404);
    assert_eq!(browser.post("/api/v1/alarms/7/acknowledge", "{}").await.status, 404);
    let long = format!(r#"{{"comment":"{}"}}"#, "x".repeat(1001));
    for body in [long.as_str(), r#"{"by":"a\u0007"}"#, r#"{"who":"x"}"#, "7"] {
        assert_eq!(browser.post("/api/v1/alarms/7/acknowledge", body).await.status, 400, "{body}");
    }
    headend.shutdown().await;
}
