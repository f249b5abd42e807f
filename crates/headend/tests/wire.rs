//! CPA: what goes over the wire. Somebody between a meter and its head-end, who keeps every byte of both ways, sees two
//! hellos and then nothing but encrypted records: not which meter it is, not what it measures, not that there was an
//! alarm.
#![allow(clippy::unwrap_used, reason = "test helpers outside of #[test] functions")]

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Browser, DEVICE_TYPE, FIRMWARE, KEYS, Order, TestMeter, Utility, Variant, eventually, id};
use meterseal_model::{Obis, Stimulus};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What went each way on one connection: from the meter, and to it.
type Tape = Arc<Mutex<[Vec<u8>; 2]>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_on_the_line_learns_nothing() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let (by_way_of, tapes) = listener(headend.gateway_addr()).await;
    let variant = Variant { by_way_of: Some(by_way_of), ..Variant::default() };
    let meter = TestMeter::variant(&utility, &headend, 1, variant);
    eventually("the meter is read", async || {
        let meters = browser.get("/api/v1/meters").await.json();
        (!meters[0]["live"].is_null()).then_some(())
    })
    .await;
    meter.order(Order::Feel(Stimulus::OpenCover));
    let alarms = format!("/api/v1/events?meter={}&limit=10", id(1));
    eventually("the alarm arrives", async || {
        let shown = browser.get(&alarms).await.json();
        shown.as_array().unwrap().iter().any(|event| event["alarm"] != "none").then_some(())
    })
    .await;
    // And once more, by a session that is resumed.
    meter.order(Order::HangUp(Duration::ZERO));
    eventually("both connections have said enough", async || {
        let tapes = tapes.lock().unwrap();
        (tapes.len() >= 2 && tapes.iter().all(talks)).then_some(())
    })
    .await;
    drop(meter);
    headend.shutdown().await;

    let secrets: [(&str, Vec<u8>); 10] = [
        ("the meter's identifier", id(1).to_string().into_bytes()),
        ("the same in small letters", id(1).to_string().to_lowercase().into_bytes()),
        ("its system title", id(1).system_title().0.to_vec()),
        ("the name in its certificate", b"urn:meterseal".to_vec()),
        ("a name that TLS addresses", b"meterseal.internal".to_vec()),
        ("its type", DEVICE_TYPE.as_bytes().to_vec()),
        ("its firmware", FIRMWARE.0[..16].to_vec()),
        ("a register's name", Obis::ACTIVE_ENERGY_IMPORT.0.to_vec()),
        ("its security log's name", Obis::SECURITY_LOG.0.to_vec()),
        ("a key", KEYS.0[..16].to_vec()),
    ];
    let tapes = tapes.lock().unwrap();
    for tape in tapes.iter() {
        for bytes in tape.lock().unwrap().iter() {
            let records = records(bytes);
            let (hello, rest) = records.split_first().unwrap();
            assert_eq!(*hello, HANDSHAKE, "a hello in the clear");
            // RFC 8446, D.4: for middleboxes, one byte that says nothing.
            let encrypted = rest.iter().filter(|&&kind| kind != CHANGE_CIPHER_SPEC);
            assert!(encrypted.clone().all(|&kind| kind == APPLICATION_DATA), "{records:?}");
            assert!(encrypted.count() > 12, "{records:?}");
            for (what, secret) in &secrets {
                let seen = bytes.windows(secret.len()).any(|window| window == secret);
                assert!(!seen, "{what} went over the wire in the clear");
            }
        }
    }
}

/// Whether a session's messages are under way: more than any handshake has.
fn talks(tape: &Tape) -> bool {
    tape.lock().unwrap().iter().all(|bytes| records(bytes).len() > 15)
}

/// The types of all whole TLS records (RFC 8446, 5.1).
fn records(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [kind, 3, 1 | 3, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if rest.len() < length {
            break;
        }
        assert!(length <= 16_384 + 256, "no record is as long as {length}");
        if *kind == CHANGE_CIPHER_SPEC {
            assert_eq!(rest[..length], [1]);
        }
        kinds.push(*kind);
        bytes = &rest[length..];
    }
    kinds
}

/// Passes connections on and keeps what goes over them.
async fn listener(gateway: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<Tape>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tapes: Arc<Mutex<Vec<Tape>>> = Arc::default();
    let kept = Arc::clone(&tapes);
    tokio::spawn(async move {
        while let Ok((meter, _)) = listener.accept().await {
            let Ok(headend) = TcpStream::connect(gateway).await else { return };
            let tape = Tape::default();
            kept.lock().unwrap().push(Arc::clone(&tape));
            let (from_meter, to_meter) = meter.into_split();
            let (from_headend, to_headend) = headend.into_split();
            let other = Arc::clone(&tape);
            tokio::spawn(pass(from_meter, to_headend, move |bytes| tape.lock().unwrap()[0].extend(bytes)));
            tokio::spawn(pass(from_headend, to_meter, move |bytes| other.lock().unwrap()[1].extend(bytes)));
        }
    });
    (address, tapes)
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    keep: impl Fn(&[u8]),
) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        keep(&bytes[..length]);
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
