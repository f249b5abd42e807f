//! Harmonics to the 50th against analytic truth: every rate, frequencies off nominal, what is between the orders, what is absent.

mod common;

use common::{Channel, Random, Site};
use meterseal_metrology::{Config, Frame, HarmonicAnalysis, Harmonics, Metrology, Registers, Window};
use std::f64::consts::TAU;

const RATES: [f64; 9] = [1e3, 2e3, 4e3, 8e3, 10.24e3, 12.8e3, 30.707e3, 51.2e3, 100e3];
const FREQUENCIES: [f64; 12] = [47.5, 48.9, 49.95, 50.0, 50.013, 51.1, 52.5, 57.0, 58.7, 60.0, 60.02, 63.0];

/// All windows that have harmonics, and how many have none.
fn analyse(config: Config, frames: impl Iterator<Item = Frame>) -> (Vec<(Window, Harmonics)>, usize) {
    let mut metrology = Metrology::new(config, Registers::default()).expect("settings in range");
    let mut analysis = Box::new(HarmonicAnalysis::new());
    let (mut found, mut without) = (Vec::new(), 0);
    let frames: Vec<Frame> = frames.collect();
    for block in frames.chunks(333) {
        metrology.push_with_harmonics(block, &mut analysis, &mut |window, harmonics| match harmonics {
            Some(harmonics) => found.push((*window, harmonics.clone())),
            None => without += 1,
        });
    }
    (found, without)
}

/// The largest errors: of a magnitude, in millionths of the fundamental, and beyond that share of the reading; of an angle, in degrees.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    ppm_of_fundamental: f64,
    order: usize,
    degrees: f64,
    thd_ppm: f64,
}

impl Worst {
    fn look(&mut self, site: &Site, harmonics: &Harmonics) {
        let highest = ((0.4 * site.rate / site.hertz * (1.0 + 1e-5)) as usize).min(Harmonics::ORDERS);
        assert_eq!(harmonics.highest_order(), highest, "{} {}", site.rate, site.hertz);
        let spectra = harmonics.voltages().into_iter().chain(harmonics.currents());
        let reference = site.voltage[0].0[0].2;
        for (channel, spectrum) in site.voltage.iter().chain(&site.current).zip(spectra) {
            let Some((_, fundamental, _)) = channel.0.first().copied() else {
                continue;
            };
            for order in 1..=60 {
                let found = spectrum.rms(order);
                assert_eq!(found.is_some(), order <= highest, "{order}");
                let Some(found) = found else { continue };
                let truth = channel.0.iter().find(|partial| partial.0 == order as f64);
                let (_, rms, phase) = truth.copied().unwrap_or_default();
                let error = (found as f64 * 1e-6 - rms).abs() / fundamental * 1e6;
                if error > self.ppm_of_fundamental {
                    (self.ppm_of_fundamental, self.order) = (error, order);
                }
                if rms > 1e-3 * fundamental {
                    let angle = spectrum.angle_microdegrees(order).expect("a phasor");
                    let difference =
                        f64::from(angle) * 1e-6 - (phase - order as f64 * reference).to_degrees();
                    self.degrees =
                        self.degrees.max((difference - (difference / 360.0).round() * 360.0).abs());
                }
            }
            let square = |order: &f64| (2.0..=50.0).contains(order) && *order <= highest as f64;
            let all: f64 = channel.0.iter().filter(|p| square(&p.0)).map(|p| p.1 * p.1).sum();
            let thd = f64::from(spectrum.thd_ppm().expect("a fundamental"));
            self.thd_ppm = self.thd_ppm.max((thd - all.sqrt() / fundamental * 1e6).abs());
        }
    }
}

/// Every order of every channel, up to 0.4 of the rate and the given one.
fn full(rate: f64, hertz: f64, highest: usize, random: &mut Random) -> Site {
    let mut site = Site::balanced(rate, hertz, 5.0, 0.7);
    site.current[3] = Channel::sine(3.0, 1.0);
    for channel in site.voltage.iter_mut().chain(&mut site.current) {
        let fundamental = channel.0[0].1;
        for order in (2..=highest).take_while(|order| *order as f64 * hertz <= 0.4 * rate) {
            let rms = fundamental * random.within(0.0, 0.3) / order as f64;
            channel.0.push((order as f64, rms, random.within(0.0, TAU)));
        }
    }
    site
}

