//! Enrolment: a meter that comes with its manufacturer's identity is given the utility's, and one that has it gets the
//! next before it ends.
//!
//! | step | who | what |
//! |---|---|---|
//! | 1 | meter | calls with its identity from manufacture; nothing is read from it but who it is |
//! | 2 | head-end | expects it: [`Expected`], or an operator's allowance ([`allowance`]) |
//! | 3 | meter | makes a key pair and a request (COSEM Security setup, class 64, methods 4 and 5) |
//! | 4 | [`RequestSigner`] | signs it; the serial number is remembered before the certificate is sent |
//! | 5 | meter | checks issuer and name, imports it (method 6) |
//! | 6 | head-end | replaces the DLMS keys of the factory under the key encryption key (method 2) |
//! | 7 | meter | calls with the new identity, which is then *in use*: an older one is refused from there on |
//!
//! Steps 3 to 7 are a renewal too, in the middle of a session, after two thirds of the certificate's life and up to a
//! tenth more, by meter: ten thousand meters that were enrolled on one day do not renew in one hour. Each step may be
//! cut off and is made again from 3; what was signed and never used ends by itself.

pub mod allowance;
mod custody;
mod exchange;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use meterseal_link::pki::{Certificate, RequestSigner, moment};
use meterseal_model::{MeterId, UnixMillis};

pub(crate) use custody::Chosen;
pub use custody::{CustodyError, HeldKeys, KeyCustody};

use crate::store::{EnrolmentRecord, EnrolmentState, Store, StoreError};

/// Tells the time by which certificates are renewed: the system's, or a test's.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// How a head-end enrols its meters.
pub struct Enrolment {
    /// What signs their requests.
    pub signer: Arc<dyn RequestSigner>,
    /// How long an operational certificate lasts.
    pub validity: Duration,
    /// Which meters may enrol for the first time.
    pub expected: Expected,
    /// Where the meters' DLMS keys lie, if they are to be replaced; else those of the configuration stay.
    pub custody: Option<Arc<dyn KeyCustody>>,
    /// What tells the time.
    pub clock: Clock,
}

impl Enrolment {
    /// With the system's clock, for every configured meter, without a replacement of DLMS keys.
    pub fn new(signer: Arc<dyn RequestSigner>, validity: Duration) -> Self {
        Self {
            signer,
            validity,
            expected: Expected::Configured,
            custody: None,
            clock: Arc::new(SystemTime::now),
        }
    }
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment")
            .field("signer", &self.signer)
            .field("validity", &self.validity)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// Which meters are enrolled when they call with their manufacturer's identity for the first time. A second time takes
/// an operator's [`allowance`] in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Every configured meter: being configured is the utility's word that it is expected.
    Configured,
    /// Only those that an operator named.
    Named,
}

/// Why a meter is not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// No signer.
    #[error(
        "Not enrolled: the meter calls with its manufacturer's identity, and this head-end enrols nobody"
    )]
    Off,
    /// Nobody said that it is expected.
    #[error("Not enrolled: nobody expects this meter; if it is yours, run `meterseal headend enrol {0}`")]
    NotExpected(MeterId),
    /// It had an identity already.
    #[error(
        "Not enrolled any more: the meter calls with its manufacturer's identity although it has an operational one. \
         Find out why; then run `meterseal headend enrol {0}` to enrol it anew"
    )]
    Again(MeterId),
    /// An older certificate than that in use.
    #[error(
        "The meter calls with the certificate {found}, but has used the newer {newest} already: its memory was put \
         back, or two devices share one identity. Find out who did it, and enrol the sound one anew"
    )]
    Superseded {
        /// That which it showed.
        found: String,
        /// That which it showed before.
        newest: String,
    },
    /// A step failed at the meter.
    #[error("Enrolment failed: the meter refused to {step}: {why}")]
    Refused {
        /// What it was asked for.
        step: &'static str,
        /// What it said.
        why: String,
    },
    /// The signer.
    #[error("Enrolment failed: the request was not signed: {0}")]
    Signer(String),
    /// Where the keys lie.
    #[error("Enrolment failed: {0}")]
    Custody(#[from] CustodyError),
    /// Not a failure: the meter goes, to come back with its new identity.
    #[error("Enrolled: the meter calls again with its new identity")]
    Done,
}

