//! CPA-FW from the command line: keys are made, packages signed, looked at, verified; whatever is wrong with them is said.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A folder to work in, with signers, a trust root and two images.
struct Place(tempfile::TempDir);

/// How a command ended: exit code, and what it printed on both.
struct Said(i32, String);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let old: Vec<u8> = (0..200_000u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut new = old.clone();
        new[100_000..100_020].fill(0x90);
        fs::write(place.path("old.bin"), old).unwrap();
        fs::write(place.path("new.bin"), new).unwrap();
        for name in ["anna", "ben"] {
            place.good(&["keygen", name]);
        }
        place.good(&[
            "trust",
            "--signer",
            "anna.pub.pem=root,release",
            "--signer",
            "ben.pub.pem=approval",
            "--approval",
            "1",
            "--key",
            "anna.key.pem",
            "--out",
            "trust.cbor",
        ]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meterseal"));
        let output = command.current_dir(self.0.path()).arg("firmware").args(arguments).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains("PRIVATE KEY"), "a key was printed: {said}");
        Said(output.status.code().unwrap(), said)
    }

    fn good(&self, arguments: &[&str]) -> String {
        let Said(code, said) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {said}");
        said
    }

    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let Said(found, said) = self.run(arguments);
        assert_eq!(found, code, "{arguments:?}: {said}");
        said
    }

    /// Signs an image or differences as anna and ben, who sit in different places.
    fn package(&self, command: &[&str], out: &str) -> String {
        let what = ["--device-type", "MS3", "--hardware", "A,B", "--release", "1.1.0", "--sequence", "11"];
        let half = format!("{out}.half");
        let said = self.good(&[command, &what, &["--key", "anna.key.pem", "--out", &half]].concat());
        self.good(&["cosign", &half, "--key", "ben.key.pem", "--out", out]);
        said
    }
}

fn flip(path: &Path, from_end: usize) {
    let mut bytes = fs::read(path).unwrap();
    let place = bytes.len() - from_end;
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_package_is_signed_by_two_in_different_places_and_verified() {
    let place = Place::new();
    assert_eq!(fs::metadata(place.path("anna.key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    place.package(&["sign", "new.bin"], "whole.msfw");
    let shown = place.good(&["inspect", "whole.msfw"]);
    assert!(shown.contains("sequence 11") && shown.contains("nothing of this is verified"), "{shown}");

    let said = place.good(&["verify", "whole.msfw", "--trust", "trust.cbor", "--unpack", "out.bin"]);
    assert!(said.contains("verified by trust root 1"), "{said}");
    assert_eq!(fs::read(place.path("out.bin")).unwrap(), fs::read(place.path("new.bin")).unwrap());

    let said = place.refused(1, &["verify", "whole.msfw.half", "--trust", "trust.cbor"]);
    assert!(said.contains("0 of 1 approval signatures that it takes"), "{said}");
    flip(&place.path("whole.msfw"), 1);
    let said = place.refused(1, &["verify", "whole.msfw", "--trust", "trust.cbor", "--json"]);
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(answer["verified"], false);
    assert!(answer["reason"].as_str().unwrap().contains("payload is not the one that was signed"), "{said}");
}

#[test]
fn differences_are_small_and_enciphered_packages_open_with_their_key_only() {
    let place = Place::new();
    place.good(&["keygen", "ms3", "--class"]);
    place.good(&["keygen", "other", "--class"]);
    let delta = ["delta", "--from", "old.bin", "new.bin", "--class-key", "ms3.class.key"];
    let said = place.package(&delta, "delta.msfw");
    let length = fs::metadata(place.path("delta.msfw")).unwrap().len();
    assert!(length < 20_000, "differences of one line: {length} bytes, most of them signatures: {said}");
    let verify = ["verify", "delta.msfw", "--trust", "trust.cbor"];
    assert!(place.good(&verify).contains("not unpacked: it is enciphered"));
    let with = |key, from| [&verify[..], &["--class-key", key, "--from", from]].concat();
    assert!(place.good(&with("ms3.class.key", "old.bin")).contains("it unpacks to its image"));
    assert!(place.refused(1, &with("other.class.key", "old.bin")).contains("another device class"));
    assert!(place.refused(1, &with("ms3.class.key", "new.bin")).contains("it needs the image"));
}

#[test]
fn a_key_that_the_next_root_leaves_out_is_revoked_and_roots_do_not_go_back() {
    let place = Place::new();
    place.package(&["sign", "new.bin"], "whole.msfw");
    place.good(&["keygen", "cleo"]);
    let next = ["trust", "--signer", "cleo.pub.pem=root,release", "--previous", "trust.cbor", "--out"];
    let said = place.good(&[&next[..], &["half.cbor", "--key", "cleo.key.pem"]].concat());
    assert!(said.contains("trust root 2") && said.contains("not yet good"), "{said}");
    let said =
        place.good(&[&next[..], &["two.cbor", "--key", "cleo.key.pem", "--key", "anna.key.pem"]].concat());
    assert!(!said.contains("not yet good"), "{said}");
    let said = place.refused(1, &["verify", "whole.msfw", "--trust", "two.cbor"]);
    assert!(said.contains("by a key that is not trusted, or no longer"), "{said}");
}

#[test]
fn the_wrong_file_is_named() {
    let place = Place::new();
    place.package(&["sign", "new.bin"], "whole.msfw");
    fs::write(place.path("empty"), []).unwrap();
    fs::write(place.path("notes.txt"), "an afternoon's notes").unwrap();
    let what =
        ["--device-type", "MS3", "--hardware", "A", "--release", "2", "--sequence", "12", "--out", "x.msfw"];
    for (image, words) in [
        ("whole.msfw", "is a package already"),
        ("trust.cbor", "is a trust root"),
        ("anna.key.pem", "is a PEM file, perhaps a key"),
        ("notes.txt", "is text"),
        ("empty", "is empty"),
        ("nowhere", "cannot read nowhere"),
    ] {
        let said = place.refused(2, &[&["sign", image, "--key", "anna.key.pem"], &what[..]].concat());
        assert!(said.contains(words) && said.lines().count() == 1, "{image}: {said}");
    }
    let said = place.refused(2, &[&["sign", "new.bin", "--key", "anna.pub.pem"], &what[..]].concat());
    assert!(said.contains("holds no signer's keys"), "{said}");
    assert!(!place.path("x.msfw").exists(), "nothing half-written");
    assert!(place.refused(2, &["keygen", "anna"]).contains("is there already"));
    assert!(
        place.refused(2, &["verify", "new.bin", "--trust", "trust.cbor"]).contains("no firmware package")
    );
    assert!(place.refused(2, &["verify", "whole.msfw", "--trust", "new.bin"]).contains("new.bin"));
}
