//! When the security log is pushed: the settings of Push setup (class 40) that the utility may change.

use alloc::vec::Vec;

use meterseal_model::UnixMillis;

use crate::calendar::{DatePattern, TimeOfDay};
use crate::settings::latest_due;

/// Most communication windows.
pub(crate) const WINDOWS_MAX: usize = 4;

/// Without windows always, at once, and once in each association.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PushSettings {
    /// Nothing goes out beyond them; without any, at any time.
    pub(crate) windows: Vec<Window>,
    /// What there is to push waits for a random part of this.
    pub(crate) randomisation_seconds: u16,
    /// How often what is not acknowledged goes out again in the same association.
    pub(crate) retries: u8,
    /// How long an acknowledgement may take, before that.
    pub(crate) repetition_delay_seconds: u16,
}

/// From every instant that the one pattern means to the next that the other does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: (TimeOfDay, DatePattern),
    pub(crate) end: (TimeOfDay, DatePattern),
}

impl PushSettings {
    /// Whether something may be pushed now, by the meter's clock.
    pub(crate) fn is_open(&self, now: UnixMillis) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|window| window.is_open(now))
    }

    /// The wait before what is due goes out, by a random number.
    pub(crate) fn randomised_ms(&self, random: u32) -> u64 {
        let most_ms = u64::from(self.randomisation_seconds) * 1000;
        (most_ms * u64::from(random)) >> 32
    }

    /// How long an acknowledgement may take, milliseconds. A second at the least: no head-end stores faster on purpose.
    pub(crate) fn repetition_delay_ms(&self) -> u64 {
        u64::from(self.repetition_delay_seconds.max(1)) * 1000
    }
}

impl Window {
    fn is_open(&self, now: UnixMillis) -> bool {
        let latest = |pattern| latest_due(&[pattern], UnixMillis(i64::MIN), now);
        // Where both fall on one instant, the window that ends there makes way for the one that begins.
        latest(self.start).is_some_and(|start| latest(self.end).is_none_or(|end| end <= start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::days_of;

    const ANY_DAY: DatePattern = DatePattern { year: 0xFFFF, month: 0xFF, day: 0xFF, day_of_week: 0xFF };

    fn at(day: u8, hour: i64, minute: i64) -> UnixMillis {
        UnixMillis(((days_of(2026, 11, day) * 24 + hour) * 60 + minute) * 60_000)
    }

    fn time(hour: u8) -> TimeOfDay {
        TimeOfDay { hour, minute: 0, second: 0 }
    }

    fn settings(windows: &[Window]) -> PushSettings {
        PushSettings { windows: windows.to_vec(), ..PushSettings::default() }
    }

    #[test]
    fn windows_open_and_close_every_day_on_some_days_and_over_midnight() {
        assert!(settings(&[]).is_open(at(22, 3, 0)));
        let night = settings(&[Window { start: (time(22), ANY_DAY), end: (time(4), ANY_DAY) }]);
        let open = [(22, 22, 0), (22, 23, 59), (23, 3, 59)];
        let closed = [(22, 21, 59), (23, 4, 0), (23, 12, 0)];
        assert!(open.into_iter().all(|(day, hour, minute)| night.is_open(at(day, hour, minute))));
        assert!(!closed.into_iter().any(|(day, hour, minute)| night.is_open(at(day, hour, minute))));

        // The 22nd is a Sunday.
        let sunday = DatePattern { day_of_week: 7, ..ANY_DAY };
        let weekly = Window { start: (time(1), sunday), end: (time(2), ANY_DAY) };
        let once = DatePattern { year: 2026, month: 11, day: 24, day_of_week: 0xFF };
        let day_long = Window { start: (time(0), once), end: (time(0), ANY_DAY) };
        let two = settings(&[weekly, day_long]);
        assert!(two.is_open(at(22, 1, 30)) && !two.is_open(at(22, 2, 0)) && !two.is_open(at(23, 1, 30)));
        assert!(two.is_open(at(24, 0, 0)) && two.is_open(at(24, 23, 59)) && !two.is_open(at(25, 0, 0)));
    }

    #[test]
    fn a_random_wait_is_below_its_bound() {
        let settings = PushSettings { randomisation_seconds: 60, ..PushSettings::default() };
        assert_eq!(
            [0, u32::MAX / 2, u32::MAX].map(|random| settings.randomised_ms(random)),
            [0, 29_999, 59_999]
        );
        assert_eq!(PushSettings::default().randomised_ms(u32::MAX), 0);
    }
}
