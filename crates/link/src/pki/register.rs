//! What an authority remembers: every certificate that it issued, one after the other in `issued.pem`, and for each
//! authority the signed list of those that it revoked (RFC 5280, 5), in `NAME.crl.pem`. The list itself is the
//! memory: a new one takes over what stands in the old one.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::authority::since_epoch;
use super::certificate::Serial;
use super::signing::CertificateKey;
use super::{PkiError, files};
use crate::revocation::{self, ParsedList};

/// Why a certificate was revoked (RFC 5280, 5.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// Not said.
    #[default]
    Unspecified,
    /// Its key is, or may be, in other hands.
    KeyCompromise,
    /// A newer certificate has taken its place.
    Superseded,
    /// It is no longer used.
    CessationOfOperation,
    /// Its owner has lost the rights that it gives.
    PrivilegeWithdrawn,
}

impl Reason {
    fn code(self) -> RevocationReason {
        match self {
            Self::Unspecified => RevocationReason::Unspecified,
            Self::KeyCompromise => RevocationReason::KeyCompromise,
            Self::Superseded => RevocationReason::Superseded,
            Self::CessationOfOperation => RevocationReason::CessationOfOperation,
            Self::PrivilegeWithdrawn => RevocationReason::PrivilegeWithdrawn,
        }
    }
}

/// The file of issued certificates in a folder of authorities.
pub(super) fn issued_path(dir: &Path) -> PathBuf {
    dir.join("issued.pem")
}

/// The list file of an authority.
pub(super) fn list_path(dir: &Path, authority: &str) -> PathBuf {
    dir.join(format!("{authority}.crl.pem"))
}

/// Remembers an issued certificate, on the disk before it is given out.
pub(super) fn remember(dir: &Path, pem: &str) -> Result<(), PkiError> {
    files::append(&issued_path(dir), format!("\n\n{pem}").as_bytes())
}

/// Every certificate that was issued, oldest first. What a cut write left half is passed over.
pub(super) fn issued(dir: &Path) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let path = issued_path(dir);
    let Some(text) = files::read_long(&path, MAX_ISSUED)? else { return Ok(Vec::new()) };
    Ok(text
        .split("\n\n")
        .filter_map(|section| CertificateDer::from_pem_slice(section.as_bytes()).ok())
        .collect())
}

/// Writes an authority's next list: what stood in the last one, and `add`. `true`: something was added.
pub(super) fn write_list(
    dir: &Path,
    authority: &str,
    certificate: &CertificateDer<'_>,
    issuer: &Issuer<'_, CertificateKey>,
    add: Option<(&Serial, Reason)>,
) -> Result<bool, PkiError> {
    let path = list_path(dir, authority);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let old = read_list(&path, certificate)?;
    let mut revoked: Vec<_> = old.iter().flat_map(|list| &list.revoked).map(entry).collect();
    let added = add.filter(|(serial, _)| !old.as_ref().is_some_and(|list| list.contains(serial)));
    if let Some((serial, reason)) = added {
        revoked.push(RevokedCertParams {
            serial_number: SerialNumber::from(serial.bytes().to_vec()),
            revocation_time: epoch + since_epoch(SystemTime::now()),
            reason_code: Some(reason.code()),
            invalidity_date: None,
        });
    }
    let number = old.map_or(0, |list| list.number) + 1;
    let now = SystemTime::now();
    let list = CertificateRevocationListParams {
        // As with certificates, an hour early for peers whose clock is slow.
        this_update: epoch + since_epoch(now - Duration::from_secs(3600)),
        next_update: epoch + since_epoch(now + LIST_VALIDITY),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: revoked,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let failed = |error: rcgen::Error| PkiError::new(&path, format!("could not be signed: {error}"));
    let pem = list.signed_by(issuer).and_then(|list| list.pem()).map_err(failed)?;
    files::write_public(&path, pem.as_bytes())?;
    Ok(added.is_some())
}

/// Reads an authority's list and checks its signature. `None`: there is none yet.
pub(super) fn read_list(
    path: &Path,
    certificate: &CertificateDer<'_>,
) -> Result<Option<ParsedList>, PkiError> {
    let Some(text) = files::read_long(path, revocation::MAX_LIST_PEM)? else { return Ok(None) };
    let wrong = |error: revocation::ListError| {
        PkiError::new(path, error.to_string())
            .hint("restore it from a backup; whoever is not on it comes in again")
    };
    let der = revocation::list_from_pem(&text).map_err(wrong)?;
    ParsedList::verify(&der, std::slice::from_ref(certificate)).map(Some).map_err(wrong)
}

fn entry(revoked: &revocation::Revoked) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from(revoked.serial.bytes().to_vec()),
        revocation_time: rcgen::date_time_ymd(1970, 1, 1) + since_epoch(revoked.at),
        reason_code: Some(match revoked.reason {
            1 => RevocationReason::KeyCompromise,
            4 => RevocationReason::Superseded,
            5 => RevocationReason::CessationOfOperation,
            9 => RevocationReason::PrivilegeWithdrawn,
            _ => RevocationReason::Unspecified,
        }),
        invalidity_date: None,
    }
}

/// Whether a list should be signed anew: half of its time is over.
pub(super) fn is_due(list: &ParsedList, now: SystemTime) -> bool {
    list.next_update.is_none_or(|next| next < now + LIST_VALIDITY / 2)
}

/// Until a list should have been replaced by the next.
const LIST_VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);
/// 64 MiB: some 50 000 certificates of P-384.
const MAX_ISSUED: u64 = 64 << 20;
