//! CPA-MARK: only meters with a valid mark are billed from. The others are in quarantine: connected, read for diagnosis, and
//! nothing of it billed; a mark that is added, taken back or over takes effect on standing connections.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::fs;
use std::time::Duration;

use common::{Browser, DEVICE_TYPE, FIRMWARE, Flash, TestMeter, Utility, Variant, eventually, id, wall};
use meterseal_headend::evidence::billable;
use meterseal_headend::{Headend, MarkWarnings, products};
use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::mark::name_of;
use meterseal_seal::{Coverage, Mark, MarkRevocations, Scope};
use serde_json::Value;

const OTHER: Digest384 = Digest384([0x66; 48]);
const DAY: i64 = 86_400_000;

async fn meter_where(browser: &Browser, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually("the meter is as it should be", async || {
        let meters = browser.get("/api/v1/meters").await.json();
        Some(meters[0].clone()).filter(&wanted)
    })
    .await
}

async fn trusted(browser: &Browser) -> Value {
    meter_where(browser, |meter| {
        meter["state"] == "online" && !meter["live"].is_null() && meter["quarantine"].is_null()
    })
    .await
}

async fn quarantined(browser: &Browser, why: &str) -> Value {
    meter_where(browser, |meter| {
        meter["quarantine"]["reason"].as_str().is_some_and(|reason| reason.contains(why))
            && meter["state"] == "online"
            && !meter["live"].is_null()
    })
    .await
}

async fn alarm(browser: &Browser, name: &str, show: &str) -> Value {
    eventually(name, async || {
        let alarms = browser.get(&format!("/api/v1/alarms?state={show}")).await.json();
        alarms.as_array().unwrap().iter().find(|alarm| alarm["cause"] == name).cloned()
    })
    .await
}

fn mark_for(firmware: Digest384, until: UnixMillis) -> Mark {
    Mark::development(DEVICE_TYPE, "virtual", firmware, "Test authority", UnixMillis(wall().0 - DAY), until)
}

