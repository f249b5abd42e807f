//! What the meter refuses: replays, wrong keys, missing associations, what is no message at all.

mod support;

use dlms_cosem_rs::axdr::Data;
use meterseal_meter::{Config, ProtocolError, RoleKeys};
use meterseal_model::{EventCode, Obis, Role};
use support::client::{Client, frame};
use support::{OPEN, at, blank, open, reader_keys, run, utility_keys};

#[test]
fn a_replayed_message_is_refused_and_logged() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    run(&mut meter, 0, 300, 0.0, &OPEN);
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    client.set(&mut meter, 1, Obis::COMMITTED_SECURITY_LOG, Data::Long64Unsigned(1)).unwrap();
    let recorded = client.sent.last().unwrap()[8..].to_vec();
    let answer = client.exchange(&mut meter, &recorded).unwrap();
    // Plain: exception, service not allowed, invocation counter error, and the counter expected.
    assert_eq!(answer[..4], [0xD8, 1, 6, 0]);
    assert_eq!(answer.len(), 7);
    let newest = *meter.security_log_range().end();
    assert_eq!(meter.security_log_entry(newest).unwrap().unwrap().code, EventCode::ReplayedMessage);
    // Not even after a restart, into a new association.
    let counter = client.session.invocation_counter();
    drop(meter);
    let mut meter = open(&mut flash, at(1_000));
    meter.connected();
    let old_aarq = client.sent[0][8..].to_vec();
    let answer = client.exchange(&mut meter, &old_aarq).unwrap();
    assert_eq!(answer[..3], [0xD8, 1, 6]);
    let mut client = Client::new(Role::Utility, &utility_keys(), counter, 1024);
    client.associate(&mut meter).unwrap();
    let answer = client.exchange(&mut meter, &recorded).unwrap();
    assert_eq!(answer[..3], [0xD8, 1, 6]);
    assert_eq!(meter.committed_security_log(), 1);
}

#[test]
fn what_one_client_sent_is_of_no_use_after_another_has_been_there() {
    const TITLES: [[u8; 8]; 2] = [*b"MSH\0\0\0\0\x01", *b"MSH\0\0\0\0\x02"];
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    run(&mut meter, 0, 300, 0.0, &OPEN);
    let (mut recorded, mut counters) = (Vec::new(), Vec::new());
    for title in TITLES {
        meter.connected();
        let mut client = Client::of_title(title, 0);
        client.associate(&mut meter).unwrap();
        client.set(&mut meter, 1, Obis::COMMITTED_SECURITY_LOG, Data::Long64Unsigned(1)).unwrap();
        recorded.push(client.sent.clone());
        counters.push(client.session.invocation_counter());
        meter.disconnected();
    }
    // Whoever has both recordings and a way to the meter, but no key, plays them by turns.
    for (place, sent) in recorded.iter().enumerate().chain(recorded.iter().enumerate()) {
        meter.connected();
        let mut player = Client::utility();
        let answer = player.exchange(&mut meter, &sent[0][8..]).unwrap();
        match place {
            // The meter has forgotten up to where this client counted, so it asks for a proof over a new challenge.
            0 => assert_eq!(answer[0], 0x61, "{answer:02x?}"),
            // Of the last that proved itself it knows, whoever has called meanwhile.
            _ => assert_eq!(answer[..3], [0xD8, 1, 6]),
        }
        for frame in &sent[1..] {
            // The recorded proof is none, and nothing is served without.
            let refused = player.exchange(&mut meter, &frame[8..]);
            assert!(refused.is_err() || refused.is_ok_and(|answer| answer[0] != 0xCD), "a SET was answered");
        }
        meter.disconnected();
        meter.pass(300_000);
    }
    assert_eq!(meter.committed_security_log(), 1);
    // Once the first is back, everything that it had sent counts as used, in its own association too.
    meter.connected();
    let mut client = Client::of_title(TITLES[0], counters[0]);
    client.associate(&mut meter).unwrap();
    for frame in &recorded[0][2..] {
        assert_eq!(client.exchange(&mut meter, &frame[8..]).unwrap()[..3], [0xD8, 1, 6]);
    }
    // The other's messages cannot even be read there.
    let read = client.exchange(&mut meter, &recorded[1][2][8..]).unwrap();
    assert_eq!(read[0], 0xD8);
}

#[test]
fn a_wrong_key_is_refused_and_the_third_time_logged() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    for attempt in 1..=3u64 {
        meter.connected();
        let mut client = Client::new(Role::Utility, &reader_keys(), 0, 1024);
        client.associate(&mut meter).unwrap_err();
        assert_eq!(*meter.security_log_range().end(), 1 + attempt / 3);
        meter.disconnected();
    }
    let entry = meter.security_log_entry(2).unwrap().unwrap();
    assert_eq!((entry.code, entry.extreme), (EventCode::FailedLogins, 3));
    // It has spoilt nothing for whom the keys belong to.
    meter.connected();
    Client::utility().associate(&mut meter).unwrap();
}

#[test]
fn who_has_no_association_is_refused() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    assert_eq!(meter.receive(&[0]), Err(ProtocolError::NotConnected));
    meter.connected();
    // A plain GET from each address, and an unknown address.
    let get = [0xC0, 1, 0xC1, 0, 1, 0, 0, 96, 1, 0, 255, 2, 0];
    for role in Role::ALL {
        meter.receive(&frame(role, &get)).unwrap();
        assert_eq!(meter.transmit().unwrap()[8..], [0xD8, 1, 1]);
    }
    let mut unknown = frame(Role::Utility, &get);
    unknown[3] = 0x77;
    meter.receive(&unknown).unwrap();
    assert_eq!(meter.transmit().unwrap()[2..], [0, 1, 0, 0x77, 0, 3, 0xD8, 1, 1]);
    // An utility without ciphering.
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    meter.receive(&frame(Role::Utility, &get)).unwrap();
    let answer = meter.transmit().unwrap();
    assert_eq!(answer[8], 0xDB, "the refusal is protected");
}

#[test]
fn without_keys_there_is_no_reader() {
    let mut flash = blank();
    let config = Config { role_keys: RoleKeys::NONE, ..support::config() };
    let mut meter = support::try_open_as(config, &mut flash, at(0)).unwrap();
    meter.connected();
    let error = Client::new(Role::Reader, &reader_keys(), 0, 1024).associate(&mut meter).unwrap_err();
    assert!(error.contains("ServiceNotAllowed"), "{error}");
}

#[test]
fn what_is_no_wrapper_frame_ends_the_connection() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    meter.connected();
    let error = meter.receive(b"GET / HTTP/1.1\r\n");
    assert_eq!(error, Err(ProtocolError::WrapperVersion { found: 0x4745 }));
    meter.disconnected();
    meter.connected();
    let error = meter.receive(&[0, 1, 0, 0x30, 0, 1, 0xFF, 0xFF]);
    assert_eq!(error, Err(ProtocolError::TooLong { announced: 65_535, limit: 4096 }));
    meter.disconnected();
    meter.connected();
    let get = frame(Role::Utility, &[0xC0]);
    let flood: Vec<u8> = std::iter::repeat_n(get, 100).flatten().collect();
    assert_eq!(meter.receive(&flood), Err(ProtocolError::Backlog));
}
