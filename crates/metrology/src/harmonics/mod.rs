//! Harmonics of all channels, order by order, over each window of 10/12 cycles.
//!
//! Each sample is spread over the phases of its cycle (`grid`), all cycles of a window on top of each other, with the window's own weights: the slot that
//! two windows share rises for one as it falls for the other. One transform a window then gives all orders of all channels (`transform`). The phase
//! follows the supply's measured fundamental from slot to slot (`analysis`), so that a frequency that drifts does not smear high orders.
//!
//! Cost: five rows of eight products a frame, one transform of 512 points for each two channels and window.
//!
//! Error of a magnitude, of the fundamental (worst of all orders up to the 50th and all channels, tested): 10⁻⁴ at 1 kHz, 10⁻⁵ at 2 kHz, 4·10⁻⁶ from
//! 4 kHz on, and 1.5·10⁻⁵ where an image of the fundamental falls onto an order (462 to 562 samples or a fraction of them a cycle); 1.5·10⁻⁵ of
//! whatever the signal has at orders 462 to 562; 1.5·10⁻⁴ while frequency changes by 1 Hz a second, 3·10⁻⁶ at 20 mHz a second. In the first window
//! of a record whose frequency was not known, and in the two in which frequency steps, up to 10⁻². What lies between the orders is suppressed
//! as the window does, by the square of its distance. A calibration's delay filter (`delay`) takes its share of high orders, and is not made up for.

mod analysis;
mod grid;
mod transform;

pub use analysis::HarmonicAnalysis;

pub(crate) use analysis::{Completed, Outlet, Share};

use crate::{
    CURRENTS, Scale, VOLTAGES,
    accumulate::{self, FUNDAMENTAL_LEAST, micro},
    boundary::CHANNELS,
    trig::{self, Complex},
};

/// The highest order that is analysed.
pub(crate) const ORDERS: usize = 50;

/// All channels' harmonics over one window.
///
/// Single orders as a transform over the window gives them, IEC 61000-4-7's `G_h`, without the neighbouring lines that its groups add (the clause is not
/// verified against the standard's text).
#[derive(Clone, Debug)]
pub struct Harmonics {
    /// Peak values in counts with 32 fractional bits, from order 0.
    spectra: [[Complex<i64>; CHANNELS]; ORDERS + 1],
    /// Orders above it are absent.
    highest: usize,
    /// The voltage that angles refer to.
    reference: Option<usize>,
    scale: Scale,
}

/// One channel's harmonics over one window.
///
/// What is absent is `None`: orders above [`Harmonics::ORDERS`], and orders whose frequency is above 0.4 of the sampling rate.
#[derive(Clone, Copy, Debug)]
pub struct Spectrum<'a> {
    harmonics: &'a Harmonics,
    channel: usize,
}

impl Harmonics {
    /// The highest order that is analysed: 50 (IEC 61000-4-30 §5.8; not verified against the standard's text).
    pub const ORDERS: usize = ORDERS;

    /// The highest order that is there: 50, or less where the rate is low. At 1 kHz and 50 Hz it is 8.
    pub fn highest_order(&self) -> usize {
        self.highest
    }

    /// Voltages of L1, L2, L3, in µV.
    pub fn voltages(&self) -> [Spectrum<'_>; VOLTAGES] {
        core::array::from_fn(|channel| Spectrum { harmonics: self, channel })
    }

    /// Currents of L1, L2, L3 and neutral, in µA.
    pub fn currents(&self) -> [Spectrum<'_>; CURRENTS] {
        core::array::from_fn(|number| Spectrum { harmonics: self, channel: VOLTAGES + number })
    }

    /// Active power of each phase at one order, `Vh·Ih·cos φh`, in µW; import positive.
    pub fn active_power_microwatts(&self, order: usize) -> Option<[i64; VOLTAGES]> {
        let spectrum = self.spectrum(order)?;
        Some(core::array::from_fn(|number| {
            let product = spectrum[number].times_conjugate(spectrum[VOLTAGES + number]).re >> 32;
            let mean = if order == 0 { product } else { product / 2 };
            let Scale { voltage_femtovolts_per_count: volts, current_femtoamperes_per_count: amperes } =
                &self.scale;
            accumulate::power(mean, volts[number], amperes[number])
        }))
    }

