//! The procedures, by subject.

mod accuracy;
mod influence;
mod registers;
mod tamper;

use super::Procedure;

/// Every procedure that this bench has.
pub fn procedures() -> Vec<Box<dyn Procedure>> {
    let mut all = accuracy::procedures();
    all.push(Box::new(influence::Influence));
    all.extend(registers::procedures());
    all.extend(tamper::procedures());
    all
}
