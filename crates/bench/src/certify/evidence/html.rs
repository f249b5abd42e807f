//! `report.html`: one file without scripts, fonts or links. What matters is on the first screen.

use std::fmt::Write;

use super::words::{self, Line, Scales};
use super::{Results, Run};
use crate::catalogue::Catalogue;
use crate::certify::{Finding, Outcome, Verdict};

const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--ink:#1f2328;--soft:#59636e;--line:#d9dee4;--wash:#f5f7f9;--good:#1a7f45;--bad:#b3261e;--open:#9a6700;--not:#59636e}\
@media(prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e6e9ee;--soft:#a0a8b3;--line:#2e353d;--wash:#1b2026;--good:#5fd39a;--bad:#ff8a80;--open:#e6b450;--not:#a0a8b3}}\
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',Arial,sans-serif}\
main{max-width:1100px;margin:0 auto;padding:28px 24px 80px}h1{font-size:24px;margin:0 0 4px}h2{font-size:19px;margin:44px 0 10px}h3{font-size:15px;margin:0}\
.soft{color:var(--soft)}.verdict{border-left:6px solid;padding:12px 18px;margin:18px 0;background:var(--wash);font-size:18px;font-weight:600}\
.verdict.passed{border-color:var(--good)}.verdict.failed{border-color:var(--bad)}.verdict.open{border-color:var(--open)}\
.tag{display:inline-block;min-width:88px;text-align:center;border:1px solid;border-radius:4px;padding:0 8px;font-size:13px;font-weight:600;white-space:nowrap}\
.tag.passed{color:var(--good)}.tag.failed{color:var(--paper);background:var(--bad);border-color:var(--bad)}.tag.not{color:var(--not);border-style:dashed}.tag.open{color:var(--open)}\
table{border-collapse:collapse;width:100%;font-size:14px}th{text-align:left;color:var(--soft);font-weight:600}td,th{padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}\
td:first-child b{white-space:nowrap}td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}tr.failed td{color:var(--bad)}.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:0 32px}\
dl{display:grid;grid-template-columns:auto 1fr;gap:2px 16px;margin:0;align-content:start}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}\
details{border-bottom:1px solid var(--line);padding:8px 0}summary{cursor:pointer;display:flex;gap:12px;align-items:baseline}summary b{min-width:76px}\
summary span.text{flex:1}ol{font-size:13px;font-family:ui-monospace,'Liberation Mono',monospace;max-height:320px;overflow:auto;background:var(--wash);padding:10px 10px 10px 46px}\
svg{width:100%;height:auto}svg text{font-size:13px;fill:var(--soft)}.grid{stroke:var(--line);fill:none}.axis{stroke:var(--soft);fill:none}.limit{stroke:var(--bad);stroke-dasharray:7 4;fill:none}\
.s0{stroke:#1f6fd0;fill:#1f6fd0}.s1{stroke:#b3501b;fill:#b3501b}.s2{stroke:#188a4d;fill:#188a4d}.s3{stroke:#8250df;fill:#8250df}.s4{stroke:#9a6700;fill:#9a6700}.s5{stroke:#bf3989;fill:#bf3989}\
path.line{fill:none;stroke-width:2}@media print{details{break-inside:avoid}ol{max-height:none}}";

/// The report. `run`: times, where they are known.
pub fn html(results: &Results, run: Option<&Run>) -> String {
    let catalogue = Catalogue::built_in().ok();
    let mut page = String::new();
    head(&mut page, results, run);
    wholes(&mut page, results, catalogue.as_ref());
    failed(&mut page, results, catalogue.as_ref());
    plots(&mut page, results);
    all(&mut page, results, catalogue.as_ref());
    method(&mut page, results);
    put(&mut page, format_args!("</main></body></html>\n"));
    page
}

fn head(page: &mut String, results: &Results, run: Option<&Run>) {
    let about = &results.about;
    let (class, verdict) = words::verdict(results);
    put(
        page,
        format_args!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
             <title>{0}: certification report</title><style>{STYLE}</style></head><body><main>\
             <h1>{0}</h1><div class=\"soft\">Certification report · {1} · catalogue {2}</div>\
             <div class=\"verdict {class}\">{3}</div>",
            text(&about.device_type),
            text(&results.tool),
            text(&results.catalogue_version),
            text(&verdict)
        ),
    );
    let summary = &results.summary;
    put(page, format_args!("<p>"));
    for (class, name, count) in [
        ("passed", "passed", summary.passed),
        ("not", "passed by a person's word, not counted among those", summary.inspected),
        ("failed", "failed", summary.failed),
        ("open", "could not be carried out", summary.could_not),
        ("not", "not tested", summary.not_tested),
    ] {
        if count > 0 {
            put(page, format_args!("<span class=\"tag {class}\">{count} {name}</span> "));
        }
    }
    put(page, format_args!("</p><div class=\"two\"><dl>"));
    for (name, value) in [
        ("Meter", about.meter.clone()),
        ("Hardware", about.hardware.clone()),
        ("Firmware", about.firmware_version.clone()),
        ("Its digest", about.firmware_sha384.clone()),
        ("Target", about.target.clone()),
    ] {
        put(page, format_args!("<dt>{name}</dt><dd>{}</dd>", text(&value)));
    }
    put(page, format_args!("</dl><div>"));
    for sentence in words::reservations(results) {
        put(page, format_args!("<p class=\"soft\" style=\"margin:0 0 6px\">{}</p>", text(&sentence)));
    }
    if let Some(run) = run {
        let ended = run.ended_ms / 1000;
        let took: u64 = run.records.iter().map(|(_, record)| record.took_ms).sum();
        put(
            page,
            format_args!(
                "<p class=\"soft\">Ended {} UTC; {:.0} s of work; seed {}.</p>",
                instant(ended),
                took as f64 / 1000.0,
                results.seed
            ),
        );
    }
    put(page, format_args!("</div></div>"));
}

