//! The hot loop: 24 products a frame, their sum, and the sum of their prefix sums.
//!
//! Per frame: 24 multiplications and 48 additions of 64 bits, no division, no branch. A phase at a time keeps most of its accumulators in registers.

use crate::{
    Frame, Oscillator, VOLTAGES,
    boundary::CHANNELS,
    delay::{Filter, SIGNS, raised},
    frame::any_clipped,
};

/// How frames are looked over and summed up: the plain loops of this crate, or wider ones that give the same bits.
///
/// A core trusts its kernel with every energy it books, so [`Metrology::with_extras`](crate::Metrology::with_extras) compares it with the scalar one on
/// blocks of extreme and arbitrary counts before it uses it.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    pub(crate) any_clipped: fn(&[Frame]) -> bool,
    pub(crate) accumulate: fn(&[Frame], usize, &mut Oscillator) -> Sums,
    pub(crate) filter: fn(&Filter, &[u32], &mut [i32]),
}

impl Kernel {
    /// Plain loops, which run everywhere.
    pub const SCALAR: Self =
        Self { any_clipped, accumulate, filter: |filter, counts, out| filter.run(counts, out) };

    /// The same with other sums. The function gets at most [`BLOCK`] frames with counts within full scale and takes one cosine and sine of the
    /// oscillator for each; of the first so many frames as its number says, which may be all, it also gives the [`squares`](Sums::squares).
    #[must_use]
    pub const fn with_sums(self, accumulate: fn(&[Frame], usize, &mut Oscillator) -> Sums) -> Self {
        Self { accumulate, ..self }
    }

    /// The same with another look for clipped frames: whether any count, of all 2³², is at or beyond full scale.
    #[must_use]
    pub const fn with_clip_check(self, any_clipped: fn(&[Frame]) -> bool) -> Self {
        Self { any_clipped, ..self }
    }

    /// The same with another way to run a calibrated unit's filters: as [`Filter::run`] does.
    #[must_use]
    pub const fn with_filter(self, filter: fn(&Filter, &[u32], &mut [i32])) -> Self {
        Self { filter, ..self }
    }

    /// The sums over at most [`BLOCK`] frames with counts within full scale, and the squares of the `first` of them; the oscillator goes on by as many
    /// cells. Frames beyond the block are left out.
    pub fn sums(&self, frames: &[Frame], first: usize, oscillator: &mut Oscillator) -> Sums {
        let frames = &frames[..frames.len().min(BLOCK)];
        (self.accumulate)(frames, first.min(frames.len()), oscillator)
    }

    /// Whether any count is at or beyond full scale.
    pub fn any_clipped(&self, frames: &[Frame]) -> bool {
        (self.any_clipped)(frames)
    }

