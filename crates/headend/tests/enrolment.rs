//! A meter's way from its factory to its utility and through its years: enrolled when it is expected and otherwise not
//! read, renewed before its certificate ends, over power cuts between any two steps, and found again after it was revoked.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::{Browser, DEVICE_TYPE, FIRMWARE, KEYS, NAME, Utility, id};
use meterseal_device::{Access, Device, Opened, Place, Settings};
use meterseal_headend::enrolment::{CustodyError, Enrolment, Expected, HeldKeys, KeyCustody, allowance};
use meterseal_headend::store::{EnrolmentRecord, EnrolmentState};
use meterseal_headend::{Config, Headend};
use meterseal_link::dial::{Target, Tcp};
use meterseal_link::enrolled::MeterProfiles;
use meterseal_link::keys::{DeviceSecret, FileKeyStore};
use meterseal_link::pki::{Pki, PkiError, Reason, RequestSigner, Validity};
use meterseal_link::tls::{self, MeterClock};
use meterseal_link::{DlmsKeys, Identity};
use meterseal_meter::SecretKey;
use meterseal_model::{MeterId, TimeBase};
use meterseal_seal::{KeySlot, KeyState, KeyStore, KeyStoreError, SealPublicKey};
use meterseal_world::SiteKind;
use tokio_rustls::rustls::pki_types::CertificateDer;

const METER: &str = "MSL0000000001";
const KEK: [u8; 32] = [0x3E; 32];
const HOUR: Duration = Duration::from_secs(3600);

/// What stays of a meter between two of its lives.
struct Unit {
    folder: PathBuf,
    manufacture: Identity,
}

impl Unit {
    fn new(utility: &Utility) -> Self {
        let folder = utility.folder.path().join("unit");
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder, manufacture: utility.pki.issue_meter(id(1)).unwrap().identity().unwrap() }
    }

    fn store(&self) -> Arc<dyn KeyStore> {
        let secret = DeviceSecret::open_or_create(&self.folder.join("device.secret")).unwrap();
        Arc::new(FileKeyStore::open(&self.folder.join("keys.sealed"), METER, secret).unwrap())
    }

    fn start(&self, utility: &Utility, headend: &Headend, store: Arc<dyn KeyStore>) -> Device {
        let trust = utility.pki.trust();
        let profiles =
            MeterProfiles::new(Arc::clone(&store), &self.manufacture, &trust, &MeterClock::system()).unwrap();
        let access = Access {
            key_store: Some(store),
            issuers: trust.headends.iter().map(|der| der.to_vec()).collect(),
            profiles: Some(Arc::new(profiles)),
            key_encryption_key: Some(SecretKey::new(KEK)),
            device_secret: Some(SecretKey::new([0xDE; 32])),
            ..Access::default()
        };
        let settings = Settings {
            identity: meterseal_meter::Identity {
                id: id(1),
                device_type: DEVICE_TYPE.into(),
                firmware_version: "1.2.3".into(),
                firmware_digest: FIRMWARE,
            },
            keys: meterseal_meter::DlmsKeys { encryption: KEYS.0, authentication: KEYS.1 },
            tls: tls::meter_config(&self.manufacture, &trust).unwrap(),
            trust: None,
            network: Arc::new(Tcp),
            headend: Target { address: headend.gateway_addr().to_string(), headend: NAME.into() },
            access,
            flash: self.folder.join("flash.bin"),
            firmware: None,
            place: Place::Synthetic(SiteKind::HomeSolar),
            seed: 1,
            time_base: TimeBase::Wall,
            speed: 1.0,
            profile_period_seconds: 60,
        };
        Opened::new(settings).unwrap().start(&tokio::runtime::Handle::current()).unwrap()
    }
}

/// A clock that a test moves.
#[derive(Clone, Default)]
struct Ahead(Arc<AtomicU64>);

impl Ahead {
    fn set(&self, ahead: Duration) {
        self.0.store(ahead.as_secs(), Ordering::SeqCst);
    }

    fn clock(&self) -> meterseal_headend::enrolment::Clock {
        let ahead = Arc::clone(&self.0);
        Arc::new(move || SystemTime::now() + Duration::from_secs(ahead.load(Ordering::SeqCst)))
    }
}

