//! One trial: a meter works, its power goes once or twice, it comes back, and everything that was promised is looked for.

use std::collections::BTreeMap;

use meterseal_meter::{Layout, SealedLeaf};
use meterseal_model::EventCode;
use meterseal_seal::log::{Body, Checkpoint, Leaf};
use meterseal_world::flash::{Cut, CutFlash};

use crate::work::{self, Device, Promised, SECOND_NANOWATT_HOURS, Work, hash};

/// A flash to begin with, and what it promises.
#[derive(Clone)]
pub struct Start<const E: usize, const W: usize> {
    pub layout: Layout,
    pub work: Work,
    pub flash: CutFlash<E, W>,
    pub promised: Promised,
}

/// What a trial that ended well has shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// All cuts came before the work was done.
    pub cut: bool,
    /// Flash operations of the last life before the check.
    pub operations: u64,
    /// Energy that the registers were short of, at most, nanowatt-hours.
    pub short: u64,
    /// Slots of the tree that were lost to a tear.
    pub voids: u64,
}

impl<const E: usize, const W: usize> Start<E, W> {
    /// A blank flash: formatting it is cut too.
    pub fn blank(layout: Layout, work: Work) -> Self {
        Self { layout, work, flash: CutFlash::new(layout.size(), 1), promised: Promised::default() }
    }

    pub fn aged(layout: Layout, work: Work) -> Result<Self, String> {
        let (flash, promised) = work::aged(layout, work, 1)?;
        Ok(Self { layout, work, flash, promised })
    }

    /// Lives through these cuts, one after another, and looks for what was promised.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn live(&self, seed: u64, cuts: &[Cut]) -> Result<Outcome, String> {
        let mut flash = self.flash.clone().seeded(seed);
        let mut promised = self.promised.clone();
        let mut outcome = Outcome { cut: true, ..Outcome::default() };
        for (life, &cut) in cuts.iter().enumerate() {
            flash.power_on(Some(cut));
            promised.now += 1_000;
            let ended = match work::open(&mut flash, self.layout, promised.now) {
                Ok(mut meter) => {
                    outcome.short = outcome.short.max(look(&meter, &mut promised)?);
                    work::work(&mut meter, self.work, &mut promised)
                }
                Err(refused) => Err(refused),
            };
            outcome.operations = flash.operations();
            outcome.cut &= flash.is_cut();
            match ended {
                Err(error) if !flash.is_cut() => return Err(format!("life {life}, with power: {error}")),
                _ => {}
            }
        }
        flash.power_on(None);
        promised.now += 1_000;
        let mut meter = work::open(&mut flash, self.layout, promised.now)?;
        outcome.short = outcome.short.max(look(&meter, &mut promised)?);
        outcome.voids = sealed(&meter)?;
        // It goes on working: an event, a save, an acknowledgement under counters that were never used.
        let before = *meter.security_log_range().end();
        work::go_on(&mut meter, &mut promised).map_err(|error| format!("afterwards: {error}"))?;
        // A cover that was open when the power went has been logged.
        if *meter.security_log_range().end() < before + 1 {
            return Err(format!("afterwards: events after {before} are not logged"));
        }
        if !promised.counters.is_sorted_by(|a, b| a < b) {
            return Err(format!("a counter was used twice: {:?}", promised.counters));
        }
        sealed(&meter)?;
        agrees(&meter, &promised)?;
        drop(meter);
        if flash.overwrites() > 0 {
            return Err(format!("{} writes on bytes that were not erased", flash.overwrites()));
        }
        Ok(outcome)
    }
}

