//! What the utility sets and what must outlive every power cut: calendars, special days, schedule, limits. One record
//! holds all of it, so that a change is there as a whole or not at all.

use alloc::vec::Vec;

use meterseal_model::UnixMillis;

use crate::calendar::{
    ACTIONS_MAX, Calendar, DAYS_MAX, DatePattern, DayAction, DayProfile, NAME_MAX, Name, SEASONS_MAX,
    SPECIAL_DAYS_MAX, Season, SpecialDay, TimeOfDay, WEEKS_MAX, Week, YearlyStart,
};
use crate::flash::Cursor;
use crate::push_setup::{PushSettings, WINDOWS_MAX, Window};
use crate::tamper::Thresholds;

/// Most execution times of a schedule.
pub(crate) const EXECUTIONS_MAX: usize = 12;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) active: Calendar,
    pub(crate) passive: Calendar,
    /// When the passive calendar becomes the active one.
    pub(crate) activate_at: Option<UnixMillis>,
    pub(crate) special_days: Vec<SpecialDay>,
    /// The end of the billing period.
    pub(crate) billing: Schedule,
    pub(crate) limiter: LimiterSettings,
    pub(crate) push: PushSettings,
    /// After so long without a byte a connection is given up, seconds; 0 leaves it to the device.
    pub(crate) inactivity_seconds: u16,
    /// When readings become tamper events; `None` leaves it to the maker.
    pub(crate) thresholds: Option<Thresholds>,
}

/// A single action schedule (class 22): its times, the instants within the days that they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The class's own enumeration, 1 to 5.
    pub(crate) kind: u8,
    pub(crate) executions: Vec<(TimeOfDay, DatePattern)>,
}

/// What the limiter (class 71) is set to. Thresholds are in hundredths of a watt, as the power that it watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimiterSettings {
    pub(crate) threshold_normal: u32,
    pub(crate) threshold_emergency: u32,
    pub(crate) min_over_seconds: u32,
    pub(crate) min_under_seconds: u32,
    /// Selectors in the disconnector's script table: 0 nothing, 1 disconnect, 2 reconnect.
    pub(crate) action_over: u16,
    pub(crate) action_under: u16,
    pub(crate) emergency_id: u16,
    /// When the emergency threshold comes into force, and for how many seconds.
    pub(crate) emergency_at: Option<UnixMillis>,
    pub(crate) emergency_seconds: u32,
    /// Emergency profiles that this meter heeds.
    pub(crate) emergency_groups: [u16; EMERGENCY_GROUPS_MAX],
    pub(crate) emergency_group_count: u8,
}

/// Most emergency profiles that a meter heeds.
pub(crate) const EMERGENCY_GROUPS_MAX: usize = 4;

impl LimiterSettings {
    /// A threshold that no power reaches.
    pub(crate) const NO_LIMIT: u32 = u32::MAX;
}

impl Default for Settings {
    /// One rate, no limit, a billing period that ends with the calendar month (UTC).
    fn default() -> Self {
        let first_of_month = DatePattern { year: 0xFFFF, month: 0xFF, day: 1, day_of_week: 0xFF };
        Self {
            active: Calendar::default(),
            passive: Calendar::default(),
            activate_at: None,
            special_days: Vec::new(),
            billing: Schedule { kind: 1, executions: alloc::vec![(TimeOfDay::MIDNIGHT, first_of_month)] },
            limiter: LimiterSettings {
                threshold_normal: LimiterSettings::NO_LIMIT,
                threshold_emergency: LimiterSettings::NO_LIMIT,
                min_over_seconds: 60,
                min_under_seconds: 60,
                action_over: 1,
                action_under: 0,
                emergency_id: 0,
                emergency_at: None,
                emergency_seconds: 0,
                emergency_groups: [0; EMERGENCY_GROUPS_MAX],
                emergency_group_count: 0,
            },
            push: PushSettings::default(),
            inactivity_seconds: 0,
            thresholds: None,
        }
    }
}

