//! Energy registers: what flash holds.

use super::build::*;

pub(super) const OBJECTS: &[Object] = &[
    energy(Obis::ACTIVE_ENERGY_IMPORT, "Active energy import (+A)", Unit::WattHour),
    energy(Obis::ACTIVE_ENERGY_EXPORT, "Active energy export (-A)", Unit::WattHour),
    energy(Obis::REACTIVE_ENERGY_IMPORT, "Reactive energy import (+R)", Unit::VarHour),
    energy(Obis::REACTIVE_ENERGY_EXPORT, "Reactive energy export (-R)", Unit::VarHour),
    energy(Obis::QUADRANT_ENERGY[0], "Reactive energy, quadrant I", Unit::VarHour),
    energy(Obis::QUADRANT_ENERGY[1], "Reactive energy, quadrant II", Unit::VarHour),
    energy(Obis::QUADRANT_ENERGY[2], "Reactive energy, quadrant III", Unit::VarHour),
    energy(Obis::QUADRANT_ENERGY[3], "Reactive energy, quadrant IV", Unit::VarHour),
    energy(Obis::PHASE_ENERGY_IMPORT[0], "Active energy import L1", Unit::WattHour),
    energy(Obis::PHASE_ENERGY_IMPORT[1], "Active energy import L2", Unit::WattHour),
    energy(Obis::PHASE_ENERGY_IMPORT[2], "Active energy import L3", Unit::WattHour),
    energy(Obis::PHASE_ENERGY_EXPORT[0], "Active energy export L1", Unit::WattHour),
    energy(Obis::PHASE_ENERGY_EXPORT[1], "Active energy export L2", Unit::WattHour),
    energy(Obis::PHASE_ENERGY_EXPORT[2], "Active energy export L3", Unit::WattHour),
];
