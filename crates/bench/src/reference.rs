//! The reference standard: the truth about a load, from its spectrum and, independently, from samples of it. Double precision, no code of the core.
//!
//! # Uncertainty
//! The analytic values are exact but for rounding: fewer than 10³ products, each to 2⁻⁵³, so below 2·10⁻¹³ of the largest product (of *S*); stated as
//! [`UNCERTAINTY`], which also covers the sines. The sampled integrator is exact for what has no line at or above half of its rate (the products' lines
//! are then distinct), so its distance from the analytic value shows errors of either.

use meterseal_world::physics::{FUNDAMENTAL, LoadPoint, Tone};
use std::f64::consts::TAU;

/// Expanded uncertainty (k = 2) of the reference's powers and energies, of apparent power.
pub const UNCERTAINTY: f64 = 1e-12;

/// The true values of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Truth {
    /// RMS voltage of L1, L2, L3, volts.
    pub volts: [f64; 3],
    /// RMS current of L1, L2, L3, neutral, amperes.
    pub amperes: [f64; 4],
    /// Active power of each phase, harmonics included, watts.
    pub watts: [f64; 3],
    /// Reactive power of each phase's fundamental, vars; positive where the current lags.
    pub vars: [f64; 3],
}

impl Truth {
    /// From the spectrum: powers of equal orders.
    pub fn of(load: &LoadPoint) -> Self {
        let rms = |tones: &Vec<Tone>| {
            tones
                .iter()
                .map(|tone| {
                    let value =
                        if tone.quarter_order == 0 { tone.rms * tone.radians.cos() } else { tone.rms };
                    value * value
                })
                .sum::<f64>()
                .sqrt()
        };
        let mut truth = Self {
            volts: load.voltage.each_ref().map(rms),
            amperes: load.current.each_ref().map(rms),
            ..Self::default()
        };
        for phase in 0..3 {
            for (v, i) in pairs(load, phase).filter(|(v, i)| v.quarter_order == i.quarter_order) {
                let angle = v.radians - i.radians;
                truth.watts[phase] += match v.quarter_order {
                    0 => v.rms * v.radians.cos() * i.rms * i.radians.cos(),
                    _ => v.rms * i.rms * angle.cos(),
                };
                if v.quarter_order == FUNDAMENTAL {
                    truth.vars[phase] += v.rms * i.rms * angle.sin();
                }
            }
        }
        truth
    }

    /// From `samples` of the waveforms over four cycles of the supply, which is a whole period of every load. Reactive power, which a sum of
    /// products does not give, stays 0.
    pub fn sampled(load: &LoadPoint, samples: usize) -> Self {
        let mut truth = Self::default();
        for n in 0..samples {
            // In quarters of the supply's frequency: one turn over the four cycles.
            let turn = n as f64 / samples as f64;
            for phase in 0..3 {
                let (v, i) = (instant(&load.voltage[phase], turn), instant(&load.current[phase], turn));
                truth.volts[phase] += v * v;
                truth.amperes[phase] += i * i;
                truth.watts[phase] += v * i;
            }
            let neutral = instant(&load.current[3], turn);
            truth.amperes[3] += neutral * neutral;
        }
        let count = samples as f64;
        truth.volts = truth.volts.map(|sum| (sum / count).sqrt());
        truth.amperes = truth.amperes.map(|sum| (sum / count).sqrt());
        truth.watts = truth.watts.map(|sum| sum / count);
        truth
    }

    /// Sum of the phases' active powers, watts.
    pub fn total_watts(&self) -> f64 {
        self.watts.iter().sum()
    }

    /// Arithmetic sum of the phases' apparent powers, volt-amperes.
    pub fn total_volt_amperes(&self) -> f64 {
        self.volts.iter().zip(self.amperes).map(|(v, i)| v * i).sum()
    }
}

/// The energy of all phases, joules, that flows in `seconds` from the instant at which a quarter of the supply's frequency is at `turns`: the closed
/// integral, what does not average out over an incomplete cycle included.
pub fn energy(load: &LoadPoint, turns: f64, seconds: f64) -> f64 {
    let quarter = load.frequency_hz / 4.0;
    let mut joules = 0.0;
    for phase in 0..3 {
        for (v, i) in pairs(load, phase) {
            // A constant is a cosine of frequency 0 without the √2.
            let root =
                |tone: &Tone| if tone.quarter_order == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
            let product = v.rms * root(v) * i.rms * root(i);
            let (kv, ki) = (f64::from(v.quarter_order), f64::from(i.quarter_order));
            joules += product
                * (cosine(kv - ki, v.radians - i.radians, quarter, turns, seconds)
                    + cosine(kv + ki, v.radians + i.radians, quarter, turns, seconds));
        }
    }
    joules
}

