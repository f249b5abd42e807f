//! Profile generic: logs and profiles, whole or by range of sequence or time, or by entry.
//!
//! An answer is built whole before it is cut into blocks, so a selection that does not fit is refused with
//! scope-of-access-violated, never shortened: a client asks for a smaller range.

use alloc::vec::Vec;

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::Writer;
use dlms_cosem_rs::cosem::CaptureObject;
use dlms_cosem_rs::server::StoreResult;
use dlms_cosem_rs::xdlms::{DataAccessResult, SelectiveAccess};
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::objects::{
    BILLING_COLUMNS, Column, EVENT_LOG_COLUMNS, LOAD_PROFILE_COLUMNS, Object, POWER_QUALITY_COLUMNS,
    SEALED_LEAVES_COLUMNS, SECURITY_LOG_COLUMNS,
};
use meterseal_model::{Obis, UnixMillis};

use super::tariff::{centiwatts, given, put_instant};
use super::{put, put_array, put_structure, raw};
use crate::billing::BillingRow;
use crate::clock::timestamp;
use crate::dlms::VALUE_MAX;
use crate::inner::Inner;
use crate::quality::QualityRow;
use crate::records::{ProfileRow, SecurityEntry};
use crate::sealed_log::SealedLeaf;

pub(super) fn get<F: NorFlash>(
    inner: &Inner<F>,
    object: &Object,
    attribute: i8,
    access: Option<SelectiveAccess<'_>>,
    w: &mut dyn Writer,
) -> StoreResult<()> {
    let profile = Profile::of(object.obis).ok_or(DataAccessResult::ObjectUndefined)?;
    let (held, capacity) = profile.extent(inner);
    match attribute {
        2 => buffer(inner, profile, access, w),
        3 => columns(profile.columns(), w),
        // 0: captured when something happens.
        4 => put(
            w,
            Data::DoubleLongUnsigned(match profile {
                Profile::Load => inner.interval.period_seconds(),
                Profile::SecurityLog
                | Profile::Quality
                | Profile::Events
                | Profile::Billing
                | Profile::Leaves => 0,
            }),
        ),
        // First in, first out: sorted by nothing but their order.
        5 => put(w, Data::Enum(1)),
        6 => column(&profile.columns()[0], w),
        7 => put(w, Data::DoubleLongUnsigned(count(&held))),
        8 => put(w, Data::DoubleLongUnsigned(capacity)),
        _ => Err(DataAccessResult::ObjectUndefined),
    }
}

/// The definitions of captured objects.
pub(super) fn columns(columns: &[Column], w: &mut dyn Writer) -> StoreResult<()> {
    put_array(w, columns.len())?;
    columns.iter().try_for_each(|definition| column(definition, w))
}

