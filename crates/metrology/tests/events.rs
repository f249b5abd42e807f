//! Power-quality events (IEC 61000-4-30): start, end and extreme against signals whose truth is known.

mod common;

use common::{Channel, Random, Site};
use meterseal_metrology::{Event, EventKind, EventSettings, Extras, Frame, Metrology, Registers};
use proptest::prelude::*;
use std::f64::consts::TAU;

const SETTINGS: EventSettings = EventSettings::new(230_000);

fn watch(site: &Site, settings: EventSettings, frames: &[Frame], block: usize) -> Vec<Event> {
    let extras = Extras { events: Some(settings), ..Extras::default() };
    let mut metrology =
        Metrology::with_extras(site.config(), extras, Registers::default()).expect("in range");
    let mut events = Vec::new();
    for block in frames.chunks(block) {
        metrology.push(block, &mut |_| ());
        events.extend(std::iter::from_fn(|| metrology.take_event()));
    }
    metrology.finish();
    events.extend(std::iter::from_fn(|| metrology.take_event()));
    assert_eq!(metrology.lost_events(), 0);
    events
}

/// Frames whose voltages are scaled between two samples.
fn scaled(site: &Site, frames: usize, from: usize, to: usize, factors: [f64; 3]) -> Vec<Frame> {
    let mut frames = site.frames(frames);
    for frame in &mut frames[from..to] {
        for (voltage, factor) in frame.voltage.iter_mut().zip(factors) {
            *voltage = (f64::from(*voltage) * factor).round() as i32;
        }
    }
    frames
}

fn of(events: &[Event], kind: EventKind) -> Vec<Event> {
    events.iter().filter(|event| event.kind == kind).copied().collect()
}

#[test]
fn a_steady_supply_has_no_events() {
    let mut random = Random(61);
    for hertz in [47.5, 50.0, 52.3] {
        let site = Site::balanced(8e3, hertz, 5.0, 0.5).distorted(&mut random);
        let settings = EventSettings {
            transient_millivolts: Some(50_000),
            over_current_milliamperes: Some(10_000),
            reverse_power_milliwatts: Some(1_000),
            ..SETTINGS
        };
        assert_eq!(watch(&site, settings, &site.frames(16_000), 160), []);
    }
}

#[test]
fn a_sag_has_start_end_and_depth() {
    for hertz in [50.0, 49.3] {
        let site = Site::balanced(8e3, hertz, 5.0, 0.5);
        // Half a second at 70 % on L2.
        let events = watch(&site, SETTINGS, &scaled(&site, 12_000, 4_000, 8_000, [1.0, 0.7, 1.0]), 333);
        let sags = of(&events, EventKind::Sag);
        assert_eq!(sags.len(), 2, "{events:?}");
        assert!(sags.iter().all(|sag| sag.phase == Some(1)));
        assert_eq!(sags[0].end_sample, None);
        assert_eq!(sags[0].start_sample, sags[1].start_sample);
        // IEC 61000-4-30: the cycle that began it and the cycle that ended it, to half a cycle.
        assert!(sags[1].start_sample.abs_diff(4_000) <= 160, "{sags:?}");
        assert!(sags[1].end_sample.expect("over").abs_diff(8_000) <= 240, "{sags:?}");
        assert!((sags[1].extreme as f64 / (0.7 * 230e6) - 1.0).abs() < 1e-3, "{sags:?}");
        assert!(of(&events, EventKind::Swell).is_empty() && of(&events, EventKind::Interruption).is_empty());
    }
}

#[test]
fn windows_with_a_sag_or_swell_in_them_are_flagged() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.3);
    for (from, to, factor) in
        [(8_000, 8_080, 0.85), (8_000, 8_160, 1.2), (7_000, 12_000, 0.8), (9_590, 9_750, 0.0)]
    {
        let frames = scaled(&site, 24_000, from, to, [factor, 1.0, 1.0]);
        let extras = Extras { events: Some(SETTINGS), ..Extras::default() };
        let mut metrology =
            Metrology::with_extras(site.config(), extras, Registers::default()).expect("in range");
        let mut windows = Vec::new();
        metrology.push(&frames, &mut |window| windows.push(*window));
        for window in windows {
            let (start, end) =
                (window.first_sample as usize, (window.first_sample + window.samples) as usize);
            // A window's weights begin and end half a cycle beyond it, and an RMS value takes a cycle.
            if end > from + 80 && start < to - 80 {
                assert!(window.disturbed, "{from} {to} {factor}: {start}");
            } else if end + 240 < from || start > to + 400 {
                assert!(!window.disturbed, "{from} {to} {factor}: {start}");
            }
        }
    }
}

