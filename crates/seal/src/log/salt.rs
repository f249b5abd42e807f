//! The salt of each leaf: unguessable without the meter's key, so that a leaf's hash, which a neighbour's proof shows,
//! says nothing about the leaf; and derived, so that nothing needs to be stored for it.

use core::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use super::LogId;

/// The key that makes the salts of one log, 32 unpredictable bytes. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct SaltKey([u8; 32]);

impl SaltKey {
    /// Takes 32 bytes from a random source, or from where they are stored.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key, to be stored.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The salt of a leaf: the first 16 bytes of HMAC-SHA-256 (RFC 2104) over log id and sequence (big-endian).
    pub fn salt(&self, log: LogId, sequence: u64) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(&log.0);
        mac.update(&sequence.to_be_bytes());
        let mut salt = [0; 16];
        salt.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        salt
    }
}

impl Drop for SaltKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for SaltKey {}

impl fmt::Debug for SaltKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltKey(withheld)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_leaf_has_a_salt_of_its_own_and_always_the_same() {
        let key = SaltKey::new([1; 32]);
        let salt = key.salt(LogId([2; 16]), 3);
        assert_eq!(key.clone().salt(LogId([2; 16]), 3), salt);
        assert_ne!(key.salt(LogId([2; 16]), 4), salt);
        assert_ne!(key.salt(LogId([3; 16]), 3), salt);
        assert_ne!(SaltKey::new([4; 32]).salt(LogId([2; 16]), 3), salt);
        assert_eq!(alloc::format!("{key:?}"), "SaltKey(withheld)");
    }
}
