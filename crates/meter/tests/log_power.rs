//! CPA-TAMP and CPA-BILL: whatever the power does, no logged event is lost, no corrupt entry is accepted, and registers
//! do not go back. `cargo xtask powercut` cuts every operation; this test every few of them.

#[path = "support/log_life.rs"]
mod log_life;

use log_life::Campaign;

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
