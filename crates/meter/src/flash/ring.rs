//! A ring of fixed slots in NOR flash: append-only, found again by reading, safe against a cut at any operation.
//!
//! A slot is `sequence u32 | length u16 | !length u16 | data | CRC-32`, the rest left erased. The checksum begins
//! with the region's number. Sequence numbers rise by one with each appended record; a torn slot is skipped and
//! spends no number. One flipped bit of a record is put right when it is read (`rot`).

use alloc::vec;
use alloc::vec::Vec;

use crc::{CRC_32_ISO_HDLC, Crc};
use embedded_storage::nor_flash::NorFlash;

use super::{Region, SECTOR_BYTES, StorageError};

/// A slot's fields around its data.
pub(crate) const OVERHEAD: usize = 4 + 2 + 2 + 4;

/// How many fresh slots a record is tried in before the memory is called broken.
const WRITE_ATTEMPTS: usize = 4;

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The newest record's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    slot: u32,
    pub(crate) sequence: u32,
}

/// One region used as a ring.
#[derive(Debug)]
pub(crate) struct Ring {
    region: Region,
    slot_bytes: u32,
    newest: Option<Place>,
    /// The lowest sequence number still held.
    oldest: u32,
    /// The slot to write next. A sector is erased when its first slot's turn comes.
    next: u32,
    /// The sector that was erased ahead, until its first slot is written.
    erased: Option<u32>,
    /// The highest number that was ever given, where it is known to be higher than that of any record that can be read.
    given: u32,
    /// How often a flipped bit was put right.
    corrections: u32,
    buffer: Vec<u8>,
}

/// How a record is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// As it was written.
    Sound,
    /// One bit had flipped.
    Corrected,
    /// Not to be read any more.
    Lost,
}

enum Slot {
    Blank,
    Broken,
    Record { sequence: u32, data: core::ops::Range<usize> },
}

impl Ring {
    /// Finds the newest record by reading; the newest record's data, if any, goes to `newest_data`.
    pub(crate) fn open<F: NorFlash>(
        flash: &mut F,
        region: Region,
        slot_bytes: u32,
        newest_data: &mut Vec<u8>,
    ) -> Result<Self, StorageError<F::Error>> {
        debug_assert!(SECTOR_BYTES.is_multiple_of(slot_bytes) && slot_bytes.is_multiple_of(64));
        let mut ring = Self {
            region,
            slot_bytes,
            newest: None,
            oldest: 1,
            next: 0,
            erased: None,
            given: 0,
            corrections: 0,
            buffer: vec![0; slot_bytes as usize],
        };
        let mut newest: Option<(u32, u32)> = None;
        for sector in 0..region.sectors {
            if let Some(sequence) = ring.first_in_sector(flash, sector)?
                && newest.is_none_or(|(_, highest)| sequence > highest)
            {
                newest = Some((sector, sequence));
            }
        }
        if let Some((sector, _)) = newest {
            ring.find_newest_in(flash, sector)?;
            ring.find_rotten_newest(flash)?;
            ring.find_oldest(flash)?;
        } else {
            // One record and no other: nothing sound says that there is any.
            ring.find_rotten_newest(flash)?;
        }
        let newest = ring.newest_sequence();
        if let Some(data) = ring.read(flash, newest)? {
            newest_data.extend_from_slice(data);
        }
        Ok(ring)
    }

    /// Records up to this number were written, as their leaves say; those that cannot be read any more have rotted, and their
    /// numbers are not given again. How many that are.
    pub(crate) fn skip_to(&mut self, sequence: u32) -> u32 {
        self.given = self.given.max(sequence);
        self.given.saturating_sub(self.newest_sequence())
    }

    /// Flipped bits put right since the start.
    pub(crate) const fn corrections(&self) -> u32 {
        self.corrections
    }

