//! The certified product list as a folder: what counts, and why the rest does not.

use std::convert::Infallible;

use meterseal_seal::SealKey;

use super::*;

const DIGEST: Digest384 = Digest384([0x42; 48]);
const NOW: UnixMillis = UnixMillis(1_797_000_000_000);
const SCOPES: [Scope; 1] = [Scope::Development];

fn key(seed: u8) -> SealKey {
    SealKey::generate(|bytes| {
        bytes.fill(seed);
        Ok::<(), Infallible>(())
    })
    .unwrap()
}

fn mark(device_type: &str, hardware: &str) -> Mark {
    let (from, until) = (UnixMillis(NOW.0 - 1000), UnixMillis(NOW.0 + 86_400_000));
    Mark::development(device_type, hardware, DIGEST, "Somebody", from, until)
}

fn list(folder: &Path) -> List {
    List::read(folder, &[key(1).public().clone()], &[]).unwrap()
}

fn covered(list: &List) -> bool {
    list.covers("MSL", None, &DIGEST, &SCOPES, NOW).is_ok()
}

#[test]
fn only_a_mark_for_that_device_hardware_and_firmware_covers() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!covered(&list(&folder.path().join("missing"))));
    fs::write(folder.path().join("a.cbor"), mark("MSL", "rev A").sign(&key(1)).unwrap()).unwrap();
    let list = list(folder.path());
    assert!(covered(&list));
    assert!(list.covers("MSL", Some("rev A"), &DIGEST, &SCOPES, NOW).is_ok());
    assert!(list.covers("MSL", Some("rev B"), &DIGEST, &SCOPES, NOW).is_err());
    assert!(matches!(list.covers("other", None, &DIGEST, &SCOPES, NOW), Err(Refusal::NoMark { .. })));
    let other = Digest384([1; 48]);
    assert!(matches!(list.covers("MSL", None, &other, &SCOPES, NOW), Err(Refusal::OtherFirmware { .. })));
}

#[test]
fn a_mark_with_any_byte_edited_covers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let signed = mark("MSL", "rev A").sign(&key(1)).unwrap();
    for place in 0..signed.len() {
        let mut edited = signed.clone();
        edited[place] ^= 1 << (place % 8);
        fs::write(folder.path().join("a.cbor"), &edited).unwrap();
        let list = list(folder.path());
        assert!(!covered(&list), "byte {place}");
        assert!(matches!(list.entries[0].standing(NOW), Standing::Unusable(_)), "byte {place}");
    }
}

#[test]
fn a_foreign_signatory_is_named_and_counts_once_it_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.cbor"), mark("MSL", "rev A").sign(&key(2)).unwrap()).unwrap();
    let refused = list(folder.path()).covers("MSL", None, &DIGEST, &SCOPES, NOW).unwrap_err();
    assert_eq!(refused, Refusal::ForeignSigner { signer: key(2).public().key_id() });
    fs::write(folder.path().join("lab.pem"), key(2).public().to_pem().unwrap()).unwrap();
    assert!(covered(&list(folder.path())));
    fs::write(folder.path().join("lab.pem"), "nothing").unwrap();
    let list = list(folder.path());
    assert!(!covered(&list) && list.problems[0].0 == "lab.pem");
}

#[test]
fn a_certificate_must_say_that_its_key_signs_marks() {
    let folder = tempfile::tempdir().unwrap();
    let pki = meterseal_link::Pki::create(&folder.path().join("pki")).unwrap();
    let marks = folder.path().join("marks");
    fs::create_dir(&marks).unwrap();
    let now = clock::now();
    let year = UnixMillis(now.0 + 365 * 86_400_000);
    let certify = |until| Mark::development("MSL", "rev A", DIGEST, "Laboratory", now, until);
    let signer = pki.certification_signer().unwrap();
    fs::write(marks.join("a.cbor"), certify(year).sign(&signer).unwrap()).unwrap();
    let read = || List::read(&marks, &[], &[]).unwrap();
    let is_covered = |list: List| list.covers("MSL", None, &DIGEST, &SCOPES, now).is_ok();
    fs::copy(pki.dir().join("utility.cert.pem"), marks.join("lab.pem")).unwrap();
    let list = read();
    assert!(list.problems[0].1.contains("not that of a certification key"), "{:?}", list.problems);
    assert!(!is_covered(list));
    fs::copy(pki.dir().join("certification.cert.pem"), marks.join("lab.pem")).unwrap();
    assert!(is_covered(read()));
    // A mark that outlives its key's certificate.
    let century = UnixMillis(now.0 + 36_500 * 86_400_000);
    fs::write(marks.join("a.cbor"), certify(century).sign(&signer).unwrap()).unwrap();
    let list = read();
    assert!(
        matches!(list.entries[0].standing(now), Standing::Unusable(ref why) if why.contains("certificate ends"))
    );
    assert!(!is_covered(list));
}

#[test]
fn a_signatory_revokes_its_own_marks_only_and_an_older_list_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let signed = mark("MSL", "rev A").sign(&key(1)).unwrap();
    fs::write(folder.path().join("a.cbor"), &signed).unwrap();
    fs::write(folder.path().join("other.pem"), key(2).public().to_pem().unwrap()).unwrap();
    let mut revoked = MarkRevocations::new();
    revoked.revoke(mark::name_of(&signed), "a defect", NOW).unwrap();
    fs::write(folder.path().join("list.cbor"), revoked.sign(&key(2)).unwrap()).unwrap();
    assert!(covered(&list(folder.path())), "somebody else's list");
    fs::write(folder.path().join("list.cbor"), revoked.sign(&key(1)).unwrap()).unwrap();
    assert!(!covered(&list(folder.path())));
    assert_eq!(list(folder.path()).entries.len(), 1, "lists are no marks");
}

#[test]
fn the_utility_withdraws_what_it_does_not_believe() {
    let folder = tempfile::tempdir().unwrap();
    let signed = mark("MSL", "rev A").sign(&key(1)).unwrap();
    let marks = super::folder(folder.path());
    fs::create_dir(&marks).unwrap();
    fs::write(marks.join("a.cbor"), &signed).unwrap();
    assert!(covered(&list(&marks)));
    withdraw(folder.path(), &mark::name_of(&signed), "it drifts").unwrap();
    let list = list(&marks);
    assert!(!covered(&list));
    assert!(
        matches!(list.entries[0].standing(NOW), Standing::Revoked(at, ref why) if at.0 > 0 && why == "it drifts")
    );
}
