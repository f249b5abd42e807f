//! A map of small values in flash: what is stored under a key replaces what was, whole or not at all, whenever the power
//! goes, in a write or in an erase.
//!
//! One sector at a time is the map's: its head has the highest number. Values are added behind the head. When the sector is
//! full, the next one is erased, all values are written there, and its head last: until that is there, the full sector is
//! the map, and nothing in any other sector counts. No write unit is ever written twice between two erases, torn or not,
//! which chips that keep a check code with each unit demand.

use alloc::vec;
use alloc::vec::Vec;

use crc::{CRC_32_ISO_HDLC, Crc};
use embedded_storage::nor_flash::NorFlash;

use super::{Cursor, Put, Region, SECTOR_BYTES, StorageError, rot};

/// The longest value. All values together must fit into one sector.
pub(crate) const VALUE_MAX: usize = 512;

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The head and its copy, each in a place of this many bytes, which every write unit divides.
const HEAD_PLACE: u32 = 64;
const VALUES_AT: u32 = 2 * HEAD_PLACE;

/// Magic, number, checksum.
const HEAD_BYTES: usize = 4 + 4 + 4;
const HEAD_MAGIC: [u8; 4] = *b"MMAP";

/// Mark, key, length, checksum of these, checksum of the value. The mark keeps an entry from looking erased.
const ENTRY_BYTES: usize = 2 + 2 + 2 + 4 + 4;
const ENTRY_MARK: u16 = 0x5A3C;

/// One region used as a map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    first_sector: u32,
    sectors: u32,
    name: u8,
}

/// A sector that is the map: where it begins, and its number.
#[derive(Clone, Copy)]
struct Current {
    start: u32,
    number: u32,
}

/// What a sector holds.
struct Contents {
    /// The newest value of each key.
    values: Vec<(u16, Vec<u8>)>,
    /// Where the next entry goes.
    free: u32,
}

impl Map {
    pub(crate) const fn new(region: Region) -> Self {
        Self { first_sector: region.first_sector, sectors: region.sectors, name: region.name as u8 }
    }

    /// The newest value under a key.
    pub(crate) fn get<F: NorFlash>(
        self,
        flash: &mut F,
        key: u16,
    ) -> Result<Option<Vec<u8>>, StorageError<F::Error>> {
        let Some(current) = self.current(flash)? else { return Ok(None) };
        let values = self.contents(flash, current)?.values;
        Ok(values.into_iter().find(|(found, _)| *found == key).map(|(_, value)| value))
    }

    /// Stores a value of at most [`VALUE_MAX`] bytes. When this returns, it is in flash.
    pub(crate) fn put<F: NorFlash>(
        self,
        flash: &mut F,
        key: u16,
        value: &[u8],
    ) -> Result<(), StorageError<F::Error>> {
        if value.len() > VALUE_MAX {
            return Err(StorageError::Map("value too long"));
        }
        let current = self.current(flash)?;
        let mut values = match current {
            None => Vec::new(),
            Some(current) => {
                let contents = self.contents(flash, current)?;
                if contents.free + entry_len::<F>(value.len()) <= current.start + SECTOR_BYTES {
                    return self.write_entry(flash, contents.free, current.number, key, value);
                }
                contents.values
            }
        };
        values.retain(|(found, _)| *found != key);
        values.push((key, value.to_vec()));
        self.begin(flash, current, &values)
    }

    /// Makes the next sector the map, with these values.
    fn begin<F: NorFlash>(
        self,
        flash: &mut F,
        before: Option<Current>,
        values: &[(u16, Vec<u8>)],
    ) -> Result<(), StorageError<F::Error>> {
        let base = self.first_sector * SECTOR_BYTES;
        let (start, number) = match before {
            None => (base, 1),
            Some(before) => {
                let next = ((before.start - base) / SECTOR_BYTES + 1) % self.sectors;
                let number = before.number.checked_add(1).ok_or(StorageError::Map("worn out"))?;
                (base + next * SECTOR_BYTES, number)
            }
        };
        let needed: u32 = values.iter().map(|(_, value)| entry_len::<F>(value.len())).sum();
        if VALUES_AT + needed > SECTOR_BYTES {
            return Err(StorageError::Map("full"));
        }
        flash.erase(start, start + SECTOR_BYTES).map_err(StorageError::Flash)?;
        let mut at = start + VALUES_AT;
        for (key, value) in values {
            self.write_entry(flash, at, number, *key, value)?;
            at += entry_len::<F>(value.len());
        }
        // The copy first: the map is this sector once either is whole, and all values are there by then.
        for place in [start + HEAD_PLACE, start] {
            write(flash, place, &self.head(number))?;
        }
        Ok(())
    }

    /// The sector with the highest number.
    fn current<F: NorFlash>(self, flash: &mut F) -> Result<Option<Current>, StorageError<F::Error>> {
        let mut newest: Option<Current> = None;
        for sector in self.first_sector..self.first_sector + self.sectors {
            let start = sector * SECTOR_BYTES;
            for place in [start, start + HEAD_PLACE] {
                let mut head = [0; HEAD_PLACE as usize];
                flash.read(place, &mut head).map_err(StorageError::Flash)?;
                if let Some(number) = self.number(&mut head)
                    && newest.is_none_or(|newest| number > newest.number)
                {
                    newest = Some(Current { start, number });
                }
            }
        }
        Ok(newest)
    }

