//! How fast a package of 1 MiB gets into a meter's flash: Image transfer (class 18) over TLS 1.3 on the loopback with suite 2
//! inside, over an association of the firmware role beside the one that reads, as a head-end's campaign does it.
//! `cargo xtask bench firmware` runs it. The meter is a fleet of one, which serves a connection and keeps blocks as every meter
//! of a fleet does; its flash is a file that is not forced on to the disk.

#![allow(clippy::unwrap_used, reason = "a measurement ends where it cannot go on")]

use std::convert::Infallible;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use meterseal_boot::stage::{Factory, Partition, Stage};
use meterseal_device::fleet::{Fleet, MemberSettings, PARTITION, Settings};
use meterseal_link::client::{IN_FLIGHT_MAX, Limits};
use meterseal_link::dial::Target;
use meterseal_link::{Association, DlmsClient, DlmsKeys, Pki, Value, accept, tls};
use meterseal_meter::firmware::{self, LEAST_PROBATION_MS};
use meterseal_meter::{Identity, RoleKeys};
use meterseal_model::objects::Class;
use meterseal_model::{Digest384, MeterId, Obis, Role, SystemTitle, UnixMillis};
use meterseal_seal::attestation::Ground;
use meterseal_seal::firmware::{
    Digests, FirmwareKey, Manifest, Packing, Role as SignerRole, TrustRoot, TrustedKey, package,
};
use tokio::net::TcpListener;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
/// Each role's keys: encryption and authentication.
const UTILITY: [u8; 32] = [0x11; 32];
const FIRMWARE: [u8; 32] = [0x33; 32];
const AUTHENTICATION: [u8; 32] = [0x22; 32];
const BYTES: usize = 1 << 20;
/// The first goes into erased flash; each after it is erased for first.
const TRANSFERS: u8 = 15;
const IMAGE: u16 = Class::ImageTransfer.id();
const BLOCK_SIZE: i8 = 2;
const INITIATE: i8 = 1;
const BLOCK_TRANSFER: i8 = 2;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(&folder.path().join("pki")).unwrap();
    let id = "MSL0000000042".parse().unwrap();
    let identity = pki.issue_meter(id).unwrap().identity().unwrap();
    let headend = pki.issue_headend("local").unwrap().identity().unwrap();
    let (trust, gateway_trust) = (pki.trust(), pki.trust());
    let (address, to_dial) = mpsc::channel();
    let (done, end) = mpsc::channel::<()>();
    let flash = folder.path().join("flash.bin");
    let meter = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let target = Target { address: to_dial.recv().unwrap(), headend: "local".to_owned() };
        let (stage, factory) = made(id);
        let member = MemberSettings {
            identity: Identity {
                id,
                device_type: "bench".to_owned(),
                firmware_version: "0".to_owned(),
                firmware_digest: Digest384([1; 48]),
            },
            keys: meterseal_meter::DlmsKeys { encryption: UTILITY, authentication: AUTHENTICATION },
            role_keys: RoleKeys::NONE.with(
                Role::Firmware,
                meterseal_meter::DlmsKeys { encryption: FIRMWARE, authentication: AUTHENTICATION },
            ),
            log_key: None,
            tls: tls::meter_config(&identity, &trust).unwrap(),
            stage: Some(stage),
        };
        let settings = Settings { factory: Some(Arc::new(factory)), ..Settings::new(target, 1) };
        let fleet = Fleet::start(vec![member], &settings, &flash, runtime.handle(), |_| ()).unwrap();
        runtime.block_on(async {
            while matches!(end.try_recv(), Err(mpsc::TryRecvError::Empty)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        drop(fleet);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        address.send(listener.local_addr().unwrap().to_string()).unwrap();
        let (stream, from) = listener.accept().await.unwrap();
        let profile = tls::gateway_config(&headend, &gateway_trust).unwrap();
        let accepted = accept::handshake(&profile, stream, from, Duration::from_secs(10)).await.unwrap();
        let mut client =
            DlmsClient::associate(accepted.stream, as_role(Role::Utility, id, UTILITY)).await.unwrap();
        let mut beside = client.open_beside(as_role(Role::Firmware, id, FIRMWARE), u32::MAX).await.unwrap();
        let mut speaking = client.beside(&mut beside);
        let block = speaking.get(IMAGE, Obis::IMAGE_TRANSFER, BLOCK_SIZE).await.unwrap();
        let block = block.as_u64().unwrap() as usize;
        let package = noise(BYTES);
        let mut rates = Vec::new();
        for number in 0..TRANSFERS {
            let name = Value::Structure(vec![Value::Bytes(vec![number; 48]), Value::U32(BYTES as u32)]);
            speaking.action(IMAGE, Obis::IMAGE_TRANSFER, INITIATE, Some(name)).await.unwrap();
            let begin = Instant::now();
            let blocks: Vec<(usize, &[u8])> = package.chunks(block).enumerate().collect();
            for batch in blocks.chunks(IN_FLIGHT_MAX) {
                let values: Vec<Value> = batch
                    .iter()
                    .map(|(number, content)| {
                        Value::Structure(vec![Value::U32(*number as u32), Value::Bytes(content.to_vec())])
                    })
                    .collect();
                let answers =
                    speaking.actions(IMAGE, Obis::IMAGE_TRANSFER, BLOCK_TRANSFER, &values).await.unwrap();
                assert!(answers.iter().all(Result::is_ok), "{answers:?}");
            }
            rates.push(BYTES as f64 / 1e6 / begin.elapsed().as_secs_f64());
        }
        let first = rates.remove(0);
        rates.sort_by(f64::total_cmp);
        println!("into erased flash {first:.1}");
        println!("over an earlier package {:.1}", rates[rates.len() / 2]);
    });
    drop(done);
    meter.join().unwrap();
}

