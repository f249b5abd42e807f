//! `meterseal calibrate`: the factory's procedure on one virtual unit, and the calibration record that its core then applies.

use anyhow::Context;
use meterseal_bench::accuracy::unit_id;
use meterseal_bench::calibration::{CHECK_LIMIT_PERCENT, Outcome, Procedure, Quantity, calibrate};
use meterseal_bench::instrument::{self, Instrument};
use meterseal_metrology::{Calibration, UnitId};
use meterseal_world::physics::{Effects, Sensor, Tolerances, Unit};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Calibrate a virtual unit in the climate chamber and write its record.
///
/// The unit is drawn from its parts' tolerances by the seed; the laboratory's instrument has an uncertainty of 0.02 % of its own. Exit code 0: the
/// record brings the unit within ±0.05 % at every check; 1: it does not; 2: there is no record.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which unit.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which instrument; by default the one that `accuracy` takes for this unit.
    #[arg(long, value_name = "SEED")]
    instrument: Option<u64>,
    /// Chamber temperatures in °C, three to eight: -40,23,85, or from:to:step.
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    temperatures: Option<Temperatures>,
    /// How currents are sensed.
    #[arg(long, value_enum, default_value_t)]
    sensor: SensorKind,
    /// Where the record goes; by default the unit's identifier with the ending .calibration.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON in place of the table.
    #[arg(long)]
    json: bool,
}

/// Temperatures as a list or as a range.
#[derive(Clone, Debug)]
pub(crate) struct Temperatures(pub(crate) Vec<f64>);

impl std::str::FromStr for Temperatures {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let value = text.trim().parse().ok().filter(|value: &f64| value.is_finite());
            value.ok_or(format!("{text:?} is no temperature; write -40,23,85 or -40:85:5"))
        };
        let parts: Vec<&str> = text.split(':').collect();
        let [from, to, step] = parts[..] else {
            return text.split(',').map(number).collect::<Result<_, _>>().map(Self);
        };
        let (from, to, step) = (number(from)?, number(to)?, number(step)?);
        let count = (to - from) / step;
        if !(step > 0.0 && (0.0..1000.0).contains(&count)) {
            return Err(format!("{text:?} has no steps upwards (1000 at most); write -40:85:5"));
        }
        // A step that does not fit still ends at the end.
        let mut all: Vec<f64> = (0..=count.floor() as u32).map(|n| from + step * f64::from(n)).collect();
        if all.last().is_some_and(|last| *last < to - 1e-9) {
            all.push(to);
        }
        Ok(Self(all))
    }
}

/// How currents are sensed.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum SensorKind {
    /// Current transformers.
    #[default]
    Transformer,
    /// Shunts.
    Shunt,
}

impl From<SensorKind> for Sensor {
    fn from(kind: SensorKind) -> Self {
        match kind {
            SensorKind::Transformer => Self::Transformer,
            SensorKind::Shunt => Self::Shunt,
        }
    }
}

/// Calibrates, writes the record, says how good it is. Gives whether every check holds.
pub(crate) fn run(arguments: &Args, out: &mut dyn Write) -> anyhow::Result<bool> {
    let mut procedure = Procedure::default();
    if let Some(Temperatures(temperatures)) = &arguments.temperatures {
        procedure.temperatures.clone_from(temperatures);
    }
    let id = unit_id(arguments.seed);
    let name = String::from_utf8_lossy(&id).trim_end_matches('\0').to_owned();
    let unit = Unit::draw(arguments.seed, arguments.sensor.into(), &Tolerances::REFERENCE, Effects::ALL);
    let instrument = Instrument::draw(arguments.instrument.unwrap_or(arguments.seed));
    let outcome = calibrate(&unit, id, &instrument, &procedure, arguments.seed)?;
    let path = arguments.out.clone().unwrap_or_else(|| format!("{name}.calibration").into());
    std::fs::write(&path, outcome.record.encode()).with_context(|| {
        format!("cannot write the record to {}; choose another place with --out", path.display())
    })?;
    let text = if arguments.json { json(&name, &path, &outcome)? } else { table(&name, &path, &outcome) };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the result")?;
    Ok(outcome.passes())
}

/// Reads the record of the unit `id` from a file.
///
/// # Errors
/// A file that cannot be read; a record that is damaged, impossible, or another unit's.
pub(crate) fn read_record(path: &Path, id: &UnitId) -> anyhow::Result<Calibration> {
    let name = path.display();
    // Nothing longer can be a record, whatever stands there.
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(Calibration::ENCODED_LEN as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read the calibration record {name}"))?;
    Calibration::decode(&bytes, id)
        .map_err(|error| anyhow::anyhow!("the calibration record {name} is refused: {error}"))
}

fn table(name: &str, path: &Path, outcome: &Outcome) -> String {
    let mut text = format!("unit {name}: record written to {}\n\n", path.display());
    text += "    °C  current, A  lag, °    error, %\n";
    for check in &outcome.checks {
        text += &format!(
            "{:>6}  {:>10}  {:>6}  {:>10.4}{}\n",
            check.celsius,
            check.amperes,
            check.lag_degrees,
            check.error_percent,
            match check.quantity {
                Quantity::ActivePower => "",
                Quantity::NeutralCurrent => "  neutral current",
            }
        );
    }
    let verdict = if outcome.passes() { "every check is" } else { "NOT every check is" };
    text += &format!(
        "\n{verdict} within ±{CHECK_LIMIT_PERCENT} % of the instrument, whose own uncertainty is {} % (k = 2)\n",
        instrument::UNCERTAINTY * 100.0
    );
    text
}

fn json(name: &str, path: &Path, outcome: &Outcome) -> anyhow::Result<String> {
    let value = serde_json::json!({
        "unit": name,
        "record": path,
        "passes": outcome.passes(),
        "limit_percent": CHECK_LIMIT_PERCENT,
        "instrument_uncertainty_percent_k2": instrument::UNCERTAINTY * 100.0,
        "taken_at_millikelvin": outcome.record.taken_at_millikelvin.iter().filter(|taken| **taken > 0).collect::<Vec<_>>(),
        "checks": outcome.checks,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_are_lists_or_ranges() {
        let parse = |text: &str| text.parse::<Temperatures>().map(|all| all.0);
        assert_eq!(parse("-40, 23,85"), Ok(vec![-40.0, 23.0, 85.0]));
        assert_eq!(parse("-40:-20:10"), Ok(vec![-40.0, -30.0, -20.0]));
        assert_eq!(parse("0:12:5"), Ok(vec![0.0, 5.0, 10.0, 12.0]));
        for wrong in ["", "warm", "1:2", "1:2:0", "5:1:1", "1,,2", "NaN", "0:inf:1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_record_on_disk_is_the_unit_s_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("unit.calibration");
        let arguments = Args {
            seed: 5,
            instrument: None,
            temperatures: Some("-40,23,85".parse().unwrap()),
            sensor: SensorKind::Transformer,
            out: Some(path.clone()),
            json: true,
        };
        let mut out = Vec::new();
        assert!(run(&arguments, &mut out).unwrap());
        let bytes = std::fs::read(path).unwrap();
        let record = meterseal_metrology::Calibration::decode(&bytes, &unit_id(5)).unwrap();
        assert_eq!(record.taken_at_millikelvin.iter().filter(|taken| **taken > 0).count(), 3);
        assert!(meterseal_metrology::Calibration::decode(&bytes, &unit_id(6)).is_err());
        let shown: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(shown["unit"], "MSV0000000005");
    }
}
