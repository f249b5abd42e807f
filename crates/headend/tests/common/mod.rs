//! A head-end with everything real around it: certificates, TLS on the loopback, and meters that are the product's
//! own core over flash in memory.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test program uses a part"
)]

pub mod firmware;
mod http;
pub mod maker;
mod meter;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meterseal_headend::{Config, Headend, MeterEntry, Pace, StimulusError, VirtualSites};
use meterseal_link::pki::Pki;
use meterseal_link::{DlmsKeys, Identity};
use meterseal_model::{Digest384, MeterId, Stimulus, SystemTitle, TimeBase, UnixMillis};
use meterseal_seal::{Mark, Scope};

pub use http::{Answer, Browser, Stream};
pub use meter::{Flash, Order, TestMeter, Variant, wall};

pub const NAME: &str = "test";
pub const DEVICE_TYPE: &str = "meterseal-test";
pub const FIRMWARE: Digest384 = Digest384([0x5A; 48]);
pub const KEYS: ([u8; 32], [u8; 32]) = ([0x11; 32], [0x22; 32]);

/// Those of the firmware role.
pub const FIRMWARE_KEYS: ([u8; 32], [u8; 32]) = ([0x33; 32], [0x44; 32]);

pub fn id(serial: u64) -> MeterId {
    MeterId::new(*b"MSL", serial).unwrap()
}

/// A folder with authorities and a head-end's identity. Outlives restarts of the head-end.
#[derive(Debug)]
pub struct Utility {
    pub folder: tempfile::TempDir,
    pub pki: Pki,
    identity: Identity,
    pub sites: Arc<Sites>,
}

impl Utility {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(&folder.path().join("pki")).unwrap();
        let identity = pki.issue_headend(NAME).unwrap().identity().unwrap();
        Self { folder, pki, identity, sites: Arc::default() }
    }

    /// Two meters, 1 virtual and 2 not; a development mark for what the test meters are.
    pub fn config(&self) -> Config {
        let entry = |serial, is_virtual| MeterEntry {
            id: id(serial),
            name: format!("Meter {serial}"),
            site: "factory".into(),
            is_virtual,
            time_base: TimeBase::Wall,
            keys: DlmsKeys { encryption: KEYS.0, authentication: KEYS.1 },
            firmware_keys: Some(DlmsKeys { encryption: FIRMWARE_KEYS.0, authentication: FIRMWARE_KEYS.1 }),
            allowed_scopes: vec![Scope::Development],
        };
        let far = UnixMillis(4_000_000_000_000);
        let mark = Mark::development(DEVICE_TYPE, "virtual", FIRMWARE, "Test authority", UnixMillis(0), far);
        Config {
            data_dir: self.data(),
            gateway_listen: ANY,
            page_listen: ANY,
            identity: self.identity.clone(),
            trust: self.pki.trust(),
            accept: Default::default(),
            time: None,
            revocations: Some(self.pki.dir().to_owned()),
            system_title: SystemTitle(*b"MSH\0\0\0\0\x01"),
            meters: vec![entry(1, true), entry(2, false)],
            marks: vec![mark.sign(&self.pki.certification_signer().unwrap()).unwrap()],
            certification_keys: vec![self.pki.certification_key().clone()],
            firmware_root: self.data().join("firmware/trust.cbor"),
            attestation: Default::default(),
            pace: Pace::default(),
            receivers: Vec::new(),
            silent_after: Duration::from_secs(900),
            virtual_sites: Some(self.sites.clone()),
            enrolment: None,
        }
    }

    pub fn data(&self) -> std::path::PathBuf {
        Path::join(self.folder.path(), "headend")
    }

    pub async fn start(&self) -> Headend {
        Headend::start(self.config()).await.unwrap()
    }
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The running test meters, for the page's buttons.
#[derive(Debug, Default)]
pub struct Sites(pub Mutex<Vec<(MeterId, std::sync::mpsc::Sender<meter::Order>)>>);

impl VirtualSites for Sites {
    fn apply(&self, meter: MeterId, stimulus: Stimulus) -> Result<(), StimulusError> {
        let sites = self.0.lock().unwrap();
        let (_, orders) = sites.iter().find(|(id, _)| *id == meter).ok_or(StimulusError::UnknownSite)?;
        orders.send(meter::Order::Feel(stimulus)).map_err(|_| StimulusError::NotRunning)
    }
}

/// Tries until it is there, for at most ten seconds.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(found) = probe().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never happened: {what}");
}
