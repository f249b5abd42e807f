//! Holds the database against what meters sealed: leaves against the signed root, rows against their leaves.
//!
//! A log may have any length, so it is gone through in slices on a thread of its own, which only reads: alarms and pages
//! wait for none of it. The writer gets no more than the rows that have to be restored.

use meterseal_model::{MeterId, UnixMillis};
use meterseal_seal::log::{Body, Event, Interval, Leaf, LogHash, Peaks};
use rusqlite::{Connection, params};

use super::witness_record::{Audit, StoredLeaf, Witnessed};
use super::worker::Failure;
use super::{
    Committed, Energies, ProfileRow, SecurityEvent, Store, StoreError, log, meters, signed, witness,
};

/// Leaves in one job: about 5 ms.
const SLICE: u32 = 512;

/// Restored rows that are told in words; more are counted.
const TOLD: usize = 100;

impl Store {
    /// Compares a meter's events and intervals, and the kinds and times that its leaves are filed under, with its sealed leaves
    /// from place `from` on, and restores those that are missing or say something else, because a proven leaf is what the
    /// meter signed. From nought on, all leaves are
    /// first compared with the newest signed root.
    ///
    /// # Errors
    /// [`StoreError`]; what was restored before that stays restored.
    pub async fn audit(&self, meter: MeterId, from: u64, at: UnixMillis) -> Result<Audit, StoreError> {
        let mut audit = Audit::default();
        let Some(known) = self.examine(move |sql| witness::witnessed(sql, meter)).await? else {
            return Ok(audit);
        };
        let mut end = known.newest.map_or(0, |newest| newest.size);
        if from == 0 && !self.leads_to_root(meter, &known, end).await? {
            end = self.agreed(meter, &known).await?;
            audit.refetch = Some(end);
        }
        let mut next = from;
        while next < end {
            let log = known.log;
            let (slice, differ, misfiled) = self
                .examine(move |sql| {
                    let slice = witness::stored_leaves(sql, meter, log, next, end, SLICE)?;
                    let filed = witness::filed(sql, meter, log, next, end, SLICE)?;
                    let due = slice.iter().map(witness::filing);
                    // By the index statements find their readings: one that it hides would be left out.
                    let misfiled: Vec<_> =
                        due.zip(filed).filter(|(due, is)| due != is).map(|(due, _)| due).collect();
                    let committed = meters::committed(sql, meter)?;
                    let mut differ = Vec::new();
                    for leaf in &slice {
                        let body = body(leaf, &committed);
                        if let Some(body) = body
                            && !is_as_sealed(sql, meter, &body)?
                        {
                            differ.push(body);
                        }
                    }
                    Ok((slice.len() as u64, differ, misfiled))
                })
                .await?;
            if slice == 0 {
                break;
            }
            next += slice;
            audit.leaves += slice;
            if !differ.is_empty() || !misfiled.is_empty() {
                let restoring = move |sql: &Connection| {
                    let mut words = witness::refile(sql, meter, log, &misfiled)?;
                    words.extend(restore(sql, meter, &differ, at)?);
                    Ok(words)
                };
                let words = self.write(restoring).await?;
                audit.restored += words.len() as u64;
                let room = TOLD.saturating_sub(audit.repaired.len());
                audit.repaired.extend(words.into_iter().take(room));
            }
        }
        Ok(audit)
    }

    /// Whether the leaves are whole and lead to the newest signed root.
    async fn leads_to_root(&self, meter: MeterId, known: &Witnessed, end: u64) -> Result<bool, StoreError> {
        if known.proven.size() != end {
            return Ok(false);
        }
        let mut tree = Peaks::new();
        while tree.size() < end {
            let before = tree.size();
            let log = known.log;
            tree = self.examine(move |sql| extend(sql, meter, log, tree, end)).await?;
            if tree.size() == before {
                return Ok(false);
            }
        }
        Ok(known.newest.is_none_or(|newest| newest.root == tree.root()))
    }

    /// Up to where the leaves lead to signed roots: from there on the meter has to be asked again.
    async fn agreed(&self, meter: MeterId, known: &Witnessed) -> Result<u64, StoreError> {
        let (log, key) = (known.log, known.key.clone());
        let checkpoints = self.examine(move |sql| witness::checkpoints(sql, meter, log, &key)).await?;
        let (mut tree, mut agreed) = (Peaks::new(), 0);
        for checkpoint in checkpoints {
            while tree.size() < checkpoint.size {
                let before = tree.size();
                tree = self.examine(move |sql| extend(sql, meter, log, tree, checkpoint.size)).await?;
                if tree.size() == before {
                    return Ok(agreed);
                }
            }
            if (tree.size(), tree.root()) != (checkpoint.size, checkpoint.root) {
                return Ok(agreed);
            }
            agreed = checkpoint.size;
        }
        Ok(agreed)
    }
}

/// Appends a slice of stored leaves, up to the first that is missing or altered.
fn extend(
    sql: &Connection,
    meter: MeterId,
    log: meterseal_seal::log::LogId,
    mut tree: Peaks,
    end: u64,
) -> Result<Peaks, Failure> {
    for leaf in witness::stored_leaves(sql, meter, log, tree.size(), end, SLICE)? {
        let intact = leaf.bytes.as_ref().is_none_or(|bytes| LogHash::of_leaf(bytes) == leaf.hash);
        if leaf.sequence != tree.size() || !intact {
            break;
        }
        tree.append(leaf.hash);
    }
    Ok(tree)
}