#[test]
fn every_order_of_every_channel_at_every_rate_and_frequency() {
    let mut random = Random(81);
    for rate in RATES {
        let mut worst = Worst::default();
        for hertz in FREQUENCIES.into_iter().step_by(if rate > 2e4 { 4 } else { 1 }) {
            let site = full(rate, hertz, 50, &mut random);
            let (found, without) = analyse(site.config(), site.cycles(47.0).into_iter());
            assert_eq!(without, 0);
            assert!(found.len() >= 3, "{}", found.len());
            for (_, harmonics) in &found[1..] {
                worst.look(&site, harmonics);
            }
        }
        println!("{rate} Hz: {worst:?}");
        let (ppm, degrees) = match rate {
            ..2e3 => (200.0, 5.0),
            ..8e3 => (20.0, 0.5),
            _ => (4.0, 0.1),
        };
        assert!(worst.ppm_of_fundamental < ppm && worst.thd_ppm < ppm && worst.degrees < degrees);
    }
}

#[test]
fn images_of_the_samples_fold_onto_no_order() {
    // A sample is an impulse: around every multiple of the rate the spectrum comes again, and at 462 it would fold onto the 50th.
    for (cycle, highest) in [(461.0, 50), (463.0, 50), (511.0, 50), (513.0, 50), (204.8, 50), (256.0, 50)] {
        let site = Site::balanced(cycle * 50.0, 50.0, 5.0, 0.7);
        let (found, _) = analyse(site.config(), site.cycles(25.0).into_iter());
        let mut worst = Worst::default();
        worst.look(&site, &found[1].1);
        println!("{cycle} samples a cycle: {worst:?}");
        assert_eq!(found[1].1.highest_order(), highest);
        assert!(worst.ppm_of_fundamental < 20.0, "{worst:?}");
    }
}

#[test]
fn a_frequency_that_drifts_does_not_smear_the_fiftieth() {
    let site = full(8e3, 50.0, 50, &mut Random(82));
    for (hertz_a_second, limit) in [(0.02, 5.0), (0.1, 20.0), (1.0, 200.0)] {
        let frames = (0..16_000).map(|n| {
            let seconds = (f64::from(n) + 0.5) / site.rate;
            site.frame_at((49.5 + 0.5 * hertz_a_second * seconds) * seconds)
        });
        let (found, without) = analyse(site.config(), frames);
        assert_eq!(without, 0);
        let mut worst = Worst::default();
        for (_, harmonics) in &found[1..] {
            worst.look(&site, harmonics);
        }
        println!("{hertz_a_second} Hz/s: {worst:?}");
        assert!(worst.ppm_of_fundamental < limit, "{worst:?}");
    }
}

#[test]
fn a_step_of_frequency_is_followed_within_two_windows() {
    let site = full(8e3, 50.0, 50, &mut Random(83));
    for (before, after) in [(50.0, 50.15), (50.0, 51.5), (49.0, 47.6), (50.0, 52.5)] {
        let step = 0.5;
        let frames = (0..16_000).map(|n| {
            let seconds = (f64::from(n) + 0.5) / site.rate;
            let late: f64 = (seconds - step).max(0.0);
            site.frame_at(before * (seconds - late) + after * late)
        });
        let (found, without) = analyse(site.config(), frames);
        assert_eq!(without, 0);
        let mut worst = Worst::default();
        for (window, harmonics) in &found[1..] {
            let [start, end] =
                [window.first_sample, window.first_sample + window.samples].map(|n| n as f64 / site.rate);
            if end < step - 0.02 || start > step + 0.2 {
                worst.look(&site, harmonics);
            }
        }
        println!("{before} to {after} Hz: {worst:?}");
        assert!(worst.ppm_of_fundamental < 20.0, "{worst:?}");
    }
}

