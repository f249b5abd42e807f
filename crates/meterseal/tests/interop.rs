//! Interoperability: an independent DLMS client (`gurux-dlms`, in a virtual environment of its own) and OpenSSL's TLS
//! against our meter. `cargo xtask test --only interop` prepares the environment and names it in
//! `METERSEAL_INTEROP_PYTHON`; without it the test says so and does nothing.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::listening::{Listening, PERIOD_SECONDS, ROWS};

#[test]
fn an_independent_client_reads_the_meter_in_plain_and_through_openssl() {
    let Some(python) = std::env::var_os("METERSEAL_INTEROP_PYTHON") else {
        eprintln!("skipped: run `cargo xtask test --only interop`, which prepares the independent client");
        return;
    };
    let meter = Listening::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/client.py");
    let child = Command::new(python)
        .arg(script)
        .arg(meter.plain.port().to_string())
        .arg(meter.folder())
        .arg(meter.id.to_string())
        .args([meter.began.0, PERIOD_SECONDS, ROWS].map(|number| number.to_string()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let mut passed = false;
    for line in BufReader::new(child.0.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        println!("{line}");
        if let Some(port) = line.strip_prefix("gateway ") {
            meter.dial(format!("127.0.0.1:{port}"));
        }
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
