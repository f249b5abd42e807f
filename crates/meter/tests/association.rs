//! A client and the meter through the wrapper: reading, setting, pushing.

mod support;

use dlms_cosem_rs::axdr::{Data, DateTime};
use dlms_cosem_rs::xdlms::DataAccessResult;
use meterseal_model::objects::{self, Class};
use meterseal_model::{EventCode, Obis, Role};
use support::client::{Client, Value, by_clock, by_sequence, counter, everything, frame};
use support::{OPEN, QUIET, TestMeter, at, blank, keys_of, open, reader_keys, run, utility_keys};

#[test]
fn a_ciphered_association_reads_what_was_measured() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    run(&mut meter, 0, 5_000, 10.0, &QUIET);
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();

    let volts = client.get(&mut meter, 3, Obis::VOLTAGE[1], 2).number();
    assert!((229_990..=230_010).contains(&volts), "{volts} mV");
    let amperes = client.get(&mut meter, 3, Obis::CURRENT[2], 2).number();
    assert!((9_999_000..=10_001_000).contains(&amperes), "{amperes} µA");
    // 3 × 230 V × 10 A × cos 30° = 5975.6 W.
    let watts = client.get(&mut meter, 3, Obis::ACTIVE_POWER_IMPORT, 2).number();
    assert!((597_400..=597_700).contains(&watts), "{watts} × 10 mW");
    assert_eq!(client.get(&mut meter, 3, Obis::ACTIVE_POWER_EXPORT, 2).number(), 0);
    let frequency = client.get(&mut meter, 3, Obis::FREQUENCY, 2).number();
    assert!((49_999..=50_001).contains(&frequency), "{frequency} mHz");
    assert_eq!(client.get(&mut meter, 3, Obis::POWER_FACTOR, 2).number(), 866);
    let scale = client.get(&mut meter, 3, Obis::ACTIVE_ENERGY_IMPORT, 3);
    assert_eq!(scale.list().iter().map(Value::number).collect::<Vec<_>>(), [-3, 30]);
    // 5.0 s of it, less the last window and cycle that are not summed yet: 8.3 Wh in all.
    let energy = client.get(&mut meter, 3, Obis::ACTIVE_ENERGY_IMPORT, 2).number();
    assert!((7_500..=8_300).contains(&energy), "{energy} mWh");
    assert_eq!(energy as u64, meter.saved_registers().total_import_nanowatt_hours / 1_000_000);
    assert_eq!(client.get(&mut meter, 1, Obis::METER_ID, 2), Value::Bytes(b"MSL0000000042".to_vec()));
    assert_eq!(client.get(&mut meter, 1, Obis::FIRMWARE_DIGEST, 2), Value::Bytes(vec![0xD1; 48]));
}

#[test]
fn registers_over_dlms_are_those_in_flash() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    run(&mut meter, 0, 2_000, 50.0, &QUIET);
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    let shown = client.get(&mut meter, 3, Obis::ACTIVE_ENERGY_IMPORT, 2).number();
    // Energy flows for almost a second; it is shown with the save and not before.
    run(&mut meter, 2_000, 2_900, 50.0, &QUIET);
    assert_eq!(client.get(&mut meter, 3, Obis::ACTIVE_ENERGY_IMPORT, 2).number(), shown);
    run(&mut meter, 2_900, 3_000, 50.0, &QUIET);
    let later = client.get(&mut meter, 3, Obis::ACTIVE_ENERGY_IMPORT, 2).number();
    assert!(later > shown);
    drop(meter);
    let mut meter = open(&mut flash, at(10_000));
    assert_eq!(meter.saved_registers().total_import_nanowatt_hours / 1_000_000, later as u64);
    run(&mut meter, 10_000, 13_000, 50.0, &QUIET);
    assert!(meter.saved_registers().total_import_nanowatt_hours / 1_000_000 > later as u64);
}

