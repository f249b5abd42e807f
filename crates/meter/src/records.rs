//! The records in flash, each with its own version in front: registers, security-log entry, load-profile row, state.

use meterseal_metrology::Registers;
use meterseal_model::{EventCode, Role, UnixMillis};

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

/// Records that hold something of each role's key. Version 1 knew the first two roles of [`KEYED`] only; it is still
/// read, and the roles that it did not know have used nothing.
const ROLES_VERSION: u8 = 2;

/// The roles that have a key, in the order in which records and 0.b.43.1.e count them.
pub(crate) const KEYED: [Role; 5] =
    [Role::Utility, Role::Reader, Role::Firmware, Role::Installer, Role::Bench];

/// A role's place in [`KEYED`]; the public has no key.
pub(crate) fn key_index(role: Role) -> Option<usize> {
    KEYED.iter().position(|&keyed| keyed == role)
}

/// The registers that are in flash, and when they were saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SavedRegisters {
    pub(crate) time: UnixMillis,
    pub(crate) registers: Registers,
    pub(crate) rates: Rates,
    pub(crate) clients: [LastClient; KEYED.len()],
    /// Which keys those clients used ([`State::key_generations`]).
    pub(crate) key_generations: [u8; KEYED.len()],
}

impl SavedRegisters {
    pub(crate) const BYTES: usize =
        1 + 8 + KEYED.len() * (LastClient::BYTES + 1) + Registers::ENCODED_LEN + Rates::BYTES;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut record = [0; Self::BYTES];
        let mut put = Put::new(&mut record);
        put.u8(ROLES_VERSION).i64(self.time.0);
        self.clients.iter().for_each(|client| client.put(&mut put));
        put.bytes(&self.key_generations).bytes(&self.registers.encode());
        self.rates.put(&mut put);
        record
    }

    /// `None` for another version or length.
    pub(crate) fn decode(record: &[u8]) -> Option<Result<Self, meterseal_metrology::DecodeError>> {
        let mut fields = Cursor::new(record);
        let roles = roles_of(fields.u8()?)?;
        let time = UnixMillis(fields.i64()?);
        let clients = LastClient::get_each(&mut fields, roles)?;
        let key_generations = if roles == KEYED.len() { fields.array()? } else { [0; KEYED.len()] };
        let registers = Registers::decode(fields.bytes(Registers::ENCODED_LEN)?);
        Some(registers.map(|registers| {
            // A record from before there were rates: all was rate 1.
            let rates = Rates::get(&mut fields).unwrap_or_else(|| Rates::of_one(&registers));
            Self { time, registers, rates, clients, key_generations }
        }))
    }
}

/// How many roles a record of this version knows; `None` for a version that this software does not read.
const fn roles_of(version: u8) -> Option<usize> {
    match version {
        VERSION => Some(2),
        ROLES_VERSION => Some(KEYED.len()),
        _ => None,
    }
}

/// The last client of a role: whose invocation counters were accepted up to where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastClient {
    pub(crate) title: [u8; 8],
    /// The highest counter accepted, 0 before the first.
    pub(crate) highest: u32,
}

impl LastClient {
    const BYTES: usize = 12;

    fn put(&self, put: &mut Put<'_>) {
        put.bytes(&self.title).u32(self.highest);
    }

    fn get(fields: &mut Cursor<'_>) -> Option<Self> {
        Some(Self { title: fields.array()?, highest: fields.u32()? })
    }

    /// As many as a record holds; the roles beyond have had no client.
    fn get_each(fields: &mut Cursor<'_>, roles: usize) -> Option<[Self; KEYED.len()]> {
        let mut clients = [Self::default(); KEYED.len()];
        for client in clients.iter_mut().take(roles) {
            *client = Self::get(fields)?;
        }
        Some(clients)
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
    /// Each role's key: no invocation counter above this has been used.
    pub(crate) reserved_counters: [u32; KEYED.len()],
    /// Which of each role's keys the counters belong to: 0 the first, then one more with each key transferred.
    pub(crate) key_generations: [u8; KEYED.len()],
    /// Each role's last client.
    pub(crate) clients: [LastClient; KEYED.len()],
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
    const BYTES: usize = 1 + KEYED.len() * (4 + LastClient::BYTES + 1) + 4 + 4 + 8 + 1 + 4 + 4 + 4;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut record = [0; Self::BYTES];
        let mut put = Put::new(&mut record);
        put.u8(ROLES_VERSION);
        self.reserved_counters.iter().for_each(|&counter| {
            put.u32(counter);
        });
        self.clients.iter().for_each(|client| client.put(&mut put));
        put.u32(self.committed_log).u32(self.committed_profile).i64(self.clock_offset_ms);
        // The first three are kept here for meters that know no more; the tamper record has all.
        put.u8((self.latches.0 & 7) as u8 | u8::from(self.nearly_full) << 3);
        put.u32(self.latched_up_to).u32(self.alarms).u32(self.not_logged);
        put.bytes(&self.key_generations);
        record
    }

