//! Pushing the security log: every entry above the acknowledged one, in order, from flash, on every association anew.

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
}

impl Pushes {
    /// A new association is up: what is not acknowledged goes out again.
    pub(crate) const fn restart<F: NorFlash>(&mut self, inner: &Inner<F>) {
        self.pushed = inner.state.committed_log;
        self.since_tick = 0;
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
            return Some(apdu);
        }
        None
    }
}

/// The number before the oldest entry held.
fn log_start<F: NorFlash>(inner: &mut Inner<F>) -> u32 {
    inner.storage.get_mut().log().sequences().start().saturating_sub(1)
}
