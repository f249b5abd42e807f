//! A campaign's share of the network: a bucket that fills at the rate of its plan, and from which all its transfers drink.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The bucket. It holds what flows in during half a second.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    bytes_per_second: Option<u64>,
    full_at: Mutex<Instant>,
}

impl Bandwidth {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, full_at: Mutex::new(Instant::now()) }
    }

    /// How many blocks of this size may go at once without taking more than the bucket holds; one at least.
    pub(crate) fn at_once(&self, block_bytes: usize) -> usize {
        let held = |rate: u64| rate as usize / 2 / block_bytes.max(1);
        self.bytes_per_second.map_or(usize::MAX, held).max(1)
    }

    /// Takes bytes out, and tells how long to wait before they are sent.
    pub(crate) fn take(&self, bytes: usize, now: Instant) -> Duration {
        let Some(rate) = self.bytes_per_second else { return Duration::ZERO };
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = full_at.saturating_duration_since(now + BURST);
        let from = (*full_at).max(now);
        *full_at = from + Duration::from_secs_f64(bytes as f64 / rate as f64);
        wait
    }
}

const BURST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_over_a_minute_is_the_rate_whoever_sends_it() {
        let bandwidth = Bandwidth::new(Some(10_000));
        let begin = Instant::now();
        let (mut now, mut sent) = (begin, 0);
        while now < begin + Duration::from_secs(60) {
            now += bandwidth.take(4000, now) + Duration::from_millis(1);
            sent += 4000;
        }
        assert!((590_000..=620_000).contains(&sent), "{sent}");
        assert_eq!(Bandwidth::new(None).take(usize::MAX, begin), Duration::ZERO);
    }
}
