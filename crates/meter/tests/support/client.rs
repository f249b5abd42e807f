//! The codec's own client over the wrapper, and a listener for pushes, talking to a meter in this process.

use std::collections::VecDeque;

use dlms_cosem_rs::acse::AuthMechanism;
use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::client::{
    AssociationStep, BlockCollector, ClientConfig, ClientSession, NotificationListener, Response,
    SingleMeterKeys,
};
use dlms_cosem_rs::codec::{Decode, Encode, SliceWriter, Writer};
use dlms_cosem_rs::cosem::CaptureObject;
use dlms_cosem_rs::security::{
    FixedRandom, KeyRing, RustCryptoProvider, SecurityPolicy, SecuritySuite, SystemTitle,
};
use dlms_cosem_rs::xdlms::{
    ActionResult, AttributeDescriptor, AttributeDescriptorWithSelection, Conformance, DataAccessResult,
    GetDataResult, MethodDescriptor, SelectiveAccess,
};
use embedded_storage::nor_flash::NorFlash;
use meterseal_meter::{DlmsKeys, ProtocolError};
use meterseal_model::{Obis, Role, objects};

use super::TestMeter;

pub const POLICY: SecurityPolicy = SecurityPolicy::authenticated_encrypted(SecuritySuite::Suite2);
pub const METER_TITLE: [u8; 8] = [b'M', b'S', b'L', 0, 0, 0, 0, 42];
pub const CLIENT_TITLE: [u8; 8] = *b"MSH\0\0\0\0\x01";

type Provider = RustCryptoProvider<FixedRandom>;

/// A value as tests compare it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Other,
}

impl Value {
    pub fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }

    pub fn list(&self) -> &[Value] {
        match self {
            Self::List(list) => list,
            other => panic!("{other:?} is no list"),
        }
    }
}

pub fn value(data: &Data<'_>) -> Value {
    if let Some(list) = data.as_seq() {
        return Value::List(list.iter().map(|item| value(&item.unwrap())).collect());
    }
    if let Data::Boolean(boolean) = *data {
        return Value::Number(boolean.into());
    }
    match (data.as_i64(), data.as_bytes()) {
        (Some(number), _) => Value::Number(number),
        (_, Some(bytes)) => Value::Bytes(bytes.to_vec()),
        _ => Value::Other,
    }
}

pub struct Client {
    pub role: Role,
    pub session: ClientSession<Provider, 4096>,
    listener: NotificationListener<Provider, SingleMeterKeys>,
    /// Bodies of pushes that came between answers, with their invocation counters.
    pub pushes: VecDeque<(u32, Value)>,
    /// Every frame received.
    pub frames: Vec<Vec<u8>>,
    /// Every frame sent.
    pub sent: Vec<Vec<u8>>,
    /// How long the last answer was withheld, to 50 ms.
    pub waited_ms: u64,
}

impl Client {
    pub fn new(role: Role, keys: &DlmsKeys, invocation_counter: u32, max_pdu_size: u16) -> Self {
        let ring = || KeyRing::new_256(keys.encryption, keys.authentication);
        let public = role == Role::Public;
        let config = ClientConfig {
            client_sap: role.client_address() as u8,
            system_title: (!public).then_some(SystemTitle(CLIENT_TITLE)),
            mechanism: if public { AuthMechanism::None } else { AuthMechanism::HighGmac },
            security: if public { SecurityPolicy::NONE } else { POLICY },
            invocation_counter,
            max_pdu_size,
            ..ClientConfig::default()
        };
        let lookup = SingleMeterKeys::new(SystemTitle(METER_TITLE), ring());
        Self {
            role,
            session: ClientSession::new(config, RustCryptoProvider::with_rng(ring(), FixedRandom(7))),
            listener: NotificationListener::new(
                RustCryptoProvider::with_rng(KeyRing::default(), FixedRandom(7)),
                lookup,
                POLICY,
            ),
            pushes: VecDeque::new(),
            frames: Vec::new(),
            sent: Vec::new(),
            waited_ms: 0,
        }
    }

    pub fn utility() -> Self {
        Self::new(Role::Utility, &super::utility_keys(), 0, 1024)
    }

