//! Checks a statement: its readings against the checkpoint, the checkpoint against the one before, all of it in words.

use alloc::format;
use alloc::vec::Vec;

use meterseal_model::Obis;
use meterseal_model::unit::Unit;

use super::Statement;
use crate::evidence::origin::{Earlier, Trust};
use crate::evidence::report::Report;
use crate::log::{Body, Checkpoint, Leaf, LogHash, Reading, verify_consistency, verify_inclusion};

impl Statement {
    /// Checks a statement.
    pub fn verify(&self, trust: &Trust) -> VerifiedStatement {
        let mut report = Report::default();
        let checkpoint =
            self.origin.checkpoint(&self.checkpoint, &mut report).map(|signed| *signed.checkpoint());
        let Some(checkpoint) = checkpoint else {
            report.meter = Some(self.origin.meter);
            return VerifiedStatement { report, checkpoint: None, readings: Vec::new(), closing: None };
        };
        report.proven(
            "signature",
            format!(
                "Meter {} signed, at {} by its clock, that its log has {} entries and what they are.",
                checkpoint.meter, checkpoint.time, checkpoint.size
            ),
        );
        self.origin.judge(trust, checkpoint.time, &mut report);
        let (readings, closing) = self.verify_readings(&checkpoint, &mut report);
        self.verify_previous(&checkpoint, &mut report);
        self.verify_earlier(&checkpoint, trust, &mut report);
        report.not_proven("prices", "Prices, taxes and amounts of money: the meter knows none of them.");
        report.not_proven(
            "accuracy",
            "That the meter measures correctly: that is what its mark and its verification seal stand for.",
        );
        VerifiedStatement { report, checkpoint: Some(checkpoint), readings, closing }
    }

    fn verify_readings(
        &self,
        checkpoint: &Checkpoint,
        report: &mut Report,
    ) -> (Vec<Reading>, Option<(u64, LogHash)>) {
        let mut readings: Vec<Reading> = Vec::new();
        let mut last: Option<(u64, LogHash)> = None;
        for (place, proven) in self.readings.iter().enumerate() {
            let number = place + 1;
            let hash = LogHash::of_leaf(&proven.leaf);
            let leaf = match Leaf::decode(&proven.leaf) {
                Ok(leaf) => leaf,
                Err(error) => {
                    report.broken("leaf", format!("Reading {number} of the file: {error}."));
                    continue;
                }
            };
            let Body::Reading(reading) = leaf.body else {
                report.broken("leaf", format!("Reading {number} of the file is no reading."));
                continue;
            };
            if leaf.log != self.origin.log {
                report.broken("other-log", format!("Reading {number} of the file is of another log."));
            }
            if !verify_inclusion(&hash, leaf.sequence, checkpoint.size, &proven.path, &checkpoint.root) {
                report.broken(
                    "inclusion",
                    format!(
                        "The reading of {} is not in the log that the meter signed: it was altered, or its proof is of \
                         another log.",
                        reading.time
                    ),
                );
            }
            if let (Some(before), Some((sequence, _))) = (readings.last(), last) {
                compare(before, &reading, sequence < leaf.sequence, report);
            }
            last = Some((leaf.sequence, hash));
            readings.push(reading);
        }
        match (readings.first(), readings.last()) {
            (Some(opening), Some(closing)) if readings.len() >= 2 => {
                if report.holds() {
                    report.proven(
                        "readings",
                        format!(
                            "All {} readings that the meter took from {} to {} are in that log, unaltered, and none \
                             between them is left out.",
                            readings.len(),
                            opening.time,
                            closing.time
                        ),
                    );
                }
            }
            _ => report.broken("period", "The file lacks an opening or a closing reading."),
        }
        (readings, last)
    }

    fn verify_previous(&self, checkpoint: &Checkpoint, report: &mut Report) {
        let Some(previous) = &self.previous else {
            return report.not_proven(
                "previous",
                "That the log is the one that an earlier statement saw: this statement names none before it.",
            );
        };
        let Some(signed) = self.origin.checkpoint(&previous.checkpoint, report) else { return };
        let old = signed.checkpoint();
        if !is_after(checkpoint, old)
            || !verify_consistency(old.size, &old.root, checkpoint.size, &checkpoint.root, &previous.path)
        {
            return report.broken(
                "previous",
                format!(
                    "The log did not grow out of the one that the meter signed at {} for the statement before: entries \
                     of it were altered or removed, or an old state was put back.",
                    old.time
                ),
            );
        }
        report.proven(
            "previous",
            format!("The log begins with all {} entries that the meter signed at {}.", old.size, old.time),
        );
    }

    fn verify_earlier(&self, checkpoint: &Checkpoint, trust: &Trust, report: &mut Report) {
        let Some(earlier) = &trust.earlier else { return };
        if !self.origin.is_of(earlier, report) {
            return;
        }
        let named = self.previous.as_ref().map(|previous| &previous.checkpoint);
        let named = named.and_then(|bytes| self.origin.checkpoint(bytes, report));
        let same = named.is_some_and(|signed| {
            (signed.checkpoint().size, signed.checkpoint().root) == (earlier.size, earlier.root)
        }) || (checkpoint.size, checkpoint.root) == (earlier.size, earlier.root);
        if !same {
            return report
                .broken("earlier", "This statement does not continue the earlier one that you gave.");
        }
        let opening = self.readings.first().map(|reading| LogHash::of_leaf(&reading.leaf));
        match earlier.closing {
            Some((_, closing)) if opening == Some(closing) => report.proven(
                "continues",
                "It begins with the very reading with which the earlier statement ended: nothing is billed twice, and \
                 nothing is left out between them.",
            ),
            Some(_) => report.broken(
                "continues",
                "It does not begin with the reading with which the earlier statement ended.",
            ),
            None => {}
        }
    }
}

