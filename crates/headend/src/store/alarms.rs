//! Alarms in SQL: one row for each meter and cause, one row for everything that ever happened to it, and, in the same
//! transaction, one for each receiver that has to be told.

use meterseal_model::event::Severity;
use meterseal_model::{EventCode, MeterId, UnixMillis};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::worker::Failure;
use super::{
    Alarm, AlarmAct, AlarmChange, AlarmChoice, AlarmGroup, AlarmMoment, AlarmShow, NewAlarm, SecurityEvent,
    StoredEvent, Who, log, signed, unsigned,
};
use crate::alarms::Cause;

/// What an event does to alarms. Events may come in any order; their sequence numbers say what came last.
pub(super) fn take_event(
    sql: &Connection,
    meter: MeterId,
    event: &SecurityEvent,
    at: UnixMillis,
) -> Result<Vec<AlarmChange>, Failure> {
    if event.raises_alarm() {
        return raised_by_event(sql, meter, event, at);
    }
    match event.kind().and_then(EventCode::ends) {
        Some(begin) => Ok(ended_by_event(sql, meter, begin, event, at)?.into_iter().collect()),
        None => Ok(Vec::new()),
    }
}

fn raised_by_event(
    sql: &Connection,
    meter: MeterId,
    event: &SecurityEvent,
    at: UnixMillis,
) -> Result<Vec<AlarmChange>, Failure> {
    let cause = Cause::Event(event.code);
    let occurrence =
        Occurrence { meter: Some(meter), cause, text: cause.sentence(), at, event: Some(*event) };
    let mut changes = vec![raise(sql, &occurrence)?];
    // It may be over already: an end that came earlier than its beginning.
    if let Some(code) = event.kind()
        && let Some(over) = newest_after(sql, meter, event.sequence, code)?
        && over.code != event.code
    {
        let ended = Ended { by: None, text: over_text(over.code), event: Some(over) };
        changes.extend(end_of(sql, Some(meter), &cause.name(), &ended, at)?);
    }
    Ok(changes)
}

fn ended_by_event(
    sql: &Connection,
    meter: MeterId,
    begin: EventCode,
    event: &SecurityEvent,
    at: UnixMillis,
) -> Result<Option<AlarmChange>, Failure> {
    // The same began again since: this end is an old one.
    if newest_after(sql, meter, event.sequence, begin)?.is_some_and(|newest| newest.code == begin as u8) {
        return Ok(None);
    }
    let ended = Ended { by: None, text: over_text(event.code), event: Some(*event) };
    end_of(sql, Some(meter), begin.name(), &ended, at)
}

fn over_text(code: u8) -> String {
    Cause::Event(code).sentence()
}

/// The newest event after a sequence number that begins or ends a condition.
fn newest_after(
    sql: &Connection,
    meter: MeterId,
    sequence: u64,
    begin: EventCode,
) -> Result<Option<SecurityEvent>, Failure> {
    let mut statement = sql.prepare_cached(
        "SELECT sequence, code FROM event WHERE meter = ?1 AND sequence > ?2 ORDER BY sequence DESC",
    )?;
    // Backwards from the newest: few, since events mostly come in their order.
    let mut rows = statement.query(params![meter.to_string(), signed(sequence, "a sequence number")?])?;
    while let Some(row) = rows.next()? {
        let kind = EventCode::from_number(row.get(1)?);
        if kind.is_some_and(|kind| kind == begin || kind.ends() == Some(begin)) {
            let number = unsigned(row.get(0)?, "a sequence number")?;
            return Ok(log::find(sql, meter, number)?.map(|stored| stored.event));
        }
    }
    Ok(None)
}

/// Something happened that is worth an alarm.
struct Occurrence {
    meter: Option<MeterId>,
    cause: Cause,
    text: String,
    at: UnixMillis,
    event: Option<SecurityEvent>,
}

