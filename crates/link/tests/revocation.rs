//! CPA-MUT: a revoked certificate opens nothing: not in a full handshake, not in a resumed one, and a connection that
//! stands already ends at once, on both sides.
#![allow(clippy::unwrap_used, reason = "test helpers outside of #[test] functions")]

use std::path::Path;
use std::time::{Duration, SystemTime};

use meterseal_link::accept::{AcceptError, Accepted, handshake};
use meterseal_link::dial::{DialError, DialLimits, Dialled, Target, connect};
use meterseal_link::pki::{Certificate, Pki, Reason};
use meterseal_link::revocation::{self, End, ListError, Loaded, Revocations};
use meterseal_link::tls::{self, ClientProfile, PeerError, ServerProfile};
use meterseal_model::MeterId;
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn meter() -> MeterId {
    "MSL0000000001".parse().unwrap()
}

fn list(dir: &Path, name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(dir.join(format!("{name}.crl.pem"))).unwrap();
    revocation::list_from_pem(&text).unwrap()
}

async fn meet(
    server: &ServerProfile,
    client: &ClientProfile,
) -> (Result<Dialled, DialError>, Result<Accepted, AcceptError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target { address: listener.local_addr().unwrap().to_string(), headend: "north".into() };
    let accept = async {
        let (stream, address) = listener.accept().await.unwrap();
        let mut accepted = handshake(server, stream, address, PATIENCE).await?;
        // A byte after the handshake, so that the client has read its session ticket.
        // Where the client leaves, nobody reads it.
        let _ = accepted.stream.write_all(b"!").await;
        Ok(accepted)
    };
    let dial = async {
        let mut dialled = connect(&target, client, DialLimits::default()).await?;
        let mut byte = [0];
        let read = dialled.stream.read_exact(&mut byte).await;
        read.map_err(|error| DialError::Tls(tls::explain_io(&error)))?;
        Ok(dialled)
    };
    timeout(PATIENCE, async { tokio::join!(dial, accept) }).await.expect("neither side waits for ever")
}

#[tokio::test]
async fn a_revoked_meter_is_cut_off_at_once_and_comes_in_neither_anew_nor_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki")).unwrap();
    let server = tls::gateway_config(&pki.issue_headend("north").unwrap().identity().unwrap(), &pki.trust());
    let server = server.unwrap();
    let identity = pki.issue_meter(meter()).unwrap().identity().unwrap();
    let other = pki.issue_meter("MSL0000000002".parse().unwrap()).unwrap().identity().unwrap();
    let client = tls::meter_config(&identity, &pki.trust()).unwrap();

    let (first, standing) = meet(&server, &client).await;
    let (_first, mut standing) = (first.unwrap(), standing.unwrap());
    let (_, resumed) = meet(&server, &client).await;
    let kind = resumed.unwrap().stream.get_ref().1.handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Resumed), "the session can be resumed before");
    let (_second, neighbour) = meet(&server, &tls::meter_config(&other, &pki.trust()).unwrap()).await;
    let mut neighbour = neighbour.unwrap();

    assert!(pki.revoke(&identity.chain()[0], Reason::KeyCompromise).unwrap());
    let end = timeout(PATIENCE, standing.standing.ended()).await.expect("the standing connection ends");
    assert_eq!(end, End::Revoked);

    let (_, again) = meet(&server, &client).await;
    assert!(matches!(again, Err(AcceptError::Peer(PeerError::Revoked))), "resumed: {again:?}");
    let fresh = tls::meter_config(&identity, &pki.trust()).unwrap();
    let (dialled, again) = meet(&server, &fresh).await;
    assert_eq!(again.unwrap_err().to_string(), "its certificate was revoked");
    assert_eq!(
        dialled.unwrap_err().to_string(),
        "the head-end is not accepted: it refused us: our certificate was revoked"
    );

    let undisturbed = timeout(Duration::from_millis(50), neighbour.standing.ended()).await;
    assert!(undisturbed.is_err(), "the neighbour stays");
    assert!(!pki.revoke(&identity.chain()[0], Reason::Unspecified).unwrap(), "it was revoked before");
}

