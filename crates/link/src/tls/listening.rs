//! The other way round: a client that dials a meter which listens, at its local port or, another maker's, on its
//! network. Our own meters are known by the name in their certificate, others by the address that was dialled.

use std::sync::Arc;

use meterseal_model::MeterId;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier as _;
use rustls::{CertificateError, Error, OtherError, RootCertStore};

use super::MeterClock;
use super::judge::Judge;
use super::peer::{Peer, PeerError};
use super::verify::{CallerVerifier, Callers, signatures_by};
use crate::pki::Certificate;
use crate::revocation::Revocations;

/// Accepts a meter that listens.
#[derive(Debug)]
pub(super) struct ListeningMeterVerifier {
    /// Our meters: a chain whose own certificate names one. It says client authentication, since meters dial.
    ours: CallerVerifier,
    /// Everybody else: a server's certificate for the address.
    others: Arc<WebPkiServerVerifier>,
    expected: Option<MeterId>,
}

impl ListeningMeterVerifier {
    pub(super) fn new(
        anchors: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        expected: Option<MeterId>,
    ) -> Result<Self, Error> {
        let others = WebPkiServerVerifier::builder_with_provider(Arc::clone(&anchors), Arc::clone(&provider))
            .build()
            .map_err(|error| Error::General(format!("trusted authorities: {error}")))?;
        let judge = Judge { revocations: Revocations::default(), clock: MeterClock::system() };
        let ours = CallerVerifier::new(anchors, provider, Callers::Meters, judge)?;
        Ok(Self { ours, others, expected })
    }
}

impl ServerCertVerifier for ListeningMeterVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let named = Certificate::read(end_entity).and_then(|read| read.peer.ok_or(PeerError::NoName));
        match (&named, self.expected) {
            (Ok(Peer::Meter(found)), expected) if expected.is_none_or(|expected| expected == *found) => {
                self.ours.verify_client_cert(end_entity, intermediates, now)?;
                Ok(ServerCertVerified::assertion())
            }
            (Err(PeerError::NoName), None) => {
                self.others.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            _ => {
                let expected = self.expected.map_or("a meter".to_owned(), |meter| format!("meter {meter}"));
                let error = match named {
                    Ok(found) => PeerError::Other { found, expected },
                    Err(error) => error,
                };
                Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error)))))
            }
        }
    }

    signatures_by!(others);
}
