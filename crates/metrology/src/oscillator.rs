//! The supply's cosine and sine, cell by cell.

use crate::{
    Frame,
    kernel::{self, QUANTITIES},
    slot::{EDGE, SAMPLE},
    trig,
};
use core::ops::Range;

/// Cosine and sine of the supply's phase in the middle of each cell, phase 0 at the slot's start.
///
/// A kernel takes them with [`run`](Self::run). The values are a recurrence that rounds at each step, so they come one after the other: a kernel does
/// well to leave that to the processor's scalar units while it multiplies in wide registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oscillator {
    /// The phase of the first cell's middle, in turns.
    phase: u64,
    /// The phase from cell to cell.
    step: u64,
    /// Cells since the first.
    cell: u32,
    rotation: Rotation,
}

/// The oscillator's state between two settings: what makes the next cosine and sine of the present ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The present cosine and sine, 30 fractional bits: 2⁻³¹ of rounding a step, forgotten every [`RENEWAL`] cells.
    cos: i64,
    sin: i64,
    /// Cosine and sine of the step, 32 fractional bits.
    step_cos: i64,
    step_sin: i64,
}

/// How often the oscillator is set anew, in cells: its rotation is exact to 2⁻³³ a step, so amplitude errs by less than 10⁻⁸.
const RENEWAL: u32 = 128;

impl Oscillator {
    /// One that turns by `step` from cell to cell, beginning with `phase`: both in units of 2⁻⁶⁴ of a turn.
    pub fn new(step: u64, phase: u64) -> Self {
        let (step_cos, step_sin) = trig::cos_sin(step);
        let round = |value: i64, bits: u32| (value + (1 << (bits - 1))) >> bits;
        let rotation =
            Rotation { cos: 0, sin: 0, step_cos: round(step_cos, 30), step_sin: round(step_sin, 30) };
        Self { phase, step, cell: 0, rotation }
    }

    /// A slot's, of whose first cell `before` belongs to the slot before; `step` is [`step_of`] the cycle.
    pub(crate) fn of_slot(step: u64, before: u64) -> Self {
        let offset = SAMPLE as i64 / 2 - before as i64;
        Self::new(step, ((i128::from(step) * i128::from(offset)) >> EDGE) as u64)
    }

    /// Gives `cells` cells to `each` in one or more stretches: the place of each stretch among them, and the rotation, of which it takes one
    /// [`next`](Rotation::next) a cell.
    #[inline(always)]
    pub fn run(&mut self, cells: usize, mut each: impl FnMut(Range<usize>, &mut Rotation)) {
        let mut done = 0;
        while done < cells {
            if self.cell.is_multiple_of(RENEWAL) {
                self.renew();
            }
            let length = ((RENEWAL - self.cell % RENEWAL) as usize).min(cells - done);
            // A copy, so that it stays in registers.
            let mut rotation = self.rotation;
            each(done..done + length, &mut rotation);
            self.rotation = rotation;
            self.cell += length as u32;
            done += length;
        }
    }

    /// Sets cosine and sine exactly.
    #[inline(never)]
    fn renew(&mut self) {
        let turn = self.phase.wrapping_add(u64::from(self.cell).wrapping_mul(self.step));
        let (cos, sin) = trig::cos_sin(turn);
        (self.rotation.cos, self.rotation.sin) = (cos >> 32, sin >> 32);
    }

    /// Cosines and sines of the next cells.
    pub(crate) fn fill(&mut self, cos: &mut [i32], sin: &mut [i32]) {
        self.run(cos.len(), |range, rotation| {
            for (cos, sin) in cos[range.clone()].iter_mut().zip(&mut sin[range]) {
                (*cos, *sin) = rotation.next();
            }
        });
    }

    /// The products of one frame, whose cell is the next.
    pub(crate) fn products(&mut self, frame: &Frame) -> [i64; QUANTITIES] {
        if self.cell.is_multiple_of(RENEWAL) {
            self.renew();
        }
        self.cell += 1;
        let (cos, sin) = self.rotation.next();
        kernel::products(frame, cos.into(), sin.into())
    }
}

impl Rotation {
    /// Cosine and sine of the present cell, 23 fractional bits; turns to the next one.
    #[inline(always)]
    #[allow(clippy::should_implement_trait, reason = "it has no end, and a bare pair is what kernels need")]
    pub fn next(&mut self) -> (i32, i32) {
        let Self { cos, sin, step_cos, step_sin } = *self;
        let now = (((cos + (1 << 6)) >> 7) as i32, ((sin + (1 << 6)) >> 7) as i32);
        let half = 1 << 31;
        self.cos = (cos * step_cos - sin * step_sin + half) >> 32;
        self.sin = (cos * step_sin + sin * step_cos + half) >> 32;
        now
    }
}

/// The phase from cell to cell, in turns, of a cycle in samples with [`EDGE`] fractional bits.
pub(crate) fn step_of(cycle: u64) -> u64 {
    ((1_u128 << (64 + EDGE)) / u128::from(cycle)) as u64
}
