//! CPA-MARK: a mark is made of a certification's results, claims no more than they do, and says in words what it covers.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Certified, seal_key};
use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::chain::{CERTIFICATION_KEY_URI, ChainError, certification_key};
use meterseal_seal::evidence::Outcome;
use meterseal_seal::mark::check::{Known, check};
use meterseal_seal::mark::{Findings, Found, Ground, MarkRefused, Terms, Verdict, code, name_of};
use meterseal_seal::{Mark, MarkRevocations, Scope, SealKey, requirements};
use sha2::{Digest as _, Sha384};

const DAY: i64 = 86_400_000;
const NOW: UnixMillis = UnixMillis(common::START);
const RESULTS: &[u8] = b"what was found";
const REPORT: &[u8] = b"{\"found\": true}";

fn sha384(bytes: &[u8]) -> Digest384 {
    Digest384(Sha384::digest(bytes).into())
}

fn found(id: &str, part_of: &[&str], verdict: Verdict) -> Found {
    Found { id: id.into(), part_of: part_of.iter().map(|&id| id.into()).collect(), verdict }
}

fn findings() -> Findings {
    Findings {
        device_type: "MSL-3P-100".into(),
        hardware: "virtual".into(),
        firmware_digest: Digest384([0xF1; 48]),
        catalogue_version: requirements::CATALOGUE_VERSION.into(),
        catalogue_digest: Digest384([0xCA; 48]),
        results_digest: sha384(RESULTS),
        report_digest: Some(sha384(REPORT)),
        ground: Ground::Virtual,
        reduced: false,
        found: vec![
            found("ACC-01", &["CPA-ACC"], Verdict::Passed),
            found("ACC-02", &["CPA-ACC", "CPA-TEMP"], Verdict::Passed),
            found("EMC-01", &["CPA-ACC"], Verdict::NotTested),
            found("CPA-STAB", &[], Verdict::Passed),
            found("WIF-01", &["CPA-WIFI"], Verdict::NotTested),
            found("EXT-01", &[], Verdict::NotTested),
            found("EXT-02", &[], Verdict::Passed),
        ],
    }
}

fn terms(scope: Scope) -> Terms {
    Terms {
        scope,
        signatory: "Example laboratory".into(),
        issued: NOW,
        valid_from: NOW,
        renew_from: UnixMillis(NOW.0 + 300 * DAY),
        valid_until: UnixMillis(NOW.0 + 365 * DAY),
    }
}

fn known(key: &SealKey) -> Known {
    Known { keys: vec![key.public().clone()], now: UnixMillis(NOW.0 + DAY), ..Known::default() }
}

fn codes(signed: &[u8], known: &Known) -> Vec<(Outcome, &'static str)> {
    let report = check(signed, known).0;
    report.findings.iter().map(|finding| (finding.outcome, finding.code)).collect()
}

fn broken(signed: &[u8], known: &Known) -> Vec<&'static str> {
    codes(signed, known)
        .into_iter()
        .filter(|(outcome, _)| *outcome == Outcome::Broken)
        .map(|(_, code)| code)
        .collect()
}

#[test]
fn what_was_not_tested_is_never_counted_as_tested() {
    let mark = Mark::certify(&findings(), &terms(Scope::Virtual)).unwrap();
    let of = |id: &str| mark.coverage.iter().find(|coverage| coverage.requirement == id).unwrap();
    assert_eq!(
        (of("CPA-ACC").tested, of("CPA-ACC").not_tested.as_slice()),
        (2, ["EMC-01".to_owned()].as_slice())
    );
    assert!(of("CPA-TEMP").is_whole() && of("CPA-STAB").is_whole());
    assert_eq!(of("CPA-WIFI").tested, 0);
    assert_eq!(of("CPA-ENC").tested, 0, "what no result speaks of was not tested");
    assert_eq!((of("BEYOND").tested, of("BEYOND").not_tested.len()), (1, 1));
    assert!(!mark.is_whole());
    assert_eq!(mark.coverage.len(), requirements::ALL.len() + 1);
}

