//! New firmware: what must be refused, what must come through, and what the meter says that it runs.
//!
//! Every test ends with a sound package in the same meter, so that one that takes nothing at all passes none.

mod life;
mod packages;
mod steps;

use crate::certify::Procedure;

pub(super) fn procedures() -> Vec<Box<dyn Procedure>> {
    let mut all = packages::procedures();
    all.extend(life::procedures());
    all
}
