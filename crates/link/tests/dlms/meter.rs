//! A small meter for the client's tests: the server engine of the DLMS library on a pipe, with faults to order.

use std::time::Duration;

use dlms_cosem_rs::Obis as CodecObis;
use dlms_cosem_rs::acse::AuthMechanism;
use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::{Encode as _, Writer};
use dlms_cosem_rs::cosem::{AttributeAccess, MethodAccess};
use dlms_cosem_rs::security::{
    KeyRing, RandomSource, RustCryptoProvider, Secret, SecurityPolicy, SecuritySuite,
    SystemTitle as CodecTitle,
};
use dlms_cosem_rs::server::{ObjectStore, PushSender, Server, ServerConfig, StoreResult};
use dlms_cosem_rs::xdlms::{ActionResult, Conformance, DataAccessResult, SelectiveAccess};
use meterseal_link::client::{CosemDateTime, Limits};
use meterseal_link::wrapper::WrapperStream;
use meterseal_link::{Association, DlmsKeys, Value};
use meterseal_model::{MeterId, Obis, Role, SystemTitle, UnixMillis};
use tokio::io::DuplexStream;

pub(crate) const PASSWORD: &[u8] = b"12345678";
pub(crate) const TITLE: SystemTitle = SystemTitle(*b"MSL\0\0\0\0\x01");
pub(crate) const CLIENT: SystemTitle = SystemTitle(*b"HES\0\0\0\0\x01");
pub(crate) const PROFILE: Obis = Obis::LOAD_PROFILE;
pub(crate) const SETTING: Obis = Obis::manufacturer(1, 0, 0);
/// The block of counters for pushes lies far from that for responses.
pub(crate) const FIRST_PUSH_COUNTER: u32 = 1_000_000;
const ENCRYPTION: [u8; 32] = [0x11; 32];
const AUTHENTICATION: [u8; 32] = [0x22; 32];
const ROWS: u64 = 400;

pub(crate) fn params() -> Association {
    Association {
        role: Role::Utility,
        meter: TITLE,
        client_title: CLIENT,
        keys: DlmsKeys { encryption: ENCRYPTION, authentication: AUTHENTICATION },
        invocation_counter: 1000,
        last_response_counter: 0,
        last_push_counter: 0,
        limits: Limits::default(),
    }
}

pub(crate) fn event_body(sequence: u64) -> Vec<Value> {
    let meter: MeterId = "MSL0000000001".parse().unwrap();
    vec![
        Value::obis(Obis::ALARM_PUSH_SETUP),
        Value::Bytes(meter.to_string().into_bytes()),
        Value::U64(sequence),
        Value::Bytes(CosemDateTime::from_unix(UnixMillis(1_795_373_820_000)).unwrap().0.to_vec()),
        Value::U8(44),
        Value::I64(0),
        Value::U64(5_000),
    ]
}

