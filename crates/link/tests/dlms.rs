//! The DLMS client against a server engine over an in-process pipe: services, blocks, pushes in between, wrong keys,
//! replays, garbage, and peers that are slow or endless.
#![allow(clippy::unwrap_used, reason = "test helpers outside of #[test] functions")]

#[path = "dlms/meter.rs"]
mod meter;

use std::time::Duration;

use dlms_cosem_rs::acse::AuthMechanism;
use meter::{CLIENT, Meter, PROFILE, SETTING, TITLE, event_body, params};
use meterseal_link::client::{AccessError, CosemDateTime, Limits};
use meterseal_link::wrapper::FrameError;
use meterseal_link::{Association, ClientError, DlmsClient, Value};
use meterseal_model::{EventCode, Obis, Role, SystemTitle, UnixMillis};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

const REGISTER: u16 = 3;
const SEQUENCE: (u16, Obis, i8) = (1, Obis::ROW_SEQUENCE, 2);

async fn connected(meter: Meter) -> DlmsClient<DuplexStream> {
    let (near, far) = duplex(64 * 1024);
    tokio::spawn(meter.serve(far));
    DlmsClient::associate(near, params()).await.unwrap()
}

/// What an association with these parameters ends in, against a sound meter.
async fn refused(params: Association) -> ClientError {
    let (near, far) = duplex(64 * 1024);
    tokio::spawn(Meter::new().serve(far));
    DlmsClient::associate(near, params).await.unwrap_err()
}

#[tokio::test]
async fn an_association_reads_writes_acts_and_releases() {
    let mut client = connected(Meter::new()).await;
    assert_eq!(client.meter(), Some(TITLE));
    let energy = client.get(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2).await.unwrap();
    assert_eq!(energy.as_u64(), Some(12_345_678));

    client.set(1, SETTING, 2, Value::U64(77)).await.unwrap();
    assert_eq!(client.get(1, SETTING, 2).await.unwrap(), Value::U64(77));
    assert_eq!(client.action(1, SETTING, 1, Some(Value::U64(5))).await.unwrap(), Value::U64(6));
    assert_eq!(client.action(1, SETTING, 2, None).await.unwrap(), Value::Null);

    assert!(client.invocation_counter() > 1000, "it went on from where it was told to");
    assert!(client.response_counter() > 0);
    client.release().await.unwrap();
}

#[tokio::test]
async fn a_refusal_of_the_meter_is_an_answer_and_the_session_goes_on() {
    let mut client = connected(Meter::new()).await;
    let denied = client.set(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2, Value::U64(0)).await.unwrap_err();
    assert!(matches!(denied, ClientError::Access(AccessError::Denied)) && !denied.is_fatal(), "{denied}");
    let unknown = client.get(REGISTER, Obis::electricity(99, 99, 99), 2).await.unwrap_err();
    assert!(matches!(unknown, ClientError::Access(AccessError::NoSuchObject)), "{unknown}");
    let act = client.action(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 1, None).await.unwrap_err();
    assert!(matches!(act, ClientError::Access(AccessError::Denied)), "{act}");
    assert!(client.get(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2).await.is_ok());
}

