//! What a person can do to a *virtual* meter from outside: the page's buttons and, later, the bench's procedures.
//! A stimulus changes the simulated world, never the meter: the meter must notice it through its sensors.

use core::fmt;
use core::str::FromStr;

macro_rules! stimuli {
    ($($variant:ident = $name:literal, $doc:literal;)*) => {
        /// An act upon a virtual meter's surroundings.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Stimulus {
            $(#[doc = $doc] $variant,)*
        }

        impl Stimulus {
            /// Every stimulus.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in the API.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

stimuli! {
    OpenCover = "open_cover", "Take the main cover off.";
    CloseCover = "close_cover", "Put the main cover back.";
    BringMagnet = "bring_magnet", "Bring a permanent magnet to the case.";
    RemoveMagnet = "remove_magnet", "Take the magnet away.";
    VoltageSpike = "voltage_spike", "A 1.2/50 µs surge on the supply.";
    OpenTerminalCover = "open_terminal_cover", "Take the terminal cover off.";
    CloseTerminalCover = "close_terminal_cover", "Put the terminal cover back.";
    BringCoil = "bring_coil", "Switch on a coil at the case that makes an alternating field.";
    RemoveCoil = "remove_coil", "Switch the coil off.";
    Tilt = "tilt", "Turn the meter out of its position.";
    Straighten = "straighten", "Turn it back.";
    RaiseVoltage = "raise_voltage", "Raise a phase's voltage by a quarter.";
    LowerVoltage = "lower_voltage", "Bring it back to what it was.";
    LosePhase = "lose_phase", "Take a phase's voltage away, and with it its current.";
    ReturnPhase = "return_phase", "Bring it back.";
    ExchangePhases = "exchange_phases", "Exchange two phases.";
    OrderPhases = "order_phases", "Put them back into their order.";
    InterruptSupply = "interrupt_supply", "Take the voltage of all phases away.";
    RestoreSupply = "restore_supply", "Bring it back.";
    ReverseCurrent = "reverse_current", "Turn a current transformer around.";
    ForwardCurrent = "forward_current", "Turn it back.";
    BypassMeter = "bypass_meter", "Lead half of a phase's current past the meter.";
    RemoveBypass = "remove_bypass", "Take the bypass away.";
    OpenVoltageLink = "open_voltage_link", "Cut what measures a phase's voltage; its current flows on.";
    CloseVoltageLink = "close_voltage_link", "Connect it again.";
    Heat = "heat", "Heat the meter to more than it may have.";
    Cool = "cool", "Let it cool.";
    RadioGood = "radio_good", "The radio has a signal with room to spare again.";
    RadioWeak = "radio_weak", "The radio is at the edge of its cell: segments are late, some are lost.";
    RadioOff = "radio_off", "The radio is off, or hears nothing.";
    RadioRoam = "radio_roam", "The radio moves to another access point, where its connections are dead.";
    RadioSwallows = "radio_swallows", "The access point takes connections and bytes, and delivers nothing.";
}

impl fmt::Display for Stimulus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stimulus {
    type Err = UnknownStimulus;

    fn from_str(text: &str) -> Result<Self, UnknownStimulus> {
        Self::ALL.iter().copied().find(|stimulus| stimulus.name() == text).ok_or(UnknownStimulus)
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
