//! What somebody on the way sees and can do: everything is recorded and searched, and hello messages are altered.

use meterseal_link::{DlmsClient, Value};
use meterseal_model::Obis;

use super::network::{Probe, answering, calling, no_tls, peer};
use crate::catalogue::Requirement;
use crate::certify::peer::{Shown, Side};
use crate::certify::probes::{
    Alteration, LOGICAL_DEVICE_NAME, Reaction, Session, caller, everything, head_end,
};
use crate::certify::{Bench, Measured, Procedure, Trouble};

pub(super) fn procedures() -> Vec<Box<dyn Procedure>> {
    vec![Box::new(Plaintext), Box::new(Downgrade)]
}

/// `plaintext`.
struct Plaintext;

/// The types of TLS records (RFC 8446, 5.1; and before it RFC 5246, 6.2.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// A session takes more: less was not recorded.
const ENOUGH: usize = 20_000;
/// Shorter secrets stand in random bytes by chance.
const SHORTEST: usize = 6;

impl Procedure for Plaintext {
    fn name(&self) -> &'static str {
        "plaintext"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut probe = Probe::open(bench)?;
        let mut secrets = peer(bench)?.secrets();
        let mut recorded = Vec::new();
        self.head_end(&mut probe, bench, &mut secrets, &mut recorded)?;
        self.caller(&mut probe, bench, &mut secrets, &mut recorded)?;

        // How many bytes that is differs from run to run; that there are enough does not.
        let bytes: usize = recorded.iter().map(|(_, bytes)| bytes.len()).sum();
        let what = format!("{} connections recorded, with more than {ENOUGH} bytes", recorded.len() / 2);
        probe.judge_unkept(bench, &what, bytes > ENOUGH);
        secrets.retain(|(_, secret)| secret.len() >= SHORTEST);
        for (what, secret) in &secrets {
            let seen =
                recorded.iter().any(|(_, bytes)| bytes.windows(secret.len()).any(|part| part == &secret[..]));
            let came = if seen { "found" } else { "not found" };
            bench.step(format!("{what} in the record: {came}"));
        }
        let found = |(_, secret): &&(String, Vec<u8>)| {
            recorded.iter().any(|(_, bytes)| bytes.windows(secret.len()).any(|part| part == &secret[..]))
        };
        let count = secrets.iter().filter(found).count();
        probe.none_of(bench, "names, readings and keys that can be read in the record", count);
        let open = recorded.iter().map(|(_, bytes)| in_the_clear(bytes)).sum();
        probe.none_of(bench, "messages after the hellos that are not encrypted", open);
        for (from_meter, bytes) in &recorded {
            peer(bench)?.note(!from_meter, bytes);
        }
        Ok(probe.found)
    }
}

impl Plaintext {
    /// A session with the head-end, one that is resumed, and one that is refused.
    fn head_end(
        &self,
        probe: &mut Probe,
        bench: &mut Bench<'_>,
        secrets: &mut Vec<(String, Vec<u8>)>,
        recorded: &mut Vec<(bool, Vec<u8>)>,
    ) -> Result<(), Trouble> {
        let good = peer(bench)?.identity(Side::HeadEnd, Shown::Good)?;
        let config = answering(&good, Session::Resumed)?;
        peer(bench)?.redial()?;
        for what in ["a session with the head-end", "a session that is resumed"] {
            let (reaction, stream) =
                probe.wire.answer(&Probe::dialled(bench)?, &config, probe.time.as_ref())?;
            probe.judge_unkept(bench, what, reaction == Reaction::LetIn);
            let Some(mut stream) = stream else { continue };
            learn(secrets, "a name that was read", &probe.wire.ask(&mut stream, &LOGICAL_DEVICE_NAME));
            drop(stream);
            take(probe, recorded);
        }
        if let Some(association) = peer(bench)?.utility() {
            peer(bench)?.redial()?;
            let (reaction, stream) =
                probe.wire.answer(&Probe::dialled(bench)?, &config, probe.time.as_ref())?;
            probe.judge_unkept(bench, "a session in which the utility reads", reaction == Reaction::LetIn);
            if let Some(stream) = stream {
                let read = probe.wire.runtime.block_on(async {
                    let mut client = DlmsClient::associate(stream, association).await?;
                    client.get_list(&[(3, Obis::ACTIVE_ENERGY_IMPORT, 2), (1, Obis::METER_ID, 2)]).await
                });
                let values: Vec<Value> = read.unwrap_or_default().into_iter().flatten().collect();
                probe.judge_unkept(
                    bench,
                    "the utility reads a register and the identifier",
                    values.len() == 2,
                );
                secrets
                    .extend(values.iter().map(|value| ("a value that was read".to_owned(), value.encode())));
                secrets.push(("a register's name".to_owned(), Obis::ACTIVE_ENERGY_IMPORT.0.to_vec()));
            }
            take(probe, recorded);
        }
        let wrong = peer(bench)?.identity(Side::HeadEnd, Shown::OtherRoot)?;
        let reaction = probe.answer(bench, &answering(&wrong, Session::None)?)?;
        probe.judge_unkept(bench, "a head-end that is refused", reaction == Reaction::Refused);
        take(probe, recorded);
        Ok(())
    }

