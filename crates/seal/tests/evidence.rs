//! CPA-LOG, CPA-BILL: files that a bill payer or a court checks. Each attack by name, and what is said of it.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Certified, Log, Maker, START, seal_key};
use meterseal_model::{EventCode, UnixMillis};
use meterseal_seal::chain::{self, ChainError};
use meterseal_seal::evidence::statement::{Previous, ProvenLeaf};
use meterseal_seal::evidence::{
    Archive, ArchiveError, Earlier, Entry, Export, Fingerprint, Held, Kind, Outcome, Report, Statement,
    Trust, Unreadable, VerifiedExport, printed_fingerprint,
};
use meterseal_seal::log::{Body, Leaf, Leaves, LogHash, Peaks, Reading};
use proptest::prelude::*;
use rcgen::KeyUsagePurpose;

fn verify(file: &[u8]) -> VerifiedExport {
    Export::verify(file, &Trust::default(), &mut |_| {}).unwrap()
}

fn broken(report: &Report) -> Vec<&'static str> {
    report.of(Outcome::Broken).map(|finding| finding.code).collect()
}

fn check(statement: &Statement) -> Report {
    // As a file: what is checked is what was sent.
    Statement::decode(&statement.encode()).unwrap().verify(&Trust::default()).report
}

fn after(earlier: Option<Earlier>) -> Trust {
    Trust { earlier: Some(earlier.unwrap()), ..Trust::default() }
}

// ---- what holds ----

#[test]
fn a_whole_export_is_proven_and_says_what_it_cannot_prove() {
    let log = Log::of_days(3);
    let mut seen = 0;
    let verified = Export::verify(&log.export(), &Trust::default(), &mut |_| seen += 1).unwrap();
    assert!(verified.report.holds(), "{}", verified.report);
    assert_eq!(seen, log.leaves.len());
    assert_eq!(verified.checkpoint().unwrap().size, log.leaves.len() as u64);
    for code in ["entries", "chain", "order"] {
        assert!(verified.report.has(Outcome::Proven, code), "{code}");
    }
    for code in ["authority", "fingerprint", "newer", "accuracy"] {
        assert!(verified.report.has(Outcome::NotProven, code), "{code}");
    }
    assert_eq!(Kind::of(&log.export()), Some(Kind::Export));
}

