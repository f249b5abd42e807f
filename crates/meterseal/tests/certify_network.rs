//! `meterseal certify` on a meter of `meterseal up` over TLS: logging in by the files of a role's folder, results that persons give, evidence in which one
//! altered byte shows, and what is refused.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::Up;

fn meterseal(line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meterseal")).args(line).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[test]
fn a_running_meter_over_tls_with_a_persons_result_and_evidence_that_cannot_be_altered() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut up = Up::start_with(&data, &["--local-port", "0"]);
    up.line();
    let line = up.line();
    let (meter, address) = line.strip_prefix("local     ").and_then(|rest| rest.split_once(" at ")).unwrap();
    let profile = |name: &str, access: &str| {
        let text = format!(
            "hardware = \"rev. A\"\n[network]\nmeter = \"{meter}\"\naccess = \"{access}\"\nclient = \"bench\"\n"
        );
        std::fs::write(folder.path().join(name), text).unwrap();
        path(folder.path(), name)
    };
    let sound = profile("target.toml", "data/access");
    std::fs::write(folder.path().join("photo.txt"), "what was seen").unwrap();
    let manual = path(folder.path(), "manual.toml");
    let result = "[[result]]\nid = \"EXT-01\"\noutcome = \"passed\"\nwho = \"A. Person\"\nwhen = \"2026-11-30\"\nwords = \"read the maker's evidence\"\n\
                  attachments = [\"photo.txt\"]\n";
    std::fs::write(&manual, result).unwrap();
    let out = path(folder.path(), "out");
    let command = [
        "certify",
        "--target",
        address,
        "--profile",
        &sound,
        "--out",
        &out,
        "--reduced",
        "--only",
        "EXT,ACC-01",
    ];
    let first = meterseal(&[&command[..], &["--manual", &manual]].concat());
    let said = text(&first);
    // Without instruments nothing is tested: that is no pass, whatever a person says.
    assert_eq!(first.status.code(), Some(2), "{said}");
    assert!(said.contains("INSPECTED   EXT-01: by A. Person, passed"), "{said}");
    assert!(said.contains("0 passed, 1 by a person's word"), "{said}");
    assert!(said.contains("ACC-01: the bench has no source"), "{said}");
    let html = std::fs::read_to_string(Path::new(&out).join("report.html")).unwrap();
    assert!(html.contains("passed, inspected by A. Person") && html.contains(meter), "the report says both");

    // The same again goes on; another run's folder is refused.
    assert_eq!(meterseal(&command).status.code(), Some(2));
    let first = meterseal(&[&command[..], &["--manual", &manual]].concat());
    assert_eq!(first.status.code(), Some(2));
    let other = meterseal(&[&command[..], &["--seed", "9"]].concat());
    assert!(
        other.status.code() == Some(2) && text(&other).contains("name another folder"),
        "{}",
        text(&other)
    );

    // Every file of the evidence, one byte.
    assert_eq!(
        meterseal(&["verify", &out]).status.code(),
        Some(0),
        "{}",
        text(&meterseal(&["verify", &out]))
    );
    assert_eq!(meterseal(&["verify", &path(Path::new(&out), "run.cbor")]).status.code(), Some(0));
    let attachment =
        std::fs::read_dir(Path::new(&out).join("attachments")).unwrap().next().unwrap().unwrap().path();
    let names = ["results.cbor", "report.json", "report.html", "report.pdf", "run.cbor"];
    for file in names.map(|name| Path::new(&out).join(name)).into_iter().chain([attachment]) {
        let bytes = std::fs::read(&file).unwrap();
        let mut altered = bytes.clone();
        altered[bytes.len() / 2] ^= 1;
        std::fs::write(&file, altered).unwrap();
        let checked = meterseal(&["verify", &out]);
        assert_eq!(checked.status.code(), Some(1), "{}: {}", file.display(), text(&checked));
        assert!(text(&checked).contains("ALTERED"), "{}", text(&checked));
        std::fs::write(&file, bytes).unwrap();
    }
    assert_eq!(meterseal(&["verify", &out]).status.code(), Some(0));

    // A certificate of other authorities than the meter's, and a meter of other authorities than ours.
    let stranger = folder.path().join("stranger");
    let mut other = Up::start_with(&stranger, &["--local-port", "0"]);
    other.line();
    drop(other);
    let access = profile("stranger.toml", "stranger/access");
    let refused = |profile: &str, out: &str| {
        let line = ["certify", "--target", address, "--profile", profile, "--out", out, "--only", "EXT-01"];
        let output = meterseal(&line);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        text(&output)
    };
    assert!(refused(&access, &path(folder.path(), "o1")).contains("not accepted"));
    let own = folder.path().join("stranger/access/bench/authorities.pem");
    std::fs::copy(data.join("access/bench/authorities.pem"), own).unwrap();
    let said = refused(&access, &path(folder.path(), "o2"));
    assert!(said.contains("certificate"), "{said}");

    // What makes no sense is said at once.
    for (line, why) in [
        (vec!["--soak"], "real time"),
        (vec!["--manual", "/nowhere.toml"], "nowhere"),
        (vec!["--profile", "/nowhere.toml"], "nowhere"),
    ] {
        let mut all = vec!["certify", "--target", address, "--out", "o3"];
        all.extend(&line);
        if !line.contains(&"--profile") {
            all.extend(["--profile", &sound]);
        }
        let output = meterseal(&all);
        assert!(output.status.code() == Some(2) && text(&output).contains(why), "{}", text(&output));
    }
    let output = meterseal(&["certify", "--target", "http://x", "--out", "o3"]);
    assert!(output.status.code() == Some(2) && text(&output).contains("no target"), "{}", text(&output));
}
