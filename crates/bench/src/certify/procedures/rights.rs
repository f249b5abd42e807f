//! Who may do what: every object, attribute and method for every role, the object list, the clock and the supply's switch.

use meterseal_link::Value;
use meterseal_link::client::CosemDateTime;
use meterseal_model::objects::{self, Access, Class};
use meterseal_model::{EventCode, Obis, Role};

use super::callers::{Answer, Forger, Heard, act, answer, entries, get, local, must, set};
use crate::catalogue::Requirement;
use crate::certify::{Bench, Caller, Limit, Measured, Procedure, Speaker, Trouble, Unserved};

pub(super) fn procedures() -> Vec<Box<dyn Procedure>> {
    vec![Box::new(Rights), Box::new(ObjectList), Box::new(Disconnect)]
}

/// An attribute (or a method) and whether a role may have it.
type Item = (u16, Obis, i8);

/// Items in one message.
const AT_ONCE: usize = 16;
const PROFILE_GENERIC: u16 = 7;
const ASSOCIATION: u16 = 15;
const CLOCK: u16 = 8;

/// Every right of every role (DLM-01, VER-03).
struct Rights;

/// What a role's rights came to.
#[derive(Default)]
struct Course {
    /// Allowed, and refused.
    withheld: Vec<String>,
    /// Not allowed, and not refused.
    granted: Vec<String>,
    tried: usize,
}

impl Course {
    fn judge(&mut self, allowed: bool, answer: Answer, what: &str, (class, obis, index): Item) {
        self.tried += 1;
        match (allowed, answer) {
            (true, Answer::Taken) | (false, Answer::Denied) => {}
            (true, _) => self.withheld.push(format!("{what} {class} {obis} {index}")),
            (false, _) => self.granted.push(format!("{what} {class} {obis} {index}")),
        }
    }
}

impl Procedure for Rights {
    fn name(&self) -> &'static str {
        "rights"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        if !bench.profile().object_model_is_ours {
            return Err(Trouble::Lacks("table of the rights in this maker's object model"));
        }
        let before = bench.log_end()?;
        let mut measured = Vec::new();
        let (mut unserved, mut served) = (0.0, 0usize);
        for role in Role::ALL {
            bench.step(format!("every attribute and method as the {role}"));
            let mut course = Course::default();
            match local(bench, role)? {
                Ok(mut speaker) => {
                    served += 1;
                    read_all(bench, &mut speaker, role, &mut course)?;
                    write_all(bench, speaker, role, &mut course)?;
                }
                Err(why) => {
                    bench.step(format!("the {role} is not served: {why}"));
                    unserved += 1.0;
                }
            }
            for what in course.withheld.iter().chain(&course.granted).take(20) {
                bench.step(format!("{role}: {what} is not as the rights say"));
            }
            let count = |list: &[String]| list.len() as f64;
            measured.push(Measured::count(
                format!("{role}: allowed and refused, of {}", course.tried),
                count(&course.withheld),
                Limit::exactly(0.0),
            ));
            measured.push(Measured::count(
                format!("{role}: not allowed and not refused, of {}", course.tried),
                count(&course.granted),
                Limit::exactly(0.0),
            ));
        }
        measured.push(Measured::count("roles that are not served", unserved, Limit::exactly(0.0)));
        bench.step("the utility's and every other role with the certificate of another; the installer over the network");
        let mut borrowed = 0;
        for certificate in Role::ALL {
            for role in Role::ALL.into_iter().filter(|role| *role != certificate && *role != Role::Public) {
                if let Ok(speaker) = Speaker::open_as(bench.target(), Caller::local(certificate), role)? {
                    bench.step(format!("the {role} is served with the certificate of the {certificate}"));
                    speaker.drop_call(bench.target())?;
                    borrowed += 1;
                }
            }
        }
        if let Ok(speaker) = Speaker::open(bench.target(), Caller::network(Role::Installer))? {
            speaker.drop_call(bench.target())?;
            borrowed += 1;
        }
        measured.push(Measured::count(
            "roles taken with another's certificate or way in",
            f64::from(borrowed),
            Limit::exactly(0.0),
        ));
        bench.pass(600.0)?;
        bench.step("an hour ahead, as each role that may not set the clock");
        let moved = clocks_moved(bench)?;
        measured.push(Measured::count("clocks moved by who may not", moved as f64, Limit::exactly(0.0)));
        let logged = entries(bench, before, EventCode::UnauthorisedAct)?;
        measured.push(Measured::count(
            "entries of refusals in the security log",
            logged as f64,
            // Once an association at least.
            Limit::at_least(served as f64),
        ));
        Ok(measured)
    }
}

