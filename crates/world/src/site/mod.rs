//! A virtual meter's place: grid, loads, front end and sensors, sample by sample of site time.
//!
//! The reference meter is 3 × 230/400 V, Imax 100 A, sampled at 8 kS/s. The same seed gives the same frames,
//! whatever the size of the blocks in which they are taken. Cost: nine ramped phasors a frame, each in four lanes, and a
//! row of noise from a table; loads and grid move once in 100 ms.
//! Measured: 16 million frames a second on one core (`examples/site_speed.rs`), 2 000 times real time.

mod commercial;
#[cfg(test)]
mod day_tests;
mod factory;
mod front_end;
mod grid;
mod home;
mod life;
mod load;
mod replay;
mod surroundings;
mod synthesis;

pub use front_end::FrontEnd;
pub use life::{Happening, NormalLife};
pub use replay::ReplayError;
pub use surroundings::Disturbance;

use crate::comtrade::Recording;
use crate::random::Random;
use meterseal_metrology::{Frame, Scale};
use meterseal_model::{SensorReadings, Stimulus, UnixMillis};
use surroundings::Surroundings;
use synthesis::Synthesis;

/// Which place to simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SiteKind {
    /// Motors that start and stop, six-pulse drives: tens of kilowatts at a power factor about 0.85.
    Factory,
    /// A house with appliances on single phases, a PV inverter and a battery: imports and exports.
    HomeSolar,
    /// An office building: lighting and air conditioning by office hours, servers always.
    Commercial,
}

/// A place with a meter's front end in it.
pub struct Site {
    source: Source,
    front_end: FrontEnd,
    surroundings: Surroundings,
    start: UnixMillis,
    frames: u64,
    /// Whether the meter's relay lets current through.
    supplied: bool,
}

/// Where the waveforms come from.
enum Source {
    Synthetic(Box<Synthesis>),
    Replay(replay::Loop),
}

impl Site {
    /// Frames per second of site time.
    pub const SAMPLE_RATE: u32 = 8000;

    /// A synthetic site. `start` is site time: its time of day (UTC taken as local solar time) drives sun and
    /// people.
    pub fn new(kind: SiteKind, seed: u64, start: UnixMillis) -> Self {
        let load: Box<dyn load::Load> = match kind {
            SiteKind::Factory => Box::new(factory::Factory::new()),
            SiteKind::HomeSolar => Box::new(home::Home::new()),
            SiteKind::Commercial => Box::new(commercial::Commercial::new()),
        };
        let source = Source::Synthetic(Box::new(Synthesis::new(load, seed, start)));
        Self::with_source(source, FrontEnd::reference(seed), seed, start)
    }

    /// A site that plays a recording in a loop of whole supply cycles, resampled to [`Self::SAMPLE_RATE`]. Values
    /// are those that `meterseal measure` shows; where they exceed the reference meter's range the front end has
    /// instrument transformers and a larger full scale ([`Self::scale`] tells).
    pub fn replay(
        recording: &Recording,
        map: Option<&str>,
        seed: u64,
        start: UnixMillis,
    ) -> Result<Self, ReplayError> {
        let (record, volts, amperes) = replay::Loop::load(recording, map)?;
        let front_end = FrontEnd::with_full_scale(volts, amperes, seed);
        Ok(Self::with_source(Source::Replay(record), front_end, seed, start))
    }

    fn with_source(source: Source, front_end: FrontEnd, seed: u64, start: UnixMillis) -> Self {
        let surroundings = Surroundings::new(Random::new(seed ^ 0x5E45_0125));
        Self { source, front_end, surroundings, start, frames: 0, supplied: true }
    }

    /// The front end through which the frames of this site went.
    pub fn front_end(&self) -> &FrontEnd {
        &self.front_end
    }

    /// What one count of this site's frames is worth.
    pub fn scale(&self) -> Scale {
        self.front_end.scale()
    }

    /// Fills `out` with the next consecutive frames of site time.
    pub fn frames(&mut self, out: &mut [Frame]) {
        let mut analogue = [Analogue::default(); synthesis::BLOCK];
        let mut left = &mut *out;
        while !left.is_empty() {
            let most = left.len().min(analogue.len());
            let count = match &mut self.source {
                Source::Synthetic(synthesis) => {
                    let made = synthesis.take(most);
                    analogue[..made.len()].copy_from_slice(made);
                    made.len()
                }
                Source::Replay(record) => {
                    analogue[..most].iter_mut().for_each(|frame| *frame = record.next());
                    most
                }
            };
            let analogue = &mut analogue[..count];
            if !self.supplied {
                analogue.iter_mut().for_each(|frame| frame.amps = [0.0; 4]);
            }
            self.surroundings.act_on(analogue);
            let (now, later) = left.split_at_mut(count);
            self.front_end.convert(analogue, now);
            left = later;
        }
        self.frames += out.len() as u64;
    }

    /// What the sensors say now. Reading resets the surge detector's peak hold.
    pub fn sensors(&mut self) -> SensorReadings {
        self.surroundings.read(self.now())
    }

    /// Does something to the site; the meter must notice it through frames and sensors.
    pub fn apply(&mut self, stimulus: Stimulus) {
        self.surroundings.apply(stimulus);
    }

    /// The same with any strength.
    pub fn disturb(&mut self, disturbance: Disturbance) {
        if let Disturbance::Temperature(celsius) = disturbance {
            self.front_end.set_celsius(celsius.unwrap_or(FrontEnd::CALIBRATED_CELSIUS));
        }
        self.surroundings.disturb(disturbance);
    }

    /// Resets the covers' latches, as a device does once its meter has taken note of a reading.
    pub fn reset_latches(&mut self) {
        self.surroundings.reset_latches();
    }

    /// Opens or closes the supply's relay, which is behind the meter's terminals: without it the voltages stay and no
    /// current flows. The loads live on and find their supply again.
    pub fn set_supply(&mut self, connected: bool) {
        self.supplied = connected;
    }

    /// Whether a phase's voltage, as the grid gives it, feeds the meter's own supply: one that works from any of them, down to
    /// half of what it is.
    pub fn feeds_meter(&self) -> bool {
        self.surroundings.feeds_meter()
    }

    /// Site time: the instant of the next frame, rounded down to a millisecond.
    pub fn now(&self) -> UnixMillis {
        let elapsed = self.frames / (u64::from(Self::SAMPLE_RATE) / 1000);
        UnixMillis(self.start.0.saturating_add_unsigned(elapsed))
    }
}

/// What is at the front end's terminals at one instant, volts and amperes.
#[derive(Clone, Copy, Debug, Default)]
struct Analogue {
    /// L1, L2, L3 to neutral; the fourth lane is not used.
    volts: [f32; 4],
    /// L1, L2, L3 and neutral.
    amps: [f32; 4],
}
