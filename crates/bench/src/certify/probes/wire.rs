//! What the meter makes of a connection: whether it lets the peer in, refuses it, or says nothing.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use meterseal_link::opening;
use meterseal_link::tls::{self as link, Peer, ServerProfile};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::hello::{Offered, Said, read_client, read_server};
use super::inject::{Content, Sealer};
use super::relay::{Alteration, relay};
use super::tape::{Tape, Taped};
use crate::certify::Trouble;

/// What the meter did with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// It answered a request inside.
    LetIn,
    /// It ended the connection, or refused it with an alert.
    Refused,
    /// Neither, for as long as it was waited for.
    Silent,
}

impl Reaction {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::LetIn => "let in",
            Self::Refused => "refused",
            Self::Silent => "neither refused nor let in",
        }
    }
}

/// The bench's network: a runtime, a recorder and patience.
pub(crate) struct Wire {
    pub(crate) runtime: Runtime,
    pub(crate) tape: Tape,
    patience: Duration,
}

/// A TLS session at the bench, over a recorder.
pub(crate) type Called = tokio_rustls::client::TlsStream<Taped<TcpStream>>;
/// The same where the meter dialled.
pub(crate) type Answered = tokio_rustls::server::TlsStream<Taped<TcpStream>>;

/// An association of the public client, without security, over the wrapper (IEC 62056-5-3 and -47): what anybody may ask inside TLS.
const PUBLIC_ASSOCIATION: [u8; 39] = [
    0, 1, 0, 0x10, 0, 1, 0, 0x1F, //
    0x60, 0x1D, 0xA1, 9, 6, 7, 0x60, 0x85, 0x74, 5, 8, 1, 1, //
    0xBE, 0x10, 4, 0x0E, 1, 0, 0, 0, 6, 0x5F, 0x1F, 4, 0, 0, 0x7E, 0x1F, 4, 0,
];
/// GET of the logical device name, in that association.
pub(crate) const LOGICAL_DEVICE_NAME: [u8; 21] =
    [0, 1, 0, 0x10, 0, 1, 0, 0x0D, 0xC0, 1, 0xC1, 0, 1, 0, 0, 0x2A, 0, 0, 0xFF, 2, 0];
/// A refusal arrives within so much of a handshake's end, where nobody has to wait for the network.
const AT_ONCE: Duration = Duration::from_millis(150);
/// Between two requests in a connection that stands.
const BETWEEN: Duration = Duration::from_secs(5);
/// Longest first message that is read.
const HELLO_MAX: usize = 32 * 1024;

