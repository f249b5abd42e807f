//! The waveform that all variants measure: 50 Hz with harmonics and a converter's noise, three voltages and four currents.

use std::f64::consts::TAU;

use meterseal_metrology::{CURRENTS, Frame, Scale, VOLTAGES};

/// What a count is worth.
pub(crate) const SCALE: Scale = Scale {
    voltage_femtovolts_per_count: [64_000_000_000; VOLTAGES],
    current_femtoamperes_per_count: [18_000_000_000; CURRENTS],
};

/// Orders of harmonics and their share of the fundamental.
const VOLTAGE_HARMONICS: [(f64, f64); 3] = [(3.0, 0.01), (5.0, 0.04), (7.0, 0.02)];
const CURRENT_HARMONICS: [(f64, f64); 3] = [(3.0, 0.1), (5.0, 0.06), (7.0, 0.04)];

/// Frames in memory at the least, in whole cycles and ten of them: with fewer a processor knows every cycle's noise by heart, with many more they
/// leave its caches.
const FRAMES: usize = 8_000;

pub(crate) struct Waveform {
    rate: u32,
    pub(crate) frames: Vec<Frame>,
    /// The same in volts and amperes, by channels.
    pub(crate) physical: [Vec<f32>; VOLTAGES + CURRENTS],
}

impl Waveform {
    pub(crate) fn new(rate: u32) -> Self {
        let value = |n: usize, peak: f64, late: f64, harmonics: &[(f64, f64)]| {
            let turns = n as f64 * 50.0 / f64::from(rate) - late;
            let order = |(order, share): &(f64, f64)| share * (order * turns * TAU).cos();
            peak * ((turns * TAU).cos() + harmonics.iter().map(order).sum::<f64>())
        };
        // A converter's noise, ±8 counts: without it every cycle would take the same branches.
        let mut state = 2026_u64;
        let mut noise = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % 17) as i32 - 8
        };
        let cycle = rate as usize / 50;
        let cycles = (FRAMES / cycle).max(10);
        let frames: Vec<Frame> = (0..cycles * cycle)
            .map(|n| Frame {
                voltage: [0.0, 1.0 / 3.0, 2.0 / 3.0]
                    .map(|late| value(n, 5.08e6, late, &VOLTAGE_HARMONICS) as i32 + noise()),
                current: [(1e6, 0.08), (9e5, 0.41), (1.1e6, 0.75), (5e4, 0.0)]
                    .map(|(peak, late)| value(n, peak, late, &CURRENT_HARMONICS) as i32 + noise()),
            })
            .collect();
        let physical = std::array::from_fn(|channel| {
            let of_frame = |frame: &Frame| match channel {
                0..VOLTAGES => f64::from(frame.voltage[channel]) * 64e-6,
                _ => f64::from(frame.current[channel - VOLTAGES]) * 18e-6,
            };
            frames.iter().map(|frame| of_frame(frame) as f32).collect()
        });
        Self { rate, frames, physical }
    }

    /// Frames in one cycle.
    pub(crate) fn cycle(&self) -> usize {
        self.rate as usize / 50
    }
}
