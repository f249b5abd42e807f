//! CPA: keys of a running `up` are neither in its log, however much it says, nor in the clear in its meters' folders.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use std::fs::{self, File};
use std::path::Path;

use common::{Up, command, unsealed};
use meterseal_link::keys::DeviceSecret;

/// The private numbers in a key store: what stands behind each PKCS#8's octet string of 48 bytes (RFC 5915).
fn operational_keys(sealed: &Path, secret: &Path, device: &str) -> Vec<Vec<u8>> {
    let secret = DeviceSecret::open_or_create(secret).unwrap();
    let context = format!("meterseal key store of {device}");
    let plain = secret.open(&context, &fs::read(sealed).unwrap()).unwrap();
    let begins = |at: &usize| plain[*at..].starts_with(&[0x02, 0x01, 0x01, 0x04, 0x30]);
    (0..plain.len()).filter(begins).map(|at| plain[at + 5..at + 53].to_vec()).collect()
}

/// A key raw, in hexadecimal digits, as a list of decimal numbers, and in base64 at each of three alignments.
fn forms_of(key: &[u8]) -> Vec<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hex: String = key[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    let decimal = format!("{:?}", &key[..12]);
    let mut forms = vec![
        key[..12].to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        decimal.trim_matches(['[', ']']).as_bytes().to_vec(),
    ];
    for skip in 0..3 {
        let base64 = key[skip..skip + 12].chunks(3).flat_map(|group| {
            let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
            [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift) as usize & 63])
        });
        forms.push(base64.collect());
    }
    forms
}

#[test]
fn keys_are_neither_in_a_log_at_trace_nor_in_the_clear_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let log_path = folder.path().join("log");
    let log = File::create(&log_path).unwrap();
    let up = Up::start_by(command(&data).env("RUST_LOG", "trace").stderr(log));
    up.wait_for_readings();
    assert!(up.interrupt().success());

    let log = fs::read(&log_path).unwrap();
    let holds = |content: &[u8], secret: &[u8]| content.windows(secret.len()).any(|window| window == secret);
    assert!(holds(&log, b"INFO"), "the log says no more than without being asked");

    for meter in fs::read_dir(data.join("meters")).unwrap() {
        let meter = meter.unwrap().path();
        let digits = String::from_utf8(unsealed(&meter, "dlms.sealed")).unwrap();
        let bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect();
        let identity = String::from_utf8(unsealed(&meter, "identity.sealed")).unwrap();
        let (_, key) = identity.split_once("-----BEGIN PRIVATE KEY-----").unwrap();
        // The first lines of a PKCS#8 key, without its public half: the secret number lies in them (RFC 5915).
        let key_lines: Vec<_> = key.trim().lines().take(2).collect();
        let secret = fs::read(meter.join("device.secret")).unwrap();
        let kek = String::from_utf8(unsealed(&meter, "key-encryption.sealed")).unwrap();

        let mut forms: Vec<Vec<u8>> = key_lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        forms.push(kek.into_bytes());
        // The private numbers of every key that the meter made itself, as they lie in its key store.
        let name = meter.file_name().unwrap().to_str().unwrap().to_owned();
        let own = operational_keys(&meter.join("keys.sealed"), &meter.join("device.secret"), &name);
        assert!(!own.is_empty(), "{name} was enrolled");
        forms.extend(own.iter().flat_map(|key| forms_of(key)));
        for key in [&bytes[..32], &bytes[32..], &secret[..]] {
            let hex: String = key[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            let decimal = format!("{:?}", &key[..8]);
            let listed = decimal.trim_matches(['[', ']']).to_owned();
            forms.extend([
                key[..8].to_vec(),
                hex.to_uppercase().into_bytes(),
                hex.into_bytes(),
                listed.into_bytes(),
            ]);
        }
        for form in &forms {
            assert!(!holds(&log, form), "a key of {} is in the log", meter.display());
        }
        let names = fs::read_dir(&meter).unwrap().map(|file| file.unwrap().path());
        for path in names.filter(|path| !path.ends_with("device.secret")) {
            let content = fs::read(&path).unwrap();
            for form in &forms {
                assert!(!holds(&content, form), "a key is in the clear in {}", path.display());
            }
        }
    }
}
