//! The trust root: whose signatures count for what, and how many it takes. After TUF's root role: a new root is signed
//! by enough keys of the old one and enough of its own, its version is the old one's plus one, and so keys rotate and
//! are revoked without anybody touching a meter. The first root is put into the device at manufacture.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use meterseal_model::UnixMillis;
use minicbor::Decoder;

use super::signatures::{self, Judgement, MAX_SIGNERS, SignError, Signatures};
use super::signer::{FirmwareKey, FirmwarePublicKey};
use crate::envelope::written;
use crate::key::{KeyError, KeyId};

/// The content type in a trust root's envelope.
pub const CONTENT_TYPE: &str = "application/vnd.meterseal.trust-root+cbor";

/// The version of the root's format that is written and read.
pub const FORMAT: u64 = 1;

/// The most keys in a root: each takes 2.7 kB.
pub const MAX_KEYS: usize = 16;

/// The longest name of a signer, in bytes.
pub const MAX_NAME: usize = 64;

/// What a signer's signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Signs trust roots.
    Root = 0,
    /// Signs firmware as its maker.
    Release = 1,
    /// Signs firmware as the one who lets it into the field, for example a utility.
    Approval = 2,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Root, Self::Release, Self::Approval];

    /// The name in commands and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Release => "release",
            Self::Approval => "approval",
        }
    }
}

/// A key, whose it is, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// Who holds it, as people know them.
    pub name: String,
    /// The key.
    pub key: FirmwarePublicKey,
    /// The roles it may serve in.
    pub roles: Vec<Role>,
    /// The first moment at which what it signs no longer counts.
    pub expires: UnixMillis,
}

/// Whose signatures count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRoot {
    /// Rises by one with each change.
    pub version: u64,
    /// How many signers each role takes, by [`Role`]'s number. Only approval may be 0: not wanted.
    pub thresholds: [u8; 3],
    /// Every key that counts. A key that is revoked is left out of the next root.
    pub keys: Vec<TrustedKey>,
}

impl TrustRoot {
    /// Signs the root. A root that follows another one needs the keys of both.
    ///
    /// # Errors
    /// [`TrustError::Content`] or [`TrustError::Sign`].
    pub fn sign(&self, signers: &[&FirmwareKey]) -> Result<Vec<u8>, TrustError> {
        self.check()?;
        Ok(signatures::sign(CONTENT_TYPE, &self.to_cbor(), signers)?)
    }