#[tokio::test]
async fn a_meter_leaves_a_revoked_headend_and_one_whose_authority_was_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki")).unwrap();
    let headend = pki.issue_headend("north").unwrap().identity().unwrap();
    // The gateway itself does not know: it is the meter that must leave.
    let careless = tls::Trust { revocations: Revocations::default(), ..pki.trust() };
    let server = tls::gateway_config(&headend, &careless).unwrap();
    let identity = pki.issue_meter(meter()).unwrap().identity().unwrap();
    let client = tls::meter_config(&identity, &pki.trust()).unwrap();
    let (dialled, _accepted) = meet(&server, &client).await;
    let mut dialled = dialled.unwrap();

    pki.revoke(&headend.chain()[0], Reason::KeyCompromise).unwrap();
    assert_eq!(timeout(PATIENCE, dialled.standing.ended()).await.unwrap(), End::Revoked);
    let (again, _) = meet(&server, &client).await;
    assert_eq!(again.unwrap_err().to_string(), "the head-end is not accepted: its certificate was revoked");
    let fresh = tls::meter_config(&identity, &pki.trust()).unwrap();
    let (again, _) = meet(&server, &fresh).await;
    assert_eq!(again.unwrap_err().to_string(), "the head-end is not accepted: its certificate was revoked");

    // Everything below an intermediate falls with it.
    let below = Certificate::read(&identity.chain()[0]).unwrap();
    assert!(!pki.trust().revocations.is_revoked(&below));
    pki.revoke(&identity.chain()[1], Reason::KeyCompromise).unwrap();
    assert!(pki.trust().revocations.is_revoked(&below));
}

#[test]
fn lists_are_taken_only_from_their_authority_and_never_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other_path) = (dir.path().join("pki"), dir.path().join("other"));
    let (pki, other) = (Pki::create(&path).unwrap(), Pki::create(&other_path).unwrap());
    let authorities = [pki.trust().meters, vec![pki.root().clone()]].concat();
    let revocations = Revocations::new(&authorities);
    let (empty, identity) =
        (list(&path, "manufacturer"), pki.issue_meter(meter()).unwrap().identity().unwrap());
    pki.revoke(&identity.chain()[0], Reason::KeyCompromise).unwrap();
    let full = list(&path, "manufacturer");

    let loaded = revocations.load(&full).unwrap();
    assert!(matches!(loaded, Loaded::New { number: 2, revoked: 1, .. }), "{loaded:?}");
    assert_eq!(revocations.load(&full), Ok(Loaded::Same));
    assert!(matches!(revocations.load(&empty), Err(ListError::Older { number: 1, known: 2, .. })));
    let certificate = Certificate::read(&identity.chain()[0]).unwrap();
    assert!(revocations.is_revoked(&certificate), "an old list undoes nothing");

    assert!(matches!(
        revocations.load(&list(&other_path, "manufacturer")),
        Err(ListError::UnknownIssuer { .. })
    ));
    assert_eq!(revocations.load(b"hello"), Err(ListError::Malformed));
    let mut refused = 0;
    for place in 0..full.len() {
        let mut damaged = full.clone();
        damaged[place] ^= 0x20;
        refused += usize::from(revocations.load(&damaged).is_err());
    }
    assert_eq!(refused, full.len(), "no byte of a list can be changed");
    drop(other);
}

#[test]
fn a_list_past_its_time_is_named_and_still_applied() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki")).unwrap();
    let identity = pki.issue_meter(meter()).unwrap().identity().unwrap();
    pki.revoke(&identity.chain()[0], Reason::Unspecified).unwrap();
    let revocations = pki.trust().revocations;
    assert_eq!(revocations.stale(SystemTime::now()), []);
    let next_week = SystemTime::now() + Duration::from_secs(8 * 24 * 3600);
    assert_eq!(revocations.stale(next_week).len(), 4);
    assert!(revocations.is_revoked(&Certificate::read(&identity.chain()[0]).unwrap()));
    pki.refresh(true).unwrap();
    assert!(
        revocations.is_revoked(&Certificate::read(&identity.chain()[0]).unwrap()),
        "and in the next list"
    );
}

#[tokio::test]
async fn what_the_command_line_revokes_reaches_whoever_watches_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pki");
    let pki = Pki::create(&path).unwrap();
    let identity = pki.issue_meter(meter()).unwrap().identity().unwrap();
    let certificate = Certificate::read(&identity.chain()[0]).unwrap();
    let revocations = Revocations::new(&pki.trust().meters);
    let watching = tokio::spawn(revocation::watch(path.clone(), revocations.clone()));
    // Another process opens the folder, revokes and goes.
    Pki::open(&path).unwrap().revoke(&identity.chain()[0], Reason::Superseded).unwrap();
    let seen = async {
        while !revocations.is_revoked(&certificate) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, seen).await.expect("the new list is noticed");
    watching.abort();
}

#[tokio::test]
async fn a_standing_connection_ends_with_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki")).unwrap();
    let server =
        tls::gateway_config(&pki.issue_headend("north").unwrap().identity().unwrap(), &pki.trust()).unwrap();
    let soon = meterseal_link::Validity {
        not_before: SystemTime::now() - Duration::from_secs(60),
        not_after: SystemTime::now() + Duration::from_secs(4),
    };
    let identity = pki.issue_meter_for(meter(), soon).unwrap().identity().unwrap();
    let (_dialled, accepted) = meet(&server, &tls::meter_config(&identity, &pki.trust()).unwrap()).await;
    let mut accepted = accepted.unwrap();
    let end = timeout(PATIENCE, accepted.standing.ended()).await.expect("it ends");
    assert!(matches!(end, End::Expired(_)), "{end:?}");
}
