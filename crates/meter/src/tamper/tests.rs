extern crate std;

use std::vec;

use super::*;
use Condition::*;

const QUIET: SensorReadings = SensorReadings::QUIET;
const THRESHOLDS: Thresholds = Thresholds::STANDARD;
/// Between two readings.
const STEP_MS: u64 = SensorReadings::PERIOD_MS as u64;

/// A detector and what it has latched, as the meter keeps it.
struct Bench {
    detector: Detector,
    latched: Latches,
    uptime_ms: u64,
    thresholds: Thresholds,
}

impl Bench {
    fn new() -> Self {
        Self { detector: Detector::new(), latched: Latches::default(), uptime_ms: 0, thresholds: THRESHOLDS }
    }

    fn look(&mut self, readings: &SensorReadings, window: Option<&Window>) -> Vec<(u64, EventCode, i64)> {
        let moment = Moment {
            thresholds: &self.thresholds,
            latched: self.latched,
            uptime_ms: self.uptime_ms,
            unseen_us: 60_000_000,
            declared_millivolts: 230_000,
        };
        let events = self.detector.sense(readings, window, &moment);
        let seen = events.iter().map(|event| {
            self.latched = self.latched.after(event.code);
            (self.uptime_ms, event.code, event.extreme)
        });
        let seen = seen.collect();
        self.uptime_ms += STEP_MS;
        seen
    }

    fn run(&mut self, readings: impl IntoIterator<Item = SensorReadings>) -> Vec<(u64, EventCode, i64)> {
        readings.into_iter().flat_map(|reading| self.look(&reading, None)).collect()
    }
}

/// Feeds readings to a new detector.
fn run(readings: impl IntoIterator<Item = SensorReadings>) -> Vec<(u64, EventCode, i64)> {
    Bench::new().run(readings)
}

fn field(microtesla: i32) -> SensorReadings {
    SensorReadings { magnetic_field_microtesla: [0, microtesla, 0], ..QUIET }
}

#[test]
fn cpa_tamp_a_cover_is_noticed_within_20_ms_once_and_when_it_closes() {
    let open = SensorReadings { meter_cover_open: true, ..QUIET };
    let seen = run([QUIET, open, open, open, open, QUIET, QUIET, QUIET, QUIET]);
    assert_eq!(seen, [(16, EventCode::CoverRemoved, 0), (32, EventCode::CoverClosed, 0)]);
}

#[test]
fn a_bouncing_switch_is_no_event() {
    let open = SensorReadings { terminal_cover_open: true, ..QUIET };
    assert_eq!(run([QUIET, open, open, open, QUIET, open, QUIET, open, QUIET]), []);
}

#[test]
fn cpa_tamp_what_happened_to_a_cover_without_supply_is_told_with_its_uncertainty() {
    let opened = SensorReadings { terminal_cover_latched: true, ..QUIET };
    let told = |code| (0, code, 60_000_000);
    let both = [told(EventCode::TerminalCoverRemoved), told(EventCode::TerminalCoverClosed)];
    assert_eq!(run([opened, opened, QUIET]), both, "opened and closed again");
    let still_open = SensorReadings { meter_cover_open: true, meter_cover_latched: true, ..QUIET };
    assert_eq!(run([still_open; 5]), [(12, EventCode::CoverRemoved, 60_000_000)]);
    let mut bench = Bench::new();
    bench.latched = Latches::default().after(EventCode::CoverRemoved);
    assert_eq!(bench.run([QUIET; 5]), [(12, EventCode::CoverClosed, 60_000_000)], "closed meanwhile");
    assert_eq!(run([QUIET, opened, opened]), [], "with supply the switch tells");
}

