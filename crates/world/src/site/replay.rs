//! Plays a recording at the meter's sampling rate, for ever: a loop of whole supply cycles, resampled once with a
//! windowed sinc.

use super::{Analogue, FrontEnd, Site};
use crate::comtrade::Recording;
use crate::mapping;
use crate::scaling::{self, Quantizer, ValueStream, Values};
use meterseal_metrology::{Frame, find_period};
use std::f64::consts::PI;

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Its channels cannot be told apart.
    #[error(transparent)]
    Mapping(#[from] mapping::Error),
    /// Its data cannot be used.
    #[error(transparent)]
    Data(#[from] scaling::Error),
    /// It does not fit into memory.
    #[error(
        "{path}: {rows} rows are too long a loop to replay; at most {} rows and {} s fit: cut the recording",
        MAX_FRAMES,
        MAX_FRAMES / Site::SAMPLE_RATE as usize
    )]
    TooLong {
        /// The data file.
        path: String,
        /// Rows in the section that would be replayed.
        rows: u64,
    },
    /// No supply in it.
    #[error(
        "{path}: no supply voltage of 40 to 70 Hz for at least two cycles, so there is no loop to replay"
    )]
    NoSupply {
        /// The data file.
        path: String,
    },
}

/// Values in memory at most: 64 MiB at 28 bytes each.
const MAX_FRAMES: usize = (64 << 20) / 28;
/// A loop is repeated until its length in frames is whole to this part of it: the replayed frequency is then right
/// to as much.
const LENGTH_TOLERANCE: f64 = 1e-6;
/// … or at most so often.
const MAX_REPEATS: usize = 256;

/// A loop of values at the meter's sampling rate.
pub(super) struct Loop {
    values: Vec<[f32; 7]>,
    next: usize,
}

impl Loop {
    /// Reads and resamples; gives the loop and the full scales that it needs, volts and amperes.
    pub(super) fn load(recording: &Recording, map: Option<&str>) -> Result<(Self, f64, f64), ReplayError> {
        let mapping = mapping::find(recording, map, None)?;
        let survey = scaling::survey(recording, &mapping)?;
        let quantizer = Quantizer::fit(recording, &survey)?;
        let Some(section) = recording.sections().iter().max_by_key(|section| section.rows) else {
            return Err(ReplayError::NoSupply { path: recording.data_path().to_owned() });
        };
        let seconds = section.rows as f64 / section.rate_hz;
        if section.rows > MAX_FRAMES as u64 || seconds * f64::from(Site::SAMPLE_RATE) > MAX_FRAMES as f64 {
            return Err(ReplayError::TooLong { path: recording.data_path().to_owned(), rows: section.rows });
        }
        let mut stream = ValueStream::new(recording, &mapping)?;
        let mut record: Vec<[f32; 7]> = Vec::with_capacity(section.rows as usize);
        let mut frames: Vec<Frame> = Vec::new();
        let mut row = 0;
        while let Some(values) = stream.next_values()? {
            if (section.first_row..section.first_row + section.rows).contains(&row) {
                record.push(values.map(|value| value as f32));
                frames.push(quantizer.frame(&values));
            }
            row += 1;
        }
        let no_supply = || ReplayError::NoSupply { path: recording.data_path().to_owned() };
        let (_, period) =
            find_period((section.rate_hz * 1e6).round() as u64, &frames).ok_or_else(no_supply)?;
        let period = period.to_bits() as f64 / 2f64.powi(32);
        // A thousandth of a cycle that is missing at the end is made up from the start.
        let cycles = (record.len() as f64 / period + 1e-3).floor();
        if cycles < 1.0 {
            return Err(no_supply());
        }
        drop(frames);
        let values = resample(&record, cycles * period, section.rate_hz);
        let peak = |peak: f64, reference: f64| if peak * 1.02 > reference { peak * 1.5 } else { reference };
        let amperes = survey.peak_amperes.max(survey.peak_neutral_amperes);
        Ok((
            Self { values, next: 0 },
            peak(survey.peak_volts, FrontEnd::VOLTS_FULL_SCALE),
            peak(amperes, FrontEnd::AMPS_FULL_SCALE),
        ))
    }

    #[inline]
    pub(super) fn next(&mut self) -> Analogue {
        let [v1, v2, v3, i1, i2, i3, neutral] = self.values[self.next];
        self.next += 1;
        if self.next == self.values.len() {
            self.next = 0;
        }
        Analogue { volts: [v1, v2, v3, 0.0], amps: [i1, i2, i3, neutral] }
    }
}

/// Resamples a loop of `length` samples (not whole) to whole loops of frames.
fn resample(record: &[[f32; 7]], length: f64, rate_hz: f64) -> Vec<[f32; 7]> {
    let ratio = f64::from(Site::SAMPLE_RATE) / rate_hz;
    let frames = length * ratio;
    let repeats = (1..=MAX_REPEATS)
        .take_while(|repeats| *repeats == 1 || *repeats as f64 * frames < MAX_FRAMES as f64)
        .min_by(|a, b| misfit(frames, *a).total_cmp(&misfit(frames, *b)))
        .unwrap_or(1);
    let total = ((frames * repeats as f64).round() as usize).max(1);
    let step = length * repeats as f64 / total as f64;
    let kernel = Kernel::new(ratio);
    let at = |k: i64| -> [f32; 7] {
        match usize::try_from(k).ok().and_then(|k| record.get(k)) {
            Some(values) => *values,
            None => wrapped(record, length, k),
        }
    };
    (0..total)
        .map(|frame| {
            let position = (frame as f64 * step).rem_euclid(length);
            kernel.apply(position, at).map(|value| value as f32)
        })
        .collect()
}

