use super::*;

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
    for code in [EventCode::MagnetOn, EventCode::OvervoltageL1, EventCode::NeutralMismatch] {
        let found = detect(case(code), 1, 7, Some(Fault::Deaf)).expect("the stage works");
        assert_eq!(found.missed, 1, "{found:?}");
        assert!(!found.passes());
    }
}

#[test]
fn a_normal_life_raises_no_alarm_and_thresholds_that_are_too_low_do() {
    let stop = AtomicBool::new(false);
    let lived = |fault| live(SiteKind::Factory, 1, 5, fault, &|_| {}, &stop).expect("the stage works");
    // An hour is too long for an unoptimised build: what a sharp detector finds comes soon.
    if !cfg!(debug_assertions) {
        let sound = lived(None);
        assert_eq!(sound.alarms, [], "{} disturbances", sound.disturbances);
        assert!(sound.disturbances > 1_000);
    }
    assert!(!lived(Some(Fault::TooSharp)).alarms.is_empty());
}
