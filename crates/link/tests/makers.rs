//! The client against meters of other makers, played by the DLMS library's own server engine: a password, security
//! suites 0 and 1, no login at all, no GET with list; and what must not be accepted from them.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "dlms/meter.rs"]
#[allow(dead_code, reason = "shared with the tests of the head-end's own session")]
mod meter;

use dlms_cosem_rs::acse::AuthMechanism;
use dlms_cosem_rs::security::SecuritySuite;
use dlms_cosem_rs::xdlms::Conformance;
use meter::{CLIENT, Meter, PASSWORD, TITLE};
use meterseal_link::client::{GlobalKeys, Gmac, Limits, Login, Opening, Password, Suite};
use meterseal_link::{ClientError, DlmsClient, Value};
use meterseal_model::{Obis, SystemTitle};
use tokio::io::{DuplexStream, duplex};

const REGISTER: (u16, Obis, i8) = (3, Obis::ACTIVE_ENERGY_IMPORT, 2);

fn opening(login: Login) -> Opening {
    Opening {
        client_address: 0x11,
        server_address: 1,
        meter: None,
        login,
        pushes: false,
        limits: Limits::default(),
    }
}

fn gmac(suite: Suite, byte: u8) -> Gmac {
    let key = |byte| vec![byte; suite.key_bytes()];
    Gmac {
        client_title: CLIENT,
        keys: GlobalKeys::new(suite, &key(byte), &key(0x22)).unwrap(),
        invocation_counter: 1000,
        last_response_counter: 0,
        last_push_counter: 0,
    }
}

fn password(bytes: &[u8]) -> Login {
    Login::Password(Password::new(bytes).unwrap())
}

fn meter(mechanism: AuthMechanism, suite: SecuritySuite) -> Meter {
    Meter { mechanism, suite, ..Meter::new() }
}

async fn open(meter: Meter, opening: Opening) -> Result<DlmsClient<DuplexStream>, ClientError> {
    let (near, far) = duplex(64 * 1024);
    tokio::spawn(meter.serve(far));
    DlmsClient::open(near, opening).await
}

#[tokio::test]
async fn every_login_reads_a_register_a_list_and_a_profile() {
    for (meter, login) in [
        (meter(AuthMechanism::None, SecuritySuite::Suite0), Login::Public),
        (meter(AuthMechanism::Low, SecuritySuite::Suite0), password(PASSWORD)),
        (meter(AuthMechanism::HighGmac, SecuritySuite::Suite0), Login::Gmac(gmac(Suite::Zero, 0x11))),
        (meter(AuthMechanism::HighGmac, SecuritySuite::Suite1), Login::Gmac(gmac(Suite::One, 0x11))),
        (meter(AuthMechanism::HighGmac, SecuritySuite::Suite2), Login::Gmac(gmac(Suite::Two, 0x11))),
    ] {
        let shown = format!("{login:?}");
        let mut client = open(meter, opening(login)).await.unwrap();
        assert_eq!(client.meter(), Some(TITLE), "{shown}");
        let (class, obis, attribute) = REGISTER;
        assert_eq!(client.get(class, obis, attribute).await.unwrap(), Value::U32(12_345_678), "{shown}");
        let list = client.get_list(&[REGISTER, (1, Obis::UPTIME, 2), REGISTER]).await.unwrap();
        assert_eq!(list.iter().filter(|result| result.is_ok()).count(), 2, "{shown}");
        let rows = client.profile_by_entry(Obis::LOAD_PROFILE, 1, 200, 200).await.unwrap();
        assert_eq!(rows.len(), 200, "{shown}");
        client.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_meter_without_lists_is_asked_one_by_one() {
    let lists = Conformance::MULTIPLE_REFERENCES;
    let meter = Meter { conformance: Conformance::SERVER_DEFAULT.difference(lists), ..Meter::new() };
    let mut client = open(meter, opening(Login::Gmac(gmac(Suite::Two, 0x11)))).await.unwrap();
    let results = client.get_list(&[REGISTER, (1, Obis::UPTIME, 2), REGISTER]).await.unwrap();
    assert_eq!(results.len(), 3);
    assert!(results[0].is_ok() && results[1].is_err() && results[2].is_ok());
}

#[tokio::test]
async fn a_wrong_password_key_suite_or_title_is_refused_with_a_reason() {
    let low = || meter(AuthMechanism::Low, SecuritySuite::Suite0);
    let high = || meter(AuthMechanism::HighGmac, SecuritySuite::Suite0);
    let named = Opening {
        meter: Some(SystemTitle(*b"OTHER\0\0\x01")),
        ..opening(Login::Gmac(gmac(Suite::Zero, 0x11)))
    };
    for (what, meter, opening, reason) in [
        ("password", low(), opening(password(b"87654321")), "authentication"),
        ("no login", low(), opening(Login::Public), "refused"),
        ("key", high(), opening(Login::Gmac(gmac(Suite::Zero, 0x12))), "keys"),
        ("suite 2", high(), opening(Login::Gmac(gmac(Suite::Two, 0x11))), "suite"),
        ("suite 1", high(), opening(Login::Gmac(gmac(Suite::One, 0x11))), "suite"),
        ("title", high(), named, "system title"),
    ] {
        let error = open(meter, opening).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{what}: {error}");
        assert!(error.is_fatal(), "{what}");
    }
}

#[tokio::test]
async fn an_answer_in_endless_blocks_ends_and_spends_no_counter_that_was_not_set_aside() {
    let limited = Opening {
        limits: Limits { blocks: 2, ..Limits::default() },
        ..opening(Login::Gmac(gmac(Suite::Two, 0x11)))
    };
    let mut client = open(Meter::new(), limited).await.unwrap();
    let error = client.profile_by_entry(Obis::LOAD_PROFILE, 1, 400, 400).await.unwrap_err();
    assert!(matches!(error, ClientError::TooManyBlocks { limit: 2 }), "{error}");

    let mut client = open(Meter::new(), opening(Login::Gmac(gmac(Suite::Two, 0x11)))).await.unwrap();
    let allowed = client.invocation_counter() + 2;
    client.allow_counters_to(allowed);
    let error = client.profile_by_entry(Obis::LOAD_PROFILE, 1, 400, 400).await.unwrap_err();
    assert!(matches!(error, ClientError::CountersSpent) && error.is_fatal(), "{error}");
    assert_eq!(client.invocation_counter(), allowed + 1, "the next was made and never sent");
}

#[tokio::test]
async fn a_meter_that_has_our_own_title_shares_our_nonces_and_is_left() {
    let own = Gmac { client_title: TITLE, ..gmac(Suite::Two, 0x11) };
    let error = open(Meter::new(), opening(Login::Gmac(own))).await.unwrap_err();
    assert!(matches!(error, ClientError::OwnTitle), "{error}");
}

#[tokio::test]
async fn a_login_that_is_not_ciphered_is_never_taken_for_one_that_is() {
    let weak = meter(AuthMechanism::None, SecuritySuite::Suite2);
    let error = open(weak, opening(Login::Gmac(gmac(Suite::Two, 0x11)))).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error}");
}
