//! What a leaf says, by kind: as much as a verifier needs who has neither the meter nor its software.
//!
//! Each body is a CBOR array of fixed length. Energies stand in the unit in which the meter shows them, times are the
//! meter's clock, and `row` is the number that the record has in its own ring or profile (the first is 1).

use meterseal_model::{Digest384, EventCode, UnixMillis};
use minicbor::{Decoder, Encoder};

use super::leaf::{LeafError, LeafKind};

/// The content of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time is in memory, and a meter should not allocate for it"
)]
pub enum Body {
    /// A place in the tree that a power cut left without a record.
    Void,
    /// An entry of the security log.
    Event(Event),
    /// A row of the load profile.
    Interval(Interval),
    /// All energy registers at a time.
    Reading(Reading),
    /// A row of the billing profile.
    Billing(Billing),
    /// The meter started: its uptime begins anew.
    Boot(Boot),
}

impl Body {
    /// Its kind.
    pub const fn kind(&self) -> LeafKind {
        match self {
            Self::Void => LeafKind::Void,
            Self::Event(_) => LeafKind::Event,
            Self::Interval(_) => LeafKind::Interval,
            Self::Reading(_) => LeafKind::Reading,
            Self::Billing(_) => LeafKind::Billing,
            Self::Boot(_) => LeafKind::Boot,
        }
    }

    /// The number of the record in its own ring; `None` where there is no record.
    pub const fn row(&self) -> Option<u64> {
        match self {
            Self::Void => None,
            Self::Event(event) => Some(event.row),
            Self::Interval(interval) => Some(interval.row),
            Self::Reading(reading) => Some(reading.row),
            Self::Billing(billing) => Some(billing.row),
            Self::Boot(boot) => Some(boot.row),
        }
    }

    /// The meter's clock as the record has it.
    pub const fn time(&self) -> Option<UnixMillis> {
        match self {
            Self::Void => None,
            Self::Event(event) => Some(event.time),
            Self::Interval(interval) => Some(interval.time),
            Self::Reading(reading) => Some(reading.time),
            Self::Billing(billing) => Some(billing.time),
            Self::Boot(boot) => Some(boot.time),
        }
    }

    pub(super) fn encode(&self) -> alloc::vec::Vec<u8> {
        match self {
            Self::Void => alloc::vec::Vec::new(),
            Self::Event(event) => crate::envelope::written(|encoder| event.write(encoder)),
            Self::Interval(interval) => crate::envelope::written(|encoder| interval.write(encoder)),
            Self::Reading(reading) => crate::envelope::written(|encoder| reading.write(encoder)),
            Self::Billing(billing) => crate::envelope::written(|encoder| billing.write(encoder)),
            Self::Boot(boot) => crate::envelope::written(|encoder| boot.write(encoder)),
        }
    }

    /// Reads a body; the caller compares its encoding with what it read.
    pub(super) fn decode(kind: LeafKind, bytes: &[u8]) -> Result<Self, LeafError> {
        let decoder = &mut Decoder::new(bytes);
        Ok(match kind {
            LeafKind::Void => Self::Void,
            LeafKind::Event => Self::Event(Event::read(decoder)?),
            LeafKind::Interval => Self::Interval(Interval::read(decoder)?),
            LeafKind::Reading => Self::Reading(Reading::read(decoder)?),
            LeafKind::Billing => Self::Billing(Billing::read(decoder)?),
            LeafKind::Boot => Self::Boot(Boot::read(decoder)?),
        })
    }
}

/// An entry of the security log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number in the security log.
    pub row: u64,
    /// The event's number; [`Event::known`] names it.
    pub code: u8,
    /// When it began, by the meter's clock.
    pub time: UnixMillis,
    /// When it began, milliseconds since power-up.
    pub uptime_ms: u64,
    /// Its extreme value: millionths of a quantity, or a count ([`EventCode::extreme`]).
    pub extreme: i64,
    /// By how much earlier than `time` it may have begun, milliseconds: above 0 for what was noticed afterwards, as a
    /// cover that was opened while the meter had no power.
    pub uncertainty_ms: u64,
}

impl Event {
    /// What happened; `None` for an event that this version does not know.
    pub const fn known(&self) -> Option<EventCode> {
        EventCode::from_number(self.code)
    }