/// How far from whole this many loops are, relative to their length; what is good enough counts as nothing, so that
/// the fewest win.
fn misfit(frames: f64, repeats: usize) -> f64 {
    let total = frames * repeats as f64;
    let misfit = (total - total.round()).abs() / total;
    if misfit < LENGTH_TOLERANCE { 0.0 } else { misfit }
}

/// A sample before the loop's start or after the recording's end: a length further or back, on the line between
/// its neighbours.
fn wrapped(record: &[[f32; 7]], length: f64, k: i64) -> [f32; 7] {
    let position = (k as f64).rem_euclid(length);
    let before = (position.floor() as usize).min(record.len() - 1);
    let after = if before + 1 < record.len() { before + 1 } else { 0 };
    let part = (position - before as f64).clamp(0.0, 1.0) as f32;
    std::array::from_fn(|c| record[before][c] + (record[after][c] - record[before][c]) * part)
}

/// A sinc under a Kaiser window, as a table.
struct Kernel {
    table: Vec<f64>,
    /// Samples to either side.
    reach: f64,
}

impl Kernel {
    /// Zero crossings to either side, and Kaiser's β: 80 dB in the stop band, a transition of a fifth of the
    /// output's bandwidth.
    const CROSSINGS: f64 = 16.0;
    const BETA: f64 = 8.0;
    const STEPS_PER_CROSSING: usize = 512;

    /// For an output rate of `ratio` times the input's.
    fn new(ratio: f64) -> Self {
        let bandwidth = ratio.min(1.0) * 0.92;
        let steps = Self::CROSSINGS as usize * Self::STEPS_PER_CROSSING;
        let table = (0..=steps + 1).map(|step| {
            let crossings = step as f64 / Self::STEPS_PER_CROSSING as f64;
            let sinc = if step == 0 { 1.0 } else { (PI * crossings).sin() / (PI * crossings) };
            let edge = (1.0 - (crossings / Self::CROSSINGS).powi(2)).max(0.0).sqrt();
            sinc * bessel_i0(Self::BETA * edge) / bessel_i0(Self::BETA)
        });
        Self { table: table.collect(), reach: Self::CROSSINGS / bandwidth }
    }

    fn weight(&self, distance: f64) -> f64 {
        let place = distance.abs() / self.reach * (Self::CROSSINGS * Self::STEPS_PER_CROSSING as f64);
        let step = place as usize;
        match self.table.get(step..step + 2) {
            Some(&[a, b]) => a + (b - a) * (place - step as f64),
            _ => 0.0,
        }
    }

    /// The band-limited value at a position between samples. Weights sum to one, so DC is exact.
    fn apply(&self, position: f64, at: impl Fn(i64) -> [f32; 7]) -> Values {
        let mut sum = [0.0; 7];
        let mut total = 0.0;
        for k in (position - self.reach).ceil() as i64..=(position + self.reach).floor() as i64 {
            let weight = self.weight(position - k as f64);
            total += weight;
            for (sum, value) in sum.iter_mut().zip(at(k)) {
                *sum += weight * f64::from(value);
            }
        }
        sum.map(|sum| sum / total)
    }
}

/// The modified Bessel function of the first kind, order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    #[test]
    fn a_resampled_loop_is_the_same_waveform_without_a_seam() {
        for (rate, frequency) in [(30_707.24, 60.013), (1_600.0, 50.1), (100_000.0, 49.9), (8_000.0, 50.0)] {
            let period = rate / frequency;
            let wave = |seconds: f64| {
                let angle = TAU * frequency * seconds;
                325.0 * angle.sin() + 20.0 * (5.0 * angle + 1.0).sin()
            };
            let count = (period * 9.3) as usize;
            let record: Vec<[f32; 7]> = (0..count).map(|k| [wave(k as f64 / rate) as f32; 7]).collect();
            let out = resample(&record, 9.0 * period, rate);
            let worst = out
                .iter()
                .enumerate()
                .map(|(k, value)| (f64::from(value[0]) - wave(k as f64 / 8_000.0)).abs())
                .fold(0.0, f64::max);
            assert!(worst < 0.5, "{rate} Hz: off by {worst} V in 325");
        }
    }

    #[test]
    fn what_the_meter_cannot_sample_is_filtered_out() {
        let rate = 50_000.0;
        let record: Vec<[f32; 7]> =
            (0..10_000).map(|k| [(TAU * 5_500.0 * f64::from(k) / rate).sin() as f32; 7]).collect();
        let out = resample(&record, 10_000.0, rate);
        let worst = out.iter().map(|value| value[0].abs()).fold(0.0, f32::max);
        assert!(worst < 0.01, "an alias of {worst}");
    }
}
