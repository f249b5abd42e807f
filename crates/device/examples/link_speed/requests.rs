//! GETs of a register one after another over a real connection: TLS 1.3 on the loopback, suite 2 inside. The meter is
//! a fleet of one, which serves a connection as every meter of a fleet does.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use meterseal_device::fleet::{Fleet, MemberSettings, Settings};
use meterseal_link::client::Limits;
use meterseal_link::dial::Target;
use meterseal_link::{Association, DlmsClient, DlmsKeys, Pki, accept, tls};
use meterseal_meter::Identity;
use meterseal_model::{Digest384, Obis, Role, SystemTitle};
use tokio::net::TcpListener;

use crate::{figure, thread_seconds};

const KEYS: ([u8; 32], [u8; 32]) = ([0x11; 32], [0x22; 32]);
const METER: &str = "meter";
const HEADEND: &str = "headend";

pub(crate) fn measure(length: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(&folder.path().join("pki")).unwrap();
    let id = "MSL0000000042".parse().unwrap();
    let identity = pki.issue_meter(id).unwrap().identity().unwrap();
    let (address, to_dial) = mpsc::channel();
    let (done, end) = mpsc::channel::<()>();
    let trust = pki.trust();
    let headend = pki.issue_headend("local").unwrap().identity().unwrap();

    let flash = folder.path().join("flash.bin");
    let meter = std::thread::Builder::new().name(METER.to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let target = Target { address: to_dial.recv().unwrap(), headend: "local".to_owned() };
        let member = MemberSettings {
            identity: Identity {
                id,
                device_type: "bench".to_owned(),
                firmware_version: "0".to_owned(),
                firmware_digest: Digest384([1; 48]),
            },
            keys: meterseal_meter::DlmsKeys { encryption: KEYS.0, authentication: KEYS.1 },
            role_keys: meterseal_meter::RoleKeys::NONE,
            log_key: None,
            tls: tls::meter_config(&identity, &trust).unwrap(),
            stage: None,
        };
        let settings = Settings::new(target, 1);
        let fleet = Fleet::start(vec![member], &settings, &flash, runtime.handle(), |_| ()).unwrap();
        runtime.block_on(async {
            while matches!(end.try_recv(), Err(mpsc::TryRecvError::Empty)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        drop(fleet);
    });
    let trust = pki.trust();
    let other = std::thread::Builder::new().name(HEADEND.to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            address.send(listener.local_addr().unwrap().to_string()).unwrap();
            let (stream, from) = listener.accept().await.unwrap();
            let profile = tls::gateway_config(&headend, &trust).unwrap();
            let accepted = accept::handshake(&profile, stream, from, Duration::from_secs(10)).await.unwrap();
            let association = Association {
                role: Role::Utility,
                meter: id.system_title(),
                client_title: SystemTitle(*b"MSH\0\0\0\0\x01"),
                keys: DlmsKeys { encryption: KEYS.0, authentication: KEYS.1 },
                invocation_counter: 0,
                last_response_counter: 0,
                last_push_counter: 0,
                limits: Limits::default(),
            };
            let mut client = DlmsClient::associate(accepted.stream, association).await.unwrap();
            for _ in 0..500 {
                client.get(3, Obis::ACTIVE_ENERGY_IMPORT, 2).await.unwrap();
            }
            // The best of several pieces: others use this machine too.
            const PIECES: u32 = 10;
            let (mut best, mut least) = (0.0_f64, [f64::MAX; 2]);
            for _ in 0..PIECES {
                let before = [METER, HEADEND].map(thread_seconds);
                let (begin, mut count) = (Instant::now(), 0.0);
                while begin.elapsed() < length / PIECES {
                    client.get(3, Obis::ACTIVE_ENERGY_IMPORT, 2).await.unwrap();
                    count += 1.0;
                }
                best = best.max(count / begin.elapsed().as_secs_f64());
                for (place, thread) in [METER, HEADEND].into_iter().enumerate() {
                    least[place] = least[place].min((thread_seconds(thread) - before[place]) / count);
                }
            }
            figure("gets_per_second", best);
            figure("meter_microseconds_per_get", least[0] * 1e6);
            figure("headend_microseconds_per_get", least[1] * 1e6);
        });
        drop(done);
    });
    other.unwrap().join().unwrap();
    meter.unwrap().join().unwrap();
}
