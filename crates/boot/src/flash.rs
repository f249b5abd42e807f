//! NOR flash kept in a file: what a meter's flash chip is to the device, `flash.bin` is to a virtual one.
//!
//! What a meter works in all day is held in memory and written through at once, so that the end of the process loses
//! nothing; what lies beyond (image slots) is read from the file. The file is filled when it is made: a disk that runs full
//! later cannot take the meter's memory away. [`FlashSync`] pushes what was written on to the disk before the meter tells
//! anybody of it. The chip can be cloned: boot stage, meter and firmware partition hold the same one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// A flash chip in a file.
#[derive(Clone, Debug)]
pub struct FileFlash {
    shared: Arc<Shared>,
}

/// Brings what a [`FileFlash`] wrote on to the disk. Cheap when nothing was written.
#[derive(Clone, Debug)]
pub struct FlashSync {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The first [`HELD`] bytes.
    held: Mutex<Vec<u8>>,
    size: usize,
    file: File,
    path: PathBuf,
    dirty: AtomicBool,
}

impl FileFlash {
    /// Smallest unit that can be erased, bytes.
    pub const SECTOR: usize = 4096;

    /// Opens the chip, or makes an erased one of `size` bytes (a multiple of [`Self::SECTOR`]).
    pub fn open(path: &Path, size: usize) -> Result<Self, FlashFileError> {
        Self::open_or_enlarge(path, size, &[])
    }

    /// The same; a chip of one of the `former` sizes is enlarged with erased bytes, whole or not at all.
    pub fn open_or_enlarge(path: &Path, size: usize, former: &[usize]) -> Result<Self, FlashFileError> {
        let fail = |what: &'static str| {
            let path = path.to_owned();
            move |source: io::Error| FlashFileError::Io { what, path, source }
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(fail("open"))?;
        let length = file.metadata().map_err(fail("read the size of"))?.len();
        let held = if length == 0 {
            let made = fill(&file, 0, size).and_then(|()| file.sync_all());
            if let Err(source) = made {
                // A half-made chip would be refused at the next start for its size.
                let _ = std::fs::remove_file(path);
                return Err(fail("make")(source));
            }
            vec![0xFF; size.min(HELD)]
        } else if length == size as u64 {
            let mut held = vec![0; size.min(HELD)];
            file.read_exact_at(&mut held, 0).map_err(fail("read"))?;
            held
        } else if former.contains(&usize::try_from(length).unwrap_or(usize::MAX)) {
            let mut image = Vec::new();
            file.read_to_end(&mut image).map_err(fail("read"))?;
            file = replaced(path, &image, size).map_err(fail("enlarge"))?;
            image.resize(size.min(HELD), 0xFF);
            image
        } else {
            return Err(FlashFileError::Size { path: path.to_owned(), expected: size, found: length });
        };
        let (held, path) = (Mutex::new(held), path.to_owned());
        Ok(Self { shared: Arc::new(Shared { held, size, file, path, dirty: AtomicBool::new(false) }) })
    }

    /// The handle that brings writes on to the disk.
    pub fn sync_handle(&self) -> FlashSync {
        FlashSync { shared: Arc::clone(&self.shared) }
    }

    fn held(&self) -> MutexGuard<'_, Vec<u8>> {
        // Bytes are whole between any two operations, even where a thread panicked.
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads cells, from memory as far as they are held there.
    fn load(&self, start: usize, bytes: &mut [u8]) -> Result<(), FlashError> {
        let within = HELD.saturating_sub(start).min(bytes.len());
        let (near, far) = bytes.split_at_mut(within);
        if !near.is_empty() {
            near.copy_from_slice(&self.held()[start..start + within]);
        }
        if !far.is_empty() {
            let from = (start + within) as u64;
            self.shared.file.read_exact_at(far, from).map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// Changes cells, in memory as far as they are held there, and in the file.
    fn put(&self, start: usize, bytes: &[u8]) -> Result<(), FlashError> {
        let within = HELD.saturating_sub(start).min(bytes.len());
        if within > 0 {
            self.held()[start..start + within].copy_from_slice(&bytes[..within]);
        }
        self.shared.dirty.store(true, Ordering::Release);
        self.shared.file.write_all_at(bytes, start as u64).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> FlashError {
        FlashError::Io { path: self.shared.path.clone(), source }
    }
}

/// Writes erased bytes.
fn fill(file: &File, from: usize, to: usize) -> io::Result<()> {
    let erased = [0xFF; 1 << 16];
    let mut at = from;
    while at < to {
        let count = erased.len().min(to - at);
        file.write_all_at(&erased[..count], at as u64)?;
        at += count;
    }
    Ok(())
}

/// A new file of these bytes in the place of an old one, filled up with erased ones.
fn replaced(path: &Path, image: &[u8], size: usize) -> io::Result<File> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&beside)?;
    file.write_all_at(image, 0)?;
    fill(&file, image.len(), size)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

impl FlashSync {
    /// Waits until all that was written so far is on the disk.
    pub fn sync(&self) -> Result<(), FlashFileError> {
        if self.shared.dirty.swap(false, Ordering::AcqRel) {
            self.shared.file.sync_data().map_err(|source| {
                self.shared.dirty.store(true, Ordering::Release);
                FlashFileError::Io { what: "save", path: self.shared.path.clone(), source }
            })?;
        }
        Ok(())
    }
}

impl ErrorType for FileFlash {
    type Error = FlashError;
}

impl ReadNorFlash for FileFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len()).map_err(FlashError::Misuse)?;
        self.load(offset as usize, bytes)
    }

    fn capacity(&self) -> usize {
        self.shared.size
    }
}

