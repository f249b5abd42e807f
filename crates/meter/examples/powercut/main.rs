//! Cuts a meter's power at every flash operation, then twice at random, then lets its flash rot, and prints what came of
//! it: `cargo xtask powercut`, or with the number of double cuts and of rotten bits: `powercut 100000 10000`.

#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, reason = "it shares its parts with tests")]

mod rot;
#[path = "../../tests/support/mod.rs"]
mod support;
mod trial;
mod work;

use std::process::ExitCode;

use meterseal_meter::Layout;
use meterseal_world::flash::{Cut, Tear};
use trial::{Outcome, Start};
use work::{SECOND_NANOWATT_HOURS, Work};

/// Second cuts come within so many operations of the life after the first, at most: recovery takes about ten.
const SECOND_WITHIN: u64 = 40;

/// Trials of one row of the table.
#[derive(Default)]
struct Tally {
    operations: u64,
    cuts: u64,
    voids: u64,
    short: u64,
    bad: Vec<String>,
}

impl Tally {
    fn take(&mut self, cuts: &[Cut], outcome: Result<Outcome, String>) -> bool {
        match outcome {
            Ok(outcome) if !outcome.cut => return false,
            Ok(outcome) => {
                self.short = self.short.max(outcome.short);
                self.voids += outcome.voids;
            }
            Err(error) => self.bad.push(format!("{cuts:?}: {error}")),
        }
        self.cuts += 1;
        true
    }

    fn print(&self, what: &str, flash: &str) {
        let seconds = self.short as f64 / SECOND_NANOWATT_HOURS as f64;
        let Self { operations, cuts, voids, .. } = self;
        println!(
            "| {what} | {flash} | {operations} | {cuts} | {} | {voids} | {seconds:.1} s |",
            self.bad.len()
        );
        self.bad.iter().take(3).for_each(|bad| eprintln!("  {bad}"));
    }
}

/// Every operation with each tear.
fn singles<const E: usize, const W: usize>(start: &Start<E, W>) -> Tally {
    let mut tally = Tally::default();
    for operation in 0.. {
        for (k, tear) in Tear::ALL.into_iter().enumerate() {
            let cuts = [Cut { operation, tear }];
            if !tally.take(&cuts, start.live(operation * 3 + k as u64, &cuts)) {
                return tally;
            }
        }
        tally.operations = operation + 1;
    }
    tally
}

/// Two cuts, drawn at random; a draw whose second cut never came is drawn again.
fn doubles<const E: usize, const W: usize>(start: &Start<E, W>, operations: u64, count: u64) -> Tally {
    let mut tally = Tally { operations, ..Tally::default() };
    let mut seed = 0_u64;
    while tally.cuts < count && seed < 8 * count {
        seed += 1;
        let dice = mix(seed);
        let tear = |dice: u64| Tear::ALL[(dice % 3) as usize];
        let cuts = [
            Cut { operation: dice % operations.max(1), tear: tear(dice >> 20) },
            Cut { operation: (dice >> 32) % (operations + 4).min(SECOND_WITHIN), tear: tear(dice >> 50) },
        ];
        tally.take(&cuts, start.live(seed, &cuts));
    }
    tally
}

/// SplitMix64's finalizer.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// All works on one flash: each single cut, and a share of the double ones.
fn table<const E: usize, const W: usize>(
    of: &str,
    doubly: u64,
    start: impl Fn(Work) -> Result<Start<E, W>, String> + Sync,
) -> Result<u64, String> {
    let trials = |work| {
        let start = start(work)?;
        let single = singles(&start);
        let double = doubles(&start, single.operations, doubly);
        Ok::<_, String>((single, double))
    };
    let mut bad = 0;
    std::thread::scope(|scope| {
        let trials = &trials;
        let running = Work::ALL.map(|work| (work, scope.spawn(move || trials(work))));
        for (work, running) in running {
            let (single, double) = running.join().map_err(|_| format!("{work:?} panicked"))??;
            single.print(work.name(), of);
            double.print("the same, cut twice", of);
            bad += (single.bad.len() + double.bad.len()) as u64;
        }
        Ok::<_, String>(())
    })?;
    Ok(bad)
}

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (Ok(doubly), Ok(rotten)) = (numbers.next().unwrap_or(Ok(1_000)), numbers.next().unwrap_or(Ok(1_000)))
    else {
        eprintln!("how many double cuts, and how many rotten bits?");
        return ExitCode::from(2);
    };
    println!("| what | flash | operations | cuts | bad | void leaves | energy short, at most |");
    println!("|---|---|---|---|---|---|---|");
    // Three flashes, six works each.
    let share = doubly.div_ceil(18);
    let small = Layout::TINY;
    let bad = table("4 KiB / 4 B, blank", share, |work| Ok(Start::<4096, 4>::blank(small, work)))
        .and_then(|bad| {
            Ok(bad + table("4 KiB / 4 B, gone round", share, |work| Start::<4096, 4>::aged(small, work))?)
        })
        .and_then(|bad| {
            Ok(bad
                + table("1 KiB / 16 B, gone round", share, |work| Start::<1024, 16>::aged(work::ODD, work))?)
        })
        .and_then(|bad| Ok(bad + rot::table(rotten)?));
    match bad {
        Ok(0) => ExitCode::SUCCESS,
        Ok(bad) => {
            eprintln!("{bad} trials broke a promise");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("a meter that nobody cut: {error}");
            ExitCode::FAILURE
        }
    }
}
