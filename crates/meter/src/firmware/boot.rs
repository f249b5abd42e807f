//! The boot decision, all of it: [`decide`]. Around it, [`boot`] reads the record, verifies, and writes the next record
//! before anything is started.

use alloc::vec::Vec;
use core::fmt;

use embedded_storage::nor_flash::NorFlash;
use meterseal_seal::firmware::Manifest;

use super::error::FirmwareError;
use super::journal::Journal;
use super::layout::FirmwareLayout;
use super::memory::Memory;
use super::record::{BootRecord, Candidate, Phase, Reason, Slot, TransferStatus};
use super::store::{Target, unlogged};

/// What to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// The confirmed image.
    Confirmed(Slot),
    /// The new image, on probation.
    Probation(Slot),
    /// Nothing verifies that is not older than what was confirmed: wait for a technician, start nothing.
    Nothing,
}

/// The whole boot decision. From what is in force and from what verifies (asked only where it matters), what to start,
/// and the record that must be in flash before it is started.
pub fn decide(record: &BootRecord, mut verifies: impl FnMut(Slot) -> bool) -> (BootRecord, Run) {
    let mut next = BootRecord { boots: record.boots.saturating_add(1), ..record.clone() };
    let (confirmed, new) = (record.active, record.active.other());
    let sequence = |slot| record.image(slot).map_or(0, |installed| installed.sequence);
    let newer = sequence(new) > record.highest;

    // 1. The new image, once activated, as long as it has tries, is newer, and verifies.
    if let Some(Candidate { phase: Phase::Armed | Phase::Probation, tries }) = record.candidate {
        let refused = match tries.checked_sub(1) {
            None => Reason::TriesSpent,
            Some(_) if !newer => Reason::NotNewer,
            Some(_) if !verifies(new) => Reason::NotIntact,
            Some(tries) => {
                next.candidate = Some(Candidate { phase: Phase::Probation, tries });
                return (next, Run::Probation(new));
            }
        };
        next.give_up(refused);
    }

    // 2. The image that was confirmed. Its number is the highest ever: nothing older can stand here.
    if sequence(confirmed) == record.highest && verifies(confirmed) {
        return (next, Run::Confirmed(confirmed));
    }
    next.unlogged |= unlogged::NOT_INTACT;

    // 3. Rather than none at all: a newer image that verifies, even one that was given up or not activated yet.
    if newer && verifies(new) {
        next.candidate = Some(Candidate { phase: Phase::Probation, tries: 0 });
        return (next, Run::Probation(new));
    }
    (next, Run::Nothing)
}

impl BootRecord {
    /// The candidate is none any more.
    pub(super) const fn give_up(&mut self, reason: Reason) {
        self.candidate = Some(Candidate { phase: Phase::GivenUp(reason), tries: 0 });
        if let Some(transfer) = &mut self.transfer {
            transfer.status = TransferStatus::ActivationFailed;
        }
        self.unlogged |= unlogged::REVERTED;
    }
}

/// Takes the bytes of an image as they are verified, so that what is executed is what was judged.
pub trait Loader {
    /// An image of so many bytes follows; whatever came before is void.
    fn begin(&mut self, bytes: u32);
    /// Its next bytes.
    fn load(&mut self, bytes: &[u8]);
}

/// Where images are executed in place, nothing is loaded.
impl Loader for () {
    fn begin(&mut self, _: u32) {}
    fn load(&mut self, _: &[u8]) {}
}

impl Loader for Vec<u8> {
    fn begin(&mut self, bytes: u32) {
        self.clear();
        self.reserve_exact(bytes as usize);
    }

    fn load(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booted {
    /// What to start.
    pub run: Run,
    /// The manifest of the image to start; its bytes are what the loader got last.
    pub manifest: Option<Manifest>,
    /// What is in force now.
    pub record: BootRecord,
}

impl fmt::Display for Booted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.run {
            Run::Confirmed(_) => "confirmed",
            Run::Probation(_) => "on probation",
            Run::Nothing => return f.write_str("no image verifies; nothing is started"),
        };
        match &self.manifest {
            Some(manifest) => {
                write!(f, "version {}, sequence {}, {how}", manifest.version, manifest.sequence)
            }
            None => f.write_str(how),
        }
    }
}

/// One power-on: decides, verifies, and puts the decision in flash. The caller starts what it says.
///
/// # Errors
/// [`FirmwareError::Unprovisioned`], [`FirmwareError::Layout`], or the flash's: nothing may be started then.
pub fn boot<F: NorFlash>(
    flash: F,
    base: u32,
    layout: FirmwareLayout,
    target: &Target,
    loader: &mut dyn Loader,
) -> Result<Booted, FirmwareError<F::Error>> {
    let mut memory = Memory::new(flash, base, layout)?;
    let (mut journal, record) = Journal::open(&mut memory)?;
    let record = record.ok_or(FirmwareError::Unprovisioned)?;
    let (mut manifest, mut failed) = (None, None);
    let (next, run) = decide(&record, |slot| match memory.verify_slot(&record, slot, target, loader) {
        Ok(found) => {
            manifest = found;
            manifest.is_some()
        }
        Err(error) => {
            failed = Some(error);
            false
        }
    });
    // A chip that cannot be read is no reason to give up an image.
    if let Some(error) = failed {
        return Err(error);
    }
    journal.append(&mut memory, &next)?;
    Ok(Booted { run, manifest, record: next })
}