#[test]
fn a_list_of_25_comes_in_one_answer() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    run(&mut meter, 0, 1_500, 10.0, &QUIET);
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    let registers: Vec<_> =
        objects::OBJECTS.iter().filter(|object| object.class == Class::Register).collect();
    assert!(registers.len() >= 24);
    let mut items: Vec<_> = registers[..24].iter().map(|object| (3, object.obis, 2)).collect();
    items.push((3, Obis::general(1, 2, 3), 2));
    let values = client.get_list(&mut meter, &items);
    assert_eq!(values.len(), 25);
    assert!(values[..24].iter().all(Result::is_ok), "{values:?}");
    assert_eq!(values[24], Err(DataAccessResult::ObjectUndefined));
}

#[test]
fn every_attribute_has_its_declared_type_for_whom_it_is_readable() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    run(&mut meter, 0, 1_500, 10.0, &QUIET);
    for role in Role::ALL {
        meter.connected();
        let mut client = Client::new(role, &keys_of(role), 0, 4096);
        client.associate(&mut meter).unwrap();
        let mut last = None;
        for (object, attribute) in everything() {
            if last.replace(object.obis) != Some(object.obis) {
                // Time forgives what else would be slowed down.
                meter.pass(61_000);
            }
            let name = format!("{role} {} attribute {}", object.obis, attribute.index);
            let at = (object.class.id(), object.obis, attribute.index);
            let answer = client.try_read(&mut meter, at, None, |data| data.tag() as u8);
            let access = object.access(role, attribute.index);
            let expected = if access.reads() {
                Ok(attribute.kind.tag())
            } else {
                Err(DataAccessResult::ReadWriteDenied)
            };
            assert_eq!(answer, expected, "{name}");
            if !access.writes() {
                let mut request = [0; 256];
                let descriptor = dlms_cosem_rs::xdlms::AttributeDescriptor::new(
                    object.class.id(),
                    support::client::dlms(object.obis),
                    attribute.index,
                );
                let new = Data::Unsigned(1);
                let len = client.session.set_request(descriptor, None, new, &mut request).unwrap();
                let answer = client.exchange(&mut meter, &request[..len]).unwrap();
                let answer = client.session.handle_response(&answer, &mut request).unwrap();
                let denied = DataAccessResult::ReadWriteDenied;
                assert_eq!(answer, dlms_cosem_rs::client::Response::DataError(denied), "{name}");
            }
        }
        meter.disconnected();
    }
}

#[test]
fn the_object_list_is_the_table() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    meter.connected();
    // Small messages: the list comes in many blocks.
    let mut client = Client::new(Role::Reader, &reader_keys(), 0, 256);
    client.associate(&mut meter).unwrap();
    let list = client.get(&mut meter, 15, Obis::ASSOCIATION, 2);
    let visible: Vec<_> =
        objects::OBJECTS.iter().filter(|object| object.is_visible_to(Role::Reader)).collect();
    assert_eq!(list.list().len(), visible.len());
    for (entry, object) in list.list().iter().zip(visible) {
        let entry = entry.list();
        assert_eq!(entry[0].number(), i64::from(object.class.id()));
        assert_eq!(entry[1].number(), i64::from(object.class.version()));
        assert_eq!(entry[2], Value::Bytes(object.obis.0.to_vec()));
        for (right, attribute) in entry[3].list()[0].list().iter().zip(object.attributes) {
            let expected = object.access(Role::Reader, attribute.index).mode().into();
            assert_eq!(
                [right.list()[0].number(), right.list()[1].number()],
                [attribute.index.into(), expected]
            );
        }
    }
}

#[test]
fn a_client_that_did_not_ask_for_notifications_gets_none() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    meter.connected();
    let mut client = Client::utility_without_pushes();
    client.associate(&mut meter).unwrap();
    run(&mut meter, 0, 300, 0.0, &OPEN);
    client.listen(&mut meter);
    assert!(client.pushes.is_empty());
    assert_eq!(meter.security_log_range().count(), 2, "they are in the log all the same");
}

