//! What is in force: one record of the journal. And its bytes.

use alloc::vec::Vec;

use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::firmware::Digests;

use crate::flash::{Cursor, Put};

/// One of the two image slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Slot {
    /// The first.
    A = 0,
    /// The second.
    B = 1,
}

impl Slot {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Everything that outlives a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootRecord {
    /// Starts so far.
    pub boots: u32,
    /// The slot with the image that was confirmed last.
    pub active: Slot,
    /// The highest sequence number ever confirmed. Never goes down.
    pub highest: u64,
    /// What the slots hold.
    pub images: [Option<Installed>; 2],
    /// What becomes of the image in the slot that is not active.
    pub candidate: Option<Candidate>,
    /// The trust root in force.
    pub root: RootPlace,
    /// Its version. Never goes down.
    pub root_version: u64,
    /// The transfer under way, or the last one.
    pub transfer: Option<Transfer>,
    /// Transfers so far: a block of an earlier one never counts for a later one.
    pub transfers: u32,
    /// Why the last package or activation was refused: [`Refusal::number`](super::Refusal::number); 0 for not at all.
    pub refusal: u8,
    /// Events that the security log does not have yet, a bit each.
    pub unlogged: u16,
}

/// An image in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The image.
    pub image: Digests,
    /// Its sequence number.
    pub sequence: u64,
    /// Its manifest's earliest time of activation.
    pub not_before: Option<UnixMillis>,
    /// How long its envelope is.
    pub envelope_bytes: u32,
    /// The root under which it was accepted. A later root that revokes its signer stops what that signer signs from
    /// being installed; it does not stop a meter in the field from starting.
    pub root: RootPlace,
}

/// Where a trust root lies, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootPlace {
    /// Which of the three places.
    pub place: u8,
    /// Bytes.
    pub bytes: u32,
    /// SHA-384 of the signed root.
    pub digest: Digest384,
}

/// An image that is not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// How far it is.
    pub phase: Phase,
    /// Starts that it still has.
    pub tries: u8,
}

/// How far a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Verified; waits for its activation.
    Ready,
    /// Activated for this time.
    Scheduled(UnixMillis),
    /// To be tried at the next start.
    Armed,
    /// It was started, and is not confirmed yet.
    Probation,
    /// It was given up.
    GivenUp(Reason),
}

/// Why a candidate was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// It was started as often as it may be and never confirmed itself: it hung, crashed, or did not reach its head-end.
    TriesSpent = 1,
    /// It did not verify at power-on.
    NotIntact = 2,
    /// It is not newer than what was confirmed.
    NotNewer = 3,
    /// It said itself that it does not work: it measures wrong, or cannot log.
    Unfit = 4,
}

/// A transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// What the sender calls it, 1 to 64 bytes.
    pub identifier: Vec<u8>,
    /// The package's bytes.
    pub bytes: u32,
    /// How far it is.
    pub status: TransferStatus,
}

/// How far a transfer is: the numbers of class 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TransferStatus {
    /// Blocks may come.
    Initiated = 1,
    /// It is being judged.
    Verifying = 2,
    /// It may be activated.
    Verified = 3,
    /// It is none to run.
    VerificationFailed = 4,
    /// It is to be tried, or on probation.
    Activating = 5,
    /// It is confirmed.
    Activated = 6,
    /// It was given up.
    ActivationFailed = 7,
}

/// The longest record.
pub(super) const MAX_ENCODED: usize = 460;

/// The longest identifier of a transfer.
pub(super) const MAX_IDENTIFIER: usize = 64;

impl BootRecord {
    /// The image in a slot.
    pub const fn image(&self, slot: Slot) -> Option<&Installed> {
        self.images[slot as usize].as_ref()
    }

    /// The image that runs: the candidate on probation, else the confirmed one.
    pub const fn running(&self) -> Slot {
        match self.candidate {
            Some(Candidate { phase: Phase::Probation, .. }) => self.active.other(),
            _ => self.active,
        }
    }

