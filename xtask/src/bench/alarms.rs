//! `cargo xtask bench alarms`: from a stimulus to the commit at the head-end and to the page, with many meters connected
//! (issue 5, Numbers). Head-end and meters are two processes of the real program; this one is the page.
//!
//! The stimulus is the time at which the meter detects it, by its own clock, in whole milliseconds: a surge is detected at
//! once, a cover or a field after its debounce time, which is not in these figures. The commit is the head-end's own
//! `meterseal::commit` log line. All clocks are this machine's.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use crate::part::{Page, Part, load, own_copy, stored};
use crate::run::{execute, program};
use crate::test::build_program;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How many meters are connected
    #[arg(long, default_value_t = 1000)]
    meters: usize,
    /// Events a second over all of them
    #[arg(long, default_value_t = 50.0)]
    events_per_second: f64,
    /// How long each run measures, seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How many runs, of each of which a row is printed, and their medians
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let binary = build_program("release")?;
    let folder = std::env::temp_dir().join(format!("meterseal-bench-alarms-{}", std::process::id()));
    let outcome =
        own_copy(&binary, &folder).and_then(|binary| measure(arguments, &binary, &folder.join("data")));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    outcome
}

fn measure(arguments: &Arguments, binary: &Path, folder: &Path) -> Result<()> {
    let meters = arguments.meters;
    execute(
        program(&binary.to_string_lossy())
            .args(["fleet", "--enrol", "--meters", &meters.to_string(), "--data"])
            .arg(folder)
            .stdout(Stdio::null()),
    )?;
    let serve = ["--serve", "--gateway", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let mut head = Part::start_with(binary, folder, meters, &serve, Some("warn,meterseal::commit=debug"))?;
    let link = head.wait(LONG, |line| line.starts_with("page"))?;
    let gateway = head.wait(LONG, |line| line.starts_with("gateway"))?;
    let gateway = gateway.split_whitespace().nth(1).context("no gateway address")?.to_owned();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let page = Page::open(&link)?;
    follow(&page, &mut head, &seen)?;

    println!("load of the machine before: {}", load());
    let quiet = ["--headend", &gateway];
    let fleet = Part::start(binary, folder, meters, &quiet)?;
    head.wait(LONG, |line| {
        stored(line).is_some_and(|(online, rows, _)| online >= meters && rows >= meters * ROWS)
    })?;
    head.settle(LONG)?;
    println!(
        "| storm: a surge at each of {meters} meters at once | last committed | last on the page |\n|---|---|---|"
    );
    let mut storms = Vec::new();
    for run in 1..=arguments.runs {
        take(&seen).events.clear();
        fleet.signal("-USR2")?;
        let end = Instant::now() + LONG;
        while take(&seen).whole() < meters {
            ensure!(Instant::now() < end, "only {} of {meters} surges came to the page", take(&seen).whole());
            std::thread::sleep(Duration::from_millis(50));
        }
        let storm = take(&seen).storm();
        println!("| run {run} | {:.2} s | {:.2} s |", storm.0, storm.1);
        storms.push(storm);
        // Checkpoints and their leaves are read after it.
        head.settle(LONG)?;
    }
    println!(
        "| median (limit: 5 s) | {:.2} s | {:.2} s |",
        median(storms.iter().map(|storm| storm.0)),
        median(storms.iter().map(|storm| storm.1))
    );
    fleet.stop()?;
    // What it said before does not count: the meters are to come back.
    head.said().for_each(drop);
    head.wait(LONG, |line| stored(line).is_some_and(|(online, ..)| online == 0))?;

    let rate = arguments.events_per_second.to_string();
    let fleet = Part::start(binary, folder, meters, &["--headend", &gateway, "--events-per-second", &rate])?;
    head.wait(LONG, |line| stored(line).is_some_and(|(online, ..)| online >= meters))?;
    std::thread::sleep(ARRIVED);
    println!(
        "\n| {meters} meters, {rate} events/s, {} s each | events | committed p50 | p99 | max | on the page p50 | p99 | max |\n|---|---|---|---|---|---|---|---|",
        arguments.seconds
    );
    let mut runs = Vec::new();
    for run in 1..=arguments.runs {
        take(&seen).events.clear();
        let begin = now();
        std::thread::sleep(Duration::from_secs(arguments.seconds));
        let end = now();
        // The slowest count too: those that happened in this time and are still on their way.
        std::thread::sleep(SETTLE);
        let times = take(&seen).times(begin, end);
        ensure!(times.0.len() > 10, "hardly any event came to the page");
        let at = |of: &[f64], share: f64| of[((of.len() - 1) as f64 * share).ceil() as usize];
        let figures = [0.5, 0.99, 1.0].map(|share| (at(&times.0, share), at(&times.1, share)));
        println!(
            "| run {run} | {} | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms |",
            times.0.len(),
            figures[0].0,
            figures[1].0,
            figures[2].0,
            figures[0].1,
            figures[1].1,
            figures[2].1
        );
        runs.push(figures);
    }
    let of = |place: usize, page: bool| {
        median(runs.iter().map(|run| if page { run[place].1 } else { run[place].0 }))
    };
    println!(
        "| median (limits: 15, 100, –; –, 250, –) | | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms |",
        of(0, false),
        of(1, false),
        of(2, false),
        of(0, true),
        of(1, true),
        of(2, true)
    );
    println!("load of the machine after: {}", load());
    fleet.stop()?;
    head.stop()
}

/// When each event happened, was committed, and was on the page: milliseconds of the day.
#[derive(Default)]
struct Seen {
    events: HashMap<(String, u64), [Option<f64>; 3]>,
}

impl Seen {
    fn whole(&self) -> usize {
        self.events.values().filter(|times| times.iter().all(Option::is_some)).count()
    }

    /// Of those that happened between two times, sorted: to the commit, to the page.
    fn times(&self, begin: f64, end: f64) -> (Vec<f64>, Vec<f64>) {
        let whole = self.events.values().filter_map(|times| Some((times[0]?, times[1]?, times[2]?)));
        let whole = whole.filter(|(at, ..)| (begin..end).contains(at));
        let (mut committed, mut shown): (Vec<f64>, Vec<f64>) =
            whole.map(|(at, committed, shown)| (committed - at, shown - at)).unzip();
        committed.sort_by(f64::total_cmp);
        shown.sort_by(f64::total_cmp);
        (committed, shown)
    }

    /// From the first stimulus to the last commit and to the last on the page, seconds.
    fn storm(&self) -> (f64, f64) {
        let times = |place: usize| self.events.values().filter_map(move |times| times[place]);
        let begin = times(0).fold(f64::INFINITY, f64::min);
        let last = |place| (times(place).fold(0.0, f64::max) - begin) / 1e3;
        (last(1), last(2))
    }
}

fn follow(page: &Page, head: &mut Part, seen: &Arc<Mutex<Seen>>) -> Result<()> {
    let shown = Arc::clone(seen);
    page.stream(move |name, data| {
        let now = now();
        if name == "resync" {
            eprintln!("the page was too slow, and would fetch everything anew");
        }
        if name != "event" {
            return;
        }
        let Ok(event) = serde_json::from_str::<serde_json::Value>(data) else { return };
        let (Some(meter), Some(sequence), Some(at)) =
            (event["meter"].as_str(), event["sequence"].as_u64(), event["at"].as_str().and_then(day))
        else {
            return;
        };
        let mut seen = take(&shown);
        let times = seen.events.entry((meter.to_owned(), sequence)).or_default();
        (times[0], times[2]) = (Some(at), Some(now));
    })?;
    let committed = Arc::clone(seen);
    let log = head.log.take().context("the head-end's log is not followed")?;
    std::thread::spawn(move || {
        for line in log {
            let word = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
            let at = line.split_whitespace().next().and_then(day);
            let (Some(at), Some(meter), Some(first), Some(last)) =
                (at, word("meter="), word("first="), word("last="))
            else {
                eprintln!("head-end: {line}");
                continue;
            };
            let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>()) else { continue };
            let mut seen = take(&committed);
            for sequence in first..=last {
                seen.events.entry((meter.to_owned(), sequence)).or_default()[1] = Some(at);
            }
        }
    });
    Ok(())
}

/// Milliseconds of the day.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64() * 1e3) % DAY
}

fn take(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds of the day in RFC 3339.
fn day(text: &str) -> Option<f64> {
    let time = text.split_once('T')?.1.strip_suffix('Z')?;
    let mut parts = time.split(':');
    let mut next = || parts.next()?.parse::<f64>().ok();
    Some((next()? * 3600.0 + next()? * 60.0 + next()?) * 1e3)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

const DAY: f64 = 86_400_000.0;
/// Rows behind each new meter: a day of quarter-hours.
const ROWS: usize = 96;
const LONG: Duration = Duration::from_secs(300);
/// After the last of the meters has called, the head-end reads all logs and compares them.
const ARRIVED: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(3);
