//! The way of a recording through the metrology core: one pass for range and errors, one for frequency, one (or
//! more, with `--seconds`) to measure. Memory stays bounded however long the recording is.

use super::Error;
use super::summary::Summary;
use meterseal_metrology::{
    Config, Frame, HarmonicAnalysis, Harmonics, Metrology, Nominal, Period, Registers, Window, find_period,
};
use meterseal_world::comtrade::{Recording, Section};
use meterseal_world::mapping::Mapping;
use meterseal_world::scaling::{self, Quantizer, Survey, ValueStream, Values};

/// The longest time that `--seconds` takes.
pub(super) const MAX_SECONDS: f64 = 366.0 * 86_400.0;

/// What a recording measures.
pub(super) struct Measurement {
    /// Mean quantities over the record.
    pub(super) summary: Summary,
    /// Energy, over every sample of every repetition.
    pub(super) registers: Registers,
    /// Hertz, nominal.
    pub(super) nominal_hz: Option<u32>,
    /// Hertz, measured.
    pub(super) frequency_hz: Option<f64>,
    /// Seconds measured, repetitions included.
    pub(super) duration_seconds: f64,
    /// Which phases have a voltage and a current channel.
    pub(super) present: [(bool, bool); 3],
    /// The first cycles' values and their rate, for a drawing.
    pub(super) opening: Vec<Values>,
    pub(super) opening_rate_hz: f64,
    /// What a person should know.
    pub(super) warnings: Vec<String>,
}

/// Frames that are kept in memory for repetitions, 56 MB at most; a longer recording is read again each time.
const MAX_CACHED_FRAMES: u64 = 2_000_000;
/// Frames that pass through at a time.
const BLOCK: usize = 8192;
/// Stretches in which the supply frequency is looked for.
const SEARCH_SECONDS: f64 = 2.0;
/// Seconds kept for a drawing: four cycles at 40 Hz and some.
const OPENING_SECONDS: f64 = 0.11;

pub(super) fn measure(
    recording: &Recording,
    mapping: &Mapping,
    seconds: Option<f64>,
) -> Result<Measurement, Error> {
    if let Some(seconds) = seconds.filter(|seconds| !(*seconds > 0.0 && *seconds <= MAX_SECONDS)) {
        return Err(Error::Seconds(seconds));
    }
    check_rates(recording)?;
    let survey = scaling::survey(recording, mapping)?;
    let feed = Feed { recording, mapping, quantizer: Quantizer::fit(recording, &survey)? };
    let supplies = feed.find_supplies()?;
    let found = supplies.iter().find_map(|supply| *supply);
    let line_frequency = recording.config().line_frequency_hz;
    let by_line = line_frequency.filter(|hertz| (40.0..=70.0).contains(hertz));
    let nominal =
        found.map(|(nominal, _)| nominal).or(by_line.map(|hertz| Nominal::nearest((hertz * 1e6) as u64)));

    let cached = if recording.row_count() <= MAX_CACHED_FRAMES { Some(feed.all_frames()?) } else { None };
    let mut pass = Pass {
        feed: &feed,
        supplies: &supplies,
        nominal,
        cached,
        registers: Registers::default(),
        analysis: Some(Box::default()),
    };
    let mut left_seconds = seconds.unwrap_or_else(|| recording.duration_seconds());
    let (summary, mut duration_seconds) = pass.run(left_seconds)?;
    // Every further pass measures the same: only energy goes on.
    loop {
        left_seconds = seconds.map_or(0.0, |seconds| seconds - duration_seconds);
        let (_, more) = if left_seconds > 0.0 { pass.run(left_seconds)? } else { break };
        if more <= 0.0 {
            break;
        }
        duration_seconds += more;
    }
    let (opening, opening_rate_hz) = feed.opening()?;
    let by_search = || {
        let (section, supply) =
            recording.sections().iter().zip(&supplies).find(|(_, supply)| supply.is_some())?;
        supply.map(|(_, period)| period.frequency_microhertz(microhertz(section.rate_hz)) as f64 * 1e-6)
    };
    let frequency_hz = summary.frequency_hz().or_else(by_search);
    let warnings = warnings(recording, mapping, &survey, &summary, frequency_hz);
    Ok(Measurement {
        summary,
        registers: pass.registers,
        nominal_hz: nominal.map(|nominal| nominal.millihertz() / 1000),
        frequency_hz,
        duration_seconds,
        present: std::array::from_fn(|k| (mapping.voltages[k].is_some(), mapping.currents[k].is_some())),
        opening,
        opening_rate_hz,
        warnings,
    })
}