/// Every attribute of the table, and one beyond each object's last.
fn attributes() -> impl Iterator<Item = Item> {
    objects::OBJECTS.iter().flat_map(|object| {
        let last = object.attributes.iter().map(|attribute| attribute.index).max().unwrap_or(1);
        (1..=last + 1).map(|index| (object.class.id(), object.obis, index))
    })
}

fn access(role: Role, (class, obis, index): Item) -> Access {
    objects::find(class, obis).map_or(Access::None, |object| object.access(role, index))
}

fn may_read(role: Role, item: Item) -> bool {
    matches!(access(role, item), Access::Read | Access::ReadWrite)
}

fn may_write(role: Role, item: Item) -> bool {
    matches!(access(role, item), Access::Write | Access::ReadWrite)
}

fn read_all(
    bench: &mut Bench<'_>,
    speaker: &mut Speaker,
    role: Role,
    course: &mut Course,
) -> Result<(), Trouble> {
    // What is long goes alone; what is refused goes together, since whoever is refused is answered later each time.
    let long =
        |item: &Item| may_read(role, *item) && matches!((item.0, item.2), (PROFILE_GENERIC | ASSOCIATION, 2));
    for item in attributes().filter(long) {
        let outcome = get(bench, speaker, item)?;
        course.judge(true, answer(&outcome), "GET", item);
    }
    let (allowed, refused): (Vec<Item>, Vec<Item>) =
        attributes().filter(|item| !long(item)).partition(|item| may_read(role, *item));
    for (list, is_allowed) in [(allowed, true), (refused, false)] {
        for chunk in list.chunks(AT_ONCE) {
            let outcome = speaker.ask(bench.target(), async |client| client.get_list(chunk).await)?;
            match outcome {
                Ok(answers) => {
                    for (item, one) in chunk.iter().zip(answers) {
                        let one = one.map_err(|refusal| Unserved::Client(refusal.into()));
                        course.judge(is_allowed, answer(&one), "GET", *item);
                    }
                }
                Err(why) => chunk.iter().for_each(|item| {
                    let refused: Result<(), &Unserved> = Err(&why);
                    let answer = refused.map_or(Answer::Unserved, |()| Answer::Taken);
                    course.judge(is_allowed, answer, "GET", *item);
                }),
            }
        }
    }
    Ok(())
}

