//! Currents that are not as they should be, by each window of the measurement: some of it past the meter, backwards, or
//! in a phase whose voltage is not measured.

use meterseal_metrology::Window;

use super::watch::{Look, Watch};
use super::{Condition, Detection, Moment};

#[derive(Debug)]
pub(super) struct Wiring {
    neutral: Watch,
    reversed: Watch,
    unmeasured: Watch,
}

impl Wiring {
    pub(super) const fn new() -> Self {
        Self {
            neutral: Watch::new(Condition::Neutral),
            reversed: Watch::lowest(Condition::Reversed),
            unmeasured: Watch::new(Condition::Unmeasured),
        }
    }

    /// Looks at a window that is new.
    pub(super) fn look(&mut self, window: &Window, moment: &Moment<'_>, found: &mut impl FnMut(Detection)) {
        let thresholds = moment.thresholds;
        let micro = |milli: u32| i64::from(milli) * 1000;
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
            let largest =
                window.phases.iter().map(|phase| phase.current_fundamental_microamperes).max().unwrap_or(0);
            let part = (largest as i64 / 1000).saturating_mul(thresholds.neutral_permille.into());
            let limit = match thresholds.neutral_milliamperes {
                0 => 0,
                milliamperes => micro(milliamperes).max(part),
            };
            self.neutral.look(over(residual, limit), moment).into_iter().for_each(&mut *found);
        }

        let lowest = window.phases.iter().map(|phase| phase.active_power_microwatts).min().unwrap_or(0);
        let limit =
            if thresholds.generation_expected == 0 { micro(thresholds.reversed_milliwatts) } else { 0 };
        let look = Look { value: lowest, ..over(lowest.saturating_neg(), limit) };
        self.reversed.look(look, moment).into_iter().for_each(&mut *found);

        let least_microvolts = u64::from(moment.declared_millivolts) * u64::from(thresholds.lost_permille);
        let largest = window
            .phases
            .iter()
            .filter(|phase| phase.voltage_rms_microvolts < least_microvolts)
            .map(|phase| phase.current_rms_microamperes as i64)
            .max()
            .unwrap_or(0);
        let look = over(largest, micro(thresholds.unmeasured_milliamperes));
        self.unmeasured.look(look, moment).into_iter().for_each(found);
    }
}
