//! The log's Merkle tree in flash: the hash of every leaf that is still covered, and enough of those before to prove it.
//!
//! A sector is 64 leaves: a header of 1 KiB with the *peaks* of the tree before its first leaf, then 64 slots of 48 bytes,
//! `hash (32) | kind u8 | voids u8 | row u32 | CRC-32`, the rest left erased. Leaf *n* has one place for ever: slot *n* mod
//! 64 of its sector. So a sector stands for itself, and erasing the oldest costs nothing that a proof of a leaf in
//! another one needs: a left neighbour that ends where a sector begins is that header's last peak.
//!
//! A slot that a power cut has torn cannot be written again: its leaf is *void*, with a hash that everybody can compute.
//! The slot after it says how many are void before it, so that a torn slot and one that has rotted are told apart.

use alloc::vec;
use alloc::vec::Vec;

use crc::{CRC_32_ISO_HDLC, Crc};
use embedded_storage::nor_flash::NorFlash;
use meterseal_seal::log::{Body, Leaf, LeafKind, LogHash, LogId, Peaks, Subtrees};

use super::{Cursor, Put, Region, SECTOR_BYTES, StorageError};

/// Leaves in a sector.
pub(crate) const LEAVES: u64 = 64;
const HEADER_BYTES: usize = 1024;
const SLOT_BYTES: usize = 48;
const SLOT_USED: usize = LogHash::LENGTH + 1 + 1 + 4 + 4;
const _: () = assert!(HEADER_BYTES + SLOT_BYTES * LEAVES as usize == SECTOR_BYTES as usize);
/// As many peaks as a header takes: 2³⁰ leaves, at one a second 34 years.
const PEAKS_MAX: usize = 30;
const _: () = assert!(16 + 8 + KINDS * 4 + 1 + PEAKS_MAX * LogHash::LENGTH + 4 <= HEADER_BYTES);

/// Leaves that are remembered as mended at most; where more have rotted, the chip is to be replaced.
const MENDED_MAX: usize = 64;

/// How many fresh slots a leaf is tried in before the memory is called broken.
const WRITE_ATTEMPTS: usize = 4;

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The kinds of leaves that have records, in the order in which headers count them.
const KINDS: usize = 5;

/// A kind's place in [`Rows`]; a void leaf has no record.
const fn place(kind: LeafKind) -> Option<usize> {
    match kind {
        LeafKind::Void => None,
        LeafKind::Event => Some(0),
        LeafKind::Interval => Some(1),
        LeafKind::Reading => Some(2),
        LeafKind::Billing => Some(3),
        LeafKind::Boot => Some(4),
    }
}

/// The newest record of each kind that is in the tree, by its number in its own ring; 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows([u32; KINDS]);

impl Rows {
    pub(crate) const fn of(&self, kind: LeafKind) -> u32 {
        match place(kind) {
            Some(place) => self.0[place],
            None => 0,
        }
    }

    pub(crate) const fn set(&mut self, kind: LeafKind, row: u32) {
        if let Some(place) = place(kind) {
            self.0[place] = row;
        }
    }
}

/// Where a leaf's record is, and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) hash: LogHash,
    pub(crate) kind: LeafKind,
    pub(crate) row: u32,
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Tree {
    region: Region,
    log: LogId,
    peaks: Peaks,
    rows: Rows,
    /// The first leaf of the oldest sector that is held.
    oldest: u64,
    /// The void leaves at the tree's end, up to where the next one goes.
    voids: u8,
    /// A slot that should be readable is not: the memory has failed there.
    rotten: u32,
    /// Leaves of the newest sector that could not be read at the start, and that no later slot calls void.
    unread: Vec<u64>,
    /// Leaves that were found again by their records: what flash should say of them.
    mended: Vec<(u64, Slot)>,
    /// The first leaf of a sector that was erased ahead, until it is begun.
    erased: Option<u64>,
}

struct Header {
    first: u64,
    rows: Rows,
    peaks: Peaks,
}

enum Read {
    Blank,
    Broken,
    Leaf { slot: Slot, voids: u8 },
}

