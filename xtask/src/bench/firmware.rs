//! `cargo xtask bench firmware`: what it takes to judge and to boot an image of 1 MiB, how fast one gets into a meter, and how
//! large the differences between two builds are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::{cargo, execute, output, program, root};

pub(super) fn run() -> Result<()> {
    let cost = built(&["--example", "firmware_cost"])?;
    println!(
        "\nProcessor time, means of 200; transfers: their own time, the median of 14.\n\n| what | figure |\n|---|---|"
    );
    for line in output(program(&cost).arg("verify"))?.lines() {
        println!("| {line} |");
    }
    let mut transfer = cargo();
    transfer.args(["run", "--release", "-q", "-p", "meterseal-device", "--example", "transfer_speed"]);
    for line in output(&mut transfer)?.lines() {
        let (what, rate) = line.rsplit_once(' ').context("transfer_speed said something else than a rate")?;
        println!("| 1 MiB into one meter over TLS and suite 2 on the loopback, {what} | {rate} MB/s |");
    }
    let folder = root().join("target/bench-firmware");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let image = |name: &str, features: &[&str]| -> Result<PathBuf> {
        let built = built(&[&["--bin", "boot-test-image"], features].concat())?;
        let stripped = folder.join(name);
        execute(program("strip").arg("-o").arg(&stripped).arg(built))?;
        Ok(stripped)
    };
    // Two real builds: the second has one line more, which does something.
    let (old, new) = (image("old", &[])?, image("new", &["--features", "another-line"])?);
    for line in
        output(program(&cost).arg("delta").args([old, new].map(|path| path.display().to_string())))?.lines()
    {
        println!("| two builds of the test image, one line apart: {line} |");
    }
    Ok(())
}

/// Builds a part of the boot crate, and says where it is.
fn built(what: &[&str]) -> Result<String> {
    let mut build = cargo();
    build.args(["build", "--release", "-p", "meterseal-boot", "--message-format=json", "--quiet"]).args(what);
    let said = output(&mut build)?;
    let name = Path::new(what[1]).display().to_string();
    said.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name.as_str())
        .find_map(|message| message["executable"].as_str().map(Into::into))
        .context("cargo did not name the executable that it built")
}