#[test]
fn a_sag_of_half_a_cycle_is_seen() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.5);
    let events = watch(&site, SETTINGS, &scaled(&site, 8_000, 4_000, 4_080, [0.3, 1.0, 1.0]), 160);
    let sags = of(&events, EventKind::Sag);
    assert_eq!(sags.len(), 2, "{events:?}");
    // Half of the cycle at 0.3.
    let truth = 230e6 * ((1.0 + 0.09) / 2.0_f64).sqrt();
    assert!((sags[1].extreme as f64 / truth - 1.0).abs() < 0.02, "{sags:?} {truth}");
}

#[test]
fn hysteresis_keeps_a_sag_together() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.5);
    let mut frames = Vec::new();
    // 91 % is above the threshold of 90 % but within its hysteresis of 2 %.
    for (n, factor) in [1.0, 0.89, 0.91, 0.89, 0.93].into_iter().enumerate() {
        frames.extend_from_slice(
            &scaled(&site, (n + 1) * 3_200, n * 3_200, (n + 1) * 3_200, [factor; 3])[n * 3_200..],
        );
    }
    let events = watch(&site, SETTINGS, &frames, 160);
    for number in 0..3 {
        let sags: Vec<_> = events.iter().filter(|event| event.phase == Some(number)).collect();
        assert_eq!(sags.len(), 2, "{events:?}");
        assert!(sags[1].end_sample.expect("over").abs_diff(4 * 3_200) <= 240);
    }
}

#[test]
fn a_swell_and_an_over_current_show_their_highest_value() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.5);
    let mut frames = scaled(&site, 12_000, 4_000, 8_000, [1.2, 1.0, 1.0]);
    for frame in &mut frames[6_000..6_800] {
        frame.current[2] *= 4;
    }
    let settings = EventSettings { over_current_milliamperes: Some(15_000), ..SETTINGS };
    let events = watch(&site, settings, &frames, 160);
    let swell = of(&events, EventKind::Swell)[1];
    assert_eq!(swell.phase, Some(0));
    assert!((swell.extreme as f64 / (1.2 * 230e6) - 1.0).abs() < 1e-3, "{swell:?}");
    let over = of(&events, EventKind::OverCurrent);
    assert_eq!((over.len(), over[1].phase), (2, Some(2)));
    assert!((over[1].extreme as f64 / 20e6 - 1.0).abs() < 1e-3, "{over:?}");
    assert!(
        over[1].start_sample.abs_diff(6_000) <= 160
            && over[1].end_sample.expect("over").abs_diff(6_800) <= 240
    );
}

#[test]
fn an_interruption_is_one_of_all_phases() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.5);
    let two = watch(&site, SETTINGS, &scaled(&site, 12_000, 4_000, 8_000, [0.0, 0.0, 1.0]), 160);
    assert!(of(&two, EventKind::Interruption).is_empty());
    let all = watch(&site, SETTINGS, &scaled(&site, 12_000, 4_000, 8_000, [0.0, 0.02, 0.0]), 160);
    let interruption = of(&all, EventKind::Interruption);
    assert_eq!(interruption.len(), 2, "{all:?}");
    assert_eq!(interruption[1].phase, None);
    assert!((interruption[1].extreme as f64 / 4.6e6 - 1.0).abs() < 0.01, "{interruption:?}");
    assert!(interruption[1].start_sample.abs_diff(4_000) <= 160);
    assert!(interruption[1].end_sample.expect("over").abs_diff(8_000) <= 240);
}

