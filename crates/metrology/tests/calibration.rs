//! Calibration: what a record mends, when it acts, and which records are refused.

mod common;

use common::{AMPERES, Channel, Random, SCALE, Site, VOLTS};
use meterseal_metrology::{
    Calibration, CalibrationError, CalibrationState, Config, CurvePoint, Extras, Frame, Metrology, Nominal,
    Quadratic, Registers, UnitId, Window,
};
use proptest::prelude::*;
use std::f64::consts::TAU;

const UNIT: UnitId = *b"MSL0000000001\0\0\0";

fn calibrated(config: Config, record: Calibration) -> Metrology {
    let extras = Extras { calibration: Some(Ok(record)), ..Extras::default() };
    Metrology::with_extras(config, extras, Registers::default()).expect("in range")
}

fn run(metrology: &mut Metrology, frames: &[Frame], block: usize) -> Vec<Window> {
    let mut windows = Vec::new();
    for block in frames.chunks(block) {
        metrology.push(block, &mut |window| windows.push(*window));
    }
    windows.extend(metrology.finish());
    windows
}

/// A unit as it is: what its front end makes of true signals. Written down apart from the core.
struct Unit {
    record: Calibration,
    kelvin: f64,
}

fn at(polynomial: Quadratic, kelvin: f64) -> f64 {
    f64::from(polynomial.constant)
        + f64::from(polynomial.linear) * 1e-3 * kelvin
        + f64::from(polynomial.quadratic) * 1e-6 * kelvin * kelvin
}

impl Unit {
    fn count(&self, site: &Site, channel: usize, n: usize) -> f64 {
        let own = &self.record.channels[channel];
        let late = at(own.delay_picoseconds, self.kelvin) * 1e-12;
        let turns = ((n as f64 + 0.5) / site.rate - late) * site.hertz;
        let truth = match channel {
            0..3 => site.voltage[channel].at(turns) / VOLTS,
            _ => site.current[channel - 3].at(turns) / AMPERES,
        };
        truth / (1.0 + at(own.gain_ppb, self.kelvin) * 1e-9)
    }

    fn frame(&self, site: &Site, n: usize) -> Frame {
        let counts: [f64; 7] = std::array::from_fn(|channel| {
            let mut count = self.count(site, channel, n);
            if (3..6).contains(&channel) {
                let crosstalk = f64::from(self.record.crosstalk_ppb[channel - 3]) * 1e-9;
                count += crosstalk * self.count(site, channel - 3, n);
            }
            count + at(self.record.channels[channel].offset_millicounts, self.kelvin) * 1e-3
        });
        let counts = counts.map(|count| count.round() as i32);
        Frame {
            voltage: [counts[0], counts[1], counts[2]],
            current: [counts[3], counts[4], counts[5], counts[6]],
        }
    }

    fn frames(&self, site: &Site, frames: usize) -> Vec<Frame> {
        (0..frames).map(|n| self.frame(site, n)).collect()
    }
}

/// A record such as a population of units has: gains of per cents, drifts of tens of ppm/K, delays of microseconds.
fn record(random: &mut Random) -> Calibration {
    let mut polynomial = |constant: f64, linear: f64, quadratic: f64| Quadratic {
        constant: random.within(-constant, constant) as i32,
        linear: random.within(-linear, linear) as i32,
        quadratic: random.within(-quadratic, quadratic) as i32,
    };
    let mut record = Calibration::nothing(UNIT);
    record.taken_at_millikelvin[..3].copy_from_slice(&[233_150, 296_150, 358_150]);
    for channel in &mut record.channels {
        channel.gain_ppb = polynomial(3e7, 6e7, 3e5);
        channel.offset_millicounts = polynomial(3e6, 1e6, 1e3);
        channel.delay_picoseconds = polynomial(8e6, 2e6, 1e4);
    }
    // Cross-talk acts before gain and is not delayed with the current: in tests either delay or cross-talk.
    record
}

