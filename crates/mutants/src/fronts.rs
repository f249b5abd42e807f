//! Meters whose network side is wrong: what stands between the sound meter's sockets and the bench makes the mistake, and hands what it takes on
//! by a connection of its own, with identities that are the meter's.

mod mistakes;
mod stand;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use meterseal_bench::certify::{Front, Inside};
use meterseal_link::tls;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};

use crate::{Kind, Mutant};
use mistakes::{Belief, dialling, listening};
use stand::{Port, Raw, dial, listen, raw};

/// A local port with a mistake.
struct Listens(fn(&Inside) -> Result<Port, rustls::Error>);

impl Front for Listens {
    fn listen(&mut self, inside: &Inside, port: SocketAddr) -> std::io::Result<SocketAddr> {
        let made = (self.0)(inside).map_err(std::io::Error::other)?;
        listen(inside, port, made)
    }
}

/// A mistake before there is any TLS.
struct Reads(Raw);

impl Front for Reads {
    fn listen(&mut self, inside: &Inside, port: SocketAddr) -> std::io::Result<SocketAddr> {
        raw(inside, port, self.0)
    }
}

/// A mistake when dialling.
struct Dials {
    provider: fn() -> Arc<CryptoProvider>,
    belief: Belief,
}

impl Front for Dials {
    fn dial(&mut self, inside: &Inside, bench: SocketAddr) -> std::io::Result<SocketAddr> {
        let config = dialling(inside, (self.provider)(), self.belief).map_err(std::io::Error::other)?;
        dial(inside, bench, self.belief.revoked, move |_| Arc::clone(&config))
    }
}

/// After a call that failed it calls with whatever it has.
struct FallsBack;

impl Front for FallsBack {
    fn dial(&mut self, inside: &Inside, bench: SocketAddr) -> std::io::Result<SocketAddr> {
        let made = |provider| dialling(inside, provider, Belief::RIGHT).map_err(std::io::Error::other);
        let (strong, weak) = (made(tls::provider())?, made(with(&[], &[kx_group::X25519]))?);
        let failed = AtomicBool::new(false);
        dial(inside, bench, true, move |ended| match ended {
            Some(well) => {
                failed.store(!well, Ordering::Relaxed);
                Arc::clone(&strong)
            }
            None if failed.load(Ordering::Relaxed) => Arc::clone(&weak),
            None => Arc::clone(&strong),
        })
    }
}

