//! Energy to the last bit: what only the residues can show.

use crate::{Config, Extras, Frame, Metrology, Nominal, Registers, Scale, Thresholds};
use proptest::prelude::*;
use std::vec::Vec;

const SCALE: Scale = Scale {
    voltage_femtovolts_per_count: [64_000_000_000, 64_111_000_000, 63_999_000_000],
    current_femtoamperes_per_count: [18_000_000_000; 4],
};

/// Raw units: counts squared times samples, 20 + 32 fractional bits.
const RAW: u32 = 52;

fn metrology(registers: Registers) -> Metrology {
    Metrology::new(Config::new(1_000_000_000, Nominal::Hz50, SCALE), registers).expect("settings in range")
}

fn count() -> impl Strategy<Value = i32> {
    prop_oneof![
        4 => -Frame::FULL_SCALE..=Frame::FULL_SCALE,
        1 => Just(Frame::FULL_SCALE),
        1 => Just(-Frame::FULL_SCALE),
        1 => Just(0),
    ]
}

fn frames(longest: usize) -> impl Strategy<Value = Vec<Frame>> {
    let frame = (prop::array::uniform3(count()), prop::array::uniform4(count()))
        .prop_map(|(voltage, current)| Frame { voltage, current });
    prop::collection::vec(frame, 0..longest)
}

/// Net active energy of each phase, in raw units.
fn net(metrology: &Metrology) -> [i128; 3] {
    core::array::from_fn(|number| {
        let phase = &metrology.registers().phases[number];
        let quanta = i128::from(phase.import_nanowatt_hours) - i128::from(phase.export_nanowatt_hours);
        quanta * metrology.quantum(number) + metrology.registers().active_residues[number]
    })
}

fn product_sums(frames: &[Frame]) -> [i128; 3] {
    core::array::from_fn(|number| {
        frames
            .iter()
            .map(|frame| {
                i128::from(i64::from(frame.voltage[number]) * i64::from(frame.current[number])) << RAW
            })
            .sum()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_sample_counts_exactly_once(first in frames(200), second in frames(60)) {
        let mut metrology = metrology(Registers::default());
        metrology.push(&first, &mut |_| ());
        metrology.finish();
        prop_assert_eq!(net(&metrology), product_sums(&first));
        // A second record after a gap goes on from there.
        metrology.push(&second, &mut |_| ());
        metrology.finish();
        let all: Vec<Frame> = first.into_iter().chain(second).collect();
        prop_assert_eq!(net(&metrology), product_sums(&all));
    }

    #[test]
    fn what_a_threshold_keeps_from_the_registers_is_kept_apart(frames in frames(400), start: u64) {
        // Frames over all counts have up to 80 kW a phase.
        let start = start % 10_000_000_000 + 1;
        let thresholds = Thresholds {
            active_start_microwatts: start,
            active_stop_microwatts: start / 2,
            reactive_start_microvars: start,
            reactive_stop_microvars: start / 3,
        };
        let extras = Extras { thresholds: Some(thresholds), ..Extras::default() };
        let config = Config::new(1_000_000_000, Nominal::Hz50, SCALE);
        let mut metrology = Metrology::with_extras(config, extras, Registers::default()).expect("in range");
        metrology.push(&frames, &mut |_| ());
        metrology.finish();
        let registered = net(&metrology);
        let all = core::array::from_fn(|n| registered[n] + metrology.unregistered_raw(n));
        prop_assert_eq!(all, product_sums(&frames));
        let registers = metrology.registers();
        let total = |import: u64, export: u64| i128::from(import) - i128::from(export);
        let phases: i128 = registers
            .phases
            .iter()
            .map(|p| total(p.import_nanowatt_hours, p.export_nanowatt_hours))
            .sum();
        prop_assert_eq!(
            total(registers.total_import_nanowatt_hours, registers.total_export_nanowatt_hours),
            phases
        );
    }

    #[test]
    fn import_less_export_is_the_sum_of_the_phases_at_any_time(frames in frames(300)) {
        let mut metrology = metrology(Registers::default());
        for block in frames.chunks(13) {
            metrology.push(block, &mut |_| ());
            let registers = metrology.registers();
            let difference = |import: u64, export: u64| i128::from(import) - i128::from(export);
            let phases: i128 = registers
                .phases
                .iter()
                .map(|p| difference(p.import_nanowatt_hours, p.export_nanowatt_hours))
                .sum();
            prop_assert_eq!(
                difference(
                    registers.total_import_nanowatt_hours,
                    registers.total_export_nanowatt_hours
                ),
                phases
            );
            let imports: u64 = registers.phases.iter().map(|p| p.import_nanowatt_hours).sum();
            prop_assert_eq!(registers.sum_of_phase_imports_nanowatt_hours, imports);
            let net = |[q1, q2, q3, q4]: [u64; 4]| difference(q1 + q2, q3 + q4);
            let reactive: i128 = registers
                .phases
                .iter()
                .map(|p| net(p.reactive_quadrants_nanovar_hours))
                .sum();
            prop_assert_eq!(net(registers.reactive_quadrants_nanovar_hours), reactive);
        }
    }

    #[test]
    fn storing_the_registers_between_two_records_changes_nothing(
        first in frames(150),
        second in frames(150),
    ) {
        let mut through = metrology(Registers::default());
        through.push(&first, &mut |_| ());
        through.finish();
        let stored = through.registers().encode();
        through.push(&second, &mut |_| ());
        through.finish();
        let mut restarted = metrology(Registers::decode(&stored).expect("just encoded"));
        restarted.push(&second, &mut |_| ());
        restarted.finish();
        prop_assert_eq!(net(&through), net(&restarted));
    }

    #[test]
    fn any_bytes_of_the_right_length_and_version_are_registers(
        mut bytes in prop::collection::vec(any::<u8>(), Registers::ENCODED_LEN),
        frames in frames(100),
    ) {
        bytes[..2].copy_from_slice(&Registers::VERSION.to_le_bytes());
        let registers = Registers::decode(&bytes).expect("any value is one");
        prop_assert_eq!(registers.encode().to_vec(), bytes);
        let mut metrology = metrology(registers);
        metrology.push(&frames, &mut |_| ());
        metrology.finish();
    }
}
