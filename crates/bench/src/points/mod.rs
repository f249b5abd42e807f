//! What is measured: every load point and influence quantity of class 0.2 S that acts through waveforms, temperature or a field, with its limit.
//!
//! Limits and currents are those of IEC 62053-22 class 0.2 S as the French order of 1 August 2013 (annex 3) reprints them; CPA-ACC is the scheme's ±0.2 %
//! under varying load; what is to be reached beyond them, and the aims, are the project's own. The reference meter: 3 × 230/400 V, In 5 A, Imax 100 A, 50 Hz.

mod table;

pub use table::rows;

use meterseal_world::physics::LoadPoint;

/// Rated current, amperes.
pub const IN: f64 = 5.0;
/// Largest current, amperes.
pub const IMAX: f64 = 100.0;
/// Rated voltage to neutral, volts.
pub const UN: f64 = 230.0;
/// Rated frequency, hertz.
pub const HERTZ: f64 = 50.0;
/// Impulses a kilowatt-hour.
pub const METER_CONSTANT: f64 = 10_000.0;

/// Limits of one row; per cent, or per cent a kelvin for a coefficient.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Limits {
    /// Class 0.2 S: lowest and highest.
    pub class: Option<[f64; 2]>,
    /// CPA-ACC: plus and minus.
    pub cpa: Option<f64>,
    /// What the project must reach beyond the class: lowest and highest.
    pub reach: Option<[f64; 2]>,
    /// Where the project would be proud: lowest and highest. For an influence a third of the class's limit.
    pub aim: Option<[f64; 2]>,
}

/// What surrounds the unit beside its load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Disturbance {
    /// Nothing.
    None,
    /// A magnet: DC field at the transformers, millitesla.
    Magnet(f64),
    /// A field of the supply's frequency, millitesla.
    Field(f64),
}

/// How a row's value comes about.
#[derive(Clone, Debug)]
pub enum Measure {
    /// The error at a load, per cent of the true energy.
    Error(LoadPoint),
    /// The error at a disturbed load less that of another row.
    Change {
        /// The undisturbed row.
        from: usize,
        /// The load.
        load: LoadPoint,
        /// The disturbance.
        disturbance: Disturbance,
    },
    /// The error of one row less that of another.
    Difference {
        /// The row.
        of: usize,
        /// What is taken from it.
        from: usize,
    },
    /// The change of the error once the load has warmed the unit.
    SelfHeating(LoadPoint),
    /// Pulses that the meter would give in the standard's minimum creep time, as [`CREEP_SECONDS`] show it.
    Creep(LoadPoint),
    /// Registered energy from being switched on, in [`START_SECONDS`], per cent of the true one less 100: −100 does not start.
    Start(LoadPoint),
    /// The change of a row's error to the next lower temperature, divided by the distance.
    PerKelvin(usize),
    /// The error of fundamental reactive energy, per cent of the true one.
    Reactive(LoadPoint),
    /// The error of the neutral's current, per cent.
    Neutral(LoadPoint),
    /// Standard deviation of five measurements, per cent.
    Repeatability(LoadPoint),
    /// Power by the pulse output less power by the register, per cent.
    MeterConstant(LoadPoint),
    /// How far down from Imax, as a ratio, the error and twice its deviation over [`RANGE_SECONDS`] stay within ±[`RANGE_PERCENT`].
    DynamicRange,
    /// Watt-hours that dips and interruptions of a voltage without a current leave in the registers.
    Dips,
}

/// To which of the project's goals a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Group {
    /// Balanced, PF 1, 0.05 In to Imax: ±0.1 %.
    UnityPowerFactor,
    /// Balanced, PF 0.5 and 0.8, and from Imin: ±0.2 %.
    Wide,
    /// All else.
    Other,
}

/// A line of the error table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Current in units of In and power factor's angle, for plots; `None` for what is no balanced load point.
    pub balanced: Option<(f64, f64)>,
    /// The goal it counts to.
    pub group: Group,
    /// Limits.
    pub limits: Limits,
    /// How it is measured.
    pub measure: Measure,
}

/// What class 0.2 S asks for and a simulation of waveforms cannot show: to be named in every report.
pub const NOT_TESTED: [&str; 6] = [
    "fast transient bursts, In (limit 1.0 %): no model of conducted interference",
    "radiated and conducted radio frequency, In (1.0 % each): no model",
    "damped oscillatory waves, In (1.0 %): no model",
    "electrostatic discharge and surge (energy change): no model; dips are tested",
    "data readable for four months without power: a matter of flash, not of measurement",
    "no roll-over in 1 500 h at Imax: by arithmetic, 104 MWh of the register's 18 GWh",
];

/// Seconds of measuring at a load: 25 pulses and no less than 30 s (test practice), 300 s at most.
pub fn seconds(load: &LoadPoint) -> f64 {
    let watts = crate::reference::Truth::of(load).total_watts().abs();
    (25.0 * 3.6e6 / METER_CONSTANT / watts.max(1e-9)).clamp(30.0, 300.0)
}

/// How long a unit is watched in creep.
pub const CREEP_SECONDS: f64 = 1.0;
/// How long a unit has to start.
pub const START_SECONDS: f64 = 1.0;
/// How long pulses and register are compared.
pub const PULSES_SECONDS: f64 = 3.0;
/// Measurements whose deviation is the repeatability (test practice: five).
pub const REPEATS: usize = 5;
/// The time over which the dynamic range is averaged.
pub const RANGE_SECONDS: f64 = 100.0;
/// The error within which it counts.
pub const RANGE_PERCENT: f64 = 0.1;
/// Imax over these currents is measured for it: 100 A to 5 mA.
pub const RANGE_STEPS: [f64; 8] = [1.0, 20.0, 200.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0];

/// The least time of the creep test: 900·10⁶/(k·m·Un·Imax) minutes (IEC 62053-22:2003, class 0.2 S; not verified against the standard's text).
pub fn minimum_creep_seconds() -> f64 {
    900e6 / (METER_CONSTANT * 3.0 * UN * IMAX) * 60.0
}

#[cfg(test)]
mod tests;
