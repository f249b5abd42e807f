//! The stream's edges: block sizes, short records, lost voltages, extreme and impossible counts, and the golden trace.

mod common;

use common::{Channel, Random, SCALE, Site};
use meterseal_metrology::{Config, Frame, Metrology, Nominal, Period, Registers, Scale, Window, find_period};
use proptest::prelude::*;

/// Everything that comes out, with the frames handed over in blocks of this size.
fn outputs(config: Config, frames: &[Frame], block: usize) -> (Vec<Window>, Registers, u64) {
    let mut metrology = Metrology::new(config, Registers::default()).expect("settings in range");
    let mut windows = Vec::new();
    for block in frames.chunks(block) {
        metrology.push(block, &mut |window| windows.push(*window));
    }
    windows.extend(metrology.finish());
    assert_eq!(metrology.samples(), frames.len() as u64);
    (windows, *metrology.registers(), metrology.clipped_samples())
}

fn small_config(window_cycles: u16) -> Config {
    Config { window_cycles, ..Config::new(1_000_000_000, Nominal::Hz50, SCALE) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn block_sizes_change_no_bit(seed: u64, hertz in 45.0..65.0, clip in 0.5..3.0, block in 1_usize..500) {
        let mut random = Random(seed);
        let mut site = Site::balanced(8e3, hertz, 30.0 * clip, 1.0).distorted(&mut random);
        site.rate = [1e3, 8e3, 30.707e3][seed as usize % 3];
        let frames = site.cycles(30.5);
        let whole = outputs(site.config(), &frames, frames.len());
        for block in [1, 7, 160, 4096, block] {
            prop_assert_eq!(&outputs(site.config(), &frames, block), &whole);
        }
    }

    #[test]
    fn any_counts_are_measured_without_a_panic(
        counts in prop::collection::vec(any::<[i32; 7]>(), 1..400),
        wild: bool,
        cycles in 1_u16..12,
    ) {
        let frames: Vec<Frame> = counts
            .iter()
            .map(|c| {
                let c = c.map(|c| if wild { c } else { c % (Frame::FULL_SCALE + 1) });
                Frame { voltage: [c[0], c[1], c[2]], current: [c[3], c[4], c[5], c[6]] }
            })
            .collect();
        let clipped = frames
            .iter()
            .filter(|f| {
                f.voltage.iter().chain(&f.current).any(|c| c.unsigned_abs() >= Frame::FULL_SCALE as u32)
            })
            .count();
        let (windows, _, found) = outputs(small_config(cycles), &frames, 64);
        prop_assert_eq!(found, clipped as u64);
        prop_assert!(!windows.is_empty());
        find_period(1_000_000_000, &frames);
        // Beyond full scale counts as full scale.
        let clamped: Vec<Frame> = frames
            .iter()
            .map(|f| Frame {
                voltage: f.voltage.map(|c| c.clamp(-Frame::FULL_SCALE, Frame::FULL_SCALE)),
                current: f.current.map(|c| c.clamp(-Frame::FULL_SCALE, Frame::FULL_SCALE)),
            })
            .collect();
        prop_assert_eq!(outputs(small_config(cycles), &clamped, 64).1, outputs(small_config(cycles), &frames, 64).1);
    }
}

#[test]
fn records_of_one_to_nine_cycles_give_one_window() {
    for cycles in [1.02, 1.7, 2.0, 2.5, 3.1, 4.0, 5.5, 9.0] {
        let site = Site::balanced(8e3, 50.7, 5.0, 0.7);
        let frames = site.cycles(cycles);
        let config = match find_period(site.rate_microhertz(), &frames) {
            Some(_) => site.found(&frames),
            None => Config {
                period: Some(Period::from_frequency(site.rate_microhertz(), 50_700_000)),
                ..site.config()
            },
        };
        assert_eq!(cycles < 1.5, find_period(site.rate_microhertz(), &frames).is_none());
        let (windows, registers, _) = outputs(config, &frames, 100);
        assert_eq!(windows.len(), 1, "{cycles} cycles");
        let window = windows[0];
        let errors = site.errors(&window);
        // Two whole cycles make a boundary and its double zeros; a single one has plain edges.
        let limit = if cycles > 2.1 { 1e-6 } else { 1e-4 };
        assert!(
            errors.rms < limit && errors.active < limit && errors.reactive < limit,
            "{cycles} {errors:?}"
        );
        assert_eq!(window.frequency_microhertz.is_some(), cycles > 3.0, "{cycles} cycles");
        assert!(cycles < 3.0 || errors.millihertz < 0.05);
        let mean = frames
            .iter()
            .map(|f| (0..3).map(|p| f64::from(f.voltage[p]) * f64::from(f.current[p])).sum::<f64>())
            .sum::<f64>()
            * common::VOLTS
            * common::AMPERES
            / 8e3;
        let booked = registers.total_import_nanowatt_hours as f64 * 3.6e-6;
        assert!((booked / mean - 1.0).abs() < 1e-6, "{cycles} cycles: {booked} {mean}");
    }
}

#[test]
fn a_fitted_period_uses_the_last_cycle_of_a_record_too() {
    let site = Site::balanced(30_707.25, 59.967, 5.0, 0.7);
    // 0.28 samples short of four cycles.
    let frames = site.frames(2048);
    let found = site.found(&frames);
    let fitted =
        Config { period: found.period.map(|period| period.fitted_to(2048)), fixed_period: true, ..found };
    assert_eq!(outputs(found, &frames, 100).0[0].cycles, 2);
    let window = outputs(fitted, &frames, 100).0[0];
    assert_eq!(window.cycles, 3);
    let errors = site.errors(&window);
    assert!(errors.rms < 1e-6 && errors.active < 1e-6 && errors.reactive < 1e-6, "{errors:?}");
    assert!(errors.millihertz < 0.05, "{errors:?}");
    // A period that fits, or would have to change by more, stays.
    for samples in [0, 1, 2000, 2049] {
        assert_eq!(found.period.map(|period| period.fitted_to(samples)), found.period);
    }
}

#[test]
fn a_record_that_ends_before_the_frequency_is_known_still_gives_a_window() {
    let site = Site::balanced(8e3, 47.5, 5.0, 0.7);
    let config = Config { nominal: Nominal::Hz50, ..site.config() };
    for frames in 1..1_000 {
        let (windows, registers, _) = outputs(config, &site.frames(frames), 100);
        assert_eq!(windows.len(), 1, "{frames} frames");
        let window = windows[0];
        assert!(window.first_sample + window.samples <= frames as u64);
        // From two cycles on it is good to the leakage of slots that are five per cent too short.
        let errors = site.errors(&window);
        assert!(frames < 340 || errors.active < 0.01, "{frames} frames: {errors:?}");
        let apparent = 3.0 * site.apparent(0) * frames as f64 / 8e3;
        let found = registers.apparent_nanovoltampere_hours as f64 * 3.6e-6;
        assert!(frames < 160 || (found / apparent - 1.0).abs() < 0.1, "{frames} frames");
    }
}

#[test]
fn less_than_a_cycle_gives_means_over_all_samples() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.0);
    let frames = site.frames(80);
    let (windows, registers, _) = outputs(site.config(), &frames, 33);
    assert_eq!(windows.len(), 1);
    let window = windows[0];
    assert_eq!((window.cycles, window.first_sample, window.samples), (0, 0, 80));
    assert_eq!(window.frequency_microhertz, None);
    // Half a cycle has the RMS value and the power of a whole one.
    let errors = site.errors(&window);
    assert!(errors.rms < 1e-6 && errors.active < 1e-6);
    assert_eq!(window.phases[0].voltage_fundamental_microvolts, 0);
    assert!(registers.total_import_nanowatt_hours > 0);
    assert!(outputs(site.config(), &[], 1).0.is_empty());
}

