//! Checks an export, entry by entry as it is read.

use alloc::format;
use alloc::vec::Vec;

use meterseal_model::EventCode;

use super::Export;
use crate::evidence::origin::{Earlier, Trust};
use crate::evidence::report::Report;
use crate::evidence::statement::is_after;
use crate::log::{Body, Checkpoint, Leaf, LeafKind, LogHash, Peaks};

/// An export that was checked.
#[derive(Clone, Debug)]
pub struct VerifiedExport {
    /// What was found.
    pub report: Report,
    /// The newest checkpoint of the file that holds.
    newest: Option<Checkpoint>,
}

impl VerifiedExport {
    /// The checkpoint at the file's end; `None` when anything is broken.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.newest.as_ref().filter(|_| self.report.holds())
    }

    /// What a later file can be checked against; `None` when anything is broken.
    pub fn earlier(&self) -> Option<Earlier> {
        let Checkpoint { meter, log, size, root, .. } = *self.checkpoint()?;
        Some(Earlier { meter, log, size, root, closing: None })
    }
}

/// What has been read so far.
pub(super) struct Check<'a> {
    export: Export,
    trust: &'a Trust,
    report: Report,
    peaks: Peaks,
    newest: Option<Checkpoint>,
    /// The newest record of each kind, where no entry since is unknown.
    rows: [Option<u64>; LeafKind::ALL.len()],
    counts: [u64; LeafKind::ALL.len()],
    withheld: u64,
    clock_changes: u64,
    /// What follows from the first fault need not be said again for every entry.
    sequence_broken: bool,
    root_broken: bool,
    continues_earlier: Option<bool>,
}

impl<'a> Check<'a> {
    pub(super) fn new(export: Export, trust: &'a Trust) -> Self {
        let mut check = Self {
            peaks: export.start.clone(),
            export,
            trust,
            report: Report::default(),
            newest: None,
            rows: [None; LeafKind::ALL.len()],
            counts: [0; LeafKind::ALL.len()],
            withheld: 0,
            clock_changes: 0,
            sequence_broken: false,
            root_broken: false,
            continues_earlier: None,
        };
        check.compare_earlier();
        check
    }

    pub(super) fn leaf(&mut self, bytes: &[u8], visit: &mut dyn FnMut(&Leaf)) {
        let sequence = self.peaks.size();
        match Leaf::decode(bytes) {
            Ok(leaf) => {
                self.place(&leaf, sequence);
                visit(&leaf);
            }
            Err(error) => self.report.broken("leaf", format!("Entry {sequence}: {error}.")),
        }
        self.append(LogHash::of_leaf(bytes));
    }

    pub(super) fn withheld(&mut self, hash: LogHash) {
        self.withheld += 1;
        self.rows = [None; LeafKind::ALL.len()];
        self.append(hash);
    }

    fn append(&mut self, hash: LogHash) {
        self.peaks.append(hash);
        self.compare_earlier();
    }

    /// Whether a leaf is where it says.
    fn place(&mut self, leaf: &Leaf, sequence: u64) {
        if leaf.log != self.export.origin.log {
            self.report.broken("other-log", format!("Entry {sequence} is of another log ({}).", leaf.log));
        }
        if leaf.sequence != sequence && !self.sequence_broken {
            self.sequence_broken = true;
            self.report.broken(
                "sequence",
                format!(
                    "Where entry {sequence} should be stands entry {}: entries were deleted, inserted or reordered.",
                    leaf.sequence
                ),
            );
        }
        let kind = leaf.body.kind();
        self.counts[kind as usize] += 1;
        match (leaf.body.row(), self.rows[kind as usize]) {
            // What a power cut tore may have been a record of any kind.
            (None, _) => self.rows = [None; LeafKind::ALL.len()],
            (Some(row), before) => {
                if before.is_some_and(|before| row != before.wrapping_add(1)) && !self.sequence_broken {
                    self.report.broken(
                        "gap",
                        format!(
                            "After {kind} number {} comes number {row}: records are missing or doubled.",
                            before.unwrap_or_default()
                        ),
                    );
                }
                self.rows[kind as usize] = Some(row);
            }
        }
        if let Body::Event(event) = &leaf.body {
            self.clock_changes += u64::from(event.known() == Some(EventCode::ClockAfter));
        }
    }