/// What a leaf says of a row that should be there.
fn body(leaf: &StoredLeaf, committed: &Committed) -> Option<Body> {
    let body = Leaf::decode(leaf.bytes.as_deref()?).ok()?.body;
    let is_due = match &body {
        Body::Event(event) => event.row <= committed.security_log,
        Body::Interval(interval) => interval.row <= committed.load_profile,
        _ => false,
    };
    is_due.then_some(body)
}

fn is_as_sealed(sql: &Connection, meter: MeterId, body: &Body) -> Result<bool, Failure> {
    Ok(match body {
        Body::Event(leaf) => {
            log::find(sql, meter, leaf.row)?.is_some_and(|stored| stored.event == sealed_event(leaf))
        }
        Body::Interval(leaf) => {
            let sealed = sealed_row(leaf)?;
            log::find_row(sql, meter, leaf.row)?.is_some_and(|stored| stored.row == sealed)
        }
        _ => true,
    })
}

/// Makes rows say what their leaves say; in words what each took.
fn restore(
    sql: &Connection,
    meter: MeterId,
    bodies: &[Body],
    at: UnixMillis,
) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    for body in bodies {
        words.extend(match body {
            Body::Event(event) => restore_event(sql, meter, event, at)?,
            Body::Interval(interval) => restore_interval(sql, meter, interval, at)?,
            _ => None,
        });
    }
    Ok(words)
}

/// A leaf's time as a row has it, which came by DLMS: in hundredths of a second.
const fn as_read(time: UnixMillis) -> UnixMillis {
    UnixMillis(time.0.div_euclid(10) * 10)
}

/// Makes an event's row say what its leaf says; in words what that took.
fn restore_event(
    sql: &Connection,
    meter: MeterId,
    leaf: &Event,
    at: UnixMillis,
) -> Result<Option<String>, Failure> {
    let sealed = sealed_event(leaf);
    match log::find(sql, meter, leaf.row)? {
        Some(stored) if stored.event == sealed => Ok(None),
        Some(stored) => {
            sql.prepare_cached(
                "UPDATE event SET code = ?3, at_ms = ?4, uptime_ms = ?5, extreme_micro = ?6
                 WHERE meter = ?1 AND sequence = ?2",
            )?
            .execute(params![
                meter.to_string(),
                signed(leaf.row, "a sequence number")?,
                sealed.code,
                sealed.at.0,
                signed(sealed.uptime_milliseconds, "an uptime")?,
                sealed.extreme_micro_units
            ])?;
            Ok(Some(format!(
                "event {} said {} at {}, and was {} at {}",
                leaf.row, stored.event.code, stored.event.at, sealed.code, sealed.at
            )))
        }
        None => {
            log::insert_events(sql, meter, &[sealed], at, None)?;
            Ok(Some(format!("event {} was missing", leaf.row)))
        }
    }
}

/// The same for a row of the load profile.
fn restore_interval(
    sql: &Connection,
    meter: MeterId,
    leaf: &Interval,
    at: UnixMillis,
) -> Result<Option<String>, Failure> {
    let sealed = sealed_row(leaf)?;
    let words = match log::find_row(sql, meter, leaf.row)? {
        Some(stored) if stored.row == sealed => return Ok(None),
        Some(_) => {
            sql.prepare_cached("DELETE FROM load_profile WHERE meter = ?1 AND sequence = ?2")?
                .execute(params![meter.to_string(), signed(leaf.row, "a sequence number")?])?;
            format!("interval {} to {} was altered", leaf.row, leaf.time)
        }
        None => format!("interval {} to {} was missing", leaf.row, leaf.time),
    };
    log::insert_profile(sql, meter, &[sealed], at, None)?;
    Ok(Some(words))
}

/// The row that belongs to an event's leaf.
fn sealed_event(leaf: &Event) -> SecurityEvent {
    SecurityEvent {
        sequence: leaf.row,
        code: leaf.code,
        at: as_read(leaf.time),
        uptime_milliseconds: leaf.uptime_ms,
        extreme_micro_units: leaf.extreme,
    }
}

/// The row that belongs to an interval's leaf.
fn sealed_row(leaf: &Interval) -> Result<ProfileRow, Failure> {
    let micro = |milli: u64| {
        let micro = i64::try_from(milli).ok().and_then(|milli| milli.checked_mul(1000));
        micro.ok_or(Failure::Value("an energy register"))
    };
    Ok(ProfileRow {
        sequence: leaf.row,
        at: as_read(leaf.time),
        energies: Energies {
            active_import_microwatt_hours: micro(leaf.totals.active_import_milliwatt_hours)?,
            active_export_microwatt_hours: micro(leaf.totals.active_export_milliwatt_hours)?,
            reactive_import_microvar_hours: micro(leaf.totals.reactive_import_millivar_hours)?,
            reactive_export_microvar_hours: micro(leaf.totals.reactive_export_millivar_hours)?,
        },
        mean_voltage_millivolts: leaf.mean_voltage_centivolts.map(|centivolts| u32::from(centivolts) * 10),
        status: leaf.status,
    })
}
