//! From the stored payload to the image, piece by piece: deciphered, inflated, added to the base. Memory is the same for
//! every image (48 kB while inflating); what comes out is bounded by the manifest before it is written.
//!
//! Enciphered payloads are AES-256-GCM in chunks of 4 096 bytes, each with its own tag. A chunk's nonce is the manifest's
//! seven bytes, the chunk's number (u32 BE) and 1 for the last chunk, else 0: so chunks cannot be exchanged, left out or
//! cut off (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015).
//!
//! Differences are bsdiff's interleaved form, deflated: blocks of `mix u64 | copy u64 | seek i64` (LE, the seek as sign and
//! magnitude), then as many bytes to add to the base, then as many to take as they are.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use aes_gcm::aead::{AeadInPlace as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use sha2::{Digest as _, Sha384};
use zeroize::Zeroize as _;

use super::manifest::{Encryption, Manifest, Packing};

/// Plain bytes in a chunk.
pub const CHUNK: usize = 4096;

/// Bytes of a chunk's tag.
pub const TAG: usize = 16;

/// Where images lie: the one that runs, and the slot that is being filled.
pub trait Slots {
    /// What reading and writing can fail with.
    type Error;

    /// Reads bytes of the image that runs; the range lies within it.
    ///
    /// # Errors
    /// The memory's.
    fn read_base(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Self::Error>;

    /// Takes the next bytes of the new image.
    ///
    /// # Errors
    /// The memory's.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Unpacks one payload.
pub struct Unpacker {
    cipher: Option<Cipher>,
    inflater: Option<Inflater>,
    patch: Option<Patch>,
    output: Output,
}

struct Cipher {
    cipher: Box<Aes256Gcm>,
    nonce: [u8; 7],
    number: u32,
    /// Less than a chunk, or a whole one of which nobody knows yet whether it is the last.
    buffer: Vec<u8>,
}

struct Inflater {
    state: Box<InflateState>,
    done: bool,
    /// What may still come out of it.
    left: u64,
}

struct Patch {
    base_size: u64,
    /// Where in the base the next byte is added.
    position: u64,
    step: Step,
    seek: i64,
    copy: u64,
}

enum Step {
    Control { have: usize, block: [u8; 24] },
    Mix { left: u64 },
    Copy { left: u64 },
}

struct Output {
    digest: Sha384,
    written: u64,
    manifest_size: u64,
    manifest_digest: [u8; 48],
}

impl Unpacker {
    /// For this manifest's payload.
    ///
    /// # Errors
    /// [`UnpackError::Key`] when the payload is enciphered and this is not the key, or none is there.
    pub fn new<E>(manifest: &Manifest, class_key: Option<&[u8; 32]>) -> Result<Self, UnpackError<E>> {
        let cipher = match &manifest.encryption {
            None => None,
            Some(encryption) => {
                let key = class_key.filter(|key| key_name(key) == encryption.key).ok_or(UnpackError::Key)?;
                Some(Cipher::new(encryption, key))
            }
        };
        let (inflates, patch) = match manifest.packing {
            Packing::Plain => (None, None),
            Packing::Deflated => (Some(manifest.image.size), None),
            // Blocks add 24 bytes each: more than twice the image is no difference worth having, and a bomb at worst.
            Packing::Delta { base } => (Some(2 * manifest.image.size + 4096), Some(Patch::new(base.size))),
        };
        let inflater = inflates.map(|left| Inflater {
            state: InflateState::new_boxed(DataFormat::Raw),
            done: false,
            left,
        });
        let output = Output {
            digest: Sha384::new(),
            written: 0,
            manifest_size: manifest.image.size,
            manifest_digest: manifest.image.digest.0,
        };
        Ok(Self { cipher, inflater, patch, output })
    }

    /// Takes the payload's next bytes, in pieces of any size.
    ///
    /// # Errors
    /// [`UnpackError`]; the slot's content is then worth nothing.
    pub fn push<S: Slots>(&mut self, stored: &[u8], slots: &mut S) -> Result<(), UnpackError<S::Error>> {
        let Some(cipher) = &mut self.cipher else { return self.push_plain(stored, slots) };
        cipher.buffer.extend_from_slice(stored);
        let mut plain = Vec::new();
        let mut taken = 0;
        // A chunk that something follows is not the last.
        while cipher.buffer.len() - taken > CHUNK + TAG {
            let chunk = &cipher.buffer[taken..taken + CHUNK + TAG];
            plain = open(&cipher.cipher, &cipher.nonce, cipher.number, false, chunk, plain)?;
            cipher.number = cipher.number.checked_add(1).ok_or(UnpackError::Cipher)?;
            taken += CHUNK + TAG;
        }
        cipher.buffer.drain(..taken);
        self.push_plain(&plain, slots)
    }

    /// The payload is at its end: checks that the image is the one that was signed, and gives back its size.
    ///
    /// # Errors
    /// [`UnpackError`].
    pub fn finish<S: Slots>(mut self, slots: &mut S) -> Result<u64, UnpackError<S::Error>> {
        if let Some(cipher) = self.cipher.take() {
            let plain = open(&cipher.cipher, &cipher.nonce, cipher.number, true, &cipher.buffer, Vec::new())?;
            self.push_plain(&plain, slots)?;
        }
        let inflated = self.inflater.as_ref().is_none_or(|inflater| inflater.done);
        let patched = self.patch.as_ref().is_none_or(Patch::is_between_blocks);
        if !inflated || !patched || self.output.written != self.output.manifest_size {
            return Err(UnpackError::Short);
        }
        if self.output.digest.finalize().as_slice() != self.output.manifest_digest {
            return Err(UnpackError::Image);
        }
        Ok(self.output.written)
    }

    fn push_plain<S: Slots>(&mut self, bytes: &[u8], slots: &mut S) -> Result<(), UnpackError<S::Error>> {
        let Self { inflater, patch, output, .. } = self;
        let Some(inflater) = inflater else { return output.write(bytes, slots) };
        inflater.push(bytes, |inflated| match patch {
            Some(patch) => patch.push(inflated, slots, output),
            None => output.write(inflated, slots),
        })
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unpacker({} of {} bytes)", self.output.written, self.output.manifest_size)
    }
}

/// The name of a device class's key in manifests.
pub fn key_name(key: &[u8; 32]) -> [u8; 16] {
    let mut name = [0; 16];
    name.copy_from_slice(&Sha384::digest(key)[..16]);
    name
}

impl Cipher {
    fn new(encryption: &Encryption, key: &[u8; 32]) -> Self {
        let cipher = Box::new(Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(key)));
        Self { cipher, nonce: encryption.nonce, number: 0, buffer: Vec::new() }
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

/// A chunk's nonce.
pub(super) fn chunk_nonce(prefix: &[u8; 7], number: u32, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..7].copy_from_slice(prefix);
    nonce[7..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = last.into();
    nonce
}

/// Deciphers one chunk onto the end of `plain`.
fn open<E>(
    cipher: &Aes256Gcm,
    prefix: &[u8; 7],
    number: u32,
    last: bool,
    chunk: &[u8],
    mut plain: Vec<u8>,
) -> Result<Vec<u8>, UnpackError<E>> {
    let (body, tag) = chunk.split_last_chunk::<TAG>().ok_or(UnpackError::Short)?;
    let from = plain.len();
    plain.extend_from_slice(body);
    let nonce = chunk_nonce(prefix, number, last);
    cipher
        .decrypt_in_place_detached(Nonce::from_slice(&nonce), &[], &mut plain[from..], Tag::from_slice(tag))
        .map_err(|_| UnpackError::Cipher)?;
    Ok(plain)
}

impl Inflater {
    fn push<E>(
        &mut self,
        mut bytes: &[u8],
        mut out: impl FnMut(&[u8]) -> Result<(), UnpackError<E>>,
    ) -> Result<(), UnpackError<E>> {
        let mut piece = [0; 1024];
        loop {
            if self.done {
                return if bytes.is_empty() { Ok(()) } else { Err(UnpackError::TooMuch) };
            }
            let result = inflate(&mut self.state, bytes, &mut piece, MZFlush::None);
            bytes = &bytes[result.bytes_consumed..];
            let written = result.bytes_written;
            self.left = self.left.checked_sub(written as u64).ok_or(UnpackError::TooMuch)?;
            out(&piece[..written])?;
            match result.status {
                Ok(MZStatus::StreamEnd) => self.done = true,
                Ok(_) if bytes.is_empty() && written < piece.len() => return Ok(()),
                // No progress: it wants more input than there is.
                Err(MZError::Buf) if bytes.is_empty() => return Ok(()),
                Ok(_) if written > 0 || result.bytes_consumed > 0 => {}
                _ => return Err(UnpackError::Deflate),
            }
        }
    }
}

impl Patch {
    const fn new(base_size: u64) -> Self {
        Self { base_size, position: 0, step: Step::CONTROL, seek: 0, copy: 0 }
    }

    const fn is_between_blocks(&self) -> bool {
        matches!(self.step, Step::Control { have: 0, .. })
    }

    fn push<S: Slots>(
        &mut self,
        mut bytes: &[u8],
        slots: &mut S,
        output: &mut Output,
    ) -> Result<(), UnpackError<S::Error>> {
        loop {
            match &mut self.step {
                Step::Control { have, block } => {
                    let count = bytes.len().min(block.len() - *have);
                    block[*have..*have + count].copy_from_slice(&bytes[..count]);
                    bytes = &bytes[count..];
                    *have += count;
                    if *have < block.len() {
                        return Ok(());
                    }
                    let block = *block;
                    self.begin(&block)?;
                }
                Step::Mix { left: 0 } => self.step = Step::Copy { left: self.copy },
                Step::Copy { left: 0 } => {
                    let position = self.position.checked_add_signed(self.seek);
                    self.position =
                        position.filter(|&position| position <= self.base_size).ok_or(UnpackError::Patch)?;
                    self.step = Step::CONTROL;
                }
                _ if bytes.is_empty() => return Ok(()),
                Step::Mix { left } => {
                    let mut sum = [0; 256];
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len()).min(sum.len());
                    slots.read_base(self.position, &mut sum[..count]).map_err(UnpackError::Memory)?;
                    sum.iter_mut()
                        .zip(&bytes[..count])
                        .for_each(|(sum, &byte)| *sum = sum.wrapping_add(byte));
                    output.write(&sum[..count], slots)?;
                    self.position += count as u64;
                    *left -= count as u64;
                    bytes = &bytes[count..];
                }
                Step::Copy { left } => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    output.write(&bytes[..count], slots)?;
                    *left -= count as u64;
                    bytes = &bytes[count..];
                }
            }
        }
    }

    fn begin<E>(&mut self, block: &[u8; 24]) -> Result<(), UnpackError<E>> {
        let mut numbers = [0u64; 3];
        for (number, bytes) in numbers.iter_mut().zip(block.as_chunks::<8>().0) {
            *number = u64::from_le_bytes(*bytes);
        }
        let [mix, copy, seek] = numbers;
        let end = self.position.checked_add(mix);
        if end.is_none_or(|end| end > self.base_size) {
            return Err(UnpackError::Patch);
        }
        let magnitude = i64::try_from(seek & !(1 << 63)).map_err(|_| UnpackError::Patch)?;
        self.seek = if seek >> 63 == 1 { -magnitude } else { magnitude };
        self.copy = copy;
        self.step = Step::Mix { left: mix };
        Ok(())
    }
}

impl Step {
    const CONTROL: Self = Self::Control { have: 0, block: [0; 24] };
}

impl Output {
    fn write<S: Slots>(&mut self, bytes: &[u8], slots: &mut S) -> Result<(), UnpackError<S::Error>> {
        let written = self.written + bytes.len() as u64;
        if written > self.manifest_size {
            return Err(UnpackError::TooMuch);
        }
        self.digest.update(bytes);
        slots.write(bytes).map_err(UnpackError::Memory)?;
        self.written = written;
        Ok(())
    }
}

/// Why a payload does not become an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnpackError<E> {
    /// It is enciphered with a key that is not there.
    Key,
    /// A chunk is not what was enciphered.
    Cipher,
    /// It is not deflated data.
    Deflate,
    /// The differences lead out of the base.
    Patch,
    /// More comes out than the manifest says.
    TooMuch,
    /// Less comes out than the manifest says.
    Short,
    /// The image is not the one that was signed.
    Image,
    /// The memory.
    Memory(E),
}

impl<E: fmt::Display> fmt::Display for UnpackError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "the payload is enciphered to another device class",
            Self::Cipher => "the payload was altered, or enciphered with another key",
            Self::Deflate => "the payload is not deflated data",
            Self::Patch => "the differences lead out of the image that they stand on",
            Self::TooMuch => "the payload unpacks to more than its manifest says",
            Self::Short => "the payload unpacks to less than its manifest says",
            Self::Image => "the payload unpacks to another image than the one that was signed",
            Self::Memory(error) => return error.fmt(f),
        })
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for UnpackError<E> {}
