//! Meterseal's command line: each command is a thin layer over a crate.

mod accuracy;
mod alarm_options;
mod boot;
mod calibrate;
mod campaign;
mod certify;
mod dlms;
mod evidence;
mod firmware;
mod fleet;
mod headend;
mod mark;
mod measure;
mod pki;
mod progress;
mod soak;
mod tamper;
mod up;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

/// Ten thousand connections that begin at once leave the C library's heap full of holes: a quarter of a head-end's
/// memory (docs/figures.md, the link).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
    Accuracy(accuracy::Args),
    Bill(evidence::Bill),
    Boot(boot::Args),
    Calibrate(calibrate::Args),
    Campaign(campaign::Args),
    Certify(certify::Args),
    Dlms(Box<dlms::Args>),
    Firmware(firmware::Args),
    Fleet(fleet::Args),
    Headend(Box<headend::Args>),
    Log(evidence::Log),
    Mark(mark::Args),
    Measure(measure::Args),
    Pki(pki::Args),
    Soak(soak::Args),
    Tamper(tamper::Args),
    Up(up::Args),
    Verify(Box<verify::Args>),
}

fn main() -> ExitCode {
    let out = &mut std::io::stdout();
    // Whether what was tested holds its limits.
    let result = match Arguments::parse().command {
        Command::Accuracy(arguments) => accuracy::run(&arguments, out),
        Command::Bill(arguments) => evidence::bill(&arguments, out).map(|()| true),
        Command::Boot(arguments) => boot::run(&arguments, out).map(|()| true),
        Command::Calibrate(arguments) => calibrate::run(&arguments, out),
        Command::Campaign(arguments) => campaign::run(&arguments, out),
        Command::Certify(arguments) => {
            return match certify::run(&arguments, out) {
                Ok(code) => ExitCode::from(code),
                Err(error) => failed(&error),
            };
        }
        Command::Dlms(arguments) => dlms::run(&arguments, out),
        Command::Firmware(arguments) => firmware::run(&arguments, out),
        Command::Fleet(arguments) => fleet::run(&arguments).map(|()| true),
        Command::Headend(arguments) => headend::run(&arguments, out),
        Command::Log(arguments) => evidence::log(&arguments, out).map(|()| true),
        Command::Mark(arguments) => mark::run(&arguments, out),
        Command::Measure(arguments) => {
            measure::run(&arguments, out).map(|()| true).map_err(anyhow::Error::from)
        }
        Command::Pki(arguments) => pki::run(&arguments, out).map(|()| true),
        Command::Soak(arguments) => soak::run(&arguments, out),
        Command::Tamper(arguments) => tamper::run(&arguments, out),
        Command::Up(arguments) => up::run(&arguments).map(|()| true),
        Command::Verify(arguments) => verify::run(&arguments, out),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("meterseal: {}", one_line(error));
    ExitCode::from(2)
}

/// The sentence and its causes, each once: many an error already quotes its cause.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.contains(&cause) {
            line = if line.is_empty() { cause } else { format!("{line}: {cause}") };
        }
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_the_sentence_quotes_is_not_said_twice() {
        let cause = std::io::Error::other("the disk\nis full");
        let quoted = format!("cannot write: {cause}");
        assert_eq!(one_line(&anyhow::Error::new(cause).context(quoted)), "cannot write: the disk is full");
        let error = anyhow::anyhow!("deep").context("middle").context("top");
        assert_eq!(one_line(&error), "top: middle: deep");
    }
}
