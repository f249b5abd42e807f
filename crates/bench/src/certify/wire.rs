//! DLMS messages as bytes, for whoever sends what no client of this program would: frames of the wrapper (IEC 62056-47) and messages under
//! service-specific global ciphering (IEC 62056-5-3), both from memory, not verified against the standards' text.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::aes::{Aes128, Aes256};
use aes_gcm::{AesGcm, KeyInit, Nonce};
use meterseal_link::DlmsKeys;

/// The security control byte of suite 2, authenticated and encrypted.
pub const SUITE_2: u8 = 0x32;
/// The same of suite 0, which is AES-128.
pub const SUITE_0: u8 = 0x30;
/// The wrapper's header.
pub const HEADER_BYTES: usize = 8;
/// The management logical device.
const DEVICE: u16 = 1;
/// What a glo-ciphered message's tag is above the plain one's.
const GLO: u8 = 8;

/// A client's frame to the meter.
pub fn frame(client: u16, apdu: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + apdu.len());
    for field in [1, client, DEVICE, apdu.len() as u16] {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    bytes.extend_from_slice(apdu);
    bytes
}

/// The message in a frame; empty when there is none.
pub fn apdu(frame: &[u8]) -> &[u8] {
    frame.get(HEADER_BYTES..).unwrap_or_default()
}

/// The client's address in a frame, whichever way it goes.
pub fn client(frame: &[u8]) -> Option<u16> {
    let field = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    let (source, destination) = (field(2)?, field(4)?);
    Some(if source == DEVICE { destination } else { source })
}

/// Seals and opens messages under a role's keys.
#[derive(Clone, Debug)]
pub struct Cipher(DlmsKeys);

impl Cipher {
    /// Under these.
    pub fn new(keys: DlmsKeys) -> Self {
        Self(keys)
    }

    /// Ciphertext and tag of 12 bytes. Suite 0 and 1 take the first half of each key.
    pub fn seal(&self, control: u8, title: [u8; 8], counter: u32, plain: &[u8]) -> Vec<u8> {
        let nonce = nonce(title, counter);
        let (key, aad) = self.parts(control);
        let payload = Payload { msg: plain, aad: &aad };
        // Neither key is of a wrong length, and no message is as long as GCM's bound.
        let sealed = match control & 0x0F {
            2 => AesGcm::<Aes256, U12, U12>::new_from_slice(key)
                .ok()
                .map(|cipher| cipher.encrypt(&nonce, payload)),
            _ => AesGcm::<Aes128, U12, U12>::new_from_slice(key)
                .ok()
                .map(|cipher| cipher.encrypt(&nonce, payload)),
        };
        sealed.and_then(Result::ok).unwrap_or_default()
    }

    /// The plaintext, if the tag holds.
    pub fn open(&self, control: u8, title: [u8; 8], counter: u32, sealed: &[u8]) -> Option<Vec<u8>> {
        let nonce = nonce(title, counter);
        let (key, aad) = self.parts(control);
        let payload = Payload { msg: sealed, aad: &aad };
        match control & 0x0F {
            2 => AesGcm::<Aes256, U12, U12>::new_from_slice(key).ok()?.decrypt(&nonce, payload).ok(),
            _ => AesGcm::<Aes128, U12, U12>::new_from_slice(key).ok()?.decrypt(&nonce, payload).ok(),
        }
    }

    /// The plaintext, whatever the tag says.
    pub fn open_unchecked(&self, control: u8, title: [u8; 8], counter: u32, sealed: &[u8]) -> Vec<u8> {
        let body = &sealed[..sealed.len().saturating_sub(TAG_BYTES)];
        // GCM is a stream cipher: sealing what is sealed opens it.
        let mut plain = self.seal(control, title, counter, body);
        plain.truncate(body.len());
        plain
    }

    /// A plain request or answer as a glo-ciphered one.
    pub fn glo(&self, control: u8, title: [u8; 8], counter: u32, plain: &[u8]) -> Vec<u8> {
        let sealed = self.seal(control, title, counter, plain);
        let tag = plain.first().copied().unwrap_or(0).wrapping_add(GLO);
        Glo { tag, control, counter, sealed: &sealed }.encode()
    }

