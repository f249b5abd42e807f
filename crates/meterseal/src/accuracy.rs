//! `meterseal accuracy`: a population of calibrated virtual units against class 0.2 S and CPA-ACC, over temperature.

use crate::calibrate::{SensorKind, Temperatures};
use crate::progress::Progress;
use anyhow::Context;
use meterseal_bench::accuracy::{self, Settings};
use meterseal_bench::plot;
use meterseal_bench::report::Report;
use meterseal_world::physics::Tolerances;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Measure the errors of a population of virtual units at every load point and influence quantity of class 0.2 S.
///
/// Each unit is drawn from its parts' tolerances, calibrated with an instrument of 0.02 % uncertainty, and compared with the truth. Exit code 0: every
/// limit holds in every unit; 1: one does not.
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
    sensor: SensorKind,
    /// Every frame with its noise for the whole time of each measurement: about a hundred times as long.
    #[arg(long)]
    full: bool,
    /// Leave the calibration out, to see what it is for.
    #[arg(long)]
    uncalibrated: bool,
    /// Print JSON in place of the table.
    #[arg(long)]
    json: bool,
    /// Folder for accuracy.json, accuracy.txt and the drawings.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the population. Gives whether every limit holds.
pub(crate) fn run(arguments: &Args, out: &mut dyn Write) -> anyhow::Result<bool> {
    let settings = Settings {
        units: arguments.units,
        seed: arguments.seed,
        temperatures: arguments.temperatures.0.clone(),
        sensor: arguments.sensor.into(),
        tolerances: Tolerances::REFERENCE,
        full: arguments.full,
        calibrated: !arguments.uncalibrated,
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
    let report = Report::of(&results);
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
    Ok(results.passes())
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
