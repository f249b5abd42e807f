//! The procedures, by subject.

mod accuracy;
mod callers;
mod clock;
mod firmware;
mod gaps;
mod identity;
mod influence;
mod logs;
mod marked;
mod network;
mod registers;
mod rights;
mod robust;
mod sealed;
mod secrecy;
mod tamper;
mod tls;
mod wire;
mod witness;

use super::Procedure;

/// Every procedure that this bench has.
pub fn procedures() -> Vec<Box<dyn Procedure>> {
    let mut all = accuracy::procedures();
    all.push(Box::new(influence::Influence));
    all.extend(registers::procedures());
    all.extend(tamper::procedures());
    all.extend(rights::procedures());
    all.extend(secrecy::procedures());
    all.push(Box::new(clock::Clock));
    all.extend(robust::procedures());
    all.push(Box::new(logs::AuditLog));
    all.push(Box::new(logs::LogClear));
    all.push(Box::new(gaps::GapRepair));
    all.push(Box::new(sealed::LogRollback));
    all.push(Box::new(sealed::BilledStatement));
    all.push(Box::new(marked::Certified));
    all.extend(firmware::procedures());
    all.extend(tls::procedures());
    all.extend(wire::procedures());
    all.extend(identity::procedures());
    all
}
