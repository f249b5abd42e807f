//! The sound virtual meter: the device's own code over a unit's front end and flash in memory, calibrated by the factory's procedure.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use embedded_storage::nor_flash::NorFlashErrorKind;
use meterseal_meter::{
    Config, DlmsKeys, Identity, ImageStore, Layout, LinkId, Meter, Peer, RoleKeys, SecretKey,
};
use meterseal_metrology::{Calibration, Frame, MeteredEnergy, Nominal};
use meterseal_model::{Digest384, MeterId, Role, Roles, SensorReadings, SystemTitle, UnixMillis};
use meterseal_seal::{KeySlot, KeyState, KeyStore, SealKey, Signer as _};
use meterseal_world::physics::{Effects, LoadPoint, SAMPLE_RATE_HZ, Sensor, Tolerances, Unit};

use super::front_end::FrontEnd;
use super::log_key::LogKey;
use super::maker::{Behaviour, Maker, Program};
use super::specimen::{Line, Memory, Specimen};
use crate::calibration::{self, Procedure, calibrate};
use crate::certify::{Caller, Stimulus, Trouble};
use crate::instrument::Instrument;
use crate::random::Random;

/// What the factory makes specimens from: one unit, drawn and calibrated once.
#[derive(Clone, Debug)]
pub struct Made {
    unit: Unit,
    record: Calibration,
    seed: u64,
    /// What it says it is.
    pub device_type: String,
    /// The digest of the firmware that runs in it.
    pub firmware_digest: Digest384,
    /// How far the meter's clock is off, parts per million: a crystal's; 0 for one that its head-end keeps.
    pub clock_ppm: f64,
    /// The constant of its pulse outputs, as it is set.
    pub impulses_per_kilowatt_hour: u32,
    /// Whether its log is signed.
    pub signs: bool,
    /// What stands between Image transfer and its firmware partition, in place of nothing.
    pub image_store: Option<BetweenImages>,
    /// Who reaches its flash at each start, before its boot stage does: the number of starts so far comes along.
    pub at_start: Option<fn(&Memory, u64)>,
    /// How it signs what it attests, in place of its image's key alone: it may know earlier signatures.
    pub attests: Option<Attests>,
    maker: Arc<OnceLock<Result<Arc<Maker>, Trouble>>>,
}

/// Makes a signature of the one that is right now, and of those before it, which it keeps.
pub type Attests = fn(&mut Vec<[u8; 96]>, [u8; 96]) -> [u8; 96];

/// Puts something around the place for new firmware.
pub type BetweenImages = fn(Box<dyn ImageStore>, Arc<Maker>) -> Box<dyn ImageStore>;

impl Made {
    /// Draws a unit of the reference meter and calibrates it between −40 and +85 °C.
    ///
    /// # Errors
    /// [`calibration::Error`]: the unit cannot be calibrated.
    pub fn new(seed: u64) -> Result<Self, calibration::Error> {
        let unit = Unit::draw(seed, Sensor::Transformer, &Tolerances::REFERENCE, Effects::ALL);
        let id = meterseal_meter::unit_id(identifier());
        let outcome = calibrate(&unit, id, &Instrument::draw(seed), &Procedure::default(), seed)?;
        Ok(Self {
            unit,
            record: outcome.record,
            seed,
            device_type: "Meterseal virtual reference meter 3x230/400 V 5(100) A".to_owned(),
            firmware_digest: Digest384([0; 48]),
            clock_ppm: 0.0,
            impulses_per_kilowatt_hour: crate::points::METER_CONSTANT as u32,
            signs: true,
            image_store: None,
            at_start: None,
            attests: None,
            maker: Arc::default(),
        })
    }

    /// A specimen of it, new, at 23 °C with its voltages on and no load. `salt` sets its noise apart from others'.
    ///
    /// # Errors
    /// [`Trouble::Meter`]: it does not start.
    pub fn specimen(&self, salt: u64) -> Result<VirtualMeter, Trouble> {
        VirtualMeter::new(self.clone(), salt)
    }

    /// What it is called in messages.
    pub fn system_title(&self) -> SystemTitle {
        identifier().system_title()
    }

    /// A secret of its own for this use.
    fn secret(&self, purpose: u64) -> [u8; 32] {
        let mut random = Dice(Random::new(self.seed ^ 0x5345_4352 ^ (purpose << 32)));
        let mut secret = [0; 32];
        meterseal_meter::Random::fill(&mut random, &mut secret);
        secret
    }

