//! The bench against what stands behind a network address: a virtual meter with simulated instruments over real TCP and in real time, another
//! maker's server, and what is no meter at all.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../link/tests/dlms/meter.rs"]
#[allow(dead_code, reason = "shared with the client's tests")]
mod other;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use dlms_cosem_rs::acse::AuthMechanism;
use dlms_cosem_rs::security::SecuritySuite;
use meterseal_bench::catalogue::{Catalogue, Parameter};
use meterseal_bench::certify::evidence::Folder;
use meterseal_bench::certify::manual::Manual;
use meterseal_bench::certify::network::simulator::Simulator;
use meterseal_bench::certify::{
    Caller, Effort, Finding, Laboratory, Line, Made, Memory, NetworkLaboratory, Outcome, Plan, Profile,
    Record, Settings, Speaker, Specimen, Stimulus, Trouble, VirtualMeter, about, procedures, run,
};
use meterseal_link::reach::MeterAddress;
use meterseal_model::{Obis, Role};
use meterseal_world::physics::LoadPoint;

fn secret(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn profile(folder: &Path, text: &str) -> Profile {
    let path = folder.join("target.toml");
    std::fs::write(&path, text).unwrap();
    Profile::read(&path).unwrap()
}

/// A simulator, its keys and profile in a folder, and the laboratory that reaches it over the network.
fn laboratory(
    simulator: &Simulator,
    folder: &Path,
    change: impl Fn(String) -> String,
) -> (NetworkLaboratory, Profile) {
    let access = folder.join("access");
    for (role, digits) in simulator.keys() {
        secret(&access.join(role.name()).join(format!("{}.key", simulator.meter())), &digits);
    }
    let profile = profile(folder, &change(simulator.profile(&access)));
    let address: MeterAddress = format!("tcp://{}", simulator.ports().meter).parse().unwrap();
    let laboratory = NetworkLaboratory::new(address, &profile, &folder.join("counters")).unwrap();
    assert!(laboratory.simulated(), "its results are never a laboratory's");
    (laboratory, profile)
}

/// A meter that sees more current than flows.
struct Faster(VirtualMeter);

impl Specimen for Faster {
    fn load(&mut self, load: &LoadPoint, turns: f64) {
        let mut load = load.clone();
        load.current.iter_mut().flatten().for_each(|tone| tone.rms *= 1.01);
        self.0.load(&load, turns);
    }
    fn ambient(&mut self, celsius: f64) {
        self.0.ambient(celsius);
    }
    fn stimulate(&mut self, stimulus: Stimulus) {
        self.0.stimulate(stimulus);
    }
    fn supply(&mut self, on: bool) -> Result<(), Trouble> {
        self.0.supply(on)
    }
    fn pass(&mut self, seconds: f64) -> Result<(), Trouble> {
        self.0.pass(seconds)
    }
    fn seconds(&self) -> f64 {
        self.0.seconds()
    }
    fn pulses(&mut self, into: &mut Vec<f64>) {
        self.0.pulses(into);
    }
    fn connect(&mut self, caller: Caller) -> Result<Line, Trouble> {
        self.0.connect(caller)
    }
    fn disconnect(&mut self, line: Line) {
        self.0.disconnect(line);
    }
    fn send(&mut self, line: Line, bytes: &[u8]) -> Result<(), Trouble> {
        self.0.send(line, bytes)
    }
    fn receive(&mut self, line: Line) -> Result<Option<Vec<u8>>, Trouble> {
        self.0.receive(line)
    }
    fn memory(&self) -> Memory {
        self.0.memory()
    }
    fn made_with(&mut self, kilowatt_hours: f64) -> Result<(), Trouble> {
        self.0.made_with(kilowatt_hours)
    }
    fn equip(&mut self) -> Result<(), Trouble> {
        self.0.equip()
    }
}

/// ACC-02 near the maximum current only, shortly: real time passes.
fn near_maximum(laboratory: &dyn Laboratory, profile: &Profile) -> (Finding, Record) {
    let mut catalogue = Catalogue::built_in().unwrap();
    catalogue.requirements.retain(|one| one.id == "ACC-02");
    let parameters = &mut catalogue.requirements[0].parameters;
    parameters.insert(
        "from_amperes_per_in".into(),
        Parameter::Number(profile.ratings.maximum_amperes / profile.ratings.rated_amperes / 1.2),
    );
    let plan = Plan {
        catalogue: &catalogue,
        only: &[],
        profile,
        effort: Effort { runs: 2, least_seconds: 1.0, settling_seconds: 0.7, ..Effort::REDUCED },
        seed: 1,
        earlier: Default::default(),
    };
    let keep = |_: &Finding, _: &Record| Ok::<(), Trouble>(());
    run(&plan, &procedures(), laboratory, &|_| (), &keep, &AtomicBool::new(false)).unwrap().remove(0)
}

#[test]
fn a_sound_meter_passes_and_one_that_counts_too_much_fails_over_real_instruments_wires() {
    let made = Made::new(2).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let simulator = Simulator::start(&made, |meter| meter).unwrap();
    let (sound, profile) = laboratory(&simulator, folder.path(), |text| text);
    let (finding, _) = near_maximum(&sound, &profile);
    assert!(finding.measured.len() >= 2, "{finding:?}");
    for value in &finding.measured {
        assert!(value.value.abs() < 0.1 && value.bench_uncertainty < 0.01, "{value:?}");
    }

    let folder = tempfile::tempdir().unwrap();
    let simulator = Simulator::start(&made, Faster).unwrap();
    let (faulty, profile) = laboratory(&simulator, folder.path(), |text| text);
    let (finding, _) = near_maximum(&faulty, &profile);
    assert_eq!(finding.outcome, Outcome::Failed);
    assert!(finding.measured.iter().all(|value| (value.value - 1.0).abs() < 0.1), "{finding:?}");
}

#[test]
fn the_meter_is_read_and_called_as_each_role_and_what_cannot_be_measured_never_passes() {
    let made = Made::new(2).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let simulator = Simulator::start(&made, |meter| meter).unwrap();
    let (bench, profile) = laboratory(&simulator, folder.path(), |text| text);
    for _ in 0..2 {
        // Counters go on from one target to the next.
        let mut target = bench.target(1).unwrap();
        assert!(
            target
                .get(&[(1, Obis::METER_ID, 2), (3, Obis::ACTIVE_ENERGY_IMPORT, 2)])
                .unwrap()
                .iter()
                .all(Result::is_ok)
        );
        assert!(target.alarms().is_ok());
        for role in [Role::Reader, Role::Installer, Role::Utility] {
            let mut speaker = Speaker::open(&mut *target, Caller::local(role)).unwrap().unwrap();
            let clock =
                speaker.ask(&mut *target, async |client| client.get(8, Obis::CLOCK, 2).await).unwrap();
            assert!(clock.is_ok(), "{role}: {clock:?}");
            speaker.close(&mut *target).unwrap();
        }
        assert!(
            target.get(&[(1, Obis::METER_ID, 2)]).unwrap()[0].is_ok(),
            "the standing connection comes back"
        );
        assert!(target.stimulate(Stimulus::Cover(true)).unwrap_err().to_string().contains("--manual"));
        assert!(!target.transcript().is_empty());
    }
    // An instrument that cannot do so much.
    let trouble = bench.target(1).unwrap().load(&LoadPoint::balanced(50.0, 230.0, 500.0, 0.0)).unwrap_err();
    assert!(matches!(&trouble, Trouble::Instrument { name, .. } if name == "source"), "{trouble}");
    assert!(trouble.to_string().contains("-222"), "{trouble}");

    // A calibration that is due.
    let (overdue, _) = laboratory(&simulator, folder.path(), |text| {
        text.replacen("due = \"9999-12-31\"", "due = \"2026-01-02\"", 2)
    });
    assert!(overdue.reservation().unwrap().contains("2026-01-02"));
    let (finding, _) = near_maximum(&overdue, &profile);
    assert!(matches!(&finding.outcome, Outcome::CouldNot(why) if why.contains("calibration")), "{finding:?}");

    // Another instrument than that of the certificate.
    let path = folder.path().join("access");
    let text = simulator.profile(&path).replace("serial = \"SIM1\"", "serial = \"OTHER\"");
    let other = self::profile(folder.path(), &text);
    let address: MeterAddress = format!("tcp://{}", simulator.ports().meter).parse().unwrap();
    let trouble = NetworkLaboratory::new(address, &other, folder.path()).err().unwrap().to_string();
    assert!(trouble.contains("serial number"), "{trouble}");

    // It disappears in the middle.
    let mut target = bench.target(1).unwrap();
    target.get(&[(1, Obis::METER_ID, 2)]).unwrap();
    drop(simulator);
    std::thread::sleep(Duration::from_millis(300));
    let gone = target.get(&[(1, Obis::METER_ID, 2)]);
    assert!(matches!(gone, Err(Trouble::Meter(_))), "{gone:?}");
    assert!(target.pulses().is_err());
}

/// A server that says this to everybody, after it has heard something or at once.
fn stranger(says: Option<Vec<u8>>, closes: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut heard = [0; 1024];
            let _ = stream.read(&mut heard);
            if let Some(says) = &says {
                let _ = stream.write_all(says);
            }
            if !closes {
                kept.push(stream);
            }
        }
    });
    address.to_string()
}

