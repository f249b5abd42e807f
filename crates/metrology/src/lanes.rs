//! The same sums as plain dot products, which compilers turn into the widest registers there are.
//!
//! A sum of prefix sums is one product after the other and does not divide into lanes. But of *n* frames the first counts *n* times in it and the last
//! once, so it is a dot product too, of one factor times its weight: 23 bits times at most 256 fit into 31. Twice the multiplications, four or eight at
//! a time. Integers: the sums are the scalar ones to the bit.
//!
//! Safe code that is to be inlined where wide registers are enabled; without them it is slower than the scalar kernel.

use crate::{
    CURRENTS, Frame, VOLTAGES,
    boundary::CHANNELS,
    kernel::{BLOCK, NEUTRAL, Sums, phase},
};

/// Columns are filled up with zeros to a multiple of this, so that no loop has a rest.
const LANES: usize = 8;
/// Frames that are summed up at once: columns that stay in the nearest cache.
const PIECE: usize = 64;
type Column = [i32; PIECE];

/// Sums over a block, as [`Kernel::SCALAR`](crate::Kernel::SCALAR) gives them: at most [`BLOCK`] frames with counts within full scale, `cos` and `sin`
/// with 23 fractional bits, one pair a frame. Frames beyond the block are left out.
#[inline(always)]
pub fn accumulate_in_lanes(frames: &[Frame], cos: &[i32], sin: &[i32]) -> Sums {
    let length = frames.len().min(cos.len()).min(sin.len()).min(BLOCK);
    let (frames, cos, sin) = (&frames[..length], &cos[..length], &sin[..length]);
    let mut sums = Sums::default();
    let mut columns = Columns::default();
    let pieces = frames.chunks(PIECE).zip(cos.chunks(PIECE)).zip(sin.chunks(PIECE));
    for (number, ((frames, cos), sin)) in pieces.enumerate() {
        columns.fill(frames, cos, sin, (length - number * PIECE) as i32);
        columns.add_to(&mut sums);
    }
    sums
}

/// A piece of a block by channels.
struct Columns {
    plain: [Column; CHANNELS],
    /// The same, each frame times how often it counts in a ramp.
    weighted: [Column; CHANNELS],
    cos: Column,
    sin: Column,
    /// A multiple of [`LANES`].
    filled: usize,
}

impl Default for Columns {
    #[inline(always)]
    fn default() -> Self {
        let column = [0; PIECE];
        let columns = [column; CHANNELS];
        Self { plain: columns, weighted: columns, cos: column, sin: column, filled: 0 }
    }
}

impl Columns {
    /// Takes a piece; its first frame counts `weight` times.
    #[inline(always)]
    fn fill(&mut self, frames: &[Frame], cos: &[i32], sin: &[i32], weight: i32) {
        let length = frames.len();
        self.filled = length.next_multiple_of(LANES);
        divide(frames, &mut self.plain);
        self.cos[..length].copy_from_slice(cos);
        self.sin[..length].copy_from_slice(sin);
        if length < self.filled {
            for plain in &mut self.plain {
                plain[length..self.filled].fill(0);
            }
        }
        for (plain, weighted) in self.plain.iter().zip(&mut self.weighted) {
            let columns = plain[..self.filled].iter().zip(&mut weighted[..self.filled]);
            for (n, (plain, weighted)) in columns.enumerate() {
                *weighted = plain.wrapping_mul(weight - n as i32);
            }
        }
    }

    #[inline(always)]
    fn add_to(&self, sums: &mut Sums) {
        let cut = |column| cut(column, self.filled);
        let (cos, sin) = (cut(&self.cos), cut(&self.sin));
        let mut add = |at: usize, (total, ramp): (i64, i64)| {
            sums.total[at] += total;
            sums.ramp[at] += ramp;
        };
        for number in 0..VOLTAGES {
            let at = phase(number);
            let (v, i) = (cut(&self.plain[number]), cut(&self.plain[VOLTAGES + number]));
            let weighted_v = cut(&self.weighted[number]);
            let weighted_i = cut(&self.weighted[VOLTAGES + number]);
            let [vv, ii, vi] = powers(v, i, weighted_v, weighted_i);
            let [vc, vs] = demodulated(v, weighted_v, cos, sin);
            let [ic, is] = demodulated(i, weighted_i, cos, sin);
            for (n, sums) in [vv, ii, vi, vc, vs, ic, is].into_iter().enumerate() {
                add(at + n, sums);
            }
        }
        let (i, weighted_i) = (cut(&self.plain[CHANNELS - 1]), cut(&self.weighted[CHANNELS - 1]));
        let [ii, ..] = powers(i, i, weighted_i, weighted_i);
        let [ic, is] = demodulated(i, weighted_i, cos, sin);
        for (n, sums) in [ii, ic, is].into_iter().enumerate() {
            add(NEUTRAL + n, sums);
        }
    }
}

/// The part of a column that is filled, a whole number of lanes.
#[inline(always)]
fn cut(column: &Column, filled: usize) -> &[[i32; LANES]] {
    let (lanes, _) = column.as_chunks();
    &lanes[..filled / LANES]
}

/// Frames to columns.
#[inline(always)]
fn divide(frames: &[Frame], columns: &mut [Column; CHANNELS]) {
    let [a, b, c, d, e, f, g] = columns;
    let voltages = a.iter_mut().zip(b).zip(c);
    let currents = d.iter_mut().zip(e).zip(f).zip(g);
    const { assert!(VOLTAGES == 3 && CURRENTS == 4) };
    for ((frame, ((a, b), c)), (((d, e), f), g)) in frames.iter().zip(voltages).zip(currents) {
        [*a, *b, *c] = frame.voltage;
        [*d, *e, *f, *g] = frame.current;
    }
}

/// Totals and ramps of v², i² and v·i.
#[inline(always)]
fn powers(
    v: &[[i32; LANES]],
    i: &[[i32; LANES]],
    weighted_v: &[[i32; LANES]],
    weighted_i: &[[i32; LANES]],
) -> [(i64, i64); 3] {
    let (v, i) = (v.as_flattened(), i.as_flattened());
    let (weighted_v, weighted_i) = (weighted_v.as_flattened(), weighted_i.as_flattened());
    let mut sums = [(0, 0); 3];
    for (((v, i), weighted_v), weighted_i) in v.iter().zip(i).zip(weighted_v).zip(weighted_i) {
        let [v, i, weighted_v, weighted_i] = [*v, *i, *weighted_v, *weighted_i].map(i64::from);
        sums[0].0 += v * v;
        sums[0].1 += v * weighted_v;
        sums[1].0 += i * i;
        sums[1].1 += i * weighted_i;
        sums[2].0 += v * i;
        sums[2].1 += v * weighted_i;
    }
    sums
}

/// Totals and ramps of x·cos and x·sin.
#[inline(always)]
fn demodulated(
    x: &[[i32; LANES]],
    weighted: &[[i32; LANES]],
    cos: &[[i32; LANES]],
    sin: &[[i32; LANES]],
) -> [(i64, i64); 2] {
    let (x, weighted, cos, sin) =
        (x.as_flattened(), weighted.as_flattened(), cos.as_flattened(), sin.as_flattened());
    let mut sums = [(0, 0); 2];
    for (((x, weighted), cos), sin) in x.iter().zip(weighted).zip(cos).zip(sin) {
        let [x, weighted, cos, sin] = [*x, *weighted, *cos, *sin].map(i64::from);
        sums[0].0 += x * cos;
        sums[0].1 += weighted * cos;
        sums[1].0 += x * sin;
        sums[1].1 += weighted * sin;
    }
    sums
}
