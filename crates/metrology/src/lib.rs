//! From ADC counts to quantities and energy: integers only, no allocation, the same bits everywhere.

#![no_std]
#![forbid(unsafe_code)]

mod frame;

pub use frame::{CURRENTS, Frame, VOLTAGES};