    fn write(&self, encoder: &mut Out) -> Written {
        encoder.array(6)?.u64(self.row)?.u8(self.code)?.i64(self.time.0)?;
        encoder.u64(self.uptime_ms)?.i64(self.extreme)?.u64(self.uncertainty_ms)?.ok()
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Self, LeafError> {
        array(decoder, 6)?;
        Ok(Self {
            row: decoder.u64()?,
            code: decoder.u8()?,
            time: UnixMillis(decoder.i64()?),
            uptime_ms: decoder.u64()?,
            extreme: decoder.i64()?,
            uncertainty_ms: decoder.u64()?,
        })
    }
}

/// Energy totals, as the meter shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Active energy import (1.8.0), thousandths of a watt-hour.
    pub active_import_milliwatt_hours: u64,
    /// Active energy export (2.8.0).
    pub active_export_milliwatt_hours: u64,
    /// Reactive energy import (3.8.0), thousandths of a var-hour.
    pub reactive_import_millivar_hours: u64,
    /// Reactive energy export (4.8.0).
    pub reactive_export_millivar_hours: u64,
}

impl Totals {
    fn write(&self, encoder: &mut Out) -> Written {
        put_each(
            encoder,
            &[
                self.active_import_milliwatt_hours,
                self.active_export_milliwatt_hours,
                self.reactive_import_millivar_hours,
                self.reactive_export_millivar_hours,
            ],
        )
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Self, LeafError> {
        let [import, export, reactive_import, reactive_export] = get_each(decoder)?;
        Ok(Self {
            active_import_milliwatt_hours: import,
            active_export_milliwatt_hours: export,
            reactive_import_millivar_hours: reactive_import,
            reactive_export_millivar_hours: reactive_export,
        })
    }
}

/// Active energy by rate, thousandths of a watt-hour: rates 1 to 4 (1.8.1 … 1.8.4 and 2.8.1 … 2.8.4). Their sum is the
/// total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Import.
    pub import_milliwatt_hours: [u64; 4],
    /// Export.
    pub export_milliwatt_hours: [u64; 4],
}

impl Rates {
    fn write(&self, encoder: &mut Out) -> Written {
        put_each(encoder, &self.import_milliwatt_hours)?;
        put_each(encoder, &self.export_milliwatt_hours)
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Self, LeafError> {
        Ok(Self { import_milliwatt_hours: get_each(decoder)?, export_milliwatt_hours: get_each(decoder)? })
    }
}

/// A row of the load profile: the registers at an interval's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Its number in the load profile.
    pub row: u64,
    /// The end of the interval.
    pub time: UnixMillis,
    /// What disturbed the interval: bits as in the load profile.
    pub status: u8,
    /// The registers at its end.
    pub totals: Totals,
    /// Mean RMS voltage of L1, L2, L3, hundredths of a volt; 0 when nothing was measured.
    pub mean_voltage_centivolts: [u16; 3],
}

impl Interval {
    fn write(&self, encoder: &mut Out) -> Written {
        encoder.array(5)?.u64(self.row)?.i64(self.time.0)?.u8(self.status)?;
        self.totals.write(encoder)?;
        put_each(encoder, &self.mean_voltage_centivolts.map(u64::from))
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Self, LeafError> {
        array(decoder, 5)?;
        let (row, time, status) = (decoder.u64()?, UnixMillis(decoder.i64()?), decoder.u8()?);
        let totals = Totals::read(decoder)?;
        array(decoder, 3)?;
        let mean_voltage_centivolts = [decoder.u16()?, decoder.u16()?, decoder.u16()?];
        Ok(Self { row, time, status, totals, mean_voltage_centivolts })
    }
}

/// Why a reading was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ReadingReason {
    /// The day ended (midnight UTC).
    Daily = 0,
    /// A billing period ended.
    BillingPeriod = 1,
    /// The utility asked for it.
    Requested = 2,
    /// The tariff or its calendar is about to change.
    TariffChange = 3,
}

impl ReadingReason {
    /// The reason with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Daily),
            1 => Some(Self::BillingPeriod),
            2 => Some(Self::Requested),
            3 => Some(Self::TariffChange),
            _ => None,
        }
    }
}

/// All energy registers at a time: what a bill rests upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its number among the readings.
    pub row: u64,
    /// When, by the meter's clock.
    pub time: UnixMillis,
    /// When, milliseconds since power-up.
    pub uptime_ms: u64,
    /// Which power-up: 1 the first.
    pub boot: u64,
    /// Why it was taken.
    pub reason: ReadingReason,
    /// Totals.
    pub totals: Totals,
    /// Active energy by rate.
    pub rates: Rates,
    /// Reactive energy by quadrant I to IV, thousandths of a var-hour.
    pub quadrant_millivar_hours: [u64; 4],
    /// Active energy import of L1, L2, L3, thousandths of a watt-hour.
    pub phase_import_milliwatt_hours: [u64; 3],
    /// Active energy export of L1, L2, L3.
    pub phase_export_milliwatt_hours: [u64; 3],
    /// Sum of the active energies that single phases imported.
    pub sum_of_phase_imports_milliwatt_hours: u64,
    /// Apparent energy, thousandths of a volt-ampere-hour.
    pub apparent_millivoltampere_hours: u64,
}

