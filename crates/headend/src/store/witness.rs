//! Meters' sealed logs in SQL: leaves and checkpoints.

use std::cell::RefCell;
use std::collections::HashSet;

use meterseal_model::{MeterId, UnixMillis};
use meterseal_seal::SealPublicKey;
use meterseal_seal::log::{Checkpoint, Leaf, LeafKind, LogHash, LogId, Peaks};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::witness_record::{Appended, LeafContent, Proof, StoredLeaf, Witnessed};
use super::worker::Failure;
use super::{signed, unsigned};

/// `proven` and `tail` are peaks in CBOR; a leaf without bytes is one whose record had left the meter.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS witness (
    meter TEXT PRIMARY KEY NOT NULL REFERENCES meter (id),
    log BLOB NOT NULL,
    log_key BLOB NOT NULL,
    chain BLOB NOT NULL,
    proven BLOB NOT NULL,
    tail BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leaf (
    meter TEXT NOT NULL REFERENCES meter (id),
    log BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    bytes BLOB,
    kind INTEGER,
    at_ms INTEGER,
    PRIMARY KEY (meter, log, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS leaf_by_kind ON leaf (meter, log, kind, at_ms);
CREATE TABLE IF NOT EXISTS checkpoint (
    meter TEXT NOT NULL REFERENCES meter (id),
    log BLOB NOT NULL,
    number INTEGER NOT NULL,
    size INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    received_ms INTEGER NOT NULL,
    PRIMARY KEY (meter, log, number)
) STRICT, WITHOUT ROWID;
";

/// What is known of a meter's log.
pub(super) fn witnessed(sql: &Connection, meter: MeterId) -> Result<Option<Witnessed>, Failure> {
    let Some(mut known) = trees(sql, meter)? else { return Ok(None) };
    known.newest = newest_checkpoint(sql, meter, known.log, &known.key)?;
    Ok(Some(known))
}

/// The same without the newest checkpoint, whose signature takes longer to verify than all the rest.
fn trees(sql: &Connection, meter: MeterId) -> Result<Option<Witnessed>, Failure> {
    let found = sql
        .prepare_cached("SELECT log, log_key, chain, proven, tail FROM witness WHERE meter = ?1")?
        .query_row([meter.to_string()], |row| {
            let blob = |place| row.get::<_, Vec<u8>>(place);
            Ok((blob(0)?, blob(1)?, blob(2)?, blob(3)?, blob(4)?))
        })
        .optional()?;
    let Some((log, key, chain, proven, tail)) = found else { return Ok(None) };
    let log = LogId(log.try_into().map_err(|_| Failure::Value("a log's name"))?);
    let peaks = |bytes: Vec<u8>| Peaks::decode(&bytes).map_err(|_| Failure::Value("a tree's peaks"));
    let (proven, tail) = (peaks(proven)?, peaks(tail)?);
    Ok(Some(Witnessed { log, key, chain: split(&chain)?, proven, tail, newest: None }))
}

/// Pins a log and its key, at the first contact, or when somebody vouches for a new log.
pub(super) fn pin(
    sql: &Connection,
    meter: MeterId,
    log: LogId,
    key: &[u8],
    chain: &[Vec<u8>],
) -> Result<(), Failure> {
    let empty = Peaks::new().encode();
    sql.prepare_cached(
        "INSERT INTO witness (meter, log, log_key, chain, proven, tail) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
         ON CONFLICT (meter) DO UPDATE SET log = ?2, log_key = ?3, chain = ?4, proven = ?5, tail = ?5
         WHERE log <> ?2",
    )?
    .execute(params![meter.to_string(), log.0, key, join(chain), empty])?;
    Ok(())
}

/// Appends leaves from place `first` on behind the tail. Those that are there already must be the same.
pub(super) fn append(
    sql: &Connection,
    meter: MeterId,
    first: u64,
    leaves: &[LeafContent],
) -> Result<Appended, Failure> {
    let Some(mut known) = trees(sql, meter)? else { return Ok(Appended::Refused("no log is pinned")) };
    if first != known.tail.size() {
        return Ok(Appended::Refused("they do not continue what was read before"));
    }
    let read = match read_leaves(known.log, first, leaves) {
        Ok(read) => read,
        Err(problem) => return Ok(Appended::Refused(problem)),
    };
    let mut insert = sql.prepare_cached(INSERT)?;
    for leaf in &read {
        insert_leaf(&mut insert, meter, known.log, leaf)?;
        known.tail.append(leaf.stored.hash);
    }
    set_tail(sql, meter, &known.tail)?;
    Ok(Appended::Tail(known.tail.size()))
}

/// Compares a verified checkpoint's root with the leaves that were read up to its size.
pub(super) fn prove(
    sql: &Connection,
    meter: MeterId,
    checkpoint: &Checkpoint,
    bytes: &[u8],
    received_at: UnixMillis,
) -> Result<Proof, Failure> {
    let known = trees(sql, meter)?.ok_or(Failure::Value("the log's pin"))?;
    let mut proven = known.proven.clone();
    for hash in hashes(sql, meter, known.log, proven.size(), checkpoint.size)? {
        proven.append(hash);
    }
    if proven.size() != checkpoint.size || proven.root() != checkpoint.root {
        let from = signed(known.proven.size(), "a leaf's place")?;
        sql.prepare_cached("DELETE FROM leaf WHERE meter = ?1 AND log = ?2 AND sequence >= ?3")?
            .execute(params![meter.to_string(), known.log.0, from])?;
        set_tail(sql, meter, &known.proven)?;
        return Ok(Proof::Other(proven.root()));
    }
    sql.prepare_cached("UPDATE witness SET proven = ?2 WHERE meter = ?1")?
        .execute(params![meter.to_string(), proven.encode()])?;
    sql.prepare_cached("INSERT INTO checkpoint VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING")?
        .execute(params![
            meter.to_string(),
            known.log.0,
            signed(checkpoint.number, "a checkpoint's number")?,
            signed(checkpoint.size, "a log's size")?,
            bytes,
            received_at.0
        ])?;
    Ok(Proof::Proven)
}

/// Puts leaves that the meter gave again in the place of those that were missing or altered: `true` when all leaves
/// then lead to the newest checkpoint's root; else nothing is changed.
pub(super) fn restore(
    sql: &Connection,
    meter: MeterId,
    from: u64,
    leaves: &[LeafContent],
) -> Result<bool, Failure> {
    let Some(known) = witnessed(sql, meter)? else { return Ok(false) };
    let Some(newest) = known.newest else { return Ok(false) };
    let Ok(read) = read_leaves(known.log, from, leaves) else { return Ok(false) };
    let mut peaks = Peaks::new();
    hashes(sql, meter, known.log, 0, from)?.into_iter().for_each(|hash| peaks.append(hash));
    read.iter().for_each(|leaf| peaks.append(leaf.stored.hash));
    if peaks.size() != newest.size || peaks.root() != newest.root {
        return Ok(false);
    }
    let id = meter.to_string();
    sql.prepare_cached("DELETE FROM leaf WHERE meter = ?1 AND log = ?2 AND sequence >= ?3")?
        .execute(params![id, known.log.0, signed(from, "a leaf's place")?])?;
    let mut insert = sql.prepare_cached(INSERT)?;
    read.iter().try_for_each(|leaf| insert_leaf(&mut insert, meter, known.log, leaf))?;
    sql.prepare_cached("UPDATE witness SET proven = ?2, tail = ?2 WHERE meter = ?1")?
        .execute(params![id, peaks.encode()])?;
    Ok(true)
}

/// Leaves of a meter's present log, in their order.
pub(super) fn stored_leaves(
    sql: &Connection,
    meter: MeterId,
    log: LogId,
    from: u64,
    end: u64,
    limit: u32,
) -> Result<Vec<StoredLeaf>, Failure> {
    let leaves = sql
        .prepare_cached(
            "SELECT sequence, hash, bytes FROM leaf
             WHERE meter = ?1 AND log = ?2 AND sequence >= ?3 AND sequence < ?4 ORDER BY sequence LIMIT ?5",
        )?
        .query_map(
            params![
                meter.to_string(),
                log.0,
                signed(from, "a leaf's place")?,
                signed(end, "a leaf's place")?,
                limit
            ],
            stored_leaf,
        )?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(leaves)
}

/// A leaf's place, and kind and time by which it is found.
pub(super) type Filed = (u64, Option<i64>, Option<i64>);

/// How a leaf has to be filed: as its bytes say. One whose record had left the meter is under nothing.
pub(super) fn filing(leaf: &StoredLeaf) -> Filed {
    let body = leaf.bytes.as_deref().and_then(|bytes| Leaf::decode(bytes).ok()).map(|leaf| leaf.body);
    let kind = body.as_ref().map(|body| i64::from(body.kind() as u8));
    (leaf.sequence, kind, body.and_then(|body| body.time()).map(|time| time.0))
}

/// How leaves are filed, in their order.
pub(super) fn filed(
    sql: &Connection,
    meter: MeterId,
    log: LogId,
    from: u64,
    end: u64,
    limit: u32,
) -> Result<Vec<Filed>, Failure> {
    let range = [signed(from, "a leaf's place")?, signed(end, "a leaf's place")?];
    let found = sql
        .prepare_cached(
            "SELECT sequence, kind, at_ms FROM leaf
             WHERE meter = ?1 AND log = ?2 AND sequence >= ?3 AND sequence < ?4 ORDER BY sequence LIMIT ?5",
        )?
        .query_map(params![meter.to_string(), log.0, range[0], range[1], limit], |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    found
        .into_iter()
        .map(|(sequence, kind, at)| Ok((unsigned(sequence, "a leaf's place")?, kind, at)))
        .collect()
}

/// Files leaves anew; in words.
pub(super) fn refile(
    sql: &Connection,
    meter: MeterId,
    log: LogId,
    leaves: &[Filed],
) -> Result<Vec<String>, Failure> {
    let mut update = sql.prepare_cached(
        "UPDATE leaf SET kind = ?4, at_ms = ?5 WHERE meter = ?1 AND log = ?2 AND sequence = ?3",
    )?;
    let id = meter.to_string();
    leaves
        .iter()
        .map(|&(sequence, kind, at)| {
            update.execute(params![id, log.0, signed(sequence, "a leaf's place")?, kind, at])?;
            Ok(format!("leaf {sequence} was filed under another kind or time"))
        })
        .collect()
}

/// Proven leaves of one kind between two times, in their order: readings for a statement.
pub(super) fn leaves_of_kind(
    sql: &Connection,
    meter: MeterId,
    log: LogId,
    kind: LeafKind,
    (from, to): (UnixMillis, UnixMillis),
) -> Result<Vec<StoredLeaf>, Failure> {
    let leaves = sql
        .prepare_cached(
            "SELECT sequence, hash, bytes FROM leaf
             WHERE meter = ?1 AND log = ?2 AND kind = ?3 AND at_ms BETWEEN ?4 AND ?5 ORDER BY sequence",
        )?
        .query_map(params![meter.to_string(), log.0, kind as u8, from.0, to.0], stored_leaf)?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(leaves)
}

/// The signed checkpoints of a log as they came, oldest first.
pub(super) fn checkpoint_bytes(
    sql: &Connection,
    meter: MeterId,
    log: LogId,
) -> Result<Vec<Vec<u8>>, Failure> {
    let found = sql
        .prepare_cached("SELECT bytes FROM checkpoint WHERE meter = ?1 AND log = ?2 ORDER BY number")?
        .query_map(params![meter.to_string(), log.0], |row| row.get(0))?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(found)
}

/// When the newest checkpoint of a meter's present log was received.
pub(super) fn checkpoint_received(sql: &Connection, meter: MeterId) -> Result<Option<UnixMillis>, Failure> {
    let found: Option<i64> = sql
        .prepare_cached(
            "SELECT max(received_ms) FROM checkpoint JOIN witness USING (meter, log) WHERE meter = ?1",
        )?
        .query_row([meter.to_string()], |row| row.get(0))?;
    Ok(found.map(UnixMillis))
}

thread_local! {
    /// Checkpoints whose signatures this thread has verified: that takes a millisecond, and each is looked at again and
    /// again.
    static VERIFIED: RefCell<HashSet<LogHash>> = RefCell::default();
}

/// 2 MiB.
const VERIFIED_AT_MOST: usize = 65_536;

const INSERT: &str = "INSERT INTO leaf (meter, log, sequence, hash, bytes, kind, at_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// A leaf that stands where it should, and what the index takes of it.
struct ReadLeaf {
    stored: StoredLeaf,
    kind: Option<u8>,
    at: Option<UnixMillis>,
}

fn read_leaves(log: LogId, first: u64, leaves: &[LeafContent]) -> Result<Vec<ReadLeaf>, &'static str> {
    (first..)
        .zip(leaves)
        .map(|(sequence, content)| match content {
            LeafContent::Hash(hash) => Ok(ReadLeaf {
                stored: StoredLeaf { sequence, hash: *hash, bytes: None },
                kind: None,
                at: None,
            }),
            LeafContent::Bytes(bytes) => {
                let leaf = Leaf::decode(bytes).map_err(|_| "a leaf cannot be read")?;
                if leaf.log != log {
                    return Err("a leaf belongs to another log");
                }
                if leaf.sequence != sequence {
                    return Err("a leaf is missing, or stands at another's place");
                }
                let hash = LogHash::of_leaf(bytes);
                let stored = StoredLeaf { sequence, hash, bytes: Some(bytes.clone()) };
                Ok(ReadLeaf { stored, kind: Some(leaf.body.kind() as u8), at: leaf.body.time() })
            }
        })
        .collect()
}

fn insert_leaf(
    insert: &mut rusqlite::CachedStatement<'_>,
    meter: MeterId,
    log: LogId,
    leaf: &ReadLeaf,
) -> Result<(), Failure> {
    insert.execute(params![
        meter.to_string(),
        log.0,
        signed(leaf.stored.sequence, "a leaf's place")?,
        leaf.stored.hash.0,
        leaf.stored.bytes,
        leaf.kind,
        leaf.at.map(|at| at.0)
    ])?;
    Ok(())
}

fn set_tail(sql: &Connection, meter: MeterId, tail: &Peaks) -> Result<(), Failure> {
    sql.prepare_cached("UPDATE witness SET tail = ?2 WHERE meter = ?1")?
        .execute(params![meter.to_string(), tail.encode()])?;
    Ok(())
}

fn hashes(
    sql: &Connection,
    meter: MeterId,
    log: LogId,
    from: u64,
    end: u64,
) -> Result<Vec<LogHash>, Failure> {
    let found = sql
        .prepare_cached(
            "SELECT hash FROM leaf WHERE meter = ?1 AND log = ?2 AND sequence >= ?3 AND sequence < ?4 ORDER BY sequence",
        )?
        .query_map(
            params![
                meter.to_string(),
                log.0,
                signed(from, "a leaf's place")?,
                signed(end, "a leaf's place")?
            ],
            |row| row.get(0).map(LogHash),
        )?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(found)
}

fn stored_leaf(row: &Row<'_>) -> rusqlite::Result<StoredLeaf> {
    let sequence: i64 = row.get(0)?;
    let sequence =
        u64::try_from(sequence).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, sequence))?;
    Ok(StoredLeaf { sequence, hash: LogHash(row.get(1)?), bytes: row.get(2)? })
}

