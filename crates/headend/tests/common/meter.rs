//! A meter on a thread of its own: the product's core, a sine at its terminals, flash in memory that outlives it.

use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use meterseal_headend::Headend;
use meterseal_link::dial::{self, DialLimits, Target};
use meterseal_link::keys::HeldKey;
use meterseal_link::tls;
use meterseal_meter::{Config, DlmsKeys, Identity, Layout, Meter, Peer, Random, RoleKeys};
use meterseal_metrology::{Frame, Nominal, Scale};
use meterseal_model::{Digest384, Role, Roles, SensorReadings, Stimulus, UnixMillis};
use meterseal_seal::{KeySlot, KeyState, KeyStore, SealKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::firmware::{Running, Slots};
use super::{DEVICE_TYPE, FIRMWARE, FIRMWARE_KEYS, KEYS, NAME, Utility, id};

/// What a test tells a meter to do.
#[derive(Debug)]
pub enum Order {
    Feel(Stimulus),
    /// Drop the connection, and dial again this much later.
    HangUp(Duration),
    /// From now on its checkpoints are signed, or not.
    Sign(bool),
    Stop,
}

/// A running meter.
#[derive(Debug)]
pub struct TestMeter {
    orders: mpsc::Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// What may differ.
#[derive(Clone, Debug)]
pub struct Variant {
    pub flash: Flash,
    pub firmware: Digest384,
    pub keys: ([u8; 32], [u8; 32]),
    pub profile_period_seconds: u32,
    /// How far the meter's clock is ahead of the wall's.
    pub clock_ahead_milliseconds: i64,
    /// Where it dials, if not at the head-end itself.
    pub by_way_of: Option<std::net::SocketAddr>,
    /// How its flash is divided; as large as the flash.
    pub layout: Layout,
    /// Slots for images, and the boot stage that starts them. Version and digest are then what they say.
    pub slots: Option<Slots>,
    /// It has a log key, the same at every start, and signs checkpoints.
    pub sealed: bool,
}

impl Default for Variant {
    fn default() -> Self {
        Self {
            flash: Flash::blank(),
            firmware: FIRMWARE,
            keys: KEYS,
            profile_period_seconds: 900,
            clock_ahead_milliseconds: 0,
            by_way_of: None,
            layout: Layout::TINY,
            slots: None,
            sealed: false,
        }
    }
}

impl TestMeter {
    pub fn start(utility: &Utility, headend: &Headend, serial: u64, flash: &Flash) -> Self {
        Self::variant(utility, headend, serial, Variant { flash: flash.clone(), ..Variant::default() })
    }

    pub fn variant(utility: &Utility, headend: &Headend, serial: u64, variant: Variant) -> Self {
        let identity = utility
            .pki
            .issue_operational(
                id(serial),
                meterseal_link::pki::Validity::from_now(std::time::Duration::from_secs(86_400)),
            )
            .unwrap()
            .identity()
            .unwrap();
        let tls = tls::meter_config(&identity, &utility.pki.trust()).unwrap();
        let address = variant.by_way_of.unwrap_or_else(|| headend.gateway_addr());
        let target = Target { address: address.to_string(), headend: NAME.into() };
        let (orders, inbox) = mpsc::channel();
        utility.sites.0.lock().unwrap().push((id(serial), orders.clone()));
        let keys: Option<Arc<dyn KeyStore>> =
            variant.sealed.then(|| Arc::new(log_key(utility, serial)) as Arc<dyn KeyStore>);
        let (meter, running) = variant.open(serial);
        let mut body = Body {
            meter,
            running,
            keys,
            inbox,
            readings: SensorReadings::QUIET,
            samples: 0,
            last: wall(),
            ahead: variant.clock_ahead_milliseconds,
            pause: Duration::ZERO,
            signs: true,
        };
        body.give_keys();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                loop {
                    tokio::time::sleep(std::mem::take(&mut body.pause)).await;
                    let connected = dial::connect(&target, &tls, DialLimits::default()).await;
                    let Ok(dialled) = connected else {
                        body.pause = Duration::from_millis(50);
                        match body.inbox.try_recv() {
                            Ok(Order::Stop) => return,
                            // It is felt when it lives again.
                            Ok(Order::Feel(stimulus)) => body.feel(stimulus),
                            Ok(Order::Sign(signs)) => body.signs = signs,
                            _ => {}
                        }
                        continue;
                    };
                    match body.talk(dialled.stream).await {
                        End::Stop => return,
                        End::Broken => {}
                        End::Restart => {
                            (body.meter, body.running) = variant.open(serial);
                            body.give_keys();
                        }
                    }
                }
            });
        });
        Self { orders, thread: Some(thread) }
    }

    pub fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }
}

