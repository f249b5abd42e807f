//! What is known at a boundary between two slots: sums over the triangle around it, and the fundamental's phasors.

use crate::{
    CURRENTS, Frame, VOLTAGES,
    kernel::{IC, NEUTRAL, QUANTITIES, VC, VI, phase},
    slot::{INVERSE, inverse, scaled, square_of},
    trig::Complex,
};

/// Channels: three voltages, then four currents.
pub(crate) const CHANNELS: usize = VOLTAGES + CURRENTS;

/// Sums and phasors around one boundary.
#[derive(Clone, Debug)]
pub(crate) struct Boundary {
    /// Mean squares times the weight: counts squared times samples with 20 fractional bits.
    pub(crate) squares: [i128; CHANNELS],
    /// The same of voltage times current.
    pub(crate) products: [i128; VOLTAGES],
    /// Twice the weight of all samples, in samples with 20 fractional bits: the lengths of both slots.
    pub(crate) twice_weight: u64,
    /// The fundamental's peak value in counts, 32 fractional bits; phase 0 is a maximum at the boundary.
    pub(crate) phasors: [Complex<i64>; CHANNELS],
    /// Twice the mean square of each channel's fundamental, in counts squared with 32 fractional bits.
    pub(crate) twice_squares: [i128; CHANNELS],
    /// Twice the fundamental's active (real) and reactive (imaginary) power of each phase, in the same unit.
    pub(crate) twice_powers: [Complex<i128>; VOLTAGES],
    pub(crate) clipped: bool,
    /// Which voltages have a fundamental to take a frequency from: at least 2⁻¹² of full scale, and half of the RMS value, so that neither noise nor
    /// DC counts.
    pub(crate) has_voltage: [bool; VOLTAGES],
}

impl Boundary {
    pub(crate) fn new(sums: &[i128; QUANTITIES], twice_weight: u64, clipped: bool) -> Self {
        let mut boundary = Self::without_fundamental(sums, twice_weight, clipped);
        let inverse = inverse(twice_weight);
        // Peak = 2 · Σ / weight; the oscillator has 23 and a sum 20 fractional bits, and below 2⁷⁸.
        let mean = |sum: i128| (scaled((sum >> 16) as i64, inverse) >> (INVERSE - 16 - 11)) as i64;
        boundary.phasors = core::array::from_fn(|channel| {
            let at = match channel {
                0..VOLTAGES => phase(channel) + VC,
                VOLTAGES..6 => phase(channel - VOLTAGES) + IC,
                _ => NEUTRAL + 1,
            };
            Complex { re: mean(sums[at]), im: -mean(sums[at + 1]) }
        });
        let phasors = &boundary.phasors;
        boundary.twice_squares = phasors.map(|phasor| phasor.times_conjugate(phasor).re >> 32);
        boundary.twice_powers = core::array::from_fn(|number| {
            let Complex { re, im } = phasors[number].times_conjugate(phasors[VOLTAGES + number]);
            Complex { re: re >> 32, im: im >> 32 }
        });
        boundary.has_voltage = core::array::from_fn(|number| boundary.sees_voltage(number));
        boundary
    }

    /// For less than a cycle: no phasors.
    pub(crate) fn without_fundamental(sums: &[i128; QUANTITIES], twice_weight: u64, clipped: bool) -> Self {
        Self {
            squares: core::array::from_fn(|channel| sums[square_of(channel)]),
            products: core::array::from_fn(|number| sums[phase(number) + VI]),
            twice_weight,
            phasors: [Complex::default(); CHANNELS],
            twice_squares: [0; CHANNELS],
            twice_powers: [Complex::default(); VOLTAGES],
            clipped,
            has_voltage: [false; VOLTAGES],
        }
    }

    /// The fundamental's reactive power of all phases, in counts squared with 32 fractional bits.
    pub(crate) fn reactive(&self) -> [i128; VOLTAGES] {
        core::array::from_fn(|number| self.twice_powers[number].im / 2)
    }

    fn sees_voltage(&self, number: usize) -> bool {
        let twice_square = self.twice_squares[number];
        let least = i128::from(Frame::FULL_SCALE >> 12);
        // a ≥ ⌊b / c⌋ without the division: below 2⁸¹ · 2³³ and 2⁷⁸ · 2³³.
        let half = || (2 * twice_square + 1) * i128::from(self.twice_weight) > self.squares[number] << 33;
        twice_square >= (least * least) << 32 && half()
    }

    /// A channel's mean square, counts squared with 32 fractional bits; below zero where more noise was taken off than there was.
    pub(crate) fn mean_square(&self, channel: usize) -> i128 {
        // Σ/2²⁰ over (twice weight)/2²¹, with 32 fractional bits.
        (self.squares[channel] << 33) / i128::from(self.twice_weight)
    }
}
