//! The sealed log: every record that must not be altered unnoticed becomes a leaf of one Merkle tree, and the meter signs
//! the tree's size and root in checkpoints.
//!
//! Records lie in their rings and are written first; the tree follows, and after a power cut catches up. What a leaf says
//! can be written again from its record at any time, its salt too, so the tree keeps hashes alone. Signing takes long
//! on a meter: [`Meter::signing_request`](crate::Meter::signing_request) gives the bytes, and
//! [`Meter::signed`](crate::Meter::signed) takes the signature, whenever it comes.

use alloc::vec::Vec;

use embedded_storage::nor_flash::NorFlash;
use meterseal_metrology::Registers;
use meterseal_model::{EventCode, UnixMillis, event::Severity};
use meterseal_seal::envelope::Draft;
use meterseal_seal::log::{
    Billing, Body, Boot, Checkpoint, Event, Interval, Leaf, LeafKind, LogHash, LogId, Maximum, Newest,
    Reading, ReadingReason, SaltKey, Totals, proof,
};
use meterseal_seal::{KeyId, KeySlot, KeyState};

use crate::StorageError;
use crate::allowance::Allowance;
use crate::billing::BillingRow;
use crate::inner::{Inner, milli};
use crate::reading::{Record, StoredReading};
use crate::records::{ProfileRow, SecurityEntry};

/// A checkpoint that waits for its signature.
#[derive(Clone, Debug)]
pub struct SigningRequest {
    /// Which one: hand it back with the signature.
    pub number: u64,
    /// What the log key signs (ES384 over SHA-384 of these bytes).
    pub to_be_signed: Vec<u8>,
}

/// What the meter knows of its log beside the tree.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) log: LogId,
    pub(crate) key: SaltKey,
    /// Which power-up this is: 1 the first.
    pub(crate) boot: u64,
    /// The newest reading.
    pub(crate) reading: Option<StoredReading>,
    /// The newest checkpoint, and as it was signed.
    pub(crate) newest: Option<Checkpoint>,
    pub(crate) newest_bytes: Vec<u8>,
    /// What waits for its signature.
    waiting: Option<(Checkpoint, Draft)>,
    /// A checkpoint is wanted now.
    wanted: bool,
    /// The uptime of the last checkpoint.
    last_ms: u64,
    /// How often checkpoints may be made.
    pace: Allowance,
    /// A reading is wanted at the next occasion.
    asked: bool,
}

impl Sealed {
    pub(crate) const fn new(log: LogId, key: SaltKey) -> Self {
        Self {
            log,
            key,
            boot: 0,
            reading: None,
            newest: None,
            newest_bytes: Vec::new(),
            waiting: None,
            wanted: false,
            last_ms: 0,
            pace: Allowance::new(AT_START, BURST, REFILL_MS),
            asked: false,
        }
    }
}

/// A leaf as it is given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealedLeaf {
    /// All of it.
    Bytes(Vec<u8>),
    /// Only its hash: its record is no longer held.
    Hash(LogHash),
}

impl SealedLeaf {
    /// As DLMS shows it: the leaf, or the 32 bytes of its hash. No leaf is as short as that.
    pub fn octets(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Hash(hash) => &hash.0,
        }
    }
}

/// A checkpoint is due so long after the one before, whatever happened: a day.
const CHECKPOINT_MS: u64 = 86_400_000;

/// Checkpoints at once: after power-up, and after a quiet time. Events that come faster share one. A meter can start 2²⁰ times
/// before its invocation counters are spent: four each are another 31 000 erases.
const AT_START: u32 = 4;
const BURST: u32 = 8;
/// One more every 75 s: 8.4 × 10⁶ in 20 years, or 62 000 erases of each of 17 sectors at 8 checkpoints a sector.
const REFILL_MS: u64 = 75_000;

/// A reading within this time after midnight is midnight's.
const MIDNIGHT_WITHIN_MS: i64 = 2_000;

const DAY_MS: i64 = 86_400_000;

