//! Symmetrical components, harmonic power, maximum demand, and numbered frames.

mod common;

use common::{Channel, Random, SCALE, Site};
use meterseal_metrology::{
    Config, Continuity, DemandSettings, Frame, MaximumDemand, Metrology, Registers, Scale, Window,
};
use proptest::prelude::*;
use std::f64::consts::TAU;

fn windows(config: Config, frames: &[Frame]) -> Vec<Window> {
    let mut metrology = Metrology::new(config, Registers::default()).expect("in range");
    let mut windows = Vec::new();
    metrology.push(frames, &mut |window| windows.push(*window));
    windows
}

/// Zero, positive and negative sequence of RMS values and angles: Fortescue, in double precision.
fn sequences(phasors: [(f64, f64); 3]) -> [f64; 3] {
    [0.0, 1.0, 2.0].map(|step| {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, (rms, angle)) in phasors.into_iter().enumerate() {
            let angle = angle + step * n as f64 * TAU / 3.0;
            re += rms * angle.cos() / 3.0;
            im += rms * angle.sin() / 3.0;
        }
        f64::hypot(re, im)
    })
}

#[test]
fn symmetrical_components_are_those_of_the_fundamentals() {
    let mut random = Random(71);
    for _ in 0..40 {
        let mut site = Site::balanced(8e3, random.within(48.0, 52.0), 5.0, 0.0);
        let mut volts = [(0.0, 0.0); 3];
        let mut amperes = [(0.0, 0.0); 3];
        for n in 0..3 {
            let angle = -TAU * n as f64 / 3.0;
            volts[n] = (random.within(20.0, 280.0), angle + random.within(-0.5, 0.5));
            amperes[n] = (random.within(0.0, 60.0), random.within(0.0, TAU));
            site.voltage[n] = Channel::sine(volts[n].0, volts[n].1);
            site.current[n] = Channel::sine(amperes[n].0, amperes[n].1);
            // A fifth harmonic is no part of it.
            site.voltage[n].0.push((5.0, 10.0, 0.3));
        }
        let neutral = (random.within(0.0, 60.0), random.within(0.0, TAU));
        // Nor is the phases' third, which the neutral carries three times.
        site.current[3] = Channel(vec![(1.0, neutral.0, neutral.1), (3.0, 12.0, 0.2)]);
        // Channels whose counts are not worth the same.
        let mut scale = SCALE;
        scale.voltage_femtovolts_per_count[1] *= 2;
        scale.current_femtoamperes_per_count[2] *= 3;
        let mut frames = site.frames(8_000);
        for frame in &mut frames {
            frame.voltage[1] /= 2;
            frame.current[2] /= 3;
        }
        let found = windows(Config { scale, ..site.config() }, &frames)[2].components;
        for (found, truth) in [
            (found.voltage_sequences_microvolts, sequences(volts)),
            (found.current_sequences_microamperes, sequences(amperes)),
        ] {
            for (found, truth) in found.into_iter().zip(truth) {
                assert!((found as f64 * 1e-6 - truth).abs() < 2e-4, "{found} {truth}");
            }
        }
        let parts = |(rms, angle): (f64, f64)| (rms * angle.cos(), rms * angle.sin());
        let [mut re, mut im] = [-parts(neutral).0, -parts(neutral).1];
        for phasor in amperes {
            (re, im) = (re + parts(phasor).0, im + parts(phasor).1);
        }
        let residual = found.neutral_residual_microamperes as f64 * 1e-6;
        assert!((residual - re.hypot(im)).abs() < 5e-4, "{residual} {}", re.hypot(im));
        let [zero, positive, negative] = sequences(volts);
        assert!((f64::from(found.voltage_unbalance_ppm) - negative / positive * 1e6).abs() < 30.0);
        assert!((f64::from(found.voltage_zero_unbalance_ppm) - zero / positive * 1e6).abs() < 30.0);
    }
}

