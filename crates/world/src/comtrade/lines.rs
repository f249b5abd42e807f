//! The lines of a configuration behind its channels: frequency, rates, times, data format; and what all lines share.

use super::{DataFormat, Error, Revision};

/// More rate sections than this are not believed.
const MAX_RATES: usize = 999;
/// The fastest sampling that is believed, hertz.
const MAX_RATE_HZ: f64 = 1e9;
/// More rows than this are not believed: a sample number has ten digits.
const MAX_ROWS: u64 = 9_999_999_999;

/// The lines that hold something, with their numbers.
pub(super) struct Lines<'a> {
    lines: Vec<Line<'a>>,
    next: usize,
    path: &'a str,
    total: usize,
}

/// A line and its number, from 1.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) number: usize,
    pub(super) text: &'a str,
}

impl<'a> Line<'a> {
    pub(super) fn fields(&self) -> Vec<&'a str> {
        self.text.split(',').map(str::trim).collect()
    }

    fn first(&self) -> &'a str {
        self.text.split(',').next().unwrap_or_default().trim()
    }

    pub(super) fn error(&self, path: &str, expected: &str) -> Error {
        Error::Config {
            path: path.to_owned(),
            line: self.number,
            expected: expected.to_owned(),
            found: clip(self.text),
        }
    }
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str, path: &'a str) -> Self {
        let blank = |c: char| c.is_whitespace() || c == '\u{1A}' || c == '\0' || c == '\u{FEFF}';
        // CR LF or LF; an old file may have CR alone.
        let end = if text.contains('\n') { '\n' } else { '\r' };
        let lines: Vec<Line<'a>> = (1..)
            .zip(text.split(end))
            .map(|(number, text)| Line { number, text: text.trim_matches(blank) })
            .filter(|line| !line.text.is_empty())
            .collect();
        let total = lines.last().map_or(0, |line| line.number);
        Self { lines, next: 0, path, total }
    }

    fn peek(&self, ahead: usize) -> Option<Line<'a>> {
        self.lines.get(self.next + ahead).copied()
    }

    pub(super) fn next(&mut self, expected: &str) -> Result<Line<'a>, Error> {
        let line = self.peek(0).ok_or_else(|| Error::Config {
            path: self.path.to_owned(),
            line: self.total + 1,
            expected: expected.to_owned(),
            found: "the end of the configuration".to_owned(),
        })?;
        self.next += 1;
        Ok(line)
    }

    /// The line frequency may be left blank, and blank lines are gone: then the next line is the number of rates
    /// already, and the one after it has two fields.
    pub(super) fn line_frequency(&mut self) -> Result<Option<f64>, Error> {
        let (Some(line), Some(after)) = (self.peek(0), self.peek(1)) else { return Ok(None) };
        let several = |line: &Line<'_>| line.text.trim_end_matches([',', ' ']).contains([',', '/']);
        if several(&line) {
            return Err(line.error(
                self.path,
                "the line frequency or the number of sampling rates (are there more channels than line 2 says?)",
            ));
        }
        if several(&after) {
            return Ok(None);
        }
        self.next += 1;
        Ok(finite(line.first()).filter(|frequency| *frequency > 0.0))
    }

    pub(super) fn rates(&mut self) -> Result<Vec<(f64, u64)>, Error> {
        let line = self.next("the number of sampling rates")?;
        let count = line.first().parse::<usize>().ok().filter(|count| *count <= MAX_RATES);
        let count = count.ok_or_else(|| line.error(self.path, "the number of sampling rates, 0 to 999"))?;
        if count == 0 && self.peek(0).is_none_or(|line| line.text.contains(['/', ':'])) {
            return Ok(vec![(0.0, 0)]);
        }
        let mut rates: Vec<(f64, u64)> = Vec::new();
        for _ in 0..count.max(1) {
            let line = self.next("a sampling rate and its last sample number")?;
            let fields = line.fields();
            let rate =
                finite(fields[0]).filter(|rate| (0.0..=MAX_RATE_HZ).contains(rate)).ok_or_else(|| {
                    Error::Rate { path: self.path.to_owned(), line: line.number, found: clip(fields[0]) }
                })?;
            if rate == 0.0 && count > 1 {
                return Err(Error::Rate {
                    path: self.path.to_owned(),
                    line: line.number,
                    found: "0".to_owned(),
                });
            }
            let last = fields
                .get(1)
                .and_then(|text| finite(text))
                .filter(|last| last.fract() == 0.0 && *last >= 0.0);
            let last = last.map(|last| last as u64).filter(|last| *last <= MAX_ROWS);
            let last = last.ok_or_else(|| line.error(self.path, "a rate and its last sample number"))?;
            let before = rates.last().map_or(0, |&(_, last)| last);
            if last <= before && count > 1 {
                return Err(line.error(self.path, &format!("a last sample number above {before}")));
            }
            rates.push((rate, last));
        }
        Ok(rates)
    }

    /// Two date lines, either of which may be left blank, then the data format.
    pub(super) fn format(&mut self) -> Result<(Vec<String>, DataFormat), Error> {
        let mut stamps = Vec::new();
        loop {
            let line = self.next("the data format")?;
            if let Some(format) = DataFormat::from_name(line.first()) {
                return Ok((stamps, format));
            }
            if stamps.len() == 2 || !line.text.contains(['/', ':', ',']) {
                return Err(Error::UnknownFormat {
                    path: self.path.to_owned(),
                    line: line.number,
                    found: clip(line.first()),
                });
            }
            stamps.push(line.text.to_owned());
        }
    }

    pub(super) fn time_multiplier(&mut self, revision: Revision) -> Result<f64, Error> {
        let Some(line) = self.peek(0).filter(|_| revision != Revision::Year1991) else { return Ok(1.0) };
        self.next += 1;
        finite(line.first())
            .filter(|multiplier| *multiplier > 0.0)
            .ok_or_else(|| line.error(self.path, "a positive time-stamp multiplier"))
    }
}

/// A finite number, or nothing.
pub(super) fn finite(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|value| value.is_finite())
}

/// Enough of a text for a message.
pub(super) fn clip(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut clipped: String = text.chars().take(LONGEST).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}