    /// The key that signs its log.
    fn log_key(&self) -> Result<SealKey, Trouble> {
        let mut random = Dice(Random::new(self.seed ^ 0x4C4F_474B));
        let fill = |bytes: &mut [u8]| -> Result<(), Infallible> {
            meterseal_meter::Random::fill(&mut random, bytes);
            Ok(())
        };
        SealKey::generate(fill).map_err(|never| match never {})
    }

    /// Who makes its firmware: made when it is first wanted.
    ///
    /// # Errors
    /// [`Trouble::Bench`]: it could not sign.
    pub fn maker(&self) -> Result<Arc<Maker>, Trouble> {
        self.maker.get_or_init(|| Maker::new(self.seed).map(Arc::new)).clone()
    }

    /// Who it says it is.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            id: identifier(),
            device_type: self.device_type.clone(),
            firmware_version: env!("CARGO_PKG_VERSION").to_owned(),
            firmware_digest: self.firmware_digest,
        }
    }

    /// The keys that it shares with those of a role; `None` for the public.
    pub fn keys(&self, role: Role) -> Option<DlmsKeys> {
        if role == Role::Public {
            return None;
        }
        let mut random =
            Dice(Random::new(self.seed ^ 0x4B45_5953 ^ (u64::from(role.client_address()) << 32)));
        let mut keys = DlmsKeys { encryption: [0; 32], authentication: [0; 32] };
        meterseal_meter::Random::fill(&mut random, &mut keys.encryption);
        meterseal_meter::Random::fill(&mut random, &mut keys.authentication);
        Some(keys)
    }
}

/// Its identifier.
pub(in crate::certify) fn identifier() -> MeterId {
    MeterId::new(*b"MSV", 1).expect("three capital letters and a short serial number")
}

/// The virtual meter.
pub struct VirtualMeter {
    made: Made,
    salt: u64,
    front_end: FrontEnd,
    memory: Memory,
    /// `None` while its supply is away.
    meter: Option<Meter<Memory, Dice>>,
    /// Frames since its supply came.
    frames: u64,
    readings: u64,
    unwarmed: u64,
    pulses: Vec<f64>,
    links: Vec<(Line, LinkId)>,
    lines: u32,
    starts: u64,
    key_store: Arc<dyn KeyStore>,
    /// How far its clock source has jumped, milliseconds.
    jumped: i64,
    /// Who made its firmware, once it has a partition for it.
    maker: Option<Arc<Maker>>,
    /// What its boot stage has started.
    program: Option<Program>,
    /// The reading at which its boot stage starts something again; `None`: it runs, is without supply, or has nothing to start.
    due: Option<u64>,
    /// The reading at which it started.
    started: u64,
    signatures: Vec<[u8; 96]>,
}

/// Reproducible random numbers for challenges: a bench's meter protects nobody.
struct Dice(Random);

impl meterseal_meter::Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.0.next() as u8);
    }
}

/// Frames between two readings of the sensors.
const BLOCK: usize = (SensorReadings::PERIOD_MS as usize * SAMPLE_RATE_HZ as usize) / 1000;
/// Readings between two ticks: 100 ms.
const TICK: u64 = 25;
/// Blocks that are made at once: a tick's.
const CHUNK: usize = BLOCK * TICK as usize;
/// Readings in a second.
const SECOND: u64 = 1000 / SensorReadings::PERIOD_MS as u64;
/// Readings after which an image crashes that does later.
const MINUTE: u64 = 60 * SECOND;
/// Readings until something runs again after what ran has ended: half a second, as a meter in a process of its own takes (docs/figures.md).
const SWITCH: u64 = SECOND / 2;
/// Readings after which the boot stage's watchdog ends an image that gives no sign of life: 30 s.
const WATCHDOG: u64 = 30 * SECOND;
/// 2026-01-01 00:00:00 UTC: when every bench begins.
pub(in crate::certify) const BEGIN: UnixMillis = UnixMillis(1_767_225_600_000);

