//! CPA-FW: what the firmware partition must refuse, and what it must survive, each under its name.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support {
    pub(crate) mod firmware;
}

use meterseal_meter::firmware::{
    BLOCK_BYTES, Booted, FirmwareError, FirmwareStore, LEAST_PROBATION_MS, Phase, Probation, Reason, Refusal,
    Run, Slot, Step, TransferStatus, boot,
};
use meterseal_model::{Digest384, EventCode, Role, UnixMillis};
use meterseal_seal::firmware::{Manifest, PackageError, TrustError, UnpackError, pack, package};
use meterseal_world::flash::SimulatedFlash;
use support::firmware::{
    Behaviour, End, HEALTHY, LAYOUT, Maker, NOW, digest, image, key, life, provisioned, root, transfer,
    update,
};

type Flash = SimulatedFlash<4, 4096>;
type Store<'a> = FirmwareStore<&'a mut Flash>;

struct Bench {
    maker: Maker,
    flash: Flash,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let (maker, old) = (Maker::new(), image(20_000, 1));
        let mut new = old.clone();
        new.extend_from_slice(&image(3000, 7));
        let mut flash = Flash::new(LAYOUT.size(4096), 1);
        provisioned(&mut flash, &maker, &old);
        Self { maker, flash, old, new }
    }

    fn store(&mut self) -> Store<'_> {
        FirmwareStore::open(&mut self.flash, 0, LAYOUT, self.maker.target.clone()).unwrap()
    }

    fn boot(&mut self) -> Booted {
        boot(&mut self.flash, 0, LAYOUT, &self.maker.target, &mut ()).unwrap()
    }

    /// What becomes of a package: why it is refused, if it is.
    fn judge(&mut self, package: &[u8]) -> Result<(), Refusal> {
        let mut store = self.store();
        transfer(&mut store, package).unwrap();
        store.verify().unwrap();
        let verdict = loop {
            match store.step(Some(NOW)).unwrap() {
                Step::UnderWay => {}
                Step::Refused(refusal) => break Err(refusal),
                _ => break Ok(()),
            }
        };
        // Refused is refused: it is on record, nothing waits, and no event is forgotten.
        let refused = store.events().iter().any(|&(code, _)| code == EventCode::FirmwareRefused);
        assert_eq!(refused, verdict.is_err());
        assert_eq!(store.ready().is_some(), verdict.is_ok());
        if let Err(refusal) = &verdict {
            assert_eq!(store.record().refusal, refusal.number());
            assert_eq!(store.status(), Some(TransferStatus::VerificationFailed));
        }
        store.logged().unwrap();
        verdict
    }

    /// Lives until something is settled; gives the sequence number that runs.
    fn settle(&mut self, offered: &[u8], behaviour: Behaviour) -> u64 {
        let images = [self.old.as_slice(), self.new.as_slice()];
        for _ in 0..20 {
            if let End::Settled(sequence) =
                life(&mut self.flash, &self.maker, offered, &images, behaviour).unwrap()
            {
                return sequence;
            }
        }
        panic!("nothing is ever settled");
    }

    fn signed(&self, manifest: &Manifest, stored: &[u8]) -> Vec<u8> {
        package::write(manifest, stored, &[&self.maker.key]).unwrap()
    }
}

#[test]
fn an_image_that_shows_everything_at_once_still_has_to_live_for_a_while() {
    let mut bench = Bench::new();
    let offered = bench.maker.plain(&image(20_000, 2), 2);
    update(&mut bench.store(), &offered).unwrap();
    assert_eq!(bench.boot().run, Run::Probation(Slot::B));
    let mut store = bench.store();
    assert_eq!(store.probation(HEALTHY, LEAST_PROBATION_MS - 1).unwrap(), Probation::Waiting);
    assert_eq!(store.probation(HEALTHY, LEAST_PROBATION_MS).unwrap(), Probation::Confirmed);
}

