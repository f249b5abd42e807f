//! A place with a meter in it, and time in frames.

use super::flash::Memory;
use crate::random::Random;
use embedded_storage::nor_flash::NorFlashErrorKind;
use meterseal_meter::{
    Config, DlmsKeys, Identity, Layout, Meter, OpenError, SecurityEntry, StorageError, Thresholds,
};
use meterseal_metrology::{Frame, Nominal};
use meterseal_model::{Digest384, MeterId, SensorReadings, UnixMillis};
use meterseal_world::site::{Disturbance, Site, SiteKind};

/// The meter on the stage does not work, which is a defect of it or of the stage, or the run cannot be kept; no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It does not start.
    #[error("the meter on the stage does not start: {0}")]
    Open(#[from] OpenError<NorFlashErrorKind>),
    /// Its flash.
    #[error("the flash of the meter on the stage fails: {0}")]
    Storage(#[from] StorageError<NorFlashErrorKind>),
    /// The file that keeps the run.
    #[error(transparent)]
    Checkpoint(#[from] super::CheckpointError),
}

/// Frames between two readings of the sensors.
pub(super) const BLOCK: u32 = SensorReadings::PERIOD_MS * Site::SAMPLE_RATE / 1000;
/// Readings between two ticks of the meter: 100 ms, as a device's are at the most.
const TICK: u64 = 25;

pub(super) struct Stage {
    pub(super) site: Site,
    meter: Meter<Memory, Dice>,
    frames: u64,
    block: [Frame; BLOCK as usize],
    /// The newest entry that has been taken.
    taken: u64,
}

struct Dice(Random);

impl meterseal_meter::Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.0.next() as u8);
    }
}

impl Stage {
    pub(super) fn open(
        kind: SiteKind,
        seed: u64,
        thresholds: Thresholds,
        start: UnixMillis,
    ) -> Result<Self, Failure> {
        let site = Site::new(kind, seed, start);
        let flash = Memory::blank(Layout::TINY.size());
        let meter = meter(&site, flash, thresholds, seed)?;
        let mut stage = Self { site, meter, frames: 0, block: [Frame::default(); BLOCK as usize], taken: 0 };
        // Its start.
        stage.take_entries()?;
        Ok(stage)
    }

    /// Frames since the beginning.
    pub(super) const fn frames(&self) -> u64 {
        self.frames
    }

    /// One reading; what the sensors said.
    pub(super) fn step(&mut self) -> Result<SensorReadings, Failure> {
        self.step_with(0, &[])
    }

    /// One reading, with something happening after `offset` of its frames.
    pub(super) fn step_with(
        &mut self,
        offset: u32,
        disturbances: &[Disturbance],
    ) -> Result<SensorReadings, Failure> {
        let (before, behind) = self.block.split_at_mut(offset as usize);
        self.site.frames(before);
        disturbances.iter().for_each(|&disturbance| self.site.disturb(disturbance));
        self.site.frames(behind);
        let now = self.site.now();
        self.meter.sample_at(self.frames, &self.block, now);
        self.frames += u64::from(BLOCK);
        let readings = self.site.sensors();
        self.meter.sense(&readings, now)?;
        self.site.reset_latches();
        if (self.frames / u64::from(BLOCK)).is_multiple_of(TICK) {
            self.meter.tick(now)?;
        }
        Ok(readings)
    }

    /// The entries that have come since this was last asked.
    pub(super) fn take_entries(&mut self) -> Result<Vec<SecurityEntry>, Failure> {
        let newest = *self.meter.security_log_range().end();
        let new = self.taken + 1..=newest;
        self.taken = newest;
        let entries = new.map(|sequence| self.meter.security_log_entry(sequence));
        Ok(entries.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Whether something has been logged that was not taken.
    pub(super) fn has_entries(&self) -> bool {
        *self.meter.security_log_range().end() > self.taken
    }
}

fn meter(
    site: &Site,
    flash: Memory,
    thresholds: Thresholds,
    seed: u64,
) -> Result<Meter<Memory, Dice>, OpenError<NorFlashErrorKind>> {
    let rate = u64::from(Site::SAMPLE_RATE) * 1_000_000;
    let identity = Identity {
        id: MeterId::new(*b"MSL", 1).expect("three capital letters and a short serial number"),
        device_type: "Meterseal Reference".to_owned(),
        firmware_version: env!("CARGO_PKG_VERSION").to_owned(),
        firmware_digest: Digest384([0; 48]),
    };
    // Nobody connects to it.
    let mut random = Dice(Random::new(seed));
    let mut keys = DlmsKeys { encryption: [0; 32], authentication: [0; 32] };
    meterseal_meter::Random::fill(&mut random, &mut keys.encryption);
    let config = Config {
        thresholds,
        layout: Layout::TINY,
        kernel: meterseal_metrology_simd::fastest(),
        ..Config::reference(meterseal_metrology::Config::new(rate, Nominal::Hz50, site.scale()))
    };
    Meter::open(identity, keys, config, flash, random, site.now())
}