impl<F: NorFlash> Inner<F> {
    /// At power-up: reads what is there, catches up, logs the start, and looks whether the tree is still what was signed.
    pub(crate) fn open_log(&mut self) -> Result<(), StorageError<F::Error>> {
        let lost = self.storage.get_mut().skip_sealed();
        let (boot, reading) = self.storage.get_mut().newest_reading()?;
        self.sealed.boot = boot;
        self.sealed.reading = reading;
        let bytes = self.storage.get_mut().newest_checkpoint()?;
        // The meter's own flash is believed without the signature.
        self.sealed.newest = Checkpoint::unverified(&bytes);
        self.sealed.newest_bytes = bytes;
        let mended = self.mend_newest_sector()?;
        self.seal_rows()?;
        let intact = match self.sealed.newest {
            None => true,
            Some(newest) => {
                let mut storage = self.storage.borrow_mut();
                let root = proof::root(&mut storage.tree_reader(), newest.size);
                // A tree that ends before its last checkpoint has no root of that size.
                newest.log != self.sealed.log || root.is_ok_and(|root| root == newest.root)
            }
        };
        // A leaf behind which there is none looks like one that was never written, until it is mended.
        let rotten =
            self.storage.get_mut().tree().rotten().max(mended) + lost + self.storage.get_mut().corrections();
        if !intact || rotten > 0 {
            self.log(EventCode::StorageError, rotten.into())?;
        }
        self.sealed.boot += 1;
        let firmware = Some(self.identity.firmware_digest);
        let boot = Boot { row: self.sealed.boot, time: self.clock(), firmware };
        self.storage.get_mut().append_reading(&Record::Boot(boot))?;
        self.sealed.wanted = true;
        self.seal_rows()
    }

    /// Makes a leaf of every record that has none yet.
    pub(crate) fn seal_rows(&mut self) -> Result<(), StorageError<F::Error>> {
        for kind in [LeafKind::Reading, LeafKind::Event, LeafKind::Interval, LeafKind::Billing] {
            let (from, newest) = self.storage.get_mut().unsealed(kind);
            for row in from..=newest {
                let Some(body) = self.body(kind, row)? else { continue };
                let Sealed { log, key, .. } = &self.sealed;
                let hash = |index| Leaf::new(*log, index, body, key).hash();
                // Starts stand in the readings' ring, and are counted with them.
                self.storage.get_mut().append_leaf(kind, row, hash)?;
            }
        }
        Ok(())
    }

    /// What the leaf of a record says; `None` when the record cannot be read any more.
    pub(crate) fn body(&self, kind: LeafKind, row: u32) -> Result<Option<Body>, StorageError<F::Error>> {
        let mut storage = self.storage.borrow_mut();
        Ok(match kind {
            LeafKind::Void => None,
            LeafKind::Event => storage.log_entry(row)?.map(|entry| Body::Event(event(&entry))),
            LeafKind::Interval => storage.profile_row(row)?.map(|row| Body::Interval(interval(&row))),
            LeafKind::Billing => storage.billing_row(row)?.map(|row| Body::Billing(billing(&row))),
            LeafKind::Reading | LeafKind::Boot => storage.reading(row)?.map(|record| match record {
                Record::Boot(boot) => Body::Boot(boot),
                Record::Reading(reading) => Body::Reading(reading),
            }),
        })
    }

    /// A leaf; `None` when the tree does not hold it.
    pub(crate) fn leaf(&self, index: u64) -> Result<Option<SealedLeaf>, StorageError<F::Error>> {
        let Some(slot) = self.storage.borrow_mut().leaf_slot(index)? else { return Ok(None) };
        let body =
            if slot.kind == LeafKind::Void { Some(Body::Void) } else { self.body(slot.kind, slot.row)? };
        let bytes = body.map(|body| Leaf::new(self.sealed.log, index, body, &self.sealed.key).encode());
        Ok(Some(match bytes {
            // Where the record says something else than was sealed, the seal is what counts.
            Some(bytes) if LogHash::of_leaf(&bytes) == slot.hash => SealedLeaf::Bytes(bytes),
            _ => SealedLeaf::Hash(slot.hash),
        }))
    }

    /// The newest entry of the security log raises a checkpoint at once if somebody may be altering the meter.
    pub(crate) fn sealed_event(&mut self, code: EventCode) {
        self.sealed.wanted |= code.severity() == Severity::Critical;
    }

