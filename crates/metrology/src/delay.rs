//! Offsets and fractional delays, on the samples.
//!
//! A current's delay against its voltage acts on every product of harmonics, so it cannot be mended in a slot's sums: rotating the fundamental's
//! phasors would leave `Σ Vh·Ih·sin φh·hωτ` in active energy, 0.03 % with 10 % of fifth harmonic voltage, 40 % of current and 5 µs. A Lagrange filter
//! of degree five on the current shifts all orders and leaves one path for RMS, P, Q and phasors. Its gain errs by −0.003 % at the 11th and −0.38 %
//! at the 25th harmonic at 8 kHz and half a sample, its worst, and by nothing where the delay is whole. 24 multiplications a frame; a meter without a
//! record runs none of this.

use crate::{CURRENTS, Frame, VOLTAGES, boundary::CHANNELS};

/// Corrects frames one after the other; what comes out is [`LATENCY`] frames behind what went in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditioner {
    /// Offsets of all channels in counts, 30 fractional bits.
    offsets: [i64; CHANNELS],
    taps: [Taps; CURRENTS],
    /// The last frames, oldest first.
    history: [Frame; HISTORY],
    /// Frames that went in and have not come out.
    held: usize,
}

/// A delay of whole samples and the filter for the rest.
#[derive(Clone, Copy, Debug)]
struct Taps {
    /// −4 to 3.
    whole: i64,
    /// 30 fractional bits; they sum up to one exactly.
    weights: [i64; TAPS],
}

impl Default for Taps {
    fn default() -> Self {
        Self::new(0)
    }
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
        self.offsets = offsets.map(|millicounts| {
            let counts = (i128::from(millicounts) << 30) / 1000;
            counts.clamp(-(LARGEST_OFFSET << 30), LARGEST_OFFSET << 30) as i64
        });
        self.taps = delays.map(|picoseconds| {
            let samples =
                ((i128::from(picoseconds) * i128::from(rate_microhertz)) << 32) / 1_000_000_000_000_000_000;
            Taps::new(samples.clamp(-4 << 32, (4 << 32) - 1) as i64)
        });
    }

    /// Frames that went in and have not come out yet: all of a record's end, [`LATENCY`] of them later on.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Corrects at most [`PIECE`] frames with counts within full scale, and gives those that are complete: as many as came in, once [`LATENCY`] frames
    /// have been. Before a record's first frame there were others like it. Results are below 2²⁵.
    pub(crate) fn take<'a>(&mut self, frames: &[Frame], out: &'a mut [Frame; PIECE]) -> &'a [Frame] {
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
        self.correct(&line, &mut out[..frames.len()]);
        self.history.copy_from_slice(&line[frames.len()..frames.len() + HISTORY]);
        self.held += early.min(frames.len());
        &out[early.min(frames.len())..frames.len()]
    }

    /// The end of a record: what is still held, as if frames like the last one followed.
    pub(crate) fn finish<'a>(&mut self, out: &'a mut [Frame; PIECE]) -> &'a [Frame] {
        let [held, last] = [self.held, HISTORY - 1];
        let more = [self.history[last]; LATENCY];
        // A record shorter than the latency has not filled the line yet.
        let missing = LATENCY - held;
        self.take(&more[..missing], out);
        let ready = self.take(&more[..held], out);
        self.held = 0;
        ready
    }

    /// The frames that are [`LATENCY`] before the last of each [`HISTORY`] + 1 frames of a line. A channel at a time: its counts side by side, its
    /// weights in registers, no index to check.
    fn correct(&self, line: &[Frame; HISTORY + PIECE], out: &mut [Frame]) {
        const CENTRE: usize = HISTORY - LATENCY;
        for (out, frame) in out.iter_mut().zip(&line[CENTRE..]) {
            for (number, count) in out.voltage.iter_mut().enumerate() {
                let exact = i64::from(frame.voltage[number]) << 30;
                *count = ((exact - self.offsets[number] + ONE / 2) >> 30) as i32;
            }
        }
        for (number, Taps { whole, weights }) in self.taps.iter().enumerate() {
            let counts: [i32; HISTORY + PIECE] = core::array::from_fn(|n| line[n].current[number]);
            let newest = (CENTRE as i64 + 2 - whole) as usize;
            let [a, b, c, d, e, f] = *weights;
            let bias = ONE / 2 - self.offsets[VOLTAGES + number];
            for (out, six) in out.iter_mut().zip(counts[newest + 1 - TAPS..].windows(TAPS)) {
                let &[sixth, fifth, fourth, third, second, first] = six else { continue };
                let [first, second, third] = [first, second, third].map(i64::from);
                let [fourth, fifth, sixth] = [fourth, fifth, sixth].map(i64::from);
                // Below 2²³ · 2³¹ and an offset below 2⁵¹.
                let sum = a * first + b * second + c * third + d * fourth + e * fifth + f * sixth;
                out.current[number] = ((sum + bias) >> 30) as i32;
            }
        }
    }
}

/// A quarter of full scale: an offset beyond it is a broken channel.
const LARGEST_OFFSET: i128 = 1 << 21;

impl Taps {
    /// For a delay in samples with 32 fractional bits, −4 to below 4.
    fn new(samples: i64) -> Self {
        let whole = samples >> 32;
        // Between the third and the fourth tap, where Lagrange's polynomial is best.
        let position = (samples - (whole << 32)) + (2 << 32);
        let mut weights = [0; TAPS];
        for (k, weight) in weights.iter_mut().enumerate() {
            // Π (position − j) / (k − j), at most 2.4 with 60 fractional bits in between.
            let mut product = 1_i128 << 60;
            for j in (0..TAPS).filter(|j| *j != k) {
                product =
                    ((product * i128::from(position - ((j as i64) << 32))) >> 32) / (k as i128 - j as i128);
            }
            *weight = ((product + (1 << 29)) >> 30) as i64;
        }
        // What rounding leaves goes to the largest, so that DC passes unchanged.
        let rest = ONE - weights.iter().sum::<i64>();
        weights[2 + usize::from(weights[3] > weights[2])] += rest;
        Self { whole, weights }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{f64::consts::TAU, vec::Vec};

    fn through(conditioner: &mut Conditioner, frames: &[Frame], block: usize) -> Vec<Frame> {
        let mut all = Vec::new();
        let mut out = [Frame::default(); PIECE];
        for block in frames.chunks(block) {
            all.extend_from_slice(conditioner.take(block, &mut out));
        }
        all.extend_from_slice(conditioner.finish(&mut out));
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