/// What the mission demands, each with what its parts came to.
fn wholes(page: &mut String, results: &Results, catalogue: Option<&Catalogue>) {
    put(page, format_args!("<h2>What was demanded</h2><table>"));
    for (id, outcome) in &results.summary.wholes {
        let sentence =
            catalogue.and_then(|catalogue| words::requirement(catalogue, id)).map(|one| one.text.as_str());
        let why = match outcome {
            Outcome::NotTested(parts) => format!("<div class=\"soft\">not tested: {}</div>", text(parts)),
            Outcome::CouldNot(parts) => {
                format!("<div class=\"soft\">could not be carried out: {}</div>", text(parts))
            }
            _ => String::new(),
        };
        put(
            page,
            format_args!(
                "<tr><td><b>{}</b></td><td>{}{why}</td><td class=\"n\">{}</td></tr>",
                text(id),
                text(sentence.unwrap_or_default()),
                tag(outcome)
            ),
        );
    }
    put(page, format_args!("</table>"));
}

/// Failed requirements with the sequence of what was done.
fn failed(page: &mut String, results: &Results, catalogue: Option<&Catalogue>) {
    let mut bad = results
        .findings
        .iter()
        .filter(|finding| matches!(finding.outcome, Outcome::Failed | Outcome::CouldNot(_)))
        .peekable();
    if bad.peek().is_none() {
        return;
    }
    put(page, format_args!("<h2>What failed, and how it came about</h2>"));
    for finding in bad {
        one(page, finding, catalogue, true);
    }
}

fn all(page: &mut String, results: &Results, catalogue: Option<&Catalogue>) {
    put(page, format_args!("<h2>Every requirement</h2>"));
    for finding in &results.findings {
        one(page, finding, catalogue, false);
    }
}

