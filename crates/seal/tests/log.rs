//! The log against RFC 9162: known answers, an independent recursive tree, and what must not be accepted.

#![allow(clippy::unwrap_used)]

use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::log::proof::Levels;
use meterseal_seal::log::{
    Billing, Body, Boot, Checkpoint, CheckpointError, Event, Interval, Leaf, LeafError, LeafKind, Leaves,
    LogHash, LogId, Maximum, Newest, Peaks, ProofError, Rates, Reading, ReadingReason, SaltKey, Subtrees,
    Totals, consistency_proof, inclusion_proof, proof, verify_consistency, verify_inclusion,
};
use meterseal_seal::{EnvelopeError, SealKey, Signer};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

// ---- an independent tree, straight from the definitions of RFC 9162, 2.1.1, 2.1.3.1 and 2.1.4.1 ----

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
}

fn split_point(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

fn mth(d: &[Vec<u8>]) -> [u8; 32] {
    match d {
        [] => sha256(&[]),
        [only] => sha256(&[&[0], only]),
        _ => {
            let (left, right) = d.split_at(split_point(d.len()));
            sha256(&[&[1], &mth(left), &mth(right)])
        }
    }
}

fn path(m: usize, d: &[Vec<u8>]) -> Vec<[u8; 32]> {
    if d.len() == 1 {
        return vec![];
    }
    let (left, right) = d.split_at(split_point(d.len()));
    let (mut inner, sibling) =
        if m < left.len() { (path(m, left), mth(right)) } else { (path(m - left.len(), right), mth(left)) };
    inner.push(sibling);
    inner
}

fn subproof(m: usize, d: &[Vec<u8>], whole: bool) -> Vec<[u8; 32]> {
    if m == d.len() {
        return if whole { vec![] } else { vec![mth(d)] };
    }
    let (left, right) = d.split_at(split_point(d.len()));
    let (mut inner, sibling) = if m <= left.len() {
        (subproof(m, left, whole), mth(right))
    } else {
        (subproof(m - left.len(), right, false), mth(left))
    };
    inner.push(sibling);
    inner
}

fn entries(size: usize) -> Vec<Vec<u8>> {
    (0..size).map(|k| format!("entry {k}").into_bytes()).collect()
}

fn hashes(entries: &[Vec<u8>]) -> Vec<LogHash> {
    entries.iter().map(|entry| LogHash::of_leaf(entry)).collect()
}

fn raw(path: &[LogHash]) -> Vec<[u8; 32]> {
    path.iter().map(|hash| hash.0).collect()
}

#[test]
fn roots_are_those_of_the_transparency_projects_known_answers() {
    // Leaves and roots that Certificate Transparency implementations have tested with since RFC 6962, whose tree
    // RFC 9162 keeps.
    let leaves: Vec<Vec<u8>> =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
            .iter()
            .map(|hex| bytes(hex))
            .collect();
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut peaks = Peaks::new();
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(peaks.root().to_string(), *root, "{size}");
        assert_eq!(LogHash(mth(&leaves[..size])).to_string(), *root, "{size}");
        if let Some(leaf) = leaves.get(size) {
            peaks.append(LogHash::of_leaf(leaf));
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|k| u8::from_str_radix(&hex[k..k + 2], 16).unwrap()).collect()
}

#[test]
fn every_proof_of_every_small_tree_is_that_of_the_definition_and_verifies() {
    let entries = entries(70);
    let hashes = hashes(&entries);
    let mut peaks = Peaks::new();
    for size in 1..=entries.len() {
        peaks.append(hashes[size - 1]);
        let (d, size64) = (&entries[..size], size as u64);
        let root = LogHash(mth(d));
        assert_eq!(peaks.root(), root);
        let mut subtrees = Leaves(&hashes[..size]);
        assert_eq!(proof::root(&mut subtrees, size64), Ok(root));
        for (index, leaf) in hashes[..size].iter().enumerate() {
            let made = inclusion_proof(&mut subtrees, index as u64, size64).unwrap();
            assert_eq!(raw(&made), path(index, d), "{index} of {size}");
            assert!(verify_inclusion(leaf, index as u64, size64, &made, &root));
            for other in (0..size64 + 2).filter(|&other| other != index as u64) {
                assert!(!verify_inclusion(leaf, other, size64, &made, &root), "{other} of {size}");
            }
        }
        for old in 1..=size {
            let made = consistency_proof(&mut subtrees, old as u64, size64).unwrap();
            assert_eq!(raw(&made), subproof(old, d, true), "{old} to {size}");
            let old_root = LogHash(mth(&entries[..old]));
            assert!(verify_consistency(old as u64, &old_root, size64, &root, &made));
            for other in (0..size64 + 2).filter(|&other| other != old as u64) {
                assert!(!verify_consistency(other, &old_root, size64, &root, &made), "{other} to {size}");
            }
        }
    }
}

#[test]
fn the_empty_tree_is_the_beginning_of_every_tree_and_holds_no_leaf() {
    let hashes = hashes(&entries(3));
    let (empty, root) = (LogHash::of_empty_tree(), LogHash(mth(&entries(3))));
    assert_eq!(proof::root(&mut Leaves(&[]), 0), Ok(empty));
    assert_eq!(consistency_proof(&mut Leaves(&hashes), 0, 3), Ok(vec![]));
    assert!(verify_consistency(0, &empty, 3, &root, &[]));
    assert!(!verify_consistency(0, &root, 3, &root, &[]));
    assert!(!verify_consistency(0, &empty, 3, &root, &[empty]));
    assert!(!verify_inclusion(&hashes[0], 0, 0, &[], &hashes[0]));
    assert_eq!(inclusion_proof(&mut Leaves(&hashes), 3, 3), Err(ProofError::OutOfRange));
    assert_eq!(consistency_proof(&mut Leaves(&hashes), 4, 3), Err(ProofError::OutOfRange));
    assert_eq!(
        inclusion_proof(&mut Leaves(&hashes), 0, 5),
        Err(ProofError::Missing { first: 4, level: 0 }),
        "the tree is larger than what is there"
    );
}

#[test]
fn every_altered_bit_of_a_proof_a_root_or_a_leaf_is_refused() {
    let hashes = hashes(&entries(13));
    let root = proof::root(&mut Leaves(&hashes), 13).unwrap();
    let inclusion = inclusion_proof(&mut Leaves(&hashes), 9, 13).unwrap();
    let old_root = proof::root(&mut Leaves(&hashes), 6).unwrap();
    let consistency = consistency_proof(&mut Leaves(&hashes), 6, 13).unwrap();
    for bit in 0..256 {
        let flipped = |hash: &LogHash| {
            let mut other = *hash;
            other.0[bit / 8] ^= 1 << (bit % 8);
            other
        };
        assert!(!verify_inclusion(&flipped(&hashes[9]), 9, 13, &inclusion, &root));
        assert!(!verify_inclusion(&hashes[9], 9, 13, &inclusion, &flipped(&root)));
        assert!(!verify_consistency(6, &flipped(&old_root), 13, &root, &consistency));
        assert!(!verify_consistency(6, &old_root, 13, &flipped(&root), &consistency));
        for place in 0..inclusion.len() {
            let mut altered = inclusion.clone();
            altered[place] = flipped(&altered[place]);
            assert!(!verify_inclusion(&hashes[9], 9, 13, &altered, &root));
        }
        for place in 0..consistency.len() {
            let mut altered = consistency.clone();
            altered[place] = flipped(&altered[place]);
            assert!(!verify_consistency(6, &old_root, 13, &root, &altered));
        }
    }
    for (good, check) in [
        (
            &inclusion,
            (&|path: &[LogHash]| verify_inclusion(&hashes[9], 9, 13, path, &root))
                as &dyn Fn(&[LogHash]) -> bool,
        ),
        (&consistency, &|path: &[LogHash]| verify_consistency(6, &old_root, 13, &root, path)),
    ] {
        assert!(check(good));
        assert!(!check(&good[1..]) && !check(&good[..good.len() - 1]) && !check(&[]));
        assert!(!check(&[good.clone(), vec![root]].concat()) && !check(&[vec![root], good.clone()].concat()));
        let mut reordered = good.clone();
        reordered.swap(0, 1);
        assert!(!check(&reordered));
    }
}

/// Counts what is asked of it.
struct Counted<'a>(Leaves<'a>, usize);

