//! What is read from another maker's meter: the registers that it shows, and its load profile 1 by time from where the
//! store ends.

use std::collections::HashSet;

use meterseal_link::client::{AccessError, CosemDateTime};
use meterseal_link::{ClientError, Value};
use meterseal_model::{Obis, UnixMillis};

use super::session::{OtherError, Session};
use crate::api::types::OtherRegister;
use crate::clock;
use crate::store::OtherCell;
use crate::words::{names, show};

/// Registers of one meter that are read.
const REGISTERS: usize = 48;

/// Columns of a profile that are stored.
const COLUMNS: usize = 32;

/// Entries of an object list that are looked at.
const OBJECTS: usize = 5000;

/// Rows of a profile in one answer.
const ROWS: usize = 5000;

/// The longest span of a profile asked for at once.
const SPAN_MILLISECONDS: i64 = 86_400_000;

/// Spans asked for in one go: the next reading comes first, then the rest.
const SPANS: u32 = 8;

/// How far back the first reading of a profile goes.
const FIRST_MILLISECONDS: i64 = 30 * 86_400_000;

type Register = (u16, Obis, show::Scale);

/// The registers that a meter shows, with their scalers.
pub(super) struct Registers(Vec<Register>);

impl Registers {
    pub(super) async fn find(session: &mut Session<'_>) -> Result<Self, OtherError> {
        let listed = match session.client.get(ASSOCIATION_LN, Obis::ASSOCIATION, OBJECT_LIST).await {
            Ok(list) => listed(&list),
            Err(error) if error.is_fatal() => return Err(error.into()),
            Err(_) => Vec::new(),
        };
        let candidates = if listed.is_empty() { usual() } else { listed };
        session.reserve().await?;
        let asked: Vec<_> = candidates.iter().map(|&(class, obis)| (class, obis, SCALER_UNIT)).collect();
        let scalers = session.client.get_list(&asked).await?;
        let registers: Vec<Register> = candidates
            .into_iter()
            .zip(scalers)
            .filter_map(|((class, obis), scaler)| Some((class, obis, show::Scale::read(&scaler.ok()?)?)))
            .collect();
        if registers.is_empty() { Err(OtherError::NoRegisters) } else { Ok(Self(registers)) }
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Their values now, as they are shown. One that cannot be read is left out.
    pub(super) async fn read(&self, session: &mut Session<'_>) -> Result<Vec<OtherRegister>, OtherError> {
        let asked: Vec<_> = self.0.iter().map(|&(class, obis, _)| (class, obis, VALUE)).collect();
        let values = session.client.get_list(&asked).await?;
        let shown = self.0.iter().zip(values).filter_map(|(&(class, obis, scale), value)| {
            let value = value.ok()?;
            Some(OtherRegister {
                obis: obis.to_string(),
                name: names::object(class, obis).unwrap_or_else(|| names::class(class)),
                text: show::quantity(&value, scale),
            })
        });
        Ok(shown.collect())
    }
}

/// Registers of electricity in an object list: energies, powers, voltages, currents of now.
fn listed(list: &Value) -> Vec<(u16, Obis)> {
    let entry = |value: &Value| match value.as_list()? {
        [class, _version, obis, ..] => Some((u16::try_from(class.as_u64()?).ok()?, obis.as_obis()?)),
        _ => None,
    };
    let mut seen = HashSet::new();
    let mut found: Vec<_> = list
        .as_list()
        .unwrap_or_default()
        .iter()
        .take(OBJECTS)
        .filter_map(entry)
        .filter(|(class, obis)| {
            matches!(class, 3 | 4) && obis.0[0] == 1 && matches!(obis.0[3], 7 | 8) && obis.0[5] == 255
        })
        .filter(|&(_, obis)| seen.insert(obis))
        .collect();
    // Energies first, the totals before the rates.
    found.sort_by_key(|(_, obis)| (obis.0[3] != 8, obis.0[4], obis.0[2]));
    found.truncate(REGISTERS);
    found
}

/// What nearly every meter has, where no list can be read.
fn usual() -> Vec<(u16, Obis)> {
    [
        &[Obis::ACTIVE_ENERGY_IMPORT, Obis::ACTIVE_ENERGY_EXPORT][..],
        &[Obis::REACTIVE_ENERGY_IMPORT, Obis::REACTIVE_ENERGY_EXPORT],
        &[Obis::ACTIVE_POWER_IMPORT, Obis::ACTIVE_POWER_EXPORT, Obis::FREQUENCY],
        &Obis::VOLTAGE,
        &Obis::CURRENT,
    ]
    .concat()
    .into_iter()
    .map(|obis| (REGISTER, obis))
    .collect()
}

/// The load profile of a meter: where time and registers stand in its rows.
pub(super) struct Profile {
    clock: usize,
    columns: Vec<(usize, Obis, show::Scale)>,
}

impl Profile {
    /// `None`: the meter has no such profile, or none that can be read by time.
    pub(super) async fn find(session: &mut Session<'_>) -> Result<Option<Self>, OtherError> {
        session.reserve().await?;
        let captured = match session.client.get(PROFILE_GENERIC, Obis::LOAD_PROFILE, CAPTURE_OBJECTS).await {
            Ok(captured) => captured,
            Err(error) if error.is_fatal() => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        let column = |(place, value): (usize, &Value)| match value.as_list()? {
            [class, obis, attribute, ..] if attribute.as_u64() == Some(2) => {
                Some((place, u16::try_from(class.as_u64()?).ok()?, obis.as_obis()?))
            }
            _ => None,
        };
        let columns: Vec<_> = captured
            .as_list()
            .unwrap_or_default()
            .iter()
            .take(COLUMNS)
            .enumerate()
            .filter_map(column)
            .collect();
        let Some(clock) = columns.iter().find(|(_, class, _)| *class == CLOCK).map(|&(place, ..)| place)
        else {
            return Ok(None);
        };
        let registers: Vec<_> = columns.into_iter().filter(|(_, class, _)| matches!(class, 3 | 4)).collect();
        let asked: Vec<_> = registers.iter().map(|&(_, class, obis)| (class, obis, SCALER_UNIT)).collect();
        let scalers = session.client.get_list(&asked).await?;
        let columns: Vec<_> = registers
            .into_iter()
            .zip(scalers)
            .filter_map(|((place, _, obis), scaler)| Some((place, obis, show::Scale::read(&scaler.ok()?)?)))
            .collect();
        Ok((!columns.is_empty()).then_some(Self { clock, columns }))
    }

    /// Reads and stores what the profile holds beyond what is stored.
    pub(super) async fn close_gap(&mut self, session: &mut Session<'_>) -> Result<(), OtherError> {
        let meter = session.entry.id;
        let now = clock::now();
        let newest = session.others.store.newest_other(meter).await?;
        let mut from = newest.map_or(now.0 - FIRST_MILLISECONDS, |newest| newest.0 + 1000);
        // A day ahead, since a meter's clock may be.
        let end = now.0 + SPAN_MILLISECONDS;
        let mut span = SPAN_MILLISECONDS;
        // Empty spans cost a message each and bring nothing: they do not count against the go.
        let mut full = 0;
        while from < end && full < SPANS {
            session.reserve().await?;
            let to = end.min(from + span);
            let rows = match self.rows(session, UnixMillis(from), UnixMillis(to)).await {
                Ok(rows) => rows,
                Err(error) if is_too_long(&error) && span > 60_000 => {
                    span /= 2;
                    continue;
                }
                Err(error) if error.is_fatal() => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%meter, %error, "a span of the load profile cannot be read");
                    return Ok(());
                }
            };
            let cells: Vec<OtherCell> = rows.iter().flat_map(|row| self.cells(row)).collect();
            // What the meter sends beside what was asked for would be a way to fill the disk.
            let cells: Vec<_> = cells.into_iter().filter(|cell| (from..=to).contains(&cell.at.0)).collect();
            if !cells.is_empty() {
                session.others.store.insert_other(meter, cells, clock::now()).await?;
                full += 1;
            }
            from = to + 1000;
        }
        Ok(())
    }

