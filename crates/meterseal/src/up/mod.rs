//! `meterseal up`: three virtual meters, a head-end and its page in one process, with nothing to configure.
//!
//! Head-end first, so that its addresses are known; then the meters, which dial it over a real socket. Ctrl-C stops
//! the meters first, so that what they say last is still stored.

mod custody;
pub(crate) mod data_folder;
pub(crate) mod firmware;
pub(crate) mod installation;
mod local;
pub(crate) mod sealed_files;
mod sites;
mod upkeep;

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use meterseal_device::wifi::Wifi;
use meterseal_device::{Access, Firmware, MAX_SPEED, Opened, Place, Settings};
use meterseal_headend::{Config, Headend, MeterEntry};
use meterseal_link::device_trust::DeviceTrust;
use meterseal_link::dial::{Target, Tcp};
use meterseal_link::enrolled::MeterProfiles;
use meterseal_link::{revocation, tls};
use meterseal_meter::{RoleKeys, SecretKey};
use meterseal_model::{Digest384, Role};
use meterseal_seal::{KeyStore, Scope};
use meterseal_world::comtrade::Recording;
use meterseal_world::site::SiteKind;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::alarm_options::AlarmOptions;
use firmware::DevelopmentFirmware;
pub(crate) use installation::own_digest;
use installation::{HEADEND_NAME, Installation, MeterFiles};
use local::{LocalArgs, Visitors};
use sites::{PLANS, Plan, Sites};

/// Start three virtual meters, a head-end and its page
///
/// The first start makes keys, certificates and a data folder; later ones go on where the last one stopped. Ctrl-C
/// stops.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder for keys, meters' flash and the head-end's database
    #[arg(long, value_name = "DIR", default_value = "meterseal-data")]
    data: PathBuf,
    /// Address of the page, on this machine's loopback
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address that meters dial
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4059")]
    gateway: SocketAddr,
    /// COMTRADE recording that the factory replays, in place of its synthetic load
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    /// How many times faster than the wall's the home's clock runs
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_speed)]
    speed: f64,
    #[command(flatten)]
    alarms: AlarmOptions,
    #[command(flatten)]
    local: LocalArgs,
}

pub(crate) fn run(arguments: &Args) -> Result<()> {
    log_to_stderr();
    let runtime = runtime()?;
    runtime.block_on(serve(arguments))
}

/// Warnings on stderr, or what `RUST_LOG` asks for.
pub(crate) fn log_to_stderr() {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| LOG_FILTER.into()),
        )
        .with_writer(std::io::stderr)
        .init();
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

async fn serve(arguments: &Args) -> Result<()> {
    // Whatever can be refused is refused before anything starts.
    let recording = arguments.recording.as_deref().map(Recording::open).transpose()?;
    let installation = Installation::open(&arguments.data)?;
    let firmware = installation.firmware()?;
    let meters = PLANS
        .iter()
        .map(|plan| Ok((plan, installation.meter(plan.id(), speed(plan, arguments))?)))
        .collect::<Result<Vec<(&Plan, MeterFiles)>>>()?;

    // Files for the visitors before there is a port that lets them in.
    let visitors = Visitors::prepare(&arguments.local, &installation, &meters)?;

    let sites = Arc::new(Sites::default());
    let marks = installation.development_marks(DEVICE_TYPE, &firmware.images()?)?;
    let config = installation.headend_config(
        arguments.gateway,
        arguments.listen,
        entries(&meters, &installation)?,
        marks,
        &arguments.alarms,
    )?;
    let headend = Headend::start(Config { virtual_sites: Some(Arc::clone(&sites) as _), ..config }).await?;

    // Stopped in order even when a meter refuses: a store that is dropped in the middle leaves its last writes aside.
    // Dropped at the end, which ends what it does.
    let mut background = JoinSet::new();
    // Lists of revoked certificates are due within a week, certificates some day, however long this runs.
    background.spawn(installation.upkeep());
    let started =
        open_meters(meters, recording, &firmware, &installation, &headend, arguments, &mut background)
            .and_then(|devices| start(devices, &sites));
    let outcome = match started {
        Ok(()) => {
            let local = visitors.map(|visitors| visitors.invitation(&sites.local_addresses()));
            until_told_to_stop(&headend, &installation, local.as_deref()).await
        }
        Err(refused) => Err(refused),
    };
    let stopping: Vec<_> = sites.take().into_iter().map(|device| tokio::spawn(device.stop())).collect();
    let mut stopped = Ok(());
    for device in stopping {
        stopped = stopped.and(
            device.await.context("a meter did not stop in order; its registers are as of the last save"),
        );
    }
    headend.shutdown().await;
    outcome.and(stopped)?;
    // Whoever read the addresses may be gone by now; that is no failure.
    let _ = say("stopped; the next `meterseal up` goes on from here");
    Ok(())
}