#[test]
fn a_calibrated_unit_is_as_good_as_an_ideal_one_at_every_temperature() {
    let mut random = Random(31);
    for millikelvin in [233_150, 253_150, 296_150, 330_000, 358_150] {
        for hertz in [47.5, 50.0, 51.7] {
            for phi in [0.0, TAU / 6.0, -TAU / 4.0] {
                let unit =
                    Unit { record: record(&mut random), kelvin: f64::from(millikelvin) * 1e-3 - 296.15 };
                let site = Site::balanced(8e3, hertz, 20.0, phi).distorted(&mut random);
                let frames = unit.frames(&site, 4_000);
                let mut metrology = calibrated(site.config(), unit.record);
                metrology.set_temperature(millikelvin).expect("in range");
                // The first slots still have the reference temperature's coefficients.
                let windows = run(&mut metrology, &frames, 160);
                let window = windows[1];
                let errors = site.errors(&window);
                assert!(errors.active < 5e-6 && errors.reactive < 5e-6, "{millikelvin} {hertz} {errors:?}");
                // The filter's gain at high orders of the current: 30 % of third harmonic, 4 % of 25th.
                assert!(errors.rms < 1e-5, "{millikelvin} {hertz} {errors:?}");
                // The same without the record is wrong by what the unit is.
                let mut raw = Metrology::new(site.config(), Registers::default()).expect("in range");
                let errors = site.errors(&run(&mut raw, &frames, 160)[1]);
                assert!(errors.rms > 1e-3, "{errors:?}");
            }
        }
    }
}

#[test]
fn a_record_that_corrects_nothing_changes_no_bit() {
    let mut random = Random(32);
    let site = Site::balanced(8e3, 50.3, 80.0, 0.4).distorted(&mut random);
    for length in [0, 1, 4, 100, 200, 400, 3_217, 16_000] {
        let frames = site.frames(length);
        let mut plain = Metrology::new(site.config(), Registers::default()).expect("in range");
        let mut corrected = calibrated(site.config(), Calibration::nothing(UNIT));
        assert_eq!(run(&mut corrected, &frames, 100), run(&mut plain, &frames, 100), "{length}");
        assert_eq!(corrected.registers(), plain.registers());
        assert_eq!(corrected.samples(), length as u64);
    }
}

#[test]
fn block_sizes_change_no_bit_of_a_calibrated_unit() {
    let mut random = Random(33);
    let mut record = record(&mut random);
    record.transducers[0].heating_ppt_per_square_ampere = 100_000;
    record.transducers[0].heating_milliseconds = 100;
    let site = Site::balanced(8e3, 50.3, 50.0, 0.4).distorted(&mut random);
    let mut frames = site.frames(8_000);
    // Clipping counts and counts that only the correction takes beyond full scale.
    frames[3_000].current[1] = i32::MAX;
    frames[3_005].voltage[1] = -Frame::FULL_SCALE;
    frames[5_000].current[2] = Frame::FULL_SCALE - 1;
    let result = |block: usize| {
        let mut metrology = calibrated(site.config(), record);
        let mut windows = Vec::new();
        for (part, half) in frames.chunks(4_111).enumerate() {
            metrology.set_temperature(290_000 + 20_000 * part as u32).expect("in range");
            for block in half.chunks(block) {
                metrology.push(block, &mut |window| windows.push(*window));
            }
        }
        windows.extend(metrology.finish());
        (windows, *metrology.registers(), metrology.clipped_samples())
    };
    let whole = result(8_000);
    assert_eq!(whole.2, 2);
    assert!(whole.0.iter().any(|window| window.clipped) && whole.0.iter().any(|window| !window.clipped));
    for block in [1, 7, 128, 160, 1_000] {
        assert_eq!(result(block), whole, "{block}");
    }
}

