//! What a device must refuse, each under its name; and that what it must accept comes out as it went in.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;

use meterseal_model::UnixMillis;
use proptest::prelude::*;

use super::pack::{deflate, encipher};
use super::package::{self, accept, check_payload};
use super::trust::Shortfall;
use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const LATER: UnixMillis = UnixMillis(2_000_000_000_000);

/// Keys that are the same in every run.
fn key(seed: u8) -> FirmwareKey {
    FirmwareKey::generate(|bytes| {
        bytes.fill(seed);
        Ok::<(), Infallible>(())
    })
    .unwrap()
}

fn trusted(key: &FirmwareKey, roles: &[Role]) -> TrustedKey {
    TrustedKey {
        name: "Signer".to_string(),
        key: key.public().clone(),
        roles: roles.to_vec(),
        expires: LATER,
    }
}

fn root(version: u64, thresholds: [u8; 3], mut keys: Vec<TrustedKey>) -> TrustRoot {
    keys.sort_by_key(|trusted| trusted.key.id());
    TrustRoot { version, thresholds, keys }
}

/// One key for everything.
fn simple_root(signer: &FirmwareKey) -> TrustRoot {
    root(1, [1, 1, 0], vec![trusted(signer, &[Role::Root, Role::Release])])
}

fn image(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    (0..length)
        .map(|k| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Half noise, half the kind of repetition that programs have.
            if k / 64 % 2 == 0 { (state >> 24) as u8 } else { (k / 7) as u8 }
        })
        .collect()
}

fn manifest(image: &[u8]) -> Manifest {
    Manifest {
        vendor: "Meterseal".to_string(),
        device_type: "MS3-5(100)".to_string(),
        hardware: vec!["A".to_string(), "B".to_string()],
        version: "1.2.3".to_string(),
        sequence: 7,
        minimum_previous: 3,
        image: Digests::of(image),
        stored: Digests::of(image),
        packing: Packing::Plain,
        encryption: None,
        not_before: None,
    }
}

fn running() -> Running {
    Running {
        vendor: "Meterseal".to_string(),
        device_type: "MS3-5(100)".to_string(),
        hardware: "B".to_string(),
        sequence: 6,
        image: Digests::of(b"the running image"),
        slot: 1 << 20,
        now: Some(NOW),
    }
}

/// Two slots in memory.
struct Memory<'a> {
    base: &'a [u8],
    new: Vec<u8>,
}

impl Slots for Memory<'_> {
    type Error = Infallible;

    fn read_base(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Infallible> {
        into.copy_from_slice(&self.base[offset as usize..offset as usize + into.len()]);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.new.extend_from_slice(bytes);
        Ok(())
    }
}

/// Unpacks in pieces of this size.
fn unpack(
    manifest: &Manifest,
    stored: &[u8],
    base: &[u8],
    class_key: Option<&[u8; 32]>,
    piece: usize,
) -> Result<Vec<u8>, UnpackError<Infallible>> {
    let mut memory = Memory { base, new: Vec::new() };
    let mut unpacker = Unpacker::new(manifest, class_key)?;
    for piece in stored.chunks(piece) {
        unpacker.push(piece, &mut memory)?;
    }
    unpacker.finish(&mut memory)?;
    Ok(memory.new)
}

#[test]
fn a_package_is_accepted_as_it_was_signed() {
    let signer = key(1);
    let image = image(10_000);
    let bytes = package::write(&manifest(&image), &image, &[&signer]).unwrap();
    let package = Package::read(&bytes).unwrap();
    assert_eq!(package.verify(&simple_root(&signer), Some(NOW)).unwrap(), manifest(&image));
    let accepted = accept(package.envelope(), &simple_root(&signer), &running()).unwrap();
    assert_eq!(unpack(accepted.manifest(), package.payload(), &[], None, 999).unwrap(), image);
}

