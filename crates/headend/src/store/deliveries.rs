//! What has to be delivered to receivers outside: rows that are made in the transaction of the alarm's change and go
//! when the receiver has taken it. What no receiver took in time is a dead letter, and waits for a person.

use meterseal_model::UnixMillis;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::worker::Failure;
use super::{AlarmAct, DeadLetter, Delivery, QueueState, alarms, signed, unsigned};

/// Makes these the receivers from now on. What waited for others is dead.
pub(super) fn set_targets(sql: &Connection, names: &[String], at: UnixMillis) -> Result<(), Failure> {
    sql.execute("DELETE FROM delivery_target", [])?;
    for name in names {
        sql.execute("INSERT OR IGNORE INTO delivery_target (name) VALUES (?1)", [name])?;
    }
    sql.execute(
        "UPDATE delivery SET dead_ms = ?1, error = 'this receiver is no longer configured'
         WHERE dead_ms IS NULL AND target NOT IN (SELECT name FROM delivery_target)",
        [at.0],
    )?;
    Ok(())
}

/// What is due for a receiver, the oldest first.
pub(super) fn due(
    sql: &Connection,
    target: &str,
    now: UnixMillis,
    limit: u32,
) -> Result<Vec<Delivery>, Failure> {
    let mut statement = sql.prepare_cached(&format!(
        "{DELIVERY} WHERE target = ?1 AND dead_ms IS NULL AND due_ms <= ?2 ORDER BY delivery.id LIMIT ?3"
    ))?;
    Ok(statement.query_map(params![target, now.0, limit], delivery)?.collect::<Result<_, _>>()?)
}

/// When the next one is due.
pub(super) fn next_due(sql: &Connection, target: &str) -> Result<Option<UnixMillis>, Failure> {
    let next: Option<i64> = sql
        .prepare_cached("SELECT min(due_ms) FROM delivery WHERE target = ?1 AND dead_ms IS NULL")?
        .query_row([target], |row| row.get(0))?;
    Ok(next.map(UnixMillis))
}

/// Forgets what was delivered.
pub(super) fn delivered(sql: &Connection, ids: &[u64]) -> Result<(), Failure> {
    let mut delete = sql.prepare_cached("DELETE FROM delivery WHERE id = ?1")?;
    for &id in ids {
        delete.execute([signed(id, "a delivery's number")?])?;
    }
    Ok(())
}

/// Remembers that an attempt failed: the next is due then, or, without a time, there is none.
pub(super) fn failed(
    sql: &Connection,
    id: u64,
    error: &str,
    next: Option<UnixMillis>,
    at: UnixMillis,
) -> Result<(), Failure> {
    sql.prepare_cached(
        "UPDATE delivery SET attempts = attempts + 1, error = ?2, due_ms = coalesce(?3, due_ms),
                             dead_ms = CASE WHEN ?3 IS NULL THEN ?4 END
         WHERE id = ?1 AND dead_ms IS NULL",
    )?
    .execute(params![signed(id, "a delivery's number")?, error, next.map(|next| next.0), at.0])?;
    Ok(())
}

/// Whether either list is longer than it may be. Both walk an index no further than that.
pub(super) fn over(sql: &Connection, target: &str, waiting: u32, dead: u32) -> Result<bool, Failure> {
    Ok(sql
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM delivery WHERE target = ?1 AND dead_ms IS NULL LIMIT 1 OFFSET ?2)
                 OR EXISTS (SELECT 1 FROM delivery WHERE target = ?1 AND dead_ms IS NOT NULL LIMIT 1 OFFSET ?3)",
        )?
        .query_row(params![target, waiting, dead], |row| row.get(0))?)
}

