//! `meterseal accuracy`: a population of calibrated virtual units against class 0.2 S and CPA-ACC, over temperature.

use crate::calibrate::{Temperatures, read_record};
use crate::progress::Progress;
use anyhow::Context;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use meterseal_bench::accuracy::{self, Fault, Sensors, Settings, unit_id};
use meterseal_bench::report::Report;
use meterseal_bench::{computation, plot};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Measure the errors of a population of virtual units at every load point and influence quantity of class 0.2 S.
///
/// Each unit is drawn from its parts' tolerances, calibrated with an instrument of 0.02 % uncertainty, and compared with the truth. Exit code 0: every
/// limit of class 0.2 S and CPA-ACC holds in every unit, and what the project must reach is reached; 1: not so; 2: it could not be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many units.
    #[arg(long, default_value_t = 100)]
    units: u32,
    /// The first unit's seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ambient temperatures in °C, ascending: a list, or from:to:step.
    #[arg(long, value_name = "LIST", default_value = "-40:85:5", allow_hyphen_values = true)]
    temperatures: Temperatures,
    /// How currents are sensed.
    #[arg(long, value_enum, default_value_t)]
    sensor: SensorsKind,
    /// Every frame with its noise for the whole time of each measurement, about a hundred times as long, and the blocks beside them.
    #[arg(long)]
    full: bool,
    /// Leave the calibration out, to see what it is for.
    #[arg(long)]
    uncalibrated: bool,
    /// The unit's record, as `meterseal calibrate` wrote it, in place of a calibration (with --units 1 and the record's --seed).
    #[arg(long, value_name = "FILE", conflicts_with = "uncalibrated")]
    calibration: Option<PathBuf>,
    /// Give every unit a fault that sets in after calibration, to see that the limits find it.
    #[arg(long, value_parser = faults())]
    fault: Option<Fault>,
    /// Print JSON in place of the table.
    #[arg(long)]
    json: bool,
    /// Folder for accuracy.json, accuracy.txt and the drawings.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum SensorsKind {
    /// Transformers and shunts by turns.
    #[default]
    Both,
    /// Current transformers.
    Transformer,
    /// Shunts.
    Shunt,
}

/// Runs the population. Gives whether every limit holds.
pub(crate) fn run(arguments: &Args, out: &mut dyn Write) -> anyhow::Result<bool> {
    let record = match &arguments.calibration {
        Some(path) => Some(read_record(path, &unit_id(arguments.seed))?),
        None => None,
    };
    let settings = Settings {
        temperatures: arguments.temperatures.0.clone(),
        sensors: match arguments.sensor {
            SensorsKind::Both => Sensors::Both,
            SensorsKind::Transformer => Sensors::Transformer,
            SensorsKind::Shunt => Sensors::Shunt,
        },
        full: arguments.full,
        calibrated: !arguments.uncalibrated,
        record,
        fault: arguments.fault,
        ..Settings::new(arguments.units, arguments.seed)
    };
    // A folder that cannot be is better known before than after.
    if let Some(folder) = &arguments.out {
        std::fs::create_dir_all(folder).with_context(|| {
            format!("cannot make the folder {}; choose another with --out", folder.display())
        })?;
    }
    let progress = Progress::new("units", f64::from(settings.units));
    let results = accuracy::run(&settings, &|done| progress.show(f64::from(done)))?;
    progress.end();
    let report = Report::of(&results, computation::figures()?);
    let (table, json) = (report.table(), report.json()?);
    if let Some(folder) = &arguments.out {
        write(folder, "accuracy.txt", &table)?;
        write(folder, "accuracy.json", &json)?;
        write(folder, "error-against-current.svg", &plot::against_current(&results))?;
        write(folder, "error-against-temperature.svg", &plot::against_temperature(&results))?;
        write(folder, "population.svg", &plot::histogram(&results))?;
    }
    let text = if arguments.json { json } else { table };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the result")?;
    Ok(report.limits_hold())
}

/// The laboratory's faults, by their names.
fn faults() -> impl TypedValueParser<Value = Fault> {
    let names = Fault::ALL.iter().map(|fault| PossibleValue::new(fault.name()).help(fault.what()));
    PossibleValuesParser::new(names).try_map(|name| {
        Fault::ALL.iter().find(|fault| fault.name() == name).copied().ok_or("there is no such fault")
    })
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text)
        .with_context(|| format!("cannot write {}; choose another folder with --out", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Args,
    }

    fn arguments(line: &[&str]) -> Args {
        let all = ["accuracy", "--units", "2", "--temperatures", "-40,85"].iter().chain(line);
        let Line { arguments } = clap::Parser::try_parse_from(all).unwrap();
        arguments
    }

    #[test]
    fn calibrated_units_hold_the_limits_and_leave_a_report() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("report");
        let mut out = Vec::new();
        assert!(run(&arguments(&["--json", "--out", place.to_str().unwrap()]), &mut out).unwrap());
        let shown: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(shown["limits_hold"], true);
        assert_eq!(shown["rows"][0]["by_temperature"].as_array().unwrap().len(), 2);
        assert_eq!(std::fs::read(place.join("accuracy.json")).unwrap(), out);
        for name in ["error-against-current.svg", "error-against-temperature.svg", "population.svg"] {
            let drawing = std::fs::read_to_string(place.join(name)).unwrap();
            assert!(drawing.starts_with("<svg") && drawing.ends_with("</svg>\n"), "{name}");
            assert!(!drawing.contains("NaN") && !drawing.contains("inf"), "{name}");
        }
    }

    #[test]
    fn uncalibrated_units_do_not_and_the_table_says_so() {
        let mut out = Vec::new();
        assert!(!run(&arguments(&["--uncalibrated"]), &mut out).unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("EXCEEDED") && text.ends_with("LIMITS EXCEEDED\n"), "{text}");
    }

    #[test]
    fn bad_settings_are_errors() {
        let Line { arguments } = clap::Parser::try_parse_from(["accuracy", "--units", "0"]).unwrap();
        assert!(run(&arguments, &mut Vec::new()).unwrap_err().to_string().contains("0 units"));
    }
}
