//! The core itself: frames in, windows and energy out.

use crate::{Config, ConfigError, Frame, Nominal, Period, Registers, Window};

/// The metrology core of one meter.
#[derive(Clone, Debug)]
pub struct Metrology {
    registers: Registers,
    samples: u64,
    clipped_samples: u64,
}

impl Metrology {
    /// A core that goes on from `registers`.
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn new(config: Config, registers: Registers) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self { registers, samples: 0, clipped_samples: 0 })
    }

    /// Measures a block of frames of any length.
    pub fn push(&mut self, frames: &[Frame], _on_window: &mut dyn FnMut(&Window)) {
        self.samples += frames.len() as u64;
    }

    /// Flushes what is still in the last slot into energy.
    pub fn finish(&mut self) -> Option<Window> {
        None
    }

    /// The energy registers.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Frames pushed so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Frames in which a count was at or beyond full scale.
    pub fn clipped_samples(&self) -> u64 {
        self.clipped_samples
    }
}

/// The nominal frequency and cycle length of a finite record.
pub fn find_period(_sample_rate_microhertz: u64, _frames: &[Frame]) -> Option<(Nominal, Period)> {
    None
}