/// Raises, repeats or reopens.
fn raise(sql: &Connection, occurrence: &Occurrence) -> Result<AlarmChange, Failure> {
    let Occurrence { meter, cause, text, at, event } = occurrence;
    let name = cause.name();
    let before = by_cause(sql, *meter, &name)?;
    let act = match &before {
        None => AlarmAct::Raised,
        Some(before) if before.cleared.is_some() || before.acknowledged.is_some() => AlarmAct::Reopened,
        Some(_) => AlarmAct::Repeated,
    };
    let severity = number(cause.severity());
    let id = match (&before, act) {
        (None, _) => sql
            .prepare_cached(
                "INSERT INTO alarm_life (meter, cause, code, severity, text, first_ms, raised_ms, last_ms, changed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?6, 0) RETURNING id",
            )?
            .query_row(params![key(*meter), name, cause.event(), severity, text, at.0], |row| row.get(0))?,
        (Some(before), AlarmAct::Reopened) => {
            sql.prepare_cached(
                "UPDATE alarm_life SET severity = ?2, text = ?3, raised_ms = ?4, last_ms = ?4, occurrences = occurrences + 1,
                   acknowledged_ms = NULL, acknowledged_by = NULL, acknowledged_comment = NULL,
                   cleared_ms = NULL, cleared_by = NULL, cleared_comment = NULL WHERE id = ?1",
            )?
            .execute(params![before.row()?, severity, text, at.0])?;
            before.row()?
        }
        (Some(before), _) => {
            sql.prepare_cached(
                "UPDATE alarm_life SET text = ?2, last_ms = ?3, occurrences = occurrences + 1 WHERE id = ?1",
            )?
            .execute(params![before.row()?, text, at.0])?;
            before.row()?
        }
    };
    record(sql, id, act, *at, &Ended { by: None, text: text.clone(), event: *event }, None)
}

/// Raises an alarm of the head-end's own. `None`: it lasts already, for just that reason.
pub(super) fn raise_own(sql: &Connection, new: &NewAlarm) -> Result<Option<AlarmChange>, Failure> {
    let cause = Cause::from(new.cause);
    let lasts = by_cause(sql, new.meter, &cause.name())?
        .is_some_and(|before| before.cleared.is_none() && before.text == new.text);
    if lasts {
        return Ok(None);
    }
    let occurrence = Occurrence { meter: new.meter, cause, text: new.text.clone(), at: new.at, event: None };
    raise(sql, &occurrence).map(Some)
}

/// Ends an alarm of the head-end's own.
pub(super) fn end_own(sql: &Connection, end: &NewAlarm) -> Result<Option<AlarmChange>, Failure> {
    let ended = Ended { by: None, text: end.text.clone(), event: None };
    end_of(sql, end.meter, end.cause.name(), &ended, end.at)
}

/// Who or what changed an alarm, and what there is to say.
struct Ended {
    by: Option<String>,
    text: String,
    event: Option<SecurityEvent>,
}

fn end_of(
    sql: &Connection,
    meter: Option<MeterId>,
    cause: &str,
    ended: &Ended,
    at: UnixMillis,
) -> Result<Option<AlarmChange>, Failure> {
    match by_cause(sql, meter, cause)? {
        Some(alarm) if alarm.cleared.is_none() => clear(sql, &alarm, ended, None, at).map(Some),
        _ => Ok(None),
    }
}

fn clear(
    sql: &Connection,
    alarm: &Alarm,
    ended: &Ended,
    comment: Option<&str>,
    at: UnixMillis,
) -> Result<AlarmChange, Failure> {
    sql.prepare_cached(
        "UPDATE alarm_life SET cleared_ms = ?2, cleared_by = ?3, cleared_comment = ?4 WHERE id = ?1",
    )?
    .execute(params![alarm.row()?, at.0, ended.by, comment.or(Some(ended.text.as_str()))])?;
    record(sql, alarm.row()?, AlarmAct::Cleared, at, ended, comment)
}

