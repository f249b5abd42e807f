//! Offsets and fractional delays, on the samples.
//!
//! A current's delay against its voltage acts on every product of harmonics, so it cannot be mended in a slot's sums: rotating the fundamental's
//! phasors would leave `Σ Vh·Ih·sin φh·hωτ` in active energy, 0.03 % with 10 % of fifth harmonic voltage, 40 % of current and 5 µs. A Lagrange filter
//! of degree five on the current shifts all orders and leaves one path for RMS, P, Q and phasors. Its gain errs by −0.003 % at the 11th and −0.38 %
//! at the 25th harmonic at 8 kHz and half a sample, its worst, and by nothing where the delay is whole. 24 multiplications a frame, a
//! channel at a time; a meter without a record runs none of this.

use crate::{CURRENTS, Frame, Kernel, VOLTAGES, boundary::CHANNELS};

/// Corrects frames one after the other; what comes out is [`LATENCY`] frames behind what went in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditioner {
    /// What is added to the voltages' counts.
    shifts: [i32; VOLTAGES],
    /// The currents' delays in whole samples, −4 to 3.
    whole: [i64; CURRENTS],
    /// For what the delays have beyond that.
    filters: [Filter; CURRENTS],
    /// The last frames, oldest first.
    history: [Frame; HISTORY],
    /// Frames that went in and have not come out.
    held: usize,
}

/// Frames between the newest that a delay of −4 samples needs and the one that comes out.
pub(crate) const LATENCY: usize = 6;
/// How far behind the newest frame the oldest one is that a delay of just below 4 samples needs.
pub(crate) const HISTORY: usize = 12;
/// Frames that are corrected at once.
pub(crate) const PIECE: usize = 128;
const TAPS: usize = 6;
const ONE: i64 = 1 << 30;

impl Conditioner {
    /// Sets offsets (thousandths of a count) and delays of the currents (picoseconds; below ±4 samples, beyond which it stops).
    pub(crate) fn set(&mut self, offsets: &[i64; CHANNELS], delays: &[i64; CURRENTS], rate_microhertz: u64) {
        let offsets = offsets.map(|millicounts| {
            let counts = (i128::from(millicounts) << 30) / 1000;
            counts.clamp(-(LARGEST_OFFSET << 30), LARGEST_OFFSET << 30) as i64
        });
        let delays = delays.map(|picoseconds| {
            let samples =
                ((i128::from(picoseconds) * i128::from(rate_microhertz)) << 32) / 1_000_000_000_000_000_000;
            samples.clamp(-4 << 32, (4 << 32) - 1) as i64
        });
        // A count has no fraction, so that taking off an offset and rounding is the same whole number for all counts.
        self.shifts = core::array::from_fn(|number| ((ONE / 2 - offsets[number]) >> 30) as i32);
        self.whole = delays.map(|samples| samples >> 32);
        self.filters = core::array::from_fn(|n| Filter::new(&weights(delays[n]), offsets[VOLTAGES + n]));
    }

    /// Frames that went in and have not come out yet: all of a record's end, [`LATENCY`] of them later on.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Corrects at most [`PIECE`] frames with counts within full scale, and gives those that are complete: as many as came in, once [`LATENCY`] frames
    /// have been. Before a record's first frame there were others like it. Results are below 2²⁵.
    pub(crate) fn take<'a>(
        &mut self,
        frames: &[Frame],
        kernel: &Kernel,
        out: &'a mut [Frame; PIECE],
    ) -> &'a [Frame] {
        let Some(first) = frames.first() else {
            return &[];
        };
        if self.held == 0 {
            self.history = [*first; HISTORY];
        }
        let early = LATENCY - self.held;
        let mut line = [Frame::default(); HISTORY + PIECE];
        line[..HISTORY].copy_from_slice(&self.history);
        line[HISTORY..HISTORY + frames.len()].copy_from_slice(frames);
        self.correct(&line, kernel, &mut out[..frames.len()]);
        self.history.copy_from_slice(&line[frames.len()..frames.len() + HISTORY]);
        self.held += early.min(frames.len());
        &out[early.min(frames.len())..frames.len()]
    }

    /// The end of a record: what is still held, as if frames like the last one followed.
    pub(crate) fn finish<'a>(&mut self, kernel: &Kernel, out: &'a mut [Frame; PIECE]) -> &'a [Frame] {
        let [held, last] = [self.held, HISTORY - 1];
        let more = [self.history[last]; LATENCY];
        // A record shorter than the latency has not filled the line yet.
        let missing = LATENCY - held;
        self.take(&more[..missing], kernel, out);
        let ready = self.take(&more[..held], kernel, out);
        self.held = 0;
        ready
    }

    /// The frames that are [`LATENCY`] before the last of each [`HISTORY`] + 1 frames of a line.
    fn correct(&self, line: &[Frame; HISTORY + PIECE], kernel: &Kernel, out: &mut [Frame]) {
        let [x, y, z] = self.shifts;
        for (out, frame) in out.iter_mut().zip(&line[CENTRE..]) {
            let [a, b, c] = frame.voltage;
            out.voltage = [a + x, b + y, c + z];
        }
        for (number, filter) in self.filters.iter().enumerate() {
            // Of the six counts that a result needs, it lies behind the third.
            let oldest = (CENTRE as i64 + 3 - TAPS as i64 - self.whole[number]) as usize;
            let (mut counts, mut results) = ([0; PIECE + TAPS - 1], [0; PIECE]);
            let (counts, results) = (&mut counts[..out.len() + TAPS - 1], &mut results[..out.len()]);
            for (count, frame) in counts.iter_mut().zip(&line[oldest..]) {
                *count = raised(frame.current[number]);
            }
            (kernel.filter)(filter, counts, results);
            for (out, result) in out.iter_mut().zip(results) {
                out.current[number] = *result;
            }
        }
    }
}

