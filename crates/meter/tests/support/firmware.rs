//! A maker, a meter's firmware partition, and a life of it from power-on to power-off.

#![allow(
    unreachable_pub,
    dead_code,
    reason = "shared by a test, a campaign and an example, each of which uses a part"
)]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::convert::Infallible;
use std::fmt::Debug;

use embedded_storage::nor_flash::NorFlash;
use meterseal_meter::firmware::{
    BLOCK_BYTES, Booted, FirmwareError, FirmwareLayout, FirmwareStore, Health, Phase, Probation, Run, Step,
    Target, TransferStatus, boot, provision,
};
use meterseal_model::{Digest384, Role, UnixMillis};
use meterseal_seal::firmware::{
    Digests, FirmwareKey, Manifest, Packing, Role as SignerRole, TrustRoot, TrustedKey, pack, package,
};

pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
pub const HEALTHY: Health = Health { measured: true, logged: true, reached_head_end: true };

/// Who signs, what was signed, and what a device must be.
pub struct Maker {
    pub key: FirmwareKey,
    pub root: Vec<u8>,
    pub trust: TrustRoot,
    pub target: Target,
}

pub fn key(seed: u8) -> FirmwareKey {
    FirmwareKey::generate(|bytes| {
        bytes.fill(seed);
        Ok::<(), Infallible>(())
    })
    .unwrap()
}

impl Maker {
    pub fn new() -> Self {
        let key = key(1);
        let trust = root(1, &[&key]);
        let root = trust.sign(&[&key]).unwrap();
        let target = Target {
            vendor: "Meterseal".into(),
            device_type: "MS3-5(100)".into(),
            hardware: "B".into(),
            class_key: Some([9; 32].into()),
        };
        Self { key, root, trust, target }
    }

    pub fn manifest(&self, image: &[u8], sequence: u64) -> Manifest {
        Manifest {
            vendor: "Meterseal".into(),
            device_type: "MS3-5(100)".into(),
            hardware: vec!["A".into(), "B".into()],
            version: format!("1.0.{sequence}"),
            sequence,
            minimum_previous: 0,
            image: Digests::of(image),
            stored: Digests::of(image),
            packing: Packing::Plain,
            encryption: None,
            not_before: None,
        }
    }

    /// As it is.
    pub fn plain(&self, image: &[u8], sequence: u64) -> Vec<u8> {
        package::write(&self.manifest(image, sequence), image, &[&self.key]).unwrap()
    }

    /// Differences, deflated, enciphered: everything that a package can be.
    pub fn delta(&self, base: &[u8], image: &[u8], sequence: u64) -> Vec<u8> {
        let mut differences = Vec::new();
        bsdiff::diff(base, image, &mut differences).unwrap();
        let (stored, encryption) = pack::encipher(&pack::deflate(&differences), &[9; 32], [3; 7]);
        let manifest = Manifest {
            stored: Digests::of(&stored),
            packing: Packing::Delta { base: Digests::of(base) },
            encryption: Some(encryption),
            ..self.manifest(image, sequence)
        };
        package::write(&manifest, &stored, &[&self.key]).unwrap()
    }
}

pub fn root(version: u64, keys: &[&FirmwareKey]) -> TrustRoot {
    let mut keys: Vec<_> = keys
        .iter()
        .map(|key| TrustedKey {
            name: "Signer".into(),
            key: key.public().clone(),
            roles: vec![SignerRole::Root, SignerRole::Release],
            expires: UnixMillis(2_000_000_000_000),
        })
        .collect();
    keys.sort_by_key(|trusted| trusted.key.id());
    TrustRoot { version, thresholds: [1, 1, 0], keys }
}

/// Half noise, half what repeats, as programs are.
pub fn image(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    (0..length)
        .map(|k| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if k / 64 % 2 == 0 { (state >> 24) as u8 } else { (k / 7) as u8 }
        })
        .collect()
}

pub const LAYOUT: FirmwareLayout =
    FirmwareLayout { slot_bytes: 64 << 10, envelope_bytes: 8 << 10, root_bytes: 16 << 10, journal_units: 2 };

/// What an image does once it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Measures, logs, reaches the head-end.
    Good,
    /// Ends before it does anything.
    Crashes,
    /// Never comes to anything; the watchdog ends it.
    Hangs,
    /// Works, but for the head-end.
    NoHeadEnd,
    /// Notices that it measures wrong.
    MeasuresWrong,
}

