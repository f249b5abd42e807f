//! The meter's side of DLMS/COSEM over the TCP wrapper: reassembly, one association per client role, pushes.
//!
//! The engine of `dlms-cosem-rs` serves one association. Here one is made for each client address that asks, its
//! small deviations from what other makers' clients expect are corrected (`form`), and pushes are threaded into
//! its sequence of invocation counters (`association`).

mod association;
mod form;
mod provider;
mod push;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use dlms_cosem_rs::codec::Encode;
use dlms_cosem_rs::transport::wrapper::{Header, VERSION, Wpdu};
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::Role;

pub(crate) use association::{Association, REQUEST_MAX, VALUE_MAX};
pub(crate) use push::Pushes;

use crate::inner::Inner;
use crate::{DlmsKeys, ProtocolError, Random};

/// The meter's only logical device: the management logical device, wrapper port 1.
const LOGICAL_DEVICE: u16 = 1;

/// Answers that wait to be sent: a client of one outstanding request needs one.
const OUTGOING_MAX: usize = 64;

/// One connection's state, and nothing that outlives it.
#[derive(Debug)]
pub(crate) struct Link<F: NorFlash> {
    incoming: Vec<u8>,
    outgoing: VecDeque<Vec<u8>>,
    associations: [Option<Box<Association<F>>>; Role::ALL.len()],
    pub(crate) pushes: Pushes,
}

impl<F: NorFlash> Default for Link<F> {
    fn default() -> Self {
        Self {
            incoming: Vec::new(),
            outgoing: VecDeque::new(),
            associations: [const { None }; Role::ALL.len()],
            pushes: Pushes::default(),
        }
    }
}

/// The keys of each role that has some.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) utility: DlmsKeys,
    pub(crate) reader: Option<DlmsKeys>,
}

impl<F: NorFlash> Link<F> {
    /// Takes bytes from the peer and serves every message that is complete.
    pub(crate) fn receive(
        &mut self,
        mut inner: Box<Inner<F>>,
        keys: &Keys,
        random: &mut impl Random,
        mut bytes: &[u8],
    ) -> (Box<Inner<F>>, Result<(), ProtocolError>) {
        loop {
            match self.next_message(&mut bytes) {
                Ok(None) => return (inner, Ok(())),
                Err(error) => return (inner, Err(error)),
                Ok(Some(message)) => {
                    let outcome;
                    (inner, outcome) = self.serve(inner, keys, random, &message);
                    if let Err(error) = outcome {
                        return (inner, Err(error));
                    }
                }
            }
        }
    }

    /// The next frame for the peer, pushes after answers.
    pub(crate) fn transmit(&mut self, inner: &mut Inner<F>, keys: &Keys) -> Option<Vec<u8>> {
        if let Some(frame) = self.outgoing.pop_front() {
            return Some(frame);
        }
        let utility = self.associations[Role::Utility.index()].as_mut()?;
        let apdu = self.pushes.next(inner, utility, &keys.utility)?;
        Some(frame(LOGICAL_DEVICE, Role::Utility.client_address(), &apdu))
    }

    /// Takes bytes until a whole wrapper frame is there, never more than one frame's bytes at a time.
    fn next_message(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, ProtocolError> {
        let mut wanted = Header::LEN;
        loop {
            let missing = wanted.saturating_sub(self.incoming.len());
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.incoming.extend_from_slice(taken);
            *bytes = rest;
            if self.incoming.len() < wanted {
                return Ok(None);
            }
            let word = |at: usize| u16::from_be_bytes([self.incoming[at], self.incoming[at + 1]]);
            if word(0) != VERSION {
                return Err(ProtocolError::WrapperVersion { found: word(0) });
            }
            let announced = word(6);
            if announced > REQUEST_MAX {
                return Err(ProtocolError::TooLong { announced, limit: REQUEST_MAX });
            }
            if self.incoming.len() == Header::LEN + usize::from(announced) {
                return Ok(Some(core::mem::take(&mut self.incoming)));
            }
            wanted = Header::LEN + usize::from(announced);
        }
    }

    fn serve(
        &mut self,
        inner: Box<Inner<F>>,
        keys: &Keys,
        random: &mut impl Random,
        message: &[u8],
    ) -> (Box<Inner<F>>, Result<(), ProtocolError>) {
        let (header, apdu) = message.split_at(Header::LEN);
        let client = u16::from_be_bytes([header[2], header[3]]);
        let logical_device = u16::from_be_bytes([header[4], header[5]]);
        if self.outgoing.len() == OUTGOING_MAX {
            return (inner, Err(ProtocolError::Backlog));
        }
        let role = Role::from_client_address(client).filter(|_| logical_device == LOGICAL_DEVICE);
        let role_keys = role.and_then(|role| match role {
            Role::Public => Some(None),
            Role::Reader => keys.reader.as_ref().map(Some),
            Role::Utility => Some(Some(&keys.utility)),
            Role::Firmware | Role::Installer | Role::Bench => None,
        });
        let (Some(role), Some(role_keys)) = (role, role_keys) else {
            self.outgoing.push_back(frame(logical_device, client, &form::REFUSAL));
            return (inner, Ok(()));
        };
        let slot = &mut self.associations[role.index()];
        if apdu.first() == Some(&form::TAG_AARQ) {
            let mut challenge = [0; provider::CHALLENGE_BYTES];
            random.fill(&mut challenge);
            *slot = Some(Association::new(role, role_keys, challenge, &inner));
        }
        let Some(association) = slot else {
            self.outgoing.push_back(frame(logical_device, client, &form::REFUSAL));
            return (inner, Ok(()));
        };
        let was_associated = association.is_associated();
        let (inner, answer) = association.handle(inner, apdu);
        if role == Role::Utility && !was_associated && association.is_associated() {
            self.pushes.restart(&inner);
        }
        if association.is_over() {
            *slot = None;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return (inner, Err(error)),
        };
        if !answer.is_empty() {
            self.outgoing.push_back(frame(logical_device, client, &answer));
        }
        (inner, Ok(()))
    }
}

/// A wrapper frame around an APDU of at most 65 535 bytes, which all of the meter's are.
fn frame(source: u16, destination: u16, apdu: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(Header::LEN + apdu.len());
    if let Ok(frame) = Wpdu::new(source, destination, apdu) {
        // Writing to a vector cannot fail.
        let _ = frame.encode(&mut bytes);
    }
    bytes
}
