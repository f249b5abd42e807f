//! The identity of a head-end or a time source: its key in a [`FileKeyStore`], sealed under a secret of its folder, and
//! its renewal while it is in use.
//!
//! The folder holds `keys.secret` and `keys.sealed` (mode 0600), and `certificate.pem`, a copy for others. A `key.pem`
//! of an earlier version is taken over once, and removed when what replaces it is on the disk.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use meterseal_seal::{KeySlot, KeyState, KeyStore, KeyStoreError, SealKey};
use rustls::pki_types::CertificateDer;

use crate::keys::{DeviceSecret, FileKeyStore};
use crate::opening::TimeSource;
use crate::pki::{
    Certificate, Identity, Pki, PkiError, Validity, read_certificates, read_secret, write_certificates,
};
use crate::tls::Peer;

/// A folder with the identity of a head-end or a time source.
pub struct OwnIdentity {
    folder: PathBuf,
    peer: Peer,
    store: Arc<FileKeyStore>,
}

impl OwnIdentity {
    /// Opens the folder, and takes over what an earlier version left in it.
    ///
    /// # Errors
    /// [`PkiError`]: something there cannot be read, or is of another peer.
    pub fn open(folder: &Path, peer: Peer) -> Result<Self, PkiError> {
        let (secret, sealed) = (folder.join(SECRET), folder.join(SEALED));
        if sealed.exists() && !secret.exists() {
            return Err(PkiError::new(&secret, format!("is missing, and {SEALED} opens with nothing else"))
                .hint("restore it from a copy"));
        }
        let secret = DeviceSecret::open_or_create(&secret)?;
        let store = Arc::new(FileKeyStore::open(&sealed, &peer.uri(), secret)?);
        let own = Self { folder: folder.to_owned(), peer, store };
        own.take_over()?;
        own.publish()?;
        Ok(own)
    }

    /// Keeps the copy of the certificates true: what counts is in the store.
    fn publish(&self) -> Result<(), PkiError> {
        let chain = self.store.certificates(SLOT).map_err(|error| self.failed(&error))?;
        let path = self.folder.join(CERTIFICATE);
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        if chain.is_empty() || read_certificates(&path).is_ok_and(|copy| copy == chain) {
            return Ok(());
        }
        write_certificates(&path, &chain)
    }

    /// What its certificate says; `None` before the first.
    ///
    /// # Errors
    /// [`PkiError`] when it cannot be read.
    pub fn certificate(&self) -> Result<Option<Certificate>, PkiError> {
        let chain = self.store.certificates(SLOT).map_err(|error| self.failed(&error))?;
        let Some(own) = chain.into_iter().next() else { return Ok(None) };
        let read = Certificate::read(&CertificateDer::from(own));
        read.map(Some).map_err(|error| PkiError::new(&self.folder.join(SEALED), error.to_string()))
    }

    /// Whether it should be renewed at `now`: it has none, two thirds of its life are over, or it lacks the roles of
    /// its kind (those of version 0.1 had none).
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn is_due(&self, now: SystemTime) -> Result<bool, PkiError> {
        Ok(self.certificate()?.is_none_or(|own| {
            let outdated = matches!(own.peer, Some(Peer::Headend(_))) && own.roles.is_empty();
            outdated || own.renewal_due() <= now
        }))
    }

    /// Makes a new key and has it certified. The old one serves until the new one is on the disk, and its certificate
    /// stays valid until its end.
    ///
    /// # Errors
    /// [`PkiError`]; the identity is then as before.
    pub fn renew(&self, pki: &Pki, validity: Validity) -> Result<(), PkiError> {
        let key = self.store.generate(SLOT).map_err(|error| self.failed(&error))?;
        let chain = pki.certify_own(&self.peer, &key, validity)?;
        let der: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
        self.store.import(SLOT, &der).map_err(|error| self.failed(&error))?;
        write_certificates(&self.folder.join(CERTIFICATE), &chain)
    }

    /// The identity for TLS.
    ///
    /// # Errors
    /// [`PkiError`] when there is none.
    pub fn identity(&self) -> Result<Identity, PkiError> {
        Identity::from_store(&self.key_store(), SLOT).map_err(|error| self.failed(&error))
    }

    /// The identity as a source of signed time.
    ///
    /// # Errors
    /// [`PkiError`] when there is none.
    pub fn time_source(&self) -> Result<TimeSource, PkiError> {
        TimeSource::from_store(&self.key_store(), SLOT).map_err(|error| self.failed(&error))
    }

    /// The store behind it.
    pub fn key_store(&self) -> Arc<dyn KeyStore> {
        Arc::clone(&self.store) as _
    }

    fn take_over(&self) -> Result<(), PkiError> {
        let (key, certificate) = (self.folder.join(PLAIN_KEY), self.folder.join(CERTIFICATE));
        if !key.exists() {
            return Ok(());
        }
        // Sealed already, and the power went before the other was removed.
        let known = self.store.public_key(SLOT, KeyState::Current).is_ok();
        if !known && certificate.exists() {
            let chain = read_certificates(&certificate)?;
            let named = Certificate::read(&chain[0]).ok().and_then(|read| read.peer);
            if named.as_ref() != Some(&self.peer) {
                return Err(PkiError::new(&certificate, format!("is not that of {}", self.peer))
                    .hint("give another folder, or move it away to have a new one made"));
            }
            let private = SealKey::from_pkcs8_pem(&read_secret(&key)?)
                .map_err(|error| PkiError::new(&key, error.to_string()))?;
            let der: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
            self.store.adopt(SLOT, private, &der).map_err(|error| {
                PkiError::new(&key, format!("cannot be taken over: {error}"))
                    .hint("restore it and the certificate beside it from one backup")
            })?;
        }
        fs::remove_file(&key)
            .and_then(|()| File::open(&self.folder)?.sync_all())
            .map_err(|error| PkiError::new(&key, format!("could not be removed, and is sealed now: {error}")))
    }

    fn failed(&self, error: &KeyStoreError) -> PkiError {
        PkiError::new(&self.folder.join(SEALED), error.to_string())
    }
}

impl fmt::Debug for OwnIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnIdentity").field("folder", &self.folder).field("peer", &self.peer).finish()
    }
}

const SLOT: KeySlot = KeySlot::Operational;
const SECRET: &str = "keys.secret";
const SEALED: &str = "keys.sealed";
const CERTIFICATE: &str = "certificate.pem";
const PLAIN_KEY: &str = "key.pem";
