//! From a recording's volts and amperes to the counts of a 24-bit front end, one streamed pass at a time.
//!
//! A first pass ([`survey`]) finds the largest values, so that the full scale fits the recording and quantisation
//! adds as little as 24 bits can; a second one makes frames ([`Quantizer`]).

use crate::comtrade::{Error as RecordingError, Recording, Rows, Side};
use crate::mapping::{Mapping, Signal};
use meterseal_metrology::{Frame, Scale};
use std::collections::VecDeque;

/// Values at one instant, in the order of a frame: V1–V3 in volts, I1–I3 and neutral in amperes. What was not
/// recorded is 0.
pub type Values = [f64; 7];

/// Why values cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading fails.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Too many values in a row were not recorded.
    #[error(
        "{path}, row {row}: channel {channel:?} has no value here, and gaps of more than {MAX_GAP} rows, at either \
         end, or in more than one row of a thousand are not bridged; take a complete recording"
    )]
    Missing {
        /// The data file.
        path: String,
        /// The first row of the gap, from 1.
        row: u64,
        /// The channel.
        channel: String,
    },
    /// Values beyond what a front end can be made for.
    #[error(
        "{path}: {quantity} reaches {peak:.3e} {unit}, beyond the {limit:.3e} that can be measured; check multiplier and unit in the configuration, or use --secondary"
    )]
    OutOfRange {
        /// The configuration.
        path: String,
        /// Voltage or current.
        quantity: &'static str,
        /// The largest magnitude.
        peak: f64,
        /// V or A.
        unit: &'static str,
        /// The largest that is possible.
        limit: f64,
    },
}

/// Values that were left out by the recorder are bridged by a straight line over at most this many rows.
pub const MAX_GAP: usize = 3;
/// … and in at most one row of this many (or one gap).
const ROWS_PER_BRIDGED_ROW: u64 = 1000;
/// Full scale above the largest value: a count at full scale would be taken for clipping.
const HEADROOM: f64 = 1.02;

/// One pass over a recording's mapped values.
pub struct ValueStream<'a> {
    rows: Rows<'a>,
    path: &'a str,
    mapping: &'a Mapping,
    direct: [Option<(usize, f64)>; 7],
    /// The last complete values.
    before: Option<Values>,
    /// Incomplete values that wait for the other end of their gap.
    gap: Vec<(u64, Values)>,
    ready: VecDeque<Values>,
    bridged: u64,
}

impl<'a> ValueStream<'a> {
    /// A new pass.
    pub fn new(recording: &'a Recording, mapping: &'a Mapping) -> Result<Self, Error> {
        let direct = mapping.signals().map(|signal| signal.and_then(Signal::direct));
        Ok(Self {
            rows: recording.rows()?,
            path: recording.data_path(),
            mapping,
            direct,
            before: None,
            gap: Vec::new(),
            ready: VecDeque::new(),
            bridged: 0,
        })
    }

    /// Rows whose missing values were bridged so far.
    pub fn bridged(&self) -> u64 {
        self.bridged
    }

    /// The next row's values.
    pub fn next_values(&mut self) -> Result<Option<Values>, Error> {
        loop {
            if let Some(values) = self.ready.pop_front() {
                return Ok(Some(values));
            }
            let Some(row) = self.rows.next_row()? else {
                return match self.gap.first() {
                    Some(&(row, values)) => Err(self.missing(row, &values)),
                    None => Ok(None),
                };
            };
            let (number, analogs) = (row.number(), row.analogs());
            let signals = self.mapping.signals();
            let values: Values = std::array::from_fn(|k| match (self.direct[k], signals[k]) {
                (Some((channel, factor)), _) => analogs.get(channel).map_or(f64::NAN, |x| x * factor),
                (None, Some(signal)) => signal.value(analogs),
                (None, None) => 0.0,
            });
            if !values.iter().any(|value| value.is_nan()) {
                if self.gap.is_empty() {
                    self.before = Some(values);
                    return Ok(Some(values));
                }
                self.bridge(values);
                continue;
            }
            self.bridged += 1;
            self.gap.push((number, values));
            let few = MAX_GAP as u64 + number / ROWS_PER_BRIDGED_ROW;
            if self.before.is_none() || self.gap.len() > MAX_GAP || self.bridged > few {
                let (row, values) = self.gap[0];
                return Err(self.missing(row, &values));
            }
        }
    }

    /// Draws straight lines from the last complete values to these.
    fn bridge(&mut self, after: Values) {
        let before = self.before.replace(after).unwrap_or(after);
        let steps = (self.gap.len() + 1) as f64;
        for (step, (_, values)) in (1..).zip(self.gap.drain(..)) {
            let part = f64::from(step) / steps;
            let fill = |k: usize| {
                if values[k].is_nan() { before[k] + (after[k] - before[k]) * part } else { values[k] }
            };
            self.ready.push_back(std::array::from_fn(fill));
        }
        self.ready.push_back(after);
    }

    fn missing(&self, row: u64, values: &Values) -> Error {
        let first = self.mapping.signals().into_iter().zip(values).find(|(_, value)| value.is_nan());
        let channel =
            first.and_then(|(signal, _)| signal).map_or_else(String::new, |signal| signal.name.clone());
        Error::Missing { path: self.path.to_owned(), row, channel }
    }
}

