//! Identities: a root; an intermediate each for the manufacturer, the utility and certification; what they issue,
//! and what they revoked. P-384 throughout.
//!
//! | certificate | signed by | names | purpose |
//! |---|---|---|---|
//! | root | itself | path length 1 | |
//! | manufacturer, utility, certification | root | path length 0 | |
//! | meter, device identity | manufacturer | `urn:meterseal:meter:MSL0000000001` | enrolment |
//! | meter, operational identity | utility | the same | TLS client to the head-end, server on the local port |
//! | meter, log key | manufacturer | the same and `urn:meterseal:key:log` | seals the meter's log |
//! | head-end | utility | `urn:meterseal:headend:NAME`, roles | TLS server |
//! | client | utility | `urn:meterseal:client:NAME`, roles | TLS client on a meter's local port |
//! | time | utility | `urn:meterseal:time:NAME` | signs time for meters without a clock |
//!
//! A role is one more URI, `urn:meterseal:role:reader` for example. The certification intermediate's key signs marks.
//!
//! A folder holds `NAME.cert.pem`, `NAME.key.pem` and `NAME.crl.pem` (what it revoked) of each authority, and
//! `issued.pem`. It appears whole or not at all, keys have mode 0600, and what is read back is checked: keys belong
//! to their certificates, the intermediates to the root, and lists to their authority. Whoever changes something
//! holds `lock`, so that the command line and a running head-end do not undo each other's work.

mod authority;
mod certificate;
mod files;
mod identity;
mod register;
mod request;
mod signing;
mod subject;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use meterseal_model::{MeterId, Role, Roles};
use meterseal_seal::chain::{ChainError, certification_key};
use meterseal_seal::{SealKey, SealPublicKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use thiserror::Error;

use crate::revocation::{Revocations, Revoked};
use crate::tls::{Peer, Trust};
use authority::Authority;
pub use certificate::{Certificate, Serial, SerialError, moment};
pub(crate) use files::{check_private, read_bytes};
pub use files::{read_certificates, read_secret, write_secret};
pub use identity::{Identity, IssuedIdentity};
pub use register::Reason;
pub use request::{Request, RequestError};
use subject::Subject;

/// The authorities of one deployment, in a folder.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    root: Authority,
    manufacturer: Authority,
    utility: Authority,
    certification: Authority,
    certification_key: SealPublicKey,
    revocations: Revocations,
}

impl Pki {
    /// Makes new authorities in `dir`, which must not exist yet.
    ///
    /// # Errors
    /// [`PkiError`]; nothing is left behind.
    pub fn create(dir: &Path) -> Result<Self, PkiError> {
        if dir.exists() {
            return Err(PkiError::new(dir, "is there already").hint("use it, or give another folder"));
        }
        let staging = files::staging_dir(dir)?;
        let made = Self::create_in(&staging).and_then(|()| files::publish_dir(&staging, dir));
        if made.is_err() {
            // Best effort: what failed is reported, and a leftover staging folder is harmless.
            let _ = std::fs::remove_dir_all(&staging);
        }
        made?;
        Self::open(dir)
    }

    /// Opens the authorities in `dir` and checks that they belong together. A folder of an older version gets what
    /// it lacks: a certificate for its certification key, and lists of what was revoked.
    ///
    /// # Errors
    /// [`PkiError`]: a file is missing, unreadable, readable by others, or not what it should be.
    pub fn open(dir: &Path) -> Result<Self, PkiError> {
        let root = Authority::open_root(dir)?;
        if Self::lacks_certification(dir) {
            let _lock = files::lock(dir)?;
            Self::certify_certification(dir, &root)?;
        }
        let open = |name| Authority::open(dir, name, root.certificate());
        let (manufacturer, utility, certification) =
            (open(MANUFACTURER)?, open(UTILITY)?, open(CERTIFICATION)?);
        let revocations = Revocations::new(
            &[&root, &manufacturer, &utility, &certification].map(|one| one.certificate().clone()),
        );
        let pki = Self {
            certification_key: Self::read_certification(dir)?,
            dir: dir.to_owned(),
            root,
            manufacturer,
            utility,
            certification,
            revocations,
        };
        pki.refresh(false)?;
        Ok(pki)
    }

