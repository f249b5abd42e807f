//! The meter's side of a connection: dial, handshake, check who answered, hand over; then again, with pauses that
//! grow and are spread, so that a fleet that lost its head-end does not come back in one moment.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use meterseal_model::Roles;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::opening::{self, OpeningError};
use crate::revocation::Standing;
use crate::tls::{self, ClientProfile, Peer, PeerError};

/// A way for bytes: TCP, or something that stands in for it.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> Transport for T {}

/// A way to a peer, whatever is under it.
pub type Way = Box<dyn Transport>;

/// What makes ways: the system's TCP ([`Tcp`]), or a network with faults around it.
pub trait Network: Send + Sync + fmt::Debug {
    /// Connects to `HOST:PORT`.
    fn connect<'a>(&'a self, address: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Way>> + Send + 'a>>;

    /// How strong the radio signal is, dBm; `None` without a radio, or while it hears nothing.
    fn signal_dbm(&self) -> Option<i8> {
        None
    }
}

/// The system's TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Network for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Way>> + Send + 'a>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            // Small messages go at once: else each answer waits 40 ms for an acknowledgement.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Way)
        })
    }
}

/// A connection to the head-end that was dialled.
#[derive(Debug)]
pub struct Dialled {
    /// The encrypted stream.
    pub stream: TlsStream<Way>,
    /// What the head-end's certificate entitles it to.
    pub roles: Roles,
    /// The connection's right to go on: close it when this ends.
    pub standing: Standing,
}

/// Where to dial, and who must answer.
#[derive(Clone, Debug)]
pub struct Target {
    /// `HOST:PORT`.
    pub address: String,
    /// The head-end's name, as in its certificate.
    pub headend: String,
}

/// Deadlines and pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialLimits {
    /// How long a TCP connection may take.
    pub connect: Duration,
    /// How long the TLS handshake may take.
    pub handshake: Duration,
    /// The pause after the first failure.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// A session that lasted at least this long counts as a success: the next pause is the first again. In TLS 1.3 a
    /// client is connected before the server has judged its certificate, so being connected proves nothing.
    pub stable: Duration,
}

impl Default for DialLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(30),
            stable: Duration::from_secs(10),
        }
    }
}

/// What a caller shows of itself, asked before every attempt. Most show always the same: a [`ClientProfile`].
pub trait Profiles: Send + Sync {
    /// For the next attempt.
    fn next(&self) -> ClientProfile;

    /// Whether [`next`](Self::next) will show something else than before: then there is nothing to wait for.
    fn has_changed(&self) -> bool {
        false
    }

    /// The peer has said something inside the session: it accepts what was shown.
    fn heard(&self) {}

    /// The peer was reached and ended the connection without a word.
    fn unheard(&self) {}
}

impl Profiles for ClientProfile {
    fn next(&self) -> ClientProfile {
        self.clone()
    }
}

