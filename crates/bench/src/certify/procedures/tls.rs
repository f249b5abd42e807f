//! What TLS the meter speaks: versions, ciphers, key exchanges, and what TLS 1.3 has that must not be used. Both as the server of its local port and
//! as the client of its head-end. Hellos are made by hand, because no TLS library of ours speaks what is offered here.

use super::network::{Probe, answering, calling, peer, random};
use crate::catalogue::Requirement;
use crate::certify::peer::{Shown, Side};
use crate::certify::probes::hello::{
    AES_256_GCM, OLDER, OTHER_GROUPS, OTHER_SUITES, Offer, Offered, Said, TLS_1_3, choose,
};
use crate::certify::probes::{Reaction, Session};
use crate::certify::{Bench, Measured, Procedure, Trouble};

pub(super) fn procedures() -> Vec<Box<dyn Procedure>> {
    vec![Box::new(Version), Box::new(Cipher), Box::new(Group), Box::new(EarlyData)]
}

/// Says a hello to the local port; how the meter took it, if it agrees to what is weak.
fn offer(probe: &mut Probe, bench: &mut Bench<'_>, what: &str, offer: &Offer<'_>) -> Result<(), Trouble> {
    let (address, _) = Probe::local(bench)?;
    let reaction = match probe.wire.say(address, &offer.encode())? {
        Some(Said::Refuses) => Reaction::Refused,
        Some(Said::Agrees { .. }) => Reaction::LetIn,
        // What is no answer of TLS is no refusal either.
        Some(Said::Something) | None => Reaction::Silent,
    };
    probe.attack(bench, &format!("the local port is offered {what}"), reaction)
}

/// The hello that the meter should take: it answers with exactly this.
fn right_offer(probe: &mut Probe, bench: &mut Bench<'_>, group: u16) -> Result<(), Trouble> {
    let (address, _) = Probe::local(bench)?;
    let hello = Offer { groups: &[group], ..Offer::right(random(bench)) };
    let said = probe.wire.say(address, &hello.encode())?;
    let agrees = Said::Agrees { version: TLS_1_3, suite: AES_256_GCM, group: Some(group), resumes: false };
    let is_right = said == Some(agrees);
    let came = if is_right { "agreed upon" } else { "not agreed upon" };
    probe.judge(
        bench,
        &format!("the local port is offered what it should take (group {group:04x})"),
        came,
        is_right,
    )
}

/// The meter dials: what it offers, and how it takes this answer.
fn chosen(
    probe: &mut Probe,
    bench: &mut Bench<'_>,
    what: &str,
    answer: impl FnOnce(&Offered) -> Vec<u8>,
) -> Result<Offered, Trouble> {
    peer(bench)?.redial()?;
    let (offered, reaction) = probe.wire.hear(&Probe::dialled(bench)?, |offered| Some(answer(offered)))?;
    probe.attack(bench, &format!("the meter dials and the answer chooses {what}"), reaction)?;
    Ok(offered)
}

/// `tls-version`.
struct Version;

