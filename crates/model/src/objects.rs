//! Every COSEM object of a Meterseal meter: one table, from which the meter takes its rights and its object list,
//! and from which `docs/object-model.md` is written. What is not in this table does not exist on the wire.

use core::fmt;

use crate::{Obis, Role, unit::Unit};

/// Every object, in the order of the object list.
pub const OBJECTS: &[Object] = &[
    // What the meter is.
    data(
        Obis::LOGICAL_DEVICE_NAME,
        "Logical device name",
        &[LOGICAL_NAME_PUBLIC, value(Kind::OctetString, PUBLIC)],
    ),
    data(Obis::METER_ID, "Meter identifier", &[LOGICAL_NAME_PUBLIC, value(Kind::OctetString, PUBLIC)]),
    data(Obis::DEVICE_TYPE, "Device type", &[LOGICAL_NAME, value(Kind::OctetString, READ)]),
    data(Obis::FIRMWARE_VERSION, "Firmware version", &[LOGICAL_NAME, value(Kind::OctetString, READ)]),
    data(Obis::FIRMWARE_DIGEST, "Firmware digest (SHA-384)", &[LOGICAL_NAME, value(Kind::OctetString, READ)]),
    data(Obis::TIME_BASE, "Time base (0 wall, 1 simulated)", &[LOGICAL_NAME, value(Kind::Unsigned, READ)]),
    data(
        Obis::UPTIME,
        "Uptime since power-up, milliseconds",
        &[LOGICAL_NAME, value(Kind::Long64Unsigned, READ)],
    ),
    // Association and security.
    Object {
        obis: Obis::ASSOCIATION,
        class: Class::AssociationLn,
        name: "Current association",
        attributes: &[
            LOGICAL_NAME,
            attribute(2, "object_list", Kind::Array, READ),
            attribute(3, "associated_partners_id", Kind::Structure, READ),
            attribute(4, "application_context_name", Kind::OctetString, READ),
            attribute(5, "xDLMS_context_info", Kind::Structure, READ),
            attribute(6, "authentication_mechanism_name", Kind::OctetString, READ),
            attribute(7, "secret", Kind::OctetString, NOBODY),
            attribute(8, "association_status", Kind::Enum, READ),
            attribute(9, "security_setup_reference", Kind::OctetString, READ),
        ],
        methods: &[Method { index: 1, name: "reply_to_HLS_authentication", rights: INVOKE_AUTHENTICATED }],
        scale: None,
    },
    Object {
        obis: Obis::SECURITY_SETUP,
        class: Class::SecuritySetup,
        name: "Security setup",
        attributes: &[
            LOGICAL_NAME,
            attribute(2, "security_policy", Kind::Enum, READ),
            attribute(3, "security_suite", Kind::Enum, READ),
            attribute(4, "client_system_title", Kind::OctetString, READ),
            attribute(5, "server_system_title", Kind::OctetString, READ),
            attribute(6, "certificates", Kind::Array, READ),
        ],
        methods: &[],
        scale: None,
    },
    data(
        Obis::INVOCATION_COUNTER,
        "Invocation counter: highest accepted from the utility",
        &[LOGICAL_NAME_PUBLIC, value(Kind::DoubleLongUnsigned, PUBLIC)],
    ),
    data(
        Obis::READER_INVOCATION_COUNTER,
        "Invocation counter: highest accepted from a reader",
        &[LOGICAL_NAME_PUBLIC, value(Kind::DoubleLongUnsigned, PUBLIC)],
    ),
    // Time.
    Object {
        obis: Obis::CLOCK,
        class: Class::Clock,
        name: "Clock (UTC)",
        attributes: &[
            LOGICAL_NAME,
            attribute(2, "time", Kind::OctetString, UTILITY_SETS),
            attribute(3, "time_zone", Kind::Long, READ),
            attribute(4, "status", Kind::Unsigned, READ),
            attribute(5, "daylight_savings_begin", Kind::OctetString, READ),
            attribute(6, "daylight_savings_end", Kind::OctetString, READ),
            attribute(7, "daylight_savings_deviation", Kind::Integer, READ),
            attribute(8, "daylight_savings_enabled", Kind::Boolean, READ),
            attribute(9, "clock_base", Kind::Enum, READ),
        ],
        methods: &[],
        scale: None,
    },
    // Energy registers: what flash holds.
    energy(Obis::ACTIVE_ENERGY_IMPORT, "Active energy import (+A)", Unit::WattHour),
    energy(Obis::ACTIVE_ENERGY_EXPORT, "Active energy export (-A)", Unit::WattHour),
    energy(Obis::REACTIVE_ENERGY_IMPORT, "Reactive energy import (+R)", Unit::VarHour),
    energy(Obis::REACTIVE_ENERGY_EXPORT, "Reactive energy export (-R)", Unit::VarHour),
    energy(Obis::QUADRANT_ENERGY[0], "Reactive energy, quadrant I", Unit::VarHour),
    energy(Obis::QUADRANT_ENERGY[1], "Reactive energy, quadrant II", Unit::VarHour),
    energy(Obis::QUADRANT_ENERGY[2], "Reactive energy, quadrant III", Unit::VarHour),
    energy(Obis::QUADRANT_ENERGY[3], "Reactive energy, quadrant IV", Unit::VarHour),
    energy(Obis::PHASE_ENERGY_IMPORT[0], "Active energy import L1", Unit::WattHour),
    energy(Obis::PHASE_ENERGY_IMPORT[1], "Active energy import L2", Unit::WattHour),
    energy(Obis::PHASE_ENERGY_IMPORT[2], "Active energy import L3", Unit::WattHour),
    energy(Obis::PHASE_ENERGY_EXPORT[0], "Active energy export L1", Unit::WattHour),
    energy(Obis::PHASE_ENERGY_EXPORT[1], "Active energy export L2", Unit::WattHour),
    energy(Obis::PHASE_ENERGY_EXPORT[2], "Active energy export L3", Unit::WattHour),
    // Live quantities: the latest measuring window.
    power(Obis::ACTIVE_POWER_IMPORT, "Active power import (+P)", Unit::Watt),
    power(Obis::ACTIVE_POWER_EXPORT, "Active power export (-P)", Unit::Watt),
    power(Obis::REACTIVE_POWER_IMPORT, "Reactive power import (+Q)", Unit::Var),
    power(Obis::REACTIVE_POWER_EXPORT, "Reactive power export (-Q)", Unit::Var),
    power(Obis::APPARENT_POWER, "Apparent power (arithmetic)", Unit::VoltAmpere),
    factor(Obis::POWER_FACTOR, "Power factor"),
    register(Obis::FREQUENCY, "Supply frequency", LIVE_UNSIGNED, -3, Unit::Hertz),
    register(Obis::NEUTRAL_CURRENT, "Neutral current", LIVE_UNSIGNED, -6, Unit::Ampere),
    register(Obis::VOLTAGE[0], "Voltage L1", LIVE_UNSIGNED, -3, Unit::Volt),
    register(Obis::VOLTAGE[1], "Voltage L2", LIVE_UNSIGNED, -3, Unit::Volt),
    register(Obis::VOLTAGE[2], "Voltage L3", LIVE_UNSIGNED, -3, Unit::Volt),
    register(Obis::CURRENT[0], "Current L1", LIVE_UNSIGNED, -6, Unit::Ampere),
    register(Obis::CURRENT[1], "Current L2", LIVE_UNSIGNED, -6, Unit::Ampere),
    register(Obis::CURRENT[2], "Current L3", LIVE_UNSIGNED, -6, Unit::Ampere),
    power(Obis::PHASE_POWER_IMPORT[0], "Active power import L1", Unit::Watt),
    power(Obis::PHASE_POWER_IMPORT[1], "Active power import L2", Unit::Watt),
    power(Obis::PHASE_POWER_IMPORT[2], "Active power import L3", Unit::Watt),
    power(Obis::PHASE_POWER_EXPORT[0], "Active power export L1", Unit::Watt),
    power(Obis::PHASE_POWER_EXPORT[1], "Active power export L2", Unit::Watt),
    power(Obis::PHASE_POWER_EXPORT[2], "Active power export L3", Unit::Watt),
    power(Obis::PHASE_REACTIVE_IMPORT[0], "Reactive power import L1", Unit::Var),
    power(Obis::PHASE_REACTIVE_IMPORT[1], "Reactive power import L2", Unit::Var),
    power(Obis::PHASE_REACTIVE_IMPORT[2], "Reactive power import L3", Unit::Var),
    power(Obis::PHASE_REACTIVE_EXPORT[0], "Reactive power export L1", Unit::Var),
    power(Obis::PHASE_REACTIVE_EXPORT[1], "Reactive power export L2", Unit::Var),
    power(Obis::PHASE_REACTIVE_EXPORT[2], "Reactive power export L3", Unit::Var),
    factor(Obis::PHASE_POWER_FACTOR[0], "Power factor L1"),
    factor(Obis::PHASE_POWER_FACTOR[1], "Power factor L2"),
    factor(Obis::PHASE_POWER_FACTOR[2], "Power factor L3"),
    // The load profile.
    profile(Obis::LOAD_PROFILE, "Load profile 1"),
    data(
        Obis::PROFILE_STATUS,
        "Load profile status of the last row",
        &[LOGICAL_NAME, value(Kind::Unsigned, READ)],
    ),
    register(Obis::AVERAGE_VOLTAGE[0], "Mean voltage L1, last interval", LIVE_SHORT, -2, Unit::Volt),
    register(Obis::AVERAGE_VOLTAGE[1], "Mean voltage L2, last interval", LIVE_SHORT, -2, Unit::Volt),
    register(Obis::AVERAGE_VOLTAGE[2], "Mean voltage L3, last interval", LIVE_SHORT, -2, Unit::Volt),
    data(
        Obis::COMMITTED_LOAD_PROFILE,
        "Commit acknowledgement: highest load-profile sequence stored by the head-end",
        &[LOGICAL_NAME, value(Kind::Long64Unsigned, UTILITY_SETS)],
    ),
    // The security log and its alarms.
    profile(Obis::SECURITY_LOG, "Security log"),
    data(
        Obis::ROW_SEQUENCE,
        "Sequence of the newest security-log row",
        &[LOGICAL_NAME, value(Kind::Long64Unsigned, READ)],
    ),
    data(Obis::SECURITY_EVENT_CODE, "Newest security event", &[LOGICAL_NAME, value(Kind::Unsigned, READ)]),
    data(
        Obis::EVENT_EXTREME,
        "Extreme value of the newest security event",
        &[LOGICAL_NAME, value(Kind::Long64, READ)],
    ),
    data(
        Obis::COMMITTED_SECURITY_LOG,
        "Commit acknowledgement: highest security-log sequence stored by the head-end",
        &[LOGICAL_NAME, value(Kind::Long64Unsigned, UTILITY_SETS)],
    ),
    data(
        Obis::ALARM_REGISTER,
        "Alarm register 1",
        &[LOGICAL_NAME, value(Kind::DoubleLongUnsigned, UTILITY_SETS)],
    ),
    Object {
        obis: Obis::ALARM_PUSH_SETUP,
        class: Class::PushSetup,
        name: "Push setup for security events",
        attributes: &[
            LOGICAL_NAME,
            attribute(2, "push_object_list", Kind::Array, READ),
            attribute(3, "send_destination_and_method", Kind::Structure, READ),
            attribute(4, "communication_window", Kind::Array, READ),
            attribute(5, "randomisation_start_interval", Kind::LongUnsigned, READ),
            attribute(6, "number_of_retries", Kind::Unsigned, READ),
            attribute(7, "repetition_delay", Kind::LongUnsigned, READ),
        ],
        methods: &[],
        scale: None,
    },
];

