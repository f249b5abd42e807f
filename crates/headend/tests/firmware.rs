//! A meter that gets new firmware, the product's own from its flash to the head-end: transferred, verified and activated
//! by the firmware role at its local port, restarted in its process, confirmed by itself once its head-end has been there,
//! and attested by the key of the image that runs. What the switch costs is in its log and in no register.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{DEVICE_TYPE, KEYS, NAME, Utility, id, wall};
use meterseal_boot::stage::{FIRMWARE_BASE, Factory, Partition, Stage};
use meterseal_device::{Access, Device, Firmware, LocalAccess, LocalPort, Opened, Place, Settings};
use meterseal_headend::Headend;
use meterseal_link::client::{Association, DlmsClient, Limits};
use meterseal_link::dial::{Target, Tcp};
use meterseal_link::{DlmsKeys, Value, tls};
use meterseal_meter::RoleKeys;
use meterseal_meter::firmware::{BLOCK_BYTES, FirmwareLayout, Target as Product};
use meterseal_model::{Digest384, EventCode, Obis, Role, Roles, SystemTitle, TimeBase, UnixMillis};
use meterseal_seal::attestation::{Attestation, Attested, Ground};
use meterseal_seal::certificate::split_certificates;
use meterseal_seal::chain::verify_boot_key;
use meterseal_seal::firmware::{
    Digests, FirmwareKey, Manifest, Packing, Role as SignerRole, TrustRoot, TrustedKey, package,
};
use meterseal_world::SiteKind;
use tokio::net::TcpStream;

const IMAGE_TRANSFER: u16 = 18;
const DATA: u16 = 1;

struct Maker {
    key: FirmwareKey,
    root: Vec<u8>,
}

impl Maker {
    fn new() -> Self {
        let fill = |bytes: &mut [u8]| {
            bytes.fill(1);
            Ok::<(), Infallible>(())
        };
        let key = FirmwareKey::generate(fill).unwrap();
        let trusted = TrustedKey {
            name: "Maker".into(),
            key: key.public().clone(),
            roles: vec![SignerRole::Root, SignerRole::Release],
            expires: UnixMillis(4_000_000_000_000),
        };
        let root =
            TrustRoot { version: 1, thresholds: [1, 1, 0], keys: vec![trusted] }.sign(&[&key]).unwrap();
        Self { key, root }
    }

    fn package(&self, image: &[u8], sequence: u64) -> Vec<u8> {
        let manifest = Manifest {
            vendor: "Maker".into(),
            device_type: DEVICE_TYPE.into(),
            hardware: vec!["A".into()],
            version: format!("1.{sequence}.0"),
            sequence,
            minimum_previous: 0,
            image: Digests::of(image),
            stored: Digests::of(image),
            packing: Packing::Plain,
            encryption: None,
            not_before: None,
        };
        package::write(&manifest, image, &[&self.key]).unwrap()
    }
}

fn pair(role: Role) -> DlmsKeys {
    let byte = 0x40 + u8::try_from(role.client_address()).unwrap();
    DlmsKeys { encryption: [byte; 32], authentication: [byte ^ 0xFF; 32] }
}

