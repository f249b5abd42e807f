//! What is kept of tampering beside the log: what goes on, and how often each kind has happened in the meter's life.

use meterseal_model::{EventCode, TamperCounter};

use embedded_storage::nor_flash::NorFlash;

use super::Latches;
use crate::StorageError;
use crate::allowance::Allowance;
use crate::flash::{Cursor, Put};
use crate::inner::Inner;
use crate::vault::Item;

/// Latches and counters as of a log entry. Saved after every [`UNSAVED_MAX`] entries, at the pace of [`COUNT_SAVES`], and
/// brought up to the log's newest entry at a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The newest log entry that is counted in.
    pub(crate) up_to: u32,
    pub(crate) latches: Latches,
    pub(crate) counters: [u32; TamperCounter::ALL.len()],
    /// Events that have been counted since these were saved.
    pub(crate) unsaved: u32,
}

impl Counts {
    const VERSION: u8 = 1;
    const BYTES: usize = 1 + 4 + 4 + 4 * TamperCounter::ALL.len();

    fn encode(&self) -> [u8; Self::BYTES] {
        let mut record = [0; Self::BYTES];
        let mut put = Put::new(&mut record);
        put.u8(Self::VERSION).u32(self.up_to).u32(self.latches.0);
        self.counters.iter().for_each(|&counter| {
            put.u32(counter);
        });
        record
    }

    /// `None` for another version or length.
    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(record);
        if fields.u8()? != Self::VERSION {
            return None;
        }
        let (up_to, latches) = (fields.u32()?, Latches(fields.u32()?));
        let mut counters = [0; TamperCounter::ALL.len()];
        for counter in &mut counters {
            *counter = fields.u32()?;
        }
        Some(Self { up_to, latches, counters, unsaved: 0 })
    }

    /// Counts an event. A counter that is full stays full.
    pub(crate) fn count(&mut self, code: EventCode) {
        if let Some(counter) = code.counter() {
            let counter = &mut self.counters[counter.index()];
            *counter = counter.saturating_add(1);
            self.unsaved += 1;
        }
    }
}

impl<F: NorFlash> Inner<F> {
    /// Saves latches and counters once so many events have come that a start should not have to count them again.
    pub(crate) fn save_counts_when_due(&mut self) -> Result<(), StorageError<F::Error>> {
        let behind = self.state.latched_up_to.saturating_sub(self.counts.up_to);
        let many = behind >= UNSAVED_MAX || self.counts.unsaved >= UNSAVED_MAX;
        // Before the log may drop what is not counted in, whatever the pace.
        let pressing = behind >= self.storage.get_mut().log().capacity() / 2;
        if pressing || (many && self.count_saves.take(self.uptime_ms())) {
            self.save_counts()
        } else {
            Ok(())
        }
    }

    /// Saves them now.
    pub(crate) fn save_counts(&mut self) -> Result<(), StorageError<F::Error>> {
        let latches = self.state.latches;
        let counts = Counts { up_to: self.state.latched_up_to, latches, unsaved: 0, ..self.counts };
        self.storage.get_mut().put_plain(Item::TamperCounts, &counts.encode())?;
        self.counts = counts;
        Ok(())
    }
}

/// One a minute in the long run is 1.05 × 10⁷ in 20 years: some 50 bytes each, in a map of 16 KiB.
pub(crate) const COUNT_SAVES: Allowance = Allowance::new(2, 8, 60_000);

/// The smallest log holds more than these.
const UNSAVED_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_back_as_they_were() {
        let counts = Counts {
            up_to: 1,
            latches: Latches(1 << 17),
            counters: [2, 3, 4, 5, 6, 7, 8, u32::MAX],
            unsaved: 0,
        };
        let record = counts.encode();
        assert_eq!(Counts::decode(&record), Some(counts));
        assert_eq!(Counts::decode(&record[..record.len() - 1]), None);
        let mut full = counts;
        full.count(EventCode::VoltageSpike);
        full.count(EventCode::CoverRemoved);
        full.count(EventCode::CoverClosed);
        assert_eq!(full.counters, [3, 3, 4, 5, 6, 7, 8, u32::MAX]);
    }
}
