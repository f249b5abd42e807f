//! The rig: a virtual unit's front end connected to the meter's own core, at a load, in the climate chamber.
//!
//! A *block* is one coherent stretch of ten (twelve) cycles without noise, to which the noise of the stated time of measurement is added by
//! calculation; a *full* measurement runs every frame of that time with noise. `accuracy --full` and `tests/block_and_full.rs` compare the two.

mod registers;

use crate::points;
use crate::random::Random;
use meterseal_metrology::{
    Calibration, Config, ConfigError, Extras, Frame, Metrology, Nominal, Period, Registers, Thresholds,
    Window,
};
use meterseal_world::physics::{FUNDAMENTAL, LoadPoint, SAMPLE_RATE_HZ, Unit};

/// Frames handed to the core at a time: 28 kB.
const CHUNK: usize = 1024;
/// The noise near the supply's frequency is denser than the white noise's: 1/f noise with a corner of 10 Hz adds a fifth at 50 Hz.
const DENSITY: f64 = 1.2;

/// What a unit shows, mean over the time of a measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// RMS voltages, volts.
    pub volts: [f64; 3],
    /// Active energy by a clock outside the meter: watts.
    pub watts: [f64; 3],
    /// The same of the fundamental's reactive energy, vars.
    pub vars: [f64; 3],
    /// RMS current of the neutral, amperes.
    pub neutral_amperes: f64,
    /// The lowest and the highest window's frequency, hertz by the meter's own clock; infinite where none could be told.
    pub hertz: [f64; 2],
}

impl Reading {
    /// Sum of the phases' active powers, watts.
    pub fn total_watts(&self) -> f64 {
        self.watts.iter().sum()
    }

    /// Sum of the phases' reactive powers, vars.
    pub fn total_vars(&self) -> f64 {
        self.vars.iter().sum()
    }
}

/// A unit, its calibration record, and the laboratory's random numbers.
#[derive(Clone, Debug)]
pub struct Rig {
    /// The front end.
    pub unit: Unit,
    /// From which power on the meter registers energy: those of class 0.2 S.
    pub thresholds: Thresholds,
    /// The pulse output's meter constant.
    pub impulses_per_kilowatt_hour: u32,
    /// Whether the transducers have had the load for long: if not, the meter has no heat to correct yet.
    pub warm: bool,
    record: Option<Calibration>,
    random: Random,
    frames: Vec<Frame>,
}

impl Rig {
    /// Without a record the unit measures on its name plate.
    pub fn new(unit: Unit, record: Option<Calibration>, seed: u64) -> Self {
        // A block's transducers are warm: the heat's course is in the unit's temperatures, not in the few cycles that are measured.
        let settled = record.map(|mut record| {
            record.transducers.iter_mut().for_each(|transducer| transducer.heating_milliseconds = 0);
            record
        });
        Self {
            unit,
            thresholds: Thresholds::class_0_2_s((points::UN * 1e3) as u32, (points::IN * 1e3) as u32),
            impulses_per_kilowatt_hour: points::METER_CONSTANT as u32,
            warm: true,
            record: settled,
            random: Random::new(seed),
            frames: vec![Frame::default(); CHUNK],
        }
    }

    /// What the unit shows at this load after `seconds` of measuring, from one block.
    ///
    /// # Errors
    /// The core refuses its settings: a thermometer or a scale out of range.
    pub fn block(&mut self, load: &LoadPoint, seconds: f64) -> Result<Reading, ConfigError> {
        let mut reading = self.quiet_block(load)?;
        self.add_noise(&mut reading, load, seconds);
        Ok(reading)
    }

    /// One block, and no noise.
    ///
    /// # Errors
    /// As [`block`](Self::block).
    pub fn quiet_block(&mut self, load: &LoadPoint) -> Result<Reading, ConfigError> {
        self.unit.set_noise(false);
        // Loads with lines between the harmonics repeat every four cycles; after the first window the core has the current's curve.
        let between = load.current.iter().flatten().any(|tone| tone.quarter_order % FUNDAMENTAL != 0);
        let ten = nominal(load).window_cycles();
        let (window_cycles, windows) = if between { (4, 5) } else { (ten / 2, 2) };
        let cycles = f64::from(window_cycles * (windows + 1)) + 2.0;
        let frames = (cycles * SAMPLE_RATE_HZ * 1.001 / load.frequency_hz).ceil() as usize + 8;
        let reading = self.run(load, window_cycles, frames, 1, usize::from(windows));
        self.unit.set_noise(true);
        reading
    }