#[test]
fn cpa_tamp_a_magnet_has_hysteresis_and_its_end_tells_its_strongest_field() {
    let seen =
        run([0, 49_999, 60_000, 60_000, 60_000, 60_000, 90_000, 31_000, 31_000, 31_000, 31_000, 0, 0, 0, 0]
            .map(field));
    assert_eq!(seen, [(16, EventCode::MagnetOn, 60_000), (52, EventCode::MagnetOff, 90_000)]);
}

#[test]
fn the_field_counts_as_a_vector() {
    let diagonal = SensorReadings { magnetic_field_microtesla: [-30_000, 30_000, -30_000], ..QUIET };
    assert_eq!(run([diagonal; 4]), [(12, EventCode::MagnetOn, 51_961)]);
    let beyond = SensorReadings { magnetic_field_microtesla: [i32::MIN; 3], ..QUIET };
    assert_eq!(run([beyond; 4]), [(12, EventCode::MagnetOn, 3_719_550_786)]);
}

/// A coil's field as a sensor tells it that holds highest and lowest between readings.
fn coil(amplitude: f64, hertz: f64, turns: f64, readings: usize) -> Vec<SensorReadings> {
    let at = |ms: f64| (amplitude * (std::f64::consts::TAU * (hertz * ms / 1000.0 + turns)).sin()) as i32;
    (1..=readings as u64)
        .map(|n| {
            let (from, to) = ((n - 1) * STEP_MS * 100, n * STEP_MS * 100);
            let all = (from..=to).map(|step| at(step as f64 / 100.0));
            let swing = (all.clone().max().unwrap() - all.min().unwrap()) as u32;
            SensorReadings {
                magnetic_field_microtesla: [at(to as f64 / 100.0), 0, 0],
                magnetic_swing_microtesla: [swing, 0, 0],
                ..QUIET
            }
        })
        .collect()
}

#[test]
fn cpa_tamp_an_alternating_field_is_noticed_within_60_ms_as_what_it_is_and_ends() {
    for hertz in [47.0, 50.0, 53.0, 60.0] {
        for phase in 0..20 {
            for amplitude in [5_700.0, 40_000.0, 400_000.0] {
                let mut readings = coil(amplitude, hertz, f64::from(phase) / 20.0, 100);
                readings.extend([QUIET; 40]);
                let seen = run(readings);
                let codes: Vec<_> = seen.iter().map(|event| event.1).collect();
                let expected = [EventCode::AlternatingFieldOn, EventCode::AlternatingFieldOff];
                assert_eq!(codes, expected, "{hertz} {phase} {amplitude}: {seen:?}");
                assert!(seen[0].0 <= 48, "{hertz} {phase} {amplitude}: {seen:?}");
                let told = seen[1].2 as f64 / amplitude;
                assert!((0.8..1.35).contains(&told), "{hertz} {phase} {amplitude}: {seen:?}");
            }
        }
    }
}

#[test]
fn a_transformers_stray_field_and_a_magnet_that_approaches_are_no_alternating_field() {
    assert_eq!(run(coil(1_500.0, 50.0, 0.1, 200)), []);
    // In 50 ms from far to near and, later, away.
    let levels = (0..12).map(|n| n * 34_000).chain([400_000; 20]).chain((0..12).rev().map(|n| n * 34_000));
    let mut before = 0;
    let readings = levels.chain([0; 20]).map(|level| {
        let swing = i32::abs_diff(level, std::mem::replace(&mut before, level));
        SensorReadings { magnetic_swing_microtesla: [0, swing, 0], ..field(level) }
    });
    let codes: Vec<_> = run(readings).into_iter().map(|event| event.1).collect();
    assert_eq!(codes, [EventCode::MagnetOn, EventCode::MagnetOff]);
}

