//! `cargo xtask powercut`: the long run of the power cuts that `crates/meter/tests/power_cut.rs` makes briefly.

use anyhow::Result;

use crate::run::{cargo, execute};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Double cuts, drawn at random over all kinds of work
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    double: u64,
    /// Flashes of which one bit rots
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    rot: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let build = ["run", "--quiet", "--release", "-p", "meterseal-meter", "--example", "powercut", "--"];
    execute(cargo().args(build).args([arguments.double.to_string(), arguments.rot.to_string()]))
}