#[test]
fn a_new_temperature_acts_from_the_next_cycle_on() {
    let mut record = Calibration::nothing(UNIT);
    // 1 000 ppm/K on the first voltage.
    record.channels[0].gain_ppb.linear = 1_000_000_000;
    let site = Site::balanced(8e3, 50.0, 5.0, 0.0);
    let mut metrology = calibrated(Config { fixed_period: true, window_cycles: 1, ..site.config() }, record);
    let mut volts = Vec::new();
    for (n, block) in site.frames(1_600).chunks(80).enumerate() {
        if n == 9 {
            // In the middle of the fifth cycle.
            metrology.set_temperature(306_150).expect("in range");
        }
        metrology
            .push(block, &mut |window| volts.push(window.phases[0].voltage_rms_microvolts as f64 * 1e-6));
    }
    // Boundaries 1 to 4 lie in slots 0 to 4; from the sixth on both slots are warm; the fifth has one of each.
    for (n, volts) in volts.into_iter().enumerate() {
        let gain = volts / 230.0;
        match n {
            0..4 => assert!((gain - 1.0).abs() < 1e-6, "{n} {volts}"),
            4 => assert!(gain > 1.003 && gain < 1.007, "{n} {volts}"),
            _ => assert!((gain - 1.01).abs() < 1e-6, "{n} {volts}"),
        }
    }
}

#[test]
fn a_transformer_is_corrected_along_its_curve() {
    let mut record = Calibration::nothing(UNIT);
    let point =
        |milliamperes, gain_ppb, delay_picoseconds| CurvePoint { milliamperes, gain_ppb, delay_picoseconds };
    record.transducers[1].curve[..3].copy_from_slice(&[
        point(50, 4_000_000, 9_000_000),
        point(5_000, 1_000_000, 3_000_000),
        point(100_000, -500_000, 1_000_000),
    ]);
    for (amperes, gain, late) in [
        (0.02, 4e-3, 9e-6),
        (0.05, 4e-3, 9e-6),
        (2.525, 2.5e-3, 6e-6),
        (5.0, 1e-3, 3e-6),
        (52.5, 0.25e-3, 2e-6),
        (100.0, -0.5e-3, 1e-6),
    ] {
        let site = Site::balanced(8e3, 50.0, amperes, TAU / 6.0);
        // The unit: current L2 too small by its gain and late.
        let mut unit = site.clone();
        let (_, rms, phase) = site.current[1].0[0];
        unit.current[1] = Channel::sine(rms / (1.0 + gain), phase - TAU * 50.0 * late);
        let mut metrology = calibrated(site.config(), record);
        let window = run(&mut metrology, &unit.frames(8_000), 160)[2];
        let errors = site.errors(&window);
        // Rounding to counts: 0.02 A is 1 111 of them.
        let limit = 3e-6 + 2e-6 / amperes;
        assert!(errors.active < limit && errors.rms < limit, "{amperes}: {errors:?}");
    }
}

#[test]
fn a_shunt_warms_up_with_its_time_constant() {
    let mut record = Calibration::nothing(UNIT);
    record.transducers[0].heating_ppt_per_square_ampere = -1_000_000;
    record.transducers[0].heating_milliseconds = 2_000;
    let site = Site::balanced(1e3, 50.0, 50.0, 0.0);
    let mut metrology = calibrated(site.config(), record);
    let windows = run(&mut metrology, &site.frames(10_000), 100);
    let gain = |window: &Window| window.phases[0].current_rms_microamperes as f64 * 1e-6 / 50.0 - 1.0;
    for window in &windows[2..40] {
        let seconds = (window.first_sample + window.samples / 2) as f64 * 1e-3;
        let settled = -1e-6 * 2_500.0;
        let truth = settled * (1.0 - (-seconds / 2.0).exp());
        assert!((gain(window) - truth).abs() < 5e-5, "{seconds}: {} {truth}", gain(window));
    }
}

