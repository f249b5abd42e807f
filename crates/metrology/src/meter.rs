//! The core itself: frames in, windows and energy out.

use crate::{
    Calibration, CalibrationState, Config, ConfigError, Extras, Frame, Pulse, Registers, Started,
    Unregistered, VOLTAGES, Window,
    accumulate::{Accumulator, Place, energies},
    boundary::Boundary,
    calibration::Correction,
    delay::HISTORY,
    energy::{Account, Raw},
    kernel::{BLOCK, QUANTITIES, VI, phase},
    pulses::Pulses,
    slot::{EDGE, Halves, Slot},
    tracker::{Advance, Tracker},
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
    account: Account,
    pulses: Pulses,
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
        let mut tracker = Tracker::new(&config);
        Ok(Self {
            account: Account::new(&config, extras.thresholds, registers),
            pulses: Pulses::new(extras.pulses, &registers),
            slot: Slot::new(tracker.next_length(), 0),
            tracker,
            slot_start: 0,
            previous: None,
            last: None,
            window: Accumulator::default(),
            unbooked: 0,
            window_start: 0,
            started: false,
            samples: 0,
            clipped_samples: 0,
            calibration,
            correction,
            clipped_reach: 0,
            config,
        })
    }

    /// Measures a block of frames of any length, and hands each window that it completes to `on_window`. Counts beyond full scale are clamped to
    /// it; frames with a count at or beyond full scale are counted and mark their window.
    pub fn push(&mut self, frames: &[Frame], on_window: &mut dyn FnMut(&Window)) {
        for block in frames.chunks(BLOCK) {
            let whole = peak(block) < FULL_SCALE;
            if self.correction.is_some() {
                self.correct(block, whole, on_window);
            } else if whole {
                self.run(block, false, on_window);
            } else {
                for frame in block {
                    let clipped = frame.peak() >= FULL_SCALE;
                    self.clipped_samples += u64::from(clipped);
                    self.run(&[frame.clamped()], clipped, on_window);
                }
            }
        }
    }

    /// Takes the temperature of the unit's front end. The calibration's coefficients follow it from the next supply cycle on; until the first call
    /// they are those of the record's reference temperature.
    ///
    /// # Errors
    /// A temperature outside 200 to 400 K, which no unit survives: a broken thermometer. The one before stays.
    pub fn set_temperature(&mut self, millikelvin: u32) -> Result<(), ConfigError> {
        let (min, max) = (Calibration::TEMPERATURE_MIN_MILLIKELVIN, Calibration::TEMPERATURE_MAX_MILLIKELVIN);
        if !(min..=max).contains(&millikelvin) {
            let [value, min, max] = [millikelvin, min, max].map(u64::from);
            return Err(ConfigError { field: "temperature_millikelvin", value, min, max });
        }
        if let Some(correction) = &mut self.correction {
            correction.set_temperature(millikelvin);
            self.calibration = CalibrationState::Valid { extrapolated: correction.is_extrapolated() };
        }
        Ok(())
    }

    /// Whether there is a calibration record, and if not, why.
    pub fn calibration_state(&self) -> CalibrationState {
        self.calibration
    }

    /// Ends a record: what is still in the last slot goes into energy, so that every sample has counted. Gives the last, shorter window if at least
    /// one boundary came after the last whole one; a record too short for a boundary (less than two cycles) gives a window over what there is:
    /// over its one whole cycle, or, below one cycle, RMS values and active power over all samples and no fundamental.
    ///
    /// Frames pushed afterwards start a new first slot: the state after a gap.
    pub fn finish(&mut self) -> Option<Window> {
        let early = self.finish_correction();
        let rest = self.slot.filled();
        let mut partial = self.slot.partial();
        if let Some(correction) = &self.correction {
            correction.correct_sums(&mut partial, rest);
        }
        let window = match (self.last.take(), self.previous.take()) {
            (Some(last), Some(previous)) => self.finish_record(&last, &previous, &partial, rest),
            (_, Some(only)) => {
                let whole = core::array::from_fn(|n| only.down[n] + only.up[n]);
                let boundary = Boundary::new(&whole, 2 * only.length, only.clipped);
                // The first half waits in the account already.
                let left = core::array::from_fn(|n| only.up[n] + partial[n]);
                self.window_start = self.slot_start - u128::from(only.length);
                Some(self.finish_short(&boundary, 1, &left, 2 * (only.length + rest)))
            }
            _ if rest == 0 => None,
            _ => {
                let clipped = self.slot.clipped();
                let boundary = Boundary::without_fundamental(&partial, 2 * rest, clipped);
                Some(self.finish_short(&boundary, 0, &partial, 2 * rest))
            }
        };
        // What no window was left to take.
        let end = u128::from(self.samples) << EDGE;
        self.pulses.pass_window(&self.account.registers, end, self.slot.length());
        self.begin();
        window.or(early)
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

    /// Frames pushed so far.
    pub fn samples(&self) -> u64 {
        let held = self.correction.as_ref().map_or(0, |correction| correction.conditioner.held());
        self.samples + held as u64
    }

    /// Frames pushed so far in which a count was at or beyond full scale.
    pub fn clipped_samples(&self) -> u64 {
        self.clipped_samples
    }

    /// The way through offsets and delays. A piece never goes beyond the slot's end, where coefficients may change; around clipped frames and
    /// corrected counts beyond full scale a piece is one frame, so that block sizes change nothing.
    fn correct(&mut self, mut frames: &[Frame], whole: bool, on_window: &mut dyn FnMut(&Window)) {
        let mut out = [Frame::default(); BLOCK];
        while let Some(first) = frames.first() {
            let single = !whole || self.clipped_reach > 0;
            let length = if single { 1 } else { self.slot.missing().min(frames.len()) };
            let (piece, rest) = frames.split_at(length);
            frames = rest;
            self.clipped_reach = self.clipped_reach.saturating_sub(1);
            let clamped = [first.clamped()];
            if single && first.peak() >= FULL_SCALE {
                self.clipped_samples += 1;
                self.clipped_reach = HISTORY + 1;
            }
            let Some(correction) = &mut self.correction else { return };
            let ready = correction.conditioner.take(if single { &clamped } else { piece }, &mut out);
            self.run_corrected(ready, self.clipped_reach > 0, on_window);
        }
    }

    fn run_corrected(&mut self, frames: &[Frame], clipped: bool, on_window: &mut dyn FnMut(&Window)) {
        if peak(frames) < FULL_SCALE {
            return self.run(frames, clipped, on_window);
        }
        for frame in frames {
            self.run(&[frame.clamped()], clipped || frame.peak() >= FULL_SCALE, on_window);
        }
    }

    /// At the end of a record: the frames that the delays still hold. They may complete a window.
    fn finish_correction(&mut self) -> Option<Window> {
        let mut out = [Frame::default(); BLOCK];
        let mut completed = None;
        let reach = core::mem::take(&mut self.clipped_reach);
        if let Some(correction) = &mut self.correction {
            let held = correction.conditioner.finish(&mut out);
            self.run_corrected(held, reach > 0, &mut |window| completed = Some(*window));
        }
        completed
    }

    fn run(&mut self, mut frames: &[Frame], clipped: bool, on_window: &mut dyn FnMut(&Window)) {
        while let Some(first) = frames.first() {
            let taken = self.slot.take(frames, clipped);
            if taken > 0 {
                self.samples += taken as u64;
                frames = &frames[taken..];
                if self.slot.is_complete() {
                    self.next_slot(None, false, on_window);
                }
            } else {
                // The cell that the edge cuts belongs to both slots.
                self.next_slot(Some(first), clipped, on_window);
                self.slot.take(core::slice::from_ref(first), clipped);
                self.samples += 1;
                frames = &frames[1..];
            }
        }
    }

    fn next_slot(&mut self, last: Option<&Frame>, clipped: bool, on_window: &mut dyn FnMut(&Window)) {
        let mut halves = self.slot.close(last, clipped);
        if let Some(correction) = &self.correction {
            correction.correct(&mut halves);
        }
        match self.previous.take() {
            None => {
                self.account.hold_start(products(&halves.down));
                self.unbooked = halves.length;
                self.window_start = self.slot_start + u128::from(halves.length / 2);
            }
            Some(previous) => self.pass_boundary(&previous, &halves, on_window),
        }
        if let Some(correction) = &mut self.correction {
            correction.pass_edge(self.last.as_ref().map(|last| &last.boundary), halves.length);
        }
        let before = self.slot.exit();
        self.slot_start += u128::from(halves.length);
        self.slot = Slot::new(self.tracker.next_length(), before);
        self.previous = Some(halves);
    }

    /// Joins two neighbouring slots at the boundary between them.
    fn pass_boundary(&mut self, earlier: &Halves, later: &Halves, on_window: &mut dyn FnMut(&Window)) {
        let sums = core::array::from_fn(|n| earlier.up[n] + later.down[n]);
        let boundary = Boundary::new(&sums, earlier.length + later.length, earlier.clipped || later.clipped);
        let last = self.last.take();
        let advance =
            last.as_ref().and_then(|last| Advance::between(&last.boundary, &boundary, earlier.length));
        if let Some(advance) = advance {
            self.tracker.follow(advance);
        } else if !(0..VOLTAGES).any(|number| boundary.has_voltage(number)) {
            self.tracker.lose();
        }
        // The first boundary also stands for the half slot before it.
        let before = if last.is_none() { earlier.length } else { 0 };
        self.account.book(boundary.products, boundary.reactive(), boundary.twice_weight, before);
        // The advance to the first window's first boundary began before the window.
        let counts = self.started || self.window.cycles() > 0;
        self.window.add(&boundary, advance.filter(|_| counts));
        let mut apparent = last.map_or([0; VOLTAGES], |last| last.apparent);
        if self.window.cycles() == self.config.window_cycles {
            apparent = self.book_apparent(0);
            let end = self.slot_start + u128::from(later.length / 2);
            on_window(&self.take_window(self.config.window_cycles, end));
            self.started = true;
        } else if !self.started && self.tracker.is_settling() {
            // Slots of the wrong length so far: the first window begins anew, apparent energy does not.
            apparent = self.window.apparent().map(|power| power as i128);
            self.unbooked += self.window.twice_weight();
            self.window = Accumulator::default();
            self.window_start = self.slot_start + u128::from(later.length / 2);
        }
        self.last = Some(Last { boundary, apparent });
    }

    /// The end of a record with at least one boundary.
    fn finish_record(
        &mut self,
        last: &Last,
        previous: &Halves,
        partial: &[i128; QUANTITIES],
        rest: u64,
    ) -> Option<Window> {
        let left: [i128; QUANTITIES] = core::array::from_fn(|n| previous.up[n] + partial[n]);
        let weight = previous.length + 2 * rest;
        self.account.book_last(products(&left), energies(last.boundary.reactive(), weight));
        let end = self.slot_start - u128::from(previous.length.div_ceil(2));
        let cycles = self.window.cycles();
        if cycles > 0 {
            self.book_apparent(weight);
            return Some(self.take_window(cycles, end));
        }
        let weight = weight + core::mem::take(&mut self.unbooked);
        self.account.book_apparent(energies(last.apparent, weight));
        if self.started {
            return None;
        }
        // The record ended while the first window waited for the frequency: the last boundary is the best there is.
        self.window_start = end - u128::from(last.boundary.twice_weight / 2);
        self.window.add(&last.boundary, None);
        Some(self.take_window(1, end))
    }

    /// The end of a record without a boundary: `boundary` stands for it, `left` is the energy not yet handed over.
    fn finish_short(
        &mut self,
        boundary: &Boundary,
        cycles: u16,
        left: &[i128; QUANTITIES],
        twice_weight: u64,
    ) -> Window {
        let reactive = energies(boundary.reactive(), twice_weight);
        self.account.book_only(products(left), reactive, twice_weight);
        self.window.add(boundary, None);
        self.unbooked = 0;
        self.book_apparent(twice_weight - boundary.twice_weight);
        let end = self.window_start + u128::from(boundary.twice_weight / 2);
        self.take_window(cycles, end)
    }

    /// Books the window's apparent energy, over its own weight, what was not booked before it, and `more`.
    fn book_apparent(&mut self, more: u64) -> [i128; VOLTAGES] {
        let power = self.window.apparent().map(|power| power as i128);
        let weight = self.window.twice_weight() + core::mem::take(&mut self.unbooked) + more;
        self.account.book_apparent(energies(power, weight));
        power
    }

    /// The quantities of the window that ends at `end`, in samples with 20 fractional bits; the next one begins there.
    fn take_window(&mut self, cycles: u16, end: u128) -> Window {
        let sample = |position: u128| (position >> EDGE) as u64;
        let start = core::mem::replace(&mut self.window_start, end);
        self.pulses.pass_window(&self.account.registers, end, (end - start) as u64);
        let place = Place { first_sample: sample(start), samples: sample(end) - sample(start), cycles };
        let Config { scale, sample_rate_microhertz, .. } = &self.config;
        core::mem::take(&mut self.window).window(place, scale, *sample_rate_microhertz)
    }

    /// The state before a first sample.
    fn begin(&mut self) {
        self.slot = Slot::new(self.tracker.next_length(), 0);
        self.slot_start = u128::from(self.samples) << EDGE;
        self.window_start = self.slot_start;
        self.previous = None;
        self.last = None;
        self.window = Accumulator::default();
        self.unbooked = 0;
        self.started = false;
    }
}

fn products(sums: &[i128; QUANTITIES]) -> Raw {
    core::array::from_fn(|number| sums[phase(number) + VI])
}

fn peak(frames: &[Frame]) -> u32 {
    frames.iter().fold(0, |all, frame| all.max(frame.peak()))
}

const FULL_SCALE: u32 = Frame::FULL_SCALE.unsigned_abs();

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
