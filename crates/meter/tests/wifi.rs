//! The wireless network's name and passphrase: set by an installer at the local port and by nobody else, kept enciphered,
//! and the passphrase never read.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use dlms_cosem_rs::xdlms::DataAccessResult;
use meterseal_meter::{Config, Peer};
use meterseal_model::{EventCode, Obis, Role, Roles};
use support::axdr::octets;
use support::client::{Client, Value};
use support::flash::RamFlash;
use support::{EVERYBODY, TestMeter, at, blank, config, keys_of, open, try_open, try_open_as};

const SSID: &[u8] = b"upstairs\xFF\0";
const PASSPHRASE: &[u8] = b"a staple ~ and a horse";

fn client(meter: &mut TestMeter<'_>, role: Role, counter: u32) -> Client {
    meter.connect(EVERYBODY);
    let mut client = Client::new(role, &keys_of(role), counter, 1024);
    client.associate(meter).unwrap();
    client
}

fn set(
    client: &mut Client,
    meter: &mut TestMeter<'_>,
    obis: Obis,
    bytes: &[u8],
) -> Result<(), DataAccessResult> {
    client.set_attribute(meter, 1, obis, 2, &octets(bytes))
}

fn newest(meter: &TestMeter<'_>) -> (u64, EventCode) {
    let sequence = *meter.security_log_range().end();
    (sequence, meter.security_log_entry(sequence).unwrap().unwrap().code)
}

/// What the meter would have its radio join.
fn known(meter: &TestMeter<'_>) -> Option<(Vec<u8>, Option<String>)> {
    meter.wifi_network().map(|network| (network.ssid().to_vec(), network.passphrase().map(String::from)))
}

fn both() -> Option<(Vec<u8>, Option<String>)> {
    Some((SSID.to_vec(), Some(String::from_utf8(PASSPHRASE.to_vec()).unwrap())))
}

fn holds(flash: &RamFlash, secret: &[u8]) -> bool {
    flash.bytes.windows(secret.len()).any(|window| window == secret)
}

#[test]
fn an_installer_sets_the_network_it_is_logged_kept_and_never_in_the_clear() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut installer = client(&mut meter, Role::Installer, 0);
    assert_eq!(installer.get(&mut meter, 1, Obis::WIFI_SSID, 2), Value::Bytes(Vec::new()));
    assert_eq!(known(&meter), None);
    let (before, _) = newest(&meter);
    set(&mut installer, &mut meter, Obis::WIFI_SSID, SSID).unwrap();
    assert_eq!(known(&meter), Some((SSID.to_vec(), None)));
    set(&mut installer, &mut meter, Obis::WIFI_PASSPHRASE, PASSPHRASE).unwrap();
    assert_eq!(newest(&meter), (before + 2, EventCode::ParametersChanged));
    assert_eq!(known(&meter), both());
    assert_eq!(installer.get(&mut meter, 1, Obis::WIFI_SSID, 2), Value::Bytes(SSID.to_vec()));
    let debug = format!("{:?}", meter.wifi_network());
    assert!(!debug.contains("staple") && !debug.contains("upstairs"), "{debug}");
    // The same name again is no change and keeps the passphrase.
    set(&mut installer, &mut meter, Obis::WIFI_SSID, SSID).unwrap();
    assert_eq!((newest(&meter).0, known(&meter)), (before + 2, both()));

    drop(meter);
    assert!(!holds(&flash, PASSPHRASE) && !holds(&flash, &SSID[..8]));
    let mut meter = open(&mut flash, at(1_000));
    assert_eq!(known(&meter), both(), "over a restart");
    let mut installer = client(&mut meter, Role::Installer, 1_000);
    set(&mut installer, &mut meter, Obis::WIFI_SSID, b"x").unwrap();
    assert_eq!(known(&meter), Some((b"x".to_vec(), None)), "the passphrase was the other network's");
    drop(meter);
    assert_eq!(known(&open(&mut flash, at(2_000))), Some((b"x".to_vec(), None)));
}

#[test]
fn nobody_reads_the_passphrase_and_nobody_but_the_installer_sets_anything() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut installer = client(&mut meter, Role::Installer, 0);
    set(&mut installer, &mut meter, Obis::WIFI_SSID, SSID).unwrap();
    set(&mut installer, &mut meter, Obis::WIFI_PASSPHRASE, PASSPHRASE).unwrap();
    let denied = DataAccessResult::ReadWriteDenied;
    for role in Roles::AUTHENTICATED.iter() {
        // Who tries what is not theirs is answered later.
        meter.pass(120_000);
        let mut client = client(&mut meter, role, 10_000);
        let read = client.try_get(&mut meter, 1, Obis::WIFI_PASSPHRASE, 2, None);
        assert_eq!(read.unwrap_err(), denied, "{role}");
        if role != Role::Installer {
            meter.pass(120_000);
            assert_eq!(
                client.try_get(&mut meter, 1, Obis::WIFI_SSID, 2, None).unwrap_err(),
                denied,
                "{role}"
            );
            for obis in [Obis::WIFI_SSID, Obis::WIFI_PASSPHRASE] {
                meter.pass(120_000);
                assert_eq!(
                    set(&mut client, &mut meter, obis, b"twelve bytes").unwrap_err(),
                    denied,
                    "{role}"
                );
            }
        }
    }
    assert_eq!(known(&meter), both());
}