#[test]
fn cross_talk_and_noise_are_taken_off() {
    let mut record = Calibration::nothing(UNIT);
    record.crosstalk_ppb = [50_000, -80_000, 0];
    record.channels[1].gain_ppb.constant = 20_000_000;
    record.channels[4].gain_ppb.constant = -30_000_000;
    let unit = Unit { record, kelvin: 0.0 };
    // 5 mA beside 5 000 000 counts of voltage, of which 50 ppm are 180 counts or 3 mA.
    let site = Site::balanced(8e3, 50.0, 0.005, TAU / 5.0);
    let frames = unit.frames(&site, 16_000);
    let errors = site.errors(&run(&mut calibrated(site.config(), record), &frames, 160)[3]);
    assert!(errors.active < 4e-4 && errors.reactive < 4e-4 && errors.rms < 4e-4, "{errors:?}");

    // Noise of 40 counts: its square alone would show 0.7 mA.
    let mut random = Random(5);
    let mut silent = Site::balanced(8e3, 50.0, 0.0, 0.0);
    silent.current = std::array::from_fn(|_| Channel::default());
    let mut noisy = silent.frames(80_000);
    for frame in &mut noisy {
        // Uniform between −69 and 69: a variance of 139²/12 less 1/12.
        frame.current = std::array::from_fn(|_| (random.next() % 139) as i32 - 69);
    }
    let square: f64 = (139.0 * 139.0 - 1.0) / 12.0;
    let mut record = Calibration::nothing(UNIT);
    for channel in &mut record.channels[3..] {
        channel.noise_millicounts_squared = (square * 1e3) as u32;
    }
    let rms = |record: Calibration| {
        let config = Config { window_cycles: 450, ..silent.config() };
        let window = run(&mut calibrated(config, record), &noisy, 160)[0];
        window.phases.map(|phase| phase.current_rms_microamperes)
    };
    for (with, without) in rms(record).into_iter().zip(rms(Calibration::nothing(UNIT))) {
        assert!((without as f64 * 1e-6 / (square.sqrt() * AMPERES) - 1.0).abs() < 0.02);
        assert!(with * 6 < without, "{with} {without}");
    }
}

#[test]
fn a_meter_says_whether_it_is_calibrated() {
    let config = Config::new(8_000_000_000, Nominal::Hz50, SCALE);
    let state = |calibration| {
        let extras = Extras { calibration, ..Extras::default() };
        Metrology::with_extras(config, extras, Registers::default()).expect("in range").calibration_state()
    };
    assert_eq!(state(None), CalibrationState::Missing);
    let mut record = record(&mut Random(9));
    let mut bytes = record.encode();
    assert_eq!(
        state(Some(Calibration::decode(&bytes, &UNIT))),
        CalibrationState::Valid { extrapolated: false }
    );
    bytes[100] ^= 1;
    let refused = state(Some(Calibration::decode(&bytes, &UNIT)));
    assert!(matches!(refused, CalibrationState::Refused(CalibrationError::Checksum { .. })));
    assert!(!refused.is_valid());
    // A record that was made, not read, is checked as well.
    record.channels[2].gain_ppb.constant = 200_000_001;
    assert!(!state(Some(Ok(record))).is_valid());
    record.channels[2].gain_ppb.constant = 0;
    let mut metrology = calibrated(config, record);
    metrology.set_temperature(358_151).expect("in range");
    assert_eq!(metrology.calibration_state(), CalibrationState::Valid { extrapolated: true });
    for broken in [0, 199_999, 400_001] {
        let error = metrology.set_temperature(broken).expect_err("no unit's temperature");
        assert!(error.to_string().contains("temperature_millikelvin"));
    }
}

#[test]
fn a_record_of_another_unit_length_or_version_is_refused() {
    let record = record(&mut Random(10));
    let bytes = record.encode();
    assert_eq!(Calibration::decode(&bytes, &UNIT), Ok(record));
    assert_eq!(
        Calibration::decode(&bytes[1..], &UNIT),
        Err(CalibrationError::Length { found: bytes.len() - 1 })
    );
    let mut newer = bytes;
    newer[0] = 2;
    assert_eq!(Calibration::decode(&newer, &UNIT), Err(CalibrationError::Version { found: 2 }));
    let other = *b"MSL0000000002\0\0\0";
    let error = Calibration::decode(&bytes, &other).expect_err("another unit");
    assert_eq!(error, CalibrationError::Unit { expected: other, found: UNIT });
    assert!(error.to_string().contains("MSL0000000001") && error.to_string().contains("MSL0000000002"));
}

