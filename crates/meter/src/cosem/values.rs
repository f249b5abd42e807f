//! Single values: Data, Register, Clock and Push setup.

use alloc::format;

use dlms_cosem_rs::axdr::{Data, DateTime};
use dlms_cosem_rs::codec::Writer;
use dlms_cosem_rs::server::StoreResult;
use dlms_cosem_rs::xdlms::DataAccessResult;
use embedded_storage::nor_flash::NorFlash;
use meterseal_metrology::{PhaseQuantities, Registers, Window};
use meterseal_model::objects::{Class, Object};
use meterseal_model::{Obis, TimeBase};

use super::{put, put_array, put_structure};
use crate::inner::{Inner, milli};
use crate::records::KEYED;

/// What a text object shows at most.
const TEXT_MAX: usize = 128;

/// The signal's strength where there is none.
const NO_SIGNAL: i8 = 127;

pub(super) fn get<F: NorFlash>(
    inner: &Inner<F>,
    object: &Object,
    attribute: i8,
    w: &mut dyn Writer,
) -> StoreResult<()> {
    match (object.class, attribute) {
        (Class::Data, 2) => data(inner, object.obis, w),
        (Class::Register, 2) => register(inner, object.obis, w),
        (Class::Register, 3) => {
            let scale = object.scale.ok_or(DataAccessResult::OtherReason)?;
            put_structure(w, 2)?;
            put(w, Data::Integer(scale.scaler))?;
            put(w, Data::Enum(scale.unit as u8))
        }
        (Class::Clock, _) => clock(inner, attribute, w),
        _ => Err(DataAccessResult::ObjectUndefined),
    }
}

fn data<F: NorFlash>(inner: &Inner<F>, obis: Obis, w: &mut dyn Writer) -> StoreResult<()> {
    let text = |w: &mut dyn Writer, text: &str| {
        put(w, Data::OctetString(&text.as_bytes()[..text.floor_char_boundary(TEXT_MAX)]))
    };
    let identity = &inner.identity;
    let link = &inner.link.status;
    match obis {
        // IEC 62056-6-2 wants the maker's three letters first: the identifier begins with them.
        Obis::LOGICAL_DEVICE_NAME | Obis::METER_ID => text(w, &format!("{}", identity.id)),
        Obis::DEVICE_TYPE => text(w, &identity.device_type),
        Obis::FIRMWARE_VERSION => text(w, &identity.firmware_version),
        Obis::FIRMWARE_DIGEST => put(w, Data::OctetString(&identity.firmware_digest.0)),
        Obis::TIME_BASE => put(w, Data::Unsigned(u8::from(inner.time_base == TimeBase::Simulated))),
        Obis::UPTIME => put(w, Data::Long64Unsigned(inner.uptime_ms())),
        Obis::PROFILE_STATUS => put(w, Data::Unsigned(inner.newest_row.map_or(0, |row| row.status))),
        Obis::COMMITTED_LOAD_PROFILE => put(w, Data::Long64Unsigned(inner.state.committed_profile.into())),
        Obis::COMMITTED_SECURITY_LOG => put(w, Data::Long64Unsigned(inner.state.committed_log.into())),
        Obis::ROW_SEQUENCE => {
            put(w, Data::Long64Unsigned(inner.newest_entry.map_or(0, |entry| entry.sequence)))
        }
        Obis::SECURITY_EVENT_CODE => {
            put(w, Data::Unsigned(inner.newest_entry.map_or(0, |entry| entry.code as u8)))
        }
        Obis::LOG_CHECKPOINT => put(w, Data::OctetString(&inner.sealed.newest_bytes)),
        Obis::LOG_ID => put(w, Data::OctetString(&inner.sealed.log.0)),
        Obis::LOG_KEY => put(w, Data::OctetString(&inner.log_key_chain())),
        Obis::SEALED_LEAF => {
            let size = inner.storage.borrow().tree().peaks().size();
            let leaf = inner.leaf(size.saturating_sub(1)).map_err(|_| DataAccessResult::HardwareFault)?;
            put(w, Data::OctetString(leaf.as_ref().map_or(&[], |leaf| leaf.octets())))
        }
        Obis::EVENT_EXTREME => put(w, Data::Long64(inner.newest_entry.map_or(0, |entry| entry.extreme))),
        Obis::ACTIVE_RATE => put(w, Data::Unsigned(inner.rate)),
        Obis::EVENT_LOG_CODE => {
            put(w, Data::Unsigned(inner.newest_event.map_or(0, |entry| entry.code as u8)))
        }
        Obis::CALIBRATION_STATUS => put(w, Data::Unsigned(inner.calibration as u8)),
        Obis::POWER_QUALITY_EVENT => {
            put(w, Data::Unsigned(inner.newest_quality.map_or(0, |row| row.event as u8)))
        }
        Obis::POWER_QUALITY_PHASE => put(w, Data::Unsigned(inner.newest_quality.map_or(0, |row| row.phase))),
        Obis::POWER_QUALITY_DURATION => {
            put(w, Data::DoubleLongUnsigned(inner.newest_quality.map_or(0, |row| row.duration_ms)))
        }
        // Empty: none is set.
        Obis::WIFI_SSID => put(w, Data::OctetString(inner.wifi.as_ref().map_or(&[], |known| known.ssid()))),
        Obis::LINK_SIGNAL => put(w, Data::Integer(link.signal_dbm.unwrap_or(NO_SIGNAL))),
        Obis::LINK_CONNECTED => put(w, Data::Boolean(link.is_connected)),
        Obis::LINK_CONNECTIONS => put(w, Data::DoubleLongUnsigned(link.connections)),
        Obis::LINK_FAILURES => put(w, Data::DoubleLongUnsigned(link.failures)),
        Obis::LINK_REASON => text(w, &link.last_reason),
        Obis::LINK_CHANGED => {
            let time = inner.link.changed.map_or(DateTime::WILDCARD, |time| inner.date_time(time));
            put(w, Data::OctetString(&time.to_bytes()))
        }
        Obis::LINK_BYTES_IN => put(w, Data::Long64Unsigned(link.bytes_in)),
        Obis::LINK_BYTES_OUT => put(w, Data::Long64Unsigned(link.bytes_out)),
        _ if Obis::HARMONICS.contains(&obis) => harmonics(inner, obis, w),
        Obis::ALARM_REGISTER => put(w, Data::DoubleLongUnsigned(inner.state.alarms)),
        _ => {
            let key = KEYED.iter().position(|&role| obis == Obis::invocation_counter(role));
            let client = inner.state.clients[key.ok_or(DataAccessResult::ObjectUndefined)?];
            put(w, Data::DoubleLongUnsigned(client.highest))
        }
    }
}

