//! A whole session as a state machine: connections come and go, roles log in rightly and wrongly, messages are honest,
//! made up, replayed and torn, time passes, power is cut. What must hold all the while: nothing panics, no invocation
//! counter is used twice under a key, energy never goes back, the log only grows, and the public is always served.

use std::collections::HashSet;

use meterseal_model::Role;

use crate::bench::{self, Input, PROTECTED};
use crate::ciphered::form_of;
use crate::support::client::{Client, counter, frame};
use crate::support::flash::RamFlash;
use crate::support::{EVERYBODY, QUIET, TestMeter, at, frames, open};

/// What must never go back.
#[derive(Default)]
struct Promised {
    counters: HashSet<(u16, u32)>,
    energy: u64,
    log_end: u64,
    now_ms: i64,
    client_counter: u32,
}

impl Promised {
    fn saw(&mut self, sent: &[Vec<u8>]) {
        for frame in sent {
            let address = u16::from_be_bytes([frame[4], frame[5]]);
            if let Some(counter) = counter(frame) {
                assert!(self.counters.insert((address, counter)), "counter {counter} twice for {address:#x}");
            }
        }
    }

    fn check(&mut self, meter: &TestMeter<'_>) {
        let energy = meter.saved_registers().total_import_nanowatt_hours;
        assert!(energy >= self.energy, "energy went back from {} to {energy}", self.energy);
        let log_end = *meter.security_log_range().end();
        assert!(log_end >= self.log_end, "the log became shorter");
        (self.energy, self.log_end) = (energy, log_end);
    }
}

/// Any number of acts, each a byte and what it needs.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut flash = bench::flash();
    let mut promised = Promised { now_ms: bench::START_MS, client_counter: 1, ..Promised::default() };
    // Each round is one life of the meter, ended by a power cut.
    for _ in 0..LIVES {
        life(&mut flash, &mut input, &mut promised);
        flash.restore();
        if input.is_empty() {
            break;
        }
    }
    let mut meter = open(&mut flash, at(promised.now_ms));
    promised.check(&meter);
    bench::still_serves(&mut meter);
}

fn life(flash: &mut RamFlash, input: &mut Input<'_>, promised: &mut Promised) {
    let mut meter = open(flash, at(promised.now_ms));
    promised.check(&meter);
    let mut last_sent: Vec<u8> = Vec::new();
    for _ in 0..ACTS {
        if input.is_empty() {
            break;
        }
        let act = input.byte();
        match act % 10 {
            0 => meter.connect(EVERYBODY),
            1 => meter.disconnected(),
            2 => {
                let role = bench::role(input.byte());
                if meter.link.is_some() {
                    log_in(&mut meter, role, promised);
                }
            }
            3 => send(&mut meter, &frame(bench::role(input.byte()), input.bytes()), promised),
            4 | 5 => {
                let (role, form) = (bench::role(input.byte()), input.byte());
                let plain = input.bytes();
                promised.client_counter += 1;
                last_sent =
                    bench::cipher(role, form_of(form, plain), PROTECTED, promised.client_counter, plain);
                send(&mut meter, &last_sent, promised);
            }
            6 => send(&mut meter, &last_sent.clone(), promised),
            7 => {
                let mut torn = last_sent.clone();
                let position = usize::from(input.word());
                if let Some(byte) = torn.get_mut(position) {
                    *byte ^= 1 << (act / 10 % 8);
                }
                send(&mut meter, &torn, promised);
            }
            8 => {
                promised.now_ms += 100 + i64::from(input.word()) * 20;
                let first = (promised.now_ms * 8) as u64;
                meter.sample(&frames(first, 400, f64::from(act / 10)), at(promised.now_ms));
                meter.sense(&QUIET, at(promised.now_ms)).expect("this flash works");
                meter.tick(at(promised.now_ms)).expect("this flash works");
                let said = bench::take(&mut meter);
                promised.saw(&said);
            }
            _ => return,
        }
        promised.check(&meter);
    }
}

fn send(meter: &mut TestMeter<'_>, bytes: &[u8], promised: &mut Promised) {
    if meter.link.is_some() {
        let said = bench::feed(meter, bytes, usize::MAX);
        promised.saw(&said);
    }
}

fn log_in(meter: &mut TestMeter<'_>, role: Role, promised: &mut Promised) {
    promised.client_counter += 8;
    let mut client = Client::new(role, &crate::support::keys_of(role), promised.client_counter, 1024);
    promised.client_counter += 8;
    if let Some(apdu) = requests(&mut client, meter, promised) {
        send(meter, &frame(role, &apdu), promised);
    }
}

/// The two messages of an association, the second made from the answer to the first.
fn requests(client: &mut Client, meter: &mut TestMeter<'_>, promised: &mut Promised) -> Option<Vec<u8>> {
    let mut request = [0; 1024];
    let length = client.session.associate_request(&mut request).ok()?;
    let bytes = frame(client.role, &request[..length]);
    let said = bench::feed(meter, &bytes, usize::MAX);
    promised.saw(&said);
    let answer = said.iter().find(|frame| frame.get(8) == Some(&0x61))?;
    client.session.handle_associate_response(&answer[8..]).ok()?;
    let length = client.session.hls_reply_request(&mut request).ok()?;
    Some(request[..length].to_vec())
}

/// Bounds of one input.
const LIVES: usize = 4;
const ACTS: usize = 200;
