//! The TLS profile: version 1.3 only, TLS_AES_256_GCM_SHA384 only, X25519MLKEM768 or secp384r1, ECDSA with P-384 and
//! SHA-384 only, certificates both ways, no early data (design, decision 6).
//!
//! A peer is accepted when its chain ends at the right authority, its certificate names it by URI as one of the right
//! kind, and nobody has revoked it. rustls does not call a verifier when a session is resumed, so both profiles judge
//! the peer again after every handshake; [`dial`](crate::dial) and [`accept`](crate::accept) do that.
//!
//! Renegotiation does not exist in TLS 1.3, and TLS 1.2 is not built in. Early data is neither offered nor taken.

mod clock;
mod explain;
mod judge;
mod listening;
mod peer;
mod verify;

use std::sync::{Arc, LazyLock};

use meterseal_model::MeterId;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::SigningKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use zeroize::Zeroizing;

pub use clock::{MeterClock, TimeGoesBack};
pub use explain::{explain, explain_io};
pub(crate) use judge::Judge;
pub use judge::Judged;
pub use peer::{Named, Peer, PeerError};
pub(crate) use peer::{is_name, names_of, role_uri, shown};

use crate::opening::TimeSource;
use crate::pki::{Certificate, Identity};
use crate::revocation::Revocations;
use verify::{CallerVerifier, Callers, DialledVerifier};

/// The application protocol (RFC 7301): DLMS wrapper frames at once. A generic DLMS client behind a TLS bridge offers
/// none and is served like this too; whoever offers only others is refused.
pub const ALPN: &[u8] = b"meterseal/1";

/// The same after an [`opening`](crate::opening) exchange, in which a meter gets signed time and lists of revoked
/// certificates.
pub const ALPN_OPENING: &[u8] = b"meterseal/2";

/// Whose certificates are accepted: the authorities themselves are the anchors, so that a manufacturer cannot make
/// head-ends although one root stands above both. A utility issues both its head-ends and its meters' operational
/// identities; there the names tell them apart.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Authorities that issue meters.
    pub meters: Vec<CertificateDer<'static>>,
    /// Authorities that issue head-ends, clients and time sources.
    pub headends: Vec<CertificateDer<'static>>,
    /// What they revoked.
    pub revocations: Revocations,
}

impl Trust {
    /// Names of the authorities that issue both head-ends and meters, and share them with no other authority.
    fn utilities(&self) -> Vec<Vec<u8>> {
        let name = |der: &CertificateDer<'_>| Certificate::read(der).ok().map(|read| read.subject_name);
        let both = self.headends.iter().filter(|authority| self.meters.contains(authority));
        both.filter_map(name)
            .filter(|utility| {
                let others = self.meters.iter().filter(|meters| !self.headends.contains(meters));
                others.filter_map(name).all(|other| other != *utility)
            })
            .collect()
    }
}

/// One who answers: a head-end's gateway, or a meter's local port. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerProfile {
    config: Arc<ServerConfig>,
    callers: Callers,
    judge: Judge,
    time: Option<Arc<TimeSource>>,
    /// Names (DER) of the authorities whose meters are enrolled.
    utilities: Arc<[Vec<u8>]>,
}

/// One who dials: a meter, or a client at a meter's local port. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientProfile {
    config: Arc<ClientConfig>,
    judge: Judge,
    trust: Arc<Trust>,
    me: Option<Peer>,
}

/// The gateway's side: shows `identity`, accepts meters that `trust` names.
///
/// # Errors
/// [`rustls::Error`] when there is no authority for meters in `trust`, or one that cannot be read.
pub fn gateway_config(identity: &Identity, trust: &Trust) -> Result<ServerProfile, rustls::Error> {
    let profile = server(identity, &trust.meters, Callers::Meters, &trust.revocations, MeterClock::system())?;
    Ok(ServerProfile { utilities: trust.utilities().into(), ..profile })
}

/// A meter's local port: shows the meter's `identity`, accepts clients that `trust` names, with the roles in their
/// certificates.
///
/// # Errors
/// [`rustls::Error`] when there is no authority for clients in `trust`, or one that cannot be read.
pub fn local_port_config(
    identity: &Identity,
    trust: &Trust,
    clock: &MeterClock,
) -> Result<ServerProfile, rustls::Error> {
    server(identity, &trust.headends, Callers::Clients, &trust.revocations, clock.clone())
}

