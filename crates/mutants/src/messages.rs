//! Meters that take, answer or protect DLMS messages wrongly. Each flaw sits between the line and a sound meter and knows the keys: it opens what
//! passes, alters it, and seals it again.

use meterseal_bench::certify::virtual_bench::CLIENT_TITLE;
use meterseal_bench::certify::wire::{self, Cipher, Glo, SUITE_0, SUITE_2};
use meterseal_bench::certify::{Line, Specimen, Trouble, VirtualMeter};
use meterseal_link::DlmsKeys;
use meterseal_link::client::CosemDateTime;
use meterseal_meter::{Layout, SECTOR_BYTES};
use meterseal_model::{Obis, Role, UnixMillis};

use crate::{Defective, Flaw, Kind, Mutant};

/// What a flaw makes of messages.
trait Messages {
    /// Bytes as they come from a client, before anything else. `Some`: what is answered at once, and the meter never hears of it.
    fn raw(&mut self, _: &mut VirtualMeter, _: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(None)
    }

    /// A request in plain.
    fn request(&mut self, _: &mut VirtualMeter, _: Role, _: &mut Vec<u8>) -> Result<(), Trouble> {
        Ok(())
    }

    /// An answer in plain.
    fn answer(&mut self, _: &mut VirtualMeter, _: Role, _: &mut Vec<u8>) {}

    /// The counter under which a request is handed on.
    fn counter(&mut self, _: Role, counter: u32) -> u32 {
        counter
    }

    /// The counter under which an answer goes out.
    fn answered(&mut self, _: Role, counter: u32) -> u32 {
        counter
    }

    /// The security control byte under which a request is handed on.
    fn control(&self, control: u8) -> u8 {
        control
    }

    /// Whether a tag that does not hold is looked at.
    fn heeds_tags(&self) -> bool {
        true
    }

    /// The supply has come.
    fn started(&mut self) {}
}

/// A flaw of messages, in the middle.
struct Middle<M> {
    flaw: M,
    /// Answers that are not the meter's.
    own: Vec<(Line, Vec<u8>)>,
}

fn cipher(meter: &VirtualMeter, role: Role) -> Option<Cipher> {
    let keys = meter.made().keys(role)?;
    Some(Cipher::new(DlmsKeys { encryption: keys.encryption, authentication: keys.authentication }))
}

fn role_of(frame: &[u8]) -> Option<Role> {
    wire::client(frame).and_then(Role::from_client_address)
}

/// The same frame with another message.
fn reframed(frame: &[u8], apdu: &[u8]) -> Vec<u8> {
    let mut bytes = frame[..wire::HEADER_BYTES].to_vec();
    bytes[6..8].copy_from_slice(&(apdu.len() as u16).to_be_bytes());
    bytes.extend_from_slice(apdu);
    bytes
}

impl<M: Messages> Flaw for Middle<M> {
    fn supply(&mut self, meter: &mut VirtualMeter, on: bool) -> Result<(), Trouble> {
        if on {
            self.flaw.started();
        }
        meter.supply(on)
    }

    fn send(&mut self, meter: &mut VirtualMeter, line: Line, bytes: &[u8]) -> Result<(), Trouble> {
        if let Some(answer) = self.flaw.raw(meter, bytes)? {
            self.own.push((line, answer));
            return Ok(());
        }
        let whole = wire::frame(0, wire::apdu(bytes)).get(6..8) == bytes.get(6..8);
        let known = role_of(bytes).filter(|_| whole).and_then(|role| Some((role, cipher(meter, role)?)));
        let (Some((role, cipher)), Some(message)) = (known, Glo::read(wire::apdu(bytes))) else {
            return meter.send(line, bytes);
        };
        let Glo { control, counter, sealed, tag } = message;
        let title = CLIENT_TITLE.0;
        let plain = cipher.open(control, title, counter, sealed);
        let plain = plain.or_else(|| {
            (!self.flaw.heeds_tags() && sealed.len() > 12)
                .then(|| cipher.open_unchecked(control, title, counter, sealed))
        });
        let Some(mut plain) = plain else { return meter.send(line, bytes) };
        self.flaw.request(meter, role, &mut plain)?;
        let (control, counter) = (self.flaw.control(control), self.flaw.counter(role, counter));
        let sealed = cipher.seal(control, title, counter, &plain);
        let apdu = Glo { tag, control, counter, sealed: &sealed }.encode();
        meter.send(line, &reframed(bytes, &apdu))
    }