#[test]
fn without_voltage_there_is_no_frequency_and_no_angle() {
    for level in [0, 1, 3, 100_000, Frame::FULL_SCALE] {
        let frame = Frame { voltage: [level; 3], current: [level; 4] };
        let frames = vec![frame; 4_000];
        let config = Config::new(8_000_000_000, Nominal::Hz50, SCALE);
        let (windows, registers, clipped) = outputs(config, &frames, 1000);
        assert_eq!(find_period(8_000_000_000, &frames), None);
        let volts = f64::from(level) * common::VOLTS * 1e6;
        let amperes = f64::from(level) * common::AMPERES * 1e6;
        for window in windows {
            assert_eq!(window.frequency_microhertz, None);
            let phase = window.phases[0];
            assert!((phase.voltage_rms_microvolts as f64 - volts).abs() <= 1.0);
            assert!((phase.current_rms_microamperes as f64 - amperes).abs() <= 1.0);
            let watts = volts * amperes * 1e-6;
            assert!((phase.active_power_microwatts as f64 - watts).abs() <= watts * 1e-9 + 1.0);
            assert_eq!((phase.voltage_angle_microdegrees, phase.voltage_thd_ppm), (0, 0));
            assert_eq!(phase.reactive_power_microvars, 0);
            assert_eq!(window.clipped, level == Frame::FULL_SCALE);
        }
        assert_eq!(registers.total_export_nanowatt_hours, 0);
        assert_eq!(clipped, if level == Frame::FULL_SCALE { 4_000 } else { 0 });
    }
}

