//! Callers of the meter, ordinary and hostile: what the procedures about DLMS/COSEM have in common.

use meterseal_link::ClientError;
use meterseal_link::Value;
use meterseal_link::client::AccessError;
use meterseal_model::{Obis, Role};

use crate::certify::wire::{self, Cipher, Glo, SUITE_2};
use crate::certify::{Bench, CallId, Caller, Counters, Credentials, Received, Speaker, Trouble, Unserved};

/// Longer than a meter withholds an answer, seconds.
pub(super) const PATIENCE_SECONDS: f64 = 150.0;

/// An association at the local port, where every role may come.
pub(super) fn local(bench: &mut Bench<'_>, role: Role) -> Result<Result<Speaker, Unserved>, Trouble> {
    Speaker::open(bench.target(), Caller::local(role))
}

/// The same of a role that must be served for the test to go on.
pub(super) fn must(bench: &mut Bench<'_>, role: Role) -> Result<Speaker, Trouble> {
    let opened = local(bench, role)?;
    opened.map_err(|why| Trouble::Meter(format!("it does not serve the {role} at its local port: {why}")))
}

/// What an answer amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The request was taken for good, whatever came of it.
    Taken,
    /// The right is lacking.
    Denied,
    /// It was not served at all.
    Unserved,
}

/// What became of something asked.
pub(super) fn answer<T>(outcome: &Result<T, Unserved>) -> Answer {
    match outcome {
        Ok(_) => Answer::Taken,
        Err(Unserved::Client(ClientError::Access(AccessError::Denied))) => Answer::Denied,
        Err(Unserved::Client(ClientError::Access(_) | ClientError::AnswerTooLong)) => Answer::Taken,
        Err(_) => Answer::Unserved,
    }
}

/// Reads one attribute.
pub(super) fn get(
    bench: &mut Bench<'_>,
    speaker: &mut Speaker,
    (class, obis, attribute): (u16, Obis, i8),
) -> Result<Result<Value, Unserved>, Trouble> {
    speaker.ask(bench.target(), async |client| client.get(class, obis, attribute).await)
}

/// Sets one attribute.
pub(super) fn set(
    bench: &mut Bench<'_>,
    speaker: &mut Speaker,
    (class, obis, attribute): (u16, Obis, i8),
    value: Value,
) -> Result<Result<(), Unserved>, Trouble> {
    speaker.ask(bench.target(), async |client| client.set(class, obis, attribute, value).await)
}

/// Invokes a method.
pub(super) fn act(
    bench: &mut Bench<'_>,
    speaker: &mut Speaker,
    (class, obis, method): (u16, Obis, i8),
    parameter: Option<Value>,
) -> Result<Result<Value, Unserved>, Trouble> {
    speaker.ask(bench.target(), async |client| client.action(class, obis, method, parameter).await)
}

/// A number that the head-end reads of a Data object.
pub(super) fn number(bench: &mut Bench<'_>, obis: Obis) -> Result<u64, Trouble> {
    const DATA: u16 = 1;
    let answers = bench.target().get(&[(DATA, obis, 2)])?;
    let value = answers.first().and_then(|answer| answer.as_ref().ok()).and_then(Value::as_u64);
    value.ok_or_else(|| Trouble::Meter(format!("it shows no number at {obis} to the utility")))
}

/// An octet string that the head-end reads of a Data object.
pub(super) fn octets(bench: &mut Bench<'_>, obis: Obis) -> Result<Vec<u8>, Trouble> {
    let answers = bench.target().get(&[(1, obis, 2)])?;
    let value = answers.first().and_then(|answer| answer.as_ref().ok()).and_then(Value::as_bytes);
    let value = value.map(<[u8]>::to_vec);
    value.ok_or_else(|| Trouble::Meter(format!("it shows no octets at {obis} to the utility")))
}

/// How many entries of the log after this number have this code.
pub(super) fn entries(
    bench: &mut Bench<'_>,
    after: u64,
    code: meterseal_model::EventCode,
) -> Result<usize, Trouble> {
    let number = bench.profile().event(code);
    Ok(bench.log_after(after)?.iter().filter(|entry| entry.code == number).count())
}