/// A utility's keys in memory.
#[derive(Debug, Default)]
struct Vault(Mutex<HashMap<MeterId, Replaced>>);

/// In force, and proposed.
type Replaced = (Option<DlmsKeys>, Option<DlmsKeys>);

impl KeyCustody for Vault {
    fn keys(&self, meter: MeterId) -> Result<Option<HeldKeys>, CustodyError> {
        let (current, next) = self.0.lock().unwrap().get(&meter).cloned().unwrap_or_default();
        Ok(Some(HeldKeys {
            are_initial: current.is_none(),
            current: current.unwrap_or(DlmsKeys { encryption: KEYS.0, authentication: KEYS.1 }),
            next,
            key_encryption_key: Some(KEK.into()),
        }))
    }

    fn propose(&self, meter: MeterId, keys: &DlmsKeys) -> Result<(), CustodyError> {
        self.0.lock().unwrap().entry(meter).or_default().1 = Some(keys.clone());
        Ok(())
    }

    fn confirm(&self, meter: MeterId) -> Result<(), CustodyError> {
        let mut all = self.0.lock().unwrap();
        let held = all.entry(meter).or_default();
        held.0 = held.1.take();
        Ok(())
    }

    fn discard(&self, meter: MeterId) -> Result<(), CustodyError> {
        self.0.lock().unwrap().entry(meter).or_default().1 = None;
        Ok(())
    }
}

/// The utility's authority, which may be out of reach.
#[derive(Debug)]
struct Signer {
    pki: Pki,
    away: Arc<AtomicBool>,
}

impl RequestSigner for Signer {
    fn sign_request(
        &self,
        meter: MeterId,
        request: &[u8],
        validity: Validity,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        if self.away.load(Ordering::SeqCst) {
            // Any error will do; this one is at hand.
            return self.pki.sign_request(id(99), request, validity);
        }
        self.pki.sign_request(meter, request, validity)
    }
}

struct Setup {
    ahead: Ahead,
    vault: Arc<Vault>,
    away: Arc<AtomicBool>,
}

impl Setup {
    fn new() -> Self {
        Self { ahead: Ahead::default(), vault: Arc::default(), away: Arc::default() }
    }

    fn config(&self, utility: &Utility, expected: Expected) -> Config {
        let signer = Signer { pki: Pki::open(utility.pki.dir()).unwrap(), away: Arc::clone(&self.away) };
        let enrolment = Enrolment {
            expected,
            custody: Some(Arc::clone(&self.vault) as _),
            clock: self.ahead.clock(),
            ..Enrolment::new(Arc::new(signer), HOUR)
        };
        Config { enrolment: Some(enrolment), ..utility.config() }
    }

    async fn headend(&self, utility: &Utility, expected: Expected) -> Headend {
        Headend::start(self.config(utility, expected)).await.unwrap()
    }
}

/// Polls for at most a minute: pauses between calls add up.
async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(found) = probe().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never happened: {what}");
}

async fn record(headend: &Headend) -> Option<EnrolmentRecord> {
    headend.store().enrolments().await.unwrap().into_iter().find(|record| record.meter == id(1))
}

/// Waits until the meter is read, with an operational certificate other than `than`.
async fn enrolled(headend: &Headend, than: Option<&str>) -> EnrolmentRecord {
    eventually("the meter uses a new identity", async || {
        let record = record(headend).await?;
        let is_new = record.serial.is_some() && record.serial.as_deref() != than;
        (is_new && record.state == EnrolmentState::Enrolled && headend.online() == 1).then_some(record)
    })
    .await
}

