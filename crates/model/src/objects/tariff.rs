//! Tariffs: energy by rate, demand, the calendar and its special days, billing and its schedule, the event log.

use super::build::*;

pub(super) const OBJECTS: &[Object] = &[
    energy(Obis::RATE_IMPORT[0], "Active energy import, rate 1", Unit::WattHour),
    energy(Obis::RATE_IMPORT[1], "Active energy import, rate 2", Unit::WattHour),
    energy(Obis::RATE_IMPORT[2], "Active energy import, rate 3", Unit::WattHour),
    energy(Obis::RATE_IMPORT[3], "Active energy import, rate 4", Unit::WattHour),
    energy(Obis::RATE_EXPORT[0], "Active energy export, rate 1", Unit::WattHour),
    energy(Obis::RATE_EXPORT[1], "Active energy export, rate 2", Unit::WattHour),
    energy(Obis::RATE_EXPORT[2], "Active energy export, rate 3", Unit::WattHour),
    energy(Obis::RATE_EXPORT[3], "Active energy export, rate 4", Unit::WattHour),
    data(Obis::ACTIVE_RATE, "Rate in force (1 to 4)", &[LOGICAL_NAME, value(Kind::Unsigned, READ)]),
    demand(Obis::DEMAND[0], "Demand of active power import"),
    demand(Obis::DEMAND[1], "Demand of active power export"),
    maximum(Obis::MAXIMUM_DEMAND[0], "Maximum demand of active power import"),
    maximum(Obis::MAXIMUM_DEMAND[1], "Maximum demand of active power export"),
    Object {
        obis: Obis::ACTIVITY_CALENDAR,
        class: Class::ActivityCalendar,
        name: "Activity calendar",
        attributes: &[
            LOGICAL_NAME,
            attribute(2, "calendar_name_active", Kind::OctetString, READ),
            attribute(3, "season_profile_active", Kind::Array, READ),
            attribute(4, "week_profile_table_active", Kind::Array, READ),
            attribute(5, "day_profile_table_active", Kind::Array, READ),
            attribute(6, "calendar_name_passive", Kind::OctetString, UTILITY_SETS),
            attribute(7, "season_profile_passive", Kind::Array, UTILITY_SETS),
            attribute(8, "week_profile_table_passive", Kind::Array, UTILITY_SETS),
            attribute(9, "day_profile_table_passive", Kind::Array, UTILITY_SETS),
            attribute(10, "activate_passive_calendar_time", Kind::OctetString, UTILITY_SETS),
        ],
        methods: &[method(1, "activate_passive_calendar", UTILITY)],
        scale: None,
    },
    Object {
        obis: Obis::SPECIAL_DAYS,
        class: Class::SpecialDays,
        name: "Special days table",
        attributes: &[LOGICAL_NAME, attribute(2, "entries", Kind::Array, UTILITY_SETS)],
        methods: &[method(1, "insert", UTILITY), method(2, "delete", UTILITY)],
        scale: None,
    },
    // The calendar's own: nobody else chooses a rate.
    scripts(Obis::TARIFF_SCRIPTS, "Script table: tariff rates", &[method(1, "execute", Roles::NONE)]),
    scripts(Obis::BILLING_SCRIPTS, "Script table: end of billing period", &[method(1, "execute", UTILITY)]),
    Object {
        obis: Obis::BILLING_SCHEDULE,
        class: Class::SingleActionSchedule,
        name: "Single action schedule: end of billing period",
        attributes: &[
            LOGICAL_NAME,
            attribute(2, "executed_script", Kind::Structure, READ),
            attribute(3, "type", Kind::Enum, READ),
            attribute(4, "execution_time", Kind::Array, UTILITY_SETS),
        ],
        methods: &[],
        scale: None,
    },
    profile(Obis::BILLING_PROFILE, "Data of billing period 1"),
    Object {
        obis: Obis::EVENT_LOG,
        class: Class::ProfileGeneric,
        name: "Event log",
        attributes: PROFILE,
        methods: &[method(1, "reset", UTILITY)],
        scale: None,
    },
    data(Obis::EVENT_LOG_CODE, "Newest event of the event log", &[LOGICAL_NAME, value(Kind::Unsigned, READ)]),
];

pub(super) const UTILITY: Roles = Roles::of(&[Role::Utility]);

/// Power in hundredths of a watt, like the live powers.
const POWER: Option<Scale> = Some(Scale { scaler: -2, unit: Unit::Watt });

const fn demand(obis: Obis, name: &'static str) -> Object {
    const ATTRIBUTES: &[Attribute] = &[
        LOGICAL_NAME,
        attribute(2, "current_average_value", Kind::DoubleLongUnsigned, READ),
        attribute(3, "last_average_value", Kind::DoubleLongUnsigned, READ),
        attribute(4, "scaler_unit", Kind::Structure, READ),
        attribute(5, "status", Kind::Unsigned, READ),
        attribute(6, "capture_time", Kind::OctetString, READ),
        attribute(7, "start_time_current", Kind::OctetString, READ),
        attribute(8, "period", Kind::DoubleLongUnsigned, READ),
        attribute(9, "number_of_periods", Kind::LongUnsigned, READ),
    ];
    Object { obis, class: Class::DemandRegister, name, attributes: ATTRIBUTES, methods: &[], scale: POWER }
}

const fn maximum(obis: Obis, name: &'static str) -> Object {
    const ATTRIBUTES: &[Attribute] = &[
        LOGICAL_NAME,
        attribute(2, "value", Kind::DoubleLongUnsigned, READ),
        attribute(3, "scaler_unit", Kind::Structure, READ),
        attribute(4, "status", Kind::Unsigned, READ),
        attribute(5, "capture_time", Kind::OctetString, READ),
    ];
    const METHODS: &[Method] = &[method(1, "reset", UTILITY)];
    Object {
        obis,
        class: Class::ExtendedRegister,
        name,
        attributes: ATTRIBUTES,
        methods: METHODS,
        scale: POWER,
    }
}

pub(super) const fn scripts(obis: Obis, name: &'static str, methods: &'static [Method]) -> Object {
    const ATTRIBUTES: &[Attribute] = &[LOGICAL_NAME, attribute(2, "scripts", Kind::Array, READ)];
    Object { obis, class: Class::ScriptTable, name, attributes: ATTRIBUTES, methods, scale: None }
}
