//! `report.pdf`: the same as the page, for filing. The first sheet is the summary; what was not tested stands there too.

use super::html::instant;
use super::paper::{Colour, INK, LEFT, Paper, RIGHT, RULE, SOFT, width};
use super::words::{self, Line, Scales};
use super::{Results, Run};
use crate::catalogue::Catalogue;
use crate::certify::{Finding, Outcome, Verdict};

const GOOD: Colour = [26, 127, 69];
const BAD: Colour = [179, 38, 30];
const OPEN: Colour = [154, 103, 0];
const LINES: [Colour; 6] =
    [[31, 111, 208], [179, 80, 27], [24, 138, 77], [130, 80, 223], [154, 103, 0], [191, 57, 137]];

fn colour(class: &str) -> Colour {
    match class {
        "passed" => GOOD,
        "failed" => BAD,
        "open" => OPEN,
        _ => SOFT,
    }
}

/// The report; `None` when no PDF can be made (the built-in fonts cannot be used).
pub fn pdf(results: &Results, run: Option<&Run>) -> Option<Vec<u8>> {
    let catalogue = Catalogue::built_in().ok();
    let mut paper = Paper::new();
    head(&mut paper, results, run);
    wholes(&mut paper, results, catalogue.as_ref());
    plots(&mut paper, results);
    let bad = |finding: &&Finding| matches!(finding.outcome, Outcome::Failed | Outcome::CouldNot(_));
    if results.findings.iter().any(|finding| bad(&finding)) {
        heading(&mut paper, "What failed, and how it came about");
        for finding in results.findings.iter().filter(bad) {
            one(&mut paper, finding, catalogue.as_ref(), true);
        }
    }
    let not_tested = |finding: &&Finding| matches!(finding.outcome, Outcome::NotTested(_));
    if results.findings.iter().any(|finding| not_tested(&finding)) {
        heading(&mut paper, "What was not tested, and why");
        for finding in results.findings.iter().filter(not_tested) {
            let sentence = sentence(catalogue.as_ref(), &finding.id);
            let why = finding.outcome.why().unwrap_or_default();
            paper.row(
                &[
                    (LEFT, LEFT + 52.0, false, &finding.id),
                    (LEFT + 52.0, LEFT + 300.0, false, &sentence),
                    (LEFT + 306.0, RIGHT, false, why),
                ],
                7.5,
                false,
                INK,
            );
        }
        paper.skip(8.0);
    }
    if results.findings.iter().any(|finding| finding.inspected.is_some()) {
        heading(&mut paper, "What persons inspected");
        for finding in results.findings.iter().filter(|finding| finding.inspected.is_some()) {
            one(&mut paper, finding, catalogue.as_ref(), false);
        }
    }
    heading(&mut paper, "Measured values");
    for finding in results.findings.iter().filter(|finding| !finding.measured.is_empty()) {
        one(&mut paper, finding, catalogue.as_ref(), false);
    }
    method(&mut paper, results);
    let foot = format!(
        "{} · {} · results {}…",
        results.about.device_type,
        results.tool,
        &crate::certify::engine::hex(&results.digest())[..16]
    );
    paper.finish(&format!("{}: certification report", results.about.device_type), &foot)
}

fn heading(paper: &mut Paper, text: &str) {
    paper.room(60.0);
    paper.skip(14.0);
    paper.paragraph((LEFT, RIGHT), 13.0, true, INK, text);
    paper.skip(4.0);
}

fn head(paper: &mut Paper, results: &Results, run: Option<&Run>) {
    let about = &results.about;
    paper.paragraph((LEFT, RIGHT), 18.0, true, INK, &about.device_type);
    let under = format!("Certification report · {} · catalogue {}", results.tool, results.catalogue_version);
    paper.paragraph((LEFT, RIGHT), 9.0, false, SOFT, &under);
    paper.skip(10.0);
    let (class, verdict) = words::verdict(results);
    let begun = paper.y();
    paper.skip(5.0);
    paper.paragraph((LEFT + 14.0, RIGHT - 10.0), 12.0, true, colour(class), &verdict);
    paper.skip(6.0);
    paper.filled((LEFT, begun), (LEFT + 4.0, paper.y()), colour(class));
    paper.skip(8.0);
    let mut facts = vec![
        ("Meter", about.meter.clone()),
        ("Hardware", about.hardware.clone()),
        ("Firmware", format!("{}, SHA-384 {}", about.firmware_version, about.firmware_sha384)),
        ("Target", format!("{}, seed {}", about.target, results.seed)),
    ];
    if let Some(run) = run {
        facts.push(("Ended", format!("{} UTC", instant(run.ended_ms / 1000))));
    }
    for (name, value) in facts {
        let y = paper.y() + 8.0 * 1.4 - 8.0 * 0.35;
        paper.at(LEFT, y, 8.0, false, SOFT, name);
        paper.paragraph((LEFT + 60.0, RIGHT), 8.0, false, INK, &value);
    }
    paper.skip(6.0);
    for sentence in words::reservations(results) {
        paper.paragraph((LEFT, RIGHT), 8.0, false, SOFT, &sentence);
    }
}

