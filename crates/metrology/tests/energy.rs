//! Energy registers against analytic truth: quadrants, reversal, power factor 0, windows.

mod common;

use common::{Channel, Random, Site};
use meterseal_metrology::{Config, DecodeError, Frame, Metrology, Nominal, Registers, Scale, Window};
use std::f64::consts::TAU;

fn run(site: &Site, cycles: f64) -> (Registers, Vec<Window>) {
    let frames = site.cycles(cycles);
    let mut metrology = Metrology::new(site.found(&frames), Registers::default()).expect("settings in range");
    let mut windows = Vec::new();
    metrology.push(&frames, &mut |window| windows.push(*window));
    windows.extend(metrology.finish());
    (*metrology.registers(), windows)
}

/// Joules (or their reactive and apparent sisters) of a register.
fn joules(quanta: u64) -> f64 {
    quanta as f64 * 3.6e-6
}

#[test]
fn energy_lands_in_its_quadrant() {
    let mut random = Random(11);
    for (quadrant, phi) in [(0, 0.6), (1, 2.5), (2, -2.4), (3, -0.7)] {
        for (rate, hertz, cycles) in [(8e3, 50.0, 10.0), (8e3, 51.3, 10.0), (10.24e3, 59.1, 200.0)] {
            let site = Site::balanced(rate, hertz, 5.0, phi).distorted(&mut random);
            let (registers, _) = run(&site, cycles);
            let seconds = site.cycles(cycles).len() as f64 / rate;
            let sum = |of: &dyn Fn(usize) -> f64| (0..3).map(of).sum::<f64>() * seconds;
            let apparent = sum(&|p| site.apparent(p));
            let active = sum(&|p| site.active(p));
            let (along, against) = if active > 0.0 {
                (registers.total_import_nanowatt_hours, registers.total_export_nanowatt_hours)
            } else {
                (registers.total_export_nanowatt_hours, registers.total_import_nanowatt_hours)
            };
            assert_eq!(against, 0);
            // The record is whole cycles only to half a sample.
            let cut = 0.5 / (rate * seconds);
            assert!(((joules(along) - active.abs()) / apparent).abs() < 2e-5 + cut);
            let reactive = sum(&|p| site.reactive(p));
            for (n, quanta) in registers.reactive_quadrants_nanovar_hours.into_iter().enumerate() {
                if n == quadrant {
                    assert!(((joules(quanta) - reactive.abs()) / apparent).abs() < 2e-5);
                } else {
                    assert_eq!(quanta, 0, "quadrant {n} for {quadrant}");
                }
            }
            let found = joules(registers.apparent_nanovoltampere_hours);
            assert!((found / apparent - 1.0).abs() < 2e-5);
        }
    }
}

#[test]
fn reactive_power_alone_is_neither_import_nor_export() {
    let mut random = Random(12);
    for rate in [1e3, 8e3] {
        for hertz in [47.6, 50.0, 50.02, 62.9] {
            for cycles in [10.0, 50.0] {
                let mut site = Site::balanced(rate, hertz, 20.0, TAU / 4.0).distorted(&mut random);
                // Harmonics of the current only: no active power at all.
                for voltage in &mut site.voltage {
                    voltage.0.truncate(1);
                }
                let (registers, _) = run(&site, cycles);
                let seconds = cycles / hertz;
                let apparent: f64 = (0..3).map(|p| site.apparent(p)).sum::<f64>() * seconds;
                // A record of ten cycles is only so to half a sample: what is cut off it is energy.
                let cut = 0.5 / (rate * seconds);
                for quanta in [
                    registers.total_import_nanowatt_hours,
                    registers.total_export_nanowatt_hours,
                    registers.sum_of_phase_imports_nanowatt_hours,
                ] {
                    let share = joules(quanta) / apparent;
                    assert!(share < 2e-5 + cut, "{rate} {hertz} {cycles}: {share}");
                }
            }
        }
    }
}

#[test]
fn a_running_meter_books_no_energy_for_reactive_power() {
    let site = Site::balanced(8e3, 49.2, 20.0, TAU / 4.0);
    let mut metrology = Metrology::new(site.config(), Registers::default()).expect("in range");
    metrology.push(&site.frames(80_000), &mut |_| ());
    let apparent = 10.0 * 3.0 * site.apparent(0);
    metrology.finish();
    let registers = metrology.registers();
    assert!(joules(registers.total_import_nanowatt_hours) < 2e-5 * apparent);
    assert!(joules(registers.total_export_nanowatt_hours) < 2e-5 * apparent);
    // Apparent energy counts from the first sample, although the first window begins once the frequency is found.
    let found = joules(registers.apparent_nanovoltampere_hours);
    assert!((found / apparent - 1.0).abs() < 2e-5);
}

