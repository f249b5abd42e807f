//! The data (`.dat`), row by row: sample number, time, analogue values, status bits.

use super::lines::clip;
use super::locate::Data;
use super::{Config, DataFormat, Error, Revision};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Take};

/// One pass over the rows of a recording.
pub struct Rows<'a> {
    config: &'a Config,
    data: &'a Data,
    reader: BufReader<Take<File>>,
    /// Rows to give; `None`: all there are.
    promised: Option<u64>,
    numbering: Numbering,
    buffer: Vec<u8>,
    row: Row,
}

/// One sampling instant.
#[derive(Clone, Debug, Default)]
pub struct Row {
    number: u64,
    sample: i64,
    time_stamp: Option<i64>,
    analogs: Vec<f64>,
    digitals: Vec<u16>,
}

impl Row {
    /// Its place in the data, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its time column, where it has one, in the configuration's units.
    pub fn time_stamp(&self) -> Option<i64> {
        self.time_stamp
    }

    /// The value of every analogue channel, in its unit and on its side. NaN marks what the recorder left out (a
    /// blank, or the number that its format keeps for it).
    pub fn analogs(&self) -> &[f64] {
        &self.analogs
    }

    /// A status channel.
    pub fn digital(&self, channel: usize) -> Option<bool> {
        self.digitals.get(channel / 16).map(|word| word >> (channel % 16) & 1 == 1)
    }
}

impl<'a> Rows<'a> {
    pub(super) fn new(config: &'a Config, data: &'a Data, promised: Option<u64>) -> Result<Self, Error> {
        Ok(Self {
            config,
            data,
            reader: data.reader()?,
            promised,
            numbering: Numbering::default(),
            buffer: Vec::new(),
            row: Row::default(),
        })
    }

    /// The next row, or `None` after the last one.
    pub fn next_row(&mut self) -> Result<Option<&Row>, Error> {
        if self.promised == Some(self.row.number) {
            return Ok(None);
        }
        let found = match self.config.format {
            DataFormat::Ascii => self.read_line()?,
            _ => self.read_words()?,
        };
        if !found {
            return match self.promised {
                Some(promised) => Err(self.truncated(promised)),
                None => Ok(None),
            };
        }
        self.row.number += 1;
        if let Err((expected, found)) = self.numbering.check(self.row.sample) {
            let (path, row) = (self.data.name.clone(), self.row.number);
            return Err(Error::SampleNumber { path, row, expected, found });
        }
        Ok(Some(&self.row))
    }

    fn truncated(&self, promised: u64) -> Error {
        Error::Truncated { path: self.data.name.clone(), promised, complete: self.row.number }
    }

    fn bad_value(&self, column: String, found: String) -> Error {
        Error::Value { path: self.data.name.clone(), row: self.row.number + 1, column, found }
    }

    fn analog_name(&self, k: usize) -> String {
        format!("channel {:?}", self.config.analogs[k].name)
    }

    /// Puts a number's value into the row.
    fn set(&mut self, k: usize, number: f64, text: impl FnOnce() -> String) -> Result<(), Error> {
        let channel = &self.config.analogs[k];
        let value = channel.multiplier * number + channel.offset;
        if !value.is_finite() {
            return Err(self.bad_value(self.analog_name(k), text()));
        }
        self.row.analogs.push(value);
        Ok(())
    }

    fn read_line(&mut self) -> Result<bool, Error> {
        // No field of the standard is longer than 13 characters; spaces may be many.
        let columns = 2 + self.config.analogs.len() + self.config.digitals.len();
        let longest = 1024 + columns * 32;
        let mut line = std::mem::take(&mut self.buffer);
        let found = loop {
            line.clear();
            let read = (&mut self.reader).take(longest as u64).read_until(b'\n', &mut line);
            let read = read.map_err(|source| self.data.io(source))?;
            if read == 0 || line.starts_with(b"---") {
                break false;
            }
            if read == longest {
                return Err(self.other_columns(columns, &format!("a line of more than {longest} bytes")));
            }
            let ended = line.last() == Some(&b'\n');
            let text = trim(&line);
            if !text.is_empty() {
                self.parse_line(text, columns, ended).map_err(|error| {
                    // A value that makes no sense is no wonder where the columns are others.
                    let found = text.split(|byte| *byte == b',').count();
                    match error {
                        Error::Value { .. } if found > columns => {
                            self.other_columns(columns, &format!("{found} columns"))
                        }
                        error => error,
                    }
                })?;
                break true;
            }
        };
        self.buffer = line;
        Ok(found)
    }

