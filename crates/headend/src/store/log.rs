//! Security-log entries, load-profile rows and alarms, in SQL.

use meterseal_model::{MeterId, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::worker::Failure;
use super::{
    AlarmChange, AlarmChoice, Committed, ProfileRow, SecurityEvent, StoredBatch, StoredEvent,
    StoredProfileRow, StoredRows, Who, alarms, live, meters, signed,
};

pub(super) fn insert_events(
    sql: &Connection,
    meter: MeterId,
    events: &[SecurityEvent],
    received_at: UnixMillis,
    complete_to: Option<u64>,
) -> Result<(StoredBatch, Committed), Failure> {
    let id = meter.to_string();
    let mut batch = StoredBatch::default();
    let mut insert = sql.prepare_cached(
        "INSERT INTO event (meter, sequence, code, at_ms, uptime_ms, extreme_micro, received_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (meter, sequence) DO NOTHING RETURNING id",
    )?;
    let mut raise =
        sql.prepare_cached("INSERT INTO alarm (meter, sequence, raised_ms) VALUES (?1, ?2, ?3)")?;
    let mut in_order: Vec<&SecurityEvent> = events.iter().collect();
    in_order.sort_by_key(|event| event.sequence);
    for event in in_order {
        let sequence = signed(event.sequence, "a sequence number")?;
        let uptime = signed(event.uptime_milliseconds, "an uptime")?;
        let stored: Option<i64> = insert
            .query_row(
                params![
                    id,
                    sequence,
                    event.code,
                    event.at.0,
                    uptime,
                    event.extreme_micro_units,
                    received_at.0
                ],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(stored) = stored {
            if event.raises_alarm() {
                raise.execute(params![id, sequence, received_at.0])?;
            }
            batch.alarms.extend(alarms::take_event(sql, meter, event, received_at)?);
            batch.new.push(StoredEvent {
                id: super::unsigned(stored, "an event's number")?,
                meter,
                event: *event,
                received_at,
                acknowledged: None,
            });
        } else if find(sql, meter, event.sequence)?.is_none_or(|before| before.event != *event) {
            batch.contradicted.push(event.sequence);
        }
    }
    let mut committed = meters::committed(sql, meter)?;
    committed.security_log =
        advance(committed.security_log, events.iter().map(|event| event.sequence), complete_to);
    meters::set_committed(sql, meter, committed)?;
    Ok((batch, committed))
}

pub(super) fn insert_profile(
    sql: &Connection,
    meter: MeterId,
    rows: &[ProfileRow],
    received_at: UnixMillis,
    complete_to: Option<u64>,
) -> Result<(StoredRows, Committed), Failure> {
    let id = meter.to_string();
    let mut batch = StoredRows::default();
    let mut insert = sql.prepare_cached(
        "INSERT INTO load_profile VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (meter, sequence) DO NOTHING",
    )?;
    for row in rows {
        let inserted = insert.execute(params![
            id,
            signed(row.sequence, "a sequence number")?,
            row.at.0,
            row.energies.active_import_microwatt_hours,
            row.energies.active_export_microwatt_hours,
            row.energies.reactive_import_microvar_hours,
            row.energies.reactive_export_microvar_hours,
            row.mean_voltage_millivolts[0],
            row.mean_voltage_millivolts[1],
            row.mean_voltage_millivolts[2],
            row.status,
            received_at.0,
        ])?;
        batch.new += inserted;
        if inserted == 0 && find_row(sql, meter, row.sequence)?.is_none_or(|before| before.row != *row) {
            batch.contradicted.push(row.sequence);
        }
    }
    let mut committed = meters::committed(sql, meter)?;
    committed.load_profile =
        advance(committed.load_profile, rows.iter().map(|row| row.sequence), complete_to);
    meters::set_committed(sql, meter, committed)?;
    Ok((batch, committed))
}

/// The commit mark after a batch: never beyond a hole, unless the meter was asked for everything up to there and
/// what is missing no longer exists.
fn advance(committed: u64, sequences: impl Iterator<Item = u64>, complete_to: Option<u64>) -> u64 {
    let committed = committed.max(complete_to.unwrap_or(0));
    let mut sorted: Vec<u64> = sequences.filter(|&sequence| sequence > committed).collect();
    sorted.sort_unstable();
    sorted.into_iter().fold(committed, |mark, sequence| if sequence == mark + 1 { sequence } else { mark })
}

const EVENT: &str = "SELECT event.id, event.meter, event.sequence, code, at_ms, uptime_ms, extreme_micro,
    received_ms, acknowledged_by, acknowledged_ms
    FROM event LEFT JOIN alarm ON alarm.meter = event.meter AND alarm.sequence = event.sequence";

pub(super) fn events(
    sql: &Connection,
    meter: Option<MeterId>,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<StoredEvent>, Failure> {
    let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let rows = match meter {
        Some(meter) => sql
            .prepare_cached(&format!(
                "{EVENT} WHERE event.meter = ?1 AND event.id < ?2 ORDER BY event.id DESC LIMIT ?3"
            ))?
            .query_map(params![meter.to_string(), before, limit], stored_event)?
            .collect::<Result<Vec<_>, _>>()?,
        None => sql
            .prepare_cached(&format!("{EVENT} WHERE event.id < ?1 ORDER BY event.id DESC LIMIT ?2"))?
            .query_map(params![before, limit], stored_event)?
            .collect::<Result<Vec<_>, _>>()?,
    };
    Ok(rows)
}

/// The newest events of a meter with one number.
pub(super) fn events_with_code(
    sql: &Connection,
    meter: MeterId,
    code: u8,
    limit: u32,
) -> Result<Vec<StoredEvent>, Failure> {
    Ok(sql
        .prepare_cached(&format!(
            "{EVENT} WHERE event.meter = ?1 AND code = ?2 ORDER BY event.id DESC LIMIT ?3"
        ))?
        .query_map(params![meter.to_string(), code, limit], stored_event)?
        .collect::<Result<Vec<_>, _>>()?)
}

/// Every event that there is, in the order in which they were stored.
pub(super) fn oldest_first(sql: &Connection) -> Result<Vec<StoredEvent>, Failure> {
    Ok(sql
        .prepare(&format!("{EVENT} ORDER BY event.id"))?
        .query_map([], stored_event)?
        .collect::<Result<Vec<_>, _>>()?)
}

pub(super) fn find(sql: &Connection, meter: MeterId, sequence: u64) -> Result<Option<StoredEvent>, Failure> {
    Ok(sql
        .prepare_cached(&format!("{EVENT} WHERE event.meter = ?1 AND event.sequence = ?2"))?
        .query_row(params![meter.to_string(), signed(sequence, "a sequence number")?], stored_event)
        .optional()?)
}

/// Acknowledges the alarm that an event raised, and all that the same cause raised on its meter.
pub(super) fn acknowledge(
    sql: &Connection,
    meter: MeterId,
    sequence: u64,
    who: &Who,
    at: UnixMillis,
) -> Result<Option<(StoredEvent, Vec<AlarmChange>)>, Failure> {
    // A sequence number beyond 63 bits is in no log.
    let before = if i64::try_from(sequence).is_ok() { find(sql, meter, sequence)? } else { None };
    let Some(before) = before else { return Ok(None) };
    let choice = AlarmChoice::Event(meter, before.event.code);
    let unnoticed = before.event.raises_alarm() && before.acknowledged.is_none();
    let changes = if unnoticed { alarms::acknowledge(sql, &choice, who, at)? } else { Vec::new() };
    Ok(find(sql, meter, sequence)?.map(|event| (event, changes)))
}

pub(super) fn profile(
    sql: &Connection,
    meter: MeterId,
    from: Option<UnixMillis>,
    to: Option<UnixMillis>,
    limit: u32,
) -> Result<Vec<StoredProfileRow>, Failure> {
    let mut statement = sql.prepare_cached(&format!(
        "{ROW} WHERE meter = ?1 AND at_ms BETWEEN ?2 AND ?3 ORDER BY sequence DESC LIMIT ?4"
    ))?;
    let from = from.map_or(i64::MIN, |time| time.0);
    let to = to.map_or(i64::MAX, |time| time.0);
    let mut rows = statement
        .query_map(params![meter.to_string(), from, to, limit], stored_row)?
        .collect::<Result<Vec<_>, _>>()?;
    rows.reverse();
    Ok(rows)
}

const ROW: &str = "SELECT sequence, at_ms, active_import_micro, active_export_micro, reactive_import_micro,
    reactive_export_micro, mean_millivolts_1, mean_millivolts_2, mean_millivolts_3, status, received_ms
    FROM load_profile";

pub(super) fn find_row(
    sql: &Connection,
    meter: MeterId,
    sequence: u64,
) -> Result<Option<StoredProfileRow>, Failure> {
    Ok(sql
        .prepare_cached(&format!("{ROW} WHERE meter = ?1 AND sequence = ?2"))?
        .query_row(params![meter.to_string(), signed(sequence, "a sequence number")?], stored_row)
        .optional()?)
}

fn stored_row(row: &Row<'_>) -> rusqlite::Result<StoredProfileRow> {
    Ok(StoredProfileRow {
        row: ProfileRow {
            sequence: sequence(row, 0)?,
            at: UnixMillis(row.get(1)?),
            energies: live::energies(row, 2)?,
            mean_voltage_millivolts: [row.get(6)?, row.get(7)?, row.get(8)?],
            status: row.get(9)?,
        },
        received_at: UnixMillis(row.get(10)?),
    })
}

fn stored_event(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    let meter: String = row.get(1)?;
    let meter = meter.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
    })?;
    let acknowledged = match (row.get(8)?, row.get(9)?) {
        (Some(by), Some(at)) => Some((by, UnixMillis(at))),
        _ => None,
    };
    Ok(StoredEvent {
        id: sequence(row, 0)?,
        meter,
        event: SecurityEvent {
            sequence: sequence(row, 2)?,
            code: row.get(3)?,
            at: UnixMillis(row.get(4)?),
            uptime_milliseconds: sequence(row, 5)?,
            extreme_micro_units: row.get(6)?,
        },
        received_at: UnixMillis(row.get(7)?),
        acknowledged,
    })
}

fn sequence(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