#[test]
fn what_is_between_the_orders_is_no_order() {
    // Interharmonics and ripple control as far from an order as the window's resolution of 5 Hz asks.
    for hertz in [75.0, 175.0, 225.0, 1925.0] {
        let mut site = Site::balanced(8e3, 50.0, 5.0, 0.7);
        site.voltage[0].0.push((hertz / 50.0, 23.0, 0.4));
        let (found, _) = analyse(site.config(), site.cycles(35.0).into_iter());
        for (_, harmonics) in &found[1..] {
            let [spectrum, ..] = harmonics.voltages();
            let most = (2..=50).filter_map(|order| spectrum.rms(order)).max().expect("orders");
            println!("{hertz} Hz, 10 %: {} µV in an order", most);
            // The window's transform half an order off: 1/(10π/2 · π/2) in the neighbour, of 23 V.
            assert!(most < 1_500_000, "{hertz}: {most}");
            assert!(spectrum.thd_ppm().expect("a fundamental") < 10_000);
        }
    }
}

#[test]
fn absent_is_not_zero() {
    for (rate, hertz, highest) in [(1e3, 50.0, 8), (4e3, 50.0, 32), (5e3, 60.0, 33), (6.2e3, 50.0, 49)] {
        let site = Site::balanced(rate, hertz, 5.0, 0.7);
        let (found, _) = analyse(site.config(), site.cycles(40.0).into_iter());
        for (_, harmonics) in &found {
            assert_eq!(harmonics.highest_order(), highest);
            for spectrum in harmonics.voltages().into_iter().chain(harmonics.currents()) {
                assert_eq!(spectrum.rms(0), None, "the direct component has its own name");
                for order in 1..100 {
                    assert_eq!(spectrum.rms(order).is_some(), order <= highest);
                    assert!(order <= highest || spectrum.angle_microdegrees(order).is_none());
                    assert_eq!(harmonics.active_power_microwatts(order).is_some(), order <= highest);
                }
            }
            // The neutral carries nothing: zero, and neither angle nor distortion.
            let [.., neutral] = harmonics.currents();
            assert_eq!(
                (neutral.rms(1), neutral.angle_microdegrees(1), neutral.thd_ppm()),
                (Some(0), None, None)
            );
        }
    }
}

#[test]
fn orders_add_up_to_the_window() {
    let mut random = Random(84);
    for hertz in [47.9, 50.0, 51.2] {
        let mut site = full(8e3, hertz, 50, &mut random);
        // DC counts in neither THD by orders nor angles, and shows its sign.
        site.current[1].0.push((0.0, 0.3, TAU / 2.0));
        let (found, _) = analyse(site.config(), site.cycles(45.0).into_iter());
        for (window, harmonics) in &found[1..] {
            for (number, phase) in window.phases.iter().enumerate() {
                let powers = (0..=50).filter_map(|order| harmonics.active_power_microwatts(order));
                let all: i64 = powers.map(|powers| powers[number]).sum();
                let apparent = phase.apparent_power_microvoltamperes as f64;
                assert!((all - phase.active_power_microwatts).unsigned_abs() as f64 / apparent < 2e-6);
                let (voltage, current) = (harmonics.voltages()[number], harmonics.currents()[number]);
                let error = |found: Option<u64>, truth: u64| {
                    (found.expect("an order") as f64 / truth as f64 - 1.0).abs()
                };
                assert!(error(voltage.rms(1), phase.voltage_fundamental_microvolts) < 2e-6);
                assert!(error(current.rms(1), phase.current_fundamental_microamperes) < 2e-6);
                let angle = current.angle_microdegrees(1).expect("a fundamental");
                assert!(angle.abs_diff(phase.current_angle_microdegrees) < 300);
                assert!(voltage.thd_ppm().expect("orders").abs_diff(phase.voltage_thd_ppm) < 20);
            }
            assert!((harmonics.currents()[1].direct() + 424_264).abs() < 100);
            assert!(harmonics.currents()[0].direct().abs() < 100);
        }
    }
}