    fn other_columns(&self, columns: usize, found: &str) -> Error {
        let (analogs, digitals) = (self.config.analogs.len(), self.config.digitals.len());
        Error::OtherChannels {
            path: self.data.name.clone(),
            row: self.row.number + 1,
            promised: format!("{analogs} analogue and {digitals} status channels ({columns} columns)"),
            found: found.to_owned(),
        }
    }

    fn parse_line(&mut self, line: &[u8], columns: usize, ended: bool) -> Result<(), Error> {
        self.row.analogs.clear();
        self.row.digitals.clear();
        self.row.digitals.resize(self.config.digitals.len().div_ceil(16), 0);
        let analogs = self.config.analogs.len();
        let mut fields = 0;
        for field in line.split(|byte| *byte == b',') {
            let field = trim(field);
            match fields {
                0 => {
                    let sample = integer(field);
                    self.row.sample =
                        sample.ok_or_else(|| self.bad_value("the sample number".to_owned(), lossy(field)))?;
                }
                1 if field.is_empty() => self.row.time_stamp = None,
                1 => {
                    let stamp = integer(field).or_else(|| number(field).map(|stamp| stamp.round() as i64));
                    self.row.time_stamp =
                        Some(stamp.ok_or_else(|| self.bad_value("the time stamp".to_owned(), lossy(field)))?);
                }
                k if k < 2 + analogs => self.parse_analog(k - 2, field)?,
                k if k < columns => {
                    let bit = k - 2 - analogs;
                    match field {
                        b"1" => self.row.digitals[bit / 16] |= 1 << (bit % 16),
                        b"0" | b"" => {}
                        _ => {
                            let name = format!("status channel {:?} (0 or 1)", self.config.digitals[bit]);
                            return Err(self.bad_value(name, lossy(field)));
                        }
                    }
                }
                // Commas after the last column do no harm.
                _ if field.is_empty() => continue,
                _ => {
                    let found = line.split(|byte| *byte == b',').count();
                    return Err(self.other_columns(columns, &format!("{found} columns")));
                }
            }
            fields += 1;
        }
        if fields < columns {
            return Err(match (ended, self.promised) {
                (false, Some(promised)) => self.truncated(promised),
                _ => self.other_columns(columns, &format!("{fields} columns")),
            });
        }
        Ok(())
    }

    fn parse_analog(&mut self, k: usize, field: &[u8]) -> Result<(), Error> {
        if field.is_empty() {
            self.row.analogs.push(f64::NAN);
            return Ok(());
        }
        let value = match integer(field) {
            Some(value) => value as f64,
            None => number(field).ok_or_else(|| self.bad_value(self.analog_name(k), lossy(field)))?,
        };
        // The edition of 1991 fills what is missing with nines.
        let nines = self.config.revision == Revision::Year1991 && (value == 99_999.0 || value == 999_999.0);
        if nines && self.config.analogs[k].range.1 < value {
            self.row.analogs.push(f64::NAN);
            return Ok(());
        }
        self.set(k, value, || lossy(field))
    }

