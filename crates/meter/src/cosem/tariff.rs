//! Activity calendar, special days, script tables, the billing period's schedule, demand and maximum demand: as the
//! classes of IEC 62056-6-2 lay them out, from memory, not verified against the standard's text.

use dlms_cosem_rs::axdr::{Data, DateTime};
use dlms_cosem_rs::codec::Writer;
use dlms_cosem_rs::server::StoreResult;
use dlms_cosem_rs::xdlms::DataAccessResult;
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::objects::{Class, Object};
use meterseal_model::{Obis, UnixMillis};

use super::parse::{self, OUT_OF_BOUNDS, WRONG_TYPE};
use super::{put, put_array, put_structure};
use crate::calendar::{
    ACTIONS_MAX, Calendar, DAYS_MAX, DatePattern, DayAction, DayProfile, EVERY_YEAR, SEASONS_MAX,
    SPECIAL_DAYS_MAX, Season, SpecialDay, TimeOfDay, WEEKS_MAX, Week, YearlyStart,
};
use crate::inner::Inner;
use crate::settings::{EXECUTIONS_MAX, Schedule, Settings};
use crate::tariff::RATES;

pub(super) fn get<F: NorFlash>(
    inner: &Inner<F>,
    object: &Object,
    attribute: i8,
    w: &mut dyn Writer,
) -> StoreResult<()> {
    let settings = &inner.settings;
    match (object.class, attribute) {
        (Class::ActivityCalendar, 10) => put_instant(inner, settings.activate_at, w),
        (Class::ActivityCalendar, 2..=9) => {
            let (calendar, part) = if attribute < 6 {
                (&settings.active, attribute)
            } else {
                (&settings.passive, attribute - 4)
            };
            put_calendar(calendar, part, w)
        }
        (Class::SpecialDays, 2) => {
            put_array(w, settings.special_days.len())?;
            settings.special_days.iter().try_for_each(|special| {
                put_structure(w, 3)?;
                put(w, Data::LongUnsigned(special.index))?;
                put_date(special.date, w)?;
                put(w, Data::Unsigned(special.day_id))
            })
        }
        (Class::ScriptTable, 2) => scripts(object.obis, w),
        (Class::SingleActionSchedule, 2) => put_script(Obis::BILLING_SCRIPTS, 1, w),
        (Class::SingleActionSchedule, 3) => put(w, Data::Enum(settings.billing.kind)),
        (Class::SingleActionSchedule, 4) => {
            put_array(w, settings.billing.executions.len())?;
            settings.billing.executions.iter().try_for_each(|&(time, date)| {
                put_structure(w, 2)?;
                put_time(time, w)?;
                put_date(date, w)
            })
        }
        (Class::DemandRegister, _) => demand(inner, object, attribute, w),
        (Class::ExtendedRegister, _) => maximum(inner, object, attribute, w),
        _ => Err(DataAccessResult::ObjectUndefined),
    }
}

/// What a SET would make of the settings. Nothing is changed here.
pub(super) fn changed(
    settings: &Settings,
    object: &Object,
    attribute: i8,
    value: &Data<'_>,
) -> StoreResult<Settings> {
    let mut settings = settings.clone();
    let passive = &mut settings.passive;
    match (object.class, attribute) {
        (Class::ActivityCalendar, 6) => passive.name = parse::name(value)?,
        (Class::ActivityCalendar, 7) => passive.seasons = parse::array(value, SEASONS_MAX, season)?,
        (Class::ActivityCalendar, 8) => passive.weeks = parse::array(value, WEEKS_MAX, week)?,
        (Class::ActivityCalendar, 9) => passive.days = parse::array(value, DAYS_MAX, day)?,
        (Class::ActivityCalendar, 10) => settings.activate_at = parse::instant(value)?,
        (Class::SpecialDays, 2) => {
            let days = parse::array(value, SPECIAL_DAYS_MAX, special_day)?;
            let twice = |k: usize| days[..k].iter().any(|day| day.index == days[k].index);
            if (0..days.len()).any(twice) {
                return Err(OUT_OF_BOUNDS);
            }
            settings.special_days = days;
        }
        (Class::SingleActionSchedule, 4) => settings.billing = schedule(value)?,
        _ => return Err(DataAccessResult::ReadWriteDenied),
    }
    Ok(settings)
}

