//! Every form in which a service may come, in service-specific and in general ciphering, byte by byte: these messages
//! are written and read here without the engine's own client.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use aes_kw::KekAes256;
use dlms_cosem_rs::security::{KeyRing, Protector, RustCryptoProvider, SystemTitle};
use meterseal_model::{EventCode, Obis, Role};
use support::axdr;
use support::client::{CLIENT_TITLE, Client, METER_TITLE, POLICY, frame};
use support::{KEK, OPEN, TestMeter, at, blank, open, run, utility_keys};

/// A utility that protects its own messages.
struct Raw {
    counter: u32,
    general: bool,
}

fn protector() -> Protector<RustCryptoProvider> {
    let keys = utility_keys();
    Protector::new(RustCryptoProvider::new(KeyRing::new_256(keys.encryption, keys.authentication)), POLICY)
}

fn protect(counter: u32, plain: &[u8]) -> Vec<u8> {
    let keys = utility_keys();
    let mut body = vec![0; plain.len() + 12];
    protector().protect(&SystemTitle(CLIENT_TITLE), counter, &keys.authentication, plain, &mut body).unwrap();
    let mut bytes = length(5 + body.len());
    bytes.push(0x32);
    bytes.extend(counter.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Deciphers what follows a tag: length, security control, counter, ciphertext and tag.
fn unprotect(bytes: &[u8]) -> Vec<u8> {
    let skipped = if bytes[0] < 0x80 { 1 } else { 1 + usize::from(bytes[0] & 0x7F) };
    let bytes = &bytes[skipped..];
    assert_eq!(bytes[0], 0x32, "authenticated and encrypted, suite 2");
    let counter = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
    let mut body = bytes[5..].to_vec();
    let control = POLICY.control();
    let keys = utility_keys();
    let title = SystemTitle(METER_TITLE);
    protector().unprotect(control, &title, counter, &keys.authentication, &mut body).unwrap().to_vec()
}

fn length(length: usize) -> Vec<u8> {
    match length {
        0..0x80 => vec![length as u8],
        _ => vec![0x82, (length >> 8) as u8, length as u8],
    }
}

impl Raw {
    /// Associates with this largest message and goes on by itself.
    fn associate(meter: &mut TestMeter<'_>, counter: u32, max_pdu_size: u16, general: bool) -> Self {
        meter.connected();
        let mut client = Client::new(Role::Utility, &utility_keys(), counter, max_pdu_size);
        client.associate(meter).unwrap();
        client.listen(meter);
        Self { counter: client.session.invocation_counter(), general }
    }

    /// Sends a plain APDU enciphered, in this client's form, and gives the plain answer, which must be in the same.
    fn exchange(&mut self, meter: &mut TestMeter<'_>, plain: &[u8]) -> Vec<u8> {
        self.counter += 1;
        let ciphered = protect(self.counter, plain);
        let service_tag = plain[0] + 8;
        let mut request = if self.general {
            let mut bytes = vec![0xDB, 8];
            bytes.extend(CLIENT_TITLE);
            bytes
        } else {
            vec![service_tag]
        };
        request.extend(ciphered);
        meter.receive(&frame(Role::Utility, &request)).unwrap();
        let answer = meter.transmit().expect("an answer").split_off(8);
        if self.general {
            assert_eq!(answer[..10], [&[0xDB, 8][..], &METER_TITLE].concat());
            unprotect(&answer[10..])
        } else {
            assert_eq!(answer[0], service_tag + 4, "{answer:02x?}");
            unprotect(&answer[1..])
        }
    }
}

/// class, logical name, attribute or method.
fn descriptor(class: u16, obis: Obis, index: u8) -> Vec<u8> {
    [&class.to_be_bytes()[..], &obis.0, &[index]].concat()
}

/// last, number, length, bytes.
fn block(last: bool, number: u32, raw: &[u8]) -> Vec<u8> {
    [&[u8::from(last)][..], &number.to_be_bytes(), &length(raw.len()), raw].concat()
}

fn in_both_forms(mut test: impl FnMut(&mut TestMeter<'_>, &mut Raw)) {
    for general in [false, true] {
        let mut flash = blank();
        let mut meter = open(&mut flash, at(0));
        run(&mut meter, 0, 1_500, 10.0, &OPEN);
        let mut raw = Raw::associate(&mut meter, 0, 512, general);
        test(&mut meter, &mut raw);
    }
}

#[test]
fn get_normal_and_with_list() {
    in_both_forms(|meter, raw| {
        let id = descriptor(1, Obis::METER_ID, 2);
        let answer = raw.exchange(meter, &[&[0xC0, 1, 0xC1][..], &id, &[0]].concat());
        assert_eq!(answer, [&[0xC4, 1, 0xC1, 0, 9, 13][..], b"MSL0000000042"].concat());
        let missing = descriptor(1, Obis::general(7, 7, 7), 2);
        let secret = descriptor(15, Obis::ASSOCIATION, 7);
        let list = [&[0xC0, 3, 0xC1, 3][..], &id, &[0], &missing, &[0], &secret, &[0]].concat();
        let answer = raw.exchange(meter, &list);
        let expected = [&[0xC4, 3, 0xC1, 3, 0, 9, 13][..], b"MSL0000000042", &[1, 4, 1, 3]].concat();
        assert_eq!(answer, expected, "a value, object undefined, read-write denied");
    });
}

/// Reads an attribute that needs more than one block.
fn get_in_blocks(meter: &mut TestMeter<'_>, raw: &mut Raw, attribute: &[u8]) -> Vec<u8> {
    let mut answer = raw.exchange(meter, &[&[0xC0, 1, 0xC1][..], attribute, &[0]].concat());
    let mut value = Vec::new();
    for number in 1u32.. {
        assert_eq!(answer[..3], [0xC4, 2, 0xC1]);
        assert_eq!(answer[4..8], number.to_be_bytes());
        assert_eq!(answer[8], 0);
        let skipped = if answer[9] < 0x80 { 10 } else { 10 + usize::from(answer[9] & 0x7F) };
        value.extend_from_slice(&answer[skipped..]);
        assert!(answer.len() + 31 <= 512 + 9);
        if answer[3] == 1 {
            break;
        }
        answer = raw.exchange(meter, &[&[0xC0, 2, 0xC1][..], &number.to_be_bytes()].concat());
    }
    value
}

#[test]
fn get_in_blocks_each_within_what_the_client_takes() {
    in_both_forms(|meter, raw| {
        let list = descriptor(15, Obis::ASSOCIATION, 2);
        let value = get_in_blocks(meter, raw, &list);
        assert!(value.len() > 4_000 && value[0] == 1, "the object list is an array");
        // A block that is not the next one ends the transfer.
        raw.exchange(meter, &[&[0xC0, 1, 0xC1][..], &list, &[0]].concat());
        let answer = raw.exchange(meter, &[0xC0, 2, 0xC1, 0, 0, 0, 5]);
        assert_eq!(answer, [0xC4, 1, 0xC1, 1, 19], "data-block-number-invalid");
        let answer = raw.exchange(meter, &[0xC0, 2, 0xC1, 0, 0, 0, 1]);
        assert_eq!(answer, [0xC4, 1, 0xC1, 1, 16], "no-long-get-in-progress");
    });
}

#[test]
fn set_normal_with_list_and_in_blocks() {
    in_both_forms(|meter, raw| {
        let alarms = descriptor(1, Obis::ALARM_REGISTER, 2);
        let log = descriptor(1, Obis::COMMITTED_SECURITY_LOG, 2);
        let commit = |number: u8| [0x15, 0, 0, 0, 0, 0, 0, 0, number];
        let none = [6, 0, 0, 0, 0];
        let answer = raw.exchange(meter, &[&[0xC1, 1, 0xC1][..], &log, &[0], &commit(1)].concat());
        assert_eq!(answer, [0xC5, 1, 0xC1, 0]);
        assert_eq!(meter.committed_security_log(), 1);

        let energy = descriptor(3, Obis::ACTIVE_ENERGY_IMPORT, 2);
        let list = [&[0xC1, 4, 0xC1, 3][..], &alarms, &[0], &energy, &[0], &log, &[0], &[3], &none];
        let list = [&list.concat()[..], &none, &commit(2)].concat();
        assert_eq!(raw.exchange(meter, &list), [0xC5, 5, 0xC1, 3, 0, 3, 0], "each answers for itself");
        assert_eq!(meter.committed_security_log(), 2);

        // One value in three blocks, cut anywhere.
        let value = commit(2);
        let first = [&[0xC1, 2, 0xC1][..], &log, &[0], &block(false, 1, &value[..1])].concat();
        assert_eq!(raw.exchange(meter, &first), [0xC5, 2, 0xC1, 0, 0, 0, 1]);
        let second = [&[0xC1, 3, 0xC1][..], &block(false, 2, &value[1..4])].concat();
        assert_eq!(raw.exchange(meter, &second), [0xC5, 2, 0xC1, 0, 0, 0, 2]);
        let third = [&[0xC1, 3, 0xC1][..], &block(true, 3, &value[4..])].concat();
        assert_eq!(raw.exchange(meter, &third), [0xC5, 3, 0xC1, 0, 0, 0, 0, 3]);

        // A list in blocks.
        let values = [&[2][..], &none, &commit(2)].concat();
        let first = [&[0xC1, 5, 0xC1, 2][..], &alarms, &[0], &log, &[0], &block(false, 1, &values[..4])];
        assert_eq!(raw.exchange(meter, &first.concat()), [0xC5, 2, 0xC1, 0, 0, 0, 1]);
        let second = [&[0xC1, 3, 0xC1][..], &block(true, 2, &values[4..])].concat();
        assert_eq!(raw.exchange(meter, &second), [0xC5, 4, 0xC1, 2, 0, 0, 0, 0, 0, 2]);
    });
}

/// Sets an attribute in blocks of 400 bytes; gives the result.
fn set_in_blocks(meter: &mut TestMeter<'_>, raw: &mut Raw, attribute: &[u8], value: &[u8]) -> u8 {
    let parts: Vec<_> = value.chunks(400).collect();
    for (part, number) in parts.iter().zip(1u32..) {
        let last = number as usize == parts.len();
        let head = match number {
            1 => [&[0xC1, 2, 0xC1][..], attribute, &[0]].concat(),
            _ => vec![0xC1, 3, 0xC1],
        };
        let answer = raw.exchange(meter, &[head, block(last, number, part)].concat());
        assert!(answer.ends_with(&number.to_be_bytes()), "{answer:?}");
        if last {
            assert_eq!(answer[..3], [0xC5, 3, 0xC1]);
            return answer[3];
        }
        assert_eq!(answer[..3], [0xC5, 2, 0xC1]);
    }
    unreachable!("a value has a last block")
}

#[test]
fn a_calendar_with_every_table_full_goes_in_and_comes_out_in_blocks() {
    in_both_forms(|meter, raw| {
        let actions: Vec<_> = (0..12u8).map(|k| (2 * k, k, u16::from(k % 4 + 1))).collect();
        let days: Vec<_> = (1..=16).map(|id| axdr::day(id, &actions)).collect();
        let value = axdr::array(&days);
        assert!(value.len() > 3_500, "{} bytes", value.len());
        let table = descriptor(20, Obis::ACTIVITY_CALENDAR, 9);
        assert_eq!(set_in_blocks(meter, raw, &table, &value), 0);
        assert_eq!(get_in_blocks(meter, raw, &table), value);
        // One day more than fits is refused as a whole, and what was there stays.
        let more = axdr::array(&[days, vec![axdr::day(17, &actions)]].concat());
        assert_eq!(set_in_blocks(meter, raw, &table, &more), 13, "scope-of-access-violated");
        assert_eq!(get_in_blocks(meter, raw, &table), value);
    });
}

#[test]
fn what_may_not_be_set_is_not_taken_in_blocks_either_and_endless_blocks_end() {
    in_both_forms(|meter, raw| {
        let energy = descriptor(3, Obis::ACTIVE_ENERGY_IMPORT, 2);
        let first = [&[0xC1, 2, 0xC1][..], &energy, &[0], &block(false, 1, &[6])].concat();
        assert_eq!(raw.exchange(meter, &first), [0xC5, 3, 0xC1, 3, 0, 0, 0, 1]);
        let alarms = descriptor(1, Obis::ALARM_REGISTER, 2);
        let first = [&[0xC1, 2, 0xC1][..], &alarms, &[0], &block(false, 1, &[0; 400])].concat();
        assert_eq!(raw.exchange(meter, &first), [0xC5, 2, 0xC1, 0, 0, 0, 1]);
        let ended = (2u32..40).find(|&number| {
            let next = [&[0xC1, 3, 0xC1][..], &block(false, number, &[0; 400])].concat();
            raw.exchange(meter, &next)[1] == 1
        });
        assert_eq!(ended, Some(21), "no more than 8192 bytes are held");
    });
}

#[test]
fn action_normal_with_list_and_in_blocks() {
    in_both_forms(|meter, raw| {
        let wrap = |key: [u8; 32]| {
            let mut out = vec![0; 40];
            KekAes256::from(KEK).wrap(&key, &mut out).unwrap();
            out
        };
        let transfer = |id: u8, byte: u8| [&[1, 1, 2, 2, 0x16, id, 9, 40][..], &wrap([byte; 32])].concat();
        let reader = descriptor(64, Obis::security_setup(Role::Reader), 2);
        let bench = descriptor(64, Obis::security_setup(Role::Bench), 2);
        let clock = descriptor(8, Obis::CLOCK, 1);
        let normal = [&[0xC3, 1, 0xC1][..], &reader, &[1], &transfer(0, 0x90)].concat();
        assert_eq!(raw.exchange(meter, &normal), [0xC7, 1, 0xC1, 0, 0]);

        let list = [&[0xC3, 3, 0xC1, 3][..], &reader, &clock, &bench, &[3], &transfer(0, 0x91), &[15, 0]];
        let list = [&list.concat()[..], &transfer(2, 0x92)].concat();
        assert_eq!(raw.exchange(meter, &list), [0xC7, 3, 0xC1, 3, 0, 0, 3, 0, 0, 0], "the second is denied");

        let value = transfer(0, 0x93);
        let first = [&[0xC3, 4, 0xC1][..], &bench, &block(false, 1, &value[..7])].concat();
        assert_eq!(raw.exchange(meter, &first), [0xC7, 4, 0xC1, 0, 0, 0, 1]);
        let second = [&[0xC3, 6, 0xC1][..], &block(false, 2, &value[7..30])].concat();
        assert_eq!(raw.exchange(meter, &second), [0xC7, 4, 0xC1, 0, 0, 0, 2]);
        let third = [&[0xC3, 6, 0xC1][..], &block(true, 3, &value[30..])].concat();
        assert_eq!(raw.exchange(meter, &third), [0xC7, 1, 0xC1, 0, 0]);
        let changed = meter
            .security_log_range()
            .filter(|&n| meter.security_log_entry(n).unwrap().unwrap().code == EventCode::KeysChanged);
        assert_eq!(changed.count(), 4);
    });
}

/// An RLRQ with an InitiateRequest like the AARQ's, enciphered under this counter.
fn release(counter: u32) -> Vec<u8> {
    // xDLMS InitiateRequest: no dedicated key, response allowed, no quality of service, version 6, conformance, size.
    let initiate = [1, 0, 0, 0, 6, 0x5F, 0x1F, 4, 0, 0, 0x7E, 0x1F, 4, 0];
    let mut information = vec![0x21];
    information.extend(protect(counter, &initiate));
    let mut inner = vec![0x80, 1, 0, 0xBE, information.len() as u8 + 2, 4, information.len() as u8];
    inner.extend(information);
    [&[0x62, inner.len() as u8][..], &inner].concat()
}

#[test]
fn release_plain_and_enciphered_is_answered_in_kind_and_ends_the_association() {
    for enciphered in [false, true] {
        let mut flash = blank();
        let mut meter = open(&mut flash, at(0));
        let mut raw = Raw::associate(&mut meter, 0, 512, false);
        let request = if enciphered { release(raw.counter + 1) } else { vec![0x62, 3, 0x80, 1, 0] };
        meter.receive(&frame(Role::Utility, &request)).unwrap();
        let answer = meter.transmit().unwrap().split_off(8);
        assert_eq!(answer[0], 0x63);
        assert_eq!(answer[2..5], [0x80, 1, 0]);
        if enciphered {
            assert_eq!(answer[5], 0xBE);
            assert_eq!(answer[9], 0x28, "glo-initiate-response");
            assert_eq!(unprotect(&answer[10..])[..3], [8, 0, 6], "an InitiateResponse of version 6");
            raw.counter += 1;
        } else {
            assert_eq!(answer.len(), 5);
        }
        let get = [&[0xC8][..], &protect(raw.counter + 1, &[0xC0, 1, 0xC1])].concat();
        meter.receive(&frame(Role::Utility, &get)).unwrap();
        assert_eq!(meter.transmit().unwrap()[8..], [0xD8, 1, 1]);
        // Nothing has been used twice: the next association is content.
        let again = Raw::associate(&mut meter, raw.counter, 512, false);
        assert!(again.counter > raw.counter);
    }
}

#[test]
fn a_forged_or_replayed_release_ends_nothing_is_logged_and_slowed_down() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut raw = Raw::associate(&mut meter, 0, 512, false);
    let mut forged = release(raw.counter + 1);
    *forged.last_mut().unwrap() ^= 1;
    for (request, code) in
        [(forged, EventCode::UndecryptableMessage), (release(raw.counter), EventCode::ReplayedMessage)]
    {
        meter.receive(&frame(Role::Utility, &request)).unwrap();
        let newest = *meter.security_log_range().end();
        assert_eq!(meter.security_log_entry(newest).unwrap().unwrap().code, code);
        let mut waited = 0;
        let answer = loop {
            match meter.transmit().filter(|frame| frame[8] != 0xDB) {
                Some(answer) => break answer,
                None => meter.pass(50),
            }
            waited += 50;
        };
        assert!(waited >= 250, "withheld for {waited} ms");
        assert_eq!(answer[8..], [0xD8, 1, 5]);
    }
    let id = descriptor(1, Obis::METER_ID, 2);
    while meter.transmit().is_some() {}
    let answer = raw.exchange(&mut meter, &[&[0xC0, 1, 0xC1][..], &id, &[0]].concat());
    assert_eq!(answer[..4], [0xC4, 1, 0xC1, 0]);
}
