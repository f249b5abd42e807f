//! The core itself: frames in, windows and energy out.

mod corrected;
mod record;

use crate::{
    CalibrationState, Config, ConfigError, Event, EventSettings, Extras, Frame, HarmonicAnalysis, Harmonics,
    MeteredEnergy, Pulse, Registers, Started, Unregistered, VOLTAGES, Window,
    accumulate::{Accumulator, Means, Place, energies},
    boundary::Boundary,
    calibration::Correction,
    continuity::Numbering,
    energy::{Account, Raw},
    events::Detector,
    harmonics::{Completed, Outlet, Share},
    kernel::{Kernel, QUANTITIES, VI, phase},
    pulses::Pulses,
    slot::{EDGE, Halves, Slot},
    tracker::{Advance, Tracker, voltage_stepped},
};

/// The metrology core of one meter: of fixed size, without a heap, and the same to the bit however its input is cut into blocks.
///
/// Every frame counts exactly once in the energy registers. A boundary between two slots is booked one cycle after it passed, so active and reactive
/// energy are at most two cycles behind the samples, and apparent energy, which needs a window's RMS values, one window more. The first half cycle
/// waits until a cycle's active energy outweighs it in every phase, so that a purely reactive load books neither import nor export; after
/// [`finish`](Self::finish) nothing waits.
///
/// A core that starts without a known [`Period`](crate::Period) finds the supply's within four cycles, and begins its first window then.
#[derive(Clone, Debug)]
pub struct Metrology {
    config: Config,
    kernel: Kernel,
    account: Account,
    pulses: Pulses,
    events: Option<Detector>,
    tracker: Tracker,
    slot: Slot,
    /// Where the present slot begins: samples with 20 fractional bits.
    slot_start: u128,
    /// The whole slot before the present one.
    previous: Option<Halves>,
    /// The last boundary, and what followed from it.
    last: Option<Last>,
    window: Accumulator,
    /// Twice the weight for which no apparent energy has been booked yet: the first slot's first half, and what came before the first window.
    unbooked: u64,
    /// Whether a sag, swell or interruption went on in the last slot, and in the one before.
    flagged: [bool; 2],
    /// Where the window begins: samples with 20 fractional bits.
    window_start: u128,
    /// Whether a first window has been completed.
    started: bool,
    samples: u64,
    clipped_samples: u64,
    calibration: CalibrationState,
    correction: Option<Correction>,
    /// Frames for which a clipped one is still within the correction's reach.
    clipped_reach: usize,
    pub(crate) numbering: Numbering,
}

#[derive(Clone, Debug)]
struct Last {
    boundary: Boundary,
    /// Apparent powers of the last whole window, counts squared with 32 fractional bits.
    apparent: [i128; VOLTAGES],
}

impl Metrology {
    /// A core that goes on from `registers`.
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn new(config: Config, registers: Registers) -> Result<Self, ConfigError> {
        Self::with_extras(config, Extras::default(), registers)
    }

    /// The same with calibration and whatever else [`Extras`] has.
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn with_extras(config: Config, extras: Extras, registers: Registers) -> Result<Self, ConfigError> {
        config.check()?;
        extras.check(&config)?;
        let (calibration, correction) = match extras.calibration {
            None => (CalibrationState::Missing, None),
            Some(record) => match record.and_then(|record| record.check().map(|()| record)) {
                Ok(record) => {
                    let correction = Correction::new(record, &config);
                    let extrapolated = correction.is_extrapolated();
                    (CalibrationState::Valid { extrapolated }, Some(correction))
                }
                Err(error) => (CalibrationState::Refused(error), None),
            },
        };
        let tracker = Tracker::new(&config);
        let mut metrology = Self {
            account: Account::new(&config, extras.thresholds, registers),
            pulses: Pulses::new(extras.pulses, &registers),
            events: None,
            slot: Slot::new(config.start_period().to_bits() >> 12, 0),
            tracker,
            slot_start: 0,
            previous: None,
            last: None,
            window: Accumulator::default(),
            unbooked: 0,
            flagged: [false; 2],
            window_start: 0,
            started: false,
            samples: 0,
            clipped_samples: 0,
            calibration,
            correction,
            clipped_reach: 0,
            kernel: extras.kernel,
            numbering: Numbering::default(),
            config,
        };
        let rate = config.sample_rate_microhertz;
        metrology.events = extras.events.map(|settings| Detector::new(settings, config.scale, rate));
        metrology.slot = metrology.first_slot();
        Ok(metrology)
    }