fn settings(profile: Profile) -> Settings {
    Settings {
        target: "x".into(),
        simulated: false,
        profile,
        effort: Effort::REDUCED,
        seed: 1,
        only: Vec::new(),
        instruments: Vec::new(),
        manual: Manual::default(),
    }
}

#[test]
fn what_is_no_meter_is_said_to_be_none_within_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    secret(&path.join("keys"), &"a5".repeat(64));
    let text = "hardware = \"A\"\n[network]\nplain = true\nkeys = \"keys\"\nclient = \"0x11\"\ntimeout_seconds = 1\n";
    let profile = profile(path, text);
    let noise: Vec<u8> = (0..5000u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (what, says, closes, why) in [
        (
            "a web server",
            Some(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()),
            false,
            "no DLMS wrapper",
        ),
        (
            "HDLC",
            Some(vec![0x7E, 0xA0, 0x1E, 0x21, 0x03, 0x73, 0x7C, 0x2F, 0x81, 0x80, 0x7E]),
            false,
            "no DLMS wrapper",
        ),
        ("a TLS server", Some(vec![0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46, 0, 0]), true, "no DLMS wrapper"),
        ("noise", Some(noise), false, "no DLMS wrapper"),
        ("a frame of nothing known", Some(vec![0, 1, 0, 1, 0, 0x11, 0, 2, 0xFF, 0xFF]), false, "the meter: "),
        ("silence", None, false, "did not answer"),
        ("a door that shuts", None, true, "no DLMS server"),
    ] {
        let address: MeterAddress = format!("tcp://{}", stranger(says.clone(), closes)).parse().unwrap();
        let laboratory = NetworkLaboratory::new(address, &profile, &path.join("counters")).unwrap();
        let begun = Instant::now();
        let trouble = about(&settings(profile.clone()), &laboratory).unwrap_err();
        assert!(matches!(trouble, Trouble::Meter(_)), "{what}: {trouble}");
        assert!(trouble.to_string().contains(why), "{what}: {trouble}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{what}");
    }
    // Nobody listens; without TLS only where the profile says so; keys that others can read.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address: MeterAddress = format!("tcp://{closed}").parse().unwrap();
    let laboratory = NetworkLaboratory::new(address.clone(), &profile, &path.join("counters")).unwrap();
    assert!(
        about(&settings(profile.clone()), &laboratory).unwrap_err().to_string().contains("nothing listens")
    );
    let strict = self::profile(path, &text.replace("plain = true", "plain = false"));
    let refused = NetworkLaboratory::new(address.clone(), &strict, path).err().unwrap().to_string();
    assert!(refused.contains("without TLS"), "{refused}");
    std::fs::set_permissions(path.join("keys"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = NetworkLaboratory::new(address, &profile, path).err().unwrap().to_string();
    assert!(refused.contains("read by others"), "{refused}");
}

/// Another maker's server on a port.
fn other_maker(mechanism: AuthMechanism, suite: SecuritySuite, delay: Duration) -> MeterAddress {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        listener.set_nonblocking(true).unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut near, far) = tokio::io::duplex(64 * 1024);
                let meter = other::Meter { mechanism, suite, delay, ..other::Meter::new() };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut stream, &mut near) => {}
                    () = meter.serve(far) => {}
                }
            }
        });
    });
    format!("tcp://{address}").parse().unwrap()
}

