//! Each effect on its own, seen from outside: through frames and thermometer.

use super::*;
use meterseal_metrology::Frame;

/// Magnitude of the fundamental in counts and its phase in radians, over whole cycles at 50 Hz of the nominal rate.
fn phasor(unit: &mut Unit, load: &LoadPoint, pick: impl Fn(&Frame) -> i32) -> Complex {
    let mut signal = unit.signal(load, 0.0);
    let mut frames = vec![Frame::default(); 8000];
    signal.fill(&mut frames);
    frames.iter().enumerate().fold(Complex::default(), |sum, (n, frame)| {
        let angle = std::f64::consts::TAU * 50.0 * n as f64 * signal.seconds_per_frame();
        sum + Complex::polar(f64::from(pick(frame)) / 4000.0, -angle)
    })
}

fn only(change: impl Fn(&mut Effects)) -> Unit {
    let mut effects = Effects::NONE;
    change(&mut effects);
    Unit::draw(7, Sensor::Transformer, &Tolerances::REFERENCE, effects)
}

fn load() -> LoadPoint {
    LoadPoint::balanced(50.0, 230.0, 5.0, 0.0)
}

const V1: fn(&Frame) -> i32 = |frame| frame.voltage[0];
const I1: fn(&Frame) -> i32 = |frame| frame.current[0];

/// `|V·I|` and the angle from current to voltage, relative to the ideal front end.
fn error(unit: &mut Unit, load: &LoadPoint) -> (f64, f64) {
    let mut ideal = only(|_| ());
    let product = |unit: &mut Unit| {
        let (v, i) = (phasor(unit, load, V1), phasor(unit, load, I1));
        v * i.conj()
    };
    let ratio = product(unit) / product(&mut ideal);
    (ratio.re.hypot(ratio.im) - 1.0, ratio.angle())
}

#[test]
fn an_ideal_front_end_gives_the_name_plate() {
    let volts = phasor(&mut only(|_| ()), &load(), V1);
    let expected = 230.0 * 2f64.sqrt() / 800.0 * f64::from(Frame::FULL_SCALE);
    assert!((volts.re / expected - 1.0).abs() < 1e-6 && volts.im.abs() < 1.0, "{volts:?} {expected}");
}

#[test]
fn a_seed_gives_the_same_frames_and_another_seed_others() {
    let frames = |seed| {
        let mut unit = Unit::draw(seed, Sensor::Transformer, &Tolerances::REFERENCE, Effects::ALL);
        let mut frames = vec![Frame::default(); 500];
        unit.signal(&load(), 0.0).fill(&mut frames);
        frames
    };
    assert_eq!(frames(1), frames(1));
    assert_ne!(frames(1), frames(2));
}

#[test]
fn each_linear_effect_acts_on_its_own() {
    // Magnitude within what its tolerances allow, and more than nothing.
    type Switch = fn(&mut Effects);
    let gains: [(&str, Switch, f64); 4] = [
        ("reference", |e| e.reference = true, 2.1e-3),
        ("divider", |e| e.divider = true, 2.1e-3),
        ("burden", |e| e.burden = true, 1.1e-3),
        ("sensor", |e| e.sensor = true, 2.6e-3),
    ];
    for (name, switch, most) in gains {
        let (gain, _) = error(&mut only(switch), &load());
        assert!(gain.abs() > 1e-6 && gain.abs() < most, "{name}: {gain}");
    }
    let angles: [(&str, Switch, f64); 3] = [
        ("sensor", |e| e.sensor = true, 3.6e-3),
        ("skew", |e| e.skew = true, 3.2e-4),
        ("filter", |e| e.filter = true, 3e-4),
    ];
    for (name, switch, most) in angles {
        let (_, angle) = error(&mut only(switch), &load());
        assert!(angle.abs() > 1e-7 && angle.abs() < most, "{name}: {angle}");
    }
}

#[test]
fn temperature_moves_gains_within_their_coefficients() {
    let mut unit = only(|effects| effects.reference = true);
    let cold = error(&mut unit, &load()).0;
    unit.settle(85.0, &load());
    let warm = error(&mut unit, &load()).0;
    // Twice 10 ppm/K and 0.04 ppm/K² over 62 K: 0.155 %.
    assert!((warm - cold).abs() > 1e-5 && (warm - cold).abs() < 1.6e-3, "{cold} {warm}");
}

#[test]
fn a_transformer_leads_most_at_small_currents_and_passes_no_dc() {
    let mut unit = only(|effects| effects.sensor = true);
    let at = |unit: &mut Unit, amperes| error(unit, &LoadPoint::balanced(50.0, 230.0, amperes, 0.0)).1;
    let (small, large) = (at(&mut unit, 0.5), at(&mut unit, 80.0));
    assert!(small < large && large < 0.0, "{small} {large}");
    let mean = |unit: &mut Unit| {
        let mut frames = vec![Frame::default(); 1600];
        unit.signal(&LoadPoint::half_wave(50.0, 230.0, 20.0), 0.0).fill(&mut frames);
        frames.iter().map(|frame| f64::from(frame.current[0])).sum::<f64>() / 1600.0
    };
    let ideal = mean(&mut only(|_| ()));
    assert!(ideal > 300_000.0, "{ideal}");
    assert!(mean(&mut unit).abs() < 100.0);
}