impl Subtrees for Counted<'_> {
    type Error = core::convert::Infallible;

    fn subtree(&mut self, first: u64, level: u32) -> Result<Option<LogHash>, Self::Error> {
        assert_eq!(first % (1 << level), 0, "only aligned subtrees are asked for");
        self.1 += 1;
        self.0.subtree(first, level)
    }
}

proptest! {
    #[test]
    fn proofs_of_any_tree_verify_and_ask_for_few_hashes(size in 1usize..3000, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let entries = entries(size);
        let hashes = hashes(&entries);
        let (index, old) = (a.index(size), 1 + b.index(size));
        let root = LogHash(mth(&entries));
        let mut subtrees = Counted(Leaves(&hashes), 0);
        let made = inclusion_proof(&mut subtrees, index as u64, size as u64).unwrap();
        prop_assert_eq!(raw(&made), path(index, &entries));
        prop_assert!(verify_inclusion(&hashes[index], index as u64, size as u64, &made, &root));
        let mut levels = Levels::new(hashes.clone());
        prop_assert_eq!(inclusion_proof(&mut levels, index as u64, size as u64).unwrap(), made);
        let made = consistency_proof(&mut subtrees, old as u64, size as u64).unwrap();
        prop_assert_eq!(raw(&made), subproof(old, &entries, true));
        prop_assert!(verify_consistency(old as u64, &LogHash(mth(&entries[..old])), size as u64, &root, &made));
        let levels = size.next_power_of_two().trailing_zeros() as usize;
        prop_assert!(subtrees.1 <= 4 * levels + 2, "{} hashes for {size} leaves", subtrees.1);
    }

    #[test]
    fn no_proof_makes_a_verifier_panic(
        index in any::<u64>(), size in any::<u64>(), old in any::<u64>(),
        path in prop::collection::vec(any::<[u8; 32]>().prop_map(LogHash), 0..70),
    ) {
        let hash = LogHash([7; 32]);
        prop_assert!(!verify_inclusion(&hash, index, size, &path, &hash) || (size == 1 && path.is_empty()));
        let _ = verify_consistency(old, &hash, size, &hash, &path);
    }

    #[test]
    fn bytes_that_are_read_as_a_leaf_are_the_bytes_that_it_writes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(leaf) = Leaf::decode(&bytes) {
            prop_assert_eq!(leaf.encode(), bytes);
        }
    }
}