    /// Records of which a bit has flipped, newer than the newest that has not rotted: that is where going back would hurt.
    fn find_rotten_newest<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), StorageError<F::Error>> {
        // Behind the newest there is what is left of its sector, or the first of the next one; behind a rotten one that is the
        // last of its sector, the next one as well.
        let first = self.newest.map_or(0, |newest| newest.slot + 1);
        let (slots, per_sector) = (self.slots(), self.slots_per_sector());
        let mut end = (first / per_sector + 1) * per_sector;
        let (mut place, mut found) = (first, None);
        while place < end.min(first + slots) {
            let slot = place % slots;
            place += 1;
            if !matches!(self.read_slot(flash, slot)?, Slot::Broken) {
                continue;
            }
            let sequence = self.newest_sequence().wrapping_add(1);
            if self.corrected(sequence).is_some() {
                if self.newest.is_none() {
                    self.oldest = sequence;
                }
                self.newest = Some(Place { slot, sequence });
                found = Some(slot / per_sector);
                if place == end {
                    end += per_sector;
                }
            }
            // What is broken in the sector after it has yet to be erased.
            if found == Some(slot / per_sector) {
                self.next = (slot + 1) % slots;
            }
        }
        Ok(())
    }

    /// The newest record's place, if the ring holds any record.
    pub(crate) const fn newest(&self) -> Option<Place> {
        self.newest
    }

    /// The newest record's sequence number, 0 when there is none.
    pub(crate) fn newest_sequence(&self) -> u32 {
        self.newest.map_or(0, |place| place.sequence)
    }

    /// The sequence numbers still held, torn or rotten ones among them included.
    pub(crate) fn sequences(&self) -> core::ops::RangeInclusive<u32> {
        self.oldest..=self.newest_sequence()
    }

    /// Records that are surely held at any time: all slots but those of the one sector that may just be erased.
    pub(crate) const fn capacity(&self) -> u32 {
        (self.region.sectors - 1) * self.slots_per_sector()
    }

    pub(crate) const fn slots_per_sector(&self) -> u32 {
        SECTOR_BYTES / self.slot_bytes
    }

    /// The highest sequence number that the next append would drop by erasing a sector, if it would.
    pub(crate) fn would_drop<F: NorFlash>(
        &mut self,
        flash: &mut F,
    ) -> Result<Option<u32>, StorageError<F::Error>> {
        if !self.next.is_multiple_of(self.slots_per_sector()) {
            return Ok(None);
        }
        let first = self.next;
        for slot in (first..first + self.slots_per_sector()).rev() {
            if let Slot::Record { sequence, .. } = self.read_slot(flash, slot)? {
                return Ok(Some(sequence));
            }
        }
        Ok(None)
    }

    /// Erases ahead, so that so many appends are writes and nothing else; at most a sector of them. Whether anything was to be
    /// erased.
    pub(crate) fn prepare<F: NorFlash>(
        &mut self,
        flash: &mut F,
        appends: u32,
    ) -> Result<bool, StorageError<F::Error>> {
        let Some(sector) = self.to_erase(appends) else { return Ok(false) };
        let from = self.offset(sector * self.slots_per_sector());
        flash.erase(from, from + SECTOR_BYTES).map_err(StorageError::Flash)?;
        self.erased = Some(sector);
        self.forget_sector(flash, sector)?;
        Ok(true)
    }

    /// The same, but a sector that reads as erased is taken for it: a write is read back in any case.
    pub(crate) fn prepare_unless_blank<F: NorFlash>(
        &mut self,
        flash: &mut F,
        appends: u32,
    ) -> Result<bool, StorageError<F::Error>> {
        let Some(sector) = self.to_erase(appends) else { return Ok(false) };
        let first = sector * self.slots_per_sector();
        for slot in first..first + self.slots_per_sector() {
            if !matches!(self.read_slot(flash, slot)?, Slot::Blank) {
                return self.prepare(flash, appends);
            }
        }
        self.erased = Some(sector);
        Ok(false)
    }

    /// Whether so many appends are writes and nothing else.
    pub(crate) fn is_prepared(&self, appends: u32) -> bool {
        self.to_erase(appends).is_none()
    }

    /// The sector that has to be erased for so many appends.
    fn to_erase(&self, appends: u32) -> Option<u32> {
        let last = self.next + appends.saturating_sub(1);
        let begins = last / self.slots_per_sector() != self.next / self.slots_per_sector();
        let sector = match (self.next.is_multiple_of(self.slots_per_sector()), begins) {
            (true, _) => self.next / self.slots_per_sector(),
            (false, true) => (self.next / self.slots_per_sector() + 1) % self.region.sectors,
            (false, false) => return None,
        };
        (self.erased != Some(sector)).then_some(sector)
    }

    /// Appends a record and returns its sequence number. When this returns, the record is in flash.
    ///
    /// # Panics
    /// When the data do not fit a slot: records have fixed sizes, chosen with their slots.
    pub(crate) fn append<F: NorFlash>(
        &mut self,
        flash: &mut F,
        data: &[u8],
    ) -> Result<u32, StorageError<F::Error>> {
        assert!(data.len() + OVERHEAD <= self.slot_bytes as usize, "a record larger than its slot");
        let sequence = self.newest_sequence().max(self.given).wrapping_add(1);
        let mut record = vec![0xFF; self.slot_bytes as usize];
        let len = data.len() as u16;
        record[..4].copy_from_slice(&sequence.to_le_bytes());
        record[4..6].copy_from_slice(&len.to_le_bytes());
        record[6..8].copy_from_slice(&(!len).to_le_bytes());
        record[8..8 + data.len()].copy_from_slice(data);
        let checksum = self.checksum(&record[..8 + data.len()]);
        record[8 + data.len()..OVERHEAD + data.len()].copy_from_slice(&checksum.to_le_bytes());
        for _ in 0..WRITE_ATTEMPTS {
            let slot = self.next;
            self.prepare(flash, 1)?;
            if slot.is_multiple_of(self.slots_per_sector()) {
                // A first slot that could not be written is erased again before the next attempt.
                self.erased = None;
            }
            let written = flash.write(self.offset(slot), &record);
            // Even a failed write may have spoilt its slot. Not so a sector's first: it is erased again before the
            // next attempt, and must not stay blank, because an open takes a blank first slot for a blank sector.
            if written.is_ok() || !slot.is_multiple_of(self.slots_per_sector()) {
                self.next = (slot + 1) % self.slots();
            }
            written.map_err(StorageError::Flash)?;
            flash.read(self.offset(slot), &mut self.buffer).map_err(StorageError::Flash)?;
            if self.buffer.iter().all(|&byte| byte == 0xFF) {
                self.next = slot;
            }
            if self.buffer == record {
                if self.newest.is_none() {
                    self.oldest = sequence;
                }
                self.newest = Some(Place { slot, sequence });
                return Ok(sequence);
            }
        }
        Err(StorageError::Verify { offset: self.offset(self.next) })
    }

    /// Reads the record with this sequence number; `None` when it is not, or no longer, there.
    pub(crate) fn read<F: NorFlash>(
        &mut self,
        flash: &mut F,
        sequence: u32,
    ) -> Result<Option<&[u8]>, StorageError<F::Error>> {
        let Some(newest) = self.newest else { return Ok(None) };
        if !self.sequences().contains(&sequence) {
            return Ok(None);
        }
        // Torn slots only ever push a record further back than its number says, so searching backwards finds it.
        let slots = self.slots();
        let mut back = newest.sequence - sequence;
        while back < slots {
            let slot = (newest.slot + slots - back) % slots;
            match self.read_slot(flash, slot)? {
                Slot::Record { sequence: found, data } if found == sequence => {
                    return Ok(Some(&self.buffer[data]));
                }
                Slot::Record { sequence: found, .. } if found > sequence => back += found - sequence,
                Slot::Record { .. } => return Ok(None),
                Slot::Broken => match self.corrected(sequence) {
                    Some(data) => return Ok(Some(&self.buffer[data])),
                    None => back += 1,
                },
                Slot::Blank => back += 1,
            }
        }
        Ok(None)
    }

    /// Whether the record with this sequence number is there as it was written; `Corrected` where one bit had to be put right.
    pub(crate) fn inspect<F: NorFlash>(
        &mut self,
        flash: &mut F,
        sequence: u32,
    ) -> Result<Condition, StorageError<F::Error>> {
        let before = self.corrections;
        let found = self.read(flash, sequence)?.is_some();
        Ok(match (found, self.corrections != before) {
            (false, _) => Condition::Lost,
            (true, true) => Condition::Corrected,
            (true, false) => Condition::Sound,
        })
    }

    /// Puts one flipped bit right in the slot that is in the buffer, if it then is the record with this number: that it has to
    /// be the one looked for keeps what a cut has torn from passing for one.
    fn corrected(&mut self, sequence: u32) -> Option<core::ops::Range<usize>> {
        let mut fields = super::Cursor::new(&self.buffer);
        let (_, len, inverse) = (fields.u32()?, fields.u16()?, fields.u16()?);
        // The length is there twice; where both differ in a bit, the checksum says which is right.
        let lengths = match (len ^ !inverse).count_ones() {
            0 => [Some(len), None],
            1 => [Some(len), Some(!inverse)],
            _ => return None,
        };
        for len in lengths.into_iter().flatten() {
            let end = 8 + usize::from(len);
            let Some(stored) = self.buffer.get(end..end + 4) else { continue };
            let stored = u32::from_le_bytes(stored.try_into().ok()?);
            let mut record = self.buffer[..end].to_vec();
            record[4..6].copy_from_slice(&len.to_le_bytes());
            record[6..8].copy_from_slice(&(!len).to_le_bytes());
            let computed = self.checksum(&record);
            if (stored == computed || super::rot::correct(&mut record, stored, computed))
                && record[..4] == sequence.to_le_bytes()
                && record[4..6] == len.to_le_bytes()
            {
                self.buffer[..end].copy_from_slice(&record);
                self.corrections += 1;
                return Some(8..end);
            }
        }
        None
    }

    const fn slots(&self) -> u32 {
        self.region.sectors * self.slots_per_sector()
    }

    const fn offset(&self, slot: u32) -> u32 {
        self.region.first_sector * SECTOR_BYTES + slot * self.slot_bytes
    }

    fn checksum(&self, bytes: &[u8]) -> u32 {
        let mut digest = CHECKSUM.digest();
        digest.update(&[self.region.name as u8]);
        digest.update(bytes);
        digest.finalize()
    }

    fn read_slot<F: NorFlash>(&mut self, flash: &mut F, slot: u32) -> Result<Slot, StorageError<F::Error>> {
        flash.read(self.offset(slot), &mut self.buffer).map_err(StorageError::Flash)?;
        if self.buffer.iter().all(|&byte| byte == 0xFF) {
            return Ok(Slot::Blank);
        }
        let mut fields = super::Cursor::new(&self.buffer);
        let (Some(sequence), Some(len), Some(inverse)) = (fields.u32(), fields.u16(), fields.u16()) else {
            return Ok(Slot::Broken);
        };
        let end = 8 + usize::from(len);
        let Some(stored) = self.buffer.get(end..end + 4) else { return Ok(Slot::Broken) };
        if len != !inverse || stored != self.checksum(&self.buffer[..end]).to_le_bytes() {
            return Ok(Slot::Broken);
        }
        Ok(Slot::Record { sequence, data: 8..end })
    }

    /// The lowest sequence number in a sector. In a sound sector that is its first slot; the others are read
    /// only where that one is damaged.
    fn first_in_sector<F: NorFlash>(
        &mut self,
        flash: &mut F,
        sector: u32,
    ) -> Result<Option<u32>, StorageError<F::Error>> {
        let first = sector * self.slots_per_sector();
        for slot in first..first + self.slots_per_sector() {
            match self.read_slot(flash, slot)? {
                Slot::Record { sequence, .. } => {
                    return self.first_before(flash, first..slot, sequence).map(Some);
                }
                // A blank first slot ahead of records is what a torn erase leaves: those were being dropped.
                Slot::Blank => return Ok(None),
                Slot::Broken => {}
            }
        }
        Ok(None)
    }

    /// The lowest sequence number in damaged slots ahead of a sector's first sound record: where one bit has flipped, the
    /// record is held all the same.
    fn first_before<F: NorFlash>(
        &mut self,
        flash: &mut F,
        damaged: core::ops::Range<u32>,
        sound: u32,
    ) -> Result<u32, StorageError<F::Error>> {
        let (mut lowest, corrections) = (sound, self.corrections);
        for slot in damaged.rev() {
            // Torn slots spend no number.
            if lowest > 1
                && matches!(self.read_slot(flash, slot)?, Slot::Broken)
                && self.corrected(lowest - 1).is_some()
            {
                lowest -= 1;
            }
        }
        // Nobody has read it yet: it counts when somebody does.
        self.corrections = corrections;
        Ok(lowest)
    }

    fn find_newest_in<F: NorFlash>(
        &mut self,
        flash: &mut F,
        sector: u32,
    ) -> Result<(), StorageError<F::Error>> {
        let first = sector * self.slots_per_sector();
        let mut next = first;
        for slot in first..first + self.slots_per_sector() {
            match self.read_slot(flash, slot)? {
                Slot::Blank => {}
                Slot::Broken => next = slot + 1,
                Slot::Record { sequence, .. } => {
                    next = slot + 1;
                    // A write that failed after it was done is repeated under the same number: the later one counts.
                    if self.newest.is_none_or(|newest| sequence >= newest.sequence) {
                        self.newest = Some(Place { slot, sequence });
                    }
                }
            }
        }
        self.next = next % self.slots();
        Ok(())
    }

    fn find_oldest<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), StorageError<F::Error>> {
        let Some(newest) = self.newest else { return Ok(()) };
        let newest_sector = newest.slot / self.slots_per_sector();
        for step in 1..=self.region.sectors {
            let sector = (newest_sector + step) % self.region.sectors;
            if let Some(sequence) = self.first_in_sector(flash, sector)?
                && sequence <= newest.sequence
            {
                self.oldest = sequence;
                return Ok(());
            }
        }
        self.oldest = newest.sequence;
        Ok(())
    }

    /// After the erase of a sector: what was in it is no longer held.
    fn forget_sector<F: NorFlash>(
        &mut self,
        flash: &mut F,
        erased: u32,
    ) -> Result<(), StorageError<F::Error>> {
        if self.newest.is_some_and(|newest| newest.slot / self.slots_per_sector() == erased) {
            // Only when every slot of the one sector in use was spoilt; the numbers still go on.
            return Ok(());
        }
        self.find_oldest(flash)
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
