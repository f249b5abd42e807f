//! Samples spread over the phases of a cycle, so that a transform of few points sees all of them.
//!
//! A sample lands between two of the [`BINS`] phases. It is spread over the five nearest ones with a quartic B-spline, whose transform at order *h* is
//! `sinc(h/512)⁵`: known, so `transform` divides it out again, and at orders 462 to 562, which fold onto the first fifty, below 1.5·10⁻⁵ of what
//! it is there. Bins need not be filled evenly: a transform of the bins is the transform of the samples.
//!
//! Counts are spread above an offset of 2²³, and an eighth lane gets the offset alone: all factors are positive 32-bit numbers, which every processor
//! multiplies in its vector registers, and the difference is exact.

use crate::{Frame, VOLTAGES};

/// Phases of a cycle.
pub(crate) const BINS: usize = 512;
const TAPS: usize = 5;
/// The first and the last rows lie outside the cycle; [`Grid::close`] folds them back.
const ROWS: usize = BINS + TAPS - 1;
/// Seven channels and the weight, eight lanes.
pub(crate) const LANES: usize = 8;
/// Which lane is the weight.
pub(crate) const WEIGHT: usize = LANES - 1;

/// Sums of weighted counts at each phase. A weight is below 2²⁵ and a count with its offset below 2²⁴; a bin gets at most the weight of 2 500 · 3 000 /
/// 512 < 2¹³·⁹ samples (100 kHz, 40 Hz, the longest window), so a sum stays below 2⁶³.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    rows: [Row; ROWS],
}

pub(crate) type Row = [i64; LANES];

/// What a frame adds to a row for a weight of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes([u32; LANES]);

/// The weights of the five phases nearest to a sample, the first of them at `bin` − 2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    bin: usize,
    weights: [u32; TAPS],
}

impl Lanes {
    /// Of a frame with counts within full scale.
    #[inline(always)]
    pub(crate) fn new(frame: &Frame) -> Self {
        let above = |count: i32| (count + OFFSET) as u32;
        Self(core::array::from_fn(|lane| match lane {
            0..VOLTAGES => above(frame.voltage[lane]),
            VOLTAGES..WEIGHT => above(frame.current[lane - VOLTAGES]),
            _ => OFFSET as u32,
        }))
    }
}

impl Spread {
    const NOTHING: Self = Self { bin: 0, weights: [0; TAPS] };

    /// Of a sample at a phase (turns).
    #[inline(always)]
    pub(crate) fn at(phase: u64) -> Self {
        let nearest = phase.wrapping_add(HALF_BIN);
        let bin = (nearest >> FRACTION) as usize;
        // Bins from the nearest phase, −½ to ½ with 30 fractional bits.
        let s = ((nearest >> (FRACTION - 30)) & ((1 << 30) - 1)) as i64 - (1 << 29);
        let product = |a: i64, b: i64| (a * b) >> 30;
        let square = product(s, s);
        let fourth = product(square, square);
        let outer = |distance: i64| {
            let square = product(distance, distance);
            (product(square, square) >> 10) as u32
        };
        // 24 times B₄: (½ ± s)⁴, 19/4 ± 11s + 6s² ∓ 4s³ − 4s⁴, and the rest.
        let odd = 11 * s - 4 * product(square, s);
        let even = (19 << 28) + 6 * square - 4 * fourth;
        let (first, last) = (outer((1 << 29) - s), outer((1 << 29) + s));
        let (second, fourth) = (((even - odd) >> 10) as u32, ((even + odd) >> 10) as u32);
        let middle = ONE - first - second - fourth - last;
        Self { bin, weights: [first, second, middle, fourth, last] }
    }

    /// A share of it: 24 fractional bits, up to one.
    #[inline(always)]
    pub(crate) fn part(&self, share: u64) -> Self {
        let weights = self.weights.map(|weight| ((u64::from(weight) * share) >> 24) as u32);
        Self { weights, ..*self }
    }
}

impl Grid {
    pub(crate) const fn new() -> Self {
        Self { rows: [[0; LANES]; ROWS] }
    }

    pub(crate) fn clear(&mut self) {
        self.rows = [[0; LANES]; ROWS];
    }

