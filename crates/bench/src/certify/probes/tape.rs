//! A recorder on the line: what passes is kept, both ways.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether it went to the meter, and the bytes.
pub(crate) type Piece = (bool, Vec<u8>);

/// What went over the line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape(Arc<Mutex<Vec<Piece>>>);

/// Pieces that are kept at most; who sends more is no meter that is talked to here.
const MAX: usize = 20_000;

impl Tape {
    pub(crate) fn keep(&self, to_meter: bool, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX && !bytes.is_empty() {
            kept.push((to_meter, bytes.to_vec()));
        }
    }

    /// What was kept since this was last asked.
    pub(crate) fn take(&self) -> Vec<Piece> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A stream with a recorder on it.
#[derive(Debug)]
pub(crate) struct Taped<S> {
    stream: S,
    tape: Tape,
}

impl<S> Taped<S> {
    pub(crate) const fn new(stream: S, tape: Tape) -> Self {
        Self { stream, tape }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if read.is_ready() {
            self.tape.keep(false, &into.filled()[before..]);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(length)) = written {
            self.tape.keep(true, &bytes[..length]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
