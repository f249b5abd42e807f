//! `meterseal soak`: one calibrated virtual unit for a thousand hours of site time, every frame of it.

use crate::calibrate::SensorKind;
use crate::progress::Progress;
use anyhow::Context;
use meterseal_bench::soak::{self, DRIFT_LIMIT_PERCENT, Fault, HOUR_LIMIT_PERCENT, Outcome, Settings};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// Run a calibrated virtual unit for a thousand hours through climate cycles and a load that varies as a site's.
///
/// Each hour of the registers is compared with the reference. The run is kept in a file after every hour: started again with the same settings, it goes
/// on where it was. Exit code 0: stable; 1: an hour's error, the drift or a register is beyond its limit; 2: it could not be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Hours of site time.
    #[arg(long, default_value_t = 1000)]
    hours: u32,
    /// Which unit, and which load.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How its currents are sensed.
    #[arg(long, value_enum, default_value_t)]
    sensor: SensorKind,
    /// How fast site time goes.
    #[arg(long, value_enum, default_value_t)]
    speed: Speed,
    /// The file that keeps the run.
    #[arg(long, value_name = "FILE", default_value = "meterseal-soak.json")]
    checkpoint: PathBuf,
    /// Begin again, whatever the file holds.
    #[arg(long)]
    fresh: bool,
    /// Lowest temperature of the climate cycles, °C.
    #[arg(long, value_name = "CELSIUS", default_value_t = -40.0, allow_negative_numbers = true)]
    lowest: f64,
    /// Highest temperature, °C.
    #[arg(long, value_name = "CELSIUS", default_value_t = 85.0, allow_negative_numbers = true)]
    highest: f64,
    /// Run only so many seconds of each hour (10 to 3600) and let the rest pass without frames: a quick look, no stability test.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    seconds_per_hour: u32,
    /// Give the unit a fault, to see that the test finds it.
    #[arg(long, value_enum)]
    fault: Option<FaultKind>,
    /// Print JSON, every hour of it, in place of the summary.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Speed {
    /// As fast as the processors can.
    #[default]
    Max,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FaultKind {
    /// Parts that age ten times as fast.
    Ageing,
    /// A reference that drifts by 60 ppm/K.
    Drift,
}

/// Runs, or goes on. Gives whether the unit is stable.
pub(crate) fn run(arguments: &Args, out: &mut dyn Write) -> anyhow::Result<bool> {
    let Speed::Max = arguments.speed;
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let settings = Settings {
        lowest_celsius: arguments.lowest,
        highest_celsius: arguments.highest,
        seconds_per_hour: arguments.seconds_per_hour,
        shifts: threads.min(256) as u32,
        sensor: arguments.sensor.into(),
        fault: arguments.fault.map(|fault| match fault {
            FaultKind::Ageing => Fault::Ageing,
            FaultKind::Drift => Fault::Drift,
        }),
        ..Settings::new(arguments.hours, arguments.seed)
    };
    let file = &arguments.checkpoint;
    if arguments.fresh && file.exists() {
        std::fs::remove_file(file)
            .with_context(|| format!("cannot remove {}; give another --checkpoint", file.display()))?;
    }
    let progress = Progress::new("hours", f64::from(settings.hours));
    let stop = AtomicBool::new(false);
    let outcome = soak::run(&settings, Some(file), &|done| progress.show(f64::from(done)), &stop)?;
    progress.end();
    let outcome = outcome.context("the soak stopped before its end; start it again to go on")?;
    let text = if arguments.json {
        serde_json::to_string_pretty(&serde_json::json!({
            "settings": settings,
            "passes": outcome.passes(),
            "hour_limit_percent": HOUR_LIMIT_PERCENT,
            "drift_limit_percent": DRIFT_LIMIT_PERCENT,
            "outcome": outcome,
        }))? + "\n"
    } else {
        summary(&settings, &outcome)
    };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the result")?;
    Ok(outcome.passes())
}

fn summary(settings: &Settings, outcome: &Outcome) -> String {
    let verdict = |holds: bool| if holds { "holds" } else { "EXCEEDED" };
    let (worst, drift) = (outcome.worst, outcome.drift_percent);
    let hot = outcome.hours.iter().map(|hour| hour.highest_celsius).fold(f64::NEG_INFINITY, f64::max);
    let mut text = format!(
        "{} hours, {} to {} °C ({hot:.1} °C at the hottest), {:.3e} frames, {} {}\n",
        outcome.hours.len(),
        settings.lowest_celsius,
        settings.highest_celsius,
        outcome.frames as f64,
        outcome.resumed,
        if outcome.resumed == 1 { "interruption" } else { "interruptions" },
    );
    if settings.seconds_per_hour < 3600 {
        text += &format!(
            "only {} seconds of each hour were run: not a stability test\n",
            settings.seconds_per_hour
        );
    }
    text += &format!(
        "worst hour   {:+.4} % (hour {})   limit ±{HOUR_LIMIT_PERCENT} %   {}\n",
        worst.error_percent,
        worst.number,
        verdict(worst.error_percent.abs() <= HOUR_LIMIT_PERCENT)
    );
    text += &format!(
        "drift        {drift:+.4} %             limit ±{DRIFT_LIMIT_PERCENT} %   {}\n",
        verdict(drift.abs() <= DRIFT_LIMIT_PERCENT)
    );
    text += &format!("all energy   {:+.4} %\n", outcome.total_error_percent);
    let registers =
        if outcome.registers_kept { "none went back, they hold the sum of all hours" } else { "LOST" };
    text + &format!(
        "registers    {registers}\n\n{}\n",
        if outcome.passes() { "stable" } else { "NOT STABLE" }
    )
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
    fn a_sound_unit_is_stable_and_a_drifting_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        for (fault, stable) in [(None, true), (Some("drift"), false)] {
            let file = folder.path().join(fault.unwrap_or("sound"));
            let mut line =
                vec!["soak", "--hours", "24", "--seconds-per-hour", "10", "--lowest", "-40", "--checkpoint"];
            line.push(file.to_str().unwrap());
            if let Some(fault) = fault {
                line.extend(["--fault", fault]);
            }
            let Line { arguments } = clap::Parser::try_parse_from(line).unwrap();
            let mut out = Vec::new();
            assert_eq!(run(&arguments, &mut out).unwrap(), stable);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.contains("NOT STABLE"), !stable, "{text}");
        }
    }
}