#[test]
fn another_implementation_of_cose_reads_the_envelope() {
    use coset::TaggedCborSerializable as _;
    let signer = key(1);
    let image = image(100);
    let bytes = package::write(&manifest(&image), &image, &[&signer]).unwrap();
    let envelope = coset::CoseSign::from_tagged_slice(Package::read(&bytes).unwrap().envelope()).unwrap();
    assert_eq!(envelope.signatures.len(), 2);
    assert_eq!(envelope.payload.as_deref(), Some(manifest(&image).encode().unwrap().as_slice()));
    envelope
        .verify_signature(0, b"", |signature, signed| {
            let signature = signature.try_into().unwrap();
            if signer.public().verifies_elliptic(signed, signature) { Ok(()) } else { Err(()) }
        })
        .unwrap();
    envelope
        .verify_signature(1, b"", |signature, signed| {
            if signer.public().verifies_lattice(signed, signature) { Ok(()) } else { Err(()) }
        })
        .unwrap();
}

#[test]
fn another_implementation_of_ml_dsa_agrees_both_ways() {
    use aws_lc_rs::signature::{KeyPair as _, ML_DSA_87, ML_DSA_87_SIGNING, PqdsaKeyPair, UnparsedPublicKey};
    for seed in 0..8 {
        let ours = key(seed + 1);
        let message = image(100 * usize::from(seed));
        let theirs = PqdsaKeyPair::from_seed(&ML_DSA_87_SIGNING, &[seed + 1; 32]).unwrap();
        assert_eq!(theirs.public_key().as_ref(), ours.public().lattice(), "the same key from the same seed");
        let signature = ours.sign_lattice(&message).unwrap();
        UnparsedPublicKey::new(&ML_DSA_87, ours.public().lattice()).verify(&message, &signature).unwrap();
        let mut signature = vec![0; ML_DSA_87_SIGNING.signature_len()];
        theirs.sign(&message, &mut signature).unwrap();
        assert!(ours.public().verifies_lattice(&message, &signature));
        signature[usize::from(seed) * 500] ^= 1;
        assert!(!ours.public().verifies_lattice(&message, &signature));
    }
}

#[test]
fn every_byte_flipped_and_every_truncation_of_16_kib_is_refused() {
    let signer = key(1);
    let (root, running) = (simple_root(&signer), running());
    let image = image(16 * 1024 - 5200);
    let bytes = package::write(&manifest(&image), &image, &[&signer]).unwrap();
    assert!((15_900..=16_384).contains(&bytes.len()), "{}", bytes.len());
    let refused = |bytes: &[u8], whole: &[u8]| {
        let Ok(package) = Package::read(bytes) else { return true };
        if package.envelope() != Package::read(whole).unwrap().envelope() {
            return accept(package.envelope(), &root, &running).is_err();
        }
        let digest = Digests::of(package.payload());
        check_payload(&manifest(&image), digest.size, digest.digest.0).is_err()
    };
    assert!(!refused(&bytes, &bytes));
    let mut altered = bytes.clone();
    for place in 0..bytes.len() {
        altered[place] ^= 1 << (place % 8);
        assert!(refused(&altered, &bytes), "byte {place}");
        altered[place] = bytes[place];
    }
    for length in 0..bytes.len() {
        assert!(refused(&bytes[..length], &bytes), "cut at {length}");
    }
}

#[test]
fn no_signature_or_only_one_of_the_two_is_refused() {
    let signer = key(1);
    let image = image(100);
    let bytes = package::write(&manifest(&image), &image, &[&signer]).unwrap();
    let envelope = Package::read(&bytes).unwrap().envelope();
    // The array of signatures begins after tag, header, map and payload; its first member is ES384's.
    for keep in [&[0usize][..], &[1], &[]] {
        let envelope = with_signatures(envelope, keep);
        let error = accept(&envelope, &simple_root(&signer), &running()).unwrap_err();
        if keep.is_empty() {
            assert_eq!(error, PackageError::Sign(SignError::Signers));
        } else {
            let PackageError::Trust(TrustError::Signers(Shortfall { one_of_two: 1, good: 0, .. })) = error
            else {
                panic!("{error}")
            };
        }
    }
}