    /// Opens the authorities in `dir`, or makes them where there is no such folder.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn open_or_create(dir: &Path) -> Result<Self, PkiError> {
        if dir.exists() { Self::open(dir) } else { Self::create(dir) }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a key pair and a device identity for a meter, as its manufacturer does; valid for twenty years.
    ///
    /// # Errors
    /// [`PkiError`] when the manufacturer's key cannot be read or used.
    pub fn issue_meter(&self, meter: MeterId) -> Result<IssuedIdentity, PkiError> {
        self.issue_meter_for(meter, Validity::from_now(DEVICE_VALIDITY))
    }

    /// Makes a key pair and a device identity for a meter, as its manufacturer does.
    ///
    /// # Errors
    /// [`PkiError`] when the manufacturer's key cannot be read or used.
    pub fn issue_meter_for(&self, meter: MeterId, validity: Validity) -> Result<IssuedIdentity, PkiError> {
        self.manufacturer.issue(&self.dir, &Subject::meter(meter), validity)
    }

    /// Certifies, as its manufacturer, the device identity of a meter whose key pair was made on the device, and
    /// gives the chain. The request must be the meter's own.
    ///
    /// # Errors
    /// [`PkiError`] when the request is not what it should be, or the manufacturer's key cannot be read or used.
    pub fn sign_device_request(
        &self,
        meter: MeterId,
        request: &[u8],
        validity: Validity,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        self.sign(&self.manufacturer, meter, request, validity)
    }

    /// Makes the operational identity of a meter: signs, as its utility, the request (PKCS#10, DER) that the meter
    /// made for a key pair of its own, and gives the chain. The request must prove that the meter holds the key, and
    /// be for this meter; its names are not copied but made anew.
    ///
    /// # Errors
    /// [`PkiError`] when the request is not what it should be, or the utility's key cannot be read or used.
    pub fn sign_request(
        &self,
        meter: MeterId,
        request: &[u8],
        validity: Validity,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        self.sign(&self.utility, meter, request, validity)
    }

    /// Makes a key pair and an operational identity for a meter in one step, for virtual meters whose keys live beside
    /// their authorities: a fleet that is made at once. A device makes its keys itself, and
    /// [`sign_request`](Self::sign_request) answers it.
    ///
    /// # Errors
    /// [`PkiError`] when the utility's key cannot be read or used.
    pub fn issue_operational(&self, meter: MeterId, validity: Validity) -> Result<IssuedIdentity, PkiError> {
        self.utility.issue(&self.dir, &Subject::meter(meter), validity)
    }

    /// Whether a meter's certificate is an operational one: of the utility, and not of the manufacturer. Only the names
    /// are compared.
    pub fn is_operational(&self, certificate: &Certificate) -> bool {
        let utility = Certificate::read(self.utility.certificate());
        utility.is_ok_and(|utility| utility.subject_name == certificate.issuer_name)
    }

    /// Certifies a head-end's or time source's key that is in a key store, and gives the chain.
    ///
    /// # Errors
    /// [`PkiError`] when `peer` is neither, its name is none, or the utility's key cannot be read or used.
    pub fn certify_own(
        &self,
        peer: &Peer,
        key: &SealPublicKey,
        validity: Validity,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        let subject = match peer {
            Peer::Headend(name) => Subject::headend(name, HEADEND_ROLES)?,
            Peer::Time(name) => Subject::time(name)?,
            Peer::Meter(_) | Peer::Client(_) => {
                return Err(PkiError::new(Path::new(&peer.uri()), "is no head-end and no time source"));
            }
        };
        let key = signing::ForeignKey::new(key);
        let certificate = self.utility.certify(&self.dir, &subject, validity, &key)?;
        Ok(vec![certificate.der().clone(), self.utility.certificate().clone()])
    }

    /// Certifies, as its manufacturer, the key with which a meter seals its log, and gives the chain. It lasts as long
    /// as the meter does.
    ///
    /// # Errors
    /// [`PkiError`] when the manufacturer's key cannot be read or used.
    pub fn certify_log_key(
        &self,
        meter: MeterId,
        key: &SealPublicKey,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        self.certify_device_key(&Subject::log_key(meter), key)
    }

    /// Certifies, as its manufacturer, the key with which a meter's boot stage vouches for the image that it starts, and
    /// gives the chain. It lasts as long as the meter does.
    ///
    /// # Errors
    /// [`PkiError`] when the manufacturer's key cannot be read or used.
    pub fn certify_boot_key(
        &self,
        meter: MeterId,
        key: &SealPublicKey,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        self.certify_device_key(&Subject::boot_key(meter), key)
    }

