//! From ADC counts to quantities and energy: integers only, no allocation, the same bits everywhere.

#![no_std]
#![forbid(unsafe_code)]

mod config;
mod frame;
mod meter;
mod period;
mod registers;
mod window;

pub use config::{Config, ConfigError, Scale};
pub use frame::{CURRENTS, Frame, VOLTAGES};
pub use meter::{Metrology, find_period};
pub use period::{Nominal, Period};
pub use registers::{DecodeError, PhaseEnergy, Registers};
pub use window::{PhaseQuantities, Window};