    /// The utility by another client of it, which has the same keys and a title of its own.
    pub fn of_title(title: [u8; 8], invocation_counter: u32) -> Self {
        let keys = super::utility_keys();
        let config = ClientConfig {
            client_sap: Role::Utility.client_address() as u8,
            system_title: Some(SystemTitle(title)),
            mechanism: AuthMechanism::HighGmac,
            security: POLICY,
            invocation_counter,
            ..ClientConfig::default()
        };
        let ring = KeyRing::new_256(keys.encryption, keys.authentication);
        let session = ClientSession::new(config, RustCryptoProvider::with_rng(ring, FixedRandom(7)));
        Self { session, ..Self::utility() }
    }

    /// The utility by another maker's client, which did not ask for pushes.
    pub fn utility_without_pushes() -> Self {
        let keys = super::utility_keys();
        let config = ClientConfig {
            client_sap: Role::Utility.client_address() as u8,
            system_title: Some(SystemTitle(CLIENT_TITLE)),
            mechanism: AuthMechanism::HighGmac,
            security: POLICY,
            conformance: Conformance::CLIENT_DEFAULT.difference(Conformance::DATA_NOTIFICATION),
            ..ClientConfig::default()
        };
        let ring = KeyRing::new_256(keys.encryption, keys.authentication);
        let session = ClientSession::new(config, RustCryptoProvider::with_rng(ring, FixedRandom(7)));
        Self { session, ..Self::utility() }
    }