fn one(page: &mut String, finding: &Finding, catalogue: Option<&Catalogue>, open: bool) {
    let requirement = catalogue.and_then(|catalogue| words::requirement(catalogue, &finding.id));
    let sentence = requirement.map_or("", |one| one.text.as_str());
    put(
        page,
        format_args!(
            "<details{}><summary><b>{}</b><span class=\"text\">{}</span>{}</summary>",
            if open { " open" } else { "" },
            text(&finding.id),
            text(sentence),
            tag_words(words::class(&finding.outcome), &finding.words())
        ),
    );
    if let Some(inspection) = &finding.inspected {
        put(
            page,
            format_args!(
                "<p>Not tested by the bench: {}, by {} on {}: {}</p>",
                finding.outcome.words(),
                text(&inspection.who),
                text(&inspection.when),
                text(&inspection.words)
            ),
        );
        for file in &inspection.attachments {
            put(
                page,
                format_args!(
                    "<p class=\"soft\">attachments/{}, SHA-384 {}</p>",
                    text(&file.name),
                    text(&file.sha384)
                ),
            );
        }
    }
    if let Some(why) = finding.outcome.why() {
        put(page, format_args!("<p>{}: {}</p>", finding.outcome.words(), text(why)));
    }
    if let Some(requirement) = requirement {
        let unverified =
            if requirement.unverified { " (not verified against the standard's text)" } else { "" };
        put(
            page,
            format_args!(
                "<p class=\"soft\">Limit: {}. Source: {}{unverified}. {}</p>",
                text(requirement.limit.as_deref().unwrap_or("none")),
                text(&requirement.source),
                text(requirement.how.as_deref().unwrap_or_default())
            ),
        );
    }
    if !finding.measured.is_empty() {
        put(
            page,
            format_args!(
                "<table><tr><th>Measured</th><th style=\"text-align:right\">Value (k = 2)</th><th style=\"text-align:right\">Allowed</th><th style=\"text-align:right\">s of runs</th><th>Verdict</th></tr>"
            ),
        );
        for value in &finding.measured {
            let class = if value.verdict == Verdict::Accepted { "" } else { " class=\"failed\"" };
            let scatter = value
                .deviation
                .map_or(String::new(), |s| format!("{} of {}", words::number(s, s), value.runs));
            put(
                page,
                format_args!(
                    "<tr{class}><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{scatter}</td><td>{}</td></tr>",
                    text(&value.what),
                    text(&words::value(value)),
                    text(&words::limit(value.limit, &value.unit)),
                    words::judged(value.verdict)
                ),
            );
        }
        put(page, format_args!("</table>"));
    }
    if !finding.steps.is_empty() {
        put(
            page,
            format_args!(
                "<p class=\"soft\">What was done (seconds by the bench's clock; seed {})</p><ol>",
                finding.seed
            ),
        );
        for step in &finding.steps {
            put(page, format_args!("<li>{:.3} s: {}</li>", step.seconds, text(&step.what)));
        }
        put(page, format_args!("</ol>"));
    }
    put(page, format_args!("</details>"));
}

fn plots(page: &mut String, results: &Results) {
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
            put(page, format_args!("<h2>{title}</h2>"));
            plot(page, title, x, ticks, &lines);
        }
    }
}

const LEFT: f64 = 70.0;
const RIGHT: f64 = 880.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 330.0;

