//! The activity calendar (IEC 62056-6-2, class 20, and class 11 for special days; from memory, not verified against the
//! standard's text): which tariff rate is in force at an instant of the meter's clock, which is UTC.
//!
//! A year has seasons, a season a week, a week seven day profiles, a day profile the instants at which a rate begins. A
//! special day replaces the week's profile. A calendar without seasons is always at rate 1.

use alloc::vec::Vec;

use meterseal_model::UnixMillis;

use crate::clock::{civil_date, days_of};
use crate::tariff::RATES;

/// Bounds of a calendar. What is larger is refused whole.
pub(crate) const SEASONS_MAX: usize = 6;
pub(crate) const WEEKS_MAX: usize = 6;
pub(crate) const DAYS_MAX: usize = 16;
pub(crate) const ACTIONS_MAX: usize = 12;
pub(crate) const SPECIAL_DAYS_MAX: usize = 48;
/// Bytes of a season's, a week's or a calendar's name.
pub(crate) const NAME_MAX: usize = 8;

pub(crate) type Name = Vec<u8>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calendar {
    pub(crate) name: Name,
    pub(crate) seasons: Vec<Season>,
    pub(crate) weeks: Vec<Week>,
    pub(crate) days: Vec<DayProfile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Season {
    pub(crate) name: Name,
    pub(crate) start: YearlyStart,
    pub(crate) week: Name,
}

/// When a season starts: once, or every year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct YearlyStart {
    /// 0xFFFF: every year.
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
    pub(crate) time: TimeOfDay,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Week {
    pub(crate) name: Name,
    /// Monday to Sunday.
    pub(crate) days: [u8; 7],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DayProfile {
    pub(crate) id: u8,
    pub(crate) actions: Vec<DayAction>,
}

/// From this time of day on, this rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DayAction {
    pub(crate) start: TimeOfDay,
    /// 1 to [`RATES`].
    pub(crate) rate: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeOfDay {
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
}

/// A date with wildcards: 0xFFFF as year and 0xFF elsewhere match all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DatePattern {
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
    /// 1 Monday to 7 Sunday.
    pub(crate) day_of_week: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpecialDay {
    pub(crate) index: u16,
    pub(crate) date: DatePattern,
    pub(crate) day_id: u8,
}

/// Why a calendar cannot be made the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CalendarError {
    /// A season names a week that is not there.
    Week,
    /// A week names a day profile that is not there.
    Day,
    /// A day profile does not begin at midnight, or its times do not rise.
    Times,
    /// Two entries of one table have the same name.
    Twice,
}

impl Calendar {
    /// Whether everything that it names is there, so that each instant has one rate.
    pub(crate) fn check(&self) -> Result<(), CalendarError> {
        let twice = |k: usize, same: &dyn Fn(usize) -> bool| (0..k).any(same);
        for (k, week) in self.weeks.iter().enumerate() {
            if twice(k, &|other| self.weeks[other].name == week.name) {
                return Err(CalendarError::Twice);
            }
            if week.days.iter().any(|&id| self.day(id).is_none()) {
                return Err(CalendarError::Day);
            }
        }
        for season in &self.seasons {
            if self.weeks.iter().all(|week| week.name != season.week) {
                return Err(CalendarError::Week);
            }
        }
        for (k, day) in self.days.iter().enumerate() {
            if twice(k, &|other| self.days[other].id == day.id) {
                return Err(CalendarError::Twice);
            }
            let begins = day.actions.first().is_some_and(|action| action.start.milliseconds() == 0);
            if !begins || !day.actions.is_sorted_by(|a, b| a.start < b.start) {
                return Err(CalendarError::Times);
            }
        }
        Ok(())
    }

    /// The rate in force at an instant: 1 to [`RATES`].
    pub(crate) fn rate_at(&self, special_days: &[SpecialDay], clock: UnixMillis) -> u8 {
        let day = clock.0.div_euclid(DAY_MS);
        let special = special_days
            .iter()
            .filter(|special| special.date.matches(day))
            .find_map(|special| self.day(special.day_id));
        let Some(profile) = special.or_else(|| self.ordinary_day(clock)) else { return 1 };
        let time = clock.0.rem_euclid(DAY_MS);
        let action = profile.actions.iter().rev().find(|action| action.start.milliseconds() <= time);
        action.map_or(1, |action| action.rate.clamp(1, RATES as u8))
    }

    fn ordinary_day(&self, clock: UnixMillis) -> Option<&DayProfile> {
        let started = |season: &&Season| season.start.latest(clock);
        let season = self.seasons.iter().filter(|season| started(season).is_some()).max_by_key(started)?;
        let week = self.weeks.iter().find(|week| week.name == season.week)?;
        self.day(week.days[day_of_week(clock.0.div_euclid(DAY_MS)) as usize - 1])
    }

    fn day(&self, id: u8) -> Option<&DayProfile> {
        self.days.iter().find(|day| day.id == id)
    }
}

impl YearlyStart {
    /// The latest start up to an instant.
    fn latest(&self, clock: UnixMillis) -> Option<i64> {
        let at = |year: u16| days_of(year.into(), self.month, self.day) * DAY_MS + self.time.milliseconds();
        let (year, ..) = civil_date(clock.0.div_euclid(DAY_MS));
        let candidates =
            if self.year == EVERY_YEAR { [year, year.saturating_sub(1)] } else { [self.year; 2] };
        candidates.into_iter().map(at).find(|&start| start <= clock.0)
    }
}

impl TimeOfDay {
    pub(crate) const MIDNIGHT: Self = Self { hour: 0, minute: 0, second: 0 };

    pub(crate) const fn milliseconds(self) -> i64 {
        ((self.hour as i64 * 60 + self.minute as i64) * 60 + self.second as i64) * 1000
    }

    pub(crate) const fn is_possible(self) -> bool {
        self.hour < 24 && self.minute < 60 && self.second < 60
    }
}

impl DatePattern {
    /// Whether a day, counted from 1970-01-01, is meant.
    pub(crate) fn matches(&self, day: i64) -> bool {
        let (year, month, day_of_month) = civil_date(day);
        (self.year == EVERY_YEAR || self.year == year)
            && (self.month == ANY || self.month == month)
            && (self.day == ANY
                || self.day == day_of_month
                // 0xFE: the last day of the month.
                || (self.day == LAST_DAY && civil_date(day + 1).2 == 1))
            && (self.day_of_week == ANY || self.day_of_week == day_of_week(day))
    }

    pub(crate) const fn is_possible(self) -> bool {
        (self.month == ANY || (self.month >= 1 && self.month <= 12))
            && (self.day == ANY || self.day == LAST_DAY || (self.day >= 1 && self.day <= 31))
            && (self.day_of_week == ANY || (self.day_of_week >= 1 && self.day_of_week <= 7))
    }

    pub(crate) const fn has_wildcard(self) -> bool {
        self.year == EVERY_YEAR || self.month == ANY || self.day == ANY || self.day == LAST_DAY
    }
}

/// 1 Monday to 7 Sunday; 1970-01-01 was a Thursday.
const fn day_of_week(day: i64) -> u8 {
    ((day + 3).rem_euclid(7) + 1) as u8
}

pub(crate) const DAY_MS: i64 = 86_400_000;
pub(crate) const EVERY_YEAR: u16 = 0xFFFF;
pub(crate) const ANY: u8 = 0xFF;
pub(crate) const LAST_DAY: u8 = 0xFE;

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
