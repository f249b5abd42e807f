//! The transform of a grid: the first fifty orders of seven channels.
//!
//! Two channels make one complex number, and four of these a row. Three stages of radix 4 in place leave 64 blocks of eight rows, one for each order
//! modulo 64; of a block's eight outputs one or two are orders up to fifty, and only these are formed.
//!
//! Inputs are 31 bits and all of them together are below 2³¹, so that no product of a sum with a twiddle of 30 bits passes 2⁶². Rounding leaves 2⁻³⁰ of
//! full scale, a hundredth of a count.

use super::{
    ORDERS,
    grid::{BINS, Grid, LANES, OFFSET, Row},
};
use crate::{
    boundary::CHANNELS,
    trig::{self, Complex},
};

/// Peak values in counts with 32 fractional bits of all orders from 0 to `highest`; angles refer to a common, arbitrary time. `false` where the grid is
/// empty. The grid is used up.
pub(crate) fn transform(
    grid: &mut Grid,
    highest: usize,
    spectra: &mut [[Complex<i64>; CHANNELS]; ORDERS + 1],
) -> bool {
    let Some((rows, weight, shift)) = grid.close() else {
        return false;
    };
    stage::<{ BINS / 4 }>(rows);
    stage::<{ BINS / 16 }>(rows);
    stage::<{ BINS / 64 }>(rows);
    // One over the weight, in units of 2⁻⁶²: 54 to 56 bits, since `weight >> shift` has 31.
    let inverse = ((OFFSET as u128) << (62 + shift)) / weight;
    for (order, spectrum) in spectra.iter_mut().enumerate().take(highest + 1) {
        let factor = ((inverse * u128::from(DROOP[order])) >> 30) as i64;
        let (ahead, behind) = (output(rows, order), output(rows, (BINS - order) % BINS));
        for pair in 0..LANES / 2 {
            let (plus, minus) = (ahead[pair], behind[pair]);
            // Twice the even and the odd part: Z(h) + Z(−h)* and (Z(h) − Z(−h)*)/i.
            let first = Complex { re: plus.re + minus.re, im: plus.im - minus.im };
            let second = Complex { re: plus.im + minus.im, im: minus.re - plus.re };
            for (channel, part) in [(2 * pair, first), (2 * pair + 1, second)] {
                let scaled = |value: i64| ((i128::from(value) * i128::from(factor)) >> 30) as i64;
                if let Some(phasor) = spectrum.get_mut(channel) {
                    *phasor = Complex { re: scaled(part.re), im: scaled(part.im) };
                }
            }
        }
    }
    // Order 0 is there once, and not on both sides of zero.
    for direct in &mut spectra[0] {
        *direct = Complex { re: direct.re / 2, im: 0 };
    }
    true
}

/// Radix-4 butterflies, decimating in frequency, over blocks of four times `QUARTER` rows: the n-th quarter of a block then holds its orders that are n
/// modulo 4.
fn stage<const QUARTER: usize>(rows: &mut [Row; BINS]) {
    let stride = BINS / 4 / QUARTER;
    for block in rows.chunks_exact_mut(4 * QUARTER) {
        let (first, last) = block.split_at_mut(2 * QUARTER);
        let ((a, b), (c, d)) = (first.split_at_mut(QUARTER), last.split_at_mut(QUARTER));
        for (n, (((a, b), c), d)) in a.iter_mut().zip(b).zip(c).zip(d).enumerate() {
            let (once, twice, thrice) =
                (TWIDDLES[n * stride], TWIDDLES[2 * n * stride], TWIDDLES[3 * n * stride]);
            for pair in 0..LANES / 2 {
                let (x, y, z, w) = (get(a, pair), get(b, pair), get(c, pair), get(d, pair));
                let (even, difference) = (add(x, z), subtract(x, z));
                let (odd, turned) = (add(y, w), back(subtract(y, w)));
                put(a, pair, add(even, odd));
                put(b, pair, times(add(difference, turned), once));
                put(c, pair, times(subtract(even, odd), twice));
                put(d, pair, times(subtract(difference, turned), thrice));
            }
        }
    }
}

/// One order (modulo [`BINS`]) of the four pairs, from the last eight rows that it depends on. Orders −64 to 63.
fn output(rows: &[Row; BINS], order: usize) -> [Complex<i64>; LANES / 2] {
    let start = BINS / 4 * (order & 3) + BINS / 16 * (order >> 2 & 3) + BINS / 64 * (order >> 4 & 3);
    let at = |n: usize, pair: usize| get(&rows[start + n], pair);
    let negative = order >= BINS / 2;
    debug_assert!(!(BINS / 8..BINS - BINS / 8).contains(&order));
    core::array::from_fn(|pair| {
        if !negative {
            return (1..BINS / 64).fold(at(0, pair), |sum, n| add(sum, at(n, pair)));
        }
        // The last of eight outputs: the sum with W = (1 + i)/√2 to the n.
        let half = |n: usize| subtract(at(n, pair), at(n + 4, pair));
        let odd = subtract(half(1), back(half(3)));
        add(subtract(half(0), back(half(2))), times(odd, EIGHTH))
    })
}

