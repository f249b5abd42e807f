//! `cargo xtask bench alarms`: from a stimulus to the commit at the head-end and to the page, with many meters connected
//! (issue 5, Numbers). Head-end and meters are two processes of the real program; this one is the page.
//!
//! The stimulus is when the meter's sensors first showed it: the fleet's `meterseal::stimulus` log line of the meter's uptime
//! that the event tells. (The event's own time comes over DLMS in hundredths of a second, which is too coarse here.) A surge is
//! an event at once; a cover or a field must last for its debounce time of 12 ms, which is in these figures, so each kind has a
//! row of its own. The commit is the head-end's `meterseal::commit` log line. All clocks are this machine's.

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
    let felt = Some("warn,meterseal::stimulus=debug");
    let mut fleet = Part::start_with(binary, folder, meters, &["--headend", &gateway], felt)?;
    feel(&mut fleet, &seen)?;
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
        while take(&seen).known().count() < meters {
            ensure!(
                Instant::now() < end,
                "only {} of {meters} surges came to the page",
                take(&seen).known().count()
            );
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
    // Uptimes begin anew.
    take(&seen).felt.clear();
    let often = ["--headend", &gateway, "--events-per-second", &rate];
    let mut fleet = Part::start_with(binary, folder, meters, &often, felt)?;
    feel(&mut fleet, &seen)?;
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
        let figures =
            take(&seen).figures(begin, end, |_| true).context("hardly any event came to the page")?;
        let lost = take(&seen).of_nothing();
        ensure!(lost == 0, "{lost} events have the uptime of no stimulus");
        println!("| run {run} | {figures} |");
        for (name, kind) in KINDS {
            if let Some(figures) = take(&seen).figures(begin, end, kind) {
                println!("| – {name} | {figures} |");
            }
        }
        runs.push(figures.shares);
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

/// Whether an event's name is one of a kind's.
type IsIt = fn(&str) -> bool;

/// What the fleet's own incidents are, by the events' short names.
const KINDS: [(&str, IsIt); 3] = [
    ("surge", |name| name == "voltage_spike"),
    ("cover", |name| name.contains("cover")),
    ("constant field", |name| name.starts_with("magnetic_field")),
];

/// An event: the meter's uptime when it happened, when it was committed and on the page, and what it is called.
#[derive(Default)]
struct Event {
    uptime: Option<u64>,
    committed: Option<f64>,
    shown: Option<f64>,
    name: String,
}

/// What was seen of meters: `felt` by their uptimes, `events` by their sequence numbers. Times are milliseconds of the day.
#[derive(Default)]
struct Seen {
    felt: HashMap<(String, u64), f64>,
    events: HashMap<(String, u64), Event>,
}

/// How long events took to the commit and to the page, milliseconds.
struct Figures {
    events: usize,
    /// Of [`SHARES`] of them.
    shares: [(f64, f64); 3],
}

/// Median, 99th percentile, all.
const SHARES: [f64; 3] = [0.5, 0.99, 1.0];

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.events)?;
        self.shares.iter().try_for_each(|(committed, _)| write!(f, " | {committed:.1} ms"))?;
        self.shares.iter().try_for_each(|(_, shown)| write!(f, " | {shown:.1} ms"))
    }
}

impl Seen {
    /// Events of which all is known: when it happened, was committed, and was on the page; and its name.
    fn known(&self) -> impl Iterator<Item = (f64, f64, f64, &str)> {
        self.events.iter().filter_map(|((meter, _), event)| {
            let at = self.felt.get(&(meter.clone(), event.uptime?))?;
            Some((*at, event.committed?, event.shown?, event.name.as_str()))
        })
    }

    /// How many events tell of a time when nothing was felt.
    fn of_nothing(&self) -> usize {
        let is_ours = |event: &Event| KINDS.iter().any(|(_, is_it)| is_it(&event.name));
        let is_lost = |meter: &str, event: &Event| {
            event.uptime.is_some_and(|uptime| !self.felt.contains_key(&(meter.to_owned(), uptime)))
        };
        self.events.iter().filter(|((meter, _), event)| is_ours(event) && is_lost(meter, event)).count()
    }

    /// Of those of a kind that happened between two times; `None` for hardly any.
    fn figures(&self, begin: f64, end: f64, is_it: impl Fn(&str) -> bool) -> Option<Figures> {
        let chosen = self.known().filter(|(at, _, _, name)| (begin..end).contains(at) && is_it(name));
        let (mut committed, mut shown): (Vec<f64>, Vec<f64>) =
            chosen.map(|(at, committed, shown, _)| (committed - at, shown - at)).unzip();
        committed.sort_by(f64::total_cmp);
        shown.sort_by(f64::total_cmp);
        let at = |of: &[f64], share: f64| of[((of.len() - 1) as f64 * share).ceil() as usize];
        let enough = committed.len() > 10;
        enough.then(|| Figures {
            events: committed.len(),
            shares: SHARES.map(|share| (at(&committed, share), at(&shown, share))),
        })
    }

    /// From the first stimulus to the last commit and to the last on the page, seconds.
    fn storm(&self) -> (f64, f64) {
        let begin = self.known().map(|(at, ..)| at).fold(f64::INFINITY, f64::min);
        let ends = self.known().fold((0.0, 0.0), |(committed, shown): (f64, f64), event| {
            (committed.max(event.1), shown.max(event.2))
        });
        ((ends.0 - begin) / 1e3, (ends.1 - begin) / 1e3)
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
        let (Some(meter), Some(sequence), Some(uptime)) =
            (event["meter"].as_str(), event["sequence"].as_u64(), event["uptime_ms"].as_u64())
        else {
            return;
        };
        let mut seen = take(&shown);
        let known = seen.events.entry((meter.to_owned(), sequence)).or_default();
        (known.uptime, known.shown) = (Some(uptime), Some(now));
        event["name"].as_str().unwrap_or_default().clone_into(&mut known.name);
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
                seen.events.entry((meter.to_owned(), sequence)).or_default().committed = Some(at);
            }
        }
    });
    Ok(())
}

/// Follows what the fleet's meters feel.
fn feel(fleet: &mut Part, seen: &Arc<Mutex<Seen>>) -> Result<()> {
    let seen = Arc::clone(seen);
    let log = fleet.log.take().context("the fleet's log is not followed")?;
    std::thread::spawn(move || {
        for line in log {
            let word = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
            let (Some(meter), Some(Ok(uptime)), Some(Ok(at))) =
                (word("meter="), word("uptime_ms=").map(str::parse), word("at_us=").map(str::parse::<f64>))
            else {
                eprintln!("fleet: {line}");
                continue;
            };
            // Within a millisecond the first is the one that something happened in.
            take(&seen).felt.entry((meter.to_owned(), uptime)).or_insert(at / 1e3 % DAY);
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
