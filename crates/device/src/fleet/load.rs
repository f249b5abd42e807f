//! What a fleet's meters measure: an energy model in place of samples. Each household has a base load, a daily curve
//! and weather of its own; every third has a photovoltaic plant. The same seed and the same time give the same power.

use meterseal_metrology::{Components, MeteredEnergy, PhaseQuantities, VOLTAGES, Window};
use meterseal_model::UnixMillis;

/// A household.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    seed: u64,
}

/// What a metering front end would hand over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metered {
    pub(super) window: Window,
    pub(super) energy: [MeteredEnergy; VOLTAGES],
}

impl Load {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Energy and quantities from one moment to another, as of the middle between them.
    pub(super) fn metered(&self, from: UnixMillis, to: UnixMillis) -> Metered {
        let length_ms = to.0.saturating_sub(from.0).clamp(0, LONGEST_MS);
        let middle_ms = from.0.saturating_add(length_ms / 2);
        let slot = middle_ms.div_euclid(60_000);
        let phases: [Phase; VOLTAGES] =
            core::array::from_fn(|number| self.phase(number as u64, slot, middle_ms));
        let window = Window {
            first_sample: 0,
            // Only the ratio of one window's length to another's matters.
            samples: length_ms as u64 * SAMPLES_PER_MILLISECOND,
            cycles: 10,
            frequency_microhertz: Some(49_990_000 + self.noise(slot, 9) % 20_000),
            phases: phases.map(Phase::quantities),
            neutral_current_rms_microamperes: 0,
            active_power_microwatts: phases.iter().map(|phase| phase.microwatts).sum(),
            reactive_power_microvars: phases.iter().map(|phase| phase.microvars).sum(),
            apparent_power_microvoltamperes: phases.iter().map(|phase| phase.microvoltamperes()).sum(),
            power_factor_ppm: 0,
            clipped: false,
            disturbed: false,
            components: Components::default(),
        };
        let apparent = window.apparent_power_microvoltamperes;
        let window =
            Window { power_factor_ppm: ratio_ppm(window.active_power_microwatts, apparent), ..window };
        Metered { window, energy: phases.map(|phase| phase.energy(length_ms)) }
    }

    fn phase(&self, number: u64, slot: i64, at_ms: i64) -> Phase {
        let day_ms = at_ms.rem_euclid(DAY_MS);
        let base = 40_000_000 + (self.noise(0, number) % 160_000_000) as i64;
        // Cooking and light, around 7 and 19 o'clock.
        let busy = bump(day_ms, 7, 2) * 300 + bump(day_ms, 19, 4) * 900;
        let appliance = (self.noise(slot / 20, number + 20) % 1000) as i64 * 400_000;
        let sun = if self.seed.is_multiple_of(3) {
            bump(day_ms, 12, 6) * (600 + (self.noise(slot / 5, 31) % 900) as i64)
        } else {
            0
        };
        let microwatts = base + busy * 1000 + appliance - sun * 1000;
        Phase {
            microvolts: 229_000_000 + self.noise(slot, number + 40) % 3_000_000,
            microwatts,
            microvars: microwatts.abs() / 5,
        }
    }

    /// SplitMix64 over the seed, a time and a purpose.
    fn noise(&self, time: i64, purpose: u64) -> u64 {
        let mut z = self
            .seed
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add((time as u64).wrapping_mul(0xD1B5_4A32_D192_ED03))
            .wrapping_add(purpose);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// A phase's power.
#[derive(Clone, Copy, Debug)]
struct Phase {
    microvolts: u64,
    microwatts: i64,
    microvars: i64,
}

impl Phase {
    fn microvoltamperes(self) -> u64 {
        let square = |value: i64| u128::from(value.unsigned_abs()).pow(2);
        (square(self.microwatts) + square(self.microvars)).isqrt() as u64
    }

    fn quantities(self) -> PhaseQuantities {
        let apparent = self.microvoltamperes();
        let current = (u128::from(apparent) * 1_000_000 / u128::from(self.microvolts.max(1))) as u64;
        PhaseQuantities {
            voltage_rms_microvolts: self.microvolts,
            current_rms_microamperes: current,
            voltage_fundamental_microvolts: self.microvolts,
            current_fundamental_microamperes: current,
            active_power_microwatts: self.microwatts,
            reactive_power_microvars: self.microvars,
            apparent_power_microvoltamperes: apparent,
            power_factor_ppm: ratio_ppm(self.microwatts, apparent),
            ..PhaseQuantities::default()
        }
    }

    /// A microwatt for a millisecond is 1/3600 nWh.
    fn energy(self, length_ms: i64) -> MeteredEnergy {
        let hours = |micro: i64| micro.saturating_mul(length_ms) / 3600;
        MeteredEnergy {
            active_nanowatt_hours: hours(self.microwatts),
            reactive_nanovar_hours: hours(self.microvars),
            apparent_nanovoltampere_hours: hours(self.microvoltamperes() as i64).unsigned_abs(),
        }
    }
}

/// 0 to 1000, highest at the full `hour`, 0 from `half_width` hours away.
fn bump(day_ms: i64, hour: i64, half_width: i64) -> i64 {
    let away_ms = (day_ms - hour * HOUR_MS).abs();
    let width_ms = half_width * HOUR_MS;
    (1000 - away_ms * 1000 / width_ms).max(0)
}

fn ratio_ppm(active: i64, apparent: u64) -> i32 {
    let ppm = i128::from(active) * 1_000_000 / i128::from(apparent.max(1));
    if apparent == 0 { 0 } else { i32::try_from(ppm).unwrap_or(0) }
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A model that was not asked for longer than a day says nothing about what was then.
const LONGEST_MS: i64 = DAY_MS;
/// The reference meter's rate.
const SAMPLES_PER_MILLISECOND: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_plausible_and_repeatable() {
        let day = |seed: u64| {
            let load = Load::new(seed);
            let steps = (0..96).map(|k| load.metered(UnixMillis(k * 900_000), UnixMillis((k + 1) * 900_000)));
            steps.fold((0, 0), |(import, export), metered| {
                let energy: i64 = metered.energy.iter().map(|phase| phase.active_nanowatt_hours).sum();
                if energy > 0 { (import + energy, export) } else { (import, export - energy) }
            })
        };
        for seed in 0..30 {
            let (import, export) = day(seed);
            // Two to sixty kilowatt-hours a day.
            assert!((2_000_000_000_000..60_000_000_000_000).contains(&import), "{seed}: {import}");
            assert_eq!(export > 0, seed % 3 == 0, "{seed}: {export}");
            assert_eq!(day(seed), (import, export));
        }
        assert_ne!(day(1), day(2));
    }

    #[test]
    fn energy_is_power_times_time() {
        let metered = Load::new(7).metered(UnixMillis(0), UnixMillis(60_000));
        for (phase, energy) in metered.window.phases.iter().zip(metered.energy) {
            assert_eq!(energy.active_nanowatt_hours, phase.active_power_microwatts * 60_000 / 3600);
        }
    }
}
