//! The local ports of `up`'s meters, and what a person needs to log in there: for each role a certificate with its key, the
//! authorities that the meters are trusted by, and every meter's DLMS keys of that role.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use meterseal_device::{LocalAccess, LocalPort};
use meterseal_link::device_trust::DeviceTrust;
use meterseal_link::pki::write_secret;
use meterseal_link::{Identity, Validity, tls};
use meterseal_model::{MeterId, Role, Roles};

use super::data_folder::DataFolder;
use super::installation::{Installation, MeterFiles, identity};
use super::sealed_files::digits;
use super::sites::{PLANS, Plan};
use crate::dlms::login::AUTHORITIES_FILE;

/// Who is served at a local port. The utility is the head-end, whose key serves one connection at a time.
pub(crate) const LOCAL_ROLES: [Role; 4] = [Role::Reader, Role::Firmware, Role::Installer, Role::Bench];

/// Where the meters listen.
#[derive(Debug, clap::Args)]
pub(crate) struct LocalArgs {
    /// Let the meters listen for readers, installers and benches: the first on this port, the others on the next two; a
    /// port of the loopback, or HOST:PORT; 0 for ports that are free
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    local_port: Option<SocketAddr>,
    /// Let them listen without TLS, for a laboratory's clients that have none: whoever reaches the port may then try every
    /// role but the utility, with its DLMS keys alone
    #[arg(long, requires = "local_port")]
    plain_local_port: bool,
}

impl LocalArgs {
    /// A meter's local port.
    pub(super) fn port(
        &self,
        plan: &Plan,
        identity: &Identity,
        trust: &DeviceTrust,
    ) -> Result<Option<LocalPort>> {
        let Some(first) = self.local_port else { return Ok(None) };
        let place = PLANS.iter().position(|other| other.serial == plan.serial).unwrap_or(0);
        // Within the ports that there are, as `address` has seen to.
        let port = if first.port() == 0 { 0 } else { first.port().saturating_add(place as u16) };
        let access = if self.plain_local_port {
            LocalAccess::PlainForLaboratory(Roles::of(&LOCAL_ROLES))
        } else {
            LocalAccess::Tls(tls::local_port_config(identity, trust.trust(), trust.clock())?)
        };
        Ok(Some(LocalPort { address: SocketAddr::new(first.ip(), port), access }))
    }
}

/// Reads `--local-port`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let first: SocketAddr = port
        .or_else(|_| text.parse())
        .map_err(|_| "write a port (4061), or an address with a port (127.0.0.1:4061)".to_owned())?;
    let last = first.port().checked_add(PLANS.len() as u16 - 1);
    last.map(|_| first).ok_or_else(|| format!("{} meters need as many ports from there on", PLANS.len()))
}

/// The people at the local ports, and the folders with what each role needs.
#[derive(Debug)]
pub(super) struct Visitors {
    folder: PathBuf,
    plain: bool,
}

impl Visitors {
    /// Makes what is missing in DATA/access/ROLE; `None` without local ports. Keys that are there stay: the utility may have
    /// given the meter others since, and somebody put them there.
    pub(super) fn prepare(
        arguments: &LocalArgs,
        installation: &Installation,
        meters: &[(&Plan, MeterFiles)],
    ) -> Result<Option<Self>> {
        if arguments.local_port.is_none() {
            return Ok(None);
        }
        let folder = installation.folder("access")?;
        let authorities = ["manufacturer", "utility"].map(|name| {
            let path = installation.pki().dir().join(format!("{name}.cert.pem"));
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        });
        let authorities = authorities.into_iter().collect::<Result<Vec<_>>>()?.join("\n");
        for role in LOCAL_ROLES {
            let own = folder.join(role.name());
            DataFolder::private_folder(&own)?;
            let validity = Validity::from_now(CERTIFICATE_VALIDITY);
            identity(&own, || {
                installation.pki().issue_client(&format!("local-{role}"), Roles::from(role), validity)
            })?;
            write_secret(&own.join(AUTHORITIES_FILE), authorities.as_bytes())?;
            for (plan, files) in meters {
                let path = crate::dlms::login::keys_file(&own, plan.id());
                let keys = files.role_keys.iter().find(|(of, _)| *of == role);
                if let Some((_, keys)) = keys.filter(|_| !path.exists()) {
                    write_secret(&path, digits(&keys[..]).as_bytes())?;
                }
            }
        }
        Ok(Some(Self { folder, plain: arguments.plain_local_port }))
    }

    /// Where the meters listen, and a command that reads one.
    pub(super) fn invitation(&self, addresses: &[(MeterId, SocketAddr)]) -> String {
        let scheme = if self.plain { "tcp" } else { "tls" };
        let mut lines: Vec<_> = addresses
            .iter()
            .map(|(meter, address)| format!("local     {meter} at {scheme}://{address}"))
            .collect();
        if let Some((meter, address)) = addresses.first() {
            let program = std::env::args().next().unwrap_or_else(|| "meterseal".to_owned());
            let (program, access) = (quoted(&program), quoted(&self.folder.join("reader").to_string_lossy()));
            let others = LOCAL_ROLES.map(Role::name)[1..].join(", ");
            lines.push(format!(
                "          {program} dlms {scheme}://{address} --as reader --access {access} --meter {meter} objects"
            ));
            lines.push(format!("          and in the same way as {others}: their folders lie beside reader"));
        }
        lines.join("\n")
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:,@%=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

const CERTIFICATE_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_the_loopback() {
        assert_eq!(address("4061"), Ok(SocketAddr::from(([127, 0, 0, 1], 4061))));
        assert_eq!(address("0"), Ok(SocketAddr::from(([127, 0, 0, 1], 0))));
        assert_eq!(address("[::1]:7"), Ok("[::1]:7".parse().unwrap()));
        for wrong in ["", "meter", "127.0.0.1", "65536", "127.0.0.1:70000"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert!(address("65533").is_ok() && address("65534").unwrap_err().contains("3 meters"));
    }

    #[test]
    fn a_shell_takes_a_quoted_word_for_one() {
        for word in ["/tmp/a b", "it's", "", "/plain/path-1.0", "$HOME;`x`"] {
            let said = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), word);
        }
        assert_eq!(quoted("/plain/path-1.0"), "/plain/path-1.0");
    }
}
