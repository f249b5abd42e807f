//! Malformed and random messages at every layer, from callers of every kind (DLM-05, VER-01): the meter measures and answers all the while,
//! and never restarts.
//!
//! What is sent follows from the requirement's seed. What becomes of the meter's memory cannot be seen from outside.

use meterseal_link::Value;
use meterseal_model::{EventCode, Obis, Role};
use meterseal_world::physics::LoadPoint;

use super::callers::{Forger, entries, get, get_request, must, number};
use super::registers::over;
use crate::catalogue::Requirement;
use crate::certify::{
    Bench, CallId, Called, Caller, Limit, Measured, Procedure, Received, Speaker, Trouble, wire,
};

pub(super) fn procedures() -> Vec<Box<dyn Procedure>> {
    vec![
        Box::new(Storm { name: "malformed", inside: 3 }),
        Box::new(Storm { name: "fuzz-interfaces", inside: 2 }),
    ]
}

/// So many messages of a kind, then a look at whether the meter lives.
struct Storm {
    name: &'static str,
    /// Of four callers so many have an association and its keys.
    inside: u64,
}

/// Messages of one caller.
const AT_ONCE: u32 = 20;
/// The longest of them, bytes; beyond what any meter here takes.
const LONGEST: u64 = 5_000;

/// What became of the meter.
#[derive(Default)]
struct Course {
    sent: u32,
    answered: u32,
    closed: u32,
    silences: u32,
    back: u32,
}

impl Procedure for Storm {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let callers = if bench.effort().is_reduced() { 24 } else { 240 };
        let before = bench.log_end()?;
        let mut speaker = must(bench, Role::Reader)?;
        // The login of a real client is what the malformed ones are made from.
        let mut pattern = speaker.take_said();
        let _ = get(bench, &mut speaker, (1, Obis::METER_ID, 2))?;
        pattern.append(&mut speaker.take_said());
        speaker.close(bench.target())?;
        bench.step(format!("{callers} callers with {AT_ONCE} messages each, under a load"));
        let mut course = Course::default();
        let r = bench.ratings();
        let load = LoadPoint::unbalanced(r.hertz, [r.volts; 3], [r.rated_amperes; 3], 20.0);
        let growth = over(bench, |bench| {
            bench.target().load(&load)?;
            let mut uptime = number(bench, Obis::UPTIME)?;
            for _ in 0..callers {
                self.call(bench, &pattern, &mut course)?;
                bench.pass(0.5)?;
                let now = match bench.target().get(&[(1, Obis::UPTIME, 2)]) {
                    Ok(answers) => answers.first().and_then(|one| one.as_ref().ok()).and_then(Value::as_u64),
                    Err(Trouble::Meter(why)) => {
                        bench.step(format!("the utility is not answered: {why}"));
                        None
                    }
                    Err(other) => return Err(other),
                };
                course.silences += u32::from(now.is_none());
                if let Some(now) = now {
                    course.back += u32::from(now < uptime);
                    uptime = now;
                }
                if course.silences > 3 || course.back > 0 {
                    break;
                }
            }
            Ok(())
        })?;
        let starts = entries(bench, before, EventCode::PowerUp)? as u32 + course.back;
        let count = |what: &str, value: u32, limit| Measured::count(what, f64::from(value), limit);
        Ok(vec![
            count("messages sent", course.sent, Limit::at_least(1.0)),
            count("of them answered", course.answered, Limit::at_least(0.0)),
            count("connections that the meter closed", course.closed, Limit::at_least(0.0)),
            count("restarts", starts, Limit::exactly(0.0)),
            count("times that the utility was not answered meanwhile", course.silences, Limit::exactly(0.0)),
            Measured::new(
                "energy registered meanwhile, error",
                growth.error_percent(),
                "%",
                Limit::within(2.0),
                growth.uncertainty_percent,
            ),
        ])
    }
}

impl Storm {
    /// One caller.
    fn call(&self, bench: &mut Bench<'_>, pattern: &[Vec<u8>], course: &mut Course) -> Result<(), Trouble> {
        let role = Role::ALL[(bench.random() % Role::ALL.len() as u64) as usize];
        // The utility's own way in stays free, so that its head-end can be asked.
        let role = if role == Role::Utility { Role::Reader } else { role };
        let inside = role != Role::Public && bench.random() % 4 < self.inside;
        let mut forger = None;
        let way = Caller { role, local: inside || bench.random().is_multiple_of(2) };
        let mut call = if inside {
            // It may have been slowed down too much to be served in time: that is what the meter does with such callers.
            let Ok(speaker) = Speaker::open(bench.target(), way)? else { return Ok(()) };
            forger = Some(Forger::of(bench, &speaker)?);
            speaker.call()
        } else {
            match bench.target().call(way)? {
                Called::Open(call) => call,
                Called::Refused(_) => return Ok(()),
            }
        };
        for _ in 0..AT_ONCE {
            let frame = message(bench, role, pattern, forger.as_mut());
            bench.target().send(call, &frame)?;
            course.sent += 1;
            if !drain(bench, call, course)? {
                course.closed += 1;
                // Whoever has no association comes again at once.
                forger = None;
                match bench.target().call(way)? {
                    Called::Open(again) => call = again,
                    Called::Refused(_) => return Ok(()),
                }
            }
        }
        bench.target().hang_up(call)
    }
}

