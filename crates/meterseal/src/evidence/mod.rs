//! `meterseal log export` and `meterseal bill`: files for others to check, made of what the head-end's store holds. They
//! may be made while the head-end runs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use meterseal_headend::evidence::{self, StoredLog};
use meterseal_headend::store::Store;
use meterseal_model::{MeterId, UnixMillis};
use meterseal_seal::evidence::{Archive, Trust, printed_fingerprint};
use meterseal_seal::log::{Body, Leaf};

/// Make a statement for a bill: the meter's readings of a period, with the meter's signature and proofs
///
/// It begins with the last reading at or before --from and ends with the last one at or before --to; statements of
/// periods that follow one another continue each other. Anybody can check it with `meterseal verify bill`, or on the page
/// under /verify.
#[derive(Debug, clap::Args)]
pub(crate) struct Bill {
    #[command(flatten)]
    source: Source,
    /// Beginning of the period: a date (midnight UTC) or a moment as in 2026-10-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: UnixMillis,
    /// End of the period
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: UnixMillis,
}

/// Export a meter's sealed log
#[derive(Debug, clap::Args)]
pub(crate) struct Log {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Write a meter's log to a file that anybody can check with `meterseal verify`
    Export {
        #[command(flatten)]
        source: Source,
        /// The first entry; the file says what lies before it only as hashes
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        first: u64,
        /// Leave out what somebody consumed when: intervals stand in the file only as their hashes
        #[arg(long)]
        without_intervals: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Source {
    /// Folder of the installation
    #[arg(long, value_name = "DIR", default_value = "meterseal-data")]
    data: PathBuf,
    /// The meter, as in MSL0000000001
    #[arg(long, value_name = "ID")]
    meter: MeterId,
    /// The file to write; it must not exist yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn bill(arguments: &Bill, out: &mut impl Write) -> Result<()> {
    let Source { meter, out: path, .. } = &arguments.source;
    let statement = arguments.source.with(|archive| Ok(archive.statement(arguments.from, arguments.to)?))?;
    write_new(path, |file| file.write_all(&statement.encode()))?;
    let verified = statement.verify(&Trust::default());
    let readings = verified.readings();
    if let Some((first, last)) = readings.first().zip(readings.last()) {
        writeln!(out, "statement of meter {meter} from {} to {}: {}", first.time, last.time, path.display())?;
    }
    writeln!(out, "key fingerprint: {}", printed_fingerprint(&statement.origin.key))?;
    Ok(writeln!(out, "to check it: meterseal verify bill {}", path.display())?)
}

pub(crate) fn log(arguments: &Log, out: &mut impl Write) -> Result<()> {
    let LogCommand::Export { source, first, without_intervals } = &arguments.command;
    let withhold = |leaf: &Leaf| *without_intervals && matches!(leaf.body, Body::Interval(_));
    let key = source.with(|archive| {
        write_new(&source.out, |file| {
            archive.export(*first, withhold, |bytes| file.write_all(bytes)).map_err(std::io::Error::other)
        })?;
        Ok(archive.origin.key.clone())
    })?;
    writeln!(out, "log of meter {} from entry {first} on: {}", source.meter, source.out.display())?;
    writeln!(out, "key fingerprint: {}", printed_fingerprint(&key))?;
    Ok(writeln!(out, "to check it: meterseal verify log {}", source.out.display())?)
}

impl Source {
    /// Makes something of the meter's log, while the store is open.
    fn with<T>(&self, make: impl FnOnce(&mut Archive<StoredLog>) -> Result<T>) -> Result<T> {
        let folder = self.data.join("headend");
        if !folder.join("headend.sqlite").exists() {
            bail!("{} holds no head-end's database; name the right folder (--data)", self.data.display());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let (store, archive) = runtime.block_on(async {
            let store = Store::open_to_read(&folder).await?;
            let archive = evidence::archive(&store, self.meter).await?;
            Ok::<_, anyhow::Error>((store, archive))
        })?;
        let made = archive
            .with_context(|| format!("the head-end has not read a sealed log of meter {} yet", self.meter))
            .and_then(|mut archive| make(&mut archive));
        runtime.block_on(store.close());
        made
    }
}

/// Writes a file that is there whole or not at all.
fn write_new(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file = BufWriter::new(File::create_new(path).with_context(cannot)?);
    let written = write(&mut file).and_then(|()| file.flush());
    if written.is_err() {
        // Best effort: what failed is reported.
        let _ = std::fs::remove_file(path);
    }
    written.with_context(cannot)
}

fn moment(text: &str) -> Result<UnixMillis, String> {
    let at = match text.parse::<Date>() {
        Ok(date) => date.to_zoned(TimeZone::UTC).map(|day| day.timestamp()),
        Err(_) => text.parse::<Timestamp>(),
    };
    at.map(|at| UnixMillis(at.as_millisecond()))
        .map_err(|_| "give a date as in 2026-10-01, or a moment as in 2026-10-01T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_its_midnight_in_utc() {
        assert_eq!(moment("2026-10-01"), Ok(UnixMillis(1_790_812_800_000)));
        assert_eq!(moment("2026-10-01T00:00:00Z"), moment("2026-10-01"));
        assert_eq!(moment("2026-10-01T02:00:00+02:00"), moment("2026-10-01"));
        for wrong in ["", "yesterday", "2026-13-01", "1790812800"] {
            assert!(moment(wrong).unwrap_err().contains("2026-10-01"), "{wrong}");
        }
    }
}
