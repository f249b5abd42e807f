//! The report of an accuracy run: a table to read and JSON to process.

use crate::accuracy::{
    Agreement, BLOCK_PERCENT, Contribution, Fault, Results, Sensors, Statistics, uncertainty,
};
use crate::computation::Figure;
use crate::points::{Group, HERTZ, IMAX, IN, Limits, Measure, NOT_TESTED, RANGE_PERCENT, UN};
use meterseal_world::physics::{Effects, LoadPoint, Unit};
use serde::Serialize;
use std::fmt::Write;

/// Everything that a run says.
#[derive(Debug, Serialize)]
pub struct Report {
    units: u32,
    first_seed: u64,
    temperatures_celsius: Vec<f64>,
    full_length: bool,
    calibrated: bool,
    sensors: Sensors,
    fault: Option<Fault>,
    /// Every class 0.2 S and CPA-ACC limit holds in every unit at every temperature, and everything is reached that must be.
    limits_hold: bool,
    rows: Vec<RowReport>,
    goals: Vec<Goal>,
    dynamic_range: Option<Range>,
    computation: Vec<Figure>,
    /// Of a full run: blocks beside full measurements.
    blocks_and_full: Option<Agreement>,
    uncertainty: Vec<Uncertainty>,
    not_tested: &'static [&'static str],
    limits_source: &'static str,
}

#[derive(Debug, Serialize)]
struct RowReport {
    name: String,
    limits: Limits,
    holds: bool,
    reaches: Option<bool>,
    keeps_aim: Option<bool>,
    overall: Statistics,
    worst_at_celsius: f64,
    /// In the order of the temperatures; count 0 where there is none.
    by_temperature: Vec<Statistics>,
}

#[derive(Debug, Serialize)]
struct Goal {
    name: &'static str,
    reach_percent: f64,
    aim_percent: f64,
    units_within_reach: usize,
    units_within_aim: usize,
    largest_percent: f64,
}

/// From how large a ratio of currents on each unit is within ±0.1 %, over all temperatures.
#[derive(Debug, Serialize)]
struct Range {
    reach: f64,
    aim: f64,
    units_within_reach: usize,
    units_within_aim: usize,
    least: f64,
    median: f64,
}

#[derive(Debug, Serialize)]
struct Uncertainty {
    load: &'static str,
    contributions: Vec<Contribution>,
    expanded_percent_k2: f64,
}

const SOURCE: &str = "IEC 62053-22 class 0.2 S as the French order of 1 August 2013, annex 3, reprints it; PF 0.25, PF 0.5 capacitive and the creep time \
                      are not verified against the standard's text; CPA-ACC is the scheme's ±0.2 %";

