//! What was found, for people and, as JSON, for programs.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use meterseal_model::UnixMillis;
use meterseal_seal::evidence::{Kind, Outcome, Quantity, Report};
use serde::Serialize;

pub(super) struct Shown {
    pub(super) kind: Kind,
    pub(super) report: Report,
    pub(super) period: Option<(UnixMillis, UnixMillis)>,
    pub(super) quantities: Vec<Quantity>,
}

/// Field names are part of the interface.
#[derive(Serialize)]
struct Json<'a> {
    file: String,
    kind: &'static str,
    holds: bool,
    meter: Option<String>,
    key_fingerprint: Option<&'a str>,
    from: Option<String>,
    to: Option<String>,
    findings: Vec<Finding<'a>>,
    quantities: Vec<Metered>,
}

#[derive(Serialize)]
struct Finding<'a> {
    outcome: &'static str,
    code: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct Metered {
    obis: String,
    name: &'static str,
    unit: String,
    opening: String,
    closing: String,
    metered: String,
}

impl Shown {
    pub(super) fn json(&self, path: &Path, out: &mut impl Write) -> Result<()> {
        let findings = self.report.findings.iter().map(|finding| Finding {
            outcome: match finding.outcome {
                Outcome::Proven => "proven",
                Outcome::NotProven => "not-proven",
                Outcome::Broken => "broken",
            },
            code: finding.code,
            text: &finding.text,
        });
        let quantities = self.quantities.iter().map(|quantity| Metered {
            obis: quantity.obis.to_string(),
            name: quantity.name,
            unit: format!("k{}", quantity.unit.symbol()),
            opening: kilo(quantity.opening),
            closing: kilo(quantity.closing),
            metered: kilo(quantity.metered()),
        });
        let json = Json {
            file: path.display().to_string(),
            kind: name(self.kind),
            holds: self.report.holds(),
            meter: self.report.meter.map(|meter| meter.to_string()),
            key_fingerprint: self.report.fingerprint.as_deref(),
            from: self.period.map(|(from, _)| from.to_string()),
            to: self.period.map(|(_, to)| to.to_string()),
            findings: findings.collect(),
            quantities: quantities.collect(),
        };
        serde_json::to_writer_pretty(&mut *out, &json)?;
        Ok(writeln!(out)?)
    }

    pub(super) fn words(&self, path: &Path, out: &mut impl Write) -> Result<()> {
        let verdict = if self.report.holds() { "HOLDS" } else { "DOES NOT HOLD" };
        let meter = self.report.meter.map_or_else(String::new, |meter| format!(" of meter {meter}"));
        writeln!(out, "{}: {}{meter}: {verdict}", path.display(), what(self.kind))?;
        if let Some(fingerprint) = &self.report.fingerprint {
            writeln!(out, "Key fingerprint: {fingerprint}")?;
        }
        for (outcome, title) in [
            (Outcome::Broken, "Does not hold"),
            (Outcome::Proven, "Proven"),
            (Outcome::NotProven, "Not proven"),
        ] {
            // What else is right in a file that was altered is of no use to anybody.
            if outcome == Outcome::Proven && !self.report.holds() {
                continue;
            }
            if self.report.of(outcome).next().is_some() {
                writeln!(out, "\n{title}:")?;
            }
            for finding in self.report.of(outcome) {
                writeln!(out, "  - {}", finding.text)?;
            }
        }
        if let Some((from, to)) = self.period {
            writeln!(out, "\nMetered from {from} to {to}:")?;
            for quantity in &self.quantities {
                writeln!(
                    out,
                    "  {:<17}{:<32}{:>15} k{:<4} ({} to {})",
                    quantity.obis,
                    quantity.name,
                    kilo(quantity.metered()),
                    quantity.unit.symbol(),
                    kilo(quantity.opening),
                    kilo(quantity.closing)
                )?;
            }
        }
        Ok(())
    }
}

/// Thousandths of a unit as thousands of it, to the last digit.
pub(super) fn kilo(thousandths: u64) -> String {
    format!("{}.{:06}", thousandths / 1_000_000, thousandths % 1_000_000)
}

/// In a sentence.
pub(super) const fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Statement => "statement for a bill",
        Kind::Export => "export of the log",
        Kind::Mark => "mark",
        Kind::Checkpoint => "checkpoint",
    }
}

/// For programs.
const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Statement => "statement",
        Kind::Export => "log",
        Kind::Mark => "mark",
        Kind::Checkpoint => "checkpoint",
    }
}
