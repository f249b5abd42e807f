//! Attestation over COSEM: whoever asks with a nonce gets the running image's word for it, and nobody else's.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::xdlms::DataAccessResult;
use meterseal_meter::{
    Activation, BootState, ImageError, ImageIdentity, ImageInfo, ImageProgress, ImageStatus, ImageStore,
};
use meterseal_model::{Digest384, Obis, Role};
use meterseal_seal::attestation::{Attestation, AttestationError, BootStage, Ground, SlotState};
use meterseal_seal::{SealKey, Signer as _};

use support::client::{Client, Value};
use support::{TestMeter, at, blank, identity, keys_of, open};

const DATA: u16 = 1;
const IMAGE: Digest384 = Digest384([5; 48]);

/// A boot stage's record, and no place for anything new.
#[derive(Debug)]
struct Record;

impl ImageStore for Record {
    fn is_enabled(&self) -> bool {
        false
    }

    fn block_bytes(&self) -> u32 {
        8
    }

    fn status(&self) -> ImageStatus {
        ImageStatus::NotInitiated
    }

    fn blocks(&self) -> u32 {
        0
    }

    fn holds(&self, _: u32) -> bool {
        false
    }

    fn initiate(&mut self, _: &[u8], _: u32) -> Result<(), ImageError> {
        Err(ImageError::Order)
    }

    fn keep(&mut self, _: u32, _: &[u8]) -> Result<(), ImageError> {
        Err(ImageError::Order)
    }

    fn verify(&mut self) -> Result<ImageProgress, ImageError> {
        Err(ImageError::Order)
    }

    fn activate(&mut self, _: &Activation) -> Result<ImageProgress, ImageError> {
        Err(ImageError::Order)
    }

    fn to_activate(&self) -> Option<ImageInfo> {
        None
    }

    fn boot_state(&self) -> Option<BootState> {
        Some(BootState {
            boots: 41,
            confirmed: IMAGE,
            highest: 9,
            root_version: 2,
            slots: [
                SlotState { image: IMAGE, sequence: 9 },
                SlotState { image: Digest384([0; 48]), sequence: 0 },
            ],
        })
    }
}

/// Gives the meter a boot stage's word; the image key stays outside, as on a device.
fn booted(meter: &mut TestMeter<'_>, stage: &BootStage) -> SealKey {
    let (key, certificate) = stage.image_key(identity().id, &IMAGE, Ground::Simulated).unwrap();
    meter.meter.set_image_store(Box::new(Record));
    meter.meter.set_image_identity(ImageIdentity {
        boot_chain: vec![vec![0x30, 1, 7], vec![0x30, 1, 8]],
        certificate,
        key: key.key_id(),
        version: "1.2.3".into(),
        image: IMAGE,
        sequence: 9,
    });
    key
}

fn client(meter: &mut TestMeter<'_>, role: Role, counter: u32) -> Client {
    meter.connected();
    let mut client = Client::new(role, &keys_of(role), counter, 1024);
    client.associate(meter).unwrap();
    client
}