#[test]
fn an_export_may_begin_anywhere_and_withhold_what_is_private() {
    let log = Log::of_days(3);
    for first in [1, 2, 29, 60] {
        let verified = verify(&log.export_of(first, &log.leaves[first..], &log.checkpoints));
        assert!(verified.report.holds(), "{first}: {}", verified.report);
    }
    let export = Export { origin: log.origin.clone(), start: Peaks::new(), count: log.leaves.len() as u64 };
    let mut file = vec![];
    let entries = log.leaves.iter().map(|leaf| {
        let private = matches!(Leaf::decode(leaf).unwrap().body, Body::Interval(_));
        Ok::<_, ()>(if private { Entry::Withheld(LogHash::of_leaf(leaf)) } else { Entry::Leaf(leaf) })
    });
    export
        .write(entries, &log.checkpoints, |bytes| {
            file.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    let verified = verify(&file);
    assert!(verified.report.holds(), "{}", verified.report);
    assert!(verified.report.has(Outcome::NotProven, "withheld"));
}

#[test]
fn a_statement_proves_its_quantities_and_not_its_prices() {
    let log = Log::of_days(4);
    let file = log.statement(1, 3).encode();
    assert_eq!(Kind::of(&file), Some(Kind::Statement));
    let trust = Trust {
        authorities: vec![Maker::new(20).root],
        fingerprint: Some(printed_fingerprint(&log.origin.key).parse().unwrap()),
        earlier: Some(log.statement(0, 1).verify(&Trust::default()).earlier().unwrap()),
    };
    let verified = Statement::decode(&file).unwrap().verify(&trust);
    assert!(verified.report.holds(), "{}", verified.report);
    for code in ["signature", "chain", "authority", "fingerprint", "readings", "previous", "continues"] {
        assert!(verified.report.has(Outcome::Proven, code), "{code}\n{}", verified.report);
    }
    assert!(verified.report.has(Outcome::NotProven, "prices"));
    let quantities = verified.quantities().unwrap();
    // Two days of 24 h: 300 Wh and one more for each hour of the day.
    assert_eq!(quantities[0].metered(), 2 * (24 * 300_000 + 300 * 1000));
    assert_eq!(quantities[4].metered() + quantities[5].metered(), quantities[0].metered());
    assert_eq!(verified.readings().len(), 3);
}

#[test]
fn an_archive_makes_statements_that_continue_each_other_and_exports() {
    let log = Log::of_days(12);
    let mut archive = Archive {
        origin: log.origin.clone(),
        entries: log.leaves.iter().cloned().map(Held::Leaf).collect(),
        checkpoints: log.checkpoints.clone(),
    };
    let midnight = |day: i64| UnixMillis(START + day * 86_400_000);
    let first = archive.statement(midnight(0), midnight(2)).unwrap();
    assert_eq!(first, log.statement(0, 2));
    // Any time of a day stands for the reading before it.
    let noon = UnixMillis(START + 4 * 86_400_000 + 43_200_000);
    let second = archive.statement(midnight(2), noon).unwrap();
    let known = after(first.verify(&Trust::default()).earlier());
    let report = second.verify(&known).report;
    assert!(report.holds() && report.has(Outcome::Proven, "continues"), "{report}");
    for (from, to) in [(-1, 2), (2, 2), (12, 13)] {
        let refused = archive.statement(midnight(from), midnight(to));
        assert!(matches!(refused, Err(ArchiveError::NoReading(_))), "{from} {to}");
    }
    let export = |archive: &mut Archive<Vec<Held>>, first| {
        let mut file = vec![];
        archive.export(
            first,
            |leaf| matches!(leaf.body, Body::Interval(_)),
            |bytes| {
                file.extend_from_slice(bytes);
                Ok::<_, ()>(())
            },
        )?;
        Ok(file)
    };
    for first in [0, 1, 77] {
        let report = verify(&export(&mut archive, first).unwrap()).report;
        assert!(report.holds() && report.has(Outcome::NotProven, "withheld"), "{report}");
    }
    // What no checkpoint covers yet is in no export and no statement.
    let mut ahead = archive.clone();
    ahead.checkpoints.truncate(5);
    assert!(verify(&export(&mut ahead, 0).unwrap()).report.holds());
    assert_eq!(ahead.statement(midnight(0), midnight(5)), Err(ArchiveError::NotCovered));
    assert_eq!(export(&mut ahead, 1000), Err(ArchiveError::NotCovered));
    // What was deleted or altered in the database makes no file that holds.
    let mut short = archive.clone();
    short.entries.truncate(100);
    assert_eq!(export(&mut short, 0), Err(ArchiveError::Incomplete));
    let mut altered = archive;
    altered.entries[30] = altered.entries[29].clone();
    assert!(altered.entries.len() > 256, "more than one block");
    assert!(matches!(altered.statement(midnight(0), midnight(4)), Err(ArchiveError::Build(_))));
    assert!(!verify(&export(&mut altered, 0).unwrap()).report.holds());
}

// ---- attacks on exports ----

#[test]
fn an_edited_entry_is_found() {
    let log = Log::of_days(2);
    let mut leaves = log.leaves.clone();
    let mut leaf = Leaf::decode(&leaves[20]).unwrap();
    let Body::Interval(interval) = &mut leaf.body else { panic!("an interval") };
    interval.totals.active_import_milliwatt_hours -= 1;
    leaves[20] = leaf.encode();
    let report = verify(&log.export_of(0, &leaves, &log.checkpoints)).report;
    assert_eq!(broken(&report), ["root", "uncovered"]);
}

#[test]
fn a_deleted_entry_is_found() {
    let log = Log::of_days(2);
    let mut leaves = log.leaves.clone();
    leaves.remove(20);
    let report = verify(&log.export_of(0, &leaves, &log.checkpoints)).report;
    assert!(broken(&report).starts_with(&["sequence", "root"]), "{report}");
    // Renumbered, so that no number is missing: the hashes say so all the same.
    for (place, bytes) in leaves.iter_mut().enumerate().skip(20) {
        *bytes = Leaf { sequence: place as u64, ..Leaf::decode(bytes).unwrap() }.encode();
    }
    let report = verify(&log.export_of(0, &leaves, &log.checkpoints)).report;
    assert!(broken(&report).contains(&"gap") && broken(&report).contains(&"root"), "{report}");
}

#[test]
fn an_inserted_entry_is_found() {
    let log = Log::of_days(2);
    let mut leaves = log.leaves.clone();
    leaves.insert(20, leaves[19].clone());
    let report = verify(&log.export_of(0, &leaves, &log.checkpoints)).report;
    assert!(broken(&report).contains(&"sequence") && broken(&report).contains(&"root"), "{report}");
}

#[test]
fn reordered_entries_are_found() {
    let log = Log::of_days(2);
    let mut leaves = log.leaves.clone();
    leaves.swap(20, 21);
    let report = verify(&log.export_of(0, &leaves, &log.checkpoints)).report;
    assert!(broken(&report).contains(&"sequence") && broken(&report).contains(&"root"), "{report}");
}

#[test]
fn a_truncated_tail_is_found_in_the_file_or_by_an_earlier_one() {
    let log = Log::of_days(3);
    // Somewhere: the last entries are covered by nothing.
    let cut = log.export_of(0, &log.leaves[..40], &log.checkpoints);
    assert_eq!(broken(&verify(&cut).report), ["uncovered"]);
    // The bytes of the file alone.
    let whole = log.export();
    let at_checkpoint = whole.len() - log.checkpoints[3].len();
    assert!(broken(&verify(&whole[..at_checkpoint]).report).contains(&"uncovered"));
    // At a checkpoint, with the header rewritten: only what somebody knows already shows it, and the report says so.
    let short = Log::of_days(2).export();
    let report = verify(&short).report;
    assert!(report.holds() && report.has(Outcome::NotProven, "newer"));
    let trust = after(verify(&whole).earlier());
    let report = Export::verify(&short, &trust, &mut |_| {}).unwrap().report;
    assert_eq!(broken(&report), ["earlier"]);
    assert!(report.to_string().contains("truncated or rolled back"), "{report}");
}

#[test]
fn a_fork_after_a_restore_is_found_by_an_earlier_file() {
    let before = Log::of_days(2);
    let known = after(verify(&before.export()).earlier());
    // Yesterday's flash image, and then another day.
    let mut forked = Log::of_days(1);
    forked.event(EventCode::MagnetOff, START, 0);
    forked.day(START + 24 * 3_600_000);
    forked.day(START + 48 * 3_600_000);
    assert!(verify(&forked.export()).report.holds(), "it is a log of its own");
    let report = Export::verify(&forked.export(), &known, &mut |_| {}).unwrap().report;
    assert_eq!(broken(&report), ["earlier"]);
    // And the honest continuation is proven to be one, also when the file begins later.
    let honest = Log::of_days(4);
    assert!(
        Export::verify(&honest.export(), &known, &mut |_| {}).unwrap().report.has(Outcome::Proven, "earlier")
    );
    let first = before.leaves.len();
    let part = honest.export_of(first, &honest.leaves[first..], &honest.checkpoints);
    assert!(Export::verify(&part, &known, &mut |_| {}).unwrap().report.has(Outcome::Proven, "earlier"));
    let part = honest.export_of(first + 1, &honest.leaves[first + 1..], &honest.checkpoints);
    assert!(Export::verify(&part, &known, &mut |_| {}).unwrap().report.has(Outcome::NotProven, "earlier"));
}

#[test]
fn a_replayed_checkpoint_is_found() {
    let log = Log::of_days(3);
    // The old one once more at the end, as if nothing had happened since.
    let mut file = log.export();
    file.extend_from_slice(&log.checkpoints[1]);
    let report = verify(&file).report;
    assert!(broken(&report).contains(&"checkpoint-order") && broken(&report).contains(&"root"), "{report}");
    // The same one twice.
    let mut file = log.export();
    file.extend_from_slice(&log.checkpoints[3]);
    assert_eq!(broken(&verify(&file).report), ["checkpoint-order"]);
}

#[test]
fn a_checkpoint_that_names_another_before_it_is_found() {
    let log = Log::of_days(1);
    let mut other = Log::of_days(0);
    other.checkpoint(START);
    other.day(START);
    // Number 2 of both, over the same entries but with another past.
    let forked = vec![log.checkpoints[0].clone(), other.checkpoints[1].clone(), log.checkpoints[1].clone()];
    let report = verify(&log.export_of(0, &log.leaves, &forked)).report;
    assert_eq!(broken(&report), ["checkpoint-order"]);
}

#[test]
fn a_clock_that_was_set_changes_no_order() {
    let mut log = Log::of_days(1);
    log.event(EventCode::ClockBefore, START + 90_000_000, 0);
    log.event(EventCode::ClockAfter, START - 90_000_000, 0);
    log.day(START - 86_400_000);
    let report = verify(&log.export()).report;
    assert!(report.holds(), "{report}");
    assert!(report.to_string().contains("set 1 times"), "{report}");
}

#[test]
fn swapped_logs_of_two_meters_are_found() {
    let maker = Maker::new(20);
    let (one, two) = (Log::of_days(1), Log::of(&maker, "MSL0000000002".parse().unwrap(), 8, 1));
    // Two's entries and checkpoints under one's name.
    let report = verify(&one.export_of(0, &two.leaves, &one.checkpoints)).report;
    assert!(broken(&report).contains(&"other-log") && broken(&report).contains(&"root"), "{report}");
    // Two's whole file, signed with two's key, but said to be of meter one.
    let mut swapped = two.clone();
    swapped.origin.meter = one.origin.meter;
    let export = Export { origin: swapped.origin, start: Peaks::new(), count: two.leaves.len() as u64 };
    let mut file = vec![];
    let entries = two.leaves.iter().map(|leaf| Ok::<_, ()>(Entry::Leaf(leaf)));
    export
        .write(entries, &[], |bytes| {
            file.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    file.extend_from_slice(&two.checkpoints[1]);
    assert!(broken(&verify(&file).report).contains(&"other-log"));
}

#[test]
fn another_devices_key_is_found() {
    let maker = Maker::new(20);
    let one = Log::of_days(1);
    // A log of meter one's name, forged with meter two's key and certificate.
    let two_key = 8;
    let mut forged = Log::of(&maker, one.origin.meter, two_key, 1);
    forged.origin.chain[0] = maker.certify(two_key, &Certified::log_key_of("MSL0000000002".parse().unwrap()));
    let report = verify(&forged.export()).report;
    assert_eq!(broken(&report), ["chain"]);
    // With the certificate of meter one's key instead.
    forged.origin.chain = one.origin.chain.clone();
    assert_eq!(broken(&verify(&forged.export()).report), ["chain"]);
    // Without any: the printed fingerprint shows it.
    forged.origin.chain.clear();
    let fingerprint: Fingerprint = printed_fingerprint(&one.origin.key).parse().unwrap();
    let trust = Trust { fingerprint: Some(fingerprint), ..Trust::default() };
    let report = Export::verify(&forged.export(), &trust, &mut |_| {}).unwrap().report;
    assert_eq!(broken(&report), ["fingerprint"]);
    assert!(Export::verify(&one.export(), &trust, &mut |_| {}).unwrap().report.holds());
}

#[test]
fn a_maker_that_nobody_trusts_is_found() {
    let log = Log::of_days(1);
    let trust = |maker: &Maker| Trust { authorities: vec![maker.root.clone()], ..Trust::default() };
    let report = Export::verify(&log.export(), &trust(&Maker::new(40)), &mut |_| {}).unwrap().report;
    assert_eq!(broken(&report), ["authority"]);
    let report = Export::verify(&log.export(), &trust(&Maker::new(20)), &mut |_| {}).unwrap().report;
    assert!(report.holds() && report.has(Outcome::Proven, "authority"), "{report}");
    // The intermediate itself may be what is trusted.
    let trust = Trust { authorities: vec![Maker::new(20).intermediate], ..Trust::default() };
    assert!(
        Export::verify(&log.export(), &trust, &mut |_| {}).unwrap().report.has(Outcome::Proven, "authority")
    );
}

// ---- attacks on bills ----

#[test]
fn a_bill_with_one_digit_changed_is_found() {
    let mut statement = Log::of_days(3).statement(1, 3);
    let closing = statement.readings.last_mut().unwrap();
    let mut leaf = Leaf::decode(&closing.leaf).unwrap();
    let Body::Reading(reading) = &mut leaf.body else { panic!("a reading") };
    reading.totals.active_import_milliwatt_hours += 1_000_000;
    closing.leaf = leaf.encode();
    assert_eq!(broken(&check(&statement)), ["inclusion"]);
    assert!(statement.verify(&Trust::default()).quantities().is_none());
}

#[test]
fn a_bill_with_a_reading_left_out_is_found() {
    let whole = Log::of_days(4).statement(0, 4);
    let mut statement = whole.clone();
    statement.readings.remove(2);
    assert_eq!(broken(&check(&statement)), ["left-out"]);
    statement.readings.truncate(1);
    assert_eq!(broken(&check(&statement)), ["period"]);
    let mut doubled = whole.clone();
    doubled.readings.insert(1, whole.readings[1].clone());
    assert_eq!(broken(&check(&doubled)), ["left-out"]);
    let mut swapped = whole;
    swapped.readings.swap(1, 2);
    assert!(broken(&check(&swapped)).contains(&"left-out"));
}

#[test]
fn a_bill_with_a_proof_from_another_tree_is_found() {
    let (one, two) = (Log::of_days(3), Log::of(&Maker::new(20), "MSL0000000002".parse().unwrap(), 8, 3));
    let mut statement = one.statement(1, 3);
    let other = two.statement(1, 3);
    statement.readings[1].path = other.readings[1].path.clone();
    assert_eq!(broken(&check(&statement)), ["inclusion"]);
    // The other's reading with the other's proof.
    statement.readings[1] = other.readings[1].clone();
    assert!(broken(&check(&statement)).contains(&"other-log"));
    // The other's checkpoint.
    let mut statement = one.statement(1, 3);
    statement.checkpoint = other.checkpoint;
    assert_eq!(broken(&check(&statement)), ["signature"]);
    // A proof of another reading of the same log.
    let mut statement = one.statement(1, 3);
    let ProvenLeaf { path, .. } = statement.readings[0].clone();
    statement.readings[1].path = path;
    assert_eq!(broken(&check(&statement)), ["inclusion"]);
}

#[test]
fn a_bill_against_an_old_checkpoint_is_found() {
    let log = Log::of_days(4);
    let mut statement = log.statement(1, 3);
    statement.checkpoint = log.checkpoints[2].clone();
    assert!(broken(&check(&statement)).contains(&"inclusion"));
    // And one whose previous statement saw more than it.
    let mut statement = log.statement(1, 3);
    statement.previous = Some(Previous { checkpoint: log.checkpoints[4].clone(), path: vec![] });
    assert_eq!(broken(&check(&statement)), ["previous"]);
}

#[test]
fn a_bill_from_a_forked_log_is_found_by_its_previous_one() {
    let honest = Log::of_days(2);
    let mut forked = Log::of_days(1);
    forked.event(EventCode::MagnetOff, START, 0);
    forked.day(START + 24 * 3_600_000);
    forked.day(START + 48 * 3_600_000);
    let mut statement = forked.statement(2, 3);
    statement.previous.as_mut().unwrap().checkpoint = honest.checkpoints[2].clone();
    assert!(broken(&check(&statement)).contains(&"previous"));
    // With its own checkpoint it hangs together; whoever has the previous statement sees that it is another log.
    let statement = forked.statement(2, 3);
    assert!(check(&statement).holds());
    let known = after(honest.statement(0, 2).verify(&Trust::default()).earlier());
    assert!(broken(&statement.verify(&known).report).contains(&"earlier"));
}

#[test]
fn a_bill_that_does_not_begin_where_the_last_one_ended_is_found() {
    let log = Log::of_days(5);
    let known = after(log.statement(0, 2).verify(&Trust::default()).earlier());
    assert!(log.statement(2, 4).verify(&known).report.has(Outcome::Proven, "continues"));
    for (from, to) in [(1, 4), (3, 5)] {
        let mut statement = log.statement(from, to);
        let hashes = log.hashes();
        statement = Statement::build(
            statement.origin.clone(),
            statement.checkpoint.clone(),
            &log.readings(from, to),
            Some(log.checkpoints[2].clone()),
            &mut Leaves(&hashes),
        )
        .unwrap();
        assert_eq!(broken(&statement.verify(&known).report), ["continues"]);
    }
}

#[test]
fn registers_that_run_backwards_are_found() {
    // Signed by the meter all the same: broken firmware, say.
    let mut log = Log::of_days(1);
    let Body::Reading(first) = Leaf::decode(&log.leaves[1]).unwrap().body else { panic!("a reading") };
    let time = START + 2 * 86_400_000;
    log.append(|row| Body::Reading(Reading { row, time: UnixMillis(time), ..first }));
    log.checkpoint(time);
    let built = Statement::build(
        log.origin.clone(),
        log.checkpoints[2].clone(),
        &log.readings(1, 2),
        None,
        &mut Leaves(&log.hashes()),
    );
    assert!(built.unwrap_err().to_string().contains("stands lower"));
}

// ---- certificates ----

#[test]
fn a_certificate_for_anything_else_does_not_vouch_for_a_log_key() {
    let maker = Maker::new(20);
    let meter = "MSL0000000001".parse().unwrap();
    let at = UnixMillis(START);
    let good = Certified::log_key_of(meter);
    let verify = |what: &Certified| {
        chain::verify_log_key(&[maker.certify(7, what), maker.intermediate.clone()], meter, at, &[])
    };
    let certified = verify(&good).unwrap();
    assert_eq!(
        (certified.key, &certified.authority[..]),
        (seal_key(7).public().clone(), "Maker 20 manufacturer")
    );
    assert!(!certified.trusted);
    let uris =
        |uris: &[&str]| Certified { uris: uris.iter().map(ToString::to_string).collect(), ..good.clone() };
    for (what, why) in [
        (uris(&["urn:meterseal:meter:MSL0000000001"]), "a TLS identity"),
        (uris(&[chain::LOG_KEY_URI]), "nobody's"),
        (uris(&["urn:meterseal:meter:MSL0000000002", chain::LOG_KEY_URI]), "another meter's"),
        (
            uris(&[
                "urn:meterseal:meter:MSL0000000001",
                "urn:meterseal:meter:MSL0000000002",
                chain::LOG_KEY_URI,
            ]),
            "two meters'",
        ),
        (Certified { is_authority: true, ..good.clone() }, "an authority's"),
        (Certified { usage: KeyUsagePurpose::KeyAgreement, ..good.clone() }, "not for signing"),
    ] {
        assert_eq!(verify(&what), Err(ChainError::Subject(meter)), "{why}");
    }
    assert!(matches!(
        verify(&Certified { years: (2020, 2021), ..good.clone() }),
        Err(ChainError::Validity { .. })
    ));
    assert!(matches!(
        verify(&Certified { years: (2030, 2031), ..good.clone() }),
        Err(ChainError::Validity { .. })
    ));
    let own = maker.certify(7, &good);
    let verify = |chain: &[Vec<u8>]| chain::verify_log_key(chain, meter, at, &[]);
    let other = Maker::new(40);
    assert!(matches!(verify(&[own.clone(), other.intermediate.clone()]), Err(ChainError::Signature(_))));
    assert!(matches!(verify(&[own.clone(), own.clone()]), Err(ChainError::Authority(_))));
    assert!(verify(&[own.clone(), maker.intermediate.clone(), maker.root.clone()]).is_ok());
    assert_eq!(verify(&[]), Err(ChainError::Length(0)));
    assert_eq!(verify(&vec![own.clone(); 5]), Err(ChainError::Length(5)));
    // A root that allows one authority below it does not allow two.
    let deep = [own.clone(), maker.intermediate.clone(), maker.intermediate.clone(), maker.root.clone()];
    assert!(verify(&deep).is_err());
    for place in 0..own.len() {
        let mut altered = own.clone();
        altered[place] ^= 1;
        assert!(verify(&[altered, maker.intermediate.clone()]).is_err(), "byte {place}");
    }
}

// ---- bytes ----

#[test]
fn every_altered_byte_of_a_statement_is_refused() {
    let file = Log::of_days(1).statement(0, 1).encode();
    // Without a trusted root, nothing says who the last authority of the chain is: the report does.
    let trust = Trust { authorities: vec![Maker::new(20).root], ..Trust::default() };
    for place in 0..file.len() {
        let mut altered = file.clone();
        altered[place] ^= 1 << (place % 8);
        if let Ok(statement) = Statement::decode(&altered) {
            assert!(!statement.verify(&trust).report.holds(), "byte {place}");
        }
    }
    for end in 0..file.len() {
        assert!(Statement::decode(&file[..end]).is_err());
    }
    assert!(Statement::decode(&[file, vec![0xF6]].concat()).is_err());
}

#[test]
fn every_altered_byte_of_an_export_is_refused() {
    let file = Log::of_days(0).export();
    let trust = Trust { authorities: vec![Maker::new(20).root], ..Trust::default() };
    for place in 0..file.len() {
        let mut altered = file.clone();
        altered[place] ^= 1 << (place % 8);
        if let Ok(verified) = Export::verify(&altered, &trust, &mut |_| {}) {
            assert!(!verified.report.holds(), "byte {place}");
        }
    }
    for end in 0..file.len() {
        let held = Export::verify(&file[..end], &Trust::default(), &mut |_| {})
            .is_ok_and(|export| export.report.holds());
        assert!(!held, "cut at {end}");
    }
}

#[test]
fn a_later_version_is_refused_by_name() {
    let mut file = Log::of_days(1).statement(0, 1).encode();
    let version = 1 + 1 + "meterseal.statement".len();
    file[version] = 2;
    assert_eq!(Statement::decode(&file), Err(Unreadable::Version(2)));
    let mut file = Log::of_days(1).export();
    file[1 + 1 + "meterseal.log".len()] = 2;
    assert_eq!(Export::verify(&file, &Trust::default(), &mut |_| {}).unwrap_err(), Unreadable::Version(2));
    assert!(matches!(Statement::decode(b"%PDF-1.7"), Err(Unreadable::Malformed(_))));
    assert_eq!(Kind::of(b"%PDF-1.7"), None);
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Kind::of(&bytes);
        let _ = Statement::decode(&bytes);
        let _ = Export::verify(&bytes, &Trust::default(), &mut |_| {});
        let _ = chain::verify_log_key(std::slice::from_ref(&bytes), "MSL0000000001".parse().unwrap(), UnixMillis(0), &[]);
    }
}
