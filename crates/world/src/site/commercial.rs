//! An office building: lighting and air conditioning by office hours, lifts, servers that never sleep.

use super::load::{Cycling, Demand, Load, STEP_SECONDS, during};
use crate::random::{Random, Wander};

/// An office building of about 30 kW at noon.
pub(super) struct Commercial {
    people: Wander,
    chillers: [Cycling; 2],
    lift: Cycling,
    kitchen: Cycling,
    servers: Wander,
}

impl Commercial {
    pub(super) fn new() -> Self {
        Self {
            people: Wander::new(0.08, 120.0, STEP_SECONDS, 0.2),
            chillers: [Cycling::new(300.0, 200.0), Cycling::new(180.0, 300.0)],
            lift: Cycling::new(9.0, 35.0),
            kitchen: Cycling::new(45.0, 60.0),
            servers: Wander::new(0.03, 30.0, STEP_SECONDS, 0.1),
        }
    }
}

impl Load for Commercial {
    fn step(&mut self, hour: f64, random: &mut Random) -> Demand {
        let mut demand = Demand::default();
        let office = during(hour, 6.5, 19.5, 1.5);
        let people = (office * (1.0 + self.people.step(random))).max(0.0);
        let servers = 4_800.0 * (1.0 + self.servers.step(random));
        for phase in 0..3 {
            // LED drivers and computers, not quite evenly spread over the phases.
            let share = [0.36, 0.31, 0.33][phase];
            demand.corrected(phase, (servers + 7_500.0 * (0.06 + 0.94 * people)) * share);
            demand.rectifier(phase, 3_200.0 * people * share);
        }
        for chiller in &mut self.chillers {
            if let Some(running) = chiller.step(office > 0.2, random) {
                demand.balanced(4_500.0 * (1.0 + 1.2 * (-running / 0.5).exp()), 0.84);
            }
        }
        demand.six_pulse(2_500.0 * (0.25 + 0.75 * office)); // Ventilation drives.
        if self.lift.step(people > 0.1, random).is_some() {
            demand.six_pulse(6_000.0);
        }
        if self.kitchen.step(during(hour, 10.5, 14.0, 0.2) > 0.0, random).is_some() {
            demand.single(1, 3_000.0, 1.0);
        }
        demand
    }
}
