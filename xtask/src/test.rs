//! `cargo xtask test`: everything that must hold before a change lands.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::run::{answers, cargo, execute, program, root};
use crate::{tools, web};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only these steps
    #[arg(long, value_delimiter = ',', value_name = "STEP")]
    only: Vec<String>,
}

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 12] = [
    ("fmt", || execute(cargo().args(["fmt", "--all", "--check"]))),
    ("clippy", || {
        execute(cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
    }),
    ("deny", deny),
    ("unit", unit),
    // The same hashes as in the debug build of the step before, with every kernel.
    ("golden", || {
        execute(cargo().args([
            "test",
            "--release",
            "--quiet",
            "-p",
            "meterseal-metrology",
            "-p",
            "meterseal-metrology-simd",
            "--tests",
            "golden",
        ]))
    }),
    ("doc", || execute(cargo().args(["test", "--workspace", "--doc", "--quiet"]))),
    ("interop", interop),
    ("mutants", crate::mutants::briefly),
    ("kill", crate::kill::briefly),
    ("fuzz", crate::fuzz::briefly),
    ("web", || web::run(&web::Arguments { check: true })),
    ("browser", browser),
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(unknown) = arguments.only.iter().find(|name| STEPS.iter().all(|(step, _)| step != name)) {
        let known = STEPS.map(|(step, _)| step).join(", ");
        bail!("there is no step `{unknown}`; the steps are {known}");
    }
    let mut times = Vec::new();
    for (name, step) in STEPS {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
            continue;
        }
        println!("── {name}");
        let start = Instant::now();
        step().with_context(|| format!("step `{name}`"))?;
        times.push(format!("{name} {:.0} s", start.elapsed().as_secs_f64()));
    }
    println!("── all steps passed: {}", times.join(", "));
    Ok(())
}

fn deny() -> Result<()> {
    tools::cargo_deny()?;
    execute(program("cargo-deny").args(["--log-level", "error", "check", "bans", "licenses", "sources"]))?;
    // The advisory database is fetched from the network, which not every machine has.
    let advisories = program("cargo-deny")
        .args(["--log-level", "error", "check", "advisories"])
        .output()
        .context("cannot start cargo-deny")?;
    let said = String::from_utf8_lossy(&advisories.stderr).into_owned();
    if advisories.status.success() {
        println!("deny: no known advisory");
    } else if said.contains("failed to fetch advisory database")
        || said.contains("failed to load advisory database")
    {
        println!("deny: advisories skipped, their database is out of reach from here");
    } else {
        bail!("cargo-deny found advisories:\n{said}");
    }
    Ok(())
}

fn unit() -> Result<()> {
    tools::openssl()?;
    if answers("cargo-nextest", &["nextest", "--version"]) {
        execute(cargo().args(["nextest", "run", "--workspace"]))
    } else {
        execute(cargo().args(["test", "--workspace", "--lib", "--bins", "--tests", "--examples"]))
    }
}

/// An independent DLMS client and OpenSSL against the meter.
fn interop() -> Result<()> {
    let python = tools::interop_python()?;
    execute(
        cargo()
            .args(["test", "--quiet", "-p", "meterseal", "--test", "interop", "--", "--nocapture"])
            .env("METERSEAL_INTEROP_PYTHON", python),
    )
}

/// The real program, the real page, Debian's Chromium.
fn browser() -> Result<()> {
    tools::node()?;
    let chromium = tools::chromium()?;
    let binary = build_program("dev")?;
    let folder = root().join("web/e2e");
    web::run_npm(&folder, &["ci"])?;
    execute(
        program("npm")
            .current_dir(&folder)
            .args(["--silent", "test"])
            .env("CHROMIUM", chromium)
            .env("METERSEAL_BIN", binary),
    )
}

/// Builds `meterseal` and gives the path of the executable.
pub(crate) fn build_program(profile: &str) -> Result<std::path::PathBuf> {
    let said = crate::run::output(cargo().args([
        "build",
        "-p",
        "meterseal",
        "--message-format=json",
        "--quiet",
        "--profile",
        profile,
    ]))?;
    said.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "meterseal")
        .find_map(|message| message["executable"].as_str().map(Into::into))
        .context("cargo did not name the executable that it built")
}
