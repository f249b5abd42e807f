//! Proofs from the meter itself, for who stands before it: that a leaf is in the log, and that the log has only grown. Nothing
//! of it needs to be believed: the one who asks checks them against signed checkpoints.

use alloc::vec::Vec;

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::Writer;
use dlms_cosem_rs::xdlms::{ActionResult, DataAccessResult};
use embedded_storage::nor_flash::NorFlash;
use meterseal_seal::log::{LogHash, proof};

use super::{parse, put};
use crate::inner::Inner;

/// Method 1: `[leaf, size]`, the inclusion proof of that leaf in the tree over the first `size` leaves. Method 2: `[old, new]`,
/// the consistency proof between two sizes. Either returns the hashes of RFC 9162, section 2.1.3 or 2.1.4, 32 bytes each, one
/// after another: at most 65, in O(log n) reads of flash.
pub(super) fn invoke<F: NorFlash>(
    inner: &Inner<F>,
    method: i8,
    parameters: Option<Data<'_>>,
    w: &mut dyn Writer,
) -> Result<bool, ActionResult> {
    let refused = |error| match error {
        DataAccessResult::TypeUnmatched => ActionResult::TypeUnmatched,
        _ => ActionResult::ScopeOfAccessViolated,
    };
    let parameters = parameters.ok_or(ActionResult::TypeUnmatched)?;
    let [first, second] = parse::fields::<2>(&parameters).map_err(refused)?;
    let [first, second] = [parse::number::<u64>(&first), parse::number::<u64>(&second)];
    let (first, second) = (first.map_err(refused)?, second.map_err(refused)?);
    let mut storage = inner.storage.borrow_mut();
    if second > storage.tree().peaks().size() {
        return Err(ActionResult::ScopeOfAccessViolated);
    }
    let mut tree = storage.tree_reader();
    let path = match method {
        1 => proof::inclusion_proof(&mut tree, first, second),
        2 => proof::consistency_proof(&mut tree, first, second),
        _ => return Err(ActionResult::ObjectUndefined),
    };
    let path = path.map_err(|error| match error {
        proof::ProofError::OutOfRange => ActionResult::ScopeOfAccessViolated,
        // The leaves in question are no longer held.
        proof::ProofError::Missing { .. } => ActionResult::ObjectUnavailable,
        proof::ProofError::Read(_) => ActionResult::HardwareFault,
    })?;
    let octets: Vec<u8> = path.iter().flat_map(|LogHash(hash)| *hash).collect();
    put(w, Data::OctetString(&octets)).map_err(|_| ActionResult::OtherReason).map(|()| true)
}
