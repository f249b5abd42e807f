//! Secrets in flash, under AES-256-GCM with the device secret: the keys that the utility has transferred, and
//! the wireless network's passphrase.
//!
//! An item is `version u8 | counter u64 | salt u32 | ciphertext | tag (16 bytes)`. Counter and salt are the nonce; the
//! additional data bind the item to its meter and its key in the map, so that no item passes for another. The counter
//! is reserved in flash before it is used, and the salt is new with each start: a nonce is not used twice even by a
//! write that the power cut short.

use alloc::vec::Vec;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::SystemTitle;
use meterseal_seal::log::{LogId, SaltKey};
use zeroize::Zeroizing;

use crate::flash::{Map, Put};
use crate::{SecretKey, StorageError};

const VERSION: u8 = 1;
/// Version, counter, salt.
const HEADER_BYTES: usize = 1 + 8 + 4;
/// How many counters are reserved at once.
const COUNTER_STEP: u64 = 64;

/// What is kept, by its key in the map. Numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A role's keys, by the role's place in [`crate::records::KEYED`].
    RoleKeys(usize),
    /// The key under which keys are transferred.
    KeyEncryptionKey,
    /// The wireless network's name and passphrase.
    Wifi,
    /// How often the meter has been tampered with: no secret, and kept in the clear.
    TamperCounts,
    /// The key of the log's salts.
    LogSalts,
}

impl Item {
    const fn key(self) -> u16 {
        match self {
            Self::KeyEncryptionKey => 1,
            Self::Wifi => 2,
            Self::TamperCounts => 8,
            Self::LogSalts => 3,
            Self::RoleKeys(place) => 16 + place as u16,
        }
    }
}

/// The sealed log's name, 16 bytes; behind it the key of its salts where there is no device secret to seal that with.
const LOG: u16 = 4;

/// The map's own entry: the highest counter that may have been used. No secret.
const RESERVED: u16 = 0;

/// The secrets of one meter.
pub(crate) struct Vault {
    map: Map,
    cipher: Option<Aes256Gcm>,
    owner: SystemTitle,
    salt: [u8; 4],
    used: u64,
    reserved: u64,
}

impl core::fmt::Debug for Vault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Vault").field("used", &self.used).finish_non_exhaustive()
    }
}

/// Why a secret was not to be had.
#[derive(Debug)]
pub(crate) enum VaultError<E: core::fmt::Debug> {
    Storage(StorageError<E>),
    /// There is no device secret, or not the one that the item was enciphered under, or the item is spoilt.
    Sealed,
}

impl<E: core::fmt::Debug> From<StorageError<E>> for VaultError<E> {
    fn from(error: StorageError<E>) -> Self {
        Self::Storage(error)
    }
}

impl Vault {
    pub(crate) fn open<F: NorFlash>(
        flash: &mut F,
        map: Map,
        secret: Option<&SecretKey>,
        owner: SystemTitle,
        salt: [u8; 4],
    ) -> Result<Self, StorageError<F::Error>> {
        let reserved = map.get(flash, RESERVED)?.and_then(|bytes| bytes.try_into().ok());
        let reserved = reserved.map_or(0, u64::from_le_bytes);
        let cipher = secret.map(|secret| Aes256Gcm::new(secret.expose().into()));
        Ok(Self { map, cipher, owner, salt, used: reserved, reserved })
    }

    /// Whether there is a device secret.
    pub(crate) const fn is_open(&self) -> bool {
        self.cipher.is_some()
    }

