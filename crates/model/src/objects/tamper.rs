//! Tamper counters, and when readings become tamper events.

use super::build::*;

pub(super) const OBJECTS: &[Object] = &[
    counter(0, "Openings of the meter's cover"),
    counter(1, "Removals of the terminal cover"),
    counter(2, "Turns out of position"),
    counter(3, "Strong constant magnetic fields"),
    counter(4, "Currents reversed, led past the meter or without voltage"),
    counter(5, "Failed logins, forged and replayed messages, acts beyond a role's rights"),
    counter(6, "Strong alternating magnetic fields"),
    counter(7, "Voltage spikes"),
    data(
        Obis::TAMPER_THRESHOLDS,
        "Tamper thresholds",
        &[LOGICAL_NAME, value(Kind::Structure, UTILITY_SETS_SECRET)],
    ),
];

/// A count of events for the life of the meter.
const fn counter(place: usize, name: &'static str) -> Object {
    data(Obis::TAMPER_COUNTERS[place], name, COUNT)
}

const COUNT: &[Attribute] = &[LOGICAL_NAME, value(Kind::DoubleLongUnsigned, READ)];
