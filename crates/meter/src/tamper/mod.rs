//! Tamper detection: from what the sensors say and what the core measures, and nothing else, to events with a beginning,
//! an end and an extreme value.
//!
//! [`Detector::sense`] looks at everything once in a reading of the sensors: `covers`, `field`, `tilt`, `surge` and heat
//! at the readings, `wiring` at the core's windows, `supply` at its events. What is latched is kept in flash, so a restart
//! with the cover open neither logs it twice nor misses that it was opened or closed meanwhile.

mod condition;
mod covers;
mod fault;
mod field;
mod record;
mod supply;
mod surge;
#[cfg(test)]
mod tests;
mod thresholds;
mod tilt;
mod watch;
mod wiring;

use alloc::vec::Vec;

use meterseal_metrology::{Event, Window};
use meterseal_model::{EventCode, SensorReadings};

pub(crate) use condition::{Condition, Latches};
pub use fault::Fault;
pub(crate) use record::{COUNT_SAVES, Counts};
pub use thresholds::{ThresholdError, Thresholds};

use covers::Cover;
use field::Fields;
use supply::Supply;
use surge::Surges;
use tilt::Tilt;
use watch::{Look, Watch};
use wiring::Wiring;

/// What a look amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Detection {
    pub(crate) code: EventCode,
    /// See `EventCode::extreme`.
    pub(crate) extreme: i64,
    /// When the change was first seen, before it had lasted: milliseconds of uptime.
    pub(crate) since_ms: u64,
}

/// When and with what knowledge the detector looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) thresholds: &'a Thresholds,
    pub(crate) latched: Latches,
    pub(crate) uptime_ms: u64,
    /// How long before power-up nobody looked, microseconds; −1 where nobody knows.
    pub(crate) unseen_us: i64,
    /// The supply's voltage, as the core knows it.
    pub(crate) declared_millivolts: u32,
}

/// Watches sensors and measurement.
#[derive(Debug)]
pub(crate) struct Detector {
    meter_cover: Cover,
    terminal_cover: Cover,
    fields: Fields,
    tilt: Tilt,
    surges: Surges,
    heat: Watch,
    wiring: Wiring,
    supply: Supply,
    /// The core has measured something.
    measured: bool,
}

impl Detector {
    pub(crate) const fn new() -> Self {
        Self {
            meter_cover: Cover::new(Condition::MeterCover),
            terminal_cover: Cover::new(Condition::TerminalCover),
            fields: Fields::new(),
            tilt: Tilt::new(),
            surges: Surges::new(),
            heat: Watch::new(Condition::Heat),
            wiring: Wiring::new(),
            supply: Supply::new(),
            measured: false,
        }
    }

    /// Takes note of what the core's own detector saw; `uptime_ms` tells the uptime at a sample.
    pub(crate) fn note(&mut self, event: &Event, uptime_ms: impl Fn(u64) -> u64) {
        self.measured = true;
        self.supply.note(event, uptime_ms);
    }

    /// The events that these readings, the window that is new and what was noted amount to. Nothing is latched here: an
    /// event that could not be written is detected again with the next reading. A surge is not, so it must be kept by
    /// the caller.
    pub(crate) fn sense(
        &mut self,
        readings: &SensorReadings,
        window: Option<&Window>,
        moment: &Moment<'_>,
    ) -> Vec<Detection> {
        let mut events = Vec::new();
        let mut found = |detection| events.push(detection);
        let Moment { thresholds, .. } = moment;

        self.surges.look(readings, moment).into_iter().for_each(&mut found);

        let [open, latched] = [readings.meter_cover_open, readings.meter_cover_latched];
        self.meter_cover.look(open, latched, moment, &mut found);
        let [open, latched] = [readings.terminal_cover_open, readings.terminal_cover_latched];
        self.terminal_cover.look(open, latched, moment, &mut found);
        self.fields.look(readings, moment, &mut found);
        self.tilt.look(readings.acceleration_milli_g, moment).into_iter().for_each(&mut found);

        let millikelvin = readings.temperature_millikelvin;
        let look = Look {
            begins: millikelvin >= thresholds.hot_millikelvin,
            ends: millikelvin < thresholds.cool_millikelvin,
            value: i64::from(millikelvin) * 1000,
            wait_ms: [thresholds.heat_ms; 2],
        };
        self.heat.look(look, moment).into_iter().for_each(&mut found);

        if let Some(window) = window {
            self.measured = true;
            self.wiring.look(window, moment, &mut found);
        }
        if self.measured {
            self.supply.look(moment, &mut found);
        }
        events
    }
}