fn plot(page: &mut String, title: &str, x_name: &str, ticks: &[(f64, String)], lines: &[Line]) {
    let Scales { low, high, most, step } = words::scales(lines);
    let x = |value: f64| LEFT + (value - low) / (high - low) * (RIGHT - LEFT);
    let y = |value: f64| (TOP + BOTTOM) / 2.0 - value / most * (BOTTOM - TOP) / 2.0;
    put(page, format_args!("<svg viewBox=\"0 0 900 380\" role=\"img\" aria-label=\"{title}\">"));
    for (value, name) in ticks.iter().filter(|(value, _)| (low - 1e-6..=high + 1e-6).contains(value)) {
        let x = x(*value);
        put(
            page,
            format_args!(
                "<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/><text x=\"{x:.1}\" y=\"350\" text-anchor=\"middle\">{name}</text>"
            ),
        );
    }
    let count = (most / step).round() as i32;
    for tick in -count..=count {
        let value = f64::from(tick) * step;
        let class = if tick == 0 { "axis" } else { "grid" };
        put(
            page,
            format_args!(
                "<path class=\"{class}\" d=\"M{LEFT} {0:.1}H{RIGHT}\"/><text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">{3}</text>",
                y(value),
                LEFT - 8.0,
                y(value) + 4.5,
                words::number(value, step)
            ),
        );
    }
    for limit in [-0.2, 0.2].into_iter().filter(|limit: &f64| limit.abs() <= most) {
        put(page, format_args!("<path class=\"limit\" d=\"M{LEFT} {:.1}H{RIGHT}\"/>", y(limit)));
    }
    let mut left = LEFT;
    for (number, line) in lines.iter().enumerate() {
        let mut path = String::new();
        for (at, point) in line.points.iter().enumerate() {
            put(
                &mut path,
                format_args!("{}{:.1} {:.1}", if at == 0 { 'M' } else { 'L' }, x(point[0]), y(point[1])),
            );
        }
        let class = number % 6;
        put(page, format_args!("<path class=\"line s{class}\" d=\"{path}\"/>"));
        for point in &line.points {
            let (x, up, down) = (x(point[0]), y(point[1] + point[2]), y(point[1] - point[2]));
            put(
                page,
                format_args!(
                    "<path class=\"line s{class}\" style=\"stroke-width:1\" d=\"M{x:.1} {up:.1}V{down:.1}\"/><circle class=\"s{class}\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                    y(point[1])
                ),
            );
        }
        put(
            page,
            format_args!(
                "<rect class=\"s{class}\" x=\"{left:.0}\" y=\"14\" width=\"11\" height=\"11\"/><text x=\"{:.0}\" y=\"24\">{}</text>",
                left + 16.0,
                text(&line.name)
            ),
        );
        left += 30.0 + 7.0 * line.name.chars().count() as f64;
    }
    let beyond = if most < 0.2 { " (the limit of ±0.2 % is beyond the drawing)" } else { "" };
    put(
        page,
        format_args!(
            "<text x=\"{LEFT}\" y=\"372\">{x_name}; error in %, bars: uncertainty (k = 2){beyond}</text></svg>"
        ),
    );
}

fn method(page: &mut String, results: &Results) {
    put(
        page,
        format_args!(
            "<h2>How it was judged</h2><p>{}</p><p>Instruments and their calibration:</p><ul>",
            text(&results.decision_rule)
        ),
    );
    for instrument in &results.instruments {
        put(page, format_args!("<li>{}</li>", text(instrument)));
    }
    put(
        page,
        format_args!(
            "</ul><dl><dt>Results (SHA-384)</dt><dd>{}</dd><dt>Catalogue (SHA-384)</dt><dd>{}</dd></dl>\
             <p class=\"soft\">results.cbor holds what repeats with the same seed; run.cbor is signed and holds times and the transcripts' digests.</p>",
            crate::certify::engine::hex(&results.digest()),
            text(&results.catalogue_sha384)
        ),
    );
}

fn tag(outcome: &Outcome) -> String {
    tag_words(words::class(outcome), outcome.words())
}

fn tag_words(class: &str, words: &str) -> String {
    format!("<span class=\"tag {class}\">{}</span>", text(words))
}

/// Escaped.
fn text(raw: &str) -> String {
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A Unix time as a date and time (proleptic Gregorian calendar).
pub(super) fn instant(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, in eras of 400 years (H. Hinnant's civil_from_days).
    let days = days as i64 + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let in_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let date = in_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, year) } else { (month - 9, year + 1) };
    format!(
        "{:04}-{month:02}-{date:02} {:02}:{:02}:{:02}",
        year + era * 400,
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Writing into a `String` cannot fail.
fn put(page: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = page.write_fmt(what);
}