/// Attributes are set to nothing at all, methods invoked with a text: whoever may not is refused before that is looked at, and whoever may
/// changes nothing by it.
fn write_all(
    bench: &mut Bench<'_>,
    mut speaker: Speaker,
    role: Role,
    course: &mut Course,
) -> Result<(), Trouble> {
    let methods: Vec<Item> = objects::OBJECTS
        .iter()
        // The answer to the challenge is a part of the association.
        .filter(|object| object.class != Class::AssociationLn)
        .flat_map(|object| {
            let last = object.methods.iter().map(|method| method.index).max().unwrap_or(0);
            (1..=last + 1).map(|index| (object.class.id(), object.obis, index))
        })
        .collect();
    let may_invoke = |(class, obis, index): Item| {
        objects::find(class, obis).is_some_and(|object| object.may_invoke(role, index))
    };
    for item in attributes().filter(|item| may_write(role, *item)) {
        let outcome = set(bench, &mut speaker, item, Value::Null)?;
        course.judge(true, answer(&outcome), "SET", item);
    }
    for item in methods.iter().copied().filter(|item| may_invoke(*item)) {
        let outcome = act(bench, &mut speaker, item, Some(Value::Text("?".to_owned())))?;
        course.judge(true, answer(&outcome), "ACTION", item);
    }
    let refused: Vec<Item> = attributes().filter(|item| !may_write(role, *item)).collect();
    let barred: Vec<Item> = methods.into_iter().filter(|item| !may_invoke(*item)).collect();
    if role == Role::Public {
        // Nothing is ciphered here, and it is refused few things at a time.
        for item in refused.into_iter().step_by(7) {
            let outcome = set(bench, &mut speaker, item, Value::Null)?;
            course.judge(false, answer(&outcome), "SET", item);
        }
        for item in barred.into_iter().step_by(3) {
            let outcome = act(bench, &mut speaker, item, Some(Value::I8(0)))?;
            course.judge(false, answer(&outcome), "ACTION", item);
        }
        return speaker.close(bench.target());
    }
    let mut forger = Forger::of(bench, &speaker)?;
    for (list, what, head, value) in
        [(refused, "SET", [0xC1, 4, 0xC1], vec![0]), (barred, "ACTION", [0xC3, 3, 0xC1], vec![0x0F, 0])]
    {
        for chunk in list.chunks(AT_ONCE) {
            let request = with_list(head, chunk, what == "SET", &value);
            let frame = forger.request(bench, &request);
            let heard = forger.exchange(bench, &frame)?;
            for (item, result) in chunk.iter().zip(results(&heard, chunk.len())) {
                course.judge(false, result, what, *item);
            }
        }
    }
    speaker.drop_call(bench.target())
}

/// A SET or ACTION with list.
fn with_list(head: [u8; 3], items: &[Item], selects: bool, value: &[u8]) -> Vec<u8> {
    let mut plain = head.to_vec();
    plain.push(items.len() as u8);
    for (class, obis, index) in items {
        plain.extend_from_slice(&class.to_be_bytes());
        plain.extend_from_slice(&obis.0);
        plain.push(*index as u8);
        if selects {
            plain.push(0);
        }
    }
    plain.push(items.len() as u8);
    items.iter().for_each(|_| plain.extend_from_slice(value));
    plain
}

/// The results of either: a byte each, and for an ACTION another that says that nothing is returned.
fn results(heard: &Heard, count: usize) -> Vec<Answer> {
    const DENIED: u8 = 3;
    let Heard::Answer(plain) = heard else { return vec![Answer::Unserved; count] };
    let step = match plain.get(..2) {
        Some([0xC5, 5]) => 1,
        Some([0xC7, 3]) => 2,
        _ => return vec![Answer::Unserved; count],
    };
    let result = |place: usize| plain.get(4 + place * step).copied();
    (0..count)
        .map(|place| if result(place) == Some(DENIED) { Answer::Denied } else { Answer::Taken })
        .collect()
}

/// Each role that may not sets the clock an hour ahead; how many moved it.
fn clocks_moved(bench: &mut Bench<'_>) -> Result<usize, Trouble> {
    const HOUR_MS: i64 = 3_600_000;
    let clock = bench.profile().obis(Obis::CLOCK);
    let mut moved = 0;
    for role in Role::ALL.into_iter().filter(|role| !may_write(*role, (CLOCK, Obis::CLOCK, 2))) {
        let shown = time(bench)?;
        let asked = bench.target().seconds();
        let Ok(mut speaker) = local(bench, role)? else { continue };
        let ahead = meterseal_model::UnixMillis(shown.0 + HOUR_MS);
        let Some(ahead) = CosemDateTime::from_unix(ahead) else { continue };
        let _ = set(bench, &mut speaker, (CLOCK, clock, 2), Value::Bytes(ahead.0.to_vec()))?;
        speaker.close(bench.target())?;
        bench.pass(1.0)?;
        let passed = (bench.target().seconds() - asked) * 1000.0;
        let change = (time(bench)?.0 - shown.0) as f64 - passed;
        if change.abs() > 60_000.0 {
            bench.step(format!("the {role} has moved the clock by {change:.0} ms"));
            moved += 1;
        }
    }
    Ok(moved)
}

