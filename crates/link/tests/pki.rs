//! CPA-MUT: identities on disk. They appear whole or not at all, keys are their owner's alone, and what is wrong with
//! a file is said with its name and what to do.
#![allow(clippy::unwrap_used, reason = "test helpers outside of #[test] functions")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use meterseal_link::Validity;
use meterseal_link::pki::{Certificate, Identity, Pki, read_certificates};
use meterseal_model::MeterId;
use meterseal_seal::chain::{ChainError, certification_key};
use meterseal_seal::{SealKey, Signer as _};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

fn meter() -> MeterId {
    "MSL0000000001".parse().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn authorities_are_made_whole_private_and_open_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/pki");
    let made = Pki::create(&path).unwrap();
    assert_eq!(
        entries(&path),
        [
            "certification.cert.pem",
            "certification.crl.pem",
            "certification.key.pem",
            "certification.pub.pem",
            "lock",
            "manufacturer.cert.pem",
            "manufacturer.crl.pem",
            "manufacturer.key.pem",
            "root.cert.pem",
            "root.crl.pem",
            "root.key.pem",
            "utility.cert.pem",
            "utility.crl.pem",
            "utility.key.pem",
        ]
    );
    for name in entries(&path) {
        let expected = if name.ends_with(".key.pem") || name == "lock" { 0o600 } else { 0o644 };
        assert_eq!(mode(&path.join(&name)), expected, "{name}");
    }
    assert_eq!(mode(&path), 0o700);
    assert_eq!(entries(path.parent().unwrap()), ["pki"], "no temporary folder is left");

    let opened = Pki::open(&path).unwrap();
    assert_eq!(opened.root(), made.root());
    assert_eq!(opened.trust().meters, made.trust().meters);
    assert_eq!(opened.certification_signer().unwrap().key_id(), made.certification_key().key_id());
    assert!(Pki::create(&path).unwrap_err().to_string().contains("is there already"));
    assert_eq!(Pki::open_or_create(&path).unwrap().root(), made.root());
}

#[test]
fn only_the_certification_keys_certificate_says_that_it_signs_marks_and_an_older_one_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pki");
    let pki = Pki::create(&path).unwrap();
    let read =
        |name: &str| read_certificates(&path.join(format!("{name}.cert.pem"))).unwrap().remove(0).to_vec();
    let others = [read("root")];
    let certified = certification_key(&read("certification"), &others).unwrap();
    assert_eq!(&certified.key, pki.certification_key());
    assert!(certified.issuer.is_some_and(|issuer| issuer.contains("root")));
    for name in ["root", "manufacturer", "utility"] {
        assert!(matches!(certification_key(&read(name), &others), Err(ChainError::Purpose(_))), "{name}");
    }
    // As folders of version 0.1 were: the key is certified anew and stays.
    fs::remove_file(path.join("certification.cert.pem")).unwrap();
    let again = Pki::open(&path).unwrap();
    assert_eq!(again.certification_key(), pki.certification_key());
    assert!(certification_key(&read("certification"), &others).is_ok());
}

#[test]
fn certificates_say_what_they_are_for_and_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki")).unwrap();
    let path_length = |der: &[u8]| {
        let (_, parsed) = X509Certificate::from_der(der).unwrap();
        assert!(parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
        parsed.basic_constraints().unwrap().unwrap().value.path_len_constraint
    };
    assert_eq!(path_length(pki.root()), Some(1));
    assert_eq!(path_length(&pki.trust().meters[0]), Some(0));
    assert_eq!(path_length(&pki.trust().headends[0]), Some(0));

    let identity = pki.issue_meter(meter()).unwrap().identity().unwrap();
    assert_eq!(identity.chain().len(), 2);
    let (_, parsed) = X509Certificate::from_der(&identity.chain()[0]).unwrap();
    assert!(!parsed.is_ca());
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign());
    let purpose = parsed.extended_key_usage().unwrap().unwrap().value;
    // A client of its head-end, and the server of its local port.
    assert!(purpose.client_auth && purpose.server_auth && !purpose.any);
    let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert!(names.contains(&GeneralName::URI("urn:meterseal:meter:MSL0000000001")));

    let headend = pki.issue_headend("north").unwrap().identity().unwrap();
    let (_, parsed) = X509Certificate::from_der(&headend.chain()[0]).unwrap();
    let purpose = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(purpose.server_auth && !purpose.client_auth);
    for name in ["", "North", "a.b", "-a", "a b"] {
        assert!(pki.issue_headend(name).is_err(), "{name:?}");
    }
}

#[test]
fn a_log_keys_certificate_vouches_for_the_log_and_opens_no_connection() {
    use meterseal_model::UnixMillis;
    use meterseal_seal::chain::{ChainError, verify_log_key};

    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki")).unwrap();
    let key = SealKey::generate(getrandom::fill).unwrap();
    let chain = pki.certify_log_key(meter(), key.public()).unwrap();
    let (_, parsed) = X509Certificate::from_der(&chain[0]).unwrap();
    assert!(parsed.extended_key_usage().unwrap().is_none());
    let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert!(!names.iter().any(|name| matches!(name, GeneralName::DNSName(_))));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let now = UnixMillis(i64::try_from(now).unwrap());
    let bytes: Vec<Vec<u8>> = chain.iter().map(|certificate| certificate.to_vec()).collect();
    let certified = verify_log_key(&bytes, meter(), now, &[pki.root().to_vec()]).unwrap();
    assert!(certified.trusted && certified.key == *key.public());
    // It can be listed, and is nobody's to connect with.
    let listed = Certificate::read(&chain[0]).unwrap();
    assert!(listed.peer.is_none() && !listed.is_authority && listed.roles.is_empty());
    assert!(pki.renew(&chain[0], Validity::from_now(std::time::Duration::from_secs(60))).is_err());
    // A TLS identity of the same meter by the same maker seals nothing.
    let identity = pki.issue_meter(meter()).unwrap().identity().unwrap();
    let bytes: Vec<Vec<u8>> = identity.chain().iter().map(|certificate| certificate.to_vec()).collect();
    assert_eq!(verify_log_key(&bytes, meter(), now, &[]), Err(ChainError::Subject(meter())));
}

