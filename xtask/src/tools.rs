//! The programs that tests need beside Rust: found, installed where that is allowed, or asked for in words.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::run::{answers, cargo, execute, output, program, root};

/// cargo-deny, built from the registry where it is missing (about three minutes on two cores, once).
pub(crate) fn cargo_deny() -> Result<()> {
    const VERSION: &str = "0.20.2";
    if answers("cargo-deny", &["--version"]) {
        return Ok(());
    }
    println!("cargo-deny is missing: installing {VERSION} (a few minutes, once)");
    execute(cargo().args(["install", "--locked", "--quiet", "cargo-deny", "--version", VERSION]))
}

/// cargo-fuzz, built from the registry where it is missing (about a minute, once).
pub(crate) fn cargo_fuzz() -> Result<()> {
    const VERSION: &str = "0.13.2";
    if answers("cargo-fuzz", &["--version"]) {
        return Ok(());
    }
    println!("cargo-fuzz is missing: installing {VERSION} (about a minute, once)");
    execute(cargo().args(["install", "--locked", "--quiet", "cargo-fuzz", "--version", VERSION]))
}

/// Debian's Chromium, or the one that `CHROMIUM` names.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Ok(path.into());
    }
    let path = PathBuf::from("/usr/bin/chromium");
    if !path.exists() {
        apt_install("chromium", "or set CHROMIUM to a Chromium or Chrome of yours")?;
    }
    Ok(path)
}

/// Node.js 20 or newer, with npm.
pub(crate) fn node() -> Result<()> {
    if !answers("node", &["--version"]) || !answers("npm", &["--version"]) {
        apt_install("nodejs npm", "or install Node.js 20 or newer from your system")?;
    }
    let version = output(program("node").arg("--version"))?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
    if major.is_none_or(|major| major < 20) {
        bail!("Node.js {} is too old for the page's build: install version 20 or newer", version.trim());
    }
    Ok(())
}

/// OpenSSL's command, the independent TLS peer of the link's tests.
pub(crate) fn openssl() -> Result<()> {
    if answers("openssl", &["version"]) {
        return Ok(());
    }
    apt_install("openssl", "or install OpenSSL 3 from your system")
}

/// Python with the independent DLMS client, in a virtual environment under `target`: a tool for tests, never a part of
/// the product.
pub(crate) fn interop_python() -> Result<PathBuf> {
    // The last version of the second one under a free licence (MIT).
    const CLIENTS: [&str; 2] = ["gurux-dlms==1.0.203", "dlms-cosem==21.3.2"];
    if !answers("python3", &["-c", "import venv, ensurepip"]) {
        apt_install("python3 python3-venv", "or install Python 3.10 or newer with venv from your system")?;
    }
    let environment = root().join("target/interop");
    let python = environment.join("bin/python");
    let versions = CLIENTS.map(|client| {
        let (name, version) = client.split_once("==").unwrap_or((client, ""));
        format!("assert version('{name}') == '{version}'")
    });
    let asked = format!("from importlib.metadata import version\n{}", versions.join("\n"));
    if !answers(&python.to_string_lossy(), &["-c", &asked]) {
        println!("interop: installing {} into {}", CLIENTS.join(" and "), environment.display());
        execute(program("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        execute(program(&python.to_string_lossy()).args(pip).args(CLIENTS)).with_context(|| {
            format!(
                "the independent DLMS clients {} could not be installed from PyPI; they are needed once",
                CLIENTS.join(" and ")
            )
        })?;
    }
    Ok(python)
}

/// Valgrind, which counts instructions.
pub(crate) fn valgrind() -> Result<()> {
    if answers("valgrind", &["--version"]) {
        return Ok(());
    }
    apt_install("valgrind", "or install Valgrind 3.19 or newer from your system")
}

fn apt_install(packages: &str, otherwise: &str) -> Result<()> {
    let root_user = output(program("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root_user || !answers("apt-get", &["--version"]) {
        bail!("{packages} is missing: `sudo apt-get install {packages}`, {otherwise}");
    }
    println!("{packages} is missing: installing it with apt-get");
    execute(program("apt-get").args(["update", "-qq"]))?;
    execute(
        program("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages.split(' ')),
    )
}