#[test]
fn an_update_is_tried_and_confirmed_and_every_step_is_an_event() {
    let mut bench = Bench::new();
    let offered = bench.maker.delta(&bench.old, &bench.new, 2);
    let mut store = bench.store();
    update(&mut store, &offered).unwrap();
    let codes: Vec<_> = store.events().iter().map(|&(code, _)| code).collect();
    use EventCode::{FirmwareActivated, FirmwareActivationOrdered, FirmwareReady, FirmwareTransferBegun};
    assert_eq!(codes, [FirmwareTransferBegun, FirmwareReady, FirmwareActivationOrdered]);
    // Not logged yet: they outlive the restart.
    assert_eq!(bench.boot().run, Run::Probation(Slot::B));
    assert_eq!(bench.store().events().len(), 3);
    bench.store().logged().unwrap();
    bench.store().probation(HEALTHY, 600_000).unwrap();
    assert_eq!(bench.store().events(), [(FirmwareActivated, 2)]);
    let booted = bench.boot();
    assert_eq!((booted.run, booted.record.highest), (Run::Confirmed(Slot::B), 2));
    assert_eq!(booted.to_string(), "version 1.0.2, sequence 2, confirmed");
}

#[test]
fn attack_no_signature_one_of_the_two_or_a_wrong_key() {
    let mut bench = Bench::new();
    let stranger = key(2);
    let manifest = bench.maker.manifest(&bench.new, 2);
    let foreign = package::write(&manifest, &bench.new, &[&stranger]).unwrap();
    let refused = bench.judge(&foreign).unwrap_err();
    assert!(matches!(refused, Refusal::Package(PackageError::Trust(TrustError::Signers(_)))), "{refused}");
    // Its content under our signer's name: the signature is over something else.
    let ours = bench.maker.plain(&bench.new, 2);
    let mut altered = ours.clone();
    let place = altered.windows(5).position(|bytes| bytes == b"1.0.2").unwrap();
    altered[place + 4] = b'3';
    assert!(matches!(
        bench.judge(&altered).unwrap_err(),
        Refusal::Package(PackageError::Trust(TrustError::Bad(_)))
    ));
    assert_eq!(bench.judge(b"no package at all").unwrap_err().number(), 1);
    assert_eq!(bench.judge(&ours[..4000]).unwrap_err().number(), 1);
}

#[test]
fn attack_a_revoked_key_and_a_trust_root_rolled_back() {
    let mut bench = Bench::new();
    let offered = bench.maker.plain(&bench.new, 2);
    bench.judge(&offered).unwrap();
    let (former, fresh) = (Maker::new().key, key(5));
    let second = root(2, &[&fresh]).sign(&[&former, &fresh]).unwrap();
    let third = root(3, &[&fresh]).sign(&[&fresh]).unwrap();
    let mut store = bench.store();
    store.update_root(&second, Some(NOW)).unwrap();
    // What was verified under the former root is not activated under this one.
    assert!(store.ready().is_none());
    assert!(store.activate(Role::Firmware, &digest(&offered), None, Some(NOW)).is_err());
    store.update_root(&third, Some(NOW)).unwrap();
    for rolled_back in [second, third, bench.maker.root.clone()] {
        let refused = bench.store().update_root(&rolled_back, Some(NOW)).unwrap_err();
        assert!(
            matches!(refused, FirmwareError::Refused(Refusal::Trust(TrustError::Rollback { have: 3, .. }))),
            "{refused}"
        );
    }
    assert!(bench.judge(&offered).is_err(), "its signer was revoked");
    // The image that runs was signed by the revoked key, before: the meter goes on.
    assert_eq!(bench.boot().run, Run::Confirmed(Slot::A));
    bench.maker.key = fresh;
    let signed_anew = bench.maker.plain(&bench.new, 2);
    bench.judge(&signed_anew).unwrap();
}

