//! Staging: a package's blocks as they come, in any order, each known by its own checksum. So nothing else needs to be
//! kept about what is there, nothing torn ever counts, and a block of an earlier transfer never counts for this one.
//!
//! A record of 2 KiB is `transfer u32 | block u32 | length u16 | !length u16 | CRC-32 | data`, the data filled up with
//! 0xFF. Where the chip erases more than one record at once, the others are put back; a cut in between only makes them
//! missing again.

use alloc::vec;
use alloc::vec::Vec;

use embedded_storage::nor_flash::NorFlash;

use super::error::FirmwareError;
use super::journal::CHECKSUM;
use super::layout::{BLOCK_BYTES, STAGED_BYTES};
use super::memory::Memory;

const HEAD: usize = 16;
const _: () = assert!(HEAD as u32 + BLOCK_BYTES == STAGED_BYTES);

/// The blocks of one transfer.
#[derive(Debug)]
pub(super) struct Staging {
    transfer: u32,
    bytes: u32,
    held: Vec<bool>,
}

impl Staging {
    /// Of a transfer that has just begun.
    pub(super) fn new(transfer: u32, bytes: u32) -> Self {
        Self { transfer, bytes, held: vec![false; bytes.div_ceil(BLOCK_BYTES) as usize] }
    }

    /// Looks which blocks of a transfer are there: one pass over the package.
    pub(super) fn open<F: NorFlash>(
        memory: &mut Memory<F>,
        transfer: u32,
        bytes: u32,
    ) -> Result<Self, FirmwareError<F::Error>> {
        let mut staging = Self::new(transfer, bytes);
        let mut record = vec![0; STAGED_BYTES as usize];
        for block in 0..staging.blocks() {
            memory.read(memory.map.staging.offset + block * STAGED_BYTES, &mut record)?;
            staging.held[block as usize] = staging.is_block(&record, block);
        }
        Ok(staging)
    }

    pub(super) fn blocks(&self) -> u32 {
        self.held.len() as u32
    }

    pub(super) fn holds(&self, block: u32) -> bool {
        self.held.get(block as usize).copied().unwrap_or(false)
    }

    pub(super) fn first_missing(&self) -> Option<u32> {
        self.held.iter().position(|&held| !held).map(|block| block as u32)
    }

    /// Puts a block into flash. One that is there already stays.
    pub(super) fn keep<F: NorFlash>(
        &mut self,
        memory: &mut Memory<F>,
        block: u32,
        content: &[u8],
    ) -> Result<(), FirmwareError<F::Error>> {
        if block >= self.blocks() || content.len() != self.length(block) {
            return Err(FirmwareError::Bounds);
        }
        if self.holds(block) {
            return Ok(());
        }
        let mut record = vec![0xFF; STAGED_BYTES as usize];
        record[..4].copy_from_slice(&self.transfer.to_le_bytes());
        record[4..8].copy_from_slice(&block.to_le_bytes());
        record[8..10].copy_from_slice(&(content.len() as u16).to_le_bytes());
        record[10..12].copy_from_slice(&(!(content.len() as u16)).to_le_bytes());
        record[HEAD..HEAD + content.len()].copy_from_slice(content);
        let checksum = checksum(&record);
        record[12..16].copy_from_slice(&checksum.to_le_bytes());
        self.put(memory, block, &record)?;
        self.held[block as usize] = true;
        Ok(())
    }

    fn put<F: NorFlash>(
        &mut self,
        memory: &mut Memory<F>,
        block: u32,
        record: &[u8],
    ) -> Result<(), FirmwareError<F::Error>> {
        let base = memory.map.staging.offset;
        let offset = base + block * STAGED_BYTES;
        let mut there = vec![0; STAGED_BYTES as usize];
        memory.read(offset, &mut there)?;
        if there.iter().all(|&byte| byte == 0xFF) {
            return memory.write(offset, record);
        }
        let each = memory.map.unit / STAGED_BYTES;
        let first = block / each * each;
        let mut others = Vec::new();
        for other in first..first + each {
            if other == block || !self.holds(other) {
                continue;
            }
            others.push((other, memory.bytes_at(base + other * STAGED_BYTES, STAGED_BYTES)?));
            // Until it is back: what comes next may fail.
            self.held[other as usize] = false;
        }
        memory.erase_unit(base + first * STAGED_BYTES)?;
        for (other, bytes) in others {
            memory.write(base + other * STAGED_BYTES, &bytes)?;
            self.held[other as usize] = true;
        }
        memory.write(offset, record)
    }

    /// Bytes of the package; all its blocks are there.
    pub(super) fn read<F: NorFlash>(
        &self,
        memory: &mut Memory<F>,
        mut at: u32,
        mut into: &mut [u8],
    ) -> Result<(), FirmwareError<F::Error>> {
        if (at as usize).saturating_add(into.len()) > self.bytes as usize {
            return Err(FirmwareError::Bounds);
        }
        while !into.is_empty() {
            let within = at % BLOCK_BYTES;
            let count = into.len().min((BLOCK_BYTES - within) as usize);
            let (head, tail) = into.split_at_mut(count);
            let record = memory.map.staging.offset + at / BLOCK_BYTES * STAGED_BYTES;
            memory.read(record + HEAD as u32 + within, head)?;
            (into, at) = (tail, at + count as u32);
        }
        Ok(())
    }

    fn length(&self, block: u32) -> usize {
        (self.bytes - block * BLOCK_BYTES).min(BLOCK_BYTES) as usize
    }

    fn is_block(&self, record: &[u8], block: u32) -> bool {
        let word = |at: usize| record[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        let length = self.length(block) as u16;
        word(0) == self.transfer
            && word(4) == block
            && record[8..10] == length.to_le_bytes()
            && record[10..12] == (!length).to_le_bytes()
            && word(12) == checksum(record)
    }
}

fn checksum(record: &[u8]) -> u32 {
    let mut digest = CHECKSUM.digest();
    digest.update(&record[..12]);
    digest.update(&record[HEAD..]);
    digest.finalize()
}
