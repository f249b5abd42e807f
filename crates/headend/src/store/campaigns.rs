//! Campaigns and their meters in SQL, and what meters attested.

use meterseal_model::{Digest384, MeterId, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::attested_record::{AttestedRecord, RoleCounters};
use super::worker::Failure;
use super::{StoreError, signed, unsigned};
use crate::campaigns::{CampaignRecord, CampaignState, Counts, MemberRecord, MemberState, Plan};

/// Came after the format and change nothing in it: an older program leaves them alone.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS campaign (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    plan TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    changed_ms INTEGER NOT NULL,
    stage INTEGER NOT NULL DEFAULT 0,
    settled_ms INTEGER,
    forgiven INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE IF NOT EXISTS campaign_meter (
    campaign INTEGER NOT NULL REFERENCES campaign (id),
    meter TEXT NOT NULL REFERENCES meter (id),
    rank INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    changed_ms INTEGER NOT NULL,
    boots INTEGER,
    PRIMARY KEY (campaign, meter)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS campaign_meter_by_state ON campaign_meter (campaign, state);

CREATE TABLE IF NOT EXISTS attested (
    meter TEXT PRIMARY KEY NOT NULL REFERENCES meter (id),
    boot_chain BLOB NOT NULL,
    boot_key BLOB NOT NULL,
    ground INTEGER NOT NULL,
    image BLOB NOT NULL,
    version TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    confirmed INTEGER NOT NULL,
    boots INTEGER NOT NULL,
    highest INTEGER NOT NULL,
    root_version INTEGER NOT NULL,
    slot_a BLOB NOT NULL, sequence_a INTEGER NOT NULL,
    slot_b BLOB NOT NULL, sequence_b INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS role_counter (
    meter TEXT NOT NULL REFERENCES meter (id),
    role INTEGER NOT NULL,
    invocation_ceiling INTEGER NOT NULL DEFAULT 1,
    response_counter INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (meter, role)
) STRICT, WITHOUT ROWID;
";

const COLUMNS: &str =
    "id, plan, created_by, created_ms, state, reason, changed_ms, stage, settled_ms, forgiven";

/// Makes a campaign with all of its meters, in their order: whole, or not at all.
pub(super) fn create(
    sql: &Connection,
    plan: &Plan,
    meters: &[MeterId],
    by: &str,
    at: UnixMillis,
) -> Result<u64, Failure> {
    let written = serde_json::to_string(plan).map_err(|_| Failure::Value("a campaign's plan"))?;
    let running = CampaignState::Running.name();
    let id: i64 = sql
        .prepare_cached(
            "INSERT INTO campaign (plan, created_by, created_ms, state, changed_ms)
             VALUES (?1, ?2, ?3, ?4, ?3) RETURNING id",
        )?
        .query_row(params![written, by, at.0, running], |row| row.get(0))?;
    let mut insert = sql.prepare_cached(
        "INSERT INTO campaign_meter (campaign, meter, rank, state, changed_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (rank, meter) in meters.iter().enumerate() {
        let waiting = MemberState::Waiting.name();
        insert.execute(params![id, meter.to_string(), rank as i64, waiting, at.0])?;
    }
    unsigned(id, "a campaign's number")
}

/// Writes how a campaign stands.
pub(super) fn put(sql: &Connection, campaign: &CampaignRecord) -> Result<(), Failure> {
    sql.prepare_cached(
        "UPDATE campaign SET state = ?2, reason = ?3, changed_ms = ?4, stage = ?5, settled_ms = ?6, forgiven = ?7
         WHERE id = ?1",
    )?
    .execute(params![
        signed(campaign.id, "a campaign's number")?,
        campaign.state.name(),
        campaign.reason,
        campaign.changed_at.0,
        campaign.stage as i64,
        campaign.settled_at.map(|at| at.0),
        signed(campaign.forgiven, "accepted failures")?,
    ])?;
    Ok(())
}

/// Writes how meters of a campaign stand.
pub(super) fn put_members(sql: &Connection, campaign: u64, members: &[MemberRecord]) -> Result<(), Failure> {
    let mut update = sql.prepare_cached(
        "UPDATE campaign_meter SET state = ?3, reason = ?4, changed_ms = ?5, boots = ?6
         WHERE campaign = ?1 AND meter = ?2",
    )?;
    for member in members {
        update.execute(params![
            signed(campaign, "a campaign's number")?,
            member.meter.to_string(),
            member.state.name(),
            member.reason,
            member.changed_at.0,
            member.boots,
        ])?;
    }
    Ok(())
}

/// Every campaign, the newest first.
pub(super) fn all(sql: &Connection, limit: u32) -> Result<Vec<(CampaignRecord, Counts)>, Failure> {
    let mut statement =
        sql.prepare_cached(&format!("SELECT {COLUMNS} FROM campaign ORDER BY id DESC LIMIT ?1"))?;
    let rows = statement.query_map([limit], |row| Ok(record(row)))?;
    let records = rows.map(|row| row?).collect::<Result<Vec<_>, Failure>>()?;
    records.into_iter().map(|record| Ok((counts(sql, record.id)?, record))).map(swap).collect()
}

fn swap<A, B>(pair: Result<(A, B), Failure>) -> Result<(B, A), Failure> {
    pair.map(|(first, second)| (second, first))
}

/// One campaign.
pub(super) fn find(sql: &Connection, id: u64) -> Result<Option<(CampaignRecord, Counts)>, Failure> {
    let Ok(row) = i64::try_from(id) else { return Ok(None) };
    let found = sql
        .prepare_cached(&format!("SELECT {COLUMNS} FROM campaign WHERE id = ?1"))?
        .query_row([row], |row| Ok(record(row)))
        .optional()?;
    found.transpose()?.map(|record| Ok((record, counts(sql, id)?))).transpose()
}

/// Campaigns that are not over, and those that are whose meters have yet to say what came of it.
pub(super) fn open(sql: &Connection) -> Result<Vec<CampaignRecord>, Failure> {
    let mut statement = sql.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM campaign WHERE state IN ('running', 'paused', 'stopped')
           OR state = 'aborted' AND EXISTS (SELECT 1 FROM campaign_meter
               WHERE campaign = id AND campaign_meter.state IN ('ordered', 'probation'))
         ORDER BY id"
    ))?;
    let rows = statement.query_map([], |row| Ok(record(row)))?;
    rows.map(|row| row?).collect()
}

/// Meters of a campaign in their order: those in a state, or all of them; from a place in the order on.
pub(super) fn members(
    sql: &Connection,
    campaign: u64,
    state: Option<MemberState>,
    from: u32,
    limit: u32,
) -> Result<Vec<MemberRecord>, Failure> {
    let mut statement = sql.prepare_cached(
        "SELECT meter, rank, state, reason, changed_ms, boots FROM campaign_meter
         WHERE campaign = ?1 AND (?2 IS NULL OR state = ?2) AND rank >= ?3 ORDER BY rank LIMIT ?4",
    )?;
    let id = signed(campaign, "a campaign's number")?;
    let rows =
        statement.query_map(params![id, state.map(MemberState::name), from, limit], |row| Ok(member(row)))?;
    rows.map(|row| row?).collect()
}

fn counts(sql: &Connection, campaign: u64) -> Result<Counts, Failure> {
    let mut statement =
        sql.prepare_cached("SELECT state, count(*) FROM campaign_meter WHERE campaign = ?1 GROUP BY state")?;
    let mut rows = statement.query([signed(campaign, "a campaign's number")?])?;
    let mut counts = Counts::default();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let state = MemberState::from_name(&name).ok_or(Failure::Value("the state of a campaign's meter"))?;
        counts.add(state, unsigned(row.get(1)?, "a count")?);
    }
    Ok(counts)
}

