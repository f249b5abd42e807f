//! The engine with real procedures on virtual meters.

use super::*;
use crate::catalogue::Catalogue;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::AtomicBool;

fn certify(only: &[&str], seed: u64) -> Vec<Finding> {
    let catalogue = Catalogue::built_in().unwrap();
    let only: Vec<_> = only.iter().map(|id| (*id).to_owned()).collect();
    let profile = Profile::default();
    let plan = Plan {
        catalogue: &catalogue,
        only: &only,
        profile: &profile,
        effort: Effort::REDUCED,
        seed,
        earlier: BTreeMap::new(),
    };
    let laboratory = VirtualLaboratory::new(Made::new(seed).unwrap(), None, |meter| meter);
    let keep = |_: &Finding, _: &Record| Ok::<(), Infallible>(());
    let found = run(&plan, &procedures(), &laboratory, &|_| (), &keep, &AtomicBool::new(false)).unwrap();
    found.into_iter().map(|(finding, _)| finding).collect()
}

#[test]
fn a_sound_meter_passes_at_its_load_points_and_the_findings_repeat_to_the_bit() {
    let found = certify(&["ACC-02", "ACC-11"], 5);
    for finding in &found {
        assert_eq!(finding.outcome, Outcome::Passed, "{finding:#?}");
        assert!(finding.measured.iter().all(|one| one.bench_uncertainty <= 0.005), "{finding:#?}");
    }
    assert_eq!(found.len(), 2);
    assert_eq!(certify(&["ACC-11", "ACC-02"], 5), found);
}

#[test]
fn a_sound_meter_fails_nothing() {
    // What takes no longer than a second each; all of it is `cargo xtask mutants`' sound meter.
    let only = [
        "ACC-11", "ACC-19", "ACC-20", "INF-03", "INF-09", "INF-13", "INF-2", "TMP", "BIL", "CPA-STAB",
        "DEV-07", "DLM-02", "DLM-03", "DLM-06", "DLM-07", "DLM-08", "DLM-09", "ENC-06", "DEP-01", "MRK-01",
    ];
    for finding in certify(&only, 3) {
        let sound = !matches!(finding.outcome, Outcome::Failed | Outcome::CouldNot(_));
        assert!(sound, "{finding:#?}");
    }
}

#[test]
fn a_sound_meter_passes_every_test_of_firmware() {
    let only = [
        "FIR-01", "FIR-02", "FIR-03", "FIR-04", "FIR-05", "FIR-06", "FIR-07", "FIR-08", "FIR-09", "FIR-10",
        "VER-02",
    ];
    let found = certify(&only, 4);
    assert_eq!(found.len(), only.len());
    for finding in found {
        assert_eq!(finding.outcome, Outcome::Passed, "{finding:#?}");
    }
}

fn settings(only: &[&str], seed: u64) -> Settings {
    Settings {
        target: "virtual".to_owned(),
        simulated: true,
        profile: Profile::default(),
        effort: Effort::REDUCED,
        seed,
        only: only.iter().map(|id| (*id).to_owned()).collect(),
        instruments: vec!["none".to_owned()],
        manual: manual::Manual::default(),
    }
}

#[test]
fn evidence_is_kept_checked_and_gone_on_with_and_one_altered_byte_shows() {
    use evidence::Folder;
    let (catalogue, settings) =
        (Catalogue::built_in().unwrap(), settings(&["BIL-03", "TMP-03", "TMP-13"], 2));
    let laboratory = VirtualLaboratory::new(Made::new(2).unwrap(), None, |meter| meter);
    let who = about(&settings, &laboratory).unwrap();
    assert!(who.meter.starts_with("MSV") && who.firmware_sha384.len() == 96, "{who:?}");
    let path = tempfile::tempdir().unwrap();
    let run = |who| {
        let kept = Folder::open(path.path(), &settings.key(&catalogue)).unwrap();
        let (folder, already) = (kept.0.clone(), kept.1.len());
        let stop = AtomicBool::new(false);
        let kept = Some((&kept.0, kept.1));
        let done = super::certify(&settings, who, &catalogue, &laboratory, kept, &|_| (), &stop).unwrap();
        (folder, already, done)
    };
    let (_, already, first) = run(who.clone());
    assert_eq!((already, first.results.summary.passed, first.results.summary.exit_code()), (0, 2, 0));
    let (folder, already, second) = run(who);
    assert_eq!((already, second.results.encode() == first.results.encode()), (3, true));
    assert!(Folder::open(path.path(), "another run").is_err());

    let key = meterseal_seal::SealKey::generate(|bytes| {
        bytes.fill(7);
        Ok::<(), Infallible>(())
    });
    let key = key.unwrap();
    folder.finish(&second.results, second.records, 1, &key).unwrap();
    let keys = [key.public().clone()];
    Folder::check(path.path(), &keys).unwrap();
    assert!(Folder::check(path.path(), &[]).is_err());
    for name in ["results.cbor", "report.json", "run.cbor", "transcripts/TMP-03.txt"] {
        let file = path.path().join(name);
        let sound = std::fs::read(&file).unwrap();
        for place in (0..sound.len()).step_by(sound.len() / 40 + 1) {
            let mut altered = sound.clone();
            altered[place] ^= 1;
            std::fs::write(&file, &altered).unwrap();
            assert!(Folder::check(path.path(), &keys).is_err(), "{name}, byte {place}");
        }
        std::fs::write(&file, &sound).unwrap();
    }
    Folder::check(path.path(), &keys).unwrap();
    let page = std::fs::read_to_string(path.path().join("report.html")).unwrap();
    assert!(page.contains("TMP-13") && page.contains("not tested") && !page.contains("<script"));
    assert!(std::fs::read(path.path().join("report.pdf")).unwrap().starts_with(b"%PDF"));
}

