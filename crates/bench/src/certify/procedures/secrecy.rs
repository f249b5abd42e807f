//! What protects DLMS messages: suite, tags, invocation counters, and what becomes of whoever guesses.

use meterseal_link::client::{GlobalKeys, Gmac, Limits, Login, MANAGEMENT_LOGICAL_DEVICE, Opening, Suite};
use meterseal_model::{EventCode, Obis, Role};

use super::callers::{Forger, Heard, entries, get, get_request, local, must};
use crate::catalogue::Requirement;
use crate::certify::wire::{self, Glo, SUITE_0, SUITE_2};
use crate::certify::{
    Bench, Called, Caller, Counters, Limit, Measured, Procedure, Received, Speaker, Trouble, Unserved,
};

pub(super) fn procedures() -> Vec<Box<dyn Procedure>> {
    vec![
        Box::new(DlmsSuite),
        Box::new(LockOut),
        Box::new(ForgedTag),
        Box::new(Replay),
        Box::new(CounterReuse),
    ]
}

/// What is read to see whether somebody is served: every role may, and it changes nothing.
const ASKED: (u16, Obis, i8) = (1, Obis::METER_ID, 2);
/// After so long a strike is forgiven, seconds; and a little more.
const FORGIVEN_SECONDS: f64 = 61.0;

/// An association with other keys or another suite than the bench's credentials say.
fn opening(bench: &mut Bench<'_>, role: Role, login: impl FnOnce(Gmac) -> Login) -> Result<Opening, Trouble> {
    let known = bench.target().credentials(role).ok_or(Trouble::Lacks("keys of the role"))?;
    let gmac = Gmac {
        client_title: known.client,
        keys: GlobalKeys::from(&known.keys),
        invocation_counter: known.counters.ours,
        last_response_counter: known.counters.answers,
        last_push_counter: known.counters.pushes,
    };
    Ok(Opening {
        client_address: role.client_address(),
        server_address: MANAGEMENT_LOGICAL_DEVICE,
        meter: Some(known.meter),
        login: login(gmac),
        pushes: true,
        limits: Limits { response: std::time::Duration::from_secs(600), ..Limits::default() },
    })
}

/// Opens it on a new call. The counters that it may have used are used.
fn try_opening(
    bench: &mut Bench<'_>,
    caller: Caller,
    opening: Opening,
) -> Result<Result<Speaker, Unserved>, Trouble> {
    let role = caller.role;
    let call = match bench.target().call(caller)? {
        Called::Open(call) => call,
        Called::Refused(why) => return Ok(Err(Unserved::Refused(why))),
    };
    let outcome = Speaker::open_with(bench.target(), call, role, opening)?;
    if outcome.is_err() {
        let known = bench.target().credentials(role).map(|known| known.counters).unwrap_or_default();
        bench.target().spent(role, Counters { ours: known.ours + 4, ..known });
        bench.target().hang_up(call)?;
    }
    Ok(outcome)
}

/// Only suite 2 (ENC-06).
struct DlmsSuite;

