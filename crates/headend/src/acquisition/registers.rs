//! The registers that are read once a second, and how their numbers become quantities. Scalers and units are the
//! meter's own, read once per connection: another maker's meter may count in other steps.

use std::collections::HashMap;

use meterseal_link::Value;
use meterseal_model::objects::Class;
use meterseal_model::unit::Unit;
use meterseal_model::{Obis, UnixMillis};

use super::AcquisitionError;
use crate::store::{Energies, LiveReading};

/// A register's scaler: its value × 10^scaler is in the unit that it stands for.
pub(super) type Scalers = HashMap<Obis, i8>;

/// Class, object, attribute.
pub(super) type Item = (u16, Obis, i8);

/// Registers that a live reading is made of, each with the unit that its value must have.
const LIVE: [(Obis, Unit); 22] = [
    (Obis::VOLTAGE[0], Unit::Volt),
    (Obis::VOLTAGE[1], Unit::Volt),
    (Obis::VOLTAGE[2], Unit::Volt),
    (Obis::CURRENT[0], Unit::Ampere),
    (Obis::CURRENT[1], Unit::Ampere),
    (Obis::CURRENT[2], Unit::Ampere),
    (Obis::PHASE_POWER_IMPORT[0], Unit::Watt),
    (Obis::PHASE_POWER_IMPORT[1], Unit::Watt),
    (Obis::PHASE_POWER_IMPORT[2], Unit::Watt),
    (Obis::PHASE_POWER_EXPORT[0], Unit::Watt),
    (Obis::PHASE_POWER_EXPORT[1], Unit::Watt),
    (Obis::PHASE_POWER_EXPORT[2], Unit::Watt),
    (Obis::ACTIVE_POWER_IMPORT, Unit::Watt),
    (Obis::ACTIVE_POWER_EXPORT, Unit::Watt),
    (Obis::REACTIVE_POWER_IMPORT, Unit::Var),
    (Obis::REACTIVE_POWER_EXPORT, Unit::Var),
    (Obis::FREQUENCY, Unit::Hertz),
    (Obis::POWER_FACTOR, Unit::Count),
    (Obis::ACTIVE_ENERGY_IMPORT, Unit::WattHour),
    (Obis::ACTIVE_ENERGY_EXPORT, Unit::WattHour),
    (Obis::REACTIVE_ENERGY_IMPORT, Unit::VarHour),
    (Obis::REACTIVE_ENERGY_EXPORT, Unit::VarHour),
];

/// Registers that only the load profile holds.
const PROFILE_ONLY: [(Obis, Unit); 3] = [
    (Obis::AVERAGE_VOLTAGE[0], Unit::Volt),
    (Obis::AVERAGE_VOLTAGE[1], Unit::Volt),
    (Obis::AVERAGE_VOLTAGE[2], Unit::Volt),
];

/// What to ask once per connection.
pub(super) fn scaler_items() -> Vec<Item> {
    every_register().map(|(obis, _)| (Class::Register.id(), obis, SCALER_UNIT)).collect()
}

/// Reads the answers to [`scaler_items`].
pub(super) fn scalers(answers: &[Option<Value>]) -> Result<Scalers, AcquisitionError> {
    every_register()
        .zip(answers)
        .map(|((obis, unit), answer)| {
            let wrong = AcquisitionError::Register { obis, what: "no scaler and unit" };
            let Some([scaler, found]) = answer.as_ref().and_then(Value::as_list) else { return Err(wrong) };
            let scaler = scaler.as_i64().and_then(|scaler| i8::try_from(scaler).ok()).ok_or(wrong)?;
            if found.as_u64() != Some(unit as u64) {
                return Err(AcquisitionError::Register { obis, what: "another unit than its name says" });
            }
            Ok((obis, scaler))
        })
        .collect()
}

/// What to ask every second: one GET with list.
pub(super) fn live_items() -> Vec<Item> {
    let clock = (Class::Clock.id(), Obis::CLOCK, VALUE);
    LIVE.iter().map(|&(obis, _)| (Class::Register.id(), obis, VALUE)).chain([clock]).collect()
}

/// Reads the answers to [`live_items`].
pub(super) fn live_reading(
    answers: &[Option<Value>],
    scalers: &Scalers,
    received_at: UnixMillis,
) -> Result<LiveReading, AcquisitionError> {
    let values: HashMap<Obis, &Value> =
        LIVE.iter().zip(answers).filter_map(|(&(obis, _), answer)| Some((obis, answer.as_ref()?))).collect();
    let value =
        |obis: Obis| values.get(&obis).copied().ok_or(AcquisitionError::Register { obis, what: "no value" });
    let quantity = |obis: Obis| scaled(obis, value(obis)?, scalers);
    let phases = |names: [Obis; 3]| -> Result<[f64; 3], AcquisitionError> {
        Ok([quantity(names[0])?, quantity(names[1])?, quantity(names[2])?])
    };
    let (import, export) = (phases(Obis::PHASE_POWER_IMPORT)?, phases(Obis::PHASE_POWER_EXPORT)?);
    let total_power_w = quantity(Obis::ACTIVE_POWER_IMPORT)? - quantity(Obis::ACTIVE_POWER_EXPORT)?;
    let total_reactive_power_var =
        quantity(Obis::REACTIVE_POWER_IMPORT)? - quantity(Obis::REACTIVE_POWER_EXPORT)?;
    let loaded = total_power_w != 0.0 || total_reactive_power_var != 0.0;
    let clock = answers.get(LIVE.len()).and_then(Option::as_ref).and_then(Value::as_time);
    Ok(LiveReading {
        at: clock.ok_or(AcquisitionError::Register { obis: Obis::CLOCK, what: "no complete time" })?,
        received_at,
        frequency_hz: quantity(Obis::FREQUENCY)?,
        voltage_v: phases(Obis::VOLTAGE)?,
        current_a: phases(Obis::CURRENT)?,
        power_w: std::array::from_fn(|phase| import[phase] - export[phase]),
        total_power_w,
        total_reactive_power_var,
        power_factor: if loaded { Some(quantity(Obis::POWER_FACTOR)?) } else { None },
        energies: energies(|obis| value(obis).ok(), scalers)?,
    })
}

