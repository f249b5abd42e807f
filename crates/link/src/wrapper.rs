//! DLMS wrapper frames (IEC 62056-4-7: version, source, destination, length, then the APDU) over any byte stream.
//!
//! Reading and writing can both be cancelled at any await without losing or tearing a frame: half-read bytes stay in
//! the inbound buffer, half-written ones in the outbound buffer. Between two frames neither holds any memory, because
//! a head-end has tens of thousands of streams of which nearly all wait.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;

use dlms_cosem_rs::transport::wrapper::{Header, VERSION};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// A message and the two addresses in its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The sender's address: a client's role, or a logical device of the meter.
    pub source: u16,
    /// The receiver's address.
    pub destination: u16,
    /// The message.
    pub apdu: Vec<u8>,
}

/// A byte stream cut into frames, with a bound on their length.
#[derive(Debug)]
pub struct WrapperStream<S> {
    stream: S,
    max_apdu: usize,
    inbound: Vec<u8>,
    outbound: Vec<u8>,
    /// How much of `outbound` the stream has taken.
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WrapperStream<S> {
    /// Frames on `stream`; a frame that announces more than `max_apdu` bytes is refused before it is buffered.
    pub fn new(stream: S, max_apdu: u16) -> Self {
        Self {
            stream,
            max_apdu: usize::from(max_apdu),
            inbound: Vec::new(),
            outbound: Vec::new(),
            written: 0,
        }
    }

    /// Waits for the next frame. Cancel-safe.
    ///
    /// # Errors
    /// [`FrameError`]; after any error the stream is of no more use.
    pub async fn read(&mut self) -> Result<Frame, FrameError> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(frame);
            }
            if self.read_some().await? == 0 {
                return Err(match self.inbound.len() {
                    0 => FrameError::Closed,
                    held => FrameError::Torn { held },
                });
            }
        }
    }

    /// Sends a frame. When cancelled, the rest goes out before the next frame does.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] for an APDU longer than the wrapper's length field or the bound given to
    /// [`new`](Self::new); otherwise what the stream says.
    pub async fn write(&mut self, source: u16, destination: u16, apdu: &[u8]) -> Result<(), FrameError> {
        let announced = apdu.len();
        let length = u16::try_from(announced)
            .ok()
            .filter(|_| announced <= self.max_apdu)
            .ok_or(FrameError::TooLong { announced, limit: self.max_apdu })?;
        self.flush().await?;
        self.outbound.reserve_exact(Header::LEN + apdu.len());
        for field in [VERSION, source, destination, length] {
            self.outbound.extend_from_slice(&field.to_be_bytes());
        }
        self.outbound.extend_from_slice(apdu);
        self.flush().await
    }

    /// Says to the peer that nothing more will come (for TLS: close_notify).
    ///
    /// # Errors
    /// What the stream says.
    pub async fn shutdown(&mut self) -> Result<(), FrameError> {
        self.flush().await?;
        Ok(self.stream.shutdown().await?)
    }

    /// The stream beneath.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream beneath; bytes that were read and make no frame yet are lost.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Appends what the stream has to the inbound buffer, at most [`PIECE`] bytes, and tells how many. Nothing is
    /// allocated before something has come, and cancelling takes no byte, since each is kept in the poll that takes it.
    async fn read_some(&mut self) -> io::Result<usize> {
        let Self { stream, inbound, .. } = self;
        poll_fn(|context| {
            let mut piece = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut piece);
            Pin::new(&mut *stream).poll_read(context, &mut piece).map_ok(|()| {
                inbound.extend_from_slice(piece.filled());
                piece.filled().len()
            })
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), FrameError> {
        while self.written < self.outbound.len() {
            match self.stream.write(&self.outbound[self.written..]).await? {
                0 => return Err(FrameError::Io(io::ErrorKind::WriteZero.into())),
                taken => self.written += taken,
            }
        }
        self.outbound = Vec::new();
        self.written = 0;
        Ok(self.stream.flush().await?)
    }

    fn take_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((header, _)) = self.inbound.split_first_chunk::<{ Header::LEN }>() else { return Ok(None) };
        let [v0, v1, s0, s1, d0, d1, l0, l1] = *header;
        let version = u16::from_be_bytes([v0, v1]);
        if version != VERSION {
            return Err(FrameError::Version { found: version });
        }
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if length > self.max_apdu {
            return Err(FrameError::TooLong { announced: length, limit: self.max_apdu });
        }
        let total = Header::LEN + length;
        if self.inbound.len() < total {
            return Ok(None);
        }
        let apdu = if self.inbound.len() == total {
            // One frame and nothing else, as nearly always: it keeps the buffer.
            let mut whole = std::mem::take(&mut self.inbound);
            whole.drain(..Header::LEN);
            whole
        } else {
            let apdu = self.inbound[Header::LEN..total].to_vec();
            self.inbound.drain(..total);
            apdu
        };
        Ok(Some(Frame {
            source: u16::from_be_bytes([s0, s1]),
            destination: u16::from_be_bytes([d0, d1]),
            apdu,
        }))
    }
}

