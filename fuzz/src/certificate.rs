//! Certificates, certification requests, lists of revoked certificates, and their texts, whoever made them.

use std::path::Path;

use meterseal_link::Identity;
use meterseal_link::pki::{Certificate, Request};
use meterseal_link::revocation::{Revocations, list_from_pem};
use rustls_pki_types::CertificateDer;

/// An authority whose lists are in the corpus. Its key is nowhere any more.
static AUTHORITY: &[u8] = include_bytes!("../fixtures/authority.der");

/// Any bytes, read as each of them.
pub fn run(data: &[u8]) {
    let der = CertificateDer::from(data);
    if let Ok(certificate) = Certificate::read(&der) {
        let _ = certificate.renewal_due();
        for name in [&certificate.subject, &certificate.issuer] {
            assert!(!name.chars().any(char::is_control), "a stranger writes the log's lines: {name:?}");
        }
    }
    if let Ok(request) = Request::verify(data) {
        let _ = request.is_for("MSL0000000042".parse().expect("an identifier"));
        assert!(!request.common_name().chars().any(char::is_control), "{:?}", request.common_name());
    }
    let revocations = Revocations::new(&[CertificateDer::from(AUTHORITY)]);
    let _ = revocations.load(data).map_err(|error| error.to_string());
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = list_from_pem(text).map(|der| revocations.load(&der));
        let _ = Identity::from_pem(text, text, Path::new("fuzz"));
    }
}
