//! The words that every Meterseal crate shares.
//!
//! Read in this order: [`id`] names things, [`obis`] names COSEM objects, [`objects`] lists them with their rights, [`unit`] scales their values, [`time`]
//! says what a timestamp means, [`event`] lists what a meter can notice and [`alarm`] what it means, [`role`] says who may ask for what,
//! [`stimulus`] what a virtual meter can be made to feel. Nothing here does I/O or allocates.

#![no_std]
#![forbid(unsafe_code)]

pub mod alarm;
pub mod event;
pub mod id;
pub mod obis;
pub mod objects;
pub mod role;
pub mod sensor;
pub mod stimulus;
pub mod time;
pub mod unit;

pub use alarm::TamperCounter;
pub use event::EventCode;
pub use id::{Digest384, MeterId, SystemTitle};
pub use obis::Obis;
pub use role::{Role, Roles};
pub use sensor::SensorReadings;
pub use stimulus::Stimulus;
pub use time::{TimeBase, UnixMillis};