impl Wire {
    pub(crate) fn new(patience: Duration) -> Result<Self, Trouble> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Trouble::Bench(format!("no runtime for connections: {error}")))?;
        Ok(Self { runtime, tape: Tape::default(), patience })
    }

    async fn connect(&self, address: SocketAddr) -> Result<Taped<TcpStream>, Trouble> {
        let connected = timeout(self.patience, TcpStream::connect(address)).await;
        match connected {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                Ok(Taped::new(stream, self.tape.clone()))
            }
            Ok(Err(error)) => Err(Trouble::Meter(format!("its local port cannot be reached: {error}"))),
            Err(_) => Err(Trouble::Meter("its local port does not take connections".to_owned())),
        }
    }

    async fn accept(&self, listener: &TcpListener) -> Result<Taped<TcpStream>, Trouble> {
        let broken = |error: io::Error| Trouble::Bench(format!("the port that the meter dials: {error}"));
        let listener = listener.try_clone().map_err(broken)?;
        listener.set_nonblocking(true).map_err(broken)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(broken)?;
        match timeout(self.patience, listener.accept()).await {
            Ok(Ok((stream, _))) => {
                let _ = stream.set_nodelay(true);
                Ok(Taped::new(stream, self.tape.clone()))
            }
            Ok(Err(error)) => Err(broken(error)),
            Err(_) => Err(Trouble::Meter("it does not dial its head-end".to_owned())),
        }
    }

    /// Sends bytes to the local port and reads what the meter says first. Silence is not a refusal.
    pub(crate) fn say(&self, address: SocketAddr, bytes: &[u8]) -> Result<Option<Said>, Trouble> {
        self.runtime.block_on(async {
            let mut stream = self.connect(address).await?;
            if stream.write_all(bytes).await.is_err() {
                return Ok(Some(Said::Refuses));
            }
            let mut heard = Vec::new();
            let read = timeout(self.patience, async {
                loop {
                    if let Some(said) = read_server(&heard) {
                        return said;
                    }
                    if heard.len() > HELLO_MAX {
                        return Said::Something;
                    }
                    if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                        return Said::Refuses;
                    }
                }
            });
            Ok(read.await.ok())
        })
    }

    /// Sends bytes to the local port without TLS, and sees whether the meter answers.
    pub(crate) fn say_plainly(&self, address: SocketAddr) -> Result<Reaction, Trouble> {
        self.runtime.block_on(async {
            let mut stream = self.connect(address).await?;
            // An alert in the clear is a refusal, and so is anything that is no message of DLMS.
            Ok(match ask(&mut stream, &PUBLIC_ASSOCIATION, self.patience).await {
                Heard::Bytes(bytes) if bytes.starts_with(&[0, 1]) => Reaction::LetIn,
                Heard::Bytes(_) | Heard::End => Reaction::Refused,
                Heard::Nothing => Reaction::Silent,
            })
        })
    }

    /// Takes the meter's call and sees what it offers, and how it takes this answer.
    pub(crate) fn hear(
        &self,
        listener: &TcpListener,
        answer: impl FnOnce(&Offered) -> Option<Vec<u8>>,
    ) -> Result<(Offered, Reaction), Trouble> {
        self.runtime.block_on(async {
            let mut stream = self.accept(listener).await?;
            let mut heard = Vec::new();
            let offered = timeout(self.patience, async {
                loop {
                    match read_client(&heard) {
                        Ok(Some(offered)) => return Ok(offered),
                        Ok(None) if heard.len() <= HELLO_MAX => {}
                        _ => return Err(Trouble::Meter("what it dials with is no hello of TLS".to_owned())),
                    }
                    if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                        return Err(Trouble::Meter("it dials and says no hello".to_owned()));
                    }
                }
            });
            let offered =
                offered.await.map_err(|_| Trouble::Meter("it dials and says nothing".to_owned()))??;
            let Some(answer) = answer(&offered) else { return Ok((offered, Reaction::Silent)) };
            let reaction = match ask(&mut stream, &answer, self.patience).await {
                // An alert; whatever else it says goes on with what was chosen. A second hello begins with a change of cipher that says nothing.
                Heard::Bytes(bytes) => match alert_or_end(&mut stream, bytes, self.patience).await {
                    true => Reaction::Refused,
                    false => Reaction::LetIn,
                },
                Heard::End => Reaction::Refused,
                Heard::Nothing => Reaction::Silent,
            };
            Ok((offered, reaction))
        })
    }

    /// Takes the meter's call and speaks DLMS without TLS.
    pub(crate) fn answer_plainly(&self, listener: &TcpListener) -> Result<Reaction, Trouble> {
        self.runtime.block_on(async {
            let mut stream = self.accept(listener).await?;
            let mut heard = Vec::new();
            // Its hello.
            let _ = timeout(self.patience, stream.read_buf(&mut heard)).await;
            Ok(match ask(&mut stream, &PUBLIC_ASSOCIATION, self.patience).await {
                Heard::Bytes(bytes) if bytes.starts_with(&[0, 1]) => Reaction::LetIn,
                Heard::Bytes(_) | Heard::End => Reaction::Refused,
                Heard::Nothing => Reaction::Silent,
            })
        })
    }

    /// Calls the local port, and asks something inside.
    pub(crate) fn call(
        &self,
        address: SocketAddr,
        name: &ServerName<'static>,
        config: &Arc<ClientConfig>,
    ) -> Result<(Reaction, Option<Called>), Trouble> {
        self.runtime.block_on(async {
            let stream = self.connect(address).await?;
            let connector = TlsConnector::from(Arc::clone(config));
            match timeout(self.patience, connector.connect(name.clone(), stream)).await {
                Err(_) => Ok((Reaction::Silent, None)),
                Ok(Err(_)) => Ok((Reaction::Refused, None)),
                Ok(Ok(mut stream)) => {
                    let reaction = converse(&mut stream, self.patience).await;
                    Ok((reaction, (reaction == Reaction::LetIn).then_some(stream)))
                }
            }
        })
    }

    /// The same by way of somebody who alters the hello messages.
    pub(crate) fn call_altered(
        &self,
        address: SocketAddr,
        name: &ServerName<'static>,
        config: &Arc<ClientConfig>,
        alteration: Alteration,
    ) -> Result<Reaction, Trouble> {
        self.runtime.block_on(async {
            let stream = self.connect(address).await?;
            let (near, far) = tokio::io::duplex(HELLO_MAX);
            let connector = TlsConnector::from(Arc::clone(config));
            let talk = async {
                match timeout(self.patience, connector.connect(name.clone(), near)).await {
                    Err(_) => Reaction::Silent,
                    Ok(Err(_)) => Reaction::Refused,
                    Ok(Ok(mut stream)) => converse(&mut stream, self.patience).await,
                }
            };
            Ok(tokio::select! {
                reaction = talk => reaction,
                () = async { relay(far, stream, alteration).await; std::future::pending().await } => Reaction::Silent,
            })
        })
    }

    /// Takes the meter's call, and asks something inside.
    pub(crate) fn answer(
        &self,
        listener: &TcpListener,
        config: &Arc<ServerConfig>,
        time: Option<&ServerProfile>,
    ) -> Result<(Reaction, Option<Answered>), Trouble> {
        self.runtime.block_on(async {
            let stream = self.accept(listener).await?;
            match meet(stream, config, time, self.patience).await {
                Ok(mut stream) => {
                    let reaction = converse(&mut stream, self.patience).await;
                    Ok((reaction, (reaction == Reaction::LetIn).then_some(stream)))
                }
                Err(reaction) => Ok((reaction, None)),
            }
        })
    }

    /// The same by way of somebody who alters the hello messages.
    pub(crate) fn answer_altered(
        &self,
        listener: &TcpListener,
        config: &Arc<ServerConfig>,
        time: Option<&ServerProfile>,
        alteration: Alteration,
    ) -> Result<Reaction, Trouble> {
        self.runtime.block_on(async {
            let stream = self.accept(listener).await?;
            let (near, far) = tokio::io::duplex(HELLO_MAX);
            let talk = async {
                match meet(near, config, time, self.patience).await {
                    Ok(mut stream) => converse(&mut stream, self.patience).await,
                    Err(reaction) => reaction,
                }
            };
            Ok(tokio::select! {
                reaction = talk => reaction,
                () = async { relay(stream, far, alteration).await; std::future::pending().await } => Reaction::Silent,
            })
        })
    }

    /// Whether a standing connection is ended by the meter within this time. It is not silent meanwhile: a meter ends a silent one anyway.
    pub(crate) fn ends<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S, within: Duration) -> bool {
        self.runtime.block_on(async {
            let talk = async {
                loop {
                    if matches!(ask(stream, &LOGICAL_DEVICE_NAME, self.patience).await, Heard::End) {
                        return;
                    }
                    if matches!(listen(stream, BETWEEN).await, Heard::End) {
                        return;
                    }
                }
            };
            timeout(within, talk).await.is_ok()
        })
    }

    /// Sends a record of the bench's own making in a session that stands, a message of the handshake or one of DLMS, and sees what comes of it.
    pub(crate) fn inject(
        &self,
        mut stream: Taped<TcpStream>,
        secrets: &rustls::ExtractedSecrets,
        message: Option<&[u8]>,
    ) -> Result<Reaction, Trouble> {
        let no_record = || Trouble::Bench("a record could not be made".to_owned());
        let mut sealer = Sealer::new(secrets).ok_or_else(no_record)?;
        let (content, bytes) = match message {
            Some(message) => (Content::Handshake, message),
            None => (Content::Application, &LOGICAL_DEVICE_NAME[..]),
        };
        let record = sealer.seal(content, bytes).ok_or_else(no_record)?;
        self.runtime.block_on(async {
            Ok(match ask(&mut stream, &record, self.patience).await {
                Heard::End => Reaction::Refused,
                Heard::Nothing => Reaction::Silent,
                Heard::Bytes(_) => {
                    // An alert is a record like any other: what follows tells.
                    let mut bytes = [0; 4096];
                    let ended = async { while stream.read(&mut bytes).await.unwrap_or(0) > 0 {} };
                    if timeout(AT_ONCE, ended).await.is_ok() { Reaction::Refused } else { Reaction::LetIn }
                }
            })
        })
    }

    /// Asks something more in a session that stands.
    pub(crate) fn ask<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S, message: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            match ask(stream, message, self.patience).await {
                Heard::Bytes(bytes) => bytes,
                Heard::End | Heard::Nothing => Vec::new(),
            }
        })
    }
}

