//! The power-cut tables of docs/figures.md: `cargo xtask powercut`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use meterseal_world::flash::Appetite;

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

/// Pairs are sampled in so many parts, each with a seed of its own: the same whatever the number of threads.
const PARTS: u64 = 32;
const GEOMETRIES: u64 = 4;
const SEED: u64 = 0x9E37_79B9;

fn main() -> ExitCode {
    let (mut pairs, mut threads, mut only) = (1000, 2, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        match (argument.as_str(), value.parse(), value.as_str()) {
            ("--pairs", Ok(value), _) => pairs = value,
            ("--threads", Ok(value @ 1..=64), _) => threads = value,
            ("--only", _, "log" | "firmware") => only = Some(value),
            _ => {
                eprintln!("usage: powercut [--pairs NUMBER] [--threads NUMBER] [--only log|firmware]");
                return ExitCode::from(2);
            }
        }
    }
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if wanted("firmware") {
        println!("| flash | what | operations | runs | ended new | ended old | starts at most |");
        println!("|---|---|---|---|---|---|---|");
        let each = u64::div_ceil(pairs, GEOMETRIES * SCENARIOS.len() as u64);
        updates::<4, 4096>(each, threads);
        updates::<8, 2048>(each, threads);
        updates::<16, 8192>(each, threads);
        updates::<1, 4096>(each, threads);
        println!();
    }
    if wanted("log") {
        println!(
            "| flash | operations of a life | runs | promised before a cut, all found | void leaves at most | energy lost at most | last words written | energy lost then | taken of the capacitor at most |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        let each = pairs.div_ceil(GEOMETRIES);
        lives::<4, 4096>(each, threads);
        lives::<8, 2048>(each, threads);
        lives::<16, 4096>(each, threads);
        lives::<1, 4096>(each, threads);
    }
    ExitCode::SUCCESS
}

/// Does `work` for each part of the pairs and joins what comes of it. It ends at the first cut that is not survived.
fn in_parts<R: Send>(
    pairs: u64,
    threads: u64,
    work: impl Fn(u64, u64) -> R + Sync,
    join: impl Fn(R, R) -> R,
) -> Option<R> {
    let next = AtomicU64::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= PARTS {
                return done;
            }
            let count = pairs * (part + 1) / PARTS - pairs * part / PARTS;
            if count > 0 {
                done.push((part, work(count, SEED ^ part << 40)));
            }
        }
    };
    let mut rows: Vec<(u64, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        // A cut that was not survived is a panic, which says which one.
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|_| std::process::exit(1)))
            .collect()
    });
    rows.sort_by_key(|(part, _)| *part);
    rows.into_iter().map(|(_, row)| row).reduce(join)
}

/// Log, registers, load profile and tree of a meter under load.
fn lives<const W: usize, const E: usize>(pairs: u64, threads: u64) {
    let campaign = log_life::Campaign::<W, E>::new();
    tell(campaign.single(1), "one cut each");
    let double = |count, seed| campaign.double(count, seed);
    if let Some(row) = in_parts(pairs, threads, double, |row, other| row.with(&other)) {
        tell(row, "two cuts each");
    }
    for (chip, appetite) in [("typical chip", Appetite::TYPICAL), ("slowest chip", Appetite::WORST)] {
        let [full, part] = campaign.warned(1, appetite);
        tell(full, &format!("supply fails, {chip}"));
        tell(part, &format!("supply fails, {chip}, a part of the capacitor"));
    }
}

fn tell(row: log_life::Row, how: &str) {
    let log_life::Row { geometry, operations, runs, promised, void, .. } = &row;
    let watt_hours = |milliwatt_hours: u64| milliwatt_hours as f64 / 1000.0;
    let lost = watt_hours(row.lost_milliwatt_hours);
    let (words, short) = (row.last_words, watt_hours(row.lost_with_last_words));
    let taken = row.spent_nanojoules as f64 / 1e6;
    let last = if words > 0 {
        format!("{words} | {short:.2} Wh | {taken:.1} mJ")
    } else {
        "– | – | –".to_owned()
    };
    println!("| {geometry} | {operations} | {runs}, {how} | {promised} | {void} | {lost:.2} Wh | {last} |");
}

fn updates<const W: usize, const E: usize>(pairs: u64, threads: u64) {
    for (what, behaviour, delta) in SCENARIOS {
        let campaign = Campaign::<W, E>::new(what, behaviour, delta);
        let operations = campaign.operations;
        let single =
            |count: u64, seed: u64| campaign.single_from(seed_part(seed) * operations / PARTS, count);
        // Every operation belongs to one part.
        if let Some(row) = in_parts(operations, threads, single, |row, other| row.with(&other)) {
            print(&row, "one cut each");
        }
        let double = |count, seed| campaign.double(count, seed);
        if let Some(row) = in_parts(pairs, threads, double, |row, other| row.with(&other)) {
            print(&row, "two cuts each");
        }
    }
}

/// Which part a seed is of.
const fn seed_part(seed: u64) -> u64 {
    (seed ^ SEED) >> 40
}

fn print(row: &Row, how: &str) {
    let Row { geometry, what, operations, runs, new, old, lives } = row;
    println!("| {geometry} | {what} | {operations} | {runs}, {how} | {new} | {old} | {lives} |");
}
