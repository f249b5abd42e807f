//! What a meter runs, proven: it is asked with a nonce at each connection, and answers with the key that its boot stage
//! derived for the very image that it started. What the image reports of itself is compared with that and believed nowhere.

use std::time::Duration;

use meterseal_link::client::AccessError;
use meterseal_link::{ClientError, DlmsClient, Value};
use meterseal_model::objects::Class;
use meterseal_model::{MeterId, Obis};
use meterseal_seal::attestation::{Attestation, Attested, Ground};
use meterseal_seal::chain::verify_boot_key;
use meterseal_seal::{SealPublicKey, attestation};
use tokio::io::{AsyncRead, AsyncWrite};

use super::registers::VALUE;
use super::{Acquisition, AcquisitionError, Session, certificates, data, values};
use crate::alarms::HeadendCause;
use crate::clock;
use crate::store::AttestedRecord;

/// Whether meters that cannot attest are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttestationPolicy {
    /// A meter that never attested is read by what it reports, and shown as unattested: its software is older than
    /// attestation. Who attested once must from then on.
    #[default]
    OnceSeen,
    /// Nobody is read who does not attest.
    Required,
}

/// What the meter is asked with, in bytes.
const NONCE: usize = 32;

/// Looks for the answer, and the pauses between them: twelve seconds in all, for a meter that signs beside its measuring.
const LOOKS: u32 = 30;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

const NEEDED: HeadendCause = HeadendCause::AttestationFailed;

/// Why a meter's word about its firmware is not believed: the alarm's cause, and what was found.
struct Doubt(HeadendCause, String);

