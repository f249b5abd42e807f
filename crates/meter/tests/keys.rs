//! Keys that the utility transfers: in force at once, whole or not at all, kept enciphered, and the old ones open nothing.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use aes_kw::KekAes256;
use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::{Decode, Encode};
use dlms_cosem_rs::xdlms::{ActionResult, AttributeDescriptor, MethodDescriptor};
use meterseal_meter::{Config, DlmsKeys, Layout, OpenError, SecretKey};
use meterseal_model::{EventCode, Obis, Role, Roles};
use support::client::{Client, counter, dlms};
use support::flash::RamFlash;
use support::{
    EVERYBODY, KEK, TestMeter, at, blank, config, keys_of, open, try_open, try_open_as, utility_keys,
};

const UNICAST: u8 = 0;
const AUTHENTICATION: u8 = 2;
const MASTER: u8 = 3;

fn wrapped(kek: [u8; 32], key: [u8; 32]) -> Vec<u8> {
    let mut out = vec![0; 40];
    KekAes256::from(kek).wrap(&key, &mut out).unwrap();
    out
}

/// Invokes key_transfer: an array of structures of key number and wrapped key.
fn transfer(
    client: &mut Client,
    meter: &mut TestMeter<'_>,
    role: Role,
    keys: &[(u8, Vec<u8>)],
) -> Result<(), ActionResult> {
    let mut bytes = vec![1, keys.len() as u8];
    for (id, wrapped) in keys {
        bytes.extend([2, 2]);
        Data::Enum(*id).encode(&mut bytes).unwrap();
        Data::OctetString(wrapped).encode(&mut bytes).unwrap();
    }
    let method = MethodDescriptor::new(64, dlms(Obis::security_setup(role)), 2);
    client.act(meter, method, Some(Data::from_bytes(&bytes).unwrap())).map(drop)
}

fn fresh(byte: u8) -> DlmsKeys {
    DlmsKeys { encryption: [byte; 32], authentication: [byte ^ 0xFF; 32] }
}

fn both(keys: &DlmsKeys) -> [(u8, Vec<u8>); 2] {
    [(UNICAST, wrapped(KEK, keys.encryption)), (AUTHENTICATION, wrapped(KEK, keys.authentication))]
}

fn utility(meter: &mut TestMeter<'_>, keys: &DlmsKeys, counter: u32) -> Result<Client, String> {
    meter.connected();
    let mut client = Client::new(Role::Utility, keys, counter, 1024);
    client.associate(meter).map(|()| client)
}

fn can_associate(meter: &mut TestMeter<'_>, role: Role, keys: &DlmsKeys, counter: u32) -> bool {
    meter.pass(61_000);
    meter.connected();
    Client::new(role, keys, counter, 1024).associate(meter).is_ok()
}

fn holds(flash: &RamFlash, secret: &[u8]) -> bool {
    flash.bytes.windows(secret.len()).any(|window| window == secret)
}

#[test]
fn a_transferred_key_is_in_force_at_once_and_after_a_restart_and_the_old_one_never_again() {
    for role in Roles::AUTHENTICATED.iter() {
        let mut flash = blank();
        let mut meter = open(&mut flash, at(0));
        let new = fresh(0xA5);
        assert!(can_associate(&mut meter, role, &keys_of(role), 5_000));
        let mut client = utility(&mut meter, &utility_keys(), 10_000).unwrap();
        transfer(&mut client, &mut meter, role, &both(&new)).unwrap();
        let newest = *meter.security_log_range().end();
        let entry = meter.security_log_entry(newest).unwrap().unwrap();
        assert_eq!((entry.code, entry.extreme), (EventCode::KeysChanged, role.client_address().into()));
        for restart in [false, true] {
            if restart {
                drop(meter);
                meter = open(&mut flash, at(1_000_000));
            }
            assert!(
                !can_associate(&mut meter, role, &keys_of(role), 900_000),
                "{role}: the old key still opens"
            );
            // Counters began anew with the key: a client that begins at 0 is welcome, once.
            assert_eq!(can_associate(&mut meter, role, &new, 0), !restart, "{role}");
            assert!(can_associate(&mut meter, role, &new, 100 + u32::from(restart) * 100), "{role}");
        }
        for other in Roles::AUTHENTICATED.iter().filter(|&other| other != role) {
            assert!(can_associate(&mut meter, other, &keys_of(other), 20_000), "{other} is as before");
        }
    }
}

