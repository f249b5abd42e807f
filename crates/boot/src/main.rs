//! `meterseal-boot`: the boot stage of a meter on Linux, a small program of its own below the image that it starts.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use meterseal_boot::command::{self, Args};

#[derive(Parser)]
#[command(name = "meterseal-boot", version)]
struct Arguments {
    #[command(flatten)]
    run: Args,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    match command::run(&Arguments::parse().run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meterseal-boot: {error}");
            ExitCode::from(2)
        }
    }
}
