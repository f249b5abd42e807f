//! What is measured through registers and pulses: start, creep, dips, and whether both outputs of energy agree.

use super::{Rig, millikelvin, nominal};
use meterseal_metrology::{
    Config, ConfigError, Extras, Metrology, Nominal, PulseSettings, Pulsed, Registers, Window,
};
use meterseal_world::physics::{LoadPoint, SAMPLE_RATE_HZ, Unit};

/// Frames at a time: so few that no second cycle ends in them, and a register is read at its window's end.
const STEP: usize = 64;

impl Rig {
    /// The active energy, import and export together, that a meter registers from being switched on, through loads and their seconds, in watt-hours.
    ///
    /// # Errors
    /// The core refuses its settings: a thermometer or a scale out of range.
    pub fn registered(&mut self, course: &[(LoadPoint, f64)]) -> Result<f64, ConfigError> {
        let mut core = self.metering(course, [None; 2])?;
        self.run_course(&mut core, course, &mut |_, _| ());
        core.finish();
        let phases = core.registers().phases.iter();
        let nanowatt_hours =
            phases.map(|phase| phase.import_nanowatt_hours + phase.export_nanowatt_hours).sum::<u64>();
        Ok(nanowatt_hours as f64 * 1e-9)
    }

    /// The mean power by the pulse output's pulses over that by the register, both between the first and the last event of `seconds`, less one: per
    /// cent. Pulses are worth what the name plate says.
    ///
    /// # Errors
    /// As [`registered`](Self::registered).
    pub fn pulses_against_register(
        &mut self,
        load: &LoadPoint,
        seconds: f64,
        name_plate: f64,
    ) -> Result<f64, ConfigError> {
        let output = PulseSettings {
            quantity: Pulsed::ActiveImport,
            impulses_per_kilo_hour: self.impulses_per_kilowatt_hour,
        };
        let course = [(load.clone(), seconds)];
        let mut core = self.metering(&course, [Some(output), None])?;
        let (mut pulses, mut windows) = (Vec::new(), Vec::new());
        self.run_course(&mut core, &course, &mut |core, window| {
            core.take_pulses(&mut |pulse| {
                pulses.push(pulse.sample as f64 + f64::from(pulse.fraction) / 4_294_967_296.0);
            });
            if let Some((cycles, hertz)) =
                window.and_then(|w| Some((w.cycles, w.frequency_microhertz? as f64 * 1e-6)))
            {
                let samples = f64::from(cycles) * SAMPLE_RATE_HZ / hertz;
                windows.push((samples, core.registers().total_import_nanowatt_hours));
            }
        });
        // The first train also holds what came before the first window.
        let settled = pulses.len() / 4;
        let [first, between @ .., last] = &pulses[settled..] else { return Ok(-100.0) };
        // Pulses tell in each window what the register gained in the one before; a steady load has the same in all.
        let by_pulses = (between.len() + 1) as f64 / name_plate * 1e12 / (last - first);
        let windows = &windows[windows.len() / 4..];
        let [from, rest @ .., to] = windows else { return Ok(-100.0) };
        let samples = rest.iter().chain([to]).map(|(samples, _)| samples).sum::<f64>();
        let by_register = to.1.wrapping_sub(from.1) as f64 / samples;
        Ok((by_pulses / by_register - 1.0) * 100.0)
    }

    fn metering(
        &mut self,
        course: &[(LoadPoint, f64)],
        pulses: [Option<PulseSettings>; 2],
    ) -> Result<Metrology, ConfigError> {
        self.unit.set_noise(true);
        let nominal = course.first().map_or(Nominal::Hz50, |(load, _)| nominal(load));
        let config = Config::new((SAMPLE_RATE_HZ * 1e6) as u64, nominal, Unit::scale());
        let extras = Extras { thresholds: Some(self.thresholds), pulses, ..self.extras() };
        let mut core = Metrology::with_extras(config, extras, Registers::default())?;
        core.set_temperature(millikelvin(self.unit.thermometer_celsius()))?;
        Ok(core)
    }

    /// Hands the core to `look` after each chunk of frames, with the window that ended in it.
    fn run_course(
        &mut self,
        core: &mut Metrology,
        course: &[(LoadPoint, f64)],
        look: &mut dyn FnMut(&mut Metrology, Option<Window>),
    ) {
        let mut turns = self.random.uniform();
        for (load, seconds) in course {
            let mut signal = self.unit.signal(load, turns);
            let mut left = (seconds * SAMPLE_RATE_HZ) as usize;
            while left > 0 {
                let frames = &mut self.frames[..left.min(STEP)];
                signal.fill(frames);
                left -= frames.len();
                let mut completed = None;
                core.push(frames, &mut |window| completed = Some(*window));
                look(core, completed);
            }
            turns = signal.turns();
        }
    }
}