    fn read_words(&mut self) -> Result<bool, Error> {
        self.buffer.resize(self.config.row_bytes(), 0);
        match self.reader.read_exact(&mut self.buffer) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            Err(source) => return Err(self.data.io(source)),
        }
        let bytes = std::mem::take(&mut self.buffer);
        let words = |k: usize| [bytes[k], bytes[k + 1], bytes[k + 2], bytes[k + 3]];
        self.row.sample = i64::from(u32::from_le_bytes(words(0)));
        let stamp = u32::from_le_bytes(words(4));
        self.row.time_stamp = (stamp != u32::MAX).then_some(i64::from(stamp));
        self.row.analogs.clear();
        let width = if self.config.format == DataFormat::Binary { 2 } else { 4 };
        for k in 0..self.config.analogs.len() {
            let at = 8 + k * width;
            let number = match self.config.format {
                DataFormat::Binary => known(i16::from_le_bytes([bytes[at], bytes[at + 1]]), i16::MIN),
                DataFormat::Binary32 => known(i32::from_le_bytes(words(at)), i32::MIN),
                _ => {
                    let value = f32::from_le_bytes(words(at));
                    if !value.is_finite() {
                        return Err(self.bad_value(self.analog_name(k), value.to_string()));
                    }
                    known(value, f32::MIN)
                }
            };
            match number {
                Some(number) => self.set(k, number, || number.to_string())?,
                None => self.row.analogs.push(f64::NAN),
            }
        }
        let statuses = bytes[8 + self.config.analogs.len() * width..].chunks_exact(2);
        self.row.digitals.clear();
        self.row.digitals.extend(statuses.map(|pair| u16::from_le_bytes([pair[0], pair[1]])));
        self.buffer = bytes;
        Ok(true)
    }
}

/// A number, unless it is the one that its format keeps for missing values.
fn known<T: PartialEq + Into<f64>>(value: T, missing: T) -> Option<f64> {
    if value == missing { None } else { Some(value.into()) }
}

/// Compares what a binary file's length says with what its configuration promises, before any row is read.
pub(super) fn check_length(data: &Data, config: &Config, warnings: &mut Vec<String>) -> Result<(), Error> {
    let (Some(promised), true) = (config.promised_rows(), config.format != DataFormat::Ascii) else {
        return Ok(());
    };
    let row_bytes = config.row_bytes() as u64;
    let complete = data.bytes / row_bytes;
    if complete >= promised {
        if complete > promised {
            let more = complete - promised;
            warnings.push(format!(
                "{}: {more} rows more than the configuration promises are left out",
                data.name
            ));
        }
        return Ok(());
    }
    if numbers_go_on(data, row_bytes)? {
        return Err(Error::Truncated { path: data.name.clone(), promised, complete });
    }
    let found = match (data.bytes / promised, data.bytes.is_multiple_of(promised)) {
        (width @ 8.., true) => format!("{width} bytes a row"),
        _ => format!("rows of another length ({} bytes in all)", data.bytes),
    };
    let (analogs, digitals) = (config.analogs.len(), config.digitals.len());
    Err(Error::OtherChannels {
        path: data.name.clone(),
        row: 1,
        promised: format!("{analogs} analogue and {digitals} status channels ({row_bytes} bytes a row)"),
        found,
    })
}

/// Whether the first two sample numbers follow each other at this row width.
fn numbers_go_on(data: &Data, row_bytes: u64) -> Result<bool, Error> {
    if data.bytes < 2 * row_bytes {
        return Ok(true);
    }
    let mut reader = data.reader()?;
    let mut rows = vec![0; 2 * row_bytes as usize];
    reader.read_exact(&mut rows).map_err(|source| data.io(source))?;
    let number = |at: usize| u32::from_le_bytes([rows[at], rows[at + 1], rows[at + 2], rows[at + 3]]);
    Ok(number(row_bytes as usize) == number(0).wrapping_add(1))
}

/// Sample numbers go up by the same step in every row; most recorders count by one, some leave them at zero.
#[derive(Default)]
struct Numbering {
    before: Option<i64>,
    step: Option<i64>,
}

impl Numbering {
    /// The largest step that is believed: what recorders that keep every n-th sample may write.
    const MAX_STEP: i64 = 1000;

    fn check(&mut self, sample: i64) -> Result<(), (i64, i64)> {
        let Some(before) = self.before.replace(sample) else { return Ok(()) };
        let step = *self.step.get_or_insert_with(|| {
            let step = sample.wrapping_sub(before);
            if (0..=Self::MAX_STEP).contains(&step) { step } else { 1 }
        });
        let expected = before.wrapping_add(step);
        if sample == expected { Ok(()) } else { Err((expected, sample)) }
    }
}

fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || matches!(*byte, 0x1A | 0 | 0xEF | 0xBB | 0xBF);
    let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// The integers that nearly every field is, without a detour through text.
fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -value } else { value })
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok().and_then(super::lines::finite)
}

fn lossy(text: &[u8]) -> String {
    clip(&String::from_utf8_lossy(text))
}
