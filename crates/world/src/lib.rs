//! The physical world around a meter, deterministic from a seed and without a clock of its own.
//!
//! Read in this order: [`site`] makes the waveforms, sensors and accidents of a virtual meter's place;
//! [`comtrade`] reads and writes recorded waveforms (IEEE C37.111); [`mapping`] finds a recording's voltages and
//! currents; [`scaling`] turns physical values into front-end counts;
//! [`wifi`] is the radio between a meter and its network; [`flash`] a chip whose power can be cut at any operation.

#![forbid(unsafe_code)]

mod complex;
pub mod comtrade;
pub mod flash;
pub mod mapping;
pub mod physics;
mod random;
pub mod scaling;
pub mod site;
pub mod wifi;

pub use site::{Site, SiteKind};