    /// Takes the daily reading, and one that was asked for.
    pub(crate) fn read_when_due(&mut self, registers: &Registers) -> Result<(), StorageError<F::Error>> {
        let clock = self.clock();
        let day = clock.0.div_euclid(DAY_MS);
        let before = self.sealed.reading.map(|reading| reading.day);
        // A clock that was set back takes none until it is further than it was.
        let new_day = before.is_none_or(|before| day > before);
        if !new_day && !self.sealed.asked {
            return Ok(());
        }
        self.save_registers(registers)?;
        if new_day {
            let midnight = day * DAY_MS;
            let late = clock.0 - midnight <= MIDNIGHT_WITHIN_MS && before.is_some();
            self.take_reading(ReadingReason::Daily, if late { UnixMillis(midnight) } else { clock })?;
        }
        if self.sealed.asked {
            self.sealed.asked = false;
            self.take_reading(ReadingReason::Requested, clock)?;
        }
        Ok(())
    }

    /// The utility wants a reading, signed.
    pub(crate) const fn ask_for_reading(&mut self) {
        self.sealed.asked = true;
    }

    /// Writes a reading of the registers that are saved, and has it signed.
    pub(crate) fn take_reading(
        &mut self,
        reason: ReadingReason,
        time: UnixMillis,
    ) -> Result<(), StorageError<F::Error>> {
        let registers = &self.saved.registers;
        let reading = Reading {
            row: self.sealed.reading.map_or(0, |reading| reading.row) + 1,
            time,
            uptime_ms: self.uptime_ms(),
            boot: self.sealed.boot,
            reason,
            totals: Totals {
                active_import_milliwatt_hours: milli(registers.total_import_nanowatt_hours),
                active_export_milliwatt_hours: milli(registers.total_export_nanowatt_hours),
                reactive_import_millivar_hours: milli(registers.reactive_import_nanovar_hours()),
                reactive_export_millivar_hours: milli(registers.reactive_export_nanovar_hours()),
            },
            rates: sealed_rates(&self.saved.rates),
            quadrant_millivar_hours: registers.reactive_quadrants_nanovar_hours.map(milli),
            phase_import_milliwatt_hours: registers.phases.map(|phase| milli(phase.import_nanowatt_hours)),
            phase_export_milliwatt_hours: registers.phases.map(|phase| milli(phase.export_nanowatt_hours)),
            sum_of_phase_imports_milliwatt_hours: milli(registers.sum_of_phase_imports_nanowatt_hours),
            apparent_millivoltampere_hours: milli(registers.apparent_nanovoltampere_hours),
        };
        self.storage.get_mut().append_reading(&Record::Reading(reading))?;
        // What day it was is the clock's word, not the reading's: midnight belongs to the day that begins.
        self.sealed.reading = Some(StoredReading { row: reading.row, day: time.0.div_euclid(DAY_MS) });
        self.sealed.wanted = true;
        self.seal_rows()
    }

    /// The bytes of the checkpoint that is due, if one is.
    pub(crate) fn signing_request(&mut self) -> Option<SigningRequest> {
        let since = self.uptime_ms().saturating_sub(self.sealed.last_ms);
        let due = self.sealed.wanted || since >= CHECKPOINT_MS;
        let uptime_ms = self.uptime_ms();
        if !due || !self.sealed.pace.is_open(uptime_ms) || self.sealed.waiting.is_some() {
            return None;
        }
        if !self.storage.get_mut().is_ready_for_checkpoint() {
            // The next tick erases its sector; not while another erase may be under way.
            return None;
        }
        let key = self.log_key()?;
        let storage = self.storage.borrow_mut();
        let peaks = storage.tree().peaks();
        let before = self.sealed.newest.filter(|newest| newest.log == self.sealed.log);
        let checkpoint = Checkpoint {
            meter: self.identity.id,
            log: self.sealed.log,
            number: before.map_or(0, |before| before.number) + 1,
            size: peaks.size(),
            root: peaks.root(),
            time: self.clock(),
            uptime_ms: self.uptime_ms(),
            boot: self.sealed.boot,
            newest: Newest {
                event: storage.unsealed(LeafKind::Event).1.into(),
                interval: storage.unsealed(LeafKind::Interval).1.into(),
                reading: self.sealed.reading.map_or(0, |reading| reading.row),
                billing: storage.unsealed(LeafKind::Billing).1.into(),
            },
            previous: before.map(|before| before.digest()),
        };
        drop(storage);
        let draft = checkpoint.draft(key);
        let request = SigningRequest { number: checkpoint.number, to_be_signed: draft.to_be_signed() };
        self.sealed.waiting = Some((checkpoint, draft));
        self.sealed.wanted = false;
        Some(request)
    }

