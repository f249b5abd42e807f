//! `cargo xtask powercut`: cuts the power in updates and reverts of firmware and in a meter's daily life, and prints
//! the tables of docs/figures.md.

use anyhow::Result;

use crate::run;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many pairs of cuts are sampled beside every operation cut once
    #[arg(long, default_value_t = 1000, value_name = "NUMBER")]
    pairs: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut cargo = run::cargo();
    cargo.args(["run", "--release", "--package", "meterseal-meter", "--example", "powercut", "--"]);
    run::execute(cargo.args(["--pairs", &arguments.pairs.to_string()]))
}
