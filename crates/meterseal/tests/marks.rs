//! CPA-MARK from the command line: the certified product list is kept, a mark becomes a QR code and is taken back, and a
//! meter without one is in quarantine, which no bill comes out of.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Up, refused};
use meterseal_link::Pki;
use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::Mark;
use meterseal_seal::mark::code;
use serde_json::Value;

const METER: &str = "MSL0000000001";

fn meterseal(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meterseal"));
    command.args(arguments);
    command
}

fn said(arguments: &[&str]) -> String {
    let output = meterseal(arguments).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

fn mark(firmware: Digest384, device_type: &str) -> Mark {
    let (from, until) = (UnixMillis(now().0 - 60_000), UnixMillis(now().0 + 86_400_000));
    Mark::development(device_type, "virtual", firmware, "Example \"laboratory\"", from, until)
}

#[test]
fn the_list_takes_what_is_of_use_and_says_why_the_rest_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (own, foreign) =
        (Pki::create(&data.join("pki")).unwrap(), Pki::create(&folder.path().join("pki")).unwrap());
    fn at<'a>(data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["headend", "--data", data, "marks"], more].concat()
    }
    let list = folder.path().join("list.cbor");
    assert!(said(&at(text(&data), &["list"])).contains("no marks"));
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let sound = mark(Digest384([1; 48]), "MSL-3P-100").sign(&own.certification_signer().unwrap()).unwrap();
    let theirs =
        mark(Digest384([2; 48]), "MSL-3P-100").sign(&foreign.certification_signer().unwrap()).unwrap();
    let mut edited = sound.clone();
    edited[200] ^= 1;
    let (sound, theirs) = (file("sound.cbor", &sound), file("theirs.cbor", &theirs));
    let edited = file("edited.cbor", &edited);
    assert!(refused(&mut meterseal(&at(text(&data), &["add", text(&edited)]))).contains("seal is broken"));
    assert!(refused(&mut meterseal(&at(text(&data), &["add", text(&theirs)]))).contains("not trusted here"));
    assert!(said(&at(text(&data), &["add", text(&sound)])).contains("development mark for MSL-3P-100"));
    assert!(refused(&mut meterseal(&at(text(&data), &["add", text(&sound)]))).contains("is there already"));
    // Their mark counts once their certification key is believed, and no other of their keys is.
    let certificate = |name: &str| foreign.dir().join(name);
    let utility = refused(&mut meterseal(&at(text(&data), &["add", text(&certificate("utility.cert.pem"))])));
    assert!(utility.contains("not that of a certification key"), "{utility}");
    said(&at(text(&data), &["add", text(&certificate("certification.cert.pem"))]));
    said(&at(text(&data), &["add", text(&theirs)]));
    let listed: Value = serde_json::from_str(&said(&at(text(&data), &["list", "--json"]))).unwrap();
    let standings: Vec<_> =
        listed.as_array().unwrap().iter().map(|one| one["standing"].as_str().unwrap()).collect();
    assert_eq!(standings, ["valid", "valid"]);

    assert!(
        refused(&mut meterseal(&at(text(&data), &["withdraw", "none.cbor", "--reason", "x"])))
            .contains("0 marks")
    );
    said(&at(text(&data), &["withdraw", "theirs.cbor", "--reason", "its clock drifts"]));
    // Their own revocation of what the other signed is refused; that of the signatory takes effect.
    let revoke = ["mark", "revoke", text(&sound), "--reason", "a defect", "--list", text(&list), "--pki"];
    let stranger = refused(&mut meterseal(&[&revoke[..], &[text(foreign.dir())]].concat()));
    assert!(stranger.contains("only who signed a mark revokes it"), "{stranger}");
    assert!(said(&[&revoke[..], &[text(own.dir())]].concat()).contains("list 1 of 1 marks"));
    assert!(said(&[&revoke[..], &[text(own.dir())]].concat()).contains("was revoked before"));
    said(&at(text(&data), &["add", text(&list)]));
    let words = said(&at(text(&data), &["list"]));
    assert!(
        words.contains("its clock drifts") && words.contains("a defect") && !words.contains("valid "),
        "{words}"
    );
}

#[test]
fn a_marks_code_carries_the_mark_itself() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki")).unwrap();
    let signed = mark(Digest384([1; 48]), "MSL-3P-100").sign(&pki.certification_signer().unwrap()).unwrap();
    let (path, svg) = (folder.path().join("mark.cbor"), folder.path().join("code.svg"));
    fs::write(&path, &signed).unwrap();
    let printed = said(&["mark", "code", text(&path), "--text"]);
    assert_eq!(code::read(&printed).unwrap(), signed);
    assert!(said(&["mark", "code", text(&path)]).contains('█'));
    said(&["mark", "code", text(&path), "--svg", text(&svg)]);
    assert!(fs::read_to_string(&svg).unwrap().contains("<svg"));
    fs::write(&path, b"none").unwrap();
    assert!(refused(&mut meterseal(&["mark", "code", text(&path)])).contains("is no mark"));
}

