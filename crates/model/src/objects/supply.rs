//! Switching the supply: disconnect control, its scripts, the limiter.

use super::build::*;
use super::tariff::{UTILITY, scripts};

pub(super) const OBJECTS: &[Object] = &[
    Object {
        obis: Obis::DISCONNECT_CONTROL,
        class: Class::DisconnectControl,
        name: "Disconnect control",
        attributes: &[
            LOGICAL_NAME,
            attribute(2, "output_state", Kind::Boolean, READ_ON_SITE),
            attribute(3, "control_state", Kind::Enum, READ_ON_SITE),
            attribute(4, "control_mode", Kind::Enum, READ_ON_SITE),
        ],
        methods: &[method(1, "remote_disconnect", UTILITY), method(2, "remote_reconnect", UTILITY)],
        scale: None,
    },
    scripts(Obis::DISCONNECTOR_SCRIPTS, "Script table: disconnector", &[method(1, "execute", UTILITY)]),
    Object {
        obis: Obis::LIMITER,
        class: Class::Limiter,
        name: "Limiter",
        attributes: &[
            LOGICAL_NAME,
            attribute(2, "monitored_value", Kind::Structure, READ),
            attribute(3, "threshold_active", Kind::DoubleLongUnsigned, READ),
            attribute(4, "threshold_normal", Kind::DoubleLongUnsigned, UTILITY_SETS),
            attribute(5, "threshold_emergency", Kind::DoubleLongUnsigned, UTILITY_SETS),
            attribute(6, "min_over_threshold_duration", Kind::DoubleLongUnsigned, UTILITY_SETS),
            attribute(7, "min_under_threshold_duration", Kind::DoubleLongUnsigned, UTILITY_SETS),
            attribute(8, "emergency_profile", Kind::Structure, UTILITY_SETS),
            attribute(9, "emergency_profile_group_id_list", Kind::Array, UTILITY_SETS),
            attribute(10, "emergency_profile_active", Kind::Boolean, READ),
            attribute(11, "actions", Kind::Structure, UTILITY_SETS),
        ],
        methods: &[],
        scale: None,
    },
    Object {
        obis: Obis::TCP_UDP_SETUP,
        class: Class::TcpUdpSetup,
        name: "TCP-UDP setup",
        attributes: &[
            LOGICAL_NAME,
            attribute(2, "TCP-UDP_port", Kind::LongUnsigned, READ_ON_SITE),
            attribute(3, "IP_reference", Kind::OctetString, READ_ON_SITE),
            attribute(4, "MSS", Kind::LongUnsigned, READ_ON_SITE),
            attribute(5, "nb_of_sim_conn", Kind::Unsigned, READ_ON_SITE),
            attribute(6, "inactivity_time_out", Kind::LongUnsigned, UTILITY_SETS_ON_SITE),
        ],
        methods: &[],
        scale: None,
    },
];