impl EnrolmentError {
    /// Whether somebody has to look before the meter can go on.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Off | Self::NotExpected(_) | Self::Again(_) | Self::Superseded { .. })
    }
}

/// The enrolment of a running head-end.
pub(crate) struct Enroller {
    how: Enrolment,
    store: Store,
    /// Where operators' allowances appear.
    allowances: PathBuf,
    known: Mutex<HashMap<MeterId, EnrolmentRecord>>,
    /// Which of its keys a meter is addressed with first; it changes after each login that failed.
    turns: Mutex<HashMap<MeterId, usize>>,
}

impl Enroller {
    pub(crate) async fn new(how: Enrolment, store: Store, allowances: PathBuf) -> Result<Self, StoreError> {
        let known = store.enrolments().await?.into_iter().map(|record| (record.meter, record)).collect();
        Ok(Self { how, store, allowances, known: Mutex::new(known), turns: Mutex::default() })
    }

    /// Whether a meter with its manufacturer's identity may be enrolled.
    pub(crate) fn admits(&self, meter: MeterId) -> Result<(), EnrolmentError> {
        if allowance::stands(&self.allowances, meter) {
            return Ok(());
        }
        // One whose enrolment was cut off before it had used its new identity goes on with it.
        let had_one = self.known().get(&meter).is_some_and(|record| record.serial.is_some());
        match (had_one, self.how.expected) {
            (true, _) => Err(EnrolmentError::Again(meter)),
            (false, Expected::Configured) => Ok(()),
            (false, Expected::Named) => {
                let began = self.known().get(&meter).is_some_and(|record| record.issued_serial.is_some());
                if began { Ok(()) } else { Err(EnrolmentError::NotExpected(meter)) }
            }
        }
    }

    /// The meter uses this operational certificate: remembered, and an older one is refused. `true`: it is a new one.
    pub(crate) async fn in_use(
        &self,
        meter: MeterId,
        certificate: &Certificate,
    ) -> Result<Result<bool, EnrolmentError>, StoreError> {
        let serial = certificate.serial.to_string();
        let not_before = millis(certificate.validity.not_before);
        let before = self.known().get(&meter).cloned();
        if let Some(known) = &before
            && let Some(newest) = &known.serial
        {
            if *newest == serial {
                return Ok(Ok(false));
            }
            if known.not_before.is_some_and(|newest| not_before < newest) {
                let newest = newest.clone();
                return Ok(Err(EnrolmentError::Superseded { found: serial, newest }));
            }
        }
        tracing::info!(%meter, serial, until = moment(certificate.validity.not_after), "the meter uses a new operational certificate");
        self.put(EnrolmentRecord {
            meter,
            state: EnrolmentState::Enrolled,
            since: self.now(),
            reason: None,
            serial: Some(serial),
            not_before: Some(not_before),
            not_after: Some(millis(certificate.validity.not_after)),
            issued_serial: None,
        })
        .await?;
        // What was allowed has happened.
        if let Err(error) = allowance::withdraw(&self.allowances, meter) {
            tracing::error!(%meter, %error, "the allowance to enrol could not be withdrawn");
        }
        Ok(Ok(true))
    }

    /// A certificate was made for a meter; on the disk before the meter gets it.
    async fn issued(&self, meter: MeterId, certificate: &Certificate) -> Result<(), StoreError> {
        let mut record = self.record(meter);
        record.state =
            if record.serial.is_some() { EnrolmentState::Renewing } else { EnrolmentState::Enrolling };
        record.issued_serial = Some(certificate.serial.to_string());
        (record.since, record.reason) = (self.now(), None);
        self.put(record).await
    }

    /// An attempt failed.
    pub(crate) async fn failed(&self, meter: MeterId, why: &str) -> Result<(), StoreError> {
        let mut record = self.record(meter);
        if record.state == EnrolmentState::Failed && record.reason.as_deref() == Some(why) {
            return Ok(());
        }
        (record.state, record.since, record.reason) =
            (EnrolmentState::Failed, self.now(), Some(why.to_owned()));
        self.put(record).await
    }

