//! A second association on the same stream, under another role and its own keys, beside the one that stays: how a head-end
//! brings firmware without giving up readings and alarms. The meter tells them apart by the client's address.
//!
//! One of the two speaks at a time. Pushes come to the first at any moment and are kept for it.

use std::ops::{Deref, DerefMut};

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::client::{ClientConfig, ClientSession, Response};
use dlms_cosem_rs::codec::Decode as _;
use dlms_cosem_rs::security::{CryptoProvider as _, Protector, SystemTitle as CodecTitle};
use dlms_cosem_rs::xdlms::{ActionResponse, Apdu, MethodDescriptor};
use dlms_cosem_rs::{Error as CodecError, ErrorKind, Obis as CodecObis};
use meterseal_model::{Obis, SystemTitle};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::exchange::{DlmsClient, PROTECTION, Provider, SCRATCH, Session, SystemRandom};
use super::login::Gmac;
use super::services::{unexpected, unreadable};
use super::value::Value;
use super::{AccessError, Association, ClientError, GlobalKeys, MAX_APDU};

/// Requests that may be under way at once: a meter of ours keeps at least twice as many answers.
pub const IN_FLIGHT_MAX: usize = 32;

/// The other association, when it is not its turn to speak.
pub struct Beside {
    session: Box<Session>,
    client_address: u16,
    last_counter: u32,
    /// Opens answers of which several are under way.
    opener: Protector<Provider>,
    meter: SystemTitle,
}

impl Beside {
    /// From now on nothing is sent under a higher invocation counter than this one.
    pub fn allow_counters_to(&mut self, last: u32) {
        self.last_counter = last;
    }

    /// The invocation counter that was used last. Persist it.
    pub fn invocation_counter(&self) -> u32 {
        self.session.invocation_counter()
    }

    /// The highest invocation counter of a response.
    pub fn response_counter(&self) -> u32 {
        self.session.peer_invocation_counter().unwrap_or(0)
    }
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside").field("client_address", &self.client_address).finish_non_exhaustive()
    }
}

/// A client while the other association has its turn; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn<'a, S> {
    client: &'a mut DlmsClient<S>,
    beside: &'a mut Beside,
}

impl<S> Deref for Turn<'_, S> {
    type Target = DlmsClient<S>;

    fn deref(&self) -> &Self::Target {
        self.client
    }
}

impl<S> DerefMut for Turn<'_, S> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.client
    }
}

impl<S> Drop for Turn<'_, S> {
    fn drop(&mut self) {
        self.client.exchange_party(self.beside);
    }
}

impl<S> DlmsClient<S> {
    fn exchange_party(&mut self, beside: &mut Beside) {
        std::mem::swap(&mut self.session, &mut beside.session);
        std::mem::swap(&mut self.client_address, &mut beside.client_address);
        std::mem::swap(&mut self.last_counter, &mut beside.last_counter);
    }

