//! A slot of one supply cycle, and how it is divided between the boundaries before and after it.
//!
//! Positions and lengths are in samples with [`EDGE`] fractional bits. A sample is constant over its cell `[n, n+1)`, so the weight of a sample is
//! the integral of the triangle over its cell, cut where an edge cuts it. With a slot of length `L` whose first cell has the part `a`, then `M`
//! whole cells, then the part `b` of a last one, the share that rises towards the end is
//!
//! `up = (q_first·a·a/2 + Σ q_j·(a + j + ½) + q_last·b·(L − b/2)) / L`, and `Σ q_j·j = M·Σ q_j − Σ prefix sums`,
//!
//! and `down` is all the rest: their sum is exact whatever the division rounds.

use crate::{
    Frame, VOLTAGES,
    boundary::CHANNELS,
    kernel::{BLOCK, II, Kernel, NEUTRAL, QUANTITIES, VV, phase},
    oscillator::{Oscillator, step_of},
};

/// Fractional bits of positions in samples.
pub(crate) const EDGE: u32 = 20;
/// One sample.
pub(crate) const SAMPLE: u64 = 1 << EDGE;

/// A slot that is being filled.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Length: 14 to 2 500 samples (1 kHz at 70 Hz, 100 kHz at 40 Hz), or half of that.
    length: u64,
    /// How much of the first cell belongs to this slot: above 0, up to a whole sample.
    entry: u64,
    /// How much of the last cell belongs to this slot: below a whole sample; 0 where the slot ends with a whole cell.
    exit: u64,
    whole_cells: u32,
    seen: Seen,
    oscillator: Oscillator,
    first: [i64; QUANTITIES],
    /// Below 2⁴⁶ · 2¹².
    total: [i64; QUANTITIES],
    /// Below 2⁴⁶ · 2²³: the sum of prefix sums needs more than 64 bits.
    ramp: [i128; QUANTITIES],
    clipped: bool,
    /// What the first half cycle sums up to, where somebody asked for it.
    middle: Option<Middle>,
    kernel: Kernel,
}

/// Where the middle of a slot lies: in a whole cell, of which a part belongs to the first half.
#[derive(Clone, Debug)]
struct Middle {
    cell: u32,
    part: u64,
    /// Squares of the first half: counts squared times samples with [`EDGE`] fractional bits. Known once the cell has passed.
    squares: Option<[i128; CHANNELS]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// The first cell and so many whole ones.
    Whole(u32),
}

/// A whole slot: sums of counts squared times samples (or counts times oscillator), with [`EDGE`] fractional bits.
#[derive(Clone, Debug)]
pub(crate) struct Halves {
    /// The share of the boundary at the slot's start.
    pub(crate) down: [i128; QUANTITIES],
    /// The share of the boundary at the slot's end.
    pub(crate) up: [i128; QUANTITIES],
    /// The slot's length.
    pub(crate) length: u64,
    pub(crate) clipped: bool,
    /// Sums of squares over the first half of the slot, if the slot was to watch it.
    pub(crate) first_half: Option<[i128; CHANNELS]>,
}

impl Halves {
    /// Sums of squares over the whole slot.
    pub(crate) fn squares(&self) -> [i128; CHANNELS] {
        core::array::from_fn(|channel| {
            let at = square_of(channel);
            self.down[at] + self.up[at]
        })
    }
}

/// How a slot lies in its cells.
struct Cells {
    entry: u64,
    exit: u64,
    whole_cells: u32,
}

impl Cells {
    fn new(length: u64, before: u64) -> Self {
        debug_assert!(before < SAMPLE && (7 * SAMPLE..4096 * SAMPLE).contains(&length));
        let end = before + length;
        Self { entry: SAMPLE - before, exit: end % SAMPLE, whole_cells: (end / SAMPLE - 1) as u32 }
    }
}

impl Slot {
    /// A slot of `length`, of whose first cell `before` belongs to the slot before.
    pub(crate) fn new(length: u64, before: u64) -> Self {
        Self::of_cycle(length, length, before)
    }

    /// The same where the slot is only a part of a cycle of the oscillator.
    pub(crate) fn of_cycle(cycle: u64, length: u64, before: u64) -> Self {
        let Cells { entry, exit, whole_cells } = Cells::new(length, before);
        Self {
            length,
            entry,
            exit,
            whole_cells,
            seen: Seen::Nothing,
            oscillator: Oscillator::of_slot(step_of(cycle), before),
            first: [0; QUANTITIES],
            total: [0; QUANTITIES],
            ramp: [0; QUANTITIES],
            clipped: false,
            middle: None,
            kernel: Kernel::SCALAR,
        }
    }

