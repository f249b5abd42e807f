//! `cargo xtask powercut`: cuts the power in updates and reverts of firmware and in a meter's daily life, and prints
//! the tables of docs/figures.md.

use anyhow::Result;

use crate::run;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many pairs of cuts are sampled beside every operation cut once
    #[arg(long, default_value_t = 1000, value_name = "NUMBER")]
    pairs: u64,
    /// Threads that work on it; the tables are the same whatever their number
    #[arg(long, default_value_t = 2, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
    /// Only one of the tables: log or firmware
    #[arg(long, value_name = "TABLE", value_parser = ["log", "firmware"])]
    only: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut cargo = run::cargo();
    cargo.args(["run", "--release", "--package", "meterseal-meter", "--example", "powercut", "--"]);
    cargo.args(["--pairs", &arguments.pairs.to_string(), "--threads", &arguments.threads.to_string()]);
    if let Some(only) = &arguments.only {
        cargo.args(["--only", only]);
    }
    run::execute(&mut cargo)
}
