//! A meter without a clock: it takes time that its utility signed for its own nonce, judges the head-end's certificate
//! by it, and never goes back before what it has sealed.
#![allow(clippy::unwrap_used, reason = "test helpers outside of #[test] functions")]

use std::time::{Duration, SystemTime};

use meterseal_link::accept::{AcceptError, Accepted, handshake};
use meterseal_link::dial::{DialError, DialLimits, Dialled, Target, connect};
use meterseal_link::opening::TimeSource;
use meterseal_link::pki::{IssuedIdentity, Pki, Reason, Validity};
use meterseal_link::revocation::Revocations;
use meterseal_link::tls::{self, ClientProfile, MeterClock, ServerProfile, Trust};
use meterseal_model::MeterId;
use tokio::net::TcpListener;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

fn meter() -> MeterId {
    "MSL0000000001".parse().unwrap()
}

struct Utility {
    _dir: tempfile::TempDir,
    pki: Pki,
}

impl Utility {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::create(&dir.path().join("pki")).unwrap();
        Self { _dir: dir, pki }
    }

    fn time(&self, issued: &IssuedIdentity) -> TimeSource {
        let dir = tempfile::tempdir().unwrap();
        issued.save(dir.path()).unwrap();
        TimeSource::load(dir.path()).unwrap()
    }

    fn gateway(&self, headend: &IssuedIdentity, time: &IssuedIdentity) -> ServerProfile {
        tls::gateway_config(&headend.identity().unwrap(), &self.pki.trust())
            .unwrap()
            .with_time(self.time(time))
    }

    /// A meter that knows nothing but a floor, and no list of revoked certificates.
    fn meter(&self, clock: &MeterClock) -> (ClientProfile, Revocations) {
        let trust = self.pki.trust();
        let revocations = trust.revocations.separate();
        let trust = Trust { revocations: revocations.clone(), ..trust };
        let identity = self.pki.issue_meter(meter()).unwrap().identity().unwrap();
        (tls::meter_config_with(&identity, &trust, clock).unwrap(), revocations)
    }
}

fn from_now(before: Duration, length: Duration) -> Validity {
    let not_before = SystemTime::now() - before;
    Validity { not_before, not_after: not_before + length }
}

fn long_ago() -> MeterClock {
    MeterClock::unset(SystemTime::now() - 24 * 365 * HOUR)
}

async fn meet(
    server: &ServerProfile,
    client: &ClientProfile,
) -> (Result<Dialled, DialError>, Result<Accepted, AcceptError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target { address: listener.local_addr().unwrap().to_string(), headend: "north".into() };
    let accept = async {
        let (stream, address) = listener.accept().await.unwrap();
        handshake(server, stream, address, PATIENCE).await
    };
    let dial = connect(&target, client, DialLimits::default());
    timeout(PATIENCE, async { tokio::join!(dial, accept) }).await.expect("neither side waits for ever")
}

#[tokio::test]
async fn a_meter_without_a_clock_learns_the_time_and_what_was_revoked() {
    let utility = Utility::new();
    let pki = &utility.pki;
    let (headend, time) =
        (pki.issue_headend("north").unwrap(), pki.issue_time("t", from_now(HOUR, 2 * HOUR)).unwrap());
    let south = pki.issue_headend("south").unwrap().identity().unwrap();
    pki.revoke(&south.chain()[0], Reason::KeyCompromise).unwrap();
    let clock = long_ago();
    let (client, revocations) = utility.meter(&clock);
    assert!(!revocations.is_revoked(&south.certificate().unwrap()));
    let (dialled, accepted) = meet(&utility.gateway(&headend, &time), &client).await;
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    assert_eq!(accepted.meter, meter());
    assert_eq!(dialled.stream.get_ref().1.alpn_protocol(), Some(tls::ALPN_OPENING));
    assert_eq!(dialled.roles.to_string(), "utility,firmware");
    let now = clock.now().expect("the clock is set");
    let error = SystemTime::now().duration_since(now).unwrap_or_else(|ahead| ahead.duration());
    assert!(error < Duration::from_secs(20), "{error:?}");
    assert!(clock.floor() <= now);
    assert!(revocations.is_revoked(&south.certificate().unwrap()), "the list came with the opening");
}