    /// The same, which leaves its sums to `kernel`.
    pub(crate) fn with_kernel(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// Also sums up the squares of its first half, as do the slots that follow it.
    pub(crate) fn watch_halves(&mut self) {
        let behind_first = self.length / 2 - self.entry;
        let (cell, part) = ((behind_first / SAMPLE) as u32, behind_first % SAMPLE);
        self.middle = Some(Middle { cell, part, squares: None });
    }

    /// Becomes the slot of `length` that follows it, in place: what a slot sums up is too much to be moved once a cycle.
    pub(crate) fn follow(&mut self, length: u64) {
        let before = self.exit;
        // Sums of prefix sums stay: they are set by the first whole cells, and nothing asks for them before.
        let Cells { entry, exit, whole_cells } = Cells::new(length, before);
        (self.length, self.entry, self.exit, self.whole_cells) = (length, entry, exit, whole_cells);
        self.seen = Seen::Nothing;
        self.oscillator = Oscillator::of_slot(step_of(length), before);
        (self.first, self.total) = ([0; QUANTITIES], [0; QUANTITIES]);
        self.clipped = false;
        if self.middle.is_some() {
            self.watch_halves();
        }
    }

    /// Its length when it is whole.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// What of the last cell belongs to this slot.
    pub(crate) fn exit(&self) -> u64 {
        self.exit
    }

    /// How much of the slot the cells seen so far fill.
    pub(crate) fn filled(&self) -> u64 {
        match self.seen {
            Seen::Nothing => 0,
            Seen::Whole(cells) => self.entry + u64::from(cells) * SAMPLE,
        }
    }

    /// Frames up to the slot's end, the one that the end cuts included; at least one.
    pub(crate) fn missing(&self) -> usize {
        let cells = match self.seen {
            Seen::Nothing => self.whole_cells + 1,
            Seen::Whole(cells) => self.whole_cells - cells,
        };
        cells as usize + usize::from(self.exit > 0)
    }

    /// Takes what belongs to this slot wholly, or is its first cell; returns how many frames that was. With none taken the slot is complete but
    /// for the cell that its end cuts.
    pub(crate) fn take(&mut self, frames: &[Frame], clipped: bool) -> usize {
        let taken = match self.seen {
            Seen::Nothing => {
                let Some(frame) = frames.first() else {
                    return 0;
                };
                self.first = self.oscillator.products(frame);
                self.seen = Seen::Whole(0);
                1
            }
            Seen::Whole(cells) => {
                let taken = ((self.whole_cells - cells) as usize).min(frames.len());
                let mut cell = cells;
                for block in frames[..taken].chunks(BLOCK) {
                    self.add(block, cell);
                    cell += block.len() as u32;
                }
                self.seen = Seen::Whole(cell);
                taken
            }
        };
        self.clipped |= clipped && taken > 0;
        taken
    }

    /// How many frames of a block of `length` that comes next are needed for the squares of the first half, if that many are in it.
    pub(crate) fn until_middle(&self, length: usize) -> Option<usize> {
        let middle = self.middle.as_ref().filter(|middle| middle.squares.is_none())?;
        // The first cell is not counted among the whole ones.
        let behind_first = middle.cell as usize + 1;
        let missing = match self.seen {
            Seen::Nothing => behind_first + 1,
            Seen::Whole(cells) => behind_first - cells as usize,
        };
        (missing <= length).then_some(missing)
    }

    /// The squares of the first half, once they are known, and its length.
    pub(crate) fn first_half(&self) -> Option<([i128; CHANNELS], u64)> {
        let squares = self.middle.as_ref()?.squares?;
        Some((squares, self.length / 2))
    }

    /// Whether the slot has all its cells and its end cuts none.
    pub(crate) fn is_complete(&self) -> bool {
        self.exit == 0 && self.seen == Seen::Whole(self.whole_cells)
    }

    /// Adds whole cells, the first of which is number `cell`.
    fn add(&mut self, block: &[Frame], cell: u32) {
        // Where the middle of the slot is among them.
        let middle = self.middle.as_ref().and_then(|middle| middle.cell.checked_sub(cell));
        let middle = middle.map(|middle| middle as usize).filter(|middle| *middle < block.len());
        let sums = self.kernel.sums(block, middle.unwrap_or(0), &mut self.oscillator);
        if let (Some(middle), Some(Middle { part, squares, .. })) = (middle, &mut self.middle) {
            let frame = &block[middle];
            let part = *part as i64;
            *squares = Some(core::array::from_fn(|channel| {
                let at = square_of(channel);
                let count = i64::from(frame.count(channel));
                (i128::from(self.total[at] + sums.squares[channel]) << EDGE)
                    + wide(self.first[at], self.entry as i64)
                    + wide(count * count, part)
            }));
        }
        if cell == 0 {
            // At 8 kHz and below nearly always: one block is a whole slot.
            self.total = sums.total;
            self.ramp = sums.ramp.map(i128::from);
            return;
        }
        let frames = block.len() as i64;
        for n in 0..QUANTITIES {
            self.ramp[n] += wide(self.total[n], frames) + i128::from(sums.ramp[n]);
            self.total[n] += sums.total[n];
        }
    }

    /// Closes a whole slot; `last` is the frame whose cell the end cuts, if it cuts one.
    pub(crate) fn close(&mut self, last: Option<&Frame>, clipped: bool) -> Halves {
        debug_assert_eq!(last.is_some(), self.exit > 0);
        debug_assert_eq!(self.seen, Seen::Whole(self.whole_cells));
        let last = last.map_or([0; QUANTITIES], |frame| self.oscillator.products(frame));
        let [length, entry, exit] = [self.length, self.entry, self.exit].map(|samples| samples as i64);
        // Twice the position behind the last whole cell's middle: below 2³⁴.
        let twice_position = 2 * entry + ((2 * i64::from(self.whole_cells) + 1) << EDGE);
        // Below 2⁴⁰ and 2⁵³.
        let (entry_moment, exit_moment) = (entry * entry, exit * (2 * length - exit));
        let inverse = inverse(2 * self.length);
        // Filled in place, as it is too much to be moved.
        let mut halves = Halves {
            down: [0; QUANTITIES],
            up: [0; QUANTITIES],
            length: self.length,
            clipped: self.clipped || (clipped && self.exit > 0),
            first_half: self.middle.as_ref().and_then(|middle| middle.squares),
        };
        for n in 0..QUANTITIES {
            let (first, last, total) = (self.first[n], last[n], self.total[n]);
            // In units of 2⁻⁴¹ below 2⁴⁶ · 2¹² · 2¹¹ · 2⁴¹ = 2¹¹⁰, of which 2⁶² is left.
            let moment = (wide(total, twice_position) << EDGE) - (self.ramp[n] << (2 * EDGE + 1))
                + wide(first, entry_moment)
                + wide(last, exit_moment);
            let up = scaled((moment >> 48) as i64, inverse) >> (INVERSE - 48);
            halves.up[n] = up;
            halves.down[n] = (i128::from(total) << EDGE) + wide(first, entry) + wide(last, exit) - up;
        }
        halves
    }

    /// What the cells seen so far sum up to, for a slot that does not become whole.
    pub(crate) fn partial(&self) -> [i128; QUANTITIES] {
        core::array::from_fn(|n| {
            (i128::from(self.total[n]) << EDGE) + i128::from(self.first[n]) * i128::from(self.entry)
        })
    }

    pub(crate) fn clipped(&self) -> bool {
        self.clipped
    }
}

/// Where a channel's square is among the quantities.
pub(crate) const fn square_of(channel: usize) -> usize {
    match channel {
        0..VOLTAGES => phase(channel) + VV,
        VOLTAGES..6 => phase(channel - VOLTAGES) + II,
        _ => NEUTRAL,
    }
}

/// Fractional bits of [`inverse`].
pub(crate) const INVERSE: u32 = 87;

/// 2⁸⁷ over twice a length, which is seven samples at the least: 54 to 64 bits.
pub(crate) fn inverse(twice_length: u64) -> u64 {
    debug_assert!(twice_length > 1 << 23);
    ((1_u128 << INVERSE) / u128::from(twice_length)) as u64
}

/// A product of 64 bits each: one multiplication, where two wide numbers take three.
pub(crate) fn wide(a: i64, b: i64) -> i128 {
    i128::from(a) * i128::from(b)
}

/// The same with an [`inverse`], which has no sign.
pub(crate) fn scaled(value: i64, inverse: u64) -> i128 {
    i128::from(value) * i128::from(inverse)
}
