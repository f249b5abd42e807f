//! A meter of another maker on a TCP port: the DLMS library's own server engine over a few objects, with faults to order.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use dlms_cosem_rs::Obis as CodecObis;
use dlms_cosem_rs::acse::AuthMechanism;
use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::Writer;
use dlms_cosem_rs::cosem::{AttributeAccess, MethodAccess};
use dlms_cosem_rs::security::{
    KeyRing, RandomSource, RustCryptoProvider, Secret, SecurityPolicy, SecuritySuite, SystemTitle,
};
use dlms_cosem_rs::server::{ObjectStore, Server, ServerConfig, StoreResult};
use dlms_cosem_rs::xdlms::{ActionResult, DataAccessResult, SelectiveAccess};
use meterseal_link::Value;
use meterseal_link::client::CosemDateTime;
use meterseal_link::wrapper::WrapperStream;
use meterseal_model::{Obis, UnixMillis};
use tokio::net::TcpListener;

pub const TITLE: [u8; 8] = *b"XYZ\0\0\0\0\x09";
pub const PASSWORD: &str = "letmein1";
/// Seconds between rows of its load profile.
pub const PERIOD: i64 = 900;

/// What may be wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Values never end: each answer promises another block. For low-level security only.
    Endless,
    /// Takes everything and answers nothing.
    Silent,
    /// Sends frames longer than was agreed.
    Oversized,
    /// Closes after the first message.
    HangsUp,
}

/// A running meter; it ends with the runtime.
#[derive(Debug)]
pub struct Maker {
    pub address: SocketAddr,
    /// Connections that it has taken.
    pub connections: Arc<AtomicUsize>,
    /// What was written to its setting.
    pub setting: Arc<Mutex<Vec<u8>>>,
    /// Highest counter that it has accepted.
    pub accepted: Arc<AtomicU32>,
}

impl Maker {
    /// `None`: low-level security.
    pub async fn start(suite: Option<SecuritySuite>, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let maker = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            setting: Arc::default(),
            accepted: Arc::default(),
        };
        let (connections, setting) = (Arc::clone(&maker.connections), Arc::clone(&maker.setting));
        let accepted = Arc::clone(&maker.accepted);
        // A real one keeps its counter too; here it is large steps from one connection to the next.
        let own_counter = AtomicU32::new(1);
        tokio::spawn(async move {
            let own_counter = Arc::new(own_counter);
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let own = own_counter.fetch_add(10_000, Ordering::SeqCst);
                tokio::spawn(serve(stream, suite, fault, own, Arc::clone(&setting), Arc::clone(&accepted)));
            }
        });
        maker
    }
}

