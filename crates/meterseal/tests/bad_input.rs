//! Issue 2, bad input of `up`: one clear line that says what, where and what to do, exit code 2, nothing changed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use common::{Up, command, refused};

#[test]
fn a_port_in_use_is_named_with_the_option_that_changes_it() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["--listen", "--gateway"] {
        let other = if option == "--listen" { "--gateway" } else { "--listen" };
        let mut command = Command::new(env!("CARGO_BIN_EXE_meterseal"));
        command
            .args(["up", option, &address, other, "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"));
        let said = refused(&mut command);
        assert!(said.contains(&address) && said.contains("in use") && said.contains(option), "{said}");
    }
}

#[test]
fn the_page_does_not_leave_the_loopback_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_meterseal"));
    command.args(["up", "--listen", "0.0.0.0:0", "--gateway", "127.0.0.1:0", "--data"]);
    let said = refused(command.arg(folder.path().join("data")));
    assert!(said.contains("0.0.0.0:0") && said.contains("loopback"), "{said}");
}

#[test]
fn a_data_folder_that_is_not_ours_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("VERSION"), "meterseal-data 99\n").unwrap();
    let said = refused(&mut command(folder.path()));
    assert!(said.contains("meterseal-data 99") && said.contains("--data"), "{said}");
    fs::rename(folder.path().join("VERSION"), folder.path().join("letters.txt")).unwrap();
    let said = refused(&mut command(folder.path()));
    assert!(said.contains("not a Meterseal data folder"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_in_use_is_refused_while_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = Up::start(&data);
    let said = refused(&mut command(&data));
    assert!(said.contains("in use"), "{said}");
    assert!(first.interrupt().success());
    assert!(Up::start(&data).interrupt().success());
}

#[test]
fn damaged_files_in_the_data_folder_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(Up::start(&data).interrupt().success());
    for file in [
        "meters/MSL0000000002/flash.bin",
        "meters/MSL0000000002/dlms.sealed",
        "meters/MSL0000000002/identity.sealed",
        "headend/keys.sealed",
        "time/keys.sealed",
        "headend/headend.sqlite",
        "pki/root.cert.pem",
    ] {
        let path = data.join(file);
        let sound = fs::read(&path).unwrap();
        fs::write(&path, b"not what belongs here").unwrap();
        let said = refused(&mut command(&data));
        assert!(said.contains(file), "{file}: {said}");
        fs::write(&path, sound).unwrap();
    }
    // A copy for others, which is made true again.
    let copy = data.join("headend/certificate.pem");
    let sound = fs::read(&copy).unwrap();
    fs::write(&copy, b"not what belongs here").unwrap();
    assert!(Up::start(&data).interrupt().success());
    assert_eq!(fs::read(&copy).unwrap(), sound);
}

#[test]
fn a_recording_that_cannot_be_replayed_stops_up_before_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let missing = folder.path().join("nothing.cfg");
    let said = refused(command(&data).arg("--recording").arg(&missing));
    assert!(said.contains("nothing.cfg"), "{said}");
    assert!(!data.exists());
}
