//! The analogue front end: gain spread, noise, 24-bit conversion, clipping.

use super::Analogue;
use crate::physics::noise::Noise;
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
    /// The same at the temperature of calibration, and by how much each channel's changes with it, 1/K.
    calibrated: [[f32; 4]; 2],
    drift: [[f32; 4]; 2],
    noise: Noise,
}

impl FrontEnd {
    /// The reference meter's range: 400 V phase to phase on one phase (a lost neutral: 566 V peak) with room for
    /// swells.
    pub const VOLTS_FULL_SCALE: f64 = 800.0;
    /// The reference meter's range: Imax 100 A (141 A peak) with a crest factor of two.
    pub const AMPS_FULL_SCALE: f64 = 200.0;

    /// What is left of the channels' gain spread after calibration.
    const GAIN_SPREAD: f64 = 200e-6;
    /// White noise, root mean square, 100 dB below a full-scale sine; at low frequencies there is more of it.
    const NOISE_COUNTS: f32 = (Frame::FULL_SCALE as f64 * std::f64::consts::FRAC_1_SQRT_2 * 1e-5) as f32;

    /// Where the gains are what calibration left.
    pub(super) const CALIBRATED_CELSIUS: f32 = 25.0;
    /// The most by which a channel's gain changes, uncompensated: 25 ppm/K.
    const DRIFT_PER_KELVIN: f64 = 25e-6;

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
        let mut random = Random::new(seed ^ 0xD21F_7000);
        let drift = [(); 2]
            .map(|()| [(); 4].map(|()| ((random.uniform() * 2.0 - 1.0) * Self::DRIFT_PER_KELVIN) as f32));
        Self {
            volts_full_scale: volts,
            amps_full_scale: amperes,
            volt_gain,
            ampere_gain,
            calibrated: [volt_gain, ampere_gain],
            drift,
            noise: Noise::new(seed ^ 0x4E01_5E00),
        }
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

    /// The channels' gains at this temperature of the case.
    pub(super) fn set_celsius(&mut self, celsius: f32) {
        let kelvin = celsius - Self::CALIBRATED_CELSIUS;
        let at =
            |gains: [f32; 4], drift: [f32; 4]| std::array::from_fn(|k| gains[k] * (1.0 + drift[k] * kelvin));
        self.volt_gain = at(self.calibrated[0], self.drift[0]);
        self.ampere_gain = at(self.calibrated[1], self.drift[1]);
    }

    /// Converts at most `analogue.len()` frames.
    pub(super) fn convert(&mut self, analogue: &[Analogue], out: &mut [Frame]) {
        let (volt_gain, ampere_gain) = (self.volt_gain, self.ampere_gain);
        let mut pairs = analogue.iter().zip(out);
        while pairs.len() > 0 {
            for (row, (analogue, frame)) in self.noise.rows(pairs.len()).iter().zip(&mut pairs) {
                let (mut voltage, mut current) = ([0; 4], [0; 4]);
                for k in 0..4 {
                    voltage[k] = count(analogue.volts[k], volt_gain[k], row[k]);
                    current[k] = count(analogue.amps[k], ampere_gain[k], row[4 + k]);
                }
                let [l1, l2, l3, _] = voltage;
                *frame = Frame { voltage: [l1, l2, l3], current };
            }
        }
    }
}

/// The converter: the nearest count, and nothing beyond full scale.
#[inline(always)]
fn count(value: f32, gain: f32, noise: f32) -> i32 {
    const FULL_SCALE: f32 = Frame::FULL_SCALE as f32;
    let exact = value * gain + noise * FrontEnd::NOISE_COUNTS;
    (exact + 0.5f32.copysign(exact)).clamp(-FULL_SCALE, FULL_SCALE) as i32
}