async fn serve(
    stream: tokio::net::TcpStream,
    suite: Option<SecuritySuite>,
    fault: Fault,
    own_counter: u32,
    setting: Arc<Mutex<Vec<u8>>>,
    accepted: Arc<AtomicU32>,
) {
    let ring = match suite {
        Some(SecuritySuite::Suite2) => KeyRing::new_256([0x11; 32], [0x22; 32]),
        _ => KeyRing::new([0x11; 16], [0x22; 16]),
    };
    let config = ServerConfig {
        system_title: Some(SystemTitle(TITLE)),
        mechanism: if suite.is_some() { AuthMechanism::HighGmac } else { AuthMechanism::Low },
        security: suite.map_or(SecurityPolicy::NONE, SecurityPolicy::authenticated_encrypted),
        password: Some(Secret::new(PASSWORD.as_bytes()).unwrap()),
        max_pdu_size: 512,
        invocation_counter: own_counter,
        ..ServerConfig::default()
    };
    let provider = RustCryptoProvider::with_rng(ring, Random);
    let store = Objects { setting };
    let mut server: Box<Server<Objects, _, 60_000>> = Box::new(Server::new(config, store, provider));
    let highest = accepted.load(Ordering::SeqCst);
    if highest > 0 {
        server.resume_replay_window(SystemTitle(*b"MSH\0\0\0\0\x01"), highest);
    }
    let mut frames = WrapperStream::new(stream, 4096);
    let mut out = vec![0; 61_000];
    for count in 0.. {
        let Ok(frame) = frames.read().await else { return };
        match fault {
            Fault::Silent => std::future::pending().await,
            Fault::HangsUp if count > 0 => return,
            Fault::Oversized if count > 3 => {
                use tokio::io::AsyncWriteExt as _;
                let mut stream = frames.into_inner();
                let _ = stream.write_all(&[0, 1, 0, 1, 0, 1, 0xFF, 0xFF]).await;
                return;
            }
            _ => {}
        }
        if fault == Fault::Endless && frame.apdu.first() == Some(&0xC0) {
            // Get-response-with-datablock (IEC 62056-5-3): not the last, the next number, sixteen bytes.
            let asked = frame.apdu.get(3..7).filter(|_| frame.apdu[1] == 2);
            let number = asked.map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().unwrap())) + 1;
            let head = [0xC4, 2, frame.apdu[2], 0];
            let block = [&head[..], &number.to_be_bytes(), &[0, 16], &[9; 16]].concat();
            if frames.write(frame.destination, frame.source, &block).await.is_err() {
                return;
            }
            continue;
        }
        let Ok(length) = server.handle(&frame.apdu, &mut out) else { return };
        if let Some(counter) = server.peer_invocation_counter() {
            accepted.fetch_max(counter, Ordering::SeqCst);
        }
        if frames.write(frame.destination, frame.source, &out[..length]).await.is_err() {
            return;
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

struct Objects {
    setting: Arc<Mutex<Vec<u8>>>,
}

const SETTING: Obis = Obis([0, 0, 96, 50, 0, 255]);

fn time(at: i64) -> Value {
    Value::Bytes(CosemDateTime::from_unix(UnixMillis(at * 1000)).unwrap().0.to_vec())
}

/// The rows of the last day, and energy that rises by 250 Wh in each.
pub fn rows() -> Vec<(i64, u32)> {
    let newest = super::wall().0 / 1000 / PERIOD * PERIOD;
    (0..96)
        .rev()
        .map(|back| newest - back * PERIOD)
        .map(|at| (at, (at / PERIOD % 1_000_000) as u32 * 250))
        .collect()
}

impl ObjectStore for Objects {
    fn get_attribute(
        &self,
        class: u16,
        name: CodecObis,
        attribute: i8,
        access: Option<SelectiveAccess<'_>>,
        w: &mut dyn Writer,
    ) -> StoreResult<()> {
        let obis = Obis(name.0);
        let scaler_unit = |scaler, unit| Value::Structure(vec![Value::I8(scaler), Value::Enum(unit)]);
        let column = |class: u16, obis| {
            Value::Structure(vec![Value::U16(class), Value::obis(obis), Value::I8(2), Value::U16(0)])
        };
        let value = match (class, obis, attribute) {
            (15, Obis::ASSOCIATION, 2) => {
                let entry = |class, obis| {
                    Value::Structure(vec![Value::U16(class), Value::U8(0), Value::obis(obis), Value::Null])
                };
                Value::Array(vec![
                    entry(3, Obis::ACTIVE_ENERGY_IMPORT),
                    entry(4, Obis::VOLTAGE[0]),
                    entry(8, Obis::CLOCK),
                    entry(7, Obis::LOAD_PROFILE),
                ])
            }
            (3, Obis::ACTIVE_ENERGY_IMPORT, 2) => Value::U32(123_456),
            (3, Obis::ACTIVE_ENERGY_IMPORT, 3) => scaler_unit(0, 30),
            (4, obis, 2) if obis == Obis::VOLTAGE[0] => Value::U16(2301),
            (4, obis, 3) if obis == Obis::VOLTAGE[0] => scaler_unit(-1, 35),
            (8, Obis::CLOCK, 2) => time(super::wall().0 / 1000),
            (7, Obis::LOAD_PROFILE, 3) => {
                Value::Array(vec![column(8, Obis::CLOCK), column(3, Obis::ACTIVE_ENERGY_IMPORT)])
            }
            (7, Obis::LOAD_PROFILE, 2) => {
                let wrong = DataAccessResult::TypeUnmatched;
                let access = access.ok_or(DataAccessResult::ScopeOfAccessViolated)?;
                let bound = |place| {
                    let field = access.parameters.field(place).ok()?;
                    let bytes: [u8; 12] = field.as_bytes()?.try_into().ok()?;
                    Some(CosemDateTime(bytes).unix()?.0)
                };
                let (from, to) = (bound(1).ok_or(wrong)?, bound(2).ok_or(wrong)?);
                let chosen = rows().into_iter().filter(|(at, _)| (from..=to).contains(&(at * 1000)));
                Value::Array(
                    chosen.map(|(at, energy)| Value::Structure(vec![time(at), Value::U32(energy)])).collect(),
                )
            }
            (1, SETTING, 2) => {
                w.write_bytes(&self.setting.lock().unwrap()).map_err(|_| DataAccessResult::OtherReason)?;
                return Ok(());
            }
            _ => return Err(DataAccessResult::ObjectUndefined),
        };
        w.write_bytes(&value.encode()).map_err(|_| DataAccessResult::OtherReason)
    }

    fn set_attribute(
        &mut self,
        _: u16,
        _: CodecObis,
        _: i8,
        _: Option<SelectiveAccess<'_>>,
        value: Data<'_>,
    ) -> StoreResult<()> {
        use dlms_cosem_rs::codec::Encode as _;
        let mut bytes = Vec::new();
        value.encode(&mut bytes).map_err(|_| DataAccessResult::OtherReason)?;
        *self.setting.lock().unwrap() = bytes;
        Ok(())
    }

    fn invoke_method(
        &mut self,
        _: u16,
        _: CodecObis,
        _: i8,
        _: Option<Data<'_>>,
        _: &mut dyn Writer,
    ) -> Result<bool, ActionResult> {
        Err(ActionResult::ObjectUndefined)
    }

    fn attribute_access(&self, _: u16, name: CodecObis, _: i8) -> AttributeAccess {
        if name.0 == SETTING.0 {
            AttributeAccess::READ | AttributeAccess::WRITE
        } else {
            AttributeAccess::READ
        }
    }

    fn method_access(&self, _: u16, _: CodecObis, _: i8) -> MethodAccess {
        MethodAccess::empty()
    }
}