fn read(client: &mut Client, meter: &mut TestMeter<'_>, obis: Obis) -> Vec<u8> {
    match client.get(meter, DATA, obis, 2) {
        Value::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_meter_attests_what_runs_for_the_nonce_of_whoever_asks_and_measures_on_meanwhile() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let stage = BootStage::new(&[3; 32]);
    let key = booted(&mut meter, &stage);
    for (role, counter) in [(Role::Utility, 0), (Role::Firmware, 0), (Role::Bench, 0)] {
        let mut client = client(&mut meter, role, counter);
        assert_eq!(read(&mut client, &mut meter, Obis::BOOT_KEY), [0x30, 1, 7, 0x30, 1, 8]);
        assert!(read(&mut client, &mut meter, Obis::ATTESTATION).is_empty(), "nobody has asked");
        client.set(&mut meter, DATA, Obis::ATTESTATION_NONCE, Data::OctetString(&[7; 32])).unwrap();
        assert_eq!(read(&mut client, &mut meter, Obis::ATTESTATION_NONCE), [7; 32]);
        let request = meter.meter.attestation_request().unwrap();
        assert!(meter.meter.attestation_request().is_none(), "one at a time");
        assert!(read(&mut client, &mut meter, Obis::ATTESTATION).is_empty(), "not signed yet");
        meter.meter.attested(request.number, Some(&key.sign(&request.to_be_signed).unwrap()));
        let signed = read(&mut client, &mut meter, Obis::ATTESTATION);
        let certificate = read(&mut client, &mut meter, Obis::IMAGE_KEY);
        let known =
            Attestation::verify(&signed, &certificate, stage.public(), identity().id, &[7; 32]).unwrap();
        assert_eq!((known.image, known.ground), (IMAGE, Ground::Simulated));
        assert_eq!((known.attestation.boots, known.attestation.confirmed), (41, true));
        assert_eq!(known.attestation.version, "1.2.3");
    }
}

#[test]
fn an_answer_is_for_the_last_nonce_and_for_its_own_association() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let stage = BootStage::new(&[3; 32]);
    let key = booted(&mut meter, &stage);
    let mut first = client(&mut meter, Role::Utility, 0);
    first.set(&mut meter, DATA, Obis::ATTESTATION_NONCE, Data::OctetString(&[1; 16])).unwrap();
    let outdated = meter.meter.attestation_request().unwrap();
    first.set(&mut meter, DATA, Obis::ATTESTATION_NONCE, Data::OctetString(&[2; 16])).unwrap();
    // The signature for the former question comes late, and finds nobody who has asked.
    meter.meter.attested(outdated.number, Some(&key.sign(&outdated.to_be_signed).unwrap()));
    assert!(read(&mut first, &mut meter, Obis::ATTESTATION).is_empty());
    let request = meter.meter.attestation_request().unwrap();
    meter.meter.attested(request.number, Some(&key.sign(&request.to_be_signed).unwrap()));
    let signed = read(&mut first, &mut meter, Obis::ATTESTATION);
    let certificate = read(&mut first, &mut meter, Obis::IMAGE_KEY);
    let verify = |nonce| Attestation::verify(&signed, &certificate, stage.public(), identity().id, nonce);
    assert_eq!(verify(&[1; 16]), Err(AttestationError::Nonce));
    assert!(verify(&[2; 16]).is_ok());
    // The next connection has asked nothing.
    let mut second = client(&mut meter, Role::Firmware, 0);
    assert!(read(&mut second, &mut meter, Obis::ATTESTATION).is_empty());
    assert!(read(&mut second, &mut meter, Obis::ATTESTATION_NONCE).is_empty());
    // What cannot be signed stays unanswered, and does not stand in the way of the next.
    second.set(&mut meter, DATA, Obis::ATTESTATION_NONCE, Data::OctetString(&[3; 16])).unwrap();
    let failed = meter.meter.attestation_request().unwrap();
    meter.meter.attested(failed.number, None);
    second.set(&mut meter, DATA, Obis::ATTESTATION_NONCE, Data::OctetString(&[4; 16])).unwrap();
    assert!(meter.meter.attestation_request().is_some());
}

#[test]
fn nonces_of_other_lengths_other_roles_and_meters_without_a_boot_stage_get_nothing() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut utility = client(&mut meter, Role::Utility, 0);
    let asked = utility.set(&mut meter, DATA, Obis::ATTESTATION_NONCE, Data::OctetString(&[1; 16]));
    assert_eq!(asked, Err(DataAccessResult::ObjectUnavailable));
    assert!(read(&mut utility, &mut meter, Obis::BOOT_KEY).is_empty());
    let _key = booted(&mut meter, &BootStage::new(&[3; 32]));
    for length in [0, 15, 65] {
        let asked =
            utility.set(&mut meter, DATA, Obis::ATTESTATION_NONCE, Data::OctetString(&vec![1; length]));
        assert_eq!(asked, Err(DataAccessResult::ScopeOfAccessViolated), "{length}");
    }
    let mut reader = client(&mut meter, Role::Reader, 0);
    let asked = reader.set(&mut meter, DATA, Obis::ATTESTATION_NONCE, Data::OctetString(&[1; 16]));
    assert_eq!(asked, Err(DataAccessResult::ReadWriteDenied));
    assert!(meter.meter.attestation_request().is_none());
}

#[test]
fn questions_are_bounded_and_the_newest_is_answered() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let stage = BootStage::new(&[3; 32]);
    let key = booted(&mut meter, &stage);
    let mut counter = 0;
    for k in 0..40u8 {
        let mut client = client(&mut meter, Role::Utility, counter);
        counter += 100;
        client.set(&mut meter, DATA, Obis::ATTESTATION_NONCE, Data::OctetString(&[k; 16])).unwrap();
        if k == 39 {
            let mut signed = 0;
            while let Some(request) = meter.meter.attestation_request() {
                meter.meter.attested(request.number, Some(&key.sign(&request.to_be_signed).unwrap()));
                signed += 1;
            }
            assert!(signed <= 12, "{signed} questions were kept");
            assert!(!read(&mut client, &mut meter, Obis::ATTESTATION).is_empty());
        }
    }
}