/// The special days with one more, which takes the place of one with the same index.
pub(super) fn with_special_day(settings: &Settings, value: &Data<'_>) -> StoreResult<Settings> {
    let special = special_day(value)?;
    let mut settings = settings.clone();
    settings.special_days.retain(|day| day.index != special.index);
    if settings.special_days.len() == SPECIAL_DAYS_MAX {
        return Err(OUT_OF_BOUNDS);
    }
    settings.special_days.push(special);
    Ok(settings)
}

/// The special days without the one of this index, which must be there.
pub(super) fn without_special_day(settings: &Settings, value: &Data<'_>) -> StoreResult<Settings> {
    let index: u16 = parse::number(value)?;
    let mut settings = settings.clone();
    settings.special_days.retain(|day| day.index != index);
    Ok(settings)
}

fn season(data: &Data<'_>) -> StoreResult<Season> {
    let [name, start, week] = parse::fields(data)?;
    let ([high, low, month, day, day_of_week], [hour, minute, second, hundredths]) =
        parse::date_and_time(&start)?;
    // A season begins on a day of the year; an hour that is left open is the first.
    let first = |part| if part == 0xFF { 0 } else { part };
    let time = TimeOfDay { hour: first(hour), minute: first(minute), second: first(second) };
    let year = u16::from_be_bytes([high, low]);
    let possible = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        // Which day of the week a date of one year is says nothing more; of every year it would say another thing.
        && (day_of_week == 0xFF || year != EVERY_YEAR)
        && time.is_possible()
        && matches!(hundredths, 0 | 0xFF);
    if !possible {
        return Err(OUT_OF_BOUNDS);
    }
    let start = YearlyStart { year, month, day, time };
    Ok(Season { name: parse::name(&name)?, start, week: parse::name(&week)? })
}