impl Procedure for DlmsSuite {
    fn name(&self) -> &'static str {
        "dlms-suite"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut weak = 0;
        for suite in [Suite::Zero, Suite::One] {
            for role in [Role::Reader, Role::Utility] {
                bench.step(format!("the {role} with suite {}, AES-128", suite.number()));
                let known = bench.target().credentials(role).ok_or(Trouble::Lacks("keys of the role"))?;
                let half = |key: &[u8; 32]| key[..16].to_vec();
                let keys =
                    GlobalKeys::new(suite, &half(&known.keys.encryption), &half(&known.keys.authentication));
                let keys = keys.map_err(|error| Trouble::Bench(error.to_string()))?;
                let opening = opening(bench, role, |gmac| Login::Gmac(Gmac { keys, ..gmac }))?;
                if let Ok(speaker) = try_opening(bench, Caller::local(role), opening)? {
                    bench.step("it was accepted");
                    weak += 1;
                    speaker.drop_call(bench.target())?;
                }
                bench.pass(FORGIVEN_SECONDS)?;
            }
        }
        bench.step("the reader without a login, in plain");
        let opening = opening(bench, Role::Reader, |_| Login::Public)?;
        if let Ok(speaker) = try_opening(bench, Caller::local(Role::Reader), opening)? {
            weak += 1;
            speaker.drop_call(bench.target())?;
        }
        bench.pass(FORGIVEN_SECONDS)?;
        bench.step("in an association of suite 2: requests under AES-128, without encryption, and in plain");
        let mut answered = 0;
        for kind in 0..3 {
            let speaker = must(bench, Role::Reader)?;
            let mut forger = Forger::of(bench, &speaker)?;
            let (plain, title) = (get_request(ASKED), forger.title());
            let message = match kind {
                0 => {
                    let counter = forger.count(bench);
                    forger.cipher().glo(SUITE_0, title, counter, &plain)
                }
                1 => {
                    // Authenticated only: the text stands in the clear; a tag of nothing is all that the bench can make up.
                    let counter = forger.count(bench);
                    let mut open = plain.clone();
                    open.extend([0; 12]);
                    Glo { tag: 0xC8, control: 0x12, counter, sealed: &open }.encode()
                }
                _ => plain,
            };
            let frame = wire::frame(Role::Reader.client_address(), &message);
            if forger.exchange(bench, &frame)?.is_taken() {
                bench.step("it was answered");
                answered += 1;
            }
            speaker.drop_call(bench.target())?;
            bench.pass(FORGIVEN_SECONDS)?;
        }
        let strong = local(bench, Role::Reader)?.is_ok();
        Ok(vec![
            Measured::count("weaker associations accepted, of 5", f64::from(weak), Limit::exactly(0.0)),
            Measured::count("weaker requests answered, of 3", f64::from(answered), Limit::exactly(0.0)),
            Measured::count(
                "associations of suite 2 accepted, of 1",
                f64::from(u8::from(strong)),
                Limit::exactly(1.0),
            ),
        ])
    }
}

/// Whoever guesses is slowed down, and nobody else (DLM-06).
struct LockOut;

/// Guesses in a row.
const GUESSES: usize = 9;

impl LockOut {
    /// How long each guess took to be answered, seconds.
    fn guess(bench: &mut Bench<'_>, caller: Caller) -> Result<Vec<f64>, Trouble> {
        let mut waits = Vec::new();
        for _ in 0..GUESSES {
            let mut wrong = [0; 64];
            wrong.fill_with(|| bench.random() as u8);
            let opening = opening(bench, caller.role, |gmac| {
                // Of the right length: nothing else can be wrong.
                let keys =
                    GlobalKeys::new(Suite::Two, &wrong[..32], &wrong[32..]).unwrap_or(gmac.keys.clone());
                Login::Gmac(Gmac { keys, ..gmac })
            })?;
            let begun = bench.target().seconds();
            if try_opening(bench, caller, opening)?.is_ok() {
                return Ok(Vec::new());
            }
            waits.push(bench.target().seconds() - begun);
        }
        Ok(waits)
    }
}

impl Procedure for LockOut {
    fn name(&self) -> &'static str {
        "lock-out"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let before = bench.log_end()?;
        let mut measured = Vec::new();
        for (way, caller) in [
            ("local port, reader", Caller::local(Role::Reader)),
            ("local port, utility", Caller::local(Role::Utility)),
            ("network, utility", Caller::HEAD_END),
        ] {
            bench.step(format!("{GUESSES} wrong keys in a row: {way}"));
            let waits = Self::guess(bench, caller)?;
            let all: f64 = waits.iter().sum();
            measured.push(Measured::count(
                format!("{way}: guesses refused"),
                waits.len() as f64,
                Limit::exactly(GUESSES as f64),
            ));
            measured.push(Measured::new(
                format!("{way}: time for {GUESSES} guesses"),
                all,
                "s",
                Limit::at_least(30.0),
                0.1,
            ));
            let (first, last) = (waits.first().copied().unwrap_or(0.0), waits.last().copied().unwrap_or(0.0));
            measured.push(Measured::new(
                format!("{way}: last wait over the first"),
                last / first.max(0.1),
                "",
                Limit::at_least(8.0),
                0.0,
            ));
            if caller.local {
                // Whoever stands at the terminals keeps nobody else out.
                bench.step("another role at the same port, and the utility over the network");
                let begun = bench.target().seconds();
                let other = local(bench, Role::Bench)?;
                if let Ok(other) = other {
                    other.close(bench.target())?;
                    measured.push(Measured::new(
                        format!("{way}: another role waits"),
                        bench.target().seconds() - begun,
                        "s",
                        Limit::at_most(1.0),
                        0.1,
                    ));
                } else {
                    measured.push(Measured::count("other roles served", 0.0, Limit::exactly(1.0)));
                }
                let begun = bench.target().seconds();
                bench.target().get(&[ASKED])?;
                measured.push(Measured::new(
                    format!("{way}: the utility's head-end waits"),
                    bench.target().seconds() - begun,
                    "s",
                    Limit::at_most(1.0),
                    0.1,
                ));
            }
        }
        // The head-end itself is served again once the guessing has ended.
        bench.pass(300.0)?;
        let logged = entries(bench, before, EventCode::FailedLogins)?;
        measured.push(Measured::count(
            "entries \"failed_logins\" (event 46)",
            logged as f64,
            // Each third of the guesses.
            Limit::at_least(3.0),
        ));
        Ok(measured)
    }
}

