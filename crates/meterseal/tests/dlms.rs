//! `meterseal dlms` against the product's own meter behind a port: what a person sees, and what they are told when it
//! does not work.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use common::listening::{Listening, PERIOD_SECONDS, ROWS};
use meterseal_link::pki::write_secret;
use meterseal_model::UnixMillis;
use serde_json::Value;

fn dlms(meter: &Listening, address: &str, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meterseal"))
        .args(["dlms", address, "--state"])
        .arg(meter.folder().join("state"))
        .args(options)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&said(output)).unwrap()
}

fn utility(meter: &Listening) -> [String; 4] {
    ["--as".into(), "utility".into(), "--keys".into(), meter.keys().display().to_string()]
}

/// With the utility's keys.
fn as_utility(meter: &Listening, address: &str, options: &[&str]) -> Output {
    let login = utility(meter);
    let options: Vec<&str> = login.iter().map(String::as_str).chain(options.iter().copied()).collect();
    dlms(meter, address, &options)
}

#[test]
fn a_person_reads_registers_lists_and_profiles_in_plain_and_over_tls() {
    let meter = Listening::start();
    let plain = format!("tcp://{}", meter.plain);

    let name = said(&dlms(&meter, &plain, &["get", "name"]));
    assert!(name.contains("\"Logical device name\"  \"MSL0000000042\""), "{name}");

    let energy = said(&as_utility(&meter, &plain, &["get", "1.8.0", "clock", "32.7.0"]));
    let lines: Vec<_> = energy.lines().collect();
    assert!(
        lines[0].starts_with("1.8.0  \"Active energy import (+A)\"  ") && lines[0].ends_with(" kWh"),
        "{energy}"
    );
    assert!(lines[1].ends_with('Z'), "{energy}");
    assert!(lines[2].contains("\"Voltage L1\"  2") && lines[2].ends_with(" V"), "{energy}");

    let authority = meter.authority().display().to_string();
    let tls = format!("tls://{}", meter.tls);
    let read = json(&as_utility(
        &meter,
        &tls,
        &["--trust", &authority, "--meter", "MSL0000000042", "--json", "get", "1.8.0"],
    ));
    assert_eq!((read[0]["class"].as_u64(), read[0]["unit"].as_str()), (Some(3), Some("Wh")), "{read}");
    assert!(read[0]["value"].as_u64().unwrap() > 0, "{read}");

    let list = json(&as_utility(&meter, &plain, &["--json", "objects"]));
    let has = |obis: &str| list.as_array().unwrap().iter().any(|object| object["obis"] == obis);
    assert!(has("1-0:1.8.0*255") && has("1-0:99.1.0*255") && !has("9-9:9.9.9*9"), "{list}");

    // More rows than the meter can say at once: the span is halved until it can.
    let from = UnixMillis(meter.began.0 + 1).to_string();
    let to = UnixMillis(meter.began.0 + ROWS * PERIOD_SECONDS * 1000 - 1000).to_string();
    let range = json(&as_utility(&meter, &plain, &["--json", "profile", "--from", &from, "--to", &to]));
    let rows = range["rows"].as_array().unwrap();
    assert_eq!(rows.len() as i64, ROWS - 1);
    let place = |obis: &str| {
        range["columns"].as_array().unwrap().iter().position(|column| column["obis"] == obis).unwrap()
    };
    let (time, energy) = (place("0-0:1.0.0*255"), place("1-0:1.8.0*255"));
    for (count, row) in rows.iter().enumerate() {
        let end = UnixMillis(meter.began.0 + (count as i64 + 1) * PERIOD_SECONDS * 1000);
        assert_eq!(row[time], end.to_string());
    }
    assert!(rows.windows(2).all(|pair| pair[0][energy].as_u64() < pair[1][energy].as_u64()));

    let entries = said(&as_utility(&meter, &plain, &["profile", "--entries", "1-100"]));
    assert!(entries.ends_with("100 rows\n") && entries.contains(" kWh"), "{entries}");
    let newest = said(&as_utility(&meter, &plain, &["profile", "security-log", "--last", "1"]));
    assert!(newest.ends_with("1 rows\n"), "{newest}");
}

