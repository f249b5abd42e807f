//! CPA-BILL: `meterseal bill` and `meterseal log export` from a head-end's store, also while it is in use, and what
//! `meterseal verify` says of what they made, before and after somebody altered the database.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use meterseal_headend::store::{LeafContent, MeterRecord, Proof, Store};
use meterseal_model::{MeterId, TimeBase, UnixMillis};
use meterseal_seal::evidence::{Export, Statement, Trust};
use meterseal_seal::log::Checkpoint;

fn sample(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../seal/tests/files").join(name)).unwrap()
}

fn meter() -> MeterId {
    "MSL0000000001".parse().unwrap()
}

/// A head-end's store that has read the log of `log.cbor`; `alter` may alter the leaves that come in.
async fn read_log(data: &Path) -> Store {
    let store = Store::open(&data.join("headend")).await.unwrap();
    let record = MeterRecord {
        id: meter(),
        name: "home".to_owned(),
        site: "here".to_owned(),
        is_virtual: true,
        time_base: TimeBase::Wall,
    };
    store.register(record).await.unwrap();
    let origin = Statement::decode(&sample("statement.cbor")).unwrap().origin;
    let mut leaves = Vec::new();
    Export::verify(&sample("log.cbor"), &Trust::default(), &mut |leaf| {
        leaves.push(LeafContent::Bytes(leaf.encode()));
    })
    .unwrap();
    store.pin_log(meter(), origin.log, origin.key.to_der(), origin.chain.clone()).await.unwrap();
    store.append_leaves(meter(), 0, leaves).await.unwrap();
    let signed = sample("checkpoint.cbor");
    let checkpoint = *Checkpoint::verify(&signed, &[origin.key]).unwrap().checkpoint();
    let proof = store.prove_leaves(meter(), checkpoint, signed, UnixMillis(0)).await.unwrap();
    assert_eq!(proof, Proof::Proven);
    store
}

fn meterseal(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_meterseal")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("bill.cbor"), folder.join("log.cbor"))
}

#[tokio::test]
async fn a_bill_and_a_log_are_made_while_the_store_is_in_use_and_hold() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let store = read_log(&data).await;
    let (bill, log) = paths(folder.path());
    let id = "MSL0000000001";
    let period = ["--from", "2026-10-01", "--to", "2026-10-03"];
    let source = |out| ["--data", text(&data), "--meter", id, "--out", text(out)];
    let (code, said) = meterseal(&[&["bill"][..], &source(&bill), &period].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("from 2026-10-01T00:00:00Z to 2026-10-03T00:00:00Z"), "{said}");
    let (code, said) = meterseal(&["verify", "bill", text(&bill)]);
    assert!(code == Some(0) && said.contains("15.000000 kWh"), "{said}");
    let (code, said) = meterseal(&[&["log", "export"][..], &source(&log), &["--without-intervals"]].concat());
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = meterseal(&["verify", "log", text(&log)]);
    assert!(code == Some(0) && said.contains("What 96 entries say"), "{said}");
    // Neither is overwritten, and each refusal says why.
    let (code, said) = meterseal(&[&["log", "export"][..], &source(&log)].concat());
    assert!(code == Some(2) && said.contains("cannot write"), "{said}");
    let other = folder.path().join("other.cbor");
    for (arguments, why) in [
        (["--meter", id, "--from", "2026-09-01", "--to", "2026-10-03"], "no reading stands for"),
        (
            ["--meter", "MSL0000000009", "--from", "2026-10-01", "--to", "2026-10-03"],
            "has not read a sealed log",
        ),
    ] {
        let rest = ["bill", "--data", text(&data), "--out", text(&other)];
        let (code, said) = meterseal(&[&rest[..], &arguments].concat());
        assert!(code == Some(2) && said.contains(why), "{said}");
        assert!(!other.exists());
    }
    store.close().await;
}

#[tokio::test]
async fn an_operator_who_edits_the_database_makes_no_bill_that_holds() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    read_log(&data).await.close().await;
    let database = rusqlite::Connection::open(data.join("headend/headend.sqlite")).unwrap();
    let (bill, log) = paths(folder.path());
    let id = "MSL0000000001";
    let source = |out| ["--data", text(&data), "--meter", id, "--out", text(out)];
    // Another's interval in the place of one, with the hash that it has: as a database tool would do it.
    database
        .execute("UPDATE leaf SET (bytes, hash) = (SELECT bytes, hash FROM leaf WHERE sequence = 30) WHERE sequence = 31", [])
        .unwrap();
    let (code, said) =
        meterseal(&[&["bill", "--from", "2026-10-01", "--to", "2026-10-03"][..], &source(&bill)].concat());
    assert!(code == Some(2) && said.contains("not in the log that the meter signed"), "{said}");
    assert!(!bill.exists());
    let (code, said) = meterseal(&[&["log", "export"][..], &source(&log)].concat());
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = meterseal(&["verify", "log", text(&log)]);
    assert!(code == Some(1) && said.contains("deleted, inserted or reordered"), "{said}");
    // And a row deleted.
    database.execute("DELETE FROM leaf WHERE sequence = 31", []).unwrap();
    let shorter = folder.path().join("shorter.cbor");
    let (code, said) = meterseal(&[&["log", "export"][..], &source(&shorter)].concat());
    assert!(code == Some(2) && said.contains("entries of the log are missing"), "{said}");
    assert!(!shorter.exists());
}