#[test]
fn without_voltage_there_are_no_components() {
    let mut site = Site::balanced(8e3, 50.0, 5.0, 0.0);
    site.voltage = std::array::from_fn(|_| Channel::default());
    for window in windows(site.config(), &site.frames(8_000)) {
        assert_eq!(window.components, Default::default());
    }
}

#[test]
fn the_largest_counts_have_components() {
    // Small voltages beside full currents, and the largest scales: the widest numbers there are.
    let mut site = Site::balanced(8e3, 50.0, 106.0, 0.3);
    for voltage in &mut site.voltage {
        voltage.0[0].1 = 0.1;
    }
    let scale = Scale {
        voltage_femtovolts_per_count: [Scale::MAX; 3],
        current_femtoamperes_per_count: [Scale::MAX; 4],
    };
    let window = windows(Config { scale, ..site.config() }, &site.frames(8_000))[2];
    let amperes = 106.0 / common::AMPERES * 0.1;
    let [_, positive, _] = window.components.current_sequences_microamperes;
    assert!((positive as f64 * 1e-6 / amperes - 1.0).abs() < 1e-5);
}

#[test]
fn active_power_is_fundamental_and_harmonics() {
    let mut random = Random(72);
    for phi in [0.0, 1.0, 2.5] {
        let site = Site::balanced(8e3, 50.4, 20.0, phi).distorted(&mut random);
        let window = windows(site.config(), &site.frames(8_000))[2];
        for n in 0..3 {
            let (v, i) = (site.voltage[n].0[0], site.current[n].0[0]);
            let fundamental = v.1 * i.1 * (v.2 - i.2).cos();
            let found = window.components.fundamental_active_power_microwatts[n] as f64 * 1e-6;
            assert!((found - fundamental).abs() < 5e-6 * site.apparent(n));
            let harmonic = window.components.harmonic_active_power_microwatts[n] as f64 * 1e-6;
            assert!((harmonic - (site.active(n) - fundamental)).abs() < 5e-6 * site.apparent(n));
        }
    }
}

const MINUTE: DemandSettings =
    DemandSettings { sample_rate_microhertz: 8_000_000_000, subinterval_seconds: 60, subintervals: 1 };

/// Feeds a power in watts for so many seconds, a reading each 0.2 s, and gives all demands in watts.
fn feed(settings: DemandSettings, load: &[(u64, f64)]) -> (Vec<f64>, MaximumDemand) {
    let mut demand = MaximumDemand::new(settings, 0, u64::MAX - 5_000_000_000).expect("in range");
    let (mut sample, mut energy) = (0, 0.0);
    let mut demands = Vec::new();
    for (seconds, watts) in load {
        for _ in 0..seconds * 5 {
            sample += 1_600;
            energy += watts * 0.2 / 3.6e-6;
            let register = (u64::MAX - 5_000_000_000).wrapping_add(energy as u64);
            demand.advance(sample, register, &mut |period| demands.push(period.microwatts as f64 * 1e-6));
        }
    }
    (demands, demand)
}

#[test]
fn block_demand_is_the_mean_power_of_each_period() {
    let (demands, demand) = feed(MINUTE, &[(60, 100.0), (30, 400.0), (30, 200.0), (59, 900.0)]);
    assert_eq!(demands.len(), 2);
    assert!((demands[0] - 100.0).abs() < 1e-3 && (demands[1] - 300.0).abs() < 1e-3, "{demands:?}");
    let largest = demand.largest().expect("a period has ended");
    assert_eq!(largest.end_sample, 120 * 8_000);
    assert!((largest.microwatts as f64 * 1e-6 - 300.0).abs() < 1e-3);
}

#[test]
fn sliding_demand_finds_the_peak_that_blocks_divide() {
    let load = [(50, 0.0), (60, 600.0), (70, 0.0)];
    let (blocks, _) = feed(MINUTE, &load);
    assert!(blocks.iter().all(|watts| *watts < 510.0), "{blocks:?}");
    let sliding = DemandSettings { subinterval_seconds: 10, subintervals: 6, ..MINUTE };
    let (demands, mut demand) = feed(sliding, &load);
    // From the end of the first whole period, every ten seconds.
    assert_eq!(demands.len(), 13);
    let largest = demand.reset().expect("a period has ended");
    assert!((largest.microwatts as f64 * 1e-6 - 600.0).abs() < 1e-3);
    assert_eq!(largest.end_sample, 110 * 8_000);
    assert_eq!(demand.largest(), None);
}

