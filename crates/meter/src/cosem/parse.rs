//! Values from outside into the meter's own types: bounded, and refused with the reason that DLMS has for it. A wrong
//! type is type-unmatched; a value or a count beyond its bounds is scope-of-access-violated.

use alloc::vec::Vec;

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::server::StoreResult;
use dlms_cosem_rs::xdlms::DataAccessResult;
use meterseal_model::{Obis, UnixMillis};

use crate::calendar::{DatePattern, NAME_MAX, Name, TimeOfDay};
use crate::clock;

/// A date-time that does not say how far it is from UTC.
const NO_DEVIATION: [u8; 2] = [0x80, 0x00];

pub(super) const WRONG_TYPE: DataAccessResult = DataAccessResult::TypeUnmatched;
pub(super) const OUT_OF_BOUNDS: DataAccessResult = DataAccessResult::ScopeOfAccessViolated;

/// The fields of a structure of exactly so many.
pub(super) fn fields<'a, const N: usize>(data: &Data<'a>) -> StoreResult<[Data<'a>; N]> {
    let structure = data.as_structure().ok_or(WRONG_TYPE)?;
    let mut found = structure.iter();
    let mut fields = [Data::Null; N];
    for field in &mut fields {
        *field = found.next().ok_or(WRONG_TYPE)?.map_err(|_| WRONG_TYPE)?;
    }
    if found.next().is_some() { Err(WRONG_TYPE) } else { Ok(fields) }
}

/// The elements of an array of at most so many, each read by `element`.
pub(super) fn array<'a, T>(
    data: &Data<'a>,
    most: usize,
    element: impl Fn(&Data<'a>) -> StoreResult<T>,
) -> StoreResult<Vec<T>> {
    let array = data.as_array().ok_or(WRONG_TYPE)?;
    let mut elements = Vec::new();
    for found in &array {
        if elements.len() == most {
            return Err(OUT_OF_BOUNDS);
        }
        elements.push(element(&found.map_err(|_| WRONG_TYPE)?)?);
    }
    Ok(elements)
}

/// An unsigned number that fits.
pub(super) fn number<T: TryFrom<u64>>(data: &Data<'_>) -> StoreResult<T> {
    T::try_from(data.as_u64().ok_or(WRONG_TYPE)?).map_err(|_| OUT_OF_BOUNDS)
}

pub(super) fn octets<'a>(data: &Data<'a>) -> StoreResult<&'a [u8]> {
    match *data {
        Data::OctetString(bytes) => Ok(bytes),
        _ => Err(WRONG_TYPE),
    }
}

fn exactly<const N: usize>(data: &Data<'_>) -> StoreResult<[u8; N]> {
    octets(data)?.try_into().map_err(|_| WRONG_TYPE)
}

pub(super) fn name(data: &Data<'_>) -> StoreResult<Name> {
    let name = octets(data)?;
    if name.len() > NAME_MAX { Err(OUT_OF_BOUNDS) } else { Ok(Name::from(name)) }
}

pub(super) fn obis(data: &Data<'_>) -> StoreResult<Obis> {
    exactly(data).map(Obis)
}

/// A time of day in four octets, whose hundredths must be 0 or unspecified.
pub(super) fn time_of_day(data: &Data<'_>) -> StoreResult<TimeOfDay> {
    let [hour, minute, second, hundredths] = exactly(data)?;
    let time = TimeOfDay { hour, minute, second };
    if time.is_possible() && matches!(hundredths, 0 | 0xFF) { Ok(time) } else { Err(OUT_OF_BOUNDS) }
}

/// A date with wildcards in five octets.
pub(super) fn date(data: &Data<'_>) -> StoreResult<DatePattern> {
    let [high, low, month, day, day_of_week] = exactly(data)?;
    let date = DatePattern { year: u16::from_be_bytes([high, low]), month, day, day_of_week };
    if date.is_possible() { Ok(date) } else { Err(OUT_OF_BOUNDS) }
}

/// A member of an enumeration.
pub(super) fn choice(data: &Data<'_>) -> StoreResult<u8> {
    match *data {
        Data::Enum(number) => Ok(number),
        _ => Err(WRONG_TYPE),
    }
}

/// A time of day on the days of a pattern, in the twelve octets of a date-time in the meter's own time, which is UTC.
pub(super) fn pattern(data: &Data<'_>) -> StoreResult<(TimeOfDay, DatePattern)> {
    let (date_bytes, time_bytes) = date_and_time(data)?;
    let deviation: [u8; 2] = match octets(data)? {
        [.., high, low, _] => [*high, *low],
        _ => return Err(WRONG_TYPE),
    };
    if deviation != NO_DEVIATION && deviation != [0, 0] {
        return Err(OUT_OF_BOUNDS);
    }
    Ok((time_of_day(&Data::OctetString(&time_bytes))?, date(&Data::OctetString(&date_bytes))?))
}

/// The date and the time of a date-time in twelve octets; deviation and status are left out.
pub(super) fn date_and_time(data: &Data<'_>) -> StoreResult<([u8; 5], [u8; 4])> {
    let bytes: [u8; 12] = exactly(data)?;
    let ([y, e, m, d, w], [h, n, s, c]) =
        ([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]], [bytes[5], bytes[6], bytes[7], bytes[8]]);
    Ok(([y, e, m, d, w], [h, n, s, c]))
}

/// An instant in twelve octets; `None` for one that is nowhere specified: never.
pub(super) fn instant(data: &Data<'_>) -> StoreResult<Option<UnixMillis>> {
    let bytes: [u8; 12] = exactly(data)?;
    if bytes[..9].iter().all(|&byte| byte == 0xFF) {
        return Ok(None);
    }
    let mut instant = bytes;
    if bytes[9..11] == NO_DEVIATION {
        // The meter's own time, which is UTC.
        instant[9..11].fill(0);
    }
    clock::timestamp(Data::OctetString(&instant)).map(Some).ok_or(OUT_OF_BOUNDS)
}
