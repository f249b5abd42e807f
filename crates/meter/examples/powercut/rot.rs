//! Bit rot: a bit anywhere in what has been written flips while the power is away. Nothing that has rotted may be given
//! out as if it had not.

use meterseal_meter::{Layout, SealedLeaf};
use meterseal_model::EventCode;
use meterseal_seal::log::LogHash;
use meterseal_world::flash::CutFlash;

use crate::work::{self, Promised, Work};

/// What became of a flash with one bit flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Everything is there: the bit was in something that is no longer needed.
    Unharmed,
    /// A record cannot be read any more, and is not given out.
    Withheld,
    /// The same, and the meter has logged that its memory fails.
    Logged,
    /// The meter will not open such a flash.
    Refused,
}

/// Flips so many bits, one in each of as many flashes, and prints the outcomes. Gives how many were bad.
pub fn table(count: u64) -> Result<u64, String> {
    let (flash, promised) = work::aged::<4096, 4>(Layout::TINY, Work::Log, 1)?;
    let mut outcomes = [0_u64; 4];
    let (mut back, mut bad) = (0, Vec::new());
    for seed in 0..count {
        let mut rotten = flash.clone().seeded(seed);
        let end = rotten.bytes().len();
        // Erased bytes are rotten too when a record is written there; those are the cuts' and the rings' tests.
        while let Some(offset) = rotten.rot(0..end) {
            if flash.bytes()[offset] != 0xFF {
                break;
            }
            rotten = flash.clone().seeded(crate::mix(seed ^ (offset as u64) << 32));
        }
        match trial(&mut rotten, &promised) {
            Ok((after, saved)) => {
                outcomes[after as usize] += 1;
                back += u64::from(saved < promised.saved && after != After::Refused);
            }
            Err(error) => bad.push(format!("rot {seed}: {error}")),
        }
    }
    let [unharmed, withheld, logged, refused] = outcomes;
    println!(
        "\n| rotten bits | bad | unharmed | withheld | withheld and logged | refused to open | newest registers lost |"
    );
    println!("|---|---|---|---|---|---|---|");
    println!("| {count} | {} | {unharmed} | {withheld} | {logged} | {refused} | {back} |", bad.len());
    bad.iter().take(3).for_each(|bad| eprintln!("  {bad}"));
    Ok(bad.len() as u64)
}

/// Opens the flash and reads everything in it.
fn trial(flash: &mut CutFlash<4096, 4>, promised: &Promised) -> Result<(After, u64), String> {
    let Ok(meter) = work::open(flash, Layout::TINY, promised.now + 1_000) else {
        return Ok((After::Refused, 0));
    };
    let say = |error| format!("read: {error}");
    let (mut withheld, mut logged) = (false, false);
    for sequence in meter.security_log_range() {
        match (meter.security_log_entry(sequence).map_err(say)?, promised.entries.get(&sequence)) {
            (None, _) => withheld = true,
            (Some(found), Some(entry)) if found != *entry => {
                return Err(format!("entry {sequence}: {found:?}"));
            }
            (Some(found), None) => logged |= found.code == EventCode::StorageError,
            _ => {}
        }
    }
    for sequence in meter.load_profile_range() {
        match (meter.load_profile_row(sequence).map_err(say)?, promised.rows.get(&sequence)) {
            (None, _) => withheld = true,
            (Some(found), Some(row)) if found != *row => return Err(format!("row {sequence}: {found:?}")),
            _ => {}
        }
    }
    for index in meter.sealed_leaves().start..promised.leaves.len() as u64 {
        match meter.sealed_leaf(index).map_err(say)? {
            None => withheld = true,
            Some(SealedLeaf::Bytes(bytes)) if LogHash::of_leaf(&bytes) != promised.leaves[index as usize] => {
                // A void leaf in place of another is told by its tree, which has another root then.
                withheld = true;
            }
            Some(SealedLeaf::Hash(hash)) if hash != promised.leaves[index as usize] => {
                return Err(format!("leaf {index} has another hash"));
            }
            Some(_) => {}
        }
    }
    let saved = meter.saved_registers().total_import_nanowatt_hours;
    if saved > promised.saved {
        return Err(format!("registers at {saved}, were at {}", promised.saved));
    }
    let after = match (withheld, logged) {
        (_, true) => After::Logged,
        (true, false) => After::Withheld,
        (false, false) => After::Unharmed,
    };
    Ok((after, saved))
}
