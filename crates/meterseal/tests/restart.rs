//! Issue 2, item 3: what was shown, logged or acknowledged outlives Ctrl-C and `kill -9`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::Up;
use serde_json::Value;

const REGISTERS: [&str; 4] = ["import_wh", "export_wh", "reactive_import_varh", "reactive_export_varh"];

/// All that a visitor has seen so far.
#[derive(Default)]
struct Seen {
    registers: BTreeMap<(String, &'static str), f64>,
    events: BTreeMap<(String, u64), (u64, String)>,
    acknowledged: BTreeSet<(String, u64)>,
}

impl Seen {
    fn look(&mut self, up: &Up) {
        for meter in up.get("/api/v1/meters").as_array().unwrap() {
            let id = meter["id"].as_str().unwrap();
            for register in REGISTERS {
                let Some(value) = meter["live"][register].as_f64() else { continue };
                let before = self.registers.entry((id.to_owned(), register)).or_insert(value);
                assert!(value >= *before, "{id} {register} went back from {before} to {value}");
                *before = value;
            }
        }
        let events = up.get("/api/v1/events?limit=500");
        let mut now = BTreeMap::new();
        for event in events.as_array().unwrap() {
            let key = key(event);
            assert!(
                !self.acknowledged.contains(&key) || !event["acknowledged_at"].is_null(),
                "{key:?} is no longer acknowledged"
            );
            now.insert(key, (event["code"].as_u64().unwrap(), event["at"].as_str().unwrap().to_owned()));
        }
        for (key, event) in &self.events {
            assert_eq!(now.get(key), Some(event), "{key:?} is lost or altered");
        }
        self.events = now;
    }

    fn acknowledge_one(&mut self, up: &Up) {
        let events = up.get("/api/v1/events?limit=500");
        let open = events
            .as_array()
            .unwrap()
            .iter()
            .find(|event| event["severity"] == "critical" && event["acknowledged_at"].is_null());
        if let Some(event) = open {
            let (meter, sequence) = key(event);
            let status = up.post(&format!("/api/v1/events/{meter}/{sequence}/acknowledge"), "{}");
            assert!(status.contains(" 20"), "{status}");
            self.acknowledged.insert((meter, sequence));
        }
    }
}

fn key(event: &Value) -> (String, u64) {
    (event["meter"].as_str().unwrap().to_owned(), event["sequence"].as_u64().unwrap())
}

#[test]
fn cpa_bill_nothing_shown_is_taken_back_by_kill_9_or_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut seen = Seen::default();
    let stimuli = ["open_cover", "voltage_spike", "close_cover", "bring_magnet", "remove_magnet"];
    for life in 0..8 {
        let up = Up::start(&data);
        seen.look(&up);
        // Lives of different lengths end at different places of the second between two saves.
        let end = Instant::now() + Duration::from_millis(700 + 370 * life);
        let meter = format!("MSL000000000{}", life % 3 + 1);
        let kind = stimuli[life as usize % stimuli.len()];
        let status =
            up.post(&format!("/api/v1/meters/{meter}/stimulus"), &format!("{{\"kind\":\"{kind}\"}}"));
        assert!(status.contains(" 20"), "{status}");
        while Instant::now() < end {
            seen.look(&up);
            seen.acknowledge_one(&up);
            std::thread::sleep(Duration::from_millis(40));
        }
        if life % 3 == 2 {
            assert!(up.interrupt().success());
        } else {
            up.kill();
        }
    }

    let up = Up::start(&data);
    up.wait_for_readings();
    seen.look(&up);
    assert!(!seen.acknowledged.is_empty(), "no alarm was raised at all");
    // A gap in a sequence would be an event that was logged and lost.
    for meter in ["MSL0000000001", "MSL0000000002", "MSL0000000003"] {
        let sequences: Vec<u64> = seen.events.keys().filter(|(m, _)| m == meter).map(|&(_, n)| n).collect();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "{meter}");
    }
    assert!(
        seen.registers[&("MSL0000000001".to_owned(), "import_wh")] > 10.0,
        "the factory consumed nothing"
    );
}

#[test]
fn a_faster_clock_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let home = |up: &Up| {
        up.wait_for("/api/v1/meters", |meters| {
            let home = meters.as_array()?.iter().find(|meter| meter["site"] == "home")?;
            let at = home["live"]["at"].as_str()?;
            Some((home["time_base"].as_str()?.to_owned(), at.to_owned()))
        })
    };
    let up = Up::start_with(&data, &["--speed", "120"]);
    std::thread::sleep(Duration::from_secs(4));
    let (base, ahead) = home(&up);
    assert_eq!(base, "simulated");
    up.kill();
    // At the wall's speed again, the clock stays its own: it must not fall back by the minutes that it ran ahead.
    let up = Up::start(&data);
    let (base, later) = home(&up);
    assert_eq!(base, "simulated");
    assert!(later >= ahead, "{later} after {ahead}");
}
