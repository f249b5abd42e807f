//! What a timestamp means (design §16): UTC, with its time base stated. Order never depends on a clock.

use core::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds, on the site's own time base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Whole seconds, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Year, month (1–12) and day (1–31) in UTC.
    pub const fn civil_date(self) -> (i64, u8, u8) {
        civil_from_days(self.seconds().div_euclid(86_400))
    }
}

impl fmt::Display for UnixMillis {
    /// RFC 3339 in UTC, with milliseconds only where there are any: `2026-11-22T18:57:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second_of_day = self.seconds().rem_euclid(86_400);
        let (year, month, day) = self.civil_date();
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match self.0.rem_euclid(1000) {
            0 => f.write_str("Z"),
            millis => write!(f, ".{millis:03}Z"),
        }
    }
}

/// Year, month and day of the proleptic Gregorian calendar. Counts in eras of 400 years (146 097 days) that begin on
/// 1 March, so that the leap day is the last of its year; 153 days are the months March to July.
const fn civil_from_days(days_since_1970: i64) -> (i64, u8, u8) {
    let days = days_since_1970 + 719_468; // days from 0000-03-01 to 1970-01-01
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + (month <= 2) as i64, month as u8, day as u8)
}

/// Which clock a site's records follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeBase {
    /// The wall clock.
    Wall,
    /// A simulated run's own clock, which may run faster than the wall's.
    Simulated,
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_time_is_shown_as_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_795_373_820_250, "2026-11-22T18:57:00.250Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(UnixMillis(millis).to_string(), text);
        }
    }
}
