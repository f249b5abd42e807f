//! A meter on the bench: its flash in memory, sine waves for a supply, and the codec's own client at the other end.

#![allow(unreachable_pub, dead_code, clippy::unwrap_used, reason = "each test uses a part")]

pub mod axdr;
pub mod client;
pub mod flash;

use embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind};
use flash::RamFlash;
use meterseal_meter::{
    Config, DlmsKeys, Identity, Layout, LinkId, Meter, OpenError, Peer, ProtocolError, Random, RoleKeys,
    SecretKey, StorageError,
};
use meterseal_metrology::{Frame, Nominal, Scale};
use meterseal_model::{Digest384, Role, Roles, SensorReadings, UnixMillis};

pub const QUIET: SensorReadings = SensorReadings::QUIET;
pub const OPEN: SensorReadings = SensorReadings { meter_cover_open: true, ..QUIET };

/// 22 November 2026, 12:00 UTC: the start of a quarter of an hour.
pub const NOON: UnixMillis = UnixMillis(1_795_348_800_000);

pub fn at(millis: i64) -> UnixMillis {
    UnixMillis(NOON.0 + millis)
}

pub fn identity() -> Identity {
    Identity {
        id: "MSL0000000042".parse().unwrap(),
        device_type: "Meterseal Reference".into(),
        firmware_version: "0.1.0".into(),
        firmware_digest: Digest384([0xD1; 48]),
    }
}

pub fn utility_keys() -> DlmsKeys {
    DlmsKeys { encryption: [0x11; 32], authentication: [0x22; 32] }
}

pub fn reader_keys() -> DlmsKeys {
    DlmsKeys { encryption: [0x33; 32], authentication: [0x44; 32] }
}

/// What keys are transferred under.
pub const KEK: [u8; 32] = [0x3E; 32];

/// Each role's own keys.
pub fn keys_of(role: Role) -> DlmsKeys {
    match role {
        Role::Utility => utility_keys(),
        Role::Reader => reader_keys(),
        role => {
            let byte = role.client_address() as u8;
            DlmsKeys { encryption: [byte; 32], authentication: [byte + 1; 32] }
        }
    }
}

/// A peer at the local port whose certificate names every role.
pub const EVERYBODY: Peer = Peer { roles: Roles::ALL, local: true };

pub const RATE: u32 = 8000;
/// 1 count = 50 µV and 20 µA: full scale 419 V and 168 A.
const VOLTS_PER_COUNT: f64 = 50e-6;
const AMPERES_PER_COUNT: f64 = 20e-6;

pub fn config() -> Config {
    let scale = Scale {
        voltage_femtovolts_per_count: [50_000_000_000; 3],
        current_femtoamperes_per_count: [20_000_000_000; 4],
    };
    Config {
        layout: Layout::TINY,
        role_keys: Roles::AUTHENTICATED
            .iter()
            .fold(RoleKeys::NONE, |keys, role| keys.with(role, keys_of(role))),
        key_encryption_key: Some(SecretKey::new(KEK)),
        device_secret: Some(SecretKey::new([0xDE; 32])),
        ..Config::new(meterseal_metrology::Config::new(u64::from(RATE) * 1_000_000, Nominal::Hz50, scale))
    }
}

pub struct Counting(pub u64);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// A meter with one connection at most, and a hand on its clock.
pub struct TestMeter<'a, F: NorFlash = RamFlash> {
    pub meter: Meter<&'a mut F, Counting>,
    pub link: Option<LinkId>,
    now: UnixMillis,
}

impl<'a, F: NorFlash> TestMeter<'a, F> {
    pub fn new(meter: Meter<&'a mut F, Counting>, now: UnixMillis) -> Self {
        Self { meter, link: None, now }
    }

    pub fn connected(&mut self) {
        self.connect(EVERYBODY);
    }

    /// A new connection, in place of the one that there was.
    pub fn connect(&mut self, peer: Peer) {
        self.disconnected();
        self.link = Some(self.meter.connected(peer).unwrap());
    }

    pub fn disconnected(&mut self) {
        if let Some(link) = self.link.take() {
            self.meter.disconnected(link);
        }
    }

    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        self.meter.receive(self.link.ok_or(ProtocolError::NotConnected)?, bytes)
    }

    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        self.meter.transmit(self.link?).unwrap()
    }

    pub fn tick(&mut self, now: UnixMillis) -> Result<(), StorageError<F::Error>> {
        self.now = now;
        self.meter.tick(now)
    }

    /// Lets time pass, without a supply.
    pub fn pass(&mut self, millis: i64) {
        self.tick(UnixMillis(self.now.0 + millis)).unwrap();
    }
}

impl<'a, F: NorFlash> std::ops::Deref for TestMeter<'a, F> {
    type Target = Meter<&'a mut F, Counting>;

    fn deref(&self) -> &Self::Target {
        &self.meter
    }
}

impl<F: NorFlash> std::ops::DerefMut for TestMeter<'_, F> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.meter
    }
}

pub fn try_open(
    flash: &mut RamFlash,
    now: UnixMillis,
) -> Result<TestMeter<'_>, OpenError<NorFlashErrorKind>> {
    try_open_as(config(), flash, now)
}

pub fn try_open_as(
    config: Config,
    flash: &mut RamFlash,
    now: UnixMillis,
) -> Result<TestMeter<'_>, OpenError<NorFlashErrorKind>> {
    let seed = flash.steps;
    let meter = Meter::open(identity(), utility_keys(), config, flash, Counting(seed), now)?;
    Ok(TestMeter::new(meter, now))
}

pub fn open(flash: &mut RamFlash, now: UnixMillis) -> TestMeter<'_> {
    try_open(flash, now).unwrap()
}

pub fn blank() -> RamFlash {
    RamFlash::new(Layout::TINY.size())
}

/// Frames of a balanced load at 50 Hz: 230 V, this current, lagging by 30°.
pub fn frames(first: u64, count: usize, amperes: f64) -> Vec<Frame> {
    let peak = std::f64::consts::SQRT_2;
    (first..first + count as u64)
        .map(|k| {
            let angle = |phase: usize, lag: f64| {
                let turns = 50.0 * k as f64 / f64::from(RATE) - phase as f64 / 3.0 - lag / 360.0;
                (turns * std::f64::consts::TAU).sin()
            };
            let count = |value: f64, unit: f64| (value / unit).round() as i32;
            Frame {
                voltage: [0, 1, 2].map(|phase| count(230.0 * peak * angle(phase, 0.0), VOLTS_PER_COUNT)),
                current: [0, 1, 2, 3].map(|phase| match phase {
                    3 => 0,
                    _ => count(amperes * peak * angle(phase, 30.0), AMPERES_PER_COUNT),
                }),
            }
        })
        .collect()
}

/// Lets a meter run: samples, sensors and ticks every 100 ms of site time, from `from_ms` to `to_ms` after noon.
pub fn run(meter: &mut TestMeter<'_>, from_ms: i64, to_ms: i64, amperes: f64, readings: &SensorReadings) {
    for now in (from_ms..to_ms).step_by(100) {
        let first = (now * i64::from(RATE) / 1000) as u64;
        meter.sample(&frames(first, RATE as usize / 10, amperes), at(now + 100));
        meter.sense(readings, at(now + 100)).unwrap();
        meter.tick(at(now + 100)).unwrap();
    }
}