/// Orders from 1 on, each its RMS value and its angle. Empty where none are analysed, or frames are missing.
fn harmonics<F: NorFlash>(inner: &Inner<F>, obis: Obis, w: &mut dyn Writer) -> StoreResult<()> {
    let Some(all) = inner.harmonics.as_deref() else { return put_array(w, 0) };
    let spectra = all.voltages().into_iter().chain(all.currents());
    let spectrum = Obis::HARMONICS.iter().zip(spectra).find(|(own, _)| **own == obis);
    let (_, spectrum) = spectrum.ok_or(DataAccessResult::ObjectUndefined)?;
    put_array(w, all.highest_order())?;
    (1..=all.highest_order()).try_for_each(|order| {
        put_structure(w, 2)?;
        let rms = spectrum.rms(order).unwrap_or(0);
        put(w, Data::DoubleLongUnsigned(u32::try_from(rms).unwrap_or(u32::MAX)))?;
        put(w, spectrum.angle_microdegrees(order).map_or(Data::Null, Data::DoubleLong))
    })
}

fn register<F: NorFlash>(inner: &Inner<F>, obis: Obis, w: &mut dyn Writer) -> StoreResult<()> {
    if let Some(energy) = inner.saved.rates.energy(obis) {
        return put(w, Data::Long64Unsigned(energy));
    }
    if let Some(nano) = energy(&inner.saved.registers, obis) {
        return put(w, Data::Long64Unsigned(milli(nano)));
    }
    if let Some(k) = Obis::AVERAGE_VOLTAGE.iter().position(|&voltage| voltage == obis) {
        let mean = inner.newest_row.map_or(0, |row| row.mean_voltage_centivolts[k]);
        return put(w, Data::LongUnsigned(mean));
    }
    // Nothing has been measured since power-up: no value is better than a zero that looks like one.
    let window = inner.window.as_ref().ok_or(DataAccessResult::TemporaryFailure)?;
    put(w, live(window, obis)?)
}

/// An energy register, in billionths.
fn energy(registers: &Registers, obis: Obis) -> Option<u64> {
    let phase = |codes: [Obis; 3]| codes.iter().position(|&code| code == obis).map(|k| &registers.phases[k]);
    Some(match obis {
        Obis::ACTIVE_ENERGY_IMPORT => registers.total_import_nanowatt_hours,
        Obis::ACTIVE_ENERGY_EXPORT => registers.total_export_nanowatt_hours,
        Obis::REACTIVE_ENERGY_IMPORT => registers.reactive_import_nanovar_hours(),
        Obis::REACTIVE_ENERGY_EXPORT => registers.reactive_export_nanovar_hours(),
        _ => {
            if let Some(k) = Obis::QUADRANT_ENERGY.iter().position(|&code| code == obis) {
                return Some(registers.reactive_quadrants_nanovar_hours[k]);
            }
            if let Some(phase) = phase(Obis::PHASE_ENERGY_IMPORT) {
                return Some(phase.import_nanowatt_hours);
            }
            phase(Obis::PHASE_ENERGY_EXPORT)?.export_nanowatt_hours
        }
    })
}