#[test]
fn a_withdrawn_mark_quarantines_a_running_ups_meters_and_no_bill_is_made_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = Up::start(&data);
    up.wait_for_readings();
    let listed: Value =
        serde_json::from_str(&said(&["headend", "--data", text(&data), "marks", "list", "--json"])).unwrap();
    for mark in listed.as_array().unwrap() {
        assert_eq!(mark["standing"], "valid", "{listed}");
        let name = mark["name"].as_str().unwrap();
        said(&["headend", "--data", text(&data), "marks", "withdraw", &name[..24], "--reason", "a trial"]);
    }
    let reason = up.wait_for("/api/v1/meters", |meters| {
        let all = meters.as_array()?;
        let reasons: Option<Vec<_>> =
            all.iter().map(|meter| meter["quarantine"]["reason"].as_str()).collect();
        reasons.map(|reasons| reasons[0].to_owned())
    });
    assert!(reason.contains("a trial"), "{reason}");
    let out = folder.path().join("bill.cbor");
    let bill = [
        "bill",
        "--data",
        text(&data),
        "--meter",
        METER,
        "--out",
        text(&out),
        "--from",
        "2020-01-01",
        "--to",
        "2100-01-01",
    ];
    let words = refused(&mut meterseal(&bill));
    assert!(words.contains("quarantine") && words.contains("a trial") && !out.exists(), "{words}");
    assert!(up.interrupt().success());
}

#[test]
fn a_key_with_another_purpose_or_another_keys_certificate_signs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki")).unwrap();
    let signed = mark(Digest384([1; 48]), "MSL-3P-100").sign(&pki.certification_signer().unwrap()).unwrap();
    let path = folder.path().join("mark.cbor");
    fs::write(&path, signed).unwrap();
    let list = folder.path().join("list.cbor");
    let by = |key: &str, certificate: &str| {
        let files = [pki.dir().join(key), pki.dir().join(certificate)];
        let given = ["mark", "revoke", text(&path), "--reason", "x", "--list", text(&list)];
        let mut command = meterseal(&given);
        command.arg("--key").arg(&files[0]).arg("--certificate").arg(&files[1]);
        refused(&mut command)
    };
    assert!(by("utility.key.pem", "utility.cert.pem").contains("not that of a certification key"));
    assert!(by("utility.key.pem", "certification.cert.pem").contains("certificate of another key"));
    assert!(!list.exists());
}

#[test]
fn a_mark_is_made_of_results_and_of_no_altered_ones() {
    let folder = tempfile::tempdir().unwrap();
    let pki = folder.path().join("pki");
    Pki::create(&pki).unwrap();
    let results = folder.path().join("results");
    // One load point at reduced length: enough for a development mark and for nothing more.
    let certify = meterseal(&[
        "certify",
        "--target",
        "virtual",
        "--only",
        "ACC-01",
        "--reduced",
        "--out",
        text(&results),
    ])
    .output()
    .unwrap();
    assert!(results.join("results.cbor").exists(), "{}", String::from_utf8_lossy(&certify.stderr));
    let out = folder.path().join("mark.cbor");
    let make = |scope: &str| {
        let mut command =
            meterseal(&["mark", "make", text(&results), "--out", text(&out), "--signatory", "Example"]);
        command.args(["--scope", scope, "--pki", text(&pki)]).output().unwrap()
    };
    for (scope, why) in [("laboratory", "virtual one"), ("virtual", "reduced length")] {
        let refused = make(scope);
        assert_eq!(refused.status.code(), Some(1));
        let words = String::from_utf8(refused.stdout).unwrap();
        assert!(words.contains(why) && !out.exists(), "{words}");
    }
    assert!(make("development").status.success());
    let trust = pki.join("certification.cert.pem");
    let verify = ["verify", text(&out), "--trust", text(&trust), "--report", text(&results)];
    let words = said(&verify);
    assert!(words.contains("results.cbor is the file that the mark rests upon"), "{words}");
    assert!(words.contains("report.json is the file that the mark rests upon"), "{words}");
    assert!(words.contains("Not tested at all: ") && words.contains("CPA-WIFI"), "{words}");
    for name in ["results.cbor", "report.json"] {
        let whole = fs::read(results.join(name)).unwrap();
        let mut altered = whole.clone();
        let place = altered.len() / 2;
        altered[place] ^= 1;
        fs::write(results.join(name), &altered).unwrap();
        assert_eq!(meterseal(&verify).output().unwrap().status.code(), Some(1), "{name}");
        fs::write(results.join(name), &whole).unwrap();
    }
}
