//! The configuration (`.cfg`): what was recorded, how fast, and how numbers become volts and amperes.

use super::Error;
use super::lines::{Line, Lines, clip, finite};

/// A recording's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where it was recorded.
    pub station: String,
    /// By which device.
    pub device: String,
    /// The standard's edition.
    pub revision: Revision,
    /// Analogue channels in the order of their columns.
    pub analogs: Vec<AnalogChannel>,
    /// Status channels in the order of their columns.
    pub digitals: Vec<String>,
    /// Nominal line frequency, hertz, where given.
    pub line_frequency_hz: Option<f64>,
    /// Sampling rates, as written: rate in hertz and last row at this rate. A rate of 0 says that only the
    /// timestamps tell; a last row of 0 says that the rows go to the data's end.
    pub rates: Vec<(f64, u64)>,
    /// Date and time of the first sample, as written.
    pub start: String,
    /// Date and time of the trigger, as written.
    pub trigger: String,
    /// How the data are stored.
    pub format: DataFormat,
    /// What one unit of the time column is worth, in its base unit.
    pub time_multiplier: f64,
}

/// An edition of IEEE C37.111.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    /// The first; its files do not name their edition.
    Year1991,
    /// With transformer ratios.
    Year1999,
    /// With 32-bit data and single-file recordings.
    Year2013,
}

/// How rows are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFormat {
    /// Text, a line a row.
    Ascii,
    /// 16-bit integers.
    Binary,
    /// 32-bit integers.
    Binary32,
    /// IEEE 754 single precision.
    Float32,
}

/// On which side of the instrument transformers values are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The line's own volts and amperes.
    Primary,
    /// Volts and amperes at the meter's terminals.
    Secondary,
}

/// An analogue channel: value = multiplier · number + offset.
#[derive(Clone, Debug, PartialEq)]
pub struct AnalogChannel {
    /// Its name.
    pub name: String,
    /// Its phase, as written.
    pub phase: String,
    /// The circuit component.
    pub component: String,
    /// The unit, as written.
    pub unit: String,
    /// Units per number.
    pub multiplier: f64,
    /// Units at number 0.
    pub offset: f64,
    /// Delay of this channel's sampling after the row's time, microseconds.
    pub skew_us: f64,
    /// Smallest and largest number that can occur.
    pub range: (f64, f64),
    /// Rating of the transformer's primary winding.
    pub primary: f64,
    /// Rating of the transformer's secondary winding.
    pub secondary: f64,
    /// The side that the values are for.
    pub side: Side,
    /// The line of the configuration that says so, from 1 (0: not from a file).
    pub line: usize,
}

/// More analogue channels than this are not believed; the standard allows 999 999 in all.
const MAX_ANALOGS: usize = 999;
/// More status channels than this are not believed.
const MAX_DIGITALS: usize = 99_999;

