//! The clock by which validity is judged. A head-end trusts its own. A meter without a battery does not know the time
//! when it starts: it knows a *floor*, the last time that was sealed in its flash (or its firmware's making), and
//! learns the rest from signed time (see [`opening`](crate::opening)). It never goes back before its floor.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;

use crate::pki::moment;

/// A clock that is trusted, or will be. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MeterClock(Option<Arc<Mutex<State>>>);

#[derive(Debug)]
struct State {
    floor: SystemTime,
    /// A signed time, and the moment on the monotonic clock at which it was heard.
    signed: Option<(SystemTime, Instant)>,
}

impl MeterClock {
    /// The system's clock, trusted.
    pub fn system() -> Self {
        Self(None)
    }

    /// No clock: it is not earlier than `floor`, and that is all that is known.
    pub fn unset(floor: SystemTime) -> Self {
        Self(Some(Arc::new(Mutex::new(State { floor, signed: None }))))
    }

    /// The time, if it is known.
    pub fn now(&self) -> Option<SystemTime> {
        match &self.0 {
            None => Some(SystemTime::now()),
            Some(state) => {
                let state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.signed.map(|(time, heard)| time + heard.elapsed())
            }
        }
    }

    /// Whether the time is known.
    pub fn is_set(&self) -> bool {
        self.now().is_some()
    }

    /// The earliest that it can be.
    pub fn floor(&self) -> SystemTime {
        match &self.0 {
            None => SystemTime::UNIX_EPOCH,
            Some(state) => state.lock().unwrap_or_else(PoisonError::into_inner).floor,
        }
    }

    /// Takes a time that somebody entitled has signed. It moves the floor, which the caller seals.
    ///
    /// # Errors
    /// [`TimeGoesBack`] when it is before the floor; the clock is then as before.
    pub fn set(&self, time: SystemTime) -> Result<(), TimeGoesBack> {
        let Some(state) = &self.0 else { return Ok(()) };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        // Two head-ends' clocks may differ a little, and so may the way of two messages.
        if time + TOLERANCE < state.floor {
            return Err(TimeGoesBack { signed: moment(time), floor: moment(state.floor) });
        }
        let time = time.max(state.floor);
        *state = State { floor: time, signed: Some((time, Instant::now())) };
        Ok(())
    }

    /// Moves the floor to now, if the time is known, and gives it: what the caller writes down.
    pub(crate) fn seal(&self) -> SystemTime {
        let now = self.now();
        let Some(state) = &self.0 else { return now.unwrap_or(SystemTime::UNIX_EPOCH) };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.floor = now.map_or(state.floor, |now| now.max(state.floor));
        state.floor
    }

    /// The moment at which certificates are verified that begin at the latest at `begin`: now, or as early as it can
    /// be while the time is not known.
    pub(crate) fn verification_time(&self, begin: SystemTime) -> SystemTime {
        self.now().unwrap_or_else(|| self.floor().max(begin))
    }
}

/// Signed time from before what is sealed already: replayed, or of a head-end whose clock is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the signed time {signed} is before {floor}, which was sealed here already; check the head-end's clock"
)]
pub struct TimeGoesBack {
    /// What was signed.
    pub signed: String,
    /// What is sealed.
    pub floor: String,
}

const TOLERANCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn time_is_unknown_until_it_is_signed_and_never_goes_back() {
        let clock = MeterClock::unset(at(1000));
        assert_eq!((clock.now(), clock.floor()), (None, at(1000)));
        assert_eq!(clock.verification_time(at(500)), at(1000));
        assert_eq!(clock.verification_time(at(5000)), at(5000));
        assert!(clock.set(at(900)).is_err());
        assert!(!clock.is_set());
        clock.set(at(2000)).unwrap();
        assert!(clock.now().is_some_and(|now| now >= at(2000) && now < at(2100)));
        assert!(clock.set(at(1990)).is_err(), "the floor has moved");
        clock.set(at(1999)).unwrap();
        assert!(
            clock.now().is_some_and(|now| now >= at(2000)),
            "a second of difference does not take it back"
        );
    }
}
