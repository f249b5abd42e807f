//! Image transfer: how new firmware comes in. The role that brings it is the only one that acts here; whoever answers for
//! the meter sees how far it is, and has the meter attest what it runs.

use super::build::*;

const FIRMWARE: Roles = Roles::of(&[Role::Firmware]);

pub(super) const OBJECTS: &[Object] = &[
    Object {
        obis: Obis::IMAGE_TRANSFER,
        class: Class::ImageTransfer,
        name: "Image transfer",
        attributes: &[
            LOGICAL_NAME,
            attribute(2, "image_block_size", Kind::DoubleLongUnsigned, IMAGES),
            attribute(3, "image_transferred_blocks_status", Kind::BitString, IMAGES),
            attribute(4, "image_first_not_transferred_block_number", Kind::DoubleLongUnsigned, IMAGES),
            attribute(5, "image_transfer_enabled", Kind::Boolean, IMAGES),
            attribute(6, "image_transfer_status", Kind::Enum, IMAGES),
            attribute(7, "image_to_activate_info", Kind::Array, IMAGES),
        ],
        methods: &[
            method(1, "image_transfer_initiate", FIRMWARE),
            method(2, "image_block_transfer", FIRMWARE),
            method(3, "image_verify", FIRMWARE),
            method(4, "image_activate", FIRMWARE),
        ],
        scale: None,
    },
    data(
        Obis::BOOT_KEY,
        "Certificates of the boot stage's key",
        &[LOGICAL_NAME, value(Kind::OctetString, IMAGES)],
    ),
    data(
        Obis::IMAGE_KEY,
        "Certificate of the running image's key, by the boot stage",
        &[LOGICAL_NAME, value(Kind::OctetString, IMAGES)],
    ),
    data(
        Obis::ATTESTATION_NONCE,
        "Nonce that the meter shall attest with (16 to 64 bytes)",
        &[LOGICAL_NAME, value(Kind::OctetString, ASKS)],
    ),
    data(
        Obis::ATTESTATION,
        "Attestation for this association's nonce; empty until it is signed",
        &[LOGICAL_NAME, value(Kind::OctetString, IMAGES)],
    ),
];

/// Whoever sees how far new firmware is may ask what runs.
const ASKS: Rights = IMAGES.set_by(Role::Utility).set_by(Role::Firmware).set_by(Role::Bench);
