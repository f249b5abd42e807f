//! The calibration record of one unit: what its factory measured, and how far a value may be from what can be.
//!
//! A record says by how much a channel's counts must be *corrected*. Gain, offset and delay are quadratic in temperature about one reference
//! temperature; a current transformer adds a table over its RMS current, a shunt a term with the square of it. How it is applied: `correction`.

mod correction;
mod encoding;
mod error;

pub use error::CalibrationError;

pub(crate) use correction::Correction;

use crate::{CURRENTS, VOLTAGES, boundary::CHANNELS};

/// The name of the unit that a record is for: its identifier in ASCII, filled with zeros.
pub type UnitId = [u8; 16];

/// Everything that a factory measured on one unit. [`Calibration::check`] gives the range of every field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// The unit. [`Calibration::decode`] refuses the record of another one.
    pub unit: UnitId,
    /// Temperature about which all polynomials are written: 200 000 to 400 000 mK.
    pub reference_millikelvin: u32,
    /// The temperatures at which it was taken, in the order of the procedure; 0 where there were fewer. Between the least and the largest a correction
    /// is interpolated, beyond them [`CalibrationState::Valid`] says that it is extrapolated.
    pub taken_at_millikelvin: [u32; Calibration::TEMPERATURES],
    /// L1, L2, L3 voltages, then L1, L2, L3 and neutral currents.
    pub channels: [ChannelCalibration; CHANNELS],
    /// What the transducers of L1, L2, L3 and neutral currents do with the current itself.
    pub transducers: [Transducer; CURRENTS],
    /// How much of a phase's voltage counts appears in its current counts, in 10⁻⁹ counts a count: ±10 000 000.
    pub crosstalk_ppb: [i32; VOLTAGES],
}

/// The correction of one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelCalibration {
    /// What must be added to a factor of 1, in 10⁻⁹: ±20 % at the reference temperature, ±1 000 ppm/K, ±1 ppm/K².
    pub gain_ppb: Quadratic,
    /// The count of a shorted input, in thousandths of a count: ±2²⁰ counts, ±100 counts/K and 0.1 counts/K².
    pub offset_millicounts: Quadratic,
    /// How late the channel is, in picoseconds: ±20 µs, ±100 ns/K and 0.1 ns/K². Only the difference between a phase's current and its voltage is
    /// corrected, within ±4 samples.
    pub delay_picoseconds: Quadratic,
    /// Mean square of the noise of a shorted input less its offset, in thousandths of a count squared.
    pub noise_millicounts_squared: u32,
}

/// `constant + linear · ΔT + quadratic · ΔT²` with `ΔT` from the reference temperature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quadratic {
    /// In the field's unit.
    pub constant: i32,
    /// In thousandths of the field's unit per kelvin.
    pub linear: i32,
    /// In millionths of the field's unit per kelvin squared.
    pub quadratic: i32,
}

/// What depends on the current itself: a transformer's curve, a shunt's heat. All zero: nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transducer {
    /// Corrections over the RMS current, straight between the points and constant beyond them. Currents rise; the table ends before the first
    /// point of 0 mA that is not itself the first.
    pub curve: [CurvePoint; Transducer::POINTS],
    /// What the gain changes by in a settled current, in 10⁻¹² per ampere squared: ±10⁶.
    pub heating_ppt_per_square_ampere: i32,
    /// The time constant with which a shunt warms up and cools down: up to 3 600 000 ms; 0 follows at once.
    pub heating_milliseconds: u32,
}

/// One point of a transformer's curve. All zero is no point, unless a curve begins with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CurvePoint {
    /// RMS current: up to 1 000 000 000 mA.
    pub milliamperes: u32,
    /// Added to the channel's gain: ±5 %.
    pub gain_ppb: i32,
    /// Added to the channel's delay: ±20 µs.
    pub delay_picoseconds: i32,
}

/// Whether what a meter shows and books is calibrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalibrationState {
    /// There is no record: the scale alone says what a count is worth.
    Missing,
    /// There is a record, and it was refused.
    Refused(CalibrationError),
    /// A record for this unit is applied.
    Valid {
        /// The present temperature lies beyond those at which the record was taken.
        extrapolated: bool,
    },
}

impl CalibrationState {
    /// Whether a record for this unit is applied. A meter that bills asks this.
    pub fn is_valid(&self) -> bool {
        matches!(self, Self::Valid { .. })
    }
}

impl Transducer {
    /// Points in a curve.
    pub const POINTS: usize = 8;

    /// The curve's points that are there.
    fn points(&self) -> &[CurvePoint] {
        let end = self.curve.iter().skip(1).position(|point| point.milliamperes == 0);
        let points = &self.curve[..end.map_or(Self::POINTS, |end| end + 1)];
        if *points == [CurvePoint::default()] { &[] } else { points }
    }
}

impl Calibration {
    /// Temperatures that a record can name.
    pub const TEMPERATURES: usize = 8;
    /// The lowest temperature of a unit: 200 000 mK (−73 °C).
    pub const TEMPERATURE_MIN_MILLIKELVIN: u32 = 200_000;
    /// The highest temperature of a unit: 400 000 mK (127 °C).
    pub const TEMPERATURE_MAX_MILLIKELVIN: u32 = 400_000;

    /// A record for `unit` that corrects nothing, about 296 150 mK: 23 °C, the reference temperature of IEC 62053-22.
    pub fn nothing(unit: UnitId) -> Self {
        Self {
            unit,
            reference_millikelvin: 296_150,
            taken_at_millikelvin: [0; Self::TEMPERATURES],
            channels: [ChannelCalibration::default(); CHANNELS],
            transducers: [Transducer::default(); CURRENTS],
            crosstalk_ppb: [0; VOLTAGES],
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of its range, or the first curve whose currents do not rise.
    pub fn check(&self) -> Result<(), CalibrationError> {
        let mut first = Ok(());
        let mut copy = *self;
        copy.each_field(&mut |name, value, range| {
            let value = value.get();
            // No temperature at all is not one out of range.
            let absent = name == TAKEN_AT && value == 0;
            if first.is_ok() && !range.contains(&value) && !absent {
                let (min, max) = (*range.start(), *range.end());
                first = Err(CalibrationError::Range { field: name, value, min, max });
            }
        });
        first?;
        for (current, transducer) in self.transducers.iter().enumerate() {
            let points = transducer.points();
            let behind = &transducer.curve[points.len().max(1)..];
            let rising = points.windows(2).all(|pair| pair[0].milliamperes < pair[1].milliamperes);
            if !rising || behind.iter().any(|point| *point != CurvePoint::default()) {
                return Err(CalibrationError::Curve { current });
            }
        }
        Ok(())
    }

    /// Whether a temperature lies beyond those at which the record was taken.
    pub(crate) fn is_beyond(&self, millikelvin: u32) -> bool {
        let taken = || self.taken_at_millikelvin.iter().filter(|taken| **taken > 0);
        let within = taken().min().is_some_and(|least| millikelvin >= *least)
            && taken().max().is_some_and(|largest| millikelvin <= *largest);
        !within
    }
}

/// The one field that may be absent.
const TAKEN_AT: &str = "taken_at_millikelvin";
