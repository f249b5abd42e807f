//! What a meter keeps through a power cut, and where: rings of fixed slots behind a format record, and one sector for the
//! factory's calibration record.
//!
//! Nothing is ever rewritten in place. A ring erases a sector just before the first slot in it is written, so a cut
//! during an erase can only hurt entries that were being dropped, and a cut during a write only the entry whose
//! write had not returned.

mod codec;
mod format;
mod map;
mod ring;
mod rot;
mod tree;

#[cfg(test)]
#[path = "../../tests/support/flash.rs"]
mod chip;

pub(crate) use codec::{Cursor, Put};
pub(crate) use format::{is_readable, mount};
pub(crate) use map::Map;
pub(crate) use ring::{Condition, Ring};
pub(crate) use tree::{LEAVES, Rows, Slot, Tree, TreeReader};

/// Bytes in a sector: what all regions are counted in. A chip may erase in smaller steps that divide it.
pub const SECTOR_BYTES: u32 = 4096;

/// How many sectors each region has. Part of the format: a flash keeps the layout that it was formatted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Counters, acknowledgements, alarm register, tamper latches.
    pub state_sectors: u16,
    /// Energy registers, one record a second.
    pub register_sectors: u16,
    /// Security log, 128 B slots.
    pub log_sectors: u16,
    /// Load profile, 64 B slots.
    pub profile_sectors: u16,
    /// What the utility sets: tariffs, schedules, limits; 4 KiB slots, so a sector each.
    pub settings_sectors: u16,
    /// What tariffs, switching and demand must remember, 256 B slots.
    pub tariff_sectors: u16,
    /// Power-quality log, 64 B slots.
    pub quality_sectors: u16,
    /// Event log, 128 B slots.
    pub event_sectors: u16,
    /// Billing profile, 256 B slots.
    pub billing_sectors: u16,
    /// Keys, enciphered: a map.
    pub secret_sectors: u16,
    /// Hashes of the sealed log's leaves, 64 a sector.
    pub tree_sectors: u16,
    /// Readings and starts, 256 B slots.
    pub reading_sectors: u16,
    /// Signed checkpoints, 512 B slots.
    pub checkpoint_sectors: u16,
}

impl Layout {
    /// For an 8 MiB chip (uses 7.8 MiB). The security log holds 4 096 entries and the load profile 19 136 rows (of
    /// 19 056 required: 198 days of 15 minutes), each beside the one sector that may just have been erased; the
    /// power-quality log 1 024, the event log 256, the billing profile 32 months, readings and starts 1 024, and checkpoints
    /// 128; the tree covers every record of security log, load profile, billing profile and readings.
    /// Registers saved every second for 20 years come to 6.31 × 10⁸ records, or 77 000 erases of each sector at
    /// 8 records a sector, of the 100 000 that such a chip is rated for.
    pub const STANDARD: Self = Self {
        state_sectors: 16,
        register_sectors: 1024,
        log_sectors: 129,
        profile_sectors: 300,
        settings_sectors: 4,
        tariff_sectors: 8,
        quality_sectors: 17,
        event_sectors: 9,
        billing_sectors: 3,
        secret_sectors: 4,
        tree_sectors: 384,
        reading_sectors: 65,
        checkpoint_sectors: 17,
    };

    /// The smallest layout that works, for tests and for fleets of virtual meters: 64 log entries.
    pub const TINY: Self = Self {
        state_sectors: 2,
        register_sectors: 2,
        log_sectors: 3,
        profile_sectors: 2,
        settings_sectors: 2,
        tariff_sectors: 2,
        quality_sectors: 2,
        event_sectors: 2,
        billing_sectors: 2,
        secret_sectors: 2,
        tree_sectors: 5,
        reading_sectors: 2,
        checkpoint_sectors: 2,
    };

