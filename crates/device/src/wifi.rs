//! A network behind a radio: [`Wifi`] puts the fates of [`meterseal_world::wifi`] around any [`Network`], so that a meter,
//! or whoever else dials, meets a weak signal, a radio that is off, roaming, and access points that swallow.
//!
//! Every connection gets a task of its own that carries segments between the caller and the network beneath, one at a
//! time in each direction. What a segment is refused stays in bounded buffers: the caller then waits, as with TCP.

use std::fmt;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use meterseal_link::dial::{Network, Way};
use meterseal_model::Stimulus;
use meterseal_world::wifi::{Passage, Radio, Reception};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// A network over a radio. Clones share the radio: keep one to change what surrounds it.
#[derive(Clone, Debug)]
pub struct Wifi {
    shared: Arc<Shared>,
}

struct Shared {
    network: Arc<dyn Network>,
    air: Mutex<Air>,
    /// Counts changes of reception and of access point.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Air {
    radio: Radio,
    /// No connection comes about before.
    back_at: Option<Instant>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("network", &self.network).finish_non_exhaustive()
    }
}

impl Wifi {
    /// Puts a radio with good reception around a network. The same seed gives the same fates to the same segments.
    pub fn new(network: Arc<dyn Network>, seed: u64) -> Self {
        let air = Mutex::new(Air { radio: Radio::new(seed), back_at: None });
        Self { shared: Arc::new(Shared { network, air, changes: watch::Sender::new(0) }) }
    }

    /// Changes what surrounds the radio, at once and for all connections.
    pub fn set_reception(&self, reception: Reception) {
        self.shared.air().radio.set_reception(reception);
        self.shared.changes.send_modify(|changes| *changes += 1);
    }

    /// Does to the radio what a stimulus says. One for something else changes nothing, and is `false`.
    pub fn apply(&self, stimulus: Stimulus) -> bool {
        let reception = match stimulus {
            Stimulus::RadioGood => Reception::Good,
            Stimulus::RadioWeak => Reception::Weak,
            Stimulus::RadioOff => Reception::Off,
            Stimulus::RadioSwallows => Reception::Swallowing,
            Stimulus::RadioRoam => {
                self.roam();
                return true;
            }
            _ => return false,
        };
        self.set_reception(reception);
        true
    }

    /// What surrounds the radio.
    pub fn reception(&self) -> Reception {
        self.shared.air().radio.reception()
    }

    /// Moves to another access point: connections die, and none comes about for [`Radio::ROAMING`].
    pub fn roam(&self) {
        let mut air = self.shared.air();
        air.radio.roam();
        air.back_at = Some(Instant::now() + Radio::ROAMING);
        drop(air);
        self.shared.changes.send_modify(|changes| *changes += 1);
    }
}

impl Network for Wifi {
    fn connect<'a>(&'a self, address: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Way>> + Send + 'a>> {
        Box::pin(async move {
            let (association, passage) = {
                let mut air = self.shared.air();
                if air.back_at.is_some_and(|back_at| Instant::now() < back_at) {
                    return Err(io::Error::new(ErrorKind::NetworkUnreachable, "the radio is roaming"));
                }
                (air.radio.association(), air.radio.pass())
            };
            let beneath = match passage {
                Passage::Held => {
                    return Err(io::Error::new(ErrorKind::NetworkDown, "the radio hears nothing"));
                }
                Passage::Swallowed => None,
                Passage::After(delay) => {
                    sleep(delay).await;
                    Some(self.shared.network.connect(address).await?)
                }
            };
            let (near, far) = duplex(BUFFER);
            let is_reset = Arc::new(AtomicBool::new(false));
            tokio::spawn(Arc::clone(&self.shared).carry(far, beneath, association, Arc::clone(&is_reset)));
            Ok(Box::new(Stream { near, is_reset }) as Way)
        })
    }

    fn signal_dbm(&self) -> Option<i8> {
        self.shared.air().radio.signal_dbm()
    }
}

