//! Certificates made and signed: the root, the intermediates, and what they issue (profile: RFC 5280).

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use meterseal_model::MeterId;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData as _, SanType,
};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::identity::IssuedIdentity;
use super::signing::CertificateKey;
use super::{PkiError, Validity, files};
use crate::tls::{self, Peer};

/// An intermediate: its certificate in memory, its key in a file that is read for each use.
#[derive(Debug)]
pub(super) struct Authority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_path: PathBuf,
}

impl Authority {
    /// Reads an intermediate and checks that the root signed it and that its key belongs to it.
    pub(super) fn open(dir: &Path, name: &str, root: &CertificateDer<'_>) -> Result<Self, PkiError> {
        let path = dir.join(format!("{name}.cert.pem"));
        let certificate_pem = files::read_text(&path)?.to_string();
        let certificate = files::read_certificates(&path)?.remove(0);
        check_signed(&path, &certificate, root)?;
        let authority = Self { certificate, certificate_pem, key_path: dir.join(format!("{name}.key.pem")) };
        authority.issuer()?;
        Ok(authority)
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Makes a key pair and signs a certificate for it.
    pub(super) fn issue(&self, subject: &Subject, validity: Validity) -> Result<IssuedIdentity, PkiError> {
        let failed = |error: rcgen::Error| PkiError::new(&self.key_path, format!("could not sign: {error}"));
        let key = new_key(&self.key_path)?;
        let mut params = base(&subject.common_name, validity);
        params.subject_alt_names =
            vec![SanType::URI(subject.uri.clone()), SanType::DnsName(subject.dns_name.clone())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![subject.purpose.clone()];
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        let certificate = params.signed_by(&key, &self.issuer()?).map_err(failed)?;
        Ok(IssuedIdentity {
            chain_pem: certificate.pem() + &self.certificate_pem,
            chain: vec![certificate.der().clone(), self.certificate.clone()],
            key_pem: encoded(&self.key_path, &key)?,
        })
    }

    fn issuer(&self) -> Result<Issuer<'static, CertificateKey>, PkiError> {
        let pem = files::read_secret(&self.key_path)?;
        let key = CertificateKey::from_pem(&pem)
            .map_err(|error| PkiError::new(&self.key_path, format!("is no P-384 private key: {error}")))?;
        let certified = parse(&self.key_path, &self.certificate)?;
        if certified.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
            return Err(PkiError::new(&self.key_path, "does not belong to the certificate beside it")
                .hint("restore both from the same backup"));
        }
        Issuer::from_ca_cert_der(&self.certificate, key)
            .map_err(|error| PkiError::new(&self.key_path, format!("cannot issue certificates: {error}")))
    }
}

/// Whom a certificate is for.
pub(super) struct Subject {
    common_name: String,
    uri: Ia5String,
    dns_name: Ia5String,
    purpose: ExtendedKeyUsagePurpose,
}

