//! `meterseal certify`: puts a meter through the catalogue of requirements and keeps the evidence.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use meterseal_bench::catalogue::{Catalogue, Method};
use meterseal_bench::certify::evidence::Folder;
use meterseal_bench::certify::manual::Manual;
use meterseal_bench::certify::{
    Effort, Event, Laboratory, Made, NetworkLaboratory, Outcome, Profile, Settings, VirtualLaboratory, about,
    certify,
};
use meterseal_link::reach::MeterAddress;
use meterseal_seal::SealKey;

use crate::up::{DEVICE_TYPE, own_digest};

/// Put a meter through what a certification demands, black box, and keep the evidence; or list the requirements
///
/// Writes results.cbor (the same bits for the same seed on a virtual meter), report.json, report.html, report.pdf and run.cbor (signed: times,
/// transcripts' digests) into the folder. A folder with part of the same run is gone on with, and what could not be carried out is tried again. What was not tested is said, and never counts as
/// passed. Sentences are Meterseal's own; it issues nobody's national certificate.
///
/// Ends with 0 when something passed and nothing failed, 1 when something failed, 2 when something could not be carried out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the catalogue of requirements instead
    #[arg(long, conflicts_with_all = ["target", "out"])]
    list: bool,
    /// The meter: `virtual`, or a real one: tls://HOST:PORT, tcp://HOST:PORT (how to log in there, and the instruments, are in --profile)
    #[arg(long, value_name = "TARGET", required_unless_present = "list")]
    target: Option<String>,
    /// Where the evidence goes
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    out: Option<PathBuf>,
    /// Only these identifiers, those that begin so, and the parts of those that consist of others
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// What the maker declares of the meter (TOML) [default: the reference meter]
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Results of what only a person can do (TOML: [[result]] with id, outcome, who, when, words, attachments); they never take a measured
    /// result's place, and are counted apart
    #[arg(long, value_name = "FILE")]
    manual: Option<PathBuf>,
    /// Of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Everything, but shortly: for development; the report says so
    #[arg(long)]
    reduced: bool,
    /// The stability test too: 1 000 hours unless --hours says otherwise
    #[arg(long)]
    soak: bool,
    /// Hours of the stability test; fewer than 1 000 cannot pass it
    #[arg(long, value_name = "N", requires = "soak", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    hours: u32,
    /// The bench's key (P-384, PKCS#8 PEM) that signs run.cbor [default: one made for this folder, DIR/bench-key.pem]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// JSON in place of text
    #[arg(long)]
    json: bool,
}

/// The catalogue, or a run. `false`: something failed.
pub(crate) fn run(arguments: &Args, out: &mut impl Write) -> Result<u8> {
    let catalogue = Catalogue::built_in()?;
    for wanted in &arguments.only {
        if !catalogue.requirements.iter().any(|one| one.id.starts_with(wanted.as_str())) {
            bail!("no requirement begins with `{wanted}`; see `meterseal certify --list`");
        }
    }
    match (&arguments.target, &arguments.out) {
        (Some(target), Some(folder)) => test(arguments, &catalogue, target, folder, out),
        _ => list(arguments, catalogue, out).map(|()| 0),
    }
}

fn test(
    arguments: &Args,
    catalogue: &Catalogue,
    target: &str,
    path: &std::path::Path,
    out: &mut impl Write,
) -> Result<u8> {
    let profile = arguments.profile.as_deref().map(Profile::read).transpose()?.unwrap_or_default();
    let address =
        match target {
            "virtual" => None,
            address => Some(address.parse::<MeterAddress>().with_context(|| {
                format!("`{target}` is no target; there are `virtual`, tls:// and tcp://")
            })?),
        };
    if address.is_some() && arguments.soak {
        bail!(
            "--soak runs {} h of virtual time, and {target} lives in real time; leave it out (stability is then not tested), and give \
             the result of a long run with --manual",
            arguments.hours
        );
    }
    let effort = if arguments.reduced { Effort::REDUCED } else { Effort::FULL };
    let mut settings = Settings {
        target: target.to_owned(),
        simulated: address.is_none(),
        effort: Effort { stability_hours: if arguments.soak { arguments.hours } else { 0 }, ..effort },
        seed: arguments.seed,
        only: arguments.only.clone(),
        instruments: match &address {
            None => vec![
                "virtual source and reference: exact by calculation, uncertainty 0.0005 % and the placing of pulses (k = 2); no calibration to trace"
                    .to_owned(),
            ],
            Some(_) => profile.instruments.traceability(),
        },
        manual: arguments
            .manual
            .as_deref()
            .map(|path| Manual::read(path, catalogue))
            .transpose()?
            .unwrap_or_default(),
        profile,
    };
    let (folder, earlier) = Folder::open(path, &settings.key(catalogue))?;
    let key = signing_key(arguments, path)?;
    for (name, bytes) in &settings.manual.files {
        folder.attach(name, bytes)?;
    }
    let laboratory: Box<dyn Laboratory> = match address {
        Some(address) => {
            let laboratory = NetworkLaboratory::new(address, &settings.profile, &path.join("counters"))?;
            settings.simulated = laboratory.simulated();
            if let Some(reservation) = laboratory.reservation() {
                eprintln!("meterseal: {reservation}");
            }
            Box::new(laboratory)
        }
        None => {
            let mut made = Made::new(settings.seed).context("the virtual meter cannot be calibrated")?;
            made.device_type = DEVICE_TYPE.to_owned();
            made.firmware_digest = own_digest()?;
            Box::new(VirtualLaboratory::new(made, None, |meter| meter))
        }
    };
    let about = about(&settings, &*laboratory).context("the target")?;
    if !earlier.is_empty() {
        eprintln!("goes on with a run that has {} results", earlier.len());
    }
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signal(Arc::clone(&stop))?;
    let progress = Told::new();
    let done = certify(
        &settings,
        about,
        catalogue,
        &*laboratory,
        Some((&folder, earlier)),
        &|event| progress.show(event),
        &stop,
    )?;
    progress.end();
    if stop.load(Ordering::Relaxed) {
        bail!("stopped; the same command goes on where it was");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ended_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    folder.finish(&done.results, done.records, ended_ms, &key)?;
    let summary = &done.results.summary;
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &done.results)?;
        writeln!(out)?;
        return Ok(summary.exit_code());
    }
    for id in settings.manual.unused(&done.results.findings) {
        eprintln!("meterseal: the manual result of {id} is not used: the bench has one of its own");
    }
    for finding in &done.results.findings {
        if let Some(inspection) = &finding.inspected {
            writeln!(
                out,
                "{:<11} {}: by {}, {}",
                "INSPECTED",
                finding.id,
                inspection.who,
                finding.outcome.words()
            )?;
        }
        match &finding.outcome {
            Outcome::Passed => {}
            Outcome::Failed => {
                writeln!(out, "FAILED      {}", finding.id)?;
                for value in finding
                    .measured
                    .iter()
                    .filter(|one| one.verdict != meterseal_bench::certify::Verdict::Accepted)
                    .take(5)
                {
                    writeln!(
                        out,
                        "            {}: {:.4} {} ± {:.4}",
                        value.what, value.value, value.unit, value.uncertainty
                    )?;
                }
            }
            other => {
                writeln!(out, "{:<11} {}: {}", other.words(), finding.id, other.why().unwrap_or_default())?
            }
        }
    }
    for (id, outcome) in &summary.wholes {
        let why = outcome.why().map(|why| format!(": {why}")).unwrap_or_default();
        writeln!(out, "{id:<11} {}{why}", outcome.words())?;
    }
    writeln!(
        out,
        "{} passed, {}{} failed, {} not tested, {} could not be carried out; evidence in {}",
        summary.passed,
        match summary.inspected {
            0 => String::new(),
            count => format!("{count} by a person's word, "),
        },
        summary.failed,
        summary.not_tested,
        summary.could_not,
        path.display()
    )?;
    Ok(summary.exit_code())
}

