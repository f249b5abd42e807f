//! The meter's side of DLMS/COSEM over the TCP wrapper: one link a connection, one association per client role, pushes.
//!
//! The engine of `dlms-cosem-rs` serves one association. Here one is made for each client address that asks and may
//! ask ([`crate::Peer`]), its small deviations from what other makers' clients expect are corrected (`form`), whoever
//! fails is answered later (`guard`), and pushes are threaded into its sequence of invocation counters
//! (`association`).

mod association;
mod form;
mod guard;
mod provider;
mod push;
mod release;
mod wrapper;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::{Role, Roles};

pub(crate) use association::{Association, CONFORMANCE, REQUEST_MAX, VALUE_MAX};
pub(crate) use guard::Guard;
pub(crate) use push::Pushes;

use crate::inner::Inner;
use crate::{Peer, ProtocolError, Random, StorageError};
use wrapper::{Frame, Reassembly, frame};

/// The meter's only logical device: the management logical device, wrapper port 1.
const LOGICAL_DEVICE: u16 = 1;

/// Answers that wait to be sent: a client of one outstanding request needs one.
const OUTGOING_MAX: usize = 64;

/// Messages that wait while their sender is slowed down. A client that waits for its answers has one.
const HELD_MAX: usize = 4;

/// One connection's state, and nothing that outlives it.
pub(crate) struct Link<F: NorFlash> {
    peer: Peer,
    incoming: Reassembly,
    /// Frames, each with the uptime before which it does not go out.
    outgoing: VecDeque<(u64, Vec<u8>)>,
    /// Messages of roles that are slowed down.
    held: VecDeque<Frame>,
    associations: [Option<Box<Association<F>>>; Role::ALL.len()],
    pushes: Pushes,
    /// A role that the peer may not take has been logged: once a connection is enough.
    misuse_logged: bool,
    /// Why the connection must be closed.
    failed: Option<ProtocolError>,
}

impl<F: NorFlash> core::fmt::Debug for Link<F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Link").field("peer", &self.peer).field("associations", &self.associations).finish()
    }
}

/// What a link needs of the meter to serve a message.
pub(crate) struct Service<'a, R> {
    pub(crate) random: &'a mut R,
    /// The roles with an association on another connection. A role's key is used on one connection at a time:
    /// everything under it is one rising sequence of counters.
    pub(crate) elsewhere: Roles,
}

impl<F: NorFlash> Link<F> {
    pub(crate) fn new(peer: Peer) -> Self {
        Self {
            peer,
            incoming: Reassembly::default(),
            outgoing: VecDeque::new(),
            held: VecDeque::new(),
            associations: [const { None }; Role::ALL.len()],
            pushes: Pushes::default(),
            misuse_logged: false,
            failed: None,
        }
    }

    /// The roles whose association is up here.
    pub(crate) fn associated(&self) -> Roles {
        self.begun_where(Association::is_associated)
    }

    /// The roles whose association is up here, or begun.
    pub(crate) fn begun(&self) -> Roles {
        self.begun_where(|_| true)
    }

    fn begun_where(&self, wanted: impl Fn(&Association<F>) -> bool) -> Roles {
        let is_wanted = |role: &Role| self.associations[role.index()].as_deref().is_some_and(&wanted);
        Role::ALL.into_iter().filter(is_wanted).collect()
    }

    /// Ends the associations of these roles.
    pub(crate) fn end(&mut self, roles: Roles) {
        for role in roles.iter() {
            self.associations[role.index()] = None;
        }
    }

    /// Takes bytes from the peer and serves every message that is complete.
    pub(crate) fn receive(
        &mut self,
        mut inner: Box<Inner<F>>,
        service: &mut Service<'_, impl Random>,
        mut bytes: &[u8],
    ) -> (Box<Inner<F>>, Result<(), ProtocolError>) {
        loop {
            match self.incoming.next(&mut bytes) {
                Ok(None) => return (inner, Ok(())),
                Err(error) => return (inner, Err(error)),
                Ok(Some(message)) if self.must_wait(&inner, &message) => {
                    if self.held.len() == HELD_MAX {
                        return (inner, Err(ProtocolError::Backlog));
                    }
                    self.held.push_back(message);
                }
                Ok(Some(message)) => {
                    let outcome;
                    (inner, outcome) = self.serve(inner, service, &message);
                    if let Err(error) = outcome {
                        return (inner, Err(error));
                    }
                }
            }
        }
    }

    /// Serves the messages whose time has come. An error is kept until [`Self::transmit`] is asked.
    pub(crate) fn tick(
        &mut self,
        mut inner: Box<Inner<F>>,
        service: &mut Service<'_, impl Random>,
    ) -> (Box<Inner<F>>, Result<(), ProtocolError>) {
        self.pushes.tick();
        let ready = |link: &Self, inner: &Inner<F>| {
            link.held.iter().position(|message| link.answered_from(inner, message) <= inner.uptime_ms())
        };
        while let Some(message) = ready(self, &inner).and_then(|k| self.held.remove(k)) {
            let outcome;
            (inner, outcome) = self.serve(inner, service, &message);
            if let Err(error) = outcome {
                self.failed = Some(error);
                self.held.clear();
                return (inner, Err(error));
            }
        }
        (inner, Ok(()))
    }