    fn receive(&mut self, meter: &mut VirtualMeter, line: Line) -> Result<Option<Vec<u8>>, Trouble> {
        if let Some(place) = self.own.iter().position(|(own, _)| *own == line) {
            return Ok(Some(self.own.remove(place).1));
        }
        let Some(frame) = meter.receive(line)? else { return Ok(None) };
        let known = role_of(&frame).and_then(|role| Some((role, cipher(meter, role)?)));
        let Some((role, cipher)) = known else { return Ok(Some(frame)) };
        let title = meter.made().system_title().0;
        if let Some(Glo { tag, control, counter, sealed }) = Glo::read(wire::apdu(&frame)) {
            let Some(mut plain) = cipher.open(control, title, counter, sealed) else {
                return Ok(Some(frame));
            };
            self.flaw.answer(meter, role, &mut plain);
            let counter = self.flaw.answered(role, counter);
            let sealed = cipher.seal(control, title, counter, &plain);
            return Ok(Some(reframed(&frame, &Glo { tag, control, counter, sealed: &sealed }.encode())));
        }
        // The answer to a login carries one more message, at its end.
        let mut frame = frame;
        if let Some(at) = initiate(wire::apdu(&frame), 0x61, 0x28) {
            let at = at + wire::HEADER_BYTES;
            let (control, sealed) = (frame[at], frame[at + 5..].to_vec());
            let counter = u32::from_be_bytes([frame[at + 1], frame[at + 2], frame[at + 3], frame[at + 4]]);
            if let Some(plain) = cipher.open(control, title, counter, &sealed) {
                let counter = self.flaw.answered(role, counter);
                frame[at + 1..at + 5].copy_from_slice(&counter.to_be_bytes());
                frame.truncate(at + 5);
                frame.extend(cipher.seal(control, title, counter, &plain));
            }
        }
        Ok(Some(frame))
    }
}

/// Where the security control byte of an AARQ's or AARE's user information stands, which ends the message.
fn initiate(apdu: &[u8], tag: u8, inner_tag: u8) -> Option<usize> {
    apdu.first().filter(|first| **first == tag)?;
    (1..apdu.len()).find_map(|at| {
        let [0xBE, outer, 0x04, inner, found, length, ..] = *apdu.get(at..)? else { return None };
        let fits = found == inner_tag && outer == inner + 2 && inner == length + 2;
        (fits && at + 2 + usize::from(outer) == apdu.len() && length > 17).then_some(at + 6)
    })
}

/// The descriptor of a normal GET, SET or ACTION: class, name, index.
fn asks(plain: &[u8], service: u8, class: u16, obis: Obis, index: u8) -> bool {
    let [high, low] = class.to_be_bytes();
    plain.first() == Some(&service)
        && plain.get(1) == Some(&1)
        && plain.get(3..5) == Some(&[high, low])
        && plain.get(5..11) == Some(&obis.0)
        && plain.get(11) == Some(&index)
}

const GET: u8 = 0xC0;
const SET: u8 = 0xC1;
const ACTION: u8 = 0xC3;

/// The time in a SET of the clock.
fn time_set(plain: &[u8]) -> Option<UnixMillis> {
    let bytes = plain.get(plain.len().checked_sub(12)?..)?;
    CosemDateTime(bytes.try_into().ok()?).unix()
}

/// When every virtual bench begins: 2026-01-01 00:00 UTC.
const BEGIN_MS: i64 = 1_767_225_600_000;