/// Keeps both lists of a receiver bounded: what waits longest beyond `waiting` is dead, the oldest dead beyond `dead` go.
/// Tells how many of each. The alarms' own history keeps what happened.
pub(super) fn bound(
    sql: &Connection,
    target: &str,
    waiting: u32,
    dead: u32,
    at: UnixMillis,
) -> Result<(usize, usize), Failure> {
    let gave_up = sql
        .prepare_cached(
            "UPDATE delivery SET dead_ms = ?3, error = 'too many waited for this receiver'
             WHERE id IN (SELECT id FROM delivery WHERE target = ?1 AND dead_ms IS NULL ORDER BY id DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute(params![target, waiting, at.0])?;
    let forgotten = sql
        .prepare_cached(
            "DELETE FROM delivery WHERE id IN
             (SELECT id FROM delivery WHERE target = ?1 AND dead_ms IS NOT NULL ORDER BY id DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute(params![target, dead])?;
    Ok((gave_up, forgotten))
}

/// How each receiver's queue stands.
pub(super) fn queues(sql: &Connection) -> Result<Vec<QueueState>, Failure> {
    let mut statement = sql.prepare_cached(
        "SELECT name, sum(delivery.id IS NOT NULL AND dead_ms IS NULL), sum(dead_ms IS NOT NULL),
                min(CASE WHEN dead_ms IS NULL THEN made_ms END),
                (SELECT error FROM delivery AS failing WHERE failing.target = name AND failing.dead_ms IS NULL
                 AND failing.attempts > 0 ORDER BY failing.id LIMIT 1)
         FROM (SELECT name FROM delivery_target UNION SELECT DISTINCT target FROM delivery WHERE dead_ms IS NOT NULL)
              LEFT JOIN delivery ON delivery.target = name
         GROUP BY name ORDER BY name",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(QueueState {
            target: row.get(0)?,
            waiting: row.get::<_, i64>(1)?.unsigned_abs(),
            dead: row.get::<_, i64>(2)?.unsigned_abs(),
            oldest_waiting: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
            last_error: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Dead letters, the newest first; with `before`, those with a lower number.
pub(super) fn dead(sql: &Connection, before: Option<u64>, limit: u32) -> Result<Vec<DeadLetter>, Failure> {
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let mut statement = sql.prepare_cached(&format!(
        "{DELIVERY} WHERE dead_ms IS NOT NULL AND delivery.id < ?1 ORDER BY delivery.id DESC LIMIT ?2"
    ))?;
    let letter = |row: &Row<'_>| {
        Ok(DeadLetter {
            delivery: delivery(row)?,
            target: row.get(15)?,
            error: row.get(16)?,
            dead: UnixMillis(row.get(17)?),
        })
    };
    Ok(statement.query_map(params![before, limit], letter)?.collect::<Result<_, _>>()?)
}

/// Lets dead letters (one, or all) be delivered again, to receivers that are still configured. Tells how many.
pub(super) fn redeliver(sql: &Connection, id: Option<u64>, now: UnixMillis) -> Result<usize, Failure> {
    Ok(sql
        .prepare_cached(
            "UPDATE delivery SET dead_ms = NULL, attempts = 0, due_ms = ?2, made_ms = ?2
             WHERE dead_ms IS NOT NULL AND (?1 IS NULL OR id = ?1)
               AND target IN (SELECT name FROM delivery_target)",
        )?
        .execute(params![id.map(|id| signed(id, "a delivery's number")).transpose()?, now.0])?)
}

/// Throws dead letters (one, or all) away. Tells how many.
pub(super) fn discard(sql: &Connection, id: Option<u64>) -> Result<usize, Failure> {
    Ok(sql
        .prepare_cached("DELETE FROM delivery WHERE dead_ms IS NOT NULL AND (?1 IS NULL OR id = ?1)")?
        .execute([id.map(|id| signed(id, "a delivery's number")).transpose()?])?)
}

/// How many dead letters there are.
pub(super) fn dead_count(sql: &Connection) -> Result<u64, Failure> {
    let count: Option<i64> = sql
        .prepare_cached("SELECT count(*) FROM delivery WHERE dead_ms IS NOT NULL")?
        .query_row([], |row| row.get(0))
        .optional()?;
    unsigned(count.unwrap_or(0), "a count of dead letters")
}

const DELIVERY: &str = "SELECT delivery.id, change, attempts, made_ms, at_ms, act, by_whom, comment, alarm_history.text,
    sequence, alarm_history.code, event_ms, alarm_life.id, alarm_life.meter, alarm_life.cause, target, error, dead_ms,
    alarm_life.severity, alarm_life.code
    FROM delivery JOIN alarm_history ON alarm_history.id = change JOIN alarm_life ON alarm_life.id = alarm";

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let act: String = row.get(5)?;
    let meter: String = row.get(13)?;
    Ok(Delivery {
        id: row.get::<_, i64>(0)?.unsigned_abs(),
        attempts: row.get(2)?,
        made: UnixMillis(row.get(3)?),
        moment: super::AlarmMoment {
            id: row.get::<_, i64>(1)?.unsigned_abs(),
            at: UnixMillis(row.get(4)?),
            act: AlarmAct::from_name(&act).ok_or_else(|| rusqlite::Error::InvalidColumnName(act))?,
            by: row.get(6)?,
            comment: row.get(7)?,
            text: row.get(8)?,
            sequence: row.get::<_, Option<i64>>(9)?.map(i64::unsigned_abs),
            code: row.get(10)?,
            event_at: row.get::<_, Option<i64>>(11)?.map(UnixMillis),
        },
        alarm: row.get::<_, i64>(12)?.unsigned_abs(),
        meter: meter.parse().ok(),
        cause: row.get(14)?,
        cause_code: row.get(19)?,
        severity: alarms::severity(row.get(18)?),
    })
}