#[test]
fn cpa_tamp_voltage_events_are_told_within_two_cycles_wherever_in_the_cycle_they_begin() {
    let site = Site::balanced(8e3, 49.7, 5.0, 0.5);
    let mut exchanged = Site::balanced(8e3, 49.7, 5.0, 0.5);
    exchanged.voltage.swap(1, 2);
    let exchanged = exchanged.frames(5_200);
    for offset in (0..160).step_by(3) {
        let from = 4_000 + offset;
        let changed = |factors| scaled(&site, 5_200, from, 5_200, factors);
        let mut turned = site.frames(5_200);
        turned[from..].copy_from_slice(&exchanged[from..]);
        for (kind, frames) in [
            (EventKind::PhaseLost, changed([1.0, 0.04, 1.0])),
            (EventKind::Swell, changed([1.0, 1.0, 1.11])),
            (EventKind::Interruption, changed([0.04; 3])),
            (EventKind::PhaseSequence, turned),
        ] {
            let extras = Extras { events: Some(SETTINGS), ..Extras::default() };
            let mut metrology =
                Metrology::with_extras(site.config(), extras, Registers::default()).expect("in range");
            let told = frames.chunks(4).position(|block| {
                metrology.push(block, &mut |_| ());
                std::iter::from_fn(|| metrology.take_event()).any(|event| event.kind == kind)
            });
            let latency = (told.expect("told") + 1) * 4 - from;
            // Two cycles are 322 samples, of which a reading of the sensors needs some.
            assert!(latency <= 280, "{kind:?} at {offset}: {latency} samples");
        }
    }
}

#[test]
fn a_lost_phase_is_one_below_the_interruptions_threshold() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.5);
    let events = watch(&site, SETTINGS, &scaled(&site, 12_000, 4_000, 8_000, [0.06, 1.0, 0.03]), 160);
    let lost = of(&events, EventKind::PhaseLost);
    assert_eq!(lost.len(), 2, "{events:?}");
    assert!(lost.iter().all(|event| event.phase == Some(2)));
    assert!((lost[1].extreme as f64 / (0.03 * 230e6) - 1.0).abs() < 0.01, "{lost:?}");
    // With two phases all but gone neither direction is the larger one.
    assert!(of(&events, EventKind::PhaseSequence).is_empty());
}

#[test]
fn a_spike_is_a_transient_of_its_height() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.5);
    let mut frames = site.frames(8_000);
    // 180 V on one sample of L3, and again 3 ms later: one event.
    frames[4_000].voltage[2] += 2_812_500;
    frames[4_024].voltage[2] -= 1_562_500;
    let settings = EventSettings { transient_millivolts: Some(60_000), ..SETTINGS };
    let events = watch(&site, settings, &frames, 77);
    let spikes = of(&events, EventKind::Transient);
    assert_eq!(spikes.len(), 2, "{events:?}");
    assert_eq!(spikes[1].phase, Some(2));
    assert!((3_999..=4_000).contains(&spikes[1].start_sample), "{spikes:?}");
    assert!((4_025..=4_026).contains(&spikes[1].end_sample.expect("over")), "{spikes:?}");
    assert!((spikes[1].extreme as f64 / 180e6 - 1.0).abs() < 0.01, "{spikes:?}");
    assert!(of(&watch(&site, SETTINGS, &frames, 77), EventKind::Transient).is_empty());
}

#[test]
fn exchanged_phases_are_a_reversed_sequence_and_not_an_unbalance() {
    let mut site = Site::balanced(8e3, 50.0, 5.0, 0.5);
    site.voltage.swap(1, 2);
    let events = watch(&site, SETTINGS, &site.frames(8_000), 160);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((events[0].kind, events[0].end_sample), (EventKind::PhaseSequence, None));
    // Forwards again, it is over.
    let mut frames = site.frames(8_000);
    site.voltage.swap(1, 2);
    frames.extend_from_slice(&site.frames(16_000)[8_000..]);
    let events = watch(&site, SETTINGS, &frames, 160);
    let sequence = of(&events, EventKind::PhaseSequence);
    assert_eq!(sequence.len(), 2);
    assert!(sequence[1].end_sample.expect("over").abs_diff(8_000) <= 320, "{sequence:?}");
}

#[test]
fn an_unbalance_is_the_negative_sequence() {
    let mut site = Site::balanced(8e3, 50.0, 5.0, 0.5);
    // Amplitudes of 1, 0.9, 1: negative over positive sequence is 0.1/2.9.
    let angle = site.voltage[1].0[0].2;
    site.voltage[1] = Channel::sine(0.93 * 230.0, angle);
    let events = watch(&site, SETTINGS, &site.frames(8_000), 160);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((events[0].kind, events[0].phase), (EventKind::Unbalance, None));
    let truth = 0.07 / 2.93 * 1e6;
    assert!((events[0].extreme as f64 - truth).abs() < 5.0, "{} {truth}", events[0].extreme);
}