impl Tree {
    /// Finds the tree of this log by reading. What other logs have left counts as erased.
    pub(crate) fn open<F: NorFlash>(
        flash: &mut F,
        region: Region,
        log: LogId,
    ) -> Result<Self, StorageError<F::Error>> {
        let mut tree = Self {
            region,
            log,
            peaks: Peaks::new(),
            rows: Rows::default(),
            oldest: 0,
            voids: 0,
            rotten: 0,
            unread: Vec::new(),
            mended: Vec::new(),
            erased: None,
        };
        let mut newest: Option<Header> = None;
        let mut firsts = Vec::new();
        for sector in 0..region.sectors {
            let Some(header) = tree.read_header(flash, sector)? else { continue };
            firsts.push(header.first);
            if newest.as_ref().is_none_or(|newest| header.first > newest.first) {
                newest = Some(header);
            }
        }
        let Some(newest) = newest else { return Ok(tree) };
        tree.oldest = newest.first;
        while tree.oldest >= LEAVES && firsts.contains(&(tree.oldest - LEAVES)) {
            tree.oldest -= LEAVES;
        }
        tree.peaks = newest.peaks;
        tree.rows = newest.rows;
        tree.read_newest(flash, newest.first)?;
        Ok(tree)
    }

    /// Takes over the slots of the newest sector.
    fn read_newest<F: NorFlash>(&mut self, flash: &mut F, first: u64) -> Result<(), StorageError<F::Error>> {
        let mut slots = Vec::with_capacity(LEAVES as usize);
        for index in first..first + LEAVES {
            slots.push(self.read_slot(flash, index)?);
        }
        let used = slots.iter().rposition(|slot| !matches!(slot, Read::Blank)).map_or(0, |last| last + 1);
        let mut unread = 0;
        for (index, slot) in (first..).zip(&slots[..used]) {
            match slot {
                Read::Leaf { slot, voids } => {
                    // Those that the slot does not call void were leaves once.
                    self.rotten += unread - u32::from(*voids).min(unread);
                    self.unread.retain(|&before| index - before > u64::from(*voids));
                    unread = 0;
                    self.voids = 0;
                    self.peaks.append(slot.hash);
                    self.rows.set(slot.kind, slot.row);
                }
                Read::Broken | Read::Blank => {
                    unread += 1;
                    self.unread.push(index);
                    self.append_void();
                }
            }
        }
        Ok(())
    }

    fn append_void(&mut self) {
        self.peaks.append(void(self.log, self.peaks.size()));
        self.voids = self.voids.saturating_add(1);
    }

    /// The peaks of all leaves.
    pub(crate) const fn peaks(&self) -> &Peaks {
        &self.peaks
    }

    /// The newest record of each kind that the tree has.
    pub(crate) const fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The first leaf whose hash is held.
    pub(crate) const fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Leaves of the newest sector that could not be read at the start and may not have been void.
    pub(crate) fn unread(&self) -> &[u64] {
        &self.unread
    }

    /// The tree before the first leaf of a sector, and the newest records that it had then.
    pub(crate) fn before_sector<F: NorFlash>(
        &self,
        flash: &mut F,
        first: u64,
    ) -> Result<Option<(Peaks, Rows)>, StorageError<F::Error>> {
        let header = self.read_header(flash, self.sector(first))?.filter(|header| header.first == first);
        Ok(header.map(|header| (header.peaks, header.rows)))
    }

    /// What a slot of which one bit has flipped would say if it had not. Whether it is true, only a root can tell.
    pub(crate) fn guess<F: NorFlash>(
        &self,
        flash: &mut F,
        index: u64,
    ) -> Result<Option<Slot>, StorageError<F::Error>> {
        let mut bytes = [0; SLOT_BYTES];
        flash.read(self.offset(index), &mut bytes).map_err(StorageError::Flash)?;
        let (said, stored) = bytes.split_at_mut(SLOT_USED - 4);
        let stored = u32::from_le_bytes([stored[0], stored[1], stored[2], stored[3]]);
        let computed = self.checksum(index, said);
        let corrected = super::rot::correct(said, stored, computed);
        let mut fields = Cursor::new(said);
        let mut slot = || {
            let hash = LogHash(fields.array()?);
            let (kind, _, row) = (LeafKind::from_number(fields.u8()?)?, fields.u8()?, fields.u32()?);
            Some(Slot { hash, kind, row })
        };
        Ok(slot().filter(|_| corrected))
    }

