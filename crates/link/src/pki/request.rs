//! A certification request (PKCS#10, RFC 2986) as an authority sees it: does the asker hold the key, and who is it?

use meterseal_model::MeterId;
use meterseal_seal::SealPublicKey;
use thiserror::Error;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509CertificationRequest};

use crate::tls::{self, Peer};

/// A request whose asker holds the private key.
#[derive(Clone, Debug)]
pub struct Request {
    /// The public key.
    pub key: SealPublicKey,
    /// The common name that it gives.
    common_name: String,
    /// The names that it asks for.
    uris: Vec<String>,
}

impl Request {
    /// Reads a request (DER) and checks that it was signed with the key that it names.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn verify(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > MAX_REQUEST {
            return Err(RequestError::Malformed);
        }
        let request = match X509CertificationRequest::from_der(der) {
            Ok((&[], request)) => request,
            _ => return Err(RequestError::Malformed),
        };
        let info = &request.certification_request_info;
        let key = SealPublicKey::from_der(info.subject_pki.raw).map_err(|_| RequestError::Key)?;
        request.verify_signature().map_err(|_| RequestError::Possession)?;
        let common_name = match info.subject.iter_common_name().next().and_then(|name| name.as_str().ok()) {
            Some(name) => tls::shown(name),
            None => return Err(RequestError::NoName),
        };
        let mut uris = Vec::new();
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                uris.extend(names.general_names.iter().filter_map(|name| match name {
                    GeneralName::URI(uri) => Some(tls::shown(uri)),
                    _ => None,
                }));
            }
        }
        Ok(Self { key, common_name, uris })
    }

    /// Whether it is for this meter: its common name must be the meter's identifier, and any name of our scheme that
    /// it asks for the meter's.
    ///
    /// # Errors
    /// [`RequestError::Other`].
    pub fn is_for(&self, meter: MeterId) -> Result<(), RequestError> {
        let own = Peer::Meter(meter).uri();
        let other = |found: &str| RequestError::Other { found: found.to_owned(), expected: meter };
        if self.common_name != meter.to_string() {
            return Err(other(&self.common_name));
        }
        match self.uris.iter().find(|uri| uri.starts_with("urn:meterseal:") && **uri != own) {
            Some(uri) => Err(other(uri)),
            None => Ok(()),
        }
    }

    /// The common name that the request gives, for messages.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// No request.
    #[error("is no certification request (PKCS#10 in DER), or it was damaged")]
    Malformed,
    /// Another kind of key.
    #[error("is for a key that is not of P-384; make the key pair anew")]
    Key,
    /// Not signed with its own key.
    #[error("is not signed with the key that it names: who sent it does not hold the private half")]
    Possession,
    /// No common name.
    #[error("does not say who asks (no common name)")]
    NoName,
    /// It is for another.
    #[error("is for {found}, but {expected} is to be certified; find out who sent it")]
    Other {
        /// Who it is for.
        found: String,
        /// Who it should be for.
        expected: MeterId,
    },
}

/// Ours take 330 bytes; others' may carry more attributes.
const MAX_REQUEST: usize = 8 * 1024;
