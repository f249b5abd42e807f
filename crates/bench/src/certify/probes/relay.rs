//! Somebody in between who alters the hello messages.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::hello::{AES_256_GCM, HANDSHAKE, Offered, TLS_1_3, read_client};

/// What is done to the hello messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alteration {
    /// Nothing.
    None,
    /// TLS 1.3 is struck out for TLS 1.2.
    Version,
    /// AES-256 is struck out for AES-128.
    Suite,
    /// The first key exchange is struck out.
    Group,
    /// The signatures are struck out for ones with P-256.
    Signatures,
    /// The application protocol's number is one less: no signed time.
    Protocol,
    /// The server's hello chooses AES-128.
    ChosenSuite,
    /// The server's random says that it is capable of TLS 1.2 only.
    ChosenVersion,
}

impl Alteration {
    pub(crate) const ALL: [Self; 7] = [
        Self::Version,
        Self::Suite,
        Self::Group,
        Self::Signatures,
        Self::Protocol,
        Self::ChosenSuite,
        Self::ChosenVersion,
    ];

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::None => "nothing altered",
            Self::Version => "TLS 1.3 struck out for TLS 1.2 in the client's hello",
            Self::Suite => "AES-256 struck out for AES-128 in the client's hello",
            Self::Group => "the first key exchange struck out in the client's hello",
            Self::Signatures => "signatures struck out for ones with P-256 in the client's hello",
            Self::Protocol => "another application protocol in the client's hello",
            Self::ChosenSuite => "AES-128 chosen in the server's hello",
            Self::ChosenVersion => "the mark of a server of TLS 1.2 in the server's hello",
        }
    }

    /// Alters a client's hello in place.
    fn client(self, bytes: &mut [u8], offered: &Offered) {
        let places = &offered.places;
        match self {
            Self::Version => replace(bytes, &places.versions, TLS_1_3, 0x0303),
            Self::Suite => replace(bytes, &places.suites, AES_256_GCM, 0x1301),
            Self::Group => {
                if let Some(first) = offered.groups.first() {
                    // A number for private use (RFC 8446, 11), in the share of the key as well.
                    replace(bytes, &places.groups, *first, 0xFE01);
                    replace_share(bytes, &places.shares, *first, 0xFE01);
                }
            }
            Self::Signatures => replace(bytes, &places.signatures, 0x0503, 0x0403),
            Self::Protocol => {
                // The last letter of the first name.
                if let Some(&length) = bytes.get(places.protocols.start)
                    && let Some(letter) = bytes.get_mut(places.protocols.start + usize::from(length))
                    && !places.protocols.is_empty()
                {
                    *letter -= 1;
                } else if let Some(byte) = bytes.get_mut(places.random.start) {
                    // It offers none: then any bit.
                    *byte ^= 1;
                }
            }
            Self::None | Self::ChosenSuite | Self::ChosenVersion => {}
        }
    }

    /// Alters a server's hello in place.
    fn server(self, bytes: &mut [u8]) {
        // Record, handshake, version: then the random, and a session identifier before the suite.
        const RANDOM: usize = 5 + 4 + 2;
        match self {
            Self::ChosenVersion => {
                // RFC 8446, 4.1.3.
                if let Some(end) = bytes.get_mut(RANDOM + 24..RANDOM + 32) {
                    end.copy_from_slice(b"DOWNGRD\x01");
                }
            }
            Self::ChosenSuite => {
                let session = bytes.get(RANDOM + 32).map_or(0, |length| usize::from(*length));
                let place = RANDOM + 33 + session;
                if let Some(suite) = bytes.get_mut(place..place + 2) {
                    suite.copy_from_slice(&[0x13, 0x01]);
                }
            }
            _ => {}
        }
    }
}

fn replace(bytes: &mut [u8], place: &Range<usize>, from: u16, to: u16) {
    for pair in bytes.get_mut(place.clone()).unwrap_or_default().chunks_exact_mut(2) {
        if pair == from.to_be_bytes() {
            pair.copy_from_slice(&to.to_be_bytes());
        }
    }
}

fn replace_share(bytes: &mut [u8], place: &Range<usize>, from: u16, to: u16) {
    let mut at = place.start;
    while at + 4 <= place.end {
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        if bytes[at..at + 2] == from.to_be_bytes() {
            bytes[at..at + 2].copy_from_slice(&to.to_be_bytes());
        }
        at += 4 + length;
    }
}

/// Longer is no hello.
const LONGEST: usize = 32 * 1024;

fn is_whole(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, high, low, rest @ ..] if rest.len() >= usize::from(u16::from_be_bytes([*high, *low])))
}

/// Passes bytes between a client and a server, with the first message of each altered.
pub(super) async fn relay<C, S>(client: C, server: S, alteration: Alteration)
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let up = async {
        let mut hello = Vec::new();
        loop {
            if from_client.read_buf(&mut hello).await.unwrap_or(0) == 0 {
                break;
            }
            match read_client(&hello) {
                Ok(None) if hello.len() < LONGEST => continue,
                Ok(Some(offered)) => alteration.client(&mut hello, &offered),
                _ => {}
            }
            break;
        }
        if to_server.write_all(&hello).await.is_ok() {
            let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        }
        // The other side hears that this one has ended.
        let _ = to_server.shutdown().await;
    };
    let down = async {
        let mut first = Vec::new();
        // The whole of the first record.
        while !is_whole(&first) && first.len() < LONGEST {
            if from_server.read_buf(&mut first).await.unwrap_or(0) == 0 {
                break;
            }
        }
        if first.first() == Some(&HANDSHAKE) {
            alteration.server(&mut first);
        }
        if to_client.write_all(&first).await.is_ok() {
            let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}
