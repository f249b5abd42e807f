//! Trust roots: whose signatures count on a meter.

use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use meterseal_model::UnixMillis;
use meterseal_seal::firmware::{Role, TrustRoot, TrustedKey};

use super::keys::{read_keys, read_public_key};

/// Make a trust root, or the one that follows another
///
/// A root says whose signatures count for what, and how many it takes. The one after it has the next version and needs
/// signatures by enough keys of both. A key that is left out of the next root is revoked.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A signer's public keys and its roles: root, release, approval; for example anna.pub.pem=root,release
    #[arg(long = "signer", value_name = "FILE=ROLES", required = true)]
    signers: Vec<Signer>,
    /// How many signers of the role root a new trust root takes
    #[arg(long, value_name = "N", default_value_t = 1)]
    root: u8,
    /// How many signers of the role release a package takes
    #[arg(long, value_name = "N", default_value_t = 1)]
    release: u8,
    /// How many signers of the role approval a package takes; 0 for none
    #[arg(long, value_name = "N", default_value_t = 0)]
    approval: u8,
    /// How long the keys count
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=20 * 365))]
    days: u32,
    /// The root that this one follows
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// Private keys that sign it (NAME.key.pem); more can be added with `firmware cosign`
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// Where to write it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Debug)]
struct Signer {
    path: PathBuf,
    roles: Vec<Role>,
}

impl FromStr for Signer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, roles) =
            text.rsplit_once('=').ok_or("give FILE=ROLES, for example anna.pub.pem=release")?;
        let role = |name: &str| {
            let found = Role::ALL.into_iter().find(|role| role.name() == name.trim());
            found.ok_or_else(|| format!("`{name}` is no role; there are root, release and approval"))
        };
        let mut roles = roles.split(',').map(role).collect::<Result<Vec<_>, _>>()?;
        roles.sort_unstable();
        roles.dedup();
        Ok(Self { path: path.into(), roles })
    }
}

pub(super) fn run(arguments: &Args, out: &mut impl Write) -> Result<()> {
    let now = super::now();
    let expires = UnixMillis(now.0 + i64::from(arguments.days) * 24 * 3_600_000);
    let mut keys = Vec::new();
    for signer in &arguments.signers {
        let file = signer.path.file_name().unwrap_or_default().to_string_lossy();
        let name = file.strip_suffix(".pub.pem").unwrap_or(&file).to_owned();
        keys.push(TrustedKey {
            name,
            key: read_public_key(&signer.path)?,
            roles: signer.roles.clone(),
            expires,
        });
    }
    keys.sort_by_key(|trusted| trusted.key.id());
    let thresholds = [arguments.root, arguments.release, arguments.approval];
    let previous = match &arguments.previous {
        // A root whose keys have expired can still be followed from here; a meter with a clock decides for itself.
        Some(path) => Some(super::read_trust(path, None)?),
        None => None,
    };
    let version = previous.as_ref().map_or(1, |previous| previous.version + 1);
    let root = TrustRoot { version, thresholds, keys };
    let signers = read_keys(&arguments.keys)?;
    let bytes = root.sign(&signers.iter().collect::<Vec<_>>())?;
    let enough = match &previous {
        Some(previous) => previous.next(&bytes, Some(now)).map(drop),
        None => TrustRoot::first(&bytes, Some(now)).map(drop),
    };
    super::write_new(&arguments.out, &bytes)?;
    writeln!(out, "trust root {version}: {}", arguments.out.display())?;
    for trusted in &root.keys {
        let roles: Vec<_> = trusted.roles.iter().map(|role| role.name()).collect();
        writeln!(out, "  {} {}: {}", trusted.key.id(), trusted.name, roles.join(", "))?;
    }
    if let Err(missing) = enough {
        writeln!(out, "not yet good: {missing}; add signers with `meterseal firmware cosign`")?;
    }
    Ok(())
}

/// What a trust root says, in lines for people.
pub(super) fn describe(root: &TrustRoot) -> String {
    let mut text = format!("trust root {}\n", root.version);
    for role in Role::ALL {
        let holders: Vec<_> = root.keys.iter().filter(|key| key.roles.contains(&role)).collect();
        let names: Vec<_> = holders.iter().map(|key| format!("{} ({})", key.name, key.key.id())).collect();
        if !holders.is_empty() {
            text += &format!(
                "{} of {} for {}: {}\n",
                root.thresholds[role as usize],
                holders.len(),
                role.name(),
                names.join(", ")
            );
        }
    }
    text
}

/// Reads a root for [`describe`].
pub(super) fn read_any(bytes: &[u8]) -> Result<TrustRoot> {
    TrustRoot::first(bytes, None)
        .context("neither a firmware package nor a trust root that its own keys signed")
}
