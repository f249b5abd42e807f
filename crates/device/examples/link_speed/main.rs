//! What one connection between a meter and its head-end costs: GETs in a closed loop, the meter's processor time for
//! one, protecting and opening a load profile, and handshakes at the head-end. `cargo xtask bench link` runs it.
//!
//! It prints lines of `NAME VALUE`; processor times come from the threads that did the work, so that what else the
//! machine does disturbs them little.

#![allow(clippy::unwrap_used, reason = "a measurement ends where it cannot go on")]

mod handshakes;
mod profile;
mod requests;

use std::time::Duration;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3.0);
    let length = Duration::from_secs_f64(seconds);
    requests::measure(length);
    profile::measure(length / 3);
    handshakes::measure(length);
}

/// Prints a figure for `xtask`.
fn figure(name: &str, value: f64) {
    println!("{name} {value:.4}");
}

/// Processor time of a thread of this process so far, seconds (proc(5): first field of schedstat, nanoseconds on the
/// processor).
fn thread_seconds(thread: &str) -> f64 {
    for entry in std::fs::read_dir("/proc/self/task").unwrap() {
        let folder = entry.unwrap().path();
        if std::fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.trim_end() == thread) {
            let stat = std::fs::read_to_string(folder.join("schedstat")).unwrap();
            let nanoseconds: f64 = stat.split_whitespace().next().unwrap().parse().unwrap();
            return nanoseconds * 1e-9;
        }
    }
    panic!("there is no thread {thread}");
}
