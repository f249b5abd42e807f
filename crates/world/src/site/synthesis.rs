//! From phasors to samples: oscillators for the odd orders up to 13 in three lanes, phasors ramped from step to
//! step so that a load that switches leaves no impossible jump.

use super::Analogue;
use super::grid::{Grid, State};
use super::load::{Load, STEP_SECONDS};
use crate::random::Random;
use meterseal_model::UnixMillis;
use std::f64::consts::{SQRT_2, TAU};

/// The waveforms of a synthetic site.
pub(super) struct Synthesis {
    load: Box<dyn Load>,
    grid: Grid,
    random: Random,
    start: UnixMillis,
    steps: u64,
    /// Frames until the next step.
    left: u32,
    /// The grid's angle at the last step, turns.
    turns: f64,
    frequency_hz: f64,
    oscillator: [f64; 2],
    rotation: [f64; 2],
    volts: [Ramp; 3],
    amps: [Ramp; 6],
}

const FRAMES_PER_STEP: u32 = (super::Site::SAMPLE_RATE as f64 * STEP_SECONDS) as u32;

type Lanes = [f32; 4];

impl Synthesis {
    pub(super) fn new(load: Box<dyn Load>, seed: u64, start: UnixMillis) -> Self {
        let mut new = Self {
            load,
            grid: Grid::new(),
            random: Random::new(seed),
            start,
            steps: 0,
            left: 0,
            turns: 0.0,
            frequency_hz: 0.0,
            oscillator: [1.0, 0.0],
            rotation: [1.0, 0.0],
            volts: Default::default(),
            amps: Default::default(),
        };
        // Load and grid find each other before the first frame.
        for _ in 0..4 {
            new.prepare();
        }
        new
    }

    fn prepare(&mut self) {
        let state = self.step_world();
        self.aim(&state);
        for ramp in self.volts.iter_mut().chain(&mut self.amps) {
            ramp.jump();
        }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Analogue {
        if self.left == 0 {
            self.step();
        }
        self.left -= 1;
        let phases = Phasor::three_phases(self.oscillator);
        self.oscillator = rotate(self.oscillator, self.rotation);

        let second = phases.times(&phases);
        let third = second.times(&phases);
        let fourth = second.times(&second);
        let fifth = third.times(&second);
        let seventh = fifth.times(&second);
        let eleventh = seventh.times(&fourth);
        let thirteenth = eleventh.times(&second);

        let mut volts = [0.0; 4];
        for (ramp, phasor) in self.volts.iter_mut().zip([&phases, &fifth, &seventh]) {
            ramp.add_to(&mut volts, phasor);
        }
        let mut amps = [0.0; 4];
        let orders = [&phases, &third, &fifth, &seventh, &eleventh, &thirteenth];
        for (ramp, phasor) in self.amps.iter_mut().zip(orders) {
            ramp.add_to(&mut amps, phasor);
        }
        // The neutral carries back what the three phases do not cancel.
        amps[3] = amps[0] + amps[1] + amps[2];
        Analogue { volts, amps }
    }

    fn step(&mut self) {
        self.left = FRAMES_PER_STEP;
        if self.steps > 0 {
            self.turns = (self.turns + self.frequency_hz * STEP_SECONDS).fract();
        }
        for ramp in self.volts.iter_mut().chain(&mut self.amps) {
            ramp.arrive();
        }
        let state = self.step_world();
        self.steps += 1;
        self.aim(&state);
        self.frequency_hz = state.frequency_hz;
        let (sine, cosine) = (self.turns * TAU).sin_cos();
        self.oscillator = [cosine, sine];
        let step = state.frequency_hz / f64::from(super::Site::SAMPLE_RATE);
        let (sine, cosine) = (step * TAU).sin_cos();
        self.rotation = [cosine, sine];
    }

    fn step_world(&mut self) -> State {
        let millis = self.start.0.saturating_add_unsigned(self.steps * (STEP_SECONDS * 1000.0) as u64);
        let hour = millis.rem_euclid(86_400_000) as f64 / 3_600_000.0;
        let demand = self.load.step(hour, &mut self.random);
        self.grid.step(&demand, &mut self.random)
    }

    fn aim(&mut self, state: &State) {
        let targets = state.volts.iter().chain(&state.amps);
        for (ramp, target) in self.volts.iter_mut().chain(&mut self.amps).zip(targets) {
            let peak = |value: f64| (value * SQRT_2) as f32;
            ramp.aim(
                std::array::from_fn(|k| target.get(k).map_or(0.0, |phasor| peak(phasor.re))),
                std::array::from_fn(|k| target.get(k).map_or(0.0, |phasor| peak(phasor.im))),
            );
        }
    }
}

fn rotate(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
}

/// A unit phasor of each phase.
struct Phasor {
    cosine: Lanes,
    sine: Lanes,
}

impl Phasor {
    /// L1 as given, L2 a third of a turn behind, L3 a third ahead.
    #[inline(always)]
    fn three_phases([cosine, sine]: [f64; 2]) -> Self {
        const HALF_ROOT_3: f32 = 0.866_025_4;
        let (c, s) = (cosine as f32, sine as f32);
        Self {
            cosine: [c, -0.5 * c + HALF_ROOT_3 * s, -0.5 * c - HALF_ROOT_3 * s, 0.0],
            sine: [s, -0.5 * s - HALF_ROOT_3 * c, -0.5 * s + HALF_ROOT_3 * c, 0.0],
        }
    }

    #[inline(always)]
    fn times(&self, other: &Self) -> Self {
        let mut product = Self { cosine: [0.0; 4], sine: [0.0; 4] };
        for k in 0..4 {
            product.cosine[k] = self.cosine[k] * other.cosine[k] - self.sine[k] * other.sine[k];
            product.sine[k] = self.cosine[k] * other.sine[k] + self.sine[k] * other.cosine[k];
        }
        product
    }
}

/// A phasor of each phase on its way to the next step's.
#[derive(Default)]
struct Ramp {
    re: Lanes,
    im: Lanes,
    re_step: Lanes,
    im_step: Lanes,
    re_target: Lanes,
    im_target: Lanes,
}

impl Ramp {
    fn aim(&mut self, re: Lanes, im: Lanes) {
        (self.re_target, self.im_target) = (re, im);
        for k in 0..4 {
            self.re_step[k] = (re[k] - self.re[k]) / FRAMES_PER_STEP as f32;
            self.im_step[k] = (im[k] - self.im[k]) / FRAMES_PER_STEP as f32;
        }
    }

    /// At a step's end: exactly the target, without the rounding of 800 additions.
    fn arrive(&mut self) {
        (self.re, self.im) = (self.re_target, self.im_target);
    }

    fn jump(&mut self) {
        self.arrive();
        (self.re_step, self.im_step) = ([0.0; 4], [0.0; 4]);
    }

    /// Adds Im(X·e^jθ), and goes one frame further.
    #[inline(always)]
    fn add_to(&mut self, sum: &mut Lanes, phasor: &Phasor) {
        for (k, sum) in sum.iter_mut().enumerate() {
            *sum += self.re[k] * phasor.sine[k] + self.im[k] * phasor.cosine[k];
            self.re[k] += self.re_step[k];
            self.im[k] += self.im_step[k];
        }
    }
}
