//! P-384 keys that sign and verify seals: made, stored as PKCS#8, and named by a fingerprint.
//!
//! Signatures are deterministic (RFC 6979), so that signing needs no random source and the same input gives the same
//! bytes.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use meterseal_model::Digest384;
use p384::ecdsa::signature::{Signer as _, Verifier as _};
use p384::ecdsa::{Signature, SigningKey, VerifyingKey};
use p384::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding,
};
use sha2::{Digest as _, Sha384};
use zeroize::{Zeroize as _, Zeroizing};

/// The length of an ES384 signature: *r* and *s*, 48 bytes each (RFC 9053, 2.1).
pub const SIGNATURE_LENGTH: usize = 96;

/// Something that makes ES384 signatures: a key in memory, in a secure element, or behind PKCS#11.
pub trait Signer {
    /// Which key signs.
    fn key_id(&self) -> KeyId;

    /// The signature over SHA-384 of `message`, *r* ‖ *s*.
    ///
    /// # Errors
    /// [`KeyError::CannotSign`] when the key cannot be used now.
    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_LENGTH], KeyError>;
}

/// The name of a key inside a seal: the first 16 bytes of its fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A private key in memory. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct SealKey {
    signing: SigningKey,
    public: SealPublicKey,
}

impl SealKey {
    /// Makes a new key from a random source: `fill` must fill its argument with unpredictable bytes.
    ///
    /// # Errors
    /// Whatever `fill` returns.
    pub fn generate<E>(mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut candidate = [0u8; 48];
        loop {
            fill(&mut candidate)?;
            // Rejected with a probability of about 2⁻¹⁹⁰: zero, or not below the group's order.
            let made = SigningKey::from_slice(&candidate);
            candidate.zeroize();
            if let Ok(signing) = made {
                return Ok(Self::new(signing));
            }
        }
    }

    /// Reads a PKCS#8 private key in PEM (`-----BEGIN PRIVATE KEY-----`).
    ///
    /// # Errors
    /// [`KeyError::NotPrivate`] when it is anything but a P-384 private key.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(pem).map(Self::new).map_err(|_| KeyError::NotPrivate)
    }

    /// Reads a PKCS#8 private key in DER.
    ///
    /// # Errors
    /// [`KeyError::NotPrivate`] when it is anything but a P-384 private key.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_der(der).map(Self::new).map_err(|_| KeyError::NotPrivate)
    }

    /// The key as PKCS#8 PEM, in a buffer that is wiped when dropped.
    ///
    /// # Errors
    /// [`KeyError::Unwritable`] when it cannot be encoded.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        self.signing.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Unwritable)
    }

    /// The key as PKCS#8 DER, in a buffer that is wiped when dropped.
    ///
    /// # Errors
    /// [`KeyError::Unwritable`] when it cannot be encoded.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.signing.to_pkcs8_der().map(|document| document.to_bytes()).map_err(|_| KeyError::Unwritable)
    }

    /// Its public half.
    pub fn public(&self) -> &SealPublicKey {
        &self.public
    }

    fn new(signing: SigningKey) -> Self {
        let public = SealPublicKey::new(*signing.verifying_key());
        Self { signing, public }
    }
}

impl Signer for SealKey {
    fn key_id(&self) -> KeyId {
        self.public.key_id()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_LENGTH], KeyError> {
        let signature: Signature = self.signing.try_sign(message).map_err(|_| KeyError::CannotSign)?;
        Ok(signature.to_bytes().into())
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({}, private part withheld)", self.public.key_id())
    }
}

/// A public key that verifies seals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealPublicKey {
    verifying: VerifyingKey,
    fingerprint: Digest384,
}

impl SealPublicKey {
    /// Reads a SubjectPublicKeyInfo in PEM (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// [`KeyError::NotPublic`] when it is anything but a P-384 public key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_pem(pem).map(Self::new).map_err(|_| KeyError::NotPublic)
    }

    /// Reads a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// [`KeyError::NotPublic`] when it is anything but a P-384 public key.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_der(der).map(Self::new).map_err(|_| KeyError::NotPublic)
    }

    /// The key as SubjectPublicKeyInfo PEM.
    ///
    /// # Errors
    /// [`KeyError::Unwritable`] when it cannot be encoded.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        self.verifying.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Unwritable)
    }

    /// The key as SubjectPublicKeyInfo DER (RFC 5280, 4.1), 120 bytes.
    pub fn to_der(&self) -> Vec<u8> {
        spki(&self.verifying)
    }

    /// The key as an uncompressed point (SEC 1, 2.3.3), 97 bytes.
    pub fn to_sec1_point(&self) -> Vec<u8> {
        self.verifying.to_sec1_point(false).as_bytes().to_vec()
    }

    /// SHA-384 over the key's SubjectPublicKeyInfo DER.
    pub fn fingerprint(&self) -> Digest384 {
        self.fingerprint
    }

    /// The name by which seals call this key.
    pub fn key_id(&self) -> KeyId {
        let mut id = [0u8; 16];
        id.copy_from_slice(&self.fingerprint.0[..16]);
        KeyId(id)
    }

    /// Whether `signature` (*r* ‖ *s*) is this key's over SHA-384 of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.verifying.verify(message, &signature).is_ok())
    }

    fn new(verifying: VerifyingKey) -> Self {
        Self { fingerprint: Digest384(Sha384::digest(spki(&verifying)).into()), verifying }
    }
}

