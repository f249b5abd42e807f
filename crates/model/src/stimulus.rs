//! What a person can do to a *virtual* meter from outside: the page's buttons and, later, the bench's procedures.
//! A stimulus changes the simulated world, never the meter: the meter must notice it through its sensors.

use core::fmt;
use core::str::FromStr;

/// An act upon a virtual meter's surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stimulus {
    /// Take the main cover off.
    OpenCover,
    /// Put the main cover back.
    CloseCover,
    /// Bring a permanent magnet to the case.
    BringMagnet,
    /// Take the magnet away.
    RemoveMagnet,
    /// A 1.2/50 µs surge on the supply.
    VoltageSpike,
}

impl Stimulus {
    /// Every stimulus.
    pub const ALL: [Self; 5] =
        [Self::OpenCover, Self::CloseCover, Self::BringMagnet, Self::RemoveMagnet, Self::VoltageSpike];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenCover => "open_cover",
            Self::CloseCover => "close_cover",
            Self::BringMagnet => "bring_magnet",
            Self::RemoveMagnet => "remove_magnet",
            Self::VoltageSpike => "voltage_spike",
        }
    }
}

impl fmt::Display for Stimulus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stimulus {
    type Err = UnknownStimulus;

    fn from_str(text: &str) -> Result<Self, UnknownStimulus> {
        Self::ALL.into_iter().find(|stimulus| stimulus.name() == text).ok_or(UnknownStimulus)
    }
}

/// A name that is no stimulus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownStimulus;

impl fmt::Display for UnknownStimulus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown stimulus; one of")?;
        Stimulus::ALL.iter().try_for_each(|stimulus| write!(f, " {stimulus}"))
    }
}

impl core::error::Error for UnknownStimulus {}
