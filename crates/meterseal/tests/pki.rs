//! CPA-MUT from the command line: identities are made, shown, renewed and revoked; a meter that is revoked while `up`
//! runs is cut off; OpenSSL reads what was made, and its requests are judged.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Up, refused};
use serde_json::Value;

/// `meterseal pki …`.
fn pki(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meterseal"));
    command.arg("pki").args(arguments);
    command
}

/// What it prints, when it succeeds.
fn said(arguments: &[&str]) -> String {
    let output = pki(arguments).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    assert!(!out.contains("PRIVATE KEY") && !err.contains("PRIVATE KEY"), "a key was printed");
    out
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn openssl(arguments: &[&str]) -> Option<String> {
    let output = Command::new("openssl").args(arguments).output().ok()?;
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn identities_are_made_listed_renewed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let (authorities, own) = (folder.path().join("pki"), folder.path().join("anna"));
    let at = ["--pki", text(&authorities)];
    said(&["init", text(&authorities)]);
    assert!(refused(&mut pki(&["init", text(&authorities)])).contains("is there already"));

    let issue = ["issue", "client", "anna", "--role", "installer,reader", "--out", text(&own)];
    let made = said(&[&issue[..], &at].concat());
    assert!(made.contains("client anna, roles reader,installer, serial "), "{made}");
    assert!(refused(pki(&issue).args(at)).contains("holds a key already"));
    let shown = said(&["show", text(&own.join("certificate.pem"))]);
    assert!(shown.contains("roles     reader, installer") && shown.contains("(valid)"), "{shown}");
    let other = folder.path().join("other");
    for (name, role, words) in [("Anna", "reader", "is no name"), ("anna", "public", "would have no role")] {
        let issue = ["issue", "client", name, "--role", role, "--out", text(&other)];
        assert!(refused(pki(&issue).args(at)).contains(words));
    }

    let before = fs::read_to_string(own.join("key.pem")).unwrap();
    said(&[&["renew", text(&own), "--revoke-old", "--days", "30"][..], &at].concat());
    assert_ne!(fs::read_to_string(own.join("key.pem")).unwrap(), before, "a new key");
    let list: Value = serde_json::from_str(&said(&[&["list", "--json"][..], &at].concat())).unwrap();
    let states: Vec<_> = list.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["revoked", "valid"]);
    assert_eq!(list[0]["roles"], list[1]["roles"], "a renewed one has the same roles");

    let serial = list[1]["serial"].as_str().unwrap();
    assert!(
        said(&[&["revoke", serial, "--reason", "key-compromise"][..], &at].concat()).starts_with("revoked: ")
    );
    assert!(said(&[&["revoke", serial][..], &at].concat()).starts_with("was revoked before: "));
    assert!(refused(pki(&["renew", text(&own)]).args(at)).contains("was revoked"));
    assert!(!said(&[&["list", "--valid"][..], &at].concat()).contains("anna"));
    assert!(refused(pki(&["revoke", "00ff"]).args(at)).contains("holds no certificate ff"));
    assert!(
        refused(pki(&["revoke", "no such"]).args(at)).contains("neither a certificate's file nor a serial")
    );

    // OpenSSL agrees on what was signed and what was revoked.
    let (root, utility) = (authorities.join("root.cert.pem"), authorities.join("utility.cert.pem"));
    let certificate = own.join("certificate.pem");
    let verify = ["verify", "-CAfile", text(&root), "-untrusted", text(&utility), text(&certificate)];
    let Some(verified) = openssl(&verify) else {
        println!("skipped: the `openssl` command is not installed");
        return;
    };
    assert!(verified.contains("OK"), "{verified}");
    let list = authorities.join("utility.crl.pem");
    let verify = [&["verify", "-crl_check", "-CRLfile", text(&list)], &verify[1..]].concat();
    let verified = openssl(&verify).unwrap();
    assert!(verified.contains("certificate revoked"), "{verified}");
}

