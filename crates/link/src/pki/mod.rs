//! Identities: a root, an intermediate each for the manufacturer (meters) and the utility (head-ends), and the
//! certification key that signs marks. P-384 throughout.
//!
//! | certificate | signed by | names |
//! |---|---|---|
//! | root | itself | path length 1 |
//! | manufacturer, utility | root | path length 0 |
//! | meter | manufacturer | `urn:meterseal:meter:MSL0000000001`, client authentication |
//! | head-end | utility | `urn:meterseal:headend:NAME`, server authentication |
//!
//! A folder holds `NAME.cert.pem` and `NAME.key.pem` of each authority. It appears whole or not at all, keys have
//! mode 0600, and what is read back is checked: keys belong to their certificates, and the intermediates to the root.

mod authority;
mod files;
mod identity;
mod signing;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use meterseal_model::MeterId;
use meterseal_seal::{SealKey, SealPublicKey};
use rustls::pki_types::CertificateDer;
use thiserror::Error;

use crate::tls::Trust;
use authority::Authority;
pub use files::{read_certificates, read_secret, write_secret};
pub use identity::{Identity, IssuedIdentity};

/// The authorities of one deployment, in a folder.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    root: CertificateDer<'static>,
    manufacturer: Authority,
    utility: Authority,
    certification: SealPublicKey,
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

    /// Opens the authorities in `dir` and checks that they belong together.
    ///
    /// # Errors
    /// [`PkiError`]: a file is missing, unreadable, readable by others, or not what it should be.
    pub fn open(dir: &Path) -> Result<Self, PkiError> {
        let root_path = dir.join("root.cert.pem");
        let root = files::read_certificates(&root_path)?.remove(0);
        authority::check_signed(&root_path, &root, &root)?;
        Ok(Self {
            manufacturer: Authority::open(dir, MANUFACTURER, &root)?,
            utility: Authority::open(dir, UTILITY, &root)?,
            certification: Self::read_certification(dir)?,
            dir: dir.to_owned(),
            root,
        })
    }

    /// Opens the authorities in `dir`, or makes them where there is no such folder.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn open_or_create(dir: &Path) -> Result<Self, PkiError> {
        if dir.exists() { Self::open(dir) } else { Self::create(dir) }
    }

    /// Makes a key pair and a certificate for a meter, valid for ten years.
    ///
    /// # Errors
    /// [`PkiError`] when the manufacturer's key cannot be read or used.
    pub fn issue_meter(&self, meter: MeterId) -> Result<IssuedIdentity, PkiError> {
        self.issue_meter_for(meter, Validity::from_now(METER_VALIDITY))
    }

    /// Makes a key pair and a certificate for a meter.
    ///
    /// # Errors
    /// [`PkiError`] when the manufacturer's key cannot be read or used.
    pub fn issue_meter_for(&self, meter: MeterId, validity: Validity) -> Result<IssuedIdentity, PkiError> {
        self.manufacturer.issue(&authority::Subject::meter(meter), validity)
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
        self.utility.issue(&authority::Subject::headend(name)?, validity)
    }

    /// Whom the holders of these authorities' certificates accept.
    pub fn trust(&self) -> Trust {
        Trust {
            meters: vec![self.manufacturer.certificate().clone()],
            headends: vec![self.utility.certificate().clone()],
        }
    }

    /// The root's certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The public key that marks are verified with.
    pub fn certification_key(&self) -> &SealPublicKey {
        &self.certification
    }

    /// The private key that marks are signed with, read from its file.
    ///
    /// # Errors
    /// [`PkiError`] when the file cannot be read, or belongs to another public key.
    pub fn certification_signer(&self) -> Result<SealKey, PkiError> {
        let path = self.dir.join("certification.key.pem");
        let key = SealKey::from_pkcs8_pem(&files::read_secret(&path)?)
            .map_err(|error| PkiError::new(&path, error.to_string()))?;
        if key.public() != &self.certification {
            return Err(PkiError::new(&path, "does not belong to certification.pub.pem beside it"));
        }
        Ok(key)
    }

    fn create_in(dir: &Path) -> Result<(), PkiError> {
        let no_random = |error| PkiError::new(dir, format!("could not be made: no random numbers: {error}"));
        let mut deployment = [0u8; 4];
        getrandom::fill(&mut deployment).map_err(no_random)?;
        let deployment = format!("{:08x}", u32::from_be_bytes(deployment));
        let root = authority::make_root(dir, &deployment)?;
        for name in [MANUFACTURER, UTILITY] {
            authority::make_intermediate(dir, name, &deployment, &root)?;
        }
        let key = SealKey::generate(getrandom::fill).map_err(no_random)?;
        let private = dir.join("certification.key.pem");
        let encoded = key.to_pkcs8_pem().map_err(|error| PkiError::new(&private, error.to_string()))?;
        files::write_secret(&private, encoded.as_bytes())?;
        let public = dir.join("certification.pub.pem");
        let encoded = key.public().to_pem().map_err(|error| PkiError::new(&public, error.to_string()))?;
        files::write_public(&public, encoded.as_bytes())
    }

    fn read_certification(dir: &Path) -> Result<SealPublicKey, PkiError> {
        let path = dir.join("certification.pub.pem");
        SealPublicKey::from_pem(&files::read_text(&path)?)
            .map_err(|error| PkiError::new(&path, error.to_string()))
    }
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
        let now = SystemTime::now();
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

const MANUFACTURER: &str = "manufacturer";
const UTILITY: &str = "utility";

const CLOCK_TOLERANCE: Duration = Duration::from_secs(3600);
const YEAR: u64 = 365 * 24 * 3600;
/// As long as a meter's calibration period at the least; renewal is a later issue.
const METER_VALIDITY: Duration = Duration::from_secs(10 * YEAR);
const HEADEND_VALIDITY: Duration = Duration::from_secs(2 * YEAR);
