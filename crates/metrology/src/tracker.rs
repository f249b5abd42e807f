//! The length of the slots to come: it follows the supply frequency.

use crate::{
    Config, Period, VOLTAGES,
    boundary::Boundary,
    period::{FREQUENCY_MAX_MICROHERTZ, FREQUENCY_MIN_MICROHERTZ},
    slot::EDGE,
    trig::{self, Complex},
};

/// How far the fundamental advanced from one boundary to the next, beyond the whole turn of its slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advance {
    /// Fraction of a turn in units of 2⁻⁶⁴, −½ to ½.
    pub(crate) turn: i64,
    /// Time between the boundaries: samples with 20 fractional bits.
    pub(crate) interval: u64,
}

impl Advance {
    /// From two neighbouring boundaries, by the sum over the voltages that both have: larger ones count more, any one is enough, and the phase
    /// sequence does not matter. `None` without a voltage.
    pub(crate) fn between(earlier: &Boundary, later: &Boundary, interval: u64) -> Option<Self> {
        let sum = correlation(earlier, later)?;
        Some(Self { turn: trig::angle(sum), interval })
    }

    /// Turns a sample that this advance means, in units of 2⁻⁶⁴.
    pub(crate) fn step(self) -> u64 {
        let turns = ((1_i128 << 64) + i128::from(self.turn)).unsigned_abs();
        ((turns << EDGE) / u128::from(self.interval)) as u64
    }

    /// The cycle length that this advance means, in samples with 32 fractional bits.
    fn period(self) -> u64 {
        let turns = (1_i128 << 64) + i128::from(self.turn);
        let samples = u128::from(self.interval) << (64 + 32 - EDGE);
        // At least half a turn, so below twice the interval.
        (samples / turns.unsigned_abs()) as u64
    }
}

/// The sum over the voltages that both boundaries have of later · conj(earlier). A voltage that stepped by more than a factor of 1.4 between them is
/// left out: the cycle with the step in it has no clean phase.
pub(crate) fn correlation(earlier: &Boundary, later: &Boundary) -> Option<Complex<i128>> {
    let mut sum = None;
    for number in 0..VOLTAGES {
        if earlier.has_voltage[number] && later.has_voltage[number] && is_steady(earlier, later, number) {
            let Complex { re, im } = sum.unwrap_or_default();
            let product = later.phasors[number].times_conjugate(earlier.phasors[number]);
            sum = Some(Complex { re: re + product.re, im: im + product.im });
        }
    }
    sum
}

/// Whether a voltage was lost, came back, or stepped by more than a factor of 1.4 between two boundaries.
pub(crate) fn voltage_stepped(earlier: &Boundary, later: &Boundary) -> bool {
    (0..VOLTAGES).any(|number| match [earlier, later].map(|boundary| boundary.has_voltage[number]) {
        [true, true] => !is_steady(earlier, later, number),
        [before, after] => before != after,
    })
}

fn is_steady(earlier: &Boundary, later: &Boundary, number: usize) -> bool {
    let squares = [earlier, later].map(|boundary| boundary.twice_squares[number]);
    squares[0] <= 2 * squares[1] && squares[1] <= 2 * squares[0]
}

/// Gives the lengths of the slots.
#[derive(Clone, Debug)]
pub(crate) struct Tracker {
    /// The present cycle length, samples with 32 fractional bits.
    period: u64,
    /// Without a supply.
    start: u64,
    shortest: u64,
    longest: u64,
    fixed: bool,
    /// An estimate that would be a jump.
    candidate: Option<u64>,
    /// Estimates since the last jump, counted to [`SPOILT`] + [`MEMORY`].
    estimates: i64,
    /// What rounding the last length to 20 fractional bits left over.
    rest: u64,
}

/// A difference above 1/256 (200 mHz; less leaks less than 4·10⁻⁵) is a jump, which is followed once two estimates in a row agree to a quarter of it:
/// when the supply's phase steps (a switched feeder, a fault), the advances of two or three cycles look like other frequencies, but hardly like the
/// same one.
const JUMP: u32 = 8;
/// The next two estimates see boundaries between slots of different length, whose phase is off by a sixth of the difference: they are not used.
const SPOILT: i64 = 2;
/// From then on the period is the mean of all estimates, up to about so many: few enough that a supply that changes by 1 Hz a second is
/// 100 mHz ahead at most, which is no jump and leaks nothing.
const MEMORY: i64 = 4;

impl Tracker {
    pub(crate) fn new(config: &Config) -> Self {
        let at = |microhertz| Period::from_frequency(config.sample_rate_microhertz, microhertz).to_bits();
        let start = config.start_period().to_bits();
        Self {
            period: start,
            start,
            shortest: at(FREQUENCY_MAX_MICROHERTZ),
            longest: at(FREQUENCY_MIN_MICROHERTZ),
            fixed: config.fixed_period,
            candidate: None,
            // A known period is worth as much as the mean of many estimates.
            estimates: if config.period.is_some() { SPOILT + MEMORY } else { SPOILT },
            rest: 0,
        }
    }

    /// The next slot's length, in samples with 20 fractional bits. Rounding is carried on, so slots stay with the period.
    pub(crate) fn next_length(&mut self) -> u64 {
        let exact = self.period + self.rest;
        let bits = 32 - EDGE;
        self.rest = exact & ((1 << bits) - 1);
        exact >> bits
    }

    /// Whether the last boundary lay beside a slot of a length that a jump has since replaced.
    pub(crate) fn is_settling(&self) -> bool {
        self.estimates < SPOILT
    }

    /// Without any voltage the slots return to the length they began with.
    pub(crate) fn lose(&mut self) {
        self.period = self.start;
        self.estimates = SPOILT;
        self.candidate = None;
    }

    /// Follows the supply. A frequency outside 40 to 70 Hz is not believed. Returns whether phase or frequency jumped.
    pub(crate) fn follow(&mut self, advance: Advance) -> bool {
        let period = advance.period();
        let difference = period.abs_diff(self.period);
        let jumped = difference > self.period >> JUMP;
        if self.fixed || !(self.shortest..=self.longest).contains(&period) {
            return jumped;
        }
        self.estimates = (self.estimates + 1).min(SPOILT + MEMORY);
        if self.estimates <= SPOILT {
            return jumped;
        }
        let candidate = self.candidate.take();
        if jumped {
            if candidate.is_some_and(|earlier| period.abs_diff(earlier) <= difference / 4) {
                self.period = period;
                self.estimates = 0;
            } else {
                self.candidate = Some(period);
            }
        } else {
            let share = self.estimates - SPOILT;
            let change = (period as i64 - self.period as i64) / share;
            self.period = self.period.wrapping_add_signed(change);
        }
        jumped
    }
}
