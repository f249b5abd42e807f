//! `meterseal fleet`: thousands of virtual meters in one process, for load, and a head-end for them where none is named.
//!
//! Everything lives in a data folder of `up`'s form: the meters' identities, keys and flash in `fleet/`, beside `pki/`
//! and `headend/`. Head-end and meters may run in one process, or in two that share the folder.

pub(crate) mod members;

use std::fs::{File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use meterseal_boot::stage::Stage;
use meterseal_device::fleet::{Fleet, MAX_HISTORY, MAX_METERS, MemberSettings, PARTITION, Settings};
use meterseal_headend::{Config, Headend, MeterEntry, Pace};
use meterseal_link::dial::{DialLimits, Target};
use meterseal_link::{Identity, Pki, tls};
use meterseal_meter::RoleKeys;
use meterseal_model::{Digest384, Role, TimeBase};
use meterseal_seal::Scope;
use meterseal_seal::attestation::Ground;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::alarm_options::AlarmOptions;
use crate::progress::Progress;
use crate::up::data_folder::DataFolder;
use crate::up::firmware::{self, DevelopmentFirmware};
use crate::up::installation::{self, HEADEND_NAME, Installation};
use crate::up::{DEVICE_TYPE, say};
use members::Member;

/// Start a fleet of virtual meters, for load
///
/// Every meter has an identity, flash, TLS session and DLMS association of its own; an energy model stands in for
/// sampling. Without --headend a head-end starts in the same process. For thousands of meters use two processes on the
/// same folder: `meterseal fleet --meters N --serve`, then `meterseal fleet --meters N --headend ADDRESS`. A head-end
/// that `meterseal up` starts on the folder knows the fleet's meters too. SIGUSR1 cuts all connections at once, SIGUSR2
/// sends a surge to every meter at once; Ctrl-C stops, and the next start goes on from there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many meters
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_METERS as i64))]
    meters: u32,
    /// Folder for keys, flash and the head-end's database
    #[arg(long, value_name = "DIR", default_value = "meterseal-fleet")]
    data: PathBuf,
    /// Start only the meters, and dial this head-end (HOST:PORT), which must know them by this folder
    #[arg(long, value_name = "ADDRESS", conflicts_with = "serve")]
    headend: Option<String>,
    /// That head-end's name, as in its certificate
    #[arg(long, value_name = "NAME", default_value = HEADEND_NAME)]
    headend_name: String,
    /// Start only the head-end
    #[arg(long)]
    serve: bool,
    /// Only make the meters' identities and keys, and stop
    #[arg(long, conflicts_with_all = ["serve", "headend"])]
    enrol: bool,
    /// Address that meters dial
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4059")]
    gateway: SocketAddr,
    /// Address of the page, on this machine's loopback
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Seconds between two steps of each meter's energy model
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=60))]
    step: u64,
    /// How fast the meters' own time goes; at another speed than 1 it is ahead of this machine's for good
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Length of a load-profile interval, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(60..=86_400))]
    profile_period: u32,
    /// Load-profile intervals that a new meter has behind it
    #[arg(long, value_name = "N", default_value_t = 96, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_HISTORY)))]
    history: u32,
    /// Seconds between two live readings of each meter
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    live: u64,
    /// Seconds between two looks for new rows and events of each meter
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    gaps: u64,
    /// Longest pause of a meter between two attempts to call its head-end, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    longest_pause: u64,
    #[command(flatten)]
    alarms: AlarmOptions,
    /// Surges, opened covers and magnets at random meters, so many a second in all
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    events_per_second: f64,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (1.0..=3600.0).contains(&speed) { Ok(speed) } else { Err("must be between 1 and 3600".to_owned()) }
}

/// A rate of events.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.0..=10_000.0).contains(&rate) { Ok(rate) } else { Err("must be between 0 and 10000".to_owned()) }
}

pub(crate) fn run(arguments: &Args) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| LOG_FILTER.into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(start(arguments))
}