    /// Opens the association or says how far it came.
    pub fn associate(&mut self, meter: &mut TestMeter<'_, impl NorFlash>) -> Result<(), String> {
        let mut request = [0; 1024];
        let len = self.session.associate_request(&mut request).unwrap();
        let answer = self.exchange(meter, &request[..len]).map_err(|error| error.to_string())?;
        match self.session.handle_associate_response(&answer).map_err(|error| error.to_string())? {
            AssociationStep::Established => return Ok(()),
            AssociationStep::HlsReplyRequired => {}
            other => return Err(format!("{other:?}")),
        }
        let len = self.session.hls_reply_request(&mut request).unwrap();
        let answer = self.exchange(meter, &request[..len]).map_err(|error| error.to_string())?;
        match self.session.handle_hls_reply_response(&answer).map_err(|error| error.to_string())? {
            AssociationStep::Established => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    pub fn get(
        &mut self,
        meter: &mut TestMeter<'_, impl NorFlash>,
        class: u16,
        obis: Obis,
        attribute: i8,
    ) -> Value {
        self.try_get(meter, class, obis, attribute, None).unwrap()
    }

    pub fn try_get(
        &mut self,
        meter: &mut TestMeter<'_, impl NorFlash>,
        class: u16,
        obis: Obis,
        attribute: i8,
        access: Option<SelectiveAccess<'_>>,
    ) -> Result<Value, DataAccessResult> {
        self.try_read(meter, (class, obis, attribute), access, value)
    }

    /// Reads an attribute, in as many blocks as it takes, and makes of it what the test wants.
    pub fn try_read<T>(
        &mut self,
        meter: &mut TestMeter<'_, impl NorFlash>,
        (class, obis, attribute): (u16, Obis, i8),
        access: Option<SelectiveAccess<'_>>,
        read: impl Fn(&Data<'_>) -> T,
    ) -> Result<T, DataAccessResult> {
        let mut request = [0; 1024];
        let descriptor = AttributeDescriptor::new(class, dlms(obis), attribute);
        let len = self.session.get_request(descriptor, access, &mut request).unwrap();
        let mut collected = vec![0; 16_384];
        let mut blocks = BlockCollector::new(&mut collected);
        let mut answer = self.exchange(meter, &request[..len]).unwrap();
        loop {
            let mut plain = vec![0; 16_384];
            match self.session.handle_response(&answer, &mut plain).unwrap() {
                Response::Data(data) => return Ok(read(&data)),
                Response::DataError(error) => return Err(error),
                Response::Block { last, number, data } => {
                    blocks.push(number, data).unwrap();
                    if last {
                        return Ok(read(&blocks.value().unwrap()));
                    }
                }
                other => panic!("{other:?}"),
            }
            let len = self.session.get_next_block_request(blocks.last_block(), &mut request).unwrap();
            answer = self.exchange(meter, &request[..len]).unwrap();
        }
    }

    pub fn get_list(
        &mut self,
        meter: &mut TestMeter<'_, impl NorFlash>,
        items: &[(u16, Obis, i8)],
    ) -> Vec<Result<Value, DataAccessResult>> {
        let mut request = [0; 1024];
        let items: Vec<_> = items
            .iter()
            .map(|&(class, obis, attribute)| AttributeDescriptorWithSelection {
                descriptor: AttributeDescriptor::new(class, dlms(obis), attribute),
                access: None,
            })
            .collect();
        let len = self.session.get_request_with_list(&items, &mut request).unwrap();
        let answer = self.exchange(meter, &request[..len]).unwrap();
        let mut plain = [0; 4096];
        match self.session.handle_response(&answer, &mut plain).unwrap() {
            Response::DataList(list) => list
                .iter()
                .map(|item| match item.unwrap() {
                    GetDataResult::Data(data) => Ok(value(&data)),
                    GetDataResult::Error(error) => Err(error),
                })
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    pub fn set(
        &mut self,
        meter: &mut TestMeter<'_, impl NorFlash>,
        class: u16,
        obis: Obis,
        new: Data<'_>,
    ) -> Result<(), DataAccessResult> {
        self.try_set(meter, class, obis, new).unwrap()
    }

    /// Sets an attribute, in one request.
    pub fn set_attribute(
        &mut self,
        meter: &mut TestMeter<'_, impl NorFlash>,
        class: u16,
        obis: Obis,
        attribute: i8,
        new: &[u8],
    ) -> Result<(), DataAccessResult> {
        let mut request = [0; 4096];
        let descriptor = AttributeDescriptor::new(class, dlms(obis), attribute);
        let new = Data::from_bytes(new).unwrap();
        let len = self.session.set_request(descriptor, None, new, &mut request).unwrap();
        // Without an answer the meter has closed the connection, for want of flash.
        let answer = self.exchange(meter, &request[..len]).map_err(|_| DataAccessResult::HardwareFault)?;
        match self.session.handle_response(&answer, &mut [0; 1024]).unwrap() {
            Response::Ok => Ok(()),
            Response::DataError(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// Invokes a method that returns nothing.
    pub fn invoke(
        &mut self,
        meter: &mut TestMeter<'_, impl NorFlash>,
        class: u16,
        obis: Obis,
        method: i8,
        parameters: &[u8],
    ) -> Result<(), ActionResult> {
        let descriptor = MethodDescriptor::new(class, dlms(obis), method);
        let parameters = Data::from_bytes(parameters).unwrap();
        self.act(meter, descriptor, Some(parameters)).map(drop)
    }

    /// The outer error: the meter has closed the connection.
    pub fn try_set(
        &mut self,
        meter: &mut TestMeter<'_, impl NorFlash>,
        class: u16,
        obis: Obis,
        new: Data<'_>,
    ) -> Result<Result<(), DataAccessResult>, ProtocolError> {
        let mut request = [0; 1024];
        let descriptor = AttributeDescriptor::new(class, dlms(obis), 2);
        let len = self.session.set_request(descriptor, None, new, &mut request).unwrap();
        let answer = self.exchange(meter, &request[..len])?;
        match self.session.handle_response(&answer, &mut [0; 1024]).unwrap() {
            Response::Ok => Ok(Ok(())),
            Response::DataError(error) => Ok(Err(error)),
            other => panic!("{other:?}"),
        }
    }

    /// Invokes a method; gives what it returned.
    pub fn act(
        &mut self,
        meter: &mut TestMeter<'_, impl NorFlash>,
        method: MethodDescriptor,
        parameters: Option<Data<'_>>,
    ) -> Result<Option<Value>, ActionResult> {
        let mut request = [0; 4096];
        let len = self.session.action_request(method, parameters, &mut request).unwrap();
        let answer = self.exchange(meter, &request[..len]).map_err(|_| ActionResult::HardwareFault)?;
        match self.session.handle_response(&answer, &mut [0; 8192]).unwrap() {
            Response::Ok => Ok(None),
            Response::ActionResult { result: ActionResult::Success, value: returned } => {
                Ok(returned.as_ref().map(value))
            }
            Response::ActionResult { result, .. } => Err(result),
            other => panic!("{other:?}"),
        }
    }

    /// Takes what the meter sends of itself.
    pub fn listen(&mut self, meter: &mut TestMeter<'_, impl NorFlash>) {
        while let Some(frame) = meter.transmit() {
            self.take_push(frame);
        }
    }

    /// Sends an APDU in a wrapper frame and waits for the answer; pushes on the way are kept.
    pub fn exchange(
        &mut self,
        meter: &mut TestMeter<'_, impl NorFlash>,
        apdu: &[u8],
    ) -> Result<Vec<u8>, ProtocolError> {
        let frame = frame(self.role, apdu);
        self.sent.push(frame.clone());
        // Bytes come as the network pleases.
        let (head, tail) = frame.split_at(frame.len() / 3);
        meter.receive(head)?;
        meter.receive(tail)?;
        self.answer(meter)
    }

    /// Waits for an answer: by the meter's clock, as long as one can be withheld.
    pub fn answer(&mut self, meter: &mut TestMeter<'_, impl NorFlash>) -> Result<Vec<u8>, ProtocolError> {
        self.waited_ms = 0;
        loop {
            while let Some(frame) = meter.transmit() {
                assert_eq!(frame[..4], [0, 1, 0, 1]);
                assert_eq!(frame[4..6], self.role.client_address().to_be_bytes());
                if is_push(&frame) {
                    self.take_push(frame);
                } else {
                    self.frames.push(frame.clone());
                    return Ok(frame[8..].to_vec());
                }
            }
            assert!(self.waited_ms <= 130_000, "no answer");
            meter.pass(50);
            self.waited_ms += 50;
        }
    }

    fn take_push(&mut self, frame: Vec<u8>) {
        let mut plain = [0; 1024];
        let push = self.listener.handle(&frame[8..], &mut plain).unwrap();
        self.pushes.push_back((push.invocation_counter.unwrap(), value(&push.body)));
        self.frames.push(frame);
    }
}

/// Pushes and answers in the general form look alike; here the client never asks in that form.
fn is_push(frame: &[u8]) -> bool {
    frame[8] == 0xDB
}

pub fn frame(role: Role, apdu: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 1];
    bytes.extend_from_slice(&role.client_address().to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes.extend_from_slice(&(apdu.len() as u16).to_be_bytes());
    bytes.extend_from_slice(apdu);
    bytes
}

pub fn dlms(obis: Obis) -> dlms_cosem_rs::obis::Obis {
    dlms_cosem_rs::obis::Obis(obis.0)
}

/// The parameters of a range selection, and the buffer behind them.
pub fn by_sequence(buffer: &mut [u8; 128], from: u64, to: u64) -> SelectiveAccess<'_> {
    by_range(buffer, 1, Obis::ROW_SEQUENCE, Data::Long64Unsigned(from), Data::Long64Unsigned(to))
}

pub fn by_clock<'a>(buffer: &'a mut [u8; 128], from: &[u8], to: &[u8]) -> SelectiveAccess<'a> {
    by_range(buffer, 8, Obis::CLOCK, Data::OctetString(from), Data::OctetString(to))
}

fn by_range<'a>(
    buffer: &'a mut [u8; 128],
    class: u16,
    obis: Obis,
    from: Data<'_>,
    to: Data<'_>,
) -> SelectiveAccess<'a> {
    let mut w = SliceWriter::new(buffer);
    w.write_bytes(&[2, 4]).unwrap();
    CaptureObject::new(class, dlms(obis), 2, 0).encode(&mut w).unwrap();
    from.encode(&mut w).unwrap();
    to.encode(&mut w).unwrap();
    w.write_bytes(&[1, 0]).unwrap();
    let len = w.written();
    SelectiveAccess { selector: 1, parameters: Data::from_bytes(&buffer[..len]).unwrap() }
}

/// Every attribute of every object.
pub fn everything() -> impl Iterator<Item = (&'static objects::Object, &'static objects::Attribute)> {
    objects::OBJECTS
        .iter()
        .flat_map(|object| object.attributes.iter().map(move |attribute| (object, attribute)))
}

/// The invocation counter in the clear of a frame that the meter sent: of an answer, a push, or an AARE's
/// user-information.
pub fn counter(frame: &[u8]) -> Option<u32> {
    let apdu = &frame[8..];
    let ciphered = match apdu[0] {
        0x61 => {
            let aare = dlms_cosem_rs::acse::Aare::from_bytes(apdu).unwrap();
            return aare.user_information.filter(|bytes| bytes[0] == 0x28).map(|bytes| word(&bytes[3..]));
        }
        0xDB => &apdu[10..],
        0xC8..=0xCF => &apdu[1..],
        _ => return None,
    };
    let skipped = if ciphered[0] < 0x80 { 0 } else { usize::from(ciphered[0] & 0x7F) };
    Some(word(&ciphered[2 + skipped..]))
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}
