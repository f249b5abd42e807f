//! The calendar against days and seasons written out.

use alloc::vec;
use alloc::vec::Vec;

use super::*;

const fn at_hour(hour: u8) -> TimeOfDay {
    TimeOfDay { hour, ..TimeOfDay::MIDNIGHT }
}

fn day(id: u8, actions: &[(u8, u8)]) -> DayProfile {
    let actions = actions.iter().map(|&(hour, rate)| DayAction { start: at_hour(hour), rate }).collect();
    DayProfile { id, actions }
}

fn yearly(month: u8, day: u8, week: &[u8]) -> Season {
    let start = YearlyStart { year: EVERY_YEAR, month, day, time: TimeOfDay::MIDNIGHT };
    Season { name: Name::from(week), start, week: Name::from(week) }
}

/// Two seasons: in winter working days have a peak from 6 to 22, in summer none.
fn calendar() -> Calendar {
    Calendar {
        name: b"2026".to_vec(),
        seasons: vec![yearly(4, 1, b"S"), yearly(10, 1, b"W")],
        weeks: vec![
            Week { name: b"S".to_vec(), days: [2; 7] },
            Week { name: b"W".to_vec(), days: [1, 1, 1, 1, 1, 2, 2] },
        ],
        days: vec![day(1, &[(0, 2), (6, 1), (22, 2)]), day(2, &[(0, 2)]), day(3, &[(0, 4)])],
    }
}

fn at(year: i64, month: u8, day: u8, hour: u8) -> UnixMillis {
    UnixMillis(days_of(year, month, day) * DAY_MS + i64::from(hour) * 3_600_000)
}

#[test]
fn each_instant_has_the_rate_of_its_season_week_and_hour() {
    let calendar = calendar();
    assert_eq!(calendar.check(), Ok(()));
    // 23 November 2026 is a Monday.
    let rates: Vec<_> =
        [0, 5, 6, 21, 22, 23].map(|hour| calendar.rate_at(&[], at(2026, 11, 23, hour))).into();
    assert_eq!(rates, [2, 2, 1, 1, 2, 2]);
    assert_eq!(calendar.rate_at(&[], UnixMillis(at(2026, 11, 23, 6).0 - 1)), 2, "to the millisecond");
    assert_eq!(calendar.rate_at(&[], at(2026, 11, 22, 12)), 2, "a Sunday");
    // Winter began in the year before; summer on a Wednesday.
    assert_eq!(calendar.rate_at(&[], at(2026, 1, 5, 12)), 1);
    assert_eq!(calendar.rate_at(&[], at(2026, 3, 31, 12)), 1);
    assert_eq!(calendar.rate_at(&[], at(2026, 4, 1, 12)), 2);
}

#[test]
fn a_special_day_replaces_the_weeks_and_an_unknown_one_is_ignored() {
    let calendar = calendar();
    let christmas = DatePattern { year: EVERY_YEAR, month: 12, day: 25, day_of_week: ANY };
    let mut special = [SpecialDay { index: 1, date: christmas, day_id: 3 }];
    assert_eq!(calendar.rate_at(&special, at(2026, 12, 25, 12)), 4);
    assert_eq!(calendar.rate_at(&special, at(2026, 12, 24, 12)), 1);
    special[0].day_id = 99;
    assert_eq!(calendar.rate_at(&special, at(2026, 12, 25, 12)), 1);
    let last_days = DatePattern { year: EVERY_YEAR, month: ANY, day: LAST_DAY, day_of_week: ANY };
    for (month, day, is_last) in [(2, 28, false), (2, 29, true), (4, 30, true), (12, 30, false)] {
        assert_eq!(last_days.matches(days_of(2028, month, day)), is_last, "{month} {day}");
    }
}

#[test]
fn a_season_of_one_year_counts_from_then_on_and_none_before_it() {
    let mut calendar = calendar();
    calendar.seasons = vec![Season {
        start: YearlyStart { year: 2027, ..calendar.seasons[1].start },
        ..calendar.seasons[1].clone()
    }];
    assert_eq!(calendar.rate_at(&[], at(2026, 11, 23, 23)), 1, "no season: rate 1");
    assert_eq!(calendar.rate_at(&[], at(2028, 11, 20, 23)), 2);
    assert_eq!(Calendar::default().rate_at(&[], UnixMillis(0)), 1);
}

#[test]
fn what_names_nothing_or_leaves_hours_without_a_rate_is_refused() {
    let broken = |change: &dyn Fn(&mut Calendar)| {
        let mut calendar = calendar();
        change(&mut calendar);
        calendar.check()
    };
    assert_eq!(broken(&|c| c.seasons[0].week = b"X".to_vec()), Err(CalendarError::Week));
    assert_eq!(broken(&|c| c.weeks[0].days[3] = 9), Err(CalendarError::Day));
    assert_eq!(broken(&|c| c.days[0].actions[0].start.minute = 1), Err(CalendarError::Times));
    assert_eq!(broken(&|c| c.days[0].actions.swap(1, 2)), Err(CalendarError::Times));
    assert_eq!(broken(&|c| c.days[0].actions.clear()), Err(CalendarError::Times));
    assert_eq!(broken(&|c| c.weeks[1].name = b"S".to_vec()), Err(CalendarError::Twice));
    assert_eq!(broken(&|c| c.days.push(day(1, &[(0, 1)]))), Err(CalendarError::Twice));
}