impl Procedure for Version {
    fn name(&self) -> &'static str {
        "tls-version"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut probe = Probe::open(bench)?;
        probe.good_answer(bench)?;
        right_offer(&mut probe, bench, 0x0018)?;
        for (version, name) in OLDER {
            let random = random(bench);
            offer(&mut probe, bench, &format!("{name} in its own hello"), &Offer::old(version, random))?;
            let alone = Offer { versions: &[version], ..Offer::right(random) };
            offer(&mut probe, bench, &format!("{name} in a hello of TLS 1.3"), &alone)?;
            // Beside 1.3, first in order: there 1.3 is right, and refusing is too.
            let (address, _) = Probe::local(bench)?;
            let beside = Offer { versions: &[version, TLS_1_3], ..Offer::right(random) };
            let said = probe.wire.say(address, &beside.encode())?;
            let (came, is_right) = match said {
                Some(Said::Agrees { version: TLS_1_3, .. }) => ("TLS 1.3 agreed upon", true),
                Some(Said::Refuses) => ("refused", true),
                Some(Said::Agrees { .. }) => ("the older version agreed upon", false),
                Some(Said::Something) | None => (Reaction::Silent.words(), false),
            };
            probe.judge(
                bench,
                &format!("the local port is offered {name} before TLS 1.3"),
                came,
                is_right,
            )?;
        }
        let mut offered = Vec::new();
        for (version, name) in OLDER {
            let random = random(bench);
            let answer = |hello: &Offered| choose(version, 0xC02C, None, &hello.session, random);
            offered.push(chosen(&mut probe, bench, name, answer)?);
        }
        let older = offered.iter().map(|offered| offered.weaker().0).sum();
        probe.none_of(bench, "older versions in the hellos that the meter dials with", older);
        probe.good_answer(bench)?;
        probe.good_call(bench)?;
        Ok(probe.found)
    }
}

/// `tls-cipher`.
struct Cipher;

impl Procedure for Cipher {
    fn name(&self) -> &'static str {
        "tls-cipher"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut probe = Probe::open(bench)?;
        probe.good_answer(bench)?;
        right_offer(&mut probe, bench, 0x0018)?;
        let mut weaker = 0;
        for (suite, name) in OTHER_SUITES {
            let hello = Offer { suites: &[suite], ..Offer::right(random(bench)) };
            offer(&mut probe, bench, &format!("{name} alone"), &hello)?;
        }
        for (suite, name) in OTHER_SUITES {
            let random = random(bench);
            let answer = |hello: &Offered| choose(TLS_1_3, suite, Some(0x0018), &hello.session, random);
            weaker += chosen(&mut probe, bench, name, answer)?.weaker().1;
        }
        probe.none_of(bench, "other suites in the hellos that the meter dials with", weaker);
        probe.good_answer(bench)?;
        probe.good_call(bench)?;
        Ok(probe.found)
    }
}

/// `tls-group`.
struct Group;

impl Procedure for Group {
    fn name(&self) -> &'static str {
        "tls-group"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut probe = Probe::open(bench)?;
        probe.good_answer(bench)?;
        right_offer(&mut probe, bench, 0x0018)?;
        right_offer(&mut probe, bench, 0x11EC)?;
        for (group, name) in OTHER_GROUPS {
            let hello = Offer { groups: &[group], ..Offer::right(random(bench)) };
            offer(&mut probe, bench, &format!("{name} alone"), &hello)?;
        }
        let mut weaker = 0;
        // Of each kind one: a curve of 256 bits, Montgomery's, a finite field.
        for (group, name) in [OTHER_GROUPS[1], OTHER_GROUPS[0], OTHER_GROUPS[4]] {
            let random = random(bench);
            let answer = |hello: &Offered| choose(TLS_1_3, AES_256_GCM, Some(group), &hello.session, random);
            weaker += chosen(&mut probe, bench, name, answer)?.weaker().2;
        }
        probe.none_of(bench, "other groups in the hellos that the meter dials with", weaker);
        probe.good_answer(bench)?;
        probe.good_call(bench)?;
        Ok(probe.found)
    }
}

/// `tls-early-data`.
struct EarlyData;

/// A client's hello as a message after the handshake: what asking to renegotiate was before TLS 1.3.
fn hello_again(random: [u8; 32]) -> Vec<u8> {
    const RECORD_HEADER: usize = 5;
    Offer::right(random).encode().split_off(RECORD_HEADER)
}

impl Procedure for EarlyData {
    fn name(&self) -> &'static str {
        "tls-early-data"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut probe = Probe::open(bench)?;
        probe.good_answer(bench)?;
        probe.good_call(bench)?;
        self.early_at_the_port(&mut probe, bench)?;
        self.early_when_dialling(&mut probe, bench)?;
        self.renegotiation(&mut probe, bench)?;
        probe.good_answer(bench)?;
        probe.good_call(bench)?;
        Ok(probe.found)
    }
}

