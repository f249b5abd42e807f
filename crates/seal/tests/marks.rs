//! CPA-MARK: a mark that anything was done to is no mark; and our envelope is the COSE that others write and read.
#![allow(clippy::unwrap_used, reason = "test helpers outside of #[test] functions")]

use std::convert::Infallible;

use coset::{CborSerializable as _, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _, iana};
use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::envelope::{self, EnvelopeError, MAX_LENGTH};
use meterseal_seal::mark::{CONTENT_TYPE, RevokedMark, name_of};
use meterseal_seal::{
    Coverage, Mark, MarkError, MarkStore, Refusal, Scope, SealKey, SealPublicKey, Signer, requirements,
};
use proptest::prelude::*;

const DIGEST: Digest384 = Digest384([0x42; 48]);
const FROM: UnixMillis = UnixMillis(1_795_000_000_000);
const UNTIL: UnixMillis = UnixMillis(1_800_000_000_000);
const NOW: UnixMillis = UnixMillis(1_797_000_000_000);
const EVERY_SCOPE: [Scope; 3] = [Scope::Development, Scope::Virtual, Scope::Laboratory];

fn key(seed: u8) -> SealKey {
    SealKey::generate(|bytes| {
        bytes.fill(seed);
        Ok::<(), Infallible>(())
    })
    .unwrap()
}

fn trusted() -> Vec<SealPublicKey> {
    vec![key(1).public().clone()]
}

fn mark() -> Mark {
    Mark::development("MSL-3P-100", "virtual", DIGEST, "Development authority", FROM, UNTIL)
}

fn of(requirement: &str, tested: u32, not_tested: &[&str]) -> Coverage {
    Coverage {
        requirement: requirement.to_owned(),
        tested,
        not_tested: not_tested.iter().map(|&id| id.to_owned()).collect(),
    }
}

fn admitted(store: &MarkStore, now: UnixMillis) -> Result<(), Refusal> {
    store.admit("MSL-3P-100", &DIGEST, &EVERY_SCOPE, now).map(|_| ())
}

#[test]
fn a_signed_mark_is_read_back_and_signing_repeats_bit_for_bit() {
    for (digest, report_digest) in
        [(None, None), (Some(Digest384([7; 48])), None), (Some(Digest384([7; 48])), Some(Digest384([9; 48])))]
    {
        let mark = Mark { results_digest: digest, catalogue_digest: digest, report_digest, ..mark() };
        let signed = mark.sign(&key(1)).unwrap();
        assert_eq!(mark.sign(&key(1)).unwrap(), signed, "RFC 6979: no randomness in the signature");
        let verified = Mark::verify(&signed, &trusted()).unwrap();
        assert_eq!(verified.mark(), &mark);
        assert_eq!(verified.signer(), key(1).key_id());
    }
}

#[test]
fn a_development_mark_lists_every_requirement_as_not_tested() {
    let ids: Vec<_> = requirements::ALL.iter().map(|requirement| requirement.id).collect();
    assert_eq!(mark().not_tested(), ids);
    assert!(!mark().is_whole());
    let words = mark().to_string();
    assert!(
        words.contains("development mark for MSL-3P-100") && words.contains("Not tested: CPA-ACC"),
        "{words}"
    );
}

#[test]
fn every_flipped_bit_of_a_signed_mark_is_refused() {
    let signed = mark().sign(&key(1)).unwrap();
    for place in 0..signed.len() {
        let mut altered = signed.clone();
        altered[place] ^= 1 << (place % 8);
        assert!(Mark::verify(&altered, &trusted()).is_err(), "byte {place}");
    }
}

#[test]
fn every_truncation_and_every_addition_is_refused() {
    let signed = mark().sign(&key(1)).unwrap();
    for length in 0..signed.len() {
        assert!(Mark::verify(&signed[..length], &trusted()).is_err(), "{length} bytes");
    }
    let longer = [signed.as_slice(), &[0]].concat();
    assert_eq!(Mark::verify(&longer, &trusted()), Err(MarkError::Envelope(EnvelopeError::Malformed)));
    let huge = vec![0xd2; MAX_LENGTH + 1];
    assert_eq!(Mark::verify(&huge, &trusted()), Err(MarkError::Envelope(EnvelopeError::TooLong)));
}

