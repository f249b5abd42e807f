//! Which of the front end's faults act: each can be switched off, to see what it alone does.

/// Switches for the effects of a [`Unit`](super::Unit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effects {
    /// The converter's shared voltage reference: its error and its course over temperature.
    pub reference: bool,
    /// Voltage dividers: ratio and temperature coefficient.
    pub divider: bool,
    /// Shunts or current transformers: ratio, phase, and what they do over current and temperature.
    pub sensor: bool,
    /// The remanence of a transformer's core after a larger current.
    pub hysteresis: bool,
    /// Burden resistors: value and temperature coefficient.
    pub burden: bool,
    /// White and 1/f noise.
    pub noise: bool,
    /// Offsets and their drift.
    pub offset: bool,
    /// Integral non-linearity.
    pub nonlinearity: bool,
    /// Sampling instants that differ from channel to channel.
    pub skew: bool,
    /// The anti-alias filters' gain and delay.
    pub filter: bool,
    /// The crystal's error and its course over temperature.
    pub crystal: bool,
    /// Voltages that reach current channels.
    pub crosstalk: bool,
    /// What a magnet does to a transformer's core.
    pub magnet: bool,
    /// The thermometer's error and lag. Off: it shows the components' temperature.
    pub thermometer: bool,
    /// The meter's own warmth: case, and a shunt's.
    pub self_heating: bool,
    /// Drift with operating hours.
    pub ageing: bool,
}

impl Effects {
    /// A real unit.
    pub const ALL: Self = Self::each(true);
    /// An ideal 24-bit front end: only the converter's steps and its full scale are left.
    pub const NONE: Self = Self::each(false);

    const fn each(on: bool) -> Self {
        Self {
            reference: on,
            divider: on,
            sensor: on,
            hysteresis: on,
            burden: on,
            noise: on,
            offset: on,
            nonlinearity: on,
            skew: on,
            filter: on,
            crystal: on,
            crosstalk: on,
            magnet: on,
            thermometer: on,
            self_heating: on,
            ageing: on,
        }
    }
}

impl Default for Effects {
    fn default() -> Self {
        Self::ALL
    }
}
