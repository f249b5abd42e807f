//! The stored form of a calibration record: version, unit, fields of four bytes, checksum; little-endian and of fixed size.
//!
//! One walk over the fields ([`Calibration::each_field`]) serves writing, reading and checking, so that no two of them can differ.

use core::ops::RangeInclusive;

use super::{Calibration, CalibrationError, Quadratic, TAKEN_AT, Transducer, UnitId};
use crate::{CURRENTS, VOLTAGES, boundary::CHANNELS};

impl Calibration {
    /// The version of the stored form.
    pub const VERSION: u16 = 1;
    const FIELDS: usize =
        1 + Self::TEMPERATURES + CHANNELS * 10 + CURRENTS * (Transducer::POINTS * 3 + 2) + VOLTAGES;
    const HEAD: usize = 2 + size_of::<UnitId>();
    const BODY: usize = Self::HEAD + Self::FIELDS * 4;
    /// Bytes in the stored form.
    pub const ENCODED_LEN: usize = Self::BODY + 4;

    /// The stored form, with its CRC-32 at the end.
    pub fn encode(&self) -> [u8; Self::ENCODED_LEN] {
        let mut bytes = [0; Self::ENCODED_LEN];
        bytes[..2].copy_from_slice(&Self::VERSION.to_le_bytes());
        bytes[2..Self::HEAD].copy_from_slice(&self.unit);
        let mut at = Self::HEAD;
        let mut copy = *self;
        copy.each_field(&mut |_, value, _| {
            bytes[at..at + 4].copy_from_slice(&value.bytes());
            at += 4;
        });
        let sum = crc32(&bytes[..Self::BODY]);
        bytes[Self::BODY..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads the stored form, for the unit `unit`.
    ///
    /// # Errors
    /// Another length, version or checksum; the record of another unit; a field out of its range.
    pub fn decode(bytes: &[u8], unit: &UnitId) -> Result<Self, CalibrationError> {
        let Ok(bytes) = <&[u8; Self::ENCODED_LEN]>::try_from(bytes) else {
            return Err(CalibrationError::Length { found: bytes.len() });
        };
        let (body, sum) = bytes.split_at(Self::BODY);
        let (version, rest) = body.split_at(2);
        let version = u16::from_le_bytes([version[0], version[1]]);
        if version != Self::VERSION {
            return Err(CalibrationError::Version { found: version });
        }
        let (expected, found) = (crc32(body), u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]));
        if expected != found {
            return Err(CalibrationError::Checksum { expected, found });
        }
        let (named, mut rest) = rest.split_at(size_of::<UnitId>());
        let mut record = Self::nothing(*unit);
        if named != unit {
            let mut found = *unit;
            found.copy_from_slice(named);
            return Err(CalibrationError::Unit { expected: *unit, found });
        }
        record.each_field(&mut |_, mut value, _| {
            if let Some((head, tail)) = rest.split_first_chunk() {
                value.set(*head);
                rest = tail;
            }
        });
        record.check()?;
        Ok(record)
    }

