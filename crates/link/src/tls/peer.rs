//! Who a peer is: the one `urn:meterseal:` name in its certificate, and the roles beside it.

use std::fmt;

use meterseal_model::{MeterId, Role, Roles};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

/// An authenticated peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A meter.
    Meter(MeterId),
    /// A head-end, by name.
    Headend(String),
    /// A person or program at a meter's local port, by name.
    Client(String),
    /// A source of signed time, by name.
    Time(String),
}

/// Makes a peer of a name.
type Kind = fn(String) -> Peer;

/// What a certificate says of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Who it is.
    pub peer: Peer,
    /// The roles that it may take; none for a meter.
    pub roles: Roles,
}

impl Peer {
    /// The name in the certificate, for example `urn:meterseal:meter:MSL0000000001`.
    pub fn uri(&self) -> String {
        match self {
            Self::Meter(meter) => format!("{METER_URI}{meter}"),
            Self::Headend(name) => format!("{HEADEND_URI}{name}"),
            Self::Client(name) => format!("{CLIENT_URI}{name}"),
            Self::Time(name) => format!("{TIME_URI}{name}"),
        }
    }

    /// The DNS name that stands beside it, because WebPKI wants one.
    pub fn dns_name(&self) -> String {
        match self {
            Self::Meter(meter) => format!("{}.meter.{DOMAIN}", meter.to_string().to_ascii_lowercase()),
            Self::Headend(name) => format!("{name}.headend.{DOMAIN}"),
            Self::Client(name) => format!("{name}.client.{DOMAIN}"),
            Self::Time(name) => format!("{name}.time.{DOMAIN}"),
        }
    }

    /// The head-end or meter that a DNS name addresses.
    pub(crate) fn dialled_at(dns_name: &str) -> Option<Self> {
        if let Some(name) = dns_name.strip_suffix(&format!(".headend.{DOMAIN}")) {
            return is_name(name).then(|| Self::Headend(name.to_owned()));
        }
        let meter = dns_name.strip_suffix(&format!(".meter.{DOMAIN}"))?;
        meter.to_ascii_uppercase().parse().ok().map(Self::Meter)
    }

    fn from_uri(uri: &str) -> Option<Self> {
        if let Some(meter) = uri.strip_prefix(METER_URI) {
            return meter.parse().ok().map(Self::Meter);
        }
        let kinds: [(&str, Kind); 3] =
            [(HEADEND_URI, Self::Headend), (CLIENT_URI, Self::Client), (TIME_URI, Self::Time)];
        let (name, kind) =
            kinds.into_iter().find_map(|(prefix, kind)| Some((uri.strip_prefix(prefix)?, kind)))?;
        is_name(name).then(|| kind(name.to_owned()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meter(meter) => write!(f, "meter {meter}"),
            Self::Headend(name) => write!(f, "head-end {name}"),
            Self::Client(name) => write!(f, "client {name}"),
            Self::Time(name) => write!(f, "time source {name}"),
        }
    }
}

/// The name of a role in a certificate, for example `urn:meterseal:role:reader`.
pub(crate) fn role_uri(role: Role) -> String {
    format!("{ROLE_URI}{role}")
}

/// The one peer that a certificate names, and its roles.
pub(crate) fn names_of(certificate: &X509Certificate<'_>) -> Result<Named, PeerError> {
    let names = certificate.subject_alternative_name().map_err(|_| PeerError::Malformed)?;
    let uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::URI(uri) if uri.starts_with(URI_PREFIX) => Some(*uri),
        _ => None,
    });
    let (mut peer, mut roles) = (None, Roles::NONE);
    for uri in uris {
        if let Some(role) = uri.strip_prefix(ROLE_URI) {
            // A role of a later version gives no right here.
            roles = role.parse().map_or(roles, |role| roles.with(role));
        } else if peer.is_some() {
            return Err(PeerError::SeveralNames);
        } else {
            peer = Some(Peer::from_uri(uri).ok_or_else(|| PeerError::BadName { uri: shown(uri) })?);
        }
    }
    // Anybody is the public; nobody needs a certificate for it.
    let roles = roles.without(Role::Public);
    peer.map(|peer| Named { peer, roles }).ok_or(PeerError::NoName)
}

/// Whether this is a name of a head-end, a client or a time source: a DNS label in lower case.
pub(crate) fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Why a peer's certificate does not say who it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeerError {
    /// It showed none.
    #[error("it showed no certificate")]
    NoCertificate,
    /// The certificate cannot be read.
    #[error("its certificate cannot be read")]
    Malformed,
    /// Not valid now.
    #[error("its certificate is valid from {from} to {until}, which is not now")]
    NotValidNow {
        /// The first moment.
        from: String,
        /// The last moment.
        until: String,
    },
    /// Revoked.
    #[error("its certificate was revoked")]
    Revoked,
    /// No name of this scheme.
    #[error("its certificate names nobody (no URI urn:meterseal:…)")]
    NoName,
    /// More than one name of this scheme.
    #[error("its certificate has several names")]
    SeveralNames,
    /// A name of this scheme that is malformed.
    #[error("its certificate has the malformed name {uri}")]
    BadName {
        /// The name, with control characters replaced and shortened.
        uri: String,
    },
    /// It is somebody else.
    #[error("it is {found}, but {expected} was expected")]
    Other {
        /// Who it is.
        found: Peer,
        /// Who or what it should be.
        expected: String,
    },
}

const CLIENT_URI: &str = "urn:meterseal:client:";
const TIME_URI: &str = "urn:meterseal:time:";
const ROLE_URI: &str = "urn:meterseal:role:";
const URI_PREFIX: &str = "urn:meterseal:";
const METER_URI: &str = "urn:meterseal:meter:";
const HEADEND_URI: &str = "urn:meterseal:headend:";
/// `internal` is kept for private use (ICANN, 2024): the names resolve nowhere.
const DOMAIN: &str = "meterseal.internal";

/// Text from outside, for a message: shortened, without control characters.
pub(crate) fn shown(uri: &str) -> String {
    uri.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_survives_its_uri() {
        for peer in [
            Peer::Meter("MSL0000000001".parse().unwrap()),
            Peer::Headend("north-1".into()),
            Peer::Client("anna".into()),
            Peer::Time("t".into()),
        ] {
            assert_eq!(Peer::from_uri(&peer.uri()), Some(peer));
        }
        for uri in ["urn:meterseal:meter:MSL1", "urn:meterseal:headend:", "urn:meterseal:headend:A", "urn:x"]
        {
            assert_eq!(Peer::from_uri(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_headends_name_is_a_lower_case_label() {
        for name in ["a", "north-1", "0"] {
            assert!(is_name(name));
            let peer = Peer::Headend(name.into());
            assert_eq!(Peer::dialled_at(&peer.dns_name()), Some(peer));
        }
        for name in ["", "-a", "a-", "A", "a.b", "ä", &"a".repeat(64)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
