//! What loads ask of the grid: fundamental power and harmonic currents of each phase.

use crate::complex::Complex;
use crate::random::Random;

/// Seconds between two steps of grid and loads.
pub(super) const STEP_SECONDS: f64 = 0.1;

/// The orders of the current's harmonics, beside the fundamental.
pub(super) const CURRENT_ORDERS: [u32; 5] = [3, 5, 7, 11, 13];

/// A set of loads and generators behind one meter.
pub(super) trait Load: Send {
    /// What is asked for in the next [`STEP_SECONDS`], at this hour of the day (0 ≤ hour < 24).
    fn step(&mut self, hour: f64, random: &mut Random) -> Demand;
}

/// Power and harmonic currents, each phase against its own voltage. Import is positive.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    /// Watts and vars of the fundamental.
    pub(super) power: [Complex; 3],
    /// Harmonic currents, amperes root mean square at 230 V, by [`CURRENT_ORDERS`].
    pub(super) harmonics: [[Complex; 5]; 3],
}

impl Demand {
    /// A single-phase load with this displacement factor, lagging.
    pub(super) fn single(&mut self, phase: usize, watts: f64, displacement: f64) {
        let vars = watts * (1.0 / (displacement * displacement) - 1.0).max(0.0).sqrt();
        self.power[phase] = self.power[phase] + Complex::new(watts, vars);
    }

    /// A balanced three-phase load with this displacement factor, lagging.
    pub(super) fn balanced(&mut self, watts: f64, displacement: f64) {
        for phase in 0..3 {
            self.single(phase, watts / 3.0, displacement);
        }
    }

    /// A six-pulse rectifier: orders 6k ± 1 at nearly 1/h, signs of a bridge behind a reactor.
    pub(super) fn six_pulse(&mut self, watts: f64) {
        const RATIOS: [f64; 5] = [0.0, -0.26, -0.10, 0.07, 0.045];
        self.balanced(watts, 0.96);
        for phase in 0..3 {
            self.distort(phase, watts / 3.0, &RATIOS);
        }
    }

    /// Single-phase rectifiers with a smoothing capacitor: every odd order, strong third.
    pub(super) fn rectifier(&mut self, phase: usize, watts: f64) {
        const RATIOS: [f64; 5] = [-0.62, 0.38, -0.18, 0.05, -0.03];
        self.single(phase, watts, 0.98);
        self.distort(phase, watts, &RATIOS);
    }

    /// Supplies with active power-factor correction: what is left of the harmonics.
    pub(super) fn corrected(&mut self, phase: usize, watts: f64) {
        const RATIOS: [f64; 5] = [-0.08, 0.04, -0.025, 0.01, -0.008];
        self.single(phase, watts, 0.99);
        self.distort(phase, watts, &RATIOS);
    }

    fn distort(&mut self, phase: usize, watts: f64, ratios: &[f64; 5]) {
        for (harmonic, ratio) in self.harmonics[phase].iter_mut().zip(ratios) {
            harmonic.re += watts / 230.0 * ratio;
        }
    }
}

/// Something that is on and off for random times.
#[derive(Clone, Debug)]
pub(super) struct Cycling {
    on: bool,
    left_seconds: f64,
    since_start: f64,
    mean_on: f64,
    mean_off: f64,
}

impl Cycling {
    /// With these mean times, seconds. The first switch comes at a random part of them.
    pub(super) fn new(mean_on: f64, mean_off: f64) -> Self {
        Self { on: false, left_seconds: -1.0, since_start: 1e9, mean_on, mean_off }
    }

    /// Steps; gives the seconds since it was switched on, while it is on. What may not run goes off at its end.
    pub(super) fn step(&mut self, may_run: bool, random: &mut Random) -> Option<f64> {
        if self.left_seconds < 0.0 {
            if self.since_start >= 1e9 {
                // The very first step: somewhere inside a cycle that began before the simulation.
                self.on = random.uniform() * (self.mean_on + self.mean_off) < self.mean_on;
                self.since_start = 3600.0;
                self.left_seconds = random.uniform() * self.mean(self.on);
            } else {
                self.on = !self.on && may_run;
                self.since_start = 0.0;
                self.left_seconds = (0.6 + 0.8 * random.uniform()) * self.mean(self.on);
            }
        }
        self.on &= may_run;
        self.left_seconds -= STEP_SECONDS;
        self.since_start += STEP_SECONDS;
        self.on.then_some(self.since_start)
    }

    fn mean(&self, on: bool) -> f64 {
        if on { self.mean_on } else { self.mean_off }
    }
}

/// 1 between two hours of the day, 0 outside, with ramps of this many hours at both ends.
pub(super) fn during(hour: f64, from: f64, to: f64, ramp: f64) -> f64 {
    ((hour - from) / ramp).clamp(0.0, 1.0).min(((to - hour) / ramp).clamp(0.0, 1.0))
}
