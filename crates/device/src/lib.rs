//! A meter that runs on Linux.
//!
//! [`Opened`] gives the sans-I/O meter what it lacks: a site to sample ([`meterseal_world`]), flash in a file
//! ([`flash`]), the boot stage below it ([`Firmware`]), a clock, random numbers, and a connection that it dials out (`connection`). Each device samples in
//! a thread of its own (`runner`), so that nothing on the network can hold up a measurement; bytes travel between
//! the two over bounded channels. [`wifi`] puts a radio
//! between a meter and its network; [`fleet`] is thousands of meters without sampling, for load.

#![forbid(unsafe_code)]

mod assembly;
mod connection;
pub mod fleet;
mod link_state;
mod local;
mod runner;
mod signer;
mod supply;
pub mod wifi;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meterseal_link::device_trust::DeviceTrust;
use meterseal_link::dial::{Network, Profiles, Target};
use meterseal_link::enrolled::MeterProfiles;
use meterseal_link::tls::ClientProfile;
use meterseal_meter::{Config, Connectivity, DlmsKeys, Identity, Layout, RoleKeys, SecretKey, Thresholds};
use meterseal_metrology::Nominal;
use meterseal_model::{MeterId, Stimulus, TimeBase, UnixMillis};
use meterseal_seal::KeyStore;
use meterseal_world::comtrade::Recording;
use meterseal_world::site::{FrontEnd, ReplayError, Site, SiteKind};
use tokio::runtime::Handle;

use assembly::{Assembly, Powered};
pub use assembly::{Firmware, Heartbeat};
use flash::FlashFileError;
use link_state::LinkState;
use local::Bound;
pub use local::{LocalAccess, LocalPort};
pub use meterseal_boot::flash;
use runner::{Ended, Input, PulseCounts, Runner, Troubles};
use supply::{Fed, Monitor};

/// All that makes one virtual meter.
#[derive(Debug)]
pub struct Settings {
    /// Who it is.
    pub identity: Identity,
    /// The keys that it shares with its head-end.
    pub keys: DlmsKeys,
    /// Its side of the TLS profile, with its certificate.
    pub tls: ClientProfile,
    /// What it remembers of whom it trusts, where it has no clock of its own.
    pub trust: Option<Arc<DeviceTrust>>,
    /// What is between it and its head-end: [`Tcp`](meterseal_link::dial::Tcp), or a network with faults
    /// ([`wifi::Wifi`]).
    pub network: Arc<dyn Network>,
    /// Its head-end.
    pub headend: Target,
    /// Whom it serves beside its head-end, and its further keys.
    pub access: Access,
    /// Its flash.
    pub flash: PathBuf,
    /// What stands below its image. Without it the meter says of itself what its identity says, attests nothing, and has no
    /// place for new firmware.
    pub firmware: Option<Firmware>,
    /// What it measures.
    pub place: Place,
    /// The seed of everything random in its world.
    pub seed: u64,
    /// Which clock the site follows. A simulated one goes on from where it was when the meter last ran.
    pub time_base: TimeBase,
    /// Site seconds per wall second, above 0; 1 for a wall clock.
    pub speed: f64,
    /// Length of a load-profile interval, seconds.
    pub profile_period_seconds: u32,
}

/// Whom a meter serves beside its head-end, and the keys for it. By default nobody.
#[derive(Debug, Default)]
pub struct Access {
    /// Where it listens for a bench or an installer.
    pub local: Option<LocalPort>,
    /// The keys of the roles beside the utility.
    pub role_keys: RoleKeys,
    /// The key under which the utility transfers keys.
    pub key_encryption_key: Option<SecretKey>,
    /// The secret under which the meter keeps keys that were transferred.
    pub device_secret: Option<SecretKey>,
    /// Its private keys, for the certificate methods of COSEM's Security setup.
    pub key_store: Option<Arc<dyn KeyStore>>,
    /// Certificates (DER) of the authorities from which the meter takes a certificate for itself.
    pub issuers: Vec<Vec<u8>>,
    /// What the meter shows of itself when it dials: its operational identity once it is enrolled. Without it, what the
    /// settings' TLS profile says.
    pub profiles: Option<Arc<MeterProfiles>>,
}

/// What a meter measures.
#[derive(Debug)]
pub enum Place {
    /// A synthetic site.
    Synthetic(SiteKind),
    /// A recording, in a loop.
    Recording(Box<Recording>),
}

