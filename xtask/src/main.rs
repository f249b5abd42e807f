//! Developer commands. `cargo xtask test` is what CI runs; each step says what it does and, where it cannot, what to do.

mod bench;
mod fuzz;
mod kill;
mod mutants;
mod part;
mod powercut;
mod run;
mod test;
mod tools;
mod web;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Meterseal's developer commands", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything CI runs: fmt, clippy, deny, unit and integration tests, interoperability, the page's build, browser tests
    Test(test::Arguments),
    /// Builds the page in web/ into web/dist (and its types from the API's schema)
    Web(web::Arguments),
    /// Measures, and prints the tables of docs/figures.md
    Bench(bench::Arguments),
    /// Fuzzes whatever comes from outside
    Fuzz(fuzz::Arguments),
    /// Kills a head-end (`kill -9`) at random moments while events and intervals come in, and counts what it has
    Kill(kill::Arguments),
    /// Runs the bench on deliberately defective meters: each must fail on what its flaw breaks, and the sound one on nothing
    Mutants(mutants::Arguments),
    /// Cuts the power at every flash operation of firmware updates and reverts
    Powercut(powercut::Arguments),
}

fn main() -> std::process::ExitCode {
    let result = match Arguments::parse().command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Web(arguments) => web::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Kill(arguments) => kill::run(&arguments),
        Command::Mutants(arguments) => mutants::run(&arguments),
        Command::Powercut(arguments) => powercut::run(&arguments),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
