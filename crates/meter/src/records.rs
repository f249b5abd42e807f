//! The records in flash, each with its own version in front: registers, security-log entry, load-profile row, state.

use meterseal_metrology::Registers;
use meterseal_model::{EventCode, UnixMillis};

use crate::flash::{Cursor, Put};
use crate::tamper::Latches;
use crate::tariff::Rates;

/// Energy registers as they were at a time.
pub(crate) const REGISTER_SLOT_BYTES: u32 = 512;
/// 32 entries a sector.
pub(crate) const LOG_SLOT_BYTES: u32 = 128;
/// 64 rows a sector.
pub(crate) const PROFILE_SLOT_BYTES: u32 = 64;
/// 32 records a sector.
pub(crate) const STATE_SLOT_BYTES: u32 = 128;
/// One record a sector: all settings at once.
pub(crate) const SETTINGS_SLOT_BYTES: u32 = 4096;
/// 16 records a sector.
pub(crate) const TARIFF_SLOT_BYTES: u32 = 256;
/// 16 rows a sector.
pub(crate) const BILLING_SLOT_BYTES: u32 = 256;
/// 64 rows a sector.
pub(crate) const QUALITY_SLOT_BYTES: u32 = 64;

const VERSION: u8 = 1;

/// The registers that are in flash, and when they were saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SavedRegisters {
    pub(crate) time: UnixMillis,
    pub(crate) registers: Registers,
    pub(crate) rates: Rates,
    pub(crate) peers: [Peer; 2],
}

impl SavedRegisters {
    pub(crate) const BYTES: usize = 1 + 8 + 2 * Peer::BYTES + Registers::ENCODED_LEN + Rates::BYTES;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut record = [0; Self::BYTES];
        let mut put = Put::new(&mut record);
        put.u8(VERSION).i64(self.time.0);
        self.peers.iter().for_each(|peer| peer.put(&mut put));
        put.bytes(&self.registers.encode());
        self.rates.put(&mut put);
        record
    }

    /// `None` for another version or length.
    pub(crate) fn decode(record: &[u8]) -> Option<Result<Self, meterseal_metrology::DecodeError>> {
        let mut fields = Cursor::new(record);
        if fields.u8()? != VERSION {
            return None;
        }
        let time = UnixMillis(fields.i64()?);
        let peers = [Peer::get(&mut fields)?, Peer::get(&mut fields)?];
        let registers = Registers::decode(fields.bytes(Registers::ENCODED_LEN)?);
        let rates = Rates::get(&mut fields)?;
        Some(registers.map(|registers| Self { time, registers, rates, peers }))
    }
}

/// The last client of a role: whose invocation counters were accepted up to where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) title: [u8; 8],
    /// The highest counter accepted, 0 before the first.
    pub(crate) highest: u32,
}

impl Peer {
    const BYTES: usize = 12;

    fn put(&self, put: &mut Put<'_>) {
        put.bytes(&self.title).u32(self.highest);
    }

    fn get(fields: &mut Cursor<'_>) -> Option<Self> {
        Some(Self { title: fields.array()?, highest: fields.u32()? })
    }
}

/// An entry of the security log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityEntry {
    /// Its number: the first is 1, none is ever used twice or left out.
    pub sequence: u64,
    /// What happened.
    pub code: EventCode,
    /// When it began, by the meter's clock.
    pub time: UnixMillis,
    /// When it began, in milliseconds since power-up: order and distance that no clock change alters.
    pub uptime_ms: u64,
    /// Its extreme value: millionths of a quantity, or a count ([`EventCode::extreme`]).
    pub extreme: i64,
}

impl SecurityEntry {
    const BYTES: usize = 1 + 1 + 8 + 8 + 8;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut record = [0; Self::BYTES];
        let mut put = Put::new(&mut record);
        put.u8(VERSION).u8(self.code as u8).i64(self.time.0).u64(self.uptime_ms).i64(self.extreme);
        record
    }

    /// `None` for another version, an unknown event or another length.
    pub(crate) fn decode(sequence: u32, record: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(record);
        if fields.u8()? != VERSION {
            return None;
        }
        Some(Self {
            sequence: sequence.into(),
            code: EventCode::from_number(fields.u8()?)?,
            time: UnixMillis(fields.i64()?),
            uptime_ms: fields.u64()?,
            extreme: fields.i64()?,
        })
    }
}

