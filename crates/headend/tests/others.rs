//! Meters of other makers, added while the head-end runs: read, stored, shown without a mark; and what a hostile or
//! broken one must not do to the rest.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::time::Duration;

use common::maker::{Fault, Maker, PASSWORD, TITLE, rows};
use common::{Browser, Flash, TestMeter, Utility, eventually};
use dlms_cosem_rs::security::SecuritySuite;
use meterseal_headend::others::entry::{self, OtherEntry, OtherSecurity};
use meterseal_link::client::Suite;
use meterseal_model::SystemTitle;
use serde_json::{Value, json};

fn entry(serial: u64, maker: &Maker, security: OtherSecurity) -> OtherEntry {
    OtherEntry {
        id: format!("XYZ{serial:010}").parse().unwrap(),
        name: format!("Old meter {serial}"),
        address: format!("tcp://{}", maker.address).parse().unwrap(),
        client: 1,
        server: 1,
        security,
        title: None,
        period_seconds: 1,
    }
}

fn keys(suite: Suite) -> String {
    format!("{}{}", "11".repeat(suite.key_bytes()), "22".repeat(suite.key_bytes()))
}

fn add(utility: &Utility, entry: &OtherEntry, secret: &str) {
    entry::add(&entry::folder(&utility.data()), entry, secret).unwrap();
}