/// What may not differ between a reading and the one before it.
fn compare(before: &Reading, after: &Reading, in_order: bool, report: &mut Report) {
    if !in_order || after.row != before.row.wrapping_add(1) {
        report.broken(
            "left-out",
            format!(
                "After reading number {} comes number {}: readings are left out, doubled or out of order.",
                before.row, after.row
            ),
        );
    }
    for (old, new) in registers(before).iter().zip(registers(after)) {
        if new.value < old.value {
            report.broken(
                "backwards",
                format!("Register {} stands lower at {} than at {}.", new.obis, after.time, before.time),
            );
        }
    }
}

/// Whether a checkpoint is of a later state than another.
pub(crate) fn is_after(new: &Checkpoint, old: &Checkpoint) -> bool {
    new.number >= old.number && new.size >= old.size && new.boot >= old.boot
}

/// A statement that was checked.
#[derive(Clone, Debug)]
pub struct VerifiedStatement {
    /// What was found.
    pub report: Report,
    checkpoint: Option<Checkpoint>,
    readings: Vec<Reading>,
    closing: Option<(u64, LogHash)>,
}

impl VerifiedStatement {
    /// What was metered in the period; `None` when anything is broken.
    pub fn quantities(&self) -> Option<Vec<Quantity>> {
        let (opening, closing) = (self.readings.first()?, self.readings.last()?);
        self.report.holds().then(|| {
            registers(opening)
                .iter()
                .zip(registers(closing))
                .map(|(opening, Register { obis, name, unit, value })| Quantity {
                    obis,
                    name,
                    unit,
                    opening: opening.value,
                    closing: value,
                })
                .collect()
        })
    }

    /// The readings; empty when anything is broken.
    pub fn readings(&self) -> &[Reading] {
        if self.report.holds() { &self.readings } else { &[] }
    }

    /// The checkpoint that covers them; `None` when anything is broken.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref().filter(|_| self.report.holds())
    }

    /// What a later file can be checked against; `None` when anything is broken.
    pub fn earlier(&self) -> Option<Earlier> {
        let Checkpoint { meter, log, size, root, .. } = *self.checkpoint()?;
        Some(Earlier { meter, log, size, root, closing: self.closing })
    }
}

/// A register at both ends of a period, thousandths of its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// Which register.
    pub obis: Obis,
    /// What it counts, for people.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// How it stood at the beginning.
    pub opening: u64,
    /// How it stood at the end.
    pub closing: u64,
}

impl Quantity {
    /// What was metered in the period, thousandths of the unit.
    pub const fn metered(&self) -> u64 {
        self.closing.saturating_sub(self.opening)
    }
}

/// A register of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Which.
    pub obis: Obis,
    /// What it counts, for people.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// How it stands, thousandths of the unit.
    pub value: u64,
}

/// The registers of a reading: totals, then rates, then what the totals are made of.
pub fn registers(reading: &Reading) -> [Register; 22] {
    let t = &reading.totals;
    let [i1, i2, i3, i4] = reading.rates.import_milliwatt_hours;
    let [e1, e2, e3, e4] = reading.rates.export_milliwatt_hours;
    let [q1, q2, q3, q4] = reading.quadrant_millivar_hours;
    let [p1, p2, p3] = reading.phase_import_milliwatt_hours;
    let [n1, n2, n3] = reading.phase_export_milliwatt_hours;
    let active = |obis, name, value| Register { obis, name, unit: Unit::WattHour, value };
    let reactive = |obis, name, value| Register { obis, name, unit: Unit::VarHour, value };
    [
        active(Obis::ACTIVE_ENERGY_IMPORT, "active energy import", t.active_import_milliwatt_hours),
        active(Obis::ACTIVE_ENERGY_EXPORT, "active energy export", t.active_export_milliwatt_hours),
        reactive(Obis::REACTIVE_ENERGY_IMPORT, "reactive energy import", t.reactive_import_millivar_hours),
        reactive(Obis::REACTIVE_ENERGY_EXPORT, "reactive energy export", t.reactive_export_millivar_hours),
        active(Obis::RATE_IMPORT[0], "import at rate 1", i1),
        active(Obis::RATE_IMPORT[1], "import at rate 2", i2),
        active(Obis::RATE_IMPORT[2], "import at rate 3", i3),
        active(Obis::RATE_IMPORT[3], "import at rate 4", i4),
        active(Obis::RATE_EXPORT[0], "export at rate 1", e1),
        active(Obis::RATE_EXPORT[1], "export at rate 2", e2),
        active(Obis::RATE_EXPORT[2], "export at rate 3", e3),
        active(Obis::RATE_EXPORT[3], "export at rate 4", e4),
        reactive(Obis::QUADRANT_ENERGY[0], "reactive energy, quadrant I", q1),
        reactive(Obis::QUADRANT_ENERGY[1], "reactive energy, quadrant II", q2),
        reactive(Obis::QUADRANT_ENERGY[2], "reactive energy, quadrant III", q3),
        reactive(Obis::QUADRANT_ENERGY[3], "reactive energy, quadrant IV", q4),
        active(Obis::PHASE_ENERGY_IMPORT[0], "import of L1", p1),
        active(Obis::PHASE_ENERGY_IMPORT[1], "import of L2", p2),
        active(Obis::PHASE_ENERGY_IMPORT[2], "import of L3", p3),
        active(Obis::PHASE_ENERGY_EXPORT[0], "export of L1", n1),
        active(Obis::PHASE_ENERGY_EXPORT[1], "export of L2", n2),
        active(Obis::PHASE_ENERGY_EXPORT[2], "export of L3", n3),
    ]
}