/// The meter's side: shows `identity`, accepts head-ends that `trust` names, and trusts this system's clock. Connect
/// to the [`headend_server_name`] of the head-end that is meant.
///
/// # Errors
/// [`rustls::Error`] when there is no authority for head-ends in `trust`, or one that cannot be read.
pub fn meter_config(identity: &Identity, trust: &Trust) -> Result<ClientProfile, rustls::Error> {
    client(identity, &trust.headends, trust, MeterClock::system(), false)
}

/// Like [`meter_config`], for a meter with a clock that may not be set: then it insists on signed time before it
/// judges whether a head-end's certificate is valid.
///
/// # Errors
/// [`rustls::Error`] when there is no authority for head-ends in `trust`, or one that cannot be read.
pub fn meter_config_with(
    identity: &Identity,
    trust: &Trust,
    clock: &MeterClock,
) -> Result<ClientProfile, rustls::Error> {
    meter_config_opening(identity, trust, clock, !clock.is_set())
}

/// The same, with the opening exchange or without it, whatever the clock says now.
pub(crate) fn meter_config_opening(
    identity: &Identity,
    trust: &Trust,
    clock: &MeterClock,
    opens: bool,
) -> Result<ClientProfile, rustls::Error> {
    client(identity, &trust.headends, trust, clock.clone(), opens)
}

/// A client at a meter's local port: shows `identity`, accepts the meter that is dialled. Connect to the
/// [`meter_server_name`] of the meter that is meant.
///
/// # Errors
/// [`rustls::Error`] when there is no authority for meters in `trust`, or one that cannot be read.
pub fn client_config(identity: &Identity, trust: &Trust) -> Result<ClientProfile, rustls::Error> {
    client(identity, &trust.meters, trust, MeterClock::system(), false)
}

impl ServerProfile {
    /// The configuration for rustls. Whoever uses it directly must [`judge`](Self::judge) after every handshake.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Gives signed time to meters that ask for it.
    #[must_use]
    pub fn with_time(mut self, time: TimeSource) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = vec![ALPN_OPENING.to_vec(), ALPN.to_vec()];
        self.config = Arc::new(config);
        self.time = Some(Arc::new(time));
        self
    }

    /// Who called. To be asked after *every* handshake.
    ///
    /// # Errors
    /// [`PeerError`]; the connection must then be closed.
    pub fn judge(&self, connection: &rustls::CommonState) -> Result<Judged, PeerError> {
        let judged = self.judge.judge(connection)?;
        self.callers.check(&judged.peer)?;
        Ok(judged)
    }

    /// Whether a meter's certificate is an operational one: of an authority that issues head-ends as well, a utility's.
    /// Its chain was verified to end at a trusted authority, and no two of those have one name.
    pub fn is_operational(&self, certificate: &Certificate) -> bool {
        self.utilities.contains(&certificate.issuer_name)
    }

    pub(crate) fn time(&self) -> Option<&TimeSource> {
        self.time.as_deref()
    }

    pub(crate) fn revocations(&self) -> &Revocations {
        &self.judge.revocations
    }
}

impl ClientProfile {
    /// The configuration for rustls. Whoever uses it directly must [`judge`](Self::judge) after every handshake.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Who answered. To be asked after *every* handshake; whether it is the one that was dialled is for the caller.
    ///
    /// # Errors
    /// [`PeerError`]; the connection must then be closed.
    pub fn judge(&self, connection: &rustls::CommonState) -> Result<Judged, PeerError> {
        self.judge.judge(connection)
    }

