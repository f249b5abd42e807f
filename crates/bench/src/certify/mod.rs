//! A certification: every requirement of the catalogue put to a meter on a bench, black box, with the evidence kept.
//!
//! Read in this order: [`Target`] is the meter on its bench; [`Procedure`] tests one requirement against it through a [`Bench`], and gives
//! [`Measured`] values; [`run`] does all of a catalogue, each requirement with a fresh specimen and its own random numbers, so that what comes out
//! depends neither on the order nor on what else is run. [`virtual_bench`] is the target that is simulated, [`network`] a real one; what only a person can do is
//! in [`manual`]; [`Specimen`] is what a defective
//! meter wraps.

mod engine;
pub mod evidence;
pub mod manual;
pub mod mark;
pub mod network;
mod outcome;
mod packages;
pub mod peer;
mod probes;
mod procedure;
mod procedures;
mod profile;
mod session;
mod speaker;
mod target;
pub mod virtual_bench;
pub mod wire;

pub use engine::{Earlier, Event, Finding, Laboratory, Plan, Record, Summary, run};
pub use network::{NetworkLaboratory, NetworkTarget};
pub use outcome::{DECISION_RULE, Limit, Measured, Outcome, Place, Verdict, amount, judge};
pub use packages::{Offered, Sample};
pub use peer::TlsPeer;
pub use procedure::{Bench, Effort, Entry, Procedure, Step, number, word};
pub use procedures::procedures;
pub use profile::{Profile, ProfileError, Ratings};
pub use session::{Done, Settings, about, certify};
pub use speaker::{Speaker, Unserved};
pub use target::{
    Alarm, CallId, Called, Caller, Counters, Credentials, Endpoint, Exchange, Received, Stimulus, Target,
    Trouble,
};
pub use virtual_bench::{
    Attests, BetweenImages, Front, Inside, Line, Made, Maker, Memory, NoFront, Specimen, VirtualBench,
    VirtualLaboratory, VirtualMeter,
};

#[cfg(test)]
mod tests;
