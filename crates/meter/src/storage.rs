//! The meter's flash as a whole: mounts it, finds what it holds, and reads and appends each kind of record.

use alloc::vec::Vec;

use embedded_storage::nor_flash::NorFlash;
use meterseal_metrology::{Calibration, CalibrationError};
use meterseal_model::{MeterId, UnixMillis};
use meterseal_seal::log::{LeafKind, LogHash, LogId, Peaks, SaltKey};
use zeroize::Zeroizing;

use crate::billing::BillingRow;
use crate::calibration::read_calibration;
use crate::flash::{self, Condition, Map, RegionName, Ring, Rows, Slot, Tree, TreeReader};
use crate::quality::QualityRow;
use crate::reading::{CHECKPOINT_SLOT_BYTES, READING_SLOT_BYTES, Record, StoredReading};
use crate::records::{
    BILLING_SLOT_BYTES, LOG_SLOT_BYTES, PROFILE_SLOT_BYTES, ProfileRow, QUALITY_SLOT_BYTES,
    REGISTER_SLOT_BYTES, SETTINGS_SLOT_BYTES, STATE_SLOT_BYTES, SavedRegisters, SecurityEntry, State,
    TARIFF_SLOT_BYTES,
};
use crate::settings::Settings;
use crate::tariff::TariffState;
use crate::vault::{Item, Vault, VaultError};
use crate::{Layout, OpenError, SecretKey, StorageError};

/// The flash and where each of its rings stands.
#[derive(Debug)]
pub(crate) struct Storage<F> {
    flash: F,
    state: Ring,
    registers: Ring,
    log: Ring,
    profile: Ring,
    quality: Ring,
    settings: Ring,
    tariff: Ring,
    events: Ring,
    billing: Ring,
    tree: Tree,
    readings: Ring,
    checkpoints: Ring,
    vault: Vault,
}

/// A sector of the tree.
#[derive(Debug)]
pub(crate) struct Sector {
    /// The tree before its first leaf.
    pub(crate) peaks: Peaks,
    /// The newest record of each kind then.
    pub(crate) rows: Rows,
    pub(crate) slots: Vec<Option<Slot>>,
}

/// What a mounted flash held last.
#[derive(Debug)]
pub(crate) struct Newest {
    pub(crate) state: Option<State>,
    pub(crate) registers: Option<SavedRegisters>,
    pub(crate) calibration: Option<Result<Calibration, CalibrationError>>,
    pub(crate) settings: Option<Settings>,
    pub(crate) tariff: Option<TariffState>,
    /// The sealed log's name and the key of its salts.
    pub(crate) log: (LogId, SaltKey),
}

/// When a meter's registers were last saved, in the time that it was given then; `None` for a flash that holds none.
/// A simulated run goes on from there. Nothing is written, and nothing is checked that [`crate::Meter::open`] checks.
///
/// # Errors
/// The flash failed.
pub fn saved_time<F: NorFlash>(
    flash: &mut F,
    layout: &Layout,
) -> Result<Option<UnixMillis>, OpenError<F::Error>> {
    if !flash::is_readable(flash, *layout) {
        return Ok(None);
    }
    let mut newest = |name, slot_bytes| {
        let mut newest = Vec::new();
        Ring::open(flash, layout.region(name), slot_bytes, &mut newest).map(|_| newest)
    };
    let registers = newest(RegionName::Registers, REGISTER_SLOT_BYTES)?;
    let state = newest(RegionName::State, STATE_SLOT_BYTES)?;
    let offset = State::decode(&state).map_or(0, |state| state.clock_offset_ms);
    let saved = SavedRegisters::decode(&registers).and_then(Result::ok);
    Ok(saved.map(|saved| UnixMillis(saved.time.0.saturating_sub(offset))))
}

