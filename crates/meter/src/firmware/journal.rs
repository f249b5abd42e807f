//! The journal: the newest whole record is what is in force. Records are appended in turn through at least two erase
//! steps, so that erasing one never touches the newest record, and a torn record leaves the one before.
//!
//! A record's place of 512 bytes is `sequence u64 | length u16 | record | CRC-32`.

use alloc::vec;

use crc::{CRC_32_ISO_HDLC, Crc};
use embedded_storage::nor_flash::NorFlash;

use super::error::FirmwareError;
use super::layout::RECORD_BYTES;
use super::memory::Memory;
use super::record::{BootRecord, MAX_ENCODED};

pub(super) const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// How many places may turn out worn before the memory is called broken.
const WORN: u32 = 4;

const HEAD: usize = 10;
const _: () = assert!(HEAD + MAX_ENCODED + 4 <= RECORD_BYTES as usize);

#[derive(Debug)]
pub(super) struct Journal {
    sequence: u64,
    /// The place after the newest record's.
    next: u32,
}

impl Journal {
    /// Finds the newest record, if there is any.
    pub(super) fn open<F: NorFlash>(
        memory: &mut Memory<F>,
    ) -> Result<(Self, Option<BootRecord>), FirmwareError<F::Error>> {
        let places = memory.map.journal.length / RECORD_BYTES;
        let (mut journal, mut newest) = (Self { sequence: 0, next: 0 }, None);
        let mut bytes = [0; RECORD_BYTES as usize];
        for place in 0..places {
            memory.read(memory.map.journal.offset + place * RECORD_BYTES, &mut bytes)?;
            if let Some((sequence, record)) = read(&bytes)
                && sequence > journal.sequence
            {
                journal = Self { sequence, next: (place + 1) % places };
                newest = Some(record);
            }
        }
        Ok((journal, newest))
    }

    /// Puts a record in force. When this returns, it is in flash.
    pub(super) fn append<F: NorFlash>(
        &mut self,
        memory: &mut Memory<F>,
        record: &BootRecord,
    ) -> Result<(), FirmwareError<F::Error>> {
        let bytes = write(self.sequence + 1, record);
        let (area, unit) = (memory.map.journal, memory.map.unit);
        let places = area.length / RECORD_BYTES;
        let newest = (self.next + places - 1) % places * RECORD_BYTES / unit;
        let mut failed = 0;
        // However often the power flickers: every place before the newest record's erase step comes round again.
        for place in (0..places).map(|k| (self.next + k) % places) {
            let offset = area.offset + place * RECORD_BYTES;
            if (place * RECORD_BYTES).is_multiple_of(unit) {
                if self.sequence > 0 && place * RECORD_BYTES / unit == newest {
                    break;
                }
                memory.erase_unit(offset)?;
            } else if !is_blank(memory, offset)? {
                continue;
            }
            match memory.write(offset, &bytes) {
                Ok(()) => {
                    (self.sequence, self.next) = (self.sequence + 1, (place + 1) % places);
                    return Ok(());
                }
                Err(FirmwareError::Verify { .. }) if failed < WORN => failed += 1,
                Err(error) => return Err(error),
            }
        }
        Err(FirmwareError::Verify { offset: area.offset })
    }
}

fn is_blank<F: NorFlash>(memory: &mut Memory<F>, offset: u32) -> Result<bool, FirmwareError<F::Error>> {
    let mut bytes = [0; RECORD_BYTES as usize];
    memory.read(offset, &mut bytes)?;
    Ok(bytes.iter().all(|&byte| byte == 0xFF))
}

fn write(sequence: u64, record: &BootRecord) -> alloc::vec::Vec<u8> {
    let mut bytes = vec![0xFF; RECORD_BYTES as usize];
    let length = record.encode(&mut bytes[HEAD..]);
    bytes[..8].copy_from_slice(&sequence.to_le_bytes());
    bytes[8..HEAD].copy_from_slice(&(length as u16).to_le_bytes());
    let checksum = CHECKSUM.checksum(&bytes[..HEAD + length]);
    bytes[HEAD + length..HEAD + length + 4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn read(bytes: &[u8; RECORD_BYTES as usize]) -> Option<(u64, BootRecord)> {
    let sequence = u64::from_le_bytes(*bytes.first_chunk()?);
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let (content, tail) = bytes.split_at_checked(HEAD + length)?;
    if *tail.first_chunk()? != CHECKSUM.checksum(content).to_le_bytes() {
        return None;
    }
    Some((sequence, BootRecord::decode(&content[HEAD..])?))
}
