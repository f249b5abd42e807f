//! Currents that are not as they should be, by each window of the measurement: some of it past the meter, backwards, or
//! in a phase whose voltage is not measured. Each phase is judged for itself.
//!
//! What flows past the meter in a phase comes back through the neutral: it is missing in the phases' sum, in the direction
//! of that phase's current. So the residual's angle tells the phase.

use meterseal_metrology::{VOLTAGES, Window};

use super::watch::{Look, Watch};
use super::{Condition, Detection, Moment, Thresholds};

#[derive(Debug)]
pub(super) struct Wiring {
    neutral: Watch,
    reversed: [Watch; VOLTAGES],
    unmeasured: [Watch; VOLTAGES],
    /// What a record from before phases were named has latched.
    of_any_phase: [Watch; 2],
}

impl Wiring {
    pub(super) const fn new() -> Self {
        let [a, b, c] = Condition::REVERSED;
        let [d, e, f] = Condition::UNMEASURED;
        Self {
            neutral: Watch::new(Condition::Neutral),
            reversed: [Watch::lowest(a), Watch::lowest(b), Watch::lowest(c)],
            unmeasured: [Watch::new(d), Watch::new(e), Watch::new(f)],
            of_any_phase: [Watch::lowest(Condition::Reversed), Watch::new(Condition::Unmeasured)],
        }
    }

    /// Looks at a window that is new.
    pub(super) fn look(&mut self, window: &Window, moment: &Moment<'_>, found: &mut impl FnMut(Detection)) {
        let thresholds = moment.thresholds;
        // It ends below half of where it begins.
        let over = |value: i64, limit: i64| Look {
            begins: limit > 0 && value > limit,
            ends: limit == 0 || value < limit / 2,
            value,
            wait_ms: [thresholds.wiring_ms; 2],
        };

        // Without a voltage there are no phasors to add up.
        if window.frequency_microhertz.is_some() {
            let residual = window.components.neutral_residual_microamperes as i64;
            let look = over(residual, neutral_limit(window, thresholds));
            let next = bypassed(window).map_or(Condition::Neutral, |phase| Condition::BYPASS[phase]);
            let mut all = [Condition::Neutral].into_iter().chain(Condition::BYPASS);
            let latched = all.find(|&condition| moment.latched.has(condition));
            let detection = self.neutral.look_for(next, latched, look, moment.uptime_ms, moment);
            detection.into_iter().for_each(&mut *found);
        }

        let [mut any_reversed, mut any_unmeasured] = [over(0, 0); 2];
        let least_microvolts = u64::from(moment.declared_millivolts) * u64::from(thresholds.lost_permille);
        let phases = window.phases.iter().zip(self.reversed.iter_mut().zip(&mut self.unmeasured));
        for (number, (phase, (reversed, unmeasured))) in phases.enumerate() {
            let power = phase.active_power_microwatts;
            let limit = if thresholds.generates(number) { 0 } else { thresholds.reversed_milliwatts };
            let look = Look { value: power, ..over(power.saturating_neg(), micro(limit)) };
            any_reversed.ends &= look.ends;
            reversed.look(look, moment).into_iter().for_each(&mut *found);

            let is_measured = phase.voltage_rms_microvolts >= least_microvolts;
            let current = if is_measured { 0 } else { phase.current_rms_microamperes as i64 };
            let look = over(current, micro(thresholds.unmeasured_milliamperes));
            any_unmeasured.ends &= look.ends;
            unmeasured.look(look, moment).into_iter().for_each(&mut *found);
        }
        for (watch, look) in self.of_any_phase.iter_mut().zip([any_reversed, any_unmeasured]) {
            if moment.latched.has(watch.condition()) {
                watch.look(look, moment).into_iter().for_each(&mut *found);
            }
        }
    }
}

const fn micro(milli: u32) -> i64 {
    milli as i64 * 1000
}

/// What the neutral may lack, microamperes; 0 where nobody looks.
fn neutral_limit(window: &Window, thresholds: &Thresholds) -> i64 {
    let largest = window.phases.iter().map(|phase| phase.current_fundamental_microamperes).max().unwrap_or(0);
    let part = (largest as i64 / 1000).saturating_mul(thresholds.neutral_permille.into());
    match thresholds.neutral_milliamperes {
        0 => 0,
        milliamperes => micro(milliamperes).max(part),
    }
}

/// The phase whose current, as far as any is left, the missing current goes with; `None` where it goes with none.
fn bypassed(window: &Window) -> Option<usize> {
    let missing = i64::from(window.components.neutral_residual_angle_microdegrees) + HALF_TURN;
    let apart = |phase: &meterseal_metrology::PhaseQuantities| {
        // With all of it past the meter there is nothing but the voltage to go by.
        let angle = if phase.current_fundamental_microamperes >= LEAST_MICROAMPERES {
            phase.current_angle_microdegrees
        } else {
            phase.voltage_angle_microdegrees
        };
        let turned = (missing - i64::from(angle)).rem_euclid(2 * HALF_TURN);
        turned.min(2 * HALF_TURN - turned)
    };
    let (phase, apart) = window.phases.iter().map(apart).enumerate().min_by_key(|(_, apart)| *apart)?;
    (apart <= FARTHEST).then_some(phase)
}

/// 180°, in millionths of a degree.
const HALF_TURN: i64 = 180_000_000;
/// Below 20 mA, 4 ‰ of the reference meter's 5 A, noise turns a current's angle.
const LEAST_MICROAMPERES: u64 = 20_000;
/// 55°: a power factor of 0.57, and less than the 60° at which two phases are as near.
const FARTHEST: i64 = 55_000_000;