#[test]
fn an_association_under_a_replaced_key_ends_with_the_answer() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    // A reader is connected meanwhile.
    meter.connect(EVERYBODY);
    let mut reader = Client::new(Role::Reader, &keys_of(Role::Reader), 0, 1024);
    reader.associate(&mut meter).unwrap();
    let readers_link = meter.link.take();
    let mut client = utility(&mut meter, &utility_keys(), 0).unwrap();
    transfer(&mut client, &mut meter, Role::Reader, &both(&fresh(1))).unwrap();
    transfer(&mut client, &mut meter, Role::Utility, &both(&fresh(2))).unwrap();
    let mut get = [0; 128];
    let descriptor = AttributeDescriptor::new(8, dlms(Obis::CLOCK), 2);
    for (mut client, link) in [(client, meter.link), (reader, readers_link)] {
        meter.link = link;
        let len = client.session.get_request(descriptor, None, &mut get).unwrap();
        let answer = client.exchange(&mut meter, &get[..len]).unwrap();
        assert_eq!(answer, [0xD8, 1, 1], "{:?}", client.role);
    }
}

#[test]
fn another_authentication_key_alone_leaves_the_counters_of_the_cipher_alone() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut client = utility(&mut meter, &utility_keys(), 500).unwrap();
    transfer(&mut client, &mut meter, Role::Utility, &[(AUTHENTICATION, wrapped(KEK, [9; 32]))]).unwrap();
    let before = client.frames.iter().filter_map(|frame| counter(frame)).max().unwrap();
    let keys = DlmsKeys { authentication: [9; 32], ..utility_keys() };
    assert!(!can_associate(&mut meter, Role::Utility, &utility_keys(), 600));
    assert!(!can_associate(&mut meter, Role::Utility, &keys, 100), "its counters go on");
    meter.pass(61_000);
    let client = utility(&mut meter, &keys, 700).unwrap();
    let after = client.frames.iter().filter_map(|frame| counter(frame)).min().unwrap();
    assert!(after > before, "{after} after {before}: a nonce would be used twice");
}

#[test]
fn what_is_not_wrapped_under_the_right_key_changes_nothing() {
    use ActionResult::{ObjectUnavailable, ReadWriteDenied, ScopeOfAccessViolated};
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut client = utility(&mut meter, &utility_keys(), 0).unwrap();
    let good = wrapped(KEK, [7; 32]);
    let mut bent = good.clone();
    bent[20] ^= 1;
    let refused = [
        (vec![(UNICAST, wrapped([1; 32], [7; 32]))], ReadWriteDenied, "another key"),
        (vec![(UNICAST, bent)], ReadWriteDenied, "one bit"),
        (vec![(UNICAST, good[..39].to_vec())], ReadWriteDenied, "a byte short"),
        (vec![(UNICAST, vec![])], ReadWriteDenied, "nothing"),
        (vec![], ScopeOfAccessViolated, "no keys"),
        (vec![(UNICAST, good.clone()), (UNICAST, good.clone())], ScopeOfAccessViolated, "twice the same"),
        (vec![(UNICAST, good.clone()), (MASTER, good.clone())], ScopeOfAccessViolated, "a master key beside"),
        (vec![(1, good)], ObjectUnavailable, "a broadcast key"),
        (
            vec![(UNICAST, wrapped(KEK, [0x33; 32]))],
            ScopeOfAccessViolated,
            "the reader's, again or elsewhere",
        ),
        (vec![(UNICAST, wrapped(KEK, [0x60; 32]))], ScopeOfAccessViolated, "the bench's"),
    ];
    for (keys, expected, why) in refused {
        for role in [Role::Utility, Role::Reader] {
            meter.pass(61_000);
            assert_eq!(transfer(&mut client, &mut meter, role, &keys), Err(expected), "{why}");
        }
    }
    assert!(can_associate(&mut meter, Role::Reader, &keys_of(Role::Reader), 0));
    assert!(can_associate(&mut meter, Role::Utility, &utility_keys(), 10_000));
}

#[test]
fn the_key_for_transfers_can_be_transferred_itself() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut client = utility(&mut meter, &utility_keys(), 0).unwrap();
    transfer(&mut client, &mut meter, Role::Utility, &[(MASTER, wrapped(KEK, [0x44; 32]))]).unwrap();
    drop(meter);
    let mut meter = open(&mut flash, at(1_000));
    let mut client = utility(&mut meter, &utility_keys(), 100).unwrap();
    let new = fresh(3);
    let under_the_old = transfer(&mut client, &mut meter, Role::Reader, &both(&new));
    assert_eq!(under_the_old, Err(ActionResult::ReadWriteDenied));
    let under_the_new = [
        (UNICAST, wrapped([0x44; 32], new.encryption)),
        (AUTHENTICATION, wrapped([0x44; 32], new.authentication)),
    ];
    transfer(&mut client, &mut meter, Role::Reader, &under_the_new).unwrap();
    assert!(can_associate(&mut meter, Role::Reader, &new, 0));
}

