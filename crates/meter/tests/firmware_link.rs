//! An update as a head-end carries it out: through Image transfer, over a real association, into a partition that a boot
//! stage shares with the meter; the meter measures on meanwhile, and confirms the new image by what it does itself.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "support/firmware.rs"]
mod firmware;
mod support;

use std::sync::{Arc, Mutex};

use dlms_cosem_rs::xdlms::ActionResult;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use firmware::{LAYOUT, Maker, digest, image, provisioned};
use meterseal_meter::Peer;
use meterseal_meter::firmware::{BLOCK_BYTES, FirmwareStore, Run, Slot, boot};
use meterseal_model::{EventCode, Obis, Role, Roles};
use meterseal_world::flash::SimulatedFlash;
use support::axdr::{octets, structure, u32};
use support::client::Client;
use support::{QUIET, TestMeter, at, blank, keys_of, open, run};

type Chip = SimulatedFlash<4, 4096>;

/// One chip for the boot stage and the image.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Chip>>);

impl ErrorType for Shared {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Shared {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.lock().unwrap().read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.lock().unwrap().capacity()
    }
}

impl NorFlash for Shared {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.0.lock().unwrap().erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.lock().unwrap().write(offset, bytes)
    }
}

const HEAD_END: Peer = Peer { roles: Roles::ALL, local: false };
const CLASS: u16 = 18;
const ZERO: [u8; 2] = [15, 0];

/// A block's message: the length of its content takes more than one byte.
fn block(number: usize, content: &[u8]) -> Vec<u8> {
    let mut octets = vec![9, 0x82, (content.len() >> 8) as u8, content.len() as u8];
    octets.extend_from_slice(content);
    structure(&[u32(number as u32), octets])
}

fn client(meter: &mut TestMeter<'_>, role: Role, counter: u32) -> Client {
    meter.connect(HEAD_END);
    let mut client = Client::new(role, &keys_of(role), counter, 2400);
    client.associate(meter).unwrap();
    client
}

fn act(client: &mut Client, meter: &mut TestMeter<'_>, method: i8, data: &[u8]) -> Result<(), ActionResult> {
    client.invoke(meter, CLASS, Obis::IMAGE_TRANSFER, method, data).map(drop)
}

/// The codes of firmware events in the security log.
fn logged(meter: &mut TestMeter<'_>) -> Vec<EventCode> {
    use EventCode::{
        FirmwareActivated, FirmwareActivationOrdered, FirmwareGivenUp, FirmwareReady, FirmwareRefused,
        FirmwareTransferBegun, UnauthorisedAct,
    };
    let range = meter.security_log_range();
    let codes = range.map(|row| meter.security_log_entry(row).unwrap().unwrap().code);
    let wanted = [
        FirmwareActivated,
        FirmwareActivationOrdered,
        FirmwareGivenUp,
        FirmwareReady,
        FirmwareRefused,
        FirmwareTransferBegun,
        UnauthorisedAct,
    ];
    codes.filter(|code| wanted.contains(code)).collect()
}

