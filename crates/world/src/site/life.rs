//! What a meter goes through in a normal life, and must take for nothing: loads that start, welders, what switching
//! leaves on the line, dips and rises of the supply within EN 50160, knocks on a cupboard's door, contacts that chatter,
//! a transformer's stray field, and the weather from −40 to +85 °C.

use super::{Disturbance, Site};
use crate::random::Random;

/// Disturbances of a normal life, by time. The same seed gives the same life.
#[derive(Debug)]
pub struct NormalLife {
    random: Random,
    /// By [`KINDS`].
    next: [u64; KINDS.len()],
    /// What ends later: when, and with what.
    ends: Vec<(u64, Disturbance)>,
}

/// A kind of disturbance, and how often it happens: seconds between two, on average.
const KINDS: [(Kind, f64); 9] = [
    (Kind::Load, 8.0),
    (Kind::Welding, 60.0),
    (Kind::Switching, 20.0),
    (Kind::Dip, 600.0),
    (Kind::Rise, 300.0),
    (Kind::Knock, 120.0),
    (Kind::Chatter, 200.0),
    (Kind::Stray, 90.0),
    (Kind::Weather, 60.0),
];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Load,
    Welding,
    Switching,
    Dip,
    Rise,
    Knock,
    Chatter,
    Stray,
    Weather,
}

const RATE: f64 = Site::SAMPLE_RATE as f64;

impl NormalLife {
    /// A life from frame 0 on.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x11FE_0000);
        let next = std::array::from_fn(|k| (random.uniform() * KINDS[k].1 * RATE) as u64);
        Self { random, next, ends: Vec::new() }
    }

    /// What happens up to this frame; ask until nothing is left.
    pub fn until(&mut self, frame: u64) -> Option<Disturbance> {
        if let Some(k) = self.ends.iter().position(|&(at, _)| at <= frame) {
            return Some(self.ends.swap_remove(k).1);
        }
        let k = self.next.iter().position(|&at| at <= frame)?;
        let (kind, seconds) = KINDS[k];
        self.next[k] += 1 + (-(1.0 - self.random.uniform()).ln() * seconds * RATE) as u64;
        Some(self.happen(kind, frame))
    }

    fn between(&mut self, low: f64, high: f64) -> f32 {
        (low + (high - low) * self.random.uniform()) as f32
    }

    fn later(&mut self, frame: u64, seconds: f32, disturbance: Disturbance) {
        let at = frame + (f64::from(seconds) * RATE) as u64;
        self.ends.push((at, disturbance));
    }

    fn happen(&mut self, kind: Kind, frame: u64) -> Disturbance {
        let struck = (self.random.next() % 3) as usize;
        let only = |value: f32, rest: f32| std::array::from_fn(|k| if k == struck { value } else { rest });
        match kind {
            Kind::Load => {
                // A motor: six times its current for a second, on all phases or one.
                let siemens = self.between(0.01, 0.03);
                let of = |times: f32| {
                    if frame.is_multiple_of(2) { [siemens * times; 3] } else { only(siemens * times, 0.0) }
                };
                let (start, run) = (self.between(0.3, 1.5), self.between(1.0, 6.0));
                self.later(frame, start, Disturbance::Load(of(1.0)));
                self.later(frame, start + run, Disturbance::Load([0.0; 3]));
                Disturbance::Load(of(6.0))
            }
            Kind::Welding => {
                // Ten bursts between two phases.
                let siemens = self.between(0.05, 0.25);
                let load: [f32; 3] = std::array::from_fn(|k| if k == struck { 0.0 } else { siemens });
                for burst in 0..10 {
                    let at = burst as f32 * 0.5;
                    self.later(frame, at + 0.25, Disturbance::Load([0.0; 3]));
                    self.later(frame, at + 0.5, Disturbance::Load(load));
                }
                self.later(frame, 5.3, Disturbance::Load([0.0; 3]));
                Disturbance::Load(load)
            }
            // What contactors and capacitors leave behind varistors.
            Kind::Switching => {
                let peak = self.between(100.0, 1_350.0);
                let sign = if self.random.next().is_multiple_of(2) { 1.0 } else { -1.0 };
                Disturbance::Surge(only(sign * peak, sign * peak * 0.3))
            }
            Kind::Dip => {
                // EN 50160: what is left is 5 % or more, and rarely for longer than a second.
                let left = self.between(0.06, 0.9);
                let seconds = self.between(0.01, 1.0);
                self.later(frame, seconds, Disturbance::Voltage([1.0; 3]));
                match self.random.next() % 3 {
                    0 => Disturbance::Voltage([left; 3]),
                    1 => Disturbance::Voltage(only(left, 1.0)),
                    _ => Disturbance::Voltage(only(1.0, left)),
                }
            }
            Kind::Rise => {
                // 231 V and what the site wanders, up to just below 110 %.
                let rise = self.between(1.0, 1.06);
                let seconds = self.between(0.05, 20.0);
                self.later(frame, seconds, Disturbance::Voltage([1.0; 3]));
                Disturbance::Voltage(if self.random.next().is_multiple_of(2) {
                    [rise; 3]
                } else {
                    only(rise, 1.0)
                })
            }
            Kind::Knock => {
                let g = [self.between(-1.0, 1.0), self.between(-0.5, 0.5), self.between(-2.5, 2.5)];
                Disturbance::Knock { g, hertz: self.between(12.0, 60.0) }
            }
            Kind::Chatter => {
                // A cover's contact opens for up to 8 ms when a door slams.
                let seconds = self.between(0.0005, 0.008);
                if self.random.next().is_multiple_of(2) {
                    self.later(frame, seconds, Disturbance::Cover(false));
                    Disturbance::Cover(true)
                } else {
                    self.later(frame, seconds, Disturbance::TerminalCover(false));
                    Disturbance::TerminalCover(true)
                }
            }
            Kind::Stray => {
                // IEC 62053-22 tests with 0.5 mT (r.m.s.); up to twice as much beside a transformer.
                let millitesla = [self.between(0.0, 0.8), self.between(0.0, 0.8), self.between(0.0, 0.8)];
                let turns = self.between(0.0, 1.0);
                Disturbance::AlternatingField { millitesla, hertz: 50.0, turns }
            }
            Kind::Weather => {
                // A climate cycle a day.
                let hours = frame as f64 / RATE / 3600.0;
                let celsius = 22.5 - 62.5 * (std::f64::consts::TAU * hours / 24.0).cos();
                Disturbance::Temperature(Some(celsius as f32))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_life_and_everything_in_it_is_over_again() {
        let life = |seed| {
            let mut life = NormalLife::new(seed);
            let all: Vec<_> = (0..3_600_000)
                .step_by(32)
                .flat_map(|frame| std::iter::from_fn(|| life.until(frame)).collect::<Vec<_>>())
                .collect();
            all
        };
        let one = life(1);
        assert_eq!(one, life(1));
        assert_ne!(one, life(2));
        let count = |wanted: &dyn Fn(&Disturbance) -> bool| one.iter().filter(|d| wanted(d)).count();
        assert!(count(&|d| matches!(d, Disturbance::Load(_))) > 50);
        let opened = count(&|d| matches!(d, Disturbance::Cover(true)));
        let closed = count(&|d| matches!(d, Disturbance::Cover(false)));
        assert_eq!(opened, closed);
        // A dip never takes a phase away, and a rise stays below a swell.
        let voltages = one.iter().filter_map(|d| match d {
            Disturbance::Voltage(factors) => Some(factors),
            _ => None,
        });
        assert!(voltages.flatten().all(|factor| (0.06..=1.06).contains(factor)));
    }
}