/// The meter, with a boot stage whose key its manufacturer has certified.
fn start(utility: &Utility, headend: &Headend, maker: &Maker) -> Device {
    let day = meterseal_link::pki::Validity::from_now(Duration::from_secs(86_400));
    let own = utility.pki.issue_operational(id(1), day).unwrap().identity().unwrap();
    let keys = |keys: DlmsKeys| meterseal_meter::DlmsKeys {
        encryption: keys.encryption,
        authentication: keys.authentication,
    };
    let roles = Roles::of(&[Role::Firmware, Role::Bench, Role::Reader]);
    let target = Product {
        vendor: "Maker".into(),
        device_type: DEVICE_TYPE.into(),
        hardware: "A".into(),
        class_key: None,
    };
    let layout = FirmwareLayout::STANDARD.with_slot(64 << 10);
    let partition = Partition { base: FIRMWARE_BASE, layout, target, least_probation_ms: 1000 };
    let stage = |chain| Stage::new(id(1), &[7; 32], chain, Ground::Simulated, partition.clone());
    let chain = utility.pki.certify_boot_key(id(1), stage(Vec::new()).boot_key()).unwrap();
    let stage = stage(chain.iter().map(|der| der.to_vec()).collect());
    let factory = Factory { root: maker.root.clone(), package: maker.package(&[1; 9_000], 1) };
    let settings = Settings {
        identity: meterseal_meter::Identity {
            id: id(1),
            device_type: DEVICE_TYPE.into(),
            firmware_version: "what it says of itself".into(),
            firmware_digest: Digest384([0; 48]),
        },
        keys: keys(DlmsKeys { encryption: KEYS.0, authentication: KEYS.1 }),
        tls: tls::meter_config(&own, &utility.pki.trust()).unwrap(),
        trust: None,
        network: Arc::new(Tcp),
        headend: Target { address: headend.gateway_addr().to_string(), headend: NAME.into() },
        access: Access {
            local: Some(LocalPort {
                address: "127.0.0.1:0".parse().unwrap(),
                access: LocalAccess::PlainForLaboratory(roles),
            }),
            role_keys: roles.iter().fold(RoleKeys::NONE, |all, role| all.with(role, keys(pair(role)))),
            ..Access::default()
        },
        flash: utility.folder.path().join("flash.bin"),
        firmware: Some(Firmware::Simulated { stage: Arc::new(stage), factory: Arc::new(factory) }),
        place: Place::Synthetic(SiteKind::HomeSolar),
        seed: 1,
        time_base: TimeBase::Wall,
        speed: 1.0,
        profile_period_seconds: 60,
    };
    Opened::new(settings).unwrap().start(&tokio::runtime::Handle::current()).unwrap()
}

/// A role at the local port. Each client's counters are above those of all before.
async fn client(device: &Device, role: Role) -> DlmsClient<TcpStream> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let counter = COUNTER.fetch_add(1_000_000, Ordering::Relaxed);
    let association = Association {
        role,
        meter: id(1).system_title(),
        client_title: SystemTitle(*b"MSB\0\0\0\0\x01"),
        keys: pair(role),
        invocation_counter: counter,
        last_response_counter: 0,
        last_push_counter: 0,
        limits: Limits::default(),
    };
    let stream = TcpStream::connect(device.local_address().unwrap()).await.unwrap();
    DlmsClient::associate(stream, association).await.unwrap()
}