#[test]
fn attack_another_device_type_or_hardware() {
    let mut bench = Bench::new();
    let manifest = bench.maker.manifest(&bench.new, 2);
    let other = Manifest { device_type: "MS1-5(60)".into(), ..manifest.clone() };
    let (other, new) = (bench.signed(&other, &bench.new), bench.new.clone());
    assert_eq!(bench.judge(&other).unwrap_err().number(), 3);
    let other = Manifest { hardware: vec!["C".into()], ..manifest };
    let other = bench.signed(&other, &new);
    assert_eq!(bench.judge(&other).unwrap_err().number(), 3);
}

#[test]
fn attack_an_older_or_equal_sequence() {
    let mut bench = Bench::new();
    let second = bench.maker.plain(&bench.new, 2);
    assert_eq!(bench.settle(&second, Behaviour::Good), 2);
    for sequence in [1, 2] {
        let offered = bench.maker.plain(&bench.old, sequence);
        assert_eq!(bench.judge(&offered).unwrap_err().number(), 4);
    }
    assert_eq!(bench.store().record().highest, 2);
}

#[test]
fn attack_the_former_image_is_not_booted_again_when_the_new_one_is_destroyed() {
    let mut bench = Bench::new();
    let second = bench.maker.plain(&bench.new, 2);
    assert_eq!(bench.settle(&second, Behaviour::Good), 2);
    // Somebody destroys the confirmed image: the former one still verifies, and is older.
    destroy(&mut bench.flash, &bench.new[20_100..20_200]);
    assert_eq!(bench.boot().run, Run::Nothing);
    let events = bench.store().events();
    assert!(events.contains(&(EventCode::ProgramMemoryError, 0)), "{events:?}");
}

#[test]
fn attack_a_payload_changed_after_verification_and_before_execution() {
    let mut bench = Bench::new();
    let offered = bench.maker.plain(&bench.new, 2);
    let mut store = bench.store();
    update(&mut store, &offered).unwrap();
    assert!(store.wants_restart(Some(NOW)).unwrap());
    destroy(&mut bench.flash, &bench.new[20_100..20_200]);
    let booted = bench.boot();
    assert_eq!(booted.run, Run::Confirmed(Slot::A));
    let given_up = booted.record.candidate.unwrap().phase;
    assert_eq!(given_up, Phase::GivenUp(Reason::NotIntact));
    assert!(bench.store().events().contains(&(EventCode::FirmwareGivenUp, Reason::NotIntact as i64)));
}

#[test]
fn attack_a_payload_or_a_block_changed_on_the_way() {
    let mut bench = Bench::new();
    let mut offered = bench.maker.plain(&bench.new, 2);
    let last = offered.len() - 1;
    offered[last] ^= 1;
    assert_eq!(bench.judge(&offered).unwrap_err(), Refusal::Package(PackageError::Payload));
    // The right one may come after it.
    offered[last] ^= 1;
    bench.judge(&offered).unwrap();
}

#[test]
fn attack_an_activation_by_another_role_or_for_another_image() {
    let mut bench = Bench::new();
    let offered = bench.maker.plain(&bench.new, 2);
    bench.judge(&offered).unwrap();
    let right = digest(&offered);
    let mut store = bench.store();
    for role in Role::ALL.into_iter().filter(|&role| role != Role::Firmware) {
        let refused = store.activate(role, &right, None, Some(NOW)).unwrap_err();
        assert!(matches!(refused, FirmwareError::Role(_)), "{role}");
    }
    let refused = store.activate(Role::Firmware, &Digest384([7; 48]), None, Some(NOW)).unwrap_err();
    assert!(matches!(refused, FirmwareError::Refused(Refusal::Digest { .. })));
    assert!(!store.wants_restart(Some(NOW)).unwrap());
    assert_eq!(bench.boot().run, Run::Confirmed(Slot::A), "not activated");
    bench.store().activate(Role::Firmware, &right, None, Some(NOW)).unwrap();
    assert_eq!(bench.boot().run, Run::Probation(Slot::B));
}

