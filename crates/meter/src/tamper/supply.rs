//! The supply, by the core's own events: voltages too high, phases lost, all of them lost, and phases in another order. The
//! core says so within a cycle and a half of the change; here they become events of the security log at the next reading
//! of the sensors, and end once the supply has been quiet.

use meterseal_metrology::{Event, EventKind};

use super::watch::{Look, Watch};
use super::{Condition, Detection, Moment};

/// What the core said last of one condition.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// It goes on.
    is_on: bool,
    /// It went on since the last look, also where it is over already.
    was_on: bool,
    value: i64,
    /// Uptime of the latest change.
    changed_ms: u64,
}

#[derive(Debug)]
pub(super) struct Supply {
    watches: [Watch; COUNT],
    levels: [Level; COUNT],
    /// Uptime at which the present interruption began.
    interrupted_ms: Option<u64>,
}

/// Lost and high of each phase, interruption, sequence.
const COUNT: usize = 8;
const INTERRUPTION: usize = 6;
const SEQUENCE: usize = 7;

impl Supply {
    pub(super) const fn new() -> Self {
        let [a, b, c] = Condition::LOST;
        let [d, e, f] = Condition::HIGH;
        Self {
            watches: [
                Watch::lowest(a),
                Watch::lowest(b),
                Watch::lowest(c),
                Watch::new(d),
                Watch::new(e),
                Watch::new(f),
                Watch::lowest(Condition::Interruption),
                Watch::new(Condition::Sequence),
            ],
            levels: [Level { is_on: false, was_on: false, value: 0, changed_ms: 0 }; COUNT],
            interrupted_ms: None,
        }
    }

    /// Takes note of a start or an end; `uptime_ms` tells the uptime at a sample.
    pub(super) fn note(&mut self, event: &Event, uptime_ms: impl Fn(u64) -> u64) {
        let phase = event.phase.unwrap_or(0).min(2);
        let place = match event.kind {
            EventKind::PhaseLost => phase,
            EventKind::Swell => 3 + phase,
            EventKind::Interruption => INTERRUPTION,
            EventKind::PhaseSequence => SEQUENCE,
            _ => return,
        };
        let level = &mut self.levels[place];
        level.is_on = event.end_sample.is_none();
        level.was_on = true;
        level.value = event.extreme;
        level.changed_ms = uptime_ms(event.end_sample.unwrap_or(event.start_sample));
        if place == INTERRUPTION && level.is_on {
            self.interrupted_ms = Some(level.changed_ms);
        }
    }

    /// Looks at what the core has said; not before it has measured anything, for what was latched before may still be.
    pub(super) fn look(&mut self, moment: &Moment<'_>, found: &mut impl FnMut(Detection)) {
        let wait_ms = [0, moment.thresholds.supply_quiet_ms];
        for (place, (watch, level)) in self.watches.iter_mut().zip(&mut self.levels).enumerate() {
            let on = level.is_on || level.was_on;
            level.was_on = false;
            if !on && !moment.latched.has(watch.condition()) {
                continue;
            }
            let look = Look { begins: on, ends: !on, value: level.value, wait_ms };
            let Some(mut detection) = watch.look_since(look, level.changed_ms, moment) else { continue };
            if place == INTERRUPTION && detection.code == Condition::Interruption.end() {
                let away_ms = self
                    .interrupted_ms
                    .take()
                    .map_or(0, |begin| detection.since_ms - begin.min(detection.since_ms));
                detection.extreme = i64::try_from(away_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
            }
            found(detection);
        }
    }
}
