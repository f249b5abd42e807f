//! What was metered, as CSV (RFC 4180) for a bill payer's own use: numbers with a point, times in UTC.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use meterseal_seal::evidence::statement::registers;
use meterseal_seal::log::{Body, Leaf, Reading, Totals};

use super::show::kilo;

/// Writes a new file.
pub(super) fn write(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let mut out = BufWriter::new(File::create_new(path).with_context(cannot)?);
    write(&mut out)?;
    out.flush().with_context(cannot)
}

/// Readings: a row each, a column for each register.
pub(super) fn readings(out: &mut impl Write, readings: &[Reading]) -> Result<()> {
    for (place, reading) in readings.iter().enumerate() {
        let registers = registers(reading);
        if place == 0 {
            write!(out, "time")?;
            for register in &registers {
                write!(
                    out,
                    ",{} {} (k{})",
                    register.obis,
                    register.name.replace(',', ""),
                    register.unit.symbol()
                )?;
            }
            write!(out, "\r\n")?;
        }
        write!(out, "{}", reading.time)?;
        for register in &registers {
            write!(out, ",{}", kilo(register.value))?;
        }
        write!(out, "\r\n")?;
    }
    Ok(())
}

/// The head of an export's rows.
pub(super) fn head(out: &mut impl Write) -> Result<()> {
    write!(
        out,
        "entry,kind,time,active import (kWh),active export (kWh),reactive import (kvarh),reactive export (kvarh),\
         voltage L1 (V),voltage L2 (V),voltage L3 (V),status,event\r\n"
    )?;
    Ok(())
}

/// An entry of the log: a row.
pub(super) fn leaf(out: &mut impl Write, leaf: &Leaf) -> Result<()> {
    let time = leaf.body.time().map(|time| time.to_string()).unwrap_or_default();
    write!(out, "{},{},{time}", leaf.sequence, leaf.body.kind())?;
    match &leaf.body {
        Body::Interval(interval) => {
            totals(out, &interval.totals)?;
            for voltage in interval.mean_voltage_centivolts {
                write!(out, ",{}.{:02}", voltage / 100, voltage % 100)?;
            }
            write!(out, ",{},", interval.status)?;
        }
        Body::Reading(reading) => {
            totals(out, &reading.totals)?;
            write!(out, ",,,,,")?;
        }
        Body::Billing(billing) => {
            totals(out, &billing.totals)?;
            write!(out, ",,,,,")?;
        }
        Body::Event(event) => {
            let name = event.known().map_or_else(|| event.code.to_string(), |code| code.name().to_owned());
            write!(out, ",,,,,,,,,{name}")?;
        }
        Body::Void | Body::Boot(_) => write!(out, ",,,,,,,,,")?,
    }
    write!(out, "\r\n")?;
    Ok(())
}

fn totals(out: &mut impl Write, totals: &Totals) -> Result<()> {
    write!(
        out,
        ",{},{},{},{}",
        kilo(totals.active_import_milliwatt_hours),
        kilo(totals.active_export_milliwatt_hours),
        kilo(totals.reactive_import_millivar_hours),
        kilo(totals.reactive_export_millivar_hours)
    )?;
    Ok(())
}