/// What the head-end reads of the clock.
pub(super) fn time(bench: &mut Bench<'_>) -> Result<meterseal_model::UnixMillis, Trouble> {
    let clock = bench.profile().obis(Obis::CLOCK);
    let answers = bench.target().get(&[(CLOCK, clock, 2)])?;
    let shown = answers.first().and_then(|answer| answer.as_ref().ok()).and_then(Value::as_time);
    shown.ok_or_else(|| Trouble::Meter("its clock shows no time".to_owned()))
}

/// What the meter says it has is what it has (DLM-07).
struct ObjectList;

/// An object of a list: class, name, readable attributes and all attributes.
struct Listed {
    class: u16,
    obis: Obis,
    readable: Vec<i8>,
    others: Vec<i8>,
}

impl Procedure for ObjectList {
    fn name(&self) -> &'static str {
        "object-list"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut lists = Vec::new();
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Public) {
            bench.step(format!("the object list of the {role}"));
            let Ok(mut speaker) = local(bench, role)? else { continue };
            let list = get(bench, &mut speaker, (ASSOCIATION, Obis::ASSOCIATION, 2))?;
            let list =
                list.map_err(|why| Trouble::Meter(format!("it gives the {role} no object list: {why}")))?;
            lists.push((
                role,
                objects_of(list).ok_or_else(|| {
                    Trouble::Meter("its object list is none of class 15, version 1".to_owned())
                })?,
            ));
            speaker.close(bench.target())?;
        }
        let all: Vec<(u16, Obis)> = {
            let mut all: Vec<_> =
                lists.iter().flat_map(|(_, list)| list.iter().map(|one| (one.class, one.obis))).collect();
            all.sort_unstable_by_key(|(class, obis)| (*class, obis.0));
            all.dedup();
            all
        };
        let mut measured =
            vec![Measured::count("roles with a list", lists.len() as f64, Limit::at_least(1.0))];
        for (role, list) in &lists {
            let mut speaker = must(bench, *role)?;
            let (mut silent, mut hidden) = (0, 0);
            for one in list {
                let class_is_long = one.class == PROFILE_GENERIC || one.class == ASSOCIATION;
                for attribute in one.readable.iter().filter(|index| !(class_is_long && **index == 2)) {
                    let outcome = get(bench, &mut speaker, (one.class, one.obis, *attribute))?;
                    if !is_there(&outcome) {
                        bench.step(format!(
                            "{role}: {} attribute {attribute} is listed and not to be read",
                            one.obis
                        ));
                        silent += 1;
                    }
                }
            }
            // What is listed as not readable, what others have, and what nobody has.
            let mut tries: Vec<Item> = list
                .iter()
                .flat_map(|one| one.others.iter().map(|index| (one.class, one.obis, *index)))
                .collect();
            let unlisted = all
                .iter()
                .filter(|(class, obis)| !list.iter().any(|one| (one.class, one.obis) == (*class, *obis)));
            tries.extend(unlisted.map(|(class, obis)| (*class, *obis, 2)));
            for _ in 0..32 {
                let (class, mut obis) = all[(bench.random() % all.len() as u64) as usize];
                obis.0[2 + (bench.random() % 3) as usize] = bench.random() as u8;
                if !all.iter().any(|(_, known)| *known == obis) {
                    tries.push((class, obis, 2));
                }
            }
            for chunk in tries.chunks(AT_ONCE) {
                let outcome = speaker.ask(bench.target(), async |client| client.get_list(chunk).await)?;
                for ((_, obis, index), answer) in chunk.iter().zip(outcome.unwrap_or_default()) {
                    if answer.is_ok() {
                        bench.step(format!("{role}: {obis} attribute {index} is not listed and can be read"));
                        hidden += 1;
                    }
                }
            }
            speaker.close(bench.target())?;
            measured.push(Measured::count(
                format!("{role}: listed attributes that cannot be read, of {} objects", list.len()),
                f64::from(silent),
                Limit::exactly(0.0),
            ));
            measured.push(Measured::count(
                format!("{role}: attributes that are not listed and can be read, of {} tried", tries.len()),
                f64::from(hidden),
                Limit::exactly(0.0),
            ));
        }
        Ok(measured)
    }
}