impl Shared {
    fn air(&self) -> MutexGuard<'_, Air> {
        // Nothing panics while it holds this, and a radio has no state that could be half changed.
        self.air.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries a connection's bytes until either side has enough, or its access point is out of reach.
    async fn carry(
        self: Arc<Self>,
        far: DuplexStream,
        beneath: Option<Way>,
        association: u64,
        is_reset: Arc<AtomicBool>,
    ) {
        let is_spoilt = AtomicBool::new(beneath.is_none());
        let (mut from_near, mut to_near) = tokio::io::split(far);
        let Some(beneath) = beneath else {
            // Nobody is there. What is written goes nowhere, until the caller gives up.
            let mut nowhere = tokio::io::sink();
            tokio::select! {
                _ = self.pass_on(&mut from_near, &mut nowhere, &is_spoilt) => {}
                () = self.out_of_reach(association) => is_reset.store(true, Ordering::Release),
            }
            return;
        };
        let (mut from_peer, mut to_peer) = tokio::io::split(beneath);
        let died = tokio::select! {
            // A stream that is closed or broken on one side is of no use to the other.
            _ = self.pass_on(&mut from_near, &mut to_peer, &is_spoilt) => false,
            _ = self.pass_on(&mut from_peer, &mut to_near, &is_spoilt) => false,
            () = self.out_of_reach(association) => true,
        };
        if died {
            is_reset.store(true, Ordering::Release);
            drop((from_near, to_near));
            // The peer hears nothing of it: from where it stands the station has fallen silent.
            sleep(HALF_OPEN).await;
        }
    }

    async fn pass_on(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        is_spoilt: &AtomicBool,
    ) -> io::Result<()> {
        let mut segment = [0; SEGMENT];
        loop {
            let length = from.read(&mut segment).await?;
            if length == 0 && !is_spoilt.load(Ordering::Relaxed) {
                return to.shutdown().await;
            }
            if length == 0 {
                return Ok(());
            }
            self.travel(is_spoilt).await;
            if !is_spoilt.load(Ordering::Relaxed) {
                to.write_all(&segment[..length]).await?;
                to.flush().await?;
            }
        }
    }

    /// Waits as long as a segment of a connection takes. A segment that is swallowed spoils the connection: without it
    /// nothing behind it can arrive either.
    async fn travel(&self, is_spoilt: &AtomicBool) {
        let mut changes = self.changes.subscribe();
        while !is_spoilt.load(Ordering::Relaxed) {
            changes.borrow_and_update();
            let passage = self.air().radio.pass();
            match passage {
                Passage::After(delay) => return sleep(delay).await,
                Passage::Swallowed => is_spoilt.store(true, Ordering::Relaxed),
                // The sender lives in `self`: it cannot be gone.
                Passage::Held => drop(changes.changed().await),
            }
        }
    }

    async fn out_of_reach(&self, association: u64) {
        let mut changes = self.changes.subscribe();
        while self.air().radio.association() == association {
            drop(changes.changed().await);
        }
    }
}

/// The caller's end.
#[derive(Debug)]
struct Stream {
    near: DuplexStream,
    is_reset: Arc<AtomicBool>,
}

impl Stream {
    fn reset(&self) -> io::Result<()> {
        match self.is_reset.load(Ordering::Acquire) {
            true => {
                Err(io::Error::new(ErrorKind::ConnectionReset, "the radio moved to another access point"))
            }
            false => Ok(()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.near).poll_read(cx, into))?;
        Poll::Ready(if into.filled().len() == before && into.remaining() > 0 { self.reset() } else { Ok(()) })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.reset()?;
        Pin::new(&mut self.near).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_shutdown(cx)
    }
}

/// What fits into one radio frame's IP packet, bytes.
const SEGMENT: usize = 1400;
/// What a connection buffers in each direction, bytes.
const BUFFER: usize = 16 * 1024;
/// How long a peer goes on holding a connection whose station has gone.
const HALF_OPEN: Duration = Duration::from_secs(60);