/// Forged messages are refused (DLM-04).
struct ForgedTag;

impl Procedure for ForgedTag {
    fn name(&self) -> &'static str {
        "forged-tag"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let before = bench.log_end()?;
        let plain = get_request(ASKED);
        // Ciphertext and tag, byte by byte; then another key, another title, no tag.
        let bytes = plain.len() + 12;
        let mut speaker = must(bench, Role::Reader)?;
        let mut forger = Forger::of(bench, &speaker)?;
        bench.step(format!("each of {bytes} bytes of ciphertext and tag altered; another key; another system title; a short tag"));
        let (mut taken, mut sent) = (0, 0);
        for place in 0..bytes + 3 {
            let (counter, title) = (forger.count(bench), forger.title());
            let mut sealed = forger.cipher().seal(SUITE_2, title, counter, &plain);
            match place.checked_sub(bytes) {
                None => sealed[place] ^= 1 << (bench.random() % 8),
                Some(0) => {
                    let mut keys = bench
                        .target()
                        .credentials(Role::Bench)
                        .ok_or(Trouble::Lacks("keys of the bench"))?
                        .keys;
                    std::mem::swap(&mut keys.encryption, &mut keys.authentication);
                    sealed = wire::Cipher::new(keys).seal(SUITE_2, title, counter, &plain);
                }
                Some(1) => sealed = forger.cipher().seal(SUITE_2, *b"MSBENCH2", counter, &plain),
                Some(_) => sealed.truncate(plain.len()),
            }
            let message = Glo { tag: 0xC8, control: SUITE_2, counter, sealed: &sealed }.encode();
            let heard = forger.exchange(bench, &wire::frame(Role::Reader.client_address(), &message))?;
            sent += 1;
            if heard.is_taken() {
                bench.step(format!("forgery {place} was answered"));
                taken += 1;
            }
            if heard == Heard::Closed || heard == Heard::Nothing {
                speaker.drop_call(bench.target())?;
                bench.pass(FORGIVEN_SECONDS)?;
                speaker = must(bench, Role::Reader)?;
                forger = Forger::of(bench, &speaker)?;
            }
        }
        speaker.drop_call(bench.target())?;
        bench.pass(10.0 * FORGIVEN_SECONDS)?;
        let mut speaker = must(bench, Role::Reader)?;
        let served = get(bench, &mut speaker, ASKED)?.is_ok();
        speaker.close(bench.target())?;
        let logged = entries(bench, before, EventCode::UndecryptableMessage)?;
        Ok(vec![
            Measured::count(
                format!("forged messages taken, of {sent}"),
                f64::from(taken),
                Limit::exactly(0.0),
            ),
            Measured::count("entries \"undecryptable_message\"", logged as f64, Limit::at_least(1.0)),
            Measured::count(
                "the reader with the right key is served",
                f64::from(u8::from(served)),
                Limit::exactly(1.0),
            ),
        ])
    }
}

/// Recorded messages are refused (DLM-02).
struct Replay;

impl Replay {
    /// Sends a recorded frame in an association of its role; whether it was taken.
    fn again(bench: &mut Bench<'_>, speaker: &Speaker, frame: &[u8]) -> Result<bool, Trouble> {
        let mut forger = Forger::of(bench, speaker)?;
        Ok(forger.exchange(bench, frame)?.is_taken())
    }
}

