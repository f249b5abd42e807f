//! `meterseal headend add-meter`, `list-meters`, `remove-meter`: meters of other makers, each by an explicit opt-in.
//!
//! They are written into the data folder; a head-end that runs sees it within seconds.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use meterseal_headend::others::entry::{self, OtherEntry, OtherSecurity};
use meterseal_link::client::Suite;
use meterseal_link::pki::read_secret;
use meterseal_link::reach::MeterAddress;
use meterseal_model::MeterId;
use serde_json::json;

use crate::dlms::login;

/// Add a meter of another maker, which the head-end dials and reads
///
/// It carries no mark and does not conform; the head-end shows that, and bills nothing from it as marked. Without the
/// explicit opt-in nothing is added.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Identifier for it here: three capital letters of its maker and ten digits
    #[arg(long, value_name = "METER")]
    id: MeterId,
    /// What people call it [default: its identifier]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where it listens: tcp://HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    address: MeterAddress,
    /// How to log in: a password (lls) or keys (hls5)
    #[arg(long, value_name = "SECURITY")]
    security: Security,
    /// Security suite of the keys: 0 and 1 are AES-128, 2 is AES-256
    #[arg(long, value_name = "SUITE", value_parser = clap::value_parser!(u8).range(0..=2), required_if_eq("security", "hls5"))]
    suite: Option<u8>,
    /// File, for its owner only, with the encryption key and the authentication key in hexadecimal digits, or with the
    /// password; it is copied into the data folder
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// Client address at the meter (16, 0x20) or role
    #[arg(long = "as", value_name = "ROLE", default_value = "1", value_parser = login::client_address)]
    client: u16,
    /// Logical device
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    server: u16,
    /// System title that it must have, 16 hexadecimal digits
    #[arg(long, value_name = "TITLE", value_parser = login::expected)]
    system_title: Option<login::Expected>,
    /// Seconds between two readings
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    period: u32,
    /// The opt-in: it carries no mark, and what it measures or sends is nobody's promise
    #[arg(long)]
    i_know_it_does_not_conform: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Security {
    Lls,
    Hls5,
}

pub(super) fn add(data: &Path, arguments: &Add, out: &mut impl Write) -> Result<()> {
    if !arguments.i_know_it_does_not_conform {
        bail!(
            "another maker's meter carries no mark: nobody has tested that it measures right, keeps its log or its keys; \
             if it is to be read all the same, say so with --i-know-it-does-not-conform"
        );
    }
    if arguments.address.tls {
        bail!(
            "meters of other makers are read over the plain TCP wrapper: write tcp://HOST:PORT; for TLS use a tunnel"
        );
    }
    let security = match (arguments.security, arguments.suite) {
        (Security::Lls, None) => OtherSecurity::Low,
        (Security::Lls, Some(_)) => bail!("low-level security has no suite; leave --suite out"),
        (Security::Hls5, suite) => OtherSecurity::Gmac(
            suite.and_then(Suite::from_number).context("which suite? Write --suite 0, 1 or 2")?,
        ),
    };
    let folder = folder(data)?;
    let secret = read_secret(&arguments.keys)?;
    let entry = OtherEntry {
        id: arguments.id,
        name: arguments.name.clone().unwrap_or_else(|| arguments.id.to_string()),
        address: arguments.address.clone(),
        client: arguments.client,
        server: arguments.server,
        security,
        title: arguments.system_title.map(login::Expected::title),
        period_seconds: arguments.period,
    };
    entry::add(&folder, &entry, &secret)?;
    writeln!(
        out,
        "added {} at {}: {}\nIt carries no mark and does not conform. A head-end that runs reads it within seconds.",
        entry.id,
        entry.address,
        entry.security.name()
    )?;
    Ok(())
}

/// Whether every entry can be used.
pub(super) fn list(data: &Path, as_json: bool, out: &mut impl Write) -> Result<bool> {
    let entries = entry::list(&folder(data)?)?;
    let usable = entries.iter().all(Result::is_ok);
    let own = super::enrol::standings(data)?;
    if as_json {
        let others = entries.iter().map(|entry| match entry {
            Ok(entry) => json!({
                "id": entry.id.to_string(), "name": entry.name, "address": entry.address.to_string(),
                "security": entry.security.name(), "period_seconds": entry.period_seconds, "conforms": false,
            }),
            Err(error) => json!({ "error": error.to_string() }),
        });
        let list: Vec<_> = own.iter().map(super::enrol::Standing::json).chain(others).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
        return Ok(usable);
    }
    for meter in &own {
        writeln!(out, "{}", meter.line())?;
    }
    for entry in &entries {
        match entry {
            Ok(entry) => writeln!(
                out,
                "{}  {}  {}  \"{}\"  no mark, does not conform",
                entry.id,
                entry.address,
                entry.security.name(),
                entry.name
            )?,
            Err(error) => writeln!(out, "– {error}")?,
        }
    }
    writeln!(out, "{} meters, {} meters of other makers", own.len(), entries.len())?;
    Ok(usable)
}

pub(super) fn remove(data: &Path, id: MeterId, out: &mut impl Write) -> Result<()> {
    entry::remove(&folder(data)?, id)?;
    writeln!(out, "removed {id}; what was read from it stays")?;
    Ok(())
}

/// The folder of entries in a data folder that is one.
fn folder(data: &Path) -> Result<PathBuf> {
    if !data.join("VERSION").exists() {
        bail!(
            "{} is no Meterseal data folder; start `meterseal headend run` once, or name the right one (--data)",
            data.display()
        );
    }
    Ok(entry::folder(&data.join("headend")))
}
