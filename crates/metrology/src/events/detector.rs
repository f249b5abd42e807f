//! The detector: thresholds in counts, one comparison a half cycle, phase and kind.

mod quiet;

use super::{Event, EventKind, EventSettings, Queue, limits::Limits};
use crate::{
    Frame, Scale, VOLTAGES,
    accumulate::{micro, power},
    boundary::{Boundary, CHANNELS},
    sequence::{magnitude, sequences},
    slot::EDGE,
    trig::Complex,
};

/// Watches one meter's signals.
#[derive(Clone, Debug)]
pub(crate) struct Detector {
    settings: EventSettings,
    scale: Scale,
    limits: [Limits; VOLTAGES],
    /// The half cycle before, its squares and length, and where it begins.
    half: Option<Half>,
    /// The voltages of the two samples before.
    before: [[i32; VOLTAGES]; 2],
    /// Samples since the start of a record, counted to two.
    seen: u8,
    /// A transient ends once so many samples were without.
    quiet: u64,
    single: [[Option<Open>; SINGLE]; VOLTAGES],
    common: [Option<Open>; COMMON],
    /// Which events are open, a bit each ([`EventKind::bit`]).
    open: u32,
    pub(crate) queue: Queue,
    /// A sag, swell or interruption went on since somebody asked.
    flag: bool,
}

/// Kinds that each phase has, and those of all phases.
const SINGLE: usize = 5;
const COMMON: usize = 3;

#[derive(Clone, Debug)]
struct Half {
    squares: [i128; CHANNELS],
    length: u64,
    start: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    start: u64,
    end: u64,
    extreme: i64,
}

/// One look at one quantity.
#[derive(Clone, Copy, Debug)]
struct Look {
    kind: EventKind,
    enter: bool,
    leave: bool,
    /// The present value, in the kind's unit.
    value: i64,
    start: u64,
    end: u64,
}

impl Detector {
    pub(crate) fn new(settings: EventSettings, scale: Scale, rate_microhertz: u64) -> Self {
        let limits = core::array::from_fn(|number| Limits::new(&settings, &scale, number));
        Self {
            settings,
            scale,
            limits,
            half: None,
            before: [[0; VOLTAGES]; 2],
            seen: 0,
            // 10 ms: half a cycle at 50 Hz.
            quiet: rate_microhertz / 100_000_000,
            single: [[None; SINGLE]; VOLTAGES],
            common: [None; COMMON],
            open: 0,
            queue: Queue::new(),
            flag: false,
        }
    }

    /// Forgets what came before a gap; events that are open stay open.
    pub(crate) fn begin(&mut self) {
        self.half = None;
        self.seen = 0;
    }

    /// Looks at samples, the first of which is number `first`.
    pub(crate) fn pass_samples(&mut self, frames: &[Frame], first: u64) {
        if self.settings.transient_millivolts.is_none() {
            return;
        }
        for (n, frame) in frames.iter().enumerate() {
            let voltage = frame.voltage.map(|count| count.clamp(-Frame::FULL_SCALE, Frame::FULL_SCALE));
            let [older, middle] = self.before;
            self.before = [middle, voltage];
            if self.seen < 2 {
                self.seen += 1;
                continue;
            }
            let sample = first + n as u64;
            for number in 0..VOLTAGES {
                let neighbours = i64::from(older[number]) + i64::from(voltage[number]);
                let twice = (2 * i64::from(middle[number]) - neighbours).abs();
                let beyond = self.limits[number].transient.is_some_and(|limit| twice > limit);
                let open = &self.single[number][EventKind::Transient.place()];
                if beyond || open.is_some() {
                    self.pass_transient(number, twice, beyond, sample - 1);
                }
            }
        }
    }