impl Settings {
    /// All tables full: what the record's slot must hold.
    pub(crate) const BYTES_MAX: usize = 1
        + 2 * (1
            + NAME_MAX
            + 3
            + SEASONS_MAX * (2 * (1 + NAME_MAX) + 7)
            + WEEKS_MAX * (1 + NAME_MAX + 7)
            + DAYS_MAX * (2 + ACTIONS_MAX * 4))
        + 9
        + 1
        + SPECIAL_DAYS_MAX * 8
        + 2
        + EXECUTIONS_MAX * 8
        + 4 * 4
        + 3 * 2
        + 9
        + 4
        + 2 * EMERGENCY_GROUPS_MAX
        + 1
        + 1
        + WINDOWS_MAX * 16
        + 5
        + 2
        + 1
        + 4 * Thresholds::COUNT;
    const VERSION: u8 = 3;
    /// Without thresholds of tampering.
    const SECOND_VERSION: u8 = 2;
    /// Without what concerns the connection, too.
    const FIRST_VERSION: u8 = 1;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Vec::with_capacity(Self::BYTES_MAX);
        w.push(Self::VERSION);
        for calendar in [&self.active, &self.passive] {
            put_calendar(&mut w, calendar);
        }
        put_time(&mut w, self.activate_at);
        w.push(self.special_days.len() as u8);
        for special in &self.special_days {
            w.extend(special.index.to_le_bytes());
            put_date(&mut w, special.date);
            w.push(special.day_id);
        }
        w.extend([self.billing.kind, self.billing.executions.len() as u8]);
        for &(time, date) in &self.billing.executions {
            put_time_of_day(&mut w, time);
            put_date(&mut w, date);
        }
        let limiter = &self.limiter;
        for value in [
            limiter.threshold_normal,
            limiter.threshold_emergency,
            limiter.min_over_seconds,
            limiter.min_under_seconds,
        ] {
            w.extend(value.to_le_bytes());
        }
        for value in [limiter.action_over, limiter.action_under, limiter.emergency_id] {
            w.extend(value.to_le_bytes());
        }
        put_time(&mut w, limiter.emergency_at);
        w.extend(limiter.emergency_seconds.to_le_bytes());
        limiter.emergency_groups.iter().for_each(|group| w.extend(group.to_le_bytes()));
        w.push(limiter.emergency_group_count);
        let push = &self.push;
        w.push(push.windows.len() as u8);
        for (time, date) in push.windows.iter().flat_map(|window| [window.start, window.end]) {
            put_time_of_day(&mut w, time);
            put_date(&mut w, date);
        }
        w.extend(push.randomisation_seconds.to_le_bytes());
        w.push(push.retries);
        w.extend(push.repetition_delay_seconds.to_le_bytes());
        w.extend(self.inactivity_seconds.to_le_bytes());
        // How many there are: with a later version more.
        w.push(if self.thresholds.is_some() { Thresholds::COUNT as u8 } else { 0 });
        let fields = self.thresholds.map(|thresholds| thresholds.to_fields());
        fields.iter().flatten().for_each(|field| w.extend(field.to_le_bytes()));
        w
    }

    /// `None` for another version or a record that is no settings.
    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(record);
        let version = fields.u8()?;
        if !(Self::FIRST_VERSION..=Self::VERSION).contains(&version) {
            return None;
        }
        let (active, passive) = (calendar(&mut fields)?, calendar(&mut fields)?);
        let activate_at = time(&mut fields)?;
        let special_days = list(&mut fields, SPECIAL_DAYS_MAX, |fields| {
            Some(SpecialDay { index: fields.u16()?, date: date(fields)?, day_id: fields.u8()? })
        })?;
        let kind = fields.u8()?;
        let executions =
            list(&mut fields, EXECUTIONS_MAX, |fields| Some((time_of_day(fields)?, date(fields)?)))?;
        let limiter = LimiterSettings {
            threshold_normal: fields.u32()?,
            threshold_emergency: fields.u32()?,
            min_over_seconds: fields.u32()?,
            min_under_seconds: fields.u32()?,
            action_over: fields.u16()?,
            action_under: fields.u16()?,
            emergency_id: fields.u16()?,
            emergency_at: time(&mut fields)?,
            emergency_seconds: fields.u32()?,
            emergency_groups: {
                let mut groups = [0; EMERGENCY_GROUPS_MAX];
                for group in &mut groups {
                    *group = fields.u16()?;
                }
                groups
            },
            emergency_group_count: fields.u8().filter(|&count| usize::from(count) <= EMERGENCY_GROUPS_MAX)?,
        };
        let (push, inactivity_seconds) = if version == Self::FIRST_VERSION {
            (PushSettings::default(), 0)
        } else {
            (push(&mut fields)?, fields.u16()?)
        };
        let thresholds = if version <= Self::SECOND_VERSION { None } else { thresholds(&mut fields)? };
        Some(Self {
            active,
            passive,
            activate_at,
            special_days,
            billing: Schedule { kind, executions },
            limiter,
            push,
            inactivity_seconds,
            thresholds,
        })
    }
}

impl Schedule {
    /// The latest execution after `after` and up to `until`, if there is one. No further back than [`LOOK_BACK_DAYS`].
    pub(crate) fn latest_due(&self, after: UnixMillis, until: UnixMillis) -> Option<UnixMillis> {
        latest_due(&self.executions, after, until)
    }
}