/// Where in a line the frame lies that comes out first.
const CENTRE: usize = HISTORY - LATENCY;

/// The filter of one current, for a delay between two and three of six samples.
///
/// The weights' signs are the same for all such delays, so they are the program's; and counts are raised above zero: products without a sign are what
/// every processor's wide registers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Magnitudes of the weights, newest first, 30 fractional bits; with their signs they sum up to one exactly.
    weights: [u32; TAPS],
    /// What is added to a sum: half a count less the offset and less what raising the counts has added.
    constant: u64,
}

impl Default for Filter {
    fn default() -> Self {
        Self::new(&weights(0), 0)
    }
}

impl Filter {
    /// Of weights, newest first, and an offset in counts: both with 30 fractional bits.
    pub(crate) fn new(weights: &[i64; TAPS], offset: i64) -> Self {
        let magnitude = |k: usize| {
            let weight = weights[k] * SIGNS[k];
            debug_assert!((0..1 << 31).contains(&weight), "tap {k}: {weight}");
            weight.max(0) as u32
        };
        let constant = (ONE / 2 - offset - (RAISED << 30)).cast_unsigned();
        Self { weights: core::array::from_fn(magnitude), constant }
    }

    /// Filters counts raised by 2²⁴: `out[n]` follows from the counts `n` to `n + 5`, the newest last; as many as there are counts and places for.
    ///
    /// Safe code that is to be inlined where wide registers are enabled, for [`Kernel::with_filter`].
    #[inline(always)]
    pub fn run(&self, counts: &[u32], out: &mut [i32]) {
        let [a, b, c, d, e, f] = self.weights;
        for (counts, out) in counts.windows(TAPS).zip(out) {
            let &[sixth, fifth, fourth, third, second, first] = counts else { continue };
            // Below 2²⁵ · 2³¹ each, with the signs of `SIGNS`.
            let product = |count: u32, weight: u32| u64::from(count) * u64::from(weight);
            let plus = product(first, a) + product(third, c) + product(fourth, d) + product(sixth, f);
            let minus = product(second, b) + product(fifth, e);
            // Below 2²⁵ with its sign, which the low half has as well.
            *out = (plus.wrapping_sub(minus).wrapping_add(self.constant) >> 30) as i32;
        }
    }
}

/// What counts are raised by, so that none is below zero.
const RAISED: i64 = 1 << 24;
/// Of Lagrange's six weights between the third and the fourth point.
pub(crate) const SIGNS: [i64; TAPS] = [1, -1, 1, 1, -1, 1];

pub(crate) fn raised(count: i32) -> u32 {
    (count + RAISED as i32).cast_unsigned()
}

/// Weights, newest first, for what a delay in samples (32 fractional bits) has beyond whole samples.
fn weights(samples: i64) -> [i64; TAPS] {
    // Between the third and the fourth tap, where Lagrange's polynomial is best.
    let position = (samples & ((1 << 32) - 1)) + (2 << 32);
    let mut weights = [0; TAPS];
    for (k, weight) in weights.iter_mut().enumerate() {
        // Π (position − j) / (k − j), at most 2.4 with 60 fractional bits in between.
        let mut product = 1_i128 << 60;
        for j in (0..TAPS).filter(|j| *j != k) {
            product = ((product * i128::from(position - ((j as i64) << 32))) >> 32) / (k as i128 - j as i128);
        }
        *weight = ((product + (1 << 29)) >> 30) as i64;
    }
    // What rounding leaves goes to the largest, so that DC passes unchanged.
    let rest = ONE - weights.iter().sum::<i64>();
    weights[2 + usize::from(weights[3] > weights[2])] += rest;
    weights
}

/// A quarter of full scale: an offset beyond it is a broken channel.
const LARGEST_OFFSET: i128 = 1 << 21;

#[cfg(test)]
mod tests {
    use super::*;
    use std::{f64::consts::TAU, vec::Vec};

