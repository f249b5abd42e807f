//! Bit rot is looked for before somebody needs what it has spoilt: a few leaves and records a second, all of them again and
//! again. A leaf must be what its record says and its place in the tree demands; what is not is an event and an alarm.

use alloc::vec::Vec;

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::EventCode;
use meterseal_seal::log::{Body, Leaf, LeafKind};

use crate::StorageError;
use crate::flash::{Condition, LEAVES, Slot};
use crate::inner::Inner;
use crate::storage::Sector;

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
        let Some(slot) = self.storage.get_mut().leaf_slot(index)? else {
            let mended = self.mend_sector(index / LEAVES * LEAVES)?;
            return Ok(if mended.is_some() { Condition::Corrected } else { Condition::Lost });
        };
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

    /// At a start, before anything is appended: what has rotted in the newest sector since it was signed. Says how many
    /// leaves were found again.
    pub(crate) fn mend_newest_sector(&mut self) -> Result<u32, StorageError<F::Error>> {
        let first = match self.storage.get_mut().tree().unread() {
            [] => return Ok(0),
            [index, ..] => index / LEAVES * LEAVES,
        };
        Ok(self.mend_sector(first)?.unwrap_or(0))
    }

    /// Finds what the leaves of a sector that cannot be read have been: what is left in their slots, or their records again,
    /// in whatever order leads to the root that is known. Nothing else is believed. Says how many leaves that were not void
    /// were found; `None` when they were not.
    fn mend_sector(&mut self, first: u64) -> Result<Option<u32>, StorageError<F::Error>> {
        let size = self.storage.get_mut().tree().peaks().size();
        let (end, root) = if first + LEAVES < size {
            let Some(next) = self.storage.get_mut().sector(first + LEAVES)? else { return Ok(None) };
            (first + LEAVES, next.peaks.root())
        } else {
            match self.sealed.newest {
                Some(newest) if newest.log == self.sealed.log && newest.size > first => {
                    (newest.size, newest.root)
                }
                _ => return Ok(None),
            }
        };
        let Some(sector) = self.storage.get_mut().sector(first)? else { return Ok(None) };
        let Some(slots) = sector.slots.get(..(end - first) as usize) else { return Ok(None) };
        let missing: Vec<u64> =
            (first..).zip(slots).filter(|(_, slot)| slot.is_none()).map(|(index, _)| index).collect();
        if missing.is_empty() || missing.len() > MENDED_AT_ONCE {
            return Ok(None);
        }
        let mut choices = Vec::new();
        for &index in &missing {
            choices.push(self.candidates(&sector, first, index, missing.len() as u32)?);
        }
        let ways: usize = choices.iter().map(Vec::len).product();
        for way in 0..ways.min(WAYS_MAX) {
            let mut rest = way;
            let chosen: Vec<(u64, Slot)> = missing
                .iter()
                .zip(&choices)
                .map(|(&index, choices)| {
                    let slot = choices[rest % choices.len()];
                    rest /= choices.len();
                    (index, slot)
                })
                .collect();
            let mut peaks = sector.peaks.clone();
            let mut next = chosen.iter();
            for slot in slots {
                match slot.or_else(|| next.next().map(|(_, slot)| *slot)) {
                    Some(slot) => peaks.append(slot.hash),
                    None => return Ok(None),
                }
            }
            if peaks.root() == root {
                self.storage.get_mut().mend(first, &chosen)?;
                let void = chosen.iter().filter(|(_, slot)| slot.kind == LeafKind::Void).count();
                return Ok(Some((chosen.len() - void) as u32));
            }
        }
        Ok(None)
    }

    /// What a leaf may have been: its own slot with one bit put right, void, or one of the next few records of each kind.
    fn candidates(
        &mut self,
        sector: &Sector,
        first: u64,
        index: u64,
        missing: u32,
    ) -> Result<Vec<Slot>, StorageError<F::Error>> {
        let mut candidates: Vec<Slot> = self.storage.get_mut().guess(index)?.into_iter().collect();
        let void = Leaf { log: self.sealed.log, sequence: index, salt: [0; 16], body: Body::Void };
        candidates.push(Slot { hash: void.hash(), kind: LeafKind::Void, row: 0 });
        let mut rows = sector.rows;
        for slot in sector.slots.iter().take((index - first) as usize).flatten() {
            rows.set(slot.kind, slot.row);
        }
        for kind in [LeafKind::Event, LeafKind::Interval, LeafKind::Reading, LeafKind::Billing] {
            for row in (1..=missing).map(|ahead| rows.of(kind).saturating_add(ahead)) {
                if self.storage.get_mut().held(kind).contains(&row)
                    && let Some(body) = self.body(kind, row)?
                {
                    let hash = Leaf::new(self.sealed.log, index, body, &self.sealed.key).hash();
                    candidates.push(Slot { hash, kind, row });
                }
            }
        }
        Ok(candidates)
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

/// Leaves of one sector that are mended together at most, and ways in which that is tried: each costs as many hashes as a
/// sector has leaves.
const MENDED_AT_ONCE: usize = 8;
const WAYS_MAX: usize = 4_096;

/// A few reads of flash and as many hashes, some tens of microseconds.
const LEAVES_A_CALL: u32 = 4;