fn week(data: &Data<'_>) -> StoreResult<Week> {
    let fields: [Data<'_>; 8] = parse::fields(data)?;
    let mut days = [0; 7];
    for (day, field) in days.iter_mut().zip(&fields[1..]) {
        *day = parse::number(field)?;
    }
    Ok(Week { name: parse::name(&fields[0])?, days })
}

fn day(data: &Data<'_>) -> StoreResult<DayProfile> {
    let [id, actions] = parse::fields(data)?;
    Ok(DayProfile { id: parse::number(&id)?, actions: parse::array(&actions, ACTIONS_MAX, action)? })
}

fn action(data: &Data<'_>) -> StoreResult<DayAction> {
    let [start, script, selector] = parse::fields(data)?;
    let rate: u8 = parse::number(&selector)?;
    if parse::obis(&script)? != Obis::TARIFF_SCRIPTS || !(1..=RATES as u8).contains(&rate) {
        return Err(OUT_OF_BOUNDS);
    }
    Ok(DayAction { start: parse::time_of_day(&start)?, rate })
}

fn special_day(data: &Data<'_>) -> StoreResult<SpecialDay> {
    let [index, date, day_id] = parse::fields(data)?;
    Ok(SpecialDay {
        index: parse::number(&index)?,
        date: parse::date(&date)?,
        day_id: parse::number(&day_id)?,
    })
}

/// Execution times, and the type that follows from them: 1 one with wildcards in its date, 2 and 3 several of one time
/// with and without wildcards, 4 and 5 the same of different times.
fn schedule(data: &Data<'_>) -> StoreResult<Schedule> {
    let executions = parse::array(data, EXECUTIONS_MAX, |data| {
        let [time, date] = parse::fields(data)?;
        Ok((parse::time_of_day(&time)?, parse::date(&date)?))
    })?;
    let wildcards = executions.iter().filter(|(_, date)| date.has_wildcard()).count();
    let same_time = executions.iter().all(|&(time, _)| time == executions[0].0);
    let kind = match (executions.len(), wildcards, same_time) {
        (1, 1, _) => 1,
        (_, 0, true) => 3,
        (_, 0, false) => 5,
        (_, _, true) => 2,
        (_, _, false) => 4,
    };
    Ok(Schedule { kind, executions })
}

fn put_calendar(calendar: &Calendar, part: i8, w: &mut dyn Writer) -> StoreResult<()> {
    match part {
        2 => put(w, Data::OctetString(&calendar.name)),
        3 => {
            put_array(w, calendar.seasons.len())?;
            calendar.seasons.iter().try_for_each(|season| {
                put_structure(w, 3)?;
                put(w, Data::OctetString(&season.name))?;
                let YearlyStart { year, month, day, time } = season.start;
                let mut start = DateTime { year, month, day_of_month: day, ..DateTime::WILDCARD };
                (start.hour, start.minute, start.second) = (time.hour, time.minute, time.second);
                start.hundredths = 0;
                put(w, Data::OctetString(&start.to_bytes()))?;
                put(w, Data::OctetString(&season.week))
            })
        }
        4 => {
            put_array(w, calendar.weeks.len())?;
            calendar.weeks.iter().try_for_each(|week| {
                put_structure(w, 8)?;
                put(w, Data::OctetString(&week.name))?;
                week.days.iter().try_for_each(|&day| put(w, Data::Unsigned(day)))
            })
        }
        5 => {
            put_array(w, calendar.days.len())?;
            calendar.days.iter().try_for_each(|day| {
                put_structure(w, 2)?;
                put(w, Data::Unsigned(day.id))?;
                put_array(w, day.actions.len())?;
                day.actions.iter().try_for_each(|action| {
                    put_structure(w, 3)?;
                    put_time(action.start, w)?;
                    put(w, Data::OctetString(&Obis::TARIFF_SCRIPTS.0))?;
                    put(w, Data::LongUnsigned(action.rate.into()))
                })
            })
        }
        _ => Err(DataAccessResult::ObjectUndefined),
    }
}

/// A script table: each script executes one thing, written as the method that does it.
fn scripts(table: Obis, w: &mut dyn Writer) -> StoreResult<()> {
    /// Service 1 writes an attribute, 2 executes a method.
    struct Script(u8, u16, Obis, i8);
    const WRITE: u8 = 1;
    const EXECUTE: u8 = 2;
    let mut all = alloc::vec::Vec::new();
    match table {
        Obis::TARIFF_SCRIPTS => {
            all.extend((0..RATES).map(|_| Script(WRITE, 1, Obis::ACTIVE_RATE, 2)));
        }
        Obis::BILLING_SCRIPTS => all.push(Script(EXECUTE, 4, Obis::MAXIMUM_DEMAND[0], 1)),
        Obis::READING_SCRIPTS => all.push(Script(EXECUTE, 9, Obis::READING_SCRIPTS, 1)),
        Obis::DISCONNECTOR_SCRIPTS => {
            all.extend([1, 2].map(|method| Script(EXECUTE, 70, Obis::DISCONNECT_CONTROL, method)));
        }
        _ => return Err(DataAccessResult::ObjectUndefined),
    }
    put_array(w, all.len())?;
    all.iter().enumerate().try_for_each(|(k, &Script(service, class, obis, index))| {
        put_structure(w, 2)?;
        put(w, Data::LongUnsigned(k as u16 + 1))?;
        put_array(w, 1)?;
        put_structure(w, 5)?;
        put(w, Data::Enum(service))?;
        put(w, Data::LongUnsigned(class))?;
        put(w, Data::OctetString(&obis.0))?;
        put(w, Data::Integer(index))?;
        put(w, if service == WRITE { Data::Unsigned(k as u8 + 1) } else { Data::Integer(0) })
    })
}

fn demand<F: NorFlash>(
    inner: &Inner<F>,
    object: &Object,
    attribute: i8,
    w: &mut dyn Writer,
) -> StoreResult<()> {
    let k = direction(&Obis::DEMAND, object.obis)?;
    let demand = &inner.demand[k];
    match attribute {
        2 => put(w, centiwatts(demand.current_microwatts)),
        3 => put(w, centiwatts(demand.last.microwatts)),
        4 => put_scale(object, w),
        // 0: a whole period goes on; 1: not yet since the start or the last setting of the clock.
        5 => put(w, Data::Unsigned(u8::from(demand.began().is_none()))),
        6 => put_instant(inner, given(demand.last.time), w),
        7 => put_instant(inner, demand.began(), w),
        8 => put(w, Data::DoubleLongUnsigned(demand.period_seconds())),
        9 => put(w, Data::LongUnsigned(1)),
        _ => Err(DataAccessResult::ObjectUndefined),
    }
}

fn maximum<F: NorFlash>(
    inner: &Inner<F>,
    object: &Object,
    attribute: i8,
    w: &mut dyn Writer,
) -> StoreResult<()> {
    let peak = inner.tariff.maxima[direction(&Obis::MAXIMUM_DEMAND, object.obis)?];
    match attribute {
        2 => put(w, centiwatts(peak.microwatts)),
        3 => put_scale(object, w),
        // 0: a maximum; 1: no period has ended since the reset.
        4 => put(w, Data::Unsigned(u8::from(given(peak.time).is_none()))),
        5 => put_instant(inner, given(peak.time), w),
        _ => Err(DataAccessResult::ObjectUndefined),
    }
}

/// Which of import and export an object is.
pub(super) fn direction(objects: &[Obis; 2], obis: Obis) -> StoreResult<usize> {
    objects.iter().position(|&object| object == obis).ok_or(DataAccessResult::ObjectUndefined)
}

/// Power as demand shows it, saturated.
pub(super) fn centiwatts(microwatts: u64) -> Data<'static> {
    Data::DoubleLongUnsigned(u32::try_from(microwatts / 10_000).unwrap_or(u32::MAX))
}