    fn certify_device_key(
        &self,
        subject: &Subject,
        key: &SealPublicKey,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        let key = signing::ForeignKey::new(key);
        let validity = Validity::from_now(DEVICE_VALIDITY);
        let certificate = self.manufacturer.certify(&self.dir, subject, validity, &key)?;
        Ok(vec![certificate.der().clone(), self.manufacturer.certificate().clone()])
    }

    fn sign(
        &self,
        authority: &Authority,
        meter: MeterId,
        request: &[u8],
        validity: Validity,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        let request =
            Request::verify(request).and_then(|request| request.is_for(meter).map(|()| request)).map_err(
                |error| PkiError::new(Path::new(&format!("the request of {meter}")), error.to_string()),
            )?;
        let key = signing::ForeignKey::new(&request.key);
        let certificate = authority.certify(&self.dir, &Subject::meter(meter), validity, &key)?;
        Ok(vec![certificate.der().clone(), authority.certificate().clone()])
    }

    /// Makes a key pair and a certificate for a head-end, valid for two years. The name is a DNS label: lower-case
    /// letters, digits and inner hyphens, at most 63.
    ///
    /// # Errors
    /// [`PkiError`] when the name is none, or the utility's key cannot be read or used.
    pub fn issue_headend(&self, name: &str) -> Result<IssuedIdentity, PkiError> {
        self.issue_headend_for(name, Validity::from_now(HEADEND_VALIDITY))
    }

    /// Makes a key pair and a certificate for a head-end.
    ///
    /// # Errors
    /// [`PkiError`] when the name is none, or the utility's key cannot be read or used.
    pub fn issue_headend_for(&self, name: &str, validity: Validity) -> Result<IssuedIdentity, PkiError> {
        self.utility.issue(&self.dir, &Subject::headend(name, HEADEND_ROLES)?, validity)
    }

    /// Makes a key pair and a certificate for a person or program that talks to meters on their local port.
    ///
    /// # Errors
    /// [`PkiError`] when the name is none, there is no role, or the utility's key cannot be read or used.
    pub fn issue_client(
        &self,
        name: &str,
        roles: Roles,
        validity: Validity,
    ) -> Result<IssuedIdentity, PkiError> {
        self.utility.issue(&self.dir, &Subject::client(name, roles)?, validity)
    }

    /// Makes a key pair and a certificate for a source of signed time.
    ///
    /// # Errors
    /// [`PkiError`] when the name is none, or the utility's key cannot be read or used.
    pub fn issue_time(&self, name: &str, validity: Validity) -> Result<IssuedIdentity, PkiError> {
        self.utility.issue(&self.dir, &Subject::time(name)?, validity)
    }

    /// Makes a new key pair and certificate with the names and roles of an older one. The older one stays valid
    /// until its end; revoke it when it must not be.
    ///
    /// # Errors
    /// [`PkiError`] when it is none that these authorities issue, or was revoked.
    pub fn renew(
        &self,
        certificate: &CertificateDer<'_>,
        validity: Validity,
    ) -> Result<IssuedIdentity, PkiError> {
        let (old, authority) = self.own(certificate)?;
        if self.revocations.is_revoked(&old) {
            return Err(PkiError::new(Path::new(&old.serial.to_string()), "was revoked")
                .hint("find out why; if all is well, issue a new identity"));
        }
        let subject = match &old.peer {
            Some(Peer::Meter(meter)) => Subject::meter(*meter),
            Some(Peer::Headend(name)) => Subject::headend(name, old.roles)?,
            Some(Peer::Client(name)) => Subject::client(name, old.roles)?,
            Some(Peer::Time(name)) => Subject::time(name)?,
            None => {
                return Err(PkiError::new(
                    Path::new(&old.subject),
                    "is the certificate of an authority, or of a log key",
                )
                .hint(
                    "authorities are made by `meterseal pki init`; a log key's lasts as long as its meter",
                ));
            }
        };
        authority.issue(&self.dir, &subject, validity)
    }

