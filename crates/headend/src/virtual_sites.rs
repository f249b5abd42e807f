//! The head-end's one opening to simulated meters: it can change what surrounds them, never what they say.

use meterseal_model::{MeterId, Stimulus};

/// Simulated sites that run in the same program.
pub trait VirtualSites: std::fmt::Debug + Send + Sync {
    /// Changes the surroundings of a meter. Must return at once.
    ///
    /// # Errors
    /// The meter is none of these, or does not run.
    fn apply(&self, meter: MeterId, stimulus: Stimulus) -> Result<(), StimulusError>;
}

/// Why surroundings cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StimulusError {
    /// No simulated site has this meter.
    #[error("no simulated site has this meter; choose one that was started in this program")]
    UnknownSite,
    /// The site is stopped.
    #[error("the simulated site is not running; start it first")]
    NotRunning,
}
