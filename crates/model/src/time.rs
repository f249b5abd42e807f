//! What a timestamp means (design §16): UTC, with its time base stated. Order never depends on a clock.

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds, on the site's own time base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Whole seconds, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// Which clock a site's records follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeBase {
    /// The wall clock.
    Wall,
    /// A simulated run's own clock, which may run faster than the wall's.
    Simulated,
}