    /// How many results differ from the scalar ones, over blocks of all kinds of length.
    pub(crate) fn wrong_results(&self) -> u64 {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = || {
            // xorshift64.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut wrong = 0;
        for length in [1, 2, 3, 7, 61, 130, BLOCK] {
            let mut frames = [Frame::default(); BLOCK];
            let frames = &mut frames[..length];
            for frame in frames.iter_mut() {
                for channel in 0..CHANNELS {
                    // Any counts, and every fourth at an end of full scale.
                    *frame.count_mut(channel) = match random() % 8 {
                        0 => Frame::FULL_SCALE,
                        1 => -Frame::FULL_SCALE,
                        _ => ((random() >> 40) as i32 - (1 << 23)).max(-Frame::FULL_SCALE),
                    };
                }
            }
            let (step, phase) = (random() >> 4, random());
            let [ours, plain] = &mut [0; 2].map(|_| Oscillator::new(step, phase));
            // Twice, so that the oscillator is seen to go on.
            for first in [length, random() as usize % length] {
                let (found, truth) =
                    ((self.accumulate)(frames, first, ours), accumulate(frames, first, plain));
                let differ = |a: &[i64], b: &[i64]| a.iter().zip(b).filter(|(a, b)| a != b).count() as u64;
                wrong += differ(&found.total, &truth.total) + differ(&found.ramp, &truth.ramp);
                wrong += differ(&found.squares, &truth.squares);
                wrong += u64::from(ours != plain);
            }
            wrong += self.wrong_filtered(frames, &mut random);
            // One count near a limit among counts that are not.
            for frame in frames.iter_mut() {
                (0..CHANNELS).for_each(|channel| *frame.count_mut(channel) /= 2);
            }
            for limit in [Frame::FULL_SCALE, -Frame::FULL_SCALE, i32::MIN, i32::MAX] {
                for near in -1..=1 {
                    let (at, channel) = (random() as usize % length, random() as usize % CHANNELS);
                    let before = frames[at];
                    *frames[at].count_mut(channel) = limit.wrapping_add(near);
                    wrong += u64::from((self.any_clipped)(frames) != any_clipped(frames));
                    frames[at] = before;
                }
            }
        }
        wrong
    }

    /// Results of random filters that differ from the plain ones.
    fn wrong_filtered(&self, frames: &[Frame], random: &mut impl FnMut() -> u64) -> u64 {
        let mut weight = |sign: i64| sign * (random() >> 34) as i64;
        let filter = Filter::new(&SIGNS.map(&mut weight), weight(1));
        let mut counts = [0; BLOCK];
        for (count, frame) in counts.iter_mut().zip(frames) {
            *count = raised(frame.current[0]);
        }
        let counts = &counts[..frames.len()];
        let (mut found, mut truth) = ([0; BLOCK], [0; BLOCK]);
        (self.filter)(&filter, counts, &mut found);
        filter.run(counts, &mut truth);
        found.iter().zip(&truth).filter(|(found, truth)| found != truth).count() as u64
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
    /// The sum of each channel's square over the first frames only, voltages first: what half a cycle's RMS values come from.
    pub squares: [i64; CHANNELS],
}

impl Sums {
    fn put<const N: usize>(&mut self, at: usize, (total, ramp): &([i64; N], [i64; N])) {
        self.total[at..at + N].copy_from_slice(total);
        self.ramp[at..at + N].copy_from_slice(ramp);
    }
}

/// The products of one frame with its cosine and sine, in the order of the sums.
#[inline]
pub(crate) fn products(frame: &Frame, cos: i64, sin: i64) -> [i64; QUANTITIES] {
    let mut products = [0; QUANTITIES];
    for number in 0..VOLTAGES {
        let (v, i) = (i64::from(frame.voltage[number]), i64::from(frame.current[number]));
        let of_phase = [v * v, i * i, v * i, v * cos, v * sin, i * cos, i * sin];
        products[phase(number)..phase(number + 1)].copy_from_slice(&of_phase);
    }
    let i = i64::from(frame.current[VOLTAGES]);
    products[NEUTRAL..].copy_from_slice(&[i * i, i * cos, i * sin]);
    products
}

/// Sums over a block of at most [`BLOCK`] frames with counts within full scale, and the squares of the `first` of them.
fn accumulate(frames: &[Frame], first: usize, oscillator: &mut Oscillator) -> Sums {
    let (mut cos, mut sin) = ([0; BLOCK], [0; BLOCK]);
    let (cos, sin) = (&mut cos[..frames.len()], &mut sin[..frames.len()]);
    oscillator.fill(cos, sin);
    let mut sums = Sums::default();
    for number in 0..VOLTAGES {
        let sums_of_phase = pass(frames, cos, sin, |frame, cos, sin| {
            let (v, i) = (i64::from(frame.voltage[number]), i64::from(frame.current[number]));
            [v * v, i * i, v * i, v * cos, v * sin, i * cos, i * sin]
        });
        sums.put(phase(number), &sums_of_phase);
    }
    let neutral = pass(frames, cos, sin, |frame, cos, sin| {
        let i = i64::from(frame.current[VOLTAGES]);
        [i * i, i * cos, i * sin]
    });
    sums.put(NEUTRAL, &neutral);
    // Once more, because a loop that stops halfway keeps fewer of its sums in registers.
    for frame in &frames[..first] {
        for (channel, sum) in sums.squares.iter_mut().enumerate() {
            let count = i64::from(frame.count(channel));
            *sum += count * count;
        }
    }
    sums
}

/// Sums and ramps of some quantities.
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
