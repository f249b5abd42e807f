//! The interface classes and the types of values (IEC 62056-6-2).

/// The interface classes in use, each in the version that this meter implements (IEC 62056-6-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Data.
    Data,
    /// Register.
    Register,
    /// Extended register.
    ExtendedRegister,
    /// Demand register.
    DemandRegister,
    /// Script table.
    ScriptTable,
    /// Special days table.
    SpecialDays,
    /// Activity calendar.
    ActivityCalendar,
    /// Single action schedule.
    SingleActionSchedule,
    /// TCP-UDP setup.
    TcpUdpSetup,
    /// Disconnect control.
    DisconnectControl,
    /// Limiter.
    Limiter,
    /// Profile generic.
    ProfileGeneric,
    /// Clock.
    Clock,
    /// Association LN.
    AssociationLn,
    /// Image transfer.
    ImageTransfer,
    /// Push setup.
    PushSetup,
    /// Security setup.
    SecuritySetup,
    /// Log proofs: a class of our own, from the range for makers [32 768 and above, not verified against the standard's text].
    LogProofs,
}

impl Class {
    /// The class identifier.
    pub const fn id(self) -> u16 {
        match self {
            Self::Data => 1,
            Self::Register => 3,
            Self::ExtendedRegister => 4,
            Self::DemandRegister => 5,
            Self::ScriptTable => 9,
            Self::SpecialDays => 11,
            Self::ActivityCalendar => 20,
            Self::SingleActionSchedule => 22,
            Self::TcpUdpSetup => 41,
            Self::DisconnectControl => 70,
            Self::Limiter => 71,
            Self::ProfileGeneric => 7,
            Self::Clock => 8,
            Self::AssociationLn => 15,
            Self::ImageTransfer => 18,
            Self::PushSetup => 40,
            Self::SecuritySetup => 64,
            Self::LogProofs => 32_769,
        }
    }

    /// The version of the class.
    pub const fn version(self) -> u8 {
        match self {
            Self::ProfileGeneric | Self::AssociationLn | Self::SecuritySetup => 1,
            _ => 0,
        }
    }

    /// The name of the class.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "Data",
            Self::Register => "Register",
            Self::ExtendedRegister => "Extended register",
            Self::DemandRegister => "Demand register",
            Self::ScriptTable => "Script table",
            Self::SpecialDays => "Special days table",
            Self::ActivityCalendar => "Activity calendar",
            Self::SingleActionSchedule => "Single action schedule",
            Self::TcpUdpSetup => "TCP-UDP setup",
            Self::DisconnectControl => "Disconnect control",
            Self::Limiter => "Limiter",
            Self::ProfileGeneric => "Profile generic",
            Self::Clock => "Clock",
            Self::AssociationLn => "Association LN",
            Self::ImageTransfer => "Image transfer",
            Self::PushSetup => "Push setup",
            Self::SecuritySetup => "Security setup",
            Self::LogProofs => "Log proofs",
        }
    }
}

/// The type of an attribute's value (IEC 62056-6-2, common data types).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// array
    Array,
    /// structure
    Structure,
    /// boolean
    Boolean,
    /// bit-string
    BitString,
    /// integer (8 bits)
    Integer,
    /// long (16 bits)
    Long,
    /// long64
    Long64,
    /// unsigned (8 bits)
    Unsigned,
    /// long-unsigned (16 bits)
    LongUnsigned,
    /// double-long-unsigned (32 bits)
    DoubleLongUnsigned,
    /// long64-unsigned
    Long64Unsigned,
    /// enum
    Enum,
    /// octet-string
    OctetString,
}

impl Kind {
    /// The type's name in the standard.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Structure => "structure",
            Self::Boolean => "boolean",
            Self::BitString => "bit-string",
            Self::Integer => "integer",
            Self::Long => "long",
            Self::Long64 => "long64",
            Self::Unsigned => "unsigned",
            Self::LongUnsigned => "long-unsigned",
            Self::DoubleLongUnsigned => "double-long-unsigned",
            Self::Long64Unsigned => "long64-unsigned",
            Self::Enum => "enum",
            Self::OctetString => "octet-string",
        }
    }

    /// The tag that begins such a value on the wire (A-XDR `Data`).
    pub const fn tag(self) -> u8 {
        match self {
            Self::Array => 1,
            Self::Structure => 2,
            Self::Boolean => 3,
            Self::BitString => 4,
            Self::DoubleLongUnsigned => 6,
            Self::OctetString => 9,
            Self::Integer => 15,
            Self::Long => 16,
            Self::Unsigned => 17,
            Self::LongUnsigned => 18,
            Self::Long64 => 20,
            Self::Long64Unsigned => 21,
            Self::Enum => 22,
        }
    }
}