    pub(crate) const fn new() -> Self {
        Self {
            spectra: [[Complex { re: 0, im: 0 }; CHANNELS]; ORDERS + 1],
            highest: 0,
            reference: None,
            scale: Scale {
                voltage_femtovolts_per_count: [0; VOLTAGES],
                current_femtoamperes_per_count: [0; CURRENTS],
            },
        }
    }

    fn spectrum(&self, order: usize) -> Option<&[Complex<i64>; CHANNELS]> {
        self.spectra[..=self.highest].get(order)
    }
}

impl Spectrum<'_> {
    /// RMS value of one order from 1 on, in millionths of the channel's unit.
    pub fn rms(&self, order: usize) -> Option<u64> {
        let phasor = self.harmonics.spectrum(order)?[self.channel];
        (order > 0).then(|| micro(root_of_half(square(phasor)), self.scale()))
    }

    /// The direct component, with its sign, in millionths of the channel's unit.
    pub fn direct(&self) -> i64 {
        let counts = self.harmonics.spectra[0][self.channel].re;
        let value = micro(counts.unsigned_abs(), self.scale()) as i64;
        if counts < 0 { -value } else { value }
    }

    /// Angle of one order when the fundamental of the reference voltage is at its maximum (V1, or the first phase that has a voltage): −180° to 180° in
    /// millionths of a degree, `φ` in `√2·Gh·cos(h·ω·t + φ)` from that moment on. That of order 1 is the window's angle. `None` also without a
    /// reference, and where the order is below a quarter of a count and its angle would be noise.
    pub fn angle_microdegrees(&self, order: usize) -> Option<i32> {
        let phasor = self.harmonics.spectrum(order)?[self.channel];
        let reference = self.harmonics.spectra[1][self.harmonics.reference?];
        if order == 0 || !is_seen(phasor) || !is_seen(reference) {
            return None;
        }
        let turn = |Complex { re, im }: Complex<i64>| {
            trig::angle(Complex { re: i128::from(re), im: i128::from(im) })
        };
        let angle = turn(phasor).wrapping_sub(turn(reference).wrapping_mul(order as i64));
        Some(trig::microdegrees(angle))
    }

    /// Total harmonic distortion by orders, in millionths of the fundamental: `√(Σ Gh²)/G1` over all orders from 2 to 50 that are there (IEC 61000-4-7
    /// §3.3.1, with H = 50 as in IEC 61000-4-30; not verified against the standard's text). `None` without a fundamental or a second order. What is no
    /// harmonic does not count, in contrast to the [`Window`](crate::Window)'s (IEEE 1459: all that is not fundamental).
    pub fn thd_ppm(&self) -> Option<u32> {
        let fundamental = square(self.harmonics.spectra[1][self.channel]);
        let higher = self.harmonics.spectra.get(2..=self.harmonics.highest)?;
        if higher.is_empty() || !is_seen(self.harmonics.spectra[1][self.channel]) {
            return None;
        }
        // Below 50 · 2¹¹¹, then below 2⁸⁶ · 2⁴⁰ over at least 2²⁸.
        let all: u128 = higher.iter().map(|spectrum| square(spectrum[self.channel])).sum();
        let ratio = (all >> 32) * 1_000_000_000_000 / (fundamental >> 32);
        Some(u32::try_from(ratio.isqrt()).unwrap_or(u32::MAX))
    }

    fn scale(&self) -> u64 {
        match self.channel {
            0..VOLTAGES => self.harmonics.scale.voltage_femtovolts_per_count[self.channel],
            _ => self.harmonics.scale.current_femtoamperes_per_count[self.channel - VOLTAGES],
        }
    }
}

/// Counts squared with 64 fractional bits: below 2¹¹¹.
fn square(phasor: Complex<i64>) -> u128 {
    phasor.times_conjugate(phasor).re.unsigned_abs()
}

/// The root of half a square.
fn root_of_half(square: u128) -> u64 {
    (square / 2).isqrt() as u64
}

/// Whether it is at least a quarter of a count RMS.
fn is_seen(phasor: Complex<i64>) -> bool {
    square(phasor) >> 33 >= FUNDAMENTAL_LEAST
}
