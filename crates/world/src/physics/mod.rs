//! The reference meter's physics: sensors, amplifiers, converter, clock and thermometer with the faults that real parts have.
//!
//! A [`Unit`] is one meter off the production line, drawn from its parts' [`Tolerances`] by a seed; nothing of what was drawn can be read back, so a
//! calibration sees what a factory sees: frames, the thermometer, and its own bench. [`LoadPoint`] says what is at the terminals. A [`Chamber`]
//! gives the ambient temperature against time. [`Effects`] switches every effect on its own.
//!
//! # How it is fast
//!
//! Everything linear (ratio, phase, skew, filter, cross-talk) acts on the lines of the load's spectrum, before a sample exists. A block of 64 frames
//! is then the load's lines times a table of rotations made once, and what is not linear (INL, a saturated core, clipping) follows sample by sample in
//! eight lanes. Noise is rows of a table, begun anew at a random row every 4 096 frames.
//! Cost: 32 multiply-adds a frame and line, about 70 operations a frame besides. `examples/physics_speed.rs` measures it.

mod chain;
mod chamber;
mod effects;
mod load;
pub(crate) mod noise;
mod signal;
mod tolerances;
mod unit;

pub use chamber::Chamber;
pub use effects::Effects;
pub use load::{FUNDAMENTAL, LoadPoint, Tone};
pub use signal::{SAMPLE_RATE_HZ, Signal};
pub use tolerances::{Sensor, Tolerances};
pub use unit::Unit;