    /// The next frame for the peer, pushes after answers.
    pub(crate) fn transmit(&mut self, inner: &mut Inner<F>) -> Result<Option<Vec<u8>>, ProtocolError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let due = self.outgoing.iter().position(|(from_ms, _)| *from_ms <= inner.uptime_ms());
        if let Some((_, frame)) = due.and_then(|k| self.outgoing.remove(k)) {
            return Ok(Some(frame));
        }
        let utility = self.associations[Role::Utility.index()].as_mut();
        let push = utility.and_then(|utility| self.pushes.next(inner, utility));
        Ok(push.map(|apdu| frame(LOGICAL_DEVICE, Role::Utility.client_address(), &apdu)))
    }

    /// Whether a message comes too early, or after another of its role that did.
    fn must_wait(&self, inner: &Inner<F>, message: &Frame) -> bool {
        self.answered_from(inner, message) > inner.uptime_ms()
            || self.held.iter().any(|held| held.client == message.client)
    }

    /// The uptime from which a message is served: an association that stands answers for what was done in it, the
    /// way to a new one for all that has failed at this port.
    fn answered_from(&self, inner: &Inner<F>, message: &Frame) -> u64 {
        let Some(role) = Role::from_client_address(message.client) else { return 0 };
        let begins = message.apdu().first() == Some(&form::TAG_AARQ);
        match &self.associations[role.index()] {
            Some(association) if association.is_associated() && !begins => association.until_ms(),
            _ => inner.guard.until(role, self.peer.local),
        }
    }

    fn serve(
        &mut self,
        mut inner: Box<Inner<F>>,
        service: &mut Service<'_, impl Random>,
        message: &Frame,
    ) -> (Box<Inner<F>>, Result<(), ProtocolError>) {
        if self.outgoing.len() == OUTGOING_MAX {
            return (inner, Err(ProtocolError::Backlog));
        }
        let served = message.logical_device == LOGICAL_DEVICE;
        let role = Role::from_client_address(message.client).filter(|_| served);
        let Some(role) = role else {
            self.answer(0, message, &form::REFUSAL);
            return (inner, Ok(()));
        };
        if message.apdu().first() == Some(&form::TAG_AARQ) {
            match self.begin(role, &mut inner, service) {
                Ok(true) => {}
                Ok(false) => {
                    let from_ms = inner.guard.until(role, self.peer.local);
                    self.answer(from_ms, message, &form::REFUSAL);
                    return (inner, Ok(()));
                }
                Err(_) => return (inner, Err(ProtocolError::Storage)),
            }
        }
        let slot = &mut self.associations[role.index()];
        let Some(association) = slot else {
            self.answer(0, message, &form::REFUSAL);
            return (inner, Ok(()));
        };
        let was_associated = association.is_associated();
        let (mut inner, answer) = association.handle(inner, message.apdu());
        let from_ms = association.until_ms();
        if role == Role::Utility && !was_associated && association.is_associated() {
            self.pushes.restart(&inner);
            inner.reached_head_end |= !self.peer.local;
        }
        if association.is_over() {
            *slot = None;
        }
        match answer {
            Ok(answer) if answer.is_empty() => {}
            Ok(answer) => self.answer(from_ms, message, &answer),
            Err(error) => return (inner, Err(error)),
        }
        (inner, Ok(()))
    }

    /// Makes an engine for a new association, if this peer may have one of this role and no other connection has.
    fn begin(
        &mut self,
        role: Role,
        inner: &mut Inner<F>,
        service: &mut Service<'_, impl Random>,
    ) -> Result<bool, StorageError<F::Error>> {
        if !self.peer.may_take(role) {
            let logged = core::mem::replace(&mut self.misuse_logged, true);
            inner.guard.strike(role, self.peer.local, inner.uptime_ms());
            inner.acts_refused(1, logged)?;
            return Ok(false);
        }
        let keys = inner.keys.roles.get(role);
        let without_keys = role != Role::Public && keys.is_none();
        if without_keys || (role != Role::Public && service.elsewhere.contains(role)) {
            return Ok(false);
        }
        let mut challenge = [0; provider::CHALLENGE_BYTES];
        service.random.fill(&mut challenge);
        let association = Association::new(role, self.peer.local, keys, challenge, inner);
        self.associations[role.index()] = Some(association);
        Ok(true)
    }

    fn answer(&mut self, from_ms: u64, message: &Frame, apdu: &[u8]) {
        self.outgoing.push_back((from_ms, frame(message.logical_device, message.client, apdu)));
    }
}
