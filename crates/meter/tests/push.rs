//! Push setup and TCP-UDP setup as the utility sets them: when an event is pushed, how often, and what else is refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::xdlms::DataAccessResult;
use meterseal_meter::{Connectivity, ProtocolError};
use meterseal_model::{EventCode, Obis, Role};
use support::axdr::{array, octets, structure, u8, u16, u32};
use support::client::Client;
use support::{OPEN, QUIET, TestMeter, at, blank, open, reader_keys, run, utility_keys};

const PUSH_SETUP: u16 = 40;
const TCP_UDP: u16 = 41;

fn utility(meter: &mut TestMeter<'_>, counter: u32) -> Client {
    meter.connected();
    let mut client = Client::new(Role::Utility, &utility_keys(), counter, 1024);
    client.associate(meter).unwrap();
    client
}

fn set(
    client: &mut Client,
    meter: &mut TestMeter<'_>,
    attribute: i8,
    value: &[u8],
) -> Result<(), DataAccessResult> {
    client.set_attribute(meter, PUSH_SETUP, Obis::ALARM_PUSH_SETUP, attribute, value)
}

/// Every entry's number that was pushed since the last look.
fn pushed(client: &mut Client, meter: &mut TestMeter<'_>) -> Vec<i64> {
    client.listen(meter);
    client.pushes.drain(..).map(|(_, body)| body.list()[2].number()).collect()
}

/// Acknowledges all there is.
fn acknowledge(client: &mut Client, meter: &mut TestMeter<'_>) {
    let newest = Data::Long64Unsigned(*meter.security_log_range().end());
    client.set(meter, 1, Obis::COMMITTED_SECURITY_LOG, newest).unwrap();
}

/// Every day at this hour and minute.
fn daily(hour: u8, minute: u8) -> Vec<u8> {
    octets(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, hour, minute, 0, 0, 0x80, 0, 0])
}

fn window(from: Vec<u8>, to: Vec<u8>) -> Vec<u8> {
    structure(&[from, to])
}

#[test]
fn nothing_is_pushed_outside_the_communication_windows_and_all_of_it_within() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut client = utility(&mut meter, 0);
    let windows = array(&[window(daily(12, 10), daily(12, 11)), window(daily(3, 0), daily(4, 0))]);
    set(&mut client, &mut meter, 4, &windows).unwrap();
    assert_eq!(pushed(&mut client, &mut meter), [0; 0], "not at noon");
    run(&mut meter, 0, 300, 0.0, &OPEN);
    assert_eq!(pushed(&mut client, &mut meter), [0; 0]);
    // Not by the push method either: it heeds what is set.
    client.invoke(&mut meter, PUSH_SETUP, Obis::ALARM_PUSH_SETUP, 1, &[15, 0]).unwrap();
    assert_eq!(pushed(&mut client, &mut meter), [0; 0]);
    meter.tick(at(599_900)).unwrap();
    assert_eq!(pushed(&mut client, &mut meter), [0; 0]);
    meter.tick(at(600_000)).unwrap();
    let newest = *meter.security_log_range().end() as i64;
    assert_eq!(pushed(&mut client, &mut meter), (1..=newest).collect::<Vec<_>>());
    acknowledge(&mut client, &mut meter);

    // What is set is in flash, and the next window closes as this one did.
    let counter = client.session.invocation_counter();
    drop(meter);
    let mut meter = open(&mut flash, at(660_000));
    let mut client = utility(&mut meter, counter);
    assert_eq!(pushed(&mut client, &mut meter), [0; 0]);
    let shown = client.get(&mut meter, PUSH_SETUP, Obis::ALARM_PUSH_SETUP, 4);
    assert_eq!(shown.list().len(), 2);
    set(&mut client, &mut meter, 4, &array(&[])).unwrap();
    assert!(!pushed(&mut client, &mut meter).is_empty(), "without windows at once");
}