/// Takes what the meter says now; `false` when it has closed the connection.
fn drain(bench: &mut Bench<'_>, call: CallId, course: &mut Course) -> Result<bool, Trouble> {
    loop {
        match bench.target().receive(call, 0.0)? {
            Received::Bytes(_) => course.answered += 1,
            Received::Nothing => return Ok(true),
            Received::Closed(_) => return Ok(false),
        }
    }
}

fn bytes(bench: &mut Bench<'_>, most: u64) -> Vec<u8> {
    let length = bench.random() % most;
    (0..length).map(|_| bench.random() as u8).collect()
}

/// Something between a message and noise.
fn message(bench: &mut Bench<'_>, role: Role, pattern: &[Vec<u8>], forger: Option<&mut Forger>) -> Vec<u8> {
    let client = role.client_address();
    let kind = bench.random() % 8;
    match (kind, forger) {
        // In an association: what is ciphered and authentic, and no sense in it.
        (0..=4, Some(forger)) => {
            let plain = if kind == 0 { bytes(bench, 400) } else { request(bench) };
            forger.request(bench, &plain)
        }
        (0, _) => bytes(bench, 600),
        (1, _) => {
            // The header lies about the length.
            let mut frame = wire::frame(client, &bytes(bench, 60));
            frame[6] = bench.random() as u8;
            frame[7] = bench.random() as u8;
            frame
        }
        (2, _) => wire::frame(bench.random() as u16, &bytes(bench, LONGEST)),
        (3, _) => wire::frame(client, &bytes(bench, 200)),
        (4, _) => wire::frame(client, &request(bench)),
        _ => {
            // A true message with something altered, left out or put in.
            let place = (bench.random() % pattern.len().max(1) as u64) as usize;
            let mut apdu = pattern.get(place).map(|frame| wire::apdu(frame).to_vec()).unwrap_or_default();
            for _ in 0..1 + bench.random() % 4 {
                let at = (bench.random() % (apdu.len() as u64).max(1)) as usize;
                match bench.random() % 4 {
                    0 if at < apdu.len() => apdu[at] = bench.random() as u8,
                    1 if at < apdu.len() => drop(apdu.remove(at)),
                    2 => apdu.truncate(at),
                    _ => apdu.insert(at.min(apdu.len()), bench.random() as u8),
                }
            }
            wire::frame(client, &apdu)
        }
    }
}

/// A request by the grammar, of objects that are there and others, with values of any kind. Nothing that a role could do harm with: the
/// objects are only asked for, and what is set is of no attribute's type.
fn request(bench: &mut Bench<'_>) -> Vec<u8> {
    const OBJECTS: [(u16, Obis); 6] = [
        (1, Obis::METER_ID),
        (7, Obis::SECURITY_LOG),
        (7, Obis::LOAD_PROFILE),
        (8, Obis::CLOCK),
        (15, Obis::ASSOCIATION),
        (3, Obis::ACTIVE_ENERGY_IMPORT),
    ];
    let (class, obis) = OBJECTS[(bench.random() % OBJECTS.len() as u64) as usize];
    let attribute = (bench.random() % 12) as i8;
    let mut plain = get_request((class, obis, attribute));
    match bench.random() % 6 {
        // Selective access with anything for a selection.
        0 => {
            plain.pop();
            plain.extend([1, bench.random() as u8]);
            plain.extend(data(bench, 0));
        }
        1 => {
            plain[0] = 0xC1;
            plain.extend([0x1B, 0, 0, 0, 0]);
        }
        2 => {
            // Blocks that nobody began.
            plain = vec![0xC0, 2, 0xC1];
            plain.extend((bench.random() as u32).to_be_bytes());
        }
        3 => {
            plain[1] = bench.random() as u8;
            plain.extend(data(bench, 0));
        }
        4 => {
            // A list that says it is longer than it is.
            plain.insert(2, 3);
            plain[1] = 3;
            plain[3] = bench.random() as u8;
        }
        _ => plain.extend(bytes(bench, 40)),
    }
    plain
}

/// A value of any type, lists in lists too.
fn data(bench: &mut Bench<'_>, depth: u32) -> Vec<u8> {
    const TAGS: [u8; 16] = [0, 3, 4, 5, 6, 9, 10, 12, 13, 15, 16, 17, 18, 20, 22, 25];
    if depth < 40 && bench.random().is_multiple_of(2) {
        let count = (bench.random() % 4) as u8;
        // Some say that they hold more.
        let said = if bench.random().is_multiple_of(8) { 0x7F } else { count };
        let mut out = vec![1 + (bench.random() % 2) as u8, said];
        (0..count.min(2)).for_each(|_| out.extend(data(bench, depth + 1)));
        return out;
    }
    let mut out = vec![TAGS[(bench.random() % TAGS.len() as u64) as usize]];
    out.extend(bytes(bench, 14));
    out
}
