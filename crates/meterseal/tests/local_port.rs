//! `meterseal up --local-port` as a person meets it: an empty folder, one command, and the meters answer to whoever has
//! the files that it made, each role within its rights.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::Up;

/// `up` with local ports, what it says of them, and the command that it names.
struct Invited {
    up: Up,
    meters: Vec<(String, String)>,
    command: String,
}

impl Invited {
    fn start(data: &Path, options: &[&str]) -> Self {
        let mut up = Up::start_with(data, &[&["--local-port", "0"], options].concat());
        assert!(up.line().starts_with("data "));
        let meters = (0..3)
            .map(|_| {
                let line = up.line();
                let (meter, address) =
                    line.strip_prefix("local     ").and_then(|rest| rest.split_once(" at ")).expect(&line);
                (meter.to_owned(), address.to_owned())
            })
            .collect();
        let command = up.line().trim().to_owned();
        Self { up, meters, command }
    }
}

/// `meterseal dlms` as somebody who has a role's folder.
fn dlms(data: &Path, address: &str, role: &str, folder: &str, request: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meterseal"))
        .args(["dlms", address, "--as", role, "--meter", "MSL0000000001", "--state"])
        .arg(data.join("state"))
        .arg("--access")
        .arg(data.join("access").join(folder))
        .args(request)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn said_no(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn every_role_logs_in_with_the_files_that_the_first_start_made_and_does_what_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data folder");
    let invited = Invited::start(&data, &[]);

    // The very command that it says, as a shell takes it.
    let shown = Command::new("sh")
        .args(["-c", &invited.command])
        .env("XDG_STATE_HOME", folder.path().join("state"))
        .output()
        .unwrap();
    let shown = said(&shown);
    assert!(shown.contains("Active energy import (+A)") && shown.contains(" objects\n"), "{shown}");

    let address = &invited.meters[0].1;
    let energy = ["get", "1.8.0"];
    assert!(said(&dlms(&data, address, "reader", "reader", &energy)).contains(" kWh"));
    assert!(said(&dlms(&data, address, "bench", "bench", &energy)).contains(" kWh"));
    for role in ["firmware", "installer"] {
        assert!(said_no(&dlms(&data, address, role, role, &energy)).contains("rights"), "{role}");
        assert!(said(&dlms(&data, address, role, role, &["get", "1.0.0.2.0.255"])).contains("Firmware"));
    }
    let ssid = ["set", "1/0-128:96.12.10/2", "bytes:686f6d65"];
    said(&dlms(&data, address, "installer", "installer", &ssid));
    assert!(said_no(&dlms(&data, address, "bench", "bench", &ssid)).contains("rights"));
    // Without keys anybody with a certificate of this utility may ask what the meter is called.
    assert!(said(&dlms(&data, address, "public", "reader", &["get", "name"])).contains("MSL0000000001"));
    // A certificate opens no other role, and the utility is the head-end alone.
    for role in ["installer", "utility"] {
        said_no(&dlms(&data, address, role, "reader", &energy));
    }
    // Another meter than the one that is meant.
    assert!(
        said_no(&dlms(&data, &invited.meters[1].1, "reader", "reader", &energy)).contains("MSL0000000002")
    );

    for role in ["reader", "firmware", "installer", "bench"] {
        let own = data.join("access").join(role);
        assert_eq!(own.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        for name in ["key.pem", "MSL0000000001.key", "MSL0000000002.key", "MSL0000000003.key"] {
            let mode = own.join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{role}/{name}");
        }
    }

    // The same files serve at the next start.
    let before = std::fs::read(data.join("access/reader/MSL0000000001.key")).unwrap();
    assert!(invited.up.interrupt().success());
    let again = Invited::start(&data, &[]);
    assert_eq!(std::fs::read(data.join("access/reader/MSL0000000001.key")).unwrap(), before);
    assert!(said(&dlms(&data, &again.meters[0].1, "reader", "reader", &energy)).contains(" kWh"));
    let network =
        said(&dlms(&data, &again.meters[0].1, "installer", "installer", &["get", "1/0-128:96.12.10/2"]));
    assert!(network.contains("home"), "{network}");
}

#[test]
fn a_laboratory_may_do_without_tls_and_nobody_listens_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let invited = Invited::start(&data, &["--plain-local-port"]);
    let address = &invited.meters[0].1;
    assert!(address.starts_with("tcp://"), "{address}");
    assert!(said(&dlms(&data, address, "reader", "reader", &["get", "1.8.0"])).contains(" kWh"));
    drop(invited);

    let refusal = said_no(&common::command(&data).args(["--local-port", "65535"]).output().unwrap());
    assert!(refusal.contains("3 meters"), "{refusal}");
}

#[test]
fn a_radios_faults_are_switched_from_the_page_and_seen_in_the_meters_objects() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let invited = Invited::start(&data, &[]);
    let (up, address) = (&invited.up, &invited.meters[0].1);
    up.wait_for_readings();
    let number = |object: &str| -> i64 {
        let read = said(&dlms(&data, address, "bench", "bench", &["--json", "get", object]));
        serde_json::from_str::<serde_json::Value>(&read).unwrap()[0]["value"].as_i64().unwrap()
    };
    let stimulate = |kind: &str| {
        let answer = up.post("/api/v1/meters/MSL0000000001/stimulus", &format!("{{\"kind\":\"{kind}\"}}"));
        assert!(answer.contains(" 204 "), "{kind}: {answer}");
    };
    assert!(
        up.get("/api/v1/meters")[0]["stimuli"].as_array().unwrap().iter().any(|kind| kind == "radio_off")
    );
    assert!((-55..=-49).contains(&number(SIGNAL)));
    stimulate("radio_weak");
    assert!((-87..=-81).contains(&number(SIGNAL)));
    stimulate("radio_off");
    assert_eq!(number(SIGNAL), 127, "it hears nothing; the local port is no radio");
    // On its way to another access point it loses the connection, and finds its head-end again by itself.
    stimulate("radio_good");
    let before = number(CONNECTIONS);
    stimulate("radio_roam");
    let deadline = Instant::now() + Duration::from_secs(60);
    while number(CONNECTIONS) == before {
        assert!(Instant::now() < deadline, "the meter did not come back");
    }
    up.wait_for("/api/v1/meters", |meters| (meters[0]["state"] == "online").then_some(()));
}

const SIGNAL: &str = "1/0-128:96.12.5/2";
const CONNECTIONS: &str = "1/0-128:96.12.1/2";