    /// A caller that is let in, and one that is not.
    fn caller(
        &self,
        probe: &mut Probe,
        bench: &mut Bench<'_>,
        secrets: &mut Vec<(String, Vec<u8>)>,
        recorded: &mut Vec<(bool, Vec<u8>)>,
    ) -> Result<(), Trouble> {
        for (shown, wanted) in [(Shown::Good, Reaction::LetIn), (Shown::OtherRoot, Reaction::Refused)] {
            let identity = peer(bench)?.identity(Side::Caller, shown)?;
            let (address, name) = Probe::local(bench)?;
            let config = calling(Some(&identity), Session::None)?;
            let (reaction, stream) = probe.wire.call(address, &name, &config)?;
            let what = format!("a caller with a certificate {}", shown.words());
            probe.judge_unkept(bench, &what, reaction == wanted);
            if let Some(mut stream) = stream {
                learn(secrets, "a name that was read", &probe.wire.ask(&mut stream, &LOGICAL_DEVICE_NAME));
            }
            take(probe, recorded);
        }
        Ok(())
    }
}

/// What an answer holds must not be found either; not the header, which says nothing.
fn learn(secrets: &mut Vec<(String, Vec<u8>)>, what: &str, answer: &[u8]) {
    const HEADERS: usize = 8 + 4;
    if let Some(value) = answer.get(HEADERS..)
        && !value.is_empty()
    {
        secrets.push((what.to_owned(), value.to_vec()));
    }
}

/// Takes what one connection was, each way in one piece: from the meter, and to it.
fn take(probe: &Probe, recorded: &mut Vec<(bool, Vec<u8>)>) {
    let pieces = probe.wire.tape.take();
    for from_meter in [true, false] {
        let way = pieces.iter().filter(|(to_meter, _)| *to_meter != from_meter);
        let bytes: Vec<u8> = way.flat_map(|(_, bytes)| bytes).copied().collect();
        recorded.push((from_meter, bytes));
    }
}

/// How many records after the first handshake message are neither encrypted nor empty signals; what is no record counts too.
fn in_the_clear(mut bytes: &[u8]) -> usize {
    let (mut hellos, mut open) = (0, 0);
    while let [kind, 3, 1..=3, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        // Cut off by the end of the connection.
        let Some(after) = rest.get(length..) else { return open };
        match *kind {
            // A second hello follows a request for another share of a key.
            HANDSHAKE if hellos < 2 => hellos += 1,
            // Two bytes that say why, before there are keys.
            ALERT if length == 2 => {}
            CHANGE_CIPHER_SPEC if length == 1 => {}
            APPLICATION_DATA => {}
            _ => open += 1,
        }
        bytes = after;
    }
    open + usize::from(!bytes.is_empty() && bytes.len() >= 5)
}

/// `downgrade`.
struct Downgrade;

impl Procedure for Downgrade {
    fn name(&self) -> &'static str {
        "downgrade"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut probe = Probe::open(bench)?;
        probe.good_answer(bench)?;
        let good = peer(bench)?.identity(Side::HeadEnd, Shown::Good)?;
        // A head-end that would take whatever is left: so that it is the meter that refuses.
        let willing = head_end(everything(), &good, Session::None).map_err(no_tls)?;
        for alteration in [Alteration::None].into_iter().chain(Alteration::ALL) {
            peer(bench)?.redial()?;
            let reaction = probe.wire.answer_altered(
                &Probe::dialled(bench)?,
                &willing,
                probe.time.as_ref(),
                alteration,
            )?;
            let what = format!("the meter dials, on the way {}", alteration.words());
            if alteration == Alteration::None {
                probe.judge(bench, &what, reaction.words(), reaction == Reaction::LetIn)?;
                continue;
            }
            probe.attack(bench, &what, reaction)?;
            // It dials again by itself: as before, and not with less.
            let (offered, _) = probe.wire.hear(&Probe::dialled(bench)?, |_| None)?;
            let (versions, suites, groups) = offered.weaker();
            probe.none_of(bench, "weaker choices in its next hello", versions + suites + groups);
        }
        let good = peer(bench)?.identity(Side::Caller, Shown::Good)?;
        let willing = caller(everything(), Some(&good), Session::None).map_err(no_tls)?;
        for alteration in [Alteration::None].into_iter().chain(Alteration::ALL) {
            let (address, name) = Probe::local(bench)?;
            let reaction = probe.wire.call_altered(address, &name, &willing, alteration)?;
            let what = format!("a caller, on the way {}", alteration.words());
            if alteration == Alteration::None {
                probe.judge(bench, &what, reaction.words(), reaction == Reaction::LetIn)?;
            } else {
                probe.attack(bench, &what, reaction)?;
            }
        }
        probe.good_answer(bench)?;
        probe.good_call(bench)?;
        Ok(probe.found)
    }
}