async fn shown(browser: &Browser, reason: &str) -> serde_json::Value {
    eventually(reason, async || {
        let meter = browser.get("/api/v1/meters").await.json()[0].clone();
        meter["state_reason"].as_str().is_some_and(|text| text.contains(reason)).then_some(meter)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_from_the_factory_is_enrolled_and_renewed_and_its_keys_are_replaced() {
    let (utility, setup) = (Utility::new(), Setup::new());
    let headend = setup.headend(&utility, Expected::Configured).await;
    let unit = Unit::new(&utility);
    let store = unit.store();
    let device = unit.start(&utility, &headend, Arc::clone(&store));
    let first = enrolled(&headend, None).await;

    let held = setup.vault.keys(id(1)).unwrap().unwrap();
    assert!(!held.are_initial && held.next.is_none() && held.current.encryption != KEYS.0);
    let key = store.public_key(KeySlot::Operational, KeyState::Current).unwrap();
    assert_eq!(store.certificates(KeySlot::Operational).unwrap().len(), 2);

    // Before two thirds of its life nothing happens: not after half of it, for as long as a session looks.
    setup.ahead.set(HOUR / 4);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(record(&headend).await.unwrap(), first);

    // The signer is away: said, tried again, and the meter is read all the while.
    setup.away.store(true, Ordering::SeqCst);
    setup.ahead.set(HOUR);
    let failed = eventually("the failure is said", async || {
        record(&headend).await.filter(|record| record.state == EnrolmentState::Failed)
    })
    .await;
    assert!(failed.reason.unwrap().contains("not signed"));
    assert_eq!((failed.serial, headend.online()), (first.serial.clone(), 1));

    setup.away.store(false, Ordering::SeqCst);
    let second = enrolled(&headend, first.serial.as_deref()).await;
    assert!(second.not_after > first.not_after && second.issued_serial.is_none());
    assert_ne!(store.public_key(KeySlot::Operational, KeyState::Current).unwrap(), key, "a new key, too");
    assert_eq!(setup.vault.keys(id(1)).unwrap().unwrap().current.encryption, held.current.encryption);

    // A head-end that starts again knows it all.
    headend.shutdown().await;
    device.stop().await;
    let headend = setup.headend(&utility, Expected::Named).await;
    let device = unit.start(&utility, &headend, unit.store());
    eventually("the meter is read again", async || (headend.online() == 1).then_some(())).await;
    assert_eq!(record(&headend).await.unwrap().serial, second.serial);
    device.stop().await;
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_nobody_expects_is_not_read_until_somebody_does() {
    let (utility, setup) = (Utility::new(), Setup::new());
    let headend = setup.headend(&utility, Expected::Named).await;
    let browser = Browser::signed_in(&headend).await;
    let unit = Unit::new(&utility);
    let device = unit.start(&utility, &headend, unit.store());
    let meter = shown(&browser, "nobody expects this meter").await;
    assert_eq!(
        (&meter["state"], &meter["live"], &meter["firmware_digest"]),
        (&"refused".into(), &serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!(record(&headend).await, None);

    let folder = allowance::folder(&utility.data());
    assert!(allowance::give(&folder, id(1)).unwrap() && !allowance::give(&folder, id(1)).unwrap());
    let first = enrolled(&headend, None).await;
    eventually("the allowance is used up", async || (!allowance::stands(&folder, id(1))).then_some(())).await;

    // Its certificate is revoked: it comes back with its manufacturer's, and somebody has to look.
    let serial = first.serial.as_deref().unwrap().parse().unwrap();
    utility.pki.revoke(&utility.pki.find(&serial).unwrap(), Reason::KeyCompromise).unwrap();
    shown(&browser, "Not enrolled any more").await;
    allowance::give(&folder, id(1)).unwrap();
    enrolled(&headend, first.serial.as_deref()).await;

    // An operator wants a sound one renewed: at once, not after two thirds of its life.
    let second = record(&headend).await.unwrap();
    allowance::give(&folder, id(1)).unwrap();
    enrolled(&headend, second.serial.as_deref()).await;
    device.stop().await;
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_end_that_enrols_nobody_reads_nothing_from_a_meter_of_the_factory() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let browser = Browser::signed_in(&headend).await;
    let unit = Unit::new(&utility);
    let device = unit.start(&utility, &headend, unit.store());
    let meter = shown(&browser, "enrols nobody").await;
    assert_eq!((&meter["state"], headend.online()), (&"refused".into(), 0));
    device.stop().await;
    headend.shutdown().await;
}

/// A key store whose power goes with one operation, before or after it has taken effect, and stays away.
#[derive(Debug)]
struct Cut {
    inner: Arc<dyn KeyStore>,
    at: &'static str,
    after: bool,
    gone: AtomicBool,
}

impl Cut {
    fn pass<T>(
        &self,
        what: &str,
        act: impl FnOnce(&dyn KeyStore) -> Result<T, KeyStoreError>,
    ) -> Result<T, KeyStoreError> {
        let dark = || Err(KeyStoreError::Storage("the power is gone".to_owned()));
        if self.gone.load(Ordering::SeqCst) {
            return dark();
        }
        if what != self.at {
            return act(&*self.inner);
        }
        if self.after {
            act(&*self.inner)?;
        }
        self.gone.store(true, Ordering::SeqCst);
        dark()
    }
}

impl KeyStore for Cut {
    fn generate(&self, slot: KeySlot) -> Result<SealPublicKey, KeyStoreError> {
        self.pass("generate", |store| store.generate(slot))
    }

    fn public_key(&self, slot: KeySlot, state: KeyState) -> Result<SealPublicKey, KeyStoreError> {
        self.pass("public_key", |store| store.public_key(slot, state))
    }

    fn sign(&self, slot: KeySlot, state: KeyState, message: &[u8]) -> Result<[u8; 96], KeyStoreError> {
        let what = if state == KeyState::Pending { "request" } else { "handshake" };
        self.pass(what, |store| store.sign(slot, state, message))
    }

    fn certificates(&self, slot: KeySlot) -> Result<Vec<Vec<u8>>, KeyStoreError> {
        self.pass("certificates", |store| store.certificates(slot))
    }

    fn import(&self, slot: KeySlot, certificates: &[Vec<u8>]) -> Result<(), KeyStoreError> {
        self.pass("import", |store| store.import(slot, certificates))
    }

    fn remove(&self, slot: KeySlot) -> Result<(), KeyStoreError> {
        self.pass("remove", |store| store.remove(slot))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_between_any_two_steps_cost_nothing_at_enrolment_and_at_renewal() {
    let (utility, setup) = (Utility::new(), Setup::new());
    let headend = setup.headend(&utility, Expected::Configured).await;
    let unit = Unit::new(&utility);
    let cuts =
        [("generate", false), ("generate", true), ("request", true), ("import", false), ("import", true)];
    let mut before: Option<String> = None;
    for renewal in [false, true] {
        for (at, after) in cuts {
            if renewal {
                // Due at once, whatever is left of its life.
                allowance::give(&allowance::folder(&utility.data()), id(1)).unwrap();
            } else {
                // A new meter in this one's place: out of its factory.
                unit.store().remove(KeySlot::Operational).unwrap();
                allowance::give(&allowance::folder(&utility.data()), id(1)).unwrap();
            }
            let cut = Arc::new(Cut { inner: unit.store(), at, after, gone: AtomicBool::new(false) });
            let device = unit.start(&utility, &headend, Arc::clone(&cut) as _);
            eventually(&format!("the cut at {at}"), async || cut.gone.load(Ordering::SeqCst).then_some(()))
                .await;
            // Dropped as the power goes, and on again.
            drop(tokio::task::spawn_blocking(move || drop(device)).await);
            drop(cut);
            let device = unit.start(&utility, &headend, unit.store());
            let now = enrolled(&headend, before.as_deref()).await;
            before = now.serial;
            let certificates = unit.store().certificates(KeySlot::Operational).unwrap();
            let own = meterseal_link::pki::Certificate::read(&CertificateDer::from(certificates[0].clone()));
            assert_eq!(Some(own.unwrap().serial.to_string()), before, "{at} {after} {renewal}");
            device.stop().await;
        }
    }
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_whose_older_identity_is_put_back_is_refused_once_the_newer_was_in_use() {
    let (utility, setup) = (Utility::new(), Setup::new());
    let headend = setup.headend(&utility, Expected::Configured).await;
    let browser = Browser::signed_in(&headend).await;
    let unit = Unit::new(&utility);
    let device = unit.start(&utility, &headend, unit.store());
    let first = enrolled(&headend, None).await;
    device.stop().await;
    let sealed = Path::join(&unit.folder, "keys.sealed");
    let yesterday = std::fs::read(&sealed).unwrap();
    setup.ahead.set(HOUR);
    let device = unit.start(&utility, &headend, unit.store());
    enrolled(&headend, first.serial.as_deref()).await;
    device.stop().await;
    std::fs::write(&sealed, yesterday).unwrap();
    let device = unit.start(&utility, &headend, unit.store());
    let meter = shown(&browser, "has used the newer").await;
    assert_eq!(meter["state"], "refused");
    device.stop().await;
    headend.shutdown().await;
}