#[test]
fn cpa_tamp_a_surge_is_one_event_at_once_and_over_and_only_a_higher_one_that_follows_is_another() {
    let surge = |peak| SensorReadings { surge_peak_millivolts: [0, peak, 0], ..QUIET };
    let mut readings = vec![QUIET, surge(1_499_999), surge(4_000_000), surge(2_000_000), QUIET];
    readings.extend([surge(5_000_000)].into_iter().chain([QUIET; 60]).chain([surge(1_500_000)]));
    let spike = |at, kilovolts: i64| (at, EventCode::VoltageSpike, kilovolts * 1_000_000_000);
    // The third is no tenth higher than 4 kV; the fourth is; the last has nothing to do with them.
    assert_eq!(
        run(readings.clone()),
        [spike(8, 4), spike(20, 5), (264, EventCode::VoltageSpike, 1_500_000_000)]
    );
    // Whatever a storm does, it does not fill the log.
    let storm = (0..10_000_u32).map(|n| surge(1_500_000 + n * 1_850));
    assert!((2..=30).contains(&run(storm).len()));
}

#[test]
fn cpa_tamp_a_turn_is_noticed_and_a_knock_is_not() {
    let at = |degrees: f64| SensorReadings {
        acceleration_milli_g: [
            (1000.0 * degrees.to_radians().sin()) as i32,
            (1000.0 * degrees.to_radians().cos()) as i32,
            0,
        ],
        ..QUIET
    };
    // A door that slams: 2 g at 25 Hz, gone in a tenth of a second.
    let knock = (0..200).map(|n| {
        let shake = 2000.0 * (-f64::from(n) / 8.0).exp() * (f64::from(n) * 0.628).sin();
        SensorReadings { acceleration_milli_g: [shake as i32, 1000, shake as i32 / 2], ..QUIET }
    });
    assert_eq!(run(knock), []);
    assert_eq!(run([at(13.0); 500]), []);
    let mut bench = Bench::new();
    assert_eq!(bench.run([QUIET; 100]), []);
    let turned = bench.run([at(40.0); 300]);
    assert_eq!(turned.len(), 1, "{turned:?}");
    assert!(turned[0].1 == EventCode::Tilted && turned[0].0 < 1_000, "{turned:?}");
    let back = bench.run([QUIET; 300]);
    assert_eq!(back.len(), 1, "{back:?}");
    assert_eq!(back[0].1, EventCode::Upright);
    assert!((back[0].2 - 40_000_000).abs() < 1_500_000, "{back:?}");
}

#[test]
fn cpa_tamp_heat_is_an_event_beyond_what_the_meter_works_in() {
    let at = |celsius: u32| SensorReadings { temperature_millikelvin: 273_150 + celsius * 1000, ..QUIET };
    assert_eq!(run([at(94); 2_000]), []);
    let seen = run([[at(96); 1_500], [at(91); 1_500], [at(89); 1_500]].concat());
    assert_eq!(
        seen,
        [
            (5_000, EventCode::OverTemperature, 369_150_000),
            (17_000, EventCode::TemperatureNormal, 369_150_000)
        ]
    );
}

/// Three phases with a current of 5 A each; nothing in the neutral.
fn window() -> Window {
    let phase = meterseal_metrology::PhaseQuantities {
        voltage_rms_microvolts: 230_000_000,
        current_rms_microamperes: 5_000_000,
        current_fundamental_microamperes: 5_000_000,
        active_power_microwatts: 1_150_000_000,
        ..Default::default()
    };
    Window {
        first_sample: 0,
        samples: 1600,
        cycles: 10,
        frequency_microhertz: Some(50_000_000),
        phases: [phase; 3],
        neutral_current_rms_microamperes: 0,
        active_power_microwatts: 3_450_000_000,
        reactive_power_microvars: 0,
        apparent_power_microvoltamperes: 3_450_000_000,
        power_factor_ppm: 1_000_000,
        clipped: false,
        components: Default::default(),
        disturbed: false,
    }
}

/// Looks at this window again and again, one every 200 ms.
fn windows(bench: &mut Bench, window: &Window, count: usize) -> Vec<(EventCode, i64)> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.extend(bench.look(&QUIET, Some(window)).into_iter().map(|(_, code, extreme)| (code, extreme)));
        bench.uptime_ms += 200 - STEP_MS;
    }
    seen
}