/// What one pass over the whole recording found.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Largest magnitude of any voltage, volts.
    pub peak_volts: f64,
    /// Largest magnitude of any phase current, amperes.
    pub peak_amperes: f64,
    /// Largest magnitude of the neutral current, amperes.
    pub peak_neutral_amperes: f64,
    /// Rows with values that the recorder left out, now bridged.
    pub bridged_rows: u64,
    /// Names of channels that stay at an end of their range for three rows or more: the recorder clipped.
    pub clipped_channels: Vec<String>,
}

/// Reads the whole recording once, and so finds every error that there is in its data.
pub fn survey(recording: &Recording, mapping: &Mapping) -> Result<Survey, Error> {
    let mut stream = ValueStream::new(recording, mapping)?;
    let mut clips: [Clip; 7] = std::array::from_fn(|k| Clip::new(recording, mapping.signals()[k]));
    let mut peaks = [0.0f64; 7];
    while let Some(values) = stream.next_values()? {
        for k in 0..7 {
            peaks[k] = peaks[k].max(values[k].abs());
            clips[k].see(values[k]);
        }
    }
    let largest = |range: std::ops::Range<usize>| peaks[range].iter().fold(0.0f64, |a, b| a.max(*b));
    let clipped = |k: &usize| clips[*k].clipped;
    let name = |k: usize| mapping.signals()[k].map(|signal| signal.name.clone());
    Ok(Survey {
        peak_volts: largest(0..3),
        peak_amperes: largest(3..6),
        peak_neutral_amperes: peaks[6],
        bridged_rows: stream.bridged(),
        clipped_channels: (0..7).filter(clipped).filter_map(name).collect(),
    })
}

/// Watches one signal for flat tops at the ends of its range.
struct Clip {
    ends: Option<(f64, f64)>,
    run: u32,
    clipped: bool,
}

impl Clip {
    const ROWS: u32 = 3;

    fn new(recording: &Recording, signal: Option<&Signal>) -> Self {
        let ends = signal.and_then(Signal::direct).and_then(|(channel, factor)| {
            let channel = recording.config().analogs.get(channel)?;
            let (low, high) = channel.range;
            let value = |number: f64| (channel.multiplier * number + channel.offset) * factor;
            let (a, b) = (value(low), value(high));
            (low < high && a.is_finite() && b.is_finite()).then(|| (a.min(b), a.max(b)))
        });
        Self { ends, run: 0, clipped: false }
    }

    fn see(&mut self, value: f64) {
        let Some((low, high)) = self.ends else { return };
        self.run = if value <= low || value >= high { self.run + 1 } else { 0 };
        self.clipped |= self.run >= Self::ROWS;
    }
}

/// Makes frames of values.
#[derive(Clone, Debug)]
pub struct Quantizer {
    scale: Scale,
    counts_per_unit: [f64; 7],
}

impl Quantizer {
    /// A full scale just above the largest values.
    pub fn fit(recording: &Recording, survey: &Survey) -> Result<Self, Error> {
        let path = recording.config_path();
        let limit = Scale::MAX as f64 * 1e-15 * f64::from(Frame::FULL_SCALE);
        let femto = |peak: f64, quantity, unit| {
            let full_scale = peak * HEADROOM;
            if full_scale.is_nan() || full_scale > limit {
                return Err(Error::OutOfRange { path: path.to_owned(), quantity, peak, unit, limit });
            }
            let per_count = full_scale * 1e15 / f64::from(Frame::FULL_SCALE);
            Ok((per_count.ceil() as u64).clamp(Scale::MIN, Scale::MAX))
        };
        let volts = femto(survey.peak_volts, "voltage", "V")?;
        let amperes = femto(survey.peak_amperes, "current", "A")?;
        let neutral = femto(survey.peak_neutral_amperes, "neutral current", "A")?;
        Ok(Self::with_scale(Scale {
            voltage_femtovolts_per_count: [volts; 3],
            current_femtoamperes_per_count: [amperes, amperes, amperes, neutral],
        }))
    }

    /// With a given scale.
    pub fn with_scale(scale: Scale) -> Self {
        let [v1, v2, v3] = scale.voltage_femtovolts_per_count;
        let [i1, i2, i3, neutral] = scale.current_femtoamperes_per_count;
        let counts_per_unit = [v1, v2, v3, i1, i2, i3, neutral].map(|femto| 1e15 / femto as f64);
        Self { scale, counts_per_unit }
    }

    /// What a count is worth.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// Rounds to counts; what is beyond full scale is clipped, as a converter would.
    pub fn frame(&self, values: &Values) -> Frame {
        let full_scale = f64::from(Frame::FULL_SCALE);
        let count =
            |k: usize| (values[k] * self.counts_per_unit[k]).round().clamp(-full_scale, full_scale) as i32;
        Frame { voltage: std::array::from_fn(count), current: std::array::from_fn(|k| count(3 + k)) }
    }
}

/// The side that all mapped channels are on, where it is the same for all.
pub fn common_side(recording: &Recording, mapping: &Mapping) -> Option<Side> {
    let signals = mapping.signals();
    let mut sides = signals
        .iter()
        .flatten()
        .flat_map(|signal| signal.channels())
        .map(|k| recording.config().analogs[k].side);
    let first = sides.next()?;
    sides.all(|side| side == first).then_some(first)
}
