//! The supply's cosine and sine, cell by cell.

use crate::{
    Frame,
    kernel::{self, QUANTITIES},
    slot::{EDGE, SAMPLE},
    trig,
};

/// Cosine and sine of the supply's phase in the middle of each cell, phase 0 at the slot's start.
#[derive(Clone, Debug)]
pub(crate) struct Oscillator {
    /// The phase of the first cell's middle, in turns.
    phase: u64,
    /// The phase from cell to cell.
    step: u64,
    /// Cells since the first.
    cell: u32,
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
    pub(crate) fn new(cycle: u64, before: u64) -> Self {
        let step = ((1_u128 << (64 + EDGE)) / u128::from(cycle)) as u64;
        let offset = i128::from(SAMPLE / 2) - i128::from(before);
        let phase = ((i128::from(step) * offset) >> EDGE) as u64;
        let (step_cos, step_sin) = trig::cos_sin(step);
        let round = |value: i64, bits: u32| (value + (1 << (bits - 1))) >> bits;
        Self {
            phase,
            step,
            cell: 0,
            cos: 0,
            sin: 0,
            step_cos: round(step_cos, 30),
            step_sin: round(step_sin, 30),
        }
    }

    fn next(&mut self) -> (i32, i32) {
        if self.cell.is_multiple_of(RENEWAL) {
            let turn = self.phase.wrapping_add(u64::from(self.cell).wrapping_mul(self.step));
            let (cos, sin) = trig::cos_sin(turn);
            (self.cos, self.sin) = (cos >> 32, sin >> 32);
        }
        let now = (((self.cos + (1 << 6)) >> 7) as i32, ((self.sin + (1 << 6)) >> 7) as i32);
        let half = 1 << 31;
        (self.cos, self.sin) = (
            (self.cos * self.step_cos - self.sin * self.step_sin + half) >> 32,
            (self.cos * self.step_sin + self.sin * self.step_cos + half) >> 32,
        );
        self.cell += 1;
        now
    }

    pub(crate) fn fill(&mut self, cos: &mut [i32], sin: &mut [i32]) {
        for (cos, sin) in cos.iter_mut().zip(sin) {
            (*cos, *sin) = self.next();
        }
    }

    pub(crate) fn products(&mut self, frame: &Frame) -> [i64; QUANTITIES] {
        let (cos, sin) = self.next();
        kernel::accumulate(core::slice::from_ref(frame), &[cos], &[sin]).total
    }
}
