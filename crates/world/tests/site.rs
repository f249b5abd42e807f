//! The synthetic sites: reproducible, physically sensible, and cheap.

#![allow(clippy::unwrap_used)]

use meterseal_metrology::{Config, Frame, Metrology, Nominal, Registers};
use meterseal_model::{SensorReadings, Stimulus, UnixMillis};
use meterseal_world::{Site, SiteKind};

const KINDS: [SiteKind; 3] = [SiteKind::Factory, SiteKind::HomeSolar, SiteKind::Commercial];
const HOUR: i64 = 3_600_000;
const SECOND: usize = Site::SAMPLE_RATE as usize;

fn frames(site: &mut Site, count: usize) -> Vec<Frame> {
    let mut out = vec![Frame::default(); count];
    site.frames(&mut out);
    out
}

/// Volts, amperes and watts of L1 to L3 over whole cycles (about), from counts.
struct Means {
    volts: [f64; 3],
    amps: [f64; 3],
    watts: [f64; 3],
    vars: f64,
}

fn means(site: &mut Site, seconds: usize) -> Means {
    let volt = site.front_end().volts_full_scale() / f64::from(Frame::FULL_SCALE);
    let ampere = site.front_end().amps_full_scale() / f64::from(Frame::FULL_SCALE);
    let block = frames(site, seconds * SECOND);
    let n = block.len() as f64;
    let sum = |f: &dyn Fn(&Frame) -> f64| block.iter().map(f).sum::<f64>() / n;
    let per_phase = |f: &dyn Fn(&Frame, usize) -> f64| std::array::from_fn(|k| sum(&|frame| f(frame, k)));
    let v = |frame: &Frame, k: usize| f64::from(frame.voltage[k]) * volt;
    let i = |frame: &Frame, k: usize| f64::from(frame.current[k]) * ampere;
    Means {
        volts: per_phase(&|frame, k| v(frame, k).powi(2)).map(f64::sqrt),
        amps: per_phase(&|frame, k| i(frame, k).powi(2)).map(f64::sqrt),
        watts: per_phase(&|frame, k| v(frame, k) * i(frame, k)),
        // The voltage between the other two phases lags by a quarter turn: vars of the fundamental, nearly.
        vars: (0..3)
            .map(|k| sum(&|frame| (v(frame, (k + 1) % 3) - v(frame, (k + 2) % 3)) * i(frame, k)))
            .sum::<f64>()
            / 3f64.sqrt(),
    }
}

#[test]
fn the_same_seed_gives_the_same_frames_in_blocks_of_any_size() {
    for kind in KINDS {
        let mut whole = Site::new(kind, 7, UnixMillis(9 * HOUR));
        let mut pieces = Site::new(kind, 7, UnixMillis(9 * HOUR));
        for site in [&mut whole, &mut pieces] {
            site.apply(Stimulus::BringMagnet);
            site.apply(Stimulus::VoltageSpike);
        }
        let expected = frames(&mut whole, 2 * SECOND);
        let mut got = Vec::new();
        for size in [1, 7, 799, 801, 1600, 333, 12_459] {
            got.extend(frames(&mut pieces, size));
        }
        assert_eq!(got, expected, "{kind:?}");
        assert_eq!(pieces.now(), UnixMillis(9 * HOUR + 2_000));
        let other = frames(&mut Site::new(kind, 8, UnixMillis(9 * HOUR)), 2 * SECOND);
        assert_ne!(other, expected, "{kind:?}: another seed");
    }
}

#[test]
fn voltages_are_those_of_a_public_supply_and_currents_fit_the_meter() {
    for kind in KINDS {
        for hour in [3, 10, 12, 18] {
            let mut site = Site::new(kind, 3, UnixMillis(hour * HOUR));
            let means = means(&mut site, 20);
            for k in 0..3 {
                assert!((215.0..242.0).contains(&means.volts[k]), "{kind:?} at {hour}: {:?}", means.volts);
                assert!((0.05..100.0).contains(&means.amps[k]), "{kind:?} at {hour}: {:?}", means.amps);
            }
        }
    }
}

#[test]
fn a_factory_takes_tens_of_kilowatts_at_a_poor_power_factor() {
    let means = means(&mut Site::new(SiteKind::Factory, 1, UnixMillis(10 * HOUR)), 120);
    let watts: f64 = means.watts.iter().sum();
    assert!((20_000.0..55_000.0).contains(&watts), "{watts}");
    let apparent: f64 = (0..3).map(|k| means.volts[k] * means.amps[k]).sum();
    assert!((0.75..0.93).contains(&(watts / apparent)), "{}", watts / apparent);
    assert!(means.vars > 0.3 * watts, "motors lag: {}", means.vars);
}

