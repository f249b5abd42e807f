//! Meterseal's command line: each command is a thin layer over a crate.

mod measure;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The chain of trust behind an electricity bill.
///
/// A three-phase meter core, a utility's head-end and the tools around them. `meterseal up` shows all of it at work on this
/// machine; `meterseal measure` runs a recording through the meter's own metrology.
#[derive(Parser)]
#[command(name = "meterseal", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Measure(measure::Args),
    Up(up::Args),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Measure(arguments) => {
            measure::run(&arguments, &mut std::io::stdout().lock()).map_err(anyhow::Error::from)
        }
        Command::Up(arguments) => up::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, as programs expect it; the causes follow the sentence.
            eprintln!("meterseal: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::from(2)
        }
    }
}