#[test]
fn there_is_no_mark_when_anything_failed_or_nothing_was_tested() {
    let mut failed = findings();
    failed.found.push(found("TMP-01", &["CPA-TAMP"], Verdict::Failed));
    let refused = Mark::certify(&failed, &terms(Scope::Development)).unwrap_err();
    assert_eq!(refused, MarkRefused::Failed(vec!["TMP-01".into()]));
    assert!(refused.to_string().contains("TMP-01"));
    let mut nothing = findings();
    nothing.found.iter_mut().for_each(|found| found.verdict = Verdict::NotTested);
    assert_eq!(Mark::certify(&nothing, &terms(Scope::Development)), Err(MarkRefused::NothingTested));
    let mut twice = findings();
    twice.found.push(twice.found[0].clone());
    assert_eq!(Mark::certify(&twice, &terms(Scope::Virtual)), Err(MarkRefused::Twice("ACC-01".into())));
}

#[test]
fn a_scope_claims_no_more_than_was_done() {
    let on = |ground| Findings { ground, ..findings() };
    let refused = |findings: &Findings, scope| Mark::certify(findings, &terms(scope)).is_err();
    let traceable = || Ground::Traceable("K2006, certificate 4711".into());
    assert!(refused(&on(Ground::Virtual), Scope::Laboratory));
    assert!(refused(&on(Ground::Untraceable), Scope::Laboratory));
    assert!(refused(&on(Ground::Traceable(" ".into())), Scope::Laboratory));
    assert!(!refused(&on(traceable()), Scope::Laboratory));
    let reduced = Findings { reduced: true, ..on(traceable()) };
    assert!(refused(&reduced, Scope::Laboratory) && refused(&reduced, Scope::Virtual));
    assert!(!refused(&reduced, Scope::Development));
}

#[test]
fn a_mark_says_what_it_covers_and_what_not() {
    let key = seal_key(30);
    let signed = Mark::certify(&findings(), &terms(Scope::Virtual)).unwrap().sign(&key).unwrap();
    let (report, mark) = check(&signed, &known(&key));
    assert!(report.holds() && mark.is_some());
    let words: String = report.findings.iter().map(|finding| format!("{}\n", finding.text)).collect();
    for said in
        ["CPA-STAB (1)", "CPA-ACC (2 of 3)", "Not tested of CPA-ACC: EMC-01", "Not tested at all: CPA-ENC"]
    {
        assert!(words.contains(said), "{said} in {words}");
    }
    assert!(report.has(Outcome::NotProven, "revoked") && report.has(Outcome::NotProven, "results"));
    assert!(report.has(Outcome::NotProven, "scope"), "a virtual meter is no hardware");
}

#[test]
fn results_and_report_are_those_of_the_mark_to_the_last_bit() {
    let key = seal_key(30);
    let signed = Mark::certify(&findings(), &terms(Scope::Virtual)).unwrap().sign(&key).unwrap();
    let beside = |results: &[u8], report: &[u8]| Known {
        results: Some(results.to_vec()),
        report: Some(report.to_vec()),
        ..known(&key)
    };
    assert!(broken(&signed, &beside(RESULTS, REPORT)).is_empty());
    for place in 0..RESULTS.len() {
        let mut altered = RESULTS.to_vec();
        altered[place] ^= 1;
        assert_eq!(broken(&signed, &beside(&altered, REPORT)), ["results"]);
    }
    assert_eq!(broken(&signed, &beside(RESULTS, b"{}")), ["report"]);
}

