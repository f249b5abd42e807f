//! Ciphered messages whose keys the fuzzer knows: what it makes up comes through to the services and objects inside.

use std::collections::HashSet;

use meterseal_model::Role;

use crate::bench::{self, Form, Input, PROTECTED};
use crate::support::client::{CLIENT_TITLE, counter};

/// The role; then messages: form, and the plain text with its length.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let role = match bench::role(input.byte()) {
        Role::Public => Role::Utility,
        role => role,
    };
    let mut flash = bench::flash();
    let mut meter = bench::meter(&mut flash);
    let client = bench::associate(&mut meter, role, 0);
    let Some(client) = client else { panic!("{role:?} holds its keys and is not let in") };
    let mut used: HashSet<u32> = client.frames.iter().filter_map(|frame| counter(frame)).collect();
    let mut next = 1_000;
    while !input.is_empty() && meter.link.is_some() {
        let form = input.byte();
        let plain = input.bytes();
        let control = if form & 0x40 == 0 { PROTECTED } else { input.byte() };
        // A counter out of order now and then.
        next = if form & 0x20 == 0 { next + 1 } else { u32::from(input.word()) };
        let ciphered = bench::cipher(role, form_of(form, plain), control, next, plain);
        for frame in bench::feed(&mut meter, &ciphered, usize::MAX) {
            if let Some(counter) = counter(&frame) {
                assert!(used.insert(counter), "the meter used invocation counter {counter} twice");
            }
        }
    }
    meter.disconnected();
    bench::still_serves(&mut meter);
}

/// Bit 7: the general form. Bit 4: a tag that does not belong to the service.
pub(crate) fn form_of(form: u8, plain: &[u8]) -> Form {
    if form & 0x80 != 0 {
        return Form::General(CLIENT_TITLE);
    }
    let service = plain.first().copied().unwrap_or(0);
    Form::Service(match service {
        _ if form & 0x10 != 0 => 0xC8 | (form & 7),
        // get, set, event, action, and their answers (IEC 62056-5-3): the ciphered tag is eight higher.
        0xC0..=0xC7 => service + 8,
        // Associate and release requests inside have tags of their own.
        _ => 0xC8,
    })
}
