//! Live readings in SQL: one a second, kept for two hours, averaged for charts by the database.

use meterseal_model::{MeterId, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::worker::Failure;
use super::{Energies, LIVE_KEPT_MILLISECONDS, LIVE_KEPT_ROWS, LiveReading, SeriesPoint, meters};

pub(super) fn insert(sql: &Connection, meter: MeterId, reading: &LiveReading) -> Result<(), Failure> {
    let id = meter.to_string();
    meters::seen(sql, meter, reading.received_at)?;
    // A clock that was set back would leave readings in the future, and "the last hour" would miss the present.
    // The same statement forgets what is too old.
    sql.prepare_cached("DELETE FROM live_reading WHERE meter = ?1 AND (at_ms >= ?2 OR at_ms < ?3)")?
        .execute(params![id, reading.at.0, reading.at.0.saturating_sub(LIVE_KEPT_MILLISECONDS)])?;
    sql.prepare_cached(
        "INSERT INTO live_reading VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
         ?16, ?17, ?18, ?19, ?20)",
    )?
    .execute(params![
        id,
        reading.at.0,
        reading.received_at.0,
        reading.frequency_hz,
        reading.voltage_v[0],
        reading.voltage_v[1],
        reading.voltage_v[2],
        reading.current_a[0],
        reading.current_a[1],
        reading.current_a[2],
        reading.power_w[0],
        reading.power_w[1],
        reading.power_w[2],
        reading.total_power_w,
        reading.total_reactive_power_var,
        reading.power_factor,
        reading.energies.active_import_microwatt_hours,
        reading.energies.active_export_microwatt_hours,
        reading.energies.reactive_import_microvar_hours,
        reading.energies.reactive_export_microvar_hours,
    ])?;
    // A slow clock must not let the table grow without end. Counting is cheap: it walks a few thousand keys, and
    // only once in a while.
    if reading.at.seconds() % 64 == 0 {
        sql.prepare_cached(
            "DELETE FROM live_reading WHERE meter = ?1 AND at_ms <
             (SELECT at_ms FROM live_reading WHERE meter = ?1 ORDER BY at_ms DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![id, LIVE_KEPT_ROWS])?;
    }
    Ok(())
}

const COLUMNS: &str = "at_ms, received_ms, frequency, v1, v2, v3, a1, a2, a3, p1, p2, p3, p, q, power_factor,
    active_import_micro, active_export_micro, reactive_import_micro, reactive_export_micro";

pub(super) fn newest(sql: &Connection, meter: MeterId) -> Result<Option<LiveReading>, Failure> {
    Ok(sql
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM live_reading WHERE meter = ?1 ORDER BY at_ms DESC LIMIT 1"
        ))?
        .query_row([meter.to_string()], reading)
        .optional()?)
}

pub(super) fn series(
    sql: &Connection,
    meter: MeterId,
    minutes: u32,
    points: u32,
) -> Result<(u32, Vec<SeriesPoint>), Failure> {
    let seconds = minutes.max(1).saturating_mul(60);
    // One more than fits, because the first and the last step may both be cut.
    let step = seconds.div_ceil(points.max(2) - 1).max(1);
    let newest: Option<i64> = sql
        .prepare_cached("SELECT max(at_ms) FROM live_reading WHERE meter = ?1")?
        .query_row([meter.to_string()], |row| row.get(0))?;
    let Some(newest) = newest else { return Ok((step, Vec::new())) };
    let from = newest.saturating_sub(i64::from(seconds) * 1000);
    let mut statement = sql.prepare_cached(
        "SELECT min(at_ms) / (?3 * 1000) * ?3 * 1000, max(received_ms), avg(frequency), avg(v1), avg(v2), avg(v3),
                avg(a1), avg(a2), avg(a3), avg(p1), avg(p2), avg(p3), avg(p), avg(q), avg(power_factor),
                max(active_import_micro), max(active_export_micro), max(reactive_import_micro),
                max(reactive_export_micro)
         FROM live_reading WHERE meter = ?1 AND at_ms > ?2 GROUP BY at_ms / (?3 * 1000) ORDER BY 1",
    )?;
    let rows = statement.query_map(params![meter.to_string(), from, step], reading)?;
    let series = rows
        .map(|row| row.map(|mean| SeriesPoint { at_seconds: mean.at.seconds(), mean }))
        .collect::<Result<_, _>>()?;
    Ok((step, series))
}

fn reading(row: &Row<'_>) -> rusqlite::Result<LiveReading> {
    Ok(LiveReading {
        at: UnixMillis(row.get(0)?),
        received_at: UnixMillis(row.get(1)?),
        frequency_hz: row.get(2)?,
        voltage_v: [row.get(3)?, row.get(4)?, row.get(5)?],
        current_a: [row.get(6)?, row.get(7)?, row.get(8)?],
        power_w: [row.get(9)?, row.get(10)?, row.get(11)?],
        total_power_w: row.get(12)?,
        total_reactive_power_var: row.get(13)?,
        power_factor: row.get(14)?,
        energies: energies(row, 15)?,
    })
}

/// Four columns that begin at `first`.
pub(super) fn energies(row: &Row<'_>, first: usize) -> rusqlite::Result<Energies> {
    Ok(Energies {
        active_import_microwatt_hours: row.get(first)?,
        active_export_microwatt_hours: row.get(first + 1)?,
        reactive_import_microvar_hours: row.get(first + 2)?,
        reactive_export_microvar_hours: row.get(first + 3)?,
    })
}