/// A log's checkpoints, oldest first. One that the pinned key did not sign was put there by somebody else, and does
/// not count.
pub(super) fn checkpoints(
    sql: &Connection,
    meter: MeterId,
    log: LogId,
    key: &[u8],
) -> Result<Vec<Checkpoint>, Failure> {
    let key = SealPublicKey::from_der(key).map_err(|_| Failure::Value("a log's key"))?;
    let all = checkpoint_bytes(sql, meter, log)?;
    Ok(all.iter().filter_map(|bytes| verified(bytes, &key, meter, log)).collect())
}

fn newest_checkpoint(
    sql: &Connection,
    meter: MeterId,
    log: LogId,
    key: &[u8],
) -> Result<Option<Checkpoint>, Failure> {
    let key = SealPublicKey::from_der(key).map_err(|_| Failure::Value("a log's key"))?;
    let mut newest_first = sql
        .prepare_cached("SELECT bytes FROM checkpoint WHERE meter = ?1 AND log = ?2 ORDER BY number DESC")?;
    let mut found = newest_first.query(params![meter.to_string(), log.0])?;
    while let Some(row) = found.next()? {
        let bytes: Vec<u8> = row.get(0)?;
        if let Some(checkpoint) = verified(&bytes, &key, meter, log) {
            return Ok(Some(checkpoint));
        }
    }
    Ok(None)
}

