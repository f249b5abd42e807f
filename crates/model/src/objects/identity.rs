//! What the meter is: names, device type, firmware, and the clock that its times follow.

use super::build::*;

pub(super) const OBJECTS: &[Object] = &[
    data(Obis::LOGICAL_DEVICE_NAME, "Logical device name", &[LOGICAL_NAME, value(Kind::OctetString, PUBLIC)]),
    data(Obis::METER_ID, "Meter identifier", &[LOGICAL_NAME, value(Kind::OctetString, PUBLIC)]),
    data(Obis::DEVICE_TYPE, "Device type", &[LOGICAL_NAME, value(Kind::OctetString, AUTHENTICATED)]),
    data(
        Obis::FIRMWARE_VERSION,
        "Firmware version",
        &[LOGICAL_NAME, value(Kind::OctetString, AUTHENTICATED)],
    ),
    data(
        Obis::FIRMWARE_DIGEST,
        "Firmware digest (SHA-384)",
        &[LOGICAL_NAME, value(Kind::OctetString, AUTHENTICATED)],
    ),
    data(
        Obis::TIME_BASE,
        "Time base (0 wall, 1 simulated)",
        &[LOGICAL_NAME, value(Kind::Unsigned, AUTHENTICATED)],
    ),
    data(
        Obis::UPTIME,
        "Uptime since power-up, milliseconds",
        &[LOGICAL_NAME, value(Kind::Long64Unsigned, AUTHENTICATED)],
    ),
];
