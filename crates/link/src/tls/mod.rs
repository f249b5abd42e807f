//! The TLS profile: version 1.3 only, TLS_AES_256_GCM_SHA384 only, X25519MLKEM768 or secp384r1, ECDSA with P-384 and
//! SHA-384 only, certificates both ways, no early data (design, decision 6).
//!
//! A peer is accepted when its chain ends at the right authority (a meter's at a manufacturer, a head-end's at a
//! utility) *and* its certificate names it by URI. rustls does not call a verifier when a session is resumed:
//! [`peer_identity`] must be called after every handshake, and [`dial`](crate::dial) and [`accept`](crate::accept) do.

mod explain;
mod listening;
mod peer;
mod verify;

use std::sync::{Arc, LazyLock};

use meterseal_model::MeterId;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use zeroize::Zeroizing;

pub use explain::{explain, explain_io};
pub(crate) use peer::is_headend_name;
pub use peer::{Peer, PeerError, peer_identity};

use crate::pki::Identity;

/// The application protocol, offered by our meters and head-ends. A generic DLMS client behind a TLS bridge offers
/// none and is served too; whoever offers only others is refused.
pub const ALPN: &[u8] = b"meterseal/1";

/// Whose certificates are accepted: the authorities themselves are the anchors, so that a manufacturer cannot make
/// head-ends, nor a utility meters, although one root stands above both.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Authorities that issue meters.
    pub meters: Vec<CertificateDer<'static>>,
    /// Authorities that issue head-ends.
    pub headends: Vec<CertificateDer<'static>>,
}

/// The gateway's side: shows `identity`, accepts meters that `trust` names.
///
/// # Errors
/// [`rustls::Error`] when there is no authority for meters in `trust`, or one that cannot be read.
pub fn gateway_config(identity: &Identity, trust: &Trust) -> Result<Arc<ServerConfig>, rustls::Error> {
    let verifier = verify::MeterVerifier::new(anchors(&trust.meters)?, provider())?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified(identity))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    // Sessions live in this configuration: whoever changes the trust makes a new one, and old sessions are gone.
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(RESUMABLE_SESSIONS);
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// The meter's side: shows `identity`, accepts head-ends that `trust` names. Connect to the
/// [`headend_server_name`] of the head-end that is meant.
///
/// # Errors
/// [`rustls::Error`] when there is no authority for head-ends in `trust`, or one that cannot be read.
pub fn meter_config(identity: &Identity, trust: &Trust) -> Result<Arc<ClientConfig>, rustls::Error> {
    let verifier = verify::HeadendVerifier::new(anchors(&trust.headends)?, provider())?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // rustls' word for a verifier of our own; it delegates to WebPKI and then checks more
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified(identity))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_early_data = false;
    config.resumption = Resumption::in_memory_sessions(1);
    Ok(Arc::new(config))
}

/// The side of a client that dials a meter which listens: shows `identity` if it has one, accepts a meter that
/// `authorities` issued, and only `expected` where that is given. A certificate without a `urn:meterseal:` name, another
/// maker's, must be a server's for the address that is dialled.
///
/// # Errors
/// [`rustls::Error`] when `authorities` is empty or holds one that cannot be read.
pub fn listening_meter_config(
    identity: Option<&Identity>,
    authorities: &[CertificateDer<'static>],
    expected: Option<MeterId>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let verifier = listening::ListeningMeterVerifier::new(anchors(authorities)?, provider(), expected)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // as above
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(identity) => {
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified(identity))))
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_early_data = false;
    // One connection per configuration: nothing to resume, so every handshake is judged in full.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name under which a head-end is addressed in TLS: `NAME.headend.meterseal.internal`. `None` when `name` is no
/// head-end's name.
pub fn headend_server_name(name: &str) -> Option<ServerName<'static>> {
    is_headend_name(name).then(|| ServerName::try_from(Peer::Headend(name.to_owned()).dns_name()).ok())?
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

/// How many sessions the gateway keeps for resumption.
const RESUMABLE_SESSIONS: usize = 16_384;

fn anchors(authorities: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut store = RootCertStore::empty();
    for authority in authorities {
        store.add(authority.clone())?;
    }
    Ok(Arc::new(store))
}

fn certified(identity: &Identity) -> CertifiedKey {
    CertifiedKey::clone(&identity.certified())
}