impl<F: NorFlash> Storage<F> {
    pub(crate) fn open(
        mut flash: F,
        id: MeterId,
        layout: Layout,
        secret: Option<&SecretKey>,
        salt: [u8; 4],
        fresh: &([u8; 16], [u8; 32]),
    ) -> Result<(Self, Newest), OpenError<F::Error>> {
        flash::mount(&mut flash, id.system_title(), layout)?;
        let calibration = read_calibration(&mut flash, id, layout)?;
        let mut ring = |name, slot_bytes| {
            let mut newest = Vec::new();
            Ring::open(&mut flash, layout.region(name), slot_bytes, &mut newest).map(|ring| (ring, newest))
        };
        let (state, state_record) = ring(RegionName::State, STATE_SLOT_BYTES)?;
        let (registers, registers_record) = ring(RegionName::Registers, REGISTER_SLOT_BYTES)?;
        let (log_ring, _) = ring(RegionName::Log, LOG_SLOT_BYTES)?;
        let (profile, _) = ring(RegionName::Profile, PROFILE_SLOT_BYTES)?;
        let (quality, _) = ring(RegionName::Quality, QUALITY_SLOT_BYTES)?;
        let (settings, settings_record) = ring(RegionName::Settings, SETTINGS_SLOT_BYTES)?;
        let (tariff, tariff_record) = ring(RegionName::Tariff, TARIFF_SLOT_BYTES)?;
        let (events, _) = ring(RegionName::Events, LOG_SLOT_BYTES)?;
        let (billing, _) = ring(RegionName::Billing, BILLING_SLOT_BYTES)?;
        let map = Map::new(layout.region(RegionName::Secrets));
        let (readings, _) = ring(RegionName::Readings, READING_SLOT_BYTES)?;
        let (checkpoints, _) = ring(RegionName::Checkpoints, CHECKPOINT_SLOT_BYTES)?;
        let mut vault = Vault::open(&mut flash, map, secret, id.system_title(), salt)?;
        let (log, salt_key) = vault.log(&mut flash, fresh)?;
        let tree = Tree::open(&mut flash, layout.region(RegionName::Tree), log)?;
        let newest = Newest {
            log: (log, salt_key),
            calibration,
            settings: known(&settings_record, Settings::decode(&settings_record))?,
            tariff: known(&tariff_record, TariffState::decode(&tariff_record))?,
            state: State::decode(&state_record),
            registers: match SavedRegisters::decode(&registers_record) {
                None if registers_record.is_empty() => None,
                None => return Err(OpenError::RecordVersion { found: registers_record[0] }),
                Some(decoded) => Some(decoded.map_err(OpenError::Registers)?),
            },
        };
        // The state is the first record of all. Without it nobody knows which invocation counters are spent.
        let others = [&registers, &log_ring, &profile, &quality, &settings, &tariff, &events, &billing];
        if newest.state.is_none() && others.iter().any(|ring| ring.newest().is_some()) {
            return Err(OpenError::StateLost);
        }
        Ok((
            Self {
                flash,
                state,
                registers,
                log: log_ring,
                profile,
                quality,
                settings,
                tariff,
                events,
                billing,
                tree,
                readings,
                checkpoints,
                vault,
            },
            newest,
        ))
    }

    /// What was kept in the clear beside the secrets.
    pub(crate) fn plain(&mut self, item: Item) -> Result<Option<Vec<u8>>, StorageError<F::Error>> {
        self.vault.plain(&mut self.flash, item)
    }

    /// Keeps something in the clear beside the secrets. When this returns, it is in flash.
    pub(crate) fn put_plain(&mut self, item: Item, bytes: &[u8]) -> Result<(), StorageError<F::Error>> {
        self.vault.put_plain(&mut self.flash, item, bytes)
    }

    /// A secret that was put here; `None` where none was.
    pub(crate) fn secret(&mut self, item: Item) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError<F::Error>> {
        self.vault.get(&mut self.flash, item)
    }

    /// Whether secrets can be kept.
    pub(crate) const fn has_device_secret(&self) -> bool {
        self.vault.is_open()
    }

    /// Keeps a secret, whole or not at all.
    pub(crate) fn put_secret(&mut self, item: Item, plain: &[u8]) -> Result<(), VaultError<F::Error>> {
        self.vault.put(&mut self.flash, item, plain)
    }

    pub(crate) fn append_state(&mut self, state: &State) -> Result<(), StorageError<F::Error>> {
        self.state.append(&mut self.flash, &state.encode()).map(drop)
    }

