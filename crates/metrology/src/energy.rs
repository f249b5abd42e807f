//! From raw sums to whole energy quanta with exact residues, and the decision of direction, once a cycle.
//!
//! Start and creep thresholds decide between a boundary's sums and the registers (`thresholds`).

use crate::{
    Config, Registers, Thresholds, Unregistered, VOLTAGES,
    accumulate::energies,
    thresholds::{Gate, Started},
};

/// Sums of one phase each: counts squared times samples, 20 fractional bits.
pub(crate) type Raw = [i128; VOLTAGES];

/// Books energy into the registers.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) registers: Registers,
    /// Raw units (with 32 further fractional bits) in one nano-watt-hour, per phase.
    divisors: [i128; VOLTAGES],
    /// The same, to divide by once a cycle.
    quanta: [Quantum; VOLTAGES],
    /// What the very first boundary's missing half leaves: without its counterpart it swings by 8 % of a cycle's apparent energy, so it waits
    /// for a cycle whose direction it cannot turn, or for the end.
    start: Option<Raw>,
    gate: Gate,
}

impl Account {
    /// Goes on from `registers`. A residue that was left under another scale is cut to less than one quantum.
    pub(crate) fn new(config: &Config, thresholds: Option<Thresholds>, mut registers: Registers) -> Self {
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
        let gate = Gate::new(thresholds, config.sample_rate_microhertz);
        Self { registers, divisors, quanta: divisors.map(Quantum::new), start: None, gate }
    }

    /// Which phases register energy.
    pub(crate) fn started(&self) -> Started {
        self.gate.started()
    }

    /// What was below the thresholds.
    pub(crate) fn unregistered(&self) -> Unregistered {
        let whole = |raw: &Raw| core::array::from_fn(|n| ((raw[n] << 32) / self.divisors[n]) as i64);
        Unregistered {
            active_nanowatt_hours: whole(&self.gate.active),
            reactive_nanovar_hours: whole(&self.gate.reactive),
            apparent_nanovoltampere_hours: whole(&self.gate.apparent),
        }
    }

    /// The same, active, in raw units with 32 further fractional bits.
    #[cfg(test)]
    pub(crate) fn unregistered_raw(&self, number: usize) -> i128 {
        self.gate.active[number] << 32
    }

    #[cfg(test)]
    pub(crate) fn divisor(&self, number: usize) -> i128 {
        self.divisors[number]
    }

    /// Keeps the first half slot's active energy until it can be booked.
    pub(crate) fn hold_start(&mut self, active: Raw) {
        self.start = Some(active);
    }

    /// Books one boundary: active energy, and reactive power over the boundary's doubled weight and what the first one stands for `before` it.
    pub(crate) fn book(&mut self, active: Raw, reactive_power: Raw, twice_weight: u64, before: u64) {
        let reactive = energies(reactive_power, twice_weight);
        self.gate.decide(&active, &reactive, twice_weight, &self.divisors);
        let active = match self.start {
            Some(start) if self.outweighs(&active, &start) => self.take_start(active),
            _ => active,
        };
        self.add(
            active,
            if before == 0 { reactive } else { energies(reactive_power, twice_weight + before) },
        );
    }

    /// Books the end of a record: all that is left, of less than two cycles.
    pub(crate) fn book_last(&mut self, active: Raw, reactive: Raw) {
        let active = self.take_start(active);
        self.add(active, reactive);
    }

    /// The same for a record that was too short to decide before whether it has started.
    pub(crate) fn book_only(&mut self, active: Raw, reactive: Raw, twice_weight: u64) {
        let active = self.take_start(active);
        self.gate.decide(&active, &reactive, twice_weight, &self.divisors);
        self.add(active, reactive);
    }

    /// Books apparent energy, which has no direction.
    pub(crate) fn book_apparent(&mut self, apparent: Raw) {
        let apparent = self.gate.pass_apparent(apparent);
        let registers = &mut self.registers;
        for (number, raw) in apparent.into_iter().enumerate() {
            let quanta = self.quanta[number].whole(raw, &mut registers.apparent_residues[number]);
            // Never below zero, so that all 64 bits are magnitude.
            let register = &mut registers.apparent_nanovoltampere_hours;
            *register = register.wrapping_add(quanta.cast_unsigned());
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
        let (active, reactive) = self.gate.pass(active, reactive);
        let registers = &mut self.registers;
        let whole = |raw: Raw, residues: &mut [i128; VOLTAGES]| -> [i64; VOLTAGES] {
            core::array::from_fn(|n| self.quanta[n].whole(raw[n], &mut residues[n]))
        };
        let active = whole(active, &mut registers.active_residues);
        let reactive = whole(reactive, &mut registers.reactive_residues);
        add_quanta(registers, active, reactive);
    }
}

/// Adds whole quanta in the direction that they have, for each phase and for the total.
fn add_quanta(registers: &mut Registers, active: [i64; VOLTAGES], reactive: [i64; VOLTAGES]) {
    for (phase, (active, reactive)) in registers.phases.iter_mut().zip(active.into_iter().zip(reactive)) {
        if active >= 0 {
            add(&mut phase.import_nanowatt_hours, active);
            add(&mut registers.sum_of_phase_imports_nanowatt_hours, active);
        } else {
            add(&mut phase.export_nanowatt_hours, active);
        }
        add(&mut phase.reactive_quadrants_nanovar_hours[quadrant(active, reactive)], reactive);
    }
    let total = active.into_iter().fold(0, i64::wrapping_add);
    let total_reactive = reactive.into_iter().fold(0, i64::wrapping_add);
    if total >= 0 {
        add(&mut registers.total_import_nanowatt_hours, total);
    } else {
        add(&mut registers.total_export_nanowatt_hours, total);
    }
    add(&mut registers.reactive_quadrants_nanovar_hours[quadrant(total, total_reactive)], total_reactive);
}

/// Energy that a front end has metered itself (a metering circuit with registers of its own): what one phase gained
/// since the last that was handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeteredEnergy {
    /// Active energy; import positive.
    pub active_nanowatt_hours: i64,
    /// Fundamental reactive energy; positive where the current lags an importing voltage.
    pub reactive_nanovar_hours: i64,
    /// Apparent energy.
    pub apparent_nanovoltampere_hours: u64,
}

