//! The supply frequency of a finite record, found by measuring it again until the frequency stands still.

use crate::{
    Config, Frame, Nominal, Period,
    boundary::Boundary,
    kernel::BLOCK,
    period::{FREQUENCY_MAX_MICROHERTZ, FREQUENCY_MIN_MICROHERTZ},
    slot::{EDGE, Halves, Slot},
    tracker::correlation,
    trig::{self, Complex},
};

/// The nominal frequency (50 Hz below 55 Hz) and the cycle length of a finite record.
///
/// It runs the meter's own slots over the frames, from a first guess of 55 Hz, takes the frequency from the mean advance of the voltages'
/// fundamentals, and repeats until that stands still: three to six passes. `None` where no voltage has a fundamental of 40 to 70 Hz, where the record
/// is shorter than three of its cycles, and for a sampling rate outside 1 to 100 kHz.
pub fn find_period(sample_rate_microhertz: u64, frames: &[Frame]) -> Option<(Nominal, Period)> {
    let rates = Config::SAMPLE_RATE_MIN_MICROHERTZ..=Config::SAMPLE_RATE_MAX_MICROHERTZ;
    if !rates.contains(&sample_rate_microhertz) {
        return None;
    }
    let at = |microhertz| Period::from_frequency(sample_rate_microhertz, microhertz).to_bits();
    let plausible = at(FREQUENCY_MAX_MICROHERTZ)..=at(FREQUENCY_MIN_MICROHERTZ);
    let mut period = at(FIRST_GUESS_MICROHERTZ);
    for _ in 0..PASSES {
        let better = pass(frames, period)?.clamp(*plausible.start(), *plausible.end());
        let change = better.abs_diff(period);
        period = better;
        if change <= period >> STILL {
            break;
        }
    }
    // What only the clamp holds inside the range is not a supply.
    if period == *plausible.start() || period == *plausible.end() {
        return None;
    }
    let microhertz = Period::from_bits(period).frequency_microhertz(sample_rate_microhertz);
    Some((Nominal::nearest(microhertz), Period::from_bits(period)))
}

/// Between the ends of 40 to 70 Hz, where both are within half a turn a cycle.
const FIRST_GUESS_MICROHERTZ: u64 = 55_000_000;
const PASSES: usize = 12;
/// Relative change that is no longer worth a pass: 2⁻³¹, 25 nHz.
const STILL: u32 = 31;

/// The period that the mean advance means, from slots of `period`.
fn pass(frames: &[Frame], period: u64) -> Option<u64> {
    let length = period >> (32 - EDGE);
    let mut slot = Slot::new(length, 0);
    let mut previous: Option<Halves> = None;
    let mut last: Option<Boundary> = None;
    let mut sum: Option<Complex<i128>> = None;
    let mut close = |slot: &mut Slot, cut: Option<&Frame>| {
        let halves = slot.close(cut, false);
        if let Some(earlier) = previous.take() {
            let sums = core::array::from_fn(|n| earlier.up[n] + halves.down[n]);
            let boundary = Boundary::new(&sums, 2 * length, false);
            if let Some(product) = last.as_ref().and_then(|last| correlation(last, &boundary)) {
                // Below 2¹¹⁵ each; 2³⁰ of them fit after the shift.
                let Complex { re, im } = sum.unwrap_or_default();
                sum = Some(Complex { re: re + (product.re >> 24), im: im + (product.im >> 24) });
            }
            last = Some(boundary);
        }
        previous = Some(halves);
        *slot = Slot::new(length, slot.exit());
    };
    for block in frames.chunks(BLOCK) {
        let mut clean = [Frame::default(); BLOCK];
        let clean = &mut clean[..block.len()];
        for (clean, frame) in clean.iter_mut().zip(block) {
            *clean = frame.clamped();
        }
        let mut rest = &*clean;
        while let Some(first) = rest.first() {
            let mut taken = slot.take(rest, false);
            if taken == 0 {
                close(&mut slot, Some(first));
                taken = slot.take(core::slice::from_ref(first), false);
            } else if slot.is_complete() {
                close(&mut slot, None);
            }
            rest = &rest[taken..];
        }
    }
    let turns = (1_i128 << 64) + i128::from(trig::angle(sum?));
    let samples = u128::from(length) << (64 + 32 - EDGE);
    Some((samples / turns.unsigned_abs()) as u64)
}