impl VirtualMeter {
    fn new(made: Made, salt: u64) -> Result<Self, Trouble> {
        let still = LoadPoint::unbalanced(50.0, [crate::points::UN; 3], [0.0; 3], 0.0);
        // Noise follows the unit's own generator: as many draws as the salt says set specimens apart.
        let mut unit = made.unit.clone();
        for _ in 0..salt % 61 {
            unit.signal(&still, 0.0);
        }
        let mut meter = Self {
            front_end: FrontEnd::new(unit, still),
            memory: Memory::blank(Layout::STANDARD.size()),
            key_store: Arc::new(LogKey(made.log_key()?)),
            made,
            salt,
            meter: None,
            frames: 0,
            readings: 0,
            unwarmed: 0,
            pulses: Vec::new(),
            links: Vec::new(),
            lines: 0,
            starts: 0,
            jumped: 0,
            maker: None,
            program: None,
            due: None,
            started: 0,
            signatures: Vec::new(),
        };
        let mut record = [0; Calibration::ENCODED_LEN];
        record.copy_from_slice(&meter.made.record.encode());
        let mut flash = meter.memory.clone();
        meterseal_meter::write_calibration(&mut flash, identifier(), Layout::STANDARD, &record)
            .map_err(does_not_start)?;
        meter.start()?;
        Ok(meter)
    }

    fn now(&self) -> UnixMillis {
        let seconds = self.front_end.seconds() * (1.0 + self.made.clock_ppm * 1e-6);
        UnixMillis(BEGIN.0 + (seconds * 1000.0) as i64 + self.jumped)
    }

    /// Its clock source jumps by so many milliseconds, and nobody tells the meter: for flaws.
    pub fn jump(&mut self, milliseconds: i64) {
        self.jumped += milliseconds;
    }

    fn start(&mut self) -> Result<(), Trouble> {
        self.start_at(self.now())
    }

    /// A power-on, or a restart, at `now`.
    fn start_at(&mut self, now: UnixMillis) -> Result<(), Trouble> {
        self.starts += 1;
        (self.due, self.program, self.started) = (None, None, self.readings);
        if self.maker.is_some()
            && let Some(reaches) = self.made.at_start
        {
            reaches(&self.memory, self.starts);
        }
        self.program = self.maker.as_ref().map(|maker| maker.boot(&self.memory)).transpose()?;
        match self.program.as_ref().map(|program| program.behaviour) {
            Some(Behaviour::Hangs) => {
                self.due = Some(self.readings + WATCHDOG);
                return Ok(());
            }
            Some(Behaviour::Crashes) => {
                self.due = Some(self.readings + SWITCH);
                return Ok(());
            }
            _ => {}
        }
        let metrology =
            meterseal_metrology::Config::new((SAMPLE_RATE_HZ * 1e6) as u64, Nominal::Hz50, Unit::scale());
        let mut config =
            Config { kernel: meterseal_metrology_simd::fastest(), ..Config::reference(metrology) };
        for output in config.pulses.iter_mut().flatten() {
            output.impulses_per_kilo_hour = self.made.impulses_per_kilowatt_hour;
        }
        let mut identity = self.made.identity();
        if let Some(program) = &self.program {
            identity.firmware_version.clone_from(&program.identity.version);
            identity.firmware_digest = program.identity.image;
        }
        let keys =
            |role| self.made.keys(role).ok_or_else(|| Trouble::Bench(format!("no keys for the {role}")));
        for role in Roles::AUTHENTICATED.iter().filter(|role| *role != Role::Utility) {
            config.role_keys =
                std::mem::replace(&mut config.role_keys, RoleKeys::NONE).with(role, keys(role)?);
        }
        let utility = keys(Role::Utility)?;
        config.key_encryption_key = Some(SecretKey::new(self.made.secret(1)));
        config.device_secret = Some(SecretKey::new(self.made.secret(2)));
        let dice = Dice(Random::new(self.made.seed ^ (self.salt << 20) ^ (self.starts << 56)));
        let meter = Meter::open(identity, utility, config, self.memory.clone(), dice, now);
        let mut meter = meter.map_err(does_not_start)?;
        if self.made.signs {
            meter.set_key_store(Arc::clone(&self.key_store), Vec::new());
        }
        if let (Some(program), Some(maker)) = (&self.program, &self.maker) {
            let mut store: Box<dyn ImageStore> = Box::new(maker.store(&self.memory)?);
            if let Some(between) = self.made.image_store {
                store = between(store, Arc::clone(maker));
            }
            meter.set_image_store(store);
            meter.set_image_identity(program.identity.clone());
        }
        self.meter = Some(meter);
        self.frames = 0;
        Ok(())
    }

