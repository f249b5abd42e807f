//! The power-cut tables of docs/figures.md: `cargo xtask powercut`.

use std::process::ExitCode;

#[path = "../tests/support/firmware.rs"]
mod firmware;
#[path = "../tests/support/log_life.rs"]
mod log_life;
#[path = "../tests/support/powercut.rs"]
mod powercut;

use firmware::Behaviour;
use powercut::{Campaign, Row};

/// What a scenario is called, what the new image does, and whether it comes as enciphered differences.
const SCENARIOS: [(&str, Behaviour, bool); 3] = [
    ("update", Behaviour::Good, false),
    ("update by differences", Behaviour::Good, true),
    ("revert", Behaviour::Crashes, true),
];

fn main() -> ExitCode {
    let mut pairs = 1000;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok());
        match (argument.as_str(), value) {
            ("--pairs", Some(value)) => pairs = value,
            _ => {
                eprintln!("usage: powercut [--pairs NUMBER]");
                return ExitCode::from(2);
            }
        }
    }
    println!("| flash | what | operations | runs | ended new | ended old | starts at most |");
    println!("|---|---|---|---|---|---|---|");
    let each = u64::div_ceil(pairs, 4 * SCENARIOS.len() as u64);
    // Two threads of two geometries each: it ends at the first cut that is not survived.
    std::thread::scope(|scope| {
        scope.spawn(move || {
            all::<4, 4096>(each);
            all::<8, 2048>(each);
        });
        scope.spawn(move || {
            all::<16, 8192>(each);
            all::<1, 4096>(each);
        });
    });
    println!();
    println!(
        "| flash | operations of a life | runs | records promised before a cut, all found | void leaves at most | energy lost at most |"
    );
    println!("|---|---|---|---|---|---|");
    let each = pairs.div_ceil(4);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            log::<4, 4096>(each);
            log::<8, 2048>(each);
        });
        scope.spawn(move || {
            log::<16, 4096>(each);
            log::<1, 4096>(each);
        });
    });
    ExitCode::SUCCESS
}

/// Log, registers, load profile and tree of a meter under load.
fn log<const W: usize, const E: usize>(pairs: u64) {
    let campaign = log_life::Campaign::<W, E>::new();
    let rows = [(campaign.single(1), "one cut each"), (campaign.double(pairs, 0x9E37_79B9), "two cuts each")];
    for (row, how) in rows {
        let log_life::Row { geometry, operations, runs, promised, void, lost_milliwatt_hours } = row;
        let lost = lost_milliwatt_hours as f64 / 1000.0;
        println!("| {geometry} | {operations} | {runs}, {how} | {promised} | {void} | {lost:.2} Wh |");
    }
}

fn all<const W: usize, const E: usize>(pairs: u64) {
    for (what, behaviour, delta) in SCENARIOS {
        let campaign = Campaign::<W, E>::new(what, behaviour, delta);
        print(&campaign.single(1), "one cut each");
        if pairs > 0 {
            print(&campaign.double(pairs, 0x9E37_79B9), "two cuts each");
        }
    }
}

fn print(row: &Row, how: &str) {
    let Row { geometry, what, operations, runs, new, old, lives } = row;
    println!("| {geometry} | {what} | {operations} | {runs}, {how} | {new} | {old} | {lives} |");
}
