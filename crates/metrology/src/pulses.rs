//! The pulse output: a test lamp or relay whose pulses are the registers' own quanta, timed to a fraction of a sample.
//!
//! Instantaneous power swings at twice the supply frequency, and pulses made from it jitter by 0.6 %. So what the registers gained in one window is
//! given out as pulses evenly over the next window's time. The number of pulses is a difference of two register readings times the meter constant, so
//! pulses and registers can differ by the window in progress but never drift apart, and the part of a pulse that is left is the register's own.

use crate::{Config, ConfigError, Frame, Registers, VOLTAGES, slot::EDGE};

/// What one pulse output counts, and how much a pulse is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PulseSettings {
    /// The register.
    pub quantity: Pulsed,
    /// The meter constant: pulses a kilowatt-hour (kilovar-hour, kilovoltampere-hour), from 1 up to one pulse a sample at full scale.
    pub impulses_per_kilo_hour: u32,
}

/// The register that a pulse output follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulsed {
    /// Total active energy import.
    ActiveImport,
    /// Total active energy export.
    ActiveExport,
    /// Reactive energy of quadrants I and II.
    ReactiveImport,
    /// Reactive energy of quadrants III and IV.
    ReactiveExport,
    /// Apparent energy.
    Apparent,
}

impl Pulsed {
    fn register(self, registers: &Registers) -> u64 {
        match self {
            Self::ActiveImport => registers.total_import_nanowatt_hours,
            Self::ActiveExport => registers.total_export_nanowatt_hours,
            Self::ReactiveImport => registers.reactive_import_nanovar_hours(),
            Self::ReactiveExport => registers.reactive_export_nanovar_hours(),
            Self::Apparent => registers.apparent_nanovoltampere_hours,
        }
    }
}

/// One pulse and when it is due. That is up to one window after the samples pushed so far: time enough to set a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// The pulse output: its place in [`Extras::pulses`](crate::Extras::pulses).
    pub output: usize,
    /// The sample, counted from the first one pushed.
    pub sample: u64,
    /// The fraction of a sample after it, in units of 2⁻³².
    pub fraction: u32,
}

/// All pulse outputs of a meter.
#[derive(Clone, Debug)]
pub(crate) struct Pulses {
    outputs: [Option<Output>; OUTPUTS],
}

/// Pulse outputs of a meter: active and reactive energy as a rule.
pub(crate) const OUTPUTS: usize = 2;

#[derive(Clone, Debug)]
struct Output {
    settings: PulseSettings,
    /// The register at the end of the last train.
    register: u64,
    /// The part of a pulse that was left then, in nWh times the constant: below [`PULSE`].
    rest: u64,
    /// Where the last train ends.
    busy_until: u128,
    /// Trains that nobody has taken yet, the oldest first. While there is no room the register's gain waits for the next window.
    trains: [Option<Train>; TRAINS],
}

const TRAINS: usize = 4;
/// A kilowatt-hour in nWh: one pulse, times the constant.
const PULSE: u64 = 1_000_000_000_000;

/// A steady growth of energy over a stretch of time, and the pulses in it.
#[derive(Clone, Copy, Debug)]
struct Train {
    /// Samples with 20 fractional bits.
    start: u128,
    length: u64,
    /// In nWh times the constant: what was left before, and what came.
    rest: u64,
    energy: u128,
}

impl Pulses {
    /// Goes on from what the registers hold: the part of a pulse in them is not lost.
    pub(crate) fn new(settings: [Option<PulseSettings>; OUTPUTS], registers: &Registers) -> Self {
        let outputs = settings.map(|settings| {
            settings.map(|settings| {
                let register = settings.quantity.register(registers);
                let pulses = u128::from(register) * u128::from(settings.impulses_per_kilo_hour);
                Output {
                    settings,
                    register,
                    rest: (pulses % u128::from(PULSE)) as u64,
                    busy_until: 0,

                    trains: [None; TRAINS],
                }
            })
        });
        Self { outputs }
    }

    /// At the end of a window that lasted `length`, at `end`: both in samples with 20 fractional bits.
    pub(crate) fn pass_window(&mut self, registers: &Registers, end: u128, length: u64) {
        for output in self.outputs.iter_mut().flatten() {
            let register = output.settings.quantity.register(registers);
            let Some(room) = output.trains.iter_mut().find(|train| train.is_none()) else {
                continue;
            };
            let gain = register.wrapping_sub(output.register);
            let energy = u128::from(gain) * u128::from(output.settings.impulses_per_kilo_hour);
            if energy > 0 {
                // Windows vary in length with the supply's cycle; trains do not overlap for it.
                let start = end.max(output.busy_until);
                output.busy_until = start + u128::from(length);
                *room = Some(Train { start, length, rest: output.rest, energy });
            }
            output.register = register;
            output.rest = ((u128::from(output.rest) + energy) % u128::from(PULSE)) as u64;
        }
    }

    /// Gives out all pulses that are due, each output's in the order of time.
    pub(crate) fn take(&mut self, on_pulse: &mut dyn FnMut(Pulse)) {
        for (number, output) in self.outputs.iter_mut().enumerate() {
            for train in output.iter_mut().flat_map(|output| &mut output.trains) {
                if let Some(train) = train.take() {
                    train.each(number, on_pulse);
                }
            }
        }
    }
}

impl Train {
    fn each(&self, output: usize, on_pulse: &mut dyn FnMut(Pulse)) {
        let count = (u128::from(self.rest) + self.energy) / u128::from(PULSE);
        for pulse in 1..=count {
            // Where the growing energy passes a whole pulse: below 2⁹⁷ / 2⁹⁷ with 32 further bits after the first division.
            let needed = pulse * u128::from(PULSE) - u128::from(self.rest);
            let share = divide(needed, self.energy);
            let position = (self.start << (32 - EDGE)) + ((u128::from(self.length) * share) >> EDGE);
            on_pulse(Pulse { output, sample: (position >> 32) as u64, fraction: position as u32 });
        }
    }
}

/// `part / whole` with 32 fractional bits, at most one; both below 2⁹⁶ or brought there.
fn divide(part: u128, whole: u128) -> u128 {
    let excess = (128 - whole.leading_zeros()).saturating_sub(96);
    ((part >> excess) << 32) / (whole >> excess)
}

impl PulseSettings {
    /// Checks the constant against one pulse a sample at full scale on all phases: more could not be told apart, and nothing else bounds a train.
    pub(crate) fn check(&self, config: &Config) -> Result<(), ConfigError> {
        let full_scale = |scale: u64| u128::from(scale) * u128::from(Frame::FULL_SCALE.unsigned_abs()) / 1000;
        // In 10⁻²⁴ W: below 2⁶⁰ each.
        let picowatts: u128 = (0..VOLTAGES)
            .map(|number| {
                let volts = full_scale(config.scale.voltage_femtovolts_per_count[number]);
                volts * full_scale(config.scale.current_femtoamperes_per_count[number]) / 1_000_000_000_000
            })
            .sum();
        // Rate · 3.6·10⁶ J over the power: microhertz and 10⁻¹² W leave a factor of 10⁶.
        let largest = u128::from(config.sample_rate_microhertz) * 3_600_000 * 1_000_000 / picowatts.max(1);
        let (value, max) = (self.impulses_per_kilo_hour.into(), largest.min(u32::MAX.into()) as u64);
        if (1..=max).contains(&value) {
            return Ok(());
        }
        Err(ConfigError { field: "impulses_per_kilo_hour", value, min: 1, max })
    }
}
