//! What one end of a connection shows of itself: its certificates and the use of its private key.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use meterseal_seal::{KeySlot, KeyStore, KeyStoreError};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use zeroize::Zeroizing;

use super::{Certificate, PkiError, files};
use crate::keys::TlsKey;
use crate::tls::{self, PeerError};

/// A certificate chain and the key that belongs to it. The key may be anything that signs: a file's content, a
/// secure element, PKCS#11. This is the seam for key stores.
#[derive(Clone, Debug)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    /// What handshakes show: the same, until it is renewed. Clones share it.
    shown: Arc<RwLock<Arc<CertifiedKey>>>,
}

impl Identity {
    /// An identity whose key is somewhere else. `chain` begins with its own certificate.
    ///
    /// # Errors
    /// [`rustls::Error`] when the key does not belong to the certificate.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> Result<Self, rustls::Error> {
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match()?;
        let certified = Arc::new(certified);
        Ok(Self { shown: Arc::new(RwLock::new(Arc::clone(&certified))), certified })
    }

    /// Reads the identity in a folder: `certificate.pem` (own certificate first) and `key.pem`.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        let chain = files::read_certificates(&dir.join(CERTIFICATE_FILE))?;
        let key_path = dir.join(KEY_FILE);
        let key = files::read_secret(&key_path)?;
        Self::from_parts(chain, &key, &key_path)
    }

    /// The identity in texts: a chain in PEM, own certificate first, and the private key in PKCS#8 PEM. `origin` is the
    /// file that they come from, for errors.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn from_pem(chain_pem: &str, key_pem: &str, origin: &Path) -> Result<Self, PkiError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_pem.as_bytes()).collect();
        match chain {
            Ok(chain) if !chain.is_empty() => Self::from_parts(chain, key_pem, origin),
            Ok(_) => Err(PkiError::new(origin, "holds no certificate").hint("restore it from a backup")),
            Err(error) => Err(PkiError::new(origin, format!("holds no PEM certificate: {error}"))),
        }
    }

    /// The current key and certificates of a device's key store.
    ///
    /// # Errors
    /// [`KeyStoreError`] when there is none, or they do not belong together.
    pub fn from_store(store: &Arc<dyn KeyStore>, slot: KeySlot) -> Result<Self, KeyStoreError> {
        let key = TlsKey::new(Arc::clone(store), slot)?;
        let chain = store.certificates(slot)?.into_iter().map(CertificateDer::from).collect();
        Self::new(chain, Arc::new(key)).map_err(|_| KeyStoreError::OtherKey(slot))
    }

    /// Shows `newer` from the next handshake on, in every configuration made of this identity or a clone. Connections
    /// that stand are not touched.
    pub fn renew(&self, newer: &Self) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&newer.certified);
    }

    /// The same identity as a value of its own: a renewal of the one is none of the other.
    #[must_use]
    pub fn separate(&self) -> Self {
        let certified = Arc::clone(&self.certified);
        Self { shown: Arc::new(RwLock::new(Arc::clone(&certified))), certified }
    }

    /// The chain, own certificate first, as it was when this value was made.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// What its own certificate says.
    ///
    /// # Errors
    /// [`PeerError`] when it cannot be read.
    pub fn certificate(&self) -> Result<Certificate, PeerError> {
        Certificate::read(self.chain().first().ok_or(PeerError::NoCertificate)?)
    }

    /// Chain and key as the TLS library takes them, as they were when this value was made: for one who makes a configuration of their own, as a
    /// test bench does. The key signs; it is not shown.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    pub(crate) fn resolver(&self) -> Arc<Shown> {
        Arc::new(Shown(Arc::clone(&self.shown)))
    }

    fn from_parts(
        chain: Vec<CertificateDer<'static>>,
        key_pem: &str,
        key_path: &Path,
    ) -> Result<Self, PkiError> {
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|error| PkiError::new(key_path, format!("is no private key: {error}")))?;
        let key = tls::load_key(key)
            .map_err(|error| PkiError::new(key_path, format!("is no P-384 private key: {error}")))?;
        Self::new(chain, key).map_err(|_| {
            PkiError::new(key_path, "does not belong to the certificate beside it")
                .hint("restore both from the same backup, or issue a new identity")
        })
    }
}

/// Gives a handshake what the identity shows now.
#[derive(Debug)]
pub(crate) struct Shown(Arc<RwLock<Arc<CertifiedKey>>>);

impl Shown {
    fn now(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A new identity, before it is stored: certificates and private key in PEM. The key is wiped when dropped.
pub struct IssuedIdentity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) chain_pem: String,
    pub(super) key_pem: Zeroizing<String>,
}

impl IssuedIdentity {
    /// The chain in PEM, own certificate first.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The private key in PKCS#8 PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Stores it in `dir` (made where it does not exist) as [`Identity::load`] reads it: the key first, so that a
    /// certificate without its key is never there.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn save(&self, dir: &Path) -> Result<(), PkiError> {
        std::fs::create_dir_all(dir)
            .map_err(|error| PkiError::new(dir, format!("could not be created: {error}")))?;
        files::write_secret(&dir.join(KEY_FILE), self.key_pem.as_bytes())?;
        files::write_public(&dir.join(CERTIFICATE_FILE), self.chain_pem.as_bytes())
    }

    /// Uses it without storing it.
    ///
    /// # Errors
    /// [`PkiError`] when key and certificate do not belong together.
    pub fn identity(&self) -> Result<Identity, PkiError> {
        Identity::from_parts(self.chain.clone(), &self.key_pem, Path::new("the issued key"))
    }
}

impl std::fmt::Debug for IssuedIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedIdentity").field("chain", &self.chain_pem).finish_non_exhaustive()
    }
}

/// One certificate in PEM (RFC 7468).
pub(super) fn certificate_pem(der: &[u8]) -> String {
    super::files::pem("CERTIFICATE", der)
}

const CERTIFICATE_FILE: &str = "certificate.pem";
const KEY_FILE: &str = "key.pem";
