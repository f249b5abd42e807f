//! One message out, one message back: the association, deadlines, and telling pushes from responses.

use std::collections::VecDeque;

use dlms_cosem_rs::acse::{AuthMechanism, Diagnostic, UserDiagnostic};
use dlms_cosem_rs::axdr::DateTime;
use dlms_cosem_rs::client::{AssociationStep, ClientConfig, ClientSession};
use dlms_cosem_rs::codec::{Decode as _, Reader};
use dlms_cosem_rs::security::{
    CryptoProvider as _, KeyRing, Protector, RandomSource, RustCryptoProvider, SystemTitle as CodecTitle,
};
use dlms_cosem_rs::xdlms::{
    Apdu, ApduTag, Conformance, ExceptionResponse, GeneralGloCiphering, ServiceError,
};
use dlms_cosem_rs::{Error as CodecError, ErrorKind};
use meterseal_model::{SystemTitle, UnixMillis};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::login::{Gmac, Login, Opening};
use super::push::Notification;
use super::value::{CosemDateTime, Value};
use super::{Association, ClientError, Limits, MAX_APDU};
use crate::wrapper::{Frame, WrapperStream};

/// A session with one meter over the stream `S`.
pub struct DlmsClient<S> {
    pub(super) session: Box<Session>,
    pub(super) limits: Limits,
    /// Requests are built here; [`SCRATCH`] bytes and room for protection while one is under way, nothing otherwise.
    pub(super) request: Vec<u8>,
    /// Deciphered responses, [`MAX_APDU`] bytes; likewise.
    pub(super) plain: Vec<u8>,
    frames: WrapperStream<S>,
    /// Opens pushes; the session has a protector of its own, which knows nothing of them. `None`: nothing is ciphered.
    opener: Option<Protector<Provider>>,
    /// Whose turn it is to speak: of this association, or of one beside it.
    pub(super) client_address: u16,
    /// Where pushes go: always this association's own address.
    push_address: u16,
    server_address: u16,
    /// What the meter must be called, until it has said; then what it is called.
    meter: Option<SystemTitle>,
    highest_push: u32,
    pushes: VecDeque<Notification>,
    pushes_dropped: u64,
    /// Nothing is sent under a higher invocation counter.
    pub(super) last_counter: u32,
    /// Set while an answer is owed; if it is still set when the next request begins, that answer was given up.
    owed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> DlmsClient<S> {
    /// Opens an association on `stream` with HLS-5 and suite 2 and proves both sides to each other.
    ///
    /// # Errors
    /// [`ClientError`]; the stream is then of no more use.
    pub async fn associate(stream: S, params: Association) -> Result<Self, ClientError> {
        Self::open(stream, params.into()).await
    }

    /// Opens an association on `stream`, as [`Opening`] says.
    ///
    /// # Errors
    /// [`ClientError`]; the stream is then of no more use.
    pub async fn open(stream: S, opening: Opening) -> Result<Self, ClientError> {
        let Opening { client_address, server_address, meter, login, pushes, limits } = opening;
        let mut config =
            ClientConfig { max_pdu_size: MAX_APDU, challenge_len: 32, ..ClientConfig::default() };
        if !pushes {
            let notifications = Conformance::DATA_NOTIFICATION.union(Conformance::EVENT_NOTIFICATION);
            config.conformance = config.conformance.difference(notifications);
        }
        let (mut gmac, mut opener, mut ring) = (None, None, KeyRing::default());
        match login {
            Login::Public => {}
            Login::Password(password) => {
                config.mechanism = AuthMechanism::Low;
                config.password = Some(password.0);
            }
            Login::Gmac(login) => {
                // Two ends with one title and one key would share their nonces.
                if Some(login.client_title) == meter {
                    return Err(ClientError::OwnTitle);
                }
                config.system_title = Some(CodecTitle(login.client_title.0));
                config.mechanism = AuthMechanism::HighGmac;
                config.security = login.keys.policy();
                config.invocation_counter = login.invocation_counter;
                ring = login.keys.ring();
                opener =
                    Some(Protector::new(Provider::with_rng(ring.clone(), SystemRandom), login.keys.policy()));
                gmac = Some(login);
            }
        }
        let mut client = Self {
            session: Box::new(ClientSession::new(config, Provider::with_rng(ring, SystemRandom))),
            limits,
            request: Vec::new(),
            plain: Vec::new(),
            frames: WrapperStream::new(stream, MAX_APDU),
            opener,
            client_address,
            push_address: client_address,
            server_address,
            meter,
            highest_push: gmac.as_ref().map_or(0, |login| login.last_push_counter),
            pushes: VecDeque::new(),
            pushes_dropped: 0,
            last_counter: u32::MAX,
            owed: false,
        };
        let deadline = client.begin()?;
        client.handshake(gmac.as_ref(), deadline).await?;
        Ok(client)
    }

    /// Waits for the meter's next push. Cancel-safe. Pushes that came while a response was awaited come first.
    ///
    /// # Errors
    /// [`ClientError`], always fatal. Anything but a push is one, since nothing was asked.
    pub async fn notification(&mut self) -> Result<Notification, ClientError> {
        if self.owed {
            return Err(ClientError::Over);
        }
        loop {
            if let Some(push) = self.pushes.pop_front() {
                return Ok(push);
            }
            let frame = self.frames.read().await?;
            if let Some(response) = self.sort(frame)? {
                self.owed = true;
                return Err(ClientError::Unexpected { asked: "wait for a push", found: name_of(&response) });
            }
        }
    }

    /// From now on nothing is sent under a higher invocation counter than this one, which has been written down as
    /// used: not even where the meter cuts an answer into more blocks than anybody foresaw.
    pub fn allow_counters_to(&mut self, last: u32) {
        self.last_counter = last;
    }

    /// The invocation counter that this client used last. Persist it.
    pub fn invocation_counter(&self) -> u32 {
        self.session.invocation_counter()
    }

    /// The highest invocation counter of a response. Persist it for [`Association::last_response_counter`].
    pub fn response_counter(&self) -> u32 {
        self.session.peer_invocation_counter().unwrap_or(0)
    }

    /// The highest invocation counter of a push. Persist it for [`Association::last_push_counter`].
    pub fn push_counter(&self) -> u32 {
        self.highest_push
    }

    /// How many pushes were dropped because nobody fetched them; read the security log after that.
    pub fn pushes_dropped(&self) -> u64 {
        self.pushes_dropped
    }

    /// The meter's system title: proven with HLS-5, otherwise as it says; `None` where it says none.
    pub fn meter(&self) -> Option<SystemTitle> {
        self.meter
    }

    /// The stream beneath.
    pub fn get_ref(&self) -> &S {
        self.frames.get_ref()
    }

    /// Releases the association and closes the stream.
    ///
    /// # Errors
    /// [`ClientError`]; the session is over in any case.
    pub async fn release(mut self) -> Result<(), ClientError> {
        let deadline = self.begin()?;
        self.ask_release(deadline).await?;
        Ok(self.frames.shutdown().await?)
    }

    pub(super) async fn ask_release(&mut self, deadline: Instant) -> Result<(), ClientError> {
        let length = self.session.release_request(&mut self.request).map_err(ClientError::Unreadable)?;
        let answer = self.exchange(length, deadline).await?;
        if answer.first() != Some(&ApduTag::ReleaseResponse.as_u8()) {
            return Err(ClientError::Unexpected { asked: "release", found: name_of(&answer) });
        }
        Ok(())
    }

    /// Checks that the session is usable, makes room for a request and its answer, and gives the deadline of a new
    /// operation.
    pub(super) fn begin(&mut self) -> Result<Instant, ClientError> {
        if self.owed {
            return Err(ClientError::Over);
        }
        self.request.resize(SCRATCH + PROTECTION, 0);
        self.plain.resize(usize::from(MAX_APDU), 0);
        Ok(Instant::now() + self.limits.operation)
    }

    /// Sends the first `length` bytes of the request buffer and waits for the answer to it. The session counts as
    /// owing an answer until [`settle`](Self::settle) is called.
    pub(super) async fn exchange(
        &mut self,
        length: usize,
        operation: Instant,
    ) -> Result<Vec<u8>, ClientError> {
        self.owe()?;
        let response = self.limits.response;
        let deadline = operation.min(Instant::now() + response);
        let exchange = async {
            self.write_request(length).await?;
            self.read_response().await
        };
        timeout_at(deadline, exchange).await.unwrap_or(Err(ClientError::Deadline(response)))
    }

    /// From now on an answer is owed, to a request whose invocation counter may be used.
    pub(super) fn owe(&mut self) -> Result<(), ClientError> {
        self.owed = true;
        if self.session.invocation_counter() > self.last_counter {
            return Err(ClientError::CountersSpent);
        }
        Ok(())
    }

    pub(super) async fn write_request(&mut self, length: usize) -> Result<(), ClientError> {
        Ok(self.frames.write(self.client_address, self.server_address, &self.request[..length]).await?)
    }

    pub(super) async fn read_response(&mut self) -> Result<Vec<u8>, ClientError> {
        loop {
            let frame = self.frames.read().await?;
            if let Some(response) = self.sort(frame)? {
                return Ok(response);
            }
        }
    }

    /// The answer was the one expected, and complete: the session may go on. Until it does, it holds no buffers: nearly
    /// all of a head-end's sessions wait at any moment.
    pub(super) fn settle(&mut self) {
        self.owed = false;
        self.request = Vec::new();
        self.plain = Vec::new();
    }

    pub(super) async fn handshake(
        &mut self,
        gmac: Option<&Gmac>,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let length = self.session.associate_request(&mut self.request).map_err(ClientError::Unreadable)?;
        let answer = self.exchange(length, deadline).await?;
        let step = self.session.handle_associate_response(&answer).map_err(not_authentic)?;
        let Some(gmac) = gmac else {
            self.check_step(step, AssociationStep::Established)?;
            self.check_title()?;
            // Without it no service was agreed, and every request would be refused as not supported.
            if self.session.negotiated().is_none() {
                return Err(ClientError::Unexpected {
                    asked: "association",
                    found: "no agreement".to_owned(),
                });
            }
            self.settle();
            return Ok(());
        };
        self.check_step(step, AssociationStep::HlsReplyRequired)?;
        self.check_meter(gmac)?;

        let length = self.session.hls_reply_request(&mut self.request).map_err(ClientError::Unreadable)?;
        let answer = self.exchange(length, deadline).await?;
        if let Some(exception) = exception(&answer) {
            return Err(refused_by(exception));
        }
        let step = self.session.handle_hls_reply_response(&answer).map_err(not_authentic)?;
        self.check_step(step, AssociationStep::Established)?;
        self.settle();
        Ok(())
    }

    fn check_step(&self, step: AssociationStep, wanted: AssociationStep) -> Result<(), ClientError> {
        match step {
            step if step == wanted => Ok(()),
            AssociationStep::Exception(exception) => Err(refused_by(exception)),
            AssociationStep::Rejected { diagnostic, .. } => {
                Err(ClientError::Refused { diagnostic: in_words(diagnostic) })
            }
            other => Err(ClientError::Refused { diagnostic: format!("unexpected step {other:?}") }),
        }
    }

    /// What the meter says that it is called, against what it must be called.
    fn check_title(&mut self) -> Result<(), ClientError> {
        let stated = self.session.server_system_title().map(|title| SystemTitle(title.0));
        match (self.meter, stated) {
            (Some(expected), Some(found)) if expected != found => {
                Err(ClientError::SystemTitle { expected: expected.0, found: found.0 })
            }
            _ => {
                self.meter = self.meter.or(stated);
                Ok(())
            }
        }
    }

    /// After the AARE, whose user information was deciphered under the title that it states: is it the right meter,
    /// and is the message fresh? The title is not proven before the challenge is answered.
    fn check_meter(&mut self, gmac: &Gmac) -> Result<(), ClientError> {
        let stated = self.session.server_system_title().ok_or(ClientError::NotAuthentic)?;
        self.check_title()?;
        if stated.0 == gmac.client_title.0 {
            return Err(ClientError::OwnTitle);
        }
        // An AARE without a ciphered InitiateResponse has negotiated nothing.
        let counter = self.session.peer_invocation_counter();
        let (Some(_), Some(counter)) = (self.session.negotiated(), counter) else {
            return Err(ClientError::NotAuthentic);
        };
        let highest = gmac.last_response_counter;
        if counter <= highest {
            return Err(ClientError::Replay { kind: "response", counter, highest });
        }
        Ok(())
    }

    /// Takes a push out of the stream and gives everything else back.
    fn sort(&mut self, frame: Frame) -> Result<Option<Vec<u8>>, ClientError> {
        let Frame { source, destination, apdu } = frame;
        let to_us = destination == self.client_address;
        let other = || {
            let found = format!("from address {source} to {destination}");
            Err(ClientError::Unexpected { asked: "request", found })
        };
        if source != self.server_address || !to_us && destination != self.push_address {
            return other();
        }
        if destination != self.push_address {
            // An association beside this one has its turn, and gets no pushes.
            return Ok(Some(apdu));
        }
        if self.opener.is_none() && apdu.first() == Some(&ApduTag::DataNotification.as_u8()) {
            // Nothing proves where it comes from, and nobody asked for it.
            self.pushes_dropped += 1;
            return Ok(None);
        }
        if self.opener.is_none() || apdu.first() != Some(&ApduTag::GeneralGloCiphering.as_u8()) {
            return if to_us { Ok(Some(apdu)) } else { other() };
        }
        // A response may travel in general-glo-ciphering too (interop.md): only what is inside tells them apart, and
        // the inside is authentic, so a response can never be replayed as a push or the other way round.
        let Some(push) = self.open_push(&apdu)? else {
            return if to_us { Ok(Some(apdu)) } else { other() };
        };
        if push.invocation_counter <= self.highest_push {
            let (counter, highest) = (push.invocation_counter, self.highest_push);
            return Err(ClientError::Replay { kind: "push", counter, highest });
        }
        self.highest_push = push.invocation_counter;
        if self.pushes.len() >= self.limits.queued_pushes {
            self.pushes.pop_front();
            self.pushes_dropped += 1;
        }
        self.pushes.push_back(push);
        Ok(None)
    }

    fn open_push(&self, apdu: &[u8]) -> Result<Option<Notification>, ClientError> {
        let mut reader = Reader::new(apdu);
        reader.skip(1).map_err(ClientError::Unreadable)?;
        let general = GeneralGloCiphering::decode(&mut reader).map_err(ClientError::Unreadable)?;
        let stranger = || ClientError::Unreadable(CodecError::new(ErrorKind::UnexpectedMessage, 1));
        let (Some(opener), Some(meter)) = (&self.opener, self.meter) else { return Err(stranger()) };
        if general.system_title != meter.0 || reader.remaining() != 0 {
            return Err(stranger());
        }
        let ciphered = general.ciphered;
        let key = opener.provider().authentication_key().unwrap_or(&[]);
        let mut body = ciphered.payload.to_vec();
        let plain = opener
            .unprotect(
                ciphered.security_control,
                &CodecTitle(meter.0),
                ciphered.invocation_counter,
                key,
                &mut body,
            )
            .map_err(ClientError::Unreadable)?;
        if plain.first() != Some(&ApduTag::DataNotification.as_u8()) {
            return Ok(None);
        }
        let Apdu::DataNotification(push) = Apdu::from_bytes(plain).map_err(ClientError::Unreadable)? else {
            return Ok(None);
        };
        Ok(Some(Notification {
            sender: meter,
            invocation_counter: ciphered.invocation_counter,
            captured_at: push.date_time.0.and_then(unix),
            body: Value::from_data(push.body)?,
        }))
    }
}

impl<S> std::fmt::Debug for DlmsClient<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DlmsClient")
            .field("meter", &self.meter)
            .field("client_address", &self.client_address)
            .field("invocation_counter", &self.session.invocation_counter())
            .finish_non_exhaustive()
    }
}

