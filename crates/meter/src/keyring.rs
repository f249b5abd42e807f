//! The keys that are in force: those of the configuration until the utility transfers others, which then are in flash
//! under the device secret. A key that was replaced opens nothing any more.

use aes_kw::KekAes256;
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::{EventCode, Role, Roles};
use zeroize::{Zeroize, Zeroizing};

use crate::inner::Inner;
use crate::records::{KEYED, LastClient, State, key_index};
use crate::storage::Storage;
use crate::vault::{Item, VaultError};
use crate::{DlmsKeys, OpenError, RoleKeys, SecretKey, StorageError};

/// A role's item: generation, encryption key, authentication key.
const ITEM_BYTES: usize = 1 + 32 + 32;

/// A key of 32 bytes, wrapped (RFC 3394).
const WRAPPED_BYTES: usize = 40;

#[derive(Debug)]
pub(crate) struct Keyring {
    pub(crate) roles: RoleKeys,
    key_encryption_key: Option<SecretKey>,
    /// The roles whose key was replaced in the message being served. Their associations end with its answer.
    pub(crate) replaced: Roles,
    /// Those of them whose counters began anew.
    pub(crate) restarted: Roles,
}

/// A key to be transferred, by its number in class 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyId {
    /// 0, global unicast encryption key.
    Encryption,
    /// 2, authentication key.
    Authentication,
    /// 3, master key: the key encryption key.
    KeyEncryption,
}

impl KeyId {
    pub(crate) const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Encryption),
            2 => Some(Self::Authentication),
            3 => Some(Self::KeyEncryption),
            // 1, the broadcast key: a meter with a connection of its own is sent no broadcasts.
            _ => None,
        }
    }
}

/// Why keys were not taken over. Those in force stay so.
#[derive(Debug)]
pub(crate) enum TransferError<E: core::fmt::Debug> {
    /// No key to unwrap with, or no device secret to keep it under.
    Unprepared,
    /// Not wrapped under the key encryption key.
    Forged,
    /// None, twice the same, together what must be changed apart, or the key that is in force already.
    Unusable,
    Storage(StorageError<E>),
}

impl<E: core::fmt::Debug> From<VaultError<E>> for TransferError<E> {
    fn from(error: VaultError<E>) -> Self {
        match error {
            VaultError::Storage(error) => Self::Storage(error),
            VaultError::Sealed => Self::Unprepared,
        }
    }
}

impl Keyring {
    /// The configured keys, and in their place what was transferred since. `state` is brought up to it: where the
    /// power went between a new key and its counters, they begin anew.
    pub(crate) fn open<F: NorFlash>(
        mut roles: RoleKeys,
        key_encryption_key: Option<SecretKey>,
        storage: &mut Storage<F>,
        state: &mut State,
    ) -> Result<Self, OpenError<F::Error>> {
        let mut secret = |item| {
            storage.secret(item).map_err(|error| match error {
                VaultError::Storage(error) => OpenError::Storage(error),
                VaultError::Sealed => OpenError::SecretsSealed,
            })
        };
        for (place, role) in KEYED.into_iter().enumerate() {
            let item = secret(Item::RoleKeys(place))?;
            let known = state.key_generations[place];
            let Some(item) = item else {
                if known != 0 {
                    return Err(OpenError::KeyLost { role });
                }
                continue;
            };
            let (generation, keys) = decode(&item).ok_or(OpenError::SecretsSealed)?;
            if generation == known.wrapping_add(1) {
                state.begin_generation(place, generation);
            } else if generation != known {
                return Err(OpenError::KeyLost { role });
            }
            roles.set(role, keys);
        }
        let transferred = secret(Item::KeyEncryptionKey)?;
        let transferred = transferred.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        let key_encryption_key = transferred.map(SecretKey::new).or(key_encryption_key);
        Ok(Self { roles, key_encryption_key, replaced: Roles::NONE, restarted: Roles::NONE })
    }
}

impl State {
    /// A new key: nothing has been used or accepted under it.
    fn begin_generation(&mut self, place: usize, generation: u8) {
        self.key_generations[place] = generation;
        self.reserved_counters[place] = 0;
        self.clients[place] = LastClient::default();
    }
}

