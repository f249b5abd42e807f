//! Mutual handshakes as the gateway makes them, its side alone: every call into its TLS session is timed, whatever the
//! client does meanwhile is not. The median handshake gives the rate of a core.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meterseal_link::tls::{ClientProfile, ServerProfile};
use meterseal_link::{Pki, tls};
use rustls::{ClientConnection, HandshakeKind, ServerConnection};

use crate::figure;

pub(crate) fn measure(length: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(&folder.path().join("pki")).unwrap();
    let headend = pki.issue_headend("local").unwrap().identity().unwrap();
    let meter = pki.issue_meter("MSL0000000042".parse().unwrap()).unwrap().identity().unwrap();
    let server = tls::gateway_config(&headend, &pki.trust()).unwrap();
    let client = || tls::meter_config(&meter, &pki.trust()).unwrap();

    let mut full = Vec::new();
    let end = Instant::now() + length / 2;
    while Instant::now() < end {
        // A new configuration remembers no session.
        let (kind, seconds) = handshake(&client(), &server);
        assert_eq!(kind, HandshakeKind::Full);
        full.push(seconds);
    }
    figure("full_handshakes_per_second", 1.0 / median(&mut full));

    let client = client();
    handshake(&client, &server);
    let mut resumed = Vec::new();
    let end = Instant::now() + length / 2;
    while Instant::now() < end {
        let (kind, seconds) = handshake(&client, &server);
        assert_eq!(kind, HandshakeKind::Resumed);
        resumed.push(seconds);
    }
    figure("resumed_handshakes_per_second", 1.0 / median(&mut resumed));
}

/// What it was, and the seconds that the server's side took, until it knows its peer and the client has its ticket.
fn handshake(client: &ClientProfile, server: &ServerProfile) -> (HandshakeKind, f64) {
    let name = tls::headend_server_name("local").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client.config()), name).unwrap();
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