impl NorFlash for FileFlash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = Self::SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to).map_err(FlashError::Misuse)?;
        let erased = [0xFF; Self::SECTOR];
        (from..to).step_by(Self::SECTOR).try_for_each(|sector| self.put(sector as usize, &erased))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len()).map_err(FlashError::Misuse)?;
        let mut cells = vec![0; bytes.len()];
        self.load(offset as usize, &mut cells)?;
        // Programming NOR flash can only clear bits.
        for (cell, byte) in cells.iter_mut().zip(bytes) {
            *cell &= byte;
        }
        self.put(offset as usize, &cells)
    }
}

/// How much of a chip is held in memory: a meter's own part.
const HELD: usize = 8 << 20;

/// What can go wrong with a flash operation.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// Out of range or not aligned: a defect of the caller.
    #[error("flash operation refused: {0:?}")]
    Misuse(NorFlashErrorKind),
    /// The file could not be written.
    #[error("cannot write the meter's flash {path}: {source}; check the disk", path = path.display())]
    Io {
        /// The flash file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Misuse(kind) => *kind,
            Self::Io { .. } => NorFlashErrorKind::Other,
        }
    }
}

/// What can go wrong with the file itself.
#[derive(Debug, thiserror::Error)]
pub enum FlashFileError {
    /// The system refused.
    #[error("cannot {what} the meter's flash {path}: {source}; check that the folder is writable and has room", path = path.display())]
    Io {
        /// The attempt, as a verb.
        what: &'static str,
        /// The flash file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another chip, or a file that was cut.
    #[error("the meter's flash {path} has {found} bytes where {expected} belong; restore its newest copy; a meter with new flash must be enrolled anew with new keys", path = path.display())]
    Size {
        /// The flash file.
        path: PathBuf,
        /// Bytes that this meter's layout needs.
        expected: usize,
        /// Bytes found.
        found: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_of_a_former_size_grows_with_erased_bytes_and_no_other_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flash.bin");
        FileFlash::open(&path, 4096).unwrap().write(0, &[1, 2, 3, 4]).unwrap();
        assert!(FileFlash::open_or_enlarge(&path, 12_288, &[8192]).is_err());
        let mut flash = FileFlash::open_or_enlarge(&path, 12_288, &[4096]).unwrap();
        flash.write(8192, &[5, 6, 7, 8]).unwrap();
        drop(flash);
        let mut flash = FileFlash::open(&path, 12_288).unwrap();
        let mut read = [0; 8];
        flash.read(0, &mut read).unwrap();
        assert_eq!(read, [1, 2, 3, 4, 0xFF, 0xFF, 0xFF, 0xFF]);
        flash.read(8192, &mut read).unwrap();
        assert_eq!(read, [5, 6, 7, 8, 0xFF, 0xFF, 0xFF, 0xFF]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_written_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flash.bin");
        let mut flash = FileFlash::open(&path, 8192).unwrap();
        flash.write(4096, &[1, 2, 3, 4]).unwrap();
        // No orderly end: this is what `kill -9` leaves.
        std::mem::forget(flash);
        let mut flash = FileFlash::open(&path, 8192).unwrap();
        let mut read = [0; 8];
        flash.read(4096, &mut read).unwrap();
        assert_eq!(read, [1, 2, 3, 4, 0xFF, 0xFF, 0xFF, 0xFF]);
        flash.erase(4096, 8192).unwrap();
        flash.read(4096, &mut read).unwrap();
        assert_eq!(read, [0xFF; 8]);
    }

    #[test]
    fn programming_only_clears_bits_within_and_beyond_what_memory_holds() {
        let folder = tempfile::tempdir().unwrap();
        let mut flash = FileFlash::open(&folder.path().join("flash.bin"), HELD + 4096).unwrap();
        for at in [0, HELD as u32 - 4, HELD as u32, HELD as u32 + 8] {
            flash.write(at, &[0b1100; 4]).unwrap();
            flash.write(at, &[0b1010; 4]).unwrap();
            let mut read = [0; 4];
            flash.clone().read(at, &mut read).unwrap();
            assert_eq!(read, [0b1000; 4]);
        }
        let mut across = [0; 8];
        flash.read(HELD as u32 - 4, &mut across).unwrap();
        assert_eq!(across, [0b1000; 8]);
        flash.erase(HELD as u32 - 4096, HELD as u32 + 4096).unwrap();
        flash.read(HELD as u32 - 4, &mut across).unwrap();
        assert_eq!(across, [0xFF; 8]);
    }

    #[test]
    fn a_file_of_another_size_is_refused_with_both_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flash.bin");
        std::fs::write(&path, [0; 5000]).unwrap();
        let message = FileFlash::open(&path, 8192).unwrap_err().to_string();
        assert!(message.contains("5000") && message.contains("8192"), "{message}");
    }
}
