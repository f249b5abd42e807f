//! Push setup (class 40) as IEC 62056-6-2 lays it out, from memory, not verified against the standard's text.

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::Writer;
use dlms_cosem_rs::server::StoreResult;
use dlms_cosem_rs::xdlms::DataAccessResult;
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::objects::PUSH_COLUMNS;

use super::parse::{self, OUT_OF_BOUNDS};
use super::{profile, put, put_array, put_structure};
use crate::calendar::{DatePattern, TimeOfDay};
use crate::inner::Inner;
use crate::push_setup::{WINDOWS_MAX, Window};
use crate::settings::Settings;

/// TCP, in the connection that the meter keeps to its head-end: the meter dials nobody else. A-XDR encoded.
const DESTINATION: (u8, &[u8], u8) = (0, b"", 0);

pub(super) fn get<F: NorFlash>(inner: &Inner<F>, attribute: i8, w: &mut dyn Writer) -> StoreResult<()> {
    let setup = &inner.settings.push;
    match attribute {
        2 => profile::columns(PUSH_COLUMNS, w),
        3 => {
            put_structure(w, 3)?;
            put(w, Data::Enum(DESTINATION.0))?;
            put(w, Data::OctetString(DESTINATION.1))?;
            put(w, Data::Enum(DESTINATION.2))
        }
        4 => {
            put_array(w, setup.windows.len())?;
            setup.windows.iter().try_for_each(|window| {
                put_structure(w, 2)?;
                put_pattern(window.start, w)?;
                put_pattern(window.end, w)
            })
        }
        5 => put(w, Data::LongUnsigned(setup.randomisation_seconds)),
        6 => put(w, Data::Unsigned(setup.retries)),
        7 => put(w, Data::LongUnsigned(setup.repetition_delay_seconds)),
        _ => Err(DataAccessResult::ObjectUndefined),
    }
}

/// What a SET would make of the settings. Nothing is changed here.
pub(super) fn changed(settings: &Settings, attribute: i8, value: &Data<'_>) -> StoreResult<Settings> {
    let mut settings = settings.clone();
    let setup = &mut settings.push;
    match attribute {
        3 => {
            let [service, destination, message] = parse::fields(value)?;
            let wanted = (parse::choice(&service)?, parse::octets(&destination)?, parse::choice(&message)?);
            if wanted != DESTINATION {
                return Err(OUT_OF_BOUNDS);
            }
        }
        4 => setup.windows = parse::array(value, WINDOWS_MAX, window)?,
        5 => setup.randomisation_seconds = parse::number(value)?,
        6 => setup.retries = parse::number(value)?,
        7 => setup.repetition_delay_seconds = parse::number(value)?,
        _ => return Err(DataAccessResult::ReadWriteDenied),
    }
    Ok(settings)
}

fn window(value: &Data<'_>) -> StoreResult<Window> {
    let [start, end] = parse::fields(value)?;
    Ok(Window { start: parse::pattern(&start)?, end: parse::pattern(&end)? })
}

/// A date with wildcards and a time of day, in twelve octets without deviation and status.
fn put_pattern((time, date): (TimeOfDay, DatePattern), w: &mut dyn Writer) -> StoreResult<()> {
    let [high, low] = date.year.to_be_bytes();
    let TimeOfDay { hour, minute, second } = time;
    let bytes =
        [high, low, date.month, date.day, date.day_of_week, hour, minute, second, 0, 0x80, 0x00, 0xFF];
    put(w, Data::OctetString(&bytes))
}
