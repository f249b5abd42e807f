//! The real program: a meter's executable lies in its flash, the boot stage executes the verified bytes, a head-end reads the
//! meter; then it gets another version by the link, restarts, and runs and attests that one.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

#[path = "../../meter/tests/support/firmware.rs"]
mod firmware;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use firmware::{Maker, NOW, digest};
use meterseal_boot::flash::FileFlash;
use meterseal_boot::stage::{FIRMWARE_BASE, Factory, Partition, Stage};
use meterseal_boot::supervise::Supervisor;
use meterseal_headend::{Config, Headend, MeterEntry, Pace};
use meterseal_link::client::{Association, DlmsClient, Limits};
use meterseal_link::own::OwnIdentity;
use meterseal_link::pki::{Pki, Validity};
use meterseal_link::tls::{self, ClientProfile, Peer};
use meterseal_link::{DlmsKeys, Value};
use meterseal_meter::firmware::{BLOCK_BYTES, FirmwareLayout};
use meterseal_model::{Digest384, MeterId, Obis, Role, Roles, SystemTitle, TimeBase, UnixMillis};
use meterseal_seal::attestation::{Attestation, Attested, Ground};
use meterseal_seal::firmware::{Digests, Manifest, Packing, pack, package};
use meterseal_seal::{Mark, Scope};
use meterseal_virtual_meter::DeviceFolder;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const SLOT_MIB: u32 = 64;
const DEVICE_TYPE: &str = "MS3-5(100)";
const NAME: &str = "north";
const IMAGE_TRANSFER: u16 = 18;

fn id() -> MeterId {
    "MSL0000000009".parse().unwrap()
}

/// The meter's executable without what only a debugger reads; as it is where there is no `strip`.
fn program(folder: &std::path::Path) -> Vec<u8> {
    let (built, stripped) = (env!("CARGO_BIN_EXE_virtual-meter"), folder.join("virtual-meter"));
    let done = Command::new("strip").arg("-o").arg(&stripped).arg(built).status();
    let path = if done.is_ok_and(|status| status.success()) { stripped } else { built.into() };
    std::fs::read(path).unwrap()
}

struct Bench {
    folder: tempfile::TempDir,
    pki: Pki,
    maker: Maker,
    keys: Vec<(Role, [u8; 64])>,
    local: SocketAddr,
    counter: u32,
}

impl Bench {
    async fn client(&mut self, role: Role) -> Option<DlmsClient<tokio_rustls::client::TlsStream<TcpStream>>> {
        let validity = Validity::from_now(Duration::from_secs(3600));
        let issued = self.pki.issue_client("somebody", Roles::from(role), validity).unwrap();
        let profile: ClientProfile =
            tls::client_config(&issued.identity().unwrap(), &self.pki.trust()).unwrap();
        let stream = TcpStream::connect(self.local).await.ok()?;
        let name = tls::meter_server_name(id()).unwrap();
        let stream = TlsConnector::from(Arc::clone(profile.config())).connect(name, stream).await.ok()?;
        let (_, pair) = self.keys.iter().find(|(own, _)| *own == role).unwrap();
        self.counter += 1_000_000;
        let association = Association {
            role,
            meter: id().system_title(),
            client_title: SystemTitle(*b"MSB\0\0\0\0\x01"),
            keys: keys(pair),
            invocation_counter: self.counter,
            last_response_counter: 0,
            last_push_counter: 0,
            limits: Limits::default(),
        };
        DlmsClient::associate(stream, association).await.ok()
    }

