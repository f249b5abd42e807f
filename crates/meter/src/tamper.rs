//! Tamper detection: from sensor readings, and nothing else, to events with a start, an end and an extreme value.
//!
//! Covers and magnet are latches: a change counts once it has lasted for the debounce time. Their state is kept in
//! flash, so a restart with the cover open neither logs it twice nor misses that it was opened or closed meanwhile.

use alloc::vec::Vec;

use meterseal_model::{EventCode, SensorReadings};

/// When readings become events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Magnetic flux density at or above which a field is strong, microtesla.
    pub magnet_on_microtesla: u32,
    /// Flux density below which a strong field is gone, microtesla; below `magnet_on_microtesla`.
    pub magnet_off_microtesla: u32,
    /// How long a cover or a field must stay changed, milliseconds.
    pub debounce_ms: u32,
    /// Surge peak at or above which a voltage spike is logged, millivolts.
    pub spike_millivolts: u32,
}

impl Thresholds {
    /// 50 mT on and 30 mT off, as far above the earth's 0.05 mT and a transformer's stray field as below a permanent
    /// magnet's 100 mT and more; 10 ms; 1.5 kV, above what switching leaves behind a meter's own varistor.
    pub const STANDARD: Self = Self {
        magnet_on_microtesla: 50_000,
        magnet_off_microtesla: 30_000,
        debounce_ms: 10,
        spike_millivolts: 1_500_000,
    };
}

impl Default for Thresholds {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// What has been noticed and not yet ended: kept in flash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latches {
    pub(crate) meter_cover_open: bool,
    pub(crate) terminal_cover_open: bool,
    pub(crate) magnet_on: bool,
}

impl Latches {
    /// The latches after this event.
    pub(crate) const fn after(mut self, code: EventCode) -> Self {
        match code {
            EventCode::CoverRemoved => self.meter_cover_open = true,
            EventCode::CoverClosed => self.meter_cover_open = false,
            EventCode::TerminalCoverRemoved => self.terminal_cover_open = true,
            EventCode::TerminalCoverClosed => self.terminal_cover_open = false,
            EventCode::MagnetOn => self.magnet_on = true,
            EventCode::MagnetOff => self.magnet_on = false,
            _ => {}
        }
        self
    }
}

/// What the readings amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Detection {
    pub(crate) code: EventCode,
    /// Microvolts or microtesla, see `EventCode::extreme`.
    pub(crate) extreme: i64,
    /// When the change was first seen, before the debounce time: milliseconds of uptime.
    pub(crate) since_ms: u64,
}

/// Watches the sensors.
#[derive(Debug)]
pub(crate) struct Detector {
    thresholds: Thresholds,
    meter_cover: Debounce,
    terminal_cover: Debounce,
    magnet: Debounce,
    /// The strongest field of the present event, or of the approach to one.
    strongest_microtesla: u32,
    /// No surge in the reading before: the next one is a new event.
    spike_armed: bool,
}

impl Detector {
    pub(crate) const fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            meter_cover: Debounce::IDLE,
            terminal_cover: Debounce::IDLE,
            magnet: Debounce::IDLE,
            strongest_microtesla: 0,
            spike_armed: true,
        }
    }

    /// The events that these readings amount to, in view of what is latched. Nothing is latched here: an event that
    /// could not be written is detected again with the next reading. The surge is, so it must be kept by the caller.
    pub(crate) fn sense(
        &mut self,
        readings: &SensorReadings,
        latched: Latches,
        uptime_ms: u64,
    ) -> Vec<Detection> {
        let mut events = Vec::new();
        let wait = u64::from(self.thresholds.debounce_ms);

        let highest = readings.surge_peak_millivolts.into_iter().max().unwrap_or(0);
        let surge = highest >= self.thresholds.spike_millivolts;
        if surge && self.spike_armed {
            events.push(Detection {
                code: EventCode::VoltageSpike,
                extreme: i64::from(highest) * 1000,
                since_ms: uptime_ms,
            });
        }
        self.spike_armed = !surge;

        if let Some(since_ms) =
            self.meter_cover.changed(readings.meter_cover_open != latched.meter_cover_open, wait, uptime_ms)
        {
            let code =
                if latched.meter_cover_open { EventCode::CoverClosed } else { EventCode::CoverRemoved };
            events.push(Detection { code, extreme: 0, since_ms });
        }

        let opened = readings.terminal_cover_open != latched.terminal_cover_open;
        if let Some(since_ms) = self.terminal_cover.changed(opened, wait, uptime_ms) {
            let code = if latched.terminal_cover_open {
                EventCode::TerminalCoverClosed
            } else {
                EventCode::TerminalCoverRemoved
            };
            events.push(Detection { code, extreme: 0, since_ms });
        }

        let field = magnitude(readings.magnetic_field_microtesla);
        let changed = if latched.magnet_on {
            field < self.thresholds.magnet_off_microtesla
        } else {
            field >= self.thresholds.magnet_on_microtesla
        };
        if latched.magnet_on || changed {
            self.strongest_microtesla = self.strongest_microtesla.max(field);
        } else {
            self.strongest_microtesla = 0;
        }
        if let Some(since_ms) = self.magnet.changed(changed, wait, uptime_ms) {
            let code = if latched.magnet_on { EventCode::MagnetOff } else { EventCode::MagnetOn };
            events.push(Detection { code, extreme: self.strongest_microtesla.into(), since_ms });
        }
        events
    }
}

