//! Writes recordings, in every format that is read: for tests, and for people who make recordings.

use super::cfg::Config;
use super::{DataFormat, Revision, Side};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Why a recording cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refuses.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// A value that the data format cannot hold.
    #[error("row {row}, channel {channel:?}: {value} does not fit {format}; choose a larger multiplier")]
    Range {
        /// The row, from 1.
        row: u64,
        /// The channel's name.
        channel: String,
        /// The value, in the channel's unit.
        value: f64,
        /// The data format.
        format: &'static str,
    },
    /// A configuration that does not say how many rows there are, or at which rate.
    #[error("a recording that is written needs a rate and a last sample number above 0 in every section")]
    Rates,
}

/// One row to be filled: values in the channels' units, status bits.
#[derive(Debug, Default)]
pub struct RowToWrite {
    /// A value for each analogue channel; NaN is written as missing.
    pub analogs: Vec<f64>,
    /// A bit for each status channel.
    pub digitals: Vec<bool>,
}

/// Writes `stem.cfg` and `stem.dat`; `fill` is asked for each row (from 0). Gives the configuration's path.
pub fn pair(stem: &Path, config: &Config, fill: impl FnMut(u64, &mut RowToWrite)) -> Result<PathBuf, Error> {
    let with = |extension: &str| {
        let mut name = stem.as_os_str().to_owned();
        name.push(extension);
        PathBuf::from(name)
    };
    let (config_path, data_path) = (with(".cfg"), with(".dat"));
    let io = |path: &Path| {
        let path = path.display().to_string();
        move |source| Error::Io { path, source }
    };
    std::fs::write(&config_path, config_text(config)).map_err(io(&config_path))?;
    let mut data = BufWriter::new(File::create(&data_path).map_err(io(&data_path))?);
    rows(config, fill, |bytes| data.write_all(bytes).map_err(io(&data_path)))?;
    data.flush().map_err(io(&data_path))?;
    Ok(config_path)
}

/// Writes a single file (`.cff`).
pub fn single(path: &Path, config: &Config, fill: impl FnMut(u64, &mut RowToWrite)) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.display().to_string(), source };
    let mut file = BufWriter::new(File::create(path).map_err(io)?);
    let format = match config.format {
        DataFormat::Ascii => "ASCII".to_owned(),
        binary => {
            let rows = config.promised_rows().ok_or(Error::Rates)?;
            format!("{}: {}", binary.name(), rows * config.row_bytes() as u64)
        }
    };
    let head = format!(
        "--- file type: CFG ---\r\n{}--- file type: INF ---\r\n--- file type: HDR ---\r\n--- file type: DAT {format} ---\r\n",
        config_text(config)
    );
    file.write_all(head.as_bytes()).map_err(io)?;
    rows(config, fill, |bytes| file.write_all(bytes).map_err(io))?;
    file.flush().map_err(io)
}

/// A configuration's text.
pub fn config_text(config: &Config) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        let _ = write!(text, "{arguments}\r\n");
    };
    match config.revision {
        Revision::Year1991 => line(format_args!("{},{}", config.station, config.device)),
        Revision::Year1999 => line(format_args!("{},{},1999", config.station, config.device)),
        Revision::Year2013 => line(format_args!("{},{},2013", config.station, config.device)),
    }
    let (analogs, digitals) = (config.analogs.len(), config.digitals.len());
    line(format_args!("{},{analogs}A,{digitals}D", analogs + digitals));
    for (k, channel) in config.analogs.iter().enumerate() {
        let super::AnalogChannel { name, phase, component, unit, multiplier, offset, skew_us, range, .. } =
            channel;
        let (low, high) = range;
        let common = format!(
            "{},{name},{phase},{component},{unit},{multiplier},{offset},{skew_us},{low},{high}",
            k + 1
        );
        let side = if channel.side == Side::Primary { 'P' } else { 'S' };
        match config.revision {
            Revision::Year1991 => line(format_args!("{common}")),
            _ => line(format_args!("{common},{},{},{side}", channel.primary, channel.secondary)),
        }
    }
    for (k, name) in config.digitals.iter().enumerate() {
        match config.revision {
            Revision::Year1991 => line(format_args!("{},{name},0", k + 1)),
            _ => line(format_args!("{},{name},,,0", k + 1)),
        }
    }
    line(format_args!("{}", config.line_frequency_hz.map_or_else(String::new, |hertz| hertz.to_string())));
    let by_timestamps = config.rates.iter().all(|&(rate, _)| rate == 0.0);
    line(format_args!("{}", if by_timestamps { 0 } else { config.rates.len() }));
    for (rate, last) in &config.rates {
        line(format_args!("{rate},{last}"));
    }
    line(format_args!("{}", config.start));
    line(format_args!("{}", config.trigger));
    line(format_args!("{}", config.format.name()));
    if config.revision != Revision::Year1991 {
        line(format_args!("{}", config.time_multiplier));
    }
    if config.revision == Revision::Year2013 {
        line(format_args!("0,0"));
        line(format_args!("0,0"));
    }
    text
}

