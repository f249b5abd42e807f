//! What a meter goes through in a normal life, and must take for nothing: motors that start, welders, what switching
//! leaves on the line, dips and rises of the supply within EN 50160, clouds over a roof, knocks on a cupboard's door,
//! contacts that chatter, a transformer's stray field, and the weather from −40 to +85 °C.

use super::{Disturbance, Site, SiteKind};
use crate::random::Random;
use meterseal_model::UnixMillis;

/// Disturbances of a normal life, by time. The same seed gives the same life.
#[derive(Debug)]
pub struct NormalLife {
    random: Random,
    generates: bool,
    /// Hours since the midnight before the first frame.
    first_hour: f64,
    /// By [`Happening::ALL`].
    next: [u64; Happening::ALL.len()],
    counts: [u64; Happening::ALL.len()],
    /// What comes later: when, and what.
    later: Vec<(u64, Disturbance)>,
    /// Frames before which no switching surge comes, because of a rise, and no rise, because of a surge.
    apart: [u64; 2],
}

macro_rules! happenings {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $seconds:literal;)*) => {
        /// A kind of disturbance in a normal life.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Happening {
            $($(#[$doc])* $variant,)*
        }

        impl Happening {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// In a few words, and with its ranges.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Seconds between two, on average.
            const fn seconds(self) -> f64 {
                match self { $(Self::$variant => $seconds,)* }
            }
        }
    };
}

happenings! {
    /// A motor takes six times its current for up to a second and a half, on all phases or one.
    MotorStart = "motor starts (6 × 2.3 to 7 A)", 8.0;
    /// Ten bursts between two phases.
    Welding = "welding (10 bursts of 11 to 58 A)", 60.0;
    /// What contactors and capacitors leave behind varistors.
    Switching = "switching surges (0.1 to 1.35 kV)", 20.0;
    /// EN 50160: what is left is 5 % or more, and rarely for longer than a second.
    Dip = "dips (6 to 90 % left, 10 ms to 1 s)", 600.0;
    /// To 109 % at the most: the supply itself may be 103 % high.
    Rise = "rises (to 109 %, 50 ms to 20 s)", 300.0;
    /// A cloud passes over a plant on the roof; only by day, and where there is one.
    PvRamp = "PV ramps (0.5 to 2 kW a phase, 1 to 10 s)", 150.0;
    /// A door slams.
    Knock = "knocks (up to 2.5 g)", 120.0;
    /// A cover's contact opens for up to 8 ms.
    Chatter = "chattering cover contacts (to 8 ms)", 200.0;
    /// A transformer beside the meter: IEC 62053-22 tests with 0.5 mT (r.m.s.); up to twice as much.
    Stray = "stray fields (to 0.8 mT an axis, 50 Hz)", 90.0;
    /// A climate cycle a day.
    Weather = "steps of the temperature", 60.0;
}

const RATE: f64 = Site::SAMPLE_RATE as f64;
/// EN 50160 calls a cycle above 110 % a swell, whatever made it. A switching surge adds up to 4 % to its cycle: on top of a rise it would truly
/// be one, so that in a normal life the two are kept apart by two cycles.
const APART: u64 = Site::SAMPLE_RATE as u64 / 25;

impl NormalLife {
    /// A life at such a place from frame 0 on, which is at `start`.
    pub fn new(kind: SiteKind, seed: u64, start: UnixMillis) -> Self {
        let mut random = Random::new(seed ^ 0x11FE_0000);
        let mut next =
            std::array::from_fn(|k| (random.uniform() * Happening::ALL[k].seconds() * RATE) as u64);
        // The first look at the thermometer is no jump.
        next[Happening::Weather as usize] = 0;
        let first_hour = start.0.rem_euclid(86_400_000) as f64 / 3_600_000.0;
        let generates = kind == SiteKind::HomeSolar;
        let counts = [0; Happening::ALL.len()];
        Self { random, generates, first_hour, next, counts, later: Vec::new(), apart: [0; 2] }
    }