    /// Gives the other association its turn. What was asked in a turn that is dropped before its answer came is given up
    /// as every request is: the whole session is over then.
    pub fn beside<'a>(&'a mut self, beside: &'a mut Beside) -> Turn<'a, S> {
        self.exchange_party(beside);
        Turn { client: self, beside }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> DlmsClient<S> {
    /// Opens another association beside the one that stands, and proves both sides to each other. Nothing is sent under
    /// a higher invocation counter than `last_counter`.
    ///
    /// # Errors
    /// [`ClientError`]. A refusal ([`ClientError::Refused`], [`ClientError::InvocationCounter`]) leaves the one that
    /// stands usable.
    pub async fn open_beside(
        &mut self,
        params: Association,
        last_counter: u32,
    ) -> Result<Beside, ClientError> {
        let keys = GlobalKeys::from(&params.keys);
        if params.client_title == params.meter {
            return Err(ClientError::OwnTitle);
        }
        let gmac = Gmac {
            client_title: params.client_title,
            keys: keys.clone(),
            invocation_counter: params.invocation_counter,
            last_response_counter: params.last_response_counter,
            last_push_counter: params.last_push_counter,
        };
        let mut config =
            ClientConfig { max_pdu_size: MAX_APDU, challenge_len: 32, ..ClientConfig::default() };
        config.system_title = Some(CodecTitle(params.client_title.0));
        config.mechanism = dlms_cosem_rs::acse::AuthMechanism::HighGmac;
        config.security = keys.policy();
        config.invocation_counter = params.invocation_counter;
        let provider = || Provider::with_rng(keys.ring(), SystemRandom);
        let mut beside = Beside {
            session: Box::new(ClientSession::new(config, provider())),
            client_address: params.role.client_address(),
            last_counter,
            opener: Protector::new(provider(), keys.policy()),
            meter: params.meter,
        };
        {
            let mut turn = self.beside(&mut beside);
            let deadline = turn.begin()?;
            let outcome = turn.handshake(Some(&gmac), deadline).await;
            if let Err(ClientError::Refused { .. } | ClientError::InvocationCounter { .. }) = &outcome {
                // It was an answer, to just this request.
                turn.settle();
            }
            outcome?;
        }
        Ok(beside)
    }

    /// Ends the other association; the one that stands goes on.
    ///
    /// # Errors
    /// [`ClientError`], always fatal.
    pub async fn release_beside(&mut self, mut beside: Beside) -> Result<(), ClientError> {
        let mut turn = self.beside(&mut beside);
        let deadline = turn.begin()?;
        turn.ask_release(deadline).await?;
        turn.settle();
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Turn<'_, S> {
    /// Invokes a method once for each parameter, with all requests under way at once, and gives the answers in their
    /// order. At most [`IN_FLIGHT_MAX`], each of which must fit into one message.
    ///
    /// # Errors
    /// [`ClientError`], always fatal once something was sent.
    pub async fn actions(
        &mut self,
        class: u16,
        object: Obis,
        method: i8,
        parameters: &[Value],
    ) -> Result<Vec<Result<(), AccessError>>, ClientError> {
        // All but the last.
        let Some(count) = parameters.len().checked_sub(1) else { return Ok(Vec::new()) };
        if parameters.len() > IN_FLIGHT_MAX {
            return Err(ClientError::NotSupported(CodecError::new(ErrorKind::InvalidLength, 0)));
        }
        let deadline = self.begin()?;
        let descriptor = MethodDescriptor::new(class, CodecObis::from_bytes(object.0), method);
        let mut highest = self.response_counter();
        for parameter in parameters {
            let encoded = parameter.encode();
            let data = Data::from_bytes_in(&encoded).map_err(ClientError::NotSupported)?;
            let client = &mut *self.client;
            let length = client
                .session
                .action_request(descriptor, Some(data), &mut client.request)
                .map_err(ClientError::NotSupported)?;
            client.send(length, deadline).await?;
        }
        let mut outcomes = Vec::with_capacity(parameters.len());
        let mut last_id = None;
        for _ in 0..count {
            let answer = self.client.receive(deadline).await?;
            let (counter, id, outcome) = self.open(&answer)?;
            if counter <= highest {
                return Err(ClientError::Replay { kind: "response", counter, highest });
            }
            follows(&mut last_id, id)?;
            highest = counter;
            outcomes.push(outcome);
        }
        // The last one goes through the session, which knows its number: those before it count up to it.
        let answer = self.client.receive(deadline).await?;
        let (counter, id, outcome) = self.open(&answer)?;
        if counter <= highest {
            return Err(ClientError::Replay { kind: "response", counter, highest });
        }
        follows(&mut last_id, id)?;
        let client = &mut *self.client;
        match client.session.handle_response(&answer, &mut client.plain).map_err(unreadable)? {
            Response::ActionResult { .. } => outcomes.push(outcome),
            other => return Err(unexpected("ACTION", &other)),
        }
        client.settle();
        Ok(outcomes)
    }

    /// Deciphers an answer to one of several requests: its invocation counter, its number, and what it says.
    #[allow(clippy::type_complexity, reason = "taken apart where it is used, just above")]
    fn open(&self, answer: &[u8]) -> Result<(u32, u8, Result<(), AccessError>), ClientError> {
        let other = || ClientError::Unexpected { asked: "ACTION", found: super::exchange::name_of(answer) };
        if let Some(exception) = super::exchange::exception(answer) {
            return Err(super::exchange::refused_by(exception));
        }
        let Apdu::Ciphered { body, .. } = Apdu::from_bytes(answer).map_err(ClientError::Unreadable)? else {
            return Err(other());
        };
        let opener = &self.beside.opener;
        let key = opener.provider().authentication_key().unwrap_or(&[]);
        let mut payload = body.payload.to_vec();
        let title = CodecTitle(self.beside.meter.0);
        let plain = opener
            .unprotect(body.security_control, &title, body.invocation_counter, key, &mut payload)
            .map_err(unreadable)?;
        match Apdu::from_bytes(plain).map_err(ClientError::Unreadable)? {
            Apdu::ActionResponse(ActionResponse::Normal { invoke_id, response }) => {
                let outcome = match response.result {
                    result if result.is_success() => Ok(()),
                    result => Err(result.into()),
                };
                Ok((body.invocation_counter, invoke_id.id(), outcome))
            }
            _ => Err(other()),
        }
    }
}

/// Answers come in the order of their requests, whose numbers count round from 0 to 15.
fn follows(last: &mut Option<u8>, id: u8) -> Result<(), ClientError> {
    let is_next = last.is_none_or(|last| (last + 1) & 0x0F == id);
    *last = Some(id);
    if is_next {
        return Ok(());
    }
    Err(ClientError::Unexpected { asked: "ACTION", found: "with the number of another request".to_owned() })
}

impl<S: AsyncRead + AsyncWrite + Unpin> DlmsClient<S> {
    /// Sends the first `length` bytes of the request buffer; an answer is owed from then on.
    async fn send(&mut self, length: usize, operation: Instant) -> Result<(), ClientError> {
        self.owe()?;
        let response = self.limits.response;
        let deadline = operation.min(Instant::now() + response);
        let sending = self.write_request(length);
        timeout_at(deadline, sending).await.unwrap_or(Err(ClientError::Deadline(response)))
    }

    async fn receive(&mut self, operation: Instant) -> Result<Vec<u8>, ClientError> {
        let response = self.limits.response;
        let deadline = operation.min(Instant::now() + response);
        let receiving = self.read_response();
        timeout_at(deadline, receiving).await.unwrap_or(Err(ClientError::Deadline(response)))
    }
}

const _: () = assert!(SCRATCH + PROTECTION <= MAX_APDU as usize);