/// The time of a peak that there has been.
pub(super) fn given(time: UnixMillis) -> Option<UnixMillis> {
    (time != UnixMillis(0)).then_some(time)
}

pub(super) fn put_scale(object: &Object, w: &mut dyn Writer) -> StoreResult<()> {
    let scale = object.scale.ok_or(DataAccessResult::OtherReason)?;
    put_structure(w, 2)?;
    put(w, Data::Integer(scale.scaler))?;
    put(w, Data::Enum(scale.unit as u8))
}

/// An instant, or one that is nowhere specified.
pub(super) fn put_instant<F: NorFlash>(
    inner: &Inner<F>,
    time: Option<UnixMillis>,
    w: &mut dyn Writer,
) -> StoreResult<()> {
    let time = time.map_or(DateTime::WILDCARD, |time| inner.date_time(time));
    put(w, Data::OctetString(&time.to_bytes()))
}

/// A script: its table and its number.
pub(super) fn put_script(table: Obis, selector: u16, w: &mut dyn Writer) -> StoreResult<()> {
    put_structure(w, 2)?;
    put(w, Data::OctetString(&table.0))?;
    put(w, Data::LongUnsigned(selector))
}

fn put_time(time: TimeOfDay, w: &mut dyn Writer) -> StoreResult<()> {
    put(w, Data::OctetString(&[time.hour, time.minute, time.second, 0]))
}

fn put_date(date: DatePattern, w: &mut dyn Writer) -> StoreResult<()> {
    let [high, low] = date.year.to_be_bytes();
    put(w, Data::OctetString(&[high, low, date.month, date.day, date.day_of_week]))
}

const _: () = assert!(EVERY_YEAR == 0xFFFF, "as the wildcard of a year on the wire");

/// A number that a script or a method takes.
pub(super) fn selector(data: Option<Data<'_>>) -> StoreResult<u16> {
    parse::number(&data.ok_or(WRONG_TYPE)?)
}

#[cfg(test)]
#[path = "tariff_tests.rs"]
mod tests;
