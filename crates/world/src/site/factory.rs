//! A factory: induction motors that start and stop, variable-speed drives, some heating.

use super::load::{Cycling, Demand, Load, STEP_SECONDS, during};
use crate::random::{Random, Wander};

/// A workshop of about 45 kW at two shifts.
pub(super) struct Factory {
    motors: [Motor; 4],
    drives: Wander,
    heater: Cycling,
}

struct Motor {
    watts: f64,
    cycling: Cycling,
}

impl Factory {
    pub(super) fn new() -> Self {
        let motor = |watts, on, off| Motor { watts, cycling: Cycling::new(on, off) };
        Self {
            motors: [
                motor(11_000.0, 240.0, 60.0),
                motor(7_500.0, 90.0, 45.0),
                motor(5_500.0, 40.0, 25.0),
                motor(4_000.0, 20.0, 15.0),
            ],
            drives: Wander::new(0.15, 20.0, STEP_SECONDS, 0.4),
            heater: Cycling::new(30.0, 40.0),
        }
    }
}

impl Load for Factory {
    fn step(&mut self, hour: f64, random: &mut Random) -> Demand {
        let mut demand = Demand::default();
        // Two shifts from six to ten in the evening; cooling, compressors and one line run through the night.
        let shift = during(hour, 5.5, 22.0, 0.5);
        for (k, motor) in self.motors.iter_mut().enumerate() {
            let may_run = k < 2 || shift > 0.0;
            if let Some(running) = motor.cycling.step(may_run, random) {
                demand.balanced(motor.watts, 0.80);
                // A soft starter lets about twice the rated current more flow, mostly reactive, for a second.
                let start = (-running / 0.6).exp();
                demand.balanced(motor.watts * 0.8 * start, 0.35);
            }
        }
        let speed = (0.7 + self.drives.step(random)) * (0.45 + 0.55 * shift);
        demand.six_pulse(14_000.0 * speed);
        if self.heater.step(true, random).is_some() {
            demand.single(0, 1_800.0, 1.0);
            demand.single(1, 1_800.0, 1.0);
        }
        for phase in 0..3 {
            demand.corrected(phase, [700.0, 600.0, 850.0][phase] * (0.4 + 0.6 * shift));
        }
        demand
    }
}
