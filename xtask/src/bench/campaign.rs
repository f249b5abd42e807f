//! `cargo xtask bench campaign`: a whole fleet updated by a campaign (issue 6, Numbers: 1 000 meters with 1 MiB in three
//! minutes). Head-end and meters are two processes of the real program; the campaign is made and followed by its commands.
//! Done is attested: the time includes each meter's restart and the 90 s that a new image must live before it is confirmed.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::part::{Part, load, own_copy, stored};
use crate::run::{execute, output, program};
use crate::test::build_program;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How many meters
    #[arg(long, default_value_t = 1000)]
    meters: usize,
    /// Bytes of the image, of which none can be deflated
    #[arg(long, default_value_t = 1 << 20)]
    bytes: usize,
    /// Meters in transfer at once
    #[arg(long, default_value_t = 100)]
    in_flight: u32,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let binary = build_program("release")?;
    let folder = std::env::temp_dir().join(format!("meterseal-bench-campaign-{}", std::process::id()));
    let outcome = own_copy(&binary, &folder).and_then(|binary| measure(arguments, &binary, &folder));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    outcome
}

fn measure(arguments: &Arguments, binary: &Path, folder: &Path) -> Result<()> {
    let (meters, data) = (arguments.meters, folder.join("data"));
    let command = || program(&binary.to_string_lossy());
    execute(
        command()
            .args(["fleet", "--enrol", "--meters", &meters.to_string(), "--data"])
            .arg(&data)
            .stdout(Stdio::null()),
    )?;
    let serve = ["--serve", "--gateway", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    // The first start makes the development signer.
    let head = Part::start(binary, &data, meters, &serve)?;
    head.wait(LONG, |line| line.starts_with("gateway"))?;
    head.stop()?;
    let image = folder.join("image.bin");
    std::fs::write(&image, noise(arguments.bytes)).context("cannot write the image")?;
    execute(
        command()
            .args(["firmware", "sign"])
            .arg(&image)
            .args(["--vendor", "Meterseal", "--device-type", DEVICE_TYPE, "--hardware", "virtual"])
            .args(["--release", "2.0.0", "--sequence", "2", "--key"])
            .arg(data.join("firmware/development.key.pem"))
            .arg("--out")
            .arg(data.join("firmware/bench.msfw"))
            .stdout(Stdio::null()),
    )?;
    let head = Part::start(binary, &data, meters, &serve)?;
    let gateway = head.wait(LONG, |line| line.starts_with("gateway"))?;
    let gateway = gateway.split_whitespace().nth(1).context("no gateway address")?.to_owned();
    println!("load of the machine before: {}", load());
    let fleet = Part::start(binary, &data, meters, &["--headend", &gateway, "--longest-pause", "2"])?;
    head.wait(LONG, |line| stored(line).is_some_and(|(online, ..)| online >= meters))?;
    std::thread::sleep(SETTLE);

    let begun = Instant::now();
    execute(
        command()
            .args(["campaign", "--data"])
            .arg(&data)
            .arg("create")
            .arg(data.join("firmware/bench.msfw"))
            .args(["--all", "--in-flight", &arguments.in_flight.to_string()])
            .stdout(Stdio::null()),
    )?;
    let (mut brought, mut ended) = (None, None);
    while ended.is_none() {
        ensure!(begun.elapsed() < LONG, "the campaign did not end within {LONG:?}");
        std::thread::sleep(LOOK);
        let shown = output(command().args(["campaign", "--data"]).arg(&data).args(["status", "--json"]))?;
        let shown: Value = serde_json::from_slice(shown.as_ref()).context("the status is no JSON")?;
        let campaign = &shown[0];
        let of = |state: &str| campaign["counts"][state].as_u64().unwrap_or(0);
        let waiting = of("waiting") + of("transferring") + of("verifying") + of("ready");
        if waiting == 0 && brought.is_none() {
            brought = Some(begun.elapsed());
        }
        if campaign["state"] != "running" {
            ensure!(campaign["state"] == "finished", "the campaign is {campaign}");
            ended = Some((begun.elapsed(), of("done"), of("failed")));
        }
    }
    let (whole, done, failed) = ended.context("it has not ended")?;
    let brought = brought.unwrap_or(whole);
    let megabytes = meters as f64 * arguments.bytes as f64 / 1e6;
    println!(
        "| meters | image | transferred and told to start it | rate | all attested (limit: 180 s) | done | failed |\n|---|---|---|---|---|---|---|\n\
         | {meters} | {} bytes | {:.1} s | {:.1} MB/s | {:.1} s | {done} | {failed} |",
        arguments.bytes,
        brought.as_secs_f64(),
        megabytes / brought.as_secs_f64(),
        whole.as_secs_f64()
    );
    fleet.stop()?;
    head.stop()
}

/// Bytes that repeat nowhere.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| byte()).collect()
}

/// As `up` and `fleet` call their meters.
const DEVICE_TYPE: &str = "Meterseal virtual reference meter 3x230/400 V 5(100) A";
const LONG: Duration = Duration::from_secs(1200);
const SETTLE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(500);
