//! AVX2: one frame's voltages in one register and its currents in another, four products at a time.
//!
//! Of the products v·v, i·i, v·i, v·cos, v·sin, i·cos and i·sin each is one multiplication of two registers, so a frame costs seven and no shuffling:
//! 28 products, 24 of which count. The fourth lane beside three voltages has the first current, which comes with the same load.
//! Two passes over a block keep all sums in registers: one with six, one with eight and the oscillator.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_abs_epi32, _mm_cmpeq_epi32, _mm_loadu_si128, _mm_max_epu32, _mm_movemask_epi8,
    _mm_set1_epi32, _mm_setr_epi32, _mm_setzero_si128, _mm256_add_epi64, _mm256_cvtepi32_epi64,
    _mm256_extract_epi64, _mm256_mul_epi32, _mm256_set1_epi64x, _mm256_setzero_si256,
};
use meterseal_metrology::{Filter, Frame, Kernel, Oscillator, QUANTITIES, Sums};

/// `None` on a processor without AVX2.
pub(crate) fn kernel() -> Option<Kernel> {
    std::is_x86_feature_detected!("avx2")
        .then_some(Kernel::SCALAR.with_sums(accumulate).with_clip_check(any_clipped).with_filter(filter))
}

fn accumulate(frames: &[Frame], first: usize, oscillator: &mut Oscillator) -> Sums {
    // SAFETY: the only way to this function is through `kernel`, which hands it out on a processor with AVX2 only.
    #[allow(unsafe_code, reason = "the processor's features are known at run time, not to the compiler")]
    unsafe {
        accumulate_wide(frames, first, oscillator)
    }
}

fn any_clipped(frames: &[Frame]) -> bool {
    // SAFETY: as above.
    #[allow(unsafe_code, reason = "the processor's features are known at run time, not to the compiler")]
    unsafe {
        any_clipped_wide(frames)
    }
}

fn filter(filter: &Filter, counts: &[u32], out: &mut [i32]) {
    // SAFETY: as above.
    #[allow(unsafe_code, reason = "the processor's features are known at run time, not to the compiler")]
    unsafe {
        filter_wide(filter, counts, out);
    }
}

/// The core's own loop, which compilers turn into these registers.
#[target_feature(enable = "avx2")]
fn filter_wide(filter: &Filter, counts: &[u32], out: &mut [i32]) {
    filter.run(counts, out);
}

#[target_feature(enable = "avx2")]
fn accumulate_wide(frames: &[Frame], first: usize, oscillator: &mut Oscillator) -> Sums {
    let ([vv, ii, vi], [[a, b, c, _], [d, e, f, g]]) = powers(frames, first);
    let [vc, vs, ic, is] = demodulated(frames, oscillator);
    let in_order = |of: fn(&Values) -> &[i64; 4]| {
        let [vv, ii, vi, vc, vs, ic, is] = [&vv, &ii, &vi, &vc, &vs, &ic, &is].map(of);
        let phase = |n: usize| [vv[n], ii[n], vi[n], vc[n], vs[n], ic[n], is[n]];
        let mut sums = [0; QUANTITIES];
        let (phases, neutral) = sums.split_at_mut(21);
        phases.copy_from_slice([phase(0), phase(1), phase(2)].as_flattened());
        neutral.copy_from_slice(&[ii[3], ic[3], is[3]]);
        sums
    };
    Sums {
        total: in_order(|values| &values.total),
        ramp: in_order(|values| &values.ramp),
        squares: [a, b, c, d, e, f, g],
    }
}

/// v·v, i·i and v·i, and what the first two are after the `first` frames. A function of its own, as is the other pass, so that none of its registers
/// is kept for the other.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn powers(frames: &[Frame], first: usize) -> ([Values; 3], [[i64; 4]; 2]) {
    let [mut vv, mut ii, mut vi] = [Lanes::zero(); 3];
    let mut squares = [[0; 4]; 2];
    for stretch in [&frames[..first], &frames[first..]] {
        squares = [lanes(vv.total), lanes(ii.total)];
        for frame in stretch {
            let (v, i) = wide_channels(frame);
            vv.add(_mm256_mul_epi32(v, v));
            ii.add(_mm256_mul_epi32(i, i));
            vi.add(_mm256_mul_epi32(v, i));
        }
    }
    ([vv.values(), ii.values(), vi.values()], squares)
}

