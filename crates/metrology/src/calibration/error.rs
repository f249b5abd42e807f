//! Why a calibration record is refused.

use super::{Calibration, UnitId};

/// Why a calibration record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalibrationError {
    /// Not [`Calibration::ENCODED_LEN`] bytes.
    Length {
        /// The length found.
        found: usize,
    },
    /// Not [`Calibration::VERSION`].
    Version {
        /// The version found.
        found: u16,
    },
    /// The bytes are not those that were written.
    Checksum {
        /// What the bytes before it sum up to.
        expected: u32,
        /// What stands in the record.
        found: u32,
    },
    /// The record of another unit.
    Unit {
        /// This unit.
        expected: UnitId,
        /// The unit in the record.
        found: UnitId,
    },
    /// A value that no unit can have.
    Range {
        /// The field's name in [`Calibration`] and what it holds.
        field: &'static str,
        /// What it was set to.
        value: i64,
        /// The smallest value it may have.
        min: i64,
        /// The largest value it may have.
        max: i64,
    },
    /// A curve whose currents do not rise, or that goes on after its end.
    Curve {
        /// The current: 0 to 3.
        current: usize,
    },
}

impl core::fmt::Display for CalibrationError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Length { found } => {
                let expected = Calibration::ENCODED_LEN;
                write!(
                    f,
                    "calibration record has {found} bytes, expected {expected}; load the one from the factory"
                )
            }
            Self::Version { found } => {
                let expected = Calibration::VERSION;
                write!(
                    f,
                    "calibration record has format version {found}, this software reads {expected}; use the software that wrote it"
                )
            }
            Self::Checksum { expected, found } => write!(
                f,
                "calibration record has checksum {found:08x}, its bytes give {expected:08x}; load the one from the factory"
            ),
            Self::Unit { expected, found } => write!(
                f,
                "calibration record is for unit {}, this is {}; load this unit's own",
                written(found),
                written(expected)
            ),
            Self::Range { field, value, min, max } => write!(
                f,
                "calibration record has {field} {value}, possible is {min} to {max}; calibrate the unit again"
            ),
            Self::Curve { current } => write!(
                f,
                "calibration record's curve of current {current} does not rise from point to point; calibrate the unit again"
            ),
        }
    }
}

impl core::error::Error for CalibrationError {}

/// An identifier without the zeros that fill it up.
fn written(unit: &[u8]) -> core::slice::EscapeAscii<'_> {
    let length = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    unit[..length].escape_ascii()
}