    /// Reads the root that a device is made with: signed by enough of its own keys.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn first(bytes: &[u8], now: Option<UnixMillis>) -> Result<Self, TrustError> {
        let signed = Signatures::read(bytes, CONTENT_TYPE)?;
        let root = Self::decode(signed.unverified_payload())?;
        root.count(Role::Root, &signed, now)?;
        Ok(root)
    }

    /// Reads a root that was accepted before and whose bytes are known to be the same: by a digest that was kept where
    /// nobody else writes. Nothing is verified again.
    ///
    /// # Errors
    /// [`TrustError`] when it cannot be read.
    pub fn accepted_before(bytes: &[u8]) -> Result<Self, TrustError> {
        Self::decode(Signatures::read(bytes, CONTENT_TYPE)?.unverified_payload())
    }

    /// Reads the root that follows this one.
    ///
    /// # Errors
    /// [`TrustError::Rollback`] when its version is not the next; [`TrustError::Signers`] when not enough of either
    /// root's keys have signed it.
    pub fn next(&self, bytes: &[u8], now: Option<UnixMillis>) -> Result<Self, TrustError> {
        let signed = Signatures::read(bytes, CONTENT_TYPE)?;
        let root = Self::decode(signed.unverified_payload())?;
        if self.version.checked_add(1) != Some(root.version) {
            return Err(TrustError::Rollback { have: self.version, found: root.version });
        }
        self.count(Role::Root, &signed, now)?;
        root.count(Role::Root, &signed, now)?;
        Ok(root)
    }

    /// The same signed root with one more signer.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn with_signer(bytes: &[u8], signer: &FirmwareKey) -> Result<Vec<u8>, TrustError> {
        let signed = Signatures::read(bytes, CONTENT_TYPE)?;
        Self::decode(signed.unverified_payload())?;
        Ok(signed.with(signer)?)
    }

    /// Checks that enough signers of a role have signed. A device without a clock gives no time, and no key has
    /// expired for it.
    ///
    /// # Errors
    /// [`TrustError::Bad`] when a signature of a known signer is not good, whoever else signed;
    /// [`TrustError::Signers`] when too few count.
    pub fn count(
        &self,
        role: Role,
        signed: &Signatures<'_>,
        now: Option<UnixMillis>,
    ) -> Result<(), TrustError> {
        let wanted = self.thresholds[role as usize];
        let (mut good, mut one_of_two, mut expired) = (0u8, 0, 0);
        for trusted in self.keys.iter().filter(|trusted| trusted.roles.contains(&role)) {
            match signed.judge(&trusted.key) {
                None => {}
                Some(Judgement::Bad) => return Err(TrustError::Bad(trusted.key.id())),
                Some(Judgement::OneOfTwo) => one_of_two += 1,
                Some(Judgement::Good) if now.is_some_and(|now| now >= trusted.expires) => expired += 1,
                Some(Judgement::Good) => good += 1,
            }
        }
        let unknown = signed.signers().filter(|id| self.keys.iter().all(|trusted| trusted.key.id() != *id));
        if good >= wanted {
            return Ok(());
        }
        Err(TrustError::Signers(Shortfall {
            role,
            wanted,
            good,
            one_of_two,
            expired,
            unknown: unknown.count() as u8,
        }))
    }

    /// Reads what [`Self::sign`] put under the signatures.
    fn decode(bytes: &[u8]) -> Result<Self, TrustError> {
        let root = Self::from_cbor(bytes)?;
        root.check()?;
        if root.to_cbor() == bytes { Ok(root) } else { Err(TrustError::Malformed) }
    }

    fn check(&self) -> Result<(), TrustError> {
        let content = |right: bool, field| if right { Ok(()) } else { Err(TrustError::Content(field)) };
        content(self.version > 0, "version")?;
        content((1..=MAX_KEYS).contains(&self.keys.len()), "keys")?;
        for (place, trusted) in self.keys.iter().enumerate() {
            let name = &trusted.name;
            let named = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
            content(named, "name")?;
            content(trusted.roles.is_sorted_by(|a, b| a < b) && !trusted.roles.is_empty(), "roles")?;
            let once = self.keys[..place].iter().all(|before| before.key.id() < trusted.key.id());
            content(once, "keys in the order of their names, each once")?;
        }
        for role in Role::ALL {
            let holders = self.keys.iter().filter(|trusted| trusted.roles.contains(&role)).count();
            let threshold = usize::from(self.thresholds[role as usize]);
            let least = usize::from(role != Role::Approval);
            content((least..=holders.min(MAX_SIGNERS)).contains(&threshold), "thresholds")?;
        }
        Ok(())
    }

    fn to_cbor(&self) -> Vec<u8> {
        written(|encoder| {
            encoder.array(4)?.u64(FORMAT)?.u64(self.version)?.bytes(&self.thresholds)?;
            encoder.array(self.keys.len() as u64)?;
            for trusted in &self.keys {
                encoder.array(5)?.str(&trusted.name)?;
                encoder.bytes(&trusted.key.elliptic().to_der())?.bytes(trusted.key.lattice())?;
                let roles: Vec<u8> = trusted.roles.iter().map(|&role| role as u8).collect();
                encoder.bytes(&roles)?.i64(trusted.expires.seconds())?;
            }
            Ok(())
        })
    }

    fn from_cbor(bytes: &[u8]) -> Result<Self, TrustError> {
        let mut decoder = Decoder::new(bytes);
        decoder.array()?;
        match decoder.u64()? {
            FORMAT => {}
            other => return Err(TrustError::Format(other)),
        }
        let version = decoder.u64()?;
        let thresholds = decoder.bytes()?.try_into().map_err(|_| TrustError::Malformed)?;
        let count = decoder.array()?.filter(|&count| count <= MAX_KEYS as u64);
        let keys = (0..count.ok_or(TrustError::Content("keys"))?)
            .map(|_| {
                decoder.array()?;
                let name = decoder.str()?.to_string();
                let key = FirmwarePublicKey::from_parts(decoder.bytes()?, decoder.bytes()?)?;
                let roles = decoder.bytes()?.iter().map(|&number| {
                    Role::ALL
                        .into_iter()
                        .find(|role| *role as u8 == number)
                        .ok_or(TrustError::Content("roles"))
                });
                let roles = roles.collect::<Result<Vec<_>, _>>()?;
                let expires = decoder.i64()?.checked_mul(1000).ok_or(TrustError::Malformed)?;
                Ok(TrustedKey { name, key, roles, expires: UnixMillis(expires) })
            })
            .collect::<Result<Vec<_>, TrustError>>()?;
        Ok(Self { version, thresholds, keys })
    }
}

/// Why too few signatures count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// For what.
    pub role: Role,
    /// How many signers it takes.
    pub wanted: u8,
    /// How many count.
    pub good: u8,
    /// Signers with only one of their two signatures.
    pub one_of_two: u8,
    /// Signers whose key has expired.
    pub expired: u8,
    /// Signers that the root does not know, or no longer.
    pub unknown: u8,
}

/// What is wrong with a trust root, or with signatures in its light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustError {
    /// The envelope, or a key that could not sign.
    Sign(SignError),
    /// Not the CBOR of a trust root.
    Malformed,
    /// Another version of the format.
    Format(u64),
    /// This field is out of range or contradicts another.
    Content(&'static str),
    /// The root is not the one that follows.
    Rollback {
        /// The version in force.
        have: u64,
        /// The version offered.
        found: u64,
    },
    /// A signature of this signer is not over this content.
    Bad(KeyId),
    /// Too few signers count.
    Signers(Shortfall),
}

impl From<SignError> for TrustError {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

impl From<KeyError> for TrustError {
    fn from(_: KeyError) -> Self {
        Self::Content("key")
    }
}

impl From<minicbor::decode::Error> for TrustError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sign(error) => error.fmt(f),
            Self::Malformed => f.write_str("what is signed is no trust root"),
            Self::Format(found) => {
                write!(f, "the trust root has format {found}, this program reads {FORMAT}; update it")
            }
            Self::Content(field) => {
                write!(f, "the trust root's field \"{field}\" is out of range or contradictory")
            }
            Self::Rollback { have, found } => write!(
                f,
                "trust root {found} cannot follow {have}: give version {}, then those after it",
                have.saturating_add(1)
            ),
            Self::Bad(id) => write!(f, "a signature by {id} is not over this content: it was altered"),
            Self::Signers(Shortfall { role, wanted, good, one_of_two, expired, unknown }) => {
                write!(f, "{good} of {wanted} {} signatures that it takes", role.name())?;
                let reasons = [
                    (one_of_two, "with only one of the two algorithms"),
                    (expired, "by an expired key"),
                    (unknown, "by a key that is not trusted, or no longer"),
                ];
                for (count, reason) in reasons.into_iter().filter(|&(&count, _)| count > 0) {
                    write!(f, "; {count} {reason}")?;
                }
                Ok(())
            }
        }
    }
}

impl core::error::Error for TrustError {}
