//! CPA-LOG, CPA-BILL: `meterseal verify` on files that were altered by hand, and on some that were not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../seal/tests/files").join(name)
}

fn verify(arguments: &[&str], path: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meterseal"));
    command.arg("verify").args(arguments).arg(path).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

/// The exit code and what was said of this committed file.
fn of(arguments: &[&str], name: &str) -> (Option<i32>, String) {
    let output = verify(arguments, &file(name));
    (output.status.code(), said(&output))
}

/// The fingerprint that would be printed on the meter of these files.
fn fingerprint() -> String {
    let output = verify(&["--json"], &file("statement.cbor"));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    json["key_fingerprint"].as_str().unwrap().to_owned()
}

#[test]
fn whole_files_hold_and_say_what_they_do_not_prove() {
    let (code, text) = of(&[], "statement.cbor");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("statement for a bill of meter MSL0000000001: HOLDS"), "{text}");
    assert!(text.contains("Prices, taxes and amounts of money"), "{text}");
    assert!(text.contains("15.000000 kWh"), "two days of 7.5 kWh: {text}");
    let (code, text) = of(&[], "log.cbor");
    assert!(code == Some(0) && text.contains("export of the log of meter MSL0000000001: HOLDS"), "{text}");
    assert!(text.contains("Whether the meter has recorded anything after"), "{text}");
    let (code, text) = of(&[], "log-withheld.cbor");
    assert!(code == Some(0) && text.contains("only as hashes"), "{text}");
    assert_eq!(of(&["bill"], "statement.cbor").0, Some(0));
    assert_eq!(of(&["log"], "log.cbor").0, Some(0));
    let (code, text) = of(&["bill"], "log.cbor");
    assert!(code == Some(2) && text.contains("is export of the log"), "{text}");
}

#[test]
fn a_bill_with_one_digit_changed_is_refused_wherever_the_digit_stands() {
    let whole = fs::read(file("statement.cbor")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = file("maker-root.pem");
    let trust = ["--trust", root.to_str().unwrap()];
    for place in (3..whole.len()).step_by(131) {
        let mut altered = whole.clone();
        altered[place] ^= 0x01;
        let path = folder.path().join("bill.cbor");
        fs::write(&path, altered).unwrap();
        let output = verify(&trust, &path);
        assert!(matches!(output.status.code(), Some(1 | 2)), "byte {place}: {}", said(&output));
        assert!(!said(&output).contains(": HOLDS"));
    }
    assert_eq!(verify(&trust, &file("statement.cbor")).status.code(), Some(0));
}

#[test]
fn an_export_that_was_edited_or_cut_is_refused_with_what_is_wrong() {
    let whole = fs::read(file("log.cbor")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.cbor");
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let output = verify(&[], &path);
        (output.status.code(), said(&output))
    };
    // One bit in the middle of the file, where an entry is.
    let mut altered = whole.clone();
    let middle = whole.len() / 2;
    altered[middle] ^= 0x01;
    let (code, text) = check(&altered);
    assert!(matches!(code, Some(1 | 2)), "{text}");
    assert!(text.contains("signed") || text.contains("damaged"), "{text}");
    // The tail.
    let (code, text) = check(&whole[..whole.len() - 320]);
    assert!(matches!(code, Some(1 | 2)), "{text}");
}

#[test]
fn what_somebody_knows_already_is_compared() {
    let printed = fingerprint();
    let root = file("maker-root.pem");
    let before = file("statement-before.cbor");
    let (root, before) = (root.to_str().unwrap(), before.to_str().unwrap());
    let (code, text) =
        of(&["--fingerprint", &printed, "--trust", root, "--earlier", before], "statement.cbor");
    assert_eq!(code, Some(0), "{text}");
    for proven in ["whose fingerprint you gave", "named as trusted", "nothing is billed twice"] {
        assert!(text.contains(proven), "{proven}: {text}");
    }
    // Another meter's statement is whole, but not this meter's.
    let (code, text) = of(&["--fingerprint", &printed], "statement-other-meter.cbor");
    assert!(code == Some(1) && text.contains("sealed with another key"), "{text}");
    let (code, text) = of(&["--earlier", before], "statement-other-meter.cbor");
    assert!(code == Some(1) && text.contains("does not continue it"), "{text}");
    let other = file("other-maker-root.pem");
    let (code, text) = of(&["--trust", other.to_str().unwrap()], "statement.cbor");
    assert!(code == Some(1) && text.contains("none of the authorities"), "{text}");
    // A log that is shorter than it was.
    let later = file("log.cbor");
    let (code, text) = of(&["--earlier", later.to_str().unwrap()], "log-before.cbor");
    assert!(code == Some(1) && text.contains("truncated or rolled back"), "{text}");
    let earlier = file("log-before.cbor");
    assert_eq!(of(&["--earlier", earlier.to_str().unwrap()], "log.cbor").0, Some(0));
}

#[test]
fn a_mark_and_a_checkpoint_need_their_key() {
    let (code, text) = of(&[], "mark.cbor");
    assert!(code == Some(2) && text.contains("--trust"), "{text}");
    let (code, text) = mark(&[], "maker-root.pem", "mark.cbor");
    assert!(code == Some(2) && text.contains("not that of a certification key"), "{text}");
    let (code, text) = mark(&[], "other-maker-root.pem", "mark-development.cbor");
    assert!(code == Some(2) && text.contains("other-maker-root.pem"), "{text}");
    assert_eq!(of(&[], "checkpoint.cbor").0, Some(2));
}

/// As of the day after the mark was signed.
fn mark(options: &[&str], trust: &str, name: &str) -> (Option<i32>, String) {
    let trust = file(trust);
    let common = ["--at", "2026-10-02T00:00:00Z", "--trust", trust.to_str().unwrap()];
    of(&[&common, options].concat(), name)
}

#[test]
fn a_mark_is_said_in_words_with_what_was_not_tested() {
    for trust in ["certification.pub.pem", "certification.pem"] {
        let (code, text) = mark(&[], trust, "mark.cbor");
        assert_eq!(code, Some(0), "{text}");
        for said in [
            "mark: HOLDS",
            "virtual mark for device type",
            "CPA-ACC (30 of 32)",
            "Not tested at all: CPA-WIFI.",
        ] {
            assert!(text.contains(said), "{said} in {text}");
        }
    }
    let (code, text) = mark(&["--json"], "certification.pem", "mark-development.cbor");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, json["kind"].as_str(), json["holds"].as_bool()), (Some(0), Some("mark"), Some(true)));
}