/// The envelope with only these of its signatures, written by another implementation.
fn with_signatures(envelope: &[u8], keep: &[usize]) -> Vec<u8> {
    use coset::TaggedCborSerializable as _;
    let mut envelope = coset::CoseSign::from_tagged_slice(envelope).unwrap();
    let all = core::mem::take(&mut envelope.signatures);
    envelope.signatures = keep.iter().map(|&place| all[place].clone()).collect();
    envelope.to_tagged_vec().unwrap()
}

#[test]
fn a_strangers_key_is_refused() {
    let image = image(100);
    let bytes = package::write(&manifest(&image), &image, &[&key(9)]).unwrap();
    let error = accept(Package::read(&bytes).unwrap().envelope(), &simple_root(&key(1)), &running());
    let Err(PackageError::Trust(TrustError::Signers(Shortfall { unknown: 1, good: 0, .. }))) = error else {
        panic!("{error:?}")
    };
}

#[test]
fn an_expired_key_is_refused_and_a_revoked_one_too() {
    let (old, new) = (key(1), key(2));
    let image = image(100);
    let bytes = package::write(&manifest(&image), &image, &[&old]).unwrap();
    let envelope = Package::read(&bytes).unwrap().envelope();
    let first = simple_root(&old);
    let late = Running { now: Some(LATER), ..running() };
    let error = accept(envelope, &first, &late).unwrap_err();
    assert!(
        matches!(error, PackageError::Trust(TrustError::Signers(Shortfall { expired: 1, .. }))),
        "{error}"
    );

    // The next root leaves the old key out: signed by the old one's keys and its own.
    let second = root(2, [1, 1, 0], vec![trusted(&new, &[Role::Root, Role::Release])]);
    let second = first.next(&second.sign(&[&old, &new]).unwrap(), Some(NOW)).unwrap();
    let error = accept(envelope, &second, &running()).unwrap_err();
    assert!(
        matches!(error, PackageError::Trust(TrustError::Signers(Shortfall { unknown: 1, .. }))),
        "{error}"
    );
}

#[test]
fn too_few_signers_are_refused_and_roles_are_not_exchanged() {
    let (a, b, c) = (key(1), key(2), key(3));
    let keys = vec![
        trusted(&a, &[Role::Root, Role::Release]),
        trusted(&b, &[Role::Root, Role::Release]),
        trusted(&c, &[Role::Approval]),
    ];
    let root = root(1, [1, 2, 1], keys);
    let image = image(100);
    let verdict = |signers: &[&FirmwareKey]| {
        let bytes = package::write(&manifest(&image), &image, signers).unwrap();
        accept(Package::read(&bytes).unwrap().envelope(), &root, &running())
    };
    verdict(&[&a, &b, &c]).unwrap();
    for (signers, role) in
        [(&[&a, &c][..], Role::Release), (&[&a, &b], Role::Approval), (&[&c], Role::Release)]
    {
        let error = verdict(signers).unwrap_err();
        let PackageError::Trust(TrustError::Signers(shortfall)) = error else { panic!("{error}") };
        assert_eq!(shortfall.role, role);
    }
}

