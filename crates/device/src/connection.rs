//! The device's connection: keeps dialling the head-end and carries bytes between the stream and the meter's thread.
//!
//! Reading and writing go on apart: a peer that does not read cannot stop us from hearing it. A link that takes
//! bytes and delivers nothing is given up after as long as the meter says ([`Silence`]).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use meterseal_link::device_trust::DeviceTrust;
use meterseal_link::dial::{self, DialLimits, Network, Profiles, Progress, Target};
use meterseal_meter::Peer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

use crate::link_state::{Bytes, LinkState, Silence};
use crate::runner::Input;

/// Dials until the meter has stopped.
pub(crate) async fn keep(
    headend: Target,
    network: Arc<dyn Network>,
    profiles: Arc<dyn Profiles>,
    trust: Option<Arc<DeviceTrust>>,
    inputs: SyncSender<Input>,
    state: Arc<LinkState>,
) {
    let stopped = Notify::new();
    let (inputs, stopped, bytes, silence) = (&inputs, &stopped, &state.bytes, &state.silence);
    let profiles = &*profiles;
    let session = |stream, roles| async move {
        // Only this connection counts its bytes there.
        let before = bytes.incoming.load(Ordering::Relaxed);
        let end = carry(stream, Peer { roles, local: false }, inputs, bytes, silence).await;
        if bytes.incoming.load(Ordering::Relaxed) != before {
            profiles.heard();
        } else if matches!(end, End::ByPeer | End::Broken(_)) {
            profiles.unheard();
        }
        if matches!(end, End::Stopped) {
            stopped.notify_one();
            // There is nothing to report and nothing to dial for.
            std::future::pending::<()>().await;
        }
        end
    };
    tokio::select! {
        _ = dial::keep_connected(
            &headend,
            &*network,
            profiles,
            DialLimits::default(),
            dial::random_jitter,
            |progress| {
                state.observe(progress);
                if progress == Progress::Connected && let Some(trust) = &trust {
                    tokio::task::spawn_blocking({ let trust = Arc::clone(trust); move || remember(&trust) });
                }
            },
            session,
        ) => {}
        () = remember_hourly(trust.as_ref()) => {}
        () = stopped.notified() => {}
    }
}

/// Seals the time while it goes on, so that a restart does not throw it back by more than an hour.
async fn remember_hourly(trust: Option<&Arc<DeviceTrust>>) {
    let Some(trust) = trust else { return std::future::pending().await };
    loop {
        sleep(HOUR).await;
        let trust = Arc::clone(trust);
        // A task that panicked has been told of.
        let _ = tokio::task::spawn_blocking(move || remember(&trust)).await;
    }
}

fn remember(trust: &DeviceTrust) {
    if let Err(error) = trust.save() {
        tracing::error!("the last known time and the lists of revoked certificates cannot be saved: {error}");
    }
}

/// Carries bytes between a stream and the meter's thread until either has enough.
pub(crate) async fn carry(
    stream: impl AsyncRead + AsyncWrite,
    peer: Peer,
    inputs: &SyncSender<Input>,
    bytes: &Bytes,
    silence: &Silence,
) -> End {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
    let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let (sender, receiver) = mpsc::channel(OUTBOUND);
    if deliver(inputs, Input::Connected(number, peer, sender)).await.is_err() {
        return End::Stopped;
    }
    let (read, write) = tokio::io::split(stream);
    let end = tokio::select! {
        end = receive(read, number, inputs, bytes, silence) => end,
        end = send(write, receiver, bytes, silence) => end,
    };
    match deliver(inputs, Input::Disconnected(number)).await {
        Ok(()) => end,
        Err(()) => End::Stopped,
    }
}

async fn receive(
    mut stream: impl AsyncRead + Unpin,
    number: u64,
    inputs: &SyncSender<Input>,
    count: &Bytes,
    silence: &Silence,
) -> End {
    loop {
        let mut bytes = Vec::with_capacity(CHUNK);
        let longest = silence.get();
        match timeout(longest, stream.read_buf(&mut bytes)).await {
            Err(_) => return End::Silence(longest),
            Ok(Ok(0)) => return End::ByPeer,
            Ok(Ok(length)) => count.incoming.fetch_add(length as u64, Ordering::Relaxed),
            Ok(Err(error)) => return End::Broken(error),
        };
        if deliver(inputs, Input::Bytes(number, bytes)).await.is_err() {
            return End::Stopped;
        }
    }
}

async fn send(
    mut stream: impl AsyncWrite + Unpin,
    mut frames: mpsc::Receiver<Vec<u8>>,
    count: &Bytes,
    silence: &Silence,
) -> End {
    while let Some(frame) = frames.recv().await {
        let longest = silence.get();
        let written = timeout(longest, async {
            stream.write_all(&frame).await?;
            stream.flush().await
        });
        match written.await {
            Err(_) => return End::Silence(longest),
            Ok(Ok(())) => count.outgoing.fetch_add(frame.len() as u64, Ordering::Relaxed),
            Ok(Err(error)) => return End::Broken(error),
        };
    }
    // The meter gave the connection up, or stops. A close that fails leaves nothing more to do.
    let _ = timeout(silence.get(), stream.shutdown()).await;
    End::ByMeter
}

/// Puts an input into the thread's queue; waits while it is full, which slows the peer down and nobody else.
async fn deliver(inputs: &SyncSender<Input>, input: Input) -> Result<(), ()> {
    let mut input = input;
    loop {
        match inputs.try_send(input) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(_)) => return Err(()),
            Err(TrySendError::Full(back)) => input = back,
        }
        sleep(FULL_QUEUE).await;
    }
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    ByPeer,
    ByMeter,
    Silence(Duration),
    Stopped,
    Broken(std::io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByPeer => f.write_str("the peer closed the connection"),
            Self::ByMeter => f.write_str("the meter closed the connection"),
            Self::Silence(longest) => write!(f, "nothing came through for {longest:?}"),
            Self::Stopped => f.write_str("the meter has stopped"),
            Self::Broken(error) => {
                write!(f, "the connection broke: {}", meterseal_link::tls::explain_io(error))
            }
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);
/// Frames that may wait for the network.
const OUTBOUND: usize = 64;
/// Bytes read at once.
const CHUNK: usize = 4096;
/// Pause before a full queue is tried again.
const FULL_QUEUE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use meterseal_link::dial::Tcp;
    use meterseal_world::wifi::Reception;
    use tokio::time::Instant;

    use super::*;
    use crate::wifi::Wifi;

    #[tokio::test(start_paused = true)]
    async fn a_connection_into_an_access_point_that_swallows_is_given_up_after_a_minute() {
        let wifi = Wifi::new(Arc::new(Tcp), 1);
        wifi.set_reception(Reception::Swallowing);
        let way = wifi.connect("127.0.0.1:9").await.expect("it takes connections");
        let (inputs, inbox) = sync_channel(8);
        let begun = Instant::now();
        let silence = Silence::default();
        let end = carry(way, Peer::HEADEND, &inputs, &Bytes::default(), &silence).await;
        assert!(matches!(end, End::Silence(_)), "{end}");
        assert_eq!(begun.elapsed().as_secs(), silence.get().as_secs());
        assert!(matches!(inbox.try_recv(), Ok(Input::Connected(..))));
        assert!(matches!(inbox.try_recv(), Ok(Input::Disconnected(_))));
    }
}