impl Procedure for Replay {
    fn name(&self) -> &'static str {
        "replay"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let before = bench.log_end()?;
        let taken = |measured: &mut Vec<Measured>, when: &str, taken: bool| {
            let what = format!("a recorded request taken again {when}");
            measured.push(Measured::count(what, f64::from(u8::from(taken)), Limit::exactly(0.0)));
            taken
        };
        let mut measured = Vec::new();
        bench.step("a request is recorded, and sent again at once");
        let mut speaker = must(bench, Role::Reader)?;
        let login = speaker.take_said();
        let _ = get(bench, &mut speaker, ASKED)?;
        let recorded =
            speaker.take_said().pop().ok_or_else(|| Trouble::Bench("nothing was sent".to_owned()))?;
        let at_once = Self::again(bench, &speaker, &recorded)?;
        speaker.drop_call(bench.target())?;
        if taken(&mut measured, "at once", at_once) {
            return Ok(measured);
        }
        bench.step("the whole login is sent again on a new connection, and the request behind it");
        bench.pass(FORGIVEN_SECONDS)?;
        let Called::Open(call) = bench.target().call(Caller::local(Role::Reader))? else {
            return Err(Trouble::Meter("it takes no second connection".to_owned()));
        };
        let mut login_taken = false;
        for frame in login.iter().chain([&recorded]) {
            bench.target().send(call, frame)?;
            if let Received::Bytes(bytes) = bench.target().receive(call, super::callers::PATIENCE_SECONDS)? {
                // The challenge is new each time, so it gets no further than to the answer to the first.
                login_taken |= matches!(wire::apdu(&bytes).first(), Some(0xC4..=0xC7 | 0xCC..=0xCF));
            }
        }
        bench.target().hang_up(call)?;
        if taken(&mut measured, "behind a recorded login", login_taken) {
            return Ok(measured);
        }
        bench.pass(FORGIVEN_SECONDS)?;
        bench.step("sent again after a reconnect");
        let speaker = must(bench, Role::Reader)?;
        let later = Self::again(bench, &speaker, &recorded)?;
        speaker.drop_call(bench.target())?;
        if taken(&mut measured, "after a reconnect", later) {
            return Ok(measured);
        }
        bench.step("sent again after a restart");
        bench.target().supply(false)?;
        bench.pass(2.0)?;
        bench.target().supply(true)?;
        bench.pass(2.0)?;
        let speaker = must(bench, Role::Reader)?;
        let restarted = Self::again(bench, &speaker, &recorded)?;
        speaker.drop_call(bench.target())?;
        taken(&mut measured, "after a restart", restarted);
        bench.pass(FORGIVEN_SECONDS)?;
        let logged = entries(bench, before, EventCode::ReplayedMessage)?;
        measured.push(Measured::count("entries \"replayed_message\"", logged as f64, Limit::at_least(3.0)));
        Ok(measured)
    }
}

/// No counter comes twice under a key (DLM-03).
struct CounterReuse;

impl Procedure for CounterReuse {
    fn name(&self) -> &'static str {
        "counter-reuse"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let rounds = bench.effort().runs.max(3) * 2;
        let mut measured = Vec::new();
        for role in [Role::Reader, Role::Utility] {
            bench.step(format!(
                "the {role}'s answers over {rounds} associations, with cuts of the supply between"
            ));
            let mut seen: Vec<u32> = Vec::new();
            for round in 0..rounds {
                // A client that remembers nothing of the meter's counters, so that it hears everything.
                let opening = opening(bench, role, |gmac| {
                    Login::Gmac(Gmac { last_response_counter: 0, last_push_counter: 0, ..gmac })
                })?;
                let opened = try_opening(bench, Caller::local(role), opening)?;
                let mut speaker =
                    opened.map_err(|why| Trouble::Meter(format!("it does not serve the {role}: {why}")))?;
                for _ in 0..5 {
                    let _ = get(bench, &mut speaker, ASKED)?;
                }
                let heard = speaker.take_heard();
                seen.extend(heard.iter().filter_map(|frame| wire::counter_of(wire::apdu(frame))));
                if round % 2 == 0 {
                    // In the middle of it all, and without warning.
                    bench.target().supply(false)?;
                    let away = 0.5 + 2.0 * bench.uniform();
                    bench.pass(away)?;
                    bench.target().supply(true)?;
                    bench.pass(1.0)?;
                } else {
                    speaker.close(bench.target())?;
                }
            }
            let falls = seen.windows(2).filter(|pair| pair[1] <= pair[0]).count();
            let messages = seen.len();
            seen.sort_unstable();
            seen.dedup();
            measured.push(Measured::count(
                format!("{role}: counters that came again, of {messages}"),
                (messages - seen.len()) as f64,
                Limit::exactly(0.0),
            ));
            measured.push(Measured::count(
                format!("{role}: counters that did not rise"),
                falls as f64,
                Limit::exactly(0.0),
            ));
            measured.push(Measured::count(
                format!("{role}: ciphered messages heard"),
                messages as f64,
                // Two of the login and five answers, at each.
                Limit::at_least(f64::from(rounds) * 6.0),
            ));
        }
        Ok(measured)
    }
}
