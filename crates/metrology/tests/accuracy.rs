//! Accuracy of finite records and of a running meter against analytic truth.

mod common;

use common::{Channel, Errors, Random, Site};
use meterseal_metrology::{Config, Frame, Metrology, Registers, Window};
use std::f64::consts::TAU;

const RATES: [f64; 7] = [1e3, 2e3, 4e3, 8e3, 10.24e3, 30.707e3, 100e3];
const FREQUENCIES: [f64; 13] =
    [47.5, 48.9, 49.95, 50.0, 50.013, 50.17, 51.1, 52.5, 57.0, 58.7, 60.0, 60.02, 63.0];

fn measure(config: Config, frames: &[Frame]) -> (Vec<Window>, Metrology) {
    let mut metrology = Metrology::new(config, Registers::default()).expect("settings in range");
    let mut windows = Vec::new();
    metrology.push(frames, &mut |window| windows.push(*window));
    windows.extend(metrology.finish());
    (windows, metrology)
}

/// All of them, fewer where a record is long.
fn some_frequencies(rate: f64) -> impl Iterator<Item = f64> {
    FREQUENCIES.into_iter().step_by(if rate > 2e4 { 5 } else { 1 })
}

/// The worst errors of ten-cycle records in all quadrants at one rate.
fn ten_cycles(rate: f64, random: &mut Random, shape: impl Fn(Site, &mut Random) -> Site) -> Errors {
    let mut worst = Errors::default();
    for hertz in some_frequencies(rate) {
        for quarter in 0..8 {
            let phi = f64::from(quarter) * TAU / 8.0;
            let site = shape(Site::balanced(rate, hertz, 5.0, phi), random);
            for cycles in [10.0, 11.3] {
                let frames = site.cycles(cycles);
                let (windows, _) = measure(site.found(&frames), &frames);
                let errors = site.errors(&windows[0]);
                worst = worst.worst(errors);
            }
        }
    }
    worst
}

#[test]
fn ten_cycles_are_enough_at_every_rate_frequency_and_quadrant() {
    let mut random = Random(1);
    for rate in RATES {
        let worst = ten_cycles(rate, &mut random, |site, random| site.distorted(random));
        println!("{rate} Hz: {worst:?}");
        assert!(worst.rms < 2e-4 && worst.active < 2e-4 && worst.reactive < 2e-4);
        assert!(worst.millihertz < 1.0);
        if rate >= 8e3 {
            assert!(worst.rms < 5e-6 && worst.active < 5e-6 && worst.reactive < 5e-6);
            assert!(worst.millihertz < 0.05);
        }
    }
}

#[test]
fn a_lost_phase_or_two_change_nothing_for_the_others() {
    let mut random = Random(2);
    for lost in [&[2][..], &[0], &[0, 1], &[1, 2]] {
        let worst = ten_cycles(8e3, &mut random, |site, random| {
            let mut site = site.distorted(random);
            for phase in lost {
                site.voltage[*phase] = Channel::default();
                site.current[*phase] = Channel::default();
            }
            site
        });
        println!("lost {lost:?}: {worst:?}");
        assert!(worst.rms < 5e-6 && worst.active < 5e-6 && worst.reactive < 5e-6);
        assert!(worst.millihertz < 0.05);
    }
}

#[test]
fn a_running_meter_finds_the_frequency_itself() {
    let mut random = Random(3);
    for rate in [1e3, 8e3, 100e3] {
        for hertz in some_frequencies(rate) {
            let site = Site::balanced(rate, hertz, 5.0, 0.7).distorted(&mut random);
            let (windows, _) = measure(site.config(), &site.cycles(80.0));
            let worst =
                windows[1..].iter().map(|window| site.errors(window)).fold(Errors::default(), Errors::worst);
            let first = site.errors(&windows[0]);
            println!("{rate} Hz, {hertz} Hz: first {first:?} then {worst:?}");
            // A supply within 1/256 of the nominal is no jump: the first window keeps its first boundaries.
            let start = if rate < 8e3 { 1e-4 } else { 5e-5 };
            assert!(first.rms < start && first.active < start && first.reactive < start);
            assert!(first.millihertz < 0.05);
            let limit = if rate < 8e3 { 1e-4 } else { 1e-6 };
            assert!(worst.rms < limit && worst.active < limit && worst.reactive < limit);
            assert!(worst.millihertz < 0.05);
        }
    }
}

#[test]
fn distortion_of_a_pure_sine_is_nothing() {
    for rate in RATES {
        let mut worst = 0;
        for hertz in FREQUENCIES {
            let site = Site::balanced(rate, hertz, 5.0, 0.7);
            let frames = site.cycles(25.0);
            let (windows, _) = measure(site.found(&frames), &frames);
            worst = windows[0].phases.iter().map(|p| p.voltage_thd_ppm).fold(worst, u32::max);
            worst = windows[0].phases.iter().map(|p| p.current_thd_ppm).fold(worst, u32::max);
        }
        println!("{rate} Hz: THD {worst} ppm");
        assert!(rate < 8e3 || worst < 500);
    }
}