async fn start(arguments: &Args) -> Result<()> {
    let count = arguments.meters as usize;
    let (meters, server) = (!arguments.serve, arguments.headend.is_none());
    if !arguments.enrol {
        make_room_for_connections(count * (usize::from(meters) + usize::from(server)))?;
    }
    let place = Place::new(&arguments.data, count);
    if server {
        let installation = Installation::open(&arguments.data)?;
        place.enrol(installation.pki())?;
        if arguments.enrol {
            return say(&format!("{count} meters are enrolled in {}", place.members.display()));
        }
        let headend = serve(arguments, &installation, &place).await?;
        // Dropped at the end, which ends what it does.
        let mut background = tokio::task::JoinSet::new();
        background.spawn(installation.upkeep());
        let target = Target { address: headend.gateway_addr().to_string(), headend: HEADEND_NAME.to_owned() };
        let fleet =
            if meters { place.fleet(arguments, target, installation.pki()).map(Some) } else { Ok(None) };
        let outcome = match &fleet {
            Ok(fleet) => watch(Some(&headend), fleet.as_ref(), count).await,
            Err(_) => Ok(()),
        };
        let stopped = match fleet {
            Ok(Some(fleet)) => {
                fleet.stop().await;
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        headend.shutdown().await;
        return outcome.and(stopped);
    }
    let address = arguments.headend.clone().unwrap_or_default();
    let pki = Pki::open(&arguments.data.join("pki"))
        .context("the fleet's authorities are not there: enrol it first, with --enrol or --serve")?;
    let target = Target { address, headend: arguments.headend_name.clone() };
    let fleet = place.fleet(arguments, target, &pki)?;
    let outcome = watch(None, Some(&fleet), count).await;
    fleet.stop().await;
    outcome
}

/// The fleet's files in the data folder.
struct Place {
    folder: PathBuf,
    members: PathBuf,
    count: usize,
}

impl Place {
    fn new(data: &Path, count: usize) -> Self {
        let folder = data.join(FOLDER);
        Self { members: folder.join(MEMBERS), folder, count }
    }

    fn enrol(&self, pki: &Pki) -> Result<()> {
        DataFolder::private_folder(&self.folder)?;
        members::enrol(&self.members, pki, self.count)
    }

    /// The firmware that its meters are made with.
    fn firmware(&self) -> Result<DevelopmentFirmware> {
        let data = self.folder.parent().unwrap_or(&self.folder);
        let folder = data.join(firmware::FOLDER);
        DataFolder::private_folder(&folder)?;
        DevelopmentFirmware::open_or_create(&folder, installation::own_digest()?)
    }

    /// Opens every meter and lets them dial.
    fn fleet(&self, arguments: &Args, target: Target, pki: &Pki) -> Result<Fleet> {
        let lock = self.lock()?;
        let members = members::read(&self.members, self.count)?;
        if members.len() < self.count {
            bail!(
                "{} meters are enrolled in {}, and {} are wanted; enrol them first, with --enrol or --serve",
                members.len(),
                self.members.display(),
                self.count
            );
        }
        let firmware = self.firmware()?;
        let trust = pki.trust();
        let settings = members.iter().map(|member| {
            let identity = Identity::from_pem(&member.certificates, &member.key, &self.members)?;
            let (encryption, authentication) = member.dlms_keys()?;
            Ok(MemberSettings {
                identity: meterseal_meter::Identity {
                    id: member.meter.0,
                    device_type: DEVICE_TYPE.to_owned(),
                    // What its boot stage verifies says it better.
                    firmware_version: String::new(),
                    firmware_digest: Digest384([0; 48]),
                },
                keys: meterseal_meter::DlmsKeys { encryption, authentication },
                role_keys: member.firmware_keys().map_or(RoleKeys::NONE, |(encryption, authentication)| {
                    let keys = meterseal_meter::DlmsKeys { encryption, authentication };
                    RoleKeys::NONE.with(Role::Firmware, keys)
                }),
                log_key: Some(Arc::new(member.log_key()?)),
                tls: tls::meter_config(&identity, &trust)
                    .with_context(|| format!("the certificate of {} cannot be used", member.meter.0))?,
                stage: Some(stage(member)?),
            })
        });
        let settings = settings.collect::<Result<Vec<_>>>()?;
        let how = Settings {
            step: Duration::from_secs(arguments.step),
            profile_period_seconds: arguments.profile_period,
            history: arguments.history,
            speed: arguments.speed,
            limits: DialLimits {
                longest_pause: Duration::from_secs(arguments.longest_pause),
                ..DialLimits::default()
            },
            factory: Some(firmware.factory()),
            ..Settings::new(target, self.count)
        };
        let progress = Progress::new("meters opened", self.count as f64);
        let fleet = Fleet::start(
            settings,
            &how,
            &self.folder.join(FLASH),
            &tokio::runtime::Handle::current(),
            |opened| progress.show(opened as f64),
        );
        progress.end();
        let mut fleet = fleet?;
        fleet.keep(lock);
        if arguments.events_per_second > 0.0 {
            fleet.keep_happening(arguments.events_per_second, &tokio::runtime::Handle::current());
        }
        Ok(fleet)
    }

    /// One process at a time writes the flash.
    fn lock(&self) -> Result<File> {
        let path = self.folder.join("lock");
        let failed = || {
            format!(
                "cannot open {}: enrol the fleet first, with --enrol or --serve, or check its permissions",
                path.display()
            )
        };
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => {
                bail!("the fleet in {} runs already; stop that one first", self.folder.display())
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(failed),
        }
    }
}

async fn serve(arguments: &Args, installation: &Installation, place: &Place) -> Result<Headend> {
    let marks = installation.development_marks(DEVICE_TYPE, &place.firmware()?.images()?)?;
    let meters = entries(&place.members, place.count)?;
    let config =
        installation.headend_config(arguments.gateway, arguments.listen, meters, marks, &arguments.alarms)?;
    let pace = Pace { live: Duration::from_secs(arguments.live), gaps: Duration::from_secs(arguments.gaps) };
    let headend = Headend::start(Config { pace, ..config }).await?;
    say(&format!(
        "page      {}\ngateway   {} (TLS 1.3, DLMS/COSEM)\ndata      {}",
        headend.page_url(),
        headend.gateway_addr(),
        installation.path().display()
    ))?;
    Ok(headend)
}

/// A member's boot stage.
fn stage(member: &Member) -> Result<Stage> {
    let (base, layout) = PARTITION;
    let partition = DevelopmentFirmware::partition_at(base, layout);
    let (secret, chain) = member.boot()?;
    Ok(Stage::new(member.meter.0, &secret, chain, Ground::Simulated, partition))
}

/// The fleet's meters that are enrolled in a data folder, for a head-end there.
pub(crate) fn enrolled(data: &Path) -> Result<Vec<MeterEntry>> {
    entries(&data.join(FOLDER).join(MEMBERS), MAX_METERS)
}

fn entries(members: &Path, count: usize) -> Result<Vec<MeterEntry>> {
    members::read(members, count)?.iter().map(entry).collect()
}

fn entry(member: &Member) -> Result<MeterEntry> {
    let (encryption, authentication) = member.dlms_keys()?;
    Ok(MeterEntry {
        id: member.meter.0,
        name: format!("Fleet {}", member.meter.0.serial()),
        site: "fleet".to_owned(),
        is_virtual: true,
        time_base: TimeBase::Simulated,
        keys: meterseal_link::DlmsKeys { encryption, authentication },
        firmware_keys: member
            .firmware_keys()
            .map(|(encryption, authentication)| meterseal_link::DlmsKeys { encryption, authentication }),
        allowed_scopes: vec![Scope::Development],
    })
}

/// Says how many are there whenever that changes, until told to stop.
async fn watch(headend: Option<&Headend>, fleet: Option<&Fleet>, count: usize) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for a signal")?;
    let mut cut = signal(SignalKind::user_defined1()).context("cannot wait for a signal")?;
    let mut strike = signal(SignalKind::user_defined2()).context("cannot wait for a signal")?;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut said, mut said_at) = (String::new(), Instant::now());
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            Some(()) = cut.recv() => {
                if let Some(fleet) = fleet {
                    fleet.cut();
                    say("cut       all connections")?;
                    said.clear();
                }
                continue;
            }
            Some(()) = strike.recv() => {
                if let Some(fleet) = fleet {
                    tokio::task::block_in_place(|| fleet.strike_all());
                    say("struck    all meters")?;
                    said.clear();
                }
                continue;
            }
            _ = looks.tick() => {}
        }
        let line = match (headend, fleet) {
            (Some(headend), _) => {
                let stored = headend.store().committed_in_all().await?;
                format!(
                    "online    {} of {count}, stored {} rows {} events",
                    headend.online(),
                    stored.load_profile,
                    stored.security_log
                )
            }
            (None, Some(fleet)) => format!("connected {} of {count}", fleet.online()),
            (None, None) => return Ok(()),
        };
        // A line that went and came back between two looks leaves no other trace.
        if line != said || said_at.elapsed() >= SAY_AGAIN {
            say(&line)?;
            (said, said_at) = (line, Instant::now());
        }
    }
}

/// Raises this process's limit of open files to what the fleet needs, as far as the system allows.
fn make_room_for_connections(connections: usize) -> Result<()> {
    let needed = connections as u64 + OTHER_FILES;
    let have = rlimit::increase_nofile_limit(needed).context("cannot raise the limit of open files")?;
    if have < needed {
        bail!(
            "{connections} connections need {needed} open files, and the system allows {have}: start head-end and \
             meters apart (--serve, --headend), or raise the hard limit (`ulimit -Hn`, LimitNOFILE= in systemd)"
        );
    }
    Ok(())
}

const FOLDER: &str = "fleet";
const MEMBERS: &str = "members.jsonl";
const FLASH: &str = "flash.bin";
/// Files and sockets that are no meter's connection.
const OTHER_FILES: u64 = 128;
/// How often it is looked how many are there.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is said though nothing changed.
const SAY_AGAIN: Duration = Duration::from_secs(5);
/// A fleet that loses its head-end would say so once for each meter.
const LOG_FILTER: &str = "warn,meterseal::dial=error";