fn rows(
    config: &Config,
    mut fill: impl FnMut(u64, &mut RowToWrite),
    mut put: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut row =
        RowToWrite { analogs: vec![0.0; config.analogs.len()], digitals: vec![false; config.digitals.len()] };
    let mut bytes = Vec::new();
    let (mut number, mut seconds) = (0u64, 0.0);
    for &(rate, last) in &config.rates {
        if rate <= 0.0 || last <= number {
            return Err(Error::Rates);
        }
        let (first, start) = (number, seconds);
        while number < last {
            seconds = start + (number - first) as f64 / rate;
            fill(number, &mut row);
            number += 1;
            bytes.clear();
            encode(config, number, seconds / config.time_unit_seconds(), &row, &mut bytes)?;
            put(&bytes)?;
        }
        seconds = start + (last - first) as f64 / rate;
    }
    Ok(())
}

fn encode(
    config: &Config,
    number: u64,
    stamp: f64,
    row: &RowToWrite,
    bytes: &mut Vec<u8>,
) -> Result<(), Error> {
    let ascii = config.format == DataFormat::Ascii;
    if ascii {
        bytes.extend_from_slice(format!("{number},{stamp:.0}").as_bytes());
    } else {
        // What does not fit the 32 bits of a stamp is marked as missing.
        let stamp = stamp.round();
        let stamp = if stamp < f64::from(u32::MAX) { stamp as u32 } else { u32::MAX };
        bytes.extend_from_slice(&(number as u32).to_le_bytes());
        bytes.extend_from_slice(&stamp.to_le_bytes());
    }
    for (channel, &value) in config.analogs.iter().zip(&row.analogs) {
        let exact = (value - channel.offset) / channel.multiplier;
        let largest = match config.format {
            DataFormat::Ascii => 9_999_999_999.0,
            DataFormat::Binary => 32_767.0,
            DataFormat::Binary32 => f64::from(i32::MAX),
            DataFormat::Float32 => f64::from(f32::MAX) * 0.999,
        };
        if !value.is_nan() && (!exact.is_finite() || exact.abs().round() > largest) {
            let (format, channel) = (config.format.name(), channel.name.clone());
            return Err(Error::Range { row: number, channel, value, format });
        }
        match (config.format, value.is_nan()) {
            (DataFormat::Ascii, true) => bytes.push(b','),
            (DataFormat::Ascii, false) => bytes.extend_from_slice(format!(",{exact:.0}").as_bytes()),
            (DataFormat::Binary, missing) => {
                let number = if missing { i16::MIN } else { exact.round() as i16 };
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            (DataFormat::Binary32, missing) => {
                let number = if missing { i32::MIN } else { exact.round() as i32 };
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            (DataFormat::Float32, missing) => {
                let number = if missing { f32::MIN } else { exact as f32 };
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
    }
    if ascii {
        row.digitals.iter().for_each(|bit| bytes.extend_from_slice(if *bit { b",1" } else { b",0" }));
        bytes.extend_from_slice(b"\r\n");
    } else {
        for word in row.digitals.chunks(16) {
            let word = word.iter().rev().fold(0u16, |word, bit| word << 1 | u16::from(*bit));
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    Ok(())
}
