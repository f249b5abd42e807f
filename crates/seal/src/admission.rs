//! Admission: with the marks at hand, is a meter of this device type and firmware trusted, and if not, why not.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use meterseal_model::{Digest384, UnixMillis};

use crate::envelope;
use crate::key::{KeyId, SealPublicKey};
use crate::mark::{CONTENT_TYPE, Mark, MarkError, RevokedMark, Scope, VerifiedMark};

/// Finds the mark that admits a meter: for exactly this device type and firmware, of a scope that the policy names,
/// valid now. Of several, the strongest scope and then the latest end of validity is taken.
///
/// # Errors
/// The [`Refusal`] that came closest to an admission.
pub fn admit<'m>(
    marks: impl IntoIterator<Item = &'m VerifiedMark>,
    device_type: &str,
    firmware_digest: &Digest384,
    allowed_scopes: &[Scope],
    now: UnixMillis,
) -> Result<&'m VerifiedMark, Refusal> {
    let mut best: Option<&VerifiedMark> = None;
    let mut refusal = Refusal::NoMark { device_type: device_type.to_string() };
    for verified in marks {
        match judge(verified.mark(), device_type, firmware_digest, allowed_scopes, now) {
            Ok(()) if best.is_none_or(|best| strength(best) < strength(verified)) => best = Some(verified),
            Ok(()) => {}
            Err(closer) if closer.closeness() > refusal.closeness() => refusal = closer,
            Err(_) => {}
        }
    }
    best.ok_or(refusal)
}

/// The marks that a head-end holds, and what it knows about those that it cannot trust.
#[derive(Clone, Debug, Default)]
pub struct MarkStore {
    verified: Vec<VerifiedMark>,
    /// Device type, digest and claimed signer of marks by foreign keys: unverified, only for saying why.
    foreign: Vec<(String, Digest384, KeyId)>,
    /// Marks that were taken back.
    revoked: Vec<RevokedMark>,
}

impl MarkStore {
    /// The most marks that are held of each kind.
    pub const CAPACITY: usize = 4096;

    /// A store without marks.
    pub const fn new() -> Self {
        Self { verified: Vec::new(), foreign: Vec::new(), revoked: Vec::new() }
    }

    /// Verifies a signed mark and keeps it.
    ///
    /// # Errors
    /// What is wrong with it. A mark by a key that is not among `keys` is remembered, so that [`MarkStore::admit`]
    /// can say [`Refusal::ForeignSigner`]. [`MarkError::Content`] when the store is full.
    pub fn add(&mut self, bytes: &[u8], keys: &[SealPublicKey]) -> Result<&VerifiedMark, MarkError> {
        match Mark::verify(bytes, keys) {
            Ok(_) if self.verified.len() >= Self::CAPACITY => Err(MarkError::Content("number of marks")),
            Ok(verified) => {
                let place = match self.verified.iter().position(|known| *known == verified) {
                    Some(place) => place,
                    None => {
                        self.verified.push(verified);
                        self.verified.len() - 1
                    }
                };
                Ok(&self.verified[place])
            }
            Err(error) => {
                self.remember_foreign(bytes, error);
                Err(error)
            }
        }
    }

    /// Takes a mark back, whether it is held or comes later. The caller has made sure that whoever says so may: the
    /// signatory, or the utility for itself.
    pub fn revoke(&mut self, revoked: RevokedMark) {
        if self.revoked.len() < Self::CAPACITY && self.revoked(&revoked.mark).is_none() {
            self.revoked.push(revoked);
        }
    }

    /// What is known of a mark's revocation.
    pub fn revoked(&self, mark: &Digest384) -> Option<&RevokedMark> {
        self.revoked.iter().find(|revoked| revoked.mark == *mark)
    }

