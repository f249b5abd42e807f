//! Readings and starts: the records of what a bill rests upon, in one ring of their own.

use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::log::{Boot, Rates, Reading, ReadingReason, Totals};

use crate::flash::{Cursor, Put};

/// 16 records a sector.
pub(crate) const READING_SLOT_BYTES: u32 = 256;
/// 8 signed checkpoints a sector.
pub(crate) const CHECKPOINT_SLOT_BYTES: u32 = 512;

const VERSION: u8 = 1;
const READING: u8 = 1;
const BOOT: u8 = 2;

/// A record of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one at a time is in memory")]
pub(crate) enum Record {
    Reading(Reading),
    Boot(Boot),
}

/// What has to be known of the newest reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredReading {
    pub(crate) row: u64,
    /// The day (days since 1970, UTC) in which it was taken.
    pub(crate) day: i64,
}

/// Energies in the order of the record: totals, rates, quadrants, phases, their sum, apparent.
const ENERGIES: usize = 4 + 8 + 4 + 6 + 2;
const BYTES: usize = 1 + 1 + 8 + 8 + 8 + 8 + 1 + ENERGIES * 8;
const _: () = assert!(BYTES + 12 <= READING_SLOT_BYTES as usize);

impl Record {
    pub(crate) fn encode(&self) -> [u8; BYTES] {
        let mut record = [0; BYTES];
        let mut put = Put::new(&mut record);
        put.u8(VERSION);
        match self {
            Self::Boot(boot) => {
                put.u8(BOOT).u64(boot.row).i64(boot.time.0).u8(boot.firmware.is_some().into());
                put.bytes(&boot.firmware.map_or([0; 48], |digest| digest.0));
            }
            Self::Reading(reading) => {
                put.u8(READING).u64(reading.row).i64(reading.time.0).u64(reading.uptime_ms);
                put.u64(reading.boot).u8(reading.reason as u8);
                let Totals {
                    active_import_milliwatt_hours: import,
                    active_export_milliwatt_hours: export,
                    reactive_import_millivar_hours: reactive_import,
                    reactive_export_millivar_hours: reactive_export,
                } = reading.totals;
                let energies = [import, export, reactive_import, reactive_export]
                    .into_iter()
                    .chain(reading.rates.import_milliwatt_hours)
                    .chain(reading.rates.export_milliwatt_hours)
                    .chain(reading.quadrant_millivar_hours)
                    .chain(reading.phase_import_milliwatt_hours)
                    .chain(reading.phase_export_milliwatt_hours)
                    .chain([
                        reading.sum_of_phase_imports_milliwatt_hours,
                        reading.apparent_millivoltampere_hours,
                    ]);
                for energy in energies {
                    put.u64(energy);
                }
            }
        }
        record
    }

    /// `None` for another version, kind or length.
    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(record);
        if fields.u8()? != VERSION {
            return None;
        }
        match fields.u8()? {
            BOOT => {
                let (row, time) = (fields.u64()?, UnixMillis(fields.i64()?));
                let known = fields.u8()? == 1;
                let digest = Digest384(fields.array()?);
                Some(Self::Boot(Boot { row, time, firmware: known.then_some(digest) }))
            }
            READING => {
                let (row, time) = (fields.u64()?, UnixMillis(fields.i64()?));
                let (uptime_ms, boot) = (fields.u64()?, fields.u64()?);
                let reason = ReadingReason::from_number(fields.u8()?)?;
                Some(Self::Reading(Reading {
                    row,
                    time,
                    uptime_ms,
                    boot,
                    reason,
                    totals: Totals {
                        active_import_milliwatt_hours: fields.u64()?,
                        active_export_milliwatt_hours: fields.u64()?,
                        reactive_import_millivar_hours: fields.u64()?,
                        reactive_export_millivar_hours: fields.u64()?,
                    },
                    rates: Rates {
                        import_milliwatt_hours: each(&mut fields)?,
                        export_milliwatt_hours: each(&mut fields)?,
                    },
                    quadrant_millivar_hours: each(&mut fields)?,
                    phase_import_milliwatt_hours: each(&mut fields)?,
                    phase_export_milliwatt_hours: each(&mut fields)?,
                    sum_of_phase_imports_milliwatt_hours: fields.u64()?,
                    apparent_millivoltampere_hours: fields.u64()?,
                }))
            }
            _ => None,
        }
    }
}

fn each<const N: usize>(fields: &mut Cursor<'_>) -> Option<[u64; N]> {
    let mut values = [0; N];
    for value in &mut values {
        *value = fields.u64()?;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were() {
        let boot = Record::Boot(Boot { row: 3, time: UnixMillis(-4), firmware: Some(Digest384([5; 48])) });
        assert_eq!(Record::decode(&boot.encode()), Some(boot));
        let reading = Record::Reading(Reading {
            row: 1,
            time: UnixMillis(2),
            uptime_ms: 3,
            boot: 4,
            reason: ReadingReason::Requested,
            totals: Totals {
                active_import_milliwatt_hours: 5,
                active_export_milliwatt_hours: 6,
                reactive_import_millivar_hours: 7,
                reactive_export_millivar_hours: u64::MAX,
            },
            rates: Rates { import_milliwatt_hours: [8, 9, 10, 11], export_milliwatt_hours: [12, 13, 14, 15] },
            quadrant_millivar_hours: [16, 17, 18, 19],
            phase_import_milliwatt_hours: [20, 21, 22],
            phase_export_milliwatt_hours: [23, 24, 25],
            sum_of_phase_imports_milliwatt_hours: 26,
            apparent_millivoltampere_hours: 27,
        });
        assert_eq!(Record::decode(&reading.encode()), Some(reading));
        assert_eq!(Record::decode(&reading.encode()[..100]), None);
    }
}
