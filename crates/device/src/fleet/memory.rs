//! The flash of a whole fleet in one sparse file: what has never been written takes no room on the disk, and nothing is
//! held in this program's memory.
//!
//! Cells are stored inverted, so that a hole in the file, which reads as zeros, is erased flash. Writes go to the
//! system at once: the end of this process loses nothing. They are not forced on to the disk, as a device's are; a fleet
//! is there for load, and what the machine's own end takes from it is said in its documentation.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash, check_erase, check_read, check_write};

use crate::flash::{FileFlash, FlashError, FlashFileError};

/// Room for each meter's own part, bytes.
pub(super) const CHIP_BYTES: usize = 256 * 1024;

/// Room for each meter's firmware partition, which begins behind its own part.
pub(super) const FIRMWARE_BYTES: usize = 4 << 20;

/// Where the firmware partitions begin in the file: behind all meters' own parts, whose places stay as they always were.
const FIRMWARE_BEGIN: u64 = super::MAX_METERS as u64 * CHIP_BYTES as u64;

/// The file with every meter's flash.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: File,
    path: PathBuf,
}

/// One meter's part of it.
#[derive(Clone, Debug)]
pub(super) struct Chip {
    shared: Arc<Shared>,
    place: u64,
}

impl Memory {
    /// Opens the file, or makes one.
    pub(super) fn open(path: &Path) -> Result<Self, FlashFileError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|source| FlashFileError::Io { what: "open", path: path.to_owned(), source })?;
        Ok(Self { shared: Arc::new(Shared { file, path: path.to_owned() }) })
    }

    /// The flash in this place of the file, erased where it was never written.
    pub(super) fn chip(&self, place: usize) -> Chip {
        Chip { shared: Arc::clone(&self.shared), place: place as u64 }
    }
}

impl Chip {
    fn failed(&self, source: io::Error) -> FlashError {
        FlashError::Io { path: self.shared.path.clone(), source }
    }

    /// Where a byte of the chip lies in the file.
    const fn at(&self, offset: u64) -> u64 {
        match offset.checked_sub(CHIP_BYTES as u64) {
            None => self.place * CHIP_BYTES as u64 + offset,
            Some(beyond) => FIRMWARE_BEGIN + self.place * FIRMWARE_BYTES as u64 + beyond,
        }
    }

    /// Both parts of the chip begin with a sector, so that no erase lies across; a read or a write may.
    fn split(offset: u32, bytes: &mut [u8]) -> [(u64, &mut [u8]); 2] {
        let within = CHIP_BYTES.saturating_sub(offset as usize).min(bytes.len());
        let (near, far) = bytes.split_at_mut(within);
        [(offset.into(), near), (u64::from(offset) + within as u64, far)]
    }

    /// Reads cells as they are in the file; beyond its end nothing was ever written.
    fn load(&self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        Self::split(offset, bytes).into_iter().try_for_each(|(offset, bytes)| self.load_part(offset, bytes))
    }

    fn load_part(&self, offset: u64, bytes: &mut [u8]) -> Result<(), FlashError> {
        let mut done = 0;
        while done < bytes.len() {
            let from = self.at(offset) + done as u64;
            match self.shared.file.read_at(&mut bytes[done..], from) {
                Ok(0) => {
                    bytes[done..].fill(0);
                    break;
                }
                Ok(length) => done += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    fn save(&self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        Self::split(offset, bytes).into_iter().filter(|(_, part)| !part.is_empty()).try_for_each(
            |(offset, part)| {
                self.shared.file.write_all_at(part, self.at(offset)).map_err(|error| self.failed(error))
            },
        )
    }
}

impl ErrorType for Chip {
    type Error = FlashError;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len()).map_err(FlashError::Misuse)?;
        self.load(offset, bytes)?;
        bytes.iter_mut().for_each(|cell| *cell = !*cell);
        Ok(())
    }

    fn capacity(&self) -> usize {
        CHIP_BYTES + FIRMWARE_BYTES
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = FileFlash::SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to).map_err(FlashError::Misuse)?;
        let mut sector = [0; FileFlash::SECTOR];
        for offset in (from..to).step_by(FileFlash::SECTOR) {
            self.load(offset, &mut sector)?;
            // What is erased already may stay a hole.
            if sector.iter().any(|&cell| cell != 0) {
                sector.fill(0);
                self.save(offset, &mut sector)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len()).map_err(FlashError::Misuse)?;
        let mut cells = vec![0; bytes.len()];
        self.load(offset, &mut cells)?;
        // Programming NOR flash only clears bits: inverted, it only sets them.
        for (cell, byte) in cells.iter_mut().zip(bytes) {
            *cell |= !byte;
        }
        self.save(offset, &mut cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chips_are_flash_lie_apart_and_survive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flash.bin");
        let memory = Memory::open(&path).unwrap();
        let (mut first, mut second) = (memory.chip(0), memory.chip(1));
        let mut read = [0; 8];
        second.read(4096, &mut read).unwrap();
        assert_eq!(read, [0xFF; 8], "never written");
        second.write(4096, &[0b1100; 4]).unwrap();
        second.write(4096, &[0b1010; 4]).unwrap();
        drop((memory, second));

        let memory = Memory::open(&path).unwrap();
        let mut second = memory.chip(1);
        second.read(4096, &mut read).unwrap();
        assert_eq!(read, [8, 8, 8, 8, 0xFF, 0xFF, 0xFF, 0xFF]);
        first.read(4096, &mut read).unwrap();
        assert_eq!(read, [0xFF; 8], "the neighbour's");
        second.erase(4096, 8192).unwrap();
        second.read(4096, &mut read).unwrap();
        assert_eq!(read, [0xFF; 8]);
        let end = (CHIP_BYTES + FIRMWARE_BYTES) as u32;
        assert!(second.read(end - 4, &mut read).is_err());
        // Across the meter's own part and its firmware partition, and not into a neighbour's.
        let border = CHIP_BYTES as u32;
        second.write(border - 4, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        second.read(border - 4, &mut read).unwrap();
        assert_eq!(read, [1, 2, 3, 4, 5, 6, 7, 8]);
        for offset in [0, border - 4, border] {
            first.read(offset, &mut read).unwrap();
            assert_eq!(read, [0xFF; 8]);
        }
        second.write(end - 4, &[9; 4]).unwrap();
        let mut third = memory.chip(2);
        third.read(border, &mut read).unwrap();
        assert_eq!(read, [0xFF; 8]);
    }

    #[test]
    fn blank_flash_takes_no_room() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flash.bin");
        let mut chip = Memory::open(&path).unwrap().chip(999);
        chip.erase(0, CHIP_BYTES as u32).unwrap();
        chip.write(0, &[0; 64]).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert!(metadata.len() > 200_000_000 && metadata.blocks() * 512 < 100_000, "{metadata:?}");
    }
}
