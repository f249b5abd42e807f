//! A meter's connection for enrolment only, and the renewal of its identity in the middle of a session.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use meterseal_link::pki::{Certificate, moment};
use meterseal_model::{MeterId, Obis};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{Acquisition, AcquisitionError, GOODBYE_WITHIN, Session, admission, data, values};
use crate::alarms::HeadendCause;
use crate::config::MeterEntry;
use crate::enrolment::{Chosen, Enroller, EnrolmentError};

/// When a session looks after its certificate next.
pub(super) struct Renewal {
    enroller: Option<Arc<Enroller>>,
    /// When the certificate in use should be replaced, and when it ends.
    due: SystemTime,
    not_after: SystemTime,
    failures: u32,
    pub(super) look_at: Instant,
}

impl Renewal {
    pub(super) fn new(meter: MeterId, enroller: Option<Arc<Enroller>>, certificate: &Certificate) -> Self {
        // Soon after the first readings; without an enroller, never.
        let look_at = Instant::now() + if enroller.is_some() { FIRST_LOOK } else { NEVER };
        Self {
            due: Enroller::due(meter, certificate),
            not_after: certificate.validity.not_after,
            enroller,
            failures: 0,
            look_at,
        }
    }
}

impl Acquisition {
    /// Whether a meter with its manufacturer's identity would be enrolled now.
    pub(crate) fn may_enrol(&self, meter: MeterId) -> bool {
        self.enroller.as_ref().is_some_and(|enroller| enroller.admits(meter).is_ok())
    }

    /// Enrols a meter that came with its manufacturer's identity. It is asked who it is and nothing else.
    pub(super) async fn enrol<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        entry: &MeterEntry,
        stream: S,
    ) -> Result<Infallible, AcquisitionError> {
        let enroller = self.enroller.as_ref().ok_or(EnrolmentError::Off)?;
        enroller.admits(entry.id)?;
        let outcome = self.enrol_with(enroller, entry, stream).await;
        if let Err(error) = &outcome {
            tracing::warn!(meter = %entry.id, %error, "the meter was not enrolled; it is tried again when it calls");
            enroller.failed(entry.id, &error.to_string()).await?;
            self.alarms.raise(Some(entry.id), HeadendCause::EnrolmentFailed, error.to_string()).await?;
        }
        outcome?;
        tracing::info!(meter = %entry.id, "enrolled: the meter calls again with its new identity");
        Err(EnrolmentError::Done.into())
    }

    async fn enrol_with<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        enroller: &Enroller,
        entry: &MeterEntry,
        stream: S,
    ) -> Result<(), AcquisitionError> {
        let (mut client, _) = self.associate(entry, stream).await?;
        let answers = values(client.get_list(&[data(Obis::METER_ID)]).await?);
        admission::check_identity(entry.id, admission::text(&answers[0], Obis::METER_ID)?)?;
        enroller.certify(entry.id, &mut client).await?;
        if !enroller.replace_keys(entry.id, &mut client).await? {
            // Said politely; whether the meter hears it changes nothing.
            let _ = tokio::time::timeout(GOODBYE_WITHIN, client.release()).await;
        }
        Ok(())
    }

    /// The keys to log in with, where they are not the configuration's.
    pub(super) async fn keys(&self, meter: MeterId) -> Result<Option<Chosen>, AcquisitionError> {
        let Some(enroller) = self.enroller.clone() else { return Ok(None) };
        // It may wait for the disk.
        match tokio::task::spawn_blocking(move || enroller.keys(meter)).await {
            Ok(chosen) => Ok(chosen?),
            // A panic there has been told of; the connection ends.
            Err(_) => Err(AcquisitionError::TakenOver),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// Renews the meter's identity when it is time. Done, the connection ends: the meter calls again with the new one.
    pub(super) async fn renew_if_due(&mut self) -> Result<(), AcquisitionError> {
        let Some(enroller) = self.renewal.enroller.clone() else {
            self.renewal.look_at = Instant::now() + NEVER;
            return Ok(());
        };
        let meter = self.meter;
        if enroller.is_time(meter, self.renewal.due) {
            // A chain may take some blocks.
            self.reserve_more_than(2 * super::MARGIN).await?;
            match enroller.certify(meter, &mut self.client).await {
                Ok(newer) => {
                    tracing::info!(
                        %meter, serial = %newer.serial, until = moment(newer.validity.not_after),
                        "the meter was given its next certificate"
                    );
                    return Err(EnrolmentError::Done.into());
                }
                Err(error) => {
                    self.renewal.failures = self.renewal.failures.saturating_add(1);
                    tracing::error!(
                        %meter, %error, attempt = self.renewal.failures,
                        until = moment(self.renewal.not_after),
                        "the meter's certificate was not renewed; it is tried again"
                    );
                    enroller.failed(meter, &error.to_string()).await?;
                    let text =
                        format!("{error}. The certificate in use ends {}", moment(self.renewal.not_after));
                    self.alarms.raise(Some(meter), HeadendCause::EnrolmentFailed, text).await?;
                    // What the meter refused costs the connection nothing; a broken session ends.
                    self.tolerate::<()>(Err(error))?;
                }
            }
        }
        let wait = enroller.wait(meter, self.renewal.due, self.renewal.not_after, self.renewal.failures);
        self.renewal.look_at = Instant::now() + wait.max(LEAST);
        Ok(())
    }
}

const FIRST_LOOK: Duration = Duration::from_millis(500);
const LEAST: Duration = Duration::from_millis(200);
/// Longer than any connection.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
