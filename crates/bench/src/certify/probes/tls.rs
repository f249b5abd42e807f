//! TLS configurations of the bench: any certificate is shown, and whatever the meter shows is taken, because here the meter judges and is judged by
//! what it does.

use std::net::SocketAddr;
use std::sync::Arc;

use meterseal_link::{Identity, tls as link};
use meterseal_model::MeterId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

/// What a side does about sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// Every handshake in full.
    None,
    /// Resumed where the peer allows it.
    Resumed,
    /// Resumed, with early data where the peer allows them.
    Early,
}

/// The algorithms that the meter should take.
pub(crate) fn right() -> Arc<CryptoProvider> {
    link::provider()
}

/// All that the library has, the right ones first.
pub(crate) fn everything() -> Arc<CryptoProvider> {
    let mut groups = vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::SECP384R1];
    groups.extend([aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1]);
    let suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(CryptoProvider { cipher_suites: suites, kx_groups: groups, ..aws_lc_rs::default_provider() })
}

/// A caller at the meter's local port, with a certificate or without.
///
/// # Errors
/// [`Error`]: the algorithms do not go together.
pub(crate) fn caller(
    provider: Arc<CryptoProvider>,
    identity: Option<&Identity>,
    session: Session,
) -> Result<Arc<ClientConfig>, Error> {
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // whoever tests a meter's certificate does it elsewhere: here the meter judges
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut config = match identity {
        Some(identity) => config.with_client_cert_resolver(Arc::new(Shows(identity.certified_key()))),
        None => config.with_no_client_auth(),
    };
    // The name would stand on the wire.
    config.enable_sni = false;
    config.enable_early_data = session == Session::Early;
    config.enable_secret_extraction = true;
    config.resumption = match session {
        Session::None => Resumption::disabled(),
        _ => Resumption::store(Arc::new(ClientSessionMemoryCache::new(4))),
    };
    Ok(Arc::new(config))
}

/// The head-end that the meter dials. `protocols`: by name (RFC 7301).
///
/// # Errors
/// As [`caller`].
pub(crate) fn head_end(
    provider: Arc<CryptoProvider>,
    identity: &Identity,
    session: Session,
) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Anybody(provider)))
        .with_cert_resolver(Arc::new(Shows(identity.certified_key())));
    config.alpn_protocols = vec![link::ALPN_OPENING.to_vec(), link::ALPN.to_vec()];
    config.enable_secret_extraction = true;
    match session {
        Session::None => config.send_tls13_tickets = 0,
        Session::Resumed => {}
        Session::Early => config.max_early_data_size = 16_384,
    }
    Ok(Arc::new(config))
}

/// The name by which the meter is called.
pub(crate) fn server_name(meter: Option<MeterId>, address: SocketAddr) -> ServerName<'static> {
    meter.and_then(link::meter_server_name).unwrap_or_else(|| ServerName::IpAddress(address.ip().into()))
}

/// Shows one certificate, whatever is asked for.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Takes every certificate whose key the peer has.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl Anybody {
    fn signed(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("no TLS 1.2 here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("no TLS 1.2 here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
