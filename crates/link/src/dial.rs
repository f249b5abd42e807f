//! The meter's side of a connection: dial, handshake, check who answered, hand over; then again, with pauses that
//! grow and are spread, so that a fleet that lost its head-end does not come back in one moment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::{self, Peer, PeerError};

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

/// Keeps a connection to the head-end up for ever: dials, gives every stream to `session`, waits, dials again.
/// `session` ends with the reason. A failure is logged (target `meterseal::dial`) when it differs from the one
/// before. `jitter` gives numbers from 0 to 1. Cancel by dropping.
pub async fn keep_connected<F, S, R>(
    target: &Target,
    config: &Arc<ClientConfig>,
    limits: DialLimits,
    mut jitter: impl FnMut() -> f64,
    mut session: F,
) -> std::convert::Infallible
where
    F: FnMut(TlsStream<TcpStream>) -> S,
    S: Future<Output = R>,
    R: fmt::Display,
{
    let mut backoff = Backoff::new(limits);
    let mut told = String::new();
    loop {
        let began = Instant::now();
        let reason = match connect(target, config, limits).await {
            Ok(stream) => session(stream).await.to_string(),
            Err(error) => error.to_string(),
        };
        if began.elapsed() >= limits.stable {
            backoff.reset();
            told.clear();
        }
        if reason != told {
            tracing::warn!(target: LOG, address = %target.address, "not connected: {reason}");
            told = reason;
        }
        sleep(backoff.next(jitter())).await;
    }
}

/// Dials once.
///
/// # Errors
/// [`DialError`], worded for the log.
pub async fn connect(
    target: &Target,
    config: &Arc<ClientConfig>,
    limits: DialLimits,
) -> Result<TlsStream<TcpStream>, DialError> {
    let name =
        tls::headend_server_name(&target.headend).ok_or_else(|| DialError::Name(target.headend.clone()))?;
    let failed = |error: std::io::Error| DialError::Tcp(tls::explain_io(&error));
    let stream = timeout(limits.connect, TcpStream::connect(&target.address))
        .await
        .map_err(|_| DialError::Deadline { what: "connection", limit: limits.connect })?
        .map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let stream = timeout(limits.handshake, TlsConnector::from(Arc::clone(config)).connect(name, stream))
        .await
        .map_err(|_| DialError::Deadline { what: "TLS handshake", limit: limits.handshake })?
        .map_err(|error| DialError::Tls(tls::explain_io(&error)))?;
    let expected = Peer::Headend(target.headend.clone());
    match tls::peer_identity(stream.get_ref().1)? {
        found if found == expected => Ok(stream),
        found => Err(PeerError::Other { found, expected: expected.to_string() }.into()),
    }
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