fn wholes(paper: &mut Paper, results: &Results, catalogue: Option<&Catalogue>) {
    heading(paper, "What was demanded");
    for (id, outcome) in &results.summary.wholes {
        let class = words::class(outcome);
        let mut sentence = sentence(catalogue, id);
        if let Some(parts) = outcome.why() {
            sentence += &format!(" [{}: {parts}]", outcome.words());
        }
        paper.row(
            &[
                (LEFT, LEFT + 68.0, false, id),
                (LEFT + 68.0, RIGHT - 84.0, false, &sentence),
                (RIGHT - 84.0, RIGHT, true, outcome.words()),
            ],
            8.5,
            class == "failed",
            if class == "not" { SOFT } else { colour(class) },
        );
    }
}

fn sentence(catalogue: Option<&Catalogue>, id: &str) -> String {
    catalogue
        .and_then(|catalogue| words::requirement(catalogue, id))
        .map(|one| one.text.clone())
        .unwrap_or_default()
}

fn one(paper: &mut Paper, finding: &Finding, catalogue: Option<&Catalogue>, with_steps: bool) {
    paper.room(50.0);
    paper.skip(6.0);
    let class = words::class(&finding.outcome);
    let y = paper.y() + 9.0;
    paper.ending(RIGHT, y, 8.5, true, colour(class), finding.outcome.words());
    if let Some(inspection) = &finding.inspected {
        let files: Vec<String> = inspection
            .attachments
            .iter()
            .map(|file| {
                format!("attachments/{} (SHA-384 {}…)", file.name, file.sha384.get(..16).unwrap_or_default())
            })
            .collect();
        let text = format!(
            "Inspected by {} on {}, not tested by the bench: {} {}",
            inspection.who,
            inspection.when,
            inspection.words,
            files.join(", ")
        );
        paper.paragraph((LEFT, RIGHT - 110.0), 8.0, false, INK, &text);
    }
    paper.paragraph(
        (LEFT, RIGHT - 110.0),
        9.0,
        true,
        INK,
        &format!("{}  {}", finding.id, sentence(catalogue, &finding.id)),
    );
    if let Some(why) = finding.outcome.why() {
        paper.paragraph((LEFT, RIGHT), 8.0, false, SOFT, why);
    }
    if let Some(requirement) = catalogue.and_then(|catalogue| words::requirement(catalogue, &finding.id)) {
        let unverified =
            if requirement.unverified { " (not verified against the standard's text)" } else { "" };
        let text = format!(
            "Limit: {}. Source: {}{unverified}.",
            requirement.limit.as_deref().unwrap_or("none"),
            requirement.source
        );
        paper.paragraph((LEFT, RIGHT), 7.5, false, SOFT, &text);
    }
    paper.skip(2.0);
    let columns = |what: &str,
                   value: &str,
                   limit: &str,
                   scatter: &str,
                   verdict: &str,
                   paper: &mut Paper,
                   bold,
                   colour| {
        paper.row(
            &[
                (LEFT, LEFT + 215.0, false, what),
                (LEFT + 215.0, LEFT + 310.0, true, value),
                (LEFT + 310.0, LEFT + 385.0, true, limit),
                (LEFT + 385.0, LEFT + 445.0, true, scatter),
                (LEFT + 449.0, RIGHT, false, verdict),
            ],
            7.5,
            bold,
            colour,
        );
    };
    if !finding.measured.is_empty() {
        columns("measured", "value (k = 2)", "allowed", "s of runs", "verdict", paper, false, SOFT);
    }
    for value in &finding.measured {
        let scatter =
            value.deviation.map_or(String::new(), |s| format!("{} of {}", words::number(s, s), value.runs));
        let accepted = value.verdict == Verdict::Accepted;
        columns(
            &value.what,
            &words::value(value),
            &words::limit(value.limit, &value.unit),
            &scatter,
            words::judged(value.verdict),
            paper,
            !accepted,
            if accepted { INK } else { BAD },
        );
    }
    if with_steps && !finding.steps.is_empty() {
        paper.skip(3.0);
        paper.paragraph(
            (LEFT, RIGHT),
            7.5,
            false,
            SOFT,
            &format!(
                "What was done (seconds by the bench's clock; seed {}; the last 40 steps)",
                finding.seed
            ),
        );
        for step in finding.steps.iter().skip(finding.steps.len().saturating_sub(40)) {
            paper.paragraph(
                (LEFT + 10.0, RIGHT),
                7.5,
                false,
                INK,
                &format!("{:.3} s: {}", step.seconds, step.what),
            );
        }
    }
}