#[test]
fn what_is_due_waits_a_random_part_of_the_interval() {
    let mut waits = Vec::new();
    for _ in 0..4 {
        let mut flash = blank();
        // Another seed each time.
        flash.steps += waits.len() as u64 * 1000;
        let mut meter = open(&mut flash, at(0));
        let mut client = utility(&mut meter, 0);
        set(&mut client, &mut meter, 5, &u16(600)).unwrap();
        client.listen(&mut meter);
        acknowledge(&mut client, &mut meter);
        client.pushes.clear();
        run(&mut meter, 0, 300, 0.0, &OPEN);
        let mut waited = 0;
        while pushed(&mut client, &mut meter).is_empty() {
            meter.pass(1_000);
            waited += 1;
            assert!(waited <= 600, "not within the interval");
        }
        waits.push(waited);
        // One wait for all that is due, and each new event anew.
        acknowledge(&mut client, &mut meter);
        assert_eq!(pushed(&mut client, &mut meter), [0; 0]);
    }
    assert!(waits.iter().any(|wait| *wait != waits[0]) && waits.iter().max() > Some(&30), "{waits:?}");
}

#[test]
fn what_is_not_acknowledged_is_repeated_so_often_and_no_oftener() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut client = utility(&mut meter, 0);
    set(&mut client, &mut meter, 6, &u8(2)).unwrap();
    set(&mut client, &mut meter, 7, &u16(30)).unwrap();
    client.listen(&mut meter);
    acknowledge(&mut client, &mut meter);
    client.pushes.clear();
    run(&mut meter, 0, 300, 0.0, &OPEN);
    let newest = *meter.security_log_range().end() as i64;
    assert_eq!(pushed(&mut client, &mut meter), [newest]);
    for _ in 0..2 {
        meter.pass(29_900);
        assert_eq!(pushed(&mut client, &mut meter), [0; 0]);
        meter.pass(100);
        assert_eq!(pushed(&mut client, &mut meter), [newest]);
    }
    meter.pass(300_000);
    assert_eq!(pushed(&mut client, &mut meter), [0; 0], "twice, as set");
    // Something new is tried as often again, with all that is not acknowledged.
    run(&mut meter, 400_000, 400_300, 0.0, &QUIET);
    assert_eq!(pushed(&mut client, &mut meter), [newest + 1]);
    meter.pass(30_000);
    assert_eq!(pushed(&mut client, &mut meter), [newest, newest + 1]);
    acknowledge(&mut client, &mut meter);
    meter.pass(30_000);
    assert_eq!(pushed(&mut client, &mut meter), [0; 0], "acknowledged");
}

#[test]
fn the_last_word_of_a_meter_that_goes_down_is_that_it_does() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut client = utility(&mut meter, 0);
    client.listen(&mut meter);
    acknowledge(&mut client, &mut meter);
    client.pushes.clear();
    meter.power_down(at(1_000)).unwrap();
    let newest = *meter.security_log_range().end();
    assert_eq!(meter.security_log_entry(newest).unwrap().unwrap().code, EventCode::PowerDown);
    // Nothing changes any more of what was saved.
    assert_eq!(meter.receive(&[0]), Err(ProtocolError::NotConnected));
    assert_eq!(pushed(&mut client, &mut meter), [newest as i64]);
}

