//! Every bit that the fastest kernel gives is the scalar one's.

use meterseal_metrology::{
    BLOCK, Calibration, Config, Extras, Frame, Kernel, Metrology, Nominal, Oscillator, Registers, Scale,
    Sums, Window,
};
use meterseal_metrology_simd::{avx2, sse2};
use proptest::prelude::*;

const SCALE: Scale = Scale {
    voltage_femtovolts_per_count: [64_000_000_000; 3],
    current_femtoamperes_per_count: [18_000_000_000; 4],
};

/// All that this processor can run.
fn kernels() -> impl Iterator<Item = Kernel> {
    [Some(Kernel::SCALAR), sse2(), avx2()].into_iter().flatten()
}

fn count() -> impl Strategy<Value = i32> {
    let full = Frame::FULL_SCALE;
    prop_oneof![6 => -full..=full, 1 => Just(full), 1 => Just(-full), 1 => Just(0)]
}

fn frames(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Frame>> {
    let frame = (prop::array::uniform3(count()), prop::array::uniform4(count()))
        .prop_map(|(voltage, current)| Frame { voltage, current });
    prop::collection::vec(frame, lengths)
}

/// Everything that a core gives.
fn outputs(kernel: Kernel, calibrated: bool, frames: &[Frame], block: usize) -> (Vec<Window>, Registers) {
    let config = Config::new(1_000_000_000, Nominal::Hz50, SCALE);
    let mut record = Calibration::nothing(*b"KERNELS\0\0\0\0\0\0\0\0\0");
    for (n, channel) in (0..).zip(&mut record.channels) {
        channel.offset_millicounts.constant = 123_456 - 50_001 * n;
        channel.delay_picoseconds.constant = 5_000_017 * (n - 3);
    }
    let calibration = calibrated.then_some(Ok(record));
    let extras = Extras { kernel, calibration, ..Extras::default() };
    let mut metrology = Metrology::with_extras(config, extras, Registers::default()).expect("right sums");
    let mut windows = Vec::new();
    for block in frames.chunks(block) {
        metrology.push(block, &mut |window| windows.push(*window));
    }
    windows.extend(metrology.finish());
    (windows, *metrology.registers())
}

/// The sums by their definition: the first frame of *n* counts *n* times in a ramp.
fn defined(frames: &[Frame], first: usize, oscillator: &mut Oscillator) -> Sums {
    let mut turns = Vec::new();
    oscillator.run(frames.len(), |range, rotation| turns.extend(range.map(|_| rotation.next())));
    let mut sums = Sums::default();
    for (n, frame) in frames.iter().enumerate() {
        let (c, s) = (i64::from(turns[n].0), i64::from(turns[n].1));
        let mut products = Vec::new();
        for phase in 0..3 {
            let (v, i) = (i64::from(frame.voltage[phase]), i64::from(frame.current[phase]));
            products.extend([v * v, i * i, v * i, v * c, v * s, i * c, i * s]);
        }
        let i = i64::from(frame.current[3]);
        products.extend([i * i, i * c, i * s]);
        if n < first {
            let squares = frame.voltage.iter().chain(&frame.current).map(|count| i64::from(*count).pow(2));
            sums.squares.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
        }
        for (q, product) in products.into_iter().enumerate() {
            sums.total[q] += product;
            sums.ramp[q] += product * (frames.len() - n) as i64;
        }
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn sums_are_those_of_the_definition(frames in frames(0..BLOCK + 1), first: usize, before in 0_usize..300, step: u64, phase: u64) {
        let first = first % (BLOCK + 9);
        for kernel in kernels() {
            let mut oscillator = Oscillator::new(step >> 4, phase);
            oscillator.run(before, |range, rotation| range.for_each(|_| { rotation.next(); }));
            let mut other = oscillator.clone();
            let sums = kernel.sums(&frames, first, &mut oscillator);
            prop_assert_eq!(sums, defined(&frames, first, &mut other));
            prop_assert_eq!(oscillator, other);
        }
    }

    #[test]
    fn every_kernel_gives_the_same_bits(frames in frames(0..1_500), block in 1_usize..300, calibrated: bool) {
        let truth = outputs(Kernel::SCALAR, calibrated, &frames, 1_000);
        for kernel in kernels() {
            prop_assert_eq!(outputs(kernel, calibrated, &frames, block), truth.clone());
        }
    }

    #[test]
    fn every_kernel_sees_what_is_clipped(mut frames in frames(1..40), at: usize, channel in 0_usize..7, count: i32, scale in 0_u32..9) {
        // Few counts clip, so that one more decides.
        for frame in &mut frames {
            let below = |count: &mut i32| *count /= 2;
            frame.voltage.iter_mut().chain(&mut frame.current).for_each(below);
        }
        let at = at % frames.len();
        let count = count >> scale;
        match channel {
            0..3 => frames[at].voltage[channel] = count,
            _ => frames[at].current[channel - 3] = count,
        }
        let clipped = count.unsigned_abs() >= Frame::FULL_SCALE.unsigned_abs();
        for kernel in kernels() {
            prop_assert_eq!(kernel.any_clipped(&frames), clipped);
        }
    }
}

#[test]
fn a_block_of_full_scale_does_not_overflow() {
    let full = Frame::FULL_SCALE;
    let frames = [Frame { voltage: [full; 3], current: [-full; 4] }; BLOCK];
    // A cosine of one throughout, and an eighth of a turn.
    for phase in [0, 1 << 61] {
        let truth = defined(&frames, 200, &mut Oscillator::new(0, phase));
        for kernel in kernels() {
            assert_eq!(kernel.sums(&frames, 200, &mut Oscillator::new(0, phase)), truth);
        }
    }
}

fn refused(kernel: Kernel) {
    let config = Config::new(1_000_000_000, Nominal::Hz50, SCALE);
    let extras = Extras { kernel, ..Extras::default() };
    let error = Metrology::with_extras(config, extras, Registers::default()).expect_err("a wrong result");
    assert!(error.field.contains("kernel"));
}

#[test]
fn a_kernel_with_a_wrong_sum_is_refused() {
    refused(Kernel::SCALAR.with_sums(|frames, first, oscillator| {
        let mut sums = Kernel::SCALAR.sums(frames, first, oscillator);
        sums.ramp[23] += i64::from(frames.len() == 61);
        sums
    }));
}

#[test]
fn a_kernel_with_a_wrong_sum_of_its_first_squares_is_refused() {
    refused(Kernel::SCALAR.with_sums(|frames, first, oscillator| {
        Kernel::SCALAR.sums(frames, first.min(frames.len() - 1), oscillator)
    }));
}

#[test]
fn a_kernel_that_leaves_the_oscillator_behind_is_refused() {
    refused(
        Kernel::SCALAR.with_sums(|frames, first, oscillator| {
            Kernel::SCALAR.sums(frames, first, &mut oscillator.clone())
        }),
    );
}

#[test]
fn a_kernel_that_overlooks_a_clipped_count_is_refused() {
    // The one magnitude that has no positive counterpart.
    refused(Kernel::SCALAR.with_clip_check(|frames| {
        let counts = frames.iter().flat_map(|frame| frame.voltage.iter().chain(&frame.current));
        counts.clone().all(|count| *count != i32::MIN)
            && counts.clone().any(|count| count.unsigned_abs() >= Frame::FULL_SCALE.unsigned_abs())
    }));
}