    /// When a meter's certificate should be renewed: after two thirds of its life and up to a tenth more. The same at
    /// every question, so that reconnecting does not put it off.
    pub(crate) fn due(meter: MeterId, certificate: &Certificate) -> SystemTime {
        let spread = certificate.validity.length() / 10;
        certificate.renewal_due() + spread.mul_f64(share(meter, &certificate.serial.to_string()))
    }

    /// How long to wait until a renewal should be tried, or tried again after `failures`; nothing when it is time.
    pub(crate) fn wait(
        &self,
        meter: MeterId,
        due: SystemTime,
        not_after: SystemTime,
        failures: u32,
    ) -> Duration {
        if failures == 0 && allowance::stands(&self.allowances, meter) {
            return Duration::ZERO;
        }
        if failures > 0 {
            // Often enough for a short life, and not more often than helps: a tenth of what is left, doubled away.
            let left = not_after.duration_since((self.how.clock)()).unwrap_or_default();
            return (left / 10).clamp(SOONEST, LATEST).min(SOONEST * 2u32.saturating_pow(failures.min(16)));
        }
        let left = due.duration_since((self.how.clock)()).unwrap_or_default();
        left.min(LOOK)
    }

    /// Whether it is time, for whoever woke up.
    pub(crate) fn is_time(&self, meter: MeterId, due: SystemTime) -> bool {
        allowance::stands(&self.allowances, meter) || due <= (self.how.clock)()
    }

    /// The keys to address a meter with.
    pub(crate) fn keys(&self, meter: MeterId) -> Result<Option<Chosen>, EnrolmentError> {
        let Some(custody) = &self.how.custody else { return Ok(None) };
        let Some(held) = custody.keys(meter)? else { return Ok(None) };
        let turn = self.turns.lock().unwrap_or_else(PoisonError::into_inner).get(&meter).copied();
        Ok(Some(held.choose(turn.unwrap_or(0))))
    }

    /// A login with the keys of `keys` failed: the next tries others, where there are any.
    pub(crate) fn keys_failed(&self, meter: MeterId) {
        if self.how.custody.is_some() {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = turns.entry(meter).or_default();
            *turn = turn.wrapping_add(1);
        }
    }

    /// A login with proposed keys succeeded: they are the meter's.
    pub(crate) async fn keys_in_force(
        &self,
        meter: MeterId,
    ) -> Result<Result<(), EnrolmentError>, StoreError> {
        // The counters first: with new keys and old counters, the meter would look like one that was put back.
        self.store.restart_peer_counters(meter).await?;
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(&meter);
        let Some(custody) = &self.how.custody else { return Ok(Ok(())) };
        Ok(custody.confirm(meter).map_err(EnrolmentError::Custody))
    }

    fn record(&self, meter: MeterId) -> EnrolmentRecord {
        self.known().get(&meter).cloned().unwrap_or(EnrolmentRecord {
            meter,
            state: EnrolmentState::Enrolling,
            since: self.now(),
            reason: None,
            serial: None,
            not_before: None,
            not_after: None,
            issued_serial: None,
        })
    }

    async fn put(&self, record: EnrolmentRecord) -> Result<(), StoreError> {
        self.store.put_enrolment(record.clone()).await?;
        self.known().insert(record.meter, record);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<MeterId, EnrolmentRecord>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> UnixMillis {
        millis((self.how.clock)())
    }
}

impl fmt::Debug for Enroller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enroller").field("how", &self.how).finish_non_exhaustive()
    }
}

/// A number from 0 to 1 that is a meter's own for one certificate (FNV-1a, 64 bits).
fn share(meter: MeterId, serial: &str) -> f64 {
    let text = format!("{meter}{serial}");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The upper bits are the better mixed ones.
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

fn millis(time: SystemTime) -> UnixMillis {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// How often a session looks whether its certificate is due or an operator wants it renewed.
const LOOK: Duration = Duration::from_secs(10);
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_meters_of_one_day_do_not_renew_in_one_hour() {
        let shares: Vec<f64> =
            (0..10_000).map(|n| share(MeterId::new(*b"MSL", 1_000_000 + n).unwrap(), "4f")).collect();
        assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
        // A tenth of a year in hours; evenly, 11 or 12 fall into each.
        let mut hours = [0u32; 876];
        for share in shares {
            hours[(share * 876.0) as usize] += 1;
        }
        assert!(hours.iter().all(|&count| count < 40), "{:?}", hours.iter().max());
    }
}
