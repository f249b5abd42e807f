//! The columns of the profiles and of the push.

use super::{Class, Kind};
use crate::Obis;

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

/// The columns of the sealed log's leaves: a row's number is its leaf's place plus one.
pub const SEALED_LEAVES_COLUMNS: &[Column] = &[
    column(Class::Data, Obis::ROW_SEQUENCE, Kind::Long64Unsigned),
    column(Class::Data, Obis::SEALED_LEAF, Kind::OctetString),
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

/// The columns of the power-quality log: one row when an event begins, with duration 0, and one when it is over.
pub const POWER_QUALITY_COLUMNS: &[Column] = &[
    column(Class::Clock, Obis::CLOCK, Kind::OctetString),
    column(Class::Data, Obis::ROW_SEQUENCE, Kind::Long64Unsigned),
    column(Class::Data, Obis::POWER_QUALITY_EVENT, Kind::Unsigned),
    column(Class::Data, Obis::POWER_QUALITY_PHASE, Kind::Unsigned),
    column(Class::Data, Obis::POWER_QUALITY_DURATION, Kind::DoubleLongUnsigned),
    column(Class::Data, Obis::EVENT_EXTREME, Kind::Long64),
    column(Class::Data, Obis::UPTIME, Kind::Long64Unsigned),
];

/// The columns of the event log.
pub const EVENT_LOG_COLUMNS: &[Column] = &[
    column(Class::Clock, Obis::CLOCK, Kind::OctetString),
    column(Class::Data, Obis::ROW_SEQUENCE, Kind::Long64Unsigned),
    column(Class::Data, Obis::EVENT_LOG_CODE, Kind::Unsigned),
    column(Class::Data, Obis::EVENT_EXTREME, Kind::Long64),
    column(Class::Data, Obis::UPTIME, Kind::Long64Unsigned),
];

/// The columns of the billing profile.
pub const BILLING_COLUMNS: &[Column] = &[
    column(Class::Clock, Obis::CLOCK, Kind::OctetString),
    column(Class::Data, Obis::ROW_SEQUENCE, Kind::Long64Unsigned),
    column(Class::Register, Obis::ACTIVE_ENERGY_IMPORT, Kind::Long64Unsigned),
    column(Class::Register, Obis::ACTIVE_ENERGY_EXPORT, Kind::Long64Unsigned),
    column(Class::Register, Obis::REACTIVE_ENERGY_IMPORT, Kind::Long64Unsigned),
    column(Class::Register, Obis::REACTIVE_ENERGY_EXPORT, Kind::Long64Unsigned),
    column(Class::Register, Obis::RATE_IMPORT[0], Kind::Long64Unsigned),
    column(Class::Register, Obis::RATE_IMPORT[1], Kind::Long64Unsigned),
    column(Class::Register, Obis::RATE_IMPORT[2], Kind::Long64Unsigned),
    column(Class::Register, Obis::RATE_IMPORT[3], Kind::Long64Unsigned),
    column(Class::Register, Obis::RATE_EXPORT[0], Kind::Long64Unsigned),
    column(Class::Register, Obis::RATE_EXPORT[1], Kind::Long64Unsigned),
    column(Class::Register, Obis::RATE_EXPORT[2], Kind::Long64Unsigned),
    column(Class::Register, Obis::RATE_EXPORT[3], Kind::Long64Unsigned),
    column(Class::ExtendedRegister, Obis::MAXIMUM_DEMAND[0], Kind::DoubleLongUnsigned),
    capture_time(Obis::MAXIMUM_DEMAND[0]),
    column(Class::ExtendedRegister, Obis::MAXIMUM_DEMAND[1], Kind::DoubleLongUnsigned),
    capture_time(Obis::MAXIMUM_DEMAND[1]),
];

/// When an extended register's value was captured.
const fn capture_time(obis: Obis) -> Column {
    Column { class: Class::ExtendedRegister, obis, attribute: 5, kind: Kind::OctetString }
}

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

pub(super) const fn column(class: Class, obis: Obis, kind: Kind) -> Column {
    Column { class, obis, attribute: 2, kind }
}
