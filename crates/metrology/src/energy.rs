//! From raw sums to whole energy quanta with exact residues, and the decision of direction, once a cycle.
//!
//! The start and creep thresholds with their hysteresis belong between a boundary's sums and [`Account::book`].

use crate::{Config, Registers, VOLTAGES};

/// Sums of one phase each: counts squared times samples, 20 fractional bits.
pub(crate) type Raw = [i128; VOLTAGES];

/// Books energy into the registers.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) registers: Registers,
    /// Raw units (with 32 further fractional bits) in one nano-watt-hour, per phase.
    divisors: [i128; VOLTAGES],
    /// What the very first boundary's missing half leaves: without its counterpart it swings by 8 % of a cycle's apparent energy, so it waits
    /// for a cycle whose direction it cannot turn, or for the end.
    start: Option<Raw>,
}

impl Account {
    /// Goes on from `registers`. A residue that was left under another scale is cut to less than one quantum.
    pub(crate) fn new(config: &Config, mut registers: Registers) -> Self {
        let divisors = core::array::from_fn(|number| {
            divisor(
                config.sample_rate_microhertz,
                config.scale.voltage_femtovolts_per_count[number],
                config.scale.current_femtoamperes_per_count[number],
            )
        });
        for residues in [
            &mut registers.active_residues,
            &mut registers.reactive_residues,
            &mut registers.apparent_residues,
        ] {
            for (residue, divisor) in residues.iter_mut().zip(divisors) {
                *residue %= divisor;
            }
        }
        Self { registers, divisors, start: None }
    }

    #[cfg(test)]
    pub(crate) fn divisor(&self, number: usize) -> i128 {
        self.divisors[number]
    }

    /// Keeps the first half slot's active energy until it can be booked.
    pub(crate) fn hold_start(&mut self, active: Raw) {
        self.start = Some(active);
    }

    /// Books one boundary's active and reactive energy.
    pub(crate) fn book(&mut self, active: Raw, reactive: Raw) {
        let active = match self.start {
            Some(start) if self.outweighs(&active, &start) => self.take_start(active),
            _ => active,
        };
        self.add(active, reactive);
    }

    /// Books the end of a record: all that is left.
    pub(crate) fn book_last(&mut self, active: Raw, reactive: Raw) {
        let active = self.take_start(active);
        self.add(active, reactive);
    }

    /// Books apparent energy, which has no direction.
    pub(crate) fn book_apparent(&mut self, apparent: Raw) {
        let registers = &mut self.registers;
        for (number, raw) in apparent.into_iter().enumerate() {
            let quanta = quanta(raw, &mut registers.apparent_residues[number], self.divisors[number]);
            add(&mut registers.apparent_nanovoltampere_hours, quanta);
        }
    }

    fn take_start(&mut self, active: Raw) -> Raw {
        match self.start.take() {
            Some(start) => core::array::from_fn(|number| active[number] + start[number]),
            None => active,
        }
    }

    /// Whether no phase, nor all together, would change direction if `start` were added.
    fn outweighs(&self, active: &Raw, start: &Raw) -> bool {
        let total = |raw: &Raw| -> i128 {
            (0..VOLTAGES).map(|number| (raw[number] << 32) / self.divisors[number]).sum()
        };
        let all = (0..VOLTAGES).all(|number| active[number].unsigned_abs() >= start[number].unsigned_abs());
        all && total(active).unsigned_abs() >= total(start).unsigned_abs()
    }

    fn add(&mut self, active: Raw, reactive: Raw) {
        let registers = &mut self.registers;
        let (mut total, mut total_reactive) = (0, 0);
        for number in 0..VOLTAGES {
            let divisor = self.divisors[number];
            let active = quanta(active[number], &mut registers.active_residues[number], divisor);
            let reactive = quanta(reactive[number], &mut registers.reactive_residues[number], divisor);
            let phase = &mut registers.phases[number];
            if active >= 0 {
                add(&mut phase.import_nanowatt_hours, active);
                add(&mut registers.sum_of_phase_imports_nanowatt_hours, active);
            } else {
                add(&mut phase.export_nanowatt_hours, active);
            }
            add(&mut phase.reactive_quadrants_nanovar_hours[quadrant(active, reactive)], reactive);
            total += active;
            total_reactive += reactive;
        }
        if total >= 0 {
            add(&mut registers.total_import_nanowatt_hours, total);
        } else {
            add(&mut registers.total_export_nanowatt_hours, total);
        }
        add(&mut registers.reactive_quadrants_nanovar_hours[quadrant(total, total_reactive)], total_reactive);
    }
}

/// Quadrant I is 0, IV is 3.
fn quadrant(active: i64, reactive: i64) -> usize {
    match (active >= 0, reactive >= 0) {
        (true, true) => 0,
        (false, true) => 1,
        (false, false) => 2,
        (true, false) => 3,
    }
}

fn add(register: &mut u64, quanta: i64) {
    *register = register.wrapping_add(quanta.unsigned_abs());
}

/// Whole quanta in `raw` and what was left before; what is left now stays in `residue`. It rounds towards zero, so that a small ripple around zero
/// never reaches a register.
fn quanta(raw: i128, residue: &mut i128, divisor: i128) -> i64 {
    // Below 2⁷⁸ · 2³² + divisor; a cycle at 839 kV and 839 kA is below 2⁵³ quanta.
    let sum = (raw << 32) + *residue;
    *residue = sum % divisor;
    (sum / divisor) as i64
}

/// Raw units in 3.6 µJ: 2²⁰⁺³² · rate · 3.6·10⁻⁶ / (voltage · current scale), rounded down.
fn divisor(rate_microhertz: u64, femtovolts: u64, femtoamperes: u64) -> i128 {
    // rate · 10⁻⁶ · 3.6·10⁻⁶ · 10³⁰, below 2⁹⁹.
    let numerator = u128::from(rate_microhertz) * 3_600_000_000_000_000_000;
    // 2⁴⁰ to 2⁹⁴.
    let denominator = u128::from(femtovolts) * u128::from(femtoamperes);
    let (mut quotient, mut rest) = (numerator / denominator, numerator % denominator);
    for _ in 0..52 {
        rest <<= 1;
        quotient = (quotient << 1) | u128::from(rest >= denominator);
        if rest >= denominator {
            rest -= denominator;
        }
    }
    quotient as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantum_is_3_6_microjoules() {
        for (rate, v, i) in [
            (8_000_000_000, 70_000_000_000, 18_000_000_000),
            (1_000_000_000, 100_000_000_000_000, 100_000_000_000_000),
            (100_000_000_000, 1_000_000, 1_000_000),
        ] {
            let expected =
                2f64.powi(52) * (rate as f64 * 1e-6) * 3.6e-6 / (v as f64 * 1e-15 * i as f64 * 1e-15);
            let found = divisor(rate, v, i);
            assert!((found as f64 / expected - 1.0).abs() < 1e-9, "{found} {expected}");
        }
    }
}
