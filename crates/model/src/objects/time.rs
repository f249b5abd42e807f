//! Time: the clock.

use super::build::*;

pub(super) const OBJECTS: &[Object] = &[Object {
    obis: Obis::CLOCK,
    class: Class::Clock,
    name: "Clock (UTC)",
    attributes: &[
        LOGICAL_NAME,
        attribute(2, "time", Kind::OctetString, UTILITY_SETS_ON_SITE),
        attribute(3, "time_zone", Kind::Long, READ_ON_SITE),
        attribute(4, "status", Kind::Unsigned, READ_ON_SITE),
        attribute(5, "daylight_savings_begin", Kind::OctetString, READ_ON_SITE),
        attribute(6, "daylight_savings_end", Kind::OctetString, READ_ON_SITE),
        attribute(7, "daylight_savings_deviation", Kind::Integer, READ_ON_SITE),
        attribute(8, "daylight_savings_enabled", Kind::Boolean, READ_ON_SITE),
        attribute(9, "clock_base", Kind::Enum, READ_ON_SITE),
    ],
    methods: &[],
    scale: None,
}];
