//! A meter behind a radio, the product's own from its terminals to the head-end's store: whatever becomes of the radio, the
//! meter comes back by itself, and every entry of its security log and every row of its load profile arrives.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Browser, DEVICE_TYPE, FIRMWARE, KEYS, NAME, Utility, id, wall};
use meterseal_device::flash::FileFlash;
use meterseal_device::wifi::Wifi;
use meterseal_device::{Access, Device, Opened, Place, Settings, SystemRandom};
use meterseal_headend::Headend;
use meterseal_link::dial::{Target, Tcp};
use meterseal_link::tls;
use meterseal_meter::{Config, DlmsKeys, Identity, Layout, Meter};
use meterseal_metrology::Nominal;
use meterseal_model::{Stimulus, TimeBase, UnixMillis};
use meterseal_world::SiteKind;
use meterseal_world::site::FrontEnd;
use meterseal_world::wifi::Reception;
use serde_json::Value;

const METER: &str = "MSL0000000001";
/// Minutes of which the meter has rows before it first meets its head-end.
const BACKLOG: usize = 90;

fn identity() -> Identity {
    Identity {
        id: id(1),
        device_type: DEVICE_TYPE.into(),
        firmware_version: "1.2.3".into(),
        firmware_digest: FIRMWARE,
    }
}

fn keys() -> DlmsKeys {
    DlmsKeys { encryption: KEYS.0, authentication: KEYS.1 }
}

/// A meter's flash after an hour and a half without a head-end, with a row a minute.
fn with_backlog(path: &Path) {
    let flash = FileFlash::open(path, Layout::STANDARD.size()).unwrap();
    let metrology =
        meterseal_metrology::Config::new(8_000_000_000, Nominal::Hz50, FrontEnd::reference(0).scale());
    let config = Config { profile_period_seconds: 60, ..Config::new(metrology) };
    let end = wall().0 - 2_000;
    let begin = end - BACKLOG as i64 * 60_000;
    let mut meter = Meter::open(identity(), keys(), config, flash, SystemRandom, UnixMillis(begin)).unwrap();
    for now in (begin..end).step_by(20_000) {
        meter.tick(UnixMillis(now)).unwrap();
    }
    meter.power_down(UnixMillis(end)).unwrap();
}

fn meter(utility: &Utility, headend: &Headend, wifi: &Wifi, flash: &Path) -> Device {
    let own = utility
        .pki
        .issue_operational(
            id(1),
            meterseal_link::pki::Validity::from_now(std::time::Duration::from_secs(86_400)),
        )
        .unwrap()
        .identity()
        .unwrap();
    let settings = Settings {
        identity: identity(),
        keys: keys(),
        tls: tls::meter_config(&own, &utility.pki.trust()).unwrap(),
        trust: None,
        network: Arc::new(wifi.clone()),
        headend: Target { address: headend.gateway_addr().to_string(), headend: NAME.into() },
        access: Access::default(),
        flash: flash.to_owned(),
        firmware: None,
        place: Place::Synthetic(SiteKind::HomeSolar),
        seed: 1,
        time_base: TimeBase::Wall,
        speed: 1.0,
        profile_period_seconds: 60,
    };
    Opened::new(settings).unwrap().start(&tokio::runtime::Handle::current()).unwrap()
}

async fn rows(browser: &Browser, call: &str) -> Vec<Value> {
    browser.get(call).await.json().as_array().unwrap().clone()
}

/// Sequence numbers, ascending: each from 1 to the last is there once.
fn assert_whole(rows: &[Value], what: &str) {
    let mut sequences: Vec<_> = rows.iter().map(|row| row["sequence"].as_u64().unwrap()).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=rows.len() as u64).collect::<Vec<_>>(), "{what}");
}

/// Polls for at most two minutes: stalls of a weak radio and pauses between attempts add up.
async fn eventually(what: &str, mut probe: impl AsyncFnMut() -> bool) {
    for _ in 0..2400 {
        if probe().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never happened: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_meter_comes_back_by_itself_from_each_fault_of_its_radio_and_nothing_is_lost() {
    let events_call = format!("/api/v1/events?meter={METER}&limit=500");
    let profile_call = format!("/api/v1/meters/{METER}/profile?limit=5000");
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let flash = utility.folder.path().join("flash.bin");
    with_backlog(&flash);
    let wifi = Wifi::new(Arc::new(Tcp), 5);
    // The backlog is read through a weak radio already.
    wifi.set_reception(Reception::Weak);
    let device = meter(&utility, &headend, &wifi, &flash);
    let has_covers = async |wanted: usize| {
        let events = rows(&browser, &events_call).await;
        events.iter().filter(|event| event["name"].as_str().unwrap().contains("meter_cover")).count()
            == wanted
    };

    device.apply(Stimulus::OpenCover).unwrap();
    eventually("an event through a weak radio", async || has_covers(1).await).await;

    wifi.set_reception(Reception::Off);
    device.apply(Stimulus::CloseCover).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(has_covers(1).await, "nothing passes while the radio is off");
    wifi.set_reception(Reception::Good);
    eventually("an event after the radio was off", async || has_covers(2).await).await;

    wifi.roam();
    device.apply(Stimulus::OpenCover).unwrap();
    eventually("an event after roaming", async || has_covers(3).await).await;

    wifi.set_reception(Reception::Swallowing);
    device.apply(Stimulus::CloseCover).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(has_covers(3).await, "nothing gets beyond the access point");
    wifi.set_reception(Reception::Good);
    wifi.roam();
    eventually("an event after a swallowing access point", async || has_covers(4).await).await;

    eventually("the whole profile", async || rows(&browser, &profile_call).await.len() >= BACKLOG - 1).await;
    assert_whole(&rows(&browser, &events_call).await, "security log");
    assert_whole(&rows(&browser, &profile_call).await, "load profile");
    device.stop().await;
    headend.shutdown().await;
}
