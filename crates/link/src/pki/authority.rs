//! Certificates made and signed: the root, the intermediates, and what they issue (profile: RFC 5280).

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use meterseal_seal::chain::CERTIFICATION_KEY_URI;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::certificate::Serial;
use super::identity::IssuedIdentity;
use super::signing::CertificateKey;
use super::subject::Subject;
use super::{PkiError, Validity, files, register};

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
        let authority = Self::read(dir, name)?;
        check_signed(&dir.join(format!("{name}.cert.pem")), &authority.certificate, root)?;
        authority.issuer()?;
        Ok(authority)
    }

    /// Reads the root. Its key is not looked at: it may be kept elsewhere until it is needed.
    pub(super) fn open_root(dir: &Path) -> Result<Self, PkiError> {
        let root = Self::read(dir, "root")?;
        check_signed(&dir.join("root.cert.pem"), &root.certificate, &root.certificate)?;
        Ok(root)
    }

    fn read(dir: &Path, name: &str) -> Result<Self, PkiError> {
        let path = dir.join(format!("{name}.cert.pem"));
        let certificate_pem = files::read_text(&path)?.to_string();
        let certificate = files::read_certificates(&path)?.remove(0);
        Ok(Self { certificate, certificate_pem, key_path: dir.join(format!("{name}.key.pem")) })
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Makes a key pair and signs a certificate for it. `dir` remembers it.
    pub(super) fn issue(
        &self,
        dir: &Path,
        subject: &Subject,
        validity: Validity,
    ) -> Result<IssuedIdentity, PkiError> {
        let key = new_key(&self.key_path)?;
        let certificate = self.certify(dir, subject, validity, &key)?;
        Ok(IssuedIdentity {
            chain_pem: certificate.pem() + &self.certificate_pem,
            chain: vec![certificate.der().clone(), self.certificate.clone()],
            key_pem: encoded(&self.key_path, &key)?,
        })
    }

    /// Signs a certificate for a key that is somewhere else. `dir` remembers it.
    pub(super) fn certify(
        &self,
        dir: &Path,
        subject: &Subject,
        validity: Validity,
        key: &impl PublicKeyData,
    ) -> Result<rcgen::Certificate, PkiError> {
        let failed = |error: rcgen::Error| PkiError::new(&self.key_path, format!("could not sign: {error}"));
        let mut params = base(&self.key_path, &subject.common_name, validity)?;
        params.subject_alt_names = subject.names.clone();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = subject.purposes.clone();
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        let certificate = params.signed_by(key, &self.issuer()?).map_err(failed)?;
        register::remember(dir, &certificate.pem())?;
        Ok(certificate)
    }

    /// What signs, its key read from the file.
    pub(super) fn issuer(&self) -> Result<Issuer<'static, CertificateKey>, PkiError> {
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

/// Makes the root and stores it; gives what signs with it.
pub(super) fn make_root(dir: &Path, deployment: &str) -> Result<Issuer<'static, CertificateKey>, PkiError> {
    let failed = |error: rcgen::Error| PkiError::new(dir, format!("could not make the root: {error}"));
    let key = new_key(dir)?;
    let params = authority_params(dir, "root", deployment, 1, Validity::from_now(ROOT_VALIDITY))?;
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
    let key = new_key(dir)?;
    let certificate = certify_intermediate(dir, name, deployment, root, &key)?;
    store(dir, name, &certificate, &key)
}

/// Certifies the key of an intermediate.
pub(super) fn certify_intermediate(
    dir: &Path,
    name: &str,
    deployment: &str,
    root: &Issuer<'_, CertificateKey>,
    key: &impl PublicKeyData,
) -> Result<rcgen::Certificate, PkiError> {
    let failed =
        |error: rcgen::Error| PkiError::new(dir, format!("could not make the {name} authority: {error}"));
    let mut params = authority_params(dir, name, deployment, 0, Validity::from_now(INTERMEDIATE_VALIDITY))?;
    params.use_authority_key_identifier_extension = true;
    if name == super::CERTIFICATION {
        // Its key signs marks itself, and says so: no other authority's does.
        let purpose = Ia5String::try_from(CERTIFICATION_KEY_URI).expect("our own names are ASCII");
        params.subject_alt_names.push(SanType::URI(purpose));
        params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    }
    params.signed_by(key, root).map_err(failed)
}

/// Checks that `issuer` signed `certificate`, that both are authorities, and that both are valid now.
pub(super) fn check_signed(
    path: &Path,
    certificate: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
) -> Result<(), PkiError> {
    let signed = is_signed(certificate, issuer);
    let certificate = parse(path, certificate)?;
    if !signed {
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

/// Whether `issuer` signed `certificate`.
pub(super) fn is_signed(certificate: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> bool {
    let parsed = (X509Certificate::from_der(certificate), X509Certificate::from_der(issuer));
    let (Ok((_, certificate)), Ok((_, issuer))) = parsed else { return false };
    certificate.issuer().as_raw() == issuer.subject().as_raw()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
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
fn authority_params(
    path: &Path,
    name: &str,
    deployment: &str,
    path_length: u8,
    validity: Validity,
) -> Result<CertificateParams, PkiError> {
    let mut params = base(path, &format!("Meterseal {name} {deployment}"), validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn base(path: &Path, common_name: &str, validity: Validity) -> Result<CertificateParams, PkiError> {
    // Random, because the library's own is made of the key, and a renewed certificate may keep its key.
    let serial = Serial::random()
        .map_err(|error| PkiError::new(path, format!("could not sign: no random numbers: {error}")))?;
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from(serial.bytes().to_vec()));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    // rcgen counts in a type of another library's, which a date and std's durations make.
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(validity.not_before);
    params.not_after = epoch + since_epoch(validity.not_after);
    Ok(params)
}

/// Whole seconds since 1970; none before.
pub(super) fn since_epoch(time: SystemTime) -> Duration {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Duration::from_secs(since.as_secs())
}

const YEAR: u64 = 365 * 24 * 3600;
/// A meter lives 20 years (design, decision 4); the root outlives it.
const ROOT_VALIDITY: Duration = Duration::from_secs(25 * YEAR);
const INTERMEDIATE_VALIDITY: Duration = Duration::from_secs(20 * YEAR);