/// A row of the load profile: the registers at an interval's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileRow {
    /// Its number: the first is 1, none is ever used twice or left out.
    pub sequence: u64,
    /// The end of the interval.
    pub time: UnixMillis,
    /// What disturbed the interval: a union of [`ProfileRow::POWER_DOWN`] and its like.
    pub status: u8,
    /// Active energy import, in thousandths of a watt-hour.
    pub active_import_milliwatt_hours: u64,
    /// Active energy export.
    pub active_export_milliwatt_hours: u64,
    /// Reactive energy import (quadrants I and II), in thousandths of a var-hour.
    pub reactive_import_millivar_hours: u64,
    /// Reactive energy export (quadrants III and IV).
    pub reactive_export_millivar_hours: u64,
    /// Mean RMS voltage of L1, L2, L3 over the interval, in hundredths of a volt; 0 when nothing was measured.
    pub mean_voltage_centivolts: [u16; 3],
}

impl ProfileRow {
    /// The meter was without power, or restarted, in this interval.
    pub const POWER_DOWN: u8 = 1 << 0;
    /// The clock was adjusted in this interval.
    pub const CLOCK_ADJUSTED: u8 = 1 << 1;
    /// The interval is longer or shorter than the profile's period.
    pub const IRREGULAR: u8 = 1 << 2;
    /// A front-end channel was overdriven in this interval.
    pub const CLIPPED: u8 = 1 << 3;
    /// The front end lost samples in this interval; their energy is not in the registers.
    pub const GAP: u8 = 1 << 4;
    /// The calibration record is refused: the registers stand still.
    pub const NOT_BOOKED: u8 = 1 << 5;

    const BYTES: usize = 1 + 8 + 1 + 4 * 8 + 3 * 2;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut record = [0; Self::BYTES];
        let mut put = Put::new(&mut record);
        put.u8(VERSION).i64(self.time.0).u8(self.status);
        put.u64(self.active_import_milliwatt_hours).u64(self.active_export_milliwatt_hours);
        put.u64(self.reactive_import_millivar_hours).u64(self.reactive_export_millivar_hours);
        for voltage in self.mean_voltage_centivolts {
            put.u16(voltage);
        }
        record
    }

    /// `None` for another version or length.
    pub(crate) fn decode(sequence: u32, record: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(record);
        if fields.u8()? != VERSION {
            return None;
        }
        Some(Self {
            sequence: sequence.into(),
            time: UnixMillis(fields.i64()?),
            status: fields.u8()?,
            active_import_milliwatt_hours: fields.u64()?,
            active_export_milliwatt_hours: fields.u64()?,
            reactive_import_millivar_hours: fields.u64()?,
            reactive_export_millivar_hours: fields.u64()?,
            mean_voltage_centivolts: [fields.u16()?, fields.u16()?, fields.u16()?],
        })
    }
}

/// Everything small that must survive: written whole each time that a part of it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Utility's and reader's key: no invocation counter above this has been used.
    pub(crate) reserved_counters: [u32; 2],
    /// Utility's and reader's last client.
    pub(crate) peers: [Peer; 2],
    /// What the head-end has stored.
    pub(crate) committed_log: u32,
    /// What the head-end has stored.
    pub(crate) committed_profile: u32,
    /// Meter's clock less the clock that it is given.
    pub(crate) clock_offset_ms: i64,
    /// Tamper events without an end, as of the log entry `latched_up_to`.
    pub(crate) latches: Latches,
    pub(crate) latched_up_to: u32,
    /// Alarm register 1.
    pub(crate) alarms: u32,
    /// Events that found no room in the log.
    pub(crate) not_logged: u32,
    /// The nearly-full warning has been logged and room not yet made.
    pub(crate) nearly_full: bool,
}

