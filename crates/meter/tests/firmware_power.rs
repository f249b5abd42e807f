//! CPA-FW: whatever the power does during an update or a revert, the meter comes back by itself, with an image that
//! verifies and is not older. `cargo xtask powercut` cuts every operation; this test every few of them.

mod support {
    pub(crate) mod firmware;
    pub(crate) mod powercut;
}

use support::firmware::Behaviour;
use support::powercut::Campaign;

#[test]
fn an_update_cut_anywhere_ends_with_the_new_image() {
    let row = Campaign::<4, 4096>::new("update", Behaviour::Good, false).single(7);
    assert_eq!((row.old, row.new), (0, row.runs));
    let row = Campaign::<8, 2048>::new("update by differences", Behaviour::Good, true).single(7);
    assert_eq!((row.old, row.new), (0, row.runs));
}

#[test]
fn a_revert_cut_anywhere_ends_with_the_old_image() {
    let row = Campaign::<16, 8192>::new("revert", Behaviour::Crashes, true).single(7);
    assert_eq!((row.old, row.new), (row.runs, 0));
}

#[test]
fn two_cuts_one_after_the_other_change_nothing_of_that() {
    let row = Campaign::<1, 4096>::new("update by differences", Behaviour::Good, true).double(40, 1);
    assert_eq!(row.old, 0);
    let row = Campaign::<4, 4096>::new("revert", Behaviour::NoHeadEnd, true).double(20, 2);
    assert_eq!(row.new, 0);
}