    /// Takes leaves of a sector for what they have been proven to be. A bounded number is remembered.
    pub(crate) fn mend<F: NorFlash>(
        &mut self,
        flash: &mut F,
        first: u64,
        slots: &[(u64, Slot)],
    ) -> Result<(), StorageError<F::Error>> {
        let oldest = self.oldest;
        self.mended.retain(|(index, _)| *index >= oldest);
        if self.mended.len() + slots.len() > MENDED_MAX {
            return Ok(());
        }
        self.mended.extend_from_slice(slots);
        if first + LEAVES > self.peaks.size()
            && let Some((peaks, rows)) = self.before_sector(flash, first)?
        {
            // The newest sector: the tree grows on from what it truly is.
            (self.peaks, self.rows, self.voids) = (peaks, rows, 0);
            self.unread.clear();
            self.read_newest(flash, first)?;
        }
        Ok(())
    }

    /// Slots of the newest sector that should have been readable at the start and were not.
    pub(crate) const fn rotten(&self) -> u32 {
        self.rotten
    }

    /// Leaves that are surely held: those of all sectors but the one that may just be erased.
    pub(crate) const fn capacity(&self) -> u32 {
        (self.region.sectors - 1) * LEAVES as u32
    }

    /// Appends the leaf of a record, whose hash depends on its place, and returns that place. When this returns, it is in
    /// flash.
    pub(crate) fn append<F: NorFlash>(
        &mut self,
        flash: &mut F,
        kind: LeafKind,
        row: u32,
        hash: impl Fn(u64) -> LogHash,
    ) -> Result<u64, StorageError<F::Error>> {
        for _ in 0..WRITE_ATTEMPTS {
            let index = self.peaks.size();
            if index.is_multiple_of(LEAVES) {
                self.begin_sector(flash, index)?;
            }
            let slot = Slot { hash: hash(index), kind, row };
            let record = self.encode(index, &slot);
            let offset = self.offset(index);
            let written = flash.write(offset, &record);
            let mut found = [0; SLOT_BYTES];
            if written.is_ok() {
                flash.read(offset, &mut found).map_err(StorageError::Flash)?;
                if found == record {
                    self.peaks.append(slot.hash);
                    self.rows.set(kind, row);
                    self.voids = 0;
                    return Ok(index);
                }
            }
            // Even a failed write may have spoilt its slot; a blank one is tried again.
            if written.is_err() || found.iter().any(|&byte| byte != 0xFF) {
                self.append_void();
            }
            written.map_err(StorageError::Flash)?;
        }
        Err(StorageError::Verify { offset: self.offset(self.peaks.size()) })
    }

    /// A leaf's hash and record; `None` when it is no longer held, or has rotted.
    pub(crate) fn slot<F: NorFlash>(
        &self,
        flash: &mut F,
        index: u64,
    ) -> Result<Option<Slot>, StorageError<F::Error>> {
        if !(self.oldest..self.peaks.size()).contains(&index) {
            return Ok(None);
        }
        match self.read_slot(flash, index)? {
            Read::Leaf { slot, .. } => return Ok(Some(slot)),
            // Never written, or erased since: a torn slot is not blank.
            Read::Blank => return Ok(None),
            Read::Broken => {}
        }
        let voided = Slot { hash: void(self.log, index), kind: LeafKind::Void, row: 0 };
        // Void when a later slot of its sector says so, or when nothing but voids follows up to the sector's end.
        let end = (index / LEAVES + 1) * LEAVES;
        for later in index + 1..end.min(self.peaks.size()) {
            if let Read::Leaf { voids, .. } = self.read_slot(flash, later)? {
                return Ok((later - index <= u64::from(voids)).then_some(voided));
            }
        }
        Ok(Some(voided))
    }

