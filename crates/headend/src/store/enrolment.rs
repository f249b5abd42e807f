//! Which certificate each meter uses, and how its enrolment stands, in SQL.

use meterseal_model::{MeterId, UnixMillis};
use rusqlite::{Connection, Row, params};

use super::worker::Failure;
use super::{EnrolmentRecord, EnrolmentState};

const COLUMNS: &str = "meter, state, since_ms, reason, serial, not_before_ms, not_after_ms, issued_serial";

pub(super) fn all(sql: &Connection) -> Result<Vec<EnrolmentRecord>, Failure> {
    // A database of an earlier version, opened to be read only, has no such table.
    let there: i64 =
        sql.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'enrolment'", [], |row| row.get(0))?;
    if there == 0 {
        return Ok(Vec::new());
    }
    let mut statement = sql.prepare_cached(&format!("SELECT {COLUMNS} FROM enrolment ORDER BY meter"))?;
    let rows = statement.query_map([], |row| Ok(record(row)))?;
    rows.map(|row| row?).collect()
}

fn record(row: &Row<'_>) -> Result<EnrolmentRecord, Failure> {
    let meter: String = row.get(0)?;
    let state: String = row.get(1)?;
    Ok(EnrolmentRecord {
        meter: meter.parse().map_err(|_| Failure::Value("a meter's identifier"))?,
        state: EnrolmentState::from_name(&state).ok_or(Failure::Value("a state of enrolment"))?,
        since: UnixMillis(row.get(2)?),
        reason: row.get(3)?,
        serial: row.get(4)?,
        not_before: row.get::<_, Option<i64>>(5)?.map(UnixMillis),
        not_after: row.get::<_, Option<i64>>(6)?.map(UnixMillis),
        issued_serial: row.get(7)?,
    })
}

pub(super) fn put(sql: &Connection, record: &EnrolmentRecord) -> Result<(), Failure> {
    sql.prepare_cached(&format!(
        "INSERT INTO enrolment ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (meter) DO UPDATE SET state = ?2, since_ms = ?3, reason = ?4, serial = ?5,
             not_before_ms = ?6, not_after_ms = ?7, issued_serial = ?8"
    ))?
    .execute(params![
        record.meter.to_string(),
        record.state.name(),
        record.since.0,
        record.reason,
        record.serial,
        record.not_before.map(|at| at.0),
        record.not_after.map(|at| at.0),
        record.issued_serial,
    ])?;
    Ok(())
}

/// A meter has new keys: its counters begin anew.
pub(super) fn restart_peer_counters(sql: &Connection, meter: MeterId) -> Result<(), Failure> {
    sql.prepare_cached("UPDATE meter SET response_counter = 0, push_counter = 0 WHERE id = ?1")?
        .execute([meter.to_string()])?;
    Ok(())
}