/// `∫ cos(2π·k·(turns + quarter·t) + radians) dt` over `seconds`.
fn cosine(k: f64, radians: f64, quarter: f64, turns: f64, seconds: f64) -> f64 {
    if k == 0.0 {
        return radians.cos() * seconds;
    }
    let angle = |turns: f64| (TAU * (k * turns).fract() + radians).sin();
    (angle(turns + quarter * seconds) - angle(turns)) / (TAU * k * quarter)
}

fn pairs(load: &LoadPoint, phase: usize) -> impl Iterator<Item = (&Tone, &Tone)> {
    load.voltage[phase].iter().flat_map(move |v| load.current[phase].iter().map(move |i| (v, i)))
}

fn instant(tones: &[Tone], turn: f64) -> f64 {
    let root = std::f64::consts::SQRT_2;
    tones
        .iter()
        .map(|tone| match tone.quarter_order {
            0 => tone.rms * tone.radians.cos(),
            order => root * tone.rms * (TAU * f64::from(order) * turn + tone.radians).cos(),
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads() -> Vec<LoadPoint> {
        vec![
            LoadPoint::balanced(50.0, 230.0, 5.0, 60.0),
            LoadPoint::balanced(49.3, 230.0, 5.0, 200.0).with_harmonic(5, 0.1, 0.4),
            LoadPoint::unbalanced(50.0, [230.0, 0.0, 200.0], [1.0, 2.0, 3.0], -36.87),
            LoadPoint::phase_fired(50.0, 230.0, 5.0, 90.0),
            LoadPoint::half_wave(60.0, 230.0, 5.0),
            LoadPoint::bursts(50.0, 230.0, 5.0),
        ]
    }

    #[test]
    fn spectrum_and_samples_agree_to_the_stated_uncertainty() {
        for load in loads() {
            let (a, b) = (Truth::of(&load), Truth::sampled(&load, 1024));
            let most = a.total_volt_amperes();
            for phase in 0..3 {
                assert!((a.watts[phase] - b.watts[phase]).abs() < UNCERTAINTY * most, "{a:?} {b:?}");
                assert!((a.volts[phase] - b.volts[phase]).abs() < 1e-9, "{a:?} {b:?}");
                assert!((a.amperes[phase] - b.amperes[phase]).abs() < 1e-9, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn power_of_a_balanced_load_is_the_textbook_s() {
        let truth = Truth::of(&LoadPoint::balanced(50.0, 230.0, 5.0, 60.0));
        assert!((truth.total_watts() - 1725.0).abs() < 1e-9, "{truth:?}");
        assert!((truth.vars[1] - 1150.0 * 0.75f64.sqrt()).abs() < 1e-9, "{truth:?}");
        // Half of the power while the half wave conducts; half of the time.
        let half = Truth::of(&LoadPoint::half_wave(50.0, 230.0, 10.0));
        assert!((half.total_watts() - 3450.0).abs() < 1e-9, "{half:?}");
        let bursts = Truth::of(&LoadPoint::bursts(50.0, 230.0, 10.0));
        assert!((bursts.total_watts() - 3450.0).abs() < 1e-6, "{bursts:?}");
    }

    #[test]
    fn energy_is_the_integral_of_instantaneous_power() {
        for load in loads() {
            let (turns, seconds) = (0.37, 0.0531);
            // Simpson's rule with steps of 1/200 of the highest line's period.
            let steps = 200_000;
            let mut sum = 0.0;
            for n in 0..=steps {
                let turn = turns + load.frequency_hz / 4.0 * seconds * f64::from(n) / f64::from(steps);
                let weight = if n == 0 || n == steps {
                    1.0
                } else if n % 2 == 1 {
                    4.0
                } else {
                    2.0
                };
                let watts: f64 = (0..3)
                    .map(|phase| instant(&load.voltage[phase], turn) * instant(&load.current[phase], turn))
                    .sum();
                sum += weight * watts;
            }
            let expected = sum * seconds / f64::from(steps) / 3.0;
            let found = energy(&load, turns, seconds);
            assert!((found - expected).abs() < 1e-8 * expected.abs().max(1.0), "{found} {expected}");
        }
    }
}
