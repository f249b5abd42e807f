//! Bit rot is looked for before somebody needs what it has spoilt: a few leaves and records a second, all of them again and
//! again. A leaf must be what its record says and its place in the tree demands; what is not is an event and an alarm.

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::EventCode;
use meterseal_seal::log::{Leaf, LeafKind};

use crate::StorageError;
use crate::flash::Condition;
use crate::inner::Inner;

/// How far the look has come, and what it has found.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    /// The next leaf.
    leaf: u64,
    /// The next entry of the event log and row of the power-quality log.
    event: u32,
    quality: u32,
    /// What rotted in this round, and in the one before.
    found: u32,
    known: u32,
}

impl<F: NorFlash> Inner<F> {
    /// Looks at the next few: called once a second, so that a full log of 24 000 leaves has been looked at after two hours.
    pub(crate) fn scrub(&mut self) -> Result<(), StorageError<F::Error>> {
        for _ in 0..LEAVES_A_CALL {
            let (oldest, size) = {
                let storage = self.storage.get_mut();
                (storage.tree().oldest(), storage.tree().peaks().size())
            };
            let index = self.scrub.leaf.max(oldest);
            if index >= size {
                self.end_round();
                break;
            }
            self.scrub.leaf = index + 1;
            let condition = self.inspect_leaf(index)?;
            self.note_rot(condition)?;
        }
        let events = self.storage.get_mut().events().sequences();
        let quality = self.storage.get_mut().quality().sequences();
        if let Some(sequence) = next(&mut self.scrub.event, &events) {
            let condition = self.storage.get_mut().inspect_event(sequence)?;
            self.note_rot(condition)?;
        }
        if let Some(sequence) = next(&mut self.scrub.quality, &quality) {
            let condition = self.storage.get_mut().inspect_quality(sequence)?;
            self.note_rot(condition)?;
        }
        Ok(())
    }

    /// Whether a leaf's slot and its record agree.
    fn inspect_leaf(&mut self, index: u64) -> Result<Condition, StorageError<F::Error>> {
        let before = self.storage.get_mut().corrections();
        let Some(slot) = self.storage.get_mut().leaf_slot(index)? else { return Ok(Condition::Lost) };
        let held = self.storage.get_mut().held(slot.kind);
        if slot.kind == LeafKind::Void || !held.contains(&slot.row) {
            // No record, or one that has made room since: its hash is what is kept.
            return Ok(Condition::Sound);
        }
        let Some(body) = self.body(slot.kind, slot.row)? else { return Ok(Condition::Lost) };
        let hash = Leaf::new(self.sealed.log, index, body, &self.sealed.key).hash();
        let corrected = self.storage.get_mut().corrections() != before;
        Ok(match (hash == slot.hash, corrected) {
            (false, _) => Condition::Lost,
            (true, true) => Condition::Corrected,
            (true, false) => Condition::Sound,
        })
    }

    /// What rots is an event once, not again in every round.
    fn note_rot(&mut self, condition: Condition) -> Result<(), StorageError<F::Error>> {
        if condition == Condition::Sound {
            return Ok(());
        }
        self.scrub.found += 1;
        if self.scrub.found <= self.scrub.known {
            return Ok(());
        }
        self.scrub.known = self.scrub.found;
        self.log(EventCode::StorageError, self.scrub.found.into())
    }

    fn end_round(&mut self) {
        let found = self.scrub.found;
        self.scrub =
            Scrub { known: found, event: self.scrub.event, quality: self.scrub.quality, ..Scrub::default() };
    }
}

/// The next number of a ring, over and over.
fn next(cursor: &mut u32, held: &core::ops::RangeInclusive<u32>) -> Option<u32> {
    let sequence = if held.contains(cursor) { *cursor } else { *held.start() };
    *cursor = sequence.saturating_add(1);
    held.contains(&sequence).then_some(sequence)
}

/// A few reads of flash and as many hashes, some tens of microseconds.
const LEAVES_A_CALL: u32 = 4;