    /// What the meter attests; `None` where it does not answer now.
    async fn attested(&mut self, stage: &Stage) -> Option<Attested> {
        let mut bench = self.client(Role::Bench).await?;
        let nonce = vec![self.counter as u8; 32];
        let Ok(Value::Bytes(certificate)) = bench.get(1, Obis::IMAGE_KEY, 2).await else { return None };
        bench.set(1, Obis::ATTESTATION_NONCE, 2, Value::Bytes(nonce.clone())).await.ok()?;
        for _ in 0..500 {
            let Ok(Value::Bytes(signed)) = bench.get(1, Obis::ATTESTATION, 2).await else { return None };
            if !signed.is_empty() {
                let boot_key = stage.boot_key();
                return Some(Attestation::verify(&signed, &certificate, boot_key, id(), &nonce).unwrap());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    async fn eventually(&mut self, stage: &Stage, what: &str, fits: impl Fn(&Attested) -> bool) -> Attested {
        for _ in 0..600 {
            let answer = tokio::time::timeout(Duration::from_secs(30), self.attested(stage)).await;
            if let Ok(Some(attested)) = answer
                && fits(&attested)
            {
                return attested;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("never happened: {what}");
    }
}

fn keys(pair: &[u8; 64]) -> DlmsKeys {
    let (mut encryption, mut authentication) = ([0; 32], [0; 32]);
    encryption.copy_from_slice(&pair[..32]);
    authentication.copy_from_slice(&pair[32..]);
    DlmsKeys { encryption, authentication }
}

async fn headend(bench: &Bench, images: &[Digest384]) -> Headend {
    let pki = &bench.pki;
    let far = UnixMillis(4_000_000_000_000);
    let mark = |image: &Digest384| {
        let mark = Mark::development(DEVICE_TYPE, "virtual", *image, "Test authority", UnixMillis(0), far);
        mark.sign(&pki.certification_signer().unwrap()).unwrap()
    };
    let utility = bench.keys.iter().find(|(role, _)| *role == Role::Utility).unwrap();
    let config = Config {
        meters: vec![MeterEntry {
            id: id(),
            name: "Nine".into(),
            site: "home".into(),
            is_virtual: true,
            time_base: TimeBase::Wall,
            keys: keys(&utility.1),
            firmware_keys: None,
            allowed_scopes: vec![Scope::Development],
        }],
        marks: images.iter().map(mark).collect(),
        certification_keys: vec![pki.certification_key().clone()],
        ..common(bench)
    };
    Headend::start(config).await.unwrap()
}

fn common(bench: &Bench) -> Config {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let folder = bench.folder.path().join("time");
    std::fs::create_dir_all(&folder).unwrap();
    let time = OwnIdentity::open(&folder, Peer::Time(NAME.to_owned())).unwrap();
    time.renew(&bench.pki, Validity::from_now(Duration::from_secs(86_400))).unwrap();
    Config {
        data_dir: bench.folder.path().join("headend"),
        gateway_listen: any,
        page_listen: any,
        identity: bench.pki.issue_headend(NAME).unwrap().identity().unwrap(),
        trust: bench.pki.trust(),
        accept: Default::default(),
        time: Some(time.time_source().unwrap()),
        revocations: Some(bench.pki.dir().to_owned()),
        system_title: SystemTitle(*b"MSH\0\0\0\0\x01"),
        meters: Vec::new(),
        marks: Vec::new(),
        certification_keys: Vec::new(),
        pace: Pace::default(),
        receivers: Vec::new(),
        silent_after: Duration::from_secs(900),
        virtual_sites: None,
        enrolment: None,
        attestation: Default::default(),
        mark_warnings: Default::default(),
        firmware_root: bench.folder.path().join("headend/firmware/trust.cbor"),
    }
}

/// The differences between two builds, as a package.
fn delta(maker: &Maker, base: &[u8], image: &[u8]) -> Vec<u8> {
    let mut differences = Vec::new();
    bsdiff::diff(base, image, &mut differences).unwrap();
    let stored = pack::deflate(&differences);
    let packing = Packing::Delta { base: Digests::of(base) };
    let manifest = Manifest { stored: Digests::of(&stored), packing, ..maker.manifest(image, 2) };
    package::write(&manifest, &stored, &[&maker.key]).unwrap()
}

/// A port that nobody uses now.
fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_meters_executable_is_booted_updated_over_the_link_and_attested() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki")).unwrap();
    let maker = Maker::new();
    let first = program(folder.path());
    assert!(first.len() < (SLOT_MIB as usize) << 20, "{} bytes", first.len());
    println!("the image has {} bytes", first.len());
    // A build that differs: what stands behind an executable changes its digest and nothing that it does.
    let second = [first.as_slice(), b"another build\n"].concat();

    let image_folder = folder.path().join("image");
    let made = DeviceFolder::make(&image_folder, id(), &pki).unwrap();
    let keys = made.role_keys.iter().map(|(role, keys)| (*role, **keys)).collect();
    drop(made);
    let mut bench = Bench { folder, pki, maker, keys, local: free_port(), counter: 0 };
    let layout = FirmwareLayout::STANDARD.with_slot(SLOT_MIB << 20);
    let target = bench.maker.target.clone();
    let partition = Partition { base: FIRMWARE_BASE, layout, target, least_probation_ms: 1000 };
    let stage = |chain| Stage::new(id(), &[7; 32], chain, Ground::Simulated, partition.clone());
    let chain = bench.pki.certify_boot_key(id(), stage(Vec::new()).boot_key()).unwrap();
    let chain: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
    let flash = bench.folder.path().join("flash.bin");
    let chip = FileFlash::open(&flash, partition.chip_bytes(FileFlash::SECTOR)).unwrap();
    let factory = Factory { root: bench.maker.root.clone(), package: bench.maker.plain(&first, 1) };
    stage(chain.clone()).manufacture(chip, &factory, Some(NOW)).unwrap();

    let update = delta(&bench.maker, &first, &second);
    let images = [digest(&factory.package), digest(&update)];
    let headend = headend(&bench, &images).await;
    let arguments = [
        "--flash".into(),
        flash.clone().into_os_string(),
        "--folder".into(),
        image_folder.into_os_string(),
        "--headend".into(),
        headend.gateway_addr().to_string().into(),
        "--headend-name".into(),
        NAME.into(),
        "--local-port".into(),
        bench.local.to_string().into(),
        "--device-type".into(),
        DEVICE_TYPE.into(),
        "--hardware".into(),
        "B".into(),
        "--slot".into(),
        SLOT_MIB.to_string().into(),
        "--least-probation".into(),
        "1".into(),
    ];
    let supervisor = Supervisor {
        stage: stage(chain),
        flash,
        arguments: arguments.to_vec(),
        patience: Duration::from_secs(60),
        pause: Duration::from_secs(1),
    };
    // It ends with the test's process: the image reads the end of its boot stage.
    std::thread::spawn(move || supervisor.run());

    let stage = stage(Vec::new());
    let before = bench.eventually(&stage, "the meter runs", |attested| attested.image == images[0]).await;
    assert!(before.attestation.confirmed && before.ground == Ground::Simulated);

    let mut firmware = bench.client(Role::Firmware).await.unwrap();
    let size = Value::U32(u32::try_from(update.len()).unwrap());
    let begin = Value::Structure(vec![Value::Bytes(b"another build".to_vec()), size]);
    firmware.action(IMAGE_TRANSFER, Obis::IMAGE_TRANSFER, 1, Some(begin)).await.unwrap();
    for (number, block) in update.chunks(BLOCK_BYTES as usize).enumerate() {
        let number = Value::U32(u32::try_from(number).unwrap());
        let block = Value::Structure(vec![number, Value::Bytes(block.to_vec())]);
        firmware.action(IMAGE_TRANSFER, Obis::IMAGE_TRANSFER, 2, Some(block)).await.unwrap();
    }
    let mut verified = false;
    for _ in 0..6000 {
        let asked = firmware.action(IMAGE_TRANSFER, Obis::IMAGE_TRANSFER, 3, Some(Value::I8(0))).await;
        verified = asked.is_ok();
        if verified {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(verified, "the meter never said that the package is good");
    let order = Value::Bytes(images[1].0.to_vec());
    // The meter may be gone before it has answered.
    let _ = firmware.action(IMAGE_TRANSFER, Obis::IMAGE_TRANSFER, 4, Some(order)).await;
    let after = bench
        .eventually(&stage, "the other build runs and is confirmed", |attested| {
            attested.image == images[1] && attested.attestation.confirmed
        })
        .await;
    assert_eq!((after.attestation.sequence, after.attestation.highest), (2, 2));
    headend.shutdown().await;
}
