//! The way to a meter that listens: `tcp://HOST:PORT` for the plain TCP wrapper, `tls://HOST:PORT` for TLS 1.3 around
//! it. Every step has a deadline, every failure a sentence.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use meterseal_model::MeterId;

use crate::pki::{Identity, PkiError, read_certificates};
use crate::revocation::{self, FolderError, Revocations};
use crate::tls::{self, Peer, PeerError};

/// The port that IANA has registered for DLMS/COSEM.
pub const DLMS_PORT: u16 = 4059;

/// Where a meter listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterAddress {
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// Host name or IP address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for MeterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "tcp" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for MeterAddress {
    type Err = AddressError;

    /// Reads `tls://HOST:PORT` or `tcp://HOST:PORT`; the port may be left out ([`DLMS_PORT`]), an IPv6 address stands
    /// in brackets.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.chars().take(80).collect());
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let tls = match scheme {
            "tls" => true,
            "tcp" => false,
            _ => return Err(wrong()),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(wrong());
                }
                match after {
                    "" => (host, None),
                    after => (host, Some(after.strip_prefix(':').ok_or_else(wrong)?)),
                }
            }
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let is_host = |letter: char| letter.is_ascii_alphanumeric() || "-._:".contains(letter);
        if host.is_empty() || host.len() > 253 || !host.chars().all(is_host) {
            return Err(wrong());
        }
        let port = match port {
            None => DLMS_PORT,
            Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or_else(wrong)?,
        };
        Ok(Self { tls, host: host.to_owned(), port })
    }
}

/// A text that is no meter's address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{0}\" is no address of a meter; write tls://HOST:PORT or tcp://HOST:PORT (the port is 4059 where it is left out)"
)]
pub struct AddressError(String);

/// A connection to a meter, plain or encrypted.
#[derive(Debug)]
pub enum Wire {
    /// The plain TCP wrapper.
    Plain(TcpStream),
    /// TLS around it.
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// How TLS is spoken to a meter: see [`trusting`].
pub type TlsSide = Arc<ClientConfig>;

/// Connects. `tls` is needed where the address says so, and not used otherwise; see
/// [`tls::listening_meter_config`]. Also tells which of our meters answered, where the certificate says it.
///
/// # Errors
/// [`ReachError`], worded for a person.
pub async fn connect(
    address: &MeterAddress,
    tls: Option<&Arc<ClientConfig>>,
    limit: Duration,
) -> Result<(Wire, Option<Peer>), ReachError> {
    let failed =
        |source: io::Error| ReachError::Tcp { address: address.clone(), why: tls::explain_io(&source) };
    let stream = timeout(limit, TcpStream::connect((address.host.as_str(), address.port)))
        .await
        .map_err(|_| ReachError::Deadline { address: address.clone(), what: "connection", limit })?
        .map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    if !address.tls {
        return Ok((Wire::Plain(stream), None));
    }
    let config = tls.ok_or_else(|| ReachError::NoTrust { address: address.clone() })?;
    let refused = |why| ReachError::Tls { address: address.clone(), why };
    let name = ServerName::try_from(address.host.clone())
        .map_err(|_| refused("the host's name is none that a certificate can have".to_owned()))?;
    let stream = timeout(limit, TlsConnector::from(Arc::clone(config)).connect(name, stream))
        .await
        .map_err(|_| ReachError::Deadline { address: address.clone(), what: "TLS handshake", limit })?
        .map_err(|error| refused(tls::explain_io(&error)))?;
    let peer = match tls::peer_identity(stream.get_ref().1) {
        Ok(peer) => Some(peer),
        // Another maker's: the verifier has checked it against the address.
        Err(PeerError::NoName) => None,
        Err(error) => return Err(refused(error.to_string())),
    };
    Ok((Wire::Encrypted(Box::new(stream)), peer))
}

/// The TLS side for [`connect`]: who we are, the files with the authorities that a meter is trusted by, and the meter that must answer. Lists of
/// revoked certificates that lie beside the authorities, as `meterseal pki` writes them, are heeded.
///
/// # Errors
/// [`TrustError`]: a file cannot be used.
pub fn trusting(
    identity: Option<&Identity>,
    authorities: &[impl AsRef<Path>],
    expected: Option<MeterId>,
) -> Result<Arc<ClientConfig>, TrustError> {
    let mut certificates = Vec::new();
    for file in authorities {
        certificates.extend(read_certificates(file.as_ref())?);
    }
    let revocations = Revocations::new(&certificates);
    for file in authorities {
        let folder = file.as_ref().parent().filter(|folder| !folder.as_os_str().is_empty());
        revocation::load_folder(folder.unwrap_or(Path::new(".")), &revocations)?;
    }
    Ok(tls::listening_meter_config(identity, &certificates, expected, &revocations)?)
}

/// Why nobody can be trusted.
#[derive(Debug, Error)]
pub enum TrustError {
    /// Certificates or keys cannot be read.
    #[error(transparent)]
    Files(#[from] PkiError),
    /// A list of revoked certificates cannot.
    #[error(transparent)]
    Revocations(#[from] FolderError),
    /// They are no authorities, or no identity.
    #[error("the authorities or the identity cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// Why a meter could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReachError {
    /// No TCP connection.
    #[error("{address} cannot be reached: {why}; check address and port, and that the meter is on")]
    Tcp {
        /// Where.
        address: MeterAddress,
        /// Why.
        why: String,
    },
    /// Not in time.
    #[error("no {what} with {address} within {limit:?}; check address and port, and that the meter is on")]
    Deadline {
        /// Where.
        address: MeterAddress,
        /// What was awaited.
        what: &'static str,
        /// For how long.
        limit: Duration,
    },
    /// The handshake failed.
    #[error("{address} is not accepted: {why}")]
    Tls {
        /// Where.
        address: MeterAddress,
        /// Why.
        why: String,
    },
    /// TLS without anything to trust.
    #[error("{address} speaks TLS, and no authority is given that it may be trusted by")]
    NoTrust {
        /// Where.
        address: MeterAddress,
    },
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            ("tcp://127.0.0.1:4059", "tcp://127.0.0.1:4059"),
            ("tls://meter.example", "tls://meter.example:4059"),
            ("tls://[::1]:1", "tls://[::1]:1"),
            ("tcp://[fe80::1]", "tcp://[fe80::1]:4059"),
        ] {
            assert_eq!(text.parse::<MeterAddress>().unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "127.0.0.1:4059",
            "http://x",
            "tcp://",
            "tcp://a:0",
            "tcp://a:b",
            "tcp://a b",
            "tcp://[x]:1",
            "tcp://[::1]1",
        ] {
            assert!(wrong.parse::<MeterAddress>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_said_to_be_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: MeterAddress = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let error = connect(&address, None, Duration::from_secs(5)).await.unwrap_err();
        assert!(error.to_string().contains("nothing listens there"), "{error}");
    }
}
