//! Rows of other makers' load profiles, in SQL.

use meterseal_model::{MeterId, Obis, UnixMillis};
use rusqlite::{Connection, params};

use super::worker::Failure;
use super::{OTHER_PROFILE_KEPT_MILLISECONDS, OtherCell};

pub(super) fn insert(
    sql: &Connection,
    meter: MeterId,
    cells: &[OtherCell],
    received_at: UnixMillis,
) -> Result<(), Failure> {
    let id = meter.to_string();
    let mut insert = sql.prepare_cached(
        "INSERT INTO other_profile VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
    )?;
    for cell in cells {
        insert.execute(params![
            id,
            cell.at.0,
            cell.obis.to_string(),
            cell.value,
            cell.scaler,
            cell.unit,
            received_at.0
        ])?;
    }
    let oldest = received_at.0.saturating_sub(OTHER_PROFILE_KEPT_MILLISECONDS);
    sql.prepare_cached("DELETE FROM other_profile WHERE meter = ?1 AND at_ms < ?2")?
        .execute(params![id, oldest])?;
    Ok(())
}

pub(super) fn newest(sql: &Connection, meter: MeterId) -> Result<Option<UnixMillis>, Failure> {
    let newest: Option<i64> = sql
        .prepare_cached("SELECT max(at_ms) FROM other_profile WHERE meter = ?1")?
        .query_row([meter.to_string()], |row| row.get(0))?;
    Ok(newest.map(UnixMillis))
}

pub(super) fn rows(sql: &Connection, meter: MeterId, limit: u32) -> Result<Vec<OtherCell>, Failure> {
    let mut statement = sql.prepare_cached(
        "SELECT at_ms, obis, value, scaler, unit FROM other_profile WHERE meter = ?1 AND at_ms >= (
            SELECT min(at_ms) FROM
                (SELECT DISTINCT at_ms FROM other_profile WHERE meter = ?1 ORDER BY at_ms DESC LIMIT ?2))
         ORDER BY at_ms, obis",
    )?;
    let rows = statement.query_map(params![meter.to_string(), limit], |row| {
        let obis: String = row.get(1)?;
        Ok((UnixMillis(row.get(0)?), obis, row.get(2)?, row.get(3)?, row.get(4)?))
    })?;
    rows.map(|row| {
        let (at, obis, value, scaler, unit) = row?;
        let obis: Obis = obis.parse().map_err(|_| Failure::Value("a logical name"))?;
        Ok(OtherCell { at, obis, value, scaler, unit })
    })
    .collect()
}
