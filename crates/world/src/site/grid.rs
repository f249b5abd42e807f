//! The low-voltage grid: a stiff source with a slowly wandering frequency, behind a cable.

use super::load::{CURRENT_ORDERS, Demand, STEP_SECONDS};
use crate::complex::Complex;
use crate::random::{Random, Wander};

/// The orders of the voltage's waveform: the fundamental and what other customers' rectifiers leave.
pub(super) const VOLTAGE_ORDERS: [u32; 3] = [1, 5, 7];

/// A source and a cable.
pub(super) struct Grid {
    frequency: Wander,
    level: Wander,
    phase_level: [Wander; 3],
    background: [Wander; 2],
    /// The fundamental at the meter in the step before: what loads of constant power find.
    volts: [Complex; 3],
}

/// Phasors at the meter, root mean square, each phase against its own ideal angle (0°, −120°, +120°).
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) frequency_hz: f64,
    /// By [`VOLTAGE_ORDERS`].
    pub(super) volts: [[Complex; 3]; 3],
    /// The fundamental, then by [`CURRENT_ORDERS`].
    pub(super) amps: [[Complex; 3]; 6],
}

impl Grid {
    const NOMINAL_HZ: f64 = 50.0;
    const NOMINAL_VOLTS: f64 = 231.0;
    /// A 200 kVA transformer and 100 m of 150 mm² cable, ohms at 50 Hz; the reactance grows with the order.
    const RESISTANCE: f64 = 0.035;
    const REACTANCE: f64 = 0.022;

    pub(super) fn new() -> Self {
        let wander = |deviation, seconds, limit| Wander::new(deviation, seconds, STEP_SECONDS, limit);
        Self {
            frequency: wander(0.012, 45.0, 0.030),
            level: wander(0.006, 300.0, 0.02),
            phase_level: std::array::from_fn(|_| wander(0.002, 120.0, 0.006)),
            background: [wander(0.003, 200.0, 0.008), wander(0.002, 200.0, 0.005)],
            volts: [Complex::new(Self::NOMINAL_VOLTS, 0.0); 3],
        }
    }

    pub(super) fn step(&mut self, demand: &Demand, random: &mut Random) -> State {
        let mut state =
            State { frequency_hz: Self::NOMINAL_HZ + self.frequency.step(random), ..State::default() };
        let level = Self::NOMINAL_VOLTS * (1.0 + self.level.step(random));
        let background = [0.018 + self.background[0].step(random), 0.011 + self.background[1].step(random)];
        for phase in 0..3 {
            let source = Complex::new(level * (1.0 + self.phase_level[phase].step(random)), 0.0);
            let volts = &mut self.volts[phase];
            let amps = (demand.power[phase] / *volts).conj();
            *volts = source - impedance(1) * amps;
            // Harmonic n of a load turns n times as far as its voltage.
            let turn = volts.angle();
            state.amps[0][phase] = amps;
            for (k, &order) in CURRENT_ORDERS.iter().enumerate() {
                let harmonic = demand.harmonics[phase][k];
                state.amps[k + 1][phase] = harmonic * Complex::polar(1.0, turn * f64::from(order));
            }
            state.volts[0][phase] = *volts;
            for (k, &order) in VOLTAGE_ORDERS.iter().enumerate().skip(1) {
                let own = [2, 3][k - 1]; // Orders 5 and 7 among the currents.
                let source = Complex::polar(background[k - 1] * level, [2.6, 0.7][k - 1]);
                state.volts[k][phase] = source - impedance(order) * state.amps[own][phase];
            }
        }
        state
    }
}

fn impedance(order: u32) -> Complex {
    Complex::new(Grid::RESISTANCE, Grid::REACTANCE * f64::from(order))
}
