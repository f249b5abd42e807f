//! Who may take which role, where, and what becomes of those who try what they may not.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::xdlms::{ActionResult, MethodDescriptor};
use meterseal_meter::{Peer, ProtocolError};
use meterseal_model::{EventCode, Obis, Role, Roles, objects};
use support::client::{Client, dlms, frame};
use support::{EVERYBODY, TestMeter, at, blank, keys_of, open, reader_keys, utility_keys};

fn client_of(role: Role) -> Client {
    Client::new(role, &keys_of(role), 0, 1024)
}

fn newest_event(meter: &TestMeter<'_>) -> EventCode {
    let newest = *meter.security_log_range().end();
    meter.security_log_entry(newest).unwrap().unwrap().code
}

#[test]
fn each_role_associates_with_its_own_keys_and_with_no_others() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    for role in Roles::AUTHENTICATED.iter() {
        for other in Roles::AUTHENTICATED.iter().filter(|&other| other != role) {
            meter.connected();
            let mut client = Client::new(role, &keys_of(other), 0, 1024);
            assert!(client.associate(&mut meter).is_err(), "{role} with the keys of {other}");
        }
        meter.connected();
        client_of(role).associate(&mut meter).unwrap_or_else(|error| panic!("{role}: {error}"));
    }
}

#[test]
fn a_peer_takes_the_roles_of_its_certificate_only_and_an_installer_the_local_port_only() {
    for local in [false, true] {
        for granted in Role::ALL {
            for wanted in Role::ALL {
                let mut flash = blank();
                let mut meter = open(&mut flash, at(0));
                let before = *meter.security_log_range().end();
                meter.connect(Peer { roles: granted.into(), local });
                let outcome = client_of(wanted).associate(&mut meter);
                let allowed =
                    wanted == Role::Public || wanted == granted && (local || wanted != Role::Installer);
                assert_eq!(
                    outcome.is_ok(),
                    allowed,
                    "{wanted} with a certificate for {granted}, local {local}"
                );
                if !allowed {
                    assert_eq!(*meter.security_log_range().end(), before + 1, "logged, once");
                    assert_eq!(newest_event(&meter), EventCode::UnauthorisedAct);
                }
            }
        }
    }
}

#[test]
fn every_role_invokes_exactly_the_methods_that_the_table_allows() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    for role in Role::ALL {
        meter.connected();
        let mut client = client_of(role);
        client.associate(&mut meter).unwrap();
        for object in objects::OBJECTS {
            meter.pass(61_000);
            // One more than there is: what is not in the table does not exist.
            let beyond = object.methods.iter().map(|method| method.index).max().unwrap_or(0) + 1;
            for index in object.methods.iter().map(|method| method.index).chain([beyond]) {
                if object.may_invoke(role, index) {
                    continue;
                }
                let descriptor = MethodDescriptor::new(object.class.id(), dlms(object.obis), index);
                let answer = client.act(&mut meter, descriptor, Some(Data::Integer(0)));
                let denied = ActionResult::ReadWriteDenied;
                assert_eq!(answer.unwrap_err(), denied, "{role} {} method {index}", object.obis);
            }
        }
    }
}

#[test]
fn failed_logins_are_answered_later_each_time_and_nobody_else_is() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut waits = Vec::new();
    for _ in 0..6 {
        meter.connected();
        let mut guesser = Client::new(Role::Reader, &utility_keys(), 0, 1024);
        guesser.associate(&mut meter).unwrap_err();
        waits.push(guesser.waited_ms);
    }
    assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 8_000]);
    // Not by a new connection either; but another role at the same port at once.
    meter.connected();
    let mut guesser = Client::new(Role::Reader, &utility_keys(), 0, 1024);
    guesser.associate(&mut meter).unwrap_err();
    assert_eq!(guesser.waited_ms, 16_000);
    meter.connected();
    let mut bench = client_of(Role::Bench);
    bench.associate(&mut meter).unwrap();
    assert_eq!(bench.waited_ms, 0);
    // And the same role over the other way in.
    meter.connect(Peer { roles: Roles::ALL, local: false });
    let mut reader = client_of(Role::Reader);
    reader.associate(&mut meter).unwrap();
    assert_eq!(reader.waited_ms, 0);
}

#[test]
fn a_message_sent_while_slowed_down_is_not_looked_at_before_its_time() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    meter.connected();
    let aarq = {
        let mut request = [0; 512];
        let mut guesser = Client::new(Role::Reader, &utility_keys(), 0, 1024);
        let len = guesser.session.associate_request(&mut request).unwrap();
        frame(Role::Reader, &request[..len])
    };
    meter.receive(&aarq).unwrap();
    // Four more fit; none is judged before the first is answered: one guess at a time.
    for _ in 0..4 {
        meter.receive(&aarq).unwrap();
    }
    assert_eq!(meter.receive(&aarq), Err(ProtocolError::Backlog));
    assert_eq!(meter.transmit(), None);
    meter.pass(250);
    assert!(meter.transmit().is_some());
    assert_eq!(meter.transmit(), None);
    meter.pass(499);
    assert_eq!(meter.transmit(), None);
    meter.pass(1);
    assert!(meter.transmit().is_some());
}

#[test]
fn acts_beyond_a_roles_rights_are_logged_once_and_slow_down_only_when_they_go_on() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    meter.connected();
    let mut client = client_of(Role::Reader);
    client.associate(&mut meter).unwrap();
    let before = *meter.security_log_range().end();
    for attempt in 1..=20 {
        client.set(&mut meter, 8, Obis::CLOCK, Data::Null).unwrap_err();
        assert_eq!(client.waited_ms > 0, attempt > 16, "attempt {attempt}");
    }
    assert_eq!(*meter.security_log_range().end(), before + 1);
    assert_eq!(newest_event(&meter), EventCode::UnauthorisedAct);
}