/// The key that signs `run.cbor`.
fn signing_key(arguments: &Args, folder: &std::path::Path) -> Result<SealKey> {
    let read = |path: &std::path::Path| -> Result<SealKey> {
        let pem =
            std::fs::read_to_string(path).with_context(|| format!("the bench's key {}", path.display()))?;
        SealKey::from_pkcs8_pem(&pem)
            .with_context(|| format!("{} is no P-384 key in PKCS#8 PEM", path.display()))
    };
    if let Some(path) = &arguments.key {
        return read(path);
    }
    let path = folder.join("bench-key.pem");
    if path.exists() {
        return read(&path);
    }
    let key = SealKey::generate(getrandom::fill).context("the operating system's random source")?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let pem = key.to_pkcs8_pem()?;
    options
        .open(&path)
        .and_then(|mut file| file.write_all(pem.as_bytes()))
        .with_context(|| format!("{}", path.display()))?;
    std::fs::write(folder.join("bench-key.pub.pem"), key.public().to_pem()?)?;
    Ok(key)
}

fn stop_on_signal(stop: Arc<AtomicBool>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        // Where signals cannot be had the run goes on to its end.
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            stop.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// What runs now, how far it is, and how long it may take.
struct Told {
    start: Instant,
    terminal: bool,
    running: Mutex<Vec<String>>,
}

impl Told {
    fn new() -> Self {
        Self { start: Instant::now(), terminal: std::io::stderr().is_terminal(), running: Mutex::default() }
    }

    fn show(&self, event: Event<'_>) {
        let Ok(mut running) = self.running.lock() else { return };
        match event {
            Event::Begun(requirement) => running.push(requirement.id.clone()),
            Event::Done(requirement, outcome, done, of) => {
                running.retain(|id| *id != requirement.id);
                let elapsed = self.start.elapsed().as_secs_f64();
                let left = elapsed / done as f64 * (of - done) as f64;
                let line = format!(
                    "{done}/{of} {} {}; now {}; {:.0} s, about {left:.0} s left",
                    requirement.id,
                    outcome.words(),
                    running.join(" "),
                    elapsed
                );
                const BAR: usize = 24;
                let full = BAR * done / of.max(1);
                if self.terminal {
                    eprint!("\r\x1b[K[{}{}] {line}", "#".repeat(full), "-".repeat(BAR - full));
                } else {
                    eprintln!("{line}");
                }
            }
        }
    }

    fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn list(arguments: &Args, mut catalogue: Catalogue, out: &mut impl Write) -> Result<()> {
    if !arguments.only.is_empty() {
        catalogue
            .requirements
            .retain(|one| arguments.only.iter().any(|wanted| one.id.starts_with(wanted.as_str())));
    }
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &catalogue)?;
        writeln!(out)?;
        return Ok(());
    }
    for requirement in &catalogue.requirements {
        writeln!(out, "{requirement}\n")?;
    }
    let count = |method| catalogue.requirements.iter().filter(|one| one.method == method).count();
    writeln!(
        out,
        "catalogue {}: {} requirements: {} tested, {} inspected from evidence, {} not testable here, {} that consist of others",
        catalogue.version,
        catalogue.requirements.len(),
        count(Method::Tested),
        count(Method::Inspected),
        count(Method::NotTestable),
        count(Method::Parts)
    )?;
    Ok(())
}
