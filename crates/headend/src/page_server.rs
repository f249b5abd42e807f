//! The page's connections, bounded before anybody has signed in: how many there are, how long each may take to say
//! what it wants, and how much memory it may have meanwhile.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::stopped;

/// How long to wait when the system has no resources for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What bounds the page's connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLimits {
    /// How long the headers of a request may take; as long may a connection stand idle before the next request.
    pub(crate) headers: Duration,
    /// How many connections there may be, event streams included; further ones wait in the listener's queue. A
    /// browser opens at most six.
    pub(crate) concurrent: usize,
    /// Bytes that a connection may have buffered. Requests of the page have under 2 KiB of headers; hyper would
    /// allow 400 KiB.
    pub(crate) buffer: usize,
}

impl Default for PageLimits {
    fn default() -> Self {
        Self { headers: Duration::from_secs(10), concurrent: 128, buffer: 64 * 1024 }
    }
}

/// Serves the page until the head-end stops, then lets every request that is under way end.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: PageLimits,
    mut stopping: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.headers).max_buf_size(limits.buffer);
    let places = Arc::new(Semaphore::new(limits.concurrent.max(1)));
    let mut connections = JoinSet::new();
    let until = stopping.clone();
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = accept(&listener).await;
            while let Some(ended) = connections.try_join_next() {
                report_panic(ended);
            }
            let (http, router, until) = (http.clone(), router.clone(), until.clone());
            connections.spawn(async move {
                connection(&http, stream, router, until).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stopped(&mut stopping) => {}
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report_panic(ended);
    }
}

/// The next connection. The listener itself does not break; what fails is a connection that is gone already, or
/// the system for a while.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::debug!(%error, "the page could not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(
    http: &http1::Builder,
    stream: TcpStream,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) {
    // Events are small and must not wait for one another; a system that refuses this serves them all the same.
    let _ = stream.set_nodelay(true);
    let serving = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(serving);
    let outcome = tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = stopped(&mut stopping) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection to the page ended");
    }
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection to the page failed; the others go on: please report this");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

    use std::net::SocketAddr;
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    const DEADLINE: Duration = Duration::from_millis(500);
    const PATIENCE: Duration = Duration::from_secs(10);

    async fn start(concurrent: usize) -> (SocketAddr, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let router = Router::new().route("/", get(|| async { "here" }));
        let limits = PageLimits { headers: DEADLINE, concurrent, ..PageLimits::default() };
        (address, stop, tokio::spawn(serve(listener, router, limits, stopping)))
    }

    async fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn ask(address: SocketAddr) -> String {
        let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let mut answer = String::new();
        timeout(PATIENCE, send(address, request).await.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn who_never_finishes_its_headers_is_closed_and_others_are_served() {
        let (address, stop, server) = start(16).await;
        let begun = Instant::now();
        let mut slow = Vec::new();
        for _ in 0..15 {
            slow.push(send(address, b"GET / HTTP/1.1\r\nHost: x").await);
        }
        slow[0].write_all(b"\r\nstill: at it").await.unwrap();
        assert!(ask(address).await.ends_with("here"));
        assert!(begun.elapsed() < DEADLINE, "served while the others hold their places");
        for mut stream in slow {
            let mut answer = Vec::new();
            let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closed by the deadline");
            assert!(!answer.ends_with(b"here"));
        }
        assert!(begun.elapsed() >= DEADLINE);
        stop.send_replace(true);
        timeout(PATIENCE, server).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_full_house_is_served_again_after_the_deadline() {
        let (address, stop, server) = start(2).await;
        let begun = Instant::now();
        let silent = [send(address, b"").await, send(address, b"G").await];
        assert!(ask(address).await.ends_with("here"));
        assert!(begun.elapsed() >= DEADLINE, "a third waited for a place");
        drop(silent);
        stop.send_replace(true);
        timeout(PATIENCE, server).await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }

    #[tokio::test]
    async fn a_header_beyond_the_buffer_is_refused() {
        let (address, stop, server) = start(2).await;
        let mut request = b"GET / HTTP/1.1\r\nhost: x\r\nlong: ".to_vec();
        request.resize(PageLimits::default().buffer + 8192, b'x');
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(&request).await;
        let mut answer = Vec::new();
        let _ =
            timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("refused before the deadline");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        stop.send_replace(true);
        timeout(PATIENCE, server).await.unwrap().unwrap();
    }
}
