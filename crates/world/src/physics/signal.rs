//! From spectral lines to frames: a table of rotations for each line, the converter's shape, rounding, clipping.

use super::noise::Noise;
use meterseal_metrology::Frame;
use std::f64::consts::TAU;

/// The converter's nominal rate, frames a second.
pub const SAMPLE_RATE_HZ: f64 = 8000.0;

/// L1, L2, L3 voltages, L1, L2, L3, neutral currents, and one lane that is not used.
pub(super) type Lanes = [f64; 8];

/// Frames that share one start of the lines.
const BLOCK: usize = 64;

/// One line at the converter: counts, `re·cos − im·sin`.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) quarter_order: u16,
    pub(super) re: Lanes,
    pub(super) im: Lanes,
}

/// What the converter adds to what it is given.
#[derive(Clone, Debug, Default)]
pub(super) struct Converter {
    pub(super) offset: Lanes,
    /// Counts a count squared.
    pub(super) second_order: Lanes,
    /// Counts a count cubed.
    pub(super) third_order: Lanes,
    /// Root mean square, counts.
    pub(super) noise: f64,
}

/// What a unit's converter delivers at a stationary load and temperature: frames without end.
#[derive(Clone, Debug)]
pub struct Signal {
    lines: Vec<(Line, Rotations)>,
    converter: Converter,
    noise: Noise,
    /// The phase of the first quarter order, turns.
    turns: f64,
    turns_per_frame: f64,
    seconds_per_frame: f64,
}

/// Cosines and sines of a line's phase, frame by frame.
type Rotations = [[f64; 2]; BLOCK];

impl Signal {
    /// `rate_hz` is the unit's true rate; `turns` the phase of the first quarter order at the first frame.
    pub(super) fn new(
        frequency_hz: f64,
        rate_hz: f64,
        turns: f64,
        lines: Vec<Line>,
        converter: Converter,
        noise: Noise,
    ) -> Self {
        let turns_per_frame = frequency_hz / 4.0 / rate_hz;
        let lines = lines
            .into_iter()
            .map(|line| {
                let step = f64::from(line.quarter_order) * turns_per_frame;
                (line, rotations(step))
            })
            .collect();
        Self { lines, converter, noise, turns, turns_per_frame, seconds_per_frame: 1.0 / rate_hz }
    }

    /// The phase of a quarter of the supply's frequency at the next frame, turns: what a following signal goes on from.
    pub fn turns(&self) -> f64 {
        self.turns
    }

    /// True seconds from frame to frame, by a clock outside the meter.
    pub fn seconds_per_frame(&self) -> f64 {
        self.seconds_per_frame
    }

    /// The next frames.
    pub fn fill(&mut self, out: &mut [Frame]) {
        for block in out.chunks_mut(BLOCK) {
            self.block(block);
            // A line of order k needs the phase modulo 1: whole turns of the first quarter order.
            self.turns = (self.turns + self.turns_per_frame * block.len() as f64).fract();
        }
    }

    fn block(&mut self, out: &mut [Frame]) {
        let mut values = [self.converter.offset; BLOCK];
        let values = &mut values[..out.len()];
        if self.converter.noise > 0.0 {
            let mut at = 0;
            while at < values.len() {
                let rows = self.noise.rows(values.len() - at);
                for (value, row) in values[at..].iter_mut().zip(rows) {
                    for lane in 0..8 {
                        value[lane] += self.converter.noise * f64::from(row[lane]);
                    }
                }
                at += rows.len();
            }
        }
        for (line, rotations) in &self.lines {
            let (sin, cos) = (self.turns * f64::from(line.quarter_order) * TAU).sin_cos();
            let (mut re, mut im) = (Lanes::default(), Lanes::default());
            for lane in 0..8 {
                re[lane] = line.re[lane] * cos - line.im[lane] * sin;
                im[lane] = line.re[lane] * sin + line.im[lane] * cos;
            }
            for (value, [cos, sin]) in values.iter_mut().zip(rotations) {
                for lane in 0..8 {
                    value[lane] += re[lane] * cos - im[lane] * sin;
                }
            }
        }
        let Converter { second_order, third_order, .. } = &self.converter;
        for (value, frame) in values.iter().zip(out) {
            let mut counts = [0; 8];
            for lane in 0..8 {
                let x = value[lane];
                let shaped = x + x * x * (second_order[lane] + third_order[lane] * x);
                counts[lane] = rounded(shaped);
            }
            let [a, b, c, d, e, f, g, _] = counts;
            *frame = Frame { voltage: [a, b, c], current: [d, e, f, g] };
        }
    }
}

fn rotations(step: f64) -> Rotations {
    let mut rotations = [[1.0, 0.0]; BLOCK];
    for (n, rotation) in rotations.iter_mut().enumerate() {
        let (sin, cos) = ((step * n as f64).fract() * TAU).sin_cos();
        *rotation = [cos, sin];
    }
    rotations
}

/// Clipped to full scale and rounded to the nearest count: with 1.5·2⁵² added, the last 32 bits of the mantissa are the integer.
#[inline(always)]
fn rounded(value: f64) -> i32 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    const FULL: f64 = Frame::FULL_SCALE as f64;
    let clipped = if value > FULL { FULL } else { value };
    let clipped = if clipped < -FULL { -FULL } else { clipped };
    (clipped + MAGIC).to_bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_and_clips() {
        for value in [-9e6, -8_388_607.4, -1.6, -0.4, 0.0, 0.4, 1.6, 123_456.7, 8_388_606.6, 1e9] {
            let expected = f64::round(value).clamp(-8_388_607.0, 8_388_607.0) as i32;
            assert_eq!(rounded(value), expected, "{value}");
        }
    }

    #[test]
    fn frames_follow_the_cosine_whatever_the_blocks() {
        let line = Line { quarter_order: 12, re: [1e6; 8], im: [2e5; 8] };
        let signal =
            || Signal::new(49.7, 8000.3, 0.1, vec![line.clone()], Converter::default(), Noise::new(1));
        let mut whole = vec![Frame::default(); 5000];
        signal().fill(&mut whole);
        for (n, frame) in whole.iter().enumerate() {
            let angle = TAU * (3.0 * 49.7 * n as f64 / 8000.3 + 12.0 * 0.1);
            let expected = 1e6 * angle.cos() - 2e5 * angle.sin();
            assert!((f64::from(frame.current[2]) - expected).abs() < 0.51, "{n}: {frame:?} {expected}");
        }
        let mut pieces = vec![Frame::default(); 5000];
        let mut other = signal();
        for piece in pieces.chunks_mut(37) {
            other.fill(piece);
        }
        assert!(whole.iter().zip(&pieces).all(|(a, b)| (a.voltage[0] - b.voltage[0]).abs() <= 1));
    }
}