/// The meter and its faults.
pub(crate) struct Meter {
    pub(crate) mechanism: AuthMechanism,
    pub(crate) suite: SecuritySuite,
    pub(crate) conformance: Conformance,
    pub(crate) pushes_before_response: usize,
    pub(crate) replay_pushes: bool,
    pub(crate) silent_after: Option<usize>,
    pub(crate) delay: Duration,
    pub(crate) unasked: bool,
    pub(crate) seen_client_counter: Option<u32>,
    pub(crate) garbage: Vec<Vec<u8>>,
    pub(crate) garbage_framed: bool,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            mechanism: AuthMechanism::HighGmac,
            suite: SecuritySuite::Suite2,
            conformance: ServerConfig::default().conformance,
            pushes_before_response: 0,
            replay_pushes: false,
            silent_after: None,
            delay: Duration::ZERO,
            unasked: false,
            seen_client_counter: None,
            garbage: Vec::new(),
            garbage_framed: false,
        }
    }

    pub(crate) async fn serve(self, stream: DuplexStream) {
        let policy = match self.mechanism {
            AuthMechanism::HighGmac => SecurityPolicy::authenticated_encrypted(self.suite),
            _ => SecurityPolicy::NONE,
        };
        let ring = match self.suite {
            SecuritySuite::Suite2 => KeyRing::new_256(ENCRYPTION, AUTHENTICATION),
            _ => KeyRing::new([0x11; 16], [0x22; 16]),
        };
        let provider = || RustCryptoProvider::with_rng(ring.clone(), Random);
        let config = ServerConfig {
            system_title: Some(CodecTitle(TITLE.0)),
            mechanism: self.mechanism,
            security: policy,
            max_pdu_size: 1024,
            password: Some(Secret::new(PASSWORD).unwrap()),
            conformance: self.conformance,
            invocation_counter: 100,
            ..ServerConfig::default()
        };
        let mut server: Box<Server<Store, _, 16_384>> =
            Box::new(Server::new(config, Store::default(), provider()));
        if let Some(counter) = self.seen_client_counter {
            server.resume_replay_window(CodecTitle(CLIENT.0), counter);
        }
        let mut pusher: PushSender<_, 512> =
            PushSender::new(provider(), CodecTitle(TITLE.0), policy, FIRST_PUSH_COUNTER);
        let mut frames = WrapperStream::new(stream, 4096);
        let (mut out, mut push) = (vec![0; 20_000], vec![0; 1024]);
        let mut sequence = 0;
        let mut garbage = self.garbage.into_iter();
        for count in 0.. {
            let Ok(frame) = frames.read().await else { return };
            if self.silent_after.is_some_and(|limit| count >= limit) {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(self.delay).await;
            for _ in 0..self.pushes_before_response {
                sequence += 1;
                let body = Value::Structure(event_body(sequence)).encode();
                let length = pusher.notify(None, &Data::from_bytes_in(&body).unwrap(), &mut push).unwrap();
                for _ in 0..if self.replay_pushes && count == 2 { 2 } else { 1 } {
                    frames.write(1, frame.source, &push[..length]).await.unwrap();
                }
            }
            let length = server.handle(&frame.apdu, &mut out).unwrap();
            // The association is sound; what comes after it is not.
            if count >= 2
                && let Some(bytes) = garbage.next()
            {
                if self.garbage_framed {
                    let _ = frames.write(1, frame.source, &bytes).await;
                } else {
                    let mut stream = frames.into_inner();
                    let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await;
                    return;
                }
                continue;
            }
            for _ in 0..if self.unasked && count == 2 { 2 } else { 1 } {
                if frames.write(1, frame.source, &out[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

struct Random;

impl RandomSource for Random {
    fn fill(&self, out: &mut [u8]) -> dlms_cosem_rs::Result<()> {
        getrandom::fill(out).unwrap();
        Ok(())
    }
}

/// Objects enough to show every service.
struct Store {
    setting: Vec<u8>,
}

impl Default for Store {
    fn default() -> Self {
        Self { setting: Value::U64(1).encode() }
    }
}

fn time(millis: i64) -> Value {
    Value::Bytes(CosemDateTime::from_unix(UnixMillis(millis)).unwrap().0.to_vec())
}

impl ObjectStore for Store {
    fn get_attribute(
        &self,
        _: u16,
        name: CodecObis,
        _: i8,
        access: Option<SelectiveAccess<'_>>,
        w: &mut dyn Writer,
    ) -> StoreResult<()> {
        let value = match Obis(name.0) {
            Obis::ACTIVE_ENERGY_IMPORT => Value::U32(12_345_678).encode(),
            Obis::LOGICAL_DEVICE_NAME => Value::Bytes(vec![b'x'; 90]).encode(),
            Obis::CLOCK => time(1_795_373_820_000).encode(),
            PROFILE => profile(access)?,
            SETTING => self.setting.clone(),
            _ => return Err(DataAccessResult::ObjectUndefined),
        };
        w.write_bytes(&value).map_err(|_| DataAccessResult::OtherReason)
    }

    fn set_attribute(
        &mut self,
        _: u16,
        _: CodecObis,
        _: i8,
        _: Option<SelectiveAccess<'_>>,
        value: Data<'_>,
    ) -> StoreResult<()> {
        self.setting.clear();
        value.encode(&mut self.setting).map_err(|_| DataAccessResult::OtherReason)
    }

    fn invoke_method(
        &mut self,
        _: u16,
        _: CodecObis,
        method: i8,
        parameters: Option<Data<'_>>,
        w: &mut dyn Writer,
    ) -> Result<bool, ActionResult> {
        let result = match method {
            1 => parameters.and_then(|value| value.as_u64()).ok_or(ActionResult::TypeUnmatched)? + 1,
            2 => return Ok(false),
            _ => parameters.map_or(0, |value| value.encoded_len() as u64),
        };
        w.write_bytes(&Value::U64(result).encode()).map_err(|_| ActionResult::OtherReason)?;
        Ok(true)
    }

    fn attribute_access(&self, _: u16, name: CodecObis, _: i8) -> AttributeAccess {
        if name.0 == SETTING.0 {
            AttributeAccess::READ | AttributeAccess::WRITE
        } else {
            AttributeAccess::READ
        }
    }

    fn method_access(&self, _: u16, name: CodecObis, _: i8) -> MethodAccess {
        if name.0 == SETTING.0 { MethodAccess::ACCESS } else { MethodAccess::empty() }
    }
}

fn profile(access: Option<SelectiveAccess<'_>>) -> StoreResult<Vec<u8>> {
    let wrong = DataAccessResult::TypeUnmatched;
    let access = access.ok_or(DataAccessResult::ScopeOfAccessViolated)?;
    let field = |place| access.parameters.field(place).ok().and_then(|value| value.as_u64()).ok_or(wrong);
    let (from, to) = match access.selector {
        1 => {
            let column = access.parameters.field(0).map_err(|_| wrong)?;
            let name = column.field(1).ok().and_then(|value| value.as_obis()).ok_or(wrong)?;
            if name.0 != Obis::ROW_SEQUENCE.0 {
                return Err(DataAccessResult::ScopeOfAccessViolated);
            }
            (field(1)?, field(2)?)
        }
        2 => (field(0)?, field(1)?),
        _ => return Err(wrong),
    };
    let rows = (from..=to.min(ROWS)).map(|sequence| {
        let seven = if sequence == from { Value::U32(7) } else { Value::Null };
        Value::Structure(vec![Value::U64(sequence), time(sequence as i64 * 900_000), seven])
    });
    Ok(Value::Array(rows.collect()).encode())
}
