//! Records that our TLS library would not send, under the keys of a session that it made (RFC 8446, 5.2 and 5.3).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

/// What was in the record, as its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Content {
    Handshake = 22,
    Application = 23,
}

/// The sending half of a session.
pub(super) struct Sealer {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Sealer {
    /// `None`: the session is under another cipher than the right one.
    pub(super) fn new(secrets: &ExtractedSecrets) -> Option<Self> {
        let (sequence, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = &secrets.tx else { return None };
        Some(Self {
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?),
            iv: iv.as_ref().try_into().ok()?,
            sequence: *sequence,
        })
    }

    /// One record.
    pub(super) fn seal(&mut self, content: Content, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = self.iv;
        for (place, byte) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *place ^= byte;
        }
        self.sequence += 1;
        let mut inner = [bytes, &[content as u8]].concat();
        let length = u16::try_from(inner.len() + AES_256_GCM.tag_len()).ok()?;
        let header = [23, 3, 3, length.to_be_bytes()[0], length.to_be_bytes()[1]];
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut inner).ok()?;
        Some([&header[..], &inner].concat())
    }
}
