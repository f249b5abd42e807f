//! What the DLMS engine gets of keys and randomness: one role's keys, and one challenge per association.

use alloc::sync::Arc;
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering};

use dlms_cosem_rs::codec::{Error, ErrorKind, Result};
use dlms_cosem_rs::security::{
    CryptoProvider, Key, KeyRef, KeyRing, RandomSource, RustCryptoProvider, SecuritySuite,
};

use crate::DlmsKeys;

/// The longest challenge that HLS allows.
pub(super) const CHALLENGE_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct Provider {
    crypto: RustCryptoProvider<OneChallenge>,
    sealing: Sealing,
}

/// Stops an engine from sealing while it spends an invocation counter that a push will use: the counter is then
/// the push's alone, and no nonce protects two messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Sealing {
    withheld: Arc<AtomicBool>,
}

impl Sealing {
    pub(super) fn withhold(&self, withheld: bool) {
        self.withheld.store(withheld, Ordering::Relaxed);
    }
}

/// Bytes for the one challenge of an association; there are no more, so that none is used twice.
#[derive(Debug)]
pub(super) struct OneChallenge(Cell<Option<[u8; CHALLENGE_BYTES]>>);

impl RandomSource for OneChallenge {
    fn fill(&self, out: &mut [u8]) -> Result<()> {
        let unsupported = Error::new(ErrorKind::Unsupported, 0);
        let bytes = self.0.take().ok_or(unsupported)?;
        out.copy_from_slice(bytes.get(..out.len()).ok_or(unsupported)?);
        Ok(())
    }
}

impl Provider {
    pub(super) fn new(
        keys: Option<&DlmsKeys>,
        challenge: Option<[u8; CHALLENGE_BYTES]>,
        sealing: Sealing,
    ) -> Self {
        let ring = keys.map_or_else(KeyRing::default, key_ring);
        Self { crypto: RustCryptoProvider::with_rng(ring, OneChallenge(Cell::new(challenge))), sealing }
    }
}

pub(super) fn key_ring(keys: &DlmsKeys) -> KeyRing {
    KeyRing::new_256(keys.encryption, keys.authentication)
}

impl CryptoProvider for Provider {
    fn aead_seal(
        &self,
        key: KeyRef<'_>,
        suite: SecuritySuite,
        nonce: &[u8; 12],
        aad: &[u8],
        buf: &mut [u8],
    ) -> Result<[u8; 12]> {
        if self.sealing.withheld.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unsupported, 0));
        }
        self.crypto.aead_seal(key, suite, nonce, aad, buf)
    }

    fn aead_open(
        &self,
        key: KeyRef<'_>,
        suite: SecuritySuite,
        nonce: &[u8; 12],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; 12],
    ) -> Result<()> {
        self.crypto.aead_open(key, suite, nonce, aad, buf, tag)
    }

    fn gmac(
        &self,
        key: KeyRef<'_>,
        suite: SecuritySuite,
        nonce: &[u8; 12],
        aad: &[&[u8]],
    ) -> Result<[u8; 12]> {
        self.crypto.gmac(key, suite, nonce, aad)
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        self.crypto.random(out)
    }

    fn authentication_key(&self) -> Option<&[u8]> {
        self.crypto.authentication_key()
    }

    fn set_dedicated_key(&mut self, key: Key) -> Result<()> {
        self.crypto.set_dedicated_key(key)
    }

    fn clear_dedicated_key(&mut self) {
        self.crypto.clear_dedicated_key();
    }
}