#[test]
fn a_home_with_pv_exports_at_noon_and_imports_before_dawn() {
    let mut noon = 0.0;
    let mut night = 0.0;
    for seed in 0..4 {
        // By two the battery is full, whatever the clouds did before.
        noon += means(&mut Site::new(SiteKind::HomeSolar, seed, UnixMillis(12 * HOUR)), 60)
            .watts
            .iter()
            .sum::<f64>();
        let mut dark = Site::new(SiteKind::HomeSolar, seed, UnixMillis(5 * HOUR));
        // An empty battery: use up what is left.
        let mut skip = vec![Frame::default(); SECOND];
        (0..3_000).for_each(|_| dark.frames(&mut skip));
        night += means(&mut dark, 20).watts.iter().sum::<f64>();
    }
    assert!(noon < 0.0, "{noon}");
    assert!(night > -50.0, "{night}");
}

#[test]
fn an_office_uses_far_more_by_day_than_by_night() {
    let total = |hour| {
        means(&mut Site::new(SiteKind::Commercial, 5, UnixMillis(hour * HOUR)), 60).watts.iter().sum::<f64>()
    };
    let (day, night) = (total(11), total(2));
    assert!(day > 2.0 * night && night > 3_000.0, "{day} W by day, {night} W by night");
}

#[test]
fn cpa_tamp_a_magnet_a_cover_and_a_surge_reach_the_sensors() {
    let mut site = Site::new(SiteKind::HomeSolar, 1, UnixMillis(0));
    let quiet = site.sensors();
    assert_eq!(quiet.magnetic_field_microtesla, SensorReadings::QUIET.magnetic_field_microtesla);
    assert!(!quiet.meter_cover_open && quiet.surge_peak_millivolts == [0; 3]);

    site.apply(Stimulus::OpenCover);
    site.apply(Stimulus::BringMagnet);
    site.apply(Stimulus::VoltageSpike);
    let block = frames(&mut site, SECOND / 10);
    let now = site.sensors();
    assert!(now.meter_cover_open);
    assert!(now.magnetic_field_microtesla[2] >= 300_000, "{:?}", now.magnetic_field_microtesla);
    assert!(now.surge_peak_millivolts.contains(&4_000_000));
    assert!(block.iter().any(|frame| frame.voltage.contains(&Frame::FULL_SCALE)), "the spike clips a sample");
    assert_eq!(site.sensors().surge_peak_millivolts, [0; 3], "reading resets the peak hold");

    site.apply(Stimulus::CloseCover);
    site.apply(Stimulus::RemoveMagnet);
    frames(&mut site, SECOND / 10);
    let after = site.sensors();
    assert!(!after.meter_cover_open);
    assert_eq!(after.magnetic_field_microtesla, SensorReadings::QUIET.magnetic_field_microtesla);
}

#[test]
fn the_meters_own_core_sees_a_sound_supply() {
    for kind in KINDS {
        let mut site = Site::new(kind, 11, UnixMillis(10 * HOUR));
        let block = frames(&mut site, 10 * SECOND);
        let settings = Config::new(u64::from(Site::SAMPLE_RATE) * 1_000_000, Nominal::Hz50, site.scale());
        let mut core = Metrology::new(settings, Registers::default()).unwrap();
        let mut windows = Vec::new();
        core.push(&block, &mut |window| windows.push(*window));
        assert!(windows.len() >= 48);
        for window in &windows[2..] {
            let hertz = window.frequency_microhertz.unwrap();
            assert!((49_960_000..50_040_000).contains(&hertz), "{kind:?}: {hertz}");
            assert!(!window.clipped);
            for (phase, angle) in window.phases.iter().zip([0, -120_000_000, 120_000_000]) {
                assert!((phase.voltage_angle_microdegrees - angle).abs() < 1_500_000, "{kind:?}: {phase:?}");
                // EN 50160 allows 8 %.
                assert!((10_000..60_000).contains(&phase.voltage_thd_ppm), "{kind:?}: {phase:?}");
            }
        }
    }
}

#[test]
fn with_the_relay_open_the_voltages_stay_and_no_current_flows() {
    let mut site = Site::new(SiteKind::Factory, 3, UnixMillis(10 * HOUR));
    let before = means(&mut site, 1);
    assert!(before.amps.iter().all(|&amps| amps > 1.0), "{:?}", before.amps);
    site.set_supply(false);
    let open = means(&mut site, 1);
    for k in 0..3 {
        // The front end's noise.
        assert!(open.amps[k] < 0.01, "{:?}", open.amps);
        assert!((open.volts[k] / before.volts[k] - 1.0).abs() < 0.02, "{:?}", open.volts);
    }
    site.set_supply(true);
    let after = means(&mut site, 1);
    assert!(after.amps.iter().all(|&amps| amps > 1.0), "{:?}", after.amps);
}