#[test]
fn another_key_is_refused_by_name_and_a_stolen_name_does_not_help() {
    let signed = mark().sign(&key(2)).unwrap();
    let unknown = EnvelopeError::UnknownKey(key(2).key_id());
    assert_eq!(Mark::verify(&signed, &trusted()), Err(MarkError::Envelope(unknown)));

    struct Impostor;
    impl Signer for Impostor {
        fn key_id(&self) -> meterseal_seal::KeyId {
            key(1).key_id()
        }
        fn sign(&self, message: &[u8]) -> Result<[u8; 96], meterseal_seal::KeyError> {
            key(2).sign(message)
        }
    }
    let signed = mark().sign(&Impostor).unwrap();
    assert_eq!(Mark::verify(&signed, &trusted()), Err(MarkError::Envelope(EnvelopeError::Signature)));
}

#[test]
fn a_sealed_file_of_another_kind_is_no_mark() {
    let mut signed = Vec::new();
    envelope::sign1("application/other", &mark().encode().unwrap(), &key(1), &mut signed).unwrap();
    assert_eq!(Mark::verify(&signed, &trusted()), Err(MarkError::Envelope(EnvelopeError::ContentType)));
}

#[test]
fn a_mark_of_another_version_says_so() {
    let mut payload = mark().encode().unwrap();
    assert_eq!(payload[1..3], [0, 2], "the version is the first field");
    payload[2] = 3;
    let later = Mark::decode(&payload).unwrap_err();
    assert_eq!(later, MarkError::Version(3));
    assert!(later.to_string().contains("update"), "{later}");
    payload[2] = 1;
    let earlier = Mark::decode(&payload).unwrap_err();
    assert!(earlier.to_string().contains("made anew"), "{earlier}");
}

#[test]
fn a_mark_with_empty_endless_or_contradictory_fields_is_not_signed() {
    let cases = [
        ("device type", Mark { device_type: String::new(), ..mark() }),
        ("hardware", Mark { hardware: "x".repeat(129), ..mark() }),
        ("signatory", Mark { signatory: "a\nb".into(), ..mark() }),
        ("not tested", Mark { coverage: vec![of("CPA-ACC", 1, &["X"; 513])], ..mark() }),
        ("not tested", Mark { coverage: vec![of("CPA-ACC", 1, &["B", "A"])], ..mark() }),
        ("not tested", Mark { coverage: vec![of("CPA-ACC", 1, &["A", "A"])], ..mark() }),
        ("not tested", Mark { coverage: vec![of("CPA-ACC", 0, &["A"])], ..mark() }),
        ("coverage", Mark { coverage: vec![], ..mark() }),
        ("coverage", Mark { coverage: vec![of("CPA-ACC", 0, &[]); 2], ..mark() }),
        ("coverage", Mark { coverage: vec![of("cpa acc", 0, &[])], ..mark() }),
        ("results digest", Mark { scope: Scope::Virtual, ..mark() }),
        ("results digest", Mark { coverage: vec![of("CPA-ACC", 1, &[])], ..mark() }),
        ("catalogue digest", Mark { results_digest: Some(DIGEST), ..mark() }),
        ("catalogue digest", Mark { report_digest: Some(DIGEST), ..mark() }),
        ("renewal", Mark { renew_from: UnixMillis(UNTIL.0 + 1000), ..mark() }),
        ("renewal", Mark { renew_from: UnixMillis(FROM.0 - 1000), ..mark() }),
        ("validity", Mark { valid_until: FROM, ..mark() }),
    ];
    for (field, mark) in cases {
        assert_eq!(mark.sign(&key(1)), Err(MarkError::Content(field)));
    }
}

