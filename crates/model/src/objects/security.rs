//! Association, security setup and invocation counters.

use super::build::*;

/// Whose keys a role's association uses. Read by the role itself, the utility and the bench; keys are transferred by the
/// utility alone.
macro_rules! setup {
    ($role:expr, $name:literal) => {{
        const OWN: Rights = Rights::get(Roles::of(&[$role, Role::Utility, Role::Bench]));
        Object {
            obis: Obis::security_setup($role),
            class: Class::SecuritySetup,
            name: $name,
            attributes: &[
                LOGICAL_NAME,
                attribute(2, "security_policy", Kind::Enum, OWN),
                attribute(3, "security_suite", Kind::Enum, OWN),
                attribute(4, "client_system_title", Kind::OctetString, OWN),
                attribute(5, "server_system_title", Kind::OctetString, OWN),
                attribute(6, "certificates", Kind::Array, OWN),
            ],
            methods: &[KEY_TRANSFER],
            scale: None,
        }
    }};
}

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
    Object { methods: UTILITY_METHODS, ..setup!(Role::Utility, "Security setup of the utility") },
    setup!(Role::Reader, "Security setup of the readers"),
    setup!(Role::Firmware, "Security setup of firmware transfer"),
    setup!(Role::Installer, "Security setup of installers"),
    setup!(Role::Bench, "Security setup of the bench"),
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

const UTILITY: Roles = Roles::of(&[Role::Utility]);
const KEY_TRANSFER: Method = method(2, "key_transfer", UTILITY);
/// The meter's certificates are no role's own; they stand with the utility, who issues them.
const UTILITY_METHODS: &[Method] = &[
    KEY_TRANSFER,
    method(4, "generate_key_pair", UTILITY),
    method(5, "generate_certificate_request", UTILITY),
    method(6, "import_certificate", UTILITY),
    method(7, "export_certificate", UTILITY),
    method(8, "remove_certificate", UTILITY),
];
