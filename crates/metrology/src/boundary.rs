//! What is known at a boundary between two slots: sums over the triangle around it, and the fundamental's phasors.

use crate::{
    CURRENTS, Frame, VOLTAGES,
    kernel::{IC, II, NEUTRAL, QUANTITIES, VC, VI, VV, phase},
    slot::{INVERSE, inverse},
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
    pub(crate) clipped: bool,
}

impl Boundary {
    pub(crate) fn new(sums: &[i128; QUANTITIES], twice_weight: u64, clipped: bool) -> Self {
        let mut boundary = Self::without_fundamental(sums, twice_weight, clipped);
        let inverse = inverse(twice_weight);
        // Peak = 2 · Σ / weight; the oscillator has 23 and a sum 20 fractional bits, and below 2⁷⁸.
        let mean = |sum: i128| (((sum >> 16) * inverse) >> (INVERSE - 16 - 11)) as i64;
        boundary.phasors = core::array::from_fn(|channel| {
            let at = match channel {
                0..VOLTAGES => phase(channel) + VC,
                VOLTAGES..6 => phase(channel - VOLTAGES) + IC,
                _ => NEUTRAL + 1,
            };
            Complex { re: mean(sums[at]), im: -mean(sums[at + 1]) }
        });
        boundary
    }

    /// For less than a cycle: no phasors.
    pub(crate) fn without_fundamental(sums: &[i128; QUANTITIES], twice_weight: u64, clipped: bool) -> Self {
        Self {
            squares: core::array::from_fn(|channel| match channel {
                0..VOLTAGES => sums[phase(channel) + VV],
                VOLTAGES..6 => sums[phase(channel - VOLTAGES) + II],
                _ => sums[NEUTRAL],
            }),
            products: core::array::from_fn(|number| sums[phase(number) + VI]),
            twice_weight,
            phasors: [Complex::default(); CHANNELS],
            clipped,
        }
    }

    /// Twice the fundamental's reactive power of a phase, in counts squared with 32 fractional bits.
    pub(crate) fn twice_reactive(&self, number: usize) -> i128 {
        self.phasors[number].times_conjugate(self.phasors[VOLTAGES + number]).im >> 32
    }

    /// The fundamental's reactive power of all phases, in counts squared with 32 fractional bits.
    pub(crate) fn reactive(&self) -> [i128; VOLTAGES] {
        core::array::from_fn(|number| self.twice_reactive(number) / 2)
    }

    /// Twice the mean square of a channel's fundamental, in counts squared with 32 fractional bits.
    pub(crate) fn twice_fundamental_square(&self, channel: usize) -> i128 {
        let phasor = self.phasors[channel];
        phasor.times_conjugate(phasor).re >> 32
    }

    /// Whether a voltage has a fundamental to take a frequency from: at least 2⁻¹² of full scale, and half of the RMS value, so that neither noise
    /// nor DC counts.
    pub(crate) fn has_voltage(&self, number: usize) -> bool {
        let twice_square = self.twice_fundamental_square(number);
        let least = i128::from(Frame::FULL_SCALE >> 12);
        twice_square >= (least * least) << 32 && 2 * twice_square >= self.mean_square(number)
    }

    /// A channel's mean square, counts squared with 32 fractional bits; below zero where more noise was taken off than there was.
    pub(crate) fn mean_square(&self, channel: usize) -> i128 {
        // Σ/2²⁰ over (twice weight)/2²¹, with 32 fractional bits.
        (self.squares[channel] << 33) / i128::from(self.twice_weight)
    }
}
