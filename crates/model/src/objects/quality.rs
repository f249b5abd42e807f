//! Calibration, distortion and symmetry of the supply, and the power-quality log.

use super::build::*;

pub(super) const OBJECTS: &[Object] = &[
    data(
        Obis::CALIBRATION_STATUS,
        "Calibration (0 valid, 1 none: uncalibrated, 2 refused: no energy is booked, 3 beyond its temperatures)",
        &[LOGICAL_NAME, value(Kind::Unsigned, READ_ON_SITE)],
    ),
    distortion(Obis::VOLTAGE_THD[0], "Total harmonic distortion of voltage L1"),
    distortion(Obis::VOLTAGE_THD[1], "Total harmonic distortion of voltage L2"),
    distortion(Obis::VOLTAGE_THD[2], "Total harmonic distortion of voltage L3"),
    distortion(Obis::CURRENT_THD[0], "Total harmonic distortion of current L1"),
    distortion(Obis::CURRENT_THD[1], "Total harmonic distortion of current L2"),
    distortion(Obis::CURRENT_THD[2], "Total harmonic distortion of current L3"),
    register(Obis::VOLTAGE_SEQUENCE[0], "Voltage, zero sequence", LIVE_UNSIGNED, -3, Unit::Volt),
    register(Obis::VOLTAGE_SEQUENCE[1], "Voltage, positive sequence", LIVE_UNSIGNED, -3, Unit::Volt),
    register(Obis::VOLTAGE_SEQUENCE[2], "Voltage, negative sequence", LIVE_UNSIGNED, -3, Unit::Volt),
    register(Obis::CURRENT_SEQUENCE[0], "Current, zero sequence", LIVE_UNSIGNED, -6, Unit::Ampere),
    register(Obis::CURRENT_SEQUENCE[1], "Current, positive sequence", LIVE_UNSIGNED, -6, Unit::Ampere),
    register(Obis::CURRENT_SEQUENCE[2], "Current, negative sequence", LIVE_UNSIGNED, -6, Unit::Ampere),
    distortion(Obis::VOLTAGE_UNBALANCE, "Voltage unbalance (negative over positive sequence)"),
    profile(Obis::POWER_QUALITY_LOG, "Power-quality log"),
    data(
        Obis::POWER_QUALITY_EVENT,
        "Newest power-quality event",
        &[LOGICAL_NAME, value(Kind::Unsigned, READ)],
    ),
    data(
        Obis::POWER_QUALITY_PHASE,
        "Phase of the newest power-quality event (0 all)",
        &[LOGICAL_NAME, value(Kind::Unsigned, READ)],
    ),
    data(
        Obis::POWER_QUALITY_DURATION,
        "Duration of the newest power-quality event, milliseconds (0 in the row of its beginning)",
        &[LOGICAL_NAME, value(Kind::DoubleLongUnsigned, READ)],
    ),
];

/// A ratio in millionths.
const fn distortion(obis: Obis, name: &'static str) -> Object {
    register(obis, name, LIVE_UNSIGNED, -6, Unit::Count)
}
