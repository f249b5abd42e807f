//! The hot loop: 24 products a frame, their sum, and the sum of their prefix sums.
//!
//! Per frame: 24 multiplications and 48 additions of 64 bits, no division, no branch. A phase at a time keeps 14 accumulators in registers.

use crate::{Frame, VOLTAGES};

/// How blocks are summed up: the scalar loops of this crate, or wider ones that give the same bits.
///
/// A core trusts its kernel with every energy it books, so [`Metrology::with_extras`](crate::Metrology::with_extras) compares it with the scalar one on
/// a block of extreme and arbitrary counts before it uses it.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    pub(crate) accumulate: fn(&[Frame], &[i32], &[i32]) -> Sums,
}

impl Kernel {
    /// Plain loops, which run everywhere.
    pub const SCALAR: Self = Self { accumulate };

    /// A kernel that gives the sums over a block of at most [`BLOCK`] frames with their cosines and sines (23 fractional bits), as
    /// [`accumulate_in_lanes`](crate::accumulate_in_lanes) does.
    pub const fn new(accumulate: fn(&[Frame], &[i32], &[i32]) -> Sums) -> Self {
        Self { accumulate }
    }

    /// How many of the sums over some blocks differ from the scalar ones.
    pub(crate) fn wrong_sums(&self) -> u64 {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut count = || {
            // xorshift64: any counts, and every eighth at an end of full scale.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match state % 8 {
                0 => Frame::FULL_SCALE,
                1 => -Frame::FULL_SCALE,
                _ => (state >> 40) as i32 - (1 << 23),
            }
            .max(-Frame::FULL_SCALE)
        };
        let mut wrong = 0;
        for length in [1, 2, 3, 7, 61, BLOCK] {
            let mut frames = [Frame::default(); BLOCK];
            let (mut cos, mut sin) = ([0; BLOCK], [0; BLOCK]);
            for n in 0..length {
                frames[n].voltage.fill_with(&mut count);
                frames[n].current.fill_with(&mut count);
                (cos[n], sin[n]) = (count(), count());
            }
            let (frames, cos, sin) = (&frames[..length], &cos[..length], &sin[..length]);
            let (found, truth) = ((self.accumulate)(frames, cos, sin), accumulate(frames, cos, sin));
            let differ = |a: &[i64], b: &[i64]| a.iter().zip(b).filter(|(a, b)| a != b).count() as u64;
            wrong += differ(&found.total, &truth.total) + differ(&found.ramp, &truth.ramp);
        }
        wrong
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::SCALAR
    }
}

/// What is accumulated: for each phase v², i², v·i, v·cos, v·sin, i·cos, i·sin, and for the neutral i², i·cos, i·sin.
pub const QUANTITIES: usize = 24;
/// The longest block, a cycle at 8 kHz and more: 2⁴⁶ (two counts of 23 bits and a sign, or a count and an oscillator of 23 bits) times 256·257/2 is
/// below 2⁶².
pub const BLOCK: usize = 256;

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
pub struct Sums {
    /// The sum of each quantity.
    pub total: [i64; QUANTITIES],
    /// The sum of each quantity's prefix sums: the first frame of *n* counts *n* times, the last one once.
    pub ramp: [i64; QUANTITIES],
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
