//! Issue 3, `calibrate`, `accuracy` and `soak` as programs: exit code 0 where limits hold, 1 where one does not, 2 with one clear line where a run cannot
//! be; a calibration record that is damaged, impossible or another unit's is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use meterseal_metrology::Calibration;

fn meterseal(folder: &Path, line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meterseal")).current_dir(folder).args(line).output().unwrap()
}

/// What it says in the one line in which it refuses.
fn refused(folder: &Path, line: &[&str]) -> String {
    let output = meterseal(folder, line);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line:?}: {said}");
    assert!(output.stdout.is_empty(), "{line:?}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(matches!(lines[..], [line] if line.starts_with("meterseal: ")), "{said}");
    said
}

const RECORD: &str = "unit5.calibration";

/// Calibrates unit 5; the record's bytes.
fn calibrated(folder: &Path) -> Vec<u8> {
    let output = meterseal(folder, &["calibrate", "--seed", "5", "--out", RECORD]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    fs::read(folder.join(RECORD)).unwrap()
}

fn with_record(seed: &str) -> Vec<&str> {
    let line = ["accuracy", "--units", "1", "--sensor", "transformer", "--temperatures", "-40,85"];
    [&line[..], &["--seed", seed, "--calibration", RECORD]].concat()
}

#[test]
fn a_record_serves_the_unit_that_it_was_made_for() {
    let folder = tempfile::tempdir().unwrap();
    calibrated(folder.path());
    let output = meterseal(folder.path(), &with_record("5"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("every limit holds\n"));
    let faulty = [&with_record("5")[..], &["--fault", "gain"]].concat();
    let output = meterseal(folder.path(), &faulty);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("every unit has a fault: Gain") && text.ends_with("LIMITS EXCEEDED\n"), "{text}");
}

#[test]
fn damaged_impossible_and_other_units_records_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sound = calibrated(folder.path());
    let said = refused(folder.path(), &with_record("6"));
    assert!(
        said.contains(RECORD) && said.contains("MSV0000000005") && said.contains("MSV0000000006"),
        "{said}"
    );

    let path = folder.path().join(RECORD);
    for at in [20, 100, sound.len() - 1] {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        let said = refused(folder.path(), &with_record("5"));
        assert!(said.contains(RECORD) && said.contains("checksum"), "{said}");
    }
    for bytes in [&sound[..100], &[&sound[..], &[0]].concat(), &[]] {
        fs::write(&path, bytes).unwrap();
        let said = refused(folder.path(), &with_record("5"));
        assert!(said.contains(RECORD) && said.contains("bytes"), "{said}");
    }
    // With a sound checksum, and a gain that no divider has.
    let mut impossible = Calibration::decode(&sound, &sound[2..18].try_into().unwrap()).unwrap();
    impossible.channels[0].gain_ppb.constant = 300_000_000;
    fs::write(&path, impossible.encode()).unwrap();
    let said = refused(folder.path(), &with_record("5"));
    assert!(said.contains(RECORD) && said.contains("gain_ppb") && said.contains("300000000"), "{said}");

    fs::remove_file(&path).unwrap();
    assert!(refused(folder.path(), &with_record("5")).contains(RECORD));
}

#[test]
fn settings_that_cannot_be_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    calibrated(folder.path());
    fs::write(folder.path().join("file"), "").unwrap();
    let accuracy = ["accuracy", "--units", "2", "--temperatures", "23"];
    for (more, word) in [
        (&["--out", "file/folder"][..], "file/folder"),
        (&["--calibration", RECORD], "record"),
        (&["--temperatures", "85,-40"], "ascending"),
    ] {
        // The last of an option counts once only: leave out what is given anew.
        let first = if more[0] == "--temperatures" { &accuracy[..3] } else { &accuracy[..] };
        let said = refused(folder.path(), &[first, more].concat());
        assert!(said.contains(word), "{said}");
    }
    for (line, word) in [
        (&["calibrate", "--temperatures", "20,25,30"][..], "40 K"),
        (&["calibrate", "--temperatures", "-40,85"], "3 to 8"),
        (&["calibrate", "--out", "no/such/folder/record"], "no/such/folder/record"),
        (&["soak", "--hours", "0"], "hours"),
        (&["soak", "--hours", "3", "--checkpoint", "no/such/folder/soak.json"], "no/such/folder"),
        (&["soak", "--hours", "3", "--checkpoint", RECORD], RECORD),
        (&["soak", "--hours", "3", "--lowest", "30", "--highest", "20"], "highest"),
    ] {
        let said = refused(folder.path(), line);
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_soak_of_a_shunt_unit_holds_and_one_that_drifts_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let line = ["soak", "--hours", "48", "--seconds-per-hour", "10", "--sensor", "shunt", "--checkpoint"];
    let sound = meterseal(folder.path(), &[&line[..], &["sound.json"]].concat());
    assert_eq!(sound.status.code(), Some(0), "{sound:?}");
    // The same file with another transducer is another run.
    let other = ["soak", "--hours", "48", "--seconds-per-hour", "10", "--checkpoint", "sound.json"];
    assert!(refused(folder.path(), &other).contains("other settings"));
    let bad = meterseal(folder.path(), &[&line[..], &["bad.json", "--fault", "drift", "--json"]].concat());
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    let shown: serde_json::Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!(shown["passes"], false);
}