fn record(row: &Row<'_>) -> Result<CampaignRecord, Failure> {
    let (plan, state): (String, String) = (row.get(1)?, row.get(4)?);
    Ok(CampaignRecord {
        id: unsigned(row.get(0)?, "a campaign's number")?,
        plan: serde_json::from_str(&plan).map_err(|_| Failure::Value("a campaign's plan"))?,
        created_by: row.get(2)?,
        created_at: UnixMillis(row.get(3)?),
        state: CampaignState::from_name(&state).ok_or(Failure::Value("a campaign's state"))?,
        reason: row.get(5)?,
        changed_at: UnixMillis(row.get(6)?),
        stage: row.get::<_, u32>(7)? as usize,
        settled_at: row.get::<_, Option<i64>>(8)?.map(UnixMillis),
        forgiven: unsigned(row.get(9)?, "accepted failures")?,
    })
}

fn member(row: &Row<'_>) -> Result<MemberRecord, Failure> {
    let (meter, state): (String, String) = (row.get(0)?, row.get(2)?);
    Ok(MemberRecord {
        meter: meter.parse().map_err(|_| Failure::Value("a meter's identifier"))?,
        rank: row.get(1)?,
        state: MemberState::from_name(&state).ok_or(Failure::Value("the state of a campaign's meter"))?,
        reason: row.get(3)?,
        changed_at: UnixMillis(row.get(4)?),
        boots: row.get(5)?,
    })
}