    /// Measures a block of frames of any length, and hands each window that it completes to `on_window`. Counts beyond full scale are clamped to
    /// it; frames with a count at or beyond full scale are counted and mark their window.
    pub fn push(&mut self, frames: &[Frame], on_window: &mut dyn FnMut(&Window)) {
        self.push_to(frames, &mut Outlet { on_window: &mut |window, _| on_window(window), analysis: None });
    }

    /// [`push`](Self::push), and each window with its harmonics. `None` where a window is shorter than the others, or where frames in it were pushed
    /// without `analysis`.
    pub fn push_with_harmonics(
        &mut self,
        frames: &[Frame],
        analysis: &mut HarmonicAnalysis,
        on_window: &mut dyn FnMut(&Window, Option<&Harmonics>),
    ) {
        self.push_to(frames, &mut Outlet { on_window, analysis: Some(analysis) });
    }

    fn push_to(&mut self, frames: &[Frame], outlet: &mut Outlet<'_>) {
        for block in frames.chunks(LOOKED_OVER) {
            let whole = !(self.kernel.any_clipped)(block);
            if self.correction.is_some() {
                self.correct(block, whole, outlet);
            } else if whole {
                self.run(block, false, outlet);
            } else {
                for frame in block {
                    let clipped = frame.is_clipped();
                    self.clipped_samples += u64::from(clipped);
                    self.run(&[frame.clamped()], clipped, outlet);
                }
            }
        }
    }

    /// Books energy that a front end has metered itself, L1 to L3: direction is decided on what is handed over at once,
    /// so hand over a window's at a time. For such a front end in place of [`push`](Self::push), not beside it: start
    /// and creep thresholds are the front end's, and pulse outputs too.
    pub fn book(&mut self, phases: &[MeteredEnergy; VOLTAGES]) {
        self.account.book_metered(phases);
    }

    /// The energy registers.
    pub fn registers(&self) -> &Registers {
        &self.account.registers
    }

    /// Which phases register energy at present.
    pub fn started(&self) -> Started {
        self.account.started()
    }

    /// What was not registered because it was below the thresholds.
    pub fn unregistered(&self) -> Unregistered {
        self.account.unregistered()
    }

    /// Gives out the pulses of the windows completed since the last call, each output's in the order of time. Called less often than every fourth
    /// window, pulses come later, and none is lost.
    pub fn take_pulses(&mut self, on_pulse: &mut dyn FnMut(Pulse)) {
        self.pulses.take(on_pulse);
    }

    /// The oldest start or end of an event that has not been taken yet. There is room for 46; with more, new ones are lost and counted.
    pub fn take_event(&mut self) -> Option<Event> {
        self.events.as_mut()?.queue.take()
    }

    /// Watches with other thresholds from the next look on. What goes on stays until it is over by these. Without settings at the start nothing is
    /// watched, and nothing is changed.
    ///
    /// # Errors
    /// A threshold out of its range; nothing is changed then.
    pub fn set_event_settings(&mut self, settings: EventSettings) -> Result<(), ConfigError> {
        settings.check()?;
        if let Some(events) = &mut self.events {
            events.follow(settings);
        }
        Ok(())
    }

    /// Starts and ends of events for which there was no room.
    pub fn lost_events(&self) -> u64 {
        self.events.as_ref().map_or(0, |events| events.queue.lost())
    }

    /// Frames pushed so far.
    pub fn samples(&self) -> u64 {
        let held = self.correction.as_ref().map_or(0, |correction| correction.conditioner.held());
        self.samples + held as u64
    }

    /// Frames pushed so far in which a count was at or beyond full scale.
    pub fn clipped_samples(&self) -> u64 {
        self.clipped_samples
    }

