//! The security log's rules: what is logged when, which alarm it raises, and what happens when room runs short.

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::{EventCode, event::Severity};

use crate::StorageError;
use crate::inner::Inner;
use crate::records::SecurityEntry;
use crate::tamper::Latches;

impl<F: NorFlash> Inner<F> {
    /// Logs an event that begins now. When this returns `Ok`, it is in flash, or counted where there was no room or it has come
    /// too often.
    pub(crate) fn log(&mut self, code: EventCode, extreme: i64) -> Result<(), StorageError<F::Error>> {
        self.log_since(code, extreme, self.uptime_ms())
    }

    /// Logs an event that began at this uptime.
    pub(crate) fn log_since(
        &mut self,
        code: EventCode,
        extreme: i64,
        since_ms: u64,
    ) -> Result<(), StorageError<F::Error>> {
        if !self.admit(code) {
            return Ok(());
        }
        let time = self.clock_at(since_ms);
        if self.pending.len() == PENDING_MAX {
            self.count_as_not_logged(code);
        } else {
            self.pending.push_back(SecurityEntry { sequence: 0, code, time, uptime_ms: since_ms, extreme });
        }
        self.write_pending()
    }

    /// The flash has failed: an event for when it works again.
    pub(crate) fn storage_failed(&mut self) {
        let known = self.pending.iter().any(|entry| entry.code == EventCode::StorageError);
        if !known && self.pending.len() < PENDING_MAX {
            self.pending.push_back(SecurityEntry {
                sequence: 0,
                code: EventCode::StorageError,
                time: self.clock(),
                uptime_ms: self.uptime_ms(),
                extreme: 0,
            });
        }
    }

    /// What is latched, counting in what waits to be written.
    pub(crate) fn latches(&self) -> Latches {
        self.pending.iter().fold(self.state.latches, |latches, entry| latches.after(entry.code))
    }

    /// Writes what could not be written before.
    pub(crate) fn write_pending(&mut self) -> Result<(), StorageError<F::Error>> {
        while let Some(&entry) = self.pending.front() {
            self.append(entry)?;
            self.pending.pop_front();
        }
        Ok(())
    }

    /// A login has failed; every third is an event.
    pub(crate) fn login_failed(&mut self) -> Result<(), StorageError<F::Error>> {
        self.failed_logins += 1;
        if self.failed_logins.is_multiple_of(FAILED_LOGINS) {
            self.log(EventCode::FailedLogins, self.failed_logins.into())?;
        }
        Ok(())
    }

    /// Somebody has tried what their role does not allow.
    pub(crate) fn acts_refused(&mut self, acts: u32, logged: bool) -> Result<(), StorageError<F::Error>> {
        self.unauthorised_acts = self.unauthorised_acts.saturating_add(acts);
        if logged { Ok(()) } else { self.log(EventCode::UnauthorisedAct, self.unauthorised_acts.into()) }
    }

    /// Appends an entry where the rules of scarce room allow it (docs/object-model.md, "When the log is full").
    fn append(&mut self, entry: SecurityEntry) -> Result<(), StorageError<F::Error>> {
        let (room, reserve) = self.room();
        if room <= reserve && !may_use_reserve(entry.code) {
            self.count_as_not_logged(entry.code);
            return Ok(());
        }
        let dropped = self.storage.get_mut().log_would_drop()?;
        if dropped.is_some_and(|sequence| sequence > self.state.committed_log) {
            self.count_as_not_logged(entry.code);
            return Ok(());
        }
        if dropped.is_some_and(|sequence| sequence > self.written_log) {
            // What is dropped must not come back as owed after a cut.
            self.write_state()?;
        }
        let sequence = self.storage.get_mut().append_log(&entry)?;
        let entry = SecurityEntry { sequence: sequence.into(), ..entry };
        self.take_note(&entry);
        self.newest_entry = Some(entry);
        self.sealed_event(entry.code);
        // The entry is in flash; a leaf that is not, is made up for by the next tick.
        if !self.is_failing {
            let _ = self.seal_rows();
        }
        let (room, reserve) = self.room();
        if room <= reserve + 1 && !self.state.nearly_full {
            self.state.nearly_full = true;
            self.pending.push_back(SecurityEntry {
                sequence: 0,
                code: EventCode::LogNearlyFull,
                time: self.clock(),
                uptime_ms: self.uptime_ms(),
                extreme: room.into(),
            });
        }
        Ok(())
    }

    /// What an entry changes beside the log: latches, alarms, the count of those that found no room.
    pub(crate) fn take_note(&mut self, entry: &SecurityEntry) {
        self.count(entry.code);
        self.raise(entry);
    }

    /// Latches and counts an event.
    pub(crate) fn count(&mut self, code: EventCode) {
        self.state.latches = self.state.latches.after(code);
        self.counts.count(code);
        self.state_changed = true;
    }

    /// Raises an entry's alarm, and takes off the count of those that found no room what it reports.
    pub(crate) fn raise(&mut self, entry: &SecurityEntry) {
        self.state.latched_up_to = entry.sequence as u32;
        if entry.code == EventCode::EventsNotLogged {
            let reported = u32::try_from(entry.extreme).unwrap_or(0);
            self.state.not_logged = self.state.not_logged.saturating_sub(reported);
        }
        self.state.alarms |= entry.code.alarm();
        self.state_changed = true;
    }

    /// Entries that the log can still take before it would have to drop what is not committed, and how many of them
    /// are kept for tamper events: an eighth of the log.
    fn room(&mut self) -> (u32, u32) {
        let log = self.storage.get_mut().log();
        let uncommitted = log.newest_sequence().saturating_sub(self.state.committed_log);
        (log.capacity().saturating_sub(uncommitted), log.capacity() / 8)
    }

    fn count_as_not_logged(&mut self, code: EventCode) {
        // What has ended has ended, logged or not: the next beginning is an event again.
        self.count(code);
        self.state.not_logged = self.state.not_logged.saturating_add(1);
        self.state_changed = true;
    }

    /// Once there is room again, says how many events found none.
    pub(crate) fn report_not_logged(&mut self) -> Result<(), StorageError<F::Error>> {
        let (room, reserve) = self.room();
        if room > 2 * reserve {
            self.state.nearly_full = false;
            let waiting = self.pending.iter().any(|entry| entry.code == EventCode::EventsNotLogged);
            if self.state.not_logged > 0 && !waiting {
                self.log(EventCode::EventsNotLogged, self.state.not_logged.into())?;
            }
        }
        Ok(())
    }
}

/// Whether an event may use the room that is kept: tampering, its end, and the warning that only this room is left.
fn may_use_reserve(code: EventCode) -> bool {
    let is_critical = |code: EventCode| code.severity() == Severity::Critical;
    is_critical(code)
        || code.ends().is_some_and(is_critical)
        || matches!(code, EventCode::LogNearlyFull | EventCode::EventsRepeated)
}

/// Events that wait for a failed flash to work again.
const PENDING_MAX: usize = 32;

/// Failed logins that make an event.
const FAILED_LOGINS: u32 = 3;