impl Acquisition {
    /// Asks a meter what it runs. `None`: it cannot say, and by policy need not.
    ///
    /// # Errors
    /// [`AcquisitionError::NotAttested`], after an alarm.
    pub(super) async fn attest<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        meter: MeterId,
        client: &mut DlmsClient<S>,
    ) -> Result<Option<AttestedRecord>, AcquisitionError> {
        let known = self.store.attested(meter).await?;
        let proven = match self.ask(meter, client, known.as_ref()).await? {
            Ok(proven) => proven,
            Err(Doubt(cause, text)) => {
                tracing::error!(%meter, cause = cause.name(), "{text}");
                self.alarms.raise(Some(meter), cause, text.clone()).await?;
                return Err(AcquisitionError::NotAttested(text));
            }
        };
        let Some(proven) = proven else {
            self.fleet.set_attested(meter, None);
            return Ok(None);
        };
        self.watch_rollback(meter, known.as_ref(), &proven).await?;
        self.store.put_attested(meter, proven.clone()).await?;
        self.fleet.set_attested(meter, Some(proven.clone()));
        let text = "The meter attested its firmware.".to_owned();
        for cause in [NEEDED, HeadendCause::BootKeyUnknown, HeadendCause::BootKeyChanged] {
            self.alarms.end(Some(meter), cause, text.clone()).await?;
        }
        Ok(Some(proven))
    }

    async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        meter: MeterId,
        client: &mut DlmsClient<S>,
        known: Option<&AttestedRecord>,
    ) -> Result<Result<Option<AttestedRecord>, Doubt>, AcquisitionError> {
        let answers = values(client.get_list(&[Obis::BOOT_KEY, Obis::IMAGE_KEY].map(data)).await?);
        let octets = |place: usize| {
            let bytes = answers.get(place).and_then(Option::as_ref).and_then(Value::as_bytes);
            bytes.filter(|bytes| !bytes.is_empty()).map(<[u8]>::to_vec)
        };
        let (Some(chain), Some(certificate)) = (octets(0), octets(1)) else {
            return Ok(match (known, self.attestation) {
                (Some(_), _) => {
                    Err(Doubt(NEEDED, "The meter attested its firmware before, and does not any more".into()))
                }
                (None, AttestationPolicy::Required) => Err(Doubt(
                    NEEDED,
                    "The meter cannot attest its firmware, and this head-end reads nobody who does not"
                        .into(),
                )),
                (None, AttestationPolicy::OnceSeen) => Ok(None),
            });
        };
        let key = match self.boot_key(meter, &chain, known).await {
            Ok(key) => key,
            Err(doubt) => return Ok(Err(doubt)),
        };
        let mut nonce = [0; NONCE];
        if getrandom::fill(&mut nonce).is_err() {
            return Ok(Err(Doubt(NEEDED, "The operating system gave no random numbers to ask with".into())));
        }
        let asked =
            client.set(Class::Data.id(), Obis::ATTESTATION_NONCE, VALUE, Value::Bytes(nonce.to_vec())).await;
        match asked {
            Ok(()) => {}
            Err(ClientError::Access(refused)) => {
                return Ok(Err(Doubt(NEEDED, format!("The meter does not take the question: {refused}"))));
            }
            Err(error) => return Err(error.into()),
        }
        let Some(signed) = answer(client).await? else {
            return Ok(Err(Doubt(NEEDED, "The meter did not sign what it runs in time".into())));
        };
        let at = clock::now();
        let verify_with = key.clone();
        let verified = tokio::task::spawn_blocking(move || {
            Attestation::verify(&signed, &certificate, &verify_with, meter, &nonce)
        });
        // A panic there has been told of; nothing is known of the meter then.
        let verified = verified.await.unwrap_or(Err(attestation::AttestationError::Malformed));
        Ok(match verified {
            Ok(proven) => Ok(Some(AttestedRecord::new(proven, chain, &key, at))),
            Err(error) => Err(Doubt(NEEDED, format!("What the meter attests proves nothing: {error}"))),
        })
    }

    /// The meter's boot key: vouched for by an authority that is trusted for meters, and the one of its first contact.
    async fn boot_key(
        &self,
        meter: MeterId,
        chain: &[u8],
        known: Option<&AttestedRecord>,
    ) -> Result<SealPublicKey, Doubt> {
        let unknown = |why: String| Doubt(HeadendCause::BootKeyUnknown, why);
        // The same certificates as last time were looked at then.
        if let Some(known) = known.filter(|known| known.boot_chain == chain) {
            return SealPublicKey::from_der(&known.boot_key).map_err(|error| unknown(error.to_string()));
        }
        let certificates = certificates(chain)
            .ok_or_else(|| unknown("The certificates of the meter's boot key cannot be read".into()))?;
        let (authorities, at) = (self.log_authorities.clone(), clock::now());
        let verified =
            tokio::task::spawn_blocking(move || verify_boot_key(&certificates, meter, at, &authorities));
        let certified = match verified.await {
            Ok(Ok(certified)) => certified,
            Ok(Err(error)) => {
                return Err(unknown(format!("Nobody vouches for the meter's boot key: {error}")));
            }
            Err(_) => return Err(unknown("The meter's boot key could not be looked at".into())),
        };
        if !certified.trusted {
            let who = certified.authority;
            return Err(unknown(format!(
                "The meter's boot key is vouched for by {who}, who is not trusted here for meters"
            )));
        }
        match known {
            Some(known) if known.boot_key != certified.key.to_der() => Err(Doubt(
                HeadendCause::BootKeyChanged,
                "The meter attests with another boot key than at its first contact: its board was replaced, or \
                 somebody else answers for it. A new board gets a new identity"
                    .into(),
            )),
            _ => Ok(certified.key),
        }
    }

    /// A device's memory of its own past only grows.
    async fn watch_rollback(
        &self,
        meter: MeterId,
        known: Option<&AttestedRecord>,
        now: &AttestedRecord,
    ) -> Result<(), AcquisitionError> {
        let cause = HeadendCause::FirmwareRolledBack;
        let Some(before) = known else { return Ok(()) };
        let found = if now.highest < before.highest {
            Some(format!(
                "It had confirmed sequence {} and now says that the highest was {}",
                before.highest, now.highest
            ))
        } else if now.is_confirmed && now.sequence < now.highest.max(before.highest) {
            Some(format!(
                "It runs sequence {} as confirmed, although sequence {} was",
                now.sequence,
                now.highest.max(before.highest)
            ))
        } else if now.boots < before.boots {
            Some(format!("It had started {} times, and now says {}", before.boots, now.boots))
        } else if now.root_version < before.root_version {
            Some(format!("Its trust root went back from {} to {}", before.root_version, now.root_version))
        } else {
            None
        };
        // Ended by hand: what went back once does not become right by going on.
        let Some(found) = found else { return Ok(()) };
        let text = format!("{} {found}.", cause.sentence());
        tracing::error!(%meter, "{text}");
        Ok(self.alarms.raise(Some(meter), cause, text).await?)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// Asks again in the middle of a session, while a new image has yet to prove itself.
    pub(super) async fn attest_again(&mut self) -> Result<(), AcquisitionError> {
        self.reserve_more_than(LOOKS + super::MARGIN).await?;
        if let Some(said) = self.acquisition.attest(self.meter, &mut self.client).await? {
            self.acquisition.campaigns.attested(self.meter, &said).await?;
        }
        Ok(())
    }
}

/// The meter's answer, once it is signed.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut DlmsClient<S>,
) -> Result<Option<Vec<u8>>, AcquisitionError> {
    let mut pause = FIRST_PAUSE;
    for _ in 0..LOOKS {
        match client.get(Class::Data.id(), Obis::ATTESTATION, VALUE).await {
            Ok(Value::Bytes(signed)) if !signed.is_empty() => return Ok(Some(signed)),
            Ok(_) | Err(ClientError::Access(AccessError::TemporaryFailure)) => {}
            Err(ClientError::Access(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(None)
}

impl AttestedRecord {
    fn new(
        proven: Attested,
        boot_chain: Vec<u8>,
        key: &SealPublicKey,
        at: meterseal_model::UnixMillis,
    ) -> Self {
        let Attested { attestation: said, image, ground } = proven;
        let [a, b] = said.slots;
        Self {
            boot_chain,
            boot_key: key.to_der(),
            is_simulated: ground == Ground::Simulated,
            image,
            version: said.version,
            sequence: said.sequence,
            is_confirmed: said.confirmed,
            boots: said.boots,
            highest: said.highest,
            root_version: said.root_version,
            slots: [(a.image, a.sequence), (b.image, b.sequence)],
            at,
        }
    }
}