    /// Takes a signature; `None`: the key could not sign now, and the checkpoint is asked for again.
    pub(crate) fn signed(
        &mut self,
        number: u64,
        signature: Option<&[u8; 96]>,
    ) -> Result<(), StorageError<F::Error>> {
        let Some((checkpoint, draft)) = self.sealed.waiting.take_if(|(waiting, _)| waiting.number == number)
        else {
            return Ok(());
        };
        let Some(signature) = signature else {
            self.sealed.wanted = true;
            return Ok(());
        };
        let bytes = draft.finish(signature);
        if let Err(error) = self.storage.get_mut().append_checkpoint(&bytes) {
            self.sealed.wanted = true;
            return Err(error);
        }
        let uptime_ms = self.uptime_ms();
        self.sealed.pace.take(uptime_ms);
        self.sealed.newest = Some(checkpoint);
        self.sealed.newest_bytes = bytes;
        self.sealed.last_ms = self.uptime_ms();
        Ok(())
    }

    /// The log key's certificates one after another, or the bare key; empty where there is none.
    pub(crate) fn log_key_chain(&self) -> Vec<u8> {
        let Some(store) = &self.key_store else { return Vec::new() };
        let chain = store.certificates(KeySlot::Log).unwrap_or_default();
        if !chain.is_empty() {
            return chain.concat();
        }
        store.public_key(KeySlot::Log, KeyState::Current).map(|key| key.to_der()).unwrap_or_default()
    }

    /// The log key's name; `None` where the meter has none and signs nothing.
    fn log_key(&self) -> Option<KeyId> {
        let key = self.key_store.as_ref()?.public_key(KeySlot::Log, KeyState::Current);
        key.ok().map(|key| key.key_id())
    }
}

fn event(entry: &SecurityEntry) -> Event {
    Event {
        row: entry.sequence,
        code: entry.code as u8,
        time: entry.time,
        uptime_ms: entry.uptime_ms,
        extreme: entry.extreme,
        uncertainty_ms: 0,
    }
}

fn interval(row: &ProfileRow) -> Interval {
    Interval {
        row: row.sequence,
        time: row.time,
        status: row.status,
        totals: Totals {
            active_import_milliwatt_hours: row.active_import_milliwatt_hours,
            active_export_milliwatt_hours: row.active_export_milliwatt_hours,
            reactive_import_millivar_hours: row.reactive_import_millivar_hours,
            reactive_export_millivar_hours: row.reactive_export_millivar_hours,
        },
        mean_voltage_centivolts: row.mean_voltage_centivolts,
    }
}

fn billing(row: &BillingRow) -> Billing {
    Billing {
        row: row.sequence,
        time: row.time,
        totals: Totals {
            active_import_milliwatt_hours: row.active_import_milliwatt_hours,
            active_export_milliwatt_hours: row.active_export_milliwatt_hours,
            reactive_import_millivar_hours: row.reactive_import_millivar_hours,
            reactive_export_millivar_hours: row.reactive_export_millivar_hours,
        },
        rates: sealed_rates(&row.rates),
        maxima: row.maxima.map(|peak| Maximum { microwatts: peak.microwatts, time: peak.time }),
    }
}

fn sealed_rates(rates: &crate::tariff::Rates) -> meterseal_seal::log::Rates {
    meterseal_seal::log::Rates {
        import_milliwatt_hours: rates.import_milliwatt_hours,
        export_milliwatt_hours: rates.export_milliwatt_hours,
    }
}