#[test]
fn a_mark_that_expired_was_revoked_or_has_an_expired_key_does_not_hold() {
    let trust = file("certification.pem");
    let trust = ["--trust", trust.to_str().unwrap()];
    let (code, text) = of(&[&trust[..], &["--at", "2028-01-01T00:00:00Z"]].concat(), "mark.cbor");
    assert!(code == Some(1) && text.contains("expired at 2027-10-01"), "{text}");
    let list = file("marks-revoked.cbor");
    let (code, text) = mark(&["--revocations", list.to_str().unwrap()], "certification.pem", "mark.cbor");
    assert!(
        code == Some(1) && text.contains("was revoked at") && text.contains("the clock drifts"),
        "{text}"
    );
    let list = file("marks-revoked-others.cbor");
    let (code, text) = mark(&["--revocations", list.to_str().unwrap()], "certification.pem", "mark.cbor");
    assert!(code == Some(0) && text.contains("not among the marks that were revoked"), "{text}");
    let (code, text) = mark(&[], "certification-expired.pem", "mark.cbor");
    assert!(code == Some(1) && text.contains("valid from 2025-01-01"), "{text}");
}

#[test]
fn results_beside_a_mark_must_be_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results.cbor");
    let report = ["--report", folder.path().to_str().unwrap()];
    let (code, text) = mark(&report, "certification.pem", "mark.cbor");
    assert!(code == Some(2) && text.contains("no results.cbor"), "{text}");
    let whole = fs::read(file("mark-results.cbor")).unwrap();
    fs::write(&results, &whole).unwrap();
    let (code, text) = mark(&report, "certification.pem", "mark.cbor");
    assert!(code == Some(0) && text.contains("to the last bit"), "{text}");
    for place in [0, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[place] ^= 1;
        fs::write(&results, &altered).unwrap();
        assert_eq!(mark(&report, "certification.pem", "mark.cbor").0, Some(1));
    }
}

#[test]
fn the_text_of_a_marks_code_is_the_mark() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scanned.txt");
    let signed = fs::read(file("mark.cbor")).unwrap();
    let text = meterseal_seal::mark::code::text(&signed).unwrap();
    fs::write(&path, format!("{text}\n")).unwrap();
    let (code, said) = mark(&[], "certification.pem", path.to_str().unwrap());
    assert!(code == Some(0) && said.contains("virtual mark"), "{said}");
    fs::write(&path, text.replacen('7', "8", 1)).unwrap();
    assert_ne!(mark(&[], "certification.pem", path.to_str().unwrap()).0, Some(0));
}

#[test]
fn what_is_none_of_ours_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.pdf");
    fs::write(&path, b"%PDF-1.7").unwrap();
    let output = verify(&[], &path);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("letter.pdf is no statement"), "{}", said(&output));
    let output = verify(&[], &folder.path().join("nowhere"));
    assert!(output.status.code() == Some(2) && said(&output).contains("nowhere"), "{}", said(&output));
    let output = verify(&["--fingerprint", "12"], &file("log.cbor"));
    assert!(output.status.code() == Some(2) && said(&output).contains("32 hexadecimal"), "{}", said(&output));
}

#[test]
fn a_bill_payer_gets_their_data_as_csv() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("mine.csv");
    let (code, text) = of(&["--csv", csv.to_str().unwrap()], "log.cbor");
    assert_eq!(code, Some(0), "{text}");
    let rows = fs::read_to_string(&csv).unwrap();
    let rows: Vec<&str> = rows.split("\r\n").filter(|row| !row.is_empty()).collect();
    assert_eq!(rows.len(), 1 + 2 + 4 * 26);
    let columns = rows[0].split(',').count();
    assert!(rows.iter().all(|row| row.split(',').count() == columns), "every row has every column");
    assert!(rows[3].starts_with("2,interval,2026-10-01T01:00:00Z,0.301000,"), "{}", rows[3]);
    assert!(rows.iter().any(|row| row.ends_with("magnetic_field_on")));
    // An existing file is not overwritten, and nothing is written of a file that does not hold.
    assert_eq!(of(&["--csv", csv.to_str().unwrap()], "log.cbor").0, Some(2));
    let bill = folder.path().join("bill.csv");
    assert_eq!(of(&["--csv", bill.to_str().unwrap()], "statement.cbor").0, Some(0));
    assert_eq!(fs::read_to_string(&bill).unwrap().lines().count(), 1 + 3);
    let other = file("other-maker-root.pem");
    let refused = folder.path().join("refused.csv");
    let arguments = ["--trust", other.to_str().unwrap(), "--csv", refused.to_str().unwrap()];
    assert_eq!(of(&arguments, "log.cbor").0, Some(1));
    assert!(!refused.exists());
}