    /// What runs ends; its boot stage starts something after so many readings.
    fn end(&mut self, readings: u64) {
        self.meter = None;
        self.links.clear();
        self.due = Some(self.readings + readings);
    }

    /// What an image does beside metering, ten times a second.
    fn carry_on(&mut self, now: UnixMillis) -> Result<(), Trouble> {
        let (Some(meter), Some(program), Some(maker)) = (&mut self.meter, &self.program, &self.maker) else {
            return Ok(());
        };
        let lived = self.readings - self.started;
        match program.behaviour {
            Behaviour::CrashesLater if lived >= MINUTE => {
                self.end(SWITCH);
                return Ok(());
            }
            Behaviour::MeasuresWrong if lived >= SECOND => {
                let mut store = maker.store(&self.memory)?;
                store.give_up().map_err(|error| Trouble::Meter(error.to_string()))?;
                meter.power_down(now).map_err(fails)?;
                self.end(SWITCH);
                return Ok(());
            }
            _ => {}
        }
        if meter.carry_on_firmware().map_err(fails)? {
            meter.power_down(now).map_err(fails)?;
            self.end(SWITCH);
        }
        Ok(())
    }

    /// Signs what it attests.
    fn attest(&mut self) {
        let (Some(meter), Some(program)) = (&mut self.meter, &self.program) else { return };
        while let Some(request) = meter.attestation_request() {
            let signature = program.key.sign(&request.to_be_signed).ok();
            let signature = signature.map(|signature| match self.made.attests {
                Some(attests) => attests(&mut self.signatures, signature),
                None => signature,
            });
            meter.attested(request.number, signature.as_ref());
        }
    }

    /// Frames of one tick or less, which end with a reading.
    fn live(&mut self, frames: &mut [Frame]) -> Result<(), Trouble> {
        let (begun, step) = (self.front_end.seconds(), self.front_end.seconds_per_frame());
        self.front_end.frames(frames);
        let end = self.now();
        let blocks = frames.len() / BLOCK;
        for (number, block) in frames.chunks(BLOCK).enumerate() {
            self.readings += 1;
            let readings = self.front_end.sensors(self.readings);
            let before = (blocks - number - 1) as i64 * i64::from(SensorReadings::PERIOD_MS);
            let now = UnixMillis(end.0 - before);
            if self.due.is_some_and(|at| self.readings >= at) {
                // With nothing that verifies it stays dark, as a real one does.
                let _ = self.start_at(now);
                continue;
            }
            let Some(meter) = &mut self.meter else { continue };
            meter.sample_at(self.frames, block, now);
            self.frames += block.len() as u64;
            meter.sense(&readings, now).map_err(fails)?;
            self.front_end.reset_latches();
            if self.readings.is_multiple_of(TICK) {
                meter.tick(now).map_err(fails)?;
                if let Some(request) = meter.signing_request() {
                    // A device signs beside its measuring; here time stands still for it.
                    let signed = self.key_store.sign(KeySlot::Log, KeyState::Current, &request.to_be_signed);
                    meter.signed(request.number, signed.ok().as_ref()).map_err(fails)?;
                }
                let (pulses, first) = (&mut self.pulses, self.frames - (number as u64 + 1) * BLOCK as u64);
                meter.take_pulses(&mut |pulse| {
                    if pulse.output == 0 {
                        let sample =
                            pulse.sample as f64 - first as f64 + f64::from(pulse.fraction) / 4_294_967_296.0;
                        pulses.push(begun + sample * step);
                    }
                });
                self.carry_on(now)?;
            }
        }
        self.unwarmed += frames.len() as u64;
        if self.unwarmed >= FrontEnd::frames_between_steps_of_warmth() {
            self.front_end.warm(self.unwarmed as f64 * step);
            self.unwarmed = 0;
        }
        Ok(())
    }

    /// What it was made from.
    pub fn made(&self) -> &Made {
        &self.made
    }

    fn link(&self, line: Line) -> Result<LinkId, Trouble> {
        let found = self.links.iter().find(|(known, _)| *known == line);
        found.map(|(_, link)| *link).ok_or_else(|| Trouble::Meter("the connection is gone".to_owned()))
    }

    fn running(&mut self) -> Result<&mut Meter<Memory, Dice>, Trouble> {
        self.meter.as_mut().ok_or_else(|| Trouble::Meter("it is without supply".to_owned()))
    }
}

impl Specimen for VirtualMeter {
    fn load(&mut self, load: &LoadPoint, turns: f64) {
        self.front_end.load(load, turns);
    }

