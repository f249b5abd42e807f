//! A real meter as the target: DLMS over the network, and instruments that speak SCPI over TCP. Time is the wall's.
//!
//! Read in this order: [`NetworkProfile`] and [`instruments::InstrumentsProfile`] are what the target profile says; [`connection`] is the meter's
//! side, [`scpi`] the wire to an instrument, [`instruments`] what is asked over it; [`NetworkTarget`] puts both together. [`simulator`] is a bench of
//! instruments with a virtual meter on it, behind real TCP ports, so that the whole way can be tested.

pub mod connection;
pub mod instruments;
pub mod scpi;
pub mod simulator;
mod target;

pub use target::{NetworkLaboratory, NetworkTarget};

use std::path::{Path, PathBuf};

use meterseal_link::client::Suite;
use meterseal_link::counters::system_title;
use meterseal_model::{MeterId, Role, SystemTitle};
use serde::Deserialize;

/// How to reach a meter, and as whom. Paths are as seen from the profile's folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkProfile {
    /// The meter's identifier (MSL0000000001), or its system title in 16 hexadecimal digits.
    pub meter: Option<String>,
    /// Role (utility, reader, …) or client address (16, 0x20, …) of the standing connection.
    pub client: String,
    /// The logical device.
    pub server: u16,
    /// Folder with a subfolder for each role: `certificate.pem`, `key.pem`, `authorities.pem` and `METER.key`, as `up --local-port` writes them.
    pub access: Option<PathBuf>,
    /// Without `access`: folder with `certificate.pem` and `key.pem` to show over TLS.
    pub identity: Option<PathBuf>,
    /// Without `access`: files with authorities that the meter is trusted by over TLS.
    pub trust: Vec<PathBuf>,
    /// Without `access`: file with the encryption and the authentication key, hexadecimal: logs in by HLS-5.
    pub keys: Option<PathBuf>,
    /// File with a password: logs in by low-level security.
    pub password: Option<PathBuf>,
    /// Security suite of the keys.
    pub suite: u8,
    /// Whether `tcp://`, without TLS, is allowed: for a laboratory's own line.
    pub plain: bool,
    /// How long the meter may take for an answer, seconds.
    pub timeout_seconds: u64,
    /// Folder where invocation counters outlive a run; in the output folder without.
    pub state: Option<PathBuf>,
}

impl Default for NetworkProfile {
    fn default() -> Self {
        Self {
            meter: None,
            client: Role::Utility.to_string(),
            server: 1,
            access: None,
            identity: None,
            trust: Vec::new(),
            keys: None,
            password: None,
            suite: 2,
            plain: false,
            timeout_seconds: 10,
            state: None,
        }
    }
}

impl NetworkProfile {
    /// Finds what is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        self.client_address()?;
        self.title()?;
        self.security_suite()?;
        if !(1..=3600).contains(&self.timeout_seconds) {
            return Err(format!("network.timeout_seconds is {}; it must be 1 to 3600", self.timeout_seconds));
        }
        let ways = [self.access.is_some(), self.keys.is_some(), self.password.is_some()];
        if ways.iter().filter(|given| **given).count() > 1 {
            return Err("network has more than one of access, keys and password; give one".to_owned());
        }
        if self.access.is_some() && self.identifier().is_none() {
            return Err("network.access has keys by meters' identifiers: give network.meter (MSL0000000001)"
                .to_owned());
        }
        Ok(())
    }

    /// Makes paths those seen from `folder`.
    pub(super) fn within(&mut self, folder: &Path) {
        let one = [&mut self.access, &mut self.identity, &mut self.keys, &mut self.password, &mut self.state];
        for path in one.into_iter().flatten().chain(&mut self.trust) {
            *path = folder.join(&*path);
        }
    }

    /// The standing connection's client address.
    ///
    /// # Errors
    /// In words.
    pub fn client_address(&self) -> Result<u16, String> {
        let text = self.client.as_str();
        if let Some(role) = Role::ALL.into_iter().find(|role| role.to_string() == text) {
            return Ok(role.client_address());
        }
        let number = match text.strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map_err(|_| {
            let roles = Role::ALL.map(|role| role.to_string()).join(", ");
            format!("network.client is \"{text}\"; write a role ({roles}) or a client address (16, 0x20)")
        })
    }

    /// The meter's identifier, where it is one of this project's.
    pub fn identifier(&self) -> Option<MeterId> {
        self.meter.as_deref()?.parse().ok()
    }

    /// The system title that it must have.
    ///
    /// # Errors
    /// In words.
    pub fn title(&self) -> Result<Option<SystemTitle>, String> {
        let Some(text) = self.meter.as_deref() else { return Ok(None) };
        let title = self.identifier().map(MeterId::system_title).or_else(|| system_title(text));
        title.map(Some).ok_or_else(|| {
            format!("network.meter is \"{text}\"; write an identifier (MSL0000000001) or a system title in 16 hexadecimal digits")
        })
    }

    /// The keys' suite.
    ///
    /// # Errors
    /// In words.
    pub fn security_suite(&self) -> Result<Suite, String> {
        Suite::from_number(self.suite)
            .ok_or_else(|| format!("network.suite is {}; there are 0, 1 and 2", self.suite))
    }
}