    /// The verified marks.
    pub fn iter(&self) -> core::slice::Iter<'_, VerifiedMark> {
        self.verified.iter()
    }

    /// Like the function [`admit`], and also knows of marks by foreign keys.
    ///
    /// # Errors
    /// The [`Refusal`] that came closest to an admission.
    pub fn admit(
        &self,
        device_type: &str,
        firmware_digest: &Digest384,
        allowed_scopes: &[Scope],
        now: UnixMillis,
    ) -> Result<&VerifiedMark, Refusal> {
        let sound = self.verified.iter().filter(|verified| self.revoked(&verified.name()).is_none());
        admit(sound, device_type, firmware_digest, allowed_scopes, now).map_err(|refusal| {
            let taken_back = self.verified.iter().find_map(|verified| {
                let mark = verified.mark();
                let is_it = mark.device_type == device_type && mark.firmware_digest == *firmware_digest;
                self.revoked(&verified.name()).filter(|_| is_it)
            });
            if let Some(revoked) = taken_back {
                return Refusal::Revoked { at: revoked.at, reason: revoked.reason.clone() };
            }
            let foreign = self
                .foreign
                .iter()
                .find(|(kind, digest, _)| kind == device_type && digest == firmware_digest);
            match foreign {
                Some(&(_, _, signer)) if refusal.closeness() < CLOSENESS_OF_FOREIGN => {
                    Refusal::ForeignSigner { signer }
                }
                _ => refusal,
            }
        })
    }

    fn remember_foreign(&mut self, bytes: &[u8], error: MarkError) {
        let MarkError::Envelope(envelope::EnvelopeError::UnknownKey(signer)) = error else { return };
        let claimed =
            envelope::unverified(bytes, CONTENT_TYPE).and_then(|claim| Mark::decode(claim.payload).ok());
        let Some(mark) = claimed else { return };
        let claim = (mark.device_type, mark.firmware_digest, signer);
        if self.foreign.len() < Self::CAPACITY && !self.foreign.contains(&claim) {
            self.foreign.push(claim);
        }
    }
}

/// Why a meter is not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No mark names its device type.
    NoMark {
        /// The device type that the meter states.
        device_type: String,
    },
    /// Its device type has a mark, but for other firmware.
    OtherFirmware {
        /// The digest that the meter states.
        found: Digest384,
    },
    /// There is a mark, but by a key that is not trusted here.
    ForeignSigner {
        /// The key that the mark names.
        signer: KeyId,
    },
    /// The mark's scope is not among those that the policy admits for this meter.
    ScopeNotAdmitted {
        /// The mark's scope.
        scope: Scope,
    },
    /// The mark is not valid yet.
    NotYetValid {
        /// From when it is.
        valid_from: UnixMillis,
    },
    /// The mark is no longer valid.
    Expired {
        /// Since when it is not.
        valid_until: UnixMillis,
    },
    /// The mark was taken back.
    Revoked {
        /// When.
        at: UnixMillis,
        /// Why.
        reason: String,
    },
}

impl Refusal {
    /// How near to an admission: the mark that failed last is the one worth naming.
    fn closeness(&self) -> u8 {
        match self {
            Self::NoMark { .. } => 0,
            Self::OtherFirmware { .. } => 1,
            Self::ForeignSigner { .. } => CLOSENESS_OF_FOREIGN,
            Self::ScopeNotAdmitted { .. } => 3,
            Self::NotYetValid { .. } => 4,
            Self::Expired { .. } => 5,
            Self::Revoked { .. } => 6,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMark { device_type } => write!(f, "no mark is known for device type {device_type}"),
            Self::OtherFirmware { found } => {
                write!(f, "the device type has a mark, but not for the running firmware {found}")
            }
            Self::ForeignSigner { signer } => {
                write!(f, "its mark was signed with key {signer}, which is not trusted here")
            }
            Self::ScopeNotAdmitted { scope } => {
                write!(f, "its mark has scope {scope}, which the policy does not admit for this meter")
            }
            Self::NotYetValid { valid_from } => write!(f, "its mark is valid only from {valid_from}"),
            Self::Expired { valid_until } => write!(f, "its mark expired at {valid_until}"),
            Self::Revoked { at, reason } => write!(f, "its mark was revoked at {at}: {reason}"),
        }
    }
}

impl core::error::Error for Refusal {}

const CLOSENESS_OF_FOREIGN: u8 = 2;

fn judge(
    mark: &Mark,
    device_type: &str,
    firmware_digest: &Digest384,
    allowed_scopes: &[Scope],
    now: UnixMillis,
) -> Result<(), Refusal> {
    if mark.device_type != device_type {
        return Err(Refusal::NoMark { device_type: device_type.to_string() });
    }
    if mark.firmware_digest != *firmware_digest {
        return Err(Refusal::OtherFirmware { found: *firmware_digest });
    }
    if !allowed_scopes.contains(&mark.scope) {
        return Err(Refusal::ScopeNotAdmitted { scope: mark.scope });
    }
    if now < mark.valid_from {
        return Err(Refusal::NotYetValid { valid_from: mark.valid_from });
    }
    if now >= mark.valid_until {
        return Err(Refusal::Expired { valid_until: mark.valid_until });
    }
    Ok(())
}

fn strength(verified: &VerifiedMark) -> (Scope, UnixMillis) {
    (verified.mark().scope, verified.mark().valid_until)
}
