//! `meterseal certify`: what a certification demands. Its procedures are being built.

use std::io::Write;

use anyhow::Result;
use meterseal_bench::catalogue::{Catalogue, Method};

/// List what a certification demands: each requirement with its source, limit and how it is dealt with
///
/// Sentences are Meterseal's own. What a bench cannot test is said, and never counts as passed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the catalogue of requirements
    #[arg(long, required = true)]
    list: bool,
    /// Only these identifiers, or those that begin so
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// JSON in place of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Args, out: &mut impl Write) -> Result<()> {
    let mut catalogue = Catalogue::built_in()?;
    if !arguments.only.is_empty() {
        for wanted in &arguments.only {
            if !catalogue.requirements.iter().any(|one| one.id.starts_with(wanted.as_str())) {
                anyhow::bail!("no requirement begins with `{wanted}`; see `meterseal certify --list`");
            }
        }
        catalogue
            .requirements
            .retain(|one| arguments.only.iter().any(|wanted| one.id.starts_with(wanted.as_str())));
    }
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &catalogue)?;
        writeln!(out)?;
        return Ok(());
    }
    for requirement in &catalogue.requirements {
        writeln!(out, "{requirement}\n")?;
    }
    let count = |method| catalogue.requirements.iter().filter(|one| one.method == method).count();
    writeln!(
        out,
        "catalogue {}: {} requirements: {} tested, {} inspected from evidence, {} not testable here, {} that consist of others",
        catalogue.version,
        catalogue.requirements.len(),
        count(Method::Tested),
        count(Method::Inspected),
        count(Method::NotTestable),
        count(Method::Parts)
    )?;
    Ok(())
}
