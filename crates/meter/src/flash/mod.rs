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

pub(crate) use codec::{Cursor, Put};
pub(crate) use format::{is_readable, mount};
pub(crate) use map::Map;
pub(crate) use ring::Ring;

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
}

impl Layout {
    /// For an 8 MiB chip (uses 5.9 MiB). The security log holds 4 096 entries and the load profile 19 136 rows (of
    /// 19 056 required: 198 days of 15 minutes), each beside the one sector that may just have been erased; the
    /// power-quality log 1 024, the event log 256, the billing profile 32 months.
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

    /// Bytes of flash that the first four regions and the format record need: all that format version 1 had. A flash
    /// of that size is taken over once it has grown to [`Self::size`] with erased bytes.
    pub const fn former_size(self) -> usize {
        let former = [self.state_sectors, self.register_sectors, self.log_sectors, self.profile_sectors];
        let (mut sectors, mut k) = (1, 0);
        while k < former.len() {
            sectors += former[k] as usize;
            k += 1;
        }
        sectors * SECTOR_BYTES as usize
    }

    /// Whether every region can hold a record while one of its sectors is erased.
    pub(crate) const fn is_usable(self) -> bool {
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
}

impl RegionName {
    const COUNT: usize = 11;
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
