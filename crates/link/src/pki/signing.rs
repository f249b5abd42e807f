//! The private keys of authorities and of new identities, as the certificate library sees them. They are `seal`'s
//! keys, which are wiped when dropped; the library's own leave an encoded copy in memory.

use meterseal_seal::{KeyError, SealKey, SealPublicKey, Signer as _, key};
use rcgen::{Error, PKCS_ECDSA_P384_SHA384, PublicKeyData, SignatureAlgorithm, SigningKey};
use zeroize::Zeroizing;

/// A P-384 key that signs certificates.
pub(super) struct CertificateKey {
    key: SealKey,
    point: Vec<u8>,
}

impl CertificateKey {
    /// A new key.
    pub(super) fn generate() -> Result<Self, getrandom::Error> {
        SealKey::generate(getrandom::fill).map(Self::new)
    }

    /// A stored key: PKCS#8 in PEM.
    pub(super) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        SealKey::from_pkcs8_pem(pem).map(Self::new)
    }

    /// The key for storing: PKCS#8 in PEM.
    pub(super) fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        self.key.to_pkcs8_pem()
    }

    fn new(key: SealKey) -> Self {
        Self { point: key.public().to_sec1_point(), key }
    }
}

/// A public key whose private half is somewhere else, on a device for example.
pub(super) struct ForeignKey(Vec<u8>);

impl ForeignKey {
    pub(super) fn new(key: &SealPublicKey) -> Self {
        Self(key.to_sec1_point())
    }
}

impl PublicKeyData for ForeignKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P384_SHA384
    }
}

impl SigningKey for CertificateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.key.sign(message).map_err(|_| Error::RemoteKeyError)?;
        key::signature_to_der(&signature).ok_or(Error::RemoteKeyError)
    }
}

impl PublicKeyData for CertificateKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P384_SHA384
    }
}