fn column(column: &Column, w: &mut dyn Writer) -> StoreResult<()> {
    put_structure(w, 4)?;
    put(w, Data::LongUnsigned(column.class.id()))?;
    put(w, Data::OctetString(&column.obis.0))?;
    put(w, Data::Integer(column.attribute))?;
    put(w, Data::LongUnsigned(0))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Profile {
    SecurityLog,
    Load,
    Quality,
    Events,
    Billing,
    Leaves,
}

/// A row of any profile.
enum Row {
    Entry(SecurityEntry),
    Interval(ProfileRow),
    Quality(QualityRow),
    Event(SecurityEntry),
    Billing(BillingRow),
    Leaf(u64, SealedLeaf),
}

type Sequences = core::ops::RangeInclusive<u32>;

impl Profile {
    fn of(obis: Obis) -> Option<Self> {
        Some(match obis {
            Obis::SECURITY_LOG => Self::SecurityLog,
            Obis::LOAD_PROFILE => Self::Load,
            Obis::POWER_QUALITY_LOG => Self::Quality,
            Obis::EVENT_LOG => Self::Events,
            Obis::BILLING_PROFILE => Self::Billing,
            Obis::SEALED_LEAVES => Self::Leaves,
            _ => return None,
        })
    }

    const fn columns(self) -> &'static [Column] {
        match self {
            Self::SecurityLog => SECURITY_LOG_COLUMNS,
            Self::Load => LOAD_PROFILE_COLUMNS,
            Self::Quality => POWER_QUALITY_COLUMNS,
            Self::Events => EVENT_LOG_COLUMNS,
            Self::Billing => BILLING_COLUMNS,
            Self::Leaves => SEALED_LEAVES_COLUMNS,
        }
    }

    /// The sequence numbers held, and how many are held at least once the profile has filled.
    fn extent<F: NorFlash>(self, inner: &Inner<F>) -> (Sequences, u32) {
        let storage = inner.storage.borrow();
        if self == Self::Leaves {
            // Rows count from one, leaves from nought.
            let tree = storage.tree();
            let number = |index: u64| u32::try_from(index).unwrap_or(u32::MAX);
            return (number(tree.oldest() + 1)..=number(tree.peaks().size()), tree.capacity());
        }
        let ring = match self {
            Self::SecurityLog => storage.log(),
            Self::Load => storage.profile(),
            Self::Quality => storage.quality(),
            Self::Events => storage.events(),
            Self::Billing | Self::Leaves => storage.billing(),
        };
        let mut held = ring.sequences();
        if self == Self::Events && inner.tariff.events_cleared >= *held.start() {
            held = inner.tariff.events_cleared + 1..=*held.end();
        }
        (held, ring.capacity())
    }

    fn row<F: NorFlash>(self, inner: &Inner<F>, sequence: u32) -> StoreResult<Option<Row>> {
        if self == Self::Leaves {
            let index = u64::from(sequence) - 1;
            let leaf = inner.leaf(index).map_err(|_| DataAccessResult::HardwareFault)?;
            return Ok(leaf.map(|leaf| Row::Leaf(sequence.into(), leaf)));
        }
        let mut storage = inner.storage.borrow_mut();
        let row = match self {
            Self::SecurityLog => storage.log_entry(sequence).map(|entry| entry.map(Row::Entry)),
            Self::Load => storage.profile_row(sequence).map(|row| row.map(Row::Interval)),
            Self::Quality => storage.quality_row(sequence).map(|row| row.map(Row::Quality)),
            Self::Events => storage.event(sequence).map(|entry| entry.map(Row::Event)),
            Self::Billing | Self::Leaves => storage.billing_row(sequence).map(|row| row.map(Row::Billing)),
        };
        row.map_err(|_| DataAccessResult::HardwareFault)
    }
}

/// What a client wants of a buffer.
struct Selection {
    sequences: Sequences,
    /// Only rows of this time; all when `None`.
    times: Option<core::ops::RangeInclusive<UnixMillis>>,
    /// Bit k: column k.
    columns: u32,
}

fn buffer<F: NorFlash>(
    inner: &Inner<F>,
    profile: Profile,
    access: Option<SelectiveAccess<'_>>,
    w: &mut dyn Writer,
) -> StoreResult<()> {
    let (held, _) = profile.extent(inner);
    let selection = match access {
        None => Selection { sequences: held, times: None, columns: u32::MAX },
        Some(access) => select(profile, &held, &access)?,
    };
    let mut rows = Vec::new();
    let mut found = 0;
    for sequence in selection.sequences {
        let Some(row) = profile.row(inner, sequence)? else { continue };
        if selection.times.as_ref().is_some_and(|times| !times.contains(&row.time())) {
            continue;
        }
        row.write(inner, profile, selection.columns, &mut rows)?;
        found += 1;
        if rows.len() > VALUE_MAX {
            return Err(DataAccessResult::ScopeOfAccessViolated);
        }
    }
    put_array(w, found)?;
    raw(w, &rows)
}

