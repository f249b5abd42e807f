//! From a package in staging to an image in the slot that does not run, in steps that are each short: the envelope first,
//! then the stored payload's digest, and only then the unpacking; at the end the slot is read back.
//!
//! A step is: all signatures of an envelope (the one thing that cannot be divided), or some 4 KiB read, or about as much
//! written. What a signed payload inflates to between two looks at the clock is at most 64 KiB.

use alloc::boxed::Box;
use alloc::vec;

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::UnixMillis;
use meterseal_seal::firmware::package::{self, HEADER_LENGTH};
use meterseal_seal::firmware::{Manifest, PackageError, Slots, Unpacker};
use sha2::{Digest as _, Sha384};

use super::error::{FirmwareError, Refusal};
use super::layout::Area;
use super::memory::{Memory, Writer};
use super::record::{BootRecord, Candidate, Installed, Phase};
use super::staging::Staging;
use super::store::Target;

/// What a verification has come to.
#[derive(Debug)]
pub(super) enum Work {
    Envelope,
    Payload { manifest: Manifest, digest: Sha384, at: u32 },
    Clear { manifest: Manifest },
    Unpack { manifest: Manifest, unpacker: Box<Unpacker>, writer: Writer, at: u32 },
    Compare { manifest: Manifest, digest: Sha384, at: u32 },
}

/// What a step came to.
#[allow(clippy::large_enum_variant, reason = "one at a time, and never kept")]
pub(super) enum Next {
    /// More to do.
    Work(Work),
    /// The slot is about to be written: from now on, until the end, it holds no image.
    Clear(Manifest),
    /// It holds one, which waits for its activation.
    Installed(Installed),
}

/// Bytes read, hashed or written in a step.
const STEP: u32 = 4096;

/// Stored bytes that are unpacked at once: 64 of them inflate to 66 KB at most.
const BITE: u32 = 64;

impl Work {
    /// Does the next bit.
    pub(super) fn step<F: NorFlash>(
        self,
        memory: &mut Memory<F>,
        staging: &Staging,
        record: &BootRecord,
        target: &Target,
        now: Option<UnixMillis>,
    ) -> Result<Next, FirmwareError<F::Error>> {
        let transfer = record.transfer.as_ref().ok_or(FirmwareError::Order("no transfer"))?;
        let slot = record.active.other();
        let mut piece = vec![0; STEP as usize];
        match self {
            Self::Envelope => {
                let envelope = read_envelope(memory, staging, record)?;
                let root = memory.read_root(record.root)?;
                let root = root.ok_or(FirmwareError::Verify { offset: memory.map.roots[0].offset })?;
                let running = target.running(record, memory.map.image(slot).length, now)?;
                let accepted = package::accept(&envelope, &root, &running).map_err(Refusal::from)?;
                let at = (HEADER_LENGTH + envelope.len()) as u32;
                let manifest = accepted.manifest().clone();
                Ok(Next::Work(Self::Payload { manifest, digest: Sha384::new(), at }))
            }
            Self::Payload { manifest, mut digest, at } if at < transfer.bytes => {
                let count = (transfer.bytes - at).min(STEP);
                staging.read(memory, at, &mut piece[..count as usize])?;
                digest.update(&piece[..count as usize]);
                Ok(Next::Work(Self::Payload { manifest, digest, at: at + count }))
            }
            Self::Payload { manifest, digest, .. } => {
                let front = HEADER_LENGTH as u32 + read_envelope(memory, staging, record)?.len() as u32;
                let size = u64::from(transfer.bytes - front);
                package::check_payload(&manifest, size, digest.finalize().into()).map_err(Refusal::from)?;
                Ok(Next::Clear(manifest))
            }
            Self::Clear { manifest } => {
                let class_key = target.class_key.as_deref();
                let unpacker = Unpacker::new(&manifest, class_key).map_err(FirmwareError::unpacking)?;
                let at = HEADER_LENGTH as u32 + read_envelope(memory, staging, record)?.len() as u32;
                let writer = Writer::new(memory.map.image(slot));
                Ok(Next::Work(Self::Unpack { manifest, unpacker: Box::new(unpacker), writer, at }))
            }
            Self::Unpack { manifest, mut unpacker, writer, at } => {
                let base = memory.map.image(record.active);
                let mut ports = Ports { memory, base, writer, written: 0 };
                let end = transfer.bytes.min(at + STEP);
                let mut at = at;
                while at < end && ports.written < STEP {
                    let count = (end - at).min(BITE);
                    staging.read(ports.memory, at, &mut piece[..count as usize])?;
                    unpacker.push(&piece[..count as usize], &mut ports).map_err(FirmwareError::unpacking)?;
                    at += count;
                }
                if at < transfer.bytes {
                    let writer = ports.writer;
                    return Ok(Next::Work(Self::Unpack { manifest, unpacker, writer, at }));
                }
                unpacker.finish(&mut ports).map_err(FirmwareError::unpacking)?;
                ports.writer.finish(ports.memory)?;
                let envelope = read_envelope(memory, staging, record)?;
                memory.fill(memory.map.envelope(slot), &envelope)?;
                Ok(Next::Work(Self::Compare { manifest, digest: Sha384::new(), at: 0 }))
            }
            Self::Compare { manifest, mut digest, at } if u64::from(at) < manifest.image.size => {
                let count = (manifest.image.size - u64::from(at)).min(u64::from(STEP)) as u32;
                memory.read(memory.map.image(slot).offset + at, &mut piece[..count as usize])?;
                digest.update(&piece[..count as usize]);
                Ok(Next::Work(Self::Compare { manifest, digest, at: at + count }))
            }
            Self::Compare { manifest, digest, .. } => {
                if digest.finalize().as_slice() != manifest.image.digest.0 {
                    return Err(FirmwareError::Verify { offset: memory.map.image(slot).offset });
                }
                let envelope_bytes = read_envelope(memory, staging, record)?.len() as u32;
                Ok(Next::Installed(installed(&manifest, envelope_bytes, record)))
            }
        }
    }
}

