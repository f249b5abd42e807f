//! From slots to windows: which samples count for which window, and at which phase.

use super::{
    Harmonics, ORDERS,
    grid::{Grid, Lanes, Spread},
    transform::transform,
};
use crate::{
    Frame, Scale, Window,
    calibration::Correction,
    slot::{EDGE, SAMPLE},
    tracker::Advance,
};

/// Analyses the harmonics of one [`Metrology`](crate::Metrology), which it is handed to with every block of frames
/// ([`Metrology::push_with_harmonics`](crate::Metrology::push_with_harmonics)).
///
/// It belongs to the caller, because it is large: 72 kB, as a rule in a `static` or on a heap. Frames that it did not see (pushed without it) leave a hole:
/// the windows that the hole touches have no harmonics.
#[derive(Clone, Debug)]
pub struct HarmonicAnalysis {
    /// The window that is being filled, and the one after it.
    grids: [Filling; 2],
    /// Which of them is the present one.
    present: usize,
    /// The slot that is being filled; `None` until one begins.
    slot: Option<Place>,
    /// Which of them the last slot that did not count wholly rose for, and how much of the cell that its end cut it left to the window before.
    rising: usize,
    left: u64,
    /// The sample that comes next.
    next: u64,
    /// By how much the fundamental is ahead of the slots, in turns: at the last boundary, and as expected at the next slot's start.
    ahead: u64,
    expected: u64,
    /// Its phase from sample to sample, if known.
    step: Option<u64>,
    /// By how much the analysis is ahead of the slots at the present slot's end. It never jumps: a jump each cycle would be a spectrum of its own.
    steered: u64,
    harmonics: Harmonics,
}

#[derive(Clone, Debug)]
struct Filling {
    grid: Grid,
    /// Whether it has every sample since its window's beginning.
    whole: bool,
}

/// Where in a slot the next sample lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    share: Share,
    /// The supply's phase, in turns.
    phase: u64,
    step: u64,
    /// The position in the slot with [`EDGE`] fractional bits; the first sample's may be just before its start.
    position: i64,
    /// The slot's length, and 2⁵⁴ over it.
    length: u64,
    inverse: u64,
    /// How much of the first cell the slot before left to a window that ended.
    left: u64,
    /// The next sample is the first, whose cell the slot's start may cut.
    first: bool,
}

/// How a slot's samples count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// More and more, for the first window of a record.
    Rising,
    /// All in the present window.
    Whole,
    /// Less and less in the present window, and more and more in the next.
    Shared,
    /// All in the present window, and more and more in one that may begin in its place ([`Outlet::restart`]).
    Doubtful,
}

/// Half a sample, with [`EDGE`] fractional bits.
const HALF_SAMPLE: i64 = SAMPLE as i64 / 2;
/// A sample's whole weight: 24 fractional bits.
const ONE: u64 = 1 << 24;

impl Place {
    /// How far the slot's weight has risen at the next sample: its mean over the sample's cell.
    fn risen(&self) -> u64 {
        if self.first {
            let inside = self.position + HALF_SAMPLE;
            self.fraction((inside * inside) >> (EDGE + 1))
        } else {
            self.fraction(self.position)
        }
    }

    /// A position in the slot over its length. A position is below 2³², so its fraction of the length below 2⁵⁴.
    fn fraction(&self, position: i64) -> u64 {
        ((position.max(0).unsigned_abs() * self.inverse) >> 30).min(ONE)
    }
}

impl Default for HarmonicAnalysis {
    fn default() -> Self {
        Self::new()
    }
}

impl HarmonicAnalysis {
    /// For a record's beginning, or at any time after.
    pub const fn new() -> Self {
        const EMPTY: Filling = Filling { grid: Grid::new(), whole: false };
        Self {
            grids: [EMPTY; 2],
            present: 0,
            rising: 0,
            left: 0,
            slot: None,
            next: 0,
            ahead: 0,
            expected: 0,
            step: None,
            steered: 0,
            harmonics: Harmonics::new(),
        }
    }

    /// Before frames from sample number `first` on: whether none is missing.
    fn expect(&mut self, first: u64) {
        if first != self.next {
            self.slot = None;
            self.step = None;
            for filling in &mut self.grids {
                filling.whole = false;
            }
            self.next = first;
        }
    }

    /// Begins a slot of `length`, of whose first cell `entry` belongs to it.
    fn open(&mut self, share: Share, length: u64, entry: u64) {
        if share == Share::Rising {
            (self.ahead, self.expected, self.steered, self.step) = (0, 0, 0, None);
        }
        // What the slot before left of its last cell to another window is missing in this one.
        let left = core::mem::take(&mut self.left);
        let left = if self.rising == self.present { left } else { 0 };
        let begun = match share {
            Share::Whole => None,
            Share::Rising => Some(self.present),
            Share::Shared | Share::Doubtful => Some(1 - self.present),
        };
        if let Some(number) = begun {
            self.rising = number;
            self.grids[number].grid.clear();
            self.grids[number].whole = true;
        }
        // So that the slot ends where the fundamental will be.
        let start = self.steered;
        if let Some(step) = self.step {
            self.steered = self.expected.wrapping_add(turns(step, length));
        }
        let more = self.steered.wrapping_sub(start).cast_signed();
        let step = Advance { turn: more, interval: length }.step();
        let position = entry as i64 - HALF_SAMPLE;
        let offset = ((i128::from(step) * i128::from(position)) >> EDGE) as u64;
        let inverse = (1 << 54) / length;
        let phase = start.wrapping_add(offset);
        self.slot = Some(Place { share, phase, step, position, length, inverse, left, first: true });
    }

