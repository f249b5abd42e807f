//! CPA-ENC and CPA-MUT: who is let in and who is not, with our own two ends and with OpenSSL as an independent peer
//! (its tests are skipped, with a message, where there is no `openssl`).
#![allow(clippy::unwrap_used, reason = "test helpers outside of #[test] functions")]

#[path = "tls/forge.rs"]
mod forge;
#[path = "tls/openssl.rs"]
mod openssl;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use forge::Forged;
use meterseal_link::accept::{AcceptError, Accepted, handshake};
use meterseal_link::dial::{DialError, DialLimits, Dialled, Target, connect};
use meterseal_link::pki::{Identity, IssuedIdentity, Pki, Reason, Validity};
use meterseal_link::tls::{self, ClientProfile, PeerError, ServerProfile, Trust};
use meterseal_model::MeterId;
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(5);

fn meter() -> MeterId {
    "MSL0000000001".parse().unwrap()
}

fn pki(dir: &Path) -> Pki {
    Pki::create(&dir.join("pki")).unwrap()
}

fn gateway(pki: &Pki) -> ServerProfile {
    tls::gateway_config(&pki.issue_headend("north").unwrap().identity().unwrap(), &pki.trust()).unwrap()
}

fn meter_side(identity: &Identity, trust: &Trust) -> ClientProfile {
    tls::meter_config(identity, trust).unwrap()
}

/// One handshake between our two ends: what the meter sees and what the gateway sees.
async fn meet(
    server: ServerProfile,
    client: ClientProfile,
    headend: &str,
) -> (Result<Dialled, DialError>, Result<Accepted, AcceptError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target { address: listener.local_addr().unwrap().to_string(), headend: headend.to_owned() };
    let accept = async {
        let (stream, address) = listener.accept().await.unwrap();
        let mut accepted = handshake(&server, stream, address, DEADLINE).await?;
        // A byte after the handshake, so that the client has read its session ticket.
        accepted.stream.write_all(b"!").await.unwrap();
        Ok(accepted)
    };
    let dial = async {
        let mut dialled = connect(&target, &client, DialLimits::default()).await?;
        let mut byte = [0];
        dialled
            .stream
            .read_exact(&mut byte)
            .await
            .map_err(|error| DialError::Tls(tls::explain_io(&error)))?;
        Ok(dialled)
    };
    timeout(2 * DEADLINE, async { tokio::join!(dial, accept) }).await.expect("neither side waits for ever")
}

fn seconds_from_now(from: i64, until: i64) -> Validity {
    let at = |offset: i64| {
        let now = SystemTime::now();
        if offset < 0 {
            now - Duration::from_secs(offset.unsigned_abs())
        } else {
            now + Duration::from_secs(offset as u64)
        }
    };
    Validity { not_before: at(from), not_after: at(until) }
}

#[tokio::test]
async fn a_meter_and_its_headend_accept_each_other_with_the_strongest_of_everything() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let identity = pki.issue_meter(meter()).unwrap().identity().unwrap();
    let (dialled, accepted) = meet(gateway(&pki), meter_side(&identity, &pki.trust()), "north").await;
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    assert_eq!(accepted.meter, meter());
    for state in [&**dialled.stream.get_ref().1 as &rustls::CommonState, accepted.stream.get_ref().1] {
        assert_eq!(state.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        let cipher = state.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(cipher, rustls::CipherSuite::TLS13_AES_256_GCM_SHA384);
        let group = state.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
        assert_eq!(state.alpn_protocol(), Some(tls::ALPN));
    }
}

#[tokio::test]
async fn the_wrong_headend_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let identity = pki.issue_meter(meter()).unwrap().identity().unwrap();
    let (dialled, _) = meet(gateway(&pki), meter_side(&identity, &pki.trust()), "south").await;
    let reason = dialled.unwrap_err().to_string();
    assert!(reason.contains("north.headend") && reason.contains("not for south.headend"), "{reason}");
    let target = Target { address: "127.0.0.1:1".to_owned(), headend: "North".to_owned() };
    let dialled = connect(&target, &meter_side(&identity, &pki.trust()), DialLimits::default()).await;
    assert!(matches!(dialled, Err(DialError::Name(_))));
}