#[test]
fn connections_are_served_apart_and_no_more_than_four() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let meter = &mut meter.meter;
    let links = [0; 4].map(|_| meter.connected(EVERYBODY).unwrap());
    assert_eq!(meter.connected(EVERYBODY), Err(ProtocolError::TooManyConnections { limit: 4 }));
    let get = |obis: Obis| {
        let mut apdu = vec![0xC0, 1, 0xC1, 0, 1];
        apdu.extend_from_slice(&obis.0);
        apdu.extend_from_slice(&[2, 0]);
        frame(Role::Public, &apdu)
    };
    let mut aarq = [0; 256];
    let len =
        Client::new(Role::Public, &utility_keys(), 0, 1024).session.associate_request(&mut aarq).unwrap();
    for &link in &links[..2] {
        meter.receive(link, &frame(Role::Public, &aarq[..len])).unwrap();
        assert_eq!(meter.transmit(link).unwrap().unwrap()[8], 0x61);
    }
    // Pieces of two requests, by turns.
    let (first, second) = (get(Obis::METER_ID), get(Obis::invocation_counter(Role::Bench)));
    for k in 0..first.len() {
        meter.receive(links[0], &first[k..=k]).unwrap();
        meter.receive(links[1], &second[k..=k]).unwrap();
    }
    let answers = [0, 1].map(|k| meter.transmit(links[k]).unwrap().unwrap());
    assert!(answers[0].ends_with(b"MSL0000000042"), "{:?}", answers[0]);
    assert!(answers[1].ends_with(&[6, 0, 0, 0, 0]), "{:?}", answers[1]);
    // No association there, though one has the public elsewhere.
    meter.receive(links[2], &first).unwrap();
    assert_eq!(meter.transmit(links[2]).unwrap().unwrap()[8..], [0xD8, 1, 1]);
    // What comes after a connection's end finds nobody, not even a new connection in its place.
    meter.disconnected(links[0]);
    let again = meter.connected(EVERYBODY).unwrap();
    assert_ne!(again, links[0]);
    assert_eq!(meter.receive(links[0], &first), Err(ProtocolError::NotConnected));
}

#[test]
fn a_roles_key_is_used_on_one_connection_at_a_time() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    meter.connected();
    let mut first = Client::new(Role::Reader, &reader_keys(), 0, 1024);
    first.associate(&mut meter).unwrap();
    let first_link = meter.link.take();
    // A second is refused while the first is up, and disturbs nothing.
    meter.connected();
    Client::new(Role::Reader, &reader_keys(), 1_000, 1024).associate(&mut meter).unwrap_err();
    let second_link = std::mem::replace(&mut meter.link, first_link);
    first.get(&mut meter, 8, Obis::CLOCK, 2);
    meter.disconnected();
    meter.link = second_link;
    Client::new(Role::Reader, &reader_keys(), 2_000, 1024).associate(&mut meter).unwrap();
}

#[test]
fn an_association_that_only_began_gives_way_and_no_counter_is_used_twice() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut counters = Vec::new();
    let mut links = Vec::new();
    for k in 0..3u32 {
        let link = meter.meter.connected(EVERYBODY).unwrap();
        let mut request = [0; 512];
        let mut client = Client::new(Role::Reader, &reader_keys(), 10 * k, 1024);
        let len = client.session.associate_request(&mut request).unwrap();
        meter.meter.receive(link, &frame(Role::Reader, &request[..len])).unwrap();
        let aare = meter.meter.transmit(link).unwrap().unwrap();
        counters.push(support::client::counter(&aare).unwrap());
        client.session.handle_associate_response(&aare[8..]).unwrap();
        links.push((link, client));
    }
    assert!(counters.is_sorted_by(|a, b| a < b), "{counters:?}");
    // Only the last may still prove itself.
    for (k, (link, mut client)) in links.into_iter().enumerate() {
        let mut request = [0; 512];
        let len = client.session.hls_reply_request(&mut request).unwrap();
        meter.meter.receive(link, &frame(Role::Reader, &request[..len])).unwrap();
        let answer = meter.meter.transmit(link).unwrap().unwrap();
        assert_eq!(answer[8..] == [0xD8, 1, 1], k < 2, "{k}: {answer:?}");
    }
}

#[test]
fn counters_are_readable_by_the_public_and_settable_by_nobody() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    for (k, role) in Roles::AUTHENTICATED.iter().enumerate() {
        meter.connected();
        let mut client = Client::new(role, &keys_of(role), 1_000 * (k as u32 + 1), 1024);
        client.associate(&mut meter).unwrap();
        let obis = Obis::invocation_counter(role);
        for lowered in [0, u32::MAX] {
            client.set(&mut meter, 1, obis, Data::DoubleLongUnsigned(lowered)).unwrap_err();
        }
        let used = client.session.invocation_counter();
        meter.connected();
        let mut public = client_of(Role::Public);
        public.associate(&mut meter).unwrap();
        assert_eq!(public.get(&mut meter, 1, obis, 2).number(), used.into(), "{role}");
        // A client that starts below is told which counter is expected, and comes in with that.
        meter.connected();
        Client::new(role, &keys_of(role), 5, 1024).associate(&mut meter).unwrap_err();
        meter.pass(61_000);
        Client::new(role, &keys_of(role), used, 1024).associate(&mut meter).unwrap();
    }
}