async fn bytes(client: &mut DlmsClient<TcpStream>, obis: Obis) -> Vec<u8> {
    match client.get(DATA, obis, 2).await.unwrap() {
        Value::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

/// What the meter attests, believed only with its maker's word for the boot key.
async fn attested(utility: &Utility, device: &Device) -> Attested {
    let mut bench = client(device, Role::Bench).await;
    let chain = split_certificates(&bytes(&mut bench, Obis::BOOT_KEY).await).unwrap();
    let boot_key = verify_boot_key(&chain, id(1), wall(), &[utility.pki.root().to_vec()]).unwrap();
    assert!(boot_key.trusted);
    let certificate = bytes(&mut bench, Obis::IMAGE_KEY).await;
    let nonce = wall().0.to_be_bytes().repeat(4);
    bench.set(DATA, Obis::ATTESTATION_NONCE, 2, Value::Bytes(nonce.clone())).await.unwrap();
    for _ in 0..500 {
        let signed = bytes(&mut bench, Obis::ATTESTATION).await;
        if !signed.is_empty() {
            return Attestation::verify(&signed, &certificate, &boot_key.key, id(1), &nonce).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the meter never attested");
}

/// Transfers a package, has it verified, and orders its activation.
async fn update(device: &Device, package: &[u8], image: Digest384) {
    let mut firmware = client(device, Role::Firmware).await;
    let name = Value::Bytes(b"package".to_vec());
    let size = u32::try_from(package.len()).unwrap();
    let begin = Value::Structure(vec![name, Value::U32(size)]);
    firmware.action(IMAGE_TRANSFER, Obis::IMAGE_TRANSFER, 1, Some(begin)).await.unwrap();
    for (number, block) in package.chunks(BLOCK_BYTES as usize).enumerate() {
        let number = Value::U32(u32::try_from(number).unwrap());
        let block = Value::Structure(vec![number, Value::Bytes(block.to_vec())]);
        firmware.action(IMAGE_TRANSFER, Obis::IMAGE_TRANSFER, 2, Some(block)).await.unwrap();
    }
    let mut verified = false;
    for _ in 0..1500 {
        let judged = firmware.action(IMAGE_TRANSFER, Obis::IMAGE_TRANSFER, 3, Some(Value::I8(0))).await;
        verified = judged.is_ok();
        if verified {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(verified, "the meter never said that the package is good");
    let digest = Value::Bytes(image.0.to_vec());
    // The meter may be gone before it has answered.
    let _ = firmware.action(IMAGE_TRANSFER, Obis::IMAGE_TRANSFER, 4, Some(digest)).await;
}

async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = probe().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never happened: {what}");
}

/// The security log's entries: code and extreme value, oldest first.
async fn entries(device: &Device) -> Vec<(u64, i64)> {
    let mut bench = client(device, Role::Bench).await;
    let Value::Array(rows) = bench.get(7, Obis::SECURITY_LOG, 2).await.unwrap() else { panic!("an array") };
    let entry = |row: &Value| match row {
        Value::Structure(fields) => (fields[2].as_u64().unwrap(), fields[3].as_i64().unwrap()),
        other => panic!("{other:?}"),
    };
    rows.iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_gets_new_firmware_restarts_confirms_it_and_attests_what_runs() {
    let (utility, maker) = (Utility::new(), Maker::new());
    let headend = utility.start().await;
    let device = start(&utility, &headend, &maker);
    let before = attested(&utility, &device).await;
    assert_eq!((before.image, before.ground), (Digests::of(&[1; 9_000]).digest, Ground::Simulated));
    assert_eq!((before.attestation.version.as_str(), before.attestation.confirmed), ("1.1.0", true));
    // What it says of itself is what its boot stage has verified.
    let mut reader = client(&device, Role::Reader).await;
    assert_eq!(bytes(&mut reader, Obis::FIRMWARE_DIGEST).await, before.image.0);
    assert_eq!(bytes(&mut reader, Obis::FIRMWARE_VERSION).await, b"1.1.0");
    let energy_before = reader.get(3, Obis::ACTIVE_ENERGY_IMPORT, 2).await.unwrap().as_u64().unwrap();
    drop(reader);

    let image: Vec<u8> = (0..30_000u32).map(|k| ((k * k) >> 7) as u8).collect();
    let digest = Digests::of(&image).digest;
    update(&device, &maker.package(&image, 2), digest).await;
    let after = eventually("the new image is confirmed", async || {
        // While the meter restarts its local port answers nobody.
        let answer = tokio::time::timeout(Duration::from_secs(20), attested(&utility, &device));
        answer.await.ok().filter(|attested| attested.image == digest && attested.attestation.confirmed)
    })
    .await;
    assert_eq!((after.attestation.sequence, after.attestation.highest), (2, 2));
    assert_eq!(after.attestation.boots, before.attestation.boots + 1);
    let slots = after.attestation.slots.map(|slot| (slot.image, slot.sequence));
    assert_eq!(slots, [(before.image, 1), (digest, 2)]);

    let log = entries(&device).await;
    let codes: Vec<u64> = log.iter().map(|(code, _)| *code).collect();
    use EventCode::{
        FirmwareActivated, FirmwareActivationOrdered, FirmwareReady, FirmwareTransferBegun, PowerDown,
        PowerUp,
    };
    let steps = [
        PowerUp,
        FirmwareTransferBegun,
        FirmwareReady,
        FirmwareActivationOrdered,
        PowerDown,
        PowerUp,
        FirmwareActivated,
    ];
    let mut place = 0;
    for step in steps {
        let found = codes[place..].iter().position(|&code| code == step as u64);
        place += 1 + found.unwrap_or_else(|| panic!("{step} is missing after entry {place}: {codes:?}"));
    }
    // How long nobody measured stands in the entry of the power-up, and in no register.
    let switch_us = log.iter().rev().find(|(code, _)| *code == PowerUp as u64).unwrap().1;
    assert!(switch_us > 0, "{log:?}");
    let mut reader = client(&device, Role::Reader).await;
    let energy = reader.get(3, Obis::ACTIVE_ENERGY_IMPORT, 2).await.unwrap().as_u64().unwrap();
    assert!(energy >= energy_before);
    println!("the switch took {} ms in which nothing was measured", switch_us / 1000);
    device.stop().await;
    headend.shutdown().await;
}