fn plots(paper: &mut Paper, results: &Results) {
    let amperes = [0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0, 100.0].map(|at: f64| (at.log10(), at.to_string()));
    let celsius = [-40.0, -25.0, 0.0, 23.0, 55.0, 85.0].map(|at: f64| (at, at.to_string()));
    for (title, x, ticks, lines) in [
        ("Error against load, 23 °C", "current, A", &amperes[..], words::against_current(&results.findings)),
        (
            "Error against temperature",
            "ambient temperature, °C",
            &celsius[..],
            words::against_temperature(&results.findings),
        ),
    ] {
        if !lines.is_empty() {
            // A drawing stays on one sheet with its heading.
            paper.room(290.0);
            heading(paper, title);
            plot(paper, x, ticks, &lines);
        }
    }
}

/// Height of a drawing's field.
const FIELD: f32 = 190.0;

fn plot(paper: &mut Paper, x_name: &str, ticks: &[(f64, String)], lines: &[Line]) {
    let Scales { low, high, most, step } = words::scales(lines);
    let (left, top) = (LEFT + 36.0, paper.y() + 16.0);
    let x = |value: f64| left + ((value - low) / (high - low)) as f32 * (RIGHT - left);
    let y = |value: f64| top + FIELD / 2.0 - (value / most) as f32 * FIELD / 2.0;
    let mut legend = left;
    for (number, line) in lines.iter().enumerate() {
        let colour = LINES[number % LINES.len()];
        paper.filled((legend, top - 13.0), (legend + 7.0, top - 6.0), colour);
        paper.at(legend + 10.0, top - 6.5, 7.5, false, INK, &line.name);
        legend += 22.0 + width(&line.name, 7.5, false);
    }
    for (value, name) in ticks.iter().filter(|(value, _)| (low - 1e-6..=high + 1e-6).contains(value)) {
        paper.line(vec![(x(*value), top), (x(*value), top + FIELD)], 0.4, RULE, false);
        paper.at(x(*value) - width(name, 7.5, false) / 2.0, top + FIELD + 10.0, 7.5, false, SOFT, name);
    }
    let count = (most / step).round() as i32;
    for tick in -count..=count {
        let value = f64::from(tick) * step;
        paper.line(
            vec![(left, y(value)), (RIGHT, y(value))],
            0.4,
            if tick == 0 { SOFT } else { RULE },
            false,
        );
        paper.ending(left - 4.0, y(value) + 2.5, 7.5, false, SOFT, &words::number(value, step));
    }
    for limit in [-0.2, 0.2].into_iter().filter(|limit: &f64| limit.abs() <= most) {
        paper.line(vec![(left, y(limit)), (RIGHT, y(limit))], 0.8, BAD, true);
    }
    for (number, line) in lines.iter().enumerate() {
        let colour = LINES[number % LINES.len()];
        paper.line(line.points.iter().map(|point| (x(point[0]), y(point[1]))).collect(), 1.2, colour, false);
        for point in &line.points {
            let at = x(point[0]);
            paper.line(vec![(at, y(point[1] - point[2])), (at, y(point[1] + point[2]))], 0.6, colour, false);
        }
    }
    let beyond = if most < 0.2 { " (the limit of ±0.2 % is beyond the drawing)" } else { "" };
    paper.at(
        left,
        top + FIELD + 22.0,
        7.5,
        false,
        SOFT,
        &format!("{x_name}; error in %, bars: uncertainty (k = 2){beyond}"),
    );
    paper.skip(16.0 + FIELD + 30.0);
}

fn method(paper: &mut Paper, results: &Results) {
    heading(paper, "How it was judged");
    paper.paragraph((LEFT, RIGHT), 8.5, false, INK, &results.decision_rule);
    paper.skip(4.0);
    for instrument in &results.instruments {
        paper.paragraph((LEFT, RIGHT), 8.5, false, INK, &format!("Instrument: {instrument}."));
    }
    paper.skip(4.0);
    for (name, digest) in [
        ("Results", crate::certify::engine::hex(&results.digest())),
        ("Catalogue", results.catalogue_sha384.clone()),
    ] {
        paper.paragraph((LEFT, RIGHT), 7.5, false, SOFT, &format!("{name}, SHA-384: {digest}"));
    }
}