/// Somebody takes note of every chosen alarm that nobody had taken note of.
pub(super) fn acknowledge(
    sql: &Connection,
    choice: &AlarmChoice,
    who: &Who,
    at: UnixMillis,
) -> Result<Vec<AlarmChange>, Failure> {
    let mut changes = Vec::new();
    for alarm in choose(sql, choice, "acknowledged_ms IS NULL")? {
        let id = alarm.row()?;
        sql.prepare_cached(
            "UPDATE alarm_life SET acknowledged_ms = ?2, acknowledged_by = ?3, acknowledged_comment = ?4 WHERE id = ?1",
        )?
        .execute(params![id, at.0, who.name, who.comment])?;
        if let (Some(meter), Some(code)) = (alarm.meter, alarm.code) {
            sql.prepare_cached(
                "UPDATE alarm SET acknowledged_ms = ?3, acknowledged_by = ?4
                 WHERE meter = ?1 AND acknowledged_ms IS NULL
                   AND sequence IN (SELECT sequence FROM event WHERE meter = ?1 AND code = ?2)",
            )?
            .execute(params![meter.to_string(), code, at.0, who.name])?;
        }
        let by = Ended { by: Some(who.name.clone()), text: alarm.text.clone(), event: None };
        changes.push(record(sql, id, AlarmAct::Acknowledged, at, &by, who.comment.as_deref())?);
        let momentary = alarm.code.is_some_and(|code| !Cause::Event(code).lasts());
        if momentary && alarm.cleared.is_none() {
            let over = Ended { by: None, text: "It was over when it had happened.".to_owned(), event: None };
            changes.push(clear(sql, &alarm, &over, None, at)?);
        }
    }
    Ok(changes)
}

/// Somebody ends every chosen alarm that lasts.
pub(super) fn clear_chosen(
    sql: &Connection,
    choice: &AlarmChoice,
    who: &Who,
    at: UnixMillis,
) -> Result<Vec<AlarmChange>, Failure> {
    let by = Ended { by: Some(who.name.clone()), text: "Cleared by hand.".to_owned(), event: None };
    choose(sql, choice, "cleared_ms IS NULL")?
        .iter()
        .map(|alarm| clear(sql, alarm, &by, who.comment.as_deref(), at))
        .collect()
}

fn choose(sql: &Connection, choice: &AlarmChoice, still: &str) -> Result<Vec<Alarm>, Failure> {
    match choice {
        AlarmChoice::One(id) => {
            let Ok(id) = i64::try_from(*id) else { return Ok(Vec::new()) };
            Ok(sql
                .prepare_cached(&format!("{ALARM} WHERE id = ?1 AND {still}"))?
                .query_map([id], alarm)?
                .collect::<Result<_, _>>()?)
        }
        AlarmChoice::Event(meter, code) => Ok(sql
            .prepare_cached(&format!("{ALARM} WHERE meter = ?1 AND code = ?2 AND {still}"))?
            .query_map(params![meter.to_string(), code], alarm)?
            .collect::<Result<_, _>>()?),
        AlarmChoice::Group { cause, from, to } => Ok(sql
            .prepare_cached(&format!(
                "{ALARM} WHERE cause = ?1 AND raised_ms BETWEEN ?2 AND ?3 AND {OPEN} AND {still} ORDER BY id"
            ))?
            .query_map(params![cause, from.0, to.0], alarm)?
            .collect::<Result<_, _>>()?),
    }
}

/// Writes what happened into the alarm's history, and queues it for every receiver.
fn record(
    sql: &Connection,
    id: i64,
    act: AlarmAct,
    at: UnixMillis,
    what: &Ended,
    comment: Option<&str>,
) -> Result<AlarmChange, Failure> {
    let event = what.event.as_ref();
    let sequence = event.map(|event| signed(event.sequence, "a sequence number")).transpose()?;
    let change: i64 = sql
        .prepare_cached(
            "INSERT INTO alarm_history (alarm, at_ms, act, by_whom, comment, text, sequence, code, event_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING id",
        )?
        .query_row(
            params![
                id,
                at.0,
                act.name(),
                what.by,
                comment,
                what.text,
                sequence,
                event.map(|event| event.code),
                event.map(|event| event.at.0)
            ],
            |row| row.get(0),
        )?;
    sql.prepare_cached("UPDATE alarm_life SET changed = ?2 WHERE id = ?1")?.execute([id, change])?;
    sql.prepare_cached(
        "INSERT INTO delivery (target, change, made_ms, due_ms) SELECT name, ?1, ?2, ?2 FROM delivery_target",
    )?
    .execute([change, at.0])?;
    let alarm = sql.prepare_cached(&format!("{ALARM} WHERE id = ?1"))?.query_row([id], alarm)?;
    let open = open_of(sql, alarm.meter)?;
    Ok(AlarmChange { id: unsigned(change, "a change's number")?, act, alarm, open })
}