#[test]
fn the_push_method_sends_what_is_not_acknowledged_again_and_else_the_newest_entry() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    run(&mut meter, 0, 300, 0.0, &OPEN);
    client.listen(&mut meter);
    let pushed = |client: &mut Client| -> Vec<i64> {
        client.pushes.drain(..).map(|(_, body)| body.list()[2].number()).collect()
    };
    assert_eq!(pushed(&mut client), [1, 2]);
    let push = |client: &mut Client, meter: &mut TestMeter<'_>| {
        let outcome = client.invoke(meter, 40, Obis::ALARM_PUSH_SETUP, 1, &[15, 0]);
        client.listen(meter);
        outcome
    };
    push(&mut client, &mut meter).unwrap();
    assert_eq!(pushed(&mut client), [1, 2], "neither is acknowledged");
    client.set(&mut meter, 1, Obis::COMMITTED_SECURITY_LOG, Data::Long64Unsigned(2)).unwrap();
    push(&mut client, &mut meter).unwrap();
    assert_eq!(pushed(&mut client), [2], "the newest");
    client.listen(&mut meter);
    assert_eq!(pushed(&mut client), [0; 0], "once");
    client.invoke(&mut meter, 40, Obis::ALARM_PUSH_SETUP, 1, &[17, 3]).unwrap_err();
    client.listen(&mut meter);
    assert_eq!(pushed(&mut client), [0; 0]);
}

#[test]
fn cpa_tamp_an_event_is_pushed_until_it_is_acknowledged() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let first = *meter.security_log_range().end();
    assert_eq!(meter.security_log_entry(first).unwrap().unwrap().code, EventCode::PowerUp);
    meter.connected();
    assert_eq!(meter.transmit(), None, "nothing before the association");
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    client.listen(&mut meter);
    run(&mut meter, 0, 300, 0.0, &OPEN);
    client.listen(&mut meter);
    let bodies: Vec<_> = client.pushes.drain(..).map(|(_, body)| body).collect();
    assert_eq!(bodies.len(), 2);
    let body = bodies[1].list();
    assert_eq!(body.len(), objects::PUSH_COLUMNS.len());
    assert_eq!(body[0], Value::Bytes(Obis::ALARM_PUSH_SETUP.0.to_vec()));
    assert_eq!(body[1], Value::Bytes(b"MSL0000000042".to_vec()));
    assert_eq!(body[2].number(), 2);
    // Seen first at 100 ms, certain at 200 ms: the entry says when it began.
    let Value::Bytes(time) = &body[3] else { panic!("{body:?}") };
    let time = DateTime::from_bytes(time[..].try_into().unwrap());
    assert_eq!(time.to_unix_seconds(), Some(at(100).seconds()));
    assert_eq!(time.hundredths, 10);
    assert_eq!(body[4].number(), EventCode::CoverRemoved as i64);
    assert_eq!(body[6].number(), 100);
    client.listen(&mut meter);
    assert!(client.pushes.is_empty(), "each entry once a connection");

    // Not acknowledged: the next connection gets both again.
    let counters = (client.session.invocation_counter(), client.session.peer_invocation_counter());
    meter.disconnected();
    meter.connected();
    let mut client = Client::new(Role::Utility, &utility_keys(), counters.0, 1024);
    client.associate(&mut meter).unwrap();
    client.listen(&mut meter);
    assert_eq!(client.pushes.len(), 2);
    let committed = Data::Long64Unsigned(2);
    client.set(&mut meter, 1, Obis::COMMITTED_SECURITY_LOG, committed).unwrap();
    assert_eq!(meter.committed_security_log(), 2);

    // Acknowledged: neither the next connection nor a restart repeats it.
    let counters = client.session.invocation_counter();
    drop(meter);
    let mut meter = open(&mut flash, at(5_000));
    meter.connected();
    let mut client = Client::new(Role::Utility, &utility_keys(), counters, 1024);
    client.associate(&mut meter).unwrap();
    client.listen(&mut meter);
    let sequences: Vec<_> = client.pushes.iter().map(|(_, body)| body.list()[2].number()).collect();
    assert_eq!(sequences, [3], "the restart itself");
}