/// The object with this class and logical name.
pub fn find(class_id: u16, obis: Obis) -> Option<&'static Object> {
    OBJECTS.iter().find(|object| object.obis == obis && object.class.id() == class_id)
}

/// One COSEM object.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// Its logical name.
    pub obis: Obis,
    /// Its interface class.
    pub class: Class,
    /// What a person calls it.
    pub name: &'static str,
    /// Its attributes, the logical name first.
    pub attributes: &'static [Attribute],
    /// The methods that it offers.
    pub methods: &'static [Method],
    /// For registers: scaler and unit of the value.
    pub scale: Option<Scale>,
}

impl Object {
    /// The attribute with this index.
    pub fn attribute(&self, index: i8) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.index == index)
    }

    /// The method with this index.
    pub fn method(&self, index: i8) -> Option<&'static Method> {
        self.methods.iter().find(|method| method.index == index)
    }

    /// Whether a role may do anything at all with this object: only then is it in the role's object list.
    pub fn is_visible_to(&self, role: Role) -> bool {
        self.attributes.iter().any(|attribute| attribute.rights.of(role) != Access::None)
    }
}

/// One attribute of an object.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its index, from 1 (the logical name).
    pub index: i8,
    /// Its name in IEC 62056-6-2.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// Who may do what with it.
    pub rights: Rights,
}

