//! Recorded waveforms: IEEE C37.111 (COMTRADE) of 1991, 1999 and 2013, read row by row and written.
//!
//! [`Recording::open`] takes a `.cfg`, its `.dat`, or a single-file `.cff`, in any letter case, and checks what can
//! be checked without reading the data. [`Recording::rows`] streams them: memory does not grow with the file, and
//! no size in a configuration is trusted. The formats are those of the standard's clauses 5 (configuration), 6
//! (data) and 7 (single file); little-endian, as it says.

mod cfg;
mod error;
mod lines;
mod locate;
mod rows;
mod sections;
mod text;
pub mod write;

pub use cfg::{AnalogChannel, Config, DataFormat, Revision, Side};
pub use error::Error;
pub use rows::{Row, Rows};
pub use sections::Section;

use locate::{Data, Located};
use std::path::Path;

/// A recording that is ready to be read, any number of times.
#[derive(Clone, Debug)]
pub struct Recording {
    config: Config,
    config_path: String,
    data: Data,
    sections: Vec<Section>,
    warnings: Vec<String>,
}

impl Recording {
    /// Opens a recording by the name of any of its files.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let Located { config_text, config_path, data } = locate::locate(path)?;
        let config = Config::parse(&config_text, &config_path)?;
        data.check_format(&config)?;
        let mut warnings = Vec::new();
        rows::check_length(&data, &config, &mut warnings)?;
        let sections = sections::sections(&data, &config)?;
        Ok(Self { config, config_path, data, sections, warnings })
    }

    /// What was recorded.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The file that holds the configuration, for messages.
    pub fn config_path(&self) -> &str {
        &self.config_path
    }

    /// The file that holds the data, for messages.
    pub fn data_path(&self) -> &str {
        &self.data.name
    }

    /// Stretches of one sampling rate each, in order, without gaps.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Rows in all sections.
    pub fn row_count(&self) -> u64 {
        self.sections.iter().map(|section| section.rows).sum()
    }

    /// Seconds that the rows last.
    pub fn duration_seconds(&self) -> f64 {
        self.sections.iter().map(|section| section.rows as f64 / section.rate_hz).sum()
    }

    /// What is odd about the files, but did not keep them from being read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A new pass over the rows.
    pub fn rows(&self) -> Result<Rows<'_>, Error> {
        Rows::new(&self.config, &self.data, Some(self.row_count()))
    }

    /// The factor from a channel's values to values on `side`, or that its ratio is none.
    pub fn factor_to(&self, channel: &AnalogChannel, side: Side) -> Result<f64, Error> {
        channel.factor_to(side).ok_or_else(|| Error::ZeroRatio {
            path: self.config_path.clone(),
            line: channel.line,
            channel: channel.name.clone(),
            primary: channel.primary,
            secondary: channel.secondary,
        })
    }
}
