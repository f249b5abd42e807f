//! What an enrolled meter shows of itself: its operational identity, and the one from manufacture where there is none
//! yet, where it has ended, or where the head-end will not have it any more.
//!
//! A client is connected before the server has judged its certificate (RFC 8446, 4.4.2), so a refusal is seen only as
//! a connection on which nothing was ever said. After three such in a row the meter tries both identities in turn: one
//! whose operational certificate was revoked finds its way back, and one whose head-end is broken loses nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meterseal_seal::{KeySlot, KeyStore};
use rustls::pki_types::CertificateDer;

use crate::dial::Profiles;
use crate::pki::{Certificate, Identity};
use crate::tls::{self, ClientProfile, MeterClock, Trust};

/// A meter's identities, and which of them the next connection shows.
#[derive(Debug)]
pub struct MeterProfiles {
    store: Arc<dyn KeyStore>,
    trust: Trust,
    clock: MeterClock,
    /// Whether the meter gets its time from the head-end; fixed at the start, while the clock is not set.
    opens: bool,
    manufacture: ClientProfile,
    /// For its local port: shared with whatever was made of it.
    shown: Identity,
    device: Identity,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    operational: Option<Operational>,
    /// Connections in a row on which nothing was said.
    unheard: u32,
    has_changed: bool,
}

#[derive(Debug)]
struct Operational {
    chain: Vec<Vec<u8>>,
    certificate: Certificate,
    profile: ClientProfile,
}

impl MeterProfiles {
    /// `manufacture` is the identity that the meter was made with; `store` holds the operational one, now or later.
    ///
    /// # Errors
    /// [`rustls::Error`] when there is no authority for head-ends in `trust`, or one that cannot be read.
    pub fn new(
        store: Arc<dyn KeyStore>,
        manufacture: &Identity,
        trust: &Trust,
        clock: &MeterClock,
    ) -> Result<Self, rustls::Error> {
        let opens = !clock.is_set();
        // A clone would share what is shown: the one of manufacture must stay what it is.
        let shown = manufacture.separate();
        let profiles = Self {
            manufacture: tls::meter_config_opening(manufacture, trust, clock, opens)?,
            store,
            trust: trust.clone(),
            clock: clock.clone(),
            opens,
            shown,
            device: manufacture.separate(),
            state: Mutex::default(),
        };
        // So that a local port shows the right one before the first call.
        profiles.refresh(&mut profiles.lock());
        Ok(profiles)
    }

    /// What the meter shows on its local port: the identity in use, also after a renewal.
    pub fn shown(&self) -> &Identity {
        &self.shown
    }

    /// What its operational certificate says; `None` while it is not enrolled.
    pub fn operational(&self) -> Option<Certificate> {
        let mut state = self.lock();
        self.refresh(&mut state);
        state.operational.as_ref().map(|operational| operational.certificate.clone())
    }

    /// Looks whether the store holds another identity than before.
    fn refresh(&self, state: &mut State) {
        let chain = self.store.certificates(KeySlot::Operational).unwrap_or_default();
        let known = state.operational.as_ref().map_or(&[][..], |operational| &operational.chain);
        if chain == known {
            return;
        }
        (state.unheard, state.has_changed) = (0, true);
        state.operational = match self.open(chain) {
            Ok(found) => found,
            Err(problem) => {
                tracing::error!(target: LOG, "the operational identity cannot be used: {problem}");
                None
            }
        };
        if state.operational.is_none() {
            self.shown.renew(&self.device);
        }
    }

    fn open(&self, chain: Vec<Vec<u8>>) -> Result<Option<Operational>, String> {
        let Some(own) = chain.first() else { return Ok(None) };
        let certificate =
            Certificate::read(&CertificateDer::from(own.clone())).map_err(|error| error.to_string())?;
        let identity = Identity::from_store(&self.store, KeySlot::Operational).map_err(|e| e.to_string())?;
        // A new configuration: its predecessor would resume sessions of the old certificate.
        let profile = tls::meter_config_opening(&identity, &self.trust, &self.clock, self.opens)
            .map_err(|error| error.to_string())?;
        tracing::info!(
            target: LOG,
            serial = %certificate.serial,
            until = crate::pki::moment(certificate.validity.not_after),
            "calls with an operational identity from now on"
        );
        self.shown.renew(&identity);
        Ok(Some(Operational { chain, certificate, profile }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Profiles for MeterProfiles {
    fn next(&self) -> ClientProfile {
        let mut state = self.lock();
        self.refresh(&mut state);
        let Some(operational) = &state.operational else { return self.manufacture.clone() };
        let now = self.clock.now().unwrap_or_else(|| self.clock.floor());
        let ended = now > operational.certificate.validity.not_after;
        let in_turn = state.unheard >= PATIENCE && (state.unheard - PATIENCE).is_multiple_of(2);
        if ended || in_turn { self.manufacture.clone() } else { operational.profile.clone() }
    }

    fn has_changed(&self) -> bool {
        let mut state = self.lock();
        self.refresh(&mut state);
        std::mem::take(&mut state.has_changed)
    }

    fn heard(&self) {
        self.lock().unheard = 0;
    }

    fn unheard(&self) {
        let mut state = self.lock();
        state.unheard = state.unheard.saturating_add(1);
        if state.unheard == PATIENCE && state.operational.is_some() {
            tracing::warn!(
                target: LOG,
                "the head-end does not answer to the operational identity; the one from manufacture is tried in turn"
            );
        }
    }
}

const LOG: &str = "meterseal::enrolment";
/// Connections in a row without a word before the other identity is tried.
const PATIENCE: u32 = 3;
