//! All that a meter is put together from at each power-on: its boot stage decides and verifies what runs, then the meter
//! opens its flash. A device that restarts for new firmware does it again in the same process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use meterseal_boot::flash::{FileFlash, FlashFileError};
use meterseal_boot::handover::Handover;
use meterseal_boot::stage::{Factory, Partition, Stage, StageError};
use meterseal_meter::{
    CalibrationStatus, Config, Connectivity, DlmsKeys, Identity, ImageIdentity, Layout, Meter,
};
use meterseal_model::UnixMillis;
use meterseal_seal::{KeyStore, SealKey};

use crate::signer::Signer;
use crate::{StartError, SystemRandom};

/// What stands below a meter's image.
#[derive(Debug)]
pub enum Firmware {
    /// A boot stage in this process. Images are data to it: what runs is this program, and the meter attests as simulated.
    Simulated {
        /// The boot stage.
        stage: Arc<Stage>,
        /// What a new meter gets at its manufacture.
        factory: Arc<Factory>,
    },
    /// A boot stage has started this process, and starts it again when it ends.
    Started {
        /// What it handed over.
        handover: Box<Handover>,
        /// Where the firmware lies.
        partition: Partition,
        /// Tells the boot stage's watchdog that the meter measures; called about once a second.
        heartbeat: Heartbeat,
    },
}

/// A sign of life.
pub struct Heartbeat(Box<dyn Fn() + Send>);

impl Heartbeat {
    /// Calls this.
    pub fn new(beat: impl Fn() + Send + 'static) -> Self {
        Self(Box::new(beat))
    }
}

impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Heartbeat(…)")
    }
}

impl Firmware {
    fn partition(&self) -> &Partition {
        match self {
            Self::Simulated { stage, .. } => stage.partition(),
            Self::Started { partition, .. } => partition,
        }
    }
}

/// A meter's chip, with a firmware partition or without; one of an earlier format grows.
pub(crate) fn chip(path: &Path, firmware: Option<&Firmware>) -> Result<FileFlash, FlashFileError> {
    let own = Layout::STANDARD.size();
    let former = Layout::STANDARD.former_size(1);
    match firmware {
        None => FileFlash::open_or_enlarge(path, own, &[former]),
        Some(firmware) => {
            let size = firmware.partition().chip_bytes(FileFlash::SECTOR);
            FileFlash::open_or_enlarge(path, size, &[former, own])
        }
    }
}

/// What a meter is made of.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(crate) identity: Identity,
    pub(crate) keys: DlmsKeys,
    pub(crate) config: Config,
    pub(crate) chip: FileFlash,
    pub(crate) path: PathBuf,
    pub(crate) key_store: Option<Arc<dyn KeyStore>>,
    pub(crate) issuers: Vec<Vec<u8>>,
    pub(crate) connectivity: Connectivity,
    pub(crate) firmware: Option<Firmware>,
}

/// What the image that runs is, and its key.
pub(crate) type Handed = (ImageIdentity, SealKey);

/// A meter under power.
pub(crate) struct Powered {
    pub(crate) meter: Meter<FileFlash, SystemRandom>,
    /// Signs what the meter wants signed; a meter without keys has none.
    pub(crate) signer: Option<Signer>,
}

impl Assembly {
    /// One power-on at `now`, the site's time.
    pub(crate) fn power_on(&self, now: UnixMillis) -> Result<Powered, StartError> {
        self.open(self.boot(now)?, now)
    }

    /// Opens the meter as what the boot stage has started.
    pub(crate) fn open(&self, handed: Option<Handed>, now: UnixMillis) -> Result<Powered, StartError> {
        let id = self.identity.id;
        let mut identity = self.identity.clone();
        if let Some((handed, _)) = &handed {
            identity.firmware_version.clone_from(&handed.version);
            identity.firmware_digest = handed.image;
        }
        let broken = |source| StartError::Meter { path: self.path.clone(), source: Box::new(source) };
        let chip = self.chip.clone();
        let mut meter =
            Meter::open(identity, self.keys.clone(), self.config.clone(), chip, SystemRandom, now)
                .map_err(broken)?;
        let mut image_key = None;
        if let (Some((handed, key)), Some(firmware)) = (handed, &self.firmware) {
            let store = firmware.partition().open(self.chip.clone());
            let store = store.map_err(|error| self.not_booted(error.into()))?;
            meter.set_image_store(Box::new(store));
            meter.set_image_identity(handed);
            image_key = Some(key);
        }
        let mut signer = None;
        if self.key_store.is_some() || image_key.is_some() {
            let keys = self.key_store.clone();
            signer = Some(Signer::start(id, keys, image_key).map_err(StartError::Thread)?);
        }
        if let Some(keys) = &self.key_store {
            meter.set_key_store(Arc::clone(keys), self.issuers.clone());
        }
        meter.set_connectivity(self.connectivity);
        match meter.calibration() {
            CalibrationStatus::Missing => {
                tracing::info!(meter = %id, "runs uncalibrated: it has no calibration record");
            }
            CalibrationStatus::Refused => tracing::error!(
                meter = %id,
                "refuses its calibration record and books no energy; write the factory's record for this unit again"
            ),
            CalibrationStatus::Valid | CalibrationStatus::Extrapolated => {}
        }
        Ok(Powered { meter, signer })
    }

    /// What the boot stage says runs, and the key for it.
    pub(crate) fn boot(&self, now: UnixMillis) -> Result<Option<Handed>, StartError> {
        match &self.firmware {
            None => Ok(None),
            Some(Firmware::Started { handover, .. }) => {
                Ok(Some((handover.identity.clone(), handover.key.clone())))
            }
            Some(Firmware::Simulated { stage, factory }) => {
                let made = stage.manufacture(self.chip.clone(), factory, Some(now));
                made.map_err(|error| self.not_booted(error.into()))?;
                // Executed in place: nothing is loaded.
                let started = stage.power_on(self.chip.clone(), &mut ());
                let (booted, handover) = started.map_err(|error| self.not_booted(error))?;
                tracing::info!(meter = %self.identity.id, "boots {booted}");
                Ok(Some((handover.identity, handover.key)))
            }
        }
    }

    /// Whether a restart happens in this process; else the boot stage outside starts it again.
    pub(crate) const fn restarts_itself(&self) -> bool {
        matches!(self.firmware, Some(Firmware::Simulated { .. }))
    }

    /// Whether a boot stage outside has to start the meter.
    pub(crate) const fn starts_elsewhere(&self) -> bool {
        matches!(self.firmware, Some(Firmware::Started { .. }))
    }

    /// Tells the watchdog outside, if there is one, that the meter measures.
    pub(crate) fn beat(&self) {
        if let Some(Firmware::Started { heartbeat, .. }) = &self.firmware {
            (heartbeat.0)();
        }
    }

    fn not_booted(&self, source: StageError<meterseal_boot::flash::FlashError>) -> StartError {
        StartError::Boot { path: self.path.clone(), source: Box::new(source) }
    }
}
