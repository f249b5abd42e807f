//! When meters were in quarantine, in SQL: since when by the head-end's clock, and what of the meter's own records falls
//! under it, by the meter's clock.

use meterseal_model::{MeterId, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::record::Quarantine;
use super::worker::Failure;

/// A meter has at most one period without an end.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY,
    meter TEXT NOT NULL REFERENCES meter (id),
    since_ms INTEGER NOT NULL,
    until_ms INTEGER,
    after_ms INTEGER NOT NULL,
    upto_ms INTEGER,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS quarantine_of ON quarantine (meter, since_ms);
CREATE UNIQUE INDEX IF NOT EXISTS quarantine_open ON quarantine (meter) WHERE until_ms IS NULL;
";

/// Puts a meter into quarantine, or notes another reason for the one that it is in. Everything that it recorded after
/// the newest row that is stored falls under it: nobody knows since when its firmware is what it is.
pub(super) fn begin(
    sql: &Connection,
    meter: MeterId,
    since: UnixMillis,
    reason: &str,
) -> Result<Quarantine, Failure> {
    let id = meter.to_string();
    let changed = sql
        .prepare_cached("UPDATE quarantine SET reason = ?2 WHERE meter = ?1 AND until_ms IS NULL")?
        .execute(params![id, reason])?;
    if changed == 0 {
        let newest: Option<i64> = sql
            .prepare_cached("SELECT max(at_ms) FROM load_profile WHERE meter = ?1")?
            .query_row([&id], |row| row.get(0))?;
        sql.prepare_cached(
            "INSERT INTO quarantine (meter, since_ms, after_ms, reason) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![id, since.0, newest.unwrap_or(i64::MIN), reason])?;
    }
    sql.prepare_cached(&format!("{SELECT} WHERE meter = ?1 AND until_ms IS NULL"))?
        .query_row([&id], quarantine)
        .map_err(Failure::from)
}

/// Ends a meter's quarantine: what it recorded up to the later of `meter_time` and its newest stored row stays under it.
/// `None`: it was in none.
pub(super) fn end(
    sql: &Connection,
    meter: MeterId,
    until: UnixMillis,
    meter_time: Option<UnixMillis>,
) -> Result<Option<Quarantine>, Failure> {
    let changed = sql
        .prepare_cached(
            "UPDATE quarantine SET until_ms = ?2, upto_ms = max(
                 coalesce(?3, after_ms), after_ms,
                 coalesce((SELECT max(at_ms) FROM load_profile WHERE meter = ?1), after_ms))
             WHERE meter = ?1 AND until_ms IS NULL",
        )?
        .execute(params![meter.to_string(), until.0, meter_time.map(|at| at.0)])?;
    if changed == 0 {
        return Ok(None);
    }
    let newest = format!("{SELECT} WHERE meter = ?1 ORDER BY id DESC LIMIT 1");
    Ok(Some(sql.prepare_cached(&newest)?.query_row([meter.to_string()], quarantine)?))
}

/// A meter's periods, oldest first. A database of an older program has none.
pub(super) fn of(sql: &Connection, meter: MeterId) -> Result<Vec<Quarantine>, Failure> {
    let table = sql
        .prepare_cached("SELECT 1 FROM sqlite_master WHERE name = 'quarantine'")?
        .query_row([], |_| Ok(()))
        .optional()?;
    if table.is_none() {
        return Ok(Vec::new());
    }
    let mut statement = sql.prepare_cached(&format!("{SELECT} WHERE meter = ?1 ORDER BY id"))?;
    let periods = statement.query_map([meter.to_string()], quarantine)?.collect::<Result<_, _>>()?;
    Ok(periods)
}

const SELECT: &str = "SELECT since_ms, until_ms, after_ms, upto_ms, reason FROM quarantine";

fn quarantine(row: &Row<'_>) -> rusqlite::Result<Quarantine> {
    Ok(Quarantine {
        since: UnixMillis(row.get(0)?),
        until: row.get::<_, Option<i64>>(1)?.map(UnixMillis),
        after: UnixMillis(row.get(2)?),
        upto: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
        reason: row.get(4)?,
    })
}