/// Alarms of a meter that nobody has acknowledged.
pub(super) fn open_of(sql: &Connection, meter: Option<MeterId>) -> Result<u64, Failure> {
    let count: i64 = sql
        .prepare_cached("SELECT count(*) FROM alarm_life WHERE meter = ?1 AND acknowledged_ms IS NULL")?
        .query_row([key(meter)], |row| row.get(0))?;
    unsigned(count, "a count of alarms")
}

/// Alarms, the one that changed last first.
pub(super) fn list(sql: &Connection, show: &AlarmShow) -> Result<Vec<Alarm>, Failure> {
    let mut text = format!("{ALARM} WHERE changed < ?");
    let mut values = vec![Value::from(show.before.and_then(|id| i64::try_from(id).ok()).unwrap_or(i64::MAX))];
    if show.open {
        text.push_str(&format!(" AND {OPEN}"));
    }
    if show.unacknowledged {
        text.push_str(" AND acknowledged_ms IS NULL");
    }
    if let Some(meter) = show.meter {
        text.push_str(" AND meter = ?");
        values.push(meter.to_string().into());
    }
    if let Some(cause) = &show.cause {
        text.push_str(" AND cause = ?");
        values.push(cause.clone().into());
    }
    if let Some(severity) = show.at_least {
        text.push_str(" AND severity >= ?");
        values.push(number(severity).into());
    }
    if let Some(from) = show.from {
        text.push_str(" AND raised_ms >= ?");
        values.push(from.0.into());
    }
    if let Some(to) = show.to {
        text.push_str(" AND raised_ms <= ?");
        values.push(to.0.into());
    }
    text.push_str(" ORDER BY changed DESC LIMIT ?");
    values.push(i64::from(show.limit).into());
    Ok(sql.prepare_cached(&text)?.query_map(params_from_iter(values), alarm)?.collect::<Result<_, _>>()?)
}

/// One alarm.
pub(super) fn find(sql: &Connection, id: u64) -> Result<Option<Alarm>, Failure> {
    let Ok(id) = i64::try_from(id) else { return Ok(None) };
    Ok(sql.prepare_cached(&format!("{ALARM} WHERE id = ?1"))?.query_row([id], alarm).optional()?)
}

/// The newest `limit` things that happened to an alarm, oldest first.
pub(super) fn history(sql: &Connection, id: u64, limit: u32) -> Result<Vec<AlarmMoment>, Failure> {
    let Ok(id) = i64::try_from(id) else { return Ok(Vec::new()) };
    let mut moments = sql
        .prepare_cached(
            "SELECT id, at_ms, act, by_whom, comment, text, sequence, code, event_ms FROM alarm_history
             WHERE alarm = ?1 ORDER BY id DESC LIMIT ?2",
        )?
        .query_map(params![id, limit], moment)?
        .collect::<Result<Vec<_>, _>>()?;
    moments.reverse();
    Ok(moments)
}

