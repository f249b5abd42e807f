//! The files in `tests/files`, with which the command line, the page and the fuzzer are tested, are what this library
//! writes. `METERSEAL_WRITE_FILES=1 cargo test -p meterseal-seal --test files` writes them anew.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{Log, Maker, seal_key};
use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::evidence::{Earlier, Entry, Export, Kind, Outcome, Report, Statement, Trust};
use meterseal_seal::log::{Body, Leaf, LogHash, Peaks};
use meterseal_seal::{Mark, Scope};

#[test]
fn committed_files_are_what_the_library_writes() {
    let log = Log::of_days(4);
    let other = Log::of(&Maker::new(20), "MSL0000000002".parse().unwrap(), 8, 4);
    let certification = seal_key(30);
    let day = 86_400_000;
    let (from, until) = (UnixMillis(common::START), UnixMillis(common::START + 365 * day));
    let mark = Mark {
        device_type: "meterseal-virtual-3p".to_owned(),
        hardware: "virtual".to_owned(),
        firmware_digest: Digest384([0xF1; 48]),
        catalogue_version: "1".to_owned(),
        results_digest: None,
        scope: Scope::Development,
        not_tested: vec!["CPA-ACC-1".to_owned(), "CPA-TAMP-1".to_owned()],
        issued: from,
        valid_from: from,
        valid_until: until,
        signatory: "Example laboratory".to_owned(),
    };
    for (name, bytes) in [
        ("statement.cbor", log.statement(2, 4).encode()),
        ("statement-before.cbor", log.statement(0, 2).encode()),
        ("statement-other-meter.cbor", other.statement(2, 4).encode()),
        ("log.cbor", log.export()),
        ("log-before.cbor", Log::of_days(2).export()),
        ("log-withheld.cbor", withheld(&log)),
        ("checkpoint.cbor", log.checkpoints[4].clone()),
        ("mark.cbor", mark.sign(&certification).unwrap()),
        ("certification.pub.pem", certification.public().to_pem().unwrap().into_bytes()),
        ("maker-root.pem", pem(&Maker::new(20).root)),
        ("other-maker-root.pem", pem(&Maker::new(40).root)),
        ("findings.tsv", findings(&log, &other).into_bytes()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name);
        if std::env::var_os("METERSEAL_WRITE_FILES").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{name} is not what the library writes");
    }
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
