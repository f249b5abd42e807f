//! Symmetrical components of three phasors (Fortescue), in integers.

use crate::{VOLTAGES, trig::Complex};

/// Zero, positive and negative sequence of three phasors, each three times too large: below 6 times the largest of them.
pub(crate) fn sequences([a, b, c]: [Complex<i64>; VOLTAGES]) -> [Complex<i64>; 3] {
    let add = |x: Complex<i64>, y: Complex<i64>| Complex { re: x.re + y.re, im: x.im + y.im };
    let zero = add(add(a, b), c);
    let positive = add(add(a, turn(b, HALF_ROOT_3)), turn(c, -HALF_ROOT_3));
    let negative = add(add(a, turn(b, -HALF_ROOT_3)), turn(c, HALF_ROOT_3));
    [zero, positive, negative]
}

/// The magnitude of a phasor.
pub(crate) fn magnitude(phasor: Complex<i64>) -> u64 {
    let square = |value: i64| u128::from(value.unsigned_abs()) * u128::from(value.unsigned_abs());
    (square(phasor.re) + square(phasor.im)).isqrt() as u64
}

/// √3/2 with 62 fractional bits: the integer root of 3 · 2¹²².
const HALF_ROOT_3: i128 = 3_993_837_246_235_628_775;

/// A third of a turn ahead for `sine` √3/2, behind for −√3/2.
fn turn(phasor: Complex<i64>, sine: i128) -> Complex<i64> {
    let times = |value: i64| ((i128::from(value) * sine) >> 62) as i64;
    Complex { re: -phasor.re / 2 - times(phasor.im), im: times(phasor.re) - phasor.im / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    #[test]
    fn each_sequence_alone_is_found_alone() {
        let root = HALF_ROOT_3 as f64 / 2f64.powi(62);
        assert!((root * root - 0.75).abs() < 1e-15);
        for (sequence, step) in [(0, 0.0), (1, -TAU / 3.0), (2, TAU / 3.0)] {
            let phasors = core::array::from_fn(|n| {
                let angle = 0.7 + step * n as f64;
                Complex { re: (1e12 * angle.cos()) as i64, im: (1e12 * angle.sin()) as i64 }
            });
            for (n, found) in sequences(phasors).into_iter().enumerate() {
                let expected = if n == sequence { 3_000_000_000_000 } else { 0 };
                assert!(magnitude(found).abs_diff(expected) < 10, "{sequence} {n}");
            }
        }
    }
}
