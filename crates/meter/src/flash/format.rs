//! The format record in the first sector: which format, whose flash, which layout.
//!
//! It is written once, to a blank flash. A cut while it is being written leaves a flash whose other sectors are all
//! blank; such a flash is formatted again.

use alloc::vec;

use crc::{CRC_32_ISO_HDLC, Crc};
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::SystemTitle;

use super::{Cursor, Layout, Put, SECTOR_BYTES, StorageError};
use crate::OpenError;

/// The format that this version writes and reads.
pub(crate) const FORMAT_VERSION: u16 = 4;

const MAGIC: [u8; 8] = *b"MTRSEAL\0";
/// magic, version, system title, thirteen region sizes, checksum; the slot is a multiple of every write size.
const RECORD_BYTES: usize = 8 + 2 + 8 + 2 * 13 + 4;
const SLOT_BYTES: usize = 64;
/// Slots of 48 bytes, the tree's, begin at multiples of this.
const WRITE_BYTES_MAX: usize = 16;

/// The version before that is taken over, and how many region sizes its records have. Versions 2 and 3, of which there was
/// no release, kept their secrets in another form of map.
const FORMER: [(u16, usize); 1] = [(1, 4)];

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Mounts the flash of this meter, formatting it when it is blank. Returns whether it was formatted.
pub(crate) fn mount<F: NorFlash>(
    flash: &mut F,
    owner: SystemTitle,
    layout: Layout,
) -> Result<bool, OpenError<F::Error>> {
    if !geometry_fits::<F>() || !layout.is_usable() {
        return Err(OpenError::Geometry { erase: F::ERASE_SIZE, write: F::WRITE_SIZE });
    }
    let too_small = OpenError::TooSmall { needed: layout.size(), found: flash.capacity() };
    if flash.capacity() < SLOT_BYTES {
        return Err(too_small);
    }
    let mut slot = vec![0; SLOT_BYTES];
    flash.read(0, &mut slot).map_err(StorageError::Flash)?;
    if flash.capacity() < layout.size() && former(&slot, layout).is_some() {
        return Err(too_small);
    }
    if flash.capacity() < layout.size() {
        // Another version's flash may well be smaller, and its version says more.
        return Err(match decode(&slot) {
            Some((found, ..)) if found != FORMAT_VERSION => {
                OpenError::OtherVersion { found, supported: FORMAT_VERSION }
            }
            _ => too_small,
        });
    }
    let record = encode(owner, layout);
    if slot[..RECORD_BYTES] == record {
        return Ok(false);
    }
    if former(&slot, layout).is_some_and(|(_, found)| found == owner) {
        return upgrade(flash, &record, layout);
    }
    let blank = regions_are_blank(flash, layout)?;
    if let Some((version, found_owner, found_layout, intact)) = decode(&slot)
        && (intact || !blank)
    {
        if version != FORMAT_VERSION {
            return Err(OpenError::OtherVersion { found: version, supported: FORMAT_VERSION });
        }
        if !intact {
            return Err(OpenError::NotAMeter);
        }
        if found_owner != owner {
            return Err(OpenError::OtherMeter { found: found_owner });
        }
        return Err(OpenError::OtherLayout { found: found_layout, expected: layout });
    }
    if !blank {
        return Err(OpenError::NotAMeter);
    }
    flash.erase(0, SECTOR_BYTES).map_err(StorageError::Flash)?;
    slot.fill(0xFF);
    slot[..RECORD_BYTES].copy_from_slice(&record);
    flash.write(0, &slot).map_err(StorageError::Flash)?;
    Ok(true)
}

/// Takes a flash of a former version over: its regions stay where and as they are, those that it did not have begin blank
/// behind them, and this version's record goes beside the old ones, last: until it is there, a cut leaves the former.
fn upgrade<F: NorFlash>(
    flash: &mut F,
    record: &[u8; RECORD_BYTES],
    layout: Layout,
) -> Result<bool, OpenError<F::Error>> {
    let mut slot = vec![0; SLOT_BYTES];
    let (mut free, mut version) = (None, 1);
    for offset in (0..SECTOR_BYTES).step_by(SLOT_BYTES) {
        flash.read(offset, &mut slot).map_err(StorageError::Flash)?;
        if slot[..RECORD_BYTES] == *record {
            return Ok(false);
        }
        if let Some((found, _)) = former(&slot, layout) {
            version = version.max(found);
            continue;
        }
        // A record of this version for another layout, or one that was torn.
        match decode(&slot) {
            Some((_, _, found, true)) => {
                return Err(OpenError::OtherLayout { found, expected: layout });
            }
            _ if slot.iter().all(|&byte| byte == 0xFF) => {
                free = Some(offset);
                break;
            }
            _ => {}
        }
    }
    let offset = free.ok_or(OpenError::NotAMeter)?;
    flash.erase(layout.former_size(version) as u32, layout.size() as u32).map_err(StorageError::Flash)?;
    slot.fill(0xFF);
    slot[..RECORD_BYTES].copy_from_slice(record);
    flash.write(offset, &slot).map_err(StorageError::Flash)?;
    Ok(true)
}