#[test]
fn signers_in_different_places_add_to_each_others_package() {
    let (a, b, c) = (key(1), key(2), key(3));
    let image = image(100);
    let together = package::write(&manifest(&image), &image, &[&a, &b, &c]).unwrap();
    let mut one_by_one = package::write(&manifest(&image), &image, &[&c]).unwrap();
    for signer in [&a, &b, &b] {
        one_by_one = Package::read(&one_by_one).unwrap().with_signer(signer).unwrap();
    }
    assert_eq!(one_by_one, together, "once each, whatever the order");
    *one_by_one.last_mut().unwrap() ^= 1;
    let error = Package::read(&one_by_one).unwrap().with_signer(&a).unwrap_err();
    assert_eq!(error, PackageError::Payload, "nobody signs what they were not shown");
    let root = simple_root(&a);
    let signed = TrustRoot::with_signer(&root.sign(&[&a]).unwrap(), &b).unwrap();
    assert_eq!(signed, root.sign(&[&b, &a]).unwrap());
    assert_eq!(signatures::sign("x", b"", &[&a, &a]).unwrap_err(), SignError::Twice);
}

#[test]
fn a_signature_moved_from_another_package_is_refused() {
    use coset::TaggedCborSerializable as _;
    let signer = key(1);
    let image = image(100);
    let other = Manifest { sequence: 8, ..manifest(&image) };
    let [mut one, two] = [manifest(&image), other].map(|manifest| {
        let bytes = package::write(&manifest, &image, &[&signer]).unwrap();
        coset::CoseSign::from_tagged_slice(Package::read(&bytes).unwrap().envelope()).unwrap()
    });
    one.payload = two.payload;
    let error = accept(&one.to_tagged_vec().unwrap(), &simple_root(&signer), &running()).unwrap_err();
    assert!(matches!(error, PackageError::Trust(TrustError::Bad(_))), "a swapped manifest: {error}");
}

#[test]
fn what_is_not_for_this_device_now_is_refused() {
    let signer = key(1);
    let image = image(100);
    let verdict = |change: fn(&mut Manifest), running: Running| {
        let mut manifest = manifest(&image);
        change(&mut manifest);
        let envelope =
            signatures::sign(manifest::CONTENT_TYPE, &manifest.encode().unwrap(), &[&signer]).unwrap();
        accept(&envelope, &simple_root(&signer), &running).unwrap_err()
    };
    let sequence = |sequence| Running { sequence, ..running() };
    assert!(matches!(
        verdict(|manifest| manifest.device_type = "MS1".to_string(), running()),
        PackageError::OtherDevice { .. }
    ));
    assert!(matches!(
        verdict(|manifest| manifest.vendor = "Somebody".to_string(), running()),
        PackageError::OtherDevice { .. }
    ));
    assert!(matches!(
        verdict(|_| (), Running { hardware: "C".to_string(), ..running() }),
        PackageError::OtherHardware { .. }
    ));
    assert_eq!(verdict(|_| (), sequence(7)), PackageError::Sequence { have: 7, found: 7 });
    assert_eq!(verdict(|_| (), sequence(9)), PackageError::Sequence { have: 9, found: 7 });
    assert_eq!(verdict(|_| (), sequence(2)), PackageError::TooOld { have: 2, wanted: 3 });
    assert!(matches!(
        verdict(|_| (), Running { slot: 99, ..running() }),
        PackageError::TooLarge { slot: 99, found: 100 }
    ));
    let base = |manifest: &mut Manifest| {
        manifest.packing = Packing::Delta { base: Digests::of(b"another image") };
    };
    assert!(matches!(verdict(base, running()), PackageError::Base { .. }));
}