    fn head(self, number: u32) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        Put::new(&mut head).bytes(&HEAD_MAGIC).u32(number);
        let checksum = self.checksum(0, &head[..HEAD_BYTES - 4]);
        head[HEAD_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        head
    }

    /// A head's number, one flipped bit put right; `None` where there is no head.
    fn number(self, head: &mut [u8]) -> Option<u32> {
        let (said, rest) = head.split_at_mut(HEAD_BYTES - 4);
        let stored = Cursor::new(rest).u32()?;
        let computed = self.checksum(0, said);
        if stored != computed && !rot::correct(said, stored, computed) {
            return None;
        }
        let mut fields = Cursor::new(said);
        (fields.array()? == HEAD_MAGIC).then(|| fields.u32())?
    }

    /// All that a sector holds. What was torn or has rotted counts for nothing, but for its place.
    fn contents<F: NorFlash>(
        self,
        flash: &mut F,
        current: Current,
    ) -> Result<Contents, StorageError<F::Error>> {
        let mut bytes = vec![0; SECTOR_BYTES as usize];
        flash.read(current.start, &mut bytes).map_err(StorageError::Flash)?;
        let unit = unit::<F>();
        let mut values: Vec<(u16, Vec<u8>)> = Vec::new();
        let mut at = VALUES_AT as usize;
        let mut free = at;
        while at + ENTRY_BYTES <= bytes.len() {
            let Some((key, len, stored)) = self.entry(current.number, &mut bytes[at..at + ENTRY_BYTES])
            else {
                // Erased, or an entry of which not even the beginning was written: nothing of it came behind this unit.
                if bytes[at..at + unit].iter().any(|&byte| byte != 0xFF) {
                    free = at + unit;
                }
                at += unit;
                continue;
            };
            let end = (at + ENTRY_BYTES + len).next_multiple_of(unit);
            if end > bytes.len() {
                break;
            }
            let value = &mut bytes[at + ENTRY_BYTES..at + ENTRY_BYTES + len];
            let computed = self.checksum(current.number, value);
            if stored == computed || rot::correct(value, stored, computed) {
                values.retain(|(found, _)| *found != key);
                values.push((key, value.to_vec()));
            }
            (at, free) = (end, end);
        }
        // An erased unit beyond the last entry that has rotted is passed by.
        if let Some(last) = bytes.iter().rposition(|&byte| byte != 0xFF) {
            free = free.max((last + 1).next_multiple_of(unit));
        }
        Ok(Contents { values, free: current.start + free as u32 })
    }

    /// Key, length and the value's checksum of an entry, one flipped bit put right.
    fn entry(self, number: u32, bytes: &mut [u8]) -> Option<(u16, usize, u32)> {
        let mut fields = Cursor::new(bytes);
        fields.bytes(6)?;
        let (own, of_value) = (fields.u32()?, fields.u32()?);
        let said = bytes.get_mut(..6)?;
        let computed = self.checksum(number, said);
        if own != computed && !rot::correct(said, own, computed) {
            return None;
        }
        let mut fields = Cursor::new(said);
        let (mark, key, len) = (fields.u16()?, fields.u16()?, fields.u16()?);
        (mark == ENTRY_MARK && usize::from(len) <= VALUE_MAX).then_some((key, len.into(), of_value))
    }

    fn write_entry<F: NorFlash>(
        self,
        flash: &mut F,
        at: u32,
        number: u32,
        key: u16,
        value: &[u8],
    ) -> Result<(), StorageError<F::Error>> {
        let mut entry = vec![0; ENTRY_BYTES];
        Put::new(&mut entry).u16(ENTRY_MARK).u16(key).u16(value.len() as u16);
        let own = self.checksum(number, &entry[..6]);
        entry[6..10].copy_from_slice(&own.to_le_bytes());
        entry[10..].copy_from_slice(&self.checksum(number, value).to_le_bytes());
        entry.extend_from_slice(value);
        write(flash, at, &entry)
    }

    /// Binds bytes to this region and to the sector's number, so that nothing of an earlier round passes for today's.
    fn checksum(self, number: u32, bytes: &[u8]) -> u32 {
        let mut digest = CHECKSUM.digest();
        digest.update(&[self.name]);
        digest.update(&number.to_le_bytes());
        digest.update(bytes);
        digest.finalize()
    }
}

/// Writes bytes, filled up with zeros to whole write units, and reads them back.
fn write<F: NorFlash>(flash: &mut F, at: u32, bytes: &[u8]) -> Result<(), StorageError<F::Error>> {
    let mut whole = bytes.to_vec();
    whole.resize(bytes.len().next_multiple_of(unit::<F>()), 0);
    flash.write(at, &whole).map_err(StorageError::Flash)?;
    let mut found = vec![0; whole.len()];
    flash.read(at, &mut found).map_err(StorageError::Flash)?;
    if found == whole { Ok(()) } else { Err(StorageError::Verify { offset: at }) }
}

/// What entries are aligned to: a write unit, or what is read at once where that is more.
const fn unit<F: NorFlash>() -> usize {
    if F::WRITE_SIZE > F::READ_SIZE { F::WRITE_SIZE } else { F::READ_SIZE }
}

const fn entry_len<F: NorFlash>(value: usize) -> u32 {
    (ENTRY_BYTES + value).next_multiple_of(unit::<F>()) as u32
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
