//! From ADC counts to quantities and energy: integers only, no allocation, the same bits everywhere.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod accumulate;
mod boundary;
mod config;
mod energy;
mod find;
mod frame;
mod kernel;
mod meter;
mod period;
mod registers;
mod slot;
mod tracker;
mod trig;
mod window;

pub use config::{Config, ConfigError, Scale};
pub use find::find_period;
pub use frame::{CURRENTS, Frame, VOLTAGES};
pub use meter::Metrology;
pub use period::{Nominal, Period};
pub use registers::{DecodeError, PhaseEnergy, Registers};
pub use window::{PhaseQuantities, Window};
