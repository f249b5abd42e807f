//! The sealed log: its leaves, its checkpoints, and the key that signs them.

use super::build::*;

pub(super) const OBJECTS: &[Object] = &[
    data(
        Obis::LOG_CHECKPOINT,
        "Newest signed checkpoint of the sealed log",
        &[LOGICAL_NAME, value(Kind::OctetString, READ)],
    ),
    data(Obis::LOG_ID, "Name of the sealed log", &[LOGICAL_NAME, value(Kind::OctetString, READ)]),
    data(
        Obis::LOG_KEY,
        "Certificates of the key that signs checkpoints",
        &[LOGICAL_NAME, value(Kind::OctetString, READ)],
    ),
    profile(Obis::SEALED_LEAVES, "Leaves of the sealed log"),
    data(Obis::SEALED_LEAF, "Newest leaf of the sealed log", &[LOGICAL_NAME, value(Kind::OctetString, READ)]),
    Object {
        obis: Obis::LOG_PROOFS,
        class: Class::LogProofs,
        name: "Proofs of the sealed log",
        attributes: &[LOGICAL_NAME],
        methods: &[method(1, "inclusion_proof", READ.get), method(2, "consistency_proof", READ.get)],
        scale: None,
    },
    super::tariff::scripts(
        Obis::READING_SCRIPTS,
        "Script table: signed reading",
        &[method(1, "execute", super::tariff::UTILITY)],
    ),
];