/// A meter whose flash is open and whose site is made, ready to start. Where several start together, each is opened
/// first: what one of them refuses then stops all before any has sampled or dialled.
pub struct Opened {
    id: MeterId,
    inputs: SyncSender<Input>,
    runner: Runner,
    headend: Target,
    profiles: Arc<dyn Profiles>,
    trust: Option<Arc<DeviceTrust>>,
    network: Arc<dyn Network>,
    link: Arc<LinkState>,
    local: Option<Bound>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Opened").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A running meter. It stops, with its registers saved, when this is dropped or told to.
#[derive(Debug)]
pub struct Device {
    id: MeterId,
    inputs: SyncSender<Input>,
    sampling: Option<JoinHandle<()>>,
    connecting: tokio::task::JoinHandle<()>,
    listening: Option<tokio::task::JoinHandle<()>>,
    local_address: Option<SocketAddr>,
    pulses: Arc<PulseCounts>,
    ended: Arc<Ended>,
}

impl Opened {
    /// Opens the meter's flash.
    ///
    /// # Errors
    /// [`StartError`]: the settings, the flash or the recording cannot be used.
    pub fn new(settings: Settings) -> Result<Self, StartError> {
        let Settings {
            identity,
            keys,
            tls,
            trust,
            network,
            headend,
            access,
            flash,
            firmware,
            place,
            seed,
            time_base,
            speed,
            profile_period_seconds,
        } = settings;
        if !(speed > 0.0 && speed <= MAX_SPEED) || (time_base == TimeBase::Wall && speed != 1.0) {
            return Err(StartError::Speed(speed));
        }
        let id = identity.id;
        let mut chip = assembly::chip(&flash, firmware.as_ref())?;
        let sync = chip.sync_handle();
        let broken = |source: meterseal_meter::OpenError<flash::FlashError>| StartError::Meter {
            path: flash.clone(),
            source: Box::new(source),
        };

        let mut start = wall_clock();
        // A simulated clock may be ahead of the wall's: it goes on from where it was.
        if let Some(saved) = meterseal_meter::saved_time(&mut chip, &Layout::STANDARD).map_err(broken)?
            && time_base == TimeBase::Simulated
        {
            start = start.max(saved);
        }
        let thresholds = thresholds_for(&place);
        let site = match &place {
            Place::Synthetic(kind) => Site::new(*kind, seed, start),
            Place::Recording(recording) => Site::replay(recording, None, seed, start)?,
        };
        let config = Config {
            profile_period_seconds,
            time_base,
            kernel: meterseal_metrology_simd::fastest(),
            role_keys: access.role_keys,
            key_encryption_key: access.key_encryption_key,
            device_secret: access.device_secret,
            thresholds,
            ..settings_for(&site)
        };
        let local = match access.local {
            Some(port) => {
                let address = port.address;
                Some(Bound::new(port).map_err(|source| StartError::LocalPort { address, source })?)
            }
            None => None,
        };
        let assembly = Assembly {
            identity,
            keys,
            config,
            chip,
            path: flash,
            key_store: access.key_store,
            issuers: access.issuers,
            connectivity: Connectivity {
                local_port: local.as_ref().map(|bound| bound.address.port()),
                ..Connectivity::default()
            },
            firmware,
        };
        let Powered { meter, signer } = assembly.power_on(start)?;
        sync.sync()?;
        let (inputs, receiver) = mpsc::sync_channel(INPUTS);
        let link = Arc::new(LinkState::default());
        let network = Arc::new(Fed::new(network));
        let ended = Arc::new(Ended::default());
        let runner = Runner {
            name: id.to_string(),
            assembly,
            meter,
            sync,
            site,
            time_base,
            speed,
            inputs: receiver,
            troubles: Troubles::default(),
            disk_troubles: Troubles::default(),
            // As the site is made; the first block moves it to where the meter left it.
            supplied: true,
            monitor: Monitor::default(),
            signer,
            next_frame: 0,
            ended: ended.clone(),
            pulses: Arc::default(),
            link: Arc::clone(&link),
            network: Arc::clone(&network),
        };
        let profiles = match access.profiles {
            Some(profiles) => profiles as Arc<dyn Profiles>,
            None => Arc::new(tls),
        };
        Ok(Self { id, inputs, runner, headend, profiles, trust, network, link, local })
    }

    /// Starts to sample and to dial.
    ///
    /// # Errors
    /// [`StartError::Thread`]: nothing runs then.
    pub fn start(self, runtime: &Handle) -> Result<Device, StartError> {
        let Self { id, inputs, runner, headend, profiles, trust, network, link, local } = self;
        let (pulses, ended) = (Arc::clone(&runner.pulses), Arc::clone(&runner.ended));
        let sampling = std::thread::Builder::new()
            .name(id.to_string())
            .spawn(move || runner.run())
            .map_err(StartError::Thread)?;
        let connecting = {
            let link = Arc::clone(&link);
            runtime.spawn(connection::keep(headend, network, profiles, trust, inputs.clone(), link))
        };
        let local_address = local.as_ref().map(|bound| bound.address);
        let listening = local.map(|bound| runtime.spawn(bound.serve(id, inputs.clone(), link)));
        Ok(Device {
            id,
            inputs,
            sampling: Some(sampling),
            connecting,
            listening,
            local_address,
            pulses,
            ended,
        })
    }
}

impl Device {
    /// The meter's identifier.
    pub fn id(&self) -> MeterId {
        self.id
    }

