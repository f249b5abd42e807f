//! The hot loop: 24 products a frame, their sum, and the sum of their prefix sums.
//!
//! Per frame: 24 multiplications and 48 additions of 64 bits, no division, no branch. A phase at a time keeps 14 accumulators in registers.

use crate::{Frame, VOLTAGES};

/// What is accumulated: seven quantities for each phase ([`phase`]), three for the neutral ([`NEUTRAL`]).
pub(crate) const QUANTITIES: usize = 24;
/// The longest block: 2⁴⁶ (two counts of 23 bits and a sign, or a count and an oscillator of 23 bits) times 128·129/2 is below 2⁶⁰.
pub(crate) const BLOCK: usize = 128;

/// Voltage squared.
pub(crate) const VV: usize = 0;
/// Current squared.
pub(crate) const II: usize = 1;
/// Voltage times current.
pub(crate) const VI: usize = 2;
/// Voltage times cosine; the sine follows.
pub(crate) const VC: usize = 3;
/// Current times cosine; the sine follows.
pub(crate) const IC: usize = 5;
/// The neutral's current squared; its products with cosine and sine follow.
pub(crate) const NEUTRAL: usize = 21;

/// Where the seven quantities of a phase begin.
pub(crate) const fn phase(number: usize) -> usize {
    number * 7
}

/// Whether a quantity is a product with the oscillator.
pub(crate) const fn is_demodulated(quantity: usize) -> bool {
    quantity > NEUTRAL || (quantity < NEUTRAL && quantity % 7 >= VC)
}

/// Sums over one block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// The sum of each quantity.
    pub(crate) total: [i64; QUANTITIES],
    /// The sum of each quantity's prefix sums: the first frame of *n* counts *n* times, the last one once.
    pub(crate) ramp: [i64; QUANTITIES],
}

/// Sums over a block of at most [`BLOCK`] frames with counts within full scale. `cos` and `sin` have 23 fractional bits, one pair a frame.
pub(crate) fn accumulate(frames: &[Frame], cos: &[i32], sin: &[i32]) -> Sums {
    debug_assert!(frames.len() <= BLOCK && cos.len() == frames.len() && sin.len() == frames.len());
    let mut sums = Sums::default();
    for number in 0..VOLTAGES {
        let (total, ramp) = pass(frames, cos, sin, |frame, cos, sin| {
            let (v, i) = (i64::from(frame.voltage[number]), i64::from(frame.current[number]));
            [v * v, i * i, v * i, v * cos, v * sin, i * cos, i * sin]
        });
        sums.total[phase(number)..phase(number + 1)].copy_from_slice(&total);
        sums.ramp[phase(number)..phase(number + 1)].copy_from_slice(&ramp);
    }
    let (total, ramp) = pass(frames, cos, sin, |frame, cos, sin| {
        let i = i64::from(frame.current[3]);
        [i * i, i * cos, i * sin]
    });
    sums.total[NEUTRAL..].copy_from_slice(&total);
    sums.ramp[NEUTRAL..].copy_from_slice(&ramp);
    sums
}

#[inline(always)]
fn pass<const N: usize>(
    frames: &[Frame],
    cos: &[i32],
    sin: &[i32],
    products: impl Fn(&Frame, i64, i64) -> [i64; N],
) -> ([i64; N], [i64; N]) {
    let (mut total, mut ramp) = ([0; N], [0; N]);
    for ((frame, cos), sin) in frames.iter().zip(cos).zip(sin) {
        let products = products(frame, i64::from(*cos), i64::from(*sin));
        for n in 0..N {
            total[n] += products[n];
            ramp[n] += total[n];
        }
    }
    (total, ramp)
}