/// L2's current at a power factor of 0.8, 30 % of which flows past the meter: the three are otherwise alike.
fn bypassed() -> Window {
    let mut window = window();
    for (phase, voltage) in window.phases.iter_mut().zip([0, -120_000_000, 120_000_000]) {
        phase.voltage_angle_microdegrees = voltage;
        phase.current_angle_microdegrees = voltage - 37_000_000;
    }
    window.components.neutral_residual_microamperes = 2_500_000;
    window.components.neutral_residual_angle_microdegrees = -157_000_000 + 180_000_000;
    window
}

#[test]
fn cpa_tamp_currents_past_the_meter_backwards_and_without_voltage_are_noticed_by_phase_and_end() {
    let sound = window();
    let mut reversed = window();
    reversed.phases[1].active_power_microwatts = -1_150_000_000;
    let mut unmeasured = window();
    unmeasured.phases[2].voltage_rms_microvolts = 3_000_000;
    for (wrong, condition, extreme) in [
        (bypassed(), BypassL2, 2_500_000),
        (reversed, ReversedL2, -1_150_000_000),
        (unmeasured, UnmeasuredL3, 5_000_000),
    ] {
        let mut bench = Bench::new();
        assert_eq!(windows(&mut bench, &sound, 20), []);
        assert_eq!(windows(&mut bench, &wrong, 5), [], "a switch: {condition:?}");
        assert_eq!(windows(&mut bench, &sound, 5), []);
        assert_eq!(windows(&mut bench, &wrong, 20), [(condition.begin(), extreme)]);
        assert_eq!(windows(&mut bench, &sound, 20), [(condition.end(), extreme)]);
    }
    let mut bench = Bench::new();
    bench.thresholds.generation_expected = 1;
    assert_eq!(windows(&mut bench, &reversed, 20), [], "a plant on the roof");
    bench.thresholds = Thresholds { neutral_milliamperes: 0, unmeasured_milliamperes: 0, ..bench.thresholds };
    assert_eq!(windows(&mut bench, &bypassed(), 20), []);
    assert_eq!(windows(&mut bench, &unmeasured, 20), []);
}

#[test]
fn cpa_tamp_where_something_generates_the_other_phases_are_watched() {
    let mut reversed = window();
    reversed.phases.iter_mut().for_each(|phase| phase.active_power_microwatts = -1_150_000_000);
    let codes = |generation_expected| {
        let mut bench = Bench::new();
        bench.thresholds.generation_expected = generation_expected;
        windows(&mut bench, &reversed, 20).into_iter().map(|(code, _)| code).collect::<Vec<_>>()
    };
    use EventCode::{CurrentReversedL1, CurrentReversedL2, CurrentReversedL3};
    assert_eq!(codes(0), [CurrentReversedL1, CurrentReversedL2, CurrentReversedL3]);
    assert_eq!(codes(4), [CurrentReversedL1, CurrentReversedL3], "a plant on L2");
    assert_eq!(codes(2 + 8), [CurrentReversedL2]);
    assert_eq!(codes(2 + 4 + 8), []);
}

#[test]
fn cpa_tamp_a_bypassed_phase_is_named_also_when_none_of_its_current_is_left_and_otherwise_none_is() {
    let mut all_of_it = bypassed();
    all_of_it.phases[1].current_fundamental_microamperes = 3_000;
    all_of_it.phases[1].current_angle_microdegrees = 90_000_000;
    assert_eq!(windows(&mut Bench::new(), &all_of_it, 20), [(EventCode::BypassL2, 2_500_000)]);
    // The neutral is bypassed: what it lacks is against L2's current, and with nobody's.
    let mut neutral = bypassed();
    neutral.phases.iter_mut().for_each(|phase| phase.current_angle_microdegrees = -157_000_000);
    neutral.components.neutral_residual_angle_microdegrees = -157_000_000;
    let mut bench = Bench::new();
    assert_eq!(windows(&mut bench, &neutral, 20), [(EventCode::NeutralMismatch, 2_500_000)]);
    // Whatever it looks like then, it is the same event until it is over.
    assert_eq!(windows(&mut bench, &bypassed(), 20), []);
    assert_eq!(windows(&mut bench, &window(), 20), [(EventCode::NeutralMatch, 2_500_000)]);
}

