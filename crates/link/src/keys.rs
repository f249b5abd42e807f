//! The key store of a device that runs on Linux: private keys in one file, under AES-256-GCM with a secret of the
//! device, written whole or not at all, wiped from memory when dropped. What a secure element does in hardware, this
//! does in software behind the same trait ([`KeyStore`]).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA384, Salt};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use meterseal_seal::key_store::owner;
use meterseal_seal::{KeyError, KeySlot, KeyState, KeyStore, KeyStoreError, SealKey, SealPublicKey, key};
use minicbor::{Decoder, Encoder};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use zeroize::Zeroizing;

use crate::pki::{PkiError, read_bytes, write_secret};

/// A device's own secret: what its keys are encrypted under. On a meter it comes from one-time-programmable memory.
pub struct DeviceSecret(Zeroizing<[u8; SECRET_LENGTH]>);

impl DeviceSecret {
    /// Reads the secret in a file that only its owner can read, or makes one where there is no such file.
    ///
    /// # Errors
    /// [`PkiError`]: the file cannot be used, or others could have read it.
    pub fn open_or_create(path: &Path) -> Result<Self, PkiError> {
        let mut secret = Zeroizing::new([0; SECRET_LENGTH]);
        if !path.exists() {
            getrandom::fill(&mut secret[..]).map_err(|error| {
                PkiError::new(path, format!("could not be made: no random numbers: {error}"))
            })?;
            write_secret(path, &secret[..])?;
            return Ok(Self(secret));
        }
        crate::pki::check_private(path)?;
        let bytes = Zeroizing::new(read_bytes(path, SECRET_LENGTH as u64)?);
        if bytes.len() != SECRET_LENGTH {
            return Err(PkiError::new(path, format!("does not hold {SECRET_LENGTH} bytes"))
                .hint("restore it from a copy; without it the device's keys cannot be read"));
        }
        secret.copy_from_slice(&bytes);
        Ok(Self(secret))
    }

    /// Encrypts what belongs to `context`; it opens only there. The result is 33 bytes longer.
    ///
    /// # Errors
    /// [`SealedError`] when there are no random numbers.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SealedError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SealedError::Random)?;
        let mut sealed = [&MAGIC[..], &nonce[..]].concat();
        let mut body = Zeroizing::new(plain.to_vec());
        body.reserve_exact(AES_256_GCM.tag_len());
        let mut body_bytes = std::mem::take(&mut *body);
        self.key()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(context), &mut body_bytes)
            .map_err(|_| SealedError::Damaged)?;
        sealed.extend_from_slice(&body_bytes);
        Ok(sealed)
    }

    /// Decrypts.
    ///
    /// # Errors
    /// [`SealedError`]: it was altered, belongs to another context or device, or is of another version.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealedError> {
        let rest = sealed.strip_prefix(&MAGIC).ok_or(SealedError::Version)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealedError::Damaged)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .key()
            .open_in_place(Nonce::assume_unique_for_key(*nonce), aad(context), &mut body)
            .map_err(|_| SealedError::Damaged)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    /// A key for one purpose, always the same for the same secret (HKDF with SHA-384, RFC 5869): where two sides hold the
    /// secret, nothing else has to be kept.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let extracted = Salt::new(HKDF_SHA384, b"meterseal device secret 1").extract(&self.0[..]);
        let filled = extracted
            .expand(&[purpose.as_bytes()], &AES_256_GCM)
            .and_then(|expanded| expanded.fill(&mut key[..]));
        debug_assert!(filled.is_ok(), "32 bytes are less than HKDF's 255 blocks (RFC 5869, 2.3)");
        key
    }

    fn key(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, &self.0[..]).expect("a secret is as long as an AES-256 key");
        LessSafeKey::new(key)
    }
}

impl fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceSecret(withheld)")
    }
}

/// A key wrapped under a key encryption key (AES-256, RFC 3394), as key transfer of class 64 wants it.
pub fn wrap_key(key_encryption_key: &[u8; 32], key: &[u8; 32]) -> [u8; 40] {
    let mut wrapped = [0; 40];
    let done = aes_kw::KekAes256::from(*key_encryption_key).wrap(key, &mut wrapped);
    debug_assert!(done.is_ok(), "32 bytes wrap into 40 (RFC 3394, 2.2.1)");
    wrapped
}

/// Why something sealed does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// Another format.
    #[error("is not sealed in the format of this version")]
    Version,
    /// Altered, or somebody else's.
    #[error("is damaged, or was sealed by another device or for another purpose")]
    Damaged,
    /// No random numbers.
    #[error("cannot be sealed: the operating system gave no random numbers")]
    Random,
}

