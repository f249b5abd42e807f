//! `cargo xtask bench metrology`: the program in `xtask/throughput`, timed, and counted by valgrind's callgrind.

use anyhow::{Context, Result};

use crate::run::{cargo, output, program};
use crate::tools;

/// The rate at which instructions are counted: the meter's.
const COUNTED_RATE: u64 = 8_000;
/// Cycles of the two counted runs; their difference has no start-up and no making of frames in it.
const COUNTED_CYCLES: [u64; 2] = [100, 600];

pub(super) fn run() -> Result<()> {
    let binary = binary()?;
    println!(
        "\nFrames per second and core, by processor time: median and best of several runs, all variants by turns.\n"
    );
    println!("| rate, Hz | what | median | best |\n|---|---|---|---|");
    for line in output(&mut program(&binary))?.lines() {
        println!("| {line} |");
    }
    tools::valgrind()?;
    println!("\nInstructions per frame at {COUNTED_RATE} Hz (valgrind --tool=callgrind).\n");
    println!("| what | instructions |\n|---|---|");
    let rate = COUNTED_RATE.to_string();
    for variant in output(program(&binary).args(["variants", &rate]))?.lines() {
        let counts =
            [count(&binary, variant, COUNTED_CYCLES[0])?, count(&binary, variant, COUNTED_CYCLES[1])?];
        let frames = (COUNTED_CYCLES[1] - COUNTED_CYCLES[0]) * COUNTED_RATE / 50;
        println!("| {variant} | {:.0} |", (counts[1] - counts[0]) / frames as f64);
    }
    Ok(())
}

fn binary() -> Result<String> {
    let said =
        output(cargo().args(["build", "--release", "-p", "throughput", "--message-format=json", "--quiet"]))?;
    said.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "throughput")
        .find_map(|message| message["executable"].as_str().map(Into::into))
        .context("cargo did not name the executable that it built")
}

/// Instructions of a whole run of so many cycles.
fn count(binary: &str, variant: &str, cycles: u64) -> Result<f64> {
    let mut valgrind = program("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", binary, "count", variant]);
    let said = valgrind
        .args([COUNTED_RATE.to_string(), cycles.to_string()])
        .output()
        .context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&said.stderr);
    said.lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, count)| count.trim().parse().ok())
        .with_context(|| format!("valgrind counted nothing:\n{said}"))
}
