//! Where a device's private keys live: in software, in a secure element, behind PKCS#11. A key is made inside and
//! never comes out; what comes out are public keys, signatures and certification requests.
//!
//! Each [`KeySlot`] has a key of its own, so that what one use gives away serves no other. A slot holds a *current*
//! key with its certificates and, between a request and the certificate that answers it, a *pending* one.

use alloc::vec::Vec;
use core::fmt;

use meterseal_model::MeterId;

use crate::key::{KeyError, KeyId, SIGNATURE_LENGTH, SealPublicKey, Signer};
use crate::request;

/// What a private key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum KeySlot {
    /// TLS with the identity from manufacture: for enrolment only.
    Device = 1,
    /// TLS with the identity that the utility gave.
    Operational = 2,
    /// Checkpoints of the log.
    Log = 3,
    /// What the device says of its own firmware.
    Attestation = 4,
}

impl KeySlot {
    /// Every slot.
    pub const ALL: [Self; 4] = [Self::Device, Self::Operational, Self::Log, Self::Attestation];
}

impl fmt::Display for KeySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "device",
            Self::Operational => "operational",
            Self::Log => "log",
            Self::Attestation => "attestation",
        })
    }
}

/// Which of a slot's two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyState {
    /// The one in use.
    Current,
    /// The one that waits for its certificate.
    Pending,
}

/// A place for private keys. Implementations are shared between the meter and its connection: they lock inside, and
/// wipe what they hold when they are dropped.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// Makes a key pair as the slot's pending one, in place of an earlier pending one; the current one stays in use.
    ///
    /// # Errors
    /// [`KeyStoreError`]; the slot is then as before.
    fn generate(&self, slot: KeySlot) -> Result<SealPublicKey, KeyStoreError>;

    /// The public half of a key.
    ///
    /// # Errors
    /// [`KeyStoreError::NoKey`] when the slot holds none in that state.
    fn public_key(&self, slot: KeySlot, state: KeyState) -> Result<SealPublicKey, KeyStoreError>;

    /// The ES384 signature (*r* ‖ *s*) over SHA-384 of `message`.
    ///
    /// # Errors
    /// [`KeyStoreError::NoKey`] when the slot holds no key in that state; [`KeyStoreError::Key`] when it cannot sign.
    fn sign(
        &self,
        slot: KeySlot,
        state: KeyState,
        message: &[u8],
    ) -> Result<[u8; SIGNATURE_LENGTH], KeyStoreError>;

    /// The certificates of the current key, its own first, each in DER. Empty where it has none.
    ///
    /// # Errors
    /// [`KeyStoreError::Storage`].
    fn certificates(&self, slot: KeySlot) -> Result<Vec<Vec<u8>>, KeyStoreError>;

    /// Stores certificates, the key's own first. They must be for the pending key, which then becomes the current
    /// one, or for the current key. Whether their issuer is trusted is the caller's to judge, before.
    ///
    /// # Errors
    /// [`KeyStoreError::OtherKey`] when they are for neither; the slot is then as before.
    fn import(&self, slot: KeySlot, certificates: &[Vec<u8>]) -> Result<(), KeyStoreError>;

    /// Forgets the slot's keys and certificates, pending ones too. An empty slot stays empty.
    ///
    /// # Errors
    /// [`KeyStoreError::Storage`]; the slot is then as before.
    fn remove(&self, slot: KeySlot) -> Result<(), KeyStoreError>;
}

/// The certification request for a slot's pending key: what COSEM's *generate_certificate_request* (class 64) gives.
///
/// # Errors
/// [`KeyStoreError::NoKey`] when no key pair was generated before.
pub fn certificate_request(
    store: &dyn KeyStore,
    slot: KeySlot,
    meter: MeterId,
) -> Result<Vec<u8>, KeyStoreError> {
    let key = store.public_key(slot, KeyState::Pending)?;
    request::certificate_request(meter, &key, |message| store.sign(slot, KeyState::Pending, message))
}

/// Decides which of a slot's keys certificates are for: every implementation's first step in
/// [`import`](KeyStore::import).
///
/// # Errors
/// [`KeyStoreError::Certificate`] when there is none of P-384; [`KeyStoreError::OtherKey`].
pub fn owner(
    slot: KeySlot,
    certificates: &[Vec<u8>],
    pending: Option<&SealPublicKey>,
    current: Option<&SealPublicKey>,
) -> Result<KeyState, KeyStoreError> {
    let own = certificates.first().filter(|_| certificates.len() <= MAX_CHAIN);
    let key = own.and_then(|own| request::certified_key(own)).ok_or(KeyStoreError::Certificate)?;
    if pending == Some(&key) {
        Ok(KeyState::Pending)
    } else if current == Some(&key) {
        Ok(KeyState::Current)
    } else {
        Err(KeyStoreError::OtherKey(slot))
    }
}

/// The longest chain that is stored: its own certificate, an intermediate, and room for one more of each.
pub const MAX_CHAIN: usize = 4;

/// A slot's current key as something that signs seals.
#[derive(Debug)]
pub struct StoredKey<'a> {
    store: &'a dyn KeyStore,
    slot: KeySlot,
    id: KeyId,
}

impl<'a> StoredKey<'a> {
    /// The slot's current key.
    ///
    /// # Errors
    /// [`KeyStoreError::NoKey`] when there is none.
    pub fn new(store: &'a dyn KeyStore, slot: KeySlot) -> Result<Self, KeyStoreError> {
        let id = store.public_key(slot, KeyState::Current)?.key_id();
        Ok(Self { store, slot, id })
    }
}

impl Signer for StoredKey<'_> {
    fn key_id(&self) -> KeyId {
        self.id
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_LENGTH], KeyError> {
        self.store.sign(self.slot, KeyState::Current, message).map_err(|_| KeyError::CannotSign)
    }
}

/// Why a key store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStoreError {
    /// The slot holds no such key.
    NoKey(KeySlot, KeyState),
    /// The certificates are for another key than the slot's.
    OtherKey(KeySlot),
    /// What was to be stored is no chain of certificates for P-384 keys.
    Certificate,
    /// The key itself.
    Key(KeyError),
    /// What the store stands on failed; in words, without secrets.
    Storage(alloc::string::String),
}

impl From<KeyError> for KeyStoreError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl fmt::Display for KeyStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey(slot, KeyState::Current) => write!(f, "there is no {slot} key; enrol the device"),
            Self::NoKey(slot, KeyState::Pending) => {
                write!(f, "no {slot} key pair waits for a certificate; generate one first")
            }
            Self::OtherKey(slot) => write!(
                f,
                "the certificate is for another key than the {slot} key of this device; request one for this key"
            ),
            Self::Certificate => {
                write!(
                    f,
                    "this is no chain of one to {MAX_CHAIN} certificates that begins with one for a P-384 key"
                )
            }
            Self::Key(error) => error.fmt(f),
            Self::Storage(problem) => write!(f, "the key store failed: {problem}"),
        }
    }
}

impl core::error::Error for KeyStoreError {}
