//! The standing connection: the gateway's limits, and a meter that comes back by itself.
#![allow(clippy::unwrap_used, reason = "test helpers outside of #[test] functions")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use meterseal_link::accept::{AcceptLimits, Accepted, AddressLimits, Rate, serve};
use meterseal_link::dial::{DialLimits, Target, Tcp, connect, keep_connected};
use meterseal_link::pki::Pki;
use meterseal_link::tls::{self, ClientProfile, ServerProfile};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(10);

struct Ends {
    server: ServerProfile,
    client: ClientProfile,
}

fn ends() -> Ends {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki")).unwrap();
    let headend = pki.issue_headend("north").unwrap().identity().unwrap();
    let meter = pki.issue_meter("MSL0000000001".parse().unwrap()).unwrap().identity().unwrap();
    Ends {
        server: tls::gateway_config(&headend, &pki.trust()).unwrap(),
        client: tls::meter_config(&meter, &pki.trust()).unwrap(),
    }
}

async fn gateway(
    server: &ServerProfile,
    at: &str,
    limits: AcceptLimits,
) -> (SocketAddr, mpsc::UnboundedReceiver<Accepted>, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    let hand_over = move |accepted| drop(sender.send(accepted));
    (address, receiver, tokio::spawn(serve(listener, server.clone(), limits, hand_over)))
}

fn target(address: SocketAddr) -> Target {
    Target { address: address.to_string(), headend: "north".to_owned() }
}

/// Whether the gateway closes a connection that says nothing, and how soon.
async fn closed_after(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut byte = [0];
    let read = timeout(PATIENCE, stream.read(&mut byte)).await.expect("the gateway closes it");
    assert!(matches!(read, Ok(0) | Err(_)));
    began.elapsed()
}

#[tokio::test]
async fn silent_connections_from_one_address_do_not_shut_others_out() {
    let ends = ends();
    let limits = AcceptLimits {
        handshake: Duration::from_secs(2),
        concurrent: 8,
        per_address: AddressLimits { concurrent: 2, waiting: 0, rate: Rate { burst: 100, per_minute: 100 } },
        shared: Vec::new(),
        ..AcceptLimits::default()
    };
    let (address, mut accepted, _gateway) = gateway(&ends.server, "127.0.0.1:0", limits).await;

    let from = |ip: &'static str| async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
        socket.connect(address).await.unwrap()
    };
    let mut first = from("127.0.0.2").await;
    let mut second = from("127.0.0.2").await;
    sleep(Duration::from_millis(50)).await;
    let mut third = from("127.0.0.2").await;
    assert!(closed_after(&mut third).await < Duration::from_millis(500), "one too many from there");

    let meter = connect(&target(address), &ends.client, DialLimits::default()).await.unwrap();
    let got = timeout(PATIENCE, accepted.recv()).await.unwrap().unwrap();
    assert_eq!(got.meter, "MSL0000000001".parse().unwrap());
    drop(meter);

    assert!(closed_after(&mut first).await < Duration::from_secs(3), "the handshake's deadline");
    closed_after(&mut second).await;
    let mut again = from("127.0.0.2").await;
    sleep(Duration::from_millis(300)).await;
    again.write_all(b"x").await.expect("its place is free again, so it may try");
}

#[tokio::test]
async fn a_handshake_a_byte_at_a_time_ends_at_the_deadline_and_one_that_stops_halfway_too() {
    let ends = ends();
    let limits = AcceptLimits { handshake: Duration::from_secs(1), ..AcceptLimits::default() };
    let (address, mut accepted, _gateway) = gateway(&ends.server, "127.0.0.1:0", limits).await;
    // A ClientHello as rustls writes it.
    let name = tls::headend_server_name("north").unwrap();
    let mut client = rustls::ClientConnection::new(ends.client.config().clone(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();

    let mut halfway = TcpStream::connect(address).await.unwrap();
    halfway.write_all(&hello).await.unwrap();
    let slow = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = slow.into_split();
    let dribble = tokio::spawn(async move {
        for byte in hello {
            if write.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    // The server's half of the handshake, then the end.
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, halfway.read_to_end(&mut answer)).await.expect("the gateway closes it");
    assert!(!answer.is_empty(), "it answered, and waited for the certificate");
    let _ = timeout(PATIENCE, read.read_to_end(&mut Vec::new())).await.expect("the gateway closes it");
    assert!(!dribble.is_finished(), "no deadline: the whole message was awaited");
    dribble.abort();
    assert!(accepted.try_recv().is_err());
}

#[tokio::test]
async fn a_meter_comes_back_by_itself_and_bytes_arrive_both_ways() {
    let ends = ends();
    let limits = AcceptLimits::default();
    let (address, mut accepted, running) = gateway(&ends.server, "127.0.0.1:0", limits.clone()).await;
    let fast = DialLimits { first_pause: Duration::from_millis(20), ..DialLimits::default() };
    let sessions = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sessions);
    let client = ends.client.clone();
    let meter = tokio::spawn(async move {
        keep_connected(
            &target(address),
            &Tcp,
            &client,
            fast,
            || 0.5,
            |_| {},
            async |mut stream, _| {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut buffer = [0; 64];
                loop {
                    match stream.read(&mut buffer).await {
                        Ok(0) => return "it closed the connection".to_owned(),
                        Ok(length) => stream.write_all(&buffer[..length]).await.unwrap(),
                        Err(error) => return tls::explain_io(&error),
                    }
                }
            },
        )
        .await
    });

    for round in 1..=3 {
        let mut accepted = timeout(PATIENCE, accepted.recv()).await.unwrap().unwrap();
        accepted.stream.write_all(b"ping").await.unwrap();
        let mut echoed = [0; 4];
        timeout(PATIENCE, accepted.stream.read_exact(&mut echoed)).await.unwrap().unwrap();
        assert_eq!((&echoed, sessions.load(Ordering::SeqCst)), (b"ping", round));
    }

    // The gateway goes and comes back at the same address.
    running.abort();
    let _ = running.await;
    sleep(Duration::from_millis(200)).await;
    let (_, mut accepted, _running) = gateway(&ends.server, &address.to_string(), limits).await;
    timeout(PATIENCE, accepted.recv()).await.unwrap().unwrap();
    meter.abort();
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_while_nobody_answers() {
    let ends = ends();
    // A port that was just closed: nothing listens there.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (nobody, attempts) = (target(address), AtomicUsize::new(0));
    let jitter = || {
        attempts.fetch_add(1, Ordering::SeqCst);
        1.0
    };
    let dial = keep_connected(
        &nobody,
        &Tcp,
        &ends.client,
        DialLimits::default(),
        jitter,
        |_| {},
        async |_, _| "never",
    );
    assert!(timeout(Duration::from_secs(60), dial).await.is_err());
    // 0.25 + 0.5 + 1 + 2 + 4 + 8 + 16 s, then 30 s each: eight attempts within a minute, the eighth pausing.
    assert_eq!(attempts.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn a_listener_that_takes_tcp_and_says_nothing_hits_the_deadline() {
    let ends = ends();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limits = DialLimits { handshake: Duration::from_millis(100), ..DialLimits::default() };
    let error = connect(&target(listener.local_addr().unwrap()), &ends.client, limits).await.unwrap_err();
    assert_eq!(error.to_string(), "no TLS handshake within 100ms");
}
