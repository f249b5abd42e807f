//! What people, grid and weather do to a meter's place, with all its strengths: [`Disturbance`]. Some of it reaches the
//! meter's terminals (`terminals`), some its sensors (`sensors`), some both.

mod disturbance;
mod sensors;
mod terminals;

pub use disturbance::Disturbance;

use super::Analogue;
use crate::random::Random;
use meterseal_model::{SensorReadings, Stimulus, UnixMillis};
use sensors::Sensors;
use terminals::Terminals;

/// Everything around the meter.
pub(super) struct Surroundings {
    sensors: Sensors,
    terminals: Terminals,
    /// The next frame needs more than what the site itself makes.
    busy: bool,
    random: Random,
}

impl Surroundings {
    pub(super) fn new(random: Random) -> Self {
        Self { sensors: Sensors::new(), terminals: Terminals::new(), busy: false, random }
    }

    /// What a stimulus means at this place.
    pub(super) fn apply(&mut self, stimulus: Stimulus) {
        // A stimulus strikes one phase; which is chance, but its end finds it again.
        let struck = (self.random.next() % 3) as usize;
        let of_stimulus = disturbance::of_stimulus(stimulus, struck);
        of_stimulus.into_iter().for_each(|disturbance| self.disturb(disturbance));
    }

    pub(super) fn disturb(&mut self, disturbance: Disturbance) {
        self.sensors.disturb(disturbance);
        self.terminals.disturb(disturbance);
        self.busy = true;
    }

    /// Passes frames.
    #[inline]
    pub(super) fn act_on(&mut self, frames: &mut [Analogue]) {
        if self.busy {
            self.act(frames);
        }
    }

    #[cold]
    fn act(&mut self, frames: &mut [Analogue]) {
        let (changing, settled) = frames.split_at_mut(self.sensors.frames_until_settled(frames.len()));
        for frame in changing {
            let magnet = self.sensors.pass(1);
            self.terminals.act_on(core::slice::from_mut(frame), magnet);
        }
        let magnet = self.sensors.pass(settled.len() as u32);
        self.terminals.act_on(settled, magnet);
        self.busy = self.sensors.is_moving() || self.terminals.is_busy();
    }

    pub(super) fn feeds_meter(&self) -> bool {
        self.terminals.feeds_meter()
    }

    /// What the sensors say now; what they hold begins anew.
    pub(super) fn read(&mut self, now: UnixMillis) -> SensorReadings {
        self.sensors.read(now)
    }

    pub(super) fn reset_latches(&mut self) {
        self.sensors.reset_latches();
    }
}
