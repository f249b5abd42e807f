//! Between milliseconds and the COSEM date-time (IEC 62056-6-2): UTC only, with hundredths.

use dlms_cosem_rs::axdr::{ClockStatus, Data, DateTime};
use meterseal_model::{TimeBase, UnixMillis};

/// Clock status bit 2: the time comes from another clock than the wall's.
const STATUS_DIFFERENT_CLOCK_BASE: u8 = 0x04;

/// The date-time of a timestamp. Years before 1 and after 9999 are shown as the nearest of these.
pub(crate) fn date_time(time: UnixMillis, base: TimeBase) -> DateTime {
    // Seconds of 0001-01-01 and of 9999-12-31T23:59:59.
    let seconds = time.seconds().clamp(-62_135_596_800, 253_402_300_799);
    let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400) as u32);
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let mut value = DateTime::from_civil(year, month, day, hour as u8, minute as u8, second as u8, 0);
    value.hundredths = (time.0.rem_euclid(1000) / 10) as u8;
    if base == TimeBase::Simulated {
        value.status = ClockStatus(STATUS_DIFFERENT_CLOCK_BASE);
    }
    value
}

/// The timestamp of a date-time in an octet string or of its own type; `None` for wildcards, for what is no date,
/// and for a date-time that does not say how far it is from UTC.
pub(crate) fn timestamp(value: Data<'_>) -> Option<UnixMillis> {
    let value = match value {
        Data::DateTime(value) => value,
        Data::OctetString(bytes) => DateTime::from_bytes(bytes.try_into().ok()?),
        _ => return None,
    };
    let hundredths = match value.hundredths {
        0xFF => 0,
        hundredths if hundredths < 100 => hundredths,
        _ => return None,
    };
    Some(UnixMillis(value.to_unix_seconds()? * 1000 + i64::from(hundredths) * 10))
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar. A day beyond its month's end is the next month's.
pub(crate) const fn days_of(year: i64, month: u8, day: u8) -> i64 {
    // Years that begin in March, as in `civil_date`.
    let year = year - (month <= 2) as i64;
    let month = (month as i64 + 9) % 12;
    let (cycle, year_of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day as i64 - 1;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    cycle * 146_097 + day_of_cycle - 719_468
}

/// Year, month and day of a count of days since 1970-01-01 in the proleptic Gregorian calendar: counted in years
/// that begin in March, so that the leap day is the last, and in cycles of 400 years, or 146 097 days.
pub(crate) fn civil_date(days: i64) -> (u16, u8, u8) {
    // 719 468 days lie between 0000-03-01 and 1970-01-01.
    let shifted = days + 719_468;
    let (cycle, day_of_cycle) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    // From March on, five months have 153 days.
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = cycle * 400 + year_of_cycle + i64::from(month <= 2);
    (year as u16, month as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_to_ten_milliseconds() {
        for millis in [0, 951_782_400_000, 951_868_799_990, 4_107_542_399_990, -10, 1_795_000_000_120] {
            let value = date_time(UnixMillis(millis), TimeBase::Wall);
            let bytes = value.to_bytes();
            assert_eq!(timestamp(Data::OctetString(&bytes)), Some(UnixMillis(millis)), "{value}");
        }
        // 29 February 2000, a Tuesday.
        let leap = date_time(UnixMillis(951_782_400_000), TimeBase::Simulated);
        assert_eq!((leap.year, leap.month, leap.day_of_month, leap.day_of_week), (2000, 2, 29, 2));
        assert!(leap.status.different_clock_base());
    }

    #[test]
    fn every_day_of_four_centuries_agrees_with_the_codec() {
        for day in -146_097..146_097 {
            let value = date_time(UnixMillis(day * 86_400_000), TimeBase::Wall);
            assert_eq!(value.to_unix_seconds(), Some(day * 86_400), "{value}");
            let (year, month, day_of_month) = civil_date(day);
            assert_eq!(days_of(year.into(), month, day_of_month), day);
        }
    }

    #[test]
    fn extremes_and_wildcards_are_no_panic() {
        for millis in [i64::MIN, i64::MAX] {
            date_time(UnixMillis(millis), TimeBase::Wall);
        }
        assert_eq!(timestamp(Data::DateTime(DateTime::WILDCARD)), None);
        assert_eq!(timestamp(Data::OctetString(&[0; 11])), None);
        assert_eq!(timestamp(Data::Unsigned(3)), None);
    }
}