#[test]
fn admission_is_for_exactly_the_marked_device_firmware_scope_and_time() {
    let mut store = MarkStore::new();
    assert_eq!(admitted(&store, NOW), Err(Refusal::NoMark { device_type: "MSL-3P-100".into() }));
    store.add(&mark().sign(&key(1)).unwrap(), &trusted()).unwrap();

    assert_eq!(admitted(&store, NOW), Ok(()));
    assert_eq!(admitted(&store, FROM), Ok(()));
    assert_eq!(admitted(&store, UnixMillis(FROM.0 - 1)), Err(Refusal::NotYetValid { valid_from: FROM }));
    assert_eq!(admitted(&store, UNTIL), Err(Refusal::Expired { valid_until: UNTIL }));
    let found = Digest384([1; 48]);
    assert_eq!(
        store.admit("MSL-3P-100", &found, &EVERY_SCOPE, NOW).unwrap_err(),
        Refusal::OtherFirmware { found }
    );
    assert_eq!(
        store.admit("MSL-3P-100", &DIGEST, &[Scope::Laboratory], NOW).unwrap_err(),
        Refusal::ScopeNotAdmitted { scope: Scope::Development }
    );
    assert!(matches!(store.admit("other", &DIGEST, &EVERY_SCOPE, NOW), Err(Refusal::NoMark { .. })));
}

#[test]
fn a_mark_by_a_foreign_key_is_not_admitted_and_is_named_as_the_reason() {
    let mut store = MarkStore::new();
    assert!(store.add(&mark().sign(&key(2)).unwrap(), &trusted()).is_err());
    assert_eq!(admitted(&store, NOW), Err(Refusal::ForeignSigner { signer: key(2).key_id() }));
    assert_eq!(store.iter().count(), 0);
}

fn tested(scope: Scope) -> Mark {
    Mark { scope, results_digest: Some(DIGEST), catalogue_digest: Some(DIGEST), ..mark() }
}

#[test]
fn a_revoked_mark_admits_nobody_even_if_it_comes_after_its_revocation() {
    let signed = mark().sign(&key(1)).unwrap();
    let revoked = RevokedMark { mark: name_of(&signed), at: NOW, reason: "a defect".into() };
    let mut store = MarkStore::new();
    store.revoke(revoked);
    store.add(&signed, &trusted()).unwrap();
    assert_eq!(admitted(&store, NOW), Err(Refusal::Revoked { at: NOW, reason: "a defect".into() }));
    // Another mark for the same firmware still counts.
    store.add(&tested(Scope::Virtual).sign(&key(1)).unwrap(), &trusted()).unwrap();
    assert_eq!(admitted(&store, NOW), Ok(()));
}

#[test]
fn of_several_marks_the_strongest_admits() {
    let mut store = MarkStore::new();
    for scope in [Scope::Laboratory, Scope::Development, Scope::Virtual] {
        store.add(&tested(scope).sign(&key(1)).unwrap(), &trusted()).unwrap();
    }
    let best = store.admit("MSL-3P-100", &DIGEST, &EVERY_SCOPE, NOW).unwrap();
    assert_eq!(best.mark().scope, Scope::Laboratory);
    let again = tested(Scope::Virtual).sign(&key(1)).unwrap();
    store.add(&again, &trusted()).unwrap();
    assert_eq!(store.iter().count(), 3, "the same mark is held once");
}

#[test]
fn coset_verifies_what_we_sign() {
    let signed = mark().sign(&key(1)).unwrap();
    let sign1 = coset::CoseSign1::from_tagged_slice(&signed).unwrap();
    let header = &sign1.protected.header;
    assert_eq!(header.alg, Some(coset::Algorithm::Assigned(iana::Algorithm::ES384)));
    assert_eq!(header.content_type, Some(coset::ContentType::Text(CONTENT_TYPE.into())));
    assert_eq!(header.key_id, key(1).key_id().0);
    assert!(sign1.unprotected.is_empty());
    assert_eq!(sign1.payload.as_deref(), Some(mark().encode().unwrap().as_slice()));
    sign1
        .verify_signature(&[], |signature, message| {
            key(1)
                .public()
                .verifies(message, signature.try_into().unwrap())
                .then_some(())
                .ok_or("wrong signature")
        })
        .unwrap();
}