impl Reading {
    fn write(&self, encoder: &mut Out) -> Written {
        encoder.array(13)?.u64(self.row)?.i64(self.time.0)?.u64(self.uptime_ms)?;
        encoder.u64(self.boot)?.u8(self.reason as u8)?;
        self.totals.write(encoder)?;
        self.rates.write(encoder)?;
        put_each(encoder, &self.quadrant_millivar_hours)?;
        put_each(encoder, &self.phase_import_milliwatt_hours)?;
        put_each(encoder, &self.phase_export_milliwatt_hours)?;
        encoder.u64(self.sum_of_phase_imports_milliwatt_hours)?.u64(self.apparent_millivoltampere_hours)?.ok()
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Self, LeafError> {
        array(decoder, 13)?;
        Ok(Self {
            row: decoder.u64()?,
            time: UnixMillis(decoder.i64()?),
            uptime_ms: decoder.u64()?,
            boot: decoder.u64()?,
            reason: ReadingReason::from_number(decoder.u8()?).ok_or(LeafError::Malformed)?,
            totals: Totals::read(decoder)?,
            rates: Rates::read(decoder)?,
            quadrant_millivar_hours: get_each(decoder)?,
            phase_import_milliwatt_hours: get_each(decoder)?,
            phase_export_milliwatt_hours: get_each(decoder)?,
            sum_of_phase_imports_milliwatt_hours: decoder.u64()?,
            apparent_millivoltampere_hours: decoder.u64()?,
        })
    }
}

/// The largest mean power of a demand period within a billing period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maximum {
    /// Mean power.
    pub microwatts: u64,
    /// The end of its demand period; 1970 where there was none.
    pub time: UnixMillis,
}

/// A row of the billing profile: the end of a billing period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Billing {
    /// Its number in the billing profile.
    pub row: u64,
    /// The end of the period.
    pub time: UnixMillis,
    /// Totals.
    pub totals: Totals,
    /// Active energy by rate.
    pub rates: Rates,
    /// Maximum demand of the period, import and export.
    pub maxima: [Maximum; 2],
}

impl Billing {
    fn write(&self, encoder: &mut Out) -> Written {
        encoder.array(6)?.u64(self.row)?.i64(self.time.0)?;
        self.totals.write(encoder)?;
        self.rates.write(encoder)?;
        encoder.array(4)?;
        for maximum in &self.maxima {
            encoder.u64(maximum.microwatts)?.i64(maximum.time.0)?;
        }
        Ok(())
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Self, LeafError> {
        array(decoder, 6)?;
        let (row, time) = (decoder.u64()?, UnixMillis(decoder.i64()?));
        let (totals, rates) = (Totals::read(decoder)?, Rates::read(decoder)?);
        array(decoder, 4)?;
        let mut maximum = || -> Result<Maximum, LeafError> {
            Ok(Maximum { microwatts: decoder.u64()?, time: UnixMillis(decoder.i64()?) })
        };
        Ok(Self { row, time, totals, rates, maxima: [maximum()?, maximum()?] })
    }
}

/// The meter started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Its number among the starts: how often the meter has been powered up.
    pub row: u64,
    /// The meter's clock at the start.
    pub time: UnixMillis,
    /// SHA-384 of the firmware image that started, where the meter knows it.
    pub firmware: Option<Digest384>,
}

impl Boot {
    fn write(&self, encoder: &mut Out) -> Written {
        encoder.array(3)?.u64(self.row)?.i64(self.time.0)?;
        match self.firmware {
            Some(digest) => encoder.bytes(&digest.0)?.ok(),
            None => encoder.null()?.ok(),
        }
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Self, LeafError> {
        array(decoder, 3)?;
        let (row, time) = (decoder.u64()?, UnixMillis(decoder.i64()?));
        let firmware = if decoder.datatype()? == minicbor::data::Type::Null {
            decoder.null()?;
            None
        } else {
            Some(Digest384(decoder.bytes()?.try_into().map_err(|_| LeafError::Malformed)?))
        };
        Ok(Self { row, time, firmware })
    }
}

type Out = Encoder<alloc::vec::Vec<u8>>;
type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

fn array(decoder: &mut Decoder<'_>, length: u64) -> Result<(), LeafError> {
    if decoder.array()? == Some(length) { Ok(()) } else { Err(LeafError::Malformed) }
}

fn put_each(encoder: &mut Out, values: &[u64]) -> Written {
    encoder.array(values.len() as u64)?;
    values.iter().try_for_each(|&value| encoder.u64(value)?.ok())
}

fn get_each<const N: usize>(decoder: &mut Decoder<'_>) -> Result<[u64; N], LeafError> {
    array(decoder, N as u64)?;
    let mut values = [0; N];
    for value in &mut values {
        *value = decoder.u64()?;
    }
    Ok(values)
}
