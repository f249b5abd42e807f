//! `meterseal measure`: a recorded waveform through the meter's own metrology core, and what came out as a table,
//! as JSON, as a drawing.

mod engine;
mod harmonics;
mod plot;
mod report;
mod summary;
#[cfg(test)]
mod tests;

use meterseal_world::comtrade::{self, Recording, Side};
use meterseal_world::{mapping, scaling};
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

/// Measure a recorded waveform (COMTRADE) with the meter's own metrology.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording: a .cfg or .dat (its partner beside it, in any letter case), or a .cff.
    pub(crate) recording: PathBuf,
    /// Which channel is what, where names and units do not tell: V1=U1,I1=IA,IN=#8 (a name, #number or `none`).
    #[arg(long, value_name = "MAP")]
    pub(crate) map: Option<String>,
    /// Measure this long: a shorter record is repeated (energy goes on), a longer one is cut.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) seconds: Option<f64>,
    /// Print JSON in place of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw the waveforms and the phasor diagram.
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// Values on the transformers' primary side. Without --primary and --secondary, values are on the side that the
    /// recording itself is in.
    #[arg(long, conflicts_with = "secondary")]
    pub(crate) primary: bool,
    /// Values on the transformers' secondary side.
    #[arg(long)]
    pub(crate) secondary: bool,
}

/// Measures, and writes the result to `out` (and the drawing to its file).
pub(crate) fn run(arguments: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let side = match (arguments.primary, arguments.secondary) {
        (true, _) => Some(Side::Primary),
        (_, true) => Some(Side::Secondary),
        _ => None,
    };
    let recording = Recording::open(&arguments.recording)?;
    let mapping = mapping::find(&recording, arguments.map.as_deref(), side)?;
    let measurement = engine::measure(&recording, &mapping, arguments.seconds)?;
    if let Some(path) = &arguments.plot {
        let drawing = plot::svg(&measurement, &report::title(&recording));
        std::fs::write(path, drawing).map_err(|source| Error::Plot { path: path.clone(), source })?;
    }
    let side = side.or_else(|| scaling::common_side(&recording, &mapping));
    let text = if arguments.json {
        report::json(&measurement)
    } else {
        report::table(&recording, &measurement, side)
    };
    // The table holds them itself; a program that reads the JSON shows its person what came on stderr.
    for warning in measurement.warnings.iter().filter(|_| arguments.json) {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)
}

/// Why a recording cannot be measured, in one line.
#[derive(Debug)]
pub(crate) enum Error {
    /// Its files.
    Recording(comtrade::Error),
    /// Its channels.
    Mapping(mapping::Error),
    /// Its values.
    Scaling(scaling::Error),
    /// A sampling rate that the metrology core is not made for.
    Rate { path: String, section: usize, rate_hz: f64 },
    /// `--seconds` that cannot be.
    Seconds(f64),
    /// The metrology core refuses a setting.
    Core { path: String, error: meterseal_metrology::ConfigError },
    /// The drawing cannot be written.
    Plot { path: PathBuf, source: io::Error },
    /// The result cannot be written.
    Output(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recording(error) => error.fmt(f),
            Self::Mapping(error) => error.fmt(f),
            Self::Scaling(error) => error.fmt(f),
            Self::Rate { path, section, rate_hz } => write!(
                f,
                "{path}: sampling-rate section {section} has {rate_hz} Hz; 1000 to 100000 Hz can be measured: resample the recording"
            ),
            Self::Seconds(seconds) => {
                write!(
                    f,
                    "--seconds {seconds}: give a time above 0 and at most {} (a year)",
                    engine::MAX_SECONDS
                )
            }
            Self::Core { path, error } => write!(f, "{path}: {error}"),
            Self::Plot { path, source } => {
                write!(f, "cannot write the drawing {}: {source}; choose another place", path.display())
            }
            Self::Output(source) => write!(f, "cannot write the result: {source}"),
        }
    }
}

/// The messages above hold their causes: a chain would say them twice.
impl std::error::Error for Error {}

impl From<comtrade::Error> for Error {
    fn from(error: comtrade::Error) -> Self {
        Self::Recording(error)
    }
}

impl From<mapping::Error> for Error {
    fn from(error: mapping::Error) -> Self {
        Self::Mapping(error)
    }
}

impl From<scaling::Error> for Error {
    fn from(error: scaling::Error) -> Self {
        Self::Scaling(error)
    }
}
