//! Harmonics of the latest window, an object for each channel: 350 registers of one number each would hide everything else.

use super::build::*;

const ATTRIBUTES: &[Attribute] = &[LOGICAL_NAME, value(Kind::Array, READ)];

pub(super) const OBJECTS: &[Object] = &[
    data(Obis::HARMONICS[0], "Harmonics of the voltage L1, µV", ATTRIBUTES),
    data(Obis::HARMONICS[1], "Harmonics of the voltage L2, µV", ATTRIBUTES),
    data(Obis::HARMONICS[2], "Harmonics of the voltage L3, µV", ATTRIBUTES),
    data(Obis::HARMONICS[3], "Harmonics of the current L1, µA", ATTRIBUTES),
    data(Obis::HARMONICS[4], "Harmonics of the current L2, µA", ATTRIBUTES),
    data(Obis::HARMONICS[5], "Harmonics of the current L3, µA", ATTRIBUTES),
    data(Obis::HARMONICS[6], "Harmonics of the neutral current, µA", ATTRIBUTES),
];