    fn parts(&self, control: u8) -> (&[u8], Vec<u8>) {
        let length = if control & 0x0F == 2 { 32 } else { 16 };
        let mut aad = vec![control];
        aad.extend_from_slice(&self.0.authentication[..length]);
        (&self.0.encryption[..length], aad)
    }
}

const TAG_BYTES: usize = 12;

fn nonce(title: [u8; 8], counter: u32) -> Nonce<U12> {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&title);
    nonce[8..].copy_from_slice(&counter.to_be_bytes());
    nonce.into()
}

/// A message under service-specific global ciphering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glo<'a> {
    /// 0xC8 to 0xCF.
    pub tag: u8,
    /// The security control byte.
    pub control: u8,
    /// The invocation counter.
    pub counter: u32,
    /// Ciphertext and tag.
    pub sealed: &'a [u8],
}

impl<'a> Glo<'a> {
    /// Reads one; `None` where it is something else.
    pub fn read(apdu: &'a [u8]) -> Option<Self> {
        let (&tag, rest) = apdu.split_first()?;
        let (&first, mut rest) = rest.split_first().filter(|_| (0xC8..=0xCF).contains(&tag))?;
        let mut length = usize::from(first);
        if first > 0x80 {
            let (bytes, after) =
                rest.split_at_checked(usize::from(first & 0x7F)).filter(|(bytes, _)| bytes.len() <= 4)?;
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            rest = after;
        }
        let (&control, body) = rest.split_first().filter(|_| rest.len() == length)?;
        let (counter, sealed) = body.split_at_checked(4)?;
        Some(Self { tag, control, counter: u32::from_be_bytes(counter.try_into().ok()?), sealed })
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let length = 5 + self.sealed.len();
        let mut bytes = vec![self.tag];
        match length {
            0..=0x7F => bytes.push(length as u8),
            0x80..=0xFF => bytes.extend([0x81, length as u8]),
            _ => {
                bytes.push(0x82);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
        }
        bytes.push(self.control);
        bytes.extend_from_slice(&self.counter.to_be_bytes());
        bytes.extend_from_slice(self.sealed);
        bytes
    }
}

/// The invocation counter that a meter's message came under, whichever form it has; `None` for one that is not ciphered.
pub fn counter_of(apdu: &[u8]) -> Option<u32> {
    match apdu.first()? {
        0xC8..=0xCF => Glo::read(apdu).map(|message| message.counter),
        // General: a system title goes before.
        0xDB => {
            let title = usize::from(*apdu.get(1)?);
            let mut service = vec![0xCC];
            service.extend_from_slice(apdu.get(2 + title..)?);
            Glo::read(&service).map(|message| message.counter)
        }
        // AARE: the user information is the last field, an octet string with a glo-initiateResponse.
        0x61 => (1..apdu.len()).find_map(|at| {
            let [0xBE, outer, 0x04, inner, 0x28, length, ..] = *apdu.get(at..)? else { return None };
            let fits = outer == inner + 2 && inner == length + 2 && at + 2 + usize::from(outer) == apdu.len();
            let bytes = apdu.get(at + 7..at + 11).filter(|_| fits)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?))
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_under_the_same_key_suite_and_counter_only() {
        let cipher = Cipher::new(DlmsKeys { encryption: [7; 32], authentication: [9; 32] });
        let plain = vec![0xC0; 300];
        for control in [SUITE_2, SUITE_0] {
            let bytes = cipher.glo(control, *b"MSBENCH1", 5, &plain);
            let read = Glo::read(&bytes).unwrap();
            assert_eq!((read.tag, read.control, read.counter), (0xC8, control, 5));
            assert_eq!(cipher.open(control, *b"MSBENCH1", 5, read.sealed).unwrap(), plain);
            assert_eq!(cipher.open(control, *b"MSBENCH1", 6, read.sealed), None);
            assert_eq!(cipher.open(control ^ 2, *b"MSBENCH1", 5, read.sealed), None);
            assert_eq!(cipher.open_unchecked(control, *b"MSBENCH1", 5, read.sealed), plain);
            for end in 0..bytes.len() {
                assert_eq!(Glo::read(&bytes[..end]), None, "{end}");
            }
            assert_eq!(counter_of(&bytes), Some(5));
        }
    }
}
