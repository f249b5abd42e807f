//! `cargo xtask bench log`: instructions that the sealed log costs, by the number of its leaves, counted by valgrind.

use anyhow::{Context, Result};

use crate::run::{cargo, output, program};
use crate::tools;

/// Leaves: a day, a year and twenty years of quarter-hours, about; each with many peaks.
const SIZES: [u64; 3] = [127, 32_767, 1_048_575];
/// Repetitions of the two counted runs: their difference has no start-up in it.
const TIMES: [u64; 2] = [5, 25];

pub(super) fn run() -> Result<()> {
    tools::valgrind()?;
    let binary = binary()?;
    println!("\nInstructions (valgrind --tool=callgrind), by the leaves of the log.\n");
    println!("| what | {} | {} | {} |\n|---|---|---|---|", SIZES[0], SIZES[1], SIZES[2]);
    for what in output(program(&binary).arg("list"))?.lines() {
        let mut row = format!("| {what} |");
        for size in SIZES {
            let counts = [count(&binary, what, size, TIMES[0])?, count(&binary, what, size, TIMES[1])?];
            row += &format!(" {:.0} |", (counts[1] - counts[0]) / (TIMES[1] - TIMES[0]) as f64);
        }
        println!("{row}");
    }
    Ok(())
}

fn binary() -> Result<String> {
    let build = ["build", "--release", "-p", "meterseal-seal", "--example", "log_cost"];
    let said = output(cargo().args(build).args(["--message-format=json", "--quiet"]))?;
    said.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "log_cost")
        .find_map(|message| message["executable"].as_str().map(Into::into))
        .context("cargo did not name the executable that it built")
}

/// Instructions of a whole run.
fn count(binary: &str, what: &str, size: u64, times: u64) -> Result<f64> {
    let mut valgrind = program("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", binary, what]);
    let said =
        valgrind.args([size.to_string(), times.to_string()]).output().context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&said.stderr);
    said.lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, count)| count.trim().parse().ok())
        .with_context(|| format!("valgrind counted nothing:\n{said}"))
}
