//! CPA-ENC and CPA-MUT on the running program: OpenSSL's client knocks on the gateway of `up`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Up, command};
use meterseal_link::pki::write_secret;

/// What `openssl s_client` says, with both of its streams. It ends when the gateway closes, or after two seconds.
fn knock(gateway: &str, options: &[&str]) -> String {
    let output = Command::new("timeout")
        .args(["2", "openssl", "s_client", "-ign_eof", "-connect", gateway])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn cpa_mut_openssl_is_let_in_with_a_meters_certificate_over_tls_1_3_and_never_otherwise() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: the `openssl` command is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let log_path = folder.path().join("log");
    let up = Up::start_by(command(&data).stderr(File::create(&log_path).unwrap()));
    up.wait_for_readings();

    let meter = data.join("meters/MSL0000000002");
    // OpenSSL takes a key in the clear: certificates and key in one file, outside the meter's folder.
    let own_key = folder.path().join("own.pem");
    write_secret(&own_key, &common::unsealed(&meter, "identity.sealed")).unwrap();
    let (own_certificate, own_key) = (text(&meter.join("certificate.pem")), text(&own_key));
    let own = ["-cert", &own_certificate, "-key", &own_key, "-cert_chain", &own_certificate];
    let foreign = foreign_certificate(folder.path());
    let foreign = ["-cert", &foreign.0, "-key", &foreign.1];

    let accepted = knock(&up.gateway, &own);
    assert!(accepted.contains("TLS_AES_256_GCM_SHA384"), "{accepted}");
    assert!(!accepted.contains("alert"), "{accepted}");

    for (options, why) in [
        (vec![], "it showed no certificate"),
        (foreign.to_vec(), "self-signed"),
        ([&own[..], &["-tls1_2"]].concat(), "it does not offer TLS 1.3"),
        (
            [&own[..], &["-ciphersuites", "TLS_AES_128_GCM_SHA256"]].concat(),
            "the cipher TLS_AES_256_GCM_SHA384",
        ),
        ([&own[..], &["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"]].concat(), "the cipher TLS_AES_256"),
        ([&own[..], &["-groups", "P-256"]].concat(), "neither X25519MLKEM768 nor secp384r1"),
    ] {
        let said = knock(&up.gateway, &options);
        assert!(said.contains("alert"), "{options:?} was not refused: {said}");
        // Each reason is said at once the first time, and then once a minute.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !fs::read_to_string(&log_path).unwrap().contains(why) {
            assert!(Instant::now() < deadline, "{options:?}: no word in the log on the {why}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let log = fs::read_to_string(&log_path).unwrap();
    assert_eq!(log.matches("the cipher TLS_AES_256_GCM_SHA384").count(), 1, "once a minute: {log}");
    TcpStream::connect(&up.gateway).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();

    // Nobody else was disturbed, and the meter whose name was borrowed came back.
    up.wait_for("/api/v1/meters", |meters| {
        meters.as_array()?.iter().all(|meter| meter["state"] == "online").then_some(())
    });
    assert!(up.interrupt().success());
}

/// A certificate with the right names from an authority that nobody trusts.
fn foreign_certificate(folder: &Path) -> (String, String) {
    let (certificate, key) = (text(&folder.join("foreign.pem")), text(&folder.join("foreign.key")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384"])
        .args(["-subj", "/CN=MSL0000000002", "-days", "2", "-out", &certificate, "-keyout", &key])
        .args([
            "-addext",
            "subjectAltName=URI:urn:meterseal:meter:MSL0000000002,DNS:msl0000000002.meter.invalid",
        ])
        .args(["-addext", "extendedKeyUsage=clientAuth"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
