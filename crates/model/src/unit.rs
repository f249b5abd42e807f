//! Physical units by their DLMS enumeration (IEC 62056-6-2, class Register, attribute scaler_unit).

/// A unit and the number that DLMS gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Unit {
    /// Second.
    Second = 7,
    /// Watt.
    Watt = 27,
    /// Volt-ampere.
    VoltAmpere = 28,
    /// Volt-ampere reactive.
    Var = 29,
    /// Watt-hour.
    WattHour = 30,
    /// Volt-ampere-hour.
    VoltAmpereHour = 31,
    /// Var-hour.
    VarHour = 32,
    /// Ampere.
    Ampere = 33,
    /// Volt.
    Volt = 35,
    /// Tesla.
    Tesla = 43,
    /// Hertz.
    Hertz = 44,
    /// No unit, a count.
    Count = 255,
}

impl Unit {
    /// The symbol that people read.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Watt => "W",
            Self::VoltAmpere => "VA",
            Self::Var => "var",
            Self::WattHour => "Wh",
            Self::VoltAmpereHour => "VAh",
            Self::VarHour => "varh",
            Self::Ampere => "A",
            Self::Volt => "V",
            Self::Tesla => "T",
            Self::Hertz => "Hz",
            Self::Count => "",
        }
    }
}
