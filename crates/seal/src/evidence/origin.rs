//! Whose log a file is about, with which key it is sealed, and who says so.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use meterseal_model::{MeterId, UnixMillis};
use minicbor::{Decoder, Encoder};

use super::Unreadable;
use super::report::{Fingerprint, Report, printed_fingerprint};
use crate::chain::{self, MAX_CERTIFICATE, MAX_CHAIN};
use crate::key::SealPublicKey;
use crate::log::{Checkpoint, LogHash, LogId, SignedCheckpoint};

/// Whose log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Which meter.
    pub meter: MeterId,
    /// Which of its logs.
    pub log: LogId,
    /// The log key that signs its checkpoints.
    pub key: SealPublicKey,
    /// The log key's certificates (DER), its own first; empty where nobody certified it.
    pub chain: Vec<Vec<u8>>,
}

/// What whoever checks a file knows already. With nothing of it, the file is checked against itself, and the report
/// says what remains to be compared.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Authorities whose word on log keys is believed: certificates in DER.
    pub authorities: Vec<Vec<u8>>,
    /// The fingerprint that is printed on the meter.
    pub fingerprint: Option<Fingerprint>,
    /// What an earlier file about the same log proved.
    pub earlier: Option<Earlier>,
}

/// What a file proved, for checking that a later one continues it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Which meter.
    pub meter: MeterId,
    /// Which of its logs.
    pub log: LogId,
    /// How many leaves it had.
    pub size: u64,
    /// Their root.
    pub root: LogHash,
    /// In a statement: the place and hash of the closing reading.
    pub closing: Option<(u64, LogHash)>,
}

impl Origin {
    pub(super) fn write(
        &self,
        encoder: &mut Encoder<Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<core::convert::Infallible>> {
        encoder.array(4)?.str(&self.meter.to_string())?.bytes(&self.log.0)?.bytes(&self.key.to_der())?;
        encoder.array(self.chain.len() as u64)?;
        self.chain.iter().try_for_each(|certificate| encoder.bytes(certificate)?.ok())
    }

    pub(super) fn read(decoder: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        super::malformed(decoder, |decoder| {
            let none = || minicbor::decode::Error::message("");
            if decoder.array()? != Some(4) {
                return Err(none());
            }
            let meter = decoder.str()?.parse().map_err(|_| none())?;
            let log = LogId(decoder.bytes()?.try_into().map_err(|_| none())?);
            let key = SealPublicKey::from_der(decoder.bytes()?).map_err(|_| none())?;
            let count = decoder.array()?.filter(|&count| count <= MAX_CHAIN as u64).ok_or_else(none)?;
            let mut chain = Vec::new();
            for _ in 0..count {
                let certificate = decoder.bytes()?;
                if certificate.len() > MAX_CERTIFICATE {
                    return Err(none());
                }
                chain.push(certificate.to_vec());
            }
            Ok(Self { meter, log, key, chain })
        })
    }

    /// Judges who stands behind the key, at a moment.
    pub(super) fn judge(&self, trust: &Trust, at: UnixMillis, report: &mut Report) {
        let printed = printed_fingerprint(&self.key);
        self.judge_chain(trust, at, report);
        match &trust.fingerprint {
            Some(fingerprint) if fingerprint.is_of(&self.key) => {
                report.proven("fingerprint", "The key is the one whose fingerprint you gave.");
            }
            Some(_) => report.broken(
                "fingerprint",
                format!("The file was sealed with another key ({printed}) than the one whose fingerprint you gave."),
            ),
            None => report.not_proven(
                "fingerprint",
                format!(
                    "Whether this is the key of the meter on your wall: compare {printed} with the fingerprint that is \
                     printed on the meter."
                ),
            ),
        }
        report.meter = Some(self.meter);
        report.fingerprint = Some(printed);
    }

    fn judge_chain(&self, trust: &Trust, at: UnixMillis, report: &mut Report) {
        if self.chain.is_empty() {
            let text = "Who made the key: the file holds no certificate of the meter's maker.";
            return if trust.authorities.is_empty() {
                report.not_proven("authority", text);
            } else {
                report.broken("authority", text);
            };
        }
        let certified = match chain::verify_log_key(&self.chain, self.meter, at, &trust.authorities) {
            Ok(certified) if certified.key == self.key => certified,
            Ok(_) => return report.broken("chain", "The certificates are for another key than the file's."),
            Err(error) => return report.broken("chain", format!("The certificates do not hold: {error}.")),
        };
        let authority = &certified.authority;
        report.proven(
            "chain",
            format!(
                "\"{authority}\" certified the key as the one that seals the log of meter {}.",
                self.meter
            ),
        );
        if certified.trusted {
            report.proven("authority", "That authority is one that you named as trusted.");
        } else if trust.authorities.is_empty() {
            report.not_proven(
                "authority",
                format!(
                    "Whether \"{authority}\" is who it says: its key has the fingerprint {}; ask the meter's maker.",
                    printed_fingerprint(&certified.authority_key)
                ),
            );
        } else {
            report.broken(
                "authority",
                format!("\"{authority}\" is none of the authorities that you named as trusted."),
            );
        }
    }

    /// Verifies a checkpoint of this log.
    pub(super) fn checkpoint(&self, bytes: &[u8], report: &mut Report) -> Option<SignedCheckpoint> {
        let signed = match Checkpoint::verify(bytes, core::slice::from_ref(&self.key)) {
            Ok(signed) => signed,
            Err(error) => {
                report.broken("signature", format!("A checkpoint does not hold: {error}."));
                return None;
            }
        };
        let Checkpoint { meter, log, .. } = *signed.checkpoint();
        if (meter, log) != (self.meter, self.log) {
            report.broken(
                "other-log",
                format!(
                    "A checkpoint is of meter {meter}, log {log}, and not of meter {}, log {}.",
                    self.meter, self.log
                ),
            );
            return None;
        }
        Some(signed)
    }

    /// Whether what an earlier file proved is of the same log.
    pub(super) fn is_of(&self, earlier: &Earlier, report: &mut Report) -> bool {
        let same = (earlier.meter, earlier.log) == (self.meter, self.log);
        if !same {
            report.broken(
                "other-log",
                format!(
                    "The earlier file is of meter {}, log {}: this one does not continue it.",
                    earlier.meter, earlier.log
                ),
            );
        }
        same
    }
}