    pub(crate) fn append_registers(&mut self, saved: &SavedRegisters) -> Result<(), StorageError<F::Error>> {
        self.registers.append(&mut self.flash, &saved.encode()).map(drop)
    }

    /// Appends an entry under the next number, which it returns; the number in `entry` is not looked at.
    pub(crate) fn append_log(&mut self, entry: &SecurityEntry) -> Result<u32, StorageError<F::Error>> {
        self.log.append(&mut self.flash, &entry.encode())
    }

    /// Appends a row under the next number, which it returns; the number in `row` is not looked at.
    pub(crate) fn append_profile(&mut self, row: &ProfileRow) -> Result<u32, StorageError<F::Error>> {
        self.profile.append(&mut self.flash, &row.encode())
    }

    /// The same for a row of the power-quality log.
    pub(crate) fn append_quality(&mut self, row: &QualityRow) -> Result<u32, StorageError<F::Error>> {
        self.quality.append(&mut self.flash, &row.encode())
    }

    pub(crate) fn append_settings(&mut self, settings: &Settings) -> Result<(), StorageError<F::Error>> {
        self.settings.append(&mut self.flash, &settings.encode()).map(drop)
    }

    pub(crate) fn append_tariff(&mut self, tariff: &TariffState) -> Result<(), StorageError<F::Error>> {
        self.tariff.append(&mut self.flash, &tariff.encode()).map(drop)
    }

    /// The same for an entry of the event log.
    pub(crate) fn append_event(&mut self, entry: &SecurityEntry) -> Result<u32, StorageError<F::Error>> {
        self.events.append(&mut self.flash, &entry.encode())
    }

    /// The same for a row of the billing profile.
    pub(crate) fn append_billing(&mut self, row: &BillingRow) -> Result<u32, StorageError<F::Error>> {
        self.billing.append(&mut self.flash, &row.encode())
    }

    pub(crate) fn event(&mut self, sequence: u32) -> Result<Option<SecurityEntry>, StorageError<F::Error>> {
        let record = self.events.read(&mut self.flash, sequence)?;
        Ok(record.and_then(|record| SecurityEntry::decode(sequence, record)))
    }

    pub(crate) fn billing_row(
        &mut self,
        sequence: u32,
    ) -> Result<Option<BillingRow>, StorageError<F::Error>> {
        let record = self.billing.read(&mut self.flash, sequence)?;
        Ok(record.and_then(|record| BillingRow::decode(sequence, record)))
    }

    pub(crate) fn log_entry(
        &mut self,
        sequence: u32,
    ) -> Result<Option<SecurityEntry>, StorageError<F::Error>> {
        let record = self.log.read(&mut self.flash, sequence)?;
        Ok(record.and_then(|record| SecurityEntry::decode(sequence, record)))
    }

    pub(crate) fn profile_row(
        &mut self,
        sequence: u32,
    ) -> Result<Option<ProfileRow>, StorageError<F::Error>> {
        let record = self.profile.read(&mut self.flash, sequence)?;
        Ok(record.and_then(|record| ProfileRow::decode(sequence, record)))
    }

    pub(crate) fn quality_row(
        &mut self,
        sequence: u32,
    ) -> Result<Option<QualityRow>, StorageError<F::Error>> {
        let record = self.quality.read(&mut self.flash, sequence)?;
        Ok(record.and_then(|record| QualityRow::decode(sequence, record)))
    }

    /// Appends a reading or a start.
    pub(crate) fn append_reading(&mut self, record: &Record) -> Result<u32, StorageError<F::Error>> {
        self.readings.append(&mut self.flash, &record.encode())
    }

    /// A reading or a start, by its number in their ring.
    pub(crate) fn reading(&mut self, sequence: u32) -> Result<Option<Record>, StorageError<F::Error>> {
        let record = self.readings.read(&mut self.flash, sequence)?;
        Ok(record.and_then(Record::decode))
    }

