//! What a window's fundamental phasors say together: symmetrical components, and active power split into fundamental and harmonics.

use crate::{
    CURRENTS, Scale, VOLTAGES,
    boundary::CHANNELS,
    sequence::{magnitude, sequences},
    trig::{Complex, angle, microdegrees},
};

/// Symmetrical components of a window and the split of its active power. All zero without a voltage's fundamental.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Components {
    /// RMS of the voltages' fundamental in zero, positive and negative sequence; a supply L1–L2–L3 is positive.
    pub voltage_sequences_microvolts: [u64; 3],
    /// The same of the phase currents.
    pub current_sequences_microamperes: [u64; 3],
    /// RMS of the fundamental of what the neutral's current and the phases' do not share, `|I1 + I2 + I3 − IN|`: 0 where all that flows in through the
    /// phases goes back through the neutral.
    pub neutral_residual_microamperes: u64,
    /// The angle of `I1 + I2 + I3 − IN` to the reference of the phases' angles: −180° to 180°. 0 without a residual.
    pub neutral_residual_angle_microdegrees: i32,
    /// Negative over positive sequence of the voltages in millionths (IEC 61000-4-30 §5.7: u2); 0 without a positive sequence.
    pub voltage_unbalance_ppm: u32,
    /// Zero over positive sequence of the voltages in millionths (u0).
    pub voltage_zero_unbalance_ppm: u32,
    /// Active power of each phase's fundamental, `V1·I1·cos φ1` (IEEE 1459 §3.1.2.3).
    pub fundamental_active_power_microwatts: [i64; VOLTAGES],
    /// All other active power of each phase, DC included: `P − P1` (IEEE 1459 §3.1.2.4).
    pub harmonic_active_power_microwatts: [i64; VOLTAGES],
}

/// What [`Components::sequences_of`] starts from.
pub(crate) struct Relative<'a> {
    /// Each channel's fundamental times the reference's conjugate, in one common unit.
    pub(crate) cross: &'a [Complex<i128>; CHANNELS],
    /// The voltage of reference, and its RMS value in counts with 32 fractional bits.
    pub(crate) reference: usize,
    pub(crate) reference_root: u64,
}

impl Components {
    /// The sequences and the ratios that follow from them.
    pub(crate) fn sequences_of(relative: &Relative<'_>, scale: &Scale) -> Self {
        let volts = relative.sequences(0, &scale.voltage_femtovolts_per_count);
        let amperes = relative.sequences(VOLTAGES, &scale.current_femtoamperes_per_count);
        let [zero, positive, negative] = volts;
        let ratio = |part: u64| {
            let ppm = u128::from(part) * 1_000_000 / u128::from(positive.max(1));
            if positive == 0 { 0 } else { u32::try_from(ppm).unwrap_or(u32::MAX) }
        };
        let (neutral_residual_microamperes, neutral_residual_angle_microdegrees) =
            relative.residual(&scale.current_femtoamperes_per_count);
        Self {
            voltage_sequences_microvolts: volts,
            current_sequences_microamperes: amperes,
            neutral_residual_microamperes,
            neutral_residual_angle_microdegrees,
            voltage_unbalance_ppm: ratio(negative),
            voltage_zero_unbalance_ppm: ratio(zero),
            ..Self::default()
        }
    }
}

impl Relative<'_> {
    /// RMS values in 10⁻⁶ units of the sequences of the three channels from `first` on, whose counts are worth `scales` (10⁻¹⁵ units).
    fn sequences<const N: usize>(&self, first: usize, scales: &[u64; N]) -> [u64; 3] {
        const { assert!(N == VOLTAGES || N == CURRENTS) };
        let (phasors, reference) = self.phasors(first, core::array::from_fn::<_, VOLTAGES, _>(|n| scales[n]));
        // Three times the sequence.
        sequences(phasors).map(|phasor| self.micro(magnitude(phasor), reference, 3))
    }

    /// RMS value in 10⁻⁶ A of what the phases' currents and the neutral's do not share, and its angle in 10⁻⁶ degrees.
    fn residual(&self, scales: &[u64; CURRENTS]) -> (u64, i32) {
        let ([a, b, c, neutral], reference) = self.phasors(VOLTAGES, *scales);
        let residual = Complex { re: a.re + b.re + c.re - neutral.re, im: a.im + b.im + c.im - neutral.im };
        let angle = angle(Complex { re: residual.re.into(), im: residual.im.into() });
        (self.micro(magnitude(residual), reference, 1), microdegrees(angle))
    }

    /// Phasors of so many channels from `first` on, times their scales over 2⁵⁰, and the reference, all over one power of two: below 2⁵⁷.
    fn phasors<const N: usize>(&self, first: usize, scales: [u64; N]) -> ([Complex<i64>; N], u128) {
        let reference = self.cross[self.reference].re.max(1);
        let largest = self.cross[first..first + N]
            .iter()
            .fold(reference.unsigned_abs(), |all, c| all.max(c.re.unsigned_abs()).max(c.im.unsigned_abs()));
        // To 60 bits, of which a scale of 47 bits leaves 57 and the sum of four 59.
        let excess = (128 - largest.leading_zeros()).saturating_sub(60);
        let phasors = core::array::from_fn(|number| {
            let scaled = |value: i128| (((value >> excess) * i128::from(scales[number])) >> 50) as i64;
            let Complex { re, im } = self.cross[first + number];
            Complex { re: scaled(re), im: scaled(im) }
        });
        (phasors, (reference >> excess).max(1).unsigned_abs())
    }

    /// A phasor's magnitude, `times` too large, as an RMS value in 10⁻⁶ units.
    fn micro(&self, magnitude: u64, reference: u128, times: u128) -> u64 {
        // Over the reference, in 10⁻¹⁵ units a count of the reference: a current is at most 2¹³ times as large in counts.
        let per_count = (u128::from(magnitude) << 50) / reference;
        let root = u128::from(self.reference_root);
        // Below 2⁶² · 2⁵⁶.
        ((per_count.saturating_mul(root) / (times * 1_000_000_000) + (1 << 31)) >> 32) as u64
    }
}