    /// Where its local port listens, if it has one.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.local_address
    }

    /// Pulses given out since the start: of active and of reactive energy imported, 10 000 a kilowatt-hour and a
    /// kilovar-hour. Zero for a meter without a meter constant, or one whose calibration record is refused.
    pub fn pulses(&self) -> [u64; 2] {
        self.pulses.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Waits until the meter has ended by itself, saved, and says whether it wants to be started again by its boot stage: to
    /// try a new image, or because a try is over. A meter whose boot stage is in this process starts again by itself, and
    /// ends here only when nothing in its flash boots.
    pub async fn ended(&self) -> bool {
        self.ended.wait().await
    }

    /// Does something to the meter's surroundings.
    ///
    /// # Errors
    /// [`Stopped`] when the meter no longer runs, or does not keep up.
    pub fn apply(&self, stimulus: Stimulus) -> Result<(), Stopped> {
        self.inputs.try_send(Input::Stimulus(stimulus)).map_err(|_| Stopped)
    }

    /// Saves and stops. What the meter says last, that it goes down, is given a moment to reach the head-end.
    pub async fn stop(mut self) {
        self.tell_to_stop();
        if let Some(sampling) = self.sampling.take() {
            let id = self.id;
            // A task that panicked has been told of by the thread's own join.
            let _ = tokio::task::spawn_blocking(move || join(id, sampling)).await;
        }
        // Not connected, it would wait to dial again: then there is nobody to tell.
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.connecting).await;
    }

    fn tell_to_stop(&self) {
        // A full queue empties within a block of samples; an ended thread needs no telling.
        let mut stop = Input::Stop;
        while let Err(mpsc::TrySendError::Full(back)) = self.inputs.try_send(stop) {
            stop = back;
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(sampling) = self.sampling.take() {
            self.tell_to_stop();
            join(self.id, sampling);
        }
        self.connecting.abort();
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

fn join(id: MeterId, sampling: JoinHandle<()>) {
    if sampling.join().is_err() {
        tracing::error!(meter = %id, "the sampling thread panicked; registers are as of the last save");
    }
}

/// When a meter at such a place is tampered with: behind a plant on the roof current may flow backwards, and of a recording
/// nobody knows what generates there, or whether its neutral was recorded.
const fn thresholds_for(place: &Place) -> Thresholds {
    match place {
        Place::Synthetic(SiteKind::Factory | SiteKind::Commercial) => Thresholds::STANDARD,
        Place::Synthetic(SiteKind::HomeSolar) => {
            Thresholds { generation_expected: 1, ..Thresholds::STANDARD }
        }
        Place::Recording(_) => {
            Thresholds { generation_expected: 1, neutral_milliamperes: 0, ..Thresholds::STANDARD }
        }
    }
}

/// The reference meter's settings, where it is the reference meter: behind the instrument transformers that a recording
/// may want, its thresholds and its meter constant mean nothing.
fn settings_for(site: &Site) -> Config {
    let rate = u64::from(Site::SAMPLE_RATE) * 1_000_000;
    let metrology = meterseal_metrology::Config::new(rate, Nominal::Hz50, site.scale());
    let config = if site.scale() == FrontEnd::reference(0).scale() {
        Config::reference(metrology)
    } else {
        Config::new(metrology)
    };
    Config { harmonics: true, ..config }
}

/// Random numbers of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemRandom;

impl meterseal_meter::Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        // Linux answers since early boot; a challenge that could be foreseen would be worse than the end.
        getrandom::fill(bytes).expect("the operating system's random source answers");
    }
}

fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Why a meter cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its flash file.
    #[error(transparent)]
    Flash(#[from] FlashFileError),
    /// What its flash holds.
    #[error("the meter in {path} does not start: {source}", path = path.display())]
    Meter {
        /// The flash file.
        path: PathBuf,
        /// Why.
        source: Box<meterseal_meter::OpenError<flash::FlashError>>,
    },
    /// The recording that it should replay.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A clock that stands still, runs backwards, or faster than a machine can follow.
    #[error(
        "a site's clock cannot run {0} times as fast as the wall's; give more than 0 and at most {MAX_SPEED}"
    )]
    Speed(f64),
    /// Its local port.
    #[error("the meter cannot listen on {address}: {source}; give another address, or port 0 for a free one")]
    LocalPort {
        /// The address that was wanted.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Its boot stage.
    #[error("the meter in {path} does not start: {source}", path = path.display())]
    Boot {
        /// The flash file.
        path: PathBuf,
        /// Why.
        source: Box<meterseal_boot::stage::StageError<flash::FlashError>>,
    },
    /// No thread to run in.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// The meter does not run any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the meter does not answer")]
pub struct Stopped;

/// How long a stopping meter's last message may take.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Messages that may wait for the sampling thread.
const INPUTS: usize = 64;
/// Fastest clock of a site: an hour a second, more than one core can sample.
pub const MAX_SPEED: f64 = 3600.0;
