//! `cargo xtask bench …`: the measurements behind docs/figures.md. Release builds, medians, and the machine's name.

mod alarms;
mod campaign;
mod firmware;
mod link;
mod log;
mod throughput;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::run::{execute, program, root};
use crate::test::build_program;
use crate::{tools, web};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Frames per second and core, and instructions per frame: by kernel, rate and extras, beside another crate
    Metrology,
    /// `measure` on a recording, whole process
    Measure {
        /// The recording; by default the one beside the repository, where it is
        recording: Option<PathBuf>,
    },
    /// The link: requests, profiles, handshakes, and a fleet of thousands of meters
    Link(link::Arguments),
    /// Alarms: from a stimulus to the commit and to the page, at a rate and in a storm
    Alarms(alarms::Arguments),
    /// Firmware: judging and booting an image of 1 MiB, differences between two builds
    Firmware,
    /// A fleet updated by a firmware campaign, from the order to the last attestation
    Campaign(campaign::Arguments),
    /// The sealed log: instructions of leaves, appends, proofs and checkpoints
    Log,
    /// `up`: time to the first reading, button to alarm, memory and processor time
    Chain {
        /// How many times a button is pressed
        #[arg(long, default_value_t = 100)]
        presses: u32,
        /// How long memory and processor time are watched, seconds
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!("machine: {}", machine());
    match &arguments.what {
        What::Metrology => throughput::run(),
        What::Measure { recording } => measure(recording.clone()),
        What::Alarms(arguments) => alarms::run(arguments),
        What::Campaign(arguments) => campaign::run(arguments),
        What::Link(arguments) => link::run(arguments),
        What::Firmware => firmware::run(),
        What::Log => log::run(),
        What::Chain { presses, seconds } => chain(*presses, *seconds),
    }
}

fn measure(recording: Option<PathBuf>) -> Result<()> {
    const RUNS: usize = 11;
    let recording = recording.unwrap_or_else(|| root().join("../shared/data/waveforms/keating_1999.CFG"));
    if !recording.exists() {
        bail!(
            "{} is not there: name a COMTRADE recording, `cargo xtask bench measure FILE`",
            recording.display()
        );
    }
    let binary = build_program("release")?;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        let status = Command::new(&binary).arg("measure").arg(&recording).stdout(Stdio::null()).status()?;
        if !status.success() {
            bail!("`meterseal measure {}` failed ({status})", recording.display());
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "| `measure`, whole process, {RUNS} runs | median {:.1} ms, max {:.1} ms |",
        quantile(&mut times, 0.5),
        quantile(&mut times, 1.0)
    );
    Ok(())
}

fn chain(presses: u32, seconds: u64) -> Result<()> {
    let binary = build_program("release")?;
    let data = std::env::temp_dir().join(format!("meterseal-bench-{}", std::process::id()));

    let start = Instant::now();
    let mut up = Up::start(&binary, &data)?;
    let first_run = up.first_reading(start)?;
    up.stop()?;
    let start = Instant::now();
    let mut up = Up::start(&binary, &data)?;
    let second_run = up.first_reading(start)?;
    println!("| first reading after `up`, new data folder | {:.2} s |", first_run.as_secs_f64());
    println!("| first reading after `up`, existing data folder | {:.2} s |", second_run.as_secs_f64());

    std::thread::sleep(Duration::from_secs(5));
    let before = up.processor_seconds()?;
    std::thread::sleep(Duration::from_secs(seconds));
    let share = (up.processor_seconds()? - before) / seconds as f64;
    println!("| processor time over {seconds} s, three meters | {:.1} % of one core |", share * 100.0);
    println!("| memory, peak resident | {:.0} MiB |", up.peak_memory_mib()?);
    up.stop()?;
    std::fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;

    tools::node()?;
    let chromium = tools::chromium()?;
    let folder = root().join("web/e2e");
    web::run_npm(&folder, &["ci"])?;
    execute(
        program("node")
            .current_dir(&folder)
            .arg("latency.mjs")
            .env("PRESSES", presses.to_string())
            .env("CHROMIUM", chromium)
            .env("METERSEAL_BIN", binary),
    )
}

/// A running `meterseal up`, ended when dropped.
struct Up {
    child: Child,
    /// Kept open: a program that cannot print has something to complain about.
    _stdout: std::io::Lines<BufReader<std::process::ChildStdout>>,
    address: String,
    path: String,
}

impl Up {
    fn start(binary: &Path, data: &Path) -> Result<Self> {
        let mut child = Command::new(binary)
            .args(["up", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start meterseal")?;
        let stdout = child.stdout.take().context("meterseal has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next() {
            let line = line?;
            if let Some(at) = line.find("http://") {
                let link = line[at + 7..].split_whitespace().next().unwrap_or_default();
                let (address, path) = link.split_once('/').context("the page link has no path")?;
                let (address, path) = (address.to_owned(), format!("/{path}"));
                return Ok(Self { child, _stdout: lines, address, path });
            }
        }
        bail!("`meterseal up` ended without printing a page link")
    }

    /// Opens the one-time link as a browser does and asks until a meter shows a reading.
    fn first_reading(&self, start: Instant) -> Result<Duration> {
        let answer = self.request(&self.path, "")?;
        let cookie = answer
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "))
            .and_then(|cookie| cookie.split(';').next())
            .context("the one-time link set no cookie")?
            .to_owned();
        while start.elapsed() < Duration::from_secs(30) {
            let answer = self.request("/api/v1/meters", &cookie)?;
            if answer.contains("\"frequency_hz\":") {
                return Ok(start.elapsed());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("no reading on the page after 30 s")
    }

    fn request(&self, path: &str, cookie: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n",
            self.address
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// User and system time so far (proc(5): fields 14 and 15 of stat, in ticks of 1/100 s on Linux).
    fn processor_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
        Ok((ticks(11).context("no user time")? + ticks(12).context("no system time")?) / 100.0)
    }

    fn peak_memory_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no VmHWM value")?.parse()?;
        Ok(kib / 1024.0)
    }

    fn stop(&mut self) -> Result<()> {
        execute(program("kill").args(["-INT", &self.child.id().to_string()]))?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("`meterseal up` did not stop cleanly ({status})");
        }
        Ok(())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Already ended after `stop`; then both calls have nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{model}, {cores} cores, {}", std::env::consts::OS)
}