    fn pass_transient(&mut self, number: usize, twice: i64, beyond: bool, sample: u64) {
        let kind = EventKind::Transient;
        let quiet = self.single[number][kind.place()].is_some_and(|open| sample >= open.end + self.quiet);
        let value = micro((twice as u64) << 31, self.scale.voltage_femtovolts_per_count[number]) as i64;
        // Its end is the last sample that deviated, not the one that proved the quiet.
        let end = if quiet {
            self.single[number][kind.place()].map_or(sample, |open| open.end)
        } else {
            sample + 1
        };
        if beyond || quiet {
            self.look(Some(number), Look { kind, enter: beyond, leave: quiet, value, start: sample, end });
        }
    }

    /// Looks at a half cycle that began at `start` and lasted `length` (20 fractional bits), with its sums of squares.
    pub(crate) fn pass_half_cycle(&mut self, squares: [i128; CHANNELS], start: u128, length: u64) {
        let begin = (start >> EDGE) as u64;
        let now = Half { squares, length, start: begin };
        let Some(before) = self.half.replace(now) else {
            return;
        };
        let weight = i128::from(before.length + length);
        // Nearly always: no event is open, and none begins.
        if self.open & EventKind::OF_HALF_CYCLES == 0 && self.is_within(&before, &squares, weight) {
            return;
        }
        let end = ((start + u128::from(length)) >> EDGE) as u64;
        // Below 2⁷⁹ · 2³² over 2²³.
        let mean: [i128; CHANNELS] =
            core::array::from_fn(|n| (((before.squares[n] + squares[n]) << 32) / weight).max(0));
        let look = |kind, enter, leave, value| Look { kind, enter, leave, value, start: before.start, end };
        let mut largest = 0;
        let (mut lost, mut back) = (true, false);
        for number in 0..VOLTAGES {
            let Limits { sag, swell, interruption, over_current, .. } = self.limits[number].clone();
            let square = mean[number];
            let volts = rms(square, self.scale.voltage_femtovolts_per_count[number]);
            largest = largest.max(volts);
            lost &= square < interruption.enter;
            back |= square >= interruption.leave;
            let phase = Some(number);
            self.look(phase, look(EventKind::Sag, square < sag.enter, square >= sag.leave, volts));
            self.look(phase, look(EventKind::Swell, square > swell.enter, square <= swell.leave, volts));
            if let Some(limit) = over_current {
                let square = mean[VOLTAGES + number];
                let amperes = rms(square, self.scale.current_femtoamperes_per_count[number]);
                let (enter, leave) = (square > limit.enter, square <= limit.leave);
                self.look(phase, look(EventKind::OverCurrent, enter, leave, amperes));
            }
        }
        self.look(None, look(EventKind::Interruption, lost, back, largest));
    }

    /// Looks at a boundary, in the middle of two cycles that began at `start` (20 fractional bits).
    pub(crate) fn pass_boundary(&mut self, boundary: &Boundary, start: u128) {
        // Nearly always: no event is open, and none begins.
        if self.open & EventKind::OF_BOUNDARIES == 0 && self.is_balanced(boundary) {
            return;
        }
        let end = ((start + u128::from(boundary.twice_weight)) >> EDGE) as u64;
        let start = (start >> EDGE) as u64;
        let look = |kind, enter, leave, value| Look { kind, enter, leave, value, start, end };
        if let Some(limit) = self.settings.reverse_power_milliwatts {
            let limit = i64::from(limit) * 1000;
            for number in 0..VOLTAGES {
                let mean = (boundary.products[number] << 33) / i128::from(boundary.twice_weight);
                let volts = self.scale.voltage_femtovolts_per_count[number];
                let watts = power(mean, volts, self.scale.current_femtoamperes_per_count[number]);
                let (enter, leave) = (watts < -limit, watts > -limit / 2);
                self.look(Some(number), look(EventKind::ReversePower, enter, leave, watts));
            }
        }
        // Peak values in µV with 8 fractional bits: below 2⁵⁹.
        let microvolts = core::array::from_fn(|number| {
            let scale = i128::from(self.scale.voltage_femtovolts_per_count[number]);
            let part = |value: i64| ((i128::from(value) * scale / 1_000_000_000) >> 24) as i64;
            let Complex { re, im } = boundary.phasors[number];
            Complex { re: part(re), im: part(im) }
        });
        let [_, positive, negative] = sequences(microvolts).map(|phasor| u128::from(magnitude(phasor)));
        // A tenth of the declared voltage (peak, three times, 8 fractional bits): below that there is no system to be unbalanced.
        let least = u128::from(self.settings.declared_millivolts) * 1000 * 256 * 3 * 141 / 1000;
        if positive.max(negative) < least {
            return;
        }
        let (small, large) = (positive.min(negative), positive.max(negative));
        let reversed = negative > positive;
        let ratio = (small * 1_000_000 / large) as i64;
        let limit = i64::from(self.settings.unbalance_ppm);
        // With two phases exchanged the supply is not unbalanced but reversed.
        self.look(None, look(EventKind::Unbalance, ratio > limit, ratio < limit * 3 / 4, ratio));
        let ratio = (negative * 1_000_000 / positive.max(1)).min(i64::MAX as u128) as i64;
        self.look(None, look(EventKind::PhaseSequence, reversed, !reversed, ratio));
    }