    /// What happens up to this frame; ask until nothing is left.
    pub fn until(&mut self, frame: u64) -> Option<Disturbance> {
        if let Some(k) = self.later.iter().position(|&(at, _)| at <= frame) {
            return Some(self.later.swap_remove(k).1);
        }
        while let Some(k) = self.next.iter().position(|&at| at <= frame) {
            let kind = Happening::ALL[k];
            self.next[k] += 1 + (-(1.0 - self.random.uniform()).ln() * kind.seconds() * RATE) as u64;
            let hour = self.hour(frame);
            if matches!(kind, Happening::PvRamp) && !(self.generates && (6.0..18.0).contains(&hour)) {
                continue;
            }
            let apart = match kind {
                Happening::Switching => self.apart[0],
                Happening::Rise => self.apart[1],
                _ => 0,
            };
            if frame < apart {
                self.next[k] = apart;
                continue;
            }
            self.counts[k] += 1;
            return Some(self.happen(kind, frame));
        }
        None
    }

    /// How often each kind has happened, by [`Happening::ALL`].
    pub const fn counts(&self) -> [u64; Happening::ALL.len()] {
        self.counts
    }

    /// Hour of the day.
    fn hour(&self, frame: u64) -> f64 {
        (self.first_hour + frame as f64 / RATE / 3600.0) % 24.0
    }

    /// The temperature of a day at this hour: coldest at midnight, hottest at noon, °C.
    pub fn celsius(hour: f64) -> f64 {
        22.5 - 62.5 * (std::f64::consts::TAU * hour / 24.0).cos()
    }

    fn between(&mut self, low: f64, high: f64) -> f32 {
        (low + (high - low) * self.random.uniform()) as f32
    }

    fn later(&mut self, frame: u64, seconds: f32, disturbance: Disturbance) {
        let at = frame + (f64::from(seconds) * RATE) as u64;
        self.later.push((at, disturbance));
    }