    /// The number of the newest start, and the newest reading, as far as they are held.
    pub(crate) fn newest_reading(&mut self) -> Result<(u64, Option<StoredReading>), StorageError<F::Error>> {
        let (mut boot, mut reading) = (None, None);
        for sequence in self.readings.sequences().rev() {
            match self.reading(sequence)? {
                Some(Record::Boot(found)) => boot = boot.or(Some(found.row)),
                Some(Record::Reading(found)) => {
                    let day = found.time.0.div_euclid(86_400_000);
                    boot = boot.or(Some(found.boot));
                    reading = reading.or(Some(StoredReading { row: found.row, day }));
                }
                None => {}
            }
            if boot.is_some() && reading.is_some() {
                break;
            }
        }
        Ok((boot.unwrap_or(0), reading))
    }

    pub(crate) fn append_checkpoint(&mut self, signed: &[u8]) -> Result<u32, StorageError<F::Error>> {
        self.checkpoints.append(&mut self.flash, signed)
    }

    /// The newest checkpoint as it was signed; empty where there is none.
    pub(crate) fn newest_checkpoint(&mut self) -> Result<Vec<u8>, StorageError<F::Error>> {
        let newest = self.checkpoints.newest_sequence();
        Ok(self.checkpoints.read(&mut self.flash, newest)?.map(Vec::from).unwrap_or_default())
    }