#[test]
fn cpa_fw_an_image_comes_through_the_link_is_tried_and_confirms_itself() {
    let maker = Maker::new();
    let (old, mut new) = (image(20_000, 1), image(20_000, 1));
    new[5000..5100].fill(1);
    let offered = maker.delta(&old, &new, 2);
    let chip = Shared(Arc::new(Mutex::new(Chip::new(LAYOUT.size(4096), 1))));
    provisioned(&mut chip.clone(), &maker, &old);
    let start = || {
        let booted = boot(chip.clone(), 0, LAYOUT, &maker.target, &mut ()).unwrap();
        let mut store = FirmwareStore::open(chip.clone(), 0, LAYOUT, maker.target.clone()).unwrap();
        store.set_least_probation(1000);
        (booted.run, Box::new(store))
    };
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let (running, store) = start();
    assert_eq!(running, Run::Confirmed(Slot::A));
    meter.set_image_store(store);

    let mut firmware = client(&mut meter, Role::Firmware, 0);
    act(&mut firmware, &mut meter, 1, &structure(&[octets(b"two"), u32(offered.len() as u32)])).unwrap();
    for (k, content) in offered.chunks(BLOCK_BYTES as usize).enumerate() {
        act(&mut firmware, &mut meter, 2, &block(k, content)).unwrap();
    }
    assert_eq!(act(&mut firmware, &mut meter, 3, &ZERO), Err(ActionResult::TemporaryFailure));
    // It goes on by itself, a short step at a time, while the meter measures.
    let mut steps = 0;
    while firmware.get(&mut meter, CLASS, Obis::IMAGE_TRANSFER, 6).number() == 2 {
        let from = 100 * steps;
        run(&mut meter, from, from + 100, 5.0, &QUIET);
        assert!(!meter.carry_on_firmware().unwrap());
        steps += 1;
        assert!(steps < 100);
    }
    act(&mut firmware, &mut meter, 3, &ZERO).unwrap();

    // Activated by nobody else, and not without saying which.
    let right = octets(&digest(&offered).0);
    let mut utility = client(&mut meter, Role::Utility, 0);
    assert!(act(&mut utility, &mut meter, 4, &right).is_err());
    let mut firmware = client(&mut meter, Role::Firmware, 1000);
    assert_eq!(act(&mut firmware, &mut meter, 4, &ZERO), Err(ActionResult::OtherReason));
    assert_eq!(act(&mut firmware, &mut meter, 4, &octets(&[7; 48])), Err(ActionResult::OtherReason));
    assert!(!meter.carry_on_firmware().unwrap());
    act(&mut firmware, &mut meter, 4, &right).unwrap();
    assert!(meter.carry_on_firmware().unwrap(), "restart");
    use EventCode::{
        FirmwareActivationOrdered, FirmwareReady, FirmwareRefused, FirmwareTransferBegun, UnauthorisedAct,
    };
    let expected =
        [FirmwareTransferBegun, FirmwareReady, UnauthorisedAct, FirmwareRefused, FirmwareActivationOrdered];
    assert_eq!(logged(&mut meter), expected);
    let before = *meter.saved_registers();
    drop(meter);

    // The new image: on probation until it has measured, saved, and seen its head-end.
    let (running, store) = start();
    assert_eq!(running, Run::Probation(Slot::B));
    let mut meter = open(&mut flash, at(60_000));
    assert_eq!(meter.saved_registers(), &before, "the switch takes nothing back and estimates nothing");
    meter.set_image_store(store);
    assert!(!meter.carry_on_firmware().unwrap());
    run(&mut meter, 60_000, 62_000, 5.0, &QUIET);
    assert!(!meter.carry_on_firmware().unwrap());
    assert!(!logged(&mut meter).contains(&EventCode::FirmwareActivated), "it has not reached anybody");
    client(&mut meter, Role::Utility, 1000);
    assert!(!meter.carry_on_firmware().unwrap());
    assert_eq!(logged(&mut meter).last(), Some(&EventCode::FirmwareActivated));
    drop(meter);
    assert_eq!(start().0, Run::Confirmed(Slot::B));
}

#[test]
fn a_new_image_that_never_sees_its_head_end_ends_its_tries_and_the_old_one_says_so() {
    let maker = Maker::new();
    let (old, new) = (image(20_000, 1), image(20_000, 2));
    let chip = Shared(Arc::new(Mutex::new(Chip::new(LAYOUT.size(4096), 1))));
    provisioned(&mut chip.clone(), &maker, &old);
    let open_store = || FirmwareStore::open(chip.clone(), 0, LAYOUT, maker.target.clone()).unwrap();
    firmware::update(&mut open_store(), &maker.plain(&new, 2)).unwrap();
    let mut flash = blank();
    let mut tries = 0;
    loop {
        let booted = boot(chip.clone(), 0, LAYOUT, &maker.target, &mut ()).unwrap();
        let mut meter = open(&mut flash, at(0));
        meter.set_image_store(Box::new(open_store()));
        if booted.run == Run::Confirmed(Slot::A) {
            meter.carry_on_firmware().unwrap();
            assert_eq!(logged(&mut meter).last(), Some(&EventCode::FirmwareGivenUp));
            break;
        }
        tries += 1;
        run(&mut meter, 0, 1500, 5.0, &QUIET);
        assert!(!meter.carry_on_firmware().unwrap());
        meter.pass(16 * 60 * 1000);
        assert!(meter.carry_on_firmware().unwrap(), "its try is over");
    }
    assert_eq!(tries, 3);
}
