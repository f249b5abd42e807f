//! How often something may be written: a few times at once, then at a steady pace. What is to last twenty years must not be
//! worn out by somebody who makes the meter write as fast as he can.

/// An allowance that grows with time, up to a burst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    burst: u32,
    refill_ms: u64,
    left: u32,
    /// Uptime up to which it has grown.
    grown_ms: u64,
}

impl Allowance {
    /// `at_start` times at once after power-up, `burst` after a long quiet time, and once every `refill_ms` in the long run.
    pub(crate) const fn new(at_start: u32, burst: u32, refill_ms: u64) -> Self {
        Self { burst, refill_ms, left: at_start, grown_ms: 0 }
    }

    /// Whether it may happen now.
    pub(crate) fn is_open(&mut self, uptime_ms: u64) -> bool {
        let grown = uptime_ms.saturating_sub(self.grown_ms) / self.refill_ms;
        self.grown_ms += grown * self.refill_ms;
        self.left = u32::try_from(grown).map_or(self.burst, |n| self.left.saturating_add(n).min(self.burst));
        self.left > 0
    }

    /// It happens now. `false`: not yet.
    pub(crate) fn take(&mut self, uptime_ms: u64) -> bool {
        let open = self.is_open(uptime_ms);
        self.left -= u32::from(open);
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_come_at_once_and_the_others_at_the_pace() {
        let mut allowance = Allowance::new(2, 3, 1_000);
        assert_eq!([0, 0, 0].map(|at| allowance.take(at)), [true, true, false]);
        assert_eq!([999, 1_000, 1_000, 2_000].map(|at| allowance.take(at)), [false, true, false, true]);
        // A long quiet time fills it to the burst and no further.
        assert_eq!([1_000_000; 4].map(|at| allowance.take(at)), [true, true, true, false]);
        // In an hour of trying every 100 ms: one a second.
        let taken = (10_000_000..13_600_000).step_by(100).filter(|&at| allowance.take(at)).count();
        assert_eq!(taken, 3_602);
    }
}
