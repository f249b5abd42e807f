//! The local port of a running meter: TLS both ways, the roles of the caller's certificate, several connections at once.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use meterseal_device::{Access, Device, LocalAccess, LocalPort, Opened, Place, Settings};
use meterseal_link::client::Limits;
use meterseal_link::dial::{Target, Tcp};
use meterseal_link::keys::{DeviceSecret, FileKeyStore};
use meterseal_link::pki::{Pki, Validity};
use meterseal_link::tls::{self, ClientProfile, MeterClock};
use meterseal_link::{Association, ClientError, DlmsClient, DlmsKeys, Peer, Value};
use meterseal_meter::{Identity, RoleKeys};
use meterseal_model::{Digest384, EventCode, MeterId, Obis, Role, Roles, Stimulus, SystemTitle, TimeBase};
use meterseal_world::site::SiteKind;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(30);

fn id() -> MeterId {
    "MSL0000000007".parse().unwrap()
}

fn keys_of(role: Role) -> ([u8; 32], [u8; 32]) {
    let byte = role.client_address() as u8;
    ([byte; 32], [byte + 1; 32])
}

struct Bench {
    folder: tempfile::TempDir,
    pki: Pki,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(&folder.path().join("pki")).unwrap();
        Self { folder, pki }
    }

    /// A meter that listens, and that dials a head-end which is not there.
    fn meter(&self, plain: Option<Roles>) -> Device {
        let secret = DeviceSecret::open_or_create(&self.folder.path().join("device-secret")).unwrap();
        let key_store = FileKeyStore::open(&self.folder.path().join("keys.bin"), &id().to_string(), secret);
        let own = self.pki.issue_meter(id()).unwrap().identity().unwrap();
        let trust = self.pki.trust();
        let access = match plain {
            Some(roles) => LocalAccess::PlainForLaboratory(roles),
            None => LocalAccess::Tls(tls::local_port_config(&own, &trust, &MeterClock::system()).unwrap()),
        };
        let pair = |role| {
            let (encryption, authentication) = keys_of(role);
            meterseal_meter::DlmsKeys { encryption, authentication }
        };
        let roles = Roles::AUTHENTICATED.without(Role::Utility);
        let settings = Settings {
            identity: Identity {
                id: id(),
                device_type: "Meterseal Reference".into(),
                firmware_version: "0.1.0".into(),
                firmware_digest: Digest384([1; 48]),
            },
            keys: pair(Role::Utility),
            tls: tls::meter_config(&own, &trust).unwrap(),
            trust: None,
            network: Arc::new(Tcp),
            headend: Target { address: "127.0.0.1:9".into(), headend: "north".into() },
            access: Access {
                local: Some(LocalPort { address: "127.0.0.1:0".parse().unwrap(), access }),
                key_store: Some(Arc::new(key_store.unwrap())),
                issuers: trust.headends.iter().map(|der| der.to_vec()).collect(),
                role_keys: roles.iter().fold(RoleKeys::NONE, |keys, role| keys.with(role, pair(role))),
                ..Access::default()
            },
            flash: self.folder.path().join("flash.bin"),
            firmware: None,
            place: Place::Synthetic(SiteKind::HomeSolar),
            seed: 1,
            time_base: TimeBase::Wall,
            speed: 1.0,
            profile_period_seconds: 900,
        };
        Opened::new(settings).unwrap().start(&tokio::runtime::Handle::current()).unwrap()
    }

    fn caller(&self, roles: &[Role]) -> ClientProfile {
        let validity = Validity::from_now(Duration::from_secs(3600));
        let issued = self.pki.issue_client("somebody", Roles::of(roles), validity).unwrap();
        tls::client_config(&issued.identity().unwrap(), &self.pki.trust()).unwrap()
    }
}

fn association(role: Role) -> Association {
    let (encryption, authentication) = keys_of(role);
    Association {
        role,
        meter: id().system_title(),
        client_title: SystemTitle(*b"MSB\0\0\0\0\x01"),
        keys: DlmsKeys { encryption, authentication },
        invocation_counter: 10,
        last_response_counter: 0,
        last_push_counter: 0,
        limits: Limits { response: PATIENCE, operation: PATIENCE, ..Limits::default() },
    }
}

type Secure = tokio_rustls::client::TlsStream<TcpStream>;

