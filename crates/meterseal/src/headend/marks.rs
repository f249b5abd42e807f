//! `meterseal headend marks`: the certified product list of a head-end, in its folder; no running head-end is needed, and one
//! that runs follows within seconds.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use jiff::Timestamp;
use meterseal_headend::products::{self, List, Listed, Standing};
use meterseal_link::Pki;
use meterseal_model::UnixMillis;
use serde::Serialize;

/// The certified product list: which marks this head-end goes by
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the marks and whether they count
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a mark, a signatory's list of revoked marks, or the certificate of a signatory to believe
    Add {
        /// The file
        file: PathBuf,
    },
    /// Stop believing a mark, for good: its meters are in quarantine unless another mark covers them
    ///
    /// This is the utility's own decision and binds nobody else; who signed a mark revokes it with `meterseal mark revoke`.
    Withdraw {
        /// The mark's file in the list, or the beginning of its name
        mark: String,
        /// Why, in a few words
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Serialize)]
struct Shown {
    name: String,
    file: String,
    standing: &'static str,
    reason: Option<String>,
    device_type: Option<String>,
    hardware: Option<String>,
    firmware_digest: Option<String>,
    scope: Option<&'static str>,
    signatory: Option<String>,
    not_tested: Vec<String>,
    renew_from: Option<String>,
    valid_until: Option<String>,
}

pub(super) fn run(data: &Path, arguments: &Args, out: &mut impl Write) -> Result<bool> {
    let headend = data.join("headend");
    match &arguments.command {
        Command::List { json } => list(data, &headend, *json, out),
        Command::Add { file } => add(data, &headend, file, out).map(|()| true),
        Command::Withdraw { mark, reason } => withdraw(data, &headend, mark, reason, out).map(|()| true),
    }
}

fn read(data: &Path, headend: &Path) -> Result<List> {
    let pki = data.join("pki");
    if !pki.exists() {
        bail!("{} holds no installation; name the right folder (--data)", data.display());
    }
    let keys = [Pki::open(&pki)?.certification_key().clone()];
    let folder = products::folder(headend);
    List::read(&folder, &keys, &[]).with_context(|| format!("cannot read {}", folder.display()))
}

/// `false` when a file cannot be used.
fn list(data: &Path, headend: &Path, json: bool, out: &mut impl Write) -> Result<bool> {
    let list = read(data, headend)?;
    let now = UnixMillis(Timestamp::now().as_millisecond());
    let shown: Vec<Shown> = list.entries.iter().map(|listed| Shown::new(listed, now)).collect();
    if json {
        serde_json::to_writer_pretty(&mut *out, &shown)?;
        writeln!(out)?;
    } else {
        if shown.is_empty() {
            writeln!(
                out,
                "no marks: every meter is in quarantine; add one with `meterseal headend marks add FILE`"
            )?;
        }
        for one in &shown {
            one.words(out)?;
        }
    }
    for (file, problem) in &list.problems {
        eprintln!("meterseal: {file}: {problem}");
    }
    let unusable = shown.iter().any(|one| one.standing == "unusable");
    Ok(list.problems.is_empty() && !unusable)
}

impl Shown {
    fn new(listed: &Listed, now: UnixMillis) -> Self {
        let standing = listed.standing(now);
        let mark = listed.mark.as_ref();
        Self {
            name: listed.name.to_string(),
            file: listed.file.clone(),
            standing: standing.name(),
            reason: match standing {
                Standing::Revoked(at, reason) => Some(format!("revoked at {at}: {reason}")),
                Standing::Unusable(problem) => Some(problem),
                _ => None,
            },
            device_type: mark.map(|mark| mark.device_type.clone()),
            hardware: mark.map(|mark| mark.hardware.clone()),
            firmware_digest: mark.map(|mark| mark.firmware_digest.to_string()),
            scope: mark.map(|mark| mark.scope.name()),
            signatory: mark.map(|mark| mark.signatory.clone()),
            not_tested: mark
                .map(|mark| mark.not_tested().into_iter().map(str::to_owned).collect())
                .unwrap_or_default(),
            renew_from: mark.map(|mark| mark.renew_from.to_string()),
            valid_until: mark.map(|mark| mark.valid_until.to_string()),
        }
    }