#[test]
fn settings_and_refusals_are_told_apart() {
    let meter = Listening::start();
    let plain = format!("tcp://{}", meter.plain);
    let alarms = "1/0-0:97.98.0/2";
    assert_eq!(said(&as_utility(&meter, &plain, &["set", alarms, "u32:0"])), "set\n");
    let refused = dlms(&meter, &plain, &["get", "1.8.0"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("– "), "{refused:?}");
    let refused = as_utility(&meter, &plain, &["--json", "set", "3/1.8.0/2", "u64:0"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("error"), "{refused:?}");
}

#[test]
fn a_counter_is_never_used_twice_and_a_lost_one_is_recovered() {
    let meter = Listening::start();
    let plain = format!("tcp://{}", meter.plain);
    for _ in 0..3 {
        said(&as_utility(&meter, &plain, &["get", "1.8.0"]));
    }
    // A counter that fell behind under the same title: an old backup.
    let counters = std::fs::read_dir(meter.folder().join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "counters"))
        .unwrap();
    let text = std::fs::read_to_string(&counters).unwrap();
    let behind: Vec<_> =
        text.lines().map(|line| if line.starts_with("next ") { "next 1" } else { line }).collect();
    write_secret(&counters, (behind.join("\n") + "\n").as_bytes()).unwrap();
    let refused = complaint(&as_utility(&meter, &plain, &["get", "1.8.0"]));
    assert!(refused.contains("--recover-counter"), "{refused}");
    let recovered = as_utility(&meter, &plain, &["--recover-counter", "get", "1.8.0"]);
    assert!(said(&recovered).contains(" kWh"));
    said(&as_utility(&meter, &plain, &["get", "1.8.0"]));
}

#[test]
fn what_goes_wrong_is_said_with_what_to_do() {
    let meter = Listening::start();
    let plain = format!("tcp://{}", meter.plain);

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = complaint(&dlms(&meter, &format!("tcp://{closed}"), &["get", "name"]));
    assert!(error.contains("nothing listens there") && error.contains("check address"), "{error}");

    // A web server, and one that says nothing.
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", web.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = web.accept().unwrap();
        let _ = stream.read(&mut [0; 64]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let error = complaint(&dlms(&meter, &address, &["get", "name"]));
    assert!(error.contains("is this a DLMS server?"), "{error}");
    server.join().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", silent.local_addr().unwrap());
    let error = complaint(&dlms(&meter, &address, &["--timeout", "1", "get", "name"]));
    assert!(error.contains("did not answer"), "{error}");

    let wrong = meter.folder().join("wrong.key");
    write_secret(&wrong, "33".repeat(64).as_bytes()).unwrap();
    let login = ["--as", "utility", "--keys", wrong.to_str().unwrap()];
    let error = complaint(&dlms(&meter, &plain, &[&login[..], &["get", "1.8.0"]].concat()));
    assert!(error.contains("--keys"), "{error}");
    let error = complaint(&dlms(&meter, &plain, &[&login[..], &["--suite", "0", "get", "1.8.0"]].concat()));
    assert!(error.contains("suite 0"), "{error}");
    let error = complaint(&dlms(&meter, &plain, &["--as", "utility", "get", "1.8.0"]));
    assert!(error.contains("--keys"), "{error}");
    let error = complaint(&as_utility(&meter, &plain, &["--meter", "MSL0000000043", "get", "1.8.0"]));
    assert!(error.contains("system title"), "{error}");

    let tls = format!("tls://{}", meter.tls);
    let error = complaint(&dlms(&meter, &tls, &["get", "name"]));
    assert!(error.contains("--trust"), "{error}");
    let authority = meter.authority().display().to_string();
    let other = ["--trust", &authority, "--meter", "MSL0000000043", "get", "name"];
    let error = complaint(&dlms(&meter, &tls, &other));
    assert!(error.contains("MSL0000000042"), "{error}");
    let stranger = stranger(meter.folder());
    let error = complaint(&dlms(&meter, &tls, &["--trust", &stranger, "get", "name"]));
    assert!(error.contains("not trusted"), "{error}");
}

#[test]
fn a_meter_that_was_revoked_is_not_accepted_nor_is_anybody_while_a_list_is_damaged() {
    let meter = Listening::start();
    let tls = format!("tls://{}", meter.tls);
    let authority = meter.authority();
    let at = ["--trust", authority.to_str().unwrap(), "get", "name"];
    assert!(said(&dlms(&meter, &tls, &at)).contains("MSL0000000042"));
    let pki = meterseal_link::Pki::open(authority.parent().unwrap()).unwrap();
    let own = meterseal_link::Identity::load(&meter.folder().join("meter")).unwrap();
    pki.revoke(&own.chain()[0], meterseal_link::pki::Reason::KeyCompromise).unwrap();
    let error = complaint(&dlms(&meter, &tls, &at));
    assert!(error.contains("revoked"), "{error}");

    let list = authority.with_file_name("manufacturer.crl.pem");
    std::fs::write(&list, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n").unwrap();
    let error = complaint(&dlms(&meter, &tls, &at));
    assert!(error.contains("manufacturer.crl.pem") && error.contains("anew"), "{error}");
}

/// Another deployment's authority.
fn stranger(folder: &Path) -> String {
    meterseal_link::Pki::create(&folder.join("other")).unwrap();
    folder.join("other/manufacturer.cert.pem").display().to_string()
}