/// Somebody in an association who makes their messages themselves.
pub(super) struct Forger {
    call: CallId,
    role: Role,
    known: Credentials,
    cipher: Cipher,
    counter: u32,
}

impl Forger {
    /// Takes an association over from an ordinary client.
    pub(super) fn of(bench: &mut Bench<'_>, speaker: &Speaker) -> Result<Self, Trouble> {
        let known = bench.target().credentials(speaker.role());
        let known = known.ok_or(Trouble::Lacks("keys of the role"))?;
        let cipher = Cipher::new(known.keys.clone());
        Ok(Self { call: speaker.call(), role: speaker.role(), counter: known.counters.ours, known, cipher })
    }

    pub(super) fn cipher(&self) -> &Cipher {
        &self.cipher
    }

    pub(super) fn title(&self) -> [u8; 8] {
        self.known.client.0
    }

    /// A counter that nobody has used.
    pub(super) fn count(&mut self, bench: &mut Bench<'_>) -> u32 {
        self.counter += 1;
        bench.target().spent(self.role, Counters { ours: self.counter, ..Counters::default() });
        self.counter
    }

    /// The frame of a request in order.
    pub(super) fn request(&mut self, bench: &mut Bench<'_>, plain: &[u8]) -> Vec<u8> {
        let counter = self.count(bench);
        wire::frame(self.role.client_address(), &self.cipher.glo(SUITE_2, self.title(), counter, plain))
    }

    /// Sends a frame, and gives the meter's message in answer, opened if it is ciphered under this role's keys.
    pub(super) fn exchange(&mut self, bench: &mut Bench<'_>, frame: &[u8]) -> Result<Heard, Trouble> {
        bench.target().send(self.call, frame)?;
        self.hear(bench)
    }

    fn hear(&mut self, bench: &mut Bench<'_>) -> Result<Heard, Trouble> {
        /// A push: it answers nothing.
        const PUSH: u8 = 0xDB;
        loop {
            let received = bench.target().receive(self.call, PATIENCE_SECONDS)?;
            match &received {
                Received::Bytes(bytes) if wire::apdu(bytes).first() == Some(&PUSH) => {}
                _ => return Ok(self.read(bench, received)),
            }
        }
    }

    fn read(&mut self, bench: &mut Bench<'_>, received: Received) -> Heard {
        match received {
            Received::Nothing => Heard::Nothing,
            Received::Closed(_) => Heard::Closed,
            Received::Bytes(bytes) => {
                let apdu = wire::apdu(&bytes);
                match Glo::read(apdu) {
                    Some(message) => {
                        let (title, counter) = (self.known.meter.0, message.counter);
                        bench.target().spent(self.role, Counters { answers: counter, ..Counters::default() });
                        let plain = self.cipher.open(message.control, title, counter, message.sealed);
                        plain.map_or(Heard::Refusal, Heard::Answer)
                    }
                    None if matches!(apdu.first(), Some(0xC4 | 0xC5 | 0xC7)) => Heard::Answer(apdu.to_vec()),
                    None => Heard::Refusal,
                }
            }
        }
    }
}

/// What a meter said to a forger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// An answer to a request, in plain: it was taken for good.
    Answer(Vec<u8>),
    /// Something else: an exception.
    Refusal,
    /// Nothing.
    Nothing,
    /// The end of the connection.
    Closed,
}

impl Heard {
    /// Whether the request was carried out, or at least taken for good.
    pub(super) fn is_taken(&self) -> bool {
        // An exception under the key is still a refusal.
        matches!(self, Self::Answer(plain) if matches!(plain.first(), Some(0xC4 | 0xC5 | 0xC7)))
    }
}

/// A GET of one attribute, in plain.
pub(super) fn get_request((class, obis, attribute): (u16, Obis, i8)) -> Vec<u8> {
    let mut plain = vec![0xC0, 0x01, 0xC1];
    plain.extend_from_slice(&class.to_be_bytes());
    plain.extend_from_slice(&obis.0);
    plain.extend([attribute as u8, 0]);
    plain
}