/// One method of an object.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Its index, from 1.
    pub index: i8,
    /// Its name in IEC 62056-6-2.
    pub name: &'static str,
    /// Who may invoke it: any access but [`Access::None`].
    pub rights: Rights,
}

/// What each role may do.
#[derive(Clone, Copy, Debug)]
pub struct Rights {
    /// Without authentication.
    pub public: Access,
    /// A reader.
    pub reader: Access,
    /// The utility.
    pub utility: Access,
}

impl Rights {
    /// What this role may do.
    pub const fn of(self, role: Role) -> Access {
        match role {
            Role::Public => self.public,
            Role::Reader => self.reader,
            Role::Utility => self.utility,
        }
    }
}

/// What may be done with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    None,
    /// GET (or, for a method, ACTION).
    Read,
    /// GET and SET.
    ReadWrite,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "–",
            Self::Read => "get",
            Self::ReadWrite => "get, set",
        })
    }
}

/// The interface classes in use, each in the version that this meter implements (IEC 62056-6-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Data.
    Data,
    /// Register.
    Register,
    /// Profile generic.
    ProfileGeneric,
    /// Clock.
    Clock,
    /// Association LN.
    AssociationLn,
    /// Push setup.
    PushSetup,
    /// Security setup.
    SecuritySetup,
}

