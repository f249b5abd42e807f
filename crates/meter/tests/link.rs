//! The connection to the head-end in DLMS: how it fares, for those who see to it that it works.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use dlms_cosem_rs::xdlms::DataAccessResult;
use meterseal_meter::LinkStatus;
use meterseal_model::{Obis, Role, Roles};
use support::client::{Client, Value};
use support::{EVERYBODY, TestMeter, at, blank, keys_of, open};

fn client(meter: &mut TestMeter<'_>, role: Role) -> Client {
    meter.connect(EVERYBODY);
    let mut client = Client::new(role, &keys_of(role), 0, 1024);
    client.associate(meter).unwrap();
    client
}

#[test]
fn the_connections_state_is_shown_with_the_time_of_its_last_change() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut installer = client(&mut meter, Role::Installer);
    let never = installer.get(&mut meter, 1, Obis::LINK_CHANGED, 2);
    assert_eq!(installer.get(&mut meter, 1, Obis::LINK_SIGNAL, 2).number(), 127);

    // Cut where a character ends: a text longer than is shown.
    let reason = "é".repeat(100);
    let failed = LinkStatus {
        signal_dbm: Some(-84),
        failures: 3,
        last_reason: reason.as_str().into(),
        bytes_in: 1 << 40,
        bytes_out: 7,
        ..LinkStatus::default()
    };
    meter.tick(at(5_000)).unwrap();
    meter.set_link_status(failed.clone());
    let changed = installer.get(&mut meter, 1, Obis::LINK_CHANGED, 2);
    assert_ne!(changed, never);
    assert_eq!(changed, installer.get(&mut meter, 8, Obis::CLOCK, 2));
    for (obis, wanted) in [
        (Obis::LINK_SIGNAL, -84),
        (Obis::LINK_FAILURES, 3),
        (Obis::LINK_CONNECTIONS, 0),
        (Obis::LINK_BYTES_IN, 1 << 40),
        (Obis::LINK_BYTES_OUT, 7),
    ] {
        assert_eq!(installer.get(&mut meter, 1, obis, 2).number(), wanted, "{obis}");
    }
    let Value::Bytes(shown) = installer.get(&mut meter, 1, Obis::LINK_REASON, 2) else { panic!() };
    assert_eq!(String::from_utf8(shown).unwrap(), "é".repeat(64));

    // Bytes and the signal alone are no change.
    meter.tick(at(9_000)).unwrap();
    meter.set_link_status(LinkStatus { signal_dbm: None, bytes_in: 0, ..failed.clone() });
    assert_eq!(installer.get(&mut meter, 1, Obis::LINK_CHANGED, 2), changed);
    meter.set_link_status(LinkStatus { is_connected: true, connections: 1, ..failed });
    assert_ne!(installer.get(&mut meter, 1, Obis::LINK_CHANGED, 2), changed);
}

#[test]
fn nobody_sees_it_but_those_who_need_it() {
    for role in Roles::AUTHENTICATED.iter() {
        let mut flash = blank();
        let mut meter = open(&mut flash, at(0));
        let mut client = client(&mut meter, role);
        let outcome = client.try_get(&mut meter, 1, Obis::LINK_REASON, 2, None);
        match role {
            Role::Utility | Role::Installer | Role::Bench => drop(outcome.unwrap()),
            _ => assert_eq!(outcome.unwrap_err(), DataAccessResult::ReadWriteDenied, "{role}"),
        }
    }
}