/// What can go wrong between two frames.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The peer closed the connection between two frames.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer closed the connection within a frame.
    #[error("the peer closed the connection within a message, after {held} bytes of it")]
    Torn {
        /// How many bytes of the frame had come.
        held: usize,
    },
    /// The bytes are no wrapper frames.
    #[error("the peer does not send DLMS wrapper frames: version {found:#06x} instead of 0x0001")]
    Version {
        /// What stood in the version field.
        found: u16,
    },
    /// A frame is longer than was agreed.
    #[error("a message of {announced} bytes exceeds the limit of {limit}")]
    TooLong {
        /// Its length.
        announced: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// The stream failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// Bytes taken from the stream at once; they lie on the stack until it is known how many came. An answer to a request for
/// a whole reading fits.
const PIECE: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::duplex;
    use tokio::time::timeout;

    fn frame(apdu: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 1, 0, 0x30];
        bytes.extend_from_slice(&u16::try_from(apdu.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(apdu);
        bytes
    }

    #[tokio::test]
    async fn a_read_that_was_cancelled_at_every_byte_loses_nothing() {
        let (near, mut far) = duplex(64);
        let mut frames = WrapperStream::new(near, 256);
        let bytes = [frame(b"first"), frame(b"")].concat();
        let mut received = Vec::new();
        for byte in bytes {
            far.write_all(&[byte]).await.unwrap();
            if let Ok(frame) = timeout(Duration::from_millis(1), frames.read()).await {
                received.push(frame.unwrap().apdu);
            }
        }
        assert_eq!(received, [b"first".to_vec(), b"".to_vec()]);
    }

    #[tokio::test]
    async fn a_write_that_was_cancelled_is_finished_by_the_next() {
        let (near, far) = duplex(16);
        let mut sender = WrapperStream::new(near, 256);
        let cancelled = timeout(Duration::from_millis(5), sender.write(0x30, 1, &[7; 100])).await;
        assert!(cancelled.is_err(), "100 bytes do not fit into a pipe of 16");
        let reader = tokio::spawn(async move {
            let mut receiver = WrapperStream::new(far, 256);
            (receiver.read().await.unwrap(), receiver.read().await.unwrap())
        });
        sender.write(0x30, 1, b"next").await.unwrap();
        let (first, second) = reader.await.unwrap();
        assert_eq!((first.apdu, second.apdu), (vec![7; 100], b"next".to_vec()));
        assert_eq!((second.source, second.destination), (0x30, 1));
    }

    #[tokio::test]
    async fn what_is_too_long_or_no_frame_is_refused_before_it_is_buffered() {
        let (near, mut far) = duplex(64);
        let mut frames = WrapperStream::new(near, 256);
        far.write_all(&[0, 1, 0, 1, 0, 0x30, 0xff, 0xff]).await.unwrap();
        assert!(matches!(frames.read().await, Err(FrameError::TooLong { announced: 65535, limit: 256 })));
        assert!(frames.inbound.capacity() < 1024);

        let (near, mut far) = duplex(64);
        far.write_all(b"GET / HTTP/1.1").await.unwrap();
        let mut frames = WrapperStream::new(near, 256);
        assert!(matches!(frames.read().await, Err(FrameError::Version { found: 0x4745 })));
    }

    #[tokio::test]
    async fn a_close_within_a_frame_is_told_from_a_close_between_frames() {
        let (near, mut far) = duplex(64);
        far.write_all(&frame(b"abc")[..9]).await.unwrap();
        drop(far);
        assert!(matches!(WrapperStream::new(near, 256).read().await, Err(FrameError::Torn { held: 9 })));
        let (near, far) = duplex(64);
        drop(far);
        assert!(matches!(WrapperStream::new(near, 256).read().await, Err(FrameError::Closed)));
    }
}