    fn happen(&mut self, kind: Happening, frame: u64) -> Disturbance {
        let struck = (self.random.next() % 3) as usize;
        let only = |value: f32, rest: f32| std::array::from_fn(|k| if k == struck { value } else { rest });
        match kind {
            Happening::MotorStart => {
                let siemens = self.between(0.01, 0.03);
                let of = |times: f32| {
                    if frame.is_multiple_of(2) { [siemens * times; 3] } else { only(siemens * times, 0.0) }
                };
                let (start, run) = (self.between(0.3, 1.5), self.between(1.0, 6.0));
                self.later(frame, start, Disturbance::Load(of(1.0)));
                self.later(frame, start + run, Disturbance::Load([0.0; 3]));
                Disturbance::Load(of(6.0))
            }
            Happening::Welding => {
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
            Happening::Switching => {
                let peak = self.between(100.0, 1_350.0);
                let sign = if self.random.next().is_multiple_of(2) { 1.0 } else { -1.0 };
                self.apart[1] = frame + APART;
                Disturbance::Surge(only(sign * peak, sign * peak * 0.3))
            }
            Happening::Dip => {
                let left = self.between(0.06, 0.9);
                let seconds = self.between(0.01, 1.0);
                self.later(frame, seconds, Disturbance::Voltage([1.0; 3]));
                match self.random.next() % 3 {
                    0 => Disturbance::Voltage([left; 3]),
                    1 => Disturbance::Voltage(only(left, 1.0)),
                    _ => Disturbance::Voltage(only(1.0, left)),
                }
            }
            Happening::Rise => {
                // Of 231 V and what the site wanders (up to 2.6 %), what its own generation adds, and a front end's error.
                let rise = self.between(1.0, 1.05);
                let seconds = self.between(0.05, 20.0);
                self.apart[0] = self.apart[0].max(frame + (f64::from(seconds) * RATE) as u64 + APART);
                self.later(frame, seconds, Disturbance::Voltage([1.0; 3]));
                Disturbance::Voltage(if self.random.next().is_multiple_of(2) {
                    [rise; 3]
                } else {
                    only(rise, 1.0)
                })
            }
            Happening::PvRamp => {
                // The sun comes out, shines, and goes again, in twenty steps each way.
                let siemens = self.between(0.01, 0.04);
                let (ramp, shine) = (self.between(1.0, 10.0), self.between(0.0, 20.0));
                for step in 1..=20_u8 {
                    let part = f32::from(step) / 20.0;
                    self.later(frame, ramp * part, Disturbance::Load([-siemens * part; 3]));
                    let end = ramp + shine + ramp * part;
                    self.later(frame, end, Disturbance::Load([-siemens * (1.0 - part); 3]));
                }
                Disturbance::Load([0.0; 3])
            }
            Happening::Knock => {
                let g = [self.between(-1.0, 1.0), self.between(-0.5, 0.5), self.between(-2.5, 2.5)];
                Disturbance::Knock { g, hertz: self.between(12.0, 60.0) }
            }
            Happening::Chatter => {
                let seconds = self.between(0.0005, 0.008);
                if self.random.next().is_multiple_of(2) {
                    self.later(frame, seconds, Disturbance::Cover(false));
                    Disturbance::Cover(true)
                } else {
                    self.later(frame, seconds, Disturbance::TerminalCover(false));
                    Disturbance::TerminalCover(true)
                }
            }
            Happening::Stray => {
                let millitesla = [self.between(0.0, 0.8), self.between(0.0, 0.8), self.between(0.0, 0.8)];
                let turns = self.between(0.0, 1.0);
                Disturbance::AlternatingField { millitesla, hertz: 50.0, turns }
            }
            Happening::Weather => Disturbance::Temperature(Some(Self::celsius(self.hour(frame)) as f32)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seven and a half minutes from ten o'clock on.
    fn life(kind: SiteKind, seed: u64) -> (Vec<Disturbance>, NormalLife) {
        let mut life = NormalLife::new(kind, seed, UnixMillis(36_000_000));
        let all = (0..3_600_000)
            .step_by(32)
            .flat_map(|frame| std::iter::from_fn(|| life.until(frame)).collect::<Vec<_>>())
            .collect();
        (all, life)
    }

    #[test]
    fn the_same_seed_gives_the_same_life_and_everything_in_it_is_over_again() {
        let (one, lived) = life(SiteKind::HomeSolar, 1);
        assert_eq!(one, life(SiteKind::HomeSolar, 1).0);
        assert_ne!(one, life(SiteKind::HomeSolar, 2).0);
        let count = |wanted: &dyn Fn(&Disturbance) -> bool| one.iter().filter(|d| wanted(d)).count();
        let of = |kind: Happening| lived.counts()[kind as usize];
        assert!(of(Happening::MotorStart) > 30 && of(Happening::PvRamp) > 0, "{lived:?}");
        assert_eq!(life(SiteKind::Factory, 1).1.counts()[Happening::PvRamp as usize], 0);
        let opened = count(&|d| matches!(d, Disturbance::Cover(true)));
        let closed = count(&|d| matches!(d, Disturbance::Cover(false)));
        assert_eq!(opened, closed);
        // A dip never takes a phase away, and a rise stays below a swell.
        let voltages = one.iter().filter_map(|d| match d {
            Disturbance::Voltage(factors) => Some(factors),
            _ => None,
        });
        assert!(voltages.flatten().all(|factor| (0.06..=1.05).contains(factor)));
    }

    /// EN 50160: a cycle above 110 % is a swell. A surge on top of a rise would make one.
    #[test]
    fn no_switching_surge_comes_on_top_of_a_rise() {
        let mut both = 0;
        for seed in 0..20 {
            let mut life = NormalLife::new(SiteKind::Factory, seed, UnixMillis(0));
            // When the last surge was, and when a rise was over; `None` while it lasts.
            let (mut surged, mut risen) = (0_u64, Some(0_u64));
            for frame in (APART..8_000_000).step_by(32) {
                while let Some(disturbance) = life.until(frame) {
                    match disturbance {
                        Disturbance::Surge(_) => {
                            let over = risen.expect("no surge while a rise lasts");
                            assert!(over == 0 || frame >= over + APART - 32, "seed {seed}, frame {frame}");
                            surged = frame;
                            both += 1;
                        }
                        Disturbance::Voltage(factors) if factors.iter().any(|factor| *factor > 1.0) => {
                            assert!(surged == 0 || frame >= surged + APART, "seed {seed}, frame {frame}");
                            risen = None;
                        }
                        Disturbance::Voltage(_) => risen = risen.or(Some(frame)),
                        _ => {}
                    }
                }
            }
        }
        assert!(both > 500, "{both} surges");
    }

    #[test]
    fn a_day_goes_through_all_temperatures() {
        assert_eq!((NormalLife::celsius(0.0), NormalLife::celsius(12.0)), (-40.0, 85.0));
        let first = life(SiteKind::Factory, 1).0.into_iter().find_map(|d| match d {
            Disturbance::Temperature(celsius) => celsius,
            _ => None,
        });
        assert!((first.unwrap_or(0.0) - NormalLife::celsius(10.0) as f32).abs() < 0.1, "{first:?}");
    }
}