// ---- leaves ----

const LOG: LogId = LogId([0xA5; 16]);

fn bodies() -> Vec<Body> {
    let totals = Totals {
        active_import_milliwatt_hours: 1,
        active_export_milliwatt_hours: 2,
        reactive_import_millivar_hours: 3,
        reactive_export_millivar_hours: u64::MAX,
    };
    let rates = Rates { import_milliwatt_hours: [1, 2, 3, 4], export_milliwatt_hours: [5, 6, 7, 8] };
    let time = UnixMillis(1_795_373_820_250);
    vec![
        Body::Void,
        Body::Event(Event { row: 1, code: 42, time, uptime_ms: 9, extreme: -3, uncertainty_ms: 4 }),
        Body::Interval(Interval {
            row: 2,
            time,
            status: 5,
            totals,
            mean_voltage_centivolts: [23_000, 0, 65_535],
        }),
        Body::Reading(Reading {
            row: 3,
            time: UnixMillis(-1),
            uptime_ms: u64::MAX,
            boot: 7,
            reason: ReadingReason::Requested,
            totals,
            rates,
            quadrant_millivar_hours: [1, 2, 3, 4],
            phase_import_milliwatt_hours: [5, 6, 7],
            phase_export_milliwatt_hours: [8, 9, 10],
            sum_of_phase_imports_milliwatt_hours: 11,
            apparent_millivoltampere_hours: 12,
        }),
        Body::Billing(Billing {
            row: 4,
            time,
            totals,
            rates,
            maxima: [Maximum { microwatts: 1, time }, Maximum::default()],
        }),
        Body::Boot(Boot { row: 5, time, firmware: Some(Digest384([9; 48])) }),
        Body::Boot(Boot { row: 6, time, firmware: None }),
    ]
}

#[test]
fn a_leaf_of_each_kind_survives_its_encoding_and_every_altered_byte_changes_hash_or_is_refused() {
    let key = SaltKey::new([3; 32]);
    for (sequence, body) in bodies().into_iter().enumerate() {
        let leaf = Leaf::new(LOG, sequence as u64, body, &key);
        let bytes = leaf.encode();
        assert!(bytes.len() <= 309, "{} bytes", bytes.len());
        assert_eq!(Leaf::decode(&bytes), Ok(leaf));
        assert_eq!(leaf.hash(), LogHash(sha256(&[&[0], &bytes])));
        for end in 0..bytes.len() {
            assert!(Leaf::decode(&bytes[..end]).is_err());
        }
        assert_eq!(Leaf::decode(&[&bytes[..], &[0]].concat()), Err(LeafError::Malformed));
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut altered = bytes.clone();
                altered[place] ^= 1 << bit;
                if let Ok(other) = Leaf::decode(&altered) {
                    assert_eq!(other.encode(), altered);
                    assert_ne!(other.hash(), leaf.hash());
                }
            }
        }
    }
    assert_eq!(Leaf::decode(&[0; 1000]), Err(LeafError::TooLong(1000)));
}