fn check_rates(recording: &Recording) -> Result<(), Error> {
    let allowed = Config::SAMPLE_RATE_MIN_MICROHERTZ..=Config::SAMPLE_RATE_MAX_MICROHERTZ;
    for (section, number) in recording.sections().iter().zip(1..) {
        if !allowed.contains(&microhertz(section.rate_hz)) {
            let path = recording.config_path().to_owned();
            return Err(Error::Rate { path, section: number, rate_hz: section.rate_hz });
        }
    }
    Ok(())
}

fn microhertz(hertz: f64) -> u64 {
    (hertz * 1e6).round() as u64
}

/// A recording on its way into frames.
struct Feed<'a> {
    recording: &'a Recording,
    mapping: &'a Mapping,
    quantizer: Quantizer,
}

/// What was found of a section's supply.
type Supply = Option<(Nominal, Period)>;

impl Feed<'_> {
    fn stream(&self) -> Result<ValueStream<'_>, Error> {
        Ok(ValueStream::new(self.recording, self.mapping)?)
    }

    /// Up to `most` of a section's next frames.
    fn fill(&self, stream: &mut ValueStream<'_>, block: &mut Vec<Frame>, most: u64) -> Result<u64, Error> {
        block.clear();
        while (block.len() as u64) < most {
            let Some(values) = stream.next_values()? else { break };
            block.push(self.quantizer.frame(&values));
        }
        Ok(block.len() as u64)
    }

    /// Looks for each section's supply in stretches of two seconds, until one has it.
    fn find_supplies(&self) -> Result<Vec<Supply>, Error> {
        let mut stream = self.stream()?;
        let mut stretch = Vec::new();
        let mut supplies = Vec::new();
        let sections = self.recording.sections();
        for section in sections {
            let longest = (section.rate_hz * SEARCH_SECONDS) as u64;
            let mut supply = None;
            let mut left = section.rows;
            while left > 0 {
                let most = left.min(longest.max(1));
                left -= self.fill(&mut stream, &mut stretch, most)?.max(1);
                if supply.is_none() {
                    supply = find_period(microhertz(section.rate_hz), &stretch);
                }
                if supply.is_some() && supplies.len() + 1 == sections.len() {
                    break;
                }
            }
            supplies.push(supply);
        }
        Ok(supplies)
    }

    fn all_frames(&self) -> Result<Vec<Frame>, Error> {
        let mut frames = Vec::new();
        self.fill(&mut self.stream()?, &mut frames, self.recording.row_count())?;
        Ok(frames)
    }

    fn opening(&self) -> Result<(Vec<Values>, f64), Error> {
        let mut stream = self.stream()?;
        let mut opening = Vec::new();
        let Some(section) = self.recording.sections().first() else { return Ok((opening, 1.0)) };
        let most = section.rows.min((section.rate_hz * OPENING_SECONDS) as u64);
        while (opening.len() as u64) < most {
            let Some(values) = stream.next_values()? else { break };
            opening.push(values);
        }
        Ok((opening, section.rate_hz))
    }
}

/// Runs the recording through the core; registers go on from pass to pass.
struct Pass<'a> {
    feed: &'a Feed<'a>,
    supplies: &'a [Supply],
    nominal: Option<Nominal>,
    cached: Option<Vec<Frame>>,
    registers: Registers,
    /// For the first pass, whose quantities are the record's.
    analysis: Option<Box<HarmonicAnalysis>>,
}

