//! Every profile's buffer through every selector: what is selected is what is there, and what cannot be selected is refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::Decode as _;
use dlms_cosem_rs::cosem::EntryDescriptor;
use dlms_cosem_rs::xdlms::{DataAccessResult, SelectiveAccess};
use meterseal_model::objects::{Class, OBJECTS, Object};
use meterseal_model::{EventCode, Obis, Role};
use support::axdr::{array, octets, structure, u16, u32};
use support::client::{Client, Value, by_clock, by_sequence};
use support::{OPEN, QUIET, TestMeter, at, blank, keys_of, open, run, utility_keys};

const PROFILE: u16 = 7;
const SEQUENCE_COLUMN: usize = 1;

fn profiles() -> impl Iterator<Item = &'static Object> {
    OBJECTS.iter().filter(|object| object.class == Class::ProfileGeneric)
}

fn client(meter: &mut TestMeter<'_>, role: Role, counter: u32) -> Client {
    meter.connected();
    let mut client = Client::new(role, &keys_of(role), counter, 1024);
    client.associate(meter).unwrap();
    client
}

/// Something in each: covers, quarters, ends of billing periods; a sag is another test's.
fn lived(meter: &mut TestMeter<'_>) {
    for minute in 0..=60 {
        meter.tick(at(minute * 60_000)).unwrap();
    }
    run(meter, 3_600_000, 3_600_500, 0.0, &OPEN);
    run(meter, 3_600_500, 3_601_000, 0.0, &QUIET);
    let mut utility = Client::new(Role::Utility, &utility_keys(), 0, 1024);
    meter.connected();
    utility.associate(meter).unwrap();
    for _ in 0..3 {
        utility.invoke(meter, 9, Obis::BILLING_SCRIPTS, 1, &u16(1)).unwrap();
        meter.pass(60_000);
    }
}

fn rows(
    client: &mut Client,
    meter: &mut TestMeter<'_>,
    profile: &Object,
    access: Option<SelectiveAccess<'_>>,
) -> Result<Vec<Value>, DataAccessResult> {
    client.try_get(meter, PROFILE, profile.obis, 2, access).map(|rows| rows.list().to_vec())
}

fn entries(buffer: &mut [u8; 128], from: u32, to: u32, columns: (u16, u16)) -> SelectiveAccess<'_> {
    let (from_value, to_value) = columns;
    EntryDescriptor { from_entry: from, to_entry: to, from_value, to_value }
        .to_selective_access(buffer)
        .unwrap()
}

#[test]
fn every_selector_of_every_profile_gives_what_the_whole_buffer_has() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    lived(&mut meter);
    let mut reader = client(&mut meter, Role::Reader, 0);
    let mut filled = 0;
    for profile in profiles() {
        let what = profile.name;
        let mut ask = |access: Option<SelectiveAccess<'_>>| rows(&mut reader, &mut meter, profile, access);
        let all = ask(None).unwrap();
        filled += usize::from(all.len() >= 3);
        let count = all.len() as u32;

        // By entry: all, a part, one column, the last one, beyond the end.
        assert_eq!(ask(Some(entries(&mut [0; 128], 1, 0, (1, 0)))).unwrap(), all, "{what}");
        if count >= 3 {
            assert_eq!(ask(Some(entries(&mut [0; 128], 2, 3, (1, 0)))).unwrap(), all[1..3], "{what}");
            let column: Vec<_> = all.iter().map(|row| Value::List(vec![row.list()[1].clone()])).collect();
            assert_eq!(ask(Some(entries(&mut [0; 128], 1, 0, (2, 2)))).unwrap(), column, "{what}");
            assert_eq!(
                ask(Some(entries(&mut [0; 128], count, count, (1, 0)))).unwrap(),
                all[all.len() - 1..]
            );

            // By range, over the sequence and over the clock; both ends are included.
            let sequence = |row: &Value| row.list()[SEQUENCE_COLUMN].number() as u64;
            let (first, last) = (sequence(&all[0]), sequence(&all[2]));
            let found = ask(Some(by_sequence(&mut [0; 128], first, last))).unwrap();
            assert_eq!(found, all[..3], "{what}");
            let time = |row: &Value| match &row.list()[0] {
                Value::Bytes(time) => time.clone(),
                other => panic!("{what}: {other:?}"),
            };
            let (from, to) = (time(&all[1]), time(&all[2]));
            let found = ask(Some(by_clock(&mut [0; 128], &from, &to))).unwrap();
            let expected: Vec<_> =
                all.iter().filter(|row| (&from..=&to).contains(&&time(row))).cloned().collect();
            assert_eq!(found, expected, "{what}");
        }
        // Nothing is there: an empty array, not another row.
        assert_eq!(ask(Some(by_sequence(&mut [0; 128], 4_000_000, u64::MAX))).unwrap(), [], "{what}");
        assert_eq!(ask(Some(by_sequence(&mut [0; 128], 9, 8))).unwrap(), [], "{what}");
        assert_eq!(ask(Some(entries(&mut [0; 128], count + 1, 0, (1, 0)))).unwrap(), [], "{what}");
    }
    assert!(filled >= 4, "of all profiles only {filled} have rows to select from");
}

