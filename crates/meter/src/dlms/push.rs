//! Pushing the security log: every entry above the acknowledged one, in order, from flash, on every association anew, and
//! within it when, after what wait and how often Push setup says.

use alloc::vec::Vec;

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::Decode;
use embedded_storage::nor_flash::NorFlash;

use super::Association;
use crate::inner::Inner;

/// Entries pushed between two ticks at most: a long outage's backlog must not crowd out answers.
const PER_TICK: u32 = 256;

#[derive(Debug, Default)]
pub(crate) struct Pushes {
    /// The highest entry pushed on this association.
    pushed: u32,
    since_tick: u32,
    /// The uptime from which what is due goes out; `None` while nothing is.
    from_ms: Option<u64>,
    /// The uptime of the last push, and how often it was repeated since something new was due.
    pushed_at_ms: u64,
    repeated: u8,
}

impl Pushes {
    /// A new association is up: what is not acknowledged goes out again.
    pub(crate) fn restart<F: NorFlash>(&mut self, inner: &Inner<F>) {
        *self = Self { pushed: inner.state.committed_log, ..Self::default() };
    }

    pub(crate) const fn tick(&mut self) {
        self.since_tick = 0;
    }

    /// The next entry's notification, if there is one to send.
    pub(super) fn next<F: NorFlash>(
        &mut self,
        inner: &mut Inner<F>,
        association: &mut Association<F>,
    ) -> Option<Vec<u8>> {
        if !association.is_associated() {
            return None;
        }
        self.pushed = self.pushed.max(inner.state.committed_log);
        if self.since_tick < PER_TICK && core::mem::take(&mut inner.push_asked) {
            // All that is not acknowledged once more; where there is none, the newest entry.
            let newest = inner.storage.get_mut().log().newest_sequence();
            self.pushed = inner.state.committed_log.min(newest.saturating_sub(1));
            self.from_ms = None;
        }
        if !self.may_go_out(inner) {
            return None;
        }
        while self.since_tick < PER_TICK {
            let sequence = self.pushed.checked_add(1)?;
            let log = inner.storage.get_mut().log();
            if sequence > log.newest_sequence() {
                return None;
            }
            // What rotted in flash cannot be sent; its number is then missing at the head-end, which sees the gap.
            let Some(entry) = inner.storage.get_mut().log_entry(sequence).ok()? else {
                self.pushed = sequence.max(log_start(inner));
                continue;
            };
            let mut body = Vec::new();
            inner.push_body(&entry, &mut body).ok()?;
            let apdu = association.push(inner, &Data::from_bytes(&body).ok()?).ok()??;
            self.since_tick += 1;
            self.pushed = sequence;
            self.pushed_at_ms = inner.uptime_ms();
            return Some(apdu);
        }
        None
    }

    /// Whether something is due now: new, or not acknowledged in time.
    fn may_go_out<F: NorFlash>(&mut self, inner: &mut Inner<F>) -> bool {
        let (uptime_ms, newest) = (inner.uptime_ms(), inner.storage.get_mut().log().newest_sequence());
        if self.pushed >= newest {
            self.from_ms = None;
            let setup = &inner.settings.push;
            let waits = inner.state.committed_log < newest && self.repeated < setup.retries;
            if !waits || uptime_ms < self.pushed_at_ms + setup.repetition_delay_ms() || !inner.push_is_open()
            {
                return false;
            }
            self.pushed = inner.state.committed_log;
            self.repeated += 1;
            self.from_ms = Some(uptime_ms);
            return true;
        }
        if !inner.push_is_open() {
            // The wait begins with the window: all meters' windows open at once.
            self.from_ms = None;
            return false;
        }
        let from_ms = match self.from_ms {
            Some(from_ms) => from_ms,
            None => {
                let random = match inner.settings.push.randomisation_seconds {
                    0 => 0,
                    // The next tick brings one.
                    _ => match inner.push_random.take() {
                        Some(random) => random,
                        None => return false,
                    },
                };
                self.repeated = 0;
                *self.from_ms.insert(uptime_ms + inner.settings.push.randomised_ms(random))
            }
        };
        from_ms <= uptime_ms
    }
}

/// The number before the oldest entry held.
fn log_start<F: NorFlash>(inner: &mut Inner<F>) -> u32 {
    inner.storage.get_mut().log().sequences().start().saturating_sub(1)
}
