//! Interoperability: two independent DLMS clients (`gurux-dlms` and `dlms-cosem`, in a virtual environment of their own)
//! and OpenSSL's TLS against our meter. `cargo xtask test --only interop` prepares the environment and names it in
//! `METERSEAL_INTEROP_PYTHON`; without it the test says so and does nothing.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::Up;
use common::listening::{Listening, PERIOD_SECONDS, ROWS};

#[test]
fn an_independent_client_reads_the_meter_in_plain_and_through_openssl() {
    let Some(python) = python() else { return };
    let meter = Listening::start();
    let mut command = script(&python, "client.py");
    command
        .arg(meter.plain.port().to_string())
        .arg(meter.folder())
        .arg(meter.id.to_string())
        .args([meter.began.0, PERIOD_SECONDS, ROWS].map(|number| number.to_string()));
    passes(&mut command, |line| {
        if let Some(port) = line.strip_prefix("gateway ") {
            meter.dial(format!("127.0.0.1:{port}"));
        }
    });
}

#[test]
fn independent_clients_log_in_at_the_local_port_with_the_files_that_up_made() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut up = Up::start_with(&data, &["--local-port", "0"]);
    up.wait_for_readings();
    let said = [(); 2].map(|()| up.line())[1].clone();
    let (meter, address) = said.trim_start_matches("local").trim().split_once(" at tls://").unwrap();
    passes(script(&python, "local_port.py").args([address, meter]).arg(data.join("access")), |_| {});
}

/// The interpreter with the clients.
fn python() -> Option<OsString> {
    let python = std::env::var_os("METERSEAL_INTEROP_PYTHON");
    if python.is_none() {
        eprintln!("skipped: run `cargo xtask test --only interop`, which prepares the independent clients");
    }
    python
}

fn script(python: &OsStr, name: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name));
    command
}

/// Runs a script that must say at its end that all has passed; `hears` gets every line.
fn passes(command: &mut Command, hears: impl Fn(&str)) {
    let mut child = Ended(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut passed = false;
    for line in BufReader::new(child.0.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        println!("{line}");
        hears(&line);
        passed |= line == "passed";
    }
    let status = child.0.wait().unwrap();
    assert!(status.success() && passed, "the independent client ended with {status}");
}

/// Ended with the test, whatever happens.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
