//! The radio around a network, in virtual time: each of its faults as the caller and the peer meet it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use meterseal_device::wifi::Wifi;
use meterseal_link::dial::{Network, Way};
use meterseal_world::wifi::{Radio, Reception};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// A network whose every connection's other end comes out of a channel.
#[derive(Debug)]
struct Pipes(mpsc::UnboundedSender<DuplexStream>);

impl Network for Pipes {
    fn connect<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Way>> + Send + 'a>> {
        Box::pin(async move {
            let (near, far) = duplex(4096);
            self.0.send(far).unwrap();
            Ok(Box::new(near) as Way)
        })
    }
}

fn wifi(seed: u64) -> (Wifi, mpsc::UnboundedReceiver<DuplexStream>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Wifi::new(Arc::new(Pipes(sender)), seed), receiver)
}

const LONG: Duration = Duration::from_secs(600);

/// 200 kB up and as many down at once: everything arrives, in order. Gives the time that it took.
async fn exchange(reception: Reception, seed: u64) -> Duration {
    let (wifi, mut peers) = wifi(seed);
    wifi.set_reception(reception);
    let begun = Instant::now();
    let way = wifi.connect("anywhere").await.unwrap();
    let peer = peers.recv().await.unwrap();
    let sent: Vec<u8> = (0..200_000u32).map(|k| ((k * 7) >> 3) as u8).collect();
    let end = |stream: Way| {
        let sent = sent.clone();
        async move {
            let (mut read, mut write) = tokio::io::split(stream);
            let mut received = vec![0; sent.len()];
            let (wrote, got) = tokio::join!(write.write_all(&sent), read.read_exact(&mut received));
            wrote.unwrap();
            got.unwrap();
            assert!(received == sent, "bytes are lost or changed");
        }
    };
    tokio::join!(end(way), end(Box::new(peer)));
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_weak_signal_delays_and_loses_nothing() {
    let good = exchange(Reception::Good, 3).await;
    let weak = exchange(Reception::Weak, 3).await;
    assert!(weak > good * 20, "{weak:?} beside {good:?}");
    assert_eq!(weak, exchange(Reception::Weak, 3).await, "the same seed, another run");
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_is_off_holds_streams_and_refuses_new_ones_and_nothing_is_lost() {
    let (wifi, mut peers) = wifi(1);
    let mut way = wifi.connect("anywhere").await.unwrap();
    let mut peer = peers.recv().await.unwrap();
    wifi.set_reception(Reception::Off);
    way.write_all(b"held").await.unwrap();
    let mut four = [0; 4];
    assert!(timeout(LONG, peer.read_exact(&mut four)).await.is_err(), "nothing passes");
    assert_eq!(wifi.connect("anywhere").await.unwrap_err().kind(), ErrorKind::NetworkDown);
    assert_eq!(wifi.signal_dbm(), None);
    wifi.set_reception(Reception::Good);
    // The read that timed out took nothing.
    peer.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"held");
    drop(way);
    assert_eq!(peer.read(&mut four).await.unwrap(), 0, "a close arrives too");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_held_are_bounded() {
    let (wifi, _peers) = wifi(1);
    let mut way = wifi.connect("anywhere").await.unwrap();
    wifi.set_reception(Reception::Off);
    let mut taken = 0;
    while let Ok(written) = timeout(LONG, way.write(&[0; 1024])).await {
        taken += written.unwrap();
        assert!(taken < 64 * 1024);
    }
    assert!(taken >= 1024);
}

#[tokio::test(start_paused = true)]
async fn roaming_kills_connections_and_the_next_comes_about_after_the_break() {
    let (wifi, mut peers) = wifi(1);
    let mut way = wifi.connect("anywhere").await.unwrap();
    let mut peer = peers.recv().await.unwrap();
    wifi.roam();
    let mut byte = [0];
    assert_eq!(way.read(&mut byte).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(way.write(&byte).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(wifi.connect("anywhere").await.unwrap_err().kind(), ErrorKind::NetworkUnreachable);
    let ten = Duration::from_secs(10);
    assert!(timeout(ten, peer.read(&mut byte)).await.is_err(), "the peer hears nothing of it");
    sleep(Radio::ROAMING).await;
    let mut way = wifi.connect("anywhere").await.unwrap();
    let mut peer = peers.recv().await.unwrap();
    way.write_all(b"x").await.unwrap();
    peer.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"x");
}

#[tokio::test(start_paused = true)]
async fn an_access_point_that_swallows_takes_everything_and_delivers_nothing() {
    let (wifi, mut peers) = wifi(1);
    let mut standing = wifi.connect("anywhere").await.unwrap();
    let mut peer = peers.recv().await.unwrap();
    wifi.set_reception(Reception::Swallowing);
    let mut fresh = wifi.connect("anywhere").await.unwrap();
    for way in [&mut standing, &mut fresh] {
        way.write_all(&[1; 100_000]).await.unwrap();
    }
    peer.write_all(b"lost").await.unwrap();
    let mut byte = [0];
    for way in [&mut standing, &mut fresh] {
        assert!(timeout(LONG, way.read(&mut byte)).await.is_err());
    }
    assert!(timeout(LONG, peer.read(&mut byte)).await.is_err());
    assert!(peers.try_recv().is_err(), "the second connection never got beyond the access point");
    // Mended: what had been swallowed is missing from those streams for ever, and a new one works.
    wifi.set_reception(Reception::Good);
    standing.write_all(b"behind").await.unwrap();
    assert!(timeout(LONG, peer.read(&mut byte)).await.is_err());
    let mut way = wifi.connect("anywhere").await.unwrap();
    let mut peer = peers.recv().await.unwrap();
    way.write_all(b"y").await.unwrap();
    peer.read_exact(&mut byte).await.unwrap();
}
