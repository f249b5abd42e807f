//! The partition's part of a flash chip: read, and write what is read back and compared.

use alloc::vec;
use alloc::vec::Vec;

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::Digest384;
use sha2::{Digest as _, Sha384};

use super::error::FirmwareError;
use super::layout::{Area, FirmwareLayout, Map};

#[derive(Debug)]
pub(super) struct Memory<F> {
    flash: F,
    /// Where the partition begins.
    base: u32,
    pub(super) map: Map,
}

impl<F: NorFlash> Memory<F> {
    pub(super) fn new(flash: F, base: u32, layout: FirmwareLayout) -> Result<Self, FirmwareError<F::Error>> {
        let need = layout.size(F::ERASE_SIZE);
        let map = Map::new(layout, F::ERASE_SIZE).filter(|map| {
            F::READ_SIZE == 1
                && F::WRITE_SIZE.is_power_of_two()
                && F::WRITE_SIZE <= super::layout::RECORD_BYTES as usize
                && base.is_multiple_of(map.unit)
                && need.saturating_add(base as usize) <= flash.capacity()
        });
        Ok(Self { flash, base, map: map.ok_or(FirmwareError::Layout { need })? })
    }

    pub(super) fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), FirmwareError<F::Error>> {
        self.flash.read(self.base + offset, into).map_err(FirmwareError::Flash)
    }

    /// The first `length` bytes of an area.
    pub(super) fn bytes(&mut self, area: Area, length: u32) -> Result<Vec<u8>, FirmwareError<F::Error>> {
        if length > area.length {
            return Err(FirmwareError::Bounds);
        }
        self.bytes_at(area.offset, length)
    }

    pub(super) fn bytes_at(&mut self, offset: u32, length: u32) -> Result<Vec<u8>, FirmwareError<F::Error>> {
        let mut bytes = vec![0; length as usize];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn erase_unit(&mut self, offset: u32) -> Result<(), FirmwareError<F::Error>> {
        let from = self.base + offset;
        self.flash.erase(from, from + self.map.unit).map_err(FirmwareError::Flash)
    }

    /// Writes whole write steps, and looks.
    pub(super) fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FirmwareError<F::Error>> {
        self.flash.write(self.base + offset, bytes).map_err(FirmwareError::Flash)?;
        let mut found = [0; 256];
        for (k, piece) in bytes.chunks(found.len()).enumerate() {
            let at = offset + (k * found.len()) as u32;
            let found = &mut found[..piece.len()];
            self.read(at, found)?;
            if found != piece {
                return Err(FirmwareError::Verify { offset: at });
            }
        }
        Ok(())
    }

    /// Fills an area from its beginning, erased before.
    pub(super) fn fill(&mut self, area: Area, bytes: &[u8]) -> Result<(), FirmwareError<F::Error>> {
        if bytes.len() > area.length as usize {
            return Err(FirmwareError::Bounds);
        }
        let mut writer = Writer::new(area);
        writer.push(self, bytes)?;
        writer.finish(self)
    }

    /// SHA-384 over the first `length` bytes of an area, which go to `each` as they are read.
    pub(super) fn digest(
        &mut self,
        area: Area,
        length: u32,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Digest384, FirmwareError<F::Error>> {
        let (mut digest, mut piece) = (Sha384::new(), vec![0; 4096]);
        let mut at = 0;
        while at < length.min(area.length) {
            let count = (length.min(area.length) - at).min(piece.len() as u32) as usize;
            self.read(area.offset + at, &mut piece[..count])?;
            digest.update(&piece[..count]);
            each(&piece[..count]);
            at += count as u32;
        }
        Ok(Digest384(digest.finalize().into()))
    }
}

/// Fills an area erase step by erase step.
#[derive(Debug)]
pub(super) struct Writer {
    area: Area,
    written: u32,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) const fn new(area: Area) -> Self {
        Self { area, written: 0, buffer: Vec::new() }
    }

    pub(super) fn push<F: NorFlash>(
        &mut self,
        memory: &mut Memory<F>,
        mut bytes: &[u8],
    ) -> Result<(), FirmwareError<F::Error>> {
        let unit = memory.map.unit as usize;
        while !bytes.is_empty() {
            let count = bytes.len().min(unit - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.buffer.len() == unit {
                self.flush(memory)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish<F: NorFlash>(
        mut self,
        memory: &mut Memory<F>,
    ) -> Result<(), FirmwareError<F::Error>> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.buffer.resize(self.buffer.len().next_multiple_of(F::WRITE_SIZE), 0xFF);
        self.flush(memory)
    }

    fn flush<F: NorFlash>(&mut self, memory: &mut Memory<F>) -> Result<(), FirmwareError<F::Error>> {
        if self.written + self.buffer.len() as u32 > self.area.length {
            return Err(FirmwareError::Bounds);
        }
        let at = self.area.offset + self.written;
        memory.erase_unit(at)?;
        memory.write(at, &self.buffer)?;
        self.written += self.buffer.len() as u32;
        self.buffer.clear();
        Ok(())
    }
}