/// The latest instant after `after` and up to `until` that one of these means, no further back than [`LOOK_BACK_DAYS`].
pub(crate) fn latest_due(
    executions: &[(TimeOfDay, DatePattern)],
    after: UnixMillis,
    until: UnixMillis,
) -> Option<UnixMillis> {
    const DAY_MS: i64 = crate::calendar::DAY_MS;
    let last = until.0.div_euclid(DAY_MS);
    let first = after.0.div_euclid(DAY_MS).max(last - LOOK_BACK_DAYS);
    (first..=last).rev().find_map(|day| {
        let instants = executions.iter().filter(|(_, date)| date.matches(day));
        let instants = instants.map(|(time, _)| UnixMillis(day * DAY_MS + time.milliseconds()));
        instants.filter(|&instant| instant > after && instant <= until).max()
    })
}

/// How long a meter may have been without power and still make up for what it missed.
const LOOK_BACK_DAYS: i64 = 400;

fn put_calendar(w: &mut Vec<u8>, calendar: &Calendar) {
    put_name(w, &calendar.name);
    w.push(calendar.seasons.len() as u8);
    for season in &calendar.seasons {
        put_name(w, &season.name);
        w.extend(season.start.year.to_le_bytes());
        w.extend([season.start.month, season.start.day]);
        put_time_of_day(w, season.start.time);
        put_name(w, &season.week);
    }
    w.push(calendar.weeks.len() as u8);
    for week in &calendar.weeks {
        put_name(w, &week.name);
        w.extend(week.days);
    }
    w.push(calendar.days.len() as u8);
    for day in &calendar.days {
        w.extend([day.id, day.actions.len() as u8]);
        for action in &day.actions {
            put_time_of_day(w, action.start);
            w.push(action.rate);
        }
    }
}

fn calendar(fields: &mut Cursor<'_>) -> Option<Calendar> {
    Some(Calendar {
        name: name(fields)?,
        seasons: list(fields, SEASONS_MAX, |fields| {
            Some(Season {
                name: name(fields)?,
                start: YearlyStart {
                    year: fields.u16()?,
                    month: fields.u8()?,
                    day: fields.u8()?,
                    time: time_of_day(fields)?,
                },
                week: name(fields)?,
            })
        })?,
        weeks: list(fields, WEEKS_MAX, |fields| Some(Week { name: name(fields)?, days: fields.array()? }))?,
        days: list(fields, DAYS_MAX, |fields| {
            let id = fields.u8()?;
            let actions = list(fields, ACTIONS_MAX, |fields| {
                Some(DayAction { start: time_of_day(fields)?, rate: fields.u8()? })
            })?;
            Some(DayProfile { id, actions })
        })?,
    })
}

/// Thresholds that came later than the record have their standard value.
fn thresholds(fields: &mut Cursor<'_>) -> Option<Option<Thresholds>> {
    let count = usize::from(fields.u8()?);
    if count == 0 {
        return Some(None);
    }
    let mut values = Thresholds::STANDARD.to_fields();
    for value in values.get_mut(..count)? {
        *value = fields.u32()?;
    }
    let thresholds = Thresholds::from_fields(values);
    thresholds.check().is_ok().then_some(Some(thresholds))
}

fn push(fields: &mut Cursor<'_>) -> Option<PushSettings> {
    let instant = |fields: &mut Cursor<'_>| Some((time_of_day(fields)?, date(fields)?));
    Some(PushSettings {
        windows: list(fields, WINDOWS_MAX, |fields| {
            Some(Window { start: instant(fields)?, end: instant(fields)? })
        })?,
        randomisation_seconds: fields.u16()?,
        retries: fields.u8()?,
        repetition_delay_seconds: fields.u16()?,
    })
}

/// A count and so many elements, no more than `most`.
fn list<'a, T>(
    fields: &mut Cursor<'a>,
    most: usize,
    mut element: impl FnMut(&mut Cursor<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = usize::from(fields.u8()?);
    if count > most {
        return None;
    }
    (0..count).map(|_| element(fields)).collect()
}

fn put_name(w: &mut Vec<u8>, name: &[u8]) {
    w.push(name.len() as u8);
    w.extend(name);
}

fn name(fields: &mut Cursor<'_>) -> Option<Name> {
    let len = usize::from(fields.u8()?);
    if len > NAME_MAX {
        return None;
    }
    fields.bytes(len).map(Name::from)
}

fn put_time(w: &mut Vec<u8>, time: Option<UnixMillis>) {
    w.push(u8::from(time.is_some()));
    w.extend(time.map_or(0, |time| time.0).to_le_bytes());
}