fn select(profile: Profile, held: &Sequences, access: &SelectiveAccess<'_>) -> StoreResult<Selection> {
    let parameters = access.parameters.as_structure().ok_or(DataAccessResult::TypeUnmatched)?;
    let parameter = |k| parameters.get(k).map_err(|_| DataAccessResult::TypeUnmatched);
    let number = |k| parameter(k)?.as_u64().ok_or(DataAccessResult::TypeUnmatched);
    let clamp = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    match access.selector {
        // By range: restricting object, from, to, selected columns.
        1 => {
            let by = CaptureObject::from_data(&parameter(0)?).map_err(|_| DataAccessResult::TypeUnmatched)?;
            let columns = chosen_columns(profile, &parameter(3)?)?;
            if by.attribute_index == 2 && by.logical_name.0 == Obis::ROW_SEQUENCE.0 {
                let from = clamp(number(1)?).max(*held.start());
                let to = clamp(number(2)?).min(*held.end());
                Ok(Selection { sequences: from..=to, times: None, columns })
            } else if by.attribute_index == 2 && by.logical_name.0 == Obis::CLOCK.0 {
                let time = |k| timestamp(parameter(k)?).ok_or(DataAccessResult::TypeUnmatched);
                Ok(Selection { sequences: held.clone(), times: Some(time(1)?..=time(2)?), columns })
            } else {
                Err(DataAccessResult::ScopeOfAccessViolated)
            }
        }
        // By entry: from and to row, from and to column, each from 1; 0 as "to" means the last.
        2 => {
            let end = |number: u64, last: u32| if number == 0 { last } else { clamp(number).min(last) };
            let first = held.start().saturating_add(clamp(number(0)?).max(1) - 1);
            let last = held.start().saturating_add(end(number(1)?, count(held)).saturating_sub(1));
            let sequences = if count(held) == 0 { held.clone() } else { first..=last.min(*held.end()) };
            let width = profile.columns().len() as u32;
            let (from, to) = (clamp(number(2)?).max(1), end(number(3)?, width));
            let columns = (from..=to).fold(0, |bits, k| bits | 1u32.checked_shl(k - 1).unwrap_or(0));
            Ok(Selection { sequences, times: None, columns })
        }
        _ => Err(DataAccessResult::ScopeOfAccessViolated),
    }
}

/// The columns that a client names; all when it names none.
fn chosen_columns(profile: Profile, chosen: &Data<'_>) -> StoreResult<u32> {
    let chosen = chosen.as_array().ok_or(DataAccessResult::TypeUnmatched)?;
    let mut columns = 0;
    for definition in &chosen {
        let definition = definition
            .and_then(|definition| CaptureObject::from_data(&definition))
            .map_err(|_| DataAccessResult::TypeUnmatched)?;
        let k = profile
            .columns()
            .iter()
            .position(|column| {
                column.obis.0 == definition.logical_name.0 && column.attribute == definition.attribute_index
            })
            .ok_or(DataAccessResult::ScopeOfAccessViolated)?;
        columns |= 1 << k;
    }
    Ok(if columns == 0 { u32::MAX } else { columns })
}

impl Row {
    const fn time(&self) -> UnixMillis {
        match self {
            Self::Entry(entry) | Self::Event(entry) => entry.time,
            Self::Billing(row) => row.time,
            Self::Interval(row) => row.time,
            Self::Quality(row) => row.time,
            // Leaves are found by their place alone.
            Self::Leaf(..) => UnixMillis(0),
        }
    }

    fn write<F: NorFlash>(
        &self,
        inner: &Inner<F>,
        profile: Profile,
        columns: u32,
        w: &mut Vec<u8>,
    ) -> StoreResult<()> {
        let chosen = || profile.columns().iter().enumerate().filter(|(k, _)| columns & (1 << k) != 0);
        put_structure(w, chosen().count())?;
        let time = inner.date_time(self.time()).to_bytes();
        chosen().try_for_each(|(_, column)| match (self, column.obis, column.attribute) {
            (_, Obis::CLOCK, _) => put(w, Data::OctetString(&time)),
            (Self::Leaf(_, leaf), Obis::SEALED_LEAF, _) => put(w, Data::OctetString(leaf.octets())),
            (Self::Billing(row), obis, 5) => {
                let k = super::tariff::direction(&Obis::MAXIMUM_DEMAND, obis)?;
                put_instant(inner, given(row.maxima[k].time), w)
            }
            _ => put(w, self.value(column)?),
        })
    }

