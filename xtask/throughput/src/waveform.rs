//! The waveform that all variants measure: ten cycles of 50 Hz with harmonics, three voltages and four currents.

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

/// Cycles in memory: with less the largest rate would not fill a cache, with more nothing changes.
const CYCLES: usize = 10;

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
        let frames: Vec<Frame> = (0..CYCLES * rate as usize / 50)
            .map(|n| Frame {
                voltage: [0.0, 1.0 / 3.0, 2.0 / 3.0]
                    .map(|late| value(n, 5.08e6, late, &VOLTAGE_HARMONICS) as i32),
                current: [(1e6, 0.08), (9e5, 0.41), (1.1e6, 0.75), (5e4, 0.0)]
                    .map(|(peak, late)| value(n, peak, late, &CURRENT_HARMONICS) as i32),
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