#[test]
fn an_activation_waits_for_its_time_and_for_the_manifests() {
    let mut bench = Bench::new();
    let manifest =
        Manifest { not_before: Some(UnixMillis(NOW.0 + 60_000)), ..bench.maker.manifest(&bench.new, 2) };
    let offered = bench.signed(&manifest, &bench.new);
    bench.judge(&offered).unwrap();
    let (right, later) = (digest(&offered), UnixMillis(NOW.0 + 90_000));
    let mut store = bench.store();
    for (at, now) in [(None, Some(NOW)), (None, None), (Some(UnixMillis(NOW.0 + 59_999)), Some(NOW))] {
        let refused = store.activate(Role::Firmware, &right, at, now).unwrap_err();
        assert!(matches!(refused, FirmwareError::Refused(Refusal::TooEarly)), "{at:?}");
    }
    store.activate(Role::Firmware, &right, Some(later), Some(NOW)).unwrap();
    assert!(!store.wants_restart(Some(NOW)).unwrap());
    assert_eq!(bench.boot().run, Run::Confirmed(Slot::A), "a restart before its time tries nothing");
    let mut store = bench.store();
    assert!(!store.wants_restart(None).unwrap(), "without a clock its time never comes");
    assert!(store.wants_restart(Some(later)).unwrap());
    assert_eq!(bench.boot().run, Run::Probation(Slot::B));
}

#[test]
fn attack_replayed_transfer_messages() {
    let mut bench = Bench::new();
    let first = bench.maker.plain(&bench.old, 2);
    let offered = bench.maker.plain(&bench.new, 2);
    let mut store = bench.store();
    transfer(&mut store, &first).unwrap();
    // Another transfer begins: no block of the former counts, though they lie in the same places.
    store.initiate(b"another", offered.len() as u32).unwrap();
    assert_eq!(store.first_missing(), Some(0));
    let block = |of: &[u8], k: usize| of[k * BLOCK_BYTES as usize..][..BLOCK_BYTES as usize].to_vec();
    store.keep(0, &block(&offered, 0)).unwrap();
    // An old message again, for a block that is there: it stays as it is.
    store.keep(0, &block(&first, 0)).unwrap();
    let mut store = bench.store();
    assert_eq!(store.first_missing(), Some(1), "found again after a restart");
    while let Some(missing) = store.first_missing() {
        let from = missing as usize * BLOCK_BYTES as usize;
        store.keep(missing, &offered[from..offered.len().min(from + BLOCK_BYTES as usize)]).unwrap();
    }
    store.verify().unwrap();
    while store.step(Some(NOW)).unwrap() == Step::UnderWay {}
    assert!(store.ready().is_some());
    // The initiate of the present transfer again: what was verified stays verified.
    store.initiate(b"another", offered.len() as u32).unwrap();
    assert!(store.ready().is_some());
    // Once it is activated nothing of a transfer is taken, least of all into the slot that holds the way back.
    store.activate(Role::Firmware, &digest(&offered), None, Some(NOW)).unwrap();
    assert!(store.initiate(b"third", 100).is_err() && store.keep(0, &block(&first, 0)).is_err());
    bench.boot();
    assert!(bench.store().initiate(b"third", 100).is_err());
}

#[test]
fn bad_input_blocks_and_sizes_that_are_not_possible() {
    let mut bench = Bench::new();
    let mut store = bench.store();
    assert!(store.keep(0, &[1; 100]).is_err(), "before any transfer");
    assert!(store.verify().is_err());
    for bytes in [0, 4 << 20, u32::MAX] {
        assert!(matches!(store.initiate(b"x", bytes), Err(FirmwareError::Bounds)), "{bytes}");
    }
    for identifier in [&b""[..], &[0; 65]] {
        assert!(matches!(store.initiate(identifier, 100), Err(FirmwareError::Bounds)));
    }
    store.initiate(b"x", BLOCK_BYTES + 10).unwrap();
    for (block, length) in [(0, 0), (0, 10), (1, BLOCK_BYTES), (1, 9), (2, 10), (u32::MAX, 10)] {
        assert!(store.keep(block, &vec![1; length as usize]).is_err(), "{block}, {length}");
    }
    assert!(matches!(store.verify(), Err(FirmwareError::Incomplete { first: 0 })));
    assert_eq!(store.step(Some(NOW)).unwrap(), Step::Idle);
}

