//! Closing gaps: whatever a meter's security log and load profile hold beyond what is stored is read by its
//! sequence numbers, in pieces, stored, and only then acknowledged to the meter.

use std::collections::HashMap;

use meterseal_link::{DlmsClient, Value};
use meterseal_model::Obis;
use meterseal_model::objects::{Class, Column, LOAD_PROFILE_COLUMNS, SECURITY_LOG_COLUMNS};
use tokio::io::{AsyncRead, AsyncWrite};

use super::registers::{self, Scalers, VALUE};
use super::{AcquisitionError, Session};
use crate::alarms::HeadendCause;
use crate::clock;
use crate::store::{ProfileRow, SecurityEvent};

/// Rows in one request: a few kilobytes, so that an alarm never waits long behind them.
const PIECE: u64 = 64;

/// Pieces in one go. Between two goes come alarms and live readings.
const PIECES: u32 = 4;

/// How far from a position another row may stand for the one that is missing there.
const NEIGHBOURS: u32 = 4;

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ring {
    SecurityLog,
    LoadProfile,
}

impl Ring {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SecurityLog => "security log",
            Self::LoadProfile => "load profile",
        }
    }

    fn obis(self) -> Obis {
        match self {
            Self::SecurityLog => Obis::SECURITY_LOG,
            Self::LoadProfile => Obis::LOAD_PROFILE,
        }
    }

    fn acknowledgement(self) -> Obis {
        match self {
            Self::SecurityLog => Obis::COMMITTED_SECURITY_LOG,
            Self::LoadProfile => Obis::COMMITTED_LOAD_PROFILE,
        }
    }

    fn columns(self) -> &'static [Column] {
        match self {
            Self::SecurityLog => SECURITY_LOG_COLUMNS,
            Self::LoadProfile => LOAD_PROFILE_COLUMNS,
        }
    }
}

/// Where each captured object stands in a row, as the meter says: columns are found by name, not by place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout(HashMap<Obis, usize>);

impl Layout {
    /// Asks the meter, and checks that every column that the store needs is there.
    pub(super) async fn read<S: AsyncRead + AsyncWrite + Unpin>(
        client: &mut DlmsClient<S>,
        ring: Ring,
    ) -> Result<Self, AcquisitionError> {
        let value = client.get(Class::ProfileGeneric.id(), ring.obis(), CAPTURE_OBJECTS).await?;
        let columns = value.as_list().ok_or(malformed(ring, "its list of columns"))?;
        let layout: HashMap<Obis, usize> = columns
            .iter()
            .enumerate()
            .filter_map(|(place, column)| match column.as_list()? {
                [_class, name, attribute, ..] if attribute.as_i64() == Some(VALUE.into()) => {
                    Some((name.as_obis()?, place))
                }
                _ => None,
            })
            .collect();
        match ring.columns().iter().find(|column| !layout.contains_key(&column.obis)) {
            Some(missing) => {
                Err(AcquisitionError::Register { obis: missing.obis, what: "no column in its profile" })
            }
            None => Ok(Self(layout)),
        }
    }

