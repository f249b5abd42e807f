//! One signed list, read and verified.

use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use thiserror::Error;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, ReasonCode, X509Certificate};

use crate::pki::Serial;
use crate::pki::moment;
use crate::tls;

/// A list whose signature was verified.
#[derive(Clone, Debug)]
pub struct ParsedList {
    /// Whose it is, for people.
    pub issuer: String,
    /// Its issuer's distinguished name, DER.
    pub(crate) issuer_name: Vec<u8>,
    /// Counts an issuer's lists (RFC 5280, 5.2.3).
    pub number: u64,
    /// When the next one is due.
    pub next_update: Option<SystemTime>,
    /// What it names.
    pub revoked: Vec<Revoked>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Which certificate of the issuer.
    pub serial: Serial,
    /// Since when.
    pub at: SystemTime,
    /// Why: the code of RFC 5280, 5.3.1; 0 where nothing is said.
    pub reason: u8,
}

impl ParsedList {
    /// Reads a list (DER) that one of `authorities` must have signed.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn verify(der: &[u8], authorities: &[CertificateDer<'_>]) -> Result<Self, ListError> {
        if der.len() > MAX_LIST {
            return Err(ListError::TooLong);
        }
        let list = match CertificateRevocationList::from_der(der) {
            Ok((&[], list)) => list,
            _ => return Err(ListError::Malformed),
        };
        let issuer = tls::shown(&list.issuer().to_string());
        let mut found = false;
        let verified = authorities.iter().any(|authority| {
            let Ok((_, authority)) = X509Certificate::from_der(authority) else { return false };
            if authority.subject().as_raw() != list.issuer().as_raw() || !authority.is_ca() {
                return false;
            }
            found = true;
            let may_sign = authority.key_usage().ok().flatten().is_some_and(|usage| usage.value.crl_sign());
            may_sign && list.verify_signature(authority.public_key()).is_ok()
        });
        if !found {
            return Err(ListError::UnknownIssuer { issuer });
        }
        if !verified {
            return Err(ListError::Signature { issuer });
        }
        // A list of changes only, or for some kinds of certificates only, would be misread (RFC 5280, 5.2): whoever
        // stands on the full list would come in. Our authorities make neither.
        let foreign = list.extensions().iter().any(|extension| extension.critical);
        let number = list.crl_number().and_then(|number| u64::try_from(number).ok());
        let (Some(number), false) = (number, foreign) else { return Err(ListError::Unusable { issuer }) };
        Ok(Self {
            issuer,
            issuer_name: list.issuer().as_raw().to_vec(),
            number,
            next_update: list.next_update().map(|time| at(time.timestamp())),
            revoked: list
                .iter_revoked_certificates()
                .map(|entry| Revoked {
                    serial: Serial::from_bytes(entry.raw_serial()),
                    at: at(entry.revocation_date.timestamp()),
                    reason: entry.reason_code().map_or(0, |(_, ReasonCode(code))| code),
                })
                .collect(),
        })
    }

    /// Whether the list names this certificate.
    pub fn contains(&self, serial: &Serial) -> bool {
        self.revoked.iter().any(|revoked| revoked.serial == *serial)
    }
}

/// Takes the list out of a PEM file (`-----BEGIN X509 CRL-----`).
///
/// # Errors
/// [`ListError::Malformed`].
pub fn list_from_pem(text: &str) -> Result<Vec<u8>, ListError> {
    CertificateRevocationListDer::from_pem_slice(text.as_bytes())
        .map(|list| list.as_ref().to_vec())
        .map_err(|_| ListError::Malformed)
}

/// Why a list is not taken. What was in effect before stays so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListError {
    /// No list at all.
    #[error("this is no list of revoked certificates, or it was damaged")]
    Malformed,
    /// Longer than is read.
    #[error("the list is longer than {MAX_LIST} bytes")]
    TooLong,
    /// Somebody else's.
    #[error("the list is of {issuer}, which is no authority that is trusted here")]
    UnknownIssuer {
        /// Whose.
        issuer: String,
    },
    /// Forged or damaged.
    #[error("the signature on the list of {issuer} is wrong")]
    Signature {
        /// Whose it claims to be.
        issuer: String,
    },
    /// Of a kind that is not used here.
    #[error("the list of {issuer} has no number, or is one of changes or of some certificates only")]
    Unusable {
        /// Whose.
        issuer: String,
    },
    /// Not newer.
    #[error(
        "the list of {issuer} has number {number}, but {known} is in effect already; an older list undoes nothing"
    )]
    Older {
        /// Whose.
        issuer: String,
        /// Its number.
        number: u64,
        /// The one in effect.
        known: u64,
    },
}

impl Revoked {
    /// The entry for people: number, moment, reason.
    pub fn describe(&self) -> String {
        let reason = match self.reason {
            1 => ", its key may be in other hands",
            4 => ", replaced by a newer one",
            5 => ", no longer used",
            9 => ", its rights were withdrawn",
            _ => "",
        };
        format!("{} revoked at {}{reason}", self.serial, moment(self.at))
    }
}

/// SHA-256, to tell lists apart.
pub(super) fn digest(der: &[u8]) -> [u8; 32] {
    use aws_lc_rs::digest::{SHA256, digest};
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, der).as_ref());
    bytes
}

fn at(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// 16 MiB: some 400 000 entries.
const MAX_LIST: usize = 16 << 20;
/// The same in PEM.
pub(crate) const MAX_LIST_PEM: u64 = 24 << 20;