impl EarlyData {
    /// A caller that comes again and would send early data, were it allowed to.
    fn early_at_the_port(&self, probe: &mut Probe, bench: &mut Bench<'_>) -> Result<(), Trouble> {
        let good = peer(bench)?.identity(Side::Caller, Shown::Good)?;
        let config = calling(Some(&good), Session::Early)?;
        let (address, name) = Probe::local(bench)?;
        let first = probe.call(bench, &config)?;
        probe.judge(bench, "a caller that would resume", first.words(), first == Reaction::LetIn)?;
        let early =
            rustls::ClientConnection::new(config, name).is_ok_and(|mut caller| caller.early_data().is_some());
        let _ = address;
        probe.none_of(bench, "sessions in which the local port would take early data", usize::from(early));
        Ok(())
    }

    /// A head-end that would take early data: the meter comes again, and sends none.
    fn early_when_dialling(&self, probe: &mut Probe, bench: &mut Bench<'_>) -> Result<(), Trouble> {
        let good = peer(bench)?.identity(Side::HeadEnd, Shown::Good)?;
        let config = answering(&good, Session::Early)?;
        let first = probe.answer(bench, &config)?;
        probe.judge(
            bench,
            "a head-end that would take early data",
            first.words(),
            first == Reaction::LetIn,
        )?;
        // The connection has ended; the meter dials by itself.
        let (offered, _) = probe.wire.hear(&Probe::dialled(bench)?, |_| None)?;
        probe.keep(bench)?;
        probe.none_of(
            bench,
            "hellos with early data when the meter dials again",
            usize::from(offered.early_data),
        );
        Ok(())
    }

    /// A message of the handshake in a session that stands.
    fn renegotiation(&self, probe: &mut Probe, bench: &mut Bench<'_>) -> Result<(), Trouble> {
        let good = peer(bench)?.identity(Side::Caller, Shown::Good)?;
        let (address, name) = Probe::local(bench)?;
        let config = calling(Some(&good), Session::None)?;
        for again in [false, true] {
            let (_, stream) = probe.wire.call(address, &name, &config)?;
            let message = again.then(|| hello_again(random(bench)));
            let reaction = match stream.map(tokio_rustls::client::TlsStream::into_inner) {
                None => Reaction::Silent,
                Some((stream, session)) => {
                    let secrets = session.dangerous_extract_secrets().map_err(super::network::no_tls)?;
                    probe.wire.inject(stream, &secrets, message.as_deref())?
                }
            };
            if again {
                probe.attack(bench, "a caller asks to renegotiate", reaction)?;
            } else {
                let what = "a caller asks for a name, in a record of the bench's making";
                probe.judge(bench, what, reaction.words(), reaction == Reaction::LetIn)?;
            }
        }
        let good = peer(bench)?.identity(Side::HeadEnd, Shown::Good)?;
        let config = answering(&good, Session::None)?;
        for again in [false, true] {
            peer(bench)?.redial()?;
            let (_, stream) = probe.wire.answer(&Probe::dialled(bench)?, &config, probe.time.as_ref())?;
            // A request for a hello (RFC 5246, 7.4.1.1).
            let message = again.then_some(&[0, 0, 0, 0][..]);
            let reaction = match stream.map(tokio_rustls::server::TlsStream::into_inner) {
                None => Reaction::Silent,
                Some((stream, session)) => {
                    let secrets = session.dangerous_extract_secrets().map_err(super::network::no_tls)?;
                    probe.wire.inject(stream, &secrets, message)?
                }
            };
            if again {
                probe.attack(bench, "a head-end asks to renegotiate", reaction)?;
            } else {
                let what = "a head-end asks for a name, in a record of the bench's making";
                probe.judge(bench, what, reaction.words(), reaction == Reaction::LetIn)?;
            }
        }
        Ok(())
    }
}
