//! A device's keys: made inside, sealed on the disk, never in the clear there; a meter enrols with a request of its own
//! and renews its identity without a restart.
#![allow(clippy::unwrap_used, reason = "test helpers outside of #[test] functions")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meterseal_link::accept::handshake;
use meterseal_link::dial::{DialLimits, Target, connect};
use meterseal_link::keys::{DeviceSecret, FileKeyStore, SealedError};
use meterseal_link::pki::{Certificate, Identity, Pki, Validity};
use meterseal_link::tls;
use meterseal_model::MeterId;
use meterseal_seal::key_store::certificate_request;
use meterseal_seal::{KeySlot, KeyState, KeyStore, KeyStoreError};
use tokio::net::TcpListener;

fn meter() -> MeterId {
    "MSL0000000001".parse().unwrap()
}

fn open(dir: &Path, device: &str) -> Result<FileKeyStore, meterseal_link::PkiError> {
    let secret = DeviceSecret::open_or_create(&dir.join("device.secret"))?;
    FileKeyStore::open(&dir.join("keys.sealed"), device, secret)
}

/// Generates a key pair, asks for a certificate and imports it.
fn enrol(store: &dyn KeyStore, pki: &Pki) {
    store.generate(KeySlot::Operational).unwrap();
    let request = certificate_request(store, KeySlot::Operational, meter()).unwrap();
    let chain = pki.sign_request(meter(), &request, Validity::from_now(Duration::from_secs(3600))).unwrap();
    let chain: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
    store.import(KeySlot::Operational, &chain).unwrap();
}

#[test]
fn keys_outlive_a_restart_and_nothing_of_them_is_readable_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki")).unwrap();
    let store = open(dir.path(), "MSL0000000001").unwrap();
    assert!(matches!(store.public_key(KeySlot::Log, KeyState::Current), Err(KeyStoreError::NoKey(..))));
    enrol(&store, &pki);
    let public = store.public_key(KeySlot::Operational, KeyState::Current).unwrap();
    drop(store);

    let path = dir.path().join("keys.sealed");
    for file in ["keys.sealed", "device.secret"] {
        assert_eq!(fs::metadata(dir.path().join(file)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let sealed = fs::read(&path).unwrap();
    let point = public.to_sec1_point();
    assert!(
        !sealed.windows(16).any(|bytes| bytes == &point[1..17]),
        "not even the public key is in the clear"
    );
    let again = open(dir.path(), "MSL0000000001").unwrap();
    assert_eq!(again.public_key(KeySlot::Operational, KeyState::Current).unwrap(), public);
    assert!(public.verifies(b"x", &again.sign(KeySlot::Operational, KeyState::Current, b"x").unwrap()));

    // Another device's file, an altered one, a secret that others could read.
    assert!(open(dir.path(), "MSL0000000002").unwrap_err().to_string().contains("another device"));
    for place in [0, 4, 5, 40, sealed.len() - 1] {
        let mut damaged = sealed.clone();
        damaged[place] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert!(open(dir.path(), "MSL0000000001").is_err(), "byte {place}");
    }
    let secret = dir.path().join("device.secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open(dir.path(), "MSL0000000001").unwrap_err().to_string().contains("can be read by others"));
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let secret = DeviceSecret::open_or_create(&secret).unwrap();
    assert_eq!(secret.open("a", &secret.seal("b", b"x").unwrap()).unwrap_err(), SealedError::Damaged);
    assert_eq!(*secret.open("a", &secret.seal("a", b"x").unwrap()).unwrap(), b"x");
}

#[test]
fn a_certificate_for_another_key_is_not_imported_and_the_old_one_serves_until_the_new_one_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki")).unwrap();
    let store = open(dir.path(), "MSL0000000001").unwrap();
    enrol(&store, &pki);
    let (slot, before) = (KeySlot::Operational, store.certificates(KeySlot::Operational).unwrap());
    let current = store.public_key(slot, KeyState::Current).unwrap();
    store.generate(slot).unwrap();
    assert_eq!(store.public_key(slot, KeyState::Current).unwrap(), current);
    let foreign = pki.issue_meter(meter()).unwrap().identity().unwrap();
    let foreign: Vec<_> = foreign.chain().iter().map(|der| der.to_vec()).collect();
    assert_eq!(store.import(slot, &foreign), Err(KeyStoreError::OtherKey(slot)));
    assert_eq!(store.import(slot, &[]), Err(KeyStoreError::Certificate));
    assert_eq!(store.import(slot, &[b"hello".to_vec()]), Err(KeyStoreError::Certificate));
    assert_eq!(store.certificates(slot).unwrap(), before);
}

#[tokio::test]
async fn a_meter_dials_with_its_operational_identity_and_with_the_renewed_one_from_the_next_call_on() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki")).unwrap();
    let store: Arc<dyn KeyStore> = Arc::new(open(dir.path(), "MSL0000000001").unwrap());
    enrol(&*store, &pki);
    let identity = Identity::from_store(&store, KeySlot::Operational).unwrap();
    let client = tls::meter_config(&identity, &pki.trust()).unwrap();
    let headend = pki.issue_headend("north").unwrap().identity().unwrap();
    let server = tls::gateway_config(&headend, &pki.trust()).unwrap();
    let call = async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target =
            Target { address: listener.local_addr().unwrap().to_string(), headend: "north".to_owned() };
        let accept = async {
            let (stream, address) = listener.accept().await.unwrap();
            handshake(&server, stream, address, Duration::from_secs(20)).await.unwrap()
        };
        let (dialled, accepted) = tokio::join!(connect(&target, &client, DialLimits::default()), accept);
        dialled.unwrap();
        assert_eq!(accepted.meter, meter());
        accepted.standing.certificate().clone()
    };
    let read = |identity: &Identity| Certificate::read(&identity.chain()[0]).unwrap();
    assert_eq!(call().await, read(&identity));
    enrol(&*store, &pki);
    let newer = Identity::from_store(&store, KeySlot::Operational).unwrap();
    identity.renew(&newer);
    assert_eq!(call().await.serial, read(&newer).serial);
    assert_ne!(read(&newer).key_fingerprint, read(&identity).key_fingerprint);
}
