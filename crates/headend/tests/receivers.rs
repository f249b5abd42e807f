//! Issue 5, part 4: alarms reach webhooks and syslog servers, and what does not reach them is not forgotten. The
//! receivers here are servers that take nothing on trust.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use common::{Browser, Flash, TestMeter, Utility, eventually};
use meterseal_headend::deliveries::Receiver;
use meterseal_headend::{Config, Headend};
use meterseal_model::UnixMillis;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ProtocolVersion, ServerConfig, version};

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const STIMULUS: &str = "/api/v1/meters/MSL0000000001/stimulus";

fn secret(utility: &Utility) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = utility.folder.path().join("webhook.key");
    std::fs::write(&path, SECRET).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

async fn start(utility: &Utility, receivers: Vec<Receiver>) -> Headend {
    Headend::start(Config { receivers, ..utility.config() }).await.unwrap()
}

async fn feel(browser: &Browser, kind: &str) {
    assert_eq!(browser.post(STIMULUS, &format!(r#"{{"kind":"{kind}"}}"#)).await.status, 204);
}

async fn online(browser: &Browser) {
    eventually("the meter is online", async || {
        (browser.get("/api/v1/meters").await.json()[0]["state"] == "online").then_some(())
    })
    .await;
}

/// A receiver that checks every signature and answers what it is told to.
struct Hook {
    address: SocketAddr,
    answer: Arc<AtomicU16>,
    /// Bodies with a good signature, in order of arrival, taken ones only.
    taken: Arc<Mutex<Vec<Value>>>,
    tries: Arc<Mutex<HashMap<u64, u32>>>,
    task: JoinHandle<()>,
}

impl Hook {
    async fn start(at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(AtomicU16::new(200));
        let taken = Arc::<Mutex<Vec<Value>>>::default();
        let tries = Arc::<Mutex<HashMap<u64, u32>>>::default();
        let state = (answer.clone(), taken.clone(), tries.clone());
        let take = move |headers: HeaderMap, body: Bytes| {
            let (answer, taken, tries) = state.clone();
            async move {
                let body = checked(&headers, &body);
                *tries.lock().unwrap().entry(body["delivery"].as_u64().unwrap()).or_default() += 1;
                let status = StatusCode::from_u16(answer.load(Ordering::SeqCst)).unwrap();
                if status.is_success() {
                    taken.lock().unwrap().push(body);
                }
                status
            }
        };
        let router = Router::new().route("/alarms", post(take));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, answer, taken, tries, task }
    }

    fn receiver(&self, utility: &Utility) -> Receiver {
        let url = format!("http://{}/alarms", self.address);
        Receiver::webhook(&url, &secret(utility), None).unwrap()
    }

    fn taken(&self) -> Vec<Value> {
        self.taken.lock().unwrap().clone()
    }

    async fn has_taken(&self, act: &str, cause: &str) -> Value {
        eventually(&format!("{act} {cause} at the webhook"), async || {
            self.taken().into_iter().find(|body| body["act"] == act && body["alarm"]["cause"] == cause)
        })
        .await
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The body of a request whose signature is right and fresh.
fn checked(headers: &HeaderMap, body: &[u8]) -> Value {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(text("content-type"), "application/json");
    let signature = text("meterseal-signature");
    let (seconds, tag) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag: Vec<u8> =
        (0..tag.len()).step_by(2).map(|k| u8::from_str_radix(&tag[k..k + 2], 16).unwrap()).collect();
    hmac::verify(&key, &[seconds.as_bytes(), b".", body].concat(), &tag).expect("signed with our secret");
    let age = common::wall().seconds() - seconds.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "an old signature");
    let body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(text("meterseal-delivery"), body["delivery"].to_string());
    body
}

const ANY: &str = "127.0.0.1:0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_told_each_part_of_an_alarm_s_life_once_signed_and_in_order() {
    let utility = Utility::new();
    let hook = Hook::start(ANY.parse().unwrap()).await;
    let headend = start(&utility, vec![hook.receiver(&utility)]).await;
    let browser = Browser::signed_in(&headend).await;
    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    online(&browser).await;
    feel(&browser, "open_cover").await;
    let raised = hook.has_taken("raised", "meter_cover_removed").await;
    assert_eq!((&raised["alarm"]["meter"], &raised["alarm"]["code"]), (&"MSL0000000001".into(), &44.into()));
    assert!(raised["event"]["sequence"].is_u64() && raised["event"]["at"].is_string(), "{raised}");
    let note = r#"{"by":"Ann","comment":"the fitter is \"there\""}"#;
    let call = format!("/api/v1/alarms/{}/acknowledge", raised["alarm"]["id"]);
    assert_eq!(browser.post(&call, note).await.status, 200);
    let acknowledged = hook.has_taken("acknowledged", "meter_cover_removed").await;
    assert_eq!(
        (&acknowledged["by"], &acknowledged["comment"]),
        (&"Ann".into(), &r#"the fitter is "there""#.into())
    );
    feel(&browser, "close_cover").await;
    hook.has_taken("cleared", "meter_cover_removed").await;
    feel(&browser, "open_cover").await;
    hook.has_taken("reopened", "meter_cover_removed").await;

    let changes: Vec<u64> = hook.taken().iter().map(|body| body["change"].as_u64().unwrap()).collect();
    assert!(changes.is_sorted(), "{changes:?}");
    assert!(hook.tries.lock().unwrap().values().all(|&tries| tries == 1));
    let history = browser.get(&format!("/api/v1/alarms/{}", raised["alarm"]["id"])).await.json();
    let acts: Vec<_> =
        history["history"].as_array().unwrap().iter().map(|moment| moment["act"].clone()).collect();
    assert_eq!(acts, ["raised", "acknowledged", "cleared", "reopened"]);
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_did_not_take_is_delivered_after_a_restart_and_nothing_else_is() {
    let utility = Utility::new();
    let hook = Hook::start(ANY.parse().unwrap()).await;
    let flash = Flash::blank();
    {
        let headend = start(&utility, vec![hook.receiver(&utility)]).await;
        let browser = Browser::signed_in(&headend).await;
        let _meter = TestMeter::start(&utility, &headend, 1, &flash);
        online(&browser).await;
        feel(&browser, "open_cover").await;
        hook.has_taken("raised", "meter_cover_removed").await;
        hook.answer.store(503, Ordering::SeqCst);
        for kind in ["voltage_spike", "bring_magnet"] {
            feel(&browser, kind).await;
        }
        eventually("two are refused", async || {
            let queues = browser.get("/api/v1/deliveries").await.json();
            (queues[0]["waiting"] == 2 && queues[0]["last_error"].is_string()).then_some(())
        })
        .await;
        headend.shutdown().await;
    }
    let before = hook.taken().len();
    hook.answer.store(204, Ordering::SeqCst);
    let headend = start(&utility, vec![hook.receiver(&utility)]).await;
    hook.has_taken("raised", "voltage_spike").await;
    hook.has_taken("raised", "magnetic_field_on").await;
    let browser = Browser::signed_in(&headend).await;
    eventually("nothing waits", async || {
        (browser.get("/api/v1/deliveries").await.json()[0]["waiting"] == 0).then_some(())
    })
    .await;
    let taken = hook.taken();
    let numbers: std::collections::HashSet<_> = taken.iter().map(|body| body["change"].as_u64()).collect();
    assert_eq!((taken.len(), numbers.len()), (before + 2, before + 2), "none twice");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_refused_does_not_hold_up_others_and_a_receiver_that_comes_back_gets_all() {
    let utility = Utility::new();
    // Nobody listens there yet.
    let place = TcpListener::bind(ANY).await.unwrap().local_addr().unwrap();
    let receiver = Receiver::webhook(&format!("http://{place}/alarms"), &secret(&utility), None).unwrap();
    let headend = start(&utility, vec![receiver]).await;
    let browser = Browser::signed_in(&headend).await;
    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    online(&browser).await;
    feel(&browser, "open_cover").await;
    eventually("it is tried in vain", async || {
        browser.get("/api/v1/deliveries").await.json()[0]["last_error"].is_string().then_some(())
    })
    .await;
    let hook = Hook::start(place).await;
    hook.has_taken("raised", "meter_cover_removed").await;
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_and_delivered_again_when_a_person_says_so() {
    let utility = Utility::new();
    let hook = Hook::start(ANY.parse().unwrap()).await;
    hook.answer.store(400, Ordering::SeqCst);
    let headend = start(&utility, vec![hook.receiver(&utility)]).await;
    let browser = Browser::signed_in(&headend).await;
    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    online(&browser).await;
    feel(&browser, "voltage_spike").await;
    eventually("it is refused", async || {
        browser.get("/api/v1/deliveries").await.json()[0]["last_error"].is_string().then_some(())
    })
    .await;
    // As after its last attempt.
    let name = hook.receiver(&utility).name();
    let far = UnixMillis(i64::MAX);
    let waiting = headend.store().due_deliveries(name, far, 10).await.unwrap();
    headend
        .store()
        .delivery_failed(waiting[0].id, "it answered 400".into(), None, UnixMillis(5))
        .await
        .unwrap();
    let dead = browser.get("/api/v1/deliveries/dead").await.json();
    assert_eq!(dead[0]["id"], waiting[0].id);
    assert_eq!((&dead[0]["error"], &dead[0]["moment"]["act"]), (&"it answered 400".into(), &"raised".into()));

    hook.answer.store(200, Ordering::SeqCst);
    let again = browser.post(&format!("/api/v1/deliveries/dead/{}/redeliver", waiting[0].id), "").await;
    assert_eq!((again.status, &again.json()["moved"]), (200, &1.into()), "{}", again.text());
    let taken = hook.has_taken("raised", "voltage_spike").await;
    assert_eq!(taken["delivery"], waiting[0].id, "the same number as in the attempts before");
    assert!(browser.get("/api/v1/deliveries/dead").await.json().as_array().unwrap().is_empty());
    assert_eq!(browser.post("/api/v1/deliveries/dead/1/redeliver", "").await.status, 404);
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_no_longer_configured_leaves_dead_letters_and_not_a_queue_for_ever() {
    let utility = Utility::new();
    let hook = Hook::start(ANY.parse().unwrap()).await;
    hook.answer.store(500, Ordering::SeqCst);
    let headend = start(&utility, vec![hook.receiver(&utility)]).await;
    let browser = Browser::signed_in(&headend).await;
    let meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    online(&browser).await;
    feel(&browser, "voltage_spike").await;
    eventually("it waits", async || {
        (browser.get("/api/v1/deliveries").await.json()[0]["waiting"] == 1).then_some(())
    })
    .await;
    drop(meter);
    headend.shutdown().await;
    let headend = start(&utility, Vec::new()).await;
    let browser = Browser::signed_in(&headend).await;
    let dead = browser.get("/api/v1/deliveries/dead").await.json();
    assert_eq!(dead.as_array().unwrap().len(), 1);
    let id = dead[0]["id"].as_u64().unwrap();
    assert_eq!(browser.post(&format!("/api/v1/deliveries/dead/{id}/redeliver"), "").await.status, 404);
    assert_eq!(browser.post(&format!("/api/v1/deliveries/dead/{id}/discard"), "").await.status, 200);
    assert_eq!(browser.get("/api/v1/deliveries").await.json(), serde_json::json!([]));
    headend.shutdown().await;
}

/// A certificate for this machine, and the authority that signed it in a file.
fn tls(utility: &Utility) -> (TlsAcceptor, PathBuf) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let path = utility.folder.path().join("receivers.pem");
    std::fs::write(&path, authority_certificate.pem()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), path)
}

/// A message of RFC 5424, taken apart as strictly as its grammar (section 6) says.
#[derive(Debug)]
struct Message {
    priority: u8,
    application: String,
    id: String,
    data: HashMap<String, HashMap<String, String>>,
    text: String,
}

impl Message {
    fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap();
        let rest = text.strip_prefix('<').unwrap();
        let (priority, rest) = rest.split_once('>').unwrap();
        let priority: u8 = priority.parse().unwrap();
        assert!(priority <= 191);
        let rest = rest.strip_prefix("1 ").unwrap();
        let mut fields = rest.splitn(6, ' ');
        let time = fields.next().unwrap();
        let format: Vec<u8> = time.bytes().map(|b| if b.is_ascii_digit() { b'9' } else { b }).collect();
        assert_eq!(format, b"9999-99-99T99:99:99.999Z", "{time}");
        for (place, most) in [255, 48, 128, 32].into_iter().enumerate() {
            let field = rest.split(' ').nth(place + 1).unwrap();
            assert!(
                (1..=most).contains(&field.len()) && field.bytes().all(|b| (33..=126).contains(&b)),
                "{field}"
            );
        }
        let (application, id) = (fields.nth(1).unwrap(), fields.nth(1).unwrap());
        let (data, text) = structured_data(fields.next().unwrap());
        let text =
            text.strip_prefix(' ').unwrap().strip_prefix('\u{FEFF}').expect("a byte-order mark before UTF-8");
        assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
        assert!(bytes.len() <= 2048);
        Self { priority, application: application.into(), id: id.into(), data, text: text.into() }
    }
}

/// Section 6.3: elements of names and quoted values, escaped with a backslash.
fn structured_data(mut text: &str) -> (HashMap<String, HashMap<String, String>>, &str) {
    let mut elements = HashMap::new();
    while let Some(inside) = text.strip_prefix('[') {
        let end = inside.find([' ', ']']).unwrap();
        let (name, mut rest) = inside.split_at(end);
        let mut parameters = HashMap::new();
        while let Some(parameter) = rest.strip_prefix(' ') {
            let (key, value) = parameter.split_once("=\"").unwrap();
            assert!((1..=32).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric()), "{key}");
            let (mut plain, mut escaped, mut end) = (String::new(), false, None);
            for (place, c) in value.char_indices() {
                match (escaped, c) {
                    (false, '\\') => escaped = true,
                    (false, '"') => {
                        end = Some(place);
                        break;
                    }
                    (false, ']') => panic!("a bracket that is not escaped"),
                    (true, c) => {
                        assert!(matches!(c, '"' | '\\' | ']'), "a backslash before {c:?}");
                        plain.push(c);
                        escaped = false;
                    }
                    (false, c) => plain.push(c),
                }
            }
            rest = &value[end.expect("a closing quotation mark") + 1..];
            assert!(parameters.insert(key.to_owned(), plain).is_none());
        }
        text = rest.strip_prefix(']').unwrap();
        assert!(elements.insert(name.to_owned(), parameters).is_none());
    }
    assert!(!elements.is_empty());
    (elements, text)
}

/// Octet counting (RFC 5425, 4.3): MSG-LEN SP SYSLOG-MSG, the length without leading zeros.
async fn framed(stream: &mut (impl AsyncRead + Unpin)) -> Message {
    let mut length = Vec::new();
    loop {
        match stream.read_u8().await.unwrap() {
            b' ' => break,
            digit => length.push(digit),
        }
        assert!(length.len() < 6 && length[0] != b'0' && length.iter().all(u8::is_ascii_digit));
    }
    let length: usize = std::str::from_utf8(&length).unwrap().parse().unwrap();
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await.unwrap();
    Message::parse(&message)
}

fn check_life(messages: &[Message]) {
    let ids: Vec<_> = messages.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids, ["raised", "acknowledged", "cleared"]);
    let raised = &messages[0];
    assert_eq!((raised.priority, raised.application.as_str()), (13 * 8 + 2, "meterseal"));
    let data = &raised.data["meterseal@32473"];
    assert_eq!((data["meter"].as_str(), data["code"].as_str()), ("MSL0000000001", "44"));
    assert!(data["sequence"].parse::<u64>().unwrap() > 0);
    assert!(raised.text.contains("cover was opened"), "{}", raised.text);
    assert_eq!(messages[1].data["meterseal@32473"]["comment"], r#"he said "ok" [sic] C:\ ☂"#);
    assert_eq!(messages[2].priority, 13 * 8 + 6);
    let sequence = |k: usize| messages[k].data["meta"]["sequenceId"].parse::<u32>().unwrap();
    assert!(sequence(0) < sequence(1) && sequence(1) < sequence(2));
}

/// Lets an alarm live through raised, acknowledged, cleared.
async fn live(browser: &Browser) {
    online(browser).await;
    feel(browser, "open_cover").await;
    let alarm = eventually("the alarm", async || {
        let alarms = browser.get("/api/v1/alarms").await.json();
        alarms.as_array()?.iter().find(|alarm| alarm["cause"] == "meter_cover_removed").cloned()
    })
    .await;
    let note = serde_json::json!({ "comment": r#"he said "ok" [sic] C:\ ☂"# }).to_string();
    let call = format!("/api/v1/alarms/{}/acknowledge", alarm["id"]);
    assert_eq!(browser.post(&call, &note).await.status, 200);
    feel(browser, "close_cover").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syslog_over_tls_1_3_and_over_tcp_on_the_loopback_with_octet_counting() {
    for secured in [true, false] {
        let utility = Utility::new();
        let (acceptor, authorities) = tls(&utility);
        let listener = TcpListener::bind(ANY).await.unwrap();
        let scheme = if secured { "tls" } else { "tcp" };
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut messages = Vec::new();
            if secured {
                let mut stream = acceptor.accept(stream).await.unwrap();
                assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
                while messages.len() < 3 {
                    messages.push(framed(&mut stream).await);
                }
            } else {
                let mut stream = stream;
                while messages.len() < 3 {
                    messages.push(framed(&mut stream).await);
                }
            }
            messages
        });
        let receiver = Receiver::syslog(&address, Some(&authorities)).unwrap();
        let headend = start(&utility, vec![receiver]).await;
        let browser = Browser::signed_in(&headend).await;
        let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
        live(&browser).await;
        let messages = tokio::time::timeout(std::time::Duration::from_secs(20), server).await;
        check_life(&messages.expect("three messages").unwrap());
        headend.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syslog_over_udp_on_the_loopback_is_one_datagram_a_message() {
    let utility = Utility::new();
    let socket = UdpSocket::bind(ANY).await.unwrap();
    let receiver = Receiver::syslog(&format!("udp://{}", socket.local_addr().unwrap()), None).unwrap();
    let headend = start(&utility, vec![receiver]).await;
    let browser = Browser::signed_in(&headend).await;
    let _meter = TestMeter::start(&utility, &headend, 1, &Flash::blank());
    live(&browser).await;
    let mut messages = Vec::new();
    let mut datagram = [0; 4096];
    while messages.len() < 3 {
        let within = tokio::time::timeout(std::time::Duration::from_secs(20), socket.recv(&mut datagram));
        let length = within.await.expect("three messages").unwrap();
        messages.push(Message::parse(&datagram[..length]));
    }
    check_life(&messages);
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_off_the_loopback_speaks_tls_1_3_and_only_to_whom_its_authorities_vouch_for() {
    let utility = Utility::new();
    let (acceptor, authorities) = tls(&utility);
    let listener = TcpListener::bind(ANY).await.unwrap();
    let url = format!("https://localhost:{}/alarms", listener.local_addr().unwrap().port());
    let (seen, mut got) = tokio::sync::mpsc::unbounded_channel();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                let _ = seen.send("refused the certificate".to_owned());
                continue;
            };
            assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
            let mut head = vec![0; 64];
            stream.read_exact(&mut head).await.unwrap();
            let _ = seen.send(String::from_utf8_lossy(&head).into_owned());
        }
    });
    // Another authority than the one that signed the certificate: nothing is said to it.
    let stranger = utility.folder.path().join("other.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    std::fs::write(&stranger, authority.self_signed(&key).unwrap().pem()).unwrap();
    let flash = Flash::blank();
    for (trusted, expected) in
        [(&stranger, "refused the certificate"), (&authorities, "POST /alarms HTTP/1.1")]
    {
        let receiver = Receiver::webhook(&url, &secret(&utility), Some(trusted)).unwrap();
        let headend = start(&utility, vec![receiver]).await;
        let browser = Browser::signed_in(&headend).await;
        let meter = TestMeter::start(&utility, &headend, 1, &flash);
        online(&browser).await;
        meter.order(common::Order::Feel(meterseal_model::Stimulus::VoltageSpike));
        let within = tokio::time::timeout(std::time::Duration::from_secs(20), got.recv());
        let first = within.await.expect("a connection").unwrap();
        assert!(first.starts_with(expected), "{first}");
        drop(meter);
        headend.shutdown().await;
    }
    server.abort();
}
