//! Wrapper frames (IEC 62056-47): put together from bytes in pieces of any size, and written.

use alloc::vec::Vec;

use dlms_cosem_rs::codec::Encode;
use dlms_cosem_rs::transport::wrapper::{Header, VERSION, Wpdu};

use super::REQUEST_MAX;
use crate::ProtocolError;

/// A frame that has come whole.
pub(super) struct Frame {
    /// The client's wrapper port.
    pub(super) client: u16,
    /// The wrapper port of the logical device that it wants.
    pub(super) logical_device: u16,
    bytes: Vec<u8>,
}

impl Frame {
    pub(super) fn apdu(&self) -> &[u8] {
        &self.bytes[Header::LEN..]
    }
}

/// What has come of the next frame.
#[derive(Debug, Default)]
pub(super) struct Reassembly(Vec<u8>);

impl Reassembly {
    /// Takes bytes until a whole frame is there, never more than one frame's bytes at a time.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, ProtocolError> {
        let mut wanted = Header::LEN;
        loop {
            let missing = wanted.saturating_sub(self.0.len());
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.0.extend_from_slice(taken);
            *bytes = rest;
            if self.0.len() < wanted {
                return Ok(None);
            }
            let word = |at: usize| u16::from_be_bytes([self.0[at], self.0[at + 1]]);
            if word(0) != VERSION {
                return Err(ProtocolError::WrapperVersion { found: word(0) });
            }
            let announced = word(6);
            if announced > REQUEST_MAX {
                return Err(ProtocolError::TooLong { announced, limit: REQUEST_MAX });
            }
            if self.0.len() == Header::LEN + usize::from(announced) {
                let (client, logical_device) = (word(2), word(4));
                return Ok(Some(Frame { client, logical_device, bytes: core::mem::take(&mut self.0) }));
            }
            wanted = Header::LEN + usize::from(announced);
        }
    }
}

/// A frame around an APDU of at most 65 535 bytes, which all of the meter's are.
pub(super) fn frame(source: u16, destination: u16, apdu: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(Header::LEN + apdu.len());
    if let Ok(frame) = Wpdu::new(source, destination, apdu) {
        // Writing to a vector cannot fail.
        let _ = frame.encode(&mut bytes);
    }
    bytes
}