/// What the clock shows of which nobody has set anything.
fn clock(meter: &VirtualMeter, jumped: i64) -> i64 {
    BEGIN_MS + (meter.seconds() * 1000.0) as i64 + jumped
}

/// A reader sets the clock.
#[derive(Default)]
struct ReaderSetsClock(Option<UnixMillis>, i64);

impl Messages for ReaderSetsClock {
    fn request(&mut self, _: &mut VirtualMeter, role: Role, plain: &mut Vec<u8>) -> Result<(), Trouble> {
        let is = role == Role::Reader && asks(plain, SET, 8, Obis::CLOCK, 2);
        self.0 = if is { time_set(plain) } else { None };
        Ok(())
    }

    fn answer(&mut self, meter: &mut VirtualMeter, role: Role, plain: &mut Vec<u8>) {
        if role == Role::Reader
            && plain.first() == Some(&0xC5)
            && let Some(wanted) = self.0.take()
        {
            plain[3] = 0;
            let by = wanted.0 - clock(meter, self.1);
            self.1 += by;
            meter.jump(by);
            // It takes note of it with its next reading.
            let _ = meter.pass(0.004);
        }
    }
}

/// A reader's command to disconnect is carried out, as far as its answer says.
#[derive(Default)]
struct ReaderDisconnects(bool);

impl Messages for ReaderDisconnects {
    fn request(&mut self, _: &mut VirtualMeter, role: Role, plain: &mut Vec<u8>) -> Result<(), Trouble> {
        self.0 = role == Role::Reader && asks(plain, ACTION, 70, Obis::DISCONNECT_CONTROL, 1);
        Ok(())
    }

    fn answer(&mut self, _: &mut VirtualMeter, role: Role, plain: &mut Vec<u8>) {
        if role == Role::Reader && plain.first() == Some(&0xC7) && std::mem::take(&mut self.0) {
            plain[3] = 0;
        }
    }
}

/// Counters of requests need not rise.
#[derive(Default)]
struct Replayed([u32; Role::ALL.len()]);

impl Messages for Replayed {
    fn counter(&mut self, role: Role, counter: u32) -> u32 {
        let highest = &mut self.0[role.index()];
        *highest = counter.max(*highest + u32::from(counter <= *highest));
        *highest
    }
}

/// Tags are not looked at.
struct AnyTag;

impl Messages for AnyTag {
    fn heeds_tags(&self) -> bool {
        false
    }
}

/// Requests under AES-128 are taken.
struct WeakSuite;

impl Messages for WeakSuite {
    fn control(&self, control: u8) -> u8 {
        if control == SUITE_0 { SUITE_2 } else { control }
    }
}

/// To readers, the counters of its answers begin anew at each start.
#[derive(Default)]
struct CountsAnew {
    base: u32,
    highest: u32,
}

impl Messages for CountsAnew {
    fn answered(&mut self, role: Role, counter: u32) -> u32 {
        if role != Role::Reader {
            return counter;
        }
        self.highest = self.highest.max(counter);
        counter - self.base
    }

    fn started(&mut self) {
        self.base = self.highest;
    }
}

/// A wrong key is refused at once, each time.
struct Patient;

impl Messages for Patient {
    fn raw(&mut self, meter: &mut VirtualMeter, bytes: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        let apdu = wire::apdu(bytes);
        let known = role_of(bytes).and_then(|role| cipher(meter, role));
        let (Some(cipher), Some(at)) = (known, initiate(apdu, 0x60, 0x21)) else { return Ok(None) };
        let counter = u32::from_be_bytes([apdu[at + 1], apdu[at + 2], apdu[at + 3], apdu[at + 4]]);
        let right = cipher.open(apdu[at], CLIENT_TITLE.0, counter, &apdu[at + 5..]).is_some();
        // Back the way it came: the addresses change their places.
        let mut header = bytes[..wire::HEADER_BYTES].to_vec();
        header.swap(2, 4);
        header.swap(3, 5);
        Ok((!right).then(|| reframed(&header, &[0xD8, 1, 1])))
    }
}

