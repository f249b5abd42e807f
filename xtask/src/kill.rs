//! `cargo xtask kill`: a head-end that is killed (`kill -9`) again and again at random moments, while a fleet's events and
//! intervals come in. Afterwards every meter's log and profile must be there without a hole and without a double, and
//! every event must have happened to its alarm once (issue 5, Numbers).

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::part::{Page, Part, own_copy, stored};
use crate::run::{execute, program};
use crate::test::build_program;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often the head-end is killed
    #[arg(long, default_value_t = 1000)]
    times: u32,
    /// How many meters it has
    #[arg(long, default_value_t = 40)]
    meters: usize,
    /// Events a second of all meters together
    #[arg(long, default_value_t = 40.0)]
    events_per_second: f64,
    /// The longest life, milliseconds, from when it listens (one in ten: from its start); each is drawn from 0 up to it
    #[arg(long, default_value_t = 1500)]
    longest_life: u64,
    /// How fast the meters' time goes: at 10, their intervals of a minute end every 6 s
    #[arg(long, default_value_t = 10.0)]
    speed: f64,
    /// Seed of the moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Build profile of the program
    #[arg(long, default_value = "release")]
    profile: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binary = build_program(&arguments.profile)?;
    let folder = std::env::temp_dir().join(format!("meterseal-kill-{}", std::process::id()));
    let outcome =
        own_copy(&binary, &folder).and_then(|binary| killed(arguments, &binary, &folder.join("data")));
    if outcome.is_ok() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    } else {
        eprintln!("what it left behind: {}", folder.display());
    }
    outcome
}

/// A few times, with a few meters: what CI has time for.
pub(crate) fn briefly() -> Result<()> {
    run(&Arguments {
        times: 25,
        meters: 10,
        events_per_second: 20.0,
        longest_life: 1500,
        // An interval each second: some end while the head-end is dead, starts, or stores the one before.
        speed: 60.0,
        seed: 1,
        profile: "dev".to_owned(),
    })
}

fn killed(arguments: &Arguments, binary: &Path, folder: &Path) -> Result<()> {
    let meters = arguments.meters;
    execute(
        program(&binary.to_string_lossy())
            .args(["fleet", "--enrol", "--meters", &meters.to_string(), "--data"])
            .arg(folder)
            .stdout(Stdio::null()),
    )?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let gateway = format!("127.0.0.1:{port}");
    let head: [&str; 9] =
        ["--serve", "--gateway", &gateway, "--listen", "127.0.0.1:0", "--live", "5", "--gaps", "2"];
    let rate = arguments.events_per_second.to_string();
    let speed = arguments.speed.to_string();
    let living: [&str; 8] =
        ["--headend", &gateway, "--profile-period", "60", "--step", "1", "--longest-pause", "1"];
    let busy = [&living[..], &["--events-per-second", &rate, "--speed", &speed]].concat();

    let fleet = Part::start(binary, folder, meters, &busy)?;
    let mut random = Random(arguments.seed);
    let begin = Instant::now();
    let mut seen = (0, 0);
    for time in 1..=arguments.times {
        let part = Part::start(binary, folder, meters, &head)?;
        // One in ten dies while it starts; the others once they listen, however slow the machine is.
        if random.below(10) > 0 {
            part.wait(Duration::from_secs(60), |line| line.starts_with("gateway"))?;
        }
        std::thread::sleep(Duration::from_millis(random.below(arguments.longest_life.max(1))));
        let said: Vec<_> = part.said().filter_map(|line| stored(&line)).collect();
        part.kill()?;
        for (_, rows, events) in said {
            ensure!(
                rows >= seen.0 && events >= seen.1,
                "after {time} kills the head-end had {rows} rows and {events} events, and {seen:?} before"
            );
            seen = (rows, events);
        }
        if time % 100 == 0 {
            println!(
                "killed {time} times in {:.0} s: {} rows, {} events",
                begin.elapsed().as_secs_f64(),
                seen.0,
                seen.1
            );
        }
    }
    // Nothing more happens, and intervals end once a minute; what is in the meters must get here.
    fleet.stop()?;
    let part = Part::start(binary, folder, meters, &head)?;
    let link = part.wait(Duration::from_secs(60), |line| line.starts_with("page"))?;
    let fleet = Part::start(binary, folder, meters, &living)?;
    let (rows, events) = settle(&part, meters)?;
    let page = Page::open(&link)?;
    let counted = count(&page)?;
    fleet.stop()?;
    part.stop()?;
    ensure!(
        counted.rows > (HISTORY + 1) * meters,
        "hardly any interval ended in this time: take more kills, or a higher --speed"
    );
    sealed(binary, folder, meters)?;
    println!(
        "| `kill -9` of the head-end, {} times, {meters} meters, {rate} events/s, lives of up to {} ms | nothing lost or doubled | {} events, {} intervals of all meters without a hole and each once (its own count: {events}, {rows}); {} occurrences in alarms for {} events that raise one; {meters} sealed logs whole and verified; {:.0} min |",
        arguments.times,
        arguments.longest_life,
        counted.events,
        counted.rows,
        counted.occurrences,
        counted.raising,
        begin.elapsed().as_secs_f64() / 60.0
    );
    Ok(())
}