/// The right algorithms and these.
fn with(
    suites: &[rustls::SupportedCipherSuite],
    groups: &[&'static dyn rustls::crypto::SupportedKxGroup],
) -> Arc<CryptoProvider> {
    let right = tls::provider();
    Arc::new(CryptoProvider {
        cipher_suites: [&right.cipher_suites, suites].concat(),
        kx_groups: [&right.kx_groups, groups].concat(),
        ..(*right).clone()
    })
}

macro_rules! fronts {
    ($($name:literal, $flaw:literal, breaks $breaks:expr, touches $touches:expr, $front:expr;)*) => {
        vec![$(Mutant {
            name: $name,
            flaw: $flaw,
            breaks: &$breaks,
            touches: &$touches,
            kind: Kind::Fronted(|| Box::new($front)),
        }),*]
    };
}

pub(crate) fn mutants() -> Vec<Mutant> {
    fronts! {
        "tls-1.2", "The local port takes TLS 1.2 from who has nothing newer.",
        breaks ["ENC-01"], touches ["MUT-08"],
        Reads(Raw::TakesTls12);

        "aes-128", "The local port takes AES-128.",
        breaks ["ENC-02"], touches ["MUT-08", "MUT-05"],
        Listens(|inside| listening(inside, with(&[cipher_suite::TLS13_AES_128_GCM_SHA256], &[]), Belief::RIGHT));

        "chacha-dialled", "It offers its head-end ChaCha20 as well.",
        breaks ["ENC-02"], touches ["MUT-08", "MUT-05"],
        Dials { provider: || with(&[cipher_suite::TLS13_CHACHA20_POLY1305_SHA256], &[]), belief: Belief::RIGHT };

        "x25519", "The local port takes X25519 alone.",
        breaks ["ENC-03"], touches ["MUT-08", "MUT-05"],
        Listens(|inside| listening(inside, with(&[], &[kx_group::X25519]), Belief::RIGHT));

        "p-256-dialled", "It offers its head-end P-256 as well.",
        breaks ["ENC-03"], touches ["MUT-08", "MUT-05"],
        Dials { provider: || with(&[], &[kx_group::SECP256R1]), belief: Belief::RIGHT };

        "name-on-the-wire", "It sends its identifier in the clear before it is encrypted.",
        breaks ["ENC-04"], touches ["MUT-05"],
        Dials { provider: || tls::provider(), belief: Belief { tells_name: true, ..Belief::RIGHT } };

        "early-data", "The local port takes early data, which can be replayed.",
        breaks ["ENC-05"], touches ["MUT-05"],
        Listens(|inside| listening(inside, tls::provider(), Belief { early_data: true, ..Belief::RIGHT }));

        "no-certificate", "The local port wants no certificate.",
        breaks ["MUT-01"], touches ["MUT-05"],
        Listens(|inside| listening(inside, tls::provider(), Belief { certificate: false, ..Belief::RIGHT }));

        "without-tls", "The local port answers callers without TLS.",
        breaks ["MUT-01"], touches [],
        Reads(Raw::TakesPlain);

        "any-caller", "The local port takes any certificate.",
        breaks ["MUT-02"], touches ["MUT-03", "MUT-04", "MUT-05", "ENC-04"],
        Listens(|inside| listening(inside, tls::provider(), Belief { issuer: false, ..Belief::RIGHT }));

        "any-head-end", "It takes any head-end.",
        breaks ["MUT-02"], touches ["MUT-03", "MUT-04", "MUT-05", "ENC-04"],
        Dials { provider: || tls::provider(), belief: Belief { issuer: false, ..Belief::RIGHT } };

        "expired-callers", "The local port does not look when a certificate is valid.",
        breaks ["MUT-03"], touches ["MUT-05"],
        Listens(|inside| listening(inside, tls::provider(), Belief { time: false, ..Belief::RIGHT }));

        "expired-head-ends", "When it dials it does not look when a certificate is valid.",
        breaks ["MUT-03"], touches ["MUT-05"],
        Dials { provider: || tls::provider(), belief: Belief { time: false, ..Belief::RIGHT } };

        "host-name", "It does not look at the name of the head-end that answers.",
        breaks ["MUT-04"], touches ["MUT-05"],
        Dials { provider: || tls::provider(), belief: Belief { name: false, ..Belief::RIGHT } };

        "any-purpose", "The local port takes whatever the utility issued, other meters' certificates too.",
        breaks ["MUT-04"], touches ["MUT-05"],
        Listens(|inside| listening(inside, tls::provider(), Belief { name: false, ..Belief::RIGHT }));

        "revoked-callers", "The local port knows nothing of what was revoked.",
        breaks ["MUT-05"], touches [],
        Listens(|inside| listening(inside, tls::provider(), Belief { revoked: false, ..Belief::RIGHT }));

        "revoked-head-ends", "When it dials it knows nothing of what was revoked.",
        breaks ["MUT-05"], touches [],
        Dials { provider: || tls::provider(), belief: Belief { revoked: false, ..Belief::RIGHT } };

        "revoked-stay", "What was revoked stays connected.",
        breaks ["MUT-05"], touches [],
        Listens(|inside| listening(inside, tls::provider(), Belief { watches: false, ..Belief::RIGHT }));

        "revoked-resume", "Who resumes a session is not looked at again.",
        breaks ["MUT-05"], touches [],
        Listens(|inside| listening(inside, tls::provider(), Belief { again: false, ..Belief::RIGHT }));

        "any-ticket", "The local port resumes a session for whoever shows its ticket.",
        breaks ["MUT-06"], touches ["MUT-05", "ENC-05"],
        Reads(Raw::TakesTickets);

        "falls-back", "After a call that failed it offers weaker key exchanges.",
        breaks ["MUT-08"], touches ["ENC", "MUT-05"],
        FallsBack;
    }
}
