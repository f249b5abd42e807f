//! The end of an association as a client asks for it, plain or with an enciphered InitiateRequest. The engine knows the
//! plain form only; an enciphered one is judged here, like any other message under the key, and answered in kind.

use alloc::vec::Vec;

use dlms_cosem_rs::acse::{Rlre, Rlrq};
use dlms_cosem_rs::codec::{Decode, Encode};
use embedded_storage::nor_flash::NorFlash;

use super::association::{Association, CONFORMANCE, POLICY};
use super::form;
use crate::inner::Inner;
use crate::records::{LastClient, key_index};
use crate::{ProtocolError, StorageError};

impl<F: NorFlash> Association<F> {
    /// Answers an enciphered release. `None`: it is plain, and the engine's.
    pub(super) fn release(
        &mut self,
        inner: &mut Inner<F>,
        request: &[u8],
    ) -> Option<Result<Vec<u8>, ProtocolError>> {
        if request.first() != Some(&form::TAG_RLRQ) || !self.is_associated() {
            return None;
        }
        let key = key_index(self.role)?;
        let release = Rlrq::from_bytes(request).ok()?;
        let answer = self.judge_release(inner, key, release);
        Some(answer.map_err(|_| ProtocolError::Storage))
    }

    fn judge_release(
        &mut self,
        inner: &mut Inner<F>,
        key: usize,
        release: Rlrq<'_>,
    ) -> Result<Vec<u8>, StorageError<F::Error>> {
        let Some(user_information) = release.user_information else {
            // Plain: from the same peer through the same TLS connection, and it opens nothing.
            return Ok(self.close(release, None));
        };
        let (Some(title), Some(highest)) =
            (self.server.replay_owner(), self.server.peer_invocation_counter())
        else {
            return Ok(form::REFUSAL.to_vec());
        };
        let Some(keys) = inner.keys.roles.get(self.role).cloned() else { return Ok(form::REFUSAL.to_vec()) };
        match form::open_initiate(user_information, title, &keys, POLICY) {
            Some(initiate) if initiate.counter > highest => {
                inner.state.clients[key] = LastClient { title: title.0, highest: initiate.counter };
                inner.write_state()?;
                let counter = self.server.invocation_counter().saturating_add(1);
                inner.used_counters[key] = counter;
                let negotiated = CONFORMANCE.negotiate(initiate.proposed);
                let title = inner.identity.id.system_title();
                let sealed = form::seal_initiate(negotiated, title, counter, &keys, POLICY);
                Ok(self.close(release, sealed.as_deref()))
            }
            deciphered => {
                // Neither a forger nor a recording ends somebody's association.
                self.note_unread(inner, true, deciphered.is_some())?;
                Ok(form::UNDECIPHERABLE.to_vec())
            }
        }
    }

    /// Lets the engine close, whose own answer is plain, and answers in its place.
    fn close(&mut self, release: Rlrq<'_>, user_information: Option<&[u8]>) -> Vec<u8> {
        let mut plain = Vec::new();
        let written = Rlrq { user_information: None, ..release }.encode(&mut plain);
        if written.is_err() || self.server.handle(&plain, &mut [0; 64]).is_err() {
            return form::REFUSAL.to_vec();
        }
        let mut answer = Vec::new();
        match (Rlre { reason: release.reason, user_information }).encode(&mut answer) {
            Ok(()) => answer,
            Err(_) => form::REFUSAL.to_vec(),
        }
    }
}