/// Each meter's sealed log, as the head-end holds it, is whole and signed by the meter.
fn sealed(binary: &Path, folder: &Path, meters: usize) -> Result<()> {
    let trust = folder.join("pki/manufacturer.cert.pem");
    for number in 0..meters {
        let meter = format!("MSL{:010}", FIRST_METER + number);
        let out = folder.join(format!("{meter}.log.cbor"));
        let binary = binary.to_string_lossy();
        execute(
            program(&binary)
                .args(["log", "export", "--meter", &meter, "--data"])
                .arg(folder)
                .arg("--out")
                .arg(&out)
                .stdout(Stdio::null()),
        )?;
        execute(
            program(&binary)
                .args(["verify", "log"])
                .arg(&out)
                .arg("--trust")
                .arg(&trust)
                .stdout(Stdio::null()),
        )?;
    }
    Ok(())
}

/// Waits until all are online and nothing new has come for a while.
fn settle(part: &Part, meters: usize) -> Result<(usize, usize)> {
    let (mut last, mut since) = (None, Instant::now());
    let line = part.wait(Duration::from_secs(300), |line| {
        let Some((online, rows, events)) = stored(line) else { return false };
        if last != Some((rows, events)) {
            (last, since) = (Some((rows, events)), Instant::now());
        }
        online == meters && since.elapsed() > QUIET
    })?;
    let (_, rows, events) = stored(&line).context("no numbers")?;
    Ok((rows, events))
}

struct Counted {
    events: usize,
    rows: usize,
    raising: u64,
    occurrences: u64,
}

/// Counts what the head-end has of each meter, and finds holes and doubles.
fn count(page: &Page) -> Result<Counted> {
    let mut events: HashMap<String, Vec<u64>> = HashMap::new();
    let mut raising = 0;
    let mut before = String::new();
    loop {
        let some = page.get(&format!("/api/v1/events?limit=500{before}"))?;
        let some = some.as_array().context("no list of events")?;
        let Some(last) = some.last() else { break };
        before = format!("&before={}", last["id"]);
        for event in some {
            events.entry(text(event, "meter")?).or_default().push(number(event, "sequence")?);
            raising += u64::from(event["alarm"] != "none");
        }
    }
    let mut counted = Counted { events: 0, rows: 0, raising, occurrences: 0 };
    for (meter, sequences) in &mut events {
        counted.events += sequences.len();
        whole(meter, "events", sequences)?;
        let rows = page.get(&format!("/api/v1/meters/{meter}/profile?limit=5000"))?;
        let rows = rows.as_array().context("no list of rows")?;
        let mut sequences = rows.iter().map(|row| number(row, "sequence")).collect::<Result<Vec<_>>>()?;
        counted.rows += sequences.len();
        whole(meter, "intervals", &mut sequences)?;
        let mut times = rows.iter().map(|row| text(row, "at")).collect::<Result<Vec<_>>>()?;
        let all = times.len();
        times.sort_unstable();
        times.dedup();
        ensure!(times.len() == all, "{meter}: two intervals end at one time");
    }
    let mut before = String::new();
    loop {
        let some = page.get(&format!("/api/v1/alarms?state=all&limit=500{before}"))?;
        let some = some.as_array().context("no list of alarms")?;
        let Some(last) = some.last() else { break };
        before = format!("&before={}", last["changed"]);
        for alarm in some.iter().filter(|alarm| alarm["cause"] != "meter_silent") {
            counted.occurrences += number(alarm, "occurrences")?;
        }
    }
    ensure!(
        counted.occurrences == counted.raising,
        "{} events raise alarms, and alarms have {} occurrences",
        counted.raising,
        counted.occurrences
    );
    Ok(counted)
}

/// Every number from 1 to the largest, each once.
fn whole(meter: &str, what: &str, sequences: &mut [u64]) -> Result<()> {
    sequences.sort_unstable();
    for (place, &sequence) in sequences.iter().enumerate() {
        if sequence != place as u64 + 1 {
            bail!(
                "{meter}: {what} number {} is missing or there twice (found {sequence} instead)",
                place + 1
            );
        }
    }
    Ok(())
}

fn text(value: &Value, name: &str) -> Result<String> {
    Ok(value[name].as_str().with_context(|| format!("no {name}"))?.to_owned())
}

fn number(value: &Value, name: &str) -> Result<u64> {
    value[name].as_u64().with_context(|| format!("no {name}"))
}

/// SplitMix64: the same moments for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }
}

/// Load-profile rows that a new meter has behind it, as `fleet` makes it.
const HISTORY: usize = 96;
/// The serial number of a fleet's first meter.
const FIRST_METER: usize = 1_000_000;
/// Longer than the pause between two looks at what each meter has.
const QUIET: Duration = Duration::from_secs(8);
