//! One client role's association: the engine, its counters and what goes through it.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use dlms_cosem_rs::acse::AuthMechanism;
use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::ErrorKind;
use dlms_cosem_rs::security::{RustCryptoProvider, SecurityPolicy, SecuritySuite, SystemTitle};
use dlms_cosem_rs::server::{PushSender, Server, ServerConfig, ServerState};
use dlms_cosem_rs::xdlms::Conformance;
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::{EventCode, Role};

use super::form;
use super::provider::{CHALLENGE_BYTES, Provider, Sealing, key_ring};
use crate::cosem::Store;
use crate::inner::Inner;
use crate::records::{LastClient, key_index};
use crate::{DlmsKeys, ProtocolError};

/// The longest message that the meter accepts, and announces.
pub(crate) const REQUEST_MAX: u16 = 4096;

/// The longest value that the meter builds: about 100 rows of the load profile. Longer than one message, it goes
/// out in blocks.
pub(crate) const VALUE_MAX: usize = 8192;

/// Room around a block of [`VALUE_MAX`] bytes: headers, protection and the general form's system title.
const RESPONSE_MAX: usize = VALUE_MAX + 128;

/// The most invocation counters that one request can spend (HLS: the proof and the answer around it).
const COUNTERS_PER_REQUEST: u32 = 4;

pub(super) const POLICY: SecurityPolicy = SecurityPolicy::authenticated_encrypted(SecuritySuite::Suite2);

/// What the meter offers.
pub(crate) const CONFORMANCE: Conformance = Conformance::SERVER_DEFAULT
    .union(Conformance::DATA_NOTIFICATION)
    .difference(Conformance::ATTRIBUTE0_SUPPORTED_WITH_GET);

pub(crate) struct Association<F: NorFlash> {
    pub(super) role: Role,
    /// Whether the connection is at the local port.
    local: bool,
    /// The uptime before which nothing is answered here: the association itself has done wrong.
    until_ms: u64,
    pub(super) server: Server<Store<F>, Provider, VALUE_MAX>,
    sealing: Sealing,
    /// One event of each kind per association: a peer must not be able to fill the log.
    undecryptable_logged: bool,
    replay_logged: bool,
    unauthorised_logged: bool,
    /// Whether the client did not ask for notifications, or did not agree to `general-protection`, without which it
    /// cannot be sent any. Known once tried.
    push_refused: bool,
    /// The AARQ, until it is known whether it asked for notifications.
    aarq: Option<Vec<u8>>,
}

impl<F: NorFlash> core::fmt::Debug for Association<F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Association").field("role", &self.role).field("state", &self.server.state()).finish()
    }
}

impl<F: NorFlash> Association<F> {
    /// An engine for one association. It is made anew for every AARQ: its counters and the client's highest come
    /// from what flash holds, so nothing that an unauthenticated AARQ says can reset them.
    pub(crate) fn new(
        role: Role,
        local: bool,
        keys: Option<&DlmsKeys>,
        challenge: [u8; CHALLENGE_BYTES],
        inner: &Inner<F>,
    ) -> Box<Self> {
        let ciphered = key_index(role);
        let sealing = Sealing::default();
        let config = ServerConfig {
            system_title: Some(SystemTitle(inner.identity.id.system_title().0)),
            mechanism: if ciphered.is_some() { AuthMechanism::HighGmac } else { AuthMechanism::None },
            security: if ciphered.is_some() { POLICY } else { SecurityPolicy::NONE },
            max_pdu_size: REQUEST_MAX,
            conformance: CONFORMANCE,
            challenge_len: 32,
            invocation_counter: ciphered.map_or(0, |key| inner.used_counters[key]),
            ..ServerConfig::default()
        };
        let provider = Provider::new(keys, Some(challenge), sealing.clone());
        let mut server = Server::new(
            config,
            Store { role, inner: None, question: None, refused: false, denied: 0 },
            provider,
        );
        let client = ciphered.map(|key| inner.state.clients[key]);
        if let Some(client) = client.filter(|client| *client != LastClient::default()) {
            server.resume_replay_window(SystemTitle(client.title), client.highest);
        }
        Box::new(Self {
            role,
            local,
            until_ms: 0,
            server,
            sealing,
            undecryptable_logged: false,
            replay_logged: false,
            unauthorised_logged: false,
            push_refused: false,
            aarq: None,
        })
    }

