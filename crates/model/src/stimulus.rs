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
    /// The radio has a signal with room to spare again.
    RadioGood,
    /// The radio is at the edge of its cell: segments are late, some are lost.
    RadioWeak,
    /// The radio is off, or hears nothing.
    RadioOff,
    /// The radio moves to another access point, where its connections are dead.
    RadioRoam,
    /// The access point takes connections and bytes, and delivers nothing.
    RadioSwallows,
}

impl Stimulus {
    /// Every stimulus.
    pub const ALL: [Self; 10] = [
        Self::OpenCover,
        Self::CloseCover,
        Self::BringMagnet,
        Self::RemoveMagnet,
        Self::VoltageSpike,
        Self::RadioGood,
        Self::RadioWeak,
        Self::RadioOff,
        Self::RadioRoam,
        Self::RadioSwallows,
    ];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenCover => "open_cover",
            Self::CloseCover => "close_cover",
            Self::BringMagnet => "bring_magnet",
            Self::RemoveMagnet => "remove_magnet",
            Self::VoltageSpike => "voltage_spike",
            Self::RadioGood => "radio_good",
            Self::RadioWeak => "radio_weak",
            Self::RadioOff => "radio_off",
            Self::RadioRoam => "radio_roam",
            Self::RadioSwallows => "radio_swallows",
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