#[test]
fn remanence_depends_on_what_came_before() {
    let mut unit = only(|effects| (effects.sensor, effects.hysteresis) = (true, true));
    let small = LoadPoint::balanced(50.0, 230.0, 1.0, 0.0);
    let large = LoadPoint::balanced(50.0, 230.0, 50.0, 0.0);
    let fresh = error(&mut unit, &small).1;
    error(&mut unit, &large);
    let after = error(&mut unit, &small).1;
    assert!((fresh - after).abs() > 1e-6, "{fresh} {after}");
}

#[test]
fn offset_noise_crosstalk_and_curvature_are_seen_where_they_should_be() {
    let still = LoadPoint::unbalanced(50.0, [230.0; 3], [0.0; 3], 0.0);
    let frames = |mut unit: Unit, load: &LoadPoint| {
        let mut frames = vec![Frame::default(); 8000];
        unit.signal(load, 0.0).fill(&mut frames);
        frames
    };
    let square =
        |frames: &[Frame]| frames.iter().map(|f| f64::from(f.current[0]).powi(2)).sum::<f64>() / 8000.0;
    assert_eq!(square(&frames(only(|_| ()), &still)), 0.0);
    assert!(square(&frames(only(|e| e.offset = true), &still)) > 1.0);
    // 101 dB below a full-scale sine: 52.9 counts of white noise, and a little 1/f.
    let noise = square(&frames(only(|e| e.noise = true), &still)).sqrt();
    assert!((50.0..64.0).contains(&noise), "{noise}");
    let crosstalk = square(&frames(only(|e| e.crosstalk = true), &still)).sqrt();
    assert!(crosstalk > 0.1 && crosstalk < 5.0, "{crosstalk}");
    let curved = frames(only(|e| e.nonlinearity = true), &LoadPoint::balanced(50.0, 230.0, 100.0, 0.0));
    let straight = frames(only(|_| ()), &LoadPoint::balanced(50.0, 230.0, 100.0, 0.0));
    let most = curved.iter().zip(&straight).map(|(a, b)| (a.current[0] - b.current[0]).abs()).max().unwrap();
    assert!((1..=84).contains(&most), "{most}");
}

#[test]
fn clock_thermometer_heat_and_age() {
    let mut unit = only(|effects| effects.crystal = true);
    let seconds = |unit: &mut Unit| unit.signal(&load(), 0.0).seconds_per_frame() * SAMPLE_RATE_HZ - 1.0;
    assert!(seconds(&mut unit).abs() < 30e-6);
    unit.settle(-40.0, &load());
    // 60 to 70 K from the turning point: slower by 122 to 167 ppm, and ±20 ppm.
    assert!((100e-6..190e-6).contains(&seconds(&mut unit)), "{}", seconds(&mut unit));

    let mut unit = only(|effects| effects.thermometer = true);
    unit.settle(60.0, &load());
    let settled = unit.thermometer_celsius();
    assert!((settled - 60.0).abs() <= 0.5 && settled != 60.0, "{settled}");
    unit.pass(60.0, 20.0, &load());
    assert!(unit.thermometer_celsius() > 55.0, "a thermometer and a case that follow at once");
    unit.pass(36_000.0, 20.0, &load());
    assert!((unit.thermometer_celsius() - 20.0).abs() <= 0.51);

    let mut unit = only(|effects| effects.self_heating = true);
    let large = LoadPoint::balanced(50.0, 230.0, 100.0, 0.0);
    unit.settle(23.0, &large);
    assert!((unit.thermometer_celsius() - 31.0).abs() < 1e-9);

    let mut unit = only(|effects| effects.ageing = true);
    let new = error(&mut unit, &load()).0;
    for _ in 0..1000 {
        unit.pass(3600.0, 23.0, &load());
    }
    let old = error(&mut unit, &load()).0;
    assert!((50e-6 - 20e-6..=121e-6).contains(&(old - new).abs()), "{new} {old}");
}

#[test]
fn a_shunt_warms_and_a_magnet_saturates() {
    let mut effects = Effects::NONE;
    (effects.sensor, effects.self_heating) = (true, true);
    let mut unit = Unit::draw(7, Sensor::Shunt, &Tolerances::REFERENCE, effects);
    let large = LoadPoint::balanced(50.0, 230.0, 100.0, 0.0);
    let cold = error(&mut unit, &large);
    assert!(cold.1.abs() < 1e-6, "a shunt has no phase error: {cold:?}");
    unit.settle(23.0, &large);
    let warm = error(&mut unit, &large);
    assert!((warm.0 - cold.0).abs() > 1e-5, "{cold:?} {warm:?}");

    let mut unit = only(|effects| (effects.sensor, effects.magnet) = (true, true));
    let before = error(&mut unit, &large);
    unit.set_magnet(300.0);
    let after = error(&mut unit, &large);
    assert!(after.0 < before.0 - 1e-4 && after.1 < before.1 - 1e-3, "{before:?} {after:?}");
}

#[test]
fn a_current_beyond_full_scale_is_clipped() {
    let mut frames = vec![Frame::default(); 160];
    only(|_| ()).signal(&LoadPoint::balanced(50.0, 230.0, 150.0, 0.0), 0.0).fill(&mut frames);
    let peak = frames.iter().map(|frame| frame.current[0].abs()).max();
    assert_eq!(peak, Some(Frame::FULL_SCALE));
}
