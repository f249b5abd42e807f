//! IEC 62053-22: starting current and no-load condition; hysteresis; what is below is not registered but known.

mod common;

use common::{AMPERES, Channel, Random, Site, VOLTS};
use meterseal_metrology::{Extras, Frame, Metrology, Registers, Thresholds};
use std::f64::consts::TAU;

/// The reference meter: 230 V, 5 A.
const THRESHOLDS: Thresholds = Thresholds::class_0_2_s(230_000, 5_000);

fn metrology(site: &Site, thresholds: Option<Thresholds>) -> Metrology {
    let extras = Extras { thresholds, ..Extras::default() };
    Metrology::with_extras(site.config(), extras, Registers::default()).expect("in range")
}

/// Frames with the noise of a front end of 101 dB: 53 counts RMS, as a uniform one of that width, and a cross-talk of 5 counts.
fn noisy(site: &Site, frames: usize, random: &mut Random) -> Vec<Frame> {
    let mut frames = site.frames(frames);
    for frame in &mut frames {
        let mut noise = || (random.next() % 184) as i32 - 92;
        frame.voltage = frame.voltage.map(|count| count + noise());
        frame.current = frame.current.map(|count| count + noise());
        for number in 0..3 {
            frame.current[number] += frame.voltage[number] / 1_000_000;
        }
    }
    frames
}

fn joules(quanta: u64) -> f64 {
    quanta as f64 * 3.6e-6
}

#[test]
fn starts_at_a_thousandth_of_the_rated_current() {
    let mut random = Random(41);
    for (volts, phi) in [(230.0, 0.0), (0.8 * 230.0, 0.0), (230.0, TAU / 2.0)] {
        let mut site = Site::balanced(8e3, 50.0, 0.005, phi);
        for voltage in &mut site.voltage {
            voltage.0[0].1 = volts;
        }
        let mut metrology = metrology(&site, Some(THRESHOLDS));
        metrology.push(&noisy(&site, 80_000, &mut random), &mut |_| ());
        metrology.finish();
        assert_eq!(metrology.started().active, [true; 3]);
        assert_eq!(metrology.started().reactive, [false; 3]);
        let registers = metrology.registers();
        let (along, against) = if phi == 0.0 {
            (registers.total_import_nanowatt_hours, registers.total_export_nanowatt_hours)
        } else {
            (registers.total_export_nanowatt_hours, registers.total_import_nanowatt_hours)
        };
        assert_eq!(against, 0);
        // The noise itself is worth a per cent here.
        assert!((joules(along) / (3.0 * volts * 0.005 * 10.0) - 1.0).abs() < 0.02);
        assert_eq!(registers.reactive_quadrants_nanovar_hours, [0; 4]);
    }
    // Reactive energy starts on its own.
    let site = Site::balanced(8e3, 50.0, 0.005, TAU / 4.0);
    let mut metrology = metrology(&site, Some(THRESHOLDS));
    metrology.push(&site.frames(16_000), &mut |_| ());
    assert_eq!((metrology.started().active, metrology.started().reactive), ([false; 3], [true; 3]));
    assert_eq!(metrology.registers().total_import_nanowatt_hours, 0);
    assert!(metrology.registers().reactive_import_nanovar_hours() > 0);
}

#[test]
fn stands_still_without_current_at_115_per_cent_of_voltage() {
    let mut random = Random(42);
    let mut site = Site::balanced(8e3, 50.0, 0.0, 0.0);
    for (number, voltage) in site.voltage.iter_mut().enumerate() {
        *voltage = Channel::sine(1.15 * 230.0, -TAU * number as f64 / 3.0);
    }
    let frames = noisy(&site, 80_000, &mut random);
    let mut metrology_with = metrology(&site, Some(THRESHOLDS));
    metrology_with.push(&frames, &mut |_| ());
    metrology_with.finish();
    assert_eq!(*metrology_with.registers(), Registers::default());
    // It is there, and known: noise and five counts of cross-talk at 5 000 000 counts of voltage.
    let crosstalk = 1.15 * 230.0 * (1.15 * 230.0 / VOLTS / 1e6 * AMPERES) * 10.0;
    for quanta in metrology_with.unregistered().active_nanowatt_hours {
        assert!((quanta as f64 * 3.6e-6 / crosstalk - 1.0).abs() < 0.5, "{quanta} {crosstalk}");
    }
    // Without thresholds the same frames creep.
    let mut without = metrology(&site, None);
    without.push(&frames, &mut |_| ());
    assert!(without.registers().total_import_nanowatt_hours > 0);
    assert_eq!(without.started().active, [true; 3]);
}

#[test]
fn between_stop_and_start_a_phase_stays_as_it_was() {
    let mut site = Site::balanced(8e3, 50.0, 0.0, 0.0);
    let mut metrology = metrology(&site, Some(THRESHOLDS));
    let mut states = Vec::new();
    // Start 0.69 W, stop 0.46 W: 3.0 mA and 2.0 mA.
    for milliamperes in [2.5, 2.9, 3.1, 2.5, 2.1, 1.9, 2.5, 3.1, 0.0] {
        for number in 0..3 {
            let angle = site.voltage[number].0[0].2;
            // L2 alone carries it.
            let amperes = if number == 1 { milliamperes * 1e-3 } else { 0.0 };
            site.current[number] = Channel::sine(amperes, angle);
        }
        metrology.push(&site.frames(1_600), &mut |_| ());
        let [l1, l2, l3] = metrology.started().active;
        assert!(!l1 && !l3);
        states.push(l2);
    }
    assert_eq!(states, [false, false, true, true, true, false, false, true, false]);
    let registers = metrology.registers();
    assert_eq!(registers.total_import_nanowatt_hours, registers.phases[1].import_nanowatt_hours);
    // 3.1, 2.5, 2.1 and 3.1 mA for 0.2 s each; a change is seen in the cycle after it.
    let expected = 230.0 * 10.8e-3 * 0.2;
    assert!((joules(registers.total_import_nanowatt_hours) / expected - 1.0).abs() < 0.1);
}

#[test]
fn thresholds_out_of_range_name_the_field() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.0);
    let refused = |thresholds| {
        let extras = Extras { thresholds: Some(thresholds), ..Extras::default() };
        let error =
            Metrology::with_extras(site.config(), extras, Registers::default()).expect_err("out of range");
        error.field
    };
    let good = THRESHOLDS;
    assert_eq!(refused(Thresholds { active_start_microwatts: 0, ..good }), "active_start_microwatts");
    let over = good.active_start_microwatts + 1;
    assert_eq!(refused(Thresholds { active_stop_microwatts: over, ..good }), "active_stop_microwatts");
    let over = Thresholds::MAX + 1;
    assert_eq!(refused(Thresholds { reactive_start_microvars: over, ..good }), "reactive_start_microvars");
    let over = good.reactive_start_microvars + 1;
    assert_eq!(refused(Thresholds { reactive_stop_microvars: over, ..good }), "reactive_stop_microvars");
}