    pub(crate) const fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(crate) const fn tree_reader(&mut self) -> TreeReader<'_, F> {
        TreeReader { tree: &self.tree, flash: &mut self.flash }
    }

    /// Where a leaf's record is.
    pub(crate) fn leaf_slot(&mut self, index: u64) -> Result<Option<Slot>, StorageError<F::Error>> {
        self.tree.slot(&mut self.flash, index)
    }

    pub(crate) fn append_leaf(
        &mut self,
        kind: LeafKind,
        row: u32,
        hash: impl Fn(u64) -> LogHash,
    ) -> Result<u64, StorageError<F::Error>> {
        self.tree.append(&mut self.flash, kind, row, hash)
    }

    /// The tree before the first leaf of a sector, and its leaves' slots from there on; `None` for a leaf that cannot be read.
    pub(crate) fn sector(&mut self, first: u64) -> Result<Option<Sector>, StorageError<F::Error>> {
        let Some((peaks, rows)) = self.tree.before_sector(&mut self.flash, first)? else { return Ok(None) };
        let end = self.tree.peaks().size().min(first + flash::LEAVES);
        let mut slots = Vec::new();
        for index in first..end {
            let slot = self.tree.slot(&mut self.flash, index)?;
            slots.push(slot.filter(|_| !self.tree.unread().contains(&index)));
        }
        Ok(Some(Sector { peaks, rows, slots }))
    }

    /// What a slot with a flipped bit would say without it.
    pub(crate) fn guess(&mut self, index: u64) -> Result<Option<Slot>, StorageError<F::Error>> {
        self.tree.guess(&mut self.flash, index)
    }

    /// Takes leaves of a sector for what they have been proven to be.
    pub(crate) fn mend(&mut self, first: u64, slots: &[(u64, Slot)]) -> Result<(), StorageError<F::Error>> {
        self.tree.mend(&mut self.flash, first, slots)
    }

    /// The records of a kind that are held, by their numbers; starts are counted with readings.
    #[allow(clippy::reversed_empty_ranges, reason = "void leaves have no records")]
    pub(crate) fn held(&self, kind: LeafKind) -> core::ops::RangeInclusive<u32> {
        match kind {
            LeafKind::Void => 1..=0,
            LeafKind::Event => self.log.sequences(),
            LeafKind::Interval => self.profile.sequences(),
            LeafKind::Reading | LeafKind::Boot => self.readings.sequences(),
            LeafKind::Billing => self.billing.sequences(),
        }
    }

    /// The records of a kind that have no leaf yet: from, and the newest there is.
    pub(crate) fn unsealed(&self, kind: LeafKind) -> (u32, u32) {
        let sequences = self.held(kind);
        ((self.tree.rows().of(kind) + 1).max(*sequences.start()), *sequences.end())
    }

    /// Gives no number again that a leaf has, even where its record has rotted. How many such records there are.
    pub(crate) fn skip_sealed(&mut self) -> u32 {
        let rows = self.tree.rows();
        let Self { log, profile, billing, readings, .. } = self;
        let rings = [
            (log, LeafKind::Event),
            (profile, LeafKind::Interval),
            (billing, LeafKind::Billing),
            (readings, LeafKind::Reading),
        ];
        rings.into_iter().map(|(ring, kind)| ring.skip_to(rows.of(kind))).sum()
    }

    /// Erases ahead what comes next: an erase takes longer than all writes of a call together, and more than a failing supply
    /// has left. One erase a call, what is needed soonest first, so that as a rule no more than one is under way when the
    /// supply fails. `committed`: log entries that may be dropped. Whether anything was to be erased.
    pub(crate) fn prepare(&mut self, committed: u32) -> Result<bool, StorageError<F::Error>> {
        if self.registers.prepare_unless_blank(&mut self.flash, LAST_WORDS)? {
            return Ok(true);
        }
        if !self.log.is_prepared(1)
            && self.log.would_drop(&mut self.flash)?.is_none_or(|sequence| sequence <= committed)
        {
            return self.log.prepare(&mut self.flash, 1);
        }
        let Self { state, profile, quality, tariff, events, billing, readings, checkpoints, .. } = self;
        // Not the settings': each sector is one of them, and the one before is what is left should the newest rot.
        for ring in [state, readings] {
            if ring.prepare(&mut self.flash, 1)? {
                return Ok(true);
            }
        }
        if self.tree.prepare(&mut self.flash)? {
            return Ok(true);
        }
        // What, as the registers, is not written to at every start: a supply that flickers must not have it erased at every
        // start either.
        for ring in [checkpoints, profile, tariff, quality, events, billing] {
            if ring.prepare_unless_blank(&mut self.flash, 1)? {
                return Ok(true);
            }
        }
        self.registers.prepare_unless_blank(&mut self.flash, SAVES_AHEAD)
    }

    /// Whether a checkpoint can be appended without an erase, or the next call will have seen to it.
    pub(crate) fn is_ready_for_checkpoint(&self) -> bool {
        self.checkpoints.is_prepared(1)
    }

    /// Flipped bits that were put right since the start.
    pub(crate) fn corrections(&self) -> u32 {
        let Self { state, registers, log, profile, quality, settings, tariff, events, billing, .. } = self;
        [state, registers, log, profile, quality, settings, tariff, events, billing]
            .into_iter()
            .chain([&self.readings, &self.checkpoints])
            .map(Ring::corrections)
            .fold(0, u32::wrapping_add)
    }

    /// How an entry of the event log is found.
    pub(crate) fn inspect_event(&mut self, sequence: u32) -> Result<Condition, StorageError<F::Error>> {
        self.events.inspect(&mut self.flash, sequence)
    }

    /// The same for a row of the power-quality log.
    pub(crate) fn inspect_quality(&mut self, sequence: u32) -> Result<Condition, StorageError<F::Error>> {
        self.quality.inspect(&mut self.flash, sequence)
    }

    /// The highest log entry that the next append would erase, if it would erase any.
    pub(crate) fn log_would_drop(&mut self) -> Result<Option<u32>, StorageError<F::Error>> {
        self.log.would_drop(&mut self.flash)
    }

    pub(crate) const fn registers(&self) -> &Ring {
        &self.registers
    }

    pub(crate) const fn log(&self) -> &Ring {
        &self.log
    }

    pub(crate) const fn events(&self) -> &Ring {
        &self.events
    }

    pub(crate) const fn billing(&self) -> &Ring {
        &self.billing
    }

    pub(crate) const fn quality(&self) -> &Ring {
        &self.quality
    }

    pub(crate) const fn profile(&self) -> &Ring {
        &self.profile
    }
}

/// The registers' records of a failing supply.
const LAST_WORDS: u32 = 2;
/// Those for which there is to be room without an erase: a call may end a billing period, an interval, a day and a second at
/// once, and then come the last words. It leaves three or more of those before.
const SAVES_AHEAD: u32 = 4 + LAST_WORDS;

/// A record that is there and cannot be read is another version's: to go on with defaults would change a tariff unseen.
fn known<T, E: core::fmt::Debug>(record: &[u8], decoded: Option<T>) -> Result<Option<T>, OpenError<E>> {
    match (record.first(), decoded) {
        (Some(&found), None) => Err(OpenError::RecordVersion { found }),
        (_, decoded) => Ok(decoded),
    }
}
