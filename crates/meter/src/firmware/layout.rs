//! Where everything lies in the firmware partition: journal, three places for trust roots, two slots, staging.

use super::record::Slot;

/// Bytes of a package in one block of a transfer. With its head of 16 bytes it fills a 2 KiB record.
pub const BLOCK_BYTES: u32 = 2032;

/// A block's record in staging.
pub(super) const STAGED_BYTES: u32 = 2048;

/// A journal record's place.
pub(super) const RECORD_BYTES: u32 = 512;

/// The largest erase step that is supported: what must be kept in memory to rewrite it.
const LARGEST_UNIT: usize = 16 * 1024;

/// How large the parts of the partition are. Part of the format: a partition keeps the layout it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirmwareLayout {
    /// The largest image, and the largest stored payload, bytes.
    pub slot_bytes: u32,
    /// The largest package envelope, bytes: 6 KiB, and 5 KiB more for each signer beyond the first.
    pub envelope_bytes: u32,
    /// The largest signed trust root, bytes: 3 KiB for each key and 5 KiB for each signer.
    pub root_bytes: u32,
    /// Erase steps of the journal, at least 2.
    pub journal_units: u16,
}

impl FirmwareLayout {
    /// For images up to 1 MiB, three signers, roots of six keys: 3.3 MiB. The journal takes one record of 512 B per start
    /// and about ten per update: eight steps of 4 KiB, erased in turn, last 6.4 million of them at 10⁵ erases.
    pub const STANDARD: Self =
        Self { slot_bytes: 1 << 20, envelope_bytes: 20 << 10, root_bytes: 34 << 10, journal_units: 8 };

    /// The same for images of another size.
    #[must_use]
    pub const fn with_slot(self, slot_bytes: u32) -> Self {
        Self { slot_bytes, ..self }
    }

    /// Bytes of flash that the partition takes on a chip with this erase step.
    pub fn size(self, erase_size: usize) -> usize {
        Map::new(self, erase_size).map_or(usize::MAX, |map| map.staging.end() as usize)
    }
}

/// A stretch of the partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) offset: u32,
    pub(super) length: u32,
}

impl Area {
    pub(super) const fn end(self) -> u32 {
        self.offset + self.length
    }
}

/// The places that a layout gives on a chip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Map {
    /// What is erased at once.
    pub(super) unit: u32,
    pub(super) journal: Area,
    pub(super) roots: [Area; ROOT_PLACES],
    envelopes: [Area; 2],
    images: [Area; 2],
    pub(super) staging: Area,
}

/// One root in force, one of the image that runs, one to write the next.
pub(super) const ROOT_PLACES: usize = 3;

impl Map {
    /// `None`: no such chip is supported, or the partition would be larger than flash can be addressed.
    pub(super) fn new(layout: FirmwareLayout, erase_size: usize) -> Option<Self> {
        let unit = erase_size.max(STAGED_BYTES as usize);
        if !erase_size.is_power_of_two() || unit > LARGEST_UNIT || layout.journal_units < 2 {
            return None;
        }
        let unit = unit as u32;
        let mut end = 0u32;
        let mut next = |length: u32| {
            let area = Area { offset: end, length: length.checked_next_multiple_of(unit)? };
            end = end.checked_add(area.length)?;
            Some(area)
        };
        let package = layout.slot_bytes.checked_add(layout.envelope_bytes)?;
        let blocks = package.div_ceil(BLOCK_BYTES) + 1;
        Some(Self {
            unit,
            journal: next(u32::from(layout.journal_units) * unit)?,
            roots: [next(layout.root_bytes)?, next(layout.root_bytes)?, next(layout.root_bytes)?],
            envelopes: [next(layout.envelope_bytes)?, next(layout.envelope_bytes)?],
            images: [next(layout.slot_bytes)?, next(layout.slot_bytes)?],
            staging: next(blocks.checked_mul(STAGED_BYTES)?)?,
        })
    }

    pub(super) const fn envelope(&self, slot: Slot) -> Area {
        self.envelopes[slot as usize]
    }

    pub(super) const fn image(&self, slot: Slot) -> Area {
        self.images[slot as usize]
    }

    /// The most blocks of a package.
    pub(super) const fn blocks(&self) -> u32 {
        self.staging.length / STAGED_BYTES
    }
}
