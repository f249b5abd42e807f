//! The connection to the head-end, as whoever looks for its trouble wants to see it. It tells nothing of consumption, and
//! readers of consumption have no use for it.

use super::build::*;

pub(super) const OBJECTS: &[Object] = &[
    data(
        Obis::LINK_SIGNAL,
        "Radio signal strength, dBm (127: no radio, or it hears nothing)",
        &[LOGICAL_NAME, value(Kind::Integer, LINK)],
    ),
    data(Obis::LINK_CONNECTED, "Connected to the head-end", &[LOGICAL_NAME, value(Kind::Boolean, LINK)]),
    data(
        Obis::LINK_CONNECTIONS,
        "Connections to the head-end since power-up",
        &[LOGICAL_NAME, value(Kind::DoubleLongUnsigned, LINK)],
    ),
    data(
        Obis::LINK_FAILURES,
        "Failed attempts to connect since power-up",
        &[LOGICAL_NAME, value(Kind::DoubleLongUnsigned, LINK)],
    ),
    data(
        Obis::LINK_REASON,
        "Why the last attempt failed or the last connection ended",
        &[LOGICAL_NAME, value(Kind::OctetString, LINK)],
    ),
    data(
        Obis::LINK_CHANGED,
        "Time of the connection's last change",
        &[LOGICAL_NAME, value(Kind::OctetString, LINK)],
    ),
    data(
        Obis::LINK_BYTES_IN,
        "Bytes from the head-end since power-up, inside TLS",
        &[LOGICAL_NAME, value(Kind::Long64Unsigned, LINK)],
    ),
    data(
        Obis::LINK_BYTES_OUT,
        "Bytes to the head-end since power-up, inside TLS",
        &[LOGICAL_NAME, value(Kind::Long64Unsigned, LINK)],
    ),
    data(
        Obis::WIFI_SSID,
        "Wireless network's name (SSID); another one forgets the passphrase",
        &[LOGICAL_NAME, value(Kind::OctetString, INSTALLER_SETS)],
    ),
    data(
        Obis::WIFI_PASSPHRASE,
        "Wireless network's WPA3 passphrase",
        &[LOGICAL_NAME, value(Kind::OctetString, INSTALLER_SETS_SECRET)],
    ),
];