/// The bench's side of a call that the meter makes: handshake, and signed time where the meter asks for it.
async fn meet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: &Arc<ServerConfig>,
    time: Option<&ServerProfile>,
    patience: Duration,
) -> Result<tokio_rustls::server::TlsStream<S>, Reaction> {
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    let accepted = timeout(patience, acceptor.accept(stream)).await.map_err(|_| Reaction::Silent)?;
    let mut stream = accepted.map_err(|_| Reaction::Refused)?;
    if stream.get_ref().1.alpn_protocol() == Some(link::ALPN_OPENING)
        && let Some(time) = time
        && let Ok(Peer::Meter(meter)) = link::peer_identity(stream.get_ref().1)
    {
        let answered = timeout(patience, opening::answer(&mut stream, time, meter)).await;
        answered.map_err(|_| Reaction::Silent)?.map_err(|_| Reaction::Refused)?;
    }
    Ok(stream)
}

enum Heard {
    Bytes(Vec<u8>),
    End,
    Nothing,
}

/// Whether the meter lets its peer in: it answers a request that anybody may make.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, patience: Duration) -> Reaction {
    // A refusal comes by itself; asked before it, a reset might swallow it.
    match listen(stream, AT_ONCE).await {
        Heard::End => return Reaction::Refused,
        Heard::Bytes(_) => return Reaction::LetIn,
        Heard::Nothing => {}
    }
    match ask(stream, &PUBLIC_ASSOCIATION, patience).await {
        Heard::Bytes(_) => Reaction::LetIn,
        Heard::End => Reaction::Refused,
        Heard::Nothing => Reaction::Silent,
    }
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8], patience: Duration) -> Heard {
    let written = timeout(patience, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    match written.await {
        Ok(Ok(())) => listen(stream, patience).await,
        Ok(Err(_)) => Heard::End,
        Err(_) => Heard::Nothing,
    }
}

async fn listen<S: AsyncRead + Unpin>(stream: &mut S, patience: Duration) -> Heard {
    let mut bytes = vec![0; 4096];
    match timeout(patience, stream.read(&mut bytes)).await {
        Ok(Ok(0) | Err(_)) => Heard::End,
        Ok(Ok(length)) => {
            bytes.truncate(length);
            Heard::Bytes(bytes)
        }
        Err(_) => Heard::Nothing,
    }
}

/// Whether what comes is an alert or the end, rather than the next step of a handshake.
async fn alert_or_end<S: AsyncRead + Unpin>(stream: &mut S, mut bytes: Vec<u8>, patience: Duration) -> bool {
    const CHANGE_CIPHER_SPEC: u8 = 20;
    loop {
        match &bytes[..] {
            [CHANGE_CIPHER_SPEC, _, _, 0, 1, _, rest @ ..] => bytes = rest.to_vec(),
            [super::hello::ALERT, ..] => return true,
            // Under keys of the handshake an alert is a record of 2 + 1 + 16 bytes (RFC 8446, 5.2).
            [23, _, _, 0, 19, ..] => return true,
            [] => match listen(stream, patience).await {
                Heard::Bytes(more) => bytes = more,
                Heard::End => return true,
                Heard::Nothing => return false,
            },
            _ => return false,
        }
    }
}
