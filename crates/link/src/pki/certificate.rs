//! What a certificate says, for people and for lists: whom it names, its roles, when it is valid, its serial number.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use meterseal_model::{Roles, UnixMillis};
use meterseal_seal::chain::{BOOT_KEY_URI, CERTIFICATION_KEY_URI, LOG_KEY_URI};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::Validity;
use crate::tls::{self, Peer, PeerError};

/// A certificate's serial number: unique under its issuer (RFC 5280, 4.1.2.2), shown as hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// The longest that RFC 5280, 4.1.2.2 allows, bytes.
    const MAX: usize = 20;

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        // DER puts a zero before a number whose first bit is set.
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        Self(bytes[zeros..].to_vec())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// 127 unpredictable bits after a leading one, so that it is positive and always 16 bytes.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        bytes[0] = bytes[0] & 0x7F | 0x40;
        Ok(Self(bytes.to_vec()))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl FromStr for Serial {
    type Err = SerialError;

    /// Hexadecimal digits, with or without colons between the bytes.
    fn from_str(text: &str) -> Result<Self, SerialError> {
        let digits: Vec<u8> = text.bytes().filter(|&byte| byte != b':').collect();
        if digits.is_empty() || !digits.len().is_multiple_of(2) || digits.len() > 2 * (Self::MAX + 1) {
            return Err(SerialError);
        }
        let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8).ok_or(SerialError);
        let bytes: Result<Vec<u8>, _> =
            digits.chunks_exact(2).map(|pair| Ok(value(pair[0])? << 4 | value(pair[1])?)).collect();
        Ok(Self::from_bytes(&bytes?))
    }
}

/// A text that is no serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a serial number is an even number of hexadecimal digits, at most 40, as `meterseal pki list` shows them"
)]
pub struct SerialError;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its number under its issuer.
    pub serial: Serial,
    /// Its subject, as a person reads it.
    pub subject: String,
    /// Its issuer, as a person reads it.
    pub issuer: String,
    /// The issuer's distinguished name in DER: what lists of revoked certificates go by.
    pub(crate) issuer_name: Vec<u8>,
    /// Its own distinguished name in DER.
    pub(crate) subject_name: Vec<u8>,
    /// Whom it names as a TLS peer; `None` for an authority's own and for a log key's.
    pub peer: Option<Peer>,
    /// The roles that it gives.
    pub roles: Roles,
    /// From when until when.
    pub validity: Validity,
    /// Whether it is an authority's own.
    pub is_authority: bool,
    /// SHA-384 over its SubjectPublicKeyInfo; `None` when the key is not of P-384.
    pub key_fingerprint: Option<meterseal_model::Digest384>,
}

impl Certificate {
    /// Reads a certificate without judging it.
    ///
    /// # Errors
    /// [`PeerError`]: it is no certificate, or its names contradict each other.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, PeerError> {
        let parsed = match X509Certificate::from_der(der) {
            Ok((&[], parsed)) => parsed,
            _ => return Err(PeerError::Malformed),
        };
        let named = match tls::names_of(&parsed) {
            Ok(named) => Some(named),
            Err(PeerError::NoName) if parsed.is_ca() => None,
            Err(_) if is_no_peer(&parsed) => None,
            Err(error) => return Err(error),
        };
        let moment =
            |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Ok(Self {
            serial: Serial::from_bytes(parsed.raw_serial()),
            subject: common_name(parsed.subject()),
            issuer: common_name(parsed.issuer()),
            issuer_name: parsed.issuer().as_raw().to_vec(),
            subject_name: parsed.subject().as_raw().to_vec(),
            roles: named.as_ref().map_or(Roles::NONE, |named| named.roles),
            peer: named.map(|named| named.peer),
            validity: Validity {
                not_before: moment(parsed.validity().not_before.timestamp()),
                not_after: moment(parsed.validity().not_after.timestamp()),
            },
            is_authority: parsed.is_ca(),
            key_fingerprint: meterseal_seal::request::certified_key(der).map(|key| key.fingerprint()),
        })
    }

    /// When it should be renewed: after two thirds of its life.
    pub fn renewal_due(&self) -> SystemTime {
        self.validity.renewal_due()
    }
}

impl Validity {
    /// After two thirds of the time between its two ends.
    pub fn renewal_due(&self) -> SystemTime {
        self.not_before + self.length() / 3 * 2
    }

    /// From the first moment to the last.
    pub fn length(&self) -> Duration {
        self.not_after.duration_since(self.not_before).unwrap_or(Duration::ZERO)
    }
}

/// A moment in RFC 3339, for messages.
pub fn moment(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).to_string()
}

/// Whether it is the certificate of a key that seals a log, or of a boot stage: no TLS peer.
fn is_no_peer(parsed: &X509Certificate<'_>) -> bool {
    let names = parsed.subject_alternative_name().ok().flatten();
    let keys = [LOG_KEY_URI, BOOT_KEY_URI, CERTIFICATION_KEY_URI].map(GeneralName::URI);
    names.is_some_and(|names| keys.iter().any(|key| names.value.general_names.contains(key)))
}

fn common_name(name: &x509_parser::x509::X509Name<'_>) -> String {
    let text = match name.iter_common_name().next().and_then(|name| name.as_str().ok()) {
        Some(text) => text.to_owned(),
        None => name.to_string(),
    };
    tls::shown(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_survives_its_text_and_other_texts_are_refused() {
        let serial = Serial::random().unwrap();
        assert_eq!(serial.to_string().parse(), Ok(serial.clone()));
        assert_eq!("0A:1b:ff".parse::<Serial>().unwrap().to_string(), "0a1bff");
        assert_eq!("00ff".parse::<Serial>().unwrap().bytes(), [0xFF]);
        for text in ["", "a", "xx", "é1", &"ab".repeat(22)] {
            assert_eq!(text.parse::<Serial>(), Err(SerialError), "{text}");
        }
    }
}