#[test]
fn a_mark_holds_only_in_its_time_and_until_it_is_revoked() {
    let key = seal_key(30);
    let signed = Mark::certify(&findings(), &terms(Scope::Virtual)).unwrap().sign(&key).unwrap();
    let at = |day: i64| Known { now: UnixMillis(NOW.0 + day * DAY), ..known(&key) };
    assert_eq!(broken(&signed, &at(-1)), ["validity"]);
    assert_eq!(broken(&signed, &at(365)), ["validity"]);
    assert!(broken(&signed, &at(364)).is_empty());

    let mut list = MarkRevocations::new();
    assert!(list.revoke(Digest384([1; 48]), "another", NOW).unwrap());
    let with = |list: &MarkRevocations, key: &SealKey| Known {
        revocations: vec![list.sign(key).unwrap()],
        ..known(&seal_key(30))
    };
    assert!(codes(&signed, &with(&list, &key)).contains(&(Outcome::Proven, "revoked")));
    assert!(list.revoke(name_of(&signed), "clock drifts", NOW).unwrap());
    assert!(!list.revoke(name_of(&signed), "again", NOW).unwrap());
    assert_eq!(list.number, 2);
    assert_eq!(broken(&signed, &with(&list, &key)), ["revoked"]);
    // Whoever is not the signatory revokes nothing, and is no reason to believe that nothing was revoked.
    assert_eq!(broken(&signed, &with(&list, &seal_key(31))), ["revocations"]);
}

#[test]
fn every_altered_byte_of_a_list_of_revoked_marks_is_found() {
    let key = seal_key(30);
    let mut list = MarkRevocations::new();
    list.revoke(Digest384([1; 48]), "a defect", NOW).unwrap();
    let signed = list.sign(&key).unwrap();
    assert_eq!(MarkRevocations::verify(&signed, &[key.public().clone()]).unwrap().list, list);
    for place in 0..signed.len() {
        let mut altered = signed.clone();
        altered[place] ^= 1;
        assert!(MarkRevocations::verify(&altered, &[key.public().clone()]).is_err(), "byte {place}");
    }
}

#[test]
fn a_code_carries_the_whole_mark() {
    let key = seal_key(30);
    let signed = Mark::certify(&findings(), &terms(Scope::Virtual)).unwrap().sign(&key).unwrap();
    let text = code::text(&signed).unwrap();
    assert_eq!(code::read(&text).unwrap(), signed);
    // Version 23 at level M holds 1 451 letters: a printed code that any telephone reads.
    assert!(text.len() < 1451, "{}", text.len());
}

#[test]
fn only_a_certificate_for_that_purpose_vouches_for_a_certification_key() {
    let maker = common::Maker::new(20);
    let own = common::certification_certificate(30);
    let alone = certification_key(&own, &[]).unwrap();
    assert_eq!((alone.key, alone.issuer), (seal_key(30).public().clone(), None));
    let with_root = certification_key(&own, &[own.clone(), maker.root.clone()]).unwrap();
    assert_eq!(with_root.issuer.as_deref(), Some("Maker 20 root"));

    let purpose = |der: &[u8]| matches!(certification_key(der, &[]), Err(ChainError::Purpose(_)));
    assert!(purpose(&maker.intermediate) && purpose(&maker.root), "an authority is no certification key");
    let log_key = Certified::log_key_of("MSL0000000001".parse().unwrap());
    assert!(purpose(&maker.certify(7, &log_key)), "nor is a meter's");
    let both = [CERTIFICATION_KEY_URI, "urn:meterseal:headend:local"];
    assert!(purpose(&common::certification(30, &both, (2026, 2046))), "nor one that is something else, too");

    // Signed by somebody else who took the issuer's name.
    let mut forged = own.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(matches!(
        certification_key(&forged, &[maker.root]),
        Err(ChainError::Signature(_) | ChainError::Malformed)
    ));
}

#[test]
fn a_mark_lies_within_its_keys_time() {
    let key = seal_key(30);
    let signed = Mark::certify(&findings(), &terms(Scope::Virtual)).unwrap().sign(&key).unwrap();
    let by = |der: Vec<u8>| Known {
        certified: vec![certification_key(&der, &[]).unwrap()],
        keys: Vec::new(),
        ..known(&key)
    };
    assert!(broken(&signed, &by(common::certification_certificate(30))).is_empty());
    assert_eq!(broken(&signed, &by(common::expired_certification_certificate(30))), ["key-time"]);
    assert_eq!(broken(&signed, &by(common::certification_certificate(31))), ["mark"], "another key");
}
