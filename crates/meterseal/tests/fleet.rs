//! `meterseal fleet` as its user runs it: head-end and meters in two processes on one folder.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const METERS: usize = 8;
/// Rows behind a new meter: two hours.
const HISTORY: usize = 8;

struct Part {
    child: Child,
    lines: Receiver<String>,
}

impl Part {
    fn start(data: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_meterseal"))
            .args(["fleet", "--meters", &METERS.to_string(), "--history", &HISTORY.to_string()])
            .args(["--live", "1", "--gaps", "1", "--step", "1", "--data"])
            .arg(data)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
        });
        Self { child, lines }
    }

    /// The next line that `fits`.
    fn wait_for(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(120);
        let mut last = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if fits(&line) => return line,
                Ok(line) => last = line,
                Err(_) => panic!("{what} does not come; the last line was: {last}"),
            }
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn stop(mut self) {
        self.signal("-INT");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Rows and events in a line such as `online    8 of 8, stored 64 rows 8 events`, if all are online.
fn stored(line: &str) -> Option<[usize; 2]> {
    let mut words = line.strip_prefix("online")?.split_whitespace();
    (words.next()? == METERS.to_string()).then_some(())?;
    let mut number = |skipped| words.nth(skipped)?.parse().ok();
    Some([number(3)?, number(1)?])
}

#[test]
fn a_fleet_is_enrolled_read_cut_killed_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let head = Part::start(&data, &["--serve", "--gateway", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    let gateway = head.wait_for("the gateway's address", |line| line.starts_with("gateway"));
    let gateway = gateway.split_whitespace().nth(1).unwrap().to_owned();
    let meters = Part::start(&data, &["--headend", &gateway]);
    let all = |rows: usize, events: usize| {
        move |line: &str| stored(line).is_some_and(|[r, e]| r >= rows && e >= events)
    };
    head.wait_for("all rows", all(METERS * HISTORY, METERS));

    // The line goes: they come back, and the head-end goes on with each where it was.
    meters.signal("-USR1");
    meters.wait_for("the cut", |line| line.starts_with("cut"));
    meters.wait_for("all connected again", |line| line == format!("connected {METERS} of {METERS}"));
    head.wait_for("all online again", all(METERS * HISTORY, METERS));

    // A second process must not write the same flash.
    let twice = Command::new(env!("CARGO_BIN_EXE_meterseal"))
        .args(["fleet", "--meters", "1", "--headend", &gateway, "--data"])
        .arg(&data)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&twice.stderr).into_owned();
    assert!(!twice.status.success() && said.contains("runs already"), "{said}");

    // Killed without a word, and started again: each logs one more start, and no meter is refused for having gone back.
    drop(meters);
    let meters = Part::start(&data, &["--headend", &gateway]);
    head.wait_for("everybody's second start", all(METERS * HISTORY, 2 * METERS));

    // A surge at each is one event more of each.
    meters.signal("-USR2");
    head.wait_for("everybody's surge", all(METERS * HISTORY, 3 * METERS));
    meters.stop();

    // What happens at a rate reaches the head-end too.
    let meters = Part::start(&data, &["--headend", &gateway, "--events-per-second", "50"]);
    head.wait_for("events at a rate", all(METERS * HISTORY, 10 * METERS));
    meters.stop();
    head.stop();
    for number in 0..METERS {
        sealed(&data, &format!("MSL{:010}", 1_000_000 + number));
    }
}

/// The head-end has witnessed the meter's log: it is exported, and verifies under the maker's certificate.
fn sealed(data: &Path, meter: &str) {
    let out = data.join(format!("{meter}.log.cbor"));
    let run = |arguments: &[&dyn AsRef<std::ffi::OsStr>]| {
        let output = Command::new(env!("CARGO_BIN_EXE_meterseal")).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{meter}: {said}");
        said
    };
    run(&[&"log", &"export", &"--data", &data, &"--meter", &meter, &"--out", &out]);
    let authority = data.join("pki/manufacturer.cert.pem");
    let said = run(&[&"verify", &"log", &out, &"--trust", &authority]);
    assert!(said.contains(meter), "{said}");
}

#[test]
fn meters_that_nobody_enrolled_do_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_meterseal"))
        .args(["fleet", "--meters", "1", "--headend", "127.0.0.1:1", "--data"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("--enrol"), "{said}");
}