/// Whether an attribute is there and may be read: a value may be away for the moment.
fn is_there(outcome: &Result<Value, Unserved>) -> bool {
    use meterseal_link::ClientError;
    use meterseal_link::client::AccessError::{Denied, NoSuchObject, WrongClass};
    match outcome {
        Err(Unserved::Client(ClientError::Access(Denied | NoSuchObject | WrongClass))) => false,
        other => answer(other) == Answer::Taken,
    }
}

/// Reads an object list (IEC 62056-6-2, class 15, version 1).
fn objects_of(list: Value) -> Option<Vec<Listed>> {
    let read = |one: Value| {
        let fields = one.into_list()?;
        let [class, _, name, rights] = fields.as_slice() else { return None };
        let [attributes, _] = rights.as_list()? else { return None };
        let (mut readable, mut others) = (Vec::new(), Vec::new());
        for attribute in attributes.as_list()? {
            let [index, mode, ..] = attribute.as_list()? else { return None };
            let index = i8::try_from(index.as_i64()?).ok()?;
            // 1 is read, 3 read and write; with authentication 4 and 6.
            let list = if matches!(mode.as_u64()?, 1 | 3 | 4 | 6) { &mut readable } else { &mut others };
            list.push(index);
        }
        Some(Listed { class: u16::try_from(class.as_u64()?).ok()?, obis: name.as_obis()?, readable, others })
    };
    list.into_list()?.into_iter().map(read).collect()
}

/// Only the utility switches the supply (DLM-09).
struct Disconnect;

const DISCONNECT_CONTROL: u16 = 70;

impl Procedure for Disconnect {
    fn name(&self) -> &'static str {
        "disconnect"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut switched = 0;
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Utility) {
            bench.step(format!("disconnect and reconnect as the {role}"));
            let Ok(mut speaker) = local(bench, role)? else { continue };
            for method in [1, 2] {
                let item = (DISCONNECT_CONTROL, Obis::DISCONNECT_CONTROL, method);
                let outcome = act(bench, &mut speaker, item, Some(Value::I8(0)))?;
                if outcome.is_ok() || !is_connected(bench)? {
                    bench.step(format!("the {role} has switched the supply"));
                    switched += 1;
                }
            }
            speaker.close(bench.target())?;
        }
        let mut measured = vec![Measured::count(
            "commands of others that were carried out",
            f64::from(switched),
            Limit::exactly(0.0),
        )];
        if switched > 0 {
            return Ok(measured);
        }
        bench.step("disconnect and reconnect as the utility");
        let before = bench.log_end()?;
        let mut done = 0;
        for (method, connected) in [(1, false), (2, true)] {
            let mut speaker = must(bench, Role::Utility)?;
            let item = (DISCONNECT_CONTROL, Obis::DISCONNECT_CONTROL, method);
            let outcome = act(bench, &mut speaker, item, Some(Value::I8(0)))?;
            speaker.close(bench.target())?;
            bench.pass(1.0)?;
            done += usize::from(outcome.is_ok() && is_connected(bench)? == connected);
        }
        measured.push(Measured::count(
            "commands of the utility that were carried out",
            done as f64,
            Limit::exactly(2.0),
        ));
        for code in [EventCode::RemoteDisconnection, EventCode::RemoteReconnection] {
            let logged = entries(bench, before, code)?;
            measured.push(Measured::count(
                format!("entries \"{}\"", code.name()),
                logged as f64,
                Limit::exactly(1.0),
            ));
        }
        Ok(measured)
    }
}

fn is_connected(bench: &mut Bench<'_>) -> Result<bool, Trouble> {
    let answers = bench.target().get(&[(DISCONNECT_CONTROL, Obis::DISCONNECT_CONTROL, 2)])?;
    let state = answers.first().and_then(|answer| answer.as_ref().ok()).and_then(Value::as_bool);
    state.ok_or_else(|| Trouble::Meter("its disconnect control shows no state".to_owned()))
}