/// How a life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It restarted itself, or was restarted.
    Restart,
    /// There is nothing more to do: this sequence number runs, confirmed.
    Settled(u64),
}

/// From power-on to the end of a life, with a head-end that has a package for it and a new image that behaves so. Checks
/// in passing what must always hold: what boots is one of the images, and none older than was ever confirmed.
pub fn life<F: NorFlash>(
    flash: &mut F,
    maker: &Maker,
    offered: &[u8],
    images: &[&[u8]],
    new: Behaviour,
) -> Result<End, FirmwareError<F::Error>> {
    let mut loaded = Vec::new();
    let Booted { run, manifest, record } = boot(&mut *flash, 0, LAYOUT, &maker.target, &mut loaded)?;
    let manifest = manifest.unwrap_or_else(|| panic!("nothing boots: {run:?}, {record:?}"));
    assert!(images.contains(&loaded.as_slice()), "an image that nobody made boots");
    assert_eq!(Digests::of(&loaded), manifest.image);
    assert!(manifest.sequence >= record.highest, "an older image boots: {record:?}");
    let mut store = FirmwareStore::open(flash, 0, LAYOUT, maker.target.clone())?;
    if let Run::Probation(_) = run {
        let shown = match new {
            Behaviour::Good => HEALTHY,
            Behaviour::Crashes | Behaviour::Hangs => return Ok(End::Restart),
            Behaviour::NoHeadEnd => Health { reached_head_end: false, ..HEALTHY },
            Behaviour::MeasuresWrong => {
                store.give_up()?;
                return Ok(End::Restart);
            }
        };
        assert_eq!(store.probation(Health { measured: false, ..shown }, 1000)?, Probation::Waiting);
        return match store.probation(shown, 3_600_000)? {
            Probation::Confirmed => {
                log(&mut store)?;
                Ok(End::Settled(manifest.sequence))
            }
            _ => Ok(End::Restart),
        };
    }
    log(&mut store)?;
    let given_up =
        matches!(store.record().candidate, Some(candidate) if matches!(candidate.phase, Phase::GivenUp(_)));
    if given_up || store.status() == Some(TransferStatus::Activated) {
        return Ok(End::Settled(manifest.sequence));
    }
    if !store.wants_restart(Some(NOW))? {
        update(&mut store, offered)?;
    }
    log(&mut store)?;
    assert!(store.wants_restart(Some(NOW))?);
    Ok(End::Restart)
}

/// What a head-end does: sends what is missing, has it verified, activates it.
pub fn update<F: NorFlash>(
    store: &mut FirmwareStore<F>,
    offered: &[u8],
) -> Result<(), FirmwareError<F::Error>> {
    transfer(store, offered)?;
    store.verify()?;
    loop {
        match store.step(Some(NOW))? {
            Step::UnderWay => {}
            Step::Verified | Step::Idle => break,
            Step::Refused(refusal) => return Err(refusal.into()),
        }
    }
    let digest = digest(offered);
    store.activate(Role::Firmware, &digest, None, Some(NOW))
}

pub fn transfer<F: NorFlash>(
    store: &mut FirmwareStore<F>,
    offered: &[u8],
) -> Result<(), FirmwareError<F::Error>> {
    store.initiate(&Digests::of(offered).digest.0[..16], offered.len() as u32)?;
    while let Some(block) = store.first_missing() {
        let from = (block * BLOCK_BYTES) as usize;
        let to = offered.len().min(from + BLOCK_BYTES as usize);
        store.keep(block, &offered[from..to])?;
    }
    Ok(())
}

/// The digest of the image in a package.
pub fn digest(offered: &[u8]) -> Digest384 {
    package::Package::read(offered).unwrap().claim().unwrap().0.image.digest
}

fn log<F: NorFlash>(store: &mut FirmwareStore<F>) -> Result<(), FirmwareError<F::Error>> {
    if !store.events().is_empty() {
        store.logged()?;
    }
    Ok(())
}

/// A partition with a first image.
pub fn provisioned<F: NorFlash>(flash: &mut F, maker: &Maker, first: &[u8])
where
    F::Error: Debug,
{
    provision(flash, 0, LAYOUT, &maker.target, &maker.root, &maker.plain(first, 1), Some(NOW)).unwrap();
}
