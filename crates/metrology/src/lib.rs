//! From ADC counts to quantities and energy: integers only, no allocation, the same bits everywhere.
//!
//! [`Metrology`] takes [`Frame`]s in blocks of any length, hands out a [`Window`] of quantities every 10 or 12 supply cycles, and keeps the energy
//! [`Registers`]. [`find_period`] says where to begin with a finite record.
//!
//! # How it measures
//!
//! 1. The stream is cut into *slots* of one supply cycle, whose edges fall between samples (`slot`). Over a slot the `kernel` sums 24 products a
//!    frame, and their prefix sums: squares, voltage times current, and every channel times the cosine and sine of the supply's phase.
//! 2. From both sums follows how the slot divides between the boundaries before and after it with triangular weights (`slot`). A `boundary` joins
//!    the shares of its two slots: means over two cycles with a window whose transform has double zeros at every multiple of the supply frequency.
//! 3. Each boundary's raw sums become whole quanta of 1 nWh with exact residues, and its direction decides the registers (`energy`). The first half
//!    slot of a record waits until a boundary outweighs it; [`Metrology::finish`] books what is left. Nothing is estimated, no sample is left out.
//! 4. The fundamental's phasors of neighbouring boundaries give the frequency and so the length of the slots to come (`tracker`).
//! 5. Ten or twelve boundaries make a window (`accumulate`).
//!
//! # Which voltages give the frequency
//!
//! Each with a fundamental of at least 2⁻¹² of full scale and half of its RMS value, weighted by its square: one phase is enough, in any sequence.
//! A cycle in which a voltage stepped is left out, and a jump of frequency is followed once it is confirmed.
//! With none the slots return to the length they began with, frequency is `None`, and energy counts on.
//!
//! # Calibration
//!
//! [`Metrology::with_extras`] takes the unit's [`Calibration`] record. Offsets and delays act on the samples, six frames behind (`delay`); gain,
//! cross-talk and noise on a slot's sums (`calibration`), with coefficients that follow temperature and current from slot to slot.
//! [`Metrology::calibration_state`] says whether there is a record, and why not.
//!
//! # Start, creep and pulses
//!
//! With [`Thresholds`] a phase registers energy once a cycle's power reaches them (`thresholds`). Pulses are differences of registers, given out
//! evenly over the window after (`pulses`).
//!
//! # Events
//!
//! With [`EventSettings`] a slot also sums up its first half cycle (`slot`), and RMS values of each half cycle, boundaries and samples are compared
//! with thresholds (`events`). [`Metrology::take_event`] gives starts and ends from a bounded queue.
//!
//! # Harmonics
//!
//! [`Metrology::push_with_harmonics`] takes a [`HarmonicAnalysis`], 72 kB that belong to the caller, and gives [`Harmonics`] with each window: orders 1 to
//! 50 of all seven channels, absent where they are above 0.4 of the sampling rate (`harmonics`). Without it nothing is spent on them.
//!
//! # Beside the window
//!
//! [`Window::components`] has symmetrical components and harmonic power, [`MaximumDemand`] follows a register in blocks or sliding, and
//! [`Metrology::push_at`] (and [`Metrology::push_at_with_harmonics`]) takes numbered frames, leaves out what came twice and ends the record where frames are missing.
//!
//! # Cost
//!
//! 24 multiplications and 48 additions of 64 bits a frame; about 200 operations of 128 bits a slot, 10 kB of state and 10 kB of stack. No division and
//! no branch a frame. Calibration adds 24 multiplications a frame, events one comparison a half cycle, phase and kind, without division or root while
//! nothing happens (and the transients' three differences a frame, if they are on). A wider [`Kernel`] multiplies four channels at once.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod accumulate;
mod boundary;
mod calibration;
mod components;
mod config;
mod continuity;
mod delay;
mod demand;
mod energy;
mod events;
mod extras;
mod find;
mod frame;
mod harmonics;
mod kernel;
mod meter;
mod oscillator;
mod period;
mod pulses;
mod registers;
mod sequence;
mod slot;
#[cfg(test)]
mod tests;
mod thresholds;
mod tracker;
mod trig;
mod window;

pub use calibration::{
    Calibration, CalibrationError, CalibrationState, ChannelCalibration, CurvePoint, Quadratic, Transducer,
    UnitId,
};
pub use components::Components;
pub use config::{Config, ConfigError, Scale};
pub use continuity::Continuity;
pub use delay::Filter;
pub use demand::{Demand, DemandSettings, MaximumDemand};
pub use energy::MeteredEnergy;
pub use events::{Event, EventKind, EventSettings};
pub use extras::Extras;
pub use find::find_period;
pub use frame::{CURRENTS, Frame, VOLTAGES};
pub use harmonics::{HarmonicAnalysis, Harmonics, Spectrum};
pub use kernel::{BLOCK, Kernel, QUANTITIES, Sums};
pub use meter::Metrology;
pub use oscillator::{Oscillator, Rotation};
pub use period::{Nominal, Period};
pub use pulses::{Pulse, PulseSettings, Pulsed};
pub use registers::{DecodeError, PhaseEnergy, Registers};
pub use thresholds::{Started, Thresholds, Unregistered};
pub use window::{PhaseQuantities, Window};
