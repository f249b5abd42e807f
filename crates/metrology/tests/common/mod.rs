//! Synthetic three-phase records with their analytic truth, in double precision and apart from the core.

#![allow(dead_code, reason = "each test program uses its own part")]

use meterseal_metrology::{Config, Frame, Nominal, Period, Scale, Window, find_period};
use std::f64::consts::{SQRT_2, TAU};

/// Full scale 536.9 V and 151 A peak.
pub(crate) const SCALE: Scale = Scale {
    voltage_femtovolts_per_count: [64_000_000_000; 3],
    current_femtoamperes_per_count: [18_000_000_000; 4],
};
pub(crate) const VOLTS: f64 = 64e-6;
pub(crate) const AMPERES: f64 = 18e-6;

/// A small generator: a test's numbers must not change with a crate's version.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(crate) fn frame(&mut self) -> Frame {
        let mut count = || (self.next() % (1 << 24)) as i32 - (1 << 23) + 1;
        Frame {
            voltage: std::array::from_fn(|_| count().min(Frame::FULL_SCALE)),
            current: std::array::from_fn(|_| count().min(Frame::FULL_SCALE)),
        }
    }
}

/// One harmonic: order, RMS value, phase in radians.
pub(crate) type Partial = (f64, f64, f64);

#[derive(Clone, Debug, Default)]
pub(crate) struct Channel(pub(crate) Vec<Partial>);

impl Channel {
    pub(crate) fn sine(rms: f64, phase: f64) -> Self {
        Self(vec![(1.0, rms, phase)])
    }

    pub(crate) fn at(&self, turns: f64) -> f64 {
        self.0.iter().map(|(order, rms, phase)| rms * SQRT_2 * (order * turns * TAU + phase).cos()).sum()
    }

    pub(crate) fn rms(&self) -> f64 {
        self.0.iter().map(|p| p.1 * p.1).sum::<f64>().sqrt()
    }

    pub(crate) fn thd(&self) -> f64 {
        let all: f64 = self.0[1..].iter().map(|p| p.1 * p.1).sum();
        all.sqrt() / self.0[0].1
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) rate: f64,
    pub(crate) hertz: f64,
    pub(crate) voltage: [Channel; 3],
    pub(crate) current: [Channel; 4],
}

impl Site {
    /// 230 V, `amperes`, lagging by `phi`, no harmonics.
    pub(crate) fn balanced(rate: f64, hertz: f64, amperes: f64, phi: f64) -> Self {
        let angle = |p: usize| 0.4 - TAU * p as f64 / 3.0;
        Self {
            rate,
            hertz,
            voltage: std::array::from_fn(|p| Channel::sine(230.0, angle(p))),
            current: std::array::from_fn(|p| {
                if p < 3 { Channel::sine(amperes, angle(p) - phi) } else { Channel::default() }
            }),
        }
    }

    /// Adds harmonics up to the 25th or 0.4 of the rate: voltages of 5 % falling with the order, currents of 30 % third, 20 % fifth and so on.
    pub(crate) fn distorted(mut self, random: &mut Random) -> Self {
        for channel in &mut self.voltage {
            let base = channel.0[0].1;
            for order in 2..=25 {
                let share = if order % 2 == 1 { 0.15 } else { 0.02 } / f64::from(order);
                Self::harmonic(self.rate, self.hertz, channel, order, base * share, random);
            }
        }
        for channel in &mut self.current[..3] {
            let base = channel.0[0].1;
            for order in 2..=25 {
                let share = if order % 2 == 1 { 0.9 } else { 0.1 } / f64::from(order);
                Self::harmonic(self.rate, self.hertz, channel, order, base * share, random);
            }
        }
        self
    }

    fn harmonic(rate: f64, hertz: f64, channel: &mut Channel, order: i32, rms: f64, random: &mut Random) {
        if f64::from(order) * hertz <= 0.4 * rate {
            channel.0.push((order.into(), rms, random.within(0.0, TAU)));
        }
    }