impl BootRecord {
    /// The slot that does not run holds nothing.
    pub(super) fn clear_candidate(&mut self) {
        self.images[self.active.other() as usize] = None;
        self.candidate = None;
    }

    /// It holds this, which waits.
    pub(super) fn set_candidate(&mut self, installed: Installed) {
        self.images[self.active.other() as usize] = Some(installed);
        self.candidate = Some(Candidate { phase: Phase::Ready, tries: 0 });
    }
}

pub(super) const fn installed(manifest: &Manifest, envelope_bytes: u32, record: &BootRecord) -> Installed {
    Installed {
        image: manifest.image,
        sequence: manifest.sequence,
        not_before: manifest.not_before,
        envelope_bytes,
        root: record.root,
    }
}

/// The envelope of the package in staging.
fn read_envelope<F: NorFlash>(
    memory: &mut Memory<F>,
    staging: &Staging,
    record: &BootRecord,
) -> Result<alloc::vec::Vec<u8>, FirmwareError<F::Error>> {
    let bytes = record.transfer.as_ref().map_or(0, |transfer| transfer.bytes);
    let mut header = [0; HEADER_LENGTH];
    if (bytes as usize) < HEADER_LENGTH {
        return Err(Refusal::Package(PackageError::NoPackage).into());
    }
    staging.read(memory, 0, &mut header)?;
    let end = package::payload_offset(&header).map_err(Refusal::from)?;
    let room = memory.map.envelope(record.active.other()).length as usize;
    let length = end - HEADER_LENGTH;
    if end > bytes as usize {
        return Err(Refusal::Package(PackageError::Truncated).into());
    }
    if length > room {
        let (slot, found) = (room as u64, length as u64);
        return Err(Refusal::Package(PackageError::TooLarge { slot, found }).into());
    }
    let mut envelope = vec![0; length];
    staging.read(memory, HEADER_LENGTH as u32, &mut envelope)?;
    Ok(envelope)
}

/// The two slots as the unpacker sees them.
pub(super) struct Ports<'a, F> {
    pub(super) memory: &'a mut Memory<F>,
    pub(super) base: Area,
    pub(super) writer: Writer,
    /// Bytes of the image since the step began.
    pub(super) written: u32,
}

impl<F: NorFlash> Slots for Ports<'_, F> {
    type Error = FirmwareError<F::Error>;

    fn read_base(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Self::Error> {
        let offset = u32::try_from(offset).map_err(|_| FirmwareError::Bounds)?;
        if offset as usize + into.len() > self.base.length as usize {
            return Err(FirmwareError::Bounds);
        }
        self.memory.read(self.base.offset + offset, into)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.written += bytes.len() as u32;
        self.writer.push(self.memory, bytes)
    }
}