    fn run(&mut self, mut frames: &[Frame], clipped: bool, outlet: &mut Outlet<'_>) {
        while !frames.is_empty() {
            let taken = self.take(frames, clipped, outlet);
            if taken > 0 {
                frames = &frames[taken..];
                if self.slot.is_complete() {
                    self.next_slot(None, false, outlet);
                }
            } else {
                // The cell that the edge cuts belongs to both slots.
                self.next_slot(frames.first(), clipped, outlet);
                self.take(&frames[..1], clipped, outlet);
                frames = &frames[1..];
            }
        }
    }

    /// Gives the slot what it takes.
    fn take(&mut self, frames: &[Frame], clipped: bool, outlet: &mut Outlet<'_>) -> usize {
        let begins = self.slot.filled() == 0;
        let middle = self.slot.until_middle(frames.len());
        let taken = self.slot.take(frames, clipped);
        if taken > 0 {
            outlet.expect(self.samples);
            if begins {
                outlet.open(self.share(), self.slot.length(), self.slot.filled());
            }
            outlet.pass(&frames[..taken]);
        }
        if self.events.is_some() {
            self.watch(&frames[..taken], middle);
        }
        self.samples += taken as u64;
        taken
    }

    /// Shows frames to the detector, and the slot's first half as soon as its last frame, number `middle` of these, has come: half a cycle before the
    /// slot is whole, and in the same order however frames are cut into blocks.
    fn watch(&mut self, frames: &[Frame], middle: Option<usize>) {
        let Some(events) = &mut self.events else { return };
        let (before, behind) = frames.split_at(middle.unwrap_or(0).min(frames.len()));
        events.pass_samples(before, self.samples);
        if let Some((mut squares, length)) = self.slot.first_half().filter(|_| !before.is_empty()) {
            if let Some(correction) = &self.correction {
                correction.correct_first_half(&mut squares);
            }
            events.pass_half_cycle(squares, self.slot_start, length);
        }
        events.pass_samples(behind, self.samples + before.len() as u64);
    }

    fn next_slot(&mut self, last: Option<&Frame>, clipped: bool, outlet: &mut Outlet<'_>) {
        let mut halves = self.slot.close(last, clipped);
        outlet.close(last);
        if let Some(correction) = &self.correction {
            correction.correct(&mut halves);
        }
        // Before the boundary, whose window they mark.
        if let (Some(events), Some(first)) = (&mut self.events, halves.first_half) {
            let squares = halves.squares();
            let length = halves.length / 2;
            let second = core::array::from_fn(|channel| squares[channel] - first[channel]);
            let middle = self.slot_start + u128::from(length);
            events.pass_half_cycle(second, middle, halves.length - length);
            events.pass_cycle(&halves, self.slot_start);
            self.flagged = [events.take_flag(), self.flagged[0]];
        }
        match &self.previous {
            None => {
                self.account.hold_start(products(&halves.down));
                self.unbooked = halves.length;
                self.window_start = self.slot_start + u128::from(halves.length / 2);
            }
            Some(previous) => {
                let sums = core::array::from_fn(|n| previous.up[n] + halves.down[n]);
                let lengths = [previous.length, halves.length];
                let clipped = previous.clipped || halves.clipped;
                let boundary = Boundary::new(&sums, previous.length + halves.length, clipped);
                self.pass_boundary(boundary, lengths, outlet);
            }
        }
        if let Some(correction) = &mut self.correction {
            correction.pass_edge(self.last.as_ref().map(|last| &last.boundary), halves.length);
        }
        self.slot_start += u128::from(halves.length);
        self.slot.follow(self.tracker.next_length());
        self.previous = Some(halves);
    }