    /// Adds frames whose phases begin with `phase` and go on by `step`; gives the phase after them.
    pub(crate) fn add_all(&mut self, frames: &[Frame], mut phase: u64, step: u64) -> u64 {
        // Apart from each other, these loops become vector instructions.
        let (mut lanes, mut spreads) = ([Lanes([0; LANES]); PIECE], [Spread::NOTHING; PIECE]);
        for piece in frames.chunks(PIECE) {
            for (lanes, frame) in lanes.iter_mut().zip(piece) {
                *lanes = Lanes::new(frame);
            }
            for spread in &mut spreads[..piece.len()] {
                *spread = Spread::at(phase);
                phase = phase.wrapping_add(step);
            }
            for (lanes, spread) in lanes.iter().zip(&spreads[..piece.len()]) {
                self.add(lanes, spread);
            }
        }
        phase
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, lanes: &Lanes, spread: &Spread) {
        let rows = &mut self.rows[spread.bin..spread.bin + TAPS];
        for (row, weight) in rows.iter_mut().zip(spread.weights) {
            for (sum, lane) in row.iter_mut().zip(lanes.0) {
                *sum += (u64::from(lane) * u64::from(weight)) as i64;
            }
        }
    }

    /// The sums of a whole cycle, from two bins before phase zero on, without the offset and shifted down so that all of them together are below
    /// 2³¹; with the weight's sum times the offset, and the shift. `None` where nothing was added.
    pub(crate) fn close(&mut self) -> Option<(&mut [Row; BINS], u128, u32)> {
        let (cycle, beyond) = self.rows.split_first_chunk_mut::<BINS>()?;
        for (row, beyond) in cycle.iter_mut().zip(beyond) {
            for (sum, beyond) in row.iter_mut().zip(beyond) {
                *sum += *beyond;
            }
        }
        let weight: u128 = cycle.iter().map(|row| u128::from(row[WEIGHT].unsigned_abs())).sum();
        if weight == 0 {
            return None;
        }
        let shift = (128 - weight.leading_zeros()).saturating_sub(31);
        let half = (1_i64 << shift) >> 1;
        for row in cycle.iter_mut() {
            let offset = core::mem::take(&mut row[WEIGHT]) - half;
            for sum in &mut row[..WEIGHT] {
                *sum = (*sum - offset) >> shift;
            }
        }
        Some((cycle, weight, shift))
    }
}

/// Frames that are prepared at once.
const PIECE: usize = 32;
/// Fractional bits of a phase below its bin.
const FRACTION: u32 = 64 - BINS.ilog2();
const HALF_BIN: u64 = 1 << (FRACTION - 1);
/// What is added to a count: one more than full scale.
pub(crate) const OFFSET: i32 = Frame::FULL_SCALE + 1;
/// The sum of a sample's weights.
const ONE: u32 = 24 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// B₄ from its definition: the sum over (−1)ᵏ·C(5, k)·(x + 5/2 − k)⁴₊ / 24.
    fn spline(x: f64) -> f64 {
        let binomials = [1.0, -5.0, 10.0, -10.0, 5.0, -1.0];
        let power = |k: usize| (x + 2.5 - k as f64).max(0.0).powi(4);
        (0..6).map(|k| binomials[k] * power(k)).sum::<f64>() / 24.0
    }

    #[test]
    fn weights_are_those_of_the_quartic_spline() {
        for n in 0..4000_u64 {
            let phase = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let Spread { bin, weights } = Spread::at(phase);
            let exact = phase as f64 / 2f64.powi(64 - 9);
            assert_eq!(weights.iter().sum::<u32>(), ONE);
            for (tap, weight) in weights.into_iter().enumerate() {
                let mut distance = exact - (bin as f64 + tap as f64 - 2.0);
                if distance > 256.0 {
                    distance -= 512.0;
                }
                let error = f64::from(weight) / f64::from(ONE) - spline(distance);
                assert!(error.abs() < 3e-7, "{phase} {tap}: {error}");
            }
        }
    }

    #[test]
    fn the_extremes_fit() {
        let full = Frame { voltage: [Frame::FULL_SCALE; 3], current: [-Frame::FULL_SCALE; 4] };
        let mut grid = Grid::new();
        for row in &mut grid.rows[..BINS] {
            // What the longest window leaves in a bin.
            *row = [14_649 * i64::from(ONE) * i64::from(2 * OFFSET - 1); LANES];
            row[WEIGHT] /= 2;
        }
        grid.add(&Lanes::new(&full), &Spread::at(u64::MAX / 3));
        let (cycle, _, shift) = grid.close().expect("a weight");
        assert!(shift > 0);
        for lane in 0..WEIGHT {
            let all: i64 = cycle.iter().map(|row| row[lane].abs()).sum();
            assert!(all < (1 << 31) + 1024, "{all}");
        }
    }
}