fn as_role(role: Role, id: MeterId, encryption: [u8; 32]) -> Association {
    Association {
        role,
        meter: id.system_title(),
        client_title: SystemTitle(*b"MSH\0\0\0\0\x01"),
        keys: DlmsKeys { encryption, authentication: AUTHENTICATION },
        invocation_counter: 0,
        last_response_counter: 0,
        last_push_counter: 0,
        limits: Limits::default(),
    }
}

/// A boot stage, and what its maker puts into the meter.
fn made(id: MeterId) -> (Stage, Factory) {
    let fill = |bytes: &mut [u8]| {
        bytes.fill(1);
        Ok::<(), Infallible>(())
    };
    let key = FirmwareKey::generate(fill).unwrap();
    let trusted = TrustedKey {
        name: "Bench".into(),
        key: key.public().clone(),
        roles: vec![SignerRole::Root, SignerRole::Release],
        expires: UnixMillis(2 * NOW.0),
    };
    let root = TrustRoot { version: 1, thresholds: [1, 1, 0], keys: vec![trusted] };
    let image = noise(4096);
    let manifest = Manifest {
        vendor: "Meterseal".into(),
        device_type: "bench".into(),
        hardware: vec!["A".into()],
        version: "1.0.0".into(),
        sequence: 1,
        minimum_previous: 0,
        image: Digests::of(&image),
        stored: Digests::of(&image),
        packing: Packing::Plain,
        encryption: None,
        not_before: None,
    };
    let factory = Factory {
        root: root.sign(&[&key]).unwrap(),
        package: package::write(&manifest, &image, &[&key]).unwrap(),
    };
    let target = firmware::Target {
        vendor: "Meterseal".into(),
        device_type: "bench".into(),
        hardware: "A".into(),
        class_key: None,
    };
    let (base, layout) = PARTITION;
    let partition = Partition { base, layout, target, least_probation_ms: LEAST_PROBATION_MS };
    (Stage::new(id, &[7; 32], Vec::new(), Ground::Simulated, partition), factory)
}

/// Bytes that repeat nowhere.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..count).map(|_| byte()).collect()
}