#[test]
fn the_longest_reading_keeps_to_the_length_that_is_promised() {
    let most = Totals {
        active_import_milliwatt_hours: u64::MAX,
        active_export_milliwatt_hours: u64::MAX,
        reactive_import_millivar_hours: u64::MAX,
        reactive_export_millivar_hours: u64::MAX,
    };
    let reading = Reading {
        row: u64::MAX,
        time: UnixMillis(i64::MAX),
        uptime_ms: u64::MAX,
        boot: u64::MAX,
        reason: ReadingReason::TariffChange,
        totals: most,
        rates: Rates { import_milliwatt_hours: [u64::MAX; 4], export_milliwatt_hours: [u64::MAX; 4] },
        quadrant_millivar_hours: [u64::MAX; 4],
        phase_import_milliwatt_hours: [u64::MAX; 3],
        phase_export_milliwatt_hours: [u64::MAX; 3],
        sum_of_phase_imports_milliwatt_hours: u64::MAX,
        apparent_millivoltampere_hours: u64::MAX,
    };
    let length = Leaf::new(LOG, u64::MAX, Body::Reading(reading), &SaltKey::new([3; 32])).encode().len();
    assert_eq!(length, 309);
}

#[test]
fn a_later_version_or_kind_of_leaf_is_refused_by_name() {
    let leaf = Leaf::new(LOG, 0, Body::Void, &SaltKey::new([3; 32]));
    let mut bytes = leaf.encode();
    bytes[1] = 2;
    assert_eq!(Leaf::decode(&bytes), Err(LeafError::Version(2)));
    bytes[1] = 1;
    bytes[2] = 9;
    assert_eq!(Leaf::decode(&bytes), Err(LeafError::Kind(9)));
    assert_eq!(LeafKind::from_number(5), Some(LeafKind::Boot));
}

// ---- checkpoints ----

fn key(seed: u8) -> SealKey {
    SealKey::generate(|bytes| {
        bytes.fill(seed);
        Ok::<(), core::convert::Infallible>(())
    })
    .unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        meter: "MSL0000000001".parse().unwrap(),
        log: LOG,
        number: 5,
        size: 1000,
        root: LogHash([8; 32]),
        time: UnixMillis(1_795_373_820_250),
        uptime_ms: 77,
        boot: 2,
        newest: Newest { event: 1, interval: 2, reading: 3, billing: 4 },
        previous: Some(LogHash([9; 32])),
    }
}

#[test]
fn a_checkpoint_survives_its_seal_and_every_altered_byte_is_refused() {
    let key = key(7);
    let keys = [key.public().clone()];
    for checkpoint in [checkpoint(), Checkpoint { previous: None, ..checkpoint() }] {
        let signed = checkpoint.sign(&key).unwrap();
        assert!(signed.len() < 400, "{} bytes", signed.len());
        let verified = Checkpoint::verify(&signed, &keys).unwrap();
        assert_eq!((verified.checkpoint(), verified.signer()), (&checkpoint, key.key_id()));
        for place in 0..signed.len() {
            let mut altered = signed.clone();
            altered[place] ^= 0x10;
            assert!(Checkpoint::verify(&altered, &keys).is_err(), "byte {place}");
        }
        for end in 0..signed.len() {
            assert!(Checkpoint::verify(&signed[..end], &keys).is_err());
        }
    }
}

#[test]
fn a_checkpoint_that_is_signed_elsewhere_is_the_same_checkpoint() {
    let key = key(7);
    let draft = checkpoint().draft(key.key_id());
    let signature = key.sign(&draft.to_be_signed()).unwrap();
    assert_eq!(draft.finish(&signature), checkpoint().sign(&key).unwrap());
    let broken = draft.finish(&[1; 96]);
    assert_eq!(
        Checkpoint::verify(&broken, &[key.public().clone()]),
        Err(CheckpointError::Envelope(EnvelopeError::Signature))
    );
}

#[test]
fn another_devices_key_does_not_sign_for_this_log() {
    let signed = checkpoint().sign(&key(8)).unwrap();
    assert_eq!(
        Checkpoint::verify(&signed, &[key(7).public().clone()]),
        Err(CheckpointError::Envelope(EnvelopeError::UnknownKey(key(8).key_id())))
    );
}

#[test]
fn a_checkpoints_digest_is_of_all_that_it_says() {
    let first = checkpoint().digest();
    assert_eq!(checkpoint().digest(), first);
    assert_ne!(Checkpoint { number: 6, ..checkpoint() }.digest(), first);
    assert_ne!(Checkpoint { previous: None, ..checkpoint() }.digest(), first);
}
