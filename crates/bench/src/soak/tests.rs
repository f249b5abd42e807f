//! A soak passes, fails where it must, and goes on after an interruption.

use super::*;

/// A thousand hours of which ten seconds each are run: the ageing of all of them in 80 million frames.
fn thousand_hours(fault: Option<Fault>) -> Settings {
    Settings { seconds_per_hour: 10, shifts: 2, fault, ..Settings::new(1000, 4) }
}

fn run_all(settings: &Settings) -> Outcome {
    run(settings, None, &|_| (), &AtomicBool::new(false)).unwrap().unwrap()
}

#[test]
fn a_sound_unit_is_stable() {
    let outcome = run_all(&thousand_hours(None));
    assert!(outcome.passes(), "{:?} {}", outcome.worst, outcome.drift_percent);
    assert_eq!(outcome.frames, 1000 * 10 * 8000);
    assert!(outcome.registers_kept && outcome.total_error_percent.abs() < 0.05);
}

#[test]
fn tenfold_ageing_is_found_by_its_drift() {
    let outcome = run_all(&thousand_hours(Some(Fault::Ageing)));
    assert!(
        !outcome.passes() && outcome.drift_percent.abs() > DRIFT_LIMIT_PERCENT,
        "{}",
        outcome.drift_percent
    );
}

#[test]
fn drift_of_60_ppm_a_kelvin_is_found_within_two_days() {
    let settings = Settings { seconds_per_hour: 10, fault: Some(Fault::Drift), ..Settings::new(48, 4) };
    let outcome = run_all(&settings);
    assert!(
        !outcome.passes() && outcome.worst.error_percent.abs() > HOUR_LIMIT_PERCENT,
        "{:?}",
        outcome.worst
    );
}

#[test]
fn every_seed_s_fault_is_found_and_no_sound_unit_fails() {
    for seed in 20..23 {
        let settings = |fault| Settings { seconds_per_hour: 10, shifts: 2, fault, ..Settings::new(96, seed) };
        assert!(run_all(&settings(None)).passes(), "{seed}");
        assert!(!run_all(&settings(Some(Fault::Drift))).passes(), "{seed}");
    }
}

#[test]
fn shifts_find_the_same_as_one_that_runs_through() {
    let one = Settings { seconds_per_hour: 20, ..Settings::new(60, 5) };
    let three = Settings { shifts: 3, ..one.clone() };
    let (one, three) = (run_all(&one), run_all(&three));
    for (a, b) in one.hours.iter().zip(&three.hours) {
        // Noise is drawn anew in each shift, and its supply begins at another phase, which in 20 seconds is seen.
        assert!((a.error_percent - b.error_percent).abs() < 0.01, "{a:?} {b:?}");
        assert!((a.reference_watt_hours / b.reference_watt_hours - 1.0).abs() < 2e-3, "{a:?} {b:?}");
        assert!((a.highest_celsius - b.highest_celsius).abs() < 1e-6, "{a:?} {b:?}");
    }
}

#[test]
fn an_interrupted_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("soak.json");
    let settings = Settings { seconds_per_hour: 20, shifts: 2, ..Settings::new(40, 6) };
    let stop = AtomicBool::new(false);
    let interrupt = |done| {
        if done >= 11 {
            stop.store(true, Ordering::Relaxed);
        }
    };
    assert!(run(&settings, Some(&path), &interrupt, &stop).unwrap().is_none());
    let through = run_all(&settings);
    let resumed = run(&settings, Some(&path), &|_| (), &AtomicBool::new(false)).unwrap().unwrap();
    assert_eq!((through.resumed, resumed.resumed), (0, 1));
    assert!(resumed.registers_kept && resumed.passes());
    assert_eq!(resumed.frames, through.frames);
    for (a, b) in through.hours.iter().zip(&resumed.hours) {
        assert!((a.error_percent - b.error_percent).abs() < 0.02, "{a:?} {b:?}");
    }
    // Once done, it is done: nothing runs again.
    let again = run(&settings, Some(&path), &|_| (), &AtomicBool::new(false)).unwrap().unwrap();
    assert_eq!(again.hours, resumed.hours);
}

#[test]
fn a_damaged_file_and_one_of_another_run_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("soak.json");
    let settings = Settings { seconds_per_hour: 10, ..Settings::new(3, 7) };
    run(&settings, Some(&path), &|_| (), &AtomicBool::new(false)).unwrap();
    let open = |settings: &Settings| run(settings, Some(&path), &|_| (), &AtomicBool::new(false));
    let other = Settings { seed: 8, ..settings.clone() };
    assert!(matches!(open(&other), Err(Error::Checkpoint(CheckpointError::Other { .. }))));
    let text = std::fs::read_to_string(&path).unwrap();
    // An hour that is said to be another one.
    std::fs::write(&path, text.replacen("\"number\":1", "\"number\":9", 1)).unwrap();
    assert!(matches!(open(&settings), Err(Error::Checkpoint(CheckpointError::Damaged { .. }))));
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(matches!(open(&settings), Err(Error::Checkpoint(CheckpointError::Damaged { .. }))));
    let nowhere = folder.path().join("no/such/folder/soak.json");
    let error = run(&settings, Some(&nowhere), &|_| (), &AtomicBool::new(false));
    assert!(matches!(error, Err(Error::Checkpoint(CheckpointError::File { .. }))));
    assert!(matches!(run_refused(0), Error::Setting { field: "hours", .. }));
}

fn run_refused(hours: u32) -> Error {
    run(&Settings::new(hours, 1), None, &|_| (), &AtomicBool::new(false)).unwrap_err()
}