/// A signature *r* ‖ *s* as X.509 and TLS want it: an ASN.1 sequence in DER (RFC 5480). `None` when *r* or *s* is out
/// of range, so that it is no signature.
pub fn signature_to_der(signature: &[u8; SIGNATURE_LENGTH]) -> Option<Vec<u8>> {
    Signature::from_slice(signature).ok().map(|signature| signature.to_der().as_bytes().to_vec())
}

/// The reverse of [`signature_to_der`]. `None` when it is no signature of P-384 in DER.
pub fn signature_from_der(der: &[u8]) -> Option<[u8; SIGNATURE_LENGTH]> {
    Signature::from_der(der).ok().map(|signature| signature.to_bytes().into())
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Not a P-384 private key in PKCS#8.
    NotPrivate,
    /// Not a P-384 public key in SubjectPublicKeyInfo.
    NotPublic,
    /// The key could not be encoded.
    Unwritable,
    /// The key could not sign.
    CannotSign,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPrivate => {
                "this is not a P-384 private key in PKCS#8 form; give the file that begins with \
                                 BEGIN PRIVATE KEY"
            }
            Self::NotPublic => {
                "this is not a P-384 public key; give the file that begins with BEGIN PUBLIC KEY"
            }
            Self::Unwritable => "the key could not be encoded",
            Self::CannotSign => "the key could not sign; check that its key store is reachable",
        })
    }
}

impl core::error::Error for KeyError {}

/// The DER header of a P-384 SubjectPublicKeyInfo (RFC 5480): id-ecPublicKey, secp384r1, then the 97-byte point.
const SPKI_HEADER: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
    0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];

fn spki(key: &VerifyingKey) -> Vec<u8> {
    let mut der = Vec::with_capacity(120);
    der.extend_from_slice(&SPKI_HEADER);
    der.extend_from_slice(key.to_sec1_point(false).as_bytes());
    der
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A key that is the same in every run: tests only.
    pub(crate) fn fixed_key(seed: u8) -> SealKey {
        SealKey::generate(|bytes| {
            bytes.fill(seed);
            Ok::<(), core::convert::Infallible>(())
        })
        .unwrap()
    }

    #[test]
    fn a_private_key_survives_pem_and_der() {
        let key = fixed_key(7);
        let pem = key.to_pkcs8_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(SealKey::from_pkcs8_pem(&pem).unwrap().key_id(), key.key_id());
        let der = key.to_pkcs8_der().unwrap();
        assert_eq!(SealKey::from_pkcs8_der(&der).unwrap().key_id(), key.key_id());
    }

    #[test]
    fn the_fingerprint_is_over_the_standard_public_key_form() {
        let public = fixed_key(7).public().clone();
        let again = SealPublicKey::from_pem(&public.to_pem().unwrap()).unwrap();
        assert_eq!(again, public);
        let der = p384::PublicKey::from(public.verifying).to_public_key_der().unwrap();
        assert_eq!(Digest384(Sha384::digest(der.as_bytes()).into()), public.fingerprint());
        assert_eq!(SealPublicKey::from_der(der.as_bytes()).unwrap(), public);
    }

    #[test]
    fn what_is_not_a_key_is_refused_in_words() {
        assert_eq!(SealKey::from_pkcs8_pem("hello").unwrap_err(), KeyError::NotPrivate);
        assert_eq!(SealPublicKey::from_der(&[0x30, 0x00]).unwrap_err(), KeyError::NotPublic);
        let public = fixed_key(1).public().to_pem().unwrap();
        assert_eq!(SealKey::from_pkcs8_pem(&public).unwrap_err(), KeyError::NotPrivate);
    }

    #[test]
    fn the_private_part_is_not_printed() {
        let key = fixed_key(0x5a);
        let printed = alloc::format!("{key:?}");
        assert!(!printed.contains("5a5a5a5a"), "{printed}");
    }
}