impl Report {
    /// Draws the run together.
    pub fn of(results: &Results, computation: Vec<Figure>) -> Self {
        let settings = &results.settings;
        let rows = results.rows.iter().enumerate().map(|(number, row)| RowReport {
            name: row.name.clone(),
            limits: row.limits,
            holds: results.holds(number),
            reaches: results.reaches(number),
            keeps_aim: results.keeps_aim(number),
            overall: results.overall(number),
            worst_at_celsius: results.extremes(number).2,
            by_temperature: (0..settings.temperatures.len())
                .map(|at| results.statistics(at, number))
                .collect(),
        });
        let goal = |name, group, reach_percent, aim_percent| {
            let worst = results.worst_of_units(group);
            let within = |limit: f64| worst.iter().filter(|value| **value <= limit).count();
            Goal {
                name,
                reach_percent,
                aim_percent,
                units_within_reach: within(reach_percent),
                units_within_aim: within(aim_percent),
                largest_percent: worst.iter().copied().fold(0.0, f64::max),
            }
        };
        let range = results.rows.iter().position(|row| matches!(row.measure, Measure::DynamicRange));
        let range = range.zip(range.and_then(|row| {
            let Limits { reach: Some([reach, _]), aim: Some([aim, _]), .. } = results.rows[row].limits else {
                return None;
            };
            Some((reach, aim))
        }));
        let dynamic_range = range.map(|(row, (reach, aim))| {
            let mut least = results.least_of_units(row);
            least.sort_by(f64::total_cmp);
            let within = |limit: f64| least.iter().filter(|value| **value >= limit).count();
            Range {
                reach,
                aim,
                units_within_reach: within(reach),
                units_within_aim: within(aim),
                least: least.first().copied().unwrap_or_default(),
                median: least.get(least.len() / 2).copied().unwrap_or_default(),
            }
        });
        let unit = Unit::draw(settings.seed, settings.sensors.of(0), &settings.tolerances, Effects::ALL);
        let uncertain = |load, point: LoadPoint| {
            let (contributions, expanded_percent_k2) = uncertainty(&unit, &point, settings.full);
            Uncertainty { load, contributions, expanded_percent_k2 }
        };
        Self {
            units: settings.units,
            first_seed: settings.seed,
            temperatures_celsius: settings.temperatures.clone(),
            full_length: settings.full,
            calibrated: settings.calibrated,
            sensors: settings.sensors,
            fault: settings.fault,
            limits_hold: results.passes() && computation.iter().all(Figure::holds),
            rows: rows.collect(),
            goals: vec![
                goal("PF 1, 0.05 In to Imax", Group::UnityPowerFactor, 0.1, 0.05),
                goal("PF 0.5 ind, PF 0.8 cap, and PF 1 from Imin", Group::Wide, 0.2, 0.1),
            ],
            uncertainty: vec![
                uncertain("In, PF 1", LoadPoint::balanced(HERTZ, UN, IN, 0.0)),
                uncertain("In, PF 0.5 ind", LoadPoint::balanced(HERTZ, UN, IN, 60.0)),
                uncertain("0.01 In, PF 1", LoadPoint::balanced(HERTZ, UN, 0.01 * IN, 0.0)),
                uncertain("Imax/5000, PF 1", LoadPoint::balanced(HERTZ, UN, IMAX / 5000.0, 0.0)),
            ],
            dynamic_range,
            computation,
            blocks_and_full: settings.full.then_some(results.agreement),
            not_tested: &NOT_TESTED,
            limits_source: SOURCE,
        }
    }

    /// Whether every limit holds, and everything is reached that must be.
    pub fn limits_hold(&self) -> bool {
        self.limits_hold
    }

