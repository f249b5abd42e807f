//! Who is let in: without a certificate, with somebody else's, with one that has ended, is revoked, or names another; and sessions that are resumed.
//! Both directions: callers at the meter's local port, and head-ends that the meter dials. Before and after, who is in order gets through.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use super::network::{Probe, answering, calling, peer, random};
use crate::catalogue::Requirement;
use crate::certify::peer::{Shown, Side};
use crate::certify::probes::hello::{AES_256_GCM, Offered, Said, read_client, resume};
use crate::certify::probes::{Reaction, Session};
use crate::certify::{Bench, Measured, Procedure, Trouble};

pub(super) fn procedures() -> Vec<Box<dyn Procedure>> {
    vec![
        Box::new(NoCertificate),
        Box::new(Certificates {
            name: "wrong-issuer",
            shown: &[Shown::SelfSigned, Shown::OtherRoot, Shown::OtherIntermediate],
        }),
        Box::new(Certificates { name: "expired", shown: &[Shown::Expired, Shown::NotYetValid] }),
        Box::new(Certificates {
            name: "wrong-name",
            shown: &[Shown::Meter, Shown::OtherName, Shown::OtherMeter],
        }),
        Box::new(Revoked),
        Box::new(Resumption),
    ]
}

/// `no-certificate`.
struct NoCertificate;

impl Procedure for NoCertificate {
    fn name(&self) -> &'static str {
        "no-certificate"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut probe = Probe::open(bench)?;
        probe.good_answer(bench)?;
        probe.good_call(bench)?;
        let reaction = probe.call(bench, &calling(None, Session::None)?)?;
        probe.attack(bench, "a caller without a certificate", reaction)?;
        let (address, _) = Probe::local(bench)?;
        let reaction = probe.wire.say_plainly(address)?;
        probe.attack(bench, "a caller without TLS", reaction)?;
        peer(bench)?.redial()?;
        let reaction = probe.wire.answer_plainly(&Probe::dialled(bench)?)?;
        probe.attack(bench, "a head-end without TLS", reaction)?;
        probe.good_answer(bench)?;
        probe.good_call(bench)?;
        Ok(probe.found)
    }
}

/// `wrong-issuer`, `expired`, `wrong-name`: certificates that are wrong from the beginning.
struct Certificates {
    name: &'static str,
    shown: &'static [Shown],
}

impl Procedure for Certificates {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut probe = Probe::open(bench)?;
        // The head-end first: it gives the time to a meter that has none.
        probe.good_answer(bench)?;
        probe.good_call(bench)?;
        for &shown in self.shown {
            let identity = peer(bench)?.identity(Side::Caller, shown)?;
            let reaction = probe.call(bench, &calling(Some(&identity), Session::None)?)?;
            probe.attack(bench, &format!("a caller shows a certificate {}", shown.words()), reaction)?;
        }
        for &shown in self.shown {
            let identity = peer(bench)?.identity(Side::HeadEnd, shown)?;
            let reaction = probe.answer(bench, &answering(&identity, Session::None)?)?;
            probe.attack(bench, &format!("a head-end shows a certificate {}", shown.words()), reaction)?;
        }
        probe.good_answer(bench)?;
        probe.good_call(bench)?;
        Ok(probe.found)
    }
}

/// `revoked`.
struct Revoked;

/// How long a connection may stand after its certificate was revoked.
const LIMIT: Duration = Duration::from_secs(60);

impl Procedure for Revoked {
    fn name(&self) -> &'static str {
        "revoked"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut probe = Probe::open(bench)?;
        probe.good_answer(bench)?;
        self.callers(&mut probe, bench)?;
        self.head_end(&mut probe, bench)?;
        probe.good_call(bench)?;
        Ok(probe.found)
    }
}

impl Revoked {
    fn callers(&self, probe: &mut Probe, bench: &mut Bench<'_>) -> Result<(), Trouble> {
        let (address, name) = Probe::local(bench)?;
        // One that stands, one that would come again in the same session, one that has never called.
        let mut configs = Vec::new();
        for number in 0..3 {
            let identity = peer(bench)?.identity(Side::Caller, Shown::Spare(number))?;
            configs.push(calling(Some(&identity), Session::Resumed)?);
        }
        let (reaction, standing) = probe.wire.call(address, &name, &configs[0])?;
        probe.judge(
            bench,
            "a caller before its certificate is revoked",
            reaction.words(),
            reaction == Reaction::LetIn,
        )?;
        for what in ["another", "the same again, in a session that is resumed"] {
            let reaction = probe.call(bench, &configs[1])?;
            probe.judge(bench, what, reaction.words(), reaction == Reaction::LetIn)?;
        }
        for number in 0..3 {
            peer(bench)?.revoke(Side::Caller, Shown::Spare(number))?;
        }
        bench.step("their certificates are revoked");
        let begun = Instant::now();
        let ended = standing.is_some_and(|mut stream| probe.wire.ends(&mut stream, LIMIT));
        let came = if ended { "ended" } else { "still there" };
        probe.judge(bench, "the standing connection after 60 s", came, ended)?;
        // Callers that are not connected may be noticed as late.
        for (config, what) in [
            (&configs[2], "a caller whose certificate was revoked before it called"),
            (&configs[1], "a caller in a session from before"),
            (&configs[0], "a caller whose connection was ended"),
        ] {
            let mut reaction = probe.call(bench, config)?;
            while reaction == Reaction::LetIn && begun.elapsed() < LIMIT {
                std::thread::sleep(Duration::from_secs(2));
                reaction = probe.call(bench, config)?;
            }
            probe.attack(bench, what, reaction)?;
        }
        Ok(())
    }