    /// Revokes a certificate for good, whether it names a peer or is an intermediate's own. `false`: it was revoked
    /// before. It takes effect wherever the authority's new list is read.
    ///
    /// # Errors
    /// [`PkiError`] when it is not of these authorities, or the authority's key cannot be read or used.
    pub fn revoke(&self, certificate: &CertificateDer<'_>, reason: Reason) -> Result<bool, PkiError> {
        let (found, authority) = self.own(certificate)?;
        let _lock = files::lock(&self.dir)?;
        let name = self.name_of(authority);
        let added = register::write_list(
            &self.dir,
            name,
            authority.certificate(),
            &authority.issuer()?,
            Some((&found.serial, reason)),
        )?;
        self.reload(name)?;
        Ok(added)
    }

    /// Signs the lists of revoked certificates anew: those whose time is half over, or `all`.
    ///
    /// # Errors
    /// [`PkiError`] when a list is not what it should be, or an authority's key cannot be read or used.
    pub fn refresh(&self, all: bool) -> Result<(), PkiError> {
        let _lock = files::lock(&self.dir)?;
        for (name, authority) in self.authorities() {
            let path = register::list_path(&self.dir, name);
            let list = register::read_list(&path, authority.certificate())?;
            let due = all || list.is_none_or(|list| register::is_due(&list, SystemTime::now()));
            // A root's key may be kept elsewhere.
            let away = name == ROOT && !self.dir.join("root.key.pem").exists();
            if due && !away {
                let issuer = authority.issuer()?;
                register::write_list(&self.dir, name, authority.certificate(), &issuer, None)?;
            }
            self.reload(name)?;
        }
        Ok(())
    }

