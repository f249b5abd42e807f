//! Image transfer as the firmware role speaks it: with nowhere to put an image, and with a store in memory behind it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::sync::{Arc, Mutex};

use dlms_cosem_rs::xdlms::ActionResult;
use meterseal_meter::{Activation, ImageError, ImageInfo, ImageProgress, ImageStatus, ImageStore};
use meterseal_model::{Obis, Role};
use support::axdr::{octets, structure, u32};
use support::client::{Client, Value};
use support::{TestMeter, at, blank, keys_of, open};

const CLASS: u16 = 18;
const BLOCK: u32 = 8;

/// A store that keeps an image in memory and takes those that begin with `good`.
#[derive(Debug, Default)]
struct InMemory {
    image: Option<(Vec<u8>, u32)>,
    blocks: Vec<Option<Vec<u8>>>,
    status: Option<ImageStatus>,
    asked: u32,
}

#[derive(Clone, Debug, Default)]
struct Slot(Arc<Mutex<InMemory>>);

impl ImageStore for Slot {
    fn is_enabled(&self) -> bool {
        true
    }

    fn block_bytes(&self) -> u32 {
        BLOCK
    }

    fn status(&self) -> ImageStatus {
        self.0.lock().unwrap().status.unwrap_or(ImageStatus::NotInitiated)
    }

    fn blocks(&self) -> u32 {
        self.0.lock().unwrap().blocks.len() as u32
    }

    fn holds(&self, block: u32) -> bool {
        self.0.lock().unwrap().blocks[block as usize].is_some()
    }

    fn initiate(&mut self, identifier: &[u8], bytes: u32) -> Result<(), ImageError> {
        let mut slot = self.0.lock().unwrap();
        if bytes > 100 {
            return Err(ImageError::Bounds);
        }
        let image = Some((identifier.to_vec(), bytes));
        if slot.image != image {
            slot.image = image;
            slot.blocks = vec![None; bytes.div_ceil(BLOCK) as usize];
        }
        slot.status = Some(ImageStatus::Initiated);
        Ok(())
    }

    fn keep(&mut self, block: u32, content: &[u8]) -> Result<(), ImageError> {
        self.0.lock().unwrap().blocks[block as usize].get_or_insert(content.to_vec());
        Ok(())
    }

    fn verify(&mut self) -> Result<ImageProgress, ImageError> {
        let mut slot = self.0.lock().unwrap();
        if slot.blocks.iter().any(Option::is_none) {
            return Err(ImageError::Incomplete);
        }
        slot.asked += 1;
        if slot.asked == 1 {
            slot.status = Some(ImageStatus::VerificationInitiated);
            return Ok(ImageProgress::UnderWay);
        }
        let good = slot.blocks[0].as_ref().unwrap().starts_with(b"good");
        slot.status = Some(if good { ImageStatus::Verified } else { ImageStatus::VerificationFailed });
        if good { Ok(ImageProgress::Done) } else { Err(ImageError::Refused) }
    }

    fn activate(&mut self, _: &Activation) -> Result<ImageProgress, ImageError> {
        let mut slot = self.0.lock().unwrap();
        if slot.status != Some(ImageStatus::Verified) {
            return Err(ImageError::Order);
        }
        slot.status = Some(ImageStatus::Activated);
        Ok(ImageProgress::Done)
    }

    fn to_activate(&self) -> Option<ImageInfo> {
        let slot = self.0.lock().unwrap();
        let (identification, bytes) =
            slot.image.clone().filter(|_| slot.status == Some(ImageStatus::Verified))?;
        Some(ImageInfo { bytes, identification, signature: vec![0x51] })
    }
}

fn client(meter: &mut TestMeter<'_>, role: Role, counter: u32) -> Client {
    meter.connected();
    let mut client = Client::new(role, &keys_of(role), counter, 1024);
    client.associate(meter).unwrap();
    client
}

fn get(client: &mut Client, meter: &mut TestMeter<'_>, attribute: i8) -> Value {
    client.get(meter, CLASS, Obis::IMAGE_TRANSFER, attribute)
}

fn act(
    client: &mut Client,
    meter: &mut TestMeter<'_>,
    method: i8,
    parameter: &[u8],
) -> Result<(), ActionResult> {
    client.invoke(meter, CLASS, Obis::IMAGE_TRANSFER, method, parameter).map(drop)
}

fn initiate(identifier: &str, bytes: u32) -> Vec<u8> {
    structure(&[octets(identifier.as_bytes()), u32(bytes)])
}

fn block(number: u32, content: &[u8]) -> Vec<u8> {
    structure(&[u32(number), octets(content)])
}

const ZERO: [u8; 2] = [15, 0];

