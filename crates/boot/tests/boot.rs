//! The boot stage with real programs as images: each is executed from its flash, and whatever a new one does wrong, the one
//! before it comes back by itself.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

#[path = "../../meter/tests/support/firmware.rs"]
mod firmware;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use firmware::{Maker, NOW, digest, transfer};
use meterseal_boot::flash::FileFlash;
use meterseal_boot::stage::{FIRMWARE_BASE, Factory, Partition, Stage};
use meterseal_boot::supervise::{BootError, End, Supervisor};
use meterseal_meter::firmware::{FirmwareLayout, Phase, Reason, Step};
use meterseal_model::{EventCode, MeterId, Role};
use meterseal_seal::attestation::{Attestation, AttestationError, Attested, Ground};

/// The program that all test images are, without what only a debugger reads.
fn program() -> &'static [u8] {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    PROGRAM.get_or_init(|| std::fs::read(env!("CARGO_BIN_EXE_boot-test-image")).unwrap())
}

/// An image that behaves so: the same program with another last line.
fn image(behaviour: &str) -> Vec<u8> {
    [program(), b"\n", behaviour.as_bytes(), b"\n"].concat()
}

fn meter() -> MeterId {
    "MSL0000000001".parse().unwrap()
}

struct Bench {
    folder: tempfile::TempDir,
    maker: Maker,
    supervisor: Supervisor,
}

impl Bench {
    /// A new meter, which has never started.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let maker = Maker::new();
        let layout = FirmwareLayout::STANDARD.with_slot(16 << 20);
        let target = maker.target.clone();
        let partition = Partition { base: FIRMWARE_BASE, layout, target, least_probation_ms: 90_000 };
        let stage = Stage::new(meter(), &[7; 32], vec![vec![1; 8]], Ground::Hardware, partition);
        let flash = folder.path().join("flash.bin");
        let factory = Factory { root: maker.root.clone(), package: maker.plain(&image("works"), 1) };
        let arguments = [&flash, &folder.path().join("told")].map(|path| path.clone().into()).to_vec();
        let supervisor = Supervisor {
            stage,
            flash,
            arguments,
            patience: Duration::from_secs(5),
            pause: Duration::from_millis(1),
        };
        let bench = Self { folder, maker, supervisor };
        bench.supervisor.stage.manufacture(bench.chip(), &factory, Some(NOW)).unwrap();
        bench
    }

    fn chip(&self) -> FileFlash {
        let size = self.supervisor.stage.partition().chip_bytes(FileFlash::SECTOR);
        FileFlash::open(&self.supervisor.flash, size).unwrap()
    }

    /// Puts a new image into the other slot, and orders its activation.
    fn activate(&self, behaviour: &str, sequence: u64) {
        let mut store = self.supervisor.stage.partition().open(self.chip()).unwrap();
        let package = self.maker.plain(&image(behaviour), sequence);
        transfer(&mut store, &package).unwrap();
        store.verify().unwrap();
        loop {
            match store.step(Some(NOW)).unwrap() {
                Step::UnderWay => {}
                Step::Verified => break,
                other => panic!("{other:?}"),
            }
        }
        store.activate(Role::Firmware, &digest(&package), None, Some(NOW)).unwrap();
        store.logged().unwrap();
    }

    /// What the images have told, and forgets it.
    fn told(&self) -> Vec<String> {
        let path: PathBuf = self.folder.path().join("told");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        text.lines().map(str::to_owned).collect()
    }

    /// Which images ran.
    fn ran(&self) -> Vec<String> {
        self.told().iter().filter_map(|line| line.strip_prefix("runs ").map(str::to_owned)).collect()
    }

    /// Boots until an image stops in order; a new image that behaves so must have had its tries, and the first one be back.
    fn reverts(&self, behaviour: &str, tries: usize, reason: Reason) {
        self.activate(behaviour, 2);
        self.supervisor.run().unwrap();
        let mut expected = vec![behaviour.to_owned(); tries];
        expected.push("works".to_owned());
        assert_eq!(self.ran(), expected);
        let store = self.supervisor.stage.partition().open(self.chip()).unwrap();
        let candidate = store.record().candidate.unwrap();
        assert_eq!(candidate.phase, Phase::GivenUp(reason));
        assert_eq!(store.record().highest, 1);
        // The security log gets it, and with it the head-end.
        assert_eq!(store.events(), [(EventCode::FirmwareGivenUp, reason as i64)]);
        // And stays so: the next power-on tries it no more.
        self.supervisor.run().unwrap();
        assert_eq!(self.ran(), ["works"]);
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks(2).map(pair).collect()
}