    fn cell<'r>(&self, row: &'r [Value], obis: Obis) -> Option<&'r Value> {
        row.get(*self.0.get(&obis)?)
    }

    fn sequence(&self, row: &[Value], ring: Ring) -> Result<u64, AcquisitionError> {
        self.cell(row, Obis::ROW_SEQUENCE)
            .and_then(Value::as_u64)
            .filter(|&sequence| sequence > 0)
            .ok_or(malformed(ring, "a sequence number"))
    }

    fn event(&self, row: &[Value]) -> Result<SecurityEvent, AcquisitionError> {
        let cell = |obis, what| self.cell(row, obis).ok_or(malformed(Ring::SecurityLog, what));
        let wrong = |what| malformed(Ring::SecurityLog, what);
        Ok(SecurityEvent {
            sequence: self.sequence(row, Ring::SecurityLog)?,
            code: cell(Obis::SECURITY_EVENT_CODE, "an event number")?
                .as_u64()
                .and_then(|code| u8::try_from(code).ok())
                .ok_or(wrong("an event number"))?,
            at: cell(Obis::CLOCK, "a time")?.as_time().ok_or(wrong("a time"))?,
            uptime_milliseconds: cell(Obis::UPTIME, "an uptime")?.as_u64().ok_or(wrong("an uptime"))?,
            extreme_micro_units: cell(Obis::EVENT_EXTREME, "an extreme value")?
                .as_i64()
                .ok_or(wrong("an extreme value"))?,
        })
    }

    fn profile_row(&self, row: &[Value], scalers: &Scalers) -> Result<ProfileRow, AcquisitionError> {
        let wrong = |what| malformed(Ring::LoadProfile, what);
        let mean = |obis| {
            let value = self.cell(row, obis).ok_or(wrong("a mean voltage"))?;
            let millivolts = registers::integer(obis, value, scalers, -3)?;
            u32::try_from(millivolts).map_err(|_| wrong("a mean voltage"))
        };
        let [l1, l2, l3] = Obis::AVERAGE_VOLTAGE;
        Ok(ProfileRow {
            sequence: self.sequence(row, Ring::LoadProfile)?,
            at: self.cell(row, Obis::CLOCK).and_then(Value::as_time).ok_or(wrong("a time"))?,
            energies: registers::energies(|obis| self.cell(row, obis), scalers)?,
            mean_voltage_millivolts: [mean(l1)?, mean(l2)?, mean(l3)?],
            status: self
                .cell(row, Obis::PROFILE_STATUS)
                .and_then(Value::as_u64)
                .and_then(|status| u8::try_from(status).ok())
                .ok_or(wrong("a status"))?,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// Reads what a ring holds beyond what is stored. `Ok(true)`: there is more to read.
    pub(super) async fn close_gap(&mut self, ring: Ring) -> Result<bool, AcquisitionError> {
        self.reserve().await?;
        let class = Class::ProfileGeneric.id();
        let in_use = self.client.get(class, ring.obis(), ENTRIES_IN_USE).await?;
        let in_use = in_use
            .as_u64()
            .and_then(|count| u32::try_from(count).ok())
            .ok_or(malformed(ring, "its number of rows"))?;
        if in_use == 0 {
            return self.compare_end(ring, 0).map(|()| false);
        }
        let newest = self.sequence_at(ring, in_use).await?;
        self.compare_end(ring, newest)?;
        if newest <= self.committed(ring) {
            return Ok(false);
        }
        let oldest = self.sequence_at(ring, 1).await?;
        let stored = self.committed(ring);
        if oldest > stored + 1 {
            // Not an error on the first contact with a meter that has been at work for long.
            tracing::warn!(
                meter = %self.meter, ring = ring.name(), from = stored + 1, to = oldest - 1,
                "the meter no longer holds these rows and they were never stored"
            );
            // A meter that was at work for long before its first contact has lost nothing that was promised.
            if stored > 0 {
                let text = format!(
                    "The meter's {} no longer holds rows {} to {}, which were never stored.",
                    ring.name(),
                    stored + 1,
                    oldest - 1
                );
                self.alarms.raise(Some(self.meter), HeadendCause::RowsLost, text).await?;
            }
        }
        let mut from = oldest.max(stored + 1);
        for _ in 0..PIECES {
            let to = newest.min(from.saturating_add(PIECE - 1));
            self.read_piece(ring, from, to).await?;
            self.acknowledge(ring).await?;
            if to == newest {
                return Ok(false);
            }
            from = to + 1;
        }
        Ok(true)
    }

    /// Tells the meter what is committed, if it was not told yet.
    pub(super) async fn acknowledge(&mut self, ring: Ring) -> Result<(), AcquisitionError> {
        let committed = self.committed(ring);
        let told = match ring {
            Ring::SecurityLog => &mut self.told.security_log,
            Ring::LoadProfile => &mut self.told.load_profile,
        };
        if committed == 0 || *told >= committed {
            return Ok(());
        }
        self.client.set(Class::Data.id(), ring.acknowledgement(), VALUE, Value::U64(committed)).await?;
        *told = committed;
        Ok(())
    }

    fn committed(&self, ring: Ring) -> u64 {
        match ring {
            Ring::SecurityLog => self.committed.security_log,
            Ring::LoadProfile => self.committed.load_profile,
        }
    }

    async fn read_piece(&mut self, ring: Ring, from: u64, to: u64) -> Result<(), AcquisitionError> {
        self.reserve().await?;
        let found = self.read_rows(ring, from, to).await?;
        let missing = (to - from + 1).saturating_sub(found as u64);
        if missing > 0 {
            tracing::error!(
                meter = %self.meter, ring = ring.name(), from, to, missing,
                "the meter cannot read some of its rows any more: its memory has failed there"
            );
            let text = format!(
                "{missing} of the rows {from} to {to} of the meter's {} cannot be read any more: its memory has failed there.",
                ring.name()
            );
            self.alarms.raise(Some(self.meter), HeadendCause::RowsLost, text).await?;
        }
        Ok(())
    }

    /// Reads and stores the rows from one sequence number to another, and tells how many there were.
    async fn read_rows(&mut self, ring: Ring, from: u64, to: u64) -> Result<usize, AcquisitionError> {
        let by_sequence = (Class::Data.id(), Obis::ROW_SEQUENCE, VALUE);
        let rows = self
            .client
            .profile_by_range(ring.obis(), by_sequence, Value::U64(from), Value::U64(to), PIECE as usize)
            .await?;
        let layout = self.layout(ring);
        for row in &rows {
            if !(from..=to).contains(&layout.sequence(row, ring)?) {
                return Err(malformed(ring, "only rows that were asked for"));
            }
        }
        match ring {
            Ring::SecurityLog => {
                let events = rows.iter().map(|row| layout.event(row)).collect::<Result<_, _>>()?;
                self.store_events(events, Some(to)).await?;
            }
            Ring::LoadProfile => {
                let intervals = rows
                    .iter()
                    .map(|row| layout.profile_row(row, &self.scalers))
                    .collect::<Result<_, _>>()?;
                let (batch, committed) =
                    self.store.insert_profile(self.meter, intervals, clock::now(), Some(to)).await?;
                contradiction(ring, &batch.contradicted)?;
                self.committed = committed;
            }
        }
        Ok(rows.len())
    }

    /// The sequence number of the row at a position, 1 being the oldest. A row that has rotted in the meter's memory
    /// has no number; then its neighbours tell it.
    async fn sequence_at(&mut self, ring: Ring, position: u32) -> Result<u64, AcquisitionError> {
        for candidate in (0..=NEIGHBOURS).flat_map(|k| [position.checked_sub(k), position.checked_add(k)]) {
            let Some(near) = candidate.filter(|&near| near > 0) else { continue };
            let rows = self.client.profile_by_entry(ring.obis(), near, near, 1).await?;
            if let Some(row) = rows.first() {
                let sequence = self.layout(ring).sequence(row, ring)?;
                return Ok((sequence + u64::from(position)).saturating_sub(near.into()).max(1));
            }
        }
        Err(malformed(ring, "any row near a position that it says is in use"))
    }

    /// Compares the newest row that is stored with what the meter says under its number: a meter whose memory was put
    /// back and that has gone on since says something else there.
    pub(super) async fn check_tail(&mut self, ring: Ring) -> Result<(), AcquisitionError> {
        let stored = self.committed(ring);
        if stored == 0 {
            return Ok(());
        }
        self.reserve().await?;
        self.read_rows(ring, stored, stored).await.map(drop)
    }

    /// A ring that ends before what it has already given was put back or belongs to another device.
    fn compare_end(&self, ring: Ring, newest: u64) -> Result<(), AcquisitionError> {
        let stored = self.committed(ring);
        if newest < stored {
            return Err(AcquisitionError::RolledBack { ring: ring.name(), newest, stored });
        }
        Ok(())
    }

    fn layout(&self, ring: Ring) -> &Layout {
        match ring {
            Ring::SecurityLog => &self.security_log,
            Ring::LoadProfile => &self.load_profile,
        }
    }
}

fn malformed(ring: Ring, what: &'static str) -> AcquisitionError {
    AcquisitionError::Malformed { ring: ring.name(), what }
}

/// IEC 62056-6-2, Profile generic.
const CAPTURE_OBJECTS: i8 = 3;
const ENTRIES_IN_USE: i8 = 7;

/// Two different rows under one number: the meter's memory was put back, or two devices share an identity.
pub(super) fn contradiction(ring: Ring, sequences: &[u64]) -> Result<(), AcquisitionError> {
    match sequences.first() {
        Some(&sequence) => Err(AcquisitionError::Contradiction { ring: ring.name(), sequence }),
        None => Ok(()),
    }
}