/// Opens every meter before any starts: what one refuses then stops all before one has sampled or dialled.
fn open_meters(
    meters: Vec<(&Plan, MeterFiles)>,
    mut recording: Option<Recording>,
    firmware: &DevelopmentFirmware,
    installation: &Installation,
    headend: &Headend,
    arguments: &Args,
    background: &mut JoinSet<Infallible>,
) -> Result<Vec<(Opened, Wifi)>> {
    let open = |(plan, files): (&Plan, MeterFiles)| {
        let place = match recording.take_if(|_| plan.kind == SiteKind::Factory) {
            Some(recording) => Place::Recording(Box::new(recording)),
            None => Place::Synthetic(plan.kind),
        };
        let radio = Wifi::new(Arc::new(Tcp), plan.serial);
        let mut settings = settings(plan, files, place, firmware, installation, headend, arguments)?;
        settings.network = Arc::new(radio.clone());
        // What `meterseal pki revoke` writes reaches the meters as well: they, too, leave a revoked head-end.
        if let Some(trust) = &settings.trust {
            let revocations = trust.trust().revocations.clone();
            background.spawn(revocation::watch(installation.pki().dir().to_owned(), revocations));
        }
        Ok((Opened::new(settings)?, radio))
    };
    meters.into_iter().map(open).collect()
}

fn start(devices: Vec<(Opened, Wifi)>, sites: &Sites) -> Result<()> {
    for (device, radio) in devices {
        sites.add(device.start(&tokio::runtime::Handle::current())?, radio);
    }
    Ok(())
}

/// Says where everything is, and what else there is to say; then waits for a signal.
pub(crate) async fn until_told_to_stop(
    headend: &Headend,
    installation: &Installation,
    further: Option<&str>,
) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for a signal")?;
    announce(headend, installation, further)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn announce(headend: &Headend, installation: &Installation, further: Option<&str>) -> Result<()> {
    say(&format!(
        "page      {}\ngateway   {} (TLS 1.3, DLMS/COSEM)\ndata      {}{}{}",
        headend.page_url(),
        headend.gateway_addr(),
        installation.path().display(),
        if further.is_some() { "\n" } else { "" },
        further.unwrap_or_default(),
    ))
}

/// Prints at once, also into a pipe, and all lines in one piece: whoever reads only the first may then go.
pub(crate) fn say(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let lines = format!("{text}\n");
    stdout
        .write_all(lines.as_bytes())
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")
}

/// Only the home's clock can run faster: its day of sun and battery is worth watching.
fn speed(plan: &Plan, arguments: &Args) -> f64 {
    if plan.kind == SiteKind::HomeSolar { arguments.speed } else { 1.0 }
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if speed > 0.0 && speed <= MAX_SPEED => Ok(speed),
        _ => Err(format!("a number above 0 and at most {MAX_SPEED} is needed")),
    }
}

/// The meters of this process, and those of a fleet that is enrolled in the same folder.
fn entries(meters: &[(&Plan, MeterFiles)], installation: &Installation) -> Result<Vec<MeterEntry>> {
    let own = meters.iter().map(|(plan, files)| entry(plan, files));
    Ok(own.chain(crate::fleet::enrolled(installation.path())?).collect())
}