/// What the newest image says, judged as a head-end does.
fn judged(bench: &Bench, told: &[String]) -> Result<Attested, AttestationError> {
    let line = told.iter().rev().find_map(|line| line.strip_prefix("attests ")).unwrap();
    let (signed, certificate) = line.split_once(' ').unwrap();
    let boot_key = bench.supervisor.stage.boot_key();
    Attestation::verify(&bytes(signed), &bytes(certificate), boot_key, meter(), &[7; 32])
}

#[test]
fn a_new_image_is_executed_confirms_itself_and_attests_as_what_it_is() {
    let bench = Bench::new();
    bench.supervisor.run().unwrap();
    let told = bench.told();
    assert_eq!(told[0], "runs works");
    let before = judged(&bench, &told).unwrap();
    assert_eq!((before.attestation.sequence, before.ground), (1, Ground::Hardware));
    bench.activate("works better", 2);
    bench.supervisor.run().unwrap();
    let told = bench.told();
    assert_eq!(told[0], "runs works better");
    let after = judged(&bench, &told).unwrap();
    assert_eq!(after.image, digest(&bench.maker.plain(&image("works better"), 2)));
    assert!(!after.attestation.confirmed, "it was asked before it had proved itself");
    bench.supervisor.run().unwrap();
    assert!(judged(&bench, &bench.told()).unwrap().attestation.confirmed);
    assert_ne!(before.image, after.image);
}

#[test]
fn attack_an_image_that_crashes_at_once_reverts() {
    Bench::new().reverts("crashes at once", 3, Reason::TriesSpent);
}

#[test]
fn attack_an_image_that_crashes_after_a_minute_reverts() {
    Bench::new().reverts("crashes after a minute", 3, Reason::TriesSpent);
}

#[test]
fn attack_an_image_that_hangs_is_ended_by_the_watchdog_and_reverts() {
    let mut bench = Bench::new();
    bench.supervisor.patience = Duration::from_millis(700);
    bench.reverts("hangs", 3, Reason::TriesSpent);
}

#[test]
fn attack_an_image_that_hangs_after_it_has_begun_to_work_reverts() {
    let mut bench = Bench::new();
    bench.supervisor.patience = Duration::from_millis(700);
    bench.reverts("hangs after a while", 3, Reason::TriesSpent);
}

#[test]
fn attack_an_image_that_cannot_reach_the_head_end_reverts() {
    Bench::new().reverts("cannot reach the head-end", 3, Reason::TriesSpent);
}

#[test]
fn attack_an_image_that_measures_wrong_reverts_at_once() {
    Bench::new().reverts("measures wrong", 1, Reason::Unfit);
}

#[test]
fn attack_an_image_that_claims_a_version_it_is_not_is_not_believed() {
    let bench = Bench::new();
    bench.activate("lies", 2);
    bench.supervisor.run().unwrap();
    assert_eq!(judged(&bench, &bench.told()), Err(AttestationError::Contradiction));
}

#[test]
fn an_image_that_is_no_program_reverts() {
    let bench = Bench::new();
    let mut store = bench.supervisor.stage.partition().open(bench.chip()).unwrap();
    let package = bench.maker.plain(b"no program at all", 2);
    transfer(&mut store, &package).unwrap();
    store.verify().unwrap();
    while store.step(Some(NOW)).unwrap() == Step::UnderWay {}
    store.activate(Role::Firmware, &digest(&package), None, Some(NOW)).unwrap();
    drop(store);
    bench.supervisor.run().unwrap();
    assert_eq!(bench.ran(), ["works"]);
}

#[test]
fn attack_flash_altered_behind_the_boot_stages_back_starts_nothing_that_was_not_signed() {
    use embedded_storage::nor_flash::{NorFlash as _, ReadNorFlash as _};
    let bench = Bench::new();
    // Somewhere in the one image that there is.
    let mut chip = bench.chip();
    let mut at = FIRMWARE_BASE;
    let mut found = [0; 4];
    while found != *b"\x7fELF" {
        at += 4096;
        chip.read(at, &mut found).unwrap();
    }
    chip.write(at + 8192, &[0; 4]).unwrap();
    drop(chip);
    assert!(matches!(bench.supervisor.power_on(), Err(BootError::Stage(_))));
    assert!(bench.told().is_empty(), "nothing ran");
}

#[test]
fn what_is_handed_over_is_in_no_argument_and_no_environment() {
    let bench = Bench::new();
    assert_eq!(bench.supervisor.power_on().unwrap(), End::Stopped);
    let told = bench.told();
    let with = |prefix| told.iter().filter_map(move |line| line.strip_prefix(prefix));
    let names: Vec<_> = with("environment ").collect();
    assert!(names.iter().all(|name| ["RUST_LOG", "RUST_BACKTRACE"].contains(name)), "{names:?}");
    let arguments: Vec<_> = with("arguments ").collect();
    assert_eq!(arguments, [format!("{:?}", bench.supervisor.arguments)]);
}