#[test]
fn attack_a_decompression_bomb_and_a_delta_bomb() {
    let mut bench = Bench::new();
    let bomb = pack::deflate(&vec![0; 8 << 20]);
    let manifest = Manifest {
        stored: meterseal_seal::firmware::Digests::of(&bomb),
        packing: meterseal_seal::firmware::Packing::Deflated,
        ..bench.maker.manifest(&bench.new, 2)
    };
    let offered = bench.signed(&manifest, &bomb);
    assert_eq!(bench.judge(&offered).unwrap_err(), Refusal::Unpack(UnpackError::TooMuch));
    let base = meterseal_seal::firmware::Digests::of(&bench.old);
    let packing = meterseal_seal::firmware::Packing::Delta { base };
    let offered = bench.signed(&Manifest { packing, ..manifest }, &bomb);
    assert_eq!(bench.judge(&offered).unwrap_err().number(), 7);
    assert_eq!(bench.boot().run, Run::Confirmed(Slot::A));
}

#[test]
fn an_image_that_hangs_crashes_cannot_reach_the_head_end_or_measures_wrong_is_given_up() {
    for behaviour in [Behaviour::Crashes, Behaviour::Hangs, Behaviour::NoHeadEnd, Behaviour::MeasuresWrong] {
        let mut bench = Bench::new();
        let offered = bench.maker.plain(&bench.new, 2);
        assert_eq!(bench.settle(&offered, behaviour), 1, "{behaviour:?}");
        let store = bench.store();
        assert_eq!(store.status(), Some(TransferStatus::ActivationFailed));
        assert_eq!(store.record().highest, 1);
        // It may be tried again, by who may activate it: the head-end may have been at fault.
        assert_eq!(bench.settle_again(&offered), 2, "{behaviour:?}");
    }
}

impl Bench {
    fn settle_again(&mut self, offered: &[u8]) -> u64 {
        let mut store = self.store();
        store.verify().unwrap();
        while store.step(Some(NOW)).unwrap() == Step::UnderWay {}
        store.activate(Role::Firmware, &digest(offered), None, Some(NOW)).unwrap();
        self.settle(offered, Behaviour::Good)
    }
}

#[test]
fn without_a_boot_record_nothing_boots_and_nobody_provisions_twice() {
    let mut bench = Bench::new();
    let package = bench.maker.plain(&bench.new, 2);
    let again = meterseal_meter::firmware::provision(
        &mut bench.flash,
        0,
        LAYOUT,
        &bench.maker.target,
        &bench.maker.root,
        &package,
        Some(NOW),
    );
    assert!(matches!(again, Err(FirmwareError::Order(_))));
    let mut blank = Flash::new(LAYOUT.size(4096), 1);
    let booted = boot(&mut blank, 0, LAYOUT, &bench.maker.target, &mut ());
    assert!(matches!(booted, Err(FirmwareError::Unprovisioned)));
    let mut small = Flash::new(4096, 1);
    let booted = boot(&mut small, 0, LAYOUT, &bench.maker.target, &mut ());
    assert!(matches!(booted, Err(FirmwareError::Layout { .. })));
}

/// Somebody reaches the chip past the program: wherever these bytes lie, one of them is another.
fn destroy(flash: &mut Flash, bytes: &[u8]) {
    let memory = flash.bytes_mut();
    let places: Vec<_> =
        (0..memory.len() - bytes.len()).filter(|&at| &memory[at..at + bytes.len()] == bytes).collect();
    assert!(!places.is_empty());
    for place in places {
        memory[place] ^= 1;
    }
}