fn live(window: &Window, obis: Obis) -> StoreResult<Data<'static>> {
    type Quantity = fn(&PhaseQuantities) -> Data<'static>;
    let phases: [([Obis; 3], Quantity); 9] = [
        (Obis::VOLTAGE, |phase| unsigned(phase.voltage_rms_microvolts / 1000)),
        (Obis::CURRENT, |phase| unsigned(phase.current_rms_microamperes)),
        (Obis::PHASE_POWER_IMPORT, |phase| power(phase.active_power_microwatts)),
        (Obis::PHASE_POWER_EXPORT, |phase| power(-phase.active_power_microwatts)),
        (Obis::PHASE_REACTIVE_IMPORT, |phase| power(phase.reactive_power_microvars)),
        (Obis::PHASE_REACTIVE_EXPORT, |phase| power(-phase.reactive_power_microvars)),
        (Obis::PHASE_POWER_FACTOR, |phase| factor(phase.power_factor_ppm)),
        (Obis::VOLTAGE_THD, |phase| Data::DoubleLongUnsigned(phase.voltage_thd_ppm)),
        (Obis::CURRENT_THD, |phase| Data::DoubleLongUnsigned(phase.current_thd_ppm)),
    ];
    for (codes, quantity) in phases {
        if let Some(k) = codes.iter().position(|&code| code == obis) {
            return Ok(quantity(&window.phases[k]));
        }
    }
    let components = &window.components;
    if let Some(k) = Obis::VOLTAGE_SEQUENCE.iter().position(|&code| code == obis) {
        return Ok(unsigned(components.voltage_sequences_microvolts[k] / 1000));
    }
    if let Some(k) = Obis::CURRENT_SEQUENCE.iter().position(|&code| code == obis) {
        return Ok(unsigned(components.current_sequences_microamperes[k]));
    }
    Ok(match obis {
        Obis::VOLTAGE_UNBALANCE => Data::DoubleLongUnsigned(components.voltage_unbalance_ppm),
        Obis::ACTIVE_POWER_IMPORT => power(window.active_power_microwatts),
        Obis::ACTIVE_POWER_EXPORT => power(-window.active_power_microwatts),
        Obis::REACTIVE_POWER_IMPORT => power(window.reactive_power_microvars),
        Obis::REACTIVE_POWER_EXPORT => power(-window.reactive_power_microvars),
        Obis::APPARENT_POWER => unsigned(window.apparent_power_microvoltamperes / 10_000),
        Obis::POWER_FACTOR => factor(window.power_factor_ppm),
        Obis::NEUTRAL_CURRENT => unsigned(window.neutral_current_rms_microamperes),
        Obis::FREQUENCY => {
            unsigned(window.frequency_microhertz.ok_or(DataAccessResult::TemporaryFailure)? / 1000)
        }
        _ => return Err(DataAccessResult::ObjectUndefined),
    })
}

/// Saturated: the largest value says "beyond range", a wrapped one would lie.
fn unsigned(value: u64) -> Data<'static> {
    Data::DoubleLongUnsigned(u32::try_from(value).unwrap_or(u32::MAX))
}

/// The positive part of a power, from millionths to hundredths: each direction has its own object.
fn power(micro: i64) -> Data<'static> {
    unsigned(u64::try_from(micro).unwrap_or(0) / 10_000)
}

/// From millionths to thousandths.
fn factor(ppm: i32) -> Data<'static> {
    Data::Long((ppm / 1000).clamp(-1000, 1000) as i16)
}

fn clock<F: NorFlash>(inner: &Inner<F>, attribute: i8, w: &mut dyn Writer) -> StoreResult<()> {
    let time = inner.date_time(inner.clock());
    match attribute {
        2 => put(w, Data::OctetString(&time.to_bytes())),
        // UTC, no daylight saving.
        3 => put(w, Data::Long(0)),
        4 => put(w, Data::Unsigned(time.status.0)),
        5 | 6 => put(w, Data::OctetString(&DateTime::WILDCARD.to_bytes())),
        7 => put(w, Data::Integer(0)),
        8 => put(w, Data::Boolean(false)),
        // 0 not defined: the device gives the time; 1 would be an internal crystal.
        9 => put(w, Data::Enum(0)),
        _ => Err(DataAccessResult::ObjectUndefined),
    }
}