#[test]
fn a_request_is_signed_only_for_the_meter_that_holds_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let (authorities, key) = (folder.path().join("pki"), folder.path().join("key"));
    let (request, out) = (folder.path().join("request.pem"), folder.path().join("operational.pem"));
    let curve = "ec_paramgen_curve:P-384";
    if openssl(&["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", text(&key)]).is_none() {
        println!("skipped: the `openssl` command is not installed");
        return;
    }
    said(&["init", text(&authorities)]);
    let ask = |subject: &str, extension: &str| {
        let arguments = [
            "req",
            "-new",
            "-sha384",
            "-key",
            text(&key),
            "-subj",
            subject,
            "-addext",
            extension,
            "-out",
            text(&request),
        ];
        openssl(&arguments).unwrap();
    };
    let sign = |meter: &str| {
        let mut command = pki(&["sign-request", text(&request), "--meter", meter, "--out", text(&out)]);
        command.args(["--pki", text(&authorities)]);
        command
    };
    let own = "subjectAltName=URI:urn:meterseal:meter:MSL0000000001";
    ask("/CN=MSL0000000001", own);
    assert!(sign("MSL0000000001").status().unwrap().success());
    assert!(said(&["show", text(&out)]).contains("meter     MSL0000000001"));
    let verified = openssl(&[
        "verify",
        "-CAfile",
        text(&authorities.join("root.cert.pem")),
        "-untrusted",
        text(&out),
        text(&out),
    ]);
    assert!(verified.unwrap().contains("OK"));

    assert!(refused(&mut sign("MSL0000000002")).contains("is for MSL0000000001, but MSL0000000002"));
    ask("/CN=MSL0000000001", "subjectAltName=URI:urn:meterseal:headend:north");
    assert!(refused(&mut sign("MSL0000000001")).contains("is for urn:meterseal:headend:north"));
    ask("/CN=MSL0000000001", own);
    let mut der = pem_body(&fs::read_to_string(&request).unwrap());
    let last = der.len() - 3;
    der[last] ^= 1;
    fs::write(&request, &der).unwrap();
    assert!(refused(&mut sign("MSL0000000001")).contains("does not hold the private half"));
    fs::write(&request, b"hello").unwrap();
    assert!(refused(&mut sign("MSL0000000001")).contains("is no certification request"));
    let weak = folder.path().join("weak");
    openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", text(&weak)]).unwrap();
    openssl(&["req", "-new", "-key", text(&weak), "-subj", "/CN=MSL0000000001", "-out", text(&request)])
        .unwrap();
    assert!(refused(&mut sign("MSL0000000001")).contains("not of P-384"), "{curve}");
}

/// The bytes between a PEM file's two labels.
fn pem_body(pem: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (text_file, der) = (folder.path().join("pem"), folder.path().join("der"));
    fs::write(&text_file, pem).unwrap();
    openssl(&["req", "-in", text(&text_file), "-outform", "DER", "-out", text(&der)]).unwrap();
    fs::read(der).unwrap()
}

#[test]
fn a_meter_that_is_revoked_while_up_runs_is_cut_off_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = Up::start(&data);
    up.wait_for_readings();
    // What it calls with since it was enrolled; that of its manufacturer stays, and lets nobody read it.
    let listed = said(&["list", "--json", "--pki", text(&data.join("pki"))]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let operational = |one: &&Value| {
        one["name"] == "MSL0000000002"
            && one["issuer"].as_str().is_some_and(|issuer| issuer.contains("utility"))
    };
    let own: Vec<_> = listed.as_array().unwrap().iter().filter(operational).collect();
    assert_eq!(own.len(), 1, "{listed}");
    said(&["revoke", own[0]["serial"].as_str().unwrap(), "--pki", text(&data.join("pki"))]);
    let state = |place: usize| move |meters: &Value| meters[place]["state"].as_str().map(str::to_owned);
    let reason = up.wait_for("/api/v1/meters", |meters| {
        let meter = &meters[1];
        (meter["state"] == "refused").then(|| meter["state_reason"].as_str().unwrap().to_owned())
    });
    // It tries the other one soon.
    let why = ["its certificate was revoked", "run `meterseal headend enrol MSL0000000002`"];
    assert!(why.iter().any(|why| reason.contains(why)), "{reason}");
    for other in [0, 2] {
        assert_eq!(up.wait_for("/api/v1/meters", state(other)), "online");
    }
    // It stays out over a restart, too.
    assert!(up.interrupt().success());
    let up = Up::start(&data);
    up.wait_for("/api/v1/meters", |meters| {
        [0, 2].iter().all(|&other| meters[other]["state"] == "online").then_some(())
    });
    assert_eq!(up.wait_for("/api/v1/meters", state(1)), "refused");
    assert!(up.interrupt().success());
}
