//! A meter that listens: the product's own core over flash in a file, with a history of load-profile rows, behind a
//! plain TCP port on the loopback; and TLS before it, where a test wants that.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meterseal_device::SystemRandom;
use meterseal_device::flash::FileFlash;
use meterseal_link::dial::{self, DialLimits, Target};
use meterseal_link::pki::{Pki, write_secret};
use meterseal_link::{Identity as Certified, tls};
use meterseal_meter::{Config, DlmsKeys, Identity, Layout, Meter, Peer};
use meterseal_metrology::{Frame, Nominal, Scale};
use meterseal_model::{Digest384, MeterId, Roles, SensorReadings, UnixMillis};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

pub(crate) const PERIOD_SECONDS: i64 = 60;
/// Rows of the load profile that the meter holds before anybody asks.
pub(crate) const ROWS: i64 = 150;
/// Whoever comes in by the plain port may take any role.
const LOCAL: Peer = Peer { roles: Roles::ALL, local: true };
const HEADEND: &str = "interop";
const ENCRYPTION: [u8; 32] = [0x11; 32];
const AUTHENTICATION: [u8; 32] = [0x22; 32];

/// A running meter; it stops when this is dropped.
pub(crate) struct Listening {
    pub(crate) plain: SocketAddr,
    /// The same meter behind TLS 1.3, with its certificate.
    pub(crate) tls: SocketAddr,
    pub(crate) id: MeterId,
    /// When its history begins.
    pub(crate) began: UnixMillis,
    folder: tempfile::TempDir,
    headend: Arc<Mutex<Option<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let id: MeterId = "MSL0000000042".parse().unwrap();
        let digits: String =
            [ENCRYPTION, AUTHENTICATION].concat().iter().map(|byte| format!("{byte:02x}")).collect();
        write_secret(&folder.path().join("dlms.key"), digits.as_bytes()).unwrap();
        let pki = Pki::create(&folder.path().join("pki")).unwrap();
        pki.issue_meter(id).unwrap().save(&folder.path().join("meter")).unwrap();
        pki.issue_headend(HEADEND).unwrap().save(&folder.path().join("headend")).unwrap();
        let acceptor = acceptor(&folder.path().join("meter"));
        let identity = Certified::load(&folder.path().join("meter")).unwrap();
        let dialling = tls::meter_config(&identity, &pki.trust()).unwrap();

        let began = UnixMillis((wall().0 / 60_000 - ROWS) * 60_000);
        let mut body = Body::open(folder.path(), id, began);
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, addresses) = std::sync::mpsc::channel();
        let stopping = Arc::clone(&stop);
        let headend = Arc::new(Mutex::new(None));
        let target = Arc::clone(&headend);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let inner = plain.local_addr().unwrap();
                ready.send((inner, tls.local_addr().unwrap())).unwrap();
                tokio::spawn(bridge(tls, inner, acceptor));
                body.serve(&plain, &target, &dialling, &stopping).await;
            });
        });
        let (plain, tls) = addresses.recv().unwrap();
        Self { plain, tls, id, began, folder, headend, stop, thread: Some(thread) }
    }

    /// File with the utility's keys.
    pub(crate) fn keys(&self) -> PathBuf {
        self.folder.path().join("dlms.key")
    }

    /// The authority that issued the meter.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("pki/manufacturer.cert.pem")
    }

    /// From now on the meter dials this head-end, again and again, as in the field.
    pub(crate) fn dial(&self, address: String) {
        *self.headend.lock().unwrap() = Some(address);
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let outcome = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            outcome.unwrap().unwrap();
        }
    }
}

struct Body {
    meter: Meter<FileFlash, SystemRandom>,
    samples: u64,
    last: UnixMillis,
}

