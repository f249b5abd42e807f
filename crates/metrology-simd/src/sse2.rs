//! SSE2, which every x86-64 has: two products at a time, of numbers without a sign.
//!
//! Its one wide multiplication knows no signs, so counts, cosines and sines are raised by 2²³ first. With `v' = v + r` and `c' = c + r` a sum of products is
//! `Σ v·c = Σ v'·c' − r·(Σ v' + Σ c') + n·r²`, and the same holds for sums of prefix sums with `n·(n + 1)/2` in place of `n`. All of it wraps at 2⁶⁴, and
//! what is left does not pass 2⁶².

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_add_epi64, _mm_and_si128, _mm_cvtsi128_si64, _mm_extract_epi16,
    _mm_loadu_si128, _mm_max_epi16, _mm_min_epi16, _mm_mul_epu32, _mm_set1_epi32, _mm_set1_epi64x,
    _mm_setzero_si128, _mm_srli_epi64, _mm_unpackhi_epi64,
};
use meterseal_metrology::{BLOCK, Frame, Kernel, Oscillator, QUANTITIES, Sums};

pub(crate) const KERNEL: Kernel = Kernel::SCALAR.with_sums(accumulate).with_clip_check(any_clipped);

/// What everything is raised by.
const RAISE: u64 = 1 << 23;

fn accumulate(frames: &[Frame], first: usize, oscillator: &mut Oscillator) -> Sums {
    // SAFETY: this module is compiled only for targets all of whose processors have SSE2.
    #[allow(unsafe_code, reason = "features of the target are not those that a function names")]
    unsafe {
        accumulate_in_pairs(frames, first, oscillator)
    }
}

fn any_clipped(frames: &[Frame]) -> bool {
    // SAFETY: as above.
    #[allow(unsafe_code, reason = "features of the target are not those that a function names")]
    unsafe {
        any_clipped_in_halves(frames)
    }
}

#[target_feature(enable = "sse2")]
fn accumulate_in_pairs(frames: &[Frame], first: usize, oscillator: &mut Oscillator) -> Sums {
    let frames = &frames[..frames.len().min(BLOCK)];
    let mut turns = [[_mm_setzero_si128(); 2]; BLOCK];
    let turns = &mut turns[..frames.len()];
    let [cos, sin] = fill(turns, oscillator);
    let ([vv, ii, vi], first_squares) = powers(frames, first);
    let ([v, vc, vs], first_v) = demodulated(frames, first, turns, |frame| raised(frame).0);
    let ([i, ic, is], first_i) = demodulated(frames, first, turns, |frame| raised(frame).1);
    let n = frames.len() as u64;
    let sums = |of: fn(&Four) -> &[u64; 4], [cos, sin]: [u64; 2], weight: u64| {
        let [v, i, vv, ii, vi, vc, vs, ic, is] = [&v, &i, &vv, &ii, &vi, &vc, &vs, &ic, &is].map(of);
        let lowered = |sum, a, b| lowered(sum, a, b, weight);
        let mut sums = [0; QUANTITIES];
        for (phase, sums) in sums.chunks_exact_mut(7).take(3).enumerate() {
            let (v, i) = (v[phase], i[phase]);
            sums.copy_from_slice(&[
                lowered(vv[phase], v, v),
                lowered(ii[phase], i, i),
                lowered(vi[phase], v, i),
                lowered(vc[phase], v, cos),
                lowered(vs[phase], v, sin),
                lowered(ic[phase], i, cos),
                lowered(is[phase], i, sin),
            ]);
        }
        let neutral = [lowered(ii[3], i[3], i[3]), lowered(ic[3], i[3], cos), lowered(is[3], i[3], sin)];
        sums[21..].copy_from_slice(&neutral);
        sums
    };
    let squares = |squares: [u64; 4], plain: [u64; 4]| -> [i64; 4] {
        core::array::from_fn(|n| lowered(squares[n], plain[n], plain[n], first as u64))
    };
    let [a, b, c, _] = squares(first_squares[0], first_v);
    let [d, e, f, g] = squares(first_squares[1], first_i);
    Sums {
        total: sums(|four| &four.total, [cos.total, sin.total], n),
        ramp: sums(|four| &four.ramp, [cos.ramp, sin.ramp], n * (n + 1) / 2),
        squares: [a, b, c, d, e, f, g],
    }
}

/// A sum of so many products of raised numbers, lowered by the sums of those numbers.
fn lowered(sum: u64, a: u64, b: u64, weight: u64) -> i64 {
    let raised = a.wrapping_add(b).wrapping_mul(RAISE);
    sum.wrapping_sub(raised).wrapping_add(weight * RAISE * RAISE).cast_signed()
}

/// Raised cosines and sines in both halves of a register each, and their sums.
#[target_feature(enable = "sse2")]
fn fill(turns: &mut [[__m128i; 2]], oscillator: &mut Oscillator) -> [One; 2] {
    let [mut cos_sums, mut sin_sums] = [One::default(); 2];
    oscillator.run(turns.len(), |range, rotation| {
        for turn in &mut turns[range] {
            let (cos, sin) = rotation.next();
            let [cos, sin] = [cos, sin].map(|value| i64::from(value) + RAISE as i64);
            *turn = [_mm_set1_epi64x(cos), _mm_set1_epi64x(sin)];
            cos_sums.add(cos.cast_unsigned());
            sin_sums.add(sin.cast_unsigned());
        }
    });
    [cos_sums, sin_sums]
}

