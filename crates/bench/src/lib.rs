//! The test laboratory: what a meter is measured against, how it is calibrated, and whether it holds its limits.
//!
//! Read in this order: [`reference`] knows the truth about a load and shares no code with the meter's core; [`instrument`] is the laboratory's
//! measuring standard, which is a little wrong; [`rig`] connects a virtual unit's front end to the core; [`calibration`] is the factory's procedure;
//! [`computation`] asks what the core errs by alone; [`points`] lists loads, influences and limits; [`accuracy`] runs a population through them, [`report`] and [`plot`] show what came out; [`soak`] runs one
//! unit for a thousand hours; [`catalogue`] lists what a certification demands; [`tamper`] asks what a meter detects, and what it takes for
//! tampering in a normal life.

#![forbid(unsafe_code)]

pub mod accuracy;
pub mod calibration;
pub mod catalogue;
pub mod certify;
pub mod computation;
pub mod instrument;
pub mod plot;
pub mod points;
mod random;
pub mod reference;
pub mod report;
pub mod rig;
pub mod soak;
pub mod tamper;
