//! What both reports say, and how numbers are written in them.

use super::Results;
use crate::catalogue::{Catalogue, Requirement};
use crate::certify::{Finding, Limit, Measured, Outcome, Verdict};

/// The sentence at the top.
pub(super) fn verdict(results: &Results) -> (&'static str, String) {
    let summary = &results.summary;
    let tested = summary.passed + summary.failed;
    let (class, begin) = match (summary.failed, summary.could_not) {
        (0, 0) if summary.passed > 0 => {
            ("passed", format!("All {tested} requirements that were tested are met."))
        }
        (0, 0) => ("open", "Nothing was tested.".to_owned()),
        (0, could_not) => ("open", format!("{could_not} requirements could not be carried out; no verdict.")),
        (failed, _) => {
            ("failed", format!("Failed: {failed} of {tested} requirements that were tested are not met."))
        }
    };
    let rest = match summary.not_tested {
        0 => String::new(),
        count => format!(" {count} were not tested, and are not counted as met."),
    };
    let inspected = match summary.inspected {
        0 => String::new(),
        count => format!(" {count} are met by a person's word, which the bench has not tested."),
    };
    (class, begin + &rest + &inspected)
}

/// What limits the report's meaning, in sentences.
pub(super) fn reservations(results: &Results) -> Vec<String> {
    let mut all = Vec::new();
    if results.about.simulated {
        all.push(
            "The meter is simulated: these results are no laboratory's, and say nothing of hardware."
                .to_owned(),
        );
    }
    if results.effort.is_reduced() {
        let effort = results.effort;
        all.push(format!(
            "Reduced lengths ({} runs of {} s or more at each point; test practice is five of 30 s).",
            effort.runs, effort.least_seconds
        ));
    }
    if !results.only.is_empty() {
        all.push(format!("Only these requirements were asked for: {}.", results.only.join(", ")));
    }
    all.push(
        "Whoever runs this bench signs its results with a key of their own; it issues nobody's national certificate. Requirements known from memory \
         are marked: not verified against the standard's text."
            .to_owned(),
    );
    all
}

/// A requirement of the built-in catalogue.
pub(super) fn requirement<'a>(catalogue: &'a Catalogue, id: &str) -> Option<&'a Requirement> {
    catalogue.find(id)
}

/// With as many digits as its uncertainty has, two of them.
pub(super) fn number(value: f64, uncertainty: f64) -> String {
    if value == value.trunc() && uncertainty == 0.0 && value.abs() < 1e15 {
        return format!("{value:.0}");
    }
    let decimals =
        if uncertainty > 0.0 { (1.0 - uncertainty.log10().floor()).clamp(0.0, 6.0) as usize } else { 4 };
    let text = format!("{value:.decimals$}");
    // No minus before a zero.
    if text.trim_start_matches(['-', '0', '.']).is_empty() {
        text.trim_start_matches('-').to_owned()
    } else {
        text
    }
}

/// A value with its unit and uncertainty.
pub(super) fn value(one: &Measured) -> String {
    let shown = number(one.value, one.uncertainty);
    let unit = if one.unit.is_empty() { String::new() } else { format!(" {}", one.unit) };
    if one.uncertainty > 0.0 {
        format!("{shown} ± {}{unit}", number(one.uncertainty, one.uncertainty))
    } else {
        format!("{shown}{unit}")
    }
}

/// What is allowed.
pub(super) fn limit(limit: Limit, unit: &str) -> String {
    let short = |value: f64| format!("{}", (value * 1e9).round() / 1e9);
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    match (limit.least, limit.most) {
        (Some(least), Some(most)) if least == most => format!("{}{unit}", short(most)),
        (Some(least), Some(most)) if least == -most => format!("±{}{unit}", short(most)),
        (Some(least), Some(most)) => format!("{} to {}{unit}", short(least), short(most)),
        (None, Some(most)) => format!("at most {}{unit}", short(most)),
        (Some(least), None) => format!("at least {}{unit}", short(least)),
        (None, None) => "none".to_owned(),
    }
}

/// A verdict in a word.
pub(super) const fn judged(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "accepted",
        Verdict::TooNear => "too near",
        Verdict::Rejected => "rejected",
    }
}

/// The class of an outcome, for colours.
pub(super) const fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::NotTested(_) => "not",
        Outcome::CouldNot(_) => "open",
    }
}

/// A line for plots: its name and points of place, value and uncertainty.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<[f64; 3]>,
}

/// Power factors by name, in the order in which they are drawn.
fn factor(lag: f64) -> String {
    let factor = (lag.to_radians().cos() * 100.0).round() / 100.0;
    let side = if lag.abs() < 0.5 {
        ""
    } else if lag > 0.0 {
        " ind"
    } else {
        " cap"
    };
    format!("PF {factor}{side}")
}

/// Errors of balanced loads at 23 °C against current, by power factor; log₁₀ of amperes.
pub(super) fn against_current(findings: &[Finding]) -> Vec<Line> {
    let of = findings.iter().filter(|finding| finding.id.starts_with("ACC-0") && finding.id != "ACC-09");
    lines(of.flat_map(|finding| &finding.measured), |one| {
        let place = one.place.filter(|place| place.celsius == 23.0 && !one.what.contains("alone"))?;
        Some((factor(place.lag_degrees), place.amperes.log10()))
    })
}

/// Errors against temperature, by power factor and current.
pub(super) fn against_temperature(findings: &[Finding]) -> Vec<Line> {
    let of = findings.iter().filter(|finding| finding.id == "ACC-18");
    let rated = |one: &Measured| {
        let place = one.place?;
        let whole = (4.9..5.1).contains(&place.amperes) || place.amperes > 99.0;
        whole.then(|| {
            (format!("{} A, {}", number(place.amperes, 1.0), factor(place.lag_degrees)), place.celsius)
        })
    };
    lines(of.flat_map(|finding| &finding.measured), rated)
}

fn lines<'a>(
    values: impl Iterator<Item = &'a Measured>,
    at: impl Fn(&Measured) -> Option<(String, f64)>,
) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for one in values {
        let Some((name, place)) = at(one) else { continue };
        let point = [place, one.value, one.uncertainty];
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name, points: vec![point] }),
        }
    }
    lines.iter_mut().for_each(|line| line.points.sort_by(|a, b| a[0].total_cmp(&b[0])));
    lines.retain(|line| line.points.len() > 1);
    lines
}

/// A drawing's scales: ticks of x, the largest of y, and y's step.
pub(super) struct Scales {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) most: f64,
    pub(super) step: f64,
}

/// Scales that hold these lines.
pub(super) fn scales(lines: &[Line]) -> Scales {
    let all = || lines.iter().flat_map(|line| &line.points);
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| {
        (low.min(point[0]), high.max(point[0]))
    });
    let largest = all().map(|point| point[1].abs() + point[2]).fold(0.004, f64::max);
    let power = 10f64.powf((largest / 3.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= largest / 3.0)
        .unwrap_or(power);
    let most = (largest / step).ceil() * step;
    Scales { low, high: if high > low { high } else { low + 1.0 }, most, step }
}
