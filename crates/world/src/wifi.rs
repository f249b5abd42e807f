//! A radio link as the world has it: what becomes of each segment of a byte stream under a good or a weak signal, with
//! the radio off, while roaming, and behind an access point that takes connections and delivers nothing.
//!
//! Without a clock and without I/O, deterministic from a seed: whoever carries bytes asks [`Radio::pass`] for each
//! segment and waits as it says. The figures are this model's assumptions, each with its reason, not a standard's.

use std::time::Duration;

use crate::random::Random;

/// What surrounds the radio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reception {
    /// A signal with room to spare: segments pass after 1 to 3 ms.
    #[default]
    Good,
    /// At the edge of the cell: 20 to 120 ms, and one segment in six is lost and stalls the stream until it is sent
    /// again.
    Weak,
    /// The radio is off, or hears nothing: nothing passes, new connections fail at once, streams stand still.
    Off,
    /// An access point whose way out is down: it takes connections and bytes, and delivers nothing.
    Swallowing,
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It arrives after this time, in order: what comes behind it waits.
    After(Duration),
    /// It waits until the reception changes; then ask again.
    Held,
    /// It is taken and never arrives: its stream is spoilt for good.
    Swallowed,
}

/// One station's radio.
#[derive(Clone, Debug)]
pub struct Radio {
    random: Random,
    /// Apart, so that the fates do not depend on how often somebody looks at the signal.
    noise: Random,
    reception: Reception,
    association: u64,
}

impl Radio {
    /// A radio with good reception. The same seed and the same calls give the same fates.
    pub fn new(seed: u64) -> Self {
        let noise = Random::new(!seed);
        Self { random: Random::new(seed), noise, reception: Reception::Good, association: 0 }
    }

    /// What surrounds it now.
    pub fn reception(&self) -> Reception {
        self.reception
    }

    /// Changes what surrounds it.
    pub fn set_reception(&mut self, reception: Reception) {
        self.reception = reception;
    }

    /// Moves to another access point. The station has another address there: connections of before
    /// ([`Self::association`]) are dead, and none comes about during [`Self::ROAMING`].
    pub fn roam(&mut self) {
        self.association += 1;
    }

    /// Counts the access points so far. A connection lives within one.
    pub fn association(&self) -> u64 {
        self.association
    }

    /// The received signal's strength, dBm: around −52 when good, −84 when weak, each within ±3 dB; `None` while the
    /// radio hears nothing.
    pub fn signal_dbm(&mut self) -> Option<i8> {
        let middle = match self.reception {
            Reception::Good | Reception::Swallowing => -52.0,
            Reception::Weak => -84.0,
            Reception::Off => return None,
        };
        Some((middle + (self.noise.uniform() - 0.5) * 6.0).round() as i8)
    }

    /// What becomes of the stream's next segment.
    pub fn pass(&mut self) -> Passage {
        let (shortest, spread) = match self.reception {
            Reception::Good => (1.0, 2.0),
            Reception::Weak => (20.0, 100.0),
            Reception::Off => return Passage::Held,
            Reception::Swallowing => return Passage::Swallowed,
        };
        let mut delay = Duration::from_secs_f64((shortest + spread * self.random.uniform()) / 1000.0);
        if self.reception == Reception::Weak {
            let mut wait = Self::RETRANSMISSION;
            for _ in 0..RETRANSMISSIONS_MAX {
                if self.random.uniform() >= LOSS {
                    break;
                }
                delay += wait;
                wait *= 2;
            }
        }
        Passage::After(delay)
    }

    /// How long a change of access points takes: scan, authentication and a new address, without fast transition.
    pub const ROAMING: Duration = Duration::from_millis(600);
    /// How long a lost segment stalls its stream the first time; each further loss doubles it (the least
    /// retransmission timeout of Linux's TCP).
    pub const RETRANSMISSION: Duration = Duration::from_millis(200);
}

/// Of segments in weak reception, after the radio's own repetitions.
const LOSS: f64 = 1.0 / 6.0;
/// A stall is at most 6.2 s.
const RETRANSMISSIONS_MAX: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(radio: &mut Radio, count: usize) -> Vec<Duration> {
        (0..count)
            .map(|_| match radio.pass() {
                Passage::After(delay) => delay,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_weak_signal_delays_and_stalls_and_a_good_one_does_not() {
        let mut radio = Radio::new(1);
        assert!(delays(&mut radio, 1000).iter().all(|delay| *delay <= Duration::from_millis(3)));
        radio.set_reception(Reception::Weak);
        let weak = delays(&mut radio, 6000);
        assert!(weak.iter().all(|delay| *delay >= Duration::from_millis(20)));
        assert!(weak.iter().all(|delay| *delay <= Duration::from_millis(6200 + 120)));
        let stalled = weak.iter().filter(|delay| **delay >= Radio::RETRANSMISSION).count();
        assert!((900..1100).contains(&stalled), "{stalled} of 6000 should be near a sixth");
        let twice = weak.iter().filter(|delay| **delay >= 3 * Radio::RETRANSMISSION).count();
        assert!((110..230).contains(&twice), "{twice} of 6000 should be near a thirty-sixth");
    }

    #[test]
    fn the_signal_falls_and_is_none_without_a_radio() {
        let mut radio = Radio::new(2);
        assert!((-55..=-49).contains(&radio.signal_dbm().unwrap()));
        radio.set_reception(Reception::Weak);
        assert!((-87..=-81).contains(&radio.signal_dbm().unwrap()));
        radio.set_reception(Reception::Off);
        assert_eq!((radio.signal_dbm(), radio.pass()), (None, Passage::Held));
        radio.set_reception(Reception::Swallowing);
        assert_eq!(radio.pass(), Passage::Swallowed);
    }

    #[test]
    fn the_same_seed_gives_the_same_fates() {
        let [mut one, mut other, mut third] = [7, 7, 8].map(Radio::new);
        for radio in [&mut one, &mut other, &mut third] {
            radio.set_reception(Reception::Weak);
        }
        let fates = delays(&mut one, 100);
        assert!(other.signal_dbm().is_some(), "looking at the signal changes no fate");
        assert_eq!(fates, delays(&mut other, 100));
        assert_ne!(fates, delays(&mut third, 100));
    }
}
