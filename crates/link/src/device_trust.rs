//! What a device remembers between two starts of whom it trusts: the last time that it knew, and the lists of revoked
//! certificates that it had. One file, written whole or not at all.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use minicbor::{Decoder, Encoder};

use crate::pki::{PkiError, read_bytes, write_secret};
use crate::tls::{MeterClock, Trust};

/// A device's clock and trust, with the file that keeps them.
#[derive(Debug)]
pub struct DeviceTrust {
    path: PathBuf,
    clock: MeterClock,
    trust: Trust,
}

impl DeviceTrust {
    /// Reads what was remembered, or begins with nothing but the time of this program's making. `trust` names the
    /// authorities; what the device learns of revocations is its own. The clock is not set: see
    /// [`opening`](crate::opening).
    ///
    /// # Errors
    /// [`PkiError`] when the file is there and cannot be used. It is not passed over, because a device that forgets
    /// its last time could be shown an old one.
    pub fn open(path: &Path, trust: &Trust) -> Result<Self, PkiError> {
        let revocations = trust.revocations.separate();
        let mut floor = made();
        if path.exists() {
            let bytes = read_bytes(path, MAX_FILE)?;
            let (sealed, lists) = decode(&bytes).ok_or_else(|| {
                PkiError::new(path, "is damaged, or of a newer version").hint(
                    "restore it from a copy; without it, the device would believe older times than it knew",
                )
            })?;
            floor = floor.max(SystemTime::UNIX_EPOCH + Duration::from_millis(sealed));
            for list in lists {
                // An authority that is no longer trusted here has nothing to revoke.
                if let Err(error) = revocations.load(list) {
                    tracing::debug!(target: "meterseal::revocation", path = %path.display(), %error, "a remembered list is not used");
                }
            }
        }
        let trust = Trust { revocations, ..trust.clone() };
        Ok(Self { path: path.to_owned(), clock: MeterClock::unset(floor), trust })
    }

    /// The device's clock.
    pub fn clock(&self) -> &MeterClock {
        &self.clock
    }

    /// Whom it trusts.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Remembers the time, as far as it is known, and the lists. Waits for the disk.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn save(&self) -> Result<(), PkiError> {
        let time = self.clock.seal();
        let millis = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis();
        let lists = self.trust.revocations.newer_than(&[], MAX_LISTS);
        let mut encoder = Encoder::new(Vec::new());
        let written = (|| {
            encoder.array(3)?.u8(VERSION)?.u64(u64::try_from(millis).unwrap_or(u64::MAX))?;
            encoder.array(lists.len() as u64)?;
            for list in &lists {
                encoder.bytes(list)?;
            }
            Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
        })();
        debug_assert!(written.is_ok(), "a Vec takes every write");
        write_secret(&self.path, &encoder.into_writer())
    }
}

fn decode(bytes: &[u8]) -> Option<(u64, Vec<&[u8]>)> {
    let mut decoder = Decoder::new(bytes);
    if decoder.array().ok()? != Some(3) || decoder.u8().ok()? != VERSION {
        return None;
    }
    let millis = decoder.u64().ok()?;
    let count = decoder.array().ok()?.filter(|&count| count <= MAX_LIST_COUNT)?;
    let lists = (0..count).map(|_| decoder.bytes().ok()).collect::<Option<Vec<_>>>()?;
    // Further than any calendar: an overflow would follow.
    (decoder.position() == bytes.len() && millis < 1 << 48).then_some((millis, lists))
}

/// When this program was made: from the environment of a reproducible build, else this source's month.
fn made() -> SystemTime {
    let seconds = option_env!("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok()).unwrap_or(SOURCE);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// 2026-11-01T00:00:00Z.
const SOURCE: u64 = 1_793_491_200;
const VERSION: u8 = 1;
const MAX_LIST_COUNT: u64 = 8;
const MAX_LISTS: usize = 4 << 20;
const MAX_FILE: u64 = (MAX_LISTS as u64) + 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Pki, Reason};

    #[test]
    fn time_and_lists_outlive_a_restart_and_damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::create(&dir.path().join("pki")).unwrap();
        let south = pki.issue_headend("south").unwrap().identity().unwrap().certificate().unwrap();
        let path = dir.path().join("trust.cbor");
        let first = DeviceTrust::open(&path, &pki.trust()).unwrap();
        assert_eq!((first.clock().now(), first.clock().floor()), (None, made()));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        first.clock().set(time).unwrap();
        pki.revoke(&pki.find(&south.serial).unwrap(), Reason::KeyCompromise).unwrap();
        for list in pki.trust().revocations.newer_than(&[], usize::MAX) {
            first.trust().revocations.load(&list).unwrap();
        }
        first.save().unwrap();

        let again = DeviceTrust::open(&path, &pki.trust()).unwrap();
        assert!(!again.clock().is_set() && again.clock().floor() >= time);
        assert!(again.trust().revocations.is_revoked(&south));
        let bytes = std::fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None);
        }
        std::fs::write(&path, b"x").unwrap();
        assert!(DeviceTrust::open(&path, &pki.trust()).unwrap_err().to_string().contains("is damaged"));
    }
}