    /// Every field in the stored order, with its name and its range.
    pub(super) fn each_field(&mut self, visit: &mut Visit<'_>) {
        let temperatures =
            i64::from(Self::TEMPERATURE_MIN_MILLIKELVIN)..=i64::from(Self::TEMPERATURE_MAX_MILLIKELVIN);
        visit(
            "reference_millikelvin",
            Value::Unsigned(&mut self.reference_millikelvin),
            temperatures.clone(),
        );
        for taken in &mut self.taken_at_millikelvin {
            visit(TAKEN_AT, Value::Unsigned(taken), temperatures.clone());
        }
        for channel in &mut self.channels {
            each_coefficient(&mut channel.gain_ppb, &GAIN, visit);
            each_coefficient(&mut channel.offset_millicounts, &OFFSET, visit);
            each_coefficient(&mut channel.delay_picoseconds, &DELAY, visit);
            let noise = &mut channel.noise_millicounts_squared;
            visit("noise_millicounts_squared", Value::Unsigned(noise), 0..=u32::MAX.into());
        }
        for transducer in &mut self.transducers {
            for point in &mut transducer.curve {
                visit("curve.milliamperes", Value::Unsigned(&mut point.milliamperes), 0..=1_000_000_000);
                visit("curve.gain_ppb", Value::Signed(&mut point.gain_ppb), symmetric(50_000_000));
                let delay = &mut point.delay_picoseconds;
                visit("curve.delay_picoseconds", Value::Signed(delay), symmetric(20_000_000));
            }
            let heating = &mut transducer.heating_ppt_per_square_ampere;
            visit("heating_ppt_per_square_ampere", Value::Signed(heating), symmetric(1_000_000));
            let time = &mut transducer.heating_milliseconds;
            visit("heating_milliseconds", Value::Unsigned(time), 0..=3_600_000);
        }
        for crosstalk in &mut self.crosstalk_ppb {
            visit("crosstalk_ppb", Value::Signed(crosstalk), symmetric(10_000_000));
        }
    }
}

type Visit<'a> = dyn FnMut(&'static str, Value<'_>, RangeInclusive<i64>) + 'a;

/// A field of four bytes.
pub(super) enum Value<'a> {
    Unsigned(&'a mut u32),
    Signed(&'a mut i32),
}

impl Value<'_> {
    pub(super) fn get(&self) -> i64 {
        match self {
            Self::Unsigned(value) => i64::from(**value),
            Self::Signed(value) => i64::from(**value),
        }
    }

    fn bytes(&self) -> [u8; 4] {
        match self {
            Self::Unsigned(value) => value.to_le_bytes(),
            Self::Signed(value) => value.to_le_bytes(),
        }
    }

    fn set(&mut self, bytes: [u8; 4]) {
        match self {
            Self::Unsigned(value) => **value = u32::from_le_bytes(bytes),
            Self::Signed(value) => **value = i32::from_le_bytes(bytes),
        }
    }
}

/// Names and limits of a polynomial's coefficients.
type Limits = [(&'static str, i64); 3];

/// Wide enough for any divider, shunt or transformer that is not broken: tolerances of components sum up to a few per cent, drifts to 100 ppm/K.
const GAIN: Limits = [
    ("gain_ppb.constant", 200_000_000),
    ("gain_ppb.linear", 1_000_000_000),
    ("gain_ppb.quadratic", 1_000_000_000),
];
const OFFSET: Limits = [
    ("offset_millicounts.constant", 1_048_576_000),
    ("offset_millicounts.linear", 100_000_000),
    ("offset_millicounts.quadratic", 100_000_000),
];
const DELAY: Limits = [
    ("delay_picoseconds.constant", 20_000_000),
    ("delay_picoseconds.linear", 100_000_000),
    ("delay_picoseconds.quadratic", 100_000_000),
];

fn each_coefficient(polynomial: &mut Quadratic, limits: &Limits, visit: &mut Visit<'_>) {
    let Quadratic { constant, linear, quadratic } = polynomial;
    for (value, (name, limit)) in [constant, linear, quadratic].into_iter().zip(limits) {
        visit(name, Value::Signed(value), symmetric(*limit));
    }
}

fn symmetric(limit: i64) -> RangeInclusive<i64> {
    -limit..=limit
}

/// CRC-32 as in IEEE 802.3 (reflected polynomial EDB88320, all ones before and after). Bit by bit: a record is read once in a start.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_ieee_802_3() {
        // The check value of the CRC catalogue.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn the_walk_visits_as_many_fields_as_there_is_room_for() {
        let mut fields = 0;
        Calibration::nothing(*b"MSL0000000001\0\0\0").each_field(&mut |_, _, _| fields += 1);
        assert_eq!(fields, Calibration::FIELDS);
    }
}