#[test]
fn another_destination_and_what_is_no_window_are_refused() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut client = utility(&mut meter, 0);
    let destination = |service: u8, address: &[u8], message: u8| {
        structure(&[vec![22, service], octets(address), vec![22, message]])
    };
    set(&mut client, &mut meter, 3, &destination(0, b"", 0)).unwrap();
    let beyond = Err(DataAccessResult::ScopeOfAccessViolated);
    for other in [destination(1, b"", 0), destination(0, b"192.0.2.1:4059", 0), destination(0, b"", 1)] {
        assert_eq!(set(&mut client, &mut meter, 3, &other), beyond);
    }
    let moment = |hour, hundredths, deviation: u8| {
        octets(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, hour, 0, 0, hundredths, deviation, 0, 0])
    };
    let whole = window(daily(1, 0), daily(2, 0));
    for (value, expected) in [
        (array(&vec![whole.clone(); 5]), DataAccessResult::ScopeOfAccessViolated),
        (array(&[window(moment(24, 0, 0x80), daily(2, 0))]), DataAccessResult::ScopeOfAccessViolated),
        (array(&[window(moment(1, 50, 0x80), daily(2, 0))]), DataAccessResult::ScopeOfAccessViolated),
        (array(&[window(moment(1, 0, 0x01), daily(2, 0))]), DataAccessResult::ScopeOfAccessViolated),
        (array(&[window(octets(b"noon"), daily(2, 0))]), DataAccessResult::TypeUnmatched),
        (array(&[daily(1, 0)]), DataAccessResult::TypeUnmatched),
        (u16(1), DataAccessResult::TypeUnmatched),
    ] {
        assert_eq!(set(&mut client, &mut meter, 4, &value), Err(expected), "{value:?}");
    }
    assert_eq!(set(&mut client, &mut meter, 6, &u16(256)), beyond);
    assert_eq!(set(&mut client, &mut meter, 2, &array(&[])), Err(DataAccessResult::ReadWriteDenied));
    let log = |meter: &TestMeter<'_>| *meter.security_log_range().end();
    let before = log(&meter);
    set(&mut client, &mut meter, 4, &array(&[whole])).unwrap();
    assert_eq!(log(&meter), before + 1);
    assert_eq!(meter.security_log_entry(before + 1).unwrap().unwrap().code, EventCode::ParametersChanged);
}

#[test]
fn the_utility_sets_when_a_silent_connection_is_given_up_and_the_rest_is_the_devices() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    assert_eq!(meter.inactivity_seconds(), 60);
    meter.set_connectivity(Connectivity { local_port: Some(4061), inactivity_seconds: 600 });
    let mut client = utility(&mut meter, 0);
    let mut tcp = |meter: &mut TestMeter<'_>, attribute, value: &[u8]| {
        client.set_attribute(meter, TCP_UDP, Obis::TCP_UDP_SETUP, attribute, value)
    };
    assert_eq!(meter.inactivity_seconds(), 600);
    tcp(&mut meter, 6, &u16(90)).unwrap();
    assert_eq!(meter.inactivity_seconds(), 90);
    for (attribute, value, refused) in [
        (6, u16(29), DataAccessResult::ScopeOfAccessViolated),
        (6, u32(3601), DataAccessResult::ScopeOfAccessViolated),
        (6, octets(b"60"), DataAccessResult::TypeUnmatched),
        (2, u16(4059), DataAccessResult::ReadWriteDenied),
        (5, u8(1), DataAccessResult::ReadWriteDenied),
    ] {
        assert_eq!(tcp(&mut meter, attribute, &value), Err(refused), "{attribute} {value:?}");
    }
    let shown = [2, 5, 6].map(|k| client.get(&mut meter, TCP_UDP, Obis::TCP_UDP_SETUP, k).number());
    assert_eq!(shown, [4061, 4, 90]);
    meter.connected();
    let mut reader = Client::new(Role::Reader, &reader_keys(), 0, 1024);
    reader.associate(&mut meter).unwrap();
    let denied = reader.set_attribute(&mut meter, TCP_UDP, Obis::TCP_UDP_SETUP, 6, &u16(120));
    assert_eq!(denied, Err(DataAccessResult::ReadWriteDenied));
    drop(meter);
    let mut meter = open(&mut flash, at(1_000));
    assert_eq!(meter.inactivity_seconds(), 90, "in flash");
    meter.set_connectivity(Connectivity::default());
    let mut client = utility(&mut meter, 1_000);
    client.set_attribute(&mut meter, TCP_UDP, Obis::TCP_UDP_SETUP, 6, &u16(0)).unwrap();
    assert_eq!(meter.inactivity_seconds(), 60, "the device's own again");
}
