//! The map against its definition, torn writes and erases, and rot.

use std::collections::BTreeMap;

use meterseal_world::flash::{Cut, SimulatedFlash};

use super::*;
use crate::flash::RegionName;

extern crate std;

const SECTORS: u32 = 2;
const MAP: Map = Map::new(Region { name: RegionName::Secrets, first_sector: 0, sectors: SECTORS });

type Chip<const W: usize, const E: usize> = SimulatedFlash<W, E>;

/// The value that comes `turn`-th: of several lengths, with erased-looking bytes in it.
fn value(turn: u32) -> (u16, Vec<u8>) {
    let len = [8, 61, 0, 130, 47, 300, 1][turn as usize % 7];
    let mut value = vec![if turn.is_multiple_of(3) { 0xFF } else { turn as u8 }; len];
    if let Some(first) = value.first_mut() {
        *first = turn as u8;
    }
    ((turn % 5) as u16, value)
}

/// Puts values from `turn` on until the power goes. What was promised is in `values`, what may be there besides in the answer.
fn life<const W: usize, const E: usize>(
    flash: &mut Chip<W, E>,
    turns: core::ops::Range<u32>,
    values: &mut BTreeMap<u16, Vec<u8>>,
) -> Option<(u16, Vec<u8>)> {
    for turn in turns {
        let (key, value) = value(turn);
        if MAP.put(flash, key, &value).is_err() {
            return Some((key, value));
        }
        values.insert(key, value);
    }
    None
}

fn check<const W: usize, const E: usize>(
    flash: &mut Chip<W, E>,
    values: &mut BTreeMap<u16, Vec<u8>>,
    perhaps: Option<(u16, Vec<u8>)>,
    what: &str,
) {
    for key in 0..5 {
        let found = MAP.get(flash, key).unwrap();
        if found.as_ref() != values.get(&key) {
            let whole = perhaps.clone().filter(|(put, _)| *put == key).map(|(_, value)| value);
            assert_eq!(found, whole, "{what}: key {key}");
            values.insert(key, found.unwrap());
        }
    }
}

/// A life that fills several sectors is cut in every way at every eighth operation, at others for each write size, and the life
/// after it at a place that moves along. The chip panics where a write unit is written twice.
fn cuts<const W: usize, const E: usize>() {
    const TURNS: u32 = 100;
    let mut flash = Chip::<W, E>::new((SECTORS * SECTOR_BYTES) as usize, 1);
    assert_eq!(life(&mut flash, 0..TURNS, &mut BTreeMap::new()), None);
    assert!(flash.erases().iter().sum::<u32>() as usize * E >= 3 * SECTOR_BYTES as usize, "few sectors");
    for first in (W as u64 % 8..flash.operations()).step_by(8) {
        for (k, cut) in Cut::ALL.into_iter().enumerate() {
            let seed = first * 3 + k as u64;
            let what = std::format!("{W} B, cut at {first} {cut:?}");
            let mut flash = Chip::<W, E>::new((SECTORS * SECTOR_BYTES) as usize, seed);
            let mut values = BTreeMap::new();
            flash.cut_after(first, cut);
            let perhaps = life(&mut flash, 0..TURNS, &mut values);
            flash.power_on();
            check(&mut flash, &mut values, perhaps, &what);
            flash.cut_after(seed % 17, Cut::Torn);
            let perhaps = life(&mut flash, 7..TURNS, &mut values);
            flash.power_on();
            check(&mut flash, &mut values, perhaps, &what);
            assert_eq!(life(&mut flash, 3..TURNS, &mut values), None, "{what}");
            check(&mut flash, &mut values, None, &what);
        }
    }
}

#[test]
fn nothing_is_lost_or_written_twice_at_any_cut_write_4() {
    cuts::<4, 4096>();
}

#[test]
fn nothing_is_lost_or_written_twice_at_any_cut_write_16() {
    cuts::<16, 2048>();
}

#[test]
fn nothing_is_lost_or_written_twice_at_any_cut_write_1() {
    cuts::<1, 4096>();
}

/// Beside the values, their heads and the map's own: one flipped bit never takes a value back to the one before.
#[test]
fn any_one_bit_that_flips_changes_nothing() {
    let mut flash = Chip::<8, 4096>::new((SECTORS * SECTOR_BYTES) as usize, 1);
    let mut values = BTreeMap::new();
    life(&mut flash, 0..12, &mut values);
    let used = flash.bytes_mut().iter().rposition(|&byte| byte != 0xFF).unwrap();
    let heads = VALUES_AT as usize;
    assert!(used > heads + 500);
    // Every bit of the heads, and one of each byte behind them.
    let bits = (0..heads * 8).chain((heads..used + 32).map(|byte| byte * 8 + byte % 8));
    for bit in bits {
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        flash.bytes_mut()[byte] ^= mask;
        check(&mut flash, &mut values, None, &std::format!("bit {bit}"));
        flash.bytes_mut()[byte] ^= mask;
    }
}

#[test]
fn values_that_do_not_fit_are_refused_and_hurt_nothing() {
    let mut flash = Chip::<4, 4096>::new((SECTORS * SECTOR_BYTES) as usize, 1);
    for key in 0..7 {
        MAP.put(&mut flash, key, &[key as u8; VALUE_MAX]).unwrap();
    }
    assert!(matches!(MAP.put(&mut flash, 7, &[7; VALUE_MAX]), Err(StorageError::Map("full"))));
    assert!(matches!(MAP.put(&mut flash, 0, &[7; VALUE_MAX + 1]), Err(StorageError::Map(_))));
    for key in 0..7 {
        assert_eq!(MAP.get(&mut flash, key).unwrap(), Some(vec![key as u8; VALUE_MAX]));
    }
}
