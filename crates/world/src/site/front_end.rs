//! The analogue front end: gain spread, noise, 24-bit conversion, clipping.

use super::Analogue;
use crate::random::Random;
use meterseal_metrology::{Frame, Scale};

/// Sensors, amplifiers and converters of one meter.
#[derive(Clone, Debug)]
pub struct FrontEnd {
    volts_full_scale: f64,
    amps_full_scale: f64,
    /// Counts per volt and per ampere, each channel with its own error.
    volt_gain: [f32; 4],
    ampere_gain: [f32; 4],
    random: Random,
}

impl FrontEnd {
    /// The reference meter's range: 400 V phase to phase on one phase (a lost neutral: 566 V peak) with room for
    /// swells.
    pub const VOLTS_FULL_SCALE: f64 = 800.0;
    /// The reference meter's range: Imax 100 A (141 A peak) with a crest factor of two.
    pub const AMPS_FULL_SCALE: f64 = 200.0;

    /// What is left of the channels' gain spread after calibration.
    const GAIN_SPREAD: f64 = 200e-6;
    /// White noise, root mean square, 100 dB below a full-scale sine.
    const NOISE_COUNTS: f32 = (Frame::FULL_SCALE as f64 * std::f64::consts::FRAC_1_SQRT_2 * 1e-5) as f32;

    /// The reference meter's front end.
    pub fn reference(seed: u64) -> Self {
        Self::with_full_scale(Self::VOLTS_FULL_SCALE, Self::AMPS_FULL_SCALE, seed)
    }

    /// A front end with instrument transformers before it: full scales in volts and amperes, peak.
    pub(super) fn with_full_scale(volts: f64, amperes: f64, seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xF407_7E4D);
        let mut gains = |full_scale: f64| {
            std::array::from_fn(|_| {
                let error = (random.uniform() * 2.0 - 1.0) * Self::GAIN_SPREAD;
                (f64::from(Frame::FULL_SCALE) / full_scale * (1.0 + error)) as f32
            })
        };
        let (volt_gain, ampere_gain) = (gains(volts), gains(amperes));
        Self { volts_full_scale: volts, amps_full_scale: amperes, volt_gain, ampere_gain, random }
    }

    /// What one count is worth, for the metrology core.
    pub fn scale(&self) -> Scale {
        let femto = |full_scale: f64| (full_scale * 1e15 / f64::from(Frame::FULL_SCALE)).round() as u64;
        Scale {
            voltage_femtovolts_per_count: [femto(self.volts_full_scale); 3],
            current_femtoamperes_per_count: [femto(self.amps_full_scale); 4],
        }
    }

    /// The voltage that gives a count of [`Frame::FULL_SCALE`], volts.
    pub fn volts_full_scale(&self) -> f64 {
        self.volts_full_scale
    }

    /// The current that gives a count of [`Frame::FULL_SCALE`], amperes.
    pub fn amps_full_scale(&self) -> f64 {
        self.amps_full_scale
    }

    #[inline]
    pub(super) fn convert(&mut self, analogue: &Analogue) -> Frame {
        let random = &mut self.random;
        let mut count = |value: f32, gain: f32| {
            let exact = value * gain + random.normal() * Self::NOISE_COUNTS;
            // A cast saturates, so the clamp afterwards is the converter's clipping, whatever the value.
            (exact + 0.5f32.copysign(exact)) as i32
        };
        let voltage = std::array::from_fn(|k| count(analogue.volts[k], self.volt_gain[k]));
        let current = std::array::from_fn(|k| count(analogue.amps[k], self.ampere_gain[k]));
        let clip = |counts: i32| counts.clamp(-Frame::FULL_SCALE, Frame::FULL_SCALE);
        Frame { voltage: voltage.map(clip), current: current.map(clip) }
    }
}
