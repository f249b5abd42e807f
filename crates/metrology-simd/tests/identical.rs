//! Every bit that the fastest kernel gives is the scalar one's.

use meterseal_metrology::{
    BLOCK, Config, Extras, Frame, Kernel, Metrology, Nominal, Oscillator, Registers, Scale, Sums, Window,
};
use meterseal_metrology_simd::fastest;
use proptest::prelude::*;

const SCALE: Scale = Scale {
    voltage_femtovolts_per_count: [64_000_000_000; 3],
    current_femtoamperes_per_count: [18_000_000_000; 4],
};

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
fn outputs(kernel: Kernel, frames: &[Frame], block: usize) -> (Vec<Window>, Registers) {
    let config = Config::new(1_000_000_000, Nominal::Hz50, SCALE);
    let extras = Extras { kernel, ..Extras::default() };
    let mut metrology = Metrology::with_extras(config, extras, Registers::default()).expect("right sums");
    let mut windows = Vec::new();
    for block in frames.chunks(block) {
        metrology.push(block, &mut |window| windows.push(*window));
    }
    windows.extend(metrology.finish());
    (windows, *metrology.registers())
}

/// The sums by their definition: the first frame of *n* counts *n* times in a ramp.
fn defined(frames: &[Frame], oscillator: &mut Oscillator) -> Sums {
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
        for (q, product) in products.into_iter().enumerate() {
            sums.total[q] += product;
            sums.ramp[q] += product * (frames.len() - n) as i64;
        }
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn sums_are_those_of_the_definition(frames in frames(0..BLOCK + 1), before in 0_usize..300, step: u64, phase: u64) {
        for kernel in [Kernel::SCALAR, fastest()] {
            let mut oscillator = Oscillator::new(step >> 4, phase);
            oscillator.run(before, |range, rotation| range.for_each(|_| { rotation.next(); }));
            let mut other = oscillator.clone();
            prop_assert_eq!(kernel.sums(&frames, &mut oscillator), defined(&frames, &mut other));
            prop_assert_eq!(oscillator, other);
        }
    }

    #[test]
    fn a_core_with_the_fastest_kernel_gives_the_same_bits(frames in frames(0..1_500), block in 1_usize..300) {
        prop_assert_eq!(outputs(fastest(), &frames, block), outputs(Kernel::SCALAR, &frames, 1_000));
    }
}

#[test]
fn a_block_of_full_scale_does_not_overflow() {
    let full = Frame::FULL_SCALE;
    let frames = [Frame { voltage: [full; 3], current: [-full; 4] }; BLOCK];
    // A cosine of one throughout, and an eighth of a turn.
    for phase in [0, 1 << 61] {
        let truth = defined(&frames, &mut Oscillator::new(0, phase));
        for kernel in [Kernel::SCALAR, fastest()] {
            assert_eq!(kernel.sums(&frames, &mut Oscillator::new(0, phase)), truth);
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
    refused(Kernel::SCALAR.with_sums(|frames, oscillator| {
        let mut sums = Kernel::SCALAR.sums(frames, oscillator);
        sums.ramp[23] += i64::from(frames.len() == 61);
        sums
    }));
}

#[test]
fn a_kernel_that_leaves_the_oscillator_behind_is_refused() {
    refused(
        Kernel::SCALAR.with_sums(|frames, oscillator| Kernel::SCALAR.sums(frames, &mut oscillator.clone())),
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
