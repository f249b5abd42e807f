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

/// Room for each meter, bytes.
pub(super) const CHIP_BYTES: usize = 256 * 1024;

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
#[derive(Debug)]
pub(super) struct Chip {
    shared: Arc<Shared>,
    begin: u64,
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
        Chip { shared: Arc::clone(&self.shared), begin: place as u64 * CHIP_BYTES as u64 }
    }
}

impl Chip {
    fn failed(&self, source: io::Error) -> FlashError {
        FlashError::Io { path: self.shared.path.clone(), source }
    }

    /// Reads cells as they are in the file; beyond its end nothing was ever written.
    fn load(&self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        let mut done = 0;
        while done < bytes.len() {
            let from = self.begin + u64::from(offset) + done as u64;
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

    fn save(&self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        let at = self.begin + u64::from(offset);
        self.shared.file.write_all_at(bytes, at).map_err(|error| self.failed(error))
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
        CHIP_BYTES
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
                self.save(offset, &sector)?;
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
        self.save(offset, &cells)
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

        let mut second = Memory::open(&path).unwrap().chip(1);
        second.read(4096, &mut read).unwrap();
        assert_eq!(read, [8, 8, 8, 8, 0xFF, 0xFF, 0xFF, 0xFF]);
        first.read(4096, &mut read).unwrap();
        assert_eq!(read, [0xFF; 8], "the neighbour's");
        second.erase(4096, 8192).unwrap();
        second.read(4096, &mut read).unwrap();
        assert_eq!(read, [0xFF; 8]);
        assert!(second.read(CHIP_BYTES as u32 - 4, &mut read).is_err());
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