#[test]
fn somebody_elses_server_is_read_by_password_and_by_each_suite_and_a_wrong_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    secret(&path.join("password"), "12345678\n");
    secret(&path.join("k16"), &["11".repeat(16), "22".repeat(16)].concat());
    secret(&path.join("k32"), &["11".repeat(32), "22".repeat(32)].concat());
    let read = |address: MeterAddress, login: &str| {
        let text = format!(
            "hardware = \"A\"\n[network]\nplain = true\nclient = \"0x11\"\ntimeout_seconds = 2\n{login}\n"
        );
        let profile = profile(path, &text);
        let laboratory = NetworkLaboratory::new(address, &profile, &path.join("counters")).unwrap();
        let mut target = laboratory.target(1).unwrap();
        target
            .get(&[(3, Obis::ACTIVE_ENERGY_IMPORT, 2), (1, Obis::UPTIME, 2)])
            .map(|answers| answers[0].is_ok())
    };
    let at_once = Duration::ZERO;
    use AuthMechanism::{HighGmac, Low, None as Nothing};
    for (mechanism, suite, login) in [
        (Nothing, SecuritySuite::Suite0, ""),
        (Low, SecuritySuite::Suite0, "password = \"password\""),
        (HighGmac, SecuritySuite::Suite0, "keys = \"k16\"\nsuite = 0"),
        (HighGmac, SecuritySuite::Suite1, "keys = \"k16\"\nsuite = 1"),
        (HighGmac, SecuritySuite::Suite2, "keys = \"k32\"\nsuite = 2"),
    ] {
        assert_eq!(read(other_maker(mechanism, suite, at_once), login), Ok(true), "{login}");
    }
    let wrong =
        read(other_maker(HighGmac, SecuritySuite::Suite0, at_once), "keys = \"k32\"\nsuite = 2").unwrap_err();
    assert!(wrong.to_string().contains("[network]"), "{wrong}");
    let slow = read(other_maker(Nothing, SecuritySuite::Suite0, Duration::from_millis(400)), "");
    assert_eq!(slow, Ok(true), "slow is no fault");
    let too_slow =
        read(other_maker(Nothing, SecuritySuite::Suite0, Duration::from_secs(20)), "").unwrap_err();
    assert!(too_slow.to_string().contains("timeout_seconds"), "{too_slow}");
}

#[test]
fn what_could_not_be_carried_out_is_tried_again_and_another_runs_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, earlier) = Folder::open(folder.path(), "a run").unwrap();
    assert!(earlier.is_empty());
    for (id, outcome) in [("A-1", Outcome::Passed), ("A-2", Outcome::CouldNot("gone".into()))] {
        let finding = Finding {
            id: id.into(),
            outcome,
            measured: Vec::new(),
            steps: Vec::new(),
            seed: 1,
            inspected: None,
        };
        kept.keep(&finding, &Record::default()).unwrap();
    }
    let (_, earlier) = Folder::open(folder.path(), "a run").unwrap();
    assert_eq!(earlier.keys().collect::<Vec<_>>(), ["A-1"]);
    assert!(Folder::open(folder.path(), "another run").unwrap_err().to_string().contains("another folder"));
}
