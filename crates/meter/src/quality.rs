//! The power-quality log: what the core's detectors saw of the supply, each event as one row when it begins and one when
//! it is over. It is no legal record: rows make room for new ones, and a supply that flickers all day is cut short, by
//! count, so that it cannot wear the flash out.

use alloc::collections::VecDeque;

use embedded_storage::nor_flash::NorFlash;
use meterseal_metrology::{Event, EventKind};
use meterseal_model::UnixMillis;
use meterseal_model::event::PowerEvent;

use crate::StorageError;
use crate::flash::{Cursor, Put};
use crate::inner::Inner;

/// A row of the power-quality log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QualityRow {
    /// Its number: the first is 1, none is ever used twice or left out.
    pub sequence: u64,
    /// What happened.
    pub event: PowerEvent,
    /// 1 to 3: L1 to L3; 0 for what concerns all phases.
    pub phase: u8,
    /// When it began, by the meter's clock.
    pub time: UnixMillis,
    /// How long it lasted, milliseconds, at least 1; 0 in the row of its beginning.
    pub duration_ms: u32,
    /// How far it went up to then, in the unit of [`PowerEvent::extreme`].
    pub extreme: i64,
    /// When it began, milliseconds of uptime.
    pub uptime_ms: u64,
}

impl QualityRow {
    pub(crate) const BYTES: usize = 1 + 1 + 1 + 8 + 4 + 8 + 8;
    const VERSION: u8 = 1;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut record = [0; Self::BYTES];
        let mut put = Put::new(&mut record);
        put.u8(Self::VERSION).u8(self.event as u8).u8(self.phase).i64(self.time.0);
        put.u32(self.duration_ms).i64(self.extreme).u64(self.uptime_ms);
        record
    }

    /// `None` for another version, an unknown event or another length.
    pub(crate) fn decode(sequence: u32, record: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(record);
        if fields.u8()? != Self::VERSION {
            return None;
        }
        Some(Self {
            sequence: sequence.into(),
            event: PowerEvent::from_number(fields.u8()?)?,
            phase: fields.u8()?,
            time: UnixMillis(fields.i64()?),
            duration_ms: fields.u32()?,
            extreme: fields.i64()?,
            uptime_ms: fields.u64()?,
        })
    }
}

/// Rows that wait for the next tick, and how many may be written.
#[derive(Debug)]
pub(crate) struct Quality {
    waiting: VecDeque<QualityRow>,
    /// Rows that may be written now.
    allowance: u32,
    /// All were used up, and not enough have come since.
    exhausted: bool,
    /// Uptime up to which the allowance has grown.
    grown_ms: u64,
    /// Rows that were not written since the last that says so.
    dropped: u64,
}

impl Default for Quality {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), allowance: BURST, exhausted: false, grown_ms: 0, dropped: 0 }
    }
}

impl<F: NorFlash> Inner<F> {
    /// Takes note of a start or an end, `ago_ms` being how long ago a sample was. Nothing is written yet.
    pub(crate) fn note_power_event(&mut self, event: &Event, ago_ms: impl Fn(u64) -> u64) {
        let began = ago_ms(event.start_sample);
        let uptime_ms = self.uptime_ms().saturating_sub(began);
        let duration = event.end_sample.map(|end| began.saturating_sub(ago_ms(end)).max(1));
        let row = QualityRow {
            sequence: 0,
            event: kind(event.kind),
            phase: event.phase.map_or(0, |phase| phase as u8 + 1),
            time: self.clock_at(uptime_ms),
            duration_ms: duration.map_or(0, |ms| u32::try_from(ms).unwrap_or(u32::MAX)),
            extreme: event.extreme,
            uptime_ms,
        };
        if self.quality.waiting.len() == WAITING_MAX {
            self.quality.dropped += 1;
        } else {
            self.quality.waiting.push_back(row);
        }
    }

    /// Writes the rows that wait, as far as their allowance goes.
    pub(crate) fn write_quality(&mut self) -> Result<(), StorageError<F::Error>> {
        let uptime_ms = self.uptime_ms();
        let quality = &mut self.quality;
        let grown = (uptime_ms - quality.grown_ms) / REFILL_MS;
        quality.grown_ms += grown * REFILL_MS;
        quality.allowance =
            u32::try_from(grown).map_or(BURST, |n| quality.allowance.saturating_add(n).min(BURST));
        quality.exhausted &= quality.allowance < RESUME;
        if !quality.exhausted && quality.dropped > 0 {
            let row = QualityRow {
                sequence: 0,
                event: PowerEvent::NotRecorded,
                phase: 0,
                time: self.clock(),
                duration_ms: 0,
                extreme: i64::try_from(self.quality.dropped).unwrap_or(i64::MAX),
                uptime_ms,
            };
            self.append_quality(row)?;
            self.quality.dropped = 0;
        }
        while let Some(&row) = self.quality.waiting.front() {
            if self.quality.exhausted {
                self.quality.dropped += 1;
            } else {
                self.append_quality(row)?;
            }
            self.quality.waiting.pop_front();
        }
        Ok(())
    }

    fn append_quality(&mut self, row: QualityRow) -> Result<(), StorageError<F::Error>> {
        let sequence = self.storage.get_mut().append_quality(&row)?;
        self.quality.allowance = self.quality.allowance.saturating_sub(1);
        self.quality.exhausted |= self.quality.allowance == 0;
        self.newest_quality = Some(QualityRow { sequence: sequence.into(), ..row });
        Ok(())
    }
}

const fn kind(kind: EventKind) -> PowerEvent {
    match kind {
        EventKind::Sag => PowerEvent::Sag,
        EventKind::Swell => PowerEvent::Swell,
        EventKind::Interruption => PowerEvent::Interruption,
        EventKind::Transient => PowerEvent::Transient,
        EventKind::Unbalance => PowerEvent::Unbalance,
        EventKind::PhaseSequence => PowerEvent::PhaseSequence,
        EventKind::ReversePower => PowerEvent::ReversePower,
        EventKind::OverCurrent => PowerEvent::OverCurrent,
        EventKind::PhaseLost => PowerEvent::PhaseLost,
    }
}

/// Rows in a burst, and the time in which one more is allowed: a row every 10 s for 20 years is 6.3 × 10⁷ rows, or
/// 58 000 erases of each sector at 64 rows a sector and 17 sectors, of the 100 000 that a chip is rated for.
const BURST: u32 = 64;
const REFILL_MS: u64 = 10_000;
/// Once all are used up, so many come together before the log goes on.
const RESUME: u32 = 8;
/// Rows that may wait between two ticks.
const WAITING_MAX: usize = 64;
