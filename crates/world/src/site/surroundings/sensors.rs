//! The sensors and what they hold between two readings.

use super::Disturbance;
use crate::site::Site;
use meterseal_model::{SensorReadings, UnixMillis};
use std::f64::consts::TAU;

pub(super) struct Sensors {
    meter_cover_open: bool,
    terminal_cover_open: bool,
    meter_cover_latched: bool,
    terminal_cover_latched: bool,
    surge_peak_volts: [f32; 3],
    position: [f32; 3],
    knock: Option<Knock>,
    celsius: Option<f32>,
    magnet: Magnet,
    coil: Coil,
    /// The lowest and the highest field of each axis since the reading before, microtesla.
    held: [[f32; 2]; 3],
}

#[derive(Clone, Copy, Default)]
struct Magnet {
    now: [f32; 3],
    step: [f32; 3],
    target: [f32; 3],
    left: u32,
}

#[derive(Clone, Copy, Default)]
struct Coil {
    millitesla: [f32; 3],
    /// When it was switched on.
    turns: f64,
    turns_per_frame: f64,
    /// Since then.
    frames: u64,
}

impl Coil {
    /// Turns since it was at the beginning of a wave.
    fn angle(&self) -> f64 {
        self.turns + self.turns_per_frame * self.frames as f64
    }

    /// What is left of its amplitude now, -1 to 1.
    fn wave(&self) -> f32 {
        if self.millitesla == [0.0; 3] { 0.0 } else { (self.angle() * TAU).sin() as f32 }
    }
}

#[derive(Clone, Copy)]
struct Knock {
    g: [f32; 3],
    hertz: f32,
    frames: u32,
}

const RATE: f32 = Site::SAMPLE_RATE as f32;
/// A shake falls to 1/e in so many seconds.
const SHAKE_SECONDS: f32 = 0.03;

impl Sensors {
    pub(super) fn new() -> Self {
        let quiet = SensorReadings::QUIET;
        Self {
            meter_cover_open: false,
            terminal_cover_open: false,
            meter_cover_latched: false,
            terminal_cover_latched: false,
            surge_peak_volts: [0.0; 3],
            position: quiet.acceleration_milli_g.map(|axis| axis as f32 / 1000.0),
            knock: None,
            celsius: None,
            magnet: Magnet::default(),
            coil: Coil::default(),
            held: quiet.magnetic_field_microtesla.map(|axis| [axis as f32; 2]),
        }
    }