impl Account {
    /// Books what a front end has metered. It has its own start and creep thresholds, so none is applied here.
    pub(crate) fn book_metered(&mut self, phases: &[MeteredEnergy; VOLTAGES]) {
        let active = phases.map(|phase| phase.active_nanowatt_hours);
        let reactive = phases.map(|phase| phase.reactive_nanovar_hours);
        add_quanta(&mut self.registers, active, reactive);
        for phase in phases {
            let register = &mut self.registers.apparent_nanovoltampere_hours;
            *register = register.wrapping_add(phase.apparent_nanovoltampere_hours);
        }
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

/// A divisor with its reciprocal: a division of 128 bits is an order of magnitude slower than two multiplications.
#[derive(Clone, Copy, Debug)]
struct Quantum {
    /// 2⁴⁹ (at the largest scale) to 2¹¹¹.
    divisor: u128,
    /// Its length in bits.
    bits: u32,
    /// 2^(62 + bits) over the divisor, rounded down: 62 to 63 bits.
    reciprocal: u64,
}

impl Quantum {
    fn new(divisor: i128) -> Self {
        let divisor = divisor.unsigned_abs();
        let bits = u128::BITS - divisor.leading_zeros();
        // 2^bits / divisor, from 1 to 2, bit by bit.
        let (mut reciprocal, mut rest) = (1, (1 << bits) - divisor);
        for _ in 0..62 {
            rest <<= 1;
            let bit = rest >= divisor;
            reciprocal = (reciprocal << 1) | u64::from(bit);
            rest -= if bit { divisor } else { 0 };
        }
        Self { divisor, bits, reciprocal }
    }

    /// Whole quanta in `raw` and what was left before; what is left now stays in `residue`. It rounds towards zero, so that a small ripple around zero
    /// never reaches a register.
    fn whole(&self, raw: i128, residue: &mut i128) -> i64 {
        // A cycle is below 2⁷⁸ · 2³² + divisor, and at 839 kV and 839 kA below 2⁵³ quanta; the longest window is 3000 times that, below 2⁶⁴.
        let sum = (raw << 32) + *residue;
        let magnitude = sum.unsigned_abs();
        let (quanta, rest) = match u64::try_from(magnitude >> (self.bits - 10)) {
            Ok(leading) => {
                // Ten bits more than the quotient: both factors are rounded down, so it is too small by at most one.
                let quanta = ((u128::from(leading) * u128::from(self.reciprocal)) >> 72) as u64;
                let rest = magnitude - u128::from(quanta) * self.divisor;
                let more = rest >= self.divisor;
                (quanta + u64::from(more), if more { rest - self.divisor } else { rest })
            }
            // A minute's window of hundreds of gigawatts.
            Err(_) => ((magnitude / self.divisor) as u64, magnitude % self.divisor),
        };
        let negative = sum < 0;
        *residue = if negative { -(rest as i128) } else { rest as i128 };
        if negative { quanta.cast_signed().wrapping_neg() } else { quanta.cast_signed() }
    }
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
    use crate::Scale;

    /// Every scale and every sum there can be: the reciprocal gives what the division gives.
    #[test]
    fn whole_quanta_are_those_of_the_division() {
        let mut state = 1_u128;
        let mut random = || {
            // Knuth's MMIX constants, widened.
            state = state
                .wrapping_mul(0x5851_F42D_4C95_7F2D_1405_7B7E_F767_814F)
                .wrapping_add(0x1405_7B7E_F767_814F);
            state >> 3
        };
        let extremes = [(100_000_000_000, Scale::MIN), (1_000_000_000, Scale::MAX), (8_000_000_000, 1 << 32)];
        let mut divisors: std::vec::Vec<i128> =
            extremes.iter().map(|(rate, scale)| divisor(*rate, *scale, *scale)).collect();
        divisors.extend((49..111).map(|bits| 1_i128 << bits));
        divisors.extend((49..111).map(|bits| (2_i128 << bits) - 1));
        divisors.extend(
            (0..500).map(|n| ((1_u128 << (49 + n % 62)) | (random() >> (125 - 49 - n % 62))) as i128),
        );
        for divisor in divisors {
            let quantum = Quantum::new(divisor);
            for n in 0..2_000_u32 {
                // Up to 2⁶² quanta (beyond 2⁵⁴ is the plain division) and 2⁹⁰, and quotients around whole numbers.
                let largest = if divisor >= 1 << 60 { 1 << 90 } else { divisor << 30 };
                let mut raw = (random() as i128 % largest) >> (n % 91);
                if n % 3 == 0 {
                    raw = ((raw << 32) / divisor * divisor + i128::from(n % 5) - 2) >> 32;
                }
                let mut residue = random() as i128 % divisor;
                if n % 2 == 0 {
                    (raw, residue) = (-raw, -residue);
                }
                let sum = (raw << 32) + residue;
                let whole = quantum.whole(raw, &mut residue);
                assert_eq!((i128::from(whole), residue), (sum / divisor, sum % divisor), "{sum} {divisor}");
            }
        }
    }

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