/// Its object list names an object that is not there.
#[derive(Default)]
struct ListLies(bool);

impl Messages for ListLies {
    fn request(&mut self, _: &mut VirtualMeter, _: Role, plain: &mut Vec<u8>) -> Result<(), Trouble> {
        let next_block = plain.first() == Some(&GET) && plain.get(1) == Some(&2);
        self.0 = asks(plain, GET, 15, Obis::ASSOCIATION, 2) || self.0 && next_block;
        Ok(())
    }

    fn answer(&mut self, _: &mut VirtualMeter, _: Role, plain: &mut Vec<u8>) {
        let listed = [9, 6, 0, 0, 96, 1, 1, 255];
        let at = plain.windows(listed.len()).position(|part| part == listed);
        if let Some(at) = at.filter(|_| self.0) {
            plain[at + 6] = 99;
        }
    }
}

/// Its clock is set without a word.
#[derive(Default)]
struct SilentClock(i64);

impl Messages for SilentClock {
    fn request(&mut self, meter: &mut VirtualMeter, role: Role, plain: &mut Vec<u8>) -> Result<(), Trouble> {
        if role == Role::Utility
            && asks(plain, SET, 8, Obis::CLOCK, 2)
            && let Some(wanted) = time_set(plain)
        {
            let by = wanted.0 - clock(meter, self.0);
            self.0 += by;
            meter.jump(by);
            meter.pass(0.004)?;
            // What is set is what it shows already.
            let same = CosemDateTime::from_unix(UnixMillis(clock(meter, self.0)));
            let at = plain.len() - 12;
            if let Some(same) = same {
                plain[at..].copy_from_slice(&same.0);
            }
        }
        Ok(())
    }
}

fn restart(meter: &mut VirtualMeter, off: impl FnOnce(&mut VirtualMeter)) -> Result<Trouble, Trouble> {
    meter.supply(false)?;
    off(meter);
    meter.supply(true)?;
    Ok(Trouble::Meter("the connection is gone".to_owned()))
}

/// A frame of another version makes it start anew.
struct Startled;

impl Messages for Startled {
    fn raw(&mut self, meter: &mut VirtualMeter, bytes: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        if bytes.len() >= 2 && bytes[..2] != [0, 1] { Err(restart(meter, |_| ())?) } else { Ok(None) }
    }
}

/// Asked to reset its security log, it starts anew with an empty one.
struct Clears;

impl Messages for Clears {
    fn request(&mut self, meter: &mut VirtualMeter, role: Role, plain: &mut Vec<u8>) -> Result<(), Trouble> {
        if role == Role::Utility && asks(plain, ACTION, 7, Obis::SECURITY_LOG, 1) {
            return Err(restart(meter, |meter| {
                let layout = Layout::STANDARD;
                let from =
                    (1 + layout.state_sectors + layout.register_sectors) as usize * SECTOR_BYTES as usize;
                let length = layout.log_sectors as usize * SECTOR_BYTES as usize;
                meter.memory().bytes()[from..from + length].fill(0xFF);
            })?);
        }
        Ok(())
    }
}

/// Readings in its sealed log are given with a digit changed.
struct OtherDigit;

impl Messages for OtherDigit {
    fn answer(&mut self, _: &mut VirtualMeter, _: Role, plain: &mut Vec<u8>) {
        // A leaf of kind 3 with the log's name behind it; far enough in stand the registers.
        let head = [0x86, 0x01, 0x03, 0x50];
        let starts: Vec<usize> = (0..plain.len()).filter(|at| plain[*at..].starts_with(&head)).collect();
        for at in starts {
            if let Some(byte) = plain.get_mut(at + 64) {
                *byte ^= 1;
            }
        }
    }
}

