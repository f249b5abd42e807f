//! From boundaries to a window: sums first, one division and one root a quantity at the end.

use crate::{
    Components, PhaseQuantities, Scale, VOLTAGES, Window,
    boundary::{Boundary, CHANNELS},
    components::Relative,
    energy::Raw,
    slot::EDGE,
    tracker::Advance,
    trig::{self, Complex},
};

/// A window that is being filled. Counts squared have 32 fractional bits and weights are doubled, as in [`Boundary`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Accumulator {
    cycles: u16,
    twice_weight: u64,
    squares: [i128; CHANNELS],
    products: [i128; VOLTAGES],
    twice_fundamental: [i128; CHANNELS],
    twice_reactive: [i128; VOLTAGES],
    /// The same of the fundamental's active power.
    twice_active: [i128; VOLTAGES],
    /// Each channel's fundamental times the reference's conjugate: its angle is what is shown.
    cross: [Complex<i128>; CHANNELS],
    /// The voltage that angles refer to, chosen at the window's first boundary.
    reference: Option<usize>,
    advances: u16,
    turn: i128,
    interval: u64,
    clipped: bool,
    disturbed: bool,
}

impl Accumulator {
    /// Cycles so far.
    pub(crate) fn cycles(&self) -> u16 {
        self.cycles
    }

    /// Marks the window.
    pub(crate) fn disturb(&mut self) {
        self.disturbed = true;
    }

    /// The voltage that angles refer to.
    pub(crate) fn reference(&self) -> Option<usize> {
        self.reference
    }

    /// Adds a boundary. All sums stay below 2¹²⁶ up to 3000 cycles: a phasor is below 2⁵⁶, a doubled weight below 2³³.
    pub(crate) fn add(&mut self, boundary: &Boundary, advance: Option<Advance>) {
        let weight = i128::from(boundary.twice_weight);
        if self.cycles == 0 {
            self.reference = boundary.has_voltage.iter().position(|has| *has);
        }
        for channel in 0..CHANNELS {
            self.squares[channel] += boundary.squares[channel];
            self.twice_fundamental[channel] += weight * boundary.twice_squares[channel];
            if let Some(reference) = self.reference {
                let Complex { re, im } =
                    boundary.phasors[channel].times_conjugate(boundary.phasors[reference]);
                self.cross[channel].re += weight * (re >> 34);
                self.cross[channel].im += weight * (im >> 34);
            }
        }
        for number in 0..VOLTAGES {
            self.products[number] += boundary.products[number];
            let Complex { re, im } = boundary.twice_powers[number];
            self.twice_active[number] += weight * re;
            self.twice_reactive[number] += weight * im;
        }
        if let Some(Advance { turn, interval }) = advance {
            self.advances += 1;
            self.turn += i128::from(turn);
            self.interval += interval;
        }
        self.twice_weight += boundary.twice_weight;
        self.clipped |= boundary.clipped;
        self.cycles += 1;
    }

    /// Mean squares of all channels and their roots.
    pub(crate) fn means(&self) -> Means {
        let squares =
            self.squares.map(|square| ((square << 33) / i128::from(self.twice_weight)).max(0).unsigned_abs());
        Means { squares, roots: squares.map(root) }
    }

    /// Doubled weight of all boundaries so far.
    pub(crate) fn twice_weight(&self) -> u64 {
        self.twice_weight
    }

    /// The window's quantities, with its means.
    pub(crate) fn window(&self, means: &Means, place: Place, scale: &Scale, rate_microhertz: u64) -> Window {
        let fundamentals = Means::of_fundamentals(self);
        let phases: [PhaseQuantities; VOLTAGES] =
            core::array::from_fn(|number| self.phase(number, means, &fundamentals, scale));
        let active = phases.iter().map(|phase| phase.active_power_microwatts).sum();
        let total = phases.iter().map(|phase| phase.apparent_power_microvoltamperes).sum();
        Window {
            first_sample: place.first_sample,
            samples: place.samples,
            cycles: place.cycles,
            frequency_microhertz: self.frequency(rate_microhertz),
            phases,
            neutral_current_rms_microamperes: micro(
                means.roots[CHANNELS - 1],
                scale.current_femtoamperes_per_count[VOLTAGES],
            ),
            active_power_microwatts: active,
            reactive_power_microvars: phases.iter().map(|phase| phase.reactive_power_microvars).sum(),
            apparent_power_microvoltamperes: total,
            power_factor_ppm: power_factor(active.into(), total.into()),
            clipped: self.clipped,
            components: self.components(&phases, &fundamentals, scale),
            disturbed: self.disturbed,
        }
    }

    fn components(
        &self,
        phases: &[PhaseQuantities; VOLTAGES],
        fundamentals: &Means,
        scale: &Scale,
    ) -> Components {
        let Some(reference) = self.reference else {
            return Components::default();
        };
        let reference_root = fundamentals.roots[reference];
        let relative = Relative { cross: &self.cross, reference, reference_root };
        let fundamental = core::array::from_fn(|number| {
            let volts = scale.voltage_femtovolts_per_count[number];
            let amperes = scale.current_femtoamperes_per_count[number];
            power(self.twice_active[number] / i128::from(2 * self.twice_weight), volts, amperes)
        });
        Components {
            fundamental_active_power_microwatts: fundamental,
            harmonic_active_power_microwatts: core::array::from_fn(|number| {
                phases[number].active_power_microwatts - fundamental[number]
            }),
            ..Components::sequences_of(&relative, scale)
        }
    }

