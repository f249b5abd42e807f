//! A connection to a receiver, plain on the loopback or TLS 1.3.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::receiver::Place;

/// Either kind of connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Addresses to which a receiver's name leads. In the clear, only those of the loopback count, whatever a name says.
pub(super) async fn addresses(place: &Place) -> io::Result<Vec<SocketAddr>> {
    let found = lookup_host((place.bare_host(), place.port)).await?;
    let usable: Vec<_> = found.filter(|address| place.tls.is_some() || address.ip().is_loopback()).collect();
    if usable.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "its name leads to no address that may be used"));
    }
    Ok(usable)
}

/// Connects.
pub(super) async fn connect(place: &Place) -> io::Result<Stream> {
    let plain = TcpStream::connect(&*addresses(place).await?).await?;
    plain.set_nodelay(true)?;
    let Some(tls) = &place.tls else { return Ok(Stream::Plain(plain)) };
    let name = ServerName::try_from(place.bare_host().to_owned()).map_err(io::Error::other)?;
    let secured = TlsConnector::from(tls.clone()).connect(name, plain).await?;
    Ok(Stream::Tls(Box::new(secured)))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
