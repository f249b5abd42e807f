//! The page: `npm ci`, types from the API's schema, checks, build. The built files are committed; `--check` proves
//! that they are what the sources give.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::{cargo, execute, output, program, root};
use crate::tools;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing: fail where schema, types or built files are not what the sources give
    #[arg(long)]
    pub(crate) check: bool,
}

pub(crate) fn run_npm(folder: &Path, arguments: &[&str]) -> Result<()> {
    execute(
        program("npm")
            .current_dir(folder)
            .args(["--no-fund", "--no-audit", "--loglevel=error"])
            .args(arguments),
    )
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tools::node()?;
    let web = root().join("web");
    let generated: Vec<PathBuf> = ["openapi.json", "src/api/schema.d.ts", "dist"].map(|p| web.join(p)).into();
    let before = arguments.check.then(|| snapshot(&generated)).transpose()?;

    let schema = output(cargo().args(["run", "--quiet", "-p", "meterseal-headend", "--example", "openapi"]))?;
    fs::write(web.join("openapi.json"), schema).context("cannot write web/openapi.json")?;
    run_npm(&web.join("tools"), &["ci"])?;
    run_npm(&web, &["ci"])?;
    run_npm(&web, &["run", "types"])?;
    run_npm(&web, &["run", "check"])?;
    run_npm(&web, &["test"])?;
    run_npm(&web, &["run", "build"])?;

    if let Some(before) = before {
        let after = snapshot(&generated)?;
        let differs: Vec<_> = before
            .iter()
            .chain(&after)
            .filter(|file| !before.contains(file) || !after.contains(file))
            .map(|(path, _)| path.display().to_string())
            .collect();
        if !differs.is_empty() {
            bail!(
                "these generated files are not what their sources give: {}; run `cargo xtask web` and commit",
                differs.join(", ")
            );
        }
        println!("web: schema, types and built files match their sources");
    }
    Ok(())
}

/// Every file under the given paths with its content, sorted.
fn snapshot(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut pending = paths.to_vec();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))? {
                pending.push(entry?.path());
            }
        } else if path.exists() {
            let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.push((path, content));
        }
    }
    files.sort();
    Ok(files)
}
