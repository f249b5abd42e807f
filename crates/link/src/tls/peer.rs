//! Who a peer is: the one `urn:meterseal:` name in its certificate.

use std::fmt;
use std::time::SystemTime;

use meterseal_model::MeterId;
use rustls::CommonState;
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// An authenticated peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A meter.
    Meter(MeterId),
    /// A head-end, by name.
    Headend(String),
}

impl Peer {
    /// The name in the certificate, for example `urn:meterseal:meter:MSL0000000001`.
    pub fn uri(&self) -> String {
        match self {
            Self::Meter(meter) => format!("{METER_URI}{meter}"),
            Self::Headend(name) => format!("{HEADEND_URI}{name}"),
        }
    }

    /// The DNS name that stands beside it, because WebPKI wants one.
    pub(crate) fn dns_name(&self) -> String {
        match self {
            Self::Meter(meter) => format!("{}.meter.{DOMAIN}", meter.to_string().to_ascii_lowercase()),
            Self::Headend(name) => format!("{name}.headend.{DOMAIN}"),
        }
    }

    /// The head-end that a DNS name addresses.
    pub(crate) fn headend_at(dns_name: &str) -> Option<Self> {
        let name = dns_name.strip_suffix(&format!(".headend.{DOMAIN}"))?;
        is_headend_name(name).then(|| Self::Headend(name.to_owned()))
    }

    fn from_uri(uri: &str) -> Option<Self> {
        if let Some(meter) = uri.strip_prefix(METER_URI) {
            return meter.parse().ok().map(Self::Meter);
        }
        let name = uri.strip_prefix(HEADEND_URI)?;
        is_headend_name(name).then(|| Self::Headend(name.to_owned()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meter(meter) => write!(f, "meter {meter}"),
            Self::Headend(name) => write!(f, "head-end {name}"),
        }
    }
}

/// Who is at the other end. To be called after *every* handshake: on a resumed session no verifier has run, so the
/// certificates of the session's first handshake are judged again, their validity now included. That they chain to
/// a trusted authority was checked in that first handshake, under the same configuration.
///
/// # Errors
/// [`PeerError`]; the connection must then be closed.
pub fn peer_identity(connection: &CommonState) -> Result<Peer, PeerError> {
    if connection.is_handshaking() {
        return Err(PeerError::NoCertificate);
    }
    let chain = connection.peer_certificates().unwrap_or_default();
    let own = chain.first().ok_or(PeerError::NoCertificate)?;
    for certificate in chain {
        check_validity(certificate, SystemTime::now())?;
    }
    named_in(own)
}

/// The one peer that a certificate names.
pub(crate) fn named_in(certificate: &CertificateDer<'_>) -> Result<Peer, PeerError> {
    let parsed = parse(certificate)?;
    let names = parsed.subject_alternative_name().map_err(|_| PeerError::Malformed)?;
    let mut found = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::URI(uri) if uri.starts_with(URI_PREFIX) => Some(*uri),
        _ => None,
    });
    match (found.next(), found.next()) {
        (Some(uri), None) => Peer::from_uri(uri).ok_or_else(|| PeerError::BadName { uri: shown(uri) }),
        (None, _) => Err(PeerError::NoName),
        (Some(_), Some(_)) => Err(PeerError::SeveralNames),
    }
}

/// Whether this is a head-end's name: a DNS label in lower case.
pub(crate) fn is_headend_name(name: &str) -> bool {
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
    /// No name of this scheme.
    #[error("its certificate names neither a meter nor a head-end (no URI urn:meterseal:…)")]
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

const URI_PREFIX: &str = "urn:meterseal:";
const METER_URI: &str = "urn:meterseal:meter:";
const HEADEND_URI: &str = "urn:meterseal:headend:";
/// `internal` is kept for private use (ICANN, 2024): the names resolve nowhere.
const DOMAIN: &str = "meterseal.internal";

fn check_validity(certificate: &CertificateDer<'_>, now: SystemTime) -> Result<(), PeerError> {
    let parsed = parse(certificate)?;
    let validity = parsed.validity();
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    if (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now) {
        return Ok(());
    }
    Err(PeerError::NotValidNow {
        from: validity.not_before.to_string(),
        until: validity.not_after.to_string(),
    })
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PeerError> {
    X509Certificate::from_der(certificate).map(|(_, parsed)| parsed).map_err(|_| PeerError::Malformed)
}

fn shown(uri: &str) -> String {
    uri.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_survives_its_uri() {
        for peer in [Peer::Meter("MSL0000000001".parse().unwrap()), Peer::Headend("north-1".into())] {
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
            assert!(is_headend_name(name));
            let peer = Peer::Headend(name.into());
            assert_eq!(Peer::headend_at(&peer.dns_name()), Some(peer));
        }
        for name in ["", "-a", "a-", "A", "a.b", "ä", &"a".repeat(64)] {
            assert!(!is_headend_name(name), "{name}");
        }
    }
}