    fn value(&self, column: &Column) -> StoreResult<Data<'static>> {
        Ok(match (self, column.obis) {
            (Self::Event(entry), Obis::EVENT_LOG_CODE) => Data::Unsigned(entry.code as u8),
            (Self::Event(entry) | Self::Entry(entry), Obis::ROW_SEQUENCE) => {
                Data::Long64Unsigned(entry.sequence)
            }
            (Self::Entry(entry), Obis::SECURITY_EVENT_CODE) => Data::Unsigned(entry.code as u8),
            (Self::Event(entry) | Self::Entry(entry), Obis::EVENT_EXTREME) => Data::Long64(entry.extreme),
            (Self::Event(entry) | Self::Entry(entry), Obis::UPTIME) => Data::Long64Unsigned(entry.uptime_ms),
            (Self::Interval(row), obis) => match obis {
                Obis::ROW_SEQUENCE => Data::Long64Unsigned(row.sequence),
                Obis::PROFILE_STATUS => Data::Unsigned(row.status),
                Obis::ACTIVE_ENERGY_IMPORT => Data::Long64Unsigned(row.active_import_milliwatt_hours),
                Obis::ACTIVE_ENERGY_EXPORT => Data::Long64Unsigned(row.active_export_milliwatt_hours),
                Obis::REACTIVE_ENERGY_IMPORT => Data::Long64Unsigned(row.reactive_import_millivar_hours),
                Obis::REACTIVE_ENERGY_EXPORT => Data::Long64Unsigned(row.reactive_export_millivar_hours),
                _ => {
                    let phase = Obis::AVERAGE_VOLTAGE.iter().position(|&voltage| voltage == obis);
                    let phase = phase.ok_or(DataAccessResult::ObjectUndefined)?;
                    Data::LongUnsigned(row.mean_voltage_centivolts[phase])
                }
            },
            (Self::Quality(row), obis) => match obis {
                Obis::ROW_SEQUENCE => Data::Long64Unsigned(row.sequence),
                Obis::POWER_QUALITY_EVENT => Data::Unsigned(row.event as u8),
                Obis::POWER_QUALITY_PHASE => Data::Unsigned(row.phase),
                Obis::POWER_QUALITY_DURATION => Data::DoubleLongUnsigned(row.duration_ms),
                Obis::EVENT_EXTREME => Data::Long64(row.extreme),
                Obis::UPTIME => Data::Long64Unsigned(row.uptime_ms),
                _ => return Err(DataAccessResult::ObjectUndefined),
            },
            (Self::Billing(row), obis) => match obis {
                Obis::ROW_SEQUENCE => Data::Long64Unsigned(row.sequence),
                Obis::ACTIVE_ENERGY_IMPORT => Data::Long64Unsigned(row.active_import_milliwatt_hours),
                Obis::ACTIVE_ENERGY_EXPORT => Data::Long64Unsigned(row.active_export_milliwatt_hours),
                Obis::REACTIVE_ENERGY_IMPORT => Data::Long64Unsigned(row.reactive_import_millivar_hours),
                Obis::REACTIVE_ENERGY_EXPORT => Data::Long64Unsigned(row.reactive_export_millivar_hours),
                _ => match row.rates.energy(obis) {
                    Some(energy) => Data::Long64Unsigned(energy),
                    None => centiwatts(
                        row.maxima[super::tariff::direction(&Obis::MAXIMUM_DEMAND, obis)?].microwatts,
                    ),
                },
            },
            (Self::Leaf(number, _), Obis::ROW_SEQUENCE) => Data::Long64Unsigned(*number),
            (Self::Entry(_) | Self::Event(_) | Self::Leaf(..), _) => {
                return Err(DataAccessResult::ObjectUndefined);
            }
        })
    }
}

fn count(sequences: &Sequences) -> u32 {
    if sequences.is_empty() { 0 } else { sequences.end() - sequences.start() + 1 }
}
