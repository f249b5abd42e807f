//! The virtual meter's log key: made in the factory, reproducible, certified by nobody.

use meterseal_seal::{KeySlot, KeyState, KeyStore, KeyStoreError, SealKey, SealPublicKey, Signer as _};

/// It signs; nothing can be made, imported or removed.
#[derive(Debug)]
pub(super) struct LogKey(pub(super) SealKey);

impl LogKey {
    fn key(&self, slot: KeySlot, state: KeyState) -> Result<&SealKey, KeyStoreError> {
        let held = (slot, state) == (KeySlot::Log, KeyState::Current);
        if held { Ok(&self.0) } else { Err(KeyStoreError::NoKey(slot, state)) }
    }
}

impl KeyStore for LogKey {
    fn generate(&self, slot: KeySlot) -> Result<SealPublicKey, KeyStoreError> {
        Err(KeyStoreError::NoKey(slot, KeyState::Pending))
    }

    fn public_key(&self, slot: KeySlot, state: KeyState) -> Result<SealPublicKey, KeyStoreError> {
        Ok(self.key(slot, state)?.public().clone())
    }

    fn sign(&self, slot: KeySlot, state: KeyState, message: &[u8]) -> Result<[u8; 96], KeyStoreError> {
        Ok(self.key(slot, state)?.sign(message)?)
    }

    fn certificates(&self, _: KeySlot) -> Result<Vec<Vec<u8>>, KeyStoreError> {
        Ok(Vec::new())
    }

    fn import(&self, slot: KeySlot, _: &[Vec<u8>]) -> Result<(), KeyStoreError> {
        Err(KeyStoreError::NoKey(slot, KeyState::Pending))
    }

    fn remove(&self, slot: KeySlot) -> Result<(), KeyStoreError> {
        Err(KeyStoreError::Storage(format!("the {slot} key of a virtual meter stays")))
    }
}
