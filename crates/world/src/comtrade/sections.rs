//! Stretches of one sampling rate: as the configuration gives them, or found from the timestamps.

use super::locate::Data;
use super::{Config, Error, Rows};

/// A stretch of rows at one sampling rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Section {
    /// Rows per second.
    pub rate_hz: f64,
    /// Its first row, counted from 0.
    pub first_row: u64,
    /// How many rows it has.
    pub rows: u64,
}

/// Timestamps may lie this much off an even grid: a unit's rounding either way, or this part of the interval.
const JITTER_OF_INTERVAL: f64 = 0.02;

pub(super) fn sections(data: &Data, config: &Config) -> Result<Vec<Section>, Error> {
    if let [(rate, _)] = config.rates[..]
        && rate == 0.0
    {
        return from_timestamps(data, config).map(|section| vec![section]);
    }
    if config.promised_rows().is_none() {
        let rows = count(data, config)?;
        if rows == 0 {
            return Err(Error::Empty { path: data.name.clone() });
        }
        return Ok(vec![Section { rate_hz: config.rates[0].0, first_row: 0, rows }]);
    }
    let mut first_row = 0;
    Ok(config
        .rates
        .iter()
        .map(|&(rate_hz, last)| {
            let section = Section { rate_hz, first_row, rows: last - first_row };
            first_row = last;
            section
        })
        .collect())
}

fn count(data: &Data, config: &Config) -> Result<u64, Error> {
    let mut rows = Rows::new(config, data, None)?;
    let mut count = 0;
    while rows.next_row()?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// One rate from the time column: its mean interval, if no stamp is far from the even grid that this makes. Takes
/// two passes, and only for the few recordings that give no rate.
fn from_timestamps(data: &Data, config: &Config) -> Result<Section, Error> {
    let bad = |why: String| Error::Timestamps { path: data.name.clone(), why };
    let promised = config.promised_rows();
    let stamp =
        |row: &super::Row| row.time_stamp().ok_or_else(|| bad(format!("row {} has none", row.number())));
    let mut rows = Rows::new(config, data, promised)?;
    let (mut first, mut last, mut count) = (0, 0, 0u64);
    while let Some(row) = rows.next_row()? {
        let stamp = stamp(row)?;
        if count == 0 {
            first = stamp;
        } else if stamp <= last {
            return Err(bad(format!("row {} is not later than the row before", row.number())));
        }
        last = stamp;
        count += 1;
    }
    if count < 2 {
        return Err(bad("there are fewer than two rows".to_owned()));
    }
    let interval = (last - first) as f64 / (count - 1) as f64;
    let allowed = (JITTER_OF_INTERVAL * interval).max(1.5);
    let mut rows = Rows::new(config, data, promised)?;
    while let Some(row) = rows.next_row()? {
        let expected = first as f64 + interval * (row.number() - 1) as f64;
        let off = stamp(row)? as f64 - expected;
        if off.abs() > allowed {
            return Err(bad(format!(
                "row {} is {:.0} time units off an even interval of {interval:.3}",
                row.number(),
                off.abs()
            )));
        }
    }
    let rate_hz = 1.0 / (interval * config.time_unit_seconds());
    if !rate_hz.is_finite() || rate_hz <= 0.0 {
        return Err(bad(format!("they give a rate of {rate_hz} Hz")));
    }
    Ok(Section { rate_hz, first_row: 0, rows: count })
}