/// A reader is shown another event than the utility.
struct OtherEvent;

impl Messages for OtherEvent {
    fn answer(&mut self, _: &mut VirtualMeter, role: Role, plain: &mut Vec<u8>) {
        const UNSIGNED: u8 = 0x11;
        let opened = [UNSIGNED, 44];
        let at = plain.windows(2).position(|part| part == opened);
        if let Some(at) = at.filter(|_| role == Role::Reader && plain.first() == Some(&0xC4)) {
            plain[at + 1] = 2;
        }
    }
}

/// The third row of its load profile is given under the number of the fourth.
#[derive(Default)]
struct LostRow(bool);

impl Messages for LostRow {
    fn request(&mut self, _: &mut VirtualMeter, _: Role, plain: &mut Vec<u8>) -> Result<(), Trouble> {
        self.0 = asks(plain, GET, 7, Obis::LOAD_PROFILE, 2);
        Ok(())
    }

    fn answer(&mut self, _: &mut VirtualMeter, _: Role, plain: &mut Vec<u8>) {
        let third = [0x15, 0, 0, 0, 0, 0, 0, 0, 3];
        let at = plain.windows(third.len()).position(|part| part == third);
        if let Some(at) = at.filter(|_| self.0) {
            plain[at + 8] = 4;
        }
    }
}

macro_rules! messages {
    ($($name:literal, $flaw:literal, breaks $breaks:expr, touches $touches:expr, $how:expr;)*) => {
        vec![$(Mutant {
            name: $name,
            flaw: $flaw,
            breaks: &$breaks,
            touches: &$touches,
            kind: Kind::Wrapped(|meter| -> Box<dyn Specimen> {
                Defective::boxed(meter, Middle { flaw: $how, own: Vec::new() })
            }),
        }),*]
    };
}

pub(crate) fn mutants() -> Vec<Mutant> {
    let mut all = messages! {
        "reader-sets-clock", "A reader may set the clock.",
        breaks ["DLM-01", "VER-03"], touches [], ReaderSetsClock::default();

        "reader-disconnects", "A reader's command to disconnect the supply is accepted.",
        breaks ["DLM-09"], touches [], ReaderDisconnects::default();

        "replay", "A message that was sent before is taken again.",
        breaks ["DLM-02"], touches [], Replayed::default();

        "any-tag", "A message is taken whatever its tag.",
        breaks ["DLM-04"], touches [], AnyTag;

        "weak-suite", "Requests under AES-128 are taken.",
        breaks ["ENC-06"], touches [], WeakSuite;

        "counters-anew", "To readers, the invocation counters of its answers begin anew at each start.",
        breaks ["DLM-03"], touches ["DLM-02"], CountsAnew::default();

        "patient", "Wrong keys are refused at once however often, and not logged.",
        breaks ["DLM-06"], touches [], Patient;

        "list-lies", "Its object list names an object that it does not have.",
        breaks ["DLM-07"], touches [], ListLies::default();

        "silent-clock", "A change of the clock is not logged.",
        breaks ["DLM-08"], touches [], SilentClock::default();

        "startled", "A frame of another version makes it start anew.",
        breaks ["DLM-05", "VER-01"], touches [], Startled;

        "log-cleared", "The utility can clear its security log.",
        breaks ["TMP-11"], touches [], Clears;

        "other-digit", "Readings in its sealed log are given with a digit changed.",
        breaks ["BIL-05"], touches ["TMP-12"], OtherDigit;

        "other-event", "Readers are shown another event than the utility.",
        breaks ["DEP-01"], touches [], OtherEvent;

        "lost-row", "The third interval is given under the number of the fourth.",
        breaks ["BIL-04"], touches [], LostRow::default();
    };
    all.push(Mutant {
        name: "unsigned-log",
        flaw: "Nobody signs its log.",
        breaks: &["TMP-12", "BIL-05"],
        touches: &[],
        kind: Kind::Made(|made| made.signs = false),
    });
    all
}
