//! The sealed log from outside: what happens becomes a leaf, checkpoints sign all of it, and a power cut takes nothing back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod support;

use std::sync::Arc;

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::Decode;
use dlms_cosem_rs::xdlms::{ActionResult, MethodDescriptor};
use meterseal_meter::SealedLeaf;
use meterseal_model::{EventCode, Obis, Role, SensorReadings};
use meterseal_seal::log::proof::{verify_consistency, verify_inclusion};
use meterseal_seal::log::{Body, Checkpoint, Leaf, LogHash, Peaks, ReadingReason};
use meterseal_seal::{
    KeySlot, KeyState, KeyStore, KeyStoreError, SealKey, SealPublicKey, Signer as _, key::SIGNATURE_LENGTH,
};
use support::client::{Client, Value};
use support::flash::RamFlash;
use support::{OPEN, QUIET, TestMeter, at, axdr, blank, open, run, try_open};

/// A store with nothing but a log key.
#[derive(Debug)]
struct LogKey(SealKey);

impl LogKey {
    fn new() -> Self {
        Self(
            SealKey::generate(|bytes| {
                bytes.fill(0x17);
                Ok::<(), std::convert::Infallible>(())
            })
            .unwrap(),
        )
    }
}

impl KeyStore for LogKey {
    fn generate(&self, slot: KeySlot) -> Result<SealPublicKey, KeyStoreError> {
        Err(KeyStoreError::NoKey(slot, KeyState::Pending))
    }

    fn public_key(&self, slot: KeySlot, state: KeyState) -> Result<SealPublicKey, KeyStoreError> {
        if slot == KeySlot::Log {
            Ok(self.0.public().clone())
        } else {
            Err(KeyStoreError::NoKey(slot, state))
        }
    }

    fn sign(&self, _: KeySlot, _: KeyState, message: &[u8]) -> Result<[u8; SIGNATURE_LENGTH], KeyStoreError> {
        Ok(self.0.sign(message)?)
    }

    fn certificates(&self, _: KeySlot) -> Result<Vec<Vec<u8>>, KeyStoreError> {
        Ok(Vec::new())
    }

    fn import(&self, _: KeySlot, _: &[Vec<u8>]) -> Result<(), KeyStoreError> {
        Err(KeyStoreError::Certificate)
    }

    fn remove(&self, slot: KeySlot) -> Result<(), KeyStoreError> {
        Err(KeyStoreError::NoKey(slot, KeyState::Current))
    }
}

/// Signs what is due; whether anything was.
fn sign(meter: &mut TestMeter<'_>) -> bool {
    let Some(request) = meter.signing_request() else { return false };
    assert!(meter.signing_request().is_none(), "one at a time");
    let signature = LogKey::new().0.sign(&request.to_be_signed).unwrap();
    meter.signed(request.number, Some(&signature)).unwrap();
    true
}

fn with_key(flash: &mut RamFlash, millis: i64) -> TestMeter<'_> {
    let mut meter = open(flash, at(millis));
    meter.set_key_store(Arc::new(LogKey::new()), Vec::new());
    meter
}

fn newest(meter: &TestMeter<'_>) -> Checkpoint {
    *Checkpoint::verify(meter.checkpoint(), &[LogKey::new().0.public().clone()]).unwrap().checkpoint()
}

/// Every leaf that is held, as it is given out.
fn leaves(meter: &TestMeter<'_>) -> Vec<Leaf> {
    meter
        .sealed_leaves()
        .map(|index| match meter.sealed_leaf(index).unwrap().unwrap() {
            SealedLeaf::Bytes(bytes) => Leaf::decode(&bytes).unwrap(),
            SealedLeaf::Hash(hash) => panic!("leaf {index} is only a hash: {hash}"),
        })
        .collect()
}

