//! Noise of the converter: white, and 1/f below a corner of about 10 Hz, as rows of a table that all units of a process share.

use crate::random::Random;
use std::sync::OnceLock;

/// One value a channel: unit variance of the white part.
pub(crate) type Row = [f32; 8];

/// Rows in the table: 2 s at 8 kS/s, 512 kB.
const ROWS: usize = 1 << 14;
/// Rows that are used in their order before another start is drawn.
const STRETCH: usize = 1 << 12;
/// Corners of the first-order low-passes whose sum falls with 1/f, as parts of the sampling rate: 0.5 Hz to 500 Hz at 8 kHz.
const CORNERS: [f64; 6] = [6.25e-5, 2.5e-4, 1e-3, 4e-3, 1.6e-2, 6.25e-2];
/// Where 1/f noise has the white noise's density, as a part of the sampling rate: 10 Hz at 8 kHz.
const CORNER: f64 = 10.0 / 8000.0;

/// A way through the table.
#[derive(Clone, Debug)]
pub(crate) struct Noise {
    random: Random,
    row: usize,
    left: usize,
}

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), row: 0, left: 0 }
    }

    /// The next rows, up to `most` of them and at least one.
    pub(crate) fn rows(&mut self, most: usize) -> &'static [Row] {
        if self.left == 0 {
            self.row = (self.random.next() as usize) % (ROWS - STRETCH + 1);
            self.left = STRETCH;
        }
        let taken = most.min(self.left);
        let rows = &table()[self.row..self.row + taken];
        self.row += taken;
        self.left -= taken;
        rows
    }
}

fn table() -> &'static [Row] {
    static TABLE: OnceLock<Vec<Row>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut random = Random::new(0x006E_6F69_7365);
        let mut filters = [[0.0f64; 8]; CORNERS.len()];
        // A first-order low-pass of white noise with corner c has density 1/(1 + (f/c)²): with corners four times apart and each weighted by
        // √(CORNER/c), the sum is within 1 dB of CORNER/f between the outermost corners (times ln 4 / (π/2), which the weight takes out).
        let shape = (2.0 * 4f64.ln() / std::f64::consts::PI).sqrt();
        let mut row = || {
            let mut row = Row::default();
            for (lane, value) in row.iter_mut().enumerate() {
                let mut sum = f64::from(random.normal());
                for (filter, corner) in filters.iter_mut().zip(CORNERS) {
                    let keep = (-std::f64::consts::TAU * corner).exp();
                    filter[lane] = filter[lane] * keep + (1.0 - keep) * f64::from(random.normal());
                    sum += filter[lane] * (CORNER / corner).sqrt() * shape;
                }
                *value = sum as f32;
            }
            row
        };
        // The slowest filter settles first.
        for _ in 0..ROWS {
            row();
        }
        (0..ROWS).map(|_| row()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    /// Density around `frequency` (a part of the rate) in units of the white noise's, over all lanes.
    fn density(frequency: f64) -> f64 {
        const LENGTH: usize = 4096;
        let mut sum = 0.0;
        for block in table().chunks(LENGTH) {
            for bin in -2..=2 {
                let turns = frequency + f64::from(bin) / LENGTH as f64;
                for lane in 0..8 {
                    let (mut re, mut im) = (0.0, 0.0);
                    for (n, row) in block.iter().enumerate() {
                        let (sin, cos) = (TAU * turns * n as f64).sin_cos();
                        (re, im) = (re + f64::from(row[lane]) * cos, im + f64::from(row[lane]) * sin);
                    }
                    sum += (re * re + im * im) / LENGTH as f64;
                }
            }
        }
        sum / (5 * 8 * (ROWS / LENGTH)) as f64
    }

    #[test]
    fn noise_is_white_at_high_frequencies_and_twice_as_dense_at_its_corner() {
        let white = density(0.3);
        assert!((white - 1.0).abs() < 0.2, "{white}");
        let corner = density(CORNER);
        assert!((1.5..2.6).contains(&corner), "{corner}");
        let supply = density(50.0 / 8000.0);
        assert!((1.0..1.6).contains(&supply), "{supply}");
    }

    #[test]
    fn channels_do_not_share_their_noise() {
        let mean: f64 =
            table().iter().map(|row| f64::from(row[0]) * f64::from(row[3])).sum::<f64>() / ROWS as f64;
        assert!(mean.abs() < 0.05, "{mean}");
    }
}