impl State {
    const BYTES: usize = 1 + 2 * 4 + 2 * Peer::BYTES + 4 + 4 + 8 + 1 + 4 + 4 + 4;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut record = [0; Self::BYTES];
        let mut put = Put::new(&mut record);
        put.u8(VERSION);
        self.reserved_counters.iter().for_each(|&counter| {
            put.u32(counter);
        });
        self.peers.iter().for_each(|peer| peer.put(&mut put));
        put.u32(self.committed_log).u32(self.committed_profile).i64(self.clock_offset_ms);
        let Latches { meter_cover_open, terminal_cover_open, magnet_on } = self.latches;
        put.u8(u8::from(meter_cover_open)
            | u8::from(terminal_cover_open) << 1
            | u8::from(magnet_on) << 2
            | u8::from(self.nearly_full) << 3);
        put.u32(self.latched_up_to).u32(self.alarms).u32(self.not_logged);
        record
    }

    /// `None` for another version or length.
    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(record);
        if fields.u8()? != VERSION {
            return None;
        }
        let mut state = Self {
            reserved_counters: [fields.u32()?, fields.u32()?],
            peers: [Peer::get(&mut fields)?, Peer::get(&mut fields)?],
            committed_log: fields.u32()?,
            committed_profile: fields.u32()?,
            clock_offset_ms: fields.i64()?,
            ..Self::default()
        };
        let bits = fields.u8()?;
        state.latches = Latches {
            meter_cover_open: bits & 1 != 0,
            terminal_cover_open: bits & 2 != 0,
            magnet_on: bits & 4 != 0,
        };
        state.nearly_full = bits & 8 != 0;
        state.latched_up_to = fields.u32()?;
        state.alarms = fields.u32()?;
        state.not_logged = fields.u32()?;
        Some(state)
    }
}

// Every record fits its slot beside the ring's own fields (12 bytes).
const _: () = assert!(SavedRegisters::BYTES + 12 <= REGISTER_SLOT_BYTES as usize);
const _: () = assert!(SecurityEntry::BYTES + 12 <= LOG_SLOT_BYTES as usize);
const _: () = assert!(ProfileRow::BYTES + 12 <= PROFILE_SLOT_BYTES as usize);
const _: () = assert!(crate::settings::Settings::BYTES_MAX + 12 <= SETTINGS_SLOT_BYTES as usize);
const _: () = assert!(crate::tariff::TariffState::BYTES + 12 <= TARIFF_SLOT_BYTES as usize);
const _: () = assert!(crate::billing::BillingRow::BYTES + 12 <= BILLING_SLOT_BYTES as usize);
const _: () = assert!(crate::quality::QualityRow::BYTES + 12 <= QUALITY_SLOT_BYTES as usize);
const _: () = assert!(State::BYTES + 12 <= STATE_SLOT_BYTES as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were() {
        let state = State {
            reserved_counters: [1, 2],
            peers: [Peer { title: *b"MSH\0\0\0\0\x01", highest: 3 }, Peer::default()],
            committed_log: 4,
            committed_profile: 5,
            clock_offset_ms: -6,
            latches: Latches { meter_cover_open: true, terminal_cover_open: false, magnet_on: true },
            latched_up_to: 7,
            alarms: 8,
            not_logged: 9,
            nearly_full: true,
        };
        assert_eq!(State::decode(&state.encode()), Some(state));
        let entry = SecurityEntry {
            sequence: 10,
            code: EventCode::MagnetOn,
            time: UnixMillis(-1),
            uptime_ms: 11,
            extreme: -12,
        };
        assert_eq!(SecurityEntry::decode(10, &entry.encode()), Some(entry));
        let row = ProfileRow {
            sequence: 13,
            time: UnixMillis(14),
            status: 15,
            active_import_milliwatt_hours: 16,
            active_export_milliwatt_hours: 17,
            reactive_import_millivar_hours: 18,
            reactive_export_millivar_hours: u64::MAX,
            mean_voltage_centivolts: [19, 20, 21],
        };
        assert_eq!(ProfileRow::decode(13, &row.encode()), Some(row));
        let saved = SavedRegisters { time: UnixMillis(22), peers: state.peers, ..SavedRegisters::default() };
        assert_eq!(SavedRegisters::decode(&saved.encode()), Some(Ok(saved)));
    }

    #[test]
    fn another_version_or_a_short_record_is_not_read() {
        let mut record = State::default().encode();
        assert_eq!(State::decode(&record[..record.len() - 1]), None);
        record[0] = 2;
        assert_eq!(State::decode(&record), None);
    }
}
