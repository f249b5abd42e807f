//! A firmware signer's two keys: P-384 for ES384 and ML-DSA-87 (FIPS 204), always used together.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use ml_dsa::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding,
};
use ml_dsa::{Keypair as _, MlDsa87, Signature, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha384};
use zeroize::{Zeroize as _, Zeroizing};

use crate::key::{KeyError, KeyId, SIGNATURE_LENGTH, SealKey, SealPublicKey, Signer as _};

/// Bytes of an ML-DSA-87 public key (FIPS 204, table 2).
pub const ML_DSA_PUBLIC_LENGTH: usize = 2592;

/// Bytes of an ML-DSA-87 signature (FIPS 204, table 2).
pub const ML_DSA_SIGNATURE_LENGTH: usize = 4627;

/// A signer's private keys. Wiped when dropped, never printed.
pub struct FirmwareKey {
    elliptic: SealKey,
    lattice: Box<SigningKey<MlDsa87>>,
    public: FirmwarePublicKey,
}

impl FirmwareKey {
    /// Makes both keys from a random source: `fill` must fill its argument with unpredictable bytes.
    ///
    /// # Errors
    /// Whatever `fill` returns.
    pub fn generate<E>(mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let elliptic = SealKey::generate(&mut fill)?;
        let mut seed = ml_dsa::Seed::default();
        fill(&mut seed)?;
        let lattice = Box::new(SigningKey::from_seed(&seed));
        seed.zeroize();
        Ok(Self::new(elliptic, lattice))
    }

    /// Reads what [`to_pem`](Self::to_pem) wrote: two PKCS#8 blocks, P-384 and ML-DSA-87, in this order.
    ///
    /// # Errors
    /// [`KeyError::NotPrivate`] when it is anything else.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let (first, second) = two_blocks(pem, "PRIVATE KEY").ok_or(KeyError::NotPrivate)?;
        let lattice = SigningKey::from_pkcs8_pem(second).map_err(|_| KeyError::NotPrivate)?;
        Ok(Self::new(SealKey::from_pkcs8_pem(first)?, Box::new(lattice)))
    }

    /// Both keys as PKCS#8 PEM (ML-DSA: the seed form of RFC 9881), in a buffer that is wiped when dropped.
    ///
    /// # Errors
    /// [`KeyError::Unwritable`] when they cannot be encoded.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let lattice = self.lattice.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Unwritable)?;
        let elliptic = self.elliptic.to_pkcs8_pem()?;
        let mut pem = Zeroizing::new(String::with_capacity(elliptic.len() + lattice.len()));
        pem.push_str(&elliptic);
        pem.push_str(&lattice);
        Ok(pem)
    }

    /// Their public halves.
    pub const fn public(&self) -> &FirmwarePublicKey {
        &self.public
    }

    /// The ES384 signature, *r* ‖ *s*.
    pub(crate) fn sign_elliptic(&self, message: &[u8]) -> Result<[u8; SIGNATURE_LENGTH], KeyError> {
        self.elliptic.sign(message)
    }

    /// The ML-DSA-87 signature, deterministic (FIPS 204, 3.4), with an empty context (RFC 9964).
    pub(crate) fn sign_lattice(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.lattice.expanded_key().sign_deterministic(message, &[]);
        signature.map(|signature| signature.encode().to_vec()).map_err(|_| KeyError::CannotSign)
    }

    fn new(elliptic: SealKey, lattice: Box<SigningKey<MlDsa87>>) -> Self {
        let encoded = lattice.verifying_key().encode();
        let public = FirmwarePublicKey::new(elliptic.public().clone(), encoded.to_vec());
        Self { elliptic, lattice, public }
    }
}

impl fmt::Debug for FirmwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FirmwareKey({}, private parts withheld)", self.public.id)
    }
}

/// A signer's public keys.
#[derive(Clone, PartialEq, Eq)]
pub struct FirmwarePublicKey {
    elliptic: SealPublicKey,
    lattice: Vec<u8>,
    id: KeyId,
}

impl FirmwarePublicKey {
    /// From the P-384 key's SubjectPublicKeyInfo and the ML-DSA-87 key's bytes.
    ///
    /// # Errors
    /// [`KeyError::NotPublic`] when either is none.
    pub fn from_parts(elliptic_der: &[u8], lattice: &[u8]) -> Result<Self, KeyError> {
        if lattice.len() != ML_DSA_PUBLIC_LENGTH {
            return Err(KeyError::NotPublic);
        }
        Ok(Self::new(SealPublicKey::from_der(elliptic_der)?, lattice.to_vec()))
    }

    /// Reads what [`to_pem`](Self::to_pem) wrote: two SubjectPublicKeyInfo blocks, P-384 and ML-DSA-87, in this order.
    ///
    /// # Errors
    /// [`KeyError::NotPublic`] when it is anything else.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let (first, second) = two_blocks(pem, "PUBLIC KEY").ok_or(KeyError::NotPublic)?;
        let lattice =
            VerifyingKey::<MlDsa87>::from_public_key_pem(second).map_err(|_| KeyError::NotPublic)?;
        Ok(Self::new(SealPublicKey::from_pem(first)?, lattice.encode().to_vec()))
    }

    /// Both keys as SubjectPublicKeyInfo PEM (ML-DSA: RFC 9881).
    ///
    /// # Errors
    /// [`KeyError::Unwritable`] when they cannot be encoded.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let encoded = self.lattice.as_slice().try_into().map_err(|_| KeyError::Unwritable)?;
        let lattice = VerifyingKey::<MlDsa87>::decode(encoded);
        let lattice = lattice.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Unwritable)?;
        Ok(self.elliptic.to_pem()? + &lattice)
    }

    /// The P-384 half.
    pub const fn elliptic(&self) -> &SealPublicKey {
        &self.elliptic
    }

    /// The ML-DSA-87 half, [`ML_DSA_PUBLIC_LENGTH`] bytes.
    pub fn lattice(&self) -> &[u8] {
        &self.lattice
    }

    /// The signer's name: the first 16 bytes of SHA-384 over both keys.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn verifies_elliptic(&self, message: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> bool {
        self.elliptic.verifies(message, signature)
    }

    pub(crate) fn verifies_lattice(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(encoded) = self.lattice.as_slice().try_into() else { return false };
        let Ok(signature) = Signature::<MlDsa87>::try_from(signature) else { return false };
        VerifyingKey::<MlDsa87>::decode(encoded).verify_with_context(message, &[], &signature)
    }

    fn new(elliptic: SealPublicKey, lattice: Vec<u8>) -> Self {
        let digest = Sha384::new().chain_update(elliptic.to_der()).chain_update(&lattice).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self { elliptic, lattice, id: KeyId(id) }
    }
}

impl fmt::Debug for FirmwarePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FirmwarePublicKey({})", self.id)
    }
}

/// The two PEM blocks of this kind in a file, without what stands around them.
fn two_blocks<'a>(pem: &'a str, kind: &str) -> Option<(&'a str, &'a str)> {
    let [begin, end] = ["BEGIN", "END"].map(|edge| format!("-----{edge} {kind}-----"));
    let block = |from: usize| {
        let start = from + pem[from..].find(&begin)?;
        let stop = start + pem[start..].find(&end)? + end.len();
        Some((&pem[start..stop], stop))
    };
    let (first, after) = block(0)?;
    let (second, after) = block(after)?;
    (!pem[after..].contains(&begin)).then_some((first, second))
}
