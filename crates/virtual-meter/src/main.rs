//! The image of a virtual meter: one meter with its site, its flash and its connection, in a process that its boot stage has
//! started. It ends when its boot stage is gone, when it is told to, and when it wants to be started again.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use meterseal_boot::image::BootLink;
use meterseal_boot::stage::{FIRMWARE_BASE, Partition};
use meterseal_boot::supervise::RESTART;
use meterseal_device::{
    Access, Device, Firmware, Heartbeat, LocalAccess, LocalPort, Opened, Place, Settings,
};
use meterseal_link::dial::{Target, Tcp};
use meterseal_link::enrolled::MeterProfiles;
use meterseal_link::{Identity, tls};
use meterseal_meter::firmware::{FirmwareLayout, LEAST_PROBATION_MS, Target as Product};
use meterseal_meter::{DlmsKeys, RoleKeys, SecretKey};
use meterseal_model::{Digest384, Role, TimeBase};
use meterseal_seal::KeySlot;
use meterseal_virtual_meter::{DeviceFolder, RoleKeyPair};
use meterseal_world::site::SiteKind;
use tokio::signal::unix::{SignalKind, signal};

/// A virtual meter, started by its boot stage (`meterseal boot`)
#[derive(Parser)]
#[command(name = "virtual-meter", version)]
struct Arguments {
    /// The meter's flash
    #[arg(long, value_name = "FILE")]
    flash: PathBuf,
    /// The meter's folder
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Its head-end (HOST:PORT)
    #[arg(long, value_name = "ADDRESS")]
    headend: String,
    /// The head-end's name, as in its certificate
    #[arg(long, value_name = "NAME", default_value = "local")]
    headend_name: String,
    /// What it measures
    #[arg(long, value_enum, default_value = "home")]
    site: SiteArgument,
    /// Listen for readers, installers and benches, with TLS
    #[arg(long, value_name = "ADDRESS")]
    local_port: Option<SocketAddr>,
    /// Its maker
    #[arg(long, value_name = "NAME", default_value = "Meterseal")]
    vendor: String,
    /// Its device type
    #[arg(long, value_name = "TYPE")]
    device_type: String,
    /// Its hardware revision
    #[arg(long, value_name = "REVISION", default_value = "virtual")]
    hardware: String,
    /// The size of an image slot, MiB
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    slot: u32,
    /// Seconds that a new image has to live before it is confirmed
    #[arg(long, value_name = "SECONDS", default_value_t = LEAST_PROBATION_MS / 1000)]
    least_probation: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum SiteArgument {
    Factory,
    Home,
    Commercial,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::from(RESTART),
        Ok(false) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("virtual-meter: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// `true`: it wants to be started again.
fn run(arguments: Arguments) -> Result<bool> {
    let (link, handover) =
        BootLink::open().context("this program is an image: start it by its boot stage (meterseal boot)")?;
    let (beats, ends) = (link.try_clone()?, link);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime
        .block_on(async {
            let heartbeat = Heartbeat::new(move || beats.beat());
            let device = open(arguments, handover, heartbeat)?.start(&tokio::runtime::Handle::current())?;
            let gone = tokio::task::spawn_blocking(move || ends.wait());
            let again = until_the_end(&device, gone).await?;
            device.stop().await;
            // What still waits for the boot stage waits no more.
            Ok(again)
        })
        .inspect(|_| runtime.shutdown_background())
}

async fn until_the_end(device: &Device, gone: tokio::task::JoinHandle<()>) -> Result<bool> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for a signal")?;
    tokio::select! {
        again = device.ended() => Ok(again),
        _ = gone => Ok(false),
        _ = interrupt.recv() => Ok(false),
        _ = terminate.recv() => Ok(false),
    }
}

fn open(
    arguments: Arguments,
    handover: meterseal_boot::handover::Handover,
    heartbeat: Heartbeat,
) -> Result<Opened> {
    let meter = handover.meter;
    let folder = DeviceFolder::open(&arguments.folder, meter)?;
    let unusable = || format!("the identity in {} cannot be used", arguments.folder.display());
    let identity = Identity::from_store(&folder.key_store, KeySlot::Operational).with_context(unusable)?;
    let (trust, clock) = (folder.trust.trust(), folder.trust.clock());
    let profiles =
        MeterProfiles::new(Arc::clone(&folder.key_store), &identity, trust, clock).with_context(unusable)?;
    let local = arguments.local_port.map(|address| {
        tls::local_port_config(profiles.shown(), trust, clock)
            .map(|profile| LocalPort { address, access: LocalAccess::Tls(profile) })
    });
    let keys = folder.keys_of(Role::Utility).map(pair).with_context(unusable)?;
    let others = folder.role_keys.iter().filter(|(role, _)| *role != Role::Utility);
    let product = Product {
        vendor: arguments.vendor,
        device_type: arguments.device_type.clone(),
        hardware: arguments.hardware,
        class_key: None,
    };
    let partition = Partition {
        base: FIRMWARE_BASE,
        layout: FirmwareLayout::STANDARD.with_slot(arguments.slot << 20),
        target: product,
        least_probation_ms: arguments.least_probation.saturating_mul(1000),
    };
    let settings = Settings {
        access: Access {
            local: local.transpose().with_context(unusable)?,
            role_keys: others.fold(RoleKeys::NONE, |keys, (role, own)| keys.with(*role, pair(own))),
            key_encryption_key: Some(SecretKey::new(*folder.key_encryption_key)),
            device_secret: Some(SecretKey::new(*folder.vault_key)),
            key_store: Some(Arc::clone(&folder.key_store)),
            issuers: trust.headends.iter().map(|der| der.to_vec()).collect(),
            profiles: Some(Arc::new(profiles)),
        },
        identity: meterseal_meter::Identity {
            id: meter,
            device_type: arguments.device_type,
            // What the boot stage has verified says it better.
            firmware_version: String::new(),
            firmware_digest: Digest384([0; 48]),
        },
        keys,
        tls: tls::meter_config_with(&identity, trust, clock).with_context(unusable)?,
        trust: Some(Arc::new(folder.trust)),
        network: Arc::new(Tcp),
        headend: Target { address: arguments.headend, headend: arguments.headend_name },
        flash: arguments.flash,
        firmware: Some(Firmware::Started { handover: Box::new(handover), partition, heartbeat }),
        place: Place::Synthetic(match arguments.site {
            SiteArgument::Factory => SiteKind::Factory,
            SiteArgument::Home => SiteKind::HomeSolar,
            SiteArgument::Commercial => SiteKind::Commercial,
        }),
        seed: meter.serial(),
        time_base: TimeBase::Wall,
        speed: 1.0,
        profile_period_seconds: 900,
    };
    Ok(Opened::new(settings)?)
}

fn pair(keys: &RoleKeyPair) -> DlmsKeys {
    let (mut encryption, mut authentication) = ([0; 32], [0; 32]);
    encryption.copy_from_slice(&keys[..32]);
    authentication.copy_from_slice(&keys[32..]);
    DlmsKeys { encryption, authentication }
}
