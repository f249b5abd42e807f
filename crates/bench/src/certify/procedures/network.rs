//! What the procedures of the network side share: the bench's own ends, and the honest peer that has to get through where others do not.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use meterseal_link::Identity;
use meterseal_link::tls::ServerProfile;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use crate::certify::peer::{Shown, Side};
use crate::certify::probes::{Reaction, Session, Wire, caller, head_end, right, server_name};
use crate::certify::{Bench, Limit, Measured, TlsPeer, Trouble};

/// The bench's ends of connections with the meter.
pub(super) struct Probe {
    pub(super) wire: Wire,
    /// Signed time, where the meter asks for it.
    pub(super) time: Option<ServerProfile>,
    pub(super) found: Vec<Measured>,
}

impl Probe {
    pub(super) fn open(bench: &mut Bench<'_>) -> Result<Self, Trouble> {
        let peer = peer(bench)?;
        let (patience, time) = (peer.patience(), peer.time()?);
        Ok(Self { wire: Wire::new(patience)?, time, found: Vec::new() })
    }

    /// Notes one attack and how the meter took it; only a refusal is right.
    pub(super) fn attack(
        &mut self,
        bench: &mut Bench<'_>,
        what: &str,
        reaction: Reaction,
    ) -> Result<(), Trouble> {
        self.judge(bench, what, reaction.words(), reaction == Reaction::Refused)
    }

    /// Notes what was tried, what came of it, and whether that is right.
    pub(super) fn judge(
        &mut self,
        bench: &mut Bench<'_>,
        what: &str,
        came: &str,
        is_right: bool,
    ) -> Result<(), Trouble> {
        bench.step(format!("{what}: {came}"));
        self.found.push(Measured::count(
            format!("{what}: as it should be"),
            f64::from(u8::from(is_right)),
            Limit::exactly(1.0),
        ));
        self.keep(bench)
    }

    /// Notes what was tried and whether it came as it should, with what went over the wire left on the tape.
    pub(super) fn judge_unkept(&mut self, bench: &mut Bench<'_>, what: &str, is_right: bool) {
        let came = if is_right { "as it should be" } else { "not as it should be" };
        bench.step(format!("{what}: {came}"));
        let value = f64::from(u8::from(is_right));
        self.found.push(Measured::count(format!("{what}: as it should be"), value, Limit::exactly(1.0)));
    }

    /// A number of things of which there may be none.
    pub(super) fn none_of(&mut self, bench: &mut Bench<'_>, what: &str, count: usize) {
        bench.step(format!("{what}: {count}"));
        self.found.push(Measured::count(what, count as f64, Limit::exactly(0.0)));
    }

    /// What went over the wire goes into the transcript.
    pub(super) fn keep(&self, bench: &mut Bench<'_>) -> Result<(), Trouble> {
        let peer = peer(bench)?;
        for (to_meter, bytes) in self.wire.tape.take() {
            peer.note(to_meter, &bytes);
        }
        Ok(())
    }

    /// Where the meter's next call arrives.
    pub(super) fn dialled(bench: &mut Bench<'_>) -> Result<TcpListener, Trouble> {
        peer(bench)?.dialled()
    }

    /// The meter's local port, and its name.
    pub(super) fn local(bench: &mut Bench<'_>) -> Result<(SocketAddr, ServerName<'static>), Trouble> {
        let peer = peer(bench)?;
        let (name, address) = (peer.name(), peer.local_port()?);
        Ok((address, server_name(name, address)))
    }

    /// A caller with this configuration.
    pub(super) fn call(
        &self,
        bench: &mut Bench<'_>,
        config: &Arc<ClientConfig>,
    ) -> Result<Reaction, Trouble> {
        let (address, name) = Self::local(bench)?;
        Ok(self.wire.call(address, &name, config)?.0)
    }

    /// The meter dials anew, and a head-end with this configuration answers.
    pub(super) fn answer(
        &self,
        bench: &mut Bench<'_>,
        config: &Arc<ServerConfig>,
    ) -> Result<Reaction, Trouble> {
        peer(bench)?.redial()?;
        Ok(self.wire.answer(&Self::dialled(bench)?, config, self.time.as_ref())?.0)
    }

    /// The honest caller.
    pub(super) fn good_call(&mut self, bench: &mut Bench<'_>) -> Result<(), Trouble> {
        let good = peer(bench)?.identity(Side::Caller, Shown::Good)?;
        let config = calling(Some(&good), Session::None)?;
        let reaction = self.call(bench, &config)?;
        self.judge(bench, "a caller in order", reaction.words(), reaction == Reaction::LetIn)
    }

    /// The honest head-end. It also gives the time to a meter that has none.
    pub(super) fn good_answer(&mut self, bench: &mut Bench<'_>) -> Result<(), Trouble> {
        let good = peer(bench)?.identity(Side::HeadEnd, Shown::Good)?;
        let config = answering(&good, Session::None)?;
        let reaction = self.answer(bench, &config)?;
        self.judge(bench, "a head-end in order", reaction.words(), reaction == Reaction::LetIn)
    }
}

/// The meter's network side.
pub(super) fn peer<'a>(bench: &'a mut Bench<'_>) -> Result<&'a mut dyn TlsPeer, Trouble> {
    bench.target().peer()
}

/// A caller with the right algorithms.
pub(super) fn calling(identity: Option<&Identity>, session: Session) -> Result<Arc<ClientConfig>, Trouble> {
    caller(right(), identity, session).map_err(no_tls)
}

/// A head-end with the right algorithms.
pub(super) fn answering(identity: &Identity, session: Session) -> Result<Arc<ServerConfig>, Trouble> {
    head_end(right(), identity, session).map_err(no_tls)
}

pub(super) fn no_tls(error: rustls::Error) -> Trouble {
    Trouble::Bench(format!("its TLS cannot be configured: {error}"))
}

/// 32 bytes of the requirement's own random numbers.
pub(super) fn random(bench: &mut Bench<'_>) -> [u8; 32] {
    let mut bytes = [0; 32];
    for part in bytes.chunks_exact_mut(8) {
        part.copy_from_slice(&bench.random().to_be_bytes());
    }
    bytes
}
