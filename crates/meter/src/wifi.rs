//! The wireless network that the meter joins: set by the installer, kept in flash under the device secret.

use alloc::string::String;
use alloc::vec::Vec;

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::EventCode;
use meterseal_model::objects::Class;
use zeroize::Zeroizing;

use crate::StorageError;
use crate::inner::Inner;
use crate::storage::Storage;
use crate::vault::{Item, VaultError};

/// An SSID's longest (IEEE 802.11, not verified against the standard's text).
const SSID_MAX: usize = 32;
/// A passphrase's length: that of WPA2, which access points in transition mode demand of WPA3's too (not verified against
/// the standard's text).
const PASSPHRASE: core::ops::RangeInclusive<usize> = 8..=63;

/// A wireless network's name, and its WPA3 passphrase once that is set. Its debug form tells neither.
#[derive(Clone, PartialEq, Eq)]
pub struct WifiNetwork {
    ssid: Vec<u8>,
    passphrase: Option<Zeroizing<String>>,
}

impl core::fmt::Debug for WifiNetwork {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WifiNetwork").finish_non_exhaustive()
    }
}

impl WifiNetwork {
    /// Its SSID, 1 to 32 bytes, which need not be text.
    pub fn ssid(&self) -> &[u8] {
        &self.ssid
    }

    /// Its passphrase, 8 to 63 printable characters of ASCII; `None` until it is set for this SSID. Give it to the radio
    /// and nobody else.
    pub fn passphrase(&self) -> Option<&str> {
        self.passphrase.as_ref().map(|passphrase| passphrase.as_str())
    }

    /// The SSID's length and the SSID; then the passphrase.
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let passphrase = self.passphrase().unwrap_or_default();
        // Room for all of it: a vector that grows leaves what it held behind.
        let mut item = Zeroizing::new(Vec::with_capacity(1 + SSID_MAX + *PASSPHRASE.end()));
        item.push(self.ssid.len() as u8);
        item.extend_from_slice(&self.ssid);
        item.extend_from_slice(passphrase.as_bytes());
        item
    }

    fn decode(item: &[u8]) -> Option<Self> {
        let (length, rest) = item.split_first()?;
        let (ssid, passphrase) = rest.split_at_checked((*length).into())?;
        let passphrase = match passphrase {
            [] => None,
            bytes => Some(checked_passphrase(bytes)?),
        };
        Some(Self { ssid: checked_ssid(ssid)?.into(), passphrase })
    }
}

fn checked_ssid(bytes: &[u8]) -> Option<&[u8]> {
    (1..=SSID_MAX).contains(&bytes.len()).then_some(bytes)
}

fn checked_passphrase(bytes: &[u8]) -> Option<Zeroizing<String>> {
    let is_printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    let text =
        core::str::from_utf8(bytes).ok().filter(|_| is_printable && PASSPHRASE.contains(&bytes.len()))?;
    Some(Zeroizing::new(text.into()))
}

/// Why a network was not taken over. What was known stays so.
#[derive(Debug)]
pub(crate) enum WifiError<E: core::fmt::Debug> {
    /// Too short, too long, or of other characters than it may have; or a passphrase without an SSID.
    Unusable,
    /// No device secret to keep it under.
    Unprepared,
    Storage(StorageError<E>),
}

impl<E: core::fmt::Debug> From<StorageError<E>> for WifiError<E> {
    fn from(error: StorageError<E>) -> Self {
        Self::Storage(error)
    }
}

/// The network that is kept. One that cannot be deciphered is as good as none: the installer sets it again, and the meter
/// measures meanwhile.
pub(crate) fn kept<F: NorFlash>(
    storage: &mut Storage<F>,
) -> Result<Option<WifiNetwork>, StorageError<F::Error>> {
    match storage.secret(Item::Wifi) {
        Ok(item) => Ok(item.and_then(|item| WifiNetwork::decode(&item))),
        Err(VaultError::Sealed) => Ok(None),
        Err(VaultError::Storage(error)) => Err(error),
    }
}

impl<F: NorFlash> Inner<F> {
    /// Sets the network's name. Another one forgets the passphrase, which was another network's.
    pub(crate) fn set_ssid(&mut self, ssid: &[u8]) -> Result<(), WifiError<F::Error>> {
        let ssid = checked_ssid(ssid).ok_or(WifiError::Unusable)?;
        if self.wifi.as_ref().is_some_and(|known| known.ssid == ssid) {
            return Ok(());
        }
        self.keep_network(WifiNetwork { ssid: ssid.into(), passphrase: None })
    }

    /// Sets the network's passphrase. Written even when it is the same, so that nobody finds out by trying.
    pub(crate) fn set_passphrase(&mut self, passphrase: &[u8]) -> Result<(), WifiError<F::Error>> {
        let passphrase = checked_passphrase(passphrase).ok_or(WifiError::Unusable)?;
        let known = self.wifi.as_ref().ok_or(WifiError::Unusable)?;
        self.keep_network(WifiNetwork { ssid: known.ssid.clone(), passphrase: Some(passphrase) })
    }

    /// Logged, then kept, then in force.
    fn keep_network(&mut self, network: WifiNetwork) -> Result<(), WifiError<F::Error>> {
        if !self.storage.get_mut().has_device_secret() {
            return Err(WifiError::Unprepared);
        }
        self.log(EventCode::ParametersChanged, Class::Data.id().into())?;
        self.spend_incoming_counter();
        self.write_state()?;
        self.storage.get_mut().put_secret(Item::Wifi, &network.encode()).map_err(|error| match error {
            VaultError::Storage(error) => WifiError::Storage(error),
            VaultError::Sealed => WifiError::Unprepared,
        })?;
        self.wifi = Some(network);
        Ok(())
    }
}