    /// A secret; `None` where there is none.
    pub(crate) fn get<F: NorFlash>(
        &self,
        flash: &mut F,
        item: Item,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError<F::Error>> {
        let Some(sealed) = self.map.get(flash, item.key())? else { return Ok(None) };
        let (header, ciphertext) = sealed.split_at_checked(HEADER_BYTES).ok_or(VaultError::Sealed)?;
        let cipher = self.cipher.as_ref().filter(|_| header[0] == VERSION).ok_or(VaultError::Sealed)?;
        let aad = self.additional_data(item);
        let payload = Payload { msg: ciphertext, aad: &aad };
        let plain =
            cipher.decrypt(Nonce::from_slice(&header[1..]), payload).map_err(|_| VaultError::Sealed)?;
        Ok(Some(Zeroizing::new(plain)))
    }

    /// Keeps a secret in place of what was kept. When this returns, it is in flash; when it fails, the old one is.
    pub(crate) fn put<F: NorFlash>(
        &mut self,
        flash: &mut F,
        item: Item,
        plain: &[u8],
    ) -> Result<(), VaultError<F::Error>> {
        if self.cipher.is_none() {
            return Err(VaultError::Sealed);
        }
        let counter = self.next_counter(flash)?;
        let mut header = [0; HEADER_BYTES];
        Put::new(&mut header).u8(VERSION).u64(counter).bytes(&self.salt);
        let aad = self.additional_data(item);
        let payload = Payload { msg: plain, aad: &aad };
        let cipher = self.cipher.as_ref().ok_or(VaultError::Sealed)?;
        let ciphertext =
            cipher.encrypt(Nonce::from_slice(&header[1..]), payload).map_err(|_| VaultError::Sealed)?;
        let mut sealed = Vec::with_capacity(HEADER_BYTES + ciphertext.len());
        sealed.extend_from_slice(&header);
        sealed.extend_from_slice(&ciphertext);
        self.map.put(flash, item.key(), &sealed)?;
        Ok(())
    }

    /// What is kept in the clear; `None` where there is nothing.
    pub(crate) fn plain<F: NorFlash>(
        &self,
        flash: &mut F,
        item: Item,
    ) -> Result<Option<Vec<u8>>, StorageError<F::Error>> {
        self.map.get(flash, item.key())
    }

    /// Keeps something in the clear. When this returns, it is in flash; when it fails, what was there is.
    pub(crate) fn put_plain<F: NorFlash>(
        &self,
        flash: &mut F,
        item: Item,
        bytes: &[u8],
    ) -> Result<(), StorageError<F::Error>> {
        self.map.put(flash, item.key(), bytes)
    }

    /// The sealed log's name and the key of its salts; `fresh` where this flash has none yet. The name is written last:
    /// until it is there, nothing has been salted.
    pub(crate) fn log<F: NorFlash>(
        &mut self,
        flash: &mut F,
        fresh: &([u8; 16], [u8; 32]),
    ) -> Result<(LogId, SaltKey), StorageError<F::Error>> {
        if let Some(known) = self.map.get(flash, LOG)?
            && let Some((name, rest)) = known.split_first_chunk()
        {
            let key = match <[u8; 32]>::try_from(rest) {
                Ok(key) => Some(SaltKey::new(key)),
                Err(_) => match self.get(flash, Item::LogSalts) {
                    Ok(plain) => plain.and_then(|plain| plain.as_slice().try_into().ok()).map(SaltKey::new),
                    Err(VaultError::Storage(error)) => return Err(error),
                    // Without the secret the leaves cannot be written out again; another log begins.
                    Err(VaultError::Sealed) => None,
                },
            };
            if let Some(key) = key {
                return Ok((LogId(*name), key));
            }
        }
        let (name, key) = fresh;
        let mut known = Vec::from(name);
        match self.put(flash, Item::LogSalts, key) {
            Ok(()) => {}
            Err(VaultError::Storage(error)) => return Err(error),
            Err(VaultError::Sealed) => known.extend_from_slice(key),
        }
        self.map.put(flash, LOG, &known)?;
        Ok((LogId(*name), SaltKey::new(*key)))
    }

    fn next_counter<F: NorFlash>(&mut self, flash: &mut F) -> Result<u64, StorageError<F::Error>> {
        let counter = self.used + 1;
        if counter > self.reserved {
            let reserved = counter + COUNTER_STEP;
            self.map.put(flash, RESERVED, &reserved.to_le_bytes())?;
            self.reserved = reserved;
        }
        self.used = counter;
        Ok(counter)
    }

    fn additional_data(&self, item: Item) -> [u8; 18] {
        let mut data = *b"MTRVAULT\0\0\0\0\0\0\0\0\0\0";
        data[8..16].copy_from_slice(&self.owner.0);
        data[16..].copy_from_slice(&item.key().to_le_bytes());
        data
    }
}