#[test]
fn reverse_power_names_its_phase() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.0);
    let mut frames = site.frames(16_000);
    for frame in &mut frames[4_000..12_000] {
        frame.current[1] = -frame.current[1];
    }
    let settings = EventSettings { reverse_power_milliwatts: Some(500_000), ..SETTINGS };
    let events = watch(&site, settings, &frames, 160);
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!((events[1].kind, events[1].phase), (EventKind::ReversePower, Some(1)));
    assert!((events[1].extreme as f64 / -1150e6 - 1.0).abs() < 1e-4, "{events:?}");
    assert!(events[1].start_sample.abs_diff(4_000) <= 320);
    assert!(events[1].end_sample.expect("over").abs_diff(12_000) <= 320);
}

#[test]
fn with_no_room_new_events_are_counted_as_lost() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.0);
    let extras =
        Extras { events: Some(EventSettings { unbalance_ppm: 1_000_000, ..SETTINGS }), ..Extras::default() };
    let mut metrology =
        Metrology::with_extras(site.config(), extras, Registers::default()).expect("in range");
    // An unbalance of 100 % there is none. Thirty sags of L1 have sixty starts and ends.
    for n in 0..30 {
        metrology.push(&scaled(&site, 3_200, 800, 2_000, [0.8, 1.0, 1.0]), &mut |_| ());
        assert_eq!(metrology.lost_events() == 0, n < 23);
    }
    let events: Vec<Event> = std::iter::from_fn(|| metrology.take_event()).collect();
    assert_eq!((events.len(), metrology.lost_events()), (46, 14));
    assert!(events.windows(2).all(|pair| pair[0].start_sample <= pair[1].start_sample));
}

#[test]
fn thresholds_out_of_range_name_the_field() {
    let site = Site::balanced(8e3, 50.0, 5.0, 0.0);
    let refused = |events| {
        let extras = Extras { events: Some(events), ..Extras::default() };
        Metrology::with_extras(site.config(), extras, Registers::default()).expect_err("out of range").field
    };
    let good = SETTINGS;
    assert_eq!(refused(EventSettings { declared_millivolts: 999, ..good }), "declared_millivolts");
    assert_eq!(refused(EventSettings { interruption_permille: 0, ..good }), "interruption_permille");
    assert_eq!(refused(EventSettings { sag_permille: 50, ..good }), "sag_permille");
    assert_eq!(refused(EventSettings { swell_permille: 999, ..good }), "swell_permille");
    assert_eq!(refused(EventSettings { hysteresis_permille: 101, ..good }), "hysteresis_permille");
    assert_eq!(refused(EventSettings { unbalance_ppm: 999, ..good }), "unbalance_ppm");
    assert_eq!(refused(EventSettings { transient_millivolts: Some(999), ..good }), "transient_millivolts");
    let none = Some(0);
    assert_eq!(
        refused(EventSettings { over_current_milliamperes: none, ..good }),
        "over_current_milliamperes"
    );
    assert_eq!(refused(EventSettings { reverse_power_milliwatts: none, ..good }), "reverse_power_milliwatts");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn watching_changes_no_measurement_and_block_sizes_change_no_event(
        seed: u64,
        block in 1_usize..500,
        depth in 0.0..1.0,
        rate in prop::sample::select(vec![1e3, 8e3, 30.707e3]),
    ) {
        let mut random = Random(seed);
        let site = Site::balanced(rate, random.within(46.0, 54.0), 20.0, TAU * random.unit()).distorted(&mut random);
        let length = (rate * 0.6) as usize;
        let frames = scaled(&site, length, length / 3, length / 2, [depth, 1.0, 1.3]);
        let settings = EventSettings { transient_millivolts: Some(100_000), ..SETTINGS };
        let whole = watch(&site, settings, &frames, frames.len());
        prop_assert_eq!(watch(&site, settings, &frames, block), whole);
        let run = |events| {
            let extras = Extras { events, ..Extras::default() };
            let mut metrology =
                Metrology::with_extras(site.config(), extras, Registers::default()).expect("in range");
            let mut windows = Vec::new();
            metrology.push(&frames, &mut |window| windows.push(*window));
            windows.extend(metrology.finish());
            // Whether a sag went on is all that a window learns from the events.
            windows.iter_mut().for_each(|window| window.disturbed = false);
            (windows, *metrology.registers())
        };
        prop_assert_eq!(run(Some(settings)), run(None));
    }
}