impl Drop for TestMeter {
    fn drop(&mut self) {
        // A thread that is gone already has panicked, and the join below says so.
        let _ = self.orders.send(Order::Stop);
        let outcome = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            outcome.unwrap().unwrap();
        }
    }
}

impl Variant {
    /// Lives without any connection up to the present, in steps of a minute, with a little energy in each; a surge strikes
    /// at every `surge_every_milliseconds`. Tells how many struck.
    pub fn live_alone(&self, serial: u64, surge_every_milliseconds: i64) -> u64 {
        let (meter, running) = self.open(serial);
        let mut body = Body {
            meter,
            running,
            keys: None,
            inbox: mpsc::channel().1,
            readings: SensorReadings::QUIET,
            samples: 0,
            last: wall(),
            ahead: self.clock_ahead_milliseconds,
            pause: Duration::ZERO,
            signs: true,
        };
        let (mut now, mut surges) = (wall().0 + self.clock_ahead_milliseconds, 0);
        let end = wall().0;
        while now < end {
            let next = (now + 60_000).min(end);
            if next / surge_every_milliseconds != now / surge_every_milliseconds {
                body.feel(Stimulus::VoltageSpike);
                surges += 1;
            }
            now = next;
            body.run(160, UnixMillis(now));
        }
        surges
    }

    /// Power-on: the boot stage first, where there is one.
    fn open(&self, serial: u64) -> (Meter<Flash, Dice>, Option<Running>) {
        let running = self.slots.as_ref().map(|slots| slots.start(id(serial)));
        let (version, digest) =
            running.as_ref().map_or_else(|| ("1.2.3".to_owned(), self.firmware), Running::claimed);
        // 1 µV and 0.1 µA a count: the full scale is far above what is fed.
        let scale = Scale {
            voltage_femtovolts_per_count: [100_000_000_000; 3],
            current_femtoamperes_per_count: [10_000_000_000; 4],
        };
        let metrology = meterseal_metrology::Config::new(8_000_000_000, Nominal::Hz50, scale);
        let firmware_keys = DlmsKeys { encryption: FIRMWARE_KEYS.0, authentication: FIRMWARE_KEYS.1 };
        let config = Config {
            layout: self.layout,
            profile_period_seconds: self.profile_period_seconds,
            role_keys: RoleKeys::NONE.with(Role::Firmware, firmware_keys),
            ..Config::new(metrology)
        };
        let identity = Identity {
            id: id(serial),
            device_type: DEVICE_TYPE.into(),
            firmware_version: version,
            firmware_digest: digest,
        };
        let keys = DlmsKeys { encryption: self.keys.0, authentication: self.keys.1 };
        let start = UnixMillis(wall().0 + self.clock_ahead_milliseconds);
        let flash = self.flash.clone();
        let mut meter = Meter::open(identity, keys, config, flash, Dice(serial | 1), start).unwrap();
        if let Some(running) = &running {
            running.join(&mut meter);
        }
        (meter, running)
    }
}

/// How a connection ended.
enum End {
    Broken,
    Stop,
    Restart,
}

/// A log key that the maker certified; for one serial number always the same.
fn log_key(utility: &Utility, serial: u64) -> HeldKey {
    let key = SealKey::generate(|bytes| {
        bytes.fill(serial as u8 | 0x40);
        Ok::<(), std::convert::Infallible>(())
    })
    .unwrap();
    let chain = utility.pki.certify_log_key(id(serial), key.public()).unwrap();
    let chain = chain.iter().map(|der| der.to_vec()).collect();
    HeldKey::new(KeySlot::Log, &key.to_pkcs8_pem().unwrap(), chain).unwrap()
}

struct Body {
    meter: Meter<Flash, Dice>,
    running: Option<Running>,
    keys: Option<Arc<dyn KeyStore>>,
    inbox: mpsc::Receiver<Order>,
    readings: SensorReadings,
    samples: u64,
    last: UnixMillis,
    ahead: i64,
    pause: Duration,
    signs: bool,
}

impl Body {
    fn give_keys(&mut self) {
        if let Some(keys) = &self.keys {
            self.meter.set_key_store(Arc::clone(keys), Vec::new());
        }
    }

