//! The load profile's interval: aligned to the clock, with what disturbed it and the mean voltages.

use meterseal_metrology::Window;
use meterseal_model::UnixMillis;

use crate::records::ProfileRow;

#[derive(Debug)]
pub(crate) struct Interval {
    period_ms: i64,
    /// Which interval since 1970 this is.
    index: i64,
    status: u8,
    /// Voltage times samples, microvolts, and samples.
    voltage_sums: [u128; 3],
    samples: u64,
}

/// What a closed interval's row holds beside the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) end: UnixMillis,
    pub(crate) status: u8,
    pub(crate) mean_voltage_centivolts: [u16; 3],
}

impl Interval {
    pub(crate) fn new(period_seconds: u32) -> Self {
        Self {
            period_ms: i64::from(period_seconds) * 1000,
            index: 0,
            status: 0,
            voltage_sums: [0; 3],
            samples: 0,
        }
    }

    /// The interval's length, seconds.
    pub(crate) const fn period_seconds(&self) -> u32 {
        (self.period_ms / 1000) as u32
    }

    /// Begins the interval that holds this time.
    pub(crate) fn begin(&mut self, clock: UnixMillis, status: u8) {
        *self = Self { index: self.index_at(clock), status, voltage_sums: [0; 3], samples: 0, ..*self };
    }

    pub(crate) fn add(&mut self, window: &Window) {
        for (sum, phase) in self.voltage_sums.iter_mut().zip(&window.phases) {
            *sum += u128::from(phase.voltage_rms_microvolts) * u128::from(window.samples);
        }
        self.samples += window.samples;
        if window.clipped {
            self.status |= ProfileRow::CLIPPED;
        }
    }

    /// Marks the interval.
    pub(crate) const fn disturb(&mut self, status: u8) {
        self.status |= status;
    }

    /// The last millisecond that belongs to this interval.
    pub(crate) const fn last_millisecond(&self) -> UnixMillis {
        UnixMillis(self.index.saturating_add(1).saturating_mul(self.period_ms) - 1)
    }

    pub(crate) const fn is_over(&self, clock: UnixMillis) -> bool {
        self.index_at(clock) != self.index
    }

    /// What closes this interval, once the clock has left it. `None` when the clock was turned back behind it
    /// without being set: then there is nothing to say about an interval that has not ended.
    pub(crate) fn close(&self, clock: UnixMillis) -> Option<Closed> {
        let now = self.index_at(clock);
        let jumped = if now == self.index + 1 { 0 } else { ProfileRow::IRREGULAR };
        (now > self.index).then(|| self.closed(UnixMillis(now * self.period_ms), jumped))
    }

    /// What closes an interval during which the power went, at its own end.
    pub(crate) fn close_first(&self) -> Option<Closed> {
        let end = self.index.checked_add(1)?.checked_mul(self.period_ms)?;
        Some(self.closed(UnixMillis(end), 0))
    }

    /// The clock is being set. Returns what closes this interval if the new time is in another one.
    pub(crate) fn clock_changes(&mut self, before: UnixMillis, after: UnixMillis) -> Option<Closed> {
        self.status |= ProfileRow::CLOCK_ADJUSTED;
        if self.index_at(after) == self.index {
            return None;
        }
        let closed = self.closed(before, ProfileRow::IRREGULAR);
        self.begin(after, ProfileRow::CLOCK_ADJUSTED | ProfileRow::IRREGULAR);
        Some(closed)
    }

    fn closed(&self, end: UnixMillis, status: u8) -> Closed {
        let mean = |sum: u128| {
            // Microvolts to hundredths of a volt.
            let centivolts = sum.checked_div(u128::from(self.samples)).unwrap_or(0) / 10_000;
            u16::try_from(centivolts).unwrap_or(u16::MAX)
        };
        Closed { end, status: self.status | status, mean_voltage_centivolts: self.voltage_sums.map(mean) }
    }

    const fn index_at(&self, clock: UnixMillis) -> i64 {
        clock.0.div_euclid(self.period_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    #[test]
    fn an_interval_ends_at_the_full_quarter_hour() {
        let mut interval = Interval::new(900);
        interval.begin(UnixMillis(7 * MINUTE), 0);
        assert!(!interval.is_over(UnixMillis(15 * MINUTE - 1)));
        assert!(interval.is_over(UnixMillis(15 * MINUTE)));
        let closed = interval.close(UnixMillis(15 * MINUTE + 800)).unwrap();
        assert_eq!((closed.end, closed.status), (UnixMillis(15 * MINUTE), 0));
    }

    #[test]
    fn a_jump_over_intervals_is_one_irregular_row() {
        let mut interval = Interval::new(900);
        interval.begin(UnixMillis(0), 0);
        let closed = interval.close(UnixMillis(50 * MINUTE)).unwrap();
        assert_eq!((closed.end, closed.status), (UnixMillis(45 * MINUTE), ProfileRow::IRREGULAR));
        interval.begin(UnixMillis(50 * MINUTE), 0);
        assert_eq!(interval.close(UnixMillis(0)), None);
    }

    #[test]
    fn a_clock_set_within_the_interval_marks_it_and_across_closes_it() {
        let mut interval = Interval::new(900);
        interval.begin(UnixMillis(0), 0);
        assert_eq!(interval.clock_changes(UnixMillis(MINUTE), UnixMillis(2 * MINUTE)), None);
        let closed = interval.clock_changes(UnixMillis(3 * MINUTE), UnixMillis(-MINUTE)).unwrap();
        assert_eq!(closed.end, UnixMillis(3 * MINUTE));
        assert_eq!(closed.status, ProfileRow::CLOCK_ADJUSTED | ProfileRow::IRREGULAR);
        assert!(!interval.is_over(UnixMillis(-1)));
    }
}