/// Keys in a file.
pub struct FileKeyStore {
    path: PathBuf,
    context: String,
    secret: DeviceSecret,
    slots: Mutex<BTreeMap<KeySlot, Slot>>,
}

#[derive(Clone, Default)]
struct Slot {
    current: Option<StoredPair>,
    certificates: Vec<Vec<u8>>,
    pending: Option<StoredPair>,
}

/// A key in both forms: `seal`'s, which is stored, and that of the library that signs six times as fast. A head-end's
/// handshakes hang on it.
#[derive(Clone)]
struct StoredPair {
    key: Arc<SealKey>,
    signing: Arc<EcdsaKeyPair>,
}

impl StoredPair {
    fn new(key: SealKey) -> Result<Self, KeyStoreError> {
        let der = key.to_pkcs8_der()?;
        let signing = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &der)
            .map_err(|_| KeyStoreError::Key(KeyError::CannotSign))?;
        Ok(Self { key: Arc::new(key), signing: Arc::new(signing) })
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; key::SIGNATURE_LENGTH], KeyStoreError> {
        let failed = KeyStoreError::Key(KeyError::CannotSign);
        let signature = self.signing.sign(&SystemRandom::new(), message).map_err(|_| failed.clone())?;
        signature.as_ref().try_into().map_err(|_| failed)
    }
}

impl FileKeyStore {
    /// Opens the store in `path`, or begins an empty one. `device` is whose keys they are: a file of another device
    /// does not open.
    ///
    /// # Errors
    /// [`PkiError`]: the file cannot be read or is not this device's.
    pub fn open(path: &Path, device: &str, secret: DeviceSecret) -> Result<Self, PkiError> {
        let context = format!("meterseal key store of {device}");
        let mut slots = BTreeMap::new();
        if path.exists() {
            crate::pki::check_private(path)?;
            let sealed = read_bytes(path, MAX_FILE)?;
            let plain =
                secret.open(&context, &sealed).map_err(|error| PkiError::new(path, error.to_string()))?;
            slots = decode(&plain).ok_or_else(|| {
                PkiError::new(path, "holds something else than keys; restore it from a copy")
            })?;
        }
        Ok(Self { path: path.to_owned(), context, secret, slots: Mutex::new(slots) })
    }

    fn change(
        &self,
        slot: KeySlot,
        change: impl FnOnce(&mut Slot) -> Result<(), KeyStoreError>,
    ) -> Result<(), KeyStoreError> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = slots.clone();
        change(new.entry(slot).or_default())?;
        let storage = |problem: String| KeyStoreError::Storage(problem);
        let plain = encode(&new)?;
        let sealed = self.secret.seal(&self.context, &plain).map_err(|error| storage(error.to_string()))?;
        // On the disk before anybody knows of it.
        write_secret(&self.path, &sealed).map_err(|error| storage(error.to_string()))?;
        *slots = new;
        Ok(())
    }

    fn pair(&self, slot: KeySlot, state: KeyState) -> Result<StoredPair, KeyStoreError> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let found = slots.get(&slot).and_then(|slot| match state {
            KeyState::Current => slot.current.clone(),
            KeyState::Pending => slot.pending.clone(),
        });
        found.ok_or(KeyStoreError::NoKey(slot, state))
    }

    /// Takes a key that was made elsewhere, with its certificates, as the slot's current one: how keys of earlier
    /// versions' files, and those that a maker puts into a device, come in.
    ///
    /// # Errors
    /// [`KeyStoreError`] when they do not belong together; the slot is then as before.
    pub fn adopt(&self, slot: KeySlot, key: SealKey, certificates: &[Vec<u8>]) -> Result<(), KeyStoreError> {
        owner(slot, certificates, Some(key.public()), None)?;
        let pair = StoredPair::new(key)?;
        self.change(slot, |stored| {
            *stored = Slot { current: Some(pair), certificates: certificates.to_vec(), pending: None };
            Ok(())
        })
    }
}

impl KeyStore for FileKeyStore {
    fn generate(&self, slot: KeySlot) -> Result<SealPublicKey, KeyStoreError> {
        let key = SealKey::generate(getrandom::fill)
            .map_err(|error| KeyStoreError::Storage(format!("no random numbers: {error}")))?;
        let public = key.public().clone();
        let pair = StoredPair::new(key)?;
        self.change(slot, |slot| {
            slot.pending = Some(pair);
            Ok(())
        })?;
        Ok(public)
    }

    fn public_key(&self, slot: KeySlot, state: KeyState) -> Result<SealPublicKey, KeyStoreError> {
        Ok(self.pair(slot, state)?.key.public().clone())
    }

