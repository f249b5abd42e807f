//! Where an installation keeps its meters' DLMS keys for the head-end: sealed in each meter's folder. A meter without a
//! key encryption key there keeps the keys that it came with.

use std::path::PathBuf;

use meterseal_headend::enrolment::{CustodyError, HeldKeys, KeyCustody};
use meterseal_link::DlmsKeys;
use meterseal_model::MeterId;

use super::sealed_files::SealedFiles;

/// Keys in `DATA/meters/ID`.
#[derive(Debug)]
pub(crate) struct DataCustody {
    meters: PathBuf,
}

impl DataCustody {
    pub(crate) fn new(meters: PathBuf) -> Self {
        Self { meters }
    }

    fn files<T>(
        &self,
        meter: MeterId,
        act: &'static str,
        work: impl FnOnce(&SealedFiles) -> anyhow::Result<T>,
    ) -> Result<T, CustodyError> {
        let done = SealedFiles::open(&self.meters.join(meter.to_string())).and_then(|files| work(&files));
        done.map_err(|error| CustodyError { meter, act, why: format!("{error:#}") })
    }
}

impl KeyCustody for DataCustody {
    fn keys(&self, meter: MeterId) -> Result<Option<HeldKeys>, CustodyError> {
        if !SealedFiles::has_key_encryption_key(&self.meters.join(meter.to_string())) {
            return Ok(None);
        }
        self.files(meter, "read", |files| {
            let current = split(&*files.dlms_keys()?);
            let next = files.proposed_keys()?.map(|keys| split(&keys));
            Ok(Some(HeldKeys {
                // Confirmed, and the power went before the copy was removed.
                next: next.filter(|next| next.encryption != current.encryption),
                current,
                key_encryption_key: Some(files.key_encryption_key()?),
                are_initial: !files.were_replaced(),
            }))
        })
    }

    fn propose(&self, meter: MeterId, keys: &DlmsKeys) -> Result<(), CustodyError> {
        self.files(meter, "kept", |files| files.propose_keys(&keys.encryption, &keys.authentication))
    }

    fn confirm(&self, meter: MeterId) -> Result<(), CustodyError> {
        self.files(meter, "kept", SealedFiles::confirm_keys)
    }

    fn discard(&self, meter: MeterId) -> Result<(), CustodyError> {
        self.files(meter, "kept", SealedFiles::discard_keys)
    }
}

fn split(keys: &[u8; 64]) -> DlmsKeys {
    let mut halves = DlmsKeys { encryption: [0; 32], authentication: [0; 32] };
    halves.encryption.copy_from_slice(&keys[..32]);
    halves.authentication.copy_from_slice(&keys[32..]);
    halves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_proposed_confirmed_and_discarded_and_both_are_kept_in_between() {
        let folder = tempfile::tempdir().unwrap();
        let meter: MeterId = "MSL0000000002".parse().unwrap();
        let own = folder.path().join(meter.to_string());
        std::fs::create_dir(&own).unwrap();
        let custody = DataCustody::new(folder.path().to_owned());
        assert!(custody.keys(meter).unwrap().is_none(), "nothing to wrap under");
        let files = SealedFiles::open(&own).unwrap();
        files.key_encryption_key().unwrap();
        let first = custody.keys(meter).unwrap().unwrap();
        assert!(first.are_initial && first.next.is_none());

        let new = DlmsKeys { encryption: [7; 32], authentication: [8; 32] };
        custody.propose(meter, &new).unwrap();
        let both = custody.keys(meter).unwrap().unwrap();
        assert_eq!(both.current.encryption, first.current.encryption);
        assert_eq!(both.next.unwrap().encryption, [7; 32]);
        custody.discard(meter).unwrap();
        assert!(custody.keys(meter).unwrap().unwrap().next.is_none());
        custody.propose(meter, &new).unwrap();
        custody.confirm(meter).unwrap();
        let now = custody.keys(meter).unwrap().unwrap();
        assert!(!now.are_initial && now.next.is_none());
        assert_eq!((now.current.encryption, now.current.authentication), ([7; 32], [8; 32]));
    }
}