#[tokio::test]
async fn certificates_of_a_foreign_authority_are_refused_on_both_sides() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (pki, other) = (pki(dir.path()), self::pki(other_dir.path()));
    let foreign = other.issue_meter(meter()).unwrap().identity().unwrap();

    let (_, accepted) = meet(gateway(&pki), meter_side(&foreign, &pki.trust()), "north").await;
    assert_eq!(reason(accepted), "its certificate was issued by an authority not trusted here");

    let own = pki.issue_meter(meter()).unwrap().identity().unwrap();
    let (dialled, accepted) = meet(gateway(&other), meter_side(&own, &pki.trust()), "north").await;
    assert!(dialled.unwrap_err().to_string().contains("an authority not trusted here"));
    assert!(reason(accepted).starts_with("it refused us: it does not trust the authority"));
}

#[tokio::test]
async fn expired_and_future_certificates_are_refused_with_their_dates() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    for (validity, words) in [
        (seconds_from_now(-7200, -3600), "its certificate expired at 20"),
        (seconds_from_now(3600, 7200), "its certificate is valid only from 20"),
    ] {
        let identity = pki.issue_meter_for(meter(), validity).unwrap().identity().unwrap();
        let (_, accepted) = meet(gateway(&pki), meter_side(&identity, &pki.trust()), "north").await;
        let reason = reason(accepted);
        assert!(reason.starts_with(words), "{reason}");

        let headend = pki.issue_headend_for("north", validity).unwrap().identity().unwrap();
        let server = tls::gateway_config(&headend, &pki.trust()).unwrap();
        let own = pki.issue_meter(meter()).unwrap().identity().unwrap();
        let (dialled, _) = meet(server, meter_side(&own, &pki.trust()), "north").await;
        let reason = dialled.unwrap_err().to_string();
        assert!(reason.contains(words), "{reason}");
    }
}

#[tokio::test]
async fn a_headends_certificate_is_no_meters_and_a_meters_no_headends() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let headend = pki.issue_headend("north").unwrap().identity().unwrap();
    let (_, accepted) = meet(gateway(&pki), meter_side(&headend, &pki.trust()), "north").await;
    assert!(reason(accepted).contains("for another purpose"));

    let meters = pki.issue_meter(meter()).unwrap().identity().unwrap();
    let server = tls::gateway_config(&meters, &pki.trust()).unwrap();
    let (dialled, _) = meet(server, meter_side(&meters, &pki.trust()), "north").await;
    assert!(dialled.unwrap_err().to_string().contains("an authority not trusted here"));

    // An operational identity comes from the head-ends' own authority: there the name makes the difference.
    let operational = Forged { server_purpose: true, ..Forged::meter() };
    let operational = operational.sign(&dir.path().join("pki"), "utility").identity();
    let server = tls::gateway_config(&operational, &pki.trust()).unwrap();
    let (dialled, _) = meet(server, meter_side(&meters, &pki.trust()), "north").await;
    assert!(
        dialled.unwrap_err().to_string().contains("is for msl0000000001.meter.meterseal.internal, not for")
    );

    // With the right purpose and name, but signed by the certification authority.
    let identity = Forged::meter().sign(&dir.path().join("pki"), "certification").identity();
    let (_, accepted) = meet(gateway(&pki), meter_side(&identity, &pki.trust()), "north").await;
    assert_eq!(reason(accepted), "its certificate was issued by an authority not trusted here");
}

