//! `cargo xtask bench link`: the link's figures beside what issue 4 asks for.
//!
//! One connection's costs come from `crates/device/examples/link_speed`; a fleet's from two processes of the real
//! program, a head-end and its meters, so that the head-end's memory is its own.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::part::{Part, load, online};
use crate::run::{cargo, execute, output, program};
use crate::test::build_program;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How many meters of a fleet are connected, read, lost and back; 0 leaves the fleet out, else at least 30
    #[arg(long, default_value_t = 10_000)]
    meters: usize,
    /// How long one connection's costs are measured, seconds each
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    println!("machine: {}; load before: {}", machine(), load());
    println!("| what | reach | aim | measured |\n|---|---|---|---|");
    connection(arguments.seconds)?;
    if arguments.meters > 0 {
        fleet(arguments.meters)?;
    }
    println!("load of the machine after: {}", load());
    Ok(())
}

/// Tells on the other stream what is under way, so that the table stays a table.
fn step(what: &str) {
    eprintln!("bench link: {what}");
}

/// What one connection costs. Both its ends on one core first, as on a head-end at work; then on whatever cores there are,
/// where each message wakes a core that was idle, which on a virtual machine costs more than the message.
fn connection(seconds: f64) -> Result<()> {
    step("one connection: building, then measuring");
    let example = ["run", "--release", "-q", "-p", "meterseal-device", "--example", "link_speed", "--"];
    let apart = output(cargo().args(example).arg(seconds.to_string()))?;
    let mut on_one_core = program("taskset");
    on_one_core.args(["--cpu-list", "0", "cargo"]).args(example).arg(seconds.to_string());
    let said = output(&mut on_one_core)?;
    let figure = |said: &str, name: &str| -> Result<f64> {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|text| text.parse().ok()).with_context(|| format!("link_speed did not say {name}"))
    };
    let idle = |name| figure(&apart, name);
    let figure = |name| figure(&said, name);
    row(
        "closed-loop GET of a register, one connection, TLS + suite 2, both ends on one core",
        12_000.0,
        25_000.0,
        "/s",
        figure("gets_per_second")?,
    );
    row(
        "meter-side processor time per ciphered GET, TLS and sockets included",
        20.0,
        10.0,
        " µs",
        figure("meter_microseconds_per_get")?,
    );
    println!("| – the head-end's | – | – | {:.1} µs |", figure("headend_microseconds_per_get")?);
    println!(
        "| – on any cores, each waking the other | – | – | {:.0}/s; {:.1} µs and {:.1} µs |",
        idle("gets_per_second")?,
        idle("meter_microseconds_per_get")?,
        idle("headend_microseconds_per_get")?
    );
    row("encode + protect a 48 × 6 profile", 20.0, 12.0, " µs", figure("profile_protect_microseconds")?);
    row("open + decode it", 20.0, 12.0, " µs", figure("profile_open_microseconds")?);
    row(
        "full mutual P-384 handshakes per core, head-end side",
        700.0,
        900.0,
        "/s",
        figure("full_handshakes_per_second")?,
    );
    row("resumed", 1_600.0, 2_000.0, "/s", figure("resumed_handshakes_per_second")?);
    println!(
        "| – by secp384r1 in place of X25519MLKEM768, full and resumed | – | – | {:.0}/s and {:.0}/s |",
        figure("full_handshakes_secp384r1_per_second")?,
        figure("resumed_handshakes_secp384r1_per_second")?
    );
    Ok(())
}

/// A fleet: connected, read, lost and back, and what each idle meter costs the head-end.
fn fleet(meters: usize) -> Result<()> {
    step("building the program");
    let binary = build_program("release")?;
    let folder = std::env::temp_dir().join(format!("meterseal-bench-link-{}", std::process::id()));
    let outcome = fleet_in(&binary, &folder, meters);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    outcome
}

