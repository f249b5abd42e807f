//! What can be wrong with a recording: each message says which file, where, what was found, and what to do.

use std::io;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be opened or read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file without content.
    #[error("{path} is empty; copy the recording again from its source")]
    Empty {
        /// The file.
        path: String,
    },
    /// A configuration without its data, or the other way round.
    #[error("{path} needs {wanted} in the same folder (any letter case), and there is none; put it there")]
    MissingPartner {
        /// The file that was named.
        path: String,
        /// What its partner would be called.
        wanted: String,
    },
    /// A file of some other kind.
    #[error("{path} is not a COMTRADE recording: {why}; give a .cfg with its .dat beside it, or a .cff")]
    NotComtrade {
        /// The file.
        path: String,
        /// What does not fit.
        why: String,
    },
    /// A configuration line that cannot be understood.
    #[error("{path}, line {line}: expected {expected}, found {found:?}")]
    Config {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A data format that no edition of the standard names.
    #[error(
        "{path}, line {line}: unknown data format {found:?}; ASCII, BINARY, BINARY32 and FLOAT32 can be read"
    )]
    UnknownFormat {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// A sampling rate that cannot be.
    #[error(
        "{path}, line {line}: a sampling rate of {found} Hz cannot be; it must be above 0 and at most 1 GHz"
    )]
    Rate {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// Fewer rows than the configuration promises.
    #[error(
        "{path} is truncated: {promised} rows are promised, it holds {complete} complete ones; copy it again, \
         or correct the last sample number in the configuration"
    )]
    Truncated {
        /// The data file.
        path: String,
        /// Rows by the configuration.
        promised: u64,
        /// Complete rows in the data.
        complete: u64,
    },
    /// Rows of another width than the configuration's channels need.
    #[error(
        "{path}, row {row}: the configuration promises {promised}, but the data hold {found}; configuration \
         and data do not belong together"
    )]
    OtherChannels {
        /// The data file.
        path: String,
        /// The first row that does not fit, from 1.
        row: u64,
        /// What the configuration says.
        promised: String,
        /// What the data hold.
        found: String,
    },
    /// A value that is no finite number.
    #[error(
        "{path}, row {row}, {column}: expected a finite number, found {found:?}; this sample cannot be used"
    )]
    Value {
        /// The data file.
        path: String,
        /// The row, from 1.
        row: u64,
        /// The column, by its meaning.
        column: String,
        /// What stands there.
        found: String,
    },
    /// Sample numbers that do not go on.
    #[error(
        "{path}, row {row}: expected sample number {expected}, found {found}; samples are missing, or the data \
         hold other channels than the configuration promises"
    )]
    SampleNumber {
        /// The data file.
        path: String,
        /// The row, from 1.
        row: u64,
        /// One step after the row before.
        expected: i64,
        /// What stands there.
        found: i64,
    },
    /// No sampling rate, and timestamps from which none can be derived.
    #[error(
        "{path}: no sampling rate is given, and the timestamps do not give one: {why}; resample the recording"
    )]
    Timestamps {
        /// The data file.
        path: String,
        /// What is wrong with them.
        why: String,
    },
    /// A transformer ratio with a zero (or no number) in it.
    #[error(
        "{path}, line {line}: channel {channel:?} has the transformer ratio {primary}:{secondary}; both must be \
         positive: correct the configuration"
    )]
    ZeroRatio {
        /// The configuration.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The channel's name.
        channel: String,
        /// Primary rating.
        primary: f64,
        /// Secondary rating.
        secondary: f64,
    },
}