/// Everything promised is there, and nothing else but what was under way. Gives the energy that is missing.
fn look<const E: usize, const W: usize>(
    meter: &Device<'_, E, W>,
    promised: &mut Promised,
) -> Result<u64, String> {
    let say = |error| format!("read: {error}");
    let held = meter.security_log_range();
    if *held.start() > meter.committed_security_log() + 1 {
        return Err(format!("entries before {} were dropped without being acknowledged", held.start()));
    }
    for (&sequence, entry) in promised.entries.range(*held.start()..) {
        let found = meter.security_log_entry(sequence).map_err(say)?;
        if found != Some(*entry) {
            return Err(format!("entry {sequence}: {found:?} for {entry:?}"));
        }
    }
    let newest = promised.entries.last_key_value().map_or(0, |(&newest, _)| newest);
    if *held.end() > newest + 6 {
        return Err(format!("entries up to {}, promised up to {newest}", held.end()));
    }
    let rows = meter.load_profile_range();
    for (&sequence, row) in promised.rows.range(*rows.start()..) {
        let found = meter.load_profile_row(sequence).map_err(say)?;
        if found != Some(*row) {
            return Err(format!("row {sequence}: {found:?} for {row:?}"));
        }
    }
    let leaves = meter.sealed_leaves();
    for index in leaves.start..promised.leaves.len() as u64 {
        let found = meter.sealed_leaf(index).map_err(say)?.map(|leaf| hash(&leaf));
        if found != Some(promised.leaves[index as usize]) {
            return Err(format!("leaf {index} of {leaves:?}: {found:?}"));
        }
    }
    if meter.committed_security_log() < promised.committed {
        return Err("an acknowledgement was forgotten".into());
    }
    let number = |bytes: &[u8]| Checkpoint::unverified(bytes).map_or(0, |checkpoint| checkpoint.number);
    let (had, has) = (number(&promised.checkpoint), number(meter.checkpoint()));
    if has < had || (has == had && promised.checkpoint != meter.checkpoint()) {
        return Err(format!("checkpoint {has} in place of {had}"));
    }
    let saved = meter.saved_registers().total_import_nanowatt_hours;
    if saved < promised.saved || saved > promised.flowed {
        return Err(format!(
            "registers at {saved}, were at {}, and {} has flowed",
            promised.saved, promised.flowed
        ));
    }
    let short = promised.flowed - saved;
    let bound = if std::mem::take(&mut promised.stopped) { 0 } else { SECOND_NANOWATT_HOURS };
    if short > bound {
        return Err(format!("registers are {short} nWh short, {bound} at most"));
    }
    promised.flowed = saved;
    promised.note(meter)?;
    for (sequence, entry) in promised.entries.range(newest + 1..) {
        // A cut is no fault of the memory, and is not taken for one.
        if !matches!(
            entry.code,
            EventCode::PowerUp
                | EventCode::PowerDown
                | EventCode::CoverRemoved
                | EventCode::CoverClosed
                | EventCode::LogNearlyFull
        ) {
            return Err(format!("entry {sequence} says {}", entry.code));
        }
    }
    let highest = promised.rows.values().map(|row| row.active_import_milliwatt_hours).max().unwrap_or(0);
    if highest > saved / 1_000_000 {
        return Err(format!("a row says {highest} mWh, the registers {saved} nWh"));
    }
    Ok(short)
}

/// Every record held since the oldest leaf has one leaf that says the same. Gives how many leaves are void.
fn sealed<const E: usize, const W: usize>(meter: &Device<'_, E, W>) -> Result<u64, String> {
    let (mut events, mut rows, mut voids) = (BTreeMap::new(), BTreeMap::new(), 0);
    for index in meter.sealed_leaves() {
        let leaf = meter.sealed_leaf(index).map_err(|error| format!("read: {error}"))?;
        let Some(SealedLeaf::Bytes(bytes)) = leaf else { continue };
        let leaf = Leaf::decode(&bytes).map_err(|error| format!("leaf {index}: {error:?}"))?;
        let twice = match leaf.body {
            Body::Event(event) => events.insert(event.row, (event.code, event.uptime_ms)).is_some(),
            Body::Interval(interval) => rows.insert(interval.row, interval.time).is_some(),
            Body::Void => {
                voids += 1;
                false
            }
            _ => false,
        };
        if twice || leaf.sequence != index {
            return Err(format!("leaf {index} seals a second time: {leaf:?}"));
        }
    }
    let oldest = events.first_key_value().map_or(u64::MAX, |(&row, _)| row);
    for sequence in meter.security_log_range().filter(|&sequence| sequence >= oldest) {
        let entry = meter.security_log_entry(sequence).map_err(|error| format!("read: {error}"))?;
        let entry = entry.ok_or(format!("entry {sequence} is unreadable"))?;
        if events.get(&sequence) != Some(&(entry.code as u8, entry.uptime_ms)) {
            return Err(format!("entry {sequence} has no leaf of its own"));
        }
    }
    let oldest = rows.first_key_value().map_or(u64::MAX, |(&row, _)| row);
    for sequence in meter.load_profile_range().filter(|&sequence| sequence >= oldest) {
        let row = meter.load_profile_row(sequence).map_err(|error| format!("read: {error}"))?;
        let row = row.ok_or(format!("row {sequence} is unreadable"))?;
        if rows.get(&sequence) != Some(&row.time) {
            return Err(format!("row {sequence} has no leaf of its own"));
        }
    }
    Ok(voids)
}

/// The newest checkpoint's root is that of the leaves as they were seen from outside, one by one.
fn agrees<const E: usize, const W: usize>(
    meter: &Device<'_, E, W>,
    promised: &Promised,
) -> Result<(), String> {
    let newest = Checkpoint::unverified(meter.checkpoint()).ok_or("no checkpoint")?;
    let mut peaks = meterseal_seal::log::Peaks::new();
    promised.leaves.iter().take(newest.size as usize).for_each(|&leaf| {
        peaks.append(leaf);
    });
    if peaks.root() == newest.root && promised.peaks.size() == meter.sealed_leaves().end {
        Ok(())
    } else {
        Err(format!("checkpoint {} of {} leaves has another root", newest.number, newest.size))
    }
}