    /// JSON, ending with a line break.
    ///
    /// # Errors
    /// A value that JSON does not have; none is known.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing into a `String` cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        self.write_head(out)?;
        self.write_rows(out)?;
        self.write_summary(out)?;
        for uncertain in &self.uncertainty {
            writeln!(
                out,
                "uncertainty of this harness at {}: {:.4} % (k = 2, GUM)",
                uncertain.load, uncertain.expanded_percent_k2
            )?;
            for part in &uncertain.contributions {
                writeln!(
                    out,
                    "  {:58} {:>9.1e} %  {:11}  u = {:.1e} %",
                    part.source, part.value_percent, part.distribution, part.standard_percent
                )?;
            }
        }
        writeln!(out, "\nnot tested:")?;
        for missing in self.not_tested {
            writeln!(out, "  {missing}")?;
        }
        writeln!(out, "limits: {}", self.limits_source)?;
        writeln!(out, "\n{}", if self.limits_hold { "every limit holds" } else { "LIMITS EXCEEDED" })
    }

    fn write_head(&self, out: &mut String) -> std::fmt::Result {
        let range = match &self.temperatures_celsius[..] {
            [first, .., last] => {
                format!("{first} to {last} °C in {} steps", self.temperatures_celsius.len() - 1)
            }
            [only] => format!("{only} °C"),
            [] => String::new(),
        };
        let sensors = match self.sensors {
            Sensors::Both => "transformers and shunts by turns",
            Sensors::Transformer => "transformers",
            Sensors::Shunt => "shunts",
        };
        writeln!(
            out,
            "{} {} units from seed {}, {sensors}, {range}, {}",
            self.units,
            if self.calibrated { "calibrated" } else { "uncalibrated" },
            self.first_seed,
            if self.full_length { "full length" } else { "one coherent block a point, noise calculated" }
        )?;
        self.fault.map_or(Ok(()), |fault| writeln!(out, "every unit has a fault: {fault:?}"))
    }

    fn write_rows(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n{:46} {:>9} {:>8} {:>9} {:>9} {:>6}   limit",
            "error or change, %", "mean", "s", "lowest", "highest", "at °C"
        )?;
        for row in &self.rows {
            let Statistics { mean, s, min, max, .. } = row.overall;
            let verdict = match (row.holds, row.reaches, row.keeps_aim) {
                (false, ..) => "  EXCEEDED",
                (_, Some(false), _) => "  NOT REACHED",
                (_, _, Some(false)) => "  aim missed",
                (_, _, Some(true)) => "  aim kept",
                _ => "",
            };
            writeln!(
                out,
                "{:46} {:>9} {:>8} {:>9} {:>9} {:>6}   {}{verdict}",
                row.name,
                value(mean),
                value(s),
                value(min),
                value(max),
                row.worst_at_celsius,
                limits(&row.limits)
            )?;
        }
        writeln!(out)
    }

    fn write_summary(&self, out: &mut String) -> std::fmt::Result {
        for goal in &self.goals {
            writeln!(
                out,
                "{}: {} of {} units within ±{} %, {} within ±{} %, largest {:.4} %",
                goal.name,
                goal.units_within_reach,
                self.units,
                goal.reach_percent,
                goal.units_within_aim,
                goal.aim_percent,
                goal.largest_percent
            )?;
        }
        if let Some(range) = &self.dynamic_range {
            writeln!(
                out,
                "dynamic range from Imax down at ±{RANGE_PERCENT} %, all temperatures: {} of {} units {:.0}:1 and more, {} {:.0}:1, least {:.0}:1, \
                 median {:.0}:1",
                range.units_within_reach,
                self.units,
                range.reach,
                range.units_within_aim,
                range.aim,
                range.least,
                range.median
            )?;
        }
        for figure in &self.computation {
            let verdict = match (figure.holds(), figure.worst <= figure.aim) {
                (false, _) => "NOT REACHED",
                (true, false) => "aim missed",
                (true, true) => "aim kept",
            };
            let Figure { name, unit, reach, aim, worst, at, .. } = figure;
            writeln!(
                out,
                "computation alone, {name}: {worst:.5} {unit} ({at}); reach ±{reach}, aim ±{aim}: {verdict}"
            )?;
        }
        if let Some(agreement) = &self.blocks_and_full {
            writeln!(
                out,
                "blocks beside {} full measurements: largest difference {:.4} %, beyond three deviations of its noise {:.4} % (limit {BLOCK_PERCENT}); \
                 differences are {:.2} of the calculated noise: {}",
                agreement.count,
                agreement.worst_percent,
                agreement.worst_beyond_noise_percent,
                agreement.score(),
                if agreement.holds() { "they agree" } else { "THEY DO NOT AGREE" }
            )?;
        }
        writeln!(out)
    }
}

/// Four decimals, of what has room for them.
fn value(value: f64) -> String {
    if value.abs() < 1000.0 { format!("{value:.4}") } else { format!("{value:.0}") }
}

fn limits(limits: &Limits) -> String {
    let range = |[low, high]: [f64; 2]| match () {
        () if low == -high && high > 0.0 => format!("±{}", number(high)),
        () => format!("{}…{}", number(low), number(high)),
    };
    let cpa = limits.cpa.map(|cpa| [-cpa, cpa]);
    let named = [("", limits.class), ("CPA ", cpa), ("reach ", limits.reach), ("aim ", limits.aim)];
    let all: Vec<_> =
        named.iter().filter_map(|(name, limit)| Some(format!("{name}{}", range((*limit)?)))).collect();
    if all.is_empty() { "none".into() } else { all.join(", ") }
}

/// At most four decimals, and none that are zero.
fn number(value: f64) -> String {
    ((value * 1e4).round() / 1e4).to_string()
}