/// What a meter attested last.
pub(super) fn attested(sql: &Connection, meter: MeterId) -> Result<Option<AttestedRecord>, Failure> {
    let found = sql
        .prepare_cached(
            "SELECT boot_chain, boot_key, ground, image, version, sequence, confirmed, boots, highest,
                    root_version, slot_a, sequence_a, slot_b, sequence_b, at_ms
             FROM attested WHERE meter = ?1",
        )?
        .query_row([meter.to_string()], |row| Ok(attested_row(row)))
        .optional()?;
    found.transpose()
}

fn attested_row(row: &Row<'_>) -> Result<AttestedRecord, Failure> {
    let number = |column| -> Result<u64, Failure> { unsigned(row.get(column)?, "an attested number") };
    Ok(AttestedRecord {
        boot_chain: row.get(0)?,
        boot_key: row.get(1)?,
        is_simulated: row.get::<_, u8>(2)? != 0,
        image: Digest384(row.get(3)?),
        version: row.get(4)?,
        sequence: number(5)?,
        is_confirmed: row.get(6)?,
        boots: row.get(7)?,
        highest: number(8)?,
        root_version: number(9)?,
        slots: [(Digest384(row.get(10)?), number(11)?), (Digest384(row.get(12)?), number(13)?)],
        at: UnixMillis(row.get(14)?),
    })
}

/// Remembers what a meter attested.
pub(super) fn put_attested(sql: &Connection, meter: MeterId, said: &AttestedRecord) -> Result<(), Failure> {
    let number = |value: u64| signed(value, "an attested number");
    let [(slot_a, sequence_a), (slot_b, sequence_b)] = said.slots;
    sql.prepare_cached(
        "INSERT OR REPLACE INTO attested VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?
    .execute(params![
        meter.to_string(),
        said.boot_chain,
        said.boot_key,
        u8::from(said.is_simulated),
        said.image.0,
        said.version,
        number(said.sequence)?,
        said.is_confirmed,
        said.boots,
        number(said.highest)?,
        number(said.root_version)?,
        slot_a.0,
        number(sequence_a)?,
        slot_b.0,
        number(sequence_b)?,
        said.at.0,
    ])?;
    Ok(())
}

/// Sets aside invocation counters under the key of another role than the utility's.
pub(super) fn reserve(sql: &Connection, meter: MeterId, role: u16, count: u32) -> Result<u32, Failure> {
    let used_up = || Failure::Store(StoreError::KeyUsedUp { meter });
    sql.prepare_cached("INSERT OR IGNORE INTO role_counter (meter, role) VALUES (?1, ?2)")?
        .execute(params![meter.to_string(), role])?;
    let first: i64 = sql
        .prepare_cached("SELECT invocation_ceiling FROM role_counter WHERE meter = ?1 AND role = ?2")?
        .query_row(params![meter.to_string(), role], |row| row.get(0))?;
    let first = u32::try_from(first).map_err(|_| used_up())?;
    let next = first.checked_add(count).ok_or_else(used_up)?;
    sql.prepare_cached("UPDATE role_counter SET invocation_ceiling = ?3 WHERE meter = ?1 AND role = ?2")?
        .execute(params![meter.to_string(), role, next])?;
    Ok(first)
}

/// Moves them forward; never back.
pub(super) fn raise(
    sql: &Connection,
    meter: MeterId,
    role: u16,
    counters: RoleCounters,
) -> Result<(), Failure> {
    sql.prepare_cached(
        "INSERT INTO role_counter VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET invocation_ceiling = max(invocation_ceiling, ?3),
             response_counter = max(response_counter, ?4)",
    )?
    .execute(params![meter.to_string(), role, counters.next.max(1), counters.response])?;
    Ok(())
}

/// The highest counter of the meter's answers to a role.
pub(super) fn response(sql: &Connection, meter: MeterId, role: u16) -> Result<u32, Failure> {
    let found = sql
        .prepare_cached("SELECT response_counter FROM role_counter WHERE meter = ?1 AND role = ?2")?
        .query_row(params![meter.to_string(), role], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}