/// The root over all leaves, from what is given out.
fn root(meter: &TestMeter<'_>) -> LogHash {
    assert_eq!(meter.sealed_leaves().start, 0);
    let mut peaks = Peaks::new();
    leaves(meter).iter().for_each(|leaf| peaks.append(leaf.hash()));
    peaks.root()
}

fn events(leaves: &[Leaf]) -> Vec<EventCode> {
    let event = |leaf: &Leaf| match leaf.body {
        Body::Event(event) => event.known(),
        _ => None,
    };
    leaves.iter().filter_map(event).collect()
}

#[test]
fn cpa_tamp_every_entry_is_a_leaf_and_a_tamper_event_is_signed_at_once() {
    let mut flash = blank();
    let mut meter = with_key(&mut flash, 0);
    run(&mut meter, 0, 300, 5.0, &QUIET);
    assert!(sign(&mut meter), "a start is signed");
    assert!(!sign(&mut meter), "and then nothing is due");
    run(&mut meter, 300, 600, 5.0, &OPEN);
    assert!(sign(&mut meter), "an opened cover is signed at once");
    let checkpoint = newest(&meter);
    assert_eq!((checkpoint.number, checkpoint.boot), (2, 1));
    assert_eq!((checkpoint.size, checkpoint.root), (meter.sealed_leaves().end, root(&meter)));
    let leaves = leaves(&meter);
    assert_eq!(events(&leaves), [EventCode::PowerUp, EventCode::CoverRemoved]);
    assert!(leaves.iter().any(|leaf| matches!(leaf.body, Body::Boot(boot) if boot.row == 1)));
    assert_eq!(checkpoint.newest.event, 2);
    let salts: std::collections::HashSet<_> = leaves.iter().map(|leaf| leaf.salt).collect();
    assert_eq!(salts.len(), leaves.len(), "each leaf has a salt of its own");
}

#[test]
fn a_checkpoint_is_signed_daily_even_when_nothing_happened() {
    let mut flash = blank();
    let mut meter = with_key(&mut flash, 0);
    meter.tick(at(1_000)).unwrap();
    while sign(&mut meter) {}
    let before = newest(&meter);
    // Sixteen hours later it is another day: its reading is signed.
    meter.tick(at(16 * 3_600_000)).unwrap();
    assert!(sign(&mut meter));
    let reading = newest(&meter);
    assert_eq!((reading.number, reading.previous), (before.number + 1, Some(before.digest())));
    assert_eq!(reading.newest.reading, 2);
    // Nothing but intervals for a day: signed all the same.
    meter.tick(at(17 * 3_600_000)).unwrap();
    assert!(!sign(&mut meter));
    meter.tick(at(40 * 3_600_000)).unwrap();
    assert!(sign(&mut meter));
    assert_eq!(newest(&meter).root, root(&meter));
}

#[test]
fn a_reading_says_what_the_registers_say_and_may_be_asked_for() {
    let mut flash = blank();
    let mut meter = with_key(&mut flash, 0);
    run(&mut meter, 0, 2_000, 20.0, &QUIET);
    meter.connected();
    let mut utility = Client::utility();
    utility.associate(&mut meter).unwrap();
    let refused = utility.invoke(&mut meter, 9, Obis::READING_SCRIPTS, 1, &axdr::u16(2));
    assert!(matches!(refused, Err(ActionResult::ScopeOfAccessViolated)), "{refused:?}");
    utility.invoke(&mut meter, 9, Obis::READING_SCRIPTS, 1, &axdr::u16(1)).unwrap();
    run(&mut meter, 2_000, 2_200, 20.0, &QUIET);
    assert!(sign(&mut meter));
    let registers = *meter.saved_registers();
    let leaves = leaves(&meter);
    let reading = leaves.iter().rev().find_map(|leaf| match leaf.body {
        Body::Reading(reading) => Some(reading),
        _ => None,
    });
    let reading = reading.unwrap();
    assert_eq!((reading.reason, reading.row, reading.boot), (ReadingReason::Requested, 2, 1));
    let import = registers.total_import_nanowatt_hours / 1_000_000;
    assert!(import > 0);
    assert_eq!(reading.totals.active_import_milliwatt_hours, import);
    assert_eq!(reading.rates.import_milliwatt_hours.iter().sum::<u64>(), import);
}