/// Waits for at most a minute: a silent meter is given up only after ten seconds.
async fn meter_where(browser: &Browser, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..1200 {
        let meters = browser.get("/api/v1/meters").await.json();
        last = meters.as_array().unwrap().iter().find(|meter| meter["id"] == id).cloned().unwrap_or_default();
        if wanted(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{id} never became as it should be: {last}");
}

fn has_read(meter: &Value) -> bool {
    meter["state"] == "online" && meter["other"]["registers"].as_array().is_some_and(|list| !list.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meters_of_other_makers_are_read_stored_and_shown_without_a_mark() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let low = Maker::start(None, Fault::None).await;
    let zero = Maker::start(Some(SecuritySuite::Suite0), Fault::None).await;
    let one = Maker::start(Some(SecuritySuite::Suite1), Fault::None).await;
    let two = Maker::start(Some(SecuritySuite::Suite2), Fault::None).await;
    add(&utility, &entry(1, &low, OtherSecurity::Low), PASSWORD);
    add(&utility, &entry(2, &zero, OtherSecurity::Gmac(Suite::Zero)), &keys(Suite::Zero));
    add(&utility, &entry(3, &one, OtherSecurity::Gmac(Suite::One)), &keys(Suite::One));
    let known =
        OtherEntry { title: Some(SystemTitle(TITLE)), ..entry(4, &two, OtherSecurity::Gmac(Suite::Two)) };
    add(&utility, &known, &keys(Suite::Two));

    for (id, security) in [
        ("XYZ0000000001", "low-level"),
        ("XYZ0000000002", "suite 0 (AES-128)"),
        ("XYZ0000000003", "suite 1 (AES-128)"),
        ("XYZ0000000004", "suite 2 (AES-256)"),
    ] {
        let meter = meter_where(&browser, id, has_read).await;
        assert!(meter["mark"].is_null() && meter["virtual"] == false, "{meter}");
        assert!(meter["other"]["security"].as_str().unwrap().contains(security), "{meter}");
        let registers = meter["other"]["registers"].as_array().unwrap();
        let texts: Vec<_> = registers.iter().map(|register| register["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["123.456 kWh", "230.1 V"], "{meter}");
        let expected = rows().len();
        let profile = eventually("the load profile is stored", async || {
            let rows = browser.get(&format!("/api/v1/meters/{id}/other-profile?limit=5000")).await.json();
            (rows.as_array().unwrap().len() >= expected).then_some(rows)
        })
        .await;
        assert!(profile[0]["cells"][0]["text"].as_str().unwrap().ends_with(" kWh"), "{profile}");
    }

    // On demand, as with every meter.
    let call = "/api/v1/meters/XYZ0000000002/requests";
    let set = json!({ "kind": "set", "class": 1, "obis": "0-0:96.50.0", "index": 2, "value": "u16:7" });
    let id = browser.post(call, &set.to_string()).await.json()["id"].as_u64().unwrap();
    eventually("the setting is made", async || {
        let request = browser.get(&format!("{call}/{id}?wait_s=5")).await.json();
        (request["state"] == "done").then_some(())
    })
    .await;
    assert_eq!(*zero.setting.lock().unwrap(), meterseal_link::Value::U16(7).encode());

    entry::remove(&entry::folder(&utility.data()), "XYZ0000000001".parse().unwrap()).unwrap();
    eventually("the removed meter is gone", async || {
        let meters = browser.get("/api/v1/meters").await.json();
        (!meters.as_array().unwrap().iter().any(|meter| meter["id"] == "XYZ0000000001")).then_some(())
    })
    .await;
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_suites_titles_and_hostile_meters_are_told_apart_and_harm_nobody() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let good = Maker::start(Some(SecuritySuite::Suite0), Fault::None).await;
    let zero = OtherSecurity::Gmac(Suite::Zero);
    let wrong_key = format!("{}{}", "12".repeat(16), "22".repeat(16));
    add(&utility, &entry(1, &good, zero), &wrong_key);
    add(&utility, &entry(2, &good, OtherSecurity::Gmac(Suite::Two)), &keys(Suite::Two));
    let other_title = OtherEntry { title: Some(SystemTitle(*b"ABC\0\0\0\0\x01")), ..entry(3, &good, zero) };
    add(&utility, &other_title, &keys(Suite::Zero));
    let mut hostile = Vec::new();
    let endless = Maker::start(None, Fault::Endless).await;
    add(&utility, &entry(4, &endless, OtherSecurity::Low), PASSWORD);
    for (serial, fault) in [(5, Fault::Oversized), (6, Fault::HangsUp), (7, Fault::Silent)] {
        let maker = Maker::start(Some(SecuritySuite::Suite0), fault).await;
        add(&utility, &entry(serial, &maker, zero), &keys(Suite::Zero));
        hostile.push(maker);
    }
    let _ours = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    let healthy = Maker::start(Some(SecuritySuite::Suite0), Fault::None).await;
    add(&utility, &entry(9, &healthy, zero), &keys(Suite::Zero));

    for (serial, reason) in [
        (1, "keys"),
        (2, "suite"),
        (3, "system title"),
        (4, "does not end within 512 blocks"),
        (5, "65535 bytes exceeds"),
        (6, "closed the connection"),
        (7, "did not answer within"),
    ] {
        let id = format!("XYZ{serial:010}");
        let meter = meter_where(&browser, &id, |meter| {
            meter["state"] == "offline"
                && meter["state_reason"].as_str().is_some_and(|text| text.contains(reason))
        });
        meter.await;
    }
    // The others are read as if nothing were.
    meter_where(&browser, "XYZ0000000009", has_read).await;
    meter_where(&browser, "MSL0000000001", |meter| meter["state"] == "online" && !meter["live"].is_null())
        .await;
    assert_eq!(*good.setting.lock().unwrap(), Vec::<u8>::new());
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_counter_comes_twice_over_restarts_of_the_head_end() {
    let utility = Utility::new();
    let maker = Maker::start(Some(SecuritySuite::Suite0), Fault::None).await;
    add(&utility, &entry(1, &maker, OtherSecurity::Gmac(Suite::Zero)), &keys(Suite::Zero));
    for _ in 0..3 {
        // The meter refuses every counter that it has seen: each start must go on after the last.
        let headend = utility.start().await;
        let browser = Browser::signed_in(&headend).await;
        meter_where(&browser, "XYZ0000000001", has_read).await;
        tokio::time::timeout(Duration::from_secs(10), headend.shutdown()).await.unwrap();
    }
}