fn fleet_in(binary: &Path, folder: &Path, meters: usize) -> Result<()> {
    step(&format!("enrolling {meters} meters: about a minute"));
    let begin = Instant::now();
    execute(
        program(&binary.to_string_lossy())
            .args(["fleet", "--enrol", "--meters"])
            .arg(meters.to_string())
            .arg("--data")
            .arg(folder)
            .stdout(Stdio::null()),
    )?;
    println!(
        "| enrolling {meters} meters: keys and certificates | – | – | {:.0} s |",
        begin.elapsed().as_secs_f64()
    );

    let head = Part::start(
        binary,
        folder,
        meters,
        &[&IDLE[..], &["--serve", "--gateway", "127.0.0.1:0", "--listen", "127.0.0.1:0"]].concat(),
    )?;
    let gateway = head.wait(Duration::from_secs(60), |line| line.starts_with("gateway"))?;
    let gateway = gateway.split_whitespace().nth(1).context("no gateway address")?.to_owned();
    let empty = head.memory_kib()?;

    step("a third of them: opened, connected, read");
    // A third of them first: the slope from there is what a meter costs, whatever the program itself takes.
    let few = meters / 3;
    let first = Part::start(binary, folder, few, &[&IDLE[..], &["--headend", &gateway]].concat())?;
    head.wait(WAIT, |line| online(line).is_some_and(|(count, rows)| count >= few && rows >= few * ROWS))?;
    std::thread::sleep(SETTLE);
    let with_few = head.memory_kib()?;
    first.stop()?;

    step("all of them: opened, connected, read");
    let all = Part::start(binary, folder, meters, &[&IDLE[..], &["--headend", &gateway]].concat())?;
    let (mut begun, mut connected) = (None, None);
    let mut rows_before = few * ROWS;
    head.wait(WAIT, |line| {
        let Some((count, rows)) = online(line) else { return false };
        if count > 0 && begun.is_none() {
            (begun, rows_before) = (Some(Instant::now()), rows);
        }
        if count >= meters && connected.is_none() {
            connected = begun.map(|begun| begun.elapsed());
        }
        count >= meters && rows >= meters * ROWS
    })?;
    let read = begun.map(|begun| begun.elapsed()).context("nobody was online")?.as_secs_f64();
    let connected = connected.context("not all were online at once")?.as_secs_f64();
    let rows = (meters * ROWS - rows_before) as f64;
    println!(
        "| {meters} meters connected, associated and admitted, both sides on this machine | works | – | {connected:.0} s |"
    );
    println!(
        "| a day of 15-min profiles ({ROWS} rows) of those that were new, from the first call on | rate | – | {read:.0} s: {:.0} meters/s, {:.0} rows/s |",
        rows / ROWS as f64 / read,
        rows / read
    );
    std::thread::sleep(SETTLE);
    let with_all = head.memory_kib()?;
    row(
        "head-end memory per connected idle meter, all in (resident, slope)",
        32.0,
        16.0,
        " KiB",
        (with_all - with_few) / (meters - few) as f64,
    );
    println!(
        "| – without any meter, with {few}, with all | – | – | {:.0}, {:.0} and {:.0} MiB: {:.1} KiB each from none to all |",
        empty / 1024.0,
        with_few / 1024.0,
        with_all / 1024.0,
        (with_all - empty) / meters as f64
    );

    step("all lost at once");
    all.signal("-USR1")?;
    let begin = Instant::now();
    head.wait(WAIT, |line| online(line).is_some_and(|(count, _)| count < meters))?;
    head.wait(WAIT, |line| {
        online(line).is_some_and(|(count, rows)| count >= meters && rows >= meters * ROWS)
    })?;
    row(
        "all lost at once (every line cut): back, admitted, nothing lost",
        60.0,
        20.0,
        " s",
        begin.elapsed().as_secs_f64(),
    );

    step("the head-end stopped and started");
    // The harder way: the head-end itself goes, and with it every session that could be resumed.
    head.stop()?;
    let begin = Instant::now();
    let head = Part::start(
        binary,
        folder,
        meters,
        &[&IDLE[..], &["--serve", "--gateway", &gateway, "--listen", "127.0.0.1:0"]].concat(),
    )?;
    head.wait(WAIT, |line| {
        online(line).is_some_and(|(count, rows)| count >= meters && rows >= meters * ROWS)
    })?;
    println!(
        "| the head-end stopped and started anew: all back by full handshakes | – | – | {:.0} s |",
        begin.elapsed().as_secs_f64()
    );
    all.stop()?;
    head.stop()?;
    revocation(binary, folder, meters.min(UNDER_LOAD))
}