#[test]
fn a_restart_goes_on_with_the_same_tree() {
    let mut flash = blank();
    let (before, size) = {
        let mut meter = with_key(&mut flash, 0);
        run(&mut meter, 0, 500, 5.0, &OPEN);
        while sign(&mut meter) {}
        (newest(&meter), meter.sealed_leaves().end)
    };
    let mut meter = with_key(&mut flash, 10_000);
    assert!(sign(&mut meter));
    let after = newest(&meter);
    assert_eq!((after.number, after.boot, after.log), (before.number + 1, 2, before.log));
    assert_eq!(after.previous, Some(before.digest()));
    assert!(after.size > size);
    let mut peaks = Peaks::new();
    let all = leaves(&meter);
    all.iter().take(before.size as usize).for_each(|leaf| peaks.append(leaf.hash()));
    assert_eq!(peaks.root(), before.root, "what was signed before is where it was");
    assert!(events(&all).iter().all(|&code| code != EventCode::StorageError));
}

#[test]
fn a_meter_without_a_log_key_keeps_the_tree_and_signs_nothing() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    run(&mut meter, 0, 300, 5.0, &OPEN);
    assert!(meter.signing_request().is_none());
    assert!(meter.checkpoint().is_empty());
    assert!(meter.sealed_leaves().end >= 3);
}

#[test]
fn a_key_that_cannot_sign_now_is_asked_again() {
    let mut flash = blank();
    let mut meter = with_key(&mut flash, 0);
    let request = meter.signing_request().unwrap();
    meter.signed(request.number, None).unwrap();
    meter.signed(request.number + 7, Some(&[0; 96])).unwrap();
    assert!(meter.checkpoint().is_empty(), "a signature that nobody asked for is none");
    assert!(sign(&mut meter));
}

#[test]
fn an_altered_tree_is_noticed_at_the_next_start() {
    let mut flash = blank();
    {
        let mut meter = with_key(&mut flash, 0);
        run(&mut meter, 0, 500, 5.0, &OPEN);
        while sign(&mut meter) {}
    }
    // The tree's first sector: behind the format record and all regions of format 2.
    let tree = meterseal_meter::Layout::TINY.former_size(2);
    flash.bytes[tree + 1024 + 5] ^= 1;
    let meter = open(&mut flash, at(10_000));
    let held = meter.security_log_range();
    let codes: Vec<_> = held
        .filter_map(|sequence| meter.security_log_entry(sequence).unwrap())
        .map(|entry| entry.code)
        .collect();
    assert!(codes.contains(&EventCode::StorageError), "{codes:?}");
}

