//! Runs the bench on deliberately defective meters (crates/mutants), in release.

use std::process::Command;

/// Passed on to the runner: names of mutants, `--all`, `--sound N`, `--full`, `--list`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What is passed on (`-- --help` lists it)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--release", "-q", "-p", "meterseal-mutants", "--"]).args(&arguments.rest);
    anyhow::ensure!(command.status()?.success(), "the bench does not see every flaw, or sees what is none");
    Ok(())
}

/// Each mutant through what its flaw breaks, and a sound meter through every requirement, shortly, in the debug build that other steps have made
/// already.
pub(crate) fn briefly() -> anyhow::Result<()> {
    crate::run::execute(crate::run::cargo().args([
        "run",
        "-q",
        "-p",
        "meterseal-mutants",
        "--",
        "--sound",
        "1",
    ]))
}
