//! Admission: a meter says what it is, and a mark says whether that may be trusted. Without one nothing is read.

use std::sync::Arc;

use meterseal_link::{DlmsClient, Value};
use meterseal_model::{Digest384, MeterId, Obis, TimeBase};
use meterseal_seal::MarkStore;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Acquisition, AcquisitionError, data, values};
use crate::alarms::HeadendCause;
use crate::api::types;
use crate::clock::{self, rfc3339};
use crate::config::MeterEntry;
use crate::store::{AttestedRecord, DeviceFacts};

/// The marks by which meters are admitted.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) marks: Arc<MarkStore>,
}

/// Longest text that a meter may say of itself, in characters; the rest is cut.
const LONGEST_TEXT: usize = 128;

impl Acquisition {
    /// Asks the meter what it is, and looks for a mark that admits it.
    ///
    /// # Errors
    /// It is another meter than its certificate says, or [`AcquisitionError::NotAdmitted`].
    pub(super) async fn admit<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        entry: &MeterEntry,
        client: &mut DlmsClient<S>,
        proven: Option<&AttestedRecord>,
    ) -> Result<(), AcquisitionError> {
        let asked = [
            Obis::METER_ID,
            Obis::DEVICE_TYPE,
            Obis::FIRMWARE_VERSION,
            Obis::FIRMWARE_DIGEST,
            Obis::TIME_BASE,
        ];
        let answers = values(client.get_list(&asked.map(data)).await?);
        let [meter_id, device_type, version, digest, time_base] = answers.as_slice() else {
            return Err(AcquisitionError::Register { obis: Obis::METER_ID, what: "no value" });
        };
        check_identity(entry.id, text(meter_id, Obis::METER_ID)?)?;
        // A meter of another maker has no such object and follows the wall clock.
        let simulated = time_base.as_ref().and_then(Value::as_u64) == Some(1);
        if simulated != (entry.time_base == TimeBase::Simulated) {
            tracing::warn!(meter = %entry.id, simulated, "the meter's time base is not the configured one; its times mislead");
        }
        let wrong = AcquisitionError::Register { obis: Obis::FIRMWARE_DIGEST, what: "no SHA-384 digest" };
        let digest = digest.as_ref().and_then(Value::as_bytes).and_then(|bytes| bytes.try_into().ok());
        let reported = DeviceFacts {
            device_type: text(device_type, Obis::DEVICE_TYPE)?,
            firmware_version: text(version, Obis::FIRMWARE_VERSION)?,
            firmware_digest: Digest384(digest.ok_or(wrong)?),
        };
        self.compare(entry.id, &reported, proven).await?;
        // What is proven counts, whatever the firmware says of itself.
        let facts = match proven {
            Some(proven) => DeviceFacts {
                firmware_version: proven.version.clone(),
                firmware_digest: proven.image,
                ..reported
            },
            None => reported,
        };
        let now = clock::now();
        let verdict =
            self.policy.marks.admit(&facts.device_type, &facts.firmware_digest, &entry.allowed_scopes, now);
        let mark = verdict.as_ref().ok().map(|verified| {
            let mark = verified.mark();
            types::Mark {
                scope: mark.scope.name().to_owned(),
                not_tested: mark.not_tested().into_iter().map(str::to_owned).collect(),
                signatory: mark.signatory.clone(),
                valid_until: rfc3339(mark.valid_until),
            }
        });
        self.fleet.set_facts(entry.id, facts.clone(), mark, now);
        self.store.set_facts(entry.id, facts).await?;
        verdict.map(drop).map_err(AcquisitionError::NotAdmitted)
    }

    /// Firmware that reports something else than it attests lies, or is broken.
    async fn compare(
        &self,
        meter: MeterId,
        reported: &DeviceFacts,
        proven: Option<&AttestedRecord>,
    ) -> Result<(), AcquisitionError> {
        let cause = HeadendCause::FirmwareMisreported;
        let Some(proven) = proven else { return Ok(()) };
        if proven.image == reported.firmware_digest {
            let text = "The meter reports what it attests.".to_owned();
            return Ok(self.alarms.end(Some(meter), cause, text).await?);
        }
        let text = format!(
            "{} It reports version {} ({}), and attests version {} ({}). What it attests counts.",
            cause.sentence(),
            reported.firmware_version,
            reported.firmware_digest,
            proven.version,
            proven.image
        );
        tracing::error!(%meter, "{text}");
        Ok(self.alarms.raise(Some(meter), cause, text).await?)
    }
}

pub(super) fn check_identity(expected: MeterId, found: String) -> Result<(), AcquisitionError> {
    if found.parse() == Ok(expected) { Ok(()) } else { Err(AcquisitionError::OtherMeter { expected, found }) }
}

pub(super) fn text(answer: &Option<Value>, obis: Obis) -> Result<String, AcquisitionError> {
    let text = answer.as_ref().and_then(Value::as_text);
    let text = text.ok_or(AcquisitionError::Register { obis, what: "no text" })?;
    Ok(text.chars().filter(|letter| !letter.is_control()).take(LONGEST_TEXT).collect())
}
