//! Harmonics over a record: the root of the mean of the squares of its windows' orders, as IEC 61000-4-30 aggregates RMS values.

use meterseal_metrology::Harmonics;

/// Three voltages, then four currents.
pub(super) const CHANNELS: usize = 7;

/// Mean squares of each channel's orders.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    squares: [[f64; Harmonics::ORDERS]; CHANNELS],
    seconds: f64,
    /// An order that one window cannot have (where a section's rate is low) is absent in all.
    highest: usize,
}

impl Default for Orders {
    fn default() -> Self {
        Self { squares: [[0.0; Harmonics::ORDERS]; CHANNELS], seconds: 0.0, highest: Harmonics::ORDERS }
    }
}

impl Orders {
    pub(super) fn add(&mut self, harmonics: &Harmonics, seconds: f64) {
        let spectra = harmonics.voltages().into_iter().chain(harmonics.currents());
        for (squares, spectrum) in self.squares.iter_mut().zip(spectra) {
            for (square, order) in squares.iter_mut().zip(1..) {
                *square += (spectrum.rms(order).unwrap_or(0) as f64 * 1e-6).powi(2) * seconds;
            }
        }
        self.seconds += seconds;
        self.highest = self.highest.min(harmonics.highest_order());
    }

    /// RMS values of orders 1 to 50 in the channel's unit; `None` for an absent order, and all where no window had harmonics.
    pub(super) fn of(&self, channel: usize) -> Vec<Option<f64>> {
        let there = |order: usize| self.seconds > 0.0 && order <= self.highest;
        let squares = self.squares[channel].iter().zip(1..);
        squares.map(|(square, order)| there(order).then(|| (square / self.seconds).sqrt())).collect()
    }

    /// `√(Σ Gh²)/G1` over the orders from 2 that are there; `None` without harmonics or a fundamental.
    pub(super) fn distortion(&self, channel: usize) -> Option<f64> {
        let [fundamental, higher @ ..] = &self.squares[channel];
        let higher = higher.get(..self.highest.checked_sub(1)?)?;
        (self.seconds > 0.0 && *fundamental > 0.0).then(|| (higher.iter().sum::<f64>() / fundamental).sqrt())
    }
}