#[test]
fn acknowledgements_only_go_forward_and_never_beyond_what_there_is() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    run(&mut meter, 0, 300, 0.0, &OPEN);
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    let mut set = |number| client.set(&mut meter, 1, Obis::COMMITTED_SECURITY_LOG, number);
    assert_eq!(set(Data::Long64Unsigned(3)), Err(DataAccessResult::ScopeOfAccessViolated));
    assert_eq!(set(Data::Long64Unsigned(u64::MAX)), Err(DataAccessResult::ScopeOfAccessViolated));
    assert_eq!(set(Data::OctetString(b"2")), Err(DataAccessResult::TypeUnmatched));
    assert_eq!(set(Data::Long64Unsigned(2)), Ok(()));
    assert_eq!(set(Data::Long64Unsigned(2)), Ok(()));
    assert_eq!(set(Data::Long64Unsigned(1)), Err(DataAccessResult::ScopeOfAccessViolated));
    drop(meter);
    assert_eq!(open(&mut flash, at(1_000)).committed_security_log(), 2);
}

#[test]
fn profiles_are_read_by_sequence_by_clock_and_by_entry() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    // Forty quarters of an hour, ticked each minute.
    for minute in 0..=600 {
        meter.tick(at(minute * 60_000)).unwrap();
    }
    assert_eq!(meter.load_profile_range(), 1..=40);
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    let profile = Obis::LOAD_PROFILE;
    let sequences = |rows: &Value| rows.list().iter().map(|row| row.list()[1].number()).collect::<Vec<_>>();

    let rows = client.try_get(&mut meter, 7, profile, 2, Some(by_sequence(&mut [0; 128], 7, 9))).unwrap();
    assert_eq!(sequences(&rows), [7, 8, 9]);
    assert_eq!(rows.list()[0].list().len(), objects::LOAD_PROFILE_COLUMNS.len());
    let none =
        client.try_get(&mut meter, 7, profile, 2, Some(by_sequence(&mut [0; 128], 41, u64::MAX))).unwrap();
    assert_eq!(sequences(&none), []);

    let time = |hour, minute| DateTime::from_civil(2026, 11, 22, hour, minute, 0, 0).to_bytes();
    let mut buffer = [0; 128];
    let access = by_clock(&mut buffer, &time(14, 30), &time(15, 0));
    let rows = client.try_get(&mut meter, 7, profile, 2, Some(access)).unwrap();
    assert_eq!(sequences(&rows), [10, 11, 12]);

    let entries =
        dlms_cosem_rs::cosem::EntryDescriptor { from_entry: 39, to_entry: 0, from_value: 1, to_value: 2 };
    let mut buffer = [0; 128];
    let access = entries.to_selective_access(&mut buffer).unwrap();
    let rows = client.try_get(&mut meter, 7, profile, 2, Some(access)).unwrap();
    assert_eq!(sequences(&rows), [39, 40]);
    assert_eq!(rows.list()[0].list().len(), 2);

    // All 40 rows are 2.9 kB: several blocks of the client's 1024 bytes.
    assert_eq!(client.get(&mut meter, 7, profile, 2).list().len(), 40);
    assert_eq!(client.get(&mut meter, 7, profile, 7).number(), 40);
    assert_eq!(client.get(&mut meter, 7, profile, 4).number(), 900);
    let log =
        client.try_get(&mut meter, 7, Obis::SECURITY_LOG, 2, Some(by_sequence(&mut [0; 128], 1, 1))).unwrap();
    assert_eq!(log.list()[0].list()[2].number(), EventCode::PowerUp as i64);
}

#[test]
fn a_buffer_too_long_for_one_answer_is_refused_and_not_shortened() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    for quarter in 0..=120 {
        meter.tick(at(quarter * 900_000)).unwrap();
    }
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    let whole = client.try_get(&mut meter, 7, Obis::LOAD_PROFILE, 2, None);
    assert_eq!(whole, Err(DataAccessResult::ScopeOfAccessViolated));
    let mut buffer = [0; 128];
    let access = Some(by_sequence(&mut buffer, 21, 120));
    assert_eq!(client.try_get(&mut meter, 7, Obis::LOAD_PROFILE, 2, access).unwrap().list().len(), 100);
}