    pub(crate) fn frame(&self, n: usize) -> Frame {
        self.frame_at((n as f64 + 0.5) / self.rate * self.hertz)
    }

    pub(crate) fn frame_at(&self, turns: f64) -> Frame {
        Frame {
            voltage: std::array::from_fn(|p| (self.voltage[p].at(turns) / VOLTS).round() as i32),
            current: std::array::from_fn(|p| (self.current[p].at(turns) / AMPERES).round() as i32),
        }
    }

    pub(crate) fn cycles(&self, cycles: f64) -> Vec<Frame> {
        self.frames((cycles * self.rate / self.hertz).round() as usize)
    }

    pub(crate) fn frames(&self, frames: usize) -> Vec<Frame> {
        (0..frames).map(|n| self.frame(n)).collect()
    }

    pub(crate) fn rate_microhertz(&self) -> u64 {
        (self.rate * 1e6).round() as u64
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(self.rate_microhertz(), Nominal::nearest((self.hertz * 1e6) as u64), SCALE)
    }

    /// What `measure` does with a record: find the period, then start with it.
    pub(crate) fn found(&self, frames: &[Frame]) -> Config {
        let (nominal, period): (Nominal, Period) =
            find_period(self.rate_microhertz(), frames).expect("a supply");
        Config { nominal, period: Some(period), window_cycles: nominal.window_cycles(), ..self.config() }
    }

    /// Active power of a phase.
    pub(crate) fn active(&self, phase: usize) -> f64 {
        self.pairs(phase).map(|(v, i)| v.1 * i.1 * (v.2 - i.2).cos()).sum()
    }

    /// The fundamental's reactive power of a phase.
    pub(crate) fn reactive(&self, phase: usize) -> f64 {
        self.pairs(phase).filter(|(v, _)| v.0 == 1.0).map(|(v, i)| v.1 * i.1 * (v.2 - i.2).sin()).sum()
    }

    pub(crate) fn apparent(&self, phase: usize) -> f64 {
        self.voltage[phase].rms() * self.current[phase].rms()
    }

    fn pairs(&self, phase: usize) -> impl Iterator<Item = (&Partial, &Partial)> {
        let currents = &self.current[phase].0;
        self.voltage[phase]
            .0
            .iter()
            .flat_map(move |v| currents.iter().filter(|i| i.0 == v.0).map(move |i| (v, i)))
    }

    /// The largest errors of a window against the truth.
    pub(crate) fn errors(&self, window: &Window) -> Errors {
        let mut errors = Errors::default();
        for (number, phase) in window.phases.iter().enumerate() {
            let relative = |micro: u64, truth: f64| {
                if truth == 0.0 { micro as f64 * 1e-6 } else { micro as f64 * 1e-6 / truth - 1.0 }
            };
            let apparent = self.apparent(number).max(1e-9);
            errors.rms = errors
                .rms
                .max(relative(phase.voltage_rms_microvolts, self.voltage[number].rms()).abs())
                .max(relative(phase.current_rms_microamperes, self.current[number].rms()).abs());
            errors.active = errors
                .active
                .max((phase.active_power_microwatts as f64 * 1e-6 - self.active(number)).abs() / apparent);
            errors.reactive = errors
                .reactive
                .max((phase.reactive_power_microvars as f64 * 1e-6 - self.reactive(number)).abs() / apparent);
        }
        errors.millihertz =
            window.frequency_microhertz.map_or(f64::INFINITY, |f| (f as f64 * 1e-6 - self.hertz).abs() * 1e3);
        errors
    }
}

/// Relative errors (of S for powers), and that of the frequency in millihertz.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Errors {
    pub(crate) rms: f64,
    pub(crate) active: f64,
    pub(crate) reactive: f64,
    pub(crate) millihertz: f64,
}

impl Errors {
    pub(crate) fn worst(self, other: Self) -> Self {
        Self {
            rms: self.rms.max(other.rms),
            active: self.active.max(other.active),
            reactive: self.reactive.max(other.reactive),
            millihertz: self.millihertz.max(other.millihertz),
        }
    }
}