    /// Every certificate that was issued here, oldest first.
    ///
    /// # Errors
    /// [`PkiError`] when the file cannot be read.
    pub fn issued(&self) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        register::issued(&self.dir)
    }

    /// The issued certificate with this serial number.
    ///
    /// # Errors
    /// [`PkiError`] when there is none.
    pub fn find(&self, serial: &Serial) -> Result<CertificateDer<'static>, PkiError> {
        let found = self
            .issued()?
            .into_iter()
            .find(|der| Certificate::read(der).is_ok_and(|certificate| certificate.serial == *serial));
        found.ok_or_else(|| {
            PkiError::new(&register::issued_path(&self.dir), format!("holds no certificate {serial}"))
                .hint("`meterseal pki list` shows them; or give the certificate's file")
        })
    }

    /// Everything that these authorities revoked, as their lists in the folder say.
    ///
    /// # Errors
    /// [`PkiError`] when a list cannot be read.
    pub fn revoked(&self) -> Result<RevokedEntries, PkiError> {
        let mut entries = HashMap::new();
        for (name, authority) in self.authorities() {
            let path = register::list_path(&self.dir, name);
            let Some(list) = register::read_list(&path, authority.certificate())? else { continue };
            for revoked in list.revoked {
                entries.insert((list.issuer_name.clone(), revoked.serial.clone()), revoked);
            }
        }
        Ok(RevokedEntries(entries))
    }

    /// Whom the holders of these authorities' certificates accept: meters with either identity, head-ends, clients
    /// and time sources of the utility, and none that was revoked as far as this folder knows. What is revoked later
    /// is learnt by [`watch`](crate::revocation::watch)ing [`Self::dir`].
    pub fn trust(&self) -> Trust {
        let utility = self.utility.certificate().clone();
        Trust {
            meters: vec![self.manufacturer.certificate().clone(), utility.clone()],
            headends: vec![utility],
            revocations: self.revocations.clone(),
        }
    }

    /// The root's certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        self.root.certificate()
    }

    /// The certification authority's certificate: what vouches for the key that signs marks.
    pub fn certification(&self) -> &CertificateDer<'static> {
        self.certification.certificate()
    }

    /// The public key that marks are verified with.
    pub fn certification_key(&self) -> &SealPublicKey {
        &self.certification_key
    }

    /// The private key that marks are signed with, read from its file.
    ///
    /// # Errors
    /// [`PkiError`] when the file cannot be read, or belongs to another public key.
    pub fn certification_signer(&self) -> Result<SealKey, PkiError> {
        let path = self.dir.join("certification.key.pem");
        let key = SealKey::from_pkcs8_pem(&files::read_secret(&path)?)
            .map_err(|error| PkiError::new(&path, error.to_string()))?;
        if key.public() != &self.certification_key {
            return Err(PkiError::new(&path, "does not belong to certification.pub.pem beside it"));
        }
        Ok(key)
    }

    fn authorities(&self) -> [(&'static str, &Authority); 4] {
        [
            (ROOT, &self.root),
            (MANUFACTURER, &self.manufacturer),
            (UTILITY, &self.utility),
            (CERTIFICATION, &self.certification),
        ]
    }

    fn name_of(&self, authority: &Authority) -> &'static str {
        let same = |(_, other): &(&str, &Authority)| std::ptr::eq(*other, authority);
        self.authorities().into_iter().find(same).map_or(ROOT, |(name, _)| name)
    }

    /// Reads a certificate and finds the authority that signed it.
    fn own(&self, der: &CertificateDer<'_>) -> Result<(Certificate, &Authority), PkiError> {
        let read = Certificate::read(der)
            .map_err(|error| PkiError::new(Path::new("the certificate"), format!("is not used: {error}")))?;
        let signed = self
            .authorities()
            .into_iter()
            .map(|(_, authority)| authority)
            .find(|authority| authority::is_signed(der, authority.certificate()));
        match signed {
            Some(authority) if *der != *self.root.certificate() => Ok((read, authority)),
            _ => Err(PkiError::new(
                Path::new(&read.subject),
                "was not issued by the authorities in this folder",
            )
            .hint("give their folder with --pki")),
        }
    }

    fn reload(&self, name: &str) -> Result<(), PkiError> {
        use crate::revocation::ListError;
        let path = register::list_path(&self.dir, name);
        let Some(text) = files::read_long(&path, crate::revocation::MAX_LIST_PEM)? else { return Ok(()) };
        let loaded = crate::revocation::list_from_pem(&text).and_then(|der| self.revocations.load(&der));
        match loaded {
            Ok(_) => Ok(()),
            Err(error @ ListError::Older { .. }) => {
                tracing::warn!(target: "meterseal::revocation", path = %path.display(), "{error}");
                Ok(())
            }
            Err(error) => Err(PkiError::new(&path, error.to_string())),
        }
    }

    fn create_in(dir: &Path) -> Result<(), PkiError> {
        let no_random = |error| PkiError::new(dir, format!("could not be made: no random numbers: {error}"));
        let mut deployment = [0u8; 4];
        getrandom::fill(&mut deployment).map_err(no_random)?;
        let deployment = format!("{:08x}", u32::from_be_bytes(deployment));
        let root = authority::make_root(dir, &deployment)?;
        for name in [MANUFACTURER, UTILITY, CERTIFICATION] {
            authority::make_intermediate(dir, name, &deployment, &root)?;
        }
        let private = dir.join("certification.key.pem");
        let key = SealKey::from_pkcs8_pem(&files::read_secret(&private)?)
            .map_err(|error| PkiError::new(&private, error.to_string()))?;
        let public = dir.join("certification.pub.pem");
        let encoded = key.public().to_pem().map_err(|error| PkiError::new(&public, error.to_string()))?;
        files::write_public(&public, encoded.as_bytes())
    }

    /// Whether the certification key has no certificate, as in folders of version 0.1, or one that does not say what it is
    /// for; that one is replaced only where the root's key lies beside it.
    fn lacks_certification(dir: &Path) -> bool {
        let path = dir.join("certification.cert.pem");
        if !path.exists() {
            return true;
        }
        let says = |der: &CertificateDer<'_>| match certification_key(der, &[]) {
            Err(ChainError::Purpose(_)) => false,
            // Whatever else is wrong with it is found out when it is opened.
            _ => true,
        };
        let known = files::read_certificates(&path).is_ok_and(|chain| chain.first().is_none_or(says));
        !known && dir.join("root.key.pem").exists()
    }

    /// Certifies the certification key: it stays the same, and so do the marks that it signed.
    fn certify_certification(dir: &Path, root: &Authority) -> Result<(), PkiError> {
        let key = signing::ForeignKey::new(&Self::read_certification(dir)?);
        let subject = Certificate::read(root.certificate()).map(|root| root.subject).unwrap_or_default();
        let deployment = subject.rsplit(' ').next().unwrap_or_default();
        let certificate =
            authority::certify_intermediate(dir, CERTIFICATION, deployment, &root.issuer()?, &key)?;
        files::write_public(&dir.join("certification.cert.pem"), certificate.pem().as_bytes())
    }

    fn read_certification(dir: &Path) -> Result<SealPublicKey, PkiError> {
        let path = dir.join("certification.pub.pem");
        SealPublicKey::from_pem(&files::read_text(&path)?)
            .map_err(|error| PkiError::new(&path, error.to_string()))
    }
}

