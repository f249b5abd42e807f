//! The detector: thresholds in counts, one comparison a half cycle, phase and kind.

mod quiet;

use super::{Event, EventKind, EventSettings, Queue, limits::Limits};
use crate::{
    Frame, Scale, VOLTAGES,
    accumulate::{micro, power},
    boundary::{Boundary, CHANNELS},
    kernel::{VC, phase},
    sequence::{magnitude, sequences},
    slot::{EDGE, Halves},
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
    open: u64,
    pub(crate) queue: Queue,
    /// A sag, swell or interruption went on since somebody asked.
    flag: bool,
}

/// Kinds that each phase has, and those of all phases.
const SINGLE: usize = 6;
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

    /// Goes on with other thresholds.
    pub(crate) fn follow(&mut self, settings: EventSettings) {
        self.limits = core::array::from_fn(|number| Limits::new(&settings, &self.scale, number));
        self.settings = settings;
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
        // Half of what a sag begins at: below that on all phases the whole supply is going, not a phase.
        let some_left = (0..VOLTAGES).any(|number| 4 * mean[number] >= self.limits[number].sag.enter);
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
            let (gone, here) = (some_left && square < interruption.enter, square >= interruption.leave);
            self.look(phase, look(EventKind::PhaseLost, gone, here, volts));
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
        let Some([positive, negative]) = self.system(boundary) else { return };
        let (small, large) = (positive.min(negative), positive.max(negative));
        let ratio = (small * 1_000_000 / large) as i64;
        let limit = i64::from(self.settings.unbalance_ppm);
        // With two phases exchanged the supply is not unbalanced but reversed.
        self.look(None, look(EventKind::Unbalance, ratio > limit, ratio < limit * 3 / 4, ratio));
    }

    /// Looks at a whole slot that began at `start` (20 fractional bits): at the direction in which its phases turn. A boundary, with its weight on two
    /// cycles, would see an exchange half a cycle later.
    pub(crate) fn pass_cycle(&mut self, halves: &Halves, start: u128) {
        if self.open & EventKind::PhaseSequence.bits() == 0 && turns_forwards(halves) {
            return;
        }
        let sums = core::array::from_fn(|n| halves.down[n] + halves.up[n]);
        let Some([positive, negative]) = self.system(&Boundary::new(&sums, 2 * halves.length, false)) else {
            return;
        };
        let ratio = (negative * 1_000_000 / positive.max(1)).min(i64::MAX as u128) as i64;
        // With one phase alone neither direction is the larger one; an exchange of two leaves next to nothing of the positive sequence.
        let (enter, leave) = (2 * negative > 3 * positive, positive > negative);
        let end = ((start + u128::from(halves.length)) >> EDGE) as u64;
        let start = (start >> EDGE) as u64;
        self.look(None, Look { kind: EventKind::PhaseSequence, enter, leave, value: ratio, start, end });
    }

    /// Positive and negative sequence of the voltages, three times their peak in µV with 8 fractional bits; `None` where both are below a tenth of the
    /// declared voltage: there is no system to be unbalanced then.
    fn system(&self, boundary: &Boundary) -> Option<[u128; 2]> {
        // Below 2⁵⁹.
        let microvolts = core::array::from_fn(|number| {
            let scale = i128::from(self.scale.voltage_femtovolts_per_count[number]);
            let part = |value: i64| ((i128::from(value) * scale / 1_000_000_000) >> 24) as i64;
            let Complex { re, im } = boundary.phasors[number];
            Complex { re: part(re), im: part(im) }
        });
        let [_, positive, negative] = sequences(microvolts).map(|phasor| u128::from(magnitude(phasor)));
        let least = u128::from(self.settings.declared_millivolts) * 1000 * 256 * 3 * 141 / 1000;
        (positive.max(negative) >= least).then_some([positive, negative])
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
            Self::PhaseLost => 5,
        }
    }

    /// What [`Detector::pass_half_cycle`] looks for.
    const OF_HALF_CYCLES: u64 = Self::Sag.bits()
        | Self::Swell.bits()
        | Self::Interruption.bits()
        | Self::OverCurrent.bits()
        | Self::PhaseLost.bits();
    /// What [`Detector::pass_boundary`] looks for.
    const OF_BOUNDARIES: u64 = Self::Unbalance.bits() | Self::ReversePower.bits();

    /// The bit of one phase's event, or of all phases' event after those.
    const fn bit(self, phase: usize) -> u64 {
        1 << (4 * self as u32 + phase as u32)
    }

    /// The bits of all phases.
    const fn bits(self) -> u64 {
        0b1111 * self.bit(0)
    }

    /// Whether it disturbs the quantities of the windows it touches.
    const fn flags_window(self) -> bool {
        matches!(self, Self::Sag | Self::Swell | Self::Interruption | Self::PhaseLost)
    }

    /// Whether the extreme is the lowest value.
    const fn is_low(self) -> bool {
        matches!(self, Self::Sag | Self::Interruption | Self::ReversePower | Self::PhaseLost)
    }
}

/// Whether the voltages' fundamentals surely turn in the direction L1, L2, L3, where all phases have nearly the same scale: the sum of the products
/// `V1·V2*` and so on has the sign of the difference between the squares of both sequences.
fn turns_forwards(halves: &Halves) -> bool {
    let part = |at: usize| ((halves.down[at] + halves.up[at]) >> 24) as i64;
    // Below 2⁵⁴.
    let phasors: [[i64; 2]; VOLTAGES] =
        core::array::from_fn(|number| [part(phase(number) + VC), -part(phase(number) + VC + 1)]);
    let imaginary =
        |[a, b]: [i64; 2], [c, d]: [i64; 2]| i128::from(b) * i128::from(c) - i128::from(a) * i128::from(d);
    let square = |[a, b]: [i64; 2]| i128::from(a) * i128::from(a) + i128::from(b) * i128::from(b);
    let [one, two, three] = phasors;
    let turning = imaginary(one, two) + imaginary(two, three) + imaginary(three, one);
    // A balanced system gives 0.87 of the sum of squares, one phase alone 0.
    turning > (square(one) + square(two) + square(three)) / 16
}

/// The root of a mean square, in millionths of a unit.
fn rms(mean_square: i128, scale: u64) -> i64 {
    let counts = (mean_square.unsigned_abs() << 32).isqrt() as u64;
    micro(counts, scale) as i64
}