#[test]
fn a_full_scale_square_wave_is_measured_and_flagged() {
    let frames: Vec<Frame> = (0..8_000)
        .map(|n| {
            let level = if n % 160 < 80 { Frame::FULL_SCALE } else { -Frame::FULL_SCALE };
            Frame { voltage: [level; 3], current: [level; 4] }
        })
        .collect();
    let (windows, ..) = outputs(Config::new(8_000_000_000, Nominal::Hz50, SCALE), &frames, 999);
    let volts = f64::from(Frame::FULL_SCALE) * common::VOLTS;
    for window in windows {
        assert!(window.clipped);
        let phase = window.phases[1];
        assert!((phase.voltage_rms_microvolts as f64 * 1e-6 / volts - 1.0).abs() < 1e-8);
        let fundamental = phase.voltage_fundamental_microvolts as f64 * 1e-6;
        assert!((fundamental / (volts * 8f64.sqrt() / std::f64::consts::PI) - 1.0).abs() < 1e-4);
        assert!((f64::from(phase.voltage_thd_ppm) / 483_426.0 - 1.0).abs() < 1e-3);
        assert_eq!(phase.power_factor_ppm, 1_000_000);
    }
}

#[test]
fn the_supply_is_found_again_after_all_voltages_were_lost() {
    let site = Site::balanced(8e3, 48.3, 5.0, 0.5);
    let lost = 16_000..32_000;
    let frames: Vec<Frame> = (0..48_000)
        .map(|n| {
            let mut frame = site.frame(n);
            if lost.contains(&n) {
                frame.voltage = [0; 3];
            }
            frame
        })
        .collect();
    let (windows, ..) = outputs(site.config(), &frames, 160);
    let cycle = 170;
    let mut inside = 0;
    for window in windows {
        let start = window.first_sample as usize;
        let end = start + window.samples as usize;
        if start > lost.start + cycle && end < lost.end - cycle {
            assert_eq!(window.frequency_microhertz, None);
            inside += 1;
        } else if start > 5 * cycle && !(lost.end - 10 * cycle..lost.end + 5 * cycle).contains(&start) {
            // The cycle in which the voltage goes has no clean phase and is left out.
            let found = window.frequency_microhertz.expect("a supply");
            assert!(found.abs_diff(48_300_000) < 50, "{start}..{end}: {found}");
        }
    }
    assert!(inside > 5);
}

#[test]
fn angles_refer_to_the_first_voltage_that_is_there() {
    let mut site = Site::balanced(8e3, 50.0, 5.0, 0.5);
    let frames = site.cycles(12.0);
    let degrees = |micro: i32| f64::from(micro) * 1e-6;
    let (windows, ..) = outputs(site.found(&frames), &frames, 160);
    let [l1, l2, l3] = windows[0].phases;
    let near = |found: i32, truth: f64| (degrees(found) - truth).abs() < 2e-5;
    assert!(near(l1.voltage_angle_microdegrees, 0.0));
    assert!(near(l2.voltage_angle_microdegrees, -120.0));
    assert!(near(l3.voltage_angle_microdegrees, 120.0));
    assert!(near(l1.current_angle_microdegrees, -0.5_f64.to_degrees()));
    site.voltage[0] = Channel::default();
    let frames = site.cycles(12.0);
    let (windows, ..) = outputs(site.found(&frames), &frames, 160);
    assert!(near(windows[0].phases[1].voltage_angle_microdegrees, 0.0));
    assert!(near(windows[0].phases[2].voltage_angle_microdegrees, -120.0));
}

