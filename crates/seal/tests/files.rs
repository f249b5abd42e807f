//! The files in `tests/files`, with which the command line, the page and the fuzzer are tested, are what this library
//! writes. `METERSEAL_WRITE_FILES=1 cargo test -p meterseal-seal --test files` writes them anew.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{Log, Maker, seal_key};
use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::chain::certification_key;
use meterseal_seal::evidence::{Earlier, Entry, Export, Kind, Outcome, Report, Statement, Trust};
use meterseal_seal::log::{Body, Leaf, LogHash, Peaks};
use meterseal_seal::mark::check::{Known, check};
use meterseal_seal::mark::{Coverage, name_of};
use meterseal_seal::{Mark, MarkRevocations, Scope};
use sha2::{Digest as _, Sha384};

#[test]
fn committed_files_are_what_the_library_writes() {
    let log = Log::of_days(4);
    let other = Log::of(&Maker::new(20), "MSL0000000002".parse().unwrap(), 8, 4);
    let certification = seal_key(30);
    let from = UnixMillis(common::START);
    let results = b"what was found".to_vec();
    let mark = mark(&results);
    let signed = mark.sign(&certification).unwrap();
    let mut revoked = MarkRevocations::new();
    revoked.revoke(name_of(&signed), "the clock drifts", from).unwrap();
    let mut others = MarkRevocations::new();
    others.revoke(Digest384([1; 48]), "another's", from).unwrap();
    for (name, bytes) in [
        ("statement.cbor", log.statement(2, 4).encode()),
        ("statement-before.cbor", log.statement(0, 2).encode()),
        ("statement-other-meter.cbor", other.statement(2, 4).encode()),
        ("log.cbor", log.export()),
        ("log-before.cbor", Log::of_days(2).export()),
        ("log-withheld.cbor", withheld(&log)),
        ("checkpoint.cbor", log.checkpoints[4].clone()),
        ("mark.cbor", signed),
        ("mark-development.cbor", development().sign(&certification).unwrap()),
        ("mark-results.cbor", results),
        ("marks-revoked.cbor", revoked.sign(&certification).unwrap()),
        ("marks-revoked-others.cbor", others.sign(&certification).unwrap()),
        ("certification.pub.pem", certification.public().to_pem().unwrap().into_bytes()),
        ("certification.pem", pem(&common::certification_certificate(30))),
        ("certification-expired.pem", pem(&common::expired_certification_certificate(30))),
        ("maker-root.pem", pem(&Maker::new(20).root)),
        ("other-maker-root.pem", pem(&Maker::new(40).root)),
        ("findings.tsv", findings(&log, &other).into_bytes()),
        ("findings-marks.tsv", mark_findings().into_bytes()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name);
        if std::env::var_os("METERSEAL_WRITE_FILES").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{name} is not what the library writes");
    }
}

const DAY: i64 = 86_400_000;

/// A mark of a virtual meter: some requirements whole, some in part, some not at all.
fn mark(results: &[u8]) -> Mark {
    let of = |requirement: &str, tested, not_tested: &[&str]| Coverage {
        requirement: requirement.to_owned(),
        tested,
        not_tested: not_tested.iter().map(|&id| id.to_owned()).collect(),
    };
    Mark {
        scope: Scope::Virtual,
        catalogue_digest: Some(Digest384([0xCA; 48])),
        results_digest: Some(Digest384(Sha384::digest(results).into())),
        coverage: vec![
            of("CPA-ACC", 30, &["EMC-01", "EMC-02"]),
            of("CPA-STAB", 1, &[]),
            of("CPA-ENC", 7, &[]),
            of("CPA-WIFI", 0, &[]),
            of("BEYOND", 3, &["EXT-01"]),
        ],
        renew_from: UnixMillis(common::START + 300 * DAY),
        signatory: "Example \"laboratory\"".to_owned(),
        ..development()
    }
}

fn development() -> Mark {
    Mark::development(
        "Meter 3x230/400 V",
        "virtual",
        Digest384([0xF1; 48]),
        "development authority",
        UnixMillis(common::START),
        UnixMillis(common::START + 365 * DAY),
    )
}

/// What is found in marks. What is known is written as words with `+` between them: `key` or `cert` or `expired` or
/// `maker` for who is believed; `revoked`, `others` for a list; `results`, `wrong` for results; `late`, `early`, `due` for when.
fn mark_findings() -> String {
    let mut all = String::new();
    let lines = &mut all;
    let results = b"what was found".to_vec();
    let certification = seal_key(30);
    let signed = mark(&results).sign(&certification).unwrap();
    let lists = |entry: Digest384, reason: &str| {
        let mut list = MarkRevocations::new();
        list.revoke(entry, reason, UnixMillis(common::START)).unwrap();
        vec![list.sign(&certification).unwrap()]
    };
    let known = |words: &str| {
        let mut known = Known { now: UnixMillis(common::START + DAY), ..Known::default() };
        let certified = |der: Vec<u8>| certification_key(&der, &[]).unwrap();
        for word in words.split('+') {
            match word {
                "key" => known.keys.push(certification.public().clone()),
                "other-key" => known.keys.push(seal_key(31).public().clone()),
                "cert" => known.certified.push(certified(common::certification_certificate(30))),
                "expired" => known.certified.push(certified(common::expired_certification_certificate(30))),
                "revoked" => known.revocations = lists(name_of(&signed), "the clock drifts"),
                "others" => known.revocations = lists(Digest384([1; 48]), "another's"),
                "results" => known.results = Some(results.clone()),
                "wrong" => known.results = Some(b"What was found".to_vec()),
                "early" => known.now = UnixMillis(common::START - 1),
                "due" => known.now = UnixMillis(common::START + 300 * DAY),
                "late" => known.now = UnixMillis(common::START + 365 * DAY),
                other => panic!("{other}"),
            }
        }
        known
    };
    for words in [
        "key",
        "other-key",
        "cert",
        "expired",
        "cert+revoked",
        "cert+others",
        "cert+results",
        "key+wrong",
        "key+early",
        "key+due",
        "key+late",
    ] {
        mark_line(lines, ["mark.cbor", "-", words], &signed, &known(words));
    }
    let unmarked = development().sign(&certification).unwrap();
    mark_line(lines, ["mark-development.cbor", "-", "key"], &unmarked, &known("key"));
    mark_line(lines, ["mark-development.cbor", "-", "key+results"], &unmarked, &known("key+results"));
    for place in (0..signed.len()).step_by(7) {
        let mut altered = signed.clone();
        altered[place] ^= 4;
        mark_line(lines, ["mark.cbor", &format!("{place}^4"), "key"], &altered, &known("key"));
    }
    all
}

