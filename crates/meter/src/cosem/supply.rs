//! Disconnect control, limiter and TCP-UDP setup, as the classes of IEC 62056-6-2 lay them out, from memory, not verified
//! against the standard's text.

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::Writer;
use dlms_cosem_rs::server::StoreResult;
use dlms_cosem_rs::xdlms::DataAccessResult;
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::Obis;
use meterseal_model::objects::{Class, Object};

use super::parse::{self, OUT_OF_BOUNDS};
use super::tariff::{put_instant, put_script};
use super::{put, put_array, put_structure};
use crate::inner::Inner;
use crate::meter::LINKS_MAX;
use crate::settings::{EMERGENCY_GROUPS_MAX, Settings};
use crate::supply::{CONNECTED, SCRIPT_RECONNECT};

/// Disconnection by the utility and by the limiter, reconnection by the utility directly.
const CONTROL_MODE: u8 = 4;

pub(super) fn get<F: NorFlash>(
    inner: &Inner<F>,
    object: &Object,
    attribute: i8,
    w: &mut dyn Writer,
) -> StoreResult<()> {
    let limiter = &inner.settings.limiter;
    match (object.class, attribute) {
        (Class::DisconnectControl, 2) => put(w, Data::Boolean(inner.tariff.control == CONNECTED)),
        (Class::DisconnectControl, 3) => put(w, Data::Enum(inner.tariff.control)),
        (Class::DisconnectControl, 4) => put(w, Data::Enum(CONTROL_MODE)),
        (Class::Limiter, 2) => {
            put_structure(w, 3)?;
            put(w, Data::LongUnsigned(Class::Register.id()))?;
            put(w, Data::OctetString(&Obis::ACTIVE_POWER_IMPORT.0))?;
            put(w, Data::Integer(2))
        }
        (Class::Limiter, 3) => put(w, Data::DoubleLongUnsigned(inner.active_threshold())),
        (Class::Limiter, 4) => put(w, Data::DoubleLongUnsigned(limiter.threshold_normal)),
        (Class::Limiter, 5) => put(w, Data::DoubleLongUnsigned(limiter.threshold_emergency)),
        (Class::Limiter, 6) => put(w, Data::DoubleLongUnsigned(limiter.min_over_seconds)),
        (Class::Limiter, 7) => put(w, Data::DoubleLongUnsigned(limiter.min_under_seconds)),
        (Class::Limiter, 8) => {
            put_structure(w, 3)?;
            put(w, Data::LongUnsigned(limiter.emergency_id))?;
            put_instant(inner, limiter.emergency_at, w)?;
            put(w, Data::DoubleLongUnsigned(limiter.emergency_seconds))
        }
        (Class::Limiter, 9) => {
            let groups = &limiter.emergency_groups[..limiter.emergency_group_count.into()];
            put_array(w, groups.len())?;
            groups.iter().try_for_each(|&group| put(w, Data::LongUnsigned(group)))
        }
        (Class::Limiter, 10) => put(w, Data::Boolean(inner.emergency_is_active())),
        (Class::Limiter, 11) => {
            put_structure(w, 2)?;
            put_script(Obis::DISCONNECTOR_SCRIPTS, limiter.action_over, w)?;
            put_script(Obis::DISCONNECTOR_SCRIPTS, limiter.action_under, w)
        }
        // 0 where the device does not listen: the meter dials out.
        (Class::TcpUdpSetup, 2) => put(w, Data::LongUnsigned(inner.connectivity.local_port.unwrap_or(0))),
        // No IP setup object: addresses are the device's business.
        (Class::TcpUdpSetup, 3) => put(w, Data::OctetString(&[0; 6])),
        (Class::TcpUdpSetup, 4) => put(w, Data::LongUnsigned(DEFAULT_MSS)),
        (Class::TcpUdpSetup, 5) => put(w, Data::Unsigned(LINKS_MAX as u8)),
        (Class::TcpUdpSetup, 6) => put(w, Data::LongUnsigned(inner.inactivity_seconds())),
        _ => Err(DataAccessResult::ObjectUndefined),
    }
}

/// What a SET would make of the settings. Nothing is changed here.
pub(super) fn changed(
    settings: &Settings,
    object: &Object,
    attribute: i8,
    value: &Data<'_>,
) -> StoreResult<Settings> {
    let mut settings = settings.clone();
    if object.class == Class::TcpUdpSetup {
        if attribute != 6 {
            return Err(DataAccessResult::ReadWriteDenied);
        }
        settings.inactivity_seconds = match parse::number(value)? {
            0 => 0,
            seconds if INACTIVITY_SECONDS.contains(&seconds) => seconds,
            _ => return Err(OUT_OF_BOUNDS),
        };
        return Ok(settings);
    }
    let limiter = &mut settings.limiter;
    let seconds = |value| match parse::number(value)? {
        // A day at the most; no time at all would act upon every spike.
        seconds @ 1..=86_400 => Ok(seconds),
        _ => Err(OUT_OF_BOUNDS),
    };
    match attribute {
        4 => limiter.threshold_normal = parse::number(value)?,
        5 => limiter.threshold_emergency = parse::number(value)?,
        6 => limiter.min_over_seconds = seconds(value)?,
        7 => limiter.min_under_seconds = seconds(value)?,
        8 => {
            let [id, at, duration] = parse::fields(value)?;
            limiter.emergency_id = parse::number(&id)?;
            limiter.emergency_at = parse::instant(&at)?;
            limiter.emergency_seconds = parse::number(&duration)?;
        }
        9 => {
            let groups = parse::array(value, EMERGENCY_GROUPS_MAX, parse::number::<u16>)?;
            limiter.emergency_groups = [0; EMERGENCY_GROUPS_MAX];
            limiter.emergency_groups[..groups.len()].copy_from_slice(&groups);
            limiter.emergency_group_count = groups.len() as u8;
        }
        11 => {
            let [over, under] = parse::fields(value)?;
            limiter.action_over = script(&over)?;
            limiter.action_under = script(&under)?;
        }
        _ => return Err(DataAccessResult::ReadWriteDenied),
    }
    Ok(settings)
}

/// A script of the disconnector's table, or 0 for none.
fn script(data: &Data<'_>) -> StoreResult<u16> {
    let [table, selector] = parse::fields(data)?;
    let selector = parse::number(&selector)?;
    if parse::obis(&table)? != Obis::DISCONNECTOR_SCRIPTS || selector > SCRIPT_RECONNECT {
        return Err(OUT_OF_BOUNDS);
    }
    Ok(selector)
}

/// The least that every IPv4 host takes (RFC 9293 §3.7.1); what a connection really uses is between the hosts.
const DEFAULT_MSS: u16 = 536;
/// Shorter would cut a head-end off between two looks; longer would keep a dead connection in a living one's place.
const INACTIVITY_SECONDS: core::ops::RangeInclusive<u16> = 30..=3600;

impl<F: NorFlash> Inner<F> {
    /// After so long without a byte a connection is given up: as the utility has set it, else as the device does.
    pub(crate) fn inactivity_seconds(&self) -> u16 {
        match self.settings.inactivity_seconds {
            0 => self.connectivity.inactivity_seconds,
            seconds => seconds,
        }
    }
}
