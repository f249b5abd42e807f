//! Whom a certificate is for: the names, roles and purposes that go into it.

use std::path::Path;

use meterseal_model::{MeterId, Role, Roles};
use meterseal_seal::chain::{BOOT_KEY_URI, LOG_KEY_URI};
use rcgen::string::Ia5String;
use rcgen::{ExtendedKeyUsagePurpose, SanType};

use super::PkiError;
use crate::tls::{self, Peer};

/// Names, roles and purposes of one certificate.
pub(super) struct Subject {
    pub(super) common_name: String,
    pub(super) names: Vec<SanType>,
    pub(super) purposes: Vec<ExtendedKeyUsagePurpose>,
}

impl Subject {
    /// A meter dials its head-end as a TLS client, and answers on its local port as a TLS server.
    pub(super) fn meter(meter: MeterId) -> Self {
        Self::new(
            &Peer::Meter(meter),
            Roles::NONE,
            meter.to_string(),
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
        )
    }

    /// A meter's log key signs checkpoints and nothing else: no TLS, so no DNS name and no purpose.
    pub(super) fn log_key(meter: MeterId) -> Self {
        Self::key_of(meter, "log", LOG_KEY_URI)
    }

    /// A meter's boot key certifies the keys of the images that its boot stage starts, and nothing else.
    pub(super) fn boot_key(meter: MeterId) -> Self {
        Self::key_of(meter, "boot", BOOT_KEY_URI)
    }

    fn key_of(meter: MeterId, name: &str, purpose: &str) -> Self {
        let uri = |text: String| {
            SanType::URI(Ia5String::try_from(text).expect("identifiers and our own names are ASCII"))
        };
        Self {
            common_name: format!("{meter} {name}"),
            names: vec![uri(Peer::Meter(meter).uri()), uri(purpose.to_owned())],
            purposes: Vec::new(),
        }
    }

    pub(super) fn headend(name: &str, roles: Roles) -> Result<Self, PkiError> {
        check_name(name, "a head-end")?;
        let peer = Peer::Headend(name.to_owned());
        Ok(Self::new(
            &peer,
            roles.without(Role::Public),
            format!("Meterseal head-end {name}"),
            vec![ExtendedKeyUsagePurpose::ServerAuth],
        ))
    }

    pub(super) fn client(name: &str, roles: Roles) -> Result<Self, PkiError> {
        check_name(name, "a client")?;
        // The public association asks for no certificate, and a head-end's rights are a head-end's.
        let roles = roles.without(Role::Public);
        if roles.is_empty() {
            return Err(PkiError::new(Path::new(name), "would have no role")
                .hint("give at least one of reader, utility, firmware, installer, bench"));
        }
        let peer = Peer::Client(name.to_owned());
        let purposes = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(Self::new(&peer, roles, format!("Meterseal client {name}"), purposes))
    }

    pub(super) fn time(name: &str) -> Result<Self, PkiError> {
        check_name(name, "a time source")?;
        let peer = Peer::Time(name.to_owned());
        let purposes = vec![ExtendedKeyUsagePurpose::TimeStamping];
        Ok(Self::new(&peer, Roles::NONE, format!("Meterseal time {name}"), purposes))
    }

    fn new(peer: &Peer, roles: Roles, common_name: String, purposes: Vec<ExtendedKeyUsagePurpose>) -> Self {
        let ascii = |text: String| Ia5String::try_from(text).expect("identifiers, names and roles are ASCII");
        let mut names = vec![SanType::URI(ascii(peer.uri())), SanType::DnsName(ascii(peer.dns_name()))];
        names.extend(roles.iter().map(|role| SanType::URI(ascii(tls::role_uri(role)))));
        Self { common_name, names, purposes }
    }
}

fn check_name(name: &str, whose: &str) -> Result<(), PkiError> {
    if tls::is_name(name) {
        return Ok(());
    }
    Err(PkiError::new(Path::new(name), format!("is no name for {whose}"))
        .hint("use up to 63 lower-case letters, digits and inner hyphens"))
}