fn mark_line(lines: &mut String, given: [&str; 3], file: &[u8], known: &Known) {
    let report = (Kind::of(file) == Some(Kind::Mark)).then(|| check(file, known).0);
    add_lines(lines, given, report);
}

/// What is found in these files and in altered ones: the page, which checks by itself, must find the same. A line is
/// file, altered byte (`place^bits`, or `-`), what is known (`-`, `root`, `other-root`, or an earlier file), outcome,
/// code and text.
fn findings(log: &Log, other: &Log) -> String {
    let statement = log.statement(2, 4).encode();
    let before = log.statement(0, 2).verify(&Trust::default()).earlier();
    let log_before = export(&Log::of_days(2).export(), &Trust::default()).unwrap().1;
    let root = |seed| Trust { authorities: vec![Maker::new(seed).root], ..Trust::default() };
    let after = |earlier| Trust { earlier, ..Trust::default() };
    let mut lines = String::new();
    for (name, file) in [("statement.cbor", statement), ("log.cbor", log.export())] {
        for (known, trust) in [
            ("-", Trust::default()),
            ("root", root(20)),
            ("other-root", root(40)),
            ("statement-before.cbor", after(before)),
            ("log-before.cbor", after(log_before)),
        ] {
            line(&mut lines, [name, "-", known], &file, &trust);
        }
        for place in (0..file.len()).step_by(file.len() / 60) {
            let mut altered = file.clone();
            altered[place] ^= 4;
            line(&mut lines, [name, &format!("{place}^4"), "root"], &altered, &root(20));
        }
    }
    line(&mut lines, ["log-withheld.cbor", "-", "-"], &withheld(log), &Trust::default());
    line(&mut lines, ["statement-before.cbor", "-", "-"], &log.statement(0, 2).encode(), &Trust::default());
    line(
        &mut lines,
        ["statement-other-meter.cbor", "-", "statement-before.cbor"],
        &other.statement(2, 4).encode(),
        &after(before),
    );
    let later = export(&log.export(), &Trust::default()).unwrap().1;
    line(&mut lines, ["log-before.cbor", "-", "log.cbor"], &Log::of_days(2).export(), &after(later));
    lines
}

fn line(lines: &mut String, [name, altered, known]: [&str; 3], file: &[u8], trust: &Trust) {
    let found = match Kind::of(file) {
        Some(Kind::Statement) => Statement::decode(file).ok().map(|statement| statement.verify(trust).report),
        Some(Kind::Export) => export(file, trust).map(|(report, _)| report),
        _ => None,
    };
    add_lines(lines, [name, altered, known], found);
}

fn add_lines(lines: &mut String, [name, altered, known]: [&str; 3], found: Option<Report>) {
    let mut add = |outcome: &str, code: &str, text: &str| {
        lines.push_str(&[name, altered, known, outcome, code, text].join("\t"));
        lines.push('\n');
    };
    let Some(report) = found else { return add("unreadable", "-", "-") };
    for finding in &report.findings {
        let outcome = match finding.outcome {
            Outcome::Proven => "proven",
            Outcome::NotProven => "not-proven",
            Outcome::Broken => "broken",
        };
        add(outcome, finding.code, &finding.text);
    }
}

fn export(file: &[u8], trust: &Trust) -> Option<(Report, Option<Earlier>)> {
    let verified = Export::verify(file, trust, &mut |_| {}).ok()?;
    let earlier = verified.earlier();
    Some((verified.report, earlier))
}

/// The log without its load profile.
fn withheld(log: &Log) -> Vec<u8> {
    let export = Export { origin: log.origin.clone(), start: Peaks::new(), count: log.leaves.len() as u64 };
    let entries = log.leaves.iter().map(|leaf| {
        let private = matches!(Leaf::decode(leaf).unwrap().body, Body::Interval(_));
        Ok::<_, ()>(if private { Entry::Withheld(LogHash::of_leaf(leaf)) } else { Entry::Leaf(leaf) })
    });
    let mut file = vec![];
    export
        .write(entries, &log.checkpoints, |bytes| {
            file.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    file
}

fn pem(der: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut line = 0;
    for chunk in der.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
        line += 4;
        if line == 64 {
            text.push('\n');
            line = 0;
        }
    }
    if line > 0 {
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text.into_bytes()
}
