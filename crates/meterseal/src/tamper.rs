//! `meterseal tamper`: what a meter detects, how fast, and what it takes for tampering in a normal life.

use crate::progress::Progress;
use anyhow::Context;
use meterseal_bench::tamper::{self, CASES, Detected, Fault, Lived, PLACES, Settings};
use meterseal_model::{EventCode, SensorReadings};
use meterseal_world::site::Happening;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// Let every stimulus of the tamper catalogue happen to a virtual meter, and a normal life
///
/// Each stimulus happens again and again, each time with another strength above its threshold, direction, phase, duration
/// and load; the time is from the stimulus to its entry in flash, in site time. Then meters live at three places, with
/// motors that start, welding, PV ramps, dips and rises within EN 50160, switching surges, knocks, chattering contacts,
/// stray fields and −40 to +85 °C, every frame of it, and must log nothing. All processors share the work, in watches of
/// eight hours with a meter each; results do not depend on how many there are. Exit code 0: all detected in time and no
/// false alarm; 1: not so; 2: it could not be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each stimulus happens.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    repeats: u32,
    /// Hours of normal life in all, shared by the three places: an hour is about 2 s of one processor.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    hours: u32,
    /// Which strengths, phases and lives.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the hours that are done in this file, eight at a time; started again with the same settings, the run goes on
    /// behind them.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
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

    if arguments.hours > 0 {
        let progress = Progress::new("hours", f64::from(arguments.hours));
        let settings = Settings { hours: arguments.hours, seed: arguments.seed, fault };
        let file = arguments.checkpoint.as_deref();
        let show = |hours: f64| progress.show(hours);
        let places = tamper::live(&settings, file, &show, &AtomicBool::new(false))?;
        progress.end();
        let places = places.context("the run stopped before its end; start it again to go on")?;
        passes &= places.iter().all(|lived| lived.alarms.is_empty());
        text += &life(&places);
    }
    text += if passes { "\nevery stimulus detected, nothing else\n" } else { "\nNOT PASSED\n" };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the result")?;
    Ok(passes)
}

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

fn life(places: &[Lived]) -> String {
    let mut all = Lived::default();
    places.iter().for_each(|lived| all.add(lived));
    let columns: Vec<_> = places.iter().chain([&all]).collect();
    let mut text = format!("{:<42}", "normal life");
    for name in PLACES.map(|kind| format!("{kind:?}")).iter().map(String::as_str).chain(["all"]) {
        let _ = write!(text, " {name:>11}");
    }
    text.push('\n');
    let mut row = |name: &str, of: &dyn Fn(&Lived) -> String| {
        let _ = write!(text, "{name:<42}");
        columns.iter().for_each(|lived| {
            let _ = write!(text, " {:>11}", of(lived));
        });
        text.push('\n');
    };
    row("hours", &|lived| format!("{:.1}", lived.hours()));
    row("frames", &|lived| format!("{:.3e}", lived.frames as f64));
    for (k, kind) in Happening::ALL.iter().enumerate() {
        row(kind.name(), &|lived| lived.happenings.get(k).copied().unwrap_or(0).to_string());
    }
    let celsius = |millikelvin: u32| format!("{:+.1}", f64::from(millikelvin) / 1000.0 - 273.15);
    let is_run = |lived: &Lived, text: String| if lived.watches > 0 { text } else { "–".to_owned() };
    row("lowest temperature, °C", &|lived| is_run(lived, celsius(lived.millikelvin[0])));
    row("highest temperature, °C", &|lived| is_run(lived, celsius(lived.millikelvin[1])));
    let hours = |readings: u64| {
        let seconds = readings as f64 * f64::from(SensorReadings::PERIOD_MS) / 1000.0;
        format!("{:.1}", seconds / 3600.0)
    };
    row("hours at −35 °C and below", &|lived| hours(lived.extreme_readings[0]));
    row("hours at +80 °C and above", &|lived| hours(lived.extreme_readings[1]));
    row("FALSE ALARMS", &|lived| lived.alarms.len().to_string());
    for alarm in all.alarms.iter().take(8) {
        let place = PLACES.get(alarm.place).map_or("?".to_owned(), |kind| format!("{kind:?}"));
        let code = alarm.code().map_or("?", EventCode::name);
        let seconds = alarm.unix_millis as f64 / 1000.0;
        let _ = writeln!(text, "  {place} at {seconds:.1} s: {code} ({})", alarm.extreme);
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
