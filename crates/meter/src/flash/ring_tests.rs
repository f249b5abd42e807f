//! The ring under power cuts at every step of every operation, laps, torn slots and rot.

use super::*;
use crate::flash::RegionName;

use crate::flash::chip::{RamFlash, SECTOR};

const SECTORS: u32 = 4;
const SLOT: u32 = 512;
const REGION: Region = Region { name: RegionName::Log, first_sector: 1, sectors: SECTORS };

fn flash() -> RamFlash {
    RamFlash::new((SECTORS as usize + 1) * SECTOR)
}

fn open(flash: &mut RamFlash) -> (Ring, Vec<u8>) {
    let mut newest = Vec::new();
    let ring = Ring::open(flash, REGION, SLOT, &mut newest).unwrap();
    (ring, newest)
}

fn data(sequence: u32) -> Vec<u8> {
    let mut data = vec![sequence as u8; 30 + sequence as usize % 400];
    data[..4].copy_from_slice(&sequence.to_le_bytes());
    data
}

/// Everything that the ring says it holds is there, in full and as written.
fn check(ring: &mut Ring, flash: &mut RamFlash) {
    for sequence in ring.sequences() {
        assert_eq!(ring.read(flash, sequence).unwrap(), Some(&data(sequence)[..]), "{sequence}");
    }
}

#[test]
fn a_ring_goes_round_and_is_found_again() {
    let mut flash = flash();
    let (mut ring, newest) = open(&mut flash);
    assert_eq!((ring.newest_sequence(), newest.len()), (0, 0));
    assert!(ring.sequences().is_empty());
    for sequence in 1..=200 {
        assert_eq!(ring.append(&mut flash, &data(sequence)).unwrap(), sequence);
        let held = sequence - ring.sequences().start() + 1;
        assert!(held >= sequence.min(ring.capacity()), "{held} of {sequence} held");
        check(&mut ring, &mut flash);
        let (mut again, newest) = open(&mut flash);
        assert_eq!(again.sequences(), ring.sequences());
        assert_eq!((again.next, newest), (ring.next, data(sequence)));
        check(&mut again, &mut flash);
    }
    assert_eq!(ring.read(&mut flash, 1).unwrap(), None);
    assert_eq!(ring.read(&mut flash, 201).unwrap(), None);
    // Wear is even.
    assert_eq!(flash.erases[1..], [7, 6, 6, 6]);
}

#[test]
fn every_single_cut_loses_nothing_that_was_written() {
    for seed in 0..4 {
        for cut in 0.. {
            let mut flash = flash().seed(seed);
            let (mut ring, _) = open(&mut flash);
            flash.cut_at = Some(cut);
            let mut written = 0;
            for sequence in 1..=80 {
                if ring.append(&mut flash, &data(sequence)).is_err() {
                    break;
                }
                written = sequence;
            }
            let finished = !flash.is_cut();
            flash.restore();
            let (mut ring, newest) = open(&mut flash);
            // The one that was being written may be there: only the return was lost.
            assert!([written, written + 1].contains(&ring.newest_sequence()), "cut {cut}");
            assert!(ring.newest_sequence() == 0 || newest == data(ring.newest_sequence()));
            let held = ring.newest_sequence() + 1 - ring.sequences().start();
            assert!(held + 1 >= written.min(ring.capacity() - 1), "cut {cut}: {held} held of {written}");
            check(&mut ring, &mut flash);
            for sequence in ring.newest_sequence() + 1..=100 {
                assert_eq!(ring.append(&mut flash, &data(sequence)).unwrap(), sequence);
            }
            check(&mut ring, &mut flash);
            if finished {
                break;
            }
        }
    }
}

#[test]
fn repeated_cuts_in_a_row_lose_nothing_that_was_written() {
    // Twenty thousand boots, each cut within its first few operations.
    let mut flash = flash().seed(99);
    let mut newest = 0;
    for boot in 0..20_000u64 {
        let (mut ring, _) = open(&mut flash);
        assert!(ring.newest_sequence() >= newest, "boot {boot}");
        newest = ring.newest_sequence();
        check(&mut ring, &mut flash);
        flash.cut_at = Some(flash.steps + boot * 7 % 11);
        while ring.append(&mut flash, &data(newest + 1)).is_ok() {
            newest += 1;
        }
        flash.restore();
    }
    assert!(newest > 10_000, "{newest}");
}

