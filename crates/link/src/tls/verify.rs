//! Verifiers: WebPKI judges the chain, then the name by which the certificate calls its owner must be of the right
//! kind, on the dialling side the very peer that was dialled, and not revoked.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName, Error, OtherError, RootCertStore};

use super::judge::Judge;
use super::peer::{Peer, PeerError};
use crate::pki::Certificate;

/// The part of a verifier that WebPKI does alone: signatures in the handshake, by the verifier in this field.
macro_rules! signatures_by {
    ($chain:ident) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.$chain.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.$chain.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.$chain.supported_verify_schemes()
        }
    };
}
pub(super) use signatures_by;

/// Whom a server lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callers {
    /// A gateway: meters.
    Meters,
    /// A meter's local port: clients.
    Clients,
}

/// Accepts callers of one kind.
#[derive(Debug)]
pub(super) struct CallerVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    callers: Callers,
    judge: Judge,
}

impl CallerVerifier {
    pub(super) fn new(
        anchors: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        callers: Callers,
        judge: Judge,
    ) -> Result<Self, Error> {
        let chain = WebPkiClientVerifier::builder_with_provider(anchors, provider)
            .build()
            .map_err(|error| Error::General(format!("authorities for {}: {error}", callers.plural())))?;
        Ok(Self { chain, callers, judge })
    }
}

impl Callers {
    fn plural(self) -> &'static str {
        match self {
            Self::Meters => "meters",
            Self::Clients => "clients",
        }
    }

    /// Whether `peer` is of this kind.
    pub(super) fn check(self, peer: &Peer) -> Result<(), PeerError> {
        let expected = match (self, peer) {
            (Self::Meters, Peer::Meter(_)) | (Self::Clients, Peer::Client(_)) => return Ok(()),
            (Self::Meters, _) => "a meter",
            (Self::Clients, _) => "a client",
        };
        Err(PeerError::Other { found: peer.clone(), expected: expected.to_owned() })
    }
}

impl ClientCertVerifier for CallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let now = verification_time(&self.judge, end_entity, intermediates)?;
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let peer = named(&self.judge, end_entity)?;
        self.callers.check(&peer).map_err(refused)?;
        Ok(verified)
    }

    signatures_by!(chain);
}

/// Accepts the one that was dialled.
#[derive(Debug)]
pub(super) struct DialledVerifier {
    chain: Arc<WebPkiServerVerifier>,
    judge: Judge,
}

impl DialledVerifier {
    pub(super) fn new(
        anchors: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        judge: Judge,
    ) -> Result<Self, Error> {
        let chain = WebPkiServerVerifier::builder_with_provider(anchors, provider)
            .build()
            .map_err(|error| Error::General(format!("authorities for those who are dialled: {error}")))?;
        Ok(Self { chain, judge })
    }
}

impl ServerCertVerifier for DialledVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let now = verification_time(&self.judge, end_entity, intermediates)?;
        let verified =
            self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let dialled = match server_name {
            ServerName::DnsName(name) => Peer::dialled_at(name.as_ref()),
            _ => None,
        };
        let dialled = dialled.ok_or(Error::UnsupportedNameType)?;
        let found = named(&self.judge, end_entity)?;
        if found != dialled {
            return Err(refused(PeerError::Other { found, expected: dialled.to_string() }));
        }
        Ok(verified)
    }

    signatures_by!(chain);
}

/// While the time is not known, a chain passes that was or will be valid at some moment from the last sealed time on:
/// of those, the first is when the last of its certificates begins.
fn verification_time(
    judge: &Judge,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<UnixTime, Error> {
    let mut begin = SystemTime::UNIX_EPOCH;
    for certificate in std::iter::once(end_entity).chain(intermediates) {
        // What cannot be read is refused by WebPKI, with its own words.
        if let Ok(read) = Certificate::read(certificate) {
            begin = begin.max(read.validity.not_before);
        }
    }
    let time = judge.clock.verification_time(begin);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Ok(UnixTime::since_unix_epoch(since))
}

fn named(judge: &Judge, certificate: &CertificateDer<'_>) -> Result<Peer, Error> {
    let read = Certificate::read(certificate).map_err(refused)?;
    if judge.revocations.is_revoked(&read) {
        return Err(Error::InvalidCertificate(CertificateError::Revoked));
    }
    read.peer.ok_or_else(|| refused(PeerError::NoName))
}

fn refused(error: PeerError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}