/// What only a careless or hostile manufacturer's authority would sign.
#[tokio::test]
async fn what_a_trusted_authority_signs_wrongly_is_refused_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let meter = "urn:meterseal:meter:MSL0000000001";
    for (forged, words) in [
        (Forged { uris: &[], ..Forged::meter() }, "its certificate names nobody"),
        (Forged { uris: &[meter, "urn:meterseal:meter:MSL0000000002"], ..Forged::meter() }, "several names"),
        (
            Forged { uris: &["urn:meterseal:headend:north"], ..Forged::meter() },
            "it is head-end north, but a meter was",
        ),
        (
            Forged { uris: &["urn:meterseal:meter:MSL1"], ..Forged::meter() },
            "malformed name urn:meterseal:meter:MSL1",
        ),
        (Forged { server_purpose: true, ..Forged::meter() }, "for another purpose"),
        (Forged { authority: true, ..Forged::meter() }, "self-signed or an authority's own"),
    ] {
        let identity = forged.sign(&dir.path().join("pki"), "manufacturer").identity();
        let (_, accepted) = meet(gateway(&pki), meter_side(&identity, &pki.trust()), "north").await;
        let reason = reason(accepted);
        assert!(reason.contains(words), "{words}: {reason}");
    }
    let forged = Forged { uris: &[meter, "https://example.org"], ..Forged::meter() };
    let identity = forged.sign(&dir.path().join("pki"), "manufacturer").identity();
    let (_, accepted) = meet(gateway(&pki), meter_side(&identity, &pki.trust()), "north").await;
    assert_eq!(accepted.unwrap().meter, self::meter(), "names of other schemes do no harm");

    // The right DNS name, the wrong URI.
    let forged = Forged {
        uris: &["urn:meterseal:headend:south"],
        dns: "north.headend.meterseal.internal",
        server_purpose: true,
        ..Forged::meter()
    };
    let headend = forged.sign(&dir.path().join("pki"), "utility").identity();
    let server = tls::gateway_config(&headend, &pki.trust()).unwrap();
    let (dialled, _) = meet(server, meter_side(&identity, &pki.trust()), "north").await;
    let reason = dialled.unwrap_err().to_string();
    assert!(reason.contains("it is head-end south, but head-end north was expected"), "{reason}");
}

#[tokio::test]
async fn a_resumed_session_is_the_same_meter_and_is_judged_again() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let issued = pki.issue_meter_for(meter(), seconds_from_now(-3600, 3)).unwrap();
    let (server, client) = (gateway(&pki), meter_side(&issued.identity().unwrap(), &pki.trust()));

    let kind = |accepted: &Accepted| accepted.stream.get_ref().1.handshake_kind();
    let (_, first) = meet(server.clone(), client.clone(), "north").await;
    assert_eq!(kind(&first.unwrap()), Some(HandshakeKind::Full));
    let (dialled, second) = meet(server.clone(), client.clone(), "north").await;
    let second = second.unwrap();
    assert_eq!(kind(&second), Some(HandshakeKind::Resumed));
    assert_eq!(second.meter, meter());
    drop((dialled, second));

    // No verifier runs on resumption: without a check of our own, an expired meter would come in for ever.
    tokio::time::sleep(Duration::from_millis(4500)).await;
    let (_, third) = meet(server, client, "north").await;
    assert!(matches!(third, Err(AcceptError::Peer(PeerError::NotValidNow { .. }))), "{third:?}");
}

#[tokio::test]
async fn a_session_does_not_outlive_a_change_of_trust() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let client = meter_side(&pki.issue_meter(meter()).unwrap().identity().unwrap(), &pki.trust());
    assert!(meet(gateway(&pki), client.clone(), "north").await.1.is_ok());
    let (_, again) = meet(gateway(&pki), client, "north").await;
    let kind = again.unwrap().stream.get_ref().1.handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Full), "another configuration, another session cache");
}

#[tokio::test]
async fn a_peer_that_does_not_speak_tls_or_says_nothing_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let acceptor = gateway(&pki);
    for (bytes, words) in
        [(b"GET / HTTP/1.1\r\n\r\n".as_slice(), "does not speak TLS"), (b"", "no handshake within")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        peer.write_all(bytes).await.unwrap();
        let error = handshake(&acceptor, stream, address, Duration::from_millis(100)).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn an_empty_trust_is_an_error_and_never_an_open_door() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let headend = pki.issue_headend("north").unwrap().identity().unwrap();
    assert!(tls::gateway_config(&headend, &Trust::default()).is_err());
    assert!(tls::meter_config(&headend, &Trust::default()).is_err());
}

