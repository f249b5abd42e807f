//! Where a front stands: between the bench and the sound meter's local port, or between the sound meter and the head-end that it dials.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use meterseal_bench::certify::Inside;
use meterseal_link::pki::Certificate;
use meterseal_link::{accept, tls};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::mistakes::Judge;

/// The head-end's name.
pub(super) const HEAD_END: &str = "bench";
const DEADLINE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_secs(1);

/// A local port of the front's own.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) config: Arc<ServerConfig>,
    pub(super) judge: Judge,
}

/// What is done to a connection before there is any TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    TakesTls12,
    TakesPlain,
    TakesTickets,
}

fn bound(inside: &Inside) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let _runtime = inside.runtime.enter();
    Ok((TcpListener::from_std(listener)?, address))
}

/// A connection to the meter's own local port, as a caller that it takes.
async fn inward(inside: &Inside, port: SocketAddr) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let profile = tls::client_config(&inside.caller, &inside.trust).map_err(io::Error::other)?;
    let name = tls::meter_server_name(inside.meter).ok_or_else(|| io::Error::other("no name"))?;
    let stream = TcpStream::connect(port).await?;
    TlsConnector::from(Arc::clone(profile.config())).connect(name, stream).await
}

/// Ends TLS with the port's configuration, and goes on inward.
pub(super) fn listen(inside: &Inside, port: SocketAddr, made: Port) -> io::Result<SocketAddr> {
    let (listener, address) = bound(inside)?;
    let (inside, runtime) = (inside.clone(), inside.runtime.clone());
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (inside, made) = (inside.clone(), made.clone());
            tokio::spawn(async move {
                let mut outer = TlsAcceptor::from(Arc::clone(&made.config)).accept(stream).await?;
                let session = outer.get_ref().1;
                let belief = made.judge.belief;
                let own = session.peer_certificates().and_then(|chain| chain.first()).cloned();
                let is_revoked =
                    |own: &Option<_>| own.as_ref().is_some_and(|own| made.judge.check(own, true).is_err());
                // Whoever does not look again when a session is resumed does not look at all.
                let looks = belief.again || session.handshake_kind() != Some(HandshakeKind::Resumed);
                if looks && is_revoked(&own) {
                    return Ok(());
                }
                let mut inner = inward(&inside, port).await?;
                let watch = async {
                    while !(belief.watches && looks && is_revoked(&own)) {
                        tokio::time::sleep(LOOK).await;
                    }
                };
                tokio::select! {
                    copied = copy_bidirectional(&mut outer, &mut inner) => copied.map(drop),
                    () = watch => Ok(()),
                }
            });
        }
    });
    Ok(address)
}

/// Takes the meter's call in its head-end's place, and dials on with what `config` gives: it is asked before each call, with `None`, and told
/// after it whether the call went well. What is revoked meanwhile is noticed within a second, if the front `judges` that at all.
pub(super) fn dial(
    inside: &Inside,
    bench: SocketAddr,
    judges: bool,
    config: impl Fn(Option<bool>) -> Arc<ClientConfig> + Send + Sync + 'static,
) -> io::Result<SocketAddr> {
    let (listener, address) = bound(inside)?;
    let (inside, runtime, config) = (inside.clone(), inside.runtime.clone(), Arc::new(config));
    runtime.spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            let (inside, config) = (inside.clone(), Arc::clone(&config));
            tokio::spawn(async move {
                let accepted = accept::handshake(&inside.head_end, stream, from, DEADLINE).await;
                let Ok(mut inner) = accepted.map(|accepted| accepted.stream) else { return };
                let dialled = async {
                    // What the meter calls itself is what it would send as a name; whom it dials is the verifier's business.
                    let name =
                        tls::meter_server_name(inside.meter).ok_or_else(|| io::Error::other("no name"))?;
                    let stream = TcpStream::connect(bench).await?;
                    TlsConnector::from(config(None)).connect(name, stream).await
                };
                let Ok(mut outer) = dialled.await else {
                    config(Some(false));
                    return;
                };
                config(Some(true));
                let own = outer.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
                let watch = async {
                    while judges && !own.as_ref().is_some_and(|own| is_revoked(&inside, own)) {
                        tokio::time::sleep(LOOK).await;
                    }
                    if !judges {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    copied = copy_bidirectional(&mut outer, &mut inner) => drop(copied),
                    () = watch => {}
                }
            });
        }
    });
    Ok(address)
}

fn is_revoked(inside: &Inside, certificate: &CertificateDer<'_>) -> bool {
    Certificate::read(certificate).is_ok_and(|read| inside.trust.revocations.is_revoked(&read))
}

/// Looks at a caller's first bytes, and passes on what the mistake leaves alone.
pub(super) fn raw(inside: &Inside, port: SocketAddr, mistake: Raw) -> io::Result<SocketAddr> {
    let (listener, address) = bound(inside)?;
    let (inside, runtime) = (inside.clone(), inside.runtime.clone());
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let inside = inside.clone();
            tokio::spawn(async move { read(&inside, stream, port, mistake).await });
        }
    });
    Ok(address)
}

async fn read(inside: &Inside, mut outer: TcpStream, port: SocketAddr, mistake: Raw) -> io::Result<()> {
    let mut first = vec![0; 16 * 1024];
    let length = outer.read(&mut first).await?;
    first.truncate(length);
    if mistake == Raw::TakesPlain && first.first() == Some(&0) {
        let mut inner = inward(inside, port).await?;
        inner.write_all(&first).await?;
        return copy_bidirectional(&mut outer, &mut inner).await.map(drop);
    }
    let answer = match mistake {
        Raw::TakesTls12 if extension(&first, SUPPORTED_VERSIONS).is_none() => Some(server_hello(0xC02C, &[])),
        // Resumed whatever the proof is: the first session that is offered.
        Raw::TakesTickets if extension(&first, PRE_SHARED_KEY).is_some() => {
            Some(server_hello(0x1302, &[0, 43, 0, 2, 3, 4, 0, 41, 0, 2, 0, 0]))
        }
        _ => None,
    };
    if let Some(answer) = answer {
        outer.write_all(&answer).await?;
        // It waits for what would come next.
        return tokio::io::copy(&mut outer, &mut tokio::io::sink()).await.map(drop);
    }
    let mut inner = TcpStream::connect(port).await?;
    inner.write_all(&first).await?;
    copy_bidirectional(&mut outer, &mut inner).await.map(drop)
}

const SUPPORTED_VERSIONS: u16 = 43;
const PRE_SHARED_KEY: u16 = 41;

/// An extension of a client's hello (RFC 8446, 4.1.2).
fn extension(hello: &[u8], wanted: u16) -> Option<&[u8]> {
    let number = |at: usize| Some(usize::from(u16::from_be_bytes([*hello.get(at)?, *hello.get(at + 1)?])));
    // Record, message, version, random; then session, suites, compressions.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(*hello.get(at)?);
    at += 2 + number(at)?;
    at += 1 + usize::from(*hello.get(at)?);
    at += 2;
    loop {
        let (kind, length) = (number(at)?, number(at + 2)?);
        if kind == usize::from(wanted) {
            return hello.get(at + 4..at + 4 + length);
        }
        at += 4 + length;
    }
}

fn server_hello(suite: u16, extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0x5A; 32]);
    body.push(0);
    body.extend(suite.to_be_bytes());
    body.push(0);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut record = vec![22, 3, 3];
    record.extend((body.len() as u16 + 4).to_be_bytes());
    record.extend([2, 0, 0, body.len() as u8]);
    record.extend(body);
    record
}
