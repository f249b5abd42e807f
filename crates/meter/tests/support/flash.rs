//! NOR flash in memory that keeps NOR's rules, and whose power can be cut before, within and after any operation.

#![allow(
    unreachable_pub,
    dead_code,
    reason = "shared by unit and integration tests, each of which uses a part"
)]

extern crate std;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::vec;
use std::vec::Vec;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};

/// Erased bytes are 0xFF; a byte is written once between erases, else the test fails.
#[derive(Clone)]
pub struct RamFlash {
    pub bytes: Vec<u8>,
    /// Steps so far: three for each write and each erase (nothing done, torn, done but not returned).
    pub steps: u64,
    /// The step at which the power goes.
    pub cut_at: Option<u64>,
    /// While set, nothing can be written or erased, and nothing is spoilt.
    pub broken: Arc<AtomicBool>,
    /// How often each sector was erased.
    pub erases: Vec<u32>,
    random: u64,
}

pub const SECTOR: usize = 4096;

impl RamFlash {
    pub fn new(bytes: usize) -> Self {
        Self {
            bytes: vec![0xFF; bytes],
            steps: 0,
            cut_at: None,
            broken: Arc::default(),
            erases: vec![0; bytes / SECTOR],
            random: 0x9E37_79B9_7F4A_7C15,
        }
    }

    /// Power comes back: everything works again on what was left.
    pub fn restore(&mut self) {
        self.cut_at = None;
    }

    pub fn is_cut(&self) -> bool {
        self.cut_at.is_some_and(|at| self.steps > at)
    }

    pub fn seed(mut self, seed: u64) -> Self {
        self.random ^= seed.wrapping_mul(0xD129_0A2C_97D4_4E35) | 1;
        self
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn step(&mut self) -> Step {
        let at = self.steps;
        self.steps += 1;
        match self.cut_at {
            Some(cut) if at > cut => Step::Dead,
            Some(cut) if at == cut => Step::Cut,
            _ => Step::On,
        }
    }

    /// Whether the power goes in this operation, and at which of its three steps.
    fn cut_within(&mut self) -> Option<u8> {
        if self.broken.load(Ordering::Relaxed) {
            return Some(0);
        }
        for k in 0..3 {
            match self.step() {
                Step::On => {}
                Step::Cut => {
                    self.steps += 1;
                    return Some(k);
                }
                Step::Dead => return Some(0),
            }
        }
        None
    }
}

enum Step {
    On,
    Cut,
    Dead,
}

impl ErrorType for RamFlash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for RamFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        if self.is_cut() {
            return Err(NorFlashErrorKind::Other);
        }
        let range = offset as usize..offset as usize + bytes.len();
        bytes.copy_from_slice(self.bytes.get(range).ok_or(NorFlashErrorKind::OutOfBounds)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for RamFlash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        embedded_storage::nor_flash::check_erase(self, from, to)?;
        let cut = self.cut_within();
        if cut == Some(0) {
            return Err(NorFlashErrorKind::Other);
        }
        for sector in (from as usize..to as usize).step_by(SECTOR) {
            self.erases[sector / SECTOR] += 1;
            // A torn erase leaves some words erased, some untouched, some with random bits.
            for word in (sector..sector + SECTOR).step_by(4) {
                match if cut == Some(1) { self.random() % 3 } else { 0 } {
                    0 => self.bytes[word..word + 4].fill(0xFF),
                    1 => {}
                    _ => {
                        let bits = self.random() as u32;
                        self.bytes[word..word + 4].copy_from_slice(&bits.to_le_bytes());
                    }
                }
            }
        }
        cut.map_or(Ok(()), |_| Err(NorFlashErrorKind::Other))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        embedded_storage::nor_flash::check_write(self, offset, bytes.len())?;
        let cut = self.cut_within();
        if cut == Some(0) {
            return Err(NorFlashErrorKind::Other);
        }
        let offset = offset as usize;
        assert!(
            self.bytes[offset..offset + bytes.len()].iter().all(|&byte| byte == 0xFF),
            "flash written twice at {offset}"
        );
        // A torn write ends at a random word, which gets some of its bits.
        let whole = if cut == Some(1) { (self.random() as usize % bytes.len()) & !3 } else { bytes.len() };
        self.bytes[offset..offset + whole].copy_from_slice(&bytes[..whole]);
        if whole < bytes.len() {
            let noise = (self.random() as u32).to_le_bytes();
            for k in whole..(whole + 4).min(bytes.len()) {
                self.bytes[offset + k] = bytes[k] | noise[k - whole];
            }
        }
        cut.map_or(Ok(()), |_| Err(NorFlashErrorKind::Other))
    }
}
