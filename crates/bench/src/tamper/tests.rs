use super::*;
use meterseal_model::EventCode;

fn case(code: EventCode) -> &'static Case {
    CASES.iter().find(|case| case.begins == code).expect("in the catalogue")
}

#[test]
fn cpa_tamp_every_stimulus_is_detected_in_its_time() {
    for case in CASES {
        let found = detect(case, 3, 7, None).expect("the stage works");
        assert!(found.passes(), "{found:?}");
    }
}

#[test]
fn a_deaf_detector_misses() {
    for code in [EventCode::MagnetOn, EventCode::OvervoltageL1, EventCode::BypassL1] {
        let found = detect(case(code), 1, 7, Some(Fault::Deaf)).expect("the stage works");
        assert_eq!(found.missed, 1, "{found:?}");
        assert!(!found.passes());
    }
}

#[test]
fn thresholds_that_are_too_low_alarm_in_a_normal_life() {
    let settings = Settings { hours: 2, seed: 5, fault: Some(Fault::TooSharp) };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("run.json");
    let lived = |file| {
        let places = live(&settings, file, &|_| {}, &AtomicBool::new(false)).expect("the stage works");
        places.expect("not stopped")
    };
    let places = lived(None);
    assert!(places[0].alarms.len() > 10 && !places[1].alarms.is_empty(), "{places:?}");
    assert_eq!(lived(Some(&file)), places, "again, and kept");
    assert_eq!(lived(Some(&file)), places, "from what was kept");
    let stopped = live(&settings, None, &|_| {}, &AtomicBool::new(true)).expect("the stage works");
    assert_eq!(stopped, None);
}

#[test]
fn a_normal_life_raises_no_alarm() {
    let settings = Settings { hours: 1, seed: 5, fault: None };
    let places = live(&settings, None, &|_| {}, &AtomicBool::new(false)).expect("the stage works");
    let places = places.expect("not stopped");
    let mut all = Lived::default();
    places.iter().for_each(|lived| all.add(lived));
    assert_eq!(all.alarms, []);
    assert_eq!(all.hours(), 1.0);
    assert!(all.happenings.iter().sum::<u64>() > 500, "{all:?}");
}