    /// Erases the next leaf's sector ahead, when it begins one. Whether anything was to be erased. The very first sector waits
    /// for its first leaf.
    pub(crate) fn prepare<F: NorFlash>(&mut self, flash: &mut F) -> Result<bool, StorageError<F::Error>> {
        let first = self.peaks.size();
        let is_due = first > 0 && first.is_multiple_of(LEAVES) && self.erased != Some(first);
        if is_due {
            self.erase(flash, first)?;
        }
        Ok(is_due)
    }

    fn erase<F: NorFlash>(&mut self, flash: &mut F, first: u64) -> Result<(), StorageError<F::Error>> {
        let from = (self.region.first_sector + self.sector(first)) * SECTOR_BYTES;
        let held = u64::from(self.region.sectors) * LEAVES;
        self.oldest = self.oldest.max((first + LEAVES).saturating_sub(held));
        flash.erase(from, from + SECTOR_BYTES).map_err(StorageError::Flash)?;
        self.erased = Some(first);
        Ok(())
    }

    /// Writes a sector's header, erased before: the tree as it is before its first leaf.
    fn begin_sector<F: NorFlash>(&mut self, flash: &mut F, first: u64) -> Result<(), StorageError<F::Error>> {
        let from = (self.region.first_sector + self.sector(first)) * SECTOR_BYTES;
        if self.erased != Some(first) {
            self.erase(flash, first)?;
        }
        // A header that could not be written is erased again before the next attempt.
        self.erased = None;
        let mut header = vec![0xFF; HEADER_BYTES];
        let mut put = Put::new(&mut header);
        put.bytes(&self.log.0).u64(first);
        self.rows.0.iter().for_each(|&row| {
            put.u32(row);
        });
        let hashes = self.peaks.hashes();
        put.u8(hashes.len().min(PEAKS_MAX) as u8);
        hashes.iter().take(PEAKS_MAX).for_each(|hash| {
            put.bytes(&hash.0);
        });
        let used = put.len();
        let checksum = self.checksum(first, &header[..used]);
        header[used..used + 4].copy_from_slice(&checksum.to_le_bytes());
        flash.write(from, &header).map_err(StorageError::Flash)?;
        let mut found = vec![0; HEADER_BYTES];
        flash.read(from, &mut found).map_err(StorageError::Flash)?;
        if found == header { Ok(()) } else { Err(StorageError::Verify { offset: from }) }
    }

    fn read_header<F: NorFlash>(
        &self,
        flash: &mut F,
        sector: u32,
    ) -> Result<Option<Header>, StorageError<F::Error>> {
        let mut bytes = vec![0; HEADER_BYTES];
        let from = (self.region.first_sector + sector) * SECTOR_BYTES;
        flash.read(from, &mut bytes).map_err(StorageError::Flash)?;
        Ok(self.decode_header(sector, &bytes))
    }

    fn decode_header(&self, sector: u32, bytes: &[u8]) -> Option<Header> {
        let mut fields = Cursor::new(bytes);
        let log = LogId(fields.array()?);
        let first = fields.u64()?;
        let mut rows = Rows::default();
        for row in &mut rows.0 {
            *row = fields.u32()?;
        }
        let count = usize::from(fields.u8()?);
        if log != self.log
            || count > PEAKS_MAX
            || !first.is_multiple_of(LEAVES)
            || self.sector(first) != sector
        {
            return None;
        }
        let mut hashes = Vec::with_capacity(count);
        for _ in 0..count {
            hashes.push(LogHash(fields.array()?));
        }
        let used = 16 + 8 + KINDS * 4 + 1 + count * LogHash::LENGTH;
        let intact = fields.u32()? == self.checksum(first, bytes.get(..used)?);
        let peaks = Peaks::from_parts(first, &hashes).ok()?;
        intact.then_some(Header { first, rows, peaks })
    }

    fn encode(&self, index: u64, slot: &Slot) -> [u8; SLOT_BYTES] {
        let mut record = [0xFF; SLOT_BYTES];
        let mut put = Put::new(&mut record);
        put.bytes(&slot.hash.0).u8(slot.kind as u8).u8(self.voids).u32(slot.row);
        let checksum = self.checksum(index, &record[..SLOT_USED - 4]);
        record[SLOT_USED - 4..SLOT_USED].copy_from_slice(&checksum.to_le_bytes());
        record
    }

