//! Start and creep: below a small power nothing is registered, because it is noise and cross-talk as likely as load.
//!
//! A phase starts once a cycle's mean power reaches the start threshold and stops once it is below the stop threshold; active and reactive power
//! decide apart, without regard to direction. A stopped phase adds nothing to any register, its own or the total, so totals stay the sum of the
//! phases exactly. Apparent energy is registered while either of both is. What is not registered is not forgotten either: [`Unregistered`] has it.

use crate::{ConfigError, VOLTAGES, energy::Raw};

/// Powers of one phase from which energy is registered, and below which it is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Active power that starts a phase: 1 to 10¹² µW.
    pub active_start_microwatts: u64,
    /// Active power below which it stops: up to the start.
    pub active_stop_microwatts: u64,
    /// Fundamental reactive power that starts a phase: 1 to 10¹² µvar.
    pub reactive_start_microvars: u64,
    /// Reactive power below which it stops: up to the start.
    pub reactive_stop_microvars: u64,
}

impl Thresholds {
    /// The largest threshold: 10¹² µW, a megawatt.
    pub const MAX: u64 = 1_000_000_000_000;

    /// For a class 0.2 S meter of `un_millivolts` to neutral and `in_milliamperes`: it must start at 0.001 In and unity power factor (IEC 62053-22;
    /// IEC 62053-24 for reactive energy) and stand still at 1.15 Un without current. A phase starts at 60 % of 0.001 In · Un, so that it does at
    /// 0.8 Un as well, and stops below 40 %. For a meter of 230 V and 5 A: 0.69 W and 0.46 W.
    pub const fn class_0_2_s(un_millivolts: u32, in_milliamperes: u32) -> Self {
        let start_power = un_millivolts as u64 * in_milliamperes as u64 / 1000;
        Self {
            active_start_microwatts: start_power * 6 / 10,
            active_stop_microwatts: start_power * 4 / 10,
            reactive_start_microvars: start_power * 6 / 10,
            reactive_stop_microvars: start_power * 4 / 10,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let range = |field, value, min, max| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(ConfigError { field, value, min, max }) }
        };
        range("active_start_microwatts", self.active_start_microwatts, 1, Self::MAX)?;
        range("active_stop_microwatts", self.active_stop_microwatts, 0, self.active_start_microwatts)?;
        range("reactive_start_microvars", self.reactive_start_microvars, 1, Self::MAX)?;
        range("reactive_stop_microvars", self.reactive_stop_microvars, 0, self.reactive_start_microvars)
    }
}

/// Which phases register energy at present. Without [`Thresholds`] all do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// L1, L2, L3: active energy.
    pub active: [bool; VOLTAGES],
    /// L1, L2, L3: reactive energy.
    pub reactive: [bool; VOLTAGES],
}

/// Energy below the thresholds since the core began: net over both directions, evidence of what a site or a front end does in creep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unregistered {
    /// L1, L2, L3; import positive.
    pub active_nanowatt_hours: [i64; VOLTAGES],
    /// L1, L2, L3.
    pub reactive_nanovar_hours: [i64; VOLTAGES],
    /// L1, L2, L3.
    pub apparent_nanovoltampere_hours: [i64; VOLTAGES],
}

/// The decision, cycle by cycle.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    thresholds: Option<Thresholds>,
    rate_microhertz: u64,
    started: Started,
    pub(crate) active: Raw,
    pub(crate) reactive: Raw,
    pub(crate) apparent: Raw,
}

impl Gate {
    /// Closed, or always open without thresholds.
    pub(crate) fn new(thresholds: Option<Thresholds>, rate_microhertz: u64) -> Self {
        let open = [thresholds.is_none(); VOLTAGES];
        let none = [0; VOLTAGES];
        let started = Started { active: open, reactive: open };
        Self { thresholds, rate_microhertz, started, active: none, reactive: none, apparent: none }
    }

    pub(crate) fn started(&self) -> Started {
        self.started
    }

    /// Decides on the powers of one cycle: energies over a weight, which is doubled and in samples with 20 fractional bits.
    pub(crate) fn decide(&mut self, active: &Raw, reactive: &Raw, twice_weight: u64, divisors: &Raw) {
        let Some(thresholds) = &self.thresholds else {
            return;
        };
        let rate = self.rate_microhertz;
        // A threshold's energy in quanta of 3.6 µJ, ten fractional bits: µW · s / 3.6. Below 2⁴⁰ · 2³⁵ · 2³⁴.
        let quanta = |power: u64| {
            let product = u128::from(power) * u128::from(twice_weight) * (10_000_000 << 10);
            product / (36 * (u128::from(rate) << 21))
        };
        let start = [thresholds.active_start_microwatts, thresholds.reactive_start_microvars].map(quanta);
        let stop = [thresholds.active_stop_microwatts, thresholds.reactive_stop_microvars].map(quanta);
        for number in 0..VOLTAGES {
            // Below 2⁸⁰ · 2³².
            let energy = |raw: i128| (raw.unsigned_abs() << 32) / (divisors[number].unsigned_abs() >> 10);
            let decide = |started: &mut bool, raw: i128, kind: usize| {
                let least = if *started { stop[kind] } else { start[kind] };
                *started = energy(raw) >= least;
            };
            decide(&mut self.started.active[number], active[number], 0);
            decide(&mut self.started.reactive[number], reactive[number], 1);
        }
    }

    /// What of a cycle's energies is registered; the rest is kept apart.
    pub(crate) fn pass(&mut self, active: Raw, reactive: Raw) -> (Raw, Raw) {
        (
            split(active, self.started.active, &mut self.active),
            split(reactive, self.started.reactive, &mut self.reactive),
        )
    }

    /// The same for apparent energy.
    pub(crate) fn pass_apparent(&mut self, apparent: Raw) -> Raw {
        let Started { active, reactive } = self.started;
        let open = core::array::from_fn(|number| active[number] || reactive[number]);
        split(apparent, open, &mut self.apparent)
    }
}

fn split(raw: Raw, open: [bool; VOLTAGES], kept: &mut Raw) -> Raw {
    core::array::from_fn(|number| {
        if open[number] {
            return raw[number];
        }
        kept[number] += raw[number];
        0
    })
}