    fn sign(
        &self,
        slot: KeySlot,
        state: KeyState,
        message: &[u8],
    ) -> Result<[u8; key::SIGNATURE_LENGTH], KeyStoreError> {
        // Outside of the lock: handshakes sign at the same time.
        self.pair(slot, state)?.sign(message)
    }

    fn certificates(&self, slot: KeySlot) -> Result<Vec<Vec<u8>>, KeyStoreError> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(slots.get(&slot).map(|slot| slot.certificates.clone()).unwrap_or_default())
    }

    fn import(&self, slot: KeySlot, certificates: &[Vec<u8>]) -> Result<(), KeyStoreError> {
        self.change(slot, |stored| {
            let public = |pair: &Option<StoredPair>| pair.as_ref().map(|pair| pair.key.public().clone());
            let (pending, current) = (public(&stored.pending), public(&stored.current));
            if owner(slot, certificates, pending.as_ref(), current.as_ref())? == KeyState::Pending {
                stored.current = stored.pending.take();
            }
            stored.certificates = certificates.to_vec();
            Ok(())
        })
    }

    fn remove(&self, slot: KeySlot) -> Result<(), KeyStoreError> {
        self.change(slot, |stored| {
            *stored = Slot::default();
            Ok(())
        })
    }
}

impl fmt::Debug for FileKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKeyStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// One certified key for one slot, held in memory: for virtual meters by the thousand, whose keys lie together in one file.
/// It signs; nothing can be made, imported or removed.
pub struct HeldKey {
    slot: KeySlot,
    pair: StoredPair,
    certificates: Vec<Vec<u8>>,
}

impl HeldKey {
    /// A key from PKCS#8 PEM with its certificates (DER), its own first.
    ///
    /// # Errors
    /// [`KeyStoreError`] when it is no P-384 key, or they do not belong together.
    pub fn new(slot: KeySlot, pem: &str, certificates: Vec<Vec<u8>>) -> Result<Self, KeyStoreError> {
        let key = SealKey::from_pkcs8_pem(pem)?;
        owner(slot, &certificates, Some(key.public()), None)?;
        Ok(Self { slot, pair: StoredPair::new(key)?, certificates })
    }

    fn pair(&self, slot: KeySlot, state: KeyState) -> Result<&StoredPair, KeyStoreError> {
        let held = slot == self.slot && state == KeyState::Current;
        if held { Ok(&self.pair) } else { Err(KeyStoreError::NoKey(slot, state)) }
    }
}

impl KeyStore for HeldKey {
    fn generate(&self, slot: KeySlot) -> Result<SealPublicKey, KeyStoreError> {
        Err(KeyStoreError::NoKey(slot, KeyState::Pending))
    }

    fn public_key(&self, slot: KeySlot, state: KeyState) -> Result<SealPublicKey, KeyStoreError> {
        Ok(self.pair(slot, state)?.key.public().clone())
    }

    fn sign(
        &self,
        slot: KeySlot,
        state: KeyState,
        message: &[u8],
    ) -> Result<[u8; key::SIGNATURE_LENGTH], KeyStoreError> {
        self.pair(slot, state)?.sign(message)
    }

    fn certificates(&self, slot: KeySlot) -> Result<Vec<Vec<u8>>, KeyStoreError> {
        Ok(if slot == self.slot { self.certificates.clone() } else { Vec::new() })
    }

    fn import(&self, slot: KeySlot, _: &[Vec<u8>]) -> Result<(), KeyStoreError> {
        Err(KeyStoreError::NoKey(slot, KeyState::Pending))
    }

    fn remove(&self, slot: KeySlot) -> Result<(), KeyStoreError> {
        Err(KeyStoreError::Storage(format!("the {slot} key cannot be removed from here")))
    }
}

impl fmt::Debug for HeldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldKey").field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// A slot's current key as something that signs seals, for as long as it is the slot's.
#[derive(Debug)]
pub(crate) struct OwnedKey {
    store: Arc<dyn KeyStore>,
    slot: KeySlot,
    public: SealPublicKey,
}

impl OwnedKey {
    pub(crate) fn new(store: Arc<dyn KeyStore>, slot: KeySlot) -> Result<Self, KeyStoreError> {
        let public = store.public_key(slot, KeyState::Current)?;
        Ok(Self { store, slot, public })
    }
}