#[test]
fn rot_hides_only_what_it_touches() {
    let mut flash = flash();
    let (mut ring, _) = open(&mut flash);
    for sequence in 1..=20 {
        ring.append(&mut flash, &data(sequence)).unwrap();
    }
    // The first slot of the sector in use, and one in the middle.
    for sequence in [17, 5] {
        // Two bits: one would be put right.
        flash.bytes[SECTOR + (sequence - 1) * SLOT as usize + 20] ^= 0x11;
    }
    let (mut ring, _) = open(&mut flash);
    assert_eq!(ring.sequences(), 1..=20);
    for sequence in 1..=20 {
        let expected = data(sequence);
        let expected = (![17, 5].contains(&sequence)).then_some(&expected[..]);
        assert_eq!(ring.read(&mut flash, sequence).unwrap(), expected, "{sequence}");
    }
    assert_eq!(ring.append(&mut flash, &data(21)).unwrap(), 21);
}

#[test]
fn one_flipped_bit_of_the_newest_record_is_put_right_wherever_it_is() {
    // In the middle of a sector, as its first, and as the only one of all.
    for records in [20, 17, 1] {
        let mut flash = flash();
        let (mut ring, _) = open(&mut flash);
        for sequence in 1..=records {
            ring.append(&mut flash, &data(sequence)).unwrap();
        }
        let from = SECTOR + (records as usize - 1) * SLOT as usize;
        for bit in 0..(data(records).len() + OVERHEAD) * 8 {
            let (byte, mask) = (from + bit / 8, 1 << (bit % 8));
            flash.bytes[byte] ^= mask;
            let (mut ring, newest) = open(&mut flash);
            assert_eq!((ring.newest_sequence(), &newest), (records, &data(records)), "{records}: bit {bit}");
            assert_eq!(
                ring.inspect(&mut flash, records).unwrap(),
                Condition::Corrected,
                "{records}: bit {bit}"
            );
            assert!(ring.corrections() > 0);
            flash.bytes[byte] ^= mask;
        }
        let (mut ring, _) = open(&mut flash);
        assert_eq!(ring.inspect(&mut flash, records).unwrap(), Condition::Sound);
        assert_eq!(ring.append(&mut flash, &data(records + 1)).unwrap(), records + 1);
    }
}

#[test]
fn one_flipped_bit_of_the_oldest_record_loses_it_at_no_start() {
    // The first of all, and the first of the oldest sector after several laps.
    for records in [2, 20, 100] {
        let mut flash = flash();
        let (mut ring, _) = open(&mut flash);
        for sequence in 1..=records {
            ring.append(&mut flash, &data(sequence)).unwrap();
        }
        let oldest = *ring.sequences().start();
        let slots = SECTORS * SECTOR as u32 / SLOT;
        let from = SECTOR + ((oldest - 1) % slots * SLOT) as usize;
        for bit in 0..(data(oldest).len() + OVERHEAD) * 8 {
            flash.bytes[from + bit / 8] ^= 1 << (bit % 8);
            let (mut ring, _) = open(&mut flash);
            assert_eq!(ring.sequences(), oldest..=records, "bit {bit}");
            assert_eq!(ring.corrections(), 0, "nobody has asked for it yet");
            assert_eq!(ring.inspect(&mut flash, oldest).unwrap(), Condition::Corrected, "bit {bit}");
            check(&mut ring, &mut flash);
            flash.bytes[from + bit / 8] ^= 1 << (bit % 8);
        }
        // Two bits are too many: then the next one is the oldest.
        flash.bytes[from + 20] ^= 0x11;
        assert_eq!(open(&mut flash).0.sequences(), oldest + 1..=records);
    }
}

#[test]
fn a_rotten_last_record_of_a_sector_hides_no_rotten_one_behind_it() {
    let mut flash = flash();
    let (mut ring, _) = open(&mut flash);
    for sequence in 1..=17 {
        ring.append(&mut flash, &data(sequence)).unwrap();
    }
    for sequence in [16, 17] {
        flash.bytes[SECTOR + (sequence - 1) * SLOT as usize + 20] ^= 0x10;
    }
    let (mut ring, newest) = open(&mut flash);
    assert_eq!((ring.newest_sequence(), newest), (17, data(17)));
    check(&mut ring, &mut flash);
    assert_eq!(ring.append(&mut flash, &data(18)).unwrap(), 18);
    check(&mut ring, &mut flash);
}

#[test]
fn a_sector_that_was_erased_ahead_is_not_erased_again() {
    let mut flash = flash();
    let (mut ring, _) = open(&mut flash);
    let first_of_its_sector = |sequence: u32| sequence % (SECTOR as u32 / SLOT) == 1;
    for sequence in 1..=16 {
        assert_eq!(ring.is_prepared(1), !first_of_its_sector(sequence));
        ring.append(&mut flash, &data(sequence)).unwrap();
    }
    assert!(!ring.is_prepared(1));
    let erased = |flash: &RamFlash| flash.erases.iter().sum::<u32>();
    let before = erased(&flash);
    ring.prepare(&mut flash, 1).unwrap();
    ring.prepare(&mut flash, 1).unwrap();
    ring.append(&mut flash, &data(17)).unwrap();
    assert_eq!(erased(&flash), before + 1);
    let (ring, newest) = open(&mut flash);
    assert_eq!((ring.newest_sequence(), newest), (17, data(17)));
}