#[test]
fn a_cut_at_any_operation_leaves_every_entry_sealed_and_every_checkpoint_true() {
    let readings = |k: i64| -> SensorReadings { if k % 2 == 0 { OPEN } else { QUIET } };
    let life = |flash: &mut RamFlash, promised: &mut Option<Checkpoint>| -> Result<(), ()> {
        let mut meter = try_open(flash, at(0)).map_err(drop)?;
        meter.set_key_store(Arc::new(LogKey::new()), Vec::new());
        for k in 0..4 {
            for step in 0..3 {
                let now = at(k * 1_000 + step * 20);
                meter.sense(&readings(k), now).map_err(drop)?;
                meter.tick(now).map_err(drop)?;
            }
            if let Some(request) = meter.signing_request() {
                let signature = LogKey::new().0.sign(&request.to_be_signed).unwrap();
                meter.signed(request.number, Some(&signature)).map_err(drop)?;
                *promised = Some(newest(&meter));
            }
        }
        Ok(())
    };
    let mut whole = blank();
    life(&mut whole, &mut None).unwrap();
    let steps = whole.steps;
    assert!(steps > 60, "{steps}");
    for cut in 0..steps {
        let mut flash = blank().seed(cut);
        flash.cut_at = Some(cut);
        let mut promised = None;
        let _ = life(&mut flash, &mut promised);
        flash.restore();
        let mut meter = with_key(&mut flash, 20_000);
        meter.tick(at(20_100)).unwrap();
        assert!(sign(&mut meter), "cut {cut}");
        let all = leaves(&meter);
        assert_eq!(newest(&meter).root, root(&meter), "cut {cut}");
        // Every entry of the log is a leaf, once, in order.
        let sealed: Vec<u64> = all
            .iter()
            .filter_map(|leaf| match leaf.body {
                Body::Event(event) => Some(event.row),
                _ => None,
            })
            .collect();
        assert_eq!(sealed, meter.security_log_range().collect::<Vec<_>>(), "cut {cut}");
        // What was signed and given out before the cut still leads to its root.
        if let Some(before) = promised {
            let mut peaks = Peaks::new();
            all.iter().take(before.size as usize).for_each(|leaf| peaks.append(leaf.hash()));
            assert_eq!((before.log, before.root), (newest(&meter).log, peaks.root()), "cut {cut}");
            assert!(newest(&meter).number > before.number, "cut {cut}");
        }
    }
}

#[test]
fn a_reader_at_the_meter_gets_proofs_that_hold_against_what_was_signed() {
    let mut flash = blank();
    let mut meter = with_key(&mut flash, 0);
    run(&mut meter, 0, 300, 5.0, &QUIET);
    assert!(sign(&mut meter));
    let old = newest(&meter);
    for turn in 1..=12 {
        let readings = if turn % 2 == 1 { OPEN } else { QUIET };
        run(&mut meter, turn * 300, (turn + 1) * 300, 5.0, &readings);
    }
    assert!(sign(&mut meter));
    let new = newest(&meter);
    assert!(new.size > old.size + 10);
    let hashes: Vec<LogHash> = leaves(&meter).iter().map(Leaf::hash).collect();

    meter.connected();
    let mut reader = Client::new(Role::Reader, &support::reader_keys(), 1, 4096);
    reader.associate(&mut meter).unwrap();
    let mut ask = |method: i8, first: u64, second: u64| -> Result<Vec<LogHash>, ActionResult> {
        let method = MethodDescriptor::new(32_769, support::client::dlms(Obis::LOG_PROOFS), method);
        let mut asked = vec![2, 2, 0x15];
        asked.extend(first.to_be_bytes());
        asked.push(0x15);
        asked.extend(second.to_be_bytes());
        let Some(Value::Bytes(octets)) =
            reader.act(&mut meter, method, Some(Data::from_bytes(&asked).unwrap()))?
        else {
            panic!("a proof is octets");
        };
        Ok(octets.chunks_exact(32).map(|hash| LogHash(hash.try_into().unwrap())).collect())
    };
    for index in 0..new.size {
        let path = ask(1, index, new.size).unwrap();
        assert!(verify_inclusion(&hashes[index as usize], index, new.size, &path, &new.root), "leaf {index}");
        assert!(!verify_inclusion(&LogHash([7; 32]), index, new.size, &path, &new.root));
    }
    let path = ask(2, old.size, new.size).unwrap();
    assert!(verify_consistency(old.size, &old.root, new.size, &new.root, &path));
    assert!(!verify_consistency(old.size, &new.root, new.size, &new.root, &path));
    // What is not there is refused, however far away it is.
    for (method, first, second) in [(1, new.size, new.size), (1, 0, u64::MAX), (2, 9, 3), (2, 0, u64::MAX)] {
        let refused = ask(method, first, second);
        assert!(matches!(refused, Err(ActionResult::ScopeOfAccessViolated)), "{refused:?}");
    }
}
