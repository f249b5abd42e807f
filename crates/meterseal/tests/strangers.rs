//! Issue 4, bad input at the gateway of the running program: a stranger's flood costs bounded memory, is said in few
//! lines, and holds up no meter.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::net::TcpStream;

use common::{Up, command};

/// Connections, and how many of them are held open at once.
const CONNECTIONS: usize = 10_000;
const HELD: usize = 600;

/// When each meter was last heard.
fn last_seen(up: &Up) -> Vec<String> {
    up.wait_for("/api/v1/meters", |meters| {
        let meters = meters.as_array()?;
        meters.iter().map(|meter| meter["last_seen"].as_str().map(str::to_owned)).collect()
    })
}

#[test]
fn ten_thousand_connections_from_one_peer_take_bounded_memory_and_hold_no_meter_up() {
    let folder = tempfile::tempdir().unwrap();
    let log_path = folder.path().join("log");
    let up = Up::start_by(command(&folder.path().join("data")).stderr(File::create(&log_path).unwrap()));
    up.wait_for_readings();
    let before = up.memory_kib();

    let mut held = VecDeque::new();
    for number in 0..CONNECTIONS {
        if number == CONNECTIONS / 2 {
            // In the middle of it: every meter is heard again and again.
            for _ in 0..2 {
                let seen = last_seen(&up);
                up.wait_for("/api/v1/meters", |meters| {
                    let meters = meters.as_array()?;
                    let on = meters.iter().zip(&seen).all(|(meter, seen)| {
                        meter["state"] == "online"
                            && meter["last_seen"].as_str().is_some_and(|now| now > seen.as_str())
                    });
                    on.then_some(())
                });
            }
        }
        // Refused or not, the line may already be closed again when we speak: half a record header, then silence.
        let mut stream = TcpStream::connect(&up.gateway).unwrap();
        let _ = stream.write_all(&[0x16, 0x03, 0x01]);
        held.push_back(stream);
        if held.len() > HELD {
            held.pop_front();
        }
    }
    let grown = up.memory_kib().saturating_sub(before);
    assert!(grown < 48 * 1024, "{grown} KiB for strangers");
    let log = std::fs::read_to_string(&log_path).unwrap();
    assert!(log.contains("127.0.0.1"), "a reason is said: {log}");
    assert!(log.lines().count() < 60, "{} lines", log.lines().count());
    drop(held);
    assert!(up.interrupt().success());
}