    fn words(&self, out: &mut impl Write) -> Result<()> {
        let short = self.name.get(..16).unwrap_or_default();
        writeln!(out, "{short}  {:<13}  {}", self.standing.replace('_', " "), self.file)?;
        if let Some(reason) = &self.reason {
            writeln!(out, "  {reason}")?;
        }
        if let (Some(device), Some(hardware), Some(scope)) = (&self.device_type, &self.hardware, self.scope) {
            writeln!(out, "  {scope} mark for {device} ({hardware})")?;
        }
        if let Some(digest) = &self.firmware_digest {
            writeln!(out, "  firmware {digest}")?;
        }
        if let (Some(signatory), Some(until), Some(renew)) =
            (&self.signatory, &self.valid_until, &self.renew_from)
        {
            writeln!(out, "  by {signatory}, until {until}, renewal due {renew}")?;
        }
        if !self.not_tested.is_empty() {
            writeln!(out, "  not tested: {}", self.not_tested.join(", "))?;
        }
        Ok(())
    }
}

/// What is no use is not taken in.
fn add(data: &Path, headend: &Path, file: &Path, out: &mut impl Write) -> Result<()> {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{} has no name", file.display()))?;
    if !name.ends_with(".cbor") && !name.ends_with(".pem") {
        bail!(
            "{name} is neither a mark or a list of revoked marks (.cbor) nor a certificate or public key (.pem)"
        );
    }
    let folder = products::folder(headend);
    let path = folder.join(name);
    if path.exists() {
        bail!("{} is there already; name the file otherwise", path.display());
    }
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let digest = meterseal_seal::mark::name_of(&bytes);
    if read(data, headend)?.entries.iter().any(|listed| listed.name == digest) {
        bail!("that mark is in the list already");
    }
    // Judged beside what is there, before it counts.
    let keys = [Pki::open(&data.join("pki"))?.certification_key().clone()];
    let after = List::read_with(&folder, &keys, &[], vec![(name.to_owned(), bytes.clone())])
        .with_context(|| format!("cannot read {}", folder.display()))?;
    if let Some((_, problem)) = after.problems.iter().find(|(file, _)| file == name) {
        bail!("{} cannot be used: {problem}", file.display());
    }
    let now = UnixMillis(Timestamp::now().as_millisecond());
    let added = after.entries.iter().find(|listed| listed.file == name);
    if let Some(Standing::Unusable(problem)) = added.map(|listed| listed.standing(now)) {
        bail!("{} cannot be used: {problem}", file.display());
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // A head-end looks at files with certain endings only; the staged one has none of them.
    let staged = folder.join(format!(".{name}.new"));
    fs::write(&staged, &bytes)
        .and_then(|()| fs::rename(&staged, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(out, "added {}; a head-end that runs takes it over within seconds", path.display())?;
    if let Some(mark) = added.and_then(|listed| listed.mark.as_ref()) {
        writeln!(out, "{mark}")?;
    }
    Ok(())
}

fn withdraw(data: &Path, headend: &Path, wanted: &str, reason: &str, out: &mut impl Write) -> Result<()> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > 200 || reason.chars().any(char::is_control) {
        bail!("a reason of one line and at most 200 characters is needed (--reason)");
    }
    let list = read(data, headend)?;
    let is_it = |listed: &&Listed| {
        listed.file == wanted || (wanted.len() >= 8 && listed.name.to_string().starts_with(wanted))
    };
    let found: Vec<&Listed> = list.entries.iter().filter(is_it).collect();
    let [listed] = found.as_slice() else {
        bail!("{} marks are called `{wanted}`; see `meterseal headend marks list`", found.len());
    };
    products::withdraw(headend, &listed.name, reason).context("cannot write down the withdrawal")?;
    Ok(writeln!(out, "withdrawn: {}; a head-end that runs acts on it within seconds", listed.file)?)
}