/// The four energy registers out of any row that has them.
pub(super) fn energies<'v>(
    value: impl Fn(Obis) -> Option<&'v Value>,
    scalers: &Scalers,
) -> Result<Energies, AcquisitionError> {
    let micro = |obis: Obis| {
        let value = value(obis).ok_or(AcquisitionError::Register { obis, what: "no value" })?;
        integer(obis, value, scalers, -6)
    };
    Ok(Energies {
        active_import_microwatt_hours: micro(Obis::ACTIVE_ENERGY_IMPORT)?,
        active_export_microwatt_hours: micro(Obis::ACTIVE_ENERGY_EXPORT)?,
        reactive_import_microvar_hours: micro(Obis::REACTIVE_ENERGY_IMPORT)?,
        reactive_export_microvar_hours: micro(Obis::REACTIVE_ENERGY_EXPORT)?,
    })
}

/// A register's value in steps of 10^`step`, exactly: energy is never rounded.
pub(super) fn integer(
    obis: Obis,
    value: &Value,
    scalers: &Scalers,
    step: i8,
) -> Result<i64, AcquisitionError> {
    let what = "a value that cannot be kept exactly";
    let number = value.as_i64().ok_or(AcquisitionError::Register { obis, what: "no integer" })?;
    let shift = i16::from(scaler(obis, scalers)?) - i16::from(step);
    u32::try_from(shift)
        .ok()
        .and_then(|shift| 10i64.checked_pow(shift))
        .and_then(|factor| number.checked_mul(factor))
        .ok_or(AcquisitionError::Register { obis, what })
}

fn scaled(obis: Obis, value: &Value, scalers: &Scalers) -> Result<f64, AcquisitionError> {
    let number = value.as_i64().ok_or(AcquisitionError::Register { obis, what: "no integer" })?;
    Ok(number as f64 * 10f64.powi(scaler(obis, scalers)?.into()))
}

fn scaler(obis: Obis, scalers: &Scalers) -> Result<i8, AcquisitionError> {
    scalers.get(&obis).copied().ok_or(AcquisitionError::Register { obis, what: "no scaler and unit" })
}

fn every_register() -> impl Iterator<Item = (Obis, Unit)> {
    LIVE.into_iter().chain(PROFILE_ONLY)
}

/// IEC 62056-6-2: attribute 2 of Data and Register is `value`, of Clock `time`; attribute 3 of Register is
/// `scaler_unit`.
pub(super) const VALUE: i8 = 2;
const SCALER_UNIT: i8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn scaler_unit(scaler: i8, unit: u8) -> Option<Value> {
        Some(Value::Structure(vec![Value::I8(scaler), Value::Enum(unit)]))
    }

    fn all_scalers(scaler: i8) -> Vec<Option<Value>> {
        every_register().map(|(_, unit)| scaler_unit(scaler, unit as u8)).collect()
    }

    #[test]
    fn every_asked_object_is_in_the_meters_table() {
        for (class, obis, attribute) in scaler_items().into_iter().chain(live_items()) {
            let object = meterseal_model::objects::find(class, obis).unwrap();
            assert!(object.attribute(attribute).is_some(), "{obis}");
        }
    }

    #[test]
    fn the_meters_own_scalers_count() {
        let milli = scalers(&all_scalers(-3)).unwrap();
        let whole = scalers(&all_scalers(0)).unwrap();
        let register = Obis::ACTIVE_ENERGY_IMPORT;
        assert_eq!(integer(register, &Value::U64(1234), &milli, -6).unwrap(), 1_234_000);
        assert_eq!(integer(register, &Value::U64(1234), &whole, -6).unwrap(), 1_234_000_000);
        assert!(integer(register, &Value::U64(u64::MAX), &milli, -6).is_err());
        assert!(integer(register, &Value::U64(1), &scalers(&all_scalers(-7)).unwrap(), -6).is_err());
    }

    #[test]
    fn a_register_in_another_unit_is_refused() {
        let mut answers = all_scalers(-3);
        answers[0] = scaler_unit(-3, Unit::Ampere as u8);
        assert!(matches!(
            scalers(&answers),
            Err(AcquisitionError::Register { obis, .. }) if obis == Obis::VOLTAGE[0]
        ));
    }
}
