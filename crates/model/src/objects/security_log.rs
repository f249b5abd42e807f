//! The security log and its alarms.

use super::build::*;

pub(super) const OBJECTS: &[Object] = &[
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
            attribute(3, "send_destination_and_method", Kind::Structure, UTILITY_SETS),
            attribute(4, "communication_window", Kind::Array, UTILITY_SETS),
            attribute(5, "randomisation_start_interval", Kind::LongUnsigned, UTILITY_SETS),
            attribute(6, "number_of_retries", Kind::Unsigned, UTILITY_SETS),
            attribute(7, "repetition_delay", Kind::LongUnsigned, UTILITY_SETS),
        ],
        methods: &[method(1, "push", super::tariff::UTILITY)],
        scale: None,
    },
];