    /// The same with every frame of `seconds`.
    ///
    /// # Errors
    /// As [`block`](Self::block).
    pub fn full(&mut self, load: &LoadPoint, seconds: f64) -> Result<Reading, ConfigError> {
        self.unit.set_noise(true);
        self.all_frames(load, seconds)
    }

    /// Every frame, and no noise.
    ///
    /// # Errors
    /// As [`block`](Self::block).
    pub fn quiet_full(&mut self, load: &LoadPoint, seconds: f64) -> Result<Reading, ConfigError> {
        self.unit.set_noise(false);
        let reading = self.all_frames(load, seconds);
        self.unit.set_noise(true);
        reading
    }

    fn all_frames(&mut self, load: &LoadPoint, seconds: f64) -> Result<Reading, ConfigError> {
        let frames = (seconds * SAMPLE_RATE_HZ) as usize;
        self.run(load, nominal(load).window_cycles(), frames, 1, usize::MAX)
    }

    /// Mean and mean square less the mean's, in counts, of each channel with shorted inputs over `seconds`: what the factory's test mode shows.
    pub fn shorted(&mut self, seconds: f64) -> [[f64; 2]; 7] {
        let load = LoadPoint::unbalanced(50.0, [0.0; 3], [0.0; 3], 0.0);
        let mut signal = self.unit.signal(&load, 0.0);
        let count = (seconds * SAMPLE_RATE_HZ) as usize;
        let (mut sums, mut squares) = ([0i64; 7], [0i64; 7]);
        let mut left = count;
        while left > 0 {
            let frames = &mut self.frames[..left.min(CHUNK)];
            signal.fill(frames);
            left -= frames.len();
            for frame in frames {
                for (n, value) in frame.voltage.iter().chain(&frame.current).enumerate() {
                    sums[n] += i64::from(*value);
                    squares[n] += i64::from(*value) * i64::from(*value);
                }
            }
        }
        std::array::from_fn(|n| {
            let mean = sums[n] as f64 / count as f64;
            [mean, squares[n] as f64 / count as f64 - mean * mean]
        })
    }

    /// The unit's record, and the fastest sums, which are the same to the bit.
    fn extras(&self) -> Extras {
        let kernel = meterseal_metrology_simd::fastest();
        let record = self.record.map(|mut record| {
            if !self.warm {
                record.transducers.iter_mut().for_each(|each| each.heating_ppt_per_square_ampere = 0);
            }
            Ok(record)
        });
        Extras { calibration: record, kernel, ..Extras::default() }
    }

    fn run(
        &mut self,
        load: &LoadPoint,
        window_cycles: u16,
        frames: usize,
        skip: usize,
        take: usize,
    ) -> Result<Reading, ConfigError> {
        let mut config = Config::new((SAMPLE_RATE_HZ * 1e6) as u64, nominal(load), Unit::scale());
        config.window_cycles = window_cycles;
        // A meter in service has followed its supply for long.
        config.period = Some(Period::from_frequency(
            config.sample_rate_microhertz,
            (load.frequency_hz * 1e6).round() as u64,
        ));
        let mut core = Metrology::with_extras(config, self.extras(), Registers::default())?;
        core.set_temperature(millikelvin(self.unit.thermometer_celsius()))?;
        // A measurement begins anywhere in the supply's cycle.
        let mut signal = self.unit.signal(load, self.random.uniform());
        let mut mean = Mean { skip, take, ..Mean::default() };
        let mut left = frames;
        while left > 0 {
            let frames = &mut self.frames[..left.min(CHUNK)];
            signal.fill(frames);
            left -= frames.len();
            core.push(frames, &mut |window| mean.add(window));
        }
        // What the meter takes for a second lasts this long.
        Ok(mean.reading(SAMPLE_RATE_HZ * signal.seconds_per_frame()))
    }

    fn add_noise(&mut self, reading: &mut Reading, load: &LoadPoint, seconds: f64) {
        for phase in 0..3 {
            let deviation = power_noise(&self.unit, load, phase, seconds);
            reading.watts[phase] += deviation * self.random.normal();
            reading.vars[phase] += deviation * self.random.normal();
        }
    }
}

