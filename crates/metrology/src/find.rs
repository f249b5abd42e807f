//! The supply frequency of a finite record, found by measuring it again until the frequency stands still.

use crate::{
    Config, Frame, Nominal, Period,
    boundary::Boundary,
    kernel::{self, BLOCK},
    period::{FREQUENCY_MAX_MICROHERTZ, FREQUENCY_MIN_MICROHERTZ},
    slot::{EDGE, Halves, Slot},
    tracker::correlation,
    trig::{self, Complex},
};

/// The nominal frequency (50 Hz below 55 Hz) and the cycle length of a finite record.
///
/// It runs the meter's own slots over the frames, takes the frequency from the mean advance of the voltages'
/// fundamentals, and repeats until that stands still: three to six passes. A record of less than three cycles is divided into slots of half a cycle,
/// which see even harmonics and DC as the fundamental: with 1 % of second harmonic the frequency is then good to about 0.2 %.
///
/// `None` where no voltage has a fundamental of 40 to 70 Hz, where the record is shorter than one and a half of its cycles, and for a sampling rate
/// outside 1 to 100 kHz.
pub fn find_period(sample_rate_microhertz: u64, frames: &[Frame]) -> Option<(Nominal, Period)> {
    let rates = Config::SAMPLE_RATE_MIN_MICROHERTZ..=Config::SAMPLE_RATE_MAX_MICROHERTZ;
    if !rates.contains(&sample_rate_microhertz) {
        return None;
    }
    let at = |microhertz| Period::from_frequency(sample_rate_microhertz, microhertz).to_bits();
    let range = (at(FREQUENCY_MAX_MICROHERTZ), at(FREQUENCY_MIN_MICROHERTZ));
    let guess = at(FIRST_GUESS_MICROHERTZ);
    let period = settle(frames, guess, Cut::Cycles, range).or_else(|| {
        let rough = settle(frames, range.0, Cut::HalfCycles, range)?;
        settle(frames, rough, Cut::Cycles, range).or(Some(rough))
    })?;
    // What only the clamp holds inside the range is not a supply.
    if period == range.0 || period == range.1 {
        return None;
    }
    let period = Period::from_bits(period);
    let nominal = Nominal::nearest(period.frequency_microhertz(sample_rate_microhertz));
    Some((nominal, period))
}

/// Between the ends of 40 to 70 Hz, where both are within half a turn a cycle.
const FIRST_GUESS_MICROHERTZ: u64 = 55_000_000;
const PASSES: usize = 12;
/// Relative change that is no longer worth a pass: 2⁻³¹, 25 nHz.
const STILL: u32 = 31;

/// How long a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Cycles,
    HalfCycles,
}

/// Repeats passes until the period stands still.
fn settle(frames: &[Frame], guess: u64, cut: Cut, (shortest, longest): (u64, u64)) -> Option<u64> {
    let mut period = guess;
    for _ in 0..PASSES {
        let better = pass(frames, period, cut)?.clamp(shortest, longest);
        let change = better.abs_diff(period);
        period = better;
        if change <= period >> STILL {
            break;
        }
    }
    Some(period)
}

/// The period that the mean advance means, with slots of `period` or half of it. `None` with less than two boundaries or without a voltage.
fn pass(frames: &[Frame], period: u64, cut: Cut) -> Option<u64> {
    let cycle = period >> (32 - EDGE);
    let length = match cut {
        Cut::Cycles => cycle,
        Cut::HalfCycles => cycle / 2,
    };
    let mut advances = Advances { cut, ..Advances::default() };
    let mut slot = Slot::of_cycle(cycle, length, 0);
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
                advances.add(slot.close(Some(first), false));
                slot = Slot::of_cycle(cycle, length, slot.exit());
                taken = slot.take(core::slice::from_ref(first), false);
            } else if slot.is_complete() {
                advances.add(slot.close(None, false));
                slot = Slot::of_cycle(cycle, length, 0);
            }
            rest = &rest[taken..];
        }
    }
    let turns = advances.mean_turns()?;
    Some(((u128::from(length) << (64 + 32 - EDGE)) / turns) as u64)
}

/// The sum of the fundamental's advances from boundary to boundary.
#[derive(Debug)]
struct Advances {
    cut: Cut,
    previous: Option<Halves>,
    last: Option<Boundary>,
    sum: Option<Complex<i128>>,
}

impl Default for Advances {
    fn default() -> Self {
        Self { cut: Cut::Cycles, previous: None, last: None, sum: None }
    }
}

impl Advances {
    fn add(&mut self, halves: Halves) {
        let Some(earlier) = self.previous.replace(halves) else {
            return;
        };
        let Some(later) = &self.previous else {
            return;
        };
        let sums = core::array::from_fn(|n| {
            // The oscillator of the earlier slot has turned by half a turn at the end of half a cycle.
            let turned = self.cut == Cut::HalfCycles && kernel::is_demodulated(n);
            let up = if turned { -earlier.up[n] } else { earlier.up[n] };
            up + later.down[n]
        });
        let boundary = Boundary::new(&sums, earlier.length + later.length, false);
        let product = self.last.as_ref().and_then(|last| correlation(last, &boundary));
        if let Some(product) = product {
            // Below 2¹¹⁵ each; 2³⁶ of them fit after the shift.
            let Complex { re, im } = self.sum.unwrap_or_default();
            self.sum = Some(Complex { re: re + (product.re >> 24), im: im + (product.im >> 24) });
        }
        self.last = Some(boundary);
    }

    /// Turns from boundary to boundary, 64 fractional bits.
    fn mean_turns(&self) -> Option<u128> {
        let Complex { re, im } = self.sum?;
        let turns = match self.cut {
            Cut::Cycles => (1 << 64) + i128::from(trig::angle(Complex { re, im })),
            // Seen from half a turn; no supply can turn back or stand still here.
            Cut::HalfCycles => {
                let beyond = i128::from(trig::angle(Complex { re: -re, im: -im }));
                ((1 << 63) + beyond).max(1 << 60)
            }
        };
        Some(turns.unsigned_abs())
    }
}