#[tokio::test]
async fn a_list_of_25_comes_in_order_with_a_result_each() {
    let mut client = connected(Meter::new()).await;
    let mut items = vec![(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2); 25];
    items[7] = (REGISTER, Obis::electricity(99, 99, 99), 2);
    items[24] = (8, Obis::CLOCK, 2);
    let results = client.get_list(&items).await.unwrap();
    assert_eq!(results.len(), 25);
    assert_eq!(results[0], Ok(Value::U32(12_345_678)));
    assert_eq!(results[7], Err(AccessError::NoSuchObject));
    assert_eq!(results[24].as_ref().unwrap().as_time(), Some(UnixMillis(1_795_373_820_000)));
    // More than one message's worth, and answers that only blocks can carry.
    let results = client.get_list(&vec![(1, Obis::LOGICAL_DEVICE_NAME, 2); 80]).await.unwrap();
    assert!(results.iter().all(|name| name.as_ref().unwrap().as_text() == Some("x".repeat(90).as_str())));
    assert_eq!(results.len(), 80);
    assert_eq!(client.get_list(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_profile_by_range_comes_in_blocks_and_its_repeated_cells_are_filled_in() {
    let mut client = connected(Meter::new()).await;
    let rows =
        client.profile_by_range(PROFILE, SEQUENCE, Value::U64(101), Value::U64(400), 1000).await.unwrap();
    assert_eq!(rows.len(), 300);
    for (place, row) in rows.iter().enumerate() {
        let sequence = 101 + place as u64;
        assert_eq!(row[0], Value::U64(sequence));
        assert_eq!(row[1].as_time(), Some(UnixMillis(sequence as i64 * 900_000)));
        assert_eq!(row[2], Value::U32(7), "sent once and repeated as null");
    }
    let error = client.profile_by_range(PROFILE, SEQUENCE, Value::U64(1), Value::U64(300), 299).await;
    assert!(matches!(error, Err(ClientError::TooManyRows { limit: 299 })));
    let rows = client.profile_by_entry(PROFILE, 3, 5, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row[0].as_u64().unwrap()).collect::<Vec<_>>(), [3, 4, 5]);
}

#[tokio::test]
async fn a_long_value_is_written_in_blocks() {
    let mut client = connected(Meter::new()).await;
    let long = Value::Bytes((0..5000u32).map(|n| n as u8).collect());
    client.set(1, SETTING, 2, long.clone()).await.unwrap();
    assert_eq!(client.get(1, SETTING, 2).await.unwrap(), long);
    assert_eq!(client.action(1, SETTING, 3, Some(long)).await.unwrap(), Value::U64(5004));
}

#[tokio::test]
async fn a_value_beyond_the_limit_ends_the_session_not_the_memory() {
    let (near, far) = duplex(64 * 1024);
    tokio::spawn(Meter::new().serve(far));
    let limits = Limits { value_bytes: 4000, ..Limits::default() };
    let mut client = DlmsClient::associate(near, Association { limits, ..params() }).await.unwrap();
    let all = client.profile_by_range(PROFILE, SEQUENCE, Value::U64(1), Value::U64(400), 1000).await;
    assert!(matches!(all, Err(ClientError::ValueTooLong { limit: 4000 })));
    assert!(matches!(client.get(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2).await, Err(ClientError::Over)));
}

#[tokio::test]
async fn cpa_tamp_pushes_between_requests_and_responses_all_arrive_in_order() {
    let mut client = connected(Meter { pushes_before_response: 2, ..Meter::new() }).await;
    for _ in 0..3 {
        client.get(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2).await.unwrap();
    }
    // Two messages of the association and three reads, each preceded by two pushes.
    for sequence in 1..=10 {
        let push = client.notification().await.unwrap();
        let event = push.event().unwrap();
        assert_eq!((event.sequence, event.code), (sequence, EventCode::CoverRemoved));
    }
    assert_eq!(client.push_counter(), meter::FIRST_PUSH_COUNTER + 10);
    assert!(client.response_counter() < meter::FIRST_PUSH_COUNTER, "two windows");
    // Waiting is cancel-safe.
    assert!(timeout(Duration::from_millis(20), client.notification()).await.is_err());
    client.get(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2).await.unwrap();
    assert_eq!(client.notification().await.unwrap().event().unwrap().sequence, 11);
}

#[tokio::test]
async fn unfetched_pushes_are_bounded_and_the_loss_is_counted() {
    let (near, far) = duplex(64 * 1024);
    tokio::spawn(Meter { pushes_before_response: 10, ..Meter::new() }.serve(far));
    let limits = Limits { queued_pushes: 8, ..Limits::default() };
    let mut client = DlmsClient::associate(near, Association { limits, ..params() }).await.unwrap();
    client.get(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2).await.unwrap();
    assert_eq!(client.pushes_dropped(), 22);
    assert_eq!(client.notification().await.unwrap().event().unwrap().sequence, 23, "the newest are kept");
}

#[tokio::test]
async fn a_replayed_push_is_refused_within_and_across_sessions() {
    let mut client =
        connected(Meter { pushes_before_response: 1, replay_pushes: true, ..Meter::new() }).await;
    let error = client.get(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2).await.unwrap_err();
    assert!(matches!(error, ClientError::Replay { kind: "push", .. }), "{error}");

    let (near, far) = duplex(64 * 1024);
    tokio::spawn(Meter { pushes_before_response: 1, ..Meter::new() }.serve(far));
    let seen = Association { last_push_counter: meter::FIRST_PUSH_COUNTER + 1, ..params() };
    let error = DlmsClient::associate(near, seen).await.unwrap_err();
    assert!(matches!(error, ClientError::Replay { kind: "push", .. }), "{error}");
}

#[tokio::test]
async fn an_association_recorded_earlier_is_a_replay() {
    let error = refused(Association { last_response_counter: 500, ..params() }).await;
    assert!(matches!(error, ClientError::Replay { kind: "response", highest: 500, .. }), "{error}");
}

#[tokio::test]
async fn cpa_mut_a_meter_with_another_key_or_another_title_is_not_accepted() {
    let mut wrong = params();
    wrong.keys.encryption[31] ^= 1;
    let error = refused(wrong).await;
    assert!(matches!(error, ClientError::Refused { .. } | ClientError::NotAuthentic), "{error}");

    let mut wrong = params();
    wrong.keys.authentication[0] ^= 1;
    let error = refused(wrong).await;
    assert!(matches!(error, ClientError::Refused { .. } | ClientError::NotAuthentic), "{error}");

    let error = refused(Association { meter: SystemTitle(*b"MSL\0\0\0\0\x02"), ..params() }).await;
    assert!(matches!(error, ClientError::SystemTitle { found, .. } if found == TITLE.0), "{error}");

    let error = refused(Association { client_title: TITLE, ..params() }).await;
    assert!(error.to_string().contains("own system title"), "{error}");
}

#[tokio::test]
async fn a_meter_that_asks_for_less_security_is_not_accepted() {
    let (near, far) = duplex(64 * 1024);
    tokio::spawn(Meter { mechanism: AuthMechanism::None, ..Meter::new() }.serve(far));
    let error = DlmsClient::associate(near, params()).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_client_whose_counter_fell_behind_learns_the_next_one() {
    let (near, far) = duplex(64 * 1024);
    tokio::spawn(Meter { seen_client_counter: Some(5000), ..Meter::new() }.serve(far));
    let error = DlmsClient::associate(near, params()).await.unwrap_err();
    assert!(matches!(error, ClientError::InvocationCounter { expected: 5001 }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_slow_hits_the_deadline_and_the_session_is_over() {
    let (near, far) = duplex(64 * 1024);
    tokio::spawn(Meter { silent_after: Some(3), ..Meter::new() }.serve(far));
    let mut client = DlmsClient::associate(near, params()).await.unwrap();
    client.get(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2).await.unwrap();
    let began = Instant::now();
    let error = client.get(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2).await.unwrap_err();
    assert!(matches!(error, ClientError::Deadline(limit) if limit == Limits::default().response), "{error}");
    assert!(began.elapsed() < Duration::from_secs(11));
    assert!(matches!(client.get(REGISTER, Obis::CLOCK, 2).await, Err(ClientError::Over)));
    assert!(matches!(client.notification().await, Err(ClientError::Over)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_nothing_or_one_byte_at_a_time_hits_the_deadline() {
    let (near, mut far) = duplex(1024);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(3)).await;
            if far.write_all(&[0]).await.is_err() {
                return;
            }
        }
    });
    let began = Instant::now();
    let error = DlmsClient::associate(near, params()).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Deadline(_)) && began.elapsed() < Duration::from_secs(11),
        "{error}"
    );
}

#[tokio::test]
async fn a_cancelled_request_ends_the_session_instead_of_mixing_up_answers() {
    let mut client = connected(Meter { delay: Duration::from_millis(50), ..Meter::new() }).await;
    let cancelled =
        timeout(Duration::from_millis(5), client.get(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2)).await;
    assert!(cancelled.is_err());
    assert!(matches!(client.get(8, Obis::CLOCK, 2).await, Err(ClientError::Over)));
}

#[tokio::test]
async fn garbage_an_oversize_frame_and_a_hang_up_are_told_apart() {
    for (bytes, check) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "version 0x4854"),
        (vec![0, 1, 0, 1, 0, 0x30, 0xff, 0xff], "65535 bytes exceeds"),
        (vec![0, 1, 0, 1, 0, 0x30, 0, 2, 0xc4], "closed the connection within"),
        (vec![], "closed the connection"),
        (vec![0, 1, 0, 1, 0, 0x30, 0, 2, 0xd8, 0x02], "could not be read"),
        (vec![0, 1, 0, 9, 0, 0x30, 0, 1, 0x61], "from address 9"),
    ] {
        let (near, mut far) = duplex(1024);
        let answer = bytes.clone();
        tokio::spawn(async move {
            let mut aarq = [0; 8];
            far.read_exact(&mut aarq).await.unwrap();
            far.write_all(&answer).await.unwrap();
        });
        let error = DlmsClient::associate(near, params()).await.unwrap_err();
        assert!(error.to_string().contains(check), "{bytes:02x?}: {error}");
    }
    let (near, far) = duplex(1024);
    drop(far);
    let error = DlmsClient::associate(near, params()).await.unwrap_err();
    assert!(matches!(error, ClientError::Frame(FrameError::Io(_) | FrameError::Closed)), "{error}");
}

#[tokio::test]
async fn a_response_that_nobody_asked_for_ends_the_session() {
    let mut client = connected(Meter { unasked: true, ..Meter::new() }).await;
    client.get(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2).await.unwrap();
    let error = client.notification().await.unwrap_err();
    assert!(matches!(error, ClientError::Unexpected { asked: "wait for a push", .. }), "{error}");
}

#[test]
fn roles_and_titles_are_those_of_the_model() {
    assert_eq!(params().role, Role::Utility);
    assert_ne!(CLIENT, TITLE);
    assert!(matches!(event_body(3)[2], Value::U64(3)));
    assert!(CosemDateTime::from_unix(UnixMillis(0)).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A meter that holds the right key and sends anything: nothing panics, nothing hangs.
    #[test]
    fn random_answers_never_panic(answers in prop::collection::vec(any::<Vec<u8>>(), 1..4), framed in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (near, far) = duplex(64 * 1024);
            tokio::spawn(Meter { garbage: answers, garbage_framed: framed, ..Meter::new() }.serve(far));
            if let Ok(mut client) = DlmsClient::associate(near, params()).await {
                for _ in 0..3 {
                    let _ = client.get(REGISTER, Obis::ACTIVE_ENERGY_IMPORT, 2).await;
                }
            }
        });
    }
}