#[test]
fn a_meter_without_a_slot_says_so() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut firmware = client(&mut meter, Role::Firmware, 0);
    let shown = [2, 4, 5, 6].map(|attribute| get(&mut firmware, &mut meter, attribute).number());
    assert_eq!(shown, [0; 4]);
    assert_eq!(get(&mut firmware, &mut meter, 7), Value::List(vec![]));
    for (method, parameter) in
        [(1, initiate("a", 8)), (2, block(0, b"x")), (3, ZERO.into()), (4, ZERO.into())]
    {
        let answer = act(&mut firmware, &mut meter, method, &parameter);
        assert_eq!(answer, Err(ActionResult::ObjectUnavailable), "method {method}");
    }
}

#[test]
fn an_image_comes_in_blocks_in_any_order_and_runs_only_when_it_is_whole_and_good() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let slot = Slot::default();
    meter.set_image_store(Box::new(slot.clone()));
    let mut firmware = client(&mut meter, Role::Firmware, 0);
    let mut do_it =
        |meter: &mut TestMeter<'_>, method, parameter: &[u8]| act(&mut firmware, meter, method, parameter);
    assert_eq!(do_it(&mut meter, 1, &initiate("", 8)), Err(ActionResult::ScopeOfAccessViolated));
    assert_eq!(do_it(&mut meter, 1, &initiate("image", 0)), Err(ActionResult::ScopeOfAccessViolated));
    assert_eq!(do_it(&mut meter, 1, &initiate("image", 101)), Err(ActionResult::ScopeOfAccessViolated));
    assert_eq!(do_it(&mut meter, 1, &octets(b"image")), Err(ActionResult::TypeUnmatched));
    do_it(&mut meter, 1, &initiate("image", 20)).unwrap();
    do_it(&mut meter, 2, &block(2, b"last")).unwrap();
    assert_eq!(do_it(&mut meter, 2, &block(3, b"x")), Err(ActionResult::ScopeOfAccessViolated));
    assert_eq!(do_it(&mut meter, 2, &block(0, b"ninebytes")), Err(ActionResult::ScopeOfAccessViolated));
    do_it(&mut meter, 2, &block(0, b"good 123")).unwrap();
    assert_eq!(do_it(&mut meter, 3, &ZERO), Err(ActionResult::OtherReason), "a block is missing");
    assert_eq!(do_it(&mut meter, 4, &ZERO), Err(ActionResult::OtherReason), "nothing was verified");
    assert_eq!(get(&mut firmware, &mut meter, 4).number(), 1);
    // One bit for each block, the first in front: 101.
    let raw = |client: &mut Client, meter: &mut TestMeter<'_>| {
        client
            .try_read(meter, (CLASS, Obis::IMAGE_TRANSFER, 3), None, |data| match data {
                dlms_cosem_rs::axdr::Data::BitString(bits) => (bits.len(), bits.as_bytes().to_vec()),
                other => panic!("{other:?}"),
            })
            .unwrap()
    };
    assert_eq!(raw(&mut firmware, &mut meter), (3, vec![0b1010_0000]));

    // A connection later: what is there need not come again.
    let counter = firmware.session.invocation_counter();
    let mut firmware = client(&mut meter, Role::Firmware, counter);
    let mut do_it =
        |meter: &mut TestMeter<'_>, method, parameter: &[u8]| act(&mut firmware, meter, method, parameter);
    do_it(&mut meter, 1, &initiate("image", 20)).unwrap();
    do_it(&mut meter, 2, &block(1, b"45678901")).unwrap();
    do_it(&mut meter, 2, &block(0, b"evil 123")).unwrap();
    assert_eq!(do_it(&mut meter, 3, &[17, 1]), Err(ActionResult::TypeUnmatched));
    assert_eq!(do_it(&mut meter, 3, &ZERO), Err(ActionResult::TemporaryFailure), "it is looked at");
    do_it(&mut meter, 3, &ZERO).unwrap();
    let info = get(&mut firmware, &mut meter, 7);
    assert_eq!(info.list()[0].list()[1], Value::Bytes(b"image".to_vec()));
    assert_eq!(get(&mut firmware, &mut meter, 4).number(), 3, "none is missing");

    // Nobody else activates it.
    for role in [Role::Utility, Role::Bench, Role::Reader, Role::Installer] {
        let mut other = client(&mut meter, role, 0);
        assert_eq!(act(&mut other, &mut meter, 4, &ZERO), Err(ActionResult::ReadWriteDenied), "{role}");
    }
    assert_eq!(slot.status(), ImageStatus::Verified);
    let counter = firmware.session.invocation_counter();
    let mut firmware = client(&mut meter, Role::Firmware, counter);
    act(&mut firmware, &mut meter, 4, &ZERO).unwrap();
    assert_eq!(get(&mut firmware, &mut meter, 6).number(), ImageStatus::Activated as i64);
}