/// v·cos, v·sin, i·cos and i·sin.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn demodulated(frames: &[Frame], oscillator: &mut Oscillator) -> [Values; 4] {
    let [mut vc, mut vs, mut ic, mut is] = [Lanes::zero(); 4];
    oscillator.run(frames.len(), |range, rotation| {
        for frame in &frames[range] {
            let (v, i) = wide_channels(frame);
            let (cos, sin) = rotation.next();
            let [cos, sin] = [cos, sin].map(|value| _mm256_set1_epi64x(i64::from(value)));
            vc.add(_mm256_mul_epi32(v, cos));
            vs.add(_mm256_mul_epi32(v, sin));
            ic.add(_mm256_mul_epi32(i, cos));
            is.add(_mm256_mul_epi32(i, sin));
        }
    });
    [vc.values(), vs.values(), ic.values(), is.values()]
}

/// Voltages with the first current behind them, and currents: one load each.
#[target_feature(enable = "avx2")]
fn channels(frame: &Frame) -> (__m128i, __m128i) {
    let [a, b, c] = frame.voltage;
    (_mm_setr_epi32(a, b, c, frame.current[0]), load(&frame.current))
}

/// Four counts by one load, where setting them one by one would become shuffles of what other registers have already.
#[target_feature(enable = "avx2")]
fn load(counts: &[i32; 4]) -> __m128i {
    // SAFETY: the pointer is a reference's to the 16 bytes that are read, and the load asks for no alignment.
    #[allow(unsafe_code, reason = "the processor's load instruction takes a pointer")]
    unsafe {
        _mm_loadu_si128(counts.as_ptr().cast())
    }
}

/// The same with 64 bits a channel, which is where a product has room.
#[target_feature(enable = "avx2")]
fn wide_channels(frame: &Frame) -> (__m256i, __m256i) {
    let (v, i) = channels(frame);
    (_mm256_cvtepi32_epi64(v), _mm256_cvtepi32_epi64(i))
}

/// Four sums and their sums of prefix sums.
#[derive(Clone, Copy)]
struct Lanes {
    total: __m256i,
    ramp: __m256i,
}

struct Values {
    total: [i64; 4],
    ramp: [i64; 4],
}

impl Lanes {
    #[target_feature(enable = "avx2")]
    fn zero() -> Self {
        Self { total: _mm256_setzero_si256(), ramp: _mm256_setzero_si256() }
    }

    #[target_feature(enable = "avx2")]
    fn add(&mut self, products: __m256i) {
        self.total = _mm256_add_epi64(self.total, products);
        self.ramp = _mm256_add_epi64(self.ramp, self.total);
    }

    #[target_feature(enable = "avx2")]
    fn values(self) -> Values {
        Values { total: lanes(self.total), ramp: lanes(self.ramp) }
    }
}

#[target_feature(enable = "avx2")]
fn lanes(register: __m256i) -> [i64; 4] {
    [
        _mm256_extract_epi64::<0>(register),
        _mm256_extract_epi64::<1>(register),
        _mm256_extract_epi64::<2>(register),
        _mm256_extract_epi64::<3>(register),
    ]
}

#[target_feature(enable = "avx2")]
fn any_clipped_wide(frames: &[Frame]) -> bool {
    // Magnitudes as unsigned numbers, so that the one without a positive counterpart counts as what it is.
    let [mut v, mut i] = [_mm_setzero_si128(); 2];
    for frame in frames {
        let (voltages, currents) = channels(frame);
        v = _mm_max_epu32(v, _mm_abs_epi32(voltages));
        i = _mm_max_epu32(i, _mm_abs_epi32(currents));
    }
    let largest = _mm_max_epu32(v, i);
    let beyond = _mm_cmpeq_epi32(_mm_max_epu32(largest, _mm_set1_epi32(Frame::FULL_SCALE)), largest);
    _mm_movemask_epi8(beyond) != 0
}
