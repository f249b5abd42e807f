//! A mark of a certification's results.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use meterseal_bench::certify::mark::findings;
use meterseal_model::UnixMillis;
use meterseal_seal::Mark;
use meterseal_seal::mark::Terms;

use super::{ScopeArg, Signatory, now, write_whole};

/// Make a mark of a certification's results, and sign it
///
/// There is none when anything failed, nothing was tested, or the scope claims more than was done: `laboratory` only for a
/// meter that is not simulated, with instruments that the results name. What was not tested is listed as that.
/// Exit code: 0 made, 1 the results allow no mark, 2 it could not be done.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of the results (results.cbor, report.json), as `meterseal certify --out` writes it
    dir: PathBuf,
    /// The mark's file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What kind of test stands behind it
    #[arg(long, value_enum)]
    scope: ScopeArg,
    /// Who signs, as people know them
    #[arg(long, value_name = "NAME")]
    signatory: String,
    /// For how many days it is valid, beginning now
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// How many days before its end its renewal is due
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    renew_days: u32,
    #[command(flatten)]
    by: Signatory,
}

pub(super) fn run(arguments: &Args, out: &mut impl Write) -> Result<bool> {
    if arguments.out.exists() {
        bail!("{} is there already; name another file (--out)", arguments.out.display());
    }
    let (key, certified) = arguments.by.open()?;
    let findings = findings(&arguments.dir)?;
    let now = now();
    let after = |days: u32| UnixMillis(now.0 + i64::from(days) * DAY);
    let terms = Terms {
        scope: arguments.scope.into(),
        signatory: arguments.signatory.clone(),
        issued: now,
        valid_from: now,
        renew_from: after(arguments.days.saturating_sub(arguments.renew_days)),
        valid_until: after(arguments.days),
    };
    if terms.valid_until > certified.not_after {
        bail!(
            "the key's certificate ends at {}, before the mark would; give fewer --days, or have the key certified anew",
            certified.not_after
        );
    }
    let mark = match Mark::certify(&findings, &terms) {
        Ok(mark) => mark,
        Err(refused) => {
            writeln!(out, "{refused}")?;
            return Ok(false);
        }
    };
    write_whole(&arguments.out, &mark.sign(&key)?)?;
    writeln!(out, "{mark}")?;
    writeln!(
        out,
        "{}; to check it: meterseal verify {0} --report {}",
        arguments.out.display(),
        arguments.dir.display()
    )?;
    Ok(true)
}

const DAY: i64 = 86_400_000;