/// v·v, i·i and v·i, raised, and what the first two are after the `first` frames.
#[inline(never)]
#[target_feature(enable = "sse2")]
fn powers(frames: &[Frame], first: usize) -> ([Four; 3], [[u64; 4]; 2]) {
    let [mut vv, mut ii, mut vi] = [Pairs::zero(); 3];
    let mut squares = [[0; 4]; 2];
    for stretch in [&frames[..first], &frames[first..]] {
        squares = [in_order(vv.total), in_order(ii.total)];
        for frame in stretch {
            let (v, i) = raised(frame);
            let (odd_v, odd_i) = (_mm_srli_epi64::<32>(v), _mm_srli_epi64::<32>(i));
            vv.add(_mm_mul_epu32(v, v), _mm_mul_epu32(odd_v, odd_v));
            ii.add(_mm_mul_epu32(i, i), _mm_mul_epu32(odd_i, odd_i));
            vi.add(_mm_mul_epu32(v, i), _mm_mul_epu32(odd_v, odd_i));
        }
    }
    ([vv.values(), ii.values(), vi.values()], squares)
}

/// Sums of one register of each frame, and of its products with cosine and sine: all raised. Beside them the plain sums of the `first` frames.
#[inline(never)]
#[target_feature(enable = "sse2")]
fn demodulated(
    frames: &[Frame],
    first: usize,
    turns: &[[__m128i; 2]],
    of: impl Fn(&Frame) -> __m128i,
) -> ([Four; 3], [u64; 4]) {
    let low = _mm_set1_epi64x(u32::MAX.into());
    let [mut plain, mut xc, mut xs] = [Pairs::zero(); 3];
    let mut plain_first = [0; 4];
    for range in [0..first, first..frames.len()] {
        plain_first = in_order(plain.total);
        for (frame, [cos, sin]) in frames[range.clone()].iter().zip(&turns[range]) {
            let both = of(frame);
            let (even, odd) = (_mm_and_si128(both, low), _mm_srli_epi64::<32>(both));
            plain.add(even, odd);
            xc.add(_mm_mul_epu32(even, *cos), _mm_mul_epu32(odd, *cos));
            xs.add(_mm_mul_epu32(even, *sin), _mm_mul_epu32(odd, *sin));
        }
    }
    ([plain.values(), xc.values(), xs.values()], plain_first)
}

/// Voltages with the first current behind them, and currents.
#[target_feature(enable = "sse2")]
fn loaded(frame: &Frame) -> (__m128i, __m128i) {
    let all = core::ptr::from_ref(frame).cast::<i32>();
    const { assert!(size_of::<Frame>() == 28) };
    // SAFETY: a frame is 28 bytes without gaps (`repr(C)`), so that from its first and from its fourth number on there are 16; no alignment is asked for.
    #[allow(unsafe_code, reason = "the processor's load instruction takes a pointer")]
    unsafe {
        (_mm_loadu_si128(all.cast()), _mm_loadu_si128(all.add(3).cast()))
    }
}

/// The same, raised.
#[target_feature(enable = "sse2")]
fn raised(frame: &Frame) -> (__m128i, __m128i) {
    let raise = _mm_set1_epi32(RAISE as i32);
    let (v, i) = loaded(frame);
    (_mm_add_epi32(v, raise), _mm_add_epi32(i, raise))
}

/// A sum and its sum of prefix sums.
#[derive(Clone, Copy, Default)]
struct One {
    total: u64,
    ramp: u64,
}

impl One {
    fn add(&mut self, value: u64) {
        self.total += value;
        self.ramp += self.total;
    }
}

/// The same four times: of the first and third numbers of a register, and of the second and fourth.
#[derive(Clone, Copy)]
struct Pairs {
    total: [__m128i; 2],
    ramp: [__m128i; 2],
}

struct Four {
    total: [u64; 4],
    ramp: [u64; 4],
}

impl Pairs {
    #[target_feature(enable = "sse2")]
    fn zero() -> Self {
        Self { total: [_mm_setzero_si128(); 2], ramp: [_mm_setzero_si128(); 2] }
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    fn add(&mut self, even: __m128i, odd: __m128i) {
        self.total = [_mm_add_epi64(self.total[0], even), _mm_add_epi64(self.total[1], odd)];
        self.ramp = [_mm_add_epi64(self.ramp[0], self.total[0]), _mm_add_epi64(self.ramp[1], self.total[1])];
    }

    #[target_feature(enable = "sse2")]
    fn values(self) -> Four {
        Four { total: in_order(self.total), ramp: in_order(self.ramp) }
    }
}

#[target_feature(enable = "sse2")]
fn in_order([even, odd]: [__m128i; 2]) -> [u64; 4] {
    [even, odd, _mm_unpackhi_epi64(even, even), _mm_unpackhi_epi64(odd, odd)]
        .map(|register| _mm_cvtsi128_si64(register).cast_unsigned())
}

#[target_feature(enable = "sse2")]
fn any_clipped_in_halves(frames: &[Frame]) -> bool {
    // SSE2 compares 16 bits at a time, and the upper halves show what is within 1 % of full scale: only then it takes a closer look.
    let [mut least, mut largest] = [_mm_setzero_si128(); 2];
    for frame in frames {
        let (v, i) = loaded(frame);
        least = _mm_min_epi16(_mm_min_epi16(least, v), i);
        largest = _mm_max_epi16(_mm_max_epi16(largest, v), i);
    }
    let upper = |register: __m128i| {
        [
            _mm_extract_epi16::<1>(register),
            _mm_extract_epi16::<3>(register),
            _mm_extract_epi16::<5>(register),
            _mm_extract_epi16::<7>(register),
        ]
        .map(|half| half as i16)
    };
    let within = -0x7F..0x7F;
    let near =
        [least, largest].iter().any(|register| upper(*register).iter().any(|half| !within.contains(half)));
    near && Kernel::SCALAR.any_clipped(frames)
}
