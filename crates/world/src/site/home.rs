//! A home: appliances on single phases, PV on the roof, a battery that lives on its surplus.

use super::load::{Cycling, Demand, Load, STEP_SECONDS, during};
use crate::random::{Random, Wander};

/// A house with 6.5 kW of PV and a 10 kWh battery.
pub(super) struct Home {
    fridge: Cycling,
    hob: Cycling,
    oven: Cycling,
    washer: Cycling,
    base: Wander,
    clouds: Wander,
    gusts: Wander,
    battery: Option<Battery>,
}

/// State of charge and what its inverter may do.
struct Battery {
    stored_watt_hours: f64,
    watts: f64,
}

impl Home {
    const PV_PEAK_WATTS: f64 = 6_500.0;

    pub(super) fn new() -> Self {
        Self {
            fridge: Cycling::new(600.0, 1_200.0),
            hob: Cycling::new(25.0, 20.0),
            oven: Cycling::new(60.0, 90.0),
            washer: Cycling::new(900.0, 600.0),
            base: Wander::new(0.15, 300.0, STEP_SECONDS, 0.4),
            clouds: Wander::new(0.25, 600.0, STEP_SECONDS, 0.6),
            gusts: Wander::new(0.08, 15.0, STEP_SECONDS, 0.25),
            battery: None,
        }
    }

    fn appliances(&mut self, hour: f64, random: &mut Random) -> Demand {
        let mut demand = Demand::default();
        let awake = during(hour, 6.0, 23.0, 1.0);
        demand.rectifier(0, 140.0 * (1.0 + self.base.step(random)) + 60.0 * awake);
        demand.corrected(0, 180.0 * during(hour, 17.0, 23.5, 0.5) + 60.0 * during(hour, 6.0, 8.0, 0.3));
        demand.single(1, 25.0, 0.5); // Circulation pump.
        if let Some(running) = self.fridge.step(true, random) {
            demand.single(1, 95.0 + 500.0 * (-running / 0.25).exp(), 0.72);
        }
        let breakfast = during(hour, 6.8, 7.6, 0.1);
        let cooking = during(hour, 11.7, 12.6, 0.1).max(during(hour, 17.9, 19.2, 0.1)).max(breakfast);
        if self.hob.step(cooking > 0.0, random).is_some() {
            demand.single(2, 2_000.0, 1.0);
        }
        if self.oven.step(during(hour, 17.9, 19.2, 0.1) > 0.0, random).is_some() {
            demand.single(1, 2_300.0, 1.0);
        }
        if self.washer.step(during(hour, 9.5, 11.0, 0.1) > 0.0, random).is_some() {
            demand.single(0, 1_900.0, 1.0);
        }
        demand
    }

    /// Watts from the roof: a bell from six to six, clouds over it.
    fn sun(&mut self, hour: f64, random: &mut Random) -> f64 {
        let (clouds, gusts) = (self.clouds.step(random), self.gusts.step(random));
        let height = (std::f64::consts::PI * (hour - 6.0) / 12.0).sin();
        if !(6.0..18.0).contains(&hour) {
            return 0.0;
        }
        Self::PV_PEAK_WATTS * height.powf(1.25) * (0.85 + clouds + gusts).clamp(0.12, 1.0)
    }
}

impl Load for Home {
    fn step(&mut self, hour: f64, random: &mut Random) -> Demand {
        let mut demand = self.appliances(hour, random);
        let sun = self.sun(hour, random);
        let used: f64 = demand.power.iter().map(|phase| phase.re).sum();
        let battery = self.battery.get_or_insert_with(|| Battery::as_usual_at(hour));
        let battery_watts = battery.step(used - sun);
        let inverter = battery_watts - sun;
        for phase in 0..3 {
            demand.power[phase].re += inverter / 3.0;
            // The inverter's filter capacitors, and what its switching leaves behind.
            demand.power[phase].im -= 18.0;
            demand.harmonics[phase][1].re -= inverter / 3.0 / 230.0 * 0.012;
            demand.harmonics[phase][2].re += inverter / 3.0 / 230.0 * 0.008;
        }
        demand
    }
}

impl Battery {
    const CAPACITY_WATT_HOURS: f64 = 10_000.0;
    const MAX_WATTS: f64 = 3_300.0;
    /// One way; a round trip loses a tenth.
    const EFFICIENCY: f64 = 0.95;

    /// A battery with about the charge that it would have at this hour.
    fn as_usual_at(hour: f64) -> Self {
        let full = match hour {
            ..6.0 => 0.35 - 0.04 * hour,
            ..14.0 => 0.11 + 0.10 * (hour - 6.0),
            ..18.0 => 0.91,
            _ => 0.91 - 0.09 * (hour - 18.0),
        };
        Self { stored_watt_hours: full * Self::CAPACITY_WATT_HOURS, watts: 0.0 }
    }

    /// Steps towards a net of zero at the meter; gives the watts it takes (charging is positive).
    fn step(&mut self, deficit_watts: f64) -> f64 {
        let wanted = (-deficit_watts).clamp(-Self::MAX_WATTS, Self::MAX_WATTS);
        // The controller needs about a second to follow.
        self.watts += (wanted - self.watts) * (STEP_SECONDS / 1.0);
        let hours = STEP_SECONDS / 3600.0;
        let room = Self::CAPACITY_WATT_HOURS - self.stored_watt_hours;
        if self.watts > 0.0 {
            self.watts = self.watts.min(room / hours / Self::EFFICIENCY).max(0.0);
            self.stored_watt_hours += self.watts * Self::EFFICIENCY * hours;
        } else {
            self.watts = self.watts.max(-self.stored_watt_hours / hours * Self::EFFICIENCY);
            self.stored_watt_hours += self.watts / Self::EFFICIENCY * hours;
        }
        self.stored_watt_hours = self.stored_watt_hours.clamp(0.0, Self::CAPACITY_WATT_HOURS);
        self.watts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_battery_never_gives_more_than_it_took() {
        let mut battery = Battery { stored_watt_hours: 0.0, watts: 0.0 };
        let (mut taken, mut given) = (0.0, 0.0);
        for step in 0..864_000 {
            let deficit = if step < 400_000 { -2_500.0 } else { 2_500.0 };
            let watts = battery.step(deficit);
            assert!(watts.abs() <= Battery::MAX_WATTS);
            if watts > 0.0 { taken += watts } else { given -= watts }
        }
        let efficiency = given / taken;
        assert!((efficiency - Battery::EFFICIENCY.powi(2)).abs() < 0.01, "{efficiency}");
    }
}
