//! Bits that flip in flash: one in a record is put right, more are found and alarmed, and nothing that rotted is believed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

#[path = "support/log_life.rs"]
mod log_life;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use meterseal_meter::{Layout, SealedLeaf, SecurityEntry, saved_time};
use meterseal_model::EventCode;
use meterseal_seal::Signer as _;
use meterseal_seal::log::{LogHash, Peaks};
use support::flash::{RamFlash, SECTOR};
use support::{OPEN, QUIET, TestMeter, at, blank, open, run, try_open};

/// A meter that has lived a little and was stopped: its flash, what its registers were, and its log.
fn stopped() -> (RamFlash, u64, BTreeMap<u64, SecurityEntry>) {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    for turn in 0..8 {
        let readings = if turn % 2 == 0 { OPEN } else { QUIET };
        run(&mut meter, turn * 1_300, (turn + 1) * 1_300, 5.0, &readings);
    }
    meter.power_down(at(11_000)).unwrap();
    let shown = meter.saved_registers().total_import_nanowatt_hours;
    let log = log(&meter);
    assert!(shown > 0 && log.len() > 5);
    drop(meter);
    (flash, shown, log)
}

fn log(meter: &TestMeter<'_>) -> BTreeMap<u64, SecurityEntry> {
    let read = |sequence| meter.security_log_entry(sequence).unwrap().map(|entry| (sequence, entry));
    meter.security_log_range().filter_map(read).collect()
}

/// Where the newest record of the registers stands: behind the format's sector and the state's, 512 bytes a slot.
fn newest_registers(flash: &RamFlash) -> usize {
    let first = (1 + usize::from(Layout::TINY.state_sectors)) * SECTOR;
    let slots = usize::from(Layout::TINY.register_sectors) * SECTOR / 512;
    let sequence = |slot: &usize| {
        let at = first + slot * 512;
        let number = u32::from_le_bytes(flash.bytes[at..at + 4].try_into().unwrap());
        if number == u32::MAX { 0 } else { number }
    };
    first + (0..slots).max_by_key(sequence).unwrap() * 512
}

#[test]
fn no_bit_of_the_newest_registers_takes_them_back() {
    let (flash, shown, _) = stopped();
    let newest = newest_registers(&flash);
    let len = u16::from_le_bytes(flash.bytes[newest + 4..newest + 6].try_into().unwrap());
    let saved = saved_time(&mut flash.clone(), &Layout::TINY).unwrap();
    assert_eq!(saved, Some(at(11_000)));
    for bit in 0..(usize::from(len) + 12) * 8 {
        let mut rotten = flash.clone();
        rotten.bytes[newest + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(saved_time(&mut rotten, &Layout::TINY).unwrap(), saved, "bit {bit}");
        if bit % 61 == 0 {
            let meter = open(&mut rotten, at(20_000));
            assert_eq!(meter.saved_registers().total_import_nanowatt_hours, shown, "bit {bit}");
            assert!(log(&meter).values().any(|entry| entry.code == EventCode::StorageError), "bit {bit}");
        }
    }
}

#[test]
fn a_newest_record_that_is_gone_altogether_has_its_copy() {
    let (mut flash, shown, _) = stopped();
    let newest = newest_registers(&flash);
    for (k, byte) in flash.bytes[newest..newest + 512].iter_mut().enumerate() {
        *byte ^= (k * 37) as u8 | 1;
    }
    let meter = open(&mut flash, at(20_000));
    assert_eq!(meter.saved_registers().total_import_nanowatt_hours, shown);
}

/// Without last words there is no copy: then the save before counts, a second earlier.
#[test]
fn a_newest_record_that_is_gone_after_a_cut_without_warning_costs_a_second_more() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut saves = vec![];
    for tenth in 0..105 {
        run(&mut meter, tenth * 100, (tenth + 1) * 100, 5.0, &QUIET);
        let shown = meter.saved_registers().total_import_nanowatt_hours;
        if saves.last() != Some(&shown) {
            saves.push(shown);
        }
    }
    drop(meter);
    assert!(saves.len() > 8, "a save each second: {saves:?}");
    let newest = newest_registers(&flash);
    for (k, byte) in flash.bytes[newest..newest + 512].iter_mut().enumerate() {
        *byte ^= (k * 37) as u8 | 1;
    }
    let meter = open(&mut flash, at(20_000));
    assert_eq!(meter.saved_registers().total_import_nanowatt_hours, saves[saves.len() - 2]);
}