#[test]
fn a_clock_set_by_more_than_ten_seconds_is_logged() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    let mut set = |meter: &mut _, second| {
        let time = DateTime::from_civil(2026, 11, 22, 12, 0, second, 0).to_bytes();
        client.set(meter, 8, Obis::CLOCK, Data::OctetString(&time)).unwrap();
    };
    set(&mut meter, 9);
    assert_eq!((meter.clock(), *meter.security_log_range().end()), (at(9_000), 1));
    set(&mut meter, 40);
    let entries: Vec<_> =
        (2..=3).map(|sequence| meter.security_log_entry(sequence).unwrap().unwrap()).collect();
    assert_eq!(
        entries.iter().map(|entry| entry.code).collect::<Vec<_>>(),
        [EventCode::ClockBefore, EventCode::ClockAfter]
    );
    assert_eq!([entries[0].time, entries[1].time], [at(9_000), at(40_000)]);
    assert_eq!(entries[0].extreme, 31_000_000);
    drop(meter);
    // The device's clock goes on; the meter keeps its distance to it.
    assert_eq!(open(&mut flash, at(60_000)).clock(), at(100_000));
}

#[test]
fn the_aare_demands_authentication_and_replies_come_in_the_clients_form() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    let aare = client.frames.iter().find(|frame| frame[8] == 0x61).unwrap();
    // result-source-diagnostic, acse-service-user: 14.
    assert!(aare.windows(7).any(|window| window == [0xA3, 0x05, 0xA1, 0x03, 0x02, 0x01, 14]));

    // The same request, put into general-glo-ciphering by hand.
    let mut request = [0; 256];
    let descriptor =
        dlms_cosem_rs::xdlms::AttributeDescriptor::new(1, support::client::dlms(Obis::METER_ID), 2);
    let len = client.session.get_request(descriptor, None, &mut request).unwrap();
    let mut general = vec![0xDB, 8];
    general.extend_from_slice(&support::client::CLIENT_TITLE);
    general.extend_from_slice(&request[1..len]);
    client.listen(&mut meter);
    meter.receive(&frame(Role::Utility, &general)).unwrap();
    let answer = meter.transmit().unwrap();
    assert_eq!(answer[8..18], [0xDB, 8, b'M', b'S', b'L', 0, 0, 0, 0, 42]);
    let mut plain = [0; 256];
    let answer = client.session.handle_response(&answer[8..], &mut plain).unwrap();
    let dlms_cosem_rs::client::Response::Data(id) = answer else { panic!("{answer:?}") };
    assert_eq!(id.as_bytes(), Some(&b"MSL0000000042"[..]));
}

#[test]
fn no_invocation_counter_is_used_twice_over_any_number_of_restarts() {
    let mut flash = blank();
    let mut highest = 0;
    let mut client_counter = 0;
    let mut counters = 0;
    for boot in 0..40 {
        let start = boot * 10_000;
        let mut meter = open(&mut flash, at(start));
        for _ in 0..3 {
            meter.connected();
            let mut client = Client::new(Role::Utility, &utility_keys(), client_counter, 1024);
            client.associate(&mut meter).unwrap();
            for turn in 0..5 {
                let readings = if turn % 2 == 0 { OPEN } else { QUIET };
                run(&mut meter, start + turn * 200, start + turn * 200 + 200, 0.0, &readings);
                client.listen(&mut meter);
                client.get(&mut meter, 1, Obis::METER_ID, 2);
            }
            let newest = *meter.security_log_range().end();
            client.set(&mut meter, 1, Obis::COMMITTED_SECURITY_LOG, Data::Long64Unsigned(newest)).unwrap();
            client_counter = client.session.invocation_counter();
            for frame in &client.frames {
                // Answers and pushes are one rising sequence: the strictest client is content.
                let counter = counter(frame).unwrap();
                assert!(counter > highest, "{counter} after {highest}, boot {boot}");
                highest = counter;
                counters += 1;
            }
        }
        if boot % 3 == 0 {
            meter.power_down(at(start + 2_000)).unwrap();
        }
    }
    assert!(counters > 40 * 3 * 8, "{counters}");
}
