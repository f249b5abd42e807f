//! The unit's calibration record in its own sector: how the factory writes it, and what a meter makes of what it finds.
//!
//! A blank sector is an uncalibrated meter, which says so. Anything else must be this unit's record, whole and possible:
//! otherwise the meter measures and shows, but books no energy. There is no way from a spoilt record back to "none"
//! but the factory's, so that a meter cannot come to bill on defaults unnoticed.

use embedded_storage::nor_flash::NorFlash;
use meterseal_metrology::{Calibration, CalibrationError, CalibrationState, UnitId};
use meterseal_model::MeterId;

use crate::flash::{self, RegionName, SECTOR_BYTES};
use crate::{Layout, OpenError, StorageError};

/// What the meter says about its calibration, as the object `0-128:96.3.1` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CalibrationStatus {
    /// A record for this unit is applied, within the temperatures at which it was taken.
    Valid = 0,
    /// There is no record: the meter measures with its nominal scale, uncalibrated.
    Missing = 1,
    /// There is a record that was refused: no energy is booked.
    Refused = 2,
    /// A record for this unit is applied beyond the temperatures at which it was taken.
    Extrapolated = 3,
}

impl From<CalibrationState> for CalibrationStatus {
    fn from(state: CalibrationState) -> Self {
        match state {
            CalibrationState::Missing => Self::Missing,
            CalibrationState::Refused(_) => Self::Refused,
            CalibrationState::Valid { extrapolated: false } => Self::Valid,
            CalibrationState::Valid { extrapolated: true } => Self::Extrapolated,
        }
    }
}

/// The name by which a calibration record knows a meter: its identifier in ASCII, filled with zeros.
pub fn unit_id(id: MeterId) -> UnitId {
    let text = alloc::format!("{id}");
    let mut unit = UnitId::default();
    let len = text.len().min(unit.len());
    unit[..len].copy_from_slice(&text.as_bytes()[..len]);
    unit
}

/// The factory's last step: writes a unit's calibration record into its flash, which is formatted if it is blank. A
/// record that was there is replaced. Cut off in between, the meter finds none or a broken one, and says so.
///
/// # Errors
/// Another meter's flash, another layout or version, a flash that fails. The record itself is not looked at: the
/// meter judges it whenever it starts.
pub fn write_calibration<F: NorFlash>(
    flash: &mut F,
    id: MeterId,
    layout: Layout,
    record: &[u8; Calibration::ENCODED_LEN],
) -> Result<(), OpenError<F::Error>> {
    flash::mount(flash, id.system_title(), layout)?;
    let offset = place(layout);
    flash.erase(offset, offset + SECTOR_BYTES).map_err(StorageError::Flash)?;
    let mut slot = [0xFF; SLOT_BYTES];
    slot[..record.len()].copy_from_slice(record);
    flash.write(offset, &slot).map_err(StorageError::Flash)?;
    Ok(())
}

/// The record that a mounted flash holds, read or refused; `None` when the sector is blank.
pub(crate) fn read_calibration<F: NorFlash>(
    flash: &mut F,
    id: MeterId,
    layout: Layout,
) -> Result<Option<Result<Calibration, CalibrationError>>, StorageError<F::Error>> {
    let mut sector = alloc::vec![0; SECTOR_BYTES as usize];
    flash.read(place(layout), &mut sector).map_err(StorageError::Flash)?;
    if sector.iter().all(|&byte| byte == 0xFF) {
        return Ok(None);
    }
    Ok(Some(Calibration::decode(&sector[..Calibration::ENCODED_LEN], &unit_id(id))))
}

/// Why a record was refused, as the event's count says it.
pub(crate) const fn refusal_number(error: &CalibrationError) -> i64 {
    match error {
        CalibrationError::Length { .. } => 1,
        CalibrationError::Version { .. } => 2,
        CalibrationError::Checksum { .. } => 3,
        CalibrationError::Unit { .. } => 4,
        CalibrationError::Range { .. } => 5,
        CalibrationError::Curve { .. } => 6,
    }
}

fn place(layout: Layout) -> u32 {
    layout.region(RegionName::Calibration).first_sector * SECTOR_BYTES
}

/// The record and what is left of its last write unit, for chips that write up to 64 bytes at once.
const SLOT_BYTES: usize = Calibration::ENCODED_LEN.next_multiple_of(64);
const _: () = assert!(SLOT_BYTES <= SECTOR_BYTES as usize);