impl Body {
    fn open(folder: &Path, id: MeterId, began: UnixMillis) -> Self {
        let scale = Scale {
            voltage_femtovolts_per_count: [100_000_000_000; 3],
            current_femtoamperes_per_count: [10_000_000_000; 4],
        };
        let metrology = meterseal_metrology::Config::new(8_000_000_000, Nominal::Hz50, scale);
        let config = Config {
            layout: Layout::STANDARD,
            profile_period_seconds: PERIOD_SECONDS as u32,
            ..Config::new(metrology)
        };
        let identity = Identity {
            id,
            device_type: "meterseal-test".into(),
            firmware_version: "1.2.3".into(),
            firmware_digest: Digest384([0x5A; 48]),
        };
        let keys = DlmsKeys { encryption: ENCRYPTION, authentication: AUTHENTICATION };
        let flash = FileFlash::open(&folder.join("flash.bin"), Layout::STANDARD.size()).unwrap();
        let meter = Meter::open(identity, keys, config, flash, SystemRandom, began).unwrap();
        let mut body = Self { meter, samples: 0, last: began };
        // A little of every interval is enough: what a row holds is the register at its end.
        for interval in 0..ROWS {
            for part in 1..=4 {
                body.run(800, UnixMillis(began.0 + interval * 60_000 + part * 15_000));
            }
        }
        body.last = wall();
        body
    }

    async fn serve(
        &mut self,
        listener: &TcpListener,
        headend: &Mutex<Option<String>>,
        dialling: &tls::ClientProfile,
        stop: &AtomicBool,
    ) {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !stop.load(Ordering::Relaxed) {
            tokio::select! {
                _ = ticks.tick() => self.live(),
                accepted = listener.accept() => self.talk(accepted.unwrap().0, LOCAL, stop).await,
            }
            let address = headend.lock().unwrap().clone();
            if let Some(address) = address {
                let target = Target { address, headend: HEADEND.to_owned() };
                // Nobody listens there for now, or it was refused: the next round tries again.
                if let Ok(dialled) = dial::connect(&target, dialling, DialLimits::default()).await {
                    self.talk(dialled.stream, Peer { roles: dialled.roles, local: false }, stop).await;
                }
            }
        }
    }

    /// One connection.
    async fn talk(&mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer, stop: &AtomicBool) {
        let link = self.meter.connected(peer).expect("the only connection");
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let mut bytes = [0; 4096];
        'connection: while !stop.load(Ordering::Relaxed) {
            tokio::select! {
                _ = ticks.tick() => self.live(),
                read = stream.read(&mut bytes) => match read {
                    Ok(count) if count > 0 && self.meter.receive(link, &bytes[..count]).is_ok() => {}
                    _ => break,
                },
            }
            while let Ok(Some(frame)) = self.meter.transmit(link) {
                if stream.write_all(&frame).await.is_err() {
                    break 'connection;
                }
            }
        }
        self.meter.disconnected(link);
    }

    fn live(&mut self) {
        let now = wall();
        let due = (now.0 - self.last.0).clamp(0, 100) * 8;
        self.last = now;
        self.run(due as u64, now);
    }

    /// 230 V and 10 A at power factor 1 on every phase.
    fn run(&mut self, samples: u64, now: UnixMillis) {
        let frames: Vec<Frame> = (0..samples)
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
        self.meter.sense(&SensorReadings::QUIET, now).unwrap();
        self.meter.tick(now).unwrap();
    }
}

/// TLS in front of the plain port.
async fn bridge(listener: TcpListener, inner: SocketAddr, acceptor: TlsAcceptor) {
    while let Ok((outer, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A handshake or a copy that fails ends that connection, which the client sees.
            if let (Ok(mut outer), Ok(mut inner)) =
                (acceptor.accept(outer).await, TcpStream::connect(inner).await)
            {
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            }
        });
    }
}

fn acceptor(identity: &Path) -> TlsAcceptor {
    use rustls::pki_types::pem::PemObject as _;
    let chain = rustls::pki_types::CertificateDer::pem_file_iter(identity.join("certificate.pem")).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(identity.join("key.pem")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(meterseal_link::tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn wall() -> UnixMillis {
    UnixMillis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)
}