pub(super) type Session = ClientSession<Provider, SCRATCH>;
pub(super) type Provider = RustCryptoProvider<SystemRandom>;

/// The longest plain request; a longer value goes in blocks. A block of a firmware package, 2 032 bytes, fits with all that
/// is around it.
pub(super) const SCRATCH: usize = 2048 + 128;
/// Tag, title, lengths, security header and tag around a plain request, generously.
pub(super) const PROTECTION: usize = 64;

/// The operating system's random source, for challenges.
#[derive(Debug)]
pub(super) struct SystemRandom;

impl RandomSource for SystemRandom {
    fn fill(&self, out: &mut [u8]) -> dlms_cosem_rs::Result<()> {
        getrandom::fill(out).map_err(|_| CodecError::new(ErrorKind::Unsupported, 0))
    }
}

/// What an exception response in `apdu` says, if it is one. It is never protected, so it is believed only as far as
/// TLS goes.
pub(super) fn exception(apdu: &[u8]) -> Option<ExceptionResponse> {
    let (tag, body) = apdu.split_first()?;
    (*tag == ApduTag::ExceptionResponse.as_u8()).then(|| ExceptionResponse::from_bytes(body).ok())?
}

pub(super) fn refused_by(exception: ExceptionResponse) -> ClientError {
    match (exception.service_error, exception.expected_invocation_counter) {
        (ServiceError::InvocationCounterError, Some(expected)) => ClientError::InvocationCounter { expected },
        (ServiceError::InvocationCounterError, None) => ClientError::CounterBehind,
        (ServiceError::DecipheringError, _) => ClientError::Refused {
            diagnostic:
                "it could not decipher our message: other keys, another security suite, or a system title \
                         that it does not expect"
                    .to_owned(),
        },
        (ServiceError::OperationNotPossible | ServiceError::ServiceNotSupported, _) => ClientError::Refused {
            diagnostic: "it does not offer this service here; check the role's address and how it logs in"
                .to_owned(),
        },
        (error, _) => ClientError::Refused { diagnostic: format!("{error:?}, {:?}", exception.state_error) },
    }
}

pub(super) fn name_of(apdu: &[u8]) -> String {
    match apdu.first() {
        None => "with an empty message".to_owned(),
        Some(&byte) => match ApduTag::from_u8(byte) {
            Some(tag) => format!("{tag:?}"),
            None => format!("with message type {byte:#04x}"),
        },
    }
}

fn in_words(diagnostic: Diagnostic) -> String {
    match diagnostic {
        Diagnostic::User(UserDiagnostic::AuthenticationFailure) => {
            "authentication failed; check keys and security suite, or the password".to_owned()
        }
        Diagnostic::User(UserDiagnostic::ApplicationContextNameNotSupported) => {
            "it does not offer a ciphered association for this role".to_owned()
        }
        other => format!("{other:?}"),
    }
}

fn not_authentic(error: CodecError) -> ClientError {
    match error.kind {
        ErrorKind::BadTag => ClientError::NotAuthentic,
        _ => ClientError::Unreadable(error),
    }
}

fn unix(time: DateTime) -> Option<UnixMillis> {
    CosemDateTime(time.to_bytes()).unix()
}