impl Pass<'_> {
    /// Measures the recording once, or its first `seconds`; gives the seconds measured.
    fn run(&mut self, seconds: f64) -> Result<(Summary, f64), Error> {
        let mut summary = Summary::default();
        let mut analysis = self.analysis.take();
        let mut measured = 0.0;
        let mut stream = if self.cached.is_none() { Some(self.feed.stream()?) } else { None };
        for (section, supply) in self.feed.recording.sections().iter().zip(self.supplies) {
            let rows = section.rows.min(((seconds - measured) * section.rate_hz).round().max(0.0) as u64);
            let mut core = self.core(section, rows, *supply)?;
            let mut on_window = |window: &Window, harmonics: Option<&Harmonics>| {
                summary.add(window, harmonics, section.rate_hz);
            };
            let mut push = |core: &mut Metrology, frames: &[Frame]| match &mut analysis {
                Some(analysis) => core.push_with_harmonics(frames, analysis, &mut on_window),
                None => core.push(frames, &mut |window| on_window(window, None)),
            };
            match (&self.cached, &mut stream) {
                (Some(frames), _) => {
                    let first = section.first_row as usize;
                    let section = frames.get(first..first + rows as usize).unwrap_or_default();
                    push(&mut core, section);
                }
                (None, Some(stream)) => {
                    let mut block = Vec::with_capacity(BLOCK);
                    let mut left = rows;
                    while left > 0 {
                        let got = self.feed.fill(stream, &mut block, left.min(BLOCK as u64))?;
                        push(&mut core, &block);
                        if got == 0 {
                            break;
                        }
                        left -= got;
                    }
                }
                (None, None) => {}
            }
            if let Some(window) = core.finish() {
                on_window(&window, None);
            }
            self.registers = *core.registers();
            measured += rows as f64 / section.rate_hz;
            if rows < section.rows {
                break;
            }
        }
        Ok((summary, measured))
    }

    /// A core that knows the supply's frequency from the start. A record of less than two windows is measured in
    /// one, with slots of the length found over all of it.
    fn core(&self, section: &Section, rows: u64, supply: Supply) -> Result<Metrology, Error> {
        let nominal = self.nominal.unwrap_or(Nominal::Hz50);
        let rate = microhertz(section.rate_hz);
        let mut config = Config::new(rate, nominal, self.feed.quantizer.scale());
        if let Some((_, period)) = supply {
            config.period = Some(period);
            let cycles = rows as f64 * 2f64.powi(32) / period.to_bits() as f64;
            if cycles < f64::from(2 * nominal.window_cycles()) {
                config.fixed_period = true;
                config.window_cycles = (cycles as u16).saturating_sub(1).max(1);
            }
        }
        let path = self.feed.recording.config_path();
        Metrology::new(config, self.registers).map_err(|error| Error::Core { path: path.to_owned(), error })
    }
}

fn warnings(
    recording: &Recording,
    mapping: &Mapping,
    survey: &Survey,
    summary: &Summary,
    frequency_hz: Option<f64>,
) -> Vec<String> {
    let mut warnings = [recording.warnings(), &mapping.notes].concat();
    if !survey.clipped_channels.is_empty() {
        warnings.push(format!(
            "the recorder clipped {}: values are too small",
            survey.clipped_channels.join(", ")
        ));
    }
    if survey.bridged_rows > 0 {
        warnings
            .push(format!("missing values in {} rows were bridged by straight lines", survey.bridged_rows));
    }
    if !summary.has_whole_cycle() {
        warnings.push(
            "less than one whole cycle of a supply: no fundamental, so Q, angles and THD cannot be told"
                .to_owned(),
        );
    } else if frequency_hz.is_none() {
        warnings.push("the supply frequency cannot be told; the nominal cycle was used".to_owned());
    }
    warnings
}
