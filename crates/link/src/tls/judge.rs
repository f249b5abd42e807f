//! The judgement of a peer after a handshake. rustls calls no verifier when a session is resumed, so it is made after
//! *every* handshake: validity, revocation, name and roles are looked at again. That the certificates chain to a
//! trusted authority was checked in the session's first handshake, under the same configuration.

use std::time::SystemTime;

use meterseal_model::Roles;
use rustls::CommonState;

use super::clock::MeterClock;
use super::peer::{Peer, PeerError};
use crate::pki::{Certificate, moment};
use crate::revocation::{Revocations, Standing};

/// An authenticated peer, and its right to stay.
#[derive(Debug)]
pub struct Judged {
    /// Who it is.
    pub peer: Peer,
    /// The roles that its certificate gives.
    pub roles: Roles,
    /// Ends when its certificate no longer carries the connection.
    pub standing: Standing,
}

/// What a judgement needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    pub(crate) revocations: Revocations,
    pub(crate) clock: MeterClock,
}

impl Judge {
    /// Who is at the other end of a finished handshake. Where the clock is not trusted yet, validity is judged as far
    /// as the last sealed time allows; judge again when it is.
    pub(crate) fn judge(&self, connection: &CommonState) -> Result<Judged, PeerError> {
        if connection.is_handshaking() {
            return Err(PeerError::NoCertificate);
        }
        let chain = connection.peer_certificates().unwrap_or_default();
        let own = Certificate::read(chain.first().ok_or(PeerError::NoCertificate)?)?;
        self.check_validity(&own)?;
        for above in &chain[1..] {
            self.check_validity(&Certificate::read(above)?)?;
        }
        if self.revocations.is_revoked(&own) {
            return Err(PeerError::Revoked);
        }
        let peer = own.peer.clone().ok_or(PeerError::NoName)?;
        let roles = own.roles;
        Ok(Judged { peer, roles, standing: Standing::new(&self.revocations, &self.clock, own) })
    }

    fn check_validity(&self, certificate: &Certificate) -> Result<(), PeerError> {
        let validity = certificate.validity;
        let valid = match self.clock.now() {
            Some(now) => (validity.not_before..=validity.not_after).contains(&now),
            // It may be any time after the last sealed one.
            None => self.clock.floor() <= validity.not_after,
        };
        if valid {
            return Ok(());
        }
        let shown = |time: SystemTime| moment(time);
        Err(PeerError::NotValidNow { from: shown(validity.not_before), until: shown(validity.not_after) })
    }
}