    pub(super) fn encode(&self, buffer: &mut [u8]) -> usize {
        let mut put = Put::new(buffer);
        put.u8(VERSION).u32(self.boots).u8(self.active as u8).u64(self.highest);
        for image in &self.images {
            match image {
                None => put.u8(0),
                Some(image) => {
                    put.u8(1).bytes(&image.image.digest.0).u64(image.image.size).u64(image.sequence);
                    put.i64(image.not_before.map_or(i64::MIN, |time| time.0)).u32(image.envelope_bytes);
                    put_root(&mut put, image.root)
                }
            };
        }
        let (phase, detail, tries) = match self.candidate {
            None => (0, 0, 0),
            Some(Candidate { phase, tries }) => match phase {
                Phase::Ready => (1, 0, tries),
                Phase::Scheduled(at) => (2, at.0, tries),
                Phase::Armed => (3, 0, tries),
                Phase::Probation => (4, 0, tries),
                Phase::GivenUp(reason) => (5, i64::from(reason as u8), tries),
            },
        };
        put.u8(phase).i64(detail).u8(tries);
        put_root(&mut put, self.root).u64(self.root_version);
        match &self.transfer {
            None => put.u8(0),
            Some(transfer) => {
                put.u8(transfer.status as u8).u32(transfer.bytes);
                put.u8(transfer.identifier.len() as u8).bytes(&transfer.identifier)
            }
        };
        put.u32(self.transfers).u8(self.refusal).u16(self.unlogged);
        put.len()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        if cursor.u8()? != VERSION {
            return None;
        }
        let boots = cursor.u32()?;
        let active = match cursor.u8()? {
            0 => Slot::A,
            1 => Slot::B,
            _ => return None,
        };
        let highest = cursor.u64()?;
        let images = [get_installed(&mut cursor)?, get_installed(&mut cursor)?];
        let (phase, detail, tries) = (cursor.u8()?, cursor.i64()?, cursor.u8()?);
        let phase = match phase {
            0 => None,
            1 => Some(Phase::Ready),
            2 => Some(Phase::Scheduled(UnixMillis(detail))),
            3 => Some(Phase::Armed),
            4 => Some(Phase::Probation),
            5 => Some(Phase::GivenUp(match detail {
                1 => Reason::TriesSpent,
                2 => Reason::NotIntact,
                3 => Reason::NotNewer,
                4 => Reason::Unfit,
                _ => return None,
            })),
            _ => return None,
        };
        let candidate = phase.map(|phase| Candidate { phase, tries });
        let (root, root_version) = (get_root(&mut cursor)?, cursor.u64()?);
        let transfer = match cursor.u8()? {
            0 => None,
            status => {
                let status = TransferStatus::from_number(status)?;
                let bytes = cursor.u32()?;
                let length = usize::from(cursor.u8()?);
                Some(Transfer { identifier: cursor.bytes(length)?.to_vec(), bytes, status })
            }
        };
        let (transfers, refusal, unlogged) = (cursor.u32()?, cursor.u8()?, cursor.u16()?);
        Some(Self {
            boots,
            active,
            highest,
            images,
            candidate,
            root,
            root_version,
            transfer,
            transfers,
            refusal,
            unlogged,
        })
    }
}

impl TransferStatus {
    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Initiated,
            2 => Self::Verifying,
            3 => Self::Verified,
            4 => Self::VerificationFailed,
            5 => Self::Activating,
            6 => Self::Activated,
            7 => Self::ActivationFailed,
            _ => return None,
        })
    }
}

fn put_root<'a, 'b>(put: &'a mut Put<'b>, root: RootPlace) -> &'a mut Put<'b> {
    put.u8(root.place).u32(root.bytes).bytes(&root.digest.0)
}

fn get_root(cursor: &mut Cursor<'_>) -> Option<RootPlace> {
    let place = cursor.u8().filter(|&place| usize::from(place) < super::layout::ROOT_PLACES)?;
    Some(RootPlace { place, bytes: cursor.u32()?, digest: Digest384(cursor.array()?) })
}

/// The outer option is whether it could be read.
#[allow(clippy::option_option, reason = "a slot may be empty, and a record may be none")]
fn get_installed(cursor: &mut Cursor<'_>) -> Option<Option<Installed>> {
    match cursor.u8()? {
        0 => Some(None),
        1 => {
            let image = Digests { digest: Digest384(cursor.array()?), size: cursor.u64()? };
            let (sequence, not_before) = (cursor.u64()?, cursor.i64()?);
            let not_before = (not_before != i64::MIN).then_some(UnixMillis(not_before));
            let (envelope_bytes, root) = (cursor.u32()?, get_root(cursor)?);
            Some(Some(Installed { image, sequence, not_before, envelope_bytes, root }))
        }
        _ => None,
    }
}

/// Of the record's form.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn the_fullest_record_fits_its_place_and_comes_back() {
        let root = RootPlace { place: 2, bytes: 34_000, digest: Digest384([7; 48]) };
        let image = Installed {
            image: Digests { digest: Digest384([9; 48]), size: 1 << 20 },
            sequence: u64::MAX,
            not_before: Some(UnixMillis(1_800_000_000_000)),
            envelope_bytes: 20_000,
            root,
        };
        let fullest = |phase| BootRecord {
            boots: u32::MAX,
            active: Slot::B,
            highest: u64::MAX - 1,
            images: [Some(image.clone()), Some(image.clone())],
            candidate: Some(Candidate { phase, tries: 3 }),
            root,
            root_version: 9,
            transfer: Some(Transfer {
                identifier: vec![b'x'; MAX_IDENTIFIER],
                bytes: 1 << 20,
                status: TransferStatus::Activating,
            }),
            transfers: 77,
            refusal: 3,
            unlogged: 0xFFFF,
        };
        let phases = [
            Phase::Ready,
            Phase::Scheduled(UnixMillis(1)),
            Phase::Armed,
            Phase::Probation,
            Phase::GivenUp(Reason::Unfit),
        ];
        for phase in phases {
            let (record, mut buffer) = (fullest(phase), vec![0; 600]);
            let length = record.encode(&mut buffer);
            assert!(length <= MAX_ENCODED, "{length}");
            assert_eq!(BootRecord::decode(&buffer[..length]), Some(record));
            for cut in 0..length {
                assert_eq!(BootRecord::decode(&buffer[..cut]), None, "cut at {cut}");
            }
        }
    }
}