/// What answers meters' requests for operational identities on behalf of a utility: its authority in a folder of the
/// same machine ([`Pki`]), or one that stands elsewhere, behind whatever reaches it. A call may take seconds; it is made
/// on a thread that may wait.
pub trait RequestSigner: std::fmt::Debug + Send + Sync {
    /// Signs a request (PKCS#10, DER) that this meter made, and gives the chain, its own certificate first. What the
    /// request proves and asks for is the signer's to judge.
    ///
    /// # Errors
    /// [`PkiError`]; nothing was signed then, or nobody knows of it.
    fn sign_request(
        &self,
        meter: MeterId,
        request: &[u8],
        validity: Validity,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError>;
}

impl RequestSigner for Pki {
    fn sign_request(
        &self,
        meter: MeterId,
        request: &[u8],
        validity: Validity,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        Self::sign_request(self, meter, request, validity)
    }
}

/// The entries of several lists.
#[derive(Debug)]
pub struct RevokedEntries(HashMap<(Vec<u8>, Serial), Revoked>);

impl RevokedEntries {
    /// The entry of a certificate; `None` when it was not revoked.
    pub fn of(&self, certificate: &Certificate) -> Option<&Revoked> {
        self.0.get(&(certificate.issuer_name.clone(), certificate.serial.clone()))
    }
}

/// Reads a certification request from a file, in PEM or DER, and gives it in DER. It is not judged here.
///
/// # Errors
/// [`PkiError`] when the file cannot be read.
pub fn read_request(path: &Path) -> Result<Vec<u8>, PkiError> {
    let bytes = files::read_bytes(path, MAX_REQUEST_FILE)?;
    match CertificateSigningRequestDer::from_pem_slice(&bytes) {
        Ok(request) => Ok(request.as_ref().to_vec()),
        Err(_) => Ok(bytes),
    }
}

/// Reads a file with one list of revoked certificates.
pub(crate) fn read_list_file(path: &Path) -> Result<String, PkiError> {
    files::read_long(path, crate::revocation::MAX_LIST_PEM)?.ok_or_else(|| PkiError::new(path, "is gone"))
}

/// Writes certificates as a PEM file that everybody may read, whole or not at all.
///
/// # Errors
/// [`PkiError`].
pub fn write_certificates(path: &Path, chain: &[CertificateDer<'_>]) -> Result<(), PkiError> {
    let pem: String = chain.iter().map(|der| identity::certificate_pem(der)).collect();
    files::write_public(path, pem.as_bytes())
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// From now on for this long. It begins an hour early, because a peer's clock may be slow.
    pub fn from_now(length: Duration) -> Self {
        Self::from(SystemTime::now(), length)
    }

    /// The same, from another moment than now.
    pub fn from(now: SystemTime, length: Duration) -> Self {
        Self { not_before: now - CLOCK_TOLERANCE, not_after: now + length }
    }
}

/// Something is wrong with the files of the identities: which, what, and what to do.
#[derive(Debug, Error)]
#[error("{} {problem}{}{hint}", path.display(), if hint.is_empty() { "" } else { "; " })]
pub struct PkiError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong, as the rest of a sentence that begins with the path.
    pub problem: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl PkiError {
    pub(crate) fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), problem: problem.into(), hint: String::new() }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// A request takes a kilobyte at most, in PEM with the text that OpenSSL can put before it some more.
const MAX_REQUEST_FILE: u64 = 64 * 1024;
const ROOT: &str = "root";
const MANUFACTURER: &str = "manufacturer";
const UTILITY: &str = "utility";
const CERTIFICATION: &str = "certification";

/// A head-end works with its meters as the utility, and brings their firmware.
const HEADEND_ROLES: Roles = Roles::of(&[Role::Utility, Role::Firmware]);

const CLOCK_TOLERANCE: Duration = Duration::from_secs(3600);
const YEAR: u64 = 365 * 24 * 3600;
/// As long as a meter lives: it is the way back in when an operational identity was lost.
const DEVICE_VALIDITY: Duration = Duration::from_secs(20 * YEAR);
/// How long a head-end's or time source's certificate lasts where nothing else is said.
pub const HEADEND_VALIDITY: Duration = Duration::from_secs(2 * YEAR);
/// How long a meter's operational identity lasts where nothing else is said; it is renewed after two thirds.
pub const OPERATIONAL_VALIDITY: Duration = Duration::from_secs(YEAR);