fn by_coset(header: coset::Header, unprotected: coset::Header, payload: Vec<u8>) -> Vec<u8> {
    CoseSign1Builder::new()
        .protected(header)
        .unprotected(unprotected)
        .payload(payload)
        .create_signature(&[], |message| key(1).sign(message).unwrap().to_vec())
        .build()
        .to_tagged_vec()
        .unwrap()
}

fn header() -> HeaderBuilder {
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::ES384)
        .content_type(CONTENT_TYPE.into())
        .key_id(key(1).key_id().0.to_vec())
}

#[test]
fn we_verify_what_coset_signs() {
    let signed = by_coset(header().build(), coset::Header::default(), mark().encode().unwrap());
    assert_eq!(Mark::verify(&signed, &trusted()).unwrap().mark(), &mark());
    assert_eq!(signed, mark().sign(&key(1)).unwrap(), "deterministic on both sides");
}

#[test]
fn what_cose_allows_and_we_do_not_is_refused() {
    let payload = mark().encode().unwrap();
    let none = coset::Header::default();
    let critical = header().add_critical(iana::HeaderParameter::Alg).build();
    let extra = header().value(1000, coset::cbor::Value::Null).build();
    let unprotected = HeaderBuilder::new().key_id(vec![1]).build();
    let without_key = HeaderBuilder::new().algorithm(iana::Algorithm::ES384).build();
    for (case, signed) in [
        ("crit", by_coset(critical, none.clone(), payload.clone())),
        ("unknown header", by_coset(extra, none.clone(), payload.clone())),
        ("unprotected header", by_coset(header().build(), unprotected, payload.clone())),
        ("no key id", by_coset(without_key, none.clone(), payload.clone())),
    ] {
        assert_eq!(
            Mark::verify(&signed, &trusted()),
            Err(MarkError::Envelope(EnvelopeError::Malformed)),
            "{case}"
        );
    }
    for algorithm in [iana::Algorithm::ES256, iana::Algorithm::ES512, iana::Algorithm::EdDSA] {
        let signed = by_coset(header().algorithm(algorithm).build(), none.clone(), payload.clone());
        assert_eq!(Mark::verify(&signed, &trusted()), Err(MarkError::Envelope(EnvelopeError::Algorithm)));
    }
    let tagged = by_coset(header().build(), none, payload);
    let untagged = coset::CoseSign1::from_tagged_slice(&tagged).unwrap().to_vec().unwrap();
    assert!(Mark::verify(&untagged, &trusted()).is_err(), "without the tag");
}

#[test]
fn a_longer_encoding_of_the_same_content_is_refused() {
    let signed = mark().sign(&key(1)).unwrap();
    // The array head 0x84 (four items) as the two-byte form 0x98 0x04: the same to a lenient reader.
    assert_eq!(signed[..2], [0xd2, 0x84]);
    let longer = [&[0xd2, 0x98, 0x04], &signed[2..]].concat();
    assert_eq!(Mark::verify(&longer, &trusted()), Err(MarkError::Envelope(EnvelopeError::Malformed)));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        prop_assert!(Mark::verify(&bytes, &trusted()).is_err());
        let _ = Mark::decode(&bytes);
    }

    #[test]
    fn every_readable_mark_has_one_encoding(place in 0usize..400, value in any::<u8>()) {
        let mut payload = mark().encode().unwrap();
        let place = place % payload.len();
        payload[place] = value;
        if let Ok(read) = Mark::decode(&payload) {
            prop_assert_eq!(read.encode().unwrap(), payload);
        }
    }
}