impl Config {
    /// Reads a configuration's text; `path` is for messages.
    pub fn parse(text: &str, path: &str) -> Result<Self, Error> {
        let mut lines = Lines::new(text, path);
        let first = lines.next("station, device and edition")?;
        let heading = first.fields();
        let counts = lines.next("the number of channels, as in 8,8A,0D")?;
        let (analog_count, digital_count) = channel_counts(&counts).map_err(|why| match why {
            CountError::NotComtrade => Error::NotComtrade {
                path: path.to_owned(),
                why: format!(
                    "line {} should give channel counts as in 8,8A,0D and reads {:?}",
                    counts.number,
                    clip(counts.text)
                ),
            },
            CountError::Sum => counts.error(path, "a total that is the sum of analogue and status channels"),
            CountError::TooMany => counts.error(path, "at most 999 analogue and 99999 status channels"),
        })?;
        let revision = revision(&heading);
        let analogs = (0..analog_count)
            .map(|k| {
                AnalogChannel::parse(&lines.next(&format!("analogue channel {}", k + 1))?, path, revision)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let digitals = (0..digital_count)
            .map(|k| {
                let line = lines.next(&format!("status channel {}", k + 1))?;
                Ok(line.fields().get(1).copied().unwrap_or_default().to_owned())
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let line_frequency_hz = lines.line_frequency()?;
        let rates = lines.rates()?;
        let (stamps, format) = lines.format()?;
        let time_multiplier = lines.time_multiplier(revision)?;
        let field = |k: usize| heading.get(k).copied().unwrap_or_default().to_owned();
        let stamp = |k: usize| stamps.get(k).cloned().unwrap_or_default();
        Ok(Self {
            station: field(0),
            device: field(1),
            revision,
            analogs,
            digitals,
            line_frequency_hz,
            rates,
            start: stamp(0),
            trigger: stamp(1),
            format,
            time_multiplier,
        })
    }

    /// Seconds per unit of the time column: microseconds, or nanoseconds where an edition-2013 file writes its
    /// start with more than six decimals, times the multiplier.
    pub fn time_unit_seconds(&self) -> f64 {
        let decimals = self.start.rsplit_once('.').map_or(0, |(_, fraction)| fraction.trim().len());
        let nanoseconds = self.revision == Revision::Year2013 && decimals > 6;
        self.time_multiplier * if nanoseconds { 1e-9 } else { 1e-6 }
    }

    /// Rows by the configuration; `None` when it does not say.
    pub fn promised_rows(&self) -> Option<u64> {
        self.rates.last().map(|&(_, last)| last).filter(|&last| last > 0)
    }

    /// Bytes of a row in the binary formats.
    pub(super) fn row_bytes(&self) -> usize {
        let width = if self.format == DataFormat::Binary { 2 } else { 4 };
        8 + self.analogs.len() * width + self.digitals.len().div_ceil(16) * 2
    }
}

impl DataFormat {
    /// Its name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ascii => "ASCII",
            Self::Binary => "BINARY",
            Self::Binary32 => "BINARY32",
            Self::Float32 => "FLOAT32",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Ascii, Self::Binary, Self::Binary32, Self::Float32]
            .into_iter()
            .find(|format| format.name().eq_ignore_ascii_case(name))
    }
}

impl AnalogChannel {
    /// A channel with a ratio of 1:1 on the primary side.
    pub fn new(name: &str, phase: &str, unit: &str, multiplier: f64) -> Self {
        Self {
            name: name.to_owned(),
            phase: phase.to_owned(),
            component: String::new(),
            unit: unit.to_owned(),
            multiplier,
            offset: 0.0,
            skew_us: 0.0,
            range: (-32_767.0, 32_767.0),
            primary: 1.0,
            secondary: 1.0,
            side: Side::Primary,
            line: 0,
        }
    }

    /// The factor from this channel's values to values on `side`; `None` where the ratio is not a positive one.
    pub fn factor_to(&self, side: Side) -> Option<f64> {
        let ratio = self.primary / self.secondary;
        if !(self.primary > 0.0 && self.secondary > 0.0 && ratio.is_finite() && ratio > 0.0) {
            return None;
        }
        Some(match (self.side, side) {
            (Side::Secondary, Side::Primary) => ratio,
            (Side::Primary, Side::Secondary) => 1.0 / ratio,
            _ => 1.0,
        })
    }

    /// Reads `An,ch_id,ph,ccbm,uu,a,b,skew,min,max,primary,secondary,PS`; the last three came in 1999.
    fn parse(line: &Line<'_>, path: &str, revision: Revision) -> Result<Self, Error> {
        let mut fields: Vec<&str> = line.fields();
        let width = if revision == Revision::Year1991 { 10 } else { 13 };
        while fields.len() > width && fields.last().is_some_and(|field| field.is_empty()) {
            fields.pop();
        }
        if fields.len() < 7 {
            return Err(line.error(
                path,
                "an analogue channel (number, name, phase, component, unit, multiplier, offset, …)",
            ));
        }
        // More fields than there can be: the name has commas in it.
        let extra = fields.len().saturating_sub(13);
        let name = fields[1..=1 + extra].join(",");
        fields.drain(1..1 + extra);
        let number = |k: usize, what: &str, default: Option<f64>| match (
            fields.get(k).copied().unwrap_or(""),
            default,
        ) {
            ("", Some(value)) => Ok(value),
            (text, _) => finite(text).ok_or_else(|| Error::Config {
                path: path.to_owned(),
                line: line.number,
                expected: format!("a number as the {what} of channel {name:?}"),
                found: clip(text),
            }),
        };
        let informative = |k: usize| fields.get(k).and_then(|text| finite(text));
        let side = match fields.get(12).and_then(|text| text.chars().next()) {
            Some('s' | 'S') => Side::Secondary,
            _ => Side::Primary,
        };
        Ok(Self {
            phase: fields[2].to_owned(),
            component: fields[3].to_owned(),
            unit: fields[4].to_owned(),
            multiplier: number(5, "multiplier", None)?,
            offset: number(6, "offset", Some(0.0))?,
            // Skew and range are for information: what cannot be read there keeps no recording from being measured.
            skew_us: informative(7).unwrap_or(0.0),
            range: (informative(8).unwrap_or(f64::MIN), informative(9).unwrap_or(f64::MAX)),
            primary: number(10, "primary rating", Some(1.0))?,
            secondary: number(11, "secondary rating", Some(1.0))?,
            side,
            line: line.number,
            name,
        })
    }
}

enum CountError {
    NotComtrade,
    Sum,
    TooMany,
}

/// Reads `TT,##A,##D`; the letters tell which is which.
fn channel_counts(line: &Line<'_>) -> Result<(usize, usize), CountError> {
    let fields = line.fields();
    let total: usize = fields[0].parse().map_err(|_| CountError::NotComtrade)?;
    let (mut analogs, mut digitals) = (None, None);
    for field in fields[1..].iter().filter(|field| !field.is_empty()) {
        let digits = field.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim();
        let count = digits.parse::<usize>().map_err(|_| CountError::NotComtrade)?;
        match field.chars().last() {
            Some('A' | 'a') => analogs = Some(count),
            Some('D' | 'd') => digitals = Some(count),
            _ => return Err(CountError::NotComtrade),
        }
    }
    if analogs.is_none() && digitals.is_none() {
        return Err(CountError::NotComtrade);
    }
    let (analogs, digitals) = (analogs.unwrap_or(0), digitals.unwrap_or(0));
    if analogs > MAX_ANALOGS || digitals > MAX_DIGITALS {
        return Err(CountError::TooMany);
    }
    if analogs + digitals != total { Err(CountError::Sum) } else { Ok((analogs, digitals)) }
}

/// The edition by its year. IEC 60255-24:2001 is the edition of 1999; without a year it is 1991's.
fn revision(heading: &[&str]) -> Revision {
    let year = heading
        .iter()
        .skip(1)
        .rev()
        .find(|field| !field.is_empty())
        .and_then(|field| field.parse::<u32>().ok());
    match (heading.len(), year) {
        (3.., Some(2013..)) => Revision::Year2013,
        (3.., Some(1992..)) => Revision::Year1999,
        _ => Revision::Year1991,
    }
}