    /// `None` for another version or length.
    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(record);
        let roles = roles_of(fields.u8()?)?;
        let mut reserved_counters = [0; KEYED.len()];
        for counter in reserved_counters.iter_mut().take(roles) {
            *counter = fields.u32()?;
        }
        let mut state = Self {
            reserved_counters,
            clients: LastClient::get_each(&mut fields, roles)?,
            committed_log: fields.u32()?,
            committed_profile: fields.u32()?,
            clock_offset_ms: fields.i64()?,
            ..Self::default()
        };
        let bits = fields.u8()?;
        state.latches = Latches(u32::from(bits & 7));
        state.nearly_full = bits & 8 != 0;
        state.latched_up_to = fields.u32()?;
        state.alarms = fields.u32()?;
        state.not_logged = fields.u32()?;
        if roles == KEYED.len() {
            state.key_generations = fields.array()?;
        }
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
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn records_come_back_as_they_were() {
        let state = State {
            reserved_counters: [1, 2, 20, 21, 22],
            key_generations: [23, 24, 25, 26, 27],
            clients: [1, 2, 3, 4, 5].map(|k| LastClient { title: [k; 8], highest: k.into() }),
            committed_log: 4,
            committed_profile: 5,
            clock_offset_ms: -6,
            latches: Latches(0b101),
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
        let saved = SavedRegisters {
            time: UnixMillis(22),
            clients: state.clients,
            key_generations: [1; 5],
            ..SavedRegisters::default()
        };
        assert_eq!(SavedRegisters::decode(&saved.encode()), Some(Ok(saved)));
    }

    #[test]
    fn another_version_or_a_short_record_is_not_read() {
        let mut record = State::default().encode();
        assert_eq!(State::decode(&record[..record.len() - 1]), None);
        record[0] = 3;
        assert_eq!(State::decode(&record), None);
    }

    #[test]
    fn records_of_version_1_are_read_and_the_new_roles_have_used_nothing() {
        // As the first release wrote them, field by field.
        let mut state = vec![1];
        state.extend([77u32, 88].map(u32::to_le_bytes).concat());
        let clients = [
            [b"MSH\0\0\0\0\x01", b"MSH\0\0\0\0\x02"].map(|title| title.to_vec()),
            [5u32.to_le_bytes().to_vec(), 6u32.to_le_bytes().to_vec()],
        ];
        let both: Vec<u8> =
            (0..2).flat_map(|k| [clients[0][k].clone(), clients[1][k].clone()].concat()).collect();
        state.extend(&both);
        state.extend([4u32, 5].map(u32::to_le_bytes).concat());
        state.extend((-6i64).to_le_bytes());
        state.push(0b1101);
        state.extend([7u32, 8, 9].map(u32::to_le_bytes).concat());
        let state = State::decode(&state).unwrap();
        assert_eq!(state.reserved_counters, [77, 88, 0, 0, 0]);
        assert_eq!(state.clients[1], LastClient { title: *b"MSH\0\0\0\0\x02", highest: 6 });
        assert_eq!(state.clients[2..], [LastClient::default(); 3]);
        assert_eq!((state.committed_log, state.committed_profile, state.clock_offset_ms), (4, 5, -6));
        assert_eq!((state.latched_up_to, state.alarms, state.not_logged), (7, 8, 9));
        assert_eq!(state.key_generations, [0; 5]);

        let mut saved = vec![1];
        saved.extend(22i64.to_le_bytes());
        saved.extend(&both);
        saved.extend(Registers::default().encode());
        let saved = SavedRegisters::decode(&saved).unwrap().unwrap();
        assert_eq!(saved.time, UnixMillis(22));
        assert_eq!(saved.clients[0].highest, 5);
    }
}