#[test]
fn analysing_changes_no_measurement_and_blocks_change_no_bit() {
    let site = full(8e3, 49.6, 50, &mut Random(85));
    let frames = site.cycles(60.0);
    let run = |block: usize| {
        let mut metrology = Metrology::new(site.config(), Registers::default()).expect("in range");
        let mut analysis = Box::new(HarmonicAnalysis::new());
        let mut found = Vec::new();
        for block in frames.chunks(block) {
            metrology.push_with_harmonics(block, &mut analysis, &mut |window, harmonics| {
                found.push((*window, format!("{harmonics:?}")));
            });
        }
        (found, *metrology.registers())
    };
    let (windows, registers) = run(frames.len());
    assert_eq!(windows.len(), 5);
    for block in [1, 2, 7, 159, 160, 161, 1000] {
        assert!(run(block) == (windows.clone(), registers), "{block}");
    }
    let mut plain = Metrology::new(site.config(), Registers::default()).expect("in range");
    let mut number = 0;
    plain.push(&frames, &mut |window| {
        assert_eq!(*window, windows[number].0);
        number += 1;
    });
    assert_eq!((number, *plain.registers()), (5, registers));
}

#[test]
fn frames_that_the_analysis_did_not_see_leave_their_windows_without() {
    let site = full(8e3, 50.0, 30, &mut Random(86));
    let mut metrology = Metrology::new(site.config(), Registers::default()).expect("in range");
    let mut analysis = Box::new(HarmonicAnalysis::new());
    let mut seen = Vec::new();
    for (number, block) in site.frames(16_000).chunks(100).enumerate() {
        if number == 70 {
            // Samples 7000 to 7099: in the fifth window.
            metrology.push(block, &mut |_| unreachable!("no window ends here"));
            continue;
        }
        metrology.push_with_harmonics(block, &mut analysis, &mut |window, harmonics| {
            let mut worst = Worst::default();
            if let Some(harmonics) = harmonics {
                worst.look(&site, harmonics);
                assert!(worst.ppm_of_fundamental < 5.0, "{worst:?}");
            }
            seen.push((window.first_sample, harmonics.is_some()));
        });
    }
    let without: Vec<u64> = seen.iter().filter(|(_, seen)| !seen).map(|(first, _)| *first).collect();
    assert_eq!(without, [6480]);
    assert!(seen.len() >= 9);
}

#[test]
fn a_record_after_a_gap_begins_anew() {
    let site = full(8e3, 50.0, 30, &mut Random(87));
    let frames = site.frames(8_000);
    let mut metrology = Metrology::new(site.config(), Registers::default()).expect("in range");
    let mut analysis = Box::new(HarmonicAnalysis::new());
    for _ in 0..2 {
        let mut windows = 0;
        metrology.push_with_harmonics(&frames, &mut analysis, &mut |_, harmonics| {
            let mut worst = Worst::default();
            worst.look(&site, harmonics.expect("every frame was seen"));
            assert!(worst.ppm_of_fundamental < 5.0, "{worst:?}");
            windows += 1;
        });
        assert_eq!(windows, 4);
        metrology.finish();
    }
}

#[test]
fn numbered_frames_have_the_same_harmonics_and_a_gap_ends_the_record() {
    let site = full(8e3, 50.0, 30, &mut Random(88));
    let frames = site.frames(16_000);
    let run = |numbered: bool| {
        let mut metrology = Metrology::new(site.config(), Registers::default()).expect("in range");
        let mut analysis = Box::new(HarmonicAnalysis::new());
        let mut found = Vec::new();
        let mut sequence = 1_000;
        for block in frames.chunks(100) {
            let on_window = &mut |window: &Window, harmonics: Option<&Harmonics>| {
                found.push((*window, harmonics.map(|harmonics| format!("{harmonics:?}"))));
            };
            match numbered {
                true => {
                    assert_eq!(
                        metrology.push_at_with_harmonics(sequence, block, &mut analysis, on_window),
                        0
                    );
                    // What comes twice counts once.
                    metrology.push_at_with_harmonics(sequence, block, &mut analysis, on_window);
                }
                false => metrology.push_with_harmonics(block, &mut analysis, on_window),
            }
            sequence += block.len() as u64;
        }
        found
    };
    assert!(run(true) == run(false));

    let mut metrology = Metrology::new(site.config(), Registers::default()).expect("in range");
    let mut analysis = Box::new(HarmonicAnalysis::new());
    let mut seen = Vec::new();
    for (sequence, block) in [(0, &frames[..8_050]), (8_150, &frames[8_150..])] {
        let missing =
            metrology.push_at_with_harmonics(sequence, block, &mut analysis, &mut |_, harmonics| {
                if let Some(harmonics) = harmonics {
                    let mut worst = Worst::default();
                    worst.look(&site, harmonics);
                    assert!(worst.ppm_of_fundamental < 5.0, "{worst:?}");
                }
                seen.push(harmonics.is_some());
            });
        assert_eq!(missing, if sequence == 0 { 0 } else { 100 });
    }
    assert_eq!(seen.iter().filter(|seen| !**seen).count(), 1, "the window that the gap ended: {seen:?}");
}

