//! Meters, their states and their counters, in SQL.

use meterseal_model::{Digest384, MeterId, TimeBase, UnixMillis};
use rusqlite::{Connection, OptionalExtension, params};

use super::worker::Failure;
use super::{
    Committed, ConnectionState, DeviceFacts, MeterHistory, MeterRecord, PeerCounters, StoreError, alarms,
    quarantine, signed, unsigned,
};

pub(super) fn register(sql: &Connection, meter: &MeterRecord) -> Result<MeterHistory, Failure> {
    let time_base = match meter.time_base {
        TimeBase::Wall => "wall",
        TimeBase::Simulated => "simulated",
    };
    sql.prepare_cached(
        "INSERT INTO meter (id, name, site, is_virtual, time_base) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO UPDATE SET name = ?2, site = ?3, is_virtual = ?4, time_base = ?5",
    )?
    .execute(params![meter.id.to_string(), meter.name, meter.site, meter.is_virtual, time_base])?;
    let open_alarms = alarms::open_of(sql, Some(meter.id))?;
    let standing = quarantine::of(sql, meter.id)?.pop().filter(|period| period.until.is_none());
    let mut statement = sql.prepare_cached(
        "SELECT state, since_ms, reason, last_seen_ms, device_type, firmware_version, firmware_digest
         FROM meter WHERE id = ?1",
    )?;
    Ok(statement.query_row([meter.id.to_string()], |row| {
        let digest: Option<[u8; 48]> = row.get(6)?;
        let facts = match (row.get(4)?, row.get(5)?, digest) {
            (Some(device_type), Some(firmware_version), Some(digest)) => {
                Some(DeviceFacts { device_type, firmware_version, firmware_digest: Digest384(digest) })
            }
            _ => None,
        };
        Ok(MeterHistory {
            state: state_from(&row.get::<_, String>(0)?),
            since: row.get::<_, Option<i64>>(1)?.map(UnixMillis),
            reason: row.get(2)?,
            last_seen: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
            facts,
            open_alarms,
            quarantine: standing,
        })
    })?)
}

pub(super) fn set_state(
    sql: &Connection,
    meter: MeterId,
    state: ConnectionState,
    since: UnixMillis,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let name = match state {
        ConnectionState::Never => "never",
        ConnectionState::Online => "online",
        ConnectionState::Offline => "offline",
        ConnectionState::Refused => "refused",
    };
    let changed = sql
        .prepare_cached("UPDATE meter SET state = ?2, since_ms = ?3, reason = ?4 WHERE id = ?1")?
        .execute(params![meter.to_string(), name, since.0, reason])?;
    known(meter, changed)
}

fn state_from(name: &str) -> ConnectionState {
    match name {
        "online" => ConnectionState::Online,
        "offline" => ConnectionState::Offline,
        "refused" => ConnectionState::Refused,
        _ => ConnectionState::Never,
    }
}

pub(super) fn set_facts(sql: &Connection, meter: MeterId, facts: &DeviceFacts) -> Result<(), Failure> {
    let changed = sql
        .prepare_cached(
            "UPDATE meter SET device_type = ?2, firmware_version = ?3, firmware_digest = ?4 WHERE id = ?1",
        )?
        .execute(params![
            meter.to_string(),
            facts.device_type,
            facts.firmware_version,
            facts.firmware_digest.0
        ])?;
    known(meter, changed)
}

pub(super) fn reserve_invocations(sql: &Connection, meter: MeterId, count: u32) -> Result<u32, Failure> {
    let first: Option<i64> = sql
        .prepare_cached("SELECT invocation_ceiling FROM meter WHERE id = ?1")?
        .query_row([meter.to_string()], |row| row.get(0))
        .optional()?;
    let first = first.ok_or(Failure::Store(StoreError::UnknownMeter { meter }))?;
    let used_up = || Failure::Store(StoreError::KeyUsedUp { meter });
    let first = u32::try_from(first).map_err(|_| used_up())?;
    let next = first.checked_add(count).ok_or_else(used_up)?;
    sql.prepare_cached("UPDATE meter SET invocation_ceiling = ?2 WHERE id = ?1")?
        .execute(params![meter.to_string(), next])?;
    Ok(first)
}

pub(super) fn advance_invocations(sql: &Connection, meter: MeterId, next: u32) -> Result<(), Failure> {
    let changed = sql
        .prepare_cached("UPDATE meter SET invocation_ceiling = max(invocation_ceiling, ?2) WHERE id = ?1")?
        .execute(params![meter.to_string(), next])?;
    known(meter, changed)
}

pub(super) fn peer_counters(sql: &Connection, meter: MeterId) -> Result<PeerCounters, Failure> {
    let counters = sql
        .prepare_cached("SELECT response_counter, push_counter FROM meter WHERE id = ?1")?
        .query_row([meter.to_string()], |row| Ok(PeerCounters { response: row.get(0)?, push: row.get(1)? }))
        .optional()?;
    counters.ok_or(Failure::Store(StoreError::UnknownMeter { meter }))
}

pub(super) fn raise_peer_counters(
    sql: &Connection,
    meter: MeterId,
    counters: PeerCounters,
) -> Result<(), Failure> {
    let changed = sql
        .prepare_cached(
            "UPDATE meter SET response_counter = max(response_counter, ?2),
                              push_counter = max(push_counter, ?3) WHERE id = ?1",
        )?
        .execute(params![meter.to_string(), counters.response, counters.push])?;
    known(meter, changed)
}

pub(super) fn committed(sql: &Connection, meter: MeterId) -> Result<Committed, Failure> {
    let row: Option<(i64, i64)> = sql
        .prepare_cached("SELECT committed_security_log, committed_load_profile FROM meter WHERE id = ?1")?
        .query_row([meter.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (security_log, load_profile) = row.ok_or(Failure::Store(StoreError::UnknownMeter { meter }))?;
    Ok(Committed {
        security_log: unsigned(security_log, "a commit mark")?,
        load_profile: unsigned(load_profile, "a commit mark")?,
    })
}

pub(super) fn committed_in_all(sql: &Connection) -> Result<Committed, Failure> {
    let (security_log, load_profile): (i64, i64) = sql
        .prepare_cached(
            "SELECT coalesce(sum(committed_security_log), 0), coalesce(sum(committed_load_profile), 0) FROM meter",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Committed {
        security_log: unsigned(security_log, "a sum of commit marks")?,
        load_profile: unsigned(load_profile, "a sum of commit marks")?,
    })
}

pub(super) fn set_committed(sql: &Connection, meter: MeterId, committed: Committed) -> Result<(), Failure> {
    let changed = sql
        .prepare_cached(
            "UPDATE meter SET committed_security_log = max(committed_security_log, ?2),
                              committed_load_profile = max(committed_load_profile, ?3) WHERE id = ?1",
        )?
        .execute(params![
            meter.to_string(),
            signed(committed.security_log, "a sequence number")?,
            signed(committed.load_profile, "a sequence number")?
        ])?;
    known(meter, changed)
}

/// Remembers that the meter was heard.
pub(super) fn seen(sql: &Connection, meter: MeterId, at: UnixMillis) -> Result<(), Failure> {
    let changed = sql
        .prepare_cached("UPDATE meter SET last_seen_ms = ?2 WHERE id = ?1")?
        .execute(params![meter.to_string(), at.0])?;
    known(meter, changed)
}

fn known(meter: MeterId, changed: usize) -> Result<(), Failure> {
    if changed == 0 { Err(Failure::Store(StoreError::UnknownMeter { meter })) } else { Ok(()) }
}
