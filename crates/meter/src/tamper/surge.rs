//! Surges, by the detector's peak hold: each is an event that is over as soon as it has happened.
//!
//! A lightning's strokes, and what a surge reflects, follow each other within milliseconds: they are one event, and only a
//! stroke that is a tenth higher than the highest so far is another, so that the log holds the extreme and no more than
//! thirty entries of one storm.

use meterseal_model::{EventCode, SensorReadings};

use super::{Detection, Moment};

#[derive(Debug)]
pub(super) struct Surges {
    /// Uptime of the latest, and the highest of those that belong together, millivolts.
    latest: Option<(u64, u32)>,
}

impl Surges {
    pub(super) const fn new() -> Self {
        Self { latest: None }
    }

    pub(super) fn look(&mut self, readings: &SensorReadings, moment: &Moment<'_>) -> Option<Detection> {
        let peak = readings.surge_peak_millivolts.into_iter().max().unwrap_or(0);
        if peak < moment.thresholds.spike_millivolts {
            return None;
        }
        let now_ms = moment.uptime_ms;
        let quiet_ms = u64::from(moment.thresholds.spike_quiet_ms);
        let highest = self
            .latest
            .filter(|(at_ms, _)| now_ms.saturating_sub(*at_ms) < quiet_ms)
            .map_or(0, |(_, highest)| highest);
        let is_event = u64::from(peak) * 10 >= u64::from(highest) * 11;
        self.latest = Some((now_ms, if is_event { peak } else { highest }));
        let extreme = i64::from(peak) * 1000;
        is_event.then_some(Detection { code: EventCode::VoltageSpike, extreme, since_ms: now_ms })
    }
}