    fn head_end(&self, probe: &mut Probe, bench: &mut Bench<'_>) -> Result<(), Trouble> {
        let [spare, other, good] = {
            let peer = peer(bench)?;
            [Shown::Spare(0), Shown::Spare(1), Shown::Good].map(|shown| peer.identity(Side::HeadEnd, shown))
        };
        let (spare, other) = (answering(&spare?, Session::Resumed)?, answering(&other?, Session::None)?);
        peer(bench)?.redial()?;
        let (reaction, standing) = probe.wire.answer(&Probe::dialled(bench)?, &spare, probe.time.as_ref())?;
        probe.judge(
            bench,
            "a head-end before its certificate is revoked",
            reaction.words(),
            reaction == Reaction::LetIn,
        )?;
        for number in 0..2 {
            peer(bench)?.revoke(Side::HeadEnd, Shown::Spare(number))?;
        }
        bench.step("its certificate is revoked, and another's");
        let ended = standing.is_some_and(|mut stream| probe.wire.ends(&mut stream, LIMIT));
        let came = if ended { "ended" } else { "still there" };
        probe.judge(bench, "the standing connection to it after 60 s", came, ended)?;
        // The meter dials again by itself, with the session that it has.
        let (reaction, _) = probe.wire.answer(&Probe::dialled(bench)?, &spare, probe.time.as_ref())?;
        probe.attack(bench, "the head-end in a session from before", reaction)?;
        let (reaction, _) = probe.wire.answer(&Probe::dialled(bench)?, &other, probe.time.as_ref())?;
        probe.attack(bench, "a head-end whose certificate was revoked before it answered", reaction)?;
        let good = answering(&good?, Session::None)?;
        let (reaction, _) = probe.wire.answer(&Probe::dialled(bench)?, &good, probe.time.as_ref())?;
        probe.judge(bench, "a head-end in order", reaction.words(), reaction == Reaction::LetIn)
    }
}

/// `resumption`: whoever sees a ticket on the wire, or holds another's, gets nowhere without the secret that belongs to it.
struct Resumption;

/// What the bench does to a hello that resumes.
#[derive(Clone, Copy)]
enum Stolen {
    /// Nothing: its owner.
    No,
    /// The proof that its owner holds the secret is somebody else's.
    OtherProof,
    /// The hello is another peer's, with its own random, and the proof is the owner's.
    OtherHello,
}

impl Procedure for Resumption {
    fn name(&self) -> &'static str {
        "resumption"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let mut probe = Probe::open(bench)?;
        probe.good_answer(bench)?;
        let good = peer(bench)?.identity(Side::Caller, Shown::Good)?;
        for (stolen, what) in [
            (Stolen::No, "a caller comes again with its own ticket"),
            (Stolen::OtherProof, "a caller comes with another's ticket and a proof of its own"),
            (Stolen::OtherHello, "a caller comes with another's ticket and proof in a hello of its own"),
        ] {
            let config = calling(Some(&good), Session::Resumed)?;
            if probe.call(bench, &config)? != Reaction::LetIn {
                probe.judge(bench, "a caller in order", "not let in", false)?;
                continue;
            }
            let (address, name) = Probe::local(bench)?;
            let hello = ClientConnection::new(Arc::clone(&config), name).map_err(super::network::no_tls)?;
            let Some(hello) = stolen.hello(hello) else {
                // It gives no tickets: then nobody resumes anything.
                bench.step("the local port gives no tickets");
                break;
            };
            let resumed = match probe.wire.say(address, &hello)? {
                Some(Said::Agrees { resumes, .. }) => Some(resumes),
                Some(Said::Refuses) => Some(false),
                Some(Said::Something) | None => None,
            };
            let came = match resumed {
                Some(true) => "resumed",
                Some(false) => "not resumed",
                None => Reaction::Silent.words(),
            };
            let wanted = matches!(stolen, Stolen::No);
            probe.judge(bench, what, came, resumed == Some(wanted))?;
        }
        self.head_end(&mut probe, bench)?;
        probe.good_answer(bench)?;
        probe.good_call(bench)?;
        Ok(probe.found)
    }
}

impl Stolen {
    /// The hello of a client that has a ticket; `None` when it has none.
    fn hello(self, mut client: ClientConnection) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).ok()?;
        let offered: Offered = read_client(&bytes).ok()??;
        if !offered.resumes {
            return None;
        }
        bytes.truncate(offered.length);
        match self {
            Self::No => {}
            // The proof is the hello's end (RFC 8446, 4.2.11).
            Self::OtherProof => *bytes.last_mut()? ^= 1,
            Self::OtherHello => *bytes.get_mut(offered.places.random.start)? ^= 1,
        }
        Some(bytes)
    }
}

impl Resumption {
    /// The meter has a session with its head-end; somebody else answers its next call as if they had it too.
    fn head_end(&self, probe: &mut Probe, bench: &mut Bench<'_>) -> Result<(), Trouble> {
        let good = peer(bench)?.identity(Side::HeadEnd, Shown::Good)?;
        let config = answering(&good, Session::Resumed)?;
        let reaction = probe.answer(bench, &config)?;
        probe.judge(
            bench,
            "a head-end that gives a ticket",
            reaction.words(),
            reaction == Reaction::LetIn,
        )?;
        let random = random(bench);
        // The meter dials again by itself.
        let (offered, reaction) = probe.wire.hear(&Probe::dialled(bench)?, |offered| {
            offered.resumes.then(|| resume(AES_256_GCM, &offered.session, random))
        })?;
        if offered.resumes {
            probe.attack(bench, "somebody else answers as if they had the session", reaction)
        } else {
            bench.step("the meter offers no session");
            probe.keep(bench)
        }
    }
}