fn entry(plan: &Plan, files: &MeterFiles) -> MeterEntry {
    let (encryption, authentication) = halves(&files.dlms);
    let firmware = files.role_keys.iter().find(|(role, _)| *role == Role::Firmware);
    let firmware_keys = firmware.map(|(_, keys)| {
        let (encryption, authentication) = halves(keys);
        meterseal_link::DlmsKeys { encryption, authentication }
    });
    MeterEntry {
        id: plan.id(),
        name: plan.name.to_owned(),
        site: plan.site.to_owned(),
        is_virtual: true,
        time_base: files.time_base,
        keys: meterseal_link::DlmsKeys { encryption, authentication },
        firmware_keys,
        allowed_scopes: vec![Scope::Development],
    }
}

fn settings(
    plan: &Plan,
    files: MeterFiles,
    place: Place,
    firmware: &DevelopmentFirmware,
    installation: &Installation,
    headend: &Headend,
    arguments: &Args,
) -> Result<Settings> {
    let speed = speed(plan, arguments);
    let (encryption, authentication) = halves(&files.dlms);
    // A meter of its own: it knows the time and what was revoked from its head-end, and from its last life.
    let trust = DeviceTrust::open(&files.folder.join("trust.cbor"), &installation.pki().trust())?;
    let unusable = || format!("the certificate in {} cannot be used", files.folder.display());
    let key_store = files.key_store as Arc<dyn KeyStore>;
    let profiles = MeterProfiles::new(Arc::clone(&key_store), &files.identity, trust.trust(), trust.clock())
        .with_context(unusable)?;
    let local = arguments.local.port(plan, profiles.shown(), &trust).with_context(unusable)?;
    Ok(Settings {
        access: Access {
            local,
            role_keys: files.role_keys.iter().fold(RoleKeys::NONE, |keys, (role, own)| {
                let (encryption, authentication) = halves(own);
                keys.with(*role, meterseal_meter::DlmsKeys { encryption, authentication })
            }),
            key_encryption_key: Some(SecretKey::new(*files.key_encryption_key)),
            device_secret: Some(SecretKey::new(*files.vault_key)),
            key_store: Some(key_store),
            issuers: trust.trust().headends.iter().map(|der| der.to_vec()).collect(),
            profiles: Some(Arc::new(profiles)),
        },
        identity: meterseal_meter::Identity {
            id: plan.id(),
            device_type: DEVICE_TYPE.to_owned(),
            // What its boot stage verifies says it better.
            firmware_version: String::new(),
            firmware_digest: Digest384([0; 48]),
        },
        keys: meterseal_meter::DlmsKeys { encryption, authentication },
        tls: tls::meter_config_with(&files.identity, trust.trust(), trust.clock()).with_context(unusable)?,
        trust: Some(Arc::new(trust)),
        network: Arc::new(Tcp),
        headend: Target { address: headend.gateway_addr().to_string(), headend: HEADEND_NAME.to_owned() },
        flash: files.flash,
        firmware: Some(Firmware::Simulated { stage: Arc::new(files.stage), factory: firmware.factory() }),
        place,
        seed: plan.serial,
        time_base: files.time_base,
        speed,
        profile_period_seconds: PROFILE_PERIOD_SECONDS,
    })
}

/// Encryption key and authentication key.
fn halves(keys: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (mut encryption, mut authentication) = ([0; 32], [0; 32]);
    encryption.copy_from_slice(&keys[..32]);
    authentication.copy_from_slice(&keys[32..]);
    (encryption, authentication)
}

/// The device type that marks name.
pub(crate) const DEVICE_TYPE: &str = "Meterseal virtual reference meter 3x230/400 V 5(100) A";
/// A minute, so that a visitor sees profile rows arrive.
const PROFILE_PERIOD_SECONDS: u32 = 60;
/// What the person at the terminal should know of, and no more; `RUST_LOG` changes it.
const LOG_FILTER: &str = "warn";