impl meterseal_seal::Signer for OwnedKey {
    fn key_id(&self) -> meterseal_seal::KeyId {
        self.public.key_id()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; key::SIGNATURE_LENGTH], KeyError> {
        let signature = self.store.sign(self.slot, KeyState::Current, message);
        // A key that took its place meanwhile would sign for the old certificate.
        signature
            .ok()
            .filter(|signature| self.public.verifies(message, signature))
            .ok_or(KeyError::CannotSign)
    }
}

/// A slot's current key for TLS. It is asked for by its public half, so that a key that takes its place in the middle
/// of a handshake does not sign for the old certificate.
#[derive(Debug)]
pub(crate) struct TlsKey {
    store: Arc<dyn KeyStore>,
    slot: KeySlot,
    public: SealPublicKey,
}

impl TlsKey {
    pub(crate) fn new(store: Arc<dyn KeyStore>, slot: KeySlot) -> Result<Self, KeyStoreError> {
        let public = store.public_key(slot, KeyState::Current)?;
        Ok(Self { store, slot, public })
    }
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer =
            TlsSigner { store: Arc::clone(&self.store), slot: self.slot, public: self.public.clone() };
        offered.contains(&SignatureScheme::ECDSA_NISTP384_SHA384).then(|| Box::new(signer) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.public.to_der()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

#[derive(Debug)]
struct TlsSigner {
    store: Arc<dyn KeyStore>,
    slot: KeySlot,
    public: SealPublicKey,
}

impl Signer for TlsSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let failed = |error: KeyStoreError| rustls::Error::General(error.to_string());
        if self.store.public_key(self.slot, KeyState::Current).map_err(failed)? != self.public {
            return Err(rustls::Error::General("the key was renewed meanwhile; connect again".to_owned()));
        }
        let signature = self.store.sign(self.slot, KeyState::Current, message).map_err(failed)?;
        key::signature_to_der(&signature)
            .ok_or_else(|| rustls::Error::General(KeyError::CannotSign.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP384_SHA384
    }
}

fn encode(slots: &BTreeMap<KeySlot, Slot>) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
    // Reserved at once, so that a growing buffer leaves no copies of keys behind.
    let mut encoder = Encoder::new(Vec::with_capacity(MAX_FILE as usize));
    let written = encoder.array(slots.len() as u64).map(drop);
    debug_assert!(written.is_ok(), "a Vec takes every write");
    for (slot, keys) in slots {
        let der = |pair: &Option<StoredPair>| pair.as_ref().map(|pair| pair.key.to_pkcs8_der()).transpose();
        let (current, pending) = (der(&keys.current)?, der(&keys.pending)?);
        let written = (|| {
            encoder.array(4)?.u8(*slot as u8)?;
            for key in [&current, &pending] {
                encoder.bytes(key.as_ref().map_or(&[], |key| &key[..]))?;
            }
            encoder.array(keys.certificates.len() as u64)?;
            for certificate in &keys.certificates {
                encoder.bytes(certificate)?;
            }
            Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
        })();
        debug_assert!(written.is_ok(), "a Vec takes every write");
    }
    Ok(Zeroizing::new(encoder.into_writer()))
}

fn decode(plain: &[u8]) -> Option<BTreeMap<KeySlot, Slot>> {
    let mut decoder = Decoder::new(plain);
    let mut slots = BTreeMap::new();
    for _ in 0..decoder.array().ok()?.filter(|&count| count <= KeySlot::ALL.len() as u64)? {
        if decoder.array().ok()? != Some(4) {
            return None;
        }
        let number = decoder.u8().ok()?;
        let slot = KeySlot::ALL.into_iter().find(|slot| *slot as u8 == number)?;
        let mut key = || match decoder.bytes().ok()? {
            [] => Some(None),
            der => SealKey::from_pkcs8_der(der).ok().and_then(|key| StoredPair::new(key).ok()).map(Some),
        };
        let (current, pending) = (key()?, key()?);
        let count =
            decoder.array().ok()?.filter(|&count| count <= meterseal_seal::key_store::MAX_CHAIN as u64)?;
        let certificates =
            (0..count).map(|_| decoder.bytes().ok().map(<[u8]>::to_vec)).collect::<Option<Vec<_>>>()?;
        slots.insert(slot, Slot { current, certificates, pending });
    }
    (decoder.position() == plain.len()).then_some(slots)
}

fn aad(context: &str) -> Aad<Vec<u8>> {
    Aad::from([&MAGIC[..], context.as_bytes()].concat())
}

/// What a sealed file begins with; the last byte is the format's version.
const MAGIC: [u8; 5] = *b"MSLK\x01";
const SECRET_LENGTH: usize = 32;
/// Four slots of two keys and four certificates take 20 KiB at the most.
const MAX_FILE: u64 = 64 * 1024;