fn time(fields: &mut Cursor<'_>) -> Option<Option<UnixMillis>> {
    let is_some = fields.u8()? != 0;
    let time = fields.i64()?;
    Some(is_some.then_some(UnixMillis(time)))
}

fn put_time_of_day(w: &mut Vec<u8>, time: TimeOfDay) {
    w.extend([time.hour, time.minute, time.second]);
}

fn time_of_day(fields: &mut Cursor<'_>) -> Option<TimeOfDay> {
    Some(TimeOfDay { hour: fields.u8()?, minute: fields.u8()?, second: fields.u8()? })
}

fn put_date(w: &mut Vec<u8>, date: DatePattern) {
    w.extend(date.year.to_le_bytes());
    w.extend([date.month, date.day, date.day_of_week]);
}

fn date(fields: &mut Cursor<'_>) -> Option<DatePattern> {
    Some(DatePattern {
        year: fields.u16()?,
        month: fields.u8()?,
        day: fields.u8()?,
        day_of_week: fields.u8()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every table full of the largest entries.
    pub(crate) fn full() -> Settings {
        let name = alloc::vec![0x41; NAME_MAX];
        let noon = TimeOfDay { hour: 12, minute: 34, second: 56 };
        let start = YearlyStart { year: 2026, month: 12, day: 31, time: noon };
        let day =
            |id| DayProfile { id, actions: alloc::vec![DayAction { start: noon, rate: 4 }; ACTIONS_MAX] };
        let calendar = Calendar {
            name: name.clone(),
            seasons: alloc::vec![Season { name: name.clone(), start, week: name.clone() }; SEASONS_MAX],
            weeks: alloc::vec![Week { name, days: [7; 7] }; WEEKS_MAX],
            days: (0..DAYS_MAX as u8).map(day).collect(),
        };
        let date = DatePattern { year: 2026, month: 12, day: 31, day_of_week: 4 };
        Settings {
            active: calendar.clone(),
            passive: calendar,
            activate_at: Some(UnixMillis(-1)),
            special_days: alloc::vec![SpecialDay { index: 1, date, day_id: 2 }; SPECIAL_DAYS_MAX],
            billing: Schedule { kind: 5, executions: alloc::vec![(noon, date); EXECUTIONS_MAX] },
            push: PushSettings {
                windows: alloc::vec![Window { start: (noon, date), end: (noon, date) }; WINDOWS_MAX],
                randomisation_seconds: 1,
                retries: 2,
                repetition_delay_seconds: 3,
            },
            inactivity_seconds: 4,
            thresholds: Some(Thresholds::STANDARD),
            ..Settings::default()
        }
    }

    #[test]
    fn settings_come_back_as_they_were_and_the_largest_fit_their_slot() {
        for settings in [Settings::default(), full()] {
            assert_eq!(Settings::decode(&settings.encode()), Some(settings));
        }
        assert_eq!(full().encode().len(), Settings::BYTES_MAX);
    }

    #[test]
    fn a_record_of_an_earlier_version_has_the_defaults_for_what_came_later() {
        let mut record = Settings::default().encode();
        record[0] = 2;
        record.pop();
        assert_eq!(Settings::decode(&record), Some(Settings::default()));
        record[0] = 1;
        record.truncate(record.len() - 1 - 5 - 2);
        assert_eq!(Settings::decode(&record), Some(Settings::default()));
    }

    #[test]
    fn a_record_that_ends_early_or_counts_too_far_is_none() {
        let record = full().encode();
        for end in 0..record.len() {
            assert_eq!(Settings::decode(&record[..end]), None, "{end}");
        }
        let mut many = Settings::default().encode();
        many[2] = SEASONS_MAX as u8 + 1;
        assert_eq!(Settings::decode(&many), None);
    }

    #[test]
    fn a_schedule_is_due_once_and_makes_up_for_what_was_missed() {
        let schedule = Settings::default().billing;
        let day = |day: i64| UnixMillis(day * crate::calendar::DAY_MS);
        // 2026-11-01 is day 20 758.
        let november = day(crate::clock::days_of(2026, 11, 1));
        assert_eq!(schedule.latest_due(UnixMillis(november.0 - 1), november), Some(november));
        assert_eq!(schedule.latest_due(november, UnixMillis(november.0 + 86_400_000)), None);
        assert_eq!(schedule.latest_due(UnixMillis(0), UnixMillis(november.0 + 5)), Some(november));
        assert_eq!(schedule.latest_due(november, UnixMillis(november.0 - 5)), None, "the clock went back");
    }
}
