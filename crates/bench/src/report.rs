//! The report of an accuracy run: a table to read and JSON to process.

use crate::accuracy::{Contribution, Results, Statistics, uncertainty};
use crate::points::{Group, HERTZ, IN, Limits, NOT_TESTED, UN};
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
    /// Every class 0.2 S and CPA-ACC limit holds in every unit at every temperature.
    limits_hold: bool,
    rows: Vec<RowReport>,
    goals: Vec<Goal>,
    uncertainty: Vec<Uncertainty>,
    not_tested: &'static [&'static str],
    limits_source: &'static str,
}

#[derive(Debug, Serialize)]
struct RowReport {
    name: String,
    limits: Limits,
    holds: bool,
    keeps_goal: Option<bool>,
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
    pub fn of(results: &Results) -> Self {
        let settings = &results.settings;
        let rows = results.rows.iter().enumerate().map(|(number, row)| RowReport {
            name: row.name.clone(),
            limits: row.limits,
            holds: results.holds(number),
            keeps_goal: results.keeps_goal(number),
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
        let unit = Unit::draw(settings.seed, settings.sensor, &settings.tolerances, Effects::ALL);
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
            limits_hold: results.passes(),
            rows: rows.collect(),
            goals: vec![
                goal("PF 1, 0.05 In to Imax", Group::UnityPowerFactor, 0.1, 0.05),
                goal("PF 0.5 ind, PF 0.8 cap, and PF 1 from Imin", Group::Wide, 0.2, 0.1),
            ],
            uncertainty: vec![
                uncertain("In, PF 1", LoadPoint::balanced(HERTZ, UN, IN, 0.0)),
                uncertain("0.01 In, PF 1", LoadPoint::balanced(HERTZ, UN, 0.01 * IN, 0.0)),
            ],
            not_tested: &NOT_TESTED,
            limits_source: SOURCE,
        }
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
        let range = |values: &[f64]| match values {
            [first, .., last] => format!("{first} to {last} °C in {} steps", values.len() - 1),
            [only] => format!("{only} °C"),
            [] => String::new(),
        };
        writeln!(
            out,
            "{} {} units from seed {}, {}, {}",
            self.units,
            if self.calibrated { "calibrated" } else { "uncalibrated" },
            self.first_seed,
            range(&self.temperatures_celsius),
            if self.full_length { "full length" } else { "one coherent block a point, noise calculated" }
        )?;
        writeln!(
            out,
            "\n{:44} {:>9} {:>8} {:>9} {:>9} {:>6}   limit",
            "error or change, %", "mean", "s", "lowest", "highest", "at °C"
        )?;
        for row in &self.rows {
            let Statistics { mean, s, min, max, .. } = row.overall;
            let verdict = match (row.holds, row.keeps_goal) {
                (false, _) => "  EXCEEDED",
                (true, Some(false)) => "  goal missed",
                _ => "",
            };
            writeln!(
                out,
                "{:44} {mean:>9.4} {s:>8.4} {min:>9.4} {max:>9.4} {:>6}   {}{verdict}",
                row.name,
                row.worst_at_celsius,
                limits(&row.limits)
            )?;
        }
        writeln!(out)?;
        for goal in &self.goals {
            writeln!(
                out,
                "goal {}: {} of {} units within ±{} %, {} within ±{} %, largest {:.4} %",
                goal.name,
                goal.units_within_reach,
                self.units,
                goal.reach_percent,
                goal.units_within_aim,
                goal.aim_percent,
                goal.largest_percent
            )?;
        }
        writeln!(out)?;
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
}

fn limits(limits: &Limits) -> String {
    let mut text = match limits.class {
        Some([low, high]) if low == -high => format!("±{high}"),
        Some([low, high]) => format!("{low}…{high}"),
        None => "none".into(),
    };
    if let Some(cpa) = limits.cpa {
        text += &format!(", CPA ±{cpa}");
    }
    if let Some(goal) = limits.goal {
        text += &format!(", goal ±{goal}");
    }
    text
}
