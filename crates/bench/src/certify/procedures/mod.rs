//! The procedures, by subject.

mod accuracy;

use super::Procedure;

/// Every procedure that this bench has.
pub fn procedures() -> Vec<Box<dyn Procedure>> {
    accuracy::procedures()
}