#[test]
fn whatever_rots_nothing_false_is_believed_and_all_of_it_is_found() {
    let (flash, shown, before) = stopped();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    // Only what is written can rot into something else; blank bytes rot too, but stand for nothing.
    let written: Vec<usize> = (0..flash.bytes.len()).filter(|&place| flash.bytes[place] != 0xFF).collect();
    let (mut opened, mut lost) = (0, 0);
    for round in 0..150 {
        let mut rotten = flash.clone();
        for _ in 0..1 + random(1 << (round % 8)) {
            let place =
                if random(4) == 0 { random(rotten.bytes.len()) } else { written[random(written.len())] };
            rotten.bytes[place] ^= 1 << random(8);
        }
        // Refused with a reason, or whole.
        let Ok(mut meter) = try_open(&mut rotten, at(20_000)) else { continue };
        opened += 1;
        run(&mut meter, 20_000, 42_000, 0.0, &QUIET);
        let after = log(&meter);
        // Where the newest record and its leaf have both rotted, nothing in the meter knows that its number was given: the
        // next entry gets it, the meter says that its memory is faulty, and the head-end sees a fork.
        let mut missing = false;
        for (sequence, entry) in &before {
            match after.get(sequence) {
                Some(found) if found.time < at(20_000) => assert_eq!(found, entry, "round {round}"),
                _ => (lost, missing) = (lost + 1, true),
            }
        }
        let said = after.values().any(|entry| entry.code == EventCode::StorageError);
        assert!(!missing || said, "round {round}: {after:?}");
        let found = meter.saved_registers().total_import_nanowatt_hours;
        assert!(found <= shown + 1_000_000, "round {round}: {found} of {shown}");
    }
    assert!(opened > 30 && lost > 0, "{opened} opened, {lost} lost");
}

/// Signs what is due.
fn sign(meter: &mut TestMeter<'_>) -> Option<meterseal_seal::log::Checkpoint> {
    let request = meter.signing_request()?;
    let signature = log_life::LogKey::new().0.sign(&request.to_be_signed).unwrap();
    meter.signed(request.number, Some(&signature)).unwrap();
    meterseal_seal::log::Checkpoint::unverified(meter.checkpoint())
}

/// A slot of the tree that rots after it was signed must not make a fork of the log.
#[test]
fn leaves_that_rot_are_found_again_by_their_records() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    meter.set_key_store(Arc::new(log_life::LogKey::new()), Vec::new());
    for turn in 0..8 {
        let readings = if turn % 2 == 0 { OPEN } else { QUIET };
        run(&mut meter, turn * 1_300, (turn + 1) * 1_300, 5.0, &readings);
    }
    let signed = sign(&mut meter).unwrap();
    assert!(signed.size > 8, "{signed:?}");
    drop(meter);
    let tree = Layout::TINY.former_size(2) + 1_024;
    // One bit, a whole slot, three of them, and the newest of all.
    let last = signed.size as usize - 1;
    for rotten in [vec![3], vec![2, 3, 6], vec![last], vec![0, last]] {
        for bits in [1u8, 0x5A] {
            let mut flash = flash.clone();
            for &leaf in &rotten {
                for byte in &mut flash.bytes[tree + leaf * 48..][..if bits == 1 { 1 } else { 42 }] {
                    *byte ^= bits;
                }
            }
            let meter = open(&mut flash, at(20_000));
            let mut peaks = Peaks::new();
            for index in 0..signed.size {
                match meter.sealed_leaf(index).unwrap() {
                    Some(SealedLeaf::Bytes(bytes)) => peaks.append(LogHash::of_leaf(&bytes)),
                    other => panic!("{rotten:?}: leaf {index} is {other:?}"),
                }
            }
            assert_eq!(peaks.root(), signed.root, "{rotten:?} by {bits:#x}");
            assert!(log(&meter).values().any(|entry| entry.code == EventCode::StorageError), "{rotten:?}");
        }
    }
}
