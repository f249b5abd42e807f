//! What the log says at WARN about a peer that has the right certificate and does the wrong thing: once, not each
//! time. A program of its own, since the log is the whole process's.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use common::{Utility, eventually, id};
use meterseal_headend::Headend;
use meterseal_link::dial::{self, Target, Way};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::client::TlsStream;

/// The log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines_with(&self, words: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }
}

async fn call(utility: &Utility, headend: &Headend) -> TlsStream<Way> {
    let identity = utility
        .pki
        .issue_operational(
            id(1),
            meterseal_link::pki::Validity::from_now(std::time::Duration::from_secs(86_400)),
        )
        .unwrap()
        .identity()
        .unwrap();
    let tls = meterseal_link::tls::meter_config(&identity, &utility.pki.trust()).unwrap();
    let target = Target { address: headend.gateway_addr().to_string(), headend: common::NAME.into() };
    dial::connect(&target, &tls, Default::default()).await.unwrap().stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_replaced_connections_are_said_once_a_minute() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .init();
    let utility = Utility::new();
    let headend = utility.start().await;
    for _ in 0..3 {
        let mut stream = call(&utility, &headend).await;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        // To the end that TLS says: a connection that is cut without it is an error here.
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }
    let said = log.lines_with("does not keep to the protocol");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("WARN") && said[0].contains("MSL0000000001"), "{said:?}");
    assert!(said[0].contains("from=127.0.0.1:") && said[0].contains("wrapper frames"), "{said:?}");

    let mut connections = Vec::new();
    for _ in 0..3 {
        let mut stream = call(&utility, &headend).await;
        // The head-end speaks first: it has taken this connection.
        stream.read_u8().await.unwrap();
        connections.push(stream);
    }
    let said = eventually("the line", async || {
        let said = log.lines_with("two devices share one certificate");
        (!said.is_empty()).then_some(said)
    })
    .await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("WARN") && said[0].contains("older=127.0.0.1:"), "{said:?}");
    headend.shutdown().await;
}
