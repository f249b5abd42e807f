//! Verifiers: WebPKI judges the chain, then the name by which the certificate calls its owner must be of the right
//! kind, and on the meter's side the very head-end that was dialled.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::peer::{Peer, PeerError, named_in};

/// Accepts meters.
#[derive(Debug)]
pub(super) struct MeterVerifier(Arc<dyn ClientCertVerifier>);

impl MeterVerifier {
    pub(super) fn new(anchors: Arc<RootCertStore>, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        WebPkiClientVerifier::builder_with_provider(anchors, provider)
            .build()
            .map(Self)
            .map_err(|error| Error::General(format!("authorities for meters: {error}")))
    }
}

impl ClientCertVerifier for MeterVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now)?;
        match named_in(end_entity).map_err(refused)? {
            Peer::Meter(_) => Ok(verified),
            found => Err(refused(PeerError::Other { found, expected: "a meter".to_owned() })),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Accepts the head-end that was dialled.
#[derive(Debug)]
pub(super) struct HeadendVerifier(Arc<WebPkiServerVerifier>);

impl HeadendVerifier {
    pub(super) fn new(anchors: Arc<RootCertStore>, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        WebPkiServerVerifier::builder_with_provider(anchors, provider)
            .build()
            .map(Self)
            .map_err(|error| Error::General(format!("authorities for head-ends: {error}")))
    }
}

impl ServerCertVerifier for HeadendVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let dialled = match server_name {
            ServerName::DnsName(name) => Peer::headend_at(name.as_ref()),
            _ => None,
        };
        let dialled = dialled.ok_or(Error::UnsupportedNameType)?;
        let found = named_in(end_entity).map_err(refused)?;
        if found != dialled {
            return Err(refused(PeerError::Other { found, expected: dialled.to_string() }));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn refused(error: PeerError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}