    fn phase(&self, number: usize, means: &Means, fundamentals: &Means, scale: &Scale) -> PhaseQuantities {
        let (voltage, current) = (number, VOLTAGES + number);
        let volts = scale.voltage_femtovolts_per_count[number];
        let amperes = scale.current_femtoamperes_per_count[number];
        let mean = |sum: i128| (sum << 33) / i128::from(self.twice_weight);
        let active = mean(self.products[number]);
        let reactive = self.twice_reactive[number] / i128::from(2 * self.twice_weight);
        let apparent = means.apparent(number);
        let angle = |channel: usize| {
            let shown = fundamentals.squares[channel] >= FUNDAMENTAL_LEAST;
            if shown { trig::microdegrees(trig::angle(self.cross[channel])) } else { 0 }
        };
        let distortion = |channel: usize| distortion(means.squares[channel], fundamentals.squares[channel]);
        PhaseQuantities {
            voltage_rms_microvolts: micro(means.roots[voltage], volts),
            current_rms_microamperes: micro(means.roots[current], amperes),
            voltage_fundamental_microvolts: micro(fundamentals.roots[voltage], volts),
            current_fundamental_microamperes: micro(fundamentals.roots[current], amperes),
            active_power_microwatts: power(active, volts, amperes),
            reactive_power_microvars: power(reactive, volts, amperes),
            apparent_power_microvoltamperes: power(apparent as i128, volts, amperes).unsigned_abs(),
            power_factor_ppm: power_factor(active, apparent),
            voltage_angle_microdegrees: angle(voltage),
            current_angle_microdegrees: angle(current),
            voltage_thd_ppm: distortion(voltage),
            current_thd_ppm: distortion(current),
        }
    }

    fn frequency(&self, rate_microhertz: u64) -> Option<u64> {
        if self.advances == 0 {
            return None;
        }
        // Turns with 40 fractional bits, below 2⁵²; the rate is below 2³⁷.
        let turns = ((i128::from(self.advances) << 64) + self.turn) >> 24;
        let interval = i128::from(self.interval) << (40 - EDGE);
        let frequency = (i128::from(rate_microhertz) * turns + interval / 2) / interval;
        u64::try_from(frequency).ok()
    }
}

/// Mean squares of all channels in counts squared with 32 fractional bits, below 2⁸⁰, and their roots in counts with 32 fractional bits. Nothing where
/// the noise that was taken off is all there was.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    squares: [u128; CHANNELS],
    roots: [u64; CHANNELS],
}

impl Means {
    fn of_fundamentals(window: &Accumulator) -> Self {
        let weight = i128::from(2 * window.twice_weight);
        let squares = window.twice_fundamental.map(|square| (square / weight).unsigned_abs());
        Self { squares, roots: squares.map(root) }
    }

    /// Apparent power of a phase, in counts squared with 32 fractional bits.
    pub(crate) fn apparent(&self, number: usize) -> u128 {
        (u128::from(self.roots[number]) * u128::from(self.roots[VOLTAGES + number])) >> 32
    }

    /// The same of all phases.
    pub(crate) fn apparents(&self) -> [i128; VOLTAGES] {
        core::array::from_fn(|number| self.apparent(number) as i128)
    }
}

fn root(mean_square: u128) -> u64 {
    (mean_square << 32).isqrt() as u64
}

/// Total harmonic distortion in millionths: the rest of a mean square over the fundamental's.
fn distortion(mean_square: u128, fundamental: u128) -> u32 {
    if fundamental < FUNDAMENTAL_LEAST {
        return 0;
    }
    let rest = mean_square.saturating_sub(fundamental);
    // 10¹² below 2⁴⁰, a mean square below 2⁷⁸.
    let square = rest * 1_000_000_000_000 / fundamental;
    u32::try_from(square.isqrt()).unwrap_or(u32::MAX)
}

/// Where a window lies in the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) first_sample: u64,
    pub(crate) samples: u64,
    pub(crate) cycles: u16,
}

/// Energy of a power (counts squared, 32 fractional bits) over twice a weight, in the registers' raw units.
pub(crate) fn energy(power: i128, twice_weight: u64) -> i128 {
    // Below 2⁷⁹ · 2⁴⁵: counts squared times samples with 53 fractional bits.
    (power * i128::from(twice_weight)) >> 33
}

/// Energy of the same power on all phases.
pub(crate) fn energies(powers: [i128; VOLTAGES], twice_weight: u64) -> Raw {
    powers.map(|power| energy(power, twice_weight))
}

/// A fundamental below a quarter of a count RMS is none: its angle and distortion would be noise.
pub(crate) const FUNDAMENTAL_LEAST: u128 = (1 << 32) / 16;

/// Counts with 32 fractional bits to millionths of a unit, to the nearest; `scale` in 10⁻¹⁵ units a count.
pub(crate) fn micro(counts: u64, scale: u64) -> u64 {
    let exact = u128::from(counts) * u128::from(scale) / 1_000_000_000;
    ((exact + (1 << 31)) >> 32) as u64
}

/// Counts squared with 32 fractional bits to millionths of a watt, to the nearest.
pub(crate) fn power(counts: i128, femtovolts: u64, femtoamperes: u64) -> i64 {
    // In three steps, so that nothing passes 126 bits: 62 + 47 bits, over 10¹²; then 69 + 47 bits, over 10¹².
    let volts = (counts >> 16) * i128::from(femtovolts) / 1_000_000_000_000;
    let watts = volts * i128::from(femtoamperes) / 1_000_000_000_000;
    ((watts + (1 << 15)) >> 16) as i64
}

fn power_factor(active: i128, apparent: u128) -> i32 {
    if apparent == 0 {
        return 0;
    }
    let magnitude = (active.unsigned_abs() * 1_000_000 + apparent / 2) / apparent;
    let magnitude = magnitude.min(1_000_000) as i32;
    if active < 0 { -magnitude } else { magnitude }
}
