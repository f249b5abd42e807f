//! Who logs in, and by what: roles, key files, passwords, certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use meterseal_link::Identity;
use meterseal_link::client::{GlobalKeys, Password, Suite};
use meterseal_link::counters::system_title;
use meterseal_link::pki::read_secret;
use meterseal_link::reach::{self, MeterAddress};
use meterseal_model::{MeterId, Role, SystemTitle};

use super::LoginArgs;
use crate::up::sealed_files::dlms_digits;

/// The meter that must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// One of ours, known by certificate and system title.
    Meter(MeterId),
    /// Any maker's, known by its system title.
    Title(SystemTitle),
}

impl Expected {
    pub(crate) fn title(self) -> SystemTitle {
        match self {
            Self::Meter(meter) => meter.system_title(),
            Self::Title(title) => title,
        }
    }
}

/// Reads `--meter`.
pub(crate) fn expected(text: &str) -> Result<Expected, String> {
    let meter = text.parse().ok().map(Expected::Meter);
    meter.or_else(|| system_title(text).map(Expected::Title)).ok_or_else(|| {
        "write a meter's identifier (MSL0000000001) or its system title in 16 hexadecimal digits".to_owned()
    })
}

/// Reads `--as`.
pub(crate) fn client_address(text: &str) -> Result<u16, String> {
    if let Some(role) = Role::ALL.into_iter().find(|role| role.to_string() == text) {
        return Ok(role.client_address());
    }
    let number = match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| {
        let roles = Role::ALL.map(|role| role.to_string()).join(", ");
        format!("write a role ({roles}) or a client address (16, 0x20)")
    })
}

/// What `--keys` or `--password` gave.
#[derive(Debug)]
pub(crate) enum Secret {
    None,
    Keys(GlobalKeys),
    Password(Password),
}

pub(crate) fn secret(arguments: &LoginArgs) -> Result<Secret> {
    if let Some(path) = keys_path(arguments)? {
        let suite = Suite::from_number(arguments.suite).context("there are security suites 0, 1 and 2")?;
        return Ok(Secret::Keys(keys(&path, suite)?));
    }
    if arguments.recover_counter {
        bail!("--recover-counter is for a login by keys: give them (--keys or --access)");
    }
    if let Some(path) = &arguments.password {
        let text = read_secret(path)?;
        let password = Password::new(text.trim_end_matches(['\r', '\n']).as_bytes())
            .with_context(|| format!("{} cannot be used", path.display()))?;
        return Ok(Secret::Password(password));
    }
    if Role::from_client_address(arguments.client).is_some_and(|role| role != Role::Public) {
        bail!("this role logs in: give its keys (--keys) or its password (--password)");
    }
    Ok(Secret::None)
}

/// The keys' file or folder, if it is by keys that somebody logs in.
fn keys_path(arguments: &LoginArgs) -> Result<Option<PathBuf>> {
    let Some(access) = &arguments.access else { return Ok(arguments.keys.clone()) };
    if arguments.client == Role::Public.client_address() {
        return Ok(None);
    }
    match arguments.meter {
        Some(Expected::Meter(meter)) => Ok(Some(keys_file(access, meter))),
        _ => bail!(
            "--access has keys by meters' identifiers: name the meter by its own (--meter MSL0000000001)"
        ),
    }
}

/// Where a role's folder has its keys for a meter.
pub(crate) fn keys_file(access: &Path, meter: MeterId) -> PathBuf {
    access.join(format!("{meter}.key"))
}

/// The authorities that meters are trusted by, in a role's folder.
pub(crate) const AUTHORITIES_FILE: &str = "authorities.pem";

/// Reads the keys in a file, or those of a meter's folder, sealed or not.
pub(crate) fn keys(path: &Path, suite: Suite) -> Result<GlobalKeys> {
    let text = if path.is_dir() { dlms_digits(path)? } else { read_secret(path)? };
    GlobalKeys::from_hex(suite, &text).with_context(|| format!("{} cannot be used", path.display()))
}

/// The TLS side, where the address asks for it.
pub(crate) fn tls_config(
    address: &MeterAddress,
    arguments: &LoginArgs,
) -> Result<Option<Arc<tokio_rustls::rustls::ClientConfig>>> {
    if !address.tls {
        return Ok(None);
    }
    let mut trust = arguments.trust.clone();
    trust.extend(arguments.access.as_ref().map(|access| access.join(AUTHORITIES_FILE)));
    if trust.is_empty() {
        bail!("{address} speaks TLS: name the authority that the meter is trusted by (--trust FILE)");
    }
    let identity = arguments.identity.as_deref().or(arguments.access.as_deref());
    let identity = identity.map(Identity::load).transpose()?;
    let expected = match arguments.meter {
        Some(Expected::Meter(meter)) => Some(meter),
        _ => None,
    };
    Ok(Some(reach::trusting(identity.as_ref(), &trust, expected)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_addresses_are_read() {
        assert_eq!(client_address("public"), Ok(0x10));
        assert_eq!(client_address("utility"), Ok(0x30));
        assert_eq!(client_address("0x66"), Ok(0x66));
        assert_eq!(client_address("17"), Ok(17));
        assert!(client_address("king").unwrap_err().contains("reader"));
        assert!(expected("MSL0000000001").is_ok() && expected("4d534c0000000001").is_ok());
        assert!(expected("meter").is_err());
    }

    #[test]
    fn keys_that_others_could_read_are_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dlms.key");
        std::fs::write(&path, "a5".repeat(64)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = keys(folder.path(), Suite::Two).unwrap_err();
        assert!(error.to_string().contains("read by others"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(keys(folder.path(), Suite::Two).is_ok());
        let error = format!("{:#}", keys(&path, Suite::Zero).unwrap_err());
        assert!(error.contains("suite 0") && error.contains("dlms.key"), "{error}");
    }
}
