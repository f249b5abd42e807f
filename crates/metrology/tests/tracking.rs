//! A supply that does not stand still: ramps, phase steps, dips, noise.

mod common;

use common::{Random, Site};
use meterseal_metrology::{Frame, Metrology, Registers, Window};

const RATE: f64 = 8e3;

fn site() -> Site {
    Site::balanced(RATE, 50.0, 5.0, 0.7).distorted(&mut Random(21))
}

/// Two seconds of `site` with its own phase over time and a change of each frame.
fn windows(site: &Site, turns: impl Fn(f64) -> f64, mut change: impl FnMut(f64, &mut Frame)) -> Vec<Window> {
    let mut metrology = Metrology::new(site.config(), Registers::default()).expect("in range");
    let mut windows = Vec::new();
    for n in 0..16_000 {
        let seconds = (f64::from(n) + 0.5) / RATE;
        let mut frame = site.frame_at(turns(seconds));
        change(seconds, &mut frame);
        metrology.push(&[frame], &mut |window| windows.push(*window));
    }
    windows
}

fn end(window: &Window) -> f64 {
    (window.first_sample + window.samples) as f64 / RATE
}

#[test]
fn a_ramp_of_one_hertz_a_second_costs_no_accuracy() {
    let site = site();
    let found = windows(&site, |t| 50.0 * t + 0.5 * t * t, |_, _| ());
    assert!(found.len() >= 9);
    for window in &found {
        let errors = site.errors(window);
        assert!(errors.rms < 2e-5 && errors.active < 2e-5 && errors.reactive < 2e-5, "{errors:?}");
    }
    for window in &found[1..] {
        // The mean over ten cycles, whose middle is half a cycle before the window's.
        let middle = end(window) - window.samples as f64 / RATE / 2.0 - 0.01;
        let error = window.frequency_microhertz.expect("a supply") as f64 * 1e-6 - (50.0 + middle);
        assert!(error.abs() < 1e-3, "{error}");
    }
}

#[test]
fn a_phase_step_is_forgotten_after_two_windows() {
    let site = site();
    let step = 1.003;
    let found = windows(&site, |t| 50.0 * t + if t > step { 1.0 / 12.0 } else { 0.0 }, |_, _| ());
    for window in &found {
        let start = window.first_sample as f64 / RATE;
        let errors = site.errors(window);
        if end(window) < step - 0.02 || start > step + 0.2 {
            assert!(errors.rms < 1e-6 && errors.active < 1e-6 && errors.reactive < 1e-6);
            assert!(errors.millihertz < 0.05, "{start}: {errors:?}");
        } else {
            assert!(errors.rms < 1e-2 && errors.active < 2e-2 && errors.reactive < 2e-2);
            assert!(errors.millihertz < 500.0);
        }
    }
}

#[test]
fn a_window_says_that_the_supply_jumped() {
    let site = site();
    let step = 1.003;
    let jump =
        |degrees: f64| windows(&site, |t| 50.0 * t + if t > step { degrees / 360.0 } else { 0.0 }, |_, _| ());
    let cut = |phase: usize, factor: i32| {
        windows(
            &site,
            |t| 50.0 * t,
            |t, frame| {
                if t > step {
                    frame.voltage[phase] = frame.voltage[phase] * factor / 100;
                }
            },
        )
    };
    let hertz = |after: f64| windows(&site, |t| 50.0 * t + (after - 50.0) * (t - step).max(0.0), |_, _| ());
    for found in [jump(5.0), jump(-30.0), jump(180.0), cut(0, 0), cut(2, 30), hertz(50.5), hertz(48.0)] {
        let disturbed: Vec<f64> = found.iter().filter(|w| w.disturbed).map(end).collect();
        // The window of the step, and those whose first cycles still see it.
        assert!((1..=2).contains(&disturbed.len()), "{disturbed:?}");
        assert!(disturbed.iter().all(|end| (step..step + 0.42).contains(end)), "{disturbed:?}");
    }
    // What a supply does every day is no disturbance.
    for found in [jump(0.2), cut(1, 95), hertz(50.05), windows(&site, |t| 50.0 * t + 0.25 * t * t, |_, _| ())]
    {
        assert!(found.iter().all(|window| !window.disturbed));
    }
}

#[test]
fn a_dip_does_not_disturb_the_frequency() {
    let site = site();
    let dip = 0.803..1.11;
    let found = windows(
        &site,
        |t| 50.0 * t,
        |t, frame| {
            if dip.contains(&t) {
                frame.voltage = frame.voltage.map(|count| count / 2);
            }
        },
    );
    for window in &found {
        assert!(site.errors(window).millihertz < 5.0);
        if window.first_sample as f64 / RATE > dip.end + 0.02 {
            assert!(site.errors(window).active < 1e-6);
        }
    }
}

#[test]
fn noise_of_a_sixteen_bit_front_end_stays_noise() {
    let site = site();
    let mut random = Random(22);
    let mut noise = move || (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
    let found = windows(
        &site,
        |t| 50.0 * t,
        |_, frame| {
            for count in frame.voltage.iter_mut().chain(&mut frame.current) {
                // One step of 16 bits is 256 counts; its rounding has 74 counts RMS.
                *count += (noise() * 74.0).round() as i32;
            }
        },
    );
    for window in &found {
        let errors = site.errors(window);
        assert!(errors.rms < 5e-5 && errors.active < 5e-5 && errors.reactive < 5e-5, "{errors:?}");
        assert!(errors.millihertz < 0.05);
    }
}