impl Class {
    /// The class identifier.
    pub const fn id(self) -> u16 {
        match self {
            Self::Data => 1,
            Self::Register => 3,
            Self::ProfileGeneric => 7,
            Self::Clock => 8,
            Self::AssociationLn => 15,
            Self::PushSetup => 40,
            Self::SecuritySetup => 64,
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
            Self::ProfileGeneric => "Profile generic",
            Self::Clock => "Clock",
            Self::AssociationLn => "Association LN",
            Self::PushSetup => "Push setup",
            Self::SecuritySetup => "Security setup",
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

/// Scaler and unit of a register: its value × 10^scaler is in `unit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The power of ten.
    pub scaler: i8,
    /// The unit.
    pub unit: Unit,
}

/// One column of a profile: which attribute of which object it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The captured object's class.
    pub class: Class,
    /// The captured object's logical name.
    pub obis: Obis,
    /// The captured attribute.
    pub attribute: i8,
    /// The type of the column's values.
    pub kind: Kind,
}

/// The columns of the security log. The clock comes first: clients that ask for a range without having read the
/// sort object take the first column for it.
pub const SECURITY_LOG_COLUMNS: &[Column] = &[
    column(Class::Clock, Obis::CLOCK, Kind::OctetString),
    column(Class::Data, Obis::ROW_SEQUENCE, Kind::Long64Unsigned),
    column(Class::Data, Obis::SECURITY_EVENT_CODE, Kind::Unsigned),
    column(Class::Data, Obis::EVENT_EXTREME, Kind::Long64),
    column(Class::Data, Obis::UPTIME, Kind::Long64Unsigned),
];

/// The columns of the load profile.
pub const LOAD_PROFILE_COLUMNS: &[Column] = &[
    column(Class::Clock, Obis::CLOCK, Kind::OctetString),
    column(Class::Data, Obis::ROW_SEQUENCE, Kind::Long64Unsigned),
    column(Class::Data, Obis::PROFILE_STATUS, Kind::Unsigned),
    column(Class::Register, Obis::ACTIVE_ENERGY_IMPORT, Kind::Long64Unsigned),
    column(Class::Register, Obis::ACTIVE_ENERGY_EXPORT, Kind::Long64Unsigned),
    column(Class::Register, Obis::REACTIVE_ENERGY_IMPORT, Kind::Long64Unsigned),
    column(Class::Register, Obis::REACTIVE_ENERGY_EXPORT, Kind::Long64Unsigned),
    column(Class::Register, Obis::AVERAGE_VOLTAGE[0], Kind::LongUnsigned),
    column(Class::Register, Obis::AVERAGE_VOLTAGE[1], Kind::LongUnsigned),
    column(Class::Register, Obis::AVERAGE_VOLTAGE[2], Kind::LongUnsigned),
];

/// What a pushed security event holds, in order: the body's structure.
pub const PUSH_COLUMNS: &[Column] = &[
    Column { class: Class::PushSetup, obis: Obis::ALARM_PUSH_SETUP, attribute: 1, kind: Kind::OctetString },
    column(Class::Data, Obis::METER_ID, Kind::OctetString),
    column(Class::Data, Obis::ROW_SEQUENCE, Kind::Long64Unsigned),
    column(Class::Clock, Obis::CLOCK, Kind::OctetString),
    column(Class::Data, Obis::SECURITY_EVENT_CODE, Kind::Unsigned),
    column(Class::Data, Obis::EVENT_EXTREME, Kind::Long64),
    column(Class::Data, Obis::UPTIME, Kind::Long64Unsigned),
];

const NOBODY: Rights = Rights { public: Access::None, reader: Access::None, utility: Access::None };
const PUBLIC: Rights = Rights { public: Access::Read, reader: Access::Read, utility: Access::Read };
const READ: Rights = Rights { public: Access::None, reader: Access::Read, utility: Access::Read };
const UTILITY_SETS: Rights =
    Rights { public: Access::None, reader: Access::Read, utility: Access::ReadWrite };
const INVOKE_AUTHENTICATED: Rights = READ;

const LOGICAL_NAME: Attribute = attribute(1, "logical_name", Kind::OctetString, READ);
const LOGICAL_NAME_PUBLIC: Attribute = attribute(1, "logical_name", Kind::OctetString, PUBLIC);
const SCALER_UNIT: Attribute = attribute(3, "scaler_unit", Kind::Structure, READ);

const LIVE_UNSIGNED: &[Attribute] = &[LOGICAL_NAME, value(Kind::DoubleLongUnsigned, READ), SCALER_UNIT];
const LIVE_SHORT: &[Attribute] = &[LOGICAL_NAME, value(Kind::LongUnsigned, READ), SCALER_UNIT];
const LIVE_SIGNED: &[Attribute] = &[LOGICAL_NAME, value(Kind::Long, READ), SCALER_UNIT];
const ENERGY: &[Attribute] = &[LOGICAL_NAME, value(Kind::Long64Unsigned, READ), SCALER_UNIT];
const PROFILE: &[Attribute] = &[
    LOGICAL_NAME,
    attribute(2, "buffer", Kind::Array, READ),
    attribute(3, "capture_objects", Kind::Array, READ),
    attribute(4, "capture_period", Kind::DoubleLongUnsigned, READ),
    attribute(5, "sort_method", Kind::Enum, READ),
    attribute(6, "sort_object", Kind::Structure, READ),
    attribute(7, "entries_in_use", Kind::DoubleLongUnsigned, READ),
    attribute(8, "profile_entries", Kind::DoubleLongUnsigned, READ),
];

const fn attribute(index: i8, name: &'static str, kind: Kind, rights: Rights) -> Attribute {
    Attribute { index, name, kind, rights }
}

const fn value(kind: Kind, rights: Rights) -> Attribute {
    attribute(2, "value", kind, rights)
}

const fn column(class: Class, obis: Obis, kind: Kind) -> Column {
    Column { class, obis, attribute: 2, kind }
}

const fn data(obis: Obis, name: &'static str, attributes: &'static [Attribute]) -> Object {
    Object { obis, class: Class::Data, name, attributes, methods: &[], scale: None }
}

const fn register(
    obis: Obis,
    name: &'static str,
    attributes: &'static [Attribute],
    scaler: i8,
    unit: Unit,
) -> Object {
    Object {
        obis,
        class: Class::Register,
        name,
        attributes,
        methods: &[],
        scale: Some(Scale { scaler, unit }),
    }
}

/// Energy in thousandths of a watt-hour: 2⁶⁴ of them are more than a meter's life.
const fn energy(obis: Obis, name: &'static str, unit: Unit) -> Object {
    register(obis, name, ENERGY, -3, unit)
}

/// Power in hundredths of a watt: 32 bits reach 42.9 MW, enough for transformer-connected meters.
const fn power(obis: Obis, name: &'static str, unit: Unit) -> Object {
    register(obis, name, LIVE_UNSIGNED, -2, unit)
}

const fn factor(obis: Obis, name: &'static str) -> Object {
    register(obis, name, LIVE_SIGNED, -3, Unit::Count)
}

const fn profile(obis: Obis, name: &'static str) -> Object {
    Object { obis, class: Class::ProfileGeneric, name, attributes: PROFILE, methods: &[], scale: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_is_there_once_and_begins_with_its_logical_name() {
        for (k, object) in OBJECTS.iter().enumerate() {
            assert!(OBJECTS[..k].iter().all(|other| other.obis != object.obis), "{} twice", object.obis);
            assert_eq!(object.attributes[0].index, 1, "{}", object.obis);
            assert_eq!(object.scale.is_some(), object.class == Class::Register, "{}", object.obis);
        }
    }

    #[test]
    fn every_column_names_an_object_with_that_attribute_and_type() {
        for column in SECURITY_LOG_COLUMNS.iter().chain(LOAD_PROFILE_COLUMNS).chain(PUSH_COLUMNS) {
            let object = find(column.class.id(), column.obis).unwrap();
            assert_eq!(object.attribute(column.attribute).unwrap().kind, column.kind, "{}", column.obis);
        }
    }

    #[test]
    fn the_public_may_set_nothing_and_reads_only_names_and_counters() {
        for object in OBJECTS {
            for attribute in object.attributes {
                assert_ne!(attribute.rights.of(Role::Public), Access::ReadWrite);
                assert_ne!(attribute.rights.of(Role::Reader), Access::ReadWrite);
            }
        }
        let visible = OBJECTS.iter().filter(|object| object.is_visible_to(Role::Public));
        assert!(visible.map(|object| object.obis).eq([
            Obis::LOGICAL_DEVICE_NAME,
            Obis::METER_ID,
            Obis::INVOCATION_COUNTER,
            Obis::READER_INVOCATION_COUNTER
        ]));
    }
}