#[test]
fn settings_out_of_range_name_the_field() {
    let config = Config::new(8_000_000_000, Nominal::Hz50, SCALE);
    let refused = |config: Config| {
        let error = Metrology::new(config, Registers::default()).expect_err("out of range");
        assert!(error.to_string().contains(error.field));
        error.field
    };
    assert_eq!(refused(Config { sample_rate_microhertz: 999_999_999, ..config }), "sample_rate_microhertz");
    assert_eq!(refused(Config { window_cycles: 0, ..config }), "window_cycles");
    let period = Some(Period::from_frequency(8_000_000_000, 71_000_000));
    assert!(refused(Config { period, ..config }).starts_with("period"));
    let mut scale = SCALE;
    scale.current_femtoamperes_per_count[3] = 0;
    assert_eq!(refused(Config { scale, ..config }), "current_femtoamperes_per_count");
}

#[test]
fn the_largest_sums_fit() {
    // The highest rate, the lowest frequency, the longest window, the largest scale: a debug build panics on overflow.
    let level = Frame::FULL_SCALE - 1;
    let frames: Vec<Frame> = (0..100_000)
        .map(|n| {
            let level = if n % 2_500 < 1_250 { level } else { -level };
            Frame { voltage: [level; 3], current: [level; 4] }
        })
        .collect();
    let config = Config {
        period: Some(Period::from_frequency(Config::SAMPLE_RATE_MAX_MICROHERTZ, 40_000_000)),
        window_cycles: Config::WINDOW_CYCLES_MAX,
        ..Config::new(
            Config::SAMPLE_RATE_MAX_MICROHERTZ,
            Nominal::Hz50,
            Scale {
                voltage_femtovolts_per_count: [Scale::MAX; 3],
                current_femtoamperes_per_count: [Scale::MAX; 4],
            },
        )
    };
    let mut metrology = Metrology::new(config, Registers::default()).expect("in range");
    let mut windows = Vec::new();
    for _ in 0..76 {
        metrology.push(&frames, &mut |window| windows.push(*window));
    }
    assert_eq!(windows.len(), 1);
    let watts = 3.0 * (f64::from(level) * 0.1).powi(2);
    assert!((windows[0].active_power_microwatts as f64 * 1e-6 / watts - 1.0).abs() < 1e-8);
    assert_eq!(windows[0].frequency_microhertz, Some(40_000_000));
}

/// All outputs of one fixed run. A change of a single bit changes the hash: if that is meant, write the new one down with the reason.
#[test]
fn golden_trace() {
    // Counts by integers only, so that no platform's sine can differ: sums of triangles of 50.3 Hz and its multiples, and noise.
    let mut random = Random(2026);
    let frames: Vec<Frame> = (0..16_000_u64)
        .map(|n| {
            let mut channel = |peak: i64, phase: u64| {
                let wave = |order: u64| {
                    let turn = (n * 27_003_113 * order).wrapping_add(phase * order) % (1 << 32);
                    (turn as i64 - (1 << 31)).abs() - (1 << 30)
                };
                let noise = (random.next() % 64) as i64 - 32;
                (((peak * (wave(1) + wave(5) / 16)) >> 30) + noise) as i32
            };
            let third = (1_u64 << 32) / 3;
            Frame {
                voltage: [channel(5_000_000, 0), channel(5_000_000, third), channel(4_900_000, 2 * third)],
                current: [
                    channel(900_000, 100_000_000),
                    channel(-700_000, third),
                    channel(10_000, 0),
                    channel(200_000, 7),
                ],
            }
        })
        .collect();
    let (windows, registers, clipped) =
        outputs(Config::new(8_000_000_000, Nominal::Hz50, SCALE), &frames, 160);
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    };
    let mut components = String::new();
    for window in &windows {
        // As they were before windows had components, so that the hash still stands.
        let text = format!("{window:?}");
        let (measured, more) = text.split_once(", components: ").expect("components");
        let (more, disturbed) = more.split_once(", disturbed: ").expect("the last field");
        assert_eq!(disturbed, "false }");
        add(format!("{measured} }}").as_bytes());
        // Nor had components the neutral's residual current.
        let (before, residual) = more.split_once("neutral_residual_microamperes: ").expect("a component");
        let (_, angle) = residual.split_once(", ").expect("its angle");
        let (_, after) = angle.split_once(", ").expect("others follow");
        components.push_str(before);
        components.push_str(after);
        components.push_str(" }");
    }
    add(&registers.encode());
    add(&clipped.to_le_bytes());
    assert_eq!(windows.len(), 10);
    assert_eq!(hash, 6_121_310_970_296_844_859, "{:?}", windows.last());
    let components = components.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    assert_eq!(components, 17_949_164_342_059_459_216, "{:?}", windows.last());
}
