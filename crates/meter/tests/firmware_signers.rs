//! CPA-FW: who may sign what runs on a meter, decided by the meter itself: expired keys, too few signers, swapped manifests.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support {
    pub(crate) mod firmware;
}

use meterseal_meter::firmware::{FirmwareLayout, FirmwareStore, Refusal, Step, provision};
use meterseal_model::{EventCode, UnixMillis};
use meterseal_seal::firmware::package::{self, HEADER_LENGTH, Package};
use meterseal_seal::firmware::{FirmwareKey, PackageError, Role, TrustError, TrustRoot, TrustedKey};
use meterseal_world::flash::SimulatedFlash;
use support::firmware::{Maker, NOW, image, key, transfer};

type Flash = SimulatedFlash<4, 4096>;

/// With room for two signers.
const LAYOUT: FirmwareLayout = FirmwareLayout::STANDARD.with_slot(64 << 10);

struct Bench {
    maker: Maker,
    flash: Flash,
}

impl Bench {
    /// A meter whose root wants so many release signatures of keys that count until then.
    fn new(signers: &[&FirmwareKey], release: u8, expires: UnixMillis) -> Self {
        let mut keys: Vec<_> = signers
            .iter()
            .map(|key| TrustedKey {
                name: "Signer".into(),
                key: key.public().clone(),
                roles: vec![Role::Root, Role::Release],
                expires,
            })
            .collect();
        keys.sort_by_key(|trusted| trusted.key.id());
        let maker = Maker::new();
        let root = TrustRoot { version: 1, thresholds: [1, release, 0], keys }.sign(signers).unwrap();
        let first = image(5_000, 1);
        let factory = package::write(&maker.manifest(&first, 1), &first, signers).unwrap();
        let mut flash = Flash::new(LAYOUT.size(4096), 1);
        let made = expires.0.min(NOW.0) - 1;
        provision(&mut flash, 0, LAYOUT, &maker.target, &root, &factory, Some(UnixMillis(made))).unwrap();
        Self { maker, flash }
    }

    fn package(&self, sequence: u64, signers: &[&FirmwareKey]) -> Vec<u8> {
        let image = image(6_000, sequence as u32);
        package::write(&self.maker.manifest(&image, sequence), &image, signers).unwrap()
    }

    /// What the meter says to a package at `now`. What it refuses, it refuses on record.
    fn judge(&mut self, package: &[u8], now: UnixMillis) -> Result<(), Refusal> {
        let target = self.maker.target.clone();
        let mut store = FirmwareStore::open(&mut self.flash, 0, LAYOUT, target).unwrap();
        transfer(&mut store, package).unwrap();
        store.verify().unwrap();
        loop {
            match store.step(Some(now)).unwrap() {
                Step::UnderWay => {}
                Step::Refused(refusal) => {
                    let expected = (EventCode::FirmwareRefused, i64::from(refusal.number()));
                    assert!(store.events().contains(&expected), "{:?}", store.events());
                    assert!(store.ready().is_none());
                    return Err(refusal);
                }
                _ => return Ok(()),
            }
        }
    }
}

#[test]
fn attack_an_expired_key() {
    let signer = key(1);
    let expires = UnixMillis(NOW.0 + 1000);
    let mut bench = Bench::new(&[&signer], 1, expires);
    let package = bench.package(2, &[&signer]);
    let refused = bench.judge(&package, UnixMillis(expires.0 + 1)).unwrap_err();
    assert_eq!(refused.number(), 2, "{refused}");
    // The same before its end; and what runs was signed while the key was good, so the meter goes on starting.
    bench.judge(&package, NOW).unwrap();
}

#[test]
fn attack_too_few_signers() {
    let (anna, ben, stranger) = (key(1), key(2), key(3));
    let mut bench = Bench::new(&[&anna, &ben], 2, UnixMillis(NOW.0 * 2));
    for signers in [vec![&anna], vec![&ben], vec![&anna, &stranger]] {
        let package = bench.package(2, &signers);
        let refused = bench.judge(&package, NOW).unwrap_err();
        assert!(
            matches!(refused, Refusal::Package(PackageError::Trust(TrustError::Signers(_)))),
            "{refused}"
        );
    }
    let package = bench.package(2, &[&anna, &ben]);
    bench.judge(&package, NOW).unwrap();
}

#[test]
fn attack_a_swapped_manifest() {
    let signer = key(1);
    let mut bench = Bench::new(&[&signer], 1, UnixMillis(NOW.0 * 2));
    let [second, third] = [2, 3].map(|sequence| bench.package(sequence, &[&signer]));
    // The manifest of one package, signatures and all, before the payload of another.
    let manifest = Package::read(&third).unwrap().envelope();
    let payload = Package::read(&second).unwrap().payload();
    let swapped = [&third[..HEADER_LENGTH], manifest, payload].concat();
    let refused = bench.judge(&swapped, NOW).unwrap_err();
    assert_eq!(refused, Refusal::Package(PackageError::Payload));
    bench.judge(&third, NOW).unwrap();
}
