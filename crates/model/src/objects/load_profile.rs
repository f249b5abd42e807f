//! The load profile, and the objects that it captures or that belong to it.

use super::build::*;

pub(super) const OBJECTS: &[Object] = &[
    profile(Obis::LOAD_PROFILE, "Load profile 1"),
    data(
        Obis::PROFILE_STATUS,
        "Load profile status of the last row",
        &[LOGICAL_NAME, value(Kind::Unsigned, READ)],
    ),
    register(Obis::AVERAGE_VOLTAGE[0], "Mean voltage L1, last interval", LIVE_SHORT, -2, Unit::Volt),
    register(Obis::AVERAGE_VOLTAGE[1], "Mean voltage L2, last interval", LIVE_SHORT, -2, Unit::Volt),
    register(Obis::AVERAGE_VOLTAGE[2], "Mean voltage L3, last interval", LIVE_SHORT, -2, Unit::Volt),
    data(
        Obis::COMMITTED_LOAD_PROFILE,
        "Commit acknowledgement: highest load-profile sequence stored by the head-end",
        &[LOGICAL_NAME, value(Kind::Long64Unsigned, UTILITY_SETS)],
    ),
];