    pub(crate) fn is_associated(&self) -> bool {
        self.server.state() == ServerState::Associated
    }

    /// The uptime before which this association is not answered.
    pub(crate) const fn until_ms(&self) -> u64 {
        self.until_ms
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.server.state(), ServerState::Closed | ServerState::Idle)
    }

    /// Serves one message. Returns the answer, empty when there is none.
    pub(crate) fn handle(
        &mut self,
        mut inner: Box<Inner<F>>,
        request: &[u8],
    ) -> (Box<Inner<F>>, Result<Vec<u8>, ProtocolError>) {
        let key = key_index(self.role);
        if let Some(key) = key
            && inner.reserve_counters(key, COUNTERS_PER_REQUEST).is_err()
        {
            return (inner, Err(ProtocolError::Storage));
        }
        if request.first() == Some(&form::TAG_AARQ) {
            self.aarq = Some(request.to_vec());
        }
        if let Some(answer) = self.release(&mut inner, request) {
            return (inner, answer);
        }
        let before = self.server.state();
        let highest_before = self.server.peer_invocation_counter();
        let counter = form::counter_of(request);
        inner.incoming = match (key, self.server.replay_owner(), counter) {
            (Some(key), Some(title), Some(highest)) => Some((key, LastClient { title: title.0, highest })),
            _ => None,
        };

        self.server.store_mut().inner = Some(inner);
        let mut response = vec![0; RESPONSE_MAX];
        let outcome = self.server.handle(request, &mut response);
        let store = self.server.store_mut();
        let refused = core::mem::take(&mut store.refused);
        let denied = core::mem::take(&mut store.denied);
        let mut inner = store.inner.take().expect("the store keeps what it is lent for the request");

        inner.incoming = None;
        // Counters under a cipher key that this very message has replaced are nobody's any more.
        let key = key.filter(|_| !inner.keys.restarted.contains(self.role));
        if let Some(key) = key {
            inner.used_counters[key] = self.server.invocation_counter();
        }
        let state = self.server.state();
        let failed_proof = before == ServerState::AwaitingHlsReply && state == ServerState::Closed;
        let established = before != ServerState::Associated && state == ServerState::Associated;
        let mut noted = self.note_client(&mut inner, key, established);
        let (role, local, uptime) = (self.role, self.local, inner.uptime_ms());
        if refused || failed_proof {
            self.until_ms = inner.guard.strike(role, local, uptime);
            noted = noted.and(inner.login_failed());
        }
        if denied > 0 {
            self.until_ms = inner.guard.unauthorised(role, local, denied, uptime);
            noted = noted.and(inner.acts_refused(denied, self.unauthorised_logged));
            self.unauthorised_logged = true;
        }
        if before == ServerState::Associated && counter.is_some() {
            let unread = self.server.peer_invocation_counter() == highest_before;
            let replayed = counter <= highest_before;
            noted = noted.and(self.note_unread(&mut inner, unread, replayed));
        }
        if noted.is_err() {
            return (inner, Err(ProtocolError::Storage));
        }
        let answer = match outcome {
            Ok(len) => {
                response.truncate(len);
                if state == ServerState::AwaitingHlsReply {
                    response = form::demand_authentication(response);
                }
                Ok(form::answer_in_kind(request.first().copied(), response, inner.identity.id.system_title()))
            }
            Err(error) if matches!(error.kind, ErrorKind::BufferTooSmall { .. }) => {
                Ok(form::TOO_LONG.to_vec())
            }
            Err(_) => Err(ProtocolError::Malformed { client: self.role.client_address() }),
        };
        (inner, answer)
    }

    /// A protected notification with this body, under the next invocation counter of the association: all that the
    /// meter sends under a key is one rising sequence. `Ok(None)` when the client cannot be sent one.
    pub(crate) fn push(
        &mut self,
        inner: &mut Inner<F>,
        body: &Data<'_>,
    ) -> Result<Option<Vec<u8>>, ProtocolError> {
        let Some(key) = key_index(self.role).filter(|_| self.is_associated() && !self.push_refused) else {
            return Ok(None);
        };
        let Some(keys) = inner.keys.roles.get(self.role).cloned() else { return Ok(None) };
        if let Some(aarq) = self.aarq.take()
            && !form::asks_for_pushes(&aarq, &keys, POLICY)
        {
            self.push_refused = true;
            return Ok(None);
        }
        inner.reserve_counters(key, COUNTERS_PER_REQUEST).map_err(|_| ProtocolError::Storage)?;
        let Some(counter) = self.spend_counter() else {
            self.push_refused = true;
            return Ok(None);
        };
        inner.used_counters[key] = counter;
        let title = SystemTitle(inner.identity.id.system_title().0);
        let mut sender: PushSender<_, 256> =
            PushSender::new(RustCryptoProvider::new(key_ring(&keys)), title, POLICY, counter - 1);
        let mut bytes = vec![0; 320];
        let time = inner.date_time(inner.clock());
        let len = sender
            .notify(Some(time), body, &mut bytes)
            .map_err(|_| ProtocolError::Malformed { client: self.role.client_address() })?;
        bytes.truncate(len);
        Ok(Some(bytes))
    }

    /// Makes the engine spend a counter without sealing anything under it: it is asked to refuse a message that is
    /// none, and stopped where it would protect the refusal. `None` when it would not protect it, which it only
    /// does where the client agreed to `general-protection`.
    fn spend_counter(&mut self) -> Option<u32> {
        let before = self.server.invocation_counter();
        self.sealing.withhold(true);
        let outcome = self.server.handle(&[NO_APDU], &mut [0; 64]);
        self.sealing.withhold(false);
        let after = self.server.invocation_counter();
        (outcome.is_err() && after == before + 1).then_some(after)
    }

    /// Keeps whose counters have been accepted up to where. At an association's start it goes to flash at once,
    /// later with the registers or with what the client sets.
    ///
    /// One client a key is remembered, the last that proved itself. The counters of one before it are not known any
    /// more, but nothing that it sent can be used again: its messages are read in an association of its title alone,
    /// which takes a proof over a challenge that is new each time, and there they count from that association's AARQ on.
    fn note_client(
        &self,
        inner: &mut Inner<F>,
        key: Option<usize>,
        established: bool,
    ) -> Result<(), crate::StorageError<F::Error>> {
        let (Some(key), Some(title), Some(highest)) =
            (key, self.server.replay_owner(), self.server.peer_invocation_counter())
        else {
            return Ok(());
        };
        let client = LastClient { title: title.0, highest };
        let another = client.title != inner.state.clients[key].title;
        if another && !self.is_associated() {
            // Not proven: an AARQ that somebody recorded must not make the meter forget whose counters it knows.
            return Ok(());
        }
        inner.state.clients[key] = client;
        if established || another { inner.write_state() } else { Ok(()) }
    }

    pub(super) fn note_unread(
        &mut self,
        inner: &mut Inner<F>,
        unread: bool,
        replayed: bool,
    ) -> Result<(), crate::StorageError<F::Error>> {
        if !unread {
            return Ok(());
        }
        self.until_ms = inner.guard.strike(self.role, self.local, inner.uptime_ms());
        let (logged, code) = if replayed {
            (&mut self.replay_logged, EventCode::ReplayedMessage)
        } else {
            (&mut self.undecryptable_logged, EventCode::UndecryptableMessage)
        };
        if core::mem::replace(logged, true) { Ok(()) } else { inner.log(code, 0) }
    }
}

/// A tag that no APDU has.
const NO_APDU: u8 = 0xFF;