#[test]
fn an_impossible_value_is_refused_by_name_and_range() {
    let refused = |change: &dyn Fn(&mut Calibration)| {
        let mut record = record(&mut Random(11));
        change(&mut record);
        // Its checksum is right: it was written so.
        Calibration::decode(&record.encode(), &UNIT).expect_err("out of range").to_string()
    };
    let gain = refused(&|record| record.channels[5].gain_ppb.constant = -200_000_001);
    assert!(
        gain.contains("gain_ppb.constant -200000001") && gain.contains("-200000000 to 200000000"),
        "{gain}"
    );
    assert!(refused(&|r| r.reference_millikelvin = 0).contains("reference_millikelvin"));
    assert!(refused(&|r| r.taken_at_millikelvin[7] = 1).contains("taken_at_millikelvin"));
    assert!(refused(&|r| r.channels[0].delay_picoseconds.constant = i32::MAX).contains("delay_picoseconds"));
    assert!(refused(&|r| r.crosstalk_ppb[2] = 10_000_001).contains("crosstalk_ppb"));
    assert!(refused(&|r| r.transducers[3].heating_milliseconds = 3_600_001).contains("heating_milliseconds"));
    let falls = refused(&|r| {
        r.transducers[2].curve[0].milliamperes = 100;
        r.transducers[2].curve[1].milliamperes = 100;
    });
    assert!(falls.contains("curve of current 2"), "{falls}");
    let goes_on = refused(&|r| {
        r.transducers[2].curve[0].milliamperes = 100;
        r.transducers[2].curve[4].gain_ppb = 1;
    });
    assert!(goes_on.contains("curve of current 2"), "{goes_on}");
}

proptest! {
    #[test]
    fn any_changed_bit_is_noticed(seed: u64, bit in 0..Calibration::ENCODED_LEN * 8) {
        let mut bytes = record(&mut Random(seed)).encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Calibration::decode(&bytes, &UNIT).is_err());
    }

    #[test]
    fn any_record_within_its_ranges_measures_any_counts(
        seed: u64,
        counts in prop::collection::vec(any::<[i32; 7]>(), 1..300),
        millikelvin in 200_000_u32..=400_000,
    ) {
        let mut random = Random(seed);
        let mut record = Calibration::nothing(UNIT);
        let mut extreme = |limit: i32| if random.next().is_multiple_of(2) { limit } else { -limit };
        for channel in &mut record.channels {
            let mut polynomial = |constant, linear, quadratic| Quadratic {
                constant: extreme(constant),
                linear: extreme(linear),
                quadratic: extreme(quadratic),
            };
            channel.gain_ppb = polynomial(200_000_000, 1_000_000_000, 1_000_000_000);
            channel.offset_millicounts = polynomial(1_048_576_000, 100_000_000, 100_000_000);
            channel.delay_picoseconds = polynomial(20_000_000, 100_000_000, 100_000_000);
            channel.noise_millicounts_squared = u32::MAX;
        }
        for transducer in &mut record.transducers {
            transducer.heating_ppt_per_square_ampere = extreme(1_000_000);
        }
        record.crosstalk_ppb = std::array::from_fn(|_| extreme(10_000_000));
        record.check().expect("limits are within");
        let frames: Vec<Frame> = counts
            .iter()
            .map(|c| Frame { voltage: [c[0], c[1], c[2]], current: [c[3], c[4], c[5], c[6]] })
            .collect();
        let mut metrology = calibrated(Config::new(1_000_000_000, Nominal::Hz50, SCALE), record);
        metrology.set_temperature(millikelvin).expect("in range");
        let windows = run(&mut metrology, &frames, 50);
        prop_assert!(!windows.is_empty());
        prop_assert_eq!(metrology.samples(), frames.len() as u64);
    }
}
