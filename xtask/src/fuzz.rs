//! `cargo xtask fuzz`: libFuzzer on everything that comes from outside, from the corpora in `fuzz/corpus`.
//!
//! The targets are built with coverage and without a sanitizer: the code is free of `unsafe`, overflows and debug
//! assertions are on, and so the pinned stable toolchain is enough. Findings land in `fuzz/artifacts`.

use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};

use crate::run::{cargo, execute, root};
use crate::tools;

/// Every target of `fuzz/fuzz_targets`.
const TARGETS: [&str; 8] =
    ["wrapper", "apdu", "aarq", "ciphered", "certificate", "session", "answer", "evidence"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these targets
    #[arg(value_name = "TARGET", value_parser = TARGETS)]
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    seconds: u64,
    /// Throw away what adds nothing to the corpora, and run nothing else
    #[arg(long)]
    minimise: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let all: Vec<String> = TARGETS.map(str::to_owned).into();
    let targets = if arguments.targets.is_empty() { &all } else { &arguments.targets };
    tools::cargo_fuzz()?;
    execute(&mut fuzz("build"))?;
    let mut found = Vec::new();
    // As many at once as there are processors: each is one thread.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for some in targets.chunks(cores) {
        let running: Vec<_> =
            some.iter().map(|target| Ok((target, start(target, arguments)?))).collect::<Result<_>>()?;
        for (target, child) in running {
            let output = child.wait_with_output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() {
                println!("fuzz: {target}: {}", summary(&said));
            } else {
                println!("── {target}:\n{said}");
                found.push(target.as_str());
            }
        }
    }
    if !found.is_empty() {
        bail!(
            "findings in {}: the inputs are in {}; `cargo fuzz run -s none --features fuzzer TARGET INPUT` repeats one",
            found.join(", "),
            root().join("fuzz/artifacts").display()
        );
    }
    Ok(())
}

fn start(target: &str, arguments: &Arguments) -> Result<Child> {
    let mut command = if arguments.minimise { fuzz("cmin") } else { fuzz("run") };
    command.arg(target);
    if !arguments.minimise {
        command.arg("--").arg(format!("-max_total_time={}", arguments.seconds)).args([
            "-print_final_stats=1",
            "-timeout=60",
            "-rss_limit_mb=2048",
            "-max_len=4096",
        ]);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start the fuzz target {target}"))
}

/// Executions and coverage, from the last lines that libFuzzer wrote.
fn summary(said: &str) -> String {
    let executions = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .map_or("no", str::trim);
    let coverage = said.lines().rev().find_map(|line| line.split_once("cov: ")).map_or("", |(_, rest)| rest);
    let covered = coverage.split(" corp").next().unwrap_or_default().replace(" ft:", " edges,");
    format!("{executions} executions, {covered} features, nothing found")
}

/// What CI does: a little of each, and every input that was ever worth keeping.
pub(crate) fn briefly() -> Result<()> {
    run(&Arguments { targets: Vec::new(), seconds: CI_SECONDS, minimise: false })
}

/// A minute each (issue 4); two at once on two processors.
const CI_SECONDS: u64 = 60;

fn fuzz(command: &str) -> std::process::Command {
    let mut cargo = cargo();
    cargo.args(["fuzz", command, "-s", "none", "--features", "fuzzer"]);
    cargo
}