/// A change that has not yet lasted long enough.
#[derive(Debug)]
struct Debounce {
    since_ms: Option<u64>,
}

impl Debounce {
    const IDLE: Self = Self { since_ms: None };

    /// Since when the input has differed, once it has for long enough.
    fn changed(&mut self, differs: bool, wait_ms: u64, now_ms: u64) -> Option<u64> {
        if !differs {
            self.since_ms = None;
            return None;
        }
        let since = *self.since_ms.get_or_insert(now_ms);
        (now_ms.saturating_sub(since) >= wait_ms).then_some(since)
    }
}

/// The length of the field's vector.
fn magnitude(axes: [i32; 3]) -> u32 {
    let square = axes.iter().map(|&axis| u64::from(axis.unsigned_abs()).pow(2)).fold(0, u64::saturating_add);
    u32::try_from(square.isqrt()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: SensorReadings = SensorReadings::QUIET;

    /// Feeds readings 5 ms apart and latches what is detected, as the meter does.
    fn run(readings: impl IntoIterator<Item = SensorReadings>) -> Vec<(u64, EventCode, i64)> {
        let mut detector = Detector::new(Thresholds::STANDARD);
        let mut latched = Latches::default();
        let mut seen = Vec::new();
        for (k, reading) in readings.into_iter().enumerate() {
            let uptime = k as u64 * 5;
            for event in detector.sense(&reading, latched, uptime) {
                latched = latched.after(event.code);
                seen.push((uptime, event.code, event.extreme));
            }
        }
        seen
    }

    fn field(microtesla: i32) -> SensorReadings {
        SensorReadings { magnetic_field_microtesla: [0, microtesla, 0], ..QUIET }
    }

    #[test]
    fn cpa_tamp_a_cover_is_noticed_within_20_ms_once_and_when_it_closes() {
        let open = SensorReadings { meter_cover_open: true, ..QUIET };
        let seen = run([QUIET, open, open, open, open, QUIET, QUIET, QUIET]);
        assert_eq!(seen, [(15, EventCode::CoverRemoved, 0), (35, EventCode::CoverClosed, 0)]);
    }

    #[test]
    fn a_bouncing_switch_is_no_event() {
        let open = SensorReadings { terminal_cover_open: true, ..QUIET };
        assert_eq!(run([QUIET, open, QUIET, open, QUIET, open, QUIET]), []);
    }

    #[test]
    fn cpa_tamp_a_magnet_has_hysteresis_and_its_end_tells_its_strongest_field() {
        let seen =
            run([0, 49_999, 60_000, 60_000, 60_000, 90_000, 31_000, 31_000, 31_000, 0, 0, 0].map(field));
        assert_eq!(seen, [(20, EventCode::MagnetOn, 60_000), (55, EventCode::MagnetOff, 90_000)]);
    }

    #[test]
    fn the_field_counts_as_a_vector() {
        let diagonal = SensorReadings { magnetic_field_microtesla: [-30_000, 30_000, -30_000], ..QUIET };
        assert_eq!(run([diagonal; 3]), [(10, EventCode::MagnetOn, 51_961)]);
        assert_eq!(magnitude([i32::MIN; 3]), 3_719_550_786);
    }

    #[test]
    fn cpa_tamp_one_surge_is_one_event_at_once() {
        let surge = |peak| SensorReadings { surge_peak_millivolts: [0, peak, 0], ..QUIET };
        let seen =
            run([QUIET, surge(1_499_999), surge(4_000_000), surge(2_000_000), QUIET, surge(1_500_000)]);
        assert_eq!(
            seen,
            [(10, EventCode::VoltageSpike, 4_000_000_000), (25, EventCode::VoltageSpike, 1_500_000_000)]
        );
    }
}