fn get(row: &Row, pair: usize) -> Complex<i64> {
    Complex { re: row[2 * pair], im: row[2 * pair + 1] }
}

fn put(row: &mut Row, pair: usize, value: Complex<i64>) {
    (row[2 * pair], row[2 * pair + 1]) = (value.re, value.im);
}

fn add(a: Complex<i64>, b: Complex<i64>) -> Complex<i64> {
    Complex { re: a.re + b.re, im: a.im + b.im }
}

fn subtract(a: Complex<i64>, b: Complex<i64>) -> Complex<i64> {
    Complex { re: a.re - b.re, im: a.im - b.im }
}

/// A quarter of a turn back: times −i.
fn back(a: Complex<i64>) -> Complex<i64> {
    Complex { re: a.im, im: -a.re }
}

fn times(a: Complex<i64>, Complex { re: cos, im: sin }: Complex<i32>) -> Complex<i64> {
    let (cos, sin, half) = (i64::from(cos), i64::from(sin), 1 << 29);
    Complex { re: (a.re * cos - a.im * sin + half) >> 30, im: (a.re * sin + a.im * cos + half) >> 30 }
}

/// An eighth of a turn ahead.
const EIGHTH: Complex<i32> = twiddle(1 << 61);

/// The n-th power of an n-th of a turn back, three quarters of a turn far.
static TWIDDLES: [Complex<i32>; BINS * 3 / 4] = {
    let mut table = [Complex { re: 0, im: 0 }; BINS * 3 / 4];
    let mut n = 0;
    while n < table.len() {
        table[n] = twiddle((n as u64).wrapping_neg() << (64 - BINS.ilog2()));
        n += 1;
    }
    table
};

/// Cosine and sine with 30 fractional bits, to the nearest.
const fn twiddle(turn: u64) -> Complex<i32> {
    let (cos, sin) = trig::cos_sin(turn);
    Complex { re: ((cos + (1 << 31)) >> 32) as i32, im: ((sin + (1 << 31)) >> 32) as i32 }
}

/// What spreading took from each order: `(x / sin x)⁵` with `x = πh/512`, 30 fractional bits.
static DROOP: [u32; ORDERS + 1] = {
    let mut table = [1 << 30; ORDERS + 1];
    let mut order = 1;
    while order <= ORDERS {
        let sine = trig::cos_sin((order as u64) << (63 - BINS.ilog2())).1 as i128;
        let angle = (trig::HALF_PI as i128 * order as i128 * 2) >> BINS.ilog2();
        let ratio = (angle << 60) / sine;
        let square = (ratio * ratio) >> 60;
        let fifth = (((square * square) >> 60) * ratio) >> 60;
        table[order] = ((fifth + (1 << 29)) >> 30) as u32;
        order += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Frame,
        harmonics::grid::{Lanes, Spread},
    };
    use std::{boxed::Box, f64::consts::TAU};

    #[test]
    fn what_spreading_took_is_a_power_of_sinc() {
        for (order, factor) in DROOP.into_iter().enumerate() {
            let x = TAU / 2.0 * order as f64 / 512.0;
            let sinc = if order == 0 { 1.0 } else { x.sin() / x };
            assert!((f64::from(factor) / 2f64.powi(30) * sinc.powi(5) - 1.0).abs() < 2e-9, "{order}");
        }
    }

    #[test]
    fn each_order_alone_is_found_alone_in_its_channel() {
        for order in 0..=ORDERS {
            let channel = order % CHANNELS;
            let mut grid = Box::new(Grid::new());
            // Any phases, seen once each and half a turn of the order later.
            let samples = 3000;
            for n in 0..samples {
                let turn = (n as f64 + 0.3) / f64::from(samples);
                let count = (8e6 * (TAU * (order as f64 * turn) + 0.5).cos()).round() as i32;
                let mut frame = Frame::default();
                match channel {
                    0..3 => frame.voltage[channel] = count,
                    _ => frame.current[channel - 3] = count,
                }
                grid.add(&Lanes::new(&frame), &Spread::at((turn * 2f64.powi(64)) as u64));
            }
            let mut spectra = [[Complex::default(); CHANNELS]; ORDERS + 1];
            assert!(transform(&mut grid, ORDERS, &mut spectra));
            for (found, spectrum) in spectra.iter().enumerate() {
                for (lane, phasor) in spectrum.iter().enumerate() {
                    let counts = f64::hypot(phasor.re as f64, phasor.im as f64) / 2f64.powi(32);
                    let expected = match order {
                        _ if (found, lane) != (order, channel) => 0.0,
                        0 => 8e6 * 0.5_f64.cos(),
                        _ => 8e6,
                    };
                    assert!((counts - expected).abs() < 1.5, "{order} {found} {lane}: {counts}");
                }
            }
        }
    }

    #[test]
    fn an_empty_grid_has_no_orders() {
        let mut spectra = [[Complex::default(); CHANNELS]; ORDERS + 1];
        assert!(!transform(&mut Box::new(Grid::new()), ORDERS, &mut spectra));
    }
}