    fn ambient(&mut self, celsius: f64) {
        self.front_end.ambient(celsius);
    }

    fn stimulate(&mut self, stimulus: Stimulus) {
        self.front_end.stimulate(stimulus);
    }

    fn supply(&mut self, on: bool) -> Result<(), Trouble> {
        if on && self.meter.is_none() {
            return self.start();
        }
        if !on {
            (self.meter, self.due) = (None, None);
            self.links.clear();
        }
        Ok(())
    }

    fn pass(&mut self, seconds: f64) -> Result<(), Trouble> {
        let mut chunk = [Frame::default(); CHUNK];
        let mut left = (seconds * SAMPLE_RATE_HZ / BLOCK as f64).round().max(1.0) as usize;
        while left > 0 {
            // Chunks end with a tick.
            let until_tick = TICK as usize - (self.readings % TICK) as usize;
            let blocks = left.min(until_tick);
            self.live(&mut chunk[..blocks * BLOCK])?;
            left -= blocks;
        }
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.front_end.seconds()
    }

    fn pulses(&mut self, into: &mut Vec<f64>) {
        into.append(&mut self.pulses);
    }

    fn connect(&mut self, caller: Caller) -> Result<Line, Trouble> {
        let unreachable = self.program.as_ref().is_some_and(|it| it.behaviour == Behaviour::Unreachable);
        if unreachable && !caller.local {
            return Err(Trouble::Meter("it does not dial its head-end".to_owned()));
        }
        let peer = Peer { roles: Roles::NONE.with(caller.role), local: caller.local };
        let link = self.running()?.connected(peer).map_err(|error| Trouble::Meter(error.to_string()))?;
        self.lines += 1;
        let line = Line(self.lines);
        self.links.push((line, link));
        Ok(line)
    }

    fn disconnect(&mut self, line: Line) {
        let Some(place) = self.links.iter().position(|(known, _)| *known == line) else { return };
        let (_, link) = self.links.remove(place);
        if let Some(meter) = &mut self.meter {
            meter.disconnected(link);
        }
    }

    fn send(&mut self, line: Line, bytes: &[u8]) -> Result<(), Trouble> {
        let link = self.link(line)?;
        let outcome = self.running()?.receive(link, bytes);
        self.attest();
        outcome.map_err(|error| Trouble::Meter(error.to_string()))
    }

    fn receive(&mut self, line: Line) -> Result<Option<Vec<u8>>, Trouble> {
        let link = self.link(line)?;
        self.running()?.transmit(link).map_err(|error| Trouble::Meter(error.to_string()))
    }

    fn memory(&self) -> Memory {
        self.memory.clone()
    }

    fn made_with(&mut self, kilowatt_hours: f64) -> Result<(), Trouble> {
        let mut made = Self::new(self.made.clone(), self.salt)?;
        // A window is needed to go with the energy; no connection is there to see it.
        made.pass(1.0)?;
        let now = made.now();
        let meter = made.running()?;
        let Some(window) = meter.live().copied() else {
            return Err(Trouble::Meter("it measures nothing in its factory".to_owned()));
        };
        let energy = MeteredEnergy {
            active_nanowatt_hours: (kilowatt_hours * 1e12 / 3.0) as i64,
            reactive_nanovar_hours: 0,
            apparent_nanovoltampere_hours: (kilowatt_hours * 1e12 / 3.0) as u64,
        };
        meter.account(&window, &[energy; 3], now);
        meter.power_down(now).map_err(fails)?;
        made.supply(false)?;
        made.pulses.clear();
        made.supply(true)?;
        *self = made;
        Ok(())
    }

    fn equip(&mut self) -> Result<(), Trouble> {
        if self.maker.is_some() {
            return Ok(());
        }
        let (maker, now) = (self.made.maker()?, self.now());
        if let Some(mut meter) = self.meter.take() {
            meter.power_down(now).map_err(fails)?;
        }
        self.links.clear();
        maker.provision(&self.memory, now)?;
        self.maker = Some(maker);
        self.start()
    }
}

fn does_not_start(error: meterseal_meter::OpenError<NorFlashErrorKind>) -> Trouble {
    Trouble::Meter(format!("it does not start: {error}"))
}

fn fails(error: meterseal_meter::StorageError<NorFlashErrorKind>) -> Trouble {
    Trouble::Meter(format!("its memory fails: {error}"))
}
