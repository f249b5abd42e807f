//! `meterseal headend`: a head-end without virtual meters, the enrolment of its meters, and the meters of other makers
//! that it reads.

mod enrol;
mod marks;
mod others;
mod run;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

/// Run a utility's head-end, keep its certified product list, and add or remove meters of other makers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the installation: authorities, keys and the head-end's database
    #[arg(long, value_name = "DIR", default_value = "meterseal-data", global = true)]
    data: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    AddMeter(others::Add),
    /// Allow a meter to be enrolled, for the first time or anew
    ///
    /// A meter that calls with its manufacturer's identity is enrolled without this only if it never was before. Give the
    /// word again after its operational certificate was revoked or its key lost; a meter that is connected gets a new
    /// key and certificate at once. The word is used up when the meter calls with its new identity.
    Enrol {
        /// Which meter
        #[arg(value_name = "METER")]
        id: meterseal_model::MeterId,
    },
    Marks(marks::Args),
    /// List the meters with their identity, its expiry and how their enrolment stands, and the meters of other makers
    ListMeters {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a meter of another maker; what was read from it stays
    RemoveMeter {
        /// The identifier that it was added under
        #[arg(value_name = "METER")]
        id: meterseal_model::MeterId,
    },
}

pub(crate) fn run(arguments: &Args, out: &mut impl Write) -> Result<bool> {
    match &arguments.command {
        Command::Run(options) => run::run(&arguments.data, options).map(|()| true),
        Command::Marks(options) => marks::run(&arguments.data, options, out),
        Command::Enrol { id } => enrol::allow(&arguments.data, *id, out).map(|()| true),
        Command::AddMeter(options) => others::add(&arguments.data, options, out).map(|()| true),
        Command::ListMeters { json } => others::list(&arguments.data, *json, out),
        Command::RemoveMeter { id } => others::remove(&arguments.data, *id, out).map(|()| true),
    }
}