    /// The clock by which validity is judged.
    pub fn clock(&self) -> &MeterClock {
        &self.judge.clock
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Whose identity is shown.
    pub(crate) fn me(&self) -> Option<&Peer> {
        self.me.as_ref()
    }
}

fn server(
    identity: &Identity,
    authorities: &[CertificateDer<'static>],
    callers: Callers,
    revocations: &Revocations,
    clock: MeterClock,
) -> Result<ServerProfile, rustls::Error> {
    let judge = Judge { revocations: revocations.clone(), clock };
    let verifier = CallerVerifier::new(anchors(authorities)?, provider(), callers, judge.clone())?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(identity.resolver());
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    // Sessions live in this configuration: whoever changes the trust makes a new one, and old sessions are gone.
    match callers {
        // Any number of meters: each keeps its own session, under a key that only this gateway has (RFC 5077, 4:
        // AES-256, HMAC-SHA-256; a new key every six hours, and the one before it still counts). Nothing is kept here.
        Callers::Meters => config.ticketer = aws_lc_rs::Ticketer::new()?,
        // A few people; a small meter need not send them kilobytes.
        Callers::Clients => {
            config.session_storage = rustls::server::ServerSessionMemoryCache::new(RESUMABLE_CLIENTS);
        }
    }
    config.send_tls13_tickets = 1;
    Ok(ServerProfile { config: Arc::new(config), callers, judge, time: None, utilities: Arc::new([]) })
}

fn client(
    identity: &Identity,
    authorities: &[CertificateDer<'static>],
    trust: &Trust,
    clock: MeterClock,
    opens: bool,
) -> Result<ClientProfile, rustls::Error> {
    let judge = Judge { revocations: trust.revocations.clone(), clock };
    let verifier = DialledVerifier::new(anchors(authorities)?, provider(), judge.clone())?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // rustls' word for a verifier of our own; it delegates to WebPKI and then checks more
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(identity.resolver());
    let me = identity.certificate().ok().and_then(|own| own.peer);
    // Only a meter opens, and only one that wants to know the time: a head-end's signature costs it 0.1 ms.
    let opens = opens && matches!(me, Some(Peer::Meter(_)));
    config.alpn_protocols =
        if opens { vec![ALPN_OPENING.to_vec(), ALPN.to_vec()] } else { vec![ALPN.to_vec()] };
    config.enable_early_data = false;
    // The name that is dialled would be the one thing of a certificate that goes over the wire in the clear (RFC 6066, 3): at a
    // local port that is the meter's identifier. Whoever answers has one identity and needs no name to choose it by.
    config.enable_sni = false;
    config.resumption = Resumption::in_memory_sessions(1);
    Ok(ClientProfile { config: Arc::new(config), judge, trust: Arc::new(trust.clone()), me })
}

/// The side of a client that dials a meter which listens: shows `identity` if it has one, accepts a meter that
/// `authorities` issued, and only `expected` where that is given. A certificate without a `urn:meterseal:` name, another
/// maker's, must be a server's for the address that is dialled. What `revocations` name is not accepted.
///
/// # Errors
/// [`rustls::Error`] when `authorities` is empty or holds one that cannot be read.
pub fn listening_meter_config(
    identity: Option<&Identity>,
    authorities: &[CertificateDer<'static>],
    expected: Option<MeterId>,
    revocations: &Revocations,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let anchors = anchors(authorities)?;
    let verifier = listening::ListeningMeterVerifier::new(anchors, provider(), expected, revocations)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // as above
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(identity) => config.with_client_cert_resolver(identity.resolver()),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_early_data = false;
    // One connection per configuration: nothing to resume, so every handshake is judged in full.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Who is at the other end of a connection that neither profile made, judged by the system's clock and without lists
/// of revoked certificates. To be asked after *every* handshake.
///
/// # Errors
/// [`PeerError`]; the connection must then be closed.
pub fn peer_identity(connection: &rustls::CommonState) -> Result<Peer, PeerError> {
    let judge = Judge { revocations: Revocations::default(), clock: MeterClock::system() };
    judge.judge(connection).map(|judged| judged.peer)
}

/// The name under which a head-end is addressed in TLS: `NAME.headend.meterseal.internal`. `None` when `name` is no
/// head-end's name.
pub fn headend_server_name(name: &str) -> Option<ServerName<'static>> {
    is_name(name).then(|| ServerName::try_from(Peer::Headend(name.to_owned()).dns_name()).ok())?
}

/// The name under which a meter's local port is addressed in TLS: `msl0000000001.meter.meterseal.internal`.
pub fn meter_server_name(meter: MeterId) -> Option<ServerName<'static>> {
    ServerName::try_from(Peer::Meter(meter).dns_name()).ok()
}

/// A private key that can make exactly the signatures of this profile.
pub(crate) fn load_key(key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
    let key = aws_lc_rs::sign::any_ecdsa_type(&Zeroizing::new(key))?;
    match key.choose_scheme(&[SignatureScheme::ECDSA_NISTP384_SHA384]) {
        Some(_) => Ok(key),
        None => Err(rustls::Error::General("another curve than P-384".to_owned())),
    }
}

/// The cryptography of the profile.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
            kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::SECP384R1],
            signature_verification_algorithms: SIGNATURES,
            ..aws_lc_rs::default_provider()
        })
    });
    Arc::clone(&PROVIDER)
}

const SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::aws_lc_rs::ECDSA_P384_SHA384],
    mapping: &[(SignatureScheme::ECDSA_NISTP384_SHA384, &[webpki::aws_lc_rs::ECDSA_P384_SHA384])],
};

/// How many sessions a meter's local port keeps for resumption.
const RESUMABLE_CLIENTS: usize = 8;

fn anchors(authorities: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut store = RootCertStore::empty();
    for authority in authorities {
        store.add(authority.clone())?;
    }
    Ok(Arc::new(store))
}