    fn through(conditioner: &mut Conditioner, frames: &[Frame], block: usize) -> Vec<Frame> {
        let mut all = Vec::new();
        let mut out = [Frame::default(); PIECE];
        for block in frames.chunks(block) {
            all.extend_from_slice(conditioner.take(block, &Kernel::SCALAR, &mut out));
        }
        all.extend_from_slice(conditioner.finish(&Kernel::SCALAR, &mut out));
        all
    }

    fn sine(n: usize, cycles_per_sample: f64, late: f64) -> Frame {
        let count = (6e6 * (TAU * cycles_per_sample * (n as f64 - late)).cos()).round() as i32;
        Frame { voltage: [count; 3], current: [count; 4] }
    }

    #[test]
    fn without_offset_and_delay_every_frame_comes_out_as_it_went_in() {
        for length in [1, 3, 5, 6, 7, 12, 13, 300] {
            let frames: Vec<Frame> = (0..length).map(|n| sine(n, 0.31, 0.2)).collect();
            for block in [1, 5, 64, PIECE] {
                assert_eq!(through(&mut Conditioner::default(), &frames, block), frames);
            }
        }
    }

    /// By its definition: six weights with their signs, offsets in 2⁻³⁰ counts, rounded once.
    #[test]
    fn the_filter_is_the_sum_of_its_products() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            (state >> 20) % below
        };
        let full = i64::from(Frame::FULL_SCALE);
        for round in 0..20_000 {
            let samples = match round % 8 {
                0 => random(4) as i64,
                1 => (1 << 32) - 1 - random(4) as i64,
                _ => random(1 << 32) as i64,
            };
            let taps = weights(samples);
            assert_eq!(taps.iter().sum::<i64>(), ONE);
            for (tap, sign) in taps.iter().zip(SIGNS) {
                assert!((0..1 << 31).contains(&(tap * sign)), "{taps:?}");
            }
            let offset = random(1 << 52) as i64 - (1 << 51);
            let counts: [i64; 2 * TAPS] = core::array::from_fn(|_| match random(4) {
                0 => full,
                1 => -full,
                _ => random(2 * full as u64) as i64 - full,
            });
            let mut found = [0; TAPS + 1];
            Filter::new(&taps, offset).run(&counts.map(|count| raised(count as i32)), &mut found);
            for (counts, found) in counts.windows(TAPS).zip(found) {
                let sum: i64 = (0..TAPS).map(|k| counts[TAPS - 1 - k] * taps[k]).sum();
                assert_eq!(i64::from(found), (sum - offset + ONE / 2) >> 30, "{taps:?}");
            }
        }
    }

    #[test]
    fn a_delay_moves_the_current_and_not_the_voltage() {
        let frames: Vec<Frame> = (0..600).map(|n| sine(n, 50.0 / 8000.0, 0.0)).collect();
        for late in [-3.99, -1.5, -0.04, 0.0, 0.05, 0.5, 1.0, 3.99] {
            let mut conditioner = Conditioner::default();
            // At 8 kHz a sample is 125 µs.
            conditioner.set(&[0; CHANNELS], &[(late * 125e6_f64) as i64; CURRENTS], 8_000_000_000);
            let found = through(&mut conditioner, &frames, 77);
            assert_eq!(found.len(), frames.len());
            for n in 20..580 {
                assert_eq!(found[n].voltage, frames[n].voltage);
                let truth = sine(n, 50.0 / 8000.0, late).current[0];
                assert!(found[n].current[0].abs_diff(truth) <= 3, "{late} {n}");
            }
        }
    }

    #[test]
    fn the_gain_of_half_a_sample_is_what_the_front_page_says() {
        for (order, limit) in [(1.0, 1e-6), (11.0, 4e-5), (25.0, 4e-3)] {
            let mut conditioner = Conditioner::default();
            conditioner.set(&[0; CHANNELS], &[62_500_000; CURRENTS], 8_000_000_000);
            let frequency = order * 50.0 / 8000.0;
            let frames: Vec<Frame> = (0..1600).map(|n| sine(n, frequency, 0.0)).collect();
            let found = through(&mut conditioner, &frames, 100);
            let square = |of: &dyn Fn(&Frame) -> i32| -> f64 {
                found[100..1540].iter().map(|frame| f64::from(of(frame)).powi(2)).sum()
            };
            let gain = (square(&|f| f.current[0]) / square(&|f| f.voltage[0])).sqrt();
            assert!((gain - 1.0).abs() < limit, "order {order}: {gain}");
        }
    }

    #[test]
    fn offsets_go_away_to_half_a_count() {
        let mut conditioner = Conditioner::default();
        let mut offsets = [0; CHANNELS];
        (offsets[1], offsets[5]) = (1_234_567, -98_700);
        conditioner.set(&offsets, &[10_000_000; CURRENTS], 8_000_000_000);
        let frame = Frame { voltage: [7, 1235, 0], current: [0, 5, -99, 1] };
        let found = through(&mut conditioner, &[frame; 40], 9);
        assert_eq!(found, [Frame { voltage: [7, 0, 0], current: [0, 5, 0, 1] }; 40]);
    }
}