/// Open alarms by cause and time: a pause of `gap_milliseconds` between two parts one group from the next. The newest
/// group first.
pub(super) fn groups(sql: &Connection, gap_milliseconds: i64) -> Result<Vec<AlarmGroup>, Failure> {
    // Window functions do the work in the database: what comes back is as long as what a person reads.
    let mut statement = sql.prepare_cached(&format!(
        "WITH open AS (
            SELECT *, raised_ms - lag(raised_ms) OVER (PARTITION BY cause ORDER BY raised_ms, id) AS pause
            FROM alarm_life WHERE {OPEN}
         ), parted AS (
            SELECT *, sum(coalesce(pause, 0) > ?1) OVER (PARTITION BY cause ORDER BY raised_ms, id) AS part FROM open
         )
         SELECT cause, max(severity), count(*), count(DISTINCT meter), sum(acknowledged_ms IS NULL),
                sum(cleared_ms IS NULL), min(raised_ms), max(raised_ms), max(last_ms), sum(occurrences),
                max(changed), max(code), min(id)
         FROM parted GROUP BY cause, part ORDER BY max(changed) DESC LIMIT ?2"
    ))?;
    let rows = statement.query_map(params![gap_milliseconds, GROUPS], |row| {
        let id: u64 = row.get::<_, i64>(12)?.unsigned_abs();
        let code: Option<u8> = row.get(11)?;
        let cause: String = row.get(0)?;
        let group = AlarmGroup {
            severity: severity(row.get(1)?),
            count: row.get::<_, i64>(2)?.unsigned_abs(),
            meters: row.get::<_, i64>(3)?.unsigned_abs(),
            unacknowledged: row.get::<_, i64>(4)?.unsigned_abs(),
            lasting: row.get::<_, i64>(5)?.unsigned_abs(),
            from: UnixMillis(row.get(6)?),
            to: UnixMillis(row.get(7)?),
            last: UnixMillis(row.get(8)?),
            occurrences: row.get::<_, i64>(9)?.unsigned_abs(),
            changed: row.get::<_, i64>(10)?.unsigned_abs(),
            only: None,
            code,
            cause,
        };
        Ok((group, id))
    })?;
    let mut groups = rows.collect::<Result<Vec<_>, _>>()?;
    for (group, id) in groups.iter_mut().filter(|(group, _)| group.count == 1) {
        group.only = find(sql, *id)?;
    }
    Ok(groups.into_iter().map(|(group, _)| group).collect())
}

/// The newest events of a meter with one code.
pub(super) fn events_of(
    sql: &Connection,
    meter: MeterId,
    code: u8,
    limit: u32,
) -> Result<Vec<StoredEvent>, Failure> {
    log::events_with_code(sql, meter, code, limit)
}

/// Gives the alarms of a database from before they had lives theirs: what each event had raised, in order.
pub(super) fn adopt(sql: &Connection) -> Result<(), Failure> {
    let done: bool = sql.query_row(
        "SELECT EXISTS (SELECT 1 FROM alarm_life) OR NOT EXISTS (SELECT 1 FROM alarm)",
        [],
        |row| row.get(0),
    )?;
    if done {
        return Ok(());
    }
    for stored in log::oldest_first(sql)? {
        take_event(sql, stored.meter, &stored.event, stored.received_at)?;
        if let Some((by, at)) = stored.acknowledged {
            let choice = AlarmChoice::Event(stored.meter, stored.event.code);
            acknowledge(sql, &choice, &Who { name: by, comment: None }, at)?;
        }
    }
    Ok(())
}

fn by_cause(sql: &Connection, meter: Option<MeterId>, cause: &str) -> Result<Option<Alarm>, Failure> {
    Ok(sql
        .prepare_cached(&format!("{ALARM} WHERE meter = ?1 AND cause = ?2"))?
        .query_row(params![key(meter), cause], alarm)
        .optional()?)
}

/// Open: somebody has to do something about it, or it lasts.
const OPEN: &str = "(acknowledged_ms IS NULL OR cleared_ms IS NULL)";

/// Groups that are shown at most.
const GROUPS: u32 = 500;

const ALARM: &str =
    "SELECT id, meter, cause, code, severity, text, first_ms, raised_ms, last_ms, occurrences,
    acknowledged_ms, acknowledged_by, acknowledged_comment, cleared_ms, cleared_by, cleared_comment, changed
    FROM alarm_life";

