//! The maker's side of [`unpack`](super::unpack): deflates and enciphers.

use alloc::vec::Vec;

use aes_gcm::aead::{AeadInPlace as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use miniz_oxide::deflate::compress_to_vec;

use super::manifest::Encryption;
use super::unpack::{CHUNK, TAG, chunk_nonce, key_name};

/// Deflates (RFC 1951): an image, or differences.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, LEVEL)
}

/// Enciphers to a device class. The nonce must never have been used with this key before: seven random bytes serve
/// some 16 million packages before two are alike with a probability of one in five hundred; change the key before.
pub fn encipher(plain: &[u8], key: &[u8; 32], nonce: [u8; 7]) -> (Vec<u8>, Encryption) {
    let cipher = Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(key));
    let chunks = plain.len().div_ceil(CHUNK).max(1);
    let mut out = Vec::with_capacity(plain.len() + chunks * TAG);
    for number in 0..chunks {
        let end = plain.len().min((number + 1) * CHUNK);
        let from = out.len();
        out.extend_from_slice(&plain[number * CHUNK..end]);
        let nonce = chunk_nonce(&nonce, number as u32, number + 1 == chunks);
        let tag = cipher.encrypt_in_place_detached(Nonce::from_slice(&nonce), &[], &mut out[from..]);
        out.extend_from_slice(tag.expect("GCM takes 64 GiB under one nonce, a chunk has 4 KiB").as_slice());
    }
    (out, Encryption { key: key_name(key), nonce })
}

/// Slow and small: a package is made once and sent to millions.
const LEVEL: u8 = 10;