async fn dial(device: &Device, profile: &ClientProfile) -> Secure {
    let stream = TcpStream::connect(device.local_address().unwrap()).await.unwrap();
    let name = tls::meter_server_name(id()).unwrap();
    TlsConnector::from(Arc::clone(profile.config())).connect(name, stream).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bench_and_installer_are_served_at_once_each_in_its_own_association() {
    let bench = Bench::new();
    let device = bench.meter(None);
    let caller = bench.caller(&[Role::Bench]);
    let mut first =
        DlmsClient::associate(dial(&device, &caller).await, association(Role::Bench)).await.unwrap();
    let caller = bench.caller(&[Role::Installer]);
    let mut second =
        DlmsClient::associate(dial(&device, &caller).await, association(Role::Installer)).await.unwrap();
    for _ in 0..3 {
        first.get(7, Obis::LOAD_PROFILE, 7).await.unwrap();
        second.get(8, Obis::CLOCK, 2).await.unwrap();
        assert!(second.get(7, Obis::LOAD_PROFILE, 7).await.is_err(), "no profile for an installer");
    }
    first.release().await.unwrap();
    second.get(8, Obis::CLOCK, 2).await.unwrap();
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_gives_its_roles_and_no_others_whatever_keys_are_known() {
    let bench = Bench::new();
    let device = bench.meter(None);
    let caller = bench.caller(&[Role::Reader]);
    for role in [Role::Bench, Role::Installer, Role::Utility, Role::Firmware] {
        let outcome = DlmsClient::associate(dial(&device, &caller).await, association(role)).await;
        assert!(outcome.is_err(), "{role}");
    }
    DlmsClient::associate(dial(&device, &caller).await, association(Role::Reader)).await.unwrap();
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_only_where_a_laboratory_asked_for_it() {
    let bench = Bench::new();
    let device = bench.meter(Some(Roles::of(&[Role::Bench])));
    let stream = TcpStream::connect(device.local_address().unwrap()).await.unwrap();
    let mut client = DlmsClient::associate(stream, association(Role::Bench)).await.unwrap();
    client.get(8, Obis::CLOCK, 2).await.unwrap();
    drop(client);
    device.stop().await;

    let bench = Bench::new();
    let device = bench.meter(None);
    let stream = TcpStream::connect(device.local_address().unwrap()).await.unwrap();
    assert!(DlmsClient::associate(stream, association(Role::Bench)).await.is_err());
    device.stop().await;
}

/// How many acts on certificates the security log says were refused.
async fn refused(utility: &mut DlmsClient<Secure>) -> usize {
    let Value::Array(rows) = utility.get(7, Obis::SECURITY_LOG, 2).await.unwrap() else { panic!("an array") };
    let code = u64::from(EventCode::CertificateRefused as u8);
    let has = |row: &Value| matches!(row, Value::Structure(fields) if fields.iter().any(|field| field.as_u64() == Some(code)));
    rows.iter().filter(|row| has(row)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_pair_made_on_the_meter_is_certified_and_imported_over_cosem() {
    const TLS: Value = Value::Enum(2);
    const SETUP: (u16, Obis) = (64, Obis::SECURITY_SETUP);
    let bench = Bench::new();
    let device = bench.meter(None);
    let caller = bench.caller(&[Role::Utility]);
    let mut utility =
        DlmsClient::associate(dial(&device, &caller).await, association(Role::Utility)).await.unwrap();
    let (class, setup) = SETUP;
    let early = utility.action(class, setup, 5, Some(TLS)).await;
    assert!(early.is_err(), "no key pair waits");
    utility.action(class, setup, 4, Some(TLS)).await.unwrap();
    let request = utility.action(class, setup, 5, Some(TLS)).await.unwrap();
    let Value::Bytes(request) = request else { panic!("{request:?}") };
    let validity = Validity::from_now(Duration::from_secs(3600));
    let chain = bench.pki.sign_request(id(), &request, validity).unwrap();

    // A certificate for another key is refused, and the pair goes on waiting.
    let foreign = bench.pki.issue_client("somebody-else", Role::Bench.into(), validity).unwrap();
    let foreign = foreign.identity().unwrap();
    let der = foreign.chain()[0].to_vec();
    assert!(utility.action(class, setup, 6, Some(Value::Bytes(der))).await.is_err());

    // So are, for the very key that waits: the manufacturer's word, a stranger's, our utility's for somebody else, one
    // with a chain that was not checked, and one that was altered.
    let stranger = Pki::create(&bench.folder.path().join("other")).unwrap();
    let key = meterseal_seal::request::certified_key(&chain[0]).unwrap();
    let joined =
        |chain: &[_]| chain.iter().flat_map(|der: &CertificateDer<'_>| der.to_vec()).collect::<Vec<u8>>();
    let mut altered = chain[0].to_vec();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    let wrong = [
        joined(&bench.pki.sign_device_request(id(), &request, validity).unwrap()),
        joined(&stranger.sign_request(id(), &request, validity).unwrap()),
        joined(&bench.pki.certify_own(&Peer::Headend("north".into()), &key, validity).unwrap()),
        joined(&[chain[0].clone(), bench.pki.root().clone()]),
        altered,
        Vec::new(),
    ];
    let refused_before = refused(&mut utility).await;
    for wrong in &wrong {
        let answer = utility.action(class, setup, 6, Some(Value::Bytes(wrong.clone()))).await;
        assert!(matches!(answer, Err(ClientError::Access(_))), "{answer:?}");
    }
    assert_eq!(refused(&mut utility).await, refused_before + wrong.len(), "each is in the security log");

    utility.action(class, setup, 6, Some(Value::Bytes(joined(&chain)))).await.unwrap();
    let Value::Array(list) = utility.get(class, setup, 6).await.unwrap() else { panic!("an array") };
    assert_eq!(list.len(), 2, "the meter's own and its authority's");
    let Value::Structure(own) = &list[0] else { panic!("a structure") };
    assert_eq!(own[..2], [Value::Enum(0), TLS], "the server's, for TLS");
    let by_serial =
        Value::Structure(vec![Value::Enum(1), Value::Structure(vec![own[2].clone(), own[3].clone()])]);
    let title = Value::Bytes(id().system_title().0.to_vec());
    let by_entity =
        Value::Structure(vec![Value::Enum(0), Value::Structure(vec![Value::Enum(0), TLS, title])]);
    for which in [by_serial.clone(), by_entity] {
        let exported = utility.action(class, setup, 7, Some(which)).await.unwrap();
        assert_eq!(exported, Value::Bytes(chain[0].to_vec()));
    }

    // The authority's own stays as long as what it signed; that goes with its key, and once.
    let Value::Structure(above) = &list[1] else { panic!("a structure") };
    let above =
        Value::Structure(vec![Value::Enum(1), Value::Structure(vec![above[2].clone(), above[3].clone()])]);
    assert!(utility.action(class, setup, 8, Some(above)).await.is_err());
    utility.action(class, setup, 8, Some(by_serial.clone())).await.unwrap();
    assert_eq!(utility.get(class, setup, 6).await.unwrap(), Value::Array(vec![]));
    assert!(utility.action(class, setup, 8, Some(by_serial)).await.is_err());
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installer_reads_why_the_meter_does_not_reach_its_head_end_and_a_reader_does_not() {
    let bench = Bench::new();
    let device = bench.meter(None);
    let caller = bench.caller(&[Role::Installer, Role::Reader]);
    let mut installer =
        DlmsClient::associate(dial(&device, &caller).await, association(Role::Installer)).await.unwrap();
    let mut failures = 0;
    // The pause between attempts grows to a second within three.
    for _ in 0..500 {
        failures = installer.get(1, Obis::LINK_FAILURES, 2).await.unwrap().as_u64().unwrap();
        if failures >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(failures >= 2, "nobody listens on the discard port");
    let get = async |client: &mut DlmsClient<Secure>, obis| client.get(1, obis, 2).await;
    assert_eq!(get(&mut installer, Obis::LINK_CONNECTED).await.unwrap(), Value::Bool(false));
    assert_eq!(get(&mut installer, Obis::LINK_CONNECTIONS).await.unwrap().as_u64(), Some(0));
    assert_eq!(get(&mut installer, Obis::LINK_BYTES_OUT).await.unwrap().as_u64(), Some(0));
    assert_eq!(get(&mut installer, Obis::LINK_SIGNAL).await.unwrap(), Value::I8(127));
    let Value::Bytes(reason) = get(&mut installer, Obis::LINK_REASON).await.unwrap() else { panic!() };
    let reason = String::from_utf8(reason).unwrap();
    assert!(reason.contains("cannot be reached"), "{reason}");
    let mut reader =
        DlmsClient::associate(dial(&device, &caller).await, association(Role::Reader)).await.unwrap();
    assert!(get(&mut reader, Obis::LINK_REASON).await.is_err());
    device.stop().await;
}

/// What a laboratory reads without TLS; a meter that is dark closes at once.
async fn laboratory(device: &Device) -> Result<DlmsClient<TcpStream>, ClientError> {
    let stream = TcpStream::connect(device.local_address().unwrap()).await.unwrap();
    // Beyond what the meter has seen, and what it skips at a start.
    static COUNTER: AtomicU32 = AtomicU32::new(10);
    let invocation_counter = COUNTER.fetch_add(100_000, Ordering::Relaxed);
    DlmsClient::associate(stream, Association { invocation_counter, ..association(Role::Bench) }).await
}

/// The codes of the security log's entries.
async fn codes(bench: &mut DlmsClient<TcpStream>) -> Vec<u8> {
    let Value::Array(rows) = bench.get(7, Obis::SECURITY_LOG, 2).await.unwrap() else { panic!("an array") };
    let code = |row: &Value| match row {
        Value::Structure(fields) => fields.iter().find_map(|field| match field {
            Value::U8(code) => Some(*code),
            _ => None,
        }),
        _ => None,
    };
    rows.iter().map(|row| code(row).unwrap()).collect()
}

async fn energies(bench: &mut DlmsClient<TcpStream>) -> [u64; 2] {
    let mut energies = [0; 2];
    for (energy, obis) in energies.iter_mut().zip([Obis::ACTIVE_ENERGY_IMPORT, Obis::ACTIVE_ENERGY_EXPORT]) {
        *energy = bench.get(3, obis, 2).await.unwrap().as_u64().unwrap();
    }
    energies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_whose_supply_goes_away_says_its_last_words_and_comes_back_with_nothing_lost() {
    let laboratory_bench = Bench::new();
    let device = laboratory_bench.meter(Some(Roles::of(&[Role::Bench])));
    let flash = laboratory_bench.folder.path().join("flash.bin");
    let mut client = laboratory(&device).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_300)).await;

    // Shorter than the capacitor carries the meter: it is noticed, and that is all.
    device.apply(Stimulus::InterruptSupply).unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    device.apply(Stimulus::RestoreSupply).unwrap();
    let count = |codes: &[u8], code: EventCode| codes.iter().filter(|&&found| found == code as u8).count();
    let begun = std::time::Instant::now();
    let mut before = codes(&mut client).await;
    while count(&before, EventCode::SupplyRestored) == 0 && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
        before = codes(&mut client).await;
    }
    assert_eq!(count(&before, EventCode::SupplyInterrupted), 1, "{before:?}");
    assert_eq!(count(&before, EventCode::SupplyRestored), 1, "{before:?}");
    assert_eq!(count(&before, EventCode::PowerDown), 0, "{before:?}");

    // Longer: the connection dies, nobody is served, and registers are saved as of then, not as of the second before.
    let shown = energies(&mut client).await;
    device.apply(Stimulus::InterruptSupply).unwrap();
    tokio::time::timeout(PATIENCE, async { while client.get(8, Obis::CLOCK, 2).await.is_ok() {} })
        .await
        .unwrap();
    assert!(laboratory(&device).await.is_err(), "a dark meter answers");
    let dark = std::fs::read(&flash).unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(std::fs::read(&flash).unwrap() == dark, "a dark meter writes");

    device.apply(Stimulus::RestoreSupply).unwrap();
    let begun = std::time::Instant::now();
    let mut client = loop {
        match laboratory(&device).await {
            Ok(client) => break client,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let after = codes(&mut client).await;
    assert_eq!(after[..before.len()], before, "an entry is lost");
    let new = &after[before.len()..];
    let places = [EventCode::SupplyInterrupted, EventCode::PowerDown, EventCode::PowerUp]
        .map(|code| new.iter().position(|&found| found == code as u8));
    assert!(places.is_sorted() && places[0].is_some(), "{new:?}");
    assert_eq!(count(new, EventCode::StorageError), 0, "{new:?}");
    let found = energies(&mut client).await;
    assert!(found.iter().zip(shown).all(|(found, shown)| *found >= shown), "{found:?} after {shown:?}");
    device.stop().await;

    // Stopped while it is dark: nothing is left to save, and it comes up again.
    let device = laboratory_bench.meter(Some(Roles::of(&[Role::Bench])));
    tokio::time::sleep(Duration::from_millis(300)).await;
    device.apply(Stimulus::InterruptSupply).unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    device.stop().await;
    let device = laboratory_bench.meter(Some(Roles::of(&[Role::Bench])));
    let mut client = laboratory(&device).await.unwrap();
    let last = codes(&mut client).await;
    assert_eq!(last[..after.len()], after);
    assert!(count(&last, EventCode::PowerDown) >= 3, "{last:?}");
    let found_last = energies(&mut client).await;
    assert!(found_last.iter().zip(found).all(|(last, found)| *last >= found));
    device.stop().await;
}