/// One of many meters that are read once a second each is revoked: how long until it is gone, and whether only it is.
fn revocation(binary: &Path, folder: &Path, meters: usize) -> Result<()> {
    step(&format!("one of {meters} revoked while all are read every second"));
    let every_second = ["--live", "1", "--gaps", "10", "--step", "60"];
    let serving = ["--serve", "--gateway", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let head = Part::start(binary, folder, meters, &[&every_second[..], &serving].concat())?;
    let gateway = head.wait(Duration::from_secs(60), |line| line.starts_with("gateway"))?;
    let gateway = gateway.split_whitespace().nth(1).context("no gateway address")?.to_owned();
    let fleet = Part::start(binary, folder, meters, &[&every_second[..], &["--headend", &gateway]].concat())?;
    head.wait(WAIT, |line| online(line).is_some_and(|(count, _)| count >= meters))?;
    std::thread::sleep(SETTLE);

    let certificate = folder.join("revoked.pem");
    std::fs::write(&certificate, certificate_of_first(folder)?)?;
    let begin = Instant::now();
    execute(
        program(&binary.to_string_lossy())
            .args(["pki", "revoke"])
            .arg(&certificate)
            .arg("--pki")
            .arg(folder.join("pki"))
            .stdout(Stdio::null()),
    )?;
    head.wait(Duration::from_secs(60), |line| online(line).is_some_and(|(count, _)| count < meters))?;
    row(
        &format!("one of {meters} standing connections under load revoked: cut"),
        60.0,
        5.0,
        " s",
        begin.elapsed().as_secs_f64(),
    );
    // It stays out, and nobody else has gone, for as long as it calls again and again.
    let until = Instant::now() + AFTERWARDS;
    while Instant::now() < until {
        head.wait(Duration::from_secs(30), |line| online(line).is_some()).and_then(|line| {
            match online(&line) {
                Some((count, _)) if count + 1 == meters => Ok(()),
                _ => bail!("after one revocation it says: {line}"),
            }
        })?;
    }
    println!("| – the others, {} s long | all stay | – | all stay |", AFTERWARDS.as_secs());
    fleet.stop()?;
    head.stop()
}

/// The certificates of the fleet's first meter, in PEM.
fn certificate_of_first(folder: &Path) -> Result<String> {
    let members = std::fs::read_to_string(folder.join("fleet/members.jsonl"))?;
    let first: serde_json::Value = serde_json::from_str(members.lines().next().context("no member")?)?;
    Ok(first["certificates"].as_str().context("no certificates")?.to_owned())
}

pub(super) fn row(what: &str, reach: f64, aim: f64, unit: &str, measured: f64) {
    let better_is_more = aim > reach;
    let verdict = match (measured >= reach) == better_is_more {
        false => ", missed",
        true if (measured >= aim) == better_is_more => ", aim reached",
        true => "",
    };
    let digits = usize::from(measured < 100.0);
    println!("| {what} | {reach}{unit} | {aim}{unit} | {measured:.digits$}{unit}{verdict} |");
}

fn machine() -> String {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{}, {cores} cores", model.map_or("unknown", |(_, name)| name))
}

/// Meters that are connected and of which little is asked.
const IDLE: [&str; 6] = ["--live", "600", "--gaps", "300", "--step", "60"];
/// Rows behind each new meter: a day of quarter-hours.
const ROWS: usize = 96;
/// Longer than any step of this should take.
const WAIT: Duration = Duration::from_secs(600);
/// Meters of which one is revoked under load.
const UNDER_LOAD: usize = 1000;
/// How long it is watched what becomes of the others.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// For what was allocated on the way to be given back.
const SETTLE: Duration = Duration::from_secs(5);