fn reason(accepted: Result<Accepted, AcceptError>) -> String {
    accepted.unwrap_err().to_string()
}

mod with_openssl {
    use super::openssl::{Knock, Server, available};
    use super::*;

    /// OpenSSL knocks on our gateway: what the gateway thinks of it.
    async fn knock(
        pki: &Pki,
        dir: &Path,
        identity: Option<&IssuedIdentity>,
        args: &[&str],
    ) -> Result<Accepted, AcceptError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let _knock = Knock::start(dir, address, identity, args);
        let (stream, address) = timeout(DEADLINE, listener.accept()).await.expect("it knocks").unwrap();
        handshake(&gateway(pki), stream, address, DEADLINE).await
    }

    #[tokio::test]
    async fn openssl_with_a_meters_certificate_comes_in_over_secp384r1() {
        let dir = tempfile::tempdir().unwrap();
        if !available() {
            return;
        }
        let pki = pki(dir.path());
        let issued = pki.issue_meter(meter()).unwrap();
        for args in [
            &["-tls1_3"][..],
            &["-alpn", "meterseal/1"],
            &["-groups", "secp384r1"],
            &["-groups", "X25519:P-384"],
        ] {
            let accepted = knock(&pki, dir.path(), Some(&issued), args).await.unwrap();
            assert_eq!(accepted.meter, meter());
            let group = accepted.stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(group, rustls::NamedGroup::secp384r1);
        }
    }

    /// 0-RTT can be replayed by whoever recorded it (RFC 8446, 8): no session that we give allows it.
    #[tokio::test]
    async fn openssl_may_resume_and_gets_no_early_data() {
        let dir = tempfile::tempdir().unwrap();
        if !available() {
            return;
        }
        let pki = pki(dir.path());
        let issued = pki.issue_meter(meter()).unwrap();
        let (session, early) = (dir.path().join("session"), dir.path().join("early"));
        std::fs::write(&early, b"early").unwrap();
        let (session_file, early_file) = (session.to_str().unwrap(), early.to_str().unwrap());
        let server = gateway(&pki);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let meet = async |args: &[&str]| {
            let knock = Knock::start(dir.path(), address, Some(&issued), args);
            let (stream, from) = timeout(DEADLINE, listener.accept()).await.expect("it knocks").unwrap();
            (handshake(&server, stream, from, DEADLINE).await.unwrap(), knock)
        };
        let first = meet(&["-sess_out", session_file]).await;
        // Written when the ticket arrives.
        let described = async || {
            let command = std::process::Command::new("openssl")
                .args(["sess_id", "-noout", "-text", "-in", session_file])
                .output();
            String::from_utf8_lossy(&command.unwrap().stdout).into_owned()
        };
        let mut text = described().await;
        for _ in 0..1000 {
            if text.contains("Max Early Data") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            text = described().await;
        }
        assert!(text.contains("Max Early Data: 0"), "{text}");
        drop(first);
        let (second, _knock) = meet(&["-sess_in", session_file, "-early_data", early_file]).await;
        let connection = second.stream.get_ref().1;
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Resumed));
    }

    #[tokio::test]
    async fn openssl_with_anything_less_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        if !available() {
            return;
        }
        let pki = pki(dir.path());
        let issued = pki.issue_meter(meter()).unwrap();
        for (args, words) in [
            (&["-tls1_2"][..], "it does not offer TLS 1.3"),
            (&["-ciphersuites", "TLS_AES_128_GCM_SHA256"], "the cipher TLS_AES_256_GCM_SHA384"),
            (&["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], "the cipher TLS_AES_256_GCM_SHA384"),
            (&["-groups", "P-256"], "neither X25519MLKEM768 nor secp384r1"),
            (&["-groups", "X25519"], "neither X25519MLKEM768 nor secp384r1"),
            (&["-sigalgs", "ECDSA+SHA256"], "ECDSA, P-384 and SHA-384"),
            (&["-alpn", "h2"], "another application protocol"),
        ] {
            let reason = reason(knock(&pki, dir.path(), Some(&issued), args).await);
            assert!(reason.contains(words), "{args:?}: {reason}");
        }
        let reason = reason(knock(&pki, dir.path(), None, &["-tls1_3"]).await);
        assert_eq!(reason, "it showed no certificate");
    }

    #[tokio::test]
    async fn openssl_with_a_wrong_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        if !available() {
            return;
        }
        let pki = pki(dir.path());
        let other = Pki::create(&dir.path().join("other")).unwrap();
        for (issued, words) in [
            (other.issue_meter(meter()).unwrap(), "an authority not trusted here"),
            (pki.issue_headend("north").unwrap(), "for another purpose"),
            (pki.issue_meter_for(meter(), seconds_from_now(-7200, -3600)).unwrap(), "expired at"),
        ] {
            let reason = reason(knock(&pki, dir.path(), Some(&issued), &[]).await);
            assert!(reason.contains(words), "{words}: {reason}");
        }
    }

    #[tokio::test]
    async fn openssl_with_a_revoked_certificate_is_refused_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        if !available() {
            return;
        }
        let pki = pki(dir.path());
        let issued = pki.issue_meter(meter()).unwrap();
        pki.revoke(&issued.identity().unwrap().chain()[0], Reason::KeyCompromise).unwrap();
        let reason = reason(knock(&pki, dir.path(), Some(&issued), &[]).await);
        assert_eq!(reason, "its certificate was revoked");

        // And the other way round: a revoked head-end behind OpenSSL's server.
        let headend = pki.issue_headend("north").unwrap();
        dial(&pki, dir.path(), &headend, &[]).await.unwrap();
        pki.revoke(&headend.identity().unwrap().chain()[0], Reason::KeyCompromise).unwrap();
        let reason = dial(&pki, dir.path(), &headend, &[]).await.unwrap_err().to_string();
        assert!(reason.contains("its certificate was revoked"), "{reason}");
    }

    /// Our meter dials OpenSSL's server.
    async fn dial(pki: &Pki, dir: &Path, issued: &IssuedIdentity, args: &[&str]) -> Result<(), DialError> {
        let server = Server::start(dir, issued, args);
        let target = Target { address: server.address.clone(), headend: "north".to_owned() };
        let identity = pki.issue_meter(meter()).unwrap().identity().unwrap();
        connect(&target, &meter_side(&identity, &pki.trust()), DialLimits::default()).await.map(drop)
    }

    #[tokio::test]
    async fn our_meter_accepts_openssl_only_with_the_right_certificate_and_cipher() {
        let dir = tempfile::tempdir().unwrap();
        if !available() {
            return;
        }
        let pki = pki(dir.path());
        let right = pki.issue_headend("north").unwrap();
        dial(&pki, dir.path(), &right, &["-tls1_3"]).await.unwrap();

        let other = Pki::create(&dir.path().join("other")).unwrap();
        for (issued, args, words) in [
            (&right, &["-tls1_2"][..], "it does not offer TLS 1.3"),
            (&right, &["-ciphersuites", "TLS_AES_128_GCM_SHA256"], "no cipher, key exchange"),
            (&right, &["-groups", "P-256"], "no cipher, key exchange"),
            (
                &pki.issue_headend("south").unwrap(),
                &[],
                "is for south.headend.meterseal.internal, not for north.headend",
            ),
            (&other.issue_headend("north").unwrap(), &[], "an authority not trusted here"),
            (&pki.issue_meter(meter()).unwrap(), &[], "an authority not trusted here"),
            (&pki.issue_headend_for("north", seconds_from_now(-7200, -3600)).unwrap(), &[], "expired at"),
        ] {
            let reason = dial(&pki, dir.path(), issued, args).await.unwrap_err().to_string();
            assert!(reason.contains(words), "{args:?}: {reason}");
        }
    }
}