    /// Bytes of flash that this layout needs, the format record's sector included.
    pub const fn size(self) -> usize {
        let mut sectors = 1;
        let mut k = 0;
        let regions = self.sectors();
        while k < regions.len() {
            sectors += regions[k] as usize;
            k += 1;
        }
        sectors * SECTOR_BYTES as usize
    }

    /// Bytes of flash that a former format had of this layout: versions 1 and 2, whose regions were the first of today's.
    /// A flash of version 1's size is taken over once it has grown to [`Self::size`] with erased bytes.
    pub const fn former_size(self, version: u16) -> usize {
        // Version 2 had all but the last three; version 1 the first four.
        let count = if version == 1 { 4 } else { RegionName::COUNT - 3 };
        let regions = self.sectors();
        let (mut sectors, mut k) = (1, 0);
        while k < count {
            sectors += regions[k] as usize;
            k += 1;
        }
        sectors * SECTOR_BYTES as usize
    }

    /// Whether every region can hold a record while one of its sectors is erased, and the tree covers them all.
    pub const fn is_usable(self) -> bool {
        self.state_sectors >= 2
            && self.register_sectors >= 2
            && self.log_sectors >= 3
            && self.profile_sectors >= 2
            && self.settings_sectors >= 2
            && self.tariff_sectors >= 2
            && self.quality_sectors >= 2
            && self.event_sectors >= 2
            && self.billing_sectors >= 2
            && self.secret_sectors >= 2
            && self.reading_sectors >= 2
            && self.checkpoint_sectors >= 2
            && self.tree_covers_records()
    }

    /// Whether the tree still has the leaf of every record that is surely held.
    const fn tree_covers_records(self) -> bool {
        let records = (self.log_sectors as u32 - 1) * 32
            + (self.profile_sectors as u32 - 1) * 64
            + (self.billing_sectors as u32 - 1) * 16
            + (self.reading_sectors as u32 - 1) * 16;
        self.tree_sectors >= 2 && (self.tree_sectors as u32 - 1) * tree::LEAVES as u32 >= records
    }

    /// Every region's sectors in their order on the chip: that of [`RegionName`]'s numbers.
    const fn sectors(self) -> [u16; RegionName::COUNT] {
        [
            self.state_sectors,
            self.register_sectors,
            self.log_sectors,
            self.profile_sectors,
            CALIBRATION_SECTORS,
            self.settings_sectors,
            self.tariff_sectors,
            self.quality_sectors,
            self.event_sectors,
            self.billing_sectors,
            self.secret_sectors,
            self.tree_sectors,
            self.reading_sectors,
            self.checkpoint_sectors,
        ]
    }

    pub(crate) fn region(self, name: RegionName) -> Region {
        let regions = self.sectors().map(u32::from);
        let place = name as usize - 1;
        Region { name, first_sector: 1 + regions[..place].iter().sum::<u32>(), sectors: regions[place] }
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// The calibration record is written whole, once, by the factory.
const CALIBRATION_SECTORS: u16 = 1;

/// A region's name; its number goes into every checksum, so that a record never passes for another region's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegionName {
    State = 1,
    Registers = 2,
    Log = 3,
    Profile = 4,
    Calibration = 5,
    Settings = 6,
    Tariff = 7,
    Quality = 8,
    Events = 9,
    Billing = 10,
    Secrets = 11,
    Tree = 12,
    Readings = 13,
    Checkpoints = 14,
}

impl RegionName {
    const COUNT: usize = 14;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub(crate) name: RegionName,
    pub(crate) first_sector: u32,
    pub(crate) sectors: u32,
}

/// Why the meter's memory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError<E: core::fmt::Debug> {
    /// The chip or file reported an error.
    #[error("flash: {0:?}")]
    Flash(E),
    /// What was read back was not what had been written, in several slots one after another.
    #[error("flash holds something else than what was written at byte {offset}: replace the memory")]
    Verify {
        /// Where.
        offset: u32,
    },
    /// The map of secrets is full, or what it holds is none.
    #[error("the map of secrets in flash cannot be used ({0}): replace the memory")]
    Map(&'static str),
}