fn verified(bytes: &[u8], key: &SealPublicKey, meter: MeterId, log: LogId) -> Option<Checkpoint> {
    // Of checkpoint and key, so that nothing else passes for what was verified.
    let name = LogHash::of_leaf(&[key.to_der(), bytes.to_vec()].concat());
    let checkpoint = if VERIFIED.with_borrow(|known| known.contains(&name)) {
        Checkpoint::unverified(bytes)?
    } else {
        let checkpoint = *Checkpoint::verify(bytes, core::slice::from_ref(key)).ok()?.checkpoint();
        VERIFIED.with_borrow_mut(|known| {
            if known.len() >= VERIFIED_AT_MOST {
                known.clear();
            }
            known.insert(name);
        });
        checkpoint
    };
    (checkpoint.meter == meter && checkpoint.log == log).then_some(checkpoint)
}

/// Certificates in one blob: each behind its length.
fn join(chain: &[Vec<u8>]) -> Vec<u8> {
    chain.iter().flat_map(|der| [&(der.len() as u32).to_be_bytes()[..], der].concat()).collect()
}

fn split(mut blob: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
    let mut chain = Vec::new();
    while let Some((length, rest)) = blob.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let (der, rest) = rest.split_at_checked(length).ok_or(Failure::Value("a chain of certificates"))?;
        chain.push(der.to_vec());
        blob = rest;
    }
    if blob.is_empty() { Ok(chain) } else { Err(Failure::Value("a chain of certificates")) }
}