/// The standard deviation of a phase's power over `seconds`, watts, that the converter's noise makes: each channel's noise times the other's signal.
pub fn power_noise(unit: &Unit, load: &LoadPoint, phase: usize, seconds: f64) -> f64 {
    let square =
        |tones: &[meterseal_world::physics::Tone]| tones.iter().map(|tone| tone.rms * tone.rms).sum::<f64>();
    let [volts, amperes] = unit.noise().map(|noise| noise * noise * DENSITY);
    let (v, i) = (square(&load.voltage[phase]), square(&load.current[phase]));
    ((v * amperes + i * volts + volts * amperes) / (seconds * SAMPLE_RATE_HZ)).sqrt()
}

/// The same of the three phases' sum.
pub fn total_power_noise(unit: &Unit, load: &LoadPoint, seconds: f64) -> f64 {
    (0..3).map(|phase| power_noise(unit, load, phase, seconds).powi(2)).sum::<f64>().sqrt()
}

/// A thermometer's value as the core takes it.
pub fn millikelvin(celsius: f64) -> u32 {
    ((celsius + 273.15) * 1000.0).round() as u32
}

fn nominal(load: &LoadPoint) -> Nominal {
    Nominal::nearest((load.frequency_hz * 1e6) as u64)
}

/// The mean of windows of one length.
#[derive(Default)]
struct Mean {
    skip: usize,
    take: usize,
    taken: usize,
    squares: [f64; 3],
    watts: [f64; 3],
    vars: [f64; 3],
    neutral_squares: f64,
    /// The lowest and the highest.
    hertz: Option<[f64; 2]>,
}

impl Mean {
    fn add(&mut self, window: &Window) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        if self.taken == self.take {
            return;
        }
        self.taken += 1;
        if let Some(microhertz) = window.frequency_microhertz {
            let hertz = microhertz as f64 * 1e-6;
            let [lowest, highest] = self.hertz.unwrap_or([hertz; 2]);
            self.hertz = Some([lowest.min(hertz), highest.max(hertz)]);
        }
        self.neutral_squares += (window.neutral_current_rms_microamperes as f64 * 1e-6).powi(2);
        for (phase, quantities) in window.phases.iter().enumerate() {
            self.squares[phase] += (quantities.voltage_rms_microvolts as f64 * 1e-6).powi(2);
            self.watts[phase] += quantities.active_power_microwatts as f64 * 1e-6;
            self.vars[phase] += quantities.reactive_power_microvars as f64 * 1e-6;
        }
    }

    fn reading(&self, second: f64) -> Reading {
        let count = self.taken as f64;
        Reading {
            volts: self.squares.map(|sum| (sum / count).sqrt()),
            watts: self.watts.map(|sum| sum / count / second),
            vars: self.vars.map(|sum| sum / count / second),
            hertz: self.hertz.unwrap_or([f64::INFINITY, f64::NEG_INFINITY]),
            neutral_amperes: (self.neutral_squares / count).sqrt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Truth;
    use meterseal_world::physics::{Effects, Sensor, Tolerances};

    #[test]
    fn with_an_ideal_front_end_only_the_computation_errs() {
        let unit = Unit::draw(1, Sensor::Transformer, &Tolerances::REFERENCE, Effects::NONE);
        let mut rig = Rig::new(unit, None, 1);
        for load in [
            LoadPoint::balanced(50.0, 230.0, 5.0, 60.0),
            LoadPoint::balanced(49.0, 230.0, 0.25, 0.0),
            LoadPoint::balanced(60.0, 230.0, 100.0, -36.87),
            LoadPoint::balanced(50.0, 230.0, 50.0, 0.0).with_harmonic(5, 0.1, 0.4),
            LoadPoint::bursts(50.0, 230.0, 2.5),
            LoadPoint::phase_fired(50.0, 230.0, 2.5, 90.0),
        ] {
            // So long that the added noise is nothing.
            let reading = rig.block(&load, 1e12).unwrap();
            let truth = Truth::of(&load);
            for phase in 0..3 {
                let error = (reading.watts[phase] - truth.watts[phase]) / (230.0 * truth.amperes[phase]);
                assert!(error.abs() < 2e-5, "{load:?}: {error}");
            }
        }
    }
}