    /// Takes the boundary between two neighbouring slots of these lengths.
    fn pass_boundary(&mut self, boundary: Boundary, [earlier, later]: [u64; 2], outlet: &mut Outlet<'_>) {
        if let Some(events) = &mut self.events {
            events.pass_boundary(&boundary, self.slot_start - u128::from(earlier));
        }
        let last = self.last.as_ref();
        let advance = last.and_then(|last| Advance::between(&last.boundary, &boundary, earlier));
        let mut disturbed = last.is_some_and(|last| voltage_stepped(&last.boundary, &boundary));
        if let Some(advance) = advance {
            disturbed |= self.tracker.follow(advance);
        } else if !boundary.has_voltage.contains(&true) {
            self.tracker.lose();
        }
        outlet.follow(advance, later);
        // The first boundary also stands for the half slot before it.
        let before = if last.is_none() { earlier } else { 0 };
        let mut apparent = last.map_or([0; VOLTAGES], |last| last.apparent);
        self.account.book(boundary.products, boundary.reactive(), boundary.twice_weight, before);
        // The advance to the first window's first boundary began before the window.
        let counts = self.started || self.window.cycles() > 0;
        self.window.add(&boundary, advance.filter(|_| counts));
        if disturbed || self.flagged.contains(&true) {
            self.window.disturb();
        }
        if self.window.cycles() == self.config.window_cycles {
            let means = self.book_apparent(0);
            apparent = means.apparents();
            let end = self.slot_start + u128::from(later / 2);
            let period = ((end - self.window_start) / u128::from(self.config.window_cycles)) as u64;
            let reference = self.window.reference();
            let window = self.take_window(&means, self.config.window_cycles, end);
            let (scale, correction) = (&self.config.scale, self.correction.as_ref());
            outlet.window(&window, &Completed { period, reference, scale, correction });
            self.started = true;
        } else if !self.started && self.tracker.is_settling() {
            // Slots of the wrong length so far: the first window begins anew, apparent energy does not.
            apparent = self.window.means().apparents();
            self.unbooked += self.window.twice_weight();
            self.window = Accumulator::default();
            self.window_start = self.slot_start + u128::from(later / 2);
            outlet.restart();
        }
        self.last = Some(Last { boundary, apparent });
    }

    /// How the samples of the present slot count for windows: the last one of a window is the first one of the next.
    fn share(&self) -> Share {
        if self.previous.is_none() {
            Share::Rising
        } else if self.window.cycles() + 1 == self.config.window_cycles {
            Share::Shared
        } else if !self.started && self.tracker.is_settling() {
            Share::Doubtful
        } else {
            Share::Whole
        }
    }

    /// Books the window's apparent energy, over its own weight, what was not booked before it, and `more`; returns the means it follows from.
    fn book_apparent(&mut self, more: u64) -> Means {
        let means = self.window.means();
        let weight = self.window.twice_weight() + core::mem::take(&mut self.unbooked) + more;
        self.account.book_apparent(energies(means.apparents(), weight));
        means
    }

    /// The quantities of the window with these means that ends at `end`, in samples with 20 fractional bits; the next one begins there.
    fn take_window(&mut self, means: &Means, cycles: u16, end: u128) -> Window {
        let sample = |position: u128| (position >> EDGE) as u64;
        let start = core::mem::replace(&mut self.window_start, end);
        self.pulses.pass_window(&self.account.registers, end, (end - start) as u64);
        let place = Place { first_sample: sample(start), samples: sample(end) - sample(start), cycles };
        let Config { scale, sample_rate_microhertz, .. } = &self.config;
        core::mem::take(&mut self.window).window(means, place, scale, *sample_rate_microhertz)
    }

    /// The first slot of a record.
    fn first_slot(&mut self) -> Slot {
        let mut slot = Slot::new(self.tracker.next_length(), 0).with_kernel(self.kernel);
        if self.events.is_some() {
            slot.watch_halves();
        }
        slot
    }

    /// The state before a first sample.
    fn begin(&mut self) {
        self.slot = self.first_slot();
        if let Some(events) = &mut self.events {
            events.begin();
        }
        self.slot_start = u128::from(self.samples) << EDGE;
        self.window_start = self.slot_start;
        self.previous = None;
        self.last = None;
        self.window = Accumulator::default();
        self.unbooked = 0;
        self.flagged = [false; 2];
        self.started = false;
    }
}

/// How many frames are looked over for clipped ones at once: few enough to stay in a cache until they are summed up.
const LOOKED_OVER: usize = 1024;

fn products(sums: &[i128; QUANTITIES]) -> Raw {
    core::array::from_fn(|number| sums[phase(number) + VI])
}

#[cfg(test)]
impl Metrology {
    /// Active energy of a phase below the thresholds, in raw units.
    pub(crate) fn unregistered_raw(&self, number: usize) -> i128 {
        self.account.unregistered_raw(number)
    }

    /// Raw units in a quantum of a phase.
    pub(crate) fn quantum(&self, number: usize) -> i128 {
        self.account.divisor(number)
    }
}