#[test]
fn a_supply_that_flickers_has_no_sector_erased_over_and_over() {
    let mut flash = flash();
    let (mut ring, _) = open(&mut flash);
    for sequence in 1..=100 {
        ring.append(&mut flash, &data(sequence)).unwrap();
    }
    let erased = |flash: &RamFlash| flash.erases.iter().sum::<u32>();
    let before = erased(&flash);
    for start in 0..50 {
        let (mut ring, _) = open(&mut flash);
        assert_eq!(ring.prepare_unless_blank(&mut flash, 6).unwrap(), start == 0);
        assert!(ring.is_prepared(6));
        check(&mut ring, &mut flash);
    }
    assert_eq!(erased(&flash), before + 1);
    // What is left of a torn erase is no blank sector.
    let (mut ring, _) = open(&mut flash);
    let next = (ring.next / 8 + 1) % SECTORS;
    flash.bytes[SECTOR * (1 + next as usize) + 3_000] = 0x7F;
    assert!(ring.prepare_unless_blank(&mut flash, 6).unwrap());
    assert_eq!(erased(&flash), before + 2);
}

#[test]
fn two_appends_are_prepared_for_wherever_a_sector_ends() {
    let mut flash = flash();
    let (mut ring, _) = open(&mut flash);
    let erased = |flash: &RamFlash| flash.erases.iter().sum::<u32>();
    for sequence in 1..=101 {
        ring.prepare(&mut flash, 2).unwrap();
        assert!(ring.is_prepared(2));
        let before = erased(&flash);
        if sequence % 5 == 0 {
            // Both at once, and the second is not in the way of the next.
            let (mut ahead, mut copy) = (open(&mut flash).0, flash.clone());
            ahead.prepare(&mut copy, 2).unwrap();
            let before = erased(&copy);
            ahead.append(&mut copy, &data(sequence)).unwrap();
            ahead.append(&mut copy, &data(sequence + 1)).unwrap();
            assert_eq!(erased(&copy), before, "{sequence}");
            check(&mut ahead, &mut copy);
            check(&mut open(&mut copy).0, &mut copy);
        }
        ring.append(&mut flash, &data(sequence)).unwrap();
        assert_eq!(erased(&flash), before, "{sequence}");
        check(&mut ring, &mut flash);
        let (mut again, _) = open(&mut flash);
        assert_eq!(again.sequences(), ring.sequences());
        check(&mut again, &mut flash);
    }
    // Not one erase more than without.
    assert_eq!(erased(&flash), 101u32.div_ceil(SECTOR as u32 / SLOT));
}

#[test]
fn a_record_of_another_region_is_none() {
    let mut flash = flash();
    let (mut ring, _) = open(&mut flash);
    ring.append(&mut flash, &data(1)).unwrap();
    let other = Region { name: RegionName::State, ..REGION };
    let ring = Ring::open(&mut flash, other, SLOT, &mut Vec::new()).unwrap();
    assert_eq!(ring.newest_sequence(), 0);
}

#[test]
fn what_the_next_append_would_drop_is_known_before() {
    let mut flash = flash();
    let (mut ring, _) = open(&mut flash);
    for sequence in 1..=100 {
        let before = ring.would_drop(&mut flash).unwrap();
        let oldest = *ring.sequences().start();
        ring.append(&mut flash, &data(sequence)).unwrap();
        let dropped = *ring.sequences().start() - oldest;
        assert_eq!(before.map_or(0, |highest| highest + 1 - oldest), dropped, "{sequence}");
    }
}

#[test]
fn writes_that_fail_in_between_hide_nothing() {
    for failing in 1..=20 {
        let mut flash = flash();
        let (mut ring, _) = open(&mut flash);
        for sequence in 1..=40 {
            if sequence % failing == 0 {
                flash.broken.store(true, core::sync::atomic::Ordering::Relaxed);
                for _ in 0..failing % 3 + 1 {
                    ring.append(&mut flash, &data(sequence)).unwrap_err();
                }
                flash.broken.store(false, core::sync::atomic::Ordering::Relaxed);
            }
            assert_eq!(ring.append(&mut flash, &data(sequence)).unwrap(), sequence);
            let (mut again, _) = open(&mut flash);
            assert_eq!(again.sequences(), ring.sequences(), "every {failing}, at {sequence}");
            check(&mut again, &mut flash);
        }
    }
}