    async fn rows(
        &self,
        session: &mut Session<'_>,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Vec<Vec<Value>>, ClientError> {
        let bound = |time| {
            let time = CosemDateTime::from_unix(time).map(|time| Value::Bytes(time.0.to_vec()));
            // Times about now always fit.
            time.unwrap_or(Value::Null)
        };
        let by_clock = (CLOCK, Obis::CLOCK, VALUE);
        session.client.profile_by_range(Obis::LOAD_PROFILE, by_clock, bound(from), bound(to), ROWS).await
    }

    fn cells(&self, row: &[Value]) -> Vec<OtherCell> {
        let Some(at) = row.get(self.clock).and_then(Value::as_time) else { return Vec::new() };
        let cell = |&(place, obis, scale): &(usize, Obis, show::Scale)| {
            let value = row.get(place)?.as_i64()?;
            Some(OtherCell { at, obis, value, scaler: scale.scaler, unit: scale.unit })
        };
        self.columns.iter().filter_map(cell).collect()
    }
}

fn is_too_long(error: &ClientError) -> bool {
    use AccessError::{Other, Selection};
    matches!(
        error,
        ClientError::AnswerTooLong
            | ClientError::TooManyRows { .. }
            | ClientError::Access(Selection | Other(250))
    )
}

/// Classes and attributes (IEC 62056-6-2).
const REGISTER: u16 = 3;
const PROFILE_GENERIC: u16 = 7;
const CLOCK: u16 = 8;
const ASSOCIATION_LN: u16 = 15;
const VALUE: i8 = 2;
const OBJECT_LIST: i8 = 2;
const SCALER_UNIT: i8 = 3;
const CAPTURE_OBJECTS: i8 = 3;