impl Subject {
    pub(super) fn meter(meter: MeterId) -> Self {
        Self::new(&Peer::Meter(meter), meter.to_string(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    pub(super) fn headend(name: &str) -> Result<Self, PkiError> {
        if !tls::is_headend_name(name) {
            return Err(PkiError::new(Path::new(name), "is no name for a head-end")
                .hint("use up to 63 lower-case letters, digits and inner hyphens"));
        }
        let peer = Peer::Headend(name.to_owned());
        Ok(Self::new(&peer, format!("Meterseal head-end {name}"), ExtendedKeyUsagePurpose::ServerAuth))
    }

    fn new(peer: &Peer, common_name: String, purpose: ExtendedKeyUsagePurpose) -> Self {
        let ascii =
            |text: String| Ia5String::try_from(text).expect("identifiers and head-end names are ASCII");
        Self { common_name, uri: ascii(peer.uri()), dns_name: ascii(peer.dns_name()), purpose }
    }
}

/// Makes the root and stores it; gives what signs with it.
pub(super) fn make_root(dir: &Path, deployment: &str) -> Result<Issuer<'static, CertificateKey>, PkiError> {
    let failed = |error: rcgen::Error| PkiError::new(dir, format!("could not make the root: {error}"));
    let key = new_key(dir)?;
    let params = authority_params("root", deployment, 1, Validity::from_now(ROOT_VALIDITY));
    let certificate = params.self_signed(&key).map_err(failed)?;
    store(dir, "root", &certificate, &key)?;
    Ok(Issuer::new(params, key))
}

/// Makes an intermediate that the root signs, and stores it.
pub(super) fn make_intermediate(
    dir: &Path,
    name: &str,
    deployment: &str,
    root: &Issuer<'_, CertificateKey>,
) -> Result<(), PkiError> {
    let failed =
        |error: rcgen::Error| PkiError::new(dir, format!("could not make the {name} authority: {error}"));
    let key = new_key(dir)?;
    let mut params = authority_params(name, deployment, 0, Validity::from_now(INTERMEDIATE_VALIDITY));
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, root).map_err(failed)?;
    store(dir, name, &certificate, &key)
}

/// Checks that `issuer` signed `certificate`, that both are authorities, and that both are valid now.
pub(super) fn check_signed(
    path: &Path,
    certificate: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
) -> Result<(), PkiError> {
    let (certificate, issuer) = (parse(path, certificate)?, parse(path, issuer)?);
    if certificate.issuer() != issuer.subject()
        || certificate.verify_signature(Some(issuer.public_key())).is_err()
    {
        return Err(PkiError::new(path, "is not signed by the root beside it")
            .hint("restore the whole folder from one backup"));
    }
    if !certificate.is_ca() {
        return Err(PkiError::new(path, "is not the certificate of an authority"));
    }
    if !certificate.validity().is_valid() {
        return Err(PkiError::new(
            path,
            format!(
                "is valid from {} to {}, which is not now",
                certificate.validity().not_before,
                certificate.validity().not_after
            ),
        )
        .hint("check this computer's clock, or make new authorities"));
    }
    Ok(())
}

fn new_key(path: &Path) -> Result<CertificateKey, PkiError> {
    CertificateKey::generate().map_err(|error| PkiError::new(path, format!("could not make a key: {error}")))
}

fn encoded(path: &Path, key: &CertificateKey) -> Result<Zeroizing<String>, PkiError> {
    key.to_pem().map_err(|error| PkiError::new(path, error.to_string()))
}

fn parse<'a>(path: &Path, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PkiError> {
    match X509Certificate::from_der(der) {
        Ok((&[], certificate)) => Ok(certificate),
        _ => Err(PkiError::new(path, "is no X.509 certificate")),
    }
}

fn store(
    dir: &Path,
    name: &str,
    certificate: &rcgen::Certificate,
    key: &CertificateKey,
) -> Result<(), PkiError> {
    let path = dir.join(format!("{name}.key.pem"));
    files::write_secret(&path, encoded(&path, key)?.as_bytes())?;
    files::write_public(&dir.join(format!("{name}.cert.pem")), certificate.pem().as_bytes())
}

/// `deployment` tells authorities of different deployments apart: with equal names, a stranger's certificate would
/// look like one of ours with a broken signature.
fn authority_params(name: &str, deployment: &str, path_length: u8, validity: Validity) -> CertificateParams {
    let mut params = base(&format!("Meterseal {name} {deployment}"), validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn base(common_name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    // rcgen counts in its own type, which a date and std's durations make.
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    params.not_before = epoch + Duration::from_secs(since(validity.not_before).as_secs());
    params.not_after = epoch + Duration::from_secs(since(validity.not_after).as_secs());
    params
}

const YEAR: u64 = 365 * 24 * 3600;
/// A meter lives 20 years (design, decision 4); the root outlives it.
const ROOT_VALIDITY: Duration = Duration::from_secs(25 * YEAR);
const INTERMEDIATE_VALIDITY: Duration = Duration::from_secs(20 * YEAR);
