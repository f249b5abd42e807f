//! TLS configurations that believe too much, one way each.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use meterseal_bench::certify::Inside;
use meterseal_link::pki::Certificate;
use meterseal_link::{Peer, Trust, tls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
};

use super::stand::Port;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Belief {
    pub(super) certificate: bool,
    pub(super) issuer: bool,
    pub(super) time: bool,
    pub(super) name: bool,
    pub(super) revoked: bool,
    /// While the connection stands.
    pub(super) watches: bool,
    /// When a session is resumed.
    pub(super) again: bool,
    pub(super) early_data: bool,
    pub(super) tells_name: bool,
}

impl Belief {
    /// As the sound meter does.
    pub(super) const RIGHT: Self = Self {
        certificate: true,
        issuer: true,
        time: true,
        name: true,
        revoked: true,
        watches: true,
        again: true,
        early_data: false,
        tells_name: false,
    };
}

/// A local port.
pub(super) fn listening(
    inside: &Inside,
    provider: Arc<CryptoProvider>,
    belief: Belief,
) -> Result<Port, Error> {
    let chain = WebPkiClientVerifier::builder_with_provider(anchors(&inside.trust)?, Arc::clone(&provider))
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let judge = Judge { belief, provider: Arc::clone(&provider), trust: inside.trust.clone() };
    let verifier = Callers { chain, judge: judge.clone() };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(own(inside)));
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(16);
    config.max_early_data_size = if belief.early_data { 16_384 } else { 0 };
    Ok(Port { config: Arc::new(config), judge })
}

/// A meter that dials.
pub(super) fn dialling(
    inside: &Inside,
    provider: Arc<CryptoProvider>,
    belief: Belief,
) -> Result<Arc<ClientConfig>, Error> {
    let chain = WebPkiServerVerifier::builder_with_provider(anchors(&inside.trust)?, Arc::clone(&provider))
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let judge = Judge { belief, provider: Arc::clone(&provider), trust: inside.trust.clone() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // that is what these meters are for
        .with_custom_certificate_verifier(Arc::new(Dialled { chain, judge }))
        .with_client_cert_resolver(Arc::new(own(inside)));
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    config.enable_sni = belief.tells_name;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn own(inside: &Inside) -> SingleCertAndKey {
    let CertifiedKey { cert, key, .. } = &*inside.own.certified_key();
    SingleCertAndKey::from(CertifiedKey::new(cert.clone(), Arc::clone(key)))
}

fn anchors(trust: &Trust) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    for authority in &trust.headends {
        store.add(authority.clone())?;
    }
    Ok(Arc::new(store))
}

/// What a certificate is judged by.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    pub(super) belief: Belief,
    provider: Arc<CryptoProvider>,
    trust: Trust,
}

impl Judge {
    /// When the chain is looked at.
    fn moment(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> UnixTime {
        let begin = Certificate::read(certificate).map(|read| read.validity.not_before);
        match begin.map(|begin| begin.duration_since(SystemTime::UNIX_EPOCH)) {
            Ok(Ok(begin)) if !self.belief.time => UnixTime::since_unix_epoch(begin + Duration::from_secs(60)),
            _ => now,
        }
    }

    /// Whether the certificate may be believed, beside its chain.
    pub(super) fn check(&self, certificate: &CertificateDer<'_>, caller: bool) -> Result<(), Error> {
        let refused = |error| Err(Error::InvalidCertificate(error));
        let Ok(read) = Certificate::read(certificate) else { return refused(CertificateError::BadEncoding) };
        if self.belief.revoked && self.trust.revocations.is_revoked(&read) {
            return refused(CertificateError::Revoked);
        }
        let is_right = match read.peer {
            Some(Peer::Client(_)) => caller,
            Some(Peer::Headend(_)) => !caller,
            _ => false,
        };
        if self.belief.name && self.belief.issuer && !is_right {
            return refused(CertificateError::NotValidForName);
        }
        Ok(())
    }

    fn signed(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }
}

#[derive(Debug)]
struct Callers {
    chain: Arc<dyn ClientCertVerifier>,
    judge: Judge,
}

impl ClientCertVerifier for Callers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.judge.belief.certificate
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let Judge { belief, .. } = self.judge;
        if belief.issuer {
            let verified = self.chain.verify_client_cert(own, above, self.judge.moment(own, now));
            match verified {
                Err(Error::InvalidCertificate(
                    CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
                )) if !belief.name => {}
                other => {
                    other?;
                }
            }
        }
        self.judge.check(own, true)?;
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
        self.judge.signed(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct Dialled {
    chain: Arc<WebPkiServerVerifier>,
    judge: Judge,
}

impl ServerCertVerifier for Dialled {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Judge { belief, .. } = self.judge;
        if belief.issuer {
            let name = tls::headend_server_name(super::stand::HEAD_END).ok_or(Error::UnsupportedNameType)?;
            let verified =
                self.chain.verify_server_cert(own, above, &name, ocsp, self.judge.moment(own, now));
            match verified {
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) if !belief.name => {}
                other => {
                    other?;
                }
            }
        }
        self.judge.check(own, false)?;
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
        self.judge.signed(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
