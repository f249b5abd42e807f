//! Association, security setup and invocation counters.

use super::build::*;

pub(super) const OBJECTS: &[Object] = &[
    Object {
        obis: Obis::ASSOCIATION,
        class: Class::AssociationLn,
        name: "Current association",
        attributes: &[
            LOGICAL_NAME,
            attribute(2, "object_list", Kind::Array, AUTHENTICATED),
            attribute(3, "associated_partners_id", Kind::Structure, AUTHENTICATED),
            attribute(4, "application_context_name", Kind::OctetString, AUTHENTICATED),
            attribute(5, "xDLMS_context_info", Kind::Structure, AUTHENTICATED),
            attribute(6, "authentication_mechanism_name", Kind::OctetString, AUTHENTICATED),
            attribute(7, "secret", Kind::OctetString, NOBODY),
            attribute(8, "association_status", Kind::Enum, AUTHENTICATED),
            attribute(9, "security_setup_reference", Kind::OctetString, AUTHENTICATED),
        ],
        methods: &[method(1, "reply_to_HLS_authentication", Roles::AUTHENTICATED)],
        scale: None,
    },
    Object {
        obis: Obis::SECURITY_SETUP,
        class: Class::SecuritySetup,
        name: "Security setup",
        attributes: &[
            LOGICAL_NAME,
            attribute(2, "security_policy", Kind::Enum, AUTHENTICATED),
            attribute(3, "security_suite", Kind::Enum, AUTHENTICATED),
            attribute(4, "client_system_title", Kind::OctetString, AUTHENTICATED),
            attribute(5, "server_system_title", Kind::OctetString, AUTHENTICATED),
            attribute(6, "certificates", Kind::Array, AUTHENTICATED),
        ],
        methods: &[],
        scale: None,
    },
    counter(Role::Utility, "Invocation counter: highest accepted from the utility"),
    counter(Role::Reader, "Invocation counter: highest accepted from a reader"),
    counter(Role::Firmware, "Invocation counter: highest accepted from firmware transfer"),
    counter(Role::Installer, "Invocation counter: highest accepted from an installer"),
    counter(Role::Bench, "Invocation counter: highest accepted from a bench"),
];

/// Public, so that a client that lost its counter finds it again before it can authenticate; nobody may set it.
const fn counter(role: Role, name: &'static str) -> Object {
    const ATTRIBUTES: &[Attribute] = &[LOGICAL_NAME, value(Kind::DoubleLongUnsigned, PUBLIC)];
    data(Obis::invocation_counter(role), name, ATTRIBUTES)
}