/// Which former version a record is of, and whose, if its regions are the first ones of `layout`: magic, version, system
/// title, region sizes, checksum.
fn former(slot: &[u8], layout: Layout) -> Option<(u16, SystemTitle)> {
    let mut fields = Cursor::new(slot);
    if fields.array()? != MAGIC {
        return None;
    }
    let version = fields.u16()?;
    let (_, regions) = FORMER.into_iter().find(|&(former, _)| former == version)?;
    let owner = SystemTitle(fields.array()?);
    for wanted in sizes(layout).into_iter().take(regions) {
        if fields.u16()? != wanted {
            return None;
        }
    }
    let checksum = CHECKSUM.checksum(slot.get(..8 + 2 + 8 + 2 * regions)?);
    (fields.u32()? == checksum).then_some((version, owner))
}

/// Whether the layout's regions can be read at all.
pub(crate) fn is_readable<F: NorFlash>(flash: &F, layout: Layout) -> bool {
    geometry_fits::<F>() && layout.is_usable() && flash.capacity() >= layout.size()
}

/// Refuses a chip whose geometry the records do not fit.
const fn geometry_fits<F: NorFlash>() -> bool {
    F::ERASE_SIZE as u32 <= SECTOR_BYTES
        && SECTOR_BYTES.is_multiple_of(F::ERASE_SIZE as u32)
        && F::WRITE_SIZE <= WRITE_BYTES_MAX
        && WRITE_BYTES_MAX.is_multiple_of(F::WRITE_SIZE)
        && F::READ_SIZE <= WRITE_BYTES_MAX
        && WRITE_BYTES_MAX.is_multiple_of(F::READ_SIZE)
}

fn encode(owner: SystemTitle, layout: Layout) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    let mut put = Put::new(&mut record);
    put.bytes(&MAGIC).u16(FORMAT_VERSION).bytes(&owner.0);
    sizes(layout).into_iter().for_each(|sectors| {
        put.u16(sectors);
    });
    let len = put.len();
    let checksum = CHECKSUM.checksum(&record[..len]);
    record[len..].copy_from_slice(&checksum.to_le_bytes());
    record
}

/// The region sizes in the order in which records have them; each version has added some at the end.
fn sizes(layout: Layout) -> [u16; 13] {
    let Layout {
        state_sectors,
        register_sectors,
        log_sectors,
        profile_sectors,
        settings_sectors,
        tariff_sectors,
        quality_sectors,
        event_sectors,
        billing_sectors,
        secret_sectors,
        tree_sectors,
        reading_sectors,
        checkpoint_sectors,
    } = layout;
    [
        state_sectors,
        register_sectors,
        log_sectors,
        profile_sectors,
        settings_sectors,
        tariff_sectors,
        quality_sectors,
        event_sectors,
        billing_sectors,
        secret_sectors,
        tree_sectors,
        reading_sectors,
        checkpoint_sectors,
    ]
}

/// Version, owner, layout, and whether the checksum holds. Another version may lay out what follows its number
/// differently, so that number is believed without the checksum once there is something to lose.
fn decode(slot: &[u8]) -> Option<(u16, SystemTitle, Layout, bool)> {
    let mut fields = Cursor::new(slot);
    if fields.array()? != MAGIC {
        return None;
    }
    let version = fields.u16()?;
    let owner = SystemTitle(fields.array()?);
    let layout = Layout {
        state_sectors: fields.u16()?,
        register_sectors: fields.u16()?,
        log_sectors: fields.u16()?,
        profile_sectors: fields.u16()?,
        settings_sectors: fields.u16()?,
        tariff_sectors: fields.u16()?,
        quality_sectors: fields.u16()?,
        event_sectors: fields.u16()?,
        billing_sectors: fields.u16()?,
        secret_sectors: fields.u16()?,
        tree_sectors: fields.u16()?,
        reading_sectors: fields.u16()?,
        checkpoint_sectors: fields.u16()?,
    };
    let checksum = fields.u32()?;
    Some((version, owner, layout, checksum == CHECKSUM.checksum(&slot[..RECORD_BYTES - 4])))
}

/// Whether the first slot of every other sector is erased: a ring writes there before anywhere else.
fn regions_are_blank<F: NorFlash>(flash: &mut F, layout: Layout) -> Result<bool, OpenError<F::Error>> {
    let mut slot = [0; SLOT_BYTES];
    for sector in 1..(layout.size() as u32 / SECTOR_BYTES) {
        flash.read(sector * SECTOR_BYTES, &mut slot).map_err(StorageError::Flash)?;
        if slot.iter().any(|&byte| byte != 0xFF) {
            return Ok(false);
        }
    }
    Ok(true)
}
