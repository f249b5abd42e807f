//! A small image for tests of the boot stage: a real program, executed as one, that does what the last line of its own file
//! says. Its arguments are the flash and a file for what it has to tell.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "an image of tests: where it stops, it has crashed")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use meterseal_boot::flash::FileFlash;
use meterseal_boot::image::BootLink;
use meterseal_boot::stage::{FIRMWARE_BASE, Partition};
use meterseal_boot::supervise::RESTART;
use meterseal_meter::ImageStore as _;
use meterseal_meter::firmware::{FirmwareLayout, Health, PROBATION_MS, Probation, Target};
use meterseal_seal::attestation::Attestation;

const HEALTHY: Health = Health { measured: true, logged: true, reached_head_end: true };

fn main() -> ExitCode {
    let program = std::fs::read("/proc/self/exe").unwrap();
    let last = program.rsplit(|&byte| byte == b'\n').nth(1).unwrap();
    let behaviour = String::from_utf8_lossy(last).into_owned();
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (flash, told) = (arguments.next().unwrap(), arguments.next().unwrap());
    let mut told = std::fs::OpenOptions::new().append(true).create(true).open(told).unwrap();
    writeln!(told, "runs {behaviour}").unwrap();
    for (name, _) in std::env::vars_os() {
        writeln!(told, "environment {}", name.display()).unwrap();
    }
    writeln!(told, "arguments {:?}", std::env::args_os().skip(1).collect::<Vec<_>>()).unwrap();
    match behaviour.as_str() {
        "crashes at once" => std::process::abort(),
        "hangs" => wait_for_ever(),
        _ => {}
    }
    let (link, handover) = BootLink::open().unwrap();
    link.beat();
    #[cfg(feature = "another-line")]
    writeln!(told, "begins with boot {:?} of {}", handover.identity.key, handover.meter).unwrap();
    let layout = FirmwareLayout::STANDARD.with_slot(16 << 20);
    let target = Target {
        vendor: "Meterseal".into(),
        device_type: "MS3-5(100)".into(),
        hardware: "B".into(),
        class_key: None,
    };
    let partition = Partition { base: FIRMWARE_BASE, layout, target, least_probation_ms: 90_000 };
    let chip = FileFlash::open(&flash, partition.chip_bytes(FileFlash::SECTOR)).unwrap();
    let mut store = partition.open(chip).unwrap();
    let state = store.boot_state().unwrap();
    let attestation = |version: &str, sequence| Attestation {
        nonce: vec![7; 32],
        meter: handover.meter,
        version: version.into(),
        sequence,
        confirmed: state.confirmed == handover.identity.image,
        boots: state.boots,
        highest: state.highest,
        root_version: state.root_version,
        slots: state.slots,
    };
    let truth = attestation(&handover.identity.version, handover.identity.sequence);
    let word = match behaviour.as_str() {
        // The version and the number of the image in the other slot.
        "lies" => attestation("1.0.1", 1),
        _ => truth,
    };
    let signed = word.sign(&handover.key).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    writeln!(told, "attests {} {}", hex(&signed), hex(&handover.identity.certificate)).unwrap();
    // Time is told, not waited for.
    let outcome = match behaviour.as_str() {
        "crashes after a minute" => {
            for second in 0..60 {
                link.beat();
                assert_eq!(store.probation(HEALTHY, second * 1000).unwrap(), Probation::Waiting);
            }
            std::process::abort()
        }
        "hangs after a while" => {
            link.beat();
            wait_for_ever()
        }
        "cannot reach the head-end" => {
            store.probation(Health { reached_head_end: false, ..HEALTHY }, PROBATION_MS).unwrap()
        }
        "measures wrong" => {
            assert_eq!(store.probation(HEALTHY, 1000).unwrap(), Probation::Waiting);
            store.give_up().unwrap();
            Probation::Restart
        }
        _ => store.probation(HEALTHY, 120_000).unwrap(),
    };
    match outcome {
        Probation::Restart => ExitCode::from(RESTART),
        _ => ExitCode::SUCCESS,
    }
}

fn wait_for_ever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
