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

/// Counts anywhere, and three in eight at an end of full scale or at zero; each frame from one number, so that many can be made and shrunk.
fn frames(longest: usize) -> impl Strategy<Value = Vec<Frame>> {
    let frame = any::<u64>().prop_map(|seed| {
        let mut state = seed;
        let mut count = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            match state >> 61 {
                0 => Frame::FULL_SCALE,
                1 => -Frame::FULL_SCALE,
                2 => 0,
                _ => (((state >> 32) % (1 << 24)) as i32 - (1 << 23)).max(-Frame::FULL_SCALE),
            }
        };
        Frame { voltage: core::array::from_fn(|_| count()), current: core::array::from_fn(|_| count()) }
    });
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
    fn a_billion_windows_later_every_quantum_still_counts(frames in frames(400), windows in 1_000_000_000_i128..2_000_000_000) {
        // What these frames book, a billion times and more: quanta and residue, exactly.
        let mut once = metrology(Registers::default());
        once.push(&frames, &mut |_| ());
        once.finish();
        let raw = net(&once);
        let mut registers = Registers::default();
        let (mut imported, mut exported) = (0_i128, 0_i128);
        for (number, raw) in raw.into_iter().enumerate() {
            let quantum = once.quantum(number);
            let rest = windows * (raw % quantum);
            let quanta = windows * (raw / quantum) + rest / quantum;
            registers.active_residues[number] = rest % quantum;
            let phase = &mut registers.phases[number];
            // Import and export of their own, beyond their difference.
            phase.import_nanowatt_hours = (1_i128 << 62).wrapping_add(quanta.max(0)) as u64;
            phase.export_nanowatt_hours = (1_i128 << 62).wrapping_sub(quanta.min(0)) as u64;
            imported += i128::from(phase.import_nanowatt_hours);
            exported += i128::from(phase.export_nanowatt_hours);
        }
        registers.total_import_nanowatt_hours = (imported - exported).max(0) as u64;
        registers.total_export_nanowatt_hours = (exported - imported).max(0) as u64;
        let stored = registers.encode();
        let mut later = metrology(Registers::decode(&stored).expect("just encoded"));
        later.push(&frames, &mut |_| ());
        later.finish();
        for number in 0..3 {
            let before = &registers.phases[number];
            let after = &later.registers().phases[number];
            let grown = |after: u64, before: u64| i128::from(after.wrapping_sub(before).cast_signed());
            let quanta = grown(after.import_nanowatt_hours, before.import_nanowatt_hours)
                - grown(after.export_nanowatt_hours, before.export_nanowatt_hours);
            let residue = later.registers().active_residues[number] - registers.active_residues[number];
            prop_assert_eq!(quanta * later.quantum(number) + residue, product_sums(&frames)[number]);
        }
        // The vector total is still the sum of the phases' nets, though each register may have wrapped.
        let registers = later.registers();
        let net = |import: u64, export: u64| import.wrapping_sub(export);
        let phases = registers.phases.iter().fold(0_u64, |sum, phase| {
            sum.wrapping_add(net(phase.import_nanowatt_hours, phase.export_nanowatt_hours))
        });
        prop_assert_eq!(net(registers.total_import_nanowatt_hours, registers.total_export_nanowatt_hours), phases);
    }

    #[test]
    fn no_register_depends_on_what_it_held_before(frames in frames(400), seed in any::<[u64; 8]>()) {
        // From any state, and around the wrap at 2⁶⁴, each of the 26 registers grows as from zero.
        let mut bytes = Registers::default().encode();
        for n in 0..26 {
            let value = match seed[n % 8] % 3 {
                0 => u64::MAX - seed[(n + 1) % 8] % 1000,
                1 => 10_u64.pow(18) + seed[(n + 3) % 8] % 1000,
                _ => seed[(n + 2) % 8],
            };
            bytes[2 + 8 * n..10 + 8 * n].copy_from_slice(&value.to_le_bytes());
        }
        let preset = Registers::decode(&bytes).expect("a version and a length");
        let run = |registers| {
            let mut metrology = metrology(registers);
            metrology.push(&frames, &mut |_| ());
            metrology.finish();
            metrology.registers().encode()
        };
        let (grown, from_zero) = (run(preset), run(Registers::default()));
        let register = |bytes: &[u8; Registers::ENCODED_LEN], n: usize| {
            u64::from_le_bytes(core::array::from_fn(|k| bytes[2 + 8 * n + k]))
        };
        for n in 0..26 {
            prop_assert_eq!(register(&grown, n).wrapping_sub(register(&bytes, n)), register(&from_zero, n), "register {}", n);
        }
        prop_assert_eq!(&grown[2 + 8 * 26..], &from_zero[2 + 8 * 26..], "residues");
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