#[test]
fn over_the_connection_that_the_meter_dials_there_is_no_installer_to_set_anything() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    meter.connect(Peer { local: false, ..EVERYBODY });
    let mut installer = Client::new(Role::Installer, &keys_of(Role::Installer), 0, 1024);
    installer.associate(&mut meter).unwrap_err();
    assert_eq!(newest(&meter).1, EventCode::UnauthorisedAct);
    assert_eq!(known(&meter), None);
}

#[test]
fn names_and_passphrases_beyond_their_bounds_change_nothing() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut installer = client(&mut meter, Role::Installer, 0);
    let refused = Err(DataAccessResult::ScopeOfAccessViolated);
    let before = newest(&meter);
    for ssid in [&b""[..], &[b'x'; 33]] {
        assert_eq!(set(&mut installer, &mut meter, Obis::WIFI_SSID, ssid), refused);
    }
    let orphan = set(&mut installer, &mut meter, Obis::WIFI_PASSPHRASE, PASSPHRASE);
    assert_eq!(orphan, refused, "a passphrase of no network");
    let number = installer.set_attribute(&mut meter, 1, Obis::WIFI_SSID, 2, &[17, 5]);
    assert_eq!(number, Err(DataAccessResult::TypeUnmatched));
    assert_eq!((newest(&meter), known(&meter)), (before, None));

    let longest = [b'y'; 32];
    set(&mut installer, &mut meter, Obis::WIFI_SSID, &longest).unwrap();
    let before = newest(&meter);
    for passphrase in
        [&b""[..], b"seven b", &[b'x'; 64], b"a line\nbreak", "pässword".as_bytes(), b"deletes\x7F"]
    {
        let outcome = set(&mut installer, &mut meter, Obis::WIFI_PASSPHRASE, passphrase);
        assert_eq!(outcome, refused, "{passphrase:?}");
    }
    assert_eq!((newest(&meter), known(&meter)), (before, Some((longest.to_vec(), None))));
    for passphrase in [&[b' '; 8][..], &[b'~'; 63]] {
        set(&mut installer, &mut meter, Obis::WIFI_PASSPHRASE, passphrase).unwrap();
    }
    assert_eq!(known(&meter).unwrap().1.unwrap(), "~".repeat(63));
}

#[test]
fn without_a_device_secret_none_is_taken_and_one_that_is_kept_opens_under_its_own_secret_alone() {
    let without = || Config { device_secret: None, ..config() };
    let mut flash = blank();
    let mut meter = try_open_as(without(), &mut flash, at(0)).unwrap();
    let mut installer = client(&mut meter, Role::Installer, 0);
    let before = newest(&meter);
    let outcome = set(&mut installer, &mut meter, Obis::WIFI_SSID, SSID);
    assert_eq!(outcome, Err(DataAccessResult::ObjectUnavailable));
    assert_eq!((newest(&meter), known(&meter)), (before, None));
    drop(meter);

    let mut meter = open(&mut flash, at(1_000));
    let mut installer = client(&mut meter, Role::Installer, 1_000);
    set(&mut installer, &mut meter, Obis::WIFI_SSID, SSID).unwrap();
    drop(meter);
    // It measures all the same.
    assert_eq!(known(&try_open_as(without(), &mut flash, at(2_000)).unwrap()), None);
    assert_eq!(known(&open(&mut flash, at(3_000))), Some((SSID.to_vec(), None)));
}

#[test]
fn a_power_cut_at_any_step_leaves_the_old_network_or_the_new_one() {
    let mut cuts = 0;
    let mut found = [0, 0];
    loop {
        let mut flash = blank().seed(cuts);
        let mut meter = open(&mut flash, at(0));
        let mut installer = client(&mut meter, Role::Installer, 0);
        set(&mut installer, &mut meter, Obis::WIFI_SSID, SSID).unwrap();
        drop(meter);
        flash.cut_at = Some(flash.steps + cuts);
        let done = try_open(&mut flash, at(1_000)).is_ok_and(|mut meter| {
            meter.connect(EVERYBODY);
            let mut installer = Client::new(Role::Installer, &keys_of(Role::Installer), 1_000, 1024);
            installer.associate(&mut meter).is_ok()
                && set(&mut installer, &mut meter, Obis::WIFI_PASSPHRASE, PASSPHRASE).is_ok()
        });
        let was_cut = flash.is_cut();
        flash.restore();
        let meter = open(&mut flash, at(2_000));
        let is_new = known(&meter) == both();
        assert!(
            is_new || !done && known(&meter) == Some((SSID.to_vec(), None)),
            "cut {cuts}: {:?}",
            known(&meter)
        );
        found[usize::from(is_new)] += 1;
        if !was_cut {
            assert!(done);
            break;
        }
        cuts += 1;
    }
    assert!(found[0] > 5 && found[1] > 0, "{found:?}");
}