    /// Takes frames of the present slot, the first one alone.
    fn pass(&mut self, frames: &[Frame]) {
        self.next += frames.len() as u64;
        let Some(place) = &mut self.slot else {
            return;
        };
        let [first, second] = &mut self.grids;
        let (present, next) = if self.present == 0 { (first, second) } else { (second, first) };
        if place.share == Share::Whole && !place.first {
            place.phase = present.grid.add_all(frames, place.phase, place.step);
            place.position += (frames.len() as i64) << EDGE;
            return;
        }
        for frame in frames {
            let (lanes, spread) = (Lanes::new(frame), Spread::at(place.phase));
            let risen = place.risen();
            let kept = ONE - core::mem::take(&mut place.left);
            let [for_present, for_next] = match place.share {
                Share::Rising => [risen, 0],
                Share::Whole => [kept, 0],
                Share::Shared => [kept.saturating_sub(risen), risen],
                Share::Doubtful => [kept, risen],
            };
            present.grid.add(&lanes, &spread.part(for_present));
            if for_next > 0 {
                next.grid.add(&lanes, &spread.part(for_next));
            }
            place.phase = place.phase.wrapping_add(place.step);
            place.position += SAMPLE as i64;
            place.first = false;
        }
    }

    /// At the end of a slot that cuts the cell of `frame`: what of the cell belongs to a window that ends with the slot.
    fn close(&mut self, frame: &Frame) {
        let Some(place) = self.slot.take() else {
            return;
        };
        if place.share != Share::Whole {
            // The cell's part before the edge, squared: the falling weight's mean over the cell.
            let before = HALF_SAMPLE - (place.position - place.length as i64);
            self.left = place.fraction((before * before) >> (EDGE + 1));
            if place.share == Share::Shared {
                let spread = Spread::at(place.phase).part(self.left);
                self.grids[self.present].grid.add(&Lanes::new(frame), &spread);
            }
        }
    }

    /// At a boundary: how far the fundamental advanced since the last one, and the length of the slot that follows the boundary and has just ended.
    fn follow(&mut self, advance: Option<Advance>, length: u64) {
        self.step = advance.map(Advance::step);
        if let (Some(step), Some(advance)) = (self.step, advance) {
            self.ahead = self.ahead.wrapping_add_signed(advance.turn);
            self.expected = self.ahead.wrapping_add(turns(step, length));
        }
    }

    /// At the end of a window: its harmonics, if every sample was there. The next window becomes the present one.
    fn complete(&mut self, completed: &Completed<'_>) -> Option<&Harmonics> {
        let Filling { grid, whole } = &mut self.grids[self.present];
        self.present = 1 - self.present;
        let Harmonics { spectra, highest, reference, scale } = &mut self.harmonics;
        let Completed { period, reference: voltage, scale: worth, correction } = *completed;
        (*highest, *reference, *scale) = (highest_order(period), voltage, *worth);
        if !core::mem::take(whole) || !transform(grid, *highest, spectra) {
            return None;
        }
        if let Some(correction) = correction {
            for spectrum in &mut spectra[..=*highest] {
                correction.correct_phasors(spectrum);
            }
        }
        Some(&self.harmonics)
    }
}

/// The phase that a step gives over a length, without whole turns.
fn turns(step: u64, length: u64) -> u64 {
    ((u128::from(step) * u128::from(length)) >> EDGE) as u64
}

/// What a completed window is evaluated with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completed<'a> {
    /// Samples a cycle, 20 fractional bits.
    pub(crate) period: u64,
    pub(crate) reference: Option<usize>,
    pub(crate) scale: &'a Scale,
    pub(crate) correction: Option<&'a Correction>,
}

/// The highest order up to 0.4 of the sampling rate, for so many samples a cycle (20 fractional bits). An order on the limit is there,
/// whatever the last digit of the measured frequency (1.5·10⁻⁵ is granted).
fn highest_order(period: u64) -> usize {
    let limit = 2 * (period + (period >> 16)) / 5;
    ((limit >> EDGE) as usize).clamp(1, ORDERS)
}

/// Where what a block of frames gives goes.
pub(crate) struct Outlet<'a> {
    pub(crate) on_window: &'a mut dyn FnMut(&Window, Option<&Harmonics>),
    pub(crate) analysis: Option<&'a mut HarmonicAnalysis>,
}

impl Outlet<'_> {
    pub(crate) fn expect(&mut self, first: u64) {
        if let Some(analysis) = &mut self.analysis {
            analysis.expect(first);
        }
    }

    pub(crate) fn open(&mut self, share: Share, length: u64, entry: u64) {
        if let Some(analysis) = &mut self.analysis {
            analysis.open(share, length, entry);
        }
    }

    pub(crate) fn close(&mut self, last: Option<&Frame>) {
        if let (Some(analysis), Some(frame)) = (&mut self.analysis, last) {
            analysis.close(frame);
        }
    }

    pub(crate) fn pass(&mut self, frames: &[Frame]) {
        if let Some(analysis) = &mut self.analysis {
            analysis.pass(frames);
        }
    }

    pub(crate) fn follow(&mut self, advance: Option<Advance>, length: u64) {
        if let Some(analysis) = &mut self.analysis {
            analysis.follow(advance, length);
        }
    }

    /// The window begins anew with the slot that has just ended.
    pub(crate) fn restart(&mut self) {
        if let Some(analysis) = &mut self.analysis {
            analysis.grids[analysis.present].whole = false;
            analysis.present = 1 - analysis.present;
        }
    }

    pub(crate) fn window(&mut self, window: &Window, completed: &Completed<'_>) {
        let harmonics = match &mut self.analysis {
            Some(analysis) => analysis.complete(completed),
            None => None,
        };
        (self.on_window)(window, harmonics);
    }
}