    /// Whether a sag, swell or interruption went on since the last call.
    pub(crate) fn take_flag(&mut self) -> bool {
        core::mem::take(&mut self.flag)
    }

    /// Opens, widens or closes an event.
    fn look(&mut self, phase: Option<usize>, look: Look) {
        let place = look.kind.place();
        let open = match phase {
            Some(number) => &mut self.single[number][place],
            None => &mut self.common[place],
        };
        let Look { kind, start, end, value, .. } = look;
        let bit = kind.bit(phase.unwrap_or(VOLTAGES));
        self.flag |= kind.flags_window() && (open.is_some() || look.enter);
        match open {
            None if look.enter => {
                *open = Some(Open { start, end, extreme: value });
                self.open |= bit;
                let event = Event { kind, phase, start_sample: start, end_sample: None, extreme: value };
                self.queue.put(event);
            }
            None => {}
            Some(state) if look.leave => {
                let Open { start, extreme, .. } = *state;
                *open = None;
                self.open &= !bit;
                let event = Event { kind, phase, start_sample: start, end_sample: Some(end), extreme };
                self.queue.put(event);
            }
            Some(state) => {
                state.end = end;
                state.extreme =
                    if kind.is_low() { state.extreme.min(value) } else { state.extreme.max(value) };
            }
        }
    }
}

impl EventKind {
    /// Where the state of such an event is kept: among a phase's or among those of all phases.
    const fn place(self) -> usize {
        match self {
            Self::Sag | Self::Interruption => 0,
            Self::Swell | Self::Unbalance => 1,
            Self::OverCurrent | Self::PhaseSequence => 2,
            Self::ReversePower => 3,
            Self::Transient => 4,
        }
    }

    /// What [`Detector::pass_half_cycle`] looks for.
    const OF_HALF_CYCLES: u32 =
        Self::Sag.bits() | Self::Swell.bits() | Self::Interruption.bits() | Self::OverCurrent.bits();
    /// What [`Detector::pass_boundary`] looks for.
    const OF_BOUNDARIES: u32 =
        Self::Unbalance.bits() | Self::PhaseSequence.bits() | Self::ReversePower.bits();

    /// The bit of one phase's event, or of all phases' event after those.
    const fn bit(self, phase: usize) -> u32 {
        1 << (4 * self as u32 + phase as u32)
    }

    /// The bits of all phases.
    const fn bits(self) -> u32 {
        0b1111 * self.bit(0)
    }

    /// Whether it disturbs the quantities of the windows it touches.
    const fn flags_window(self) -> bool {
        matches!(self, Self::Sag | Self::Swell | Self::Interruption)
    }

    /// Whether the extreme is the lowest value.
    const fn is_low(self) -> bool {
        matches!(self, Self::Sag | Self::Interruption | Self::ReversePower)
    }
}

/// The root of a mean square, in millionths of a unit.
fn rms(mean_square: i128, scale: u64) -> i64 {
    let counts = (mean_square.unsigned_abs() << 32).isqrt() as u64;
    micro(counts, scale) as i64
}