/// Puts a signed mark into the head-end's folder, as a whole.
fn put(utility: &Utility, name: &str, signed: &[u8]) {
    let folder = products::folder(&utility.data());
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("staged"), signed).unwrap();
    fs::rename(folder.join("staged"), folder.join(name)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_mark_a_meter_is_in_quarantine_read_for_diagnosis_and_not_billed_from() {
    let utility = Utility::new();
    let mut config = utility.config();
    config.pace.gaps = Duration::from_millis(500);
    let headend = Headend::start(config).await.unwrap();
    let browser = Browser::signed_in(&headend).await;
    // Its clock says four seconds to the full minute.
    let clock_ahead_milliseconds = 56_000 - wall().0 % 60_000;
    let variant = Variant {
        firmware: OTHER,
        profile_period_seconds: 60,
        clock_ahead_milliseconds,
        ..Variant::default()
    };
    let _meter = TestMeter::variant(&utility, &headend, 1, variant);
    let shown = quarantined(&browser, "not for the running firmware").await;
    assert!(shown["mark"].is_null());
    assert_eq!(shown["firmware_digest"].as_str().unwrap(), OTHER.to_string());
    alarm(&browser, "meter_quarantined", "open").await;

    // Its rows are read and marked.
    let rows = eventually("rows", async || {
        let rows = browser.get("/api/v1/meters/MSL0000000001/profile?limit=10").await.json();
        Some(rows).filter(|rows| rows.as_array().is_some_and(|rows| !rows.is_empty()))
    })
    .await;
    assert_eq!(rows[0]["quarantined"], true, "{rows}");
    let now = wall();
    let refused =
        billable(headend.store(), id(1), UnixMillis(now.0 - DAY), now).await.unwrap_err().to_string();
    assert!(refused.contains("quarantine") && refused.contains("not for the running firmware"), "{refused}");

    // A mark for it, put into the folder, ends the quarantine of the standing connection.
    let signer = utility.pki.certification_signer().unwrap();
    put(&utility, "other.mark.cbor", &mark_for(OTHER, UnixMillis(now.0 + DAY)).sign(&signer).unwrap());
    let later = trusted(&browser).await;
    assert_eq!(later["since"], shown["since"], "the connection stands all the while");
    assert_eq!(later["mark"]["scope"], "development");
    // What it recorded before is not billed from even now; what comes is.
    assert!(billable(headend.store(), id(1), UnixMillis(now.0 - DAY), now).await.is_err());
    let ahead = UnixMillis(wall().0 + DAY);
    billable(headend.store(), id(1), ahead, UnixMillis(ahead.0 + DAY)).await.unwrap();
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_quarantine_nothing_is_set_and_a_restart_forgets_it_not() {
    let utility = Utility::new();
    let mut config = utility.config();
    config.meters[0].allowed_scopes = vec![Scope::Laboratory];
    let headend = Headend::start(config).await.unwrap();
    let browser = Browser::signed_in(&headend).await;
    let flash = Flash::blank();
    let meter = TestMeter::start(&utility, &headend, 1, &flash);
    quarantined(&browser, "scope development").await;
    let ask = async |body: &str| {
        let answer = browser.post("/api/v1/meters/MSL0000000001/requests", body).await.json();
        let number = answer["id"].as_u64().unwrap_or_else(|| panic!("{answer}"));
        eventually("an answer", async || {
            let shown = browser.get(&format!("/api/v1/meters/MSL0000000001/requests/{number}")).await.json();
            Some(shown).filter(|shown| !["waiting", "running"].contains(&shown["state"].as_str().unwrap()))
        })
        .await
    };
    let set = ask(r#"{"kind":"set","class":1,"obis":"0-0:97.98.0","index":2,"value":"u32:0"}"#).await;
    assert_eq!(set["state"], "refused", "{set}");
    assert!(set.to_string().contains("quarantine"), "{set}");
    let read = ask(r#"{"kind":"get","class":3,"obis":"1-0:1.8.0","index":2}"#).await;
    assert_eq!(read["state"], "done", "{read}");
    drop(meter);
    headend.shutdown().await;

    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let shown = meter_where(&browser, |_| true).await;
    assert!(shown["quarantine"]["reason"].as_str().unwrap().contains("scope development"), "{shown}");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_is_withdrawn_or_revoked_ends_the_trust_in_those_who_are_connected() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    let before = trusted(&browser).await;
    let listed = browser.get("/api/v1/marks").await.json();
    assert_eq!(
        (listed[0]["standing"].as_str(), listed[0]["meters"].as_u64()),
        (Some("valid"), Some(1)),
        "{listed}"
    );

    // The utility's own word.
    let name = listed[0]["name"].as_str().unwrap();
    let withdraw = format!("/api/v1/marks/{name}/withdraw");
    assert_eq!(browser.post(&withdraw, r#"{"reason":" "}"#).await.status, 400);
    assert_eq!(browser.post("/api/v1/marks/00/withdraw", r#"{"reason":"x"}"#).await.status, 404);
    assert_eq!(browser.post(&withdraw, r#"{"reason":"the clock drifts"}"#).await.status, 204);
    let shown = quarantined(&browser, "the clock drifts").await;
    assert_eq!(shown["since"], before["since"], "the connection stands");
    let listed = browser.get("/api/v1/marks").await.json();
    assert_eq!(listed[0]["standing"], "revoked");

    // Another mark covers it; its signatory takes it back.
    let signer = utility.pki.certification_signer().unwrap();
    let signed = mark_for(FIRMWARE, UnixMillis(wall().0 + DAY)).sign(&signer).unwrap();
    put(&utility, "second.mark.cbor", &signed);
    trusted(&browser).await;
    let mut list = MarkRevocations::new();
    list.revoke(name_of(&signed), "found wanting", wall()).unwrap();
    put(&utility, "revoked.cbor", &list.sign(&signer).unwrap());
    quarantined(&browser, "found wanting").await;
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_expires_puts_a_connected_meter_into_quarantine() {
    let utility = Utility::new();
    let signer = utility.pki.certification_signer().unwrap();
    let mut config = utility.config();
    let until = UnixMillis((wall().0 / 1000 + 4) * 1000);
    config.marks = vec![mark_for(FIRMWARE, until).sign(&signer).unwrap()];
    let headend = Headend::start(config).await.unwrap();
    let browser = Browser::signed_in(&headend).await;
    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    quarantined(&browser, "expired").await;
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_ends_soon_is_an_alarm_ahead_of_time_if_meters_rely_on_it() {
    let utility = Utility::new();
    let signer = utility.pki.certification_signer().unwrap();
    let tested = |firmware, days: i64| Mark {
        scope: Scope::Virtual,
        catalogue_digest: Some(FIRMWARE),
        results_digest: Some(FIRMWARE),
        coverage: vec![Coverage { requirement: "CPA-ACC".into(), tested: 1, not_tested: Vec::new() }],
        ..mark_for(firmware, UnixMillis(wall().0 + days * DAY))
    };
    let mut config = utility.config();
    config.meters[0].allowed_scopes = vec![Scope::Virtual];
    config.mark_warnings = MarkWarnings { first_days: 90, last_days: 30 };
    // The one that nobody relies on ends sooner, and is no alarm.
    config.marks = [tested(FIRMWARE, 60), tested(OTHER, 10)].map(|mark| mark.sign(&signer).unwrap()).to_vec();
    let headend = Headend::start(config).await.unwrap();
    let browser = Browser::signed_in(&headend).await;
    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    trusted(&browser).await;
    // Looks again when the list changes: any change will do.
    put(&utility, "none.mark.cbor", b"none");
    let due = alarm(&browser, "mark_renewal_due", "open").await;
    assert!(due["text"].as_str().unwrap().contains("1 of the meters here"), "{due}");
    let alarms = browser.get("/api/v1/alarms?state=all").await.json();
    assert!(!alarms.to_string().contains("mark_ending"), "{alarms}");
    let listed = browser.get("/api/v1/marks").await.json();
    let unusable: Vec<_> =
        listed.as_array().unwrap().iter().filter(|mark| mark["standing"] == "unusable").collect();
    assert_eq!(unusable.len(), 1, "a file that is no mark is listed with its reason: {listed}");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_makers_meter_stays_as_it_was() {
    let utility = Utility::new();
    let headend = utility.start().await;
    billable(headend.store(), id(7), UnixMillis(0), wall()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), headend.shutdown()).await.unwrap();
}
