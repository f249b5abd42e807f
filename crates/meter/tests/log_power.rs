//! CPA-TAMP and CPA-BILL: whatever the power does, no logged event is lost, no corrupt entry is accepted, and registers
//! do not go back. `cargo xtask powercut` cuts every operation; this test every few of them.

#[path = "support/log_life.rs"]
mod log_life;

use log_life::Campaign;
use meterseal_world::flash::{Appetite, Cut};

#[test]
fn one_cut_anywhere_loses_nothing_that_was_promised() {
    let row = Campaign::<4, 4096>::new().single(5);
    assert!(row.runs > 20 && row.promised > 10, "{row:?}");
    let row = Campaign::<16, 2048>::new().single(11);
    assert!(row.runs > 10, "{row:?}");
}

#[test]
fn two_cuts_one_after_the_other_lose_nothing_either() {
    let row = Campaign::<8, 4096>::new().double(40, 1);
    assert_eq!(row.runs, 40);
    let row = Campaign::<1, 4096>::new().double(20, 2);
    assert_eq!(row.runs, 20);
}

/// Found by `cargo xtask powercut --pairs 100000`.
#[test]
fn two_cuts_that_left_an_entry_without_its_record() {
    let row = Campaign::<1, 4096>::new().exactly(28_589_956_658_361, &[(16, Cut::Torn), (11, Cut::After)]);
    assert_eq!(row.runs, 1);
}

/// A failing supply is warned of: whatever is left of the capacitor, nothing goes back, and when it is as designed, what is
/// short is what the core has not booked yet.
#[test]
fn the_last_words_reach_flash_before_the_capacitor_is_empty() {
    let campaign = Campaign::<4, 4096>::new();
    let [full, _] = campaign.warned(7, Appetite::TYPICAL);
    assert!(full.runs > 20, "{full:?}");
    assert_eq!(full.last_words, full.runs, "{full:?}");
    assert!(full.lost_with_last_words <= LOST_AT_MOST, "{full:?}");
    // The slowest chip, at its limits, whatever was under way; and a capacitor that has become less than it was.
    let [full, part] = campaign.warned(2, Appetite::WORST);
    assert_eq!(full.last_words, full.runs, "{full:?}");
    assert!(full.lost_with_last_words <= LOST_AT_MOST, "{full:?}");
    // An erase was under way in one of them.
    assert!(full.spent_nanojoules > Appetite::WORST.erase(4096, 0), "{full:?}");
    assert!(part.last_words > 0 && part.last_words < part.runs, "{part:?}");
}

/// What 69 kW bring in two cycles, thousandths of a watt-hour: the core books a cycle when the next has begun.
const LOST_AT_MOST: u64 = 69_000_000 / 3_600 * 40 / 1_000;
