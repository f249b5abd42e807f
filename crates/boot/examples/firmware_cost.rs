//! What firmware costs, for `cargo xtask bench firmware`: `verify` judges a package of 1 MiB and boots it from flash in a
//! file; `delta OLD NEW` says how large the differences between two images are, and proves that they lead to the new one.

#![allow(clippy::unwrap_used, reason = "a measurement stops where something is not as it should be")]

use std::convert::Infallible;

use meterseal_boot::flash::FileFlash;
use meterseal_boot::stage::{FIRMWARE_BASE, Factory, Partition, Stage};
use meterseal_meter::firmware::{FirmwareLayout, LEAST_PROBATION_MS, Target};
use meterseal_model::UnixMillis;
use meterseal_seal::attestation::Ground;
use meterseal_seal::firmware::{
    Digests, FirmwareKey, Manifest, Package, Packing, Role, Slots, TrustRoot, TrustedKey, Unpacker, pack,
    package,
};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const REPEATS: usize = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["verify"] => verify(),
        ["delta", old, new] => delta(&std::fs::read(old).unwrap(), &std::fs::read(new).unwrap()),
        other => panic!("verify, or delta OLD NEW; not {other:?}"),
    }
}

fn verify() {
    let key = key();
    let signed = root(&key).sign(&[&key]).unwrap();
    let trust = TrustRoot::first(&signed, Some(NOW)).unwrap();
    let image = image(1 << 20);
    let bytes = package::write(&manifest(&image, &image, Packing::Plain), &image, &[&key]).unwrap();
    let judged = mean(|| {
        let package = Package::read(&bytes).unwrap();
        let manifest = package.verify(&trust, Some(NOW)).unwrap();
        assert_eq!(Digests::of(package.payload()), manifest.image);
    });
    println!("package of 1 MiB: both signatures and the image's digest | {judged:.2} ms");

    let folder = tempfile::tempdir().unwrap();
    let target = Target {
        vendor: "Meterseal".into(),
        device_type: "bench".into(),
        hardware: "A".into(),
        class_key: None,
    };
    let layout = FirmwareLayout::STANDARD;
    let partition = Partition { base: FIRMWARE_BASE, layout, target, least_probation_ms: LEAST_PROBATION_MS };
    let size = partition.chip_bytes(FileFlash::SECTOR);
    let chip = FileFlash::open(&folder.path().join("flash.bin"), size).unwrap();
    let meter = "MSL0000000001".parse().unwrap();
    let stage = Stage::new(meter, &[7; 32], Vec::new(), Ground::Simulated, partition);
    let factory = Factory { root: signed, package: bytes };
    stage.manufacture(chip.clone(), &factory, Some(NOW)).unwrap();
    let booted = mean(|| drop(stage.power_on(chip.clone(), &mut ()).unwrap()));
    println!(
        "power-on: root, both signatures, every byte of 1 MiB in flash, image key and its certificate | {booted:.2} ms"
    );
}

fn delta(old: &[u8], new: &[u8]) {
    let mut differences: Vec<u8> = Vec::new();
    bsdiff::diff(old, new, &mut differences).unwrap();
    let stored = pack::deflate(&differences);
    let packing = Packing::Delta { base: Digests::of(old) };
    let mut unpacker = Unpacker::new::<Infallible>(&manifest(new, &stored, packing), None).unwrap();
    let mut slots = Memory { base: old, made: Vec::new() };
    unpacker.push(&stored, &mut slots).unwrap();
    unpacker.finish(&mut slots).unwrap();
    assert!(slots.made.as_slice() == new, "the differences lead to another image");
    let share = 100.0 * stored.len() as f64 / new.len() as f64;
    println!("differences of {} bytes for an image of {} | {share:.2} %", stored.len(), new.len());
}

struct Memory<'a> {
    base: &'a [u8],
    made: Vec<u8>,
}

impl Slots for Memory<'_> {
    type Error = Infallible;

    fn read_base(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Infallible> {
        let from = offset as usize;
        into.copy_from_slice(&self.base[from..from + into.len()]);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.made.extend_from_slice(bytes);
        Ok(())
    }
}

/// The processor's time of one run, milliseconds: what else the machine does is not in it. The system counts it in steps of
/// some milliseconds, so it is taken over many runs.
fn mean(mut work: impl FnMut()) -> f64 {
    let spent = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap() as f64 / 1e6
    };
    let begin = spent();
    (0..REPEATS).for_each(|_| work());
    (spent() - begin) / REPEATS as f64
}

fn key() -> FirmwareKey {
    let fill = |bytes: &mut [u8]| {
        bytes.fill(1);
        Ok::<(), Infallible>(())
    };
    FirmwareKey::generate(fill).unwrap()
}

fn root(key: &FirmwareKey) -> TrustRoot {
    let trusted = TrustedKey {
        name: "Bench".into(),
        key: key.public().clone(),
        roles: vec![Role::Root, Role::Release],
        expires: UnixMillis(2 * NOW.0),
    };
    TrustRoot { version: 1, thresholds: [1, 1, 0], keys: vec![trusted] }
}

fn manifest(image: &[u8], stored: &[u8], packing: Packing) -> Manifest {
    Manifest {
        vendor: "Meterseal".into(),
        device_type: "bench".into(),
        hardware: vec!["A".into()],
        version: "1.0.0".into(),
        sequence: 1,
        minimum_previous: 0,
        image: Digests::of(image),
        stored: Digests::of(stored),
        packing,
        encryption: None,
        not_before: None,
    }
}

/// Noise: nothing about it is easy.
fn image(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}