#[test]
fn golden_harmonics() {
    // Counts by integers only, so that no platform's sine can differ: triangles of 50.3 Hz, with all odd orders.
    let frames = (0..8_000_u64).map(|n| {
        let triangle = |peak: i64, phase: u64| {
            let turn = (n * 27_003_113).wrapping_add(phase) % (1 << 32);
            ((peak * ((turn as i64 - (1 << 31)).abs() - (1 << 30))) >> 30) as i32
        };
        let third = (1_u64 << 32) / 3;
        Frame {
            voltage: [triangle(5_000_000, 0), triangle(5_000_000, third), triangle(4_900_000, 2 * third)],
            current: [
                triangle(900_000, 1 << 27),
                triangle(-70_000, third),
                triangle(3, 0),
                triangle(200_000, 7),
            ],
        }
    });
    let (found, without) = analyse(Site::balanced(8e3, 50.0, 1.0, 0.0).config(), frames);
    assert_eq!((found.len(), without), (4, 0));
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for (_, harmonics) in &found {
        for byte in format!("{harmonics:?}").bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    // The third order of a triangle is a ninth of the first.
    let [spectrum, ..] = found[2].1.voltages();
    let [first, third] = [1, 3].map(|order| spectrum.rms(order).expect("an order") as f64);
    assert!((third / first * 9.0 - 1.0).abs() < 1e-3);
    assert_eq!(hash, 13_006_366_935_209_927_234);
}

#[test]
fn a_half_wave_current_has_its_direct_component_and_even_orders() {
    // IEC 62053-21's rectifier load: P = V̂·Î/4, a direct component of Î/π, even orders of 2·Î/(π·(h² − 1)) and no odd ones but the first.
    let (volts, amperes) = (230.0 * 2f64.sqrt(), 20.0);
    for hertz in [49.7, 50.0, 60.1] {
        let site = Site::balanced(8e3, hertz, 5.0, 0.0);
        let frames = (0..12_000).map(|n| {
            let wave = ((f64::from(n) + 0.5) / 8e3 * hertz * TAU).cos();
            Frame {
                voltage: [(volts * wave / common::VOLTS).round() as i32, 0, 0],
                current: [(amperes * wave.max(0.0) / common::AMPERES).round() as i32, 0, 0, 0],
            }
        });
        let (found, _) = analyse(site.config(), frames);
        for (window, harmonics) in &found[1..] {
            let phase = &window.phases[0];
            assert!(
                (phase.active_power_microwatts as f64 * 1e-6 / (volts * amperes / 4.0) - 1.0).abs() < 1e-5
            );
            assert!((phase.current_rms_microamperes as f64 * 1e-6 / (amperes / 2.0) - 1.0).abs() < 1e-5);
            // 0.01 % of S: orders near 160 fold onto the fundamental, since this front end has no filter.
            assert!(phase.reactive_power_microvars.unsigned_abs() < 230_000);
            let [spectrum, ..] = harmonics.currents();
            let pi = TAU / 2.0;
            assert!((spectrum.direct() as f64 * 1e-6 / (amperes / pi) - 1.0).abs() < 5e-4);
            for order in 1..=50 {
                let peak = match order {
                    1 => amperes / 2.0,
                    _ if order % 2 == 1 => 0.0,
                    _ => 2.0 * amperes / pi / f64::from(order * order - 1),
                };
                let rms = spectrum.rms(order as usize).expect("an order") as f64 * 1e-6;
                // The same folding.
                assert!((rms - peak / 2f64.sqrt()).abs() < 2e-4 * amperes, "{hertz} {order}: {rms}");
            }
        }
    }
}