#[tokio::test]
async fn an_expired_headend_is_found_out_by_the_signed_time_although_the_floor_would_let_it_in() {
    let utility = Utility::new();
    let pki = &utility.pki;
    let time = pki.issue_time("t", from_now(HOUR, 2 * HOUR)).unwrap();
    let expired = pki.issue_headend_for("north", from_now(2 * HOUR, HOUR)).unwrap();
    let (client, _) = utility.meter(&long_ago());
    let (dialled, _) = meet(&utility.gateway(&expired, &time), &client).await;
    let reason = dialled.unwrap_err().to_string();
    assert!(reason.contains("is not now"), "{reason}");

    // A floor after the certificate's end needs no signed time.
    let (client, _) = utility.meter(&MeterClock::unset(SystemTime::now() - HOUR / 2));
    let (dialled, _) = meet(&utility.gateway(&expired, &time), &client).await;
    assert!(dialled.unwrap_err().to_string().contains("expired at"));
}

#[tokio::test]
async fn time_is_believed_only_from_a_valid_time_source_and_never_goes_back() {
    let utility = Utility::new();
    let (pki, other) = (&utility.pki, Utility::new());
    let headend = pki.issue_headend("north").unwrap();
    let day = from_now(HOUR, 24 * HOUR);
    for (time, words) in [
        (pki.issue_time("old", from_now(2 * HOUR, HOUR)).unwrap(), "not signed by a time source"),
        (other.pki.issue_time("t", day).unwrap(), "not signed by a time source"),
    ] {
        let clock = long_ago();
        let (client, _) = utility.meter(&clock);
        let (dialled, _) = meet(&utility.gateway(&headend, &time), &client).await;
        let reason = dialled.unwrap_err().to_string();
        assert!(reason.contains(words), "{reason}");
        assert!(!clock.is_set());
    }
    let revoked = pki.issue_time("stolen", day).unwrap();
    pki.revoke(&revoked.identity().unwrap().chain()[0], Reason::KeyCompromise).unwrap();
    let (client, _) = utility.meter(&long_ago());
    let (dialled, _) = meet(&utility.gateway(&headend, &revoked), &client).await;
    assert!(dialled.unwrap_err().to_string().contains("not revoked"));

    let time = pki.issue_time("t", day).unwrap();
    let clock = MeterClock::unset(SystemTime::now() + HOUR);
    let (client, _) = utility.meter(&clock);
    let (dialled, _) = meet(&utility.gateway(&headend, &time), &client).await;
    assert!(dialled.unwrap_err().to_string().contains("sealed here already"));
    assert!(!clock.is_set());
}

#[tokio::test]
async fn a_headend_without_a_time_source_is_left_and_a_headends_own_key_signs_no_time() {
    let utility = Utility::new();
    let headend = utility.pki.issue_headend("north").unwrap();
    let server = tls::gateway_config(&headend.identity().unwrap(), &utility.pki.trust()).unwrap();
    let (client, _) = utility.meter(&long_ago());
    let (dialled, _) = meet(&server, &client).await;
    assert!(dialled.unwrap_err().to_string().contains("does not give signed time"));

    let dir = tempfile::tempdir().unwrap();
    headend.save(dir.path()).unwrap();
    assert!(TimeSource::load(dir.path()).unwrap_err().to_string().contains("is not that of a time source"));
    let key = meterseal_seal::SealKey::from_pkcs8_pem(headend.key_pem()).unwrap();
    let forged = TimeSource::new(headend.identity().unwrap().chain().to_vec(), Box::new(key));
    let (dialled, _) = meet(&server.with_time(forged), &client).await;
    assert!(dialled.unwrap_err().to_string().contains("not signed by a time source"));
}