fn alarm(row: &Row<'_>) -> rusqlite::Result<Alarm> {
    let meter: String = row.get(1)?;
    Ok(Alarm {
        id: row.get::<_, i64>(0)?.unsigned_abs(),
        meter: meter.parse().ok(),
        cause: row.get(2)?,
        code: row.get(3)?,
        severity: severity(row.get(4)?),
        text: row.get(5)?,
        first: UnixMillis(row.get(6)?),
        raised: UnixMillis(row.get(7)?),
        last: UnixMillis(row.get(8)?),
        occurrences: row.get::<_, i64>(9)?.unsigned_abs(),
        acknowledged: note(row, 10)?,
        cleared: note(row, 13)?,
        changed: row.get::<_, i64>(16)?.unsigned_abs(),
    })
}

fn note(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<super::AlarmNote>> {
    let at: Option<i64> = row.get(column)?;
    let Some(at) = at else { return Ok(None) };
    Ok(Some(super::AlarmNote { at: UnixMillis(at), by: row.get(column + 1)?, comment: row.get(column + 2)? }))
}

fn moment(row: &Row<'_>) -> rusqlite::Result<AlarmMoment> {
    let act: String = row.get(2)?;
    let sequence: Option<i64> = row.get(6)?;
    Ok(AlarmMoment {
        id: row.get::<_, i64>(0)?.unsigned_abs(),
        at: UnixMillis(row.get(1)?),
        act: AlarmAct::from_name(&act).ok_or_else(|| rusqlite::Error::InvalidColumnName(act))?,
        by: row.get(3)?,
        comment: row.get(4)?,
        text: row.get(5)?,
        sequence: sequence.map(i64::unsigned_abs),
        code: row.get(7)?,
        event_at: row.get::<_, Option<i64>>(8)?.map(UnixMillis),
    })
}

impl Alarm {
    fn row(&self) -> Result<i64, Failure> {
        signed(self.id, "an alarm's number")
    }
}

/// How a meter stands in the table; the head-end itself is no meter.
fn key(meter: Option<MeterId>) -> String {
    meter.map(|meter| meter.to_string()).unwrap_or_default()
}

fn number(severity: Severity) -> i64 {
    match severity {
        Severity::Notice => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    }
}

pub(super) fn severity(number: i64) -> Severity {
    match number {
        0 => Severity::Notice,
        1 => Severity::Warning,
        _ => Severity::Critical,
    }
}

/// Everything that alarms and their deliveries need.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS alarm_life (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    meter TEXT NOT NULL,
    cause TEXT NOT NULL,
    code INTEGER,
    severity INTEGER NOT NULL,
    text TEXT NOT NULL,
    first_ms INTEGER NOT NULL,
    raised_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    occurrences INTEGER NOT NULL DEFAULT 1,
    acknowledged_ms INTEGER,
    acknowledged_by TEXT,
    acknowledged_comment TEXT,
    cleared_ms INTEGER,
    cleared_by TEXT,
    cleared_comment TEXT,
    changed INTEGER NOT NULL,
    UNIQUE (meter, cause)
) STRICT;
CREATE INDEX IF NOT EXISTS alarm_life_unacknowledged ON alarm_life (meter) WHERE acknowledged_ms IS NULL;
CREATE INDEX IF NOT EXISTS alarm_life_open ON alarm_life (cause, raised_ms)
    WHERE acknowledged_ms IS NULL OR cleared_ms IS NULL;
CREATE INDEX IF NOT EXISTS alarm_life_changed ON alarm_life (changed);

CREATE TABLE IF NOT EXISTS alarm_history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    alarm INTEGER NOT NULL REFERENCES alarm_life (id),
    at_ms INTEGER NOT NULL,
    act TEXT NOT NULL,
    by_whom TEXT,
    comment TEXT,
    text TEXT NOT NULL,
    sequence INTEGER,
    code INTEGER,
    event_ms INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS alarm_history_by_alarm ON alarm_history (alarm, id);

CREATE TABLE IF NOT EXISTS delivery_target (name TEXT PRIMARY KEY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    target TEXT NOT NULL,
    change INTEGER NOT NULL REFERENCES alarm_history (id),
    made_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    dead_ms INTEGER,
    error TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (target, due_ms, id) WHERE dead_ms IS NULL;
CREATE INDEX IF NOT EXISTS delivery_dead ON delivery (id) WHERE dead_ms IS NOT NULL;
";