#[test]
fn a_period_ends_between_two_readings() {
    let mut demand = MaximumDemand::new(MINUTE, 1_000, 0).expect("in range");
    let mut periods = Vec::new();
    // 3.6 MW for 150 s: 1 nWh each 10⁻¹² s, all in one reading.
    let register = 150_000_000_000_000;
    demand.advance(1_000 + 150 * 8_000, register, &mut |period| periods.push(period));
    assert_eq!(periods.len(), 2);
    assert!(periods.iter().all(|period| period.microwatts == 3_600_000_000_000), "{periods:?}");
    // An older sample changes nothing; a clock's tick begins a new period.
    demand.advance(1_000, 0, &mut |_| unreachable!("no period ends backwards"));
    demand.synchronise(2_000_000, register);
    demand.advance(2_000_000 + 59 * 8_000, register, &mut |_| unreachable!("not a whole period"));
    assert_eq!(demand.largest(), Some(periods[0]));
}

#[test]
fn demand_settings_out_of_range_name_the_field() {
    let refused = |settings| MaximumDemand::new(settings, 0, 0).expect_err("out of range").field;
    assert_eq!(refused(DemandSettings { sample_rate_microhertz: 1, ..MINUTE }), "sample_rate_microhertz");
    assert_eq!(refused(DemandSettings { subinterval_seconds: 0, ..MINUTE }), "subinterval_seconds");
    assert_eq!(refused(DemandSettings { subintervals: 16, ..MINUTE }), "subintervals");
}

#[test]
fn a_gap_ends_the_record_and_is_counted() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.3);
    let frames = site.frames(20_000);
    let mut numbered = Metrology::new(site.config(), Registers::default()).expect("in range");
    let mut plain = numbered.clone();
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    assert_eq!(numbered.push_at(1_000_000, &frames[..9_000], &mut |window| found.push(*window)), 0);
    assert_eq!(numbered.push_at(1_009_123, &frames[9_123..], &mut |window| found.push(*window)), 123);
    plain.push(&frames[..9_000], &mut |window| expected.push(*window));
    expected.extend(plain.finish());
    plain.push(&frames[9_123..], &mut |window| expected.push(*window));
    assert_eq!(found, expected);
    assert_eq!(numbered.registers(), plain.registers());
    let counted = Continuity { gaps: 1, missing_samples: 123, duplicated_samples: 0 };
    assert_eq!(numbered.continuity(), counted);
    // A front end that begins anew is not a duplicate of itself.
    numbered.restart_numbering();
    assert_eq!(numbered.push_at(0, &frames, &mut |_| ()), 0);
    assert_eq!(numbered.continuity(), counted);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn repeated_frames_change_no_bit(cuts in prop::collection::vec((0_usize..3_000, 0_usize..500), 1..30)) {
        let site = Site::balanced(1e3, 50.0, 5.0, 0.3);
        let frames = site.frames(3_000);
        let mut numbered = Metrology::new(site.config(), Registers::default()).expect("in range");
        let mut plain = numbered.clone();
        let (mut reached, mut sent) = (0, 0);
        for (start, length) in cuts {
            // Any piece that begins within what has come.
            let start = start.min(reached);
            let end = (start + length).min(frames.len());
            numbered.push_at(start as u64, &frames[start..end], &mut |_| ());
            sent += end - start;
            reached = reached.max(end);
        }
        plain.push(&frames[..reached], &mut |_| ());
        let duplicated_samples = (sent - reached) as u64;
        prop_assert_eq!(numbered.continuity(), Continuity { duplicated_samples, ..Continuity::default() });
        numbered.finish();
        plain.finish();
        prop_assert_eq!(numbered.samples(), reached as u64);
        prop_assert_eq!(numbered.registers(), plain.registers());
    }
}