#[test]
fn a_trust_root_is_not_rolled_back_nor_replaced_by_strangers() {
    let (a, b) = (key(1), key(2));
    let first = simple_root(&a);
    assert_eq!(TrustRoot::first(&first.sign(&[&a]).unwrap(), Some(NOW)).unwrap(), first);
    let second = root(2, [1, 1, 0], vec![trusted(&b, &[Role::Root, Role::Release])]);
    // By the new key alone, by the old alone, by both.
    let alone = first.next(&second.sign(&[&b]).unwrap(), Some(NOW)).unwrap_err();
    assert!(matches!(alone, TrustError::Signers(_)), "{alone}");
    let old = first.next(&second.sign(&[&a]).unwrap(), Some(NOW)).unwrap_err();
    assert!(matches!(old, TrustError::Signers(_)), "{old}");
    let second = first.next(&second.sign(&[&a, &b]).unwrap(), Some(NOW)).unwrap();
    // Back to the first, and a step left out.
    let back = second.next(&first.sign(&[&a, &b]).unwrap(), Some(NOW)).unwrap_err();
    assert_eq!(back, TrustError::Rollback { have: 2, found: 1 });
    let fourth = TrustRoot { version: 4, ..second.clone() };
    let skip = second.next(&fourth.sign(&[&b]).unwrap(), Some(NOW)).unwrap_err();
    assert_eq!(skip, TrustError::Rollback { have: 2, found: 4 });
}

#[test]
fn a_root_that_nobody_could_satisfy_is_not_made() {
    let a = key(1);
    for thresholds in [[0, 1, 0], [1, 0, 0], [2, 1, 0], [1, 1, 1]] {
        let root = TrustRoot { thresholds, ..simple_root(&a) };
        assert_eq!(root.sign(&[&a]).unwrap_err(), TrustError::Content("thresholds"), "{thresholds:?}");
    }
}

#[test]
fn keys_survive_their_file_and_only_as_a_pair() {
    let key = key(5);
    let pem = key.to_pem().unwrap();
    assert_eq!(FirmwareKey::from_pem(&pem).unwrap().public(), key.public());
    let second = pem.find("-----END").unwrap() + 26;
    let public = key.public().to_pem().unwrap();
    assert_eq!(&FirmwarePublicKey::from_pem(&public).unwrap(), key.public());
    assert!(FirmwarePublicKey::from_pem(&pem).is_err() && FirmwareKey::from_pem(&public).is_err());
    for pem in [&pem[..second], &pem[second..], "hello"] {
        assert!(FirmwareKey::from_pem(pem).is_err());
    }
    assert!(!alloc::format!("{key:?}").contains("050505"));
}

#[test]
fn enciphered_chunks_cannot_be_altered_exchanged_or_cut_off() {
    let class_key = [7; 32];
    for length in [1, 4095, 4096, 4097, 3 * 4096, 10_000] {
        let image = image(length);
        let (stored, encryption) = encipher(&image, &class_key, [3; 7]);
        let manifest =
            Manifest { stored: Digests::of(&stored), encryption: Some(encryption), ..manifest(&image) };
        assert_eq!(unpack(&manifest, &stored, &[], Some(&class_key), 1000).unwrap(), image);
        let refused = |stored: &[u8]| unpack(&manifest, stored, &[], Some(&class_key), 4096).is_err();
        assert!(refused(&stored[..stored.len() - 1]));
        assert!(stored.len() <= 4112 || refused(&stored[..4112]), "cut at a chunk's end");
        assert!(
            stored.len() <= 8224
                || refused(&[&stored[4112..8224], &stored[..4112], &stored[8224..]].concat())
        );
        let mut altered = stored.clone();
        altered[length / 2] ^= 1;
        assert!(refused(&altered));
        assert_eq!(unpack(&manifest, &stored, &[], Some(&[8; 32]), 4096), Err(UnpackError::Key));
        assert_eq!(unpack(&manifest, &stored, &[], None, 4096), Err(UnpackError::Key));
    }
}

/// A new image, its differences from the old one, and a manifest for them.
fn delta(old: &[u8], new: &[u8]) -> (Manifest, Vec<u8>) {
    let mut differences = Vec::new();
    bsdiff::diff(old, new, &mut differences).unwrap();
    let stored = deflate(&differences);
    let packing = Packing::Delta { base: Digests::of(old) };
    (Manifest { stored: Digests::of(&stored), packing, ..manifest(new) }, stored)
}

