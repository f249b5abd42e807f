//! `meterseal headend run`: gateway, store and page, with the meters whose keys lie in the data folder.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use meterseal_headend::{AttestationPolicy, Headend, MeterEntry};
use meterseal_link::DlmsKeys;
use meterseal_link::client::Suite;
use meterseal_model::{MeterId, Role, TimeBase};
use meterseal_seal::Scope;

use crate::alarm_options::AlarmOptions;
use crate::dlms::login;
use crate::up;
use crate::up::installation::Installation;
use crate::up::sealed_files::{has_dlms_keys, held_role_keys};

/// Run the head-end: gateway, store and page
///
/// Meters that call are those with keys in DATA/meters/ID (`dlms.sealed`, or `dlms.key` in the clear); meters of other
/// makers are added with `add-meter`, at any time. Ctrl-C stops.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address of the page, on this machine's loopback
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address that meters dial
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4059")]
    gateway: SocketAddr,
    /// Scope of marks on which meters are admitted (may be given several times)
    #[arg(long, value_name = "SCOPE", default_value = "laboratory", value_parser = scope)]
    admit: Vec<Scope>,
    /// Read no meter that cannot prove which firmware it runs
    #[arg(long)]
    require_attestation: bool,
    #[command(flatten)]
    alarms: AlarmOptions,
}

pub(super) fn run(data: &Path, arguments: &Args) -> Result<()> {
    up::log_to_stderr();
    let runtime = up::runtime()?;
    runtime.block_on(serve(data, arguments))
}

async fn serve(data: &Path, arguments: &Args) -> Result<()> {
    let installation = Installation::open(data)?;
    let meters = meters(&installation.path().join("meters"), &arguments.admit)?;
    let mut config = installation.headend_config(
        arguments.gateway,
        arguments.listen,
        meters,
        Vec::new(),
        &arguments.alarms,
    )?;
    config.marks = marks(&config.data_dir.join("marks"))?;
    if arguments.require_attestation {
        config.attestation = AttestationPolicy::Required;
    }
    let headend = Headend::start(config).await?;
    // Dropped at the end, which ends what it does.
    let mut background = tokio::task::JoinSet::new();
    background.spawn(installation.upkeep());
    let outcome = up::until_told_to_stop(&headend, &installation, None).await;
    headend.shutdown().await;
    outcome?;
    // Whoever read the addresses may be gone by now; that is no failure.
    let _ = up::say("stopped; the next `meterseal headend run` goes on from here");
    Ok(())
}

/// Every meter with a key in the folder.
fn meters(folder: &Path, admit: &[Scope]) -> Result<Vec<MeterEntry>> {
    let mut meters = Vec::new();
    if !folder.exists() {
        return Ok(meters);
    }
    let cannot = || format!("cannot list {}", folder.display());
    for file in fs::read_dir(folder).with_context(cannot)? {
        let path = file.with_context(cannot)?.path();
        let id: Option<MeterId> =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let Some(id) = id.filter(|_| has_dlms_keys(&path)) else { continue };
        let keys = login::keys(&path, Suite::Two)?;
        let Some(keys) = keys.suite_2() else {
            bail!("{} holds keys of another suite than 2", path.display())
        };
        let simulated = path.join("simulated-clock").exists();
        meters.push(MeterEntry {
            id,
            name: id.to_string(),
            site: "meter".to_owned(),
            is_virtual: false,
            time_base: if simulated { TimeBase::Simulated } else { TimeBase::Wall },
            keys,
            firmware_keys: firmware_keys(&path)?,
            allowed_scopes: admit.to_vec(),
        });
    }
    meters.sort_by_key(|meter| meter.id);
    Ok(meters)
}

/// The keys of the firmware role in a meter's folder: `dlms-firmware.sealed`.
fn firmware_keys(folder: &Path) -> Result<Option<DlmsKeys>> {
    let Some(keys) = held_role_keys(folder, Role::Firmware)? else { return Ok(None) };
    let mut halves = DlmsKeys { encryption: [0; 32], authentication: [0; 32] };
    halves.encryption.copy_from_slice(&keys[..32]);
    halves.authentication.copy_from_slice(&keys[32..]);
    Ok(Some(halves))
}

/// The meters with a key in the folder.
pub(super) fn meter_ids(folder: &Path) -> Result<Vec<MeterId>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot list {}", folder.display());
    let mut ids = Vec::new();
    for file in fs::read_dir(folder).with_context(cannot)? {
        let path = file.with_context(cannot)?.path();
        let id: Option<MeterId> =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        ids.extend(id.filter(|_| has_dlms_keys(&path)));
    }
    Ok(ids)
}

/// Every mark in the folder.
fn marks(folder: &Path) -> Result<Vec<Vec<u8>>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot read the marks in {}", folder.display());
    let mut marks = Vec::new();
    for file in fs::read_dir(folder).with_context(cannot)? {
        let path = file.with_context(cannot)?.path();
        if path.extension().is_some_and(|extension| extension == "cbor") {
            marks.push(fs::read(&path).with_context(cannot)?);
        }
    }
    Ok(marks)
}

fn scope(text: &str) -> Result<Scope, String> {
    let scopes = [Scope::Development, Scope::Virtual, Scope::Laboratory];
    let known = scopes.map(Scope::name).join(", ");
    scopes.into_iter().find(|scope| scope.name() == text).ok_or_else(|| format!("write one of {known}"))
}