#[test]
fn what_cannot_be_selected_is_refused_in_every_profile_and_elsewhere() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    lived(&mut meter);
    let mut reader = client(&mut meter, Role::Reader, 0);
    let object = |class: u16, obis: Obis, attribute: u8| {
        structure(&[u16(class), octets(&obis.0), vec![15, attribute], u16(0)])
    };
    let by = |restricting: Vec<u8>, from: Vec<u8>| structure(&[restricting, from.clone(), from, array(&[])]);
    let wrong_type = DataAccessResult::TypeUnmatched;
    let beyond = DataAccessResult::ScopeOfAccessViolated;
    let sequence = object(1, Obis::ROW_SEQUENCE, 2);
    let clock = object(8, Obis::CLOCK, 2);
    let unknown = array(&[object(3, Obis::general(9, 9, 9), 2)]);
    for profile in profiles() {
        for (selector, parameters, expected) in [
            // No such selector; nothing to restrict by; wrong types; columns that are not there.
            (0, u32(1), None),
            (3, u32(1), None),
            (1, u32(1), Some(wrong_type)),
            (1, by(object(3, Obis::ACTIVE_ENERGY_IMPORT, 2), u32(1)), Some(beyond)),
            (1, by(sequence.clone(), octets(b"one")), Some(wrong_type)),
            (1, by(clock.clone(), octets(b"noon")), Some(wrong_type)),
            (1, by(clock.clone(), u32(1)), Some(wrong_type)),
            (1, structure(&[sequence.clone(), u32(1)]), Some(wrong_type)),
            (1, structure(&[sequence.clone(), u32(1), u32(2), unknown.clone()]), None),
            (2, structure(&[u32(1)]), Some(wrong_type)),
            (2, structure(&[u32(1), octets(b"2"), u16(1), u16(0)]), Some(wrong_type)),
        ] {
            let access = SelectiveAccess { selector, parameters: Data::from_bytes(&parameters).unwrap() };
            let answer = rows(&mut reader, &mut meter, profile, Some(access));
            let refused = answer.expect_err(profile.name);
            assert!(
                expected.is_none_or(|expected| expected == refused),
                "{} {selector}: {refused:?}",
                profile.name
            );
        }
    }
    // Only buffers have selectors.
    let mut buffer = [0; 128];
    let access = Some(by_sequence(&mut buffer, 1, 2));
    assert_eq!(reader.try_get(&mut meter, 3, Obis::ACTIVE_ENERGY_IMPORT, 2, access), Err(beyond));
    let access = Some(entries(&mut buffer, 1, 1, (1, 0)));
    assert_eq!(reader.try_get(&mut meter, PROFILE, Obis::LOAD_PROFILE, 3, access), Err(beyond));
}

/// With list and with selection at once: each item is answered for itself.
#[test]
fn a_list_answers_each_item_for_itself() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    lived(&mut meter);
    let mut installer = client(&mut meter, Role::Installer, 0);
    let answers = installer.get_list(
        &mut meter,
        &[
            (1, Obis::METER_ID, 2),
            (3, Obis::ACTIVE_ENERGY_IMPORT, 2),
            (3, Obis::general(9, 9, 9), 2),
            (1, Obis::WIFI_PASSPHRASE, 2),
            (8, Obis::CLOCK, 2),
        ],
    );
    assert_eq!(answers[0], Ok(Value::Bytes(b"MSL0000000042".to_vec())));
    assert_eq!(answers[1], Err(DataAccessResult::ReadWriteDenied), "no consumption for the installer");
    assert!(answers[2].is_err());
    assert_eq!(answers[3], Err(DataAccessResult::ReadWriteDenied), "nobody reads the passphrase");
    assert!(matches!(&answers[4], Ok(Value::Bytes(time)) if time.len() == 12));
    let newest = *meter.security_log_range().end();
    assert_eq!(meter.security_log_entry(newest).unwrap().unwrap().code, EventCode::UnauthorisedAct);
}
