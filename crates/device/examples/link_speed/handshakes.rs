//! Mutual handshakes as the gateway makes them, its side alone: every call into its TLS session is timed, whatever the
//! client does meanwhile is not. The median handshake gives the rate of a core. Meters prefer X25519MLKEM768, whose key
//! exchange is a quarter of secp384r1's; a client that knows only the latter, as OpenSSL 3.0 does, is measured as well.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meterseal_link::tls::ServerProfile;
use meterseal_link::{Pki, tls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ServerConnection,
    SignatureScheme,
};

use crate::figure;

pub(crate) fn measure(length: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(&folder.path().join("pki")).unwrap();
    let headend = pki.issue_headend("local").unwrap().identity().unwrap();
    let issued = pki.issue_meter("MSL0000000042".parse().unwrap()).unwrap();
    let meter = issued.identity().unwrap();
    let server = tls::gateway_config(&headend, &pki.trust()).unwrap();
    let preferred = || Arc::clone(tls::meter_config(&meter, &pki.trust()).unwrap().config());
    let (full, resumed) = rates(&server, preferred, length / 2);
    figure("full_handshakes_per_second", full);
    figure("resumed_handshakes_per_second", resumed);
    let old = || secp384r1_only(issued.chain_pem(), issued.key_pem());
    let (full, resumed) = rates(&server, old, length / 2);
    figure("full_handshakes_secp384r1_per_second", full);
    figure("resumed_handshakes_secp384r1_per_second", resumed);
}

/// Full and resumed handshakes of a core and second. `client` makes a configuration that remembers no session.
fn rates(server: &ServerProfile, client: impl Fn() -> Arc<ClientConfig>, length: Duration) -> (f64, f64) {
    let mut full = Vec::new();
    let end = Instant::now() + length / 2;
    while Instant::now() < end {
        let (kind, seconds) = handshake(client(), server);
        assert_eq!(kind, HandshakeKind::Full);
        full.push(seconds);
    }
    let client = client();
    handshake(Arc::clone(&client), server);
    let mut resumed = Vec::new();
    let end = Instant::now() + length / 2;
    while Instant::now() < end {
        let (kind, seconds) = handshake(Arc::clone(&client), server);
        assert_eq!(kind, HandshakeKind::Resumed);
        resumed.push(seconds);
    }
    (1.0 / median(&mut full), 1.0 / median(&mut resumed))
}

/// A client without X25519MLKEM768. It believes whatever certificate it sees: only the other side is measured.
fn secp384r1_only(chain: &str, key: &str) -> Arc<ClientConfig> {
    let provider = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::SECP384R1],
        ..CryptoProvider::clone(&tls::provider())
    };
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous() // rustls' word for a verifier of our own
        .with_custom_certificate_verifier(Arc::new(Believing))
        .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap();
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    Arc::new(config)
}

#[derive(Debug)]
struct Believing;

impl ServerCertVerifier for Believing {
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
        Err(Error::General("TLS 1.2 is not built in".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &tls::provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What it was, and the seconds that the server's side took, until it knows its peer and the client has its ticket.
fn handshake(client: Arc<ClientConfig>, server: &ServerProfile) -> (HandshakeKind, f64) {
    let name = tls::headend_server_name("local").unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut spent = Duration::ZERO;
    let begin = Instant::now();
    let mut session = ServerConnection::new(Arc::clone(server.config())).unwrap();
    spent += begin.elapsed();
    let mut line = Vec::new();
    loop {
        line.clear();
        while client.wants_write() {
            client.write_tls(&mut line).unwrap();
        }
        if line.is_empty() && !session.wants_write() && !session.is_handshaking() {
            break;
        }
        let begin = Instant::now();
        let mut arrived = Cursor::new(&line);
        while (arrived.position() as usize) < line.len() {
            session.read_tls(&mut arrived).unwrap();
            session.process_new_packets().unwrap();
        }
        let mut answer = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut answer).unwrap();
        }
        spent += begin.elapsed();
        let mut arrived = Cursor::new(&answer);
        while (arrived.position() as usize) < answer.len() {
            client.read_tls(&mut arrived).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    let begin = Instant::now();
    server.judge(&session).unwrap();
    spent += begin.elapsed();
    (session.handshake_kind().unwrap(), spent.as_secs_f64())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