    fn read_slot<F: NorFlash>(&self, flash: &mut F, index: u64) -> Result<Read, StorageError<F::Error>> {
        if let Some(&(_, slot)) = self.mended.iter().find(|(mended, _)| *mended == index) {
            return Ok(Read::Leaf { slot, voids: 0 });
        }
        let mut bytes = [0; SLOT_BYTES];
        flash.read(self.offset(index), &mut bytes).map_err(StorageError::Flash)?;
        if bytes.iter().all(|&byte| byte == 0xFF) {
            return Ok(Read::Blank);
        }
        let read = || {
            let mut fields = Cursor::new(&bytes);
            let hash = LogHash(fields.array()?);
            let (kind, voids, row) = (LeafKind::from_number(fields.u8()?)?, fields.u8()?, fields.u32()?);
            let intact = fields.u32()? == self.checksum(index, &bytes[..SLOT_USED - 4]);
            intact.then_some(Read::Leaf { slot: Slot { hash, kind, row }, voids })
        };
        Ok(read().unwrap_or(Read::Broken))
    }

    /// Over the region, the log and the place as well, so that nothing passes for something else.
    fn checksum(&self, index: u64, bytes: &[u8]) -> u32 {
        let mut digest = CHECKSUM.digest();
        digest.update(&[self.region.name as u8]);
        digest.update(&self.log.0);
        digest.update(&index.to_le_bytes());
        digest.update(bytes);
        digest.finalize()
    }

    const fn sector(&self, index: u64) -> u32 {
        ((index / LEAVES) % self.region.sectors as u64) as u32
    }

    const fn offset(&self, index: u64) -> u32 {
        let slot = (index % LEAVES) as u32 * SLOT_BYTES as u32;
        (self.region.first_sector + self.sector(index)) * SECTOR_BYTES + HEADER_BYTES as u32 + slot
    }

    /// The tree as it was when it had this many leaves: a header's word, or the present.
    fn peaks_at<F: NorFlash>(
        &self,
        flash: &mut F,
        size: u64,
    ) -> Result<Option<Peaks>, StorageError<F::Error>> {
        if size == self.peaks.size() {
            return Ok(Some(self.peaks.clone()));
        }
        if !size.is_multiple_of(LEAVES) || !(self.oldest..self.peaks.size()).contains(&size) {
            return Ok(None);
        }
        Ok(self.read_header(flash, self.sector(size))?.filter(|header| header.first == size).map(|h| h.peaks))
    }
}

/// The hash of a void leaf.
fn void(log: LogId, index: u64) -> LogHash {
    Leaf { log, sequence: index, salt: [0; 16], body: Body::Void }.hash()
}

/// The tree with its flash, for proofs: each asks for O(log n) subtrees, and each subtree costs O(log n) reads of a header
/// or at most a sector's slots.
#[derive(Debug)]
pub(crate) struct TreeReader<'a, F> {
    pub(crate) tree: &'a Tree,
    pub(crate) flash: &'a mut F,
}

impl<F: NorFlash> Subtrees for TreeReader<'_, F> {
    type Error = StorageError<F::Error>;

    fn subtree(&mut self, first: u64, level: u32) -> Result<Option<LogHash>, Self::Error> {
        let end = first + (1 << level);
        if let Some(hash) = self.tree.peaks.peak(first, level) {
            return Ok(Some(hash));
        }
        let oldest = self.tree.oldest;
        if end <= oldest {
            // Of what came before, the oldest header's peaks are what is left; a proof of a later leaf needs no other.
            return Ok(self.tree.peaks_at(self.flash, oldest)?.and_then(|peaks| peaks.peak(first, level)));
        }
        // A left neighbour is the last peak where it ends.
        if let Some(hash) = self.tree.peaks_at(self.flash, end)?.and_then(|peaks| peaks.peak(first, level)) {
            return Ok(Some(hash));
        }
        if level == 0 {
            return Ok(self.tree.slot(self.flash, first)?.map(|slot| slot.hash));
        }
        let half = 1 << (level - 1);
        let left = self.subtree(first, level - 1)?;
        let right = self.subtree(first + half, level - 1)?;
        Ok(left.zip(right).map(|(left, right)| LogHash::of_node(&left, &right)))
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