#[test]
fn a_boot_keys_certificate_vouches_for_the_boot_stage_and_for_no_log() {
    use meterseal_model::UnixMillis;
    use meterseal_seal::chain::{ChainError, verify_boot_key, verify_log_key};

    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki")).unwrap();
    let (boot, log) = ([(); 2]).map(|()| SealKey::generate(getrandom::fill).unwrap()).into();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let now = UnixMillis(i64::try_from(now).unwrap());
    let trusted = [pki.root().to_vec()];
    let bytes = |chain: Vec<rustls::pki_types::CertificateDer<'static>>| {
        chain.iter().map(|der| der.to_vec()).collect::<Vec<_>>()
    };
    let of_boot = bytes(pki.certify_boot_key(meter(), boot.public()).unwrap());
    let of_log = bytes(pki.certify_log_key(meter(), log.public()).unwrap());
    let certified = verify_boot_key(&of_boot, meter(), now, &trusted).unwrap();
    assert!(certified.trusted && certified.key == *boot.public());
    assert_eq!(verify_log_key(&of_boot, meter(), now, &trusted), Err(ChainError::Subject(meter())));
    assert_eq!(verify_boot_key(&of_log, meter(), now, &trusted), Err(ChainError::Subject(meter())));
    let other = "MSL0000000099".parse().unwrap();
    assert_eq!(verify_boot_key(&of_boot, other, now, &trusted), Err(ChainError::Subject(other)));
    // It can be listed, and is nobody's to connect with.
    assert!(Certificate::read(&of_boot[0].clone().into()).unwrap().peer.is_none());
}

#[test]
fn an_identity_is_stored_and_loaded_and_each_issue_has_a_new_key() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki")).unwrap();
    let issued = pki.issue_meter(meter()).unwrap();
    let path = dir.path().join("meters/MSL0000000001");
    issued.save(&path).unwrap();
    assert_eq!(entries(&path), ["certificate.pem", "key.pem"]);
    assert_eq!(mode(&path.join("key.pem")), 0o600);
    assert_eq!(Identity::load(&path).unwrap().chain(), issued.identity().unwrap().chain());
    assert_ne!(pki.issue_meter(meter()).unwrap().key_pem(), issued.key_pem());
    assert!(!format!("{issued:?}").contains("PRIVATE KEY"));
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_name_and_what_to_do() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage, &str); 8] = [
        ("manufacturer.key.pem", |file| fs::remove_file(file).unwrap(), "it is missing"),
        ("utility.cert.pem", |file| fs::remove_file(file).unwrap(), "it is missing"),
        ("manufacturer.key.pem", |file| fs::write(file, "").unwrap(), "is no P-384 private key"),
        ("root.cert.pem", |file| fs::write(file, "hello").unwrap(), "holds no certificate"),
        (
            "utility.cert.pem",
            |file| fs::write(file, vec![b'x'; 70_000]).unwrap(),
            "is longer than 65536 bytes",
        ),
        (
            "utility.key.pem",
            |file| fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap(),
            "can be read by others (mode 644); make a new key",
        ),
        (
            "utility.key.pem",
            |file| {
                fs::copy(file.with_file_name("manufacturer.key.pem"), file).unwrap();
            },
            "does not belong to the certificate beside it",
        ),
        ("certification.pub.pem", |file| fs::write(file, "x").unwrap(), "is not a P-384 public key"),
    ];
    for (name, damage, words) in damages {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pki");
        Pki::create(&path).unwrap();
        damage(&path.join(name));
        let error = Pki::open(&path).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(name), "{name}: {error}");
    }
}

#[test]
fn authorities_of_two_deployments_cannot_be_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    Pki::create(&one).unwrap();
    Pki::create(&other).unwrap();
    for name in ["utility.cert.pem", "utility.key.pem"] {
        fs::copy(other.join(name), one.join(name)).unwrap();
    }
    let error = Pki::open(&one).unwrap_err().to_string();
    assert!(error.contains("utility.cert.pem is not signed by the root beside it"), "{error}");

    fs::copy(other.join("certification.key.pem"), one.join("certification.key.pem")).unwrap();
    fs::copy(other.join("utility.cert.pem"), other.join("root.cert.pem")).unwrap();
    assert!(Pki::open(&other).unwrap_err().to_string().contains("root.cert.pem is not signed"));
}

#[test]
fn an_unwritable_place_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = Pki::create(&dir.path().join("file/pki")).unwrap_err().to_string();
    assert!(error.contains("could not be created"), "{error}");
    assert_eq!(entries(dir.path()), ["file"]);
}