    /// One connection.
    async fn talk(&mut self, mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> End {
        let peer = Peer { roles: Roles::of(&[Role::Utility, Role::Firmware]), local: false };
        let link = self.meter.connected(peer).expect("the only connection");
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let mut bytes = [0; 4096];
        let stop = loop {
            tokio::select! {
                read = stream.read(&mut bytes) => match read {
                    Ok(count) if count > 0 => {
                        if self.meter.receive(link, &bytes[..count]).is_err() {
                            break End::Broken;
                        }
                    }
                    _ => break End::Broken,
                },
                _ = ticks.tick() => match self.inbox.try_recv() {
                    Ok(Order::Feel(stimulus)) => self.feel(stimulus),
                    Ok(Order::Sign(signs)) => self.signs = signs,
                    Ok(Order::HangUp(pause)) => {
                        self.pause = pause;
                        break End::Broken;
                    }
                    Ok(Order::Stop) | Err(mpsc::TryRecvError::Disconnected) => break End::Stop,
                    Err(mpsc::TryRecvError::Empty) => self.live(),
                },
            }
            while let Ok(Some(frame)) = self.meter.transmit(link) {
                if stream.write_all(&frame).await.is_err() {
                    break;
                }
            }
            if let Some(running) = &self.running
                && running.carry_on(&mut self.meter)
            {
                break End::Restart;
            }
        };
        self.meter.disconnected(link);
        self.pause = self.pause.max(Duration::from_millis(20));
        stop
    }

    /// 230 V and 10 A at power factor 1 on every phase, for as long as has passed since the last call.
    fn live(&mut self) {
        let wall = wall();
        let due = (wall.0 - self.last.0).clamp(0, 100) * 8;
        self.last = wall;
        self.run(due, UnixMillis(wall.0 + self.ahead));
    }

    fn run(&mut self, due: i64, now: UnixMillis) {
        let frames: Vec<Frame> = (0..due)
            .map(|_| {
                let angle = (self.samples % 160) as f64 * std::f64::consts::TAU / 160.0;
                self.samples += 1;
                let wave = |k: f64| (angle - k * std::f64::consts::TAU / 3.0).sin() * 2f64.sqrt();
                let volts = [0.0, 1.0, 2.0].map(|k| (wave(k) * 230.0e4) as i32);
                let amperes = [0.0, 1.0, 2.0].map(|k| (wave(k) * 10.0e5) as i32);
                Frame { voltage: volts, current: [amperes[0], amperes[1], amperes[2], 0] }
            })
            .collect();
        self.meter.sample(&frames, now);
        self.meter.sense(&self.readings, now).unwrap();
        self.readings.surge_peak_millivolts = [0; 3];
        self.meter.tick(now).unwrap();
        if let Some(request) = self.meter.signing_request() {
            let keys = self.keys.as_ref().expect("without keys nothing is to be signed");
            let sign = || keys.sign(KeySlot::Log, KeyState::Current, &request.to_be_signed).unwrap();
            self.meter.signed(request.number, self.signs.then(sign).as_ref()).unwrap();
        }
    }

    fn feel(&mut self, stimulus: Stimulus) {
        match stimulus {
            Stimulus::OpenCover => self.readings.meter_cover_open = true,
            Stimulus::CloseCover => self.readings.meter_cover_open = false,
            Stimulus::BringMagnet => self.readings.magnetic_field_microtesla = [0, 0, 250_000],
            Stimulus::RemoveMagnet => self.readings.magnetic_field_microtesla = [20, 0, -45],
            Stimulus::VoltageSpike => self.readings.surge_peak_millivolts = [4_000_000, 0, 0],
            other => panic!("this meter has no sensor for {other}"),
        }
    }
}

pub fn wall() -> UnixMillis {
    UnixMillis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)
}

/// Flash that its owner can keep and give to the next meter.
#[derive(Clone, Debug)]
pub struct Flash(Arc<Mutex<Vec<u8>>>);

impl Flash {
    /// Blank flash of another size.
    pub fn sized(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![0xFF; bytes])))
    }

    pub fn blank() -> Self {
        Self(Arc::new(Mutex::new(vec![0xFF; Layout::TINY.size()])))
    }

    /// An image of it as it is now.
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }
}

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        let at = offset as usize;
        bytes.copy_from_slice(&self.0.lock().unwrap()[at..at + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.0.lock().unwrap()[from as usize..to as usize].fill(0xFF);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        let mut memory = self.0.lock().unwrap();
        for (place, byte) in memory[offset as usize..].iter_mut().zip(bytes) {
            *place &= byte;
        }
        Ok(())
    }
}

/// Unpredictable enough for a test's challenges.
#[derive(Debug)]
struct Dice(u64);

impl Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = self.0 as u8;
        }
    }
}