#[test]
fn differences_of_a_small_change_are_small_and_lead_to_the_image() {
    let old = image(100_000);
    let mut new = old.clone();
    new.splice(40_000..40_010, [1, 2, 3]);
    new[90_000] ^= 0xFF;
    let (manifest, stored) = delta(&old, &new);
    assert!(stored.len() < new.len() / 100, "{}", stored.len());
    for piece in [1, 7, 4096, usize::MAX] {
        assert_eq!(unpack(&manifest, &stored, &old, None, piece).unwrap(), new);
    }
    // On another base of the same length, the image's digest tells.
    let other: Vec<u8> = old.iter().map(|byte| byte ^ 1).collect();
    assert_eq!(unpack(&manifest, &stored, &other, None, 4096), Err(UnpackError::Image));
}

#[test]
fn bombs_stop_at_what_the_manifest_says() {
    let zeros = vec![0; 10_000_000];
    let stored = deflate(&zeros);
    assert!(stored.len() < 20_000);
    let bomb = |packing| Manifest { stored: Digests::of(&stored), packing, ..manifest(&image(1000)) };
    let base = image(5000);
    assert_eq!(unpack(&bomb(Packing::Deflated), &stored, &[], None, 512), Err(UnpackError::TooMuch));
    // Zeros are blocks that do nothing, for ever.
    let packing = Packing::Delta { base: Digests::of(&base) };
    assert_eq!(unpack(&bomb(packing), &stored, &base, None, 512), Err(UnpackError::TooMuch));
}

#[test]
fn differences_that_lead_out_of_the_base_are_refused() {
    let base = image(5000);
    for block in [
        [5001u64, 0, 0],
        [0, 0, 5001],
        [0, 0, 1 << 63 | 1],
        [u64::MAX, 0, 0],
        [10, 0, i64::MAX as u64],
        [0, 0, u64::MAX],
    ] {
        let bytes: Vec<u8> = block.iter().flat_map(|number| number.to_le_bytes()).chain([0; 20]).collect();
        let stored = deflate(&bytes);
        let manifest = Manifest {
            stored: Digests::of(&stored),
            packing: Packing::Delta { base: Digests::of(&base) },
            ..manifest(&image(1000))
        };
        let error = unpack(&manifest, &stored, &base, None, 4096).unwrap_err();
        assert_eq!(error, UnpackError::Patch, "{block:?}");
    }
}

proptest! {
    #[test]
    fn any_image_comes_out_of_any_packing(
        old in proptest::collection::vec(any::<u8>(), 1..3000),
        new in proptest::collection::vec(any::<u8>(), 1..3000),
        piece in 1usize..5000,
    ) {
        let (manifest_, stored) = delta(&old, &new);
        prop_assert_eq!(unpack(&manifest_, &stored, &old, None, piece).unwrap(), new.clone());
        let stored = deflate(&new);
        let deflated = Manifest { stored: Digests::of(&stored), packing: Packing::Deflated, ..manifest(&new) };
        prop_assert_eq!(unpack(&deflated, &stored, &[], None, piece).unwrap(), new.clone());
        let (stored, encryption) = encipher(&stored, &[1; 32], [2; 7]);
        let both =
            Manifest { stored: Digests::of(&stored), encryption: Some(encryption), ..deflated };
        prop_assert_eq!(unpack(&both, &stored, &[], Some(&[1; 32]), piece).unwrap(), new);
    }

    #[test]
    fn bytes_from_outside_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), packing in 0..3) {
        let base = image(500);
        let packing = match packing {
            0 => Packing::Plain,
            1 => Packing::Deflated,
            _ => Packing::Delta { base: Digests::of(&base) },
        };
        let manifest = Manifest { packing, ..manifest(&image(1000)) };
        prop_assert!(unpack(&manifest, &bytes, &base, None, 100).is_err());
        let _ = Package::read(&bytes).map(|package| package.claim());
        let _ = TrustRoot::first(&bytes, None);
    }
}