#[test]
fn a_meter_that_is_none_is_no_result_and_never_a_pass() {
    /// Answers nothing that a meter would.
    struct Mute(VirtualMeter, bool);

    impl Specimen for Mute {
        fn load(&mut self, load: &meterseal_world::physics::LoadPoint, turns: f64) {
            self.0.load(load, turns);
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
        fn pulses(&mut self, _: &mut Vec<f64>) {}
        fn connect(&mut self, caller: Caller) -> Result<Line, Trouble> {
            self.0.connect(caller)
        }
        fn disconnect(&mut self, line: Line) {
            self.0.disconnect(line);
        }
        fn send(&mut self, _: Line, _: &[u8]) -> Result<(), Trouble> {
            Ok(())
        }
        fn receive(&mut self, _: Line) -> Result<Option<Vec<u8>>, Trouble> {
            // Every other time something that is no wrapper frame.
            self.1 = !self.1;
            Ok(self.1.then(|| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()))
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

    let laboratory = VirtualLaboratory::new(Made::new(1).unwrap(), None, |meter| Mute(meter, false));
    let settings = settings(&["BIL-03", "ACC-11"], 1);
    let error = about(&settings, &laboratory).unwrap_err();
    assert!(matches!(error, Trouble::Meter(_)), "{error}");
    let catalogue = Catalogue::built_in().unwrap();
    let who = evidence::About {
        target: String::new(),
        simulated: true,
        meter: String::new(),
        device_type: String::new(),
        hardware: String::new(),
        firmware_version: String::new(),
        firmware_sha384: String::new(),
    };
    let stop = AtomicBool::new(false);
    let done = super::certify(&settings, who, &catalogue, &laboratory, None, &|_| (), &stop).unwrap();
    // Without pulses it is 100 % slow; without an answer nothing can be said.
    let outcome = |id: &str| done.results.findings.iter().find(|one| one.id == id).unwrap().outcome.clone();
    assert_eq!(outcome("ACC-11"), Outcome::Failed);
    assert!(matches!(outcome("BIL-03"), Outcome::CouldNot(_)), "{:?}", outcome("BIL-03"));
    assert_eq!(done.results.summary.passed, 0);
}

#[test]
fn each_role_is_served_over_a_call_and_a_hostile_one_is_a_result() {
    use meterseal_link::client::AccessError;
    use meterseal_link::{ClientError, Value};
    use meterseal_model::{Obis, Role};

    let made = Made::new(2).unwrap();
    let mut bench = VirtualBench::new(made.specimen(0).unwrap(), &made, None);
    let target: &mut dyn Target = &mut bench;
    assert!(target.credentials(Role::Public).is_none());
    for role in Role::ALL {
        for _ in 0..2 {
            let mut speaker = Speaker::open(target, Caller::local(role)).unwrap().unwrap();
            let id = speaker.ask(target, async |client| client.get(1, Obis::METER_ID, 2).await).unwrap();
            assert!(matches!(id, Ok(Value::Bytes(_))), "{role}: {id:?}");
            let set =
                speaker.ask(target, async |client| client.set(8, Obis::CLOCK, 2, Value::Null).await).unwrap();
            match set {
                Err(Unserved::Client(ClientError::Access(AccessError::Denied))) => {
                    assert_ne!(role, Role::Utility);
                }
                Err(Unserved::Client(ClientError::Access(_))) => assert_eq!(role, Role::Utility),
                other => panic!("{role}: {other:?}"),
            }
            speaker.close(target).unwrap();
        }
        // The standing connection comes back by itself.
        assert!(target.get(&[(1, Obis::METER_ID, 2)]).unwrap()[0].is_ok());
    }
    // A reader's certificate is no utility's, whatever it says.
    assert!(Speaker::open_as(target, Caller::local(Role::Reader), Role::Utility).unwrap().is_err());
    let Called::Open(call) = target.call(Caller::local(Role::Public)).unwrap() else { panic!("refused") };
    assert_eq!(target.receive(call, 0.5).unwrap(), Received::Nothing);
    let before = target.seconds();
    assert_eq!(target.receive(call, 2.0).unwrap(), Received::Nothing);
    assert!((target.seconds() - before - 2.0).abs() < 0.01);
    target.send(call, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(matches!(target.receive(call, 1.0).unwrap(), Received::Closed(_)));
    target.send(call, b"more").unwrap();
    assert!(matches!(target.receive(call, 1.0).unwrap(), Received::Closed(_)));
    assert!(target.get(&[(1, Obis::METER_ID, 2)]).unwrap()[0].is_ok());
}
