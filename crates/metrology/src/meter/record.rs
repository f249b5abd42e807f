//! The end of a record: whatever has not become a whole slot, boundary or window yet.

use super::{Last, Metrology, products};
use crate::{
    Window,
    accumulate::energies,
    boundary::Boundary,
    kernel::QUANTITIES,
    slot::{EDGE, Halves},
};

impl Metrology {
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
            let means = self.book_apparent(weight);
            return Some(self.take_window(&means, cycles, end));
        }
        let weight = weight + core::mem::take(&mut self.unbooked);
        self.account.book_apparent(energies(last.apparent, weight));
        if self.started {
            return None;
        }
        // The record ended while the first window waited for the frequency: the last boundary is the best there is.
        self.window_start = end - u128::from(last.boundary.twice_weight / 2);
        self.window.add(&last.boundary, None);
        let means = self.window.means();
        Some(self.take_window(&means, 1, end))
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
        let means = self.book_apparent(twice_weight - boundary.twice_weight);
        let end = self.window_start + u128::from(boundary.twice_weight / 2);
        self.take_window(&means, cycles, end)
    }
}
