//! The other direction: what a meter, ours or another maker's, answers to the head-end's client.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use meterseal_link::client::{Limits, Login, Opening};
use meterseal_link::{DlmsClient, Value};
use meterseal_model::{Obis, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::bench::{self, Input};
use crate::support::client::Client;
use crate::wrapper::runtime;

/// First byte: which questions. Bit 7: the association's answer is made up too. Then answers, each with its length.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let question = input.byte();
    let mut line = Vec::new();
    if question & 0x80 == 0 {
        line.extend_from_slice(welcome());
    }
    while !input.is_empty() {
        let apdu = input.bytes();
        line.extend_from_slice(&[0, 1, 0, 1]);
        line.extend_from_slice(&Role::Public.client_address().to_be_bytes());
        line.extend_from_slice(&(apdu.len() as u16).to_be_bytes());
        line.extend_from_slice(apdu);
    }
    let opening = Opening {
        client_address: Role::Public.client_address(),
        server_address: 1,
        meter: None,
        login: Login::Public,
        pushes: true,
        limits: Limits { value_bytes: 64 * 1024, queued_pushes: 4, ..Limits::default() },
    };
    runtime().block_on(async {
        let Ok(mut client) = DlmsClient::open(Recorded { line, read: 0 }, opening).await else { return };
        for turn in 0..64_u8 {
            let outcome = match (question & 0x7F).wrapping_add(turn) % 6 {
                0 => client.get(3, Obis::ACTIVE_ENERGY_IMPORT, 2).await.map(drop),
                1 => client
                    .get_list(&[(3, Obis::ACTIVE_ENERGY_IMPORT, 2), (8, Obis::CLOCK, 2)])
                    .await
                    .map(drop),
                2 => {
                    let column = (1, Obis::ROW_SEQUENCE, 2);
                    let (from, to) = (Value::U64(1), Value::U64(9));
                    client.profile_by_range(Obis::LOAD_PROFILE, column, from, to, 16).await.map(drop)
                }
                3 => client.set(1, Obis::COMMITTED_LOAD_PROFILE, 2, Value::U64(1)).await,
                4 => client.action(70, Obis::CLOCK, 1, None).await.map(drop),
                _ => client.notification().await.map(|push| {
                    let _ = push.event();
                }),
            };
            if outcome.is_err_and(|error| error.is_fatal()) {
                break;
            }
        }
        let _ = client.release().await;
    });
}

/// The real meter's answer to the public's association.
fn welcome() -> &'static [u8] {
    static WELCOME: OnceLock<Vec<u8>> = OnceLock::new();
    WELCOME.get_or_init(|| {
        let mut flash = bench::flash();
        let mut meter = bench::meter(&mut flash);
        let client: Client =
            bench::associate(&mut meter, Role::Public, 0).expect("the public may always come");
        client.frames.concat()
    })
}

/// A meter that has said all it will say, and takes everything.
struct Recorded {
    line: Vec<u8>,
    read: usize,
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = buffer.remaining().min(self.line.len() - self.read);
        buffer.put_slice(&self.line[self.read..self.read + length]);
        self.read += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
