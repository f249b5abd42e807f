//! What a meter of a fleet is put together from at each power-on, its boot stage first; and what its firmware does beside its
//! life, which moves on in long steps only.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use meterseal_boot::flash::FlashError;
use meterseal_boot::stage::{Factory, Stage, StageError};
use meterseal_meter::{Config, Connectivity, DlmsKeys, Identity, Meter, RoleKeys, Thresholds};
use meterseal_metrology::{Nominal, Scale};
use meterseal_model::{MeterId, TimeBase, UnixMillis};
use meterseal_seal::SealKey;
use tokio::sync::Notify;

use super::member::Member;
use super::memory::Chip;
use super::{LAYOUT, Settings};
use crate::{StartError, SystemRandom};

/// What a meter is made of.
pub(super) struct Assembly {
    identity: Identity,
    keys: DlmsKeys,
    config: Config,
    chip: Chip,
    path: PathBuf,
    stage: Option<(Stage, Option<Arc<Factory>>)>,
    pub(super) busy: Arc<Busy>,
}

/// A meter under power, and the key of its image.
pub(super) type Powered = (Meter<Chip, SystemRandom>, Option<SealKey>);

impl Assembly {
    pub(super) fn new(
        identity: Identity,
        (keys, role_keys): (DlmsKeys, RoleKeys),
        stage: Option<Stage>,
        chip: Chip,
        path: &Path,
        settings: &Settings,
        busy: Arc<Busy>,
    ) -> Self {
        let save_ms = u32::try_from(settings.step.as_millis()).unwrap_or(u32::MAX);
        let config = Config {
            profile_period_seconds: settings.profile_period_seconds,
            register_save_interval_ms: save_ms.clamp(100, 60_000),
            time_base: TimeBase::Simulated,
            layout: LAYOUT,
            role_keys,
            // Every third has a photovoltaic plant; which, is the model's business.
            thresholds: Thresholds { generation_expected: 1, ..Thresholds::STANDARD },
            ..Config::new(meterseal_metrology::Config::new(
                8_000_000_000,
                Nominal::Hz50,
                Scale {
                    voltage_femtovolts_per_count: [50_000_000_000; 3],
                    current_femtoamperes_per_count: [20_000_000_000; 4],
                },
            ))
        };
        let stage = stage.map(|stage| (stage, settings.factory.clone()));
        Self { identity, keys, config, chip, path: path.to_owned(), stage, busy }
    }

    pub(super) fn id(&self) -> MeterId {
        self.identity.id
    }

    /// When the meter last saved; `None` for a new one.
    pub(super) fn saved_time(&self) -> Result<Option<UnixMillis>, StartError> {
        meterseal_meter::saved_time(&mut self.chip.clone(), &LAYOUT).map_err(|source| self.broken(source))
    }

    /// One power-on.
    pub(super) fn power_on(&self, now: UnixMillis) -> Result<Powered, StartError> {
        let (mut identity, mut started) = (self.identity.clone(), None);
        if let Some((stage, factory)) = &self.stage {
            if let Some(factory) = factory {
                let made = stage.manufacture(self.chip.clone(), factory, Some(now));
                made.map_err(|error| self.not_booted(error.into()))?;
            }
            // Executed in place: nothing is loaded.
            let booted = stage.power_on(self.chip.clone(), &mut ());
            let (_, handover) = booted.map_err(|error| self.not_booted(error))?;
            let store = stage.partition().open(self.chip.clone());
            let store = store.map_err(|error| self.not_booted(error.into()))?;
            identity.firmware_version.clone_from(&handover.identity.version);
            identity.firmware_digest = handover.identity.image;
            started = Some((store, handover));
        }
        let config = self.config.clone();
        let meter = Meter::open(identity, self.keys.clone(), config, self.chip.clone(), SystemRandom, now);
        let mut meter = meter.map_err(|source| self.broken(source))?;
        meter.set_connectivity(Connectivity { local_port: None, inactivity_seconds: SILENCE_SECONDS });
        let key = started.map(|(store, handover)| {
            meter.set_image_store(Box::new(store));
            meter.set_image_identity(handover.identity);
            handover.key
        });
        Ok((meter, key))
    }

    fn broken(&self, source: meterseal_meter::OpenError<FlashError>) -> StartError {
        StartError::Meter { path: self.path.clone(), source: Box::new(source) }
    }

    fn not_booted(&self, source: StageError<FlashError>) -> StartError {
        StartError::Boot { path: self.path.clone(), source: Box::new(source) }
    }
}

/// Meters whose firmware has something to do, each at most once.
#[derive(Debug, Default)]
pub(super) struct Busy {
    places: Mutex<VecDeque<usize>>,
    news: Notify,
}

impl Busy {
    pub(super) fn add(&self, place: usize) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if !places.contains(&place) {
            places.push_back(place);
        }
        drop(places);
        self.news.notify_one();
    }

    async fn next(&self) -> usize {
        loop {
            let first = self.places.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match first {
                Some(place) => return place,
                None => self.news.notified().await,
            }
        }
    }
}

/// Lets firmware do what it has to do, meter by meter, a few milliseconds each.
pub(super) async fn carry_on(members: Vec<Arc<Member>>, busy: Arc<Busy>) {
    loop {
        let place = busy.next().await;
        if let Some(member) = members.get(place)
            && member.carry_on(STEPS)
        {
            busy.add(place);
        }
        tokio::task::yield_now().await;
    }
}

/// Steps of a verification in one go: each is 4 KiB or the signatures of an envelope.
const STEPS: usize = 64;
/// A head-end that reads a fleet seldom is still heard of within this time: it looks for gaps.
const SILENCE_SECONDS: u16 = 600;
