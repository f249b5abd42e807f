//! What is between the bench's terminals and the meter: the unit's transducers and converter, and its sensors.

use meterseal_metrology::Frame;
use meterseal_model::SensorReadings;
use meterseal_world::physics::{LoadPoint, SAMPLE_RATE_HZ, Signal, Unit};
use meterseal_world::site::FrontEnd as Range;

use crate::certify::Stimulus;
use crate::rig::millikelvin;

/// The unit with its sensors, at a load, in the chamber.
pub(super) struct FrontEnd {
    unit: Unit,
    ambient: f64,
    load: LoadPoint,
    signal: Signal,
    seconds: f64,
    /// A surge that is on the line, and how many frames old it is.
    surge: Option<([f64; 3], u32)>,
    readings: SensorReadings,
    magnet: [f64; 3],
    coil: [f64; 3],
}

/// A field of 50 Hz turns so much in a reading of 4 ms.
const TURNS_PER_READING: f64 = 0.05 * SensorReadings::PERIOD_MS as f64;
/// Time constant of a 1.2/50 µs impulse's tail: 50 µs / ln 2.
const TAIL_SECONDS: f64 = 72.1e-6;
/// After so many frames nothing of a surge is left.
const SURGE_FRAMES: u32 = 16;
/// The case keeps its temperature's course between two of its steps, seconds.
const WARMTH_SECONDS: f64 = 10.0;

impl FrontEnd {
    pub(super) fn new(mut unit: Unit, load: LoadPoint) -> Self {
        unit.set_noise(true);
        let ambient = 23.0;
        unit.settle(ambient, &load);
        let signal = unit.signal(&load, 0.0);
        Self {
            unit,
            ambient,
            load,
            signal,
            seconds: 0.0,
            surge: None,
            readings: SensorReadings::QUIET,
            magnet: [0.0; 3],
            coil: [0.0; 3],
        }
    }

    pub(super) fn load(&mut self, load: &LoadPoint, turns: f64) {
        self.load = load.clone();
        self.signal = self.unit.signal(load, turns);
    }

    pub(super) fn ambient(&mut self, celsius: f64) {
        self.ambient = celsius;
        self.unit.settle(celsius, &self.load);
        self.renew();
    }

    /// The lines of the load's spectrum as the unit now is.
    fn renew(&mut self) {
        self.signal = self.unit.signal(&self.load, self.signal.turns());
    }

    pub(super) fn stimulate(&mut self, stimulus: Stimulus) {
        let length = |vector: [f64; 3]| vector.iter().map(|axis| axis * axis).sum::<f64>().sqrt();
        match stimulus {
            Stimulus::Cover(open) => {
                self.readings.meter_cover_open = open;
                self.readings.meter_cover_latched |= open;
            }
            Stimulus::TerminalCover(open) => {
                self.readings.terminal_cover_open = open;
                self.readings.terminal_cover_latched |= open;
            }
            Stimulus::Magnet(field) => {
                self.magnet = field;
                self.unit.set_magnet(length(field));
                self.renew();
            }
            Stimulus::AlternatingField(field) => {
                self.coil = field;
                // The unit takes the effective value.
                self.unit.set_alternating_field(length(field) / std::f64::consts::SQRT_2);
                self.renew();
            }
            Stimulus::Position(position) => {
                self.readings.acceleration_milli_g = position.map(|axis| (axis * 1000.0) as i32);
            }
            Stimulus::Surge(peaks) => {
                self.surge = Some((peaks, 0));
                for (held, peak) in self.readings.surge_peak_millivolts.iter_mut().zip(peaks) {
                    *held = (*held).max((peak.abs() * 1000.0) as u32);
                }
            }
        }
    }

    /// True time since the beginning.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// True seconds from frame to frame.
    pub(super) fn seconds_per_frame(&self) -> f64 {
        self.signal.seconds_per_frame()
    }

    /// The next frames. The load's heat acts between calls.
    pub(super) fn frames(&mut self, out: &mut [Frame]) {
        self.signal.fill(out);
        self.surge(out);
        self.seconds += out.len() as f64 * self.seconds_per_frame();
    }

    /// Adds to each sample the mean of a surge over it, which is what a sigma-delta converter sees.
    fn surge(&mut self, out: &mut [Frame]) {
        let Some((peaks, age)) = &mut self.surge else { return };
        let interval = 1.0 / SAMPLE_RATE_HZ;
        let left = |seconds: f64| (-seconds / TAIL_SECONDS).exp();
        for frame in out {
            let from = f64::from(*age) * interval;
            let mean = (left(from) - left(from + interval)) * TAIL_SECONDS / interval;
            for (counts, peak) in frame.voltage.iter_mut().zip(*peaks) {
                let volts = peak * mean;
                let more = volts / Range::VOLTS_FULL_SCALE * f64::from(Frame::FULL_SCALE);
                let sum = f64::from(*counts) + more;
                *counts = sum.clamp(-f64::from(Frame::FULL_SCALE), f64::from(Frame::FULL_SCALE)) as i32;
            }
            *age += 1;
        }
        if *age >= SURGE_FRAMES {
            self.surge = None;
        }
    }

    /// `seconds` of the load's heat have acted.
    pub(super) fn warm(&mut self, seconds: f64) {
        self.unit.pass(seconds, self.ambient, &self.load);
        self.renew();
    }

    /// Frames after which the heat acts at the latest.
    pub(super) const fn frames_between_steps_of_warmth() -> u64 {
        (WARMTH_SECONDS * SAMPLE_RATE_HZ) as u64
    }

    /// What the sensors say. `reading` counts them.
    pub(super) fn sensors(&mut self, reading: u64) -> SensorReadings {
        let mut readings = self.readings;
        readings.temperature_millikelvin = millikelvin(self.unit.thermometer_celsius());
        let turns = |reading: u64| (reading as f64 * TURNS_PER_READING).fract();
        let wave = |turns: f64| (std::f64::consts::TAU * turns).sin();
        for axis in 0..3 {
            let still =
                SensorReadings::QUIET.magnetic_field_microtesla[axis] as f64 + 1000.0 * self.magnet[axis];
            let field = still + 1000.0 * self.coil[axis] * wave(turns(reading));
            readings.magnetic_field_microtesla[axis] = field as i32;
            if self.coil[axis] != 0.0 {
                // In steps of a sixteenth of a reading since the one before.
                let course = (0..=16)
                    .map(|step| wave(turns(reading) - TURNS_PER_READING * (1.0 - f64::from(step) / 16.0)));
                let (low, high) = course.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                    (low.min(value), high.max(value))
                });
                readings.magnetic_swing_microtesla[axis] =
                    (1000.0 * self.coil[axis].abs() * (high - low)) as u32;
            }
        }
        self.readings.surge_peak_millivolts = [0; 3];
        readings
    }

    /// The meter has taken note of the covers' latches.
    pub(super) fn reset_latches(&mut self) {
        self.readings.meter_cover_latched = false;
        self.readings.terminal_cover_latched = false;
    }
}