    pub(super) fn disturb(&mut self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::Cover(open) => {
                self.meter_cover_open = open;
                self.meter_cover_latched |= open;
            }
            Disturbance::TerminalCover(open) => {
                self.terminal_cover_open = open;
                self.terminal_cover_latched |= open;
            }
            Disturbance::Magnet { millitesla, seconds } => {
                let left = ((seconds * RATE) as u32).max(1);
                let now = self.magnet.now;
                self.magnet = Magnet {
                    now,
                    step: std::array::from_fn(|k| (millitesla[k] - now[k]) / left as f32),
                    target: millitesla,
                    left,
                };
            }
            Disturbance::AlternatingField { millitesla, hertz, turns } => {
                let (turns, turns_per_frame) = (f64::from(turns), f64::from(hertz / RATE));
                self.coil = Coil { millitesla, turns, turns_per_frame, frames: 0 };
                self.hold(self.coil.wave());
            }
            Disturbance::Position(position) => self.position = position,
            Disturbance::Knock { g, hertz } => self.knock = Some(Knock { g, hertz, frames: 0 }),
            Disturbance::Surge(peaks) => {
                for (held, peak) in self.surge_peak_volts.iter_mut().zip(peaks) {
                    *held = held.max(peak.abs());
                }
            }
            Disturbance::Temperature(celsius) => self.celsius = celsius,
            _ => {}
        }
    }

    /// After how many of these frames nothing but a coil's field moves.
    pub(super) fn frames_until_settled(&self, frames: usize) -> usize {
        frames.min(self.magnet.left as usize)
    }

    /// So many frames of time, one by one while a magnet moves; how near the magnet is then, 1 for a strong one on the
    /// case.
    pub(super) fn pass(&mut self, frames: u32) -> f32 {
        if self.magnet.left > 0 {
            let steps = frames.min(self.magnet.left);
            self.magnet.left -= steps;
            for k in 0..3 {
                self.magnet.now[k] += self.magnet.step[k] * steps as f32;
            }
            if self.magnet.left == 0 {
                self.magnet.now = self.magnet.target;
            }
        }
        if let Some(knock) = &mut self.knock {
            knock.frames += frames;
            if knock.frames as f32 > 10.0 * SHAKE_SECONDS * RATE {
                self.knock = None;
            }
        }
        if self.coil.millitesla != [0.0; 3] {
            let from = self.coil.angle();
            self.coil.frames += u64::from(frames);
            // The crest a quarter of a turn on, and the trough after three: also between two frames.
            let passed = |place: f64| (self.coil.angle() - place).floor() > (from - place).floor();
            let (crest, trough) = (passed(0.25), passed(0.75));
            for (wave, is_passed) in [(1.0, crest), (-1.0, trough)] {
                if is_passed {
                    self.hold(wave);
                }
            }
        }
        self.hold(self.coil.wave());
        let square: f32 = self.magnet.now.iter().map(|axis| axis * axis).sum();
        square.sqrt() / STRONG_MILLITESLA
    }

    /// Whether anything changes from frame to frame, or a magnet acts.
    pub(super) fn is_moving(&self) -> bool {
        self.magnet.left > 0
            || self.magnet.now != [0.0; 3]
            || self.coil.millitesla != [0.0; 3]
            || self.knock.is_some()
    }

    /// The field while the coil's is so many times its amplitude.
    fn field(&self, wave: f32) -> [f32; 3] {
        let earth = SensorReadings::QUIET.magnetic_field_microtesla;
        std::array::from_fn(|k| {
            earth[k] as f32 + 1000.0 * (self.magnet.now[k] + self.coil.millitesla[k] * wave)
        })
    }

    fn hold(&mut self, wave: f32) {
        let field = self.field(wave);
        for ([lowest, highest], now) in self.held.iter_mut().zip(field) {
            *lowest = lowest.min(now);
            *highest = highest.max(now);
        }
    }

    pub(super) fn read(&mut self, now: UnixMillis) -> SensorReadings {
        let wave = self.coil.wave();
        self.hold(wave);
        let field = self.field(wave);
        let swing = self.held.map(|[lowest, highest]| (highest - lowest) as u32);
        self.held = field.map(|axis| [axis; 2]);
        SensorReadings {
            magnetic_field_microtesla: field.map(|axis| axis as i32),
            magnetic_swing_microtesla: swing,
            acceleration_milli_g: self.acceleration(),
            meter_cover_open: self.meter_cover_open,
            terminal_cover_open: self.terminal_cover_open,
            meter_cover_latched: self.meter_cover_latched,
            terminal_cover_latched: self.terminal_cover_latched,
            surge_peak_millivolts: std::mem::take(&mut self.surge_peak_volts)
                .map(|volts| (volts * 1000.0) as u32),
            temperature_millikelvin: self.temperature_millikelvin(now),
        }
    }

    fn acceleration(&self) -> [i32; 3] {
        let shake = self.knock.map_or([0.0; 3], |knock| {
            let seconds = knock.frames as f32 / RATE;
            let swing =
                (-seconds / SHAKE_SECONDS).exp() * (f64::from(knock.hertz * seconds) * TAU).sin() as f32;
            knock.g.map(|axis| axis * swing)
        });
        std::array::from_fn(|k| ((self.position[k] + shake[k]) * 1000.0) as i32)
    }

    fn temperature_millikelvin(&self, now: UnixMillis) -> u32 {
        if let Some(celsius) = self.celsius {
            return ((celsius + 273.15) * 1000.0) as u32;
        }
        let day = now.0.rem_euclid(86_400_000) as f64 / 86_400_000.0;
        // Coldest at four in the morning, warmest at four in the afternoon.
        let kelvin_from_mean = -4.0 * (TAU * (day - 4.0 / 24.0)).cos();
        SensorReadings::QUIET
            .temperature_millikelvin
            .saturating_add_signed((kelvin_from_mean * 1000.0) as i32)
    }

    pub(super) fn reset_latches(&mut self) {
        self.meter_cover_latched = false;
        self.terminal_cover_latched = false;
    }
}

/// The field of a magnet that takes as much of a transformer's permeability as a magnet can, millitesla.
const STRONG_MILLITESLA: f32 = 386.8;
