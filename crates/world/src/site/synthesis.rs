//! From phasors to samples: oscillators for the odd orders up to 13, phasors ramped from step to step so that a load that
//! switches leaves no impossible jump.
//!
//! Made in blocks of [`BLOCK`] frames: within a step of the grid the frequency stays, so one table of turned unit phasors
//! serves all blocks of it, and a block's phasors are turned to its first frame beforehand. A frame costs two products
//! and four additions an order and quantity then, in four lanes.

use super::Analogue;
use super::grid::{Grid, State};
use super::load::{Load, STEP_SECONDS};
use crate::complex::Complex;
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
    /// Blocks until the next step.
    left: u32,
    /// The grid's angle at the last step, turns.
    turns: f64,
    frequency_hz: f64,
    /// By [`ORDERS`]: the unit phasors at the next block's first frame, and how far a block turns them.
    oscillators: [Complex; ORDERS.len()],
    rotations: [Complex; ORDERS.len()],
    /// By order, then by frame of a block: sine and cosine of the angle since the block's first frame.
    table: [[[f32; 2]; BLOCK]; ORDERS.len()],
    volts: [Ramp; 3],
    amps: [Ramp; 6],
    /// The present block, and how much of it has been given out.
    block: [Analogue; BLOCK],
    given: usize,
}

/// All orders of voltages and currents.
const ORDERS: [u32; 6] = [1, 3, 5, 7, 11, 13];
/// Where the voltages' orders, and the currents', stand among them.
const VOLTS_AT: [usize; 3] = [0, 2, 3];
const AMPS_AT: [usize; 6] = [0, 1, 2, 3, 4, 5];

/// Frames that are made at once: 4 ms.
pub(super) const BLOCK: usize = 32;
const FRAMES_PER_STEP: u32 = (super::Site::SAMPLE_RATE as f64 * STEP_SECONDS) as u32;
const BLOCKS_PER_STEP: u32 = FRAMES_PER_STEP / BLOCK as u32;

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
            oscillators: [Complex::new(1.0, 0.0); ORDERS.len()],
            rotations: [Complex::new(1.0, 0.0); ORDERS.len()],
            table: [[[0.0; 2]; BLOCK]; ORDERS.len()],
            volts: Default::default(),
            amps: Default::default(),
            block: [Analogue::default(); BLOCK],
            given: BLOCK,
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

    /// The next frames, up to `most` of them and at least one.
    #[inline]
    pub(super) fn take(&mut self, most: usize) -> &[Analogue] {
        if self.given == BLOCK {
            self.make_block();
            self.given = 0;
        }
        let from = self.given;
        self.given = BLOCK.min(from + most);
        &self.block[from..self.given]
    }

    fn make_block(&mut self) {
        if self.left == 0 {
            self.step();
        }
        self.left -= 1;
        let (mut volts, mut amps) = ([Lanes::default(); BLOCK], [Lanes::default(); BLOCK]);
        for (ramp, at) in self.volts.iter_mut().zip(VOLTS_AT) {
            ramp.add_to(&mut volts, self.oscillators[at], &self.table[at]);
        }
        for (ramp, at) in self.amps.iter_mut().zip(AMPS_AT) {
            ramp.add_to(&mut amps, self.oscillators[at], &self.table[at]);
        }
        for (frame, (volts, amps)) in self.block.iter_mut().zip(volts.into_iter().zip(amps)) {
            *frame = Analogue { volts, amps };
        }
        for (oscillator, rotation) in self.oscillators.iter_mut().zip(self.rotations) {
            *oscillator = *oscillator * rotation;
        }
    }

    fn step(&mut self) {
        self.left = BLOCKS_PER_STEP;
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
        let turns_per_frame = state.frequency_hz / f64::from(super::Site::SAMPLE_RATE);
        for (at, order) in ORDERS.into_iter().map(f64::from).enumerate() {
            self.oscillators[at] = Complex::polar(1.0, self.turns * order * TAU);
            self.rotations[at] = Complex::polar(1.0, turns_per_frame * order * BLOCK as f64 * TAU);
            let rotation = Complex::polar(1.0, turns_per_frame * order * TAU);
            let mut phasor = Complex::new(1.0, 0.0);
            for place in &mut self.table[at] {
                *place = [phasor.im as f32, phasor.re as f32];
                phasor = phasor * rotation;
            }
        }
    }

    fn step_world(&mut self) -> State {
        let millis = self.start.0.saturating_add_unsigned(self.steps * (STEP_SECONDS * 1000.0) as u64);
        let hour = millis.rem_euclid(86_400_000) as f64 / 3_600_000.0;
        let demand = self.load.step(hour, &mut self.random);
        self.grid.step(&demand, &mut self.random)
    }

    fn aim(&mut self, state: &State) {
        for ((ramp, target), at) in self.volts.iter_mut().zip(&state.volts).zip(VOLTS_AT) {
            ramp.aim(turned(target, ORDERS[at], false));
        }
        for ((ramp, target), at) in self.amps.iter_mut().zip(&state.amps).zip(AMPS_AT) {
            ramp.aim(turned(target, ORDERS[at], true));
        }
    }
}

/// Peaks of the three phases, each against L1's ideal angle, not its own: L2 is a third of a turn behind, L3 ahead. Of
/// currents also what the three do not cancel: the neutral carries it back.
fn turned(phasors: &[Complex; 3], order: u32, with_sum: bool) -> [Complex; 4] {
    let behind = [0, 2 * order % 3, order % 3].map(|thirds| f64::from(thirds) / 3.0);
    let mut lanes = [Complex::default(); 4];
    for ((lane, phasor), turns) in lanes.iter_mut().zip(phasors).zip(behind) {
        *lane = *phasor * Complex::polar(SQRT_2, turns * TAU);
    }
    if with_sum {
        lanes[3] = lanes[0] + lanes[1] + lanes[2];
    }
    lanes
}

/// A phasor of each lane on its way to the next step's.
#[derive(Default)]
struct Ramp {
    now: [Complex; 4],
    /// By how much it grows in a frame.
    step: [Complex; 4],
    target: [Complex; 4],
}

impl Ramp {
    fn aim(&mut self, target: [Complex; 4]) {
        self.target = target;
        for ((step, target), now) in self.step.iter_mut().zip(target).zip(self.now) {
            *step = (target - now).scaled(1.0 / f64::from(FRAMES_PER_STEP));
        }
    }

    /// At a step's end: exactly the target, without the rounding of the additions up to it.
    fn arrive(&mut self) {
        self.now = self.target;
    }

    fn jump(&mut self) {
        self.arrive();
        self.step = [Complex::default(); 4];
    }

    /// Adds Im(X·e^jθ) of a block's frames, and goes as many further.
    fn add_to(&mut self, sums: &mut [Lanes; BLOCK], oscillator: Complex, table: &[[f32; 2]; BLOCK]) {
        let (mut re, mut im) = lanes(self.now.map(|phasor| phasor * oscillator));
        let (re_step, im_step) = lanes(self.step.map(|step| step * oscillator));
        for (sum, [sine, cosine]) in sums.iter_mut().zip(table) {
            for k in 0..4 {
                sum[k] += re[k] * sine + im[k] * cosine;
                re[k] += re_step[k];
                im[k] += im_step[k];
            }
        }
        for (now, step) in self.now.iter_mut().zip(self.step) {
            *now = *now + step.scaled(BLOCK as f64);
        }
    }
}

fn lanes(phasors: [Complex; 4]) -> (Lanes, Lanes) {
    (phasors.map(|phasor| phasor.re as f32), phasors.map(|phasor| phasor.im as f32))
}
