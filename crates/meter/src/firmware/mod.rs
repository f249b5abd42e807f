//! New firmware on the device: received, judged, tried, confirmed or given up, whatever the power does meanwhile.
//!
//! The partition has a [`journal`](BootRecord) of what is in force, places for trust roots, two image slots, and a
//! staging area for the package as it comes. Packages are not unpacked as they come: blocks arrive in any order, and
//! nothing that is not signed for this device shall reach a decompressor or a slot. So the stored bytes wait in
//! staging until signatures, target, sequence and digest are right ([`FirmwareStore::step`]), and only then become an
//! image in the slot that does not run.
//!
//! Every change of state is one record in the journal, so a power cut leaves the state before or the state after. What
//! takes long begins anew after a cut by itself. [`decide`] is the whole boot decision.

mod boot;
mod error;
mod image_store;
mod install;
mod journal;
mod layout;
mod memory;
mod record;
mod slots;
mod staging;
mod store;

pub use boot::{Booted, Loader, Run, boot, decide};
pub use error::{FirmwareError, Refusal};
pub use layout::{BLOCK_BYTES, FirmwareLayout};
pub use record::{
    BootRecord, Candidate, Installed, Phase, Reason, RootPlace, Slot, Transfer, TransferStatus,
};
pub use store::{FirmwareStore, Health, Probation, Step, Target, provision};

/// How often an image on probation is started before it is given up: two power cuts are nobody's fault.
pub const TRIES: u8 = 3;

/// How long an image has to live before it may be confirmed, milliseconds of uptime, unless a device says otherwise
/// ([`FirmwareStore::set_least_probation`]): one that crashes after a minute is not.
pub const LEAST_PROBATION_MS: u64 = 90 * 1000;

/// How long one try on probation takes at most, milliseconds of uptime: fifteen minutes, many reconnects' worth.
pub const PROBATION_MS: u64 = 15 * 60 * 1000;