#[test]
fn keys_lie_in_flash_enciphered_and_open_under_the_device_secret_alone() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut client = utility(&mut meter, &utility_keys(), 0).unwrap();
    let new = fresh(0x5C);
    transfer(&mut client, &mut meter, Role::Reader, &both(&new)).unwrap();
    drop(meter);
    let utility = utility_keys();
    for secret in [&new.encryption, &new.authentication, &KEK, &[0xDE; 32], &utility.encryption] {
        assert!(!holds(&flash, secret));
    }
    for secret in [None, Some(SecretKey::new([0xDF; 32]))] {
        let config = Config { device_secret: secret, ..config() };
        assert!(matches!(try_open_as(config, &mut flash, at(1_000)), Err(OpenError::SecretsSealed)));
    }
    // Spoilt, it is noticed, and not taken for a flash in which the old key still holds.
    let mut spoilt = flash.clone();
    // The last region of format 2.
    let end = Layout::TINY.former_size(2);
    let secrets = end - 2 * 4096..end;
    spoilt.bytes[secrets.clone()].iter_mut().filter(|byte| **byte != 0xFF).for_each(|byte| *byte &= 0xFE);
    assert!(try_open(&mut spoilt, at(1_000)).is_err());
    let mut erased = flash.clone();
    erased.bytes[secrets].fill(0xFF);
    assert!(matches!(try_open(&mut erased, at(1_000)), Err(OpenError::KeyLost { role: Role::Reader })));
    assert!(can_associate(&mut open(&mut flash, at(1_000)), Role::Reader, &new, 0));
}

#[test]
fn without_a_device_secret_or_a_key_for_transfers_none_are_taken() {
    for config in
        [Config { device_secret: None, ..config() }, Config { key_encryption_key: None, ..config() }]
    {
        let mut flash = blank();
        let mut meter = try_open_as(config, &mut flash, at(0)).unwrap();
        let mut client = utility(&mut meter, &utility_keys(), 0).unwrap();
        let outcome = transfer(&mut client, &mut meter, Role::Reader, &both(&fresh(1)));
        assert_eq!(outcome, Err(ActionResult::ObjectUnavailable));
        assert!(can_associate(&mut meter, Role::Reader, &keys_of(Role::Reader), 0));
    }
}

#[test]
fn no_two_roles_may_be_configured_with_one_key() {
    let mut flash = blank();
    let shared = config().role_keys.with(Role::Bench, keys_of(Role::Firmware));
    let config = Config { role_keys: shared, ..config() };
    assert!(matches!(try_open_as(config, &mut flash, at(0)), Err(OpenError::SharedKey { .. })));
}

/// One life: keys for three roles, one after another, under whatever utility keys are in force.
fn life(flash: &mut RamFlash, keys: &[DlmsKeys; 2], seen: &mut Vec<(u8, u32)>) -> Result<(), ()> {
    let mut meter = try_open(flash, at(0)).map_err(drop)?;
    let mut talk = |meter: &mut TestMeter<'_>, own: &DlmsKeys, from: u32, role, new: &DlmsKeys| {
        meter.connected();
        let mut client = Client::new(Role::Utility, own, from, 1024);
        let outcome = client
            .associate(meter)
            .map_err(drop)
            .and_then(|()| transfer(&mut client, meter, role, &both(new)).map_err(drop));
        let counters = client.frames.iter().filter_map(|frame| counter(frame));
        seen.extend(counters.map(|counter| (own.encryption[0], counter)));
        outcome
    };
    talk(&mut meter, &keys[0], 0, Role::Reader, &fresh(0x71))?;
    talk(&mut meter, &keys[0], 50, Role::Utility, &keys[1])?;
    talk(&mut meter, &keys[1], 0, Role::Bench, &fresh(0x72))
}

#[test]
fn a_power_cut_at_any_step_of_a_transfer_leaves_the_old_key_or_the_new_one_and_no_counter_twice() {
    let keys = [utility_keys(), fresh(0x70)];
    let mut cuts = 0;
    loop {
        let mut flash = blank().seed(cuts);
        flash.cut_at = Some(cuts);
        let mut seen = Vec::new();
        let finished = life(&mut flash, &keys, &mut seen).is_ok();
        flash.restore();
        let mut meter = open(&mut flash, at(0));
        for (role, new) in [(Role::Reader, fresh(0x71)), (Role::Bench, fresh(0x72))] {
            let opens = [keys_of(role), new].map(|keys| can_associate(&mut meter, role, &keys, 1_000));
            assert_eq!(opens.iter().filter(|&&opens| opens).count(), 1, "cut {cuts}: {role} {opens:?}");
        }
        let mut opened = 0;
        for own in &keys {
            meter.pass(61_000);
            if let Ok(client) = utility(&mut meter, own, 1_000) {
                opened += 1;
                let counters = client.frames.iter().filter_map(|frame| counter(frame));
                seen.extend(counters.map(|counter| (own.encryption[0], counter)));
            }
        }
        assert_eq!(opened, 1, "cut {cuts}");
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "cut {cuts}: a counter was used twice under one key");
        if finished {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 60, "{cuts} cuts");
}