    pub(super) fn checkpoint(&mut self, bytes: &[u8]) {
        let Some(signed) = self.export.origin.checkpoint(bytes, &mut self.report) else { return };
        let checkpoint = *signed.checkpoint();
        if let Some(newest) = &self.newest {
            let follows = checkpoint.number.checked_sub(1) != Some(newest.number)
                || checkpoint.previous == Some(newest.digest());
            if !is_after(&checkpoint, newest) || checkpoint.number == newest.number || !follows {
                self.report.broken(
                    "checkpoint-order",
                    format!(
                        "Checkpoint {} does not follow checkpoint {}: an old state was put back, or the log was forked.",
                        checkpoint.number, newest.number
                    ),
                );
            }
        }
        let (size, root) = (self.peaks.size(), self.peaks.root());
        if checkpoint.size != size || checkpoint.root != root {
            if self.root_broken {
                return;
            }
            self.root_broken = true;
            let from = self.newest.map_or(self.export.start.size(), |newest| newest.size);
            self.report.broken(
                "root",
                format!(
                    "The entries are not those that the meter signed at {}: between entry {from} and entry {} something \
                     was edited, deleted, inserted or reordered.",
                    checkpoint.time, checkpoint.size
                ),
            );
            return;
        }
        self.newest = Some(checkpoint);
    }

    /// Looks at an earlier file's root when its size is reached.
    fn compare_earlier(&mut self) {
        if let Some(earlier) = &self.trust.earlier
            && earlier.size == self.peaks.size()
        {
            self.continues_earlier = Some(earlier.root == self.peaks.root());
        }
    }

    pub(super) fn finish(mut self) -> VerifiedExport {
        let (first, size) = (self.export.start.size(), self.peaks.size());
        self.judge_end(first, size);
        self.judge_earlier(size);
        let report = &mut self.report;
        report.meter = Some(self.export.origin.meter);
        if let Some(newest) = self.newest {
            self.export.origin.judge(self.trust, newest.time, report);
            if report.holds() {
                report.proven(
                    "entries",
                    format!(
                        "The file holds all {} entries of the log of meter {} from entry {first} to entry {}, exactly \
                         as the meter signed them at {}: none was edited, deleted, inserted or reordered.",
                        self.export.count,
                        newest.meter,
                        size.saturating_sub(1),
                        newest.time
                    ),
                );
                report.proven("order", order(&self.counts, self.clock_changes));
            }
            report.not_proven(
                "newer",
                format!(
                    "Whether the meter has recorded anything after {}: only a later checkpoint can show it.",
                    newest.time
                ),
            );
        }
        if self.withheld > 0 {
            report.not_proven(
                "withheld",
                format!("What {} entries say: they are in the file only as hashes.", self.withheld),
            );
        }
        report.not_proven(
            "accuracy",
            "That the meter measures correctly: that is what its mark and its verification seal stand for.",
        );
        VerifiedExport { report: self.report, newest: self.newest }
    }

    fn judge_end(&mut self, first: u64, size: u64) {
        let found = size - first;
        if found != self.export.count {
            self.report.broken(
                "count",
                format!("The file says that it has {} entries, and has {found}.", self.export.count),
            );
        }
        match self.newest {
            Some(newest) if newest.size == size => {}
            Some(newest) => self.report.broken(
                "uncovered",
                format!("The last {} entries are covered by no signature of the meter.", size - newest.size),
            ),
            None => self.report.broken("uncovered", "No signature of the meter covers the entries."),
        }
    }

    fn judge_earlier(&mut self, size: u64) {
        let Some(earlier) = &self.trust.earlier else { return };
        if !self.export.origin.is_of(earlier, &mut self.report) {
            return;
        }
        match self.continues_earlier {
            Some(true) => self.report.proven(
                "earlier",
                format!("The log begins with all {} entries that the earlier file saw.", earlier.size),
            ),
            Some(false) => self.report.broken(
                "earlier",
                format!("The first {} entries are not those that the earlier file saw: the log was forked.", earlier.size),
            ),
            None if size < earlier.size => self.report.broken(
                "earlier",
                format!(
                    "The earlier file saw {} entries, this one ends at {size}: the log was truncated or rolled back.",
                    earlier.size
                ),
            ),
            None => self.report.not_proven(
                "earlier",
                format!("That the log continues the earlier file: this one begins after its {} entries.", earlier.size),
            ),
        }
    }
}

fn order(counts: &[u64; LeafKind::ALL.len()], clock_changes: u64) -> alloc::string::String {
    let mut parts = Vec::new();
    for kind in LeafKind::ALL {
        let count = counts[kind as usize];
        if count > 0 {
            parts.push(format!("{kind}: {count}"));
        }
    }
    format!(
        "Their order does not depend on the clock, which was set {clock_changes} times meanwhile. By kind: {}.",
        parts.join(", ")
    )
}
