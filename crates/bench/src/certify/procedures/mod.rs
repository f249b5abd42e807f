//! The procedures, by subject.

mod accuracy;
mod identity;
mod influence;
mod network;
mod registers;
mod tamper;
mod tls;
mod wire;

use super::Procedure;

/// Every procedure that this bench has.
pub fn procedures() -> Vec<Box<dyn Procedure>> {
    let mut all = accuracy::procedures();
    all.push(Box::new(influence::Influence));
    all.extend(registers::procedures());
    all.extend(tamper::procedures());
    all.extend(tls::procedures());
    all.extend(wire::procedures());
    all.extend(identity::procedures());
    all
}