#[test]
fn what_was_latched_before_phases_were_named_ends() {
    let mut bench = Bench::new();
    bench.latched = Latches(1 << 5 | 1 << 8 | 1 << 9);
    let codes: Vec<_> = windows(&mut bench, &window(), 20).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [EventCode::CurrentForward, EventCode::CurrentWithVoltage]);
}

#[test]
fn differences_between_transformers_at_a_high_current_are_no_bypass() {
    let mut high = window();
    high.phases[0].current_fundamental_microamperes = 80_000_000;
    high.components.neutral_residual_microamperes = 3_900_000;
    assert_eq!(windows(&mut Bench::new(), &high, 20), []);
    high.components.neutral_residual_microamperes = 4_100_000;
    assert_eq!(windows(&mut Bench::new(), &high, 20).len(), 1);
}

/// What the core says of L2 at this uptime, which is also the number of the sample.
fn said(kind: meterseal_metrology::EventKind, from: u64, to: Option<u64>, extreme: i64) -> Event {
    Event { kind, phase: Some(1), start_sample: from, end_sample: to, extreme }
}

#[test]
fn cpa_tamp_what_the_core_says_of_the_supply_is_an_event_at_the_next_reading_and_over_when_quiet() {
    use meterseal_metrology::EventKind::{PhaseLost, Swell};
    let mut bench = Bench::new();
    assert_eq!(bench.run([QUIET; 10]), []);
    bench.detector.note(&said(Swell, 30, None, 255_000_000), |sample| sample);
    assert_eq!(bench.run([QUIET]), [(40, EventCode::OvervoltageL2, 255_000_000)]);
    // It flickers: one event.
    bench.detector.note(&said(Swell, 30, Some(60), 256_000_000), |sample| sample);
    bench.detector.note(&said(Swell, 70, None, 260_000_000), |sample| sample);
    assert_eq!(bench.run([QUIET; 400]), []);
    bench.detector.note(&said(Swell, 70, Some(1_600), 265_000_000), |sample| sample);
    let over = bench.run([QUIET; 900]);
    assert_eq!(over.len(), 1, "{over:?}");
    assert_eq!((over[0].1, over[0].2), (EventCode::OvervoltageOverL2, 265_000_000));
    assert!((3_600..3_700).contains(&over[0].0), "{over:?}");
    // Gone and back between two readings.
    let now = bench.uptime_ms;
    bench.detector.note(&said(PhaseLost, now - 3, None, 1_000_000), |sample| sample);
    bench.detector.note(&said(PhaseLost, now - 3, Some(now - 1), 900_000), |sample| sample);
    let seen = bench.run([QUIET; 900]);
    assert_eq!(
        seen.iter().map(|event| (event.1, event.2)).collect::<Vec<_>>(),
        [(EventCode::PhaseLostL2, 900_000), (EventCode::VoltageNormalL2, 900_000)]
    );
}

#[test]
fn what_was_amiss_before_a_restart_is_over_only_once_something_is_measured() {
    let mut bench = Bench::new();
    bench.latched = Latches::default().after(EventCode::PhaseLostL1).after(EventCode::SupplyInterrupted);
    assert_eq!(bench.run([QUIET; 1_000]), []);
    let seen = windows(&mut bench, &window(), 20);
    assert_eq!(seen, [(EventCode::VoltageNormalL1, 0), (EventCode::SupplyRestored, 0)]);
}
