//! `meterseal tamper`: what a meter detects, how fast, and what it takes for tampering in a normal life.

use crate::progress::Progress;
use anyhow::Context;
use meterseal_bench::tamper::{self, CASES, Detected, Fault, Lived};
use meterseal_world::site::SiteKind;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::atomic::AtomicBool;

/// Let every stimulus of the tamper catalogue happen to a virtual meter, and a normal life
///
/// Each stimulus happens again and again, each time with another strength above its threshold, direction, phase, duration
/// and load; the time is from the stimulus to its entry in flash, in site time. Then meters live at three places, with
/// loads that start, welding, dips and rises within EN 50160, switching surges, knocks, chattering contacts, stray fields
/// and −40 to +85 °C, and must log nothing. Exit code 0: all detected in time and no false alarm; 1: not so; 2: it could
/// not be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each stimulus happens.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    repeats: u32,
    /// Hours of normal life in all, every frame of them, shared by the three places.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    hours: u32,
    /// Which strengths, phases and lives.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Give the detector a fault, to see that the test finds it.
    #[arg(long, value_enum)]
    fault: Option<FaultKind>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FaultKind {
    /// Thresholds so low that a normal life crosses them.
    TooSharp,
    /// Thresholds so high that nothing crosses them.
    Deaf,
}

/// Runs, and says whether all was detected in time and nothing else was.
pub(crate) fn run(arguments: &Args, out: &mut dyn Write) -> anyhow::Result<bool> {
    let fault = arguments.fault.map(|fault| match fault {
        FaultKind::TooSharp => Fault::TooSharp,
        FaultKind::Deaf => Fault::Deaf,
    });
    let progress = Progress::new("stimuli", CASES.len() as f64);
    let mut all = Vec::with_capacity(CASES.len());
    for case in CASES {
        all.push(tamper::detect(case, arguments.repeats, arguments.seed, fault)?);
        progress.show(all.len() as f64);
    }
    progress.end();
    let mut text = detections(&all);
    let mut passes = all.iter().all(Detected::passes);

    let progress = Progress::new("hours", f64::from(arguments.hours));
    let stop = AtomicBool::new(false);
    let mut before = 0;
    for (k, kind) in PLACES.into_iter().enumerate() {
        let hours = (arguments.hours + k as u32) / PLACES.len() as u32;
        if hours == 0 {
            continue;
        }
        let show = |hours: f64| progress.show(f64::from(before) + hours);
        let lived = tamper::live(kind, hours, arguments.seed + k as u64, fault, &show, &stop)?;
        before += hours;
        passes &= lived.alarms.is_empty();
        text += &life(kind, &lived);
    }
    progress.end();
    text += if passes { "\nevery stimulus detected, nothing else\n" } else { "\nNOT PASSED\n" };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the result")?;
    Ok(passes)
}

const PLACES: [SiteKind; 3] = [SiteKind::Factory, SiteKind::HomeSolar, SiteKind::Commercial];

fn detections(all: &[Detected]) -> String {
    let mut text = format!(
        "{:<28} {:>7} {:>6} {:>8} {:>8} {:>8}   {}\n",
        "stimulus", "repeats", "missed", "p50 ms", "max ms", "limit", "ranges"
    );
    for found in all {
        let ms = |part| found.quantile(part).map_or("–".to_owned(), |ms| format!("{ms:.1}"));
        let limit = found.case.limit_ms.map_or("–".to_owned(), |limit| format!("{limit:.0}"));
        let verdict = if found.passes() { "" } else { "   NOT PASSED" };
        let _ = writeln!(
            text,
            "{:<28} {:>7} {:>6} {:>8} {:>8} {:>8}   {}{verdict}",
            found.case.name,
            found.repeats,
            found.missed,
            ms(0.5),
            ms(1.0),
            limit,
            found.case.ranges
        );
    }
    text + "\n"
}

fn life(kind: SiteKind, lived: &Lived) -> String {
    let mut text = format!(
        "normal life, {kind:?}: {:.1} h, {:.3e} frames, {} disturbances, {} false alarms\n",
        lived.hours,
        lived.frames as f64,
        lived.disturbances,
        lived.alarms.len()
    );
    for (time, code, extreme) in lived.alarms.iter().take(8) {
        let _ = writeln!(text, "  at {:.1} s: {code} ({extreme})", time.0 as f64 / 1000.0);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Args,
    }

    #[test]
    fn a_sound_detector_passes_and_a_deaf_one_does_not() {
        for (fault, passes) in [(None, true), (Some("deaf"), false)] {
            let mut line = vec!["tamper", "--repeats", "1", "--hours", "0"];
            line.extend(fault.map(|_| "--fault").into_iter().chain(fault));
            let Line { arguments } = clap::Parser::try_parse_from(line).unwrap();
            let mut out = Vec::new();
            assert_eq!(run(&arguments, &mut out).unwrap(), passes);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.contains("NOT PASSED"), !passes, "{text}");
        }
    }
}