impl<F: NorFlash> Inner<F> {
    /// Takes over wrapped keys for a role, all or none. When this returns `Ok` they are in flash and in force, and
    /// those that they replace open nothing any more; the role's associations end with the present answer.
    pub(crate) fn transfer_keys(
        &mut self,
        role: Role,
        wrapped: &[(KeyId, &[u8])],
    ) -> Result<(), TransferError<F::Error>> {
        let place = key_index(role).ok_or(TransferError::Unusable)?;
        let Some(kek) = &self.keys.key_encryption_key else { return Err(TransferError::Unprepared) };
        let kek = KekAes256::from(*kek.expose());
        let mut encryption = None;
        let mut authentication = None;
        let mut key_encryption = None;
        for (id, wrapped) in wrapped {
            let mut key = Zeroizing::new([0; 32]);
            if wrapped.len() != WRAPPED_BYTES {
                return Err(TransferError::Forged);
            }
            kek.unwrap(wrapped, key.as_mut_slice()).map_err(|_| TransferError::Forged)?;
            let slot = match id {
                KeyId::Encryption => &mut encryption,
                KeyId::Authentication => &mut authentication,
                KeyId::KeyEncryption => &mut key_encryption,
            };
            if slot.replace(key).is_some() {
                return Err(TransferError::Unusable);
            }
        }
        match (encryption, authentication, key_encryption) {
            (None, None, Some(key)) => self.replace_key_encryption_key(&key),
            (None, None, None) | (_, _, Some(_)) => Err(TransferError::Unusable),
            (encryption, authentication, None) => {
                self.replace_role_keys(role, place, encryption.as_deref(), authentication.as_deref())
            }
        }
    }

    fn replace_key_encryption_key(&mut self, key: &[u8; 32]) -> Result<(), TransferError<F::Error>> {
        self.storage.get_mut().put_secret(Item::KeyEncryptionKey, key)?;
        self.keys.key_encryption_key = Some(SecretKey::new(*key));
        self.spend_incoming_counter();
        self.keys_changed(0);
        Ok(())
    }

    fn replace_role_keys(
        &mut self,
        role: Role,
        place: usize,
        encryption: Option<&[u8; 32]>,
        authentication: Option<&[u8; 32]>,
    ) -> Result<(), TransferError<F::Error>> {
        let old = self.keys.roles.get(role);
        let (old_encryption, old_authentication) =
            (old.map(|keys| &keys.encryption), old.map(|keys| &keys.authentication));
        // A role that had no keys yet gets both at once.
        let (Some(new_encryption), Some(new_authentication)) =
            (encryption.or(old_encryption), authentication.or(old_authentication))
        else {
            return Err(TransferError::Unusable);
        };
        // The same key again would be used with counters that it has seen.
        if encryption.is_some() && encryption == old_encryption
            || self.keys.roles.uses(new_encryption, Some(role))
        {
            return Err(TransferError::Unusable);
        }
        let restarts = encryption.is_some();
        let generation = self.state.key_generations[place];
        // Another authentication key alone is no new key for the cipher: its counters go on.
        let generation = if restarts { generation.wrapping_add(1) } else { generation };
        let keys = DlmsKeys { encryption: *new_encryption, authentication: *new_authentication };
        let mut item = encode(generation, &keys);
        let stored = self.storage.get_mut().put_secret(Item::RoleKeys(place), &item);
        item.zeroize();
        stored?;
        // From here on the new keys are in force, whatever fails.
        self.keys.roles.set(role, keys);
        self.keys.replaced = self.keys.replaced.with(role);
        if restarts {
            self.state.begin_generation(place, generation);
            self.used_counters[place] = 0;
            self.keys.restarted = self.keys.restarted.with(role);
        }
        self.spend_incoming_counter_if(|key| key != place || !restarts);
        self.keys_changed(role.client_address().into());
        Ok(())
    }

    fn keys_changed(&mut self, whose: i64) {
        // The new keys are in flash and in force: a failure from here on is made good later, and is none of the
        // client's. Its counters come to flash before any is used, and the event waits until it can be written.
        if self.write_state_twice().is_err() {
            self.state_changed = true;
        }
        let _ = self.log(EventCode::KeysChanged, whose);
    }
}

fn encode(generation: u8, keys: &DlmsKeys) -> [u8; ITEM_BYTES] {
    let mut item = [0; ITEM_BYTES];
    item[0] = generation;
    item[1..33].copy_from_slice(&keys.encryption);
    item[33..].copy_from_slice(&keys.authentication);
    item
}

fn decode(item: &[u8]) -> Option<(u8, DlmsKeys)> {
    let item: &[u8; ITEM_BYTES] = item.try_into().ok()?;
    let encryption = item[1..33].try_into().ok()?;
    let authentication = item[33..].try_into().ok()?;
    Some((item[0], DlmsKeys { encryption, authentication }))
}
