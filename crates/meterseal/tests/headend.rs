//! `meterseal headend`: runs without virtual meters; a meter of another maker is added while it runs, by an explicit
//! opt-in, and shown as what it is.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::Up;
use common::listening::Listening;

fn headend(data: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meterseal"))
        .args(["headend", "--data"])
        .arg(data)
        .args(options)
        .output()
        .unwrap()
}

#[test]
fn a_meter_of_another_maker_is_added_shown_and_removed() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    let meter = Listening::start();
    let (address, keys) = (format!("tcp://{}", meter.plain), meter.keys().display().to_string());
    let add = [
        "add-meter",
        "--id",
        "XYZ0000000007",
        "--name",
        "Old meter",
        "--address",
        &address,
        "--security",
        "hls5",
        "--suite",
        "2",
        "--keys",
        &keys,
        "--as",
        "utility",
        "--period",
        "1",
    ];
    let opted_in = [&add[..], &["--i-know-it-does-not-conform"]].concat();

    let early = headend(&data, &opted_in);
    assert!(String::from_utf8_lossy(&early.stderr).contains("headend run"), "{early:?}");

    let mut command = Command::new(env!("CARGO_BIN_EXE_meterseal"));
    command
        .args(["headend", "run", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--data"])
        .arg(&data);
    let running = Up::start_by(&mut command);
    assert_eq!(running.get("/api/v1/meters").as_array().unwrap().len(), 0);

    let refused = headend(&data, &add);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--i-know-it-does-not-conform"), "{refused:?}");
    let added = headend(&data, &opted_in);
    assert!(added.status.success(), "{added:?}");
    assert!(String::from_utf8_lossy(&added.stdout).contains("does not conform"), "{added:?}");
    let twice = headend(&data, &opted_in);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("added before"), "{twice:?}");

    let shown = running.wait_for("/api/v1/meters", |meters| {
        let meter = meters.as_array()?.first()?.clone();
        let read = meter["other"]["registers"].as_array()?.iter().any(|register| {
            register["obis"] == "1-0:1.8.0*255"
                && register["text"].as_str().is_some_and(|text| text.ends_with(" kWh"))
        });
        read.then_some(meter)
    });
    assert_eq!((&shown["id"], &shown["name"]), (&"XYZ0000000007".into(), &"Old meter".into()));
    assert!(shown["mark"].is_null(), "{shown}");

    let listed = headend(&data, &["list-meters"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("XYZ0000000007") && listed.contains("no mark, does not conform"), "{listed}");
    assert!(headend(&data, &["remove-meter", "XYZ0000000007"]).status.success());
    let unknown = headend(&data, &["remove-meter", "XYZ0000000007"]);
    assert!(!unknown.status.success());
    running.wait_for("/api/v1/meters", |meters| meters.as_array()?.is_empty().then_some(()));
    assert!(running.interrupt().success());
}