#[test]
fn a_step_from_import_to_export_lands_on_both_sides() {
    let importing = Site::balanced(8e3, 50.0, 5.0, 0.0);
    let mut exporting = importing.clone();
    for current in &mut exporting.current[..3] {
        current.0[0].2 += TAU / 2.0;
    }
    let mut metrology = Metrology::new(importing.config(), Registers::default()).expect("in range");
    for n in 0..16_000 {
        let site = if n < 8_000 { &importing } else { &exporting };
        metrology.push(&[site.frame(n)], &mut |_| ());
    }
    metrology.finish();
    let registers = metrology.registers();
    let second = 3.0 * 230.0 * 5.0;
    for quanta in [registers.total_import_nanowatt_hours, registers.total_export_nanowatt_hours] {
        // The cycle in which it turns nets out: at most one cycle of fifty.
        assert!((joules(quanta) / second - 1.0).abs() < 0.01);
    }
    assert!(
        registers.total_import_nanowatt_hours.abs_diff(registers.total_export_nanowatt_hours) < 2_000_000
    );
}

#[test]
fn phases_count_on_their_own_and_together() {
    let mut site = Site::balanced(8e3, 50.0, 5.0, 0.0);
    // L2 exports twice what L1 imports; L3 has no current.
    site.current[1] = Channel::sine(10.0, site.voltage[1].0[0].2 + TAU / 2.0);
    site.current[2] = Channel::default();
    let (registers, windows) = run(&site, 100.0);
    let [l1, l2, l3] = registers.phases;
    let close = |quanta: u64, watts: f64| (joules(quanta) / (watts * 2.0) - 1.0).abs() < 1e-5;
    assert!(close(l1.import_nanowatt_hours, 1150.0) && l1.export_nanowatt_hours == 0);
    assert!(close(l2.export_nanowatt_hours, 2300.0) && l2.import_nanowatt_hours == 0);
    assert_eq!((l3.import_nanowatt_hours, l3.export_nanowatt_hours), (0, 0));
    assert!(close(registers.total_export_nanowatt_hours, 1150.0));
    assert_eq!(registers.total_import_nanowatt_hours, 0);
    assert_eq!(registers.sum_of_phase_imports_nanowatt_hours, l1.import_nanowatt_hours);
    // Windows follow each other and hold the same energy, but for the half cycles at both ends.
    for pair in windows.windows(2) {
        assert_eq!(pair[0].first_sample + pair[0].samples, pair[1].first_sample);
    }
    let shown: f64 =
        windows.iter().map(|w| w.active_power_microwatts as f64 * 1e-6 * w.samples as f64 / 8e3).sum();
    assert!((shown / (-1150.0 * 99.0 / 50.0) - 1.0).abs() < 0.02);
}

#[test]
fn stored_registers_of_another_form_are_refused() {
    let bytes = Registers::default().encode();
    assert_eq!(Registers::decode(&bytes), Ok(Registers::default()));
    assert_eq!(Registers::decode(&bytes[1..]), Err(DecodeError::Length { found: bytes.len() - 1 }));
    let mut other = bytes;
    other[0] = 2;
    assert_eq!(Registers::decode(&other), Err(DecodeError::Version { found: 2 }));
}

/// A window's apparent energy has 64 bits of magnitude: it is never below zero, so that none of them is a sign.
#[test]
fn a_window_above_two_to_the_63_nanovoltampere_hours_is_registered() {
    let scale = Scale {
        voltage_femtovolts_per_count: [Scale::MAX; 3],
        current_femtoamperes_per_count: [Scale::MAX; 4],
    };
    let rate = 1_000;
    let window_cycles = Config::WINDOW_CYCLES_MAX;
    let config = Config { window_cycles, ..Config::new(rate * 1_000_000, Nominal::Hz50, scale) };
    let mut metrology = Metrology::new(config, Registers::default()).expect("in range");
    // Almost full scale both ways at 50 Hz: 839 kV and 839 kA on one phase, for the longest window and the two cycles around it.
    let peak = Frame::FULL_SCALE - 1;
    let samples = (u64::from(window_cycles) + 2) * rate / 50;
    let mut windows = 0;
    for sample in 0..samples {
        let count = if sample % 20 < 10 { peak } else { -peak };
        let frame = Frame { voltage: [count, 0, 0], current: [count, 0, 0, 0] };
        metrology.push(&[frame], &mut |_| windows += 1);
    }
    assert_eq!(windows, 1);
    metrology.finish();
    // Counts of 0.1 V and 0.1 A, hours of 3 600 s.
    let exact = u128::from(peak.unsigned_abs()).pow(2) * u128::from(samples) * 1_000_000_000
        / (100 * u128::from(rate) * 3_600);
    let found = u128::from(metrology.registers().apparent_nanovoltampere_hours);
    assert!(found > 1 << 63, "{found}");
    assert!(found.abs_diff(exact) < exact / 1_000_000, "{found} for {exact}");
}