/// Keeps a connection to the head-end up for ever: dials, gives every stream and the head-end's roles to `session`,
/// waits, dials again. `session` ends with the reason; it is dropped when the head-end's certificate is revoked or
/// expires. `observe` hears of every attempt and of every end. A failure is logged (target `meterseal::dial`) when it differs from the one
/// before. `jitter` gives numbers from 0 to 1. Cancel by dropping.
pub async fn keep_connected<F, S, R>(
    target: &Target,
    network: &dyn Network,
    profiles: &dyn Profiles,
    limits: DialLimits,
    mut jitter: impl FnMut() -> f64,
    mut observe: impl FnMut(Progress<'_>),
    mut session: F,
) -> std::convert::Infallible
where
    F: FnMut(TlsStream<Way>, Roles) -> S,
    S: Future<Output = R>,
    R: fmt::Display,
{
    let mut backoff = Backoff::new(limits);
    let mut told = String::new();
    loop {
        let began = Instant::now();
        observe(Progress::Dialling);
        let reason = match connect_over(network, target, &profiles.next(), limits).await {
            Ok(Dialled { stream, roles, mut standing }) => {
                observe(Progress::Connected);
                let reason = tokio::select! {
                    reason = session(stream, roles) => reason.to_string(),
                    end = standing.ended() => format!("the head-end is no longer accepted: {end}"),
                };
                observe(Progress::Ended(&reason));
                reason
            }
            Err(error) => {
                if matches!(error, DialError::Opening(_)) {
                    profiles.unheard();
                }
                let reason = error.to_string();
                observe(Progress::Failed(&reason));
                reason
            }
        };
        let renewed = profiles.has_changed();
        if began.elapsed() >= limits.stable || renewed {
            backoff.reset();
            told.clear();
        }
        if renewed {
            tracing::info!(target: LOG, address = %target.address, "calls again with its new identity: {reason}");
        } else if reason != told {
            tracing::warn!(target: LOG, address = %target.address, "not connected: {reason}");
            told = reason;
        }
        sleep(backoff.next(jitter())).await;
    }
}

/// What [`keep_connected`] tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// An attempt begins.
    Dialling,
    /// It succeeded.
    Connected,
    /// It failed, and why.
    Failed(&'a str),
    /// A connection ended, and why.
    Ended(&'a str),
}

/// Dials once, over TCP.
///
/// # Errors
/// [`DialError`], worded for the log.
pub async fn connect(
    target: &Target,
    profile: &ClientProfile,
    limits: DialLimits,
) -> Result<Dialled, DialError> {
    connect_over(&Tcp, target, profile, limits).await
}

/// Dials once.
///
/// # Errors
/// [`DialError`], worded for the log.
pub async fn connect_over(
    network: &dyn Network,
    target: &Target,
    profile: &ClientProfile,
    limits: DialLimits,
) -> Result<Dialled, DialError> {
    if tls::headend_server_name(&target.headend).is_none() {
        return Err(DialError::Name(target.headend.clone()));
    }
    let way = timeout(limits.connect, network.connect(&target.address))
        .await
        .map_err(|_| DialError::Deadline { what: "connection", limit: limits.connect })?
        .map_err(|error| DialError::Tcp(tls::explain_io(&error)))?;
    timeout(limits.handshake, meet(way, target, profile))
        .await
        .map_err(|_| DialError::Deadline { what: "TLS handshake", limit: limits.handshake })?
}

async fn meet(way: Way, target: &Target, profile: &ClientProfile) -> Result<Dialled, DialError> {
    let name =
        tls::headend_server_name(&target.headend).ok_or_else(|| DialError::Name(target.headend.clone()))?;
    let mut stream = TlsConnector::from(Arc::clone(profile.config()))
        .connect_with(name, way, |connection| connection.set_buffer_limit(Some(BUFFER)))
        .await
        .map_err(|error| DialError::Tls(tls::explain_io(&error)))?;
    let expected = Peer::Headend(target.headend.clone());
    let judged = profile.judge(stream.get_ref().1)?;
    if judged.peer != expected {
        return Err(PeerError::Other { found: judged.peer, expected: expected.to_string() }.into());
    }
    if stream.get_ref().1.alpn_protocol() == Some(tls::ALPN_OPENING) {
        opening::ask(&mut stream, profile).await?;
    }
    if !profile.clock().is_set() {
        return Err(OpeningError::NoTime.into());
    }
    // Once more, by the clock and the lists that the opening brought.
    let judged = profile.judge(stream.get_ref().1)?;
    Ok(Dialled { stream, roles: judged.roles, standing: judged.standing })
}

/// Why a connection did not come about.
#[derive(Debug, Error)]
pub enum DialError {
    /// The head-end's name is none.
    #[error("\"{0}\" is no head-end's name; use lower-case letters, digits and inner hyphens")]
    Name(String),
    /// No TCP connection.
    #[error("the head-end cannot be reached: {0}")]
    Tcp(String),
    /// Not in time.
    #[error("no {what} within {limit:?}")]
    Deadline {
        /// What was awaited.
        what: &'static str,
        /// For how long.
        limit: Duration,
    },
    /// The handshake failed.
    #[error("the head-end is not accepted: {0}")]
    Tls(String),
    /// Somebody else answered.
    #[error("the head-end is not accepted: {0}")]
    Peer(#[from] PeerError),
    /// The opening exchange.
    #[error("the head-end is not accepted: {0}")]
    Opening(#[from] OpeningError),
}

/// Pauses between attempts: doubling from the first to the longest, each spread over its upper half and a little
/// beyond the middle, so that meters that failed together do not try again together.
#[derive(Clone, Debug)]
pub struct Backoff {
    limits: DialLimits,
    current: Duration,
}

impl Backoff {
    /// Begins with [`DialLimits::first_pause`].
    pub fn new(limits: DialLimits) -> Self {
        Self { limits, current: limits.first_pause.min(limits.longest_pause) }
    }

    /// The next pause: between a half and the whole of the current length. `jitter` from 0 to 1 says where.
    pub fn next(&mut self, jitter: f64) -> Duration {
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
        let pause = self.current.mul_f64(0.5 + 0.5 * jitter);
        self.current = self.current.saturating_mul(2).min(self.limits.longest_pause);
        pause
    }

    /// Begins again.
    pub fn reset(&mut self) {
        *self = Self::new(self.limits);
    }
}

/// A jitter from the operating system's random source; 0.5 where there is none.
pub fn random_jitter() -> f64 {
    let mut bytes = [0u8; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

const LOG: &str = "meterseal::dial";
/// What may wait for the network in one connection, on top of what the system buffers.
const BUFFER: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_quarter_second_to_thirty_and_are_spread() {
        let mut backoff = Backoff::new(DialLimits::default());
        let longest: Vec<_> = (0..10).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(longest, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(backoff.next(0.0).as_millis(), 15_000);
        assert_eq!(backoff.next(f64::NAN).as_millis(), 30_000);
        backoff.reset();
        assert_eq!(backoff.next(0.5).as_micros(), 187_500);
    }
}
